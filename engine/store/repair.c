/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/repair.c
 * Purpose.     Ask for bad blocks, judge what comes, remember what could not be repaired, and put back
 *              what could: the part of repair that is not the reader's and not fold's.
 * Invariants.  R1  What was fetched is used only if it has the checksum that this store keeps.
 *              R2  A block is written only where it still has its place: looked up again by the worker in
 *                  its turn, when no window, checkpoint or ghost moves space, and written before the turn
 *                  ends.  The bytes are those that belong there, so a torn write harms nothing that was
 *                  good, and a chunk that others share stays right for them.
 *              R3  It is repaired when it was read back from the disk and is right.
 * States.      NEXT -> LEAF -> WRITE -> PROVE -> NEXT ... -> done.   A mend: READ -> ASK -> WRITE -> done.
 * Ownership.   Waiting blocks are copies; the replica is held and the leaf pinned while one is written.
 * Failure.     A failed write fails the store.  A block that cannot be proven stays bad and is told.
 * Limits.      REWRITES_MAX blocks wait, REPAIR_NOTES_MAX notes, FAILED_MAX failures are remembered.
 */
#include "engine/store/repair.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/fold.h"
#include "engine/store/replica.h"
#include "engine/store/rewrite.h"

#define FAILED_MAX 64u
#define BIT_LOAD 1u
#define BIT_DISK 2u
#define BIT_ASK 1u

enum rewrite_phase { REWRITE_NEXT, REWRITE_LEAF, REWRITE_WRITE, REWRITE_PROVE };
enum mend_phase { MEND_READ, MEND_ASK, MEND_WRITE };

struct rewrite {
	struct list_link link; /* free or waiting */
	struct repair_request q;
	uint64_t off;
	bool journal;
	uint8_t *data;
};

struct rewrites {
	struct store *s;
	struct store_repair port;
	struct store_repair_status status;

	struct repair_note notes[REPAIR_NOTES_MAX];
	uint32_t note_first, note_count;
	struct repair_request failed[FAILED_MAX]; /* a ring; only what names the block counts */
	uint32_t failed_next;

	struct op op;
	enum rewrite_phase phase;
	struct list free, waiting;
	uint32_t left; /* of this turn */
	struct rewrite *now;
	struct replica *r; /* held */
	struct leaf *leaf; /* pinned */
	struct leaf_load load;
	struct disk_req req;
	uint8_t *proof;
	struct completion *done;
	struct rewrite pool[REWRITES_MAX];
	uint8_t *data;
};

static void rewrites_step(struct op *op);
static void rewrite_end(struct rewrites *w, bool written);
static void mend_step(struct op *op);

int rewrites_open(struct store *s, struct rewrites **ret)
{
	struct rewrites *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ERR_NOMEM;
	w->s = s;
	op_init(&w->op, s->env->ready, rewrites_step);
	list_init(&w->free);
	list_init(&w->waiting);
	w->data = aligned_alloc(BLOCK_BYTES, (size_t)(REWRITES_MAX + 1) * BLOCK_BYTES);
	if (w->data == NULL) {
		free(w);
		return -ERR_NOMEM;
	}
	w->proof = w->data + (size_t)REWRITES_MAX * BLOCK_BYTES;
	for (uint32_t i = 0; i < REWRITES_MAX; i++) {
		w->pool[i].data = w->data + (size_t)i * BLOCK_BYTES;
		list_push_back(&w->free, &w->pool[i].link);
	}
	*ret = w;
	return 0;
}

void rewrites_close(struct rewrites **wp)
{
	struct rewrites *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	if (!w->s->abandoned)
		op_unqueue(&w->op);
	free(w->data);
	free(w);
}

/* --- asking --- */

void store_repair_set(struct store *s, const struct store_repair *repair)
{
	s->rewrites->port = repair != NULL ? *repair : (struct store_repair){0};
}

void repair_fetch(struct store *s, struct repair_request *q)
{
	struct store_repair *port = &s->rewrites->port;

	assert(completion_armed(&q->done));
	assert(q->data != NULL);
	if (port->fetch == NULL || s->closing)
		completion_fire(&q->done, -ERR_NOT_FOUND);
	else
		port->fetch(port->ctx, q);
}

bool repair_is_good(const struct store *s, const struct repair_request *q)
{
	if (q->done.rc < 0)
		return false;
	if (s->opts.mutant == STORE_MUTANT_REPAIR_UNCHECKED)
		return true;
	return crc32c(q->data, BLOCK_BYTES) == q->crc; /* R1 */
}

/* --- telling --- */

