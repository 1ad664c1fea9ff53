/* SPDX-License-Identifier: Apache-2.0 */
/* A replica in a whole store: appends, commit, reads, fold, recovery, cut, journal reads. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/unit/store/replica_bench.h"

START_TEST(committed_content_is_read_before_and_after_fold)
{
	struct rb *b = rb_open(1, 0);
	struct fake_wait wait;
	struct replica_status st;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 150);
	rb_settle(b);
	rb_check_content(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.fold.v, st.commit.v);
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

START_TEST(uncommitted_content_is_not_read)
{
	struct rb *b = rb_open(2, 0);
	struct replica_status st;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 20);
	rb_settle(b);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(rb_append(b), 0);
	rb_check_content(b);
	replica_status(b->r, &st);
	ck_assert_uint_lt(st.commit.v, st.tail.v);
	rb_settle(b);
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

/* `ack: received`: committed before durable is read from memory, and folded only when durable. */
START_TEST(content_committed_before_it_is_durable_is_read_from_memory)
{
	struct rb *b = rb_open(11, 0);
	struct replica_status st;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 20);
	rb_settle(b);
	b->f->sim_disk->faults.stuck = true;
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(rb_append(b), 0);
	replica_status(b->r, &st);
	ck_assert_int_eq(replica_commit(b->r, st.tail), 0);
	for (uint32_t k = 0, i = b->count - 8; i < b->count; i++) {
		const struct record_extent *e = &b->records[i].extents[0];

		if (e->kind != EXTENT_DATA)
			continue;
		rb_check_blocks(b, e->volume, (uint32_t)e->block, 1);
		k++;
		ck_assert_uint_gt(k, 0);
	}
	replica_status(b->r, &st);
	ck_assert_uint_lt(st.durable.v, st.commit.v);
	ck_assert_uint_lt(st.fold.v, st.commit.v);
	b->f->sim_disk->faults.stuck = false;
	sim_disk_unstick(b->f->sim_disk);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

START_TEST(deleted_volume_is_gone_and_its_slot_is_not_used_again)
{
	struct rb *b = rb_open(12, 0);
	struct replica_read rd = {.volume = 0, .count = 1};
	struct replica_volume v[4];
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 100);
	rb_settle(b);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_DELETE, 0, 0), 0);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_RESIZE, 1, 64ull << 20), 0);
	rb_settle(b);
	for (int life = 0; life < 2; life++) {
		ck_assert_uint_eq(replica_volumes(b->r, v, 4), 2);
		ck_assert(v[0].deleted && !v[1].deleted);
		ck_assert_uint_eq(v[1].bytes, 64ull << 20);
		fake_arm_on(b->f->env, &wait, &rd.done);
		replica_read(b->r, &rd);
		ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_NOT_FOUND);
		for (uint32_t at = 0; at < RB_BLOCKS; at += 100)
			rb_check_blocks(b, 1, at, 100);
		rb_check_blocks(b, 1, 10000, 100);
		fake_run_for(b->f, life == 0 ? 0 : 2 * SEC_NS);
		rb_crash(b);
		ck_assert_int_eq(rb_reopen(b), 0);
		rb_settle(b);
	}
	rb_close(&b);
}
END_TEST

START_TEST(staging_replica_takes_the_place_of_the_old_one)
{
	struct rb *b = rb_open(13, 0);
	struct replica_volume v[4];
	struct epoch_entry e[4];
	struct replica_status st;
	struct replica *staging;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 100);
	rb_settle(b);
	replica_status(b->r, &st);
	for (int life = 0; life < 3; life++) {
		struct replica_stage_spec spec = {.begin = st.tail,
						  .chain = st.tail_chain,
						  .epochs = e,
						  .volumes = v,
						  .content_generation = 5};

		spec.epoch_count = replica_epochs(b->r, e, 4);
		spec.volume_count = replica_volumes(b->r, v, 4);
		replica_stage_begin(b->store, &b->group, "group", &spec, &staging,
				    fake_arm(b->f, &wait));
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
		ck_assert_ptr_eq(replica_staging(b->store, &b->group), staging);
		ck_assert_ptr_eq(replica_find(b->store, &b->group), b->r);
		if (life == 0) { /* a second begin discards the first */
			continue;
		} else if (life == 1) { /* so does a crash */
			rb_crash(b);
			ck_assert_int_eq(rb_reopen(b), 0);
			ck_assert_ptr_null(replica_staging(b->store, &b->group));
			rb_check(b);
			continue;
		}
		replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	}
	b->r = replica_find(b->store, &b->group);
	for (uint32_t i = 0; i < b->count; i++)
		b->records[i].extent_count = 0; /* nothing was imported */
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.content_generation, 5);
	rb_check(b);
	rb_work(b, 100);
	rb_settle(b);
	rb_check_content(b);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

