/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/store/rig.h: a store in a real file through the ports of uring, one group in it with one
 * volume, what goes through its disk port counted, and clients that write records as a primary does:
 * what arrives while two records are in flight shares the next one.
 *
 * A rig that cannot go on says why and ends the process: there is nobody to handle it.
 */
#ifndef TS_BENCH_STORE_RIG_H
#define TS_BENCH_STORE_RIG_H

#include "engine/base/buf.h"
#include "engine/base/hist.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/disk.h"
#include "engine/store/replica.h"
#include "engine/store/snapshot.h"
#include "engine/store/store.h"

#define RIG_DEPTH_MAX 64u
#define RIG_FLIGHTS_MAX 64u

struct uring_loop;

struct rig_disk {
	struct disk disk, *inner;
	uint64_t read_bytes, written_bytes, flushes;
};

struct rig_opts {
	const char *path;
	uint64_t store_bytes, volume_bytes;
	uint64_t memory_bytes; /* as `memory` of the configuration: half of it for the store */
	uint32_t journal_percent;
	uint32_t fold_idle_ms; /* 0: as in products */
	uint64_t history_ns;   /* that the group keeps; 0: none */
};

/* What clients do: `depth` of them, each with one write of `blocks` in flight, until `bytes` were written
 * (0: no such end) or until `until`, if not 0. */
struct rig_load {
	uint32_t depth, blocks;
	uint32_t per_record; /* writes in one record at most; 0: as many as wait */
	uint64_t bytes, until;
	uint64_t (*next)(void *ctx); /* first block of the next write */
	void *ctx;
	/* out */
	uint64_t written, records;
	struct hist latency;
	uint64_t worst_ns; /* set it to 0 to ask anew */
	/* called after each answer; may be NULL */
	void (*look)(struct rig_load *l, void *ctx);
};

struct rig_write {
	uint64_t begun;
	bool waits; /* for a record */
};

struct rig_flight {
	struct lsn end;
	struct record *record;
	uint32_t count, writes[RIG_DEPTH_MAX];
};

struct rig {
	struct rig_opts o;
	struct log log;
	struct uring_loop *loop;
	struct env *env;
	struct rig_disk disk;
	struct op op; /* waits for one thing at a time; woken by the replica */
	struct store *store;
	struct replica *r;
	struct uuid group;
	uint64_t random;

	struct rig_load *load; /* NULL: none runs */
	struct rig_write writes[RIG_DEPTH_MAX];
	struct rig_flight flights[RIG_FLIGHTS_MAX];
	uint32_t first, count;
	uint64_t begun, pace_until; /* bytes of writes begun; ns */
	struct record *stuck;
	struct completion space;
	struct timer pace;
	uint32_t snaps;
};

uint64_t rig_random(struct rig *g);
uint64_t rig_now(const struct rig *g); /* ns */
_Noreturn void rig_die(const char *what, int rc);
void rig_check(int rc, const char *what);

/* Make and open the store, its group and its volume (slot 0). */
void rig_make(struct rig *g, const struct rig_opts *o);
/* Open what rig_make made; returns the nanoseconds that store_open took. */
uint64_t rig_open(struct rig *g, const struct rig_opts *o);
void rig_close(struct rig *g);

/* Arm and wait for one completion. */
struct completion *rig_arm(struct rig *g, struct completion *c);
int rig_wait(struct rig *g, struct completion *c);
void rig_turn(struct rig *g);

void rig_load(struct rig *g, struct rig_load *l);
void rig_fold(struct rig *g); /* everything, and its checkpoint */
void rig_append_body(struct rig *g, enum record_type type, const uint8_t *body, uint32_t bytes);
/* A record that makes a snapshot: appended, and committed when the load goes on or by rig_settle. */
void rig_snapshot(struct rig *g, struct uuid *ret);
void rig_settle(struct rig *g); /* all that was appended is committed */

#endif
