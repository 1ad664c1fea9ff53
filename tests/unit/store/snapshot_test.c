/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots, rollbacks and clones of a whole store against the model; every store is checked at the end. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/snapshot_bench.h"
#include "tests/unit/store/stage_bench.h"

static struct rb *started(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 40);
	rb_settle(b);
	return b;
}

static int fold(struct rb *b)
{
	struct fake_wait wait;

	replica_fold(b->r, fake_arm(b->f, &wait));
	return fake_wait(b->f, &wait);
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
	sb_check(*b);
	ck_assert_int_eq(fold(*b), 0);
	fake_run_for((*b)->f, SEC_NS);
	rb_crash(*b);
	check_bench_clean((*b)->f);
	rb_close(b);
}

static uint64_t used_bytes(struct rb *b)
{
	struct store_status st;

	store_status(b->store, &st);
	return st.used_bytes - st.journal_used_bytes;
}

START_TEST(snapshot_is_listed_at_commit_and_keeps_what_was_below_it)
{
	struct rb *b = started(1);
	struct snapshot_info info;
	struct uuid uuid = sb_uuid(5);

	ck_assert_int_eq(sb_create(b, 5), 0);
	ck_assert_int_eq(replica_snapshot_by_uuid(b->r, &uuid, &info), -ERR_NOT_FOUND);
	rb_settle(b);
	ck_assert_int_eq(replica_snapshot_by_uuid(b->r, &uuid, &info), 0);
	ck_assert(!info.pinned);
	ck_assert_uint_eq(replica_snapshots_unpinned(b->r), 1);
	rb_work(b, 60); /* overwrites it before fold has reached it */
	rb_settle(b);
	sb_check(b);
	rb_check_content(b);
	ck_assert_int_eq(replica_snapshot_by_uuid(b->r, &uuid, &info), 0);
	ck_assert(info.pinned);
	ck_assert_uint_gt(info.used_bytes, 0);
	ck_assert_uint_eq(info.volume_count, RB_VOLUMES);
	rb_work(b, 60);
	rb_settle(b);
	ck_assert_int_eq(fold(b), 0); /* redirects what it shares */
	sb_check(b);
	end(&b);
}
END_TEST

