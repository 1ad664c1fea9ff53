/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/quorum/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/quorum/member_state.h"

static void check(struct world *w, void *ctx);
static void check_member(struct cluster *c, struct cluster_node *n);
static void check_leader(struct cluster *c, struct cluster_node *n);
static void on_crash(struct world_node *node);
static void open_node(struct cluster *c, struct cluster_node *n);

#define FAULT(c, ...)                                                          \
	do {                                                                   \
		if ((c)->fault[0] == 0)                                        \
			snprintf((c)->fault, sizeof((c)->fault), __VA_ARGS__); \
	} while (0)

void cluster_open(struct cluster *c, uint64_t seed, uint32_t count)
{
	memset(c, 0, sizeof(*c));
	c->world = world_new(seed);
	prng_init(&c->prng, seed, 77);
	c->count = count;
	c->entry_hash = calloc(CLUSTER_INDEX_MAX, 8);
	c->state_hash = calloc(CLUSTER_INDEX_MAX, 8);
	c->commit_term = calloc(CLUSTER_INDEX_MAX, 8);
	c->leader = calloc(CLUSTER_TERM_MAX, 1);
	c->opts.members = c->peers;
	c->opts.member_count = count;
	c->opts.format = true;
	c->world->check = check;
	c->world->check_ctx = c;
	for (uint32_t i = 0; i < count; i++) {
		struct cluster_node *n = &c->n[i];

		snprintf(c->names[i], sizeof(c->names[i]), "q%u", i + 1);
		snprintf(c->addresses[i], sizeof(c->addresses[i]), "q%u:7000", i + 1);
		c->peers[i].name = c->names[i];
		c->peers[i].address = c->addresses[i];
		n->node = world_node_new(c->world, c->names[i]);
		n->node->user = c;
		n->node->on_crash = on_crash;
		n->member_env = world_env_new(n->node, "quorum", &(struct buf_pool_sizes){0});
		n->engine_env = world_env_new(n->node, "engine", &(struct buf_pool_sizes){0});
		n->disk = sim_disk_new(n->node, "quorum", MEMBER_FILE_BYTES);
	}
}

void cluster_close(struct cluster *c)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (c->n[i].node->up)
			world_crash(c->n[i].node, WORLD_CRASH_KILL);
	world_free(&c->world);
	free(c->entry_hash);
	free(c->state_hash);
	free(c->commit_term);
	free(c->leader);
}

void cluster_boot(struct cluster *c, uint32_t i)
{
	if (!c->n[i].node->up)
		world_boot(c->n[i].node);
	open_node(c, &c->n[i]);
	world_settle(c->world);
}

static void open_node(struct cluster *c, struct cluster_node *n)
{
	struct member_opts opts = c->opts;
	uint32_t i = (uint32_t)(n - c->n);
	int rc;

	assert(n->member == NULL);
	opts.name = c->names[i];
	opts.listen = c->addresses[i];
	opts.inbox = world_mailbox_new(n->member_env);
	opts.engine = world_mailbox_new(n->engine_env);
	rc = authority_open(&n->engine_env->env, i + 1, opts.engine, opts.inbox, &n->authority);
	assert(rc == 0);
	rc = member_open(&n->member_env->env, &n->disk->disk, &opts, &n->member);
	assert(rc == 0);
	n->checked_applied = n->checked_commit = 0;
	n->was_leader = n->was_installing = false;
	n->lives++;
}

static void on_crash(struct world_node *node)
{
	struct cluster *c = node->user;

	for (uint32_t i = 0; i < c->count; i++) {
		if (c->n[i].node != node)
			continue;
		member_discard(&c->n[i].member);
		authority_discard(&c->n[i].authority);
	}
}

void cluster_crash(struct cluster *c, uint32_t i, enum world_crash_how how)
{
	world_crash(c->n[i].node, how);
}

void cluster_run_ms(struct cluster *c, uint64_t ms)
{
	world_run_for(c->world, ms * MS_NS);
}

