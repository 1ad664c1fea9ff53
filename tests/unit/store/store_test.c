/* SPDX-License-Identifier: Apache-2.0 */
/* The whole store below a group: fold, checkpoint, crash, check, digest, full copy. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"
#include "tests/unit/store/stage_bench.h"

static void close_store(struct rb *b)
{
	struct fake_wait wait;

	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = NULL;
}

static uint64_t digest_of(struct rb *b, struct replica *r)
{
	struct replica_digest q;
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_digest(r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	return q.digest;
}

START_TEST(fresh_store_checks_clean)
{
	struct rb *b = rb_open(1, 0);

	ck_assert_int_eq(rb_start(b), 0);
	close_store(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(fold_moves_everything_home_and_the_check_proves_it)
{
	struct rb *b = rb_open(2, 0);
	struct store_check c = {.digest = true};
	struct replica_status st;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 400);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	replica_status(b->r, &st);
	ck_assert_uint_eq(st.fold.v, st.commit.v);
	rb_check_content(b);
	close_store(b);
	ck_assert_uint_eq(check_bench_run(b->f, &c), 0);
	ck_assert_uint_gt(c.blocks, 100);
	rb_close(&b);
}
END_TEST

/* The check's digest overlays the journal; it must equal what folding gives. */
START_TEST(digest_of_the_check_equals_the_digest_after_fold)
{
	struct rb *b = rb_open(3, 0);
	uint64_t unfolded, folded, again, live;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	rb_settle(b);
	rb_crash(b);
	unfolded = check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	live = digest_of(b, b->r);
	close_store(b);
	folded = check_bench_clean(b->f);
	ck_assert_uint_eq(unfolded, folded);
	ck_assert_uint_eq(crc64(0, &live, sizeof(live)), folded);
	again = check_bench_clean(b->f);
	ck_assert_uint_eq(folded, again);
	rb_close(&b);
}
END_TEST

START_TEST(check_is_clean_after_any_crash)
{
	for (uint64_t seed = 200; seed < 212; seed++) {
		struct rb *b = rb_open(seed, 0);

		ck_assert_int_eq(rb_start(b), 0);
		for (int life = 0; life < 4; life++) {
			b->f->sim_disk->faults.stop_nth = 1 + rb_random(b) % 600;
			rb_work(b, (uint32_t)rb_random(b) % 400);
			rb_crash(b);
			check_bench_clean(b->f);
			ck_assert_int_eq(rb_reopen(b), 0);
			rb_check(b);
		}
		rb_close(&b);
	}
}
END_TEST

START_TEST(check_finds_every_kind_of_damage)
{
	struct rb *b = rb_open(5, 0);
	struct store_check c = {.digest = true};
	struct fake_wait wait;
	uint64_t found = 0;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	close_store(b);
	check_bench_clean(b->f);
	/* One flipped bit anywhere in what is used must be found; try places all over the disk. */
	for (uint64_t at = 0; at < b->f->disk->bytes; at += 17 * BLOCK_BYTES) {
		uint8_t block[4096], zero[4096] = {0};

		sim_disk_peek(b->f->sim_disk, at, block, sizeof(block));
		if (memcmp(block, zero, sizeof(zero)) == 0)
			continue;
		sim_disk_flip(b->f->sim_disk, at + 600, 3);
		c.bad_count = 0;
		c.report = NULL;
		fake_arm_on(b->f->env, &wait, &c.done);
		store_check(b->f->env, b->f->disk, &c);
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
		found += c.bad_count > 0;
		sim_disk_flip(b->f->sim_disk, at + 600, 3);
	}
	ck_assert_uint_gt(found, 8);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(floors_survive_and_never_go_down)
{
	struct rb *b = rb_open(6, 0);
	struct store_floor high = {.epoch = 7, .cfg = 3, .promise_ms = 900},
			   low = {.epoch = 2, .cfg = 9}, got;
	struct fake_wait w1, w2;

	ck_assert_int_eq(rb_start(b), 0);
	store_floor_set(b->store, &b->group, &high, fake_arm(b->f, &w1));
	store_floor_set(b->store, &b->group, &low, fake_arm_env(b->f->env, &w2));
	ck_assert_int_eq(fake_wait(b->f, &w1), 0);
	ck_assert_int_eq(fake_wait(b->f, &w2), 0);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	store_floor_get(b->store, &b->group, &got);
	ck_assert_uint_eq(got.epoch, 7);
	ck_assert_uint_eq(got.cfg, 9);
	ck_assert_uint_eq(got.promise_ms, 900);
	rb_close(&b);
}
END_TEST

START_TEST(incarnation_grows_with_every_opening)
{
	struct rb *b = rb_open(7, 0);
	struct store_status st;
	uint64_t last = 0;

	ck_assert_int_eq(rb_start(b), 0);
	for (int i = 0; i < 4; i++) {
		store_status(b->store, &st);
		ck_assert_uint_gt(st.incarnation, last);
		last = st.incarnation;
		if (i % 2 == 0)
			rb_crash(b);
		else
			close_store(b);
		ck_assert_int_eq(rb_reopen(b), 0);
	}
	rb_close(&b);
}
END_TEST

START_TEST(probe_tells_blank_store_and_other)
{
	struct rb *b = rb_open(8, 0);
	struct fake_wait wait;

	store_probe(b->f->env, b->f->disk, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), STORE_PROBE_EMPTY);
	sim_disk_poke(b->f->sim_disk, 1080, "x", 1);
	store_probe(b->f->env, b->f->disk, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), STORE_PROBE_OTHER);
	ck_assert_int_eq(rb_start(b), 0);
	close_store(b);
	store_probe(b->f->env, b->f->disk, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), STORE_PROBE_STORE);
	rb_close(&b);
}
END_TEST

