/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/repl.h: this site's replication with its peers: connections, and one source or one
 * follower per group and peer.  Decides nothing: who may stream what to whom is told by volume.
 *
 * Connections of a pair: link (handshake, pings, leases, small questions), data (attach, records,
 * acknowledgements; all groups), bulk (base blocks).  The site with the smaller id connects, the
 * other accepts; all three carry one pair session number, and the loss of any ends the session:
 * every source and follower of it is then REPL_CLOSED.
 *
 * Everything reported is polled: repl wakes `wake` ops after a change and the owner looks.
 */
#ifndef TS_REPL_REPL_H
#define TS_REPL_REPL_H

#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"
#include "engine/port/env.h"
#include "engine/store/replica.h"

struct repl;
struct repl_source;
struct repl_follower;

#define REPL_VERSION_MIN 1u
#define REPL_VERSION_MAX 1u
#define REPL_PEERS_MAX 3u
#define REPL_GROUPS_MAX 1024u

struct repl_peer_opts {
	uint32_t site; /* raft id of its quorum member: 1.. */
	char name[SITE_NAME_BYTES_MAX + 1];
	char address[128];
};

struct repl_opts {
	uint32_t site;
	char name[SITE_NAME_BYTES_MAX + 1];
	char listen[128];
	struct uuid store;    /* this store's uuid */
	uint64_t incarnation; /* of this boot */
	uint64_t drop_ms;     /* a connection silent this long is broken (T_drop) */
	const struct repl_peer_opts *peers;
	uint32_t peer_count;
	uint32_t groups_max;
	struct op *wake;       /* link messages, attaches, peers up or down */
	struct store *local;   /* its replicas answer peers' repairs; NULL: none does */
	uint32_t mutant;       /* enum repl_mutant, for followers; 0 in products */
	uint64_t features_off; /* REPL_FEATURE_*: for tests, as an older version; 0 in products */
};

/* -ERR_INVALID, -ERR_IN_USE, -ERR_NOMEM.  Connects and reconnects by itself (100 ms to 1 s). */
MUST_CHECK int repl_open(struct env *env, const struct repl_opts *opts, struct repl **ret_repl);
/* All sources and followers must have been closed. done fires when every connection is gone. */
void repl_close(struct repl **repl, struct completion *done);
/* A crash in the simulator: free all memory of it, its sources and followers at once; queues,
 * requests, bufs and connections are gone already. */
void repl_abandon(struct repl **repl);

struct repl_peer_status {
	bool up;		   /* all three connections are handshaken */
	uint64_t session;	   /* grows with each time it came up; the current one when up */
	struct mono_ns last_heard; /* any valid frame */
	struct uuid store;	   /* as told in the last handshake */
	uint64_t incarnation;
	char error[128]; /* why it is not up, in words; "" when up */
};
/* -ERR_NOT_FOUND */
MUST_CHECK int repl_peer_status(const struct repl *r, uint32_t site, struct repl_peer_status *ret);

/* --- link messages: small, unordered against data --- */

enum link_kind {
	LINK_PING = 1, /* primary -> peer: asks for a lease (QUORUM R2) and tells heads */
	LINK_PONG,     /* its answer: grants */
	LINK_TAIL_ASK, /* claimer -> other: J4 */
	LINK_TAIL_TOLD,
	LINK_FAILED,   /* my store has failed: claim without waiting */
	LINK_GOODBYE,  /* clean stop of the daemon */
	LINK_VIEW,     /* what the quorum says of a group, for a site that is no member of it */
	LINK_VIEW_ASK, /* that site: what it knows, wants to know better, and of what else */
};

#define LINK_VIEW_BYTES_MAX 512u

#define LINK_GROUPS_MAX 32u /* groups in one ping; more groups: more pings */

struct link_group {
	struct uuid group;
	uint64_t epoch; /* the epoch the sender serves (PING) or accepts (PONG) */
	uint64_t cfg;
	struct lsn head, commit; /* PING: the primary's */
	uint32_t granted;	 /* PONG: 1: lease granted for it */
	uint32_t role;		 /* PING: 1 = sender is primary of it and asks a lease */
};

struct link_tail {
	struct uuid group;
	uint64_t question; /* echoed */
	struct lsn tail, durable, commit, fold;
	uint64_t tail_chain;
	uint64_t incarnation;
	uint32_t recovering; /* 1: not known yet, ask again */
	uint32_t has_hole;
	uint32_t known; /* 0: no such replica here */
	struct epoch_entry epochs[EPOCHS_MAX];
	uint32_t epoch_count;
};

struct link_msg {
	enum link_kind kind;
	uint32_t site;	     /* taken: who sent it */
	uint64_t session;    /* taken: in which pair session */
	struct mono_ns sent; /* PING: the sender's clock; PONG: echo of it */
	uint64_t lease_ms;   /* PING: L */
	uint32_t group_count;
	struct link_group groups[LINK_GROUPS_MAX];
	uint32_t view_bytes; /* VIEW: 1.., opaque here (engine/quorum/fsm.h) */
	uint8_t view[LINK_VIEW_BYTES_MAX];
	/* TAIL_TOLD and TAIL_ASK: valid until the next take; borrowed by send. */
	struct link_tail *tail;
};

