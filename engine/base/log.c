/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/log.c
 * Purpose.  Makes one line out of a format and hands it to the log's writer.
 * Limits.   A line is cut at LOG_LINE_BYTES and then ends in "...".  Control characters, which a
 *           peer or a client may have sent, become '?': one call is one line.
 */
#include "engine/base/log.h"

#include <stdio.h>
#include <string.h>

#define LOG_LINE_BYTES 1024

void log_line(struct log *log, enum log_level level, const char *room, const char *fmt, ...)
{
	char line[LOG_LINE_BYTES];
	va_list args;
	int n;

	if (level > log->level)
		return;
	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n < 0)
		snprintf(line, sizeof(line), "a log line that cannot be formatted");
	else if ((size_t)n >= sizeof(line))
		memcpy(line + sizeof(line) - 4, "...", 4);
	for (char *c = line; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	log->write(log, level, room, line);
}
