/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/snapshot_table.c
 * Purpose.     Snapshots and the tables "snapshots" and "snapshot volumes" of a checkpoint.
 * Invariants.  SB1 A group's index is its place among the store's entries, as in the group table.
 *              SB2 What decodes is within every limit the engine relies on: counts, names, addresses.
 * Ownership.   A capture is malloced for one run.
 * Failure.     -ERR_CORRUPT for bytes that no writer of this format made.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/past.h"
#include "engine/store/root_codec.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/store_state.h"

#define RETRY_NS (1000 * MS_NS)

_Static_assert(sizeof(((struct disk_snapshot *)0)->name) == NAME_BYTES_MAX + 1, "names");

bool snapshots_marks_reached(struct store *s)
{
	bool any = past_pin_wanted(s->past);

	LIST_FOR_EACH(link, &s->entries) {
		const struct replica_entry *e = container_of(link, struct replica_entry, link);

		any = any || (!e->leaving && replica_mark_lsn(e->r).v <= e->folded.v);
	}
	return any;
}

void snapshots_run_marks(struct store *s)
{
	bool more = true;

	while (more) { /* a clone's mark waits for its source's */
		more = false;
		LIST_FOR_EACH(link, &s->entries) {
			struct replica_entry *e = container_of(link, struct replica_entry, link);
			int rc = e->leaving ? 0 : replica_marks_run(e->r, &e->folded);

			more = more || rc > 0;
			if (rc > 0)
				e->retry.v = 0;
			if (rc >= 0)
				continue;
			if (rc != -ERR_AGAIN && rc != e->retry_rc)
				log_warn(s->env->log, "store",
					 "group %s: a snapshot cannot be pinned: %s; trying again",
					 replica_name(e->r), err_text(rc));
			e->retry_rc = rc;
			e->retry.v = clock_now(s->env->clock).v + RETRY_NS;
		}
	}
	past_pin(s->past);
	LIST_FOR_EACH(link, &s->entries) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);

		if (!e->leaving)
			replica_anchors_capture(e->r, e->folded);
	}
}

/* --- capture --- */

static int room_make(struct snapshot_capture *c, uint32_t snaps, uint32_t volumes)
{
	uint32_t max = c->max < snaps ? snaps + snaps / 2 + 8 : c->max;
	uint32_t volume_max = c->volume_max < volumes ? volumes + volumes / 2 + 8 : c->volume_max;

	if (max > c->max) {
		struct captured_snapshot *more = realloc(c->snaps, max * sizeof(*more));

		if (more == NULL)
			return -ERR_NOMEM;
		c->snaps = more;
		c->max = max;
	}
	if (volume_max > c->volume_max) {
		struct captured_snapshot_volume *more =
			realloc(c->volumes, volume_max * sizeof(*more));

		if (more == NULL)
			return -ERR_NOMEM;
		c->volumes = more;
		c->volume_max = volume_max;
	}
	return 0;
}

static int capture_base(struct snapshot_capture *c, uint32_t group, const struct replica_snaps *n)
{
	int rc = room_make(c, c->count + 1, 0);

	if (rc < 0)
		return rc;
	c->snaps[c->count++] = (struct captured_snapshot){
		.group = group,
		.kind = DISK_CLONE_BASE,
		.snapshot = n->base.snapshot,
		.source = n->base.source,
	};
	return 0;
}

static int capture_one(struct snapshot_capture *c, uint32_t group, const struct snapshot *snap)
{
	int rc = room_make(c, c->count + 1, c->volume_count + snap->volume_count);
	struct captured_snapshot *to;

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < snap->volume_count; i++)
		c->volumes[c->volume_count++] =
			(struct captured_snapshot_volume){c->count, snap->volumes[i]};
	to = &c->snaps[c->count++];
	*to = (struct captured_snapshot){
		.group = group,
		.kind = DISK_SNAPSHOT,
		.state = (snap->pinned ? DISK_SNAPSHOT_PINNED : 0) |
			 (snap->listed ? 0 : DISK_SNAPSHOT_DELETED) |
			 (snap->anchor ? DISK_SNAPSHOT_ANCHOR : 0) |
			 (snap->past ? DISK_SNAPSHOT_PAST : 0) |
			 (snap->missing ? DISK_SNAPSHOT_MISSING : 0),
		.flags = snap->flags,
		.snapshot = snap->uuid,
		.lsn = snap->lsn,
		.time = snap->time,
	};
	memcpy(to->name, snap->name, sizeof(to->name));
	c->any_past = c->any_past || snap->anchor || snap->past || snap->missing;
	return 0;
}

