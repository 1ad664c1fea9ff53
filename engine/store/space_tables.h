/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space_tables.h: the side of space that checkpoint, open and check use: the tables as
 * pages, and the moments of a checkpoint.
 */
#ifndef TS_STORE_SPACE_TABLES_H
#define TS_STORE_SPACE_TABLES_H

#include "engine/store/space.h"
#include "proto/store.h"

/* All segments free, but for those under superblock regions. -ERR_NOMEM, -ERR_INVALID. */
MUST_CHECK int space_open(uint64_t bytes, uint64_t segment_bytes, struct space **ret_space);
void space_close(struct space **sp);
/* The disk has `bytes` now: more segments, takeable when the next checkpoint is durable (or, at open,
 * after space_grown).  Not between capture and durable.  -ERR_INVALID (no whole segment more), -ERR_NOMEM. */
MUST_CHECK int space_grow(struct space *sp, uint64_t bytes);
void space_grown(struct space *sp);
uint64_t space_grown_bytes(const struct space *sp); /* 0: as formatted */

uint32_t space_segment_count(const struct space *sp);
uint64_t space_memory_bytes(const struct space *sp);
void space_set_share(struct space *sp, uint32_t journal_percent);
void space_set_replicas(struct space *sp, uint32_t count); /* three segments each are guaranteed */

/* --- loading --- */
void space_recovery_begin(struct space *sp);
void space_recovery_end(struct space *sp); /* JOURNAL segments that nobody marked become free */
MUST_CHECK int space_segments_decode(struct space *sp, uint32_t page,
				     const struct disk_segments *d);
MUST_CHECK int space_bitmaps_decode(struct space *sp, uint32_t page, const struct disk_bitmaps *d);
MUST_CHECK int space_refs_decode(struct space *sp, uint32_t page, const struct disk_refs *d);
MUST_CHECK int space_decoded(struct space *sp); /* the tables fit together: 0, -ERR_CORRUPT */
MUST_CHECK int space_refs_decoded(const struct space *sp); /* part of it */

/* --- checkpoint --- */
uint32_t space_segments_pages(const struct space *sp);
uint32_t space_bitmaps_pages(const struct space *sp); /* grows while pages are taken */
bool space_segments_dirty(const struct space *sp, uint32_t page);
bool space_bitmaps_dirty(const struct space *sp, uint32_t page);
void space_segments_encode(struct space *sp, uint32_t page,
			   struct disk_segments *ret); /* now clean */
void space_bitmaps_encode(struct space *sp, uint32_t page, struct disk_bitmaps *ret);
uint32_t space_refs_pages(const struct space *sp);
bool space_refs_dirty(const struct space *sp, uint32_t page);
void space_refs_encode(struct space *sp, uint32_t page, struct disk_refs *ret);
/* Encoding is over: what is given from now on belongs to the checkpoint after it.  No chunk or page
 * may be given until it is durable. */
void space_captured(struct space *sp);
void space_durable(struct space *sp); /* what was given before the capture can be taken again */

/* --- looking --- */
enum segment_kind space_segment_kind(const struct space *sp, uint32_t segment);
uint32_t space_segment_used(const struct space *sp, uint32_t segment);	 /* chunks or pages */
uint32_t space_segment_shared(const struct space *sp, uint32_t segment); /* those with references */
bool space_chunk_is_used(const struct space *sp, uint64_t chunk);
bool space_page_is_used(const struct space *sp, uint64_t page);
uint64_t space_used_bytes(
	const struct space *sp); /* chunks, pages, journal segments, superblocks */

#endif
