/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold_batch.c
 * Purpose.     The moving part of fold: some leaves' worth of a window at a time.
 * Invariants.  FB1 Per block the item with the highest LSN wins (F5); losers are not read.
 *              FB2 A leaf of the batch is pinned and locked from before its chunks are chosen until it
 *                  says what was written (F4).
 *              FB3 Payload goes home only if its checksum is right; where it is not the block is mended
 *                  first (repair.h), in the journal, too: nothing moves it while the batch runs.
 *              FB4 A chunk is taken and comes into its leaf between two captures: the worker does a batch
 *                  or a checkpoint.
 *              FB5 Where a chunk is shared its wanted blocks stay (map_leaf.c); those that must be copied
 *                  keep the checksum of their leaf: a damaged one stays damaged, is never made good, and
 *                  holds up nothing.
 *              FB6 A block of zeroes is a mark in its leaf and takes no room.
 *              FB7 A chunk of which all 16 blocks win, as one record named it, becomes the leaf's without
 *                  being read or written: it was durable before its record, its checksums are the
 *                  record's, and nobody writes it while it is named (SN3).  One that a map has
 *                  already (a window done again after a crash) is copied.
 * States.      IDLE -> GATHER -> MOVE (leaves and payload, in parallel) -> COPY (blocks to copy up are
 *              read) -> WRITE -> IDLE.
 * Ownership.   Buffers are ours for life; requests and loads are embedded.
 * Failure.     Before WRITE everything is undone; after it a failed write fails the store.
 * Limits.      BATCH_BLOCKS of payload, COPY_BLOCKS copied, BATCH_LEAVES leaves, LOADS leaf loads, REQS requests in flight.
 */

#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/fold_batch_state.h"

#define SKIPS_PER_STEP 4096u
#define RETRY_NS (5 * MS_NS)

static void batch_step(struct op *op);
static int gather(struct fold_batch *b);
static bool gather_leaf(struct fold_batch *b);
static int leaves_step(struct fold_batch *b);
static int verify(struct fold_batch *b);
static int plan(struct fold_batch *b);
static void plan_give(struct fold_batch *b);
static void copies_verify(struct fold_batch *b);
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
	b->data = aligned_alloc(BLOCK_BYTES, (BATCH_BLOCKS + COPY_BLOCKS) * BLOCK_BYTES);
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
	b->maps = NULL;
	b->staging = replica_is_staging(r);
	b->items = items;
	b->item_count = count;
	b->at = 0;
}

void fold_batch_begin_past(struct fold_batch *b, struct replica *r, struct map *const *maps,
			   const struct index_item *items, uint32_t count)
{
	fold_batch_begin(b, r, items, count);
	b->maps = maps;
	assert(!b->staging);
}

uint32_t fold_batch_done(const struct fold_batch *b)
{
	return b->at;
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
	b->leaf_count = b->leaves_ready = b->block_count = b->copy_count = b->entry_count = 0;
	b->verified = 0;
	b->mend.done.rc = 0;
	batch_order_clear(b);
	b->phase = BATCH_GATHER;
	op_wake(&b->op);
}

/* Leaves and payload: 1: wait; 0: all there and room for it; or an error, with nothing in flight. */
static int move_step(struct fold_batch *b)
{
	int rc = b->s->failed ? -ERR_FAILED : 0;

	(void)batch_reqs_rc(b); /* what could not be read has a wrong checksum */
	b->rc = b->rc == 0 ? rc : b->rc;
	if (b->rc == 0) {
		batch_submit(b, DISK_READ);
		b->rc = leaves_step(b);
	}
	if ((b->op.waits & ~BIT_TIMER) != 0)
		return 1;
	if (b->rc == 0 && (b->leaves_ready < b->leaf_count || b->next < b->order_count))
		return 1;
	if (b->rc == 0)
		b->rc = verify(b);
	if (b->rc > 0) {
		b->rc = 0;
		return 1;
	}
	if (b->rc == 0)
		b->rc = plan(b);
	return b->rc == -ERR_IO ? -ERR_CORRUPT : b->rc; /* a read error equals a bad checksum */
}

