/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/qlink.c
 * Purpose.     Keep one ordered session with each other member (QUORUM section 3, transport).
 * Invariants.  N1  A frame is taken only in the session that sent it: both ends mix their nonces
 *                  into the session number of every frame after HELLO.
 *              N2  A session opens only if versions meet and name, id, members, cluster and disk
 *                  are the expected ones, and the peer's position has not gone back: a rolled-back
 *                  VM snapshot or a replaced disk would vote twice or forget what it acknowledged.
 *              N3  When a session ends nothing of it is delivered or sent any more.
 *              N4  An unknown connection may make us hold one small frame, no more.
 * States.      conn: CONNECT -> HELLO -> OPEN -> ENDING -> freed;  accepted ones start at HELLO.
 * Ownership.   A conn belongs to the list until its own step frees it.
 * Failure.     Any error ends the session; the dialer waits 100 ms, doubling to 1 s.
 * Limits.      CONNS_MAX connections, SEND_BYTES_MAX queued per session, INBOX_MAX frames; above
 *              that reading pauses.
 */
#include "engine/quorum/qlink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/port/net.h"
#include "engine/port/random.h"

#define CONNS_MAX 24u
#define SEND_BYTES_MAX (4u << 20)
#define INBOX_MAX 256u
#define HANDSHAKE_MS 3000u
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 1000u
#define EARLY_PAYLOAD_MAX 1024u /* N4 */

enum conn_state { CONN_CONNECT, CONN_HELLO, CONN_OPEN, CONN_ENDING };
enum { WAIT_CONNECT = 1, WAIT_RECV = 2, WAIT_SEND = 4, WAIT_TICK = 8 };

struct out_frame {
	struct list_link link;
	uint32_t bytes;
	uint8_t data[];
};

struct qconn {
	struct op op;
	struct list_link link;
	struct qlinks *links;
	enum conn_state state;
	uint32_t peer; /* 0: accepted, not known yet */
	struct net_conn *conn;
	struct net_connect_req connect;
	struct net_io_req recv, send;
	struct iovec recv_iov, send_iov;
	struct timer tick;
	bool connecting, receiving, sending, ticking; /* started, result not yet looked at */
	bool paused, end_after_send;
	uint64_t nonce, session, generation;
	struct mono_ns heard, born;
	uint8_t head[QUORUM_FRAME_BYTES];
	uint32_t head_have, payload_have;
	struct quorum_frame frame;
	struct qlink_frame *in; /* being received */
	struct list out;
	uint64_t out_bytes;
};

struct qlinks {
	struct env *env;
	struct op accept_op, dial_op;
	struct net_listener *listener;
	struct net_accept_req accept;
	bool accepting, stopping, identified;
	struct timer dial_timer;
	struct qlinks_opts opts;
	char address[QUORUM_PEERS_MAX + 1][QLINK_ADDRESS_BYTES];
	char name[QUORUM_PEERS_MAX + 1][QUORUM_NAME_BYTES];
	struct qlinks_identity identity;
	struct qlink_peer peer[QUORUM_PEERS_MAX + 1];
	struct qconn *current[QUORUM_PEERS_MAX + 1]; /* dialing or open */
	struct mono_ns dial_at[QUORUM_PEERS_MAX + 1];
	uint32_t backoff_ms[QUORUM_PEERS_MAX + 1];
	uint64_t generations;
	struct list conns;
	uint32_t conn_count;
	struct list inbox;
	uint32_t inbox_count;
};

static void accept_step(struct op *op);
static void dial_step(struct op *op);
static struct qconn *conn_new(struct qlinks *l);
static void conn_step(struct op *op);
static void conn_connected(struct qconn *c);
static bool conn_received(struct qconn *c);
static bool conn_frame(struct qconn *c);
static bool conn_hello(struct qconn *c, const struct quorum_frame *f, const uint8_t *payload);
static const char *hello_fault(const struct qlinks *l, const struct quorum_hello *h,
			       const struct uuid *cluster);
static void note_refusal(struct qlinks *l, uint32_t id, const char *who, const char *why);
static bool cluster_fits(struct qlinks *l, uint32_t id, const struct uuid *cluster);
static void conn_open(struct qconn *c);
static void conn_tick(struct qconn *c);
static void conn_pump(struct qconn *c);
static void conn_end(struct qconn *c);
static void conn_free(struct qconn *c);
static bool conn_queue(struct qconn *c, uint16_t type, const void *payload, uint32_t bytes);
static void conn_say_hello(struct qconn *c);
static void inbox_drop(struct qlinks *l, uint64_t generation);

