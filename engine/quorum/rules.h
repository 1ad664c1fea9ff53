/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/rules.h: the site rules R1 to R8 of one group at one site, as a pure function.
 *
 * The owner (volume) gathers facts, steps, and carries out the effects; nothing here does I/O,
 * reads a clock or allocates.  Level-triggered: a step with the same facts has the same effects, so
 * a lost wake-up costs time and never safety.  RULES.md restates the rules.
 */
#ifndef TS_QUORUM_RULES_H
#define TS_QUORUM_RULES_H

#include "engine/base/types.h"
#include "engine/quorum/view.h"

/* Seeded bugs, one per rule; tests only. */
enum rules_mutant {
	RULES_MUTANT_NONE,
	RULES_MUTANT_NO_LEASE,		 /* R2: reads are served without a lease */
	RULES_MUTANT_GRANT_DURING_CLAIM, /* R2: a lease is granted with a CLAIM outstanding */
	RULES_MUTANT_NO_GRACE,		 /* R3: CLAIM without waiting for the grace */
	RULES_MUTANT_UNCONFIRMED_DROP,	 /* R1: acknowledges alone once DROP is proposed */
	RULES_MUTANT_ADD_NOT_COUNTED,	 /* R1, J2: a proposed ADD is left out of the ack set */
	RULES_MUTANT_NO_GATE,	 /* R6: ADD without gating and without being durable at commit */
	RULES_MUTANT_NO_TAIL,	 /* J4: CLAIM without asking for the longer journal */
	RULES_MUTANT_NO_QUIESCE, /* R5: CLAIM and follow with local I/O in flight */
	RULES_MUTANT_OPEN_BEFORE_COMMIT, /* J5: serves when CLAIM is proposed, not committed */
	RULES_MUTANT_ANY_INCARNATION,	 /* 4.2: adopts an epoch granted to an earlier boot */
	RULES_MUTANT_COMMIT_ALONE,	 /* J2: commit LSN is the local durable LSN */
	RULES_MUTANT_NO_DRAIN,	      /* R7: SWITCH while writes are admitted and unacknowledged */
	RULES_MUTANT_KEEP_GENERATION, /* J14: what lacks acknowledged writes opens as if it had them */
	RULES_MUTANT_COUNT
};

struct rules_opts {
	uint32_t self;
	uint64_t incarnation;
	struct uuid disk;	 /* of the store; nil: not compared with what the group counts on */
	struct mono_ns boot;	 /* when this boot began */
	uint64_t old_promise_ms; /* grace promised before this boot (floor) */
	uint64_t drop_ms, lease_ms, grace_ms, hold_down_ms;
	uint32_t mutant;
};

enum rules_tail {
	RULES_TAIL_NONE,    /* nothing asked yet */
	RULES_TAIL_WAITING, /* asked, or fetching, or the other is recovering */
	RULES_TAIL_DONE,    /* this journal is the longer one now, or equal */
	RULES_TAIL_SILENT,  /* asked and not answered within T_drop */
	RULES_TAIL_OTHER,   /* the other must claim: this journal has a hole */
};

/* What is true now.  view is NULL while the authority has not told, or does not know the group. */
struct rules_facts {
	struct mono_ns now;
	const struct vg_view *view;
	uint64_t floor_epoch, floor_cfg; /* durable here */
	bool has_replica;		 /* a visible replica of the group is in the store */
	bool store_failed;
	bool local_io;	/* appends, cuts, imports or reads of a past role are in flight */
	bool peer_up;	/* pair session with vg_pair_peer */
	bool peer_gone; /* it said that it stops or that its store failed, in its last session */
	struct mono_ns peer_heard; /* last frame of it, or when it was lost */
	uint64_t peer_incarnation;
	struct uuid peer_store;
	enum rules_tail tail;
	/* as primary */
	bool opened;	   /* EPOCH record of view->epoch is durable, floors too */
	bool source_ready; /* the peer streams in the current session and is near the head */
	bool source_short; /* J3: it came back with less than commit */
	struct lsn source_durable;
	struct lsn commit;
	struct mono_ns unacked_since; /* oldest record the peer has not acknowledged; 0: none */
	uint32_t switch_to; /* an operator wants that site to be primary; 0: nobody (R7) */
	bool drained;	    /* nothing that has an LSN is unacknowledged */
	/* as secondary */
	bool take_over; /* an operator wants this site to be primary: R3 without "not seen" */
};

