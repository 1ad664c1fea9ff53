/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_journal_read.c
 *
 * Purpose.     Read the journal back for peers: whole records, and chains at positions.
 * Invariants.  N1  What is read counts only with the sequence, salt and block of the segment that has
 *                  the position now: a segment trimmed and reused meanwhile cannot pass.
 *              N2  Payload comes from where the local part says, journal or chunks, and counts only with
 *                  its checksums.
 * States.      LOCATE -> HEADER -> PAYLOAD (READ_REQS reads at a time) -> done.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"
#include "proto/record_place.h"

#define WAIT_REQ(i) (1u << (i))
#define WAIT_DISK WAIT_REQ(0)

enum journal_read_phase { JREAD_LOCATE, JREAD_HEADER, JREAD_PAYLOAD };

static void journal_read_step(struct op *op);
static void chain_at_step(struct op *op);

static struct read_wait *jwait_of(struct replica_journal_read *q)
{
	return (struct read_wait *)(void *)q->private;
}

/* N1 */
int replica_header_check(const struct replica *r, struct lsn lsn, const uint8_t *block,
			 struct record_view *ret_view, struct record_chunks *ret_chunks)
{
	struct journal_position at;
	struct record_local local;
	struct record_runs runs;
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
	record_runs(block, ret_view, &runs);
	if (!record_chunks_fit(&runs, &local.chunks))
		return -ERR_CORRUPT;
	for (uint32_t i = 0; i < local.chunks.count; i++) {
		if (local.chunks.at[i] > store_disk(r->s)->bytes - CHUNK_BYTES)
			return -ERR_CORRUPT;
	}
	*ret_chunks = local.chunks;
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

/* Ask for payload from job->next on, each stretch from its place.  1; -ERR_TRIMMED meanwhile. */
static int payload_issue(struct replica_journal_read *q, struct read_job *job)
{
	const struct record *rec = job->record;
	struct journal_position at;
	struct record_runs runs;
	int rc = journal_locate(q->r->journal, q->lsn, &at);

	if (rc < 0)
		return rc;
	record_runs(rec->head->data, &rec->view, &runs);
	job->runs = 0;
	while (job->next < rec->view.payload_blocks && job->runs < READ_REQS) {
		struct disk_req *req = &job->reqs[job->runs];
		uint32_t n;
		uint64_t off = record_block_off(&runs, &job->chunks, at.off, job->next,
						rec->view.payload_blocks, &n);

		completion_arm(&req->done, &q->op, WAIT_REQ(job->runs));
		disk_io(store_disk(q->r->s), req, DISK_READ, 0, off,
			(uint8_t *)rec->iov[1].iov_base + (size_t)job->next * BLOCK_BYTES,
			(uint64_t)n * BLOCK_BYTES);
		job->next += n;
		job->runs++;
	}
	return 1;
}

/* The header is in scratch.  1: a read of the payload was started; 0: there is none; or negative. */
static int jread_header(struct replica_journal_read *q, struct read_job *job)
{
	struct replica *r = q->r;
	struct record_view view;
	struct buf *b;
	int rc = job->reqs[0].done.rc < 0
			 ? -ERR_IO
			 : replica_header_check(r, q->lsn, job->scratch, &view, &job->chunks);

	if (rc < 0)
		return rc;
	job->record = record_take(store_record_pool(r->s), r->env->bufs);
	if (job->record == NULL)
		return -ERR_POOL_EMPTY;
	memcpy(job->record->head->data, job->scratch, view.logical_bytes);
	memset(job->record->head->data + view.logical_bytes, 0,
	       RECORD_HEADER_BYTES - view.logical_bytes);
	rc = record_open_received(job->record);
	if (rc < 0 || view.payload_blocks == 0)
		return rc;
	b = buf_take(r->env->bufs, view.payload_blocks * BLOCK_BYTES);
	if (b == NULL)
		return -ERR_POOL_EMPTY;
	record_add_payload(job->record, b, b->data, view.payload_blocks);
	buf_unref(&b);
	job->next = 0;
	return payload_issue(q, job);
}

/* 1: more of the payload was asked for; 0: all is here; or negative. */
static int jread_payload(struct replica_journal_read *q, struct read_job *job)
{
	int rc = 0;

	for (uint32_t i = 0; i < job->runs; i++) {
		if (job->reqs[i].done.rc < 0)
			rc = -ERR_IO;
	}
	if (rc == 0 && job->next < job->record->view.payload_blocks)
		rc = payload_issue(q, job);
	else if (rc == 0)
		rc = record_verify_payload(job->record);
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
		w->phase = w->phase < JREAD_PAYLOAD ? w->phase + 1 : JREAD_PAYLOAD;
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
	struct record_chunks chunks;
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
			     : replica_header_check(q->r, q->lsn, w->job->scratch, &view, &chunks);
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
