/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check_suspect.h: blocks in home with a wrong checksum that fold may have been writing when
 * the store stopped; the check judges them when it knows which trees have their pages (check.c CK2).
 */
#ifndef TS_STORE_CHECK_SUSPECT_H
#define TS_STORE_CHECK_SUSPECT_H

#include "engine/base/types.h"
#include "engine/store/map_cache.h"

/* Some blocks of one chunk, as one tree reaches them. */
struct suspect {
	uint32_t tree;	 /* of the check's */
	uint16_t blocks; /* those in doubt, one bit each */
	uint64_t block;	 /* of the volume, the chunk's first */
	uint64_t chunk;	 /* byte offset on the disk; the pages too, from the root to the leaf */
	uint64_t pages[MAP_DEPTH_MAX + 1];
	uint32_t page_count;
};

struct suspects {
	struct suspect *list; /* malloced */
	uint32_t count, max;
};

/* Takes a copy. -ERR_NOMEM: nothing changed. */
MUST_CHECK int suspects_add(struct suspects *s, const struct suspect *one);
void suspects_fini(struct suspects *s);

#endif
