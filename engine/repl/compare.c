/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/compare.c
 * Purpose.     The source's side of a resync by comparison: answers what the follower (walk.c) asks about
 *              the group's content, and sends the blocks it wants, while writes go on.
 * Invariants.  A1  Every answer is of what was committed when the question came, or later: it was read
 *                  after that.
 *              A2  A digest of a page is told only from the time on when everything below the base's LSN s
 *                  was folded, so that a page can differ from the content at s only in blocks that records
 *                  from s on have written.  Where it cannot be folded no digest is told.
 *              A3  BASE_END goes out when the follower has asked for the end and all its questions are
 *                  answered, with the commit LSN of then (E of S4 in source.c).
 * States.      of a question: FREE -> ASKED (until A2) -> QUERY -> TELL -> FREE          [page, sums]
 *              ASKED -> NEXT -> READ -> NEXT ... -> TELL -> FREE                        [hash]
 *              ASKED -> NEXT -> READ -> SEND -> NEXT ... -> TELL -> FREE                [blocks]
 *              ASKED -> END (the others are FREE) -> FREE                               [end]
 * Ownership.   A slot holds one buf from its read until its frame is queued or its sum taken.
 * Failure.     A volume that is gone is told as such: the records that deleted it are streamed.  Any
 *              other read error fails the source: a block that is bad here is repaired first.
 * Limits.      FRAME_COMPARE_ASKS_MAX questions; COMPARE_READS reads of up to 1 MiB.  What is sent is
 *              bounded by what the follower asks for, which has a window (walk.c).
 */
#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/repl/source.h"

#define BIT_FOLD 1u
#define BIT_TIMER 2u
#define BIT_SLOT 1u
#define COMPARE_READS 4u
#define BUF_RESERVE 2u /* bufs of a class left to those who answer clients */
#define RETRY_NS (5 * MS_NS)

_Static_assert(FRAME_COMPARE_CHILDREN == REPLICA_PAGE_CHILDREN, "children of a page");
_Static_assert(FRAME_COMPARE_LEVELS_MAX == REPLICA_LEVELS_MAX, "levels of a tree");

enum slot_phase {
	SLOT_FREE,
	SLOT_ASKED,
	SLOT_QUERY,
	SLOT_NEXT,
	SLOT_READ,
	SLOT_SEND,
	SLOT_END,
	SLOT_TELL,
};

struct compare_slot {
	struct op op;
	struct compare *compare;
	enum slot_phase phase;
	bool again; /* there was no memory for a page */
	struct frame_compare_ask ask;
	struct replica_page page;
	struct replica_sums sums;
	struct replica_read read;
	struct buf *buf;
	uint32_t crcs[FRAME_BASE_BLOCKS_MAX];
	uint32_t next;	 /* block of the leaf to look at */
	uint64_t number; /* told at the end: hash, or blocks sent */
	int rc;
};

struct compare {
	struct repl_source *source;
	struct env *env;
	struct op op;
	bool stopped;
	bool folding;
	bool blind; /* A2: could not be folded */
	struct completion folded;
	uint32_t reading;
	uint64_t sent_bytes; /* of blocks */
	bool end_sent;
	/* how far the follower has come, in blocks of the volumes in order: for the estimate */
	uint64_t at, blocks;
	struct frame_compare_told told; /* scratch */
	uint8_t head[FRAME_COMPARE_TOLD_BYTES_MAX];
	struct timer timer;
	bool timer_running;
	struct compare_slot slots[FRAME_COMPARE_ASKS_MAX];
};

static void compare_step(struct op *op);
static void compare_slot_step(struct op *op);
static bool slot_run(struct compare *c, struct compare_slot *slot);
static bool slot_begin(struct compare *c, struct compare_slot *slot);
static void slot_query_done(struct compare *c, struct compare_slot *slot);
static bool slot_next(struct compare *c, struct compare_slot *slot);
static void slot_read_done(struct compare *c, struct compare_slot *slot);
static bool slot_send(struct compare *c, struct compare_slot *slot);
static bool slot_end(struct compare *c, struct compare_slot *slot);
static bool slot_tell(struct compare *c, struct compare_slot *slot);
static void compare_retry(struct compare *c);

int compare_open(struct repl_source *s, struct compare **ret_compare)
{
	struct compare *c = calloc(1, sizeof(*c));
	struct replica_status st;

	if (c == NULL)
		return -ERR_NOMEM;
	c->source = s;
	c->env = s->env;
	op_init(&c->op, s->env->ready, compare_step);
	for (uint32_t i = 0; i < FRAME_COMPARE_ASKS_MAX; i++) {
		c->slots[i].compare = c;
		op_init(&c->slots[i].op, s->env->ready, compare_slot_step);
	}
	for (uint32_t i = 0; i < s->full->volume_count; i++)
		if (!s->full->volumes[i].deleted)
			c->blocks += s->full->volumes[i].bytes / BLOCK_BYTES;
	replica_status(s->replica, &st);
	if (st.fold.v < s->base_lsn.v) { /* A2 */
		c->folding = true;
		completion_arm(&c->folded, &c->op, BIT_FOLD);
		replica_fold(s->replica, &c->folded);
	}
	*ret_compare = c;
	return 0;
}

