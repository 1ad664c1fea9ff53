/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_anchor.c
 *
 * Purpose.     Anchors: what was folded at some moments, kept so that the journal from there on leads to
 *              every later moment.  Fold destroys what it overwrites; the journal alone cannot go back.
 * Invariants.  AN1 An anchor at lsn holds exactly what is below lsn.  Where fold stands does not do for that: what
 *                  was written again further on is not folded any more.  So a mark, and a barrier in the
 *                  index, are put at the commit LSN of the moment; fold stops there, and the capture pins it.
 *              AN2 It is of use while the journal has everything from its LSN on, under the newest captured
 *                  root too: then it is a *base*.  Others go with the next capture.  It is told, and used, when it
 *                  is durable, so that a crash does not take back what was said to be possible.
 *              AN3 Between a base and a moment that it is the base of, there is no RESTORE or CLONE: each of
 *                  them pins an anchor at its end, or all anchors go.
 *              AN4 Anchors hold nothing up: the older half goes when space runs low, all go when little is left, and
 *                  none is made until there is room again.
 * Ownership.   As snapshots', unlisted; nobody reads one, past.c shares its roots.
 * Failure.     One that cannot be made (memory, bounds) is tried again later.
 * Limits.      ANCHORS_MAX, and the store's bound of volumes of snapshots.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

#define ANCHORS_MAX 24u
#define ANCHORS_LOW 2u /* while space runs low */
#define RETRY_NS SEC_NS

static struct snapshot *anchor_newest(const struct replica *r)
{
	struct snapshot *newest = NULL;

	LIST_FOR_EACH(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (snap->anchor)
			newest = snap;
	}
	return newest;
}

/* Its mark waits for fold: one at a time. */
static bool is_asked(const struct replica *r)
{
	LIST_FOR_EACH(link, &r->snaps.marks) {
		if (container_of(link, struct mark, link)->kind == MARK_ANCHOR)
			return true;
	}
	return false;
}

static bool is_due(const struct replica *r)
{
	const struct snapshot *last = r->snaps.anchors == 0 ? NULL : anchor_newest(r);
	uint64_t now = clock_now(r->env->clock).v, ns, bytes;

	if (!replica_history_wanted(r) || r->failed || r->deleted || r->s->closing ||
	    r->s->opts.read_only || now < r->history.anchor_again.v)
		return false;
	if (last == NULL || last->lsn.v < r->history.begin.v)
		return last == NULL || r->commit.v > last->lsn.v;
	replica_history_interval(r, &ns, &bytes);
	return r->commit.v > last->lsn.v &&
	       (r->commit.v - last->lsn.v >= bytes || now - r->history.anchored.v >= ns);
}

void replica_anchor_ask(struct replica *r)
{
	struct mark *m;

	if (!is_due(r) || is_asked(r) || r->snaps.anchors >= ANCHORS_MAX ||
	    store_room(r->s) != STORE_ROOM_OK)
		return;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return; /* the next commit asks again */
	m->kind = MARK_ANCHOR;
	m->begin = m->end = r->commit;
	m->snap = snapshot_of_now(r);
	if (m->snap == NULL) {
		free(m);
		return;
	}
	m->snap->lsn = r->commit;
	m->snap->time = clock_wall(r->env->clock);
	if (r->s->opts.mutant != STORE_MUTANT_ANCHOR_DIRTY)
		index_barrier(r->index, m->begin); /* AN1 */
	list_push_back(&r->snaps.marks, &m->link);
	r->history.anchored = clock_now(r->env->clock);
	store_kick(r->s);
}

bool replica_anchor_reached(const struct replica *r, struct lsn folded)
{
	struct list_link *link = list_first(&r->snaps.marks);
	const struct mark *m = link == NULL ? NULL : container_of(link, struct mark, link);

	return m != NULL && m->kind == MARK_ANCHOR && m->begin.v <= folded.v;
}

/* One reference more to each root of `target`, or, NULL, of the live maps.  All or none. */
static int roots_share(struct replica *r, struct snapshot *snap, const struct snapshot *target)
{
	struct space *sp = store_space(r->s);
	uint32_t n = 0;
	int rc = 0;

	for (; n < snap->volume_count && rc == 0; n++) {
		struct volume_root *v = &snap->volumes[n];

		if (target == NULL) {
			struct map *m = r->volumes[v->volume.slot].map;

			assert(m != NULL); /* replica_snap.c N5 */
			rc = map_root_share(m, v);
			continue;
		}
		*v = target->volumes[n];
		if (v->root != CHUNK_NONE)
			rc = space_ref_add(sp, v->root);
	}
	for (uint32_t i = 0; rc < 0 && i + 1 < n; i++)
		if (snap->volumes[i].root != CHUNK_NONE)
			space_page_drop(sp, snap->volumes[i].root);
	return rc;
}

static int anchor_make(struct replica *r, struct snapshot *snap, const struct snapshot *target)
{
	int rc;

	if (r->snaps.anchors >= ANCHORS_MAX || store_room(r->s) != STORE_ROOM_OK ||
	    store_roots(r->s) + snap->volume_count > STORE_ROOTS_MAX)
		return -ERR_FULL;
	rc = roots_share(r, snap, target);
	if (rc < 0)
		return rc;
	snap->pinned = snap->anchor = true;
	snap->seq = checkpoint_capture_seq(r->s->checkpoint);
	snapshot_link(r, snap);
	return 0;
}

