/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_check.c: invariants after every event (QUORUM 4.7).
 *
 * I1  at most one site serves (open, with a lease or needing none) at a time
 * I2  every member of the committed isr holds everything acknowledged (by LSN; blocks by the oracle)
 * I3  primary in isr, isr not empty, cfg and epoch only grow, one boot of one site per epoch
 * I4, I5 are the oracle's (client.c); I9 is site_sim.c's, after healing
 * I7  floors only grow, also over crashes, and are not above the newest epoch
 * I8  a cfg means the same state at every member
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/site_sim.h"

/* --- I3, I8 --- */

static struct sim_cfg *cfg_find(struct sim *s, uint64_t cfg)
{
	uint32_t lo = 0, hi = s->cfg_count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (s->cfgs[mid].cfg < cfg)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < s->cfg_count && s->cfgs[lo].cfg == cfg)
		return &s->cfgs[lo];
	if (s->cfg_count == s->cfg_room) {
		s->cfg_room = s->cfg_room == 0 ? 64 : s->cfg_room * 2;
		s->cfgs = realloc(s->cfgs, s->cfg_room * sizeof(*s->cfgs));
		assert(s->cfgs != NULL);
	}
	memmove(s->cfgs + lo + 1, s->cfgs + lo, (s->cfg_count - lo) * sizeof(*s->cfgs));
	s->cfg_count++;
	s->cfgs[lo] = (struct sim_cfg){.cfg = cfg};
	return &s->cfgs[lo];
}

static void check_epoch_holder(struct sim *s, const struct vg_view *v)
{
	for (uint32_t i = s->epoch_count; i > 0; i--) {
		const struct sim_epoch *e = &s->epochs[i - 1];

		if (e->number != v->epoch)
			continue;
		if (e->site != v->primary || e->incarnation != v->primary_incarnation)
			sim_fail(
				s,
				"I3: epoch %llu has two holders: site %u boot %llu and site %u boot %llu",
				(unsigned long long)v->epoch, e->site,
				(unsigned long long)e->incarnation, v->primary,
				(unsigned long long)v->primary_incarnation);
		return;
	}
	if (s->epoch_count == SIM_EPOCHS_MAX)
		return;
	s->epochs[s->epoch_count++] = (struct sim_epoch){
		.number = v->epoch, .incarnation = v->primary_incarnation, .site = v->primary};
	s->kinds[SIM_EPOCHS]++;
}

static void check_new_cfg(struct sim *s, const struct vg_view *v, struct sim_cfg *c)
{
	*c = (struct sim_cfg){.cfg = v->cfg,
			      .epoch = v->epoch,
			      .incarnation = v->primary_incarnation,
			      .primary = v->primary,
			      .isr = v->isr};
	if (v->isr == 0 || !vg_in_isr(v, v->primary))
		sim_fail(s, "I3: cfg %llu: primary %u is not in isr %x", (unsigned long long)v->cfg,
			 v->primary, v->isr);
	check_epoch_holder(s, v);
	if (v->last_forced_epoch == v->epoch && v->epoch > s->newest.epoch) {
		if (!s->force_on)
			sim_fail(s, "I4: nobody forced epoch %llu", (unsigned long long)v->epoch);
		s->acked.v = 0; /* the loss was declared: site_force.c looks at what is lost */
		s->forced_epoch = v->epoch;
	}
	if (c != s->cfgs && c[-1].epoch > c->epoch)
		sim_fail(s, "I3: the epoch fell at cfg %llu", (unsigned long long)v->cfg);
	if (v->cfg > s->newest.cfg) {
		if (s->newest.isr != v->isr)
			s->kinds[SIM_ISR_CHANGES]++;
		s->newest = *c;
	}
}

static void check_view(struct sim_site *x)
{
	struct sim *s = x->sim;
	const struct vg_view *v = authority_view(site_authority(x->site), &s->group);
	struct sim_cfg *c;

	if (v == NULL || v->cfg == x->seen_cfg)
		return;
	if (v->cfg < x->seen_cfg || v->epoch < x->seen_epoch)
		sim_fail(s, "I3: the view of %s went back from cfg %llu epoch %llu to %llu, %llu",
			 x->name, (unsigned long long)x->seen_cfg,
			 (unsigned long long)x->seen_epoch, (unsigned long long)v->cfg,
			 (unsigned long long)v->epoch);
	x->seen_cfg = v->cfg;
	x->seen_epoch = v->epoch;
	c = cfg_find(s, v->cfg);
	if (c->epoch == 0)
		check_new_cfg(s, v, c);
	else if (c->epoch != v->epoch || c->primary != v->primary || c->isr != v->isr ||
		 c->incarnation != v->primary_incarnation)
		sim_fail(s, "I8: cfg %llu is not the same at every member",
			 (unsigned long long)v->cfg);
}

/* --- I1, I2 --- */

