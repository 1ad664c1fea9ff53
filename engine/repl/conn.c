/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/conn.c
 * Purpose.     Frames over a byte stream, with at most one copy of a payload on the way in and none
 *              on the way out.
 * Invariants.  C1  At most one receive and one send are in flight.
 *              C2  Bytes are received into the stage; while a payload is awaited, first into its
 *                  buf.  Payload bytes that came with the head are copied: the only copy.
 *              C3  A frame is shown whole or not at all, after header and head checksums.
 *              C4  While a whole frame waits for its owner nothing is received.
 *              C5  out_count and out_bytes bound what is queued; a queued frame holds references
 *                  to its record or buf until its send has completed.
 * States.      CONNECTING -> OPEN [conn_connected]    CONNECTING | OPEN -> BROKEN [conn_break]
 *              BROKEN -> CLOSED [conn_finish, nothing in flight]
 * Ownership.   The owner frees the connection in CLOSED.  A send copies small heads.
 * Failure.     Whatever fails, also a frame that cannot be decoded, ends in BROKEN.
 * Limits.      CONN_OUT_MAX frames, CONN_OUT_BYTES_MAX of payload, one frame of a stage.
 */
#include "engine/repl/conn.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"

#define STAGE_BYTES 131072u
#define OUT_INLINE_BYTES 1280u
#define SEND_IOV_MAX 1024u
#define SEND_BYTES_MAX (4u << 20)

_Static_assert(FRAME_HEADER_BYTES + FRAME_HEAD_BYTES_MAX <= STAGE_BYTES / 2, "a head fits");
_Static_assert(FRAME_HEADER_BYTES + FRAME_BASE_BYTES_MAX <= OUT_INLINE_BYTES, "BASE is inline");

enum { BIT_RX = 1, BIT_TX = 2, BIT_CONNECT = 4, BIT_BUF = 8 };

struct conn_out {
	struct list_link link;
	uint8_t *bytes; /* header and head: `inside`, or allocated when larger */
	uint32_t byte_count;
	uint32_t payload_bytes;
	struct record *rec;
	struct buf *buf;
	uint8_t inside[OUT_INLINE_BYTES];
};

struct conn {
	struct env *env;
	struct op op;
	struct op *owner;
	enum conn_state state;
	int rc;
	char text[128];
	bool has_kind;
	enum frame_conn kind;
	struct conn_node node;

	struct net_conn *net;
	struct net_connect_req connect;
	bool connecting;

	uint8_t *stage;
	uint32_t stage_begin, stage_end;
	struct net_io_req rx;
	struct iovec rx_iov[2];
	uint32_t rx_payload; /* bytes of rx_iov[0] that belong to the payload */
	bool rx_flying;
	bool frame_begun; /* header and head are checked, payload buf is there */
	uint32_t payload_have;
	struct conn_frame frame;
	struct buf_waiter buf_waiter;
	bool buf_waiting;
	struct mono_ns last_heard;
	uint64_t heard_frames;

	struct conn_out *outs;
	struct list out_free, out_queue, out_flying;
	uint32_t out_count;
	uint64_t out_bytes;
	bool out_wanted; /* somebody was told that there is no room */
	struct net_io_req tx;
	struct iovec tx_iov[SEND_IOV_MAX];
	bool tx_flying;
	struct mono_ns last_sent;
};

static struct conn *conn_new(struct env *env, struct op *owner);
static void conn_step(struct op *op);
static void conn_connected(struct conn *c);
static void conn_received(struct conn *c);
static void conn_sent(struct conn *c);
static void conn_flush(struct conn *c);
static uint32_t conn_gather(struct conn *c, struct conn_out *o, uint32_t at);
static void conn_receive(struct conn *c);
static bool conn_begin_frame(struct conn *c);
static bool conn_payload_buf(struct conn *c);
static void conn_drop_frame(struct conn *c);
static void conn_finish(struct conn *c);
static void conn_release(struct conn *c);
static int conn_out_take(struct conn *c, struct frame_header *h, const void *head,
			 uint32_t head_bytes, struct conn_out **ret_out);
static void conn_out_give(struct conn *c, struct conn_out *o);

struct conn *conn_connect(struct env *env, struct op *owner, const char *address)
{
	struct conn *c = conn_new(env, owner);

	if (c == NULL)
		return NULL;
	c->state = CONN_CONNECTING;
	c->connecting = true;
	snprintf(c->connect.address, sizeof(c->connect.address), "%s", address);
	completion_arm(&c->connect.done, &c->op, BIT_CONNECT);
	net_connect(env->net, &c->connect);
	return c;
}

