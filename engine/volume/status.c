/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/status.c
 * Purpose.     What a person is told of groups, and the numbered events.
 * Invariants.  E1 Event numbers grow by one and are never reused in one boot.
 * Limits.      The last EVENTS_KEPT events.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/snapshot.h"
#include "engine/volume/group.h"

static enum group_state group_state_of(struct group *g);
static void group_reason(struct group *g, struct group_status *s);
static void group_guarantee(struct group *g, struct group_status *s);

const char *group_state_word(enum group_state s)
{
	static const char *const words[] = {
		[GROUP_STARTING] = "starting",	 [GROUP_SINGLE] = "single",
		[GROUP_IN_SYNC] = "in-sync",	 [GROUP_DEGRADED] = "degraded",
		[GROUP_RESYNCING] = "resyncing", [GROUP_SUSPENDED] = "suspended",
		[GROUP_FAILED] = "failed",	 [GROUP_BLOCKED] = "blocked",
		[GROUP_ASYNC] = "async"};

	return words[s];
}

const char *group_role_word(enum group_role r)
{
	return r == GROUP_ROLE_PRIMARY	   ? "primary"
	       : r == GROUP_ROLE_SECONDARY ? "secondary"
					   : "none";
}

const char *event_kind_word(enum event_kind k)
{
	static const char *const words[] = {
		[EVENT_ROLE] = "role",	   [EVENT_EPOCH] = "epoch", [EVENT_ISR] = "isr",
		[EVENT_PEER] = "peer",	   [EVENT_STORE] = "store", [EVENT_POLICY] = "policy",
		[EVENT_REPAIR] = "repair", [EVENT_LOSS] = "loss",   [EVENT_SNAPSHOT] = "snapshot"};

	return words[k];
}

void conductor_event(struct conductor *c, enum event_kind kind, const struct group *g,
		     const char *from, const char *to, uint64_t bytes, double seconds,
		     const char *fmt, ...)
{
	struct event *e = &c->events[++c->event_seq % EVENTS_KEPT]; /* E1 */
	va_list ap;

	memset(e, 0, sizeof(*e));
	e->seq = c->event_seq;
	e->time = clock_wall(c->env->clock);
	e->kind = kind;
	snprintf(e->group, sizeof(e->group), "%s", g != NULL ? g->name : "");
	snprintf(e->site, sizeof(e->site), "%s", conductor_site_name(c, c->o.site));
	snprintf(e->from, sizeof(e->from), "%s", from);
	snprintf(e->to, sizeof(e->to), "%s", to);
	e->bytes = bytes;
	e->seconds = seconds;
	va_start(ap, fmt);
	vsnprintf(e->reason, sizeof(e->reason), fmt, ap);
	va_end(ap);
	log_info(c->env->log, "volume", "%s%s%s %s -> %s: %s", event_kind_word(kind),
		 g != NULL ? " of group " : "", e->group, from, to, e->reason);
	if (c->event_watcher != NULL)
		op_wake(c->event_watcher);
}

bool conductor_event_after(const struct conductor *c, uint64_t since, struct event *ret)
{
	uint64_t oldest = c->event_seq >= EVENTS_KEPT ? c->event_seq - EVENTS_KEPT + 1 : 1;
	uint64_t next = since + 1 > oldest ? since + 1 : oldest;

	if (next > c->event_seq)
		return false;
	*ret = c->events[next % EVENTS_KEPT];
	return true;
}

void conductor_watch_events(struct conductor *c, struct op *op)
{
	c->event_watcher = op;
}

static enum group_role group_role_of(const struct group *g)
{
	if (g->open_epoch != 0)
		return GROUP_ROLE_PRIMARY;
	return g->view_seen && vg_site_index(&g->view, g->c->o.site) >= 0 ? GROUP_ROLE_SECONDARY
									  : GROUP_ROLE_NONE;
}

/* QUORUM 4.1 states as the words of the command line. */
static enum group_state group_state_of(struct group *g)
{
	bool sync_peer = vg_sync_count(&g->view) > 1;
	struct repl_source *source = group_source(g, group_pair_peer(g));
	struct repl_source_status ss;

