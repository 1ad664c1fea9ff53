/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/heap.c
 * Purpose.     An indexed binary heap with stable order.
 * Invariants.  H1  No entry is before its parent, by (key, order); orders are unique.
 *              H2  *entries[i].index == i + 1 for every entry, and 0 for what is outside.
 * Ownership.   The heap owns the array, never the items.
 * Failure.     Only growing fails; then nothing has changed.
 */
#include "engine/base/heap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"

#define HEAP_CAPACITY_FIRST 64u

static bool heap_before(const struct heap_entry *a, const struct heap_entry *b);
static void heap_place(struct heap *h, uint32_t at, struct heap_entry e);
static void heap_sift_up(struct heap *h, uint32_t at, struct heap_entry e);
static void heap_sift_down(struct heap *h, uint32_t at, struct heap_entry e);

void heap_init(struct heap *h)
{
	memset(h, 0, sizeof(*h));
}

void heap_fini(struct heap *h)
{
	free(h->entries);
	memset(h, 0, sizeof(*h));
}

int heap_reserve(struct heap *h, uint32_t count)
{
	struct heap_entry *entries;

	if (count <= h->capacity)
		return 0;
	entries = reallocarray(h->entries, count, sizeof(*entries));
	if (entries == NULL)
		return -ERR_NOMEM;
	h->entries = entries;
	h->capacity = count;
	return 0;
}

int heap_push(struct heap *h, uint64_t key, void *item, uint32_t *index)
{
	struct heap_entry e = {.key = key, .item = item, .index = index};

	assert(*index == 0); /* H2 */
	if (h->count == h->capacity) {
		int rc;

		assert(h->capacity < UINT32_MAX / 2);
		rc = heap_reserve(h, h->capacity == 0 ? HEAP_CAPACITY_FIRST : h->capacity * 2);
		if (rc < 0)
			return rc;
	}
	e.order = h->order_next++;
	heap_sift_up(h, h->count++, e);
	return 0;
}

void heap_remove(struct heap *h, uint32_t *index)
{
	uint32_t at = *index - 1;
	struct heap_entry last;

	assert(*index > 0 && at < h->count);
	assert(h->entries[at].index == index); /* H2 */
	*index = 0;
	last = h->entries[--h->count];
	if (at == h->count)
		return;
	if (at > 0 && heap_before(&last, &h->entries[(at - 1) / 2]))
		heap_sift_up(h, at, last);
	else
		heap_sift_down(h, at, last);
}

uint64_t heap_first_key(const struct heap *h)
{
	assert(h->count > 0);
	return h->entries[0].key;
}

void *heap_first(const struct heap *h)
{
	return h->count == 0 ? NULL : h->entries[0].item;
}

void *heap_pop(struct heap *h)
{
	void *item = heap_first(h);

	if (item != NULL)
		heap_remove(h, h->entries[0].index);
	return item;
}

static bool heap_before(const struct heap_entry *a, const struct heap_entry *b)
{
	return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void heap_place(struct heap *h, uint32_t at, struct heap_entry e)
{
	h->entries[at] = e;
	*e.index = at + 1; /* H2 */
}

/* Move the hole at `at` up until e may stand in it. */
static void heap_sift_up(struct heap *h, uint32_t at, struct heap_entry e)
{
	while (at > 0 && heap_before(&e, &h->entries[(at - 1) / 2])) {
		heap_place(h, at, h->entries[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_place(h, at, e); /* H1 */
}

/* Move the hole at `at` down until e may stand in it. */
static void heap_sift_down(struct heap *h, uint32_t at, struct heap_entry e)
{
	for (;;) {
		uint32_t child = at * 2 + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && heap_before(&h->entries[child + 1], &h->entries[child]))
			child++;
		if (!heap_before(&h->entries[child], &e))
			break;
		heap_place(h, at, h->entries[child]);
		at = child;
	}
	heap_place(h, at, e); /* H1 */
}
