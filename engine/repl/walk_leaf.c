/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/walk_leaf.c
 * Purpose.     One leaf of a walk (walk.c): both sides' checksums, then hashes of what only looks equal, then
 *              the blocks that differ, and holes where the source has nothing.
 * Invariants.  K2 to K4 of walk.c.
 *              KL1 A block is imported once per question that asked for it, and no other is.
 * States.      SUMS -> (HASH) -> FETCH (holes, room in the window) -> (COMING) -> FREE.
 * Failure.     What the source cannot answer fails the follower; a leaf that failed is never FREE, so that no
 *              mark counts it as done.
 * Limits.      WALK_WINDOW_BYTES asked for and not imported; WALK_HASHES leaves whose own blocks are read.
 */
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/repl/walk_state.h"

#define WALK_WINDOW_BYTES (8u << 20)
#define WALK_HASHES 4u /* leaves whose own blocks are being read */
#define BUF_RESERVE 2u

static bool sums_run(struct walk *w, struct walk_leaf *l);
static void sums_compare(struct walk *w, struct walk_leaf *l);
static bool hash_run(struct walk *w, struct walk_leaf *l);
static bool fetch_run(struct walk *w, struct walk_leaf *l);
static bool blocks_run(struct walk *w, struct walk_leaf *l);

bool walk_leaf_run(struct walk *w, struct walk_leaf *l)
{
	switch (l->phase) {
	case LEAF_FREE:
		return false;
	case LEAF_SUMS:
		return sums_run(w, l);
	case LEAF_HASH:
		return hash_run(w, l);
	case LEAF_FETCH:
		return fetch_run(w, l);
	case LEAF_COMING:
		return blocks_run(w, l);
	}
	UNREACHABLE("phase of a leaf");
}

static bool bit_get(const uint64_t *mask, uint32_t i)
{
	return (mask[i / 64] >> i % 64 & 1) != 0;
}

static void bit_set(uint64_t *mask, uint32_t i)
{
	mask[i / 64] |= 1ull << i % 64;
}

static uint32_t bits_count(const uint64_t *mask)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < MASK_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(mask[i]);
	return n;
}

/* The first run of set bits from *first on, at most `max`; 0: none. */
static uint32_t run_next(const uint64_t *mask, uint32_t *first, uint32_t max)
{
	uint32_t n = 0;

	while (*first < LEAF_BLOCKS && !bit_get(mask, *first))
		(*first)++;
	while (n < max && *first + n < LEAF_BLOCKS && bit_get(mask, *first + n))
		n++;
	return n;
}

static bool sums_run(struct walk *w, struct walk_leaf *l)
{
	struct frame_compare_ask m = {
		.kind = COMPARE_SUMS, .volume = l->volume, .index = l->leaf, .since = w->since};
	int rc = l->own.done.rc;

	l->marked = walk_is_marked(w, l->volume, l->leaf + 1);
	if (l->marked)
		m.since = w->mark.since;
	if (!walk_ask(w, &l->question, &m) || !l->question.told || l->op.waits != 0)
		return false; /* wait: both sides' sums */
	if (rc == -ERR_NOMEM) {
		completion_arm(&l->own.done, &l->op, BIT_OWN);
		replica_sums(w->f->replica, &l->own);
		return false; /* wait: ours, again */
	}
	if (rc == -ERR_NOT_FOUND || l->question.rc == -ERR_NOT_FOUND)
		l->phase = LEAF_FREE;
	else if (rc < 0)
		walk_own_bad(w, rc);
	else if (l->question.rc < 0)
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot answer about a leaf");
	else
		sums_compare(w, l);
	return true;
}

/* K2, K3 */
static void sums_compare(struct walk *w, struct walk_leaf *l)
{
	uint32_t changed = l->changed | (l->marked ? 0 : l->own.changed); /* K5 */

	for (uint32_t i = 0; i < LEAF_BLOCKS; i++) {
		bool theirs = bit_get(l->data, i), ours = bit_get(l->own.data, i);

		if (theirs && (!ours || l->crcs[i] != l->own.crcs[i]))
			bit_set(l->want, i);
		else if (ours && !theirs && w->f->mutant != REPL_MUTANT_FORGET_DISCARDS)
			bit_set(l->holes, i);
		else if (theirs && (changed >> i / CHUNK_BLOCKS & 1) != 0)
			bit_set(l->doubt, i);
	}
	w->status.leaves++;
	l->question = (struct walk_question){0};
	l->next = 0;
	l->hash = 0;
	l->hashing = l->hashed = l->hash_bad = false;
	l->phase = bits_count(l->doubt) > 0 ? LEAF_HASH : LEAF_FETCH;
}

/* Read the next of the own blocks in doubt; false: wait. */
static bool hash_next(struct walk *w, struct walk_leaf *l)
{
	uint32_t n = run_next(l->doubt, &l->next, FRAME_BASE_BLOCKS_MAX);
	static const uint32_t sizes[] = {FRAME_BASE_BLOCKS_MAX, CHUNK_BLOCKS, 1};

	if (n == 0) {
		l->hashed = true;
		l->hashing = false;
		w->hashing--;
		return true;
	}
	for (uint32_t k = 0; k < ARRAY_COUNT(sizes) && l->buf == NULL; k++) {
		n = n < sizes[k] ? n : sizes[k];
		l->buf = buf_take_reserve(w->env->bufs, n * BLOCK_BYTES, BUF_RESERVE);
	}
	if (l->buf == NULL) {
		follower_arm(w->f, 5 * MS_NS);
		return false;
	}
	l->read = (struct replica_read){.volume = l->volume,
					.block = l->leaf * LEAF_BLOCKS + l->next,
					.count = n,
					.data = l->buf->data,
					.no_repair = true}; /* it will be fetched */
	l->next += n;
	completion_arm(&l->read.done, &l->op, BIT_OWN);
	replica_read(w->f->replica, &l->read);
	return false;
}

