/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters of quorum members under faults: TS_QUORUM_SEEDS and TS_QUORUM_FIRST choose more seeds. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/quorum/member_state.h"
#include "tests/unit/quorum/cluster.h"

static bool leads(void *ctx)
{
	return cluster_settled(ctx);
}

static bool run_until_settled(struct cluster *c, uint64_t ms)
{
	return world_run_until(c->world, c->world->now + ms * MS_NS, leads, c);
}

START_TEST(empty_members_form_one_cluster_when_all_are_there)
{
	struct cluster c;

	cluster_open(&c, 1, 3);
	cluster_boot(&c, 0);
	cluster_boot(&c, 1);
	cluster_run_ms(&c, 3000);
	ck_assert_int_eq(cluster_status(&c, 0).state, MEMBER_FORMING); /* M3 */
	ck_assert_int_eq(cluster_status(&c, 1).state, MEMBER_FORMING);
	cluster_boot(&c, 2);
	ck_assert(run_until_settled(&c, 5000));
	ck_assert(uuid_equal(&c.n[0].member->meta.cluster, &c.n[2].member->meta.cluster));
	ck_assert_str_eq(c.fault, "");
	cluster_close(&c);
}
END_TEST

START_TEST(a_single_member_forms_and_applies)
{
	struct cluster c;

	cluster_open(&c, 2, 1);
	cluster_boot(&c, 0);
	ck_assert(run_until_settled(&c, 5000));
	cluster_work(&c);
	cluster_run_ms(&c, 500);
	ck_assert_uint_gt(authority_view_count(c.n[0].authority), 0);
	cluster_crash(&c, 0, WORLD_CRASH_POWER);
	cluster_boot(&c, 0);
	ck_assert(run_until_settled(&c, 5000));
	ck_assert_uint_gt(authority_view_count(c.n[0].authority), 0);
	ck_assert_str_eq(c.fault, "");
	cluster_close(&c);
}
END_TEST

START_TEST(a_proposal_through_a_follower_reaches_every_mirror)
{
	struct vg_cmd cmd = {.kind = VG_CREATE,
			     .name = "db",
			     .site = 1,
			     .incarnation = 5,
			     .config = {.min_isr = 1},
			     .site_count = 2,
			     .sites = {{.id = 1}, {.id = 2}}};
	struct cluster c;
	uint32_t follower;

	cmd.vg.b[0] = 9;
	cluster_open(&c, 3, 3);
	for (uint32_t i = 0; i < 3; i++)
		cluster_boot(&c, i);
	ck_assert(run_until_settled(&c, 5000));
	follower = ((uint32_t)cluster_leader(&c) + 1) % 3;
	ck_assert_int_eq(authority_check(c.n[follower].authority, &cmd), 0);
	ck_assert_int_eq(authority_propose(c.n[follower].authority, &cmd, 1), 0);
	cluster_run_ms(&c, 300);
	for (uint32_t i = 0; i < 3; i++) {
		const struct vg_view *v = authority_view_by_name(c.n[i].authority, "db");

		ck_assert_ptr_nonnull(v);
		ck_assert_uint_eq(v->epoch, 1);
		ck_assert(vg_is_primary(v, 1, 5));
	}
	cluster_close(&c);
}
END_TEST

START_TEST(leadership_goes_to_the_preferred_member)
{
	struct cluster c;

	cluster_open(&c, 4, 3);
	c.opts.preferred = "q2";
	for (uint32_t i = 0; i < 3; i++)
		cluster_boot(&c, i);
	cluster_run_ms(&c, 12000);
	ck_assert_int_eq(cluster_leader(&c), 1);
	cluster_crash(&c, 1, WORLD_CRASH_POWER);
	cluster_run_ms(&c, 3000);
	ck_assert_int_ge(cluster_leader(&c), 0);
	ck_assert_int_ne(cluster_leader(&c), 1);
	cluster_boot(&c, 1);
	cluster_run_ms(&c, 10000);
	ck_assert_int_eq(cluster_leader(&c), 1);
	ck_assert_str_eq(c.fault, "");
	cluster_close(&c);
}
END_TEST

