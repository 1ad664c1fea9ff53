/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of moments in the past against the model; every store is checked at the end. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/snapshot_bench.h"
#include "tests/unit/store/stage_bench.h"

#define MIB (1ull << 20)
#define MAKE_S 60u

static void history(struct rb *b, uint64_t ns, uint64_t bytes)
{
	const struct replica_history want = {.ns = ns, .bytes = bytes};

	replica_history_set(b->r, &want);
}

static struct replica_history_status kept(struct rb *b)
{
	struct replica_history_status st;

	replica_history_status(b->r, &st);
	return st;
}

static struct rb *started(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 3600 * SEC_NS, 0);
	rb_work(b, 5);
	rb_settle(b);
	return b;
}

static void fold(struct rb *b)
{
	struct fake_wait wait;

	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
}

static struct snapshot_info info_of(struct rb *b, uint32_t id)
{
	struct uuid uuid = sb_uuid(id);
	struct snapshot_info info;

	ck_assert_int_eq(replica_snapshot_by_uuid(b->r, &uuid, &info), 0);
	return info;
}

/* Until it is pinned, or missing. */
static struct snapshot_info made(struct rb *b, uint32_t id)
{
	for (uint32_t i = 0; i < MAKE_S * 10 && info_of(b, id).past; i++)
		fake_run_for(b->f, 100 * MS_NS);
	ck_assert(!info_of(b, id).past);
	return info_of(b, id);
}

static uint64_t digest_of(struct rb *b, uint32_t id)
{
	struct snapshot *snap;
	uint64_t digest;

	ck_assert_int_eq(sb_open(b, id, &snap), 0);
	digest = snapshot_digest(snap);
	replica_snapshot_close(&snap);
	return digest;
}

/* Make one, and see that it is what the model was then. */
static void check_at(struct rb *b, uint32_t id, uint64_t at)
{
	struct snapshot *snap;

	ck_assert_int_eq(sb_create_at(b, id, at), 0);
	rb_settle(b);
	ck_assert_uint_eq(info_of(b, id).lsn.v, at);
	ck_assert(made(b, id).pinned);
	ck_assert_int_eq(sb_open(b, id, &snap), 0);
	sb_check_content(b, snap, at);
	replica_snapshot_close(&snap);
}

static void restart(struct rb *b)
{
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
}

static void end(struct rb **b)
{
	rb_check_content(*b);
	restart(*b);
	fold(*b);
	fake_run_for((*b)->f, SEC_NS);
	rb_crash(*b);
	check_bench_clean((*b)->f);
	rb_close(b);
}

/* Work with folds in between, so that home has other content than at most moments. */
static void live(struct rb *b, uint32_t rounds)
{
	for (uint32_t i = 0; i < rounds; i++) {
		rb_work(b, 4);
		fold(b);
		fake_run_for(b->f, 2 * SEC_NS);
	}
}

START_TEST(moments_of_the_past_come_back)
{
	struct rb *b = started(1);

	fold(b);
	fake_run_for(b->f, SEC_NS);
	ck_assert(kept(b).reachable);
	live(b, 12);
	for (uint32_t id = 1; id < 12; id++) {
		uint32_t i;

		do {
			i = (uint32_t)(rb_random(b) % b->count);
		} while (b->records[i].begin <= kept(b).earliest.v);
		check_at(b, id, b->records[i].begin);
		rb_work(b, 1);
		rb_settle(b);
	}
	sb_check(b);
	end(&b);
}
END_TEST

/* It says the same as the snapshot that was taken then. */
START_TEST(what_is_made_of_the_journal_has_the_digest_of_what_was_pinned)
{
	struct rb *b = started(2);
	uint64_t lsn[4];

	for (uint32_t i = 0; i < 4; i++) {
		live(b, 2);
		ck_assert_int_eq(sb_create(b, 1 + i), 0);
		rb_settle(b);
		lsn[i] = info_of(b, 1 + i).lsn.v;
	}
	live(b, 3);
	for (uint32_t i = 0; i < 4; i++) {
		check_at(b, 11 + i, lsn[i]);
		ck_assert_uint_eq(digest_of(b, 11 + i), digest_of(b, 1 + i));
	}
	sb_check(b);
	end(&b);
}
END_TEST

