/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_conn.h: one client's connection.  Its parts: nbd_intake (bytes to requests),
 * nbd_req (requests to pieces for the volume), nbd_reply (results to bytes), and here its life.
 */
#ifndef TS_NBD_CONN_H
#define TS_NBD_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/op.h"
#include "engine/nbd/nbd_handshake.h"
#include "engine/nbd/nbd_req.h"
#include "engine/port/env.h"
#include "engine/port/net.h"
#include "engine/volume/volume.h"

#define NBD_STAGE_BYTES (128u << 10) /* what is received before it is parsed */
#define NBD_OUT_BYTES 8192u	     /* answers of the handshake */
#define NBD_SEND_IOVS_MAX 128u
#define NBD_SEND_BYTES_MAX (4u << 20) /* of one send, so that its deadline is fair */

/* What the server tells its connections; read only to them. */
struct nbd_conn_world {
	const struct env *env;
	struct conductor *conductor;
	struct op *server_op;	  /* woken when a connection is GONE */
	uint64_t ticks;		  /* coarse time, counted by the server */
	uint64_t handshake_ticks; /* limits in ticks */
	uint64_t send_ticks;
	uint64_t payload_ticks;
	uint32_t requests_max; /* at a time, per connection */
	uint32_t pieces_max;
	uint64_t buf_bytes_max; /* capacity of the bufs one connection may hold */
	uint32_t buf_reserve;	/* bufs of each class left to others */
};

enum nbd_conn_state {
	NBD_CONN_HANDSHAKE,
	NBD_CONN_TRANSMIT,
	NBD_CONN_DRAIN, /* nothing is parsed any more; what is in flight is finished and answered */
	NBD_CONN_CLOSE, /* the stream is broken; waiting for what others still hold */
	NBD_CONN_GONE,	/* may be freed */
};

struct nbd_conn {
	struct op op;
	struct list_link link; /* the server's */
	const struct nbd_conn_world *world;
	struct net_conn *net;
	enum nbd_conn_state state;
	uint64_t opened_tick;
	uint64_t requests; /* decoded so far */
	bool close_asked;  /* by the server */

	/* nbd_intake */
	struct net_io_req recv;
	struct iovec recv_iov[2];
	uint32_t recv_payload_bytes; /* of recv_iov[0], when it is the payload of `fill` */
	uint64_t recv_tick;
	bool recv_busy;
	bool peer_gone;	    /* end of stream */
	bool net_failed;    /* a receive or send failed */
	bool start_checked; /* this batch may start changes (stale writes) */
	uint8_t *stage;
	uint32_t stage_at, stage_end;
	struct nbd_req *current; /* being parsed */
	struct nbd_piece *fill;	 /* WRITE: piece being received */
	uint32_t fill_bytes;	 /* received of it */
	uint32_t drain_bytes;	 /* payload to be dropped */

	/* handshake, driven by nbd_conn */
	struct nbd_handshake handshake;
	enum nbd_handshake_effect next; /* what to do when `out` is sent */
	uint32_t list_index;
	uint32_t out_bytes;
	uint8_t out[NBD_OUT_BYTES];

	/* export */
	struct volume_client client;
	struct volume_info info;
	bool attached;
	bool lost; /* a piece ended in a way that must not be answered */
	bool revoked;

	/* nbd_req */
	struct nbd_req *reqs;
	struct nbd_piece *pieces;
	struct list free_reqs, free_pieces;
	uint32_t in_flight; /* pieces the volume has */
	uint64_t buf_bytes; /* capacity of bufs held by pieces */
	struct buf_waiter buf_waiter;
	bool buf_waiting;

	/* nbd_reply */
	struct net_io_req send;
	struct iovec send_iov[NBD_SEND_IOVS_MAX];
	uint64_t send_tick;
	bool send_busy;
	struct list ready, sending;
	struct nbd_req *stream; /* READ whose data is sent while the rest is being read */
};

/* Bits of op.waits. */
#define NBD_CONN_WAIT_RECV 1u
#define NBD_CONN_WAIT_SEND 2u
#define NBD_CONN_WAIT_BUF 4u
#define NBD_CONN_WAIT_REVOKED 8u

/* Memory for a connection (kept for reuse by the server).  NULL: no memory. */
struct nbd_conn *nbd_conn_new(const struct nbd_conn_world *world);
void nbd_conn_free(struct nbd_conn **c);

/* Start serving net, which is taken.  c is new or GONE. */
void nbd_conn_start(struct nbd_conn *c, struct net_conn *net);

void nbd_conn_ask_close(struct nbd_conn *c); /* finish what is in flight, then close */

/* For the parts. */
void nbd_conn_leave(struct nbd_conn *c); /* to DRAIN */
void nbd_conn_break(struct nbd_conn *c); /* to CLOSE */

#endif
