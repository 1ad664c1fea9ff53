/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/client.h: an NBD client over the simulated network, with an oracle.
 *
 * Connects (fixed newstyle, GO), keeps up to `depth` requests in flight, checks every read, and when
 * a connection ends or a request takes too long aborts it, marks its writes as unanswered and goes
 * to the next address.  The client's own node never crashes.
 */
#ifndef TS_SIM_CLIENT_H
#define TS_SIM_CLIENT_H

#include "tests/sim/oracle.h"
#include "tests/sim/world.h"

#define CLIENT_DEPTH_MAX 64u
#define CLIENT_ADDRESSES_MAX 4u

struct client_opts {
	char name[24]; /* of its node */
	char export[130];
	char address[CLIENT_ADDRESSES_MAX][96];
	uint32_t address_count;
	uint64_t bytes; /* uses [0, bytes) of the volume, which must be at least so large */
	uint32_t depth;
	uint64_t think_ns;   /* mean pause between requests */
	uint64_t timeout_ns; /* of a request */
	uint64_t seed;
	/* percent of requests; the rest are writes */
	uint32_t read_percent, trim_percent, zero_percent, flush_percent, fua_percent;
	uint32_t align;	    /* of off and bytes: 512 or 4096 */
	uint32_t max_bytes; /* of one request; at most 1 MiB, TRIM and ZEROES up to 4 MiB */
	uint64_t hot_bytes; /* three of four requests are in [0, hot_bytes); 0: none */
};

struct client_stats {
	uint64_t connects, refused, lost, timeouts, acked, reads, errors, bytes_written, bytes_read;
	uint64_t last_ack_at;	 /* world time of the last good answer */
	uint64_t last_write_ack; /* of a write */
	uint64_t gap_max;	 /* longest time between two answers to writes */
	int last_error;		 /* NBD errno */
};

struct client;

struct client *client_new(struct world *w, const struct client_opts *opts);
void client_free(struct client **c);
void client_start(struct client *c);
/* Stop issuing; requests in flight end. */
void client_quiesce(struct client *c);
bool client_is_idle(const struct client *c);
/* Read everything back once, connected or not yet: true from client_verified when done. */
void client_verify(struct client *c);
bool client_verified(const struct client *c);
void client_resume(struct client *c);

/* NULL, or what was wrong first (a wrong read, a broken protocol). */
const char *client_violation(const struct client *c);
const struct client_stats *client_stats(const struct client *c);
struct oracle *client_oracle(struct client *c);
struct world_node *client_node(struct client *c);
const char *client_name(const struct client *c);

#endif
