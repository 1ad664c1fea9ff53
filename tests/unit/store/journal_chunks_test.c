/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/store/journal_chunks_test.c: large writes by reference, a journal alone.  The bench checks at
 * every recovery that each payload block is where the record says.
 */
#include <check.h>
#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "tests/unit/store/journal_bench.h"

#define CHUNKS_OF_99 (99 / CHUNK_BLOCKS) /* whole ones of a write that begins at a chunk */

static uint64_t counter(const struct bench *b, enum counter_id id)
{
	return b->f->env->counters->v[id];
}

/* Append; bufs come back when what is durable is committed. */
static void append(struct bench *b, uint32_t blocks)
{
	struct journal_uncommitted u;
	int rc = bench_append(b, blocks, NULL);

	for (uint32_t i = 0; i < 100 && rc < 0; i++) {
		bench_settle(b);
		while (journal_uncommitted_first(b->j, &u) &&
		       u.view.end.v <= journal_durable(b->j).v)
			journal_committed_first(b->j);
		rc = bench_append(b, blocks, NULL);
	}
	ck_assert_int_eq(rc, 0);
}

START_TEST(whole_chunks_go_to_the_disk_once)
{
	struct bench *b = bench_open(1);

	ck_assert_int_eq(bench_append(b, 99, NULL), 0);
	bench_settle(b);
	ck_assert_uint_eq(journal_durable(b->j).v, 100 * BLOCK_BYTES);
	ck_assert_uint_eq(bench_named(b), CHUNKS_OF_99);
	ck_assert_uint_eq(counter(b, CTR_CHUNK_BYTES), CHUNKS_OF_99 * CHUNK_BYTES);
	/* segment header, record header, the three blocks behind the last whole chunk */
	ck_assert_uint_eq(counter(b, CTR_JOURNAL_BYTES), 5 * BLOCK_BYTES);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_chunks, CHUNKS_OF_99);
	ck_assert_uint_eq(bench_named(b), CHUNKS_OF_99);
	bench_close(&b);
}
END_TEST

START_TEST(fewer_than_four_whole_chunks_go_in_place)
{
	struct bench *b = bench_open(2);

	ck_assert_int_eq(bench_append(b, 63, NULL), 0);
	ck_assert_int_eq(bench_append(b, 40, NULL), 0);
	bench_settle(b);
	ck_assert_uint_eq(bench_named(b), 0);
	ck_assert_uint_eq(counter(b, CTR_CHUNK_BYTES), 0);
	bench_close(&b);
}
END_TEST

START_TEST(without_room_at_home_a_large_write_goes_in_place)
{
	struct bench *b = bench_open(3);

	bench_no_room(b, true);
	ck_assert_int_eq(bench_append(b, 199, NULL), 0);
	bench_settle(b);
	ck_assert_uint_eq(journal_durable(b->j).v, 200 * BLOCK_BYTES);
	ck_assert_uint_eq(bench_named(b), 0);
	bench_no_room(b, false);
	ck_assert_int_eq(bench_append(b, 199, NULL), 0);
	bench_settle(b);
	ck_assert_uint_eq(bench_named(b), 12);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_chunks, 12);
	bench_close(&b);
}
END_TEST

/* Small records behind a large one share its write; none is durable before it. */
START_TEST(records_behind_a_large_one_wait_for_its_chunks)
{
	struct bench *b = bench_open(4);
	struct fake_wait small;

	ck_assert_int_eq(bench_append(b, 199, NULL), 0);
	ck_assert_int_eq(bench_append(b, 1, fake_arm(b->f, &small)), 0);
	ck_assert_int_eq(bench_append(b, 199, NULL), 0);
	ck_assert_int_eq(fake_wait(b->f, &small), 0);
	ck_assert_uint_ge(journal_durable(b->j).v, b->records[1].end);
	bench_settle(b);
	ck_assert_uint_eq(journal_durable(b->j).v, journal_tail(b->j).v);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_count, 3);
	bench_close(&b);
}
END_TEST

/* Through many segments, footers and scans, with reopenings: everything is found where it lies. */
START_TEST(chunks_survive_segments_and_reopenings)
{
	struct bench *b = bench_open(5);

	for (uint32_t round = 0; round < 6; round++) {
		for (uint32_t i = 0; i < 20; i++) {
			uint32_t blocks = i % 3 == 0 ? 199 : i % 3 == 1 ? 1 + i : 230;

			append(b, blocks);
		}
		bench_settle(b);
		bench_checkpoint(b, 15);
		bench_crash(b);
		ck_assert_int_eq(bench_recover(b), 0);
		bench_check(b);
		ck_assert_uint_eq(b->found_chunks, bench_named(b));
		ck_assert_uint_gt(b->found_chunks, 50);
	}
	bench_close(&b);
}
END_TEST

