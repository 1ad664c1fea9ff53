/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/member.c
 * Purpose.     One quorum member: joins the durable log, the links, the raft adapter and the state
 *              machine; tells the engine what is applied, takes its proposals.
 * Invariants.  M1  The raft adapter is stepped only while no metadata write is in flight; messages
 *                  of a step leave after the metadata of that step is durable (votes are kept).
 *              M2  Disk requests are submitted, and their results fed back, in order.
 *              M3  An empty member takes part in nothing until every configured member is there,
 *                  empty too or formed with the same members and disks.
 *              M4  A message leaves, and is taken, only in the session it was made in.
 *              M5  A failed write, a damaged file, an entry of a newer version: FAILED, for ever.
 * States.      LOADING -> FORMING -> RUNNING   [member_loaded, member_form]
 *              LOADING -> RUNNING              [member_loaded]
 *              any -> FAILED                   [member_fail]      any -> STOPPED  [member_stop]
 * Ownership.   env and disk are borrowed; mails to the engine belong to its mailbox.
 * Failure.     FAILED stops all links; the node shows status.rc and exits.
 * Limits.      PROPOSALS_MAX batches wait for a leader; the oldest is dropped (R8: asked again).
 */
#include "engine/quorum/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/random.h"
#include "engine/quorum/authority_mail.h"
#include "engine/quorum/member_state.h"

#define PROPOSALS_MAX 64u
#define TICK_MS 1000u

static void member_step(struct op *op);
static void step_stopping(struct member *m);
static int open_parts(struct member *m, struct disk *disk, const struct member_opts *opts);
static void take_mail(struct member *m);
static void job_step(struct op *op);
static void arm_tick(struct member *m);
static void free_all(struct member *m);

int member_open(struct env *env, struct disk *disk, const struct member_opts *opts,
		struct member **ret_m)
{
	uint32_t self = member_id_of(opts, opts->name);
	struct member *m;
	int rc;

	if (self == 0 || opts->member_count > QUORUM_PEERS_MAX)
		return -ERR_INVALID;
	for (uint32_t i = 0; i < opts->member_count; i++)
		if (strlen(opts->members[i].name) > SITE_NAME_BYTES_MAX ||
		    member_id_of(opts, opts->members[i].name) != i + 1)
			return -ERR_INVALID;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ERR_NOMEM;
	m->env = env;
	m->self = self;
	m->count = opts->member_count;
	m->preferred = opts->preferred != NULL ? member_id_of(opts, opts->preferred) : 0;
	m->heartbeat_ms = opts->heartbeat_ms != 0 ? opts->heartbeat_ms : 100;
	m->election_ms = opts->election_ms != 0 ? opts->election_ms : 500;
	m->snapshot_entries = opts->snapshot_entries != 0 ? opts->snapshot_entries : 512;
	for (uint32_t i = 1; i <= m->count; i++)
		snprintf(m->name[i], sizeof(m->name[i]), "%s", opts->members[i - 1].name);
	list_init(&m->held);
	list_init(&m->done_jobs);
	list_init(&m->all_jobs);
	list_init(&m->proposals);
	op_init(&m->op, env->ready, member_step);
	rc = open_parts(m, disk, opts);
	if (rc < 0) {
		free_all(m);
		return rc;
	}
	m->engine = opts->engine;
	m->inbox = opts->inbox;
	if (m->inbox != NULL)
		m->inbox->receiver = &m->op;
	completion_arm(&m->load_done, &m->op, MEMBER_BIT_LOAD);
	m->loading = true;
	qlog_load(m->qlog, &m->load_done);
	arm_tick(m);
	*ret_m = m;
	return 0;
}

uint32_t member_id_of(const struct member_opts *opts, const char *name)
{
	for (uint32_t i = 0; i < opts->member_count; i++)
		if (strcmp(opts->members[i].name, name) == 0)
			return i + 1;
	return 0;
}

