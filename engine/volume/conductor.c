/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/conductor.c
 * Purpose.     All groups of a site: follows the authority's views, routes the peers' messages.
 * Invariants.  R2 A lease is granted only by rules_ping.
 *              C1 Every group the authority names this site in has a struct group, and every replica
 *                 in the store has one too (an orphan when the authority does not know it).
 * Ownership.   Groups are the conductor's; requests are their callers' until done.
 * Failure.     When the store fails the peers are told at once and every role ends.
 * Limits.      groups_max groups, SITES_MAX sites, EVENTS_KEPT events.
 */
#include "engine/volume/conductor.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/volume/group.h"

#define W_PING 1u
#define W_FAILURE 2u

static void conductor_step(struct op *op);
static void conductor_links(struct conductor *c);
static void conductor_views(struct conductor *c);
static void conductor_peers(struct conductor *c);
static void conductor_pings(struct conductor *c);
static void conductor_tell_all(struct conductor *c, enum link_kind kind);
static void conductor_last_head(struct group *g, struct link_msg *m);
static void conductor_wake_groups(struct conductor *c);
static void conductor_propose_all(struct conductor *c);
static void conductor_stop_progress(struct conductor *c);
static void conductor_stop_unstarted(struct conductor *c);
static void conductor_failure(struct conductor *c);

int conductor_open(struct env *env, const struct conductor_opts *opts, struct conductor **ret)
{
	struct conductor *c = calloc(1, sizeof(*c));
	struct store_status st;

	if (c == NULL)
		return -ERR_NOMEM;
	assert(opts->site_count >= 1 && opts->site_count <= SITES_MAX);
	op_init(&c->op, env->ready, conductor_step);
	c->env = env;
	c->o = *opts;
	memcpy(c->sites, opts->sites, opts->site_count * sizeof(*opts->sites));
	c->o.sites = c->sites;
	c->store = opts->store;
	c->authority = opts->authority;
	store_status(c->store, &st);
	conductor_store_identity(c->store, &c->store_uuid);
	c->incarnation = st.incarnation;
	c->boot = clock_now(env->clock);
	list_init(&c->groups);
	list_init(&c->requests);
	list_link_init(&c->watch.link);
	c->watch.op = &c->op;
	for (uint32_t i = 0; i < opts->site_count; i++) {
		if (c->sites[i].id == opts->site)
			continue;
		c->peers[c->peer_count++] =
			(struct conductor_peer){.site = c->sites[i].id, .lost_at = c->boot};
	}
	if (scrubs_open(c) < 0 || repairs_open(c) < 0) {
		free(c->scrubs);
		free(c);
		return -ERR_NOMEM;
	}
	*ret = c;
	return 0;
}

struct op *conductor_op(struct conductor *c)
{
	return &c->op;
}

void conductor_start(struct conductor *c, struct repl *repl)
{
	assert(!c->started);
	c->repl = repl;
	c->started = true;
	authority_watch_attach(c->authority, &c->watch);
	completion_arm(&c->failure, &c->op, W_FAILURE);
	store_watch_failure(c->store, &c->failure);
	op_wake(&c->op);
}

void conductor_stop(struct conductor *c, struct completion *done)
{
	assert(c->stop_done == NULL);
	c->stopping = true;
	c->stop_done = done;
	op_wake(&c->op);
}

bool conductor_attach(struct conductor *c)
{
	if (c->stopping || c->store_failed)
		return false;
	c->attached++;
	return true;
}

void conductor_detach(struct conductor *c)
{
	assert(c->attached > 0);
	c->attached--;
	op_wake(&c->op);
}

void conductor_abandon(struct conductor **cp)
{
	struct conductor *c = *cp;
	struct list_link *n;

	*cp = NULL;
	while ((n = list_pop_front(&c->groups)) != NULL)
		group_free(container_of(n, struct group, link));
	op_unqueue(&c->op);
	free(c->repairs);
	free(c->scrubs);
	free(c);
}

