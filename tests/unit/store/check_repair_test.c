/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/store/check_repair_test.c: what a repair at rest sets right, and what it leaves alone. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/store/replica_fold.h"
#include "engine/store/space_tables.h"
#include "engine/store/store_parts.h"
#include "proto/store.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"
#include "tests/unit/store/snapshot_bench.h"

#define LEAKS 6u
#define IOS_MAX 2000u /* of a repair, more than enough */

static void close_store(struct rb *b)
{
	struct fake_wait wait;

	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = NULL;
}

/* A store with content in home and in its journal. */
static struct rb *working(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 60);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_work(b, 20);
	rb_settle(b);
	return b;
}

struct lines {
	uint32_t count;
	char last[200];
};

static void line_keep(void *ctx, enum check_line kind, const char *line)
{
	struct lines *l = ctx;

	ck_assert_int_eq(kind, CHECK_REPAIR);
	l->count++;
	snprintf(l->last, sizeof(l->last), "%s", line);
}

static int repair(struct rb *b, struct store_repair *q, struct lines *l)
{
	struct fake_wait wait;

	memset(l, 0, sizeof(*l));
	memset(q, 0, sizeof(*q));
	q->memory_bytes = 32 << 20;
	q->report = line_keep;
	q->ctx = l;
	fake_arm_on(b->f->env, &wait, &q->done);
	store_check_repair(b->f->env, b->f->disk, q);
	return fake_wait(b->f, &wait);
}

static void repair_all(struct rb *b, uint64_t expected)
{
	struct store_repair q;
	struct lines l;

	ck_assert_int_eq(repair(b, &q, &l), 0);
	ck_assert_uint_eq(q.repaired, expected);
	ck_assert_uint_eq(l.count, expected);
	ck_assert_int_eq(repair(b, &q, &l), 0);
	ck_assert_uint_eq(q.repaired, 0);
	ck_assert_uint_eq(l.count, 0);
}

static void disk_flip(struct rb *b, enum disk_kind kind, uint64_t off, void *block)
{
	struct disk_req req;
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &req.done);
	disk_io(b->f->disk, &req, kind, kind == DISK_WRITE ? DISK_FUA : 0, off, block, BLOCK_BYTES);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
}

static void damage(struct rb *b, uint64_t off)
{
	static uint8_t block[BLOCK_BYTES] __attribute__((aligned(4096)));

	disk_flip(b, DISK_READ, off, block);
	block[100] ^= 0x55;
	disk_flip(b, DISK_WRITE, off, block);
}

/* Of volume 0's tree. */
static uint64_t root_page(struct rb *b)
{
	struct volume_root root;

	map_root_get(replica_map(b->r, 0), &root);
	ck_assert_uint_ne(root.root, CHUNK_NONE);
	return root.root;
}

/* Two chunks and two pages that nothing refers to, and a chunk and a page counted too often: LEAKS. */
static void leak(struct rb *b)
{
	struct space *sp = store_space(b->store);
	uint64_t at, chunk = 0;
	struct fake_wait wait;

	replica_fold(b->r, fake_arm(b->f, &wait)); /* the root is on the disk */
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(space_chunk_take(sp, &at), 0);
		ck_assert_int_eq(space_page_take(sp, &at), 0);
	}
	while (!space_chunk_is_used(sp, chunk))
		chunk += CHUNK_BYTES;
	ck_assert_int_eq(space_ref_add(sp, chunk), 0);
	ck_assert_int_eq(space_ref_add(sp, root_page(b)), 0);
}

START_TEST(repair_of_a_good_store_changes_nothing)
{
	struct rb *b = working(1);
	uint64_t writes;

	close_store(b);
	writes = b->f->sim_disk->counts.write_bytes;
	repair_all(b, 0);
	ck_assert_uint_eq(b->f->sim_disk->counts.write_bytes, writes);
	rb_close(&b);
}
END_TEST

