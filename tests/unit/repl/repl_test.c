/* SPDX-License-Identifier: Apache-2.0 */
/* Two sites: attach, catch up, forks, full copies, fetches, lost sessions. */
#include <stdlib.h>

#include "engine/base/err.h"
#include "tests/unit/repl/sites.h"

/* A primary with a volume and `writes` records, all committed. */
static void primary(struct pair *p, uint32_t writes)
{
	site_create(p, &p->a);
	site_epoch(p, &p->a, 1, 7);
	site_volume(p, &p->a, 0, FAKE_VOLUME_BLOCKS);
	for (uint32_t i = 0; i < writes; i++)
		site_write(p, &p->a, i * 3 % 900, 1 + i % 20);
	pair_run(p, 2);
	site_commit(p, &p->a);
}

static void in_sync(struct pair *p)
{
	site_follow(p, &p->b, &p->a, REPL_STREAM);
	site_wait(p, &p->b, REPL_STREAMING);
	pair_run(p, 100);
	site_commit(p, &p->a);
	pair_run(p, 100);
}

/* What b has beyond a's history: as if a had crashed before it was durable there. */
static struct lsn committed(struct pair *p, struct site *s)
{
	struct replica_status st;

	replica_status(site_replica(p, s), &st);
	return st.commit;
}

START_TEST(a_pair_comes_up_and_tells_who_is_there)
{
	struct repl_peer_status st;
	struct pair p;

	pair_open(&p, 1);
	pair_wait_up(&p);
	ck_assert_int_eq(repl_peer_status(p.b.repl, 1, &st), 0);
	ck_assert_uint_eq(st.incarnation, 7);
	ck_assert_uint_eq(st.store.b[0], 1);
	ck_assert_str_eq(st.error, "");
	ck_assert_int_eq(repl_peer_status(p.b.repl, 9, &st), -ERR_NOT_FOUND);
	pair_close(&p);
}
END_TEST

START_TEST(a_silent_peer_is_down_after_drop_ms_and_comes_back)
{
	struct repl_peer_status st;
	uint64_t session;
	struct pair p;

	pair_open(&p, 2);
	pair_wait_up(&p);
	ck_assert_int_eq(repl_peer_status(p.a.repl, 2, &st), 0);
	session = st.session;
	pair_run(&p, 5000);
	ck_assert_int_eq(repl_peer_status(p.a.repl, 2, &st), 0);
	ck_assert_uint_eq(st.session, session); /* keepalives */
	world_cut(p.a.node, p.b.node, true);
	world_cut(p.b.node, p.a.node, true);
	pair_run(&p, 900);
	ck_assert_int_eq(repl_peer_status(p.a.repl, 2, &st), 0);
	ck_assert(!st.up);
	ck_assert_int_eq(repl_peer_status(p.b.repl, 1, &st), 0);
	ck_assert(!st.up);
	world_cut(p.a.node, p.b.node, false);
	world_cut(p.b.node, p.a.node, false);
	pair_wait_up(&p);
	ck_assert_int_eq(repl_peer_status(p.a.repl, 2, &st), 0);
	ck_assert_uint_gt(st.session, session);
	pair_close(&p);
}
END_TEST

/* Attempts that met a cut path do not hold up the one that gets through. */
START_TEST(a_healed_path_is_used_within_three_seconds)
{
	struct pair p;

	pair_open(&p, 25);
	pair_wait_up(&p);
	for (uint32_t i = 0; i < 10; i++) {
		world_cut(p.a.node, p.b.node, true);
		world_cut(p.b.node, p.a.node, true);
		pair_run(&p, 1000 + 700 * i);
		world_cut(p.a.node, p.b.node, false);
		world_cut(p.b.node, p.a.node, false);
		ck_assert(fake_run_until(p.f, 3 * SEC_NS, both_up, &p));
	}
	pair_close(&p);
}
END_TEST

START_TEST(a_missing_replica_is_created_and_catches_up)
{
	struct repl_source_status ss;
	struct pair p;

	pair_open(&p, 3);
	pair_wait_up(&p);
	primary(&p, 200);
	in_sync(&p);
	pair_check_equal(&p);
	repl_source_status(p.a.source, &ss);
	ck_assert_int_eq(ss.state, REPL_STREAMING);
	ck_assert_uint_eq(ss.durable.v, committed(&p, &p.a).v);
	pair_close(&p);
}
END_TEST

