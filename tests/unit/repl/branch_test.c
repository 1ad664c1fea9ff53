/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deposed primary returns (QUORUM J6): b served alone and acknowledged, a was forced meanwhile.  With real stores:
 * what only b had must be there as a branch, whatever is interrupted, and b must end equal to a.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/snapshot.h"
#include "tests/unit/repl/duo.h"

static uint64_t lost[BLOCKS]; /* what b had when it was deposed */

/* Common history, then n writes at b in epoch 2, committed, one that is not, then epoch 3 at a, which was forced. */
static void fork_open(struct duo *d, uint64_t seed, const struct duo_setup *setup, uint32_t n)
{
	uint64_t common[BLOCKS];

	duo_open_with(d, seed, setup);
	writes(d, 40, MS_NS);
	follow(d);
	wait_streaming(d);
	check_equal(d);
	unfollow(d);
	repl_source_close(&d->a.source);
	memcpy(common, d->values, sizeof(common));
	d->writer = &d->b;
	begin_epoch(d, 2);
	writes(d, n, MS_NS);
	run(d, 20);
	commit(d);
	write_blocks(d, 5, 3);
	run(d, 20); /* durable at b, acknowledged by nobody: it is kept, too */
	memcpy(lost, d->values, sizeof(lost));
	memcpy(d->values, common, sizeof(common));
	d->writer = &d->a;
	d->forced = 3;
	begin_epoch(d, 3);
	writes(d, 60, MS_NS);
	run(d, 20);
	commit(d);
}

static bool content_is(struct duo *d, struct snapshot *snap, const uint64_t *values)
{
	bool right = true;

	for (uint64_t at = 0; at < BLOCKS; at += 16) {
		struct replica_read rd = {.block = at, .count = 16};
		struct buf *b = buf_take(d->b.env->bufs, 65536);
		struct fake_wait w;

		rd.data = b->data;
		fake_arm_on(d->b.env, &w, &rd.done);
		snapshot_read(snap, &rd);
		ck_assert_int_eq(fake_wait(d->f, &w), 0);
		for (uint32_t i = 0; i < 16; i++) {
			uint64_t x;

			memcpy(&x, b->data + i * 4096, 8);
			right = right && x == values[at + i];
		}
		buf_unref(&b);
	}
	return right;
}

/* The one snapshot that there is. */
static bool branch_is_right(struct duo *d)
{
	struct replica *r = visible(d, &d->b);
	struct snapshot_info info;
	struct snapshot *snap;
	struct fake_wait w;
	bool right;

	if (replica_snapshot_by_name(r, "branch-2", &info) < 0)
		return false;
	ck_assert_uint_eq(replica_snapshots(r, NULL, 0), 1);
	ck_assert(info.pinned && (info.flags & RECORD_SNAP_BRANCH) != 0);
	replica_snapshot_open(r, &info.uuid, &snap, fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	right = content_is(d, snap, lost);
	replica_snapshot_close(&snap);
	return right;
}

START_TEST(a_returning_primary_keeps_what_only_it_had)
{
	struct repl_follower_status fs;
	struct duo d;

	fork_open(&d, 1, &(struct duo_setup){0}, 30);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert(fs.branch.made && fs.branch.whole);
	ck_assert_str_eq(fs.branch.name, "branch-2");
	ck_assert_uint_ge(fs.branch.ranges, 30);
	ck_assert_uint_gt(fs.branch.bytes, 30 * 4096);
	ck_assert_uint_ge(fs.branch.last.v, fs.branch.first.v);
	ck_assert(branch_is_right(&d));
	duo_close(&d);
}
END_TEST

/* Everything of the fork is folded, and the journal of the common point is gone: FULL comes at once. */
START_TEST(a_folded_fork_is_kept_before_a_full_copy)
{
	struct replica_status st;
	struct fake_wait w;
	struct duo d;

	fork_open(&d, 2, &(struct duo_setup){0}, 80);
	replica_fold(visible(&d, &d.b), fake_arm_env(d.b.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	trim(&d);
	replica_status(visible(&d, &d.b), &st);
	ck_assert_uint_eq(st.fold.v, st.commit.v);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	ck_assert(branch_is_right(&d));
	duo_close(&d);
}
END_TEST

/* Power fails, or the process dies, at many moments of it: there is one branch in the end, and it is right. */
START_TEST(a_branch_survives_a_crash_at_any_moment)
{
	struct world_node *n;
	struct duo d;

	fork_open(&d, 4, &(struct duo_setup){0}, 60);
	n = d.f->world->nodes[1];
	for (uint32_t i = 0; i < 40; i++) {
		follow(&d);
		fake_run_for(d.f, 300000ull * (i + 1));
		world_crash(n, i % 3 == 0 ? WORLD_CRASH_KILL : WORLD_CRASH_POWER);
		repl_abandon(&d.b.repl);
		store_abandon(&d.b.store);
		d.b.follower = NULL;
		d.b.source = NULL;
		run(&d, 1);
		world_boot(n);
		op_init(&d.b.op, d.b.env->ready, site_step);
		site_open_store(&d, &d.b);
		site_open_repl(&d, &d.b);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
	}
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	ck_assert(branch_is_right(&d));
	duo_close(&d);
}
END_TEST

START_TEST(a_branch_is_deleted_at_its_site_alone)
{
	struct snapshot_info info;
	struct fake_wait w;
	struct duo d;

	fork_open(&d, 5, &(struct duo_setup){0}, 30);
	follow(&d);
	wait_streaming(&d);
	ck_assert_int_eq(replica_snapshot_by_name(visible(&d, &d.b), "branch-2", &info), 0);
	ck_assert_int_eq(
		replica_branch_delete(visible(&d, &d.b), &info.uuid, fake_arm_env(d.b.env, &w)), 0);
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	ck_assert_uint_eq(replica_snapshots(visible(&d, &d.b), NULL, 0), 0);
	unfollow(&d);
	run(&d, 2000);
	store_close(&d.b.store, fake_arm_env(d.b.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	site_open_store(&d, &d.b);
	ck_assert_uint_eq(replica_snapshots(visible(&d, &d.b), NULL, 0), 0);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

static bool kept_with(uint32_t mutant)
{
	struct duo d;
	bool right;

	fork_open(&d, 6, &(struct duo_setup){.repl_mutant = mutant}, 30);
	follow(&d);
	run(&d, 5000);
	right = state(&d) == REPL_STREAMING && branch_is_right(&d);
	duo_close(&d);
	return right;
}

START_TEST(its_seeded_bugs_are_found)
{
	ck_assert(kept_with(0));
	ck_assert(!kept_with(REPL_MUTANT_NO_BRANCH));
	ck_assert(!kept_with(REPL_MUTANT_CUT_FORCED));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("branches");
	TCase *t = tcase_create("a deposed primary");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_returning_primary_keeps_what_only_it_had);
	tcase_add_test(t, a_folded_fork_is_kept_before_a_full_copy);
	tcase_add_test(t, a_branch_survives_a_crash_at_any_moment);
	tcase_add_test(t, a_branch_is_deleted_at_its_site_alone);
	tcase_add_test(t, its_seeded_bugs_are_found);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
