/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose.  See sites.h. */
#include "tests/unit/repl/sites.h"

#include <stdio.h>

#include "engine/base/err.h"

static void site_step(struct op *op)
{
	struct site *s = container_of(op, struct site, op);
	struct repl_attach at;
	struct link_msg m;

	if (s->repl == NULL)
		return;
	while (repl_link_take(s->repl, &m)) {
		s->last_link = m;
		s->links++;
	}
	while (repl_attach_take(s->repl, &at)) {
		struct repl_source_spec spec = {
			.attach = at, .epoch = s->epoch, .at_commit = s->at_commit, .wake = &s->op};

		s->attaches++;
		spec.replica = replica_find(s->store, &at.group);
		spec.store = s->store;
		if (!s->serves || spec.replica == NULL) {
			repl_attach_refuse(s->repl, &at,
					   s->refuses != NULL ? s->refuses : "not here");
			continue;
		}
		repl_source_close(&s->source);
		(void)!repl_source_open(s->repl, &spec, &s->source);
	}
}

static void site_open(struct pair *p, struct site *s, struct env *env, uint32_t id, uint32_t mutant)
{
	struct repl_peer_opts peer = {.site = 3 - id};
	struct repl_opts o = {.site = id, .incarnation = 7, .drop_ms = 600, .groups_max = 8};

	s->f = p->f;
	s->env = env;
	s->id = id;
	op_init(&s->op, env->ready, site_step);
	snprintf(o.name, sizeof(o.name), "%s", id == 1 ? "a" : "b");
	snprintf(o.listen, sizeof(o.listen), "%s:7000", id == 1 ? "a" : "b");
	snprintf(peer.name, sizeof(peer.name), "%s", id == 1 ? "b" : "a");
	snprintf(peer.address, sizeof(peer.address), "%s:7000", id == 1 ? "b" : "a");
	o.store.b[0] = (uint8_t)id;
	o.peers = &peer;
	o.peer_count = 1;
	o.wake = &s->op;
	o.mutant = mutant;
	s->store = fake_store_open(env);
	o.local = s->store;
	ck_assert_int_eq(repl_open(env, &o, &s->repl), 0);
}

void pair_open(struct pair *p, uint64_t seed)
{
	pair_open_mutant(p, seed, REPL_MUTANT_NONE);
}

void pair_open_mutant(struct pair *p, uint64_t seed, uint32_t mutant)
{
	struct env *env_b;

	memset(p, 0, sizeof(*p));
	p->f = fake_open(seed, 0);
	p->group.b[3] = 9;
	env_b = fake_node_new(p->f, "b");
	snprintf(p->f->node->name, sizeof(p->f->node->name), "a");
	site_open(p, &p->a, p->f->env, 1, mutant);
	site_open(p, &p->b, env_b, 2, mutant);
	p->a.node = p->f->world->nodes[0];
	p->b.node = p->f->world->nodes[1];
	p->a.serves = true;
}

static void site_close(struct pair *p, struct site *s)
{
	struct fake_wait w;

	if (s->follower != NULL)
		site_unfollow(p, s);
	repl_source_close(&s->source);
	if (s->repl == NULL)
		return;
	repl_close(&s->repl, fake_arm_env(s->env, &w));
	ck_assert_int_eq(fake_wait(p->f, &w), 0);
}

void pair_close(struct pair *p)
{
	site_close(p, &p->b);
	site_close(p, &p->a);
	pair_run(p, 50); /* what the fake stores have in flight */
	fake_store_close(p->a.store);
	fake_store_close(p->b.store);
	op_unqueue(&p->a.op);
	op_unqueue(&p->b.op);
	fake_close(&p->f);
}

void pair_run(struct pair *p, uint64_t ms)
{
	fake_run_for(p->f, ms * MS_NS);
}

bool both_up(void *ctx)
{
	struct pair *p = ctx;
	struct repl_peer_status a, b;

	ck_assert_int_eq(repl_peer_status(p->a.repl, 2, &a), 0);
	ck_assert_int_eq(repl_peer_status(p->b.repl, 1, &b), 0);
	return a.up && b.up && a.session == b.session;
}

