/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas of two maps over real space and cache: against a model, what they read, where they go on. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/delta.h"
#include "engine/store/map_cache.h"
#include "engine/store/map_edit.h"
#include "engine/store/space_tables.h"
#include "engine/store/store_parts.h"
#include "tests/lib/fakes.h"
#include "tests/sim/prng.h"

#define DISK_BYTES (256ull << 20)
#define CELLS 6000u /* blocks that the model knows */

struct bench {
	struct fake *f;
	struct space *sp;
	struct map_cache *c;
	struct page_writer w;
	struct op op;
};

/* One state of a volume: 0 reads as zeroes, else the block's CRC. */
struct model {
	uint32_t cells[CELLS];
	uint64_t bytes;
};

static void nothing_step(struct op *op)
{
}

static void bench_open(struct bench *b, uint64_t memory_bytes)
{
	struct map_cache_opts o = {.disk_bytes = DISK_BYTES, .memory_bytes = memory_bytes};

	b->f = fake_open(1, DISK_BYTES);
	ck_assert_int_eq(space_open(DISK_BYTES, 2 << 20, &b->sp), 0);
	o.env = b->f->env;
	o.disk = b->f->disk;
	o.space = b->sp;
	ck_assert_int_eq(map_cache_open(&o, &b->c), 0);
	op_init(&b->op, b->f->env->ready, nothing_step);
	ck_assert_int_eq(page_writer_init(&b->w, b->f->disk, &b->op), 0);
}

static void bench_close(struct bench *b)
{
	page_writer_fini(&b->w);
	map_cache_close(&b->c, false);
	space_close(&b->sp);
	fake_close(&b->f);
}

/* What a checkpoint does to maps. */
static void write_out(struct bench *b)
{
	struct cpage *p;

	for (uint32_t level = 0; level <= MAP_DEPTH_MAX; level++) {
		while ((p = cache_dirty_first(b->c, level)) != NULL) {
			while (!page_writer_room(&b->w))
				fake_run_for(b->f, MS_NS);
			ck_assert_int_eq(cache_write_page(b->c, p, &b->w), 0);
		}
	}
	page_writer_push(&b->w);
	while (!page_writer_idle(&b->w))
		fake_run_for(b->f, MS_NS);
	ck_assert_int_eq(page_writer_rc(&b->w), 0);
	cache_written(b->c);
	b->c->seq++;
}

static struct map *map_new(struct bench *b, uint64_t bytes)
{
	struct volume_root root = {.root = CHUNK_NONE, .volume = {.bytes = bytes}};
	struct map *m;

	ck_assert_int_eq(map_create(b->c, &root, &m), 0);
	return m;
}

/* The state of m now, as a map of its own with nothing in memory. */
static struct map *freeze(struct bench *b, struct map *m)
{
	struct volume_root root = {.volume = {.bytes = m->bytes}};
	struct map *frozen;

	write_out(b);
	ck_assert_int_eq(map_root_share(m, &root), 0);
	ck_assert_int_eq(map_create(b->c, &root, &frozen), 0);
	return frozen;
}

static void load(struct bench *b, struct map *m, uint64_t leaf_no)
{
	struct leaf_load l = {.leaf_no = leaf_no};
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &l.done);
	map_leaf_load(m, &l);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
}

static struct leaf *edit(struct bench *b, struct map *m, uint64_t leaf_no)
{
	struct leaf *l = NULL;
	int rc;

	while ((rc = map_leaf_edit(m, leaf_no, &l)) == -ERR_AGAIN)
		load(b, m, leaf_no);
	ck_assert_int_eq(rc, 0);
	return l;
}

enum put { PUT_DATA, PUT_ZERO, PUT_HOLE };

