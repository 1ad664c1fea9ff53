/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/scenario/scenarios.c: the table of QUORUM 4.5, each line as a script on the simulator.
 *
 * Site a is primary, b is in sync, w is the witness, one client writes all the time.  Times are
 * virtual; the bounds are those of QUORUM 4.8 with default timers.  Every scenario ends with
 * everything healed, in sync, and all content read back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "proto/record.h"
#include "proto/repl.h"
#include "tests/scenario/force.h"
#include "tests/sim/site_sim.h"

#define VOLUME_BYTES SCENARIO_VOLUME_BYTES

/* A power failure in the middle of these leaves their small control objects behind, with the replica they
 * hold: nobody but they knows them.  (Read by the leak sanitizer, where there is one.) */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:replica_stage_switch\nleak:replica_life.c\n";
}

struct scenario {
	const char *name;
	void (*act)(struct sim *s);
	bool alone; /* one site stays out: an operator must decide */
	bool older; /* a is of a version that sends full copies only */
	bool third; /* c is there, distant and async */
};

/* --- words of the scripts --- */

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

static bool witness_leads(struct sim *s)
{
	struct member_status st;

	member_status(s->sites[2].member, &st);
	return st.leader == 3;
}

/* Writes are acknowledged within ns from now. */
static void expect_acks(struct sim *s, uint64_t ns, const char *when)
{
	s->acked_before = client_stats(client_of(s))->acked;
	if (!sim_run(s, ns, client_moved))
		sim_fail(s, "no write is acknowledged within %llu ms %s",
			 (unsigned long long)(ns / MS_NS), when);
}

static void expect_no_acks(struct sim *s, uint64_t ns, const char *when)
{
	sim_run(s, 50 * MS_NS, NULL); /* what is on its way arrives */
	s->acked_before = client_stats(client_of(s))->acked;
	sim_run(s, ns, NULL);
	if (client_stats(client_of(s))->acked > s->acked_before)
		sim_fail(s, "writes are acknowledged %s", when);
}

static void expect(struct sim *s, uint64_t ns, bool (*pred)(struct sim *s), const char *what)
{
	if (!sim_run(s, ns, pred))
		sim_fail(s, "not within %llu ms: %s", (unsigned long long)(ns / MS_NS), what);
}

static void expect_epoch_kept(struct sim *s, uint64_t epoch, uint64_t ns, const char *when)
{
	sim_run(s, ns, NULL);
	if (s->newest.epoch != epoch)
		sim_fail(s, "the primary changed %s", when);
}

static void expect_gap(struct sim *s, uint64_t since, uint64_t ns)
{
	uint64_t at = client_stats(client_of(s))->last_write_ack;

	(void)since;
	if (client_stats(client_of(s))->gap_max > ns)
		sim_fail(s, "writes stood still for %llu ms, allowed are %llu (last at %llu ms)",
			 (unsigned long long)(client_stats(client_of(s))->gap_max / MS_NS),
			 (unsigned long long)(ns / MS_NS), (unsigned long long)(at / MS_NS));
}

static void cut(struct sim *s, uint32_t a, uint32_t b, bool on)
{
	world_cut(s->sites[a].node, s->sites[b].node, on);
	world_cut(s->sites[b].node, s->sites[a].node, on);
}

static void cut_from_client(struct sim *s, uint32_t a, bool on)
{
	world_cut(s->sites[a].node, client_node(client_of(s)), on);
	world_cut(client_node(client_of(s)), s->sites[a].node, on);
}

static void heal(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		world_resume(s->sites[i].node);
		for (uint32_t k = 0; k < SIM_MEMBERS; k++)
			cut(s, i, k, false);
	}
	for (uint32_t i = 0; i < SIM_SITES; i++)
		cut_from_client(s, i, false);
	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		if (!s->sites[i].node->up)
			sim_site_boot(&s->sites[i]);
	}
}

#define FOREVER (1000 * SEC_NS)

/* --- the scenarios --- */

static void witness_dies(struct sim *s)
{
	uint64_t epoch = s->newest.epoch;

	sim_site_crash(&s->sites[2], WORLD_CRASH_POWER, FOREVER);
	expect_acks(s, 300 * MS_NS, "without the witness");
	expect_epoch_kept(s, epoch, 3 * SEC_NS, "because the witness died");
	expect_gap(s, 0, 300 * MS_NS);
}