	if (g->c->store_failed || g->forked || g->branch_rc != 0)
		return GROUP_FAILED;
	if (!g->view_seen || g->eff.role == RULES_IDLE)
		return GROUP_STARTING;
	if (g->eff.blocked)
		return GROUP_BLOCKED;
	if (g->open_epoch == 0 && (g->eff.role == RULES_CLAIMANT || g->eff.role == RULES_OPENING))
		return g->c->peer_count == 0 ? GROUP_STARTING : GROUP_SUSPENDED;
	if (g->open_epoch == 0 && vg_isr_count(&g->view) < 2 && sync_peer)
		return g->follower != NULL && g->follower_state == REPL_STAGING ? GROUP_RESYNCING
										: GROUP_DEGRADED;
	if (!list_empty(&g->held) || (vg_in_isr(&g->view, g->c->o.site) &&
				      vg_is_replaced(&g->view, g->c->o.site, &g->c->store_uuid)))
		return GROUP_SUSPENDED;
	if (!sync_peer)
		return g->view.site_count > 1 ? GROUP_ASYNC : GROUP_SINGLE;
	if (g->suspended_since.v != 0 ||
	    (g->open_epoch != 0 && (!g->eff.may_read || !g->eff.admit)))
		return GROUP_SUSPENDED;
	if (vg_isr_count(&g->view) > 1)
		return GROUP_IN_SYNC;
	if (source == NULL)
		return GROUP_DEGRADED;
	repl_source_status(source, &ss);
	return ss.state == REPL_STAGING || ss.state == REPL_CATCHING_UP ||
			       ss.state == REPL_STREAMING
		       ? GROUP_RESYNCING
		       : GROUP_DEGRADED;
}

void group_note_changes(struct group *g)
{
	struct conductor *c = g->c;
	enum group_role role = group_role_of(g);
	enum group_state state = group_state_of(g);

	if (g->view.epoch != g->epoch_was) {
		char from[32], to[32];

		snprintf(from, sizeof(from), "%llu", (unsigned long long)g->epoch_was);
		snprintf(to, sizeof(to), "%llu", (unsigned long long)g->view.epoch);
		conductor_event(c, EVENT_EPOCH, g, from, to, 0, 0, "granted to site %s",
				conductor_site_name(c, g->view.primary));
		g->epoch_was = g->view.epoch;
	}
	if (g->view.isr != g->isr_was) {
		char from[32], to[32];

		snprintf(from, sizeof(from), "%d", __builtin_popcount(g->isr_was));
		snprintf(to, sizeof(to), "%d", __builtin_popcount(g->view.isr));
		conductor_event(c, EVENT_ISR, g, from, to, 0, 0, "in-sync set has %s sites", to);
		g->isr_was = g->view.isr;
	}
	if (role != g->role_was || state != g->state_was) {
		char from[64], to[64];

		snprintf(from, sizeof(from), "%s/%s", group_role_word(g->role_was),
			 group_state_word(g->state_was));
		snprintf(to, sizeof(to), "%s/%s", group_role_word(role), group_state_word(state));
		if (role == GROUP_ROLE_PRIMARY && g->role_was != GROUP_ROLE_PRIMARY)
			counter_add(c->env->counters, CTR_FAILOVERS, 1);
		conductor_event(c, EVENT_ROLE, g, from, to, 0, 0, "epoch %llu",
				(unsigned long long)g->view.epoch);
		g->role_was = role;
		g->state_was = state;
	}
}

static const char *rung_word(enum repl_rung rung)
{
	switch (rung) {
	case REPL_RUNG_NONE:
		return "";
	case REPL_RUNG_JOURNAL:
		return "journal";
	case REPL_RUNG_COMPARE:
		return "compare";
	case REPL_RUNG_FULL:
		return "full";
	}
	UNREACHABLE("rung of the ladder");
}

