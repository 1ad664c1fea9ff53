/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable log against a disk of this test: at a crash every 512-byte sector of every write that
 * is not durable keeps any of its versions.  A model says what must be there afterwards.
 */
#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/qlog.h"
#include "engine/quorum/qlog_state.h"
#include "tests/sim/prng.h"

#define SECTOR 512u
#define UNDO_MAX 4096u

struct undo {
	uint64_t off;
	uint8_t old[SECTOR];
};

struct crash_disk {
	struct disk disk;
	uint8_t *now; /* what reads see */
	struct undo *undo;
	uint32_t undo_count;
	uint64_t countdown; /* requests until the power fails; 0: never */
	bool dead;
	struct prng *prng;
};

static void crash_submit(struct disk *disk, struct disk_req *req)
{
	struct crash_disk *d = (struct crash_disk *)(void *)disk;
	uint64_t off = req->off;

	if (d->dead)
		return;
	if (d->countdown != 0 && --d->countdown == 0)
		d->dead = true; /* this one is on its way when the power fails */
	if (req->kind == DISK_FLUSH && !d->dead)
		d->undo_count = 0;
	for (uint32_t i = 0; i < req->iov_count; i++) {
		uint8_t *base = req->iov[i].iov_base;

		if (req->kind == DISK_READ)
			memcpy(base, d->now + off, req->iov[i].iov_len);
		for (uint64_t s = 0; s < req->iov[i].iov_len && req->kind == DISK_WRITE;
		     s += SECTOR) {
			if (d->undo_count == UNDO_MAX) /* ck_assert is slow */
				ck_abort_msg("too many writes without a flush");
			d->undo[d->undo_count].off = off + s;
			memcpy(d->undo[d->undo_count++].old, d->now + off + s, SECTOR);
			memcpy(d->now + off + s, base + s, SECTOR);
		}
		off += req->iov[i].iov_len;
	}
	if (!d->dead)
		completion_fire(&req->done, 0);
}

static const struct disk_ops crash_ops = {.submit = crash_submit};

/* The power fails: each sector goes back any number of versions. */
static void crash(struct crash_disk *d)
{
	uint64_t how = prng_u64(d->prng) % 4; /* all lost, all kept, half, a few */

	for (uint32_t i = d->undo_count; i-- > 0;) {
		uint64_t r = prng_u64(d->prng) % 8;

		if (how == 0 || (how == 2 && r < 4) || (how == 3 && r == 0))
			memcpy(d->now + d->undo[i].off, d->undo[i].old, SECTOR);
	}
	d->undo_count = 0;
	d->dead = false;
	d->countdown = 0;
}

static void disk_init(struct crash_disk *d, struct prng *prng)
{
	memset(d, 0, sizeof(*d));
	d->disk.ops = &crash_ops;
	d->disk.bytes = QUORUM_FILE_BYTES;
	d->disk.name = "crash";
	d->now = calloc(1, QUORUM_FILE_BYTES);
	d->undo = calloc(UNDO_MAX, sizeof(*d->undo));
	d->prng = prng;
}

static void disk_fini(struct crash_disk *d)
{
	free(d->now);
	free(d->undo);
}

struct waiter {
	struct op op;
	struct completion done;
	bool fired;
};

static void waiter_step(struct op *op)
{
	struct waiter *w = container_of(op, struct waiter, op);

	w->fired = op->waits == 0;
}

/* ---- the model ---- */

#define MODEL_MAX 4096u

struct model {
	uint64_t term; /* last acknowledged metadata, and the one in flight */
	uint64_t term_next;
	uint64_t last;			    /* last index acknowledged */
	uint64_t tag[MODEL_MAX];	    /* by index, acknowledged */
	uint64_t flight_first, flight_last; /* append in flight: first > last: none */
	uint64_t flight_tag;
	uint64_t snapshot, snapshot_next;
	uint64_t committed; /* below it nothing is truncated */
};

struct rig {
	struct ready ready;
	struct crash_disk disk;
	struct prng prng;
	struct qlog *q;
	struct model m;
	uint64_t appends, snapshots, metas, crashes;
};

static int rig_load(struct rig *r, bool format)
{
	struct qlog_opts opts = {.format = format};
	struct waiter w = {0};

	memset(opts.disk.b, 7, sizeof(opts.disk.b));
	ready_init(&r->ready);
	ck_assert_int_eq(qlog_open(&r->ready, &r->disk.disk, &opts, &r->q), 0);
	op_init(&w.op, &r->ready, waiter_step);
	completion_arm(&w.done, &w.op, 1);
	qlog_load(r->q, &w.done);
	ready_run(&r->ready, 1000000);
	if (!w.fired)
		return 1; /* the power failed meanwhile */
	return w.done.rc;
}

