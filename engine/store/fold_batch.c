/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold_batch.c
 * Purpose.     The moving part of fold: some leaves' worth of a window at a time.
 * Invariants.  FB1 Per block the item with the highest LSN wins (F5); losers are not read.
 *              FB2 A leaf of the batch is pinned and locked from before its chunks are chosen until it
 *                  says what was written (F4).
 *              FB3 Payload goes home only if its checksum is right; where it is not the block is mended
 *                  first (repair.h), in the journal, too: nothing moves it while the batch runs.
 *              FB4 A chunk that was taken is in its leaf in the same step: no capture sees one without
 *                  the other.
 * States.      IDLE -> GATHER -> MOVE (leaves and payload, in parallel) -> WRITE -> IDLE.
 * Ownership.   Buffers are ours for life; requests and loads are embedded.
 * Failure.     Before WRITE everything is undone; after it a failed write fails the store.
 * Limits.      BATCH_BLOCKS of payload, BATCH_LEAVES leaves, LOADS leaf loads, REQS requests in flight.
 */
#include "engine/store/fold_batch.h"

#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/index.h"
#include "engine/store/map_edit.h"
#include "engine/store/rewrite.h"
#include "engine/store/store_state.h"

#define BATCH_BLOCKS 1024u
#define BATCH_LEAVES 128u
#define LOADS 12u
#define REQS 16u
#define GAP_BLOCKS 2u /* headers between payloads: read along */
#define SKIPS_PER_STEP 4096u
#define RETRY_NS (5 * MS_NS)

#define BIT_LOAD(i) (1u << (i))
#define BIT_REQ(i) (1u << (LOADS + (i)))
#define BIT_TIMER (1u << 30)
#define BIT_MEND (1u << 29)
#define BITS_REQ (((1u << REQS) - 1) << LOADS)

_Static_assert(LOADS + REQS <= 29, "bits of one op");
_Static_assert(BATCH_BLOCKS >= LEAF_BLOCKS, "one leaf fits a batch");
_Static_assert(BATCH_BLOCKS <= UINT16_MAX, "order[]");

enum batch_phase { BATCH_IDLE, BATCH_GATHER, BATCH_MOVE, BATCH_WRITE };

struct batch_leaf {
	struct map *map;
	uint64_t leaf_no;
	struct leaf *leaf; /* pinned; NULL: a hole that stays one */
	bool has_data, ready, loading;
	uint32_t wins[LEAF_BLOCKS]; /* index of the winning item plus 1; 0: untouched */
};

struct batch_block {
	uint64_t from; /* byte offset in the journal */
	uint64_t to;   /* in home */
	uint32_t crc;
	uint32_t volume;
	uint16_t leaf;	/* index in leaves */
	uint16_t block; /* in the leaf */
};

struct fold_batch {
	struct store *s;
	struct op op;
	enum batch_phase phase;
	struct completion *done;
	int rc;

	struct replica *r;
	bool staging;
	const struct index_item *items;
	uint32_t item_count, at; /* next item to gather */

	struct batch_leaf leaves[BATCH_LEAVES];
	uint32_t leaf_count, leaf_max, leaves_ready;
	struct batch_block blocks[BATCH_BLOCKS];
	uint32_t block_count;
	uint16_t order[BATCH_BLOCKS]; /* of blocks, by the place being read or written */
	uint32_t next;		      /* in order: not yet submitted */

	struct leaf_load loads[LOADS];
	uint16_t load_leaf[LOADS];
	bool load_used[LOADS];
	struct disk_req reqs[REQS];
	struct iovec iov[REQS][DISK_IOV_MAX];
	struct timer timer;
	struct mend mend;
	uint32_t verified; /* blocks */
	uint8_t *data;	   /* BATCH_BLOCKS blocks */
	uint8_t *scratch;  /* what lies between payloads */
};

static void batch_step(struct op *op);
static int gather(struct fold_batch *b);
static bool gather_leaf(struct fold_batch *b);
static int leaves_step(struct fold_batch *b);
static void order_by(struct fold_batch *b, bool home);
static void submit(struct fold_batch *b, enum disk_kind kind);
static int reqs_rc(struct fold_batch *b);
static int verify(struct fold_batch *b);
static int allocate(struct fold_batch *b);
static void apply(struct fold_batch *b);
static void release(struct fold_batch *b);
static void finish(struct fold_batch *b, int rc);

