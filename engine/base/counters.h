/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/counters.h: one array of monotonic counters per environment (one per thread). */
#ifndef TS_BASE_COUNTERS_H
#define TS_BASE_COUNTERS_H

#include <stdint.h>

enum counter_id {
#define COUNTER(id, metric, labels, help) CTR_##id,
#include "engine/base/counters.tbl"
#undef COUNTER
	CTR_COUNT
};

struct counters {
	uint64_t v[CTR_COUNT];
};

static inline void counter_add(struct counters *c, enum counter_id id, uint64_t n)
{
	c->v[id] += n;
}

const char *counter_metric(enum counter_id id);
const char *counter_labels(enum counter_id id);
const char *counter_help(enum counter_id id);

#endif
