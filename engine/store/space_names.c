/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space_names.c
 * Purpose.     Chunks that records of journals name (large writes by reference): kept from everybody
 *              else by one bit each, in memory only.
 * Invariants.  SN1 A named chunk is busy; it is used as well once a map has adopted it.  What is only
 *                  named is free in every checkpoint: recovery names it again, or nobody does and it
 *                  was never taken.
 *              SN2 One record names a chunk at a time.
 *              SN3 A named chunk is never exclusive: nobody writes it in place.
 *              SN4 What is let go and not used is taken again after the next checkpoint that is captured
 *                  later: until then a crash may bring its record back.
 * Failure.     -ERR_FULL; at recovery -ERR_CORRUPT: two records, or a record and something else, have it.
 */
#include "engine/base/err.h"
#include "engine/store/space_state.h"

static struct segment *home_of(struct space *sp, uint64_t chunk, uint32_t *ret_bit)
{
	struct segment *g = &sp->segments[chunk / sp->segment_bytes];

	assert(chunk % CHUNK_BYTES == 0 && chunk / sp->segment_bytes < sp->segment_count);
	assert(g->kind == SEGMENT_HOME);
	*ret_bit = (uint32_t)(chunk % sp->segment_bytes / CHUNK_BYTES);
	return g;
}

static void name(struct space *sp, struct segment *g, uint32_t bit)
{
	assert(!bit_get(g->chunks_named, bit)); /* SN2 */
	bit_set(g->chunks_named, bit);
	g->named++;
	if (!bit_get(g->chunks_busy, bit)) {
		bit_set(g->chunks_busy, bit);
		sp->chunks_busy++;
	}
}

int space_chunk_name(struct space *sp, uint64_t *ret_chunk)
{
	uint32_t segment, bit;
	int rc = space_chunk_find(sp, &segment, &bit);

	if (rc < 0)
		return rc;
	assert(!bit_get(sp->segments[segment].chunks, bit));
	name(sp, &sp->segments[segment], bit);
	*ret_chunk = segment * sp->segment_bytes + (uint64_t)bit * CHUNK_BYTES;
	return 0;
}

/* The checkpoint knows nothing in it: what it says of a segment is older than the record. */
static void make_home(struct space *sp, uint32_t segment)
{
	struct segment *g = &sp->segments[segment];

	if (g->kind == SEGMENT_FREE)
		sp->free_count--;
	else
		sp->journal_count--;
	memset(g, 0, sizeof(*g));
	g->kind = SEGMENT_HOME;
	g->slot = SLOT_NONE;
	sp->home_count++;
	sp->segments_dirty[segment / SEGMENTS_PER_PAGE] = 1;
}

int space_chunk_name_again(struct space *sp, uint64_t chunk)
{
	uint64_t segment = chunk / sp->segment_bytes;
	struct segment *g;
	uint32_t bit;

	if (chunk % CHUNK_BYTES != 0 || segment >= sp->segment_count)
		return -ERR_CORRUPT;
	g = &sp->segments[segment];
	if (g->kind == SEGMENT_FREE || (g->kind == SEGMENT_JOURNAL && !g->claimed))
		make_home(sp, (uint32_t)segment);
	if (g->kind != SEGMENT_HOME)
		return -ERR_CORRUPT;
	g = home_of(sp, chunk, &bit);
	if (bit_get(g->chunks_named, bit))
		return -ERR_CORRUPT;
	name(sp, g, bit);
	return 0;
}

void space_chunk_unname(struct space *sp, uint64_t chunk)
{
	uint32_t bit;
	struct segment *g = home_of(sp, chunk, &bit);

	assert(bit_get(g->chunks_named, bit) && g->named > 0);
	bit_clear(g->chunks_named, bit);
	g->named--;
	if (bit_get(g->chunks, bit))
		return; /* a map has it */
	if (sp->captured)
		g->late = true; /* SN4 */
	else
		g->freed = true;
	sp->segments_freed[chunk / sp->segment_bytes / SEGMENTS_PER_PAGE] = 1;
}

void space_chunk_adopt(struct space *sp, uint64_t chunk)
{
	uint32_t bit;
	struct segment *g = home_of(sp, chunk, &bit);

	assert(!sp->captured); /* S4 */
	assert(bit_get(g->chunks_named, bit) && !bit_get(g->chunks, bit));
	bit_set(g->chunks, bit);
	g->used++;
	sp->chunks_used++;
	sp->segments_dirty[chunk / sp->segment_bytes / SEGMENTS_PER_PAGE] = 1;
}

bool space_chunk_is_named(const struct space *sp, uint64_t chunk)
{
	const struct segment *g = &sp->segments[chunk / sp->segment_bytes];

	return chunk / sp->segment_bytes < sp->segment_count && g->kind == SEGMENT_HOME &&
	       bit_get(g->chunks_named, (uint32_t)(chunk % sp->segment_bytes / CHUNK_BYTES));
}