void compare_room(struct compare *c)
{
	op_wake(&c->op);
}

void compare_stop(struct compare *c)
{
	c->stopped = true;
	if (timer_armed(&c->timer))
		clock_timer_disarm(c->env->clock, &c->timer);
	op_wake(&c->op);
}

bool compare_is_idle(const struct compare *c)
{
	if (c->op.waits != 0)
		return false;
	for (uint32_t i = 0; i < FRAME_COMPARE_ASKS_MAX; i++)
		if (c->slots[i].op.waits != 0)
			return false;
	return true;
}

void compare_free(struct compare **compare)
{
	struct compare *c = *compare;

	*compare = NULL;
	if (c == NULL)
		return;
	assert(compare_is_idle(c));
	for (uint32_t i = 0; i < FRAME_COMPARE_ASKS_MAX; i++) {
		buf_unref(&c->slots[i].buf);
		op_unqueue(&c->slots[i].op);
	}
	op_unqueue(&c->op);
	free(c);
}

void compare_abandon(struct compare **c)
{
	free(*c);
	*c = NULL;
}

/* The part of the volumes that was not walked yet, at the rate of what was sent for the part that was. */
uint64_t compare_bytes_left(const struct compare *c)
{
	uint64_t left = c->at < c->blocks ? c->blocks - c->at : 0;
	uint64_t used = c->source->full->base_bytes;

	if (c->end_sent || c->blocks == 0)
		return 0;
	if (c->at < c->blocks / 64)
		return used / c->blocks * left; /* nothing is known yet */
	return (uint64_t)((double)c->sent_bytes / (double)c->at * (double)left);
}

double compare_part(const struct compare *c)
{
	return c->end_sent || c->blocks == 0 ? 1 : (double)c->at / (double)c->blocks;
}

/* Where in the volumes a question is. */
static void compare_progress(struct compare *c, const struct frame_compare_ask *ask)
{
	const struct frame_full *full = c->source->full;
	uint64_t at = 0;

	if (ask->kind != COMPARE_SUMS)
		return;
	for (uint32_t i = 0; i < full->volume_count && full->volumes[i].slot < ask->volume; i++)
		if (!full->volumes[i].deleted)
			at += full->volumes[i].bytes / BLOCK_BYTES;
	at += ask->index * LEAF_BLOCKS;
	if (at > c->at)
		c->at = at;
}

int compare_asked(struct compare *c, const struct conn_frame *f)
{
	struct compare_slot *slot = NULL;
	struct frame_compare_ask ask;

	if (frame_compare_ask_decode(f->head, f->h.head_bytes, &ask) < 0 || c->end_sent)
		return -ERR_PROTOCOL;
	for (uint32_t i = 0; i < FRAME_COMPARE_ASKS_MAX && slot == NULL; i++)
		if (c->slots[i].phase == SLOT_FREE)
			slot = &c->slots[i];
	if (slot == NULL)
		return -ERR_PROTOCOL;
	slot->ask = ask;
	slot->phase = SLOT_ASKED;
	slot->next = 0;
	slot->number = 0;
	slot->rc = 0;
	slot->again = false;
	compare_progress(c, &ask);
	op_wake(&c->op);
	return 0;
}

static void compare_slot_step(struct op *op)
{
	op_wake(&container_of(op, struct compare_slot, op)->compare->op);
}

static void compare_step(struct op *op)
{
	struct compare *c = container_of(op, struct compare, op);
	bool more = true;

	if ((op->waits & BIT_TIMER) == 0)
		c->timer_running = false;
	if (c->folding && (op->waits & BIT_FOLD) == 0) {
		c->folding = false;
		c->blind = c->folded.rc < 0;
		if (c->blind)
			log_warn(
				c->env->log, "repl",
				"comparing with %s without digests: the journal cannot be folded: %s",
				c->source->member.peer != NULL ? c->source->member.peer->opts.name
							       : "a peer",
				err_text(c->folded.rc));
	}
	while (more && !c->stopped) {
		more = false;
		for (uint32_t i = 0; i < FRAME_COMPARE_ASKS_MAX && !c->stopped; i++)
			more = slot_run(c, &c->slots[i]) || more;
	}
	if (c->stopped && compare_is_idle(c))
		op_wake(&c->source->op);
	/* wait: questions, reads, room, fold, the timer */
}

