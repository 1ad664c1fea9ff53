/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal.c
 *
 * Purpose.     Order records, give each its place, keep them until they are durable and committed.
 *              Disk writes are in journal_write.c, recovery in journal_recover.c.
 * Invariants.  J1  Records follow each other without gap: begin == tail, prev_chain == tail_chain.
 *              J2  A record lies in one segment, after the record before it or at the segment's
 *                  start; so its place follows from its LSN (journal_locate).
 *              J3  Every opened segment has room for the footer of all its records.
 *              J4  A segment is opened only when the one to follow it is reserved: its header can
 *                  name it, and recovery finds every segment through the chain.
 *              J5  durable moves in order: a record counts when it and everything before it, the
 *                  headers of its segments too, are on stable storage.
 *              J6  The queue holds [min(durable, committed), tail); commit_at and durable_at move
 *                  forward only, but for a cut, which removes records beyond both.
 *              J7  low and end of the segments are monotonic along the chain, [low, end) are
 *                  disjoint and cover [trim, tail); what their records name is in that order, too.
 *              J8  A segment that was opened because a control record had to go somewhere takes no writes
 *                  until there is room in the share again: they cannot use up what deletes need.
 * States.      recovering -> closed tail -> open tail (first append) -> failed (store_fail).
 * Ownership.   A queued record holds one reference.
 * Failure.     Any failed write: store_fail; queued appends end with -ERR_FAILED.
 * Limits.      records_max records in the queue; segments bounded by the disk.
 */
#include "engine/store/journal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/port/random.h"
#include "engine/store/journal_state.h"
#include "engine/store/store.h"

static uint64_t power_of_two(uint64_t n)
{
	uint64_t p = 16;

	while (p < n)
		p *= 2;
	return p;
}

static uint32_t footer_max_of(uint64_t segment_bytes)
{
	uint64_t n = segment_bytes / 8;

	return n > SEGMENT_FOOTER_BYTES_MAX ? SEGMENT_FOOTER_BYTES_MAX : (uint32_t)n;
}

static int journal_alloc(const struct journal_opts *opts, struct journal **ret)
{
	struct journal *j = calloc(1, sizeof(*j));
	uint64_t segments;

	if (j == NULL)
		return -ERR_NOMEM;
	j->o = *opts;
	op_init(&j->op, opts->env->ready, journal_step);
	j->segment_bytes = space_segment_bytes(opts->space);
	j->footer_max = footer_max_of(j->segment_bytes);
	segments = power_of_two(opts->disk->bytes / j->segment_bytes + 2);
	j->segments = calloc(segments, sizeof(*j->segments));
	j->segment_mask = segments - 1;
	j->queue_mask = power_of_two(opts->records_max + 1) - 1;
	j->queue = calloc(j->queue_mask + 1, sizeof(*j->queue));
	for (uint32_t i = 0; i < JOURNAL_WRITES; i++)
		j->writes[i].header = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	for (uint32_t i = 0; i < 2; i++)
		j->footers[i].data = aligned_alloc(BLOCK_BYTES, j->footer_max + 2 * BLOCK_BYTES);
	if (journal_names_open(j) < 0 || j->segments == NULL || j->queue == NULL ||
	    j->writes[0].header == NULL || j->writes[1].header == NULL ||
	    j->footers[0].data == NULL || j->footers[1].data == NULL) {
		journal_free(&j);
		return -ERR_NOMEM;
	}
	*ret = j;
	return 0;
}

int journal_create(const struct journal_opts *opts, struct lsn begin, uint64_t chain,
		   struct journal **ret)
{
	struct journal *j;
	uint32_t id;
	int rc = journal_alloc(opts, &j);

	if (rc < 0)
		return rc;
	rc = space_segment_take(opts->space, SEGMENT_JOURNAL, true, &id);
	if (rc < 0) {
		journal_free(&j);
		return rc == -ERR_JOURNAL_FULL ? -ERR_FULL : rc;
	}
	j->next_id = id;
	j->next_seq = 1;
	j->next_link = random_u64(opts->env->random);
	j->tail = j->durable = begin.v;
	j->tail_chain = chain;
	j->fresh = true;
	*ret = j;
	return 0;
}

int journal_from_root(const struct journal_opts *opts, const struct journal_root *root,
		      struct journal **ret)
{
	struct journal *j;
	int rc = journal_alloc(opts, &j);

