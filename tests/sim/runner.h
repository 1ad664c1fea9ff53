/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/runner.h: command line of the simulator programs: seeds, mutants, twice, statistics. */
#ifndef TS_SIM_RUNNER_H
#define TS_SIM_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#define RUNNER_KINDS_MAX 48u

/* One fault or event kind and how often it happened over all seeds. */
struct runner_kind {
	const char *name;
	uint64_t count;
	bool must; /* 0 over the whole run is a failure (with at least `kinds_from` seeds) */
};

struct runner_result {
	bool failed;
	uint64_t hash;
	uint64_t sim_ns;
	char what[1024];
};

struct runner_opts {
	uint64_t seed_first, seed_last;
	uint32_t mutant;
	uint32_t twice; /* the first n seeds run twice; UINT32_MAX: all */
	bool verbose, exhaustive;
	uint64_t limit_ms; /* stop starting seeds after so much real time; 0: none */
};

struct runner {
	const char *name;
	const char *const *mutants; /* names; index is the number; NULL ends; [0] is "none" */
	struct runner_kind *kinds;
	uint32_t kind_count;
	uint32_t kinds_from;
	/* Run one seed. */
	void (*run)(const struct runner_opts *o, uint64_t seed, struct runner_result *ret);
	struct runner_opts opts;
};

/* Parses argv, runs, prints; the exit code. With a mutant: 0 iff some seed failed (it was found). */
int runner_main(struct runner *r, int argc, char **argv);

#endif