/* All of a sealed segment is folded: it is read no more than needed, but its chunks stay named till trim. */
START_TEST(chunks_below_fold_stay_named_until_the_trim)
{
	struct bench *b = bench_open(6);
	uint32_t named;

	for (uint32_t i = 0; i < 12; i++) {
		append(b, 199);
	}
	bench_settle(b);
	named = bench_named(b);
	ck_assert_uint_eq(named, 12 * 12);
	journal_root_at(b->j, (struct lsn){0}, &b->root); /* a pin keeps it all */
	b->root_fold = b->root_known = journal_durable(b->j);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	ck_assert_uint_eq(bench_named(b), named);
	journal_root_at(b->j, journal_tail(b->j), &b->root);
	journal_trim_to(b->j, &b->root);
	ck_assert_uint_eq(bench_named(b), 0);
	bench_close(&b);
}
END_TEST

START_TEST(a_cut_lets_its_chunks_go_when_it_is_durable)
{
	struct bench *b = bench_open(7);
	struct fake_wait wait;

	for (uint32_t i = 0; i < 4; i++)
		ck_assert_int_eq(bench_append(b, 199, NULL), 0);
	bench_settle(b);
	ck_assert_uint_eq(bench_named(b), 48);
	journal_cut(b->j, (struct lsn){b->records[2].begin}, b->records[1].chain,
		    fake_arm(b->f, &wait));
	ck_assert_uint_eq(bench_named(b), 48);
	b->count = 2;
	b->acked = b->records[1].end;
	ck_assert_int_eq(bench_append(b, 199, NULL), 0); /* while the cut is on its way */
	ck_assert_uint_eq(bench_named(b), 60);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_uint_eq(bench_named(b), 36);
	bench_settle(b);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_count, 3);
	ck_assert_uint_eq(bench_named(b), 36);
	bench_close(&b);
}
END_TEST

/* A valid header proves its chunks: one that is bad is damage.  The record stays, its content does not
 * pass for anything. */
START_TEST(a_damaged_chunk_is_never_a_torn_tail)
{
	struct bench *b = bench_open(8);
	uint8_t byte = 0x5a;

	ck_assert_int_eq(bench_append(b, 1, NULL), 0);
	ck_assert_int_eq(bench_append(b, 199, NULL), 0);
	bench_settle(b);
	sim_disk_poke(b->f->sim_disk, BENCH_SEGMENTS * BENCH_SEGMENT_BYTES + 70000, &byte, 1);
	b->content_may_differ = true;
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_count, 2);
	bench_close(&b);
}
END_TEST

/* Two records cannot name one chunk: such a journal is not believed. */
START_TEST(a_chunk_named_twice_is_corruption)
{
	struct bench *b = bench_open(9);
	struct journal_position at;
	static uint8_t header[RECORD_HEADER_BYTES];
	struct record_local one, two;

	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(bench_append(b, 99, NULL), 0);
		bench_settle(b);
	}
	ck_assert_int_eq(journal_locate(b->j, (struct lsn){0}, &at), 0);
	sim_disk_peek(b->f->sim_disk, at.off, header, sizeof(header));
	ck_assert_int_eq(record_decode_local(header, &one), 0);
	ck_assert_int_eq(journal_locate(b->j, (struct lsn){b->records[1].begin}, &at), 0);
	sim_disk_peek(b->f->sim_disk, at.off, header, sizeof(header));
	ck_assert_int_eq(record_decode_local(header, &two), 0);
	two.chunks = one.chunks;
	record_encode_local(header, &two);
	sim_disk_poke(b->f->sim_disk, at.off, header, sizeof(header));
	b->content_may_differ = true;
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), -ERR_CORRUPT);
	bench_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/journal_chunks");
	TCase *c = tcase_create("journal_chunks");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, whole_chunks_go_to_the_disk_once);
	tcase_add_test(c, fewer_than_four_whole_chunks_go_in_place);
	tcase_add_test(c, without_room_at_home_a_large_write_goes_in_place);
	tcase_add_test(c, records_behind_a_large_one_wait_for_its_chunks);
	tcase_add_test(c, chunks_survive_segments_and_reopenings);
	tcase_add_test(c, chunks_below_fold_stay_named_until_the_trim);
	tcase_add_test(c, a_cut_lets_its_chunks_go_when_it_is_durable);
	tcase_add_test(c, a_damaged_chunk_is_never_a_torn_tail);
	tcase_add_test(c, a_chunk_named_twice_is_corruption);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
