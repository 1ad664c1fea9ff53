/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_queue.c
 *
 * Purpose.     The queue of records that are not yet both durable and committed: what is in memory of
 *              the journal's end, for commit, for peers and for positions.
 * Invariants.  J6 (journal.c); Q1 the queue is ordered by begin without gaps.
 * Ownership.   An entry holds its record, or for one found by recovery a copy of its header.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/store/journal.h"
#include "engine/store/journal_state.h"

static int queue_grow(struct journal *j, uint32_t entries)
{
	uint64_t mask = j->queue_mask;
	struct jpending *queue;

	while (mask < entries)
		mask = mask * 2 + 1;
	queue = calloc(mask + 1, sizeof(*queue));
	if (queue == NULL)
		return -ERR_NOMEM;
	for (uint64_t n = j->head; n < j->queue_tail; n++)
		queue[n & mask] = *journal_pending(j, n);
	free(j->queue);
	j->queue = queue;
	j->queue_mask = mask;
	return 0;
}

int journal_keep_uncommitted(struct journal *j, const struct record_view *view,
			     const uint8_t *header, const struct journal_place *place)
{
	uint64_t count = j->queue_tail - j->head;
	struct jpending *p;
	uint8_t *copy;
	int rc;

	if (count + j->o.records_max + 1 > j->queue_mask) { /* appends keep their room */
		rc = queue_grow(j, (uint32_t)(count * 2 + j->o.records_max + 1));
		if (rc < 0)
			return rc;
	}
	copy = malloc(view->logical_bytes);
	if (copy == NULL)
		return -ERR_NOMEM;
	memcpy(copy, header, view->logical_bytes);
	p = journal_pending(j, j->queue_tail++);
	*p = (struct jpending){
		.header = copy, .view = *view, .off = place->off, .chunks = place->chunks};
	j->durable_at = j->submit_at = j->chunk_at = j->queue_tail;
	return 0;
}

bool journal_uncommitted_first(struct journal *j, struct journal_uncommitted *ret)
{
	struct jpending *p;

	if (j->commit_at == j->queue_tail)
		return false;
	p = journal_pending(j, j->commit_at);
	ret->view = p->view;
	ret->header = p->rec != NULL ? p->rec->head->data : p->header;
	ret->place.off = p->off;
	ret->place.chunks = p->chunks;
	return true;
}

/* Give back what is both durable and committed. */
static void queue_release(struct journal *j)
{
	while (j->head < j->commit_at && j->head < j->durable_at) {
		struct jpending *p = journal_pending(j, j->head++);

		assert(p->done == NULL);
		record_unref(&p->rec);
		free(p->header);
		p->header = NULL;
	}
}

void journal_committed_first(struct journal *j)
{
	assert(j->commit_at < j->queue_tail);
	j->commit_at++;
	queue_release(j);
}

void journal_durable_move(struct journal *j, uint64_t upto)
{
	assert(upto >= j->durable_at && upto <= j->submit_at); /* J5 */
	for (; j->durable_at < upto; j->durable_at++) {
		struct jpending *p = journal_pending(j, j->durable_at);
		struct completion *done = p->done;

		assert(p->view.begin.v == j->durable); /* Q1 */
		j->durable = p->view.end.v;
		p->done = NULL;
		if (done != NULL)
			completion_fire(done, 0);
	}
	queue_release(j);
}

/* The entry of the queue that begins at lsn; NULL. */
static struct jpending *queue_find(struct journal *j, uint64_t lsn)
{
	uint64_t low = j->head, high = j->queue_tail;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (journal_pending(j, mid)->view.begin.v < lsn)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == j->queue_tail || journal_pending(j, low)->view.begin.v != lsn)
		return NULL;
	return journal_pending(j, low);
}

bool journal_chain_in_memory(struct journal *j, struct lsn lsn, uint64_t *ret_chain)
{
	struct jpending *p;

	if (lsn.v == j->tail) {
		*ret_chain = j->tail_chain;
		return true;
	}
	p = queue_find(j, lsn.v);
	if (p == NULL)
		return false;
	*ret_chain = p->view.prev_chain;
	return true;
}

struct record *journal_record_in_memory(struct journal *j, struct lsn lsn)
{
	struct jpending *p = queue_find(j, lsn.v);

	return p != NULL ? p->rec : NULL;
}

void journal_store_failed(struct journal *j)
{
	struct completion *cut = j->cut_done;

	j->failed = true;
	j->cut_done = NULL;
	if (cut != NULL)
		completion_fire(cut, -ERR_FAILED);
	for (uint64_t n = j->durable_at; n < j->queue_tail; n++) {
		struct jpending *p = journal_pending(j, n);
		struct completion *done = p->done;

		p->done = NULL; /* the record stays: a write of it may be in flight */
		if (done != NULL)
			completion_fire(done, -ERR_FAILED);
	}
}