struct member_status cluster_status(struct cluster *c, uint32_t i)
{
	struct member_status s;

	member_status(c->n[i].member, &s);
	return s;
}

int cluster_leader(struct cluster *c)
{
	int found = -1;
	uint64_t term = 0;

	for (uint32_t i = 0; i < c->count; i++) {
		struct member *m = c->n[i].member;

		if (m == NULL || m->consensus == NULL ||
		    consensus_role(m->consensus) != CONSENSUS_LEADER)
			continue;
		if (consensus_term(m->consensus) > term) {
			term = consensus_term(m->consensus);
			found = (int)i;
		}
	}
	return found;
}

bool cluster_settled(struct cluster *c)
{
	uint64_t applied = 0, hash = 0;
	int leader = cluster_leader(c);

	if (leader < 0)
		return false;
	applied = consensus_applied(c->n[leader].member->consensus);
	hash = c->state_hash[applied];
	for (uint32_t i = 0; i < c->count; i++) {
		struct cluster_node *n = &c->n[i];
		uint8_t state[65536];
		int bytes;

		if (n->member == NULL || n->member->state != MEMBER_RUNNING ||
		    consensus_applied(n->member->consensus) != applied ||
		    consensus_leader(n->member->consensus) != (uint32_t)leader + 1 ||
		    !authority_has_quorum(n->authority))
			return false;
		for (uint32_t g = 0; g < fsm_count(n->member->fsm); g++) {
			const struct vg_view *v = fsm_at(n->member->fsm, g);
			const struct vg_view *mirror = authority_view(n->authority, &v->vg);

			if (mirror == NULL || memcmp(mirror, v, sizeof(*v)) != 0)
				return false;
		}
		if (authority_view_count(n->authority) != fsm_count(n->member->fsm))
			return false;
		bytes = fsm_encode(n->member->fsm, state, sizeof(state));
		if (bytes < 0 || crc64(1, state, (size_t)bytes) != hash)
			return false;
	}
	return true;
}

/* ---- work ---- */

void cluster_work(struct cluster *c)
{
	struct cluster_node *n = &c->n[prng_u64(&c->prng) % c->count];
	uint64_t r = prng_u64(&c->prng);
	struct vg_cmd cmds[4];
	uint32_t count = 1 + (uint32_t)(r % 3);

	if (!n->node->up || n->node->paused || n->authority == NULL)
		return;
	memset(cmds, 0, sizeof(cmds));
	for (uint32_t i = 0; i < count; i++) {
		struct vg_cmd *cmd = &cmds[i];
		const struct vg_view *v;

		memset(cmd->vg.b, (int)(1 + prng_u64(&c->prng) % 6), sizeof(cmd->vg.b));
		v = authority_view(n->authority, &cmd->vg);
		r = prng_u64(&c->prng);
		if (v == NULL) {
			cmd->kind = VG_CREATE;
			snprintf(cmd->name, sizeof(cmd->name), "g%u", cmd->vg.b[0]);
			cmd->config.min_isr = 1;
			cmd->site = 1;
			cmd->incarnation = 1;
			cmd->site_count = 2;
			for (uint32_t s = 0; s < 2; s++) {
				cmd->sites[s].id = s + 1;
				memset(cmd->sites[s].replica.b, (int)s + 1, 16);
			}
			continue;
		}
		cmd->cfg = v->cfg;
		cmd->from = v->primary;
		cmd->site = 1 + (uint32_t)(r >> 8) % 2;
		cmd->incarnation = 1 + (r >> 16) % 9;
		cmd->replica = v->site[cmd->site - 1].replica;
		cmd->kind = (enum vg_cmd_kind)(1 + r % 6);
		if (r % 53 == 0)
			cmd->kind = VG_NODE;
		if (r % 97 == 0)
			cmd->kind = VG_DELETE;
	}
	if (authority_propose(n->authority, cmds, count) == 0)
		c->proposals++;
	world_settle(c->world);
}

/* ---- I8 ---- */

