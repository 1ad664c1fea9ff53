/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/member_run.c
 * Purpose.     The running member: one event at a time into the raft adapter, its effects out, what
 *              is committed into the state machine and to the engine.
 * Invariants.  M1, M2, M4 of member.c.
 * Limits.      SUBMITTED_MAX entries submitted and not committed; a follower ignores entries it has
 *              no room for, as if they were lost, until its snapshot is made.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/quorum/authority_mail.h"
#include "engine/quorum/member_state.h"

#define SUBMITTED_MAX 64u
#define ROOM_RESERVE_BYTES (64u << 10) /* of the log, for what cannot be put off */
#define TRANSFER_TICKS 2u
#define SAVE_TICKS 60u
#define TIMER_MIN_MS 5u

static int put_meta(struct member *m, uint64_t term, uint64_t vote);
static int put_entries(struct member *m, const struct consensus_effects *fx);
static int put_snapshot(struct member *m, enum disk_job_kind kind,
			const struct consensus_snapshot *s);
static void send_messages(struct member *m, const struct consensus_effects *fx);
static bool take_job(struct member *m);
static int job_result(struct member *m, struct disk_job *job);
static bool take_frame(struct member *m);
static bool take_proposal(struct member *m);
static bool apply_one(struct member *m);
static int apply_entry(struct member *m, const struct quorum_entry *entry);
static void maybe_snapshot(struct member *m);
static void arm_timer(struct member *m);

static bool can_step(const struct member *m)
{
	return m->state == MEMBER_RUNNING && !m->meta_busy; /* M1 */
}

void member_run(struct member *m)
{
	if (!m->meta_busy && !list_empty(&m->held)) {
		LIST_FOR_EACH(n, &m->held) {
			struct held_message *h = container_of(n, struct held_message, link);

			qlinks_send(m->links, h->to, h->generation, QUORUM_RAFT, h->payload,
				    h->bytes);
		}
		member_drop_held(m);
	}
	for (;;) {
		if (!can_step(m))
			return; /* wait: metadata */
		if (take_job(m) || apply_one(m) || take_frame(m) || take_proposal(m))
			continue;
		if (m->timed_out) {
			m->timed_out = false;
			if (member_now_ms(m) >= consensus_deadline_ms(m->consensus)) {
				member_carry_out(m,
						 consensus_timeout(m->consensus, member_now_ms(m)));
				continue;
			}
		}
		break;
	}
	maybe_snapshot(m);
	if (m->state == MEMBER_RUNNING)
		arm_timer(m);
}

/* Once a second. */
void member_run_tick(struct member *m)
{
	const struct qlink_peer *p = m->preferred != 0 ? qlinks_peer(m->links, m->preferred) : NULL;
	bool moved = false;

	m->ticks++;
	if (!can_step(m))
		return;
	if (p != NULL && p->open && m->preferred != m->self && m->ticks % TRANSFER_TICKS == 0) {
		if (p->generation == m->preferred_generation &&
		    consensus_role(m->consensus) == CONSENSUS_LEADER)
			member_carry_out(m, consensus_transfer(m->consensus, member_now_ms(m),
							       m->preferred));
		m->preferred_generation = p->generation;
	}
	for (uint32_t i = 1; i <= m->count; i++)
		if (qlinks_peer(m->links, i)->position.lsn > m->saved[i - 1].lsn)
			moved = true;
	if (moved && m->ticks % SAVE_TICKS == 0 && can_step(m) &&
	    put_meta(m, m->meta.term, m->meta.vote) < 0)
		member_fail(m, -ERR_NOMEM, "writing metadata");
}

/* ---- effects ---- */

/* After every call of the adapter; rc is what it returned. */
void member_carry_out(struct member *m, int rc)
{
	const struct consensus_effects *fx = consensus_effects(m->consensus);

	if (rc == -ERR_NOT_PRIMARY)
		return;
	if (rc == 0 && fx->meta)
		rc = put_meta(m, fx->term, fx->vote);
	if (rc == 0 && fx->install)
		rc = put_snapshot(m, JOB_INSTALL, consensus_installing(m->consensus));
	if (rc == 0 && fx->append)
		rc = put_entries(m, fx);
	if (rc < 0) {
		member_fail(m, rc, "taking part in the quorum");
		return;
	}
	send_messages(m, fx);
}

static int put_meta(struct member *m, uint64_t term, uint64_t vote)
{
	struct disk_job *job = member_job(m, JOB_META);

	if (job == NULL)
		return -ERR_NOMEM;
	m->meta.term = term;
	m->meta.vote = vote;
	for (uint32_t i = 1; i <= m->count; i++)
		if (i != m->self)
			m->meta.peers[i - 1] = qlinks_peer(m->links, i)->position;
	memcpy(m->saved, m->meta.peers, sizeof(m->saved));
	m->meta_busy = true;
	qlog_write_meta(m->qlog, &job->req, &m->meta);
	return 0;
}