static void make_entry(struct quorum_entry *e, uint8_t *data, uint64_t tag, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(tag * 31 + i);
	memcpy(data, &tag, 8);
	*e = (struct quorum_entry){
		.term = 1 + tag / 1000000, .type = QUORUM_COMMAND, .bytes = bytes, .data = data};
}

static bool run_op(struct rig *r, struct waiter *w)
{
	ready_run(&r->ready, 1000000);
	return w->fired;
}

static bool do_meta(struct rig *r)
{
	struct quorum_meta meta = {.term = r->m.term + 1};
	struct qlog_req req;
	struct waiter w = {0};

	r->m.term_next = meta.term;
	op_init(&w.op, &r->ready, waiter_step);
	completion_arm(&req.done, &w.op, 1);
	qlog_write_meta(r->q, &req, &meta);
	if (!run_op(r, &w))
		return false;
	ck_assert_int_eq(req.done.rc, 0);
	r->m.term = meta.term;
	r->metas++;
	return true;
}

static bool do_append(struct rig *r)
{
	static uint8_t data[8][20000];
	struct quorum_entry e[8];
	struct qlog_req req;
	struct waiter w = {0};
	uint32_t n = 1 + (uint32_t)(prng_u64(&r->prng) % 4);
	uint64_t first = r->m.last + 1, tag = prng_u64(&r->prng) % 900000;

	if (prng_u64(&r->prng) % 6 == 0 && r->m.last > r->m.committed)
		first = r->m.committed + 1 + prng_u64(&r->prng) % (r->m.last - r->m.committed);
	if (first + n >= MODEL_MAX)
		return true;
	for (uint32_t i = 0; i < n; i++)
		make_entry(&e[i], data[i], tag + i,
			   8 + (uint32_t)(prng_u64(&r->prng) %
					  (prng_u64(&r->prng) % 3 == 0 ? 19000 : 300)));
	op_init(&w.op, &r->ready, waiter_step);
	completion_arm(&req.done, &w.op, 1);
	if (qlog_append(r->q, &req, first, e, n) < 0)
		return true;
	r->m.flight_first = first;
	r->m.flight_last = first + n - 1;
	r->m.flight_tag = tag;
	if (!run_op(r, &w))
		return false;
	ck_assert_int_eq(req.done.rc, 0);
	for (uint32_t i = 0; i < n; i++)
		r->m.tag[first + i] = tag + i;
	r->m.last = first + n - 1;
	r->m.flight_first = 1;
	r->m.flight_last = 0;
	if (prng_u64(&r->prng) % 2 == 0)
		r->m.committed += prng_u64(&r->prng) % (r->m.last - r->m.committed + 1);
	r->appends++;
	return true;
}

static bool do_snapshot(struct rig *r)
{
	static uint8_t payload[60000];
	struct quorum_snapshot s = {
		.index = r->m.committed, .term = 1, .conf_index = 1, .conf_bytes = 100};
	struct qlog_req req;
	struct waiter w = {0};

	if (s.index <= r->m.snapshot)
		return true;
	s.data_bytes = 1000 + (uint32_t)(prng_u64(&r->prng) % 50000);
	memset(payload, (int)(s.index & 0xff), sizeof(payload));
	r->m.snapshot_next = s.index;
	op_init(&w.op, &r->ready, waiter_step);
	completion_arm(&req.done, &w.op, 1);
	ck_assert_int_eq(qlog_write_snapshot(r->q, &req, &s, payload, payload,
					     s.index > 5 ? s.index - 5 : 0, false),
			 0);
	if (!run_op(r, &w))
		return false;
	ck_assert_int_eq(req.done.rc, 0);
	r->m.snapshot = s.index;
	r->snapshots++;
	return true;
}