static void check(struct world *w, void *ctx)
{
	struct cluster *c = ctx;

	(void)w;
	for (uint32_t i = 0; i < c->count; i++)
		if (c->n[i].member != NULL && c->n[i].member->consensus != NULL)
			check_member(c, &c->n[i]);
}

static uint64_t hash_entry(const struct quorum_entry *e)
{
	return crc64(e->term * 4 + e->type, e->data, e->bytes) | 1;
}

static void check_member(struct cluster *c, struct cluster_node *n)
{
	struct member *m = n->member;
	struct consensus *k = m->consensus;
	uint64_t commit = consensus_commit(k), applied = consensus_applied(k);
	uint32_t id = m->self;

	if (m->state == MEMBER_FAILED)
		FAULT(c, "member %u failed: %s", id, m->detail);
	if (commit < n->checked_commit || applied < n->checked_applied || applied > commit)
		FAULT(c, "member %u went back: commit %lu after %lu, applied %lu after %lu", id,
		      commit, n->checked_commit, applied, n->checked_applied);
	if (commit >= CLUSTER_INDEX_MAX || consensus_term(k) >= CLUSTER_TERM_MAX) {
		FAULT(c, "too long a run");
		return;
	}
	if (consensus_installing(k) == NULL)
		for (uint64_t i = n->checked_commit + 1; i <= commit; i++) {
			const struct quorum_entry *e = consensus_entry(k, i);
			uint64_t hash;

			if (e == NULL)
				continue; /* below its snapshot */
			hash = hash_entry(e);
			if (c->entry_hash[i] != 0 && c->entry_hash[i] != hash)
				FAULT(c, "member %u committed another entry %lu", id, i);
			if (c->entry_hash[i] == 0)
				c->commit_term[i] = consensus_term(k);
			c->entry_hash[i] = hash;
			if (i > c->highest)
				c->highest = i;
		}
	if (consensus_installing(k) == NULL)
		n->checked_commit = commit;
	if (applied > n->checked_applied) {
		uint8_t state[65536];
		int bytes = fsm_encode(m->fsm, state, sizeof(state));
		uint64_t hash = bytes < 0 ? 0 : crc64(1, state, (size_t)bytes);

		if (c->state_hash[applied] != 0 && c->state_hash[applied] != hash)
			FAULT(c, "member %u has another state at %lu", id, applied);
		c->state_hash[applied] = hash;
		n->checked_applied = applied;
	}
	if (!n->was_installing && consensus_installing(k) != NULL)
		c->installs++;
	n->was_installing = consensus_installing(k) != NULL;
	if (consensus_snapshot(k) != NULL && consensus_snapshot(k)->index != n->snapshot_index) {
		n->snapshot_index = consensus_snapshot(k)->index;
		c->snapshots++;
	}
	check_leader(c, n);
}

/* Election safety and leader completeness. */
static void check_leader(struct cluster *c, struct cluster_node *n)
{
	struct consensus *k = n->member->consensus;
	uint64_t term = consensus_term(k);
	bool leads = consensus_role(k) == CONSENSUS_LEADER;

	if (leads && c->leader[term] != 0 && c->leader[term] != n->member->self)
		FAULT(c, "two leaders of term %lu: %u and %u", term, c->leader[term],
		      n->member->self);
	if (leads && !n->was_leader) {
		c->elections++;
		c->leader[term] = (uint8_t)n->member->self;
		/* A late vote may still elect a leader of a term that is over: it can commit nothing. */
		for (uint64_t i = consensus_first_index(k); i <= c->highest; i++) {
			const struct quorum_entry *e = consensus_entry(k, i);

			if (c->entry_hash[i] == 0 || c->commit_term[i] >= term)
				continue;
			if (e == NULL || hash_entry(e) != c->entry_hash[i])
				FAULT(c,
				      "leader %u of term %lu lacks entry %lu, committed by term %lu",
				      n->member->self, term, i, c->commit_term[i]);
		}
	}
	n->was_leader = leads;
}
