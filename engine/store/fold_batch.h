/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold_batch.h: moves one window from journal to home, a bounded batch at a time.
 */
#ifndef TS_STORE_FOLD_BATCH_H
#define TS_STORE_FOLD_BATCH_H

#include "engine/base/op.h"

struct fold_batch;
struct index_item;
struct map;
struct replica;
struct store;

MUST_CHECK int fold_batch_open(struct store *s, struct fold_batch **ret_batch);
void fold_batch_close(struct fold_batch **b);

/* Start on a window; items are borrowed until it ends, in the order of index_window. */
void fold_batch_begin(struct fold_batch *b, struct replica *r, const struct index_item *items,
		      uint32_t count);
/* The same for trees that are not the replica's (past.c): maps has VOLUMES_MAX, by slot, NULL: no such volume. */
void fold_batch_begin_past(struct fold_batch *b, struct replica *r, struct map *const *maps,
			   const struct index_item *items, uint32_t count);
uint32_t fold_batch_done(const struct fold_batch *b); /* items of the window that need no more */
bool fold_batch_more(const struct fold_batch *b);     /* something of the window is left */
/* Do the next batch: read, write home, change leaves.  done: 0, -ERR_CORRUPT (journal or map),
 * -ERR_FULL, -ERR_NOMEM: nothing of this batch changed; -ERR_IO: a home write failed. */
void fold_batch_run(struct fold_batch *b, struct completion *done);

#endif
