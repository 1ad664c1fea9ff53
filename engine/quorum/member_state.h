/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/member_state.h: the inside of struct member, shared by member*.c only. */
#ifndef TS_QUORUM_MEMBER_STATE_H
#define TS_QUORUM_MEMBER_STATE_H

#include "engine/base/list.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/quorum/consensus.h"
#include "engine/quorum/fsm.h"
#include "engine/quorum/member.h"
#include "engine/quorum/qlink.h"
#include "engine/quorum/qlog.h"

enum { MEMBER_BIT_LOAD = 1, MEMBER_BIT_TIMER = 2, MEMBER_BIT_TICK = 4 };
enum disk_job_kind { JOB_META, JOB_APPEND, JOB_INSTALL, JOB_SNAPSHOT, JOB_FORM };

/* One request to the log; its own op, so that any number can be in flight. */
struct disk_job {
	struct op op;
	struct list_link link; /* in done_jobs */
	struct list_link all;  /* in all_jobs */
	struct member *member;
	enum disk_job_kind kind;
	struct qlog_req req;
};

/* A message that waits for the metadata write of its step. */
struct held_message {
	struct list_link link;
	uint32_t to, bytes;
	uint64_t generation;
	uint8_t *payload;
};

struct member {
	struct env *env;
	struct op op;
	enum member_state state;
	int rc;
	char detail[160];
	bool stopping;
	struct completion *stop_done;
	struct op *watcher;

	uint32_t self, count, preferred; /* raft ids */
	char name[QUORUM_PEERS_MAX + 1][QUORUM_NAME_BYTES];
	uint32_t heartbeat_ms, election_ms, snapshot_entries;
	struct mailbox *inbox, *engine;

	struct qlog *qlog;
	struct qlinks *links;
	struct consensus *consensus; /* NULL until begun */
	struct fsm *fsm;
	struct quorum_meta meta; /* as last written or being written */
	struct qlinks_identity identity;

	struct completion load_done;
	bool loading;
	uint32_t forming_jobs; /* writes of the formation in flight */
	struct timer timer, tick;
	bool timer_used, tick_used;
	bool timed_out; /* the raft timer fired */

	bool meta_busy;	       /* nothing may be stepped */
	struct list held;      /* held_message */
	struct list done_jobs; /* disk_job, in order */
	struct list all_jobs;  /* in flight or in done_jobs */
	bool snapshot_busy;
	struct list proposals; /* authority_proposal, ours or from peers */
	uint32_t proposal_count;
	uint64_t preferred_generation; /* its session at the last tick */
	uint32_t ticks;
	struct quorum_position saved[QUORUM_PEERS_MAX];

	struct authority_status told; /* last status mail */
	bool told_any;
};

/* member.c */
void member_fail(struct member *m, int rc, const char *detail);
void member_fill_status(const struct member *m, struct authority_status *ret);
void member_tell(struct member *m, uint32_t kind, const struct vg_view *views, uint32_t count);
uint64_t member_now_ms(const struct member *m);
struct disk_job *member_job(struct member *m, enum disk_job_kind kind);
void member_job_end(struct member *m, struct disk_job *job);
void member_identify(struct member *m);
void member_propose(struct member *m, const void *data, uint32_t bytes);

/* member_form.c */
void member_loaded(struct member *m);
void member_form(struct member *m);
void member_form_job(struct member *m, struct disk_job *job);

/* member_run.c */
void member_run(struct member *m);
void member_run_tick(struct member *m);
void member_drop_held(struct member *m);
void member_carry_out(struct member *m, int rc); /* the adapter's effects, after each call of it */
int member_tell_all(struct member *m);

#endif
