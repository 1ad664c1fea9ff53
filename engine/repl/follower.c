/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/follower.c
 * Purpose.     Receive one group from one peer: attach, agree on the common point (START), cut a
 *              fork that was never acknowledged, create a missing replica; then records (intake.c)
 *              and full copies (stage.c).
 * Invariants.  W1  Frames are obeyed only in the pair session, group session and epoch this
 *                  follower was opened for (R4), and none after close (R5).
 *              W2  Nothing at or below the own commit is ever cut (J7).  A fork that may hold
 *                  acknowledged writes, because a forced epoch came after the last common one, is
 *                  not cut either (J6): it becomes a branch, and a copy follows (branch.c).
 *              W3  A replica is cut only where its own chain equals the source's.
 *              W4  durable is told as it is on stable storage here, and as 0 while staging (J3,
 *                  J8).
 *              W5  commit = min(told in this session, own durable) (J2).
 *              W6  A fetch never cuts: it takes more of the same history or nothing (J4).
 *              W7  A CLONE record is taken only if the snapshot it begins with is in this store:
 *                  it could never be committed, and so must not be acknowledged.  The follower
 *                  ends with wants_full; the owner tries again (the snapshot's own record may be
 *                  on its way in another group), in the end with want_full.
 * States.      SETTLE -> ATTACHED -> CHAIN -> CUT -> READY         [START]
 *              ATTACHED -> CREATE -> READY                         [START at 0, no replica]
 *              ATTACHED -> BRANCH_LOOK -> BRANCH -> as branch.c says
 *              ATTACHED | CHAIN -> STAGE_BEGIN -> STAGING -> SWITCH -> READY   [FULL]
 *              any -> ENDED [follower_fail, follower_fork, session ended, close] -> DISCARD ->
 *              freed
 * Ownership.   Lives until repl_follower_close and nothing is in flight.  From SWITCHING on the
 *              group's old struct replica is gone: owners must ask replica_find again.
 * Failure.     Whatever does not fit ends in FAILED with one log line, and is not applied.
 * Limits.      FOLLOWER_APPENDS and FOLLOWER_IMPORTS in flight; more stay in the connection, for at
 *              most REPL_STALL_NS.
 */
#include "engine/repl/follower.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"

#define SETTLE_NS (2 * MS_NS)
#define WINDOW_BYTES_MIN (2u << 20)
#define WINDOW_BYTES_MAX (16u << 20)

static void follower_step(struct op *op);
static void follower_store_done(struct repl_follower *f, int rc);
static void follower_attach(struct repl_follower *f);
static int follower_start(struct repl_follower *f, const struct conn_frame *frame);
static void follower_compare(struct repl_follower *f, uint64_t chain);
static void follower_cut(struct repl_follower *f);
static void follower_ready(struct repl_follower *f);
static int follower_refused(struct repl_follower *f, const struct conn_frame *frame);
static int follower_epoch_check(struct repl_follower *f, const struct conn_frame *frame);
static void follower_progress(struct repl_follower *f);
static void follower_end(struct repl_follower *f, enum repl_state state, int rc);
static bool follower_is_quiet(const struct repl_follower *f);
static void follower_free(struct repl_follower *f);
static void append_step(struct op *op);

int repl_follow(struct repl *r, const struct repl_follow_spec *spec, struct store *store,
		struct repl_follower **ret_follower)
{
	struct repl_peer *p = NULL;
	struct repl_follower *f;

	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].opts.site == spec->site)
			p = &r->peers[i];
	if (p == NULL || p->state != PEER_UP)
		return -ERR_CLOSED;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ERR_NOMEM;
	f->repl = r;
	f->env = r->env;
	f->wake = spec->wake;
	f->store = store;
	f->epoch = spec->epoch;
	f->purpose = spec->purpose;
	f->want_full = spec->want_full;
	f->mutant = r->opts.mutant;
	memcpy(f->name, spec->name, sizeof(f->name));
	memcpy(f->peer_name, p->opts.name, sizeof(f->peer_name));
	f->replica = replica_find(store, &spec->group);
	f->state = REPL_ATTACHING;
	f->last_frame = clock_now(r->env->clock);
	op_init(&f->op, r->env->ready, follower_step);
	list_init(&f->append_free);
	for (uint32_t i = 0; i < FOLLOWER_APPENDS; i++) {
		f->appends[i].f = f;
		op_init(&f->appends[i].op, r->env->ready, append_step);
		list_push_back(&f->append_free, &f->appends[i].link);
	}
	f->member.group = spec->group;
	f->member.group_session = ++r->group_sessions;
	f->member.op = &f->op;
	list_link_init(&f->member.life);
	list_push_back(&r->all_followers, &f->member.life);
	peer_add_follower(p, &f->member);
	op_wake(&f->op);
	*ret_follower = f;
	return 0;
}

