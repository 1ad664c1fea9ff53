/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/repair.c
 * Purpose.     Ask a peer for one block that is bad here, and give peers blocks that are bad there.
 * Invariants.  Q1  A block is given only after it was read with its checksum right here, and only if
 *                  that is the checksum asked for: whoever lags or leads gives nothing.
 *              Q2  A read for a peer asks nobody: two sites with the same bad block do not ask in
 *                  circles.
 *              Q3  An answer counts for the question that is open under its number in this pair session;
 *                  a late one has no effect and touches no memory of the asker.
 * States.      asked -> told | timed out | session ended.   served: READ -> answered.
 * Ownership.   Questions are their askers' until done; what serves is part of the peer, its buf lent.
 * Limits.      REPL_REPAIRS_MAX questions each way and peer; REPL_REPAIR_NS for an answer.
 */
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/repl/peer.h"

#define BIT_READ 1u

static void serve_step(struct op *op);

/* --- asking --- */

int repl_repair_ask(struct repl *r, uint32_t site, struct repl_repair *q)
{
	struct repl_peer *p = repl_find_peer(r, site);
	struct frame_header h = {.kind = FRAME_REPAIR_ASK};
	struct frame_repair m = {
		.block = q->block, .volume = q->volume, .crc = q->crc, .snapshot = q->snapshot};
	uint8_t head[FRAME_REPAIR_BYTES];
	int rc;

	assert(completion_armed(&q->done));
	if (p == NULL || p->state != PEER_UP)
		return -ERR_CLOSED;
	if ((p->features & REPL_FEATURE_REPAIR) == 0)
		return -ERR_UNSUPPORTED;
	if (p->question_count == REPL_REPAIRS_MAX)
		return -ERR_BUSY;
	m.question = ++p->questions;
	h.session = p->session;
	h.group = q->group;
	rc = conn_send(p->conns[FRAME_CONN_BULK], &h, head, frame_repair_encode(head, &m));
	if (rc < 0)
		return rc;
	q->question = m.question;
	q->peer = p;
	q->deadline.v = clock_now(r->env->clock).v + REPL_REPAIR_NS;
	list_link_init(&q->link);
	list_push_back(&p->asked, &q->link);
	p->question_count++;
	return 0;
}

static void asked_remove(struct repl_repair *q)
{
	assert(q->peer->question_count > 0);
	list_remove(&q->link);
	q->peer->question_count--;
	q->peer = NULL;
}

void repl_repair_cancel(struct repl_repair *q)
{
	if (q->peer != NULL)
		asked_remove(q);
}

void repair_session_ended(struct repl_peer *p)
{
	struct list_link *link;

	while ((link = list_first(&p->asked)) != NULL) {
		struct repl_repair *q = container_of(link, struct repl_repair, link);

		asked_remove(q);
		completion_fire(&q->done, -ERR_CLOSED);
	}
}

void repair_tick(struct repl_peer *p, struct mono_ns now)
{
	LIST_FOR_EACH_SAFE(link, &p->asked) {
		struct repl_repair *q = container_of(link, struct repl_repair, link);

		if (now.v < q->deadline.v)
			continue;
		asked_remove(q);
		completion_fire(&q->done, -ERR_TIMEOUT);
	}
}

int repair_told(struct repl_peer *p, const struct conn_frame *f)
{
	struct repl_repair *q = NULL;
	struct frame_repaired m;

	if (frame_repaired_decode(f->head, f->h.head_bytes, f->h.payload_bytes, &m) < 0)
		return -ERR_PROTOCOL;
	LIST_FOR_EACH(link, &p->asked) {
		struct repl_repair *x = container_of(link, struct repl_repair, link);

		if (x->question == m.question)
			q = x;
	}
	if (q == NULL)
		return 0; /* Q3 */
	asked_remove(q);
	if (m.rc == 0 && crc32c(f->payload->data, BLOCK_BYTES) != q->crc &&
	    p->repl->opts.mutant != REPL_MUTANT_REPAIR_UNVERIFIED) {
		counter_add(p->env->counters, CTR_CHECKSUM_WIRE, 1);
		m.rc = -ERR_CORRUPT;
	}
	if (m.rc == 0)
		memcpy(q->data, f->payload->data, BLOCK_BYTES);
	completion_fire(&q->done, m.rc);
	return 0;
}

