/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map_cache.c
 * Purpose.     Map pages in memory within a budget: found by (map, level, index), least recently used
 *              ones forgotten, dirty ones kept until written.
 * Invariants.  C1  The parent of a page in memory is in memory (`children` keeps it).
 *              C2  A page is forgotten only when clean, unpinned and childless: then it is on disk under
 *                  the address its parent's entry holds, or empty.
 *              C3  A page is in one list: free, lru, dirty of its level, writing, or none (pinned,
 *                  loading, or with children).
 *              C4  A page whose write is in flight is pinned: nobody reads it from the disk meanwhile.
 *              C5  One read per page is in flight; whoever else needs it waits for the same read.
 * Ownership.   Pages and images are one arena, taken at open.  leaf_loads are borrowed until they fire.
 * Failure.     A page that does not check out is -ERR_CORRUPT for all who wait for it; never served.
 */
#include "engine/store/map_cache.h"

#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/map_edit.h"

#define PAGES_MIN 256u
#define UNLOCK_WAITERS_STEP 32u

struct cache_load {
	struct op op;
	struct disk_req req;
	struct map_cache *cache;
	struct cpage *page; /* NULL: slot is free */
	struct disk_ref ref;
	struct list waiters; /* leaf_load.link */
};

static void load_step(struct op *op);
static bool load_slot_is_free(const struct map_cache *c);
static void cpage_settle(struct cpage *p);
static void cpage_unlist(struct cpage *p);
static uint32_t hash_of(const struct map_cache *c, const struct map *m, uint32_t level,
			uint64_t index);
static void hash_remove(struct map_cache *c, struct cpage *p);

int map_cache_open(const struct map_cache_opts *opts, struct map_cache **ret_cache)
{
	struct map_cache *c = calloc(1, sizeof(*c));
	uint64_t count =
		opts->memory_bytes / (PAGE_BYTES + sizeof(struct leaf) + 2 * sizeof(void *));

	if (c == NULL)
		return -ERR_NOMEM;
	count = count < PAGES_MIN ? PAGES_MIN : count;
	count = count > 1u << 26 ? 1u << 26 : count;
	c->opts = *opts;
	c->seq = 1;
	c->page_count = (uint32_t)count;
	c->hash_size = 1;
	while (c->hash_size < c->page_count)
		c->hash_size *= 2;
	c->arena = aligned_alloc(PAGE_BYTES, count * PAGE_BYTES);
	c->pages = calloc(count, sizeof(*c->pages));
	c->hash = calloc(c->hash_size, sizeof(struct cpage *));
	c->loads = calloc(CACHE_LOADS_MAX, sizeof(*c->loads));
	if (c->arena == NULL || c->pages == NULL || c->hash == NULL || c->loads == NULL) {
		map_cache_close(&c, true);
		return -ERR_NOMEM;
	}
	list_init(&c->free);
	list_init(&c->lru);
	list_init(&c->writing);
	list_init(&c->load_queue);
	for (uint32_t i = 0; i <= MAP_DEPTH_MAX; i++)
		list_init(&c->dirty[i]);
	for (uint32_t i = 0; i < CACHE_LOADS_MAX; i++) {
		op_init(&c->loads[i].op, opts->env->ready, load_step);
		c->loads[i].cache = c;
		list_init(&c->loads[i].waiters);
	}
	for (uint32_t i = 0; i < c->page_count; i++) {
		struct cpage *p = &c->pages[i].page;

		p->image = c->arena + (uint64_t)i * PAGE_BYTES;
		p->on = ON_FREE;
		list_push_back(&c->free, &p->link);
	}
	*ret_cache = c;
	return 0;
}

void map_cache_close(struct map_cache **cp, bool abandoned)
{
	struct map_cache *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	for (uint32_t i = 0; i < CACHE_LOADS_MAX && !abandoned; i++)
		op_unqueue(&c->loads[i].op);
	free(c->arena);
	free(c->pages);
	free(c->hash);
	free(c->loads);
	free(c->unlock_waiters);
	free(c);
}

struct cpage *cache_find(const struct map_cache *c, const struct map *m, uint32_t level,
			 uint64_t index)
{
	struct cpage *p = c->hash[hash_of(c, m, level, index)];

	while (p != NULL && (p->map != m || p->level != level || p->index != index))
		p = p->hash_next;
	return p;
}

