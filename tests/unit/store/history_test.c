/* SPDX-License-Identifier: Apache-2.0 */
/* How much journal a group keeps to go back in. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/unit/store/replica_bench.h"

#define SEGMENT (2ull << 20)
#define MIB (1ull << 20)

static void history(struct rb *b, uint64_t ns, uint64_t bytes)
{
	const struct replica_history want = {.ns = ns, .bytes = bytes};

	replica_history_set(b->r, &want);
}

static struct replica_history_status status_of(struct rb *b)
{
	struct replica_history_status st;

	replica_history_status(b->r, &st);
	return st;
}

static struct replica_status now(struct rb *b)
{
	struct replica_status st;

	replica_status(b->r, &st);
	return st;
}

static void fold(struct rb *b)
{
	struct fake_wait wait;

	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
}

/* Append until the tail has moved on by `bytes`; the journal is never full. */
static void append_bytes(struct rb *b, uint64_t bytes)
{
	uint64_t end = now(b).tail.v + bytes;

	while (now(b).tail.v < end) {
		int rc = rb_append(b);

		ck_assert_int_ne(rc, -ERR_JOURNAL_FULL);
		if (rc < 0)
			fake_run_for(b->f, 5 * MS_NS);
		if (b->count % 20 == 0)
			rb_settle(b);
		if (b->count % 100 == 0)
			fake_run_for(b->f, 50 * MS_NS); /* fold while it is idle */
	}
	fold(b);
}

static int read_at(struct rb *b, uint64_t lsn)
{
	struct replica_journal_read q = {.lsn = {lsn}};
	struct fake_wait wait;
	int rc;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_journal_read(b->r, &q);
	rc = fake_wait(b->f, &wait);
	record_unref(&q.record);
	return rc;
}

/* Every record from `begin` on is read back. */
static void check_readable(struct rb *b, uint64_t begin)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->records[i].begin >= begin)
			ck_assert_int_eq(read_at(b, b->records[i].begin), 0);
}

START_TEST(without_history_the_journal_below_fold_goes)
{
	struct rb *b = rb_open(1, 0);

	ck_assert_int_eq(rb_start(b), 0);
	append_bytes(b, 12 * MIB);
	ck_assert_uint_le(now(b).commit.v - now(b).trim.v, 2 * SEGMENT);
	ck_assert_uint_eq(status_of(b).bytes, 0);
	rb_close(&b);
}
END_TEST

START_TEST(history_of_a_size_keeps_that_much_and_no_more)
{
	struct rb *b = rb_open(2, 0);

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 0, 5 * MIB);
	append_bytes(b, 20 * MIB);
	ck_assert_uint_ge(status_of(b).bytes, 5 * MIB);
	ck_assert_uint_le(status_of(b).bytes, 5 * MIB + 2 * SEGMENT);
	ck_assert_uint_eq(status_of(b).begin.v, now(b).trim.v);
	ck_assert(!status_of(b).is_short);
	check_readable(b, now(b).commit.v - 5 * MIB);
	history(b, 0, 0);
	append_bytes(b, MIB);
	ck_assert_uint_le(now(b).commit.v - now(b).trim.v, 2 * SEGMENT);
	rb_close(&b);
}
END_TEST

START_TEST(history_of_a_time_keeps_what_is_younger)
{
	struct rb *b = rb_open(3, 0);
	uint64_t old, young;

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 600 * SEC_NS, 0);
	append_bytes(b, 3 * MIB);
	old = now(b).commit.v;
	fake_run_for(b->f, 400 * SEC_NS);
	append_bytes(b, 3 * MIB);
	young = now(b).commit.v;
	ck_assert_uint_eq(now(b).trim.v, 0); /* nothing is ten minutes old */
	fake_run_for(b->f, 250 * SEC_NS);
	append_bytes(b, MIB); /* the first three MiB are */
	ck_assert_uint_gt(now(b).trim.v + SEGMENT, old - SEGMENT);
	ck_assert_uint_le(now(b).trim.v, old);
	check_readable(b, old);
	fake_run_for(b->f, 1000 * SEC_NS);
	append_bytes(b, MIB);
	ck_assert_uint_gt(now(b).trim.v + SEGMENT, young - SEGMENT);
	ck_assert(!status_of(b).is_short);
	rb_close(&b);
}
END_TEST

/* A share of 24 MiB: the wish for more than that neither fills it nor slows writers down. */
START_TEST(history_leaves_writers_their_part_of_the_journal)
{
	struct rb *b = rb_open(4, 0);

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 86400 * SEC_NS, 0);
	append_bytes(b, 60 * MIB); /* asserts that it is never full */
	ck_assert(status_of(b).is_short);
	ck_assert_uint_ge(status_of(b).bytes, 5 * MIB);
	ck_assert_uint_le(status_of(b).bytes, 9 * MIB + SEGMENT);
	ck_assert_uint_eq(replica_delay_us(b->r), 0);
	check_readable(b, status_of(b).begin.v);
	rb_close(&b);
}
END_TEST

/* A peer that catches up holds the journal until it is full: then history gives way, too, the oldest
 * first, and appends go on. */
START_TEST(history_gives_way_when_the_journal_is_full)
{
	struct rb *b = rb_open(5, 0);
	uint64_t begin;
	int rc = 0;

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 0, 100 * MIB);
	append_bytes(b, 12 * MIB);
	begin = status_of(b).begin.v;
	replica_pin(b->r, (struct lsn){begin});
	while (rc != -ERR_JOURNAL_FULL) {
		rc = rb_append(b);
		if (rc < 0 || b->count % 20 == 0)
			rb_settle(b);
	}
	ck_assert_uint_eq(status_of(b).begin.v, begin);
	ck_assert(replica_pin_broken(b->r));
	ck_assert(status_of(b).is_short);
	fold(b);
	ck_assert_uint_ge(status_of(b).begin.v, begin + (now(b).fold.v - begin) / 2 - 2 * SEGMENT);
	ck_assert_int_eq(rb_append(b), 0);
	rb_settle(b);
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

/* Set again after an opening, as a group does, it counts from then on. */
START_TEST(history_outlives_a_crash)
{
	struct rb *b = rb_open(6, 0);
	uint64_t begin;

	ck_assert_int_eq(rb_start(b), 0);
	history(b, 600 * SEC_NS, 0);
	append_bytes(b, 5 * MIB);
	begin = status_of(b).begin.v;
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	append_bytes(b, MIB); /* the group has not said anything yet */
	ck_assert_uint_eq(now(b).trim.v, begin);
	history(b, 600 * SEC_NS, 0);
	fake_run_for(b->f, 500 * SEC_NS);
	append_bytes(b, MIB);
	ck_assert_uint_eq(now(b).trim.v, begin);
	check_readable(b, begin);
	fake_run_for(b->f, 700 * SEC_NS);
	append_bytes(b, MIB);
	ck_assert_uint_gt(now(b).trim.v, begin);
	rb_check(b);
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/history");
	TCase *c = tcase_create("history");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_test(c, without_history_the_journal_below_fold_goes);
	tcase_add_test(c, history_of_a_size_keeps_that_much_and_no_more);
	tcase_add_test(c, history_of_a_time_keeps_what_is_younger);
	tcase_add_test(c, history_leaves_writers_their_part_of_the_journal);
	tcase_add_test(c, history_gives_way_when_the_journal_is_full);
	tcase_add_test(c, history_outlives_a_crash);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
