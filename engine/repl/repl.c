/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/repl.c
 * Purpose.     This site's replication as one object: the listener, connections that have not said
 *              yet who they are, connections that are being closed, and the calls of repl.h that
 *              are about peers.
 * Invariants.  L1  A connection is in exactly one place: pending, dying, or its peer's three.
 *              L2  Nothing of repl is freed while a request, a source or a follower lives.
 * States.      open -> closing [repl_close] -> freed [repl_check_closed]
 * Failure.     An accept that fails is tried again at the next tick.
 * Limits.      REPL_CONNS_PENDING_MAX pending connections; more stay in the backlog.
 */
#include "engine/repl/repl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/repl/link.h"
#include "engine/repl/peer.h"

enum { BIT_ACCEPT = 1, BIT_TIMER = 2 };

#define TICK_NS (50 * MS_NS)
#define HELLO_NS (5 * SEC_NS)
#define LINGER_MS 1000u

static void repl_step(struct op *op);
static void repl_accepted(struct repl *r);
static void repl_pending(struct repl *r);
static void repl_reap(struct repl *r);
static bool repl_first_frame(struct repl *r, struct conn *c);
static bool opts_valid(const struct repl_opts *o);

int repl_open(struct env *env, const struct repl_opts *opts, struct repl **ret_repl)
{
	struct repl *r;
	int rc;

	if (!opts_valid(opts))
		return -ERR_INVALID;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ERR_NOMEM;
	r->env = env;
	r->opts = *opts;
	r->peer_count = opts->peer_count;
	for (uint32_t i = 0; i < opts->peer_count; i++)
		r->peer_opts[i] = opts->peers[i];
	r->opts.peers = r->peer_opts;
	list_init(&r->pending);
	list_init(&r->dying);
	list_init(&r->all_sources);
	list_init(&r->all_followers);
	op_init(&r->op, env->ready, repl_step);
	if (opts->listen[0] != '\0') {
		rc = net_listen(env->net, opts->listen, &r->listener);
		if (rc < 0)
			goto err_after_alloc;
	}
	for (uint32_t i = 0; i < r->peer_count; i++) {
		peer_init(&r->peers[i], r, &r->peer_opts[i]);
		peer_start(&r->peers[i]);
	}
	op_wake(&r->op);
	*ret_repl = r;
	return 0;

err_after_alloc:
	free(r);
	assert(rc < 0);
	return rc;
}

static bool opts_valid(const struct repl_opts *o)
{
	if (o->peer_count > REPL_PEERS_MAX || o->drop_ms == 0 || o->wake == NULL || o->site == 0)
		return false;
	for (uint32_t i = 0; i < o->peer_count; i++) {
		if (o->peers[i].site == o->site || o->peers[i].site == 0)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (o->peers[j].site == o->peers[i].site)
				return false;
	}
	return true;
}

void repl_close(struct repl **repl, struct completion *done)
{
	struct repl *r = *repl;

	*repl = NULL;
	assert(done->op != NULL);
	r->closing = true;
	r->close_done = done;
	net_unlisten(&r->listener);
	for (uint32_t i = 0; i < r->peer_count; i++) {
		peer_down(&r->peers[i], "this site is closing");
		if (timer_armed(&r->peers[i].timer))
			clock_timer_disarm(r->env->clock, &r->peers[i].timer);
	}
	LIST_FOR_EACH_SAFE(link, &r->pending) {
		struct conn *c = conn_of_node(link);

		list_remove(link);
		r->pending_count--;
		repl_bury(r, &c, 0);
	}
	op_wake(&r->op);
}

void repl_check_closed(struct repl *r)
{
	struct completion *done = r->close_done;

	if (!r->closing || r->op.waits != 0 || !list_empty(&r->dying) ||
	    !list_empty(&r->all_sources) || !list_empty(&r->all_followers))
		return;
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].op.waits != 0 || !repair_is_idle(&r->peers[i]))
			return;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		op_unqueue(&r->peers[i].op);
		for (uint32_t k = 0; k < REPL_REPAIRS_MAX; k++)
			op_unqueue(&r->peers[i].serves[k].op);
	}
	op_unqueue(&r->op);
	free(r); /* L2 */
	completion_fire(done, 0);
}

