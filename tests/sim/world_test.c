/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/world_test.c: the simulated ports keep their contracts. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/lib/fakes.h"

static struct buf *filled(struct fake *f, uint8_t byte)
{
	struct buf *b = buf_take(f->env->bufs, 4096);

	memset(b->data, byte, 4096);
	return b;
}

static int disk_do(struct fake *f, enum disk_kind kind, uint32_t flags, uint64_t off, struct buf *b)
{
	struct fake_wait w;
	struct disk_req req;

	memset(&req, 0, sizeof(req));
	fake_arm_on(f->env, &w, &req.done);
	disk_io(f->disk, &req, kind, flags, off, b == NULL ? NULL : b->data, b == NULL ? 0 : 4096);
	return fake_wait(f, &w);
}

START_TEST(disk_write_is_read_back)
{
	struct fake *f = fake_open(1, 1 << 20);
	struct buf *b = filled(f, 7), *r = filled(f, 0);

	ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 8192, b), 0);
	ck_assert_int_eq(disk_do(f, DISK_READ, 0, 8192, r), 0);
	ck_assert_mem_eq(b->data, r->data, 4096);
	fake_close(&f);
}
END_TEST

START_TEST(disk_keeps_flushed_and_fua_writes_over_a_crash)
{
	for (uint64_t seed = 1; seed < 50; seed++) {
		struct fake *f = fake_open(seed, 1 << 20);
		uint8_t got[4096];

		ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 0, filled(f, 1)), 0);
		ck_assert_int_eq(disk_do(f, DISK_FLUSH, 0, 0, NULL), 0);
		ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 4096, filled(f, 1)), 0);
		ck_assert_int_eq(disk_do(f, DISK_WRITE, DISK_FUA, 4096, filled(f, 2)), 0);
		fake_crash(f);
		for (int i = 0; i < 2; i++) {
			sim_disk_peek(f->sim_disk, (uint64_t)i * 4096, got, 4096);
			for (int k = 0; k < 4096; k++)
				ck_assert_int_eq(got[k], i + 1);
		}
		fake_close(&f);
	}
}
END_TEST

START_TEST(disk_tears_undurable_writes_at_sectors)
{
	int torn = 0, versions[4] = {0};

	for (uint64_t seed = 1; seed < 50; seed++) {
		struct fake *f = fake_open(seed, 1 << 20);
		uint8_t got[4096];

		for (uint8_t v = 1; v <= 3; v++)
			ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 0, filled(f, v)), 0);
		fake_crash(f);
		fake_boot(f);
		sim_disk_peek(f->sim_disk, 0, got, 4096);
		for (int k = 0; k < 4096; k++) {
			ck_assert_uint_le(got[k], 3);
			ck_assert_uint_eq(got[k], got[k / 512 * 512]);
			versions[got[k]]++;
		}
		torn += got[0] != got[4095];
		fake_close(&f);
	}
	ck_assert_int_gt(torn, 5);
	for (int i = 0; i < 4; i++)
		ck_assert_int_gt(versions[i], 0);
}
END_TEST

START_TEST(disk_fails_the_nth_io_and_stops_at_the_nth_io)
{
	struct fake *f = fake_open(1, 1 << 20);
	struct fake_wait w;
	struct disk_req req;

	f->sim_disk->faults.fail_nth = 2;
	ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 0, filled(f, 1)), 0);
	ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 0, filled(f, 1)), -ERR_IO);
	ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, 0, filled(f, 1)), 0);
	f->sim_disk->faults.stop_nth = 1;
	memset(&req, 0, sizeof(req));
	fake_arm_on(f->env, &w, &req.done);
	disk_io(f->disk, &req, DISK_FLUSH, 0, 0, NULL, 0);
	ck_assert_int_eq(fake_wait(f, &w), -ERR_TIMEOUT);
	ck_assert(f->sim_disk->faults.stopped);
	fake_close(&f);
}
END_TEST

START_TEST(timers_fire_in_order_and_not_before_their_time)
{
	struct fake *f = fake_open(1, 0);
	struct timer t[3];
	struct fake_wait w[3];
	const uint64_t ms[3] = {30, 10, 20};
	uint64_t start = clock_now(f->env->clock).v;

	world_set_drift(f->node, -1000);
	memset(t, 0, sizeof(t));
	for (int i = 0; i < 3; i++) {
		fake_arm_on(f->env, &w[i], &t[i].done);
		t[i].deadline.v = start + ms[i] * MS_NS;
		clock_timer_arm(f->env->clock, &t[i]);
	}
	while (w[2].op.waits != 0)
		ck_assert(world_step(f->world));
	ck_assert_uint_eq(w[1].op.waits, 0);
	ck_assert_uint_eq(w[0].op.waits, 1);
	ck_assert_uint_ge(clock_now(f->env->clock).v, start + 20 * MS_NS);
	clock_timer_disarm(f->env->clock, &t[0]);
	ck_assert_int_eq(t[0].done.rc, -ERR_CANCELED);
	fake_close(&f);
}
END_TEST

struct talk {
	struct fake *f;
	struct env *b;
	struct net_listener *l;
	struct net_conn *ca, *cb;
};

static void talk_open(struct talk *t, uint64_t seed)
{
	struct fake_wait wa, wb;
	struct net_accept_req ar;
	struct net_connect_req cr;

	memset(&ar, 0, sizeof(ar));
	memset(&cr, 0, sizeof(cr));
	t->f = fake_open(seed, 0);
	t->b = fake_node_new(t->f, "b");
	ck_assert_int_eq(net_listen(t->b->net, "tcp:b:7000", &t->l), 0);
	fake_arm_on(t->b, &wb, &ar.done);
	net_accept(t->l, &ar);
	fake_arm_on(t->f->env, &wa, &cr.done);
	snprintf(cr.address, sizeof(cr.address), "b:7000");
	net_connect(t->f->env->net, &cr);
	while (wa.op.waits != 0 || wb.op.waits != 0)
		ck_assert(world_step(t->f->world));
	ck_assert_int_eq(cr.done.rc, 0);
	t->ca = cr.conn;
	t->cb = ar.conn;
}

