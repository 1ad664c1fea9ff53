/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/snapshot_state.h: the inside of snapshots and of the records that make, restore and clone
 * them, for replica*.c, snapshot*.c, stage.c, checkpoint.c and open.c.
 */
#ifndef TS_STORE_SNAPSHOT_STATE_H
#define TS_STORE_SNAPSHOT_STATE_H

#include "engine/store/checkpoint.h"
#include "engine/store/snapshot.h"
#include "proto/store.h"

/* Roots in all tables together, so that no 16-bit count of references can overflow. */
#define STORE_ROOTS_MAX 60000u

struct journal_uncommitted;
struct map;

struct snapshot {
	struct list_link link; /* replica_snaps.list, oldest LSN first */
	struct replica *r;
	struct uuid uuid;
	char name[NAME_BYTES_MAX + 1];
	struct lsn lsn;
	struct wall_ns time;
	uint32_t flags;
	bool pinned, listed;
	bool marked;	  /* a mark of its replica is to pin it */
	bool anchor;	  /* unlisted and kept (replica_anchor.c) */
	uint64_t seq;	  /* of an anchor: of the checkpoint that makes it durable; 0: it is */
	bool past;	  /* not pinned yet: past.c makes it of the journal */
	bool missing;	  /* listed, and never pinned here */
	uint32_t readers; /* opened and not closed; each holds the replica, too */
	uint32_t holds;	  /* marks, openings and walks that need it */
	uint32_t volume_count;
	struct volume_root *volumes; /* ascending slots; roots are CHUNK_NONE until pinned */
	struct map **maps;	     /* of each volume, while it is open */
};

enum mark_kind { MARK_SNAP, MARK_RESTORE, MARK_CLONE, MARK_ANCHOR, MARK_BRANCH };

/* A committed record, or a moment (ANCHOR, BRANCH: no record), that a capture is to run when fold has reached its begin. */
struct mark {
	struct list_link link; /* replica_snaps.marks, in LSN order */
	enum mark_kind kind;
	struct lsn begin, end;
	struct snapshot *
		snap; /* to pin: of SNAP, or what a RESTORE keeps; CLONE: NULL; ANCHOR, BRANCH: the mark's own */
	struct snapshot *target; /* RESTORE, CLONE: what the volumes become */
};

struct replica_snaps {
	struct list list, marks;
	struct list openings; /* snapshot.c */
	struct list waiting;  /* read_wait.link: reads that wait for the end of a restore */
	uint32_t listed, unpinned, restoring;
	uint32_t pasts, anchors; /* those that are `past`; that are `anchor` */
	uint32_t roots;		 /* volumes of all of them */
	struct lsn applied; /* tables of the root held everything below: replay only sets marks */
	struct record_clone base;
	bool cloned;
};

/* --- replica_snap.c, replica_mark.c --- */
void replica_snaps_init(struct replica *r);
void replica_snaps_free(struct replica *r); /* memory only */
struct replica_snaps *replica_snaps(struct replica *r);
/* The effects of a SNAP, RESTORE or CLONE record. 0; -ERR_NOMEM; -ERR_NOT_FOUND: what it refers to is not
 * here, nothing has changed. */
MUST_CHECK int replica_snap_apply(struct replica *r, const struct journal_uncommitted *u);
/* Volume `slot` as it was when the record at `begin` was committed, if that differs from now (replay). */
const struct replica_volume *replica_snap_volume(const struct replica *r, struct lsn begin,
						 uint32_t slot);
/* Fold stops here: begin of the first mark; UINT64_MAX. */
struct lsn replica_mark_lsn(const struct replica *r);
void replica_mark_end(struct replica *r,
		      struct mark *m);		      /* frees it; who was held is held no more */
void replica_deleted_volumes_give(struct replica *r); /* N5 */
/* In a capture, all maps written out: run the marks that *folded has reached and move it behind them.
 * How many were run, or negative when the next one could not: -ERR_AGAIN (its base is not pinned yet). */