static void anchor_give(struct snapshot *snap)
{
	snapshot_hold(snap);
	snapshot_anchor_clear(snap);
	snapshot_unhold(snap); /* gives it */
}

void replica_anchor_make(struct replica *r, struct snapshot **sp, const struct snapshot *target)
{
	struct snapshot *snap = *sp;
	int rc = snap == NULL		     ? -ERR_NOMEM
		 : replica_history_wanted(r) ? anchor_make(r, snap, target)
					     : -ERR_CANCELED;

	*sp = NULL;
	if (rc == 0)
		return;
	snapshot_free(&snap);
	r->history.anchor_again.v = clock_now(r->env->clock).v + RETRY_NS;
	if (rc != -ERR_CANCELED)
		log_warn(r->env->log, "store", "group %s: no anchor for going back: %s", r->name,
			 err_text(rc));
	if (target != NULL)
		(void)replica_anchors_give(r); /* AN3 */
}

void replica_anchor_restored(struct replica *r, struct lsn lsn, const struct snapshot *target)
{
	struct snapshot *snap = snapshot_of(target);

	if (snap != NULL) {
		snap->lsn = lsn;
		snap->time = clock_wall(r->env->clock);
	}
	replica_anchor_make(r, &snap, target);
}

struct snapshot *replica_anchor_base(const struct replica *r, struct lsn lsn)
{
	struct snapshot *base = NULL;

	LIST_FOR_EACH(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (snap->lsn.v > lsn.v)
			break;					       /* in LSN order */
		if (snap->anchor && snap->lsn.v >= r->history.begin.v) /* AN2 */
			base = snap;
	}
	return base;
}

bool replica_anchor_durable(const struct snapshot *anchor)
{
	return checkpoint_seq(anchor->r->s->checkpoint) >= anchor->seq;
}

void replica_anchor_earliest(const struct replica *r, struct replica_history_status *ret)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->anchor || snap->lsn.v < r->history.begin.v ||
		    !replica_anchor_durable(snap))
			continue;
		ret->reachable = true;
		ret->earliest = snap->lsn;
		ret->earliest_time = snap->time;
		return;
	}
}

struct lsn replica_past_keep(const struct replica *r)
{
	struct lsn keep = {UINT64_MAX};

	if (r->snaps.pasts == 0)
		return keep;
	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);
		const struct snapshot *base;

		if (!snap->past || !past_needs(r->s->past, snap))
			continue;
		base = replica_anchor_base(r, snap->lsn);
		if (base != NULL)
			keep = lsn_min(keep, base->lsn);
	}
	return keep;
}

/* The base of one that is to be made. */
static bool is_needed(const struct replica *r, const struct snapshot *anchor)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (snap->past && replica_anchor_base(r, snap->lsn) == anchor)
			return true;
	}
	return false;
}

static void anchors_trim(struct replica *r, struct lsn trim)
{
	LIST_FOR_EACH_SAFE(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->anchor || (snap->lsn.v >= trim.v && replica_history_wanted(r)))
			continue;
		if (snap->lsn.v < trim.v || r->snaps.pasts == 0 || !is_needed(r, snap)) /* AN2 */
			anchor_give(snap);
	}
}

bool replica_anchors_give(struct replica *r)
{
	bool any = r->snaps.anchors > 0;

	LIST_FOR_EACH_SAFE(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (snap->anchor)
			anchor_give(snap);
	}
	return any;
}

/* Space runs low: the older half of the history goes, until two anchors are left. */
static void oldest_give(struct replica *r)
{
	uint32_t n = (r->snaps.anchors + 1) / 2;

	if (r->snaps.anchors <= ANCHORS_LOW)
		return;
	LIST_FOR_EACH_SAFE(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->anchor)
			continue;
		if (n-- == 0) {
			r->history.floor = lsn_max(r->history.floor, snap->lsn);
			log_warn(r->env->log, "store",
				 "group %s: space runs low: the older half of the history goes; it "
				 "begins at LSN %" PRIu64 " from now on",
				 r->name, snap->lsn.v);
			return;
		}
		anchor_give(snap);
	}
}

void replica_anchors_capture(struct replica *r, struct lsn folded)
{
	struct journal_root root;

	if (r->snaps.anchors == 0)
		return;
	if (store_room(r->s) == STORE_ROOM_LITTLE)
		(void)replica_history_give(r); /* AN4 */
	else if (store_room(r->s) == STORE_ROOM_LOW && r->snaps.pasts == 0)
		oldest_give(r);
	journal_root_at(r->journal, replica_journal_keep(r, folded), &root);
	anchors_trim(r, root.trim);
}

bool replica_history_give(struct replica *r)
{
	if (!replica_anchors_give(r))
		return false;
	r->history.floor = r->fold;
	log_warn(
		r->env->log, "store",
		"group %s: space is short: the history that was kept goes; it begins at LSN %" PRIu64
		" from now on",
		r->name, r->fold.v);
	replica_pasts_give(r);
	return true;
}

bool replica_pasts_give(struct replica *r)
{
	bool any = replica_past_keep(r).v != UINT64_MAX;

	LIST_FOR_EACH_SAFE(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->past)
			continue;
		if (past_makes(r->s->past, snap))
			(void)past_let_go(r->s->past, r);
		else
			snapshot_past_missing(snap);
	}
	return any;
}
