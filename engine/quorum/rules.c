/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/rules.c
 * Purpose.     Who may write, in which epoch, until when: one group at one site.
 * Invariants.  R1 The ack set is committed isr + a proposed ADD + a gated joiner; a DROP shrinks it
 *                 only when its commit is known.
 *              R2 A lease is granted only to the view's primary, in the view's epoch, not below the
 *                 floor, and never with a CLAIM of ours outstanding.
 *              R3 CLAIM: in isr, nothing local in flight, primary unseen for T_drop, grace over.
 *              R5 A new role begins only when nothing of the old one is in flight.
 *              R6 ADD: gated, durable at everything acknowledged, lease held.
 *              R7 SWITCH: admission ends, everything is acknowledged by both, then it is proposed, and
 *                 nothing is served until cfg moves.
 *              R8 A proposal is resolved only by cfg moving; the same CAS is proposed again.
 *              J4 Before CLAIM the other isr member is asked for the longer journal.
 *              R9 A replaced disk is never believed: it adopts no epoch and claims none, though its
 *                 incarnation may be the same number; it follows until ADD names it.
 *              J10 A view below the floor is acted on by nobody.
 *              J11 An async site follows and never grants a lease; it is never in isr, so it never claims.
 * States.      IDLE, SECONDARY, CLAIMANT, OPENING, PRIMARY, FAILED: computed from the view and the
 *              facts at each step; only proposals, leases and hold-down are remembered.
 * Failure.     None: a pure function.
 * Limits.      Two sync sites (vg_pair_peer), any number of async ones.  Proposals are repeated every PROPOSE_RETRY_MS.
 */
#include "engine/quorum/rules.h"

#include <string.h>

#include "engine/base/assert.h"

#define PROPOSE_RETRY_MS 80u
#define PROPOSE_ABANDON_MS 5000u
#define HOLD_DOWN_MAX_MS 60000u
#define SYNC_LONG_MS 60000u

static uint64_t ms(uint64_t n);
static void rules_step_primary(struct rules *r, const struct rules_facts *f,
			       struct rules_effects *e);
static void rules_step_claimant(struct rules *r, const struct rules_facts *f,
				struct rules_effects *e);
static void rules_propose(struct rules *r, const struct rules_facts *f, struct rules_effects *e,
			  enum vg_cmd_kind kind, uint32_t site);
static uint32_t rules_isr_sites(const struct rules *r, const struct vg_view *v);
static void rules_wake_at(struct rules_effects *e, uint64_t when);
static void rules_check(const struct rules *r, const struct rules_facts *f,
			const struct rules_effects *e);

void rules_init(struct rules *r, const struct rules_opts *opts)
{
	memset(r, 0, sizeof(*r));
	r->o = *opts;
	r->role = RULES_IDLE;
	r->hold_ms = opts->hold_down_ms;
	r->primary_seen = opts->boot;
}

/* What the committed view makes of this site. */
static enum rules_role rules_role_of(const struct rules *r, const struct rules_facts *f)
{
	const struct vg_view *v = f->view;

	if (f->store_failed)
		return RULES_FAILED;
	if (v == NULL || vg_site_index(v, r->o.self) < 0)
		return RULES_IDLE;
	if (v->cfg < f->floor_cfg || v->epoch < f->floor_epoch)
		return RULES_IDLE; /* J10: stale */
	if (vg_is_primary(v, r->o.self, r->o.incarnation) ||
	    (r->o.mutant == RULES_MUTANT_ANY_INCARNATION && v->primary == r->o.self))
		return vg_is_replaced(v, r->o.self, &r->o.disk) ? RULES_SECONDARY /* R9 */
		       : f->opened				? RULES_PRIMARY
								: RULES_OPENING;
	if (r->o.mutant == RULES_MUTANT_OPEN_BEFORE_COMMIT && r->proposed &&
	    r->proposed_kind == VG_CLAIM)
		return f->opened ? RULES_PRIMARY : RULES_OPENING;
	return RULES_SECONDARY;
}

