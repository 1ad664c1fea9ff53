/* SPDX-License-Identifier: Apache-2.0 */
/* The whole server over a simulated network and volumes in memory. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/nbd/nbd_server.h"
#include "tests/unit/nbd/fake_volume.h"
#include "tests/unit/nbd/raw_client.h"

#define MIB (1u << 20)
#define SIZE (64u * MIB)
#define ADDRESS "tcp:fake:10809"

static struct fake *f;
static struct env *client_env;
static struct conductor *world;
static struct volume *v;
static struct nbd_server *server;
static struct nbd_server_opts opts;
static uint8_t *data; /* SIZE bytes for the test's use */

static void setup_bufs(const struct buf_pool_sizes *bufs)
{
	f = bufs != NULL ? fake_open_bufs(7, 0, bufs) : fake_open(7, 0);
	client_env = fake_node_new(f, "client");
	world = fake_conductor_open(f->env);
	v = fake_volume_add(world, "g/v", SIZE, 4096);
	nbd_server_opts_init(&opts);
	opts.addresses[0] = ADDRESS;
	opts.address_count = 1;
	opts.buf_reserve = 0;
	data = calloc(1, SIZE);
	ck_assert_ptr_nonnull(data);
}

static void setup(void)
{
	setup_bufs(NULL);
}

static void start(void)
{
	ck_assert_int_eq(nbd_server_open(f->env, world, &opts, &server), 0);
}

static int stop_server(void)
{
	struct fake_wait wait;

	nbd_server_close(&server, fake_arm(f, &wait));
	return fake_wait(f, &wait);
}

static void teardown(void)
{
	if (server != NULL)
		ck_assert_int_eq(stop_server(), 0);
	/* nothing of the engine's is left: every buf is back */
	ck_assert_uint_eq(buf_pool_free_count(f->env->bufs, BUF_1M),
			  f->world_env->buf_sizes.count[BUF_1M]);
	ck_assert_uint_eq(buf_pool_free_count(f->env->bufs, BUF_4K),
			  f->world_env->buf_sizes.count[BUF_4K]);
	fake_conductor_close(&world);
	fake_close(&f);
	free(data);
}

static void fill(uint8_t *p, uint32_t bytes, uint32_t seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)((i * 2654435761u + seed) >> 13);
}

static struct raw_client client(void)
{
	struct raw_client c;

	raw_connect(&c, f, client_env, ADDRESS);
	ck_assert_uint_eq(raw_go(&c, "g/v"), NBD_REP_ACK);
	return c;
}

static uint32_t connections(void)
{
	struct nbd_server_status status;

	nbd_server_status(server, &status);
	return status.connections;
}

static void expect_reply(struct raw_client *c, uint64_t cookie, uint32_t error)
{
	uint64_t got = 0;

	ck_assert_uint_eq(raw_reply(c, &got), error);
	ck_assert_uint_eq(got, cookie);
}

static void write_at(struct raw_client *c, uint64_t cookie, uint64_t off, const void *p,
		     uint32_t bytes)
{
	ck_assert_int_eq(raw_request(c, NBD_CMD_WRITE, cookie, off, bytes), 0);
	ck_assert_int_eq(raw_send(c, p, bytes), 0);
}

START_TEST(written_bytes_are_read_back)
{
	static const struct {
		uint64_t off;
		uint32_t bytes;
	} ranges[] = {{0, 4096},	 {513, 77},
		      {4095, 2},	 {MIB - 1, 2},
		      {3, 5 * MIB + 11}, {SIZE - 1, 1},
		      {MIB, MIB},	 {65536, 131072},
		      {7, 20 * MIB},	 {SIZE - 32u * MIB, 32u * MIB}};
	uint32_t n = ranges[_i].bytes;
	uint8_t *back = malloc(n);
	struct raw_client c;

	start();
	c = client();
	fill(data, n, 1);
	write_at(&c, 42, ranges[_i].off, data, n);
	expect_reply(&c, 42, 0);
	ck_assert_int_eq(memcmp(v->data + ranges[_i].off, data, n), 0);
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 43, ranges[_i].off, n), 0);
	expect_reply(&c, 43, 0);
	ck_assert_uint_eq(raw_recv(&c, back, n), n);
	ck_assert_int_eq(memcmp(back, data, n), 0);
	free(back);
	raw_close(&c);
}
END_TEST

