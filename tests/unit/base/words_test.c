/* SPDX-License-Identifier: Apache-2.0 */
/* err, op, uuid, log, counters: small modules, one program. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/op.h"
#include "engine/base/uuid.h"
#include "tests/unit/base/base_test.h"

START_TEST(err_answers_from_its_table)
{
	ck_assert_str_eq(err_text(0), "done");
	ck_assert_str_eq(err_text(-ERR_IO), "input/output error");
	ck_assert_str_eq(err_name(-ERR_NOT_PRIMARY), "NOT_PRIMARY");
	ck_assert_str_eq(err_admin_code(-ERR_NO_QUORUM), "no_quorum");
	ck_assert_uint_eq(err_nbd(0), 0);
	ck_assert_uint_eq(err_nbd(-ERR_FULL), 28);
	ck_assert(err_is_retryable(-ERR_AGAIN));
	ck_assert(!err_is_retryable(-ERR_CORRUPT));
}
END_TEST

START_TEST(err_of_no_row_is_unknown)
{
	const int codes[] = {1, 99, -(int)ERR_COUNT, -100000};

	for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
		ck_assert_str_eq(err_text(codes[i]), "unknown error");
		ck_assert_uint_eq(err_nbd(codes[i]), 5);
		ck_assert(!err_is_retryable(codes[i]));
	}
}
END_TEST

START_TEST(err_rows_are_complete)
{
	for (int i = 0; i < ERR_COUNT; i++) {
		ck_assert_ptr_nonnull(err_text(-i));
		ck_assert_uint_gt(strlen(err_text(-i)), 0);
		ck_assert(i == 0 || err_nbd(-i) != 0);
	}
}
END_TEST

START_TEST(err_from_errno_never_gives_success_for_a_failure)
{
	ck_assert_int_eq(err_from_errno(0), 0);
	ck_assert_int_eq(err_from_errno(EIO), -ERR_IO);
	ck_assert_int_eq(err_from_errno(ENOSPC), -ERR_FULL);
	ck_assert_int_eq(err_from_errno(ECANCELED), -ERR_CANCELED);
	for (int i = 1; i < 200; i++)
		ck_assert_int_lt(err_from_errno(i), 0);
}
END_TEST

struct count_op {
	struct op op;
	int steps, wakes_left, order;
	int *next_order;
};

static void count_op_step(struct op *op)
{
	struct count_op *c = container_of(op, struct count_op, op);

	c->steps++;
	c->order = ++*c->next_order;
	if (c->wakes_left-- > 0)
		op_wake(op);
}

START_TEST(ready_run_steps_in_the_order_of_wakes_once_each)
{
	int order = 0;
	struct count_op a = {.next_order = &order}, b = a;
	struct ready ready;

	ready_init(&ready);
	op_init(&a.op, &ready, count_op_step);
	op_init(&b.op, &ready, count_op_step);
	op_wake(&b.op);
	op_wake(&a.op);
	op_wake(&b.op);
	ck_assert(!ready_run(&ready, UINT64_MAX));
	ck_assert_int_eq(b.order, 1);
	ck_assert_int_eq(a.order, 2);
	ck_assert(ready.steps == 2);
}
END_TEST

START_TEST(ready_run_stops_at_its_budget)
{
	int order = 0;
	struct count_op a = {.wakes_left = 5, .next_order = &order};
	struct ready ready;

	ready_init(&ready);
	op_init(&a.op, &ready, count_op_step);
	op_wake(&a.op);
	ck_assert(ready_run(&ready, 3));
	ck_assert_int_eq(a.steps, 3);
	ck_assert(!ready_run(&ready, 100));
	ck_assert_int_eq(a.steps, 6);
}
END_TEST

START_TEST(completion_fire_clears_its_bit_and_wakes)
{
	int order = 0;
	struct count_op a = {.next_order = &order};
	struct completion c1, c2;
	struct ready ready;

	ready_init(&ready);
	op_init(&a.op, &ready, count_op_step);
	completion_arm(&c1, &a.op, 1);
	completion_arm(&c2, &a.op, 4);
	ck_assert_uint_eq(a.op.waits, 5);
	completion_fire(&c1, -7);
	ck_assert_int_eq(a.steps, 0); /* nothing calls back synchronously */
	ck_assert_uint_eq(a.op.waits, 4);
	ck_assert_int_eq(c1.rc, -7);
	ck_assert(!completion_armed(&c1) && completion_armed(&c2));
	completion_fire(&c2, 0);
	ck_assert(!ready_run(&ready, 10));
	ck_assert_int_eq(a.steps, 1);
}
END_TEST

