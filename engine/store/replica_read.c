/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_read.c
 *
 * Purpose.     Read committed blocks: each from the newest place that has it, verified.
 * Invariants.  D1  All places of one attempt are looked up in one step, index before map, so they
 *                  belong to one moment.
 *              D2  A block is given only if its checksum agrees with the one kept at its place.
 *              D3  Fold may overwrite home in place, and the journal may be trimmed, while a read is
 *                  in flight: then the checksum disagrees and the block is looked up again.  It is
 *                  called bad only when it was wrong twice at one and the same place.
 *              D4  A bad block is asked for elsewhere (repair.h), with the checksum of that place; what
 *                  comes and has it is served, and written there again in the background.
 * States.      PLAN -> (LOAD -> PLAN)* -> READ -> VERIFY -> PLAN or done;  PLAN -> ASK -> PLAN.
 * Limits.      READ_REQS requests in flight for one read; ATTEMPTS_MAX rounds.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"

#define WAIT_REQ(i) (1u << (i))
#define WAIT_LOAD (1u << READ_REQS)
#define WAIT_ASK (1u << (READ_REQS + 1))
#define ATTEMPTS_MAX 64u

#define PLAN_LOADING 1
#define PLAN_BAD 2 /* bad_block says which */

enum read_phase { READ_START, READ_PLAN, READ_VERIFY, READ_ASKED };

static void read_step(struct op *op);
static void allocated_step(struct op *op);

static struct read_wait *wait_of(struct replica_read *rd)
{
	return (struct read_wait *)(void *)rd->private;
}

static void read_done(struct replica_read *rd, int rc)
{
	read_wait_end(rd->r, wait_of(rd));
	completion_fire(&rd->done, rc);
}

/* Volume `slot` of what w reads; *ret_map: its home. */
static int volume_find(const struct replica *r, const struct read_wait *w, uint32_t slot,
		       const struct replica_volume **ret_volume, struct map **ret_map)
{
	const struct volume_root *root;

	if (w->snap != NULL) {
		root = snapshot_volume(w->snap, slot, ret_map);
		*ret_volume = root == NULL ? NULL : &root->volume;
		return root == NULL ? -ERR_NOT_FOUND : 0;
	}
	if (r->snaps.restoring > 0 && replica_restore_is_hopeless(r))
		return -ERR_FAILED;
	if (slot >= r->volume_count || !r->volumes[slot].used || r->volumes[slot].v.deleted)
		return -ERR_NOT_FOUND;
	*ret_volume = &r->volumes[slot].v;
	*ret_map = r->volumes[slot].map;
	return 0;
}

