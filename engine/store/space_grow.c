/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space_grow.c
 * Purpose.     More segments, because the disk has grown.
 * Invariants.  S5 (space.c): they are taken only when a checkpoint that counts them is durable.
 * Failure.     No memory: as before.
 */
#include "engine/store/space_state.h"

#include <stdlib.h>

#include "engine/base/err.h"

static int segments_resize(struct space *sp, uint64_t count)
{
	uint32_t pages = (uint32_t)((count + SEGMENTS_PER_PAGE - 1) / SEGMENTS_PER_PAGE);
	struct segment *segments = realloc(sp->segments, count * sizeof(*segments));
	uint8_t *dirty = realloc(sp->segments_dirty, pages);
	uint8_t *freed = realloc(sp->segments_freed, pages);

	sp->segments = segments != NULL ? segments : sp->segments;
	sp->segments_dirty = dirty != NULL ? dirty : sp->segments_dirty;
	sp->segments_freed = freed != NULL ? freed : sp->segments_freed;
	return segments == NULL || dirty == NULL || freed == NULL ? -ERR_NOMEM : 0;
}

int space_grow(struct space *sp, uint64_t bytes)
{
	uint32_t old = sp->segment_count, old_pages = space_segments_pages(sp);
	uint64_t count = grown_segment_count(bytes, sp->segment_bytes);
	int rc;

	assert(!sp->captured);
	if (count <= old || count >= UINT32_MAX)
		return -ERR_INVALID;
	rc = segments_resize(sp, count);
	if (rc < 0)
		return rc;
	sp->segment_count = (uint32_t)count;
	sp->grown_bytes = bytes;
	memset(&sp->segments[old], 0, (count - old) * sizeof(*sp->segments));
	for (uint32_t i = old; i < sp->segment_count; i++)
		sp->segments[i].slot = SLOT_NONE;
	memset(&sp->segments_freed[old_pages], 0, space_segments_pages(sp) - old_pages);
	memset(&sp->segments_dirty[old_pages], 1, space_segments_pages(sp) - old_pages);
	sp->segments_dirty[old / SEGMENTS_PER_PAGE] = 1;
	sp->fresh_count += sp->segment_count - old;
	for (uint32_t copy = 0; copy < SUPER_COPIES; copy++) {
		uint64_t at = super_region_off(sp->bytes, copy) / sp->segment_bytes;

		if (at < old || at >= count || sp->segments[at].kind == SEGMENT_SUPER)
			continue;
		sp->segments[at].kind = SEGMENT_SUPER; /* it lay behind the last whole segment */
		sp->super_count++;
		sp->fresh_count--;
	}
	return 0;
}

void space_grown(struct space *sp)
{
	sp->free_count += sp->fresh_count; /* S5 */
	sp->fresh_count = 0;
	space_set_share(sp, sp->share_percent);
}

uint64_t space_grown_bytes(const struct space *sp)
{
	return sp->grown_bytes;
}
