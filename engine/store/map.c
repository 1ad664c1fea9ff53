/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map.c
 * Purpose.     The radix tree of one volume: from block to place and checksum.
 * Invariants.  M1  A leaf beyond the tree, below an entry without address, or an empty one is a hole;
 *                  a page in memory counts more than its parent's entry.
 *              M2  A block is valid only in a chunk that is there; valid and zero exclude each other.
 *              M3  used_blocks is the number of valid blocks of the whole tree.
 *              M4  The tree grows at the root only; depth never shrinks.
 * Ownership.   A map belongs to its replica until map_discard takes it.
 * Failure.     Lookups cannot fail for want of memory; loads answer -ERR_NOMEM when all is pinned.
 * Limits.      MAP_DEPTH_MAX inner levels.
 */
#include <stdlib.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/map_cache.h"
#include "engine/store/map_edit.h"
#include "engine/store/store_parts.h"

static struct disk_inner *inner_of(const struct cpage *p);
static struct disk_leaf *leaf_of(const struct leaf *l);
static bool map_covers(const struct map *m, uint64_t leaf_no);
static int map_grow(struct map *m);
static struct disk_chunk *chunk_of(struct leaf *l, uint32_t block);
static void chunk_clear(struct leaf *l, struct disk_chunk *c, uint16_t bit);
static void chunk_stamp(struct leaf *l, struct disk_chunk *c, struct lsn lsn);

int map_create(struct map_cache *c, const struct volume_root *root, struct map **ret_map)
{
	struct map *m;

	if (root->depth > MAP_DEPTH_MAX)
		return -ERR_CORRUPT;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ERR_NOMEM;
	m->cache = c;
	m->id = ++c->next_map_id;
	m->bytes = root->volume.bytes;
	m->depth = root->depth;
	m->root.address = root->root;
	m->root.crc = root->root_crc;
	m->root.digest = root->root == CHUNK_NONE ? 0 : root->root_digest;
	m->used_blocks = root->root == CHUNK_NONE ? 0 : root->volume.used_bytes / BLOCK_BYTES;
	*ret_map = m;
	return 0;
}

void map_destroy(struct map **mp)
{
	struct map *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	assert(m->cache->closing || m->loads == 0);
	cache_forget_map(m->cache, m);
	free(m);
}

bool map_is_quiet(const struct map *m)
{
	return m->loads == 0;
}

bool map_is_pinned(const struct map *m)
{
	const struct map_cache *c = m->cache;

	for (uint32_t i = 0; i < c->page_count && m->pages > 0; i++)
		if (c->pages[i].page.map == m &&
		    (c->pages[i].page.pins > 0 || c->pages[i].page.loading))
			return true;
	return false;
}

uint64_t map_used_bytes(const struct map *m)
{
	return m->used_blocks * BLOCK_BYTES;
}

void map_root_get(const struct map *m, struct volume_root *ret)
{
	ret->root = m->root.address;
	ret->root_crc = m->root.crc;
	ret->root_digest = m->root.digest;
	ret->depth = m->depth;
	ret->volume.used_bytes = map_used_bytes(m);
}

int map_leaf_get(struct map *m, uint64_t leaf_no, struct leaf **ret_leaf)
{
	struct cpage *p = cache_find(m->cache, m, 0, leaf_no);

	*ret_leaf = NULL;
	if (p != NULL && !p->loading) {
		cpage_pin(p);
		*ret_leaf = container_of(p, struct leaf, page);
		return 0;
	}
	if (p != NULL)
		return -ERR_AGAIN;
	if (!map_covers(m, leaf_no))
		return 0; /* M1 */
	p = m->root_page;
	if (p == NULL)
		return m->root.address == DISK_NONE ? 0 : -ERR_AGAIN;
	for (uint32_t level = m->depth; level > 0; level--) {
		uint64_t below = leaf_no >> ((level - 1) * MAP_FAN_SHIFT);
		struct cpage *child;

		if (p->loading)
			return -ERR_AGAIN;
		child = cache_find(m->cache, m, level - 1, below);
		if (child == NULL)
			return inner_of(p)->entries[below % MAP_FAN].address == DISK_NONE
				       ? 0
				       : -ERR_AGAIN;
		p = child;
	}
	UNREACHABLE("the leaf was not found before");
}

void leaf_unpin(struct leaf *l)
{
	cpage_unpin(&l->page);
}

struct block_place leaf_place(const struct leaf *l, uint32_t block_in_leaf)
{
	const struct disk_chunk *c = &leaf_of(l)->chunks[block_in_leaf / CHUNK_BLOCKS];
	uint32_t b = block_in_leaf % CHUNK_BLOCKS;
	struct block_place place = {.kind = PLACE_HOLE};

	assert(block_in_leaf < LEAF_BLOCKS);
	if ((c->valid >> b & 1) != 0) {
		place.kind = PLACE_HOME;
		place.crc = c->crcs[b];
		place.off = c->chunk + (uint64_t)b * BLOCK_BYTES;
	} else if ((c->zero >> b & 1) != 0) {
		place.kind = PLACE_ZERO;
		place.crc = crc32c_block_of_zeroes();
	}
	return place;
}

