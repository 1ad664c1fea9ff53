/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/map_bench.h"

#include <check.h>

#include "engine/base/err.h"

static void nothing_step(struct op *op)
{
}

void bench_open(struct bench *b)
{
	struct map_cache_opts o = {.disk_bytes = DISK_BYTES, .memory_bytes = 0}; /* 256 pages */

	b->f = fake_open(1, DISK_BYTES);
	ck_assert_int_eq(space_open(DISK_BYTES, 2 << 20, &b->sp), 0);
	o.env = b->f->env;
	o.disk = b->f->disk;
	o.space = b->sp;
	ck_assert_int_eq(map_cache_open(&o, &b->c), 0);
	op_init(&b->op, b->f->env->ready, nothing_step);
	ck_assert_int_eq(page_writer_init(&b->w, b->f->disk, &b->op), 0);
}

void bench_close(struct bench *b)
{
	page_writer_fini(&b->w);
	map_cache_close(&b->c, false);
	space_close(&b->sp);
	fake_close(&b->f);
}

/* What a checkpoint does to maps. */
void write_out(struct bench *b)
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
	space_captured(b->sp);
	space_durable(b->sp);
	b->c->seq++;
}

int load(struct bench *b, struct map *m, struct leaf_load *l)
{
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &l->done);
	map_leaf_load(m, l);
	return fake_wait(b->f, &wait);
}

static int load_leaf(struct bench *b, struct map *m, uint64_t leaf_no)
{
	struct leaf_load l = {.leaf_no = leaf_no};

	return load(b, m, &l);
}

struct leaf *edit(struct bench *b, struct map *m, uint64_t leaf_no)
{
	struct leaf *l = NULL;
	int rc;

	while ((rc = map_leaf_edit(m, leaf_no, &l)) == -ERR_AGAIN)
		ck_assert_int_eq(load_leaf(b, m, leaf_no), 0);
	ck_assert_int_eq(rc, 0);
	return l;
}

int put_entry(struct bench *b, struct map *m, uint64_t entry, uint16_t dirty, uint16_t gone,
	      uint32_t crc)
{
	struct leaf *l = edit(b, m, entry / LEAF_CHUNKS);
	uint32_t i = (uint32_t)(entry % LEAF_CHUNKS);
	struct leaf_plan plan = {.chunk = CHUNK_NONE};
	int rc;

	ck_assert(leaf_lock(l));
	rc = leaf_own(l);
	if (rc == 0 && dirty != 0) {
		leaf_plan(l, i, dirty, gone, &plan);
		rc = leaf_plan_take(l, &plan);
	}
	for (uint32_t k = 0; k < CHUNK_BLOCKS && rc == 0 && dirty != 0; k++)
		if ((plan.copy >> k & 1) != 0) {
			b->home[plan.chunk / BLOCK_BYTES + k] =
				b->home[plan.from / BLOCK_BYTES + k];
			ck_assert_uint_eq(b->home[plan.from / BLOCK_BYTES + k],
					  leaf_crc(l, i * CHUNK_BLOCKS + k));
		}
	if (rc == 0 && dirty != 0)
		leaf_plan_apply(l, i, &plan);
	for (uint32_t k = 0; k < CHUNK_BLOCKS && rc == 0; k++) {
		if ((dirty >> k & 1) != 0) {
			b->home[plan.chunk / BLOCK_BYTES + k] = crc + k;
			leaf_put_home(l, i * CHUNK_BLOCKS + k, crc + k, (struct lsn){4096});
		} else if ((gone >> k & 1) != 0) {
			leaf_put_zero(l, i * CHUNK_BLOCKS + k, (struct lsn){4096});
		}
	}
	if (rc == 0) {
		leaf_tidy(l, false);
		rc = __builtin_popcount(dirty) + __builtin_popcount(plan.copy);
	}
	leaf_unlock(l);
	leaf_unpin(l);
	return rc;
}

void put(struct bench *b, struct map *m, uint64_t block, uint32_t crc)
{
	uint32_t k = (uint32_t)(block % CHUNK_BLOCKS);

	ck_assert_int_ge(put_entry(b, m, block / CHUNK_BLOCKS, (uint16_t)(1u << k), 0, crc - k), 1);
}

struct block_place place(struct bench *b, struct map *m, uint64_t block)
{
	struct block_place p = {.kind = PLACE_HOLE};
	struct leaf *l;
	int rc;

	while ((rc = map_leaf_get(m, block / LEAF_BLOCKS, &l)) == -ERR_AGAIN)
		ck_assert_int_eq(load_leaf(b, m, block / LEAF_BLOCKS), 0);
	ck_assert_int_eq(rc, 0);
	if (l == NULL)
		return p;
	p = leaf_place(l, (uint32_t)(block % LEAF_BLOCKS));
	leaf_unpin(l);
	return p;
}

struct map *empty_map(struct bench *b)
{
	struct volume_root root = {.root = CHUNK_NONE};
	struct map *m;

	ck_assert_int_eq(map_create(b->c, &root, &m), 0);
	return m;
}
