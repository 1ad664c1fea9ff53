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
#define RB_RECORDS_MAX 6000u
#define RB_EXTENTS_MAX 4u

struct rb_record {
	uint64_t begin, end, prev_chain;
	uint32_t extent_count;
	struct record_extent extents[RB_EXTENTS_MAX];
};

struct rb {
	struct fake *f;
	struct store *store;
	struct replica *r;
	struct uuid group;
	uint64_t random;
	uint32_t mutant;
	uint32_t stall_ms; /* disk_stall of the next opening; 0: none */
	struct rb_record records[RB_RECORDS_MAX];
	uint32_t count;
	uint64_t acked; /* newest LSN whose append was answered */
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
int rb_append_note(struct rb *b);
int rb_volume(struct rb *b, enum record_volume_op op, uint32_t slot, uint64_t bytes);
/* n appends, with time passing between, committing what is durable; stops when the disk did. */
void rb_work(struct rb *b, uint32_t n);
void rb_settle(struct rb *b); /* until tail is durable, then commit it */
void rb_crash(struct rb *b);
/* After rb_reopen: nothing acknowledged is lost, all content is that of the model at tail. */
void rb_check(struct rb *b);
void rb_check_content(struct rb *b);
/* Read `count` blocks; asserts success and content. */
/* The same for a disk that is not trusted: 0 and the right content, or why it could not be read. */
int rb_compare_blocks(struct rb *b, uint32_t volume, uint32_t block, uint32_t count);
void rb_check_blocks(struct rb *b, uint32_t volume, uint32_t block, uint32_t count);

#endif