START_TEST(export_name_enters_transmission)
{
	struct raw_client c;
	uint8_t answer[134];

	start();
	raw_connect(&c, f, client_env, ADDRESS);
	raw_greet(&c, 1);
	raw_option(&c, NBD_OPT_EXPORT_NAME, "", 0); /* the only volume */
	ck_assert_uint_eq(raw_recv(&c, answer, sizeof(answer)), sizeof(answer));
	ck_assert_int_eq(raw_request(&c, NBD_CMD_FLUSH, 5, 0, 0), 0);
	expect_reply(&c, 5, 0);
	ck_assert_uint_eq(world->flushes, 1);
	raw_close(&c);
}
END_TEST

/* The answer is longer than one send of the handshake. */
START_TEST(list_of_many_exports_is_complete)
{
	struct raw_client c;
	uint32_t entries = 0, type;

	for (uint32_t i = 1; i < FAKE_VOLUMES_MAX; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "group-%u/volume-%u", i / 8, i);
		(void)fake_volume_add(world, name, 512, 512);
	}
	start();
	raw_connect(&c, f, client_env, ADDRESS);
	raw_greet(&c, 3);
	raw_option(&c, NBD_OPT_LIST, NULL, 0);
	while ((type = raw_rep(&c)) == NBD_REP_SERVER)
		entries++;
	ck_assert_uint_eq(type, NBD_REP_ACK);
	ck_assert_uint_eq(entries, FAKE_VOLUMES_MAX);
	raw_option(&c, NBD_OPT_ABORT, NULL, 0);
	ck_assert_uint_eq(raw_rep(&c), NBD_REP_ACK);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

START_TEST(refusal_at_a_secondary_is_policy_and_haggling_goes_on)
{
	struct raw_client c;

	if (_i == 0)
		world->refuse_rc = -ERR_NOT_PRIMARY;
	else
		world->attach_rc = -ERR_NOT_PRIMARY;
	start();
	raw_connect(&c, f, client_env, ADDRESS);
	ck_assert_uint_eq(raw_go(&c, "g/v"), NBD_REP_ERR_POLICY);
	raw_option(&c, NBD_OPT_LIST, NULL, 0);
	ck_assert_uint_eq(raw_rep(&c), NBD_REP_SERVER);
	raw_close(&c);
}
END_TEST

START_TEST(replies_come_in_any_order_with_their_cookies)
{
	struct raw_client c;

	start();
	c = client();
	world->hold = world->reverse = true;
	for (uint64_t i = 0; i < 20; i++)
		write_at(&c, 100 + i, i * 4096, data, 4096);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->held_count, 20);
	for (uint64_t i = 20; i-- > 0;) {
		fake_release(world, 1, 0);
		expect_reply(&c, 100 + i, 0);
	}
	raw_close(&c);
}
END_TEST

START_TEST(bytes_may_trickle_in)
{
	uint8_t bytes[NBD_REQUEST_BYTES + 100];
	struct nbd_request q = {0, NBD_CMD_WRITE, 9, 4090, 100};
	struct raw_client c;

	start();
	c = client();
	fill(data, 100, 3);
	nbd_put_request(bytes, &q);
	memcpy(bytes + NBD_REQUEST_BYTES, data, 100);
	for (uint32_t i = 0; i < sizeof(bytes); i++) {
		ck_assert_int_eq(raw_send(&c, bytes + i, 1), 0);
		fake_run_for(f, 10 * MS_NS);
	}
	expect_reply(&c, 9, 0);
	ck_assert_mem_eq(v->data + 4090, data, 100);
	raw_close(&c);
}
END_TEST

START_TEST(many_requests_in_one_piece_are_all_served)
{
	uint32_t one = NBD_REQUEST_BYTES + 512, count = 1000;
	struct raw_client c;
	uint64_t sum = 0;

	start();
	c = client();
	for (uint32_t i = 0; i < count; i++) {
		struct nbd_request q = {i % 2 != 0 ? NBD_CMD_FLAG_FUA : 0, NBD_CMD_WRITE, i,
					i * 512ull, 512};

		nbd_put_request(data + i * one, &q);
		memset(data + i * one + NBD_REQUEST_BYTES, (int)(i % 251), 512);
	}
	ck_assert_int_eq(raw_send(&c, data, count * one), 0);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t cookie;

		ck_assert_uint_eq(raw_reply(&c, &cookie), 0);
		sum += cookie;
	}
	ck_assert_uint_eq(sum, (uint64_t)count * (count - 1) / 2);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_uint_eq(v->data[i * 512 + i % 512], i % 251);
	ck_assert_uint_eq(world->fua, count / 2);
	raw_close(&c);
}
END_TEST

