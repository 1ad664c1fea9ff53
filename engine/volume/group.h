/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/group.h: one group at this site: its role, its records in flight, its volumes.
 * Only the volume room includes it.
 */
#ifndef TS_VOLUME_GROUP_H
#define TS_VOLUME_GROUP_H

#include "engine/base/hist.h"
#include "engine/port/clock.h"
#include "engine/quorum/authority.h"
#include "engine/quorum/rules.h"
#include "engine/repl/repl.h"
#include "engine/volume/conductor.h"
#include "engine/volume/gate.h"
#include "engine/volume/lag.h"
#include "engine/volume/volume.h"

#define FLIGHTS_MAX 64u	      /* records of one group between append and commit */
#define SEAL_EAGER_BLOCKS 64u /* a batch this large goes out although others are in flight */
#define SEAL_EAGER_FLIGHTS 2u
#define VIEWS_MAX VG_COUNT_MAX

/* A record between append and commit, with the operations it answers. */
struct flight {
	struct record *record;
	struct list ios; /* struct volume_io.link */
	struct lsn end;
	struct mono_ns at; /* sealed, then: appended and offered to the peer */
	uint32_t blocks;   /* of payload */
	bool timed[IO_STAGE_COUNT];
	bool orphan; /* its operations were given up when clients had waited too long */
	struct list_link link;
};

struct volume {
	struct group *g;
	struct list_link link; /* of group, slot order */
	struct list clients;   /* struct volume_client.link */
	struct gate gate;
	struct uuid uuid;
	char name[NAME_BYTES_MAX + 1];
	uint32_t slot;
	uint32_t block_bytes;
	uint64_t bytes;
	struct hist hist[IO_OP_COUNT][IO_STAGE_COUNT];
	bool gone;	       /* deleted: freed when its last client has left */
	struct export *export; /* a volume of a snapshot; NULL: of the group, and in its list */
};

/* Room in the store for what writes may need (room.c). */
enum room_state { ROOM_OK, ROOM_WAIT, ROOM_FULL };
struct room {
	bool full;  /* writes are answered -ERR_FULL */
	bool tight; /* less than the reserve is free, however much is folded */
	bool fold_failed;
	uint32_t growths;      /* of the store, ended: told */
	uint32_t told;	       /* room word of the last event */
	uint32_t folds, tries; /* in flight; since there was room */
	uint64_t chunks;       /* that may be given to writes before looking again */
	struct mono_ns looked;
};

/* A site that this one, as primary, sends the group to. */
struct group_source {
	uint32_t site;		    /* 0: free */
	struct repl_source *source; /* never NULL while site is not 0 */
	bool at_commit;		    /* J11 */
};

/* What a site was last known to have, while this one is primary. */
struct group_mark {
	uint32_t site;
	struct lsn durable;
};

enum group_open_phase { OPEN_NOT, OPEN_REPLICA, OPEN_COMMIT, OPEN_RECORD, OPEN_DONE };

struct group {
	struct op op;
	struct conductor *c;
	struct list_link link; /* of conductor, name order */
	struct uuid uuid;
	char name[NAME_BYTES_MAX + 1];
	bool view_seen; /* the authority knew it in this boot */
	bool dropped;	/* the authority has deleted it: replica goes, then this struct */
	struct mono_ns born;

	/* role */
	struct rules rules;
	struct rules_effects eff;
	struct vg_view view; /* copy of what was stepped last; cfg 0: none */
	enum group_open_phase open_phase;
	uint64_t open_epoch;	  /* the epoch we serve; 0: none */
	struct store_floor floor; /* durable */
	struct store_floor floor_asked;
	struct completion floor_done, replica_done, close_done, space_done, fold_done;
	struct mono_ns retry_at; /* after a refusal of the store */
	struct timer timer, pace;
	bool floor_busy, replica_busy, close_busy, space_busy, fold_busy;
	struct mono_ns suspended_since; /* 0: not */
	bool told_shut;			/* that suspend_max is over */

	/* replication */
	struct group_source sources[REPL_PEERS_MAX]; /* as primary */
	struct group_mark marks[SITES_MAX];
	struct lag lag;
	uint32_t paused;		  /* bits (1 << site id), by an operator */
	struct repl_source *fetch_source; /* J4: somebody fetches our tail */
	struct repl_follower *follower;
	bool follower_fetches;
	struct mono_ns base_missing; /* since when the follower has no use for a CLONE; 0: it has */
	uint64_t follower_epoch;
	enum repl_state follower_state;
	struct mono_ns follow_next; /* back-off after a refusal */
	bool forked;		    /* J7: stopped */
	bool branch_told;	    /* what this follower kept as a branch */
	int branch_rc;		    /* why no branch can be made; 0: it can */
	/* an operator's wish; both end by themselves */
	uint32_t switch_to; /* R7: the site that shall be primary; 0: none */
	struct mono_ns switch_until, take_over_until;
	/* J4 */
	enum rules_tail tail;
	uint64_t tail_question;
	struct mono_ns tail_asked, tail_again;

