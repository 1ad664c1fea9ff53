/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/gate.c
 * Purpose.     Order among overlapping operations of a volume, without locks.
 * Invariants.  G1 An entry runs only if no earlier conflicting overlapping entry is in the gate.
 *              G2 An entry that spans more than one window is in `wide`, all others in the bucket
 *                 of their window.
 * Ownership.   Entries belong to their operations.
 * Limits.      As many entries as operations: bounded by the front door.  A bucket is walked, so
 *              cost grows with the operations in one 1 MiB window, not with all.
 */
#include "engine/volume/gate.h"

static bool gate_conflict(const struct gate_entry *a, const struct gate_entry *b);
static bool gate_blocked_in(const struct list *l, const struct gate_entry *e);
static bool gate_blocked(const struct gate *g, const struct gate_entry *e);
static void gate_release_in(struct gate *g, struct list *l, const struct gate_entry *left);

static struct list *gate_bucket(struct gate *g, uint64_t block)
{
	return &g->window[block / GATE_WINDOW_BLOCKS % GATE_WINDOWS];
}

void gate_init(struct gate *g)
{
	for (uint32_t i = 0; i < GATE_WINDOWS; i++)
		list_init(&g->window[i]);
	list_init(&g->wide);
	g->arrivals = 0;
	g->count = 0;
}

bool gate_enter(struct gate *g, struct gate_entry *e, uint64_t begin, uint64_t end, bool writes,
		struct op *op)
{
	assert(begin < end);
	e->begin = begin;
	e->end = end;
	e->writes = writes;
	e->op = op;
	e->order = ++g->arrivals;
	e->wide = begin / GATE_WINDOW_BLOCKS != (end - 1) / GATE_WINDOW_BLOCKS; /* G2 */
	list_link_init(&e->link);
	e->waiting = gate_blocked(g, e);
	list_push_back(e->wide ? &g->wide : gate_bucket(g, begin), &e->link);
	g->count++;
	return !e->waiting;
}

bool gate_may_run(const struct gate_entry *e)
{
	return !e->waiting;
}

void gate_leave(struct gate *g, struct gate_entry *e)
{
	assert(list_linked(&e->link));
	list_remove(&e->link);
	assert(g->count > 0);
	g->count--;
	if (e->wide) {
		for (uint32_t i = 0; i < GATE_WINDOWS; i++)
			gate_release_in(g, &g->window[i], e);
	} else {
		gate_release_in(g, gate_bucket(g, e->begin), e);
	}
	gate_release_in(g, &g->wide, e);
}

static bool gate_conflict(const struct gate_entry *a, const struct gate_entry *b)
{
	return (a->writes || b->writes) && a->begin < b->end && b->begin < a->end;
}

/* Earlier entries only: lists are in order of arrival. */
static bool gate_blocked_in(const struct list *l, const struct gate_entry *e)
{
	LIST_FOR_EACH(n, l) {
		const struct gate_entry *o = container_of(n, struct gate_entry, link);

		if (o->order >= e->order)
			return false;
		if (gate_conflict(o, e))
			return true;
	}
	return false;
}

static bool gate_blocked(const struct gate *g, const struct gate_entry *e)
{
	if (gate_blocked_in(&g->wide, e))
		return true;
	if (!e->wide)
		return gate_blocked_in(&g->window[e->begin / GATE_WINDOW_BLOCKS % GATE_WINDOWS], e);
	for (uint32_t i = 0; i < GATE_WINDOWS; i++)
		if (gate_blocked_in(&g->window[i], e))
			return true;
	return false;
}

static void gate_release_in(struct gate *g, struct list *l, const struct gate_entry *left)
{
	LIST_FOR_EACH(n, l) {
		struct gate_entry *o = container_of(n, struct gate_entry, link);

		if (o->waiting && gate_conflict(left, o) && !gate_blocked(g, o)) {
			o->waiting = false; /* G1 */
			op_wake(o->op);
		}
	}
}