void conductor_close(struct conductor **cp)
{
	struct conductor *c = *cp;

	assert(c->stopping || !c->started);
	repairs_close(c);
	if (timer_armed(&c->ping))
		clock_timer_disarm(c->env->clock, &c->ping);
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);
		struct replica *r = replica_find(c->store, &g->uuid);

		if (r != NULL)
			replica_watch(r, NULL);
		if (timer_armed(&g->timer))
			clock_timer_disarm(c->env->clock, &g->timer);
		if (timer_armed(&g->pace))
			clock_timer_disarm(c->env->clock, &g->pace);
	}
	if (c->started) {
		authority_watch_detach(c->authority, &c->watch);
		store_watch_failure(c->store, NULL);
	}
	conductor_abandon(cp);
}

static void conductor_step(struct op *op)
{
	struct conductor *c = container_of(op, struct conductor, op);

	if (!c->started) {
		conductor_stop_unstarted(c);
		return; /* wait: start */
	}
	conductor_failure(c);
	repairs_tell(c);
	older_progress(c);
	branches_progress(c);
	scrubs_progress(c);
	if (c->repl != NULL) {
		conductor_peers(c);
		conductor_links(c);
	}
	conductor_views(c);
	views_ask(c);
	views_tell(c);
	conductor_pings(c);
	conductor_wake_requests(c);
	conductor_propose_all(c);
	if (c->stopping)
		conductor_stop_progress(c);
}

/* One entry for all that groups propose in a turn: a failover of many takes few of them. */
static void conductor_propose_all(struct conductor *c)
{
	uint32_t n = c->proposal_count;

	c->proposal_count = 0;
	if (n > 0)
		(void)!authority_propose(c->authority, c->proposals, n); /* R8: proposed again */
}

void conductor_propose(struct conductor *c, const struct vg_cmd *cmd)
{
	if (c->proposal_count == VG_BATCH_MAX)
		conductor_propose_all(c);
	c->proposals[c->proposal_count++] = *cmd;
	op_wake(&c->op);
}

/* Stopped before it was started, because a room after it could not be opened. */
static void conductor_stop_unstarted(struct conductor *c)
{
	struct completion *done = c->stop_done;

	c->stop_done = NULL;
	if (done != NULL)
		completion_fire(done, 0);
}

/* R2: the peers may claim without waiting, so they hear of it only when nothing is served any more. */
static void conductor_failure(struct conductor *c)
{
	bool open = false;

	if (!c->store_failed && store_is_failed(c->store)) {
		c->store_failed = true;
		conductor_event(
			c, EVENT_STORE, NULL, "ok", "failed", 0, 0,
			"a write or flush of the store failed: this site gives up its roles");
		conductor_wake_groups(c);
	}
	if (!c->store_failed || c->failure_told)
		return;
	LIST_FOR_EACH(n, &c->groups)
		open = open || container_of(n, struct group, link)->open_epoch != 0;
	if (open) {
		op_wake(&c->op); /* after the groups' steps */
		return;
	}
	c->failure_told = true;
	conductor_tell_all(c, LINK_FAILED);
}

static void conductor_peers(struct conductor *c)
{
	for (uint32_t i = 0; i < c->peer_count; i++) {
		struct conductor_peer *p = &c->peers[i];
		struct repl_peer_status ps;

		if (repl_peer_status(c->repl, p->site, &ps) < 0 ||
		    (ps.up == p->up && (!ps.up || ps.session == p->session)))
			continue;
		if (p->up) /* silence began before the session was given up for it */
			p->lost_at =
				ps.last_heard.v != 0 ? ps.last_heard : clock_now(c->env->clock);
		conductor_event(c, EVENT_PEER, NULL, p->up ? "up" : "down", ps.up ? "up" : "down",
				0, 0, "%s: %s", conductor_site_name(c, p->site),
				ps.up ? "connected" : ps.error);
		LIST_FOR_EACH(n, &c->groups) {
			struct group *g = container_of(n, struct group, link);

			if (p->up && p->site == group_pair_peer(g))
				rules_session_lost(&g->rules, p->gone);
			g->follow_next.v = 0;
			op_wake(&g->op);
		}
		p->up = ps.up;
		if (!ps.up)
			continue;
		p->wants_views = false;
		p->ask_at.v = 0;
		p->gone = false; /* what it said in an older session is over */
		p->session = ps.session;
	}
}