static void group_peer_status(struct group *g, const struct vg_site *site,
			      const struct replica_status *st, struct group_peer_status *p)
{
	struct conductor_peer *cp = conductor_peer(g->c, site->id);
	struct repl_source *source = group_source(g, site->id);
	struct repl_source_status ss;
	struct lsn durable = {0};

	memset(p, 0, sizeof(*p));
	p->site = site->id;
	p->is_async = site->mode != VG_SITE_SYNC;
	p->state = cp != NULL && cp->up ? "connecting" : "down";
	p->resync_rung = "";
	p->hold_down_ms = g->eff.hold_down_ms;
	if (g->open_epoch == 0) {
		if (g->view.primary == site->id && g->follower != NULL)
			p->state = g->follower_state == REPL_STREAMING ? "streaming"
				   : g->follower_state == REPL_STAGING ? "resyncing"
								       : "catching-up";
		else if (g->view.primary != site->id && cp != NULL && cp->up &&
			 vg_in_isr(&g->view, site->id))
			p->state = "streaming"; /* from the primary, as the view says */
		p->durable_known = g->view.primary == site->id;
		p->durable = g->heard_commit;
		return;
	}
	if (group_mark(g, site->id, &durable)) {
		p->lag_bytes = st->tail.v > durable.v ? st->tail.v - durable.v : 0;
		p->lag_seconds =
			(double)lag_age_ns(&g->lag, durable, clock_now(g->c->env->clock)) / 1e9;
		p->newest = lag_time(&g->lag, durable);
	}
	if ((g->paused >> site->id & 1u) != 0)
		p->state = "paused";
	if (source == NULL)
		return;
	repl_source_status(source, &ss);
	p->state = ss.state == REPL_STAGING			  ? "resyncing"
		   : ss.state == REPL_CATCHING_UP		  ? "catching-up"
		   : ss.state != REPL_STREAMING			  ? "connecting"
		   : p->is_async || vg_in_isr(&g->view, site->id) ? "streaming"
								  : "joining";
	p->durable_known = ss.state == REPL_STREAMING || ss.state == REPL_CATCHING_UP;
	p->durable = ss.durable;
	p->resync_bytes_left = ss.base_bytes_left;
	p->resync_eta_seconds = (double)ss.base_left_ns / 1e9;
	p->resync_rung =
		ss.state == REPL_STAGING || ss.state == REPL_CATCHING_UP ? rung_word(ss.rung) : "";
}

/* The site that a state other than healthy is about. */
static uint32_t group_peer_away(const struct group *g)
{
	for (uint32_t i = 0; i < g->view.site_count; i++)
		if (g->view.site[i].mode == VG_SITE_SYNC && (g->view.isr >> i & 1u) == 0 &&
		    g->view.site[i].id != g->c->o.site)
			return g->view.site[i].id;
	return group_pair_peer(g);
}

/* How it catches up, and why not by less. */
static void group_resync_reason(struct group *g, const char *peer, struct group_status *s)
{
	struct repl_source *source = group_source(g, group_peer_away(g));
	struct repl_source_status ss = {.why = ""};
	const char *how = "";

	if (source != NULL)
		repl_source_status(source, &ss);
	if (ss.state == REPL_STAGING && ss.rung == REPL_RUNG_COMPARE)
		how = ", by what differs from its own copy";
	else if (ss.state == REPL_STAGING && ss.rung == REPL_RUNG_FULL)
		how = ", by a full copy";
	else if (ss.rung == REPL_RUNG_JOURNAL)
		how = " from the journal";
	snprintf(s->reason, sizeof(s->reason), "%s is catching up%s%s%s", peer, how,
		 ss.state == REPL_STAGING && ss.why[0] != '\0' ? ": " : "",
		 ss.state == REPL_STAGING ? ss.why : "");
}

