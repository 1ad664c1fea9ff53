/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/explain.c
 * Purpose.     `explain GROUP`: why it is in its state, on what evidence, what to do.
 * Failure.     NULL when the arena is full.
 */
#include <stdio.h>
#include <string.h>

#include "engine/admin/status.h"
#include "engine/base/assert.h"
#include "engine/base/size.h"
#include "engine/quorum/authority.h"

#define LINES_MAX 16u

struct lines {
	struct arena *arena;
	char **text;
	size_t *count;
	bool failed;
};

static void line_add(struct lines *l, char *text)
{
	if (text == NULL || *l->count == LINES_MAX) {
		l->failed = true;
		return;
	}
	l->text[(*l->count)++] = text;
}

static void explain_peer(struct lines *l, const struct admin_server *s,
			 const struct group_peer_status *p)
{
	char lag[SIZE_TEXT_BYTES], left[SIZE_TEXT_BYTES];

	size_format_short(p->lag_bytes, lag);
	size_format_short(p->resync_bytes_left, left);
	if (!p->durable_known && p->lag_bytes == 0)
		snprintf(lag, sizeof(lag), "an unknown amount");
	line_add(l, arena_format(l->arena, "%s is %s, %s behind%s%s%s",
				 conductor_site_name(s->o.conductor, p->site), p->state, lag,
				 p->resync_bytes_left != 0 ? ", " : "",
				 p->resync_bytes_left != 0 ? left : "",
				 p->resync_bytes_left != 0 ? " to copy" : ""));
	if (p->hold_down_ms != 0)
		line_add(l, arena_format(l->arena, "it may join again in %llu ms",
					 (unsigned long long)p->hold_down_ms));
}

static void explain_in_sync(struct lines *l, const struct admin_server *s,
			    const struct group_status *g)
{
	char names[160] = "";
	size_t at = 0;

	for (uint32_t id = 0; id < 32; id++)
		if ((g->isr_mask >> id & 1u) != 0 && at < sizeof(names))
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
					       at == 0 ? "" : ", ",
					       conductor_site_name(s->o.conductor, id));
	line_add(l, arena_format(l->arena, "in sync: %s; writes need %u of them",
				 at == 0 ? "nobody" : names, g->min_isr));
}

static void explain_evidence(struct lines *l, const struct admin_server *s,
			     const struct group_status *g)
{
	const struct authority_status *q = authority_status(s->o.authority);
	struct store_status st;

	store_status(s->o.store, &st);
	line_add(l, arena_format(l->arena, "%s is %s of %s in epoch %llu, configuration %llu",
				 s->o.site, group_role_word(g->role), g->name,
				 (unsigned long long)g->epoch, (unsigned long long)g->cfg));
	line_add(l, arena_format(l->arena, "the primary is %s",
				 g->primary != 0 ? conductor_site_name(s->o.conductor, g->primary)
						 : "not known"));
	explain_in_sync(l, s, g);
	line_add(l, arena_format(l->arena, "head %llu, committed %llu, folded %llu",
				 (unsigned long long)g->head.v, (unsigned long long)g->commit.v,
				 (unsigned long long)g->fold.v));
	if (q->told)
		line_add(l, arena_text(l->arena,
				       "this site is no member of the quorum: the other sites tell "
				       "what it decides"));
	else if (!q->alone)
		line_add(l, arena_format(l->arena, "the quorum %s; term %llu",
					 q->has_quorum ? "has a leader"
						       : "has no leader that is heard here",
					 (unsigned long long)q->term));
	line_add(l, arena_format(l->arena, "the store %s", st.failed ? "has failed" : "is ok"));
	for (uint32_t i = 0; i < g->peer_count; i++)
		explain_peer(l, s, &g->peers[i]);
	if (g->role == GROUP_ROLE_SECONDARY)
		line_add(l, arena_format(l->arena, "the primary was last heard %.1f s ago",
					 (double)g->state_age_ms / 1e3));
	line_add(l, arena_format(l->arena, "%s", g->guarantee));
}

static const char *explain_advice(const struct admin_server *s, const struct group_status *g)
{
	switch (g->state) {
	case GROUP_STARTING:
		return g->orphan
			       ? "if the group was deleted elsewhere nothing is to be done; it is kept here until then"
			       : "wait; if it lasts, see 'twinshore quorum status' and the log";
	case GROUP_SINGLE:
		return "nothing: the group has no peer";
	case GROUP_IN_SYNC:
		return "nothing";
	case GROUP_DEGRADED:
		return "bring the peer back, or its connection: it catches up by itself";
	case GROUP_RESYNCING:
		return "wait: it joins by itself when it has caught up";
	case GROUP_SUSPENDED:
		return authority_has_quorum(s->o.authority)
			       ? "wait for the peer or its removal from the in-sync set, which happens by itself"
			       : "restore the connection to a majority of the quorum: 'twinshore quorum status' tells who is away";
	case GROUP_FAILED:
		return "see the log of the daemon; repair or replace the disk, then restart the daemon";
	case GROUP_BLOCKED:
		return "bring the site named above back: it alone has the newest acknowledged writes; if "
		       "it is lost, 'twinshore failover' at this site says what that would cost";
	case GROUP_ASYNC:
		return "nothing";
	}
	UNREACHABLE("a state without advice");
}

Adm__ExplainReply *explain_group(struct arena *a, const struct admin_server *s,
				 const struct group_status *g)
{
	Adm__ExplainReply *m = arena_take(a, sizeof(*m));
	struct lines l = {.arena = a};

	if (m == NULL)
		return NULL;
	adm__explain_reply__init(m);
	m->group = arena_text(a, g->name);
	m->state = arena_text(a, group_state_word(g->state));
	m->because = arena_text(a, g->reason[0] != '\0' ? g->reason : "nothing is wrong");
	m->evidence = arena_take(a, LINES_MAX * sizeof(char *));
	m->advice = arena_take(a, LINES_MAX * sizeof(char *));
	if (m->group == NULL || m->state == NULL || m->because == NULL || m->evidence == NULL ||
	    m->advice == NULL)
		return NULL;
	l.text = m->evidence;
	l.count = &m->n_evidence;
	explain_evidence(&l, s, g);
	l.text = m->advice;
	l.count = &m->n_advice;
	line_add(&l, arena_text(a, explain_advice(s, g)));
	return l.failed ? NULL : m;
}
