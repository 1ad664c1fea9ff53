/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/quorum/cluster.h: quorum members with their authorities in one simulated world, with
 * the checker of I8 (QUORUM 4.7) after every event.
 */
#ifndef TS_TESTS_QUORUM_CLUSTER_H
#define TS_TESTS_QUORUM_CLUSTER_H

#include "engine/quorum/authority.h"
#include "engine/quorum/member.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/world.h"

#define CLUSTER_MAX 5u
#define CLUSTER_INDEX_MAX 200000u
#define CLUSTER_TERM_MAX 20000u

struct cluster_node {
	struct world_node *node;
	struct world_env *member_env, *engine_env;
	struct sim_disk *disk;
	struct member *member;
	struct authority *authority;
	uint64_t checked_commit, checked_applied; /* in this life */
	bool was_leader, was_installing;
	uint64_t snapshot_index;
	uint64_t lives;
};

struct cluster {
	struct world *world;
	struct prng prng;
	uint32_t count;
	struct member_peer peers[CLUSTER_MAX];
	char names[CLUSTER_MAX][16], addresses[CLUSTER_MAX][24];
	struct member_opts opts;
	struct cluster_node n[CLUSTER_MAX];
	/* what was ever seen committed */
	uint64_t *entry_hash;  /* by index; 0: not seen */
	uint64_t *commit_term; /* of who first knew it committed */
	uint64_t *state_hash;  /* of the state machine after it */
	uint8_t *leader;       /* by term: id */
	uint64_t highest, views_seen;
	uint64_t elections, installs, snapshots, proposals;
	char fault[256]; /* the first violation, "" */
};

void cluster_open(struct cluster *c, uint64_t seed, uint32_t count);
void cluster_close(struct cluster *c);
void cluster_boot(struct cluster *c, uint32_t i); /* opens member and authority */
void cluster_crash(struct cluster *c, uint32_t i, enum world_crash_how how);
void cluster_run_ms(struct cluster *c, uint64_t ms);
bool cluster_settled(struct cluster *c); /* one leader, all applied the same, all mirrors too */
struct member_status cluster_status(struct cluster *c, uint32_t i);
int cluster_leader(struct cluster *c); /* index, or -1 */
void cluster_work(struct cluster *c);  /* one random proposal somewhere */

#endif