START_TEST(refused_writes_are_drained_and_the_stream_goes_on)
{
	struct raw_client c;

	start();
	c = client();
	write_at(&c, 1, SIZE - 4096, data, 8192);
	expect_reply(&c, 1, NBD_ENOSPC);
	ck_assert_int_eq(raw_request_flags(&c, NBD_CMD_WRITE, 0x40, 2, 0, 100000), 0);
	ck_assert_int_eq(raw_send(&c, data, 100000), 0);
	expect_reply(&c, 2, NBD_EINVAL);
	write_at(&c, 3, 0, data, 33u * MIB);
	expect_reply(&c, 3, NBD_EINVAL);
	ck_assert_int_eq(raw_request(&c, 77, 4, 0, 4096), 0);
	expect_reply(&c, 4, NBD_EINVAL);
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 5, SIZE, 1), 0);
	expect_reply(&c, 5, NBD_EINVAL);
	ck_assert_int_eq(raw_request(&c, NBD_CMD_WRITE, 6, 0, 0), 0);
	expect_reply(&c, 6, 0);
	ck_assert_uint_eq(world->writes, 0);
	v->data[5] = 9;
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 7, 5, 1), 0);
	expect_reply(&c, 7, 0);
	ck_assert_uint_eq(raw_recv(&c, data, 1), 1);
	ck_assert_uint_eq(data[0], 9);
	raw_close(&c);
}
END_TEST

START_TEST(payload_beyond_reason_closes)
{
	struct raw_client c;

	start();
	c = client();
	ck_assert_int_eq(raw_request(&c, NBD_CMD_WRITE, 1, 0, UINT32_MAX), 0);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

START_TEST(zero_trim_and_flags_reach_the_volume)
{
	struct raw_client c;

	start();
	c = client();
	memset(v->data, 0xff, SIZE);
	ck_assert_int_eq(raw_request_flags(&c, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 1, 100,
					   40u * MIB),
			 0);
	expect_reply(&c, 1, 0);
	ck_assert_uint_eq(v->data[99], 0xff);
	ck_assert_uint_eq(v->data[100], 0);
	ck_assert_uint_eq(v->data[100 + 40u * MIB], 0xff);
	ck_assert_int_eq(raw_request_flags(&c, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 2, 0, SIZE), 0);
	expect_reply(&c, 2, 0);
	ck_assert_uint_eq(world->no_hole, 1);
	ck_assert_uint_eq(world->fua, 1);
	ck_assert_uint_eq(world->trims, 1);
	ck_assert_uint_eq(world->zeroes, 1);
	raw_close(&c);
}
END_TEST

START_TEST(read_only_export_refuses_changes)
{
	static const uint16_t types[] = {NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES};
	struct raw_client c;

	v->info.read_only = true;
	start();
	c = client();
	write_at(&c, 1, 0, data, 512);
	expect_reply(&c, 1, NBD_EPERM);
	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(raw_request(&c, types[i], 2, 0, 512), 0);
		expect_reply(&c, 2, NBD_EPERM);
	}
	raw_close(&c);
}
END_TEST

START_TEST(volume_errors_are_answered_and_survived)
{
	static const struct {
		int rc;
		uint32_t error;
	} cases[] = {{-ERR_IO, NBD_EIO},
		     {-ERR_CORRUPT, NBD_EIO},
		     {-ERR_FULL, NBD_ENOSPC},
		     {-ERR_POOL_EMPTY, NBD_EIO}};
	struct raw_client c;

	start();
	c = client();
	world->fail_rc = cases[_i].rc;
	world->fail_off = 3 * MIB;
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 1, 0, 5 * MIB), 0);
	expect_reply(&c, 1, cases[_i].error);
	write_at(&c, 2, MIB / 2, data, 9 * MIB);
	expect_reply(&c, 2, cases[_i].error);
	world->fail_rc = 0;
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 3, 0, 512), 0);
	expect_reply(&c, 3, 0);
	raw_close(&c);
}
END_TEST

