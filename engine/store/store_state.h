/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/store_state.h: the fields of a store, for the files that together are the store:
 * store.c, open.c, format.c, grow.c, fold.c, checkpoint.c, import.c, stage.c, digest.c.
 */
#ifndef TS_STORE_STORE_STATE_H
#define TS_STORE_STORE_STATE_H

#include "engine/store/map_cache.h"
#include "engine/store/replica_fold.h"
#include "engine/store/space_tables.h"
#include "engine/store/store_parts.h"
#include "engine/store/superblock.h"

struct checkpoint;
struct fold;
struct stall_watch;
struct growing;
struct import_pool;
struct past;
struct rewrites;
struct scrub;
struct store_opening;
struct index_item;

/* A growing array of completions that fire together (control plane). */
struct waits {
	struct completion **done;
	uint32_t count, max;
};
void waits_add(struct waits *w, struct completion *done); /* fires -ERR_NOMEM when it cannot */
void waits_fire_all(struct waits *w, int rc);

/* One who waits until everything below `upto` of a replica is folded and durable. */
struct fold_wait {
	struct completion *done;
	struct lsn upto;
};

/* What the store keeps of each replica. */
struct replica_entry {
	struct list_link link; /* store.entries, by uuid, staging after visible */
	struct replica *r;
	bool leaving; /* deleted, its trees not yet given: only checkpoints see it */
	struct lsn
		commit_durable; /* of the newest durable checkpoint: no crash and no cut takes commit back below it */
	struct lsn folded;    /* in home and map, in memory at least: >= the durable fold */
	struct mono_ns retry; /* fold failed (space, bad record): not before */
	int retry_rc;
	struct fold_wait *waits;
	uint32_t wait_count, wait_max;
};

struct store {
	struct env *env;
	struct disk *disk;
	struct store_opts opts;
	struct uuid uuid;
	struct supers *supers;
	struct space *space;
	struct map_cache *cache;
	struct record_pool *records;
	struct checkpoint *checkpoint;
	struct fold *fold;
	struct rewrites *rewrites;
	struct scrub *scrub;
	struct stall_watch *stall;

	struct list entries;
	uint32_t entry_count;
	struct list switches;	  /* stage_switch.all: freed with a store that is abandoned */
	struct list stage_makers; /* replica_maker.sharing: in the next capture */
	struct list ghosts;	  /* ghost.link */
	bool snapshots_changed;	  /* since their tables were assigned */

	bool failed, ready, closing, abandoned;
	int fail_rc;
	struct completion *failure_watch;
	uint32_t index_max;
	uint64_t recovery_read_bytes;

	/* Imports change maps only while no checkpoint is being captured. */
	bool capturing;
	uint32_t imports;	  /* between their first and last change */
	struct list import_queue; /* import_job.link: waiting for the capture to end */
	struct import_pool *import_pool;
	struct past *past;	       /* snapshots of earlier moments in the making */
	struct store_opening *opening; /* until ready */
	struct growing *growing;       /* the last one; NULL: none yet */
	uint32_t growths;	       /* ended */
};

MUST_CHECK int store_create(struct env *env, struct disk *disk, const struct store_opts *opts,
			    struct store **ret);
MUST_CHECK int store_create_parts(
	struct store *s); /* after the superblock is known: space, cache, ... */
void store_free(struct store **s);
void store_opening_abandon(struct store *s);
void stage_switches_abandon(struct store *s); /* stage.c: the world is dead */
struct replica_entry *store_entry(struct store *s, const struct replica *r); /* NULL: not in it */
void store_resort_replica(struct store *s, struct replica *r); /* its staging flag changed */
void store_imports_go(struct store *s); /* the capture ended: let those who wait go on */

#endif
