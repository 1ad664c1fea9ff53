/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/look.c
 * Purpose.     The two commands that look into the store and take their time: snapshots with what each
 *              owns, and what differs between two of them.
 * Invariants.  L1  At most one call of the store is in flight for a session.
 *              L2  Parts are sent one by one: a client that is slow holds one part in memory.
 *              L3  Snapshots are open from the start of a diff to its end, and the site does not stop
 *                  while they are (conductor_attach).
 * States.      list: for each snapshot OWNED -> part sent; end.
 *              diff: OPEN_FROM -> OPEN_TO -> RUNS (a part each) for each volume -> end.
 * Ownership.   The session's.
 * Failure.     An error of the store ends the answer with that error.
 * Limits.      SNAPSHOTS_MAX infos, or VOLUMES_MAX volumes of two snapshots.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/admin/frame.h"
#include "engine/admin/session.h"
#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/size.h"
#include "engine/store/snapshot.h"

enum look_phase { LOOK_LIST, LOOK_OWNED, LOOK_OPEN_FROM, LOOK_OPEN_TO, LOOK_VOLUME, LOOK_RUNS };

struct look_volume {
	struct uuid uuid;
	char name[NAME_BYTES_MAX + 1];
	uint64_t bytes; /* the larger of both */
};

struct look {
	enum look_phase phase;
	struct conductor *conductor;
	char group[NAME_BYTES_MAX + 1];
	/* list */
	struct snapshot_info *infos;
	uint32_t count, at;
	struct snapshot_owned owned;
	/* diff */
	struct snapshot_info from_info, to_info;
	struct snapshot *from, *to;
	struct completion opened;
	struct snapshot_delta delta;
	struct look_volume volumes[2 * VOLUMES_MAX];
};

static void look_end(struct session *s);
static bool look_fail(struct session *s, int rc, const char *what);

static struct replica *look_replica(const struct look *l)
{
	return conductor_replica(l->conductor, l->group);
}

/* Attached, with a replica of the group; NULL: told already. */
static struct look *look_new(struct session *s, const char *group)
{
	struct conductor *c = s->server->o.conductor;
	struct look *l;

	assert(s->look == NULL);
	if (!name_is_valid(group) || conductor_replica(c, group) == NULL) {
		session_refuse(s, -ERR_NOT_FOUND, "'twinshore group list' shows all",
			       "no group named %.80s here", group);
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		session_refuse(s, -ERR_NOMEM, "", "no memory for the answer");
		return NULL;
	}
	if (!conductor_attach(c)) {
		free(l);
		session_refuse(s, -ERR_CLOSED, "",
			       "the daemon is stopping, or its store has failed");
		return NULL;
	}
	l->conductor = c;
	memcpy(l->group, group, strlen(group));
	s->look = l;
	return l;
}

void look_snapshots(struct session *s, const Adm__SnapshotList *m)
{
	struct look *l = look_new(s, m->group);

	if (l == NULL)
		return;
	l->count = replica_snapshots(look_replica(l), NULL, 0);
	l->infos = calloc(l->count + 1, sizeof(*l->infos));
	if (l->infos == NULL) {
		look_end(s);
		session_refuse(s, -ERR_NOMEM, "", "no memory for the answer");
		return;
	}
	(void)replica_snapshots(look_replica(l), l->infos, l->count);
	l->phase = LOOK_LIST;
	s->state = SESSION_SNAPSHOTS;
}

void look_diff(struct session *s, const Adm__Diff *m)
{
	struct look *l = look_new(s, m->group);
	const char *missing = NULL;

	if (l == NULL)
		return;
	if (replica_snapshot_by_name(look_replica(l), m->from, &l->from_info) < 0)
		missing = m->from;
	else if (replica_snapshot_by_name(look_replica(l), m->to, &l->to_info) < 0)
		missing = m->to;
	if (missing != NULL) {
		look_end(s);
		session_refuse(s, -ERR_NOT_FOUND, "'twinshore snapshot list' shows all",
			       "group %s has no snapshot %.80s", m->group, missing);
		return;
	}
	l->phase = LOOK_OPEN_FROM;
	s->state = SESSION_SNAPSHOTS;
	completion_arm(&l->opened, &s->channel.op, SESSION_WAIT_REQUEST);
	replica_snapshot_open(look_replica(l), &l->from_info.uuid, &l->from, &l->opened);
}

