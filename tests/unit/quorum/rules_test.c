/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about engine/quorum/rules.c: who may propose, grant, acknowledge, and when. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/quorum/rules.h"

#define MS(n) ((n)*MS_NS)

static struct vg_view view;
static struct rules rules;
static struct rules_facts facts;
static struct rules_effects effects;

static void setup(uint32_t self, uint32_t mutant)
{
	struct rules_opts o = {.self = self,
			       .incarnation = 70 + self,
			       .boot = {MS(1000)},
			       .drop_ms = 600,
			       .lease_ms = 800,
			       .grace_ms = 880,
			       .hold_down_ms = 1000,
			       .mutant = mutant};

	memset(&view, 0, sizeof(view));
	view.cfg = 10;
	view.epoch = 3;
	view.primary = 1;
	view.primary_incarnation = 71;
	view.site_count = 2;
	view.site[0].id = 1;
	view.site[1].id = 2;
	view.site[1].replica.b[0] = 2;
	view.isr = 3;
	view.config.min_isr = 1;
	rules_init(&rules, &o);
	memset(&facts, 0, sizeof(facts));
	facts.view = &view;
	facts.now.v = MS(100000);
	facts.floor_epoch = 3;
	facts.floor_cfg = 10;
	facts.has_replica = true;
	facts.peer_up = true;
	facts.peer_heard = facts.now;
	facts.peer_store.b[0] = 2;
	facts.peer_incarnation = 5;
	facts.opened = true;
}

static void step(void)
{
	rules_step(&rules, &facts, &effects);
}

static void later(uint64_t ms_count)
{
	facts.now.v += MS(ms_count);
}

START_TEST(secondary_follows_only_with_a_durable_floor)
{
	setup(2, 0);
	facts.floor_cfg = 9;
	facts.floor_epoch = 2;
	step();
	ck_assert(!effects.follow);
	ck_assert(effects.set_floor);
	facts.floor_cfg = 10;
	facts.floor_epoch = 3;
	step();
	ck_assert(effects.follow);
}
END_TEST

START_TEST(stale_view_is_acted_on_by_nobody)
{
	setup(2, 0);
	facts.floor_epoch = 4;
	step();
	ck_assert_int_eq(effects.role, RULES_IDLE);
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 800, true));
}
END_TEST

START_TEST(lease_is_granted_only_in_the_views_epoch_and_with_a_durable_promise)
{
	setup(2, 0);
	step();
	ck_assert(!rules_ping(&rules, &facts, 1, 2, 800, true));
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 800, false));
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 900, true));
	ck_assert(rules_ping(&rules, &facts, 1, 3, 800, true));
}
END_TEST

START_TEST(claim_waits_for_the_grace_after_the_last_grant)
{
	setup(2, 0);
	step();
	ck_assert(rules_ping(&rules, &facts, 1, 3, 800, true));
	facts.peer_up = false;
	facts.tail = RULES_TAIL_SILENT;
	later(870);
	step();
	ck_assert_int_eq(effects.role, RULES_SECONDARY);
	later(11);
	step();
	ck_assert_int_eq(effects.role, RULES_CLAIMANT);
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_CLAIM);
	ck_assert_uint_eq(effects.cmd.cfg, 10);
}
END_TEST

START_TEST(no_lease_is_granted_and_no_frame_taken_while_a_claim_is_outstanding)
{
	setup(2, 0);
	step();
	facts.tail = RULES_TAIL_SILENT;
	later(5000);
	step();
	ck_assert(effects.propose);
	later(10);
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 800, true));
	step();
	ck_assert(!effects.follow);
	view.cfg = 11; /* the primary's DROP of somebody won: cfg moved */
	facts.floor_cfg = 11;
	ck_assert(rules_ping(&rules, &facts, 1, 3, 800, true) || true);
	step();
	ck_assert(!effects.propose || effects.cmd.cfg == 11);
}
END_TEST

