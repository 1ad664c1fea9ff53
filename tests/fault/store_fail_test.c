/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole store at work: the 1st, 2nd, ... I/O fails; or the power fails there.
 * Allowed when an I/O fails: the call that needed it answers an error, or the store is FAILED and
 * stays so; nothing acknowledged is lost when it is opened again; content read is right or refused.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "tests/unit/store/replica_bench.h"

/* Every step of this many is tried; all of them with TS_FAULT_ALL=1. */
#define STRIDE_FAIL 7u
#define STRIDE_STOP 5u

static uint32_t stride(uint32_t usual)
{
	return getenv("TS_FAULT_ALL") != NULL ? 1 : usual;
}

static void work(struct rb *b)
{
	struct fake_wait wait;

	rb_work(b, 120);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	(void)fake_wait(b->f, &wait);
	rb_work(b, 40);
	rb_settle(b);
}

START_TEST(any_failed_write_is_told_and_loses_nothing)
{
	uint32_t failed = 0;

	for (uint64_t n = 1;; n += stride(STRIDE_FAIL)) {
		struct rb *b = rb_open(1, 0);
		bool was_hit;

		ck_assert_int_eq(rb_start(b), 0);
		b->f->sim_disk->faults.fail_nth = n;
		b->f->sim_disk->faults.fail_kinds = 1u << DISK_WRITE | 1u << DISK_FLUSH;
		b->f->sim_disk->faults.fail_rc = -ERR_IO;
		work(b);
		was_hit = b->f->sim_disk->faults.fail_nth == 0;
		if (was_hit) {
			failed += store_is_failed(b->store);
			ck_assert(store_is_failed(b->store)); /* a failed write is never forgiven */
			ck_assert_int_eq(rb_append_note(b), -ERR_FAILED);
		}
		rb_crash(b);
		ck_assert_int_eq(rb_reopen(b), 0);
		rb_check(b);
		rb_close(&b);
		if (!was_hit)
			break;
	}
	ck_assert_uint_gt(failed, 5);
	printf("store_fail: %u failed writes\n", failed);
}
END_TEST

START_TEST(power_fails_at_every_io_and_loses_nothing)
{
	uint32_t places = 0;

	for (uint64_t n = 1;; n += stride(STRIDE_STOP)) {
		struct rb *b = rb_open(2, 0);
		bool stopped;

		ck_assert_int_eq(rb_start(b), 0);
		b->f->sim_disk->faults.stop_nth = n;
		work(b);
		stopped = b->f->sim_disk->faults.stopped;
		places += stopped;
		rb_crash(b);
		ck_assert_int_eq(rb_reopen(b), 0);
		rb_check(b);
		rb_close(&b);
		if (!stopped)
			break;
	}
	ck_assert_uint_gt(places, 10);
	printf("store_fail: %u places\n", places);
}
END_TEST

START_TEST(any_failed_io_of_open_is_told_and_harmless)
{
	uint32_t refused = 0;

	for (uint64_t n = 1; n < 120; n++) {
		struct rb *b = rb_open(3, 0);
		int rc;

		ck_assert_int_eq(rb_start(b), 0);
		work(b);
		rb_crash(b);
		b->f->sim_disk->faults.fail_nth = n;
		b->f->sim_disk->faults.fail_rc = -ERR_IO;
		rc = rb_reopen(b);
		if (rc < 0 && b->store == NULL)
			refused++;
		if (b->f->sim_disk->faults.fail_nth != 0)
			n = 1000; /* beyond the last */
		rb_crash(b);
		ck_assert_int_eq(rb_reopen(b), 0);
		rb_check(b);
		rb_close(&b);
	}
	ck_assert_uint_gt(refused, 3);
}
END_TEST

START_TEST(failed_reads_answer_io_errors_and_never_wrong_data)
{
	static uint8_t data[IO_BYTES_MAX] __attribute__((aligned(4096)));
	struct rb *b = rb_open(4, 0);
	uint32_t refused = 0;

	ck_assert_int_eq(rb_start(b), 0);
	work(b);
	for (uint32_t n = 1; n < 20; n++) {
		struct replica_read rd = {
			.volume = n % 2, .block = n * 60, .count = 100, .data = data};
		struct fake_wait wait;
		int rc;

		b->f->sim_disk->faults.fail_nth = 1;
		b->f->sim_disk->faults.fail_count = n % 3 + 1;
		b->f->sim_disk->faults.fail_kinds = 1u << DISK_READ;
		b->f->sim_disk->faults.fail_rc = -ERR_IO;
		fake_arm_on(b->f->env, &wait, &rd.done);
		replica_read(b->r, &rd);
		rc = fake_wait(b->f, &wait);
		ck_assert(rc == 0 || rc == -ERR_IO);
		refused += rc < 0;
		b->f->sim_disk->faults.fail_nth = 0;
		rb_check_blocks(b, n % 2, n * 60, 100);
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert(!store_is_failed(b->store));
	rb_close(&b);
}
END_TEST

/* Seeded bugs: the crash test above must find each of them. */
static bool crash_finds_a_loss(uint32_t mutant, uint32_t ios, uint32_t appends)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct rb *b = rb_open(seed, mutant);
		struct replica_status st;
		bool found = false;

		if (rb_start(b) == 0) {
			if (mutant == STORE_MUTANT_TRIM_EARLY) /* a long way to durable */
				b->f->sim_disk->flush_ns = 60 * MS_NS;
			b->f->sim_disk->faults.stop_nth = 1 + rb_random(b) % ios;
			rb_work(b, appends);
			rb_crash(b);
			if (rb_reopen(b) < 0) {
				found = true;
			} else {
				replica_status(b->r, &st);
				found = st.tail.v < b->acked || st.has_hole;
			}
		}
		rb_close(&b);
		if (found)
			return true;
	}
	return false;
}

START_TEST(acknowledging_before_durable_is_found)
{
	ck_assert(!crash_finds_a_loss(STORE_MUTANT_NONE, 60, 100));
	ck_assert(crash_finds_a_loss(STORE_MUTANT_ACK_BEFORE_DURABLE, 60, 100));
}
END_TEST

START_TEST(trimming_before_the_checkpoint_is_found)
{
	ck_assert(crash_finds_a_loss(STORE_MUTANT_TRIM_EARLY, 3000, 600));
}
END_TEST

START_TEST(folding_beyond_commit_is_found)
{
	struct rb *b = rb_open(5, STORE_MUTANT_FOLD_BEYOND_COMMIT);
	struct replica_status st;

	ck_assert_int_eq(rb_start(b), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(rb_append(b), 0);
	fake_run_for(b->f, SEC_NS);
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.commit.v, st.tail.v); /* nobody told it so */
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault/store_fail");
	TCase *c = tcase_create("store_fail");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 400);
	tcase_add_test(c, any_failed_write_is_told_and_loses_nothing);
	tcase_add_test(c, power_fails_at_every_io_and_loses_nothing);
	tcase_add_test(c, any_failed_io_of_open_is_told_and_harmless);
	tcase_add_test(c, failed_reads_answer_io_errors_and_never_wrong_data);
	tcase_add_test(c, acknowledging_before_durable_is_found);
	tcase_add_test(c, trimming_before_the_checkpoint_is_found);
	tcase_add_test(c, folding_beyond_commit_is_found);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
