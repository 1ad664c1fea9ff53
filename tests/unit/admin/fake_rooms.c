/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/admin/fake_rooms.c: see fake_rooms.h. */
#include "tests/unit/admin/fake_rooms.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/nbd/nbd_server.h"

void fake_rooms_init(struct fake_rooms *f)
{
	struct authority_status *q = &f->authority.status;

	memset(f, 0, sizeof(*f));
	f->conductor.replica = &f->replica;
	f->store.status = (struct store_status){
		.bytes = 1 << 30, .used_bytes = 4096, .journal_bytes = 1 << 20};
	*q = (struct authority_status){.ready = true,
				       .has_quorum = true,
				       .self = 1,
				       .leader = 2,
				       .term = 7,
				       .member_count = 2};
	q->member[0] = (struct authority_member){.id = 1, .name = "east"};
	q->member[1] = (struct authority_member){.id = 2, .name = "west", .reachable = true};
	f->member.status = (struct member_status){
		.state = MEMBER_RUNNING, .self = 1, .leader = 2, .member_count = 2};
	memcpy(f->member.status.member, q->member, sizeof(q->member));
}

struct group_status *fake_group_add(struct fake_rooms *f, const char *name)
{
	struct group_status *g = &f->conductor.groups[f->conductor.group_count++];

	memset(g, 0, sizeof(*g));
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->role = GROUP_ROLE_PRIMARY;
	g->state = GROUP_IN_SYNC;
	g->primary = 1;
	g->epoch = 3;
	g->isr_mask = g->ack_mask = 1u << 1 | 1u << 2;
	g->min_isr = 1;
	g->peer_count = 1;
	g->peers[0] = (struct group_peer_status){
		.site = 2, .state = "streaming", .resync_rung = "", .durable_known = true};
	snprintf(g->guarantee, sizeof(g->guarantee),
		 "an acknowledged write is on stable storage at east and west");
	return g;
}

struct snapshot_info *fake_snapshot_add(struct fake_rooms *f, const char *name)
{
	struct snapshot_info *i = &f->replica.snapshots[f->replica.count++];

	memset(i, 0, sizeof(*i));
	i->uuid.b[0] = (uint8_t)f->replica.count;
	snprintf(i->name, sizeof(i->name), "%s", name);
	i->lsn.v = 4096ull * f->replica.count;
	i->time.v = 1700000000ull * SEC_NS;
	i->used_bytes = 1 << 20;
	i->volume_count = 1;
	i->pinned = true;
	return i;
}

struct replica *conductor_replica(struct conductor *c, const char *group)
{
	for (uint32_t i = 0; i < c->group_count; i++)
		if (strcmp(c->groups[i].name, group) == 0)
			return c->replica;
	return NULL;
}

bool conductor_attach(struct conductor *c)
{
	c->attached++;
	return true;
}

void conductor_detach(struct conductor *c)
{
	assert(c->attached > 0);
	c->attached--;
}

uint32_t replica_snapshots(const struct replica *r, struct snapshot_info *ret, uint32_t max)
{
	for (uint32_t i = 0; i < r->count && i < max; i++)
		ret[i] = r->snapshots[i];
	return r->count;
}

int replica_snapshot_by_name(const struct replica *r, const char *name, struct snapshot_info *ret)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (strcmp(r->snapshots[i].name, name) == 0) {
			*ret = r->snapshots[i];
			return 0;
		}
	return -ERR_NOT_FOUND;
}

int replica_snapshot_by_uuid(const struct replica *r, const struct uuid *uuid,
			     struct snapshot_info *ret)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (uuid_equal(&r->snapshots[i].uuid, uuid)) {
			*ret = r->snapshots[i];
			return 0;
		}
	return -ERR_NOT_FOUND;
}

/* A snapshot that is open is its info. */
void replica_snapshot_open(struct replica *r, const struct uuid *uuid, struct snapshot **ret,
			   struct completion *done)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (uuid_equal(&r->snapshots[i].uuid, uuid)) {
			*ret = (struct snapshot *)(void *)&r->snapshots[i];
			r->snapshots[i].readers++;
			completion_fire(done, 0);
			return;
		}
	completion_fire(done, -ERR_NOT_FOUND);
}

void replica_snapshot_close(struct snapshot **snap)
{
	struct snapshot_info *i = (struct snapshot_info *)(void *)*snap;

	assert(i->readers > 0);
	i->readers--;
	*snap = NULL;
}

