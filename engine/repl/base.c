/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/base.c
 * Purpose.     The base of a full copy at the source: every allocated block of every volume of the
 *              base, on the bulk connection, while writes go on (S4 in source.c).
 * Invariants.  B1  Volumes are walked in slot order, leaf by leaf, each allocated block once.
 *              B2  BASE_END goes out after the last BASE, with the commit LSN read after the last
 *                  block was read (E in S4).
 *              B3  sent - acked < BASE_WINDOW_BYTES, blocks being read included.
 * Ownership.   A slot holds one buf from its read until its frame is queued.
 * Failure.     A volume that was deleted or became smaller since s needs no more blocks: the
 *              records that did it are streamed.  Any other read error fails the source: a block
 *              that is bad here must be repaired before it is copied.
 * Limits.      BASE_SLOTS reads of up to 1 MiB.
 */
#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/repl/source.h"

#define BIT_SLOT(i) (1u << (i))
#define BIT_ALLOCATED (1u << BASE_SLOTS)
#define BIT_TIMER (1u << (BASE_SLOTS + 1))

#define BUF_RESERVE 2u /* bufs of a class left to those who answer clients */
#define RETRY_NS (5 * MS_NS)

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY };

struct base_slot {
	enum slot_state state;
	struct replica_read read;
	struct buf *buf;
	uint32_t crcs[FRAME_BASE_BLOCKS_MAX];
};

struct base_copy {
	struct repl_source *source;
	struct env *env;
	struct op op;
	bool stopped;
	uint32_t volume_index; /* in source->full->volumes */
	uint64_t leaf;	       /* begin of the leaf under the cursor, in blocks */
	bool leaf_known;       /* allocated.map is of this leaf */
	uint32_t at;	       /* next block of the leaf to look at */
	struct replica_allocated allocated;
	bool allocated_flying;
	struct base_slot slots[BASE_SLOTS];
	uint64_t sent_bytes, reading_bytes, acked_bytes;
	bool end_sent;
	struct timer timer;
	bool timer_running;
};

static void base_step(struct op *op);
static void base_slot_read(struct base_copy *b, struct base_slot *slot);
static void base_send(struct base_copy *b, struct base_slot *slot);
static void base_leaf_read(struct base_copy *b);
static void base_fill(struct base_copy *b);
static bool base_next_run(struct base_copy *b, uint32_t *ret_first, uint32_t *ret_count);
static bool base_advance(struct base_copy *b);
static bool base_read_run(struct base_copy *b, struct base_slot *slot, uint32_t first,
			  uint32_t count);
static void base_end(struct base_copy *b);
static bool base_gone(int rc);
static void base_retry(struct base_copy *b);

int base_open(struct repl_source *s, struct base_copy **ret_base)
{
	struct base_copy *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return -ERR_NOMEM;
	b->source = s;
	b->env = s->env;
	op_init(&b->op, s->env->ready, base_step);
	op_wake(&b->op);
	*ret_base = b;
	return 0;
}

void base_acked(struct base_copy *b, uint64_t bytes)
{
	if (bytes > b->acked_bytes && bytes <= b->sent_bytes)
		b->acked_bytes = bytes;
	op_wake(&b->op);
}

uint64_t base_bytes_left(const struct base_copy *b)
{
	uint64_t all = b->source->full->base_bytes;

	return b->acked_bytes < all && !b->end_sent ? all - b->acked_bytes : 0;
}

double base_part(const struct base_copy *b)
{
	uint64_t all = b->source->full->base_bytes;

	return b->end_sent || all == 0 ? 1 : (double)b->acked_bytes / (double)all;
}

void base_room(struct base_copy *b)
{
	if (!b->end_sent)
		op_wake(&b->op);
}

void base_stop(struct base_copy *b)
{
	b->stopped = true;
	if (timer_armed(&b->timer))
		clock_timer_disarm(b->env->clock, &b->timer);
	op_wake(&b->op);
}

bool base_is_idle(const struct base_copy *b)
{
	return b->op.waits == 0;
}

void base_free(struct base_copy **base)
{
	struct base_copy *b = *base;

	*base = NULL;
	if (b == NULL)
		return;
	assert(b->op.waits == 0);
	for (uint32_t i = 0; i < BASE_SLOTS; i++)
		buf_unref(&b->slots[i].buf);
	op_unqueue(&b->op);
	free(b);
}

