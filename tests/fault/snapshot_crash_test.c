/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fault/snapshot_crash_test.c: power fails at every single I/O of a workload with snapshots, overwrites, a
 * delete, a rollback and a clone; and every single I/O of it fails once.  Then the check is clean, nothing
 * acknowledged is lost, and every snapshot, the group and its clone have the content of the model.
 * And at every I/O around the deletion of a snapshot whose chunks are then written: with the seeded bug
 * ghost-at-once some of these power failures bring the snapshot back with blocks that were overwritten.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/store_parts.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/snapshot_bench.h"

#define STEPS_MAX 4000u

/* As in store_crash_test.c: power that fails leaves small control objects behind. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:replica_create\nleak:replica_delete\nleak:replica_make\nleak:journal_create\n"
	       "leak:store_create\nleak:store_check\nleak:replica_life.c\n";
}

static void fold(struct rb *b)
{
	struct fake_wait wait;

	replica_fold(b->r, fake_arm(b->f, &wait));
	fake_wait(b->f, &wait);
}

/* Appends fail once the disk did: the model then knows of no record. */
static void act_snapshots(struct rb *b, struct rb **clone)
{
	(void)clone;
	(void)sb_create(b, 2);
	rb_work(b, 8);
	rb_settle(b);
	(void)sb_delete(b, 1);
	rb_work(b, 4);
	rb_settle(b);
	fold(b);
	fake_run_for(b->f, 300 * MS_NS); /* what was deleted is given back */
	(void)sb_delete(b, 2);
	rb_settle(b);
	fake_run_for(b->f, 300 * MS_NS);
}

static void act_rollback(struct rb *b, struct rb **clone)
{
	(void)clone;
	rb_work(b, 6);
	if (sb_restore(b, 1, 3) < 0)
		return;
	rb_work(b, 6);
	rb_settle(b);
	(void)sb_delete(b, 1); /* the restore may still need it */
	rb_settle(b);
	fold(b);
	fake_run_for(b->f, 300 * MS_NS);
}

static void act_clone(struct rb *b, struct rb **clone)
{
	rb_work(b, 6);
	*clone = sb_clone(b, 1, 3);
	if (*clone == NULL)
		return;
	rb_settle(*clone);
	rb_work(*clone, 8);
	rb_work(b, 4);
	rb_settle(*clone);
	rb_settle(b);
	fold(*clone);
	fold(b);
}

typedef void action_fn(struct rb *b, struct rb **clone);

/* Snapshot 1 is there, with content above it. */
static struct rb *prepared(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 20);
	rb_settle(b);
	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_work(b, 10);
	rb_settle(b);
	fold(b);
	return b;
}

static void check_clone(struct rb *b, struct rb *clone)
{
	struct replica_status st;

	if (clone == NULL || sb_clone_reopen(clone, b) < 0)
		return;
	replica_status(clone->r, &st);
	if (st.tail.v > 0)
		rb_check(clone);
}

static void after(struct rb *b, struct rb **clone)
{
	rb_crash(b);
	b->f->sim_disk->faults = (struct sim_disk_faults){.torn_ppm = 500000};
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	check_clone(b, *clone);
	sb_check(b);
	fold(b);
	fake_run_for(b->f, 300 * MS_NS);
	rb_check_content(b);
	rb_crash(b);
	check_bench_clean(b->f);
	sb_clone_close(clone);
	rb_close(&b);
}

static void crash_everywhere(action_fn *act)
{
	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		struct rb *b = prepared(140 + n % 3), *clone = NULL;
		bool stopped;

		b->f->sim_disk->faults.stop_nth = n;
		act(b, &clone);
		stopped = b->f->sim_disk->faults.stopped;
		after(b, &clone);
		if (!stopped) {
			printf("power failed at each of %llu I/Os\n", (unsigned long long)n - 1);
			return;
		}
	}
	ck_abort_msg("the action never ended");
}

static void fail_everywhere(action_fn *act)
{
	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		struct rb *b = prepared(150 + n % 3), *clone = NULL;
		uint64_t left;

		b->f->sim_disk->faults.fail_nth = n;
		b->f->sim_disk->faults.fail_rc = -ERR_IO;
		act(b, &clone);
		left = b->f->sim_disk->faults.fail_nth;
		after(b, &clone);
		if (left != 0) {
			printf("each of %llu I/Os failed\n", (unsigned long long)n - 1);
			return;
		}
	}
	ck_abort_msg("the action never ended");
}

static action_fn *const actions[] = {act_snapshots, act_rollback, act_clone};

START_TEST(crash_at_every_io_of_snapshots_a_rollback_and_a_clone)
{
	crash_everywhere(actions[_i]);
}
END_TEST

START_TEST(failure_of_every_io_of_snapshots_a_rollback_and_a_clone)
{
	fail_everywhere(actions[_i]);
}
END_TEST

/* --- a snapshot that is deleted while its chunks are about to be written --- */

