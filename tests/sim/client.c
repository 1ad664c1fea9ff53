/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/client.c: see client.h.
 *
 * Ops: `main` connects, shakes hands and watches (its timer ticks every few ms); `sender` sends one
 * queued request at a time; `receiver` reads replies.  Transmission ends by client_lose; the stream
 * is given back by main when nothing is in flight on it.
 */
#include "tests/sim/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "proto/cursor.h"
#include "tests/sim/sim_net.h"

#define NBD_IHAVEOPT 0x49484156454f5054ull
#define NBD_MAGIC 0x4e42444d41474943ull
#define NBD_REPLY_MAGIC 0x3e889045565a9ull
#define NBD_REQUEST 0x25609513u
#define NBD_SIMPLE 0x67446698u
#define HANDSHAKE_TIMEOUT (2 * SEC_NS)
#define TICK_NS (4 * MS_NS)
#define VERIFY_BYTES (256u << 10)

enum client_state { CLIENT_OFF, CLIENT_WAIT, CLIENT_DIAL, CLIENT_SHAKE, CLIENT_RUN, CLIENT_ENDING };
enum { WAIT_TIMER = 1, WAIT_DIAL = 2, WAIT_SEND = 4, WAIT_RECV = 8 };
enum { CMD_READ = 0, CMD_WRITE = 1, CMD_FLUSH = 3, CMD_TRIM = 4, CMD_ZEROES = 6 };

struct slot {
	bool used, queued, verify;
	uint16_t cmd, flags;
	uint64_t cookie, off, bytes, begun;
	uint32_t id; /* of the write or read in the oracle */
	uint8_t *data;
};

struct client {
	struct client_opts opts;
	struct client_stats stats;
	struct world *world;
	struct world_node *node;
	struct env *env;
	struct prng prng;
	struct oracle *oracle;
	struct op main, sender, receiver;
	enum client_state state;
	struct timer timer;
	struct net_connect_req dial;
	struct net_conn *conn;
	struct net_io_req send, recv;
	struct iovec send_iov[2], recv_iov;
	uint8_t tx[512], rx[4096];
	uint32_t rx_have, rx_want;
	uint32_t shake_phase; /* 0 greeting, 1 reply header, 2 reply payload */
	uint32_t reply_type;
	uint64_t since, retry_at, next_issue;
	uint32_t address;
	struct slot slots[CLIENT_DEPTH_MAX];
	uint32_t queue[CLIENT_DEPTH_MAX], queue_head, queue_count, in_flight;
	struct slot *sending, *receiving;
	uint64_t cookie;
	bool quiet, verifying;
	uint64_t verify_next, verify_done;
	uint64_t serve_export_bytes;
	bool violated;
	char violation[768];
};

static void client_violate(struct client *c, const char *what)
{
	if (c->violated)
		return;
	c->violated = true;
	snprintf(c->violation, sizeof(c->violation), "%.10s at %llu ns: %s", c->opts.name,
		 (unsigned long long)c->world->now, what);
}

/* --- requests --- */

static uint64_t client_size(struct client *c, uint32_t max)
{
	static const uint32_t sizes[] = {512, 1024, 4096, 4096, 4096, 8192};
	uint64_t p = prng_below(&c->prng, 1000);
	uint64_t b;

	if (p < 700)
		b = sizes[prng_below(&c->prng, ARRAY_COUNT(sizes))];
	else if (p < 920)
		b = prng_range(&c->prng, 1, 32) * 512;
	else if (p < 990)
		b = prng_range(&c->prng, 32, 128) * 512;
	else if (p < 998)
		b = 262144;
	else
		b = max;
	b = b < c->opts.align ? c->opts.align : b / c->opts.align * c->opts.align;
	return b < max ? b : max;
}

static void client_place(struct client *c, struct slot *s, uint32_t max)
{
	uint64_t region = c->opts.bytes;

	s->bytes = client_size(c, max);
	if (c->opts.hot_bytes > s->bytes && prng_below(&c->prng, 4) != 0)
		region = c->opts.hot_bytes;
	s->bytes = s->bytes < region ? s->bytes : region;
	s->off = prng_below(&c->prng, (region - s->bytes) / c->opts.align + 1) * c->opts.align;
	if (prng_below(&c->prng, 2) == 0 && s->off % 4096 != 0 &&
	    s->off / 4096 * 4096 + s->bytes <= region)
		s->off = s->off / 4096 * 4096;
}

