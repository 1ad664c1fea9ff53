/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/request_site.c
 * Purpose.     The sites of a group: who is sync, who is async; chosen at its creation, changed online.
 * Invariants.  T1 At most two sites are sync: the pair.
 *              T2 A member of the in-sync set neither leaves nor becomes async: the state machine would
 *                 refuse it, so it is refused here with a sentence.
 *              T3 A pause is this primary's own: it ends with the command, this reign or this boot.
 * Failure.     A sentence: what, which site, what to do.
 * Limits.      SITES_MAX sites.
 */
#include <string.h>

#include "engine/base/err.h"
#include "engine/volume/request.h"

static int site_known(struct conductor_request *r, const char *name, uint32_t *ret_id)
{
	*ret_id = name[0] != '\0' ? request_site_named(r->c, name) : 0;
	if (*ret_id == 0 && name[0] != '\0')
		return request_fail(r, -ERR_NOT_FOUND,
				    "no site named %s in this site's configuration", name);
	return 0;
}

/* A distant site cannot be primary, nor wait for itself to be in sync: it has no voice in that. */
static int site_may_sync(struct conductor_request *r, uint32_t id)
{
	for (uint32_t i = 0; i < r->c->o.site_count; i++)
		if (r->c->sites[i].id == id && r->c->sites[i].is_distant)
			return request_fail(r, -ERR_INVALID,
					    "%s is listed as async in the configuration: it is no "
					    "member of the quorum and can only follow",
					    r->c->sites[i].name);
	return 0;
}

static void site_fill(struct conductor *c, struct vg_site *s, uint32_t id, enum vg_site_mode mode)
{
	struct repl_peer_status ps;

	memset(s, 0, sizeof(*s));
	s->id = id;
	s->mode = (uint8_t)mode;
	if (id == c->o.site)
		s->replica = c->store_uuid;
	else if (c->repl != NULL && repl_peer_status(c->repl, id, &ps) == 0)
		s->replica = ps.store;
}

int request_create_sites(struct conductor_request *r, struct vg_cmd *cmd)
{
	struct conductor *c = r->c;
	const struct group_create_spec *g = &r->group;
	uint32_t first = 0, second = 0, distant = 0;
	int rc = site_known(r, g->primary_site, &first);

	if (rc == 0)
		rc = site_known(r, g->sync_site, &second);
	if (rc == 0)
		rc = site_known(r, g->async_site, &distant);
	if (rc < 0)
		return rc;
	if (first == 0)
		first = c->o.site;
	if (second == first) /* --sync east --primary east, said at west */
		second = second == c->o.site ? 0 : c->o.site;
	if (second == 0 && first != c->o.site)
		return request_fail(r, -ERR_INVALID, "a group at %s alone is created there",
				    g->primary_site);
	rc = site_may_sync(r, first);
	if (rc == 0)
		rc = site_may_sync(r, second);
	if (rc < 0)
		return rc;
	if (distant != 0 && (distant == first || distant == second))
		return request_fail(r, -ERR_INVALID, "%s is %s of group %s already", g->async_site,
				    distant == first ? "the primary" : "a sync site", g->name);
	cmd->site = first;
	cmd->incarnation = first == c->o.site ? c->incarnation : 0;
	site_fill(c, &cmd->sites[cmd->site_count++], first, VG_SITE_SYNC);
	if (second != 0)
		site_fill(c, &cmd->sites[cmd->site_count++], second, VG_SITE_SYNC);
	if (distant != 0)
		site_fill(c, &cmd->sites[cmd->site_count++], distant, VG_SITE_ASYNC);
	return 0;
}

/* --- group set --- */

static int cmd_site(const struct vg_cmd *cmd, uint32_t id)
{
	for (uint32_t i = 0; i < cmd->site_count; i++)
		if (cmd->sites[i].id == id)
			return (int)i;
	return -1;
}

