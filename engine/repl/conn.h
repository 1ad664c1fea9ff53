/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/conn.h: one connection between two sites as a sequence of frames.
 *
 * Polled: the owner op is woken when a frame is whole, when queue space was freed and when the
 * connection broke or closed; the owner then asks.  A frame that the owner does not consume stays,
 * and nothing more is read from the socket: that is the back-pressure.
 */
#ifndef TS_REPL_CONN_H
#define TS_REPL_CONN_H

#include "engine/base/buf.h"
#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/port/env.h"
#include "engine/port/net.h"
#include "engine/store/record.h"
#include "proto/repl.h"

struct conn;

#define CONN_OUT_MAX 256u	       /* frames queued or in flight */
#define CONN_OUT_BYTES_MAX (24u << 20) /* payload of them */

enum conn_state {
	CONN_CONNECTING,
	CONN_OPEN,
	CONN_BROKEN, /* rc and text say why; requests are still in flight */
	CONN_CLOSED, /* may be freed */
};

struct conn_frame {
	struct frame_header h;
	const uint8_t *head; /* h.head_bytes; until consumed */
	struct buf *payload; /* in one buf; NULL if none.  Add a reference to keep it */
};

/* A connection to `address`.  NULL: no memory. */
struct conn *conn_connect(struct env *env, struct op *owner, const char *address);
/* Takes *net, an accepted connection. */
struct conn *conn_accepted(struct env *env, struct op *owner, struct net_conn **net);

enum conn_state conn_state(const struct conn *c);
int conn_rc(const struct conn *c);	     /* why it broke */
const char *conn_text(const struct conn *c); /* in words */

/* From now on the owner is another op, and frames must fit that kind of connection. */
void conn_set_owner(struct conn *c, struct op *owner);
void conn_set_kind(struct conn *c, enum frame_conn kind);

/* The whole frame at the front, or NULL.  Consume before asking for the next. */
struct conn_frame *conn_frame(struct conn *c);
void conn_consume(struct conn *c);

/* Is there room for `bytes` of payload more?  When not: the owner is woken once there is. */
bool conn_can_send(const struct conn *c);
/* 0, -ERR_BUSY (no room), -ERR_CLOSED, -ERR_NOMEM (a large head).  Copies head. */
MUST_CHECK int conn_send(struct conn *c, struct frame_header *h, const void *head,
			 uint32_t head_bytes);
/* The logical part of rec and its payload straight from its iov; takes an own reference. */
MUST_CHECK int conn_send_record(struct conn *c, struct frame_header *h, struct record *rec);
/* head is copied; `bytes` of b, of which an own reference is taken. */
MUST_CHECK int conn_send_payload(struct conn *c, struct frame_header *h, const void *head,
				 uint32_t head_bytes, struct buf *b, uint32_t bytes);

struct mono_ns conn_last_heard(const struct conn *c); /* any byte */
struct mono_ns conn_last_sent(const struct conn *c);
bool conn_is_deferred(const struct conn *c); /* a whole frame waits, or memory for one */
uint64_t conn_heard_frames(const struct conn *c);

/* Break it (our decision): no effect when it is broken already. */
void conn_break(struct conn *c, int rc, const char *text);
void conn_free(struct conn **c); /* CONN_CLOSED only */
/* A simulated crash: queues, requests and bufs are gone already. */
void conn_abandon(struct conn **c);

/* For the owner's lists. */
struct conn_node {
	struct list_link link;
	struct mono_ns deadline;
};
struct conn_node *conn_node(struct conn *c);
struct conn *conn_of_node(struct list_link *link);

#endif
