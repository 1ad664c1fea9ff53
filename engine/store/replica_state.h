/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_state.h: the inside of a replica, shared by replica*.c only.
 */
#ifndef TS_STORE_REPLICA_STATE_H
#define TS_STORE_REPLICA_STATE_H

#include "engine/port/disk.h"
#include "engine/store/index.h"
#include "engine/store/journal.h"
#include "engine/store/map.h"
#include "engine/store/replica.h"
#include "engine/store/replica_fold.h"
#include "engine/store/rewrite.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/store_parts.h"

#define REPLICA_SPACE_WAITERS_MAX 16u
#define READ_JOBS 32u
#define READ_REQS 16u
#define READ_BLOCKS_MAX (IO_BYTES_MAX / BLOCK_BYTES)

struct rvolume {
	bool used; /* the slot was ever taken */
	struct replica_volume v;
	struct map *map; /* NULL when deleted */
};

/* Where one block of a read comes from. */
enum read_source { READ_ZERO, READ_MEMORY, READ_JOURNAL, READ_HOME };

struct read_place {
	uint64_t off; /* on disk; MEMORY: begin of the record */
	uint32_t crc;
	uint8_t source;	 /* enum read_source */
	uint8_t wanted;	 /* still to be read */
	uint8_t tried;	 /* was read from this very place and was wrong */
	bool unreadable; /* the disk said so */
	bool asked;	 /* nobody had it */
};

/* What a read, an allocation query or a journal read needs while it runs. */
struct read_job {
	struct list_link link;
	struct disk_req reqs[READ_REQS];
	uint32_t run_begin[READ_REQS], run_count[READ_REQS]; /* blocks of each request in flight */
	uint32_t runs;
	struct leaf_load load;
	struct repair_request repair; /* of one block */
	uint32_t attempts;
	uint8_t *scratch; /* 4 KiB, aligned */
	struct record *record;
	struct record_chunks chunks; /* that record's */
	uint32_t next;		     /* its first payload block that is not yet asked for */
	struct read_place places[READ_BLOCKS_MAX];
};

/* In the `private` of a request: its job, or its place in the queue for one. */
struct read_wait {
	struct list_link link;
	struct op *op;
	struct read_job *job;
	struct snapshot *snap; /* whose content; NULL: the replica's */
	uint32_t phase;
};

#define HISTORY_SAMPLES 72u

struct history_sample {
	struct lsn lsn;
	struct mono_ns time;
};

/* replica_history.c */
struct replica_history_state {
	struct replica_history want;
	struct lsn floor; /* nothing below is kept */
	struct lsn begin; /* the newest captured root keeps the journal from here on */
	struct mono_ns anchored,
		anchor_again; /* the last anchor was asked for; the next: not before */
	struct history_sample samples[HISTORY_SAMPLES];
	uint32_t first, count;
};

struct replica_destroy;

struct replica {
	struct store *s;
	struct env *env;
	struct op op; /* woken by the journal */
	struct uuid group;
	char name[NAME_BYTES_MAX + 1];
	bool staging, deleted, failed;
	struct list_link link;
	uint32_t holds;
	struct replica_destroy *destroy; /* waits for holds to end */

	struct journal *journal;
	struct index *index;
	struct rvolume volumes[VOLUMES_MAX];
	uint32_t volume_count; /* one more than the highest used slot */
	struct epoch_entry epochs[EPOCHS_MAX];
	uint32_t epoch_count;

	struct replica_snaps snaps;
	struct lsn fold, commit;
	struct lsn fold_cap;	/* replica_fold_cap */
	struct lsn stage_since; /* replica_stage_since */
	struct replica_stage_mark stage_mark;
	bool trees_bad;
	struct lsn seen_durable, durable_known, pin;
	struct mono_ns commit_time;
	struct wall_ns commit_wall; /* of the newest committed record; 0: not known */
	uint64_t content_generation, last_forced_epoch;
	bool pin_broken;
	bool was_full; /* an append was refused since space was freed last */

	struct replica_history_state history;

	struct op release_op; /* a checkpoint that lets go of journal nobody needs */
	struct completion released;

	struct op *watcher, *idle_wake;
	struct completion *space_waiters[REPLICA_SPACE_WAITERS_MAX];
	uint32_t space_waiter_count;

	/* recovery */
	struct op recover_op;
	struct completion recovered;
	struct journal_recovery_result recovery;
	struct completion *recover_done;
	struct lsn recover_commit;

	/* reads */
	struct read_job *jobs;
	uint8_t *scratches;
	struct list jobs_free, job_waiters;
	uint32_t reads; /* requests that were started and are not done */
};

/* replica.c */
struct replica_spec {
	struct uuid group;
	const char *name;
	bool staging;
};
MUST_CHECK int replica_make(struct store *s, const struct replica_spec *spec, struct replica **ret);
void replica_journal_opts(struct replica *r, struct journal_opts *ret);
void replica_wake(struct replica *r);
void replica_space_freed(struct replica *r);
void replica_epoch_add(struct replica *r, const struct record_view *v);

/* replica_history.c */
void replica_history_committed(struct replica *r); /* commit has moved */
/* The journal is kept from here on; UINT64_MAX: no history is wanted. */
struct lsn replica_history_keep(const struct replica *r);
bool replica_history_shrink(struct replica *r); /* true: there is less to keep now */
bool replica_history_wanted(const struct replica *r);
/* An anchor is due after so much: time (UINT64_MAX: not by time), journal. */
void replica_history_interval(const struct replica *r, uint64_t *ret_ns, uint64_t *ret_bytes);
/* From here on a root that has `fold` keeps the journal: for peers, history, snapshots in the making. */
struct lsn replica_journal_keep(const struct replica *r, struct lsn fold);

/* replica_journal_read.c: the header of the record that begins at lsn is in block (4 KiB): is it that record's?
 * -ERR_TRIMMED, -ERR_RANGE, -ERR_INVALID (not of that place), -ERR_CORRUPT. */
MUST_CHECK int replica_header_check(const struct replica *r, struct lsn lsn, const uint8_t *block,
				    struct record_view *ret_view, struct record_chunks *ret_chunks);

/* replica_life.c */
void replica_destroy_unqueue(struct replica *r);

/* replica_commit.c */
int replica_apply_first(struct replica *r, bool may_grow); /* 0, -ERR_AGAIN, -ERR_NOMEM */
bool replica_commit_next(struct replica *r, struct lsn upto, struct lsn *ret_end);

/* replica_read_job.c */
MUST_CHECK int replica_jobs_open(struct replica *r);
void replica_jobs_release(struct replica *r); /* records of jobs */
void replica_jobs_close(struct replica *r);   /* memory only */
void read_wait_begin(struct replica *r, struct read_wait *w, struct op *op);
bool read_wait_job(struct replica *r, struct read_wait *w); /* false: wait */
/* A restore ended, or will not end: reads go on, or fail. */
void replica_reads_go(struct replica *r);
/* Nobody will run it any more: who waits for it is told that the replica failed. */
bool replica_restore_is_hopeless(const struct replica *r);
void read_wait_end(struct replica *r, struct read_wait *w);

#endif
