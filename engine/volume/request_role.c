/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/request_role.c
 * Purpose.     An operator changes the primary: switchover (planned, said at the primary) and failover
 *              (by hand, said at the site that takes over).
 * Invariants.  R7 A switchover only asks: the rules end admission, drain and propose.  The wish ends by
 *                 itself after SWITCH_MS, and then admission goes on, unless the proposal is out: then
 *                 cfg decides (R8).
 *              R3 A failover to an in-sync member is a CLAIM that does not wait for silence; the grace
 *                 stays.  Nothing is lost.
 * States.      REQ_NEW -> REQ_ASKED -> done, as request.c.
 * Failure.     A sentence: what stands in the way, and which site is the primary now.
 * Limits.      A wish holds admission back for SWITCH_MS, less than suspend_max.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/volume/request.h"

#define SWITCH_MS 4000u
#define SERVE_MS \
	2000u /* after the grant: how long the answer waits for the new primary to stream */

static uint64_t now_of(const struct conductor *c)
{
	return clock_now(c->env->clock).v;
}

static bool wished(const struct group *g)
{
	return g->switch_to != 0 && now_of(g->c) < g->switch_until.v;
}

/* May this group change to site `to` now?  1: ask; 0: it is there already; or the refusal. */
static int switch_check(struct conductor_request *r, struct group *g, uint32_t to)
{
	struct conductor *c = r->c;
	struct conductor_peer *p = conductor_peer(c, to);

	if (vg_site_index(&g->view, to) < 0)
		return request_fail(r, -ERR_NOT_FOUND, "group %s has no copy at %s", g->name,
				    conductor_site_name(c, to));
	if (g->view.primary == to)
		return to != c->o.site || g->open_phase == OPEN_DONE ? 0 : -ERR_AGAIN;
	if (g->view.primary != c->o.site)
		return request_fail(r, -ERR_NOT_PRIMARY, "group %s is primary at %s: say it there",
				    g->name, conductor_site_name(c, g->view.primary));
	if (g->open_phase != OPEN_DONE)
		return -ERR_AGAIN;
	if (!vg_in_isr(&g->view, to))
		return request_fail(
			r, -ERR_BUSY,
			"%s is not in the in-sync set of group %s: wait until 'twinshore status' says in-sync",
			conductor_site_name(c, to), g->name);
	if (p == NULL || !p->up)
		return request_fail(r, -ERR_UNREACHABLE, "%s is not connected",
				    conductor_site_name(c, to));
	if (wished(g) && g->switch_to != to)
		return request_fail(r, -ERR_BUSY, "group %s is being switched to %s already",
				    g->name, conductor_site_name(c, g->switch_to));
	return 1;
}

static void switch_ask(struct group *g, uint32_t to)
{
	if (!wished(g))
		conductor_event(g->c, EVENT_ROLE, g, "primary", "draining", 0, 0,
				"an operator asked for a switchover to %s",
				conductor_site_name(g->c, to));
	g->switch_to = to;
	g->switch_until.v = now_of(g->c) + SWITCH_MS * MS_NS;
	op_wake(&g->op);
}

/* What became of it: -ERR_AGAIN: not decided yet. */
static int switch_outcome(struct conductor_request *r, struct group *g, uint32_t to, uint64_t epoch)
{
	struct conductor *c = r->c;

	if (g->view.epoch > epoch && g->view.primary == to) {
		uint64_t served = g->switch_until.v + SERVE_MS * MS_NS;

		if (to == c->o.site)
			return g->open_phase == OPEN_DONE ? 0 : -ERR_AGAIN;
		return g->follower_state == REPL_STREAMING || now_of(c) >= served ? 0 : -ERR_AGAIN;
	}
	if (g->view.epoch > epoch)
		return request_fail(r, -ERR_BUSY, "group %s went to %s meanwhile", g->name,
				    conductor_site_name(c, g->view.primary));
	if (wished(g) || (g->rules.proposed && g->rules.proposed_kind == VG_SWITCH))
		return -ERR_AGAIN;
	return request_fail(r, -ERR_BUSY,
			    "group %s could not be drained to %s within %u ms: %s goes on serving",
			    g->name, conductor_site_name(c, to), SWITCH_MS,
			    conductor_site_name(c, c->o.site));
}