	if (rc < 0)
		return rc;
	j->next_id = root->segment;
	j->next_seq = root->segment_seq;
	j->next_link = root->segment_link;
	j->recover_tail_seq = root->tail_seq;
	j->tail = j->durable = root->trim.v;
	j->tail_chain = root->trim_chain;
	*ret = j;
	return 0;
}

static void pending_clear(struct jpending *p)
{
	record_unref(&p->rec);
	free(p->header);
	p->header = NULL;
	p->done = NULL;
}

void journal_free(struct journal **journal)
{
	struct journal *j = *journal;

	if (j == NULL)
		return;
	op_unqueue(&j->op);
	journal_recovery_unqueue(j);
	for (uint64_t n = j->head; n < j->queue_tail; n++)
		pending_clear(journal_pending(j, n));
	journal_abandon(journal);
}

void journal_abandon(struct journal **journal)
{
	struct journal *j = *journal;

	*journal = NULL;
	if (j == NULL)
		return;
	journal_recovery_free(j);
	for (uint64_t n = j->head; n < j->queue_tail; n++)
		free(journal_pending(j, n)->header);
	for (uint32_t i = 0; i < JOURNAL_WRITES; i++)
		free(j->writes[i].header);
	for (uint32_t i = 0; i < 2; i++)
		free(j->footers[i].data);
	free(j->segments);
	free(j->queue);
	journal_names_close(j);
	free(j);
}

void journal_give_all(struct journal *j)
{
	journal_names_trim(j, j->names.tail);
	for (; j->segment_head < j->segment_tail; j->segment_head++)
		space_segment_give(j->o.space, journal_segment(j, j->segment_head)->id);
	if (j->next_id != SEGMENT_NONE)
		space_segment_give(j->o.space, j->next_id);
	j->next_id = SEGMENT_NONE;
	j->failed = true;
}

void journal_segment_append(struct journal *j, const struct jsegment *s)
{
	assert(j->segment_tail - j->segment_head <= j->segment_mask);
	assert(j->segment_tail == j->segment_head ||
	       journal_segment(j, j->segment_tail - 1)->end <= s->low); /* J7 */
	*journal_segment(j, j->segment_tail++) = *s;
}

/* Make the reserved segment the open one; `id` follows it. */
static void segment_open(struct journal *j, uint32_t id)
{
	struct jsegment s = {
		.id = j->next_id, .next = id, .seq = j->next_seq, .link = j->next_link};

	s.alone = !j->tail_open && !j->fresh;
	s.salt = s.alone ? random_u64(j->o.env->random) : s.link;
	s.next_link = random_u64(j->o.env->random);
	s.first = s.low = s.end = j->tail;
	s.chain_before = j->tail_chain;
	s.named_end = j->names.tail;
	journal_segment_append(j, &s);
	j->tail_open = true;
	j->control_only = false;
	j->used = BLOCK_BYTES;
	j->footer_used = 0;
	j->next_id = id;
	j->next_seq++;
	j->next_link = s.next_link;
	if (j->o.env->counters != NULL)
		counter_add(j->o.env->counters, CTR_JOURNAL_WRAPS, 1);
}

static int segment_reserve(struct journal *j, bool must, uint32_t *ret_id)
{
	uint64_t held = j->segment_tail - j->segment_head + 1;
	int rc = space_segment_take(j->o.space, SEGMENT_JOURNAL,
				    must || held < JOURNAL_GUARANTEED_SEGMENTS, ret_id);

	return rc < 0 ? -ERR_JOURNAL_FULL : 0;
}

