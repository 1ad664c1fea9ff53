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

static uint8_t volume[BYTES];

static void put(const struct oracle *o, uint32_t id, uint64_t off)
{
	oracle_fill(o, id, volume + off);
}

START_TEST(a_prefix_has_all_that_was_acked_before_its_newest_write)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 512), b, c;

	memset(volume, 0, sizeof(volume));
	oracle_write_acked(o, a, 2);
	b = oracle_write_begin(o, 3, ORACLE_DATA, 4096, 512);
	c = oracle_write_begin(o, 4, ORACLE_DATA, 0, 512);
	ck_assert(oracle_prefix_check(o, BYTES, volume)); /* nothing yet */
	put(o, b, 4096);
	ck_assert(!oracle_prefix_check(o, BYTES, volume)); /* b without a */
	put(o, a, 0);
	ck_assert(oracle_prefix_check(o, BYTES, volume));
	put(o, c, 0); /* c may be before b, or after */
	ck_assert(oracle_prefix_check(o, BYTES, volume));
	oracle_write_acked(o, b, 5);
	oracle_write_acked(o, c, 6);
	a = oracle_write_begin(o, 7, ORACLE_DATA, 8192, 512);
	put(o, a, 8192);
	ck_assert(oracle_prefix_check(o, BYTES, volume));
	memset(volume + 4096, 0, 512); /* b is gone again */
	ck_assert(!oracle_prefix_check(o, BYTES, volume));
	volume[4096] = 7;
	ck_assert(!oracle_prefix_check(o, BYTES, volume));
	oracle_free(&o);
}
END_TEST

START_TEST(a_prefix_with_trims_and_unanswered_writes)
{
	struct oracle *o = oracle_new(BYTES);
	uint32_t a = oracle_write_begin(o, 1, ORACLE_DATA, 0, 8192), t, d, e;

	memset(volume, 0, sizeof(volume));
	oracle_write_acked(o, a, 2);
	t = oracle_write_begin(o, 3, ORACLE_TRIM, 0, 4096);
	oracle_write_acked(o, t, 4);
	d = oracle_write_begin(o, 5, ORACLE_DATA, 65536, 512);
	put(o, d, 65536);
	put(o, a, 0);
	ck_assert(!oracle_prefix_check(o, BYTES, volume)); /* the trim is missing */
	memset(volume, 0, 4096);
	ck_assert(oracle_prefix_check(o, BYTES, volume));
	oracle_write_dead(o, d, 6);
	e = oracle_write_begin(o, 7, ORACLE_DATA, 65536, 512);
	oracle_write_acked(o, e, 8);
	t = oracle_write_begin(o, 9, ORACLE_DATA, 131072, 512);
	put(o, t, 131072);
	ck_assert(!oracle_prefix_check(o, BYTES, volume)); /* d instead of e */
	put(o, e, 65536);
	ck_assert(oracle_prefix_check(o, BYTES, volume));
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
	tcase_add_test(c, a_prefix_has_all_that_was_acked_before_its_newest_write);
	tcase_add_test(c, a_prefix_with_trims_and_unanswered_writes);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
