/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/checkpoint.h: what a replica hands over to be made durable at a checkpoint, and gets
 * back at open.  Encoded in the group table (layout.h, proto/store.md).
 */
#ifndef TS_STORE_CHECKPOINT_H
#define TS_STORE_CHECKPOINT_H

#include "engine/store/journal.h"
#include "engine/store/replica.h"

struct map;

#define REPLICA_FLAG_STAGING 1u

struct volume_root {
	struct replica_volume volume;
	uint64_t root;	       /* page address; CHUNK_NONE: empty tree */
	uint64_t root_crc;     /* CRC64 of that page */
	uint64_t root_digest;  /* logical digest */
	uint32_t depth;
};

struct replica_root {
	struct uuid group;
	char name[NAME_BYTES_MAX + 1];
	uint32_t flags;
	struct lsn fold;	/* everything below is in home under this checkpoint */
	struct lsn commit;
	struct lsn durable_known; /* a durable LSN of this replica when the checkpoint was written */
	uint64_t content_generation;
	uint64_t last_forced_epoch;
	struct journal_root journal;
	struct epoch_entry epochs[EPOCHS_MAX];
	uint32_t epoch_count;
	struct volume_root *volumes; /* allocated by the owner of the root; VOLUMES_MAX at most */
	uint32_t volume_count;
};

#endif