static void slot_choose(struct client *c, struct slot *s)
{
	uint64_t p = prng_below(&c->prng, 100);
	const struct client_opts *o = &c->opts;

	s->flags = 0;
	if (p < o->read_percent) {
		s->cmd = CMD_READ;
		client_place(c, s, o->max_bytes);
		return;
	}
	p -= o->read_percent;
	if (p < o->flush_percent) {
		s->cmd = CMD_FLUSH;
		s->off = s->bytes = 0;
		return;
	}
	p -= o->flush_percent;
	if (p < o->trim_percent + o->zero_percent) {
		s->cmd = p < o->trim_percent ? CMD_TRIM : CMD_ZEROES;
		client_place(c, s, 4u << 20 < o->bytes ? 4u << 20 : (uint32_t)o->bytes);
		if (s->cmd == CMD_ZEROES && prng_below(&c->prng, 2) == 0)
			s->flags |= 2; /* NO_HOLE */
	} else {
		s->cmd = CMD_WRITE;
		client_place(c, s, o->max_bytes);
	}
	if (prng_below(&c->prng, 100) < o->fua_percent)
		s->flags |= 1;
}

static void slot_begin(struct client *c, struct slot *s)
{
	uint64_t now = c->world->now;

	s->used = true;
	s->begun = now;
	s->cookie = (++c->cookie << 8) | (uint64_t)(s - c->slots);
	s->data = NULL;
	if (s->cmd == CMD_READ || s->cmd == CMD_WRITE) {
		s->data = malloc(s->bytes);
		assert(s->data != NULL);
	}
	if (s->cmd == CMD_READ) {
		s->id = oracle_read_begin(c->oracle, now);
	} else if (s->cmd != CMD_FLUSH) {
		s->id = oracle_write_begin(c->oracle, now,
					   s->cmd == CMD_WRITE	? ORACLE_DATA
					   : s->cmd == CMD_TRIM ? ORACLE_TRIM
								: ORACLE_ZERO,
					   s->off, s->bytes);
		if (s->cmd == CMD_WRITE)
			oracle_fill(c->oracle, s->id, s->data);
	}
	s->queued = true;
	c->queue[(c->queue_head + c->queue_count++) % CLIENT_DEPTH_MAX] = (uint32_t)(s - c->slots);
	c->in_flight++;
	op_wake(&c->sender);
}

static void slot_end(struct client *c, struct slot *s)
{
	free(s->data);
	s->data = NULL;
	s->used = false;
	assert(c->in_flight > 0);
	c->in_flight--;
}

static struct slot *slot_free(struct client *c)
{
	for (uint32_t i = 0; i < c->opts.depth; i++) {
		if (!c->slots[i].used)
			return &c->slots[i];
	}
	return NULL;
}

static void client_issue_verify(struct client *c)
{
	struct slot *s;

	while (c->verify_next < c->opts.bytes && (s = slot_free(c)) != NULL) {
		uint64_t left = c->opts.bytes - c->verify_next;

		s->cmd = CMD_READ;
		s->flags = 0;
		s->verify = true;
		s->off = c->verify_next;
		s->bytes = left < VERIFY_BYTES ? left : VERIFY_BYTES;
		c->verify_next += s->bytes;
		slot_begin(c, s);
	}
}

static void client_issue(struct client *c)
{
	struct slot *s;

	if (c->verifying) {
		client_issue_verify(c);
		return;
	}
	while (!c->quiet && c->next_issue <= c->world->now && (s = slot_free(c)) != NULL) {
		s->verify = false;
		slot_choose(c, s);
		slot_begin(c, s);
		c->next_issue = c->world->now;
		if (prng_below(&c->prng, 4) != 0) /* else a burst */
			c->next_issue += prng_below(&c->prng, 3 * c->opts.think_ns);
	}
}

/* --- the end of a connection --- */

static void client_lose(struct client *c)
{
	if (c->state == CLIENT_ENDING)
		return;
	if (c->state == CLIENT_RUN)
		c->stats.lost++;
	c->state = CLIENT_ENDING;
	sim_net_abort(c->conn);
	op_wake(&c->main);
}

/* Nothing is in flight on the stream any more. */
static void client_lost(struct client *c)
{
	net_close(&c->conn);
	for (uint32_t i = 0; i < CLIENT_DEPTH_MAX; i++) {
		struct slot *s = &c->slots[i];

		if (!s->used)
			continue;
		if (s->cmd == CMD_READ)
			oracle_read_drop(c->oracle, s->id);
		else if (s->cmd != CMD_FLUSH)
			oracle_write_dead(c->oracle, s->id, c->world->now);
		slot_end(c, s);
	}
	c->queue_count = 0;
	c->sending = c->receiving = NULL;
	if (c->verifying)
		c->verify_next = c->verify_done = 0;
	c->state = CLIENT_WAIT;
	c->address = (c->address + 1) % c->opts.address_count;
	c->retry_at = c->world->now + prng_range(&c->prng, 5 * MS_NS, 60 * MS_NS);
}

