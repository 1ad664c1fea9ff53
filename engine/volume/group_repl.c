/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/group_repl.c
 * Purpose.     A group's sources and followers, and the question for the longer journal (J4).
 * Invariants.  R4 A follower exists only in the view's epoch, with its floor durable.
 *              R5 A follower is closed, and what it had in flight has ended, before a CLAIM.
 *              J4 The answer to a tail question is used only for the question last asked.
 *              J7 A forked follower stops the group; nothing is cut.
 *              J11 Whoever is not the other site of the pair gets records up to the commit LSN only.
 * Ownership.   sources, fetch_source and follower are the group's.
 * Failure.     Any session may end at any time; the next step opens another.
 * Limits.      One follower and REPL_PEERS_MAX sources per group; a refused follower tries again after 100 ms,
 *              one without room after 10 s.
 */
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/volume/group.h"

#define W_CLOSE 4u
#define FOLLOW_RETRY_MS 100u
#define FOLLOW_FULL_MS 10000u /* room does not come by itself in a moment */
#define TAIL_AGAIN_MS 50u
#define BASE_WAIT_MS 3000u /* for the base of a clone, before it is copied whole */

static void group_close_follower(struct group *g);
static void group_follower_progress(struct group *g);

void group_close_repl(struct group *g)
{
	group_close_sources(g);
	if (g->follower != NULL && !g->follower_fetches)
		group_close_follower(g);
}

/* --- sources: one per site that has attached --- */

/* site 0: a free place. */
static struct group_source *source_slot(struct group *g, uint32_t site)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++)
		if (g->sources[i].site == site)
			return &g->sources[i];
	return NULL;
}

static void source_slot_close(struct group_source *s)
{
	if (s->site == 0)
		return;
	repl_source_close(&s->source);
	*s = (struct group_source){0};
}

struct repl_source *group_source(const struct group *g, uint32_t site)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX && site != 0; i++)
		if (g->sources[i].site == site)
			return g->sources[i].source;
	return NULL;
}

bool group_has_source(const struct group *g)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++)
		if (g->sources[i].site != 0)
			return true;
	return false;
}

void group_close_sources(struct group *g)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++)
		source_slot_close(&g->sources[i]);
}

void group_sources_record(struct group *g, struct record *rec)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++)
		if (g->sources[i].site != 0)
			repl_source_record(g->sources[i].source, rec);
}

void group_sources_commit(struct group *g, struct lsn commit)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++)
		if (g->sources[i].site != 0)
			repl_source_commit(g->sources[i].source, commit);
}

bool group_mark(const struct group *g, uint32_t site, struct lsn *ret_durable)
{
	for (uint32_t i = 0; i < SITES_MAX && g->marks[i].site != 0; i++) {
		if (g->marks[i].site != site)
			continue;
		*ret_durable = g->marks[i].durable;
		return true;
	}
	return false;
}

void group_sources_mark(struct group *g, struct lsn commit)
{
	struct lsn least = commit;

	lag_note(&g->lag, commit, clock_now(g->c->env->clock), clock_wall(g->c->env->clock));
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++) {
		struct repl_source_status ss;
		uint32_t m = 0;

		if (g->sources[i].site == 0)
			continue;
		repl_source_status(g->sources[i].source, &ss);
		if (ss.state != REPL_STREAMING && ss.state != REPL_CATCHING_UP)
			continue; /* as it was: it still has its last consistent point */
		while (m < SITES_MAX && g->marks[m].site != 0 &&
		       g->marks[m].site != g->sources[i].site)
			m++;
		if (m < SITES_MAX)
			g->marks[m] = (struct group_mark){g->sources[i].site, ss.durable};
	}
	for (uint32_t i = 0; i < SITES_MAX && g->marks[i].site != 0; i++)
		if (vg_site_index(&g->view, g->marks[i].site) >= 0)
			least = lsn_min(least, g->marks[i].durable);
	lag_forget(&g->lag, least);
}

/* J11 */
static bool group_sends_at_commit(const struct group *g, uint32_t site)
{
	return site != group_pair_peer(g);
}

/* Ended ones go, and those of a site whose part in the group has changed: it attaches anew. */
static void group_sources_progress(struct group *g)
{
	for (uint32_t i = 0; i < REPL_PEERS_MAX; i++) {
		struct group_source *s = &g->sources[i];
		struct repl_source_status ss;

		if (s->site == 0)
			continue;
		repl_source_status(s->source, &ss);
		if (ss.state == REPL_FAILED)
			log_warn(g->c->env->log, "volume",
				 "group %s: stream to %s failed (%s): it attaches again", g->name,
				 conductor_site_name(g->c, s->site), err_text(ss.rc));
		if (ss.state == REPL_CLOSED || ss.state == REPL_FAILED ||
		    (g->paused >> s->site & 1u) != 0 || vg_site_index(&g->view, s->site) < 0 ||
		    s->at_commit != group_sends_at_commit(g, s->site))
			source_slot_close(s);
	}
}

