/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/store/replica_bench.h: a whole store with one group on a simulated disk, and a model of
 * every record appended to it, for unit and fault tests.
 */
#ifndef TS_TESTS_REPLICA_BENCH_H
#define TS_TESTS_REPLICA_BENCH_H

#include "engine/store/replica.h"
#include "engine/store/store.h"
#include "tests/lib/fakes.h"

#define RB_VOLUMES 2u
#define RB_BLOCKS 1500u /* of each volume: three leaves, the last in part */
#define RB_RECORDS_MAX 9000u
#define RB_EXTENTS_MAX 4u

struct rb_record {
	uint64_t begin, end, prev_chain;
	uint32_t extent_count;
	struct record_extent extents[RB_EXTENTS_MAX];
	/* of snapshot_bench.c */
	enum rb_snap { RB_NONE, RB_SNAP, RB_DELETE, RB_RESTORE } snap;
	uint32_t id;   /* of the snapshot made (RESTORE: kept) or deleted */
	uint64_t from; /* RESTORE: content below this LSN came back */
	uint64_t at;   /* SNAP: of this LSN; 0: of its own begin */
};

struct rb {
	struct fake *f;
	struct store *store;
	struct replica *r;
	struct uuid group;
	uint64_t random;
	uint32_t mutant;
	uint64_t memory_bytes; /* of the next opening; 0: 32 MiB */
	uint32_t stall_ms;     /* disk_stall of the next opening; 0: none */
	struct rb_record records[RB_RECORDS_MAX];
	uint32_t count;
	uint64_t acked;	       /* newest LSN whose append was answered */
	uint32_t first;	       /* added to record numbers in content */
	const struct rb *base; /* a clone of it as of base_lsn */
	uint64_t base_lsn;
};

struct rb *rb_open(uint64_t seed, uint32_t mutant);
void rb_close(struct rb **b);
uint64_t rb_random(struct rb *b);
/* Format, open, create the group and its volumes (committed).  Negative: the first failure. */
int rb_start(struct rb *b);
int rb_reopen(struct rb *b); /* store_open and replica_find */
/* Append one random data record: replica_append's answer. */
int rb_append(struct rb *b);
/* The same with these extents (payload_block is set here). */
int rb_append_extents(struct rb *b, struct record_extent *e, uint32_t count);
/* Any record without payload. */
int rb_append_body(struct rb *b, enum record_type type, const uint8_t *body, uint32_t bytes);
int rb_append_note(struct rb *b);
int rb_volume(struct rb *b, enum record_volume_op op, uint32_t slot, uint64_t bytes);
/* n appends, with time passing between, committing what is durable; stops when the disk did. */
void rb_work(struct rb *b, uint32_t n);
void rb_settle(struct rb *b); /* until tail is durable, then commit it */
void rb_crash(struct rb *b);
/* After rb_reopen: nothing acknowledged is lost, all content is that of the model at tail. */
void rb_check(struct rb *b);
void rb_check_content(struct rb *b);
/* Does a block have the content of the model below LSN commit? */
void rb_check_block(const struct rb *b, const uint8_t *data, uint32_t volume, uint64_t block,
		    uint64_t commit);
/* Read `count` blocks; asserts success and content. */
/* The same for a disk that is not trusted: 0 and the right content, or why it could not be read. */
int rb_compare_blocks(struct rb *b, uint32_t volume, uint32_t block, uint32_t count);
void rb_check_blocks(struct rb *b, uint32_t volume, uint32_t block, uint32_t count);

#endif
