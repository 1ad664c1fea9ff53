/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold_batch.h: moves one window from journal to home, a bounded batch at a time.
 */
#ifndef TS_STORE_FOLD_BATCH_H
#define TS_STORE_FOLD_BATCH_H

#include "engine/base/op.h"

struct fold_batch;
struct index_item;
struct replica;
struct store;

MUST_CHECK int fold_batch_open(struct store *s, struct fold_batch **ret_batch);
void fold_batch_close(struct fold_batch **b);

/* Start on a window; items are borrowed until it ends, in the order of index_window. */
void fold_batch_begin(struct fold_batch *b, struct replica *r, const struct index_item *items,
		      uint32_t count);
bool fold_batch_more(const struct fold_batch *b); /* something of the window is left */
/* Do the next batch: read, write home, change leaves.  done: 0, -ERR_CORRUPT (journal or map),
 * -ERR_FULL, -ERR_NOMEM: nothing of this batch changed; -ERR_IO: a home write failed. */
void fold_batch_run(struct fold_batch *b, struct completion *done);

#endif