/* Once the header of a streamed read says success, only closing can tell of a failure. */
START_TEST(streamed_read_that_fails_late_closes)
{
	struct raw_client c;
	uint32_t got;

	start();
	c = client();
	world->fail_rc = -ERR_IO;
	world->fail_off = 25u * MIB;
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 1, 0, 32u * MIB), 0);
	expect_reply(&c, 1, 0);
	got = raw_recv(&c, data, 32u * MIB);
	ck_assert_uint_lt(got, 32u * MIB);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
	world->fail_rc = 0;
}
END_TEST

START_TEST(disc_finishes_what_is_outstanding)
{
	struct raw_client c;

	start();
	c = client();
	world->hold = true;
	write_at(&c, 1, 0, data, 4096);
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 2, 0, 4096), 0);
	ck_assert_int_eq(raw_request_flags(&c, NBD_CMD_DISC, 0xffff, 3, 1, 1), 0);
	write_at(&c, 4, 0, data, 512); /* ignored */
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->held_count, 2);
	fake_release(world, 2, 0);
	expect_reply(&c, 1, 0);
	expect_reply(&c, 2, 0);
	ck_assert_uint_eq(raw_recv(&c, data, 4096), 4096);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

START_TEST(bad_magic_closes_after_what_is_in_flight)
{
	struct raw_client c;

	start();
	c = client();
	ck_assert_int_eq(raw_request(&c, NBD_CMD_FLUSH, 1, 0, 0), 0);
	ck_assert_int_eq(raw_send(&c, data, NBD_REQUEST_BYTES), 0);
	expect_reply(&c, 1, 0);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

/* A role change is never an error to the client: successes, then the end. */
START_TEST(revocation_sends_successes_but_never_an_error)
{
	struct raw_client c;

	start();
	c = client();
	world->hold = true;
	for (uint64_t i = 0; i < 8; i++)
		write_at(&c, i, i * 4096, data, 4096);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->held_count, 8);
	fake_release(world, 3, 0);
	fake_revoke(v);
	for (uint64_t i = 0; i < 3; i++)
		expect_reply(&c, i, 0);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(connections(), 0);
}
END_TEST

START_TEST(result_closed_without_revocation_closes_too)
{
	struct raw_client c;

	start();
	c = client();
	world->hold = true;
	write_at(&c, 1, 0, data, 4096);
	fake_run_for(f, SEC_NS);
	fake_release(world, 1, _i == 0 ? -ERR_CLOSED : -ERR_NOT_PRIMARY);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

START_TEST(revocation_in_the_middle_of_a_payload_closes)
{
	struct raw_client c;

	start();
	c = client();
	ck_assert_int_eq(raw_request(&c, NBD_CMD_WRITE, 1, 0, 4 * MIB), 0);
	ck_assert_int_eq(raw_send(&c, data, 2 * MIB + 5), 0);
	fake_run_for(f, SEC_NS);
	fake_revoke(v);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

START_TEST(idle_client_is_closed_by_revocation)
{
	struct raw_client c;

	start();
	c = client();
	fake_run_for(f, SEC_NS);
	fake_revoke(v);
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

/*
 * A stale write: (1) the client sends A and B; only A can start; (2) it gives up, closes, and
 * sends both again elsewhere; (3) A ends here.  B must not start: elsewhere it may already have
 * been overwritten by something newer.
 */
START_TEST(write_behind_a_closed_stream_is_not_started)
{
	struct raw_client c;

	opts.requests_max = 1;
	start();
	c = client();
	world->hold = true;
	write_at(&c, 1, 0, data, 4096);
	write_at(&c, 2, 0, data, 4096);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->held_count, 1);
	raw_close(&c);
	fake_run_for(f, SEC_NS);
	world->hold = false;
	fake_release(world, 1, 0);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->writes, 1);
	ck_assert_uint_eq(connections(), 0);
}
END_TEST

START_TEST(client_that_dies_costs_only_its_connection)
{
	struct raw_client a, b;

	start();
	a = client();
	b = client();
	world->hold = true;
	write_at(&a, 1, 0, data, 4096);
	ck_assert_int_eq(raw_request(&a, NBD_CMD_WRITE, 2, 0, 2 * MIB), 0);
	ck_assert_int_eq(raw_send(&a, data, MIB + MIB / 2), 0);
	fake_run_for(f, SEC_NS);
	raw_close(&a);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(connections(), 2); /* its writes are still in the volume */
	world->hold = false;
	fake_release(world, 8, 0);
	ck_assert_int_eq(raw_request(&b, NBD_CMD_FLUSH, 3, 0, 0), 0);
	expect_reply(&b, 3, 0);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(connections(), 1);
	raw_close(&b);
}
END_TEST

START_TEST(outstanding_requests_are_limited)
{
	struct raw_client c;

	opts.requests_max = 5;
	start();
	c = client();
	world->hold = true;
	for (uint64_t i = 0; i < 50; i++)
		ck_assert_int_eq(raw_request(&c, NBD_CMD_FLUSH, i, 0, 0), 0);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->held_count, 5);
	for (uint64_t i = 0; i < 50; i++) {
		fake_release(world, 1, 0);
		expect_reply(&c, i, 0);
	}
	ck_assert_uint_eq(world->most_held, 5);
	raw_close(&c);
}
END_TEST

