/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/group.c
 * Purpose.     One group at this site: facts in, rules stepped, effects carried out.
 * Invariants.  J5 The end of the contiguous chain is committed, and the EPOCH record appended, only
 *                 when the CLAIM is known committed and the floors are durable.
 *              J10 Floors are durable before anything of the epoch is done.
 *              R5 A role begins only when nothing of the one before is in flight.
 *              G3 open_epoch != 0 only between group_opened and group_shut.
 * States.      open_phase: NOT -> REPLICA -> COMMIT -> RECORD -> DONE, any -> NOT [group_shut]
 * Ownership.   The conductor owns groups; a group its volumes, sources and followers.
 * Failure.     A failed store ends the role; the peer is told so.
 * Limits.      groups_max of the conductor.
 */
#include "engine/volume/group.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/snapshot.h"

#define W_TIMER 1u
#define W_FLOOR 2u
#define W_CLOSE 4u
#define W_SPACE 8u
#define W_REPLICA 16u
#define W_PACE 64u

static void group_step(struct op *op);
static void group_apply(struct group *g, const struct rules_facts *f);
static void group_open_progress(struct group *g);
static void group_shut(struct group *g);
static void group_set_floor(struct group *g);
static void group_arm(struct group *g);
static void group_harvest(struct group *g);
static void group_track_suspension(struct group *g);
static void group_delete(struct group *g);
static void group_refused(struct group *g, const char *what, int rc);

struct group *group_open(struct conductor *c, const struct uuid *uuid, const char *name)
{
	struct group *g = calloc(1, sizeof(*g));
	struct rules_opts ro = {.self = c->o.site,
				.incarnation = c->incarnation,
				.disk = c->store_uuid,
				.boot = c->boot,
				.drop_ms = c->o.timers.drop_ms,
				.lease_ms = c->o.timers.lease_ms,
				.grace_ms = c->o.timers.grace_ms,
				.hold_down_ms = c->o.timers.hold_down_ms,
				.mutant = c->o.mutant};

	if (g == NULL)
		return NULL;
	op_init(&g->op, c->env->ready, group_step);
	g->c = c;
	g->uuid = *uuid;
	memcpy(g->name, name, strnlen(name, NAME_BYTES_MAX));
	list_link_init(&g->link);
	list_init(&g->queued);
	list_init(&g->held);
	list_init(&g->flights);
	list_init(&g->flights_free);
	list_init(&g->parked);
	list_init(&g->volumes);
	list_init(&g->exports);
	for (uint32_t i = 0; i < FLIGHTS_MAX; i++) {
		list_link_init(&g->flight_pool[i].link);
		list_push_back(&g->flights_free, &g->flight_pool[i].link);
	}
	store_floor_get(c->store, uuid, &g->floor);
	ro.old_promise_ms = g->floor.promise_ms;
	g->boot_cfg = g->floor.cfg;
	rules_init(&g->rules, &ro);
	g->volumes_at.v = UINT64_MAX;
	g->born = clock_now(c->env->clock);
	op_wake(&g->op);
	return g;
}

bool group_is_idle(const struct group *g)
{
	return g->ios == 0 && !g->close_busy && !g->floor_busy && !g->replica_busy &&
	       !g->space_busy && !g->fold_busy && g->follower == NULL && !group_has_source(g) &&
	       g->fetch_source == NULL && g->flight_count == 0 && list_empty(&g->exports);
}

void group_free(struct group *g)
{
	struct list_link *n;

	op_unqueue(&g->op);
	export_free_all(g);
	while ((n = list_pop_front(&g->volumes)) != NULL)
		free(container_of(n, struct volume, link));
	free(g);
}

uint32_t group_pair_peer(const struct group *g)
{
	return vg_pair_peer(&g->view, g->c->o.site);
}

static void group_peer_facts(struct group *g, struct rules_facts *f)
{
	struct conductor_peer *p = conductor_peer(g->c, group_pair_peer(g));
	struct repl_peer_status ps;

	f->peer_heard = g->c->boot;
	if (p == NULL || g->c->repl == NULL || repl_peer_status(g->c->repl, p->site, &ps) < 0)
		return;
	f->peer_up = ps.up;
	f->peer_gone = p->gone;
	f->peer_heard = ps.up || ps.last_heard.v > p->lost_at.v ? ps.last_heard : p->lost_at;
	f->peer_incarnation = ps.incarnation;
	f->peer_store = ps.store;
}