/* What must be copied up: 1: wait; 0: all there; or an error: nothing has changed. */
static int copy_step(struct fold_batch *b)
{
	int rc = b->s->failed ? -ERR_FAILED : batch_reqs_rc(b);

	b->rc = b->rc == 0 ? rc : b->rc;
	if (b->rc == 0)
		batch_submit(b, DISK_READ);
	if ((b->op.waits & BITS_REQ) != 0)
		return 1;
	if (b->rc == 0)
		copies_verify(b);
	else
		plan_give(b);
	return b->rc == -ERR_IO ? -ERR_CORRUPT : b->rc;
}

/* Home writes: 1: wait; 0: all written; or -ERR_IO. */
static int write_step(struct fold_batch *b)
{
	int rc = batch_reqs_rc(b);

	b->rc = b->rc == 0 ? rc : b->rc;
	if (b->rc == 0)
		batch_submit(b, DISK_WRITE);
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
			batch_order_add(b, 0, b->block_count);
			batch_order_by(b, false);
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
			batch_order_clear(b);
			batch_order_add(b, BATCH_BLOCKS, b->copy_count);
			batch_order_by(b, false);
			b->phase = BATCH_COPY;
			continue;
		case BATCH_COPY:
			rc = copy_step(b);
			if (rc > 0)
				return; /* wait: blocks to copy */
			if (rc < 0) {
				release(b);
				finish(b, rc);
				return;
			}
			batch_order_clear(b);
			batch_order_add(b, 0, b->block_count);
			batch_order_add(b, BATCH_BLOCKS, b->copy_count);
			batch_order_by(b, true);
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
			    (uint64_t)b->order_count * BLOCK_BYTES);
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

static bool is_adopted(const struct batch_leaf *l, uint32_t block)
{
	return (l->adopted >> block / CHUNK_BLOCKS & 1) != 0;
}

/* The chunk that has exactly what wins in entry i; DISK_NONE: there is none.  FB7 */
static uint64_t adoptable_chunk(const struct fold_batch *b, const struct batch_leaf *l, uint32_t i)
{
	uint64_t chunk = DISK_NONE;

	for (uint32_t k = 0; k < CHUNK_BLOCKS; k++) {
		uint32_t win = l->wins[i * CHUNK_BLOCKS + k];
		const struct index_item *it = win == 0 ? NULL : &b->items[win - 1];

		if (it == NULL || it->kind != INDEX_DATA || it->crc == crc32c_block_of_zeroes())
			return DISK_NONE; /* FB6: to be looked at */
		if (k == 0)
			chunk = it->off;
		if (it->off != chunk + (uint64_t)k * BLOCK_BYTES)
			return DISK_NONE;
	}
	if (chunk % CHUNK_BYTES != 0 || !space_chunk_is_named(b->s->space, chunk) ||
	    space_chunk_is_used(b->s->space, chunk))
		return DISK_NONE;
	return chunk;
}

