/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/counters.c
 * Purpose.  The names of the counters, from counters.tbl.
 */
#include "engine/base/counters.h"

#include "engine/base/assert.h"

static const struct {
	const char *metric, *labels, *help;
} counter_rows[CTR_COUNT] = {
#define COUNTER(id, metric, labels, help) [CTR_##id] = {metric, labels, help},
#include "engine/base/counters.tbl"
#undef COUNTER
};

const char *counter_metric(enum counter_id id)
{
	assert(id < CTR_COUNT);
	return counter_rows[id].metric;
}

const char *counter_labels(enum counter_id id)
{
	assert(id < CTR_COUNT);
	return counter_rows[id].labels;
}

const char *counter_help(enum counter_id id)
{
	assert(id < CTR_COUNT);
	return counter_rows[id].help;
}
