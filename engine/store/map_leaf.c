/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map_leaf.c
 * Purpose.     The entries of a leaf: where the 16 blocks of a chunk are, and how that changes when some
 *              of them are written and the chunk is shared.
 * Invariants.  ML1 A block is in at most one of valid (in chunk), based (in base), zero; a base is there
 *                  if and only if something is based; then the chunk is there, too, with something valid.
 *              ML2 Only an exclusive chunk is written in place (space_refs.c).  A write to another one goes
 *                  to a fresh chunk, which takes the dirty blocks only; the old chunk becomes the base.
 *              ML3 At most two sources: when there is a base already, the one of the two with fewer wanted
 *                  blocks is copied up, and the other is the base.
 *              ML4 A base that nobody else has, and of which little is wanted, is merged when the chunk is
 *                  written: that frees it.
 *              ML5 Between leaf_plan and leaf_plan_apply the leaf is as it was: a reader finds the old
 *                  places, and they hold what they held.
 * Ownership.   Whoever changes a leaf has it pinned, locked and private (map.c, leaf_own).
 * Failure.     Only taking a fresh chunk can fail, before anything has changed.
 */
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/map_cache.h"
#include "engine/store/map_edit.h"
#include "engine/store/store.h"

#define MERGE_BLOCKS_MAX 4

static struct disk_leaf *leaf_of(const struct leaf *l)
{
	assert_slow(l->page.level == 0);
	return (struct disk_leaf *)(void *)l->page.image;
}

static struct space *space_of(const struct leaf *l)
{
	return l->page.map->cache->opts.space;
}

static struct disk_chunk *chunk_of(struct leaf *l, uint32_t block)
{
	assert(block < LEAF_BLOCKS && l->page.pins > 0);
	return &leaf_of(l)->chunks[block / CHUNK_BLOCKS];
}

/* These blocks are nothing any more.  M3 */
static void chunk_clear(struct leaf *l, struct disk_chunk *c, uint16_t bits)
{
	uint64_t were = (uint64_t)__builtin_popcount((c->valid | c->based) & bits);

	assert_slow(leaf_is_private(l));
	if (were > l->page.map->used_blocks)
		were = l->page.map->used_blocks; /* unless the disk told us a wrong number */
	l->page.map->used_blocks -= were;
	c->valid = (uint16_t)(c->valid & ~bits);
	c->based = (uint16_t)(c->based & ~bits);
	c->zero = (uint16_t)(c->zero & ~bits);
}

static void chunk_stamp(struct leaf *l, struct disk_chunk *c, struct lsn lsn)
{
	if (lsn.v > c->last)
		c->last = lsn.v;
	cpage_set_dirty(&l->page);
}

struct block_place leaf_place(const struct leaf *l, uint32_t block_in_leaf)
{
	const struct disk_chunk *c = &leaf_of(l)->chunks[block_in_leaf / CHUNK_BLOCKS];
	uint32_t b = block_in_leaf % CHUNK_BLOCKS;
	struct block_place place = {.kind = PLACE_HOLE};

	assert(block_in_leaf < LEAF_BLOCKS);
	if (((c->valid | c->based) >> b & 1) != 0) {
		place.kind = PLACE_HOME;
		place.crc = c->crcs[b];
		place.off =
			((c->valid >> b & 1) != 0 ? c->chunk : c->base) + (uint64_t)b * BLOCK_BYTES;
	} else if ((c->zero >> b & 1) != 0) {
		place.kind = PLACE_ZERO;
		place.crc = crc32c_block_of_zeroes();
	}
	return place;
}

struct lsn leaf_newest(const struct leaf *l, uint32_t i)
{
	assert(i < LEAF_CHUNKS);
	return (struct lsn){leaf_of(l)->chunks[i].last};
}

bool leaf_block_is_set(const struct leaf *l, uint32_t block)
{
	return leaf_place(l, block).kind != PLACE_HOLE;
}

/* --- writing to an entry --- */

static void plan_in_place(const struct space *sp, const struct disk_chunk *c, struct leaf_plan *p)
{
	p->chunk = c->chunk;
	p->base = p->based == 0 ? DISK_NONE : c->base;
	if (p->based == 0 || __builtin_popcount(p->based) > MERGE_BLOCKS_MAX ||
	    space_refs(sp, c->base) > 1)
		return;
	p->copy = p->based; /* ML4 */
	p->from = c->base;
	p->base = DISK_NONE;
	p->based = 0;
}

static bool may_write_in_place(const struct leaf *l, uint64_t chunk)
{
	uint32_t mutant = l->page.map->cache->opts.mutant;

	if (mutant == STORE_MUTANT_SHARED_IN_PLACE && space_refs(space_of(l), chunk) > 1)
		return true;
	if (mutant == STORE_MUTANT_NAMED_IN_PLACE && space_refs(space_of(l), chunk) == 1 &&
	    space_chunk_is_named(space_of(l), chunk))
		return true;
	return space_chunk_is_exclusive(space_of(l), chunk); /* ML2 */
}

void leaf_plan(const struct leaf *l, uint32_t i, uint16_t dirty, uint16_t gone,
	       struct leaf_plan *ret)
{
	const struct disk_chunk *c = &leaf_of(l)->chunks[i];
	uint16_t lost = (uint16_t)(dirty | gone);
	uint16_t valid = (uint16_t)(c->valid & ~lost), based = (uint16_t)(c->based & ~lost);
	bool keep_chunk = __builtin_popcount(valid) >= __builtin_popcount(based);

