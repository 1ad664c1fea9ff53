/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/import.c
 * Purpose.     Base blocks of a full copy go straight to home, beside what the stream brings.
 * Invariants.  I1  A base block never replaces a block that a streamed record wrote: decided per 4 KiB
 *                  by valid and zero mask, under the leaf's lock (QUORUM J8).  What is streamed and not
 *                  yet folded is in the index, which readers ask first and which fold lays on top.
 *              I2  Nothing is written that does not have the checksum the source told.
 *              I3  A change of space and leaf starts only while no checkpoint is being captured, and a
 *                  capture waits for those that have started (store.imports).
 * States.      JOB -> LEAF -> GATE -> WRITE -> done.
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

enum import_phase { IMPORT_JOB, IMPORT_LEAF, IMPORT_GATE, IMPORT_WRITE };

struct import_job {
	struct list_link link; /* free, or store.import_queue */
	struct replica_import *im;
	struct leaf_load load;
	bool loading;
	struct leaf *leaf;
	struct timer timer;
	struct disk_req reqs[REQS];
	uint8_t take[LEAF_BLOCKS / 8]; /* blocks of the leaf that we write */
	uint32_t next;		       /* block of the import: not yet submitted */
	int rc;
};

struct import_pool {
	struct store *s;
	struct import_job jobs[JOBS];
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
	list_init(&p->free);
	list_init(&p->waiting);
	for (uint32_t i = 0; i < JOBS; i++)
		list_push_back(&p->free, &p->jobs[i].link);
	*ret_pool = p;
	return 0;
}

void import_pool_close(struct import_pool **pool)
{
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
}

static int import_check(const struct replica_import *im)
{
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);

	if (im->count == 0 || im->count > IO_BYTES_MAX / BLOCK_BYTES ||
	    first + im->count > LEAF_BLOCKS || im->block >= 1ull << 48 ||
	    !replica_is_staging(im->r))
		return -ERR_INVALID;
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
			if (p->s->capturing) { /* I3 */
				if (!list_linked(&p->job->link))
					list_push_back(&p->s->import_queue, &p->job->link);
				return; /* wait: the capture ends */
			}
			rc = begin(im);
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
			return; /* wait: the leaf, its lock, or memory for it */
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
	return (j->take[block / 8] >> block % 8 & 1) != 0;
}

/* Choose what is written and where.  I1 */
static int begin(struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct import_job *j = p->job;
	uint32_t zero = crc32c_block_of_zeroes(), first = (uint32_t)(im->block % LEAF_BLOCKS);

	for (uint32_t i = 0; i < im->count; i++) {
		uint32_t block = first + i;
		int rc;

		if (p->s->opts.mutant != STORE_MUTANT_BASE_OVERWRITES &&
		    (leaf_block_is_set(j->leaf, block) || im->crcs[i] == zero))
			continue; /* a hole reads as zeroes, too */
		rc = leaf_chunk_take(j->leaf, block / CHUNK_BLOCKS);
		if (rc < 0) {
			leaf_tidy(j->leaf, true);
			return rc;
		}
		j->take[block / 8] = (uint8_t)(j->take[block / 8] | 1u << block % 8);
	}
	p->s->imports++;
	return 0;
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
			uint64_t at = leaf_chunk_off(j->leaf, block / CHUNK_BLOCKS) +
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

	for (uint32_t i = 0; i < im->count; i++)
		if (taken(j, first + i))
			leaf_put_home(j->leaf, first + i, im->crcs[i], lsn);
}

/* 1: wait; 0: in home and in the leaf. */
static int write_step(struct replica_import *im)
{
	struct import_private *p = private_of(im);
	struct import_job *j = p->job;

	for (uint32_t r = 0; r < REQS; r++) {
		if ((im->op.waits & BIT_REQ(r)) != 0)
			continue;
		if (j->reqs[r].done.rc < 0)
			j->rc = -ERR_IO;
		j->reqs[r].done.rc = 0;
	}
	if (j->rc == 0)
		submit(im);
	if ((im->op.waits & BITS_REQ) != 0)
		return 1;
	if (j->rc < 0)
		store_fail(p->s, -ERR_IO, "import: write to home");
	else
		apply(im);
	p->s->imports--;
	if (p->s->imports == 0 && p->s->capturing)
		checkpoint_wake(p->s->checkpoint);
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