void base_abandon(struct base_copy **base)
{
	free(*base);
	*base = NULL;
}

static void base_step(struct op *op)
{
	struct base_copy *b = container_of(op, struct base_copy, op);

	if ((op->waits & BIT_TIMER) == 0)
		b->timer_running = false;
	for (uint32_t i = 0; i < BASE_SLOTS && !b->stopped; i++)
		if (b->slots[i].state == SLOT_READING && (op->waits & BIT_SLOT(i)) == 0)
			base_slot_read(b, &b->slots[i]);
	if (b->allocated_flying && (op->waits & BIT_ALLOCATED) == 0 && !b->stopped)
		base_leaf_read(b);
	for (uint32_t i = 0; i < BASE_SLOTS && !b->stopped; i++)
		if (b->slots[i].state == SLOT_READY)
			base_send(b, &b->slots[i]);
	if (!b->stopped)
		base_fill(b);
	if (!b->stopped)
		base_end(b);
	if (b->stopped && op->waits == 0)
		op_wake(&b->source->op);
	/* wait: reads, acknowledgements, room, the timer */
}

static bool base_gone(int rc)
{
	return rc == -ERR_NOT_FOUND || rc == -ERR_RANGE;
}

static void base_slot_read(struct base_copy *b, struct base_slot *slot)
{
	uint64_t bytes = (uint64_t)slot->read.count * BLOCK_BYTES;
	int rc = slot->read.done.rc;

	slot->state = SLOT_READY;
	if (rc == 0)
		return;
	slot->state = SLOT_FREE;
	buf_unref(&slot->buf);
	b->reading_bytes -= bytes;
	if (!base_gone(rc))
		source_fail(b->source, rc, "reading a block of the base");
}

static void base_send(struct base_copy *b, struct base_slot *slot)
{
	struct repl_source *s = b->source;
	uint32_t bytes = slot->read.count * BLOCK_BYTES;
	struct frame_base m = {
		.volume = slot->read.volume, .count = slot->read.count, .block = slot->read.block};
	uint8_t head[FRAME_BASE_BYTES_MAX];
	struct frame_header h;
	int rc;

	if (s->member.peer == NULL)
		return;
	memcpy(m.crcs, slot->crcs, sizeof(m.crcs[0]) * m.count);
	member_header(&s->member, FRAME_BASE, s->epoch.number, s->base_lsn, &h);
	rc = conn_send_payload(s->member.peer->conns[FRAME_CONN_BULK], &h, head,
			       frame_base_encode(head, &m), slot->buf, bytes);
	if (rc < 0) {
		s->member.wants_room = true;
		return; /* wait: room */
	}
	buf_unref(&slot->buf);
	slot->state = SLOT_FREE;
	b->reading_bytes -= bytes;
	b->sent_bytes += bytes;
	s->sent_bytes += bytes;
	counter_add(b->env->counters, CTR_REPL_BASE_BYTES, bytes);
}

static void base_leaf_read(struct base_copy *b)
{
	int rc = b->allocated.done.rc;

	b->allocated_flying = false;
	if (base_gone(rc)) { /* nothing more of this volume */
		b->volume_index++;
		b->leaf = 0;
	} else if (rc < 0) {
		source_fail(b->source, rc, "reading the map of the base");
	} else {
		b->leaf_known = true;
		b->at = 0;
	}
}

/* Start reads while the window and the slots allow. */
static void base_fill(struct base_copy *b)
{
	uint32_t first, count;

	while (b->sent_bytes + b->reading_bytes - b->acked_bytes < BASE_WINDOW_BYTES) {
		struct base_slot *slot = NULL;

		for (uint32_t i = BASE_SLOTS; i-- > 0;)
			if (b->slots[i].state == SLOT_FREE)
				slot = &b->slots[i];
		if (slot == NULL)
			return; /* wait: a slot */
		if (!base_next_run(b, &first, &count))
			return; /* wait: the leaf's map; or all is read */
		if (!base_read_run(b, slot, first, count)) {
			base_retry(b);
			return; /* wait: a buf */
		}
	}
}

