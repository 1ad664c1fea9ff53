/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_server.c
 * Purpose.     Own the listeners and the connections; count coarse time for their deadlines.
 * Invariants.  S1  Connections in `conns` are not GONE except between their last step and ours.
 *              S2  At connections_max no accept is started; clients wait in the listener's backlog.
 *                  Accepts already started may bring one more per listener.
 *              S3  The timer is armed exactly while there are connections or a refused accept.
 *              S4  When closing, `done` fires once, after the last connection is gone.
 * States.      OPEN -> CLOSING [close] -> freed.
 * Ownership.   Connections are ours; a GONE one is kept in `spare` for reuse.
 * Failure.     A failed accept (too many files) is tried again at the next tick.
 * Limits.      NBD_ADDRESSES_MAX listeners; connections_max; memory per connection is
 *              requests_max requests, requests_max + 32 pieces and NBD_STAGE_BYTES.
 */
#include "engine/nbd/nbd_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/list.h"
#include "engine/base/log.h"
#include "engine/base/types.h"
#include "engine/nbd/nbd_conn.h"
#include "engine/port/clock.h"
#include "engine/port/net.h"

#define SERVER_MAGIC 0x3144424eu
#define SERVER_WAIT_TIMER (1u << NBD_ADDRESSES_MAX) /* below: bit i for the accept of door i */
#define TICK_NS_MIN (1 * MS_NS)
#define TICK_NS_MAX (1 * SEC_NS)
#define PIECES_EXTRA 32u

struct door {
	struct net_listener *listener;
	struct net_accept_req req;
	bool accepting;
	bool failed; /* the last accept; until the next tick */
};

struct nbd_server {
	uint32_t magic;
	struct op op;
	struct env env;
	struct nbd_conn_world world;
	struct door doors[NBD_ADDRESSES_MAX];
	uint32_t door_count;
	uint32_t connections_max;
	struct list conns, spare;
	uint32_t conn_count;
	uint64_t accepted;
	struct timer timer;
	uint64_t tick_ns;
	bool ticking;
	bool closing;
	bool full_told; /* a line was logged about being full */
	struct completion *done;
};

static int opts_check(const struct nbd_server_opts *o);
static void server_step(struct op *op);
static void server_world(struct nbd_server *s, const struct nbd_server_opts *o,
			 struct conductor *conductor);
static void server_reap_doors(struct nbd_server *s);
static void server_reap_conns(struct nbd_server *s);
static void server_welcome(struct nbd_server *s, struct net_conn *net);
static void server_accept(struct nbd_server *s);
static void server_tick(struct nbd_server *s);
static bool server_is_quiet(const struct nbd_server *s);
static void server_free(struct nbd_server *s);
static void server_free_spare(struct nbd_server *s);

void nbd_server_opts_init(struct nbd_server_opts *o)
{
	memset(o, 0, sizeof(*o));
	o->connections_max = 64;
	o->requests_max = 128;
	o->buf_bytes_max = 32u << 20;
	o->buf_reserve = 4;
	o->handshake_ns = 10 * SEC_NS;
	o->send_ns = 60 * SEC_NS;
	o->payload_ns = 60 * SEC_NS;
}

static int opts_check(const struct nbd_server_opts *o)
{
	if (o->address_count == 0 || o->address_count > NBD_ADDRESSES_MAX)
		return -ERR_INVALID;
	if (o->connections_max == 0 || o->connections_max > NBD_CONNECTIONS_MAX)
		return -ERR_INVALID;
	if (o->requests_max == 0 || o->requests_max > NBD_REQUESTS_MAX)
		return -ERR_INVALID;
	if (o->handshake_ns == 0 || o->send_ns == 0 || o->payload_ns == 0)
		return -ERR_INVALID;
	return 0;
}

int nbd_server_open(const struct env *env, struct conductor *conductor,
		    const struct nbd_server_opts *opts, struct nbd_server **ret_server)
{
	struct nbd_server *s;
	int rc = opts_check(opts);

	if (rc == 0 && env->bufs == NULL)
		rc = -ERR_INVALID;
	if (rc < 0)
		return rc;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ERR_NOMEM;
	s->magic = SERVER_MAGIC;
	s->env = *env;
	op_init(&s->op, env->ready, server_step);
	list_init(&s->conns);
	list_init(&s->spare);
	s->connections_max = opts->connections_max;
	server_world(s, opts, conductor);
	for (uint32_t i = 0; i < opts->address_count; i++) {
		rc = net_listen(env->net, opts->addresses[i], &s->doors[i].listener);
		if (rc < 0)
			goto err_after_listen;
		s->door_count++;
	}
	op_wake(&s->op);
	*ret_server = s;
	return 0;

err_after_listen:
	for (uint32_t i = 0; i < s->door_count; i++)
		net_unlisten(&s->doors[i].listener);
	free(s);
	assert(rc < 0);
	return rc;
}

