/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/snapshot.h: the content of a replica at one LSN: snapshots, what differs between two
 * of them, clones and rollback.
 *
 * A snapshot is made, deleted and restored by records (proto/record.h: SNAP, RESTORE, CLONE), so every
 * replica agrees on it at each LSN and taking one costs no pause of I/O.  It is listed when its record
 * is committed (QUORUM J9) and *pinned* when fold has reached that record: from then on it has map
 * roots of its own, which share pages and chunks with the live content by reference counts (space.h).
 *
 * Snapshots are known by UUID; names are labels, unique among the listed ones of a replica.
 */
#ifndef TS_STORE_SNAPSHOT_H
#define TS_STORE_SNAPSHOT_H

#include "engine/base/op.h"
#include "engine/store/replica.h"
#include "proto/record_snap.h"

#define SNAPSHOTS_MAX 4096u /* of one replica, listed */

struct snapshot_info {
	struct uuid uuid;
	char name[NAME_BYTES_MAX + 1];
	struct lsn lsn;	     /* everything below is in it; begin of its record unless taken `at` */
	struct wall_ns time; /* of its record */
	uint32_t flags;	     /* enum record_snap_flag */
	bool pinned;	     /* false: fold has not reached it yet, or one of these: */
	bool past;	     /* of an earlier moment, and still being made */
	bool missing;	  /* it was not to be made here: its content is at other sites, perhaps */
	uint32_t readers; /* opened and not closed: it cannot be deleted by an operator */
	uint32_t clones;  /* groups in this store whose base it is: the same */
	uint32_t volume_count;
	uint64_t used_bytes; /* home blocks it names, shared or not; 0 until pinned */
};

/* Listed snapshots as of commit, oldest LSN first; returns how many there are (maybe more than max). */
uint32_t replica_snapshots(const struct replica *r, struct snapshot_info *ret, uint32_t max);
/* 0; -ERR_NOT_FOUND. */
MUST_CHECK int replica_snapshot_by_name(const struct replica *r, const char *name,
					struct snapshot_info *ret);
MUST_CHECK int replica_snapshot_by_uuid(const struct replica *r, const struct uuid *uuid,
					struct snapshot_info *ret);
/* By order of replica_snapshots; false at the end. */
bool replica_snapshot_at(const struct replica *r, uint32_t index, struct snapshot_info *ret);
/* Volumes of a listed snapshot, pinned or not, without opening it (used_bytes 0 until pinned); returns
 * how many there are, 0 too when it is not listed. */
uint32_t replica_snapshot_volumes(const struct replica *r, const struct uuid *uuid,
				  struct replica_volume *ret, uint32_t max);
/* Snapshots whose record is committed and that fold has not reached: a primary admits a new SNAP or
 * RESTORE record only while this is small (each of them holds index entries back). */
#define SNAPSHOTS_UNPINNED_MAX 8u
uint32_t replica_snapshots_unpinned(const struct replica *r);
/* May a snapshot of that name be made, `more` being on their way?  A SNAP record that may not does nothing at
 * commit. 0; -ERR_EXISTS, -ERR_FULL (SNAPSHOTS_MAX, or the store's bound of volumes of snapshots),
 * -ERR_AGAIN (SNAPSHOTS_UNPINNED_MAX). */
MUST_CHECK int replica_snapshot_check(const struct replica *r, const char *name, uint32_t more);
/*
 * A branch (QUORUM J6): everything the replica holds, what is not committed too, is committed, folded and kept as
 * a snapshot that only this site has: listed, read, compared and carried over by a copy like any other, known to
 * no record.  Precondition: tail is durable and nothing is appended before done.
 * done: 0: it is durable; -ERR_FULL (no room to fold), -ERR_CORRUPT, -ERR_NOT_FOUND (a record refers to a snapshot
 * that is not here), -ERR_NOMEM, -ERR_FAILED: nothing was cut and nothing is kept under a name.
 */
struct replica_branch {
	struct completion done;
	struct lsn common;	       /* in: what records from here on made is only this site's */
	struct wall_ns time;	       /* in: shown as its time */
	struct uuid uuid;	       /* out */
	char name[NAME_BYTES_MAX + 1]; /* out: branch-EPOCH of the newest epoch here */
	/* fields below are private */
	struct op op;
	struct replica *r;
	struct completion part;
	uint32_t phase, tries;
	bool marked;
};
void replica_branch(struct replica *r, struct replica_branch *b);
/* The branch that ends at tail, pinned; false: there is none. */
bool replica_branch_at_tail(const struct replica *r, struct snapshot_info *ret);
/* At this site only, without a record.  done: the checkpoint without it is durable, or -ERR_FAILED.  Now, without
 * effect: -ERR_NOT_FOUND (no such branch), -ERR_FAILED, -ERR_READONLY.  Readers keep it as with a record. */
MUST_CHECK int replica_branch_delete(struct replica *r, const struct uuid *uuid,
				     struct completion *done);
/* A RESTORE is committed and fold has not reached it: reads wait until it has. */
bool replica_is_restoring(const struct replica *r);

/*
 * A reader's hold on one snapshot: while it is open the snapshot's content stays, even if its record
 * of deletion is committed meanwhile.  Open folds up to it when needed.
 * done: 0 and *ret; -ERR_NOT_FOUND, -ERR_FAILED, -ERR_CORRUPT, -ERR_FULL (fold cannot get there),
 * -ERR_AGAIN (its record is committed and not durable yet, or it is of the past and still being made);
 * -ERR_NOT_FOUND, too, when it is missing here.  All are closed before store_close.
 */
