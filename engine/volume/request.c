/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/request.c
 * Purpose.     What the desk asks: groups through the authority, volumes through the journal.
 * Invariants.  J9 A request is answered when its record is committed, or its view applied.
 *              R8 The same compare-and-set is proposed again until cfg moves or the deadline.
 *              Q1 One VOLUME, SNAP, RESTORE or CLONE record of a group is in flight at a time, so
 *                 slots and names are never shared.
 * States.      REQ_NEW -> REQ_ASKED -> done.  A request is looked at whenever the conductor steps.
 * Ownership.   Requests are the callers'.
 * Limits.      Bounded by the desk.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/port/random.h"
#include "engine/store/snapshot.h"
#include "engine/volume/request.h"

#define VOLUME_BYTES_MAX (1ull << 60) /* proto/record.h */

static void request_step(struct op *op);
static int request_run(struct conductor_request *r);
static int request_group_create(struct conductor_request *r);
static int request_group_change(struct conductor_request *r);
static int request_volume(struct conductor_request *r);
static int request_store_grow(struct conductor_request *r);

void conductor_submit(struct conductor *c, struct conductor_request *r)
{
	struct request_state *s = request_state(r);

	memset(s, 0, sizeof(*s));
	r->c = c;
	r->text[0] = '\0';
	op_init(&r->op, c->env->ready, request_step);
	s->deadline.v =
		clock_now(c->env->clock).v + (r->deadline_ms != 0 ? r->deadline_ms : 30000) * MS_NS;
	list_link_init(&r->link);
	list_push_back(&c->requests, &r->link);
	op_wake(&r->op);
}

void conductor_wake_requests(struct conductor *c)
{
	LIST_FOR_EACH(n, &c->requests)
		op_wake(&container_of(n, struct conductor_request, link)->op);
}

int request_fail(struct conductor_request *r, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	return rc;
}

static void request_step(struct op *op)
{
	struct conductor_request *r = container_of(op, struct conductor_request, op);
	struct request_state *s = request_state(r);
	int rc;

	if (!list_linked(&r->link) || op->waits != 0)
		return; /* answered already; wait: a snapshot that is being opened */
	rc = r->c->stopping ? request_fail(r, -ERR_CLOSED, "the daemon is stopping")
			    : request_run(r);
	if (rc == -ERR_AGAIN && clock_now(r->c->env->clock).v >= s->deadline.v) {
		if (r->text[0] == '\0')
			snprintf(
				r->text, sizeof(r->text),
				"no answer in time: the change may still happen; see 'twinshore status'");
		rc = s->phase == REQ_NEW && r->kind != REQUEST_STORE_GROW &&
				     r->kind != REQUEST_SCRUB &&
				     !authority_has_quorum(r->c->authority)
			     ? -ERR_NO_QUORUM
			     : -ERR_TIMEOUT;
	}
	if (rc == -ERR_AGAIN)
		return; /* wait: authority, commit, or the deadline (the conductor's ping wakes us) */
	if (rc == 0)
		r->text[0] = '\0';
	request_snap_end(r);
	list_remove(&r->link);
	completion_fire(&r->done, rc); /* last: r is the caller's again */
}

static int request_run(struct conductor_request *r)
{
	switch (r->kind) {
	case REQUEST_GROUP_CREATE:
		return request_group_create(r);
	case REQUEST_GROUP_DELETE:
	case REQUEST_GROUP_SET:
		return request_group_change(r);
	case REQUEST_VOLUME_CREATE:
	case REQUEST_VOLUME_RESIZE:
	case REQUEST_VOLUME_DELETE:
		return request_volume(r);
	case REQUEST_STORE_GROW:
		return request_store_grow(r);
	case REQUEST_SNAPSHOT_CREATE:
	case REQUEST_SNAPSHOT_DELETE:
		return request_snapshot(r);
	case REQUEST_ROLLBACK:
		return request_rollback(r);
	case REQUEST_CLONE:
		return request_clone(r);
	case REQUEST_SWITCHOVER:
		return request_switchover(r);
	case REQUEST_FAILOVER:
		return request_failover(r);
	case REQUEST_PAUSE:
	case REQUEST_RESUME:
		return request_pause(r);
	case REQUEST_SCRUB:
		return request_scrub(r);
	}
	UNREACHABLE("request kind");
}

