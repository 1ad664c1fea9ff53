/* SPDX-License-Identifier: Apache-2.0 */
/* A map over real space and cache, without replicas: edits, loads, growth, write-out, digests. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "tests/unit/store/map_bench.h"

START_TEST(empty_map_is_holes)
{
	struct leaf_load l = {.leaf_no = 12345};
	static struct bench b;
	struct map *m;

	bench_open(&b);
	m = empty_map(&b);
	ck_assert_int_eq(place(&b, m, 0).kind, PLACE_HOLE);
	ck_assert_int_eq(place(&b, m, 1ull << 33).kind, PLACE_HOLE);
	ck_assert_int_eq(load(&b, m, &l), 0);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(tree_grows_at_the_root_and_keeps_what_it_had)
{
	static const uint64_t blocks[] = {3, 700, 64 * 512 + 5, 64 * 64 * 512ull + 9,
					  64 * 64 * 64 * 512ull + 1};
	static struct bench b;
	struct map *m;

	bench_open(&b);
	m = empty_map(&b);
	for (uint32_t i = 0; i < 5; i++) {
		put(&b, m, blocks[i], 100 + i);
		if (i % 2 == 1)
			write_out(&b);
	}
	for (uint32_t i = 0; i < 5; i++) {
		ck_assert_int_eq(place(&b, m, blocks[i]).kind, PLACE_HOME);
		ck_assert_uint_eq(place(&b, m, blocks[i]).crc, 100 + i);
	}
	ck_assert_uint_eq(m->depth, 4);
	ck_assert_uint_eq(map_used_bytes(m), 5 * BLOCK_BYTES);
	ck_assert_int_eq(place(&b, m, 64 * 64 * 512ull + 10).kind, PLACE_HOLE);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(written_map_is_read_back_from_its_root)
{
	struct volume_root root = {.volume = {.bytes = 1ull << 40}};
	static struct bench b;
	struct map *m, *back;

	bench_open(&b);
	m = empty_map(&b);
	for (uint64_t i = 0; i < 600; i++) /* more leaves than pages in memory */ {
		put(&b, m, i * LEAF_BLOCKS * 3 + i % 512, (uint32_t)i + 1);
		if (i % 50 == 49)
			write_out(&b);
	}
	write_out(&b);
	map_root_get(m, &root);
	ck_assert_int_eq(map_create(b.c, &root, &back), 0);
	for (uint64_t i = 0; i < 600; i++)
		ck_assert_uint_eq(place(&b, back, i * LEAF_BLOCKS * 3 + i % 512).crc, i + 1);
	ck_assert_uint_eq(map_used_bytes(back), 600 * BLOCK_BYTES);
	map_destroy(&back);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(emptied_leaves_and_trees_give_their_pages_back)
{
	static struct bench b;
	struct map *m;
	uint64_t used;

	bench_open(&b);
	m = empty_map(&b);
	used = space_used_bytes(b.sp);
	for (uint64_t i = 0; i < 100; i++)
		put(&b, m, i * LEAF_BLOCKS * 7, 1);
	write_out(&b);
	ck_assert_uint_gt(space_used_bytes(b.sp), used);
	for (uint64_t i = 0; i < 100; i++) {
		struct leaf *l = edit(&b, m, i * 7);

		leaf_put_hole(l, 0, (struct lsn){8192});
		leaf_tidy(l, false);
		leaf_unpin(l);
	}
	write_out(&b);
	ck_assert_uint_eq(space_used_bytes(b.sp), used);
	ck_assert_uint_eq(map_used_bytes(m), 0);
	ck_assert_uint_eq(m->root.address, CHUNK_NONE);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(equal_content_has_equal_digests_wherever_it_lies)
{
	static struct bench b;
	struct map *m1, *m2;
	struct leaf *l;
	uint32_t zero = crc32c_block_of_zeroes();

	bench_open(&b);
	m1 = empty_map(&b);
	m2 = empty_map(&b);
	put(&b, m1, 5, 50);
	put(&b, m1, 40000, 60);
	put(&b, m2, 40000, 60);
	put(&b, m2, 77, zero); /* data that is zeroes */
	put(&b, m2, 5, 50);
	put(&b, m2, 99, 1);
	l = edit(&b, m2, 0);
	leaf_put_zero(l, 99, (struct lsn){4096});
	leaf_put_zero(l, 100, (struct lsn){4096});
	leaf_unpin(l);
	put(&b, m2, 64 * 64 * 512ull, zero); /* a deeper tree of zeroes */
	write_out(&b);
	ck_assert_uint_ne(m1->depth, m2->depth);
	ck_assert_uint_eq(map_digest_wrap(m1->root.digest, m1->depth),
			  map_digest_wrap(m2->root.digest, m2->depth));
	put(&b, m2, 6, 51);
	write_out(&b);
	ck_assert_uint_ne(map_digest_wrap(m1->root.digest, m1->depth),
			  map_digest_wrap(m2->root.digest, m2->depth));
	map_destroy(&m1);
	map_destroy(&m2);
	bench_close(&b);
}
END_TEST

START_TEST(damaged_page_is_corrupt_for_all_who_wait_for_it)
{
	struct leaf_load loads[3] = {{.leaf_no = 0}, {.leaf_no = 0}, {.leaf_no = 1}};
	struct volume_root root = {.volume = {.bytes = 1 << 30}};
	struct fake_wait waits[3];
	static struct bench b;
	struct map *m, *back;

	bench_open(&b);
	m = empty_map(&b);
	put(&b, m, 0, 1);
	put(&b, m, 600, 2);
	write_out(&b);
	map_root_get(m, &root);
	sim_disk_flip(b.f->sim_disk, root.root + 80, 1);
	ck_assert_int_eq(map_create(b.c, &root, &back), 0);
	for (int i = 0; i < 3; i++) {
		fake_arm_on(b.f->env, &waits[i], &loads[i].done);
		map_leaf_load(back, &loads[i]);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(fake_wait(b.f, &waits[i]), -ERR_CORRUPT);
	ck_assert_uint_eq(b.f->sim_disk->counts.reads, 1);
	map_destroy(&back);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(all_pinned_is_told)
{
	static struct bench b;
	struct map *m;
	struct leaf *l, *pinned[300];
	uint32_t n = 0;
	int rc;

	bench_open(&b);
	m = empty_map(&b);
	while ((rc = map_leaf_edit(m, n, &l)) == 0)
		pinned[n++] = l;
	ck_assert_int_eq(rc, -ERR_NOMEM);
	ck_assert_uint_gt(n, 200);
	while (n > 0)
		leaf_unpin(pinned[--n]);
	ck_assert_int_eq(map_leaf_edit(m, 5000, &l), 0);
	leaf_unpin(l);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/map");
	TCase *c = tcase_create("map");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_test(c, empty_map_is_holes);
	tcase_add_test(c, tree_grows_at_the_root_and_keeps_what_it_had);
	tcase_add_test(c, written_map_is_read_back_from_its_root);
	tcase_add_test(c, emptied_leaves_and_trees_give_their_pages_back);
	tcase_add_test(c, equal_content_has_equal_digests_wherever_it_lies);
	tcase_add_test(c, damaged_page_is_corrupt_for_all_who_wait_for_it);
	tcase_add_test(c, all_pinned_is_told);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