static void check_serving(struct sim *s)
{
	struct group_probe p[SIM_SITES];
	bool serves[SIM_SITES] = {false, false};

	memset(p, 0, sizeof(p));
	for (uint32_t i = 0; i < SIM_SITES; i++) {
		struct sim_site *x = &s->sites[i];

		if (!sim_site_serving(x) || x->node->paused ||
		    !conductor_group_probe(site_conductor(x->site), &s->group, &p[i]))
			continue;
		serves[i] = p[i].is_open && p[i].has_lease;
		if (p[i].is_open && p[i].epoch >= s->opened_epoch &&
		    p[i].epoch >= s->forced_epoch && p[i].commit.v > s->acked.v)
			s->acked = p[i].commit;
		if (p[i].is_open && p[i].epoch > s->opened_epoch) {
			s->opened_epoch = p[i].epoch;
			s->kinds[SIM_OPENS]++;
			if (p[i].commit.v < s->acked.v)
				sim_fail(
					s,
					"I4: %s opened epoch %llu at commit %llu, acknowledged was %llu",
					x->name, (unsigned long long)p[i].epoch,
					(unsigned long long)p[i].commit.v,
					(unsigned long long)s->acked.v);
		}
	}
	if (serves[0] && serves[1] && !s->frozen_clocks && !s->force_alive)
		sim_fail(s, "I1: both sites serve: epochs %llu and %llu",
			 (unsigned long long)p[0].epoch, (unsigned long long)p[1].epoch);
}

static void check_isr_holds(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_SITES; i++) {
		struct sim_site *x = &s->sites[i];
		struct replica *r = sim_site_replica(x);
		const struct vg_view *v;
		struct replica_status st;
		int index;

		if (r == NULL)
			continue;
		v = authority_view(site_authority(x->site), &s->group);
		if (v == NULL)
			continue;
		index = vg_site_index(v, x->id);
		if (index < 0 || (s->newest.isr >> index & 1u) == 0)
			continue;
		replica_status(r, &st);
		if (st.durable.v >= s->acked.v)
			x->rotten = false;
		else if (!x->rotten)
			sim_fail(
				s,
				"I2: %s is in isr (cfg %llu) durable at %llu, acknowledged is %llu",
				x->name, (unsigned long long)s->newest.cfg,
				(unsigned long long)st.durable.v, (unsigned long long)s->acked.v);
	}
}

/* --- I7 --- */

static void check_floor(struct sim_site *x)
{
	struct store_floor f;

	store_floor_get(site_store(x->site), &x->sim->group, &f);
	if (f.epoch < x->floor.epoch || f.cfg < x->floor.cfg)
		sim_fail(x->sim, "I7: the floor of %s went back from {%llu, %llu} to {%llu, %llu}",
			 x->name, (unsigned long long)x->floor.epoch,
			 (unsigned long long)x->floor.cfg, (unsigned long long)f.epoch,
			 (unsigned long long)f.cfg);
	x->floor = f;
	if (f.epoch > x->sim->newest.epoch)
		sim_fail(x->sim, "I7: the floor of %s is epoch %llu, the newest committed is %llu",
			 x->name, (unsigned long long)f.epoch,
			 (unsigned long long)x->sim->newest.epoch);
}

/* I8: one leader per term. */
void sim_check_leader(struct sim_site *x)
{
	struct sim *s = x->sim;
	struct member_status st;

	if (!x->node->up || x->node->paused || x->member == NULL)
		return;
	member_status(x->member, &st);
	if (st.state != MEMBER_RUNNING || st.leader != st.self || st.term >= SIM_TERMS_MAX)
		return;
	if (s->leader_of[st.term] != 0 && s->leader_of[st.term] != st.self)
		sim_fail(s, "I8: term %llu has two leaders, %u and %u", (unsigned long long)st.term,
			 s->leader_of[st.term], st.self);
	if (s->leader_of[st.term] == 0)
		sim_say(s, "%s leads in term %llu", x->name, (unsigned long long)st.term);
	s->leader_of[st.term] = (uint8_t)st.self;
}

void sim_check(struct world *w, void *ctx)
{
	struct sim *s = ctx;

	if (s->checked_stamp == w->stamp || s->failed)
		return;
	s->checked_stamp = w->stamp;
	for (uint32_t i = 0; i < SIM_NODES; i++) {
		if (s->sites[i].disk == NULL || !s->sites[i].disk->faults.stopped)
			continue;
		/* What it learnt in this very step counts: its floor may be on the disk already. */
		if (s->group_known && sim_site_serving(&s->sites[i]))
			check_view(&s->sites[i]);
		sim_site_crash(&s->sites[i], WORLD_CRASH_POWER, s->sites[i].stop_down_ns);
	}
	for (uint32_t i = 0; i < s->client_count; i++) {
		if (client_violation(s->clients[i]) != NULL)
			sim_fail(s, "%s", client_violation(s->clients[i]));
	}
	if (!s->group_known)
		return;
	for (uint32_t i = 0; i < SIM_NODES; i++) {
		if (s->sites[i].engine != NULL && sim_site_serving(&s->sites[i]))
			check_view(&s->sites[i]);
	}
	for (uint32_t i = 0; i < SIM_NODES; i++) {
		if (s->sites[i].engine != NULL && sim_site_serving(&s->sites[i]))
			check_floor(&s->sites[i]);
	}
	check_serving(s);
	check_isr_holds(s);
	if (s->has_third)
		sim_third_check(s);
}

bool sim_is_in_sync(struct sim *s)
{
	uint32_t open = 0;

	for (uint32_t i = 0; i < SIM_SITES; i++) {
		struct sim_site *x = &s->sites[i];
		const struct vg_view *v;
		struct group_probe p;

		if (!sim_site_serving(x))
			return false;
		v = authority_view(site_authority(x->site), &s->group);
		if (v == NULL || v->cfg != s->newest.cfg || vg_isr_count(v) != SIM_SITES)
			return false;
		if (conductor_group_probe(site_conductor(x->site), &s->group, &p) && p.is_open &&
		    p.has_lease)
			open++;
	}
	return open == 1;
}
