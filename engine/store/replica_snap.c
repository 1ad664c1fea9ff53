/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_snap.c
 *
 * Purpose.     What SNAP, RESTORE and CLONE records do: at commit, and when fold has reached them.
 * Invariants.  N1  From its commit on a mark stands at each such record.  Fold stops at its begin; a capture,
 *                  when all maps are written out, runs it and moves fold behind it.  So the maps hold
 *                  exactly what is below the record, and pinning costs no I/O.  A crash before that checkpoint
 *                  is durable replays the record.
 *              N2  A snapshot is in every capture from its commit on, with its volumes as they were then;
 *                  unlisted ones, too, while a mark or a reader needs them.
 *              N3  Tables of a root are as of its commit: a replayed record below it sets its mark only, and a
 *                  replayed write goes by the volumes of the next snapshot that is not pinned.
 *              N4  References are added in captures only; roots leave as ghosts (map_discard).
 *              N5  While there is a mark the map of a deleted volume stays: a snapshot may need it.
 *              N6  A snapshot of the past (SNAP with `at`) has no mark and no volumes until past.c has made it of an
 *                  anchor and the journal; it is listed at once.  Where that cannot be done it is listed as missing,
 *                  so that names mean the same at every site.
 * States.      a snapshot: committed -> pinned -> (unlisted) -> given;  unlisted before pinned: given after.
 *              of the past: committed -> pinned | missing -> (unlisted) -> given.
 * Ownership.   A replica owns its snapshots; marks, openings and walks hold them.
 * Failure.     What a record refers to is not here: -ERR_NOT_FOUND, or is still being made: -ERR_AGAIN; commit stays before it.  A mark that cannot
 *              be run (memory) is tried again at the next checkpoint.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/env.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

static int apply_snap(struct replica *r, const struct journal_uncommitted *u);
static int apply_restore(struct replica *r, const struct journal_uncommitted *u);
static int apply_clone(struct replica *r, const struct journal_uncommitted *u);

void replica_snaps_init(struct replica *r)
{
	list_init(&r->snaps.list);
	list_init(&r->snaps.marks);
	list_init(&r->snaps.openings);
	list_init(&r->snaps.waiting);
}

struct replica_snaps *replica_snaps(struct replica *r)
{
	return &r->snaps;
}

void snapshot_maps_close(struct snapshot *snap)
{
	for (uint32_t i = 0; snap->maps != NULL && i < snap->volume_count; i++)
		if (snap->maps[i] != NULL)
			map_free(&snap->maps[i]);
	free(snap->maps);
	snap->maps = NULL;
}

void snapshot_free(struct snapshot **sp)
{
	struct snapshot *snap = *sp;

	*sp = NULL;
	if (snap == NULL)
		return;
	snapshot_maps_close(snap);
	free(snap->volumes);
	free(snap);
}

void replica_snaps_free(struct replica *r)
{
	struct list_link *link;

	while ((link = list_pop_front(&r->snaps.marks)) != NULL) {
		struct mark *m = container_of(link, struct mark, link);

		if (m->kind == MARK_ANCHOR || m->kind == MARK_BRANCH)
			snapshot_free(&m->snap);
		free(m);
	}
	while ((link = list_pop_front(&r->snaps.openings)) != NULL)
		snapshot_opening_free(link);
	while ((link = list_pop_front(&r->snaps.list)) != NULL) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		snapshot_free(&snap);
	}
}

struct snapshot *replica_snap_find(const struct replica *r, const struct uuid *uuid)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (uuid_equal(&snap->uuid, uuid))
			return snap;
	}
	return NULL;
}

static bool name_is_taken(const struct replica *r, const char *name)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		/* What only this site has does not stand in the way of a record: every site decides alike. */
		if (snap->listed && (snap->flags & RECORD_SNAP_BRANCH) == 0 &&
		    strcmp(snap->name, name) == 0)
			return true;
	}
	return false;
}

uint32_t store_roots(struct store *s)
{
	uint32_t n = 0;

	for (struct replica *r = store_first_replica(s); r != NULL; r = store_next_replica(s, r))
		n += r->volume_count + r->snaps.roots;
	return n;
}