struct cpage *cache_create(struct map_cache *c, struct map *m, struct cpage *parent, uint32_t level,
			   uint64_t index)
{
	struct list_link *link = list_first(&c->free);
	uint32_t h = hash_of(c, m, level, index);
	struct cpage *p;

	if (link == NULL) {
		if (parent != NULL)
			cpage_pin(
				parent); /* neither the victim, nor forgotten with its last child */
		link = list_first(&c->lru);
		if (link != NULL)
			cache_forget(c, container_of(link, struct cpage, link));
		if (parent != NULL)
			cpage_unpin(parent);
		link = list_first(&c->free);
		if (link == NULL)
			return NULL;
	}
	p = container_of(link, struct cpage, link);
	cpage_unlist(p);
	memset(p->image, 0, PAGE_BYTES);
	p->map = m;
	p->parent = parent;
	p->level = (uint8_t)level;
	p->index = index;
	p->address = DISK_NONE;
	p->birth = 0;
	p->children = 0;
	p->pins = 1;
	p->dirty = p->loading = p->locked = false;
	p->hash_next = c->hash[h];
	c->hash[h] = p;
	m->pages++;
	if (parent != NULL) {
		parent->children++; /* C1 */
		cpage_settle(parent);
	} else {
		m->root_page = p;
	}
	return p;
}

void cache_forget(struct map_cache *c, struct cpage *p)
{
	struct cpage *parent = p->parent;

	assert(!p->dirty && p->pins == 0 && p->children == 0); /* C2 */
	cpage_unlist(p);
	hash_remove(c, p);
	p->map->pages--;
	if (p->map->root_page == p)
		p->map->root_page = NULL;
	p->map = NULL;
	p->parent = NULL;
	p->on = ON_FREE;
	list_push_front(&c->free, &p->link);
	if (parent != NULL) {
		assert(parent->children > 0);
		parent->children--;
		cpage_settle(parent);
	}
}

void cache_forget_map(struct map_cache *c, struct map *m)
{
	for (uint32_t i = 0; i < c->page_count && m->pages > 0; i++) {
		struct cpage *p = &c->pages[i].page;

		if (p->map != m)
			continue;
		assert(c->closing || (p->pins == 0 && !p->loading));
		cpage_unlist(p);
		c->dirty_count -= p->dirty;
		hash_remove(c, p);
		m->pages--;
		p->dirty = false;
		p->map = NULL;
		p->parent = NULL;
		p->on = ON_FREE;
		list_push_front(&c->free, &p->link);
	}
	m->root_page = NULL;
}

void cpage_pin(struct cpage *p)
{
	p->pins++;
	cpage_settle(p);
}

void cpage_unpin(struct cpage *p)
{
	assert(p->pins > 0);
	p->pins--;
	cpage_settle(p);
}

void cpage_set_dirty(struct cpage *p)
{
	if (p->dirty)
		return;
	p->dirty = true;
	p->map->cache->dirty_count++;
	if (p->on != ON_WRITING)
		cpage_settle(p);
}

void cache_read(struct map_cache *c, struct map *m, struct cpage *parent, uint32_t level,
		uint64_t index, const struct disk_ref *ref, struct leaf_load *load)
{
	struct cpage *p = cache_find(c, m, level, index);
	struct cache_load *slot = NULL;

	for (uint32_t i = 0; i < CACHE_LOADS_MAX && slot == NULL; i++) {
		struct cache_load *at = &c->loads[i];

		if (p != NULL ? at->page == p : at->page == NULL)
			slot = at;
	}
	if (p != NULL) {
		assert(p->loading && slot != NULL); /* C5 */
		list_push_back(&slot->waiters, &load->link);
		return;
	}
	if (slot == NULL) {
		list_push_back(&c->load_queue, &load->link);
		return;
	}
	p = cache_create(c, m, parent, level, index);
	if (p == NULL) {
		m->loads--;
		completion_fire(&load->done, -ERR_NOMEM);
		return;
	}
	p->loading = true;
	p->address = ref->address;
	slot->page = p;
	slot->ref = *ref;
	list_push_back(&slot->waiters, &load->link);
	completion_arm(&slot->req.done, &slot->op, 1);
	disk_io(c->opts.disk, &slot->req, DISK_READ, 0, ref->address, p->image, PAGE_BYTES);
}

