/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_fold.h: what fold, checkpoint and open (fold.c, checkpoint.c, store.c) need
 * of a replica.  Implemented by replica.c; only the store room includes it.
 */
#ifndef TS_STORE_REPLICA_FOLD_H
#define TS_STORE_REPLICA_FOLD_H

#include "engine/store/checkpoint.h"
#include "engine/store/index.h"
#include "engine/store/map.h"

/* Make the in-memory replica of a checkpointed root (maps opened by map_open); nothing is read yet. */
MUST_CHECK int replica_from_root(struct store *s, const struct replica_root *root,
				 struct replica **ret);
/* Scan its journal, rebuild index, epochs, tail; commit := max(fold, newest commit LSN told in its
 * own records).  Starts a fresh segment at the tail before the first append.
 * done: 0 (has_hole may be set), -ERR_IO, -ERR_CORRUPT. */
void replica_recover(struct replica *r, struct completion *done);
/* All replicas of the store are: what waited for another is committed, what nobody needs is given. */
MUST_CHECK int replica_recovered(struct replica *r);
void replica_free(struct replica **r); /* nothing of it is in flight; touches no disk */
/* store_abandon: after a crash bufs, ready queue and requests are gone; only frees memory. */
void replica_abandon(struct replica **r);
uint64_t replica_recovery_read_bytes(const struct replica *r);
/* Free all of r on disk, too (old root of a switched group, a staging root found at open): its maps
 * are discarded in the background, its segments given, the checkpoint that follows is the caller's. */
void replica_give_all(struct replica *r);

/* Snapshot of what the next checkpoint must hold.  `fold` is the window just folded (or the old
 * fold); volumes' roots are taken from their maps after map_write_out. root->volumes is malloced. */
MUST_CHECK int replica_to_root(struct replica *r, struct lsn fold, struct replica_root *ret_root);
/* That checkpoint is durable: fold moved; drops index entries, gives journal segments wholly below
 * fold (and below a pin) back to space, wakes watchers and space waiters. */
void replica_checkpointed(struct replica *r, const struct replica_root *root);
/* The oldest segment to keep in the *next* checkpoint, given that everything below fold is in home
 * (journal_root of replica_to_root uses it). */

struct index *replica_index(struct replica *r);
struct map *replica_map(struct replica *r,
			uint32_t volume); /* NULL: no such volume (deleted: skip its items) */
struct lsn replica_commit_lsn(const struct replica *r);
struct lsn replica_fold_lsn(const struct replica *r);
struct lsn replica_fold_cap_lsn(const struct replica *r);
bool replica_fold_wanted(const struct replica *r); /* journal share or index above half, or idle */
/* Staging replicas that wait for a capture to share trees in it (replica_life.c B3); make them, in one. */
bool replica_stages_wait(const struct store *s);
void replica_stages_share(struct store *s);
bool replica_is_staging(const struct replica *r);
void replica_set_staging(struct replica *r, bool staging);
struct list_link *replica_link(struct replica *r); /* the store's list of replicas */
struct replica *replica_of_link(struct list_link *link);
/* Called by store_fail for each replica: appends in flight end with -ERR_FAILED, watchers wake. */
void replica_store_failed(struct replica *r);
uint32_t replica_stalled(struct replica *r); /* journal_stalled of its journal */
/* Nothing of r is in flight (journal writes, reads).  store_close polls it: op is woken once when it
 * may have become idle. */
bool replica_is_idle(struct replica *r, struct op *wake);
/* Fold holds a replica while it works on it: a deleted one is freed when the last hold ends. */
void replica_hold(struct replica *r);
void replica_release(struct replica *r);
bool replica_is_deleted(const struct replica *r);	 /* fold: stop soon, then release */
bool replica_is_held_by_others(const struct replica *r); /* than readers of its snapshots */
struct store *replica_store(const struct replica *r);
const char *replica_name(const struct replica *r);
const struct uuid *replica_uuid(const struct replica *r);

#endif
