/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map.c
 * Purpose.     The radix tree of one volume: from block to place and checksum.
 * Invariants.  M1  A leaf beyond the tree, below an entry without address, or an empty one is a hole;
 *                  a page in memory counts more than its parent's entry.
 *              M2  A block is valid only in a chunk that is there, based only in a base (map_leaf.c).
 *              M3  used_blocks is the number of valid and based blocks of the whole tree.
 *              M4  The tree grows at the root only; depth never shrinks.
 *              M5  A page is private if and only if it and every page above it have one reference.  Only
 *                  private pages are changed: leaf_own copies the shared ones of a path, from the root
 *                  down.  A copy names what the old page named, so all of that gets one reference more.
 *              M6  A dirty page is private: a tree is shared when it is written out, and clean.
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
static bool map_covers(const struct map *m, uint64_t leaf_no);
static int map_grow(struct map *m);

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

bool map_is_dirty(const struct map *m)
{
	const struct map_cache *c = m->cache;

	for (uint32_t i = 0; i < c->page_count && m->pages > 0; i++)
		if (c->pages[i].page.map == m && c->pages[i].page.dirty)
			return true;
	return false;
}

int map_forget(struct map *m)
{
	if (m->loads > 0 || map_is_pinned(m))
		return -ERR_BUSY;
	if (map_is_dirty(m))
		return -ERR_AGAIN;
	cache_forget_map(m->cache, m);
	return 0;
}

