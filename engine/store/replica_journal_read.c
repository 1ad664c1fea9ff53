/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_journal_read.c
 *
 * Purpose.     Read the journal back for peers: whole records, and chains at positions.
 * Invariants.  N1  What is read counts only with the sequence, salt and block of the segment that has
 *                  the position now: a segment trimmed and reused meanwhile cannot pass.
 * States.      LOCATE -> HEADER -> PAYLOAD -> done.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"

#define WAIT_DISK 1u

enum journal_read_phase { JREAD_LOCATE, JREAD_HEADER, JREAD_PAYLOAD };

static void journal_read_step(struct op *op);
static void chain_at_step(struct op *op);

static struct read_wait *jwait_of(struct replica_journal_read *q)
{
	return (struct read_wait *)(void *)q->private;
}

/* The header of the record that begins at lsn is in block: check that it is that record's (N1). */
static int header_check(const struct replica *r, struct lsn lsn, const uint8_t *block,
			struct record_view *ret_view)
{
	struct journal_position at;
	struct record_local local;
	uint32_t magic;
	int rc = journal_locate(r->journal, lsn, &at);

	if (rc < 0)
		return rc;
	memcpy(&magic, block, 4);
	if (magic != RECORD_MAGIC || record_decode_local(block, &local) < 0 ||
	    local.segment_seq != at.seq || local.segment_salt != at.salt ||
	    local.segment_block != at.block)
		return -ERR_INVALID;
	if (record_decode(block, RECORD_LOGICAL_BYTES_MAX, ret_view) < 0 ||
	    !uuid_equal(&ret_view->group, &r->group) || ret_view->begin.v != lsn.v ||
	    at.off + (ret_view->end.v - lsn.v) > at.segment_end)
		return -ERR_CORRUPT;
	return 0;
}

static void disk_read(struct replica *r, struct read_job *job, struct op *op, uint64_t off,
		      void *data, uint64_t bytes)
{
	completion_arm(&job->reqs[0].done, op, WAIT_DISK);
	disk_io(store_disk(r->s), &job->reqs[0], DISK_READ, 0, off, data, bytes);
}

static void journal_read_done(struct replica_journal_read *q, int rc)
{
	struct read_job *job = jwait_of(q)->job;

	q->record = NULL;
	if (rc == 0) {
		q->record = job->record;
		job->record = NULL;
	} else {
		record_unref(&job->record);
	}
	read_wait_end(q->r, jwait_of(q));
	completion_fire(&q->done, rc);
}

/* 1: a read of the header was started; 0: the record was in memory; or negative. */
static int jread_locate(struct replica_journal_read *q, struct read_job *job)
{
	struct journal_position at;
	struct record *rec;
	int rc;

	if (q->lsn.v >= journal_durable(q->r->journal).v)
		return -ERR_RANGE;
	rec = journal_record_in_memory(q->r->journal, q->lsn);
	if (rec != NULL) {
		job->record = record_ref(rec);
		return 0;
	}
	rc = journal_locate(q->r->journal, q->lsn, &at);
	if (rc < 0)
		return rc;
	disk_read(q->r, job, &q->op, at.off, job->scratch, RECORD_HEADER_BYTES);
	return 1;
}

/* The header is in scratch.  1: a read of the payload was started; 0: there is none; or negative. */
static int jread_header(struct replica_journal_read *q, struct read_job *job)
{
	struct replica *r = q->r;
	struct journal_position at;
	struct record_view view;
	struct buf *b;
	int rc = job->reqs[0].done.rc < 0 ? -ERR_IO : header_check(r, q->lsn, job->scratch, &view);

	if (rc < 0)
		return rc;
	job->record = record_take(store_record_pool(r->s), r->env->bufs);
	if (job->record == NULL)
		return -ERR_POOL_EMPTY;
	memcpy(job->record->head->data, job->scratch, RECORD_LOGICAL_BYTES_MAX);
	memset(job->record->head->data + RECORD_LOGICAL_BYTES_MAX, 0, RECORD_LOCAL_BYTES);
	rc = record_open_received(job->record);
	if (rc < 0 || view.payload_blocks == 0)
		return rc;
	b = buf_take(r->env->bufs, view.payload_blocks * BLOCK_BYTES);
	if (b == NULL)
		return -ERR_POOL_EMPTY;
	record_add_payload(job->record, b, b->data, view.payload_blocks);
	rc = journal_locate(r->journal, q->lsn, &at);
	assert(rc == 0); /* header_check just did */
	disk_read(r, job, &q->op, at.off + RECORD_HEADER_BYTES, b->data,
		  view.payload_blocks * BLOCK_BYTES);
	buf_unref(&b);
	return 1;
}