static void put(struct bench *b, struct map *m, uint64_t block, enum put what, uint32_t crc)
{
	struct leaf *l = edit(b, m, block / LEAF_BLOCKS);
	uint32_t i = (uint32_t)(block % LEAF_BLOCKS);
	struct leaf_plan plan;

	ck_assert(leaf_lock(l));
	ck_assert_int_eq(leaf_own(l), 0);
	if (what == PUT_DATA) {
		leaf_plan(l, i / CHUNK_BLOCKS, (uint16_t)(1u << i % CHUNK_BLOCKS), 0, &plan);
		ck_assert_int_eq(leaf_plan_take(l, &plan), 0);
		leaf_plan_apply(l, i / CHUNK_BLOCKS, &plan);
		leaf_put_home(l, i, crc, (struct lsn){4096});
	} else if (what == PUT_ZERO) {
		leaf_put_zero(l, i, (struct lsn){4096});
	} else {
		leaf_put_hole(l, i, (struct lsn){4096});
	}
	leaf_tidy(l, false);
	leaf_unlock(l);
	leaf_unpin(l);
}

static struct block_place place(struct bench *b, struct map *m, uint64_t block)
{
	struct block_place p = {.kind = PLACE_HOLE};
	struct leaf *l;
	int rc;

	while ((rc = map_leaf_get(m, block / LEAF_BLOCKS, &l)) == -ERR_AGAIN)
		load(b, m, block / LEAF_BLOCKS);
	ck_assert_int_eq(rc, 0);
	if (l == NULL)
		return p;
	p = leaf_place(l, (uint32_t)(block % LEAF_BLOCKS));
	leaf_unpin(l);
	return p;
}

/* The next runs of a delta. */
static int delta_next(struct bench *b, struct snapshot_delta *d, struct map *from, struct map *to)
{
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &d->done);
	delta_walk(d, b->f->env, from, to);
	return fake_wait(b->f, &wait);
}

/* Cells lie in clusters of 50 blocks, 20 leaves and a half apart: three levels of tree. */
static uint64_t cell_block(uint32_t cell)
{
	return (uint64_t)(cell / 50) * (LEAF_BLOCKS * 20 + 256) + cell % 50 * (cell / 50 % 2 + 1);
}

static int64_t block_cell(uint64_t block)
{
	uint64_t cluster = block / (LEAF_BLOCKS * 20 + 256);
	uint64_t at = block % (LEAF_BLOCKS * 20 + 256), step = cluster % 2 + 1;

	if (at % step != 0 || at / step >= 50 || cluster * 50 >= CELLS)
		return -1;
	return (int64_t)(cluster * 50 + at / step);
}

static void change_cells(struct bench *b, struct prng *g, struct map *m, struct model *now)
{
	uint32_t n = 1 + (uint32_t)prng_below(g, 120), first = (uint32_t)prng_below(g, CELLS);
	bool together = prng_below(g, 2) == 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t cell = together ? (first + i) % CELLS : (uint32_t)prng_below(g, CELLS);
		enum put what = (enum put)prng_below(g, 3);
		uint32_t crc = 1 + (uint32_t)prng_below(g, 1u << 30);

		if (cell_block(cell) * BLOCK_BYTES >= now->bytes)
			continue;
		put(b, m, cell_block(cell), what, crc);
		now->cells[cell] = what == PUT_DATA ? crc : 0;
	}
}

/* Walk the whole delta, apply it to `from` and compare; exact: nothing else may be in it. */
static void delta_check(struct bench *b, struct map *maps[2], const struct model *from,
			const struct model *to, bool exact)
{
	struct snapshot_delta *d = calloc(1, sizeof(*d));
	struct model *got = malloc(sizeof(*got));
	uint64_t reached = 0;

	*got = *from;
	d->by_checksum = exact;
	while (!d->end) {
		ck_assert_int_eq(delta_next(b, d, maps[0], maps[1]), 0);
		ck_assert(d->end || d->run_count == DELTA_RUNS_MAX);
		for (uint32_t i = 0; i < d->run_count; i++) {
			const struct delta_run *run = &d->runs[i];

			ck_assert_uint_ge(run->block, reached);
			ck_assert_uint_gt(run->count, 0);
			reached = run->block + run->count;
			for (uint64_t k = run->block; k < reached; k++) {
				int64_t cell = block_cell(k);
				struct block_place p = place(b, maps[1], k);
				uint32_t crc = p.kind == PLACE_HOME ? p.crc : 0;

				ck_assert_int_ge(cell, 0);
				ck_assert_int_eq(run->kind, p.kind == PLACE_HOME ? DELTA_DATA
							    : p.kind == PLACE_ZERO
								    ? DELTA_ZERO
								    : DELTA_DISCARDED);
				if (exact)
					ck_assert_uint_ne(got->cells[cell], crc);
				got->cells[cell] = crc;
			}
		}
	}
	ck_assert_int_eq(memcmp(got->cells, to->cells, sizeof(got->cells)), 0);
	free(got);
	free(d);
}

