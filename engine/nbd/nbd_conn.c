/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_conn.c
 * Purpose.     The life of one client's connection: handshake, transmission, ending well.
 * Invariants.  C1  The volume is attached from the end of the handshake until nothing is in flight.
 *              C2  After revocation nothing is submitted, and no error is answered.
 *              C3  The net connection is given back only when no receive, send or piece is pending.
 *              C4  Every wait for the client has a deadline, except the wait for its next request.
 * States.      HANDSHAKE -> TRANSMIT  [EXPORT_NAME or GO answered]
 *              HANDSHAKE -> CLOSE     [ABORT, violation, deadline, end of stream, revoked,
 *                                      server closes]
 *              TRANSMIT -> DRAIN      [DISC, bad magic, end of stream, revoked, server closes]
 *              TRANSMIT, DRAIN -> CLOSE [net failure, deadline, stale write]
 *              DRAIN -> CLOSE         [all finished and answered]
 *              CLOSE -> GONE          [all given back]
 * Ownership.   Takes the net connection; owns stage, requests and pieces.
 * Failure.     Whatever a client does costs only its own connection.
 * Limits.      Those of nbd_conn_world.
 */
#include "engine/nbd/nbd_conn.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/nbd/nbd_intake.h"
#include "engine/nbd/nbd_reply.h"

#define MESSAGE_BYTES 256u

static void conn_step(struct op *op);
static void conn_move(struct nbd_conn *c, enum nbd_conn_state state);
static void conn_events(struct nbd_conn *c);
static void conn_deadlines(struct nbd_conn *c);
static bool conn_haggle(struct nbd_conn *c);
static enum nbd_handshake_effect conn_options(struct nbd_conn *c);
static enum nbd_handshake_effect conn_find(struct nbd_conn *c, struct cursor *out);
static int conn_attach(struct nbd_conn *c, struct volume *v);
static bool conn_list(struct nbd_conn *c, struct cursor *out);
static bool conn_is_quiet(const struct nbd_conn *c);
static void conn_finish(struct nbd_conn *c);

struct nbd_conn *nbd_conn_new(const struct nbd_conn_world *world)
{
	struct nbd_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->world = world;
	c->state = NBD_CONN_GONE;
	c->stage = malloc(NBD_STAGE_BYTES);
	c->reqs = calloc(world->requests_max, sizeof(*c->reqs));
	c->pieces = calloc(world->pieces_max, sizeof(*c->pieces));
	if (c->stage == NULL || c->reqs == NULL || c->pieces == NULL)
		nbd_conn_free(&c);
	return c;
}

void nbd_conn_free(struct nbd_conn **conn)
{
	struct nbd_conn *c = *conn;

	*conn = NULL;
	if (c == NULL)
		return;
	assert(c->state == NBD_CONN_GONE && c->net == NULL);
	free(c->stage);
	free(c->reqs);
	free(c->pieces);
	free(c);
}

void nbd_conn_start(struct nbd_conn *c, struct net_conn *net)
{
	struct cursor out;

	assert(c->state == NBD_CONN_GONE && c->net == NULL);
	op_init(&c->op, c->world->env->ready, conn_step);
	c->net = net;
	c->state = NBD_CONN_HANDSHAKE;
	c->opened_tick = c->world->ticks;
	c->requests = 0;
	c->close_asked = c->peer_gone = c->net_failed = false;
	c->recv_busy = c->send_busy = c->buf_waiting = false;
	c->attached = c->lost = c->revoked = false;
	c->stage_at = c->stage_end = 0;
	c->current = NULL;
	c->fill = NULL;
	c->fill_bytes = c->drain_bytes = 0;
	c->next = NBD_HANDSHAKE_AGAIN;
	list_link_init(&c->buf_waiter.link);
	nbd_req_pool_init(c);
	cursor_init(&out, c->out, sizeof(c->out));
	nbd_handshake_init(&c->handshake, &out);
	c->out_bytes = (uint32_t)(sizeof(c->out) - cursor_left(&out));
	op_wake(&c->op);
}

void nbd_conn_ask_close(struct nbd_conn *c)
{
	c->close_asked = true;
	if (c->state != NBD_CONN_GONE)
		op_wake(&c->op);
}