int qlinks_open(struct env *env, const struct qlinks_opts *opts, struct qlinks **ret_l)
{
	struct qlinks *l = calloc(1, sizeof(*l));
	int rc;

	if (l == NULL)
		return -ERR_NOMEM;
	assert(opts->count <= QUORUM_PEERS_MAX && opts->self >= 1 && opts->self <= opts->count);
	l->env = env;
	l->opts = *opts;
	for (uint32_t i = 1; i <= opts->count; i++) {
		snprintf(l->address[i], sizeof(l->address[i]), "%s", opts->address[i]);
		snprintf(l->name[i], sizeof(l->name[i]), "%s", opts->name[i]);
		l->opts.name[i] = l->name[i];
		l->opts.address[i] = l->address[i];
		l->backoff_ms[i] = BACKOFF_MIN_MS;
	}
	list_init(&l->conns);
	list_init(&l->inbox);
	op_init(&l->accept_op, env->ready, accept_step);
	op_init(&l->dial_op, env->ready, dial_step);
	if (opts->count > 1) { /* alone there is nobody to listen for */
		rc = net_listen(env->net, opts->listen, &l->listener);
		if (rc < 0) {
			free(l);
			return rc;
		}
	}
	*ret_l = l;
	return 0;
}

void qlinks_identify(struct qlinks *l, const struct qlinks_identity *identity)
{
	l->identity = *identity;
	l->identified = true;
	for (uint32_t i = 1; i <= l->opts.count; i++) {
		struct quorum_position *p = &l->peer[i].position;

		if (identity->peer[i].at_least.lsn > p->lsn)
			p->lsn = identity->peer[i].at_least.lsn;
		if (identity->peer[i].at_least.seq > p->seq)
			p->seq = identity->peer[i].at_least.seq;
	}
	op_wake(&l->accept_op);
	op_wake(&l->dial_op);
}

void qlinks_moved(struct qlinks *l, uint64_t lsn, uint64_t seq)
{
	l->identity.lsn = lsn;
	l->identity.seq = seq;
}

const struct qlink_peer *qlinks_peer(const struct qlinks *l, uint32_t id)
{
	assert(id >= 1 && id <= QUORUM_PEERS_MAX);
	return &l->peer[id];
}

struct qlink_frame *qlinks_take(struct qlinks *l)
{
	struct list_link *n = list_pop_front(&l->inbox);

	if (n == NULL)
		return NULL;
	if (l->inbox_count-- == INBOX_MAX)
		LIST_FOR_EACH(k, &l->conns)
			op_wake(&container_of(k, struct qconn, link)->op);
	return container_of(n, struct qlink_frame, link);
}

bool qlinks_send(struct qlinks *l, uint32_t to, uint64_t generation, uint16_t type,
		 const void *payload, uint32_t bytes)
{
	struct qconn *c;

	if (to == 0 || to > l->opts.count)
		return false;
	c = l->current[to];
	if (c == NULL || c->state != CONN_OPEN || c->generation != generation ||
	    c->out_bytes + bytes > SEND_BYTES_MAX)
		return false; /* N3 */
	return conn_queue(c, type, payload, bytes);
}

void qlinks_stop(struct qlinks *l)
{
	l->stopping = true;
	net_unlisten(&l->listener);
	if (timer_armed(&l->dial_timer))
		clock_timer_disarm(l->env->clock, &l->dial_timer);
	LIST_FOR_EACH(n, &l->conns)
		conn_end(container_of(n, struct qconn, link));
	op_wake(&l->accept_op);
}

bool qlinks_idle(const struct qlinks *l)
{
	return l->conn_count == 0 && l->accept_op.waits == 0 && l->dial_op.waits == 0;
}

void qlinks_close(struct qlinks **l)
{
	if (*l == NULL)
		return;
	assert((*l)->stopping && qlinks_idle(*l));
	qlinks_discard(l);
}

void qlinks_discard(struct qlinks **pl)
{
	struct qlinks *l = *pl;

	if (l == NULL)
		return;
	op_unqueue(&l->accept_op);
	op_unqueue(&l->dial_op);
	LIST_FOR_EACH_SAFE(n, &l->conns)
		conn_free(container_of(n, struct qconn, link));
	LIST_FOR_EACH_SAFE(n, &l->inbox)
		free(container_of(n, struct qlink_frame, link));
	free(l);
	*pl = NULL;
}