static int load_check(struct cache_load *slot)
{
	const struct map_cache *c = slot->cache;
	const struct cpage *p = slot->page;
	struct page_name name = {.address = slot->ref.address,
				 .crc = slot->ref.crc,
				 .kind = p->level == 0 ? PAGE_LEAF : PAGE_INNER,
				 .level = p->level,
				 .index = p->index};
	int rc = slot->req.done.rc;

	if (rc == 0)
		rc = page_check(p->image, &name, &c->opts.store);
	if (rc == 0)
		rc = p->level == 0 ? leaf_check((const struct disk_leaf *)(const void *)p->image,
						c->opts.disk_bytes)
				   : inner_check((const struct disk_inner *)(const void *)p->image,
						 c->opts.disk_bytes);
	if (rc < 0) {
		counter_add(c->opts.env->counters, CTR_CHECKSUM_MAP, 1);
		log_error(c->opts.env->log, "store", "map page at %llu of %s: %s",
			  (unsigned long long)slot->ref.address, c->opts.disk->name, err_text(rc));
	}
	return rc;
}

static void load_step(struct op *op)
{
	struct cache_load *slot = container_of(op, struct cache_load, op);
	struct map_cache *c = slot->cache;
	struct cpage *p = slot->page;
	struct list_link *link;
	struct list waiters;
	int rc;

	if (op->waits != 0 || p == NULL)
		return; /* wait: the page */
	rc = load_check(slot);
	slot->page = NULL;
	list_init(&waiters); /* who continues may take this very slot for the next level */
	while ((link = list_pop_front(&slot->waiters)) != NULL)
		list_push_back(&waiters, link);
	p->loading = false;
	p->birth = ((const struct disk_page *)(const void *)p->image)->birth;
	if (rc < 0) {
		cpage_unpin(p);
		cache_forget(c, p);
		while ((link = list_pop_front(&waiters)) != NULL) {
			struct leaf_load *load = container_of(link, struct leaf_load, link);

			((struct map *)load->private[0])->loads--;
			completion_fire(&load->done, rc);
		}
	} else {
		while ((link = list_pop_front(&waiters)) != NULL)
			map_load_continue(container_of(link, struct leaf_load, link));
		cpage_unpin(p);
	}
	/* A waiter may have taken a slot again; the queue gets what is left. */
	while (load_slot_is_free(c) && (link = list_pop_front(&c->load_queue)) != NULL)
		map_load_continue(container_of(link, struct leaf_load, link));
}

static bool load_slot_is_free(const struct map_cache *c)
{
	for (uint32_t i = 0; i < CACHE_LOADS_MAX; i++)
		if (c->loads[i].page == NULL)
			return true;
	return false;
}

/* --- locks --- */

bool leaf_lock(struct leaf *l)
{
	if (l->page.locked)
		return false;
	assert(l->page.pins > 0);
	l->page.locked = true;
	return true;
}

void leaf_unlock(struct leaf *l)
{
	struct map_cache *c = l->page.map->cache;
	uint32_t n = c->unlock_waiter_count;

	assert(l->page.locked);
	l->page.locked = false;
	c->unlock_waiter_count = 0;
	for (uint32_t i = 0; i < n; i++)
		op_wake(c->unlock_waiters[i]);
}

void leaf_lock_wait(struct map_cache *c, struct op *op)
{
	for (uint32_t i = 0; i < c->unlock_waiter_count; i++)
		if (c->unlock_waiters[i] == op)
			return;
	if (c->unlock_waiter_count == c->unlock_waiter_max) {
		uint32_t max = c->unlock_waiter_max + UNLOCK_WAITERS_STEP;
		struct op **more = realloc(c->unlock_waiters, max * sizeof(struct op *));

		assert(more != NULL); /* a few hundred bytes */
		c->unlock_waiters = more;
		c->unlock_waiter_max = max;
	}
	c->unlock_waiters[c->unlock_waiter_count++] = op;
}

void leaf_lock_forget(struct map_cache *c, struct op *op)
{
	for (uint32_t i = 0; i < c->unlock_waiter_count; i++)
		if (c->unlock_waiters[i] == op)
			c->unlock_waiters[i--] = c->unlock_waiters[--c->unlock_waiter_count];
}

/* --- write-out --- */

struct cpage *cache_dirty_first(struct map_cache *c, uint32_t level)
{
	struct list_link *link = list_first(&c->dirty[level]);