START_TEST(bytes_held_by_one_connection_are_limited)
{
	struct raw_client c;

	opts.buf_bytes_max = 2 * MIB;
	start();
	c = client();
	world->hold = true;
	for (uint64_t i = 0; i < 6; i++)
		ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, i, i * MIB, MIB), 0);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(world->held_count, 2);
	world->hold = false;
	fake_release(world, 2, 0);
	for (uint64_t i = 0; i < 6; i++) {
		expect_reply(&c, i, 0);
		ck_assert_uint_eq(raw_recv(&c, data, MIB), MIB);
	}
	raw_close(&c);
}
END_TEST

#define CROWD 4u

/* Each of four clients wants far more than the whole pool holds, at once. */
START_TEST(tiny_pool_serves_everybody)
{
	uint32_t each = 8u * MIB, bytes = each + NBD_SIMPLE_REPLY_BYTES;
	struct raw_client c[CROWD];
	struct raw_reader r[CROWD];

	start();
	fill(v->data, SIZE, 5);
	for (uint32_t i = 0; i < CROWD; i++)
		c[i] = client();
	for (uint32_t i = 0; i < CROWD; i++) {
		ck_assert_int_eq(raw_request(&c[i], NBD_CMD_READ, i, i, each), 0);
		raw_reader_start(&r[i], &c[i], data + i * bytes, bytes);
	}
	fake_run_for(f, 50 * SEC_NS);
	for (uint32_t i = 0; i < CROWD; i++) {
		ck_assert(r[i].over);
		ck_assert_uint_eq(r[i].got, bytes);
		ck_assert_int_eq(
			memcmp(data + i * bytes + NBD_SIMPLE_REPLY_BYTES, v->data + i, each), 0);
	}
	fill(data, each, 77);
	for (uint32_t i = 0; i < CROWD; i++) {
		write_at(&c[i], i, i * each + 1, data, each);
		expect_reply(&c[i], i, 0);
		ck_assert_int_eq(memcmp(v->data + i * each + 1, data, each), 0);
		raw_close(&c[i]);
	}
}
END_TEST

/* One client that does not read cannot take the whole pool from another. */
START_TEST(stuck_client_leaves_bufs_to_others)
{
	struct raw_client stuck, other;

	start();
	stuck = client();
	other = client();
	ck_assert_int_eq(raw_request(&stuck, NBD_CMD_READ, 1, 0, 16u * MIB), 0);
	fake_run_for(f, SEC_NS);
	ck_assert_int_eq(raw_request(&other, NBD_CMD_READ, 2, 0, 4u * MIB), 0);
	expect_reply(&other, 2, 0);
	ck_assert_uint_eq(raw_recv(&other, data, 4u * MIB), 4u * MIB);
	ck_assert_uint_eq(connections(), 2);
	raw_close(&stuck);
	raw_close(&other);
}
END_TEST

START_TEST(handshake_has_a_deadline)
{
	struct raw_client c;

	start();
	raw_connect(&c, f, client_env, ADDRESS);
	if (_i == 1)
		raw_greet(&c, 3);
	if (_i == 2) {
		raw_greet(&c, 3);
		raw_option(&c, NBD_OPT_STARTTLS, NULL, 0);
		ck_assert_uint_eq(raw_rep(&c), NBD_REP_ERR_UNSUP);
	}
	fake_run_for(f, 9 * SEC_NS);
	ck_assert_uint_eq(connections(), 1);
	fake_run_for(f, 4 * SEC_NS);
	ck_assert_uint_eq(connections(), 0);
	raw_close(&c);
}
END_TEST

