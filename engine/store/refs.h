/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/refs.h: a sparse table of counts: references beyond the first, by unit of a segment
 * (chunks of a HOME segment, pages of a META segment).  Kept by space; the check keeps its own.
 *
 * A slot covers 256 units and exists while one of them has a count, or lost one since the last
 * durable checkpoint.  Slots are entries of the table "refs" on disk.
 */
#ifndef TS_STORE_REFS_H
#define TS_STORE_REFS_H

#include "proto/store.h"

struct refs_slot;

struct refs {
	struct refs_slot *slots; /* malloced */
	uint8_t *dirty;		 /* one byte per table page */
	uint32_t *heads;	 /* hash chains of slots */
	uint32_t slot_count, slot_max, head_count, live_count;
	uint32_t free_from;    /* no free slot below */
	uint64_t shared_count; /* units with a count */
	bool dropped;	       /* some unit lost a reference since refs_durable */
};

void refs_init(struct refs *t);
void refs_fini(struct refs *t);
uint64_t refs_memory_bytes(const struct refs *t);

/* References of the unit beyond the first. */
uint32_t refs_extra(const struct refs *t, uint32_t segment, uint32_t unit);
/* One more. -ERR_NOMEM, -ERR_FULL (65535 already): nothing changed. */
MUST_CHECK int refs_add(struct refs *t, uint32_t segment, uint32_t unit);
/* One fewer; false: the unit has only its first. */
bool refs_drop(struct refs *t, uint32_t segment, uint32_t unit);
/* refs_drop took one since the last refs_durable: what is durable still counts it. */
bool refs_dropped(const struct refs *t, uint32_t segment, uint32_t unit);
/* The checkpoint that counts every drop so far is durable. */
void refs_durable(struct refs *t);
/* Units of this segment with a count. */
uint32_t refs_of_segment(const struct refs *t, uint32_t segment, uint32_t units);

/* The table: a page is clean once it is encoded. */
uint32_t refs_pages(const struct refs *t);
bool refs_page_dirty(const struct refs *t, uint32_t page);
void refs_encode(struct refs *t, uint32_t page, struct disk_refs *ret);
/* Slots of `page`, for segments below segment_count; -ERR_CORRUPT, -ERR_NOMEM. */
MUST_CHECK int refs_decode(struct refs *t, uint32_t page, const struct disk_refs *d,
			   uint32_t segment_count);
/* A slot for looking: false: entry i is not in use. counts: of 256 units from *ret_first on. */
bool refs_slot_at(const struct refs *t, uint32_t i, uint32_t *ret_segment, uint32_t *ret_first,
		  const uint16_t **ret_counts);

#endif
