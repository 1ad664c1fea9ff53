/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/json.c
 * Purpose.     JSON (RFC 8259) with commas and escapes in the right places.
 * Invariants.  N1  What is written is ASCII and valid: other bytes are escaped, or '?' when they are
 *                  not UTF-8.
 */
#include "tools/ctl/json.h"

#include <string.h>
#include <time.h>

#include "engine/base/assert.h"

static void quote(FILE *out, const char *text);

void json_begin(struct json *j, FILE *out)
{
	memset(j, 0, sizeof(*j));
	j->out = out;
}

void json_end(struct json *j)
{
	assert(j->depth == 0);
	fputc('\n', j->out);
}

static void json_key(struct json *j, const char *key)
{
	if (j->filled[j->depth])
		fputs(j->depth == 0 ? "\n" : ", ", j->out);
	j->filled[j->depth] = true;
	if (key == NULL)
		return;
	quote(j->out, key);
	fputs(": ", j->out);
}

static void json_open(struct json *j, const char *key, char bracket)
{
	json_key(j, key);
	fputc(bracket, j->out);
	j->depth++;
	assert(j->depth < JSON_DEPTH_MAX);
	j->filled[j->depth] = false;
}

static void json_shut(struct json *j, char bracket)
{
	assert(j->depth > 0);
	j->depth--;
	fputc(bracket, j->out);
}

void json_object(struct json *j, const char *key)
{
	json_open(j, key, '{');
}

void json_array(struct json *j, const char *key)
{
	json_open(j, key, '[');
}

void json_close_object(struct json *j)
{
	json_shut(j, '}');
}

void json_close_array(struct json *j)
{
	json_shut(j, ']');
}

void json_text(struct json *j, const char *key, const char *value)
{
	json_key(j, key);
	quote(j->out, value);
}

void json_number(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	fprintf(j->out, "%llu", (unsigned long long)value);
}

void json_real(struct json *j, const char *key, double value)
{
	json_key(j, key);
	if (value >= 0 && value <= 1e15) /* no NaN, no infinity: JSON has none */
		fprintf(j->out, "%.3f", value);
	else
		fputs("null", j->out);
}

void json_bool(struct json *j, const char *key, bool value)
{
	json_key(j, key);
	fputs(value ? "true" : "false", j->out);
}

void json_null(struct json *j, const char *key)
{
	json_key(j, key);
	fputs("null", j->out);
}

void json_time(struct json *j, const char *key, uint64_t ns)
{
	char text[32];

	if (ns == 0) {
		json_null(j, key);
		return;
	}
	time_text(ns, text);
	json_text(j, key, text);
}

void time_text(uint64_t ns, char *ret)
{
	time_t seconds = (time_t)(ns / 1000000000u);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(ret, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, 32 - n, ".%03uZ", (unsigned)(ns / 1000000u % 1000u));
}

/* Bytes of the UTF-8 sequence at s and its code point; 0: it is not one (RFC 3629). */
static uint32_t utf8(const unsigned char *s, uint32_t *ret_point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t n = s[0] < 0x80       ? 1
		     : s[0] >> 5 == 6  ? 2
		     : s[0] >> 4 == 14 ? 3
		     : s[0] >> 3 == 30 ? 4
				       : 0;
	uint32_t point = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	for (uint32_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3fu);
	}
	if (n == 0 || point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	*ret_point = point;
	return n;
}

static void quote(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	uint32_t point, n;

	fputc('"', out);
	while (*s != '\0') {
		n = utf8(s, &point);
		s += n == 0 ? 1 : n;
		if (n == 0)
			fputc('?', out); /* N1 */
		else if (point == '"' || point == '\\')
			fprintf(out, "\\%c", (int)point);
		else if (point == '\n' || point == '\t')
			fputs(point == '\n' ? "\\n" : "\\t", out);
		else if (point >= 0x10000)
			fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((point - 0x10000) >> 10),
				0xdc00 + (point & 0x3ff));
		else if (point < 0x20 || point >= 0x7f)
			fprintf(out, "\\u%04x", point);
		else
			fputc((int)point, out);
	}
	fputc('"', out);
}
