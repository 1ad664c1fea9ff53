/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about engine/volume at one site: requests, the meaning of operations, closing, back-pressure. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/prng.h"
#include "tests/unit/volume/volume_bench.h"

#define STORE_BYTES (128ull << 20)
#define SMALL (3 * IO_BYTES_MAX + 5 * BLOCK_BYTES + 512) /* ends inside a block */
#define DEPTH 12u

static uint8_t mirror[SMALL], bytes_now[IO_BYTES_MAX];

START_TEST(requests_are_answered_once_they_are_so_and_say_why_not)
{
	struct vb *b = vb_open(1, STORE_BYTES);

	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/v", 4096, 512), -ERR_NOT_FOUND);
	vb_make(b, 1 << 20);
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_CREATE, "g", false), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/v", 1 << 20, 512), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/v", 2 << 20, 512), -ERR_EXISTS);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/w", 0, 512), -ERR_INVALID);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/w", 4096 + 512, 4096),
			 -ERR_INVALID);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/w", 4096, 1024), -ERR_INVALID);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_RESIZE, "g/v", 4096, 512), -ERR_INVALID);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_RESIZE, "g/w", 4096, 512), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_DELETE, "g/w", 0, 0), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_DELETE, "g", false), -ERR_IN_USE);
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_DELETE, "h", false), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_DELETE, "g/v", 0, 0), 0);
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_DELETE, "g", false), 0);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_deleted_group_takes_its_volumes_along_and_its_name_is_free)
{
	struct vb *b = vb_open(2, STORE_BYTES);
	struct conductor_request r = {
		.kind = REQUEST_GROUP_DELETE, .force = true, .group = {.name = "g"}};
	struct vb_client c;
	struct fake_wait w;

	vb_make(b, 1 << 20);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	fake_arm_on(b->f->env, &w, &r.done);
	conductor_submit(b->c, &r);
	fake_run_for(b->f, SEC_NS);
	ck_assert(vb_revoked(&c));
	ck_assert(!fake_fired(&w));
	vb_detach(&c);
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	vb_make(b, 2 << 20);
	ck_assert_int_eq(vb_attach(b, "", &c), 0);
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_volume_with_clients_is_not_deleted_and_grows_under_them)
{
	struct vb *b = vb_open(3, STORE_BYTES);
	struct vb_client c;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_DELETE, "g/v", 0, 0), -ERR_IN_USE);
	memset(bytes_now, 7, sizeof(bytes_now));
	ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, SMALL - 512, 512, bytes_now), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, SMALL, 512, bytes_now), -ERR_RANGE);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_TRIM, SMALL, 512, NULL), -ERR_RANGE);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_RESIZE, "g/v", SMALL + 8192, 512), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, SMALL - 512, 2048, bytes_now), 0);
	for (uint32_t i = 0; i < 2048; i++)
		ck_assert_uint_eq(bytes_now[i],
				  i < 512 ? 7 : 0); /* nothing hid behind the old end */
	ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, SMALL + 8192 - 512, 512, bytes_now), 0);
	vb_detach(&c);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_DELETE, "g/v", 0, 0), 0);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), -ERR_NOT_FOUND);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* The model: operations take effect in order of submission, whatever their overlaps. */
