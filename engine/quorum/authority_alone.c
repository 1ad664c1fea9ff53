/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/authority_alone.c
 * Purpose.     The authority of a site without a quorum section: the same state machine and the
 *              same durable log, no raft: an entry is applied when it is durable.
 * Invariants.  B1  Entries are applied in order of index, each after it is durable.
 *              B2  The state after load is the state before: snapshot plus entries above it.
 * States.      LOADING -> MARKING (first metadata) -> READY;  any -> FAILED.
 * Failure.     A failed write ends it: status.rc; the store must be reopened.
 * Limits.      AUTHORITY_BATCHES_MAX entries in flight; a snapshot every SNAPSHOT_ENTRIES.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/port/random.h"
#include "engine/quorum/authority_state.h"

#define SNAPSHOT_ENTRIES 256u
#define KEEP_ENTRIES 1u
#define ALONE_SITE 1u

enum alone_phase { ALONE_LOADING, ALONE_MARKING, ALONE_READY, ALONE_FAILED };

struct alone_job {
	struct op op;
	struct list_link all;
	struct authority *authority;
	struct qlog_req req;
	bool snapshot;
	uint32_t bytes;
	uint8_t data[];
};

struct alone {
	enum alone_phase phase;
	struct qlog *qlog;
	struct completion load_done;
	struct qlog_req mark;
	bool mark_used;
	struct completion *stop_done;
	struct quorum_meta meta;
	uint64_t next_index, applied, snapshot_index;
	uint32_t entries, snapshots; /* in flight */
	struct list jobs;	     /* all of them */
};

static void alone_step(struct op *op);
static void loaded(struct authority *a);
static int replay(struct authority *a, const struct qlog_found *f);
static int apply(struct authority *a, const uint8_t *data, uint32_t bytes);
static void ready(struct authority *a);
static void fail(struct authority *a, int rc);
static void job_step(struct op *op);
static void job_end(struct alone_job *job);
static struct alone_job *job_new(struct authority *a, uint32_t bytes);
static void maybe_snapshot(struct authority *a);

int authority_alone_open(struct env *env, struct disk *disk,
			 const struct authority_alone_opts *opts, struct authority **ret_a)
{
	struct authority *a = authority_new(env, alone_step);
	struct qlog_opts q = {.format = opts->format};
	uint8_t random[16];
	int rc;

	if (a == NULL)
		return -ERR_NOMEM;
	a->alone = calloc(1, sizeof(*a->alone));
	env->random->fill(env->random, random, sizeof(random));
	uuid_from_random(&q.disk, random);
	if (a->alone != NULL)
		list_init(&a->alone->jobs);
	rc = a->alone == NULL ? -ERR_NOMEM : qlog_open(env->ready, disk, &q, &a->alone->qlog);
	if (rc < 0) {
		authority_discard(&a);
		return rc;
	}
	a->status.alone = true;
	a->status.self = a->status.leader = ALONE_SITE;
	a->status.member_count = 1;
	a->status.member[0].id = ALONE_SITE;
	a->status.member[0].reachable = true;
	memcpy(a->status.member[0].name, opts->site_name,
	       strnlen(opts->site_name, SITE_NAME_BYTES_MAX));
	completion_arm(&a->alone->load_done, &a->op, 1);
	qlog_load(a->alone->qlog, &a->alone->load_done);
	*ret_a = a;
	return 0;
}

void alone_free(struct authority *a)
{
	if (a->alone == NULL)
		return;
	qlog_discard(&a->alone->qlog);
	LIST_FOR_EACH_SAFE(n, &a->alone->jobs)
		job_end(container_of(n, struct alone_job, all));
	free(a->alone);
	a->alone = NULL;
}

void alone_stop(struct authority *a, struct completion *done)
{
	a->alone->stop_done = done;
	op_wake(&a->op);
}

int alone_propose(struct authority *a, const void *batch, uint32_t bytes)
{
	struct quorum_entry entry = {
		.term = 1, .type = QUORUM_COMMAND, .bytes = bytes, .data = batch};
	struct alone *al = a->alone;
	struct alone_job *job;
	int rc;

	if (al->entries >= AUTHORITY_BATCHES_MAX)
		return -ERR_BUSY;
	job = job_new(a, bytes);
	if (job == NULL)
		return -ERR_NOMEM;
	memcpy(job->data, batch, bytes);
	rc = qlog_append(al->qlog, &job->req, al->next_index, &entry, 1);
	if (rc < 0) {
		job_end(job);
		return rc == -ERR_FULL ? -ERR_BUSY : rc; /* until the snapshot is made */
	}
	al->next_index++;
	al->entries++;
	return 0;
}

static void alone_step(struct op *op)
{
	struct authority *a = container_of(op, struct authority, op);
	struct alone *al = a->alone;
	struct completion *done = al->stop_done;

	if (op->waits != 0)
		return; /* wait: the log */
	if (done != NULL && al->entries == 0 && al->snapshots == 0) {
		al->stop_done = NULL;
		completion_fire(done, 0);
		return;
	}
	if (a->stopping)
		return; /* wait: jobs */
	if (al->phase == ALONE_LOADING)
		loaded(a);
	else if (al->phase == ALONE_MARKING)
		ready(a);
}