/* What load found must be the model's state, or that with the request in flight carried out. */
static void verify(struct rig *r, bool older_snapshot_is_fine)
{
	const struct qlog_found *f = qlog_found(r->q);
	struct model *m = &r->m;
	uint64_t last = f->first_index + f->entry_count - 1;
	bool flown = false;
	uint64_t wrong = 0;

	ck_assert(f->meta.term == m->term || f->meta.term == m->term_next);
	m->term = f->meta.term;
	if (f->has_snapshot) {
		ck_assert(f->snapshot.index == m->snapshot ||
			  f->snapshot.index == m->snapshot_next ||
			  (older_snapshot_is_fine && f->snapshot.index < m->snapshot));
		for (uint32_t i = 0; i < f->snapshot.data_bytes; i++)
			wrong += f->data[i] != (f->snapshot.index & 0xff);
		m->snapshot = f->snapshot.index;
	} else {
		ck_assert_uint_eq(m->snapshot, 0);
	}
	if (m->flight_first <= m->flight_last && last == m->flight_last) {
		uint64_t tag = 0;

		if (f->entry_count > 0)
			memcpy(&tag, f->entries[f->entry_count - 1].data, 8);
		flown = tag == m->flight_tag + (m->flight_last - m->flight_first);
	}
	if (flown) {
		for (uint64_t i = m->flight_first; i <= m->flight_last; i++)
			m->tag[i] = m->flight_tag + i - m->flight_first;
		m->last = m->flight_last;
	}
	ck_assert_uint_eq(last, m->last);
	ck_assert(f->first_index <= (m->snapshot > 5 ? m->snapshot - 5 : 0) + 1);
	for (uint32_t i = 0; i < f->entry_count; i++) {
		uint64_t tag;

		memcpy(&tag, f->entries[i].data, 8);
		wrong += tag != m->tag[f->first_index + i];
		for (uint32_t k = 8; k < f->entries[i].bytes; k++)
			wrong += f->entries[i].data[k] != (uint8_t)(tag * 31 + k);
	}
	ck_assert_uint_eq(wrong, 0);
	m->flight_first = 1;
	m->flight_last = 0;
	m->term_next = m->term;
	m->snapshot_next = m->snapshot;
}

static void rig_init(struct rig *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	prng_init(&r->prng, seed, 1);
	disk_init(&r->disk, &r->prng);
	r->m.flight_first = 1;
	ck_assert_int_eq(rig_load(r, true), 0);
	qlog_forget(r->q);
	ck_assert(do_meta(r));
}

/* One life: random requests until the power fails, then what is found is compared. */
static void life(struct rig *r)
{
	r->disk.countdown = 1 + prng_u64(&r->prng) % 60;
	for (;;) {
		uint64_t k = prng_u64(&r->prng) % 12;
		bool alive = k < 2 ? do_meta(r) : k < 3 ? do_snapshot(r) : do_append(r);

		if (!alive)
			break;
		if (r->m.last + 16 >= MODEL_MAX && r->disk.countdown > 3)
			r->disk.countdown = 3;
		if (r->m.last + 16 >= MODEL_MAX && !do_meta(r))
			break;
	}
	for (;;) {
		int rc;

		qlog_discard(&r->q);
		crash(&r->disk);
		r->crashes++;
		if (prng_u64(&r->prng) % 5 == 0) /* again, while it is opened */
			r->disk.countdown = 1 + prng_u64(&r->prng) % 6;
		rc = rig_load(r, false);
		if (rc == 1)
			continue;
		ck_assert_int_eq(rc, 0);
		r->disk.countdown = 0;
		break;
	}
	verify(r, false);
	qlog_forget(r->q);
}

START_TEST(power_losses_lose_nothing_acknowledged)
{
	const char *many = getenv("TS_QUORUM_CRASHES"), *first = getenv("TS_QUORUM_FIRST");
	uint64_t want = many != NULL ? strtoull(many, NULL, 10) : 3000, crashes = 0, appends = 0;
	uint64_t snapshots = 0, seed = first != NULL ? strtoull(first, NULL, 10) : 1;

	while (crashes < want) {
		struct rig r;

		rig_init(&r, seed++);
		while (r.m.last + 64 < MODEL_MAX && r.crashes < 120)
			life(&r);
		crashes += r.crashes;
		appends += r.appends;
		snapshots += r.snapshots;
		qlog_discard(&r.q);
		disk_fini(&r.disk);
	}
	printf("quorum log: %lu power losses, %lu appends, %lu snapshots\n", crashes, appends,
	       snapshots);
	ck_assert_uint_gt(snapshots, 0);
}
END_TEST

/*
 * A flipped bit in live data is refused or harmless, never a silent loss; but the very last batch
 * may look torn (QUORUM 3: the peers' copies repair it, the lsn handshake detects it).
 */
