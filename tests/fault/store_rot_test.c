/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fault/store_rot_test.c: a disk that rots or writes to the wrong place.  Each sector of a small
 * store is flipped in turn, each block is overwritten by another of the same store in turn, each write
 * lands elsewhere in turn.  Then: what the check calls clean is entirely right; what it calls bad is
 * refused, told as an I/O error, or right anyway (another copy); wrong data is never read, and nothing
 * acknowledged is missing without being told.
 *
 * TS_FAULT_ALL=1 goes through all of them; else some, of metadata more than of payload.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/check.h"
#include "proto/store.h"
#include "tests/unit/store/replica_bench.h"

#define SECTOR 512u
#define STRIDE_META 2u
#define STRIDE_FLIP 41u
#define STRIDE_COPY 7u
#define STRIDE_LOST 3u

struct tally {
	uint32_t cases, found, harmless, refused, holes, io_errors;
};

static bool all_of_them(void)
{
	return getenv("TS_FAULT_ALL") != NULL;
}

static void quiet(void *ctx, enum check_line kind, const char *line)
{
	if (getenv("TS_TEST_CHECK") != NULL)
		fprintf(stderr, "check: %s\n", line);
}

static uint64_t bad_count(struct rb *b)
{
	struct store_check c = {.memory_bytes = 32 << 20, .report = quiet};
	struct fake_wait wait;
	int rc;

	fake_arm_on(b->f->env, &wait, &c.done);
	store_check(b->f->env, b->f->disk, &c);
	rc = fake_wait(b->f, &wait);
	ck_assert(rc <= 0 && rc != -ERR_TIMEOUT);
	return rc < 0 ? 1 : c.bad_count;
}

/* A store with folded and unfolded content, closed: all that was acknowledged is known to be durable. */
static struct rb *rested(uint64_t seed)
{
	struct rb *b = rb_open(seed, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 60);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_work(b, 25);
	rb_settle(b);
	return b;
}

static void rest(struct rb *b)
{
	struct fake_wait wait;

	store_close(&b->store, fake_arm(b->f, &wait));
	(void)fake_wait(b->f, &wait);
	rb_crash(b);
}

/* Number of pieces that could not be read; what could is right. */
static uint32_t read_all(struct rb *b)
{
	uint32_t errors = 0;

	for (uint32_t v = 0; v < RB_VOLUMES; v++) {
		for (uint32_t at = 0; at < RB_BLOCKS; at += 100) {
			int rc = rb_compare_blocks(b, v, at, 100);

			ck_assert_msg(rc == 0 || rc == -ERR_IO || rc == -ERR_CORRUPT,
				      "volume %u block %u: %s", v, at, err_name(rc));
			errors += rc < 0;
		}
	}
	return errors;
}

/* The disk is as the fault left it: look at it as the check and as the store do. */
static void judge(struct rb *b, struct tally *t, const char *what, uint64_t where)
{
	uint64_t bad = bad_count(b);
	struct replica_status st = {.has_hole = false};
	uint32_t errors = 0;
	int rc = rb_reopen(b);

	ck_assert_int_ne(rc, -ERR_TIMEOUT);
	if (rc == 0) {
		replica_status(b->r, &st);
		ck_assert_msg(st.has_hole || st.tail.v >= b->acked,
			      "%s %llu: %llu acknowledged, %llu there, and nothing says so", what,
			      (unsigned long long)where, (unsigned long long)b->acked,
			      (unsigned long long)st.tail.v);
		errors = read_all(b);
	}
	ck_assert_msg(bad != 0 || (rc == 0 && !st.has_hole && errors == 0),
		      "%s %llu: the check calls clean what is not: open %d, hole %d, %u errors",
		      what, (unsigned long long)where, rc, st.has_hole, errors);
	t->cases++;
	t->found += bad != 0;
	t->harmless += bad == 0;
	t->refused += rc < 0;
	t->holes += st.has_hole;
	t->io_errors += errors > 0;
	rb_crash(b);
}

static void tell(const char *what, const struct tally *t)
{
	printf("store_rot: %s: %u cases: %u found by the check, %u harmless; %u not opened, %u with a hole, "
	       "%u with I/O errors\n",
	       what, t->cases, t->found, t->harmless, t->refused, t->holes, t->io_errors);
	ck_assert_uint_gt(t->cases, 100);
	ck_assert_uint_gt(t->found, 0);
}