START_TEST(uuid_text_comes_back)
{
	static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
	char again[UUID_TEXT_BYTES];
	struct uuid u, v;

	ck_assert_int_eq(uuid_parse(text, &u), 0);
	ck_assert_uint_eq(u.b[0], 0x00);
	ck_assert_uint_eq(u.b[15], 0xff);
	uuid_format(&u, again);
	ck_assert_str_eq(again, text);
	ck_assert_int_eq(uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &v), 0);
	ck_assert(uuid_equal(&u, &v));
	ck_assert(!uuid_is_nil(&u));
	memset(&u, 0, sizeof(u));
	ck_assert(uuid_is_nil(&u));
}
END_TEST

START_TEST(uuid_parse_refuses_other_text_and_leaves_the_result)
{
	const char *bad[] = {"",
			     "0",
			     "00112233-4455-6677-8899-aabbccddeef",
			     "00112233-4455-6677-8899-aabbccddeeff0",
			     "00112233445566778899aabbccddeeff",
			     "00112233-4455-6677-8899-aabbccddeefg",
			     "0011223-34455-6677-8899-aabbccddeeff"};
	struct uuid u, before;

	memset(&u, 0x5a, sizeof(u));
	before = u;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		ck_assert_int_eq(uuid_parse(bad[i], &u), -ERR_INVALID);
		ck_assert(uuid_equal(&u, &before));
	}
}
END_TEST

START_TEST(uuid_from_random_is_version_4)
{
	uint8_t random[16];
	char text[UUID_TEXT_BYTES];
	struct uuid u;

	memset(random, 0xff, sizeof(random));
	uuid_from_random(&u, random);
	uuid_format(&u, text);
	ck_assert_str_eq(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}
END_TEST

struct kept_log {
	struct log log;
	int lines;
	char last[2048];
};

static void kept_log_write(struct log *log, enum log_level level, const char *room,
			   const char *line)
{
	struct kept_log *k = container_of(log, struct kept_log, log);

	k->lines++;
	snprintf(k->last, sizeof(k->last), "%d %s %s", (int)level, room, line);
}

START_TEST(log_drops_lines_above_its_level)
{
	struct kept_log k = {.log = {LOG_INFO, kept_log_write}};

	log_debug(&k.log, "store", "not %d", 1);
	ck_assert_int_eq(k.lines, 0);
	log_warn(&k.log, "store", "one %d", 1);
	ck_assert_int_eq(k.lines, 1);
	ck_assert_str_eq(k.last, "1 store one 1");
}
END_TEST

START_TEST(log_keeps_one_call_one_line)
{
	struct kept_log k = {.log = {LOG_INFO, kept_log_write}};
	char big[3000];

	log_info(&k.log, "nbd", "name '%s'", "a\nb\x1b");
	ck_assert_str_eq(k.last, "2 nbd name 'a?b?'");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_info(&k.log, "nbd", "%s", big);
	ck_assert_uint_lt(strlen(k.last), 1100);
	ck_assert_str_eq(k.last + strlen(k.last) - 4, "x...");
}
END_TEST

/* /metrics says what a metric is once, before its first row. */
START_TEST(counters_of_one_metric_stand_together)
{
	for (uint32_t i = 0; i < CTR_COUNT; i++)
		for (uint32_t k = i + 1; k < CTR_COUNT; k++) {
			if (strcmp(counter_metric(i), counter_metric(k)) != 0)
				continue;
			ck_assert_str_eq(counter_metric(k - 1), counter_metric(k));
		}
}
END_TEST

START_TEST(counters_have_names)
{
	for (int i = 0; i < CTR_COUNT; i++) {
		enum counter_id id = (enum counter_id)i;

		ck_assert_int_eq(strncmp(counter_metric(id), "twinshore_", 10), 0);
		ck_assert_uint_gt(strlen(counter_help(id)), 0);
		ck_assert_ptr_nonnull(counter_labels(id));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		err_answers_from_its_table,
		err_of_no_row_is_unknown,
		err_rows_are_complete,
		err_from_errno_never_gives_success_for_a_failure,
		ready_run_steps_in_the_order_of_wakes_once_each,
		ready_run_stops_at_its_budget,
		completion_fire_clears_its_bit_and_wakes,
		uuid_text_comes_back,
		uuid_parse_refuses_other_text_and_leaves_the_result,
		uuid_from_random_is_version_4,
		log_drops_lines_above_its_level,
		log_keeps_one_call_one_line,
		counters_of_one_metric_stand_together,
		counters_have_names,
	};

	return base_test_run("base-words", tests, ARRAY_COUNT(tests));
}