enum rules_role {
	RULES_IDLE, /* no view, stale view, or not a member */
	RULES_SECONDARY,
	RULES_CLAIMANT, /* preparing or proposing a CLAIM */
	RULES_OPENING,	/* epoch is ours: floors, EPOCH record */
	RULES_PRIMARY,
	RULES_FAILED, /* the store failed */
};

struct rules_effects {
	enum rules_role role;
	bool quiesce;	   /* revoke clients, close follower and source of any other role */
	bool follow;	   /* a follower of view->primary in view->epoch should exist */
	bool source;	   /* attaches of the peer may be answered by a source */
	bool ask_tail;	   /* J4: ask (or go on asking) the other isr member */
	bool set_floor;	   /* make {view->epoch, view->cfg} durable */
	bool admit;	   /* client I/O of view->epoch may be taken */
	bool may_read;	   /* a lease is held or not needed: until lease_until */
	bool ping;	   /* ask the peer for leases, tell every site the head */
	bool gate;	   /* the peer's acknowledgements are gated (counted) before ADD */
	bool blocked;	   /* not in isr and the primary is away */
	uint32_t ack_mask; /* bits (1 << site id): whose durability an acknowledgement needs */
	struct mono_ns lease_until; /* UINT64_MAX when none is needed */
	uint64_t hold_down_ms;	    /* until the peer may be added, 0: now */
	bool propose;
	struct vg_cmd cmd;
	struct mono_ns next; /* step again then at the latest */
};

struct rules {
	/* fields are private; read only by asserts and status */
	struct rules_opts o;
	enum rules_role role;
	struct mono_ns last_grant;   /* 0: none in this boot */
	struct mono_ns primary_seen; /* last valid ping of the view's primary */
	struct mono_ns lease_until;
	struct mono_ns claim_since;
	bool proposed; /* a proposal of ours at proposed_cfg is unresolved */
	enum vg_cmd_kind proposed_kind;
	uint64_t proposed_cfg;
	uint64_t switch_incarnation; /* of the site a SWITCH was proposed for */
	struct mono_ns proposed_since, propose_next;
	bool gated;
	bool released; /* the primary gave its lease up by a message */
	uint64_t seen_epoch;
	/* hold-down */
	struct mono_ns added_at, hold_until;
	uint64_t hold_ms;
	uint64_t hold_incarnation;
	bool peer_in_isr;
};

void rules_init(struct rules *r, const struct rules_opts *opts);
void rules_step(struct rules *r, const struct rules_facts *f, struct rules_effects *e);

/* A ping of `site`, which says it serves `epoch`: true: grant a lease of lease_ms (R2).  promise_durable: the store's
 * floor holds a promise >= grace_ms. */
bool rules_ping(struct rules *r, const struct rules_facts *f, uint32_t site, uint64_t epoch,
		uint64_t lease_ms, bool promise_durable);
/* A grant came back for our ping sent at `sent` (our clock) for `epoch`. */
void rules_granted(struct rules *r, const struct vg_view *view, uint64_t epoch, struct mono_ns sent,
		   uint64_t lease_ms);
/* The primary stopped serving and said so (LINK_FAILED, LINK_GOODBYE): its lease is void. */
void rules_released(struct rules *r);
/* The pair session ended. */
void rules_session_lost(struct rules *r, bool clean);

#endif