void look_free(struct session *s)
{
	struct look *l = s->look;

	if (l == NULL)
		return;
	assert((s->channel.op.waits & SESSION_WAIT_REQUEST) == 0); /* L1 */
	if (l->from != NULL)
		replica_snapshot_close(&l->from);
	if (l->to != NULL)
		replica_snapshot_close(&l->to);
	conductor_detach(l->conductor); /* L3 */
	look_abandon(s);
}

void look_abandon(struct session *s)
{
	if (s->look == NULL)
		return;
	free(s->look->infos);
	free(s->look);
	s->look = NULL;
}

static void look_end(struct session *s)
{
	look_free(s);
	s->state = SESSION_IDLE;
}

static bool look_fail(struct session *s, int rc, const char *what)
{
	char group[NAME_BYTES_MAX + 1];

	memcpy(group, s->look->group, sizeof(group));
	look_end(s);
	session_refuse(s, rc, "", "%s of group %s: %s", what, group, err_text(rc));
	return true;
}

/* --- the list --- */

static Adm__Snapshot *look_snapshot_message(struct arena *a, const struct snapshot_info *i)
{
	Adm__Snapshot *m = arena_take(a, sizeof(*m));
	char uuid[UUID_TEXT_BYTES];

	if (m == NULL)
		return NULL;
	adm__snapshot__init(m);
	uuid_format(&i->uuid, uuid);
	m->uuid = arena_text(a, uuid);
	m->name = arena_text(a, i->name);
	m->lsn = i->lsn.v;
	m->time_ns = i->time.v;
	m->used = i->used_bytes;
	m->clones = i->clones;
	m->readers = i->readers;
	m->volumes = i->volume_count;
	m->pinned = i->pinned;
	m->past = i->past;
	m->missing = i->missing;
	m->kept = (i->flags & RECORD_SNAP_KEPT) != 0;
	m->branch = (i->flags & RECORD_SNAP_BRANCH) != 0;
	m->scheduled = (i->flags & RECORD_SNAP_SCHEDULED) != 0;
	return m->uuid != NULL && m->name != NULL ? m : NULL;
}

/* One snapshot, or none: the last part. */
static bool look_list_send(struct session *s, const struct snapshot_info *info)
{
	struct look *l = s->look;
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__SnapshotsReply reply = ADM__SNAPSHOTS_REPLY__INIT;
	Adm__Snapshot *one = NULL;
	struct arena arena;

	arena_init(&arena, FRAME_ARENA_BYTES);
	if (info != NULL) {
		one = look_snapshot_message(&arena, info);
		if (one == NULL) {
			arena_fini(&arena);
			return look_fail(s, -ERR_NOMEM, "snapshots");
		}
		one->owned_known = info->pinned && l->owned.done.rc == 0;
		one->owned = one->owned_known ? l->owned.bytes : 0;
		reply.snapshots = &one;
		reply.n_snapshots = 1;
	}
	reply.group = l->group;
	response.id = s->id;
	response.more = info != NULL;
	response.body_case = ADM__RESPONSE__BODY_SNAPSHOTS;
	response.snapshots = &reply;
	session_answer(s, &response);
	arena_fini(&arena);
	if (info == NULL && s->state != SESSION_CLOSE)
		look_end(s);
	return true;
}

static bool look_list_next(struct session *s)
{
	struct look *l = s->look;
	struct replica *r = look_replica(l);
	struct snapshot_info *info = &l->infos[l->at];

	if (l->phase == LOOK_OWNED) {
		l->phase = LOOK_LIST;
		l->at++;
		return look_list_send(s, info);
	}
	while (l->at < l->count &&
	       (r == NULL || replica_snapshot_by_uuid(r, &info->uuid, info) < 0)) {
		l->at++; /* deleted meanwhile */
		info = &l->infos[l->at];
	}
	if (l->at == l->count)
		return look_list_send(s, NULL);
	if (!info->pinned) {
		l->at++;
		return look_list_send(s, info);
	}
	l->phase = LOOK_OWNED;
	l->owned.snapshot = info->uuid;
	completion_arm(&l->owned.done, &s->channel.op, SESSION_WAIT_REQUEST);
	replica_snapshot_owned(r, &l->owned);
	return false; /* wait: the walk */
}

/* --- the difference --- */

