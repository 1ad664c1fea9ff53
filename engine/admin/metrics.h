/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/metrics.h: the server's numbers as Prometheus text, and whether it is healthy. */
#ifndef TS_ADMIN_METRICS_H
#define TS_ADMIN_METRICS_H

#include "engine/admin/server_state.h"
#include "engine/admin/text.h"

void metrics_write(const struct admin_server *s, struct text *out);
/* One line: "ok", or what is wrong; true: healthy. */
bool health_write(const struct admin_server *s, struct text *out);

/* The same tables as troff, for the manual (metrics_manual.c). */
void metrics_manual(struct text *out);

#endif
