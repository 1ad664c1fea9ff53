/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_intake.c
 * Purpose.     Receive, parse many pipelined requests per receive, place payloads in aligned bufs,
 *              start pieces in the order of the stream.
 * Invariants.  I1  Requests are started in the order they came, and one is cut completely before
 *                  the next is looked at; so overlapping writes reach the volume in order.
 *              I2  At most one receive is under way; while it is, neither the stage nor the payload
 *                  area it points to is moved.
 *              I3  No change is started once the peer is known to have closed: the bytes may be an
 *                  old copy of a request that was sent again elsewhere (stale write).  Checked
 *                  before the first change of each batch.
 *              I4  The payload of a refused request is consumed, so the next header parses.
 *              I5  Without a request slot, a piece or a buf nothing is parsed and nothing received.
 * Ownership.   The stage is the connection's.  A payload is received into the piece's buf; what had
 *              already come into the stage is copied there.
 * Failure.     Bad magic, or a payload beyond the drain limit: the connection leaves.
 * Limits.      NBD_STAGE_BYTES; a WRITE holds one buf while it is received.
 */
#include "engine/nbd/nbd_intake.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/nbd/nbd_request.h"

/* While that much payload is missing, the stage is given only a few bytes: what comes after the
 * payload is mostly another payload, which is better received in place than copied. */
#define LARGE_PAYLOAD_BYTES 32768u
#define STAGE_BYTES_BEHIND_LARGE 4096u

_Static_assert(NBD_STAGE_BYTES >= NBD_OPTION_BYTES + NBD_OPTION_BYTES_MAX,
	       "an option fits the stage");

enum progress { PROGRESS, NEED_BYTES, PAUSED };

static enum progress intake_next(struct nbd_conn *c);
static enum progress intake_header(struct nbd_conn *c);
static enum progress intake_drain(struct nbd_conn *c);
static enum progress intake_read(struct nbd_conn *c, struct nbd_req *r);
static enum progress intake_write(struct nbd_conn *c, struct nbd_req *r);
static enum progress intake_plain(struct nbd_conn *c, struct nbd_req *r);
static enum progress intake_finish(struct nbd_conn *c, struct nbd_req *r);
static bool may_change(struct nbd_conn *c);
static void stream_try(struct nbd_conn *c, struct nbd_req *r);
static uint32_t stage_left(const struct nbd_conn *c);

void nbd_intake_reap(struct nbd_conn *c)
{
	uint32_t n, payload;

	if (!c->recv_busy || (c->op.waits & NBD_CONN_WAIT_RECV) != 0)
		return;
	c->recv_busy = false;
	if (c->recv.done.rc <= 0) {
		c->peer_gone = true;
		c->net_failed |= c->recv.done.rc < 0;
		return;
	}
	n = (uint32_t)c->recv.done.rc;
	payload = n < c->recv_payload_bytes ? n : c->recv_payload_bytes;
	c->fill_bytes += payload;
	c->stage_end += n - payload;
	assert(c->stage_end <= NBD_STAGE_BYTES);
	assert(payload == 0 || c->fill != NULL);
}

void nbd_intake_recv(struct nbd_conn *c)
{
	uint32_t room, count = 0;

	if (c->recv_busy || c->peer_gone)
		return; /* I2 */
	if (c->stage_at == c->stage_end) {
		c->stage_at = c->stage_end = 0;
	} else if (c->stage_at > 0 && NBD_STAGE_BYTES - c->stage_end < NBD_STAGE_BYTES / 2) {
		memmove(c->stage, c->stage + c->stage_at, stage_left(c));
		c->stage_end -= c->stage_at;
		c->stage_at = 0;
	}
	room = NBD_STAGE_BYTES - c->stage_end;
	c->recv_payload_bytes = 0;
	if (c->fill != NULL) {
		c->recv_payload_bytes = (uint32_t)c->fill->io.bytes - c->fill_bytes;
		c->recv_iov[count].iov_base = nbd_piece_data(c->fill) + c->fill_bytes;
		c->recv_iov[count++].iov_len = c->recv_payload_bytes;
		assert(c->recv_payload_bytes > 0);
		if (c->recv_payload_bytes >= LARGE_PAYLOAD_BYTES && room > STAGE_BYTES_BEHIND_LARGE)
			room = STAGE_BYTES_BEHIND_LARGE;
	}
	assert(room > 0);
	c->recv_iov[count].iov_base = c->stage + c->stage_end;
	c->recv_iov[count++].iov_len = room;
	c->recv.iov = c->recv_iov;
	c->recv.iov_count = count;
	c->recv_busy = true;
	c->recv_tick = c->world->ticks;
	completion_arm(&c->recv.done, &c->op, NBD_CONN_WAIT_RECV);
	net_recv(c->net, &c->recv);
}

void nbd_intake_run(struct nbd_conn *c)
{
	c->start_checked = false;
	while (c->state == NBD_CONN_TRANSMIT) {
		switch (intake_next(c)) {
		case PROGRESS:
			continue;
		case NEED_BYTES:
			nbd_intake_recv(c);
			return;
		case PAUSED:
			return; /* I5 */
		}
	}
}

static enum progress intake_next(struct nbd_conn *c)
{
	struct nbd_req *r = c->current;

	if (c->drain_bytes > 0)
		return intake_drain(c);
	if (r == NULL)
		return intake_header(c);
	if (r->request.type == NBD_CMD_READ)
		return intake_read(c, r);
	if (r->request.type == NBD_CMD_WRITE)
		return intake_write(c, r);
	return intake_plain(c, r);
}

