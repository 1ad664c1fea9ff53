/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/import.c
 * Purpose.     Base blocks of a full copy go straight to home, beside what the stream brings.
 * Invariants.  I1  A base block never replaces a block that a streamed record wrote: decided per 4 KiB
 *                  by valid and zero mask, under the leaf's lock (QUORUM J8).  What is streamed and not
 *                  yet folded is in the index, which readers ask first and which fold lays on top.
 *              I2  Nothing is written that does not have the checksum the source told.
 *              I3  A change of space and leaf starts only while no checkpoint is being captured, and a
 *                  capture waits for those that have started (store.imports).  One that changes counts
 *                  of references waits until the captured checkpoint is durable, too.
 *              I4  The tree may have been pinned by a snapshot meanwhile, so the leaf is made private after
 *                  the gate.
 *              I5  One that is `over` replaces what fold brought, too.  That is safe because of the fold cap
 *                  (replica_fold_cap): the block was read at the source when that had committed at
 *                  least the cap, so whatever fold has brought here is older or the same, and what is newer
 *                  is in the journal and will be folded on top.  It needs no memory of what was written
 *                  since, and never waits for a block to be left alone.
 * States.      JOB -> LEAF -> GATE -> COPY (entry by entry, where a chunk must be copied up) -> WRITE ->
 *              done.
 * Ownership.   Jobs are a pool; the caller's data is borrowed; the replica is held.
 * Failure.     -ERR_CORRUPT, -ERR_FULL, -ERR_RANGE, -ERR_INVALID without effect; a failed write fails
 *              the store.
 * Limits.      JOBS at a time, the others wait in order.
 */
#include "engine/store/import.h"

#include <stdlib.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/store/checkpoint.h"
#include "engine/store/map_edit.h"
#include "engine/store/store_state.h"

#define JOBS 16u
#define REQS 8u
#define BIT_LOAD (1u << 0)
#define BIT_TIMER (1u << 1)
#define BIT_REQ(i) (1u << (2 + (i)))
#define BITS_REQ (((1u << REQS) - 1) << 2)
#define RETRY_NS (5 * MS_NS)

#define COPY_BYTES (CHUNK_BLOCKS / 2 * BLOCK_BYTES)

enum import_phase { IMPORT_JOB, IMPORT_LEAF, IMPORT_GATE, IMPORT_COPY, IMPORT_WRITE };
enum import_copying { COPYING_NOTHING, COPYING_READ, COPYING_WRITE };

struct import_job {
	struct list_link link; /* free, or store.import_queue */
	struct replica_import *im;
	struct leaf_load load;
	bool loading;
	struct leaf *leaf;
	struct timer timer;
	struct disk_req reqs[REQS];
	struct leaf_plan plans[LEAF_CHUNKS]; /* dirty: blocks of the entry that we write */
	uint16_t gone[LEAF_CHUNKS];	     /* blocks of the entry that become holes */
	uint8_t *copy;			     /* COPY_BYTES: blocks on their way up */
	uint32_t copy_at;		     /* entry */
	enum import_copying copying;	     /* of that entry */
	uint32_t next;			     /* block of the import: not yet submitted */
	int rc;
};

struct import_pool {
	struct store *s;
	struct import_job jobs[JOBS];
	uint8_t *copies; /* of each job */
	struct list free;
	struct list waiting; /* import_wait.link */
};

/* In replica_import.private. */
struct import_private {
	struct list_link link;
	struct store *s;
	struct import_job *job;
	enum import_phase phase;
	bool waiting;
};

_Static_assert(sizeof(struct import_private) <= sizeof(((struct replica_import *)0)->private),
	       "private");

static void import_step(struct op *op);
static int leaf_step(struct replica_import *im);
static int begin(struct replica_import *im);
static int copy_step(struct replica_import *im);
static void plans_give(struct import_job *j);
static int write_step(struct replica_import *im);
static void import_end(struct replica_import *im, int rc);

static struct import_private *private_of(struct replica_import *im)
{
	return (struct import_private *)(void *)im->private;
}

int import_pool_open(struct store *s, struct import_pool **ret_pool)
{
	struct import_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ERR_NOMEM;
	p->s = s;
	p->copies = aligned_alloc(BLOCK_BYTES, JOBS * COPY_BYTES);
	if (p->copies == NULL) {
		free(p);
		return -ERR_NOMEM;
	}
	list_init(&p->free);
	list_init(&p->waiting);
	for (uint32_t i = 0; i < JOBS; i++)
		list_push_back(&p->free, &p->jobs[i].link);
	*ret_pool = p;
	return 0;
}

void import_pool_close(struct import_pool **pool)
{
	if (*pool != NULL)
		free((*pool)->copies);
	free(*pool);
	*pool = NULL;
}