struct conn *conn_accepted(struct env *env, struct op *owner, struct net_conn **net)
{
	struct conn *c = conn_new(env, owner);

	if (c == NULL)
		return NULL;
	c->net = *net;
	*net = NULL;
	c->state = CONN_OPEN;
	return c;
}

static struct conn *conn_new(struct env *env, struct op *owner)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->stage = malloc(STAGE_BYTES);
	if (c->stage == NULL)
		goto err_after_conn;
	c->outs = calloc(CONN_OUT_MAX, sizeof(*c->outs));
	if (c->outs == NULL)
		goto err_after_stage;
	list_init(&c->out_free);
	list_init(&c->out_queue);
	list_init(&c->out_flying);
	for (uint32_t i = 0; i < CONN_OUT_MAX; i++)
		list_push_back(&c->out_free, &c->outs[i].link);
	c->env = env;
	c->owner = owner;
	op_init(&c->op, env->ready, conn_step);
	list_link_init(&c->node.link);
	list_link_init(&c->buf_waiter.link);
	c->last_heard = c->last_sent = clock_now(env->clock);
	return c;

err_after_stage:
	free(c->stage);
err_after_conn:
	free(c);
	return NULL;
}

enum conn_state conn_state(const struct conn *c)
{
	return c->state;
}

int conn_rc(const struct conn *c)
{
	return c->rc;
}

const char *conn_text(const struct conn *c)
{
	return c->text;
}

void conn_set_owner(struct conn *c, struct op *owner)
{
	c->owner = owner;
	op_wake(owner);
}

void conn_set_kind(struct conn *c, enum frame_conn kind)
{
	c->has_kind = true;
	c->kind = kind;
}

struct mono_ns conn_last_heard(const struct conn *c)
{
	return c->last_heard;
}

struct mono_ns conn_last_sent(const struct conn *c)
{
	return c->last_sent;
}

uint64_t conn_heard_frames(const struct conn *c)
{
	return c->heard_frames;
}

bool conn_is_deferred(const struct conn *c)
{
	return c->buf_waiting || (c->frame_begun && c->payload_have == c->frame.h.payload_bytes);
}

struct conn_node *conn_node(struct conn *c)
{
	return &c->node;
}

struct conn *conn_of_node(struct list_link *link)
{
	struct conn_node *n = container_of(link, struct conn_node, link);

	return container_of(n, struct conn, node);
}

static void conn_step(struct op *op)
{
	struct conn *c = container_of(op, struct conn, op);

	if (c->connecting && (op->waits & BIT_CONNECT) == 0)
		conn_connected(c);
	if (c->rx_flying && (op->waits & BIT_RX) == 0)
		conn_received(c);
	if (c->tx_flying && (op->waits & BIT_TX) == 0)
		conn_sent(c);
	if (c->buf_waiting && (op->waits & BIT_BUF) == 0) {
		c->buf_waiting = false;
		op_wake(c->owner);
	}
	if (c->state == CONN_OPEN)
		conn_flush(c);
	if (c->state == CONN_BROKEN && op->waits == 0)
		conn_finish(c);
	/* wait: receive, send, connect, a buf, or the owner */
}

static void conn_connected(struct conn *c)
{
	c->connecting = false;
	if (c->connect.done.rc < 0) {
		conn_break(c, c->connect.done.rc, "cannot connect");
		return;
	}
	c->net = c->connect.conn;
	c->connect.conn = NULL;
	c->last_heard = clock_now(c->env->clock);
	if (c->state == CONN_CONNECTING) {
		c->state = CONN_OPEN;
		op_wake(c->owner);
	} else {
		net_shutdown(c->net); /* broken while it connected */
	}
}

/* --- receiving --- */

struct conn_frame *conn_frame(struct conn *c)
{
	if (c->state != CONN_OPEN || c->rx_flying)
		return NULL; /* C1: bytes in flight may belong to this frame */
	if (!c->frame_begun && !conn_begin_frame(c))
		return NULL;
	if (c->payload_have == c->frame.h.payload_bytes)
		return &c->frame; /* C3, C4 */
	conn_receive(c);
	return NULL;
}

