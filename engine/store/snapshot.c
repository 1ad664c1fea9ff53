/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/snapshot.c
 * Purpose.     Snapshots as others see them: lists, readers, content, digests.
 * Invariants.  SN1 A reader holds the snapshot and its replica; its maps are open while there is one.
 *              SN2 What a pinned snapshot names is never changed in place, so reading it needs no index and
 *                  a checksum that does not fit is damage.
 * States.      opening: FOLD (until it is pinned) -> done.
 * Ownership.   The caller of open owns one reader's share until close.
 * Failure.     As fold's, for a snapshot that it cannot reach.
 */
#include "engine/store/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/delta.h"
#include "engine/store/digest.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

struct snapshot_opening {
	struct list_link link; /* replica_snaps.openings */
	struct op op;
	struct snapshot *snap;
	struct snapshot **ret;
	struct completion folded, *done;
};

static void opening_step(struct op *op);

/* --- lists --- */

static uint32_t clones_of(const struct snapshot *snap)
{
	struct store *s = snap->r->s;
	uint32_t n = 0;

	for (struct replica *r = store_first_replica(s); r != NULL; r = store_next_replica(s, r))
		n += r->snaps.cloned && uuid_equal(&r->snaps.base.snapshot, &snap->uuid);
	return n;
}

void snapshot_info_get(const struct snapshot *snap, struct snapshot_info *ret)
{
	*ret = (struct snapshot_info){
		.uuid = snap->uuid,
		.lsn = snap->lsn,
		.time = snap->time,
		.flags = snap->flags,
		.pinned = snap->pinned,
		.past = snap->past,
		.missing = snap->missing,
		.readers = snap->readers,
		.clones = clones_of(snap),
		.volume_count = snap->volume_count,
	};
	memcpy(ret->name, snap->name, sizeof(ret->name));
	for (uint32_t i = 0; i < snap->volume_count; i++)
		ret->used_bytes += snap->volumes[i].volume.used_bytes;
}

uint32_t replica_snapshots(const struct replica *r, struct snapshot_info *ret, uint32_t max)
{
	uint32_t n = 0;

	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->listed)
			continue;
		if (n < max)
			snapshot_info_get(snap, &ret[n]);
		n++;
	}
	return n;
}

bool replica_snapshot_at(const struct replica *r, uint32_t index, struct snapshot_info *ret)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->listed || index-- > 0)
			continue;
		snapshot_info_get(snap, ret);
		return true;
	}
	return false;
}

static struct snapshot *listed_find(const struct replica *r, const struct uuid *uuid)
{
	struct snapshot *snap = replica_snap_find(r, uuid);

	return snap != NULL && snap->listed ? snap : NULL;
}

int replica_snapshot_by_name(const struct replica *r, const char *name, struct snapshot_info *ret)
{
	const struct snapshot *found = NULL;

	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->listed || strcmp(snap->name, name) != 0)
			continue;
		/* The shared history's comes before one that only this site has. */
		if (found == NULL || (snap->flags & RECORD_SNAP_BRANCH) == 0)
			found = snap;
	}
	if (found == NULL)
		return -ERR_NOT_FOUND;
	snapshot_info_get(found, ret);
	return 0;
}

int replica_snapshot_by_uuid(const struct replica *r, const struct uuid *uuid,
			     struct snapshot_info *ret)
{
	const struct snapshot *snap = listed_find(r, uuid);

	if (snap == NULL)
		return -ERR_NOT_FOUND;
	snapshot_info_get(snap, ret);
	return 0;
}

int replica_snapshot_check(const struct replica *r, const char *name, uint32_t more)
{
	struct snapshot_info info;

	if (replica_snapshot_by_name(r, name, &info) == 0)
		return -ERR_EXISTS;
	if (r->snaps.listed + more >= SNAPSHOTS_MAX ||
	    store_roots(r->s) + (1 + more) * r->volume_count > STORE_ROOTS_MAX)
		return -ERR_FULL;
	return r->snaps.unpinned + r->snaps.pasts + more >= SNAPSHOTS_UNPINNED_MAX ? -ERR_AGAIN : 0;
}

uint32_t replica_snapshots_unpinned(const struct replica *r)
{
	return r->snaps.unpinned;
}

bool replica_is_restoring(const struct replica *r)
{
	return r->snaps.restoring > 0;
}

uint32_t snapshot_volumes(const struct snapshot *snap, struct replica_volume *ret, uint32_t max)
{
	uint32_t n = snap->volume_count < max ? snap->volume_count : max;

	for (uint32_t i = 0; i < n; i++)
		ret[i] = snap->volumes[i].volume;
	return n;
}

uint32_t replica_snapshot_volumes(const struct replica *r, const struct uuid *uuid,
				  struct replica_volume *ret, uint32_t max)
{
	const struct snapshot *snap = listed_find(r, uuid);

	return snap == NULL ? 0 : snapshot_volumes(snap, ret, max);
}

bool replica_clone_base(const struct replica *r, struct record_clone *ret)
{
	if (r->snaps.cloned)
		*ret = r->snaps.base;
	return r->snaps.cloned;
}