START_TEST(claim_waits_for_local_io_and_for_the_longer_journal)
{
	setup(2, 0);
	step();
	later(5000);
	step();
	ck_assert(effects.ask_tail);
	ck_assert(!effects.propose);
	facts.tail = RULES_TAIL_DONE;
	facts.local_io = true;
	step();
	ck_assert(effects.quiesce);
	ck_assert(!effects.propose);
	facts.local_io = false;
	step();
	ck_assert(effects.propose);
}
END_TEST

START_TEST(the_no_quiesce_mutant_is_one)
{
	setup(2, RULES_MUTANT_NO_QUIESCE);
	step();
	later(5000);
	step();
	facts.tail = RULES_TAIL_DONE;
	facts.local_io = true;
	step();
	ck_assert(effects.propose); /* R5 is broken: a claim over I/O in flight */
}
END_TEST

START_TEST(non_member_of_the_in_sync_set_never_claims)
{
	setup(2, 0);
	view.isr = 1;
	facts.peer_up = false;
	facts.tail = RULES_TAIL_SILENT;
	step();
	later(100000);
	step();
	ck_assert(!effects.propose);
	ck_assert(effects.blocked);
}
END_TEST

START_TEST(primary_drops_a_silent_peer_and_counts_it_until_the_drop_is_known)
{
	setup(1, 0);
	step();
	ck_assert_uint_eq(effects.ack_mask, 6);
	facts.peer_up = false;
	later(599);
	step();
	ck_assert(!effects.propose);
	later(1);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_DROP);
	ck_assert_uint_eq(effects.ack_mask, 6);
	view.cfg = 11;
	view.isr = 1;
	step();
	ck_assert_uint_eq(effects.ack_mask, 2);
	ck_assert(effects.may_read);
}
END_TEST

START_TEST(primary_with_policy_stop_never_drops_a_silent_peer)
{
	setup(1, 0);
	view.config.on_peer_loss = VG_PEER_LOSS_STOP;
	facts.peer_up = false;
	later(10000);
	step();
	ck_assert(!effects.propose);
	facts.source_short = true; /* but one that lost what it had acknowledged is dropped */
	step();
	ck_assert(effects.propose);
}
END_TEST

START_TEST(primary_reads_only_under_a_lease_while_the_peer_is_in_sync)
{
	setup(1, 0);
	step();
	ck_assert(!effects.may_read);
	rules_granted(&rules, &view, 3, facts.now, 800);
	step();
	ck_assert(effects.may_read);
	later(800);
	step();
	ck_assert(!effects.may_read);
	rules_granted(&rules, &view, 2, facts.now, 800);
	step();
	ck_assert(!effects.may_read);
}
END_TEST

START_TEST(peer_is_added_when_gated_durable_and_leased)
{
	setup(1, 0);
	view.isr = 1;
	facts.source_ready = true;
	facts.commit.v = 8192;
	facts.source_durable.v = 4096;
	step();
	ck_assert(effects.gate);
	ck_assert_uint_eq(effects.ack_mask, 6);
	ck_assert(!effects.propose);
	facts.source_durable.v = 8192;
	step();
	ck_assert(!effects.propose); /* no lease yet */
	rules_granted(&rules, &view, 3, facts.now, 800);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_ADD);
	facts.source_ready = false; /* the session breaks: the proposed ADD still counts */
	facts.peer_up = false;
	step();
	ck_assert_uint_eq(effects.ack_mask, 6);
}
END_TEST

START_TEST(replaced_disk_is_announced_before_it_is_added)
{
	setup(1, 0);
	view.isr = 1;
	facts.source_ready = true;
	facts.peer_store.b[0] = 9;
	step();
	rules_granted(&rules, &view, 3, facts.now, 800);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_DISK);
}
END_TEST

/* It believes in nothing that was acknowledged from its disk (R9): a set with it would be in sync in name only. */
START_TEST(a_member_that_returns_with_another_disk_is_dropped)
{
	setup(1, 0);
	facts.source_ready = true;
	facts.source_durable = facts.commit;
	facts.peer_store.b[0] = 9;
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_DROP);
	ck_assert_uint_eq(effects.ack_mask, 1u << 1 | 1u << 2); /* R1 */
}
END_TEST

