/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/node_log.h: log lines to stderr, as text or JSON, from any thread of the process. */
#ifndef TS_NODE_LOG_H
#define TS_NODE_LOG_H

#include "engine/base/log.h"

struct node_log {
	struct log log; /* give &log to the rooms */
	bool json;
	const char *name; /* of the site */
};

void node_log_init(struct node_log *l, const char *name, enum log_level level, bool json);

#endif
