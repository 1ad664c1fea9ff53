/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/conductor.h: all groups of this site: life, roles, and what the desk (admin) asks.
 */
#ifndef TS_VOLUME_CONDUCTOR_H
#define TS_VOLUME_CONDUCTOR_H

#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"
#include "engine/port/env.h"
#include "engine/store/replica.h"
#include "engine/store/scrub.h"

struct authority;
struct repl;
struct conductor;

struct conductor_timers {
	uint64_t ping_ms, drop_ms, lease_ms, grace_ms; /* QUORUM 4.8 */
	uint64_t hold_down_ms;			       /* 1000 */
	uint64_t suspend_max_ms;		       /* 8000 */
};

struct conductor_site {
	uint32_t
		id; /* raft id of its quorum member, or a number of its own (engine/node/config.h) */
	char name[SITE_NAME_BYTES_MAX + 1];
	bool is_distant; /* no member of the quorum: it only ever follows */
};

struct conductor_opts {
	uint32_t site;			    /* own id */
	const struct conductor_site *sites; /* every data site, own too */
	uint32_t site_count;
	struct conductor_timers timers;
	struct store *store;
	struct authority *authority;
	uint32_t groups_max;
	uint64_t scrub_bytes_s; /* a scrub reads at most so much per second; 0: 64 MiB */
	struct op *site_op;	/* woken when the store turns out to be an older one; may be NULL */
	uint32_t mutant;	/* enum rules_mutant; 0 in products */
};

/* The conductor owns the repl object of the site (opened by conductor_set_repl before start). */
MUST_CHECK int conductor_open(struct env *env, const struct conductor_opts *opts,
			      struct conductor **ret);
/* What groups and peers know this store by: its UUID, and another one after it was put back older. */
void conductor_store_identity(const struct store *s, struct uuid *ret);
/* The store is older than what the quorum knows of this site: it has another identity from the next
 * start on, which must come now. */
bool conductor_store_is_older(const struct conductor *c);
/* The op that repl and authority must wake. */
struct op *conductor_op(struct conductor *c);
void conductor_start(struct conductor *c, struct repl *repl); /* repl NULL: a site alone */
/* Stop serving: tell peers (they take over without waiting), revoke clients, wait for what is in
 * flight; done when nothing is. Then close frees. */
void conductor_stop(struct conductor *c, struct completion *done);
void conductor_close(struct conductor **c);
/* Somebody else holds snapshots of this site open: stop is not done before detach.  False: stopping. */
MUST_CHECK bool conductor_attach(struct conductor *c);
void conductor_detach(struct conductor *c);
void conductor_abandon(struct conductor **c); /* simulator crash */

/* --- what the desk asks; every request has a deadline of its own (deadline_ms) --- */

#define REQUEST_TEXT_BYTES 512u

struct group_create_spec {
	char name[NAME_BYTES_MAX + 1];
	char sync_site[SITE_NAME_BYTES_MAX + 1];    /* "": none */
	char async_site[SITE_NAME_BYTES_MAX + 1];   /* "": none; it gets the stream */
	char primary_site[SITE_NAME_BYTES_MAX + 1]; /* "": this site */
	bool ack_received;			    /* -ERR_UNSUPPORTED in this version */
	bool on_peer_loss_stop;			    /* --on-peer-loss stop */
	uint32_t min_isr;			    /* 1 or 2 */
	bool on_full_stop;			    /* --on-full stop */
	uint32_t history_s;			    /* --history, a time */
	uint64_t history_bytes;			    /* or a size; both 0: none */
	uint16_t branch_keep_h;			    /* --keep-branches; view.h */
};

struct volume_create_spec {
	char group[NAME_BYTES_MAX + 1];
	char name[NAME_BYTES_MAX + 1];
	uint64_t bytes;
	uint32_t block_bytes; /* 512 or 4096 */
};

