/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees that share pages and chunks: what is written to one is not seen in another, at most two sources,
 * and space counts exactly what is reached.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/unit/store/map_bench.h"

#define PAGES (DISK_BYTES / PAGE_BYTES)
#define TREES 6u
#define ENTRIES 40u /* spread over leaves */
#define MODEL_BLOCKS (ENTRIES * CHUNK_BLOCKS)

struct tree {
	struct map *m;
	uint32_t model[MODEL_BLOCKS]; /* checksum; 0: nothing */
};

static struct bench b;
static struct tree trees[TREES];
static uint32_t refs[PAGES]; /* by address of a page; a chunk by that of its first block */
static uint64_t random_state, page_words[MAP_DEPTH_MAX + 1][PAGE_BYTES / 8];

static uint32_t next_random(uint32_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % n;
}

/* Entries of the model: some side by side, some in other leaves and subtrees. */
static uint64_t entry_at(uint32_t i)
{
	return i % 4 + (i / 4 % 3) * LEAF_CHUNKS + (uint64_t)(i / 12) * 64 * LEAF_CHUNKS;
}

static void read_page(uint64_t at, void *page)
{
	static uint8_t aligned[PAGE_BYTES] __attribute__((aligned(4096)));
	struct disk_req req;
	struct fake_wait wait;

	fake_arm_on(b.f->env, &wait, &req.done);
	disk_io(b.f->disk, &req, DISK_READ, 0, at, aligned, PAGE_BYTES);
	ck_assert_int_eq(fake_wait(b.f, &wait), 0);
	memcpy(page, aligned, PAGE_BYTES);
}

static void walk(uint64_t at, uint32_t level)
{
	void *page = page_words[level];

	if (at == DISK_NONE || refs[at / PAGE_BYTES]++ > 0)
		return;
	read_page(at, page);
	for (uint32_t i = 0; i < MAP_FAN && level > 0; i++)
		walk(((struct disk_inner *)page)->entries[i].address, level - 1);
	if (level > 0)
		return;
	ck_assert_int_eq(leaf_check(page, DISK_BYTES), 0);
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		const struct disk_chunk *c = &((struct disk_leaf *)page)->chunks[i];

		if (c->chunk != DISK_NONE)
			refs[c->chunk / PAGE_BYTES]++;
		if (c->base != DISK_NONE)
			refs[c->base / PAGE_BYTES]++;
	}
}

/* After a write-out: every count is what is reached. */
static void check_counts(void)
{
	memset(refs, 0, sizeof(refs));
	for (uint32_t i = 0; i < TREES; i++)
		if (trees[i].m != NULL)
			walk(trees[i].m->root.address, trees[i].m->depth);
	for (uint64_t i = 0; i < PAGES; i++)
		ck_assert_msg(space_refs(b.sp, i * PAGE_BYTES) == refs[i] ||
				      (i % CHUNK_BLOCKS != 0 && refs[i] == 0),
			      "at %llu: %u, counted %u", (unsigned long long)i * PAGE_BYTES,
			      refs[i], space_refs(b.sp, i * PAGE_BYTES));
}

static void check_content(struct tree *t)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < MODEL_BLOCKS; i++) {
		struct block_place p = place(
			&b, t->m, entry_at(i / CHUNK_BLOCKS) * CHUNK_BLOCKS + i % CHUNK_BLOCKS);

		ck_assert_int_eq(p.kind == PLACE_HOME, t->model[i] != 0);
		if (t->model[i] == 0)
			continue;
		ck_assert_uint_eq(p.crc, t->model[i]);
		ck_assert_uint_eq(b.home[p.off / BLOCK_BYTES], t->model[i]);
		used++;
	}
	ck_assert_uint_eq(map_used_bytes(t->m), used * BLOCK_BYTES);
}

static int tree_put(struct tree *t, uint32_t entry, uint16_t dirty, uint16_t gone)
{
	static uint32_t crc = 1000;
	int rc;

	crc += CHUNK_BLOCKS;
	rc = put_entry(&b, t->m, entry_at(entry), dirty, gone, crc);
	for (uint32_t k = 0; k < CHUNK_BLOCKS && rc >= 0; k++)
		if (((dirty | gone) >> k & 1) != 0)
			t->model[entry * CHUNK_BLOCKS + k] = (dirty >> k & 1) != 0 ? crc + k : 0;
	return rc;
}