void map_leaf_load(struct map *m, struct leaf_load *load)
{
	list_link_init(&load->link);
	load->private[0] = m;
	m->loads++;
	map_load_continue(load);
}

static void load_fire(struct map *m, struct leaf_load *load)
{
	m->loads--;
	completion_fire(&load->done, 0);
}

/* Go down as far as memory reaches; read the next page or be done. */
void map_load_continue(struct leaf_load *load)
{
	struct map *m = load->private[0];
	struct cpage *p = m->root_page;
	struct disk_ref ref = {.address = m->root.address, .crc = m->root.crc};
	uint32_t level = m->depth;

	if (p == NULL) {
		if (ref.address == DISK_NONE)
			load_fire(m, load);
		else
			cache_read(m->cache, m, NULL, level, 0, &ref, load);
		return;
	}
	for (;;) {
		uint64_t below;
		struct cpage *child;

		if (p->loading) {
			cache_read(m->cache, m, p->parent, p->level, p->index, &ref, load);
			return;
		}
		if (level <= load->level || !map_covers(m, load->leaf_no)) {
			load_fire(m, load);
			return;
		}
		level--;
		below = load->leaf_no >> (level * MAP_FAN_SHIFT);
		ref.address = inner_of(p)->entries[below % MAP_FAN].address;
		ref.crc = inner_of(p)->entries[below % MAP_FAN].crc;
		child = cache_find(m->cache, m, level, below);
		if (child == NULL && ref.address == DISK_NONE) {
			load_fire(m, load);
			return;
		}
		if (child == NULL) {
			cache_read(m->cache, m, p, level, below, &ref, load);
			return;
		}
		p = child;
	}
}

void map_resize(struct map *m, uint64_t bytes)
{
	m->bytes = bytes; /* the tree grows when a leaf beyond it is changed */
}

/* One level more above the root.  M4. */
static int map_grow(struct map *m)
{
	struct cpage *old = m->root_page, *p;
	struct disk_inner_entry entry = {.address = DISK_NONE};

	assert(m->depth < MAP_DEPTH_MAX);
	if (old == NULL && m->root.address == DISK_NONE) {
		m->depth++;
		return 0;
	}
	if (old == NULL || old->loading)
		return -ERR_AGAIN;
	cpage_pin(old);
	p = cache_create(m->cache, m, NULL, m->depth + 1, 0);
	cpage_unpin(old);
	if (p == NULL)
		return -ERR_NOMEM;
	if (m->depth == 0)
		leaf_summary((const struct disk_leaf *)(const void *)old->image, &entry);
	else
		inner_summary(inner_of(old), &entry);
	entry.address = m->root.address;
	entry.crc = m->root.crc;
	entry.birth = old->birth;
	inner_init(inner_of(p));
	inner_of(p)->entries[0] = entry;
	old->parent = p;
	p->children = 1;
	m->depth++;
	m->root.address = DISK_NONE;
	cpage_set_dirty(p);
	cpage_unpin(p);
	return 0;
}

/* A new, empty page below parent; pinned by cache_create. */
static struct cpage *page_make(struct map *m, struct cpage *parent, uint32_t level, uint64_t index)
{
	struct cpage *p = cache_create(m->cache, m, parent, level, index);

	if (p == NULL)
		return NULL;
	if (level == 0)
		leaf_init((struct disk_leaf *)(void *)p->image);
	else
		inner_init(inner_of(p));
	return p;
}

int map_leaf_edit(struct map *m, uint64_t leaf_no, struct leaf **ret_leaf)
{
	struct cpage *p, *parent = NULL;
	uint32_t level;
	int rc;

	assert(leaf_no >> (MAP_DEPTH_MAX * MAP_FAN_SHIFT) == 0);
	p = cache_find(m->cache, m, 0, leaf_no);
	if (p != NULL && !p->loading) {
		cpage_pin(p);
		*ret_leaf = container_of(p, struct leaf, page);
		return 0;
	}
	while (!map_covers(m, leaf_no)) {
		rc = map_grow(m);
		if (rc < 0)
			return rc;
	}
	level = m->depth;
	p = m->root_page;
	if (p == NULL && m->root.address != DISK_NONE)
		return -ERR_AGAIN;
	if (p == NULL)
		p = page_make(m, NULL, level, 0);
	else
		cpage_pin(p);
	for (;;) {
		uint64_t below;

		if (parent != NULL)
			cpage_unpin(parent);
		if (p == NULL)
			return -ERR_NOMEM;
		if (p->loading) {
			cpage_unpin(p);
			return -ERR_AGAIN;
		}
		if (level == 0)
			break;
		parent = p;
		level--;
		below = leaf_no >> (level * MAP_FAN_SHIFT);
		p = cache_find(m->cache, m, level, below);
		if (p != NULL) {
			cpage_pin(p);
			continue;
		}
		if (inner_of(parent)->entries[below % MAP_FAN].address != DISK_NONE) {
			cpage_unpin(parent);
			return -ERR_AGAIN;
		}
		p = page_make(m, parent, level, below);
	}
	*ret_leaf = container_of(p, struct leaf, page); /* pinned */
	return 0;
}