/* ---- making connections ---- */

static void accept_step(struct op *op)
{
	struct qlinks *l = container_of(op, struct qlinks, accept_op);

	if (op->waits != 0)
		return; /* wait: accept */
	if (l->accepting) {
		l->accepting = false;
		if (l->accept.done.rc == 0 && l->accept.conn != NULL) {
			struct qconn *c = l->stopping ? NULL : conn_new(l);

			if (c == NULL) {
				net_shutdown(l->accept.conn);
				net_close(&l->accept.conn);
			} else {
				c->conn = l->accept.conn;
				l->accept.conn = NULL;
				c->state = CONN_HELLO;
				op_wake(&c->op);
			}
		}
	}
	if (l->stopping || l->listener == NULL || !l->identified) {
		op_wake(l->opts.owner);
		return; /* wait: identity, or nothing more */
	}
	completion_arm(&l->accept.done, op, 1);
	l->accept.conn = NULL;
	l->accepting = true;
	net_accept(l->listener, &l->accept);
}

/* Connect to every member of a smaller id that has no session. */
static void dial_step(struct op *op)
{
	struct qlinks *l = container_of(op, struct qlinks, dial_op);
	struct mono_ns now = clock_now(l->env->clock), next = {UINT64_MAX};

	if (l->stopping) {
		op_wake(l->opts.owner);
		return; /* wait: nothing more */
	}
	for (uint32_t i = 1; i < l->opts.self && l->identified; i++) {
		if (l->current[i] != NULL)
			continue;
		if (l->dial_at[i].v <= now.v) {
			struct qconn *c = conn_new(l);

			l->dial_at[i].v = now.v + l->backoff_ms[i] * MS_NS;
			if (l->backoff_ms[i] < BACKOFF_MAX_MS)
				l->backoff_ms[i] *= 2;
			if (c != NULL) {
				c->peer = i;
				l->current[i] = c;
				c->state = CONN_CONNECT;
				snprintf(c->connect.address, sizeof(c->connect.address), "%s",
					 l->address[i]);
				completion_arm(&c->connect.done, &c->op, WAIT_CONNECT);
				c->connecting = true;
				net_connect(l->env->net, &c->connect);
				continue;
			}
		}
		if (l->dial_at[i].v < next.v)
			next = l->dial_at[i];
	}
	if (next.v == UINT64_MAX)
		return; /* wait: a session's end */
	if (op->waits != 0) {
		if (timer_armed(&l->dial_timer) && next.v < l->dial_timer.deadline.v)
			clock_timer_disarm(l->env->clock, &l->dial_timer);
		return; /* wait: the timer, or the step that its end has woken */
	}
	l->dial_timer.deadline = next;
	completion_arm(&l->dial_timer.done, op, 1);
	clock_timer_arm(l->env->clock, &l->dial_timer);
}

static struct qconn *conn_new(struct qlinks *l)
{
	struct qconn *c = l->conn_count < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (c == NULL)
		return NULL;
	c->links = l;
	c->nonce = random_u64(l->env->random);
	c->born = c->heard = clock_now(l->env->clock);
	op_init(&c->op, l->env->ready, conn_step);
	list_init(&c->out);
	list_link_init(&c->link);
	list_push_back(&l->conns, &c->link);
	l->conn_count++;
	return c;
}

/* ---- one connection ---- */

static void conn_step(struct op *op)
{
	struct qconn *c = container_of(op, struct qconn, op);

	if (c->connecting && (op->waits & WAIT_CONNECT) == 0)
		conn_connected(c);
	if (c->receiving && (op->waits & WAIT_RECV) == 0) {
		c->receiving = false;
		if (c->state == CONN_ENDING || !conn_received(c))
			conn_end(c);
	}
	if (c->sending && (op->waits & WAIT_SEND) == 0) {
		struct out_frame *f = container_of(list_pop_front(&c->out), struct out_frame, link);

		c->sending = false;
		c->out_bytes -= f->bytes;
		free(f);
		if (c->send.done.rc < 0 || (c->end_after_send && list_empty(&c->out)))
			conn_end(c);
	}
	if (c->ticking && (op->waits & WAIT_TICK) == 0) {
		c->ticking = false;
		conn_tick(c);
	}
	if (c->state == CONN_ENDING) {
		if (op->waits != 0)
			return; /* wait: what is in flight */
		net_close(&c->conn);
		op_wake(c->links->opts.owner);
		conn_free(c); /* c is dead */
		return;
	}
	if (c->conn != NULL)
		conn_pump(c);
}

