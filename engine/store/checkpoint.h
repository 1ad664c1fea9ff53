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
struct store;
struct table;

#define REPLICA_FLAG_STAGING 1u

struct volume_root {
	struct replica_volume volume;
	uint64_t root;	      /* page address; CHUNK_NONE: empty tree */
	uint64_t root_crc;    /* CRC64 of that page */
	uint64_t root_digest; /* logical digest */
	uint32_t depth;
};

struct replica_root {
	struct uuid group;
	char name[NAME_BYTES_MAX + 1];
	uint32_t flags;
	struct lsn fold; /* everything below is in home under this checkpoint */
	struct lsn commit;
	struct lsn
		durable_known; /* a durable LSN of this replica when the checkpoint was written */
	uint64_t content_generation;
	uint64_t last_forced_epoch;
	struct replica_history history; /* wanted when it was written */
	struct journal_root journal;
	struct epoch_entry epochs[EPOCHS_MAX];
	uint32_t epoch_count;
	struct volume_root *volumes; /* allocated by the owner of the root; VOLUMES_MAX at most */
	uint32_t volume_count;
};

/* --- the work of a checkpoint (checkpoint.c); one per store, started by fold.c --- */

struct checkpoint;

MUST_CHECK int checkpoint_open(struct store *s, struct checkpoint **ret_checkpoint);
void checkpoint_close(struct checkpoint **cp);
bool checkpoint_is_idle(const struct checkpoint *cp);
uint64_t checkpoint_seq(const struct checkpoint *cp); /* of the durable one */
/* Of the first checkpoint that will show what is so now. */
uint64_t checkpoint_capture_seq(const struct checkpoint *cp);
struct table *checkpoint_table(struct checkpoint *cp,
			       uint32_t index); /* for open; enum store_table */
void checkpoint_set_durable(struct checkpoint *cp, uint64_t seq, uint64_t root_address); /* open */

void checkpoint_replica_gone(struct checkpoint *cp,
			     const struct replica *r); /* forget the pointer */
/* How many looks in a row its flush has been the same (stall.h); look at every one of them. */
uint32_t checkpoint_stalled(struct checkpoint *cp);
void checkpoint_wake(struct checkpoint *cp); /* no import is between its changes any more */

/* Write dirty leaves to fresh pages, so that they may leave memory; nothing durable changes. */
void checkpoint_steal(struct checkpoint *cp, struct completion *done);
/* Everything as it is; done when durable, or -ERR_FAILED (the store has failed). */
void checkpoint_run(struct checkpoint *cp, struct completion *done);

#endif