static void primary_dies(struct sim *s)
{
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
	expect_acks(s, 12 * SEC_NS, "after b took over");
}

static void primary_is_killed(struct sim *s)
{
	sim_site_crash(&s->sites[0], WORLD_CRASH_KILL, FOREVER);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
	expect_acks(s, 700 * MS_NS, "after b took over");
	expect_gap(s, 0, 2000 * MS_NS);
}

static void primary_dies_and_returns_at_once(struct sim *s)
{
	sim_site_crash(&s->sites[0], WORLD_CRASH_KILL, 20 * MS_NS);
	expect_acks(s, 3 * SEC_NS, "after a quick restart");
}

/* disk_stall: neither an answer nor an error for 10 s is a failure. */
static void disk_of_the_primary_gets_stuck(struct sim *s)
{
	s->sites[0].disk->faults.stuck = true;
	expect_epoch_kept(s, s->newest.epoch, 9 * SEC_NS, "while the disk had time left");
	expect(s, 3500 * MS_NS, b_is_open, "b takes over");
	expect_acks(s, 12 * SEC_NS, "at b");
	sim_disk_unstick(s->sites[0].disk);
}

static void disk_of_the_secondary_gets_stuck(struct sim *s)
{
	uint64_t epoch = s->newest.epoch;

	s->sites[1].disk->faults.stuck = true;
	expect(s, 1300 * MS_NS, isr_is_one, "b is dropped");
	expect_acks(s, 300 * MS_NS, "without b");
	expect_epoch_kept(s, epoch, 13 * SEC_NS, "because the disk of b got stuck");
	sim_disk_unstick(s->sites[1].disk);
}

static void primary_is_isolated(struct sim *s)
{
	cut(s, 0, 1, true);
	cut(s, 0, 2, true);
	cut_from_client(s, 0, true);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
	expect_acks(s, 12 * SEC_NS, "at b");
	if (probe(s, 0).is_open && probe(s, 0).has_lease)
		sim_fail(s, "a still serves");
}

static void primary_freezes_and_thaws(struct sim *s)
{
	world_pause(s->sites[0].node, false);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
	expect_acks(s, 12 * SEC_NS, "at b");
	world_resume(s->sites[0].node);
	sim_run(s, 100 * MS_NS, NULL);
	if (probe(s, 0).is_open)
		sim_fail(s, "the thawed primary is open");
	sim_run(s, 2 * SEC_NS, NULL);
}

static void link_between_sites_is_cut(struct sim *s)
{
	uint64_t epoch = s->newest.epoch;

	cut(s, 0, 1, true);
	expect(s, 1000 * MS_NS, isr_is_one, "a drops b");
	expect_acks(s, 500 * MS_NS, "at a alone");
	expect_epoch_kept(s, epoch, 3 * SEC_NS, "although a and w see each other");
	expect_gap(s, 0, 1300 * MS_NS);
}

static void secondary_dies(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	expect_acks(s, 500 * MS_NS, "at a alone");
}

static void secondary_then_witness_die(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	sim_site_crash(&s->sites[2], WORLD_CRASH_POWER, FOREVER);
	expect_acks(s, 500 * MS_NS, "at a alone without a quorum");
	sim_run(s, 3 * SEC_NS, NULL);
	expect_acks(s, 500 * MS_NS, "later on");
}

static void witness_then_primary_die(struct sim *s)
{
	sim_site_crash(&s->sites[2], WORLD_CRASH_POWER, FOREVER);
	sim_run(s, 500 * MS_NS, NULL);
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	expect_no_acks(s, 4 * SEC_NS, "without a quorum");
}

static void primary_dies_while_alone(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	expect_acks(s, 500 * MS_NS, "at a alone");
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	sim_site_boot(&s->sites[1]);
	expect_no_acks(s, 4 * SEC_NS, "at b, which is not in the in-sync set");
	if (probe(s, 1).is_open)
		sim_fail(s, "b opened although it is not in the in-sync set");
}

static void everything_restarts(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		sim_site_crash(&s->sites[i], WORLD_CRASH_POWER, 100 * MS_NS);
	expect_acks(s, 15 * SEC_NS, "after the power came back");
}