static void group_source_facts(struct group *g, struct rules_facts *f)
{
	struct repl_source *source = group_source(g, group_pair_peer(g));
	struct repl_source_status ss;

	if (source == NULL) {
		f->source_ready = false;
	} else {
		repl_source_status(source, &ss);
		f->source_ready = ss.state == REPL_STREAMING;
		f->source_durable = ss.durable;
		f->source_short = ss.state == REPL_STAGING ||
				  (ss.state == REPL_CATCHING_UP && ss.durable.v != 0 &&
				   ss.durable.v < f->commit.v);
	}
	if ((g->eff.ack_mask & ~(1u << g->c->o.site)) == 0)
		return;
	LIST_FOR_EACH(n, &g->flights) {
		struct flight *fl = container_of(n, struct flight, link);

		if (fl->record == g->stuck)
			break; /* not appended here yet, not offered to the peer */
		if (source == NULL || fl->end.v > f->source_durable.v) {
			f->unacked_since = fl->at;
			break;
		}
	}
}

/* Also when another replica has taken the place of the old one. */
static void group_set_history(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	const struct replica_history want = {
		.ns = g->view.config.history_s * SEC_NS,
		.bytes = g->view.config.history_bytes,
	};

	if (r != NULL && g->view_seen)
		replica_history_set(r, &want);
}

void group_facts(struct group *g, struct rules_facts *f)
{
	struct conductor *c = g->c;
	const struct vg_view *v = authority_view(c->authority, &g->uuid);
	struct replica *r = replica_find(c->store, &g->uuid);
	struct replica_status st;

	memset(f, 0, sizeof(*f));
	f->now = clock_now(c->env->clock);
	if (v != NULL) {
		g->view = *v;
		g->view_seen = true;
		f->view = &g->view;
	}
	older_look(g);
	f->floor_epoch = g->floor.epoch;
	f->floor_cfg = g->floor.cfg;
	f->has_replica = r != NULL;
	f->store_failed = c->store_failed || c->stopping || c->older || g->forked;
	f->take_over = f->now.v < g->take_over_until.v;
	if (f->take_over && g->follower != NULL && !g->follower_fetches &&
	    g->follower_state == REPL_STREAMING && g->follower_epoch == g->view.epoch)
		g->tail =
			RULES_TAIL_DONE; /* J3: all that was acknowledged is here, told in this session */
	f->tail = g->tail;
	f->switch_to = f->now.v < g->switch_until.v ? g->switch_to : 0;
	f->opened = g->open_phase == OPEN_DONE && v != NULL && g->open_epoch == v->epoch;
	f->local_io = g->close_busy || g->follower != NULL || g->ios != 0 || g->replica_busy;
	if (r != NULL) {
		replica_status(r, &st);
		f->commit = st.commit;
		f->drained = g->flight_count == 0 && g->stuck == NULL && st.commit.v == st.tail.v;
		f->local_io = f->local_io || st.durable.v < st.tail.v;
	}
	group_peer_facts(g, f);
	group_source_facts(g, f);
}

static void group_step(struct op *op)
{
	struct group *g = container_of(op, struct group, op);
	struct rules_facts f;

	group_harvest(g);
	if (!g->c->started)
		return; /* wait: conductor_start */
	group_repl_progress(g);
	group_facts(g, &f);
	rules_step(&g->rules, &f, &g->eff);
	group_apply(g, &f);
	group_io_progress(g);
	if (g->eff.may_read || g->open_epoch == 0) {
		struct list_link *n;

		while ((n = list_pop_front(&g->parked)) != NULL)
			op_wake(&container_of(n, struct volume_io, link)->op);
	}
	group_restore_progress(g);
	group_reap_volumes(g);
	export_reap(g);
	group_track_suspension(g);
	group_set_history(g);
	group_note_changes(g);
	group_arm(g);
}

/* The store said no, perhaps at once: asked again after a while, not in the next step. */
static void group_refused(struct group *g, const char *what, int rc)
{
	g->retry_at.v = clock_now(g->c->env->clock).v + SEC_NS;
	log_error(g->c->env->log, "volume", "group %s: %s: %s; trying again in a second", g->name,
		  what, err_text(rc));
}

static bool group_may_retry(const struct group *g)
{
	return clock_now(g->c->env->clock).v >= g->retry_at.v;
}

