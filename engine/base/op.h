/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/op.h: operations, completions and the ready queue (STYLE 2.5).
 *
 * An operation waits for completions; a completion that fires records its result, clears its bit
 * in op->waits and puts the operation on the ready queue of its world (env->ready).  Nothing calls
 * back synchronously, ever: whoever completes something calls completion_fire and goes on; the
 * loop of the world runs ready_run until dry.  A step must look at op->waits (a step may run while
 * other bits are still set) and must tolerate being run without news (op_wake).
 *
 * An operation may give itself back (to its pool) in its own step, as its last statement, only
 * when op->waits is 0 and it is not queued.
 */
#ifndef TS_BASE_OP_H
#define TS_BASE_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/assert.h"
#include "engine/base/list.h"

struct ready {
	struct list ops;
	uint64_t steps; /* run so far, for the simulator's trace */
};

struct op {
	/* fields are private to this header, but `waits` may be read */
	void (*step)(struct op *op);
	struct ready *ready;
	struct list_link link;
	uint32_t waits;
};

struct completion {
	struct op *op; /* NULL: not armed */
	uint32_t bit;
	int rc; /* result; valid once the bit is cleared */
};

static inline void ready_init(struct ready *r)
{
	list_init(&r->ops);
	r->steps = 0;
}

static inline void op_init(struct op *op, struct ready *ready, void (*step)(struct op *op))
{
	op->step = step;
	op->ready = ready;
	op->waits = 0;
	list_link_init(&op->link);
}

/* Run op's step soon; any number of wakes before it runs count as one. */
static inline void op_wake(struct op *op)
{
	if (!list_linked(&op->link))
		list_push_back(&op->ready->ops, &op->link);
}

/* Take op off the ready queue (before it is given back or freed from outside its own step). */
static inline void op_unqueue(struct op *op)
{
	if (list_linked(&op->link))
		list_remove(&op->link);
}

/* Arm c: op now waits for `bit` (exactly one bit, not yet waited for). */
static inline void completion_arm(struct completion *c, struct op *op, uint32_t bit)
{
	assert(bit != 0 && (bit & (bit - 1)) == 0);
	assert((op->waits & bit) == 0);
	op->waits |= bit;
	c->op = op;
	c->bit = bit;
	c->rc = 0;
}

static inline bool completion_armed(const struct completion *c)
{
	return c->op != NULL;
}

/* Fire an armed completion once; rc is 0, a count, or a negative error code. */
static inline void completion_fire(struct completion *c, int rc)
{
	struct op *op = c->op;

	assert(op != NULL);
	assert((op->waits & c->bit) != 0);
	op->waits &= ~c->bit;
	c->rc = rc;
	c->op = NULL;
	op_wake(op);
}

/* Step operations until none is ready or `steps_max` have run; true if some are left. */
bool ready_run(struct ready *r, uint64_t steps_max);

#endif