static int open_parts(struct member *m, struct disk *disk, const struct member_opts *opts)
{
	struct qlinks_opts l = {.self = m->self,
				.count = m->count,
				.listen = opts->listen,
				.ping_ms = m->heartbeat_ms * 2,
				.dead_ms = m->election_ms * 2,
				.owner = &m->op};
	struct qlog_opts q = {.format = opts->format};
	char names[QUORUM_PEERS_MAX * QUORUM_NAME_BYTES];
	uint8_t random[16];
	int rc;

	if (l.dead_ms < 1000)
		l.dead_ms = 1000;
	memset(names, 0, sizeof(names));
	for (uint32_t i = 1; i <= m->count; i++) {
		l.address[i] = opts->members[i - 1].address;
		l.name[i] = m->name[i];
		memcpy(names + (i - 1) * QUORUM_NAME_BYTES, m->name[i], QUORUM_NAME_BYTES);
	}
	m->identity.members_hash = crc64(0, names, sizeof(names));
	m->identity.fsm_version = VG_FSM_VERSION;
	m->env->random->fill(m->env->random, random, sizeof(random));
	uuid_from_random(&q.disk, random);
	rc = fsm_open(&m->fsm);
	if (rc == 0)
		rc = qlog_open(m->env->ready, disk, &q, &m->qlog);
	if (rc == 0)
		rc = qlinks_open(m->env, &l, &m->links);
	return rc;
}

void member_watch(struct member *m, struct op *op)
{
	m->watcher = op;
}

void member_stop(struct member *m, struct completion *done)
{
	assert(!m->stopping);
	m->stopping = true;
	m->stop_done = done;
	qlinks_stop(m->links);
	op_wake(&m->op);
}

void member_close(struct member **m)
{
	if (*m == NULL)
		return;
	assert((*m)->state == MEMBER_STOPPED && (*m)->stop_done == NULL);
	qlinks_close(&(*m)->links);
	if ((*m)->inbox != NULL)
		for (struct mail *mail; (mail = (*m)->inbox->take((*m)->inbox)) != NULL;)
			free(container_of(mail, struct authority_proposal, mail));
	free_all(*m);
	*m = NULL;
}

void member_discard(struct member **m)
{
	if (*m == NULL)
		return;
	free_all(*m);
	*m = NULL;
}

static void free_all(struct member *m)
{
	qlinks_discard(&m->links);
	qlog_discard(&m->qlog);
	consensus_close(&m->consensus);
	fsm_close(&m->fsm);
	member_drop_held(m);
	LIST_FOR_EACH_SAFE(n, &m->all_jobs)
		member_job_end(m, container_of(n, struct disk_job, all));
	LIST_FOR_EACH_SAFE(p, &m->proposals)
		free(container_of(p, struct authority_proposal, mail.link));
	op_unqueue(&m->op); /* last: the parts wake it */
	free(m);
}

/* ---- the step ---- */

static void member_step(struct op *op)
{
	struct member *m = container_of(op, struct member, op);

	if (m->timer_used && (op->waits & MEMBER_BIT_TIMER) == 0) {
		m->timer_used = false;
		m->timed_out = m->timer.done.rc == 0;
	}
	if (m->tick_used && (op->waits & MEMBER_BIT_TICK) == 0) {
		m->tick_used = false;
		if (m->state == MEMBER_RUNNING && !m->stopping)
			member_run_tick(m);
		m->told_any = false; /* once a second the engine hears that we live */
		arm_tick(m);
	}
	take_mail(m);
	if (m->loading && (op->waits & MEMBER_BIT_LOAD) == 0) {
		m->loading = false;
		if (!m->stopping)
			member_loaded(m);
	}
	if (m->stopping) {
		step_stopping(m);
		return; /* wait: links, disk */
	}
	if (m->state != MEMBER_RUNNING)
		for (struct qlink_frame *f; (f = qlinks_take(m->links)) != NULL;)
			free(f); /* M3 */
	if (m->state == MEMBER_FORMING)
		member_form(m);
	if (m->state == MEMBER_RUNNING)
		member_run(m);
	member_tell(m, AUTHORITY_STATUS, NULL, 0);
	/* wait: frames, disk, timers, mail */
}