/* Volumes made, grown, written and deleted between the anchor and the moment. */
START_TEST(changes_of_volumes_are_replayed)
{
	struct rb *b = started(3);
	struct replica_volume then[8], now[8];
	struct snapshot *snap;
	struct record_extent e = {.volume = 2, .kind = EXTENT_DATA, .block = 3, .count = 40};
	uint64_t lsn[3];

	fold(b);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_CREATE, 2, MIB), 0);
	ck_assert_int_eq(rb_append_extents(b, &e, 1), 0);
	ck_assert_int_eq(sb_create(b, 1), 0);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_RESIZE, 2, 4 * MIB), 0);
	e.block = 700;
	ck_assert_int_eq(rb_append_extents(b, &e, 1), 0);
	ck_assert_int_eq(sb_create(b, 2), 0);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_DELETE, 2, 4 * MIB), 0);
	rb_work(b, 5);
	ck_assert_int_eq(sb_create(b, 3), 0);
	rb_settle(b);
	for (uint32_t i = 0; i < 3; i++)
		lsn[i] = info_of(b, 1 + i).lsn.v;
	live(b, 2);
	for (uint32_t i = 0; i < 3; i++) {
		struct uuid uuid = sb_uuid(1 + i);
		uint32_t n = replica_snapshot_volumes(b->r, &uuid, then, 8);

		check_at(b, 11 + i, lsn[i]);
		ck_assert_uint_eq(digest_of(b, 11 + i), digest_of(b, 1 + i));
		uuid = sb_uuid(11 + i);
		ck_assert_uint_eq(replica_snapshot_volumes(b->r, &uuid, now, 8), n);
		for (uint32_t k = 0; k < n; k++) {
			ck_assert_uint_eq(now[k].slot, then[k].slot);
			ck_assert_uint_eq(now[k].bytes, then[k].bytes);
			ck_assert_uint_eq(now[k].used_bytes, then[k].used_bytes);
			ck_assert_str_eq(now[k].name, then[k].name);
		}
	}
	ck_assert_int_eq(sb_open(b, 12, &snap), 0);
	replica_snapshot_close(&snap);
	end(&b);
}
END_TEST

/* A rollback is not replayed: an anchor stands at its end. */
START_TEST(moments_before_and_after_a_rollback_come_back)
{
	struct rb *b = started(4);
	uint64_t before, after, kept_lsn;

	live(b, 3);
	ck_assert_int_eq(sb_create(b, 1), 0);
	live(b, 2);
	before = b->records[b->count - 3].begin;
	ck_assert_int_eq(sb_restore(b, 1, 2), 0);
	rb_settle(b);
	kept_lsn = info_of(b, 2).lsn.v;
	rb_work(b, 5);
	after = b->records[b->count - 3].begin;
	ck_assert_uint_gt(after, kept_lsn);
	live(b, 2);
	check_at(b, 11, before);
	check_at(b, 12, kept_lsn);
	check_at(b, 13, after);
	ck_assert_uint_eq(digest_of(b, 12), digest_of(b, 2));
	sb_check(b);
	end(&b);
}
END_TEST

/* At every I/O of the work the power fails: it is begun again, and nothing is lost or leaks. */
START_TEST(a_crash_begins_it_again)
{
	for (uint64_t nth = 0; nth < 60; nth += 3) {
		struct rb *b = started(5);
		struct snapshot *snap;
		uint64_t at;

		live(b, 3);
		at = b->records[b->count - 4].begin;
		ck_assert_int_eq(sb_create_at(b, 1, at), 0);
		rb_settle(b);
		for (uint64_t i = 0; i < nth; i++)
			fake_run_for(b->f, MS_NS / 4);
		restart(b);
		ck_assert(made(b, 1).pinned);
		ck_assert_int_eq(sb_open(b, 1, &snap), 0);
		sb_check_content(b, snap, at);
		replica_snapshot_close(&snap);
		end(&b);
	}
}
END_TEST

/* Every write and every flush of the work fails in turn: the store fails, and begins it again when reopened. */
START_TEST(a_failed_write_fails_the_store_and_a_restart_begins_it_again)
{
	bool was_hit = true;

	for (uint32_t nth = 1; was_hit; nth += 2) {
		struct rb *b = started(5);
		struct snapshot *snap;
		uint64_t at;

		ck_assert_uint_lt(nth, 400);
		live(b, 3);
		at = b->records[b->count - 4].begin;
		ck_assert_int_eq(sb_create_at(b, 1, at), 0);
		rb_settle(b);
		b->f->sim_disk->faults.fail_nth = nth;
		b->f->sim_disk->faults.fail_kinds = 1u << DISK_WRITE | 1u << DISK_FLUSH;
		for (uint32_t i = 0; i < 20 && info_of(b, 1).past; i++)
			fake_run_for(b->f, 100 * MS_NS);
		fake_run_for(b->f, SEC_NS);
		was_hit = b->f->sim_disk->faults.fail_nth == 0;
		b->f->sim_disk->faults.fail_nth = 0;
		ck_assert_int_eq(store_is_failed(b->store), was_hit);
		restart(b);
		ck_assert(made(b, 1).pinned);
		ck_assert_int_eq(sb_open(b, 1, &snap), 0);
		sb_check_content(b, snap, at);
		replica_snapshot_close(&snap);
		end(&b);
	}
}
END_TEST

