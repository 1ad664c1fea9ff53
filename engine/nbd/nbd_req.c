/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_req.c
 * Purpose.     Hold a connection's outstanding requests; turn results of the volume into replies.
 * Invariants.  Q1  A request is answered at most once: ACTIVE -> READY -> SENT -> FREE.
 *              Q2  A request becomes READY only when it is parsed and no piece is in flight.
 *              Q3  A result that nbd_error_of gives 0 for is never answered; the connection ends.
 *              Q4  buf_bytes is the sum of the capacities of the bufs of all pieces not FREE.
 * States.      Request: FREE -> ACTIVE [take] -> READY [settle] -> SENT [nbd_reply] -> FREE [give].
 *              Piece: FREE -> FILL -> FLIGHT -> DONE -> SENT -> FREE; changes skip DONE and SENT.
 * Ownership.   Arrays belong to the connection; bufs are referenced by pieces until given.
 * Failure.     An empty array or pool is back-pressure: NULL, and the socket is not read.
 * Limits.      requests_max, pieces_max, buf_bytes_max of the world.
 */
#include "engine/nbd/nbd_req.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/nbd/nbd_conn.h"
#include "engine/nbd/nbd_request.h"

#define PIECE_WAIT_IO 1u

static void piece_step(struct op *op);
static struct buf *conn_buf_take(struct nbd_conn *c, uint32_t bytes);
static void give_pieces(struct nbd_conn *c, struct nbd_req *r);

void nbd_req_pool_init(struct nbd_conn *c)
{
	list_init(&c->free_reqs);
	list_init(&c->free_pieces);
	list_init(&c->ready);
	list_init(&c->sending);
	for (uint32_t i = 0; i < c->world->requests_max; i++) {
		struct nbd_req *r = &c->reqs[i];

		memset(r, 0, sizeof(*r));
		list_init(&r->pieces);
		list_push_back(&c->free_reqs, &r->link);
	}
	for (uint32_t i = 0; i < c->world->pieces_max; i++) {
		struct nbd_piece *p = &c->pieces[i];

		memset(p, 0, sizeof(*p));
		op_init(&p->op, c->world->env->ready, piece_step);
		p->conn = c;
		list_push_back(&c->free_pieces, &p->link);
	}
	c->in_flight = 0;
	c->buf_bytes = 0;
	c->stream = NULL;
}

struct nbd_req *nbd_req_take(struct nbd_conn *c, const struct nbd_request *request)
{
	struct list_link *n = list_pop_front(&c->free_reqs);
	struct nbd_req *r;

	if (n == NULL)
		return NULL;
	r = container_of(n, struct nbd_req, link);
	assert(r->state == NBD_REQ_FREE);
	assert(list_empty(&r->pieces) && r->in_flight == 0);
	r->state = NBD_REQ_ACTIVE;
	r->request = *request;
	r->piece_count = 0;
	r->cut_bytes = 0;
	r->rc = 0;
	r->error = 0;
	r->parsed = false;
	r->header_sent = false;
	return r;
}

void nbd_req_give(struct nbd_conn *c, struct nbd_req *r)
{
	assert(r->state != NBD_REQ_FREE); /* Q1 */
	assert(r->in_flight == 0);
	give_pieces(c, r);
	if (list_linked(&r->link))
		list_remove(&r->link);
	r->state = NBD_REQ_FREE;
	/* The most recently used first: its cache lines are warm. */
	list_push_front(&c->free_reqs, &r->link);
}

static void give_pieces(struct nbd_conn *c, struct nbd_req *r)
{
	while (!list_empty(&r->pieces))
		nbd_piece_give(c, container_of(list_first(&r->pieces), struct nbd_piece, link));
}

struct nbd_piece *nbd_piece_take(struct nbd_conn *c, struct nbd_req *r, uint64_t bytes,
				 uint32_t buf_bytes)
{
	struct list_link *n = list_first(&c->free_pieces);
	struct buf *buf = NULL;
	struct nbd_piece *p;

	assert(r->state == NBD_REQ_ACTIVE && !r->parsed);
	if (n == NULL)
		return NULL; /* one of ours comes back and wakes us */
	if (buf_bytes > 0) {
		buf = conn_buf_take(c, buf_bytes);
		if (buf == NULL)
			return NULL;
		c->buf_bytes += buf->bytes; /* Q4 */
	}
	p = container_of(n, struct nbd_piece, link);
	assert(p->state == NBD_PIECE_FREE);
	list_remove(&p->link);
	p->state = NBD_PIECE_FILL;
	p->req = r;
	p->io.buf = buf;
	p->io.off = r->request.offset + r->cut_bytes;
	p->io.bytes = bytes;
	p->io.flags = 0;
	list_push_back(&r->pieces, &p->link);
	r->piece_count++;
	r->cut_bytes += (uint32_t)bytes;
	assert(r->cut_bytes <= r->request.length);
	return p;
}