void conn_consume(struct conn *c)
{
	uint32_t bytes;

	if (c->state != CONN_OPEN) {
		return; /* the owner broke it: conn_finish drops the frame */
	}
	assert(c->frame_begun);
	assert(c->payload_have == c->frame.h.payload_bytes); /* C3 */
	bytes = FRAME_HEADER_BYTES + c->frame.h.head_bytes;
	c->stage_begin += bytes;
	assert(c->stage_begin <= c->stage_end);
	if (c->stage_begin == c->stage_end)
		c->stage_begin = c->stage_end = 0;
	conn_drop_frame(c);
}

/* True when header and head are there and checked and the payload has a buf; else waits. */
static bool conn_begin_frame(struct conn *c)
{
	uint8_t *at = c->stage + c->stage_begin;
	uint32_t staged = c->stage_end - c->stage_begin;
	struct frame_header *h = &c->frame.h;
	int rc;

	if (c->buf_waiting)
		return false;
	if (staged < FRAME_HEADER_BYTES) {
		conn_receive(c);
		return false;
	}
	rc = frame_header_decode(at, h);
	if (rc == 0 && c->has_kind && !frame_kind_allowed(h->kind, c->kind))
		rc = -ERR_PROTOCOL;
	if (rc < 0) {
		counter_add(c->env->counters, CTR_CHECKSUM_WIRE, rc == -ERR_CORRUPT);
		conn_break(c, rc, "what came is not a frame of this protocol");
		return false;
	}
	if (staged < FRAME_HEADER_BYTES + h->head_bytes) {
		conn_receive(c);
		return false;
	}
	rc = frame_head_check(h, at + FRAME_HEADER_BYTES);
	if (rc < 0) {
		counter_add(c->env->counters, CTR_CHECKSUM_WIRE, 1);
		conn_break(c, rc, "a frame with a wrong checksum came");
		return false;
	}
	if (h->payload_bytes > 0 && !conn_payload_buf(c))
		return false;
	c->frame.head = at + FRAME_HEADER_BYTES;
	c->frame_begun = true;
	c->heard_frames++;
	return true;
}

/* Take a buf for the payload and move what is staged of it there (C2); false: none is free. */
static bool conn_payload_buf(struct conn *c)
{
	uint32_t head_end = c->stage_begin + FRAME_HEADER_BYTES + c->frame.h.head_bytes;
	uint32_t have = c->stage_end - head_end;

	c->frame.payload = buf_take(c->env->bufs, c->frame.h.payload_bytes);
	if (c->frame.payload == NULL) {
		counter_add(c->env->counters, CTR_QUEUE_FULL_BUF, 1);
		completion_arm(&c->buf_waiter.done, &c->op, BIT_BUF);
		c->buf_waiting = true;
		buf_wait(c->env->bufs, &c->buf_waiter);
		return false;
	}
	if (have > c->frame.h.payload_bytes)
		have = c->frame.h.payload_bytes;
	memcpy(c->frame.payload->data, c->stage + head_end, have);
	c->payload_have = have;
	memmove(c->stage + head_end, c->stage + head_end + have, c->stage_end - head_end - have);
	c->stage_end -= have;
	return true;
}

static void conn_receive(struct conn *c)
{
	uint32_t n = 0;

	if (c->rx_flying || c->state != CONN_OPEN)
		return;
	if (c->stage_begin > 0 && !c->frame_begun) {
		memmove(c->stage, c->stage + c->stage_begin, c->stage_end - c->stage_begin);
		c->stage_end -= c->stage_begin;
		c->stage_begin = 0;
	}
	c->rx_payload = 0;
	if (c->frame_begun) {
		assert(c->payload_have < c->frame.h.payload_bytes);
		c->rx_payload = c->frame.h.payload_bytes - c->payload_have;
		c->rx_iov[n].iov_base = c->frame.payload->data + c->payload_have;
		c->rx_iov[n++].iov_len = c->rx_payload;
	}
	if (c->stage_end < STAGE_BYTES) {
		c->rx_iov[n].iov_base = c->stage + c->stage_end;
		c->rx_iov[n++].iov_len = STAGE_BYTES - c->stage_end;
	}
	assert(n > 0);
	c->rx.iov = c->rx_iov;
	c->rx.iov_count = n;
	c->rx_flying = true;
	completion_arm(&c->rx.done, &c->op, BIT_RX);
	net_recv(c->net, &c->rx);
}

static void conn_received(struct conn *c)
{
	uint32_t bytes, to_payload;

	c->rx_flying = false;
	if (c->rx.done.rc <= 0) {
		conn_break(c, c->rx.done.rc < 0 ? c->rx.done.rc : -ERR_CLOSED,
			   "the other side closed the connection");
		return;
	}
	bytes = (uint32_t)c->rx.done.rc;
	to_payload = bytes < c->rx_payload ? bytes : c->rx_payload;
	c->payload_have += to_payload;
	c->stage_end += bytes - to_payload;
	assert(c->stage_end <= STAGE_BYTES);
	c->last_heard = clock_now(c->env->clock);
	op_wake(c->owner);
}

