/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_chunks.c
 *
 * Purpose.     Large writes reach the disk once: their whole chunks go into fresh chunks of home, and
 *              the record only names these.  Which records, their content's way to the disk, and the
 *              memory of what is named.
 * Invariants.  JC1 A header is submitted only after every chunk it names is durable: a valid header
 *                  proves its chunks, so recovery need not read them and never calls them torn.
 *              JC2 Every chunk of a record in [trim, tail) is in the ring, in LSN order, and named in
 *                  space once: nobody writes or reuses it.  Recovery names them before anything is taken.
 *              JC3 The chunks of a cut stay named until the cut is durable: till then a crash brings
 *                  their records back.
 *              JC4 A chunk that only a record has is used by no checkpoint: if the record does not
 *                  survive, the chunk was never taken.
 * Failure.     No room (home, ring, write pieces): the record goes in place; a write never fails for
 *              it.  A failed write of a chunk is the end of the store.
 * Limits.      JOURNAL_CHUNK_WRITES requests; NAMES_MAX names of one journal, more only by recovery.
 */
#include "engine/store/journal_chunks.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/journal_state.h"
#include "engine/store/store.h"
#include "engine/store/store_parts.h"

#define CHUNKS_MIN 4u /* of a record: below, a second write costs less than the wait for two */
#define NAMES_MAX (1u << 20) /* 64 GiB of content, 8 MiB of memory, touched as used */
#define ROOM_SHARE 16u	     /* of the disk stays free for what cannot go elsewhere */

static uint64_t ring_size(const struct journal *j)
{
	uint64_t chunks = j->o.disk->bytes / CHUNK_BYTES, n = 64;

	while (n < chunks && n < NAMES_MAX)
		n *= 2;
	return n;
}

int journal_names_open(struct journal *j)
{
	uint64_t n = ring_size(j);

	j->names.ring = calloc(n, sizeof(*j->names.ring));
	j->names.mask = n - 1;
	return j->names.ring == NULL ? -ERR_NOMEM : 0;
}

void journal_names_close(struct journal *j)
{
	free(j->names.ring);
	j->names.ring = NULL;
}

static uint64_t *name_at(const struct journal *j, uint64_t n)
{
	return &j->names.ring[n & j->names.mask];
}

static uint64_t names_room(const struct journal *j)
{
	return j->names.mask + 1 - (j->names.tail - j->names.head);
}

/* --- choosing --- */

uint32_t journal_chunks_want(const struct journal *j, const struct record *rec)
{
	struct record_runs runs;
	uint64_t need;

	if (rec->view.type != RECORD_WRITE || rec->view.payload_blocks < CHUNKS_MIN * CHUNK_BLOCKS)
		return 0;
	record_runs(rec->head->data, &rec->view, &runs);
	if (runs.chunks < CHUNKS_MIN || record_runs_gaps(&runs, &rec->view) + 1 > JOURNAL_PIECES ||
	    runs.chunks > names_room(j))
		return 0;
	need = j->o.disk->bytes / ROOM_SHARE + (uint64_t)runs.chunks * CHUNK_BYTES;
	return space_free_bytes(j->o.space) >= need ? runs.chunks : 0;
}

void journal_chunks_take(struct journal *j, struct jpending *p, uint32_t want)
{
	uint32_t n = 0;

	assert(want <= RECORD_CHUNKS_MAX && want <= names_room(j) && p->chunks.count == 0);
	while (n < want && space_chunk_name(j->o.space, &p->chunks.at[n]) == 0)
		n++;
	if (n < want) {
		while (n > 0) /* nothing was written, nobody knows them */
			space_chunk_unname(j->o.space, p->chunks.at[--n]);
		return;
	}
	p->chunks.count = p->chunks_left = want;
	for (uint32_t i = 0; i < want; i++)
		*name_at(j, j->names.tail++) = p->chunks.at[i]; /* JC2 */
}

static int ring_grow(struct journal *j)
{
	uint64_t mask = j->names.mask * 2 + 1;
	uint64_t *ring = calloc(mask + 1, sizeof(*ring));

	if (ring == NULL)
		return -ERR_NOMEM;
	for (uint64_t n = j->names.head; n < j->names.tail; n++)
		ring[n & mask] = *name_at(j, n);
	free(j->names.ring);
	j->names.ring = ring;
	j->names.mask = mask;
	return 0;
}

int journal_names_recover(struct journal *j, const struct record_chunks *chunks)
{
	if (chunks->count > names_room(j)) {
		int rc = ring_grow(j);

		if (rc < 0)
			return rc;
	}
	for (uint32_t i = 0; i < chunks->count; i++) {
		bool forget = j->o.mutant == STORE_MUTANT_FORGET_NAMES;
		int rc = forget ? 0 : space_chunk_name_again(j->o.space, chunks->at[i]);

		if (rc < 0)
			return rc;
		*name_at(j, j->names.tail++) = forget ? CHUNK_NONE : chunks->at[i];
	}
	return 0;
}

/* --- writing --- */