static bool is_zero(const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

/* The bench's payload is of one byte but for its first words. */
static bool is_payload(const uint8_t *block)
{
	return memcmp(block + 64, block + 65, BLOCK_BYTES - 65) == 0;
}

/* Superblocks, pages, headers, footers: more of them; of payload a part. */
static bool is_chosen(const uint8_t *block, uint64_t index, uint32_t stride)
{
	return all_of_them() || index % (is_payload(block) ? stride : STRIDE_META) == 0;
}

START_TEST(every_flipped_sector_is_found_or_harmless)
{
	static uint8_t block[BLOCK_BYTES];
	struct rb *b = rested(81);
	struct sim_disk *keep = sim_disk_new(b->f->node, "keep", b->f->disk->bytes);
	struct tally t = {0};

	rest(b);
	sim_disk_copy(keep, b->f->sim_disk);
	for (uint64_t s = 0; s < b->f->disk->bytes / SECTOR; s++) {
		sim_disk_peek(keep, s * SECTOR / BLOCK_BYTES * BLOCK_BYTES, block, BLOCK_BYTES);
		if (is_zero(block, BLOCK_BYTES) || !is_chosen(block, s, STRIDE_FLIP))
			continue;
		sim_disk_flip(b->f->sim_disk, s * SECTOR + s * 131 % SECTOR, s % 8);
		judge(b, &t, "sector", s);
		sim_disk_copy(b->f->sim_disk, keep);
	}
	tell("flips", &t);
	rb_close(&b);
}
END_TEST

/* Content of one place of the store at another: right but for its address. */
START_TEST(every_block_at_another_place_is_found_or_harmless)
{
	static uint8_t block[BLOCK_BYTES], last[BLOCK_BYTES];
	struct rb *b = rested(82);
	struct sim_disk *keep = sim_disk_new(b->f->node, "keep", b->f->disk->bytes);
	struct tally t = {0};
	uint64_t n = 0;

	rest(b);
	sim_disk_copy(keep, b->f->sim_disk);
	for (uint64_t at = 0; at < b->f->disk->bytes; at += BLOCK_BYTES) {
		sim_disk_peek(keep, at, block, BLOCK_BYTES);
		if (is_zero(block, BLOCK_BYTES))
			continue;
		if (n > 0 && is_chosen(block, n, STRIDE_COPY)) {
			sim_disk_poke(b->f->sim_disk, at, last, BLOCK_BYTES);
			judge(b, &t, "block at", at);
			sim_disk_copy(b->f->sim_disk, keep);
		}
		memcpy(last, block, BLOCK_BYTES);
		n++;
	}
	tell("blocks at another place", &t);
	rb_close(&b);
}
END_TEST

/* The nth write lands 64 KiB further: what should be there is old, what was there is gone. */
START_TEST(every_misdirected_write_is_found_or_harmless)
{
	struct tally t = {0};

	for (uint64_t n = 1;; n += all_of_them() ? 1 : STRIDE_LOST) {
		struct rb *b = rb_open(83, 0);
		bool was_hit;
		struct fake_wait wait;

		ck_assert_int_eq(rb_start(b), 0);
		b->f->sim_disk->faults.misdirect_nth = n;
		rb_work(b, 60);
		rb_settle(b);
		replica_fold(b->r, fake_arm(b->f, &wait));
		(void)fake_wait(b->f, &wait);
		rb_work(b, 25);
		rb_settle(b);
		was_hit = b->f->sim_disk->faults.misdirect_nth == 0;
		b->f->sim_disk->faults.misdirect_nth = 0;
		if (was_hit) {
			rest(b);
			judge(b, &t, "write", n);
		}
		rb_close(&b);
		if (!was_hit)
			break;
	}
	printf("store_rot: misdirected writes: %u cases: %u found by the check, %u harmless; %u not opened, %u "
	       "with a hole, %u with I/O errors\n",
	       t.cases, t.found, t.harmless, t.refused, t.holes, t.io_errors);
	ck_assert_uint_gt(t.found, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault/store_rot");
	TCase *c = tcase_create("store_rot");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 0);
	tcase_add_test(c, every_flipped_sector_is_found_or_harmless);
	tcase_add_test(c, every_block_at_another_place_is_found_or_harmless);
	tcase_add_test(c, every_misdirected_write_is_found_or_harmless);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
