/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/log_stderr.c
 * Purpose.     "2026-11-20T13:00:00.123Z warn  store: text", or one JSON object per line.
 * Failure.     A line that cannot be written is lost: there is nobody else to tell.
 * Limits.      One write(2) per line, so that lines of threads do not mix.
 */
#include "engine/node/log_stderr.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void log_stderr_write(struct log *log, enum log_level level, const char *room,
			     const char *line);

void log_stderr_init(struct log_stderr *ret_log, int fd, enum log_level level, bool json)
{
	ret_log->log.level = level;
	ret_log->log.write = log_stderr_write;
	ret_log->fd = fd;
	ret_log->json = json;
}

static void time_format(char *text, size_t bytes)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(text, bytes, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, bytes - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

/* Quotes and backslashes only: log_line leaves no control characters, and what is not UTF-8 (a
 * client may have sent it) becomes '?'. */
static size_t json_escape(const char *line, char *out, size_t bytes)
{
	size_t n = 0;

	for (; *line != '\0' && n + 3 < bytes; line++) {
		if (*line == '"' || *line == '\\')
			out[n++] = '\\';
		out[n++] = (unsigned char)*line < 0x80 ? *line : '?';
	}
	out[n] = '\0';
	return n;
}

static void log_stderr_write(struct log *log, enum log_level level, const char *room,
			     const char *line)
{
	static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
	struct log_stderr *l = container_of(log, struct log_stderr, log);
	char when[48], escaped[2200], out[2400];
	int n;

	time_format(when, sizeof(when));
	if (l->json) {
		json_escape(line, escaped, sizeof(escaped));
		n = snprintf(out, sizeof(out),
			     "{\"time\":\"%s\",\"level\":\"%s\",\"room\":\"%s\",\"text\":\"%s\"}\n",
			     when, names[level], room, escaped);
	} else {
		n = snprintf(out, sizeof(out), "%s %-5s %s: %s\n", when, names[level], room, line);
	}
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(out)) {
		n = (int)sizeof(out);
		out[n - 1] = '\n';
	}
	(void)!write(l->fd, out, (size_t)n);
}
