/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_sim.c: one seed: format, form, create; clients write through a storm of faults;
 * heal; liveness (I9); everything read back; both replicas equal; the primary killed, everything
 * read back from the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/site_sim.h"

#define STORM_NS (40 * SEC_NS)
#define VOLUME_BYTES (24ull << 20)
#define LIVE_NS (20 * SEC_NS)

static struct runner_kind kinds[SIM_KINDS] = {
	[SIM_ACKED] = {"writes acknowledged", 0, true},
	[SIM_READS] = {"reads checked", 0, true},
	[SIM_CONNECTS] = {"client connections", 0, true},
	[SIM_CRASH_POWER] = {"power failures", 0, true},
	[SIM_CRASH_KILL] = {"kills", 0, true},
	[SIM_CRASH_ALL] = {"all at once", 0, true},
	[SIM_CRASH_WITNESS] = {"witness crashes", 0, true},
	[SIM_TORN] = {"torn sectors", 0, true},
	[SIM_LOST] = {"lost sectors", 0, true},
	[SIM_PAUSE] = {"pauses", 0, true},
	[SIM_PAUSE_FROZEN] = {"pauses, clock frozen", 0, true},
	[SIM_CUT_AB] = {"cut A-B", 0, true},
	[SIM_CUT_A] = {"A isolated", 0, true},
	[SIM_CUT_B] = {"B isolated", 0, true},
	[SIM_CUT_W] = {"W isolated", 0, true},
	[SIM_CUT_ALL] = {"all cut", 0, true},
	[SIM_CUT_ONE_WAY] = {"one way cut", 0, true},
	[SIM_CUT_CLIENT] = {"client cut", 0, true},
	[SIM_LOSS] = {"loss", 0, true},
	[SIM_DELAY] = {"delay", 0, true},
	[SIM_SLOW_DISK] = {"slow disk", 0, true},
	[SIM_SLOW_QUORUM_DISK] = {"slow quorum disk", 0, true},
	[SIM_STUCK_DISK] = {"stuck disk", 0, true},
	[SIM_IO_FAILED] = {"failed I/O", 0, true},
	[SIM_BIT_FLIP] = {"bit flips", 0, true},
	[SIM_DRIFT] = {"clock drift", 0, true},
	[SIM_CLEAN_STOP] = {"clean stops", 0, true},
	[SIM_SWITCHOVER] = {"switchovers asked", 0, true},
	[SIM_TAKE_OVER] = {"failovers by hand asked", 0, true},
	[SIM_SWITCHED] = {"role changes by hand", 0, true},
	[SIM_EPOCHS] = {"epochs", 0, true},
	[SIM_ISR_CHANGES] = {"isr changes", 0, true},
	[SIM_OPENS] = {"opens", 0, true},
	[SIM_FOLDS] = {"folds", 0, true},
	[SIM_WRAPS] = {"journal went round", 0, true},
	[SIM_FULL_COPIES] = {"copies sent", 0, false},
	[SIM_COMPARES] = {"resyncs by comparison", 0, true},
	[SIM_COMPARES_RESUMED] = {"  begun with an earlier one's", 0, true},
	[SIM_SUBTREES_SKIPPED] = {"  subtrees passed over", 0, true},
	[SIM_STORE_RESTARTS] = {"restarts of failed sites", 0, true},
	[SIM_OLDER] = {"  of stores taken for older ones", 0, true},
	[SIM_DIGESTS_EQUAL] = {"digests equal", 0, true},
	[SIM_PASTS] = {"snapshots of the past asked for", 0, true},
	[SIM_PASTS_MADE] = {"made", 0, true},
	[SIM_PASTS_MISSING] = {"missing at a site", 0, false},
	[SIM_PASTS_EQUAL] = {"equal at both sites", 0, true},
	[SIM_REPAIRED] = {"rotten blocks repaired", 0, true},
	[SIM_REFUSED] = {"blocks rotten everywhere, refused", 0, true},
	[SIM_FORCED] = {"failovers forced", 0, true},
	[SIM_BRANCHES] = {"  branches found whole", 0, true},
	[SIM_THIRD_SEEDS] = {"seeds with a distant async site", 0, true},
	[SIM_THIRD_FAULTS] = {"  faults at it", 0, true},
	[SIM_THIRD_AUDITS] = {"  prefixes checked", 0, true},
	[SIM_THIRD_CAUGHT_UP] = {"  catch-ups", 0, true},
};

