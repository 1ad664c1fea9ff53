/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/connect.c
 * Purpose.     Connect to an address within CONNECT_NS, trying each address that its name has.
 * Invariants.  K1  The user's request fires once, at the latest CONNECT_NS after it was submitted.
 *              K2  A connect_op is given back only when the ring, the timer and the resolver's
 *                  thread are done with it.
 * States.      RESOLVE -> TRY -> END.  RESOLVE only for names: getaddrinfo blocks, so a short-lived
 *              thread calls it and mails the answer.  TRY again for each address.
 * Ownership.   connect_ops are ours; the user's request is borrowed until it fires.
 * Failure.     Refused, no route, no such name: -ERR_UNREACHABLE; too late: -ERR_TIMEOUT.
 * Limits.      RESOLVERS_MAX look-ups at a time, more are -ERR_BUSY.
 */
#include "engine/uring/connect.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/types.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/port/mailbox.h"
#include "engine/port/net.h"
#include "engine/uring/address.h"
#include "engine/uring/loop.h"
#include "engine/uring/mailbox.h"
#include "engine/uring/req.h"
#include "engine/uring/socket.h"

#define CONNECT_NS (5 * SEC_NS)
#define RESOLVERS_MAX 16u

enum connect_phase { CONNECT_RESOLVE, CONNECT_TRY, CONNECT_END };
enum connect_wait { WAIT_TIMER = 1 };

struct connector {
	struct uring_loop *loop;
	struct env *env;
	struct op mail_op;	 /* takes the resolvers' mail */
	struct mailbox *mailbox; /* opened with the first name */
	struct list connects;
	uint32_t resolver_count;
};

struct connect_op {
	struct op op;
	struct list_link link; /* connector->connects */
	struct connector *connector;
	enum connect_phase phase;
	struct net_connect_req *user; /* NULL: it was told */
	struct timer timer;
	struct uring_req req;
	struct uring_cancel cancel;
	bool in_ring, canceling, late;
	int fd; /* being connected, or -1 */
	int rc; /* the last reason */
	/* the resolver's */
	struct mail mail;
	pthread_t thread;
	struct mailbox *home;
	bool resolving;
	struct address address;
	struct address_socket sockets[ADDRESS_RESOLVED_MAX];
	int socket_count; /* or what address_resolve said */
	int socket_next;
};

static void mail_op_step(struct op *op);
static void connect_op_step(struct op *op);
static void connect_start(struct connect_op *c);
static int resolver_start(struct connect_op *c);
static void *resolver_main(void *arg);
static void try_next(struct connect_op *c);
static void try_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void try_done(struct uring_req *r, int res);
static void try_cancel(struct connect_op *c);
static void cancel_done(struct uring_req *r, int res);
static void connect_tell(struct connect_op *c, int rc);
static void connect_give(struct connect_op *c);

int connector_open(struct uring_loop *loop, struct connector **ret_connector)
{
	struct connector *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return -ERR_NOMEM;
	k->loop = loop;
	k->env = uring_loop_env(loop);
	list_init(&k->connects);
	*ret_connector = k;
	return 0;
}

void connector_stop(struct connector *connector)
{
	LIST_FOR_EACH(n, &connector->connects) {
		struct connect_op *c = container_of(n, struct connect_op, link);

		c->user = NULL;
		if (c->resolving) {
			pthread_join(c->thread, NULL);
			c->resolving = false;
		}
		if (c->in_ring && !c->canceling)
			try_cancel(c);
	}
	if (connector->mailbox != NULL) {
		while (connector->mailbox->take(connector->mailbox) != NULL)
			;
		uring_mailbox_close(&connector->mailbox);
	}
}

void connector_close(struct connector **connector)
{
	struct connector *k = *connector;

	if (k == NULL)
		return;
	LIST_FOR_EACH_SAFE(n, &k->connects)
		connect_give(container_of(n, struct connect_op, link));
	free(k);
	*connector = NULL;
}

void connector_connect(struct connector *connector, struct net_connect_req *req)
{
	struct connect_op *c;
	int rc;

	assert(completion_armed(&req->done));
	req->conn = NULL;
	req->address[sizeof(req->address) - 1] = '\0';
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		completion_fire(&req->done, -ERR_NOMEM);
		return;
	}
	c->connector = connector;
	c->user = req;
	c->fd = -1;
	c->rc = -ERR_UNREACHABLE;
	rc = address_parse(req->address, &c->address);
	if (rc < 0) {
		free(c);
		completion_fire(&req->done, rc);
		return;
	}
	connect_start(c);
}

static void connect_start(struct connect_op *c)
{
	struct connector *k = c->connector;

	op_init(&c->op, k->env->ready, connect_op_step);
	list_link_init(&c->link);
	list_push_back(&k->connects, &c->link);
	c->timer.deadline.v = clock_now(k->env->clock).v + CONNECT_NS;
	completion_arm(&c->timer.done, &c->op, WAIT_TIMER);
	clock_timer_arm(k->env->clock, &c->timer);
	c->phase = CONNECT_TRY;
	if (c->address.numeric) {
		c->socket_count = address_resolve(&c->address, false, c->sockets);
		try_next(c);
		return;
	}
	c->phase = CONNECT_RESOLVE;
	c->rc = resolver_start(c);
	if (c->rc < 0) {
		connect_tell(c, c->rc);
		op_wake(&c->op);
	}
}