static void conductor_ping(struct conductor *c, const struct link_msg *m)
{
	struct link_msg pong = {.kind = LINK_PONG, .sent = m->sent, .lease_ms = m->lease_ms};

	for (uint32_t i = 0; i < m->group_count; i++) {
		const struct link_group *lg = &m->groups[i];
		struct group *g = conductor_group(c, &lg->group);
		struct link_group *out = &pong.groups[pong.group_count++];
		struct rules_facts f;

		*out = *lg;
		out->granted = 0;
		if (g == NULL || c->stopping || lg->role != 1)
			continue;
		group_facts(g, &f);
		if (f.view == NULL)
			continue;
		if (m->site == g->view.primary && lg->epoch == g->view.epoch) {
			g->heard = f.now;
			g->heard_head = lg->head;
			g->heard_commit = lg->commit;
			g->heard_epoch = lg->epoch;
			g->heard_wall = clock_wall(c->env->clock);
			g->heard_final = false;
		}
		out->granted = rules_ping(&g->rules, &f, m->site, lg->epoch, m->lease_ms,
					  g->floor.promise_ms >= c->o.timers.grace_ms);
		op_wake(&g->op);
	}
	(void)!repl_link_send(c->repl, m->site, &pong);
}

static void conductor_pong(struct conductor *c, const struct link_msg *m)
{
	uint64_t lease_ms = m->lease_ms < c->o.timers.lease_ms ? m->lease_ms : c->o.timers.lease_ms;

	if (m->sent.v > clock_now(c->env->clock).v)
		return; /* no ping of ours */
	for (uint32_t i = 0; i < m->group_count; i++) {
		const struct link_group *lg = &m->groups[i];
		struct group *g = conductor_group(c, &lg->group);

		if (g == NULL || lg->granted == 0 || m->site != group_pair_peer(g))
			continue; /* J11: an async site's word is no lease */
		rules_granted(&g->rules, authority_view(c->authority, &g->uuid), lg->epoch, m->sent,
			      lease_ms);
		op_wake(&g->op);
	}
}

static void conductor_gone(struct conductor *c, const struct link_msg *m)
{
	uint32_t site = m->site;
	struct conductor_peer *p = conductor_peer(c, site);

	if (p == NULL || m->session != p->session)
		return; /* said in an older session: it is back */
	p->gone = true;
	for (uint32_t i = 0; i < m->group_count; i++) {
		const struct link_group *lg = &m->groups[i];
		struct group *g = conductor_group(c, &lg->group);

		if (g == NULL || g->view.primary != site || g->view.epoch != lg->epoch)
			continue;
		g->heard_head = lg->head;
		g->heard_commit = lg->commit;
		g->heard_epoch = lg->epoch;
		g->heard_wall = clock_wall(c->env->clock);
		g->heard_final = true;
	}
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (g->view.primary == site)
			rules_released(&g->rules);
		op_wake(&g->op);
	}
}

static void conductor_links(struct conductor *c)
{
	struct link_msg *m = calloc(1, sizeof(*m));
	struct repl_attach a;

	if (m == NULL)
		return; /* messages stay queued, bounded by repl */
	while (repl_link_take(c->repl, m)) {
		struct group *g = m->tail != NULL ? conductor_group(c, &m->tail->group) : NULL;

		switch (m->kind) {
		case LINK_PING:
			conductor_ping(c, m);
			break;
		case LINK_PONG:
			conductor_pong(c, m);
			break;
		case LINK_TAIL_ASK:
			if (g != NULL)
				group_tail_ask(g, m->site, m->tail->question);
			break;
		case LINK_TAIL_TOLD:
			if (g != NULL)
				group_tail_told(g, m->tail);
			break;
		case LINK_FAILED:
		case LINK_GOODBYE:
			conductor_gone(c, m);
			break;
		case LINK_VIEW:
			views_told(c, m);
			break;
		case LINK_VIEW_ASK:
			views_asked(c, m);
			break;
		}
	}
	free(m);
	while (repl_attach_take(c->repl, &a)) {
		struct group *g = conductor_group(c, &a.group);

		if (g != NULL)
			group_attach(g, &a);
		else
			repl_attach_refuse(c->repl, &a, "no such group here yet");
	}
}

