/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/site_faults.c: which fault, when, for how long; all by the seed. */
#include "proto/store.h"
#include "tests/sim/site_sim.h"

static const struct {
	enum sim_kind kind;
	uint32_t weight;
	uint32_t ms_min, ms_max;
} menu[] = {
	{SIM_CRASH_POWER, 12, 50, 4000},
	{SIM_CRASH_KILL, 10, 50, 3000},
	{SIM_CRASH_ALL, 4, 50, 2000},
	{SIM_CRASH_WITNESS, 4, 50, 4000},
	{SIM_PAUSE, 10, 50, 2500},
	{SIM_PAUSE_FROZEN, 2, 50, 2000},
	{SIM_CUT_AB, 8, 50, 4000},
	{SIM_CUT_A, 7, 50, 4000},
	{SIM_CUT_B, 6, 50, 4000},
	{SIM_CUT_W, 4, 50, 4000},
	{SIM_CUT_ALL, 3, 50, 3000},
	{SIM_CUT_ONE_WAY, 8, 50, 3000},
	{SIM_CUT_CLIENT, 5, 50, 3000},
	{SIM_LOSS, 5, 200, 4000},
	{SIM_DELAY, 4, 200, 3000},
	{SIM_SLOW_DISK, 5, 200, 3000},
	{SIM_SLOW_QUORUM_DISK, 3, 200, 2000},
	{SIM_STUCK_DISK, 3, 200, 14000},
	{SIM_IO_FAILED, 3, 0, 0},
	{SIM_BIT_FLIP, 3, 0, 0},
	{SIM_DRIFT, 3, 0, 0},
	{SIM_CLEAN_STOP, 4, 50, 2000},
	{SIM_SWITCHOVER, 8, 0, 0},
	{SIM_TAKE_OVER, 3, 0, 0},
};

static void cut_both(struct sim *s, uint32_t a, uint32_t b, bool cut)
{
	world_cut(s->sites[a].node, s->sites[b].node, cut);
	world_cut(s->sites[b].node, s->sites[a].node, cut);
}

static void cut_clients(struct sim *s, uint32_t site, bool cut)
{
	for (uint32_t i = 0; i < s->client_count; i++) {
		world_cut(client_node(s->clients[i]), s->sites[site].node, cut);
		world_cut(s->sites[site].node, client_node(s->clients[i]), cut);
	}
}

static void loss_set(struct sim *s, uint32_t ppm)
{
	for (uint32_t i = 0; i < s->w->node_count; i++) {
		for (uint32_t k = 0; k < s->w->node_count; k++)
			s->w->links[i][k].loss_ppm = i == k ? 0 : ppm;
	}
}

static void delay_set(struct sim *s, uint64_t latency, uint64_t jitter, uint64_t bytes_per_sec)
{
	for (uint32_t i = 0; i < s->w->node_count; i++) {
		for (uint32_t k = 0; k < s->w->node_count; k++) {
			if (i == k)
				continue;
			s->w->links[i][k].latency_ns = latency;
			s->w->links[i][k].jitter_ns = jitter;
			s->w->links[i][k].bytes_per_sec = bytes_per_sec;
		}
	}
}

static void apply_cuts(struct sim *s, enum sim_kind kind, uint32_t subject, bool cut)
{
	switch ((int)kind) {
	case SIM_CUT_AB:
		cut_both(s, 0, 1, cut);
		break;
	case SIM_CUT_A:
		cut_both(s, 0, 1, cut);
		cut_both(s, 0, 2, cut);
		break;
	case SIM_CUT_B:
		cut_both(s, 1, 0, cut);
		cut_both(s, 1, 2, cut);
		break;
	case SIM_CUT_W:
		cut_both(s, 2, 0, cut);
		cut_both(s, 2, 1, cut);
		break;
	case SIM_CUT_ALL:
		cut_both(s, 0, 1, cut);
		cut_both(s, 0, 2, cut);
		cut_both(s, 1, 2, cut);
		break;
	case SIM_CUT_ONE_WAY: {
		uint32_t from = subject % 3, to = (from + 1 + subject / 3 % 2) % 3;

		world_cut(s->sites[from].node, s->sites[to].node, cut);
		break;
	}
	case SIM_CUT_CLIENT:
		cut_clients(s, subject % SIM_SITES, cut);
		break;
	default:
		break;
	}
}

