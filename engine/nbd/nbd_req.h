/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_req.h: the requests of one connection and the pieces they are cut into, from two
 * fixed arrays that the connection owns.
 */
#ifndef TS_NBD_REQ_H
#define TS_NBD_REQ_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/op.h"
#include "engine/volume/volume.h"
#include "proto/nbd.h"

struct nbd_conn;
struct nbd_req;

#define NBD_READ_PIECES_MAX 8u /* of one READ at a time; a larger one is streamed (nbd_reply) */

enum nbd_piece_state {
	NBD_PIECE_FREE,
	NBD_PIECE_FILL,	  /* WRITE: its payload is being received */
	NBD_PIECE_FLIGHT, /* the volume has it */
	NBD_PIECE_DONE,	  /* READ: holds data to be sent */
	NBD_PIECE_SENT,	  /* READ: its data is in the current send */
};

struct nbd_piece {
	struct volume_io io;
	struct op op;	       /* waits for io.done */
	struct list_link link; /* in its request, or free */
	struct nbd_conn *conn;
	struct nbd_req *req;
	enum nbd_piece_state state;
};

enum nbd_req_state {
	NBD_REQ_FREE,
	NBD_REQ_ACTIVE, /* being parsed, or in the volume, or streamed */
	NBD_REQ_READY,	/* its reply may be sent */
	NBD_REQ_SENT,	/* its reply is in the current send */
};

struct nbd_req {
	struct list_link link; /* free, ready or sending list of the connection */
	enum nbd_req_state state;
	struct nbd_request request;
	struct list pieces; /* in order of offset */
	uint32_t piece_count;
	uint32_t in_flight; /* pieces the volume has */
	uint32_t cut_bytes; /* of request.length already made into pieces */
	int rc;		    /* first failure of a piece */
	uint32_t error;	    /* NBD error to answer */
	bool parsed;	    /* intake is done with it: no piece will be added */
	bool header_sent;   /* streamed READ: success was promised */
	uint8_t header[NBD_SIMPLE_REPLY_BYTES];
};

void nbd_req_pool_init(struct nbd_conn *c); /* all free */

struct nbd_req *nbd_req_take(struct nbd_conn *c,
			     const struct nbd_request *request); /* NULL: none */
void nbd_req_give(struct nbd_conn *c, struct nbd_req *r); /* with its pieces; none in flight */

/* A piece of r for the next `bytes` bytes, with its buf if `buf_bytes` > 0.  NULL: nothing is free
 * now; the connection is woken when that may have changed. */
struct nbd_piece *nbd_piece_take(struct nbd_conn *c, struct nbd_req *r, uint64_t bytes,
				 uint32_t buf_bytes);
void nbd_piece_give(struct nbd_conn *c, struct nbd_piece *p);
void nbd_piece_submit(struct nbd_conn *c, struct nbd_piece *p);

/* Where the payload of p starts. */
uint8_t *nbd_piece_data(const struct nbd_piece *p);

/* Make r's reply ready if nothing is outstanding for it. */
void nbd_req_settle(struct nbd_conn *c, struct nbd_req *r);

/* Teardown: give back everything; nothing is in flight, received or sent. */
void nbd_req_release_all(struct nbd_conn *c);

#endif