int fold_batch_open(struct store *s, struct fold_batch **ret_batch)
{
	struct fold_batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return -ERR_NOMEM;
	b->s = s;
	op_init(&b->op, s->env->ready, batch_step);
	b->leaf_max = s->cache->page_count / 8;
	b->leaf_max = b->leaf_max < BATCH_LEAVES ? b->leaf_max : BATCH_LEAVES;
	b->data = aligned_alloc(BLOCK_BYTES, BATCH_BLOCKS * BLOCK_BYTES);
	b->scratch = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	if (b->data == NULL || b->scratch == NULL) {
		fold_batch_close(&b);
		return -ERR_NOMEM;
	}
	*ret_batch = b;
	return 0;
}

void fold_batch_close(struct fold_batch **bp)
{
	struct fold_batch *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	if (timer_armed(&b->timer) && !b->s->abandoned)
		clock_timer_disarm(b->s->env->clock, &b->timer);
	if (!b->s->abandoned)
		op_unqueue(&b->op);
	if (!b->s->abandoned)
		mend_unqueue(&b->mend);
	free(b->data);
	free(b->scratch);
	free(b);
}

void fold_batch_begin(struct fold_batch *b, struct replica *r, const struct index_item *items,
		      uint32_t count)
{
	assert(b->phase == BATCH_IDLE);
	b->r = r;
	b->staging = replica_is_staging(r);
	b->items = items;
	b->item_count = count;
	b->at = 0;
}

bool fold_batch_more(const struct fold_batch *b)
{
	return b->at < b->item_count;
}

void fold_batch_run(struct fold_batch *b, struct completion *done)
{
	assert(b->phase == BATCH_IDLE && b->done == NULL);
	b->done = done;
	b->rc = 0;
	memset(b->load_used, 0, sizeof(b->load_used));
	b->leaf_count = b->leaves_ready = b->block_count = b->next = b->verified = 0;
	b->mend.done.rc = 0;
	b->phase = BATCH_GATHER;
	op_wake(&b->op);
}

/* Leaves and payload: 1: wait; 0: all there and room for it; or an error, with nothing in flight. */
static int move_step(struct fold_batch *b)
{
	int rc = b->s->failed ? -ERR_FAILED : 0;

	(void)reqs_rc(b); /* what could not be read has a wrong checksum */
	b->rc = b->rc == 0 ? rc : b->rc;
	if (b->rc == 0) {
		submit(b, DISK_READ);
		b->rc = leaves_step(b);
	}
	if ((b->op.waits & ~BIT_TIMER) != 0)
		return 1;
	if (b->rc == 0 && (b->leaves_ready < b->leaf_count || b->next < b->block_count))
		return 1;
	if (b->rc == 0)
		b->rc = verify(b);
	if (b->rc > 0) {
		b->rc = 0;
		return 1;
	}
	if (b->rc == 0)
		b->rc = allocate(b);
	return b->rc == -ERR_IO ? -ERR_CORRUPT : b->rc; /* a read error equals a bad checksum */
}

/* Home writes: 1: wait; 0: all written; or -ERR_IO. */
static int write_step(struct fold_batch *b)
{
	int rc = reqs_rc(b);

	b->rc = b->rc == 0 ? rc : b->rc;
	if (b->rc == 0)
		submit(b, DISK_WRITE);
	if ((b->op.waits & BITS_REQ) != 0)
		return 1;
	return b->rc;
}

static void batch_step(struct op *op)
{
	struct fold_batch *b = container_of(op, struct fold_batch, op);
	int rc;

	for (;;) {
		switch (b->phase) {
		case BATCH_IDLE:
			return;
		case BATCH_GATHER:
			if (gather(b) > 0) {
				op_wake(op);
				return; /* wait: our next turn, after a long stretch of holes */
			}
			if (b->leaf_count == 0) {
				finish(b, 0);
				return;
			}
			order_by(b, false);
			b->phase = BATCH_MOVE;
			continue;
		case BATCH_MOVE:
			rc = move_step(b);
			if (rc > 0)
				return; /* wait: leaves, their locks, payload */
			if (rc < 0) {
				release(b);
				finish(b, rc);
				return;
			}
			order_by(b, true);
			b->next = 0;
			b->phase = BATCH_WRITE;
			continue;
		case BATCH_WRITE:
			rc = write_step(b);
			if (rc > 0)
				return; /* wait: home writes */
			if (rc == 0)
				apply(b);
			release(b);
			finish(b, rc);
			return;
		}
	}
}