/* --- replies --- */

static void client_answered(struct client *c, struct slot *s, uint32_t error)
{
	uint64_t now = c->world->now;

	if (error != 0) {
		c->stats.errors++;
		c->stats.last_error = (int)error;
		if (s->cmd == CMD_READ)
			oracle_read_drop(c->oracle, s->id);
		else if (s->cmd != CMD_FLUSH)
			oracle_write_dead(c->oracle, s->id, now);
		if (s->verify)
			client_violate(c, "a read of the final check was answered with an error");
		slot_end(c, s);
		return;
	}
	c->stats.last_ack_at = now;
	if (s->cmd == CMD_READ) {
		c->stats.reads++;
		c->stats.bytes_read += s->bytes;
		if (!oracle_read_check(c->oracle, s->id, now, s->off, s->bytes, s->data))
			client_violate(c, oracle_error(c->oracle));
		if (s->verify)
			c->verify_done += s->bytes;
	} else if (s->cmd != CMD_FLUSH) {
		c->stats.acked++;
		c->stats.bytes_written += s->bytes;
		if (c->stats.last_write_ack != 0 &&
		    now - c->stats.last_write_ack > c->stats.gap_max)
			c->stats.gap_max = now - c->stats.last_write_ack;
		c->stats.last_write_ack = now;
		oracle_write_acked(c->oracle, s->id, now);
	}
	slot_end(c, s);
}

/* A whole reply header is in rx. False: the stream is lost. */
static bool client_reply(struct client *c)
{
	struct cursor cur;
	uint32_t magic, error;
	uint64_t cookie;
	struct slot *s;

	cursor_init(&cur, c->rx, 16);
	magic = get_u32_be(&cur);
	error = get_u32_be(&cur);
	get_bytes(&cur, &cookie, 8);
	s = &c->slots[cookie & 0xff & (CLIENT_DEPTH_MAX - 1)];
	if (magic != NBD_SIMPLE || !s->used || s->cookie != cookie || s->queued) {
		client_violate(c, "a reply with a wrong magic or cookie");
		return false;
	}
	if (s->cmd == CMD_READ && error == 0) {
		c->receiving = s;
		c->rx_want = (uint32_t)s->bytes;
	} else {
		client_answered(c, s, error);
	}
	return true;
}

static void client_recv_submit(struct client *c)
{
	uint8_t *base = c->receiving != NULL ? c->receiving->data : c->rx;

	c->recv_iov.iov_base = base + c->rx_have;
	c->recv_iov.iov_len = c->rx_want - c->rx_have;
	c->recv.iov = &c->recv_iov;
	c->recv.iov_count = 1;
	completion_arm(&c->recv.done, &c->receiver, WAIT_RECV);
	net_recv(c->conn, &c->recv);
}

static void client_handshake_bytes(struct client *c);

static void receiver_step(struct op *op)
{
	struct client *c = container_of(op, struct client, receiver);

	if (op->waits != 0 || c->conn == NULL)
		return;
	if (c->state != CLIENT_SHAKE && c->state != CLIENT_RUN) {
		op_wake(&c->main);
		return;
	}
	if (c->recv.iov_count == 0) { /* a new stream */
		c->rx_have = 0;
	} else if (c->recv.done.rc <= 0) {
		client_lose(c);
		return;
	} else {
		c->rx_have += (uint32_t)c->recv.done.rc;
	}
	if (c->rx_have == c->rx_want) {
		c->rx_have = 0;
		if (c->state == CLIENT_SHAKE) {
			client_handshake_bytes(c);
		} else if (c->receiving != NULL) {
			struct slot *s = c->receiving;

			c->receiving = NULL;
			c->rx_want = 16;
			client_answered(c, s, 0);
		} else if (!client_reply(c)) {
			client_lose(c);
			return;
		}
		client_issue(c);
	}
	if (c->state == CLIENT_SHAKE || c->state == CLIENT_RUN)
		client_recv_submit(c);
}

/* --- sending --- */

static void client_send(struct client *c, uint32_t bytes, void *payload, uint64_t payload_bytes)
{
	c->send_iov[0] = (struct iovec){c->tx, bytes};
	c->send_iov[1] = (struct iovec){payload, payload_bytes};
	c->send.iov = c->send_iov;
	c->send.iov_count = payload_bytes > 0 ? 2 : 1;
	completion_arm(&c->send.done, &c->sender, WAIT_SEND);
	net_send(c->conn, &c->send);
}

