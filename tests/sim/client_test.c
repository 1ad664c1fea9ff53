/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/client_test.c: the real front door over memory volumes, under a bad network. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "engine/nbd/nbd_server.h"
#include "tests/sim/client.h"
#include "tests/unit/nbd/fake_volume.h"

#define BYTES (4u << 20)

struct stage {
	struct world *w;
	struct world_node *node;
	struct conductor *conductor;
	struct nbd_server *server;
	struct client *client;
	struct volume *volume;
};

static void stage_open(struct stage *s, uint64_t seed)
{
	const struct buf_pool_sizes bufs = {.count = {256, 64, 32}};
	struct client_opts co = {.name = "c1",
				 .export = "g/v",
				 .address = {"tcp:a:10809"},
				 .address_count = 1,
				 .bytes = BYTES,
				 .depth = 16,
				 .think_ns = MS_NS,
				 .timeout_ns = 2 * SEC_NS,
				 .seed = seed,
				 .read_percent = 35,
				 .trim_percent = 4,
				 .zero_percent = 4,
				 .flush_percent = 4,
				 .fua_percent = 5,
				 .align = 512,
				 .max_bytes = 1u << 20,
				 .hot_bytes = 1u << 18};
	struct nbd_server_opts no;
	struct env *env;

	s->w = world_new(seed);
	s->node = world_node_new(s->w, "a");
	env = &world_env_new(s->node, "main", &bufs)->env;
	s->conductor = fake_conductor_open(env);
	s->volume = fake_volume_add(s->conductor, "g/v", BYTES, 512);
	nbd_server_opts_init(&no);
	no.addresses[0] = "tcp:a:10809";
	no.address_count = 1;
	ck_assert_int_eq(nbd_server_open(env, s->conductor, &no, &s->server), 0);
	s->client = client_new(s->w, &co);
	client_start(s->client);
}

static void stage_close(struct stage *s)
{
	nbd_server_abandon(&s->server);
	client_free(&s->client);
	for (uint32_t i = 0; i < s->conductor->count; i++)
		list_init(&s->conductor->volumes[i].clients);
	fake_conductor_close(&s->conductor);
	world_free(&s->w);
}

static bool verified(void *ctx)
{
	return client_verified(((struct stage *)ctx)->client);
}

static uint64_t storm(uint64_t seed, bool faults, struct client_stats *ret)
{
	struct stage s;
	struct prng p;
	uint64_t hash;

	stage_open(&s, seed);
	prng_init(&p, seed, 9);
	for (int i = 0; i < 20; i++) {
		if (faults) {
			struct world_node *c = client_node(s.client);
			uint64_t kind = prng_below(&p, 4);

			world_cut(c, s.node, kind == 0);
			world_cut(s.node, c, kind == 1);
			if (kind == 2)
				world_pause(s.node, false);
			else
				world_resume(s.node);
			if (kind == 3 && !s.node->paused)
				fake_revoke(s.volume);
			s.w->links[c->id][s.node->id].loss_ppm = prng_below(&p, 2) ? 20000 : 0;
		}
		world_run_for(s.w, prng_range(&p, 50, 1500) * MS_NS);
	}
	world_resume(s.node);
	world_cut(client_node(s.client), s.node, false);
	world_cut(s.node, client_node(s.client), false);
	client_verify(s.client);
	ck_assert_msg(world_run_until(s.w, s.w->now + 60 * SEC_NS, verified, &s),
		      "seed %llu is stuck", (unsigned long long)seed);
	ck_assert_msg(client_violation(s.client) == NULL, "seed %llu: %s", (unsigned long long)seed,
		      client_violation(s.client));
	*ret = *client_stats(s.client);
	hash = s.w->hash;
	stage_close(&s);
	return hash;
}

START_TEST(client_reads_what_it_wrote_over_a_good_network)
{
	struct client_stats st;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		storm(seed, false, &st);
		ck_assert_uint_eq(st.connects, 1);
		ck_assert_uint_eq(st.errors, 0);
		ck_assert_uint_gt(st.acked, 500);
		ck_assert_uint_gt(st.reads, 200);
	}
}
END_TEST

START_TEST(client_survives_cuts_pauses_and_revocations)
{
	struct client_stats st;
	uint64_t lost = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		storm(seed, true, &st);
		lost += st.lost;
	}
	ck_assert_uint_gt(lost, 10);
}
END_TEST

/* The canary: wrong data must be noticed. */
START_TEST(client_notices_a_changed_sector)
{
	struct stage s;

	stage_open(&s, 4);
	world_run_for(s.w, 2 * SEC_NS);
	s.volume->data[1024] ^= 1;
	client_verify(s.client);
	world_run_until(s.w, s.w->now + 60 * SEC_NS, verified, &s);
	ck_assert(client_violation(s.client) != NULL);
	stage_close(&s);
}
END_TEST

START_TEST(equal_seeds_have_equal_traces)
{
	struct client_stats st;

	ck_assert_uint_eq(storm(7, true, &st), storm(7, true, &st));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("client");
	TCase *c = tcase_create("client");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, client_reads_what_it_wrote_over_a_good_network);
	tcase_add_test(c, client_survives_cuts_pauses_and_revocations);
	tcase_add_test(c, client_notices_a_changed_sector);
	tcase_add_test(c, equal_seeds_have_equal_traces);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