/* Overlapping cuts: what is still active is cut again after one ends. */
static void reapply_cuts(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++) {
		if (s->faults[i].active)
			apply_cuts(s, s->faults[i].kind, s->faults[i].subject, true);
	}
}

static void fault_end(struct sim *s, struct sim_fault *f)
{
	struct sim_site *x = &s->sites[f->subject % SIM_MEMBERS];

	f->active = false;
	switch ((int)f->kind) {
	case SIM_PAUSE:
	case SIM_PAUSE_FROZEN:
		world_resume(x->node);
		break;
	case SIM_LOSS:
		loss_set(s, 0);
		break;
	case SIM_DELAY:
		delay_set(s, 100000, 50000, 0);
		break;
	case SIM_SLOW_DISK:
		s->sites[f->subject % SIM_SITES].disk->slow = 1;
		break;
	case SIM_STUCK_DISK:
		sim_disk_unstick(s->sites[f->subject % SIM_SITES].disk);
		break;
	case SIM_SLOW_QUORUM_DISK:
		x->qdisk->slow = 1;
		break;
	default:
		apply_cuts(s, f->kind, f->subject, false);
		reapply_cuts(s);
		break;
	}
}

/* Faults that go on for a while; false: it is a single blow. */
static bool fault_lasting(struct sim *s, const struct sim_fault *f)
{
	struct sim_site *x = &s->sites[f->subject % SIM_MEMBERS];

	switch ((int)f->kind) {
	case SIM_PAUSE:
		world_pause(x->node, false);
		return true;
	case SIM_PAUSE_FROZEN:
		world_pause(x->node, true);
		return true;
	case SIM_LOSS:
		loss_set(s, (uint32_t)prng_range(&s->prng, 5000, 150000));
		return true;
	case SIM_DELAY:
		delay_set(s, prng_range(&s->prng, 1, 40) * MS_NS,
			  prng_range(&s->prng, 0, 20) * MS_NS,
			  prng_below(&s->prng, 2) ? prng_range(&s->prng, 1, 20) * 1000000 : 0);
		return true;
	case SIM_SLOW_DISK:
		s->sites[f->subject % SIM_SITES].disk->slow =
			(uint32_t)prng_range(&s->prng, 10, 300);
		return true;
	case SIM_STUCK_DISK:
		s->sites[f->subject % SIM_SITES].disk->faults.stuck = true;
		return true;
	case SIM_SLOW_QUORUM_DISK:
		x->qdisk->slow = (uint32_t)prng_range(&s->prng, 10, 500);
		return true;
	case SIM_CUT_AB:
	case SIM_CUT_A:
	case SIM_CUT_B:
	case SIM_CUT_W:
	case SIM_CUT_ALL:
	case SIM_CUT_ONE_WAY:
	case SIM_CUT_CLIENT:
		apply_cuts(s, f->kind, f->subject, true);
		return true;
	default:
		return false;
	}
}

/* A bit where other copies make it good: a superblock or the floors beside it. */
static void flip_bit(struct sim *s, uint32_t site)
{
	struct sim_disk *d = s->sites[site].disk;
	uint64_t off =
		super_region_off(d->disk.bytes, (uint32_t)prng_below(&s->prng, SUPER_COPIES));

	off += prng_below(&s->prng, prng_below(&s->prng, 2) ? 256 : 16384);
	sim_disk_flip(d, off, (uint32_t)prng_below(&s->prng, 8));
	s->sites[site].flipped = true;
}