void replica_stage_import(struct replica *staging, struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct store *s = replica_store(staging);

	memset(im->private, 0, sizeof(im->private));
	p->s = s;
	p->phase = IMPORT_JOB;
	im->r = staging;
	op_init(&im->op, s->env->ready, import_step);
	replica_hold(staging);
	op_wake(&im->op);
}

static void job_take(struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct import_pool *pool = p->s->import_pool;
	struct list_link *link = list_pop_front(&pool->free);

	if (link == NULL) {
		if (!p->waiting)
			list_push_back(&pool->waiting, &p->link);
		p->waiting = true;
		return;
	}
	p->job = container_of(link, struct import_job, link);
	memset(p->job, 0, sizeof(*p->job));
	p->job->im = im;
	p->job->copy = pool->copies + (size_t)(p->job - pool->jobs) * COPY_BYTES;
}

static int import_check(const struct replica_import *im)
{
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);

	if (im->count == 0 || im->count > IO_BYTES_MAX / BLOCK_BYTES ||
	    first + im->count > LEAF_BLOCKS || im->block >= 1ull << 48 ||
	    !replica_is_staging(im->r))
		return -ERR_INVALID;
	if (im->data == NULL)
		return im->over ? 0 : -ERR_INVALID;
	for (uint32_t i = 0; i < im->count; i++)
		if (crc32c(im->data + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) != im->crcs[i])
			return -ERR_CORRUPT; /* I2 */
	return 0;
}

static void import_step(struct op *op)
{
	struct replica_import *im = container_of(op, struct replica_import, op);
	struct import_private *p = private_of(im);
	int rc;

	for (;;) {
		switch (p->phase) {
		case IMPORT_JOB:
			if (p->job == NULL)
				job_take(im);
			if (p->job == NULL)
				return; /* wait: a job */
			rc = import_check(im);
			p->phase = IMPORT_LEAF;
			break;
		case IMPORT_LEAF:
			rc = leaf_step(im);
			if (rc == 0)
				p->phase = IMPORT_GATE;
			break;
		case IMPORT_GATE:
			if (p->s->failed) {
				rc = -ERR_FAILED;
				break;
			}
			rc = p->s->capturing ? 1 : begin(im); /* I3 */
			if (rc > 0) {
				if (!list_linked(&p->job->link))
					list_push_back(&p->s->import_queue, &p->job->link);
				return; /* wait: the capture ends, or the checkpoint */
			}
			if (rc == 0)
				p->phase = IMPORT_COPY;
			break;
		case IMPORT_COPY:
			rc = copy_step(im);
			if (rc == 0)
				p->phase = IMPORT_WRITE;
			break;
		case IMPORT_WRITE:
			rc = write_step(im);
			if (rc > 0)
				return; /* wait: home writes */
			import_end(im, rc);
			return;
		}
		if (rc > 0)
			return; /* wait: the leaf, its lock, memory for it; a copy */
		if (rc < 0) {
			import_end(im, rc);
			return;
		}
	}
}

/* 0: pinned and locked; 1: wait; or an error. */
static int leaf_step(struct replica_import *im)
{
	struct import_job *j = private_of(im)->job;
	struct store *s = private_of(im)->s;
	struct map *m;
	int rc;

	if ((im->op.waits & (BIT_LOAD | BIT_TIMER)) != 0)
		return 1;
	if (s->failed)
		return -ERR_FAILED;
	rc = j->loading ? j->load.done.rc : 0;
	j->loading = false;
	if (rc < 0 && rc != -ERR_NOMEM)
		return rc;
	if (j->leaf == NULL) {
		m = replica_map(im->r, im->volume);
		if (m == NULL || replica_is_deleted(im->r))
			return -ERR_NOT_FOUND;
		if (rc == 0)
			rc = map_leaf_edit(m, im->block / LEAF_BLOCKS, &j->leaf);
		if (rc == -ERR_AGAIN) {
			j->loading = true;
			j->load.leaf_no = im->block / LEAF_BLOCKS;
			completion_arm(&j->load.done, &im->op, BIT_LOAD);
			map_leaf_load(m, &j->load);
			return 1;
		}
		if (rc == -ERR_NOMEM) {
			j->timer.deadline.v = clock_now(s->env->clock).v + RETRY_NS;
			completion_arm(&j->timer.done, &im->op, BIT_TIMER);
			clock_timer_arm(s->env->clock, &j->timer);
			return 1;
		}
		if (rc < 0)
			return rc;
	}
	if (leaf_lock(j->leaf))
		return 0;
	leaf_lock_wait(s->cache, &im->op);
	return 1;
}