/* True: it got on. */
static bool slot_run(struct compare *c, struct compare_slot *slot)
{
	if (slot->op.waits != 0)
		return false;
	switch (slot->phase) {
	case SLOT_FREE:
		return false;
	case SLOT_ASKED:
		return slot_begin(c, slot);
	case SLOT_QUERY:
		slot_query_done(c, slot);
		return true;
	case SLOT_NEXT:
		return slot_next(c, slot);
	case SLOT_READ:
		slot_read_done(c, slot);
		return true;
	case SLOT_SEND:
		return slot_send(c, slot);
	case SLOT_END:
		return slot_end(c, slot);
	case SLOT_TELL:
		return slot_tell(c, slot);
	}
	UNREACHABLE("phase of a question");
}

static bool slot_begin(struct compare *c, struct compare_slot *slot)
{
	const struct frame_compare_ask *ask = &slot->ask;

	if (c->folding || (slot->again && c->timer_running))
		return false; /* wait: A2, or memory for pages */
	slot->again = false;
	slot->phase = SLOT_QUERY;
	switch (ask->kind) {
	case COMPARE_PAGE:
		slot->page = (struct replica_page){.volume = ask->volume,
						   .level = ask->level,
						   .index = ask->index,
						   .since = ask->since};
		completion_arm(&slot->page.done, &slot->op, BIT_SLOT);
		replica_page(c->source->replica, &slot->page);
		return true;
	case COMPARE_SUMS:
		slot->sums = (struct replica_sums){
			.volume = ask->volume, .leaf = ask->index, .since = ask->since};
		completion_arm(&slot->sums.done, &slot->op, BIT_SLOT);
		replica_sums(c->source->replica, &slot->sums);
		return true;
	case COMPARE_BLOCKS:
	case COMPARE_HASH:
		slot->phase = SLOT_NEXT;
		return true;
	case COMPARE_END:
		slot->phase = SLOT_END;
		return true;
	}
	UNREACHABLE("the decoder knows all kinds");
}

static bool compare_gone(int rc)
{
	return rc == -ERR_NOT_FOUND || rc == -ERR_RANGE;
}

/* 0, or what is told instead of an answer; other errors end the source. */
static int slot_rc(struct compare *c, int rc)
{
	if (rc < 0 && !compare_gone(rc) && rc != -ERR_INVALID)
		source_fail(c->source, rc, "reading what the follower asks about");
	return compare_gone(rc) ? -ERR_NOT_FOUND : rc;
}

static void slot_query_done(struct compare *c, struct compare_slot *slot)
{
	bool page = slot->ask.kind == COMPARE_PAGE;
	int rc = page ? slot->page.done.rc : slot->sums.done.rc;

	if (rc == -ERR_NOMEM) {
		slot->phase = SLOT_ASKED;
		slot->again = true; /* with the timer */
		compare_retry(c);
		return;
	}
	slot->rc = slot_rc(c, rc);
	slot->phase = SLOT_TELL;
}

static bool is_wanted(const struct compare_slot *slot, uint32_t block)
{
	return (slot->ask.blocks[block / 64] >> block % 64 & 1) != 0;
}

/* Read the next run that was asked for. */
static bool slot_next(struct compare *c, struct compare_slot *slot)
{
	static const uint32_t sizes[] = {FRAME_BASE_BLOCKS_MAX, CHUNK_BLOCKS, 1};
	uint32_t n = 0;

	while (slot->next < LEAF_BLOCKS && !is_wanted(slot, slot->next))
		slot->next++;
	if (slot->next == LEAF_BLOCKS) {
		slot->phase = SLOT_TELL;
		return true;
	}
	if (c->reading == COMPARE_READS)
		return false; /* wait: a read ends */
	while (n < FRAME_BASE_BLOCKS_MAX && slot->next + n < LEAF_BLOCKS &&
	       is_wanted(slot, slot->next + n))
		n++;
	for (uint32_t k = 0; k < ARRAY_COUNT(sizes) && slot->buf == NULL; k++) {
		n = n < sizes[k] ? n : sizes[k];
		slot->buf = buf_take_reserve(c->env->bufs, n * BLOCK_BYTES, BUF_RESERVE);
	}
	if (slot->buf == NULL) {
		compare_retry(c);
		return false; /* wait: a buf */
	}
	slot->read = (struct replica_read){.volume = slot->ask.volume,
					   .block = slot->ask.index * LEAF_BLOCKS + slot->next,
					   .count = n,
					   .data = slot->buf->data,
					   .crcs = slot->crcs};
	slot->next += n;
	slot->phase = SLOT_READ;
	c->reading++;
	completion_arm(&slot->read.done, &slot->op, BIT_SLOT);
	replica_read(c->source->replica, &slot->read);
	return true;
}

