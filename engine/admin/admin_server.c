/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/admin_server.c
 * Purpose.     Two doors (admin socket, HTTP), a bounded number of clients behind each.
 * Invariants.  D1  At ADMIN_SESSIONS_MAX or ADMIN_WEB_MAX no accept is started: clients wait in the
 *                  listener's backlog.
 *              D2  done fires only when no accept, retry or client is left.
 * States.      open -> stopping [admin_server_stop] -> quiet [done fired] -> closed.
 * Ownership.   Owns doors and clients; borrows everything of its options.
 * Failure.     A failed accept (too many files) is tried again after RETRY_NS.
 */
#include "engine/admin/admin_server.h"

#include <stdlib.h>
#include <string.h>

#include "engine/admin/server_state.h"
#include "engine/admin/session.h"
#include "engine/admin/web.h"
#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"

#define WAIT_RETRY (1u << DOOR_COUNT) /* below: bit i for the accept of door i */
#define RETRY_NS (200 * MS_NS)

static void server_step(struct op *op);

int admin_server_open(struct env *env, const struct admin_server_opts *opts,
		      struct admin_server **ret_server, const char **ret_which)
{
	const char *addresses[DOOR_COUNT] = {opts->admin_address, opts->metrics_address};
	struct admin_server *s = calloc(1, sizeof(*s));
	int rc;

	*ret_which = "";
	if (s == NULL)
		return -ERR_NOMEM;
	assert(opts->conductor != NULL || opts->admin_address == NULL);
	op_init(&s->op, env->ready, server_step);
	s->env = env;
	s->o = *opts;
	list_init(&s->sessions);
	list_init(&s->webs);
	for (uint32_t i = 0; i < DOOR_COUNT; i++) {
		if (addresses[i] == NULL)
			continue;
		rc = net_listen(env->net, addresses[i], &s->doors[i].listener);
		if (rc < 0) {
			*ret_which = addresses[i];
			goto err_after_listen;
		}
	}
	if (s->o.conductor != NULL)
		conductor_watch_events(s->o.conductor, &s->op);
	op_wake(&s->op);
	*ret_server = s;
	return 0;

err_after_listen:
	assert(rc < 0);
	for (uint32_t i = 0; i < DOOR_COUNT; i++)
		net_unlisten(&s->doors[i].listener);
	free(s);
	return rc;
}

static void server_reap(struct admin_server *s)
{
	for (uint32_t i = 0; i < DOOR_COUNT; i++) {
		struct admin_door *d = &s->doors[i];
		int rc;

		if (!d->accepting || (s->op.waits & 1u << i) != 0)
			continue;
		d->accepting = false;
		rc = d->req.done.rc;
		if (rc < 0) {
			d->failed = true;
			if (!s->stopping)
				log_warn(s->env->log, "admin",
					 "accepting a client failed: %s; trying again soon",
					 err_text(rc));
			continue;
		}
		if (s->stopping)
			net_close(&d->req.conn);
		else if ((i == ADMIN_DOOR ? session_new(s, d->req.conn) : web_new(s, d->req.conn)) <
			 0)
			log_warn(s->env->log, "admin",
				 "no memory for a client: its connection is closed");
	}
	if (s->retrying && (s->op.waits & WAIT_RETRY) == 0) {
		s->retrying = false;
		s->doors[ADMIN_DOOR].failed = s->doors[WEB_DOOR].failed = false;
	}
}

static void server_accept(struct admin_server *s)
{
	bool retry = false;

	for (uint32_t i = 0; i < DOOR_COUNT; i++) {
		struct admin_door *d = &s->doors[i];
		bool full = i == ADMIN_DOOR ? s->session_count >= ADMIN_SESSIONS_MAX
					    : s->web_count >= ADMIN_WEB_MAX;

		retry |= d->failed;
		if (d->listener == NULL || d->accepting || d->failed || full) /* D1 */
			continue;
		d->accepting = true;
		completion_arm(&d->req.done, &s->op, 1u << i);
		net_accept(d->listener, &d->req);
	}
	if (!retry || s->retrying)
		return;
	s->retrying = true;
	s->retry.deadline.v = clock_now(s->env->clock).v + RETRY_NS;
	completion_arm(&s->retry.done, &s->op, WAIT_RETRY);
	clock_timer_arm(s->env->clock, &s->retry);
}

/* An event, or the end: every client looks for itself. */
static void server_wake_clients(struct admin_server *s)
{
	LIST_FOR_EACH(n, &s->sessions)
		op_wake(&container_of(n, struct session, link)->channel.op);
	if (!s->stopping)
		return;
	LIST_FOR_EACH(w, &s->webs)
		op_wake(&container_of(w, struct web, link)->channel.op);
}

static void server_step(struct op *op)
{
	struct admin_server *s = container_of(op, struct admin_server, op);
	struct completion *done = s->done;

	server_reap(s);
	server_wake_clients(s);
	if (!s->stopping) {
		server_accept(s);
		return; /* wait: clients, events, stop */
	}
	if (op->waits != 0 || s->session_count != 0 || s->web_count != 0)
		return; /* wait: canceled accepts, ends of connections */
	s->done = NULL;
	if (done != NULL)
		completion_fire(done, 0); /* D2; s may be closed from now on */
}

void admin_server_stop(struct admin_server *s, struct completion *done)
{
	assert(!s->stopping);
	s->stopping = true;
	s->done = done;
	if (s->o.conductor != NULL)
		conductor_watch_events(s->o.conductor, NULL);
	if (s->retrying && (s->op.waits & WAIT_RETRY) != 0)
		clock_timer_disarm(s->env->clock, &s->retry);
	for (uint32_t i = 0; i < DOOR_COUNT; i++)
		net_unlisten(&s->doors[i].listener);
	op_wake(&s->op);
}

void admin_server_close(struct admin_server **sp)
{
	struct admin_server *s = *sp;

	*sp = NULL;
	assert(s->stopping && s->done == NULL);
	assert(s->op.waits == 0 && s->session_count == 0 && s->web_count == 0); /* D2 */
	op_unqueue(&s->op);
	free(s);
}

void admin_server_abandon(struct admin_server **sp)
{
	struct admin_server *s = *sp;

	*sp = NULL;
	LIST_FOR_EACH_SAFE(n, &s->sessions)
		session_abandon(container_of(n, struct session, link));
	LIST_FOR_EACH_SAFE(w, &s->webs)
		web_abandon(container_of(w, struct web, link));
	op_unqueue(&s->op);
	free(s);
}