void group_close_fetches(struct group *g)
{
	if (g->fetch_source != NULL)
		repl_source_close(&g->fetch_source);
	if (g->follower != NULL && g->follower_fetches) {
		group_close_follower(g);
		g->follower_fetches = false;
		g->tail = RULES_TAIL_NONE;
	}
}

static void group_close_follower(struct group *g)
{
	assert(!g->close_busy);
	g->close_busy = true;
	completion_arm(&g->close_done, &g->op, W_CLOSE);
	repl_follower_close(&g->follower, &g->close_done);
	assert(g->follower == NULL);
}

/* R4: called when effects say follow (or J4 fetches). */
static void group_follow_from(struct group *g, uint32_t site, enum repl_purpose purpose)
{
	struct conductor *c = g->c;
	struct repl_follow_spec spec = {
		.site = site, .group = g->uuid, .purpose = purpose, .wake = &g->op};
	uint64_t now = clock_now(c->env->clock).v;

	if (g->follower != NULL || g->close_busy || g->forked || c->repl == NULL || c->stopping ||
	    now < g->follow_next.v)
		return;
	memcpy(spec.name, g->name, sizeof(spec.name));
	spec.epoch = (struct epoch){g->view.epoch, g->view.primary_incarnation, g->view.primary};
	spec.want_full = g->base_missing.v != 0 && now - g->base_missing.v >= BASE_WAIT_MS * MS_NS;
	if (repl_follow(c->repl, &spec, c->store, &g->follower) < 0) {
		g->follower = NULL;
		g->follow_next.v = now + FOLLOW_RETRY_MS * MS_NS;
		return;
	}
	g->follower_fetches = purpose == REPL_FETCH;
	g->follower_epoch = g->view.epoch;
	g->follower_state = REPL_ATTACHING;
	g->branch_told = false;
}

void group_follow(struct group *g)
{
	group_follow_from(g, g->view.primary, REPL_STREAM);
}

void group_ask_tail(struct group *g)
{
	struct conductor *c = g->c;
	uint64_t now = clock_now(c->env->clock).v, drop = c->o.timers.drop_ms * MS_NS;
	uint32_t site = group_pair_peer(g);
	struct conductor_peer *p = conductor_peer(c, site);
	struct link_msg *m = &c->msg;
	struct link_tail t = {.group = g->uuid};

	if (g->follower_fetches)
		return;
	if (p == NULL || !p->up) { /* unseen for T_drop counts as asked */
		uint64_t since = p == NULL ? 0 : p->lost_at.v;

		g->tail = now >= since + drop || (p != NULL && p->gone) ? RULES_TAIL_SILENT
									: RULES_TAIL_WAITING;
		g->tail_asked.v = 0;
		return;
	}
	if (g->tail_asked.v == 0)
		g->tail_asked.v = now;
	if (now >= g->tail_asked.v + drop) {
		g->tail = RULES_TAIL_SILENT;
		return;
	}
	g->tail = RULES_TAIL_WAITING;
	if (now < g->tail_again.v)
		return;
	g->tail_again.v = now + TAIL_AGAIN_MS * MS_NS;
	memset(m, 0, sizeof(*m));
	m->kind = LINK_TAIL_ASK;
	t.question = ++g->tail_question;
	m->tail = &t;
	(void)!repl_link_send(c->repl, site, m);
}

/* The other member's answer: fetch what it has more of the same history. */
void group_tail_told(struct group *g, const struct link_tail *t)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct replica_status st;
	struct epoch_entry mine[EPOCHS_MAX];
	uint32_t n;

	if (t->question != g->tail_question || g->tail != RULES_TAIL_WAITING || r == NULL)
		return;
	if (t->recovering) {
		g->tail_asked = clock_now(g->c->env->clock); /* longer while it says so */
		return;
	}
	replica_status(r, &st);
	n = replica_epochs(r, mine, EPOCHS_MAX);
	if (!t->known) {
		g->tail = RULES_TAIL_DONE;
	} else if (st.has_hole && !t->has_hole) {
		g->tail = RULES_TAIL_OTHER;
		g->tail_asked =
			clock_now(g->c->env->clock); /* J4: as long as the other can claim */
	} else if (t->durable.v > st.tail.v && t->epoch_count > 0 && n > 0 &&
		   t->epochs[t->epoch_count - 1].epoch.number == mine[n - 1].epoch.number &&
		   t->epochs[t->epoch_count - 1].epoch.incarnation ==
			   mine[n - 1].epoch.incarnation) {
		if (g->follower != NULL && !g->follower_fetches)
			group_close_follower(g);
		group_follow_from(g, group_pair_peer(g), REPL_FETCH);
	} else if (t->durable.v > st.tail.v && n == 0) {
		group_follow_from(g, group_pair_peer(g), REPL_FETCH);
	} else {
		g->tail = RULES_TAIL_DONE;
	}
	op_wake(&g->op);
}