static void count(struct snapshot *snap, bool in)
{
	struct replica_snaps *n = &snap->r->snaps;
	uint32_t one = in ? 1 : UINT32_MAX; /* modulo 2^32: minus one */

	assert(in || n->roots >= snap->volume_count);
	n->roots += one * snap->volume_count;
	n->listed += one * snap->listed;
	n->anchors += one * snap->anchor;
	n->pasts += one * snap->past;
	n->unpinned += one * (!snap->pinned && !snap->past && !snap->missing);
	snap->r->s->snapshots_changed = true;
}

/* Among the others, by LSN; counted. */
void snapshot_link(struct replica *r, struct snapshot *snap)
{
	struct list later;
	struct list_link *link;

	list_init(&later);
	while ((link = list_last(&r->snaps.list)) != NULL &&
	       container_of(link, struct snapshot, link)->lsn.v > snap->lsn.v) {
		list_remove(link);
		list_push_front(&later, link);
	}
	list_push_back(&r->snaps.list, &snap->link);
	while ((link = list_pop_front(&later)) != NULL)
		list_push_back(&r->snaps.list, link);
	snap->r = r;
	count(snap, true);
}

static void snapshot_unlink(struct snapshot *snap)
{
	list_remove(&snap->link);
	count(snap, false);
}

/* Its trees become ghosts.  N4 */
static void snapshot_give(struct snapshot *snap)
{
	struct store *s = snap->r->s;

	snapshot_maps_close(snap);
	for (uint32_t i = 0; i < snap->volume_count; i++) {
		struct map *m;
		int rc;

		if (snap->volumes[i].root == CHUNK_NONE)
			continue;
		rc = map_open(s, &snap->volumes[i], &m);
		if (rc == 0)
			map_discard(&m);
		else
			store_fail(s, rc, "giving a snapshot back"); /* reopening does it */
	}
	snapshot_unlink(snap);
	snapshot_free(&snap);
}

void snapshot_hold(struct snapshot *snap)
{
	snap->holds++;
}

static void give_unneeded(struct snapshot *snap)
{
	if (!snap->listed && !snap->anchor && snap->holds == 0 && snap->readers == 0)
		snapshot_give(snap);
}

void snapshot_past_pinned(struct snapshot *snap, struct volume_root *volumes, uint32_t volume_count)
{
	assert(snap->past && snap->volume_count == 0);
	count(snap, false);
	free(snap->volumes);
	snap->volumes = volumes;
	snap->volume_count = volume_count;
	snap->past = false;
	snap->pinned = true;
	count(snap, true);
}

void snapshot_past_missing(struct snapshot *snap)
{
	assert(snap->past && !snap->pinned);
	count(snap, false);
	snap->past = false;
	snap->missing = true;
	count(snap, true);
}

void snapshot_anchor_clear(struct snapshot *snap)
{
	count(snap, false);
	snap->anchor = false;
	count(snap, true);
}

void snapshot_unlist(struct snapshot *snap)
{
	count(snap, false);
	snap->listed = snap->past = snap->missing =
		false; /* N6: whoever is at work on it sees that */
	count(snap, true);
	give_unneeded(snap);
}

void snapshot_unhold(struct snapshot *snap)
{
	assert(snap->holds > 0);
	snap->holds--;
	give_unneeded(snap);
}

/* --- commit --- */

int replica_snap_apply(struct replica *r, const struct journal_uncommitted *u)
{
	if (u->view.type == RECORD_SNAP)
		return apply_snap(r, u);
	if (u->view.type == RECORD_RESTORE)
		return apply_restore(r, u);
	assert(u->view.type == RECORD_CLONE);
	return apply_clone(r, u);
}

/* The tables held its effect already.  N3 */
static bool is_applied(const struct replica *r, const struct journal_uncommitted *u)
{
	return u->view.end.v <= r->snaps.applied.v;
}

static struct mark *mark_make(enum mark_kind kind, const struct journal_uncommitted *u)
{
	struct mark *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->kind = kind;
	m->begin = u->view.begin;
	m->end = u->view.end;
	return m;
}

static void mark_add(struct replica *r, struct mark *m, struct snapshot *snap,
		     struct snapshot *target)
{
	m->snap = snap;
	m->target = target;
	if (snap != NULL) {
		assert(!snap->pinned && !snap->marked);
		snap->marked = true;
		snapshot_hold(snap);
	}
	if (target != NULL) {
		snapshot_hold(target);
		r->snaps.restoring++;
	}
	index_barrier(r->index, m->begin); /* N1 */
	list_push_back(&r->snaps.marks, &m->link);
}