START_TEST(store_is_the_same_after_a_clean_close)
{
	struct rb *b = rb_open(3, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	rb_settle(b);
	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

START_TEST(long_run_recycles_the_journal)
{
	struct rb *b = rb_open(4, 0);
	struct replica_status st;
	struct store_status ss;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 2500);
	rb_settle(b);
	replica_status(b->r, &st);
	store_status(b->store, &ss);
	ck_assert_uint_gt(st.tail.v, ss.journal_bytes * 2); /* it went round */
	rb_check_content(b);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

static void check_journal_reads(struct rb *b, struct replica_status *st)
{
	for (uint32_t i = 0; i < b->count; i++) {
		struct replica_journal_read q = {.lsn = {b->records[i].begin}};
		struct replica_chain_at c = {.lsn = {b->records[i].begin}};
		struct fake_wait wait;
		int rc;

		fake_arm_on(b->f->env, &wait, &q.done);
		replica_journal_read(b->r, &q);
		rc = fake_wait(b->f, &wait);
		ck_assert_int_eq(rc, q.lsn.v < st->trim.v ? -ERR_TRIMMED : 0);
		if (rc == 0) {
			ck_assert_uint_eq(q.record->view.begin.v, b->records[i].begin);
			ck_assert_uint_eq(q.record->view.end.v, b->records[i].end);
			ck_assert_int_eq(record_verify_payload(q.record), 0);
			record_unref(&q.record);
		}
		fake_arm_on(b->f->env, &wait, &c.done);
		replica_chain_at(b->r, &c);
		rc = fake_wait(b->f, &wait);
		ck_assert_int_eq(rc, c.lsn.v < st->trim.v ? -ERR_TRIMMED : 0);
		if (rc == 0)
			ck_assert_uint_eq(c.chain, b->records[i].prev_chain);
	}
}

START_TEST(journal_is_read_back_record_by_record)
{
	struct rb *b = rb_open(5, 0);
	struct replica_journal_read q = {0};
	struct replica_chain_at c = {0};
	struct replica_status st;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	replica_pin(b->r, (struct lsn){0});
	rb_work(b, 110); /* less than the journal holds */
	rb_settle(b);
	replica_status(b->r, &st);
	check_journal_reads(b, &st);
	q.lsn.v = b->records[10].begin + 4096;
	while (q.lsn.v == b->records[11].begin)
		q.lsn.v += 4096;
	fake_arm_on(b->f->env, &wait, &q.done);
	replica_journal_read(b->r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_INVALID);
	q.lsn = st.tail;
	fake_arm_on(b->f->env, &wait, &q.done);
	replica_journal_read(b->r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_RANGE);
	c.lsn.v = st.tail.v;
	fake_arm_on(b->f->env, &wait, &c.done);
	replica_chain_at(b->r, &c);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_uint_eq(c.chain, st.tail_chain);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	replica_status(b->r, &st);
	check_journal_reads(b, &st);
	rb_close(&b);
}
END_TEST

START_TEST(cut_forgets_uncommitted_records_for_ever)
{
	struct rb *b = rb_open(6, 0);
	struct fake_wait wait;
	uint32_t keep;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 40);
	rb_settle(b);
	keep = b->count + 5;
	for (int i = 0; i < 15; i++)
		ck_assert_int_eq(rb_append(b), 0);
	fake_run_for(b->f, SEC_NS);
	replica_cut(b->r, (struct lsn){b->records[keep].begin + 1}, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_INVALID);
	replica_cut(b->r, (struct lsn){b->records[3].begin}, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_INVALID);
	replica_cut(b->r, (struct lsn){b->records[keep].begin}, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->count = keep;
	rb_settle(b);
	rb_check_content(b);
	rb_work(b, 30);
	rb_settle(b);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

START_TEST(damaged_home_block_is_reported_not_returned)
{
	struct rb *b = rb_open(7, 0);
	static uint8_t data[4096] __attribute__((aligned(4096)));
	static uint8_t disk[65536];
	struct replica_read rd = {.volume = 0, .block = 5, .count = 1, .data = data};
	struct fake_wait wait;
	uint64_t at, bytes = b->f->disk->bytes;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 60);
	rb_settle(b);
	fake_arm_on(b->f->env, &wait, &rd.done);
	replica_read(b->r, &rd);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_uint_ne(data[0], 0);
	for (at = 0; at < bytes; at += sizeof(disk)) { /* every copy on the disk rots */
		sim_disk_peek(b->f->sim_disk, at, disk, sizeof(disk));
		for (uint32_t i = 0; i < sizeof(disk); i += 4096)
			if (memcmp(disk + i, data, 4096) == 0)
				sim_disk_flip(b->f->sim_disk, at + i + 100, 1);
	}
	fake_arm_on(b->f->env, &wait, &rd.done);
	replica_read(b->r, &rd);
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_CORRUPT);
	ck_assert_uint_eq(rd.bad_block, 5);
	rb_close(&b);
}
END_TEST

START_TEST(epochs_and_volumes_survive)
{
	struct rb *b = rb_open(8, 0);
	struct epoch_entry e[4];
	struct replica_volume v[4];
	struct replica_status st;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 50);
	rb_settle(b);
	fake_run_for(b->f, SEC_NS); /* folded */
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_uint_eq(replica_epochs(b->r, e, 4), 1);
	ck_assert_uint_eq(e[0].epoch.number, 1);
	ck_assert_uint_eq(e[0].first.v, 0);
	ck_assert_uint_eq(replica_volumes(b->r, v, 4), 2);
	ck_assert_uint_eq(v[1].slot, 1);
	ck_assert_uint_eq(v[1].bytes, RB_BLOCKS * 4096ull - 512);
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.content_generation, 1);
	rb_close(&b);
}
END_TEST