bool journal_chunks_busy(const struct journal *j)
{
	for (uint32_t i = 0; i < JOURNAL_CHUNK_WRITES; i++) {
		if (j->chunk_writes[i].chunks > 0)
			return true;
	}
	return false;
}

bool journal_chunks_ready(const struct journal *j, uint64_t n)
{
	return journal_pending(j, n)->chunks_left == 0 ||
	       j->o.mutant == STORE_MUTANT_HEADER_BEFORE_DATA;
}

static bool reap(struct journal *j)
{
	bool moved = false;

	for (uint32_t i = 0; i < JOURNAL_CHUNK_WRITES; i++) {
		struct jchunk_write *w = &j->chunk_writes[i];

		if (w->chunks == 0 || (j->op.waits & JOURNAL_WAIT_CHUNK(i)) != 0)
			continue;
		if (w->req.done.rc < 0 && !j->failed)
			store_fail(j->o.s, w->req.done.rc, "write of a chunk for the journal");
		if (w->req.done.rc == 0) {
			struct jpending *p = journal_pending(j, w->at);

			assert(p->chunks_left >= w->chunks ||
			       j->o.mutant == STORE_MUTANT_HEADER_BEFORE_DATA);
			p->chunks_left -= w->chunks < p->chunks_left ? w->chunks : p->chunks_left;
		}
		w->chunks = 0;
		j->writes_ended++;
		record_unref(&w->rec);
		moved = true;
	}
	return moved;
}

/* The payload block with which whole chunk `chunk` begins. */
static uint32_t chunk_block(const struct record_runs *runs, uint32_t chunk)
{
	for (uint32_t i = 0; i < runs->count; i++) {
		const struct record_run *r = &runs->runs[i];

		if (chunk < r->chunk + r->chunks)
			return r->payload_block + (chunk - r->chunk) * CHUNK_BLOCKS;
	}
	UNREACHABLE("a record names as many chunks as it has");
}

/* One request of chunks that lie side by side, of the record at chunk_at from chunk_next on. */
static void fill(struct journal *j, struct jchunk_write *w, const struct jpending *p)
{
	struct disk_req *q = &w->req;
	struct record_runs runs;

	record_runs(p->rec->head->data, &p->view, &runs);
	assert(record_chunks_fit(&runs, &p->chunks));
	w->rec = record_ref(p->rec);
	w->at = j->chunk_at;
	q->kind = DISK_WRITE;
	q->flags = DISK_FUA; /* JC1 */
	q->off = p->chunks.at[j->chunk_next];
	q->bytes = 0;
	q->iov = w->iov;
	q->iov_count = 0;
	for (; j->chunk_next < p->chunks.count; j->chunk_next++) {
		uint32_t n;

		if (p->chunks.at[j->chunk_next] != q->off + q->bytes ||
		    q->iov_count + CHUNK_BLOCKS > DISK_IOV_MAX)
			break;
		n = record_payload_iov(p->rec, chunk_block(&runs, j->chunk_next), CHUNK_BLOCKS,
				       w->iov + q->iov_count);
		q->iov_count += n;
		q->bytes += CHUNK_BYTES;
		w->chunks++;
	}
	assert(w->chunks > 0);
}

static bool submit(struct journal *j, uint32_t i)
{
	struct jchunk_write *w = &j->chunk_writes[i];

	while (j->chunk_at < j->queue_tail) {
		const struct jpending *p = journal_pending(j, j->chunk_at);

		if (j->chunk_next < p->chunks.count) {
			fill(j, w, p);
			if (j->o.env->counters != NULL)
				counter_add(j->o.env->counters, CTR_CHUNK_BYTES, w->req.bytes);
			completion_arm(&w->req.done, &j->op, JOURNAL_WAIT_CHUNK(i));
			disk_submit(j->o.disk, &w->req);
			return true;
		}
		j->chunk_at++;
		j->chunk_next = 0;
	}
	return false;
}

bool journal_chunks_step(struct journal *j)
{
	bool moved = reap(j);

	for (uint32_t i = 0; i < JOURNAL_CHUNK_WRITES && !j->failed; i++) {
		if (j->chunk_writes[i].chunks == 0 && !submit(j, i))
			break;
	}
	return moved;
}

/* --- letting go --- */

static void let_go(struct journal *j, uint64_t n)
{
	uint64_t *chunk = name_at(j, n);

	if (*chunk != CHUNK_NONE)
		space_chunk_unname(j->o.space, *chunk);
	*chunk = CHUNK_NONE;
}

void journal_names_cut(struct journal *j, uint64_t count)
{
	assert(j->names.cut_from == j->names.cut_end);
	assert(count <= j->names.tail - j->names.head);
	j->names.cut_end = j->names.tail;
	j->names.cut_from = j->names.tail - count;
}

void journal_names_cut_durable(struct journal *j)
{
	for (uint64_t n = j->names.cut_from; n < j->names.cut_end; n++) {
		if (n >= j->names.head)
			let_go(j, n); /* JC3 */
	}
	j->names.cut_from = j->names.cut_end = 0;
}

void journal_names_trim(struct journal *j, uint64_t upto)
{
	assert(upto <= j->names.tail);
	while (j->names.head < upto)
		let_go(j, j->names.head++);
}
