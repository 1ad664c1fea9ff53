/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/arena.h: bounded memory of one message; everything is freed at once. */
#ifndef TS_ADMIN_ARENA_H
#define TS_ADMIN_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/attr.h"

struct arena_chunk;

struct arena {
	ProtobufCAllocator allocator; /* for protobuf_c_message_unpack; its free does nothing */
	/* fields below are private */
	struct arena_chunk *chunks; /* the newest first */
	size_t bytes, bytes_max;
};

void arena_init(struct arena *a, size_t bytes_max);
void arena_fini(struct arena *a); /* may be used again */

/* Zeroed and aligned to 16, or NULL: no memory, or more than bytes_max in all. */
void *arena_take(struct arena *a, size_t bytes);
/* A copy; NULL like arena_take. */
char *arena_text(struct arena *a, const char *text);
PRINTF_LIKE(2, 3)
char *arena_format(struct arena *a, const char *fmt, ...); /* at most 1023 characters */

#endif