START_TEST(stream_keeps_every_byte_in_order)
{
	for (uint64_t seed = 1; seed < 6; seed++) {
		struct talk t;
		struct fake_wait ws, wr;
		struct net_io_req s, r;
		size_t bytes = 3u << 20, got = 0;
		uint8_t *out = malloc(bytes), *in = malloc(bytes);
		struct iovec si = {out, bytes}, ri;

		talk_open(&t, seed);
		for (size_t i = 0; i < bytes; i++)
			out[i] = (uint8_t)(i * 7 + i / 5000);
		memset(&s, 0, sizeof(s));
		memset(&r, 0, sizeof(r));
		fake_arm_on(t.f->env, &ws, &s.done);
		s.iov = &si;
		s.iov_count = 1;
		net_send(t.ca, &s);
		while (got < bytes) {
			fake_arm_on(t.b, &wr, &r.done);
			ri = (struct iovec){in + got, bytes - got};
			r.iov = &ri;
			r.iov_count = 1;
			net_recv(t.cb, &r);
			while (wr.op.waits != 0)
				ck_assert(world_step(t.f->world));
			ck_assert_int_gt(r.done.rc, 0);
			got += (size_t)r.done.rc;
		}
		ck_assert_mem_eq(out, in, bytes);
		ck_assert_uint_eq(ws.op.waits, 0);
		fake_close(&t.f);
		free(out);
		free(in);
	}
}
END_TEST

static int recv_rc(struct talk *t, struct env *e, struct net_conn *c)
{
	static uint8_t byte[16];
	struct fake_wait w;
	struct net_io_req r;
	struct iovec i = {byte, sizeof(byte)};

	memset(&r, 0, sizeof(r));
	fake_arm_on(e, &w, &r.done);
	r.iov = &i;
	r.iov_count = 1;
	net_recv(c, &r);
	while (w.op.waits != 0)
		ck_assert(world_step(t->f->world));
	return r.done.rc;
}

START_TEST(stream_ends_when_the_peer_closes)
{
	struct talk t;

	talk_open(&t, 3);
	net_close(&t.ca);
	ck_assert_int_eq(recv_rc(&t, t.b, t.cb), 0);
	ck_assert(net_peer_closed(t.cb));
	fake_close(&t.f);
}
END_TEST

START_TEST(killed_process_resets_and_power_loss_is_silent)
{
	struct talk t;

	talk_open(&t, 3);
	world_crash(t.f->world->nodes[1], WORLD_CRASH_KILL);
	ck_assert_int_le(recv_rc(&t, t.f->env, t.ca), 0);
	fake_close(&t.f);
	talk_open(&t, 3);
	world_crash(t.f->world->nodes[1], WORLD_CRASH_POWER);
	fake_run_for(t.f, SEC_NS);
	ck_assert(!net_peer_closed(t.ca));
	fake_close(&t.f);
}
END_TEST

static uint64_t hash_of(uint64_t seed)
{
	struct fake *f = fake_open(seed, 1 << 20);
	uint64_t h;

	for (int i = 0; i < 20; i++) {
		struct buf *b = filled(f, (uint8_t)i);

		ck_assert_int_eq(disk_do(f, DISK_WRITE, 0, (uint64_t)i * 4096, b), 0);
		buf_unref(&b);
	}
	fake_crash(f);
	h = f->world->hash;
	fake_close(&f);
	return h;
}

START_TEST(equal_seeds_give_equal_traces)
{
	ck_assert_uint_eq(hash_of(5), hash_of(5));
	ck_assert_uint_ne(hash_of(5), hash_of(6));
}
END_TEST

static bool ten_runs(void *ctx)
{
	return ((struct fake_wait *)ctx)->runs >= 1;
}

START_TEST(paused_node_runs_nothing_until_resumed)
{
	struct fake *f = fake_open(1, 0);
	struct fake_wait w;
	struct timer t;

	memset(&t, 0, sizeof(t));
	fake_arm_on(f->env, &w, &t.done);
	t.deadline.v = clock_now(f->env->clock).v + MS_NS;
	clock_timer_arm(f->env->clock, &t);
	world_pause(f->node, false);
	ck_assert(!fake_run_until(f, SEC_NS, ten_runs, &w));
	world_resume(f->node);
	ck_assert(fake_run_until(f, SEC_NS, ten_runs, &w));
	fake_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("world");
	TCase *c = tcase_create("world");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_test(c, disk_write_is_read_back);
	tcase_add_test(c, disk_keeps_flushed_and_fua_writes_over_a_crash);
	tcase_add_test(c, disk_tears_undurable_writes_at_sectors);
	tcase_add_test(c, disk_fails_the_nth_io_and_stops_at_the_nth_io);
	tcase_add_test(c, timers_fire_in_order_and_not_before_their_time);
	tcase_add_test(c, stream_keeps_every_byte_in_order);
	tcase_add_test(c, stream_ends_when_the_peer_closes);
	tcase_add_test(c, killed_process_resets_and_power_loss_is_silent);
	tcase_add_test(c, equal_seeds_give_equal_traces);
	tcase_add_test(c, paused_node_runs_nothing_until_resumed);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
