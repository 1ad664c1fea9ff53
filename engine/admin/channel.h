/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/channel.h: one accepted connection with an input buffer, an output and a deadline:
 * what sessions of the admin protocol (session.c) and of HTTP (web.c) share.
 *
 * The owner's step calls channel_events first and channel_wait last.
 */
#ifndef TS_ADMIN_CHANNEL_H
#define TS_ADMIN_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/op.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/port/net.h"

#define CHANNEL_WAIT_RECV 1u
#define CHANNEL_WAIT_SEND 2u
#define CHANNEL_WAIT_TIMER 4u
#define CHANNEL_WAIT_OWNER 8u /* the owner's first bit */

struct channel {
	struct op op; /* its step is the owner's */
	struct env *env;
	struct net_conn *net;
	/* read by the owner */
	bool ended;  /* nothing more comes from the client */
	bool broken; /* a receive or send failed, or memory ran out */
	bool late;   /* the deadline has passed; cleared by channel_deadline */
	/* private */
	uint8_t *in;
	size_t in_at, in_bytes, in_room, in_max; /* unread: [in_at, in_bytes) */
	uint8_t *out;
	struct net_io_req recv, send;
	struct iovec recv_iov, send_iov;
	struct timer timer;
	struct mono_ns deadline; /* 0: none */
	bool recv_busy, send_busy, timer_on, shut;
};

typedef void channel_step_fn(struct op *op);

/* Takes net; op's first step is queued. */
void channel_start(struct channel *c, struct env *env, struct net_conn *net, size_t in_max,
		   channel_step_fn *step);

void channel_events(struct channel *c);
/* Receive while there is room and watch the deadline; nothing after channel_shut. */
void channel_wait(struct channel *c);

/* What was received and not consumed; valid until the step returns. */
static inline const uint8_t *channel_data(const struct channel *c)
{
	return c->in == NULL ? NULL : c->in + c->in_at;
}
static inline size_t channel_bytes(const struct channel *c)
{
	return c->in_bytes - c->in_at;
}
void channel_consume(struct channel *c, size_t bytes);
/* Takes *data (malloc); nothing may be on its way. */
void channel_send_take(struct channel *c, uint8_t **data, size_t bytes);
static inline bool channel_sending(const struct channel *c)
{
	return c->send_busy;
}

void channel_deadline(struct channel *c, uint64_t ns); /* from now; 0: none */

/* Break it; may be called again. */
void channel_shut(struct channel *c);
bool channel_is_quiet(const struct channel *c); /* after shut: nothing is in flight */
void channel_fini(struct channel *c);		/* quiet, or never started */
void channel_abandon(struct channel *c);	/* the world is dead: frees memory only */

#endif
