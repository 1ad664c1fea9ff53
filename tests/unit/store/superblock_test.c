/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/superblock.h"
#include "tests/lib/fakes.h"

#define DISK_BYTES (64ull << 20)

static struct disk_super content(void)
{
	struct disk_super s = {.version = STORE_FORMAT_VERSION,
			       .store = {1, 2, 3},
			       .bytes = DISK_BYTES,
			       .segment_bytes = 2 << 20,
			       .journal_percent = 25,
			       .root_address = 2 << 20};

	return s;
}

static struct supers *open_on(struct fake *f, bool read_only)
{
	struct supers_opts o = {.env = f->env, .disk = f->disk, .read_only = read_only};
	struct supers *su = NULL;

	ck_assert_int_eq(supers_open(&o, &su), 0);
	return su;
}

static int load(struct fake *f, struct supers *su)
{
	struct fake_wait wait;

	supers_load(su, fake_arm(f, &wait));
	return fake_wait(f, &wait);
}

static int write_root(struct fake *f, struct supers *su, uint64_t seq)
{
	struct disk_super s = *supers_content(su);
	struct fake_wait wait;

	s.root_seq = seq;
	supers_write(su, &s, fake_arm(f, &wait));
	return fake_wait(f, &wait);
}

static struct fake *formatted(uint64_t seed, uint64_t disk_bytes)
{
	struct fake *f = fake_open(seed, disk_bytes);
	struct supers *su = open_on(f, false);
	struct disk_super s = content();
	struct fake_wait wait;

	s.bytes = disk_bytes;
	supers_format(su, &s, fake_arm(f, &wait));
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	ck_assert_int_eq(write_root(f, su, 1), 0);
	supers_close(&su, false);
	return f;
}

static void damage(struct fake *f, uint32_t copy)
{
	sim_disk_flip(f->sim_disk, super_region_off(DISK_BYTES, copy) + 500, 2);
}

START_TEST(two_lost_copies_are_repaired_whichever_they_are)
{
	for (uint32_t a = 0; a < SUPER_COPIES; a++) {
		for (uint32_t b = 0; b < a; b++) {
			struct fake *f = formatted(1, DISK_BYTES);
			struct supers *su = open_on(f, false);

			damage(f, a);
			damage(f, b);
			ck_assert_int_eq(load(f, su), 0);
			ck_assert_uint_eq(supers_content(su)->root_seq, 1);
			supers_close(&su, false);
			su = open_on(f, true);
			ck_assert_int_eq(load(f, su), 0);
			ck_assert_uint_eq(supers_good_copies(su), SUPER_COPIES);
			supers_close(&su, false);
			fake_close(&f);
		}
	}
}
END_TEST

START_TEST(one_copy_alone_is_not_believed)
{
	struct fake *f = formatted(2, DISK_BYTES);
	struct supers *su = open_on(f, false);

	damage(f, 0);
	damage(f, 1);
	damage(f, 3);
	ck_assert_int_eq(load(f, su), -ERR_CORRUPT);
	supers_close(&su, false);
	fake_close(&f);
}
END_TEST

START_TEST(blank_disk_is_not_a_store)
{
	struct fake *f = fake_open(3, DISK_BYTES);
	struct supers *su = open_on(f, false);

	ck_assert_int_eq(load(f, su), -ERR_NOT_STORE);
	supers_close(&su, false);
	fake_close(&f);
}
END_TEST

START_TEST(unknown_features_refuse)
{
	struct fake *f = formatted(4, DISK_BYTES);
	struct supers *su = open_on(f, false);
	struct disk_super s;
	struct fake_wait wait;

	ck_assert_int_eq(load(f, su), 0);
	s = *supers_content(su);
	s.ro_compat = 4;
	supers_write(su, &s, fake_arm(f, &wait));
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	supers_close(&su, false);
	su = open_on(f, false);
	ck_assert_int_eq(load(f, su), -ERR_VERSION);
	supers_close(&su, false);
	su = open_on(f, true);
	ck_assert_int_eq(load(f, su), 0);
	s = *supers_content(su);
	supers_close(&su, false);
	su = open_on(f, false);
	s.incompat = 1ull << 63;
	supers_write(su, &s, fake_arm(f, &wait));
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	supers_close(&su, false);
	su = open_on(f, true);
	ck_assert_int_eq(load(f, su), -ERR_VERSION);
	supers_close(&su, false);
	fake_close(&f);
}
END_TEST

