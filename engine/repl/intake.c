/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/intake.c
 * Purpose.     Records of a follower: check, append, commit, acknowledge.
 * Invariants.  N1  A record is appended only if it is of this group, begins at the own tail,
 *                  continues the own chain, and every block has its checksum.  Its own epoch is
 *                  history (QUORUM J10) and may be older than the session's, never newer.
 *              N2  durable in an ACK is durable here, 0 while staging (W4).
 *              N3  commit never passes min(told, durable) (W5).
 * Failure.     A record that does not fit fails the follower; a full journal, pool or queue makes
 *              the frame wait in its connection.
 * Limits.      One record is held in `pending` while the journal is full.
 */
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/repl/follower.h"
#include "engine/store/snapshot.h"
#include "proto/record_snap.h"

static int intake_base(struct repl_follower *f, const struct record *rec);
static int intake_open(struct repl_follower *f, const struct conn_frame *frame,
		       struct record **ret_rec);
static int intake_check(struct repl_follower *f, const struct record *rec);
static int intake_append(struct repl_follower *f);

int intake_record(struct repl_follower *f, const struct conn_frame *frame)
{
	int rc;

	f->told = lsn_max(f->told, frame->h.lsn);
	if (f->phase == FOLLOWER_SWITCH || f->switch_wanted)
		return follower_wait(f);
	if (f->phase != FOLLOWER_READY && f->phase != FOLLOWER_STAGING) {
		follower_fail(f, -ERR_PROTOCOL, "a record before its time");
		return 0;
	}
	if (f->pending == NULL) {
		rc = intake_open(f, frame, &f->pending);
		if (rc == -ERR_AGAIN)
			return follower_wait(f);
		if (rc == 0)
			rc = intake_check(f, f->pending);
		if (rc == 0)
			rc = intake_base(f, f->pending);
		if (rc < 0) {
			counter_add(f->env->counters, CTR_CHECKSUM_WIRE, rc == -ERR_CORRUPT);
			follower_fail(f, rc, "a record that does not fit came");
			return 0;
		}
	}
	return intake_append(f);
}

/* The record of a frame: its logical part is copied to a head buf, its payload is shared. */
static int intake_open(struct repl_follower *f, const struct conn_frame *frame,
		       struct record **ret_rec)
{
	struct record *rec = record_take(replica_records(f->replica), f->env->bufs);
	int rc;

	if (rec == NULL) {
		counter_add(f->env->counters, CTR_QUEUE_FULL_RECORD, 1);
		return -ERR_AGAIN;
	}
	memset(rec->head->data, 0, RECORD_HEADER_BYTES);
	memcpy(rec->head->data, frame->head, frame->h.head_bytes);
	rc = record_open_received(rec);
	if (rc == 0 && (rec->view.logical_bytes != frame->h.head_bytes ||
			rec->view.payload_blocks * BLOCK_BYTES != frame->h.payload_bytes))
		rc = -ERR_CORRUPT;
	if (rc == 0 && rec->view.payload_blocks > 0) {
		record_add_payload(rec, frame->payload, frame->payload->data,
				   rec->view.payload_blocks);
		rc = record_verify_payload(rec);
	}
	if (rc < 0) {
		record_unref(&rec);
		return rc == -ERR_AGAIN ? -ERR_CORRUPT : rc;
	}
	*ret_rec = rec;
	return 0;
}

/* N1 */
static int intake_check(struct repl_follower *f, const struct record *rec)
{
	const struct record_view *v = &rec->view;
	struct replica_status st;

	replica_status(f->replica, &st);
	if (!uuid_equal(&v->group, &f->member.group))
		return -ERR_PROTOCOL;
	if (f->purpose == REPL_STREAM && v->epoch.number > f->epoch.number)
		return -ERR_STALE;
	if (v->begin.v != st.tail.v)
		return -ERR_FORK;
	if (v->prev_chain != st.tail_chain && f->mutant != REPL_MUTANT_SKIP_CHAIN)
		return -ERR_FORK;
	return 0;
}