static void sender_step(struct op *op)
{
	struct client *c = container_of(op, struct client, sender);
	struct cursor cur;
	struct slot *s;

	if (op->waits != 0 || c->conn == NULL)
		return;
	c->sending = NULL;
	if (c->state == CLIENT_ENDING)
		op_wake(&c->main);
	if (c->state != CLIENT_RUN)
		return;
	if (c->send.done.rc < 0) {
		client_lose(c);
		return;
	}
	if (c->queue_count == 0)
		return;
	s = &c->slots[c->queue[c->queue_head]];
	c->queue_head = (c->queue_head + 1) % CLIENT_DEPTH_MAX;
	c->queue_count--;
	s->queued = false;
	c->sending = s;
	cursor_init(&cur, c->tx, sizeof(c->tx));
	put_u32_be(&cur, NBD_REQUEST);
	put_u16_be(&cur, s->flags);
	put_u16_be(&cur, s->cmd);
	put_bytes(&cur, &s->cookie, 8);
	put_u64_be(&cur, s->off);
	put_u32_be(&cur, (uint32_t)s->bytes);
	client_send(c, 28, s->data, s->cmd == CMD_WRITE ? s->bytes : 0);
}

/* --- handshake --- */

static void client_send_go(struct client *c)
{
	uint32_t name = (uint32_t)strlen(c->opts.export);
	struct cursor cur;

	cursor_init(&cur, c->tx, sizeof(c->tx));
	put_u32_be(&cur, 3); /* fixed newstyle, no zeroes */
	put_u64_be(&cur, NBD_IHAVEOPT);
	put_u32_be(&cur, 7);
	put_u32_be(&cur, 4 + name + 2 + 2);
	put_u32_be(&cur, name);
	put_bytes(&cur, c->opts.export, name);
	put_u16_be(&cur, 1);
	put_u16_be(&cur, 3); /* block sizes */
	assert(cursor_ok(&cur));
	client_send(c, (uint32_t)(cur.at - c->tx), NULL, 0);
}

static void client_go_reply_header(struct client *c)
{
	struct cursor cur;
	uint64_t magic;
	uint32_t bytes;

	cursor_init(&cur, c->rx, 20);
	magic = get_u64_be(&cur);
	(void)get_u32_be(&cur);
	c->reply_type = get_u32_be(&cur);
	bytes = get_u32_be(&cur);
	if (magic != NBD_REPLY_MAGIC || bytes > sizeof(c->rx)) {
		client_violate(c, "a bad reply to GO");
		client_lose(c);
		return;
	}
	if (bytes > 0) {
		c->shake_phase = 2;
		c->rx_want = bytes;
		return;
	}
	if (c->reply_type == 1) { /* ACK */
		c->state = CLIENT_RUN;
		c->stats.connects++;
		c->rx_want = 16;
		c->next_issue = c->world->now;
		op_wake(&c->sender);
		return;
	}
	c->stats.refused++;
	client_lose(c);
}

static void client_handshake_bytes(struct client *c)
{
	struct cursor cur;

	if (c->shake_phase == 0) {
		cursor_init(&cur, c->rx, 18);
		if (get_u64_be(&cur) != NBD_MAGIC || get_u64_be(&cur) != NBD_IHAVEOPT) {
			client_violate(c, "a bad greeting");
			client_lose(c);
			return;
		}
		client_send_go(c);
		c->shake_phase = 1;
		c->rx_want = 20;
	} else if (c->shake_phase == 1) {
		client_go_reply_header(c);
	} else if ((c->reply_type & 0x80000000u) != 0) {
		c->stats.refused++;
		client_lose(c);
	} else {
		c->shake_phase = 1;
		c->rx_want = 20;
	}
}

/* --- main --- */

static void client_tick(struct client *c)
{
	uint64_t now = c->world->now;

	if (c->state == CLIENT_SHAKE && now - c->since > HANDSHAKE_TIMEOUT)
		client_lose(c);
	if (c->state != CLIENT_RUN)
		return;
	for (uint32_t i = 0; i < CLIENT_DEPTH_MAX; i++) {
		if (!c->slots[i].used || now - c->slots[i].begun <= c->opts.timeout_ns)
			continue;
		c->stats.timeouts++;
		client_lose(c);
		return;
	}
	client_issue(c);
}

