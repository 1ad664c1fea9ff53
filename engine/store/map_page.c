/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map_page.c
 * Purpose.     One inner page of a map as a list of children, for comparing it with another site's.
 * Invariants.  MP1 What is in memory counts more than the parent's entry (map.c M1): a child whose page, or
 *                  any page below it, has changed since it was written out has no digest.
 *              MP2 Above the root of a lower tree are pages that hold only it, as their child 0.
 * Limits.      Looks at every dirty page of the cache once per page asked for.
 */
#include "engine/base/err.h"
#include "engine/store/map_cache.h"
#include "engine/store/map_edit.h"

static struct disk_inner *inner_of(const struct cpage *p)
{
	return (struct disk_inner *)(void *)p->image;
}

/* The page (level, index), or NULL: nothing is there; -ERR_AGAIN: load it. */
static int page_find(const struct map *m, uint32_t level, uint64_t index, struct cpage **ret)
{
	struct cpage *p = m->root_page;

	*ret = NULL;
	if (index >> (m->depth - level) * MAP_FAN_SHIFT != 0)
		return 0;
	if (p == NULL)
		return m->root.address == DISK_NONE ? 0 : -ERR_AGAIN;
	for (uint32_t at = m->depth; at > level; at--) {
		uint64_t below = index >> (at - 1 - level) * MAP_FAN_SHIFT;
		struct cpage *child;

		if (p->loading)
			return -ERR_AGAIN;
		child = cache_find(m->cache, m, at - 1, below);
		if (child == NULL)
			return inner_of(p)->entries[below % MAP_FAN].address == DISK_NONE
				       ? 0
				       : -ERR_AGAIN;
		p = child;
	}
	if (p->loading)
		return -ERR_AGAIN;
	*ret = p;
	return 0;
}

static uint64_t list_dirty(const struct map *m, struct list *pages, uint32_t level, uint64_t index)
{
	uint64_t mask = 0;

	LIST_FOR_EACH(link, pages) {
		const struct cpage *p = container_of(link, struct cpage, link);
		uint32_t below = (level - p->level) * MAP_FAN_SHIFT;

		if (p->map != m || !p->dirty || p->level >= level || p->index >> below != index)
			continue;
		mask |= 1ull << (p->index >> (below - MAP_FAN_SHIFT)) % MAP_FAN;
	}
	return mask;
}

/* Children with a page below them, or their own, that differs from the disk.  MP1 */
static uint64_t dirty_below(const struct map *m, uint32_t level, uint64_t index)
{
	struct map_cache *c = m->cache;
	uint64_t mask = list_dirty(m, &c->writing, level, index);

	for (uint32_t at = 0; at < level; at++)
		mask |= list_dirty(m, &c->dirty[at], level, index);
	return mask;
}

int map_page(const struct map *m, uint32_t level, uint64_t index, struct lsn since,
	     struct map_page *ret)
{
	struct cpage *p;
	uint64_t dirty;
	int rc;

	assert(level > 0 && level <= MAP_DEPTH_MAX);
	*ret = (struct map_page){0};
	if (level > m->depth) { /* MP2 */
		bool any = m->root_page != NULL || m->root.address != DISK_NONE;

		ret->present = ret->changed = index == 0 && any ? 1 : 0;
		return 0;
	}
	rc = page_find(m, level, index, &p);
	if (rc < 0 || p == NULL)
		return rc;
	dirty = dirty_below(m, level, index);
	for (uint32_t i = 0; i < MAP_FAN; i++) {
		const struct disk_inner_entry *e = &inner_of(p)->entries[i];
		uint64_t bit = 1ull << i;

		if ((dirty & bit) != 0) {
			ret->present |= bit;
			ret->changed |= bit;
			continue;
		}
		if (e->newest >= since.v && (e->address != DISK_NONE || e->newest != 0))
			ret->changed |= bit;
		if (e->address == DISK_NONE)
			continue;
		ret->present |= bit;
		ret->known |= bit;
		ret->digests[i] = e->digest;
	}
	return 0;
}