/* A member whose disk goes back to an old image (a VM snapshot) is refused by the others. */
START_TEST(a_rolled_back_member_is_refused)
{
	struct cluster c;
	uint8_t *old = malloc(MEMBER_FILE_BYTES);

	cluster_open(&c, 5, 3);
	for (uint32_t i = 0; i < 3; i++)
		cluster_boot(&c, i);
	ck_assert(run_until_settled(&c, 5000));
	sim_disk_peek(c.n[2].disk, 0, old, MEMBER_FILE_BYTES);
	for (uint32_t i = 0; i < 50; i++) {
		cluster_work(&c);
		cluster_run_ms(&c, 50);
	}
	cluster_crash(&c, 2, WORLD_CRASH_POWER);
	sim_disk_poke(c.n[2].disk, 0, old, MEMBER_FILE_BYTES);
	cluster_boot(&c, 2);
	cluster_run_ms(&c, 3000);
	ck_assert(!cluster_status(&c, 0).member[2].reachable);
	ck_assert(!cluster_status(&c, 1).member[2].reachable);
	ck_assert_ptr_nonnull(strstr(cluster_status(&c, 0).detail, "went back"));
	ck_assert_int_ge(cluster_leader(&c), 0);
	free(old);
	cluster_close(&c);
}
END_TEST

/* An empty member never votes when another has state: its disk was replaced. */
START_TEST(an_emptied_member_takes_part_in_nothing)
{
	uint8_t *zero = calloc(1, MEMBER_FILE_BYTES);
	struct cluster c;

	cluster_open(&c, 6, 3);
	for (uint32_t i = 0; i < 3; i++)
		cluster_boot(&c, i);
	ck_assert(run_until_settled(&c, 5000));
	cluster_crash(&c, 0, WORLD_CRASH_POWER);
	sim_disk_poke(c.n[0].disk, 0, zero, MEMBER_FILE_BYTES);
	cluster_boot(&c, 0);
	cluster_run_ms(&c, 5000);
	ck_assert_int_eq(cluster_status(&c, 0).state, MEMBER_FORMING);
	ck_assert(!cluster_status(&c, 1).member[0].reachable);
	free(zero);
	cluster_close(&c);
}
END_TEST

/* A member whose disk does not answer must not be heard voting (M1). */
START_TEST(a_vote_leaves_only_when_it_is_durable)
{
	struct cluster c;
	uint32_t leader, slow;

	cluster_open(&c, 8, 3);
	for (uint32_t i = 0; i < 3; i++)
		cluster_boot(&c, i);
	ck_assert(run_until_settled(&c, 5000));
	leader = (uint32_t)cluster_leader(&c);
	slow = (leader + 1) % 3;
	c.n[slow].disk->faults.stuck = true;
	cluster_crash(&c, leader, WORLD_CRASH_POWER);
	cluster_run_ms(&c, 8000);
	ck_assert_int_eq(cluster_leader(&c), -1);
	c.n[slow].disk->faults.stuck = false;
	sim_disk_unstick(c.n[slow].disk);
	cluster_run_ms(&c, 5000);
	ck_assert_int_ge(cluster_leader(&c), 0);
	ck_assert_str_eq(c.fault, "");
	cluster_close(&c);
}
END_TEST

static void stopper_step(struct op *op)
{
	(void)op;
}

