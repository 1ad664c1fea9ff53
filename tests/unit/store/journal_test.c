/* SPDX-License-Identifier: Apache-2.0 */
/* The journal alone: order, group commit, segments, recovery, cuts, crashes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/journal_rules.h"
#include "engine/store/journal_state.h"
#include "engine/store/store.h"
#include "tests/unit/store/journal_bench.h"

/* The rule of DESIGN section 6 in words, beside the one in code, for all 96 cases. */
START_TEST(decision_table_is_exhausted)
{
	uint32_t cases = 0;

	for (uint32_t bits = 0; bits < 32; bits++) {
		for (uint32_t known = KNOWN_BEFORE; known <= KNOWN_BEYOND; known++) {
			struct journal_facts f = {
				.at_limit = bits & 1,
				.below_fold = bits & 2,
				.header_ok = bits & 4,
				.payload_ok = bits & 8,
				.looked = bits & 16,
				.known = (enum journal_known)known,
			};
			enum journal_verdict got = journal_decide(&f);
			bool good = f.header_ok && f.payload_ok;

			cases++;
			if (f.at_limit) {
				ck_assert_int_eq(got, VERDICT_NEXT);
				continue;
			}
			ck_assert_int_ne(got, VERDICT_NEXT);
			if (good)
				ck_assert_int_eq(got, VERDICT_TAKE);
			if (known != KNOWN_BEFORE) /* durable once: never cut */
				ck_assert_int_ne(got, VERDICT_CUT);
			if (known == KNOWN_BEFORE && !f.below_fold) /* never durable: no hole */
				ck_assert_int_ne(got, VERDICT_HOLE);
			if (!f.looked)
				ck_assert_int_ne(got, VERDICT_CUT);
			if (f.looked)
				ck_assert_int_ne(got, VERDICT_LOOK);
			if (!f.header_ok)
				ck_assert_int_ne(got, VERDICT_TAKE);
			if (f.below_fold && !f.header_ok)
				ck_assert_int_eq(got, VERDICT_SKIP);
			if (!f.below_fold)
				ck_assert_int_ne(got, VERDICT_SKIP);
		}
	}
	ck_assert_uint_eq(cases, 96);
}
END_TEST

START_TEST(appended_records_become_durable_in_order)
{
	struct bench *b = bench_open(1);
	struct fake_wait waits[20];

	for (uint32_t i = 0; i < 20; i++)
		ck_assert_int_eq(bench_append(b, i % 3, fake_arm(b->f, &waits[i])), 0);
	ck_assert_uint_eq(journal_durable(b->j).v, 0);
	for (uint32_t i = 0; i < 20; i++) {
		ck_assert_int_eq(fake_wait(b->f, &waits[i]), 0);
		ck_assert_uint_ge(journal_durable(b->j).v, b->records[i].end);
	}
	bench_settle(b);
	ck_assert_uint_eq(journal_durable(b->j).v, journal_tail(b->j).v);
	ck_assert_uint_lt(b->f->sim_disk->counts.writes, 4); /* they shared writes */
	bench_close(&b);
}
END_TEST

START_TEST(record_of_another_history_is_refused)
{
	struct bench *b = bench_open(1);
	struct record_spec spec = {.type = RECORD_NOTE, .begin = {4096}};
	struct record *r = record_take(b->pool, b->f->env->bufs);

	record_seal(r, &spec);
	ck_assert_int_eq(journal_append(b->j, r, NULL), -ERR_FORK);
	spec.begin.v = 0;
	spec.prev_chain = 1;
	record_seal(r, &spec);
	ck_assert_int_eq(journal_append(b->j, r, NULL), -ERR_FORK);
	record_unref(&r);
	bench_close(&b);
}
END_TEST

static void append_many(struct bench *b, uint32_t n, uint32_t blocks_max)
{
	for (uint32_t i = 0; i < n; i++) {
		int rc = bench_append(b, (uint32_t)bench_random(b) % (blocks_max + 1), NULL);

		if (rc == -ERR_POOL_EMPTY || rc == -ERR_JOURNAL_FULL)
			bench_settle(b);
		if (bench_random(b) % 4 == 0)
			bench_run(b, bench_random(b) % 300000);
		while (b->count > 0) { /* commit what is durable, so that records are given back */
			struct journal_uncommitted u;

			if (b->failed || !journal_uncommitted_first(b->j, &u) ||
			    u.view.end.v > journal_durable(b->j).v)
				break;
			journal_committed_first(b->j);
		}
		if (b->f->sim_disk->faults.stopped || b->failed)
			return;
	}
}