	/* data path */
	uint64_t boot_cfg; /* floor as it was found at boot */
	bool proved;	   /* this boot served, or streamed from who served: older.c */

	struct list queued; /* operations ready for the next record, struct volume_io.link */
	struct list held;   /* writes that wait for room in a full store (--on-full stop) */
	uint32_t queued_blocks;
	uint32_t ios;	     /* operations of clients in flight, any phase */
	struct list flights; /* in LSN order */
	uint32_t flight_count;
	uint64_t flight_blocks; /* payload of the records in flight */
	uint32_t orphans;	/* flights that nobody waits for any more */
	struct flight flight_pool[FLIGHTS_MAX];
	struct list flights_free;
	struct record *stuck; /* sealed, refused by a full journal; its flight is flights' last */
	struct list parked;   /* operations that wait for a lease, struct volume_io.link */
	struct mono_ns pace_until;
	struct lsn told_commit;
	struct lsn volumes_at;	 /* refresh volumes when commit passes it; UINT64_MAX: no need */
	struct lsn volumes_last; /* end of the newest VOLUME, SNAP, RESTORE or CLONE record */
	struct list volumes;
	uint32_t volume_count;

	/* snapshots */
	struct list exports;		    /* struct export.link */
	uint32_t export_ios;		    /* of clients of snapshots; no role waits for them */
	struct conductor_request *rollback; /* nobody is let in meanwhile */
	struct lsn restore_end;		    /* of a RESTORE record that is not committed; 0: none */
	bool restoring; /* RESTORE committed, not folded: volumes change when it is */

	struct {
		uint64_t session, cfg;
	} view_told[SITES_MAX]; /* views.c: by index of conductor.peers */

	/* status */
	struct mono_ns heard; /* secondary: last ping of the primary */
	struct lsn heard_head, heard_commit;
	uint64_t heard_epoch; /* in which it said so */
	struct wall_ns heard_wall;
	bool heard_final; /* it has stopped serving since, and head is the end of what it wrote */
	enum group_state state_was;
	enum group_role role_was;
	uint32_t isr_was;
	uint64_t epoch_was;
};

struct conductor_peer {
	uint32_t site;
	uint64_t session; /* last seen; 0 none */
	bool wants_views; /* views.c: it asked, in this session */
	struct mono_ns ask_at;
	bool up, gone;
	struct mono_ns lost_at;
};

struct conductor {
	struct op op;
	struct env *env;
	struct conductor_opts o;
	struct conductor_site sites[SITES_MAX];
	struct conductor_peer peers[SITES_MAX];
	uint32_t peer_count;
	struct store *store;
	struct authority *authority;
	struct repl *repl;
	struct authority_watch watch;
	struct uuid store_uuid;
	bool older, older_told; /* the store was put back: see older.c */
	struct completion older_done;
	struct completion branch_gone; /* branch.c */
	struct mono_ns branch_next;
	uint64_t incarnation;
	struct mono_ns boot;
	struct list groups; /* name order */
	uint32_t group_count;
	uint64_t version_seen;
	bool started, stopping, store_failed, failure_told;
	struct completion failure, *stop_done;
	uint32_t attached; /* who must be gone before stop is done */
	struct timer ping;
	struct room room;
	struct repairs *repairs;
	struct scrubs *scrubs;
	struct list requests;
	struct event events[EVENTS_KEPT];
	uint64_t event_seq;
	struct op *event_watcher;
	struct vg_cmd proposals[VG_BATCH_MAX]; /* of this turn; one log entry (propose.c) */
	uint32_t proposal_count;
	struct link_msg msg;
	struct link_tail tail_out;
};

/* group.c */
struct group *group_open(struct conductor *c, const struct uuid *uuid, const char *name);
void group_free(struct group *g); /* nothing of it in flight (or the world is dead) */
bool group_is_idle(const struct group *g);
void group_facts(struct group *g, struct rules_facts *f);
struct group *conductor_group(struct conductor *c, const struct uuid *uuid);
struct group *conductor_group_named(struct conductor *c, const char *name, uint32_t bytes);
struct conductor_peer *conductor_peer(struct conductor *c, uint32_t site);
uint32_t group_pair_peer(const struct group *g); /* vg_pair_peer: site id, 0: none */