static void group_reason(struct group *g, struct group_status *s)
{
	struct conductor *c = g->c;
	const char *peer = conductor_site_name(c, group_peer_away(g));

	switch (s->state) {
	case GROUP_STARTING:
		snprintf(
			s->reason, sizeof(s->reason), "%s",
			s->orphan
				? "the authority does not know this group: it is kept and not served"
			: g->view_seen
				? "this site is no part of the group, or knows an old state of it: its copy is kept and not served"
				: "the authority has not told the group's state yet");
		break;
	case GROUP_DEGRADED:
		snprintf(s->reason, sizeof(s->reason), "%s is not in the in-sync set", peer);
		break;
	case GROUP_RESYNCING:
		group_resync_reason(g, peer, s);
		break;
	case GROUP_SUSPENDED:
		if (!list_empty(&g->held))
			break; /* told below */
		if (vg_is_replaced(&g->view, c->o.site, &c->store_uuid)) {
			snprintf(
				s->reason, sizeof(s->reason),
				"this site's disk was replaced: it waits for %s to serve and is filled from there",
				peer);
			break;
		}
		snprintf(
			s->reason, sizeof(s->reason),
			"waiting for the quorum or for %s: nothing is acknowledged and nothing is lost",
			peer);
		break;
	case GROUP_BLOCKED:
		snprintf(s->reason, sizeof(s->reason),
			 "the only in-sync site, %s, is away: this site may lack its last writes",
			 conductor_site_name(c, g->view.primary));
		break;
	case GROUP_FAILED:
		snprintf(
			s->reason, sizeof(s->reason), "%s",
			g->branch_rc != 0
				? "what only this site has, since a takeover was forced, cannot be kept as a branch (see events): nothing is cut; make room or repair the store"
			: g->forked
				? "histories differ below what was committed: an operator must decide"
				: "the store has failed: see the log, repair it and restart the daemon");
		break;
	case GROUP_SINGLE:
	case GROUP_IN_SYNC:
	case GROUP_ASYNC:
		break;
	}
	if (c->room.full && s->reason[0] == '\0')
		snprintf(s->reason, sizeof(s->reason),
			 "the store of %s is full: writes %s until something is trimmed or "
			 "deleted, or the store grows",
			 conductor_site_name(c, c->o.site),
			 s->on_full_stop ? "wait" : "are answered 'no space'");
}

static void group_guarantee(struct group *g, struct group_status *s)
{
	struct conductor *c = g->c;
	char where[2 * SITE_NAME_BYTES_MAX + 16] = "";

	for (uint32_t i = 0; i < g->view.site_count; i++) {
		uint32_t id = g->view.site[i].id;

		if ((s->ack_mask >> id & 1u) == 0)
			continue;
		snprintf(where + strlen(where), sizeof(where) - strlen(where), "%s%s",
			 where[0] != '\0' ? " and " : "", conductor_site_name(c, id));
	}
	if (where[0] == '\0')
		snprintf(s->guarantee, sizeof(s->guarantee), "nothing is acknowledged here");
	else
		snprintf(s->guarantee, sizeof(s->guarantee),
			 "an acknowledged write is on stable storage at %s", where);
}