START_TEST(digest_of_a_snapshot_is_that_of_the_replica_then)
{
	struct rb *b = started(2);
	struct replica_digest q = {0};
	struct snapshot *snap;
	struct fake_wait wait;
	uint64_t then;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_digest(b->r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	then = q.digest;
	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_work(b, 30);
	rb_settle(b);
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	ck_assert_uint_eq(snapshot_digest(snap), then);
	fake_arm_on(b->f->env, &wait, &q.done);
	replica_digest(b->r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_uint_ne(q.digest, then);
	ck_assert_uint_eq(snapshot_digest(snap), then);
	replica_snapshot_close(&snap);
	end(&b);
}
END_TEST

START_TEST(taken_names_and_too_many_are_refused_and_do_nothing)
{
	struct rb *b = started(3);

	ck_assert_int_eq(replica_snapshot_check(b->r, "s1", 0), 0);
	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_settle(b);
	ck_assert_int_eq(replica_snapshot_check(b->r, "s1", 0), -ERR_EXISTS);
	ck_assert_int_eq(replica_snapshot_check(b->r, "s2", SNAPSHOTS_UNPINNED_MAX), -ERR_AGAIN);
	ck_assert_int_eq(sb_create(b, 1), 0);
	b->records[b->count - 1].snap = RB_NONE;
	rb_work(b, 10);
	rb_settle(b);
	sb_check(b);
	end(&b);
}
END_TEST

START_TEST(deleting_every_snapshot_gives_all_their_space_back)
{
	struct rb *b = started(4);
	uint64_t before;

	ck_assert_int_eq(fold(b), 0);
	for (uint32_t id = 1; id <= 6; id++) {
		ck_assert_int_eq(sb_create(b, id), 0);
		rb_work(b, 25);
		rb_settle(b);
		ck_assert_int_eq(fold(b), 0);
	}
	sb_check(b);
	before = used_bytes(b);
	for (uint32_t id = 1; id <= 6; id++)
		ck_assert_int_eq(sb_delete(b, id % 6 + 1), 0);
	rb_settle(b);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 0);
	fake_run_for(b->f, 5 * SEC_NS);
	ck_assert_int_eq(fold(b), 0);
	ck_assert_uint_lt(used_bytes(b), before);
	end(&b);
}
END_TEST

static uint64_t owned(struct rb *b, uint32_t id)
{
	struct snapshot_owned q = {.snapshot = sb_uuid(id)};
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_snapshot_owned(b->r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	return q.bytes;
}

/* What is promised is what becomes free: chunks and pages, but for those that the deletion itself writes anew. */
START_TEST(owned_is_what_deleting_one_gives_back)
{
	struct rb *b = started(14);
	struct store_check c = {0};
	uint64_t chunks, promised;

	ck_assert_int_eq(fold(b), 0);
	for (uint32_t id = 1; id <= 3; id++) {
		ck_assert_int_eq(sb_create(b, id), 0);
		rb_settle(b);
		ck_assert_int_eq(fold(b), 0);
		if (id == 1)
			ck_assert_uint_eq(owned(b, 1), 0); /* nothing differs yet */
		rb_work(b, 40);
		rb_settle(b);
		ck_assert_int_eq(fold(b), 0);
	}
	promised = owned(b, 2);
	ck_assert_uint_gt(promised, 0);
	rb_crash(b);
	ck_assert_uint_eq(check_bench_run(b->f, &c), 0);
	chunks = c.chunks * CHUNK_BYTES + c.pages * 4096;
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_int_eq(sb_delete(b, 2), 0);
	rb_settle(b);
	ck_assert_int_eq(fold(b), 0);
	fake_run_for(b->f, 5 * SEC_NS);
	rb_crash(b);
	ck_assert_uint_eq(check_bench_run(b->f, &c), 0);
	ck_assert_uint_ge(chunks - (c.chunks * CHUNK_BYTES + c.pages * 4096) + 4 * 4096, promised);
	ck_assert_uint_le(chunks - (c.chunks * CHUNK_BYTES + c.pages * 4096), promised + 4 * 4096);
	ck_assert_int_eq(rb_reopen(b), 0);
	end(&b);
}
END_TEST

/* The bound of one replica, many per checkpoint; then all but a few go. */
START_TEST(four_thousand_snapshots_are_listed_and_one_more_is_not)
{
	struct rb *b = started(13);
	struct snapshot_info info;
	char name[16];

	for (uint32_t id = 1; id <= SNAPSHOTS_MAX + 1; id++) {
		int rc = sb_create(b, id);

		while (rc < 0) {
			fake_run_for(b->f, 20 * MS_NS);
			rb_settle(b);
			rc = sb_create(b, id);
		}
		if (id % 64 == 0)
			rb_settle(b);
		if (id % 1000 == 0)
			ck_assert_int_eq(rb_append(b), 0);
	}
	rb_settle(b);
	ck_assert_int_eq(fold(b), 0);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), SNAPSHOTS_MAX);
	ck_assert_int_eq(replica_snapshot_check(b->r, "other", 0), -ERR_FULL);
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), SNAPSHOTS_MAX);
	for (uint32_t id = 1; id <= SNAPSHOTS_MAX; id++) {
		snprintf(name, sizeof(name), "s%u", id);
		if (id % 512 == 0)
			ck_assert_int_eq(replica_snapshot_by_name(b->r, name, &info), 0);
		if (id > 4)
			ck_assert_int_eq(sb_delete(b, id), 0);
		if (id % 64 == 0)
			rb_settle(b);
	}
	rb_settle(b);
	ck_assert_int_eq(fold(b), 0);
	fake_run_for(b->f, 5 * SEC_NS);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 4);
	rb_check_content(b);
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

/* Writes that nobody holds back, and snapshots, until fold finds no room and the journal takes no more. */
static uint32_t fill(struct rb *b)
{
	uint32_t id = 0, refused = 0;

	for (uint32_t i = 0; refused < 60; i++) {
		int rc = rb_append(b);

		ck_assert(rc == 0 || rc == -ERR_JOURNAL_FULL || rc == -ERR_POOL_EMPTY);
		refused = rc == -ERR_JOURNAL_FULL ? refused + 1 : 0;
		if (rc < 0 || i % 8 == 0)
			fake_run_for(b->f, 50 * MS_NS);
		rb_settle(b);
		if (i % 40 == 39 && replica_snapshots_unpinned(b->r) < SNAPSHOTS_UNPINNED_MAX)
			ck_assert_int_eq(sb_create(b, ++id), 0);
		ck_assert_uint_lt(i, 6000);
	}
	ck_assert_int_eq(sb_create(b, ++id), 0); /* fold cannot reach it */
	rb_settle(b);
	return id;
}