static void step_stopping(struct member *m)
{
	struct completion *done = m->stop_done;

	if (timer_armed(&m->timer))
		clock_timer_disarm(m->env->clock, &m->timer);
	if (timer_armed(&m->tick))
		clock_timer_disarm(m->env->clock, &m->tick);
	LIST_FOR_EACH_SAFE(n, &m->done_jobs) {
		list_remove(n);
		member_job_end(m, container_of(n, struct disk_job, link));
	}
	if (done == NULL || m->op.waits != 0 || !list_empty(&m->all_jobs) || !qlinks_idle(m->links))
		return; /* wait: timers, disk, links */
	m->state = MEMBER_STOPPED;
	m->stop_done = NULL;
	op_unqueue(&m->op);
	completion_fire(done, 0);
}

static void take_mail(struct member *m)
{
	struct mail *mail;

	while (m->inbox != NULL && (mail = m->inbox->take(m->inbox)) != NULL) {
		struct authority_proposal *p = container_of(mail, struct authority_proposal, mail);

		list_link_init(&p->mail.link);
		list_push_back(&m->proposals, &p->mail.link);
		m->proposal_count++;
	}
	while (m->proposal_count > PROPOSALS_MAX) {
		struct list_link *n = list_pop_front(&m->proposals);

		free(container_of(n, struct authority_proposal, mail.link));
		m->proposal_count--;
	}
}

void member_propose(struct member *m, const void *data, uint32_t bytes)
{
	struct authority_proposal *p = malloc(sizeof(*p) + bytes);

	if (p == NULL || m->proposal_count >= PROPOSALS_MAX) {
		free(p);
		return; /* asked again (R8) */
	}
	p->bytes = bytes;
	memcpy(p->data, data, bytes);
	list_link_init(&p->mail.link);
	list_push_back(&m->proposals, &p->mail.link);
	m->proposal_count++;
}

static void arm_tick(struct member *m)
{
	if (m->stopping)
		return;
	m->tick.deadline.v = clock_now(m->env->clock).v + TICK_MS * MS_NS;
	completion_arm(&m->tick.done, &m->op, MEMBER_BIT_TICK);
	m->tick_used = true;
	clock_timer_arm(m->env->clock, &m->tick);
}

uint64_t member_now_ms(const struct member *m)
{
	return clock_now(m->env->clock).v / MS_NS;
}

void member_fail(struct member *m, int rc, const char *detail)
{
	if (m->state == MEMBER_FAILED)
		return;
	m->state = MEMBER_FAILED; /* M5 */
	m->rc = rc;
	snprintf(m->detail, sizeof(m->detail), "%s: %s", detail, err_text(rc));
	log_debug(m->env->log, "quorum", "member %s fails: %s", m->name[m->self], m->detail);
	qlinks_stop(m->links);
	if (timer_armed(&m->timer))
		clock_timer_disarm(m->env->clock, &m->timer);
}

/* ---- disk jobs ---- */

struct disk_job *member_job(struct member *m, enum disk_job_kind kind)
{
	struct disk_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	job->member = m;
	job->kind = kind;
	list_link_init(&job->link);
	op_init(&job->op, m->env->ready, job_step);
	completion_arm(&job->req.done, &job->op, 1);
	list_link_init(&job->all);
	list_push_back(&m->all_jobs, &job->all);
	return job;
}

void member_job_end(struct member *m, struct disk_job *job)
{
	(void)m;
	op_unqueue(&job->op);
	list_remove(&job->all);
	free(job);
}

static void job_step(struct op *op)
{
	struct disk_job *job = container_of(op, struct disk_job, op);
	struct member *m = job->member;

	if (op->waits != 0)
		return; /* wait: the log */
	qlinks_moved(m->links, qlog_lsn(m->qlog), qlog_seq(m->qlog));
	if (job->req.done.rc < 0 || job->kind == JOB_META) {
		if (job->req.done.rc < 0 && !m->stopping)
			member_fail(m, job->req.done.rc, "writing the quorum's file"); /* M5 */
		else if (job->kind == JOB_META)
			m->meta_busy = false; /* M1; out of order on purpose: others wait for it */
		member_job_end(m, job);
	} else {
		list_push_back(&m->done_jobs, &job->link); /* M2 */
	}
	op_wake(&m->op);
}

/* ---- status ---- */