/* The re-claim of one's own group after a restart skips the grace, never J4 (R3). */
static bool rules_is_reclaim(const struct rules *r, const struct rules_facts *f)
{
	return f->view->primary == r->o.self && f->floor_epoch == f->view->epoch;
}

static bool rules_wants_claim(struct rules *r, const struct rules_facts *f, struct rules_effects *e)
{
	const struct vg_view *v = f->view;
	uint64_t now = f->now.v, wait = 0;
	uint64_t promise =
		r->o.old_promise_ms > r->o.grace_ms ? r->o.old_promise_ms : r->o.grace_ms;

	if (!vg_in_isr(v, r->o.self))
		return false;
	if (r->proposed && r->proposed_kind == VG_CLAIM && r->proposed_cfg == v->cfg)
		return true; /* R8: it may be committed already */
	if (vg_is_replaced(v, r->o.self, &r->o.disk) || (!f->has_replica && v->epoch > 1))
		return false; /* R9 */
	if (v->primary == r->o.self && (rules_is_reclaim(r, f) || v->epoch == 1))
		return true;
	if (!r->released) {
		uint64_t seen = f->take_over ? 0 : r->primary_seen.v + ms(r->o.drop_ms);
		uint64_t grant = r->last_grant.v != 0 ? r->last_grant.v + ms(r->o.grace_ms) : 0;
		uint64_t boot = r->o.boot.v + ms(promise);

		wait = seen > boot ? seen : boot;
		if (r->o.mutant == RULES_MUTANT_NO_GRACE)
			wait = seen;
		else if (grant > wait)
			wait = grant;
	}
	if (now < wait) {
		rules_wake_at(e, wait);
		return false;
	}
	return true;
}

void rules_step(struct rules *r, const struct rules_facts *f, struct rules_effects *e)
{
	const struct vg_view *v = f->view;
	enum rules_role was = r->role;

	memset(e, 0, sizeof(*e));
	e->next.v = UINT64_MAX;
	e->lease_until.v = 0;
	if (v != NULL && r->proposed && v->cfg > r->proposed_cfg)
		r->proposed = false; /* R8: resolved, whoever won */
	if (v != NULL && v->epoch != r->seen_epoch) {
		r->seen_epoch = v->epoch;
		r->lease_until.v = 0;
		r->gated = false;
		r->released = false;
		r->primary_seen = f->now; /* a new primary has its chance to be heard */
	}
	r->role = rules_role_of(r, f);
	if (r->role == RULES_SECONDARY && rules_wants_claim(r, f, e))
		r->role = RULES_CLAIMANT;
	switch (r->role) {
	case RULES_IDLE:
	case RULES_FAILED:
		e->quiesce = true;
		break;
	case RULES_SECONDARY:
		e->quiesce = was == RULES_PRIMARY || was == RULES_OPENING;
		e->set_floor = f->floor_epoch < v->epoch || f->floor_cfg < v->cfg;
		e->follow = f->floor_epoch >= v->epoch && v->primary != r->o.self;
		e->blocked = vg_is_sync(v, r->o.self) && !vg_in_isr(v, r->o.self) && !f->peer_up;
		break;
	case RULES_CLAIMANT:
		rules_step_claimant(r, f, e);
		break;
	case RULES_OPENING:
		e->set_floor = f->floor_epoch < v->epoch || f->floor_cfg < v->cfg;
		e->ack_mask = rules_isr_sites(r, v); /* R1: after a SWITCH the other counts, too */
		break;
	case RULES_PRIMARY:
		rules_step_primary(r, f, e);
		break;
	}
	e->role = r->role;
	rules_check(r, f, e);
}

static void rules_step_claimant(struct rules *r, const struct rules_facts *f,
				struct rules_effects *e)
{
	const struct vg_view *v = f->view;
	bool other_in_isr = vg_isr_count(v) > 1;
	bool outstanding = r->proposed && r->proposed_kind == VG_CLAIM;