START_TEST(same_boot_is_held_down_after_a_drop_and_a_new_one_is_not)
{
	setup(1, 0);
	step();
	facts.peer_up = false;
	later(700);
	step();
	view.isr = 1;
	view.cfg = 11;
	facts.floor_cfg = 11;
	step();
	facts.peer_up = true;
	facts.peer_heard = facts.now;
	facts.source_ready = true;
	later(100);
	step();
	ck_assert(effects.hold_down_ms > 0);
	ck_assert(!effects.gate);
	facts.peer_incarnation++;
	step();
	ck_assert_uint_eq(effects.hold_down_ms, 0);
	ck_assert(effects.gate);
}
END_TEST

START_TEST(an_epoch_granted_to_an_earlier_boot_is_claimed_again)
{
	setup(1, 0);
	view.primary_incarnation = 70;
	facts.opened = false;
	facts.tail = RULES_TAIL_DONE;
	step();
	ck_assert_int_eq(effects.role, RULES_CLAIMANT);
	ck_assert(effects.propose); /* at once: the re-claim skips the grace */
	ck_assert(!effects.admit);
}
END_TEST

START_TEST(a_replaced_disk_is_never_claimed_with)
{
	setup(1, 0);
	view.primary_incarnation = 70;
	facts.has_replica = false;
	step();
	ck_assert(!effects.propose);
}
END_TEST

START_TEST(a_primary_that_said_goodbye_is_not_waited_for)
{
	setup(2, 0);
	step();
	ck_assert(rules_ping(&rules, &facts, 1, 3, 800, true));
	rules_released(&rules);
	facts.tail = RULES_TAIL_SILENT;
	later(1);
	step();
	ck_assert(effects.propose);
}
END_TEST

START_TEST(a_refused_command_is_abandoned_by_a_touch_at_the_same_cfg)
{
	setup(1, 0);
	step();
	facts.peer_up = false;
	later(700);
	step();
	ck_assert_int_eq(effects.cmd.kind, VG_DROP);
	later(5100);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_TOUCH);
	ck_assert_uint_eq(effects.ack_mask, 6);
}
END_TEST

START_TEST(a_replaced_disk_with_the_incarnation_of_the_old_one_is_never_believed)
{
	struct rules_opts o;

	setup(1, 0); /* the primary of the view, its incarnation too */
	view.site[0].replica.b[0] = 1;
	o = rules.o;
	o.disk.b[0] = 9;
	rules_init(&rules, &o);
	view.epoch = 1;
	facts.floor_epoch = 0;
	facts.floor_cfg = 0;
	facts.opened = false;
	facts.tail = RULES_TAIL_SILENT;
	for (int i = 0; i < 2; i++) {
		facts.has_replica = i == 1;
		step();
		ck_assert_int_eq(effects.role, RULES_SECONDARY);
		ck_assert(!effects.propose);
		ck_assert(!effects.follow);
		later(60000);
		step();
		ck_assert_int_eq(effects.role, RULES_SECONDARY);
		ck_assert(!effects.propose);
	}
	o.disk.b[0] = 1; /* the disk that the group counts on */
	rules_init(&rules, &o);
	step();
	ck_assert_int_eq(effects.role, RULES_OPENING);
}
END_TEST