void repl_follower_status(const struct repl_follower *f, struct repl_follower_status *ret)
{
	*ret = (struct repl_follower_status){
		.state = f->state,
		.rc = f->rc,
		.durable = f->acked_durable,
		.source_head = f->head,
		.source_commit = f->told,
		.last_frame = f->last_frame,
		.base_bytes = f->base_bytes,
		.cut_bytes = f->cut_bytes,
		.wants_full = f->wants_full,
		.branch = f->branch.report,
		.branch_failed = f->branch.failed,
		.rung = f->rung,
	};
}

void repl_follower_close(struct repl_follower **follower, struct completion *done)
{
	struct repl_follower *f = *follower;

	*follower = NULL;
	assert(done->op != NULL);
	if (f->phase != FOLLOWER_ENDED && f->member.peer != NULL)
		member_send_stop(&f->member, FRAME_DETACH, f->epoch.number, -ERR_CLOSED,
				 "the follower was closed");
	follower_end(f, REPL_CLOSED, -ERR_CLOSED); /* W1 */
	f->closing = true;
	f->close_done = done;
	op_wake(&f->op);
}

/* --- the step --- */

static void follower_step(struct op *op)
{
	struct repl_follower *f = container_of(op, struct repl_follower, op);

	if (f->timer_running && (op->waits & FOLLOWER_BIT_TIMER) == 0) {
		f->timer_running = false;
		if (f->stall_since.v != 0)
			follower_frames_again(f);
	}
	if (f->space_waiting && (op->waits & FOLLOWER_BIT_SPACE) == 0) {
		f->space_waiting = false;
		follower_frames_again(f);
	}
	if (f->store_flying && (op->waits & FOLLOWER_BIT_STORE) == 0) {
		f->store_flying = false;
		follower_store_done(f, f->store_waited->rc);
	}
	if (f->phase != FOLLOWER_ENDED && f->phase != FOLLOWER_DISCARD && store_is_failed(f->store))
		follower_fail(f, -ERR_FAILED, "the store has failed");
	if (f->phase == FOLLOWER_SETTLE)
		follower_attach(f);
	if (f->phase == FOLLOWER_READY || f->phase == FOLLOWER_STAGING)
		intake_commit(f);
	if (f->phase == FOLLOWER_STAGING)
		stage_step(f);
	if (f->phase == FOLLOWER_READY || f->phase == FOLLOWER_STAGING) {
		intake_ack(f);
		follower_progress(f);
	}
	if (f->phase == FOLLOWER_ENDED && f->closing && follower_is_quiet(f)) {
		if (store_room(f->store) == STORE_ROOM_LITTLE)
			f->spoiled = true; /* what is half done gives its room back */
		if (f->staged && f->compares && !f->spoiled) { /* G4 */
			replica_fold_cap(f->replica, (struct lsn){UINT64_MAX});
			if (f->walk != NULL)
				walk_leave_mark(f->walk);
			f->staged = false;
		}
		if (!f->staged || store_is_failed(f->store)) {
			follower_free(f);
			return;
		}
		f->phase = FOLLOWER_DISCARD;
		replica_stage_discard(f->store, &f->member.group, follower_store_call(f));
	}
	/* wait: frames, appends, imports, the store, space, the timer, close */
}

static bool follower_is_quiet(const struct repl_follower *f)
{
	return f->op.waits == 0 && f->appends_flying == 0 && f->imports_flying == 0 &&
	       (f->walk == NULL || walk_is_quiet(f->walk));
}

static void follower_free(struct repl_follower *f)
{
	struct completion *done = f->close_done;
	struct repl *r = f->repl;

	list_remove(&f->member.life);
	op_unqueue(&f->op);
	for (uint32_t i = 0; i < FOLLOWER_APPENDS; i++)
		op_unqueue(&f->appends[i].op);
	record_unref(&f->pending);
	stage_free(f);
	free(f);
	completion_fire(done, 0);
	if (r->closing)
		op_wake(&r->op);
}

/* Exactly one call of the store that is no append or import is in flight. */
struct completion *follower_store_call(struct repl_follower *f)
{
	follower_store_arm(f, &f->store_done);
	return &f->store_done;
}

