/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/source.h: the struct of a source, private to source.c, tail.c, base.c and compare.c of
 * this room.
 */
#ifndef TS_REPL_SOURCE_H
#define TS_REPL_SOURCE_H

#include "engine/repl/peer.h"

#define SOURCE_RING 256u		/* records held in memory for one follower */
#define SOURCE_WINDOW_BYTES (16u << 20) /* sent and not yet received */
#define BASE_SLOTS 4u			/* base reads in flight */
#define BASE_WINDOW_BYTES (8u << 20)	/* base bytes sent and not yet taken in */

enum source_phase {
	SOURCE_COMMON,	   /* finding the last common LSN; chain being read */
	SOURCE_STARTED,	   /* START sent; the follower cuts, then says ACK (or WANT_FULL) */
	SOURCE_BASE_CHAIN, /* FULL: chain at the base's LSN being read */
	SOURCE_BASED,	   /* FULL sent; the follower makes its staging replica, then says ACK */
	SOURCE_SENDING,	   /* records flow; a base too while `base` is there */
	SOURCE_ENDED,	   /* DONE, FAILED, CLOSED */
};

/* What a source's op waits for. */
enum { SOURCE_BIT_CHAIN = 1, SOURCE_BIT_READ = 2, SOURCE_BIT_TIMER = 4 };

struct base_copy;
struct compare;

struct repl_source {
	struct repl *repl;
	struct env *env;
	struct repl_member member;
	struct op op;
	struct op *wake;
	enum source_phase phase;
	enum repl_state state;
	int rc;
	bool closing;

	struct epoch epoch;
	enum repl_purpose purpose;
	bool at_commit; /* T6 */
	struct replica *replica;
	uint64_t incarnation, pair_session;
	enum repl_rung rung;
	struct mono_ns copy_begun;
	const char *why; /* the journal is not enough */
	uint32_t mutant;
	struct attach_pending *attach; /* what the follower has */

	/* the common point */
	struct lsn common;
	bool common_known;
	uint64_t common_epoch;
	struct lsn common_first;
	struct replica_chain_at chain;
	bool chain_flying, decided;

	/* the stream: [.., next) was sent */
	struct lsn next, received, durable, commit, commit_told, fetch_end;
	struct lsn commit_linked; /* the last one told on the link connection */
	bool told_once;
	uint64_t window_bytes;
	uint64_t sent_bytes;
	struct mono_ns last_ack;
	struct record *ring[SOURCE_RING]; /* the newest records, consecutive, oldest first */
	uint32_t ring_begin, ring_count;
	uint64_t ring_bytes;
	struct replica_journal_read read;
	bool read_flying;
	struct record *read_record; /* read, not sent yet: begins at next */
	struct lsn pin;		    /* UINT64_MAX: none */
	struct timer timer;
	bool timer_running;
	struct mono_ns tell_at; /* commit is told by then; 0: nothing to tell */

	/* the base */
	struct lsn base_lsn;
	struct frame_full *full;
	struct base_copy *base;
	struct compare
		*compare; /* in the place of base, when the follower asks for what it lacks */
	bool compares;	  /* COMPARE came */
};

/* source.c */
void source_fail(struct repl_source *s, int rc, const char *what);
/* tail.c: send what can be sent; may fail the source. */
void tail_pump(struct repl_source *s);
void tail_release(struct repl_source *s); /* records it holds */
/* The end of what this follower may have now: it has caught up when it is there. */
struct lsn tail_head(const struct repl_source *s, const struct replica_status *st);
uint64_t record_bytes_all(const struct record *rec);

/* base.c */
MUST_CHECK int base_open(struct repl_source *s, struct base_copy **ret_base);
void base_acked(struct base_copy *b, uint64_t bytes); /* in all */
uint64_t base_bytes_left(const struct base_copy *b);
double base_part(const struct base_copy *b); /* of the way that is behind it, 0..1 */
void base_room(struct base_copy *b);	     /* something it may wait for has changed */
/* Issues nothing more; the source's op is woken when it is idle. */
void base_stop(struct base_copy *b);
bool base_is_idle(const struct base_copy *b); /* nothing in flight: may be freed */
void base_free(struct base_copy **b);
void base_abandon(struct base_copy **b);

/* compare.c: the same for a follower that compares */
MUST_CHECK int compare_open(struct repl_source *s, struct compare **ret_compare);
MUST_CHECK int compare_asked(struct compare *c, const struct conn_frame *f); /* COMPARE_ASK */
uint64_t compare_bytes_left(const struct compare *c);
double compare_part(const struct compare *c); /* of the way that is behind it, 0..1 */
void compare_room(struct compare *c);
void compare_stop(struct compare *c);
bool compare_is_idle(const struct compare *c);
void compare_free(struct compare **c);
void compare_abandon(struct compare **c);

#endif