static void conn_drop_frame(struct conn *c)
{
	buf_unref(&c->frame.payload);
	c->frame.head = NULL;
	c->frame_begun = false;
	c->payload_have = 0;
}

/* --- sending --- */

bool conn_can_send(const struct conn *c)
{
	/* Some frames are kept back for small ones: an ACK must not wait behind bulk. */
	bool can = c->state == CONN_OPEN && c->out_count + 32 < CONN_OUT_MAX &&
		   c->out_bytes < CONN_OUT_BYTES_MAX;

	return can;
}

int conn_send(struct conn *c, struct frame_header *h, const void *head, uint32_t head_bytes)
{
	struct conn_out *o;
	int rc;

	h->payload_bytes = 0;
	rc = conn_out_take(c, h, head, head_bytes, &o);
	if (rc < 0)
		return rc;
	list_push_back(&c->out_queue, &o->link);
	op_wake(&c->op);
	return 0;
}

int conn_send_record(struct conn *c, struct frame_header *h, struct record *rec)
{
	struct conn_out *o;
	int rc;

	if (!conn_can_send(c)) {
		c->out_wanted = true;
		return c->state == CONN_OPEN ? -ERR_BUSY : -ERR_CLOSED;
	}
	h->payload_bytes = rec->view.payload_blocks * BLOCK_BYTES;
	rc = conn_out_take(c, h, rec->head->data, rec->view.logical_bytes, &o);
	if (rc < 0)
		return rc;
	o->rec = record_ref(rec);
	o->payload_bytes = h->payload_bytes;
	c->out_bytes += o->payload_bytes;
	list_push_back(&c->out_queue, &o->link);
	op_wake(&c->op);
	return 0;
}

int conn_send_payload(struct conn *c, struct frame_header *h, const void *head, uint32_t head_bytes,
		      struct buf *b, uint32_t bytes)
{
	struct conn_out *o;
	int rc;

	assert(bytes <= b->bytes);
	if (!conn_can_send(c)) {
		c->out_wanted = true;
		return c->state == CONN_OPEN ? -ERR_BUSY : -ERR_CLOSED;
	}
	h->payload_bytes = bytes;
	rc = conn_out_take(c, h, head, head_bytes, &o);
	if (rc < 0)
		return rc;
	o->buf = buf_ref(b);
	o->payload_bytes = bytes;
	c->out_bytes += bytes;
	list_push_back(&c->out_queue, &o->link);
	op_wake(&c->op);
	return 0;
}

/*
 * The logical part of a record is not copied: its frame has only the header in bytes, and the iov
 * goes to rec->head.  Small heads are copied behind the header.
 */
static int conn_out_take(struct conn *c, struct frame_header *h, const void *head,
			 uint32_t head_bytes, struct conn_out **ret_out)
{
	bool copies = h->kind != FRAME_RECORD;
	uint32_t bytes = FRAME_HEADER_BYTES + (copies ? head_bytes : 0);
	struct conn_out *o;

	assert(head_bytes <= FRAME_HEAD_BYTES_MAX);
	if (c->state != CONN_OPEN)
		return -ERR_CLOSED;
	if (list_empty(&c->out_free)) {
		c->out_wanted = true;
		return -ERR_BUSY;
	}
	o = container_of(list_first(&c->out_free), struct conn_out, link);
	o->bytes = o->inside;
	if (bytes > OUT_INLINE_BYTES) {
		o->bytes = malloc(bytes);
		if (o->bytes == NULL)
			return -ERR_NOMEM;
	}
	list_remove(&o->link);
	h->head_bytes = head_bytes;
	h->flags = 0;
	frame_header_encode(o->bytes, h, head);
	if (copies && head_bytes > 0)
		memcpy(o->bytes + FRAME_HEADER_BYTES, head, head_bytes);
	o->byte_count = bytes;
	o->payload_bytes = 0;
	o->rec = NULL;
	o->buf = NULL;
	c->out_count++;
	*ret_out = o;
	return 0;
}