static void conn_connected(struct qconn *c)
{
	c->connecting = false;
	if (c->connect.done.rc == 0)
		c->conn = c->connect.conn;
	if (c->conn == NULL || c->state == CONN_ENDING) {
		if (c->conn != NULL)
			net_shutdown(c->conn);
		conn_end(c);
		return;
	}
	c->state = CONN_HELLO;
	conn_say_hello(c);
}

/* Start what can be started: a receive, a send, the tick. */
static void conn_pump(struct qconn *c)
{
	struct qlinks *l = c->links;

	c->paused = c->state == CONN_OPEN && l->inbox_count >= INBOX_MAX;
	if (!c->receiving && !c->paused) {
		if (c->head_have < QUORUM_FRAME_BYTES) {
			c->recv_iov.iov_base = c->head + c->head_have;
			c->recv_iov.iov_len = QUORUM_FRAME_BYTES - c->head_have;
		} else {
			c->recv_iov.iov_base = c->in->payload + c->payload_have;
			c->recv_iov.iov_len = c->in->bytes - c->payload_have;
		}
		c->recv.iov = &c->recv_iov;
		c->recv.iov_count = 1;
		completion_arm(&c->recv.done, &c->op, WAIT_RECV);
		c->receiving = true;
		net_recv(c->conn, &c->recv);
	}
	if (!c->sending && !list_empty(&c->out)) {
		struct out_frame *f = container_of(list_first(&c->out), struct out_frame, link);

		c->send_iov.iov_base = f->data;
		c->send_iov.iov_len = f->bytes;
		c->send.iov = &c->send_iov;
		c->send.iov_count = 1;
		completion_arm(&c->send.done, &c->op, WAIT_SEND);
		c->sending = true;
		net_send(c->conn, &c->send);
	}
	if (!c->ticking) {
		c->tick.deadline.v = clock_now(l->env->clock).v + l->opts.ping_ms * MS_NS;
		completion_arm(&c->tick.done, &c->op, WAIT_TICK);
		c->ticking = true;
		clock_timer_arm(l->env->clock, &c->tick);
	}
}

static void conn_tick(struct qconn *c)
{
	struct qlinks *l = c->links;
	uint64_t now = clock_now(l->env->clock).v;
	uint8_t ping[QUORUM_PING_BYTES];

	if (c->state == CONN_ENDING || c->tick.done.rc < 0)
		return;
	if (c->state == CONN_HELLO && now - c->born.v >= HANDSHAKE_MS * MS_NS)
		conn_end(c);
	if (c->state != CONN_OPEN)
		return;
	if (now - c->heard.v >= l->opts.dead_ms * MS_NS && !c->paused) {
		conn_end(c);
		return;
	}
	quorum_ping_encode(&(struct quorum_ping){l->identity.lsn, l->identity.seq}, ping);
	conn_queue(c, QUORUM_PING, ping, sizeof(ping));
}

/* Some bytes came. false: end. */
static bool conn_received(struct qconn *c)
{
	uint32_t limit = c->state == CONN_OPEN ? QUORUM_PAYLOAD_BYTES_MAX : EARLY_PAYLOAD_MAX;

	if (c->recv.done.rc <= 0)
		return false;
	c->heard = clock_now(c->links->env->clock);
	if (c->head_have < QUORUM_FRAME_BYTES) {
		c->head_have += (uint32_t)c->recv.done.rc;
		if (c->head_have < QUORUM_FRAME_BYTES)
			return true;
		if (quorum_frame_decode(c->head, &c->frame) < 0 || c->frame.payload_bytes > limit)
			return false;
		c->in = malloc(sizeof(*c->in) + c->frame.payload_bytes);
		if (c->in == NULL)
			return false;
		list_link_init(&c->in->link);
		c->in->type = c->frame.type;
		c->in->bytes = c->frame.payload_bytes;
		c->payload_have = 0;
	} else {
		c->payload_have += (uint32_t)c->recv.done.rc;
	}
	if (c->payload_have < c->in->bytes)
		return true;
	c->head_have = 0;
	return conn_frame(c);
}