enum request_kind {
	REQUEST_GROUP_CREATE,
	REQUEST_GROUP_DELETE, /* group; force; refused with -ERR_IN_USE while volumes exist without force */
	REQUEST_GROUP_SET, /* group: what set_ says; sync_site, async_site: added, or changed to that */
	REQUEST_VOLUME_CREATE,
	REQUEST_VOLUME_RESIZE,	 /* group/volume, bytes: grow only */
	REQUEST_VOLUME_DELETE,	 /* -ERR_IN_USE while clients are attached */
	REQUEST_SNAPSHOT_CREATE, /* snapshot.group, .name ("": one is made and told), .flags */
	REQUEST_SNAPSHOT_DELETE, /* snapshot; -ERR_IN_USE while it has clones or readers here */
	REQUEST_ROLLBACK,   /* snapshot; -ERR_IN_USE while clients are attached, unless force */
	REQUEST_CLONE,	    /* snapshot; group.name: the new group */
	REQUEST_STORE_GROW, /* bytes; of this site alone, needs no group and no quorum */
	REQUEST_SWITCHOVER, /* group or all; site: nothing is lost; -ERR_BUSY: not now, it stays */
	REQUEST_FAILOVER,   /* group; site, which is this one; failover; -ERR_REFUSED: see loss */
	REQUEST_PAUSE,	    /* group; site, an async one: nothing is sent to it until RESUME */
	REQUEST_RESUME,
	REQUEST_SCRUB, /* group or all; at any site; joins one that is under way */
};

enum snapshot_at { SNAPSHOT_AT_NOW, SNAPSHOT_AT_LSN, SNAPSHOT_AT_TIME, SNAPSHOT_AT_AGE };

struct snapshot_spec {
	char group[NAME_BYTES_MAX + 1];
	char name[NAME_BYTES_MAX + 1]; /* CREATE: out, too; ROLLBACK: out, of what it replaced */
	uint32_t flags;		       /* CREATE: enum record_snap_flag */
	struct uuid uuid;	       /* out: of the snapshot that was made */
	struct lsn lsn;		       /* CREATE, out */
	enum snapshot_at at;	       /* CREATE: of which moment; the field of it counts: */
	struct lsn at_lsn;	       /* the newest record boundary that is not above */
	struct wall_ns at_time;	       /* everything acknowledged by then is in it */
	uint64_t at_age_ns;	       /* the same, so long before now */
};

struct failover_spec {
	bool accept_unknown; /* --accept-loss unknown */
	bool accept;	     /* --accept-loss BYTES */
	uint64_t accept_bytes;
	uint32_t fenced_count; /* sites that the operator says can write no more */
	char fenced[SITES_MAX][SITE_NAME_BYTES_MAX + 1];
	char who[64], reason[96]; /* for the event; "": not told */
};

/* What a failover by hand would lose, as far as this site knows (DESIGN.md P6). */
struct failover_loss {
	bool stated;
	bool bytes_known, seconds_known;
	uint64_t bytes;		    /* of the group's history, in LSN */
	double seconds;		    /* of writes */
	struct lsn newest;	    /* end of what is here */
	struct wall_ns newest_time; /* of its newest write; 0: not known */
	uint64_t least;		    /* bytes that are surely missing */
	struct lsn
		heard; /* the primary's head when it was heard last, in its present epoch; 0: never */
	struct wall_ns heard_time;
	char newer_at[SITE_NAME_BYTES_MAX + 1]; /* who may have more; "": nobody */
	uint32_t fence_count;			/* sites that must be fenced */
	char fence[SITES_MAX][SITE_NAME_BYTES_MAX + 1];
};

/* One request of the desk; borrowed until done.  done.rc: 0 (also when it exists already with the
 * same parameters), -ERR_EXISTS, -ERR_NOT_FOUND, -ERR_NOT_PRIMARY (text names the primary),
 * -ERR_IN_USE, -ERR_INVALID, -ERR_UNSUPPORTED, -ERR_NO_QUORUM, -ERR_TIMEOUT (may still happen),
 * -ERR_FULL, -ERR_TRIMMED (a moment that is not kept).  text: one sentence for a person: what, where, what to do; "" when rc is 0. */
