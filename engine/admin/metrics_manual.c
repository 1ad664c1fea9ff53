/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/metrics_manual.c
 * Purpose.     The documentation of /metrics, made from the tables that make /metrics.
 */
#include "engine/admin/metrics.h"
#include "engine/base/counters.h"

static void manual_row(struct text *t, const char *name, const char *labels, const char *type,
		       const char *help)
{
	text_add(t, ".TP\n.B %s", name);
	if (labels[0] != '\0')
		text_add(t, "{%s}", labels);
	text_add(t, "\n%s; %s.\n", type, help);
}

void metrics_manual(struct text *t)
{
#define METRIC(id, name, type, labels, help) manual_row(t, name, labels, type, help);
#include "engine/admin/metrics.tbl"
#undef METRIC
	for (uint32_t i = 0; i < CTR_COUNT; i++) {
		enum counter_id id = (enum counter_id)i;

		manual_row(t, counter_metric(id), counter_labels(id), "counter", counter_help(id));
	}
}