/* Tree `to` becomes what `from` is. */
static void tree_share(struct tree *from, struct tree *to)
{
	struct volume_root root = {.volume = {.bytes = 1ull << 40}};

	write_out(&b);
	ck_assert_int_eq(map_root_share(from->m, &root), 0);
	ck_assert_int_eq(map_create(b.c, &root, &to->m), 0);
	memcpy(to->model, from->model, sizeof(to->model));
}

static void tree_discard(struct tree *t)
{
	struct leaf_load l = {.leaf_no = 0};
	int rc;

	write_out(&b);
	ck_assert_int_eq(map_forget(t->m), 0);
	while ((rc = map_discard_next(t->m, &l)) != -ERR_NOT_FOUND)
		if (rc == -ERR_AGAIN)
			ck_assert_int_eq(load(&b, t->m, &l), 0);
	write_out(&b);
	ck_assert_uint_eq(t->m->root.address, DISK_NONE);
	ck_assert_uint_eq(map_used_bytes(t->m), 0);
	map_destroy(&t->m);
}

static void trees_open(uint64_t seed)
{
	memset(trees, 0, sizeof(trees));
	random_state = seed;
	bench_open(&b);
	trees[0].m = empty_map(&b);
}

static void trees_close(void)
{
	for (uint32_t i = 0; i < TREES; i++)
		if (trees[i].m != NULL)
			tree_discard(&trees[i]);
	check_counts(); /* nothing is left */
	bench_close(&b);
}

START_TEST(first_write_to_a_shared_chunk_costs_its_own_blocks_only)
{
	trees_open(1);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xffff, 0), 16);
	tree_share(&trees[0], &trees[1]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0010, 0), 1);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0300, 0), 2); /* in place: the chunk is ours */
	check_content(&trees[0]);
	check_content(&trees[1]);
	write_out(&b);
	check_counts();
	trees_close();
}
END_TEST

START_TEST(second_generation_copies_the_fewer_and_has_two_sources)
{
	trees_open(2);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xffff, 0), 16);
	tree_share(&trees[0], &trees[1]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x000f, 0), 4); /* 4 valid, 12 based */
	tree_share(&trees[0], &trees[2]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0001, 0), 1 + 3);
	check_content(&trees[0]);
	tree_share(&trees[0], &trees[3]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xff00, 0), 8 + 4); /* 4 valid, 4 based, equal */
	check_content(&trees[0]);
	tree_share(&trees[0], &trees[4]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xffff, 0), 16); /* everything: no base */
	for (uint32_t i = 0; i < 5; i++)
		check_content(&trees[i]);
	write_out(&b);
	check_counts();
	trees_close();
}
END_TEST

START_TEST(base_that_nobody_else_has_is_merged_when_little_of_it_is_wanted)
{
	uint64_t used;

	trees_open(3);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xffff, 0), 16);
	tree_share(&trees[0], &trees[1]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0fff, 0), 12);
	tree_discard(&trees[1]);
	used = space_used_bytes(b.sp);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0001, 0), 1 + 4);
	write_out(&b);
	ck_assert_uint_eq(space_used_bytes(b.sp), used - CHUNK_BYTES);
	check_content(&trees[0]);
	check_counts();
	trees_close();
}
END_TEST

START_TEST(discards_in_a_shared_chunk_change_masks_only)
{
	trees_open(4);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xffff, 0), 16);
	tree_share(&trees[0], &trees[1]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0, 0x00f0), 0);
	check_content(&trees[0]);
	check_content(&trees[1]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0001, 0x0002), 1);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0, 0x0001),
			 0); /* nothing valid: the base is the chunk */
	check_content(&trees[0]);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0, 0xffff), 0);
	check_content(&trees[0]);
	check_content(&trees[1]);
	write_out(&b);
	check_counts();
	trees_close();
}
END_TEST