static void finish(struct fold_batch *b, int rc)
{
	struct completion *done = b->done;

	b->phase = BATCH_IDLE;
	b->done = NULL;
	if (rc == 0)
		counter_add(b->s->env->counters, CTR_HOME_BYTES,
			    (uint64_t)b->block_count * BLOCK_BYTES);
	completion_fire(done, rc);
}

/* --- gather --- */

/* Fill the batch from the window: 0: filled or nothing left; 1: go on in the next turn. */
static int gather(struct fold_batch *b)
{
	for (uint32_t i = 0; i < SKIPS_PER_STEP; i++)
		if (b->leaf_count == b->leaf_max || b->at == b->item_count || !gather_leaf(b))
			return 0;
	return b->leaf_count == 0 ? 1 : 0;
}

static uint32_t grain_blocks(const struct index_item *it)
{
	return it->grain == GRAIN_BLOCK ? 1 : it->grain == GRAIN_CHUNK ? CHUNK_BLOCKS : LEAF_BLOCKS;
}

/* Blocks of data that win, and who wins where. FB1 */
static uint32_t winners(struct fold_batch *b, struct batch_leaf *l, uint32_t end)
{
	uint32_t data = 0;

	memset(l->wins, 0, sizeof(l->wins));
	for (uint32_t i = b->at; i < end; i++) {
		const struct index_item *it = &b->items[i];
		uint32_t first = (uint32_t)(it->block % LEAF_BLOCKS), n = grain_blocks(it);

		for (uint32_t k = first; k < first + n && k < LEAF_BLOCKS; k++) {
			uint32_t win = l->wins[k];

			if (win == 0 || b->items[win - 1].lsn.v < it->lsn.v)
				l->wins[k] = i + 1;
		}
	}
	for (uint32_t k = 0; k < LEAF_BLOCKS; k++)
		data += l->wins[k] != 0 && b->items[l->wins[k] - 1].kind == INDEX_DATA;
	return data;
}

/* Take the items of one leaf; false: they do not fit this batch any more. */
static bool gather_leaf(struct fold_batch *b)
{
	const struct index_item *first = &b->items[b->at];
	struct batch_leaf *l = &b->leaves[b->leaf_count];
	uint32_t end = b->at + 1, data;
	struct leaf *there;

	while (end < b->item_count && b->items[end].volume == first->volume &&
	       b->items[end].block / LEAF_BLOCKS == first->block / LEAF_BLOCKS)
		end++;
	l->map = replica_map(b->r, first->volume);
	l->leaf_no = first->block / LEAF_BLOCKS;
	l->leaf = NULL;
	l->ready = l->loading = false;
	if (l->map == NULL) { /* the volume was deleted */
		b->at = end;
		return true;
	}
	if (first->kind != INDEX_DATA && !b->staging &&
	    map_leaf_get(l->map, l->leaf_no, &there) == 0) {
		if (there != NULL)
			leaf_unpin(there);
		else if (first->grain == GRAIN_LEAF && end == b->at + 1) {
			b->at = end; /* a hole stays a hole */
			return true;
		}
	}
	data = winners(b, l, end);
	if (b->block_count + data > BATCH_BLOCKS)
		return false;
	l->has_data = data > 0;
	for (uint32_t k = 0; k < LEAF_BLOCKS && data > 0; k++) {
		const struct index_item *it = l->wins[k] == 0 ? NULL : &b->items[l->wins[k] - 1];

		if (it == NULL || it->kind != INDEX_DATA)
			continue;
		b->blocks[b->block_count++] = (struct batch_block){.from = it->off,
								   .crc = it->crc,
								   .volume = it->volume,
								   .leaf = (uint16_t)b->leaf_count,
								   .block = (uint16_t)k};
	}
	b->at = end;
	b->leaf_count++;
	return true;
}

/* --- leaves --- */

/* One leaf: 1 when ready; 0: wait; or an error. */
static int leaf_step(struct fold_batch *b, uint32_t i)
{
	struct batch_leaf *l = &b->leaves[i];
	uint32_t slot = 0;
	int rc;

	if (l->leaf == NULL) {
		if (l->has_data || b->staging)
			rc = map_leaf_edit(l->map, l->leaf_no, &l->leaf);
		else
			rc = map_leaf_get(l->map, l->leaf_no, &l->leaf);
		if (rc == -ERR_NOMEM)
			return rc;
		if (rc == 0 && l->leaf == NULL)
			return 1; /* a hole stays a hole */
		if (rc < 0) {
			while (slot < LOADS && b->load_used[slot])
				slot++;
			if (slot == LOADS)
				return 0;
			l->loading = b->load_used[slot] = true;
			b->load_leaf[slot] = (uint16_t)i;
			b->loads[slot].leaf_no = l->leaf_no;
			completion_arm(&b->loads[slot].done, &b->op, BIT_LOAD(slot));
			map_leaf_load(l->map, &b->loads[slot]);
			return 0;
		}
	}
	if (leaf_lock(l->leaf)) /* FB2 */
		return 1;
	leaf_lock_wait(b->s->cache, &b->op);
	return 0;
}

