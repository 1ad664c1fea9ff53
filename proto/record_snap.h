/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/record_snap.h: bodies of the records that make, delete, restore and clone snapshots, byte by
 * byte in proto/record.md.  What they do: engine/store/snapshot.h.
 */
#ifndef TS_PROTO_RECORD_SNAP_H
#define TS_PROTO_RECORD_SNAP_H

#include "proto/record.h"

enum record_snap_op { RECORD_SNAP_CREATE = 1, RECORD_SNAP_DELETE = 2 };

enum record_snap_flag {
	RECORD_SNAP_KEPT = 1,	   /* what a rollback replaced */
	RECORD_SNAP_BRANCH = 2,	   /* what only a deposed primary had (QUORUM J6) */
	RECORD_SNAP_SCHEDULED = 4, /* made by a policy or for shipping */
};
#define RECORD_SNAP_FLAGS 7u

struct record_snap {
	uint32_t op;
	uint32_t flags;	  /* CREATE; else 0 */
	struct uuid uuid; /* of the snapshot */
	struct lsn at; /* CREATE: content as of this record boundary; 0: of this record's begin */
	char name[NAME_BYTES_MAX + 1]; /* CREATE; else empty */
};

/* The live content becomes that of `target`; what it replaces becomes the snapshot `kept`. */
struct record_restore {
	struct uuid target, kept;
	uint64_t content_generation; /* from here on (QUORUM J14) */
	char kept_name[NAME_BYTES_MAX + 1];
};

/* First record of a cloned group: its volumes begin as those of this snapshot of another group. */
struct record_clone {
	struct uuid source; /* group */
	struct uuid snapshot;
};

uint32_t record_snap_encode(const struct record_snap *s, uint8_t body[RECORD_BODY_BYTES_MAX]);
MUST_CHECK int record_snap_decode(const uint8_t *body, uint32_t bytes, struct record_snap *ret);
uint32_t record_restore_encode(const struct record_restore *r, uint8_t body[RECORD_BODY_BYTES_MAX]);
MUST_CHECK int record_restore_decode(const uint8_t *body, uint32_t bytes,
				     struct record_restore *ret);
uint32_t record_clone_encode(const struct record_clone *c, uint8_t body[RECORD_BODY_BYTES_MAX]);
MUST_CHECK int record_clone_decode(const uint8_t *body, uint32_t bytes, struct record_clone *ret);

#endif
