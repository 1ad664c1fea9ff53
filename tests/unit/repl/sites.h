/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/repl/sites.h: two sites with a repl and a fake store each, in one world. */
#ifndef TS_TESTS_REPL_SITES_H
#define TS_TESTS_REPL_SITES_H

#include <check.h>

#include "engine/repl/repl.h"
#include "tests/lib/fakes.h"
#include "tests/unit/repl/fake_store.h"

struct site {
	struct fake *f;
	struct env *env;
	struct world_node *node;
	uint32_t id;
	struct op op; /* owner: takes attaches and link messages */
	struct repl *repl;
	struct store *store;
	struct repl_source *source;
	struct repl_follower *follower;
	bool serves;	/* answers attaches */
	bool at_commit; /* its sources */
	bool want_full;
	const char *refuses;
	struct epoch epoch; /* of sources */
	uint32_t attaches;
	struct link_msg last_link;
	uint32_t links;
};

struct pair {
	struct fake *f;
	struct site a, b; /* a connects, and is the primary in most tests */
	struct uuid group;
	uint64_t next_value;
};

void pair_open(struct pair *p, uint64_t seed);
void pair_open_mutant(struct pair *p, uint64_t seed, uint32_t mutant);
void pair_close(struct pair *p);
bool both_up(void *pair);
void pair_wait_up(struct pair *p);
void pair_run(struct pair *p, uint64_t ms);

struct replica *site_replica(struct pair *p, struct site *s);
/* A primary's record: appended, and given to the source if there is one. */
void site_took(struct site *s, struct record *rec);
void site_epoch(struct pair *p, struct site *s, uint64_t number, uint64_t incarnation);
void site_volume(struct pair *p, struct site *s, uint32_t slot, uint64_t blocks);
void site_write(struct pair *p, struct site *s, uint64_t block, uint32_t count);
void site_commit(struct pair *p, struct site *s); /* all that is durable */
void site_create(struct pair *p, struct site *s);
void site_follow(struct pair *p, struct site *s, struct site *from, enum repl_purpose purpose);
void site_unfollow(struct pair *p, struct site *s);
enum repl_state site_state(const struct site *s);
/* Run until the follower of s is in that state; fails the test after 20 s. */
void site_wait(struct pair *p, struct site *s, enum repl_state state);
void pair_check_equal(struct pair *p); /* tail, chain, committed content */

#endif
