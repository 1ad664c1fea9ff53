/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_recover.c
 *
 * Purpose.     Find the records that survive, from the root of the checkpoint on, reading little:
 *              headers of all segments, footers of sealed ones, whole only what is not sealed.
 * Invariants.  V1  The chain of segments is as long as headers carry the expected store, group,
 *                  sequence and link; what follows was never durably opened.
 *              V2  A segment's records end where any later segment begins, at the latest: a later
 *                  header with a smaller first LSN is a cut made by an earlier recovery or by
 *                  replica_cut.  What a segment claims to be durable counts up to there only.
 *              V3  fn is told records in order, without gap, each once.
 *              V4  Nothing is written: recovering twice gives the same.
 *              V5  Every chunk that a record in [trim, tail) names is named in space before anything can
 *                  be taken (O1), the ones below fold, too: peers and history still read them.  So a
 *                  sealed segment below fold is skipped only if its trailer says that it names none.
 *              V6  Chunks are not read here: they were durable before the header was written (JC1).  A
 *                  valid header whose chunk is damaged is a record with damaged content, as after a bit
 *                  flip in the payload of any old record; it is never a torn tail.
 * States.      HEADERS -> (TRAILER -> FOOTER | SCAN <-> LOOK)* -> END; one function per state.
 * Failure.     An unreadable header, or record at or beyond fold: -ERR_IO (to cut there could lose
 *              what was acknowledged); below fold it counts as damaged; an unreadable footer only makes
 *              its segment be scanned.
 * Limits.      One read in flight; one buffer of 4 MiB; look-ahead of LOOK_BYTES per segment, more
 *              than all writes in flight.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/env.h"
#include "engine/store/journal_rules.h"
#include "engine/store/journal_state.h"
#include "engine/store/store.h"

#define BUFFER_BYTES (SEGMENT_FOOTER_BYTES_MAX + 2 * BLOCK_BYTES)
#define SCAN_BYTES (2u << 20)
#define TRAILER_READ_BYTES (64u << 10)
#define LOOK_BYTES (8ull << 20)
#define WAIT_READ 1u

_Static_assert(LOOK_BYTES > JOURNAL_WRITES * JOURNAL_WRITE_SPAN_MAX, "all in flight");

enum recover_phase {
	RECOVER_HEADERS,
	RECOVER_SEGMENT,
	RECOVER_TRAILER,
	RECOVER_FOOTER,
	RECOVER_SCAN,
	RECOVER_LOOK,
	RECOVER_END,
};

struct recovery {
	struct op op;
	struct journal *j;
	enum recover_phase phase;
	struct disk_req req;
	uint8_t *buffer;
	uint64_t buffer_off, buffer_bytes; /* what of the disk it holds; 0 bytes: nothing */
	uint8_t scratch[RECORD_HEADER_BYTES];
	journal_recover_fn *fn;
	void *ctx;
	struct journal_recovery_result *result;
	struct completion *done;
	uint64_t fold;
	uint64_t root_known, root_tail_seq; /* durable_known of the root, and when it was made */
	uint64_t known;			    /* newest LSN known durable */
	uint64_t at;			    /* number of the segment */
	uint64_t pos, chain;		    /* next record */
	bool chain_any;			    /* after a skip: believe the next record's */
	bool looked;			    /* behind pos */
	uint64_t look_at; /* segment looked at; segment_tail is the reserved one */
	uint64_t look_off, look_end;
	struct segment_trailer trailer;
	uint32_t footer_guess; /* bytes of the last footer: the next is likely alike */
	int rc;
};

static void recover_step(struct op *op);

static void move(struct recovery *v, enum recover_phase phase)
{
	v->phase = phase;
}

static void finish(struct recovery *v, int rc)
{
	v->rc = rc;
	move(v, RECOVER_END);
}

static void load(struct recovery *v, uint64_t off, uint64_t bytes)
{
	assert(bytes > 0 && bytes <= BUFFER_BYTES && off + bytes <= v->j->o.disk->bytes);
	v->buffer_off = off;
	v->buffer_bytes = bytes;
	v->result->read_bytes += bytes;
	completion_arm(&v->req.done, &v->op, WAIT_READ);
	disk_io(v->j->o.disk, &v->req, DISK_READ, 0, off, v->buffer, bytes);
}