struct snapshot;
void replica_snapshot_open(struct replica *r, const struct uuid *uuid, struct snapshot **ret,
			   struct completion *done);
void replica_snapshot_close(struct snapshot **snap); /* nothing that uses it may be in flight */
void snapshot_info_get(const struct snapshot *snap, struct snapshot_info *ret);
uint32_t snapshot_volumes(const struct snapshot *snap, struct replica_volume *ret, uint32_t max);
/* Logical digest of one volume and of the whole snapshot (as replica_digest's): no I/O. */
uint64_t snapshot_volume_digest(const struct snapshot *snap, uint32_t volume);
uint64_t snapshot_digest(const struct snapshot *snap);

/* Read, or ask what is allocated, in a snapshot: like replica_read and replica_allocated, with `volume`
 * a slot of the snapshot's volumes.  The snapshot stays open until done. */
void snapshot_read(struct snapshot *snap, struct replica_read *rd);
void snapshot_allocated(struct snapshot *snap, struct replica_allocated *q);

/*
 * Which record boundary is a moment?  By time: behind the last record of that time or before, so everything that
 * was acknowledged by then is in it.  By LSN: the last boundary at or below it.
 * done: 0 and lsn; -ERR_RANGE: an LSN beyond the end; -ERR_TRIMMED: before what the journal has;
 * -ERR_CORRUPT, -ERR_IO, -ERR_FAILED.
 */
struct replica_moment {
	struct completion done;
	bool by_time;
	struct wall_ns time;
	struct lsn lsn; /* in, unless by_time; out */
	/* fields below are private */
	struct op op;
	struct replica *r;
	void *private[16];
};
void replica_moment_find(struct replica *r, struct replica_moment *q);
/* Can a snapshot be made of that boundary now?  0; -ERR_TRIMMED (replica_history_status tells what can). */
MUST_CHECK int replica_moment_check(const struct replica *r, struct lsn lsn);

/*
 * What would become free if it were deleted now: pages and chunks that only it reaches.  Walks what is
 * its own, so the cost follows the answer.  done: 0, -ERR_NOT_FOUND, -ERR_CORRUPT, -ERR_FAILED.
 */
struct snapshot_owned {
	struct completion done;
	struct uuid snapshot;
	uint64_t bytes; /* out */
	/* fields below are private */
	struct op op;
	struct replica *r;
	void *private[16];
};
void replica_snapshot_owned(struct replica *r, struct snapshot_owned *q);

/*
 * A delta: runs of blocks of one volume (by UUID) such that `from` (NULL: nothing) with them applied
 * reads as `to`, in block order.  Each call goes on at `block` and fills runs; it sets `block` for the
 * next call and `end` when there is nothing more.
 *   DELTA_DATA       in `to` with content (read it with snapshot_read)
 *   DELTA_ZERO       in `to` written as zeroes, in `from` content
 *   DELTA_DISCARDED  in `to` a hole, in `from` content
 * Zeroes and holes read alike: one that became the other is no difference.  A run never joins blocks of
 * different kind, nor blocks that are apart; the delta ends with the end of `to`.  Blocks and whole
 * subtrees are equal when they are the same place on disk, which is exact and costs what has changed; a
 * block that was written again with the content it had, or moved, is in the delta.
 * by_checksum: equal CRCs and digests are taken for equal content, too, wherever it lies.  For showing
 * what differs, not for copying: of blocks written anew one in 2^32 keeps its CRC by chance.
 * A volume only in `to` differs from nothing; one only in `from` is discarded whole, by one run.
 * done: 0, -ERR_NOT_FOUND (volume in neither), -ERR_CORRUPT, -ERR_IO.
 */
enum delta_kind { DELTA_DATA, DELTA_ZERO, DELTA_DISCARDED };
struct delta_run {
	uint64_t block;
	uint64_t count;
	enum delta_kind kind;
};
#define DELTA_RUNS_MAX 128u
struct snapshot_delta {
	struct completion done;
	struct snapshot *from, *to; /* open until done */
	struct uuid volume;
	bool by_checksum;
	uint64_t block; /* in: where to go on, 0 first; out: for the next call */
	struct delta_run runs[DELTA_RUNS_MAX];
	uint32_t run_count;
	bool end;
	uint64_t
		pages_read; /* of the maps, not found in memory; summed up, the caller sets 0 first */
	/* fields below are private */
	struct op op;
	void *private[400];
};
void snapshot_delta(struct snapshot_delta *d);

/*
 * Clones: make the replica of a new group whose volumes begin as those of a snapshot in this store,
 * sharing everything.  The new replica's history is its own and begins at LSN 0 with a CLONE record that
 * names the base, so that another site makes the same clone of its own copy of that snapshot when it
 * applies the record (-ERR_NOT_FOUND there: the base is not here, a full copy is needed).
 * replica_clone only creates the empty replica like replica_create; committing the CLONE record fills it.
 */
MUST_CHECK int replica_clone_check(struct store *s, const struct uuid *group,
				   const struct uuid *snapshot); /* 0; -ERR_NOT_FOUND */
/* Whose clone this replica is (its CLONE record is committed); false: of nothing. */
bool replica_clone_base(const struct replica *r, struct record_clone *ret);

#endif
