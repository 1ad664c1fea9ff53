/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/map_edit.h: how fold, import and discard change a map.  Whoever changes a leaf over
 * several steps locks it (map_cache.h) from the first look to the last change.
 */
#ifndef TS_STORE_MAP_EDIT_H
#define TS_STORE_MAP_EDIT_H

#include "engine/store/checkpoint.h"
#include "engine/store/map.h"
#include "proto/store.h"

struct map_cache;

MUST_CHECK int map_create(struct map_cache *c, const struct volume_root *root,
			  struct map **ret_map);
void map_destroy(struct map **m);	/* memory only; nothing pinned or loading */
bool map_is_quiet(const struct map *m); /* no load in flight */

/* The leaf, pinned, made if it is a hole.  -ERR_AGAIN: load it first; -ERR_NOMEM: all pinned. */
MUST_CHECK int map_leaf_edit(struct map *m, uint64_t leaf_no, struct leaf **ret_leaf);

/* Room for chunk i of the leaf, if it has none. -ERR_FULL. */
MUST_CHECK int leaf_chunk_take(struct leaf *l, uint32_t i);
uint64_t leaf_chunk_off(const struct leaf *l, uint32_t i);    /* CHUNK_NONE: none */
bool leaf_block_is_set(const struct leaf *l, uint32_t block); /* valid or zero */
void leaf_put_home(struct leaf *l, uint32_t block, uint32_t crc, struct lsn lsn);
void leaf_put_zero(struct leaf *l, uint32_t block, struct lsn lsn);
void leaf_put_hole(struct leaf *l, uint32_t block, struct lsn lsn);
/* Give back chunks without a valid block.  Unless keep_zeroes (a staging tree: QUORUM J8), a leaf
 * that holds nothing else forgets its zeroes, too. */
void leaf_tidy(struct leaf *l, bool keep_zeroes);
/* Give back everything in it. */
void leaf_clear(struct leaf *l);

/* First leaf at or after *leaf_no that is on disk or changed: 0; -ERR_NOT_FOUND: none;
 * -ERR_AGAIN: load *leaf_no (changed) first. */
MUST_CHECK int map_next_leaf(struct map *m, uint64_t *leaf_no);

/* Something of it is pinned: somebody reads it. */
bool map_is_pinned(const struct map *m);

void map_load_continue(struct leaf_load *load); /* for map_cache.c */

#endif
