/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal alone: the power fails at the 1st, 2nd, ... I/O of one and the same work, and at every
 * I/O of the recovery that follows.  Allowed: the journal recovers to a prefix of what was appended
 * that holds everything acknowledged; a recovery that was interrupted ends like one that was not.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "tests/unit/store/journal_bench.h"

static void commit_durable(struct bench *b)
{
	struct journal_uncommitted u;

	while (!b->failed && journal_uncommitted_first(b->j, &u) &&
	       u.view.end.v <= journal_durable(b->j).v)
		journal_committed_first(b->j);
}

/* Three segments, a checkpoint, a cut. */
static void work(struct bench *b)
{
	struct fake_wait wait;
	bool *stopped = &b->f->sim_disk->faults.stopped;

	for (uint32_t i = 0; i < 90 && !*stopped; i++) {
		if (bench_append(b, i % 7 == 0 ? 200 : i % 5, NULL) < 0)
			bench_settle(b);
		if (i % 4 != 0)
			bench_run(b, i % 3 == 0 ? 400000 : 60000);
		if (i == 60) {
			bench_settle(b);
			if (!*stopped)
				bench_checkpoint(b, 10);
		}
		if (i != 75 || *stopped)
			commit_durable(b);
		if (i == 75) {
			uint32_t keep = b->count - 5;

			bench_settle(b);
			if (*stopped)
				return;
			while (keep < b->count && b->records[keep].begin < b->root_fold.v)
				keep++;
			journal_cut(b->j, (struct lsn){b->records[keep].begin},
				    b->records[keep - 1].chain, fake_arm(b->f, &wait));
			b->acked = b->records[keep].begin; /* from now on both ends are allowed */
			b->cut_from = b->records[keep].begin;
			if (fake_wait(b->f, &wait) < 0)
				return;
			b->count = keep;
			b->cut_from = 0;
		}
	}
	bench_settle(b);
}

START_TEST(power_fails_at_every_io)
{
	uint64_t n = 1;
	uint32_t stopped = 0;

	for (;; n++) {
		struct bench *b = bench_open(1);
		bool done;

		b->f->sim_disk->faults.stop_nth = n;
		work(b);
		done = !b->f->sim_disk->faults.stopped;
		stopped += !done;
		bench_crash(b);
		ck_assert_int_eq(bench_recover(b), 0);
		bench_check(b);
		bench_close(&b);
		if (done)
			break;
	}
	ck_assert_uint_gt(stopped, 50);
	printf("journal_crash: %u places\n", stopped);
}
END_TEST

START_TEST(power_fails_at_every_io_of_recovery)
{
	struct bench *b = bench_open(2);
	uint64_t tail;
	uint32_t found, n = 0;

	b->f->sim_disk->faults.stop_nth = 60;
	work(b);
	bench_crash(b);
	ck_assert_int_eq(bench_recover(b), 0);
	bench_check(b);
	tail = journal_tail(b->j).v;
	found = b->found_count;
	for (;;) {
		bool stopped;

		bench_crash(b);
		b->f->sim_disk->faults.stop_nth = ++n;
		(void)bench_recover(b);
		stopped = b->f->sim_disk->faults.stopped;
		bench_crash(b);
		ck_assert_int_eq(bench_recover(b), 0);
		ck_assert_uint_eq(journal_tail(b->j).v, tail);
		ck_assert_uint_eq(b->found_count, found);
		if (!stopped)
			break;
	}
	ck_assert_uint_gt(n, 5);
	bench_close(&b);
}
END_TEST

/* A read that fails is never taken for the journal's end. */
START_TEST(any_failed_read_of_recovery_is_told)
{
	uint32_t failed = 0;

	for (uint32_t n = 1;; n++) {
		struct bench *b = bench_open(3);
		uint64_t tail;

		work(b);
		tail = journal_tail(b->j).v;
		bench_crash(b);
		b->f->sim_disk->faults.fail_nth = n;
		b->f->sim_disk->faults.fail_rc = -ERR_IO;
		if (bench_recover(b) == 0) {
			ck_assert_uint_eq(journal_tail(b->j).v,
					  tail); /* a footer may be done without */
		} else {
			ck_assert_int_eq(b->recover_rc, -ERR_IO);
			failed++;
		}
		bench_close(&b);
		if (n > 60)
			break;
	}
	ck_assert_uint_gt(failed, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault/journal_crash");
	TCase *c = tcase_create("journal_crash");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 200);
	tcase_add_test(c, power_fails_at_every_io);
	tcase_add_test(c, power_fails_at_every_io_of_recovery);
	tcase_add_test(c, any_failed_read_of_recovery_is_told);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