static enum progress intake_header(struct nbd_conn *c)
{
	struct nbd_request q;
	struct nbd_req *r;
	uint32_t error, payload;

	if (stage_left(c) < NBD_REQUEST_BYTES)
		return NEED_BYTES;
	if (list_empty(&c->free_reqs))
		return PAUSED; /* a reply that is sent wakes us */
	if (!nbd_get_request(c->stage + c->stage_at, &q)) {
		nbd_conn_leave(c);
		return PAUSED;
	}
	c->stage_at += NBD_REQUEST_BYTES;
	c->requests++;
	counter_add(c->world->env->counters, CTR_NBD_REQUESTS, 1);
	switch (nbd_request_check(&q, c->info.bytes, c->info.read_only, &error, &payload)) {
	case NBD_LEAVE:
	case NBD_DROP:
		nbd_conn_leave(c);
		return PAUSED;
	case NBD_SERVE:
		c->current = nbd_req_take(c, &q);
		return PROGRESS;
	case NBD_EMPTY:
		return intake_finish(c, nbd_req_take(c, &q));
	case NBD_REFUSE:
		r = nbd_req_take(c, &q);
		r->error = error;
		if (payload == 0)
			return intake_finish(c, r);
		c->current = r;
		c->drain_bytes = payload; /* I4 */
		return PROGRESS;
	}
	UNREACHABLE("every verdict is handled");
}

static enum progress intake_finish(struct nbd_conn *c, struct nbd_req *r)
{
	r->parsed = true;
	c->current = NULL;
	nbd_req_settle(c, r);
	return PROGRESS;
}

static enum progress intake_drain(struct nbd_conn *c)
{
	uint32_t n = stage_left(c) < c->drain_bytes ? stage_left(c) : c->drain_bytes;

	c->stage_at += n;
	c->drain_bytes -= n;
	if (c->drain_bytes > 0)
		return NEED_BYTES;
	return intake_finish(c, c->current);
}

static enum progress intake_read(struct nbd_conn *c, struct nbd_req *r)
{
	while (r->cut_bytes < r->request.length && r->rc == 0) {
		uint64_t off = r->request.offset + r->cut_bytes;
		uint32_t bytes = nbd_piece_bytes(off, r->request.length - r->cut_bytes);
		struct nbd_piece *p = NULL;

		if (r->piece_count < NBD_READ_PIECES_MAX)
			p = nbd_piece_take(c, r, bytes, nbd_piece_buf_bytes(off, bytes));
		if (p == NULL) {
			stream_try(c, r);
			return PAUSED; /* a result, a reply that is sent, or a buf wakes us */
		}
		nbd_piece_submit(c, p);
	}
	return intake_finish(c, r);
}

/*
 * r cannot be cut completely now.  So that two such requests never wait for each other's bufs, the
 * first finished piece is sent at once: bufs then always come back.  The price: after the header
 * says success, a failure further on can only be told by closing, as the protocol demands.
 */
static void stream_try(struct nbd_conn *c, struct nbd_req *r)
{
	struct list_link *n = list_first(&r->pieces);

	if (c->stream != NULL || n == NULL || r->rc < 0)
		return;
	if (container_of(n, struct nbd_piece, link)->state == NBD_PIECE_DONE)
		c->stream = r;
}

static enum progress intake_write(struct nbd_conn *c, struct nbd_req *r)
{
	struct nbd_piece *p = c->fill;
	uint32_t left = r->request.length - r->cut_bytes;
	uint32_t n, missing;

	if (p == NULL) {
		uint64_t off = r->request.offset + r->cut_bytes;

		if (left == 0)
			return intake_finish(c, r);
		if (r->rc < 0) { /* it has failed already: I4 */
			r->cut_bytes += left;
			c->drain_bytes = left;
			return PROGRESS;
		}
		n = nbd_piece_bytes(off, left);
		p = nbd_piece_take(c, r, n, nbd_piece_buf_bytes(off, n));
		if (p == NULL)
			return PAUSED;
		c->fill = p;
		c->fill_bytes = 0;
	}
	missing = (uint32_t)p->io.bytes - c->fill_bytes;
	n = stage_left(c) < missing ? stage_left(c) : missing;
	if (n > 0) {
		assert(!c->recv_busy); /* I2 */
		memcpy(nbd_piece_data(p) + c->fill_bytes, c->stage + c->stage_at, n);
		c->stage_at += n;
		c->fill_bytes += n;
	}
	if (n < missing)
		return NEED_BYTES;
	if (!may_change(c))
		return PAUSED;
	c->fill = NULL;
	nbd_piece_submit(c, p);
	return PROGRESS;
}

/* FLUSH, TRIM, WRITE_ZEROES: one piece of any length, no buf. */
static enum progress intake_plain(struct nbd_conn *c, struct nbd_req *r)
{
	struct nbd_piece *p;

	if (r->request.type != NBD_CMD_FLUSH && !may_change(c))
		return PAUSED;
	p = nbd_piece_take(c, r, r->request.length, 0);
	if (p == NULL)
		return PAUSED;
	nbd_piece_submit(c, p);
	return intake_finish(c, r);
}

/* I3 */
static bool may_change(struct nbd_conn *c)
{
	if (!c->start_checked && net_peer_closed(c->net)) {
		nbd_conn_break(c);
		return false;
	}
	c->start_checked = true;
	return true;
}

static uint32_t stage_left(const struct nbd_conn *c)
{
	return c->stage_end - c->stage_at;
}