START_TEST(deleted_replica_is_gone_and_its_space_is_free)
{
	struct rb *b = rb_open(9, 0);
	struct store_status before, after;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	store_status(b->store, &before);
	rb_work(b, 300);
	rb_settle(b);
	fake_run_for(b->f, SEC_NS);
	replica_delete(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_ptr_null(replica_find(b->store, &b->group));
	fake_run_for(b->f, 5 * SEC_NS);
	store_status(b->store, &after);
	ck_assert_uint_eq(after.journal_used_bytes, 0);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), -ERR_NOT_FOUND);
	replica_create(b->store, &b->group, "group", fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	replica_create(b->store, &b->group, "group", fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_EXISTS);
	rb_close(&b);
}
END_TEST

/* Power fails at a random I/O, several lives long. */
START_TEST(any_crash_keeps_every_acknowledged_write)
{
	for (uint64_t seed = 100; seed < 125; seed++) {
		struct rb *b = rb_open(seed, 0);

		ck_assert_int_eq(rb_start(b), 0);
		for (int life = 0; life < 5; life++) {
			b->f->sim_disk->faults.stop_nth = 1 + rb_random(b) % 300;
			rb_work(b, (uint32_t)rb_random(b) % 300);
			rb_crash(b);
			ck_assert_int_eq(rb_reopen(b), 0);
			rb_check(b);
		}
		rb_close(&b);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/replica");
	TCase *c = tcase_create("replica");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, committed_content_is_read_before_and_after_fold);
	tcase_add_test(c, uncommitted_content_is_not_read);
	tcase_add_test(c, content_committed_before_it_is_durable_is_read_from_memory);
	tcase_add_test(c, deleted_volume_is_gone_and_its_slot_is_not_used_again);
	tcase_add_test(c, staging_replica_takes_the_place_of_the_old_one);
	tcase_add_test(c, store_is_the_same_after_a_clean_close);
	tcase_add_test(c, long_run_recycles_the_journal);
	tcase_add_test(c, journal_is_read_back_record_by_record);
	tcase_add_test(c, cut_forgets_uncommitted_records_for_ever);
	tcase_add_test(c, damaged_home_block_is_reported_not_returned);
	tcase_add_test(c, epochs_and_volumes_survive);
	tcase_add_test(c, deleted_replica_is_gone_and_its_space_is_free);
	tcase_add_test(c, any_crash_keeps_every_acknowledged_write);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
