/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/inspect.h: what a store says of itself, offline and read-only, as text or as one JSON
 * document.
 */
#ifndef TS_STORE_INSPECT_H
#define TS_STORE_INSPECT_H

#include "engine/base/op.h"
#include "engine/port/disk.h"
#include "engine/port/env.h"

#define INSPECT_SUPERBLOCK 1u
#define INSPECT_SEGMENTS 2u
#define INSPECT_JOURNAL 4u
#define INSPECT_MAP 8u
#define INSPECT_GROUPS 16u
#define INSPECT_ALL 31u

/* "superblock", "segments", "journal", "map", "groups"; 0: no such word. */
uint32_t inspect_part(const char *word);

struct store_inspect {
	struct completion done; /* 0, or as store_open */
	uint32_t parts;		/* INSPECT_* */
	bool json;
	uint64_t memory_bytes;
	void (*line)(
		void *ctx,
		const char *line); /* without a newline; JSON lines together are one document */
	void *ctx;
};

void store_inspect(struct env *env, struct disk *disk, struct store_inspect *q);

#endif
