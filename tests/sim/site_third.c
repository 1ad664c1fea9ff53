/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_third.c: in a third of the seeds there is a distant site c, async, no member of the quorum,
 * 40 to 80 ms away, with loss.  It has faults of its own, beside those of the others.
 *
 * A1  It never holds a record that no primary had committed (QUORUM J11): nothing beyond what is acknowledged.
 * A2  No acknowledgement waits for it: it is never in an ack set (with the bounds of the scenarios, and I9).
 * A3  What it has committed is a prefix of the history, by content (oracle_prefix_check), also after any crash and
 *     while a full copy is made beside it (P3).
 * A4  Healed, it catches up, and is equal by digest; after the last failover it follows the new primary.
 */
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/node/config.h"
#include "tests/sim/site_sim.h"

#define THIRD SIM_THIRD
#define READ_BLOCKS 64u

static const struct {
	enum sim_kind kind;
	uint32_t weight, ms_min, ms_max;
} menu[] = {
	{SIM_CRASH_POWER, 6, 50, 4000}, {SIM_CRASH_KILL, 4, 50, 3000},
	{SIM_CLEAN_STOP, 2, 50, 2000},	{SIM_PAUSE, 4, 50, 4000},
	{SIM_CUT_A, 4, 50, 6000},	{SIM_CUT_B, 4, 50, 6000},
	{SIM_CUT_ALL, 6, 50, 9000},	{SIM_SLOW_DISK, 3, 200, 4000},
	{SIM_IO_FAILED, 2, 0, 0},
};

void sim_third_choose(struct sim *s, uint64_t seed)
{
	prng_init(&s->third_prng, seed, 61);
	s->has_third = prng_below(&s->third_prng, 3) == 0;
	s->third_ms = prng_range(&s->third_prng, 40, 80);
	s->third_loss = (uint32_t)prng_below(&s->third_prng, 20000);
}

uint32_t sim_third_id(void)
{
	return CONFIG_DISTANT_ID + 3; /* its place in the list of sites */
}

/* The others' faults set every link; this one's distance stays. */
static void links_set(struct sim *s)
{
	uint32_t c = s->sites[THIRD].node->id;

	for (uint32_t i = 0; i < s->w->node_count; i++) {
		struct world_link *l[2] = {&s->w->links[i][c], &s->w->links[c][i]};

		for (uint32_t k = 0; k < 2 && i != c; k++) {
			l[k]->latency_ns = s->third_ms * MS_NS / 2;
			l[k]->jitter_ns = s->third_ms * MS_NS / 20;
			l[k]->loss_ppm = s->third_loss;
		}
	}
}

static void cut_both(struct sim *s, uint32_t site, bool cut)
{
	world_cut(s->sites[site].node, s->sites[THIRD].node, cut);
	world_cut(s->sites[THIRD].node, s->sites[site].node, cut);
}

static void fault_end(struct sim *s)
{
	struct sim_site *x = &s->sites[THIRD];

	s->third_fault.active = false;
	if (s->third_fault.kind == SIM_PAUSE)
		world_resume(x->node);
	if (s->third_fault.kind == SIM_SLOW_DISK)
		x->disk->slow = 1;
	cut_both(s, 0, false);
	cut_both(s, 1, false);
}

static void fault_begin(struct sim *s)
{
	struct sim_site *x = &s->sites[THIRD];
	struct sim_fault *f = &s->third_fault;
	uint32_t total = 0, i;
	uint64_t pick, ns;

	for (i = 0; i < ARRAY_COUNT(menu); i++)
		total += menu[i].weight;
	pick = prng_below(&s->third_prng, total);
	for (i = 0; pick >= menu[i].weight; i++)
		pick -= menu[i].weight;
	ns = prng_range(&s->third_prng, menu[i].ms_min, menu[i].ms_max) * MS_NS;
	*f = (struct sim_fault){.kind = menu[i].kind, .until = s->w->now + ns, .active = true};
	s->kinds[SIM_THIRD_FAULTS]++;
	world_trace(s->w, 0x7468697264, (uint64_t)f->kind);
	sim_say(s, "fault at c: kind %d for %llu ms", (int)f->kind,
		(unsigned long long)(ns / MS_NS));
	switch ((int)f->kind) {
	case SIM_CRASH_POWER:
		if (prng_below(&s->third_prng, 2) == 0) {
			x->disk->faults.stop_nth = prng_range(&s->third_prng, 1, 300);
			x->stop_down_ns = ns;
			break;
		}
		sim_site_crash(x, WORLD_CRASH_POWER, ns);
		break;
	case SIM_CRASH_KILL:
		sim_site_crash(x, WORLD_CRASH_KILL, ns);
		break;
	case SIM_CLEAN_STOP:
		sim_site_stop(x, ns);
		break;
	case SIM_PAUSE:
		world_pause(x->node, false);
		break;
	case SIM_CUT_A:
		cut_both(s, 0, true);
		break;
	case SIM_CUT_B:
		cut_both(s, 1, true);
		break;
	case SIM_CUT_ALL:
		cut_both(s, 0, true);
		cut_both(s, 1, true);
		break;
	case SIM_SLOW_DISK:
		x->disk->slow = (uint32_t)prng_range(&s->third_prng, 10, 300);
		break;
	case SIM_IO_FAILED:
		x->disk->faults.fail_nth = prng_range(&s->third_prng, 1, 200);
		x->disk->faults.fail_kinds = (1u << DISK_WRITE) | (1u << DISK_FLUSH);
		break;
	default:
		break;
	}
}

