/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/types.h: numbers that must never mix are structs of one field; shared limits. */
#ifndef TS_BASE_TYPES_H
#define TS_BASE_TYPES_H

#include <stdbool.h>
#include <stdint.h>

/* A byte position in a group's logical journal; a multiple of 4096; 0 is the start of history. */
struct lsn {
	uint64_t v;
};

/* Nanoseconds of CLOCK_BOOTTIME (counts through suspend): for every duration and deadline. */
struct mono_ns {
	uint64_t v;
};

/* Nanoseconds since 1970, UTC: only to be shown and stored, never to decide. */
struct wall_ns {
	uint64_t v;
};

/* One reign of one primary.  `incarnation` is the boot of the site that was granted it. */
struct epoch {
	uint64_t number;
	uint64_t incarnation;
	uint32_t site; /* raft id of the site's quorum member, or 1 in a site alone */
};

static inline struct lsn lsn_min(struct lsn a, struct lsn b)
{
	return a.v < b.v ? a : b;
}

static inline struct lsn lsn_max(struct lsn a, struct lsn b)
{
	return a.v > b.v ? a : b;
}

#define BLOCK_BYTES 4096u /* unit of everything on disk and of checksums */
#define BLOCK_SHIFT 12u
#define CHUNK_BYTES 65536u /* unit of home space */
#define CHUNK_BLOCKS 16u
#define LEAF_BYTES (2u << 20) /* one map leaf covers this much of a volume */
#define LEAF_BLOCKS 512u
#define LEAF_CHUNKS 32u
#define NAME_BYTES_MAX 63u	/* [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
#define SITE_NAME_BYTES_MAX 32u /* [a-z0-9-]{1,32} */
#define SITES_MAX 4u		/* data sites of one group */
#define IO_BYTES_MAX (1u << 20) /* one write or read operation inside the engine */
#define VOLUMES_MAX 256u	/* of one group; slots 0..255 are never reused */

#define MS_NS 1000000ull
#define SEC_NS 1000000000ull

#endif
