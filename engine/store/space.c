/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space.c
 * Purpose.     Who owns each segment, chunk and page; gives out the lowest free one.
 * Invariants.  S1  `used` is what the next checkpoint will say; `busy` is what may not be taken: used,
 *                  or given and not yet free in a durable checkpoint.  used is a subset of busy.
 *              S2  Nothing that a durable checkpoint refers to is taken again: chunks and pages given
 *                  before a capture leave `busy` when that checkpoint is durable.
 *              S3  HOME never takes the segments that META and the journals need to go on: a full
 *                  store can still checkpoint, fold in place, discard, and take the records that give
 *                  space back: CONTROL_SEGMENTS are left for them when the journals have all of their share.
 *              S4  Between capture and durable no chunk or page is given (checkpoint and fold are one
 *                  operation after the other), so then busy := used where something was given.
 *              S5  Segments that the disk has grown by are taken only when a checkpoint that counts them
 *                  is durable: recovery takes a journal segment beyond the count for damage.
 * Failure.     A full table is an answer. A wrong give is our bug: asserted.
 * Limits.      256 chunks and 4096 pages per segment.
 */
#include "engine/store/space_state.h"

#include <stdlib.h>

#include "engine/base/err.h"

#define WATCHERS_STEP 16u
#define META_SLACK_PAGES 64u
#define JOURNAL_GUARANTEED 3u
#define CONTROL_SEGMENTS 2u /* an opening's first record, a cut; then deletes */

static uint32_t segment_of(const struct space *sp, uint64_t off);
static void segment_touch(struct space *sp, uint32_t segment);
static void slot_touch(struct space *sp, uint32_t slot);
static uint32_t journal_need(const struct space *sp);
static uint32_t meta_need(const struct space *sp);
static uint64_t table_pages(const struct space *sp);
static int slot_take(struct space *sp, uint32_t segment);
static void segment_make_free(struct space *sp, uint32_t segment);
static void watchers_wake(struct space *sp);
static int bit_find_clear(const uint64_t *words, uint32_t bits);

static uint32_t bits_count(const uint64_t *words, uint32_t count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		n += (uint32_t)__builtin_popcountll(words[i]);
	return n;
}

int space_open(uint64_t bytes, uint64_t segment_bytes, struct space **ret_space)
{
	uint64_t count = bytes / segment_bytes;
	struct space *sp;

	if (bytes < STORE_BYTES_MIN || segment_bytes < SEGMENT_BYTES_MIN ||
	    segment_bytes > SEGMENT_BYTES_MAX || count >= UINT32_MAX || count < 2 * SUPER_COPIES)
		return -ERR_INVALID;
	sp = calloc(1, sizeof(*sp));
	if (sp == NULL)
		return -ERR_NOMEM;
	sp->bytes = bytes;
	sp->segment_bytes = segment_bytes;
	sp->segment_count = (uint32_t)count;
	sp->chunks_per_segment = (uint32_t)(segment_bytes / CHUNK_BYTES);
	sp->pages_per_segment = (uint32_t)(segment_bytes / PAGE_BYTES);
	sp->segments = calloc(count, sizeof(*sp->segments));
	sp->segments_dirty = calloc(space_segments_pages(sp), 1);
	sp->segments_freed = calloc(space_segments_pages(sp), 1);
	if (sp->segments == NULL || sp->segments_dirty == NULL || sp->segments_freed == NULL) {
		space_close(&sp);
		return -ERR_NOMEM;
	}
	memset(sp->segments_dirty, 1, space_segments_pages(sp));
	refs_init(&sp->refs);
	sp->free_count = sp->segment_count;
	sp->seq = 1;
	for (uint32_t i = 0; i < sp->segment_count; i++)
		sp->segments[i].slot = SLOT_NONE;
	for (uint32_t copy = 0; copy < SUPER_COPIES; copy++) {
		uint64_t at = super_region_off(bytes, copy) / segment_bytes;

		if (at >= count || sp->segments[at].kind == SEGMENT_SUPER)
			continue; /* the last region may lie behind the last whole segment */
		sp->segments[at].kind = SEGMENT_SUPER;
		sp->super_count++;
		sp->free_count--;
	}
	space_set_share(sp, 25);
	*ret_space = sp;
	return 0;
}

