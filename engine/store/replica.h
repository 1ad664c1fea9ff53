/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica.h: one group's replica in a store: journal, index, maps.
 *
 * Positions:  trim <= fold <= commit <= durable <= tail.
 *   tail     end of the last record appended here (assigned by the caller's record)
 *   durable  end of the contiguous prefix on stable storage
 *   commit   told by replica_commit; everything below is visible to reads, folds, snapshots
 *   fold     everything below is in home; the journal down to `trim` is still readable
 */
#ifndef TS_STORE_REPLICA_H
#define TS_STORE_REPLICA_H

#include "engine/base/op.h"
#include "engine/store/record.h"
#include "engine/store/store.h"

struct replica;

#define EPOCHS_MAX 120u /* older ones are forgotten: then only a full copy joins */

struct epoch_entry {
	struct epoch epoch;
	struct lsn first; /* begin of its EPOCH record */
};

struct replica_status {
	struct uuid group;
	char name[NAME_BYTES_MAX + 1];
	struct lsn trim, fold, commit, durable, tail;
	struct wall_ns
		newest; /* of the newest record that was committed since the store was opened; 0: none was */
	uint64_t tail_chain; /* chain of the record that ends at tail; 0 at LSN 0 */
	uint64_t content_generation;
	uint64_t last_forced_epoch;
	bool is_staging;	/* a base being copied; invisible to readers */
	bool has_hole;		/* bad record below a durable LSN was found at open */
	uint64_t journal_bytes; /* used by its journal */
};

struct replica_volume {
	uint32_t slot;
	struct uuid uuid;
	char name[NAME_BYTES_MAX + 1];
	uint64_t bytes;
	uint32_t block_bytes;
	uint64_t used_bytes;
	bool deleted;
};

/* Create an empty replica whose history starts at `begin` after a record with `chain` (0,0 for a
 * new group).  done: 0 when durable, -ERR_EXISTS, -ERR_FULL, -ERR_FAILED. */
void replica_create(struct store *s, const struct uuid *group, const char *name,
		    struct completion *done);
/* Its snapshots go with it, when their last reader closes. -ERR_BUSY: a clone of one is being made. */
void replica_delete(struct store *s, const struct uuid *group, struct completion *done);
struct replica *replica_find(struct store *s,
			     const struct uuid *group);		     /* NULL; never a staging one */
struct replica *replica_next(struct store *s, struct replica *prev); /* in uuid order; NULL ends */

void replica_status(const struct replica *r, struct replica_status *ret);
uint32_t replica_epochs(const struct replica *r, struct epoch_entry *ret,
			uint32_t max); /* oldest first */
struct record_pool *replica_records(struct replica *r);

/*
 * Append a sealed record (takes its own reference).  view.begin must be tail and prev_chain the
 * tail's chain: else -ERR_FORK now, without effect.  Now, without effect: -ERR_JOURNAL_FULL (wait
 * with replica_space_wait), -ERR_FAILED.  Several appends may be in flight; they are written in
 * order, those waiting share one write.  `done` fires 0 when durable (and everything before it), or
 * -ERR_FAILED.  done may be NULL: watch `durable` with replica_watch instead.
 */
MUST_CHECK int replica_append(struct replica *r, struct record *rec, struct completion *done);

/* op_wake(op) whenever durable, commit, fold or trim moves, or the store fails.  One watcher;
 * NULL ends it. */
void replica_watch(struct replica *r, struct op *op);

/* Fires when journal space was freed since. */
void replica_space_wait(struct replica *r, struct completion *done);
void replica_space_wait_cancel(struct replica *r, struct completion *done);

/* How long an admission should be delayed so that writers slow down smoothly as the journal fills:
 * 0 below half, growing to 50 ms near full. */
uint32_t replica_delay_us(const struct replica *r);

/* Raise commit to min(lsn, tail) if higher: index entries and volume changes of those records take
 * effect at once, no I/O.  Only records that are durable here unless the group acknowledges
 * `received`.  -ERR_AGAIN: index full, commit moved part of the way: call again after fold (watch).
 * -ERR_NOT_FOUND: as far as a RESTORE or CLONE record whose snapshot is not in this store: only a full copy
 * leads on. */
MUST_CHECK int replica_commit(struct replica *r, struct lsn lsn);

/* Forget everything beyond lsn (a record boundary >= commit): tail, durable := lsn.  No append may
 * be in flight.  done 0 when the cut is durable.  -ERR_INVALID below commit (QUORUM J7). */
void replica_cut(struct replica *r, struct lsn lsn, struct completion *done);

/* Volumes as of commit. slot order; returns count. */
uint32_t replica_volumes(const struct replica *r, struct replica_volume *ret, uint32_t max);

/* Read committed blocks [block, block+count) of a volume slot into data (count*4096 bytes, 4096
 * aligned, at most 1 MiB).  Holes give zeroes.  Every block's checksum is verified: done -ERR_CORRUPT if any
 * is wrong (bad_block says which), -ERR_IO, -ERR_NOT_FOUND. Borrows until done. */
struct replica_read {
	struct completion done;
	uint32_t volume;
	uint32_t count;
	uint64_t block;
	uint8_t *data;
	bool no_repair;	    /* in: do not ask a peer for a bad block: this read is for a peer */
	uint32_t repaired;  /* out: blocks that came from a peer */
	uint64_t bad_block; /* out */
	uint32_t *crcs;	    /* out, may be NULL: CRC32C of each block */
	/* fields below are private */
	struct op op;
	struct replica *r;
	struct list_link link;
	void *private[8];
};
void replica_read(struct replica *r, struct replica_read *rd);

/* Which of the blocks [block, block+count<=512) hold data: one bit each in map (64 bytes).
 * Asynchronous because leaves may have to be read.  For the base copy and allocation queries. */
struct replica_allocated {
	struct completion done;
	uint32_t volume;
	uint32_t count;
	uint64_t block;
	uint8_t map[LEAF_BLOCKS / 8];
	struct op op; /* private */
	struct replica *r;
	void *private[8];
};
void replica_allocated(struct replica *r, struct replica_allocated *q);

/* Read the record that begins at lsn (trim <= lsn < durable) for catching a peer up; gives a record
 * with one reference in q->record, payload verified.  -ERR_TRIMMED, -ERR_RANGE (at durable),
 * -ERR_CORRUPT, -ERR_POOL_EMPTY, -ERR_INVALID (no record begins there). */
struct replica_journal_read {
	struct completion done;
	struct lsn lsn;
	struct record *record; /* out */
	struct op op;	       /* private */
	struct replica *r;
	struct list_link link;
	void *private[16];
};
void replica_journal_read(struct replica *r, struct replica_journal_read *q);

/* Is there a record boundary at lsn, and what is the chain of the record that ends there?
 * done: 0 and *chain; -ERR_TRIMMED (below trim), -ERR_RANGE (beyond tail), -ERR_INVALID (no boundary). */
struct replica_chain_at {
	struct completion done;
	struct lsn lsn;
	uint64_t chain; /* out */
	struct op op;	/* private */
	struct replica *r;
	void *private[16];
};
void replica_chain_at(struct replica *r, struct replica_chain_at *q);

/* Keep the journal from lsn on for a peer that is catching up (at most `journal_percent`: when space
 * is short the pin is broken: replica_pin_broken).  lsn UINT64_MAX: no pin. */
void replica_pin(struct replica *r, struct lsn lsn);
bool replica_pin_broken(const struct replica *r);
/* How much of the journal a peer that nobody waits for may keep pinned, in bytes; never 0. */
uint64_t replica_pin_quota_bytes(const struct replica *r);

/* How much of the journal below commit is kept to go back in: what was committed within `ns`, at most
 * `bytes` (0: no such bound; both 0: none).  Never more than three eighths of the journal's share, and
 * less when the journal is full: the oldest goes first.  Setting what is set changes nothing. */
struct replica_history {
	uint64_t ns, bytes;
};
struct replica_history_status {
	struct replica_history want;
	struct lsn begin; /* of the oldest record that is in the journal */
	uint64_t bytes;	  /* from there to commit; 0: no history is wanted */
	bool is_short;	  /* there is no room for all that is wanted */
	/* The earliest moment that a snapshot can be made of; false: none is, now. */
	bool reachable;
	struct lsn earliest;
	struct wall_ns earliest_time; /* everything that was committed by then is below it */
};
void replica_history_set(struct replica *r, const struct replica_history *want);
void replica_history_status(const struct replica *r, struct replica_history_status *ret);

/* --- Resync (QUORUM J8): a staging replica beside the last consistent point. ---
 * begin gives a staging replica of the same group that starts at (s, chain) with the source's epochs
 * and volumes.  It is empty; or, from_own, it has the trees of an earlier staging replica of the
 * group, else of the group's replica (folded first), shared block by block: volumes are found by
 * UUID, those that are not here begin empty.  An earlier staging replica goes.  Records > s are
 * appended and committed to it like to any replica; base blocks are imported.  switch replaces the
 * group's replica by it in one checkpoint (its space is freed later); the old struct replica is
 * freed, the staging one becomes the group's.  After a crash a staging replica that was not
 * switched is discarded at open. */
struct replica_stage_spec {
	bool from_own;
	/* from_own: below it the histories of this site's replica and of the source are the same; 0: not known. */
	struct lsn since;
	struct lsn begin;
	uint64_t chain;
	const struct epoch_entry *epochs;
	uint32_t epoch_count;
	const struct replica_volume *volumes;
	uint32_t volume_count;
	uint64_t content_generation;
	uint64_t last_forced_epoch;
};
void replica_stage_begin(struct store *s, const struct uuid *group, const char *name,
			 const struct replica_stage_spec *spec, struct replica **ret_staging,
			 struct completion *done);
struct replica *replica_staging(struct store *s, const struct uuid *group); /* NULL: none */
/*
 * Of a staging replica from_own: a block that was not changed since this LSN in its tree, nor at the
 * source, is the same on both sides; 0: nothing is known.  Never above what any of the staging replicas
 * it descends from could say, nor above their begins: what was imported counts as changed.
 */
struct lsn replica_stage_since(const struct replica *staging);
/*
 * How far a comparison has come, kept with the staging replica for the next one that begins with it: all
 * before leaf `leaf` of volume slot `volume`, and all of lower slots, is what the source had at `since`, but
 * for blocks that records from there on have written.  It is of that primary's reign and generation only.
 * The store does not look at it.  epoch.number 0: nothing is known.
 */
struct replica_stage_mark {
	struct epoch epoch;
	uint64_t content_generation;
	struct lsn since;
	uint32_t volume;
	uint64_t leaf;
};
void replica_stage_mark_set(struct replica *staging, const struct replica_stage_mark *m);
void replica_stage_mark(const struct replica *staging, struct replica_stage_mark *ret);
/* Fold nothing of r from this LSN on, a commit LSN of it; UINT64_MAX: no bound.  While it is set, an import
 * `over` of what was read at the source after it had committed that much replaces nothing newer. */
void replica_fold_cap(struct replica *r, struct lsn cap);
/* Pages of its trees cannot be read: nothing is to begin with them any more (until the store is opened again). */
void replica_trees_bad(struct replica *r);
bool replica_trees_are_bad(const struct replica *r);
/* Import blocks read at the source: data borrowed until done; crcs verified; a block that a streamed record
 * already folded is left alone (decided per 4 KiB by valid and zero mask), unless `over`.  At most 1 MiB,
 * within one 2 MiB leaf.  `over` without data: these blocks are holes. */
struct replica_import {
	struct completion done;
	uint32_t volume;
	uint32_t count;
	uint64_t block;
	bool over;
	const uint8_t *data;
	const uint32_t *crcs;
	struct op op; /* private */
	struct replica *r;
	void *private[24];
};
void replica_stage_import(struct replica *staging, struct replica_import *im);
void replica_stage_switch(struct store *s, const struct uuid *group, struct completion *done);
void replica_stage_discard(struct store *s, const struct uuid *group, struct completion *done);
/* The same, and nobody waits for it: false: there is none.  It must not be appended to any more. */
bool replica_stage_drop(struct store *s, const struct uuid *group);

/* --- Comparing two sites' replicas of a group, page by page. --- */

#define REPLICA_PAGE_CHILDREN 64u
#define REPLICA_LEVELS_MAX \
	6u /* a page of level 1 is over 64 leaves of 2 MiB, one of level 2 over 64 of those */

/*
 * What is below page `index` of `level` (1..REPLICA_LEVELS_MAX) of a volume's map.  A child that is
 * neither present nor known holds nothing; `known` ones are unchanged since the digest was computed from
 * their blocks' checksums; `changed`: maybe written since `since`.  done: 0, -ERR_NOT_FOUND (no such
 * volume, now), -ERR_INVALID, -ERR_CORRUPT, -ERR_IO, -ERR_NOMEM (all memory for pages is pinned).
 */
struct replica_page {
	struct completion done;
	uint32_t volume, level;
	uint64_t index;
	struct lsn since;
	uint64_t present, known, changed; /* out: a bit for each child */
	uint64_t digests[REPLICA_PAGE_CHILDREN];
	struct op op; /* private */
	struct replica *r;
	void *private[8];
};
void replica_page(struct replica *r, struct replica_page *q);

/*
 * The committed blocks of leaf `leaf` (512 of them): which hold data, with what checksums (0 for the
 * others, which read as zeroes), and which chunks (16 blocks each) may have been written since `since`.
 * Beyond the end of the volume nothing is.  Fails as replica_page does.
 */
struct replica_sums {
	struct completion done;
	uint32_t volume;
	uint64_t leaf;
	struct lsn since;
	uint64_t data[LEAF_BLOCKS / 64]; /* out: a bit for each block */
	uint32_t changed;		 /* out: a bit for each chunk */
	uint32_t crcs[LEAF_BLOCKS];
	struct op op; /* private */
	struct replica *r;
	void *private[8];
};
void replica_sums(struct replica *r, struct replica_sums *q);

/* Content digest as of commit after everything committed is folded: one root over volumes, equal at
 * sites with equal content. Forces a fold. */
struct replica_digest {
	struct completion done;
	uint64_t digest; /* out */
	struct op op;	 /* private */
	struct replica *r;
	void *private[8];
};
void replica_digest(struct replica *r, struct replica_digest *q);

/* Fold everything up to commit soon, without waiting for idleness; done when fold == the commit of
 * now and the checkpoint is durable. */
void replica_fold(struct replica *r, struct completion *done);

#endif