START_TEST(members_stop_cleanly)
{
	struct cluster c;
	struct stopper {
		struct op op;
		struct completion done;
	} stop[3];

	cluster_open(&c, 7, 3);
	for (uint32_t i = 0; i < 3; i++)
		cluster_boot(&c, i);
	ck_assert(run_until_settled(&c, 5000));
	cluster_work(&c);
	for (uint32_t i = 0; i < 3; i++) {
		op_init(&stop[i].op, c.n[i].member_env->env.ready, NULL);
		completion_arm(&stop[i].done, &stop[i].op, 1);
		op_unqueue(&stop[i].op);
	}
	for (uint32_t i = 0; i < 3; i++) {
		stop[i].op.step = stopper_step;
		member_stop(c.n[i].member, &stop[i].done);
	}
	cluster_run_ms(&c, 8000);
	for (uint32_t i = 0; i < 3; i++) {
		struct completion done;
		struct op op;

		ck_assert_uint_eq(stop[i].op.waits, 0);
		member_close(&c.n[i].member);
		op_init(&op, c.n[i].engine_env->env.ready, stop[i].op.step);
		completion_arm(&done, &op, 1);
		authority_stop(c.n[i].authority, &done);
		op_unqueue(&op);
		authority_close(&c.n[i].authority);
	}
	cluster_close(&c);
}
END_TEST

/* ---- the storm ---- */

static void uncut_all(struct cluster *c)
{
	for (uint32_t k = 0; k < c->count; k++)
		for (uint32_t l = 0; l < c->count; l++)
			if (k != l)
				world_cut(c->n[k].node, c->n[l].node, false);
}

static void cut_off(struct cluster *c, uint32_t i, bool in, bool out)
{
	for (uint32_t k = 0; k < c->count; k++)
		if (k != i) {
			world_cut(c->n[i].node, c->n[k].node, out);
			world_cut(c->n[k].node, c->n[i].node, in);
		}
}

/* One fault; every other one hits the leader: elections are where it hurts. */
static void fault(struct cluster *c)
{
	uint64_t r = prng_u64(&c->prng);
	uint32_t i = (uint32_t)(r >> 8) % c->count, j = (uint32_t)(r >> 16) % c->count;
	int leader = cluster_leader(c);
	struct world_node *n;

	if ((r >> 40 & 1) != 0 && leader >= 0)
		i = (uint32_t)leader;
	n = c->n[i].node;
	switch (r % 12) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (n->up)
			cluster_crash(c, i, r >> 24 & 1 ? WORLD_CRASH_POWER : WORLD_CRASH_KILL);
		if ((r >> 25 & 1) != 0) /* back at once */
			cluster_boot(c, i);
		break;
	case 4:
		for (uint32_t k = 0; k < c->count && (r >> 24) % 3 == 0; k++)
			if (c->n[k].node->up)
				cluster_crash(c, k, WORLD_CRASH_POWER);
		break;
	case 5:
		if (i != j)
			world_cut(n, c->n[j].node, true);
		if (i != j && (r >> 24 & 1) != 0)
			world_cut(c->n[j].node, n, true);
		break;
	case 6:
	case 7:
		cut_off(c, i, (r >> 24) % 4 != 0, (r >> 26) % 4 != 0);
		break;
	case 8:
		if (n->up && !n->paused)
			world_pause(n, false);
		break;
	case 9:
		c->n[i].disk->slow = (uint32_t[]){1, 5, 40, 200}[(r >> 24) % 4];
		break;
	default:
		if (i != j)
			world_link_set(n, c->n[j].node, ((r >> 24) % 60 + 1) * MS_NS / 2,
				       (r >> 32) % 40 * MS_NS);
		break;
	}
}

/* Faults pass: a cluster that stays down finds nothing. */
static void pass(struct cluster *c)
{
	for (uint32_t i = 0; i < c->count; i++) {
		struct world_node *n = c->n[i].node;

		if (!n->up && prng_u64(&c->prng) % 6 == 0)
			cluster_boot(c, i);
		if (n->up && n->paused && prng_u64(&c->prng) % 8 == 0)
			world_resume(n);
	}
	if (prng_u64(&c->prng) % 12 == 0)
		uncut_all(c);
}

static void heal(struct cluster *c)
{
	uncut_all(c);
	for (uint32_t k = 0; k < c->count; k++)
		for (uint32_t l = 0; l < c->count; l++)
			if (k != l) {
				world_link_set(c->n[k].node, c->n[l].node, MS_NS, MS_NS);
			}
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->n[i].node->paused)
			world_resume(c->n[i].node);
		if (!c->n[i].node->up)
			cluster_boot(c, i);
		c->n[i].disk->slow = 1;
	}
}

