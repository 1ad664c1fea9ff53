/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/oracle_test.c: the judge is judged. */
#include <check.h>
#include <string.h>

#include "tests/sim/oracle.h"

#define BYTES (1u << 20)

static bool reads_as(struct oracle *o, uint64_t now, uint64_t off, uint32_t id)
{
	static uint8_t all[BYTES];
	uint32_t r = oracle_read_begin(o, now);

	memset(all, 0, sizeof(all));
	if (id != 0)
		oracle_fill(o, id, all);
	return oracle_read_check(o, r, now, off, 512, all);
}

START_TEST(acked_write_is_the_only_value)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 512, 512);

	ck_assert(reads_as(o, 2, 512, 0));
	oracle_write_acked(o, a, 3);
	ck_assert(!reads_as(o, 4, 512, 0));
	ck_assert(reads_as(o, 4, 512, a));
	oracle_free(&o);
}
END_TEST

START_TEST(unanswered_write_may_be_there_or_not)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 512);

	oracle_write_dead(o, a, 2);
	ck_assert(reads_as(o, 3, 0, 0));
	ck_assert(reads_as(o, 4, 0, a));
	ck_assert(!reads_as(o, 5, 0, 0)); /* it was seen: it stays */
	oracle_free(&o);
}
END_TEST

START_TEST(stale_write_after_a_later_ack_is_found)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 512), b;

	oracle_write_dead(o, a, 2);
	b = oracle_write_begin(o, 3, ORACLE_DATA, 0, 512);
	oracle_write_acked(o, b, 4);
	ck_assert(!reads_as(o, 5, 0, a));
	ck_assert(reads_as(o, 5, 0, b));
	oracle_free(&o);
}
END_TEST

START_TEST(concurrent_writes_may_end_in_either_order)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 512);
	uint32_t b = oracle_write_begin(o, 2, ORACLE_DATA, 0, 512);

	oracle_write_acked(o, a, 3);
	oracle_write_acked(o, b, 4);
	ck_assert(!reads_as(o, 5, 0, 0));
	ck_assert(reads_as(o, 5, 0, a));
	ck_assert(reads_as(o, 5, 0, b));
	oracle_free(&o);
}
END_TEST

START_TEST(read_may_return_what_was_possible_while_it_ran)
{
	struct oracle *o = oracle_new(BYTES);
	uint8_t zero[512] = {0};
	uint32_t r = oracle_read_begin(o, 1), a = oracle_write_begin(o, 2, ORACLE_DATA, 0, 512);

	oracle_write_acked(o, a, 3);
	ck_assert(oracle_read_check(o, r, 4, 0, 512, zero));
	ck_assert(!reads_as(o, 5, 0, 0));
	oracle_free(&o);
}
END_TEST

START_TEST(torn_or_foreign_sector_is_found)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 1024);
	uint8_t data[1024];

	oracle_write_acked(o, a, 2);
	oracle_fill(o, a, data);
	ck_assert(oracle_content_check(o, 3, 0, 1024, data));
	ck_assert(!oracle_content_check(o, 3, 512, 512, data)); /* right write, wrong place */
	data[700] ^= 1;
	ck_assert(!oracle_content_check(o, 3, 0, 1024, data));
	oracle_free(&o);
}
END_TEST

START_TEST(trim_clears_whole_blocks_and_leaves_edges_open)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 12288), t;
	uint8_t data[12288];

	oracle_write_acked(o, a, 2);
	oracle_fill(o, a, data);
	t = oracle_write_begin(o, 3, ORACLE_TRIM, 2048, 6144); /* block 1 whole, block 0 by half */
	oracle_write_acked(o, t, 4);
	ck_assert(oracle_content_check(o, 5, 0, 4096, data));
	ck_assert(!oracle_content_check(o, 5, 4096, 512, data + 4096));
	memset(data, 0, sizeof(data));
	ck_assert(oracle_content_check(o, 5, 4096, 4096, data + 4096));
	ck_assert(!oracle_content_check(o, 5, 0, 512, data));
	oracle_free(&o);
}
END_TEST

START_TEST(zero_write_reads_as_zero_only)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 4096), z;

	oracle_write_acked(o, a, 2);
	z = oracle_write_begin(o, 3, ORACLE_ZERO, 0, 512);
	oracle_write_acked(o, z, 4);
	ck_assert(reads_as(o, 5, 0, 0));
	ck_assert(!reads_as(o, 5, 0, a));
	oracle_free(&o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("oracle");
	TCase *c = tcase_create("oracle");
	SRunner *r;
	int failed;

	tcase_add_test(c, acked_write_is_the_only_value);
	tcase_add_test(c, unanswered_write_may_be_there_or_not);
	tcase_add_test(c, stale_write_after_a_later_ack_is_found);
	tcase_add_test(c, concurrent_writes_may_end_in_either_order);
	tcase_add_test(c, read_may_return_what_was_possible_while_it_ran);
	tcase_add_test(c, torn_or_foreign_sector_is_found);
	tcase_add_test(c, trim_clears_whole_blocks_and_leaves_edges_open);
	tcase_add_test(c, zero_write_reads_as_zero_only);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
