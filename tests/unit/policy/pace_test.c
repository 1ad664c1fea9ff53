/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/policy/pace.h"

#include <check.h>

#define MIB (1ull << 20)

static const struct pace_facts some = {
	.max = 64 * MIB, .floor = 4 * MIB, .now = 16 * MIB, .recent_ns = 1000, .baseline_ns = 1000};

START_TEST(without_clients_it_is_the_whole_rate)
{
	struct pace_facts f = some;

	f.recent_ns = 0;
	ck_assert_uint_eq(pace_next(&f), f.max);
	f.baseline_ns = 0;
	ck_assert_uint_eq(pace_next(&f), f.max);
}
END_TEST

START_TEST(clients_that_feel_nothing_let_it_grow_to_the_whole_rate)
{
	struct pace_facts f = some;
	uint32_t steps = 0;

	while (f.now < f.max && steps++ < 100) {
		uint64_t next = pace_next(&f);

		ck_assert_uint_gt(next, f.now);
		f.now = next;
	}
	ck_assert_uint_eq(f.now, f.max);
	ck_assert_uint_le(steps, 8);
}
END_TEST

START_TEST(clients_twice_as_slow_halve_it_down_to_the_floor)
{
	struct pace_facts f = some;

	f.recent_ns = 2000;
	ck_assert_uint_eq(pace_next(&f), 8 * MIB);
	for (uint32_t i = 0; i < 10; i++)
		f.now = pace_next(&f);
	ck_assert_uint_eq(f.now, f.floor);
}
END_TEST

START_TEST(clients_a_little_slower_leave_it_as_it_is)
{
	struct pace_facts f = some;

	f.recent_ns = 1600;
	ck_assert_uint_eq(pace_next(&f), f.now);
}
END_TEST

START_TEST(an_unknown_baseline_changes_nothing)
{
	struct pace_facts f = some;

	f.baseline_ns = 0;
	f.recent_ns = 1000000;
	ck_assert_uint_eq(pace_next(&f), f.now);
}
END_TEST

START_TEST(it_is_never_outside_its_bounds)
{
	static const uint64_t edge[] = {0, 1, 1000, MIB, 1ull << 62, UINT64_MAX};
	struct pace_facts f = some;

	for (uint32_t i = 0; i < 6 * 6 * 6; i++) {
		uint64_t next;

		f.now = edge[i % 6];
		f.recent_ns = edge[i / 6 % 6];
		f.baseline_ns = edge[i / 36];
		next = pace_next(&f);
		ck_assert(next >= f.floor && next <= f.max);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy/pace");
	TCase *c = tcase_create("pace");
	SRunner *r;
	int failed;

	tcase_add_test(c, without_clients_it_is_the_whole_rate);
	tcase_add_test(c, clients_that_feel_nothing_let_it_grow_to_the_whole_rate);
	tcase_add_test(c, clients_twice_as_slow_halve_it_down_to_the_floor);
	tcase_add_test(c, clients_a_little_slower_leave_it_as_it_is);
	tcase_add_test(c, an_unknown_baseline_changes_nothing);
	tcase_add_test(c, it_is_never_outside_its_bounds);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
