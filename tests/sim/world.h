/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/world.h: a discrete-event world in one process, driven by one seed.
 *
 * Purpose.     Implements every port (engine/port) for any number of nodes: virtual time, disks that
 *              survive crashes with lost and torn writes, a network that is cut and slow, paused and
 *              drifting clocks.  Unit tests use it with one node (tests/lib/fakes.h).
 * Loop.        world_step: earliest event -> advance the time -> deliver -> run the ready queues
 *              of all nodes dry -> checker.
 * Invariants.  W1  Nothing here depends on pointers, real time or real randomness: equal seeds and
 *                  equal calls give equal trace hashes.
 *              W2  An event never runs a node's code: it only fires completions and wakes ops.
 *              W3  After world_crash nothing of the node's former life fires any more.
 */
#ifndef TS_SIM_WORLD_H
#define TS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/counters.h"
#include "engine/base/list.h"
#include "engine/base/log.h"
#include "engine/base/op.h"
#include "engine/port/clock.h"
#include "engine/port/disk.h"
#include "engine/port/env.h"
#include "engine/port/mailbox.h"
#include "engine/port/net.h"
#include "engine/port/offload.h"
#include "engine/port/random.h"
#include "tests/sim/prng.h"

#define WORLD_NODES_MAX 16u
#define WORLD_ENVS_MAX 8u
#define WORLD_DISKS_MAX 8u

struct world;
struct world_node;
struct world_env;
struct sim_disk;

enum world_crash_how {
	WORLD_CRASH_POWER, /* unflushed writes lost or torn, connections fall silent */
	WORLD_CRASH_KILL,  /* the process dies: in-flight writes complete, peers see a reset */
};

enum wevent_kind { WEV_TIMER, WEV_DISK, WEV_NET, WEV_MAIL, WEV_OFFLOAD, WEV_SCRIPT };

/* Something that will happen. Embedded in its owner; heap_index 0: not planned. */
struct wevent {
	uint64_t at, order;
	uint32_t heap_index;
	enum wevent_kind kind;
	uint32_t node; /* for the trace */
	void (*fire)(struct wevent *ev);
};

struct world_clock {
	struct clock clock;
	struct world_env *env;
	struct timer **heap; /* 1-based */
	uint32_t count, room;
	uint64_t order;
	struct wevent event; /* for the earliest timer */
};

struct world_mailbox {
	struct mailbox mailbox;
	struct world_env *env;
	struct list queue;
	struct wevent event;
	struct world_mailbox *next;
};

/* One simulated thread of a node. */
struct world_env {
	struct env env; /* hand out &env.env */
	struct world_node *node;
	struct ready ready;
	struct world_clock clock;
	struct net net;
	struct random_port random;
	struct prng prng;
	struct offload offload;
	struct offload_req *offload_first, **offload_last;
	struct wevent offload_event;
	struct log log;
	struct counters counters;
	struct world_mailbox *mailboxes;
	struct buf_pool_sizes buf_sizes;
	uint32_t index;
	char name[24];
};

struct world_node {
	struct world *world;
	uint32_t id; /* index in world->nodes, for links and the trace */
	char name[24];
	bool up, paused;
	uint32_t lives; /* boots so far */
	enum world_crash_how died_how;
	struct world_env *envs[WORLD_ENVS_MAX];
	uint32_t env_count;
	struct sim_disk *disks[WORLD_DISKS_MAX];
	uint32_t disk_count;
	/* clock: local = local_base + (now - world_base) * (1e6 + drift_ppm) / 1e6, unless frozen */
	uint64_t local_base, world_base;
	int32_t drift_ppm;
	bool clock_frozen;
	int64_t wall_offset; /* ns added to world time for the wall clock */
	void *user;
	/* Called first thing in world_crash: forget the node's objects (memory only). */
	void (*on_crash)(struct world_node *node);
};

/* One direction of the path between two nodes. */
struct world_link {
	bool cut;
	uint64_t latency_ns, jitter_ns;
	uint64_t bytes_per_sec; /* 0: no limit */
	uint32_t loss_ppm;	/* per chunk: delays it by a retransmission */
	uint64_t busy_until;
};