/* Results of what we waited for. */
static void group_harvest(struct group *g)
{
	if (g->floor_busy && !completion_armed(&g->floor_done)) {
		g->floor_busy = false;
		if (g->floor_done.rc == 0)
			store_floor_get(g->c->store, &g->uuid, &g->floor);
		else
			group_refused(g, "making its floor durable", g->floor_done.rc);
	}
	if (g->close_busy && !completion_armed(&g->close_done))
		g->close_busy = false;
	if (g->replica_busy && !completion_armed(&g->replica_done)) {
		g->replica_busy = false;
		op_wake(&g->c->op);
		if (g->replica_done.rc < 0)
			group_refused(g, "creating or deleting its replica", g->replica_done.rc);
	}
	if (g->space_busy && !completion_armed(&g->space_done))
		g->space_busy = false;
	room_harvest(g);
}

static void group_apply(struct group *g, const struct rules_facts *f)
{
	struct rules_effects *e = &g->eff;

	if (g->open_phase != OPEN_NOT && ((e->role != RULES_OPENING && e->role != RULES_PRIMARY) ||
					  (g->open_epoch != 0 && g->open_epoch != g->view.epoch)))
		group_shut(g);
	if (e->quiesce)
		group_close_repl(g);
	if (e->role == RULES_IDLE || e->role == RULES_FAILED)
		group_close_fetches(g);
	if (f->view == NULL && g->dropped)
		group_delete(g);
	if (f->view == NULL || g->c->stopping)
		return;
	if (e->set_floor)
		group_set_floor(g);
	if (g->follower != NULL && !g->follower_fetches && g->follower_epoch != g->view.epoch)
		group_close_repl(g); /* R4 */
	if (e->follow)
		group_follow(g);
	else if (g->follower != NULL && !g->follower_fetches && e->role != RULES_SECONDARY)
		group_close_repl(g);
	if (e->role != RULES_CLAIMANT && !g->follower_fetches) {
		g->tail = RULES_TAIL_NONE;
		g->tail_asked.v = 0;
	}
	if (e->ask_tail)
		group_ask_tail(g);
	if (e->propose)
		conductor_propose(g->c, &e->cmd);
	if (e->role == RULES_OPENING)
		group_open_progress(g);
}

/* The authority has deleted the group: volumes go with their clients, then the replica. */
static void group_delete(struct group *g)
{
	LIST_FOR_EACH(n, &g->volumes)
		container_of(n, struct volume, link)->gone = true;
	if (!group_is_idle(g) || !group_may_retry(g) || replica_find(g->c->store, &g->uuid) == NULL)
		return; /* wait: what is in flight */
	g->replica_busy = true;
	completion_arm(&g->replica_done, &g->op, W_REPLICA);
	replica_delete(g->c->store, &g->uuid, &g->replica_done);
}

static void group_set_floor(struct group *g)
{
	if (g->floor_busy || !group_may_retry(g))
		return;
	g->floor_busy = true;
	g->floor_asked = g->floor;
	g->floor_asked.epoch = g->view.epoch;
	g->floor_asked.cfg = g->view.cfg;
	g->floor_asked.promise_ms = g->c->o.timers.grace_ms;
	completion_arm(&g->floor_done, &g->op, W_FLOOR);
	store_floor_set(g->c->store, &g->uuid, &g->floor_asked, &g->floor_done);
}

/* J5. */
static void group_open_progress(struct group *g)
{
	struct conductor *c = g->c;
	struct replica *r = replica_find(c->store, &g->uuid);
	struct replica_status st;
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct record_epoch re = {.last_forced_epoch = g->view.last_forced_epoch};
	struct lsn end;

	if (g->floor.epoch < g->view.epoch || g->floor.cfg < g->view.cfg)
		return; /* J10; wait: floor */
	if (g->follower != NULL || g->close_busy || g->replica_busy)
		return; /* R5; wait: the follower's end */
	if (r == NULL) {
		g->open_phase = OPEN_REPLICA;
		if (!group_may_retry(g))
			return; /* wait: a while */
		g->replica_busy = true;
		completion_arm(&g->replica_done, &g->op, W_REPLICA);
		replica_create(c->store, &g->uuid, g->name, &g->replica_done);
		return; /* wait: replica */
	}
	replica_watch(r, &g->op);
	replica_status(r, &st);
	if (g->open_phase != OPEN_RECORD) {
		g->open_phase = OPEN_COMMIT;
		(void)replica_stage_drop(c->store, &g->uuid); /* J8: it opens at the old point */
		if (st.durable.v < st.tail.v || replica_commit(r, st.tail) < 0)
			return; /* wait: fold makes room in the index */
		replica_status(r, &st);
		if (st.commit.v < st.tail.v)
			return; /* wait: the same */
		re.content_generation = group_content_generation(g, r);
		g->open_epoch = g->view.epoch;
		if (group_append_control(g, RECORD_EPOCH, body, record_epoch_encode(&re, body),
					 &end) < 0) {
			g->open_epoch = 0;
			return; /* wait: a record, looked at again by the timer */
		}
		g->open_phase = OPEN_RECORD;
		return; /* wait: durable */
	}
	if (st.durable.v < st.tail.v || g->stuck != NULL)
		return; /* wait: durable */
	if (replica_is_restoring(r))
		return; /* wait: fold; until then volumes are neither the old ones nor the target's */
	g->open_phase = OPEN_DONE;
	g->told_commit = st.commit;
	group_refresh_volumes(g);
	op_wake(&g->op);
}