struct totals {
	uint64_t seeds, proposals, committed, elections, installs, snapshots, lives;
};

static const char *storm(uint64_t seed, struct totals *t, char *why, size_t bytes)
{
	uint32_t count = seed % 4 == 0 ? 5 : seed % 16 == 1 ? 2 : 3;
	struct cluster c;

	cluster_open(&c, seed, count);
	c.opts.snapshot_entries = seed % 4 == 0 ? 512 : 4 + (uint32_t)(seed % 37);
	if (seed % 2 == 0)
		c.opts.preferred = "q2";
	if (seed % 3 != 0) { /* more elections */
		c.opts.election_ms = seed % 3 == 1 ? 60 : 200;
		c.opts.heartbeat_ms = 20;
	}
	for (uint32_t i = 0; i < c.count; i++)
		cluster_boot(&c, i);
	cluster_run_ms(&c, 2000);
	for (uint32_t round = 0; round < 400 && c.fault[0] == 0; round++) {
		if (prng_u64(&c.prng) % (3 + seed % 6) == 0)
			fault(&c);
		pass(&c);
		for (uint64_t k = prng_u64(&c.prng) % (seed % 5 == 0 ? 2 : 5); k > 0; k--)
			cluster_work(&c);
		cluster_run_ms(&c, 10 + prng_u64(&c.prng) % 90);
	}
	heal(&c);
	if (c.fault[0] == 0 && !run_until_settled(&c, 15000)) {
		snprintf(why, bytes, "not settled after healing");
		for (uint32_t i = 0; i < c.count; i++) {
			struct member_status s = cluster_status(&c, i);
			size_t used = strlen(why);

			snprintf(why + used, bytes - used,
				 "; %u: state %d leader %u term %lu applied %lu/%lu/%lu %s", i + 1,
				 (int)s.state, s.leader, s.term, s.applied, s.committed,
				 s.last_index, s.detail);
		}
	} else {
		snprintf(why, bytes, "%s", c.fault);
	}
	t->seeds++;
	t->proposals += c.proposals;
	t->committed += c.highest;
	t->elections += c.elections;
	t->installs += c.installs;
	t->snapshots += c.snapshots;
	for (uint32_t i = 0; i < c.count; i++)
		t->lives += c.n[i].lives;
	cluster_close(&c);
	return why;
}

START_TEST(seeds_of_faults_keep_raft_safe_and_live)
{
	const char *first = getenv("TS_QUORUM_FIRST"), *many = getenv("TS_QUORUM_SEEDS");
	uint64_t from = first != NULL ? strtoull(first, NULL, 10) : 1000;
	uint64_t n = many != NULL ? strtoull(many, NULL, 10) : 60;
	struct totals t = {0};
	char why[1024];

	for (uint64_t seed = from; seed < from + n; seed++) {
		storm(seed, &t, why, sizeof(why));
		if (why[0] != 0)
			ck_abort_msg("seed %lu: %s", seed, why);
	}
	printf("quorum storm: %lu seeds, %lu proposals, %lu entries committed, %lu elections, "
	       "%lu snapshots, %lu installed, %lu boots\n",
	       t.seeds, t.proposals, t.committed, t.elections, t.snapshots, t.installs, t.lives);
	ck_assert_uint_gt(t.committed, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quorum-cluster");
	TCase *t = tcase_create("cluster");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 0);
	tcase_add_test(t, empty_members_form_one_cluster_when_all_are_there);
	tcase_add_test(t, a_single_member_forms_and_applies);
	tcase_add_test(t, a_proposal_through_a_follower_reaches_every_mirror);
	tcase_add_test(t, leadership_goes_to_the_preferred_member);
	tcase_add_test(t, a_rolled_back_member_is_refused);
	tcase_add_test(t, an_emptied_member_takes_part_in_nothing);
	tcase_add_test(t, a_vote_leaves_only_when_it_is_durable);
	tcase_add_test(t, members_stop_cleanly);
	tcase_add_test(t, seeds_of_faults_keep_raft_safe_and_live);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