static void slot_read_done(struct compare *c, struct compare_slot *slot)
{
	uint32_t bytes = slot->read.count * BLOCK_BYTES;
	int rc = slot_rc(c, slot->read.done.rc);

	assert(c->reading > 0);
	c->reading--;
	if (rc < 0) {
		buf_unref(&slot->buf);
		slot->rc = rc;
		slot->phase = SLOT_TELL;
		return;
	}
	slot->phase = SLOT_SEND;
	if (slot->ask.kind == COMPARE_BLOCKS)
		return;
	slot->number = crc64(slot->number, slot->buf->data, bytes);
	buf_unref(&slot->buf);
	slot->phase = SLOT_NEXT;
}

static bool slot_send(struct compare *c, struct compare_slot *slot)
{
	struct repl_source *s = c->source;
	struct frame_base m = {
		.volume = slot->read.volume, .count = slot->read.count, .block = slot->read.block};
	uint32_t bytes = m.count * BLOCK_BYTES;
	uint8_t head[FRAME_BASE_BYTES_MAX];
	struct frame_header h;

	if (s->member.peer == NULL)
		return false;
	memcpy(m.crcs, slot->crcs, sizeof(m.crcs[0]) * m.count);
	member_header(&s->member, FRAME_BASE, s->epoch.number, s->base_lsn, &h);
	if (conn_send_payload(s->member.peer->conns[FRAME_CONN_BULK], &h, head,
			      frame_base_encode(head, &m), slot->buf, bytes) < 0) {
		s->member.wants_room = true;
		return false; /* wait: room */
	}
	buf_unref(&slot->buf);
	slot->number += m.count;
	slot->phase = SLOT_NEXT;
	c->sent_bytes += bytes;
	s->sent_bytes += bytes;
	counter_add(c->env->counters, CTR_REPL_BASE_BYTES, bytes);
	return true;
}

/* A3 */
static bool slot_end(struct compare *c, struct compare_slot *slot)
{
	struct repl_source *s = c->source;
	uint8_t head[FRAME_NUMBER_BYTES];
	struct frame_header h;
	struct replica_status st;

	for (uint32_t i = 0; i < FRAME_COMPARE_ASKS_MAX; i++)
		if (&c->slots[i] != slot && c->slots[i].phase != SLOT_FREE)
			return false; /* wait: the other questions */
	replica_status(s->replica, &st);
	member_header(&s->member, FRAME_BASE_END, s->epoch.number, st.commit, &h);
	if (member_send(&s->member, FRAME_CONN_BULK, &h, head,
			frame_number_encode(head, c->sent_bytes)) < 0)
		return false; /* wait: room */
	c->end_sent = true;
	slot->phase = SLOT_FREE;
	op_wake(&s->op);
	return true;
}

static void slot_answer(struct compare *c, const struct compare_slot *slot)
{
	struct frame_compare_told *t = &c->told;

	*t = (struct frame_compare_told){
		.question = slot->ask.question, .kind = slot->ask.kind, .rc = slot->rc};
	t->number = slot->number;
	if (slot->rc == 0 && t->kind == COMPARE_PAGE) {
		t->present = slot->page.present;
		t->known = c->blind ? 0 : slot->page.known; /* A2 */
		t->changed = slot->page.changed;
		memcpy(t->digests, slot->page.digests, sizeof(t->digests));
	} else if (slot->rc == 0 && t->kind == COMPARE_SUMS) {
		memcpy(t->data, slot->sums.data, sizeof(t->data));
		t->changed_chunks = slot->sums.changed;
		memcpy(t->crcs, slot->sums.crcs, sizeof(t->crcs));
	}
}

static bool slot_tell(struct compare *c, struct compare_slot *slot)
{
	struct repl_source *s = c->source;
	struct frame_header h;
	uint32_t bytes;

	slot_answer(c, slot);
	bytes = frame_compare_told_encode(c->head, &c->told);
	member_header(&s->member, FRAME_COMPARE_TOLD, s->epoch.number, (struct lsn){0}, &h);
	if (member_send(&s->member, FRAME_CONN_BULK, &h, c->head, bytes) < 0)
		return false; /* wait: room */
	counter_add(c->env->counters, CTR_REPL_COMPARE_BYTES, bytes);
	slot->phase = SLOT_FREE;
	return true;
}

static void compare_retry(struct compare *c)
{
	if (c->timer_running)
		return;
	c->timer.deadline.v = clock_now(c->env->clock).v + RETRY_NS;
	c->timer_running = true;
	completion_arm(&c->timer.done, &c->op, BIT_TIMER);
	clock_timer_arm(c->env->clock, &c->timer);
}
