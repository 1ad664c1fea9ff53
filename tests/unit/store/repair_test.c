/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad blocks with somebody to ask: served right, written again in place, told.  The peer is a copy of
 * what the store answered before its disk was damaged.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/store/repair.h"
#include "tests/unit/store/replica_bench.h"

struct peer {
	struct rb *b;
	uint8_t *data[RB_VOLUMES]; /* RB_BLOCKS blocks each */
	uint32_t crcs[RB_VOLUMES][RB_BLOCKS];
	bool away, lies;
	uint32_t asked;
};

static void peer_fetch(void *ctx, struct repair_request *q)
{
	struct peer *p = ctx;

	p->asked++;
	ck_assert(uuid_equal(&q->group, &p->b->group));
	if (p->away || p->crcs[q->volume][q->block] != q->crc) {
		completion_fire(&q->done, -ERR_NOT_FOUND);
		return;
	}
	memcpy(q->data, p->data[q->volume] + q->block * BLOCK_BYTES, BLOCK_BYTES);
	q->data[77] ^= p->lies;
	completion_fire(&q->done, 0);
}

static int read_blocks(struct rb *b, struct replica_read *rd)
{
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &rd->done);
	replica_read(b->r, rd);
	return fake_wait(b->f, &wait);
}

/* Learn everything, then offer it. */
static void peer_learn(struct peer *p, struct rb *b)
{
	struct store_repair port = {.fetch = peer_fetch, .ctx = p};

	memset(p, 0, sizeof(*p));
	p->b = b;
	for (uint32_t v = 0; v < RB_VOLUMES; v++) {
		p->data[v] = aligned_alloc(BLOCK_BYTES, (RB_BLOCKS + 4) * BLOCK_BYTES);
		for (uint32_t at = 0; at < RB_BLOCKS; at += 100) {
			struct replica_read rd = {.volume = v,
						  .block = at,
						  .count = 100,
						  .data = p->data[v] + (size_t)at * BLOCK_BYTES,
						  .crcs = &p->crcs[v][at]};

			ck_assert_int_eq(read_blocks(b, &rd), 0);
		}
	}
	store_repair_set(b->store, &port);
}

static void peer_free(struct peer *p)
{
	for (uint32_t v = 0; v < RB_VOLUMES; v++)
		free(p->data[v]);
}

/* Every place on the disk that looks like this block rots; how many. */
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

/* Every block with content rots, in home and in the journal. */
static uint32_t rot_all(struct peer *p)
{
	static const uint8_t zeroes[BLOCK_BYTES];
	uint32_t n = 0;

	for (uint32_t v = 0; v < RB_VOLUMES; v++)
		for (uint32_t i = 0; i < RB_BLOCKS; i++) {
			const uint8_t *data = p->data[v] + (size_t)i * BLOCK_BYTES;

			if (n < 40 && memcmp(data, zeroes, BLOCK_BYTES) != 0)
				n += rot(p->b, data) > 0;
		}
	return n;
}

static struct rb *worked(uint64_t seed, uint32_t mutant, bool folded)
{
	struct rb *b = rb_open(seed, mutant);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 60);
	rb_settle(b);
	if (folded) {
		replica_fold(b->r, fake_arm(b->f, &wait));
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	}
	return b;
}

static void read_everything_right(struct peer *p)
{
	static uint8_t data[100 * BLOCK_BYTES] __attribute__((aligned(4096)));

	for (uint32_t v = 0; v < RB_VOLUMES; v++)
		for (uint32_t at = 0; at < RB_BLOCKS; at += 100) {
			struct replica_read rd = {
				.volume = v, .block = at, .count = 100, .data = data};

			ck_assert_int_eq(read_blocks(p->b, &rd), 0);
			ck_assert_int_eq(
				memcmp(data, p->data[v] + (size_t)at * BLOCK_BYTES, sizeof(data)),
				0);
		}
}

static void finish(struct rb **b, struct peer *p)
{
	store_repair_set((*b)->store, NULL);
	rb_close(b);
	peer_free(p);
}

/* First the peer gives the blocks; after the worker's turn the disk has them, without any peer. */
static void served_and_rewritten(bool folded)
{
	struct rb *b = worked(11, 0, folded);
	struct store_repair_status st;
	struct peer p;
	uint32_t n;

	peer_learn(&p, b);
	n = rot_all(&p);
	ck_assert_uint_gt(n, 10);
	read_everything_right(&p);
	ck_assert_uint_ge(p.asked, n);
	fake_run_for(b->f, SEC_NS);
	store_repair_status(b->store, &st);
	ck_assert_uint_eq(st.rewrites, 0);
	ck_assert_uint_eq(st.failed, 0);
	ck_assert_uint_gt(st.repaired, 0);
	ck_assert_uint_eq(b->f->env->counters->v[CTR_REPAIRS], st.repaired);
	read_everything_right(&p);
	fake_run_for(b->f, SEC_NS);
	p.away = true;
	read_everything_right(&p);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	finish(&b, &p);
}

START_TEST(a_bad_home_block_is_served_from_the_peer_and_written_again)
{
	served_and_rewritten(true);
}
END_TEST