/* --- giving --- */

void repair_init(struct repl_peer *p)
{
	list_init(&p->asked);
	for (uint32_t i = 0; i < REPL_REPAIRS_MAX; i++) {
		p->serves[i].peer = p;
		op_init(&p->serves[i].op, p->env->ready, serve_step);
	}
}

bool repair_is_idle(const struct repl_peer *p)
{
	for (uint32_t i = 0; i < REPL_REPAIRS_MAX; i++)
		if (p->serves[i].busy)
			return false;
	return true;
}

static void serve_answer(struct repair_serve *s, int rc)
{
	struct repl_peer *p = s->peer;
	struct frame_header h = {
		.kind = FRAME_REPAIR_TOLD, .session = s->session, .group = s->group};
	struct frame_repaired m = {.question = s->question, .rc = rc};
	uint8_t head[FRAME_REPAIRED_BYTES];
	uint32_t bytes = frame_repaired_encode(head, &m);

	if (p->state != PEER_UP || p->session != s->session)
		return; /* Q3 */
	/* No room: the other side gives up waiting and asks again when it reads again. */
	if (rc == 0)
		(void)!conn_send_payload(p->conns[FRAME_CONN_BULK], &h, head, bytes, s->buf,
					 BLOCK_BYTES);
	else
		(void)!conn_send(p->conns[FRAME_CONN_BULK], &h, head, bytes);
}

int repair_asked(struct repl_peer *p, const struct conn_frame *f)
{
	struct store *store = p->repl->opts.local;
	static const struct uuid none;
	struct repair_serve *s = NULL, refused = {.peer = p, .session = p->session};
	struct replica *r;
	struct frame_repair m;

	if (store == NULL || frame_repair_decode(f->head, f->h.head_bytes, &m) < 0)
		return -ERR_PROTOCOL;
	for (uint32_t i = 0; i < REPL_REPAIRS_MAX; i++)
		if (!p->serves[i].busy)
			s = &p->serves[i];
	refused.question = m.question;
	refused.group = f->h.group;
	r = replica_find(store, &f->h.group);
	if (s == NULL || r == NULL || !uuid_equal(&m.snapshot, &none)) {
		serve_answer(&refused, s == NULL ? -ERR_BUSY : -ERR_NOT_FOUND);
		return 0;
	}
	s->buf = buf_take(p->env->bufs, BLOCK_BYTES);
	if (s->buf == NULL) {
		serve_answer(&refused, -ERR_BUSY);
		return 0;
	}
	s->busy = true;
	s->session = p->session;
	s->question = m.question;
	s->group = f->h.group;
	s->crc = m.crc;
	s->read = (struct replica_read){.volume = m.volume,
					.block = m.block,
					.count = 1,
					.data = s->buf->data,
					.crcs = &s->found,
					.no_repair = true}; /* Q2 */
	completion_arm(&s->read.done, &s->op, BIT_READ);
	replica_read(r, &s->read);
	return 0;
}

static void serve_step(struct op *op)
{
	struct repair_serve *s = container_of(op, struct repair_serve, op);
	int rc = s->read.done.rc;

	if (op->waits != 0 || !s->busy)
		return; /* wait: the block */
	if (rc == 0 && s->found != s->crc)
		rc = -ERR_NOT_FOUND; /* Q1 */
	if (s->peer->repl->opts.mutant == REPL_MUTANT_REPAIR_UNVERIFIED)
		rc = 0;
	serve_answer(s, rc);
	buf_unref(&s->buf);
	s->busy = false;
	op_wake(&s->peer->repl->op); /* it may be closing */
}