uint32_t request_site_named(const struct conductor *c, const char *name)
{
	for (uint32_t i = 0; i < c->o.site_count; i++)
		if (strcmp(c->sites[i].name, name) == 0)
			return c->sites[i].id;
	return 0;
}

/* Fill CREATE; 0 or the refusal. */
static int request_create_cmd(struct conductor_request *r, struct vg_cmd *cmd)
{
	struct conductor *c = r->c;
	const struct group_create_spec *g = &r->group;
	if (g->ack_received)
		return request_fail(r, -ERR_UNSUPPORTED,
				    "--ack received is not available in this version");
	memset(cmd, 0, sizeof(*cmd));
	cmd->kind = VG_CREATE;
	cmd->vg = request_state(r)->uuid;
	cmd->from = c->o.site;
	memcpy(cmd->name, g->name, sizeof(cmd->name));
	cmd->config.on_peer_loss = g->on_peer_loss_stop ? VG_PEER_LOSS_STOP : VG_PEER_LOSS_CONTINUE;
	cmd->config.min_isr = g->min_isr == 2 ? 2 : 1;
	cmd->config.on_full = g->on_full_stop ? VG_FULL_STOP : VG_FULL_ENOSPC;
	cmd->config.suspend_max_ms = (uint32_t)c->o.timers.suspend_max_ms;
	return request_create_sites(r, cmd);
}

/* Does the group that exists have what was asked for? */
static bool request_same_group(const struct vg_view *v, const struct vg_cmd *cmd)
{
	return v->config.min_isr == cmd->config.min_isr &&
	       v->config.on_peer_loss == cmd->config.on_peer_loss &&
	       v->config.on_full == cmd->config.on_full && request_same_sites(v, cmd);
}

static int request_group_create(struct conductor_request *r)
{
	struct conductor *c = r->c;
	struct request_state *s = request_state(r);
	const struct vg_view *v = authority_view_by_name(c->authority, r->group.name);
	struct vg_cmd cmd;
	uint64_t now = clock_now(c->env->clock).v;
	int rc;

	if (s->phase == REQ_NEW && uuid_is_nil(&s->uuid)) {
		uint8_t random[16];

		c->env->random->fill(c->env->random, random, sizeof(random));
		uuid_from_random(&s->uuid, random);
	}
	if (authority_status(c->authority)->told)
		return request_fail(
			r, -ERR_NOT_PRIMARY,
			"this site is no member of the quorum: create the group at a site "
			"that is one");
	rc = request_create_cmd(r, &cmd);
	if (rc < 0)
		return rc;
	if (v != NULL) {
		struct group *g = conductor_group(c, &v->vg);

		if (!request_same_group(v, &cmd))
			return request_fail(r, -ERR_EXISTS,
					    "group %s exists already with other parameters",
					    r->group.name);
		if (v->primary == c->o.site && (g == NULL || g->open_phase != OPEN_DONE))
			return -ERR_AGAIN; /* wait: it is served */
		return 0;
	}
	if (!authority_status(c->authority)->ready)
		return -ERR_AGAIN;
	if (c->group_count >= c->o.groups_max && s->phase == REQ_NEW)
		return request_fail(r, -ERR_FULL, "this site has %u groups, which is the limit",
				    c->group_count);
	if (now >= s->again.v) {
		rc = authority_check(c->authority, &cmd);
		if (rc == -ERR_INVALID || rc == -ERR_FULL)
			return request_fail(r, rc, "the authority refuses group %s: %s",
					    r->group.name, err_text(rc));
		s->again.v = now + REQUEST_AGAIN_MS * MS_NS;
		if (authority_propose(c->authority, &cmd, 1) == 0)
			s->phase = REQ_ASKED;
	}
	return -ERR_AGAIN;
}

