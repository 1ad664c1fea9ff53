/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/inspect_print.c
 * Purpose.     Lines of an inspection: a part is an array of objects in JSON, a heading and lines of
 *              name=value in text.
 * Invariants.  IN1 The JSON and the text say the same things under the same names.
 * Limits.      A line is cut at INSPECT_LINE_BYTES; the fields of one object are far below.
 */
#include "engine/store/inspect_state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

PRINTF_LIKE(2, 3)
static void add(struct inspecting *i, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(i->line + i->used, INSPECT_LINE_BYTES - i->used, fmt, ap);
	va_end(ap);
	i->used += n < 0 ? 0 : (uint32_t)n;
	i->used = i->used < INSPECT_LINE_BYTES - 1 ? i->used : INSPECT_LINE_BYTES - 1;
}

static void flush_line(struct inspecting *i)
{
	i->line[i->used] = 0;
	i->q->line(i->q->ctx, i->line);
	i->used = 0;
}

void part_begin(struct inspecting *i, const char *name)
{
	if (i->q->json)
		add(i, "%s\"%s\": [", i->comma_part ? "," : "", name);
	else
		add(i, "%s:", name);
	flush_line(i);
	i->comma_part = true;
	i->comma = false;
}

void part_end(struct inspecting *i)
{
	if (!i->q->json)
		return;
	add(i, "]");
	flush_line(i);
}

void object_begin(struct inspecting *i)
{
	add(i, "%s", i->q->json ? i->comma ? ",{" : "{" : " ");
	i->comma = true;
	i->comma_field = false;
}

void object_end(struct inspecting *i)
{
	if (i->q->json)
		add(i, "}");
	flush_line(i);
}

static void field_name(struct inspecting *i, const char *name)
{
	if (i->q->json)
		add(i, "%s\"%s\": ", i->comma_field ? ", " : "", name);
	else
		add(i, " %s=", name);
	i->comma_field = true;
}

void field_u64(struct inspecting *i, const char *name, uint64_t v)
{
	field_name(i, name);
	add(i, "%" PRIu64, v);
}

/* Names are of [A-Za-z0-9._-] (types.h), but a damaged store may say anything. */
void field_text(struct inspecting *i, const char *name, const char *v)
{
	field_name(i, name);
	if (i->q->json)
		add(i, "\"");
	for (; *v != 0; v++)
		add(i, "%c", *v >= ' ' && *v < 127 && *v != '"' && *v != '\\' ? *v : '?');
	if (i->q->json)
		add(i, "\"");
}

void field_hex(struct inspecting *i, const char *name, uint64_t v)
{
	char text[20];

	snprintf(text, sizeof(text), "%016" PRIx64, v);
	field_text(i, name, text);
}

void field_uuid(struct inspecting *i, const char *name, const struct uuid *u)
{
	char text[UUID_TEXT_BYTES];

	uuid_format(u, text);
	field_text(i, name, text);
}
