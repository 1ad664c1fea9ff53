/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/nbd_server_fuzz.c
 * Purpose.     The whole server on one connection whose bytes, cuts and accidents come from the
 *              input: requests held back, failed and reversed, roles lost, few buffers, peers gone.
 * Invariants.  No assertion fails, nothing leaks, every run ends with everything given back.
 *
 * Input: 4 bytes of control, then a stream.  Control bit 0 prepends a valid handshake; bit 1 reads
 * the stream as 12-byte descriptions of requests, from which well-formed ones are made.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/nbd/nbd_conn.h"
#include "engine/nbd/nbd_server.h"
#include "engine/port/clock.h"
#include "tests/unit/nbd/fake_volume.h"

#define STREAM_BYTES (1u << 20)
#define VOLUME_BYTES (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* One listener, one connection, one clock. */
struct stub {
	struct net net;
	struct net_listener listener;
	struct net_conn conn;
	struct clock clock;
	struct ready ready;
	struct counters counters;
	struct log log;
	struct env env;
	struct net_accept_req *accept;
	struct net_io_req *recv, *send;
	struct timer *timer;
	uint64_t now;
	uint8_t *stream;
	uint32_t bytes, at;
	uint64_t luck;
	bool accepted, shut, closed, peer_closed, slow;
	struct buf *hog[16]; /* bufs that others use */
	struct op wait_op;
	struct completion done;
};

static uint32_t luck(struct stub *s, uint32_t n)
{
	s->luck = s->luck * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(s->luck >> 33) % n;
}

static int stub_listen(struct net *net, const char *address, struct net_listener **ret)
{
	*ret = &container_of(net, struct stub, net)->listener;
	return 0;
}

static void stub_accept(struct net_listener *l, struct net_accept_req *req)
{
	struct stub *s = container_of(l, struct stub, listener);

	if (s->accepted) {
		s->accept = req;
		return;
	}
	s->accepted = true;
	req->conn = &s->conn;
	completion_fire(&req->done, 0);
}

static void stub_unlisten(struct net_listener **l)
{
	struct stub *s = container_of(*l, struct stub, listener);

	*l = NULL;
	if (s->accept != NULL)
		completion_fire(&s->accept->done, -ERR_CANCELED);
	s->accept = NULL;
}

static void stub_send(struct net_conn *c, struct net_io_req *req)
{
	struct stub *s = container_of(c, struct stub, conn);
	volatile uint8_t sum = 0;

	assert(s->send == NULL && !s->closed && req->iov_count >= 1 && req->iov_count <= 1024);
	for (uint32_t i = 0; i < req->iov_count; i++) {
		assert(req->iov[i].iov_len > 0);
		for (size_t k = 0; k < req->iov[i].iov_len;
		     k += 512) /* the address sanitizer looks */
			sum = (uint8_t)(sum + ((const uint8_t *)req->iov[i].iov_base)[k]);
	}
	s->send = req;
}

static void stub_recv(struct net_conn *c, struct net_io_req *req)
{
	struct stub *s = container_of(c, struct stub, conn);

	assert(s->recv == NULL && !s->closed && req->iov_count >= 1);
	s->recv = req;
}

static void stub_shutdown(struct net_conn *c)
{
	container_of(c, struct stub, conn)->shut = true;
}

static void stub_close(struct net_conn **c)
{
	struct stub *s = container_of(*c, struct stub, conn);

	assert(s->recv == NULL && s->send == NULL && !s->closed);
	s->closed = true;
	*c = NULL;
}

static bool stub_peer_closed(struct net_conn *c)
{
	return container_of(c, struct stub, conn)->peer_closed;
}

static void stub_peer_name(struct net_conn *c, char *text, uint32_t bytes)
{
	text[0] = '\0';
}

static struct mono_ns stub_now(struct clock *clock)
{
	return (struct mono_ns){container_of(clock, struct stub, clock)->now};
}

static void stub_arm(struct clock *clock, struct timer *t)
{
	container_of(clock, struct stub, clock)->timer = t;
}