START_TEST(idle_client_in_transmission_has_no_deadline)
{
	struct raw_client c;

	start();
	c = client();
	fake_run_for(f, 500 * SEC_NS);
	ck_assert_int_eq(raw_request(&c, NBD_CMD_FLUSH, 1, 0, 0), 0);
	expect_reply(&c, 1, 0);
	raw_close(&c);
}
END_TEST

START_TEST(client_that_does_not_read_is_closed)
{
	struct raw_client c;

	start();
	c = client();
	for (uint64_t i = 0; i < 16; i++)
		ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, i, 0, MIB), 0);
	fake_run_for(f, 50 * SEC_NS);
	ck_assert_uint_eq(connections(), 1);
	fake_run_for(f, 20 * SEC_NS);
	ck_assert_uint_eq(connections(), 0);
	raw_close(&c);
}
END_TEST

START_TEST(payload_that_never_comes_is_closed)
{
	struct raw_client c;

	start();
	c = client();
	ck_assert_int_eq(raw_request(&c, NBD_CMD_WRITE, 1, 0, 8192), 0);
	ck_assert_int_eq(raw_send(&c, data, 4096), 0);
	fake_run_for(f, 50 * SEC_NS);
	ck_assert_uint_eq(connections(), 1);
	fake_run_for(f, 20 * SEC_NS);
	ck_assert_uint_eq(connections(), 0);
	raw_close(&c);
}
END_TEST

START_TEST(closing_the_server_answers_what_is_in_flight)
{
	struct raw_client c, haggling;
	struct fake_wait wait;

	start();
	c = client();
	raw_connect(&haggling, f, client_env, ADDRESS);
	raw_greet(&haggling, 3);
	world->hold = true;
	write_at(&c, 1, 0, data, 4096);
	fake_run_for(f, SEC_NS);
	nbd_server_close(&server, fake_arm(f, &wait));
	fake_run_for(f, SEC_NS);
	ck_assert(!fake_fired(&wait));
	fake_release(world, 1, 0);
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	expect_reply(&c, 1, 0);
	ck_assert(raw_at_end(&c));
	ck_assert(raw_at_end(&haggling));
	raw_close(&c);
	raw_close(&haggling);
}
END_TEST

/*
 * (1) A write is held.  (2) A large READ is streamed, its header is sent.  (3) The write ends; its
 * reply waits behind the stream.  (4) The server closes: the READ is cut no further, so its stream
 * never ends and the reply is never sent; the connection must end all the same.
 */
START_TEST(closing_in_the_middle_of_a_streamed_read_ends)
{
	struct raw_client c;
	struct raw_reader reader;
	struct fake_wait wait;

	start();
	c = client();
	world->hold = world->reverse = true;
	write_at(&c, 1, 0, data, 4096);
	ck_assert_int_eq(raw_request(&c, NBD_CMD_READ, 2, MIB, 16u * MIB), 0);
	fake_run_for(f, SEC_NS);
	ck_assert_uint_ge(world->held_count, 2);
	fake_release(world, world->held_count - 1, 0);
	expect_reply(&c, 2, 0);
	raw_reader_start(&reader, &c, data, SIZE);
	fake_run_for(f, SEC_NS);
	world->reverse = false;
	fake_release(world, 1, 0); /* the write */
	fake_run_for(f, SEC_NS);
	nbd_server_close(&server, fake_arm(f, &wait));
	fake_run_for(f, SEC_NS);
	world->hold = false;
	fake_release(world, UINT32_MAX, 0);
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	fake_run_for(f, SEC_NS);
	ck_assert(reader.over && reader.got < 16u * MIB);
	raw_close(&c);
}
END_TEST

START_TEST(server_opens_again_after_closing)
{
	struct raw_client c;

	for (int i = 0; i < 3; i++) {
		start();
		c = client();
		ck_assert_int_eq(raw_request(&c, NBD_CMD_FLUSH, 1, 0, 0), 0);
		expect_reply(&c, 1, 0);
		ck_assert_int_eq(stop_server(), 0);
		ck_assert(raw_at_end(&c));
		raw_close(&c);
	}
}
END_TEST

