/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/qlink.h: sessions of one member with the others, over engine/port/net.h.
 *
 * One session per pair of members; the one with the greater raft id connects.  A session delivers
 * frames in order or ends; with it goes everything queued in both directions, so the raft library
 * never sees a message of an older session.  Frames: proto/quorum.md.
 */
#ifndef TS_QUORUM_QLINK_H
#define TS_QUORUM_QLINK_H

#include "engine/base/attr.h"
#include "engine/base/list.h"
#include "engine/base/op.h"
#include "proto/quorum.h"

struct env;
struct qlinks;

#define QLINK_ADDRESS_BYTES 128u

struct qlinks_opts {
	uint32_t self; /* raft id */
	uint32_t count;
	const char *listen;
	const char *address[QUORUM_PEERS_MAX + 1]; /* by raft id; copied */
	const char *name[QUORUM_PEERS_MAX + 1];
	uint32_t ping_ms; /* while a session is open */
	uint32_t dead_ms; /* nothing heard: the session ends */
	struct op
		*owner; /* woken when a frame came, a session opened or ended, or all is stopped */
};

/* What we tell in our hello and demand of others. The owner keeps it up to date. */
struct qlinks_identity {
	struct uuid disk, cluster; /* cluster nil: not formed */
	uint64_t lsn, seq;
	bool empty;
	uint64_t members_hash;
	uint32_t fsm_version;
	struct {
		bool known; /* formed: this is the disk it must have */
		struct uuid disk;
		struct quorum_position at_least; /* lower: rolled back, refused */
	} peer[QUORUM_PEERS_MAX + 1];
};

struct qlink_peer {
	bool open;
	uint64_t generation; /* of the session, counts up */
	struct quorum_hello hello;
	struct uuid cluster;		 /* it told */
	struct quorum_position position; /* newest told; kept after the session */
	char refusal[160]; /* why the last attempt failed by refusal (ours or its), "" */
};

struct qlink_frame {
	struct list_link link; /* private */
	uint32_t from;
	uint64_t generation;
	uint16_t type; /* PROPOSE, RAFT */
	uint32_t bytes;
	uint8_t payload[];
};

/* Errors of net_listen, -ERR_NOMEM.  No session is made before the first qlinks_identify. */
MUST_CHECK int qlinks_open(struct env *env, const struct qlinks_opts *opts, struct qlinks **ret_l);
void qlinks_identify(struct qlinks *l, const struct qlinks_identity *identity);
void qlinks_moved(struct qlinks *l, uint64_t lsn, uint64_t seq); /* our position */
const struct qlink_peer *qlinks_peer(const struct qlinks *l, uint32_t id);

/* The oldest received frame of a session that is still open, to be freed by the caller; or NULL. */
struct qlink_frame *qlinks_take(struct qlinks *l);

/* Queue a frame (bytes copied). false: that session is over, or its queue is full (dropped). */
bool qlinks_send(struct qlinks *l, uint32_t to, uint64_t generation, uint16_t type,
		 const void *payload, uint32_t bytes);

void qlinks_stop(struct qlinks *l); /* the owner is woken until qlinks_idle */
bool qlinks_idle(const struct qlinks *l);
void qlinks_close(struct qlinks **l);	/* idle only */
void qlinks_discard(struct qlinks **l); /* for simulators: the network is dead */

#endif