static bool fits(const struct journal *j, const struct record_view *v, uint32_t chunks,
		 uint32_t reserve)
{
	uint64_t footer = j->footer_used + footer_entry_bytes(v, chunks);
	uint64_t padded = (footer + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;

	return j->tail_open && footer <= j->footer_max && /* J3 */
	       j->used + (v->end.v - v->begin.v) + reserve + padded + BLOCK_BYTES <=
		       j->segment_bytes;
}

/* Room for the record in the open segment, in a new one, or -ERR_JOURNAL_FULL. */
static int make_room(struct journal *j, const struct record_view *v, uint32_t chunks)
{
	bool is_control = v->type != RECORD_WRITE, beyond = false;
	uint32_t id;
	int rc;

	j->control_only = j->control_only && !space_journal_room(j->o.space); /* J8 */
	if ((is_control || !j->control_only) && fits(j, v, chunks, JOURNAL_CONTROL_RESERVE_BYTES))
		return 0;
	rc = segment_reserve(j, false, &id);
	if (rc < 0 && is_control) {
		if (fits(j, v, chunks, 0))
			return 0;
		rc = segment_reserve(j, true, &id);
		beyond = true;
	}
	if (rc < 0) {
		if (j->o.env->counters != NULL)
			counter_add(j->o.env->counters, CTR_QUEUE_FULL_JOURNAL, 1);
		return rc;
	}
	segment_open(j, id); /* J4 */
	j->control_only = beyond;
	assert(fits(j, v, chunks, 0));
	return 0;
}

int journal_append(struct journal *j, struct record *rec, struct completion *done)
{
	const struct record_view *v = &rec->view;
	struct jsegment *s;
	struct jpending *p;
	uint32_t chunks;
	int rc;

	if (j->failed)
		return -ERR_FAILED;
	if (j->hole)
		return -ERR_CORRUPT;
	if (v->begin.v != j->tail || v->prev_chain != j->tail_chain)
		return -ERR_FORK; /* J1 */
	if (j->queue_tail - j->head > j->queue_mask)
		return -ERR_JOURNAL_FULL;
	chunks = journal_chunks_want(j, rec);
	rc = make_room(j, v, chunks);
	if (rc < 0)
		return rc;
	s = journal_segment(j, j->segment_tail - 1);
	assert(s->end == j->tail && j->used == BLOCK_BYTES + (j->tail - s->first)); /* J2 */
	p = journal_pending(j, j->queue_tail++);
	p->rec = record_ref(rec);
	p->header = NULL;
	p->done = done;
	p->view = *v;
	p->off = space_segment_off(j->o.space, s->id) + j->used;
	p->segment = j->segment_tail - 1;
	p->chunks.count = p->chunks_left = 0;
	if (chunks > 0)
		journal_chunks_take(j, p, chunks);
	s->named_end = j->names.tail;
	j->used += v->end.v - v->begin.v;
	j->footer_used += footer_entry_bytes(v, p->chunks.count);
	j->tail = s->end = v->end.v;
	j->tail_chain = v->chain;
	op_wake(&j->op);
	return 0;
}

/* Forget the records beyond lsn; their appends are over. */
static void queue_cut(struct journal *j, uint64_t lsn)
{
	uint64_t names = 0;

	while (j->queue_tail > j->head &&
	       journal_pending(j, j->queue_tail - 1)->view.begin.v >= lsn) {
		names += journal_pending(j, j->queue_tail - 1)->chunks.count;
		pending_clear(journal_pending(j, --j->queue_tail));
	}
	assert(j->queue_tail >= j->commit_at); /* J6 */
	j->durable_at = j->submit_at = j->chunk_at = j->queue_tail;
	journal_names_cut(j, names);
}

void journal_cut(struct journal *j, struct lsn lsn, uint64_t chain, struct completion *done)
{
	uint32_t id;
	int rc;

	assert(j->write_count == 0 && j->submit_at == j->queue_tail && j->cut_done == NULL);
	assert(lsn.v <= j->tail);
	if (j->failed || j->hole) {
		completion_fire(done, j->failed ? -ERR_FAILED : -ERR_CORRUPT);
		return;
	}
	if (lsn.v == j->tail) {
		completion_fire(done, 0);
		return;
	}
	rc = segment_reserve(j, true, &id);
	if (rc < 0) {
		completion_fire(done, -ERR_FULL);
		return;
	}
	queue_cut(j, lsn.v);
	for (uint64_t n = j->segment_head; n < j->segment_tail; n++) {
		struct jsegment *s = journal_segment(j, n);

		s->low = s->low < lsn.v ? s->low : lsn.v; /* J7 */
		s->end = s->end < lsn.v ? s->end : lsn.v;
		if (s->named_end > j->names.cut_from)
			s->named_end = j->names.cut_from; /* the new segment has them till then */
	}
	if (j->footers[j->footer_now].state == FOOTER_FILLING)
		j->footers[j->footer_now].state =
			FOOTER_FREE; /* it stays unsealed: it is scanned */
	j->tail = j->durable = lsn.v;
	j->tail_chain = chain;
	j->tail_open = false;
	j->fresh = false;
	segment_open(j, id); /* its header, written alone, is the cut */
	assert(journal_segment(j, j->segment_tail - 1)->alone);
	j->cut_done = done;
	op_wake(&j->op);
}

struct lsn journal_tail(const struct journal *j)
{
	return (struct lsn){j->tail};
}

uint64_t journal_tail_chain(const struct journal *j)
{
	return j->tail_chain;
}

struct lsn journal_durable(const struct journal *j)
{
	return (struct lsn){j->durable};
}

struct lsn journal_trim(const struct journal *j)
{
	if (j->segment_head == j->segment_tail)
		return (struct lsn){j->tail};
	return (struct lsn){journal_segment(j, j->segment_head)->low};
}

uint64_t journal_used_bytes(const struct journal *j)
{
	return (j->segment_tail - j->segment_head) * j->segment_bytes;
}

bool journal_has_hole(const struct journal *j)
{
	return j->hole;
}

bool journal_is_busy(const struct journal *j)
{
	if (j->write_count > 0 || journal_chunks_busy(j) || j->footers[0].state == FOOTER_WRITING ||
	    j->footers[1].state == FOOTER_WRITING)
		return true;
	return !j->failed && (j->submit_at < j->queue_tail || j->cut_done != NULL);
}

void journal_segments(const struct journal *j, uint64_t *ret_begin, uint64_t *ret_end)
{
	*ret_begin = j->segment_head;
	*ret_end = j->segment_tail;
}

struct lsn journal_segment_low(const struct journal *j, uint64_t n)
{
	if (n < j->segment_head) /* trimmed meanwhile */
		n = j->segment_head;
	return n < j->segment_tail ? (struct lsn){journal_segment(j, n)->low} : journal_tail(j);
}

int journal_locate(const struct journal *j, struct lsn lsn, struct journal_position *ret)
{
	uint64_t low = j->segment_head, high = j->segment_tail;
	const struct jsegment *s;

	if (lsn.v >= j->tail)
		return -ERR_RANGE;
	if (lsn.v < journal_trim(j).v)
		return -ERR_TRIMMED;
	while (high - low > 1) { /* the last segment with low <= lsn */
		uint64_t mid = low + (high - low) / 2;

		if (journal_segment(j, mid)->low <= lsn.v)
			low = mid;
		else
			high = mid;
	}
	s = journal_segment(j, low);
	assert(lsn.v >= s->low && lsn.v < s->end); /* J7 */
	ret->block = (uint32_t)(1 + (lsn.v - s->first) / BLOCK_BYTES);
	ret->off = space_segment_off(j->o.space, s->id) + (uint64_t)ret->block * BLOCK_BYTES;
	ret->seq = s->seq;
	ret->salt = s->salt;
	ret->segment_end = space_segment_off(j->o.space, s->id) + j->segment_bytes;
	ret->is_segment_first = lsn.v == s->first;
	ret->chain_before = s->chain_before;
	return 0;
}

/* Its footer is still to be written, or on its way: the segment must stay ours till then, or the
 * footer lands in what somebody else put there. */
static bool awaits_footer(const struct journal *j, uint64_t n)
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct jfooter *f = &j->footers[i];

		if (f->state == FOOTER_FILLING && n == j->submit_segment)
			return true;
		if ((f->state == FOOTER_SEALED || f->state == FOOTER_WRITING) &&
		    f->segment.id == journal_segment(j, n)->id)
			return true;
	}
	return false;
}