static int put_entries(struct member *m, const struct consensus_effects *fx)
{
	struct quorum_entry entries[QUORUM_ENTRIES_MAX];
	struct disk_job *job = member_job(m, JOB_APPEND);

	if (job == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < fx->append_count; i++)
		entries[i] = *consensus_entry(m->consensus, fx->append_first + i);
	return qlog_append(m->qlog, &job->req, fx->append_first, entries, fx->append_count);
}

static int put_snapshot(struct member *m, enum disk_job_kind kind,
			const struct consensus_snapshot *s)
{
	struct quorum_snapshot head = {.index = s->index,
				       .term = s->term,
				       .conf_index = s->conf_index,
				       .conf_bytes = s->conf_bytes,
				       .data_bytes = s->data_bytes};
	uint64_t keep_after = s->index > CONSENSUS_TRAILING ? s->index - CONSENSUS_TRAILING : 0;
	struct disk_job *job = member_job(m, kind);

	if (job == NULL)
		return -ERR_NOMEM;
	return qlog_write_snapshot(m->qlog, &job->req, &head, s->conf, s->data, keep_after,
				   kind == JOB_INSTALL);
}

/* M1, M4: into the sessions of now, after the metadata. */
static void send_messages(struct member *m, const struct consensus_effects *fx)
{
	for (uint32_t i = 0; i < fx->message_count; i++) {
		struct consensus_message *out = &fx->messages[i];
		const struct qlink_peer *p;
		struct held_message *h;

		if (out->to == 0 || out->to > m->count)
			continue;
		p = qlinks_peer(m->links, out->to);
		if (!p->open)
			continue;
		if (!m->meta_busy) {
			qlinks_send(m->links, out->to, p->generation, QUORUM_RAFT, out->payload,
				    out->bytes);
			continue;
		}
		h = malloc(sizeof(*h));
		if (h == NULL)
			continue; /* as if lost */
		*h = (struct held_message){.to = out->to,
					   .bytes = out->bytes,
					   .generation = p->generation,
					   .payload = out->payload};
		out->payload = NULL;
		list_link_init(&h->link);
		list_push_back(&m->held, &h->link);
	}
}

void member_drop_held(struct member *m)
{
	LIST_FOR_EACH_SAFE(n, &m->held) {
		struct held_message *h = container_of(n, struct held_message, link);

		list_remove(n);
		free(h->payload);
		free(h);
	}
}

/* ---- events: each takes one and returns true, or there was none ---- */

static bool take_job(struct member *m)
{
	struct list_link *n = list_pop_front(&m->done_jobs);
	struct disk_job *job;
	int rc;

	if (n == NULL)
		return false;
	job = container_of(n, struct disk_job, link);
	rc = job_result(m, job);
	member_job_end(m, job);
	member_carry_out(m, rc);
	return true;
}

static int job_result(struct member *m, struct disk_job *job)
{
	uint64_t now = member_now_ms(m);
	const struct consensus_snapshot *s;
	int rc;

	switch (job->kind) {
	case JOB_APPEND:
		return consensus_persisted(m->consensus, now);
	case JOB_SNAPSHOT:
		m->snapshot_busy = false;
		return consensus_taken(m->consensus, now);
	case JOB_INSTALL:
		s = consensus_installing(m->consensus);
		rc = fsm_load(m->fsm, s->data, s->data_bytes);
		if (rc == 0)
			rc = consensus_installed(m->consensus, now);
		return rc == 0 ? member_tell_all(m) : rc;
	case JOB_META:
	case JOB_FORM:
		break;
	}
	return -ERR_FAILED;
}

static bool take_frame(struct member *m)
{
	struct qlink_frame *f = qlinks_take(m->links);
	struct vg_cmd *cmds;
	int rc;

	if (f == NULL)
		return false;
	if (f->type == QUORUM_RAFT) {
		if (qlog_has_room(m->qlog, f->bytes + ROOM_RESERVE_BYTES)) {
			rc = consensus_receive(m->consensus, member_now_ms(m), f->from, f->payload,
					       f->bytes);
			if (rc != -ERR_CORRUPT) /* a message we cannot read is as good as lost */
				member_carry_out(m, rc);
		}
	} else if (f->bytes <= FSM_BATCH_BYTES_MAX) {
		cmds = malloc(VG_BATCH_MAX * sizeof(*cmds));
		if (cmds != NULL && fsm_batch_decode(f->payload, f->bytes, cmds) > 0)
			member_propose(m, f->payload, f->bytes);
		free(cmds);
	}
	free(f);
	return true;
}