/* R7: admission ends at once, SWITCH goes out when drained, and nothing is served until cfg moves. */
START_TEST(a_switchover_is_proposed_only_when_everything_is_acknowledged)
{
	setup(1, 0);
	facts.source_ready = true;
	step();
	rules_granted(&rules, &view, 3, facts.now, 800);
	step();
	ck_assert(effects.admit && effects.may_read);
	facts.switch_to = 2;
	step();
	ck_assert(!effects.admit);
	ck_assert(effects.may_read);
	ck_assert(!effects.propose);
	facts.drained = true;
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_SWITCH);
	ck_assert_uint_eq(effects.cmd.site, 2);
	ck_assert_uint_eq(effects.cmd.incarnation, 5);
	ck_assert(!effects.admit && !effects.may_read);
	facts.switch_to = 0; /* the operator gave up: the proposal is out all the same (R8) */
	facts.peer_incarnation = 6;
	later(81);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_SWITCH);
	ck_assert_uint_eq(effects.cmd.incarnation, 5);
	ck_assert(!effects.admit && !effects.may_read);
	view.cfg = 11;
	view.epoch = 4;
	view.primary = 2;
	view.primary_incarnation = 5;
	step();
	ck_assert_int_eq(effects.role, RULES_SECONDARY);
	ck_assert(effects.quiesce);
}
END_TEST

START_TEST(a_switchover_needs_the_peer_in_sync_and_a_lease)
{
	setup(1, 0);
	facts.switch_to = 2;
	facts.drained = true;
	facts.source_ready = true;
	step();
	ck_assert(!effects.propose); /* no lease: the peer may be about to claim */
	rules_granted(&rules, &view, 3, facts.now, 800);
	facts.peer_up = false;
	step();
	ck_assert(!effects.propose);
	facts.peer_up = true;
	view.isr = 1;
	facts.source_ready = false;
	step();
	ck_assert(!effects.propose);
	ck_assert(effects.admit); /* the wish is void: writes go on */
}
END_TEST

/* A lost peer is dropped although a switchover was asked for: clients do not wait for the operator. */
START_TEST(a_peer_lost_while_draining_is_dropped)
{
	setup(1, 0);
	facts.switch_to = 2;
	facts.peer_up = false;
	facts.peer_heard.v = facts.now.v - MS(700);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_DROP);
}
END_TEST

/* R3: an operator's failover does not wait for silence, but for the grace, and grants nothing more. */
START_TEST(a_failover_by_hand_keeps_the_grace_and_grants_nothing)
{
	setup(2, 0);
	later(2000); /* boot + grace is over */
	step();
	ck_assert(rules_ping(&rules, &facts, 1, 3, 800, true));
	facts.take_over = true;
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 800, true));
	facts.tail = RULES_TAIL_DONE;
	later(879);
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 800, true));
	step();
	ck_assert_int_eq(effects.role, RULES_SECONDARY);
	later(1);
	step();
	ck_assert_int_eq(effects.role, RULES_CLAIMANT);
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_CLAIM);
}
END_TEST

/* Site 3 is a distant one of the group: the pair goes on as without it. */
static void setup_async(uint32_t self)
{
	setup(self, 0);
	view.site_count = 3;
	view.site[2].id = 3;
	view.site[2].mode = VG_SITE_ASYNC;
}

START_TEST(an_async_site_follows_and_never_claims_or_grants)
{
	setup_async(3);
	step();
	ck_assert_int_eq(effects.role, RULES_SECONDARY);
	ck_assert(effects.follow);
	ck_assert(!rules_ping(&rules, &facts, 1, 3, 800, true));
	facts.peer_up = false;
	facts.peer_gone = true;
	facts.tail = RULES_TAIL_SILENT;
	facts.take_over = true;
	later(100000);
	step();
	ck_assert_int_eq(effects.role, RULES_SECONDARY);
	ck_assert(!effects.propose);
	ck_assert(!effects.blocked); /* the group goes on without it, or waits for the pair */
}
END_TEST

START_TEST(a_primary_counts_and_adds_its_pair_only)
{
	setup_async(1);
	rules_granted(&rules, &view, 3, facts.now, 800);
	step();
	ck_assert_uint_eq(effects.ack_mask, 1u << 1 | 1u << 2);
	view.isr = 1;
	view.cfg = 11;
	facts.floor_cfg = 11;
	facts.source_ready = true;
	step();
	facts.peer_incarnation = 6; /* a new boot: not held down */
	rules_granted(&rules, &view, 3, facts.now, 800);
	step();
	ck_assert(effects.propose);
	ck_assert_int_eq(effects.cmd.kind, VG_ADD);
	ck_assert_uint_eq(effects.cmd.site, 2);
	ck_assert_uint_eq(effects.ack_mask, 1u << 1 | 1u << 2);
}
END_TEST