void space_close(struct space **spp)
{
	struct space *sp = *spp;

	*spp = NULL;
	if (sp == NULL)
		return;
	free(sp->segments);
	free(sp->segments_dirty);
	free(sp->segments_freed);
	free(sp->slots);
	free(sp->slots_dirty);
	refs_fini(&sp->refs);
	free(sp->watchers);
	free(sp);
}

uint32_t space_segment_count(const struct space *sp)
{
	return sp->segment_count;
}

uint64_t space_memory_bytes(const struct space *sp)
{
	return sp->segment_count * sizeof(struct segment) +
	       sp->slot_max * sizeof(struct meta_slot) + refs_memory_bytes(&sp->refs);
}

void space_set_share(struct space *sp, uint32_t journal_percent)
{
	uint64_t n = (uint64_t)sp->segment_count * journal_percent / 100;

	sp->share_percent = journal_percent;
	sp->share_segments = n < 2 ? 2 : (uint32_t)n;
}

void space_set_replicas(struct space *sp, uint32_t count)
{
	sp->replicas = count;
}

int space_segment_take(struct space *sp, enum segment_kind kind, bool guaranteed,
		       uint32_t *ret_segment)
{
	uint32_t i = sp->free_from;
	uint32_t keep = 0;

	assert(kind == SEGMENT_JOURNAL || kind == SEGMENT_HOME || kind == SEGMENT_META);
	if (sp->recovering)
		return -ERR_AGAIN;
	if (kind == SEGMENT_JOURNAL && !guaranteed && sp->journal_count >= sp->share_segments)
		return -ERR_JOURNAL_FULL;
	if (kind == SEGMENT_HOME)
		keep = meta_need(sp) + journal_need(sp); /* S3 */
	else if (kind == SEGMENT_JOURNAL)
		keep = guaranteed ? 1 : meta_need(sp);
	if (sp->free_count <= keep)
		return kind == SEGMENT_JOURNAL ? -ERR_JOURNAL_FULL : -ERR_FULL;
	while (sp->segments[i].kind != SEGMENT_FREE)
		i++;
	assert(i < sp->segment_count);
	if (kind == SEGMENT_META) {
		int rc = slot_take(sp, i);

		if (rc < 0)
			return rc;
		sp->meta_count++;
	}
	if (kind == SEGMENT_JOURNAL)
		sp->journal_count++;
	if (kind == SEGMENT_HOME) {
		sp->home_count++;
		sp->home_from = i < sp->home_from ? i : sp->home_from;
	}
	sp->segments[i].kind = (uint8_t)kind;
	sp->segments[i].given = false;
	sp->segments[i].claimed = true;
	sp->free_from = i + 1;
	sp->free_count--;
	segment_touch(sp, i);
	*ret_segment = i;
	return 0;
}

void space_segment_give(struct space *sp, uint32_t segment)
{
	struct segment *g = &sp->segments[segment];

	assert(segment < sp->segment_count && g->kind == SEGMENT_JOURNAL && !g->given);
	g->given = true;
	g->give_seq = sp->captured ? sp->seq + 1 : sp->seq; /* S2 */
	sp->journal_given++;
	sp->segments_freed[segment / SEGMENTS_PER_PAGE] = 1;
	segment_touch(sp, segment);
}

void space_segment_untake(struct space *sp, uint32_t segment)
{
	struct segment *g = &sp->segments[segment];

	assert(segment < sp->segment_count && g->kind == SEGMENT_JOURNAL && !g->given);
	sp->journal_count--;
	segment_make_free(sp, segment);
	watchers_wake(sp);
}