static void server_world(struct nbd_server *s, const struct nbd_server_opts *o,
			 struct conductor *conductor)
{
	struct nbd_conn_world *w = &s->world;
	uint64_t arena_bytes, least = o->handshake_ns;
	void *arena;

	least = o->send_ns < least ? o->send_ns : least;
	least = o->payload_ns < least ? o->payload_ns : least;
	s->tick_ns = least / 4;
	s->tick_ns = s->tick_ns < TICK_NS_MIN ? TICK_NS_MIN : s->tick_ns;
	s->tick_ns = s->tick_ns > TICK_NS_MAX ? TICK_NS_MAX : s->tick_ns;
	w->env = &s->env;
	w->conductor = conductor;
	w->server_op = &s->op;
	w->handshake_ticks = o->handshake_ns / s->tick_ns;
	w->send_ticks = o->send_ns / s->tick_ns;
	w->payload_ticks = o->payload_ns / s->tick_ns;
	w->requests_max = o->requests_max;
	w->pieces_max = o->requests_max + PIECES_EXTRA;
	/* A client that does not read must not take the whole pool from the others. */
	buf_pool_arena(s->env.bufs, &arena, &arena_bytes);
	w->buf_bytes_max = arena_bytes / 4 < o->buf_bytes_max ? arena_bytes / 4 : o->buf_bytes_max;
	w->buf_reserve = o->buf_reserve;
}

void nbd_server_close(struct nbd_server **server, struct completion *done)
{
	struct nbd_server *s = *server;

	*server = NULL;
	assert(s->magic == SERVER_MAGIC && !s->closing);
	s->closing = true;
	s->done = done;
	for (uint32_t i = 0; i < s->door_count; i++)
		net_unlisten(&s->doors[i].listener);
	LIST_FOR_EACH(n, &s->conns)
		nbd_conn_ask_close(container_of(n, struct nbd_conn, link));
	op_wake(&s->op);
}

void nbd_server_abandon(struct nbd_server **server)
{
	struct nbd_server *s = *server;

	*server = NULL;
	if (s == NULL)
		return;
	assert(s->magic == SERVER_MAGIC);
	while (!list_empty(&s->conns)) {
		struct nbd_conn *c = container_of(list_pop_front(&s->conns), struct nbd_conn, link);

		c->state = NBD_CONN_GONE;
		c->net = NULL;
		nbd_conn_free(&c);
	}
	server_free_spare(s);
	s->magic = 0;
	free(s);
}

static void server_step(struct op *op)
{
	struct nbd_server *s = container_of(op, struct nbd_server, op);

	assert(s->magic == SERVER_MAGIC);
	server_tick(s);
	server_reap_conns(s);
	server_reap_doors(s);
	if (!s->closing) {
		server_accept(s);
		return; /* wait: clients, ends of connections, the timer */
	}
	if (!server_is_quiet(s))
		return; /* wait: ends of connections, canceled accepts */
	server_free(s);
}

static void server_tick(struct nbd_server *s)
{
	bool needed = s->conn_count > 0;

	for (uint32_t i = 0; i < s->door_count; i++)
		needed |= s->doors[i].failed;
	if (s->ticking && (s->op.waits & SERVER_WAIT_TIMER) == 0) {
		s->ticking = false;
		s->world.ticks++;
		for (uint32_t i = 0; i < s->door_count; i++)
			s->doors[i].failed = false;
		LIST_FOR_EACH(n, &s->conns)
			op_wake(&container_of(n, struct nbd_conn, link)->op);
	}
	if (needed && !s->ticking) { /* S3 */
		completion_arm(&s->timer.done, &s->op, SERVER_WAIT_TIMER);
		s->timer.deadline.v = clock_now(s->env.clock).v + s->tick_ns;
		s->ticking = true;
		clock_timer_arm(s->env.clock, &s->timer);
	}
}

