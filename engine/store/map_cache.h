/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map_cache.h: the pages of all maps of a store in memory, within one budget, and the
 * reads that bring them in.  Only map.c, delta.c, fold.c, import.c and checkpoint.c include it.
 */
#ifndef TS_STORE_MAP_CACHE_H
#define TS_STORE_MAP_CACHE_H

#include "engine/port/disk.h"
#include "engine/port/env.h"
#include "engine/store/map.h"
#include "engine/store/page_writer.h"
#include "engine/store/space.h"
#include "proto/store.h"

#define CACHE_LOADS_MAX 32u

struct map_cache;

struct map_cache_opts {
	uint32_t mutant; /* enum store_mutant */
	struct env *env;
	struct disk *disk;
	struct space *space;
	struct uuid store;
	uint64_t disk_bytes; /* of the store's geometry */
	uint64_t memory_bytes;
};

enum cpage_list { ON_NONE, ON_FREE, ON_LRU, ON_DIRTY, ON_WRITING };

/* A page in memory. */
struct cpage {
	uint8_t *image; /* struct disk_leaf or disk_inner */
	struct map *map;
	struct cpage *parent; /* NULL: root of its map, or free */
	struct cpage *hash_next;
	struct list_link link;
	uint64_t index, address, birth; /* address DISK_NONE: not on disk */
	uint32_t children;		/* in memory */
	uint32_t pins;
	uint8_t level; /* 0: leaf */
	uint8_t on;    /* enum cpage_list */
	bool dirty, loading, locked;
};

/* struct leaf of map.h */
struct leaf {
	struct cpage page;
};

struct cache_load; /* one read in flight */

struct map_cache {
	/* read-only outside map_cache.c, but for `seq` and `staging_writes` */
	struct map_cache_opts opts;
	uint64_t seq; /* of the checkpoint being built: birth of new pages */
	uint64_t next_map_id;
	struct leaf *pages;
	uint8_t *arena;
	uint32_t page_count, dirty_count;
	struct cpage **hash;
	uint32_t hash_size; /* power of two */
	bool closing;	    /* all maps go; nothing is asserted about pins any more */
	struct list free, lru, writing, dirty[MAP_DEPTH_MAX + 1];
	struct cache_load *loads;
	struct list load_queue; /* leaf_load.link: waiting for a load slot */
	struct op **unlock_waiters;
	uint32_t unlock_waiter_count, unlock_waiter_max;
};

/* A tree being given back after its volume or replica went; in the store's list of ghosts. */
struct ghost {
	struct list_link link;
	struct map *map;
	uint64_t next;	/* leaf to look at */
	uint64_t after; /* checkpoint that must be durable before the first drop (G1 in fold.c) */
	bool begun;	/* nobody reads it any more, nothing of it is in memory but by the walk */
	bool cleared;	/* all leaves were; a checkpoint drops its pages */
	bool stuck;	/* a page of it cannot be read */
};

struct map {
	struct map_cache *cache;
	struct store *store; /* NULL in tests of the map alone */
	struct ghost ghost;
	uint64_t id;
	uint64_t bytes;
	uint32_t depth; /* inner levels; 0: the root is a leaf */
	uint32_t pages; /* in memory */
	uint32_t loads; /* leaf_loads that have not fired */
	struct cpage *root_page;
	struct disk_inner_entry root; /* as of the last write-out */
	uint64_t used_blocks;
};

MUST_CHECK int map_cache_open(const struct map_cache_opts *opts, struct map_cache **ret_cache);
void map_cache_close(struct map_cache **c, bool abandoned);

/* A page in memory (maybe still loading), or NULL. */
struct cpage *cache_find(const struct map_cache *c, const struct map *m, uint32_t level,
			 uint64_t index);
/* A new page, zero-filled, clean, pinned once, child of parent (NULL: root).  NULL: all pinned. */
struct cpage *cache_create(struct map_cache *c, struct map *m, struct cpage *parent, uint32_t level,
			   uint64_t index);
void cache_forget(struct map_cache *c, struct cpage *p);   /* clean, unpinned, childless */
void cache_forget_map(struct map_cache *c, struct map *m); /* every page of it, dirty or not */
void cpage_pin(struct cpage *p);
void cpage_unpin(struct cpage *p);
void cpage_set_dirty(struct cpage *p);
/* Read page (level, index), named by ref, for `load`, which goes on when it is there. */
void cache_read(struct map_cache *c, struct map *m, struct cpage *parent, uint32_t level,
		uint64_t index, const struct disk_ref *ref, struct leaf_load *load);

/* Locks: one who changes a leaf over several steps.  The op is woken at the next unlock. */
bool leaf_lock(struct leaf *l); /* false: someone has it */
void leaf_unlock(struct leaf *l);
void leaf_lock_wait(struct map_cache *c, struct op *op);
void leaf_lock_forget(struct map_cache *c, struct op *op);

/* --- write-out, by checkpoint.c --- */
struct cpage *cache_dirty_first(struct map_cache *c, uint32_t level);
/* Give p its place under c->seq and put it into w; an empty page is dropped instead.  0; -ERR_FULL.
 * Only with room in w; p is pinned until cache_written. */
MUST_CHECK int cache_write_page(struct map_cache *c, struct cpage *p, struct page_writer *w);
void cache_written(struct map_cache *c); /* all that was put has reached the disk */

#endif