void journal_root_at(const struct journal *j, struct lsn keep, struct journal_root *ret)
{
	uint64_t n = j->segment_head, last = j->tail_open ? j->segment_tail - 1 : j->segment_tail;

	while (n < last && journal_segment(j, n)->end <= keep.v && !awaits_footer(j, n))
		n++;
	if (n < j->segment_tail) {
		const struct jsegment *s = journal_segment(j, n);

		*ret = (struct journal_root){.segment = s->id,
					     .segment_seq = s->seq,
					     .trim = {s->first},
					     .trim_chain = s->chain_before,
					     .segment_link = s->link};
	} else {
		*ret = (struct journal_root){.segment = j->next_id,
					     .segment_seq = j->next_seq,
					     .trim = {j->tail},
					     .trim_chain = j->tail_chain,
					     .segment_link = j->next_link};
	}
	ret->tail_seq = j->next_seq - 1;
}

bool journal_trim_to(struct journal *j, const struct journal_root *root)
{
	bool any = false;

	while (j->segment_head < j->segment_tail &&
	       journal_segment(j, j->segment_head)->seq < root->segment_seq) {
		assert(!j->tail_open || j->segment_head < j->segment_tail - 1);
		space_segment_untake(j->o.space, journal_segment(j, j->segment_head)->id);
		journal_names_trim(j, journal_segment(j, j->segment_head)->named_end);
		j->segment_head++;
		any = true;
	}
	return any;
}