static void conn_step(struct op *op)
{
	struct nbd_conn *c = container_of(op, struct nbd_conn, op);

	if (c->state == NBD_CONN_GONE)
		return;
	nbd_intake_reap(c);
	nbd_reply_reap(c);
	conn_events(c);
	for (;;) {
		switch (c->state) {
		case NBD_CONN_HANDSHAKE:
			if (!conn_haggle(c))
				return; /* wait: options, or an answer to be sent */
			continue;
		case NBD_CONN_TRANSMIT:
			nbd_intake_run(c);
			nbd_reply_run(c);
			if (c->state == NBD_CONN_TRANSMIT)
				return; /* wait: requests, results, bufs, a reply to be sent */
			continue;
		case NBD_CONN_DRAIN:
			if (c->lost)
				c->revoked = true; /* C2 */
			nbd_reply_run(c);
			if (c->in_flight > 0 || c->send_busy)
				return; /* wait: results, replies to be sent */
			/* Replies may be left behind a streamed READ that is cut no further. */
			nbd_conn_break(c);
			continue;
		case NBD_CONN_CLOSE:
			if (!conn_is_quiet(c))
				return; /* wait: receive, send, pieces, buf pool */
			conn_finish(c);
			return; /* c may be freed by the server from now on */
		case NBD_CONN_GONE:
			return;
		}
	}
}

static void conn_move(struct nbd_conn *c, enum nbd_conn_state state)
{
	static const uint8_t allowed[] = {
		[NBD_CONN_HANDSHAKE] = 1 << NBD_CONN_TRANSMIT | 1 << NBD_CONN_CLOSE,
		[NBD_CONN_TRANSMIT] = 1 << NBD_CONN_DRAIN | 1 << NBD_CONN_CLOSE,
		[NBD_CONN_DRAIN] = 1 << NBD_CONN_CLOSE,
		[NBD_CONN_CLOSE] = 1 << NBD_CONN_GONE,
		[NBD_CONN_GONE] = 0,
	};

	assert((allowed[c->state] & 1 << state) != 0);
	assert(state != NBD_CONN_TRANSMIT || c->attached); /* C1 */
	c->state = state;
}

void nbd_conn_leave(struct nbd_conn *c)
{
	conn_move(c, NBD_CONN_DRAIN);
}

void nbd_conn_break(struct nbd_conn *c)
{
	if (c->state == NBD_CONN_CLOSE)
		return;
	conn_move(c, NBD_CONN_CLOSE);
	net_shutdown(c->net);
	if (c->buf_waiting)
		buf_wait_cancel(c->world->env->bufs, &c->buf_waiter);
}

static void conn_events(struct nbd_conn *c)
{
	bool leave = c->peer_gone || c->close_asked;

	if (c->buf_waiting && (c->op.waits & NBD_CONN_WAIT_BUF) == 0)
		c->buf_waiting = false;
	if (c->attached && (c->op.waits & NBD_CONN_WAIT_REVOKED) == 0)
		c->revoked = true;
	c->revoked |= c->lost;
	if (c->state == NBD_CONN_CLOSE)
		return;
	conn_deadlines(c);
	if (c->net_failed)
		nbd_conn_break(c);
	else if (c->state == NBD_CONN_HANDSHAKE && (leave || c->revoked))
		nbd_conn_break(c);
	else if (c->state == NBD_CONN_TRANSMIT && (leave || c->revoked))
		nbd_conn_leave(c);
}

/* C4.  Ticks are coarse: a limit of n ticks has passed for sure only after n + 1. */
static void conn_deadlines(struct nbd_conn *c)
{
	const struct nbd_conn_world *w = c->world;
	const char *what = NULL;

	if (c->state == NBD_CONN_HANDSHAKE && w->ticks - c->opened_tick > w->handshake_ticks)
		what = "the handshake takes too long";
	else if (c->send_busy && w->ticks - c->send_tick > w->send_ticks)
		what = "the client does not read its replies";
	else if (c->state == NBD_CONN_TRANSMIT && c->recv_busy && c->current != NULL &&
		 w->ticks - c->recv_tick > w->payload_ticks)
		what = "the payload of a write does not come";
	if (what == NULL)
		return;
	log_debug(w->env->log, "nbd", "closing a connection: %s", what);
	nbd_conn_break(c);
}

/* True if the state has changed. */
static bool conn_haggle(struct nbd_conn *c)
{
	if (c->send_busy)
		return false;
	if (c->next == NBD_HANDSHAKE_AGAIN)
		c->next = conn_options(c);
	if (c->out_bytes > 0) {
		nbd_reply_send_out(c);
		return false;
	}
	switch (c->next) {
	case NBD_HANDSHAKE_CLOSE:
		nbd_conn_break(c);
		return true;
	case NBD_HANDSHAKE_TRANSMIT:
		conn_move(c, NBD_CONN_TRANSMIT);
		return true;
	case NBD_HANDSHAKE_MORE:
		c->next = NBD_HANDSHAKE_AGAIN;
		nbd_intake_recv(c);
		return false;
	case NBD_HANDSHAKE_AGAIN:
	case NBD_HANDSHAKE_FIND:
	case NBD_HANDSHAKE_LIST:
		break;
	}
	UNREACHABLE("options were answered without a result");
}