/* Is [block, block + count) in volume `slot`? */
static int range_check(const struct replica_volume *v, uint64_t block, uint64_t count)
{
	uint64_t blocks = (v->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;

	return block <= blocks && count <= blocks - block ? 0 : -ERR_RANGE;
}

/* What is newer than home. */
static struct index_hit hit_find(const struct replica *r, const struct read_wait *w, uint32_t slot,
				 uint64_t block)
{
	return w->snap != NULL ? (struct index_hit){.kind = INDEX_NONE}
			       : index_get(r->index, slot, block);
}

static struct read_place place_of_hit(const struct replica *r, const struct index_hit *hit)
{
	struct read_place p = {.crc = hit->crc, .off = hit->off, .source = READ_JOURNAL};

	if (hit->kind != INDEX_DATA) {
		p.source = READ_ZERO;
	} else if (hit->lsn.v >= journal_durable(r->journal).v) { /* `received`: not on disk yet */
		p.source = READ_MEMORY;
	}
	return p;
}

static struct read_place place_of_leaf(const struct leaf *l, uint64_t block)
{
	struct read_place p = {.source = READ_ZERO};
	struct block_place bp;

	if (l == NULL)
		return p;
	bp = leaf_place(l, (uint32_t)(block % LEAF_BLOCKS));
	if (bp.kind == PLACE_HOME) {
		p.source = READ_HOME;
		p.off = bp.off;
		p.crc = bp.crc;
	}
	return p;
}

static bool place_is_same(const struct read_place *a, const struct read_place *b)
{
	return a->source == b->source && a->off == b->off && a->crc == b->crc;
}

/* Take a new look at block i; PLAN_BAD when it was wrong twice at this very place (D3). */
static int place_update(struct read_job *job, uint32_t i, struct read_place p)
{
	struct read_place *old = &job->places[i];

	p.wanted = 1;
	if (old->tried > 0 && place_is_same(old, &p)) {
		if (old->tried > 1)
			return PLAN_BAD;
		p.tried = old->tried;
	}
	*old = p;
	return 0;
}

/* Look up every wanted block (D1).  0, PLAN_LOADING (a leaf), PLAN_BAD, or negative. */
static int read_plan(struct replica_read *rd, struct read_job *job)
{
	struct replica *r = rd->r;
	struct leaf *leaf = NULL;
	uint64_t leaf_no = UINT64_MAX;
	const struct replica_volume *v;
	struct map *map = NULL;
	int rc = volume_find(r, wait_of(rd), rd->volume, &v, &map);

	if (rc == 0)
		rc = range_check(v, rd->block, rd->count);
	for (uint32_t i = 0; i < rd->count && rc == 0; i++) {
		uint64_t block = rd->block + i;
		struct index_hit hit;

		if (!job->places[i].wanted)
			continue;
		hit = hit_find(r, wait_of(rd), rd->volume, block);
		if (hit.kind != INDEX_NONE) {
			rc = place_update(job, i, place_of_hit(r, &hit));
		} else {
			if (leaf_no != block / LEAF_BLOCKS) {
				if (leaf != NULL)
					leaf_unpin(leaf);
				leaf = NULL;
				leaf_no = block / LEAF_BLOCKS;
				rc = map_leaf_get(map, leaf_no, &leaf);
			}
			if (rc == 0)
				rc = place_update(job, i, place_of_leaf(leaf, block));
		}
		if (rc == PLAN_BAD)
			rd->bad_block = block;
	}
	if (leaf != NULL)
		leaf_unpin(leaf);
	if (rc != -ERR_AGAIN)
		return rc;
	completion_arm(&job->load.done, &rd->op, WAIT_LOAD);
	job->load.leaf_no = leaf_no;
	job->load.level = 0; /* the job may have served replica_compare.c */
	map_leaf_load(map, &job->load);
	return PLAN_LOADING;
}

/* D4: true when somebody is asked for the bad block, into its place in the caller's data. */
static bool read_ask(struct replica_read *rd, struct read_job *job)
{
	uint32_t i = (uint32_t)(rd->bad_block - rd->block);

	if (rd->no_repair || job->places[i].asked)
		return false;
	job->repair = (struct repair_request){.group = rd->r->group,
					      .volume = rd->volume,
					      .crc = job->places[i].crc,
					      .block = rd->bad_block,
					      .data = rd->data + (size_t)i * BLOCK_BYTES};
	completion_arm(&job->repair.done, &rd->op, WAIT_ASK);
	repair_fetch(rd->r->s, &job->repair);
	return true;
}

/* Take what came, or remember that nobody had it: it is looked up once more, as fold may have moved it. */
static void read_take(struct replica_read *rd, struct read_job *job)
{
	struct read_place *p = &job->places[rd->bad_block - rd->block];

	if (!repair_is_good(rd->r->s, &job->repair)) {
		p->asked = true;
		return;
	}
	p->wanted = 0; /* D2 */
	rd->repaired++;
	job->attempts = 0; /* it was progress */
	rewrite_queue(rd->r->s, &job->repair, p->off, p->source == READ_JOURNAL);
}

/* The plan's answer for a block that nobody has. */
static int read_give_up(struct replica_read *rd, struct read_job *job)
{
	int rc = job->places[rd->bad_block - rd->block].unreadable ? -ERR_IO : -ERR_CORRUPT;

	if (!rd->no_repair)
		repair_failed(rd->r->s, &job->repair, rc);
	return rc;
}

/* Copy a block of a record that is still in memory (D2: its crc was verified when it came). */
static int read_memory(struct replica_read *rd, uint32_t i)
{
	struct index_hit hit = index_get(rd->r->index, rd->volume, rd->block + i);
	struct lsn begin = {hit.lsn.v & ~(uint64_t)(BLOCK_BYTES - 1)};
	struct record *rec = journal_record_in_memory(rd->r->journal, begin);
	uint32_t nth = 0;

	for (uint32_t e = 0; rec != NULL && e < rec->view.extent_count; e++) {
		struct record_extent x = record_extent_at(rec->head->data, &rec->view, e);

		if (e == (hit.lsn.v & (BLOCK_BYTES - 1)))
			nth = x.payload_block + (uint32_t)(rd->block + i - x.block);
	}
	for (uint32_t v = 1; rec != NULL && v < rec->iov_count; v++) {
		uint32_t blocks = (uint32_t)(rec->iov[v].iov_len / BLOCK_BYTES);

		if (nth < blocks) {
			memcpy(rd->data + (size_t)i * BLOCK_BYTES,
			       (uint8_t *)rec->iov[v].iov_base + (size_t)nth * BLOCK_BYTES,
			       BLOCK_BYTES);
			return 0;
		}
		nth -= blocks;
	}
	return -ERR_CORRUPT;
}

static bool place_is_disk(const struct read_place *p)
{
	return p->source == READ_JOURNAL || p->source == READ_HOME;
}

/* Serve what needs no disk, start requests for runs of neighbours; number started. */
static uint32_t read_issue(struct replica_read *rd, struct read_job *job)
{
	job->runs = 0;
	for (uint32_t i = 0; i < rd->count && job->runs < READ_REQS;) {
		struct read_place *p = &job->places[i];
		uint32_t n = 1;

		if (!p->wanted || !place_is_disk(p)) {
			if (p->wanted && p->source == READ_ZERO) {
				memset(rd->data + (size_t)i * BLOCK_BYTES, 0, BLOCK_BYTES);
				p->crc = crc32c_block_of_zeroes();
				p->wanted = 0;
			} else if (p->wanted && read_memory(rd, i) == 0) {
				p->wanted = 0;
			}
			i++;
			continue;
		}
		while (i + n < rd->count && p[n].wanted && place_is_disk(&p[n]) &&
		       p[n].off == p->off + (uint64_t)n * BLOCK_BYTES)
			n++;
		job->run_begin[job->runs] = i;
		job->run_count[job->runs] = n;
		completion_arm(&job->reqs[job->runs].done, &rd->op, WAIT_REQ(job->runs));
		disk_io(store_disk(rd->r->s), &job->reqs[job->runs], DISK_READ, 0, p->off,
			rd->data + (size_t)i * BLOCK_BYTES, (uint64_t)n * BLOCK_BYTES);
		job->runs++;
		i += n;
	}
	return job->runs;
}

static void read_verify(struct replica_read *rd, struct read_job *job)
{
	for (uint32_t k = 0; k < job->runs; k++) {
		bool io_failed = job->reqs[k].done.rc < 0;

		for (uint32_t i = job->run_begin[k]; i < job->run_begin[k] + job->run_count[k];
		     i++) {
			struct read_place *p = &job->places[i];

			if (!io_failed &&
			    crc32c(rd->data + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) == p->crc) {
				p->wanted = 0; /* D2 */
				continue;
			}
			p->tried++;
			p->unreadable = io_failed; /* tells IO from CORRUPT at the end */
			if (p->tried > 1 && rd->r->env->counters != NULL)
				counter_add(rd->r->env->counters,
					    p->source == READ_HOME ? CTR_CHECKSUM_HOME
								   : CTR_CHECKSUM_JOURNAL,
					    1);
		}
	}
}

static bool read_is_complete(const struct replica_read *rd, const struct read_job *job)
{
	for (uint32_t i = 0; i < rd->count; i++) {
		if (job->places[i].wanted)
			return false;
	}
	return true;
}

static void read_finish(struct replica_read *rd, struct read_job *job)
{
	for (uint32_t i = 0; rd->crcs != NULL && i < rd->count; i++)
		rd->crcs[i] = job->places[i].crc;
	read_done(rd, 0);
}

static void read_start(struct replica_read *rd, struct read_job *job)
{
	job->attempts = 0;
	job->runs = 0;
	job->load.done.rc = 0;
	for (uint32_t i = 0; i < rd->count; i++)
		job->places[i] = (struct read_place){.wanted = 1};
}

static void read_step(struct op *op)
{
	struct replica_read *rd = container_of(op, struct replica_read, op);
	struct read_wait *w = wait_of(rd);
	struct read_job *job;
	int rc;

	if (op->waits != 0 || !read_wait_job(rd->r, w))
		return; /* wait: disk, leaf, a job */
	job = w->job;
	for (;;) {
		switch ((enum read_phase)w->phase) {
		case READ_START:
			read_start(rd, job);
			w->phase = READ_PLAN;
			continue;
		case READ_PLAN:
			rc = job->load.done.rc; /* of a leaf we waited for, else 0 */
			if (rc == 0)
				rc = ++job->attempts > ATTEMPTS_MAX ? -ERR_CORRUPT
								    : read_plan(rd, job);
			if (rc == PLAN_LOADING)
				return; /* wait: a leaf */
			if (rc == PLAN_BAD && read_ask(rd, job)) {
				w->phase = READ_ASKED;
				return; /* wait: an answer */
			}
			if (rc == PLAN_BAD)
				rc = read_give_up(rd, job);
			if (rc < 0) {
				read_done(rd, rc);
				return;
			}
			w->phase = READ_VERIFY;
			if (read_issue(rd, job) > 0)
				return; /* wait: the disk */
			continue;
		case READ_VERIFY:
			read_verify(rd, job);
			if (read_is_complete(rd, job)) {
				read_finish(rd, job);
				return;
			}
			w->phase = READ_PLAN;
			continue;
		case READ_ASKED:
			read_take(rd, job);
			w->phase = READ_PLAN;
			continue;
		}
	}
}

static void read_begin(struct replica *r, struct snapshot *snap, struct replica_read *rd)
{
	assert(completion_armed(&rd->done));
	assert(rd->count > 0 && rd->count <= READ_BLOCKS_MAX);
	rd->r = r;
	rd->bad_block = rd->block;
	rd->repaired = 0;
	op_init(&rd->op, r->env->ready, read_step);
	read_wait_begin(r, wait_of(rd), &rd->op);
	wait_of(rd)->snap = snap;
}

void replica_read(struct replica *r, struct replica_read *rd)
{
	read_begin(r, NULL, rd);
}

void snapshot_read(struct snapshot *snap, struct replica_read *rd)
{
	read_begin(snap->r, snap, rd);
}

/* --- allocation --- */

static int allocated_fill(struct replica_allocated *q, struct read_wait *w)
{
	struct replica *r = q->r;
	struct leaf *leaf = NULL;
	uint64_t leaf_no = UINT64_MAX;
	const struct replica_volume *v;
	struct map *map = NULL;
	int rc = volume_find(r, w, q->volume, &v, &map);

	if (rc == 0)
		rc = range_check(v, q->block, q->count);
	memset(q->map, 0, sizeof(q->map));
	for (uint32_t i = 0; i < q->count && rc == 0; i++) {
		uint64_t block = q->block + i;
		struct index_hit hit = hit_find(r, w, q->volume, block);
		bool has_data = hit.kind == INDEX_DATA;

		if (hit.kind == INDEX_NONE) {
			if (leaf_no != block / LEAF_BLOCKS) {
				if (leaf != NULL)
					leaf_unpin(leaf);
				leaf = NULL;
				leaf_no = block / LEAF_BLOCKS;
				rc = map_leaf_get(map, leaf_no, &leaf);
			}
			has_data = rc == 0 && place_of_leaf(leaf, block).source == READ_HOME;
		}
		if (has_data)
			q->map[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	if (leaf != NULL)
		leaf_unpin(leaf);
	if (rc != -ERR_AGAIN)
		return rc;
	completion_arm(&w->job->load.done, &q->op, WAIT_LOAD);
	w->job->load.leaf_no = leaf_no;
	w->job->load.level = 0; /* the job may have served replica_compare.c */
	map_leaf_load(map, &w->job->load);
	return 1;
}

static void allocated_step(struct op *op)
{
	struct replica_allocated *q = container_of(op, struct replica_allocated, op);
	struct read_wait *w = (struct read_wait *)(void *)q->private;
	int rc;

	if (op->waits != 0 || !read_wait_job(q->r, w))
		return; /* wait: a leaf, a job */
	rc = w->phase > 0 ? w->job->load.done.rc : 0;
	w->phase++;
	if (rc == 0)
		rc = w->phase > ATTEMPTS_MAX ? -ERR_NOMEM : allocated_fill(q, w);
	if (rc == 1)
		return; /* wait: a leaf */
	read_wait_end(q->r, w);
	completion_fire(&q->done, rc);
}

static void allocated_begin(struct replica *r, struct snapshot *snap, struct replica_allocated *q)
{
	struct read_wait *w = (struct read_wait *)(void *)q->private;

	assert(completion_armed(&q->done));
	assert(q->count > 0 && q->count <= LEAF_BLOCKS);
	q->r = r;
	op_init(&q->op, r->env->ready, allocated_step);
	read_wait_begin(r, w, &q->op);
	w->snap = snap;
}

void replica_allocated(struct replica *r, struct replica_allocated *q)
{
	allocated_begin(r, NULL, q);
}

void snapshot_allocated(struct snapshot *snap, struct replica_allocated *q)
{
	allocated_begin(snap->r, snap, q);
}
