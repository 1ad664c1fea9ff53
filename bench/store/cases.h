/* SPDX-License-Identifier: Apache-2.0 */
/* bench/store/cases.h: what store_bench.c and snapshot_cases.c share. */
#ifndef TS_BENCH_STORE_CASES_H
#define TS_BENCH_STORE_CASES_H

#include "bench/store/rig.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct bench {
	const char *dir;
	uint32_t turns;
	uint64_t scale; /* sizes are divided by it */
	uint32_t per_record;
	uint64_t history_s; /* that the group keeps; 0: none */
};

struct bench_case {
	const char *name;
	void (*run)(struct bench *b);
};

/* Where a load writes; its `next`. */
struct place {
	struct rig *g;
	uint64_t at, step, blocks;
};
uint64_t next_sequential(void *ctx);
uint64_t next_uniform(void *ctx);

/* Zipf with exponent s > 1, ranks scattered over the blocks (rejection-inversion). */
struct zipf {
	struct rig *g;
	uint64_t blocks;
	double s, first, last, cut;
};
void zipf_init(struct zipf *z, struct rig *g, uint64_t blocks, double s);
uint64_t next_zipf(void *ctx);

double median(const double *v, uint32_t n);
void ratio_print(const char *what, const double *v, uint32_t n, double bar);
void rig_opts_make(const struct bench *b, const char *name, struct rig_opts *ret);
void fill(struct rig *g, uint64_t bytes);

void case_write_seq(struct bench *b);
void case_write_zipf(struct bench *b);
void case_write_snap(struct bench *b);
void case_recovery(struct bench *b);
void case_memory(struct bench *b);
void case_delta(struct bench *b);
void case_delta_random(struct bench *b);
void case_read_snaps(struct bench *b);
void case_write_latency(struct bench *b);

#endif
