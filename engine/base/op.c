/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/op.c
 * Purpose.     Runs what is ready, in the order in which it became ready.
 * Invariants.  O1  A step starts with its op off the queue, so it may wake itself or give itself back.
 *              O2  First woken, first stepped: a world's trace depends on its inputs only.
 */
#include "engine/base/op.h"

#include "engine/base/attr.h"

bool ready_run(struct ready *r, uint64_t steps_max)
{
	for (uint64_t n = 0; n < steps_max; n++) {
		struct list_link *link = list_pop_front(&r->ops);
		struct op *op;

		if (link == NULL)
			return false;
		op = container_of(link, struct op, link);
		assert(op->ready == r);
		assert(!list_linked(&op->link)); /* O1 */
		r->steps++;
		op->step(op);
	}
	return !list_empty(&r->ops);
}
