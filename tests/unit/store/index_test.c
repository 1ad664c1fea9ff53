/* SPDX-License-Identifier: Apache-2.0 */
/* The index against a plain model: newest wins at any grain, windows are the oldest whole records. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/index.h"

#define BLOCKS 2048u

static struct lsn lsn_of(uint64_t n)
{
	return (struct lsn){n * 4096};
}

START_TEST(newest_put_wins_at_any_grain)
{
	struct index *x;
	struct index_hit model[BLOCKS] = {0};
	uint64_t random = 7;

	ck_assert_int_eq(index_open(4096, &x), 0);
	for (uint64_t n = 1; n < 3000; n++) {
		uint32_t block, count;
		struct lsn upto;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		block = (uint32_t)(random >> 33) % BLOCKS;
		count = 1 + (uint32_t)(random >> 20) % (random % 5 == 0 ? 1200 : 3);
		if (count > BLOCKS - block)
			count = BLOCKS - block;
		if (count <= 2) {
			ck_assert_int_eq(
				index_put_data(x, 1, block, n * 4096, (uint32_t)n, lsn_of(n)), 0);
			model[block] =
				(struct index_hit){INDEX_DATA, (uint32_t)n, n * 4096, lsn_of(n)};
		} else {
			enum index_kind kind = random % 2 ? INDEX_ZERO : INDEX_DISCARD;

			ck_assert_int_eq(index_put_range(x, 1, block, count, kind, lsn_of(n)), 0);
			for (uint32_t i = 0; i < count; i++)
				model[block + i] = (struct index_hit){kind, 0, 0, lsn_of(n)};
		}
		if (n % 100 == 0 && n > 400) { /* fold the older ones */
			upto = lsn_of(n - 300);
			index_drop_below(x, upto);
			for (uint32_t i = 0; i < BLOCKS; i++) {
				if (model[i].lsn.v < upto.v)
					model[i] = (struct index_hit){0};
			}
		}
		for (uint32_t i = 0; n % 50 == 0 && i < BLOCKS; i++) {
			struct index_hit h = index_get(x, 1, i);

			ck_assert_int_eq(h.kind, model[i].kind);
			ck_assert_uint_eq(h.lsn.v, model[i].lsn.v);
			ck_assert_uint_eq(h.off, model[i].off);
			ck_assert_uint_eq(h.crc, model[i].crc);
		}
	}
	ck_assert_int_eq(index_get(x, 0, 5).kind, INDEX_NONE);
	index_drop_volume(x, 1);
	ck_assert_uint_eq(index_count(x), 0);
	index_close(&x);
}
END_TEST

START_TEST(window_holds_the_oldest_whole_records_sorted_by_place)
{
	struct index *x;
	struct index_item items[64];
	struct lsn upto;
	uint32_t n;

	ck_assert_int_eq(index_open(1000, &x), 0);
	for (uint64_t r = 1; r <= 10; r++)
		for (uint32_t i = 0; i < 10; i++)
			ck_assert_int_eq(index_put_data(x, 0, (11 - r) * 100 + i, r, 0, lsn_of(r)),
					 0);
	ck_assert_uint_eq(index_window_need(x), 10);
	n = index_window(x, lsn_of(100), items, 35, &upto);
	ck_assert_uint_eq(n, 30);
	ck_assert_uint_eq(upto.v, lsn_of(4).v);
	for (uint32_t i = 1; i < n; i++)
		ck_assert_uint_lt(items[i - 1].block, items[i].block);
	n = index_window(x, lsn_of(3), items, 35, &upto);
	ck_assert_uint_eq(n, 20);
	ck_assert_uint_eq(upto.v, lsn_of(3).v);
	ck_assert_uint_eq(index_window(x, lsn_of(100), items, 9, &upto), 0);
	/* superseded entries are in no window of their old record */
	ck_assert_int_eq(index_put_data(x, 0, 1000, 11, 0, lsn_of(11)), 0);
	n = index_window(x, lsn_of(2), items, 35, &upto);
	ck_assert_uint_eq(n, 9);
	index_drop_below(x, lsn_of(2));
	ck_assert_int_eq(index_get(x, 0, 1000).kind, INDEX_DATA);
	ck_assert_int_eq(index_get(x, 0, 1001).kind, INDEX_NONE);
	index_close(&x);
}
END_TEST

