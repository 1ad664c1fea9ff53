/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/log_stderr.h: lines of the log to a descriptor, as text or JSON, whole lines only. */
#ifndef TS_NODE_LOG_STDERR_H
#define TS_NODE_LOG_STDERR_H

#include <stdbool.h>

#include "engine/base/log.h"

/* May be used by several threads at once; level may be changed at any time (SIGHUP). */
struct log_stderr {
	struct log log; /* pass this on */
	/* fields below are private */
	int fd;
	bool json;
};

/* No fini: the descriptor stays the caller's. */
void log_stderr_init(struct log_stderr *ret_log, int fd, enum log_level level, bool json);

#endif