/* group_repl.c: sources, followers, tails */
void group_close_repl(struct group *g);
void group_close_fetches(struct group *g); /* J4's, either way: this site claims nothing any more */
void group_follow(struct group *g);
void group_ask_tail(struct group *g);
void group_tail_told(struct group *g, const struct link_tail *t);
void group_tail_ask(struct group *g, uint32_t site, uint64_t question);
void group_attach(struct group *g, const struct repl_attach *a);
struct repl_source *group_source(const struct group *g, uint32_t site); /* NULL: none */
bool group_has_source(const struct group *g);
void group_close_sources(struct group *g);
void group_sources_record(struct group *g, struct record *rec); /* appended here just now */
void group_sources_commit(struct group *g, struct lsn commit);
void group_sources_mark(struct group *g, struct lsn commit); /* for lag, once per step */
bool group_mark(const struct group *g, uint32_t site,
		struct lsn *ret_durable); /* false: not known */
void group_repl_progress(struct group *g);

/* group_io.c: records */
void group_io_progress(struct group *g); /* commit, answer, seal */
void group_io_abort(struct group *g); /* the epoch is over: everything in flight ends -ERR_CLOSED */
void group_io_give_up(
	struct group *g); /* clients waited for suspend_max: their operations end so, too */
MUST_CHECK int group_append_control(struct group *g, enum record_type type, const void *body,
				    uint32_t body_bytes, struct lsn *ret_end);
void group_refresh_volumes(struct group *g);
void group_reap_volumes(struct group *g);

/* export.c: volumes of snapshots, for readers at any site */
int export_find(struct group *g, const char *name, uint32_t bytes, struct volume **ret_volume,
		char *message, uint32_t message_bytes);
bool export_list(struct conductor *c, uint32_t index, struct volume_info *ret);
bool export_read(struct volume_io *io); /* false: wait */
void export_reap(struct group *g);
void export_free_all(struct group *g); /* the world is dead */

/* branch.c */
void branch_follower(struct group *g, const struct repl_follower_status *fs);
uint64_t branch_retry_ms(const struct group *g,
			 uint64_t otherwise_ms); /* until it is followed again */
bool branch_name_is_reserved(const char *name);
void branches_progress(struct conductor *c); /* those whose time is over */

/* older.c */
void older_look(struct group *g);
void older_progress(struct conductor *c);

/* views.c: the quorum's word for a site that is no member */
void views_ask(struct conductor *c);
void views_asked(struct conductor *c, const struct link_msg *m);
void views_told(struct conductor *c, const struct link_msg *m);
void views_tell(struct conductor *c);

/* room.c */
enum room_state room_state(struct conductor *c);
void room_take(struct conductor *c, uint64_t begin, uint64_t end); /* blocks of one write */
void room_harvest(struct group *g);
void room_poll(struct conductor *c);

/* repair.c */
MUST_CHECK int repairs_open(struct conductor *c);
void repairs_close(struct conductor *c); /* conductor_close: what is asked ends; memory stays */
void repairs_tell(struct conductor *c);

/* scrub.c */
MUST_CHECK int scrubs_open(struct conductor *c);
void scrubs_progress(struct conductor *c);
bool scrubs_are_idle(const struct conductor *c);

/* volume.c */
void volume_revoke(struct volume *v);
void volume_revoke_all(struct group *g);
void volume_io_time(struct volume_io *io, enum io_stage stage);
void volume_io_ended(struct volume_io *io, int rc); /* by group_io.c: answered or aborted */
bool volume_io_is_open(const struct volume_io *io);

/* request_snap.c */
bool request_makes_clone(const struct group *g); /* its CLONE record is not written yet */
bool group_is_rolling_back(const struct group *g);
void group_restore_progress(struct group *g); /* is a RESTORE folded by now? */
uint64_t group_content_generation(const struct group *g, const struct replica *r);

/* request.c */
void conductor_wake_requests(struct conductor *c);

/* conductor.c: propose in the entry of this turn; a command that finds no room is proposed again (R8). */
void conductor_propose(struct conductor *c, const struct vg_cmd *cmd);

/* status.c */
void group_note_changes(struct group *g);
PRINTF_LIKE(8, 9)
void conductor_event(struct conductor *c, enum event_kind kind, const struct group *g,
		     const char *from, const char *to, uint64_t bytes, double seconds,
		     const char *fmt, ...);

#endif