/* The copy of another tree's page keeps the chunk from being overwritten under it. */
START_TEST(chunk_whose_other_reference_went_is_not_written_in_place_before_that_is_durable)
{
	struct block_place was;

	trees_open(5);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0xffff, 0), 16);
	tree_share(&trees[0], &trees[1]);
	ck_assert_int_eq(tree_put(&trees[1], 1, 0x0001, 0), 1);
	write_out(&b);
	was = place(&b, trees[0].m, 1);
	ck_assert_int_eq(tree_put(&trees[1], 0, 0, 0xffff), 0); /* drops the chunk */
	ck_assert_uint_eq(space_refs(b.sp, was.off - BLOCK_BYTES), 1);
	ck_assert_int_eq(tree_put(&trees[0], 0, 0x0002, 0), 1);
	ck_assert_uint_ne(place(&b, trees[0].m, 1).off, was.off);
	write_out(&b);
	check_content(&trees[0]);
	check_counts();
	trees_close();
}
END_TEST

/* Everything that can happen to trees, in random order; counts are compared at every write-out. */
static void random_trees(uint64_t seed, uint32_t steps)
{
	uint32_t live = 1;

	trees_open(seed);
	for (uint32_t i = 0; i < steps; i++) {
		struct tree *t = &trees[next_random(TREES)];
		struct tree *other = &trees[next_random(TREES)];
		uint16_t dirty = (uint16_t)next_random(65536), gone = (uint16_t)next_random(65536);

		if (t->m == NULL)
			continue;
		if (next_random(3) != 0)
			dirty = (uint16_t)(1u << next_random(16));
		switch (next_random(12)) {
		case 0:
			if (other->m == NULL) {
				tree_share(t, other);
				live++;
			}
			break;
		case 1:
			if (live > 1 && next_random(3) == 0) {
				tree_discard(t);
				live--;
			}
			break;
		case 2:
			write_out(&b);
			check_counts();
			check_content(t);
			break;
		case 3:
			ck_assert_int_eq(tree_put(t, next_random(ENTRIES), 0, gone), 0);
			break;
		case 4:
			ck_assert_int_gt(tree_put(t, next_random(ENTRIES), dirty | 1,
						  (uint16_t)(gone & ~(dirty | 1))),
					 0);
			break;
		default:
			ck_assert_int_ge(tree_put(t, next_random(ENTRIES), dirty, 0), 0);
		}
	}
	write_out(&b);
	check_counts();
	for (uint32_t i = 0; i < TREES; i++)
		if (trees[i].m != NULL)
			check_content(&trees[i]);
	trees_close();
}

START_TEST(random_trees_equal_their_models_and_counts_are_exact)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		random_trees(seed, 800);
}
END_TEST

START_TEST(full_store_refuses_and_leaves_everything_as_it_was)
{
	uint64_t chunk, used;

	trees_open(7);
	for (uint32_t i = 0; i < ENTRIES; i++)
		ck_assert_int_eq(tree_put(&trees[0], i, 0xffff, 0), 16);
	tree_share(&trees[0], &trees[1]);
	while (space_chunk_take(b.sp, &chunk) == 0)
		refs[chunk / PAGE_BYTES] = 0;
	used = map_used_bytes(trees[0].m);
	for (uint32_t i = 0; i < ENTRIES; i++)
		ck_assert_int_eq(tree_put(&trees[0], i, 0x0001, 0), -ERR_FULL);
	ck_assert_uint_eq(map_used_bytes(trees[0].m), used);
	check_content(&trees[0]);
	check_content(&trees[1]);
	for (uint32_t i = 0; i < ENTRIES; i++) /* giving back is possible */
		ck_assert_int_eq(tree_put(&trees[0], i, 0, 0xffff), 0);
	tree_discard(&trees[1]);
	tree_discard(&trees[0]);
	bench_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/share");
	TCase *c = tcase_create("share");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, first_write_to_a_shared_chunk_costs_its_own_blocks_only);
	tcase_add_test(c, second_generation_copies_the_fewer_and_has_two_sources);
	tcase_add_test(c, base_that_nobody_else_has_is_merged_when_little_of_it_is_wanted);
	tcase_add_test(c, discards_in_a_shared_chunk_change_masks_only);
	tcase_add_test(
		c, chunk_whose_other_reference_went_is_not_written_in_place_before_that_is_durable);
	tcase_add_test(c, random_trees_equal_their_models_and_counts_are_exact);
	tcase_add_test(c, full_store_refuses_and_leaves_everything_as_it_was);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