/* A whole frame came: c->frame, c->in. */
static bool conn_frame(struct qconn *c)
{
	struct qlinks *l = c->links;
	struct qlink_frame *in = c->in;
	struct quorum_ping ping;
	bool good = true;

	c->in = NULL;
	if (crc32c(in->payload, in->bytes) != c->frame.payload_crc) {
		good = false;
	} else if (c->frame.type == QUORUM_REFUSE && in->bytes > 0) {
		in->payload[in->bytes - 1] = 0;
		note_refusal(l, c->peer, "refuses us", (char *)in->payload);
		good = false;
	} else if (c->state == CONN_HELLO) {
		good = c->frame.type == QUORUM_HELLO && conn_hello(c, &c->frame, in->payload);
	} else if (c->frame.session != c->session || c->frame.from != c->peer ||
		   !cluster_fits(l, c->peer, &c->frame.cluster)) {
		good = false; /* N1 */
	} else if (c->frame.type == QUORUM_PING) {
		good = quorum_ping_decode(in->payload, in->bytes, &ping) == 0;
		if (good)
			l->peer[c->peer].position = (struct quorum_position){ping.lsn, ping.seq};
	} else if (c->frame.type == QUORUM_PROPOSE || c->frame.type == QUORUM_RAFT) {
		in->from = c->peer;
		in->generation = c->generation;
		list_push_back(&l->inbox, &in->link);
		l->inbox_count++;
		op_wake(l->opts.owner);
		return true;
	} else {
		good = false;
	}
	free(in);
	return good;
}

/* ---- handshake ---- */

static void conn_say_hello(struct qconn *c)
{
	const struct qlinks_identity *me = &c->links->identity;
	struct quorum_hello h = {.version_min = QUORUM_VERSION_MIN,
				 .version_max = QUORUM_VERSION_MAX,
				 .id = c->links->opts.self,
				 .fsm_version = me->fsm_version,
				 .disk = me->disk,
				 .lsn = me->lsn,
				 .seq = me->seq,
				 .nonce = c->nonce,
				 .members_hash = me->members_hash,
				 .empty = me->empty};
	uint8_t payload[QUORUM_HELLO_BYTES];

	snprintf(h.name, sizeof(h.name), "%s", c->links->name[h.id]);
	quorum_hello_encode(&h, payload);
	conn_queue(c, QUORUM_HELLO, payload, sizeof(payload));
}

static bool conn_hello(struct qconn *c, const struct quorum_frame *f, const uint8_t *payload)
{
	struct qlinks *l = c->links;
	struct quorum_hello h;
	const char *fault;
	int rc = quorum_hello_decode(payload, f->payload_bytes, &h);

	if (rc == -ERR_CORRUPT)
		return false;
	fault = rc < 0 ? "no common protocol version" : hello_fault(l, &h, &f->cluster);
	if (rc == 0 && (h.id != f->from || (c->peer != 0 && h.id != c->peer)))
		fault = "another member answers at this address";
	if (fault != NULL) {
		if (rc == 0)
			note_refusal(l, h.id, "is refused", fault);
		c->end_after_send = true;
		op_wake(l->opts.owner);
		return conn_queue(c, QUORUM_REFUSE, fault, (uint32_t)strlen(fault) + 1);
	}
	if (c->peer == 0) { /* accepted: now we know who it is; a new session replaces an old one */
		if (h.id <= l->opts.self)
			return false;
		c->peer = h.id;
		if (l->current[h.id] != NULL)
			conn_end(l->current[h.id]);
		l->current[h.id] = c;
		conn_say_hello(c);
	}
	c->session = c->nonce ^ h.nonce; /* N1 */
	l->peer[c->peer].hello = h;
	l->peer[c->peer].cluster = f->cluster;
	conn_open(c);
	return true;
}

/* A peer may be formed in the middle of a session, never change clusters. */
static bool cluster_fits(struct qlinks *l, uint32_t id, const struct uuid *cluster)
{
	struct qlink_peer *p = &l->peer[id];

	if (uuid_equal(&p->cluster, cluster))
		return true;
	if (!uuid_is_nil(&p->cluster) ||
	    (!uuid_is_nil(&l->identity.cluster) && !uuid_equal(&l->identity.cluster, cluster)))
		return false;
	p->cluster = *cluster;
	op_wake(l->opts.owner);
	return true;
}