static void secondary_returns_and_joins(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_KILL, FOREVER);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	sim_run(s, SEC_NS, NULL);
	sim_site_boot(&s->sites[1]);
	expect(s, 6 * SEC_NS, sim_is_in_sync, "b is in sync again");
}

static void failover_there_and_back(struct sim *s)
{
	for (int i = 0; i < 3; i++) {
		uint32_t p = s->newest.primary - 1;

		sim_site_crash(&s->sites[p], WORLD_CRASH_KILL, FOREVER);
		expect_acks(s, 4 * SEC_NS, "after the failover");
		sim_site_boot(&s->sites[p]);
		expect(s, 8 * SEC_NS, sim_is_in_sync, "the old primary is in sync again");
	}
}

static void clean_stop_hands_over(struct sim *s)
{
	sim_site_stop(&s->sites[0], FOREVER);
	expect(s, 1000 * MS_NS, b_is_open, "b takes over without waiting for the grace");
	expect_acks(s, SEC_NS, "at b");
}

/* b is away until the journal does not reach back to it. */
static void secondary_is_long_away(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	sim_run(s, 40 * SEC_NS, NULL);
	s->w->links[0][1].bytes_per_sec = 4000000; /* so that records overtake base blocks */
}

static void resync_under_load(struct sim *s)
{
	secondary_is_long_away(s);
	sim_site_boot(&s->sites[1]);
	expect(s, 60 * SEC_NS, sim_is_in_sync, "b is in sync again");
	s->w->links[0][1].bytes_per_sec = 0;
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
}

/* The source is an older version: it sends everything. */
static void full_copy_under_load(struct sim *s)
{
	resync_under_load(s);
	if (!s->failed && s->sites[1].engine->env.counters->v[CTR_REPL_COMPARES] != 0)
		sim_fail(s, "b compared with a, which cannot");
}

static bool b_is_resyncing(struct sim *s)
{
	struct store *st = sim_site_serving(&s->sites[1]) ? site_store(s->sites[1].site) : NULL;

	return st != NULL && replica_staging(st, &s->group) != NULL;
}

static uint64_t counter_of(const struct sim *s, uint32_t site, enum counter_id id)
{
	return s->sites[site].engine->env.counters->v[id];
}

/* The one that is being brought up is lost in the middle of it, three times; then it gets there. */
static void target_is_lost_in_mid_resync(struct sim *s)
{
	secondary_is_long_away(s);
	for (uint32_t i = 0; i < 3; i++) {
		sim_site_boot(&s->sites[1]);
		expect(s, 20 * SEC_NS, b_is_resyncing, "b is being brought up");
		sim_run(s, (30 + 70 * i) * MS_NS, NULL);
		sim_site_crash(&s->sites[1], i == 1 ? WORLD_CRASH_KILL : WORLD_CRASH_POWER,
			       FOREVER);
		expect_acks(s, 3 * SEC_NS, "at a alone");
	}
	sim_site_boot(&s->sites[1]);
	expect(s, 60 * SEC_NS, sim_is_in_sync, "b is in sync again");
	s->w->links[0][1].bytes_per_sec = 0;
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
}

/* The primary is lost while it brings b up: b, which is not in the in-sync set, must not open; what it has
 * got stays and is used when the primary is back. */
static void source_is_lost_in_mid_resync(struct sim *s)
{
	secondary_is_long_away(s);
	sim_site_boot(&s->sites[1]);
	for (uint32_t i = 0; i < 2; i++) {
		expect(s, 20 * SEC_NS, b_is_resyncing, "b is being brought up");
		sim_run(s, 100 * MS_NS, NULL);
		sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
		expect_no_acks(s, 3 * SEC_NS, "at b, which is not in the in-sync set");
		if (!s->failed && !b_is_resyncing(s))
			sim_fail(s, "b has thrown away what it had got");
		sim_site_boot(&s->sites[0]);
		expect_acks(s, 15 * SEC_NS, "at a, which is back");
	}
	s->w->links[0][1].bytes_per_sec = 0;
	expect(s, 60 * SEC_NS, sim_is_in_sync, "b is in sync again");
	if (!s->failed && counter_of(s, 1, CTR_REPL_COMPARES_RESUMED) == 0)
		sim_fail(s, "b has never gone on with what it had got");
}

