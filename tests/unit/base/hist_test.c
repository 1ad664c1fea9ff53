/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/hist.h"

#include "engine/base/attr.h"
#include "tests/unit/base/base_test.h"

START_TEST(hist_of_nothing_answers_zero)
{
	struct hist h;

	hist_init(&h);
	ck_assert(hist_quantile_ns(&h, 500000) == 0);
}
END_TEST

START_TEST(hist_of_one_value_answers_it)
{
	struct hist h;

	hist_init(&h);
	hist_record(&h, 123456789);
	ck_assert(hist_quantile_ns(&h, 0) == 123456789);
	ck_assert(hist_quantile_ns(&h, 1000000) == 123456789);
}
END_TEST

/* Every value alone in a histogram with a larger one: the edge is at most an eighth above it. */
START_TEST(hist_quantile_is_at_most_an_eighth_too_high)
{
	uint64_t value = 1;

	while (value < 1ull << 39) {
		struct hist h;
		uint64_t q;

		hist_init(&h);
		hist_record(&h, value);
		hist_record(&h, 1ull << 39);
		q = hist_quantile_ns(&h, 500000);
		ck_assert(q >= value && q <= value + value / 8);
		value += value / 7 + 1;
	}
}
END_TEST

START_TEST(hist_quantiles_of_a_ramp)
{
	struct hist h;

	hist_init(&h);
	for (uint64_t v = 1; v <= 1000; v++)
		hist_record(&h, v * 1000);
	ck_assert(hist_quantile_ns(&h, 500000) >= 500000);
	ck_assert(hist_quantile_ns(&h, 500000) <= 562500);
	ck_assert(hist_quantile_ns(&h, 990000) >= 990000);
	ck_assert(hist_quantile_ns(&h, 1000000) == 1000000);
	ck_assert(h.sum_ns == 500500000 && h.count == 1000);
}
END_TEST

START_TEST(hist_export_is_exact_and_cumulative)
{
	uint64_t cumulative[HIST_EXPORT_COUNT];
	struct hist h;

	hist_init(&h);
	for (uint32_t i = 0; i < HIST_EXPORT_COUNT; i++) {
		hist_record(&h, hist_export_bound_ns(i) - 1);
		hist_record(&h, hist_export_bound_ns(i));
	}
	hist_record(&h, UINT64_MAX / 2);
	hist_export(&h, cumulative);
	for (uint32_t i = 0; i < HIST_EXPORT_COUNT; i++)
		ck_assert(cumulative[i] == 2 * i + 1);
	ck_assert(h.count == 2 * HIST_EXPORT_COUNT + 1);
}
END_TEST

START_TEST(hist_merge_adds)
{
	struct hist a, b;

	hist_init(&a);
	hist_init(&b);
	hist_record(&a, 10);
	hist_record(&b, 5000000);
	hist_merge(&a, &b);
	ck_assert(a.count == 2 && a.sum_ns == 5000010 && a.max_ns == 5000000);
	ck_assert(hist_quantile_ns(&a, 500000) == 10);
	ck_assert(hist_quantile_ns(&a, 1000000) == 5000000);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		hist_of_nothing_answers_zero,
		hist_of_one_value_answers_it,
		hist_quantile_is_at_most_an_eighth_too_high,
		hist_quantiles_of_a_ramp,
		hist_export_is_exact_and_cumulative,
		hist_merge_adds,
	};

	return base_test_run("base-hist", tests, ARRAY_COUNT(tests));
}