/* N2: why this hello is refused, or NULL. */
static const char *hello_fault(const struct qlinks *l, const struct quorum_hello *h,
			       const struct uuid *cluster)
{
	const struct qlinks_identity *me = &l->identity;
	bool we_formed = !uuid_is_nil(&me->cluster), it_formed = !uuid_is_nil(cluster);

	if (h->id == 0 || h->id > l->opts.count || h->id == l->opts.self)
		return "it has no such raft id here";
	if (strcmp(h->name, l->name[h->id]) != 0 || h->members_hash != me->members_hash)
		return "the configured members differ";
	if (we_formed && it_formed && !uuid_equal(&me->cluster, cluster))
		return "it belongs to another cluster";
	if (me->peer[h->id].known && !uuid_equal(&me->peer[h->id].disk, &h->disk))
		return "its disk was replaced: it must rejoin under a new raft id";
	if (h->lsn < l->peer[h->id].position.lsn || h->seq < l->peer[h->id].position.seq)
		return "its log went back: rolled-back or replaced disk";
	return NULL;
}

static void note_refusal(struct qlinks *l, uint32_t id, const char *who, const char *why)
{
	char text[sizeof(l->peer[0].refusal)];

	if (id == 0 || id > l->opts.count)
		return;
	snprintf(text, sizeof(text), "%s %s: %.90s", l->opts.name[id], who, why);
	memcpy(l->peer[id].refusal, text, sizeof(text));
}

static void conn_open(struct qconn *c)
{
	struct qlinks *l = c->links;
	struct qlink_peer *p = &l->peer[c->peer];

	c->state = CONN_OPEN;
	c->generation = ++l->generations;
	p->open = true;
	p->generation = c->generation;
	p->position = (struct quorum_position){p->hello.lsn, p->hello.seq};
	p->refusal[0] = 0;
	l->backoff_ms[c->peer] = BACKOFF_MIN_MS;
	op_wake(l->opts.owner);
}

/* ---- ending ---- */

static void conn_end(struct qconn *c)
{
	struct qlinks *l = c->links;

	if (c->state == CONN_ENDING)
		return;
	c->state = CONN_ENDING;
	if (c->peer != 0 && l->current[c->peer] == c) {
		l->current[c->peer] = NULL;
		if (l->peer[c->peer].open)
			inbox_drop(l, c->generation); /* N3 */
		l->peer[c->peer].open = false;
		if (l->dial_at[c->peer].v < clock_now(l->env->clock).v)
			l->dial_at[c->peer].v = clock_now(l->env->clock).v + BACKOFF_MIN_MS * MS_NS;
		op_wake(&l->dial_op);
		op_wake(l->opts.owner);
	}
	if (timer_armed(&c->tick))
		clock_timer_disarm(l->env->clock, &c->tick);
	if (c->conn != NULL)
		net_shutdown(c->conn);
	op_wake(&c->op);
}

static void conn_free(struct qconn *c)
{
	op_unqueue(&c->op);
	list_remove(&c->link);
	c->links->conn_count--;
	LIST_FOR_EACH_SAFE(n, &c->out)
		free(container_of(n, struct out_frame, link));
	free(c->in);
	free(c);
}

static bool conn_queue(struct qconn *c, uint16_t type, const void *payload, uint32_t bytes)
{
	struct qlinks *l = c->links;
	struct quorum_frame f = {.payload_bytes = bytes,
				 .payload_crc = crc32c(payload, bytes),
				 .type = type,
				 .from = l->opts.self,
				 .cluster = l->identity.cluster,
				 .session = c->state == CONN_OPEN ? c->session : 0};
	struct out_frame *out = malloc(sizeof(*out) + QUORUM_FRAME_BYTES + bytes);

	if (out == NULL)
		return false;
	list_link_init(&out->link);
	out->bytes = QUORUM_FRAME_BYTES + bytes;
	quorum_frame_encode(&f, out->data);
	memcpy(out->data + QUORUM_FRAME_BYTES, payload, bytes);
	list_push_back(&c->out, &out->link);
	c->out_bytes += out->bytes;
	op_wake(&c->op);
	return true;
}

static void inbox_drop(struct qlinks *l, uint64_t generation)
{
	LIST_FOR_EACH_SAFE(n, &l->inbox) {
		struct qlink_frame *f = container_of(n, struct qlink_frame, link);

		if (f->generation != generation)
			continue;
		list_remove(n);
		l->inbox_count--;
		free(f);
	}
}