/* Every group that is primary here and has a copy there; one that cannot go is named, the others go. */
static int switch_all(struct conductor_request *r, uint32_t to)
{
	struct conductor *c = r->c;
	struct request_state *s = request_state(r);
	uint32_t left = 0, refused = 0;
	char why[REQUEST_TEXT_BYTES] = "";
	int rc = -ERR_AGAIN, first = 0;

	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (!g->view_seen || g->dropped || g->view.primary != c->o.site ||
		    vg_site_index(&g->view, to) < 0)
			continue;
		rc = switch_check(r, g, to);
		if (rc == 1 && s->phase == REQ_NEW)
			switch_ask(g, to);
		if (rc == -ERR_AGAIN || (rc == 1 && (wished(g) || g->rules.proposed))) {
			left++;
			continue;
		}
		if (rc == 1)
			rc = request_fail(r, -ERR_BUSY, "group %s could not be drained", g->name);
		if (first == 0) {
			first = rc;
			memcpy(why, r->text, sizeof(why));
		}
		refused++;
	}
	s->phase = REQ_ASKED;
	if (left > 0)
		return -ERR_AGAIN;
	if (refused == 0)
		return 0;
	return request_fail(r, first, "%u groups stay at %s; the first: %.300s", refused,
			    conductor_site_name(c, c->o.site), why);
}

int request_switchover(struct conductor_request *r)
{
	struct conductor *c = r->c;
	struct request_state *s = request_state(r);
	uint32_t to = request_site_named(c, r->site);
	struct group *g;
	int rc;

	if (to == 0)
		return request_fail(r, -ERR_NOT_FOUND,
				    "no site named %s in this site's configuration", r->site);
	if (r->all)
		return to == c->o.site ? request_fail(r, -ERR_INVALID,
						      "the groups that are primary here are at %s "
						      "already: say it at the other site",
						      r->site)
				       : switch_all(r, to);
	g = conductor_group_named(c, r->group.name, (uint32_t)strlen(r->group.name));
	if (g == NULL || !g->view_seen || g->dropped)
		return request_fail(r, -ERR_NOT_FOUND, "no group named %s", r->group.name);
	if (s->phase == REQ_ASKED)
		return switch_outcome(r, g, to, s->epoch);
	rc = switch_check(r, g, to);
	if (rc != 1)
		return rc;
	s->phase = REQ_ASKED;
	s->epoch = g->view.epoch;
	switch_ask(g, to);
	return -ERR_AGAIN;
}

/* --- failover by hand --- */

/* This site has everything acknowledged: it only has to want it.  R3 */
static int failover_in_sync(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);

	if (g->open_phase == OPEN_DONE && g->open_epoch == g->view.epoch) {
		g->take_over_until.v = 0;
		return 0;
	}
	if (s->phase == REQ_NEW && !authority_has_quorum(g->c->authority)) {
		request_fail(r, -ERR_AGAIN,
			     "no quorum: nobody may change the primary of group %s now", g->name);
		return -ERR_AGAIN; /* wait: perhaps it is choosing a leader */
	}
	if (s->phase == REQ_NEW)
		conductor_event(g->c, EVENT_ROLE, g, "secondary", "claiming", 0, 0,
				"an operator asked %s to take over",
				conductor_site_name(g->c, g->c->o.site));
	g->take_over_until = s->deadline;
	s->phase = REQ_ASKED;
	op_wake(&g->op);
	return -ERR_AGAIN;
}

int request_failover(struct conductor_request *r)
{
	struct conductor *c = r->c;
	uint32_t to = request_site_named(c, r->site);
	struct group *g = conductor_group_named(c, r->group.name, (uint32_t)strlen(r->group.name));

	if (to == 0)
		return request_fail(r, -ERR_NOT_FOUND,
				    "no site named %s in this site's configuration", r->site);
	if (g == NULL || !g->view_seen || g->dropped)
		return request_fail(r, -ERR_NOT_FOUND, "no group named %s", r->group.name);
	if (to != c->o.site)
		return request_fail(r, -ERR_INVALID,
				    "a failover is said at the site that takes over: at %s",
				    r->site);
	if (vg_site_index(&g->view, to) < 0)
		return request_fail(r, -ERR_NOT_FOUND, "group %s has no copy at %s", g->name,
				    r->site);
	if (request_state(r)->forced || !vg_in_isr(&g->view, to)) {
		request_state(r)->forced = true;
		return request_force(r, g);
	}
	return failover_in_sync(r, g);
}