START_TEST(what_history_does_not_reach_is_missing_and_says_so)
{
	struct rb *b = started(6);
	struct replica_status st;
	struct snapshot *snap;
	uint64_t old;

	live(b, 1);
	old = b->records[5].begin;
	history(b, 0, 0); /* what was kept goes */
	live(b, 3);
	ck_assert(!kept(b).reachable);
	ck_assert_int_eq(sb_create_at(b, 1, old), 0);
	rb_settle(b);
	ck_assert(made(b, 1).missing);
	ck_assert(!info_of(b, 1).pinned);
	ck_assert_int_eq(sb_open(b, 1, &snap), -ERR_NOT_FOUND);
	restart(b);
	ck_assert(info_of(b, 1).missing);
	ck_assert_int_eq(sb_restore(b, 1, 2), 0);
	fake_run_for(b->f, SEC_NS);
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.durable.v, st.tail.v);
	ck_assert_int_eq(replica_commit(b->r, st.tail), -ERR_NOT_FOUND);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 1);
	rb_close(&b);
}
END_TEST

START_TEST(one_that_is_deleted_while_it_is_made_leaves_nothing)
{
	struct rb *b = started(7);
	struct uuid uuid = sb_uuid(1);
	struct snapshot_info info;

	live(b, 10);
	for (uint32_t nth = 0; nth < 12; nth++) {
		ck_assert_int_eq(sb_create_at(b, 1, b->records[b->count - 20].begin), 0);
		rb_settle(b);
		for (uint32_t i = 0; i < nth; i++)
			fake_run_for(b->f, MS_NS);
		ck_assert_int_eq(sb_delete(b, 1), 0);
		rb_settle(b);
		ck_assert_int_eq(replica_snapshot_by_uuid(b->r, &uuid, &info), -ERR_NOT_FOUND);
		if (nth % 3 == 0)
			restart(b);
	}
	end(&b);
}
END_TEST

/* Anchors are nobody's snapshots: not listed, few, and gone with the history. */
START_TEST(anchors_are_not_listed_and_go_with_the_history)
{
	struct rb *b = started(8);
	struct store_status with, without;
	uint64_t earliest;

	live(b, 40);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 0);
	ck_assert_uint_eq(replica_snapshots_unpinned(b->r), 0);
	earliest = kept(b).earliest.v;
	ck_assert(kept(b).reachable);
	ck_assert_uint_ge(earliest, kept(b).begin.v);
	store_status(b->store, &with);
	ck_assert(with.shares);
	history(b, 0, 0);
	live(b, 2);
	fake_run_for(b->f, 20 * SEC_NS);
	store_status(b->store, &without);
	ck_assert(!without.shares);
	ck_assert_uint_lt(without.used_bytes - without.journal_used_bytes,
			  with.used_bytes - with.journal_used_bytes);
	end(&b);
}
END_TEST

/* A write finds no room: what is kept to go back in is the first to go. */
START_TEST(history_goes_before_a_write_is_refused)
{
	struct rb *b = started(9);

	live(b, 5);
	ck_assert(kept(b).reachable);
	ck_assert(store_history_give(b->store));
	ck_assert(!store_history_give(b->store));
	ck_assert(!kept(b).reachable);
	live(b, 2);
	ck_assert(kept(b).reachable); /* it begins anew */
	end(&b);
}
END_TEST

/* The disk fills up: the older half of what is kept goes, then all of it, and what is written finds its place. */
START_TEST(history_gives_way_while_the_store_fills)
{
	struct rb *b = rb_open(11, 0);
	bool low = false, little = false;
	uint32_t slot = 2;

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 3600 * SEC_NS, 0);
	live(b, 8);
	ck_assert(kept(b).reachable);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_CREATE, slot, 1024 * MIB), 0);
	rb_settle(b);
	for (uint64_t at = 0; !little && at < 1024 * MIB / BLOCK_BYTES; at += 256) {
		struct record_extent e = {
			.volume = slot, .kind = EXTENT_DATA, .block = at, .count = 256};
		int rc = rb_append_extents(b, &e, 1);

		ck_assert(rc == 0 || rc == -ERR_JOURNAL_FULL);
		if (rc < 0)
			at -= 256;
		rb_settle(b);
		fake_run_for(b->f, 300 * MS_NS);
		low = low || store_room(b->store) == STORE_ROOM_LOW;
		little = store_room(b->store) == STORE_ROOM_LITTLE;
	}
	ck_assert(low && little);
	fold(b);
	fake_run_for(b->f, 5 * SEC_NS);
	ck_assert(!kept(b).reachable);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_DELETE, slot, 1024 * MIB), 0);
	fold(b);
	fake_run_for(b->f, 20 * SEC_NS);
	ck_assert_int_eq(store_room(b->store), STORE_ROOM_OK);
	live(b, 2);
	ck_assert(kept(b).reachable); /* it begins anew */
	end(&b);
}
END_TEST