int space_segment_mark_journal(struct space *sp, uint32_t segment)
{
	struct segment *g;

	if (segment >= sp->segment_count)
		return -ERR_CORRUPT;
	g = &sp->segments[segment];
	if (g->kind == SEGMENT_FREE) {
		g->kind = SEGMENT_JOURNAL;
		sp->free_count--;
		sp->journal_count++;
		segment_touch(sp, segment);
	} else if (g->kind != SEGMENT_JOURNAL || g->claimed) {
		return -ERR_CORRUPT;
	}
	g->claimed = true;
	return 0;
}

int space_chunk_find(struct space *sp, uint32_t *ret_segment, uint32_t *ret_bit)
{
	uint32_t i = sp->home_from;
	int bit = -1;

	if (sp->recovering)
		return -ERR_AGAIN;
	for (; i < sp->segment_count && bit < 0; i++)
		if (sp->segments[i].kind == SEGMENT_HOME)
			bit = bit_find_clear(sp->segments[i].chunks_busy, sp->chunks_per_segment);
	if (bit < 0) {
		int rc = space_segment_take(sp, SEGMENT_HOME, false, &i);

		if (rc < 0) {
			sp->home_from = sp->segment_count;
			return rc;
		}
		bit = 0;
	} else {
		i--;
	}
	sp->home_from = i;
	*ret_segment = i;
	*ret_bit = (uint32_t)bit;
	return 0;
}

int space_chunk_take(struct space *sp, uint64_t *ret_chunk)
{
	uint32_t i, bit;
	struct segment *g;
	int rc = space_chunk_find(sp, &i, &bit);

	if (rc < 0)
		return rc;
	g = &sp->segments[i];
	assert(!bit_get(g->chunks, bit)); /* S1 */
	bit_set(g->chunks, bit);
	bit_set(g->chunks_busy, bit);
	g->used++;
	sp->chunks_used++;
	sp->chunks_busy++;
	segment_touch(sp, i);
	*ret_chunk = i * sp->segment_bytes + (uint64_t)bit * CHUNK_BYTES;
	return 0;
}

void space_chunk_give(struct space *sp, uint64_t chunk)
{
	uint32_t i = segment_of(sp, chunk);
	struct segment *g = &sp->segments[i];
	uint32_t bit = (uint32_t)(chunk % sp->segment_bytes / CHUNK_BYTES);

	assert(!sp->captured); /* S4 */
	assert(g->kind == SEGMENT_HOME && chunk % CHUNK_BYTES == 0);
	assert(bit_get(g->chunks, bit) && g->used > 0);
	assert_slow(refs_extra(&sp->refs, i, bit) == 0);
	bit_clear(g->chunks, bit);
	g->used--;
	g->freed = true;
	sp->chunks_used--;
	sp->segments_freed[i / SEGMENTS_PER_PAGE] = 1;
	segment_touch(sp, i);
}

void space_chunk_untake(struct space *sp, uint64_t chunk)
{
	uint32_t i = segment_of(sp, chunk);
	struct segment *g = &sp->segments[i];
	uint32_t bit = (uint32_t)(chunk % sp->segment_bytes / CHUNK_BYTES);

	assert(g->kind == SEGMENT_HOME && bit_get(g->chunks, bit) && g->used > 0);
	assert_slow(refs_extra(&sp->refs, i, bit) == 0);
	bit_clear(g->chunks, bit);
	bit_clear(g->chunks_busy, bit);
	g->used--;
	g->freed = true; /* the segment may be empty now */
	sp->chunks_used--;
	sp->chunks_busy--;
	sp->home_from = i < sp->home_from ? i : sp->home_from;
	sp->segments_freed[i / SEGMENTS_PER_PAGE] = 1;
	segment_touch(sp, i);
}