static void fault_blow(struct sim *s, const struct sim_fault *f, uint64_t ns)
{
	struct sim_site *site = &s->sites[f->subject % SIM_SITES];

	switch ((int)f->kind) {
	case SIM_CRASH_POWER:
		if (prng_below(&s->prng, 3) == 0) {
			sim_site_crash(site, WORLD_CRASH_POWER, ns);
			break;
		}
		/* in the middle of its work: the power fails at an I/O soon (sim_check sees it) */
		site->disk->faults.stop_nth = prng_range(&s->prng, 1, 300);
		site->stop_down_ns = ns;
		break;
	case SIM_CRASH_KILL:
		sim_site_crash(site, WORLD_CRASH_KILL, ns);
		break;
	case SIM_CRASH_WITNESS:
		sim_site_crash(&s->sites[2],
			       prng_below(&s->prng, 2) ? WORLD_CRASH_POWER : WORLD_CRASH_KILL, ns);
		break;
	case SIM_CRASH_ALL:
		for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
			if (i == 2 && prng_below(&s->prng, 2))
				continue;
			sim_site_crash(&s->sites[i], WORLD_CRASH_POWER,
				       prng_below(&s->prng, 2) ? ns : prng_below(&s->prng, ns + 1));
		}
		break;
	case SIM_CLEAN_STOP:
		sim_site_stop(site, ns);
		break;
	case SIM_SWITCHOVER:
		/* mostly where it can happen; elsewhere it must be refused */
		if (s->newest.primary >= 1 && s->newest.primary <= SIM_SITES &&
		    prng_below(&s->prng, 8) != 0)
			site = &s->sites[s->newest.primary - 1];
		sim_ask_role(site, REQUEST_SWITCHOVER);
		break;
	case SIM_TAKE_OVER:
		sim_ask_role(site, REQUEST_FAILOVER);
		break;
	case SIM_IO_FAILED:
		site->disk->faults.fail_nth = prng_range(&s->prng, 1, 200);
		site->disk->faults.fail_kinds = (1u << DISK_WRITE) | (1u << DISK_FLUSH);
		break;
	case SIM_BIT_FLIP:
		if (!site->flipped)
			flip_bit(s, f->subject % SIM_SITES);
		break;
	case SIM_DRIFT:
		world_set_drift(s->sites[f->subject % SIM_MEMBERS].node,
				(int32_t)prng_range(&s->prng, 0, 2000) - 1000);
		break;
	default:
		break;
	}
}

static void fault_begin(struct sim *s)
{
	uint32_t total = 0, i;
	struct sim_fault *f = NULL;
	uint64_t pick, ns;

	for (i = 0; i < SIM_FAULTS_MAX && f == NULL; i++) {
		if (!s->faults[i].active)
			f = &s->faults[i];
	}
	if (f == NULL)
		return;
	for (i = 0; i < ARRAY_COUNT(menu); i++)
		total += menu[i].weight;
	pick = prng_below(&s->prng, total);
	for (i = 0; pick >= menu[i].weight; i++)
		pick -= menu[i].weight;
	f->kind = menu[i].kind;
	f->subject = (uint32_t)prng_below(&s->prng, 6);
	if (f->kind == SIM_PAUSE_FROZEN && !s->frozen_clocks)
		f->subject = 2; /* the witness only: elsewhere reads may be stale (QUORUM 4.4) */
	ns = prng_range(&s->prng, menu[i].ms_min, menu[i].ms_max) * MS_NS;
	if (prng_below(&s->prng, 3) == 0)
		ns /= 8;
	s->kinds[f->kind]++;
	world_trace(s->w, 0x6661756c74, (uint64_t)f->kind << 32 | f->subject);
	if (s->w->log_level >= 0)
		sim_say(s, "fault: kind %d subject %u for %llu ms", (int)f->kind, f->subject,
			(unsigned long long)(ns / MS_NS));
	if (fault_lasting(s, f)) {
		f->active = true;
		f->until = s->w->now + ns;
	} else {
		fault_blow(s, f, ns);
	}
}

void sim_faults_tick(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++) {
		if (s->faults[i].active && s->w->now >= s->faults[i].until)
			fault_end(s, &s->faults[i]);
	}
	if (!s->faults_on || s->w->now < s->next_fault)
		return;
	fault_begin(s);
	s->next_fault = s->w->now + prng_below(&s->prng, 2 * s->fault_every);
}

void sim_faults_heal(struct sim *s)
{
	s->faults_on = false;
	sim_third_heal(s);
	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++) {
		if (s->faults[i].active)
			fault_end(s, &s->faults[i]);
	}
	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		struct sim_site *x = &s->sites[i];

		if (x->disk != NULL)
			x->disk->faults.fail_nth = x->disk->faults.stop_nth = 0;
		if (!x->node->up && x->down_until > s->w->now)
			x->down_until = s->w->now;
	}
}
