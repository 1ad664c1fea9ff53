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
/*
 * Before the first change: pages of its path that other trees have, too, are copied, so that this tree
 * alone has the leaf.  Pinned and locked; not while a checkpoint is captured and not yet durable, unless
 * the leaf is private already.  0; -ERR_FULL (no room for pages), -ERR_NOMEM: no content has changed.
 */
MUST_CHECK int leaf_own(struct leaf *l);
bool leaf_is_private(const struct leaf *l);

/* Blocks of one entry on their way home (map_leaf.c). */
struct leaf_plan {
	uint64_t chunk; /* gets the dirty and the copied blocks, each at its own place */
	uint64_t from;	/* copied blocks are there now */
	uint64_t base;	/* of the entry afterwards, with the blocks `based` */
	uint16_t dirty, gone, copy, based;
	bool fresh; /* chunk is one that leaf_plan_take takes */
	bool adopt; /* chunk is one that a record names: all 16 blocks are there already */
};
/*
 * How blocks `dirty` (not empty) of entry i are stored, when blocks `gone` become zeroes or holes: in place,
 * or, where the chunk is shared, in a fresh one.  Changes nothing.  Then: take; read the copied blocks;
 * write; apply, which makes room in the entry, and leaf_put_home each dirty block, leaf_put_zero or
 * leaf_put_hole the others.  The leaf stays locked from plan to apply.
 */
void leaf_plan(const struct leaf *l, uint32_t i, uint16_t dirty, uint16_t gone,
	       struct leaf_plan *ret);
/* The entry takes over a chunk that a record names, with all its blocks: nothing is written. */
struct leaf_plan leaf_plan_adopt(uint64_t chunk);
MUST_CHECK int leaf_plan_take(const struct leaf *l, struct leaf_plan *p); /* -ERR_FULL */
void leaf_plan_give(const struct leaf *l, struct leaf_plan *p);		  /* it is not applied */
void leaf_plan_apply(struct leaf *l, uint32_t i, const struct leaf_plan *p);
/* Applying it drops references: not while a checkpoint is captured. */
bool leaf_plan_drops(const struct leaf *l, uint32_t i, const struct leaf_plan *p);
uint32_t leaf_crc(const struct leaf *l, uint32_t block); /* of a block in home */

bool leaf_block_is_set(const struct leaf *l, uint32_t block); /* in home, or zero */
void leaf_put_home(struct leaf *l, uint32_t block, uint32_t crc, struct lsn lsn);
void leaf_put_zero(struct leaf *l, uint32_t block, struct lsn lsn);
void leaf_put_hole(struct leaf *l, uint32_t block, struct lsn lsn);
/* Drop chunks without a wanted block.  Unless keep_zeroes (a staging tree: QUORUM J8), a leaf
 * that holds nothing else forgets its zeroes, too. */
void leaf_tidy(struct leaf *l, bool keep_zeroes);
/* Drop everything in it. */
void leaf_clear(struct leaf *l);

/* One reference more to the root, for a table that keeps *ret: the tree is shared from now on.  Only
 * when all of it is written out, and no checkpoint is captured: -ERR_NOMEM, -ERR_FULL. */
MUST_CHECK int map_root_share(struct map *m, struct volume_root *ret);

/*
 * Give a tree back that nobody else uses (no page pinned or dirty when it begins), a bit per call, from
 * leaf load->leaf_no on: what other trees refer to, too, is dropped and not walked.  0: go on;
 * -ERR_AGAIN: map_leaf_load first; -ERR_NOT_FOUND: nothing is left but what the next checkpoint drops.
 */
MUST_CHECK int map_discard_next(struct map *m, struct leaf_load *load);

/* The first leaf from leaf_no on that may have content, as far as pages in memory tell: maybe beyond the
 * end of the volume; leaf_no itself when it has some, or is not known to have none. */
uint64_t map_hole_end(const struct map *m, uint64_t leaf_no);

/* Children of page `index` of `level` (1..MAP_DEPTH_MAX), a bit each; see replica_page (map_page.c). */
struct map_page {
	uint64_t present, known, changed;
	uint64_t digests[MAP_FAN];
};
/* 0; -ERR_AGAIN: load that page (leaf_load.level) first. */
MUST_CHECK int map_page(const struct map *m, uint32_t level, uint64_t index, struct lsn since,
			struct map_page *ret);
struct lsn leaf_newest(const struct leaf *l, uint32_t i); /* written to entry i */

/* Is it a block of zeroes, whose checksum is crc? */
bool block_is_zeroes(const uint8_t *data, uint32_t crc);

/* Something of it is pinned: somebody reads it. */
bool map_is_pinned(const struct map *m);
bool map_is_dirty(const struct map *m); /* some page was changed and not written out: its root is older */
/* Every page of it leaves memory; -ERR_BUSY: somebody reads it; -ERR_AGAIN: some are not written out. */
MUST_CHECK int map_forget(struct map *m);

void map_load_continue(struct leaf_load *load); /* for map_cache.c */

#endif