static void retry_soon(struct fold_batch *b)
{
	if ((b->op.waits & BIT_TIMER) != 0)
		return;
	b->timer.deadline.v = clock_now(b->s->env->clock).v + RETRY_NS;
	completion_arm(&b->timer.done, &b->op, BIT_TIMER);
	clock_timer_arm(b->s->env->clock, &b->timer);
}

static int leaves_step(struct fold_batch *b)
{
	for (uint32_t i = 0; i < LOADS; i++) {
		struct batch_leaf *l = &b->leaves[b->load_leaf[i]];
		int rc = b->loads[i].done.rc;

		if ((b->op.waits & BIT_LOAD(i)) != 0 || !b->load_used[i])
			continue;
		b->load_used[i] = false;
		l->loading = false;
		if (rc < 0 && rc != -ERR_NOMEM)
			return rc;
	}
	for (uint32_t i = 0; i < b->leaf_count; i++) {
		struct batch_leaf *l = &b->leaves[i];
		int rc;

		if (l->ready || l->loading)
			continue;
		rc = leaf_step(b, i);
		if (rc == -ERR_NOMEM) {
			retry_soon(b); /* readers have all pages pinned for a moment */
			return 0;
		}
		if (rc < 0)
			return rc;
		l->ready = rc > 0;
		b->leaves_ready += l->ready;
	}
	return 0;
}

/* --- requests --- */

static uint64_t place_of(const struct fold_batch *b, uint32_t i, bool home)
{
	return home ? b->blocks[i].to : b->blocks[i].from;
}

/* Heap sort: no memory, no luck. */
static void order_by(struct fold_batch *b, bool home)
{
	uint32_t n = b->block_count;

	for (uint32_t i = 0; i < n; i++)
		b->order[i] = (uint16_t)i;
	for (uint32_t start = n / 2, end = n; end > 1;) {
		uint32_t root;

		if (start > 0) {
			start--;
		} else {
			uint16_t top = b->order[--end];

			b->order[end] = b->order[0];
			b->order[0] = top;
		}
		root = start;
		while (2 * root + 1 < end) {
			uint32_t child = 2 * root + 1;
			uint16_t swap;

			if (child + 1 < end && place_of(b, b->order[child], home) <
						       place_of(b, b->order[child + 1], home))
				child++;
			if (place_of(b, b->order[root], home) >= place_of(b, b->order[child], home))
				break;
			swap = b->order[root];
			b->order[root] = b->order[child];
			b->order[child] = swap;
			root = child;
		}
	}
}

static void iov_add(struct disk_req *q, struct iovec *iov, uint8_t *data)
{
	struct iovec *last = q->iov_count == 0 ? NULL : &iov[q->iov_count - 1];

	q->bytes += BLOCK_BYTES;
	if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += BLOCK_BYTES;
		return;
	}
	iov[q->iov_count++] = (struct iovec){.iov_base = data, .iov_len = BLOCK_BYTES};
}

/* One request of blocks that lie side by side, from order[next] on. */
static void request_fill(struct fold_batch *b, struct disk_req *q, struct iovec *iov,
			 enum disk_kind kind)
{
	bool home = kind == DISK_WRITE;

	q->kind = kind;
	q->flags = 0;
	q->off = place_of(b, b->order[b->next], home);
	q->bytes = 0;
	q->iov = iov;
	q->iov_count = 0;
	for (; b->next < b->block_count; b->next++) {
		uint32_t i = b->order[b->next];
		uint64_t at = place_of(b, i, home), end = q->off + q->bytes;

		if (q->iov_count + GAP_BLOCKS + 1 > DISK_IOV_MAX || q->bytes >= IO_BYTES_MAX)
			break;
		if (at != end && (home || at - end > GAP_BLOCKS * BLOCK_BYTES || at < end))
			break;
		for (; end < at;
		     end += BLOCK_BYTES) /* the same scratch again and again: never merged */
			iov_add(q, iov, b->scratch);
		iov_add(q, iov, b->data + (uint64_t)i * BLOCK_BYTES);
	}
}