START_TEST(a_bad_journal_block_is_served_from_the_peer_and_written_again)
{
	served_and_rewritten(false);
}
END_TEST

START_TEST(what_comes_with_another_checksum_is_never_served)
{
	static uint8_t data[BLOCK_BYTES] __attribute__((aligned(4096)));
	struct replica_read rd = {.volume = 0, .block = 5, .count = 1, .data = data};
	struct rb *b = worked(7, 0, true);
	struct store_repair_status st;
	struct repair_note note;
	struct peer p;

	peer_learn(&p, b);
	p.lies = true;
	ck_assert_uint_gt(rot(b, p.data[0] + 5 * BLOCK_BYTES), 0);
	ck_assert_int_eq(read_blocks(b, &rd), -ERR_CORRUPT);
	ck_assert_uint_eq(rd.bad_block, 5);
	ck_assert_uint_eq(rd.repaired, 0);
	ck_assert_int_eq(read_blocks(b, &rd), -ERR_CORRUPT);
	fake_run_for(b->f, SEC_NS);
	ck_assert(store_repair_note(b->store, &note)); /* once per block */
	ck_assert_int_eq(note.result, REPAIR_FAILED);
	ck_assert_uint_eq(note.block, 5);
	ck_assert_int_eq(note.rc, -ERR_CORRUPT);
	ck_assert(!store_repair_note(b->store, &note));
	store_repair_status(b->store, &st);
	ck_assert_uint_eq(st.failed, 1);
	ck_assert_uint_eq(st.repaired, 0);
	finish(&b, &p);
}
END_TEST

/* The seeded bug of the simulator: here it shows in one read. */
START_TEST(without_the_check_wrong_data_would_be_served)
{
	static uint8_t data[BLOCK_BYTES] __attribute__((aligned(4096)));
	struct replica_read rd = {.volume = 0, .block = 5, .count = 1, .data = data};
	struct rb *b = worked(7, STORE_MUTANT_REPAIR_UNCHECKED, true);
	struct peer p;

	peer_learn(&p, b);
	p.lies = true;
	ck_assert_uint_gt(rot(b, p.data[0] + 5 * BLOCK_BYTES), 0);
	ck_assert_int_eq(read_blocks(b, &rd), 0);
	ck_assert_int_ne(memcmp(data, p.data[0] + 5 * BLOCK_BYTES, BLOCK_BYTES), 0);
	finish(&b, &p);
}
END_TEST

START_TEST(a_read_for_a_peer_asks_nobody)
{
	static uint8_t data[BLOCK_BYTES] __attribute__((aligned(4096)));
	struct replica_read rd = {
		.volume = 0, .block = 5, .count = 1, .data = data, .no_repair = true};
	struct rb *b = worked(7, 0, true);
	struct repair_note note;
	struct peer p;

	peer_learn(&p, b);
	ck_assert_uint_gt(rot(b, p.data[0] + 5 * BLOCK_BYTES), 0);
	ck_assert_int_eq(read_blocks(b, &rd), -ERR_CORRUPT);
	ck_assert_uint_eq(p.asked, 0);
	ck_assert(!store_repair_note(b->store, &note));
	finish(&b, &p);
}
END_TEST

/* FB3: with the peer's help the journal is folded; without it fold waits. */
START_TEST(fold_mends_the_journal_with_the_peer_and_waits_without)
{
	struct rb *b = worked(12, 0, false);
	struct fake_wait wait;
	struct peer p;

	peer_learn(&p, b);
	ck_assert_uint_gt(rot_all(&p), 10);
	p.away = true;
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_CORRUPT);
	p.away = false;
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_uint_gt(b->f->env->counters->v[CTR_REPAIRS], 0);
	p.away = true;
	read_everything_right(&p);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	finish(&b, &p);
}
END_TEST

/* Its place moved on before the worker's turn: what was fetched must not overwrite what is there now. */
START_TEST(a_block_that_has_moved_is_not_written_to_its_old_place)
{
	struct rb *b = worked(13, 0, true);
	struct peer p;

	for (uint32_t round = 0; round < 12; round++) {
		peer_learn(&p, b);
		ck_assert_uint_gt(rot_all(&p), 10);
		read_everything_right(&p);
		rb_work(b, 80); /* folds and writes beside the rewrites */
		rb_settle(b);
		rb_check_content(b);
		p.away = true;
		peer_free(&p);
	}
	store_repair_set(b->store, NULL);
	fake_run_for(b->f, SEC_NS);
	rb_check_content(b);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store/repair");
	TCase *c = tcase_create("repair");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, a_bad_home_block_is_served_from_the_peer_and_written_again);
	tcase_add_test(c, a_bad_journal_block_is_served_from_the_peer_and_written_again);
	tcase_add_test(c, what_comes_with_another_checksum_is_never_served);
	tcase_add_test(c, without_the_check_wrong_data_would_be_served);
	tcase_add_test(c, a_read_for_a_peer_asks_nobody);
	tcase_add_test(c, fold_mends_the_journal_with_the_peer_and_waits_without);
	tcase_add_test(c, a_block_that_has_moved_is_not_written_to_its_old_place);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