uint32_t snapshot_volumes(const struct snapshot *snap, struct replica_volume *ret, uint32_t max)
{
	ret[0] = (struct replica_volume){.bytes = 8 * 4096 + 512, .block_bytes = 512};
	ret[0].uuid.b[0] = 9;
	snprintf(ret[0].name, sizeof(ret[0].name), "db");
	return 1;
}

void replica_snapshot_owned(struct replica *r, struct snapshot_owned *q)
{
	q->bytes = 100ull * q->snapshot.b[0];
	completion_fire(&q->done, r->owned_rc);
}

void snapshot_delta(struct snapshot_delta *d)
{
	d->run_count = 1;
	d->end = d->block != 0;
	d->runs[0] = d->end ? (struct delta_run){8, 5, DELTA_ZERO}
			    : (struct delta_run){1, 2, DELTA_DATA};
	d->block = 8;
	completion_fire(&d->done, 0);
}

void fake_event_add(struct fake_rooms *f, const char *group)
{
	struct conductor *c = &f->conductor;
	struct event *e = &c->events[c->event_count++];

	memset(e, 0, sizeof(*e));
	e->seq = c->event_count;
	e->time.v = 1700000000ull * SEC_NS;
	e->kind = EVENT_ROLE;
	snprintf(e->group, sizeof(e->group), "%s", group);
	if (c->watcher != NULL)
		op_wake(c->watcher);
}

void fake_request_answer(struct fake_rooms *f, int rc, const char *text)
{
	struct conductor_request *r = f->conductor.request;

	f->conductor.request = NULL;
	snprintf(r->text, sizeof(r->text), "%s", text);
	completion_fire(&r->done, rc);
}

void conductor_submit(struct conductor *c, struct conductor_request *req)
{
	assert(c->request == NULL);
	c->request = req;
	c->submitted++;
}

const char *group_state_word(enum group_state s)
{
	return s == GROUP_IN_SYNC    ? "in-sync"
	       : s == GROUP_SINGLE   ? "single"
	       : s == GROUP_DEGRADED ? "degraded"
				     : "other";
}

const char *group_role_word(enum group_role r)
{
	return r == GROUP_ROLE_PRIMARY	   ? "primary"
	       : r == GROUP_ROLE_SECONDARY ? "secondary"
					   : "none";
}

const char *event_kind_word(enum event_kind k)
{
	return k == EVENT_ROLE ? "role" : "other";
}

bool conductor_group_status(struct conductor *c, uint32_t index, struct group_status *ret)
{
	if (index >= c->group_count)
		return false;
	*ret = c->groups[index];
	return true;
}

bool conductor_volume_status(struct conductor *c, const char *group, uint32_t index,
			     struct volume_status *ret)
{
	if (index >= c->volume_count)
		return false;
	*ret = c->volumes[index];
	return true;
}

const char *conductor_site_name(const struct conductor *c, uint32_t site)
{
	return site == 1 ? "east" : site == 2 ? "west" : "?";
}

bool conductor_event_after(const struct conductor *c, uint64_t since, struct event *ret)
{
	if (since >= c->event_count)
		return false;
	*ret = c->events[since];
	return true;
}

void conductor_watch_events(struct conductor *c, struct op *op)
{
	c->watcher = op;
}

bool conductor_volume_times(const struct conductor *c, uint32_t index, struct volume_times *ret)
{
	*ret = (struct volume_times){.group = "pg", .volume = "db"};
	ret->hist[IO_OP_WRITE][IO_STAGE_TOTAL] = &c->hist;
	return index == 0;
}

bool conductor_store_is_full(const struct conductor *c)
{
	return false;
}

void conductor_scrub_status(const struct conductor *c, struct scrub_status *ret)
{
	*ret = (struct scrub_status){0};
}

const char *conductor_room_word(const struct conductor *c)
{
	return "ok";
}

enum store_room store_room(const struct store *s)
{
	return STORE_ROOM_OK;
}

void store_status(const struct store *s, struct store_status *ret)
{
	*ret = s->status;
}

bool store_is_failed(const struct store *s)
{
	return s->status.failed;
}

const struct authority_status *authority_status(const struct authority *a)
{
	return &a->status;
}

bool authority_has_quorum(const struct authority *a)
{
	return a->status.has_quorum;
}

void member_status(const struct member *m, struct member_status *ret)
{
	*ret = m->status;
}

void nbd_server_status(const struct nbd_server *server, struct nbd_server_status *ret)
{
	memset(ret, 0, sizeof(*ret));
}