struct conductor_request {
	struct completion done;
	enum request_kind kind;
	struct group_create_spec group;
	struct volume_create_spec volume;
	uint64_t bytes; /* STORE_GROW: 0: what the disk has */
	struct snapshot_spec snapshot;
	struct failover_spec failover; /* FAILOVER */
	struct failover_loss loss;     /* FAILOVER: out, with -ERR_REFUSED */
	struct scrub_result scrub;     /* SCRUB: out */
	char site[SITE_NAME_BYTES_MAX +
		  1]; /* SWITCHOVER, FAILOVER: which shall be primary; PAUSE */
	char remove_site[SITE_NAME_BYTES_MAX + 1]; /* GROUP_SET: it leaves the group; "": none */
	bool all; /* SWITCHOVER: every group that is primary here; SCRUB: every group */
	bool force;
	bool set_on_peer_loss, set_min_isr; /* GROUP_SET: which fields of `group` count */
	bool set_on_full, set_history, set_branch_keep;
	uint64_t deadline_ms;
	char text[REQUEST_TEXT_BYTES];
	/* fields below are private */
	struct op op;
	struct list_link link;
	struct conductor *c;
	uint64_t private[72];
};
void conductor_submit(struct conductor *c, struct conductor_request *req);

enum group_role { GROUP_ROLE_NONE, GROUP_ROLE_PRIMARY, GROUP_ROLE_SECONDARY };
enum group_state { /* words of INTERFACE.md; see group_state_word */
		   GROUP_STARTING,
		   GROUP_SINGLE,
		   GROUP_IN_SYNC,
		   GROUP_DEGRADED,
		   GROUP_RESYNCING,
		   GROUP_SUSPENDED,
		   GROUP_FAILED,
		   GROUP_BLOCKED,
		   GROUP_ASYNC,
};
const char *group_state_word(enum group_state s);
const char *group_role_word(enum group_role r);

struct group_peer_status {
	uint32_t site;
	bool is_async;
	const char *
		state; /* streaming | catching-up | resyncing | joining | connecting | down | paused */
	bool durable_known;
	struct lsn durable;
	uint64_t lag_bytes;    /* as last known, also while it is away */
	double lag_seconds;    /* age of the oldest write that it lacks */
	struct wall_ns newest; /* the newest write that it has; 0: not known */
	uint64_t resync_bytes_left;
	double resync_eta_seconds;
	const char *resync_rung; /* journal | compare | full; "" when none is under way */
	uint64_t hold_down_ms;	 /* until it may be added again */
};

struct group_status {
	char name[NAME_BYTES_MAX + 1];
	struct uuid uuid;
	enum group_role role;
	enum group_state state;
	char reason[REQUEST_TEXT_BYTES];    /* why not healthy; "" when healthy */
	char guarantee[REQUEST_TEXT_BYTES]; /* the sentence of INTERFACE.md */
	uint32_t primary;		    /* site id; 0 unknown */
	uint64_t epoch, cfg;
	uint32_t isr_mask, ack_mask; /* bit (1 << site id) */
	struct lsn head, commit, fold;
	uint64_t content_generation;
	struct group_peer_status peers[SITES_MAX];
	uint32_t peer_count;
	uint32_t volume_count, snapshot_count;
	uint64_t state_age_ms; /* secondary: how old what it knows of the primary is */
	bool on_peer_loss_stop;
	bool on_full_stop;
	uint32_t min_isr;
	uint32_t history_s;	/* wanted */
	uint64_t history_bytes; /* the same */
	uint64_t history_kept;	/* bytes of journal kept to go back in; 0: none is wanted */
	bool history_short;	/* there is no room for all that is wanted */
	bool history_reachable; /* a snapshot can be made of a moment from these on: */
	struct lsn history_lsn;
	struct wall_ns history_time;
	bool orphan;		    /* in the store, unknown to the authority: never served */
	struct wall_ns newest_time; /* newest record here */
};

