/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sites with real stores on simulated disks: what the fake store cannot show, that catch-up,
 * cuts and full copies work with the journal, fold, staging and recovery of engine/store.
 */
#include <check.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "tests/unit/repl/duo.h"

START_TEST(a_new_site_catches_up_from_the_journal)
{
	struct duo d;

	duo_open(&d, 1);
	writes(&d, 150, MS_NS);
	follow(&d);
	writes(&d, 150, MS_NS);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

START_TEST(a_full_copy_under_writes_ends_equal)
{
	struct repl_follower_status fs;
	struct duo d;

	duo_open(&d, 2);
	trim(&d);
	follow(&d);
	writes(&d, 200, MS_NS);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert_uint_gt(fs.base_bytes, 0);
	duo_close(&d);
}
END_TEST

/* After a full copy the site goes on from its journal, also after it was closed and opened. */
START_TEST(a_copied_site_goes_on_from_its_journal)
{
	struct repl_follower_status fs;
	struct fake_wait w;
	struct duo d;

	duo_open(&d, 3);
	trim(&d);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	unfollow(&d);
	run(&d, 2000);
	store_close(&d.b.store, fake_arm_env(d.b.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	site_open_store(&d, &d.b);
	writes(&d, 50, MS_NS);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert_uint_eq(fs.base_bytes, 0);
	duo_close(&d);
}
END_TEST

/* Links are cut at many moments of catch-up and full copy; each time it attaches anew. */
START_TEST(a_session_lost_at_many_moments_is_survived)
{
	struct world *w;
	struct duo d;

	duo_open(&d, 4);
	trim(&d);
	w = d.f->world;
	for (uint32_t i = 0; i < 12; i++) {
		follow(&d);
		writes(&d, 2 + 5 * i, MS_NS);
		world_cut(w->nodes[0], w->nodes[1], true);
		world_cut(w->nodes[1], w->nodes[0], true);
		writes(&d, 3, MS_NS);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_closed, &d));
		unfollow(&d);
		world_cut(w->nodes[0], w->nodes[1], false);
		world_cut(w->nodes[1], w->nodes[0], false);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
	}
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

/* b holds records that a lost before they were durable there: never committed, so they are cut. */
START_TEST(a_fork_is_cut_with_the_real_journal)
{
	struct repl_follower_status fs;
	struct lsn kept;
	struct fake_wait w;
	struct duo d;

	duo_open(&d, 5);
	writes(&d, 20, MS_NS);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	kept = tail_of(&d, &d.a);
	write_blocks(&d, 5, 3);
	run(&d, 50); /* at b, not committed */
	unfollow(&d);
	repl_source_close(&d.a.source);
	replica_cut(visible(&d, &d.a), kept, fake_arm_env(d.a.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	begin_epoch(&d, 2);
	write_blocks(&d, 5, 3);
	run(&d, 20);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert_uint_gt(fs.cut_bytes, 0);
	duo_close(&d);
}
END_TEST

/* Power fails at b in the middle of catch-up and of full copies: it comes back and starts over. */
START_TEST(a_site_that_loses_power_at_any_moment_comes_back)
{
	struct world_node *n;
	struct duo d;

	duo_open(&d, 6);
	trim(&d);
	n = d.f->world->nodes[1];
	for (uint32_t i = 0; i < 12; i++) {
		follow(&d);
		writes(&d, 1 + 7 * i, MS_NS);
		world_crash(n, i % 3 == 0 ? WORLD_CRASH_KILL : WORLD_CRASH_POWER);
		repl_abandon(&d.b.repl);
		store_abandon(&d.b.store);
		d.b.follower = NULL;
		d.b.source = NULL;
		writes(&d, 3, MS_NS);
		world_boot(n);
		op_init(&d.b.op, d.b.env->ready, site_step);
		site_open_store(&d, &d.b);
		site_open_repl(&d, &d.b);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
	}
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

/* Far more is written than the journals hold: both sides must fold to go on, and commit must reach b
 * although records wait for room there. */
START_TEST(journals_that_fill_up_slow_down_and_lose_nothing)
{
	struct repl_source_status ss;
	struct duo d;

	duo_open(&d, 7);
	follow(&d);
	wait_streaming(&d);
	for (uint32_t i = 0; i < 900; i++) {
		write_blocks(&d, d.next_value * 251 % (BLOCKS - 256), 200);
		fake_run_for(d.f, 200000);
		if (i % 8 == 0)
			commit(&d);
	}
	check_equal(&d);
	repl_source_status(d.a.source, &ss);
	ck_assert_int_eq(ss.state, REPL_STREAMING);
	ck_assert_int_eq(state(&d), REPL_STREAMING);
	duo_close(&d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repl with stores");
	TCase *t = tcase_create("two sites");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_new_site_catches_up_from_the_journal);
	tcase_add_test(t, a_full_copy_under_writes_ends_equal);
	tcase_add_test(t, a_copied_site_goes_on_from_its_journal);
	tcase_add_test(t, a_session_lost_at_many_moments_is_survived);
	tcase_add_test(t, a_fork_is_cut_with_the_real_journal);
	tcase_add_test(t, a_site_that_loses_power_at_any_moment_comes_back);
	tcase_add_test(t, journals_that_fill_up_slow_down_and_lose_nothing);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
