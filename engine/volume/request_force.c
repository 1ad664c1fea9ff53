/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/request_force.c
 * Purpose.     A failover by hand to a site that lacks acknowledged writes, or may: the statement of what is lost,
 *              the operator's acceptance, FORCE (DESIGN.md P6; QUORUM 4.2).
 * Invariants.  FO1 Nothing is proposed before the loss stated now is accepted and every member of the in-sync
 *                  set is said to be fenced: alone, a primary needs no lease and no quorum to go on.
 *              FO2 A loss is a number only when the primary itself said, when it stopped, where its history
 *                  ends, in the epoch that is still the newest, and what is here is a part of that history.
 *                  Otherwise it is unknown: silence proves nothing.
 *              FO3 A primary that is heard is not forced away: it is asked to switch over.
 *              R8  The same FORCE is proposed until cfg moves.  Each change of the view is looked at anew: whoever
 *                  has become an in-sync member takes over without any loss.
 * States.      NEW -> (refused with the statement) | ASKED [FORCE proposed] -> done when it is served here.
 * Failure.     -ERR_REFUSED with the loss and the sites to fence; a sentence for everything else.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/volume/request.h"

static bool is_alive(const struct group *g)
{
	const struct conductor *c = g->c;
	struct conductor_peer *p = conductor_peer(g->c, g->view.primary);

	return p != NULL && p->up && !p->gone && g->heard.v != 0 &&
	       clock_now(c->env->clock).v - g->heard.v < c->o.timers.drop_ms * MS_NS;
}

/* Why this site could not serve the group even if it were allowed to; 0: it could. */
static int force_possible(struct conductor_request *r, struct group *g)
{
	struct conductor *c = g->c;
	struct replica *replica = replica_find(c->store, &g->uuid);
	const char *primary = conductor_site_name(c, g->view.primary);
	struct replica_status st;

	if (replica == NULL)
		return request_fail(r, -ERR_NOT_FOUND, "%s has no copy of group %s yet", r->site,
				    g->name);
	replica_status(replica, &st);
	if (vg_is_replaced(&g->view, c->o.site, &c->store_uuid))
		return request_fail(r, -ERR_INVALID,
				    "group %s counts on another disk at %s: what is here was never "
				    "filled",
				    g->name, r->site);
	if (st.has_hole)
		return request_fail(
			r, -ERR_CORRUPT,
			"the journal of group %s at %s has a damaged record that must be "
			"repaired from %s first",
			g->name, r->site, primary);
	if (authority_status(c->authority)->told)
		return request_fail(r, -ERR_UNSUPPORTED,
				    "%s is no member of the quorum: promoting it by force is not "
				    "available in this version",
				    r->site);
	if (is_alive(g)) /* FO3 */
		return request_fail(
			r, -ERR_BUSY,
			"%s serves group %s and is heard: wait until 'twinshore status' "
			"says in-sync and switch over, or stop it first",
			primary, g->name);
	return 0;
}

/* Is what is here a part of the history that the primary wrote last?  FO2 */
static bool is_same_history(const struct group *g, const struct replica *replica)
{
	struct epoch_entry mine[EPOCHS_MAX];
	uint32_t n = replica_epochs(replica, mine, EPOCHS_MAX);

	return n > 0 && mine[n - 1].epoch.number == g->view.epoch &&
	       mine[n - 1].epoch.incarnation == g->view.primary_incarnation;
}

static void force_state(struct conductor_request *r, const struct group *g)
{
	struct conductor *c = g->c;
	const struct replica *replica = replica_find(c->store, &g->uuid);
	struct failover_loss *l = &r->loss;
	struct replica_status st;

	memset(l, 0, sizeof(*l));
	replica_status(replica, &st);
	l->stated = true;
	l->newest = st.tail;
	l->newest_time = st.newest;
	if (g->heard_epoch == g->view.epoch) {
		l->heard = g->heard_head;
		l->heard_time = g->heard_wall;
		l->least = g->heard_head.v > st.tail.v && is_same_history(g, replica)
				   ? g->heard_head.v - st.tail.v
				   : 0;
		l->bytes_known = g->heard_final && is_same_history(g, replica); /* FO2 */
	}
	l->bytes = l->bytes_known ? l->least : 0;
	l->seconds_known = l->bytes_known && (l->bytes == 0 || st.newest.v != 0);
	if (l->seconds_known && l->bytes != 0 && l->heard_time.v > st.newest.v)
		l->seconds = (double)(l->heard_time.v - st.newest.v) / 1e9;
	for (uint32_t i = 0; i < g->view.site_count; i++) {
		uint32_t id = g->view.site[i].id;

		if ((g->view.isr >> i & 1u) == 0 || id == c->o.site)
			continue;
		snprintf(l->fence[l->fence_count++], sizeof(l->fence[0]), "%s",
			 conductor_site_name(c, id));
	}
	if (!l->bytes_known || l->bytes != 0)
		snprintf(l->newer_at, sizeof(l->newer_at), "%s",
			 conductor_site_name(c, g->view.primary));
}

