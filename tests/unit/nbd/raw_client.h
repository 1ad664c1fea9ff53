/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/nbd/raw_client.h: an NBD client that says exactly what a test wants, over the
 * simulated network.  Every call runs the world until it is done.
 */
#ifndef TS_TESTS_RAW_CLIENT_H
#define TS_TESTS_RAW_CLIENT_H

#include "engine/port/net.h"
#include "proto/nbd.h"
#include "tests/lib/fakes.h"

struct raw_client {
	struct fake *fake;
	struct env *env;
	struct net_conn *conn;
};

#define RAW_EOF UINT32_MAX

void raw_connect(struct raw_client *c, struct fake *f, struct env *env, const char *address);
void raw_close(struct raw_client *c);
int raw_send(struct raw_client *c, const void *data, uint32_t bytes);
/* Bytes received before the stream ended: `bytes`, or fewer. */
uint32_t raw_recv(struct raw_client *c, void *data, uint32_t bytes);
/* The same in the background: several clients read at once. */
struct raw_reader {
	struct op op;
	struct net_io_req req;
	struct iovec iov;
	struct raw_client *client;
	uint8_t *data;
	uint32_t bytes, got;
	bool over; /* all came, or the stream ended */
};
void raw_reader_start(struct raw_reader *r, struct raw_client *c, void *data, uint32_t bytes);
bool raw_at_end(struct raw_client *c); /* the server has closed, nothing is left to read */

void raw_greet(struct raw_client *c, uint32_t flags);
void raw_option(struct raw_client *c, uint32_t option, const void *data, uint32_t bytes);
/* Type of the next option reply, its payload dropped; RAW_EOF at the end. */
uint32_t raw_rep(struct raw_client *c);
/* Greet and GO: the type of the final reply. */
uint32_t raw_go(struct raw_client *c, const char *name);

int raw_request(struct raw_client *c, uint16_t type, uint64_t cookie, uint64_t offset,
		uint32_t length);
int raw_request_flags(struct raw_client *c, uint16_t type, uint16_t flags, uint64_t cookie,
		      uint64_t offset, uint32_t length);
/* Header of the next reply: its error, RAW_EOF at the end. */
uint32_t raw_reply(struct raw_client *c, uint64_t *ret_cookie);

#endif