	e->set_floor = f->floor_epoch < v->epoch || f->floor_cfg < v->cfg;
	if (!outstanding && other_in_isr && r->o.mutant != RULES_MUTANT_NO_TAIL) {
		if (f->tail != RULES_TAIL_DONE && f->tail != RULES_TAIL_SILENT) {
			e->ask_tail = true; /* J4 */
			rules_wake_at(e, f->now.v + ms(20));
			return;
		}
	}
	e->quiesce = true; /* R5, and no frames from now on */
	if (f->local_io && r->o.mutant != RULES_MUTANT_NO_QUIESCE) {
		rules_wake_at(e, f->now.v + ms(20));
		return;
	}
	if (f->floor_cfg < v->cfg) {
		rules_wake_at(e, f->now.v + ms(20)); /* J10 first */
		return;
	}
	rules_propose(r, f, e, VG_CLAIM, r->o.self);
}

/* Hold-down against flapping: QUORUM 4.8. */
static void rules_track_isr(struct rules *r, const struct rules_facts *f, uint32_t peer)
{
	bool in = vg_in_isr(f->view, peer);
	uint64_t now = f->now.v;

	if (in && !r->peer_in_isr)
		r->added_at = f->now;
	if (in && now - r->added_at.v > ms(SYNC_LONG_MS))
		r->hold_ms = r->o.hold_down_ms;
	if (!in && r->peer_in_isr) {
		r->hold_until.v = now + ms(r->hold_ms);
		r->hold_incarnation = f->peer_incarnation;
		if (now - r->added_at.v < ms(SYNC_LONG_MS))
			r->hold_ms = r->hold_ms * 2 > HOLD_DOWN_MAX_MS ? HOLD_DOWN_MAX_MS
								       : r->hold_ms * 2;
	}
	r->peer_in_isr = in;
}

static bool rules_wants_drop(struct rules *r, const struct rules_facts *f, struct rules_effects *e,
			     uint32_t peer)
{
	const struct vg_view *v = f->view;
	uint64_t drop = ms(r->o.drop_ms);

	if (f->source_short)
		return true; /* J3, whatever the policy: it does not hold what was acknowledged */
	if (f->peer_up && vg_is_replaced(v, peer, &f->peer_store))
		return true; /* the same: with that disk it would never claim (R9) */
	if (v->config.on_peer_loss == VG_PEER_LOSS_STOP || v->config.min_isr >= 2)
		return false;
	if (!f->peer_up) {
		if (f->peer_gone || f->now.v >= f->peer_heard.v + drop)
			return true;
		rules_wake_at(e, f->peer_heard.v + drop);
	}
	if (f->unacked_since.v != 0) {
		if (f->now.v >= f->unacked_since.v + drop)
			return true;
		rules_wake_at(e, f->unacked_since.v + drop);
	}
	return false;
}

static void rules_join(struct rules *r, const struct rules_facts *f, struct rules_effects *e,
		       uint32_t peer)
{
	const struct vg_view *v = f->view;
	const struct vg_site *s = &v->site[vg_site_index(v, peer)];
	bool skip = r->o.mutant == RULES_MUTANT_NO_GATE;

	if (!f->peer_up || !f->source_ready) {
		r->gated = false; /* R6: abort, a new session starts over */
		return;
	}
	if (r->hold_incarnation == f->peer_incarnation && f->now.v < r->hold_until.v) {
		e->hold_down_ms = (r->hold_until.v - f->now.v + MS_NS - 1) / MS_NS;
		rules_wake_at(e, r->hold_until.v);
		r->gated = false;
		return;
	}
	r->gated = !skip;
	if (!skip && f->source_durable.v < f->commit.v)
		return;
	if (f->now.v >= r->lease_until.v)
		return; /* the next grant wakes us */
	if (!uuid_equal(&s->replica, &f->peer_store)) {
		rules_propose(r, f, e, VG_DISK, peer);
		e->cmd.replica = f->peer_store;
		return;
	}
	rules_propose(r, f, e, VG_ADD, peer);
	e->cmd.replica = f->peer_store;
}