/* Volumes of both, each once, those of `from` first. */
static bool look_volumes(struct look *l)
{
	struct replica_volume *v = calloc(VOLUMES_MAX, sizeof(*v));

	l->count = 0;
	for (uint32_t side = 0; v != NULL && side < 2; side++) {
		uint32_t n = snapshot_volumes(side == 0 ? l->from : l->to, v, VOLUMES_MAX);

		for (uint32_t i = 0; i < n && i < VOLUMES_MAX; i++) {
			uint32_t k = 0;

			while (k < l->count && !uuid_equal(&l->volumes[k].uuid, &v[i].uuid))
				k++;
			if (v[i].deleted)
				continue;
			if (k == l->count)
				l->volumes[l->count++] = (struct look_volume){.uuid = v[i].uuid};
			memcpy(l->volumes[k].name, v[i].name, sizeof(v[i].name));
			if (v[i].bytes > l->volumes[k].bytes)
				l->volumes[k].bytes = v[i].bytes;
		}
	}
	free(v);
	return v != NULL;
}

static bool look_diff_send(struct session *s, bool last)
{
	struct look *l = s->look;
	const struct look_volume *v = &l->volumes[l->at];
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__DiffReply reply = ADM__DIFF_REPLY__INIT;
	Adm__DiffRun runs[DELTA_RUNS_MAX], *list[DELTA_RUNS_MAX];
	char nothing[1] = "";

	reply.volume = last ? nothing : l->volumes[l->at].name;
	for (uint32_t i = 0; !last && i < l->delta.run_count; i++) {
		const struct delta_run *d = &l->delta.runs[i];
		uint64_t begin = d->block * BLOCK_BYTES;
		uint64_t end = d->count > UINT64_MAX / BLOCK_BYTES - d->block
				       ? UINT64_MAX
				       : (d->block + d->count) * BLOCK_BYTES;

		if (begin >= v->bytes)
			continue;
		adm__diff_run__init(&runs[reply.n_runs]);
		runs[reply.n_runs].offset = begin;
		runs[reply.n_runs].bytes = (end < v->bytes ? end : v->bytes) - begin;
		runs[reply.n_runs].kind = (uint32_t)d->kind;
		list[reply.n_runs] = &runs[reply.n_runs];
		reply.n_runs++;
	}
	reply.runs = list;
	response.id = s->id;
	response.more = !last;
	response.body_case = ADM__RESPONSE__BODY_DIFF;
	response.diff = &reply;
	session_answer(s, &response);
	if (last && s->state != SESSION_CLOSE)
		look_end(s);
	return true;
}

static bool look_delta(struct session *s)
{
	struct look *l = s->look;

	l->phase = LOOK_RUNS;
	completion_arm(&l->delta.done, &s->channel.op, SESSION_WAIT_REQUEST);
	snapshot_delta(&l->delta);
	return false; /* wait: a part of the walk */
}

static bool look_open_to(struct session *s)
{
	struct look *l = s->look;
	struct replica *r = look_replica(l);

	if (r == NULL)
		return look_fail(s, -ERR_NOT_FOUND, "snapshots");
	l->phase = LOOK_OPEN_TO;
	completion_arm(&l->opened, &s->channel.op, SESSION_WAIT_REQUEST);
	replica_snapshot_open(r, &l->to_info.uuid, &l->to, &l->opened);
	return false; /* wait: open */
}

static bool look_diff_next(struct session *s)
{
	struct look *l = s->look;

	switch (l->phase) {
	case LOOK_OPEN_FROM:
		if (l->opened.rc < 0)
			return look_fail(s, l->opened.rc, "opening a snapshot");
		return look_open_to(s);
	case LOOK_OPEN_TO:
		if (l->opened.rc < 0)
			return look_fail(s, l->opened.rc, "opening a snapshot");
		if (!look_volumes(l))
			return look_fail(s, -ERR_NOMEM, "volumes");
		l->phase = LOOK_VOLUME;
		return true;
	case LOOK_VOLUME:
		if (l->at == l->count)
			return look_diff_send(s, true);
		l->delta.from = l->from;
		l->delta.to = l->to;
		l->delta.volume = l->volumes[l->at].uuid;
		l->delta.by_checksum = true;
		l->delta.block = 0;
		return look_delta(s);
	case LOOK_RUNS:
		if (l->delta.done.rc < 0)
			return look_fail(s, l->delta.done.rc, "comparing volumes");
		if (l->delta.run_count != 0)
			(void)look_diff_send(s, false);
		if (l->delta.end) {
			l->at++;
			l->phase = LOOK_VOLUME;
			return true;
		}
		return look_delta(s); /* the next part is made while this one is on its way */
	case LOOK_LIST:
	case LOOK_OWNED:
		break;
	}
	UNREACHABLE("phase of a diff");
}

bool look_next(struct session *s)
{
	if ((s->channel.op.waits & SESSION_WAIT_REQUEST) != 0)
		return false; /* wait: the store */
	return s->look->infos != NULL ? look_list_next(s) : look_diff_next(s);
}