START_TEST(bit_flips_are_never_a_silent_loss)
{
	const char *many = getenv("TS_QUORUM_FLIPS");
	uint64_t want = many != NULL ? strtoull(many, NULL, 10) : 400, refused = 0, harmless = 0,
		 last = 0;
	uint8_t *copy = malloc(QUORUM_FILE_BYTES);
	struct rig r;

	rig_init(&r, 4242);
	while (r.m.last < 600)
		ck_assert(prng_u64(&r.prng) % 40 == 0 ? do_snapshot(&r) : do_append(&r));
	for (uint32_t i = 0; i < 8; i++)
		ck_assert(do_append(&r));
	memcpy(copy, r.disk.now, QUORUM_FILE_BYTES);
	for (uint64_t i = 0; i < want; i++) {
		uint64_t lsn = qlog_lsn(r.q), tail_lsn = lsn;
		const struct qlog_batch *b =
			&r.q->batches[(r.q->batch_first + prng_u64(&r.prng) % r.q->batch_count) %
				      BATCHES_MAX];
		uint64_t off = QUORUM_LOG_OFF + (uint64_t)b->block * BLOCK_BYTES;
		uint8_t bit = (uint8_t)(1u << (prng_u64(&r.prng) % 8));
		struct model before = r.m;
		int rc;

		if (i % 4 == 0)
			off = QUORUM_SNAPSHOT_OFF(r.q->snapshot_slot) + prng_u64(&r.prng) % 200;
		else
			off += prng_u64(&r.prng) % (b->blocks * BLOCK_BYTES);
		off %= QUORUM_FILE_BYTES;
		if (i % 16 == 4)
			off = prng_u64(&r.prng) % 120 + (i % 32 == 4 ? 0 : QUORUM_META_OFF(1));
		qlog_discard(&r.q);
		r.disk.now[off] ^= bit;
		rc = rig_load(&r, false);
		if (rc == 0) {
			tail_lsn = qlog_lsn(r.q);
			if (tail_lsn == lsn) {
				/* A newest header that rots: the older one and all of its log. */
				verify(&r, true);
				harmless++;
			} else {
				ck_assert_uint_eq(tail_lsn, lsn - 1);
				last++;
			}
		} else {
			ck_assert_int_eq(rc, -ERR_CORRUPT);
			refused++;
		}
		qlog_discard(&r.q);
		memcpy(r.disk.now, copy, QUORUM_FILE_BYTES);
		r.disk.undo_count = 0;
		r.m = before;
		ck_assert_int_eq(rig_load(&r, false), 0);
	}
	printf("quorum log: %lu flips: %lu refused, %lu harmless, %lu of the last batch\n", want,
	       refused, harmless, last);
	ck_assert_uint_gt(refused, 0);
	free(copy);
	qlog_discard(&r.q);
	disk_fini(&r.disk);
}
END_TEST

START_TEST(a_zero_file_is_formatted_only_when_asked)
{
	struct prng prng;
	struct rig r;

	memset(&r, 0, sizeof(r));
	prng_init(&prng, 1, 1);
	disk_init(&r.disk, &prng);
	ck_assert_int_eq(rig_load(&r, false), -ERR_NOT_STORE);
	qlog_discard(&r.q);
	ck_assert_int_eq(rig_load(&r, true), 0);
	qlog_discard(&r.q);
	ck_assert_int_eq(rig_load(&r, true), 0);
	ck_assert_uint_eq(qlog_found(r.q)->entry_count, 0);
	qlog_discard(&r.q);
	memset(r.disk.now, 0, BLOCK_BYTES);
	memset(r.disk.now + QUORUM_META_OFF(1), 0, BLOCK_BYTES);
	r.disk.now[5u << 20] = 1; /* something is there: it was no empty file */
	ck_assert_int_eq(rig_load(&r, true), -ERR_CORRUPT);
	qlog_discard(&r.q);
	disk_fini(&r.disk);
}
END_TEST

START_TEST(either_metadata_slot_is_mended_from_the_other)
{
	struct rig r;

	rig_init(&r, 3);
	ck_assert(do_meta(&r));
	for (uint32_t slot = 0; slot < 2; slot++) {
		qlog_discard(&r.q);
		memset(r.disk.now + QUORUM_META_OFF(slot), 0xa5, BLOCK_BYTES);
		ck_assert_int_eq(rig_load(&r, false), 0);
		ck_assert_uint_eq(qlog_found(r.q)->meta.term, 2);
		ck_assert_int_eq(memcmp(r.disk.now, r.disk.now + QUORUM_META_OFF(1), BLOCK_BYTES),
				 0);
	}
	qlog_discard(&r.q);
	disk_fini(&r.disk);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quorum-qlog");
	TCase *t = tcase_create("qlog");
	SRunner *r;
	int failed;

	/* Images of 8 MiB come and go: keep their pages. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	tcase_set_timeout(t, 0);
	tcase_add_test(t, a_zero_file_is_formatted_only_when_asked);
	tcase_add_test(t, either_metadata_slot_is_mended_from_the_other);
	tcase_add_test(t, power_losses_lose_nothing_acknowledged);
	tcase_add_test(t, bit_flips_are_never_a_silent_loss);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
