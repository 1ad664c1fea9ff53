/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_sim.h: two sites, a witness and clients in one world.
 *
 * site_force.c   the last in-sync site is lost, the other is forced
 * site_third.c   a distant third site, async, in a third of the seeds
 * site_world.c   builds the nodes, boots and crashes them, makes group and volume
 * site_faults.c  chooses and ends faults
 * site_past.c    snapshots of the past, by an operator
 * site_check.c   the invariants of QUORUM 4.7, after every event
 * site_sim.c     one seed from formation to the last check; the runner
 */
#ifndef TS_SIM_SITE_SIM_H
#define TS_SIM_SITE_SIM_H

#include "engine/node/site.h"
#include "engine/quorum/authority.h"
#include "engine/quorum/member.h"
#include "tests/sim/client.h"
#include "tests/sim/runner.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/world.h"

#define SIM_SITES 2u
#define SIM_MEMBERS 3u
#define SIM_THIRD 3u /* index of the distant site, when there is one */
#define SIM_NODES 4u
#define SIM_CLIENTS_MAX 2u
#define SIM_EPOCHS_MAX 4096u
#define SIM_FAULTS_MAX 24u
#define SIM_TERMS_MAX 8192u

enum sim_kind {
	SIM_ACKED,
	SIM_READS,
	SIM_CONNECTS,
	SIM_CRASH_POWER,
	SIM_CRASH_KILL,
	SIM_CRASH_ALL,
	SIM_CRASH_WITNESS,
	SIM_TORN,
	SIM_LOST,
	SIM_PAUSE,
	SIM_PAUSE_FROZEN,
	SIM_CUT_AB,
	SIM_CUT_A,
	SIM_CUT_B,
	SIM_CUT_W,
	SIM_CUT_ALL,
	SIM_CUT_ONE_WAY,
	SIM_CUT_CLIENT,
	SIM_LOSS,
	SIM_DELAY,
	SIM_SLOW_DISK,
	SIM_SLOW_QUORUM_DISK,
	SIM_STUCK_DISK,
	SIM_IO_FAILED,
	SIM_BIT_FLIP,
	SIM_DRIFT,
	SIM_CLEAN_STOP,
	SIM_SWITCHOVER,
	SIM_TAKE_OVER,
	SIM_SWITCHED,
	SIM_EPOCHS,
	SIM_ISR_CHANGES,
	SIM_OPENS,
	SIM_FOLDS,
	SIM_WRAPS,
	SIM_FULL_COPIES,
	SIM_COMPARES,
	SIM_COMPARES_RESUMED,
	SIM_SUBTREES_SKIPPED,
	SIM_STORE_RESTARTS,
	SIM_OLDER,
	SIM_DIGESTS_EQUAL,
	SIM_PASTS,
	SIM_PASTS_MADE,
	SIM_PASTS_MISSING,
	SIM_PASTS_EQUAL,
	SIM_REPAIRED,
	SIM_REFUSED,
	SIM_FORCED,
	SIM_BRANCHES,
	SIM_THIRD_SEEDS,
	SIM_THIRD_FAULTS,
	SIM_THIRD_AUDITS,
	SIM_THIRD_CAUGHT_UP,
	SIM_KINDS
};

struct sim;

struct sim_site {
	struct sim *sim;
	uint32_t id;				/* raft id; 3 is the witness; sim_third_id() */
	char name[8], replication[24], nbd[24]; /* where it listens */
	struct world_node *node;
	struct world_env *engine, *quorum;
	struct sim_disk *disk, *qdisk;
	struct member *member;
	struct mailbox *inbox, *outbox; /* of the engine; to the member */
	struct site *site;
	struct op op; /* site's wake */
	bool formatted;
	bool rotten; /* its journal was damaged: it may hold less than was acknowledged until it has fetched */
	bool flipped;	     /* a bit of a redundant copy was flipped, and no more in this life */
	uint64_t down_until; /* crashed: boot then; 0: not planned */
	uint64_t sick_since;
	uint64_t stop_down_ns; /* for how long, when its power fails at an I/O */
	struct op stop_op;
	struct completion stop_done;
	bool stopping;
	struct conductor_request *role; /* of an operator, or NULL */
	struct op role_op;
	bool asked; /* by site_force.c */
	/* what the checkers saw in this life */
	uint64_t seen_cfg, seen_epoch, seen_applied;
	struct store_floor floor;
	uint64_t journal_bytes; /* written in all lives */
};

/* What is known of an epoch: it belongs to one boot of one site (I3). */
struct sim_epoch {
	uint64_t number, incarnation;
	uint32_t site;
	uint32_t opened;
};

struct sim_cfg {
	uint64_t cfg, epoch, incarnation;
	uint32_t primary, isr;
};

struct sim_fault {
	enum sim_kind kind;
	uint64_t until;
	uint32_t subject;
	bool active;
};