void follower_store_arm(struct repl_follower *f, struct completion *done)
{
	assert(!f->store_flying);
	f->store_flying = true;
	f->store_phase = f->phase;
	f->store_waited = done;
	completion_arm(done, &f->op, FOLLOWER_BIT_STORE);
}

static void follower_store_done(struct repl_follower *f, int rc)
{
	switch (f->phase) {
	case FOLLOWER_CHAIN:
		if (rc == 0)
			follower_compare(f, f->chain.chain);
		else if (rc == -ERR_INVALID)
			follower_compare(f, ~f->common_chain); /* no boundary there: not equal */
		else
			follower_fail(f, rc, "reading the own chain at the common LSN");
		return;
	case FOLLOWER_BRANCH_LOOK:
		branch_looked(f, rc);
		return;
	case FOLLOWER_BRANCH:
		branch_made(f, rc);
		return;
	case FOLLOWER_CUT:
		if (rc < 0)
			follower_fail(f, rc, "cutting what was never acknowledged");
		else
			follower_ready(f);
		return;
	case FOLLOWER_CREATE:
		f->replica = rc == 0 ? replica_find(f->store, &f->member.group) : NULL;
		if (f->replica == NULL)
			follower_fail(f, rc < 0 ? rc : -ERR_NOT_FOUND, "creating the replica");
		else
			follower_ready(f);
		return;
	case FOLLOWER_STAGE_BEGIN:
		stage_begun(f, rc);
		return;
	case FOLLOWER_SWITCH:
		stage_switched(f, rc);
		return;
	case FOLLOWER_DISCARD:
		f->staged = false; /* if it failed, the next begin discards it */
		f->phase = FOLLOWER_ENDED;
		return;
	case FOLLOWER_ENDED: /* was in flight when it ended */
		if (f->store_phase == FOLLOWER_BRANCH_LOOK && rc == 0)
			record_unref(&f->branch.look.record);
		if (f->store_phase == FOLLOWER_STAGE_BEGIN && rc == 0) {
			f->staged = true;
			f->replica = f->staging;
		}
		if (f->store_phase == FOLLOWER_SWITCH && rc == 0)
			f->staged = false;
		return;
	case FOLLOWER_SETTLE:
	case FOLLOWER_ATTACHED:
	case FOLLOWER_READY:
	case FOLLOWER_STAGING:
		UNREACHABLE("no call of the store is in flight in these");
	}
}

/* --- attach --- */

static uint64_t follower_window(const struct repl_follower *f)
{
	struct store_status st;
	uint64_t bytes;

	store_status(f->store, &st);
	bytes = st.journal_bytes / 8; /* so that what waits in the pipe never fills the journal */
	if (bytes < WINDOW_BYTES_MIN)
		bytes = WINDOW_BYTES_MIN;
	return bytes < WINDOW_BYTES_MAX ? bytes : WINDOW_BYTES_MAX;
}

static void follower_attach(struct repl_follower *f)
{
	struct frame_attach m = {.purpose = (uint32_t)f->purpose,
				 .incarnation = f->repl->opts.incarnation,
				 .window_bytes = follower_window(f)};
	uint8_t head[FRAME_ATTACH_BYTES_MAX];
	struct epoch_entry epochs[EPOCHS_MAX];
	struct replica_status st;
	struct frame_header h;

	if (f->replica != NULL) {
		replica_status(f->replica, &st);
		if (st.durable.v < st.tail.v) {
			follower_arm(f, SETTLE_NS);
			return; /* wait: the timer */
		}
		m.known = true;
		m.tail = st.tail;
		m.commit = st.commit;
		m.fold = st.fold;
		m.tail_chain = st.tail_chain;
		m.epoch_count = replica_epochs(f->replica, epochs, EPOCHS_MAX);
		for (uint32_t i = 0; i < m.epoch_count; i++)
			m.epochs[i] = (struct frame_epoch){.epoch = epochs[i].epoch,
							   .first = epochs[i].first};
	}
	member_header(&f->member, FRAME_ATTACH, f->epoch.number, (struct lsn){0}, &h);
	if (member_send(&f->member, FRAME_CONN_DATA, &h, head, frame_attach_encode(head, &m)) == 0)
		f->phase = FOLLOWER_ATTACHED;
	/* else wait: room, or the end of the session */
}

/* --- frames --- */

