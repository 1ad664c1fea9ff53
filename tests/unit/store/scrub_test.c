/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scrub finds what nobody has read: it comes back from the peer, or is counted.  The peer is a copy of
 * what the store answered before its disk was damaged.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/store/repair.h"
#include "engine/store/scrub.h"
#include "tests/unit/store/replica_bench.h"

#define FAST (1ull << 40)
#define MIB (1ull << 20)

struct peer {
	struct rb *b;
	uint8_t *data; /* RB_BLOCKS blocks of volume 0 */
	bool away;
	uint32_t asked;
};

static void peer_fetch(void *ctx, struct repair_request *q)
{
	struct peer *p = ctx;

	p->asked++;
	if (p->away || q->volume != 0) {
		completion_fire(&q->done, -ERR_NOT_FOUND);
		return;
	}
	memcpy(q->data, p->data + q->block * BLOCK_BYTES, BLOCK_BYTES);
	completion_fire(&q->done, 0);
}

static void peer_learn(struct peer *p, struct rb *b)
{
	struct store_repair port = {.fetch = peer_fetch, .ctx = p};

	memset(p, 0, sizeof(*p));
	p->b = b;
	p->data = aligned_alloc(BLOCK_BYTES, RB_BLOCKS * BLOCK_BYTES);
	for (uint32_t at = 0; at < RB_BLOCKS; at += 100) {
		struct replica_read rd = {.volume = 0,
					  .block = at,
					  .count = 100,
					  .data = p->data + (size_t)at * BLOCK_BYTES};
		struct fake_wait wait;

		fake_arm_on(b->f->env, &wait, &rd.done);
		replica_read(b->r, &rd);
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	}
	store_repair_set(b->store, &port);
}

/* Every place on the disk that looks like this block rots. */
static uint32_t rot(struct rb *b, const uint8_t *data)
{
	static uint8_t disk[65536];
	uint32_t n = 0;

	for (uint64_t at = 0; at < b->f->disk->bytes; at += sizeof(disk)) {
		sim_disk_peek(b->f->sim_disk, at, disk, sizeof(disk));
		for (uint32_t i = 0; i < sizeof(disk); i += BLOCK_BYTES)
			if (memcmp(disk + i, data, BLOCK_BYTES) == 0) {
				sim_disk_flip(b->f->sim_disk, at + i + 100, 1);
				n++;
			}
	}
	return n;
}

/* `count` blocks of volume 0 with content rot, whatever their number. */
static uint32_t rot_some(struct peer *p, uint32_t count)
{
	static const uint8_t zeroes[BLOCK_BYTES];
	uint32_t n = 0;

	for (uint32_t i = 0; i < RB_BLOCKS && n < count; i++) {
		const uint8_t *data = p->data + (size_t)i * BLOCK_BYTES;

		if (memcmp(data, zeroes, BLOCK_BYTES) != 0)
			n += rot(p->b, data) > 0;
	}
	return n;
}

static struct rb *worked(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 120);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	return b;
}

static int scrub(struct rb *b, struct store_scrub *q, uint64_t bytes_s)
{
	struct fake_wait wait;

	q->group = b->group;
	fake_arm_on(b->f->env, &wait, &q->done);
	ck_assert_int_eq(store_scrub_start(b->store, q, bytes_s), 0);
	return fake_wait(b->f, &wait);
}

static void finish(struct rb **b, struct peer *p)
{
	store_repair_set((*b)->store, NULL);
	rb_close(b);
	free(p->data);
}

START_TEST(all_that_the_volumes_hold_is_read)
{
	struct rb *b = worked(31);
	struct replica_volume v[RB_VOLUMES];
	struct store_scrub q;
	uint64_t used = 0;

	ck_assert_uint_eq(replica_volumes(b->r, v, RB_VOLUMES), RB_VOLUMES);
	for (uint32_t i = 0; i < RB_VOLUMES; i++)
		used += v[i].used_bytes;
	ck_assert_uint_gt(used, 0);
	ck_assert_int_eq(scrub(b, &q, FAST), 0);
	ck_assert_uint_eq(q.result.bytes, used);
	ck_assert_uint_eq(q.result.bad, 0);
	ck_assert_uint_eq(b->f->env->counters->v[CTR_SCRUB_BYTES], used);
	rb_close(&b);
}
END_TEST

/* More of them than the queue of rewrites takes: none is dropped. */
START_TEST(bad_blocks_that_a_peer_has_are_found_and_repaired)
{
	struct rb *b = worked(32);
	struct store_repair_status st;
	struct store_scrub q;
	struct peer p;
	uint32_t n;

	peer_learn(&p, b);
	n = rot_some(&p, 200);
	ck_assert_uint_gt(n, 100);
	ck_assert_int_eq(scrub(b, &q, FAST), 0);
	ck_assert_uint_ge(q.result.bad, n);
	ck_assert_uint_eq(q.result.repaired, q.result.bad);
	ck_assert_uint_eq(q.result.unrepairable, 0);
	store_repair_status(b->store, &st);
	ck_assert_uint_eq(st.rewrites, 0);
	ck_assert_uint_eq(st.repaired, q.result.repaired);
	p.away = true;
	ck_assert_int_eq(scrub(b, &q, FAST), 0);
	ck_assert_uint_eq(q.result.bad, 0);
	rb_check_content(b);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	finish(&b, &p);
}
END_TEST