int space_page_take(struct space *sp, uint64_t *ret_page)
{
	uint32_t s = sp->meta_from;
	int bit = -1;

	if (sp->recovering)
		return -ERR_AGAIN;
	for (; s < sp->slot_count && bit < 0; s++)
		if (sp->slots[s].segment != SEGMENT_NONE)
			bit = bit_find_clear(sp->slots[s].busy, sp->pages_per_segment);
	if (bit < 0) {
		uint32_t segment;
		int rc = space_segment_take(sp, SEGMENT_META, false, &segment);

		if (rc < 0)
			return rc;
		s = sp->segments[segment].slot;
		bit = 0;
	} else {
		s--;
	}
	sp->meta_from = s;
	bit_set(sp->slots[s].used, (uint32_t)bit);
	bit_set(sp->slots[s].busy, (uint32_t)bit);
	sp->segments[sp->slots[s].segment].used++;
	sp->pages_used++;
	sp->pages_busy++;
	slot_touch(sp, s);
	segment_touch(sp, sp->slots[s].segment);
	*ret_page = sp->slots[s].segment * sp->segment_bytes + (uint64_t)bit * PAGE_BYTES;
	return 0;
}

void space_page_give(struct space *sp, uint64_t page)
{
	uint32_t i = segment_of(sp, page);
	struct segment *g = &sp->segments[i];
	uint32_t bit = (uint32_t)(page % sp->segment_bytes / PAGE_BYTES);

	assert(!sp->captured); /* S4 */
	assert(g->kind == SEGMENT_META && page % PAGE_BYTES == 0);
	assert(bit_get(sp->slots[g->slot].used, bit) && g->used > 0);
	assert_slow(refs_extra(&sp->refs, i, bit) == 0);
	bit_clear(sp->slots[g->slot].used, bit);
	g->used--;
	g->freed = true;
	sp->pages_used--;
	sp->segments_freed[i / SEGMENTS_PER_PAGE] = 1;
	slot_touch(sp, g->slot);
	segment_touch(sp, i);
}

bool space_page_room(const struct space *sp, uint64_t pages)
{
	uint32_t need = journal_need(sp);
	uint64_t segments = sp->free_count > need ? sp->free_count - need : 0;
	uint64_t have = (sp->meta_count + segments) * sp->pages_per_segment - sp->pages_busy;

	return have >= pages + 2 * table_pages(sp) + META_SLACK_PAGES;
}

bool space_journal_room(const struct space *sp)
{
	return sp->journal_count <= sp->share_segments && sp->free_count >= meta_need(sp);
}

uint64_t space_segment_bytes(const struct space *sp)
{
	return sp->segment_bytes;
}

uint64_t space_segment_off(const struct space *sp, uint32_t segment)
{
	assert(segment < sp->segment_count);
	return segment * sp->segment_bytes;
}

uint64_t space_free_bytes(const struct space *sp)
{
	uint64_t keep = (uint64_t)meta_need(sp) + journal_need(sp);
	uint64_t segments = sp->free_count > keep ? sp->free_count - keep : 0;
	uint64_t chunks = (uint64_t)sp->home_count * sp->chunks_per_segment - sp->chunks_busy;

	return segments * sp->segment_bytes + chunks * CHUNK_BYTES;
}

uint64_t space_journal_share_bytes(const struct space *sp)
{
	return sp->share_segments * sp->segment_bytes;
}

uint64_t space_journal_used_bytes(const struct space *sp)
{
	return sp->journal_count * sp->segment_bytes;
}

uint64_t space_used_bytes(const struct space *sp)
{
	return sp->chunks_used * CHUNK_BYTES + sp->pages_used * PAGE_BYTES +
	       (uint64_t)(sp->journal_count - sp->journal_given + sp->super_count) *
		       sp->segment_bytes;
}

void space_watch_journal(struct space *sp, struct op *op)
{
	for (uint32_t i = 0; i < sp->watcher_count; i++)
		if (sp->watchers[i] == op)
			return;
	if (sp->watcher_count == sp->watcher_max) {
		struct op **more = realloc(sp->watchers,
					   (sp->watcher_max + WATCHERS_STEP) * sizeof(struct op *));

		if (more == NULL) {
			op_wake(op); /* it will ask again */
			return;
		}
		sp->watchers = more;
		sp->watcher_max += WATCHERS_STEP;
	}
	sp->watchers[sp->watcher_count++] = op;
}