MUST_CHECK int replica_marks_run(struct replica *r, struct lsn *folded);
/* Everything was recovered: give what was deleted and is needed no more. */
void replica_snaps_recovered(struct replica *r);
void replica_snaps_give_all(struct replica *r);
/* All of them become `to`'s; none of `from` is unpinned. */
void replica_snaps_move(struct replica *from, struct replica *to);
uint32_t replica_snaps_readers(const struct replica *r);
/* A clone in the making needs a snapshot of it. */
bool replica_snaps_needed(struct replica *r);
/* At open: r's maps for the volumes that are to be pinned for snap. -ERR_CORRUPT, -ERR_NOMEM. */
MUST_CHECK int replica_snap_maps(struct replica *r, const struct snapshot *snap);
struct snapshot *replica_snap_find(const struct replica *r, const struct uuid *uuid);
void snapshot_hold(struct snapshot *snap);
void snapshot_unhold(struct snapshot *snap); /* may free it */
void snapshot_link(struct replica *r, struct snapshot *snap);
/* Not linked, without a name: with the volumes of now; with those of target.  NULL: no memory. */
struct snapshot *snapshot_of_now(const struct replica *r);
struct snapshot *snapshot_of(const struct snapshot *target);
void snapshot_free(struct snapshot **snap); /* not linked; memory only */
void snapshot_maps_close(struct snapshot *snap);
/* A past one is here now, with these volumes (taken over), each with a reference of its own; or never will be. */
void snapshot_past_pinned(struct snapshot *snap, struct volume_root *volumes, uint32_t count);
void snapshot_past_missing(struct snapshot *snap);
void snapshot_unlist(struct snapshot *snap);	   /* it goes when nobody needs it any more */
void snapshot_anchor_clear(struct snapshot *snap); /* it is not kept any more; held */
/* --- replica_anchor.c --- */
/* Commit has moved, or history is wanted from now on: put the mark of an anchor, when one is due. */
void replica_anchor_ask(struct replica *r);
/* A capture would pin one now. */
bool replica_anchor_reached(const struct replica *r, struct lsn folded);
/* In a capture, all maps written out: pin *snap (taken; NULL: there was no memory) as an anchor: of the live
 * maps, or, not NULL, of what a mark made them: `target`, which has the same volumes.  Where it cannot, there
 * is none; after `target`, no going back beyond (AN3). */
void replica_anchor_make(struct replica *r, struct snapshot **snap, const struct snapshot *target);
void replica_anchor_restored(struct replica *r, struct lsn lsn, const struct snapshot *target);
/* In a capture, behind the marks: what leads nowhere goes. */
void replica_anchors_capture(struct replica *r, struct lsn folded);
void replica_anchor_earliest(const struct replica *r, struct replica_history_status *ret);
bool replica_anchor_durable(const struct snapshot *anchor);
/* The newest one from which the journal leads to lsn, durable or not yet; NULL: none does. */
struct snapshot *replica_anchor_base(const struct replica *r, struct lsn lsn);
/* What the snapshots in the making need of the journal; UINT64_MAX: nothing. */
struct lsn replica_past_keep(const struct replica *r);
/* Space, or the journal, is wanted for something better.  True: there was something to give. */
bool replica_anchors_give(struct replica *r);
bool replica_history_give(struct replica *r); /* anchors, and the journal that leads from them */
bool replica_pasts_give(struct replica *r); /* those that are to be made are missing from now on */
/* snapshot.c */
void snapshot_opening_free(struct list_link *link);
const struct volume_root *snapshot_volume(const struct snapshot *snap, uint32_t slot,
					  struct map **ret_map); /* NULL: none */
uint32_t store_roots(struct store *s);

/* --- snapshot_table.c: between memory and the tables "snapshots" and "snapshot volumes" --- */

struct captured_snapshot {
	uint32_t group;
	uint32_t kind, state, flags;
	struct uuid snapshot, source;
	struct lsn lsn;
	struct wall_ns time;
	char name[NAME_BYTES_MAX + 1];
};

struct captured_snapshot_volume {
	uint32_t snapshot;
	struct volume_root root;
};

struct snapshot_capture {
	struct captured_snapshot *snaps;
	struct captured_snapshot_volume *volumes;
	uint32_t count, volume_count;
	uint32_t max, volume_max; /* while tables are read */
	bool any_past;		  /* anchors, or snapshots of the past */
};

/* Something is to be pinned now: by a mark, an anchor, a snapshot of the past.  Asked last before the capture. */
bool snapshots_marks_reached(struct store *s);
/* Run the marks of all replicas; pin what else is to be. */
void snapshots_run_marks(struct store *s);
MUST_CHECK int snapshots_capture(struct store *s, struct snapshot_capture *ret);
void snapshot_capture_free(struct snapshot_capture *c);
uint32_t snapshot_capture_pages(const struct snapshot_capture *c);
uint32_t snapshot_capture_volume_pages(const struct snapshot_capture *c);
void snapshots_encode(const struct snapshot_capture *c, uint32_t page, struct disk_snapshots *ret);
void snapshot_volumes_encode(const struct snapshot_capture *c, uint32_t page,
			     struct disk_volumes *ret);
/* Pages come in order, those of snapshots first. -ERR_CORRUPT, -ERR_NOMEM. */
MUST_CHECK int snapshots_decode(struct snapshot_capture *c, const struct disk_snapshots *d,
				uint32_t entries, uint32_t groups);
MUST_CHECK int snapshot_volumes_decode(struct snapshot_capture *c, const struct disk_volumes *d,
				       uint32_t entries, uint64_t disk_bytes);
/* Those of group index `group` become r's. -ERR_CORRUPT, -ERR_NOMEM. */
MUST_CHECK int snapshots_attach(struct snapshot_capture *c, uint32_t group, struct replica *r);

#endif