	assert(i < LEAF_CHUNKS && dirty != 0 && (dirty & gone) == 0);
	*ret = (struct leaf_plan){
		.chunk = DISK_NONE, .from = DISK_NONE, .dirty = dirty, .gone = gone};
	ret->based = based;
	if (c->chunk != DISK_NONE && may_write_in_place(l, c->chunk)) {
		plan_in_place(space_of(l), c, ret);
		return;
	}
	ret->fresh = true; /* ML2 */
	ret->based = keep_chunk ? valid : based;
	ret->copy = keep_chunk ? based : valid; /* ML3 */
	ret->base = keep_chunk ? c->chunk : c->base;
	if (ret->based == 0)
		ret->base = DISK_NONE;
	if (ret->copy != 0)
		ret->from = keep_chunk ? c->base : c->chunk;
}

struct leaf_plan leaf_plan_adopt(uint64_t chunk)
{
	return (struct leaf_plan){.chunk = chunk,
				  .from = DISK_NONE,
				  .base = DISK_NONE,
				  .dirty = UINT16_MAX,
				  .adopt = true};
}

bool leaf_plan_drops(const struct leaf *l, uint32_t i, const struct leaf_plan *p)
{
	const struct disk_chunk *c = &leaf_of(l)->chunks[i];

	return (c->chunk != DISK_NONE && c->chunk != p->chunk && c->chunk != p->base) ||
	       (c->base != DISK_NONE && c->base != p->base);
}

int leaf_plan_take(const struct leaf *l, struct leaf_plan *p)
{
	return p->fresh ? space_chunk_take(space_of(l), &p->chunk) : 0;
}

void leaf_plan_give(const struct leaf *l, struct leaf_plan *p)
{
	if (p->fresh && p->chunk != DISK_NONE)
		space_chunk_untake(space_of(l), p->chunk);
	p->chunk = DISK_NONE;
}

uint32_t leaf_crc(const struct leaf *l, uint32_t block)
{
	return leaf_of(l)->chunks[block / CHUNK_BLOCKS].crcs[block % CHUNK_BLOCKS];
}

void leaf_plan_apply(struct leaf *l, uint32_t i, const struct leaf_plan *p)
{
	struct disk_chunk *c = chunk_of(l, i * CHUNK_BLOCKS);
	uint64_t chunk = c->chunk, base = c->base;

	assert(p->chunk != DISK_NONE);
	chunk_clear(l, c, (uint16_t)(p->dirty | p->gone));
	c->valid = p->fresh ? p->copy : (uint16_t)(c->valid | p->copy);
	c->based = p->based;
	c->chunk = p->chunk;
	c->base = p->base;
	if (p->adopt)
		space_chunk_adopt(space_of(l), p->chunk);
	if (p->fresh || p->adopt)
		c->birth = l->page.map->cache->seq;
	if (chunk != DISK_NONE && chunk != c->chunk && chunk != c->base)
		space_chunk_drop(space_of(l), chunk);
	if (base != DISK_NONE && base != c->base)
		space_chunk_drop(space_of(l), base);
	cpage_set_dirty(&l->page);
}

void leaf_put_home(struct leaf *l, uint32_t block, uint32_t crc, struct lsn lsn)
{
	struct disk_chunk *c = chunk_of(l, block);
	uint16_t bit = (uint16_t)(1u << block % CHUNK_BLOCKS);

	assert(c->chunk != DISK_NONE); /* M2 */
	chunk_clear(l, c, bit);
	c->valid = (uint16_t)(c->valid | bit);
	c->crcs[block % CHUNK_BLOCKS] = crc;
	l->page.map->used_blocks++; /* M3 */
	chunk_stamp(l, c, lsn);
}

void leaf_put_zero(struct leaf *l, uint32_t block, struct lsn lsn)
{
	struct disk_chunk *c = chunk_of(l, block);
	uint16_t bit = (uint16_t)(1u << block % CHUNK_BLOCKS);

	chunk_clear(l, c, bit);
	c->zero = (uint16_t)(c->zero | bit);
	chunk_stamp(l, c, lsn);
}

void leaf_put_hole(struct leaf *l, uint32_t block, struct lsn lsn)
{
	struct disk_chunk *c = chunk_of(l, block);

	chunk_clear(l, c, (uint16_t)(1u << block % CHUNK_BLOCKS));
	chunk_stamp(l, c, lsn);
}

/* ML1 again after blocks went. */
static void chunk_tidy(struct leaf *l, struct disk_chunk *c)
{
	if (c->base != DISK_NONE && c->based == 0) {
		space_chunk_drop(space_of(l), c->base);
		c->base = DISK_NONE;
		cpage_set_dirty(&l->page);
	}
	if (c->chunk == DISK_NONE || c->valid != 0)
		return;
	space_chunk_drop(space_of(l), c->chunk);
	c->chunk = c->base;
	c->valid = c->based;
	c->base = DISK_NONE;
	c->based = 0;
	c->birth = 0;
	cpage_set_dirty(&l->page);
}

void leaf_tidy(struct leaf *l, bool keep_zeroes)
{
	bool any = false;

	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		chunk_tidy(l, &leaf_of(l)->chunks[i]);
		any = any || leaf_of(l)->chunks[i].valid != 0;
	}
	if (any || keep_zeroes)
		return;
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		if (leaf_of(l)->chunks[i].zero == 0)
			continue;
		leaf_of(l)->chunks[i].zero = 0;
		cpage_set_dirty(&l->page);
	}
}

void leaf_clear(struct leaf *l)
{
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++)
		chunk_clear(l, &leaf_of(l)->chunks[i], UINT16_MAX);
	leaf_tidy(l, false);
	cpage_set_dirty(&l->page);
}

bool block_is_zeroes(const uint8_t *data, uint32_t crc)
{
	return crc == crc32c_block_of_zeroes() && data[0] == 0 &&
	       memcmp(data, data + 1, BLOCK_BYTES - 1) == 0;
}
