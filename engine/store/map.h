/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map.h: the radix tree of one volume: where home keeps each block, and its checksum.
 *
 * Leaves are cached within a budget shared by all maps of a store; a dirty leaf is pinned until the
 * checkpoint that writes it.  Lookups never wait: a leaf that is not in memory is -ERR_AGAIN, and a
 * leaf_load fetches it.
 *
 * Fold overwrites unshared chunks in place, so a reader whose checksum fails looks the block up again
 * (index first) and retries once before it reports: the block may have been folded anew meanwhile.
 */
#ifndef TS_STORE_MAP_H
#define TS_STORE_MAP_H

#include "engine/base/op.h"
#include "engine/base/types.h"

struct map;
struct leaf;

enum block_place_kind {
	PLACE_HOLE, /* never written or discarded: reads as zeroes */
	PLACE_ZERO, /* written as zeroes */
	PLACE_HOME, /* at off, with crc */
};

struct block_place {
	enum block_place_kind kind;
	uint32_t crc;
	uint64_t off; /* byte offset on disk */
};

/* The leaf `leaf_no` (volume offset / 2 MiB), pinned.  0; -ERR_AGAIN (load it); *ret_leaf is NULL
 * with 0 when the whole leaf is a hole. */
MUST_CHECK int map_leaf_get(struct map *m, uint64_t leaf_no, struct leaf **ret_leaf);
void leaf_unpin(struct leaf *l);
struct block_place leaf_place(const struct leaf *l, uint32_t block_in_leaf);

struct leaf_load {
	struct completion done; /* 0, -ERR_IO, -ERR_CORRUPT, -ERR_NOMEM (all pinned: retry later) */
	uint64_t leaf_no;
	uint32_t level;	       /* of the page on the way to the leaf that is wanted; 0: the leaf */
	struct list_link link; /* private */
	void *private[8];
};
void map_leaf_load(struct map *m, struct leaf_load *load); /* fires even if the leaf is a hole */

uint64_t map_used_bytes(const struct map *m);

#endif