static void group_shut(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);

	g->open_phase = OPEN_NOT;
	g->open_epoch = 0; /* G3 */
	g->switch_to = 0;
	g->suspended_since.v = 0;
	g->volumes_at.v = UINT64_MAX; /* what was not committed may be cut: nobody waits for it */
	g->volumes_last.v = 0;
	g->rollback = NULL;
	g->restore_end.v = 0;
	volume_revoke_all(g);
	group_io_abort(g);
	group_close_sources(g);
	memset(g->marks, 0, sizeof(g->marks));
	memset(&g->lag, 0, sizeof(g->lag));
	g->paused = 0;
	if (r != NULL)
		replica_watch(r, &g->op); /* appends in flight end: R5 */
}

/* P7: how long have clients been waiting? */
static void group_track_suspension(struct group *g)
{
	uint64_t now = clock_now(g->c->env->clock).v;
	bool waiting = !list_empty(&g->flights) || !list_empty(&g->queued) ||
		       !list_empty(&g->parked) || !list_empty(&g->held);
	/* A record on its way to a disk or a peer that does not answer; one that waits for room in
	 * a full journal only slows its writers down. */
	struct list_link *n = list_first(&g->flights);
	struct flight *oldest = n != NULL ? container_of(n, struct flight, link) : NULL;
	bool silent = oldest != NULL && oldest->record != g->stuck &&
		      now - oldest->at.v >= g->c->o.timers.drop_ms * MS_NS;

	if (g->open_epoch == 0 ||
	    (g->eff.may_read && g->eff.admit && !silent && list_empty(&g->held))) {
		g->suspended_since.v = 0;
		g->told_shut = false;
		return;
	}
	/* Slow is not suspended: the time counts from the oldest that is not answered. */
	if (g->suspended_since.v != 0 && g->eff.may_read && g->eff.admit && oldest != NULL &&
	    oldest->at.v > g->suspended_since.v)
		g->suspended_since.v = oldest->at.v;
	if (g->suspended_since.v == 0) {
		if (!waiting)
			return; /* nobody has noticed */
		g->suspended_since.v = now;
		counter_add(g->c->env->counters, CTR_AUTHORITY_WAITS, 1);
	}
	if (now - g->suspended_since.v > g->c->o.timers.suspend_max_ms * MS_NS) {
		if (!g->told_shut)
			log_warn(g->c->env->log, "volume",
				 "group %s: nothing was answered for %llu ms: its clients are "
				 "disconnected",
				 g->name, (unsigned long long)g->c->o.timers.suspend_max_ms);
		g->told_shut = true;
		volume_revoke_all(g);
		group_io_give_up(
			g); /* else their sockets stay open until the end of the suspension */
	}
}

static void group_arm(struct group *g)
{
	uint64_t now = clock_now(g->c->env->clock).v, next = g->eff.next.v, soon = now + 50 * MS_NS;

	/* Anything that is polled is looked at again within 50 ms. */
	if (g->open_phase == OPEN_COMMIT || g->open_phase == OPEN_RECORD || g->eff.ask_tail ||
	    g->eff.follow || g->eff.set_floor || !list_empty(&g->flights) ||
	    !list_empty(&g->queued) || !list_empty(&g->held) || g->suspended_since.v != 0)
		next = next < soon ? next : soon;
	if (next == UINT64_MAX)
		next = now + SEC_NS;
	if (next <= now)
		next = now + MS_NS;
	if (timer_armed(&g->timer)) {
		if (g->timer.deadline.v <= next && g->timer.deadline.v > now)
			return;
		clock_timer_disarm(g->c->env->clock, &g->timer);
	}
	if (completion_armed(&g->timer.done))
		return;
	completion_arm(&g->timer.done, &g->op, W_TIMER);
	g->timer.deadline.v = next;
	clock_timer_arm(g->c->env->clock, &g->timer);
}