struct volume_status {
	char name[NAME_BYTES_MAX + 1];
	struct uuid uuid;
	uint64_t bytes, used_bytes;
	uint32_t block_bytes;
	uint32_t clients;
};

/* index 0.. in name order; false at the end. */
bool conductor_group_status(struct conductor *c, uint32_t index, struct group_status *ret);
bool conductor_volume_status(struct conductor *c, const char *group, uint32_t index,
			     struct volume_status *ret);
/* The replica of a group here, whatever its role; NULL: none.  Valid in this step only. */
struct replica *conductor_replica(struct conductor *c, const char *group);
const char *conductor_site_name(const struct conductor *c, uint32_t site); /* "?" if unknown */

/* The store has no room for new data: writes are answered -ERR_FULL, or wait (--on-full stop). */
bool conductor_store_is_full(const struct conductor *c);
const char *conductor_room_word(const struct conductor *c); /* ok, low, little, full */

struct scrub_status {
	bool running;
	uint64_t
		last_success_s; /* wall clock, of the last pass over all groups; 0: none since the start */
};
void conductor_scrub_status(const struct conductor *c, struct scrub_status *ret);

/* --- events (INTERFACE.md section 3): numbered, the last EVENTS_KEPT are kept in memory --- */
#define EVENTS_KEPT 1024u
enum event_kind {
	EVENT_ROLE,
	EVENT_EPOCH,
	EVENT_ISR,
	EVENT_PEER,
	EVENT_STORE,
	EVENT_POLICY,
	EVENT_REPAIR,
	EVENT_LOSS,
	EVENT_SNAPSHOT
};
struct event {
	uint64_t seq;
	struct wall_ns time;
	enum event_kind kind;
	char group[NAME_BYTES_MAX + 1];
	char site[SITE_NAME_BYTES_MAX + 1];
	char from[64], to[64];
	char reason[192];
	uint64_t bytes;
	double seconds;
};
const char *event_kind_word(enum event_kind k);
/* The oldest kept event with seq > since; false: none yet. */
bool conductor_event_after(const struct conductor *c, uint64_t since, struct event *ret);
/* op_wake(op) at each new event; one watcher. */
void conductor_watch_events(struct conductor *c, struct op *op);

/* For the simulator's checkers: what this site believes and may do now. */
struct group_probe {
	bool is_open;	/* serves under `epoch`: admits and answers */
	bool has_lease; /* or needs none */
	uint64_t epoch, incarnation;
	uint32_t ack_mask;
	struct lsn commit;
};
bool conductor_group_probe(struct conductor *c, const struct uuid *group, struct group_probe *ret);
/* Times of the operations of one volume in ns since it was opened here, for /metrics. */
struct hist;
enum io_op {
	IO_OP_READ,
	IO_OP_WRITE,
	IO_OP_FLUSH,
	IO_OP_TRIM,
	IO_OP_COUNT
}; /* TRIM: zeroes, too */
enum io_stage {
	IO_STAGE_TOTAL,	  /* submission to answer */
	IO_STAGE_JOURNAL, /* submission to durable here; writes and trims */
	IO_STAGE_REMOTE,  /* submission to the peer's acknowledgement */
	IO_STAGE_COUNT,
};
struct volume_times {
	const char *group, *volume; /* valid like hist until the next step of the conductor */
	const struct hist *hist[IO_OP_COUNT][IO_STAGE_COUNT];
};
/* index 0.. by groups in name order; false at the end. */
bool conductor_volume_times(const struct conductor *c, uint32_t index, struct volume_times *ret);

#endif
