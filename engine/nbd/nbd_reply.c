/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_reply.c
 * Purpose.     Batch the replies of one loop turn into one send: headers and data bufs in place.
 * Invariants.  P1  At most one send is under way; bufs and headers it names are not given back
 *                  before it ends.
 *              P2  A streamed READ that has sent its header is followed by nothing but its data.
 *              P3  After its header a streamed READ either sends all its data or breaks the connection.
 *              P4  Once the role is lost no error is sent, only successes.
 * Ownership.   Requests in `sending` and pieces SENT belong to the send.
 * Failure.     A failed send breaks the connection; nothing is sent again.
 * Limits.      NBD_SEND_IOVS_MAX, NBD_SEND_BYTES_MAX per send.
 */
#include "engine/nbd/nbd_reply.h"

#include "engine/base/assert.h"

struct batch {
	uint32_t iovs;
	uint64_t bytes;
};

static void batch_ready(struct nbd_conn *c, struct batch *b);
static void batch_stream(struct nbd_conn *c, struct batch *b);
static void stream_fail(struct nbd_conn *c);
static void batch_add(struct nbd_conn *c, struct batch *b, void *data, uint64_t bytes);
static bool batch_has_room(const struct batch *b, uint32_t iovs);
static void send_start(struct nbd_conn *c, uint32_t iovs);
static void stream_reap(struct nbd_conn *c);

void nbd_reply_reap(struct nbd_conn *c)
{
	if (!c->send_busy || (c->op.waits & NBD_CONN_WAIT_SEND) != 0)
		return;
	c->send_busy = false;
	c->net_failed |= c->send.done.rc < 0;
	while (!list_empty(&c->sending))
		nbd_req_give(c, container_of(list_first(&c->sending), struct nbd_req, link));
	if (c->stream != NULL)
		stream_reap(c);
}

static void stream_reap(struct nbd_conn *c)
{
	struct nbd_req *r = c->stream;

	while (!list_empty(&r->pieces)) {
		struct nbd_piece *p = container_of(list_first(&r->pieces), struct nbd_piece, link);

		if (p->state != NBD_PIECE_SENT)
			return;
		nbd_piece_give(c, p);
	}
	if (r->parsed && r->rc == 0) {
		assert(r->cut_bytes == r->request.length && r->header_sent); /* P3 */
		c->stream = NULL;
		nbd_req_give(c, r);
	}
}

void nbd_reply_run(struct nbd_conn *c)
{
	struct batch b = {0, 0};

	if (c->send_busy || c->net_failed)
		return;
	if (c->stream != NULL && c->stream->rc < 0)
		stream_fail(c);
	if (c->state == NBD_CONN_CLOSE)
		return;
	if (c->stream == NULL || !c->stream->header_sent)
		batch_ready(c, &b); /* P2 */
	if (c->stream != NULL)
		batch_stream(c, &b);
	if (b.iovs > 0)
		send_start(c, b.iovs);
}

static void batch_ready(struct nbd_conn *c, struct batch *b)
{
	while (!list_empty(&c->ready)) {
		struct nbd_req *r = container_of(list_first(&c->ready), struct nbd_req, link);

		assert(r->state == NBD_REQ_READY);
		if (r->error != 0 && c->revoked) {
			nbd_req_give(c, r); /* P4 */
			continue;
		}
		if (!batch_has_room(b, 1 + r->piece_count))
			return;
		list_remove(&r->link);
		r->state = NBD_REQ_SENT;
		list_push_back(&c->sending, &r->link);
		nbd_put_simple_reply(r->header, r->error, r->request.cookie);
		batch_add(c, b, r->header, sizeof(r->header));
		LIST_FOR_EACH(n, &r->pieces) {
			struct nbd_piece *p = container_of(n, struct nbd_piece, link);

			assert(p->state == NBD_PIECE_DONE);
			p->state = NBD_PIECE_SENT;
			batch_add(c, b, nbd_piece_data(p), p->io.bytes);
		}
	}
}

/* Not streamed after all, if nothing was promised. */
static void stream_fail(struct nbd_conn *c)
{
	struct nbd_req *r = c->stream;

	if (r->header_sent) {
		nbd_conn_break(c); /* P3 */
		return;
	}
	c->stream = NULL;
	nbd_req_settle(c, r);
}

static void batch_stream(struct nbd_conn *c, struct batch *b)
{
	struct nbd_req *r = c->stream;

	LIST_FOR_EACH(n, &r->pieces) {
		struct nbd_piece *p = container_of(n, struct nbd_piece, link);

		if (p->state != NBD_PIECE_DONE || !batch_has_room(b, 2))
			return;
		if (!r->header_sent) {
			nbd_put_simple_reply(r->header, 0, r->request.cookie);
			batch_add(c, b, r->header, sizeof(r->header));
			r->header_sent = true;
		}
		p->state = NBD_PIECE_SENT;
		batch_add(c, b, nbd_piece_data(p), p->io.bytes);
	}
}

/* The first entry always has room. */
static bool batch_has_room(const struct batch *b, uint32_t iovs)
{
	return b->iovs == 0 ||
	       (b->iovs + iovs <= NBD_SEND_IOVS_MAX && b->bytes < NBD_SEND_BYTES_MAX);
}

static void batch_add(struct nbd_conn *c, struct batch *b, void *data, uint64_t bytes)
{
	assert(b->iovs < NBD_SEND_IOVS_MAX);
	c->send_iov[b->iovs].iov_base = data;
	c->send_iov[b->iovs++].iov_len = bytes;
	b->bytes += bytes;
}

void nbd_reply_send_out(struct nbd_conn *c)
{
	assert(!c->send_busy && c->out_bytes > 0); /* P1 */
	c->send_iov[0].iov_base = c->out;
	c->send_iov[0].iov_len = c->out_bytes;
	c->out_bytes = 0;
	send_start(c, 1);
}

static void send_start(struct nbd_conn *c, uint32_t iovs)
{
	assert(!c->send_busy); /* P1 */
	c->send.iov = c->send_iov;
	c->send.iov_count = iovs;
	c->send_busy = true;
	c->send_tick = c->world->ticks;
	completion_arm(&c->send.done, &c->op, NBD_CONN_WAIT_SEND);
	net_send(c->net, &c->send);
}
