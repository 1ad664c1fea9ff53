/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_compare.c
 *
 * Purpose.     What two sites tell each other about a group's content to find where it differs: pages of
 *              maps, and checksums of blocks.
 * Invariants.  CM1 A digest is called known only if no page below that child has changed in memory since it
 *                  was computed: else a stale one could hide a difference.
 *              CM2 A child is left out of `changed` only if every write to a block below it, by fold or
 *                  by import, carried an LSN below `since`: entries keep the newest one, removed children's
 *                  too.  A child that is only in memory, or above the tree's root, counts as changed.
 *              CM3 Checksums of blocks are of what is committed: index before map, all of one moment.
 * States.      FILL <-> (wait: a page) -> done.
 * Limits.      A read job each (replica_read_job.c); ATTEMPTS_MAX pages waited for.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/map_edit.h"
#include "engine/store/replica_state.h"

#define WAIT_LOAD 1u
#define ATTEMPTS_MAX 64u

_Static_assert(REPLICA_PAGE_CHILDREN == MAP_FAN, "children of a page");
_Static_assert(REPLICA_LEVELS_MAX == MAP_DEPTH_MAX, "levels of a tree");

static int volume_map(const struct replica *r, uint32_t volume, struct map **ret_map)
{
	if (volume >= r->volume_count || !r->volumes[volume].used || r->volumes[volume].v.deleted ||
	    r->volumes[volume].map == NULL)
		return -ERR_NOT_FOUND;
	*ret_map = r->volumes[volume].map;
	return 0;
}

/* 1: waits for a page; else what fill answered last. */
static int step_next(struct op *op, struct read_wait *w, struct map *m, uint64_t leaf_no,
		     uint32_t level)
{
	if (++w->phase > ATTEMPTS_MAX)
		return -ERR_NOMEM;
	completion_arm(&w->job->load.done, op, WAIT_LOAD);
	w->job->load.leaf_no = leaf_no;
	w->job->load.level = level;
	map_leaf_load(m, &w->job->load);
	return 1;
}

/* --- a page --- */

static int page_fill(struct replica_page *q, struct map **ret_map)
{
	struct map_page page;
	int rc = volume_map(q->r, q->volume, ret_map);

	if (rc == 0)
		rc = map_page(*ret_map, q->level, q->index, q->since, &page);
	if (rc < 0)
		return rc;
	q->present = page.present;
	q->known = page.known;
	q->changed = page.changed;
	memcpy(q->digests, page.digests, sizeof(q->digests));
	return 0;
}

static void page_step(struct op *op)
{
	struct replica_page *q = container_of(op, struct replica_page, op);
	struct read_wait *w = (struct read_wait *)(void *)q->private;
	struct map *m = NULL;
	int rc;

	if (op->waits != 0 || !read_wait_job(q->r, w))
		return; /* wait: a page, a job */
	rc = w->phase > 0 ? w->job->load.done.rc : 0;
	if (rc == 0)
		rc = q->level == 0 || q->level > MAP_DEPTH_MAX ||
				     q->index >> (MAP_DEPTH_MAX - q->level) * MAP_FAN_SHIFT != 0
			     ? -ERR_INVALID
			     : page_fill(q, &m);
	if (rc == -ERR_AGAIN)
		rc = step_next(op, w, m, q->index << q->level * MAP_FAN_SHIFT, q->level);
	if (rc == 1)
		return; /* wait: a page */
	read_wait_end(q->r, w);
	completion_fire(&q->done, rc);
}

void replica_page(struct replica *r, struct replica_page *q)
{
	assert(completion_armed(&q->done));
	q->r = r;
	op_init(&q->op, r->env->ready, page_step);
	read_wait_begin(r, (struct read_wait *)(void *)q->private, &q->op);
}

/* --- checksums --- */

static void sums_block(struct replica_sums *q, uint32_t i, bool data, uint32_t crc)
{
	q->crcs[i] = data ? crc : 0;
	if (data)
		q->data[i / 64] |= 1ull << i % 64;
}

static int sums_fill(struct replica_sums *q, struct map **ret_map)
{
	struct leaf *leaf = NULL;
	int rc = volume_map(q->r, q->volume, ret_map);

	if (rc == 0)
		rc = map_leaf_get(*ret_map, q->leaf, &leaf);
	if (rc < 0)
		return rc;
	memset(q->data, 0, sizeof(q->data));
	q->changed = 0;
	for (uint32_t i = 0; i < LEAF_BLOCKS; i++) { /* CM3 */
		struct index_hit hit = index_get(q->r->index, q->volume, q->leaf * LEAF_BLOCKS + i);
		struct block_place p = {.kind = PLACE_HOLE};

		if (hit.kind != INDEX_NONE) {
			q->changed |= 1u << i / CHUNK_BLOCKS;
			sums_block(q, i, hit.kind == INDEX_DATA, hit.crc);
			continue;
		}
		if (leaf != NULL)
			p = leaf_place(leaf, i);
		sums_block(q, i, p.kind == PLACE_HOME, p.crc);
	}
	for (uint32_t c = 0; leaf != NULL && c < LEAF_CHUNKS; c++)
		if (leaf_newest(leaf, c).v >= q->since.v)
			q->changed |= 1u << c;
	if (leaf != NULL)
		leaf_unpin(leaf);
	return 0;
}

static void sums_step(struct op *op)
{
	struct replica_sums *q = container_of(op, struct replica_sums, op);
	struct read_wait *w = (struct read_wait *)(void *)q->private;
	struct map *m = NULL;
	int rc;

	if (op->waits != 0 || !read_wait_job(q->r, w))
		return; /* wait: a leaf, a job */
	rc = w->phase > 0 ? w->job->load.done.rc : 0;
	if (rc == 0)
		rc = q->leaf >> MAP_DEPTH_MAX * MAP_FAN_SHIFT != 0 ? -ERR_INVALID
								   : sums_fill(q, &m);
	if (rc == -ERR_AGAIN)
		rc = step_next(op, w, m, q->leaf, 0);
	if (rc == 1)
		return; /* wait: a leaf */
	read_wait_end(q->r, w);
	completion_fire(&q->done, rc);
}

void replica_sums(struct replica *r, struct replica_sums *q)
{
	assert(completion_armed(&q->done));
	q->r = r;
	op_init(&q->op, r->env->ready, sums_step);
	read_wait_begin(r, (struct read_wait *)(void *)q->private, &q->op);
}