int replica_clone_check(struct store *s, const struct uuid *group, const struct uuid *snapshot)
{
	struct replica *r = replica_find(s, group);

	return r != NULL && listed_find(r, snapshot) != NULL ? 0 : -ERR_NOT_FOUND;
}

/* --- readers --- */

static int maps_open(struct snapshot *snap)
{
	int rc = 0;

	if (snap->maps != NULL)
		return 0;
	snap->maps = calloc(snap->volume_count + 1, sizeof(struct map *));
	if (snap->maps == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < snap->volume_count && rc == 0; i++)
		rc = map_open(snap->r->s, &snap->volumes[i], &snap->maps[i]);
	if (rc < 0)
		snapshot_maps_close(snap);
	return rc;
}

/* SN1 */
static int reader_begin(struct snapshot *snap, struct snapshot **ret)
{
	int rc = maps_open(snap);

	if (rc < 0)
		return rc;
	snap->readers++;
	replica_hold(snap->r);
	*ret = snap;
	return 0;
}

void replica_snapshot_open(struct replica *r, const struct uuid *uuid, struct snapshot **ret,
			   struct completion *done)
{
	struct snapshot *snap = r->deleted ? NULL : listed_find(r, uuid);
	struct snapshot_opening *o;

	*ret = NULL;
	if (!r->failed && snap != NULL && (snap->past || snap->missing)) {
		completion_fire(done, snap->past ? -ERR_AGAIN : -ERR_NOT_FOUND);
		return;
	}
	if (r->failed || snap == NULL || snap->pinned) {
		completion_fire(done, r->failed	     ? -ERR_FAILED
				      : snap == NULL ? -ERR_NOT_FOUND
						     : reader_begin(snap, ret));
		return;
	}
	o = calloc(1, sizeof(*o));
	if (o == NULL) {
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	op_init(&o->op, r->env->ready, opening_step);
	list_link_init(&o->link);
	list_push_back(&r->snaps.openings, &o->link);
	o->snap = snap;
	o->ret = ret;
	o->done = done;
	snapshot_hold(snap);
	replica_hold(r);
	completion_arm(&o->folded, &o->op, 1);
	store_fold_now(r->s, r, &o->folded);
}

static void opening_step(struct op *op)
{
	struct snapshot_opening *o = container_of(op, struct snapshot_opening, op);
	struct snapshot *snap = o->snap;
	struct replica *r = snap->r;
	struct completion *done = o->done;
	int rc = o->folded.rc;

	if (op->waits != 0)
		return; /* wait: fold and its checkpoint */
	if (rc == 0)
		rc = r->deleted	    ? -ERR_NOT_FOUND
		     : snap->pinned ? reader_begin(snap, o->ret)
				    : -ERR_AGAIN; /* its record is not durable yet */
	list_remove(&o->link);
	free(o);
	snapshot_unhold(snap);
	replica_release(r);
	completion_fire(done, rc);
}

void snapshot_opening_free(struct list_link *link)
{
	free(container_of(link, struct snapshot_opening, link));
}

void replica_snapshot_close(struct snapshot **sp)
{
	struct snapshot *snap = *sp;
	struct replica *r;

	*sp = NULL;
	if (snap == NULL)
		return;
	r = snap->r;
	assert(snap->readers > 0);
	if (--snap->readers == 0) {
		snapshot_maps_close(snap);
		snapshot_hold(snap);
		snapshot_unhold(snap); /* it may have been deleted meanwhile */
	}
	replica_release(r);
}

/* --- content --- */

static int slot_find(const struct snapshot *snap, uint32_t slot, uint32_t *ret)
{
	for (uint32_t i = 0; i < snap->volume_count; i++) {
		if (snap->volumes[i].volume.slot != slot)
			continue;
		*ret = i;
		return 0;
	}
	return -ERR_NOT_FOUND;
}

const struct volume_root *snapshot_volume(const struct snapshot *snap, uint32_t slot,
					  struct map **ret_map)
{
	uint32_t i;

	if (slot_find(snap, slot, &i) < 0)
		return NULL;
	*ret_map = snap->maps[i];
	return &snap->volumes[i];
}

uint64_t snapshot_volume_digest(const struct snapshot *snap, uint32_t volume)
{
	uint32_t i;

	return slot_find(snap, volume, &i) < 0 ? 0 : digest_volume(0, &snap->volumes[i]);
}

uint64_t snapshot_digest(const struct snapshot *snap)
{
	uint64_t digest = 0;

	for (uint32_t i = 0; i < snap->volume_count; i++)
		digest = digest_volume(digest, &snap->volumes[i]);
	return digest;
}

static struct map *map_by_uuid(const struct snapshot *snap, const struct uuid *uuid)
{
	for (uint32_t i = 0; snap != NULL && i < snap->volume_count; i++)
		if (uuid_equal(&snap->volumes[i].volume.uuid, uuid))
			return snap->maps[i];
	return NULL;
}

void snapshot_delta(struct snapshot_delta *d)
{
	struct map *from = map_by_uuid(d->from, &d->volume), *to = map_by_uuid(d->to, &d->volume);

	assert(d->to != NULL);
	if (from == NULL && to == NULL)
		completion_fire(&d->done, -ERR_NOT_FOUND);
	else
		delta_walk(d, d->to->r->env, from, to);
}
