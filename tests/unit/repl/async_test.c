/* SPDX-License-Identifier: Apache-2.0 */
/* A source of an async site (J11): nothing beyond commit, no pin beyond its quota. */
#include <stdlib.h>

#include "engine/base/err.h"
#include "tests/unit/repl/sites.h"

/* a with ten committed records; b follows as an async site. */
static void streaming(struct pair *p, uint64_t seed, uint32_t mutant)
{
	pair_open_mutant(p, seed, mutant);
	p->a.at_commit = true;
	pair_wait_up(p);
	site_create(p, &p->a);
	site_epoch(p, &p->a, 1, 7);
	site_volume(p, &p->a, 0, FAKE_VOLUME_BLOCKS);
	for (uint32_t i = 0; i < 10; i++)
		site_write(p, &p->a, i, 1);
	pair_run(p, 2);
	site_commit(p, &p->a);
	fake_store_limit(p->b.store, 16u << 20); /* a window of 2 MiB */
	site_follow(p, &p->b, &p->a, REPL_STREAM);
	site_wait(p, &p->b, REPL_STREAMING);
}

static struct replica_status status(struct pair *p, struct site *s)
{
	struct replica_status st;

	replica_status(site_replica(p, s), &st);
	return st;
}

START_TEST(an_async_follower_gets_nothing_beyond_commit)
{
	struct lsn commit;
	struct pair p;

	streaming(&p, 50, REPL_MUTANT_NONE);
	commit = status(&p, &p.a).commit;
	for (uint32_t i = 0; i < 60; i++)
		site_write(&p, &p.a, i, 1);
	pair_run(&p, 500);
	ck_assert_uint_eq(status(&p, &p.b).tail.v, commit.v);
	ck_assert_int_eq(site_state(&p.b), REPL_STREAMING);
	site_commit(&p, &p.a);
	pair_run(&p, 500);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

START_TEST(an_async_follower_that_attaches_amid_writes_gets_nothing_beyond_commit)
{
	struct lsn commit;
	struct pair p;

	streaming(&p, 51, REPL_MUTANT_NONE);
	site_unfollow(&p, &p.b);
	for (uint32_t i = 0; i < 50; i++)
		site_write(&p, &p.a, i, 2);
	pair_run(&p, 20);
	site_commit(&p, &p.a);
	commit = status(&p, &p.a).commit;
	for (uint32_t i = 0; i < 50; i++)
		site_write(&p, &p.a, i, 2);
	pair_run(&p, 20);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_STREAMING);
	pair_run(&p, 200);
	ck_assert_uint_eq(status(&p, &p.b).tail.v, commit.v);
	ck_assert_uint_eq(status(&p, &p.b).commit.v, commit.v);
	pair_close(&p);
}
END_TEST

START_TEST(a_seeded_bug_sends_an_async_follower_more_than_is_committed)
{
	struct lsn commit;
	struct pair p;

	streaming(&p, 52, REPL_MUTANT_BEYOND_COMMIT);
	commit = status(&p, &p.a).commit;
	site_write(&p, &p.a, 1, 1);
	pair_run(&p, 100);
	ck_assert_uint_gt(status(&p, &p.b).tail.v, commit.v);
	pair_close(&p);
}
END_TEST

/* The follower stands still (its journal is full), the primary writes on. */
static void left_behind(struct pair *p, uint64_t bytes)
{
	uint64_t begin = status(p, &p->a).tail.v;

	fake_store_limit(p->b.store, 1);
	while (status(p, &p->a).tail.v < begin + bytes) {
		site_write(p, &p->a, 1, 16);
		pair_run(p, 2);
		site_commit(p, &p->a);
	}
	pair_run(p, 50);
}

START_TEST(an_async_follower_pins_the_journal_up_to_its_quota)
{
	struct replica *r;
	struct pair p;

	streaming(&p, 53, REPL_MUTANT_NONE);
	r = site_replica(&p, &p.a);
	left_behind(&p, (2u << 20) + (1u << 19)); /* a window, and half of the quota */
	ck_assert_uint_le(fake_pin(r).v, status(&p, &p.a).tail.v);
	left_behind(&p, 4u << 20);
	ck_assert_uint_eq(fake_pin(r).v, UINT64_MAX); /* it gave way */
	pair_close(&p);
}
END_TEST

START_TEST(a_sync_follower_pins_the_journal_without_a_quota)
{
	struct pair p;

	streaming(&p, 54, REPL_MUTANT_NONE);
	site_unfollow(&p, &p.b);
	p.a.at_commit = false;
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_STREAMING);
	left_behind(&p, 4u << 20);
	ck_assert_uint_le(fake_pin(site_replica(&p, &p.a)).v, status(&p, &p.a).tail.v);
	pair_close(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repl_async");
	TCase *t = tcase_create("repl_async");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, an_async_follower_gets_nothing_beyond_commit);
	tcase_add_test(t, an_async_follower_that_attaches_amid_writes_gets_nothing_beyond_commit);
	tcase_add_test(t, a_seeded_bug_sends_an_async_follower_more_than_is_committed);
	tcase_add_test(t, an_async_follower_pins_the_journal_up_to_its_quota);
	tcase_add_test(t, a_sync_follower_pins_the_journal_without_a_quota);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