/* The link between the sites breaks again and again while the client writes the same places all the time:
 * b gets there all the same, as what has come stays. */
static void link_flaps_during_resync(struct sim *s)
{
	secondary_is_long_away(s);
	sim_site_boot(&s->sites[1]);
	for (uint32_t i = 0; i < 12 && !s->failed; i++) {
		sim_run(s, 700 * MS_NS, NULL);
		cut(s, 0, 1, true);
		sim_run(s, 800 * MS_NS, NULL);
		cut(s, 0, 1, false);
	}
	expect(s, 30 * SEC_NS, sim_is_in_sync, "b is in sync again");
	s->w->links[0][1].bytes_per_sec = 0;
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
}

/* A primary whose writes hang is deposed, and hears of it with its own I/O still in flight (R5). */
static void deposed_with_io_in_flight(struct sim *s)
{
	s->sites[0].disk->faults.stuck = true;
	sim_run(s, 20 * MS_NS, NULL);
	cut(s, 0, 1, true);
	cut(s, 0, 2, true);
	cut_from_client(s, 0, true);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
	expect_acks(s, 12 * SEC_NS, "at b");
	cut(s, 0, 1, false);
	cut(s, 0, 2, false);
	sim_run(s, 1500 * MS_NS, NULL);
	if (s->sites[0].disk->faults.stuck)
		sim_disk_unstick(s->sites[0].disk);
	expect(s, 20 * SEC_NS, sim_is_in_sync, "a is in sync again");
}

static bool a_gates_b(struct sim *s)
{
	return isr_count(s) == 1 && (probe(s, 0).ack_mask >> 2 & 1u) != 0;
}

static bool isr_is_two(struct sim *s)
{
	return isr_count(s) == 2;
}

/* R1, J2: the primary proposes ADD, it is committed, and the primary does not hear of it; then it loses
 * the joiner, too.  Acknowledging alone would lose writes: b is in the in-sync set and claims. */
static void joiner_is_lost_with_its_add_on_the_way(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_KILL, FOREVER);
	expect(s, 1600 * MS_NS, isr_is_one, "a drops b");
	expect_acks(s, SEC_NS, "at a, alone");
	sim_site_boot(&s->sites[1]);
	expect(s, 6 * SEC_NS, a_gates_b, "b is joining");
	world_cut(s->sites[2].node, s->sites[0].node, true); /* a hears nothing of the witness */
	expect(s, 2 * SEC_NS, isr_is_two, "ADD is committed");
	cut(s, 0, 1, true);
	cut(s, 0, 2, true);
	expect(s, 2500 * MS_NS, b_is_open, "b, in sync, takes over");
	sim_run(s, 500 * MS_NS, NULL);
	cut(s, 0, 1, false);
	cut(s, 0, 2, false);
	expect(s, 20 * SEC_NS, sim_is_in_sync, "a follows and is in sync");
}

static void expect_role(struct sim *s, uint32_t site, bool ok, const char *what)
{
	int rc = 0;

	if (!sim_role_answered(&s->sites[site], &rc))
		sim_fail(s, "the operator is not answered: %s", what);
	else if ((rc == 0) != ok)
		sim_fail(s, "%s: %s: %s", what, err_name(rc), s->sites[site].role->text);
}

static bool a_answered(struct sim *s)
{
	int rc;

	return sim_role_answered(&s->sites[0], &rc);
}

static bool b_answered(struct sim *s)
{
	int rc;

	return sim_role_answered(&s->sites[1], &rc);
}

/* There and back under load: I/O pauses and goes on (bar: 250 ms with the client's own reconnect). */
static void planned_switchover(struct sim *s)
{
	sim_ask_role(&s->sites[0], REQUEST_SWITCHOVER);
	expect(s, 2 * SEC_NS, a_answered, "the switchover is answered");
	expect_role(s, 0, true, "switchover to b");
	expect(s, 100 * MS_NS, b_is_open, "b serves");
	expect_acks(s, SEC_NS, "at b");
	if (isr_count(s) != 2)
		sim_fail(s, "a switchover leaves both in the in-sync set");
	sim_ask_role(&s->sites[0], REQUEST_SWITCHOVER); /* there already: done */
	expect(s, 100 * MS_NS, a_answered, "saying it again is answered");
	expect_role(s, 0, true, "switchover to b again");
	sim_ask_role(&s->sites[1], REQUEST_SWITCHOVER);
	expect(s, 2 * SEC_NS, b_answered, "the way back is answered");
	expect_role(s, 1, true, "switchover to a");
	expect_acks(s, SEC_NS, "at a");
	expect_gap(s, 0, 500 * MS_NS);
}