static void group_fill(struct group *g, struct group_status *s)
{
	struct conductor *c = g->c;
	struct replica *r = replica_find(c->store, &g->uuid);
	struct replica_status st = {0};
	struct replica_history_status history = {0};
	uint64_t now = clock_now(c->env->clock).v;

	memset(s, 0, sizeof(*s));
	memcpy(s->name, g->name, sizeof(s->name));
	s->uuid = g->uuid;
	s->role = group_role_of(g);
	s->state = group_state_of(g);
	s->primary = g->view.primary;
	s->epoch = g->view.epoch;
	s->cfg = g->view.cfg;
	s->content_generation =
		r != NULL ? group_content_generation(g, r) : g->view.content_generation;
	s->snapshot_count = r != NULL ? replica_snapshots(r, NULL, 0) : 0;
	s->orphan = !g->view_seen && authority_status(c->authority)->ready &&
		    !authority_status(c->authority)->told;
	s->on_peer_loss_stop = g->view.config.on_peer_loss == VG_PEER_LOSS_STOP;
	s->on_full_stop = g->view.config.on_full == VG_FULL_STOP;
	s->min_isr = g->view.config.min_isr;
	s->history_s = g->view.config.history_s;
	s->history_bytes = g->view.config.history_bytes;
	if (r != NULL)
		replica_status(r, &st);
	if (r != NULL)
		replica_history_status(r, &history);
	s->history_kept = history.bytes;
	s->history_short = history.is_short;
	s->history_reachable = history.reachable;
	s->history_lsn = history.earliest;
	s->history_time = history.earliest_time;
	s->newest_time = lag_time(&g->lag, st.commit);
	s->head = st.tail;
	s->commit = st.commit;
	s->fold = st.fold;
	for (uint32_t i = 0; i < g->view.site_count; i++) {
		const struct vg_site *site = &g->view.site[i];

		if ((g->view.isr >> i & 1u) != 0)
			s->isr_mask |= 1u << site->id;
		if (site->id != c->o.site && s->peer_count < SITES_MAX)
			group_peer_status(g, site, &st, &s->peers[s->peer_count++]);
	}
	s->ack_mask = g->open_epoch != 0 ? g->eff.ack_mask : s->isr_mask;
	if (s->role == GROUP_ROLE_SECONDARY && g->heard.v != 0)
		s->state_age_ms = (now - g->heard.v) / MS_NS;
	s->volume_count = g->volume_count;
	group_reason(g, s);
	group_guarantee(g, s);
}

struct replica *conductor_replica(struct conductor *c, const char *group)
{
	struct group *g = conductor_group_named(c, group, (uint32_t)strlen(group));

	return g != NULL ? replica_find(c->store, &g->uuid) : NULL;
}

bool conductor_group_status(struct conductor *c, uint32_t index, struct group_status *ret)
{
	LIST_FOR_EACH(n, &c->groups) {
		if (index-- == 0) {
			group_fill(container_of(n, struct group, link), ret);
			return true;
		}
	}
	return false;
}

bool conductor_volume_times(const struct conductor *c, uint32_t index, struct volume_times *ret)
{
	LIST_FOR_EACH(n, &c->groups) {
		const struct group *g = container_of(n, struct group, link);

		LIST_FOR_EACH(m, &g->volumes) {
			const struct volume *v = container_of(m, struct volume, link);

			if (v->gone || index-- != 0)
				continue;
			ret->group = g->name;
			ret->volume = v->name;
			for (uint32_t op = 0; op < IO_OP_COUNT; op++)
				for (uint32_t s = 0; s < IO_STAGE_COUNT; s++)
					ret->hist[op][s] = &v->hist[op][s];
			return true;
		}
	}
	return false;
}

static uint32_t volume_clients(const struct group *g, uint32_t slot)
{
	uint32_t n = 0;

	LIST_FOR_EACH(l, &g->volumes) {
		struct volume *v = container_of(l, struct volume, link);

		if (v->slot == slot)
			LIST_FOR_EACH(m, &v->clients)
				n++;
	}
	return n;
}

bool conductor_volume_status(struct conductor *c, const char *group, uint32_t index,
			     struct volume_status *ret)
{
	struct group *g = conductor_group_named(c, group, (uint32_t)strlen(group));
	struct replica *r = g != NULL ? replica_find(c->store, &g->uuid) : NULL;
	struct replica_volume *list;
	uint32_t n;
	bool found = false;

	if (r == NULL)
		return false;
	list = calloc(VOLUMES_MAX, sizeof(*list));
	if (list == NULL)
		return false;
	n = replica_volumes(r, list, VOLUMES_MAX);
	for (uint32_t i = 0; i < n && !found; i++) {
		if (list[i].deleted || index-- != 0)
			continue;
		memset(ret, 0, sizeof(*ret));
		memcpy(ret->name, list[i].name, sizeof(ret->name));
		ret->uuid = list[i].uuid;
		ret->bytes = list[i].bytes;
		ret->used_bytes = list[i].used_bytes;
		ret->block_bytes = list[i].block_bytes;
		ret->clients = volume_clients(g, list[i].slot);
		found = true;
	}
	free(list);
	return found;
}