/* 0; -ERR_CLOSED (not up), -ERR_BUSY (queue full: it is dropped, which is always allowed), -ERR_UNSUPPORTED (the
 * other side is of a version that does not know this kind). */
int repl_link_send(struct repl *r, uint32_t site, const struct link_msg *msg);
bool repl_link_take(struct repl *r, struct link_msg *ret_msg); /* false: none */

/* --- following: this site receives group `group` from peer `site` --- */

enum repl_purpose {
	REPL_STREAM = 1,
	REPL_FETCH = 2 /* J4: until the other's durable tail, then DONE */
};

enum repl_state {
	REPL_ATTACHING,
	REPL_REFUSED,	  /* the other does not serve that epoch (now): close and try later */
	REPL_CATCHING_UP, /* records from the source's journal */
	REPL_STAGING,	/* a copy: base (or what differs) and records, beside the visible replica */
	REPL_SWITCHING, /* the staging replica becomes the visible one */
	REPL_STREAMING, /* caught up with the head once */
	REPL_DONE,	/* FETCH: has all that the other had durable */
	REPL_FORKED,	/* J7: common LSN below own commit: nothing was cut; stop the group */
	REPL_FAILED,	/* store failed, or the peer broke the protocol (rc) */
	REPL_CLOSED,	/* pair session ended */
};

/* How a follower gets what it lacks; the first that is possible (the reconnect ladder, DESIGN 7). */
enum repl_rung {
	REPL_RUNG_NONE,	   /* not decided yet */
	REPL_RUNG_JOURNAL, /* the journal from the last common LSN on */
	REPL_RUNG_COMPARE, /* what differs from its own copy */
	REPL_RUNG_FULL,	   /* everything */
};

struct repl_follow_spec {
	uint32_t site; /* from whom */
	struct uuid group;
	char name[NAME_BYTES_MAX + 1]; /* of the group, for a replica that is missing */
	/* The session's epoch as the authority's view says; frames of others are refused. */
	struct epoch epoch;
	enum repl_purpose purpose;
	bool want_full; /* a copy even though the histories agree: see wants_full below */
	struct op *wake;
};

/* Precondition (volume): floor {epoch, cfg} is durable, nothing of an older session is in flight.
 * Sends ATTACH {epoch table, tail, chain, commit, fold}, obeys START (cut beyond the common LSN
 * when that is not below own commit, J6/J7) or FULL (J8), appends records after checking session,
 * epoch, chain, checksums; acknowledges a cumulative durable LSN (STREAM: nothing is durable while
 * staging); raises the replica's commit to min(told in this session, own durable) (J2).
 * -ERR_CLOSED: peer not up; -ERR_NOMEM. */
MUST_CHECK int repl_follow(struct repl *r, const struct repl_follow_spec *spec, struct store *store,
			   struct repl_follower **ret_follower);

/* A fork that became a branch before this follower went on (QUORUM J6). */
struct repl_branch_report {
	bool made; /* in this session; the rest is about it */
	char name[NAME_BYTES_MAX + 1];
	uint64_t bytes;		    /* of journal that only this site has */
	uint32_t ranges;	    /* of blocks that its records wrote */
	struct wall_ns first, last; /* of those records; 0: not known */
	bool whole;		    /* false: ranges and times are of a part of it */
};

struct repl_follower_status {
	enum repl_state state;
	int rc;
	struct lsn durable;	/* own, as acknowledged */
	struct lsn source_head; /* last heard */
	struct lsn source_commit;
	struct mono_ns last_frame;
	uint64_t base_bytes; /* received in a full copy */
	enum repl_rung rung;
	uint64_t cut_bytes; /* discarded as never acknowledged fork */
	struct repl_branch_report branch;
	bool branch_failed; /* FAILED (rc): no branch can be made, so nothing is followed and nothing is cut */
	bool wants_full; /* FAILED: a record needs what is not in this store (the base of a clone) */
};
void repl_follower_status(const struct repl_follower *f, struct repl_follower_status *ret);
/* R5: accept no more frames, now.  done fires when nothing of it is in flight (appends, cuts,
 * imports); then f is freed and *f NULL already. */
void repl_follower_close(struct repl_follower **f, struct completion *done);

/* --- sourcing: this site sends group `group` to peer `site` --- */

struct repl_attach {
	uint32_t site;
	uint64_t session; /* pair session */
	struct uuid group;
	uint64_t epoch_number; /* the session epoch the follower accepts */
	enum repl_purpose purpose;
	uint64_t incarnation; /* follower's boot */
	uint64_t ticket;      /* names this request */
};