/* R7: is it time?  Looked at again soon: an operator waits. */
static void rules_switch(struct rules *r, const struct rules_facts *f, struct rules_effects *e,
			 uint32_t peer)
{
	bool drained = f->drained || r->o.mutant == RULES_MUTANT_NO_DRAIN;
	bool alive = f->peer_up && f->now.v < f->peer_heard.v + ms(r->o.lease_ms / 4);

	if (!alive || !f->source_ready || !drained || f->peer_incarnation == 0 ||
	    f->now.v >= r->lease_until.v) {
		rules_wake_at(e, f->now.v + ms(5));
		return;
	}
	r->switch_incarnation = f->peer_incarnation;
	rules_propose(r, f, e, VG_SWITCH, peer);
}

static bool rules_is_proposed(const struct rules *r, const struct vg_view *v, enum vg_cmd_kind kind)
{
	return r->proposed && r->proposed_kind == kind && r->proposed_cfg == v->cfg;
}

static void rules_step_primary(struct rules *r, const struct rules_facts *f,
			       struct rules_effects *e)
{
	const struct vg_view *v = f->view;
	uint32_t peer = vg_pair_peer(v, r->o.self);
	bool in_isr = peer != 0 && vg_in_isr(v, peer);
	bool leaving = in_isr && f->switch_to == peer;
	bool adding = rules_is_proposed(r, v, VG_ADD);
	bool needs;

	e->set_floor = f->floor_cfg < v->cfg;
	e->source = true;
	e->ping = v->site_count > 1; /* an async site is told the head */
	if (peer != 0) {
		rules_track_isr(r, f, peer);
		if (r->proposed && r->proposed_cfg == v->cfg)
			rules_propose(r, f, e, r->proposed_kind,
				      r->proposed_kind == VG_CLAIM ? r->o.self : peer); /* R8 */
		else if (in_isr && rules_wants_drop(r, f, e, peer))
			rules_propose(r, f, e, VG_DROP, peer);
		else if (leaving)
			rules_switch(r, f, e, peer);
		else if (!in_isr && v->site[vg_site_index(v, peer)].mode == VG_SITE_SYNC)
			rules_join(r, f, e, peer);
	}
	if (e->propose && (e->cmd.kind == VG_ADD || e->cmd.kind == VG_DISK))
		e->cmd.replica = f->peer_store;
	if (e->propose && e->cmd.kind == VG_SWITCH)
		e->cmd.incarnation = r->switch_incarnation;
	adding = adding || rules_is_proposed(r, v, VG_ADD);
	if (in_isr)
		r->gated = false;
	e->gate = r->gated;
	e->ack_mask = 1u << r->o.self; /* R1 */
	if (in_isr || r->gated || (adding && r->o.mutant != RULES_MUTANT_ADD_NOT_COUNTED))
		e->ack_mask |= 1u << peer;
	if (r->o.mutant == RULES_MUTANT_UNCONFIRMED_DROP && r->proposed &&
	    r->proposed_kind == VG_DROP)
		e->ack_mask = 1u << r->o.self;
	needs = in_isr || adding;
	e->lease_until = r->lease_until;
	if (!needs || r->o.mutant == RULES_MUTANT_NO_LEASE)
		e->lease_until.v = UINT64_MAX;
	e->may_read = f->now.v < e->lease_until.v;
	if (e->may_read && needs)
		rules_wake_at(e, e->lease_until.v);
	e->admit = v->config.min_isr < 2 || in_isr;
	if (r->o.mutant == RULES_MUTANT_NO_DRAIN)
		return;
	e->admit = e->admit && !leaving && !rules_is_proposed(r, v, VG_SWITCH);
	e->may_read = e->may_read && !rules_is_proposed(r, v, VG_SWITCH); /* R7 */
}

static void rules_propose(struct rules *r, const struct rules_facts *f, struct rules_effects *e,
			  enum vg_cmd_kind kind, uint32_t site)
{
	const struct vg_view *v = f->view;