int request_group_refusal(struct conductor_request *r, const struct group *g, const char *name)
{
	if (g == NULL || !g->view_seen || g->dropped)
		return request_fail(r, -ERR_NOT_FOUND, "no group named %s", name);
	if (g->open_epoch == 0 && g->view.primary != g->c->o.site)
		return request_fail(r, -ERR_NOT_PRIMARY, "group %s is primary at %s: say it there",
				    name, conductor_site_name(g->c, g->view.primary));
	return g->open_phase == OPEN_DONE ? 0 : -ERR_AGAIN;
}

static int request_group_is_empty(struct conductor_request *r, const struct group *g)
{
	struct replica *replica = replica_find(g->c->store, &g->uuid);
	uint32_t snapshots = replica != NULL ? replica_snapshots(replica, NULL, 0) : 0;

	if (g->volume_count == 0 && snapshots == 0)
		return 0;
	return request_fail(r, -ERR_IN_USE,
			    "group %s has %u volumes and %u snapshots: delete them first, or use "
			    "--force",
			    g->name, g->volume_count, snapshots);
}

static int request_group_change(struct conductor_request *r)
{
	struct conductor *c = r->c;
	struct request_state *s = request_state(r);
	struct group *g = conductor_group_named(c, r->group.name, (uint32_t)strlen(r->group.name));
	struct vg_cmd cmd = {.from = c->o.site};
	uint64_t now = clock_now(c->env->clock).v;
	int rc;

	if (s->phase == REQ_ASKED && r->kind == REQUEST_GROUP_DELETE &&
	    authority_view(c->authority, &s->uuid) == NULL)
		return conductor_group(c, &s->uuid) == NULL
			       ? 0
			       : -ERR_AGAIN; /* wait: its replica is gone too */
	rc = request_group_refusal(r, g, r->group.name);
	if (rc < 0)
		return rc;
	if (r->kind == REQUEST_GROUP_DELETE && !r->force) {
		rc = request_group_is_empty(r, g);
		if (rc < 0)
			return rc;
	}
	s->uuid = g->uuid;
	if (r->kind == REQUEST_GROUP_SET) {
		struct vg_config want = g->view.config;

		if (r->set_on_peer_loss)
			want.on_peer_loss = r->group.on_peer_loss_stop ? VG_PEER_LOSS_STOP
								       : VG_PEER_LOSS_CONTINUE;
		if (r->set_min_isr && r->group.min_isr != 1 && r->group.min_isr != 2)
			return request_fail(r, -ERR_INVALID, "min-isr is 1 or 2");
		if (r->set_min_isr)
			want.min_isr = (uint8_t)r->group.min_isr;
		if (r->set_on_full)
			want.on_full = r->group.on_full_stop ? VG_FULL_STOP : VG_FULL_ENOSPC;
		if (r->set_history) {
			want.history_s = r->group.history_s;
			want.history_bytes = r->group.history_bytes;
		}
		if (r->set_branch_keep)
			want.branch_keep_h = r->group.branch_keep_h;
		rc = request_set_sites(r, g, &cmd);
		if (rc < 0)
			return rc;
		if (request_same_sites(&g->view, &cmd) &&
		    want.on_peer_loss == g->view.config.on_peer_loss &&
		    want.on_full == g->view.config.on_full &&
		    want.history_s == g->view.config.history_s &&
		    want.history_bytes == g->view.config.history_bytes &&
		    want.branch_keep_h == g->view.config.branch_keep_h &&
		    want.min_isr == g->view.config.min_isr)
			return 0;
		cmd.config = want;
	}
	if (now >= s->again.v) {
		s->again.v = now + REQUEST_AGAIN_MS * MS_NS;
		cmd.kind = r->kind == REQUEST_GROUP_SET ? VG_CONFIG : VG_DELETE;
		cmd.vg = g->uuid;
		cmd.cfg = g->view.cfg;
		if (authority_propose(c->authority, &cmd, 1) == 0)
			s->phase = REQ_ASKED;
	}
	return -ERR_AGAIN;
}