START_TEST(full_store_takes_deletes_and_goes_on)
{
	struct rb *b = started(21);
	uint32_t last = fill(b), listed[SNAPSHOTS_MAX], n;

	ck_assert_int_eq(fold(b), -ERR_FULL);
	for (uint32_t i = 0; i < 100; i++) { /* more than the end of a segment holds */
		ck_assert_int_eq(rb_append_note(b), 0);
		rb_settle(b);
	}
	ck_assert_int_eq(rb_append(b), -ERR_JOURNAL_FULL); /* not for writes */
	restart(b);
	ck_assert_int_eq(rb_append_note(b), 0);
	n = sb_listed(b, listed, SNAPSHOTS_MAX);
	ck_assert_uint_eq(n, last);
	for (uint32_t i = 0; i < n; i++) {
		ck_assert_int_eq(sb_delete(b, listed[i]), 0);
		rb_settle(b);
	}
	fake_run_for(b->f, 10 * SEC_NS);
	ck_assert_int_eq(fold(b), 0);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 0);
	rb_work(b, 200);
	rb_settle(b);
	end(&b);
}
END_TEST

START_TEST(restored_volume_is_read_before_the_pages_of_its_snapshot_are_written)
{
	struct rb *b = started(22);

	for (uint32_t i = 1; i <= 20; i++) {
		rb_work(b, 6);
		rb_settle(b);
		ck_assert_int_eq(sb_create(b, 2 * i), 0);
		ck_assert_int_eq(sb_restore(b, 2 * i, 2 * i + 1),
				 0); /* one capture pins and reopens */
		rb_settle(b);
		rb_check_content(b);
	}
	end(&b);
}
END_TEST

START_TEST(deleted_snapshot_stays_for_its_reader)
{
	struct rb *b = started(5);
	struct snapshot *snap, *none;

	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_settle(b);
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	ck_assert_int_eq(sb_delete(b, 1), 0);
	rb_work(b, 40);
	rb_settle(b);
	ck_assert_int_eq(fold(b), 0);
	ck_assert_int_eq(sb_open(b, 1, &none), -ERR_NOT_FOUND);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 0);
	for (uint32_t i = 0; i < b->count; i++)
		if (b->records[i].snap == RB_SNAP)
			sb_check_content(b, snap, b->records[i].begin);
	replica_snapshot_close(&snap);
	fake_run_for(b->f, SEC_NS);
	end(&b);
}
END_TEST

START_TEST(snapshot_deleted_before_it_is_pinned_leaves_nothing)
{
	struct rb *b = started(6);

	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_work(b, 10);
	ck_assert_int_eq(sb_delete(b, 1), 0);
	rb_work(b, 10);
	rb_settle(b);
	ck_assert_uint_eq(replica_snapshots(b->r, NULL, 0), 0);
	ck_assert_int_eq(fold(b), 0);
	ck_assert_uint_eq(replica_snapshots_unpinned(b->r), 0);
	end(&b);
}
END_TEST

START_TEST(rollback_brings_content_back_and_keeps_what_it_replaced)
{
	struct rb *b = started(7);
	struct replica_status st;

	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_work(b, 40);
	ck_assert_int_eq(sb_restore(b, 1, 2), 0);
	rb_work(b, 20);
	rb_settle(b);
	rb_check_content(b); /* reads wait for the restore */
	ck_assert(!replica_is_restoring(b->r));
	sb_check(b);
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.content_generation, 2);
	ck_assert_int_eq(sb_restore(b, 2, 3), 0);
	rb_settle(b);
	rb_check_content(b);
	sb_check(b);
	end(&b);
}
END_TEST