static void stub_disarm(struct clock *clock, struct timer *t)
{
	container_of(clock, struct stub, clock)->timer = NULL;
	completion_fire(&t->done, -ERR_CANCELED);
}

static void log_nothing(struct log *log, enum log_level level, const char *room, const char *line)
{
}

static void wait_step(struct op *op)
{
}

static const struct net_ops net_ops = {
	.listen = stub_listen,
	.accept = stub_accept,
	.unlisten = stub_unlisten,
	.send = stub_send,
	.recv = stub_recv,
	.shutdown = stub_shutdown,
	.close = stub_close,
	.peer_closed = stub_peer_closed,
	.peer_name = stub_peer_name,
};
static const struct clock_ops clock_ops = {.now = stub_now, .arm = stub_arm, .disarm = stub_disarm};

/* 12 bytes: type, flags, cookie, shift, u32 offset, u32 length. */
static void make_requests(struct stub *s, const uint8_t *data, size_t bytes)
{
	for (; bytes >= 12; data += 12, bytes -= 12) {
		struct nbd_request q = {.flags = data[1], .type = data[0] % 12, .cookie = data[2]};
		uint32_t off, length, payload;

		memcpy(&off, data + 4, 4);
		memcpy(&length, data + 8, 4);
		q.offset =
			(data[3] & 0x80) != 0 ? (uint64_t)off << 32 : off % (VOLUME_BYTES + 8192);
		q.length = length >> (data[3] & 31);
		payload = q.type == NBD_CMD_WRITE ? q.length : 0;
		if (s->bytes + NBD_REQUEST_BYTES > STREAM_BYTES)
			return;
		nbd_put_request(s->stream + s->bytes, &q);
		s->bytes += NBD_REQUEST_BYTES;
		payload = payload < STREAM_BYTES - s->bytes ? payload : STREAM_BYTES - s->bytes;
		memset(s->stream + s->bytes, data[2], payload);
		s->bytes += payload;
	}
}

static void make_stream(struct stub *s, uint8_t mode, const uint8_t *data, size_t bytes)
{
	static const char handshake[] = "\0\0\0\3IHAVEOPT\0\0\0\7\0\0\0\x9\0\0\0\3g/v\0\0";

	s->stream = malloc(STREAM_BYTES);
	if ((mode & 1) != 0) {
		memcpy(s->stream, handshake, sizeof(handshake) - 1);
		s->bytes = sizeof(handshake) - 1;
	}
	if ((mode & 2) != 0) {
		make_requests(s, data, bytes);
	} else {
		bytes = bytes < STREAM_BYTES - s->bytes ? bytes : STREAM_BYTES - s->bytes;
		memcpy(s->stream + s->bytes, data, bytes);
		s->bytes += (uint32_t)bytes;
	}
}

static void finish(struct net_io_req **req, int rc)
{
	struct net_io_req *r = *req;

	*req = NULL;
	completion_fire(&r->done, rc);
}

static void deliver(struct stub *s, uint32_t most)
{
	uint32_t n = 0, left = s->bytes - s->at;

	most = most < left ? most : left;
	for (uint32_t i = 0; i < s->recv->iov_count && n < most; i++) {
		size_t k = s->recv->iov[i].iov_len;

		assert(k > 0);
		k = k < most - n ? k : most - n;
		memcpy(s->recv->iov[i].iov_base, s->stream + s->at, k);
		s->at += (uint32_t)k;
		n += (uint32_t)k;
	}
	finish(&s->recv, (int)n); /* 0 at the end of the stream */
}

/* Somebody else takes every buf, or gives all back. */
static void hog(struct stub *s)
{
	bool give = s->hog[0] != NULL;

	for (uint32_t i = 0; i < ARRAY_COUNT(s->hog); i++) {
		if (give)
			buf_unref(&s->hog[i]);
		else
			s->hog[i] = buf_take(s->env.bufs, 1);
	}
}

