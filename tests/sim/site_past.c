/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_past.c: an operator goes back in time, again and again, while everything happens.  The group
 * of every fourth seed keeps a history.  In the end what both sites have of a moment is the same.  It draws
 * from a generator of its own, so that other seeds stay what they were.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/snapshot.h"
#include "tests/sim/site_sim.h"

#define EVERY_NS (4 * SEC_NS)
#define AGE_NS_MAX (6 * SEC_NS)
#define MAKE_NS (60 * SEC_NS)
#define HISTORY_BYTES (3u << 20)
#define SNAPS_MAX 2u /* each may hold as much as the volume */

static void nothing_step(struct op *op)
{
	(void)op;
}

static struct conductor_request *ask_new(struct sim *s, struct sim_site *x, enum request_kind kind)
{
	if (s->past == NULL)
		s->past = malloc(sizeof(*s->past));
	assert(s->past != NULL);
	memset(s->past, 0, sizeof(*s->past));
	s->past->kind = kind;
	s->past->deadline_ms = 5000;
	op_init(&s->past_op, x->engine->env.ready, nothing_step);
	completion_arm(&s->past->done, &s->past_op, 1);
	s->past_site = x;
	return s->past;
}

static bool answered(struct sim *s)
{
	return s->past_op.waits == 0;
}

void sim_past_choose(struct sim *s, uint64_t seed)
{
	s->pasts = seed % 4 == 1;
}

void sim_past_setup(struct sim *s, uint64_t seed)
{
	struct conductor_request *r;

	if (!s->pasts)
		return;
	prng_init(&s->past_prng, seed, 62);
	r = ask_new(s, &s->sites[0], REQUEST_GROUP_SET);
	snprintf(r->group.name, sizeof(r->group.name), "g");
	r->set_history = true;
	r->group.history_bytes = HISTORY_BYTES;
	conductor_submit(site_conductor(s->sites[0].site), r);
	if (!sim_run(s, 20 * SEC_NS, answered) || r->done.rc != 0)
		sim_fail(s, "setting the history: %s", err_name(r->done.rc));
	s->past_next = s->w->now + SEC_NS;
}

/* The site crashed, or is about to be forgotten: nobody answers. */
void sim_past_crashed(struct sim *s, const struct sim_site *x)
{
	if (s->past_site == x)
		s->past_op.waits = 0;
}

void sim_past_tick(struct sim *s)
{
	struct sim_site *x = &s->sites[s->newest.primary == 2 ? 1 : 0];
	struct conductor_request *r;
	struct snapshot_info oldest;
	bool full;

	if (!s->pasts || s->w->now < s->past_next || !answered(s) || !sim_site_serving(x) ||
	    x->stopping)
		return;
	if (s->past != NULL && s->past->kind == REQUEST_SNAPSHOT_CREATE)
		s->kinds[SIM_PASTS_MADE] += s->past->done.rc == 0;
	s->past_next = s->w->now + prng_below(&s->past_prng, 2 * EVERY_NS);
	if (sim_site_replica(x) == NULL)
		return;
	full = replica_snapshots(sim_site_replica(x), NULL, 0) >= SNAPS_MAX;
	r = ask_new(s, x, full ? REQUEST_SNAPSHOT_DELETE : REQUEST_SNAPSHOT_CREATE);
	snprintf(r->snapshot.group, sizeof(r->snapshot.group), "g");
	if (full && replica_snapshot_at(sim_site_replica(x), 0, &oldest)) {
		snprintf(r->snapshot.name, sizeof(r->snapshot.name), "%s", oldest.name);
		conductor_submit(site_conductor(x->site), r);
		s->past_next = s->w->now + SEC_NS / 2;
		return;
	}
	snprintf(r->snapshot.name, sizeof(r->snapshot.name), "p%llu",
		 (unsigned long long)++s->past_names);
	r->snapshot.at = SNAPSHOT_AT_AGE;
	r->snapshot.at_age_ns = prng_below(&s->past_prng, AGE_NS_MAX);
	conductor_submit(site_conductor(x->site), r);
	s->kinds[SIM_PASTS]++;
}

static bool none_in_the_making(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_SITES; i++) {
		struct replica *r = sim_site_replica(&s->sites[i]);
		struct snapshot_info info;

		if (r == NULL)
			return false;
		for (uint32_t k = 0; replica_snapshot_at(r, k, &info); k++)
			if (info.past)
				return false;
	}
	return true;
}

static uint64_t digest_at(struct sim *s, struct sim_site *x, const struct uuid *uuid)
{
	struct snapshot *snap = NULL;
	struct completion done;
	struct op op;
	uint64_t digest = 0, end = s->w->now + MAKE_NS;

	op_init(&op, x->engine->env.ready, nothing_step);
	completion_arm(&done, &op, 1);
	replica_snapshot_open(sim_site_replica(x), uuid, &snap, &done);
	while (op.waits != 0 && s->w->now < end && !s->failed && world_step(s->w))
		;
	world_settle(s->w);
	if (snap == NULL) {
		sim_fail(s, "a snapshot cannot be opened at %s: %s", x->name, err_name(done.rc));
		return 0;
	}
	digest = snapshot_digest(snap);
	replica_snapshot_close(&snap);
	world_settle(s->w);
	return digest;
}

/* Healed, in sync, nothing is being written. */
void sim_past_check(struct sim *s)
{
	struct snapshot_info a, b;

	if (!s->pasts || s->failed)
		return;
	s->pasts = false;
	if (!sim_run(s, 20 * SEC_NS, answered) || !sim_run(s, MAKE_NS, none_in_the_making)) {
		sim_fail(s, "a snapshot of the past is neither made nor missing");
		return;
	}
	for (uint32_t k = 0; !s->failed; k++) {
		uint64_t digest[SIM_SITES];

		if (!replica_snapshot_at(sim_site_replica(&s->sites[0]), k, &a))
			break;
		if (replica_snapshot_by_uuid(sim_site_replica(&s->sites[1]), &a.uuid, &b) < 0)
			continue; /* a full copy brings none */
		if (a.lsn.v != b.lsn.v || strcmp(a.name, b.name) != 0)
			sim_fail(s, "snapshot %s is of LSN %llu, and at b %s of %llu", a.name,
				 (unsigned long long)a.lsn.v, b.name, (unsigned long long)b.lsn.v);
		s->kinds[SIM_PASTS_MISSING] += a.missing + b.missing;
		if (s->failed || a.missing || b.missing)
			continue;
		for (uint32_t i = 0; i < SIM_SITES && !s->failed; i++)
			digest[i] = digest_at(s, &s->sites[i], &a.uuid);
		if (s->failed)
			break;
		if (digest[0] != digest[1])
			sim_fail(s, "snapshot %s of LSN %llu differs: digests %016llx, %016llx",
				 a.name, (unsigned long long)a.lsn.v, (unsigned long long)digest[0],
				 (unsigned long long)digest[1]);
		s->kinds[SIM_PASTS_EQUAL]++;
	}
}