static const struct replica_volume *volume_in(const struct replica_volume *list, uint32_t n,
					      const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (!list[i].deleted && strcmp(list[i].name, name) == 0)
			return &list[i];
	return NULL;
}

static uint32_t volume_slot_next(const struct replica_volume *list, uint32_t n)
{
	uint32_t slot = 0;

	for (uint32_t i = 0; i < n; i++)
		if (list[i].slot >= slot)
			slot = list[i].slot + 1;
	return slot;
}

/* What record does the request need?  0: none, it is so already; 1: rec is filled; else the refusal. */
static int request_volume_record(struct conductor_request *r, struct group *g,
				 const struct replica_volume *list, uint32_t n,
				 struct record_volume *rec)
{
	const struct volume_create_spec *w = &r->volume;
	const struct replica_volume *v = volume_in(list, n, w->name);
	uint8_t random[16];
	uint32_t block =
		v != NULL && r->kind != REQUEST_VOLUME_CREATE ? v->block_bytes : w->block_bytes;

	memset(rec, 0, sizeof(*rec));
	if (r->kind != REQUEST_VOLUME_DELETE &&
	    ((block != 512 && block != 4096) || w->bytes == 0 || w->bytes % block != 0 ||
	     w->bytes > VOLUME_BYTES_MAX))
		return request_fail(
			r, -ERR_INVALID,
			"a volume has blocks of 512 or 4096 bytes and a size of 1 block to 1 EiB in whole blocks");
	if (r->kind == REQUEST_VOLUME_CREATE) {
		if (v != NULL)
			return v->bytes == w->bytes && v->block_bytes == w->block_bytes
				       ? 0
				       : request_fail(
						 r, -ERR_EXISTS,
						 "volume %s/%s exists already with other parameters",
						 g->name, w->name);
		rec->op = RECORD_VOLUME_CREATE;
		rec->slot = volume_slot_next(list, n);
		rec->bytes = w->bytes;
		rec->block_bytes = w->block_bytes;
		if (rec->slot >= VOLUMES_MAX)
			return request_fail(r, -ERR_FULL,
					    "group %s has had %u volumes, which is the limit",
					    g->name, VOLUMES_MAX);
		g->c->env->random->fill(g->c->env->random, random, sizeof(random));
		uuid_from_random(&rec->uuid, random);
		memcpy(rec->name, w->name, sizeof(rec->name));
		return 1;
	}
	if (v == NULL)
		return request_fail(r, -ERR_NOT_FOUND, "group %s has no volume %s", g->name,
				    w->name);
	rec->op = r->kind == REQUEST_VOLUME_RESIZE ? RECORD_VOLUME_RESIZE : RECORD_VOLUME_DELETE;
	rec->slot = v->slot;
	rec->uuid = v->uuid;
	rec->bytes = r->kind == REQUEST_VOLUME_RESIZE ? w->bytes : v->bytes;
	rec->block_bytes = v->block_bytes;
	memcpy(rec->name, v->name, sizeof(rec->name));
	if (r->kind == REQUEST_VOLUME_RESIZE && w->bytes == v->bytes)
		return 0;
	if (r->kind == REQUEST_VOLUME_RESIZE && w->bytes < v->bytes)
		return request_fail(r, -ERR_INVALID,
				    "volume %s/%s is larger than that: volumes only grow", g->name,
				    w->name);
	return 1;
}

static bool volume_has_clients(struct group *g, uint32_t slot)
{
	LIST_FOR_EACH(n, &g->volumes) {
		struct volume *v = container_of(n, struct volume, link);

		if (v->slot == slot && !v->gone)
			return !list_empty(&v->clients);
	}
	return false;
}