struct world_stats {
	uint64_t events, crashes_power, crashes_kill, boots, pauses, cuts, conns, conns_broken,
		retransmits;
	uint64_t disk_torn_sectors, disk_lost_sectors, disk_failed, disk_slow, bit_flips;
};

struct sim_conn;
struct sim_listener;

struct world {
	uint64_t seed, now, order, hash;
	struct wevent **heap; /* 1-based */
	uint32_t heap_count, heap_room;
	struct world_node *nodes[WORLD_NODES_MAX];
	uint32_t node_count;
	struct world_link links[WORLD_NODES_MAX][WORLD_NODES_MAX]; /* [from][to] */
	struct prng prng_disk, prng_net, prng_fault, prng_misc;
	struct list listeners, conns, dials; /* of sim_net.c */
	uint32_t port_next;
	/* Called after the ready queues are dry, after every event. May be NULL. */
	void (*check)(struct world *w, void *ctx);
	void *check_ctx;
	/* Memory domain switch around a node's code (tests/sim/domain.h); may be NULL. */
	void (*enter)(struct world_node *node);
	uint64_t stamp; /* changes whenever some node's code ran */
	struct world_stats stats;
	int log_level;	    /* from TS_TEST_LOG; -1: nothing is written */
	uint64_t steps_max; /* of one ready run: more is a livelock and aborts */
};

struct world *world_new(uint64_t seed);
void world_free(struct world **w);

struct world_node *world_node_new(struct world *w, const char *name);
/* bufs all zero: the env has no pool. */
struct world_env *world_env_new(struct world_node *n, const char *name,
				const struct buf_pool_sizes *bufs);
/* A mailbox of `env`'s thread. Freed with the world or when the node crashes. */
struct mailbox *world_mailbox_new(struct world_env *env);

/* Deliver the earliest event and run everything dry. False: there is none. */
bool world_step(struct world *w);
/* Run ready queues without an event (after calling into a node from outside). */
void world_settle(struct world *w);
/* Run until virtual time `at`, or until `stop` says so (may be NULL). True if stopped by it. */
bool world_run_until(struct world *w, uint64_t at, bool (*stop)(void *ctx), void *ctx);
static inline bool world_run_for(struct world *w, uint64_t ns)
{
	return world_run_until(w, w->now + ns, NULL, NULL);
}

/* Plan ev to fire at w->now + delay; it must not be planned. */
void world_plan(struct world *w, struct wevent *ev, uint64_t delay_ns);
void world_unplan(struct world *w, struct wevent *ev);
static inline bool wevent_planned(const struct wevent *ev)
{
	return ev->heap_index != 0;
}
/* Put a fact into the trace hash. */
void world_trace(struct world *w, uint64_t a, uint64_t b);

/* The node is down afterwards; its disks remain; its ready queues, timers, mailboxes, bufs and
 * connections are gone. */
void world_crash(struct world_node *n, enum world_crash_how how);
/* Envs are fresh (new pools, empty queues); the caller then opens its objects on them. */
void world_boot(struct world_node *n);
/* freeze_clock: the node's CLOCK_BOOTTIME stands still too (a stopped VM). */
void world_pause(struct world_node *n, bool freeze_clock);
void world_resume(struct world_node *n);
void world_set_drift(struct world_node *n, int32_t ppm);
uint64_t world_node_now(const struct world_node *n);

void world_cut(struct world_node *from, struct world_node *to, bool cut); /* one way */
void world_link_set(struct world_node *a, struct world_node *b, uint64_t latency_ns,
		    uint64_t jitter_ns);

/* for sim_net.c and sim_disk.c */
extern const struct net_ops sim_net_ops;
void sim_net_crash(struct world_node *n, enum world_crash_how how);
void sim_net_free(struct world *w);
void sim_disk_crash(struct sim_disk *d, enum world_crash_how how);
void sim_disk_free(struct sim_disk *d);

#endif