/* Forty states of a volume that grows; deltas between any two of them. */
START_TEST(delta_applied_to_the_earlier_state_gives_the_later)
{
	enum { STATES = 40 };
	struct prng g;
	struct bench b;
	struct map *m, *frozen[STATES];
	struct model *models = calloc(STATES, sizeof(*models)), now = {{0}, 0};

	prng_init(&g, 17, (uint64_t)_i);
	bench_open(&b, 0); /* 256 pages: most of it is read again and again */
	now.bytes = 1ull << 30;
	m = map_new(&b, now.bytes);
	for (uint32_t i = 0; i < STATES; i++) {
		change_cells(&b, &g, m, &now);
		if (i % 10 == 9) {
			now.bytes *= 4;
			map_resize(m, now.bytes);
		}
		frozen[i] = freeze(&b, m);
		models[i] = now;
	}
	for (uint32_t n = 0; n < 60; n++) {
		uint32_t from = (uint32_t)prng_below(&g, STATES);
		uint32_t to = from + (uint32_t)prng_below(&g, STATES - from);

		delta_check(&b, (struct map *[]){frozen[from], frozen[to]}, &models[from],
			    &models[to], n % 2 == 0);
	}
	for (uint32_t i = 0; i < STATES; i++)
		map_destroy(&frozen[i]);
	map_destroy(&m);
	bench_close(&b);
	free(models);
}
END_TEST

/* 20 of 400 leaves change, scattered over three levels. */
START_TEST(delta_reads_what_changed_and_its_ancestors)
{
	struct snapshot_delta *d = calloc(1, sizeof(*d));
	struct bench b;
	struct map *m, *from, *to;
	uint64_t runs = 0;

	bench_open(&b, 32 << 20);
	m = map_new(&b, 1ull << 40);
	for (uint32_t i = 0; i < 400; i++)
		put(&b, m, (uint64_t)i * 20 * LEAF_BLOCKS, PUT_DATA, i + 1);
	from = freeze(&b, m);
	for (uint32_t i = 0; i < 20; i++) /* 20 leaves below 20 pages below 2 pages and the root */
		put(&b, m, (uint64_t)i * 20 * 20 * LEAF_BLOCKS, PUT_DATA, 5000 + i);
	to = freeze(&b, m);
	ck_assert_uint_eq(from->depth, 3);
	while (!d->end) {
		ck_assert_int_eq(delta_next(&b, d, from, to), 0);
		runs += d->run_count;
	}
	ck_assert_uint_eq(runs, 20);
	ck_assert_uint_eq(d->pages_read, 2 * (20 + 20 + 2 + 1));
	map_destroy(&from);
	map_destroy(&to);
	map_destroy(&m);
	bench_close(&b);
	free(d);
}
END_TEST