static void connect_op_step(struct op *op)
{
	struct connect_op *c = container_of(op, struct connect_op, op);

	if ((op->waits & WAIT_TIMER) == 0 && c->user != NULL) {
		c->late = true;
		connect_tell(c, -ERR_TIMEOUT); /* K1 */
	}
	for (;;) {
		switch (c->phase) {
		case CONNECT_RESOLVE:
			if (c->resolving)
				return; /* wait: the resolver's mail */
			c->phase = c->user == NULL ? CONNECT_END : CONNECT_TRY;
			if (c->phase == CONNECT_TRY)
				try_next(c);
			continue;
		case CONNECT_TRY:
			if (c->late && c->in_ring && !c->canceling)
				try_cancel(c);
			if (c->in_ring)
				return; /* wait: the connect, or its cancellation */
			c->phase = CONNECT_END;
			continue;
		case CONNECT_END:
			if (c->canceling)
				return; /* wait: the cancellation's own answer */
			connect_give(c);
			return;
		}
	}
}

/* --- names --- */

static int resolver_start(struct connect_op *c)
{
	struct connector *k = c->connector;
	sigset_t all, before;
	int rc;

	if (k->resolver_count >= RESOLVERS_MAX)
		return -ERR_BUSY;
	if (k->mailbox == NULL) {
		rc = uring_mailbox_open(k->loop, &k->mailbox);
		if (rc < 0)
			return rc;
		op_init(&k->mail_op, k->env->ready, mail_op_step);
		k->mailbox->receiver = &k->mail_op;
	}
	c->home = k->mailbox;
	list_link_init(&c->mail.link);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&c->thread, NULL, resolver_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return -ERR_NOMEM;
	c->resolving = true;
	k->resolver_count++;
	return 0;
}

/* In its own thread: touches the resolver's fields only, and nothing after the post. */
static void *resolver_main(void *arg)
{
	struct connect_op *c = arg;

	c->socket_count = address_resolve(&c->address, false, c->sockets);
	c->home->post(c->home, &c->mail);
	return NULL;
}

static void mail_op_step(struct op *op)
{
	struct connector *k = container_of(op, struct connector, mail_op);
	struct mail *mail;

	if (k->mailbox == NULL)
		return;
	while ((mail = k->mailbox->take(k->mailbox)) != NULL) {
		struct connect_op *c = container_of(mail, struct connect_op, mail);

		assert(c->resolving);
		pthread_join(c->thread, NULL);
		c->resolving = false;
		k->resolver_count--;
		op_wake(&c->op);
	}
	/* wait: mail */
}

/* --- one address after the other --- */

static void try_next(struct connect_op *c)
{
	assert(!c->in_ring);
	if (c->socket_count < 0)
		c->rc = c->socket_count;
	while (c->socket_next < c->socket_count && !c->late) {
		const struct address_socket *s = &c->sockets[c->socket_next];
		const struct sockaddr *sa = (const struct sockaddr *)(const void *)s->storage;

		c->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd >= 0) {
			c->in_ring = true;
			c->req.prep = try_prep;
			c->req.done = try_done;
			uring_submit(c->connector->loop, &c->req);
			return;
		}
		c->rc = err_from_errno(errno);
		c->socket_next++;
	}
	connect_tell(c, c->rc);
	op_wake(&c->op);
}

static void try_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct connect_op *c = container_of(r, struct connect_op, req);
	const struct address_socket *s = &c->sockets[c->socket_next];

	io_uring_prep_connect(sqe, c->fd, (const struct sockaddr *)(const void *)s->storage,
			      (socklen_t)s->bytes);
}

static int connect_error(int res)
{
	if (res == -EACCES || res == -EPERM)
		return -ERR_PERMISSION;
	if (res == -ETIMEDOUT)
		return -ERR_TIMEOUT;
	if (res == -EMFILE || res == -ENFILE || res == -ENOMEM || res == -ENOBUFS)
		return err_from_errno(-res);
	return -ERR_UNREACHABLE;
}

static void try_done(struct uring_req *r, int res)
{
	struct connect_op *c = container_of(r, struct connect_op, req);

	c->in_ring = false;
	op_wake(&c->op);
	if (res == 0 && c->user != NULL) {
		int rc = socket_open(c->connector->loop, c->fd, &c->user->conn);

		if (rc == 0)
			c->fd = -1;
		connect_tell(c, rc);
		return;
	}
	close(c->fd);
	c->fd = -1;
	if (c->user == NULL)
		return;
	c->rc = connect_error(res);
	c->socket_next++;
	try_next(c);
}

static void try_cancel(struct connect_op *c)
{
	c->canceling = true;
	c->cancel.target = &c->req;
	c->cancel.req.done = cancel_done;
	uring_submit_cancel(c->connector->loop, &c->cancel);
}

static void cancel_done(struct uring_req *r, int res)
{
	struct uring_cancel *cancel = container_of(r, struct uring_cancel, req);
	struct connect_op *c = container_of(cancel, struct connect_op, cancel);

	c->canceling = false;
	op_wake(&c->op);
}

/* --- endings --- */

static void connect_tell(struct connect_op *c, int rc)
{
	struct net_connect_req *user = c->user;

	if (user == NULL)
		return;
	c->user = NULL;
	completion_fire(&user->done, rc);
}

static void connect_give(struct connect_op *c)
{
	assert(!c->resolving); /* K2 */
	if (timer_armed(&c->timer))
		clock_timer_disarm(c->connector->env->clock, &c->timer);
	if (c->fd >= 0)
		close(c->fd);
	op_unqueue(&c->op);
	list_remove(&c->link);
	free(c);
}