static struct snapshot *snapshot_alloc(uint32_t volumes)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));

	if (snap == NULL)
		return NULL;
	list_link_init(&snap->link);
	snap->volumes = calloc(volumes + 1, sizeof(*snap->volumes));
	if (snap->volumes != NULL)
		return snap;
	free(snap);
	return NULL;
}

struct snapshot *snapshot_of(const struct snapshot *target)
{
	struct snapshot *snap = snapshot_alloc(target->volume_count);

	if (snap != NULL)
		snap->volume_count = target->volume_count;
	return snap;
}

struct snapshot *snapshot_of_now(const struct replica *r)
{
	struct snapshot *snap = snapshot_alloc(r->volume_count);

	if (snap == NULL)
		return NULL;
	for (uint32_t i = 0; i < r->volume_count; i++) {
		struct volume_root *root = &snap->volumes[snap->volume_count];

		if (!r->volumes[i].used || r->volumes[i].v.deleted)
			continue;
		*root = (struct volume_root){.volume = r->volumes[i].v, .root = CHUNK_NONE};
		root->volume.used_bytes = 0;
		snap->volume_count++;
	}
	return snap;
}

/* The volumes as of now.  Not linked yet; NULL: no memory. */
static struct snapshot *snapshot_make(struct replica *r, const struct uuid *uuid, const char *name,
				      const struct record_view *v)
{
	struct snapshot *snap = snapshot_of_now(r);

	if (snap == NULL)
		return NULL;
	snap->uuid = *uuid;
	memcpy(snap->name, name, strnlen(name, NAME_BYTES_MAX));
	snap->lsn = v->begin;
	snap->time = v->wall;
	snap->listed = true;
	return snap;
}

/* Why no snapshot is made of this record; NULL: it is. */
static const char *snap_refused(struct replica *r, const struct record_snap *s, struct lsn begin)
{
	if (r->staging)
		return "the base is still being copied";
	if (s->at.v > begin.v)
		return "it is of a moment behind its record";
	if (replica_snap_find(r, &s->uuid) != NULL || name_is_taken(r, s->name))
		return "name or UUID are taken";
	if (r->snaps.listed >= SNAPSHOTS_MAX)
		return "there are too many";
	return store_roots(r->s) + r->volume_count > STORE_ROOTS_MAX
		       ? "the store has too many volumes of snapshots"
		       : NULL;
}

static int apply_create(struct replica *r, const struct journal_uncommitted *u,
			const struct record_snap *s)
{
	struct snapshot *snap = replica_snap_find(r, &s->uuid);
	const char *why = NULL;
	struct mark *m;
	bool past;

	if (snap != NULL && !snap->pinned && !snap->marked && !snap->past && !snap->missing &&
	    snap->lsn.v == u->view.begin.v) {
		m = mark_make(MARK_SNAP, u); /* replay; N3 */
		if (m != NULL)
			mark_add(r, m, snap, NULL);
		return m == NULL ? -ERR_NOMEM : 0;
	}
	if (is_applied(r, u))
		return 0;
	past = s->at.v != 0 && s->at.v != u->view.begin.v; /* N6 */
	why = snap_refused(r, s, u->view.begin);
	if (why != NULL) {
		log_warn(r->env->log, "store", "group %s: snapshot %s is not made: %s", r->name,
			 s->name, why);
		return 0;
	}
	m = past ? NULL : mark_make(MARK_SNAP, u);
	snap = m == NULL && !past ? NULL : snapshot_make(r, &s->uuid, s->name, &u->view);
	if (snap == NULL) {
		free(m);
		return -ERR_NOMEM;
	}
	snap->flags = s->flags;
	if (past) {
		snap->volume_count = 0;
		snap->past = true;
		snap->lsn = s->at;
	}
	snapshot_link(r, snap);
	if (m != NULL)
		mark_add(r, m, snap, NULL);
	else
		past_kick(r->s->past);
	return 0;
}