static void conductor_add_group(struct conductor *c, const struct uuid *uuid, const char *name)
{
	struct group *g;

	if (conductor_group(c, uuid) != NULL || c->group_count >= c->o.groups_max)
		return;
	g = group_open(c, uuid, name);
	if (g == NULL)
		return;
	c->group_count++;
	for (struct list_link *n = list_first(&c->groups); n != NULL;
	     n = list_next(&c->groups, n)) {
		struct group *o = container_of(n, struct group, link);

		if (strcmp(o->name, g->name) > 0) { /* before o: name order */
			list_insert_between_(&g->link, n->prev, n);
			return;
		}
	}
	list_push_back(&c->groups, &g->link);
}

/* Deleted groups whose replica is gone. */
static void conductor_reap(struct conductor *c)
{
	LIST_FOR_EACH_SAFE(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (g->dropped && replica_find(c->store, &g->uuid) == NULL)
			group_refresh_volumes(
				g); /* none is left: they go with their last clients */
		group_reap_volumes(g);
		if (!g->dropped || !group_is_idle(g) || replica_find(c->store, &g->uuid) != NULL ||
		    !list_empty(&g->volumes))
			continue;
		if (timer_armed(&g->timer))
			clock_timer_disarm(c->env->clock, &g->timer);
		if (timer_armed(&g->pace))
			clock_timer_disarm(c->env->clock, &g->pace);
		list_remove(&g->link);
		c->group_count--;
		group_free(g);
	}
}

/* C1, and what the authority has deleted goes. */
static void conductor_views(struct conductor *c)
{
	uint64_t version = authority_version(c->authority);
	const struct authority_status *as = authority_status(c->authority);
	const struct vg_view *v;

	for (struct replica *r = replica_next(c->store, NULL); r != NULL;
	     r = replica_next(c->store, r)) {
		struct replica_status st;

		replica_status(r, &st);
		conductor_add_group(c, &st.group, st.name);
	}
	conductor_reap(c);
	if (!as->ready || version == c->version_seen)
		return;
	c->version_seen = version;
	for (uint32_t i = 0; (v = authority_view_at(c->authority, i)) != NULL; i++)
		if (vg_site_index(v, c->o.site) >= 0)
			conductor_add_group(c, &v->vg, v->name);
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (g->view_seen && authority_view(c->authority, &g->uuid) == NULL)
			g->dropped = true;
		op_wake(&g->op);
	}
}

static void conductor_pings(struct conductor *c)
{
	struct mono_ns now = clock_now(c->env->clock);
	uint64_t every = c->o.timers.ping_ms * MS_NS;

	if (completion_armed(&c->ping.done))
		return; /* not yet time */
	room_poll(c);
	for (uint32_t i = 0; i < c->peer_count && c->repl != NULL && !c->stopping; i++) {
		struct link_msg *m = &c->msg;

		memset(m, 0, sizeof(*m));
		m->kind = LINK_PING;
		m->sent = now;
		m->lease_ms = c->o.timers.lease_ms;
		LIST_FOR_EACH(n, &c->groups) {
			struct group *g = container_of(n, struct group, link);
			struct replica *r = replica_find(c->store, &g->uuid);
			struct replica_status st;

			if (!g->eff.ping || r == NULL ||
			    vg_site_index(&g->view, c->peers[i].site) < 0)
				continue;
			if (m->group_count == LINK_GROUPS_MAX) {
				(void)!repl_link_send(c->repl, c->peers[i].site, m);
				m->group_count = 0;
			}
			replica_status(r, &st);
			m->groups[m->group_count++] = (struct link_group){.group = g->uuid,
									  .epoch = g->view.epoch,
									  .cfg = g->view.cfg,
									  .head = st.tail,
									  .commit = st.commit,
									  .role = 1};
		}
		if (m->group_count > 0)
			(void)!repl_link_send(c->repl, c->peers[i].site, m);
	}
	completion_arm(&c->ping.done, &c->op, W_PING);
	c->ping.deadline.v = now.v + every;
	clock_timer_arm(c->env->clock, &c->ping);
}

