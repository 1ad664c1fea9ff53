/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/export.c
 * Purpose.     Volumes of snapshots, read by clients: at any site that has them, whatever the role.
 * Invariants.  X1 A snapshot is opened in the store when the first client of an export attaches, and
 *                 held until its last has left: a record of deletion does not take it away.
 *              X2 What is read never changes, so no lease, epoch or order of operations matters.
 *              X3 Nothing is opened when the site stops, its store has failed, or the group goes.
 * States.      found -> asked [first client] -> open -> freed [last client has left]
 *                                            -> failed [clients are revoked] -> freed
 * Ownership.   Exports are the group's.
 * Failure.     A snapshot that cannot be opened revokes its clients: their connections are closed.
 * Limits.      As many as the front door has clients; EXPORTS_LISTED_MAX are listed.
 */
#include "engine/volume/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/volume/io.h"

#define W_OPENED 1u
#define W_READ 2u /* of an operation: volume.c */

static void export_step(struct op *op);
static void export_end_waiting(struct export *e);
static void export_revoke(struct export *e);
static bool export_is_over(const struct export *e);

/* The volume of a snapshot of that name; 0: none. */
static int snapshot_volume(const struct replica *r, const struct uuid *snapshot, const char *name,
			   uint32_t bytes, struct replica_volume *ret)
{
	struct replica_volume *list = calloc(VOLUMES_MAX, sizeof(*list));
	uint32_t n = list != NULL ? replica_snapshot_volumes(r, snapshot, list, VOLUMES_MAX) : 0;
	int rc = list != NULL ? -ERR_NOT_FOUND : -ERR_NOMEM;

	for (uint32_t i = 0; i < n && rc < 0; i++) {
		if (list[i].deleted || strlen(list[i].name) != bytes ||
		    memcmp(list[i].name, name, bytes) != 0)
			continue;
		*ret = list[i];
		rc = 0;
	}
	free(list);
	return rc;
}

static struct export *export_of(struct group *g, const struct uuid *snapshot, uint32_t slot)
{
	LIST_FOR_EACH(n, &g->exports) {
		struct export *e = container_of(n, struct export, link);

		if (!e->v.gone && e->v.slot == slot && uuid_equal(&e->snapshot.uuid, snapshot))
			return e;
	}
	return NULL;
}

static struct export *export_new(struct group *g, const struct snapshot_info *snapshot,
				 const struct replica_volume *v)
{
	struct export *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	op_init(&e->op, g->c->env->ready, export_step);
	e->snapshot = *snapshot;
	e->v.g = g;
	e->v.export = e;
	e->v.slot = v->slot;
	e->v.uuid = v->uuid;
	e->v.bytes = v->bytes;
	e->v.block_bytes = v->block_bytes;
	memcpy(e->v.name, v->name, sizeof(e->v.name));
	list_init(&e->v.clients);
	gate_init(&e->v.gate);
	list_init(&e->waiting);
	list_push_back(&g->exports, &e->link);
	op_wake(&g->op); /* reaped unless a client attaches in this step */
	return e;
}

int export_find(struct group *g, const char *name, uint32_t bytes, struct volume **ret_volume,
		char *message, uint32_t message_bytes)
{
	const char *at = memchr(name, '@', bytes);
	uint32_t volume_bytes = (uint32_t)(at - name), snap_bytes = bytes - volume_bytes - 1;
	struct replica *r = replica_find(g->c->store, &g->uuid);
	char snap_name[NAME_BYTES_MAX + 1] = "";
	struct snapshot_info info;
	struct replica_volume v;
	struct export *e;
	int rc;

	if (g->c->stopping || g->c->store_failed || g->dropped) { /* X3 */
		snprintf(message, message_bytes, "group %s is not served here any more", g->name);
		return -ERR_SUSPENDED;
	}
	if (snap_bytes <= NAME_BYTES_MAX)
		memcpy(snap_name, at + 1, snap_bytes);
	if (r == NULL || replica_snapshot_by_name(r, snap_name, &info) < 0) {
		snprintf(message, message_bytes, "group %s has no such snapshot at site %s",
			 g->name, conductor_site_name(g->c, g->c->o.site));
		return -ERR_NOT_FOUND;
	}
	rc = snapshot_volume(r, &info.uuid, name, volume_bytes, &v);
	if (rc == -ERR_NOT_FOUND)
		snprintf(message, message_bytes, "snapshot %s@%s has no such volume", g->name,
			 info.name);
	if (rc < 0)
		return rc;
	e = export_of(g, &info.uuid, v.slot);
	if (e == NULL)
		e = export_new(g, &info, &v);
	if (e == NULL)
		return -ERR_NOMEM;
	*ret_volume = &e->v;
	return 0;
}

/* One snapshot's volumes; false: `index` is beyond them, and less by their number. */
static bool export_list_one(struct group *g, const struct replica *r, uint32_t at, uint32_t *index,
			    struct volume_info *ret)
{
	struct snapshot_info s;
	struct replica_volume *list;
	uint32_t n;
	bool found = false;

