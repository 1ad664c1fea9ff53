/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/channel.c
 * Purpose.     Bytes in and out of one client, and its deadline.
 * Invariants.  K1  One receive, one send and one timer are in flight at most, each with a bit.
 *              K2  in_at <= in_bytes <= in_room <= in_max: a client cannot make us hold more.
 * Ownership.   Owns the connection, both buffers and the timer until channel_fini.
 * Failure.     Sets `broken`; the owner shuts.
 */
#include "engine/admin/channel.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

#define IN_ROOM_FIRST 4096u

void channel_start(struct channel *c, struct env *env, struct net_conn *net, size_t in_max,
		   channel_step_fn *step)
{
	memset(c, 0, sizeof(*c));
	op_init(&c->op, env->ready, step);
	c->env = env;
	c->net = net;
	c->in_max = in_max;
	op_wake(&c->op);
}

static void channel_reap_recv(struct channel *c)
{
	if (!c->recv_busy || (c->op.waits & CHANNEL_WAIT_RECV) != 0)
		return;
	c->recv_busy = false;
	if (c->recv.done.rc == 0)
		c->ended = true;
	else if (c->recv.done.rc < 0)
		c->broken = true;
	else
		c->in_bytes += (size_t)c->recv.done.rc;
	assert(c->in_bytes <= c->in_room); /* K2 */
}

void channel_events(struct channel *c)
{
	channel_reap_recv(c);
	if (c->send_busy && (c->op.waits & CHANNEL_WAIT_SEND) == 0) {
		c->send_busy = false;
		free(c->out);
		c->out = NULL;
		c->broken |= c->send.done.rc < 0;
	}
	if (c->timer_on && (c->op.waits & CHANNEL_WAIT_TIMER) == 0)
		c->timer_on = false;
	if (c->deadline.v != 0 && clock_now(c->env->clock).v >= c->deadline.v)
		c->late = true;
}

/* Called while no receive is in flight, so the buffer may move. */
static bool channel_make_room(struct channel *c)
{
	size_t room = c->in_room == 0 ? IN_ROOM_FIRST : c->in_room * 2;
	uint8_t *in;

	if (c->in_at != 0) {
		memmove(c->in, c->in + c->in_at, c->in_bytes - c->in_at);
		c->in_bytes -= c->in_at;
		c->in_at = 0;
	}
	if (c->in_bytes == 0 && c->in_room > IN_ROOM_FIRST) { /* an idle client holds little */
		free(c->in);
		c->in = NULL;
		c->in_room = 0;
		room = IN_ROOM_FIRST;
	}
	if (c->in_bytes < c->in_room)
		return true;
	if (room > c->in_max)
		room = c->in_max;
	if (c->in_bytes == room)
		return false; /* full: the owner consumes first */
	in = realloc(c->in, room);
	if (in == NULL) {
		c->broken = true;
		op_wake(&c->op);
		return false;
	}
	c->in = in;
	c->in_room = room;
	return true;
}

static void channel_receive(struct channel *c)
{
	if (c->recv_busy || c->ended || c->broken || !channel_make_room(c))
		return;
	c->recv_iov.iov_base = c->in + c->in_bytes;
	c->recv_iov.iov_len = c->in_room - c->in_bytes;
	c->recv.iov = &c->recv_iov;
	c->recv.iov_count = 1;
	c->recv_busy = true;
	completion_arm(&c->recv.done, &c->op, CHANNEL_WAIT_RECV); /* K1 */
	net_recv(c->net, &c->recv);
}

void channel_wait(struct channel *c)
{
	if (c->shut)
		return;
	channel_receive(c);
	if (c->deadline.v == 0 || c->late)
		return;
	if (c->timer_on && c->timer.deadline.v > c->deadline.v) {
		clock_timer_disarm(c->env->clock,
				   &c->timer); /* the step runs again and arms it anew */
		return;
	}
	if (c->timer_on)
		return;
	c->timer_on = true;
	c->timer.deadline = c->deadline;
	completion_arm(&c->timer.done, &c->op, CHANNEL_WAIT_TIMER); /* K1 */
	clock_timer_arm(c->env->clock, &c->timer);
}

void channel_consume(struct channel *c, size_t bytes)
{
	assert(bytes <= c->in_bytes - c->in_at);
	c->in_at += bytes;
}

void channel_send_take(struct channel *c, uint8_t **data, size_t bytes)
{
	assert(!c->send_busy && c->out == NULL);
	c->out = *data;
	*data = NULL;
	c->send_iov.iov_base = c->out;
	c->send_iov.iov_len = bytes;
	c->send.iov = &c->send_iov;
	c->send.iov_count = 1;
	c->send_busy = true;
	completion_arm(&c->send.done, &c->op, CHANNEL_WAIT_SEND); /* K1 */
	net_send(c->net, &c->send);
}

void channel_deadline(struct channel *c, uint64_t ns)
{
	c->late = false;
	c->deadline.v = ns == 0 ? 0 : clock_now(c->env->clock).v + ns;
}

void channel_shut(struct channel *c)
{
	if (c->shut)
		return;
	c->shut = true;
	net_shutdown(c->net);
	if (c->timer_on && (c->op.waits & CHANNEL_WAIT_TIMER) != 0)
		clock_timer_disarm(c->env->clock, &c->timer);
}

bool channel_is_quiet(const struct channel *c)
{
	return c->shut &&
	       (c->op.waits & (CHANNEL_WAIT_RECV | CHANNEL_WAIT_SEND | CHANNEL_WAIT_TIMER)) == 0;
}

void channel_fini(struct channel *c)
{
	assert(c->net == NULL || channel_is_quiet(c));
	if (c->net != NULL)
		net_close(&c->net);
	channel_abandon(c);
}

void channel_abandon(struct channel *c)
{
	if (c->op.ready != NULL)
		op_unqueue(&c->op);
	free(c->in);
	free(c->out);
	c->in = c->out = NULL;
}