void repl_abandon(struct repl **repl)
{
	struct repl *r = *repl;

	*repl = NULL;
	if (r == NULL)
		return;
	source_abandon_all(r);
	follower_abandon_all(r);
	LIST_FOR_EACH_SAFE(link, &r->pending) {
		struct conn *c = conn_of_node(link);

		conn_abandon(&c);
	}
	LIST_FOR_EACH_SAFE(link, &r->dying) {
		struct conn *c = conn_of_node(link);

		conn_abandon(&c);
	}
	for (uint32_t i = 0; i < r->peer_count; i++) {
		for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++)
			conn_abandon(&r->peers[i].conns[k]);
		LIST_FOR_EACH_SAFE(link, &r->peers[i].attaches)
			free(container_of(link, struct attach_pending, link));
	}
	free(r);
}

/* --- peers and link messages --- */

struct repl_peer *repl_find_peer(const struct repl *r, uint32_t site)
{
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].opts.site == site)
			return (struct repl_peer *)(uintptr_t)&r->peers[i];
	return NULL;
}

int repl_peer_status(const struct repl *r, uint32_t site, struct repl_peer_status *ret)
{
	const struct repl_peer *p = repl_find_peer(r, site);

	if (p == NULL)
		return -ERR_NOT_FOUND;
	*ret = (struct repl_peer_status){
		.up = p->state == PEER_UP,
		.session = p->session,
		.last_heard = p->last_heard,
		.store = p->store,
		.incarnation = p->incarnation,
	};
	if (!ret->up)
		snprintf(ret->error, sizeof(ret->error), "%s", p->error);
	return 0;
}

int repl_link_send(struct repl *r, uint32_t site, const struct link_msg *msg)
{
	struct repl_peer *p = repl_find_peer(r, site);
	struct frame_header h = {.kind = FRAME_LINK};
	uint8_t head[LINK_BYTES_MAX];

	if (p == NULL || p->state != PEER_UP)
		return -ERR_CLOSED;
	if (msg->kind >= LINK_VIEW && (p->features & REPL_FEATURE_VIEWS) == 0)
		return -ERR_UNSUPPORTED;
	h.session = p->session;
	return conn_send(p->conns[FRAME_CONN_LINK], &h, head, link_encode(head, msg));
}

/* Link messages are not queued here: they stay in the connection until they are taken. */
bool repl_link_take(struct repl *r, struct link_msg *ret_msg)
{
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct repl_peer *p = &r->peers[(r->link_next + i) % r->peer_count];
		struct conn_frame *f;
		int rc;

		if (p->state != PEER_UP)
			continue;
		f = conn_frame(p->conns[FRAME_CONN_LINK]);
		if (f == NULL || f->h.kind != FRAME_LINK)
			continue;
		op_wake(&p->op);
		rc = link_decode(f->head, f->h.head_bytes, ret_msg, &r->link_tail);
		conn_consume(p->conns[FRAME_CONN_LINK]);
		if (rc < 0) {
			peer_down(p, "a link message that cannot be decoded came");
			continue;
		}
		ret_msg->site = p->opts.site;
		ret_msg->session = p->session;
		r->link_next = (r->link_next + i + 1) % r->peer_count;
		return true;
	}
	return false;
}

void repl_wake(struct repl *r)
{
	if (!r->closing)
		op_wake(r->opts.wake);
}

void repl_hello(const struct repl *r, enum frame_conn conn, uint64_t session,
		struct frame_hello *ret)
{
	*ret = (struct frame_hello){
		.version_min = REPL_VERSION_MIN,
		.version_max = REPL_VERSION_MAX,
		.site = r->opts.site,
		.conn = conn,
		.store = r->opts.store,
		.incarnation = r->opts.incarnation,
		.session = session,
		.features = REPL_FEATURE_VIEWS | REPL_FEATURE_COMPARE |
			    (r->opts.local != NULL ? REPL_FEATURE_REPAIR : 0),
	};
	ret->features &= ~r->opts.features_off;
	memcpy(ret->name, r->opts.name, sizeof(ret->name));
}

/* --- the step: accepting, first frames, closing --- */