static void submit(struct fold_batch *b, enum disk_kind kind)
{
	for (uint32_t i = 0; i < REQS && b->next < b->block_count; i++) {
		struct disk_req *q = &b->reqs[i];

		if ((b->op.waits & BIT_REQ(i)) != 0)
			continue;
		request_fill(b, q, b->iov[i], kind);
		completion_arm(&q->done, &b->op, BIT_REQ(i));
		disk_submit(b->s->disk, q);
	}
}

/* First failure among the requests that have ended. */
static int reqs_rc(struct fold_batch *b)
{
	int rc = 0;

	for (uint32_t i = 0; i < REQS; i++) {
		if ((b->op.waits & BIT_REQ(i)) != 0)
			continue;
		if (b->reqs[i].done.rc < 0 && rc == 0)
			rc = -ERR_IO;
		b->reqs[i].done.rc = 0;
	}
	return rc;
}

/* --- moving --- */

/* FB3.  1: a block is being mended. */
static int verify(struct fold_batch *b)
{
	struct batch_block *k;
	uint8_t *data;

	if (b->mend.done.rc < 0) {
		log_error(
			b->s->env->log, "store",
			"fold: journal payload at %llu of %s has a wrong checksum; it stays there",
			(unsigned long long)b->mend.off, b->s->disk->name);
		return -ERR_CORRUPT;
	}
	for (; b->verified < b->block_count; b->verified++) {
		k = &b->blocks[b->verified];
		data = b->data + (uint64_t)b->verified * BLOCK_BYTES;
		if (crc32c(data, BLOCK_BYTES) == k->crc)
			continue;
		b->mend.off = k->from;
		b->mend.q = (struct repair_request){
			.group = *replica_uuid(b->r),
			.volume = k->volume,
			.block = b->leaves[k->leaf].leaf_no * LEAF_BLOCKS + k->block,
			.crc = k->crc,
			.data = data};
		completion_arm(&b->mend.done, &b->op, BIT_MEND);
		mend_begin(b->s, &b->mend);
		return 1;
	}
	return 0;
}

static int allocate(struct fold_batch *b)
{
	for (uint32_t i = 0; i < b->block_count; i++) {
		struct batch_block *k = &b->blocks[i];
		struct leaf *l = b->leaves[k->leaf].leaf;
		uint32_t chunk = k->block / CHUNK_BLOCKS;
		int rc = leaf_chunk_take(l, chunk); /* FB4 */

		if (rc < 0) {
			for (uint32_t n = 0; n < b->leaf_count; n++)
				if (b->leaves[n].leaf != NULL)
					leaf_tidy(b->leaves[n].leaf, true);
			return rc;
		}
		k->to = leaf_chunk_off(l, chunk) +
			(uint64_t)(k->block % CHUNK_BLOCKS) * BLOCK_BYTES;
	}
	return 0;
}

static void apply(struct fold_batch *b)
{
	for (uint32_t i = 0; i < b->leaf_count; i++) {
		struct batch_leaf *l = &b->leaves[i];

		for (uint32_t k = 0; k < LEAF_BLOCKS && l->leaf != NULL; k++) {
			const struct index_item *it =
				l->wins[k] == 0 ? NULL : &b->items[l->wins[k] - 1];
			struct lsn lsn;

			if (it == NULL)
				continue;
			lsn.v = it->lsn.v & ~(uint64_t)(BLOCK_BYTES - 1);
			if (it->kind == INDEX_DATA)
				leaf_put_home(l->leaf, k, it->crc, lsn);
			else if (it->kind == INDEX_ZERO || b->staging) /* F6 */
				leaf_put_zero(l->leaf, k, lsn);
			else
				leaf_put_hole(l->leaf, k, lsn);
		}
		if (l->leaf != NULL)
			leaf_tidy(l->leaf, b->staging);
	}
}

static void release(struct fold_batch *b)
{
	for (uint32_t i = 0; i < b->leaf_count; i++) {
		struct batch_leaf *l = &b->leaves[i];

		if (l->leaf == NULL)
			continue;
		if (l->ready)
			leaf_unlock(l->leaf);
		leaf_unpin(l->leaf);
		l->leaf = NULL;
	}
	leaf_lock_forget(b->s->cache, &b->op);
}