	return link == NULL ? NULL : container_of(link, struct cpage, link);
}

static bool page_is_empty(const struct cpage *p)
{
	if (p->level == 0) {
		const struct disk_leaf *l = (const void *)p->image;

		for (uint32_t i = 0; i < LEAF_CHUNKS; i++)
			if (l->chunks[i].chunk != DISK_NONE || l->chunks[i].zero != 0)
				return false;
		return true;
	}
	for (uint32_t i = 0; i < MAP_FAN; i++)
		if (((const struct disk_inner *)(const void *)p->image)->entries[i].address !=
		    DISK_NONE)
			return false;
	return true;
}

int cache_write_page(struct map_cache *c, struct cpage *p, struct page_writer *w)
{
	struct disk_inner_entry entry = {.address = DISK_NONE};
	uint64_t at = p->address;
	int rc;

	assert(p->dirty && !p->loading && page_writer_room(w));
	assert_slow(at == DISK_NONE || space_refs(c->opts.space, at) == 1); /* M6 */
	if (p->level == 0)
		leaf_summary((const struct disk_leaf *)(const void *)p->image, &entry);
	else
		inner_summary((const struct disk_inner *)(const void *)p->image, &entry);
	if (page_is_empty(p)) {
		if (at != DISK_NONE)
			space_page_drop(c->opts.space, at);
		p->address = DISK_NONE;
	} else {
		struct page_name name = {.kind = p->level == 0 ? PAGE_LEAF : PAGE_INNER,
					 .level = p->level,
					 .index = p->index};

		if (at == DISK_NONE || p->birth != c->seq) {
			uint64_t fresh;

			rc = space_page_take(c->opts.space, &fresh);
			if (rc < 0)
				return rc;
			if (at != DISK_NONE)
				space_page_drop(c->opts.space, at);
			p->address = fresh;
			p->birth = c->seq;
		} /* else nothing durable refers to it yet: written again in its place */
		name.address = p->address;
		entry.crc = page_seal(p->image, &name, p->birth, &c->opts.store);
		entry.address = p->address;
		entry.birth = p->birth;
		page_writer_put(w, p->address, p->image);
	}
	p->dirty = false;
	c->dirty_count--;
	cpage_unlist(p);
	p->pins++; /* C4 */
	p->on = ON_WRITING;
	list_push_back(&c->writing, &p->link);
	if (p->parent != NULL) {
		((struct disk_inner *)(void *)p->parent->image)->entries[p->index % MAP_FAN] =
			entry;
		cpage_set_dirty(p->parent);
	} else {
		p->map->root = entry;
	}
	return 0;
}

void cache_written(struct map_cache *c)
{
	struct list_link *link;

	while ((link = list_pop_front(&c->writing)) != NULL) {
		struct cpage *p = container_of(link, struct cpage, link);

		p->on = ON_NONE;
		cpage_unpin(p);
	}
}

/* --- helpers --- */

static void cpage_unlist(struct cpage *p)
{
	if (p->on != ON_NONE)
		list_remove(&p->link);
	p->on = ON_NONE;
}

/* Put p into the list it belongs to.  C3. */
static void cpage_settle(struct cpage *p)
{
	struct map_cache *c = p->map->cache;

	if (p->on == ON_WRITING)
		return;
	if (p->dirty) {
		if (p->on == ON_DIRTY)
			return;
		cpage_unlist(p);
		p->on = ON_DIRTY;
		list_push_back(&c->dirty[p->level], &p->link);
		return;
	}
	cpage_unlist(p);
	if (p->pins != 0 || p->children != 0 || p->loading)
		return;
	p->on = ON_LRU;
	list_push_back(&c->lru, &p->link);
}

static uint32_t hash_of(const struct map_cache *c, const struct map *m, uint32_t level,
			uint64_t index)
{
	uint64_t x = m->id * 0x9e3779b97f4a7c15ull ^ (index + 1) * 0xbf58476d1ce4e5b9ull ^
		     (uint64_t)level * 0x94d049bb133111ebull;

	x ^= x >> 31;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	return (uint32_t)x & (c->hash_size - 1);
}

static void hash_remove(struct map_cache *c, struct cpage *p)
{
	struct cpage **at = &c->hash[hash_of(c, p->map, p->level, p->index)];

	while (*at != p)
		at = &(*at)->hash_next;
	*at = p->hash_next;
	p->hash_next = NULL;
}
