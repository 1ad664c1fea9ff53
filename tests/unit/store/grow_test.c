/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/store/grow_test.c: a store becomes larger while it works. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "proto/store.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"

#define MIB (1ull << 20)
#define OLD_BYTES (96 * MIB) /* of the bench's disk */

static struct rb *working(uint64_t seed, bool thin, uint64_t room)
{
	struct rb *b = rb_open(seed, 0);

	b->f->sim_disk->disk.thin = thin;
	b->f->sim_disk->grow_max = room;
	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 60);
	rb_settle(b);
	return b;
}

static void reopen(struct rb *b)
{
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
}

static int grow(struct rb *b, uint64_t bytes)
{
	struct store_growth g;
	int rc = store_grow(b->store, bytes);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < 3000; i++) {
		store_growth(b->store, &g);
		if (!g.busy)
			return g.rc;
		fake_run_for(b->f, 10 * MS_NS);
		rb_work(b, 1);
	}
	return -ERR_TIMEOUT;
}

static uint64_t free_bytes(const struct rb *b)
{
	struct store_status st;

	store_status(b->store, &st);
	return st.free_bytes;
}

static uint64_t bytes(const struct rb *b)
{
	struct store_status st;

	store_status(b->store, &st);
	return st.bytes;
}

START_TEST(file_grows_under_writes_and_stays_grown)
{
	struct rb *b = working(1, true, 160 * MIB);
	uint64_t was = free_bytes(b), writes = b->f->sim_disk->counts.write_bytes;

	ck_assert_int_eq(grow(b, 160 * MIB), 0);
	ck_assert_uint_eq(bytes(b), 160 * MIB);
	ck_assert_uint_gt(free_bytes(b), was + 30 * MIB);
	ck_assert_uint_ge(b->f->sim_disk->counts.write_bytes - writes, 64 * MIB);
	rb_work(b, 60);
	rb_settle(b);
	reopen(b);
	ck_assert_uint_eq(bytes(b), 160 * MIB);
	rb_close(&b);
}
END_TEST

START_TEST(device_grows_to_what_it_has_and_is_not_written_over)
{
	struct rb *b = working(2, false, 160 * MIB);
	uint64_t writes = b->f->sim_disk->counts.write_bytes;

	ck_assert_int_eq(grow(b, 0), 0);
	ck_assert_uint_eq(bytes(b), 160 * MIB);
	ck_assert_uint_lt(b->f->sim_disk->counts.write_bytes - writes, 32 * MIB);
	reopen(b);
	ck_assert_uint_eq(bytes(b), 160 * MIB);
	rb_close(&b);
}
END_TEST

START_TEST(store_grows_again_and_again)
{
	struct rb *b = working(3, true, 130 * MIB);

	ck_assert_int_eq(grow(b, 99 * MIB), 0);
	ck_assert_int_eq(grow(b, 110 * MIB), 0);
	reopen(b);
	ck_assert_int_eq(grow(b, 110 * MIB), 0); /* it is so already */
	ck_assert_int_eq(grow(b, 130 * MIB), 0);
	reopen(b);
	ck_assert_uint_eq(bytes(b), 130 * MIB);
	rb_close(&b);
}
END_TEST

START_TEST(store_never_shrinks_and_refusals_change_nothing)
{
	struct rb *b = working(4, true, 120 * MIB);

	ck_assert_int_eq(grow(b, 64 * MIB), -ERR_INVALID);
	ck_assert_int_eq(grow(b, 120 * MIB + 512), -ERR_INVALID);
	ck_assert_int_eq(grow(b, 200 * MIB), -ERR_FULL); /* the file system has no room */
	ck_assert_int_eq(grow(b, OLD_BYTES + 64 * 1024), -ERR_RANGE);
	b->f->sim_disk->disk.thin = false;
	ck_assert_int_eq(grow(b, 200 * MIB), -ERR_UNSUPPORTED);
	ck_assert_uint_eq(bytes(b), OLD_BYTES);
	reopen(b);
	ck_assert_uint_eq(bytes(b), OLD_BYTES);
	rb_close(&b);
}
END_TEST

START_TEST(grown_store_opens_without_copy_0_by_either_signpost)
{
	for (uint32_t lost = 0; lost < 3; lost++) {
		struct rb *b = working(5, true, 128 * MIB);

		ck_assert_int_eq(grow(b, 128 * MIB), 0);
		rb_settle(b);
		rb_crash(b);
		sim_disk_flip(b->f->sim_disk, 500, 1);
		if (lost > 0)
			sim_disk_flip(b->f->sim_disk, signpost_off(128 * MIB, lost - 1) + 24, 1);
		check_bench_clean(b->f);
		ck_assert_int_eq(rb_reopen(b), 0);
		rb_check(b);
		reopen(b); /* copy 0 is back */
		rb_close(&b);
	}
}
END_TEST

/* A client can write anything, anywhere it may write: here images of superblocks where the copies of a
 * disk of the present size would be. */
START_TEST(what_looks_like_superblocks_elsewhere_is_not_believed)
{
	struct rb *b = working(6, true, 192 * MIB);
	static _Alignas(8) struct disk_super forged;

	ck_assert_int_eq(grow(b, 192 * MIB), 0);
	rb_settle(b);
	rb_crash(b);
	sim_disk_peek(b->f->sim_disk, 0, &forged, sizeof(forged));
	forged.sequence += 1000;
	forged.bytes = forged.grown_bytes;
	forged.grown_bytes = 0;
	forged.incompat = 0;
	for (uint32_t copy = 1; copy < SUPER_COPIES; copy++) {
		super_seal(&forged, copy);
		sim_disk_poke(b->f->sim_disk, super_region_off(192 * MIB, copy), &forged,
			      sizeof(forged));
	}
	sim_disk_flip(b->f->sim_disk, 500, 1); /* and copy 0 is gone */
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_uint_eq(bytes(b), 192 * MIB);
	rb_close(&b);
}
END_TEST

START_TEST(closing_ends_a_growth_that_goes_on_next_time)
{
	struct rb *b = working(7, true, 192 * MIB);
	struct fake_wait wait;

	ck_assert_int_eq(store_grow(b->store, 192 * MIB), 0);
	ck_assert_int_eq(store_grow(b->store, 128 * MIB), -ERR_BUSY);
	fake_run_for(b->f, 5 * MS_NS);
	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	ck_assert_uint_eq(bytes(b), OLD_BYTES);
	ck_assert_int_eq(grow(b, 192 * MIB), 0);
	reopen(b);
	ck_assert_uint_eq(bytes(b), 192 * MIB);
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/grow");
	TCase *c = tcase_create("grow");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, file_grows_under_writes_and_stays_grown);
	tcase_add_test(c, device_grows_to_what_it_has_and_is_not_written_over);
	tcase_add_test(c, store_grows_again_and_again);
	tcase_add_test(c, store_never_shrinks_and_refusals_change_nothing);
	tcase_add_test(c, grown_store_opens_without_copy_0_by_either_signpost);
	tcase_add_test(c, what_looks_like_superblocks_elsewhere_is_not_believed);
	tcase_add_test(c, closing_ends_a_growth_that_goes_on_next_time);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
