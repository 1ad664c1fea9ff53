/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_commit.c
 *
 * Purpose.     What a record does when it is committed: index entries, volumes, epochs' facts.
 * Invariants.  C1  Records are applied whole, in order, each once per opening; the index is asked
 *                  for room first.
 *              C2  Volumes in a checkpoint may be newer than its fold: records below `applied` do not
 *                  change them again when they are replayed.
 *              C3  While fold finds no room in the store the index grows (by no more than the journal
 *                  holds): the delete that gives room back may be behind what it has no place for.
 * Failure.     -ERR_AGAIN: the index is full until fold has worked, or a snapshot of the past that the record refers to is
 *              still being made.  -ERR_NOT_FOUND: the record refers to a
 *              snapshot that is not here; commit stays before it.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/store/extents.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

/* The volume of an extent of the record at begin; NULL: unknown. */
static const struct replica_volume *volume_at(const struct replica *r, struct lsn begin,
					      uint32_t slot)
{
	const struct replica_volume *v = replica_snap_volume(r, begin, slot);

	if (slot >= r->volume_count)
		return NULL;
	if (v == NULL)
		v = r->volumes[slot].used ? &r->volumes[slot].v : NULL;
	return v;
}

static void clip(const struct replica *r, const struct journal_uncommitted *u,
		 struct extents_clip *ret)
{
	for (uint32_t i = 0; i < u->view.extent_count; i++) {
		struct record_extent e = record_extent_at(u->header, &u->view, i);

		ret->count[i] = extent_clip(&e, volume_at(r, u->view.begin, e.volume));
	}
}

static int index_make_room(struct replica *r, uint64_t need, bool may_grow)
{
	uint64_t want = (uint64_t)index_count(r->index) + need;

	if (want <= index_max(r->index))
		return 0;
	if (!may_grow && index_count(r->index) > 0) {
		if (r->env->counters != NULL)
			counter_add(r->env->counters, CTR_QUEUE_FULL_INDEX, 1);
		return -ERR_AGAIN;
	}
	want = want < 1u << 20 ? want * 2 : want + want / 4;
	return want > UINT32_MAX - 1 ? -ERR_NOMEM : index_grow(r->index, (uint32_t)want);
}

static int apply_write(struct replica *r, const struct journal_uncommitted *u, bool may_grow)
{
	struct extents_clip in;
	int rc;

	clip(r, u, &in);
	rc = index_make_room(r, extents_need(u, &in), may_grow);
	if (rc == 0)
		extents_index(r->index, u, &in);
	return rc;
}

static int volume_create(struct replica *r, const struct record_volume *rv)
{
	struct rvolume *v = &r->volumes[rv->slot];
	struct volume_root root = {.root = UINT64_MAX};
	int rc;

	if (v->used)
		return 0; /* a slot is never used again */
	root.volume.slot = rv->slot;
	root.volume.uuid = rv->uuid;
	root.volume.bytes = rv->bytes;
	root.volume.block_bytes = rv->block_bytes;
	memcpy(root.volume.name, rv->name, sizeof(root.volume.name));
	rc = map_open(r->s, &root, &v->map);
	if (rc < 0)
		return rc;
	v->v = root.volume;
	v->used = true;
	if (r->volume_count <= rv->slot)
		r->volume_count = rv->slot + 1;
	return 0;
}

static int apply_volume(struct replica *r, const struct journal_uncommitted *u)
{
	struct record_volume rv;
	struct rvolume *v;
	int rc = record_volume_decode(record_body(u->header, &u->view), u->view.body_bytes, &rv);

	if (rc < 0)
		return 0; /* the decoder of the record had accepted it: cannot be */
	if (u->view.end.v <= r->snaps.applied.v)
		return 0; /* C2 */
	v = &r->volumes[rv.slot];
	if (rv.op == RECORD_VOLUME_CREATE)
		return volume_create(r, &rv);
	if (!v->used || v->v.deleted || !uuid_equal(&v->v.uuid, &rv.uuid))
		return 0;
	if (rv.op == RECORD_VOLUME_RESIZE) {
		if (rv.bytes > v->v.bytes) {
			v->v.bytes = rv.bytes;
			map_resize(v->map, rv.bytes);
		}
		return 0;
	}
	v->v.deleted = true;
	index_drop_volume(r->index, rv.slot);
	if (list_empty(&r->snaps.marks))
		map_discard(&v->map); /* else a snapshot below may need it */
	return 0;
}

int replica_apply_first(struct replica *r, bool may_grow)
{
	struct journal_uncommitted u;
	struct record_epoch epoch;
	int rc = 0;

	if (!journal_uncommitted_first(r->journal, &u))
		return 0;
	switch (u.view.type) {
	case RECORD_WRITE:
		rc = apply_write(r, &u, may_grow);
		break;
	case RECORD_VOLUME:
		rc = apply_volume(r, &u);
		break;
	case RECORD_EPOCH:
		if (record_epoch_decode(record_body(u.header, &u.view), u.view.body_bytes,
					&epoch) == 0) {
			r->last_forced_epoch = epoch.last_forced_epoch;
			r->content_generation = epoch.content_generation;
		}
		break;
	case RECORD_SNAP:
	case RECORD_RESTORE:
	case RECORD_CLONE:
		rc = replica_snap_apply(r, &u);
		break;
	case RECORD_NOTE:
	case RECORD_DELTA_BEGIN:
	case RECORD_DELTA_COMMIT:
	case RECORD_PAD:
		break;
	}
	if (rc < 0)
		return rc;
	assert(u.view.begin.v >= r->commit.v || u.view.end.v <= r->commit.v);
	if (u.view.end.v > r->commit.v)
		r->commit = u.view.end;
	r->commit_wall = u.view.wall;
	journal_committed_first(r->journal);
	return 0;
}

bool replica_commit_next(struct replica *r, struct lsn upto, struct lsn *ret_end)
{
	struct journal_uncommitted u;

	if (!journal_uncommitted_first(r->journal, &u) || u.view.end.v > upto.v)
		return false;
	*ret_end = u.view.end;
	return true;
}

int replica_commit(struct replica *r, struct lsn lsn)
{
	const struct replica_entry *e = store_entry(r->s, r);
	bool stuck = e != NULL && e->retry_rc == -ERR_FULL; /* C3 */
	struct lsn before = r->commit, end;
	int rc = 0;

	if (r->failed)
		return -ERR_FAILED;
	while (rc == 0 && replica_commit_next(r, lsn, &end))
		rc = replica_apply_first(r, stuck);
	if (r->commit.v != before.v) {
		r->commit_time = clock_now(r->env->clock);
		replica_history_committed(r);
		replica_wake(r);
	}
	if (rc == -ERR_AGAIN)
		r->was_full = true;
	if (rc < 0 && rc != -ERR_AGAIN && rc != -ERR_NOT_FOUND)
		store_fail(r->s, rc, "commit of a record");
	if (r->commit.v != before.v || rc < 0)
		store_kick(r->s);
	return rc;
}