/* The model holds one content for each side of the newest barrier; the older side goes home as windows. */
START_TEST(entries_below_a_barrier_stay_beside_newer_ones)
{
	static struct index_item items[4096];
	struct index_hit below[256] = {0}, now[256] = {0};
	struct index *x;
	struct lsn barrier = {0}, upto;
	uint64_t random = 11;

	ck_assert_int_eq(index_open(200, &x), 0);
	for (uint64_t n = 1; n < 4000; n++) {
		uint32_t block, count;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		block = (uint32_t)(random >> 33) % 256;
		if (index_count(x) + 1 >= index_max(x))
			ck_assert_int_eq(index_grow(x, index_max(x) + 50), 0);
		ck_assert_int_eq(index_put_data(x, 2, block, n * 4096, (uint32_t)n, lsn_of(n)), 0);
		now[block] = (struct index_hit){INDEX_DATA, (uint32_t)n, n * 4096, lsn_of(n)};
		ck_assert_uint_eq(index_get(x, 2, block).lsn.v, lsn_of(n).v);
		if (n % 97 != 0)
			continue;
		count = index_window(x, barrier, items, 4096, &upto);
		ck_assert_uint_eq(upto.v, barrier.v);
		for (uint32_t i = 0; i < count; i++) {
			ck_assert_uint_eq(items[i].lsn.v, below[items[i].block].lsn.v);
			below[items[i].block].kind = INDEX_NONE;
		}
		for (uint32_t i = 0; i < 256; i++)
			ck_assert_int_eq(below[i].kind, INDEX_NONE);
		index_drop_below(x, upto);
		for (uint32_t i = 0; i < 256; i++)
			ck_assert_uint_eq(index_get(x, 2, i).lsn.v,
					  now[i].lsn.v < upto.v ? 0 : now[i].lsn.v);
		barrier = lsn_of(n + 1);
		index_barrier(x, barrier);
		memcpy(below, now,
		       sizeof(below)); /* of it, only what was put since is still there */
		for (uint32_t i = 0; i < 256; i++)
			if (below[i].lsn.v < upto.v)
				below[i].kind = now[i].kind = INDEX_NONE;
	}
	index_close(&x);
}
END_TEST

START_TEST(dropping_a_volume_leaves_what_lies_below_a_barrier)
{
	struct index_item items[8];
	struct index *x;
	struct lsn upto;

	ck_assert_int_eq(index_open(10, &x), 0);
	ck_assert_int_eq(index_put_data(x, 0, 1, 1, 1, lsn_of(1)), 0);
	ck_assert_int_eq(index_put_range(x, 0, 16, 16, INDEX_ZERO, lsn_of(2)), 0);
	index_barrier(x, lsn_of(3));
	ck_assert_int_eq(index_put_data(x, 0, 1, 4, 4, lsn_of(4)), 0);
	ck_assert_int_eq(index_put_data(x, 1, 1, 5, 5, lsn_of(5)), 0);
	ck_assert_uint_eq(index_count(x), 4);
	ck_assert(!index_has_below(x, 0, 1, lsn_of(1)));
	ck_assert(index_has_below(x, 0, 1, lsn_of(3)));
	ck_assert(index_has_below(x, 0, 17, lsn_of(3))); /* of a coarse grain */
	ck_assert(!index_has_below(x, 0, 17, lsn_of(2)));
	ck_assert(!index_has_below(x, 1, 1, lsn_of(5)));
	ck_assert(!index_has_below(x, 0, 2, lsn_of(9)));
	index_drop_volume(x, 0);
	ck_assert_uint_eq(index_count(x), 3);
	ck_assert_uint_eq(index_get(x, 0, 1).crc, 1);
	ck_assert_uint_eq(index_window(x, lsn_of(3), items, 8, &upto), 2);
	index_drop_below(x, lsn_of(3));
	ck_assert_int_eq(index_get(x, 0, 1).kind, INDEX_NONE);
	ck_assert_uint_eq(index_get(x, 1, 1).crc, 5);
	index_close(&x);
}
END_TEST

START_TEST(range_is_put_whole_or_not_at_all)
{
	struct index *x;

	ck_assert_int_eq(index_open(10, &x), 0);
	ck_assert_uint_eq(index_range_need(0, 512 * 8), 8);
	ck_assert_uint_eq(index_range_need(511, 514), 3);
	ck_assert_uint_eq(index_range_need(1, 1ull << 24), (1u << 15) - 1 + 15 + 31 + 1);
	ck_assert_int_eq(index_put_range(x, 0, 0, 512 * 11, INDEX_ZERO, lsn_of(1)), -ERR_FULL);
	ck_assert_uint_eq(index_count(x), 0);
	ck_assert_int_eq(index_put_range(x, 0, 0, 512 * 10, INDEX_ZERO, lsn_of(1)), 0);
	ck_assert_int_eq(index_put_data(x, 0, 7, 1, 1, lsn_of(2)), -ERR_FULL);
	ck_assert_int_eq(index_grow(x, 100), 0);
	ck_assert_int_eq(index_put_data(x, 0, 7, 1, 1, lsn_of(2)), 0);
	ck_assert_int_eq(index_get(x, 0, 7).kind, INDEX_DATA);
	ck_assert_int_eq(index_get(x, 0, 8).kind, INDEX_ZERO);
	ck_assert_int_eq(index_get(x, 0, 512 * 9).kind, INDEX_ZERO);
	index_close(&x);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/index");
	TCase *c = tcase_create("index");
	SRunner *runner;
	int failed;

	tcase_add_test(c, newest_put_wins_at_any_grain);
	tcase_add_test(c, window_holds_the_oldest_whole_records_sorted_by_place);
	tcase_add_test(c, entries_below_a_barrier_stay_beside_newer_ones);
	tcase_add_test(c, dropping_a_volume_leaves_what_lies_below_a_barrier);
	tcase_add_test(c, range_is_put_whole_or_not_at_all);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
