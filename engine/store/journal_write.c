/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_write.c
 *
 * Purpose.     Group commit: queued records become few large writes, two in flight, in order.
 * Invariants.  W1  Each write is contiguous but for payload that lies in chunks, within one segment, and
 *                  durable when all its pieces are complete.
 *              W2  Writes count in the order of submission, whatever the order of completion (J5).
 *              W3  A segment header goes with the first records of its segment in one write, or, when
 *                  the segment follows a recovery or a cut, alone and before them: then no record of
 *                  an earlier attempt can be taken for one of this segment.
 *              W4  A record is added only when the chunks it names are durable (JC1).
 *              W5  A footer is written only when all records of its segment are durable: a valid
 *                  footer proves them.
 * Failure.     A failed write is the end of the store (STYLE 16).
 * Limits.      JOURNAL_WRITES writes of JOURNAL_WRITE_BYTES_MAX, two footers.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/journal_state.h"
#include "engine/store/store.h"
#include "engine/store/store_parts.h"

static void count(struct journal *j, enum counter_id id, uint64_t n)
{
	if (j->o.env->counters != NULL)
		counter_add(j->o.env->counters, id, n);
}

/* The first failure of its pieces. */
static int write_rc(const struct jwrite *w)
{
	for (uint32_t i = 0; i < w->piece_count; i++) {
		if (w->reqs[i].done.rc < 0)
			return w->reqs[i].done.rc;
	}
	return 0;
}

static void header_is_durable(struct journal *j)
{
	struct completion *done = j->cut_done;

	j->header_waiting = false;
	j->cut_done = NULL;
	journal_names_cut_durable(j);
	if (done != NULL)
		completion_fire(done, 0);
}

/* Take finished writes in order of submission; true when something moved. */
static bool reap_writes(struct journal *j)
{
	bool moved = false;

	while (j->write_count > 0) {
		uint32_t i = j->write_first;
		struct jwrite *w = &j->writes[i];

		assert(w->busy);
		if ((j->op.waits & JOURNAL_WAIT_WRITE(i)) != 0)
			break; /* W2 */
		w->busy = false;
		j->writes_ended++;
		j->write_first = (i + 1) % JOURNAL_WRITES;
		j->write_count--;
		moved = true;
		if (write_rc(w) < 0 && !j->failed)
			store_fail(j->o.s, write_rc(w), "write to the journal");
		if (j->failed)
			continue;
		if (w->is_header_alone)
			header_is_durable(j);
		if (w->upto > j->durable_at)
			journal_durable_move(j, w->upto);
	}
	return moved;
}