struct sim {
	struct world *w;
	struct sim_site sites[SIM_NODES]; /* a, b, w, and c if there is a third */
	struct client *clients[SIM_CLIENTS_MAX];
	uint32_t client_count;
	struct prng prng;
	uint32_t rules_mutant, repl_mutant, store_mutant;
	uint64_t features_off[SIM_SITES]; /* of replication: an older version at that site */
	struct store_opts store_opts;
	uint64_t *kinds;
	/* faults */
	bool faults_on;
	uint64_t next_fault, fault_every;
	struct sim_fault faults[SIM_FAULTS_MAX];
	struct wevent tick;
	/* the distant site */
	bool has_third;
	struct prng third_prng;
	uint64_t third_ms, third_next;
	uint32_t third_loss;
	struct sim_fault third_fault;
	/* an operator forces a site (site_force.c) */
	bool force_on, force_accept;
	uint64_t force_bytes; /* of loss that is accepted; 0: unknown */
	uint32_t asked_site; /* by a scenario */
	bool force_ended;    /* no room at the lost site for branch and copy: it stays behind */
	bool force_alive;    /* the lost one still serves: fenced in words only */
	/* checkers */
	struct uuid group;
	bool group_known;
	struct sim_epoch epochs[SIM_EPOCHS_MAX];
	uint32_t epoch_count;
	uint8_t leader_of[SIM_TERMS_MAX];
	struct sim_cfg *cfgs;
	uint32_t cfg_count, cfg_room;
	struct sim_cfg newest; /* highest cfg applied anywhere: it is committed */
	uint64_t opened_epoch, forced_epoch;
	struct lsn acked; /* highest commit LSN of an open primary in the newest epoch */
	uint64_t checked_stamp;
	uint64_t acked_before;
	/* site_past.c */
	bool pasts; /* this seed's group keeps a history */
	struct prng past_prng;
	uint64_t past_next, past_names;
	struct conductor_request *past; /* the last one, or NULL */
	struct op past_op;
	struct sim_site *past_site; /* who was asked */
	bool frozen_clocks;	    /* this seed stops clocks: reads may be stale */
	bool failed;
	char what[1024];
};

void sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_say(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3); /* with TS_TEST_LOG */

/* site_mutants.c: names of seeded bugs, NULL at the end; [0] is "none". */
extern const char *const sim_mutant_names[];
void sim_set_mutant(struct sim *s, uint32_t mutant);

/* site_rot.c: in sync, nothing written: blocks of a volume of so many rot; P4 is checked. */
void sim_rot(struct sim *s, uint64_t blocks);

/* site_past.c: setup after sim_setup, tick while the storm is on, check when it is over */
void sim_past_choose(struct sim *s, uint64_t seed); /* before sim_open */
void sim_past_setup(struct sim *s, uint64_t seed);
void sim_past_crashed(struct sim *s, const struct sim_site *x);
void sim_past_tick(struct sim *s);
void sim_past_check(struct sim *s);

/* site_force.c: in sync: the primary is lost alone, the other is forced, the lost one returns.  alive: it is cut off only. */
void sim_force(struct sim *s, uint64_t volume_bytes, bool alive);

/* site_world.c */
void sim_open(struct sim *s, uint64_t seed);
void sim_close(struct sim *s);
void sim_site_boot(struct sim_site *x);
void sim_site_crash(struct sim_site *x, enum world_crash_how how, uint64_t down_ns);
/* Asks the site to stop cleanly; it is booted again by the tick. */
void sim_site_stop(struct sim_site *x, uint64_t down_ns);
/* An operator asks site x, which may refuse: kind SWITCHOVER (to the other site) or FAILOVER (to x). */
void sim_ask_role(struct sim_site *x, enum request_kind kind);
bool sim_role_answered(const struct sim_site *x, int *ret_rc); /* the last one asked */
bool sim_site_serving(const struct sim_site *x);
struct replica *sim_site_replica(const struct sim_site *x);
/* Make group and volume; runs the world. */
bool sim_setup(struct sim *s, uint64_t volume_bytes);
void sim_tick_site(struct sim_site *x); /* boots what is due, restarts what has failed */
/* Run until pred or ns passed; stops early when the sim failed. */
bool sim_run(struct sim *s, uint64_t ns, bool (*pred)(struct sim *s));

/* site_third.c: without a third site they do nothing */
void sim_third_choose(struct sim *s, uint64_t seed);
uint32_t sim_third_id(void);
void sim_third_tick(struct sim *s);
void sim_third_heal(struct sim *s);
void sim_third_check(struct sim *s);
void sim_third_audit(struct sim *s, uint64_t volume_bytes);
void sim_third_expect_caught_up(struct sim *s, const char *when);

/* site_faults.c */
void sim_faults_tick(struct sim *s);
void sim_faults_heal(struct sim *s);

/* site_check.c */
void sim_check(struct world *w, void *ctx);
void sim_check_leader(struct sim_site *x);
bool sim_is_in_sync(struct sim *s); /* isr is full, a primary is open, both serve */

#endif