static void make_clients(struct sim *s, uint64_t seed)
{
	s->client_count = 1;
	for (uint32_t i = 0; i < s->client_count; i++) {
		struct client_opts o = {.export = "g/v",
					.address = {"tcp:a:10809", "tcp:b:10809"},
					.address_count = 2,
					.bytes = VOLUME_BYTES,
					.depth = (uint32_t)prng_range(&s->prng, 1, 24),
					.think_ns = prng_range(&s->prng, 1, 8) * MS_NS,
					.timeout_ns = prng_range(&s->prng, 2, 10) * SEC_NS,
					.seed = seed * 16 + i,
					.read_percent = 30,
					.trim_percent = 3,
					.zero_percent = 3,
					.flush_percent = 3,
					.fua_percent = 5,
					.align = 512,
					.max_bytes = 1u << 20,
					.hot_bytes = 1u << 20};

		snprintf(o.name, sizeof(o.name), "c%u", i + 1);
		s->clients[i] = client_new(s->w, &o);
		client_start(s->clients[i]);
	}
}

static bool all_verified(struct sim *s)
{
	for (uint32_t i = 0; i < s->client_count; i++) {
		if (!client_verified(s->clients[i]))
			return false;
	}
	return true;
}

static bool verify(struct sim *s, const char *when)
{
	for (uint32_t i = 0; i < s->client_count; i++)
		client_verify(s->clients[i]);
	if (!sim_run(s, 30 * SEC_NS, all_verified))
		sim_fail(s, "reading everything back %s does not end", when);
	return !s->failed;
}

static void describe(struct sim *s, char *text, size_t bytes)
{
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < SIM_SITES && n < bytes; i++) {
		struct group_status *g = calloc(1, sizeof(*g));

		assert(g != NULL);
		if (!sim_site_serving(&s->sites[i]))
			n += (size_t)snprintf(text + n, bytes - n, "; %s is not serving",
					      s->sites[i].name);
		else if (conductor_group_status(site_conductor(s->sites[i].site), 0, g))
			n += (size_t)snprintf(text + n, bytes - n,
					      "; %s: %s %s epoch %llu isr %x (%.80s)",
					      s->sites[i].name, group_role_word(g->role),
					      group_state_word(g->state),
					      (unsigned long long)g->epoch, g->isr_mask, g->reason);
		free(g);
	}
}

static uint64_t acked_count(const struct sim *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->client_count; i++)
		n += client_stats(s->clients[i])->acked;
	return n;
}

static bool acks_flow(struct sim *s)
{
	return acked_count(s) > s->acked_before + 20;
}

/* How long the primary still refuses to add its peer (QUORUM 4.8: I9 counts from its end). */
static uint64_t hold_down_ns(struct sim *s)
{
	struct group_status *g = calloc(1, sizeof(*g));
	uint64_t ms = 0;

	assert(g != NULL);
	for (uint32_t i = 0; i < SIM_SITES; i++) {
		if (!sim_site_serving(&s->sites[i]) ||
		    !conductor_group_status(site_conductor(s->sites[i].site), 0, g))
			continue;
		for (uint32_t k = 0; k < g->peer_count; k++)
			ms = g->peers[k].hold_down_ms > ms ? g->peers[k].hold_down_ms : ms;
	}
	free(g);
	return ms * MS_NS;
}

/* I9 */
static bool liveness(struct sim *s)
{
	char text[600];

	sim_run(s, 2 * SEC_NS, NULL); /* what is wrong now is known then */
	if (!sim_run(s, LIVE_NS + hold_down_ns(s), sim_is_in_sync) && !s->failed) {
		describe(s, text, sizeof(text));
		sim_fail(s, "I9: not in sync %llu s after healing%s",
			 (unsigned long long)(LIVE_NS / SEC_NS), text);
	}
	s->acked_before = acked_count(s);
	if (!s->failed && !sim_run(s, LIVE_NS, acks_flow)) {
		describe(s, text, sizeof(text));
		sim_fail(s, "I9: no acknowledgements %llu s after healing%s",
			 (unsigned long long)(LIVE_NS / SEC_NS), text);
	}
	return !s->failed;
}

static void nothing_step(struct op *op)
{
	(void)op;
}

static bool clients_idle(struct sim *s)
{
	for (uint32_t i = 0; i < s->client_count; i++) {
		if (!client_is_idle(s->clients[i]))
			return false;
	}
	return true;
}

/* Nothing is being written: both replicas hold the same. */
static bool digests_equal(struct sim *s)
{
	uint64_t digest[SIM_NODES] = {0};

	for (uint32_t i = 0; i < SIM_NODES; i++) {
		struct replica_digest q;
		struct op op;
		struct replica *r;
		uint64_t end = s->w->now + 60 * SEC_NS;

		if (s->sites[i].engine == NULL)
			continue; /* the witness; no third site */
		r = sim_site_replica(&s->sites[i]);
		if (r == NULL) {
			sim_fail(s, "no replica at %s", s->sites[i].name);
			return false;
		}
		memset(&q, 0, sizeof(q));
		op_init(&op, s->sites[i].engine->env.ready, nothing_step);
		completion_arm(&q.done, &op, 1);
		replica_digest(r, &q);
		while (op.waits != 0 && s->w->now < end && !s->failed && world_step(s->w))
			;
		world_settle(s->w);
		if (op.waits != 0 || q.done.rc != 0) {
			sim_fail(s, "the digest of %s: %s", s->sites[i].name,
				 op.waits != 0 ? "does not end" : err_name(q.done.rc));
			return false;
		}
		digest[i] = q.digest;
	}
	if (digest[0] != digest[1] || (s->has_third && digest[0] != digest[SIM_THIRD]))
		sim_fail(s, "the replicas differ: digests %016llx, %016llx, %016llx",
			 (unsigned long long)digest[0], (unsigned long long)digest[1],
			 (unsigned long long)digest[SIM_THIRD]);
	else
		s->kinds[SIM_DIGESTS_EQUAL]++;
	return !s->failed;
}

