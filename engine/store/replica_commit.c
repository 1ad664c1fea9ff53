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
 * Failure.     -ERR_AGAIN: the index is full until fold has worked.  -ERR_NOT_FOUND: the record refers to a
 *              snapshot that is not here; commit stays before it.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"
#include "proto/record_place.h"

/* The blocks of extent e that lie in its volume; 0: none (unknown, deleted, beyond the end). */
static uint32_t extent_clip(const struct replica *r, struct lsn begin,
			    const struct record_extent *e)
{
	const struct replica_volume *v = replica_snap_volume(r, begin, e->volume);
	uint64_t blocks;

	if (e->volume >= r->volume_count)
		return 0;
	if (v == NULL)
		v = r->volumes[e->volume].used ? &r->volumes[e->volume].v : NULL;
	if (v == NULL || v->deleted)
		return 0;
	blocks = (v->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	if (e->block >= blocks)
		return 0;
	return blocks - e->block < e->count ? (uint32_t)(blocks - e->block) : e->count;
}

static uint64_t entries_needed(const struct replica *r, const struct journal_uncommitted *u)
{
	uint64_t need = 0;

	for (uint32_t i = 0; i < u->view.extent_count; i++) {
		struct record_extent e = record_extent_at(u->header, &u->view, i);
		uint32_t count = extent_clip(r, u->view.begin, &e);

		if (count > 0)
			need += e.kind == EXTENT_DATA ? count : index_range_need(e.block, count);
	}
	return need;
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

/* `count` blocks of DATA extent e, each at its place in journal or chunk. */
static int apply_data(struct replica *r, const struct journal_uncommitted *u,
		      const struct record_runs *runs, const struct record_extent *e, uint32_t count,
		      struct lsn lsn)
{
	int rc = 0;

	for (uint32_t b = 0; b < count && rc == 0; b++) {
		uint32_t nth = e->payload_block + b;
		uint64_t off = record_block_off(runs, &u->place.chunks, u->place.off, nth,
						u->view.payload_blocks, NULL);

		rc = index_put_data(r->index, e->volume, e->block + b, off,
				    record_crc_at(u->header, &u->view, nth), lsn);
	}
	return rc;
}

static void apply_extents(struct replica *r, const struct journal_uncommitted *u)
{
	struct record_runs runs;
	int rc = 0;

	record_runs(u->header, &u->view, &runs);
	for (uint32_t i = 0; i < u->view.extent_count && rc == 0; i++) {
		struct record_extent e = record_extent_at(u->header, &u->view, i);
		struct lsn lsn = {u->view.begin.v + i}; /* index.h: later extents win */
		uint32_t count = extent_clip(r, u->view.begin, &e);

		if (count == 0)
			continue;
		if (e.kind != EXTENT_DATA) {
			rc = index_put_range(r->index, e.volume, e.block, count,
					     e.kind == EXTENT_ZERO ? INDEX_ZERO : INDEX_DISCARD,
					     lsn);
			continue;
		}
		rc = apply_data(r, u, &runs, &e, count, lsn);
	}
	assert(rc == 0); /* C1 */
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
		rc = index_make_room(r, entries_needed(r, &u), may_grow);
		if (rc == 0)
			apply_extents(r, &u);
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