START_TEST(a_bad_block_that_nobody_has_is_counted_and_told)
{
	struct rb *b = worked(33);
	struct store_scrub q;
	struct repair_note note;
	struct peer p;

	peer_learn(&p, b);
	p.away = true;
	ck_assert_uint_eq(rot_some(&p, 1), 1);
	ck_assert_int_eq(scrub(b, &q, FAST), 0);
	ck_assert_uint_gt(q.result.bad, 0);
	ck_assert_uint_eq(q.result.repaired, 0);
	ck_assert_uint_eq(q.result.unrepairable, q.result.bad);
	ck_assert_uint_gt(p.asked, 0);
	ck_assert_uint_eq(b->f->env->counters->v[CTR_SCRUB_UNREPAIRABLE], q.result.bad);
	ck_assert(store_repair_note(b->store, &note));
	ck_assert_int_eq(note.result, REPAIR_FAILED);
	finish(&b, &p);
}
END_TEST

START_TEST(it_goes_as_fast_as_it_is_told)
{
	struct rb *b = worked(34);
	struct store_scrub q;
	uint64_t began = clock_now(b->f->env->clock).v, took;

	ck_assert_int_eq(scrub(b, &q, MIB), 0);
	took = clock_now(b->f->env->clock).v - began;
	ck_assert_uint_gt(q.result.bytes, 2 * MIB);
	/* the last run is not waited for */
	ck_assert_uint_ge(took, (q.result.bytes - MIB) * SEC_NS / MIB);
	ck_assert_uint_le(took, q.result.bytes * SEC_NS / MIB + 2 * SEC_NS);
	rb_close(&b);
}
END_TEST

START_TEST(one_at_a_time_and_it_stops_when_told_or_when_the_store_closes)
{
	struct rb *b = worked(35);
	struct store_scrub q = {.group = b->group}, other = {.group = b->group};
	struct fake_wait wait, second, closed;

	fake_arm_on(b->f->env, &wait, &q.done);
	ck_assert_int_eq(store_scrub_start(b->store, &q, 1), 0);
	fake_arm_on(b->f->env, &second, &other.done);
	ck_assert_int_eq(store_scrub_start(b->store, &other, 1), -ERR_BUSY);
	fake_run_for(b->f, 10 * MS_NS);
	store_scrub_stop(b->store);
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_CLOSED);
	ck_assert_int_eq(store_scrub_start(b->store, &other, 1), 0);
	fake_run_for(b->f, 10 * MS_NS);
	store_close(&b->store, fake_arm(b->f, &closed));
	ck_assert_int_eq(fake_wait(b->f, &closed), 0);
	ck_assert_int_eq(fake_wait(b->f, &second), -ERR_CLOSED);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

START_TEST(writes_and_folds_beside_it_do_no_harm)
{
	struct rb *b = worked(36);
	struct store_scrub q = {.group = b->group};
	struct fake_wait wait;

	for (uint32_t round = 0; round < 4; round++) {
		fake_arm_on(b->f->env, &wait, &q.done);
		ck_assert_int_eq(store_scrub_start(b->store, &q, 8 * MIB), 0);
		rb_work(b, 150);
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
		ck_assert_uint_eq(q.result.bad, 0);
	}
	rb_settle(b);
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

START_TEST(a_group_that_is_deleted_meanwhile_ends_it)
{
	struct rb *b = worked(37);
	struct store_scrub q = {.group = b->group};
	struct fake_wait wait, deleted;

	fake_arm_on(b->f->env, &wait, &q.done);
	ck_assert_int_eq(store_scrub_start(b->store, &q, 1), 0);
	fake_run_for(b->f, 10 * MS_NS);
	replica_delete(b->store, &b->group, fake_arm(b->f, &deleted));
	ck_assert_int_eq(fake_wait(b->f, &deleted), 0);
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_NOT_FOUND);
	ck_assert_int_eq(scrub(b, &q, FAST), -ERR_NOT_FOUND);
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store/scrub");
	TCase *c = tcase_create("scrub");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, all_that_the_volumes_hold_is_read);
	tcase_add_test(c, bad_blocks_that_a_peer_has_are_found_and_repaired);
	tcase_add_test(c, a_bad_block_that_nobody_has_is_counted_and_told);
	tcase_add_test(c, it_goes_as_fast_as_it_is_told);
	tcase_add_test(c, one_at_a_time_and_it_stops_when_told_or_when_the_store_closes);
	tcase_add_test(c, writes_and_folds_beside_it_do_no_harm);
	tcase_add_test(c, a_group_that_is_deleted_meanwhile_ends_it);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