static int apply_snap(struct replica *r, const struct journal_uncommitted *u)
{
	struct record_snap s;
	struct snapshot *snap;

	if (record_snap_decode(record_body(u->header, &u->view), u->view.body_bytes, &s) < 0)
		return 0; /* the decoder of the record had accepted it: cannot be */
	if (s.op == RECORD_SNAP_CREATE)
		return apply_create(r, u, &s);
	snap = is_applied(r, u) ? NULL : replica_snap_find(r, &s.uuid);
	if (snap == NULL || !snap->listed)
		return 0;
	if (snap->past)
		past_kick(r->s->past);
	snapshot_unlist(snap);
	return 0;
}

/* The volume table as the target had it; volumes made since are deleted. */
static void volumes_revert(struct replica *r, const struct snapshot *target)
{
	for (uint32_t i = 0; i < r->volume_count; i++)
		r->volumes[i].v.deleted = r->volumes[i].used;
	for (uint32_t i = 0; i < target->volume_count; i++) {
		uint32_t slot = target->volumes[i].volume.slot;

		r->volumes[slot].v = target->volumes[i].volume;
		r->volumes[slot].used = true;
		if (r->volume_count <= slot)
			r->volume_count = slot + 1;
	}
}

/* Maps for those that have none, empty until the mark is run. */
static int maps_make(struct replica *r, const struct snapshot *target)
{
	int rc = 0;

	for (uint32_t i = 0; i < target->volume_count && rc == 0; i++) {
		struct volume_root root = {.volume = target->volumes[i].volume, .root = CHUNK_NONE};
		struct rvolume *v = &r->volumes[root.volume.slot];

		root.volume.used_bytes = 0;
		if (v->map == NULL)
			rc = map_open(r->s, &root, &v->map);
	}
	return rc;
}

/* A kept snapshot is never given up for its name. */
static void kept_name(const struct replica *r, const struct record_restore *b,
		      char ret[NAME_BYTES_MAX + 1])
{
	char id[UUID_TEXT_BYTES];

	memcpy(ret, b->kept_name, NAME_BYTES_MAX + 1);
	if (!name_is_taken(r, ret))
		return;
	uuid_format(&b->kept, id);
	snprintf(ret, NAME_BYTES_MAX + 1, "%.*s-%.8s", (int)NAME_BYTES_MAX - 9, b->kept_name, id);
}

static int restore_begin(struct replica *r, const struct journal_uncommitted *u,
			 const struct record_restore *b, struct snapshot *target)
{
	struct snapshot *kept = replica_snap_find(r, &b->kept);
	char name[NAME_BYTES_MAX + 1];
	bool replay = kept != NULL;
	struct mark *m;
	int rc;

	if (replay && (kept->pinned || kept->marked || kept->lsn.v != u->view.begin.v))
		return 0; /* the UUID is taken: it does nothing, at every site */
	rc = maps_make(r, target);
	m = rc == 0 ? mark_make(MARK_RESTORE, u) : NULL;
	kept_name(r, b, name);
	if (m != NULL && !replay)
		kept = snapshot_make(r, &b->kept, name, &u->view);
	if (m == NULL || kept == NULL) {
		free(m);
		return -ERR_NOMEM;
	}
	if (!replay) {
		kept->flags = RECORD_SNAP_KEPT;
		snapshot_link(r, kept);
		volumes_revert(r, target);
	}
	mark_add(r, m, kept, target);
	r->content_generation = b->content_generation;
	return 0;
}

static int apply_restore(struct replica *r, const struct journal_uncommitted *u)
{
	struct record_restore b;
	struct snapshot *target;

	if (record_restore_decode(record_body(u->header, &u->view), u->view.body_bytes, &b) < 0)
		return 0; /* the decoder of the record had accepted it: cannot be */
	target = r->staging ? NULL : replica_snap_find(r, &b.target);
	if (target == NULL || target->missing || (!target->listed && !is_applied(r, u)))
		return -ERR_NOT_FOUND;
	if (target->past)
		return -ERR_AGAIN; /* N6 */
	return restore_begin(r, u, &b, target);
}

