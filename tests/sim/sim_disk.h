/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/sim_disk.h: an in-memory disk with the fault model of engine/port/disk.h.
 *
 * Content is sparse.  What reads see is `current`; every write that is not yet durable keeps what
 * it replaced, so that a crash can choose, for each 512-byte sector, any version since the last
 * durable one.
 */
#ifndef TS_SIM_DISK_H
#define TS_SIM_DISK_H

#include "tests/sim/world.h"

#define SIM_DISK_CHUNK 65536u
#define SIM_SECTOR 512u
#define SIM_FUA_KEPT 32u

struct sim_disk_faults {
	/* The nth I/O submitted from now on (1: the next; 0: none) fails with fail_rc; kinds is a mask of
	 * 1 << enum disk_kind, 0 means all.  fail_count I/Os in a row fail (0 counts as 1). */
	uint64_t fail_nth;
	uint32_t fail_kinds;
	uint64_t fail_count;
	int fail_rc;
	/* The power fails when the nth I/O is submitted: it and all later ones never complete.
	 * `stopped` tells; then call world_crash. */
	uint64_t stop_nth;
	bool stopped;
	bool stuck;		/* requests are held back until it is cleared (sim_disk_unstick) */
	bool lie_flush;		/* flushes and FUA promise and do nothing (canary) */
	uint32_t misdirect_ppm; /* a write lands 64 KiB further */
	uint64_t misdirect_nth; /* the nth write from now on does (1: the next; 0: none) */
	uint32_t torn_ppm;	/* of sectors of undurable writes kept at a crash; default 500000 */
	/* At a crash the fate of each undurable write is a bit: in flight first, then the newest first;
	 * crash_units tells how many there were. */
	bool crash_by_mask;
	uint64_t crash_mask;
	uint32_t crash_units;
	bool discard_zeroes; /* a discard clears; else it leaves the content */
};

struct sim_disk_counts {
	uint64_t ios, reads, writes, flushes, fuas, discards;
	uint64_t read_bytes, write_bytes;
};

struct sim_undo;

struct sim_disk {
	struct disk disk; /* hand out &d->disk */
	struct world *world;
	struct world_node *node;
	char name[24];
	uint8_t **chunks;
	uint32_t chunk_count;
	uint64_t grow_max;	/* how long EXTEND may make it */
	uint64_t durable_bytes; /* its size after a power cut, at least */
	struct sim_disk_faults faults;
	struct sim_disk_counts counts;
	/* latency model, ns */
	uint64_t read_ns, write_ns, flush_ns, jitter_ns, bytes_per_sec;
	uint32_t slow; /* multiplies latencies; 1 is normal */
	struct list in_flight, undo;
	struct list spare; /* request slots */
	uint64_t done_order;
	uint64_t undo_bytes;
	struct {
		uint64_t off, bytes;
	} fua[SIM_FUA_KEPT]; /* the newest durable writes, for tests that let them rot */
	uint32_t fua_next;
};

struct sim_disk *sim_disk_new(struct world_node *n, const char *name, uint64_t bytes);
/* Content as a read would see it; never fails, no latency. */
void sim_disk_peek(struct sim_disk *d, uint64_t off, void *data, uint64_t bytes);
void sim_disk_poke(struct sim_disk *d, uint64_t off, const void *data, uint64_t bytes);
void sim_disk_flip(struct sim_disk *d, uint64_t off, uint32_t bit);
void sim_disk_resize(struct sim_disk *d, uint64_t bytes); /* idle; new content is zero */
void sim_disk_unstick(struct sim_disk *d);
/* Copies of the whole content (for exhaustive tests); the disk must be idle. */
void sim_disk_copy(struct sim_disk *to, struct sim_disk *from);

#endif