void space_unwatch_journal(struct space *sp, struct op *op)
{
	for (uint32_t i = 0; i < sp->watcher_count; i++) {
		if (sp->watchers[i] != op)
			continue;
		memmove(&sp->watchers[i], &sp->watchers[i + 1],
			(sp->watcher_count - i - 1) * sizeof(sp->watchers[0]));
		sp->watcher_count--;
		return;
	}
}

/* --- loading --- */

void space_recovery_begin(struct space *sp)
{
	sp->recovering = true;
}

void space_recovery_end(struct space *sp)
{
	for (uint32_t i = 0; i < sp->segment_count; i++) {
		if (sp->segments[i].kind != SEGMENT_JOURNAL || sp->segments[i].claimed)
			continue;
		sp->journal_count--;
		segment_make_free(sp, i);
	}
	sp->recovering = false;
}

int space_segments_decode(struct space *sp, uint32_t page, const struct disk_segments *d)
{
	uint32_t words = (sp->chunks_per_segment + 63) / 64;

	for (uint32_t k = 0; k < SEGMENTS_PER_PAGE; k++) {
		uint64_t i = (uint64_t)page * SEGMENTS_PER_PAGE + k;
		const struct disk_segment *from = &d->segments[k];
		struct segment *g;

		if (i >= sp->segment_count)
			break;
		g = &sp->segments[i];
		if (from->kind > SEGMENT_SUPER ||
		    (from->kind == SEGMENT_SUPER) != (g->kind == SEGMENT_SUPER))
			return -ERR_CORRUPT;
		if (g->kind != SEGMENT_FREE && g->kind != SEGMENT_SUPER)
			return -ERR_CORRUPT; /* decoded twice */
		if (from->kind == SEGMENT_FREE || from->kind == SEGMENT_SUPER)
			continue;
		g->kind = from->kind;
		g->used = from->used;
		g->slot = from->kind == SEGMENT_META ? from->bitmap_slot : SLOT_NONE;
		sp->free_count--;
		sp->journal_count += from->kind == SEGMENT_JOURNAL;
		sp->meta_count += from->kind == SEGMENT_META;
		if (from->kind != SEGMENT_HOME)
			continue;
		memcpy(g->chunks, from->chunks, sizeof(g->chunks));
		memcpy(g->chunks_busy, from->chunks, sizeof(g->chunks));
		if (bits_count(g->chunks, words) != g->used ||
		    bits_count(g->chunks, CHUNK_WORDS) != g->used)
			return -ERR_CORRUPT;
		if (sp->chunks_per_segment % 64 != 0 &&
		    g->chunks[words - 1] >> (sp->chunks_per_segment % 64) != 0)
			return -ERR_CORRUPT;
		sp->home_count++;
		sp->chunks_used += g->used;
		sp->chunks_busy += g->used;
	}
	sp->segments_dirty[page] = 0;
	return 0;
}

static int slots_grow(struct space *sp, uint32_t count)
{
	uint32_t pages = (count + BITMAPS_PER_PAGE - 1) / BITMAPS_PER_PAGE;
	uint32_t old = sp->slot_max, max = pages * BITMAPS_PER_PAGE;
	struct meta_slot *slots;
	uint8_t *dirty;

	if (count <= sp->slot_max)
		return 0;
	slots = realloc(sp->slots, max * sizeof(*slots));
	if (slots == NULL)
		return -ERR_NOMEM;
	sp->slots = slots;
	dirty = realloc(sp->slots_dirty, pages);
	if (dirty == NULL)
		return -ERR_NOMEM;
	sp->slots_dirty = dirty;
	memset(&slots[old], 0, (max - old) * sizeof(*slots));
	for (uint32_t i = old; i < max; i++)
		slots[i].segment = SEGMENT_NONE;
	memset(&dirty[old / BITMAPS_PER_PAGE], 1, pages - old / BITMAPS_PER_PAGE);
	sp->slot_max = max;
	return 0;
}