START_TEST(rollback_to_what_is_not_here_stops_commit)
{
	struct rb *b = started(8);
	struct replica_status st;

	ck_assert_int_eq(sb_restore(b, 77, 2), 0);
	fake_run_for(b->f, SEC_NS);
	replica_status(b->r, &st);
	ck_assert_int_eq(replica_commit(b->r, st.tail), -ERR_NOT_FOUND);
	ck_assert(!store_is_failed(b->store));
	ck_assert_int_eq(replica_commit(b->r, st.tail), -ERR_NOT_FOUND);
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(volume_deleted_after_a_snapshot_is_in_it)
{
	struct rb *b = started(9);
	struct replica_volume volumes[RB_VOLUMES];
	struct uuid uuid = sb_uuid(1);
	struct snapshot *snap;
	uint64_t lsn;

	ck_assert_int_eq(sb_create(b, 1), 0);
	lsn = b->records[b->count - 1].begin;
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_DELETE, 1, 0), 0);
	rb_settle(b);
	rb_crash(b); /* before fold has reached it */
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_settle(b);
	ck_assert_uint_eq(replica_snapshot_volumes(b->r, &uuid, volumes, RB_VOLUMES), RB_VOLUMES);
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	sb_check_content(b, snap, lsn);
	replica_snapshot_close(&snap);
	fake_run_for(b->f, SEC_NS);
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	sb_check_content(b, snap, lsn);
	replica_snapshot_close(&snap);
	ck_assert_int_eq(sb_restore(b, 1, 2), 0); /* and comes back with it */
	rb_settle(b);
	rb_check_content(b);
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(clone_begins_as_its_base_and_goes_its_own_way)
{
	struct rb *b = started(10), *c;
	struct snapshot_info info;
	struct record_clone base;
	struct uuid uuid = sb_uuid(1);
	struct fake_wait wait;

	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_settle(b);
	ck_assert_int_eq(replica_clone_check(b->store, &b->group, &uuid), 0);
	c = sb_clone(b, 1, 3); /* the base is not pinned yet */
	ck_assert_ptr_nonnull(c);
	rb_work(c, 10);
	rb_work(b, 30);
	rb_settle(c);
	rb_settle(b);
	rb_check_content(c);
	rb_check_content(b);
	ck_assert_int_eq(replica_snapshot_by_uuid(b->r, &uuid, &info), 0);
	ck_assert_uint_eq(info.clones, 1);
	ck_assert(replica_clone_base(c->r, &base) && uuid_equal(&base.snapshot, &uuid));
	ck_assert_int_eq(sb_delete(b, 1), 0);
	rb_work(c, 30);
	rb_settle(b);
	rb_settle(c);
	ck_assert_int_eq(fold(c), 0);
	ck_assert_int_eq(fold(b), 0);
	fake_run_for(b->f, SEC_NS);
	restart(b);
	ck_assert_int_eq(sb_clone_reopen(c, b), 0);
	rb_check(c);
	ck_assert(replica_clone_base(c->r, &base) && uuid_equal(&base.source, &b->group));
	replica_delete(b->store, &c->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	fake_run_for(b->f, SEC_NS);
	sb_clone_close(&c);
	end(&b);
}
END_TEST

START_TEST(deleted_group_gives_its_snapshots_back)
{
	struct rb *b = started(11);
	struct snapshot *snap;
	struct fake_wait wait;

	for (uint32_t id = 1; id <= 3; id++) {
		ck_assert_int_eq(sb_create(b, id), 0);
		rb_work(b, 20);
	}
	rb_settle(b);
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	replica_delete(b->store, &b->group, fake_arm(b->f, &wait));
	fake_run_for(b->f, SEC_NS);
	ck_assert(!fake_fired(&wait));
	replica_snapshot_close(&snap);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	fake_run_for(b->f, 2 * SEC_NS);
	ck_assert_uint_lt(used_bytes(b), 9 << 20); /* superblocks and tables only */
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(full_copy_inherits_the_snapshots_with_their_readers)
{
	struct rb *b = started(12);
	struct snapshot_info info;
	struct snapshot *snap;
	struct fake_wait wait;

	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_work(b, 20);
	ck_assert_int_eq(sb_create(b, 2), 0);
	rb_settle(b);
	ck_assert_int_eq(sb_open(b, 1, &snap), 0);
	ck_assert_int_eq(stage_bench_copy(b), 0);
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = replica_find(b->store, &b->group);
	snapshot_info_get(snap, &info);
	sb_check_content(b, snap, info.lsn.v);
	replica_snapshot_close(&snap);
	sb_check(b);
	end(&b);
}
END_TEST

static bool durable(void *ctx)
{
	struct rb *b = ctx;
	struct replica_status st;

	replica_status(b->r, &st);
	return st.durable.v == st.tail.v;
}

/* The longest time from append to durable of n writes, in virtual time, while fold is at work. */
static uint64_t longest_write_ns(struct rb *b, uint32_t n, uint32_t *snap)
{
	uint64_t longest = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t begin = clock_now(b->f->env->clock).v, took;

		ck_assert_int_eq(rb_append(b), 0);
		if (snap != NULL && i % 20 == 0)
			ck_assert_int_eq(sb_create(b, ++*snap), 0);
		ck_assert(fake_run_until(b->f, SEC_NS, durable, b));
		took = clock_now(b->f->env->clock).v - begin;
		longest = took > longest ? took : longest;
		rb_settle(b);
		if (i % 10 == 0) /* fold is idle for 20 ms, then works */
			fake_run_for(b->f, 25 * MS_NS);
	}
	return longest;
}

START_TEST(snapshots_under_load_make_no_write_wait)
{
	struct rb *b = started(15);
	uint32_t snap = 0;
	uint64_t without = longest_write_ns(b, 300, NULL), with = longest_write_ns(b, 300, &snap);

	printf("longest write %llu us, with %u snapshots %llu us\n",
	       (unsigned long long)without / 1000, snap, (unsigned long long)with / 1000);
	ck_assert_uint_le(with, 2 * without);
	end(&b);
}
END_TEST

/* Random operations by seed; the power fails now and then. */
START_TEST(random_snapshots_deletes_and_rollbacks_agree_with_the_model)
{
	struct rb *b = started(100 + (uint64_t)_i);
	uint32_t next = 1, ids[64];

	for (uint32_t n = 0; n < 40; n++) {
		uint32_t count = sb_listed(b, ids, 64), what = (uint32_t)rb_random(b) % 10;

		rb_work(b, (uint32_t)rb_random(b) % 12);
		if (what < 4 && count < 8)
			ck_assert_int_eq(sb_create(b, next++), 0);
		else if (what < 6 && count > 0)
			ck_assert_int_eq(sb_delete(b, ids[rb_random(b) % count]), 0);
		else if (what == 6 && count > 0)
			ck_assert_int_eq(sb_restore(b, ids[rb_random(b) % count], next++), 0);
		else if (what == 7)
			ck_assert_int_eq(fold(b), 0);
		else if (what == 8)
			fake_run_for(b->f, rb_random(b) % (300 * MS_NS));
		else if (what == 9) {
			restart(b);
			if (rb_random(b) % 2 == 0)
				sb_check(b);
		}
		rb_settle(b);
	}
	sb_check(b);
	end(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/snapshot");
	TCase *c = tcase_create("snapshot");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, snapshot_is_listed_at_commit_and_keeps_what_was_below_it);
	tcase_add_test(c, digest_of_a_snapshot_is_that_of_the_replica_then);
	tcase_add_test(c, taken_names_and_too_many_are_refused_and_do_nothing);
	tcase_add_test(c, deleting_every_snapshot_gives_all_their_space_back);
	tcase_add_test(c, owned_is_what_deleting_one_gives_back);
	tcase_add_test(c, four_thousand_snapshots_are_listed_and_one_more_is_not);
	tcase_add_test(c, full_store_takes_deletes_and_goes_on);
	tcase_add_test(c, restored_volume_is_read_before_the_pages_of_its_snapshot_are_written);
	tcase_add_test(c, deleted_snapshot_stays_for_its_reader);
	tcase_add_test(c, snapshot_deleted_before_it_is_pinned_leaves_nothing);
	tcase_add_test(c, rollback_brings_content_back_and_keeps_what_it_replaced);
	tcase_add_test(c, rollback_to_what_is_not_here_stops_commit);
	tcase_add_test(c, volume_deleted_after_a_snapshot_is_in_it);
	tcase_add_test(c, clone_begins_as_its_base_and_goes_its_own_way);
	tcase_add_test(c, deleted_group_gives_its_snapshots_back);
	tcase_add_test(c, full_copy_inherits_the_snapshots_with_their_readers);
	tcase_add_test(c, snapshots_under_load_make_no_write_wait);
	tcase_add_loop_test(c, random_snapshots_deletes_and_rollbacks_agree_with_the_model, 0, 12);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