START_TEST(attaching_at_an_equal_tail_sends_nothing)
{
	struct repl_source_status ss;
	struct pair p;

	pair_open(&p, 4);
	pair_wait_up(&p);
	primary(&p, 20);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	pair_run(&p, 50);
	in_sync(&p);
	repl_source_status(p.a.source, &ss);
	ck_assert_uint_eq(ss.sent_bytes, 0);
	ck_assert_int_eq(ss.state, REPL_STREAMING);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

/* Writes come while the follower reads the backlog: it must pass from journal to memory. */
START_TEST(catching_up_under_writes_has_no_gap)
{
	struct pair p;

	pair_open(&p, 5);
	pair_wait_up(&p);
	primary(&p, 400);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	for (uint32_t i = 0; i < 600; i++) {
		site_write(&p, &p.a, i * 7 % 900, 1 + i % 3);
		fake_run_for(p.f, 300000);
		if (i % 5 == 0)
			site_commit(&p, &p.a);
	}
	site_wait(&p, &p.b, REPL_STREAMING);
	pair_run(&p, 200);
	site_commit(&p, &p.a);
	pair_run(&p, 100);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

START_TEST(a_fork_that_was_never_committed_is_cut)
{
	struct repl_follower_status fs;
	struct pair p;

	pair_open(&p, 6);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	/* b had been primary in epoch 2, unheard; a goes on in epoch 3 */
	site_epoch(&p, &p.b, 2, 70);
	site_write(&p, &p.b, 1, 5);
	site_epoch(&p, &p.a, 3, 7);
	site_write(&p, &p.a, 2, 5);
	pair_run(&p, 20);
	in_sync(&p);
	pair_check_equal(&p);
	repl_follower_status(p.b.follower, &fs);
	ck_assert_uint_gt(fs.cut_bytes, 0);
	pair_close(&p);
}
END_TEST

START_TEST(nothing_is_cut_below_the_own_commit)
{
	struct replica_status before, after;
	struct repl_source_status ss;
	struct pair p;

	pair_open(&p, 7);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	site_epoch(&p, &p.b, 2, 70);
	site_write(&p, &p.b, 1, 5);
	pair_run(&p, 5);
	site_commit(&p, &p.b); /* acknowledged there */
	site_epoch(&p, &p.a, 3, 7);
	pair_run(&p, 5);
	replica_status(site_replica(&p, &p.b), &before);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_FORKED);
	replica_status(site_replica(&p, &p.b), &after);
	ck_assert_uint_eq(before.tail_chain, after.tail_chain);
	pair_run(&p, 20);
	repl_source_status(p.a.source, &ss);
	ck_assert_int_eq(ss.state, REPL_FAILED);
	ck_assert_int_eq(ss.rc, -ERR_FORK);
	pair_close(&p);
}
END_TEST

/* b goes on alone in epoch 2, a is forced: what b has is kept before it is copied over, and not when that fails. */
START_TEST(a_fork_from_before_a_forced_takeover_is_kept)
{
	struct repl_follower_status fs;
	struct replica_status before, after;
	struct pair p;

	pair_open(&p, 8);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	site_epoch(&p, &p.b, 2, 70);
	p.a.epoch = (struct epoch){.number = 3, .incarnation = 7, .site = 1};
	site_took(&p.a, fake_epoch_record(site_replica(&p, &p.a), p.a.env, p.a.epoch, 3));
	pair_run(&p, 5);
	fake_store_no_room(p.b.store, true);
	replica_status(site_replica(&p, &p.b), &before);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_FAILED);
	repl_follower_status(p.b.follower, &fs);
	ck_assert(fs.branch_failed && !fs.branch.made);
	ck_assert_int_eq(fs.rc, -ERR_FULL);
	site_unfollow(&p, &p.b);
	replica_status(site_replica(&p, &p.b), &after);
	ck_assert_uint_eq(before.tail_chain, after.tail_chain);
	fake_store_no_room(p.b.store, false);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_STREAMING);
	repl_follower_status(p.b.follower, &fs);
	ck_assert(fs.branch.made && fs.branch.whole);
	ck_assert_str_eq(fs.branch.name, "branch-2");
	ck_assert_uint_gt(fs.branch.bytes, 0);
	pair_close(&p);
}
END_TEST