/* Like load, but keeps what the buffer has from off on: a scan reads nothing twice. */
static void load_more(struct recovery *v, uint64_t off, uint64_t end)
{
	uint64_t have = 0, bytes;

	if (off >= v->buffer_off && off < v->buffer_off + v->buffer_bytes)
		have = v->buffer_off + v->buffer_bytes - off;
	if (have > SCAN_BYTES)
		have = 0;
	memmove(v->buffer, v->buffer + (have > 0 ? off - v->buffer_off : 0), have);
	bytes = end - off - have < SCAN_BYTES ? end - off - have : SCAN_BYTES;
	assert(bytes > 0 && have + bytes <= BUFFER_BYTES && end <= v->j->o.disk->bytes);
	v->buffer_off = off;
	v->buffer_bytes = have + bytes;
	v->result->read_bytes += bytes;
	completion_arm(&v->req.done, &v->op, WAIT_READ);
	disk_io(v->j->o.disk, &v->req, DISK_READ, 0, off + have, v->buffer + have, bytes);
}

/* The bytes [off, off + bytes) if they are in the buffer; NULL. */
static const uint8_t *loaded(const struct recovery *v, uint64_t off, uint64_t bytes)
{
	if (off < v->buffer_off || off + bytes > v->buffer_off + v->buffer_bytes)
		return NULL;
	return v->buffer + (off - v->buffer_off);
}

static uint64_t segment_off(const struct recovery *v, const struct jsegment *s)
{
	return space_segment_off(v->j->o.space, s->id);
}

static void know(struct recovery *v, uint64_t lsn, uint64_t limit)
{
	uint64_t x = lsn < limit ? lsn : limit; /* V2 */

	v->known = x > v->known ? x : v->known;
}

/* --- HEADERS --- */

static int mark_reserved(struct journal *j)
{
	if (j->next_id >= j->o.disk->bytes / j->segment_bytes)
		return -ERR_CORRUPT;
	return space_segment_mark_journal(j->o.space, j->next_id);
}

static bool header_fits(const struct journal *j, const struct segment_header *h)
{
	bool is_root = j->segment_tail == j->segment_head;

	if (!uuid_equal(&h->store, &j->o.store) || !uuid_equal(&h->group, &j->o.group) ||
	    h->seq != j->next_seq || h->link != j->next_link)
		return false; /* V1 */
	return !is_root || (h->first.v == j->tail && h->chain_before == j->tail_chain);
}

/* The header of the reserved segment is loaded: does the chain go on there? */
static bool header_take(struct recovery *v)
{
	struct journal *j = v->j;
	struct segment_header h;
	struct jsegment s = {0};

	if (segment_header_decode(v->buffer, &h) < 0 || !header_fits(j, &h) ||
	    j->segment_tail - j->segment_head > j->segment_mask)
		return false;
	s.id = j->next_id;
	s.seq = h.seq;
	s.link = h.link;
	s.salt = h.salt;
	s.next = h.next;
	s.next_link = h.next_link;
	s.first = h.first.v;
	s.chain_before = h.chain_before;
	s.low = h.durable.v; /* kept here until limits_compute */
	*journal_segment(j, j->segment_tail++) = s;
	j->next_id = h.next;
	j->next_seq = h.seq + 1;
	j->next_link = h.next_link;
	return true;
}

/* All headers are known: where each segment's records end (V2), and what the headers know. */
static void limits_compute(struct recovery *v)
{
	struct journal *j = v->j;
	uint64_t limit = UINT64_MAX, root_limit = UINT64_MAX;

	for (uint64_t n = j->segment_tail; n-- > j->segment_head;) {
		struct jsegment *s = journal_segment(j, n);

		know(v, s->low, limit);
		if (s->seq > v->root_tail_seq)
			root_limit = s->first < root_limit ? s->first : root_limit;
		s->low = s->first < limit ? s->first : limit;
		s->end = limit;
		limit = s->low;
	}
	know(v, v->root_known, root_limit);
}

