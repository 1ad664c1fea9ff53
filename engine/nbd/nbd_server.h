/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_server.h: listens for NBD clients and serves the volumes of one conductor.
 */
#ifndef TS_NBD_SERVER_H
#define TS_NBD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/op.h"
#include "engine/port/env.h"

#define NBD_ADDRESSES_MAX 8u
#define NBD_CONNECTIONS_MAX 4096u
#define NBD_REQUESTS_MAX 1024u

struct conductor;
struct nbd_server;

struct nbd_server_opts {
	const char
		*addresses[NBD_ADDRESSES_MAX]; /* as of port/net.h; borrowed until open returns */
	uint32_t address_count;		       /* 1.. */
	uint32_t connections_max; /* at a time; more are left waiting in the listener */
	uint32_t requests_max;	  /* outstanding, per connection */
	uint64_t buf_bytes_max;	  /* capacity of bufs one connection may hold;
						   * never more than a quarter of the pool */
	uint32_t buf_reserve;	  /* bufs of each class left to the rest of the engine */
	uint64_t handshake_ns;	  /* a client must be in transmission by then */
	uint64_t send_ns;	  /* a reply must be taken by the client by then */
	uint64_t payload_ns;	  /* a started WRITE must go on by then */
};

/* Defaults for everything but the addresses: 64 connections, 128 requests, 32 MiB, reserve 4,
 * 10 s, 60 s, 60 s. */
void nbd_server_opts_init(struct nbd_server_opts *opts);

/* -ERR_INVALID (options or an address), -ERR_IN_USE, -ERR_PERMISSION, -ERR_IO, -ERR_NOMEM.
 * env, which must have bufs, and conductor are borrowed until closed. */
MUST_CHECK int nbd_server_open(const struct env *env, struct conductor *conductor,
			       const struct nbd_server_opts *opts, struct nbd_server **ret_server);

/*
 * Accept nothing more, finish and answer what is in flight, close every connection, free the
 * server; then fire done (rc 0), which the caller has armed.  Nulls the caller's pointer.
 * Requests that the volume holds back are waited for: revoke the clients (close or demote the
 * groups) if that may be the case.
 */
void nbd_server_close(struct nbd_server **server, struct completion *done);

/* Forget everything at once (a simulated crash): frees memory, touches no port, fires nothing. */
void nbd_server_abandon(struct nbd_server **server);

struct nbd_server_status {
	uint32_t connections; /* now */
	uint32_t connections_max;
	uint64_t accepted; /* since open */
};

struct nbd_client_status {
	char peer[128];
	char volume[192];  /* GROUP/VOLUME[@SNAPSHOT], or "" during the handshake */
	uint64_t requests; /* decoded since it connected */
	uint32_t in_flight;
	bool closing;
};

void nbd_server_status(const struct nbd_server *server, struct nbd_server_status *ret);
/* index 0.. in order of arrival; false at the end. */
bool nbd_server_client(const struct nbd_server *server, uint32_t index,
		       struct nbd_client_status *ret);

#endif