static void server_reap_conns(struct nbd_server *s)
{
	LIST_FOR_EACH_SAFE(n, &s->conns) {
		struct nbd_conn *c = container_of(n, struct nbd_conn, link);

		if (c->state != NBD_CONN_GONE)
			continue;
		op_unqueue(&c->op);
		list_remove(&c->link);
		list_push_front(&s->spare, &c->link);
		assert(s->conn_count > 0);
		s->conn_count--;
	}
}

static void server_reap_doors(struct nbd_server *s)
{
	for (uint32_t i = 0; i < s->door_count; i++) {
		struct door *d = &s->doors[i];

		if (!d->accepting || (s->op.waits & 1u << i) != 0)
			continue;
		d->accepting = false;
		if (d->req.done.rc == 0) {
			server_welcome(s, d->req.conn);
		} else if (!s->closing) {
			d->failed = true;
			log_debug(s->env.log, "nbd",
				  "accepting a client failed: %s; trying again soon",
				  err_text(d->req.done.rc));
		}
	}
}

static void server_welcome(struct nbd_server *s, struct net_conn *net)
{
	struct nbd_conn *c = NULL;

	assert(s->conn_count < s->connections_max + s->door_count); /* S2 */
	if (!s->closing) {
		if (!list_empty(&s->spare))
			c = container_of(list_pop_front(&s->spare), struct nbd_conn, link);
		else
			c = nbd_conn_new(&s->world);
	}
	if (c == NULL) {
		net_close(&net);
		return;
	}
	list_push_back(&s->conns, &c->link);
	s->conn_count++;
	s->accepted++;
	counter_add(s->env.counters, CTR_NBD_CONNECTIONS, 1);
	nbd_conn_start(c, net);
}

static void server_accept(struct nbd_server *s)
{
	bool full = s->conn_count >= s->connections_max; /* S2 */

	if (full && !s->full_told)
		log_debug(s->env.log, "nbd", "%u clients are connected; others wait",
			  s->conn_count);
	s->full_told = full;
	for (uint32_t i = 0; i < s->door_count; i++) {
		struct door *d = &s->doors[i];

		if (full || d->accepting || d->failed)
			continue;
		completion_arm(&d->req.done, &s->op, 1u << i);
		d->req.conn = NULL;
		d->accepting = true;
		net_accept(d->listener, &d->req);
	}
	server_tick(s);
}

static bool server_is_quiet(const struct nbd_server *s)
{
	for (uint32_t i = 0; i < s->door_count; i++) {
		if (s->doors[i].accepting)
			return false;
	}
	return s->conn_count == 0;
}

static void server_free(struct nbd_server *s)
{
	struct completion *done = s->done;

	if (s->ticking)
		clock_timer_disarm(s->env.clock, &s->timer);
	assert(s->op.waits == 0);
	op_unqueue(&s->op);
	server_free_spare(s);
	s->magic = 0;
	free(s);
	completion_fire(done, 0); /* S4 */
}

static void server_free_spare(struct nbd_server *s)
{
	while (!list_empty(&s->spare)) {
		struct nbd_conn *c = container_of(list_pop_front(&s->spare), struct nbd_conn, link);

		nbd_conn_free(&c);
	}
}

void nbd_server_status(const struct nbd_server *s, struct nbd_server_status *ret)
{
	assert(s->magic == SERVER_MAGIC);
	ret->connections = s->conn_count;
	ret->connections_max = s->connections_max;
	ret->accepted = s->accepted;
}

bool nbd_server_client(const struct nbd_server *s, uint32_t index, struct nbd_client_status *ret)
{
	assert(s->magic == SERVER_MAGIC);
	LIST_FOR_EACH(n, &s->conns) {
		const struct nbd_conn *c = container_of(n, struct nbd_conn, link);

		if (c->state == NBD_CONN_GONE || index-- > 0)
			continue;
		memset(ret, 0, sizeof(*ret));
		net_peer_name(c->net, ret->peer, sizeof(ret->peer));
		if (c->attached)
			(void)snprintf(ret->volume, sizeof(ret->volume), "%s", c->info.name);
		ret->requests = c->requests;
		ret->in_flight = c->in_flight;
		ret->closing = c->state != NBD_CONN_HANDSHAKE && c->state != NBD_CONN_TRANSMIT;
		return true;
	}
	return false;
}