static bool taken(const struct import_job *j, uint32_t block)
{
	return (j->plans[block / CHUNK_BLOCKS].dirty >> block % CHUNK_BLOCKS & 1) != 0;
}

static bool is_hole(const struct replica_import *im, uint32_t i)
{
	return im->data == NULL || block_is_zeroes(im->data + (size_t)i * BLOCK_BYTES, im->crcs[i]);
}

/* Blocks of each entry that are ours to write, or to make holes.  I1, I5 */
static void choose(struct replica_import *im, uint16_t *dirty)
{
	struct import_private *p = private_of(im);
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);

	for (uint32_t i = 0; i < im->count; i++) {
		uint32_t block = first + i;
		uint16_t *mask = &dirty[block / CHUNK_BLOCKS];
		bool set = leaf_block_is_set(p->job->leaf, block);

		if (im->over && is_hole(im, i)) {
			if (!set)
				continue;
			mask = &p->job->gone[block / CHUNK_BLOCKS];
		} else if (!im->over && p->s->opts.mutant != STORE_MUTANT_BASE_OVERWRITES &&
			   (set || is_hole(im, i))) {
			continue; /* a hole reads as zeroes, too */
		}
		*mask = (uint16_t)(*mask | 1u << block % CHUNK_BLOCKS);
	}
}

/* Choose what is written and where: 0; 1: not while a checkpoint is captured (I3); or an error. */
static int begin(struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct import_job *j = p->job;
	bool captured = space_is_captured(p->s->space);
	uint16_t dirty[LEAF_CHUNKS] = {0};
	int rc = 0;

	if (captured && !leaf_is_private(j->leaf))
		return 1;
	rc = leaf_own(j->leaf); /* I4 */
	memset(j->gone, 0, sizeof(j->gone));
	choose(im, dirty);
	for (uint32_t i = 0; i < LEAF_CHUNKS && rc == 0; i++) {
		struct leaf_plan *plan = &j->plans[i];

		if (captured && j->gone[i] != 0)
			rc = 1; /* a chunk may go with its last block */
		if (dirty[i] == 0 || rc != 0)
			continue;
		leaf_plan(j->leaf, i, dirty[i], j->gone[i], plan);
		if (captured && leaf_plan_drops(j->leaf, i, plan)) {
			memset(plan, 0, sizeof(*plan));
			rc = 1;
		} else {
			rc = leaf_plan_take(j->leaf, plan);
		}
	}
	if (rc != 0) {
		plans_give(j);
		return rc;
	}
	p->s->imports++;
	return 0;
}

static void plans_give(struct import_job *j)
{
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++)
		if (j->plans[i].dirty != 0)
			leaf_plan_give(j->leaf, &j->plans[i]);
	memset(j->plans, 0, sizeof(j->plans));
}

/* Nothing of this import changes space or leaf any more. */
static void change_end(struct replica_import *im)
{
	struct store *s = private_of(im)->s;

	s->imports--;
	if (s->imports == 0 && s->capturing)
		checkpoint_wake(s->checkpoint);
}

/* First failure of requests that have ended, into j->rc. */
static void reqs_rc(struct replica_import *im)
{
	struct import_job *j = private_of(im)->job;

	for (uint32_t r = 0; r < REQS; r++) {
		if ((im->op.waits & BIT_REQ(r)) != 0)
			continue;
		if (j->reqs[r].done.rc < 0)
			j->rc = -ERR_IO;
		j->reqs[r].done.rc = 0;
	}
}

/* Read or write the copied blocks of an entry: a request for each run of them. */
static void copy_submit(struct replica_import *im, enum disk_kind kind)
{
	struct import_job *j = private_of(im)->job;
	const struct leaf_plan *plan = &j->plans[j->copy_at];
	uint64_t chunk = kind == DISK_READ ? plan->from : plan->chunk;
	uint32_t n = 0, r = 0;

	for (uint32_t k = 0, end; k < CHUNK_BLOCKS; k = end + 1) {
		for (end = k; end < CHUNK_BLOCKS && (plan->copy >> end & 1) != 0;)
			end++;
		if (end == k)
			continue;
		assert(r < REQS);
		completion_arm(&j->reqs[r].done, &im->op, BIT_REQ(r));
		disk_io(private_of(im)->s->disk, &j->reqs[r], kind, 0,
			chunk + (uint64_t)k * BLOCK_BYTES, j->copy + (size_t)n * BLOCK_BYTES,
			(uint64_t)(end - k) * BLOCK_BYTES);
		n += end - k;
		r++;
	}
}