START_TEST(sealed_segments_are_recovered_from_footers)
{
	struct bench *b = bench_open(3);
	uint64_t bytes;

	append_many(b, 1200, 16);
	bench_settle(b);
	bytes = journal_tail(b->j).v;
	ck_assert_uint_gt(bytes, 6 * BENCH_SEGMENT_BYTES);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_count, b->count);
	ck_assert_uint_eq(journal_tail(b->j).v, bytes);
	ck_assert_uint_lt(b->result.read_bytes, bytes / 2 + 3 * BENCH_SEGMENT_BYTES);
	bench_close(&b);
}
END_TEST

START_TEST(trimmed_journal_is_recovered_from_its_root)
{
	struct bench *b = bench_open(4);

	for (int round = 0; round < 12; round++) {
		append_many(b, 300, 16);
		bench_settle(b);
		bench_checkpoint(b, 100);
	}
	ck_assert_uint_gt(journal_trim(b->j).v, 0);
	append_many(b, 50, 8);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	append_many(b, 50, 8);
	bench_settle(b);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	bench_close(&b);
}
END_TEST

START_TEST(recovering_twice_gives_the_same)
{
	struct bench *b = bench_open(5);
	uint64_t tail;
	uint32_t found;

	append_many(b, 300, 8);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	tail = journal_tail(b->j).v;
	found = b->found_count;
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	ck_assert_uint_eq(journal_tail(b->j).v, tail);
	ck_assert_uint_eq(b->found_count, found);
	bench_close(&b);
}
END_TEST

START_TEST(cut_is_durable_and_history_goes_on_from_it)
{
	struct bench *b = bench_open(6);
	struct fake_wait wait;
	uint32_t keep;

	append_many(b, 100, 4);
	bench_settle(b);
	bench_checkpoint(b, 0);
	for (uint32_t i = 0; i < 60; i++)
		ck_assert_int_eq(bench_append(b, 4, NULL), 0);
	bench_settle(b);
	keep = b->count - 30;
	journal_cut(b->j, (struct lsn){b->records[keep].begin}, b->records[keep - 1].chain,
		    fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->count = keep;
	b->acked = b->records[keep - 1].end;
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->count, keep);
	append_many(b, 40, 4);
	bench_settle(b);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	bench_close(&b);
}
END_TEST

/* Flip a bit in a record that others after it know to be durable. */
START_TEST(damaged_durable_record_makes_a_hole_not_a_cut)
{
	struct bench *b = bench_open(7);
	struct journal_position at;

	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(bench_append(b, 2, NULL), 0);
		bench_settle(b);
	}
	ck_assert_int_eq(journal_locate(b->j, (struct lsn){b->records[4].begin}, &at), 0);
	sim_disk_flip(b->f->sim_disk, at.off + 20, 3);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	ck_assert(b->result.has_hole);
	ck_assert_uint_eq(journal_tail(b->j).v, b->records[4].begin);
	ck_assert_int_eq(bench_append(b, 1, NULL), -ERR_CORRUPT);
	bench_close(&b);
}
END_TEST

/* Write record 4 anew with another time: valid in itself, of this place, but of another history. */
static void forge(struct bench *b)
{
	static uint8_t header[RECORD_HEADER_BYTES];
	struct journal_position at;
	struct record_local local;
	struct record_view v;
	struct record_spec spec = {.type = RECORD_NOTE, .wall = {77}};
	uint64_t chain;

	ck_assert_int_eq(journal_locate(b->j, (struct lsn){b->records[4].begin}, &at), 0);
	sim_disk_peek(b->f->sim_disk, at.off, header, sizeof(header));
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), 0);
	ck_assert_int_eq(record_decode_local(header, &local), 0);
	spec.group = v.group;
	spec.begin = v.begin;
	spec.prev_chain = v.prev_chain;
	spec.epoch = v.epoch;
	record_encode(header, &spec, &chain);
	record_encode_local(header, &local);
	sim_disk_poke(b->f->sim_disk, at.off, header, sizeof(header));
}

START_TEST(record_of_another_history_is_not_recovered)
{
	for (uint32_t mutant = 0; mutant <= STORE_MUTANT_SKIP_CHAIN_CHECK;
	     mutant += STORE_MUTANT_SKIP_CHAIN_CHECK) {
		struct bench *b = bench_open(12);

		for (int i = 0; i < 10; i++) {
			ck_assert_int_eq(bench_append(b, 0, NULL), 0);
			bench_settle(b);
		}
		forge(b);
		bench_crash(b);
		b->opts.mutant = mutant;
		ck_assert_int_eq(bench_recover(b), 0);
		if (mutant == 0) { /* record 5 does not follow the forged one */
			ck_assert(b->result.has_hole);
			ck_assert_uint_eq(journal_tail(b->j).v, b->records[5].begin);
		} else {
			ck_assert(!b->result.has_hole); /* the seeded bug shows */
		}
		bench_close(&b);
	}
}
END_TEST