static void loaded(struct authority *a)
{
	struct alone *al = a->alone;
	int rc = al->load_done.rc;
	uint8_t random[16];

	if (rc == 0) {
		rc = replay(a, qlog_found(al->qlog));
		qlog_forget(al->qlog);
	}
	if (rc < 0) {
		fail(a, rc);
		return;
	}
	al->phase = ALONE_MARKING;
	if (al->meta.term != 0) {
		al->mark.done.rc = 0;
		ready(a);
		return;
	}
	a->env->random->fill(a->env->random, random, sizeof(random));
	uuid_from_random(&al->meta.cluster, random);
	al->meta.term = 1;
	al->meta.vote = ALONE_SITE;
	completion_arm(&al->mark.done, &a->op, 1);
	qlog_write_meta(al->qlog, &al->mark, &al->meta);
}

/* B2 */
static int replay(struct authority *a, const struct qlog_found *f)
{
	struct alone *al = a->alone;
	int rc = 0;

	al->meta = f->meta;
	if (f->has_snapshot) {
		rc = fsm_load(a->fsm, f->data, f->snapshot.data_bytes);
		al->applied = al->snapshot_index = f->snapshot.index;
	}
	for (uint32_t i = 0; i < f->entry_count && rc == 0; i++) {
		uint64_t index = f->first_index + i;

		if (index <= al->applied)
			continue;
		if (f->entries[i].type != QUORUM_COMMAND)
			return -ERR_CORRUPT;
		rc = apply(a, f->entries[i].data, f->entries[i].bytes);
		al->applied = index;
	}
	al->next_index = al->applied + 1;
	return rc;
}

static int apply(struct authority *a, const uint8_t *data, uint32_t bytes)
{
	struct vg_cmd *cmds = malloc(VG_BATCH_MAX * sizeof(*cmds));
	int n = cmds == NULL ? -ERR_NOMEM : fsm_batch_decode(data, bytes, cmds);

	for (int i = 0; i < n; i++)
		if (fsm_apply(a->fsm, &cmds[i], NULL) == 0)
			a->version++;
	free(cmds);
	return n < 0 ? n : 0;
}

static void ready(struct authority *a)
{
	struct alone *al = a->alone;

	if (al->mark.done.rc < 0) {
		fail(a, al->mark.done.rc);
		return;
	}
	al->phase = ALONE_READY;
	a->status.ready = a->status.has_quorum = true;
	a->status.cluster = al->meta.cluster;
	a->status.generation = al->meta.generation;
	a->status.term = al->meta.term;
	a->status.applied = al->applied;
	a->status.leader_seen = clock_now(a->env->clock);
	authority_changed(a);
}

static void fail(struct authority *a, int rc)
{
	a->alone->phase = ALONE_FAILED;
	a->status.rc = rc;
	a->status.has_quorum = false;
	authority_changed(a);
}

/* ---- entries and snapshots in flight ---- */

static struct alone_job *job_new(struct authority *a, uint32_t bytes)
{
	struct alone_job *job = calloc(1, sizeof(*job) + bytes);

	if (job == NULL)
		return NULL;
	job->authority = a;
	job->bytes = bytes;
	list_link_init(&job->all);
	list_push_back(&a->alone->jobs, &job->all);
	op_init(&job->op, a->env->ready, job_step);
	completion_arm(&job->req.done, &job->op, 1);
	return job;
}

static void job_step(struct op *op)
{
	struct alone_job *job = container_of(op, struct alone_job, op);
	struct authority *a = job->authority;
	struct alone *al = a->alone;
	int rc = job->req.done.rc;

	if (op->waits != 0)
		return; /* wait: the log */
	if (job->snapshot) {
		al->snapshots--;
	} else {
		al->entries--;
		if (rc == 0 && al->phase == ALONE_READY) {
			rc = apply(a, job->data, job->bytes); /* B1: the log completes in order */
			al->applied++;
			a->status.applied = al->applied;
		}
	}
	if (rc < 0 && al->phase != ALONE_FAILED)
		fail(a, rc);
	a->status.leader_seen = clock_now(a->env->clock);
	if (!job->snapshot) {
		authority_changed(a);
		maybe_snapshot(a);
	}
	op_wake(&a->op);
	job_end(job);
}

static void job_end(struct alone_job *job)
{
	op_unqueue(&job->op);
	list_remove(&job->all);
	free(job);
}

static void maybe_snapshot(struct authority *a)
{
	struct alone *al = a->alone;
	struct quorum_snapshot s = {.index = al->applied, .term = 1};
	struct alone_job *job;
	uint8_t *data;
	int bytes, rc;

	if (al->snapshots > 0 || a->stopping || al->phase != ALONE_READY ||
	    (al->applied - al->snapshot_index < SNAPSHOT_ENTRIES &&
	     qlog_blocks_used(al->qlog) < QUORUM_LOG_BLOCKS / 2) ||
	    al->applied == al->snapshot_index)
		return;
	data = malloc(FSM_STATE_BYTES_MAX);
	job = job_new(a, 0);
	bytes = data == NULL || job == NULL ? -ERR_NOMEM
					    : fsm_encode(a->fsm, data, FSM_STATE_BYTES_MAX);
	if (bytes >= 0) {
		s.data_bytes = (uint32_t)bytes;
		job->snapshot = true;
		rc = qlog_write_snapshot(al->qlog, &job->req, &s, data, data,
					 al->applied - KEEP_ENTRIES, false);
	} else {
		rc = bytes;
	}
	free(data);
	if (rc < 0) {
		if (job != NULL)
			job_end(job);
		fail(a, rc);
		return;
	}
	al->snapshots++;
	al->snapshot_index = al->applied;
}