static struct sim_site *primary(struct sim *s)
{
	return &s->sites[s->newest.primary == 2 ? 1 : 0];
}

static void seed_flow(struct sim *s, uint64_t seed)
{
	s->frozen_clocks = false;
	s->fault_every = 2 * SEC_NS;
	if (!sim_setup(s, VOLUME_BYTES))
		return;
	for (uint32_t i = 0; i < SIM_SITES; i++) { /* from an NVMe disk to a bad cloud volume */
		s->sites[i].disk->write_ns *= 1u << prng_below(&s->prng, 6);
		s->sites[i].disk->flush_ns *= 1u << prng_below(&s->prng, 5);
		s->sites[i].disk->jitter_ns *= 1u << prng_below(&s->prng, 6);
	}
	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		world_set_drift(s->sites[i].node, (int32_t)prng_range(&s->prng, 0, 2000) - 1000);
	sim_past_setup(s, seed);
	make_clients(s, seed);
	sim_run(s, SEC_NS, NULL);
	s->faults_on = true;
	s->next_fault = s->w->now;
	sim_run(s, STORM_NS / 2, NULL);
	sim_third_audit(s, VOLUME_BYTES);
	sim_run(s, STORM_NS / 2, NULL);
	sim_third_audit(s, VOLUME_BYTES);
	sim_faults_heal(s);
	if (s->failed || !liveness(s))
		return;
	for (uint32_t i = 0; i < s->client_count; i++)
		client_quiesce(s->clients[i]);
	if (!sim_run(s, 20 * SEC_NS, clients_idle) && !s->failed)
		sim_fail(s, "requests are not answered");
	if (s->failed || !verify(s, "after the storm"))
		return;
	sim_run(s, 500 * MS_NS, NULL);
	sim_third_expect_caught_up(s, "after the storm");
	if (s->failed || !digests_equal(s))
		return;
	sim_past_check(s);
	if (s->failed)
		return;
	sim_rot(s, VOLUME_BYTES / BLOCK_BYTES);
	if (!s->failed && prng_below(&s->prng, 4) == 0 &&
	    sim_run(s, LIVE_NS + hold_down_ns(s), sim_is_in_sync)) {
		sim_force(s, VOLUME_BYTES, prng_below(&s->prng, 3) == 0);
		if (s->failed || s->force_ended || !digests_equal(s))
			return;
	}
	if (!s->failed && sim_run(s, LIVE_NS + hold_down_ns(s), sim_is_in_sync)) {
		sim_site_crash(primary(s), WORLD_CRASH_POWER, 600 * SEC_NS);
		verify(s, "after the last failover");
		sim_third_expect_caught_up(s, "after the last failover");
	}
}

static void run(const struct runner_opts *o, uint64_t seed, struct runner_result *ret)
{
	uint64_t counts[SIM_KINDS] = {0};
	struct sim *s = calloc(1, sizeof(*s));

	assert(s != NULL);
	s->kinds = counts;
	sim_set_mutant(s, o->mutant);
	sim_third_choose(s, seed);
	sim_past_choose(s, seed);
	s->kinds[SIM_THIRD_SEEDS] += s->has_third;
	sim_open(s, seed);
	seed_flow(s, seed);
	ret->failed = s->failed;
	memcpy(ret->what, s->what, sizeof(ret->what));
	ret->hash = s->w->hash;
	ret->sim_ns = s->w->now;
	for (uint32_t i = 0; i < s->client_count; i++) {
		const struct client_stats *st = client_stats(s->clients[i]);

		counts[SIM_ACKED] += st->acked;
		counts[SIM_READS] += st->reads;
		counts[SIM_CONNECTS] += st->connects;
	}
	counts[SIM_TORN] += s->w->stats.disk_torn_sectors;
	counts[SIM_LOST] += s->w->stats.disk_lost_sectors;
	sim_close(s); /* counts too */
	for (uint32_t i = 0; i < SIM_KINDS; i++)
		kinds[i].count += counts[i];
	free(s);
}

int main(int argc, char **argv)
{
	struct runner r = {.name = "sim_sites",
			   .mutants = sim_mutant_names,
			   .kinds = kinds,
			   .kind_count = SIM_KINDS,
			   .kinds_from = 50,
			   .run = run};

	return runner_main(&r, argc, argv);
}