START_TEST(delta_of_one_map_with_itself_reads_nothing)
{
	struct snapshot_delta d = {0};
	struct bench b;
	struct map *m, *one, *same;

	bench_open(&b, 0);
	m = map_new(&b, 1ull << 30);
	put(&b, m, 7, PUT_DATA, 1);
	put(&b, m, 70000, PUT_DATA, 2);
	one = freeze(&b, m);
	same = freeze(&b, m);
	ck_assert_int_eq(delta_next(&b, &d, one, same), 0);
	ck_assert(d.end);
	ck_assert_uint_eq(d.run_count, 0);
	ck_assert_uint_eq(d.pages_read, 0);
	map_destroy(&one);
	map_destroy(&same);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(zeroes_and_holes_do_not_differ)
{
	struct snapshot_delta d = {0};
	struct bench b;
	struct map *m, *from, *to;

	bench_open(&b, 0);
	m = map_new(&b, 1ull << 30);
	put(&b, m, 0, PUT_DATA, 9); /* keeps the zeroes */
	put(&b, m, 1, PUT_ZERO, 0);
	put(&b, m, 4, PUT_DATA, 4);
	put(&b, m, 5, PUT_DATA, 5);
	from = freeze(&b, m);
	put(&b, m, 1, PUT_HOLE, 0);
	put(&b, m, 2, PUT_ZERO, 0);
	put(&b, m, 4, PUT_ZERO, 4);
	put(&b, m, 5, PUT_HOLE, 5);
	put(&b, m, 100000, PUT_ZERO, 0);
	to = freeze(&b, m);
	ck_assert_int_eq(delta_next(&b, &d, from, to), 0);
	ck_assert_uint_eq(d.run_count, 2);
	ck_assert_uint_eq(d.runs[0].block, 4);
	ck_assert_int_eq(d.runs[0].kind, DELTA_ZERO);
	ck_assert_uint_eq(d.runs[1].block, 5);
	ck_assert_int_eq(d.runs[1].kind, DELTA_DISCARDED);
	map_destroy(&from);
	map_destroy(&to);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

/* Two maps without a common page; one has a deeper tree. */
START_TEST(equal_checksums_are_trusted_only_when_told_to)
{
	struct snapshot_delta *d = calloc(1, sizeof(*d));
	struct bench b;
	struct map *m[2], *frozen[2];

	bench_open(&b, 0);
	for (uint32_t i = 0; i < 2; i++) {
		m[i] = map_new(&b, 1ull << 40);
		if (i == 1)
			put(&b, m[i], 1ull << 24, PUT_DATA, crc32c_block_of_zeroes());
		for (uint32_t k = 0; k < 50; k++)
			put(&b, m[i], k * 1000, PUT_DATA, k + 1);
	}
	for (uint32_t i = 0; i < 2; i++)
		frozen[i] = freeze(&b, m[i]);
	ck_assert_uint_lt(frozen[0]->depth, frozen[1]->depth);
	for (uint32_t i = 0; i < 2; i++) {
		d->block = 0;
		ck_assert_int_eq(delta_next(&b, d, frozen[i], frozen[1 - i]), 0);
		ck_assert_uint_eq(d->run_count, 51);
		ck_assert_int_eq(d->runs[50].kind, i == 0 ? DELTA_DATA : DELTA_DISCARDED);
		d->by_checksum = true;
		d->block = 0;
		d->pages_read = 0;
		ck_assert_int_eq(delta_next(&b, d, frozen[i], frozen[1 - i]), 0);
		ck_assert_uint_eq(d->run_count, 0);
		ck_assert_uint_eq(d->pages_read, 0);
		d->by_checksum = false;
	}
	for (uint32_t i = 0; i < 2; i++) {
		map_destroy(&frozen[i]);
		map_destroy(&m[i]);
	}
	bench_close(&b);
	free(d);
}
END_TEST

START_TEST(delta_from_nothing_is_all_data_and_to_nothing_discards_it)
{
	struct snapshot_delta d = {0};
	struct bench b;
	struct map *m, *one, *empty;

	bench_open(&b, 0);
	m = map_new(&b, 1ull << 30);
	empty = map_new(&b, 4 * BLOCK_BYTES);
	put(&b, m, 3, PUT_DATA, 1);
	put(&b, m, 4, PUT_DATA, 1);
	put(&b, m, 5, PUT_ZERO, 0);
	put(&b, m, 9000, PUT_DATA, 2);
	one = freeze(&b, m);
	ck_assert_int_eq(delta_next(&b, &d, NULL, one), 0);
	ck_assert_uint_eq(d.run_count, 2);
	ck_assert_uint_eq(d.runs[0].block, 3);
	ck_assert_uint_eq(d.runs[0].count, 2);
	ck_assert_uint_eq(d.runs[1].block, 9000);
	d.block = 0;
	ck_assert_int_eq(delta_next(&b, &d, one, NULL), 0);
	ck_assert_uint_eq(d.run_count, 2);
	ck_assert_int_eq(d.runs[0].kind, DELTA_DISCARDED);
	d.block = 0; /* it ends where `to` does */
	ck_assert_int_eq(delta_next(&b, &d, one, empty), 0);
	ck_assert_uint_eq(d.run_count, 1);
	ck_assert_uint_eq(d.runs[0].count, 1);
	d.block = 0;
	ck_assert_int_eq(delta_next(&b, &d, NULL, NULL), 0);
	ck_assert(d.end && d.run_count == 0);
	map_destroy(&one);
	map_destroy(&empty);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

START_TEST(damaged_page_ends_the_delta)
{
	struct snapshot_delta d = {0};
	struct bench b;
	struct map *m, *from, *to;

	bench_open(&b, 0);
	m = map_new(&b, 1ull << 30);
	for (uint32_t i = 0; i < 100; i++)
		put(&b, m, i * 600, PUT_DATA, i + 1);
	from = freeze(&b, m);
	for (uint32_t i = 0; i < 100; i++)
		put(&b, m, i * 600, PUT_DATA, i + 1000);
	to = freeze(&b, m);
	load(&b, to, 50); /* the pages above it */
	sim_disk_flip(b.f->sim_disk, cache_find(b.c, to, 0, 50)->address + 80, 1);
	map_destroy(&to);
	to = freeze(&b, m);
	ck_assert_int_eq(delta_next(&b, &d, from, to), -ERR_CORRUPT);
	map_destroy(&from);
	map_destroy(&to);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

/* Nothing but pinned pages: the walk waits and goes on when there is room. */
START_TEST(delta_waits_while_all_pages_are_pinned)
{
	struct snapshot_delta d = {0};
	struct leaf *pinned[300];
	struct fake_wait wait;
	struct bench b;
	struct map *m, *other, *one;
	uint32_t n = 0;

	bench_open(&b, 0);
	m = map_new(&b, 1ull << 30);
	other = map_new(&b, 1ull << 40);
	put(&b, m, 3, PUT_DATA, 1);
	one = freeze(&b, m);
	while (map_leaf_edit(other, n, &pinned[n]) == 0)
		n++;
	fake_arm_on(b.f->env, &wait, &d.done);
	delta_walk(&d, b.f->env, NULL, one);
	fake_run_for(b.f, SEC_NS);
	ck_assert(!fake_fired(&wait));
	while (n > 0)
		leaf_unpin(pinned[--n]);
	ck_assert_int_eq(fake_wait(b.f, &wait), 0);
	ck_assert_uint_eq(d.run_count, 1);
	map_destroy(&one);
	map_destroy(&other);
	map_destroy(&m);
	bench_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/delta");
	TCase *c = tcase_create("delta");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, delta_applied_to_the_earlier_state_gives_the_later, 0, 8);
	tcase_add_test(c, delta_reads_what_changed_and_its_ancestors);
	tcase_add_test(c, delta_of_one_map_with_itself_reads_nothing);
	tcase_add_test(c, zeroes_and_holes_do_not_differ);
	tcase_add_test(c, equal_checksums_are_trusted_only_when_told_to);
	tcase_add_test(c, delta_from_nothing_is_all_data_and_to_nothing_discards_it);
	tcase_add_test(c, damaged_page_ends_the_delta);
	tcase_add_test(c, delta_waits_while_all_pages_are_pinned);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