static void footer_write(struct journal *j, uint32_t i)
{
	struct jfooter *f = &j->footers[i];
	uint32_t padded = (f->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
	struct segment_trailer t = {
		.seq = f->segment.seq,
		.salt = f->segment.salt,
		.first = {f->segment.first},
		.end = f->running.lsn,
		.end_chain = f->running.chain,
		.entries_bytes = f->bytes,
		.record_count = f->count,
		.chunk_count = f->chunks,
	};
	uint64_t end = space_segment_off(j->o.space, f->segment.id) + j->segment_bytes;

	assert(f->bytes <= j->footer_max && f->running.lsn.v <= j->durable); /* J3, W5 */
	memset(f->data + f->bytes, 0, padded - f->bytes);
	t.entries_crc = crc64(0, f->data, padded);
	segment_trailer_encode(f->data + padded, &t);
	f->state = FOOTER_WRITING;
	completion_arm(&f->req.done, &j->op, JOURNAL_WAIT_FOOTER(i));
	disk_io(j->o.disk, &f->req, DISK_WRITE, DISK_FUA, end - padded - BLOCK_BYTES, f->data,
		padded + BLOCK_BYTES);
	count(j, CTR_JOURNAL_BYTES, padded + BLOCK_BYTES);
}

static bool step_footers(struct journal *j)
{
	bool moved = false;

	for (uint32_t i = 0; i < 2; i++) {
		struct jfooter *f = &j->footers[i];

		if (f->state == FOOTER_WRITING && (j->op.waits & JOURNAL_WAIT_FOOTER(i)) == 0) {
			f->state = FOOTER_FREE;
			j->writes_ended++;
			moved = true;
			if (f->req.done.rc < 0 && !j->failed)
				store_fail(j->o.s, f->req.done.rc, "write of a journal footer");
		}
		if (f->state == FOOTER_SEALED && !j->failed && j->durable >= f->segment.end)
			footer_write(j, i);
	}
	return moved;
}

/* Let the submitter leave its segment and enter segment n; false: wait for a footer buffer. */
static bool enter_segment(struct journal *j, uint64_t n)
{
	struct jfooter *now = &j->footers[j->footer_now];
	struct jsegment *s = journal_segment(j, n);
	uint32_t other = 1 - j->footer_now;

	if (now->state == FOOTER_FILLING) {
		now->segment = *journal_segment(j, j->submit_segment);
		now->state = FOOTER_SEALED;
	}
	if (now->state == FOOTER_FREE)
		other = j->footer_now;
	if (j->footers[other].state != FOOTER_FREE)
		return false;
	j->footer_now = other;
	now = &j->footers[other];
	now->state = FOOTER_FILLING;
	now->bytes = now->count = now->chunks = 0;
	now->running = (struct footer_state){
		.group = j->o.group, .lsn = {s->first}, .chain = s->chain_before};
	j->submit_segment = n;
	j->header_written = false;
	return true;
}

/* Blocks of one stretch of the disk, at `off`: behind the last piece, or as a new one. */
static void put(struct jwrite *w, uint64_t off, const struct iovec *iov, uint32_t iov_count)
{
	struct disk_req *q = w->piece_count > 0 ? &w->reqs[w->piece_count - 1] : NULL;

	assert(w->iov_count + iov_count <= DISK_IOV_MAX);
	if (q == NULL || q->off + q->bytes != off) {
		assert(w->piece_count < JOURNAL_PIECES && (q == NULL || q->off + q->bytes < off));
		q = &w->reqs[w->piece_count++];
		q->kind = DISK_WRITE;
		q->flags = DISK_FUA;
		q->off = off;
		q->bytes = 0;
		q->iov = &w->iov[w->iov_count];
		q->iov_count = 0;
	}
	for (uint32_t i = 0; i < iov_count; i++) {
		w->iov[w->iov_count++] = iov[i];
		q->iov_count++;
		q->bytes += iov[i].iov_len;
		w->bytes += iov[i].iov_len;
	}
}

static void add_header(struct journal *j, struct jwrite *w)
{
	const struct jsegment *s = journal_segment(j, j->submit_segment);
	struct segment_header h = {
		.store = j->o.store,
		.group = j->o.group,
		.seq = s->seq,
		.link = s->link,
		.salt = s->salt,
		.first = {s->first},
		.chain_before = s->chain_before,
		.durable = {j->durable},
		.next = s->next,
		.next_link = s->next_link,
	};

	struct iovec iov = {.iov_base = w->header, .iov_len = BLOCK_BYTES};

	assert(j->durable <= s->first);
	segment_header_encode(w->header, &h);
	w->begin = space_segment_off(j->o.space, s->id);
	put(w, w->begin, &iov, 1);
	j->header_written = true;
}

/* The header and what lies behind it; then what lies in place between and after chunks. */
static void put_record(struct jwrite *w, const struct jpending *p)
{
	struct record_runs runs;
	uint32_t n;

	if (p->chunks.count == 0) {
		put(w, p->off, p->rec->iov, p->rec->iov_count);
		return;
	}
	record_runs(p->rec->head->data, &p->view, &runs);
	put(w, p->off, p->rec->iov, 1);
	for (uint32_t block = 0; block < p->view.payload_blocks; block += n) {
		uint64_t off = record_block_off(&runs, &p->chunks, p->off, block,
						p->view.payload_blocks, &n);
		struct iovec iov[RECORD_IOV_MAX];

		if (off != p->off + (uint64_t)(1 + block) * BLOCK_BYTES)
			continue;
		put(w, off, iov, record_payload_iov(p->rec, block, n, iov));
	}
}

/* Does record p still belong into this write? */
static bool write_has_room(const struct jwrite *w, const struct jpending *p)
{
	uint64_t bytes = p->view.end.v - p->view.begin.v;
	uint32_t pieces = 1;

	if (p->chunks.count > 0) {
		struct record_runs runs;

		record_runs(p->rec->head->data, &p->view, &runs);
		pieces += record_runs_gaps(&runs, &p->view);
		bytes -= (uint64_t)p->chunks.count * CHUNK_BYTES;
	}
	assert(pieces <= JOURNAL_PIECES);
	if (w->piece_count == 0)
		return true;
	return w->piece_count + pieces <= JOURNAL_PIECES &&
	       w->iov_count + p->rec->iov_count + JOURNAL_PIECES <= DISK_IOV_MAX &&
	       w->bytes + bytes <= JOURNAL_WRITE_BYTES_MAX &&
	       p->off + (p->view.end.v - p->view.begin.v) - w->begin <= JOURNAL_WRITE_SPAN_MAX;
}

/* Add the next queued record if it belongs into this write. */
static bool add_record(struct journal *j, struct jwrite *w)
{
	struct jpending *p = journal_pending(j, j->submit_at);
	const struct jsegment *s = journal_segment(j, j->submit_segment);
	struct jfooter *f = &j->footers[j->footer_now];
	struct record_local local = {
		.segment_seq = s->seq, .segment_salt = s->salt, .durable = {j->durable}};

	if (j->submit_at == j->queue_tail || p->segment != j->submit_segment ||
	    !journal_chunks_ready(j, j->submit_at) || !write_has_room(w, p)) /* W4 */
		return false;
	if (w->piece_count == 0)
		w->begin = p->off;
	local.segment_block =
		(uint32_t)((p->off - space_segment_off(j->o.space, s->id)) / BLOCK_BYTES);
	local.chunks = p->chunks;
	record_encode_local(p->rec->head->data, &local);
	put_record(w, p); /* W1 */
	assert(f->state == FOOTER_FILLING);
	f->bytes += footer_entry_put(f->data + f->bytes, &f->running, p->rec->head->data, &p->view,
				     &local.chunks);
	f->count++;
	f->chunks += p->chunks.count;
	j->submit_at++;
	return true;
}

/* Is there a segment to enter or continue, and for what? */
static bool submit_next_segment(const struct journal *j, uint64_t *ret_segment)
{
	if (j->submit_at < j->queue_tail) {
		*ret_segment = journal_pending(j, j->submit_at)->segment;
		return true;
	}
	if (!j->tail_open)
		return false;
	*ret_segment = j->segment_tail - 1; /* a cut: its header alone */
	return journal_segment(j, *ret_segment)->alone &&
	       (j->submit_segment != *ret_segment || !j->header_written);
}

/* What is to be written is in w: on its way. */
static void submit_pieces(struct journal *j, uint32_t i)
{
	struct jwrite *w = &j->writes[i];

	w->upto = j->submit_at;
	w->busy = true;
	j->write_count++;
	count(j, CTR_JOURNAL_WRITES, 1);
	count(j, CTR_JOURNAL_BYTES, w->bytes);
	for (uint32_t k = 0; k < w->piece_count; k++) {
		completion_arm(&w->reqs[k].done, &j->op, JOURNAL_WAIT_PIECE(i, k));
		disk_submit(j->o.disk, &w->reqs[k]);
	}
	if (j->o.mutant == STORE_MUTANT_ACK_BEFORE_DURABLE)
		journal_durable_move(j, w->upto);
}

static bool submit_one(struct journal *j)
{
	uint32_t i = (j->write_first + j->write_count) % JOURNAL_WRITES;
	struct jwrite *w = &j->writes[i];
	uint64_t segment;

	if (j->failed || j->write_count == JOURNAL_WRITES || j->header_waiting ||
	    !submit_next_segment(j, &segment))
		return false;
	if (j->submit_at < j->queue_tail && !journal_segment(j, segment)->alone &&
	    !journal_chunks_ready(j, j->submit_at))
		return false; /* wait: its chunks */
	if (j->submit_segment != segment || !j->header_written) {
		bool entered = j->footers[j->footer_now].state == FOOTER_FILLING &&
			       j->submit_segment == segment;

		if (!entered && !enter_segment(j, segment))
			return false;
	}
	w->piece_count = w->iov_count = 0;
	w->bytes = 0;
	w->is_header_alone = false;
	if (!j->header_written) {
		add_header(j, w);
		w->is_header_alone = journal_segment(j, segment)->alone;
	}
	if (w->is_header_alone)
		j->header_waiting = true; /* W3 */
	else
		while (add_record(j, w))
			;
	if (w->piece_count == 0)
		return false; /* wait: chunks of the next record */
	submit_pieces(j, i);
	return true;
}

uint32_t journal_stalled(struct journal *j)
{
	bool busy = j->write_count > 0 || j->footers[0].state == FOOTER_WRITING ||
		    j->footers[1].state == FOOTER_WRITING || journal_chunks_busy(j);

	return stall_look(&j->stall, busy, j->writes_ended);
}

void journal_step(struct op *op)
{
	struct journal *j = container_of(op, struct journal, op);
	bool moved = reap_writes(j);

	moved |= journal_chunks_step(j);
	moved |= step_footers(j);
	while (submit_one(j))
		moved |= j->o.mutant == STORE_MUTANT_ACK_BEFORE_DURABLE;
	moved |= step_footers(j);
	if (moved && j->o.notify != NULL)
		op_wake(j->o.notify);
	/* wait: writes, footers, appends */
}
