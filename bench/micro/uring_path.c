/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/micro/uring_path.c: what a loop costs: round trips over a connected pair of TCP sockets, and
 * 4 KiB FUA writes, with the kernel's ring and without it.
 *
 *	uring_path FILE [MASK]     MASK as enum uring_feature, 0x80: without io_uring
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/disk.h"
#include "engine/port/net.h"
#include "engine/uring/disk.h"
#include "engine/uring/loop.h"
#include "engine/uring/net.h"

#define TRIPS 20000u
#define WRITES 2000u
#define BYTES 4096u
#define DEPTH_MAX 16u

enum { ACCEPT = 1, CONNECT = 2, SEND = 4, RECV = 8, DISK = 16 };

struct bench {
	struct log log;
	struct uring_loop *loop;
	struct env *env;
	struct op op;
};

static void bench_log(struct log *log, enum log_level level, const char *room, const char *line)
{
	fprintf(stderr, "%s: %s\n", room, line);
}

static void bench_step(struct op *op)
{
}

static void wait_for(struct bench *b, uint32_t bits)
{
	while ((b->op.waits & bits) != 0)
		if (uring_loop_turn(b->loop, SEC_NS) < 0)
			exit(1);
}

static void check(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err_text(rc));
	exit(1);
}

static void pair_open(struct bench *b, struct net_conn **ret_a, struct net_conn **ret_b)
{
	struct net_accept_req accept;
	struct net_connect_req connect;
	struct net_listener *l = NULL;

	check(net_listen(b->env->net, "127.0.0.1:0", &l), "listen");
	uring_listener_address(l, connect.address, sizeof(connect.address));
	completion_arm(&accept.done, &b->op, ACCEPT);
	completion_arm(&connect.done, &b->op, CONNECT);
	net_accept(l, &accept);
	net_connect(b->env->net, &connect);
	wait_for(b, ACCEPT | CONNECT);
	check(accept.done.rc, "accept");
	check(connect.done.rc, "connect");
	*ret_a = connect.conn;
	*ret_b = accept.conn;
	net_unlisten(&l);
}

/* One message from x to y, whole. */
static void pass(struct bench *b, struct net_conn *x, struct net_conn *y, char *out, char *in)
{
	struct iovec from = {out, BYTES}, to;
	struct net_io_req send = {.iov = &from, .iov_count = 1}, recv;
	uint32_t got = 0;

	completion_arm(&send.done, &b->op, SEND);
	net_send(x, &send);
	while (got < BYTES) {
		to = (struct iovec){in + got, BYTES - got};
		recv.iov = &to;
		recv.iov_count = 1;
		completion_arm(&recv.done, &b->op, RECV);
		net_recv(y, &recv);
		wait_for(b, RECV);
		check(recv.done.rc <= 0 ? -ERR_CLOSED : 0, "receive");
		got += (uint32_t)recv.done.rc;
	}
	wait_for(b, SEND);
	check(send.done.rc, "send");
}

static void bench_net(struct bench *b)
{
	struct net_conn *x, *y;
	static char out[BYTES], in[BYTES];
	uint64_t began;

	pair_open(b, &x, &y);
	began = clock_now(b->env->clock).v;
	for (uint32_t i = 0; i < TRIPS; i++) {
		pass(b, x, y, out, in);
		pass(b, y, x, out, in);
	}
	printf("net: %.1f us per round trip of 4 KiB\n",
	       (double)(clock_now(b->env->clock).v - began) / 1000.0 / TRIPS);
	net_close(&x);
	net_close(&y);
}

static void bench_disk(struct bench *b, const char *path, uint32_t depth)
{
	struct uring_disk_options o = {.create = true, .allocate = true, .bytes = 64u << 20};
	uint8_t *data = aligned_alloc(4096, BYTES);
	struct disk_req reqs[DEPTH_MAX];
	struct disk *d = NULL;
	uint64_t began;

	if (data == NULL)
		exit(1);
	memset(data, 0x5a, BYTES);
	check(uring_disk_open(b->loop, path, &o, &d), path);
	began = clock_now(b->env->clock).v;
	for (uint32_t i = 0; i < WRITES; i++) {
		uint32_t slot = i % depth;

		wait_for(b, DISK << slot);
		check(i < depth ? 0 : reqs[slot].done.rc, "write");
		completion_arm(&reqs[slot].done, &b->op, DISK << slot);
		disk_io(d, &reqs[slot], DISK_WRITE, DISK_FUA, (uint64_t)i * BYTES, data, BYTES);
	}
	wait_for(b, ((1u << depth) - 1) * DISK);
	printf("disk: %.1f us per FUA write of 4 KiB, %u at a time\n",
	       (double)(clock_now(b->env->clock).v - began) / 1000.0 / WRITES, depth);
	uring_disk_close(&d);
	free(data);
}

int main(int argc, char **argv)
{
	struct bench b = {.log = {.level = LOG_INFO, .write = bench_log}};
	struct uring_options o = {.log = &b.log};

	if (argc < 2) {
		fprintf(stderr, "usage: uring_path FILE [MASK]\n");
		return 2;
	}
	o.mask = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0;
	check(uring_loop_open(&o, &b.loop), "loop");
	b.env = uring_loop_env(b.loop);
	op_init(&b.op, b.env->ready, bench_step);
	bench_net(&b);
	bench_disk(&b, argv[1], 1);
	bench_disk(&b, argv[1], 8);
	op_unqueue(&b.op);
	uring_loop_close(&b.loop);
	return 0;
}
