/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space_refs.c
 * Purpose.     How often chunks and pages are referred to; who drops the last reference gives them.
 * Invariants.  SR1 A unit in use has a count of at least one; only the last reference gives it, so
 *                  whoever held one by way of a parent drops it.
 *              SR2 Exclusive is what has one reference now and had no other dropped since the last
 *                  durable checkpoint.  Only an exclusive chunk may be written in place: a crash brings
 *                  the dropped reference back, and with it a reader of the old bytes.
 *              SR3 Between capture and durable nothing is added or dropped (S4).
 * Failure.     A drop of what nobody holds is our bug: asserted.
 */
#include "engine/store/space_state.h"

#include "engine/base/err.h"

static uint32_t place_of(const struct space *sp, uint64_t addr, uint32_t *ret_unit)
{
	uint64_t segment = addr / sp->segment_bytes;

	assert(segment < sp->segment_count);
	*ret_unit =
		(uint32_t)(addr % sp->segment_bytes /
			   (sp->segments[segment].kind == SEGMENT_HOME ? CHUNK_BYTES : PAGE_BYTES));
	return (uint32_t)segment;
}

static bool in_use(const struct space *sp, uint64_t addr)
{
	return space_chunk_is_used(sp, addr) || space_page_is_used(sp, addr);
}

uint32_t space_refs(const struct space *sp, uint64_t addr)
{
	uint32_t unit, segment;

	if (!in_use(sp, addr))
		return 0;
	segment = place_of(sp, addr, &unit);
	return 1 + refs_extra(&sp->refs, segment, unit);
}

int space_ref_add(struct space *sp, uint64_t addr)
{
	uint32_t unit, segment;

	assert(!sp->captured && in_use(sp, addr)); /* SR1, SR3 */
	segment = place_of(sp, addr, &unit);
	return refs_add(&sp->refs, segment, unit);
}

void space_chunk_drop(struct space *sp, uint64_t chunk)
{
	uint32_t unit, segment = place_of(sp, chunk, &unit);

	assert(!sp->captured && space_chunk_is_used(sp, chunk));
	if (!refs_drop(&sp->refs, segment, unit))
		space_chunk_give(sp, chunk);
}

void space_page_drop(struct space *sp, uint64_t page)
{
	uint32_t unit, segment = place_of(sp, page, &unit);

	assert(!sp->captured && space_page_is_used(sp, page));
	if (!refs_drop(&sp->refs, segment, unit))
		space_page_give(sp, page);
}

bool space_chunk_is_exclusive(const struct space *sp, uint64_t chunk)
{
	uint32_t unit, segment = place_of(sp, chunk, &unit);

	return refs_extra(&sp->refs, segment, unit) == 0 &&
	       !refs_dropped(&sp->refs, segment, unit) && /* SR2 */
	       !space_chunk_is_named(sp, chunk);	  /* SN3 */
}

bool space_is_captured(const struct space *sp)
{
	return sp->captured;
}

/* --- the table --- */

uint32_t space_refs_pages(const struct space *sp)
{
	return refs_pages(&sp->refs);
}

bool space_refs_dirty(const struct space *sp, uint32_t page)
{
	return refs_page_dirty(&sp->refs, page);
}

void space_refs_encode(struct space *sp, uint32_t page, struct disk_refs *ret)
{
	refs_encode(&sp->refs, page, ret);
}

int space_refs_decode(struct space *sp, uint32_t page, const struct disk_refs *d)
{
	return refs_decode(&sp->refs, page, d, sp->segment_count);
}

/* Only what is in use is counted.  Segments and bitmaps are known to fit together. */
int space_refs_decoded(const struct space *sp)
{
	uint32_t segment, first;
	const uint16_t *counts;

	for (uint32_t i = 0; i < refs_pages(&sp->refs) * REFS_SLOTS_PER_PAGE; i++) {
		uint64_t unit;

		if (!refs_slot_at(&sp->refs, i, &segment, &first, &counts))
			continue;
		unit = sp->segments[segment].kind == SEGMENT_HOME ? CHUNK_BYTES : PAGE_BYTES;
		for (uint32_t k = 0; k < REFS_PER_SLOT; k++)
			if (counts[k] != 0 &&
			    ((first + k) * unit >= sp->segment_bytes ||
			     !in_use(sp, segment * sp->segment_bytes + (first + k) * unit)))
				return -ERR_CORRUPT;
	}
	return 0;
}

uint32_t space_segment_shared(const struct space *sp, uint32_t segment)
{
	enum segment_kind kind = space_segment_kind(sp, segment);

	return kind == SEGMENT_HOME   ? refs_of_segment(&sp->refs, segment, sp->chunks_per_segment)
	       : kind == SEGMENT_META ? refs_of_segment(&sp->refs, segment, sp->pages_per_segment)
				      : 0;
}
