/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_read_job.c
 *
 * Purpose.     A bounded number of reads at a time for one replica; the others wait in order.
 * Invariants.  K1  A request has a job, or waits in job_waiters, or is over; or waits for the end of a restore.
 * Limits.      READ_JOBS jobs of READ_REQS disk requests, taken at open.
 */
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/store/replica_state.h"

_Static_assert(sizeof(struct read_wait) <= sizeof(void *[8]), "fits the requests' private part");

int replica_jobs_open(struct replica *r)
{
	list_init(&r->jobs_free);
	list_init(&r->job_waiters);
	r->jobs = calloc(READ_JOBS, sizeof(*r->jobs));
	r->scratches = aligned_alloc(BLOCK_BYTES, READ_JOBS * BLOCK_BYTES);
	if (r->jobs == NULL || r->scratches == NULL) {
		replica_jobs_close(r);
		return -ERR_NOMEM;
	}
	for (uint32_t i = 0; i < READ_JOBS; i++) {
		r->jobs[i].scratch = r->scratches + (size_t)i * BLOCK_BYTES;
		list_push_back(&r->jobs_free, &r->jobs[i].link);
	}
	return 0;
}

void replica_jobs_release(struct replica *r)
{
	for (uint32_t i = 0; r->jobs != NULL && i < READ_JOBS; i++)
		record_unref(&r->jobs[i].record);
}

void replica_jobs_close(struct replica *r)
{
	free(r->jobs);
	free(r->scratches);
	r->jobs = NULL;
	r->scratches = NULL;
}

void read_wait_begin(struct replica *r, struct read_wait *w, struct op *op)
{
	*w = (struct read_wait){.op = op};
	r->reads++;
	op_wake(op);
}

bool read_wait_job(struct replica *r, struct read_wait *w)
{
	struct list_link *n;

	if (w->job != NULL)
		return true;
	if (list_linked(&w->link))
		return false;
	if (w->snap == NULL && r->snaps.restoring > 0 && !replica_restore_is_hopeless(r)) {
		list_push_back(&r->snaps.waiting, &w->link); /* K1 */
		return false;
	}
	n = list_empty(&r->job_waiters) ? list_pop_front(&r->jobs_free) : NULL;
	if (n == NULL) {
		list_push_back(&r->job_waiters, &w->link); /* K1 */
		return false;
	}
	w->job = container_of(n, struct read_job, link);
	return true;
}

void replica_reads_go(struct replica *r)
{
	struct list_link *n;

	if (r->snaps.restoring > 0 && !replica_restore_is_hopeless(r))
		return;
	while ((n = list_pop_front(&r->snaps.waiting)) != NULL)
		op_wake(container_of(n, struct read_wait, link)->op);
}

void read_wait_end(struct replica *r, struct read_wait *w)
{
	struct read_job *job = w->job;
	struct list_link *n = list_pop_front(&r->job_waiters);

	assert(job != NULL && job->record == NULL && r->reads > 0);
	w->job = NULL;
	op_unqueue(w->op);
	if (n != NULL) {
		struct read_wait *next = container_of(n, struct read_wait, link);

		next->job = job;
		op_wake(next->op);
	} else {
		list_push_front(&r->jobs_free, &job->link);
	}
	if (--r->reads == 0 && r->idle_wake != NULL)
		op_wake(&r->op);
}