int follower_frame(struct repl_member *m, const struct conn_frame *frame)
{
	struct repl_follower *f = container_of(m, struct repl_follower, member);
	struct lsn told = f->told;
	uint64_t number = 0;
	int rc = 0;

	f->last_frame = clock_now(f->env->clock);
	if (f->phase == FOLLOWER_ENDED || f->phase == FOLLOWER_DISCARD)
		return 0; /* W1 */
	if (follower_epoch_check(f, frame) < 0)
		return 0;
	switch ((uint32_t)frame->h.kind) {
	case FRAME_ATTACH_REFUSE:
	case FRAME_STOP:
		return follower_refused(f, frame);
	case FRAME_START:
		return follower_start(f, frame);
	case FRAME_FULL:
		return stage_full(f, frame);
	case FRAME_RECORD:
		rc = intake_record(f, frame);
		break;
	case FRAME_BASE:
		rc = stage_base(f, frame);
		break;
	case FRAME_COMPARE_TOLD:
		rc = f->walk != NULL && f->phase == FOLLOWER_STAGING ? walk_told(f->walk, frame)
								     : -ERR_PROTOCOL;
		break;
	case FRAME_COMMIT:
	case FRAME_FETCH_END:
	case FRAME_BASE_END:
		if (frame_number_decode(frame->head, frame->h.head_bytes, &number) < 0)
			return -ERR_PROTOCOL;
		break;
	default:
		return -ERR_PROTOCOL;
	}
	if (frame->h.kind == FRAME_COMMIT) {
		f->told = lsn_max(f->told, frame->h.lsn);
		f->head = lsn_max(f->head, (struct lsn){number});
		f->head_known = true;
	} else if (frame->h.kind == FRAME_FETCH_END) {
		f->told = lsn_max(f->told, (struct lsn){number});
		f->fetch_end = frame->h.lsn;
		f->fetch_ended = f->purpose == REPL_FETCH;
	} else if (frame->h.kind == FRAME_BASE_END && f->phase == FOLLOWER_STAGING) {
		if (number != f->base_bytes) {
			follower_fail(f, -ERR_PROTOCOL, "the end of a base that is not complete");
			return 0;
		}
		f->base_ended = true;
		f->base_end = frame->h.lsn;
	}
	if (rc != -ERR_AGAIN)
		f->stall_since.v = 0;
	/* A frame that waits is shown again after every wake of the peer: it must not cause one. */
	if (rc != -ERR_AGAIN || told.v != f->told.v)
		op_wake(&f->op);
	return rc;
}

/* W1, R4 */
static int follower_epoch_check(struct repl_follower *f, const struct conn_frame *frame)
{
	if (frame->h.epoch == f->epoch.number)
		return 0;
	if (f->mutant == REPL_MUTANT_OLD_EPOCH && frame->h.epoch < f->epoch.number)
		return 0;
	follower_fail(f, -ERR_STALE, "a frame of another epoch came");
	return -ERR_STALE;
}

static int follower_refused(struct repl_follower *f, const struct conn_frame *frame)
{
	struct frame_refuse m;

	if (frame_refuse_decode(frame->head, frame->h.head_bytes, &m) < 0)
		return -ERR_PROTOCOL;
	if (f->fetch_ended)
		return 0; /* all that it had was received: the source may go */
	log_info(f->env->log, "repl", "group %s from %s: %s (%s)", f->name, f->peer_name, m.text,
		 err_text(m.rc));
	if (frame->h.kind == FRAME_ATTACH_REFUSE || m.rc == -ERR_CLOSED)
		follower_end(f, REPL_REFUSED, m.rc < 0 ? m.rc : -ERR_REFUSED);
	else
		follower_end(f, REPL_FAILED, m.rc < 0 ? m.rc : -ERR_PROTOCOL);
	return 0;
}

