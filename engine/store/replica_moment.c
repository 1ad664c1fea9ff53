/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_moment.c
 *
 * Purpose.     From a time, or any LSN, to the record boundary that it means, by the headers of the journal.
 * Invariants.  MO1 Times of records never go back (proto/record.md), so segments are halved by the time of their
 *                  first record; within one it goes from record to record.
 *              MO2 Records that are not committed yet count: they have an earlier time than whatever asks.
 * States.      HALVE -> SCAN -> done.
 * Failure.     A segment trimmed and reused meanwhile: -ERR_TRIMMED.
 * Limits.      One segment's headers are read, one by one, and one header for each halving.
 */
#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"
#include "engine/store/snapshot.h"
#include "engine/store/store_state.h"

#define WAIT_DISK 1u

enum moment_phase { MOMENT_HALVE, MOMENT_SCAN };

struct moment_state {
	struct read_wait w;
	uint64_t low,
		high;  /* segments: the first record of low is early enough, that of high is not */
	struct lsn at; /* of the header that is looked at */
	bool reading;
};
_Static_assert(sizeof(struct moment_state) <= sizeof(((struct replica_moment *)0)->private),
	       "fits");

static void moment_step(struct op *op);

static struct moment_state *state_of(struct replica_moment *q)
{
	return (struct moment_state *)(void *)q->private;
}

void replica_moment_find(struct replica *r, struct replica_moment *q)
{
	struct moment_state *m = state_of(q);

	assert(completion_armed(&q->done));
	*m = (struct moment_state){0};
	q->r = r;
	op_init(&q->op, r->env->ready, moment_step);
	journal_segments(r->journal, &m->low, &m->high);
	read_wait_begin(r, &m->w, &q->op);
}

int replica_moment_check(const struct replica *r, struct lsn lsn)
{
	struct replica_history_status st;

	replica_history_status(r, &st);
	return st.reachable && st.earliest.v <= lsn.v && lsn.v != 0 ? 0 : -ERR_TRIMMED;
}

static void moment_end(struct replica_moment *q, int rc)
{
	read_wait_end(q->r, &state_of(q)->w);
	completion_fire(&q->done, rc);
}

/* The record that begins at m->at: 0: *ret; 1: it is being read; or an error. */
static int header_get(struct replica_moment *q, struct record_view *ret)
{
	struct moment_state *m = state_of(q);
	struct journal *j = q->r->journal;
	struct read_job *job = m->w.job;
	struct journal_position at;
	struct record_chunks chunks;
	struct record *rec;
	int rc;

	if (m->reading) {
		m->reading = false;
		rc = job->reqs[0].done.rc < 0
			     ? -ERR_IO
			     : replica_header_check(q->r, m->at, job->scratch, ret, &chunks);
		return m->at.v < journal_trim(j).v ? -ERR_TRIMMED : rc;
	}
	rec = journal_record_in_memory(j, m->at);
	if (rec != NULL) {
		*ret = rec->view;
		return 0;
	}
	rc = journal_locate(j, m->at, &at);
	if (rc < 0)
		return rc;
	m->reading = true;
	completion_arm(&job->reqs[0].done, &q->op, WAIT_DISK);
	disk_io(q->r->s->disk, &job->reqs[0], DISK_READ, 0, at.off, job->scratch,
		RECORD_HEADER_BYTES);
	return 1;
}

/* Is all of it in the moment that is asked for? */
static bool is_early(const struct replica_moment *q, const struct record_view *v)
{
	return q->by_time ? v->wall.v <= q->time.v : v->end.v <= q->lsn.v;
}

/* 1: wait; 0: low is the segment; or an error. */
static int halve(struct replica_moment *q)
{
	struct moment_state *m = state_of(q);
	struct journal *j = q->r->journal;

	while (m->high - m->low > 1) {
		uint64_t middle = m->low + (m->high - m->low) / 2;
		struct record_view v;
		bool early = false;

		m->at = journal_segment_low(j, middle);
		if (!q->by_time) {
			early = m->at.v <= q->lsn.v;
		} else if (m->at.v < journal_tail(j).v) {
			int rc = header_get(q, &v);

			if (rc != 0)
				return rc;
			early = is_early(q, &v);
		}
		if (early)
			m->low = middle;
		else
			m->high = middle;
	}
	m->at = m->high == m->low ? journal_tail(j) : journal_segment_low(j, m->low);
	return 0;
}

/* 1: wait; 0: q->lsn is the boundary; or an error. */
static int scan(struct replica_moment *q)
{
	struct moment_state *m = state_of(q);

	while (m->at.v < journal_tail(q->r->journal).v) {
		struct record_view v;
		int rc = header_get(q, &v);

		if (rc != 0)
			return rc;
		if (!is_early(q, &v))
			break;
		m->at = v.end;
	}
	q->lsn = m->at;
	return 0;
}

static void moment_step(struct op *op)
{
	struct replica_moment *q = container_of(op, struct replica_moment, op);
	struct moment_state *m = state_of(q);
	int rc = 0;

	if (op->waits != 0 || !read_wait_job(q->r, &m->w))
		return; /* wait: the disk, a job */
	if (q->r->failed)
		rc = -ERR_FAILED;
	else if (!q->by_time && q->lsn.v > journal_tail(q->r->journal).v)
		rc = -ERR_RANGE;
	else if (!q->by_time && q->lsn.v < journal_trim(q->r->journal).v)
		rc = -ERR_TRIMMED;
	if (rc == 0 && m->w.phase == MOMENT_HALVE) {
		rc = halve(q);
		m->w.phase = rc == 0 ? MOMENT_SCAN : MOMENT_HALVE;
	}
	if (rc == 0 && m->w.phase == MOMENT_SCAN)
		rc = scan(q);
	if (rc <= 0)
		moment_end(q, rc == -ERR_INVALID ? -ERR_TRIMMED : rc);
	/* wait: the disk */
}
