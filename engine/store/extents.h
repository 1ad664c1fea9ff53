/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/extents.h: from the extents of a WRITE record to entries of an index, for commit
 * (replica_commit.c) and for replay (past.c).  Only the store room includes it.
 */
#ifndef TS_STORE_EXTENTS_H
#define TS_STORE_EXTENTS_H

#include "engine/store/index.h"
#include "engine/store/journal.h"
#include "engine/store/replica.h"

/* How many blocks of each extent of a record lie in their volume. */
struct extents_clip {
	uint32_t count[RECORD_EXTENTS_MAX];
};

/* Blocks of e that lie in v; 0: none (v is NULL or deleted, e is beyond its end). */
uint32_t extent_clip(const struct record_extent *e, const struct replica_volume *v);
/* Entries that extents_index may need. */
uint64_t extents_need(const struct journal_uncommitted *u, const struct extents_clip *clip);
/* Put them in; there is room for extents_need. */
void extents_index(struct index *x, const struct journal_uncommitted *u,
		   const struct extents_clip *clip);

#endif