static int jread_payload(struct replica_journal_read *q, struct read_job *job)
{
	int rc = job->reqs[0].done.rc < 0 ? -ERR_IO : record_verify_payload(job->record);

	if (rc < 0 && q->lsn.v < journal_trim(q->r->journal).v)
		return -ERR_TRIMMED; /* reused while we read */
	return rc;
}

static void journal_read_step(struct op *op)
{
	struct replica_journal_read *q = container_of(op, struct replica_journal_read, op);
	struct read_wait *w = jwait_of(q);
	int rc = 0;

	if (op->waits != 0 || !read_wait_job(q->r, w))
		return; /* wait: the disk, a job */
	switch ((enum journal_read_phase)w->phase) {
	case JREAD_LOCATE:
		rc = jread_locate(q, w->job);
		break;
	case JREAD_HEADER:
		rc = jread_header(q, w->job);
		break;
	case JREAD_PAYLOAD:
		rc = jread_payload(q, w->job);
		break;
	}
	if (rc == 1) {
		w->phase++;
		return; /* wait: the disk */
	}
	journal_read_done(q, rc);
}

void replica_journal_read(struct replica *r, struct replica_journal_read *q)
{
	assert(completion_armed(&q->done));
	q->r = r;
	q->record = NULL;
	op_init(&q->op, r->env->ready, journal_read_step);
	read_wait_begin(r, jwait_of(q), &q->op);
}

/* --- chain at a position --- */

/* 1: a read was started; 0: known; or negative. */
static int chain_locate(struct replica_chain_at *q, struct read_job *job)
{
	struct journal_position at;
	int rc;

	if (q->lsn.v > journal_tail(q->r->journal).v)
		return -ERR_RANGE;
	if (journal_chain_in_memory(q->r->journal, q->lsn, &q->chain))
		return 0;
	rc = journal_locate(q->r->journal, q->lsn, &at);
	if (rc < 0)
		return rc;
	if (at.is_segment_first) {
		q->chain = at.chain_before;
		return 0;
	}
	disk_read(q->r, job, &q->op, at.off, job->scratch, RECORD_HEADER_BYTES);
	return 1;
}

static void chain_at_step(struct op *op)
{
	struct replica_chain_at *q = container_of(op, struct replica_chain_at, op);
	struct read_wait *w = (struct read_wait *)(void *)q->private;
	struct record_view view;
	int rc;

	if (op->waits != 0 || !read_wait_job(q->r, w))
		return; /* wait: the disk, a job */
	if (w->phase == JREAD_LOCATE) {
		rc = chain_locate(q, w->job);
		if (rc == 1) {
			w->phase = JREAD_HEADER;
			return; /* wait: the disk */
		}
	} else {
		rc = w->job->reqs[0].done.rc < 0
			     ? -ERR_IO
			     : header_check(q->r, q->lsn, w->job->scratch, &view);
		if (rc == 0)
			q->chain = view.prev_chain;
	}
	read_wait_end(q->r, w);
	completion_fire(&q->done, rc);
}

void replica_chain_at(struct replica *r, struct replica_chain_at *q)
{
	assert(completion_armed(&q->done));
	q->r = r;
	op_init(&q->op, r->env->ready, chain_at_step);
	read_wait_begin(r, (struct read_wait *)(void *)q->private, &q->op);
}
