/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/refs.c
 * Purpose.     Count what is referred to more than once.
 * Invariants.  R1  Only counts above one have an entry: a store without sharing has no slot.
 *              R2  A slot of {segment, first} exists once; a free one is in no chain and on disk an entry
 *                  not in use.
 *              R3  A drop is remembered until the checkpoint that counts it is durable: after a crash the
 *                  reference is there again, so nobody may rely on its absence before (space_refs.c).
 * Ownership.   Slots, hash and dirty bytes are malloced as they are needed; slots are used again.
 * Failure.     No memory is an answer.  A table on disk is believed only within its limits.
 * Limits.      65535 counts beyond the first; 16 slots per segment.
 */
#include "engine/store/refs.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"

#define UNITS REFS_PER_SLOT
#define DROP_WORDS (REFS_PER_SLOT / 64)
#define NOT_ANY UINT32_MAX
#define HEADS_MIN 64u

struct refs_slot {
	uint32_t segment; /* NOT_ANY: free */
	uint32_t first;
	uint32_t next; /* in its hash chain */
	uint32_t used; /* units with a count */
	uint64_t dropped[DROP_WORDS];
	uint16_t counts[UNITS];
};

static uint32_t head_of(const struct refs *t, uint32_t segment, uint32_t first)
{
	uint64_t x = ((uint64_t)segment << 32 | first) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(x >> 32) & (t->head_count - 1);
}

void refs_init(struct refs *t)
{
	memset(t, 0, sizeof(*t));
}

void refs_fini(struct refs *t)
{
	free(t->slots);
	free(t->dirty);
	free(t->heads);
	memset(t, 0, sizeof(*t));
}

uint64_t refs_memory_bytes(const struct refs *t)
{
	return t->slot_max * sizeof(struct refs_slot) + t->head_count * sizeof(uint32_t);
}

static struct refs_slot *slot_find(const struct refs *t, uint32_t segment, uint32_t unit)
{
	uint32_t first = unit - unit % UNITS;

	if (t->live_count == 0)
		return NULL;
	for (uint32_t i = t->heads[head_of(t, segment, first)]; i != NOT_ANY; i = t->slots[i].next)
		if (t->slots[i].segment == segment && t->slots[i].first == first)
			return &t->slots[i];
	return NULL;
}

static int heads_grow(struct refs *t)
{
	uint32_t count = t->head_count == 0 ? HEADS_MIN : 2 * t->head_count;
	uint32_t *heads = malloc(count * sizeof(*heads));

	if (heads == NULL)
		return -ERR_NOMEM;
	free(t->heads);
	t->heads = heads;
	t->head_count = count;
	for (uint32_t i = 0; i < count; i++)
		heads[i] = NOT_ANY;
	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct refs_slot *s = &t->slots[i];
		uint32_t *head;

		if (s->segment == NOT_ANY)
			continue;
		head = &heads[head_of(t, s->segment, s->first)];
		s->next = *head;
		*head = i;
	}
	return 0;
}

static int slots_grow(struct refs *t)
{
	uint32_t pages = t->slot_max / REFS_SLOTS_PER_PAGE;
	uint32_t more = pages + pages / 2 + 1;
	struct refs_slot *slots = realloc(t->slots, more * REFS_SLOTS_PER_PAGE * sizeof(*slots));
	uint8_t *dirty;

	if (slots == NULL)
		return -ERR_NOMEM;
	t->slots = slots;
	dirty = realloc(t->dirty, more);
	if (dirty == NULL)
		return -ERR_NOMEM;
	t->dirty = dirty;
	memset(&dirty[pages], 1, more - pages);
	t->slot_max = more * REFS_SLOTS_PER_PAGE;
	return 0;
}

static void slot_touch(struct refs *t, const struct refs_slot *s)
{
	t->dirty[(uint32_t)(s - t->slots) / REFS_SLOTS_PER_PAGE] = 1;
}

static void slot_set(struct refs *t, uint32_t i, uint32_t segment, uint32_t first)
{
	struct refs_slot *s = &t->slots[i];
	uint32_t *head = &t->heads[head_of(t, segment, first)];

	memset(s, 0, sizeof(*s));
	s->segment = segment;
	s->first = first;
	s->next = *head;
	*head = i;
	t->live_count++;
}

static int slot_make(struct refs *t, uint32_t segment, uint32_t unit, struct refs_slot **ret)
{
	uint32_t i = t->free_from;
	int rc = 0;

	while (i < t->slot_count && t->slots[i].segment != NOT_ANY)
		i++;
	if (t->live_count >= t->head_count)
		rc = heads_grow(t);
	if (rc == 0 && i == t->slot_max)
		rc = slots_grow(t);
	if (rc < 0)
		return rc;
	if (i == t->slot_count)
		t->slot_count++;
	t->free_from = i + 1;
	slot_set(t, i, segment, unit - unit % UNITS);
	*ret = &t->slots[i];
	return 0;
}

/* Nothing is counted in it, and nothing was dropped that may come back. */
static void slot_free(struct refs *t, uint32_t i)
{
	struct refs_slot *s = &t->slots[i];
	uint32_t *at = &t->heads[head_of(t, s->segment, s->first)];

	while (*at != i)
		at = &t->slots[*at].next;
	*at = s->next;
	s->segment = NOT_ANY;
	t->live_count--;
	if (i < t->free_from)
		t->free_from = i;
}

uint32_t refs_extra(const struct refs *t, uint32_t segment, uint32_t unit)
{
	const struct refs_slot *s = slot_find(t, segment, unit);

	return s == NULL ? 0 : s->counts[unit % UNITS];
}