/* Where the history ends of a group that this site was primary of: so that a loss can be stated before it happens. */
static void conductor_last_head(struct group *g, struct link_msg *m)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct replica_status st;

	if (r == NULL || !vg_is_primary(&g->view, g->c->o.site, g->c->incarnation))
		return;
	replica_status(r, &st);
	m->groups[m->group_count++] = (struct link_group){.group = g->uuid,
							  .epoch = g->view.epoch,
							  .cfg = g->view.cfg,
							  .head = st.tail,
							  .commit = st.commit};
}

static void conductor_tell_all(struct conductor *c, enum link_kind kind)
{
	for (uint32_t i = 0; i < c->peer_count && c->repl != NULL; i++) {
		memset(&c->msg, 0, sizeof(c->msg));
		c->msg.kind = kind;
		LIST_FOR_EACH(n, &c->groups) {
			if (c->msg.group_count == LINK_GROUPS_MAX) {
				(void)!repl_link_send(c->repl, c->peers[i].site, &c->msg);
				c->msg.group_count = 0;
			}
			conductor_last_head(container_of(n, struct group, link), &c->msg);
		}
		(void)!repl_link_send(c->repl, c->peers[i].site, &c->msg);
	}
}

static void conductor_wake_groups(struct conductor *c)
{
	LIST_FOR_EACH(n, &c->groups)
		op_wake(&container_of(n, struct group, link)->op);
}

/* Groups see `stopping` as a failed store: they close everything.  Only when no group serves any
 * more may the peers be told that they can take over. */
static void conductor_stop_progress(struct conductor *c)
{
	bool open = false;
	bool busy = c->attached != 0 || !list_empty(&c->requests) || !scrubs_are_idle(c) ||
		    (c->older && completion_armed(&c->older_done)) ||
		    completion_armed(&c->branch_gone);

	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		open = open || g->open_epoch != 0;
		busy = busy || !group_is_idle(g);
		op_wake(&g->op);
	}
	if (c->stop_done == NULL || open)
		return;
	if (c->stop_done->op != NULL && !busy) {
		struct completion *done = c->stop_done;

		conductor_tell_all(c, LINK_GOODBYE);
		c->stop_done = NULL;
		completion_fire(done, 0);
	}
}

struct group *conductor_group(struct conductor *c, const struct uuid *uuid)
{
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (uuid_equal(&g->uuid, uuid))
			return g;
	}
	return NULL;
}

struct group *conductor_group_named(struct conductor *c, const char *name, uint32_t bytes)
{
	struct group *found = NULL;

	/* An orphan, or one that is being deleted, may have the name of a newer one. */
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (strlen(g->name) != bytes || memcmp(g->name, name, bytes) != 0)
			continue;
		if (g->view_seen && !g->dropped)
			return g;
		found = g;
	}
	return found;
}

struct conductor_peer *conductor_peer(struct conductor *c, uint32_t site)
{
	for (uint32_t i = 0; i < c->peer_count; i++)
		if (c->peers[i].site == site)
			return &c->peers[i];
	return NULL;
}

const char *conductor_site_name(const struct conductor *c, uint32_t site)
{
	for (uint32_t i = 0; i < c->o.site_count; i++)
		if (c->sites[i].id == site)
			return c->sites[i].name;
	return "?";
}

bool conductor_store_is_full(const struct conductor *c)
{
	return c->room.full;
}

bool conductor_group_probe(struct conductor *c, const struct uuid *group, struct group_probe *ret)
{
	struct group *g = conductor_group(c, group);
	struct replica *r = replica_find(c->store, group);
	struct replica_status st;

	if (g == NULL || r == NULL)
		return false;
	replica_status(r, &st);
	ret->is_open = g->open_phase == OPEN_DONE;
	ret->has_lease = g->eff.may_read && clock_now(c->env->clock).v < g->eff.lease_until.v;
	ret->epoch = g->open_epoch;
	ret->incarnation = c->incarnation;
	ret->ack_mask = g->eff.ack_mask;
	ret->commit = st.commit;
	return true;
}