	if (r->proposed && r->proposed_cfg == v->cfg && f->now.v < r->propose_next.v) {
		rules_wake_at(e, r->propose_next.v);
		return;
	}
	assert(!r->proposed || r->proposed_cfg != v->cfg || r->proposed_kind == kind); /* R8 */
	if (!r->proposed || r->proposed_cfg != v->cfg)
		r->proposed_since = f->now;
	r->proposed = true;
	r->proposed_kind = kind;
	r->proposed_cfg = v->cfg;
	r->propose_next.v = f->now.v + ms(PROPOSE_RETRY_MS);
	rules_wake_at(e, r->propose_next.v);
	e->propose = true;
	memset(&e->cmd, 0, sizeof(e->cmd));
	e->cmd.kind = kind;
	/* A command that the state machine refuses never moves cfg: abandon it by winning with
	 * another one at the same cfg. */
	if (f->now.v > r->proposed_since.v + ms(PROPOSE_ABANDON_MS))
		e->cmd.kind = VG_TOUCH;
	e->cmd.vg = v->vg;
	e->cmd.cfg = v->cfg;
	e->cmd.from = r->o.self;
	e->cmd.site = site;
	e->cmd.incarnation = r->o.incarnation;
}

bool rules_ping(struct rules *r, const struct rules_facts *f, uint32_t site, uint64_t epoch,
		uint64_t lease_ms, bool promise_durable)
{
	const struct vg_view *v = f->view;

	if (v == NULL || v->primary != site || v->epoch != epoch || site == r->o.self)
		return false;
	if (epoch < f->floor_epoch || v->cfg < f->floor_cfg || f->store_failed)
		return false; /* R2, R4 */
	if (r->proposed && r->proposed_kind == VG_CLAIM && r->proposed_cfg == v->cfg &&
	    r->o.mutant != RULES_MUTANT_GRANT_DURING_CLAIM)
		return false; /* R2 */
	if (f->take_over)
		return false; /* the grace runs from the last grant */
	if (r->role == RULES_CLAIMANT && r->o.mutant != RULES_MUTANT_GRANT_DURING_CLAIM) {
		/* not proposed yet: the primary is back, stand down */
		r->role = RULES_SECONDARY;
	}
	r->primary_seen = f->now;
	r->released = false;
	if (!vg_is_sync(v, r->o.self))
		return false; /* J11: what an async site says counts for nothing */
	if (lease_ms * 11 > r->o.grace_ms * 10 || !promise_durable)
		return false; /* 4.4: the lease belongs to the pair */
	r->last_grant = f->now;
	return true;
}

void rules_granted(struct rules *r, const struct vg_view *view, uint64_t epoch, struct mono_ns sent,
		   uint64_t lease_ms)
{
	if (view == NULL || view->epoch != epoch || view->primary != r->o.self)
		return;
	if (sent.v + ms(lease_ms) > r->lease_until.v)
		r->lease_until.v = sent.v + ms(lease_ms);
}

void rules_released(struct rules *r)
{
	r->released = true;
	r->last_grant.v = 0;
}

void rules_session_lost(struct rules *r, bool clean)
{
	r->gated = false;
	if (clean)
		r->hold_until.v = 0;
}

/* The committed in-sync set and this site, by site id. */
static uint32_t rules_isr_sites(const struct rules *r, const struct vg_view *v)
{
	uint32_t mask = 1u << r->o.self;

	for (uint32_t i = 0; i < v->site_count; i++)
		if ((v->isr >> i & 1u) != 0)
			mask |= 1u << v->site[i].id;
	return mask;
}

static void rules_wake_at(struct rules_effects *e, uint64_t when)
{
	if (when < e->next.v)
		e->next.v = when;
}

static uint64_t ms(uint64_t n)
{
	return n * MS_NS;
}

static void rules_check(const struct rules *r, const struct rules_facts *f,
			const struct rules_effects *e)
{
	if (r->o.mutant != RULES_MUTANT_NONE)
		return;
	assert(!e->follow || !(r->proposed && r->proposed_kind == VG_CLAIM &&
			       r->proposed_cfg == f->view->cfg)); /* R3 */
	assert(!e->admit || vg_is_primary(f->view, r->o.self, r->o.incarnation));
	assert(!e->may_read || e->role == RULES_PRIMARY);
	/* R1: every committed member counts. */
	for (uint32_t i = 0; e->role == RULES_PRIMARY && i < f->view->site_count; i++)
		assert((f->view->isr >> i & 1u) == 0 ||
		       (e->ack_mask >> f->view->site[i].id & 1u) != 0);
}
