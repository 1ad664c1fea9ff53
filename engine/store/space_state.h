/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space_state.h: the fields of struct space, for space.c and space_refs.c.
 */
#ifndef TS_STORE_SPACE_STATE_H
#define TS_STORE_SPACE_STATE_H

#include "engine/base/assert.h"
#include "engine/store/refs.h"
#include "engine/store/space_tables.h"

#define CHUNK_WORDS 4u
#define PAGE_WORDS 64u
#define SLOT_NONE UINT32_MAX

_Static_assert(SEGMENT_BYTES_MAX / CHUNK_BYTES <= CHUNK_WORDS * 64, "bitmap of a HOME segment");
_Static_assert(SEGMENT_BYTES_MAX / PAGE_BYTES <= PAGE_WORDS * 64, "bitmap of a META segment");

struct segment {
	uint8_t kind;
	bool given;   /* JOURNAL: free when checkpoint give_seq is durable */
	bool claimed; /* JOURNAL, recovery: some journal marked it */
	bool freed;   /* HOME, META: something was given since the last capture */
	bool late;    /* HOME: a name was let go between capture and durable */
	uint32_t used;
	uint32_t named; /* HOME: chunks that records name */
	uint32_t slot;	/* META */
	uint64_t give_seq;
	uint64_t chunks[CHUNK_WORDS], chunks_busy[CHUNK_WORDS], chunks_named[CHUNK_WORDS];
};

struct meta_slot {
	uint32_t segment; /* SEGMENT_NONE: slot not in use */
	uint64_t used[PAGE_WORDS], busy[PAGE_WORDS];
};

struct space {
	uint64_t bytes, segment_bytes; /* bytes: when formatted */
	uint64_t grown_bytes;	       /* of the disk; 0: as formatted */
	uint32_t segment_count, chunks_per_segment, pages_per_segment;
	struct segment *segments;
	uint8_t *segments_dirty, *segments_freed; /* one byte per table page */

	struct meta_slot *slots;
	uint8_t *slots_dirty; /* one byte per table page */
	uint32_t slot_count, slot_max;

	uint32_t free_count, super_count, journal_count, journal_given, home_count, meta_count;
	uint64_t chunks_used, chunks_busy, pages_used, pages_busy;
	uint32_t free_from, home_from, meta_from; /* nothing takeable below */

	uint32_t fresh_count; /* free segments that the disk has grown by: S5 */
	uint32_t share_segments, share_percent, replicas;
	uint64_t seq; /* checkpoint that the next capture belongs to */
	bool captured, recovering;

	struct refs refs; /* references beyond the first of chunks and pages */

	struct op **watchers;
	uint32_t watcher_count, watcher_max;
};

/* space.c: a chunk that may be taken; the caller marks it. */
MUST_CHECK int space_chunk_find(struct space *sp, uint32_t *ret_segment, uint32_t *ret_bit);

static inline bool bit_get(const uint64_t *words, uint32_t bit)
{
	return (words[bit / 64] >> (bit % 64) & 1) != 0;
}

static inline void bit_set(uint64_t *words, uint32_t bit)
{
	words[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static inline void bit_clear(uint64_t *words, uint32_t bit)
{
	words[bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

#endif
