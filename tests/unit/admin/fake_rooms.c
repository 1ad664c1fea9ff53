/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/admin/fake_rooms.c: see fake_rooms.h. */
#include "tests/unit/admin/fake_rooms.h"

#include <stdio.h>
#include <string.h>

#include "engine/nbd/nbd_server.h"

void fake_rooms_init(struct fake_rooms *f)
{
	struct authority_status *q = &f->authority.status;

	memset(f, 0, sizeof(*f));
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
	g->peers[0] =
		(struct group_peer_status){.site = 2, .state = "streaming", .durable_known = true};
	snprintf(g->guarantee, sizeof(g->guarantee),
		 "an acknowledged write is on stable storage at east and west");
	return g;
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