static void step_headers(struct recovery *v)
{
	struct journal *j = v->j;

	if (v->buffer_bytes > 0) {
		v->buffer_bytes = 0;
		if (v->req.done.rc < 0) {
			finish(v, -ERR_IO);
			return;
		}
		if (!header_take(v)) {
			limits_compute(v);
			v->at = j->segment_head;
			v->pos = j->tail;
			v->chain = j->tail_chain;
			move(v, RECOVER_SEGMENT);
			return;
		}
	}
	v->rc = mark_reserved(j);
	if (v->rc < 0)
		finish(v, -ERR_CORRUPT);
	else
		load(v, space_segment_off(j->o.space, j->next_id), BLOCK_BYTES);
}

/* --- SEGMENT: enter the one at v->at, skip it, or the end --- */

static void stop(struct recovery *v, bool hole);

/* Everything of s is in home and the next segment tells the chain after it: only its names count. */
static bool segment_is_skippable(const struct recovery *v, const struct jsegment *s)
{
	const struct jsegment *next = journal_segment(v->j, v->at + 1);

	return v->at + 1 < v->j->segment_tail && s->end <= v->fold && next->first == s->end &&
	       next->low < next->end;
}

static void step_segment(struct recovery *v)
{
	struct journal *j = v->j;
	struct jsegment *s;
	uint64_t guess;

	v->looked = false;
	if (v->at ==
	    j->segment_tail) { /* nothing was ever opened, or the last was left at its limit */
		move(v, RECOVER_SCAN);
		return;
	}
	s = journal_segment(j, v->at);
	if (s->low == s->end && s->low <= v->pos) { /* V2: cut away as a whole */
		v->at++;
		return;
	}
	if (s->first != v->pos || s->chain_before != v->chain) {
		move(v, RECOVER_SCAN); /* decides: nothing continues the chain here */
		return;
	}
	move(v, RECOVER_TRAILER);
	guess = segment_is_skippable(v, s) ? BLOCK_BYTES : v->footer_guess;
	load(v, segment_off(v, s) + j->segment_bytes - guess, guess);
}

/* --- TRAILER and FOOTER --- */