static bool take_proposal(struct member *m)
{
	uint32_t leader = consensus_leader(m->consensus);
	struct authority_proposal *p;
	int rc = 0;

	if (list_empty(&m->proposals) || leader == 0)
		return false;
	p = container_of(list_first(&m->proposals), struct authority_proposal, mail.link);
	if (leader == m->self) {
		if (!qlog_has_room(m->qlog, p->bytes + 2 * ROOM_RESERVE_BYTES) ||
		    consensus_last_index(m->consensus) - consensus_commit(m->consensus) >=
			    SUBMITTED_MAX)
			return false;
		rc = consensus_submit(m->consensus, member_now_ms(m), p->data, p->bytes);
		if (rc == -ERR_NOT_PRIMARY)
			return false; /* being handed over: the next leader will be told */
	} else {
		qlinks_send(m->links, leader, qlinks_peer(m->links, leader)->generation,
			    QUORUM_PROPOSE, p->data, p->bytes);
	}
	list_remove(&p->mail.link);
	m->proposal_count--;
	free(p);
	if (leader == m->self)
		member_carry_out(m, rc);
	return true;
}

static bool apply_one(struct member *m)
{
	uint64_t index;
	const struct quorum_entry *entry = consensus_next(m->consensus, &index);
	int rc;

	if (entry == NULL)
		return false;
	rc = entry->type == QUORUM_COMMAND ? apply_entry(m, entry) : 0;
	member_carry_out(m, rc < 0 ? rc : consensus_advance(m->consensus, member_now_ms(m)));
	return true;
}

static int apply_entry(struct member *m, const struct quorum_entry *entry)
{
	struct vg_cmd *cmds = malloc(VG_BATCH_MAX * sizeof(*cmds));
	struct vg_view *changed = malloc(VG_BATCH_MAX * sizeof(*changed));
	uint32_t count = 0;
	bool all = false;
	int n = cmds == NULL || changed == NULL ? -ERR_NOMEM
						: fsm_batch_decode(entry->data, entry->bytes, cmds);

	for (int i = 0; i < n; i++) {
		if (fsm_apply(m->fsm, &cmds[i], &changed[count]) < 0)
			continue; /* refused: a late retry or a lost race */
		if (cmds[i].kind == VG_NODE)
			all = true;
		else
			count++;
	}
	if (n >= 0 && all)
		n = member_tell_all(m);
	else if (n >= 0 && count > 0)
		member_tell(m, AUTHORITY_CHANGED, changed, count);
	free(cmds);
	free(changed);
	return n < 0 ? n : 0; /* M5: an entry of a newer version */
}

int member_tell_all(struct member *m)
{
	uint32_t count = fsm_count(m->fsm);
	struct vg_view *all = calloc(count + 1u, sizeof(*all));

	if (all == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < count; i++)
		all[i] = *fsm_at(m->fsm, i);
	member_tell(m, AUTHORITY_RESET, all, count);
	free(all);
	return 0;
}

/* ---- snapshots, timer ---- */

static void maybe_snapshot(struct member *m)
{
	const struct consensus_snapshot *s = consensus_snapshot(m->consensus);
	uint64_t applied = consensus_applied(m->consensus), since = s != NULL ? s->index : 0;
	uint8_t *data;
	int bytes;

	if (m->snapshot_busy || m->state != MEMBER_RUNNING || applied <= since ||
	    (applied - since < m->snapshot_entries &&
	     qlog_blocks_used(m->qlog) < QUORUM_LOG_BLOCKS / 2))
		return;
	data = malloc(FSM_STATE_BYTES_MAX);
	if (data == NULL)
		return; /* tried again at the next event */
	bytes = fsm_encode(m->fsm, data, FSM_STATE_BYTES_MAX);
	if (bytes < 0) {
		free(data);
		member_fail(m, bytes, "taking a snapshot");
		return;
	}
	s = consensus_take(m->consensus, &data, (uint32_t)bytes);
	free(data);
	if (s == NULL)
		return;
	m->snapshot_busy = true;
	bytes = put_snapshot(m, JOB_SNAPSHOT, s);
	if (bytes < 0)
		member_fail(m, bytes, "taking a snapshot");
}

static void arm_timer(struct member *m)
{
	uint64_t now = member_now_ms(m), at = consensus_deadline_ms(m->consensus);

	if (at <= now)
		at = now + TIMER_MIN_MS; /* the library's deadline may stay in the past */
	if (timer_armed(&m->timer)) {
		if (m->timer.deadline.v == at * MS_NS)
			return;
		clock_timer_disarm(m->env->clock,
				   &m->timer); /* its end wakes us: armed anew then */
		return;
	}
	if (m->timer_used)
		return; /* fired or disarmed: its step comes */
	m->timer.deadline.v = at * MS_NS;
	completion_arm(&m->timer.done, &m->op, MEMBER_BIT_TIMER);
	m->timer_used = true;
	clock_timer_arm(m->env->clock, &m->timer);
}