static void write_shared(struct rb *b)
{
	struct record_extent e = {.kind = EXTENT_DATA, .block = 3, .count = 2};

	(void)rb_append_extents(b, &e, 1);
	rb_settle(b);
}

/*
 * What fold will write is below a commit that a checkpoint told, so it goes without another checkpoint; the
 * deletion is not: after a power cut it may never have been committed.
 */
static void act_delete(struct rb *b)
{
	struct fake_wait wait;

	write_shared(b);
	store_checkpoint(b->store, fake_arm(b->f, &wait));
	(void)fake_wait(b->f, &wait);
	if (b->f->sim_disk->faults.stopped)
		return;
	(void)sb_delete(b, 1);
	rb_settle(b);
	fake_run_for(b->f, 2 * MS_NS); /* the worker looks at its tree */
	if (!b->f->sim_disk->faults.stopped)
		fold(b);
}

/* Nothing but these two blocks, so that the tail of the journal says nothing of later commits. */
static struct rb *prepared_to_delete(uint32_t mutant)
{
	struct record_extent e = {.kind = EXTENT_DATA, .block = 0, .count = 10};
	struct rb *b = rb_open(160, mutant);

	ck_assert_int_eq(rb_start(b), 0);
	ck_assert_int_eq(rb_append_extents(b, &e, 1), 0);
	rb_settle(b);
	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_settle(b);
	fold(b);
	return b;
}

/* Block 3 of the snapshot, as of the commit that the opening found; false: it is listed and cannot be read. */
static bool snapshot_is_whole(struct rb *b)
{
	static uint8_t data[BLOCK_BYTES] __attribute__((aligned(4096)));
	struct replica_read rd = {.block = 3, .count = 1, .data = data};
	struct snapshot *snap;
	struct fake_wait wait;
	uint32_t ids[4];

	if (sb_listed(b, ids, 4) == 0)
		return true;
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	fake_arm_on(b->f->env, &wait, &rd.done);
	snapshot_read(snap, &rd);
	if (fake_wait(b->f, &wait) == 0) {
		struct snapshot_info info;

		snapshot_info_get(snap, &info);
		rb_check_block(b, data, 0, 3, info.lsn.v);
	}
	replica_snapshot_close(&snap);
	return rd.done.rc == 0;
}

struct losses {
	uint64_t places, listed, unreadable, bad;
};

static struct losses power_fails_around_a_delete(uint32_t mutant)
{
	struct losses l = {0};

	for (uint64_t n = 1; n < STEPS_MAX; n++) {
		struct rb *b = prepared_to_delete(mutant);
		struct store_check c = {.digest = true};
		bool stopped;
		uint32_t ids[4];

		b->f->sim_disk->faults.stop_nth = n;
		act_delete(b);
		stopped = b->f->sim_disk->faults.stopped;
		rb_crash(b);
		b->f->sim_disk->faults = (struct sim_disk_faults){.torn_ppm = 500000};
		l.bad += check_bench_run(b->f, &c) > 0;
		ck_assert_int_eq(rb_reopen(b), 0);
		l.listed += sb_listed(b, ids, 4);
		l.unreadable += !snapshot_is_whole(b);
		rb_check(b);
		rb_close(&b);
		if (!stopped)
			return l;
		l.places++;
	}
	ck_abort_msg("the action never ended");
}

START_TEST(snapshot_is_whole_wherever_the_power_fails_around_its_deletion)
{
	struct losses l = power_fails_around_a_delete(STORE_MUTANT_NONE);

	printf("power failed at each of %llu I/Os around a delete; the snapshot was there after %llu\n",
	       (unsigned long long)l.places, (unsigned long long)l.listed);
	ck_assert_uint_gt(l.listed, 0);
	ck_assert_uint_lt(l.listed, l.places);
	ck_assert_uint_eq(l.unreadable, 0);
	ck_assert_uint_eq(l.bad, 0);
}
END_TEST

START_TEST(tree_given_back_before_its_deletion_is_durable_is_found)
{
	struct losses l = power_fails_around_a_delete(STORE_MUTANT_GHOST_AT_ONCE);

	printf("ghost-at-once: after %llu of %llu power failures the check says so, after %llu a read\n",
	       (unsigned long long)l.bad, (unsigned long long)l.places,
	       (unsigned long long)l.unreadable);
	ck_assert_uint_gt(l.unreadable, 0);
	ck_assert_uint_gt(l.bad, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault/snapshot");
	TCase *c = tcase_create("snapshot");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 600);
	tcase_add_loop_test(c, crash_at_every_io_of_snapshots_a_rollback_and_a_clone, 0, 3);
	tcase_add_loop_test(c, failure_of_every_io_of_snapshots_a_rollback_and_a_clone, 0, 3);
	tcase_add_test(c, snapshot_is_whole_wherever_the_power_fails_around_its_deletion);
	tcase_add_test(c, tree_given_back_before_its_deletion_is_durable_is_found);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