static uint32_t padded(uint32_t bytes)
{
	return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static bool trailer_fits(const struct recovery *v, const struct jsegment *s)
{
	const struct segment_trailer *t = &v->trailer;

	return t->seq == s->seq && t->salt == s->salt && t->first.v == s->first &&
	       t->entries_bytes <= v->j->footer_max &&
	       t->end.v - t->first.v + padded(t->entries_bytes) + 2 * BLOCK_BYTES <=
		       v->j->segment_bytes;
}

static void step_trailer(struct recovery *v)
{
	struct jsegment *s = journal_segment(v->j, v->at);
	uint64_t end = segment_off(v, s) + v->j->segment_bytes;

	if (v->req.done.rc < 0)
		v->buffer_bytes = 0;
	if (v->buffer_bytes == 0 ||
	    segment_trailer_decode(v->buffer + v->buffer_bytes - BLOCK_BYTES, &v->trailer) < 0 ||
	    !trailer_fits(v, s)) {
		move(v, RECOVER_SCAN);
		return;
	}
	if (v->trailer.chunk_count == 0 && segment_is_skippable(v, s)) { /* V5 */
		v->buffer_bytes = 0;
		v->pos = s->end;
		v->chain = journal_segment(v->j, v->at + 1)->chain_before;
		v->at++;
		move(v, RECOVER_SEGMENT);
		return;
	}
	move(v, RECOVER_FOOTER);
	if (loaded(v, end - BLOCK_BYTES - padded(v->trailer.entries_bytes), BLOCK_BYTES) == NULL)
		load(v, end - BLOCK_BYTES - padded(v->trailer.entries_bytes),
		     padded(v->trailer.entries_bytes) + BLOCK_BYTES);
	else
		v->req.done.rc = 0;
}

static int tell(struct recovery *v, const struct record_view *view, const uint8_t *header,
		const struct record_chunks *chunks)
{
	struct jsegment *s = journal_segment(v->j, v->at);
	struct journal_place place = {
		.off = segment_off(v, s) + BLOCK_BYTES + (view->begin.v - s->first),
		.chunks = *chunks,
	};
	int rc = journal_names_recover(v->j, chunks); /* V5 */

	if (rc < 0)
		return rc;
	s->named_end = v->j->names.tail;
	assert(view->begin.v == v->pos); /* V3 */
	rc = v->fn(v->ctx, view, header, &place);
	v->pos = view->end.v;
	v->chain = view->chain;
	v->chain_any = false;
	v->looked = false;
	return rc;
}

/* Tell every record of a valid footer; its trailer proves them durable (W4). */
static int footer_tell(struct recovery *v, const uint8_t *entries)
{
	struct jsegment *s = journal_segment(v->j, v->at);
	const uint8_t *at = entries, *end = entries + v->trailer.entries_bytes;
	struct footer_state state = {
		.group = v->j->o.group, .lsn = {s->first}, .chain = s->chain_before};

	for (uint32_t i = 0; i < v->trailer.record_count && v->pos < s->end; i++) {
		struct footer_entry e;
		int rc = footer_entry_get(at, end, &state, v->scratch, &e);

		if (rc < 0)
			return rc;
		if (e.view.end.v > s->end)
			return -ERR_CORRUPT;
		rc = tell(v, &e.view, v->scratch, &e.chunks);
		if (rc < 0)
			return rc;
		at += e.bytes;
	}
	if (v->pos == v->trailer.end.v && v->chain != v->trailer.end_chain)
		return -ERR_CORRUPT;
	return 0;
}

static void step_footer(struct recovery *v)
{
	struct jsegment *s = journal_segment(v->j, v->at);
	uint32_t bytes = padded(v->trailer.entries_bytes);
	uint64_t off = segment_off(v, s) + v->j->segment_bytes - BLOCK_BYTES - bytes;
	const uint8_t *entries = bytes > 0 ? loaded(v, off, bytes) : v->buffer;

	if (v->req.done.rc < 0 || entries == NULL ||
	    crc64(0, entries, bytes) != v->trailer.entries_crc) {
		v->buffer_bytes = 0;
		move(v, RECOVER_SCAN);
		return;
	}
	know(v, v->trailer.end.v, s->end);
	v->footer_guess = bytes + bytes / 16 / BLOCK_BYTES * BLOCK_BYTES + 2 * BLOCK_BYTES;
	if (v->footer_guess < TRAILER_READ_BYTES)
		v->footer_guess = TRAILER_READ_BYTES;
	if (v->footer_guess > v->j->footer_max)
		v->footer_guess = v->j->footer_max;
	v->rc = footer_tell(v, entries);
	v->buffer_bytes = 0;
	if (v->rc < 0)
		finish(v, v->rc);
	else
		move(v, RECOVER_SCAN); /* decides whether the next segment follows */
}

/* --- SCAN: record by record --- */

/* A record found by scanning. */
struct scanned {
	struct record_view view;
	struct record_local local;
	struct record_runs runs;
};

/* Is the header at `at` a record of segment s at `block`? */
static bool record_is_of(const struct journal *j, const uint8_t *at, uint64_t seq, uint64_t salt,
			 uint64_t block, struct scanned *r)
{
	if (record_decode(at, RECORD_LOGICAL_BYTES_MAX, &r->view) < 0 ||
	    record_decode_local(at, &r->local) < 0 || r->local.segment_seq != seq ||
	    r->local.segment_salt != salt || r->local.segment_block != block ||
	    !uuid_equal(&r->view.group, &j->o.group))
		return false;
	record_runs(at, &r->view, &r->runs);
	return record_chunks_fit(&r->runs, &r->local.chunks);
}

/* Walk over the payload in place: its end (bytes from the header on); when `header` has it all, whether
 * its checksums agree.  V6 */
static uint64_t payload_in_place(const struct scanned *r, const uint8_t *header, bool *ret_good)
{
	uint64_t end = RECORD_HEADER_BYTES;
	uint32_t n;

	for (uint32_t i = 0; i < r->view.payload_blocks; i += n) {
		uint64_t off = record_block_off(&r->runs, &r->local.chunks, 0, i,
						r->view.payload_blocks, &n);

		if (r->local.chunks.count > 0 && off != (uint64_t)(1 + i) * BLOCK_BYTES)
			continue;
		end = off + (uint64_t)n * BLOCK_BYTES;
		for (uint32_t k = i; ret_good != NULL && k < i + n; k++)
			*ret_good &= crc32c(header + (size_t)(1 + k) * BLOCK_BYTES, BLOCK_BYTES) ==
				     record_crc_at(header, &r->view, k);
	}
	return end;
}

static bool chain_fits(const struct recovery *v, const struct record_view *view)
{
	return view->prev_chain == v->chain || v->chain_any ||
	       v->j->o.mutant == STORE_MUTANT_SKIP_CHAIN_CHECK;
}

/* What is at v->pos?  False: a read was started, ask again. */
static bool facts_gather(struct recovery *v, struct journal_facts *f, struct scanned *r,
			 const uint8_t **ret_header)
{
	struct jsegment *s = v->at < v->j->segment_tail ? journal_segment(v->j, v->at) : NULL;
	uint64_t off, end, want = RECORD_HEADER_BYTES;
	const uint8_t *at;

	*f = (struct journal_facts){.below_fold = v->pos < v->fold, .looked = v->looked};
	f->known = v->pos < v->known ? KNOWN_INSIDE : KNOWN_BEFORE;
	if (s == NULL || v->pos < s->first || v->pos < s->low)
		return true;
	f->at_limit = v->pos == s->end;
	if (f->at_limit)
		return true;
	off = segment_off(v, s) + BLOCK_BYTES + (v->pos - s->first);
	end = segment_off(v, s) + v->j->segment_bytes;
	for (;;) {
		if (off + want > end)
			return true;
		at = loaded(v, off, want);
		if (at == NULL) {
			load_more(v, off, end);
			return false;
		}
		if (!record_is_of(v->j, at, s->seq, s->salt,
				  (off - segment_off(v, s)) / BLOCK_BYTES, r) ||
		    r->view.begin.v != v->pos || r->view.end.v > s->end ||
		    off + (r->view.end.v - v->pos) > end || !chain_fits(v, &r->view))
			return true;
		if (want == payload_in_place(r, NULL, NULL))
			break;
		want = payload_in_place(r, NULL, NULL);
	}
	f->header_ok = true;
	f->payload_ok = true;
	(void)payload_in_place(r, at, &f->payload_ok);
	if (v->known >= r->view.end.v)
		f->known = KNOWN_BEYOND;
	know(v, r->local.durable.v, v->pos);
	*ret_header = at;
	return true;
}

/* Damaged below fold: home has the content; go on at fold, or in the segment that holds it. */
static void skip_to_fold(struct recovery *v)
{
	struct journal *j = v->j;
	uint64_t n = v->at;

	while (n < j->segment_tail && journal_segment(j, n)->end <= v->fold)
		n++;
	if (n == j->segment_tail) { /* nothing is left, and the chain at fold is lost */
		for (uint64_t i = j->segment_head; i < n; i++)
			journal_segment(j, i)->low = journal_segment(j, i)->end = v->fold;
		v->pos = v->fold;
		stop(v, true);
		return;
	}
	log_warn(j->o.env->log, "store",
		 "journal of a group is damaged at LSN %" PRIu64
		 ", below what was folded: going on",
		 v->pos);
	if (n > v->at && journal_segment(j, n)->first > v->pos &&
	    journal_segment(j, n)->first <= v->fold) {
		v->pos = journal_segment(j, n)->first;
		v->chain = journal_segment(j, n)->chain_before;
		move(v, RECOVER_SEGMENT);
	} else {
		v->pos = v->fold;
		v->chain_any = true; /* the record at fold tells it */
		v->looked = false;
	}
	for (uint64_t i = j->segment_head; i <= n; i++) {
		struct jsegment *s = journal_segment(j, i);

		s->low = v->pos;
		s->end = i < n ? v->pos : s->end;
	}
	v->at = n;
}

static void look_begin(struct recovery *v)
{
	v->look_at = v->at;
	v->look_end = 0;
	move(v, RECOVER_LOOK);
}

static void step_scan(struct recovery *v)
{
	struct journal_facts f;
	struct scanned r;
	const uint8_t *header = NULL;

	if (v->buffer_bytes > 0 && v->req.done.rc < 0) {
		v->buffer_bytes = 0;
		v->req.done.rc = 0;
		if (v->pos < v->fold)
			skip_to_fold(v);
		else
			finish(v, -ERR_IO);
		return;
	}
	if (!facts_gather(v, &f, &r, &header))
		return;
	switch (journal_decide(&f)) {
	case VERDICT_NEXT:
		v->at++;
		v->buffer_bytes = 0;
		move(v, RECOVER_SEGMENT);
		break;
	case VERDICT_TAKE:
		if (!f.payload_ok)
			log_warn(v->j->o.env->log, "store",
				 "journal record at LSN %" PRIu64
				 " has damaged content: reads of it fail",
				 v->pos);
		v->rc = tell(v, &r.view, header, &r.local.chunks);
		if (v->rc < 0)
			finish(v, v->rc);
		break;
	case VERDICT_SKIP:
		skip_to_fold(v);
		break;
	case VERDICT_LOOK:
		look_begin(v);
		break;
	case VERDICT_HOLE:
		stop(v, true);
		break;
	case VERDICT_CUT:
		stop(v, false);
		break;
	}
}

/* --- LOOK: search behind pos for blocks that know more --- */

/* The identity of the segment looked at; false when it has no records that count. */
static bool look_segment(const struct recovery *v, uint64_t *ret_seq, uint64_t *ret_salt,
			 uint64_t *ret_off, uint64_t *ret_limit)
{
	const struct journal *j = v->j;
	const struct jsegment *s = journal_segment(j, v->look_at);

	if (v->look_at ==
	    j->segment_tail) { /* its header was torn; its records, if any, name the link */
		*ret_seq = j->next_seq;
		*ret_salt = j->next_link;
		*ret_off = space_segment_off(j->o.space, j->next_id);
		*ret_limit = UINT64_MAX;
		return true;
	}
	*ret_seq = s->seq;
	*ret_salt = s->salt;
	*ret_off = segment_off(v, s);
	*ret_limit = s->end;
	return s->low < s->end;
}

static void look_block(struct recovery *v, const uint8_t *at, uint64_t seq, uint64_t salt,
		       uint64_t block, uint64_t limit)
{
	struct segment_trailer t;
	struct scanned r;

	if (record_is_of(v->j, at, seq, salt, block, &r))
		know(v, r.local.durable.v, limit);
	else if (segment_trailer_decode(at, &t) == 0 && t.seq == seq && t.salt == salt)
		know(v, t.end.v, limit);
}

static void step_look(struct recovery *v)
{
	uint64_t seq, salt, off, limit, pos_off;
	bool counts;

	if (v->buffer_bytes > 0 && v->look_end != 0 && v->req.done.rc < 0) {
		finish(v, -ERR_IO);
		return;
	}
	if (v->look_at > v->j->segment_tail) {
		v->looked = true;
		v->buffer_bytes = 0;
		move(v, RECOVER_SCAN);
		return;
	}
	counts = look_segment(v, &seq, &salt, &off, &limit);
	if (v->look_end != 0) { /* what was asked for is here */
		for (uint64_t i = 0; i < v->buffer_bytes; i += BLOCK_BYTES)
			look_block(v, v->buffer + i, seq, salt,
				   (v->buffer_off + i - off) / BLOCK_BYTES, limit);
		v->look_off = v->buffer_off + v->buffer_bytes;
	} else {
		const struct jsegment *s = journal_segment(v->j, v->look_at);

		pos_off = off + BLOCK_BYTES;
		if (v->look_at == v->at && v->at < v->j->segment_tail && v->pos >= s->first)
			pos_off += v->pos - s->first;
		v->look_off = pos_off;
		v->look_end = pos_off + LOOK_BYTES;
		if (v->look_end > off + v->j->segment_bytes)
			v->look_end = off + v->j->segment_bytes;
	}
	if (!counts || v->look_off >= v->look_end || v->known > v->pos) {
		v->look_at = v->known > v->pos ? v->j->segment_tail + 1 : v->look_at + 1;
		v->look_end = 0;
		v->buffer_bytes = 0;
		return;
	}
	load(v, v->look_off,
	     v->look_end - v->look_off < SCAN_BYTES ? v->look_end - v->look_off : SCAN_BYTES);
}

/* --- END --- */

/* The journal ends at pos. */
static void stop(struct recovery *v, bool hole)
{
	struct journal *j = v->j;

	hole |= v->chain_any; /* nothing at fold tells the chain: nothing can continue it */
	if (hole) {
		log_error(j->o.env->log, "store",
			  "journal of a group is damaged at LSN %" PRIu64 " although LSN %" PRIu64
			  " was durable: the group opens read-only up to the damage",
			  v->pos, v->known);
		j->hole = true;
	}
	v->result->has_hole = hole;
	v->result->known = (struct lsn){v->known};
	for (uint64_t n = j->segment_head; n < j->segment_tail; n++) {
		struct jsegment *s = journal_segment(j, n);

		s->low = s->low < v->pos ? s->low : v->pos;
		s->end = s->end < v->pos ? s->end : v->pos;
	}
	j->tail = j->durable = v->pos;
	j->tail_chain = v->chain;
	j->tail_open = false;
	finish(v, 0);
}

void journal_recovery_unqueue(struct journal *j)
{
	if (j->recovery != NULL)
		op_unqueue(&j->recovery->op);
}

void journal_recovery_free(struct journal *j)
{
	struct recovery *v = j->recovery;

	j->recovery = NULL;
	if (v == NULL)
		return;
	free(v->buffer);
	free(v);
}

static void recover_step(struct op *op)
{
	struct recovery *v = container_of(op, struct recovery, op);

	while (op->waits == 0) {
		switch (v->phase) {
		case RECOVER_HEADERS:
			step_headers(v);
			continue;
		case RECOVER_SEGMENT:
			step_segment(v);
			continue;
		case RECOVER_TRAILER:
			step_trailer(v);
			continue;
		case RECOVER_FOOTER:
			step_footer(v);
			continue;
		case RECOVER_SCAN:
			step_scan(v);
			continue;
		case RECOVER_LOOK:
			step_look(v);
			continue;
		case RECOVER_END: {
			struct completion *done = v->done;
			struct journal *j = v->j;
			int rc = v->rc;

			journal_recovery_free(j);
			completion_fire(done, rc);
			return;
		}
		}
	}
	/* wait: a read */
}

void journal_recover(struct journal *j, struct lsn fold, struct lsn durable_known,
		     journal_recover_fn *fn, void *ctx, struct journal_recovery_result *ret_result,
		     struct completion *done)
{
	struct recovery *v = calloc(1, sizeof(*v));

	*ret_result = (struct journal_recovery_result){0};
	if (v != NULL)
		v->buffer = aligned_alloc(BLOCK_BYTES, BUFFER_BYTES);
	if (v == NULL || v->buffer == NULL) {
		free(v);
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	op_init(&v->op, j->o.env->ready, recover_step);
	j->recovery = v;
	v->j = j;
	v->fn = fn;
	v->ctx = ctx;
	v->result = ret_result;
	v->done = done;
	v->fold = v->known = fold.v;
	v->root_known = durable_known.v;
	v->footer_guess = TRAILER_READ_BYTES;
	v->root_tail_seq = j->recover_tail_seq;
	op_wake(&v->op);
}
