/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/peer.h: the three connections of one pair, private to the room.
 *
 * A pair session begins when all three are handshaken and ends when one is lost; then peer_down
 * tells every source and follower.  Frames are dispatched by peer.c: to the follower or source of
 * their group session, or kept (attaches, link messages) until the owner of repl takes them.
 */
#ifndef TS_REPL_PEER_H
#define TS_REPL_PEER_H

#include "engine/port/clock.h"
#include "engine/repl/conn.h"
#include "engine/repl/repl.h"

#define PEER_BUCKETS 64u
#define REPL_CONNS_PENDING_MAX (REPL_PEERS_MAX * FRAME_CONN_COUNT + 3u)
#define REPL_STALL_NS (10ull * SEC_NS) /* a follower that cannot take a frame for so long fails */

/* A block being read for the peer. */
struct repair_serve {
	struct op op;
	struct repl_peer *peer;
	bool busy;
	uint64_t session, question;
	struct uuid group;
	uint32_t crc, found;
	struct buf *buf;
	struct replica_read read;
};

enum peer_state {
	PEER_IDLE,	 /* no connection; the connector waits for retry_at */
	PEER_CONNECTING, /* some of the three are connected or handshaken */
	PEER_UP,
};

struct repl_peer {
	struct repl *repl;
	struct env *env;
	struct repl_peer_opts opts;
	bool connector; /* our site id is the smaller one */

	struct op op;
	struct timer timer;
	bool timer_running;
	bool tick_late;
	enum peer_state state;
	struct conn *conns[FRAME_CONN_COUNT];
	bool hello_sent[FRAME_CONN_COUNT], shaken[FRAME_CONN_COUNT];
	uint64_t session;      /* of the connections there are */
	uint64_t session_seen; /* the largest ever used or seen with this peer in this boot */
	struct mono_ns retry_at, connect_deadline;
	uint32_t retry_ms;

	struct mono_ns last_heard;
	uint64_t heard_frames[FRAME_CONN_COUNT];
	struct uuid store;
	uint64_t incarnation;
	char error[128];

	struct list followers, sources; /* of the session that is up; by repl_member.all */
	struct list follower_buckets[PEER_BUCKETS], source_buckets[PEER_BUCKETS];
	struct list attaches; /* not answered yet, oldest first */
	uint32_t attach_count;

	/* repair.c */
	uint64_t features;  /* of the other side */
	uint64_t questions; /* asked in this boot */
	struct list asked;  /* repl_repair.link */
	uint32_t question_count;
	struct repair_serve serves[REPL_REPAIRS_MAX];
};

/* A source or follower as its peer sees it. */
struct repl_member {
	struct list_link all, bucket;
	struct list_link life;	/* of repl until it is freed */
	struct repl_peer *peer; /* NULL once the pair session or the member has ended */
	uint64_t group_session;
	struct uuid group;
	struct op *op;	 /* woken when room was freed and when the session ended */
	bool wants_room; /* woken once when a queue has room */
};

struct attach_pending {
	struct list_link link;
	struct repl_attach attach; /* what volume sees */
	uint64_t group_session;
	bool taken;
	struct frame_attach body;
};

struct repl {
	struct env *env;
	struct repl_opts opts;
	struct repl_peer_opts peer_opts[REPL_PEERS_MAX];
	struct repl_peer peers[REPL_PEERS_MAX];
	uint32_t peer_count;

	struct op op;
	struct timer timer;
	struct net_listener *listener;
	struct net_accept_req accept;
	bool accepting, timer_running;
	struct list pending; /* accepted, no HELLO yet */
	struct list dying;   /* broken, or refused and about to be */
	uint32_t pending_count;
	bool closing;
	struct completion *close_done;

	uint64_t sessions;	 /* made by us as connector in this boot */
	uint64_t group_sessions; /* made by us as follower */
	uint64_t tickets;
	struct list all_sources, all_followers; /* by repl_member.life; closing ones too */
	uint32_t link_next;			/* peer to look at first in repl_link_take */
	struct link_tail link_tail;
};

void peer_init(struct repl_peer *p, struct repl *r, const struct repl_peer_opts *opts);
void peer_start(struct repl_peer *p); /* first step soon */
/* The session ends, or what there is of one; `why` is for people. */
void peer_down(struct repl_peer *p, const char *why);
/* Takes *c, an accepted connection whose HELLO is `hello`.  Answers it, or refuses. */
void peer_take_hello(struct repl_peer *p, struct conn **c, const struct frame_hello *hello);

void peer_add_follower(struct repl_peer *p, struct repl_member *m);
void peer_add_source(struct repl_peer *p, struct repl_member *m);
void peer_remove(struct repl_member *m); /* no effect when it is removed already */

/* Headers of frames of a member: session, group and group session are filled in. */
void member_header(const struct repl_member *m, enum frame_kind kind, uint64_t epoch,
		   struct lsn lsn, struct frame_header *ret);
/* Small frames of a member on one of its peer's connections: 0, -ERR_BUSY (wants_room is set),
 * -ERR_CLOSED. */
MUST_CHECK int member_send(struct repl_member *m, enum frame_conn conn, struct frame_header *h,
			   const void *head, uint32_t head_bytes);
/* FRAME_STOP or FRAME_DETACH; best effort: where it does not fit the pair session ends. */
void member_send_stop(struct repl_member *m, enum frame_kind kind, uint64_t epoch, int rc,
		      const char *text);

/* repl.c: give a connection to be closed and freed; takes *c. */
void repl_bury(struct repl *r, struct conn **c, uint64_t linger_ms);
void repl_misnamed(char *text, size_t bytes, const struct repl *r, const struct repl_peer *p,
		   const char *name);
void repl_refuse(struct repl *r, struct conn **c, uint64_t session_seen, int rc, const char *text);
void repl_hello(const struct repl *r, enum frame_conn conn, uint64_t session,
		struct frame_hello *ret);
void repl_wake(struct repl *r);
/* Keep the journal of `replica` from where its slowest source reads. */
void repl_pin(struct repl *r, struct replica *replica);
void repl_check_closed(struct repl *r); /* a source or follower was freed */

/* repair.c */
struct conn_frame;
void repair_init(struct repl_peer *p);
bool repair_is_idle(const struct repl_peer *p); /* nothing is read for the peer */
void repair_tick(struct repl_peer *p, struct mono_ns now);
void repair_session_ended(struct repl_peer *p);
int repair_asked(struct repl_peer *p, const struct conn_frame *f);
int repair_told(struct repl_peer *p, const struct conn_frame *f);
struct repl_peer *repl_find_peer(const struct repl *r, uint32_t site); /* repl.c */

/* source.c, follower.c: frames of the group session.  0: done with it; -ERR_AGAIN: show it again
 * after the member woke the peer; the rest ends in the member's own state. */
struct conn_frame;
int source_frame(struct repl_member *m, const struct conn_frame *f);
int follower_frame(struct repl_member *m, const struct conn_frame *f);
void source_session_ended(struct repl_member *m);
void follower_session_ended(struct repl_member *m);
void source_abandon_all(struct repl *r);
void follower_abandon_all(struct repl *r);

#endif