static void note_add(struct rewrites *w, const struct repair_request *q, enum repair_result result,
		     int rc)
{
	if (w->note_count == REPAIR_NOTES_MAX)
		return;
	w->notes[(w->note_first + w->note_count++) % REPAIR_NOTES_MAX] =
		(struct repair_note){.result = result,
				     .group = q->group,
				     .volume = q->volume,
				     .block = q->block,
				     .rc = rc};
	if (w->port.wake != NULL)
		op_wake(w->port.wake);
}

static bool same_block(const struct repair_request *a, const struct repair_request *b)
{
	return uuid_equal(&a->group, &b->group) && a->volume == b->volume && a->block == b->block &&
	       a->crc == b->crc;
}

void repair_failed(struct store *s, const struct repair_request *q, int rc)
{
	struct rewrites *w = s->rewrites;

	for (uint32_t i = 0; i < FAILED_MAX; i++)
		if (same_block(&w->failed[i], q))
			return; /* told already */
	w->failed[w->failed_next++ % FAILED_MAX] = (struct repair_request){
		.group = q->group, .volume = q->volume, .block = q->block, .crc = q->crc};
	w->status.failed++;
	note_add(w, q, REPAIR_FAILED, rc);
}

static void repaired(struct rewrites *w, const struct repair_request *q)
{
	w->status.repaired++;
	counter_add(w->s->env->counters, CTR_REPAIRS, 1);
	for (uint32_t i = 0; i < FAILED_MAX; i++)
		if (same_block(&w->failed[i], q))
			memset(&w->failed[i], 0, sizeof(w->failed[i]));
	note_add(w, q, REPAIR_DONE, 0);
}

bool store_repair_note(struct store *s, struct repair_note *ret)
{
	struct rewrites *w = s->rewrites;

	if (w->note_count == 0)
		return false;
	*ret = w->notes[w->note_first];
	w->note_first = (w->note_first + 1) % REPAIR_NOTES_MAX;
	w->note_count--;
	return true;
}

void store_repair_status(const struct store *s, struct store_repair_status *ret)
{
	*ret = s->rewrites->status;
}

/* --- writing again --- */

void rewrite_queue(struct store *s, const struct repair_request *q, uint64_t off, bool journal)
{
	struct rewrites *w = s->rewrites;
	struct list_link *link;
	struct rewrite *x;

	assert(off % BLOCK_BYTES == 0);
	if (s->opts.read_only || s->failed)
		return;
	LIST_FOR_EACH(n, &w->waiting)
		if (same_block(&container_of(n, struct rewrite, link)->q, q))
			return; /* two readers met it */
	link = list_pop_front(&w->free);
	if (link == NULL)
		return;
	x = container_of(link, struct rewrite, link);
	x->q = (struct repair_request){
		.group = q->group, .volume = q->volume, .block = q->block, .crc = q->crc};
	x->off = off;
	x->journal = journal;
	memcpy(x->data, q->data, BLOCK_BYTES);
	list_push_back(&w->waiting, &x->link);
	w->status.rewrites++;
	fold_kick(s->fold);
}

bool rewrites_wait(const struct rewrites *w)
{
	return !list_empty(&w->waiting);
}

void rewrites_run(struct rewrites *w, struct completion *done)
{
	assert(w->done == NULL && w->now == NULL);
	w->done = done;
	w->phase = REWRITE_NEXT;
	w->left = w->status.rewrites;
	op_wake(&w->op);
}

/* The next one, with its replica; false: the turn is over. */
static bool rewrite_next(struct rewrites *w)
{
	struct list_link *link = w->left > 0 && !w->s->failed ? list_pop_front(&w->waiting) : NULL;

	if (link == NULL)
		return false;
	w->left--;
	w->now = container_of(link, struct rewrite, link);
	w->r = replica_find(w->s, &w->now->q.group);
	w->load.done.rc = 0;
	if (w->r != NULL)
		replica_hold(w->r);
	return true;
}

/* R2: is it still there?  1: a page is being loaded; 0: no; 2: yes. */
static int rewrite_look(struct rewrites *w)
{
	const struct rewrite *x = w->now;
	struct map *m = w->r != NULL ? replica_map(w->r, x->q.volume) : NULL;
	uint64_t leaf_no = x->q.block / LEAF_BLOCKS;
	struct block_place at;
	int rc;

	if (m == NULL || replica_is_deleted(w->r) || w->load.done.rc < 0)
		return 0;
	if (x->journal) {
		struct index_hit hit = index_get(replica_index(w->r), x->q.volume, x->q.block);

		return hit.kind == INDEX_DATA && hit.off == x->off && hit.crc == x->q.crc ? 2 : 0;
	}
	rc = map_leaf_get(m, leaf_no, &w->leaf);
	if (rc == -ERR_AGAIN) {
		completion_arm(&w->load.done, &w->op, BIT_LOAD);
		w->load.leaf_no = leaf_no;
		map_leaf_load(m, &w->load);
		return 1;
	}
	if (rc < 0 || w->leaf == NULL)
		return 0;
	at = leaf_place(w->leaf, (uint32_t)(x->q.block % LEAF_BLOCKS));
	return at.kind == PLACE_HOME && at.off == x->off && at.crc == x->q.crc ? 2 : 0;
}