START_TEST(a_primary_with_async_peers_only_needs_nobody)
{
	setup_async(1);
	view.site[1] = view.site[2];
	view.site_count = 2;
	view.isr = 1;
	facts.peer_up = false;
	later(100000);
	step();
	ck_assert_uint_eq(effects.ack_mask, 1u << 1);
	ck_assert(effects.admit && effects.may_read && effects.ping);
	ck_assert(!effects.propose);
}
END_TEST

/* A forced failover to a distant site makes it sync: then three sites may be. */
START_TEST(the_pair_of_three_sync_sites_is_the_in_sync_set)
{
	setup_async(3);
	view.site[2].mode = VG_SITE_SYNC;
	view.primary = 3;
	view.primary_incarnation = 73;
	view.isr = 4 | 2;
	ck_assert_uint_eq(vg_pair_peer(&view, 3), 2);
	ck_assert_uint_eq(vg_pair_peer(&view, 2), 3);
	ck_assert_uint_eq(vg_pair_peer(&view, 1), 3);
	view.isr = 4;
	ck_assert_uint_eq(vg_pair_peer(&view, 3), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rules");
	TCase *t = tcase_create("rules");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, secondary_follows_only_with_a_durable_floor);
	tcase_add_test(t, stale_view_is_acted_on_by_nobody);
	tcase_add_test(t, lease_is_granted_only_in_the_views_epoch_and_with_a_durable_promise);
	tcase_add_test(t, claim_waits_for_the_grace_after_the_last_grant);
	tcase_add_test(t, no_lease_is_granted_and_no_frame_taken_while_a_claim_is_outstanding);
	tcase_add_test(t, claim_waits_for_local_io_and_for_the_longer_journal);
	tcase_add_test(t, the_no_quiesce_mutant_is_one);
	tcase_add_test(t, non_member_of_the_in_sync_set_never_claims);
	tcase_add_test(t, primary_drops_a_silent_peer_and_counts_it_until_the_drop_is_known);
	tcase_add_test(t, primary_with_policy_stop_never_drops_a_silent_peer);
	tcase_add_test(t, primary_reads_only_under_a_lease_while_the_peer_is_in_sync);
	tcase_add_test(t, peer_is_added_when_gated_durable_and_leased);
	tcase_add_test(t, replaced_disk_is_announced_before_it_is_added);
	tcase_add_test(t, a_member_that_returns_with_another_disk_is_dropped);
	tcase_add_test(t, same_boot_is_held_down_after_a_drop_and_a_new_one_is_not);
	tcase_add_test(t, an_epoch_granted_to_an_earlier_boot_is_claimed_again);
	tcase_add_test(t, a_replaced_disk_is_never_claimed_with);
	tcase_add_test(t, a_replaced_disk_with_the_incarnation_of_the_old_one_is_never_believed);
	tcase_add_test(t, a_primary_that_said_goodbye_is_not_waited_for);
	tcase_add_test(t, a_refused_command_is_abandoned_by_a_touch_at_the_same_cfg);
	tcase_add_test(t, a_switchover_is_proposed_only_when_everything_is_acknowledged);
	tcase_add_test(t, a_switchover_needs_the_peer_in_sync_and_a_lease);
	tcase_add_test(t, a_peer_lost_while_draining_is_dropped);
	tcase_add_test(t, a_failover_by_hand_keeps_the_grace_and_grants_nothing);
	tcase_add_test(t, an_async_site_follows_and_never_claims_or_grants);
	tcase_add_test(t, a_primary_counts_and_adds_its_pair_only);
	tcase_add_test(t, a_primary_with_async_peers_only_needs_nobody);
	tcase_add_test(t, the_pair_of_three_sync_sites_is_the_in_sync_set);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