static void full_copy_case(struct pair *p, uint64_t writes_while)
{
	primary(p, 100);
	fake_trim(site_replica(p, &p->a), committed(p, &p->a));
	fake_store_slow(p->a.store, 2 * MS_NS);
	fake_store_slow(p->b.store, 1 * MS_NS);
	site_follow(p, &p->b, &p->a, REPL_STREAM);
	for (uint64_t i = 0; i < writes_while; i++) {
		site_write(p, &p->a, i * 11 % 1000, 1 + (uint32_t)(i % 8));
		fake_run_for(p->f, 400000);
		if (i % 3 == 0)
			site_commit(p, &p->a);
	}
}

START_TEST(a_full_copy_under_writes_ends_equal)
{
	struct repl_follower_status fs;
	struct pair p;

	pair_open(&p, 9);
	pair_wait_up(&p);
	full_copy_case(&p, 300);
	site_wait(&p, &p.b, REPL_STREAMING);
	pair_run(&p, 100);
	site_commit(&p, &p.a);
	pair_run(&p, 100);
	pair_check_equal(&p);
	repl_follower_status(p.b.follower, &fs);
	ck_assert_uint_gt(fs.base_bytes, 0);
	pair_close(&p);
}
END_TEST

/* durable counts only after the switch, and the old replica is visible until then. */
START_TEST(while_staging_nothing_is_durable)
{
	struct repl_source_status ss;
	bool staged = false;
	struct pair p;

	pair_open(&p, 10);
	pair_wait_up(&p);
	primary(&p, 100);
	fake_trim(site_replica(&p, &p.a), committed(&p, &p.a));
	fake_store_slow(p.a.store, 5 * MS_NS);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	for (uint32_t i = 0; i < 4000 && site_state(&p.b) != REPL_STREAMING; i++) {
		fake_run_for(p.f, 100000);
		if (site_state(&p.b) != REPL_STAGING)
			continue;
		staged = true;
		repl_source_status(p.a.source, &ss);
		ck_assert_uint_eq(ss.durable.v, 0);
		ck_assert_ptr_null(site_replica(&p, &p.b));
	}
	ck_assert(staged);
	pair_run(&p, 50);
	repl_source_status(p.a.source, &ss);
	ck_assert_uint_eq(ss.durable.v, committed(&p, &p.a).v);
	pair_close(&p);
}
END_TEST

START_TEST(a_volume_deleted_during_a_full_copy_does_not_stop_it)
{
	struct pair p;

	pair_open(&p, 11);
	pair_wait_up(&p);
	primary(&p, 100);
	fake_trim(site_replica(&p, &p.a), committed(&p, &p.a));
	fake_store_slow(p.a.store, 3 * MS_NS);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	pair_run(&p, 4);
	site_volume(&p, &p.a, 0, 0);
	pair_run(&p, 1);
	site_commit(&p, &p.a);
	site_wait(&p, &p.b, REPL_STREAMING);
	pair_close(&p);
}
END_TEST

/* The session is lost at every moment of a full copy and of the stream after it; each time the
 * follower is closed and opened anew, and in the end both are equal. */
START_TEST(a_session_lost_at_any_moment_is_survived)
{
	for (uint64_t when = 0; when < 40; when++) {
		struct pair p;

		pair_open(&p, 100 + when);
		pair_wait_up(&p);
		primary(&p, 60);
		if (when % 2 == 0)
			fake_trim(site_replica(&p, &p.a), committed(&p, &p.a));
		site_follow(&p, &p.b, &p.a, REPL_STREAM);
		for (uint32_t i = 0; i < when; i++) {
			site_write(&p, &p.a, i * 5 % 900, 2);
			fake_run_for(p.f, 150000);
		}
		world_cut(p.a.node, p.b.node, true);
		world_cut(p.b.node, p.a.node, true);
		site_wait(&p, &p.b, REPL_CLOSED);
		site_unfollow(&p, &p.b);
		world_cut(p.a.node, p.b.node, false);
		world_cut(p.b.node, p.a.node, false);
		pair_wait_up(&p);
		site_commit(&p, &p.a);
		in_sync(&p);
		pair_check_equal(&p);
		pair_close(&p);
	}
}
END_TEST

