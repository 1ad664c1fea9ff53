/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/follower.h: the struct of a follower, private to follower.c, intake.c and stage.c.
 */
#ifndef TS_REPL_FOLLOWER_H
#define TS_REPL_FOLLOWER_H

#include "engine/repl/peer.h"
#include "engine/repl/walk.h"
#include "engine/store/snapshot.h"

#define FOLLOWER_APPENDS 64u /* appends in flight */
#define FOLLOWER_IMPORTS 8u  /* base imports in flight */

enum follower_phase {
	FOLLOWER_SETTLE,      /* what the replica holds becomes durable */
	FOLLOWER_ATTACHED,    /* ATTACH sent */
	FOLLOWER_CHAIN,	      /* START came: own chain at the common LSN being read */
	FOLLOWER_BRANCH_LOOK, /* branch.c: what the fork holds, for the report */
	FOLLOWER_BRANCH,      /* it is being kept */
	FOLLOWER_CUT,	      /* beyond the common LSN */
	FOLLOWER_CREATE,      /* there was no replica */
	FOLLOWER_READY,	      /* records */
	FOLLOWER_STAGE_BEGIN, /* FULL came */
	FOLLOWER_STAGING,     /* base and records */
	FOLLOWER_SWITCH,
	FOLLOWER_ENDED,
	FOLLOWER_DISCARD, /* ended and closed while staging */
};

struct repl_follower;

struct append_slot {
	struct op op;
	struct completion done;
	struct repl_follower *f;
	struct list_link link;
};

struct import_slot {
	struct op op;
	struct replica_import import;
	struct repl_follower *f;
	struct list_link link;
	struct buf *buf;
	struct walk_leaf *leaf; /* whose import it is; NULL: of a full copy */
	uint32_t crcs[FRAME_BASE_BLOCKS_MAX];
};

/* What a follower's op waits for. */
enum {
	FOLLOWER_BIT_STORE = 1, /* any call but appends and imports: one at a time */
	FOLLOWER_BIT_SPACE = 2,
	FOLLOWER_BIT_TIMER = 4,
};

struct repl_follower_branch {
	struct repl_branch_report report;
	struct replica_branch spec;
	struct replica_journal_read look;
	struct lsn tail, full_begin;
	uint32_t records; /* looked at */
	bool full;	  /* FULL has come: it goes on with full_begin */
	bool failed;
};

struct repl_follower {
	struct repl *repl;
	struct env *env;
	struct repl_member member;
	struct op op;
	struct op *wake;
	struct completion *close_done; /* set: closing */
	bool closing;
	enum follower_phase phase;
	enum repl_state state;
	int rc;

	struct store *store;
	struct replica *replica; /* appended to: the group's, or the staging one */
	char name[NAME_BYTES_MAX + 1];
	char peer_name[SITE_NAME_BYTES_MAX + 1];
	struct epoch epoch;
	enum repl_purpose purpose;
	uint32_t mutant;

	struct lsn common;
	uint64_t common_chain;
	struct lsn common_first;
	struct replica_chain_at chain;
	struct completion store_done;
	struct completion *store_waited; /* the one in flight */
	bool store_flying;
	enum follower_phase store_phase; /* in which it was called */

	struct lsn told, head; /* commit told, head heard in this session */
	bool head_known;
	struct lsn fetch_end;
	bool fetch_ended;
	bool commit_again; /* replica_commit moved part of the way */
	bool want_full;	   /* asked for by the owner */
	bool agreed;	   /* W3 was checked at `common`, and a copy asked for all the same */
	bool wants_full;   /* W7 */
	struct lsn acked_durable, acked_received;
	bool acked_staging, acked_once;

	struct record *pending;	    /* checked, not appended yet */
	struct mono_ns stall_since; /* 0: no frame waits for us */
	struct completion space_done;
	bool space_waiting;
	struct timer timer;
	bool timer_running;
	struct append_slot appends[FOLLOWER_APPENDS];
	struct list append_free;
	uint32_t appends_flying;

	struct repl_follower_branch branch;
	struct frame_full *full;
	struct replica_stage_spec spec;
	struct replica_volume *volumes;
	struct epoch_entry *epochs;
	enum repl_rung rung;
	struct replica *staging;     /* out of replica_stage_begin */
	bool staged;		     /* a staging replica of ours exists */
	bool switch_wanted;	     /* complete: records wait until it is switched */
	struct import_slot *imports; /* FOLLOWER_IMPORTS, allocated for a full copy */
	struct list import_free;
	uint32_t imports_flying;
	uint64_t base_bytes, base_done, base_acked; /* received, imported, told so */
	struct walk *walk; /* of a resync by comparison; NULL: a full copy */
	bool compares;	   /* FULL was answered by COMPARE */
	bool compare_sent;
	bool spoiled; /* the staging replica must go */
	bool resumes; /* with what an earlier one had got */
	bool base_ended;
	struct lsn base_end; /* S4: switch only when durable and committed up to here */

	struct mono_ns last_frame;
	uint64_t cut_bytes;
};

/* follower.c */
void follower_fail(struct repl_follower *f, int rc, const char *what);
void follower_fork(struct repl_follower *f, struct lsn common, const char *why);
void follower_arm(struct repl_follower *f, uint64_t ns);
void follower_frames_again(struct repl_follower *f); /* a frame that waits may fit now */
int follower_wait(struct repl_follower *f);	     /* -ERR_AGAIN, or it has waited too long: 0 */
struct completion *follower_store_call(struct repl_follower *f);
void follower_store_arm(struct repl_follower *f,
			struct completion *done); /* the same, with another one */
void follower_want_full(struct repl_follower *f);

/* branch.c: J6 */
bool branch_is_needed(const struct repl_follower *f, struct lsn common, uint64_t common_epoch,
		      uint64_t last_forced_epoch);
bool branch_is_kept(const struct repl_follower *f);
void branch_begin(struct repl_follower *f, struct lsn common);
void branch_looked(struct repl_follower *f, int rc);
void branch_made(struct repl_follower *f, int rc);

/* intake.c: RECORD */
int intake_record(struct repl_follower *f, const struct conn_frame *frame);
void intake_commit(struct repl_follower *f);
void intake_ack(struct repl_follower *f);

/* stage.c: FULL, BASE, BASE_END */
int stage_full(struct repl_follower *f, const struct conn_frame *frame);
void stage_go_on(struct repl_follower *f,
		 struct lsn begin); /* a FULL that had to wait for a branch */
void stage_begun(struct repl_follower *f, int rc);
int stage_base(struct repl_follower *f, const struct conn_frame *frame);
void stage_step(struct repl_follower *f); /* acknowledge imports; switch when it is time */
void stage_switched(struct repl_follower *f, int rc);
void stage_free(struct repl_follower *f);

#endif