static int site_remove(struct conductor_request *r, const struct group *g, struct vg_cmd *cmd)
{
	uint32_t id;
	int rc = site_known(r, r->remove_site, &id), i;

	if (rc < 0 || id == 0)
		return rc;
	i = cmd_site(cmd, id);
	if (i < 0)
		return 0;	     /* done already */
	if (vg_in_isr(&g->view, id)) /* T2 */
		return request_fail(
			r, -ERR_IN_USE,
			"%s is in the in-sync set of group %s: only an async site, or one "
			"that has left the set, is removed",
			r->remove_site, g->name);
	cmd->site_count--;
	memmove(&cmd->sites[i], &cmd->sites[i + 1],
		(cmd->site_count - (uint32_t)i) * sizeof(cmd->sites[0]));
	return 0;
}

static int site_add(struct conductor_request *r, const struct group *g, struct vg_cmd *cmd,
		    const char *name, enum vg_site_mode mode)
{
	uint32_t id;
	int rc = site_known(r, name, &id), i;

	if (rc < 0 || id == 0)
		return rc;
	i = cmd_site(cmd, id);
	if (i >= 0 && cmd->sites[i].mode == mode)
		return 0; /* done already */
	rc = mode == VG_SITE_SYNC ? site_may_sync(r, id) : 0;
	if (rc < 0)
		return rc;
	if (i >= 0 && vg_in_isr(&g->view, id)) /* T2 */
		return request_fail(r, -ERR_IN_USE,
				    "%s is in the in-sync set of group %s: it cannot become async",
				    name, g->name);
	for (uint32_t k = 0; mode == VG_SITE_SYNC && k < cmd->site_count; k++)
		if (cmd->sites[k].id != g->view.primary && cmd->sites[k].mode == VG_SITE_SYNC)
			return request_fail(r, -ERR_IN_USE, "group %s has a sync site, %s, already",
					    g->name,
					    conductor_site_name(r->c, cmd->sites[k].id)); /* T1 */
	if (i < 0 && cmd->site_count == SITES_MAX)
		return request_fail(r, -ERR_FULL, "group %s has %u sites, which is the limit",
				    g->name, SITES_MAX);
	if (i < 0)
		site_fill(r->c, &cmd->sites[cmd->site_count++], id, mode);
	else
		cmd->sites[i].mode = (uint8_t)mode;
	return 0;
}

int request_set_sites(struct conductor_request *r, const struct group *g, struct vg_cmd *cmd)
{
	int rc;

	cmd->site_count = g->view.site_count;
	memcpy(cmd->sites, g->view.site, sizeof(cmd->sites));
	rc = site_remove(r, g, cmd);
	if (rc == 0)
		rc = site_add(r, g, cmd, r->group.async_site, VG_SITE_ASYNC);
	if (rc == 0)
		rc = site_add(r, g, cmd, r->group.sync_site, VG_SITE_SYNC);
	return rc;
}

bool request_same_sites(const struct vg_view *v, const struct vg_cmd *cmd)
{
	if (v->site_count != cmd->site_count)
		return false;
	for (uint32_t i = 0; i < cmd->site_count; i++) {
		int x = vg_site_index(v, cmd->sites[i].id);

		if (x < 0 || v->site[x].mode != cmd->sites[i].mode)
			return false;
	}
	return true;
}

/* --- pause, resume --- */

int request_pause(struct conductor_request *r)
{
	struct conductor *c = r->c;
	struct group *g = conductor_group_named(c, r->group.name, (uint32_t)strlen(r->group.name));
	bool pause = r->kind == REQUEST_PAUSE;
	uint32_t id;
	int rc = request_group_refusal(r, g, r->group.name);

	if (rc == 0)
		rc = site_known(r, r->site, &id);
	if (rc < 0)
		return rc;
	if (vg_site_index(&g->view, id) < 0 || id == c->o.site)
		return request_fail(r, -ERR_NOT_FOUND, "group %s is not replicated to %s", g->name,
				    r->site);
	if (vg_is_sync(&g->view, id))
		return request_fail(
			r, -ERR_UNSUPPORTED,
			"%s is a sync site of group %s: only an async site can be paused in this version",
			r->site, g->name);
	if (pause == ((g->paused >> id & 1u) != 0))
		return 0;
	g->paused ^= 1u << id; /* T3 */
	conductor_event(c, EVENT_POLICY, g, pause ? "streaming" : "paused",
			pause ? "paused" : "streaming", 0, 0,
			"replication to %s was %s by an operator", r->site,
			pause ? "paused" : "resumed");
	op_wake(&g->op);
	return 0;
}