	if (!replica_snapshot_at(r, at, &s))
		return false;
	if (*index >= s.volume_count && s.volume_count != 0) {
		*index -= s.volume_count;
		return false;
	}
	list = calloc(VOLUMES_MAX, sizeof(*list));
	n = list != NULL ? replica_snapshot_volumes(r, &s.uuid, list, VOLUMES_MAX) : 0;
	for (uint32_t i = 0; i < n && !found; i++) {
		if (list[i].deleted || (*index)-- != 0)
			continue;
		memset(ret, 0, sizeof(*ret));
		snprintf(ret->name, sizeof(ret->name), "%s/%s@%s", g->name, list[i].name, s.name);
		ret->uuid = list[i].uuid;
		ret->bytes = list[i].bytes;
		ret->block_bytes = list[i].block_bytes;
		ret->read_only = true;
		found = true;
	}
	free(list);
	return found;
}

bool export_list(struct conductor *c, uint32_t index, struct volume_info *ret)
{
	if (index >= EXPORTS_LISTED_MAX || c->stopping)
		return false;
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);
		struct replica *r = replica_find(c->store, &g->uuid);
		uint32_t count = r != NULL && !g->dropped ? replica_snapshots(r, NULL, 0) : 0;

		while (count-- > 0)
			if (export_list_one(g, r, count, &index, ret))
				return true;
	}
	return false;
}

/* --- reading --- */

bool export_read(struct volume_io *io)
{
	struct io_state *s = io_state(io);
	struct export *e = s->v->export;

	if (e->snap == NULL) {
		assert(e->asked);
		if (e->failed) {
			volume_io_ended(io, -ERR_CLOSED);
			return true;
		}
		s->phase = IO_SNAPSHOT;
		if (!list_linked(&io->link))
			list_push_back(&e->waiting, &io->link);
		return false; /* wait: the snapshot */
	}
	s->read.volume = s->v->slot;
	s->read.block = s->begin;
	s->read.count = (uint32_t)(s->end - s->begin);
	s->read.data = io->buf->data;
	s->read.crcs = NULL;
	completion_arm(&s->read.done, &io->op, W_READ);
	snapshot_read(e->snap, &s->read);
	return false; /* wait: content */
}

void export_open(struct export *e)
{
	struct group *g = e->v.g;
	struct replica *r = replica_find(g->c->store, &g->uuid);

	if (e->asked)
		return;
	e->asked = true;
	if (r == NULL || export_is_over(e)) {
		e->failed = true;
		export_revoke(e);
		return;
	}
	completion_arm(&e->opened, &e->op, W_OPENED);
	replica_snapshot_open(r, &e->snapshot.uuid, &e->snap, &e->opened);
}

static void export_step(struct op *op)
{
	struct export *e = container_of(op, struct export, op);

	if (op->waits != 0)
		return; /* wait: the snapshot */
	if (e->asked && e->snap == NULL && !e->failed) {
		e->failed = true;
		log_warn(e->v.g->c->env->log, "volume",
			 "group %s: opening snapshot %s: %s; its readers are closed", e->v.g->name,
			 e->snapshot.name, err_text(e->opened.rc));
		export_revoke(e);
	}
	if (e->snap != NULL) {
		struct list_link *n;

		while ((n = list_pop_front(&e->waiting)) != NULL)
			op_wake(&container_of(n, struct volume_io, link)->op);
	}
	op_wake(&e->v.g->op);
}

static void export_end_waiting(struct export *e)
{
	struct list_link *n;

	while ((n = list_pop_front(&e->waiting)) != NULL)
		volume_io_ended(container_of(n, struct volume_io, link), -ERR_CLOSED);
}

static void export_revoke(struct export *e)
{
	e->v.gone = true;
	volume_revoke(&e->v);
	export_end_waiting(e);
}

/* X3 */
static bool export_is_over(const struct export *e)
{
	const struct group *g = e->v.g;

	return g->c->stopping || g->c->store_failed || g->dropped ||
	       replica_find(g->c->store, &g->uuid) == NULL;
}

void export_reap(struct group *g)
{
	LIST_FOR_EACH_SAFE(n, &g->exports) {
		struct export *e = container_of(n, struct export, link);

		if (!e->v.gone && export_is_over(e))
			export_revoke(e);
		if (!list_empty(&e->v.clients) || e->op.waits != 0)
			continue; /* wait: its last client, or the opening */
		if (e->snap != NULL)
			replica_snapshot_close(&e->snap); /* X1 */
		op_unqueue(&e->op);
		list_remove(&e->link);
		free(e);
	}
}

void export_free_all(struct group *g)
{
	struct list_link *n;

	while ((n = list_pop_front(&g->exports)) != NULL) {
		struct export *e = container_of(n, struct export, link);

		op_unqueue(&e->op);
		free(e);
	}
}
