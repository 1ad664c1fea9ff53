/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/policy/pace.c
 * Purpose.     Background reading takes what clients leave over, and never stops for good.
 * Invariants.  PA1 The answer is within floor..max, whatever is asked.
 *              PA2 It halves when clients feel it and grows by equal steps when they do not, so that two
 *                  sites that read from one disk come to rest.
 */
#include "engine/policy/pace.h"

#include "engine/base/assert.h"

#define STEPS 8u

static uint64_t bounded(uint64_t rate, const struct pace_facts *f)
{
	return rate < f->floor ? f->floor : rate > f->max ? f->max : rate;
}

uint64_t pace_next(const struct pace_facts *f)
{
	assert(f->floor <= f->max); /* PA1 */
	if (f->recent_ns == 0)
		return f->max;
	if (f->baseline_ns == 0)
		return bounded(f->now, f);
	if (f->recent_ns / 2 >= f->baseline_ns)
		return bounded(f->now / 2, f); /* PA2 */
	if (f->recent_ns - f->recent_ns / 4 <= f->baseline_ns)
		return bounded(f->now < f->max ? f->now + f->max / STEPS + 1 : f->max, f);
	return bounded(f->now, f);
}