/* J9.  What is not committed when the role ends may or may not come to be. */
int request_committed(struct conductor_request *r, struct group *g, const char *see)
{
	struct request_state *s = request_state(r);
	struct replica *replica = g != NULL ? replica_find(r->c->store, &g->uuid) : NULL;
	struct replica_status st;

	if (replica == NULL || g->open_epoch != s->epoch)
		return request_fail(r, -ERR_TIMEOUT, "the group's role changed meanwhile: see '%s'",
				    see);
	replica_status(replica, &st);
	return st.commit.v >= s->end.v ? 0 : -ERR_AGAIN;
}

static int request_volume(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct group *g =
		conductor_group_named(r->c, r->volume.group, (uint32_t)strlen(r->volume.group));
	struct replica_volume *list;
	struct record_volume rec;
	uint8_t body[RECORD_BODY_BYTES_MAX];
	int rc = request_group_refusal(r, g, r->volume.group);

	if (s->phase == REQ_ASKED)
		return request_committed(r, g, "twinshore volume list");
	if (rc < 0)
		return rc;
	if (g->volumes_at.v != UINT64_MAX)
		return -ERR_AGAIN; /* Q1 */
	list = calloc(VOLUMES_MAX, sizeof(*list));
	if (list == NULL)
		return -ERR_NOMEM;
	rc = request_volume_record(
		r, g, list, replica_volumes(replica_find(r->c->store, &g->uuid), list, VOLUMES_MAX),
		&rec);
	free(list);
	if (rc != 1)
		return rc;
	if (rec.op == RECORD_VOLUME_DELETE && volume_has_clients(g, rec.slot) && !r->force)
		return request_fail(r, -ERR_IN_USE, "volume %s/%s has clients attached", g->name,
				    rec.name);
	rc = group_append_control(g, RECORD_VOLUME, body, record_volume_encode(&rec, body),
				  &s->end);
	if (rc == 0) {
		s->phase = REQ_ASKED;
		s->epoch = g->open_epoch;
	}
	op_wake(&g->op);
	return rc == 0 ? -ERR_AGAIN : rc;
}

/* What a person can do about it. */
static int grow_fail(struct conductor_request *r, int rc, uint64_t now)
{
	if (rc == -ERR_INVALID && r->bytes < now)
		return request_fail(r, rc, "the store has %llu bytes: a store only grows",
				    (unsigned long long)now);
	if (rc == -ERR_INVALID)
		return request_fail(r, rc, "the size of a store is a multiple of 4 KiB");
	if (rc == -ERR_BUSY)
		return request_fail(r, rc, "the store is growing to another size just now");
	if (rc == -ERR_RANGE)
		return request_fail(
			r, -ERR_INVALID,
			r->bytes == 0
				? "the file or device of the store is not larger than the store: say how large with --size, or enlarge the device first"
				: "that is not one segment more than the store has");
	if (rc == -ERR_FULL)
		return request_fail(r, rc, "the file system of the store has no room for that");
	if (rc == -ERR_UNSUPPORTED)
		return request_fail(
			r, -ERR_INVALID,
			"the device of the store is smaller than that: enlarge it first");
	return request_fail(r, rc, "the store did not grow: %s", err_text(rc));
}

/* It goes on in the store, whoever waits for it. */
static int request_store_grow(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct store_growth growth;
	struct store_status st;
	int rc;

	store_status(r->c->store, &st);
	if (s->phase == REQ_NEW) {
		rc = store_grow(r->c->store, r->bytes);
		if (rc < 0)
			return grow_fail(r, rc, st.bytes);
		s->phase = REQ_ASKED;
	}
	store_growth(r->c->store, &growth);
	if (!growth.busy)
		return growth.rc < 0 ? grow_fail(r, growth.rc, st.bytes) : 0;
	snprintf(r->text, sizeof(r->text),
		 "the store goes on growing: %llu of %llu MiB of the new part are written",
		 (unsigned long long)(growth.written >> 20),
		 (unsigned long long)((growth.to - growth.from) >> 20));
	return -ERR_AGAIN;
}