int space_bitmaps_decode(struct space *sp, uint32_t page, const struct disk_bitmaps *d)
{
	uint32_t words = sp->pages_per_segment / 64;

	if (page > sp->segment_count / BITMAPS_PER_PAGE ||
	    slots_grow(sp, (page + 1) * BITMAPS_PER_PAGE) < 0)
		return page > sp->segment_count / BITMAPS_PER_PAGE ? -ERR_CORRUPT : -ERR_NOMEM;
	for (uint32_t k = 0; k < BITMAPS_PER_PAGE; k++) {
		uint32_t s = page * BITMAPS_PER_PAGE + k;
		const struct disk_bitmap *from = &d->bitmaps[k];

		if (from->segment == SEGMENT_NONE)
			continue;
		if (from->segment >= sp->segment_count)
			return -ERR_CORRUPT;
		sp->slots[s].segment = from->segment;
		memcpy(sp->slots[s].used, from->pages, words * 8);
		memcpy(sp->slots[s].busy, from->pages, words * 8);
		if (s >= sp->slot_count)
			sp->slot_count = s + 1;
	}
	sp->slots_dirty[page] = 0;
	return 0;
}

int space_decoded(struct space *sp)
{
	uint32_t meta = 0;

	for (uint32_t s = 0; s < sp->slot_count; s++) {
		const struct segment *g;

		if (sp->slots[s].segment == SEGMENT_NONE)
			continue;
		g = &sp->segments[sp->slots[s].segment];
		if (g->kind != SEGMENT_META || g->slot != s ||
		    g->used != bits_count(sp->slots[s].used, PAGE_WORDS))
			return -ERR_CORRUPT;
		sp->pages_used += g->used;
		sp->pages_busy += g->used;
		meta++;
	}
	return meta == sp->meta_count ? space_refs_decoded(sp) : -ERR_CORRUPT;
}

/* --- checkpoint --- */

uint32_t space_segments_pages(const struct space *sp)
{
	return (sp->segment_count + SEGMENTS_PER_PAGE - 1) / SEGMENTS_PER_PAGE;
}

uint32_t space_bitmaps_pages(const struct space *sp)
{
	return (sp->slot_count + BITMAPS_PER_PAGE - 1) / BITMAPS_PER_PAGE;
}

bool space_segments_dirty(const struct space *sp, uint32_t page)
{
	return sp->segments_dirty[page] != 0;
}

bool space_bitmaps_dirty(const struct space *sp, uint32_t page)
{
	return sp->slots_dirty[page] != 0;
}

void space_segments_encode(struct space *sp, uint32_t page, struct disk_segments *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < SEGMENTS_PER_PAGE; k++) {
		uint32_t i = page * SEGMENTS_PER_PAGE + k;
		struct disk_segment *to = &ret->segments[k];
		const struct segment *g = &sp->segments[i];

		to->bitmap_slot = SLOT_NONE;
		if (i >= sp->segment_count)
			continue;
		to->kind = g->kind;
		if (g->given ||
		    ((g->kind == SEGMENT_HOME || g->kind == SEGMENT_META) && g->used == 0))
			to->kind = SEGMENT_FREE;
		if (to->kind == SEGMENT_HOME)
			memcpy(to->chunks, g->chunks, sizeof(to->chunks));
		if (to->kind == SEGMENT_META)
			to->bitmap_slot = g->slot;
		if (to->kind == SEGMENT_HOME || to->kind == SEGMENT_META)
			to->used = g->used;
	}
	sp->segments_dirty[page] = 0;
}