int snapshots_capture(struct store *s, struct snapshot_capture *ret)
{
	uint32_t group = 0;
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	LIST_FOR_EACH(link, &s->entries) { /* SB1 */
		struct replica *r = container_of(link, struct replica_entry, link)->r;
		struct replica_snaps *n = replica_snaps(r);

		if (n->cloned)
			rc = capture_base(ret, group, n);
		LIST_FOR_EACH(one, &n->list) {
			if (rc == 0)
				rc = capture_one(ret, group,
						 container_of(one, struct snapshot, link));
		}
		if (rc < 0)
			return rc;
		group++;
	}
	return 0;
}

void snapshot_capture_free(struct snapshot_capture *c)
{
	free(c->snaps);
	free(c->volumes);
	memset(c, 0, sizeof(*c));
}

uint32_t snapshot_capture_pages(const struct snapshot_capture *c)
{
	return (c->count + SNAPSHOTS_PER_PAGE - 1) / SNAPSHOTS_PER_PAGE;
}

uint32_t snapshot_capture_volume_pages(const struct snapshot_capture *c)
{
	return (c->volume_count + VOLUMES_PER_PAGE - 1) / VOLUMES_PER_PAGE;
}

void snapshots_encode(const struct snapshot_capture *c, uint32_t page, struct disk_snapshots *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < SNAPSHOTS_PER_PAGE; k++) {
		uint32_t i = page * SNAPSHOTS_PER_PAGE + k;
		const struct captured_snapshot *from = &c->snaps[i];
		struct disk_snapshot *d = &ret->snapshots[k];

		if (i >= c->count)
			break;
		d->group = from->group;
		d->kind = from->kind;
		memcpy(d->snapshot, from->snapshot.b, sizeof(d->snapshot));
		memcpy(d->source, from->source.b, sizeof(d->source));
		d->lsn = from->lsn.v;
		d->time = from->time.v;
		d->flags = from->flags;
		d->state = from->state;
		memcpy(d->name, from->name, sizeof(d->name));
	}
}

void snapshot_volumes_encode(const struct snapshot_capture *c, uint32_t page,
			     struct disk_volumes *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < VOLUMES_PER_PAGE; k++) {
		uint32_t i = page * VOLUMES_PER_PAGE + k;

		if (i < c->volume_count)
			root_volume_encode(&c->volumes[i].root, c->volumes[i].snapshot,
					   &ret->volumes[k]);
	}
}

/* --- open --- */

static bool state_ok(uint32_t state)
{
	uint32_t past = state & ~(DISK_SNAPSHOT_PINNED | DISK_SNAPSHOT_DELETED);

	return past == 0 || state == DISK_SNAPSHOT_PAST || state == DISK_SNAPSHOT_MISSING ||
	       state == (DISK_SNAPSHOT_PINNED | DISK_SNAPSHOT_DELETED | DISK_SNAPSHOT_ANCHOR);
}

static bool entry_ok(const struct snapshot_capture *c, const struct disk_snapshot *d,
		     uint32_t groups)
{
	const struct captured_snapshot *before = c->count > 0 ? &c->snaps[c->count - 1] : NULL;

	if (d->group >= groups || (before != NULL && before->group > d->group))
		return false;
	if (d->kind == DISK_CLONE_BASE)
		return before == NULL || before->group < d->group;
	return d->kind == DISK_SNAPSHOT && memchr(d->name, 0, sizeof(d->name)) != NULL &&
	       d->lsn % BLOCK_BYTES == 0 && (d->flags & ~RECORD_SNAP_FLAGS) == 0 &&
	       state_ok(d->state);
}