void pair_wait_up(struct pair *p)
{
	ck_assert(fake_run_until(p->f, 20 * SEC_NS, both_up, p));
}

struct replica *site_replica(struct pair *p, struct site *s)
{
	return replica_find(s->store, &p->group);
}

void site_took(struct site *s, struct record *rec)
{
	if (s->source != NULL)
		repl_source_record(s->source, rec);
	record_unref(&rec);
}

void site_epoch(struct pair *p, struct site *s, uint64_t number, uint64_t incarnation)
{
	s->epoch = (struct epoch){.number = number, .incarnation = incarnation, .site = s->id};
	site_took(s, fake_epoch_record(site_replica(p, s), s->env, s->epoch, 0));
}

void site_volume(struct pair *p, struct site *s, uint32_t slot, uint64_t blocks)
{
	site_took(s, fake_volume_record(site_replica(p, s), s->env, slot, blocks));
}

void site_write(struct pair *p, struct site *s, uint64_t block, uint32_t count)
{
	site_took(s,
		  fake_write_record(site_replica(p, s), s->env, 0, block, count, ++p->next_value));
}

void site_commit(struct pair *p, struct site *s)
{
	struct replica_status st;

	replica_status(site_replica(p, s), &st);
	ck_assert_int_eq(replica_commit(site_replica(p, s), st.durable), 0);
	if (s->source != NULL)
		repl_source_commit(s->source, st.durable);
}

void site_create(struct pair *p, struct site *s)
{
	struct fake_wait w;

	replica_create(s->store, &p->group, "g", fake_arm_env(s->env, &w));
	ck_assert_int_eq(fake_wait(p->f, &w), 0);
}

void site_follow(struct pair *p, struct site *s, struct site *from, enum repl_purpose purpose)
{
	struct repl_follow_spec spec = {.site = from->id,
					.group = p->group,
					.name = "g",
					.epoch = from->epoch,
					.purpose = purpose,
					.want_full = s->want_full,
					.wake = &s->op};

	ck_assert_int_eq(repl_follow(s->repl, &spec, s->store, &s->follower), 0);
}

void site_unfollow(struct pair *p, struct site *s)
{
	struct fake_wait w;

	repl_follower_close(&s->follower, fake_arm_env(s->env, &w));
	ck_assert_ptr_null(s->follower);
	ck_assert_int_eq(fake_wait(p->f, &w), 0);
}

enum repl_state site_state(const struct site *s)
{
	struct repl_follower_status st;

	repl_follower_status(s->follower, &st);
	return st.state;
}

struct wanted {
	struct site *s;
	enum repl_state state;
};

static bool in_state(void *ctx)
{
	struct wanted *w = ctx;

	return site_state(w->s) == w->state;
}

void site_wait(struct pair *p, struct site *s, enum repl_state state)
{
	struct wanted w = {.s = s, .state = state};

	if (!fake_run_until(p->f, 20 * SEC_NS, in_state, &w))
		ck_abort_msg("state is %d, not %d", (int)site_state(s), (int)state);
}

void pair_check_equal(struct pair *p)
{
	struct replica *a = site_replica(p, &p->a), *b = site_replica(p, &p->b);
	struct replica_status sa, sb;

	replica_status(a, &sa);
	replica_status(b, &sb);
	ck_assert_uint_eq(sa.tail.v, sb.tail.v);
	ck_assert_uint_eq(sa.tail_chain, sb.tail_chain);
	ck_assert_uint_eq(sa.commit.v, sb.commit.v);
	for (uint64_t i = 0; i < FAKE_VOLUME_BLOCKS; i++)
		ck_assert_msg(fake_content(a, 0, i) == fake_content(b, 0, i),
			      "block %llu differs: %llu and %llu", (unsigned long long)i,
			      (unsigned long long)fake_content(a, 0, i),
			      (unsigned long long)fake_content(b, 0, i));
}