void member_identify(struct member *m)
{
	m->identity.disk = m->meta.disk;
	m->identity.cluster = m->meta.cluster;
	m->identity.lsn = qlog_lsn(m->qlog);
	m->identity.seq = qlog_seq(m->qlog);
	m->identity.empty = m->consensus == NULL;
	for (uint32_t i = 1; i <= m->count; i++)
		m->identity.peer[i].at_least = m->meta.peers[i - 1];
	qlinks_identify(m->links, &m->identity);
}

void member_fill_status(const struct member *m, struct authority_status *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ready = m->state == MEMBER_RUNNING;
	ret->forming = m->state == MEMBER_FORMING;
	ret->rc = m->rc;
	ret->self = m->self;
	ret->generation = m->meta.generation;
	ret->cluster = m->meta.cluster;
	ret->leader_seen = clock_now(m->env->clock);
	if (m->consensus != NULL && m->state == MEMBER_RUNNING) {
		ret->leader = consensus_leader(m->consensus);
		ret->term = consensus_term(m->consensus);
		ret->applied = consensus_applied(m->consensus);
		ret->has_quorum = ret->leader != 0;
	}
	ret->member_count = m->count;
	for (uint32_t i = 1; i <= m->count; i++) {
		const struct qlink_peer *p = qlinks_peer(m->links, i);
		struct authority_member *s = &ret->member[i - 1];

		s->id = i;
		memcpy(s->name, m->name[i], sizeof(s->name));
		s->reachable = i == m->self || p->open;
		/* Positions move all the time: they are no change worth telling. */
	}
}

void member_status(const struct member *m, struct member_status *ret)
{
	struct authority_status s;

	member_fill_status(m, &s);
	memset(ret, 0, sizeof(*ret));
	ret->state = m->state;
	ret->rc = m->rc;
	memcpy(ret->detail, m->detail, sizeof(ret->detail));
	for (uint32_t i = 1; i <= m->count && ret->detail[0] == 0; i++)
		memcpy(ret->detail, qlinks_peer(m->links, i)->refusal, sizeof(ret->detail));
	ret->self = m->self;
	ret->leader = s.leader;
	ret->term = s.term;
	ret->applied = s.applied;
	if (m->consensus != NULL) {
		ret->committed = consensus_commit(m->consensus);
		ret->last_index = consensus_last_index(m->consensus);
	}
	ret->lsn = qlog_lsn(m->qlog);
	ret->cluster = m->meta.cluster;
	ret->member_count = m->count;
	memcpy(ret->member, s.member, sizeof(ret->member));
	for (uint32_t i = 1; i <= m->count; i++)
		ret->member[i - 1].lsn =
			i == m->self ? ret->lsn : qlinks_peer(m->links, i)->position.lsn;
}

/* Tell the engine: views with the status, or the status alone if it has changed. */
void member_tell(struct member *m, uint32_t kind, const struct vg_view *views, uint32_t count)
{
	struct authority_status now;
	struct authority_mail *mail;

	member_fill_status(m, &now);
	if (kind == AUTHORITY_STATUS) {
		struct authority_status then = m->told;

		then.leader_seen = now.leader_seen;
		then.applied = now.applied;
		if (m->told_any && memcmp(&then, &now, sizeof(now)) == 0)
			return;
	}
	m->told = now;
	m->told_any = true;
	if (m->watcher != NULL)
		op_wake(m->watcher);
	if (m->engine == NULL)
		return;
	mail = calloc(1, sizeof(*mail) + count * sizeof(mail->views[0]));
	if (mail == NULL) {
		member_fail(m, -ERR_NOMEM, "telling the engine");
		return;
	}
	list_link_init(&mail->mail.link);
	mail->kind = (enum authority_mail_kind)kind;
	mail->status = now;
	mail->view_count = count;
	if (count > 0)
		memcpy(mail->views, views, count * sizeof(mail->views[0]));
	mail->boot_count = fsm_node_count(m->fsm);
	for (uint32_t i = 0; i < mail->boot_count; i++)
		mail->boot[i].site = fsm_node_at(m->fsm, i, &mail->boot[i].boot);
	m->engine->post(m->engine, &mail->mail);
}