static void mirror_apply(enum volume_io_kind kind, uint64_t off, uint64_t bytes,
			 const uint8_t *data)
{
	uint64_t begin = (off + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES, end = off + bytes;

	if (kind == VOLUME_WRITE) {
		memcpy(mirror + off, data, bytes);
	} else if (kind == VOLUME_ZERO) {
		memset(mirror + off, 0, bytes);
	} else if (kind == VOLUME_TRIM) {
		end = end == SMALL ? end : end / BLOCK_BYTES * BLOCK_BYTES;
		if (begin < end)
			memset(mirror + begin, 0, end - begin);
	}
}

struct planned {
	struct vb_io x;
	uint8_t *expect;
};

static void submit_random(struct vb *b, struct vb_client *c, struct prng *rng, struct planned *p)
{
	static const enum volume_io_kind kinds[] = {VOLUME_WRITE, VOLUME_WRITE, VOLUME_READ,
						    VOLUME_READ,  VOLUME_ZERO,	VOLUME_TRIM,
						    VOLUME_FLUSH};
	enum volume_io_kind kind = kinds[prng_below(rng, ARRAY_COUNT(kinds))];
	uint64_t unit = prng_below(rng, 2) == 0 ? 512 : BLOCK_BYTES,
		 max = prng_below(rng, 8) == 0 ? IO_BYTES_MAX : 24576;
	uint64_t hot = prng_below(rng, 4) * (IO_BYTES_MAX - BLOCK_BYTES), off, bytes;

	off = (hot + prng_below(rng, 32768)) / unit * unit;
	bytes = (1 + prng_below(rng, max / 512)) * 512;
	if (prng_below(rng, 10) == 0)
		off = SMALL - bytes;
	if (off + bytes > SMALL)
		bytes = SMALL - off;
	if ((kind == VOLUME_READ || kind == VOLUME_WRITE) &&
	    off % IO_BYTES_MAX + bytes > IO_BYTES_MAX)
		bytes = IO_BYTES_MAX - off % IO_BYTES_MAX;
	for (uint64_t i = 0; i < bytes && kind == VOLUME_WRITE; i += 8) {
		uint64_t r = prng_u64(rng);

		memcpy(bytes_now + i, &r, 8);
	}
	p->expect = NULL;
	if (kind == VOLUME_READ) {
		p->expect = malloc(bytes);
		ck_assert_ptr_nonnull(p->expect);
		memcpy(p->expect, mirror + off, bytes);
	}
	vb_submit(b, c, &p->x, kind, off, bytes, prng_below(rng, 2) == 0 ? VOLUME_IO_NO_HOLE : 0,
		  bytes_now);
	mirror_apply(kind, off, bytes, bytes_now);
}

static void check_all(struct vb *b, struct vb_client *c)
{
	for (uint64_t off = 0; off < SMALL; off += IO_BYTES_MAX) {
		uint64_t n = SMALL - off < IO_BYTES_MAX ? SMALL - off : IO_BYTES_MAX;

		ck_assert_int_eq(vb_io(b, c, VOLUME_READ, off, n, bytes_now), 0);
		ck_assert_mem_eq(bytes_now, mirror + off, n);
	}
}

START_TEST(overlapping_operations_take_effect_in_order_and_survive_power_failures)
{
	struct vb *b = vb_open((uint64_t)_i + 10, STORE_BYTES);
	static struct planned p[DEPTH];
	struct vb_client c;
	struct prng rng;

	prng_init(&rng, (uint64_t)_i, 3);
	memset(mirror, 0, sizeof(mirror));
	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	for (uint32_t round = 0; round < 90; round++) {
		for (uint32_t i = 0; i < DEPTH; i++)
			submit_random(b, &c, &rng, &p[i]);
		for (uint32_t i = 0; i < DEPTH; i++) {
			ck_assert_int_eq(vb_io_end(b, &p[i].x, bytes_now), 0);
			if (p[i].expect != NULL)
				ck_assert_mem_eq(bytes_now, p[i].expect, p[i].x.io.bytes);
			free(p[i].expect);
		}
		if (round % 30 != 29)
			continue;
		check_all(b, &c);
		vb_crash(b);
		vb_boot(b);
		ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
		check_all(b, &c);
	}
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(stopping_revokes_clients_and_ends_what_is_in_flight)
{
	struct vb *b = vb_open(20, STORE_BYTES);
	struct vb_io x[DEPTH];
	struct vb_client c;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	for (uint32_t i = 0; i < DEPTH; i++)
		vb_submit(b, &c, &x[i], i % 3 == 0 ? VOLUME_READ : VOLUME_WRITE, i / 2 * 4096, 6144,
			  0, bytes_now);
	vb_stop(b);
	for (uint32_t i = 0; i < DEPTH; i++) {
		int rc = vb_io_end(b, &x[i], NULL);

		ck_assert(rc == 0 || rc == -ERR_CLOSED);
	}
	ck_assert(vb_revoked(&c));
	ck_assert_int_eq(fake_wait(b->f, &b->stop), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, 0, 512, bytes_now), -ERR_CLOSED);
	vb_detach(&c);
	conductor_close(&b->c);
	authority_discard(&b->authority);
	store_abandon(&b->store);
	vb_close(&b);
}
END_TEST

/* A disk that does not answer: clients are closed after suspend_max, nobody is let in before it is
 * known what became of their writes. */
START_TEST(clients_that_waited_too_long_are_closed_and_the_undecided_is_decided_first)
{
	struct vb *b = vb_open(21, STORE_BYTES);
	struct vb_io one, other;
	struct vb_client c, later;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	b->f->sim_disk->faults.stuck = true;
	memset(bytes_now, 5, 4096);
	vb_submit(b, &c, &one, VOLUME_WRITE, 0, 4096, 0, bytes_now);
	vb_submit(b, &c, &other, VOLUME_WRITE, 0, 4096, 0, bytes_now); /* waits at the gate */
	fake_run_for(b->f, 7 * SEC_NS);
	ck_assert(!vb_io_done(&one) && !vb_revoked(&c));
	fake_run_for(b->f, 3 * SEC_NS);
	ck_assert(vb_revoked(&c) && vb_io_done(&one) && vb_io_done(&other));
	ck_assert_int_eq(vb_io_end(b, &one, NULL), -ERR_CLOSED);
	ck_assert_int_eq(vb_io_end(b, &other, NULL), -ERR_CLOSED);
	ck_assert_int_eq(vb_attach(b, "g/v", &later), -ERR_SUSPENDED);
	vb_detach(&c);
	b->f->sim_disk->faults.stuck = false;
	sim_disk_unstick(b->f->sim_disk);
	fake_run_for(b->f, SEC_NS);
	ck_assert_int_eq(vb_attach(b, "g/v", &later), 0);
	ck_assert_int_eq(vb_io(b, &later, VOLUME_READ, 0, 4096, bytes_now), 0);
	ck_assert_uint_eq(bytes_now[0], 5);
	vb_detach(&later);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* Each write takes 2 s, longer than a peer would be given, and some are always in flight. */
START_TEST(a_slow_disk_that_answers_disconnects_nobody)
{
	struct vb *b = vb_open(23, STORE_BYTES);
	static struct vb_io x[8];
	struct vb_client c;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	b->f->sim_disk->write_ns = 2200 * MS_NS;
	memset(bytes_now, 5, 4096);
	for (uint32_t i = 0; i < 40; i++) {
		if (i >= ARRAY_COUNT(x))
			ck_assert_int_eq(vb_io_end(b, &x[i % ARRAY_COUNT(x)], NULL), 0);
		vb_submit(b, &c, &x[i % ARRAY_COUNT(x)], VOLUME_WRITE, i % ARRAY_COUNT(x) * 4096,
			  4096, 0, bytes_now);
		fake_run_for(b->f, 1000 * MS_NS);
		ck_assert(!vb_revoked(&c));
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(x); i++)
		ck_assert_int_eq(vb_io_end(b, &x[(40 + i) % ARRAY_COUNT(x)], NULL), 0);
	b->f->sim_disk->write_ns = MS_NS;
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_failed_store_ends_the_role_and_answers_nothing)
{
	struct vb *b = vb_open(22, STORE_BYTES);
	struct vb_client c;
	struct vb_io x;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	b->f->sim_disk->faults.fail_nth = 1;
	b->f->sim_disk->faults.fail_kinds = 1u << DISK_WRITE;
	b->f->sim_disk->faults.fail_rc = -ERR_IO;
	vb_submit(b, &c, &x, VOLUME_WRITE, 0, 4096, 0, bytes_now);
	ck_assert_int_eq(vb_io_end(b, &x, NULL), -ERR_CLOSED);
	ck_assert(vb_revoked(&c));
	ck_assert_int_lt(vb_attach(b, "g/v", &c), 0);
	vb_crash(b);
	vb_close(&b);
}
END_TEST

static uint32_t write_until_full(struct vb *b, struct vb_client *c, uint32_t from, uint32_t stride)
{
	for (uint32_t i = from; i < 4096; i++) {
		int rc = vb_io(b, c, VOLUME_WRITE, (uint64_t)i * stride, 4096, bytes_now);

		if (rc == -ERR_FULL)
			return i;
		ck_assert_int_eq(rc, 0);
	}
	ck_abort_msg("a volume of more than the store never fills it");
}

/* Each block takes a whole chunk: the worst that a client can do to a thin store. */
START_TEST(a_full_store_says_so_before_the_journal_and_ends_by_itself)
{
	struct vb *b = vb_open(24, 64 << 20);
	struct group_status st;
	struct vb_client c;
	uint32_t n;

	vb_make(b, 1ull << 30);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	memset(bytes_now, 9, sizeof(bytes_now));
	n = write_until_full(b, &c, 0, 65536);
	ck_assert_uint_gt(n, 100);
	ck_assert(conductor_store_is_full(b->c));
	ck_assert(conductor_group_status(b->c, 0, &st));
	ck_assert_ptr_nonnull(strstr(st.reason, "full"));
	ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, 1 << 29, 4096, bytes_now), -ERR_FULL);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_FLUSH, 0, 0, NULL), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, 0, 4096, bytes_now), 0);
	ck_assert_uint_eq(bytes_now[0], 9);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_ZERO, 512, 1024, NULL), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_TRIM, 0, (uint64_t)n / 2 * 65536, NULL), 0);
	fake_run_for(b->f, 5 * SEC_NS);
	ck_assert(!conductor_store_is_full(b->c));
	ck_assert_uint_gt(write_until_full(b, &c, n, 65536), n + n / 4);
	vb_detach(&c);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_DELETE, "g/v", 0, 0), 0);
	fake_run_for(b->f, 10 * SEC_NS);
	ck_assert(!conductor_store_is_full(b->c));
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* Group g whose writes wait when the store is full. */
static struct vb *stopping(uint64_t seed, struct vb_client *c)
{
	struct vb *b = vb_open(seed, 64 << 20);
	struct conductor_request r = {.kind = REQUEST_GROUP_SET, .set_on_full = true};

