/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/older.c
 * Purpose.     A store that is older than it was: somebody put an earlier copy of it back.
 * Invariants.  OL1 A site in isr whose floor at boot is below `joined` of the view was let in by an ADD, or
 *                  claimed, in a life of its store that this one does not remember: it lacks acknowledged
 *                  writes, perhaps, and serves nothing, grants nothing, follows nobody.
 *              OL2 It then counts as a new disk: a mark in the floors changes the identity that the store
 *                  is known by, and the site starts again.  From then on it is as replaced as an empty one
 *                  (rules R9): not believed, dropped, filled from its peer.
 *              OL3 A boot that streamed from the primary of the view, or served, is not judged: the
 *                  primary drops whoever lacks what it committed (J3).
 * States.      looked at in every step of every group -> OLDER -> marked, durable -> the site ends.
 * Failure.     A crash between an ADD and the floor that follows it looks the same: a full copy more.  A
 *              copy taken and put back within one membership is not recognised here; the peer's tail
 *              (J4) and J3 are what is left then.
 * Limits.      Sites alone are not judged: nobody has more than they.
 */
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/volume/group.h"

#define W_OLDER 4u /* of the conductor */

static const struct uuid mark = {{0}}; /* no group has it */

void conductor_store_identity(const struct store *s, struct uuid *ret)
{
	struct store_floor floor;
	struct store_status st;
	uint64_t word;

	store_status(s, &st);
	store_floor_get(s, &mark, &floor);
	*ret = st.uuid;
	memcpy(&word, ret->b, sizeof(word));
	word ^= floor.epoch; /* 0: never put back */
	memcpy(ret->b, &word, sizeof(word));
}

bool conductor_store_is_older(const struct conductor *c)
{
	return c->older_told;
}

void older_look(struct group *g)
{
	struct conductor *c = g->c;
	const struct vg_view *v = &g->view;
	int x = vg_site_index(v, c->o.site);
	struct store_floor floor = {.epoch = c->incarnation};

	if (vg_is_primary(v, c->o.site, c->incarnation) && g->open_phase == OPEN_DONE)
		g->proved = true;
	if (!g->view_seen || g->proved || c->older || c->peer_count == 0 ||
	    authority_status(c->authority)->alone || x < 0 || !vg_in_isr(v, c->o.site) ||
	    vg_is_replaced(v, c->o.site, &c->store_uuid) ||
	    vg_is_primary(v, c->o.site, c->incarnation) || g->boot_cfg >= v->site[x].joined)
		return; /* OL1 */
	c->older = true;
	log_error(
		c->env->log, "volume",
		"group %s: this store is older than the one that site %s had in sync: it counts as a new disk now and is filled from the peer",
		g->name, conductor_site_name(c, c->o.site));
	conductor_event(c, EVENT_STORE, g, "ok", "older", 0, 0,
			"an earlier copy of the store was put back: it counts as a new disk");
	completion_arm(&c->older_done, &c->op, W_OLDER);
	store_floor_set(c->store, &mark, &floor, &c->older_done); /* OL2 */
}

void older_progress(struct conductor *c)
{
	if (!c->older || c->older_told || completion_armed(&c->older_done) || c->older_done.rc < 0)
		return; /* a failed floor has failed the store */
	c->older_told = true;
	if (c->o.site_op != NULL)
		op_wake(c->o.site_op);
}