START_TEST(copies_of_superblock_and_floors_that_lost_are_written_again)
{
	struct rb *b = working(2);
	struct store_floor floor = {.epoch = 7, .cfg = 3, .promise_ms = 5}, is;
	struct fake_wait wait;
	uint64_t bytes = b->f->disk->bytes, digest;

	store_floor_set(b->store, &b->group, &floor, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	close_store(b);
	digest = check_bench_clean(b->f);
	damage(b, super_region_off(bytes, 1));
	damage(b, super_region_off(bytes, 3));
	for (uint32_t slot = 0; slot < FLOOR_SLOTS; slot++)
		damage(b, super_region_off(bytes, 2) + FLOOR_SLOT_OFF + slot * FLOOR_SLOT_BYTES);
	repair_all(b, 3);
	damage(b, super_region_off(bytes, 0)); /* the others are good now */
	damage(b, super_region_off(bytes, 2));
	ck_assert_uint_eq(check_bench_clean(b->f), digest);
	ck_assert_int_eq(rb_reopen(b), 0);
	store_floor_get(b->store, &b->group, &is);
	ck_assert_int_eq(memcmp(&is, &floor, sizeof(is)), 0);
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

START_TEST(space_that_nothing_refers_to_becomes_free)
{
	struct rb *b = working(3);
	struct store_check c = {.bad_count = 0};
	struct store_status before, after;
	uint64_t digest;

	close_store(b);
	digest = check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	store_status(b->store, &before);
	leak(b);
	close_store(b);
	ck_assert_uint_eq(check_bench_run(b->f, &c), LEAKS);
	ck_assert(!c.unsure);
	repair_all(b, LEAKS);
	ck_assert_uint_eq(check_bench_clean(b->f), digest);
	ck_assert_int_eq(rb_reopen(b), 0);
	store_status(b->store, &after);
	ck_assert_uint_le(after.used_bytes, before.used_bytes);
	rb_check_content(b);
	rb_work(b, 60);
	rb_settle(b);
	close_store(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(nothing_is_freed_while_a_page_cannot_be_read)
{
	struct rb *b = working(4);
	struct store_check c = {.bad_count = 0};
	struct store_repair q;
	struct lines l;
	uint64_t at, bad;

	leak(b);
	close_store(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	at = root_page(b);
	rb_crash(b); /* nothing was written since */
	damage(b, at);
	bad = check_bench_run(b->f, &c);
	ck_assert(c.unsure);
	ck_assert_int_eq(repair(b, &q, &l), 0);
	ck_assert_uint_eq(q.repaired, 0);
	ck_assert_uint_eq(l.count, 1); /* says that it left them alone */
	ck_assert_ptr_nonnull(strstr(l.last, "left alone"));
	ck_assert_uint_eq(check_bench_run(b->f, &c), bad);
	damage(b, at); /* flips back */
	repair_all(b, LEAKS);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

START_TEST(content_that_is_wrong_is_told_and_not_touched)
{
	struct rb *b = working(5);
	static uint8_t was[BLOCK_BYTES] __attribute__((aligned(4096)));
	static uint8_t is[BLOCK_BYTES] __attribute__((aligned(4096)));
	struct store_check c = {.bad_count = 0};
	struct fake_wait wait;
	uint64_t at = 0;

	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	while (!space_chunk_is_used(store_space(b->store), at))
		at += CHUNK_BYTES;
	leak(b);
	close_store(b);
	for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
		damage(b, at + i * BLOCK_BYTES);
	ck_assert_uint_gt(check_bench_run(b->f, &c), LEAKS);
	disk_flip(b, DISK_READ, at, was);
	repair_all(b, LEAKS);
	ck_assert_uint_ge(check_bench_run(b->f, &c), 1);
	disk_flip(b, DISK_READ, at, is);
	ck_assert_int_eq(memcmp(was, is, sizeof(is)), 0);
	rb_close(&b);
}
END_TEST

START_TEST(what_snapshots_and_clones_share_is_not_leaked)
{
	struct rb *b = working(6), *clone;
	struct store_check c = {.bad_count = 0};
	uint64_t digest;

	ck_assert_int_eq(sb_create(b, 1), 0);
	rb_settle(b);
	rb_work(b, 30);
	rb_settle(b);
	clone = sb_clone(b, 1, 2);
	sb_clone_close(&clone);
	ck_assert_int_eq(sb_create(b, 2), 0);
	rb_settle(b);
	leak(b);
	ck_assert_int_eq(sb_create(b, 3), 0); /* in the journal only */
	rb_work(b, 10);
	rb_settle(b);
	rb_crash(b);
	ck_assert_uint_eq(check_bench_run(b->f, &c), LEAKS);
	c.digest = true;
	check_bench_run(b->f, &c);
	digest = c.digest_all;
	repair_all(b, LEAKS);
	ck_assert_uint_eq(check_bench_clean(b->f), digest);
	ck_assert_int_eq(rb_reopen(b), 0);
	sb_check(b);
	rb_close(&b);
}
END_TEST

/* The power fails at the nth I/O of a repair, which is then said again; true: it had ended before. */
static bool repair_cut(uint64_t nth)
{
	struct rb *b = working(100 + nth);
	struct store_check c = {.digest = true};
	struct store_repair q;
	struct lines l;
	uint64_t digest;
	bool ended;

	close_store(b);
	digest = check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	leak(b);
	close_store(b);
	damage(b, super_region_off(b->f->disk->bytes, 1));
	b->f->sim_disk->faults.stop_nth = nth;
	ended = repair(b, &q, &l) == 0;
	b->f->sim_disk->faults.stop_nth = 0;
	if (!ended) {
		rb_crash(b);
		ck_assert(check_bench_run(b->f, &c) == 0 || !c.unsure);
		ck_assert_uint_eq(c.digest_all, digest);
		ck_assert_int_eq(repair(b, &q, &l), 0);
	}
	ck_assert_uint_eq(check_bench_clean(b->f), digest);
	rb_close(&b);
	return ended;
}

/* Each in a process of its own: what a repair held when the power failed goes with it. */
START_TEST(power_that_fails_in_a_repair_leaves_it_done_or_to_be_done)
{
	int ended = 0;

	for (uint64_t nth = 1; nth < IOS_MAX && ended == 0; nth += 2) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(repair_cut(nth) ? 2 : 0);
		ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
		ended = WEXITSTATUS(status);
		ck_assert(ended == 0 || ended == 2);
	}
	ck_assert_int_eq(ended, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/check_repair");
	TCase *c = tcase_create("check_repair");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, repair_of_a_good_store_changes_nothing);
	tcase_add_test(c, copies_of_superblock_and_floors_that_lost_are_written_again);
	tcase_add_test(c, space_that_nothing_refers_to_becomes_free);
	tcase_add_test(c, nothing_is_freed_while_a_page_cannot_be_read);
	tcase_add_test(c, content_that_is_wrong_is_told_and_not_touched);
	tcase_add_test(c, what_snapshots_and_clones_share_is_not_leaked);
	tcase_add_test(c, power_that_fails_in_a_repair_leaves_it_done_or_to_be_done);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
