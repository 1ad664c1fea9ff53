/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/views.c
 * Purpose.     A site that is no member of the quorum learns who is primary of its groups from the sites
 *              that are: it asks every peer, says what it knows, and is told what is newer.
 * Invariants.  V1 Only a site that asked in the present pair session is told.
 *              V2 A group is given up only when it is told deleted, never because nobody names it.
 *              D1 What is told is taken only when it is newer (authority_told.c); the floor decides
 *                 whether it is acted on (J10).
 * Failure.     A message that finds no room is lost: the next question, ASK_NS later, makes up for it.
 * Limits.      LINK_GROUPS_MAX groups in a question; more groups: more questions.
 */
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/quorum/fsm.h"
#include "engine/volume/group.h"

#define ASK_NS SEC_NS

_Static_assert(FSM_VIEW_BYTES_MAX <= LINK_VIEW_BYTES_MAX, "a view fits a message");

static bool views_is_told(const struct conductor *c)
{
	return authority_status(c->authority)->told;
}

/* --- the site that asks --- */

static void views_ask_peer(struct conductor *c, uint32_t site)
{
	struct link_msg *m = &c->msg;

	memset(m, 0, sizeof(*m));
	m->kind = LINK_VIEW_ASK;
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);
		const struct vg_view *v = authority_view(c->authority, &g->uuid);

		m->groups[m->group_count++] = (struct link_group){
			.group = g->uuid,
			.epoch = v != NULL ? v->epoch : 0,
			.cfg = v != NULL ? v->cfg : 0,
		};
		if (m->group_count < LINK_GROUPS_MAX)
			continue;
		(void)!repl_link_send(c->repl, site, m);
		m->group_count = 0;
	}
	(void)!repl_link_send(c->repl, site, m); /* an empty one, too: V1 */
}

void views_ask(struct conductor *c)
{
	uint64_t now = clock_now(c->env->clock).v;

	if (!views_is_told(c) || c->repl == NULL || c->stopping)
		return;
	for (uint32_t i = 0; i < c->peer_count; i++) {
		struct conductor_peer *p = &c->peers[i];

		if (!p->up || now < p->ask_at.v)
			continue;
		p->ask_at.v = now + ASK_NS;
		views_ask_peer(c, p->site);
	}
}

void views_told(struct conductor *c, const struct link_msg *m)
{
	struct vg_view v;
	struct group *g;

	if (fsm_view_decode(m->view, m->view_bytes, &v) < 0) {
		log_warn(c->env->log, "volume",
			 "%s told the state of a group in a form that is not known here: this site "
			 "must be updated",
			 conductor_site_name(c, m->site));
		return;
	}
	if (authority_tell(c->authority, m->view, m->view_bytes) < 0)
		return; /* D1 */
	g = conductor_group(c, &v.vg);
	if (g == NULL)
		return; /* conductor_views makes it */
	if ((v.flags & VG_FLAG_DELETED) != 0)
		g->dropped = true; /* V2 */
	op_wake(&g->op);
}

/* --- a member, which tells --- */

static int views_send(struct conductor *c, uint32_t site, const struct vg_view *v)
{
	struct link_msg *m = &c->msg;

	memset(m, 0, sizeof(*m));
	m->kind = LINK_VIEW;
	m->view_bytes = (uint32_t)fsm_view_encode(v, m->view);
	return repl_link_send(c->repl, site, m);
}

void views_asked(struct conductor *c, const struct link_msg *m)
{
	struct conductor_peer *p = conductor_peer(c, m->site);

	if (views_is_told(c) || p == NULL || !authority_status(c->authority)->ready)
		return;
	p->wants_views = true; /* V1 */
	for (uint32_t i = 0; i < m->group_count; i++) {
		const struct link_group *lg = &m->groups[i];
		const struct vg_view *v = authority_view(c->authority, &lg->group);
		struct vg_view gone = {.vg = lg->group, .flags = VG_FLAG_DELETED};

		if (v != NULL && (v->cfg > lg->cfg || v->epoch > lg->epoch))
			(void)!views_send(c, m->site, v);
		else if (v == NULL && authority_was_deleted(c->authority, &lg->group))
			(void)!views_send(c, m->site, &gone);
	}
}

/* What is new since it was told last, of the groups that are here, too. */
void views_tell(struct conductor *c)
{
	if (c->repl == NULL || c->stopping || views_is_told(c))
		return;
	for (uint32_t i = 0; i < c->peer_count; i++) {
		struct conductor_peer *p = &c->peers[i];

		if (!p->up || !p->wants_views)
			continue;
		LIST_FOR_EACH(n, &c->groups) {
			struct group *g = container_of(n, struct group, link);
			const struct vg_view *v = authority_view(c->authority, &g->uuid);
			struct vg_view gone = {.vg = g->uuid, .flags = VG_FLAG_DELETED};
			bool told = g->view_told[i].session == p->session;

			if (told && v == NULL && g->dropped) {
				if (views_send(c, p->site, &gone) == 0)
					g->view_told[i].session = 0;
				continue;
			}
			if (v == NULL || (told && v->cfg <= g->view_told[i].cfg) ||
			    (!told && vg_site_index(v, p->site) < 0))
				continue;
			if (views_send(c, p->site, v) < 0)
				break; /* wait: room; the next ping */
			g->view_told[i].session = p->session;
			g->view_told[i].cfg = v->cfg;
		}
	}
}