START_TEST(damage_below_fold_is_skipped)
{
	struct bench *b = bench_open(8);
	struct journal_position at;

	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(bench_append(b, 2, NULL), 0);
	bench_settle(b);
	bench_checkpoint(b, 3);
	ck_assert_int_eq(journal_locate(b->j, (struct lsn){b->records[4].begin}, &at), 0);
	sim_disk_flip(b->f->sim_disk, at.off + 20, 3);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	ck_assert(!b->result.has_hole);
	ck_assert_uint_eq(journal_tail(b->j).v, b->records[9].end);
	ck_assert_uint_eq(journal_trim(b->j).v, b->records[7].begin);
	bench_close(&b);
}
END_TEST

START_TEST(damaged_payload_of_a_durable_record_keeps_the_record)
{
	struct bench *b = bench_open(9);
	struct journal_position at;

	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(bench_append(b, 2, NULL), 0);
		bench_settle(b);
	}
	ck_assert_int_eq(journal_locate(b->j, (struct lsn){b->records[4].begin}, &at), 0);
	sim_disk_flip(b->f->sim_disk, at.off + 4096 + 20, 3);
	b->content_may_differ = true;
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	ck_assert_uint_eq(b->found_count, 10);
	bench_close(&b);
}
END_TEST

START_TEST(failed_write_fails_everything_after_it)
{
	struct bench *b = bench_open(10);
	struct fake_wait a, c;

	b->f->sim_disk->faults.fail_nth = 1;
	b->f->sim_disk->faults.fail_rc = -ERR_IO;
	ck_assert_int_eq(bench_append(b, 1, fake_arm(b->f, &a)), 0);
	ck_assert_int_eq(fake_wait(b->f, &a), -ERR_FAILED);
	ck_assert(b->failed);
	ck_assert_int_eq(bench_append(b, 1, fake_arm(b->f, &c)), -ERR_FAILED);
	bench_close(&b);
}
END_TEST

START_TEST(full_journal_refuses_data_but_has_room_for_control_records)
{
	struct bench *b = bench_open(11);
	struct journal_uncommitted u;
	int rc = 0;

	while (rc == 0 || rc == -ERR_POOL_EMPTY) {
		rc = bench_append(b, 16, NULL);
		if (rc == -ERR_POOL_EMPTY || b->count % 32 == 0)
			bench_settle(b);
		while (journal_uncommitted_first(b->j, &u) &&
		       u.view.end.v <= journal_durable(b->j).v)
			journal_committed_first(b->j);
	}
	ck_assert_int_eq(rc, -ERR_JOURNAL_FULL);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(bench_append(b, 0, NULL), 0);
	ck_assert_int_eq(bench_append(b, 16, NULL), -ERR_JOURNAL_FULL);
	bench_settle(b);
	bench_checkpoint(b, 0);
	ck_assert_int_eq(bench_append(b, 16, NULL), 0);
	bench_close(&b);
}
END_TEST

/* Crash again and again at a random I/O, each time with appends, cuts and checkpoints between. */
START_TEST(any_crash_keeps_a_prefix_with_all_that_was_acknowledged)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct bench *b = bench_open(seed);

		for (int life = 0; life < 5; life++) {
			b->f->sim_disk->faults.stop_nth = 1 + bench_random(b) % 40;
			append_many(b, 20 + (uint32_t)bench_random(b) % 200,
				    bench_random(b) % 3 == 0 ? 100 : 6);
			if (!b->f->sim_disk->faults.stopped && bench_random(b) % 2 == 0) {
				bench_settle(b);
				bench_checkpoint(b, (uint32_t)bench_random(b) % 50);
				append_many(b, 30, 6);
			}
			bench_crash(b);
			ck_assert_int_eq(bench_recover(b), 0);
			bench_check(b);
		}
		bench_close(&b);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/journal");
	TCase *c = tcase_create("journal");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, decision_table_is_exhausted);
	tcase_add_test(c, appended_records_become_durable_in_order);
	tcase_add_test(c, record_of_another_history_is_refused);
	tcase_add_test(c, sealed_segments_are_recovered_from_footers);
	tcase_add_test(c, trimmed_journal_is_recovered_from_its_root);
	tcase_add_test(c, recovering_twice_gives_the_same);
	tcase_add_test(c, cut_is_durable_and_history_goes_on_from_it);
	tcase_add_test(c, damaged_durable_record_makes_a_hole_not_a_cut);
	tcase_add_test(c, record_of_another_history_is_not_recovered);
	tcase_add_test(c, damage_below_fold_is_skipped);
	tcase_add_test(c, damaged_payload_of_a_durable_record_keeps_the_record);
	tcase_add_test(c, failed_write_fails_everything_after_it);
	tcase_add_test(c, full_journal_refuses_data_but_has_room_for_control_records);
	tcase_add_test(c, any_crash_keeps_a_prefix_with_all_that_was_acknowledged);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