/* The next allocated run of the leaf under the cursor; moves the cursor over leaves (B1). */
static bool base_next_run(struct base_copy *b, uint32_t *ret_first, uint32_t *ret_count)
{
	const uint8_t *map = b->allocated.map;
	uint32_t n, max = b->allocated.count;

	if (!b->leaf_known) {
		if (!b->allocated_flying)
			(void)base_advance(b);
		return false;
	}
	while (b->at < max && (map[b->at / 8] >> (b->at % 8) & 1) == 0)
		b->at++;
	if (b->at >= max) {
		b->leaf_known = false;
		b->leaf += LEAF_BLOCKS;
		(void)base_advance(b);
		return false;
	}
	for (n = 1; n < FRAME_BASE_BLOCKS_MAX && b->at + n < max; n++)
		if ((map[(b->at + n) / 8] >> ((b->at + n) % 8) & 1) == 0)
			break;
	*ret_first = b->at;
	*ret_count = n;
	return true;
}

/* Ask for the map of the leaf under the cursor; false: there is none left. */
static bool base_advance(struct base_copy *b)
{
	const struct frame_full *full = b->source->full;

	for (; b->volume_index < full->volume_count; b->volume_index++, b->leaf = 0) {
		const struct frame_volume *v = &full->volumes[b->volume_index];
		uint64_t blocks = (v->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;

		if (v->deleted || b->leaf >= blocks)
			continue;
		b->allocated.volume = v->slot;
		b->allocated.block = b->leaf;
		b->allocated.count =
			blocks - b->leaf < LEAF_BLOCKS ? (uint32_t)(blocks - b->leaf) : LEAF_BLOCKS;
		b->allocated_flying = true;
		completion_arm(&b->allocated.done, &b->op, BIT_ALLOCATED);
		replica_allocated(b->source->replica, &b->allocated);
		return true;
	}
	return false;
}

static bool base_read_run(struct base_copy *b, struct base_slot *slot, uint32_t first,
			  uint32_t count)
{
	static const uint32_t sizes[] = {FRAME_BASE_BLOCKS_MAX, CHUNK_BLOCKS, 1};
	uint32_t i = (uint32_t)(slot - b->slots);

	for (uint32_t k = 0; k < ARRAY_COUNT(sizes) && slot->buf == NULL; k++) {
		uint32_t n = count < sizes[k] ? count : sizes[k];

		slot->buf = buf_take_reserve(b->env->bufs, n * BLOCK_BYTES, BUF_RESERVE);
		if (slot->buf != NULL)
			count = n;
	}
	if (slot->buf == NULL)
		return false;
	slot->read.volume = b->allocated.volume;
	slot->read.block = b->leaf + first;
	slot->read.count = count;
	slot->read.data = slot->buf->data;
	slot->read.crcs = slot->crcs;
	slot->state = SLOT_READING;
	b->at = first + count;
	b->reading_bytes += (uint64_t)count * BLOCK_BYTES;
	completion_arm(&slot->read.done, &b->op, BIT_SLOT(i));
	replica_read(b->source->replica, &slot->read);
	return true;
}

/* B2 */
static void base_end(struct base_copy *b)
{
	struct repl_source *s = b->source;
	uint8_t head[FRAME_NUMBER_BYTES];
	struct frame_header h;
	struct replica_status st;

	if (b->end_sent || b->leaf_known || b->allocated_flying || s->member.peer == NULL ||
	    b->volume_index < s->full->volume_count)
		return;
	for (uint32_t i = 0; i < BASE_SLOTS; i++)
		if (b->slots[i].state != SLOT_FREE)
			return;
	replica_status(s->replica, &st);
	member_header(&s->member, FRAME_BASE_END, s->epoch.number, st.commit, &h);
	if (member_send(&s->member, FRAME_CONN_BULK, &h, head,
			frame_number_encode(head, b->sent_bytes)) < 0)
		return; /* wait: room */
	b->end_sent = true;
	op_wake(&s->op);
}

static void base_retry(struct base_copy *b)
{
	if (b->timer_running)
		return;
	b->timer.deadline.v = clock_now(b->env->clock).v + RETRY_NS;
	b->timer_running = true;
	completion_arm(&b->timer.done, &b->op, BIT_TIMER);
	clock_timer_arm(b->env->clock, &b->timer);
}