START_TEST(a_source_of_another_epoch_is_refused)
{
	struct pair p;

	pair_open(&p, 12);
	pair_wait_up(&p);
	primary(&p, 10);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	p.a.epoch.number = 5; /* it opened anew meanwhile */
	site_wait(&p, &p.b, REPL_FAILED);
	ck_assert_ptr_null(site_replica(&p, &p.b));
	pair_close(&p);
}
END_TEST

START_TEST(an_attach_that_is_refused_says_so)
{
	struct pair p;

	pair_open(&p, 13);
	pair_wait_up(&p);
	p.a.serves = false;
	p.a.epoch = (struct epoch){.number = 1, .incarnation = 7, .site = 1};
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_REFUSED);
	pair_close(&p);
}
END_TEST

START_TEST(another_chain_at_the_common_lsn_stops_the_group)
{
	struct pair p;

	pair_open(&p, 14);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	fake_corrupt_chain(site_replica(&p, &p.b));
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_FORKED);
	pair_close(&p);
}
END_TEST

/* A clone whose base is not here is not taken, and so not acknowledged; a full copy is asked for, though
 * the histories agree. */
START_TEST(a_clone_without_its_base_is_refused_and_then_copied)
{
	struct repl_follower_status fs;
	struct repl_source_status ss;
	struct lsn before;
	struct pair p;

	pair_open(&p, 23);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	before = committed(&p, &p.b);
	fake_store_base_missing(p.b.store);
	site_took(&p.a, fake_clone_record(site_replica(&p, &p.a), p.a.env));
	site_write(&p, &p.a, 5, 3);
	site_wait(&p, &p.b, REPL_FAILED);
	repl_follower_status(p.b.follower, &fs);
	ck_assert(fs.wants_full);
	repl_source_status(p.a.source, &ss);
	ck_assert_uint_le(ss.durable.v, before.v);
	site_unfollow(&p, &p.b);
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_FAILED);
	site_unfollow(&p, &p.b);
	pair_run(&p, 50);
	site_commit(&p, &p.a);
	p.b.want_full = true;
	site_follow(&p, &p.b, &p.a, REPL_STREAM);
	site_wait(&p, &p.b, REPL_STREAMING);
	pair_run(&p, 100);
	repl_follower_status(p.b.follower, &fs);
	ck_assert_uint_gt(fs.base_bytes, 0);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