static bool hash_run(struct walk *w, struct walk_leaf *l)
{
	struct frame_compare_ask m = {.kind = COMPARE_HASH, .volume = l->volume, .index = l->leaf};

	memcpy(m.blocks, l->doubt, sizeof(m.blocks));
	(void)walk_ask(w, &l->question, &m);
	if (l->op.waits != 0)
		return false; /* wait: a read */
	if (!l->hashed && !l->hashing) {
		if (w->hashing == WALK_HASHES)
			return false; /* wait: another leaf */
		l->hashing = true;
		w->hashing++;
	}
	if (l->buf != NULL) {
		l->hash_bad = l->hash_bad || l->read.done.rc < 0;
		l->hash = crc64(l->hash, l->buf->data, l->read.count * BLOCK_BYTES);
		buf_unref(&l->buf);
	}
	if (!l->hashed && !hash_next(w, l))
		return false; /* wait: a read, a buf */
	if (!l->question.told)
		return false; /* wait: theirs */
	if (l->question.rc == -ERR_NOT_FOUND) {
		l->phase = LEAF_FREE;
		return true;
	}
	if (l->question.rc < 0) {
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot answer about blocks");
		return true;
	}
	if (l->hash_bad || l->hash != l->hash_told)
		for (uint32_t i = 0; i < MASK_WORDS; i++)
			l->want[i] |= l->doubt[i];
	l->question = (struct walk_question){0};
	l->phase = LEAF_FETCH;
	return true;
}

/* Make holes; true when all are on their way. */
static bool holes_run(struct walk *w, struct walk_leaf *l)
{
	struct repl_follower *f = w->f;
	struct import_slot *slot;
	uint32_t first = 0, n;

	while ((n = run_next(l->holes, &first, FRAME_BASE_BLOCKS_MAX)) > 0) {
		if (list_empty(&f->import_free))
			return false; /* wait: an import ends */
		slot = container_of(list_pop_front(&f->import_free), struct import_slot, link);
		slot->import = (struct replica_import){.volume = l->volume,
						       .block = l->leaf * LEAF_BLOCKS + first,
						       .count = n,
						       .over = true};
		slot->leaf = l;
		l->imports++;
		f->imports_flying++;
		w->status.holes += n;
		for (uint32_t i = first; i < first + n; i++)
			l->holes[i / 64] &= ~(1ull << i % 64);
		completion_arm(&slot->import.done, &slot->op, 1);
		replica_stage_import(f->replica, &slot->import);
	}
	return true;
}

static bool fetch_run(struct walk *w, struct walk_leaf *l)
{
	struct frame_compare_ask m = {
		.kind = COMPARE_BLOCKS, .volume = l->volume, .index = l->leaf};
	uint64_t bytes;

	if (!holes_run(w, l))
		return false;
	l->want_count = bits_count(l->want);
	bytes = (uint64_t)l->want_count * BLOCK_BYTES;
	if (bytes == 0) {
		if (l->imports > 0)
			return false; /* wait: holes */
		l->phase = LEAF_FREE;
		return true;
	}
	if (w->window_bytes > 0 && w->window_bytes + bytes > WALK_WINDOW_BYTES)
		return false; /* wait: the window */
	memcpy(m.blocks, l->want, sizeof(m.blocks));
	if (!walk_ask(w, &l->question, &m))
		return false; /* wait: room */
	w->window_bytes += bytes;
	l->phase = LEAF_COMING;
	return true;
}

static bool blocks_run(struct walk *w, struct walk_leaf *l)
{
	uint64_t bytes = (uint64_t)l->want_count * BLOCK_BYTES;

	if (!l->question.told || l->imports > 0)
		return false; /* wait: blocks, their imports */
	assert(w->window_bytes >= bytes);
	if (l->question.rc == 0 && l->got != l->want_count) {
		follower_fail(w->f, -ERR_PROTOCOL, "blocks that were asked for did not come");
	} else if (l->question.rc < 0 && l->question.rc != -ERR_NOT_FOUND) {
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot send blocks");
	} else {
		w->window_bytes -= bytes;
		l->phase = LEAF_FREE;
	}
	return true;
}

int walk_base(struct walk *w, struct import_slot *slot)
{
	const struct replica_import *im = &slot->import;
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);

	for (uint32_t i = 0; i < WALK_LEAVES; i++) {
		struct walk_leaf *l = &w->leaves[i];

		if (l->phase != LEAF_COMING || l->question.told || l->volume != im->volume ||
		    l->leaf != im->block / LEAF_BLOCKS)
			continue;
		for (uint32_t k = first; k < first + im->count; k++) {
			if (!bit_get(l->want, k))
				return -ERR_PROTOCOL;
			l->want[k / 64] &= ~(1ull << k % 64); /* each once */
		}
		slot->leaf = l;
		slot->import.over = true;
		l->got += im->count;
		l->imports++;
		w->heard = clock_now(w->env->clock);
		w->status.fetched_bytes += (uint64_t)im->count * BLOCK_BYTES;
		return 0;
	}
	return -ERR_PROTOCOL;
}

void walk_imported(struct walk *w, struct import_slot *slot)
{
	assert(slot->leaf != NULL && slot->leaf->imports > 0);
	slot->leaf->imports--;
	slot->leaf = NULL;
	op_wake(&w->f->op);
}