/* The target dies at once: the primary drops it, or, if the epoch was given away already, claims it back. */
static void switchover_to_a_dying_site(struct sim *s)
{
	sim_ask_role(&s->sites[0], REQUEST_SWITCHOVER);
	sim_site_crash(&s->sites[1], WORLD_CRASH_POWER, FOREVER);
	expect(s, 3 * SEC_NS, isr_is_one, "a goes on alone");
	expect_acks(s, 4 * SEC_NS, "at a, alone");
	expect(s, 8 * SEC_NS, a_answered, "the operator is answered");
}

/* The primary dies at the moment it has proposed: b has the epoch, or claims one. */
static void primary_dies_in_its_switchover(struct sim *s)
{
	sim_ask_role(&s->sites[0], REQUEST_SWITCHOVER);
	sim_run(s, s->w->now % 40 * MS_NS / 4, NULL);
	sim_site_crash(&s->sites[0], WORLD_CRASH_POWER, FOREVER);
	expect(s, 2500 * MS_NS, b_is_open, "b serves");
	expect_acks(s, 12 * SEC_NS, "at b, once the client has given a up");
}

/* The witness cannot be reached: the proposal finds no quorum; nothing is served twice, and after the link is
 * back the group serves at one of both. */
static void switchover_without_a_quorum(struct sim *s)
{
	cut(s, 0, 2, true);
	cut(s, 1, 2, true);
	cut(s, 0, 1, true);
	sim_ask_role(&s->sites[0], REQUEST_SWITCHOVER);
	sim_run(s, 3 * SEC_NS, NULL);
	cut(s, 0, 2, false);
	cut(s, 1, 2, false);
	cut(s, 0, 1, false);
	expect_acks(s, 10 * SEC_NS, "after the quorum is back");
}

static void failover_by_hand_to_an_in_sync_site(struct sim *s)
{
	sim_ask_role(&s->sites[1], REQUEST_FAILOVER);
	expect(s, 2500 * MS_NS, b_is_open, "b takes over from a living primary");
	expect(s, 500 * MS_NS, b_answered, "the operator is answered");
	expect_role(s, 1, true, "failover to b");
	expect_acks(s, 2 * SEC_NS, "at b");
	expect(s, 8 * SEC_NS, sim_is_in_sync, "a follows and is in sync");
}

static void rot_newest_record(struct sim_disk *d)
{
	for (uint32_t i = 1; i <= SIM_FUA_KEPT && i <= d->fua_next; i++) {
		uint64_t off = d->fua[(d->fua_next - i) % SIM_FUA_KEPT].off;
		uint32_t magic;

		sim_disk_peek(d, off, &magic, sizeof(magic));
		if (magic != RECORD_MAGIC)
			continue;
		sim_disk_flip(d, off + 100, 3);
		return;
	}
}

/* The newest record of the primary rots; it restarts before b would claim, and must ask b (J4). */
static void primary_restarts_with_a_rotten_tail(struct sim *s)
{
	struct sim_disk *d = s->sites[0].disk;

	client_quiesce(client_of(s));
	sim_run(s, 300 * MS_NS, NULL);
	sim_site_crash(&s->sites[0], WORLD_CRASH_KILL, FOREVER);
	s->sites[0].rotten = true;
	rot_newest_record(d);
	sim_run(s, 30 * MS_NS, NULL);
	sim_site_boot(&s->sites[0]);
	client_resume(client_of(s));
	expect_acks(s, 15 * SEC_NS, "after the restart");
}

/* --- three sites: c is async and 60 ms away --- */

static uint64_t tail_of(struct sim *s, uint32_t site)
{
	struct replica *r = sim_site_replica(&s->sites[site]);
	struct replica_status st = {0};

	if (r != NULL)
		replica_status(r, &st);
	return st.tail.v;
}

/* A write of now is at c within a second. */
static bool c_has_what_was(struct sim *s)
{
	return tail_of(s, SIM_THIRD) >= s->acked_before;
}