static int follower_start(struct repl_follower *f, const struct conn_frame *frame)
{
	struct lsn common = frame->h.lsn;
	struct replica_status st = {0};
	struct frame_start m;

	if (f->phase != FOLLOWER_ATTACHED ||
	    frame_start_decode(frame->head, frame->h.head_bytes, &m) < 0)
		return -ERR_PROTOCOL;
	if (f->purpose == REPL_STREAM && f->mutant != REPL_MUTANT_OLD_EPOCH &&
	    (m.epoch.number != f->epoch.number || m.epoch.site != f->epoch.site ||
	     m.epoch.incarnation != f->epoch.incarnation)) {
		follower_fail(f, -ERR_STALE, "the source serves another epoch");
		return 0;
	}
	f->common = common;
	f->common_chain = m.chain;
	f->common_first = m.common_first;
	f->head = m.head;
	if (f->replica == NULL) {
		if (common.v != 0) {
			follower_fail(f, -ERR_PROTOCOL, "a tail without a begin");
			return 0;
		}
		f->phase = FOLLOWER_CREATE;
		replica_create(f->store, &f->member.group, f->name, follower_store_call(f));
		return 0;
	}
	replica_status(f->replica, &st);
	if (common.v > st.tail.v) {
		follower_fail(f, -ERR_PROTOCOL, "a common LSN beyond the own tail");
		return 0;
	}
	if (branch_is_needed(f, common, m.common_epoch, m.last_forced_epoch)) { /* W2, J6 */
		if (branch_is_kept(f))
			follower_want_full(f);
		else
			branch_begin(f, common);
		return 0;
	}
	if (common.v < st.commit.v && f->purpose == REPL_STREAM &&
	    f->mutant != REPL_MUTANT_CUT_BELOW_COMMIT) {
		follower_fork(f, common, "the source lacks what is committed here"); /* W2, J7 */
		return 0;
	}
	f->phase = FOLLOWER_CHAIN;
	if (common.v == 0) {
		follower_compare(f, f->common_chain);
	} else if (common.v == st.tail.v) {
		follower_compare(f, st.tail_chain);
	} else {
		f->chain.lsn = common;
		follower_store_arm(f, &f->chain.done);
		replica_chain_at(f->replica, &f->chain);
	}
	return 0;
}

/* W3 */
static void follower_compare(struct repl_follower *f, uint64_t chain)
{
	struct replica_status st;

	replica_status(f->replica, &st);
	if (f->mutant == REPL_MUTANT_CUT_BELOW_COMMIT && f->common.v < st.commit.v)
		chain = ~f->common_chain; /* the seeded bug: forget what is here */
	if (chain == f->common_chain || f->mutant == REPL_MUTANT_SKIP_CHAIN) {
		f->agreed = f->want_full && f->purpose == REPL_STREAM;
		if (f->agreed)
			follower_want_full(f); /* W7 */
		else
			follower_cut(f);
		return;
	}
	log_warn(f->env->log, "repl", "group %s: the chain at LSN %llu is not that of %s", f->name,
		 (unsigned long long)f->common.v, f->peer_name);
	if (f->purpose == REPL_FETCH) {
		follower_fail(f, -ERR_FORK, "fetching from another history");
		return;
	}
	if (st.commit.v > f->common_first.v && f->mutant != REPL_MUTANT_CUT_BELOW_COMMIT) {
		follower_fork(f, f->common_first, "histories differ within a common epoch");
		return;
	}
	follower_want_full(f);
}

void follower_want_full(struct repl_follower *f)
{
	uint8_t head[FRAME_NUMBER_BYTES];
	struct frame_header h;

	member_header(&f->member, FRAME_WANT_FULL, f->epoch.number, f->common, &h);
	if (member_send(&f->member, FRAME_CONN_DATA, &h, head, frame_number_encode(head, 0)) < 0)
		follower_fail(f, -ERR_BUSY, "asking for a full copy");
	f->phase = FOLLOWER_ATTACHED;
}

static void follower_cut(struct repl_follower *f)
{
	struct replica_status st;

	replica_status(f->replica, &st);
	if (st.tail.v == f->common.v || f->purpose == REPL_FETCH) { /* W6 */
		follower_ready(f);
		return;
	}
	f->cut_bytes += st.tail.v - f->common.v;
	log_info(f->env->log, "repl",
		 "group %s: cutting %llu bytes beyond LSN %llu that were never acknowledged",
		 f->name, (unsigned long long)(st.tail.v - f->common.v),
		 (unsigned long long)f->common.v);
	f->phase = FOLLOWER_CUT;
	replica_cut(f->replica, f->common, follower_store_call(f));
}

static void follower_ready(struct repl_follower *f)
{
	if (f->purpose == REPL_STREAM && replica_stage_drop(f->store, &f->member.group))
		log_info(
			f->env->log, "repl",
			"group %s: the journal is enough; what an unfinished copy had got is not needed",
			f->name);
	f->rung = REPL_RUNG_JOURNAL;
	f->phase = FOLLOWER_READY;
	f->state = REPL_CATCHING_UP;
	f->acked_once = false; /* the first ACK lets the source begin */
	op_wake(&f->op);
	op_wake(f->wake);
}