/* 1: wait; 0: all copied up; or an error.  A damaged block keeps its checksum (fold FB5). */
static int copy_step(struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct import_job *j = p->job;

	reqs_rc(im);
	if ((im->op.waits & BITS_REQ) != 0)
		return 1;
	if (j->rc < 0 || p->s->failed) {
		if (j->copying == COPYING_WRITE && j->rc < 0)
			store_fail(p->s, -ERR_IO, "import: write to home");
		if (!p->s->failed)
			plans_give(j);
		change_end(im);
		return p->s->failed ? -ERR_FAILED : -ERR_CORRUPT;
	}
	if (j->copying == COPYING_READ) {
		j->copying = COPYING_WRITE;
		copy_submit(im, DISK_WRITE);
		return 1;
	}
	j->copy_at += j->copying == COPYING_WRITE;
	j->copying = COPYING_NOTHING;
	while (j->copy_at < LEAF_CHUNKS && j->plans[j->copy_at].copy == 0)
		j->copy_at++;
	if (j->copy_at == LEAF_CHUNKS)
		return 0;
	j->copying = COPYING_READ;
	copy_submit(im, DISK_READ);
	return 1;
}

static void submit(struct replica_import *im)
{
	struct import_job *j = private_of(im)->job;
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);

	for (uint32_t r = 0; r < REQS; r++) {
		uint32_t from, n = 0;
		uint64_t off = 0;

		if ((im->op.waits & BIT_REQ(r)) != 0)
			continue;
		while (j->next < im->count && !taken(j, first + j->next))
			j->next++;
		from = j->next;
		while (j->next < im->count && taken(j, first + j->next)) {
			uint32_t block = first + j->next;
			uint64_t at = j->plans[block / CHUNK_BLOCKS].chunk +
				      (uint64_t)(block % CHUNK_BLOCKS) * BLOCK_BYTES;

			if (n == 0)
				off = at;
			else if (at != off + (uint64_t)n * BLOCK_BYTES)
				break;
			n++;
			j->next++;
		}
		if (n == 0)
			return;
		completion_arm(&j->reqs[r].done, &im->op, BIT_REQ(r));
		disk_io(private_of(im)->s->disk, &j->reqs[r], DISK_WRITE, 0, off,
			(void *)(uintptr_t)(im->data + (size_t)from * BLOCK_BYTES),
			(uint64_t)n * BLOCK_BYTES);
	}
}

static void apply(struct replica_import *im)
{
	struct import_job *j = private_of(im)->job;
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);
	struct lsn lsn = replica_fold_lsn(im->r);

	for (uint32_t i = 0; i < LEAF_CHUNKS; i++)
		if (j->plans[i].dirty != 0)
			leaf_plan_apply(j->leaf, i, &j->plans[i]);
	for (uint32_t i = 0; i < im->count; i++) {
		uint32_t block = first + i;

		if (taken(j, block))
			leaf_put_home(j->leaf, block, im->crcs[i], lsn);
		else if ((j->gone[block / CHUNK_BLOCKS] >> block % CHUNK_BLOCKS & 1) != 0)
			leaf_put_hole(j->leaf, block, lsn);
	}
	if (im->over)
		leaf_tidy(j->leaf, true);
}

/* 1: wait; 0: in home and in the leaf. */
static int write_step(struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct import_job *j = p->job;

	reqs_rc(im);
	if (j->rc == 0)
		submit(im);
	if ((im->op.waits & BITS_REQ) != 0)
		return 1;
	if (j->rc < 0)
		store_fail(p->s, -ERR_IO, "import: write to home");
	else
		apply(im);
	change_end(im);
	return j->rc < 0 ? -ERR_FAILED : 0;
}

static void import_end(struct replica_import *im, int rc)
{
	struct import_private *p = private_of(im);
	struct import_pool *pool = p->s->import_pool;
	struct import_job *j = p->job;
	struct replica *r = im->r;
	struct list_link *link;

	if (j->leaf != NULL) {
		leaf_lock_forget(p->s->cache, &im->op);
		if (p->phase >= IMPORT_GATE)
			leaf_unlock(j->leaf);
		leaf_unpin(j->leaf);
		j->leaf = NULL;
	}
	if (list_linked(&j->link))
		list_remove(&j->link);
	list_push_back(&pool->free, &j->link);
	p->job = NULL;
	link = list_pop_front(&pool->waiting);
	if (link != NULL) {
		struct import_private *next = container_of(link, struct import_private, link);

		next->waiting = false;
		op_wake(&((struct replica_import *)(void *)((char *)next -
							    offsetof(struct replica_import,
								     private)))
				 ->op);
	}
	op_unqueue(&im->op);
	completion_fire(&im->done, rc);
	replica_release(r);
}

void store_imports_go(struct store *s)
{
	struct list_link *link;

	while ((link = list_pop_front(&s->import_queue)) != NULL)
		op_wake(&container_of(link, struct import_job, link)->im->op);
}