static struct buf *conn_buf_take(struct nbd_conn *c, uint32_t bytes)
{
	struct buf_pool *pool = c->world->env->bufs;
	struct buf *b;

	if (c->buf_bytes > 0 && c->buf_bytes + bytes > c->world->buf_bytes_max)
		return NULL; /* one of ours comes back and wakes us */
	b = buf_take_reserve(pool, bytes, c->world->buf_reserve);
	if (b == NULL && !c->buf_waiting) {
		counter_add(c->world->env->counters, CTR_QUEUE_FULL_BUF, 1);
		completion_arm(&c->buf_waiter.done, &c->op, NBD_CONN_WAIT_BUF);
		c->buf_waiting = true;
		buf_wait(pool, &c->buf_waiter);
	}
	return b;
}

void nbd_piece_give(struct nbd_conn *c, struct nbd_piece *p)
{
	assert(p->state != NBD_PIECE_FREE && p->state != NBD_PIECE_FLIGHT);
	if (p->io.buf != NULL) {
		assert(c->buf_bytes >= p->io.buf->bytes); /* Q4 */
		c->buf_bytes -= p->io.buf->bytes;
		buf_unref(&p->io.buf);
	}
	list_remove(&p->link);
	p->req->piece_count--;
	p->req = NULL;
	p->state = NBD_PIECE_FREE;
	list_push_front(&c->free_pieces, &p->link);
}

void nbd_piece_submit(struct nbd_conn *c, struct nbd_piece *p)
{
	static const enum volume_io_kind kinds[] = {
		[NBD_CMD_READ] = VOLUME_READ,	      [NBD_CMD_WRITE] = VOLUME_WRITE,
		[NBD_CMD_FLUSH] = VOLUME_FLUSH,	      [NBD_CMD_TRIM] = VOLUME_TRIM,
		[NBD_CMD_WRITE_ZEROES] = VOLUME_ZERO,
	};
	const struct nbd_request *q = &p->req->request;

	assert(p->state == NBD_PIECE_FILL);
	assert(c->attached && !c->revoked);
	p->io.kind = kinds[q->type];
	if ((q->flags & NBD_CMD_FLAG_FUA) != 0)
		p->io.flags |= VOLUME_IO_FUA;
	if ((q->flags & NBD_CMD_FLAG_NO_HOLE) != 0)
		p->io.flags |= VOLUME_IO_NO_HOLE;
	p->state = NBD_PIECE_FLIGHT;
	p->req->in_flight++;
	c->in_flight++;
	completion_arm(&p->io.done, &p->op, PIECE_WAIT_IO);
	volume_submit(&c->client, &p->io);
}

uint8_t *nbd_piece_data(const struct nbd_piece *p)
{
	return p->io.buf->data + p->io.off % BLOCK_BYTES;
}

static void piece_step(struct op *op)
{
	struct nbd_piece *p = container_of(op, struct nbd_piece, op);
	struct nbd_conn *c = p->conn;
	struct nbd_req *r = p->req;

	if (op->waits != 0 || p->state != NBD_PIECE_FLIGHT)
		return; /* wait: the volume */
	assert(r->in_flight > 0 && c->in_flight > 0);
	r->in_flight--;
	c->in_flight--;
	p->state = NBD_PIECE_DONE;
	if (p->io.done.rc < 0 && r->rc == 0)
		r->rc = p->io.done.rc;
	if (r->request.type != NBD_CMD_READ)
		nbd_piece_give(c, p);
	nbd_req_settle(c, r);
	op_wake(&c->op);
}

void nbd_req_settle(struct nbd_conn *c, struct nbd_req *r)
{
	assert(r->state == NBD_REQ_ACTIVE);
	if (r->rc < 0 && nbd_error_of(r->rc) == 0)
		c->lost = true; /* Q3 */
	if (!r->parsed || r->in_flight > 0 || r == c->stream)
		return; /* Q2 */
	if (r->rc < 0) {
		give_pieces(c, r);
		r->error = nbd_error_of(r->rc);
		if (r->error == 0) {
			nbd_req_give(c, r);
			return;
		}
	}
	r->state = NBD_REQ_READY;
	list_push_back(&c->ready, &r->link);
}

void nbd_req_release_all(struct nbd_conn *c)
{
	assert(c->in_flight == 0 && !c->recv_busy && !c->send_busy);
	for (uint32_t i = 0; i < c->world->requests_max; i++) {
		if (c->reqs[i].state != NBD_REQ_FREE)
			nbd_req_give(c, &c->reqs[i]);
	}
	for (uint32_t i = 0; i < c->world->pieces_max; i++)
		assert(c->pieces[i].state == NBD_PIECE_FREE);
	assert(c->buf_bytes == 0); /* Q4 */
	c->current = NULL;
	c->stream = NULL;
	c->fill = NULL;
}
