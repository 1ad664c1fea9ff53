/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_mark.c
 *
 * Purpose.     Run what SNAP, RESTORE and CLONE records ask for when fold has reached them: pin snapshots,
 *              put maps in the place of others.
 * Invariants.  NM1 It happens in a capture, when all maps are written out and no table is encoded: the only
 *                  moment in which references are added (replica_snap.c N1, N4).
 *              NM2 A mark is run whole or not at all.
 * Failure.     -ERR_NOMEM, -ERR_AGAIN (the base of a clone is not pinned yet): tried again at the next
 *              checkpoint.
 */
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/store/map_edit.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

static int mark_run(struct replica *r, struct mark *m);

struct lsn replica_mark_lsn(const struct replica *r)
{
	struct list_link *link = list_first(&r->snaps.marks);

	return link == NULL ? (struct lsn){UINT64_MAX}
			    : container_of(link, struct mark, link)->begin;
}

int replica_marks_run(struct replica *r, struct lsn *folded)
{
	struct list_link *link;
	int n = 0;

	while ((link = list_first(&r->snaps.marks)) != NULL) {
		struct mark *m = container_of(link, struct mark, link);
		int rc;

		assert(folded->v <= m->begin.v); /* N1 */
		if (m->begin.v != folded->v || m->end.v > replica_commit_lsn(r).v)
			break;
		rc = mark_run(r, m);
		if (rc < 0)
			return rc;
		*folded = m->end;
		if (m->target != NULL && replica_history_wanted(r))
			replica_anchor_restored(r, m->end, m->target);
		replica_mark_end(r, m);
		n++;
	}
	if (n > 0 && link == NULL)
		replica_deleted_volumes_give(r); /* N5 */
	return n;
}

/* One reference more to each of its maps' roots.  All or none. */
static int roots_pin(struct replica *r, struct snapshot *snap)
{
	struct space *sp = store_space(r->s);
	uint32_t done = 0;
	int rc = 0;

	for (; done < snap->volume_count && rc == 0; done++) {
		struct map *m = r->volumes[snap->volumes[done].volume.slot].map;

		assert(m != NULL); /* N5 */
		rc = map_root_share(m, &snap->volumes[done]);
	}
	if (rc == 0)
		return 0;
	for (uint32_t i = 0; i + 1 < done; i++) {
		if (snap->volumes[i].root != CHUNK_NONE)
			space_page_drop(sp, snap->volumes[i].root);
		snap->volumes[i].root = CHUNK_NONE;
	}
	return rc;
}

static int snapshot_pin(struct replica *r, struct snapshot *snap)
{
	int rc = roots_pin(r, snap);

	if (rc < 0)
		return rc;
	snap->pinned = true;
	r->snaps.unpinned--;
	r->s->snapshots_changed = true;
	return 0;
}

/* New maps on the target's roots; nothing is left behind when it fails. */
static int maps_share(struct replica *r, const struct snapshot *target,
		      struct map *maps[VOLUMES_MAX])
{
	struct space *sp = store_space(r->s);
	uint32_t i;
	int rc = 0;

	for (i = 0; i < target->volume_count && rc == 0; i++) {
		struct volume_root root = target->volumes[i];

		root.volume.bytes = r->volumes[root.volume.slot].v.bytes; /* grown since */
		rc = map_open(r->s, &root, &maps[i]);
		if (rc == 0 && root.root != CHUNK_NONE)
			rc = space_ref_add(sp, root.root);
		if (rc < 0 && maps[i] != NULL)
			map_free(&maps[i]);
	}
	while (rc < 0 && --i > 0) {
		if (target->volumes[i - 1].root != CHUNK_NONE)
			space_page_drop(sp, target->volumes[i - 1].root);
		map_free(&maps[i - 1]);
	}
	return rc;
}

static void map_replace(struct rvolume *v, struct map *m)
{
	if (v->map != NULL)
		map_discard(&v->map);
	v->map = m;
}

/* It becomes the replica's when it is pinned (replica_branch.c BR2). */
static int branch_pin(struct replica *r, struct mark *m)
{
	int rc = roots_pin(r, m->snap);

	if (rc < 0)
		return rc;
	m->snap->pinned = true;
	snapshot_link(r, m->snap);
	m->snap = NULL;
	return 0;
}

static int mark_run(struct replica *r, struct mark *m)
{
	struct map *maps[VOLUMES_MAX] = {NULL};
	int rc = 0;

	if (m->kind == MARK_ANCHOR) {
		replica_anchor_make(r, &m->snap, NULL);
		return 0; /* it holds nothing up */
	}
	if (m->kind == MARK_BRANCH)
		return branch_pin(r, m);
	if (m->target != NULL && !m->target->pinned)
		return -ERR_AGAIN; /* of a clone: fold of its source is on the way */
	if (m->target != NULL)
		rc = maps_share(r, m->target, maps);
	if (rc == 0 && m->snap != NULL)
		rc = snapshot_pin(r, m->snap);
	if (m->target == NULL || rc < 0) {
		for (uint32_t i = 0; rc < 0 && i < VOLUMES_MAX; i++) {
			if (maps[i] == NULL)
				continue;
			if (m->target->volumes[i].root != CHUNK_NONE)
				space_page_drop(store_space(r->s), m->target->volumes[i].root);
			map_free(&maps[i]);
		}
		return rc;
	}
	for (uint32_t i = 0; m->snap != NULL && i < m->snap->volume_count; i++)
		map_replace(&r->volumes[m->snap->volumes[i].volume.slot], NULL);
	for (uint32_t i = 0; i < m->target->volume_count; i++)
		map_replace(&r->volumes[m->target->volumes[i].volume.slot], maps[i]);
	return 0;
}

void replica_mark_end(struct replica *r, struct mark *m)
{
	struct snapshot *snap = m->snap, *target = m->target;

	list_remove(&m->link);
	if (m->kind == MARK_ANCHOR || m->kind == MARK_BRANCH) {
		snapshot_free(&snap); /* not pinned: else it is the replica's */
		free(m);
		return;
	}
	free(m);
	if (snap != NULL) {
		snap->marked = false;
		snapshot_unhold(snap);
	}
	if (target == NULL)
		return;
	snapshot_unhold(target);
	r->snaps.restoring--;
	replica_reads_go(r);
}

void replica_deleted_volumes_give(struct replica *r)
{
	for (uint32_t i = 0; i < r->volume_count; i++) {
		struct rvolume *v = &r->volumes[i];

		if (v->v.deleted && v->map != NULL)
			map_discard(&v->map);
	}
}