static void client_dial(struct client *c)
{
	c->state = CLIENT_DIAL;
	snprintf(c->dial.address, sizeof(c->dial.address), "%s", c->opts.address[c->address]);
	completion_arm(&c->dial.done, &c->main, WAIT_DIAL);
	net_connect(c->env->net, &c->dial);
}

static void client_dialed(struct client *c)
{
	if (c->dial.done.rc < 0) {
		c->state = CLIENT_WAIT;
		c->address = (c->address + 1) % c->opts.address_count;
		c->retry_at = c->world->now + prng_range(&c->prng, 5 * MS_NS, 60 * MS_NS);
		return;
	}
	c->conn = c->dial.conn;
	c->state = CLIENT_SHAKE;
	c->since = c->world->now;
	c->shake_phase = 0;
	c->rx_want = 18;
	c->recv.iov_count = 0;
	c->send.done.rc = 0;
	op_wake(&c->receiver);
}

static uint64_t client_next_tick(const struct client *c)
{
	uint64_t at = c->world->now + TICK_NS * 8;

	if (c->state == CLIENT_RUN && !c->quiet && !c->verifying && c->in_flight < c->opts.depth &&
	    c->next_issue < at)
		at = c->next_issue > c->world->now ? c->next_issue : c->world->now + 1000;
	if (c->state == CLIENT_WAIT && c->retry_at < at)
		at = c->retry_at > c->world->now ? c->retry_at : c->world->now + 1000;
	return at;
}

static void main_step(struct op *op)
{
	struct client *c = container_of(op, struct client, main);

	if (c->state == CLIENT_OFF)
		return;
	if (c->state == CLIENT_DIAL && (op->waits & WAIT_DIAL) == 0)
		client_dialed(c);
	if ((op->waits & WAIT_TIMER) == 0) {
		client_tick(c);
		if (c->state == CLIENT_WAIT && c->retry_at <= c->world->now)
			client_dial(c);
	}
	if (c->state == CLIENT_ENDING && c->sender.waits == 0 && c->receiver.waits == 0)
		client_lost(c);
	if ((op->waits & WAIT_TIMER) == 0) {
		c->timer.deadline.v =
			clock_now(c->env->clock).v + (client_next_tick(c) - c->world->now);
		completion_arm(&c->timer.done, op, WAIT_TIMER);
		clock_timer_arm(c->env->clock, &c->timer);
	}
}

/* --- life --- */

struct client *client_new(struct world *w, const struct client_opts *opts)
{
	const struct buf_pool_sizes none = {.count = {0, 0, 0}};
	struct client *c = calloc(1, sizeof(*c));

	assert(c != NULL && opts->depth <= CLIENT_DEPTH_MAX && opts->address_count > 0);
	c->opts = *opts;
	c->world = w;
	c->node = world_node_new(w, opts->name);
	c->env = &world_env_new(c->node, "client", &none)->env;
	prng_init(&c->prng, opts->seed, 77);
	c->oracle = oracle_new(opts->bytes);
	op_init(&c->main, c->env->ready, main_step);
	op_init(&c->sender, c->env->ready, sender_step);
	op_init(&c->receiver, c->env->ready, receiver_step);
	return c;
}

void client_free(struct client **client)
{
	struct client *c = *client;

	*client = NULL;
	if (c == NULL)
		return;
	for (uint32_t i = 0; i < CLIENT_DEPTH_MAX; i++)
		free(c->slots[i].data);
	oracle_free(&c->oracle);
	free(c);
}

void client_start(struct client *c)
{
	assert(c->state == CLIENT_OFF);
	c->state = CLIENT_WAIT;
	c->retry_at = c->world->now;
	op_wake(&c->main);
}

void client_quiesce(struct client *c)
{
	c->quiet = true;
}

bool client_is_idle(const struct client *c)
{
	return c->in_flight == 0;
}

void client_verify(struct client *c)
{
	c->quiet = true;
	c->verifying = true;
	c->verify_next = c->verify_done = 0;
}

bool client_verified(const struct client *c)
{
	return c->verifying && c->verify_done >= c->opts.bytes;
}

void client_resume(struct client *c)
{
	c->quiet = false;
	c->verifying = false;
}

const char *client_violation(const struct client *c)
{
	return c->violated ? c->violation : NULL;
}

const struct client_stats *client_stats(const struct client *c)
{
	return &c->stats;
}

struct oracle *client_oracle(struct client *c)
{
	return c->oracle;
}

struct world_node *client_node(struct client *c)
{
	return c->node;
}

const char *client_name(const struct client *c)
{
	return c->opts.name;
}