int leaf_chunk_take(struct leaf *l, uint32_t i)
{
	struct disk_chunk *c = &leaf_of(l)->chunks[i];
	uint64_t chunk;
	int rc;

	if (c->chunk != DISK_NONE)
		return 0;
	rc = space_chunk_take(l->page.map->cache->opts.space, &chunk);
	if (rc < 0)
		return rc;
	c->chunk = chunk;
	c->birth = l->page.map->cache->seq;
	cpage_set_dirty(&l->page);
	return 0;
}

uint64_t leaf_chunk_off(const struct leaf *l, uint32_t i)
{
	assert(i < LEAF_CHUNKS);
	return leaf_of(l)->chunks[i].chunk;
}

bool leaf_block_is_set(const struct leaf *l, uint32_t block)
{
	const struct disk_chunk *c = &leaf_of(l)->chunks[block / CHUNK_BLOCKS];

	return ((c->valid | c->zero) >> block % CHUNK_BLOCKS & 1) != 0;
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

void leaf_tidy(struct leaf *l, bool keep_zeroes)
{
	bool any = false;

	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		struct disk_chunk *c = &leaf_of(l)->chunks[i];

		any = any || c->valid != 0;
		if (c->chunk == DISK_NONE || c->valid != 0)
			continue;
		space_chunk_give(l->page.map->cache->opts.space, c->chunk);
		c->chunk = DISK_NONE;
		c->birth = 0;
		cpage_set_dirty(&l->page);
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
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		struct disk_chunk *c = &leaf_of(l)->chunks[i];

		chunk_clear(l, c, UINT16_MAX);
	}
	leaf_tidy(l, false);
	cpage_set_dirty(&l->page);
}

/* Is there anything at or below entry i of p? */
static bool entry_present(struct map *m, const struct cpage *p, uint32_t i)
{
	struct cpage *child = cache_find(m->cache, m, p->level - 1u, p->index * MAP_FAN + i);

	if (child == NULL || child->loading)
		return inner_of(p)->entries[i].address != DISK_NONE;
	return child->dirty || child->children > 0 || child->address != DISK_NONE;
}

int map_next_leaf(struct map *m, uint64_t *leaf_no)
{
	uint64_t from = *leaf_no;

	while (map_covers(m, from)) {
		struct cpage *p = m->root_page;
		uint64_t next = 0;

		if (p == NULL || p->loading) {
			*leaf_no = from;
			return p == NULL && m->root.address == DISK_NONE ? -ERR_NOT_FOUND
									 : -ERR_AGAIN;
		}
		if (m->depth == 0)
			return p->dirty || p->address != DISK_NONE ? 0 : -ERR_NOT_FOUND;
		while (p->level > 0) {
			uint32_t shift = (p->level - 1u) * MAP_FAN_SHIFT;
			uint32_t i = (uint32_t)(from >> shift) % MAP_FAN;
			uint64_t base = p->index * MAP_FAN;
			struct cpage *child;

			if (!entry_present(m, p, i)) {
				while (i < MAP_FAN && !entry_present(m, p, i))
					i++;
				next = (base + i) << shift; /* i may be MAP_FAN: the next page */
				break;
			}
			if (p->level == 1) {
				*leaf_no = from;
				return 0;
			}
			child = cache_find(m->cache, m, p->level - 1u, base + i);
			if (child == NULL || child->loading) {
				*leaf_no = from;
				return -ERR_AGAIN;
			}
			p = child;
		}
		assert(next > from);
		from = next;
	}
	return -ERR_NOT_FOUND;
}

static struct disk_inner *inner_of(const struct cpage *p)
{
	assert_slow(p->level > 0);
	return (struct disk_inner *)(void *)p->image;
}

static struct disk_leaf *leaf_of(const struct leaf *l)
{
	assert_slow(l->page.level == 0);
	return (struct disk_leaf *)(void *)l->page.image;
}

static bool map_covers(const struct map *m, uint64_t leaf_no)
{
	return leaf_no >> (m->depth * MAP_FAN_SHIFT) == 0;
}

static struct disk_chunk *chunk_of(struct leaf *l, uint32_t block)
{
	assert(block < LEAF_BLOCKS && l->page.pins > 0);
	return &leaf_of(l)->chunks[block / CHUNK_BLOCKS];
}

static void chunk_clear(struct leaf *l, struct disk_chunk *c, uint16_t bits)
{
	uint64_t were = (uint64_t)__builtin_popcount(c->valid & bits);

	if (were > l->page.map->used_blocks)
		were = l->page.map->used_blocks; /* M3, unless the disk told us a wrong number */
	l->page.map->used_blocks -= were;
	c->valid = (uint16_t)(c->valid & ~bits);
	c->zero = (uint16_t)(c->zero & ~bits);
}

static void chunk_stamp(struct leaf *l, struct disk_chunk *c, struct lsn lsn)
{
	if (lsn.v > c->last)
		c->last = lsn.v;
	cpage_set_dirty(&l->page);
}