static void conn_out_give(struct conn *c, struct conn_out *o)
{
	if (o->bytes != o->inside)
		free(o->bytes);
	o->bytes = NULL;
	if (o->rec != NULL)
		record_unref(&o->rec);
	buf_unref(&o->buf);
	assert(c->out_bytes >= o->payload_bytes); /* C5 */
	c->out_bytes -= o->payload_bytes;
	assert(c->out_count > 0);
	c->out_count--;
	list_push_back(&c->out_free, &o->link);
}

/* Send what is queued, as much as fits one request. */
static void conn_flush(struct conn *c)
{
	uint64_t bytes = 0;
	uint32_t n = 0;

	if (c->tx_flying)
		return; /* C1 */
	LIST_FOR_EACH_SAFE(link, &c->out_queue) {
		struct conn_out *o = container_of(link, struct conn_out, link);
		uint32_t need = 2 + (o->rec != NULL ? o->rec->iov_count : 0);

		if (n + need > SEND_IOV_MAX || bytes > SEND_BYTES_MAX)
			break;
		n = conn_gather(c, o, n);
		bytes += o->byte_count + o->payload_bytes;
		list_remove(&o->link);
		list_push_back(&c->out_flying, &o->link);
	}
	if (n == 0)
		return;
	c->tx.iov = c->tx_iov;
	c->tx.iov_count = n;
	c->tx_flying = true;
	completion_arm(&c->tx.done, &c->op, BIT_TX);
	net_send(c->net, &c->tx);
}

static uint32_t conn_gather(struct conn *c, struct conn_out *o, uint32_t at)
{
	c->tx_iov[at].iov_base = o->bytes;
	c->tx_iov[at++].iov_len = o->byte_count;
	if (o->rec != NULL) {
		c->tx_iov[at].iov_base = o->rec->head->data;
		c->tx_iov[at++].iov_len = o->rec->view.logical_bytes;
		for (uint32_t i = 1; i < o->rec->iov_count; i++)
			c->tx_iov[at++] = o->rec->iov[i];
	}
	if (o->buf != NULL) {
		c->tx_iov[at].iov_base = o->buf->data;
		c->tx_iov[at++].iov_len = o->payload_bytes;
	}
	assert(at <= SEND_IOV_MAX);
	return at;
}

static void conn_sent(struct conn *c)
{
	struct list_link *link;

	c->tx_flying = false;
	while ((link = list_pop_front(&c->out_flying)) != NULL)
		conn_out_give(c, container_of(link, struct conn_out, link));
	if (c->tx.done.rc < 0) {
		conn_break(c, c->tx.done.rc, "sending failed");
		return;
	}
	c->last_sent = clock_now(c->env->clock);
	if (c->out_wanted) {
		c->out_wanted = false;
		op_wake(c->owner);
	}
}

/* --- the end --- */

void conn_break(struct conn *c, int rc, const char *text)
{
	if (c->state == CONN_BROKEN || c->state == CONN_CLOSED)
		return;
	c->state = CONN_BROKEN;
	c->rc = rc;
	snprintf(c->text, sizeof(c->text), "%s (%s)", text, err_text(rc));
	if (c->net != NULL)
		net_shutdown(c->net);
	if (c->buf_waiting)
		buf_wait_cancel(c->env->bufs, &c->buf_waiter);
	op_wake(&c->op);
	op_wake(c->owner);
}

static void conn_finish(struct conn *c)
{
	assert(!c->rx_flying && !c->tx_flying && !c->connecting);
	net_close(&c->net);
	conn_release(c);
	c->state = CONN_CLOSED;
	op_wake(c->owner);
}

static void conn_release(struct conn *c)
{
	struct list_link *link;

	while ((link = list_pop_front(&c->out_flying)) != NULL)
		conn_out_give(c, container_of(link, struct conn_out, link));
	while ((link = list_pop_front(&c->out_queue)) != NULL)
		conn_out_give(c, container_of(link, struct conn_out, link));
	conn_drop_frame(c);
}

void conn_free(struct conn **c)
{
	struct conn *x = *c;

	*c = NULL;
	if (x == NULL)
		return;
	assert(x->state == CONN_CLOSED);
	assert(x->op.waits == 0);
	assert(!list_linked(&x->node.link));
	op_unqueue(&x->op);
	free(x->stage);
	free(x->outs);
	free(x);
}

void conn_abandon(struct conn **c)
{
	struct conn *x = *c;

	*c = NULL;
	if (x == NULL)
		return;
	for (uint32_t i = 0; i < CONN_OUT_MAX; i++)
		if (x->outs[i].bytes != x->outs[i].inside)
			free(x->outs[i].bytes);
	free(x->stage);
	free(x->outs);
	free(x);
}