static void repl_step(struct op *op)
{
	struct repl *r = container_of(op, struct repl, op);

	if (r->accepting && (op->waits & BIT_ACCEPT) == 0)
		repl_accepted(r);
	repl_pending(r);
	repl_reap(r);
	if ((op->waits & BIT_TIMER) == 0)
		r->timer_running = false; /* it runs this step for the deadlines above */
	if (r->closing && list_empty(&r->dying)) {
		if (timer_armed(&r->timer))
			clock_timer_disarm(r->env->clock, &r->timer);
		repl_check_closed(r); /* r may be gone */
		return;
	}
	if (!r->accepting && !r->closing && r->listener != NULL &&
	    r->pending_count < REPL_CONNS_PENDING_MAX) {
		r->accepting = true;
		completion_arm(&r->accept.done, &r->op, BIT_ACCEPT);
		net_accept(r->listener, &r->accept);
	}
	if (!r->timer_running && (!list_empty(&r->pending) || !list_empty(&r->dying))) {
		r->timer_running = true;
		r->timer.deadline.v = clock_now(r->env->clock).v + TICK_NS;
		completion_arm(&r->timer.done, &r->op, BIT_TIMER);
		clock_timer_arm(r->env->clock, &r->timer);
	}
	/* wait: a connection, a first frame, the tick */
}

static void repl_accepted(struct repl *r)
{
	struct conn *c;

	r->accepting = false;
	if (r->accept.done.rc < 0)
		return; /* tried again in this step, or canceled */
	c = conn_accepted(r->env, &r->op, &r->accept.conn);
	if (c == NULL || r->closing) {
		if (c != NULL)
			repl_bury(r, &c, 0);
		else
			net_close(&r->accept.conn);
		return;
	}
	conn_node(c)->deadline.v = clock_now(r->env->clock).v + HELLO_NS;
	list_push_back(&r->pending, &conn_node(c)->link); /* L1 */
	r->pending_count++;
}

static void repl_pending(struct repl *r)
{
	struct mono_ns now = clock_now(r->env->clock);

	LIST_FOR_EACH_SAFE(link, &r->pending) {
		struct conn *c = conn_of_node(link);

		if (repl_first_frame(r, c))
			continue; /* it went to its peer, or was refused */
		if (conn_state(c) == CONN_OPEN && now.v < conn_node(c)->deadline.v)
			continue; /* wait: its HELLO */
		list_remove(link);
		r->pending_count--;
		repl_bury(r, &c, 0);
	}
}

static bool repl_first_frame(struct repl *r, struct conn *c)
{
	struct conn_frame *f = conn_frame(c);
	struct frame_hello hello;
	struct repl_peer *p;
	char text[FRAME_TEXT_BYTES_MAX + 1];
	int rc;

	if (f == NULL)
		return false;
	list_remove(&conn_node(c)->link);
	r->pending_count--;
	rc = f->h.kind == FRAME_HELLO ? frame_hello_decode(f->head, f->h.head_bytes, &hello)
				      : -ERR_PROTOCOL;
	conn_consume(c);
	if (rc < 0) {
		repl_refuse(r, &c, 0, rc, "a connection must begin with a HELLO");
		return true;
	}
	if (hello.version_max < REPL_VERSION_MIN || hello.version_min > REPL_VERSION_MAX) {
		snprintf(text, sizeof(text),
			 "no common version: site %s speaks %u to %u, site %s speaks %u to %u",
			 r->opts.name, REPL_VERSION_MIN, REPL_VERSION_MAX, hello.name,
			 hello.version_min, hello.version_max);
		log_warn(r->env->log, "repl", "site %s is refused: %s", hello.name, text);
		repl_refuse(r, &c, 0, -ERR_VERSION, text);
		return true;
	}
	p = repl_find_peer(r, hello.site);
	if (p == NULL || p->connector) {
		snprintf(text, sizeof(text),
			 "site %u (%s) is not a peer that connects to site %u (%s)", hello.site,
			 hello.name, r->opts.site, r->opts.name);
		log_warn(r->env->log, "repl", "connection refused: %s", text);
		repl_refuse(r, &c, 0, -ERR_PERMISSION, text);
		return true;
	}
	if (strcmp(hello.name, p->opts.name) != 0) {
		repl_misnamed(text, sizeof(text), r, p, hello.name);
		log_warn(r->env->log, "repl", "connection refused: %s", text);
		repl_refuse(r, &c, 0, -ERR_PERMISSION, text);
		return true;
	}
	peer_take_hello(p, &c, &hello);
	return true;
}