static int moment(struct rb *b, const uint64_t *time, uint64_t *lsn)
{
	struct replica_moment q = {.by_time = time != NULL, .lsn = {*lsn}};
	struct fake_wait wait;
	int rc;

	q.time.v = time != NULL ? *time : 0;
	fake_arm_on(b->f->env, &wait, &q.done);
	replica_moment_find(b->r, &q);
	rc = fake_wait(b->f, &wait);
	*lsn = q.lsn.v;
	return rc;
}

static uint64_t wall_at(struct rb *b, uint64_t lsn)
{
	struct replica_journal_read q = {.lsn = {lsn}};
	struct fake_wait wait;
	uint64_t wall;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_journal_read(b->r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	wall = q.record->view.wall.v;
	record_unref(&q.record);
	return wall;
}

/* By LSN: the boundary at or below; by time: behind the last record of that time, in whatever segment it is. */
START_TEST(a_moment_is_a_record_boundary)
{
	struct rb *b = started(10);
	struct replica_status st;
	uint64_t lsn, time, early = 0;

	live(b, 12);
	rb_work(b, 3); /* not settled: these count, too */
	replica_status(b->r, &st);
	for (uint32_t i = 0; i < b->count; i++) {
		const struct rb_record *m = &b->records[i];

		if (m->begin < st.trim.v)
			continue;
		lsn = m->begin;
		ck_assert_int_eq(moment(b, NULL, &lsn), 0);
		ck_assert_uint_eq(lsn, m->begin);
		lsn = m->end - BLOCK_BYTES;
		ck_assert_int_eq(moment(b, NULL, &lsn), 0);
		ck_assert_uint_eq(lsn, m->end > m->begin + BLOCK_BYTES ? m->begin : lsn);
		if (m->end > st.durable.v)
			continue;
		time = wall_at(b, m->begin);
		ck_assert_uint_ge(time, early);
		early = time;
		lsn = 0;
		ck_assert_int_eq(moment(b, &time, &lsn), 0);
		ck_assert_uint_ge(lsn, m->end);
		if (lsn < st.durable.v)
			ck_assert_uint_gt(wall_at(b, lsn), time);
		time--;
		ck_assert_int_eq(moment(b, &time, &lsn), 0);
		ck_assert_uint_le(lsn, m->begin);
	}
	lsn = st.tail.v;
	ck_assert_int_eq(moment(b, NULL, &lsn), 0);
	ck_assert_uint_eq(lsn, st.tail.v);
	lsn = st.tail.v + BLOCK_BYTES;
	ck_assert_int_eq(moment(b, NULL, &lsn), -ERR_RANGE);
	time = UINT64_MAX;
	ck_assert_int_eq(moment(b, &time, &lsn), 0);
	ck_assert_uint_eq(lsn, st.tail.v);
	ck_assert_int_eq(replica_moment_check(b->r, kept(b).earliest), 0);
	ck_assert_int_eq(replica_moment_check(b->r, (struct lsn){kept(b).earliest.v - BLOCK_BYTES}),
			 -ERR_TRIMMED);
	end(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/past");
	TCase *c = tcase_create("past");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, moments_of_the_past_come_back);
	tcase_add_test(c, what_is_made_of_the_journal_has_the_digest_of_what_was_pinned);
	tcase_add_test(c, changes_of_volumes_are_replayed);
	tcase_add_test(c, moments_before_and_after_a_rollback_come_back);
	tcase_add_test(c, a_crash_begins_it_again);
	tcase_add_test(c, a_failed_write_fails_the_store_and_a_restart_begins_it_again);
	tcase_add_test(c, what_history_does_not_reach_is_missing_and_says_so);
	tcase_add_test(c, one_that_is_deleted_while_it_is_made_leaves_nothing);
	tcase_add_test(c, anchors_are_not_listed_and_go_with_the_history);
	tcase_add_test(c, history_goes_before_a_write_is_refused);
	tcase_add_test(c, a_moment_is_a_record_boundary);
	tcase_add_test(c, history_gives_way_while_the_store_fills);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
