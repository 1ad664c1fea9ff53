/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/branch.c
 * Purpose.     Branches at this site: what a forced takeover left here alone is told, kept for a while, deleted
 *              by hand or when its time is over (QUORUM J6; DESIGN.md P5).
 * Invariants.  BK1 A branch is this site's matter: no record, no other site, no quorum is asked to delete it.
 *              BK2 Only what was made as a branch goes by itself, counted from when it was made; snapshots that
 *                  people took in the fork stay until they are deleted.  One that is read or has clones stays.
 *              BK3 While a branch cannot be made the group does not follow and nothing is cut; it is tried again.
 * Failure.     A delete whose checkpoint fails has failed the store.
 * Limits.      One expiry at a time, looked for every EXPIRE_MS.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/snapshot.h"
#include "engine/volume/request.h"

#define W_EXPIRED 64u
#define EXPIRE_MS 60000u
#define RETRY_MS 10000u
#define HOUR_NS (3600 * SEC_NS)
#define PREFIX "branch-"

void branch_follower(struct group *g, const struct repl_follower_status *fs)
{
	const struct repl_branch_report *b = &fs->branch;
	double seconds = (double)(b->last.v - b->first.v) / 1e9;

	if (b->made && !g->branch_told) {
		char ranges[48] = "writes"; /* the journal that would tell is gone: all is folded */

		if (b->ranges != 0)
			snprintf(ranges, sizeof(ranges), "%s%u ranges", b->whole ? "" : "at least ",
				 b->ranges);
		g->branch_told = true;
		conductor_event(
			g->c, EVENT_LOSS, g, "primary", b->name, b->bytes, seconds,
			"a takeover was forced: %s that only this site has are kept as %.64s@%.64s",
			ranges, g->name, b->name);
	}
	if (fs->state == REPL_CATCHING_UP || fs->state == REPL_STAGING ||
	    fs->state == REPL_STREAMING)
		g->branch_rc = 0;
	if (fs->state != REPL_FAILED || !fs->branch_failed)
		return;
	if (g->branch_rc != fs->rc) /* BK3 */
		conductor_event(g->c, EVENT_LOSS, g, "primary", "failed", b->bytes, 0,
				"what only this site has cannot be kept as a branch: %s; nothing "
				"is cut and nothing followed",
				err_text(fs->rc));
	g->branch_rc = fs->rc;
}

uint64_t branch_retry_ms(const struct group *g, uint64_t otherwise_ms)
{
	return g->branch_rc != 0 ? RETRY_MS : otherwise_ms;
}

bool branch_name_is_reserved(const char *name)
{
	return strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0;
}

static uint64_t keep_ns(const struct group *g)
{
	uint32_t hours = g->view.config.branch_keep_h;

	if (hours == VG_BRANCH_KEEP_EVER)
		return UINT64_MAX;
	return (hours != 0 ? hours : VG_BRANCH_KEEP_DEFAULT_H) * HOUR_NS;
}

static bool is_over(const struct group *g, const struct snapshot_info *i)
{
	uint64_t now = clock_wall(g->c->env->clock).v;

	return (i->flags & RECORD_SNAP_BRANCH) != 0 && branch_name_is_reserved(i->name) && /* BK2 */
	       i->readers == 0 && i->clones == 0 && now > i->time.v && now - i->time.v > keep_ns(g);
}

static bool expire_one(struct conductor *c, struct group *g)
{
	struct replica *r = replica_find(c->store, &g->uuid);
	struct snapshot_info info;

	for (uint32_t i = 0; r != NULL && g->view_seen && replica_snapshot_at(r, i, &info); i++) {
		if (!is_over(g, &info))
			continue;
		completion_arm(&c->branch_gone, &c->op, W_EXPIRED);
		if (replica_branch_delete(r, &info.uuid, &c->branch_gone) == 0) {
			conductor_event(c, EVENT_SNAPSHOT, g, info.name, "deleted", 0, 0,
					"branch %.64s@%.64s was kept for its time", g->name,
					info.name);
			return true;
		}
		c->op.waits &= ~W_EXPIRED; /* without effect: disarm by hand */
		c->branch_gone.op = NULL;
	}
	return false;
}

void branches_progress(struct conductor *c)
{
	uint64_t now = clock_now(c->env->clock).v;

	if (completion_armed(&c->branch_gone) || now < c->branch_next.v || c->store_failed ||
	    c->stopping)
		return;
	LIST_FOR_EACH(n, &c->groups) {
		if (expire_one(c, container_of(n, struct group, link)))
			return; /* the next one when it is gone */
	}
	c->branch_next.v = now + EXPIRE_MS * MS_NS;
}

/* --- by hand --- */

static int delete_refused(struct conductor_request *r, const struct snapshot_info *i)
{
	if (i->clones != 0 || i->readers != 0)
		return request_fail(r, -ERR_IN_USE, "branch %s@%s %s", r->snapshot.group, i->name,
				    i->clones != 0
					    ? "is the base of a clone here: delete that first"
					    : "is being read here");
	return 0;
}

int branch_delete(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);
	struct replica *replica =
		g != NULL && !g->dropped ? replica_find(r->c->store, &g->uuid) : NULL;
	struct snapshot_info info;
	int rc;

	if (s->phase == REQ_ASKED) { /* its checkpoint has ended */
		if (s->opened.rc == 0)
			conductor_event(r->c, EVENT_SNAPSHOT, g, r->snapshot.name, "deleted", 0, 0,
					"branch %.64s@%.64s is deleted", r->snapshot.group,
					r->snapshot.name);
		return s->opened.rc;
	}
	if (replica == NULL || replica_snapshot_by_name(replica, r->snapshot.name, &info) < 0 ||
	    (info.flags & RECORD_SNAP_BRANCH) == 0)
		return -ERR_NOT_FOUND;
	rc = delete_refused(r, &info);
	if (rc < 0)
		return rc;
	completion_arm(&s->opened, &r->op, 1);
	rc = replica_branch_delete(replica, &info.uuid, &s->opened);
	if (rc == 0) {
		s->phase = REQ_ASKED;
		return -ERR_AGAIN; /* wait: the checkpoint */
	}
	r->op.waits = 0;
	s->opened.op = NULL;
	return request_fail(r, rc, "branch %s@%s: %s", r->snapshot.group, info.name, err_text(rc));
}