/* W7 */
static int intake_base(struct repl_follower *f, const struct record *rec)
{
	struct record_clone base;
	int rc;

	if (rec->view.type != RECORD_CLONE)
		return 0;
	rc = record_clone_decode(record_body(rec->head->data, &rec->view), rec->view.body_bytes,
				 &base);
	if (rc == 0)
		rc = replica_clone_check(f->store, &base.source, &base.snapshot);
	f->wants_full = rc == -ERR_NOT_FOUND;
	return rc;
}

static int intake_append(struct repl_follower *f)
{
	struct append_slot *slot;
	int rc;

	if (list_empty(&f->append_free))
		return follower_wait(f); /* until one is durable */
	slot = container_of(list_first(&f->append_free), struct append_slot, link);
	completion_arm(&slot->done, &slot->op, 1);
	rc = replica_append(f->replica, f->pending, &slot->done);
	if (rc < 0) { /* without effect: disarm by hand */
		slot->op.waits = 0;
		slot->done.op = NULL;
	}
	if (rc == -ERR_JOURNAL_FULL) {
		counter_add(f->env->counters, CTR_QUEUE_FULL_JOURNAL, 1);
		if (!f->space_waiting) {
			f->space_waiting = true;
			completion_arm(&f->space_done, &f->op, FOLLOWER_BIT_SPACE);
			replica_space_wait(f->replica, &f->space_done);
		}
		return follower_wait(f);
	}
	if (rc == -ERR_POOL_EMPTY || rc == -ERR_AGAIN || rc == -ERR_BUSY)
		return follower_wait(f);
	if (rc < 0) {
		follower_fail(f, rc, "appending a record");
		return 0;
	}
	f->head = lsn_max(f->head, f->pending->view.end);
	list_remove(&slot->link);
	f->appends_flying++;
	record_unref(&f->pending);
	return 0;
}

void intake_commit(struct repl_follower *f)
{
	struct replica_status st;
	struct lsn to;
	int rc;

	replica_status(f->replica, &st);
	to = lsn_min(f->told, st.durable); /* N3 */
	if (to.v <= st.commit.v)
		return;
	rc = replica_commit(f->replica, to);
	f->commit_again = rc == -ERR_AGAIN;
	if (rc == -ERR_AGAIN)
		follower_arm(f, 5 * MS_NS);
	if (rc < 0 && rc != -ERR_AGAIN) {
		f->wants_full = rc == -ERR_NOT_FOUND; /* W7 */
		follower_fail(f, rc, "committing");
	}
}

/* One ACK for all that moved since the last: it runs once per turn of the loop. */
void intake_ack(struct repl_follower *f)
{
	uint8_t head[FRAME_ACK_BYTES];
	struct replica_status st;
	struct frame_header h;
	struct frame_ack m;

	if (f->phase != FOLLOWER_READY && f->phase != FOLLOWER_STAGING)
		return;
	if (f->walk != NULL && !f->compare_sent)
		return; /* wait: room for COMPARE */
	replica_status(f->replica, &st);
	m = (struct frame_ack){.durable = st.durable, .received = st.tail};
	if (f->phase == FOLLOWER_STAGING) {
		m.staging = true;
		if (f->mutant == REPL_MUTANT_ACK_WHILE_STAGING && f->acked_once)
			m.staging = false;
		else
			m.durable.v = 0; /* N2 */
	}
	if (f->mutant == REPL_MUTANT_ACK_BEFORE_DURABLE && f->phase == FOLLOWER_READY)
		m.durable = m.received;
	if (f->acked_once && m.durable.v == f->acked_durable.v &&
	    m.received.v == f->acked_received.v && m.staging == f->acked_staging)
		return;
	member_header(&f->member, FRAME_ACK, f->epoch.number, (struct lsn){0}, &h);
	if (member_send(&f->member, FRAME_CONN_DATA, &h, head, frame_ack_encode(head, &m)) < 0)
		return; /* wait: room; or the session has ended */
	f->acked_once = true;
	f->acked_durable = m.durable;
	f->acked_received = m.received;
	f->acked_staging = m.staging;
	op_wake(f->wake);
}