uint64_t map_hole_end(const struct map *m, uint64_t leaf_no)
{
	const struct cpage *p = m->root_page;

	if (!map_covers(m, leaf_no))
		return UINT64_MAX;
	if (p == NULL)
		return m->root.address == DISK_NONE ? UINT64_MAX : leaf_no;
	for (uint32_t level = m->depth; level > 0 && !p->loading; level--) {
		uint32_t shift = (level - 1) * MAP_FAN_SHIFT;
		uint64_t below = leaf_no >> shift;
		const struct cpage *child = cache_find(m->cache, m, level - 1, below);

		if (child == NULL)
			return inner_of(p)->entries[below % MAP_FAN].address == DISK_NONE
				       ? (below + 1) << shift
				       : leaf_no;
		p = child;
	}
	return leaf_no;
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

/* --- sharing --- */

static bool page_is_shared(const struct cpage *p)
{
	return p->address != DISK_NONE && space_refs(p->map->cache->opts.space, p->address) > 1;
}

bool leaf_is_private(const struct leaf *l)
{
	for (const struct cpage *p = &l->page; p != NULL; p = p->parent)
		if (page_is_shared(p))
			return false;
	return true;
}

_Static_assert(MAP_FAN == 2 * LEAF_CHUNKS, "page_names");

/* What entry k of the page names, or DISK_NONE. */
static uint64_t page_names(const struct cpage *p, uint32_t k)
{
	const struct disk_chunk *chunks =
		((const struct disk_leaf *)(const void *)p->image)->chunks;

	if (p->level > 0)
		return inner_of(p)->entries[k].address;
	return k % 2 == 0 ? chunks[k / 2].chunk : chunks[k / 2].base;
}

/* The tree gets a page of its own in the place of this shared one.  M5 */
static int page_copy(struct cpage *p)
{
	struct map_cache *c = p->map->cache;
	struct space *sp = c->opts.space;
	int rc = space_page_room(sp, 2 * c->dirty_count) ? 0 : -ERR_FULL;
	uint32_t k = 0;

	assert(!p->dirty && !p->loading);
	for (; k < MAP_FAN && rc == 0; k++)
		if (page_names(p, k) != DISK_NONE)
			rc = space_ref_add(sp, page_names(p, k));
	if (rc < 0) {
		for (k = k == 0 ? 0 : k - 1; k > 0; k--) { /* the last one was not added */
			uint64_t at = page_names(p, k - 1);

			if (at != DISK_NONE && p->level > 0)
				space_page_drop(sp, at);
			else if (at != DISK_NONE)
				space_chunk_drop(sp, at);
		}
		return rc;
	}
	space_page_drop(sp, p->address);
	p->address = DISK_NONE;
	p->birth = 0;
	cpage_set_dirty(p);
	return 0;
}

int leaf_own(struct leaf *l)
{
	struct cpage *path[MAP_DEPTH_MAX + 1];
	uint32_t n = 0;

	assert(l->page.pins > 0 && l->page.locked);
	for (struct cpage *p = &l->page; p != NULL; p = p->parent) {
		assert(n <= MAP_DEPTH_MAX);
		path[n++] = p;
	}
	while (n-- > 0) {
		int rc = page_is_shared(path[n]) ? page_copy(path[n]) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

int map_root_share(struct map *m, struct volume_root *ret)
{
	int rc = 0;

	assert(m->root_page == NULL || !m->root_page->dirty); /* M6 */
	if (m->root.address != DISK_NONE)
		rc = space_ref_add(m->cache->opts.space, m->root.address);
	if (rc == 0)
		map_root_get(m, ret);
	return rc;
}

/* --- giving a tree back --- */

/* The root's reference, when others have one, too: then nothing below is ours. */
static bool discard_root(struct map *m)
{
	struct space *sp = m->cache->opts.space;

	if (m->root_page != NULL || m->root.address == DISK_NONE)
		return false;
	if (space_refs(sp, m->root.address) <= 1)
		return false;
	space_page_drop(sp, m->root.address);
	m->root = (struct disk_inner_entry){.address = DISK_NONE};
	m->used_blocks = 0;
	return true;
}

/* Entry i of p, a private page: drop what others refer to; false: it is there and ours alone. */
static bool discard_entry(struct map *m, struct cpage *p, uint32_t i)
{
	struct disk_inner_entry *e = &inner_of(p)->entries[i];

	if (e->address == DISK_NONE)
		return true;
	if (space_refs(m->cache->opts.space, e->address) <= 1)
		return false;
	space_page_drop(m->cache->opts.space, e->address);
	m->used_blocks -= e->used < m->used_blocks ? e->used : m->used_blocks;
	e->address = DISK_NONE;
	cpage_set_dirty(p);
	return true;
}

int map_discard_next(struct map *m, struct leaf_load *load)
{
	struct cpage *p = m->root_page;

	if (discard_root(m) || (p == NULL && m->root.address == DISK_NONE) ||
	    !map_covers(m, load->leaf_no))
		return -ERR_NOT_FOUND;
	load->level = m->depth;
	if (p == NULL)
		return -ERR_AGAIN;
	while (p->level > 0) {
		uint32_t shift = (p->level - 1u) * MAP_FAN_SHIFT;
		uint32_t i = (uint32_t)(load->leaf_no >> shift) % MAP_FAN;
		struct cpage *child =
			cache_find(m->cache, m, p->level - 1u, load->leaf_no >> shift);

		load->level = p->level - 1u;
		if (child == NULL && !discard_entry(m, p, i))
			return -ERR_AGAIN;
		if (child == NULL) {
			load->leaf_no = ((load->leaf_no >> shift) + 1) << shift;
			if ((load->leaf_no >> shift) % MAP_FAN == 0)
				return 0; /* from the root again */
			continue;
		}
		p = child;
	}
	cpage_pin(p);
	leaf_clear(container_of(p, struct leaf, page));
	cpage_unpin(p);
	load->leaf_no++;
	return 0;
}

static struct disk_inner *inner_of(const struct cpage *p)
{
	assert_slow(p->level > 0);
	return (struct disk_inner *)(void *)p->image;
}

static bool map_covers(const struct map *m, uint64_t leaf_no)
{
	return leaf_no >> (m->depth * MAP_FAN_SHIFT) == 0;
}