/* Power fails at every I/O of a write: what opens is the old or the new, and a durable answer is kept. */
START_TEST(crash_at_every_io_of_a_write_leaves_old_or_new)
{
	for (uint64_t n = 1; n < 100; n++) {
		struct fake *f = formatted(5 + n, DISK_BYTES);
		struct supers *su = open_on(f, false);
		uint64_t seq;
		int rc;

		ck_assert_int_eq(load(f, su), 0);
		f->sim_disk->faults.stop_nth = n;
		rc = write_root(f, su, 2);
		fake_crash(f);
		supers_close(&su, true);
		f->sim_disk->faults.stop_nth = 0;
		f->sim_disk->faults.stopped = false;
		fake_boot(f);
		su = open_on(f, false);
		ck_assert_int_eq(load(f, su), 0);
		seq = supers_content(su)->root_seq;
		ck_assert(seq == 2 || (seq == 1 && rc != 0));
		ck_assert_int_eq(write_root(f, su, 3), 0);
		supers_close(&su, false);
		fake_close(&f);
		if (rc == 0)
			return;
	}
	ck_abort_msg("it never ended");
}
END_TEST

START_TEST(grown_disk_opens_at_its_old_size)
{
	struct fake *small = formatted(200, DISK_BYTES), *f = fake_open(201, 2 * DISK_BYTES);
	static uint8_t data[1 << 20];
	struct supers *su;

	for (uint64_t at = 0; at < DISK_BYTES; at += sizeof(data)) {
		sim_disk_peek(small->sim_disk, at, data, sizeof(data));
		sim_disk_poke(f->sim_disk, at, data, sizeof(data));
	}
	su = open_on(f, false);
	ck_assert_int_eq(load(f, su), 0);
	ck_assert_uint_eq(supers_content(su)->bytes, DISK_BYTES);
	supers_close(&su, false);
	fake_close(&small);
	fake_close(&f);
}
END_TEST

START_TEST(many_floors_share_writes_and_survive)
{
	struct fake *f = formatted(300, DISK_BYTES);
	struct supers *su = open_on(f, false);
	static struct fake_wait waits[500];
	struct store_floor floor = {0};
	uint64_t writes;

	ck_assert_int_eq(load(f, su), 0);
	writes = f->sim_disk->counts.writes;
	for (uint32_t i = 0; i < 500; i++) {
		struct uuid group = {{(uint8_t)i, (uint8_t)(i >> 8), 7}};

		floor.epoch = i + 1;
		supers_floor_set(su, &group, &floor, fake_arm(f, &waits[i]));
	}
	for (uint32_t i = 0; i < 500; i++)
		ck_assert_int_eq(fake_wait(f, &waits[i]), 0);
	ck_assert_uint_le(f->sim_disk->counts.writes - writes, 12);
	fake_crash(f);
	supers_close(&su, true);
	fake_boot(f);
	su = open_on(f, false);
	ck_assert_int_eq(load(f, su), 0);
	for (uint32_t i = 0; i < 500; i++) {
		struct uuid group = {{(uint8_t)i, (uint8_t)(i >> 8), 7}};

		supers_floor_get(su, &group, &floor);
		ck_assert_uint_eq(floor.epoch, i + 1);
	}
	supers_close(&su, false);
	fake_close(&f);
}
END_TEST

START_TEST(failed_write_is_told_and_nothing_more_is_promised)
{
	struct fake *f = formatted(400, DISK_BYTES);
	struct supers *su = open_on(f, false);
	struct store_floor floor = {.epoch = 1};
	struct uuid group = {{1}};
	struct fake_wait wait;

	ck_assert_int_eq(load(f, su), 0);
	f->sim_disk->faults.fail_nth = 1;
	f->sim_disk->faults.fail_rc = -ERR_IO;
	ck_assert_int_eq(write_root(f, su, 2), -ERR_IO);
	supers_floor_set(su, &group, &floor, fake_arm(f, &wait));
	ck_assert_int_eq(fake_wait(f, &wait), -ERR_FAILED);
	supers_close(&su, false);
	fake_close(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/superblock");
	TCase *c = tcase_create("superblock");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_test(c, two_lost_copies_are_repaired_whichever_they_are);
	tcase_add_test(c, one_copy_alone_is_not_believed);
	tcase_add_test(c, blank_disk_is_not_a_store);
	tcase_add_test(c, unknown_features_refuse);
	tcase_add_test(c, crash_at_every_io_of_a_write_leaves_old_or_new);
	tcase_add_test(c, grown_disk_opens_at_its_old_size);
	tcase_add_test(c, many_floors_share_writes_and_survive);
	tcase_add_test(c, failed_write_is_told_and_nothing_more_is_promised);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
