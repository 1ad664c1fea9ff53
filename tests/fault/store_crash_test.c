/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fault/store_crash_test.c: power fails at every single I/O of formatting, opening, folding, a
 * checkpoint, a full copy's switch, a delete; then the check must be clean and nothing acknowledged lost.
 * And every single I/O fails once: the store stops or goes on, and reopening loses nothing.
 */
#include <check.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"
#include "tests/unit/store/stage_bench.h"

#define STEPS_MAX 4000u

/* Power that fails in the middle of these leaves their small control objects behind: nobody but they
 * knows them.  (Read by the leak sanitizer, where there is one.) */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:store_format\nleak:replica_create\nleak:replica_delete\nleak:replica_make\n"
	       "leak:journal_create\nleak:store_create\nleak:store_check\nleak:replica_life.c\n"
	       "leak:replica_stage_switch\n";
}

/* What is interrupted; the store is open, content is committed, nothing is in flight. */
typedef void action_fn(struct rb *b);

static void act_fold(struct rb *b)
{
	struct fake_wait wait;

	replica_fold(b->r, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
}

static void act_folds(struct rb *b)
{
	struct fake_wait wait;

	replica_fold(b->r, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
	rb_work(b, 5);
	replica_fold(b->r, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
}

static void act_floors(struct rb *b)
{
	struct store_floor floor = {.epoch = 5, .cfg = 1};
	struct fake_wait wait;

	store_floor_set(b->store, &b->group, &floor, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
	floor.epoch = 6;
	store_floor_set(b->store, &b->group, &floor, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
}

static void act_create_and_delete(struct rb *b)
{
	struct uuid other = {{77}};
	struct fake_wait wait;

	replica_create(b->store, &other, "other", fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
	replica_delete(b->store, &other, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
}

/* A full copy takes the place of the visible replica; then the old tree is given back. */
static void act_switch(struct rb *b)
{
	struct fake_wait wait;

	if (stage_bench_copy(b) < 0)
		return;
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	if (fake_wait(b->f, &wait) < 0)
		return;
	b->r = replica_find(b->store, &b->group);
	fake_run_for(b->f, SEC_NS);
}

/* The same with what a comparison does: trees shared with the visible replica, imported over. */
static void act_switch_own(struct rb *b)
{
	struct fake_wait wait;

	if (stage_bench_own(b) < 0)
		return;
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	if (fake_wait(b->f, &wait) < 0)
		return;
	b->r = replica_find(b->store, &b->group);
	fake_run_for(b->f, SEC_NS);
}

/* A file grows by two segments: it is enlarged, written, and a checkpoint counts it. */
static void act_grow(struct rb *b)
{
	struct store_growth g;

	b->f->sim_disk->disk.thin = true;
	b->f->sim_disk->grow_max = 101ull << 20;
	if (store_grow(b->store, 101ull << 20) < 0)
		return;
	for (uint32_t i = 0; i < 100; i++) {
		fake_run_for(b->f, 10 * MS_NS);
		store_growth(b->store, &g);
		if (!g.busy)
			break;
	}
	rb_work(b, 5);
	rb_settle(b);
}

/* One world, as far as the action; the same for every n. */
static struct rb *prepared(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 60);
	rb_settle(b);
	act_fold(b);
	rb_work(b, 40);
	rb_settle(b);
	return b;
}

static void after(struct rb *b)
{
	rb_crash(b);
	b->f->sim_disk->faults = (struct sim_disk_faults){.torn_ppm = 500000};
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	act_fold(b);
	rb_check_content(b);
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}

static void crash_everywhere(action_fn *act)
{
	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		struct rb *b = prepared(40 + n % 3);
		bool stopped;

		b->f->sim_disk->faults.stop_nth = n;
		act(b);
		stopped = b->f->sim_disk->faults.stopped;
		after(b);
		if (!stopped)
			return;
	}
	ck_abort_msg("the action never ended");
}

static void fail_everywhere(action_fn *act)
{
	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		struct rb *b = prepared(50 + n % 3);
		uint64_t left;

		b->f->sim_disk->faults.fail_nth = n;
		b->f->sim_disk->faults.fail_rc = -ERR_IO;
		act(b);
		left = b->f->sim_disk->faults.fail_nth;
		after(b);
		if (left != 0)
			return;
	}
	ck_abort_msg("the action never ended");
}

START_TEST(crash_at_every_io_of_fold_and_checkpoint)
{
	crash_everywhere(act_fold);
}
END_TEST

START_TEST(crash_at_every_io_of_repeated_folds)
{
	crash_everywhere(act_folds);
}
END_TEST

START_TEST(crash_at_every_io_of_floors)
{
	crash_everywhere(act_floors);
}
END_TEST

START_TEST(crash_at_every_io_of_create_and_delete)
{
	crash_everywhere(act_create_and_delete);
}
END_TEST

START_TEST(failure_of_every_io_of_fold_and_checkpoint)
{
	fail_everywhere(act_fold);
}
END_TEST

START_TEST(failure_of_every_io_of_create_and_delete)
{
	fail_everywhere(act_create_and_delete);
}
END_TEST

START_TEST(crash_at_every_io_of_a_full_copy_and_its_switch)
{
	crash_everywhere(act_switch);
}
END_TEST

START_TEST(failure_of_every_io_of_a_full_copy_and_its_switch)
{
	fail_everywhere(act_switch);
}
END_TEST

START_TEST(crash_at_every_io_of_a_comparison_and_its_switch)
{
	crash_everywhere(act_switch_own);
}
END_TEST

START_TEST(failure_of_every_io_of_a_comparison_and_its_switch)
{
	fail_everywhere(act_switch_own);
}
END_TEST

START_TEST(crash_at_every_io_of_growing)
{
	crash_everywhere(act_grow);
}
END_TEST

START_TEST(failure_of_every_io_of_growing)
{
	fail_everywhere(act_grow);
}
END_TEST

/* Recovery is interrupted again and again, at every I/O, and converges. */
START_TEST(crash_at_every_io_of_opening)
{
	struct rb *b = prepared(60);

	rb_crash(b);
	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		int rc;

		b->f->sim_disk->faults.stop_nth = n;
		rc = rb_reopen(b);
		if (rc == 0) {
			b->f->sim_disk->faults.stop_nth = 0;
			rb_check(b);
			after(b);
			return;
		}
		ck_assert_int_eq(rc, -ERR_TIMEOUT);
		rb_crash(b);
		b->f->sim_disk->faults = (struct sim_disk_faults){.torn_ppm = 500000};
	}
	ck_abort_msg("it never opened");
}
END_TEST

START_TEST(crash_at_every_io_of_formatting_gives_a_store_or_none)
{
	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		struct rb *b = rb_open(70, 0);
		int rc;

		b->f->sim_disk->faults.stop_nth = n;
		rc = rb_start(b);
		if (!b->f->sim_disk->faults.stopped) {
			ck_assert_int_eq(rc, 0);
			rb_close(&b);
			return;
		}
		rb_crash(b);
		b->f->sim_disk->faults = (struct sim_disk_faults){.torn_ppm = 500000};
		rc = rb_reopen(b);
		ck_assert_msg(rc == 0 || rc == -ERR_NOT_FOUND || rc == -ERR_NOT_STORE ||
				      rc == -ERR_CORRUPT,
			      "%d", rc);
		rb_close(&b);
	}
	ck_abort_msg("it never ended");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault/store");
	TCase *c = tcase_create("store");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 600);
	tcase_add_test(c, crash_at_every_io_of_fold_and_checkpoint);
	tcase_add_test(c, crash_at_every_io_of_repeated_folds);
	tcase_add_test(c, crash_at_every_io_of_floors);
	tcase_add_test(c, crash_at_every_io_of_create_and_delete);
	tcase_add_test(c, failure_of_every_io_of_fold_and_checkpoint);
	tcase_add_test(c, failure_of_every_io_of_create_and_delete);
	tcase_add_test(c, crash_at_every_io_of_a_full_copy_and_its_switch);
	tcase_add_test(c, failure_of_every_io_of_a_full_copy_and_its_switch);
	tcase_add_test(c, crash_at_every_io_of_a_comparison_and_its_switch);
	tcase_add_test(c, failure_of_every_io_of_a_comparison_and_its_switch);
	tcase_add_test(c, crash_at_every_io_of_growing);
	tcase_add_test(c, failure_of_every_io_of_growing);
	tcase_add_test(c, crash_at_every_io_of_opening);
	tcase_add_test(c, crash_at_every_io_of_formatting_gives_a_store_or_none);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
