/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/status.c
 * Purpose.     The site, its store, its quorum, its groups as messages of the admin protocol.
 * Invariants.  U1  A part holds whole groups; parts follow each other in name order, so a group that
 *                  comes or goes meanwhile is told once or not at all.
 * Failure.     NULL when the arena is full.
 * Limits.      STATUS_GROUPS_PER_PART groups in a part.
 */
#include "engine/admin/status.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/quorum/authority.h"
#include "engine/store/store.h"

static char *uuid_text(struct arena *a, const struct uuid *u)
{
	char text[UUID_TEXT_BYTES];

	uuid_format(u, text);
	return arena_text(a, text);
}

/* Site ids of a mask as names, in order of id. */
static bool sites_text(struct arena *a, const struct conductor *c, uint32_t mask, size_t *ret_n,
		       char ***ret)
{
	char **names = arena_take(a, 32 * sizeof(*names));
	size_t n = 0;

	if (names == NULL)
		return false;
	for (uint32_t id = 0; id < 32; id++) {
		if ((mask >> id & 1u) == 0)
			continue;
		names[n] = arena_text(a, conductor_site_name(c, id));
		if (names[n++] == NULL)
			return false;
	}
	*ret_n = n;
	*ret = names;
	return true;
}

static Adm__Store *status_store(struct arena *a, const struct admin_server *s)
{
	Adm__Store *m = arena_take(a, sizeof(*m));
	struct store_status st;

	if (m == NULL)
		return NULL;
	adm__store__init(m);
	store_status(s->o.store, &st);
	m->path = arena_text(a, s->o.store_path);
	m->state = arena_text(a, st.failed ? "failed" : "ok");
	m->room = arena_text(a, conductor_room_word(s->o.conductor));
	m->free = st.free_bytes;
	m->uuid = uuid_text(a, &st.uuid);
	m->size = st.bytes;
	m->used = st.used_bytes;
	m->journal_size = st.journal_bytes;
	m->journal_used = st.journal_used_bytes;
	m->incarnation = st.incarnation;
	return m->path != NULL && m->state != NULL && m->uuid != NULL && m->room != NULL ? m : NULL;
}

static const char *quorum_state_word(const struct authority_status *q)
{
	if (q->rc < 0)
		return "failed";
	if (q->alone)
		return q->ready ? "alone" : "starting";
	if (q->told)
		return "none";
	if (q->forming)
		return "forming";
	if (!q->ready)
		return "starting";
	return q->has_quorum ? "ok" : "lost";
}

static bool quorum_members(struct arena *a, const struct authority_status *q, Adm__Quorum *m)
{
	m->members = arena_take(a, (q->member_count + 1) * sizeof(Adm__Member *));
	if (m->members == NULL)
		return false;
	for (uint32_t i = 0; i < q->member_count; i++) {
		Adm__Member *x = arena_take(a, sizeof(*x));

		if (x == NULL)
			return false;
		adm__member__init(x);
		x->name = arena_text(a, q->member[i].name);
		x->id = q->member[i].id;
		x->reachable = q->member[i].reachable || q->member[i].id == q->self;
		if (x->name == NULL)
			return false;
		if (x->id == q->leader)
			m->leader = x->name;
		m->members[m->n_members++] = x;
	}
	return true;
}

Adm__Quorum *status_quorum(struct arena *a, const struct admin_server *s)
{
	const struct authority_status *q = authority_status(s->o.authority);
	Adm__Quorum *m = arena_take(a, sizeof(*m));

	if (m == NULL)
		return NULL;
	adm__quorum__init(m);
	m->state = arena_text(a, quorum_state_word(q));
	m->term = q->term;
	m->applied = q->applied;
	m->generation = q->generation;
	m->self = arena_text(a, s->o.site);
	m->cluster = uuid_text(a, &q->cluster);
	m->error = arena_text(a, q->rc < 0 ? err_text(q->rc) : "");
	if (m->state == NULL || m->self == NULL || m->cluster == NULL || m->error == NULL)
		return NULL;
	return quorum_members(a, q, m) ? m : NULL;
}

static Adm__Peer *status_peer(struct arena *a, const struct admin_server *s,
			      const struct group_peer_status *p)
{
	Adm__Peer *m = arena_take(a, sizeof(*m));

	if (m == NULL)
		return NULL;
	adm__peer__init(m);
	m->site = arena_text(a, conductor_site_name(s->o.conductor, p->site));
	m->mode = arena_text(a, p->is_async ? "async" : "sync");
	m->state = arena_text(a, p->state);
	m->durable_known = p->durable_known;
	m->durable_lsn = p->durable.v;
	m->lag_bytes = p->lag_bytes;
	m->lag_seconds = p->lag_seconds;
	m->resync_bytes_left = p->resync_bytes_left;
	m->resync_eta_seconds = p->resync_eta_seconds;
	m->resync_rung = arena_text(a, p->resync_rung);
	m->hold_down_ms = p->hold_down_ms;
	m->newest_time_ns = p->newest.v;
	return m->site != NULL && m->mode != NULL && m->state != NULL && m->resync_rung != NULL
		       ? m
		       : NULL;
}

static bool status_peers(struct arena *a, const struct admin_server *s,
			 const struct group_status *g, Adm__Group *m)
{
	m->peers = arena_take(a, SITES_MAX * sizeof(Adm__Peer *));
	if (m->peers == NULL)
		return false;
	for (uint32_t i = 0; i < g->peer_count; i++) {
		m->peers[i] = status_peer(a, s, &g->peers[i]);
		if (m->peers[i] == NULL)
			return false;
		m->n_peers++;
	}
	return true;
}