void sim_third_tick(struct sim *s)
{
	if (!s->has_third)
		return;
	links_set(s);
	sim_tick_site(&s->sites[THIRD]);
	if (s->third_fault.active && s->w->now >= s->third_fault.until)
		fault_end(s);
	if (!s->faults_on || s->third_fault.active || s->w->now < s->third_next)
		return;
	fault_begin(s);
	s->third_next = s->third_fault.until + prng_below(&s->third_prng, 3 * s->fault_every);
}

void sim_third_heal(struct sim *s)
{
	struct sim_site *x = &s->sites[THIRD];

	if (!s->has_third)
		return;
	if (s->third_fault.active)
		fault_end(s);
	x->disk->faults.fail_nth = x->disk->faults.stop_nth = 0;
	if (!x->node->up && x->down_until > s->w->now)
		x->down_until = s->w->now;
}

/* A1, A2: after every event. */
void sim_third_check(struct sim *s)
{
	struct replica *r = sim_site_replica(&s->sites[THIRD]);
	struct replica_status st;

	for (uint32_t i = 0; i < SIM_SITES; i++) {
		struct group_probe p;

		if (sim_site_serving(&s->sites[i]) &&
		    conductor_group_probe(site_conductor(s->sites[i].site), &s->group, &p) &&
		    (p.ack_mask >> sim_third_id() & 1u) != 0)
			sim_fail(s, "A2: %s waits for the async site", s->sites[i].name);
	}
	if (r == NULL)
		return;
	replica_status(r, &st);
	if (st.tail.v > s->acked.v)
		sim_fail(s, "A1: the async site has records up to %llu, acknowledged is %llu",
			 (unsigned long long)st.tail.v, (unsigned long long)s->acked.v);
}

static void nothing_step(struct op *op)
{
	(void)op;
}

static bool third_has_volume(struct sim *s)
{
	struct replica *r = sim_site_replica(&s->sites[THIRD]);
	static struct replica_volume v[VOLUMES_MAX];

	return r != NULL && replica_volumes(r, v, VOLUMES_MAX) > 0;
}

static bool third_read(struct sim *s, uint8_t *data, uint64_t blocks)
{
	struct sim_site *x = &s->sites[THIRD];

	for (uint64_t b = 0; b < blocks; b += READ_BLOCKS) {
		struct replica_read rd = {.block = b,
					  .count = READ_BLOCKS,
					  .data = data + b * BLOCK_BYTES,
					  .no_repair = true};
		uint32_t lives = x->node->lives;
		struct op op;

		if (sim_site_replica(x) == NULL)
			return false;
		op_init(&op, x->engine->env.ready, nothing_step);
		completion_arm(&rd.done, &op, 1);
		replica_read(sim_site_replica(x), &rd);
		while (op.waits != 0 && !s->failed && x->node->up && x->node->lives == lives &&
		       world_step(s->w))
			;
		if (op.waits != 0 || !x->node->up || x->node->lives != lives)
			return false; /* it went down meanwhile */
		world_settle(s->w);
		if (rd.done.rc != 0) {
			sim_fail(s, "A3: the async site cannot read its copy at block %llu: %s",
				 (unsigned long long)b, err_name(rd.done.rc));
			return false;
		}
	}
	return true;
}

/* A3: cut off, so that nothing changes meanwhile; the others go on. */
void sim_third_audit(struct sim *s, uint64_t volume_bytes)
{
	struct oracle *o = client_oracle(s->clients[0]);
	uint8_t *data;
	bool faults = s->faults_on;

	if (!s->has_third || s->failed)
		return;
	s->faults_on = false;
	sim_third_heal(s);
	cut_both(s, 0, true);
	cut_both(s, 1, true);
	sim_run(s, 2 * SEC_NS, NULL); /* it is up, and its sessions are over */
	data = aligned_alloc(4096, volume_bytes);
	assert(data != NULL);
	if (!s->failed && third_has_volume(s) && third_read(s, data, volume_bytes / BLOCK_BYTES)) {
		if (!oracle_prefix_check(o, volume_bytes, data))
			sim_fail(s, "A3: the async site is no prefix: %s", oracle_error(o));
		else
			s->kinds[SIM_THIRD_AUDITS]++;
	}
	free(data);
	cut_both(s, 0, false);
	cut_both(s, 1, false);
	s->faults_on = faults;
}

static bool third_caught_up(struct sim *s)
{
	struct replica *r = sim_site_replica(&s->sites[THIRD]), *p = NULL;
	struct replica_status mine, theirs;

	if (s->newest.primary >= 1 && s->newest.primary <= SIM_SITES)
		p = sim_site_replica(&s->sites[s->newest.primary - 1]);
	if (r == NULL || p == NULL)
		return false;
	replica_status(r, &mine);
	replica_status(p, &theirs);
	return mine.commit.v == theirs.commit.v && theirs.commit.v == theirs.tail.v &&
	       mine.tail_chain == theirs.tail_chain;
}

/* A4: nothing is being written. */
void sim_third_expect_caught_up(struct sim *s, const char *when)
{
	if (!s->has_third || s->failed)
		return;
	if (!sim_run(s, 40 * SEC_NS, third_caught_up) && !s->failed)
		sim_fail(s, "A4: the async site has not caught up 40 s %s", when);
	else
		s->kinds[SIM_THIRD_CAUGHT_UP]++;
}
