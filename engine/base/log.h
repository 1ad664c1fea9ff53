/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/log.h: where lines for people go.  One failure, one line: what was attempted, on
 * what, the result, the consequence. */
#ifndef TS_BASE_LOG_H
#define TS_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#include "engine/base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log {
	enum log_level level; /* lines above it are dropped */
	/* `room` is a short constant ("store"), `line` has no newline. */
	void (*write)(struct log *log, enum log_level level, const char *room, const char *line);
};

PRINTF_LIKE(4, 5)
void log_line(struct log *log, enum log_level level, const char *room, const char *fmt, ...);

#define log_error(log, room, ...) log_line(log, LOG_ERROR, room, __VA_ARGS__)
#define log_warn(log, room, ...) log_line(log, LOG_WARN, room, __VA_ARGS__)
#define log_info(log, room, ...) log_line(log, LOG_INFO, room, __VA_ARGS__)
#define log_debug(log, room, ...)                                    \
	do {                                                         \
		if ((log)->level >= LOG_DEBUG)                       \
			log_line(log, LOG_DEBUG, room, __VA_ARGS__); \
	} while (0)

#endif