void space_bitmaps_encode(struct space *sp, uint32_t page, struct disk_bitmaps *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < BITMAPS_PER_PAGE; k++) {
		const struct meta_slot *m = &sp->slots[page * BITMAPS_PER_PAGE + k];
		struct disk_bitmap *to = &ret->bitmaps[k];

		to->segment = SEGMENT_NONE;
		if (m->segment == SEGMENT_NONE || sp->segments[m->segment].used == 0)
			continue;
		to->segment = m->segment;
		memcpy(to->pages, m->used, sizeof(to->pages));
	}
	sp->slots_dirty[page] = 0;
}

void space_captured(struct space *sp)
{
	assert(!sp->captured);
	sp->captured = true;
}

/* What was given in this segment before the capture may be taken again. */
static bool segment_durable(struct space *sp, uint32_t i)
{
	struct segment *g = &sp->segments[i];

	if (g->given) {
		if (g->give_seq > sp->seq)
			return true; /* one more checkpoint */
		sp->journal_count--;
		sp->journal_given--;
		segment_make_free(sp, i);
		return false;
	}
	if (g->late) { /* SN4 */
		g->late = false;
		g->freed = true;
		return true;
	}
	if (!g->freed)
		return false;
	g->freed = false;
	if (g->kind == SEGMENT_HOME) {
		sp->chunks_busy -= bits_count(g->chunks_busy, CHUNK_WORDS);
		for (uint32_t w = 0; w < CHUNK_WORDS; w++)
			g->chunks_busy[w] = g->chunks[w] | g->chunks_named[w]; /* S4 */
		sp->chunks_busy += bits_count(g->chunks_busy, CHUNK_WORDS);
		if (g->used == 0 && g->named == 0) {
			sp->home_count--;
			segment_make_free(sp, i);
		} else if (i < sp->home_from) {
			sp->home_from = i;
		}
	} else {
		assert(g->kind == SEGMENT_META);
		sp->pages_busy -= bits_count(sp->slots[g->slot].busy, PAGE_WORDS);
		memcpy(sp->slots[g->slot].busy, sp->slots[g->slot].used, sizeof(sp->slots[0].busy));
		sp->pages_busy += g->used;
		if (g->slot < sp->meta_from)
			sp->meta_from = g->slot;
		if (g->used == 0 && sp->meta_count > 1) {
			sp->meta_count--;
			sp->slots[g->slot].segment = SEGMENT_NONE;
			slot_touch(sp, g->slot);
			g->slot = SLOT_NONE;
			segment_make_free(sp, i);
		}
	}
	return false;
}

void space_durable(struct space *sp)
{
	bool woke = false;

	assert(sp->captured);
	sp->captured = false;
	woke = sp->fresh_count > 0;
	if (woke)
		space_grown(sp);
	for (uint32_t page = 0; page < space_segments_pages(sp); page++) {
		uint32_t end = (page + 1) * SEGMENTS_PER_PAGE;

		if (sp->segments_freed[page] == 0)
			continue;
		sp->segments_freed[page] = 0;
		end = end < sp->segment_count ? end : sp->segment_count;
		for (uint32_t i = page * SEGMENTS_PER_PAGE; i < end; i++)
			if (segment_durable(sp, i))
				sp->segments_freed[page] = 1;
		woke = true;
	}
	sp->seq++;
	refs_durable(&sp->refs);
	if (woke)
		watchers_wake(sp);
}

/* --- looking --- */

enum segment_kind space_segment_kind(const struct space *sp, uint32_t segment)
{
	assert(segment < sp->segment_count);
	return (enum segment_kind)sp->segments[segment].kind;
}

uint32_t space_segment_used(const struct space *sp, uint32_t segment)
{
	return sp->segments[segment].used;
}

bool space_chunk_is_used(const struct space *sp, uint64_t chunk)
{
	const struct segment *g;

	if (chunk % CHUNK_BYTES != 0 || chunk / sp->segment_bytes >= sp->segment_count)
		return false;
	g = &sp->segments[chunk / sp->segment_bytes];
	return g->kind == SEGMENT_HOME &&
	       bit_get(g->chunks, (uint32_t)(chunk % sp->segment_bytes / CHUNK_BYTES));
}