	vb_make(b, 1ull << 30);
	snprintf(r.group.name, sizeof(r.group.name), "g");
	r.group.on_full_stop = true;
	ck_assert_int_eq(vb_request(b, &r), 0);
	ck_assert_int_eq(vb_attach(b, "g/v", c), 0);
	return b;
}

/* Write until one does not come back: its number. */
static uint32_t write_until_held(struct vb *b, struct vb_client *c, struct vb_io *x)
{
	memset(bytes_now, 9, sizeof(bytes_now)); /* zeroes take no room */
	for (uint32_t i = 0; i < 4096; i++) {
		vb_submit(b, c, x, VOLUME_WRITE, (uint64_t)i * 65536, 4096, 0, bytes_now);
		for (uint32_t k = 0; k < 200 && !vb_io_done(x); k++)
			fake_run_for(b->f, 10 * MS_NS);
		if (!vb_io_done(x))
			return i;
		ck_assert_int_eq(vb_io_end(b, x, NULL), 0);
	}
	ck_abort_msg("a volume of more than the store never fills it");
}

START_TEST(a_full_store_holds_writes_if_its_group_says_so_until_there_is_room)
{
	struct group_status st;
	struct vb_client c;
	struct vb_io held;
	struct vb *b = stopping(26, &c);
	uint32_t n = write_until_held(b, &c, &held);

	ck_assert_uint_gt(n, 100);
	ck_assert_str_eq(conductor_room_word(b->c), "full");
	ck_assert(conductor_group_status(b->c, 0, &st));
	ck_assert_int_eq(st.state, GROUP_SUSPENDED);
	ck_assert_ptr_nonnull(strstr(st.reason, "full: writes wait"));
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, 0, 4096, bytes_now), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_TRIM, 0, (uint64_t)n / 2 * 65536, NULL), 0);
	ck_assert_int_eq(vb_io_end(b, &held, NULL), 0);
	fake_run_for(b->f, SEC_NS);
	ck_assert(!vb_revoked(&c) && conductor_group_status(b->c, 0, &st));
	ck_assert_int_eq(st.state, GROUP_SINGLE);
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(writes_held_by_a_full_store_end_when_suspend_max_is_over)
{
	struct vb_client c;
	struct vb_io held;
	struct vb *b = stopping(27, &c);

	write_until_held(b, &c, &held);
	fake_run_for(b->f, 10 * SEC_NS);
	ck_assert(vb_revoked(&c) && vb_io_done(&held));
	ck_assert_int_eq(vb_io_end(b, &held, NULL), -ERR_CLOSED);
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* The store grows under a held write, which then goes on. */
START_TEST(a_larger_store_has_room_for_what_was_held)
{
	struct conductor_request r = {
		.kind = REQUEST_STORE_GROW, .bytes = 96 << 20, .deadline_ms = 60000};
	struct vb_client c;
	struct vb_io held;
	struct vb *b = stopping(28, &c);
	struct event e;
	bool full = false, grown = false;

	b->f->sim_disk->grow_max = 96 << 20;
	write_until_held(b, &c, &held);
	ck_assert_int_eq(vb_request(b, &r), 0);
	ck_assert_int_eq(vb_io_end(b, &held, NULL), 0);
	fake_run_for(b->f, SEC_NS);
	for (uint64_t since = 0; conductor_event_after(b->c, since, &e); since = e.seq) {
		full |= e.kind == EVENT_STORE && strcmp(e.to, "full") == 0;
		grown |= e.kind == EVENT_STORE && strcmp(e.to, "grown") == 0;
	}
	ck_assert(full && grown);
	r.bytes = 64 << 20;
	ck_assert_int_eq(vb_request(b, &r), -ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(r.text, "only grows"));
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

static uint64_t used(struct vb *b)
{
	struct volume_status st;

	ck_assert(conductor_volume_status(b->c, "g", 0, &st));
	return st.used_bytes;
}

START_TEST(a_scrub_is_answered_when_everything_was_read)
{
	struct conductor_request one = {.kind = REQUEST_SCRUB, .group.name = "g"};
	struct conductor_request all = {.kind = REQUEST_SCRUB, .all = true};
	struct conductor_request none = {.kind = REQUEST_SCRUB, .group.name = "h"};
	struct vb *b = vb_open(41, STORE_BYTES);
	struct scrub_status st;
	struct vb_client c;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	memset(bytes_now, 7, 65536);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, i * 65536, 65536, bytes_now), 0);
	fake_run_for(b->f, 5 * SEC_NS); /* folded */
	ck_assert_int_eq(vb_request(b, &none), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_request(b, &one), 0);
	ck_assert_uint_eq(one.scrub.bytes, used(b));
	ck_assert_uint_ge(one.scrub.bytes, 8 * 65536);
	ck_assert_uint_eq(one.scrub.bad, 0);
	conductor_scrub_status(b->c, &st);
	ck_assert_uint_eq(st.last_success_s, 0); /* of one group only */
	ck_assert_int_eq(vb_request(b, &all), 0);
	ck_assert_uint_eq(all.scrub.bytes, one.scrub.bytes);
	conductor_scrub_status(b->c, &st);
	ck_assert(!st.running && st.last_success_s > 0);
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* Six hours after the start, without anybody asking; and a stop does not wait for its end. */
START_TEST(a_site_scrubs_by_itself)
{
	struct vb *b = vb_open(42, STORE_BYTES);
	struct scrub_status st;

	vb_make(b, SMALL);
	fake_run_for(b->f, 5 * 3600 * SEC_NS);
	conductor_scrub_status(b->c, &st);
	ck_assert(!st.running && st.last_success_s == 0);
	fake_run_for(b->f, 3600 * SEC_NS + 10 * SEC_NS);
	conductor_scrub_status(b->c, &st);
	ck_assert(!st.running && st.last_success_s > 0);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_stop_ends_a_scrub)
{
	struct conductor_request one = {.kind = REQUEST_SCRUB, .group.name = "g"};
	struct vb *b = vb_open(43, STORE_BYTES);
	struct vb_client c;
	struct fake_wait wait;

	vb_make(b, SMALL);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	memset(bytes_now, 7, 65536);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, i * 65536, 65536, bytes_now), 0);
	vb_detach(&c);
	fake_run_for(b->f, 5 * SEC_NS);
	fake_arm_on(b->f->env, &wait, &one.done);
	conductor_submit(b->c, &one);
	fake_run_for(b->f, MS_NS / 2);
	vb_shut(b);
	ck_assert_int_le(fake_wait(b->f, &wait), 0);
	vb_close(&b);
}
END_TEST

