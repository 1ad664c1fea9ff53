/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/snapshot_owned.c
 * Purpose.     How much space one snapshot alone holds.
 * Invariants.  SO1 A page is its own if it has one reference and so has every page above it; a chunk, if its
 *                  one reference is in such a leaf.  Only own pages are read, so the cost follows the answer.
 *              SO2 The snapshot is held: its own pages stay what they are.
 * States.      per volume: down and up one path of pages; then done.
 * Ownership.   The walk is malloced and freed when done.
 * Failure.     -ERR_CORRUPT, -ERR_IO: a page of it cannot be read.
 */
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

struct owned_frame {
	uint8_t *page;
	struct disk_inner_entry entry; /* what its parent says */
	uint32_t level;
	uint64_t index;
	uint32_t next; /* entry to look at */
};

struct owned_walk {
	struct snapshot *snap;
	uint32_t volume, depth; /* frames in use */
	bool reading;
	struct owned_frame frames[MAP_DEPTH_MAX + 1];
	struct disk_req req;
	uint8_t *arena;
};

static void owned_step(struct op *op);

static struct owned_walk *walk_of(struct snapshot_owned *q)
{
	return q->private[0];
}

static void owned_end(struct snapshot_owned *q, int rc)
{
	struct owned_walk *w = walk_of(q);
	struct replica *r = q->r;

	snapshot_unhold(w->snap);
	free(w->arena);
	free(w);
	q->private[0] = NULL;
	completion_fire(&q->done, rc);
	replica_release(r);
}

void replica_snapshot_owned(struct replica *r, struct snapshot_owned *q)
{
	struct snapshot *snap = replica_snap_find(r, &q->snapshot);
	struct owned_walk *w = NULL;

	q->bytes = 0;
	if (r->failed || snap == NULL || !snap->listed || snap->missing) {
		completion_fire(&q->done, r->failed ? -ERR_FAILED : -ERR_NOT_FOUND);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w != NULL)
		w->arena = aligned_alloc(PAGE_BYTES, (MAP_DEPTH_MAX + 1) * PAGE_BYTES);
	if (w == NULL || w->arena == NULL) {
		free(w);
		completion_fire(&q->done, -ERR_NOMEM);
		return;
	}
	for (uint32_t i = 0; i <= MAP_DEPTH_MAX; i++)
		w->frames[i].page = w->arena + i * PAGE_BYTES;
	w->snap = snap;
	snapshot_hold(snap); /* SO2 */
	replica_hold(r);
	q->r = r;
	q->private[0] = w;
	op_init(&q->op, r->env->ready, owned_step);
	op_wake(&q->op);
}

/* Go down to a page if it is its own.  SO1 */
static bool owned_read(struct snapshot_owned *q, const struct disk_inner_entry *entry,
		       uint32_t level, uint64_t index)
{
	struct owned_walk *w = walk_of(q);
	struct owned_frame *f;

	if (entry->address == DISK_NONE || space_refs(store_space(q->r->s), entry->address) != 1)
		return false;
	assert(w->depth <= MAP_DEPTH_MAX);
	f = &w->frames[w->depth++];
	f->entry = *entry;
	f->level = level;
	f->index = index;
	f->next = 0;
	w->reading = true;
	completion_arm(&w->req.done, &q->op, 1);
	disk_io(store_disk(q->r->s), &w->req, DISK_READ, 0, entry->address, f->page, PAGE_BYTES);
	return true;
}

static void leaf_count(struct snapshot_owned *q, const struct disk_leaf *leaf)
{
	struct space *sp = store_space(q->r->s);

	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		const struct disk_chunk *c = &leaf->chunks[i];

		if (c->chunk != DISK_NONE && space_refs(sp, c->chunk) == 1)
			q->bytes += CHUNK_BYTES;
		if (c->base != DISK_NONE && space_refs(sp, c->base) == 1)
			q->bytes += CHUNK_BYTES;
	}
}

/* The page of the topmost frame has come. */
static int page_arrived(struct snapshot_owned *q)
{
	struct owned_walk *w = walk_of(q);
	struct owned_frame *f = &w->frames[w->depth - 1];
	struct page_name name = {.address = f->entry.address,
				 .crc = f->entry.crc,
				 .kind = f->level == 0 ? PAGE_LEAF : PAGE_INNER,
				 .level = (uint16_t)f->level,
				 .index = f->index};
	uint64_t disk_bytes = q->r->s->cache->opts.disk_bytes;
	int rc = w->req.done.rc;

	w->reading = false;
	if (rc == 0)
		rc = page_check(f->page, &name, store_uuid(q->r->s));
	if (rc == 0)
		rc = f->level == 0 ? leaf_check((const void *)f->page, disk_bytes)
				   : inner_check((const void *)f->page, disk_bytes);
	if (rc < 0)
		return rc;
	q->bytes += PAGE_BYTES;
	if (f->level == 0) {
		leaf_count(q, (const void *)f->page);
		w->depth--;
	}
	return 0;
}

/* From the topmost inner page on: true: a page is being read. */
static bool inner_step(struct snapshot_owned *q)
{
	struct owned_walk *w = walk_of(q);
	struct owned_frame *f = &w->frames[w->depth - 1];
	const struct disk_inner *inner = (const void *)f->page;

	while (f->next < MAP_FAN) {
		uint32_t i = f->next++;

		if (owned_read(q, &inner->entries[i], f->level - 1, f->index * MAP_FAN + i))
			return true;
	}
	w->depth--;
	return false;
}

static void owned_step(struct op *op)
{
	struct snapshot_owned *q = container_of(op, struct snapshot_owned, op);
	struct owned_walk *w = walk_of(q);
	int rc = 0;

	if (op->waits != 0)
		return; /* wait: a page */
	if (w->reading)
		rc = page_arrived(q);
	while (rc == 0) {
		const struct volume_root *root;
		struct disk_inner_entry entry;

		if (w->depth > 0) {
			if (inner_step(q))
				return; /* wait: a page */
			continue;
		}
		if (w->volume == w->snap->volume_count)
			break;
		root = &w->snap->volumes[w->volume++];
		entry = (struct disk_inner_entry){.address = root->root, .crc = root->root_crc};
		if (owned_read(q, &entry, root->depth, 0))
			return; /* wait: a page */
	}
	owned_end(q, rc);
}