int refs_add(struct refs *t, uint32_t segment, uint32_t unit)
{
	struct refs_slot *s = slot_find(t, segment, unit);
	int rc = s == NULL ? slot_make(t, segment, unit, &s) : 0;

	if (rc < 0)
		return rc;
	if (s->counts[unit % UNITS] == UINT16_MAX)
		return -ERR_FULL;
	if (s->counts[unit % UNITS]++ == 0) {
		s->used++;
		t->shared_count++;
	}
	slot_touch(t, s);
	return 0;
}

bool refs_drop(struct refs *t, uint32_t segment, uint32_t unit)
{
	struct refs_slot *s = slot_find(t, segment, unit);
	uint32_t k = unit % UNITS;

	if (s == NULL || s->counts[k] == 0)
		return false;
	if (--s->counts[k] == 0) {
		assert(s->used > 0 && t->shared_count > 0);
		s->used--;
		t->shared_count--;
	}
	s->dropped[k / 64] |= (uint64_t)1 << k % 64; /* R3 */
	t->dropped = true;
	slot_touch(t, s);
	return true;
}

bool refs_dropped(const struct refs *t, uint32_t segment, uint32_t unit)
{
	const struct refs_slot *s = slot_find(t, segment, unit);
	uint32_t k = unit % UNITS;

	return s != NULL && (s->dropped[k / 64] >> k % 64 & 1) != 0;
}

void refs_durable(struct refs *t)
{
	if (!t->dropped)
		return;
	t->dropped = false;
	for (uint32_t i = 0; i < t->slot_count; i++) {
		if (t->slots[i].segment == NOT_ANY)
			continue;
		memset(t->slots[i].dropped, 0, sizeof(t->slots[i].dropped));
		if (t->slots[i].used == 0)
			slot_free(t, i); /* R1; on disk it is not in use already */
	}
}

uint32_t refs_of_segment(const struct refs *t, uint32_t segment, uint32_t units)
{
	uint32_t n = 0;

	for (uint32_t first = 0; first < units; first += UNITS) {
		const struct refs_slot *s = slot_find(t, segment, first);

		n += s == NULL ? 0 : s->used;
	}
	return n;
}

/* --- the table --- */

uint32_t refs_pages(const struct refs *t)
{
	return (t->slot_count + REFS_SLOTS_PER_PAGE - 1) / REFS_SLOTS_PER_PAGE;
}

bool refs_page_dirty(const struct refs *t, uint32_t page)
{
	return t->dirty[page] != 0;
}

void refs_encode(struct refs *t, uint32_t page, struct disk_refs *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < REFS_SLOTS_PER_PAGE; k++) {
		uint32_t i = page * REFS_SLOTS_PER_PAGE + k;
		const struct refs_slot *s = &t->slots[i];

		ret->slots[k].segment = NOT_ANY;
		if (i >= t->slot_count || s->segment == NOT_ANY || s->used == 0)
			continue;
		ret->slots[k].segment = s->segment;
		ret->slots[k].first = s->first;
		memcpy(ret->slots[k].counts, s->counts, sizeof(s->counts));
	}
	t->dirty[page] = 0;
}

static int slot_decode(struct refs *t, uint32_t i, const struct disk_refs_slot *from)
{
	struct refs_slot *s = &t->slots[i];

	if (from->first % UNITS != 0 || from->first >= REFS_SLOTS_PER_SEGMENT * UNITS ||
	    slot_find(t, from->segment, from->first) != NULL)
		return -ERR_CORRUPT; /* R2 */
	slot_set(t, i, from->segment, from->first);
	memcpy(s->counts, from->counts, sizeof(s->counts));
	for (uint32_t k = 0; k < UNITS; k++)
		s->used += s->counts[k] != 0;
	t->shared_count += s->used;
	return s->used == 0 ? -ERR_CORRUPT : 0; /* R1 */
}

int refs_decode(struct refs *t, uint32_t page, const struct disk_refs *d, uint32_t segment_count)
{
	uint64_t max = (uint64_t)segment_count * REFS_SLOTS_PER_SEGMENT / REFS_SLOTS_PER_PAGE;

	if (page > max || page < refs_pages(t))
		return -ERR_CORRUPT;
	for (uint32_t k = 0; k < REFS_SLOTS_PER_PAGE; k++) {
		uint32_t i = page * REFS_SLOTS_PER_PAGE + k;
		int rc = 0;

		while (rc == 0 && i >= t->slot_max)
			rc = slots_grow(t);
		if (rc == 0 && t->live_count >= t->head_count)
			rc = heads_grow(t);
		if (rc < 0)
			return rc;
		for (; t->slot_count <= i; t->slot_count++)
			t->slots[t->slot_count].segment = NOT_ANY;
		if (d->slots[k].segment == NOT_ANY)
			continue;
		rc = d->slots[k].segment < segment_count ? slot_decode(t, i, &d->slots[k])
							 : -ERR_CORRUPT;
		if (rc < 0)
			return rc;
	}
	t->dirty[page] = 0;
	return 0;
}

bool refs_slot_at(const struct refs *t, uint32_t i, uint32_t *ret_segment, uint32_t *ret_first,
		  const uint16_t **ret_counts)
{
	const struct refs_slot *s = &t->slots[i];

	if (i >= t->slot_count || s->segment == NOT_ANY)
		return false;
	*ret_segment = s->segment;
	*ret_first = s->first;
	*ret_counts = s->counts;
	return true;
}