int snapshots_decode(struct snapshot_capture *c, const struct disk_snapshots *d, uint32_t entries,
		     uint32_t groups)
{
	for (uint32_t k = 0; k < SNAPSHOTS_PER_PAGE && c->count < entries; k++) {
		const struct disk_snapshot *from = &d->snapshots[k];
		struct captured_snapshot *to;
		int rc = room_make(c, c->count + 1, 0);

		if (rc < 0)
			return rc;
		if (!entry_ok(c, from, groups))
			return -ERR_CORRUPT; /* SB2 */
		to = &c->snaps[c->count++];
		*to = (struct captured_snapshot){
			.group = from->group,
			.kind = from->kind,
			.state = from->state,
			.flags = from->flags,
			.lsn = {from->lsn},
			.time = {from->time},
		};
		memcpy(to->snapshot.b, from->snapshot, sizeof(from->snapshot));
		memcpy(to->source.b, from->source, sizeof(from->source));
		memcpy(to->name, from->name, sizeof(from->name));
	}
	return 0;
}

int snapshot_volumes_decode(struct snapshot_capture *c, const struct disk_volumes *d,
			    uint32_t entries, uint64_t disk_bytes)
{
	for (uint32_t k = 0; k < VOLUMES_PER_PAGE && c->volume_count < entries; k++) {
		struct captured_snapshot_volume v = {.snapshot = d->volumes[k].group}, *before;
		int rc = room_make(c, 0, c->volume_count + 1);

		if (rc == 0)
			rc = root_volume_decode(&d->volumes[k], disk_bytes, &v.root);
		if (rc < 0)
			return rc;
		before = c->volume_count > 0 ? &c->volumes[c->volume_count - 1] : NULL;
		if (v.snapshot >= c->count || c->snaps[v.snapshot].kind != DISK_SNAPSHOT ||
		    v.root.volume.deleted ||
		    (before != NULL && (before->snapshot > v.snapshot ||
					(before->snapshot == v.snapshot &&
					 before->root.volume.slot >= v.root.volume.slot))))
			return -ERR_CORRUPT; /* SB2 */
		c->volumes[c->volume_count++] = v;
	}
	return 0;
}

/* The snapshot of entry i, with the volumes from *at on that are its. */
static int snapshot_from(const struct snapshot_capture *c, uint32_t i, struct snapshot **ret)
{
	const struct captured_snapshot *from = &c->snaps[i];
	struct snapshot *snap = calloc(1, sizeof(*snap));
	uint32_t first = 0, n = 0, end = c->volume_count;

	if (snap == NULL)
		return -ERR_NOMEM;
	while (first < end) { /* they are sorted */
		uint32_t middle = first + (end - first) / 2;

		if (c->volumes[middle].snapshot < i)
			first = middle + 1;
		else
			end = middle;
	}
	while (first + n < c->volume_count && c->volumes[first + n].snapshot == i)
		n++;
	snap->volumes = calloc(n + 1, sizeof(*snap->volumes));
	if (snap->volumes == NULL) {
		free(snap);
		return -ERR_NOMEM;
	}
	for (; snap->volume_count < n; snap->volume_count++)
		snap->volumes[snap->volume_count] = c->volumes[first + snap->volume_count].root;
	list_link_init(&snap->link);
	snap->uuid = from->snapshot;
	memcpy(snap->name, from->name, sizeof(snap->name));
	snap->lsn = from->lsn;
	snap->time = from->time;
	snap->flags = from->flags;
	snap->pinned = (from->state & DISK_SNAPSHOT_PINNED) != 0;
	snap->listed = (from->state & DISK_SNAPSHOT_DELETED) == 0;
	snap->anchor = (from->state & DISK_SNAPSHOT_ANCHOR) != 0;
	snap->past = (from->state & DISK_SNAPSHOT_PAST) != 0;
	snap->missing = (from->state & DISK_SNAPSHOT_MISSING) != 0;
	if ((snap->past || snap->missing) && n > 0) {
		snapshot_free(&snap);
		return -ERR_CORRUPT; /* SB2 */
	}
	*ret = snap;
	return 0;
}

int snapshots_attach(struct snapshot_capture *c, uint32_t group, struct replica *r)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->count && rc == 0; i++) {
		struct snapshot *snap;

		if (c->snaps[i].group != group)
			continue;
		if (c->snaps[i].kind == DISK_CLONE_BASE) {
			struct replica_snaps *n = replica_snaps(r);

			n->base = (struct record_clone){c->snaps[i].source, c->snaps[i].snapshot};
			n->cloned = true;
			continue;
		}
		rc = snapshot_from(c, i, &snap);
		if (rc < 0)
			return rc;
		snapshot_link(r, snap);
		rc = replica_snap_maps(r, snap);
	}
	return rc;
}