static void expect_stream(struct sim *s, uint64_t ns, const char *when)
{
	s->acked_before = s->acked.v;
	if (!sim_run(s, ns, c_has_what_was))
		sim_fail(s, "the async site does not get what was written within %llu ms %s",
			 (unsigned long long)(ns / MS_NS), when);
}

static void cut_c(struct sim *s, bool on)
{
	cut(s, 0, SIM_THIRD, on);
	cut(s, 1, SIM_THIRD, on);
}

/* Frozen, cut off, gone: no write waits for it. */
static void async_site_is_away(struct sim *s)
{
	expect_stream(s, SEC_NS, "at the beginning");
	world_pause(s->sites[SIM_THIRD].node, false);
	sim_run(s, 5 * SEC_NS, NULL);
	expect_gap(s, 0, 100 * MS_NS);
	world_resume(s->sites[SIM_THIRD].node);
	expect_stream(s, 6 * SEC_NS, "after it thawed");
	cut_c(s, true);
	sim_run(s, 5 * SEC_NS, NULL);
	cut_c(s, false);
	expect_stream(s, 8 * SEC_NS, "after the path was mended");
	sim_site_crash(&s->sites[SIM_THIRD], WORLD_CRASH_POWER, 3 * SEC_NS);
	expect_stream(s, 12 * SEC_NS, "after its power came back");
	expect_gap(s, 0, 100 * MS_NS);
	if (isr_count(s) != 2)
		sim_fail(s, "the pair is no longer in sync");
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* What an operator is told of the async site's lag, in ms; looked at every 10 ms. */
static void expect_lag(struct sim *s, double most_ms)
{
	static struct group_status g;
	double lags[500];

	for (uint32_t i = 0; i < ARRAY_COUNT(lags) && !s->failed; i++) {
		sim_run(s, 10 * MS_NS, NULL);
		if (!conductor_group_status(site_conductor(s->sites[0].site), 0, &g) ||
		    g.peer_count != 2 || !g.peers[1].is_async || !g.peers[1].durable_known)
			sim_fail(s, "the lag of the async site is not known");
		lags[i] = g.peers[1].lag_seconds * 1e3;
	}
	qsort(lags, ARRAY_COUNT(lags), sizeof(lags[0]), by_size);
	sim_say(s, "lag: median %.1f, p99 %.1f ms", lags[250], lags[495]);
	if (!s->failed && lags[495] > most_ms)
		sim_fail(s, "lag p99 is %.1f ms, allowed are %.1f", lags[495], most_ms);
	if (!s->failed && lags[250] == 0)
		sim_fail(s, "no lag over a path of %llu ms", (unsigned long long)s->third_ms);
}

/* Over a path that can carry the load: the round trip and 50 ms; what is told is up to one sample of lag.h, 10 ms, more
 * than what is true. */
static void async_site_streams(struct sim *s)
{
	s->third_loss = 0;
	sim_run(s, 2 * SEC_NS, NULL);
	expect_lag(s, (double)s->third_ms * 1.1 + 50 + 10);
}

/* Long enough away that the journal is gone, though the primary's is not full. */
static void async_site_is_away_for_long(struct sim *s)
{
	sim_site_crash(&s->sites[SIM_THIRD], WORLD_CRASH_POWER, FOREVER);
	sim_run(s, 40 * SEC_NS, NULL);
	expect_gap(s, 0, 300 * MS_NS);
	sim_site_boot(&s->sites[SIM_THIRD]);
	expect_stream(s, 60 * SEC_NS, "after it was away for long");
}

/* The journal of B, which is full of what came since, may begin behind what C has: then only what differs is sent. */
static bool journal_reaches_c(struct sim *s)
{
	struct replica *b = sim_site_replica(&s->sites[1]);
	struct replica *c = sim_site_replica(&s->sites[SIM_THIRD]);
	struct replica_status mine, theirs;

	if (s->failed || b == NULL || c == NULL)
		return false;
	replica_status(b, &mine);
	replica_status(c, &theirs);
	return mine.trim.v <= theirs.commit.v;
}

/* A dies, B goes on to C from what they have in common. */
static void failover_with_an_async_site(struct sim *s)
{
	bool reaches;
	uint64_t base;

	expect_stream(s, SEC_NS, "at the beginning");
	sim_site_crash(&s->sites[0], WORLD_CRASH_KILL, FOREVER);
	expect(s, 1300 * MS_NS, b_is_open, "b takes over");
	reaches = journal_reaches_c(s);
	expect_acks(s, 4 * SEC_NS, "at b");
	base = s->sites[1].engine->env.counters->v[CTR_REPL_BASE_BYTES];
	expect_stream(s, 3 * SEC_NS, "from b");
	if (reaches && s->sites[1].engine->env.counters->v[CTR_REPL_BASE_BYTES] != base)
		sim_fail(s, "b copied to c, which had all but the newest writes");
}

/* The secondary restarts while the async site follows, and the other way round. */
static void secondary_restarts_beside_an_async_site(struct sim *s)
{
	sim_site_crash(&s->sites[1], WORLD_CRASH_KILL, 500 * MS_NS);
	expect_acks(s, 3 * SEC_NS, "while b restarts");
	expect_stream(s, SEC_NS, "while b restarts");
	sim_site_crash(&s->sites[SIM_THIRD], WORLD_CRASH_KILL, 500 * MS_NS);
	expect(s, 8 * SEC_NS, sim_is_in_sync, "b is in sync again");
	expect_stream(s, 6 * SEC_NS, "after both restarted");
}

static const struct scenario scenarios[] = {
	{"witness-dies", witness_dies, false},
	{"primary-dies", primary_dies, false},
	{"primary-is-killed", primary_is_killed, false},
	{"primary-dies-and-returns-at-once", primary_dies_and_returns_at_once, false},
	{"primary-is-isolated", primary_is_isolated, false},
	{"disk-of-the-primary-gets-stuck", disk_of_the_primary_gets_stuck, false},
	{"disk-of-the-secondary-gets-stuck", disk_of_the_secondary_gets_stuck, false},
	{"primary-freezes-and-thaws", primary_freezes_and_thaws, false},
	{"link-between-sites-is-cut", link_between_sites_is_cut, false},
	{"secondary-dies", secondary_dies, false},
	{"secondary-then-witness-die", secondary_then_witness_die, false},
	{"witness-then-primary-die", witness_then_primary_die, false},
	{"primary-dies-while-alone", primary_dies_while_alone, false},
	{"everything-restarts", everything_restarts, false},
	{"secondary-returns-and-joins", secondary_returns_and_joins, false},
	{"failover-there-and-back", failover_there_and_back, false},
	{"clean-stop-hands-over", clean_stop_hands_over, false},
	{"resync-under-load", resync_under_load, false},
	{"full-copy-under-load", full_copy_under_load, false, .older = true},
	{"target-is-lost-in-mid-resync", target_is_lost_in_mid_resync, false},
	{"source-is-lost-in-mid-resync", source_is_lost_in_mid_resync, false},
	{"link-flaps-during-resync", link_flaps_during_resync, false},
	{"joiner-is-lost-with-its-add-on-the-way", joiner_is_lost_with_its_add_on_the_way, false},
	{"planned-switchover", planned_switchover, false},
	{"switchover-to-a-dying-site", switchover_to_a_dying_site, false},
	{"primary-dies-in-its-switchover", primary_dies_in_its_switchover, false},
	{"switchover-without-a-quorum", switchover_without_a_quorum, false},
	{"failover-by-hand-to-an-in-sync-site", failover_by_hand_to_an_in_sync_site, false},
	{"deposed-with-io-in-flight", deposed_with_io_in_flight, false},
	{"async-site-streams", async_site_streams, .third = true},
	{"async-site-is-away", async_site_is_away, .third = true},
	{"async-site-is-away-for-long", async_site_is_away_for_long, .third = true},
	{"failover-with-an-async-site", failover_with_an_async_site, .third = true},
	{"secondary-restarts-beside-an-async-site", secondary_restarts_beside_an_async_site,
	 .third = true},
	/* a's history ends in a record that cannot be read: it stops by J7, nothing is cut */
	{"forced-while-blocked-and-return", forced_while_blocked, false},
	{"forced-while-the-other-lives", forced_while_the_other_lives, false},
	{"forced-with-a-known-loss", forced_with_a_known_loss, false},
	{"promoted-demoted-promoted", promoted_demoted_promoted, false},
	{"primary-restarts-with-a-rotten-tail", primary_restarts_with_a_rotten_tail, true},
};

/* --- running --- */

static bool verified(struct sim *s)
{
	return client_verified(client_of(s));
}

static bool run_one(const struct scenario *x, uint64_t seed, uint32_t mutant)
{
	uint64_t counts[SIM_KINDS] = {0};
	struct sim *s = calloc(1, sizeof(*s));
	struct client_opts o = {.name = "c1",
				.export = "g/v",
				.address = {"tcp:a:10809", "tcp:b:10809"},
				.address_count = 2,
				.bytes = VOLUME_BYTES,
				.depth = 8,
				.think_ns = 3 * MS_NS,
				.timeout_ns = 8 * SEC_NS,
				.seed = seed,
				.read_percent = 25,
				.trim_percent = 2,
				.zero_percent = 2,
				.flush_percent = 2,
				.fua_percent = 5,
				.align = 512,
				.max_bytes = 1u << 20,
				.hot_bytes = 1u << 19};
	bool ok;

	assert(s != NULL);
	s->kinds = counts;
	sim_set_mutant(s, mutant);
	s->features_off[0] = x->older ? REPL_FEATURE_COMPARE : 0;
	if (x->third) {
		sim_third_choose(s, seed);
		s->has_third = true;
	}
	sim_open(s, seed);
	if (sim_setup(s, VOLUME_BYTES)) {
		s->clients[s->client_count++] = client_new(s->w, &o);
		client_start(s->clients[0]);
		expect_acks(s, 2 * SEC_NS, "at the beginning");
		expect(s, 15 * SEC_NS, witness_leads, "the witness leads");
		if (!s->failed)
			x->act(s);
		if (!s->failed) {
			heal(s);
			if (!x->alone)
				expect(s, 20 * SEC_NS, sim_is_in_sync, "in sync after healing");
			client_verify(client_of(s));
			expect(s, 30 * SEC_NS, verified, "everything is read back");
			client_quiesce(client_of(s));
			sim_third_audit(s, VOLUME_BYTES);
			sim_third_expect_caught_up(s, "at the end");
		}
	}
	ok = !s->failed;
	printf("%s %s seed %llu%s%s\n", ok ? "ok" : "FAIL", x->name, (unsigned long long)seed,
	       ok ? "" : ": ", ok ? "" : s->what);
	sim_close(s);
	free(s);
	return ok;
}

/* True: with this mutant the scenario fails, by an assertion or a violation. */
static bool run_mutant(const struct scenario *x, uint64_t seed, uint32_t mutant)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run_one(x, seed, mutant) ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int usage(void)
{
	fprintf(stderr, "usage: scenarios [--seeds A..B] [--mutant NAME] [SCENARIO]\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t from = 1, to = 3;
	uint32_t passed = 0, failed = 0, mutant = 0;
	const char *only = NULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
			char *end;

			from = to = strtoull(argv[++i], &end, 10);
			if (strncmp(end, "..", 2) == 0)
				to = strtoull(end + 2, NULL, 10);
		} else if (strcmp(argv[i], "--mutant") == 0 && i + 1 < argc) {
			i++;
			for (mutant = 0; sim_mutant_names[mutant] != NULL; mutant++) {
				if (strcmp(sim_mutant_names[mutant], argv[i]) == 0)
					break;
			}
			if (sim_mutant_names[mutant] == NULL)
				return usage();
		} else if (argv[i][0] == '-') {
			return usage();
		} else {
			only = argv[i];
		}
	}
	for (uint64_t seed = from; seed <= to; seed++) {
		for (uint32_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
			if (only != NULL && strcmp(only, scenarios[i].name) != 0)
				continue;
			if (mutant != 0 && run_mutant(&scenarios[i], seed, mutant)) {
				printf("mutant %s: found by %s after %llu seeds\n",
				       sim_mutant_names[mutant], scenarios[i].name,
				       (unsigned long long)(seed - from + 1));
				return 0;
			}
			if (mutant != 0)
				continue;
			if (run_one(&scenarios[i], seed, 0))
				passed++;
			else
				failed++;
		}
	}
	if (mutant != 0) {
		printf("mutant %s: NOT FOUND\n", sim_mutant_names[mutant]);
		return 1;
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed > 0 || passed == 0;
}