/* One event of the world; false when nothing can happen any more. */
static bool happen(struct stub *s, struct conductor *c, uint32_t accidents)
{
	uint32_t what = luck(s, 64);

	if (s->shut) {
		if (s->recv != NULL)
			finish(&s->recv, luck(s, 2) != 0 ? 0 : -ERR_CLOSED);
		if (s->send != NULL)
			finish(&s->send, luck(s, 2) != 0 ? 0 : -ERR_CLOSED);
	}
	if (what < 2 && s->timer != NULL) {
		struct timer *t = s->timer;

		s->timer = NULL;
		s->now += SEC_NS;
		completion_fire(&t->done, 0);
	} else if (what == 3 && (accidents & 1) != 0) {
		fake_revoke(&c->volumes[0]);
	} else if (what == 4 && (accidents & 2) != 0) {
		s->peer_closed = true;
	} else if (what == 5 && (accidents & 4) != 0 && s->send != NULL) {
		finish(&s->send, -ERR_CLOSED);
	} else if (what < 9 && (accidents & 16) != 0) {
		hog(s);
	} else if (what < 16 && s->send != NULL) {
		finish(&s->send, 0);
	} else if (what < 32 && c->held_count > 0) {
		fake_release(c, 1 + luck(s, 4),
			     (accidents & 8) != 0 && luck(s, 8) == 0 ? -ERR_IO : 0);
	} else if (s->recv != NULL) {
		deliver(s, what < 40 ? 1 + luck(s, 40) : 1 + luck(s, 300000));
	} else if (s->send != NULL) {
		finish(&s->send, 0);
	} else if (c->held_count > 0) {
		fake_release(c, 1, 0);
	} else if (s->hog[0] != NULL) {
		hog(s);
	} else {
		return !s->closed;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct buf_pool_sizes sizes = {.count = {8, 2, 2}};
	struct nbd_server_opts opts;
	struct nbd_server *server = NULL;
	struct conductor *c;
	struct stub s = {0};
	int rc;

	if (bytes < 4)
		return 0;
	s.net.ops = s.listener.ops = s.conn.ops = &net_ops;
	s.clock.ops = &clock_ops;
	s.log.write = log_nothing;
	s.luck = data[1];
	ready_init(&s.ready);
	s.env = (struct env){.ready = &s.ready,
			     .clock = &s.clock,
			     .net = &s.net,
			     .log = &s.log,
			     .counters = &s.counters};
	rc = buf_pool_open(&sizes, &s.env.bufs);
	assert(rc == 0);
	make_stream(&s, data[0], data + 4, bytes - 4);
	c = fake_conductor_open(&s.env);
	(void)fake_volume_add(c, "g/v", VOLUME_BYTES - (data[2] & 1) * 512u, 512);
	c->volumes[0].info.read_only = (data[2] & 14) == 14;
	c->hold = (data[2] & 16) != 0;
	c->reverse = (data[2] & 32) != 0;
	nbd_server_opts_init(&opts);
	opts.addresses[0] = "stub";
	opts.address_count = 1;
	opts.buf_reserve = 0;
	opts.requests_max = 1 + (data[2] >> 6) * 10u;
	rc = nbd_server_open(&s.env, c, &opts, &server);
	assert(rc == 0);
	s.log.level = LOG_DEBUG;
	for (uint32_t i = (data[3] & 32) != 0 ? 99900 : 0; i < 100000; i++) {
		(void)ready_run(&s.ready, UINT64_MAX);
		if (!happen(&s, c, data[3]) || s.closed)
			break;
	}
	op_init(&s.wait_op, &s.ready, wait_step);
	completion_arm(&s.done, &s.wait_op, 1);
	nbd_server_close(&server, &s.done);
	c->hold = false;
	for (uint32_t i = 0; s.wait_op.waits != 0 || !list_empty(&s.ready.ops); i++) {
		assert(i < 200000); /* closing always comes to its end */
		(void)ready_run(&s.ready, UINT64_MAX);
		if (s.wait_op.waits != 0)
			(void)happen(&s, c, 0);
	}
	assert(s.closed || !s.accepted);
	if (s.hog[0] != NULL)
		hog(&s);
	fake_conductor_close(&c);
	buf_pool_close(&s.env.bufs);
	free(s.stream);
	return 0;
}