static int apply_clone(struct replica *r, const struct journal_uncommitted *u)
{
	struct record_clone b;
	struct replica *source;
	struct snapshot *base;
	struct mark *m;

	if (record_clone_decode(record_body(u->header, &u->view), u->view.body_bytes, &b) < 0)
		return 0; /* the decoder of the record had accepted it: cannot be */
	if (!is_applied(r, u) && r->volume_count > 0)
		return 0; /* not the first of its group: it does nothing, at every site */
	source = r->staging ? NULL : replica_find(r->s, &b.source);
	base = source == NULL || source == r ? NULL : replica_snap_find(source, &b.snapshot);
	if (base == NULL || base->missing)
		return -ERR_NOT_FOUND;
	if (base->past)
		return -ERR_AGAIN; /* N6 */
	m = mark_make(MARK_CLONE, u);
	if (m == NULL || maps_make(r, base) < 0) {
		free(m);
		return -ERR_NOMEM;
	}
	if (!is_applied(r, u))
		volumes_revert(r, base);
	r->snaps.base = b;
	r->snaps.cloned = true;
	r->s->snapshots_changed = true;
	mark_add(r, m, NULL, base);
	return 0;
}

const struct replica_volume *replica_snap_volume(const struct replica *r, struct lsn begin,
						 uint32_t slot)
{
	if (begin.v >= r->snaps.applied.v || r->snaps.unpinned == 0)
		return NULL;
	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (snap->pinned || snap->lsn.v <= begin.v)
			continue;
		for (uint32_t i = 0; i < snap->volume_count; i++)
			if (snap->volumes[i].volume.slot == slot)
				return &snap->volumes[i].volume;
	}
	return NULL;
}

/* --- life --- */

int replica_snap_maps(struct replica *r, const struct snapshot *snap)
{
	if (snap->pinned)
		return 0;
	for (uint32_t i = 0; i < snap->volume_count; i++)
		if (snap->volumes[i].root != CHUNK_NONE ||
		    snap->volumes[i].volume.slot >= r->volume_count ||
		    !r->volumes[snap->volumes[i].volume.slot].used)
			return -ERR_CORRUPT;
	return maps_make(r, snap);
}

void replica_snaps_recovered(struct replica *r)
{
	LIST_FOR_EACH_SAFE(link, &r->snaps.list)
		give_unneeded(container_of(link, struct snapshot, link));
	if (list_empty(&r->snaps.marks))
		replica_deleted_volumes_give(r);
}

bool replica_restore_is_hopeless(const struct replica *r)
{
	return r->failed || r->deleted || r->s->closing || r->s->opts.read_only;
}

bool replica_is_held_by_others(const struct replica *r)
{
	uint32_t readers = replica_snaps_readers(r);

	assert(readers <= r->holds);
	return r->holds > readers;
}

uint32_t replica_snaps_readers(const struct replica *r)
{
	uint32_t n = 0;

	LIST_FOR_EACH(link, &r->snaps.list)
		n += container_of(link, struct snapshot, link)->readers;
	return n;
}

bool replica_snaps_needed(struct replica *r)
{
	for (struct replica *x = store_first_replica(r->s); x != NULL;
	     x = store_next_replica(r->s, x)) {
		LIST_FOR_EACH(link, &x->snaps.marks) {
			struct mark *m = container_of(link, struct mark, link);

			if (x != r && m->target != NULL && m->target->r == r)
				return true;
		}
	}
	return false;
}

void replica_snaps_give_all(struct replica *r)
{
	struct list_link *link;

	while ((link = list_first(&r->snaps.marks)) != NULL)
		replica_mark_end(r, container_of(link, struct mark, link));
	LIST_FOR_EACH_SAFE(one, &r->snaps.list) {
		struct snapshot *snap = container_of(one, struct snapshot, link);

		assert(snap->readers == 0 && snap->holds == 0);
		snapshot_give(snap);
	}
}

void replica_snaps_move(struct replica *from, struct replica *to)
{
	LIST_FOR_EACH_SAFE(link, &from->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (snap->anchor || (!snap->pinned && !snap->past && !snap->missing))
			continue; /* the journal that leads from an anchor goes with the old one */
		if (snap->past)
			snapshot_past_missing(snap);
		snapshot_unlink(snap);
		snapshot_link(to, snap);
		for (uint32_t i = 0; i < snap->readers; i++) {
			replica_hold(to);
			replica_release(from);
		}
	}
	to->snaps.base = from->snaps.base;
	to->snaps.cloned = from->snaps.cloned;
}