/* States that the owner sees. */
static void follower_progress(struct repl_follower *f)
{
	struct replica_status st;
	enum repl_state state = f->state;

	if (f->phase != FOLLOWER_READY)
		return;
	replica_status(f->replica, &st);
	if (f->purpose == REPL_FETCH) {
		if (f->fetch_ended && st.durable.v >= f->fetch_end.v)
			state = REPL_DONE;
	} else if (f->head_known && st.tail.v >= f->head.v) {
		state = REPL_STREAMING;
	}
	if (state == f->state || f->state == REPL_STREAMING)
		return;
	f->state = state;
	op_wake(f->wake);
}

/* --- waiting --- */

static void append_step(struct op *op)
{
	struct append_slot *slot = container_of(op, struct append_slot, op);
	struct repl_follower *f = slot->f;

	if (op->waits != 0)
		return; /* wait: durable */
	assert(f->appends_flying > 0);
	f->appends_flying--;
	list_push_back(&f->append_free, &slot->link);
	if (slot->done.rc < 0)
		follower_fail(f, slot->done.rc, "appending a record");
	if (f->stall_since.v != 0)
		follower_frames_again(f);
	op_wake(&f->op);
}

void follower_arm(struct repl_follower *f, uint64_t ns)
{
	if (f->timer_running)
		return;
	f->timer.deadline.v = clock_now(f->env->clock).v + ns;
	f->timer_running = true;
	completion_arm(&f->timer.done, &f->op, FOLLOWER_BIT_TIMER);
	clock_timer_arm(f->env->clock, &f->timer);
}

void follower_frames_again(struct repl_follower *f)
{
	if (f->member.peer != NULL)
		op_wake(&f->member.peer->op);
}

/* The frame stays in its connection, which is not read meanwhile; but not for ever. */
int follower_wait(struct repl_follower *f)
{
	struct mono_ns now = clock_now(f->env->clock);

	if (f->stall_since.v == 0)
		f->stall_since = now;
	if (now.v - f->stall_since.v > REPL_STALL_NS) {
		follower_fail(f, -ERR_TIMEOUT, "waiting for room in the journal or in memory");
		return 0;
	}
	follower_arm(f, 5 * MS_NS);
	return -ERR_AGAIN;
}

/* --- the end --- */

static void follower_end(struct repl_follower *f, enum repl_state state, int rc)
{
	if (f->phase == FOLLOWER_ENDED || f->phase == FOLLOWER_DISCARD)
		return;
	f->phase = FOLLOWER_ENDED;
	f->state = state;
	f->rc = rc;
	if (f->space_waiting)
		replica_space_wait_cancel(f->replica, &f->space_done);
	if (timer_armed(&f->timer))
		clock_timer_disarm(f->env->clock, &f->timer);
	record_unref(&f->pending);
	peer_remove(&f->member);
	op_wake(&f->op);
	op_wake(f->wake);
}

void follower_fail(struct repl_follower *f, int rc, const char *what)
{
	if (f->phase == FOLLOWER_ENDED || f->phase == FOLLOWER_DISCARD)
		return;
	log_warn(f->env->log, "repl", "group %s from %s: %s: %s; not applied, the session ends",
		 f->name, f->peer_name, what, err_text(rc));
	member_send_stop(&f->member, FRAME_DETACH, f->epoch.number, rc, what);
	follower_end(f, REPL_FAILED, rc);
}

void follower_fork(struct repl_follower *f, struct lsn common, const char *why)
{
	log_error(f->env->log, "repl",
		  "group %s from %s: %s; the last common LSN is %llu. Nothing was cut, both copies "
		  "stay, an operator must decide",
		  f->name, f->peer_name, why, (unsigned long long)common.v);
	member_send_stop(&f->member, FRAME_DETACH, f->epoch.number, -ERR_FORK, why);
	follower_end(f, REPL_FORKED, -ERR_FORK);
}

void follower_session_ended(struct repl_member *m)
{
	struct repl_follower *f = container_of(m, struct repl_follower, member);

	follower_end(f, REPL_CLOSED, -ERR_CLOSED);
}

void follower_abandon_all(struct repl *r)
{
	LIST_FOR_EACH_SAFE(link, &r->all_followers) {
		struct repl_member *m = container_of(link, struct repl_member, life);
		struct repl_follower *f = container_of(m, struct repl_follower, member);

		walk_abandon(&f->walk);
		free(f->imports);
		free(f->full);
		free(f->volumes);
		free(f->epochs);
		free(f);
	}
}