bool space_page_is_used(const struct space *sp, uint64_t page)
{
	const struct segment *g;

	if (page % PAGE_BYTES != 0 || page / sp->segment_bytes >= sp->segment_count)
		return false;
	g = &sp->segments[page / sp->segment_bytes];
	return g->kind == SEGMENT_META &&
	       bit_get(sp->slots[g->slot].used, (uint32_t)(page % sp->segment_bytes / PAGE_BYTES));
}

/* --- helpers --- */

static uint32_t segment_of(const struct space *sp, uint64_t off)
{
	uint64_t i = off / sp->segment_bytes;

	assert(i < sp->segment_count);
	return (uint32_t)i;
}

static void segment_touch(struct space *sp, uint32_t segment)
{
	sp->segments_dirty[segment / SEGMENTS_PER_PAGE] = 1;
}

static void slot_touch(struct space *sp, uint32_t slot)
{
	sp->slots_dirty[slot / BITMAPS_PER_PAGE] = 1;
}

/* Segments that journals may still ask for. */
static uint32_t journal_need(const struct space *sp)
{
	uint32_t want = sp->replicas * JOURNAL_GUARANTEED;

	want = want > sp->share_segments ? want : sp->share_segments;
	want += CONTROL_SEGMENTS;
	return want > sp->journal_count ? want - sp->journal_count : 0;
}

/* Pages of the tables at their largest. */
static uint64_t table_pages(const struct space *sp)
{
	uint64_t slots =
		sp->home_count + (uint64_t)sp->meta_count * sp->pages_per_segment / REFS_PER_SLOT;

	return space_segments_pages(sp) + space_bitmaps_pages(sp) + slots / REFS_SLOTS_PER_PAGE + 1;
}

/* Free segments that META needs so that everything there is can be written anew once, and a page per
 * chunk of one more HOME segment. */
static uint32_t meta_need(const struct space *sp)
{
	uint64_t tables = table_pages(sp);
	uint64_t pages = 2 * (sp->pages_used + tables + sp->chunks_per_segment + META_SLACK_PAGES);
	uint64_t want = (pages + sp->pages_per_segment - 1) / sp->pages_per_segment;

	return want > sp->meta_count ? (uint32_t)(want - sp->meta_count) : 1;
}

static int slot_take(struct space *sp, uint32_t segment)
{
	uint32_t s = 0;
	int rc;

	while (s < sp->slot_count && sp->slots[s].segment != SEGMENT_NONE)
		s++;
	rc = slots_grow(sp, s + 1);
	if (rc < 0)
		return rc;
	if (s == sp->slot_count)
		sp->slot_count++;
	memset(&sp->slots[s], 0, sizeof(sp->slots[s]));
	sp->slots[s].segment = segment;
	sp->segments[segment].slot = s;
	slot_touch(sp, s);
	return 0;
}

static void segment_make_free(struct space *sp, uint32_t segment)
{
	struct segment *g = &sp->segments[segment];

	assert(g->kind != SEGMENT_FREE && g->kind != SEGMENT_SUPER);
	memset(g, 0, sizeof(*g));
	g->slot = SLOT_NONE;
	sp->free_count++;
	if (segment < sp->free_from)
		sp->free_from = segment;
	if (sp->home_from == sp->segment_count)
		sp->home_from = segment; /* it was full: try again */
	segment_touch(sp, segment);
}

static void watchers_wake(struct space *sp)
{
	uint32_t n = sp->watcher_count;

	sp->watcher_count = 0;
	for (uint32_t i = 0; i < n; i++)
		op_wake(sp->watchers[i]);
}

static int bit_find_clear(const uint64_t *words, uint32_t bits)
{
	for (uint32_t w = 0; w * 64 < bits; w++) {
		uint32_t bit;

		if (words[w] == UINT64_MAX)
			continue;
		bit = w * 64 + (uint32_t)__builtin_ctzll(~words[w]);
		return bit < bits ? (int)bit : -1;
	}
	return -1;
}