/* 64 MiB with a quarter of journal: 30 MiB fit, and go on fitting however often they are written. */
START_TEST(volumes_that_fit_whole_are_never_short_of_room)
{
	struct vb *b = vb_open(25, 64 << 20);
	struct vb_client c;
	struct prng rng;

	prng_init(&rng, 25, 1);
	vb_make(b, 30 << 20);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	for (uint64_t i = 0; i < 30; i++)
		ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, i << 20, 1 << 20, bytes_now), 0);
	for (uint32_t i = 0; i < 4000; i++)
		ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, prng_below(&rng, 30 << 8) * 4096, 4096,
				       bytes_now),
				 0);
	ck_assert(!conductor_store_is_full(b->c));
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_conductor_that_was_never_started_stops)
{
	struct vb *b = vb_open(23, STORE_BYTES);
	struct conductor_site site = {1, "east"};
	struct conductor_opts co = {.site = 1,
				    .sites = &site,
				    .site_count = 1,
				    .store = b->store,
				    .authority = b->authority,
				    .groups_max = 1};
	struct conductor *other;
	struct fake_wait w;

	ck_assert_int_eq(conductor_open(b->f->env, &co, &other), 0);
	conductor_stop(other, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	conductor_close(&other);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("volume");
	TCase *t = tcase_create("site");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, requests_are_answered_once_they_are_so_and_say_why_not);
	tcase_add_test(t, a_deleted_group_takes_its_volumes_along_and_its_name_is_free);
	tcase_add_test(t, a_volume_with_clients_is_not_deleted_and_grows_under_them);
	tcase_add_loop_test(
		t, overlapping_operations_take_effect_in_order_and_survive_power_failures, 0, 3);
	tcase_add_test(t, stopping_revokes_clients_and_ends_what_is_in_flight);
	tcase_add_test(t,
		       clients_that_waited_too_long_are_closed_and_the_undecided_is_decided_first);
	tcase_add_test(t, a_slow_disk_that_answers_disconnects_nobody);
	tcase_add_test(t, a_failed_store_ends_the_role_and_answers_nothing);
	tcase_add_test(t, a_full_store_says_so_before_the_journal_and_ends_by_itself);
	tcase_add_test(t, a_full_store_holds_writes_if_its_group_says_so_until_there_is_room);
	tcase_add_test(t, writes_held_by_a_full_store_end_when_suspend_max_is_over);
	tcase_add_test(t, a_larger_store_has_room_for_what_was_held);
	tcase_add_test(t, a_scrub_is_answered_when_everything_was_read);
	tcase_add_test(t, a_site_scrubs_by_itself);
	tcase_add_test(t, a_stop_ends_a_scrub);
	tcase_add_test(t, volumes_that_fit_whole_are_never_short_of_room);
	tcase_add_test(t, a_conductor_that_was_never_started_stops);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
