/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/port/net.h: byte streams.
 *
 * Addresses are text: "unix:/path" or "tcp:HOST:PORT" ("HOST:PORT" means tcp; IPv6 in brackets).
 * A connection delivers bytes in order or breaks; after a break nothing more arrives.  Each
 * connection takes one receive and one send at a time.  TCP sockets have TCP_NODELAY.
 */
#ifndef TS_PORT_NET_H
#define TS_PORT_NET_H

#include <sys/uio.h>

#include "engine/base/attr.h"
#include "engine/base/op.h"

struct net;
struct net_conn;     /* made by accept and connect, ends with net_close */
struct net_listener; /* made by net_listen, ends with net_unlisten */

struct net_accept_req {
	struct completion done; /* rc 0: `conn` is set and given; else negative */
	struct net_conn *conn;
};

struct net_connect_req {
	struct completion done;
	struct net_conn *conn;
	char address[128]; /* set by the caller */
};

/* send: completes with 0 when all bytes were handed to the stream, or negative.
 * recv: completes with a count 1..iov bytes, 0 at end of stream, or negative. */
struct net_io_req {
	struct completion done;
	struct iovec
		*iov; /* borrowed until done; contents of the array may be changed by the port */
	uint32_t iov_count; /* 1..1024 */
	uint64_t private[16];
};

struct net_ops {
	int (*listen)(struct net *net, const char *address, struct net_listener **ret_listener);
	void (*accept)(struct net_listener *l, struct net_accept_req *req);
	void (*unlisten)(struct net_listener **l);
	void (*connect)(struct net *net, struct net_connect_req *req);
	void (*send)(struct net_conn *c, struct net_io_req *req);
	void (*recv)(struct net_conn *c, struct net_io_req *req);
	void (*shutdown)(struct net_conn *c);
	void (*close)(struct net_conn **c);
	bool (*peer_closed)(struct net_conn *c);
	void (*peer_name)(struct net_conn *c, char *text, uint32_t bytes);
};

struct net {
	const struct net_ops *ops;
};

/* Every connection and listener implementation starts with this. */
struct net_conn {
	const struct net_ops *ops;
};
struct net_listener {
	const struct net_ops *ops;
};

/* -ERR_INVALID (address), -ERR_IN_USE, -ERR_PERMISSION, -ERR_IO.  A stale unix socket is replaced. */
MUST_CHECK static inline int net_listen(struct net *n, const char *address,
					struct net_listener **ret)
{
	return n->ops->listen(n, address, ret);
}

static inline void net_accept(struct net_listener *l, struct net_accept_req *req)
{
	l->ops->accept(l, req);
}

/* Pending accept fires -ERR_CANCELED. */
static inline void net_unlisten(struct net_listener **l)
{
	if (*l != NULL)
		(*l)->ops->unlisten(l);
}

/* Connect with the port's own deadline (5 s); rc -ERR_UNREACHABLE or -ERR_TIMEOUT on failure. */
static inline void net_connect(struct net *n, struct net_connect_req *req)
{
	n->ops->connect(n, req);
}

static inline void net_send(struct net_conn *c, struct net_io_req *req)
{
	c->ops->send(c, req);
}

static inline void net_recv(struct net_conn *c, struct net_io_req *req)
{
	c->ops->recv(c, req);
}

/* Break the stream in both directions: requests in flight end soon (-ERR_CLOSED or 0). */
static inline void net_shutdown(struct net_conn *c)
{
	c->ops->shutdown(c);
}

/* Give c back.  No request may be in flight: shutdown first and wait for them. */
static inline void net_close(struct net_conn **c)
{
	if (*c != NULL)
		(*c)->ops->close(c);
}

/* True if the peer is known to have closed or broken the stream although bytes may be unread
 * (NBD stale writes: NBD protocol handling rule "check RDHUP before starting a write"). */
static inline bool net_peer_closed(struct net_conn *c)
{
	return c->ops->peer_closed(c);
}

static inline void net_peer_name(struct net_conn *c, char *text, uint32_t bytes)
{
	c->ops->peer_name(c, text, bytes);
}

#endif