static uint32_t adoptable(const struct fold_batch *b, const struct batch_leaf *l)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < LEAF_CHUNKS; i++)
		if (adoptable_chunk(b, l, i) != DISK_NONE)
			mask |= 1u << i;
	return mask;
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
	l->map = b->maps != NULL ? b->maps[first->volume] : replica_map(b->r, first->volume);
	l->leaf_no = first->block / LEAF_BLOCKS;
	l->leaf = NULL;
	l->begin = b->at;
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
	l->has_data = data > 0;
	l->adopted = adoptable(b, l);
	data -= CHUNK_BLOCKS * (uint32_t)__builtin_popcount(l->adopted);
	if (b->block_count + data > BATCH_BLOCKS)
		return false;
	for (uint32_t k = 0; k < LEAF_BLOCKS && data > 0; k++) {
		const struct index_item *it = l->wins[k] == 0 ? NULL : &b->items[l->wins[k] - 1];

		if (it == NULL || it->kind != INDEX_DATA || is_adopted(l, k))
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
		k->zero = block_is_zeroes(data, k->crc); /* FB6 */
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

/* Which blocks of each entry of leaf n are stored, and which are nothing any more. *at: in blocks. */
static void leaf_masks(const struct fold_batch *b, uint32_t n, uint32_t *at, uint16_t *dirty,
		       uint16_t *gone)
{
	const struct batch_leaf *l = &b->leaves[n];

	memset(dirty, 0, LEAF_CHUNKS * sizeof(*dirty));
	memset(gone, 0, LEAF_CHUNKS * sizeof(*gone));
	for (uint32_t k = 0; k < LEAF_BLOCKS; k++) {
		uint16_t *mask = &gone[k / CHUNK_BLOCKS];

		if (l->wins[k] == 0 || is_adopted(l, k))
			continue;
		if (b->items[l->wins[k] - 1].kind == INDEX_DATA && !b->blocks[(*at)++].zero)
			mask = &dirty[k / CHUNK_BLOCKS];
		*mask = (uint16_t)(*mask | 1u << k % CHUNK_BLOCKS);
	}
}

/* Take the chunk of an entry and say where its blocks go; the copied ones, too. */
static int plan_entry(struct fold_batch *b, struct batch_entry *e)
{
	struct leaf *l = b->leaves[e->leaf].leaf;
	int rc = leaf_plan_take(l, &e->plan);

	if (rc < 0)
		return rc;
	b->entry_count++;
	for (uint32_t k = 0; k < CHUNK_BLOCKS; k++) {
		uint32_t block = e->chunk * CHUNK_BLOCKS + k;

		if ((e->plan.copy >> k & 1) == 0)
			continue;
		b->blocks[BATCH_BLOCKS + b->copy_count++] =
			(struct batch_block){.from = e->plan.from + (uint64_t)k * BLOCK_BYTES,
					     .to = e->plan.chunk + (uint64_t)k * BLOCK_BYTES,
					     .crc = leaf_crc(l, block),
					     .leaf = e->leaf,
					     .block = (uint16_t)block};
	}
	return 0;
}

/* Where blocks [first, end) go, of the entries from e on; both are in the order of the leaf. */
static void blocks_place(struct fold_batch *b, uint32_t first, uint32_t end,
			 const struct batch_entry *e)
{
	for (uint32_t i = first; i < end; i++) {
		struct batch_block *blk = &b->blocks[i];

		if (blk->zero)
			continue;
		while (e->chunk != blk->block / CHUNK_BLOCKS)
			e++;
		blk->to = e->plan.chunk + (uint64_t)(blk->block % CHUNK_BLOCKS) * BLOCK_BYTES;
	}
}

/* Leaf n: 0; 1: what it has to copy does not fit this batch any more; or an error.  *at: in blocks. */
static int plan_leaf(struct fold_batch *b, uint32_t n, uint32_t *at)
{
	struct leaf *l = b->leaves[n].leaf;
	uint16_t dirty[LEAF_CHUNKS], gone[LEAF_CHUNKS];
	uint32_t first = *at, copies = b->copy_count, begin = b->entry_count, entry = begin;
	int rc = leaf_own(l);

	leaf_masks(b, n, at, dirty, gone);
	for (uint32_t i = 0; i < LEAF_CHUNKS && rc == 0; i++) {
		struct batch_entry *e = &b->entries[entry];

		if (dirty[i] == 0 && !is_adopted(&b->leaves[n], i * CHUNK_BLOCKS))
			continue;
		e->leaf = (uint16_t)n;
		e->chunk = (uint16_t)i;
		if (is_adopted(&b->leaves[n], i * CHUNK_BLOCKS))
			e->plan = leaf_plan_adopt(adoptable_chunk(b, &b->leaves[n], i));
		else
			leaf_plan(l, i, dirty[i], gone[i], &e->plan);
		copies += (uint32_t)__builtin_popcount(e->plan.copy);
		entry++;
	}
	if (rc == 0 && copies > COPY_BLOCKS)
		return 1;
	while (b->entry_count < entry && rc == 0)
		rc = plan_entry(b, &b->entries[b->entry_count]);
	if (rc == 0)
		blocks_place(b, first, *at, &b->entries[begin]);
	return rc;
}

static void leaf_release(struct batch_leaf *l)
{
	if (l->leaf == NULL)
		return;
	if (l->ready)
		leaf_unlock(l->leaf);
	leaf_unpin(l->leaf);
	l->leaf = NULL;
}

/* Places for everything; leaves that do not fit are left to the next batch. */
static int plan(struct fold_batch *b)
{
	uint32_t at = 0, first = 0;
	int rc = 0;

	for (uint32_t n = 0; n < b->leaf_count && rc == 0; n++) {
		first = at;
		if (b->leaves[n].leaf != NULL)
			rc = plan_leaf(b, n, &at);
		if (rc <= 0)
			continue;
		assert(n > 0);
		for (uint32_t k = n; k < b->leaf_count; k++)
			leaf_release(&b->leaves[k]);
		b->at = b->leaves[n].begin;
		b->leaf_count = n;
		b->block_count = first;
		return 0;
	}
	if (rc < 0)
		plan_give(b);
	return rc;
}

static void plan_give(struct fold_batch *b)
{
	for (uint32_t i = 0; i < b->entry_count; i++)
		leaf_plan_give(b->leaves[b->entries[i].leaf].leaf, &b->entries[i].plan);
	b->entry_count = 0;
}

/* FB5 */
static void copies_verify(struct fold_batch *b)
{
	for (uint32_t i = BATCH_BLOCKS; i < BATCH_BLOCKS + b->copy_count; i++) {
		if (crc32c(b->data + (uint64_t)i * BLOCK_BYTES, BLOCK_BYTES) == b->blocks[i].crc)
			continue;
		counter_add(b->s->env->counters, CTR_CHECKSUM_HOME, 1);
		log_error(
			b->s->env->log, "store",
			"fold: home block at %llu of %s has a wrong checksum; its copy at %llu, too",
			(unsigned long long)b->blocks[i].from, b->s->disk->name,
			(unsigned long long)b->blocks[i].to);
	}
}

static void apply_leaf(struct fold_batch *b, const struct batch_leaf *l, uint32_t *at)
{
	for (uint32_t k = 0; k < LEAF_BLOCKS; k++) {
		const struct index_item *it = l->wins[k] == 0 ? NULL : &b->items[l->wins[k] - 1];
		struct lsn lsn;
		bool zero;

		if (it == NULL)
			continue;
		lsn.v = it->lsn.v & ~(uint64_t)(BLOCK_BYTES - 1);
		zero = it->kind == INDEX_DATA && !is_adopted(l, k) && b->blocks[(*at)++].zero;
		if (it->kind == INDEX_DATA && !zero)
			leaf_put_home(l->leaf, k, it->crc, lsn);
		else if (zero || it->kind == INDEX_ZERO || b->staging) /* F6 */
			leaf_put_zero(l->leaf, k, lsn);
		else
			leaf_put_hole(l->leaf, k, lsn);
	}
	leaf_tidy(l->leaf, b->staging);
}

static void apply(struct fold_batch *b)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->entry_count; i++)
		leaf_plan_apply(b->leaves[b->entries[i].leaf].leaf, b->entries[i].chunk,
				&b->entries[i].plan);
	for (uint32_t i = 0; i < b->leaf_count; i++)
		if (b->leaves[i].leaf != NULL)
			apply_leaf(b, &b->leaves[i], &at);
	assert(at == b->block_count);
}

static void release(struct fold_batch *b)
{
	for (uint32_t i = 0; i < b->leaf_count; i++)
		leaf_release(&b->leaves[i]);
	leaf_lock_forget(b->s->cache, &b->op);
}
