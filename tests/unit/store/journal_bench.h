/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/store/journal_bench.h: a journal alone on a simulated disk, with a model of what was
 * appended: for unit and fault tests of journal.c and its recovery.
 */
#ifndef TS_TESTS_JOURNAL_BENCH_H
#define TS_TESTS_JOURNAL_BENCH_H

#include "engine/store/journal.h"
#include "tests/lib/fakes.h"

#define BENCH_SEGMENT_BYTES (2ull << 20)
#define BENCH_SEGMENTS 24u
#define BENCH_CHUNKS 1024u /* of home, behind the segments */
#define BENCH_RECORDS_MAX 8192u

struct bench_record {
	uint64_t begin, end, chain;
	uint32_t blocks; /* payload */
};

struct bench {
	struct fake *f;
	struct space *space; /* the stub's */
	struct journal *j;
	struct journal_opts opts;
	struct journal_root root; /* the durable one */
	struct lsn root_fold, root_known;
	struct record_pool *pool;
	uint64_t random;
	/* the model: what this history holds, and what was told durable */
	struct bench_record records[BENCH_RECORDS_MAX];
	uint32_t count;
	uint64_t acked;
	uint64_t cut_from; /* a cut to here is under way: records beyond may live or not */
	/* what recovery told */
	struct bench_record found[BENCH_RECORDS_MAX];
	uint32_t found_count;
	uint32_t found_chunks;	 /* named by them */
	bool content_may_differ; /* a test damaged it */
	struct journal_recovery_result result;
	int recover_rc;
	struct op watch;
	bool failed; /* store_fail was called */
};

struct bench *bench_open(uint64_t seed);
void bench_close(struct bench **b);
uint64_t bench_random(struct bench *b);
/* Append one record with `blocks` of payload (0: a NOTE); journal_append's answer.  Blocks ending in 99
 * begin at a chunk, others anywhere. */
int bench_append(struct bench *b, uint32_t blocks, struct completion *done);
uint32_t bench_named(const struct bench *b); /* chunks that somebody names */
void bench_no_room(struct bench *b, bool no_room);
/* Run until nothing is in flight; acked follows. */
void bench_settle(struct bench *b);
void bench_run(struct bench *b, uint64_t ns);
/* Commit, "fold" and checkpoint everything durable up to the n-th record from the end. */
void bench_checkpoint(struct bench *b, uint32_t keep_records);
/* The power fails; a new journal is made from the durable root and recovered. */
void bench_crash(struct bench *b);
int bench_recover(struct bench *b);
/* What was found is a prefix of the model with everything acknowledged; the model follows it. */
void bench_check(struct bench *b);

#endif
