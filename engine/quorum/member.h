/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/member.h: one quorum member: durable log, raft, links to the other members, state
 * machine.  It lives in its own environment (thread); the same object serves a data site and the
 * witness, which is easy: member_open with engine = NULL.
 */
#ifndef TS_QUORUM_MEMBER_H
#define TS_QUORUM_MEMBER_H

#include "engine/base/attr.h"
#include "engine/port/disk.h"
#include "engine/port/mailbox.h"
#include "engine/quorum/authority.h"

struct env;
struct member;

#define MEMBER_FILE_BYTES \
	(8u << 20) /* of the disk given to member_open (and authority_alone_open) */

struct member_peer {
	const char *name;
	const char *address; /* of engine/port/net.h */
};

/* Strings are copied. */
struct member_opts {
	const char *name;		   /* which of members[] we are */
	const struct member_peer *members; /* configured order: raft ids 1..count */
	uint32_t member_count;		   /* 1..QUORUM_MEMBERS_MAX */
	const char *listen;
	const char *preferred;	   /* who should lead (the witness), NULL: nobody in particular */
	uint32_t heartbeat_ms;	   /* 0: 100 */
	uint32_t election_ms;	   /* 0: 500 */
	uint32_t snapshot_entries; /* a snapshot is taken after as many; 0: 512 */
	bool format; /* the file was just made: a wholly zero disk becomes an empty member */
	struct mailbox *inbox;	/* of env, or NULL: no engine here */
	struct mailbox *engine; /* the engine's mailbox (authority_open's inbox), or NULL */
};

enum member_state {
	MEMBER_LOADING, /* reading its file */
	MEMBER_FORMING, /* empty: waits for every configured member, empty too */
	MEMBER_RUNNING,
	MEMBER_FAILED, /* status.rc; stays reachable for status, takes part in nothing */
	MEMBER_STOPPED,
};

struct member_status {
	enum member_state state;
	int rc;		       /* MEMBER_FAILED: why */
	char detail[160];      /* a sentence for people, or "" */
	uint32_t self, leader; /* raft ids; leader 0: none */
	uint64_t term, applied, committed, last_index, lsn;
	struct uuid cluster;
	uint32_t member_count;
	struct authority_member member[QUORUM_MEMBERS_MAX];
};

/*
 * Start a member: -ERR_INVALID (name not in members, counts), -ERR_NOMEM, errors of net_listen.
 * Loading goes on in the background; member_status tells.  env and disk are borrowed until close;
 * env->bufs is not used.
 */
MUST_CHECK int member_open(struct env *env, struct disk *disk, const struct member_opts *opts,
			   struct member **ret_m);

void member_status(const struct member *m, struct member_status *ret);

/* The site id member_open would give to `name`: 1..n, or 0. */
uint32_t member_id_of(const struct member_opts *opts, const char *name);

/* Woken on every change of status (a witness's own status line); NULL to end. */
void member_watch(struct member *m, struct op *op);

/* Fires done (rc 0) when nothing is in flight any more. Then close. */
void member_stop(struct member *m, struct completion *done);
void member_close(struct member **m);

/* For simulators: the world is dead, nothing in flight will ever complete. */
void member_discard(struct member **m);

#endif