START_TEST(connections_are_limited_and_slots_are_reused)
{
	struct raw_client a, b;
	struct nbd_client_status status;

	opts.connections_max = 1;
	start();
	a = client();
	ck_assert(nbd_server_client(server, 0, &status));
	ck_assert_str_eq(status.volume, "g/v");
	ck_assert(!nbd_server_client(server, 1, &status));
	raw_connect(&b, f, client_env, ADDRESS); /* in the backlog */
	fake_run_for(f, SEC_NS);
	ck_assert_uint_eq(connections(), 1);
	raw_close(&a);
	ck_assert_uint_eq(raw_go(&b, "g/v"), NBD_REP_ACK);
	ck_assert_int_eq(raw_request(&b, NBD_CMD_FLUSH, 1, 0, 0), 0);
	expect_reply(&b, 1, 0);
	raw_close(&b);
}
END_TEST

START_TEST(bad_options_are_refused)
{
	struct nbd_server *none = NULL;
	struct nbd_server_opts o = opts;

	o.address_count = 0;
	ck_assert_int_eq(nbd_server_open(f->env, world, &o, &none), -ERR_INVALID);
	o = opts;
	o.requests_max = 0;
	ck_assert_int_eq(nbd_server_open(f->env, world, &o, &none), -ERR_INVALID);
	o = opts;
	o.address_count = 2;
	o.addresses[1] = ADDRESS;
	ck_assert_int_eq(nbd_server_open(f->env, world, &o, &none), -ERR_IN_USE);
	ck_assert_ptr_null(none);
	start(); /* the first address was given back */
}
END_TEST

static void setup_tiny(void)
{
	static const struct buf_pool_sizes tiny = {.count = {2, 1, 2}};

	setup_bufs(&tiny);
}

static TCase *main_case(void)
{
	TCase *tc = tcase_create("server");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, written_bytes_are_read_back, 0, 10);
	tcase_add_test(tc, export_name_enters_transmission);
	tcase_add_test(tc, list_of_many_exports_is_complete);
	tcase_add_loop_test(tc, refusal_at_a_secondary_is_policy_and_haggling_goes_on, 0, 2);
	tcase_add_test(tc, replies_come_in_any_order_with_their_cookies);
	tcase_add_test(tc, bytes_may_trickle_in);
	tcase_add_test(tc, many_requests_in_one_piece_are_all_served);
	tcase_add_test(tc, refused_writes_are_drained_and_the_stream_goes_on);
	tcase_add_test(tc, payload_beyond_reason_closes);
	tcase_add_test(tc, zero_trim_and_flags_reach_the_volume);
	tcase_add_test(tc, read_only_export_refuses_changes);
	tcase_add_loop_test(tc, volume_errors_are_answered_and_survived, 0, 4);
	tcase_add_test(tc, streamed_read_that_fails_late_closes);
	tcase_add_test(tc, disc_finishes_what_is_outstanding);
	tcase_add_test(tc, bad_magic_closes_after_what_is_in_flight);
	tcase_add_test(tc, revocation_sends_successes_but_never_an_error);
	tcase_add_loop_test(tc, result_closed_without_revocation_closes_too, 0, 2);
	tcase_add_test(tc, revocation_in_the_middle_of_a_payload_closes);
	tcase_add_test(tc, idle_client_is_closed_by_revocation);
	tcase_add_test(tc, write_behind_a_closed_stream_is_not_started);
	tcase_add_test(tc, client_that_dies_costs_only_its_connection);
	tcase_add_test(tc, outstanding_requests_are_limited);
	tcase_add_test(tc, bytes_held_by_one_connection_are_limited);
	tcase_add_loop_test(tc, handshake_has_a_deadline, 0, 3);
	tcase_add_test(tc, idle_client_in_transmission_has_no_deadline);
	tcase_add_test(tc, client_that_does_not_read_is_closed);
	tcase_add_test(tc, payload_that_never_comes_is_closed);
	tcase_add_test(tc, closing_the_server_answers_what_is_in_flight);
	tcase_add_test(tc, closing_in_the_middle_of_a_streamed_read_ends);
	tcase_add_test(tc, server_opens_again_after_closing);
	tcase_add_test(tc, connections_are_limited_and_slots_are_reused);
	tcase_add_test(tc, bad_options_are_refused);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("nbd-server");
	TCase *tiny = tcase_create("tiny-pool");
	SRunner *r;
	int failed;

	suite_add_tcase(s, main_case());
	tcase_set_timeout(tiny, 120);
	tcase_add_checked_fixture(tiny, setup_tiny, teardown);
	tcase_add_test(tiny, tiny_pool_serves_everybody);
	tcase_add_test(tiny, stuck_client_leaves_bufs_to_others);
	suite_add_tcase(s, tiny);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
