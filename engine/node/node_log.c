/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/node_log.c
 * Purpose.     One line, one write(2): lines of several threads never mix.
 * Limits.      A line is cut at 1000 bytes.
 */
#include "engine/node/node_log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static void node_log_write(struct log *log, enum log_level level, const char *room, const char *line);

void node_log_init(struct node_log *l, const char *name, enum log_level level, bool json)
{
	l->log.level = level;
	l->log.write = node_log_write;
	l->json = json;
	l->name = name;
}

/* Quotes, backslashes and control characters, as JSON wants them. */
static void json_escape(const char *in, char *out, size_t bytes)
{
	size_t n = 0;

	for (; *in != '\0' && n + 7 < bytes; in++) {
		unsigned char ch = (unsigned char)*in;

		if (ch == '"' || ch == '\\')
			out[n++] = '\\';
		if (ch < 0x20) {
			n += (size_t)snprintf(out + n, bytes - n, "\\u%04x", ch);
			continue;
		}
		out[n++] = (char)ch;
	}
	out[n] = '\0';
}

static void node_log_write(struct log *log, enum log_level level, const char *room, const char *line)
{
	static const char *const words[] = {"error", "warning", "info", "debug", "trace"};
	struct node_log *l = (struct node_log *)(void *)log;
	char text[1200], when[40], quoted[1000];
	struct timespec ts;
	struct tm tm;
	int n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	if (l->json) {
		json_escape(line, quoted, sizeof(quoted));
		n = snprintf(text, sizeof(text),
			     "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"site\":\"%s\",\"room\":\"%s\",\"message\":\"%s\"}\n",
			     when, ts.tv_nsec / 1000000, words[level], l->name, room, quoted);
	} else {
		n = snprintf(text, sizeof(text), "%s.%03ldZ %s %s %s: %.1000s\n", when, ts.tv_nsec / 1000000, l->name,
			     words[level], room, line);
	}
	if (n > (int)sizeof(text) - 1)
		n = (int)sizeof(text) - 1;
	(void)!write(STDERR_FILENO, text, (size_t)n);
}