START_TEST(full_copy_switches_in_and_equals_the_source)
{
	struct rb *b = rb_open(9, 0);
	struct fake_wait wait;
	uint64_t before;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	rb_settle(b);
	before = digest_of(b, b->r);
	ck_assert_int_eq(stage_bench_copy(b), 0);
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = replica_find(b->store, &b->group);
	ck_assert_ptr_nonnull(b->r);
	ck_assert_ptr_null(replica_staging(b->store, &b->group));
	rb_check_content(b);
	ck_assert_uint_eq(digest_of(b, b->r), before);
	rb_work(b, 100);
	rb_settle(b);
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	fake_run_for(b->f, 5 * SEC_NS); /* the old tree is given back meanwhile */
	close_store(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(switch_waits_for_readers_of_the_old_replica)
{
	static uint8_t data[64 * BLOCK_BYTES] __attribute__((aligned(4096)));
	struct rb *b = rb_open(11, 0);
	struct replica_read rd = {.count = 64, .data = data};
	struct fake_wait wait, reading, digesting;
	struct replica_digest q;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 100);
	rb_settle(b);
	ck_assert_int_eq(stage_bench_copy(b), 0);
	fake_arm_on(b->f->env, &reading, &rd.done);
	replica_read(b->r, &rd);
	fake_arm_on(b->f->env, &digesting, &q.done);
	replica_digest(b->r, &q);
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &reading), 0);
	ck_assert_int_eq(fake_wait(b->f, &digesting), 0);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = replica_find(b->store, &b->group);
	rb_check_content(b);
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), -ERR_NOT_FOUND);
	rb_close(&b);
}
END_TEST

START_TEST(unfinished_copy_is_dropped_at_open)
{
	struct rb *b = rb_open(10, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 200);
	rb_settle(b);
	ck_assert_int_eq(stage_bench_copy(b), 0);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_ptr_null(replica_staging(b->store, &b->group));
	rb_check(b);
	fake_run_for(b->f, 5 * SEC_NS);
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

/* SW2 */
START_TEST(a_journal_write_that_never_ends_fails_the_store)
{
	struct rb *b = rb_open(31, 0);

	b->stall_ms = 1000;
	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 20);
	rb_settle(b);
	b->f->sim_disk->faults.stuck = true;
	ck_assert_int_eq(rb_append_note(b), 0);
	fake_run_for(b->f, 990 * MS_NS);
	ck_assert(!store_is_failed(b->store));
	fake_run_for(b->f, 160 * MS_NS); /* a look more */
	ck_assert(store_is_failed(b->store));
	ck_assert_int_eq(rb_append_note(b), -ERR_FAILED);
	sim_disk_unstick(b->f->sim_disk); /* too late */
	fake_run_for(b->f, SEC_NS);
	ck_assert_int_eq(rb_append_note(b), -ERR_FAILED);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
	rb_close(&b);
}
END_TEST

/* SW1 */
START_TEST(a_process_that_stood_still_fails_no_store)
{
	struct rb *b = rb_open(32, 0);

	b->stall_ms = 1000;
	ck_assert_int_eq(rb_start(b), 0);
	for (uint32_t i = 0; i < 10; i++) {
		ck_assert_int_eq(rb_append_note(b), 0);
		fake_run_for(b->f, i * 1000); /* the write is on its way */
		world_pause(b->f->node, false);
		fake_run_for(b->f, 5 * SEC_NS);
		world_resume(b->f->node);
		fake_run_for(b->f, 300 * MS_NS);
		ck_assert(!store_is_failed(b->store));
	}
	rb_settle(b);
	rb_close(&b);
}
END_TEST

START_TEST(an_idle_store_never_fails)
{
	struct rb *b = rb_open(33, 0);

	b->stall_ms = 1000;
	ck_assert_int_eq(rb_start(b), 0);
	for (uint32_t i = 0; i < 100; i++) {
		rb_work(b, 3);
		fake_run_for(b->f, 700 * MS_NS);
		ck_assert(!store_is_failed(b->store));
	}
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/store");
	TCase *c = tcase_create("store");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, fresh_store_checks_clean);
	tcase_add_test(c, fold_moves_everything_home_and_the_check_proves_it);
	tcase_add_test(c, digest_of_the_check_equals_the_digest_after_fold);
	tcase_add_test(c, check_is_clean_after_any_crash);
	tcase_add_test(c, check_finds_every_kind_of_damage);
	tcase_add_test(c, floors_survive_and_never_go_down);
	tcase_add_test(c, incarnation_grows_with_every_opening);
	tcase_add_test(c, probe_tells_blank_store_and_other);
	tcase_add_test(c, full_copy_switches_in_and_equals_the_source);
	tcase_add_test(c, switch_waits_for_readers_of_the_old_replica);
	tcase_add_test(c, unfinished_copy_is_dropped_at_open);
	tcase_add_test(c, a_journal_write_that_never_ends_fails_the_store);
	tcase_add_test(c, a_process_that_stood_still_fails_no_store);
	tcase_add_test(c, an_idle_store_never_fails);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