void group_tail_ask(struct group *g, uint32_t site, uint64_t question)
{
	struct conductor *c = g->c;
	struct replica *r = replica_find(c->store, &g->uuid);
	struct link_tail *t = &c->tail_out;
	struct replica_status st;

	memset(t, 0, sizeof(*t));
	t->group = g->uuid;
	t->question = question;
	t->incarnation = c->incarnation;
	if (r != NULL) {
		replica_status(r, &st);
		t->known = 1;
		t->tail = st.tail;
		t->durable = st.durable;
		t->commit = st.commit;
		t->fold = st.fold;
		t->tail_chain = st.tail_chain;
		t->has_hole = st.has_hole;
		t->epoch_count = replica_epochs(r, t->epochs, EPOCHS_MAX);
		t->recovering = st.durable.v < st.tail.v; /* in flight: ask again */
	}
	memset(&c->msg, 0, sizeof(c->msg));
	c->msg.kind = LINK_TAIL_TOLD;
	c->msg.tail = t;
	(void)!repl_link_send(c->repl, site, &c->msg);
}

static bool group_may_source(const struct group *g, const struct repl_attach *a, const char **why)
{
	if (a->purpose == REPL_FETCH) {
		*why = "this site is the primary";
		return g->open_epoch == 0;
	}
	*why = "the asking site is no member of the group";
	if (vg_site_index(&g->view, a->site) < 0)
		return false;
	*why = "replication to the asking site was paused by an operator";
	if ((g->paused >> a->site & 1u) != 0)
		return false;
	*why = "the group is just being made as a clone";
	if (request_makes_clone(g))
		return false;
	*why = "this site is not the primary in that epoch";
	return g->open_phase == OPEN_DONE && g->open_epoch == a->epoch_number;
}

void group_attach(struct group *g, const struct repl_attach *a)
{
	struct conductor *c = g->c;
	bool fetch = a->purpose == REPL_FETCH;
	struct group_source *slot = source_slot(g, a->site);
	struct replica *r = replica_find(c->store, &g->uuid);
	const char *why;
	struct repl_source_spec spec = {
		.attach = *a, .replica = r, .store = c->store, .wake = &g->op};

	if (!group_may_source(g, a, &why) || r == NULL || c->stopping) {
		repl_attach_refuse(c->repl, a, why);
		return;
	}
	spec.epoch = (struct epoch){g->view.epoch, g->view.primary_incarnation, g->view.primary};
	op_wake(&g->op);
	if (fetch) {
		if (g->fetch_source != NULL)
			repl_source_close(&g->fetch_source);
		if (repl_source_open(c->repl, &spec, &g->fetch_source) < 0)
			g->fetch_source = NULL;
		return;
	}
	if (slot != NULL)
		source_slot_close(slot);
	slot = source_slot(g, 0);
	assert(slot != NULL); /* one per peer, and there are no more of them */
	spec.at_commit = group_sends_at_commit(g, a->site);
	if (repl_source_open(c->repl, &spec, &slot->source) < 0)
		return;
	slot->site = a->site;
	slot->at_commit = spec.at_commit;
}

void group_repl_progress(struct group *g)
{
	struct repl_source_status ss;

	group_sources_progress(g);
	if (g->fetch_source != NULL) {
		repl_source_status(g->fetch_source, &ss);
		if (ss.state == REPL_CLOSED || ss.state == REPL_FAILED || ss.state == REPL_DONE)
			repl_source_close(&g->fetch_source);
	}
	if (g->follower != NULL)
		group_follower_progress(g);
}

static void group_follower_progress(struct group *g)
{
	struct repl_follower_status fs;
	bool over;

	repl_follower_status(g->follower, &fs);
	g->follower_state = fs.state;
	branch_follower(g, &fs);
	if (fs.state == REPL_STREAMING) {
		g->base_missing.v = 0;
		g->proved = true;
	}
	over = fs.state == REPL_REFUSED || fs.state == REPL_FAILED || fs.state == REPL_CLOSED ||
	       fs.state == REPL_DONE || fs.state == REPL_FORKED;
	if (!over)
		return;
	if (fs.state == REPL_FORKED && !g->forked) {
		g->forked = true; /* J7 */
		log_error(
			g->c->env->log, "volume",
			"group %s: the primary's history ends below what was committed here: nothing is cut, "
			"the group stops at this site; an operator must decide",
			g->name);
	}
	if (fs.wants_full && g->base_missing.v == 0)
		g->base_missing = clock_now(g->c->env->clock);
	if (fs.state == REPL_FAILED)
		log_warn(g->c->env->log, "volume",
			 "group %s: following failed (%s): attaching again", g->name,
			 err_text(fs.rc));
	if (g->follower_fetches)
		g->tail = fs.state == REPL_DONE ? RULES_TAIL_DONE : RULES_TAIL_NONE;
	g->follow_next.v =
		clock_now(g->c->env->clock).v +
		branch_retry_ms(g, fs.rc == -ERR_FULL ? FOLLOW_FULL_MS : FOLLOW_RETRY_MS) * MS_NS;
	group_close_follower(g);
	g->follower_fetches = false;
}
