/* SPDX-License-Identifier: Apache-2.0 */
/* tests/scenario/force.c: scenarios of a primary changed by hand: forced, or again and again. */
#include "tests/scenario/force.h"

#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/site_sim.h"

#define FOREVER (1000 * SEC_NS)

static struct client *client_of(struct sim *s)
{
	return s->clients[0];
}

static struct group_probe probe(struct sim *s, uint32_t site)
{
	struct group_probe p;

	memset(&p, 0, sizeof(p));
	if (sim_site_serving(&s->sites[site]))
		(void)conductor_group_probe(site_conductor(s->sites[site].site), &s->group, &p);
	return p;
}

static bool b_is_open(struct sim *s)
{
	return probe(s, 1).is_open;
}

static uint32_t isr_count(const struct sim *s)
{
	return (uint32_t)__builtin_popcount(s->newest.isr);
}

static bool isr_is_one(struct sim *s)
{
	return isr_count(s) == 1;
}

static bool client_moved(struct sim *s)
{
	return client_stats(client_of(s))->acked > s->acked_before + 5;
}

static void expect(struct sim *s, uint64_t ns, bool (*pred)(struct sim *s), const char *what)
{
	if (!sim_run(s, ns, pred))
		sim_fail(s, "not within %llu ms: %s", (unsigned long long)(ns / MS_NS), what);
}

static void expect_acks(struct sim *s, uint64_t ns, const char *when)
{
	s->acked_before = client_stats(client_of(s))->acked;
	expect(s, ns, client_moved, when);
}

static void cut(struct sim *s, uint32_t a, uint32_t b, bool on)
{
	world_cut(s->sites[a].node, s->sites[b].node, on);
	world_cut(s->sites[b].node, s->sites[a].node, on);
}

static bool role_is_answered(struct sim *s)
{
	int rc;

	return sim_role_answered(&s->sites[s->asked_site], &rc);
}

static bool asked_is_open(struct sim *s)
{
	return probe(s, s->asked_site).is_open;
}

/* BLOCKED: the in-sync site was lost alone; the other is forced; what only the lost one had is its branch. */
void forced_while_blocked(struct sim *s)
{
	sim_force(s, SCENARIO_VOLUME_BYTES, false);
	if (!s->failed && s->kinds[SIM_BRANCHES] != 1)
		sim_fail(s, "nothing was forced");
	client_resume(client_of(s));
	expect_acks(s, SEC_NS, "at the end");
}

/* The operator's word was wrong: the old primary goes on, cut off, and so two sites serve (P2). */
void forced_while_the_other_lives(struct sim *s)
{
	sim_force(s, SCENARIO_VOLUME_BYTES, true);
	if (!s->failed && s->kinds[SIM_BRANCHES] != 1)
		sim_fail(s, "nothing was forced");
	client_resume(client_of(s));
	expect_acks(s, SEC_NS, "at the end");
}

static bool b_follows(struct sim *s)
{
	struct replica *b = sim_site_replica(&s->sites[1]);
	struct replica_status st;

	if (b == NULL)
		return false;
	replica_status(b, &st);
	return st.tail.v > s->acked_before;
}

static bool a_is_down(struct sim *s)
{
	return !s->sites[0].node->up;
}

static int force_b(struct sim *s, bool accept, uint64_t bytes)
{
	int rc = -ERR_TIMEOUT;

	s->asked_site = 1;
	s->force_accept = accept;
	s->force_bytes = bytes;
	for (uint32_t i = 0; i < 5 && rc == -ERR_TIMEOUT && !s->failed; i++) {
		sim_ask_role(&s->sites[1], REQUEST_FAILOVER);
		expect(s, 10 * SEC_NS, role_is_answered, "the operator is answered");
		if (!sim_role_answered(&s->sites[1], &rc))
			rc = -ERR_TIMEOUT;
	}
	s->force_accept = false;
	return rc;
}

/* b is held down, and follows, when a stops cleanly: a said where it ended, so the loss is a number: none. */
void forced_with_a_known_loss(struct sim *s)
{
	struct replica_status st;
	const struct failover_loss *l;
	int rc;

	cut(s, 0, 1, true);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	if (sim_site_replica(&s->sites[1]) != NULL) {
		replica_status(sim_site_replica(&s->sites[1]), &st);
		s->acked_before = st.tail.v;
	}
	cut(s, 0, 1, false);
	expect(s, 20 * SEC_NS, b_follows, "b follows again");
	sim_run(s, 200 * MS_NS, NULL); /* it is held down, and not in sync */
	sim_site_stop(&s->sites[0], FOREVER);
	expect(s, 5 * SEC_NS, a_is_down, "a stops");
	sim_run(s, SEC_NS, NULL);
	if (isr_count(s) > 1 || s->newest.primary == 2)
		return; /* it was added in this moment: nothing to force */
	rc = force_b(s, false, 0);
	l = &s->sites[1].role->loss;
	if (!s->failed && (rc != -ERR_REFUSED || !l->stated || !l->bytes_known))
		sim_fail(s, "the loss is not known: %s: %s", err_name(rc), s->sites[1].role->text);
	if (!s->failed) {
		uint64_t bytes = l->bytes;

		s->force_on = true;
		if (bytes > 1 && force_b(s, true, bytes - 1) != -ERR_REFUSED)
			sim_fail(s, "less than the loss was enough");
		else if ((rc = force_b(s, true, bytes + 1)) != 0)
			sim_fail(s, "the loss was accepted: %s: %s", err_name(rc),
				 s->sites[1].role->text);
	}
	expect(s, 5 * SEC_NS, b_is_open, "b serves");
	sim_site_boot(&s->sites[0]);
	expect(s, 30 * SEC_NS, sim_is_in_sync, "a is back");
}

/* b, a, b in a row, each as soon as the one before serves. */
void promoted_demoted_promoted(struct sim *s)
{
	uint64_t begin = s->w->now, epoch = s->newest.epoch;

	for (uint32_t i = 0; i < 3 && !s->failed; i++) {
		int rc = -ERR_TIMEOUT;

		s->asked_site = s->newest.primary - 1;
		expect(s, 2 * SEC_NS, asked_is_open, "the new primary serves");
		for (uint32_t k = 0; k < 50 && rc != 0 && !s->failed; k++) {
			sim_ask_role(&s->sites[s->asked_site], REQUEST_SWITCHOVER);
			expect(s, 6 * SEC_NS, role_is_answered, "the operator is answered");
			if (!sim_role_answered(&s->sites[s->asked_site], &rc) || rc == 0)
				break;
			sim_run(s, 10 * MS_NS, NULL); /* busy: the new primary has just opened */
		}
	}
	if (!s->failed && s->newest.epoch != epoch + 3)
		sim_fail(s, "%llu changes of the primary, not 3, in %llu ms",
			 (unsigned long long)(s->newest.epoch - epoch),
			 (unsigned long long)((s->w->now - begin) / MS_NS));
	expect_acks(s, 12 * SEC_NS, "at the end");
}