/* Numbers of sites come from the order in which the configurations list them. */
void repl_misnamed(char *text, size_t bytes, const struct repl *r, const struct repl_peer *p,
		   const char *name)
{
	snprintf(
		text, bytes,
		"site %u is %.32s at %.32s and calls itself %.32s: list sites and members in one order",
		p->opts.site, p->opts.name, r->opts.name, name);
}

void repl_refuse(struct repl *r, struct conn **c, uint64_t session_seen, int rc, const char *text)
{
	struct frame_refuse m = {
		.version_min = REPL_VERSION_MIN,
		.version_max = REPL_VERSION_MAX,
		.session_seen = session_seen,
		.rc = rc,
	};
	struct frame_header h = {.kind = FRAME_REFUSE};
	uint8_t head[FRAME_REFUSE_BYTES_MAX];

	snprintf(m.text, sizeof(m.text), "%s", text);
	if (conn_send(*c, &h, head, frame_refuse_encode(head, &m)) < 0)
		conn_break(*c, rc, text);
	repl_bury(r, c, LINGER_MS);
}

/* linger_ms: the other side shall read what was queued and close first; 0: break it now. */
void repl_bury(struct repl *r, struct conn **c, uint64_t linger_ms)
{
	struct conn *x = *c;

	*c = NULL;
	conn_set_owner(x, &r->op);
	conn_node(x)->deadline.v = clock_now(r->env->clock).v + linger_ms * MS_NS;
	if (linger_ms == 0)
		conn_break(x, -ERR_CLOSED, "closed");
	list_push_back(&r->dying, &conn_node(x)->link); /* L1 */
}

static void repl_reap(struct repl *r)
{
	struct mono_ns now = clock_now(r->env->clock);

	LIST_FOR_EACH_SAFE(link, &r->dying) {
		struct conn *c = conn_of_node(link);

		while (conn_frame(c) != NULL)
			conn_consume(c);
		if (conn_state(c) == CONN_OPEN && now.v >= conn_node(c)->deadline.v)
			conn_break(c, -ERR_CLOSED, "closed");
		if (conn_state(c) != CONN_CLOSED)
			continue;
		list_remove(link);
		conn_free(&c);
	}
}

/* --- attaches --- */

bool repl_attach_take(struct repl *r, struct repl_attach *ret)
{
	struct attach_pending *best = NULL;

	for (uint32_t i = 0; i < r->peer_count; i++)
		LIST_FOR_EACH(link, &r->peers[i].attaches) {
			struct attach_pending *a = container_of(link, struct attach_pending, link);

			if (!a->taken && (best == NULL || a->attach.ticket < best->attach.ticket))
				best = a;
		}
	if (best == NULL)
		return false;
	best->taken = true;
	*ret = best->attach;
	return true;
}

void repl_attach_refuse(struct repl *r, const struct repl_attach *a, const char *why)
{
	struct repl_peer *p = repl_find_peer(r, a->site);
	struct attach_pending *found = NULL;
	struct frame_refuse m = {.rc = -ERR_REFUSED};
	struct repl_member tmp = {.peer = p, .group = a->group};
	struct frame_header h;
	uint8_t head[FRAME_REFUSE_BYTES_MAX];

	if (p == NULL || p->state != PEER_UP || p->session != a->session)
		return;
	LIST_FOR_EACH(link, &p->attaches) {
		struct attach_pending *x = container_of(link, struct attach_pending, link);

		if (x->attach.ticket == a->ticket)
			found = x;
	}
	if (found == NULL)
		return;
	tmp.group_session = found->group_session;
	list_remove(&found->link);
	p->attach_count--;
	free(found);
	snprintf(m.text, sizeof(m.text), "%s", why);
	member_header(&tmp, FRAME_ATTACH_REFUSE, a->epoch_number, (struct lsn){0}, &h);
	if (member_send(&tmp, FRAME_CONN_DATA, &h, head, frame_refuse_encode(head, &m)) ==
	    -ERR_BUSY)
		peer_down(p, "the queue is full of refusals");
}