static bool loss_is_accepted(const struct conductor_request *r)
{
	const struct failover_loss *l = &r->loss;

	if (l->bytes_known && l->bytes == 0)
		return true;
	return r->failover.accept_unknown ||
	       (r->failover.accept && l->bytes_known && r->failover.accept_bytes >= l->bytes);
}

static bool is_fenced(const struct conductor_request *r, const char *site)
{
	for (uint32_t i = 0; i < r->failover.fenced_count; i++)
		if (strcmp(r->failover.fenced[i], site) == 0)
			return true;
	return false;
}

/* FO1.  0: go on. */
static int force_refused(struct conductor_request *r, const struct group *g)
{
	const struct failover_loss *l = &r->loss;
	char loss[96], fence[SITES_MAX * (SITE_NAME_BYTES_MAX + 12) + 1] = "";
	bool accepted = loss_is_accepted(r);
	uint32_t open = 0;

	for (uint32_t i = 0; i < l->fence_count; i++) {
		if (is_fenced(r, l->fence[i]))
			continue;
		snprintf(fence + strlen(fence), sizeof(fence) - strlen(fence), " --fenced %s",
			 l->fence[i]);
		open++;
	}
	if (accepted && open == 0)
		return 0;
	if (l->bytes_known)
		snprintf(loss, sizeof(loss), "%llu bytes of acknowledged writes",
			 (unsigned long long)l->bytes);
	else
		snprintf(loss, sizeof(loss),
			 "an unknown amount of acknowledged writes (at least %llu bytes)",
			 (unsigned long long)l->least);
	if (!accepted && l->bytes_known)
		snprintf(fence + strlen(fence), sizeof(fence) - strlen(fence),
			 " --accept-loss %llu", (unsigned long long)l->bytes);
	else if (!accepted)
		snprintf(fence + strlen(fence), sizeof(fence) - strlen(fence),
			 " --accept-loss unknown");
	return request_fail(
		r, -ERR_REFUSED,
		"group %s would lose %s, which %s may hold; if that is accepted and these "
		"sites can write no more, add:%s",
		g->name, loss, l->newer_at[0] != '\0' ? l->newer_at : "nobody but the others",
		fence);
}

/* Who, when, why; told before it is asked for. */
static void force_event(struct conductor_request *r, const struct group *g)
{
	const struct failover_loss *l = &r->loss;
	char bytes[32] = "unknown";

	if (l->bytes_known)
		snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)l->bytes);
	conductor_event(g->c, EVENT_LOSS, g, conductor_site_name(g->c, g->view.primary), r->site,
			l->bytes_known ? l->bytes : l->least, l->seconds,
			"forced by %.60s, loss accepted: %s bytes%s%.80s",
			r->failover.who[0] != '\0' ? r->failover.who : "an operator", bytes,
			r->failover.reason[0] != '\0' ? "; " : "", r->failover.reason);
}

static int force_propose(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);
	uint64_t now = clock_now(g->c->env->clock).v;
	struct vg_cmd cmd = {.kind = VG_FORCE,
			     .vg = g->uuid,
			     .cfg = g->view.cfg,
			     .from = g->c->o.site,
			     .site = g->c->o.site,
			     .incarnation = g->c->incarnation};

	if (now < s->again.v)
		return -ERR_AGAIN;
	s->again.v = now + REQUEST_AGAIN_MS * MS_NS;
	(void)!authority_propose(g->c->authority, &cmd, 1); /* R8: proposed again */
	return -ERR_AGAIN;
}

static int force_outcome(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);

	if (g->view.epoch == s->epoch)
		return force_propose(r, g);
	if (!vg_is_primary(&g->view, g->c->o.site, g->c->incarnation))
		return request_fail(r, -ERR_BUSY, "group %s went to %s meanwhile", g->name,
				    conductor_site_name(g->c, g->view.primary));
	return g->open_phase == OPEN_DONE && g->open_epoch == g->view.epoch ? 0 : -ERR_AGAIN;
}

int request_force(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);
	int rc;

	if (s->phase == REQ_ASKED)
		return force_outcome(r, g);
	rc = force_possible(r, g);
	if (rc < 0)
		return rc;
	force_state(r, g);
	rc = force_refused(r, g);
	if (rc < 0)
		return rc;
	if (!authority_has_quorum(g->c->authority)) {
		request_fail(r, -ERR_AGAIN,
			     "no quorum: nobody may change the primary of group %s now; "
			     "--without-quorum is not available in this version",
			     g->name);
		return -ERR_AGAIN; /* wait: perhaps it is choosing a leader */
	}
	force_event(r, g);
	s->phase = REQ_ASKED;
	s->epoch = g->view.epoch;
	return force_propose(r, g);
}