/* The claimer (a) lacks what b has durable: it fetches it, and nothing else. */
START_TEST(a_fetch_takes_the_longer_journal)
{
	struct pair p;

	pair_open(&p, 15);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	for (uint32_t i = 0; i < 5; i++) /* of epoch 1, as a would have written them */
		site_write(&p, &p.b, i, 3);
	pair_run(&p, 5);
	p.b.serves = true;
	p.b.epoch = p.a.epoch;
	site_follow(&p, &p.a, &p.b, REPL_FETCH);
	site_wait(&p, &p.a, REPL_DONE);
	site_unfollow(&p, &p.a);
	site_commit(&p, &p.a);
	site_commit(&p, &p.b);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

START_TEST(a_fetch_from_a_fork_takes_and_cuts_nothing)
{
	struct replica_status before, after;
	struct pair p;

	pair_open(&p, 16);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	site_epoch(&p, &p.b, 2, 70);
	site_epoch(&p, &p.a, 3, 7);
	pair_run(&p, 5);
	replica_status(site_replica(&p, &p.a), &before);
	p.b.serves = true;
	site_follow(&p, &p.a, &p.b, REPL_FETCH);
	site_wait(&p, &p.a, REPL_DONE);
	site_unfollow(&p, &p.a);
	replica_status(site_replica(&p, &p.a), &after);
	ck_assert_uint_eq(before.tail_chain, after.tail_chain);
	pair_close(&p);
}
END_TEST

START_TEST(a_full_journal_at_the_follower_delays_and_loses_nothing)
{
	struct pair p;

	pair_open(&p, 17);
	pair_wait_up(&p);
	primary(&p, 5);
	in_sync(&p);
	fake_store_limit(p.b.store, 1u << 20);
	for (uint32_t i = 0; i < 60; i++)
		site_write(&p, &p.a, i, 16);
	for (uint32_t i = 0; i < 100; i++) {
		pair_run(&p, 30);
		site_commit(&p, &p.a);
		fake_trim(site_replica(&p, &p.b), committed(&p, &p.b));
	}
	ck_assert_int_eq(site_state(&p.b), REPL_STREAMING);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

START_TEST(a_failed_store_ends_the_follower)
{
	struct pair p;

	pair_open(&p, 18);
	pair_wait_up(&p);
	primary(&p, 5);
	in_sync(&p);
	fake_store_fail(p.b.store);
	site_write(&p, &p.a, 1, 1);
	site_wait(&p, &p.b, REPL_FAILED);
	pair_close(&p);
}
END_TEST

START_TEST(closing_a_source_tells_the_follower)
{
	struct pair p;

	pair_open(&p, 19);
	pair_wait_up(&p);
	primary(&p, 5);
	in_sync(&p);
	repl_source_close(&p.a.source);
	site_wait(&p, &p.b, REPL_REFUSED);
	pair_close(&p);
}
END_TEST

START_TEST(link_messages_arrive_with_their_tail)
{
	struct link_tail tail = {.question = 5, .epoch_count = 2, .known = 1};
	struct link_msg m = {.kind = LINK_TAIL_TOLD, .tail = &tail, .group_count = 1};
	struct pair p;

	pair_open(&p, 20);
	ck_assert_int_eq(repl_link_send(p.a.repl, 2, &m), -ERR_CLOSED);
	pair_wait_up(&p);
	tail.epochs[1].first.v = 8192;
	m.groups[0].commit.v = 4096;
	ck_assert_int_eq(repl_link_send(p.a.repl, 2, &m), 0);
	pair_run(&p, 20);
	ck_assert_uint_eq(p.b.links, 1);
	ck_assert_int_eq(p.b.last_link.kind, LINK_TAIL_TOLD);
	ck_assert_uint_eq(p.b.last_link.site, 1);
	ck_assert_uint_eq(p.b.last_link.groups[0].commit.v, 4096);
	ck_assert_ptr_nonnull(p.b.last_link.tail);
	ck_assert_uint_eq(p.b.last_link.tail->question, 5);
	ck_assert_uint_eq(p.b.last_link.tail->epochs[1].first.v, 8192);
	m.kind = LINK_PING;
	m.tail = NULL;
	for (uint32_t i = 0; i < 1000; i++)
		(void)!repl_link_send(p.a.repl, 2, &m); /* a full queue drops */
	pair_run(&p, 100);
	ck_assert_uint_gt(p.b.links, 100);
	pair_close(&p);
}
END_TEST

START_TEST(the_last_words_before_a_close_arrive)
{
	struct link_msg m = {.kind = LINK_GOODBYE};
	struct repl_peer_status st;
	struct fake_wait w;
	struct pair p;

	pair_open(&p, 21);
	pair_wait_up(&p);
	ck_assert_int_eq(repl_link_send(p.a.repl, 2, &m), 0);
	repl_close(&p.a.repl, fake_arm_env(p.a.env, &w));
	ck_assert_int_eq(fake_wait(p.f, &w), 0);
	pair_run(&p, 100);
	ck_assert_uint_eq(p.b.links, 1);
	ck_assert_int_eq(p.b.last_link.kind, LINK_GOODBYE);
	ck_assert_int_eq(repl_peer_status(p.b.repl, 1, &st), 0);
	ck_assert(!st.up);
	pair_close(&p);
}
END_TEST

/* --- seeded bugs do harm: a test that would not see it is none --- */

START_TEST(the_mutant_that_skips_j7_loses_what_was_committed)
{
	struct lsn before;
	struct pair p;

	pair_open_mutant(&p, 22, REPL_MUTANT_CUT_BELOW_COMMIT);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	site_unfollow(&p, &p.b);
	site_epoch(&p, &p.b, 2, 70);
	site_write(&p, &p.b, 1, 5);
	pair_run(&p, 5);
	site_commit(&p, &p.b);
	before = committed(&p, &p.b);
	site_epoch(&p, &p.a, 3, 7);
	pair_run(&p, 5);
	in_sync(&p);
	ck_assert_uint_lt(committed(&p, &p.b).v, before.v);
	pair_check_equal(&p);
	pair_close(&p);
}
END_TEST

START_TEST(the_mutant_that_acknowledges_at_receipt_does)
{
	struct repl_source_status ss;
	struct replica_status st;
	bool early = false;
	struct pair p;

	pair_open_mutant(&p, 23, REPL_MUTANT_ACK_BEFORE_DURABLE);
	pair_wait_up(&p);
	primary(&p, 10);
	in_sync(&p);
	for (uint32_t i = 0; i < 50; i++) {
		site_write(&p, &p.a, i, 1);
		for (uint32_t k = 0; k < 20; k++) {
			fake_run_for(p.f, 50000);
			repl_source_status(p.a.source, &ss);
			replica_status(site_replica(&p, &p.b), &st);
			early = early || ss.durable.v > st.durable.v;
		}
	}
	ck_assert(early);
	pair_close(&p);
}
END_TEST

START_TEST(the_mutant_that_counts_a_staging_replica_does)
{
	struct repl_source_status ss;
	bool early = false;
	struct pair p;

	pair_open_mutant(&p, 24, REPL_MUTANT_ACK_WHILE_STAGING);
	pair_wait_up(&p);
	full_copy_case(&p, 0);
	for (uint32_t i = 0; i < 400; i++) {
		if (i % 10 == 0)
			site_write(&p, &p.a, i, 1);
		fake_run_for(p.f, 100000);
		if (p.a.source == NULL || site_state(&p.b) != REPL_STAGING)
			continue;
		repl_source_status(p.a.source, &ss);
		early = early || ss.durable.v > 0;
	}
	ck_assert(early);
	pair_close(&p);
}
END_TEST

/* One block of a's content, asked by b; what it gave, or how it ended. */
static int ask_block(struct pair *p, struct site *s, uint32_t crc, uint8_t data[BLOCK_BYTES])
{
	struct repl_repair q = {
		.group = p->group, .volume = 0, .block = 7, .crc = crc, .data = data};
	struct fake_wait wait;
	int rc;

	fake_arm_on(s->env, &wait, &q.done);
	rc = repl_repair_ask(s->repl, 3 - s->id, &q);
	return rc < 0 ? rc : fake_wait(p->f, &wait);
}

static uint32_t read_block(struct pair *p, struct site *s, uint8_t data[BLOCK_BYTES])
{
	struct replica_read rd = {.volume = 0, .block = 7, .count = 1, .data = data};
	struct fake_wait wait;
	uint32_t crc;

	rd.crcs = &crc;
	fake_arm_on(s->env, &wait, &rd.done);
	replica_read(site_replica(p, s), &rd);
	ck_assert_int_eq(fake_wait(p->f, &wait), 0);
	return crc;
}

/* Q1, both ways. */
START_TEST(a_bad_block_comes_from_the_peer_only_with_its_checksum)
{
	static uint8_t want[BLOCK_BYTES], got[BLOCK_BYTES];
	struct pair p;
	uint32_t crc;

	pair_open(&p, 40);
	pair_wait_up(&p);
	primary(&p, 30);
	in_sync(&p);
	crc = read_block(&p, &p.a, want);
	ck_assert_int_eq(ask_block(&p, &p.b, crc, got), 0);
	ck_assert_int_eq(memcmp(got, want, sizeof(want)), 0);
	memset(got, 0, sizeof(got));
	ck_assert_int_eq(ask_block(&p, &p.a, crc, got), 0);
	ck_assert_int_eq(memcmp(got, want, sizeof(want)), 0);
	memset(got, 0, sizeof(got));
	ck_assert_int_eq(ask_block(&p, &p.b, crc + 1, got), -ERR_NOT_FOUND);
	for (uint32_t i = 0; i < sizeof(got); i++)
		ck_assert_uint_eq(got[i], 0);
	pair_close(&p);
}
END_TEST

START_TEST(a_seeded_bug_gives_what_was_not_asked_for)
{
	static uint8_t got[BLOCK_BYTES];
	struct pair p;

	pair_open_mutant(&p, 41, REPL_MUTANT_REPAIR_UNVERIFIED);
	pair_wait_up(&p);
	primary(&p, 30);
	in_sync(&p);
	ck_assert_int_eq(ask_block(&p, &p.b, 12345, got), 0);
	pair_close(&p);
}
END_TEST

/* Q3: many at once, more than are allowed, and a session that ends with all of them open. */
START_TEST(questions_are_bounded_and_end_with_the_session)
{
	static uint8_t data[REPL_REPAIRS_MAX + 1][BLOCK_BYTES];
	struct repl_repair q[REPL_REPAIRS_MAX + 1];
	struct fake_wait wait[REPL_REPAIRS_MAX + 1];
	struct pair p;

	pair_open(&p, 42);
	pair_wait_up(&p);
	primary(&p, 30);
	world_cut(p.a.node, p.b.node, true);
	world_cut(p.b.node, p.a.node, true);
	for (uint32_t i = 0; i <= REPL_REPAIRS_MAX; i++) {
		q[i] = (struct repl_repair){
			.group = p.group, .block = i, .crc = 1, .data = data[i]};
		fake_arm_on(p.b.env, &wait[i], &q[i].done);
		ck_assert_int_eq(repl_repair_ask(p.b.repl, 1, &q[i]),
				 i < REPL_REPAIRS_MAX ? 0 : -ERR_BUSY);
	}
	repl_repair_cancel(&q[3]);
	repl_repair_cancel(&q[REPL_REPAIRS_MAX]); /* not asked: no effect */
	for (uint32_t i = 0; i < REPL_REPAIRS_MAX; i++)
		if (i != 3)
			ck_assert_int_eq(fake_wait(p.f, &wait[i]), -ERR_CLOSED); /* drop_ms 600 */
	ck_assert(completion_armed(&q[3].done));
	ck_assert_int_eq(repl_repair_ask(p.b.repl, 1, &q[3]), -ERR_CLOSED);
	pair_close(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repl");
	TCase *t = tcase_create("two sites");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_pair_comes_up_and_tells_who_is_there);
	tcase_add_test(t, a_silent_peer_is_down_after_drop_ms_and_comes_back);
	tcase_add_test(t, a_healed_path_is_used_within_three_seconds);
	tcase_add_test(t, a_missing_replica_is_created_and_catches_up);
	tcase_add_test(t, attaching_at_an_equal_tail_sends_nothing);
	tcase_add_test(t, catching_up_under_writes_has_no_gap);
	tcase_add_test(t, a_fork_that_was_never_committed_is_cut);
	tcase_add_test(t, nothing_is_cut_below_the_own_commit);
	tcase_add_test(t, a_fork_from_before_a_forced_takeover_is_kept);
	tcase_add_test(t, a_full_copy_under_writes_ends_equal);
	tcase_add_test(t, while_staging_nothing_is_durable);
	tcase_add_test(t, a_volume_deleted_during_a_full_copy_does_not_stop_it);
	tcase_add_test(t, a_session_lost_at_any_moment_is_survived);
	tcase_add_test(t, a_source_of_another_epoch_is_refused);
	tcase_add_test(t, an_attach_that_is_refused_says_so);
	tcase_add_test(t, another_chain_at_the_common_lsn_stops_the_group);
	tcase_add_test(t, a_clone_without_its_base_is_refused_and_then_copied);
	tcase_add_test(t, a_fetch_takes_the_longer_journal);
	tcase_add_test(t, a_fetch_from_a_fork_takes_and_cuts_nothing);
	tcase_add_test(t, a_full_journal_at_the_follower_delays_and_loses_nothing);
	tcase_add_test(t, a_failed_store_ends_the_follower);
	tcase_add_test(t, closing_a_source_tells_the_follower);
	tcase_add_test(t, link_messages_arrive_with_their_tail);
	tcase_add_test(t, the_last_words_before_a_close_arrive);
	tcase_add_test(t, a_bad_block_comes_from_the_peer_only_with_its_checksum);
	tcase_add_test(t, a_seeded_bug_gives_what_was_not_asked_for);
	tcase_add_test(t, questions_are_bounded_and_end_with_the_session);
	tcase_add_test(t, the_mutant_that_skips_j7_loses_what_was_committed);
	tcase_add_test(t, the_mutant_that_acknowledges_at_receipt_does);
	tcase_add_test(t, the_mutant_that_counts_a_staging_replica_does);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
