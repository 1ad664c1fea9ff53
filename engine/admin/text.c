/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/text.c
 * Purpose.     Build an answer of unknown length.
 * Failure.     Sticky: after the first piece that did not fit `failed` stays set.
 */
#include "engine/admin/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

#define PIECE_BYTES_MAX 4096u

void text_init(struct text *t, size_t bytes_max)
{
	memset(t, 0, sizeof(*t));
	t->bytes_max = bytes_max;
}

void text_fini(struct text *t)
{
	free(t->data);
	text_init(t, t->bytes_max);
}

static bool text_grow(struct text *t, size_t more)
{
	size_t room = t->room == 0 ? 4096 : t->room;
	char *data;

	if (more > t->bytes_max - t->bytes)
		return false;
	while (room < t->bytes + more)
		room *= 2;
	if (room == t->room)
		return true;
	data = realloc(t->data, room);
	if (data == NULL)
		return false;
	t->data = data;
	t->room = room;
	return true;
}

void text_add(struct text *t, const char *fmt, ...)
{
	char piece[PIECE_BYTES_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(piece, sizeof(piece), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(piece) || t->failed || !text_grow(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	memcpy(t->data + t->bytes, piece, (size_t)n);
	t->bytes += (size_t)n;
	assert(t->bytes <= t->room);
}

char *text_give(struct text *t, size_t *ret_bytes)
{
	char *data = t->data;

	assert(!t->failed);
	*ret_bytes = t->bytes;
	text_init(t, t->bytes_max);
	return data;
}