static bool status_volumes(struct arena *a, const struct admin_server *s, Adm__Group *m)
{
	struct volume_status v;

	m->volumes = arena_take(a, VOLUMES_MAX * sizeof(Adm__Volume *));
	if (m->volumes == NULL)
		return false;
	for (uint32_t i = 0;
	     i < VOLUMES_MAX && conductor_volume_status(s->o.conductor, m->name, i, &v); i++) {
		Adm__Volume *x = arena_take(a, sizeof(*x));

		if (x == NULL)
			return false;
		adm__volume__init(x);
		x->name = arena_text(a, v.name);
		x->uuid = uuid_text(a, &v.uuid);
		x->size = v.bytes;
		x->used = v.used_bytes;
		x->block_size = v.block_bytes;
		x->clients = v.clients;
		if (x->name == NULL || x->uuid == NULL)
			return false;
		m->volumes[m->n_volumes++] = x;
	}
	return true;
}

/* The newest recovery point this site can vouch for: its own. */
static bool status_recoverable(struct arena *a, const struct admin_server *s,
			       const struct group_status *g, Adm__Group *m)
{
	Adm__Recoverable *r = arena_take(a, sizeof(*r));

	if (r == NULL)
		return false;
	adm__recoverable__init(r);
	r->site = arena_text(a, s->o.site);
	r->lsn = g->head.v;
	r->time_ns = g->newest_time.v;
	m->newest_recoverable = r;
	return r->site != NULL;
}

static bool group_texts(struct arena *a, const struct admin_server *s, const struct group_status *g,
			Adm__Group *m)
{
	const struct conductor *c = s->o.conductor;

	m->name = arena_text(a, g->name);
	m->uuid = uuid_text(a, &g->uuid);
	m->role = arena_text(a, group_role_word(g->role));
	m->state = arena_text(a, group_state_word(g->state));
	m->guarantee = arena_text(a, g->guarantee);
	m->reason = arena_text(a, g->reason);
	m->primary = arena_text(a, g->primary != 0 ? conductor_site_name(c, g->primary) : "");
	return m->name != NULL && m->uuid != NULL && m->role != NULL && m->state != NULL &&
	       m->guarantee != NULL && m->reason != NULL && m->primary != NULL &&
	       sites_text(a, c, g->isr_mask, &m->n_in_sync, &m->in_sync) &&
	       sites_text(a, c, g->ack_mask, &m->n_ack_set, &m->ack_set);
}

static Adm__Group *status_group(struct arena *a, const struct admin_server *s,
				const struct group_status *g)
{
	Adm__Group *m = arena_take(a, sizeof(*m));

	if (m == NULL)
		return NULL;
	adm__group__init(m);
	m->epoch = g->epoch;
	m->cfg = g->cfg;
	m->head_lsn = g->head.v;
	m->commit_lsn = g->commit.v;
	m->fold_lsn = g->fold.v;
	m->stable_lsn = g->commit.v;
	m->content_generation = g->content_generation;
	m->is_stale = g->role != GROUP_ROLE_PRIMARY;
	m->age_seconds = (double)g->state_age_ms / 1e3;
	m->on_peer_loss_stop = g->on_peer_loss_stop;
	m->on_full_stop = g->on_full_stop;
	m->history_seconds = g->history_s;
	m->history_bytes = g->history_bytes;
	m->history_kept = g->history_kept;
	m->history_short = g->history_short;
	m->history_reachable = g->history_reachable;
	m->history_lsn = g->history_lsn.v;
	m->history_time_ns = g->history_time.v;
	m->min_isr = g->min_isr;
	m->orphan = g->orphan;
	m->snapshots = g->snapshot_count;
	if (!group_texts(a, s, g, m) || !status_peers(a, s, g, m) || !status_volumes(a, s, m) ||
	    !status_recoverable(a, s, g, m))
		return NULL;
	return m;
}

bool status_find(const struct admin_server *s, const char *group, struct group_status *ret)
{
	for (uint32_t i = 0; conductor_group_status(s->o.conductor, i, ret); i++)
		if (strcmp(ret->name, group) == 0)
			return true;
	return false;
}

static bool status_head(struct arena *a, const struct admin_server *s, Adm__StatusReply *m)
{
	m->first = true;
	m->site = arena_text(a, s->o.site);
	m->version = arena_text(a, s->o.version);
	m->store = status_store(a, s);
	m->quorum = status_quorum(a, s);
	return m->site != NULL && m->version != NULL && m->store != NULL && m->quorum != NULL;
}

Adm__StatusReply *status_part(struct arena *a, const struct admin_server *s, const char *only,
			      const char *last, char ret_last[NAME_BYTES_MAX + 1])
{
	Adm__StatusReply *m = arena_take(a, sizeof(*m));
	struct group_status g;

	if (m == NULL)
		return NULL;
	adm__status_reply__init(m);
	m->groups = arena_take(a, STATUS_GROUPS_PER_PART * sizeof(Adm__Group *));
	if (m->groups == NULL || (last[0] == '\0' && !status_head(a, s, m)))
		return NULL;
	m->last = true;
	for (uint32_t i = 0; conductor_group_status(s->o.conductor, i, &g); i++) {
		if (strcmp(g.name, last) <= 0 ||
		    (only[0] != '\0' && strcmp(g.name, only) != 0)) /* U1 */
			continue;
		if (m->n_groups == STATUS_GROUPS_PER_PART) {
			m->last = false;
			break;
		}
		m->groups[m->n_groups] = status_group(a, s, &g);
		if (m->groups[m->n_groups++] == NULL)
			return NULL;
		memcpy(ret_last, g.name, sizeof(g.name));
	}
	assert(m->last || m->n_groups != 0);
	return m;
}