/* The next ATTACH that volume must answer by repl_source_open or repl_attach_refuse. */
bool repl_attach_take(struct repl *r, struct repl_attach *ret);
void repl_attach_refuse(struct repl *r, const struct repl_attach *a, const char *why);

struct repl_source_spec {
	struct repl_attach attach;
	struct epoch epoch; /* STREAM: the open epoch, sent in START and every frame */
	struct replica *replica;
	struct store *store;
	struct op *wake;
	bool at_commit;	 /* STREAM: records go out only when committed (J11: an async site) */
	uint32_t mutant; /* enum repl_mutant; 0 in products */
};

enum repl_mutant {
	REPL_MUTANT_NONE,
	REPL_MUTANT_CUT_BELOW_COMMIT,	/* J7 skipped at the follower */
	REPL_MUTANT_ACK_BEFORE_DURABLE, /* follower acknowledges at receipt */
	REPL_MUTANT_SKIP_CHAIN,		/* follower does not check the chain */
	REPL_MUTANT_ACK_WHILE_STAGING,	/* J8: durable told before the switch */
	REPL_MUTANT_OLD_EPOCH,		/* R4: frames of an older epoch are accepted */
	REPL_MUTANT_REPAIR_UNVERIFIED,	/* Q1: any content is given, and taken, for a bad block */
	REPL_MUTANT_BEYOND_COMMIT,	/* J11: an async site gets records that are not committed */
	REPL_MUTANT_SKIP_UNKNOWN,    /* children of a page are compared by digests that are stale */
	REPL_MUTANT_FORGET_DISCARDS, /* what the source has not is left as it was */
	REPL_MUTANT_SWITCH_EARLY,    /* S4: not committed up to E */
	REPL_MUTANT_NO_BRANCH,	     /* J6: a copy replaces what only the follower had */
	REPL_MUTANT_CUT_FORCED,	     /* J6: what a forced takeover left behind is cut */
};

/* Finds the last common LSN by epoch table and chain, then START (tail) or FULL (base at the
 * commit LSN of now, tail along). */
MUST_CHECK int repl_source_open(
	struct repl *r, const struct repl_source_spec *spec,
	struct repl_source **ret_source); /* -ERR_CLOSED: the session is gone */

/* A record was appended here (in order): sent from memory when the source is caught up, else it
 * will be read back from the journal.  Takes its own reference if it needs one. */
void repl_source_record(struct repl_source *s, struct record *rec);
/* The commit LSN moved: told with the next record, or within 20 ms. */
void repl_source_commit(struct repl_source *s, struct lsn commit);

struct repl_source_status {
	enum repl_state
		state; /* ATTACHING, CATCHING_UP, STAGING, STREAMING, DONE, FAILED, CLOSED */
	int rc;
	struct lsn durable;  /* acknowledged in this session; 0 while staging */
	struct lsn received; /* it has in memory or in staging */
	struct lsn sent;
	enum repl_rung rung;
	const char *why;	  /* the journal is not enough, in words; "" when it is */
	uint64_t base_bytes_left; /* estimate, of a full copy or a comparison */
	uint64_t base_left_ns; /* the same in time, at the rate so far; 0: not known, or nothing */
	uint64_t sent_bytes;   /* in this session, records and base */
	struct mono_ns last_ack; /* when the last acknowledgement came */
	uint64_t incarnation;	 /* of the follower */
	uint64_t pair_session;
};
void repl_source_status(const struct repl_source *s, struct repl_source_status *ret);
void repl_source_close(struct repl_source **s); /* at once; tells the follower if the link is up */

/* --- repair: one block that is bad here, from a peer --- */

#define REPL_REPAIRS_MAX 8u /* questions in flight, each way and peer */
#define REPL_REPAIR_NS SEC_NS

struct repl_peer;

/* Borrowed until done.  done.rc: 0, data has the checksum crc; -ERR_NOT_FOUND (it has not that
 * content, now), -ERR_CORRUPT (bad there, too), -ERR_BUSY, -ERR_TIMEOUT, -ERR_CLOSED. */
struct repl_repair {
	struct completion done;
	struct uuid group, snapshot; /* snapshot zero: the live volumes */
	uint32_t volume, crc;
	uint64_t block;
	uint8_t *data; /* BLOCK_BYTES */
	/* fields below are private */
	struct list_link link;
	struct repl_peer *peer; /* NULL: not asked */
	uint64_t question;
	struct mono_ns deadline;
};
/* Now, without effect and with done still armed: -ERR_CLOSED (not up), -ERR_UNSUPPORTED (an older
 * version there), -ERR_BUSY (REPL_REPAIRS_MAX), -ERR_NOMEM. */
MUST_CHECK int repl_repair_ask(struct repl *r, uint32_t site, struct repl_repair *q);
/* Asked or not: nothing of it is used any more, and done does not fire. */
void repl_repair_cancel(struct repl_repair *q);

#endif
