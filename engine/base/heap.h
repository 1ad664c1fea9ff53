/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/heap.h: what is due first: a binary heap of things that know their own place.
 *
 * For timers (port/clock.h) of the real clock and of the simulator, and for any schedule.  Equal
 * keys come out in the order in which they went in.  The item keeps a uint32_t for its place (0:
 * not in the heap), so it can be removed from the middle.  Items are borrowed while inside.
 *
 *	rc = heap_push(&h, t->deadline.v, t, &t->heap_index);
 *	while (heap_count(&h) > 0 && heap_first_key(&h) <= now)
 *		completion_fire(&((struct timer *)heap_pop(&h))->done, 0);
 */
#ifndef TS_BASE_HEAP_H
#define TS_BASE_HEAP_H

#include <stdint.h>

#include "engine/base/attr.h"

struct heap_entry {
	uint64_t key, order;
	void *item;
	uint32_t *index; /* the item's field: 1-based place in entries, 0 outside */
};

struct heap {
	/* fields are private */
	struct heap_entry *entries;
	uint32_t count, capacity;
	uint64_t order_next;
};

void heap_init(struct heap *h);
void heap_fini(struct heap *h); /* items still inside are forgotten, their index untouched */

/* Room for `count` items without another allocation.  -ERR_NOMEM. */
MUST_CHECK int heap_reserve(struct heap *h, uint32_t count);

/* Put item in; *index must be 0 and says its place until it leaves.  -ERR_NOMEM, never while fewer
 * items are inside than were reserved. */
MUST_CHECK int heap_push(struct heap *h, uint64_t key, void *item, uint32_t *index);

/* Take the item out whose index is at `index` (must be inside); sets *index to 0. */
void heap_remove(struct heap *h, uint32_t *index);

static inline uint32_t heap_count(const struct heap *h)
{
	return h->count;
}

/* The least key; the heap must not be empty. */
uint64_t heap_first_key(const struct heap *h);

/* The item with the least key, NULL when empty; pop takes it out. */
void *heap_first(const struct heap *h);
void *heap_pop(struct heap *h);

#endif