/* Answer options until bytes, or room for answers, run out.  AGAIN: send `out`, then call again. */
static enum nbd_handshake_effect conn_options(struct nbd_conn *c)
{
	enum nbd_handshake_effect effect = NBD_HANDSHAKE_AGAIN;
	struct cursor out;

	if (c->recv_busy)
		return c->out_bytes > 0 ? NBD_HANDSHAKE_AGAIN : NBD_HANDSHAKE_MORE;
	cursor_init(&out, c->out, sizeof(c->out));
	(void)cursor_skip(&out, c->out_bytes);
	while (effect == NBD_HANDSHAKE_AGAIN && cursor_left(&out) >= NBD_HANDSHAKE_OUT_BYTES) {
		uint32_t used = 0;

		if (c->handshake.state == NBD_HANDSHAKE_LISTING) {
			if (!conn_list(c, &out))
				break; /* wait: room for the rest of the list */
			continue;
		}
		effect = nbd_handshake_step(&c->handshake, c->stage + c->stage_at,
					    c->stage_end - c->stage_at, &used, &out);
		c->stage_at += used;
		assert(c->stage_at <= c->stage_end);
		if (effect == NBD_HANDSHAKE_FIND) {
			effect = conn_find(c, &out);
		} else if (effect == NBD_HANDSHAKE_LIST) {
			c->list_index = 0;
			effect = NBD_HANDSHAKE_AGAIN;
		}
	}
	c->out_bytes = (uint32_t)(sizeof(c->out) - cursor_left(&out));
	if (effect == NBD_HANDSHAKE_MORE && c->out_bytes > 0)
		return NBD_HANDSHAKE_AGAIN;
	return effect;
}

/* False: `out` is full before the list is over. */
static bool conn_list(struct nbd_conn *c, struct cursor *out)
{
	struct volume_info info;

	while (cursor_left(out) >= NBD_HANDSHAKE_OUT_BYTES) {
		if (!volume_list(c->world->conductor, c->list_index, &info)) {
			nbd_handshake_list_end(&c->handshake, out);
			return true;
		}
		c->list_index++;
		nbd_handshake_entry(&c->handshake, &info, out);
	}
	return false;
}

/*
 * A name that is found may have to wait for room: found puts up to NBD_HANDSHAKE_OUT_BYTES, and
 * nothing was put by the step that asked, so there is room.
 */
static enum nbd_handshake_effect conn_find(struct nbd_conn *c, struct cursor *out)
{
	char message[MESSAGE_BYTES] = "";
	struct volume *v = NULL;
	int rc;

	rc = volume_find(c->world->conductor, c->handshake.name, c->handshake.name_bytes, &v,
			 message, sizeof(message));
	if (rc == 0) {
		volume_info(v, &c->info);
		if (nbd_handshake_enters(&c->handshake))
			rc = conn_attach(c, v);
	}
	if (rc < 0)
		return nbd_handshake_not_found(&c->handshake, rc, message, out);
	return nbd_handshake_found(&c->handshake, &c->info, out);
}

static int conn_attach(struct nbd_conn *c, struct volume *v)
{
	int rc;

	assert(!c->attached);
	completion_arm(&c->client.revoked, &c->op, NBD_CONN_WAIT_REVOKED);
	rc = volume_attach(v, &c->client);
	if (rc < 0)
		completion_fire(&c->client.revoked, -ERR_CANCELED);
	c->attached = rc == 0;
	return rc;
}

static bool conn_is_quiet(const struct nbd_conn *c)
{
	return c->in_flight == 0 && !c->recv_busy && !c->send_busy && !c->buf_waiting;
}

static void conn_finish(struct nbd_conn *c)
{
	assert(conn_is_quiet(c)); /* C3 */
	nbd_req_release_all(c);
	if (c->attached)
		volume_detach(&c->client);
	c->attached = false;
	assert(c->op.waits == 0);
	net_close(&c->net);
	op_unqueue(&c->op);
	conn_move(c, NBD_CONN_GONE);
	op_wake(c->world->server_op);
}