static void rewrite_io(struct rewrites *w, enum disk_kind kind, uint8_t *data)
{
	completion_arm(&w->req.done, &w->op, BIT_DISK);
	disk_io(w->s->disk, &w->req, kind, kind == DISK_WRITE ? DISK_FUA : 0, w->now->off, data,
		BLOCK_BYTES);
}

static void rewrites_step(struct op *op)
{
	struct rewrites *w = container_of(op, struct rewrites, op);
	struct completion *done = w->done;
	int found;

	if (op->waits != 0 || done == NULL)
		return; /* wait: a page, the disk, a turn */
	for (;;) {
		switch (w->phase) {
		case REWRITE_NEXT:
			if (!rewrite_next(w)) {
				w->done = NULL;
				completion_fire(done, 0);
				return;
			}
			w->phase = REWRITE_LEAF;
			continue;
		case REWRITE_LEAF:
			found = rewrite_look(w);
			if (found == 1)
				return; /* wait: a page */
			if (found == 0) {
				rewrite_end(w, false);
				continue;
			}
			w->phase = REWRITE_WRITE;
			rewrite_io(w, DISK_WRITE, w->now->data);
			return; /* wait: the disk */
		case REWRITE_WRITE:
			if (w->req.done.rc < 0) {
				store_fail(w->s, -ERR_IO, "repair: write in place");
				rewrite_end(w, false);
				continue;
			}
			w->phase = REWRITE_PROVE;
			rewrite_io(w, DISK_READ, w->proof);
			return; /* wait: the disk */
		case REWRITE_PROVE:
			rewrite_end(w, true);
			continue;
		}
	}
}

static void rewrite_end(struct rewrites *w, bool written)
{
	struct rewrite *x = w->now;

	if (w->leaf != NULL)
		leaf_unpin(w->leaf);
	if (w->r != NULL)
		replica_release(w->r);
	w->leaf = NULL;
	w->r = NULL;
	w->now = NULL;
	w->phase = REWRITE_NEXT;
	if (written && w->req.done.rc == 0 && crc32c(w->proof, BLOCK_BYTES) == x->q.crc) /* R3 */
		repaired(w, &x->q);
	else if (written)
		repair_failed(w->s, &x->q, -ERR_IO);
	w->status.rewrites--;
	list_push_back(&w->free, &x->link);
}

/* --- mending, for the worker itself --- */

void mend_begin(struct store *s, struct mend *m)
{
	assert(completion_armed(&m->done));
	m->s = s;
	m->phase = MEND_READ;
	op_init(&m->op, s->env->ready, mend_step);
	completion_arm(&m->req.done, &m->op, BIT_DISK);
	disk_io(s->disk, &m->req, DISK_READ, 0, m->off, m->q.data, BLOCK_BYTES);
}

void mend_unqueue(struct mend *m)
{
	if (m->s != NULL)
		op_unqueue(&m->op);
}

static void mend_step(struct op *op)
{
	struct mend *m = container_of(op, struct mend, op);
	struct store *s = m->s;

	if (op->waits != 0)
		return; /* wait: the disk, an answer */
	switch ((enum mend_phase)m->phase) {
	case MEND_READ:
		if (m->req.done.rc == 0 && crc32c(m->q.data, BLOCK_BYTES) == m->q.crc) {
			completion_fire(&m->done, 0); /* a neighbour could not be read */
			return;
		}
		counter_add(s->env->counters, CTR_CHECKSUM_JOURNAL, 1);
		m->phase = MEND_ASK;
		completion_arm(&m->q.done, op, BIT_ASK);
		repair_fetch(s, &m->q);
		return; /* wait: an answer */
	case MEND_ASK:
		if (!repair_is_good(s, &m->q)) {
			repair_failed(s, &m->q, -ERR_CORRUPT);
			completion_fire(&m->done, -ERR_CORRUPT);
			return;
		}
		m->phase = MEND_WRITE;
		completion_arm(&m->req.done, op, BIT_DISK);
		disk_io(s->disk, &m->req, DISK_WRITE, DISK_FUA, m->off, m->q.data, BLOCK_BYTES);
		return; /* wait: the disk */
	case MEND_WRITE:
		if (m->req.done.rc < 0) {
			store_fail(s, -ERR_IO, "repair: write in place");
			completion_fire(&m->done, -ERR_FAILED);
			return;
		}
		repaired(s->rewrites, &m->q);
		completion_fire(&m->done, 0);
		return;
	}
}
