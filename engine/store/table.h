/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/table.h: where the pages of a table under the checkpoint root lie, and reading them.
 * A table is a tree: leaf pages numbered from 0, index pages above until one is left.
 */
#ifndef TS_STORE_TABLE_H
#define TS_STORE_TABLE_H

#include "engine/port/disk.h"
#include "engine/port/env.h"
#include "engine/store/page_writer.h"
#include "engine/store/space.h"
#include "proto/store.h"

enum store_table {
	TABLE_SEGMENTS,
	TABLE_BITMAPS,
	TABLE_GROUPS,
	TABLE_VOLUMES,
	TABLE_REFS,
	TABLE_SNAPSHOTS,
	TABLE_SNAPSHOT_VOLUMES,
	TABLE_COUNT
};

struct table_page {
	struct disk_ref ref; /* address DISK_NONE: not written yet */
	uint64_t content;    /* of a leaf page: crc of what it said last */
	bool fresh;	     /* has its address of the checkpoint being built */
};

struct table {
	uint16_t kind;	 /* enum page_kind of the leaves */
	uint32_t levels; /* 0: no pages */
	uint32_t count[TABLE_LEVELS_MAX], max[TABLE_LEVELS_MAX];
	struct table_page *pages[TABLE_LEVELS_MAX];
};

void table_init(struct table *t, uint16_t kind);
void table_fini(struct table *t);

/* Make it `pages` leaf pages; pages that fall away are given back. -ERR_NOMEM, -ERR_FULL (too large). */
MUST_CHECK int table_resize(struct table *t, struct space *sp, uint32_t pages);
/* A fresh address for leaf page i and all index pages above, once per checkpoint. -ERR_FULL. */
MUST_CHECK int table_freshen(struct table *t, struct space *sp, uint32_t i);
/* Index page i of a level >= 1, from the refs below. */
void table_index_encode(const struct table *t, uint32_t level, uint32_t i,
			struct disk_table_index *ret);
/* The next fresh page at or after *i of the level; false: none. */
bool table_next_fresh(const struct table *t, uint32_t level, uint32_t *i);
/* Seal and put: sets ref.crc and clears fresh.  Only with room in w. */
void table_put(struct table *t, uint32_t level, uint32_t i, void *page, uint64_t seq,
	       const struct uuid *store, struct page_writer *w);
struct disk_table table_root(const struct table *t, uint32_t entries);

/* Read a table: every leaf page in order is given to leaf(), which answers 0 or an error. */
#define TABLE_LOADS 16u
struct table_load {
	struct completion done; /* 0, -ERR_IO, -ERR_CORRUPT, -ERR_NOMEM, or leaf()'s */
	struct env *env;
	struct disk *disk;
	struct table *table; /* initialised */
	struct uuid store;
	struct disk_table root;
	uint64_t disk_bytes;
	int (*leaf)(void *ctx, uint32_t i, const void *page);
	void *ctx;
	/* fields below are private */
	struct op op;
	struct disk_req reqs[TABLE_LOADS];
	uint8_t *pages; /* TABLE_LOADS */
	uint32_t level, next, batch;
	uint64_t bytes; /* read; may be looked at when done */
};
void table_load(struct table_load *l);
void table_load_abandon(struct table_load *l, bool abandoned);

#endif
