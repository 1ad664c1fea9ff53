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
#define INSPECT_FLOORS 32u
#define INSPECT_BITMAPS 64u
#define INSPECT_REFS 128u
#define INSPECT_VOLUMES 256u
#define INSPECT_SNAPSHOTS 512u
#define INSPECT_RECORDS 1024u /* one by one: long */
#define INSPECT_ALL 1023u     /* but records */

/* The word for a part: "superblock", "floors", ...; 0: no such word. */
uint32_t inspect_part(const char *word);

struct store_inspect {
	struct completion done; /* 0, or as store_open; -ERR_NOT_FOUND: no such volume */
	uint32_t parts;		/* INSPECT_* */
	bool json;
	uint64_t memory_bytes;
	/* NULL, or the volume whose map pages are shown; with has_block only those on the way to that block,
	 * and the entries of its leaf. */
	const char *group, *volume;
	bool has_block;
	uint64_t block;
	void (*line)(
		void *ctx,
		const char *line); /* without a newline; JSON lines together are one document */
	void *ctx;
	int rc; /* private */
};

void store_inspect(struct env *env, struct disk *disk, struct store_inspect *q);

#endif
