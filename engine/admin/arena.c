/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/arena.c
 * Purpose.     Memory of one request or reply: taken piece by piece, freed at once.
 * Invariants.  A1  bytes is the sum of all pieces given since init, and never above bytes_max.
 * Failure.     NULL; what a message from outside costs is bounded by its arena.
 */
#include "engine/admin/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

#define CHUNK_ROOM 8192u

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, room;
	_Alignas(16) unsigned char data[];
};

static void *arena_allocate(void *ctx, size_t bytes)
{
	return arena_take(ctx, bytes);
}

static void arena_free(void *ctx, void *piece)
{
	(void)ctx;
	(void)piece; /* goes with the rest, in arena_fini */
}

void arena_init(struct arena *a, size_t bytes_max)
{
	memset(a, 0, sizeof(*a));
	a->bytes_max = bytes_max;
	a->allocator.alloc = arena_allocate;
	a->allocator.free = arena_free;
	a->allocator.allocator_data = a;
}

void arena_fini(struct arena *a)
{
	struct arena_chunk *next;

	for (struct arena_chunk *c = a->chunks; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	a->chunks = NULL;
	a->bytes = 0;
}

void *arena_take(struct arena *a, size_t bytes)
{
	struct arena_chunk *c = a->chunks;
	size_t room;
	void *piece;

	if (bytes > a->bytes_max)
		return NULL;
	bytes = bytes == 0 ? 16 : (bytes + 15) / 16 * 16;
	if (bytes > a->bytes_max - a->bytes)
		return NULL;
	if (c == NULL || c->room - c->used < bytes) {
		room = bytes > CHUNK_ROOM ? bytes : CHUNK_ROOM;
		c = calloc(1, sizeof(*c) + room);
		if (c == NULL)
			return NULL;
		c->room = room;
		c->next = a->chunks;
		a->chunks = c;
	}
	piece = c->data + c->used;
	c->used += bytes;
	a->bytes += bytes;
	assert(a->bytes <= a->bytes_max); /* A1 */
	return piece;
}

char *arena_text(struct arena *a, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = arena_take(a, bytes);

	if (copy != NULL)
		memcpy(copy, text, bytes);
	return copy;
}

char *arena_format(struct arena *a, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return arena_text(a, text);
}
