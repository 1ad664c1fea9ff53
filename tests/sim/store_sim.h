/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/store_sim.h: state of one run of the store simulator (store_sim*.c). */
#ifndef TS_SIM_STORE_SIM_H
#define TS_SIM_STORE_SIM_H

#include "engine/store/replica.h"
#include "engine/store/snapshot.h"
#include "engine/store/store.h"
#include "tests/sim/model.h"
#include "tests/sim/runner.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/world.h"

#define SS_APPENDS 24u
#define SS_READS 4u
#define SS_READ_BLOCKS 256u
#define SS_SPOTS 160u /* chunks of the sparse volume that are written */

struct ss_append {
	struct op op;
	struct completion done;
	bool busy;
	uint32_t index; /* in the model */
};

struct ss_read {
	struct op op;
	struct replica_read read;
	struct buf *buf;
	bool busy;
	uint32_t from;
	uint32_t before[SS_READ_BLOCKS];
};

struct ss_journal_read {
	struct op op;
	struct replica_journal_read q;
	bool busy;
};

/* One completion the driver waits for. */
struct ss_wait {
	struct op op;
	struct completion done;
};

enum ss_kind {
	SS_RECORDS,
	SS_BLOCKS,
	SS_READS_DONE,
	SS_JOURNAL_READS,
	SS_BY_REFERENCE,
	SS_COMMITS,
	SS_CRASH_POWER,
	SS_CRASH_KILL,
	SS_CRASH_IN_OPEN,
	SS_CLEAN_CLOSE,
	SS_OPENS,
	SS_CUTS,
	SS_IO_FAILED,
	SS_JOURNAL_FULL,
	SS_INDEX_FULL,
	SS_FOLDS,
	SS_CHECKPOINTS,
	SS_WRAPS,
	SS_LOST_RECORDS,
	SS_TORN_SECTORS,
	SS_LOST_SECTORS,
	SS_FLOORS,
	SS_VOLUMES_DELETED,
	SS_DIGESTS,
	SS_BIT_FLIPS,
	SS_MISPLACED,
	SS_EXCUSED,
	SS_SNAPS,
	SS_SNAP_DELETES,
	SS_SNAP_READS,
	SS_SNAP_DIGESTS,
	SS_RESTORES,
	SS_PASTS,
	SS_PASTS_MADE,
	SS_PASTS_MISSING,
	SS_PASTS_AGAIN,
	SS_DELTAS,
	SS_DELTA_BLOCKS,
	SS_VOLUMES_GROWN,
	SS_CLONES,
	SS_CLONES_DELETED,
	SS_CLONE_DIGESTS,
	SS_OPERATIONS,
	SS_CHECKS,
	SS_REFUSED,
	SS_KINDS
};

struct ss {
	struct world *w;
	struct world_node *node;
	struct env *env;
	struct sim_disk *disk;
	struct store *store;
	struct replica *r;
	struct uuid group;
	struct model *m;
	struct prng prng, past_prng; /* the second: so that runs without history stay as they are */
	struct store_opts opts;
	uint64_t epoch;
	uint64_t wall;
	struct ss_append appends[SS_APPENDS];
	struct ss_read reads[SS_READS];
	struct ss_journal_read journal_read;
	struct ss_wait wait, lone[4]; /* lone: requests nobody waits for */
	uint64_t spots[SS_SPOTS];
	struct store_floor floor, floor_durable;
	struct snapshot *held; /* open over several actions */
	struct model_snap *held_model;
	struct snapshot *delta_from; /* open while a delta is walked; `held` is its other end */
	struct snapshot_delta delta;
	uint64_t snap_uuids; /* given so far */
	/* store_sim_clone.c: the clone; of a clone: the group it comes from.  NULL: none. */
	struct ss *kin;
	uint32_t clones_made;
	bool created, leaving; /* a clone: was told to be there; its deletion was asked for */
	struct replica_history history;
	uint64_t disk_bytes;
	bool small;	  /* the disk: it gets full, and writes are refused as the engine does */
	uint64_t stop_at; /* fixed stop_nth after format; 0: by the seed */
	bool down;	  /* the power failed at an I/O: crash before going on */
	/* Bits were flipped, or a write lands elsewhere: errors are allowed and end the run; wrong data
	 * never is. */
	bool rots, misplaces, rotten, excused;
	bool failed;
	char what[1024];
	uint64_t *kinds;
};

/* Wrong data, whatever happened to the disk. */
void ss_fail_data(struct ss *s, const char *what);
void ss_fail(struct ss *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Run until the armed s->wait fired: its rc. -ERR_TIMEOUT with s->down set: the power failed;
 * without: a violation (stuck) was noted. */
struct completion *ss_arm(struct ss *s);
int ss_wait(struct ss *s, const char *what);
void ss_run(struct ss *s, uint64_t ns);

/* store_sim_ops.c: one random action. */
void ss_action(struct ss *s);
void ss_append_write(struct ss *s);
void ss_commit_some(struct ss *s);
void ss_read_some(struct ss *s);
/* store_sim.c: after an opening: keep the tail or cut it, begin an epoch, commit, look at everything. */
void ss_take_over(struct ss *s, bool clean);
/* Append a record of volume creation and the like; waits for room; true if appended. */
bool ss_append_volume(struct ss *s, const struct record_volume *v);
bool ss_append_epoch(struct ss *s);
bool ss_append_body(struct ss *s, enum record_type type, const uint8_t *body, uint32_t bytes,
		    const struct model_body *what);
/* Raise commit to lsn and see it done. */
void ss_commit(struct ss *s, struct lsn lsn);
void ss_drain(struct ss *s); /* wait for appends and reads */
void ss_collect(struct ss *s);
/* Read and check whatever was ever written. */
void ss_verify(struct ss *s, bool all);

/* store_sim_snap.c: one random action on snapshots. */
void ss_snap_action(struct ss *s);
/* store_sim_delta.c: what differs between two snapshots, compared with the model's difference. */
void ss_delta(struct ss *s);
struct model_snap *ss_snap_choose(struct ss *s); /* a listed one; NULL: none */
struct snapshot *ss_snap_open(struct ss *s, struct model_snap *model);

/* Everything durable is committed, nothing is under way; false: it was not to be. */
bool ss_settle(struct ss *s);

/* store_sim_clone.c */
void ss_clone_action(struct ss *s); /* make one, or something to the one that is there */
void ss_clone_room(struct ss *s);   /* it goes, if there is one */
bool ss_clone_settle(struct ss *s); /* before the store is closed */
void ss_clone_crashed(struct ss *s);
void ss_clone_reopened(struct ss *s, bool clean);
void ss_clone_forget(struct ss *s);

void ss_make_room(struct ss *s);    /* a write was refused: time passes, or a snapshot goes */
void ss_snap_release(struct ss *s); /* close what is open; nothing after a crash */
/* Every snapshot is there, and reads as it was; all: everything of it. */
void ss_snap_verify(struct ss *s, bool all);

#endif
