/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_force.c: the in-sync site is lost alone, an operator forces the other one with the loss accepted, the
 * lost one returns (QUORUM J6, J14; DESIGN.md P2, P5, P6).
 *
 * F1  Without acceptance it is refused, with the loss stated; it is unknown.
 * F2  What opens is an earlier moment of the same history, whole; the content generation is higher.
 * F3  What was acknowledged at the lost site is found again there, as a branch, byte for byte, once, whatever crashes while
 *     it returns; and both sites end equal.
 * F4  A lost site that was alive after all (fenced in the operator's word only) stops when it hears of it, and F3 holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/snapshot.h"
#include "tests/sim/site_sim.h"

#define READ_BLOCKS 256u
#define FOREVER (1000 * SEC_NS)

struct force {
	struct sim *s;
	struct sim_site *lost, *stale;
	uint64_t bytes;
	uint8_t *kept, *now; /* what the lost one had; a volume being looked at */
	bool alive;	     /* the lost one is only cut off */
	uint64_t generation;
};

static void nothing_step(struct op *op)
{
	(void)op;
}

static void find_branch(struct force *f);

static bool isr_is_one(struct sim *s)
{
	return __builtin_popcount(s->newest.isr) == 1;
}

static bool idle(struct sim *s)
{
	return client_is_idle(s->clients[0]);
}

static bool verified(struct sim *s)
{
	return client_verified(s->clients[0]);
}

static bool moved(struct sim *s)
{
	return client_stats(s->clients[0])->acked > s->acked_before + 5;
}

static bool wait_op(struct sim *s, struct op *op, uint64_t ns)
{
	uint64_t end = s->w->now + ns;

	while (op->waits != 0 && s->w->now < end && !s->failed && world_step(s->w))
		;
	world_settle(s->w);
	if (op->waits != 0)
		sim_fail(s, "force: something of the store does not end");
	return op->waits == 0;
}

/* All of the volume as it is at x, or of a snapshot there. */
static bool read_all(struct force *f, struct sim_site *x, struct snapshot *snap, uint8_t *data)
{
	for (uint64_t b = 0; b < f->bytes / BLOCK_BYTES; b += READ_BLOCKS) {
		struct replica_read rd = {
			.block = b, .count = READ_BLOCKS, .data = data + b * BLOCK_BYTES};
		struct op op;

		if (sim_site_replica(x) == NULL) {
			sim_fail(f->s, "force: %s has no replica", x->name);
			return false;
		}
		op_init(&op, x->engine->env.ready, nothing_step);
		completion_arm(&rd.done, &op, 1);
		if (snap != NULL)
			snapshot_read(snap, &rd);
		else
			replica_read(sim_site_replica(x), &rd);
		if (!wait_op(f->s, &op, 20 * SEC_NS))
			return false;
		if (rd.done.rc != 0) {
			sim_fail(f->s, "force: %s cannot be read: %s", x->name,
				 err_name(rd.done.rc));
			return false;
		}
	}
	return true;
}

static uint64_t generation_at(struct sim_site *x, enum group_state *ret_state)
{
	struct group_status *g = calloc(1, sizeof(*g));
	uint64_t n = 0;

	assert(g != NULL);
	*ret_state = GROUP_STARTING;
	if (sim_site_serving(x) && conductor_group_status(site_conductor(x->site), 0, g)) {
		n = g->content_generation;
		*ret_state = g->state;
	}
	free(g);
	return n;
}

static void cut_off(struct force *f, bool on)
{
	struct sim *s = f->s;
	struct world_node *x = f->lost->node;

	for (uint32_t i = 0; i < s->w->node_count; i++) {
		if (s->w->nodes[i] == x)
			continue;
		world_cut(x, s->w->nodes[i], on);
		world_cut(s->w->nodes[i], x, on);
	}
}

/* The stale one goes, the other goes on alone, is looked at, and is lost. */
static bool lose(struct force *f)
{
	struct sim *s = f->s;
	enum group_state state;

	client_resume(s->clients[0]);
	sim_run(s, prng_range(&s->prng, 20, 300) * MS_NS, NULL);
	sim_site_crash(f->stale, prng_below(&s->prng, 2) ? WORLD_CRASH_POWER : WORLD_CRASH_KILL,
		       FOREVER);
	if (!sim_run(s, 20 * SEC_NS, isr_is_one))
		sim_fail(s, "force: the dead site is not dropped");
	s->acked_before = client_stats(s->clients[0])->acked;
	if (!s->failed && !sim_run(s, 20 * SEC_NS, moved))
		sim_fail(s, "force: no acknowledgement alone");
	sim_run(s, prng_range(&s->prng, 0, 2000) * MS_NS, NULL);
	client_quiesce(s->clients[0]);
	if (!s->failed && !sim_run(s, 20 * SEC_NS, idle))
		sim_fail(s, "force: requests are not answered");
	if (s->failed || !read_all(f, f->lost, NULL, f->kept))
		return false;
	if (!oracle_content_check(client_oracle(s->clients[0]), s->w->now, 0, f->bytes, f->kept))
		sim_fail(s, "force: before the loss: %s",
			 oracle_error(client_oracle(s->clients[0])));
	f->generation = generation_at(f->lost, &state);
	if (f->alive)
		cut_off(f, true);
	else
		sim_site_crash(f->lost,
			       prng_below(&s->prng, 2) ? WORLD_CRASH_POWER : WORLD_CRASH_KILL,
			       FOREVER);
	return !s->failed;
}

static bool is_blocked(struct sim *s)
{
	enum group_state state;

	for (uint32_t i = 0; i < SIM_SITES; i++) {
		(void)generation_at(&s->sites[i], &state);
		if (state == GROUP_BLOCKED &&
		    authority_has_quorum(site_authority(s->sites[i].site)))
			return true;
	}
	return false;
}

static bool answered(struct sim *s)
{
	int rc;

	for (uint32_t i = 0; i < SIM_SITES; i++)
		if (s->sites[i].asked && sim_role_answered(&s->sites[i], &rc))
			return true;
	return false;
}

static int ask(struct force *f, bool accept)
{
	struct sim *s = f->s;
	int rc = -ERR_TIMEOUT;

	s->force_accept = accept;
	f->stale->asked = true;
	sim_ask_role(f->stale, REQUEST_FAILOVER);
	if (!sim_run(s, 20 * SEC_NS, answered) && !s->failed)
		sim_fail(s, "force: the operator gets no answer");
	if (!sim_role_answered(f->stale, &rc))
		rc = -ERR_TIMEOUT;
	f->stale->asked = false;
	s->force_accept = false;
	return rc;
}

/* F1, F2. */
static bool promote(struct force *f)
{
	struct sim *s = f->s;
	struct oracle *o = client_oracle(s->clients[0]);
	enum group_state state;
	int rc = 0;

	sim_site_boot(f->stale);
	if (!sim_run(s, 20 * SEC_NS, is_blocked) && !s->failed)
		sim_fail(s, "force: %s is not blocked", f->stale->name);
	if (!s->failed)
		rc = ask(f, false);
	if (!s->failed &&
	    (rc != -ERR_REFUSED || !f->stale->role->loss.stated ||
	     f->stale->role->loss.bytes_known || f->stale->role->loss.fence_count != 1))
		sim_fail(s, "F1: asked without acceptance: %s, %s", err_name(rc),
			 f->stale->role->text);
	for (uint32_t i = 0; i < 5 && !s->failed; i++) {
		rc = ask(f, true);
		if (rc == 0)
			break;
	}
	if (!s->failed && rc != 0)
		sim_fail(s, "force: %s: %s", err_name(rc), f->stale->role->text);
	if (s->failed || !read_all(f, f->stale, NULL, f->now))
		return false;
	if (!oracle_prefix_check(o, f->bytes, f->now))
		sim_fail(s, "F2: what was forced open is no moment of the past: %s",
			 oracle_error(o));
	if (!s->failed && generation_at(f->stale, &state) <= f->generation)
		sim_fail(s, "F2: the content generation has not been raised");
	oracle_adopt(o, f->bytes, f->now);
	s->kinds[SIM_FORCED]++;
	return !s->failed;
}

/* Branch and copy do not fit beside each other: nothing is lost, and the site stays behind. */
static bool has_no_room(struct force *f)
{
	struct store_status st;

	if (sim_site_replica(f->lost) == NULL)
		return false;
	store_status(site_store(f->lost->site), &st);
	return st.free_bytes < 2 * f->bytes;
}

/* It returns, and falls again now and then. */
static bool come_back(struct force *f)
{
	struct sim *s = f->s;
	uint32_t falls = (uint32_t)prng_below(&s->prng, 4);

	client_resume(s->clients[0]);
	s->acked_before = client_stats(s->clients[0])->acked;
	if (!sim_run(s, 40 * SEC_NS, moved) && !s->failed)
		sim_fail(s, "force: no acknowledgement after it");
	if (f->alive)
		cut_off(f, false);
	else
		sim_site_boot(f->lost);
	for (uint32_t i = 0; i < falls && !s->failed; i++) {
		sim_run(s, prng_range(&s->prng, 1, 600) * MS_NS, NULL);
		sim_site_crash(f->lost,
			       prng_below(&s->prng, 2) ? WORLD_CRASH_POWER : WORLD_CRASH_KILL,
			       FOREVER);
		sim_run(s, 100 * MS_NS, NULL);
		sim_site_boot(f->lost);
	}
	sim_run(s, 2 * SEC_NS, NULL); /* what is wrong now is known then, and restarted */
	if (!s->failed && !sim_run(s, 120 * SEC_NS, sim_is_in_sync) && !s->failed &&
	    has_no_room(f)) {
		find_branch(
			f); /* it stays behind, with all that it had: an operator must make room */
		s->force_ended = true;
		return false;
	}
	if (!s->failed && !sim_is_in_sync(s))
		sim_fail(s, "F3: not in sync 120 s after the lost site is back");
	client_quiesce(s->clients[0]);
	if (!s->failed && !sim_run(s, 20 * SEC_NS, idle))
		sim_fail(s, "force: requests are not answered");
	client_verify(s->clients[0]);
	if (!s->failed && !sim_run(s, 30 * SEC_NS, verified))
		sim_fail(s, "force: reading everything back does not end");
	return !s->failed;
}

/* What only this site has goes: the branch, and what was taken in the fork. */
static void drop_branches(struct force *f, struct replica *r)
{
	struct snapshot_info info;

	for (uint32_t i = 0; replica_snapshot_at(r, i, &info);) {
		struct completion done;
		struct op op;

		i++;
		if ((info.flags & RECORD_SNAP_BRANCH) == 0)
			continue;
		op_init(&op, f->lost->engine->env.ready, nothing_step);
		completion_arm(&done, &op, 1);
		if (replica_branch_delete(r, &info.uuid, &done) < 0 ||
		    !wait_op(f->s, &op, 20 * SEC_NS))
			return;
		i = 0;
	}
}

/* F3 */
static void find_branch(struct force *f)
{
	struct sim *s = f->s;
	struct replica *r = sim_site_replica(f->lost);
	struct snapshot_info info, branch = {0};
	struct completion done;
	struct snapshot *snap;
	uint32_t branches = 0;
	struct op op;

	for (uint32_t i = 0; r != NULL && replica_snapshot_at(r, i, &info); i++) {
		if ((info.flags & RECORD_SNAP_BRANCH) == 0 || strncmp(info.name, "branch-", 7) != 0)
			continue; /* else a snapshot that was taken in the fork */
		branch = info;
		branches++;
	}
	if (branches != 1) {
		sim_fail(s, "F3: %s has %u branches, not one", f->lost->name, branches);
		return;
	}
	op_init(&op, f->lost->engine->env.ready, nothing_step);
	completion_arm(&done, &op, 1);
	replica_snapshot_open(r, &branch.uuid, &snap, &done);
	if (!wait_op(s, &op, 20 * SEC_NS))
		return;
	if (done.rc != 0) {
		sim_fail(s, "F3: the branch cannot be opened: %s", err_name(done.rc));
		return;
	}
	if (read_all(f, f->lost, snap, f->now) && memcmp(f->now, f->kept, f->bytes) != 0)
		sim_fail(s, "F3: the branch is not what was acknowledged at %s", f->lost->name);
	replica_snapshot_close(&snap);
	drop_branches(f, r);
	s->kinds[SIM_BRANCHES] += !s->failed;
}

void sim_force(struct sim *s, uint64_t volume_bytes, bool alive)
{
	struct force f = {.s = s, .bytes = volume_bytes, .alive = alive};

	if (s->has_third ||
	    !sim_is_in_sync(s)) /* a third site has histories of its own: not looked at here */
		return;
	f.lost = &s->sites[s->newest.primary - 1];
	f.stale = &s->sites[s->newest.primary == 1 ? 1 : 0];
	f.kept = aligned_alloc(4096, volume_bytes);
	f.now = aligned_alloc(4096, volume_bytes);
	assert(f.kept != NULL && f.now != NULL);
	s->force_on = true;
	s->force_alive = alive;
	if (lose(&f) && promote(&f) && come_back(&f))
		find_branch(&f);
	s->force_on = s->force_alive = false;
	free(f.kept);
	free(f.now);
}
