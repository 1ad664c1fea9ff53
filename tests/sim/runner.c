/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/runner.c: see runner.h. */
#include "tests/sim/runner.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a killed process had asked of its store in that moment: control objects of a simulated crash,
 * which ends no real process. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:store_format\nleak:store_check\nleak:replica_life.c\nleak:replica_stage_switch\n";
}

static uint64_t real_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int usage(const struct runner *r)
{
	fprintf(stderr,
		"usage: %s [--seeds A..B] [--twice [N]] [--mutant NAME] [--exhaustive] [--limit SECONDS] "
		"[--verbose] [--list-mutants]\n",
		r->name);
	return 2;
}

static bool parse_seeds(struct runner_opts *o, const char *text)
{
	char *end;

	o->seed_first = strtoull(text, &end, 10);
	if (*end == '\0') {
		o->seed_last = o->seed_first;
		return true;
	}
	if (strncmp(end, "..", 2) != 0)
		return false;
	o->seed_last = strtoull(end + 2, &end, 10);
	return *end == '\0' && o->seed_last >= o->seed_first;
}

static bool parse_mutant(struct runner *r, const char *name)
{
	for (uint32_t i = 0; r->mutants[i] != NULL; i++) {
		if (strcmp(r->mutants[i], name) == 0) {
			r->opts.mutant = i;
			return true;
		}
	}
	return false;
}

/* -1: go on; else the exit code. */
static int parse(struct runner *r, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(a, "--seeds") == 0 && v != NULL && parse_seeds(&r->opts, v)) {
			i++;
		} else if (strcmp(a, "--mutant") == 0 && v != NULL && parse_mutant(r, v)) {
			i++;
		} else if (strcmp(a, "--twice") == 0) {
			r->opts.twice = UINT32_MAX;
			if (v != NULL && v[0] >= '0' && v[0] <= '9')
				r->opts.twice = (uint32_t)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(a, "--limit") == 0 && v != NULL) {
			r->opts.limit_ms = strtoull(argv[++i], NULL, 10) * 1000;
		} else if (strcmp(a, "--exhaustive") == 0) {
			r->opts.exhaustive = true;
		} else if (strcmp(a, "--verbose") == 0) {
			r->opts.verbose = true;
		} else if (strcmp(a, "--list-mutants") == 0) {
			for (uint32_t k = 1; r->mutants[k] != NULL; k++)
				printf("%s\n", r->mutants[k]);
			return 0;
		} else {
			return usage(r);
		}
	}
	return -1;
}

static volatile uint64_t runner_seed; /* for the handler of SIGABRT only */

static void on_abort(int sig)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "aborted in seed %llu\n",
			 (unsigned long long)runner_seed);

	(void)sig;
	if (write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(3);
}

/* With a mutant an assertion is a way to find it: a process per seed. True: the seed passed. */
static bool run_forked(struct runner *r, uint64_t seed)
{
	struct runner_result a;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		memset(&a, 0, sizeof(a));
		r->run(&r->opts, seed, &a);
		if (a.failed)
			printf("seed %llu: FAILED: %s\n", (unsigned long long)seed, a.what);
		fflush(stdout);
		_exit(a.failed);
	}
	if (waitpid(pid, &status, 0) != pid)
		return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_one(struct runner *r, uint64_t seed, uint64_t index, uint64_t *sim_ns)
{
	struct runner_result a, b;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	runner_seed = seed;
	if (r->opts.mutant != 0)
		return run_forked(r, seed);
	r->run(&r->opts, seed, &a);
	*sim_ns += a.sim_ns;
	if (a.failed) {
		printf("seed %llu: FAILED: %s\n", (unsigned long long)seed, a.what);
		return false;
	}
	if (r->opts.verbose)
		printf("seed %llu: ok, hash %016llx\n", (unsigned long long)seed,
		       (unsigned long long)a.hash);
	if (index >= r->opts.twice)
		return true;
	r->run(&r->opts, seed, &b);
	*sim_ns += b.sim_ns;
	if (a.hash == b.hash && !b.failed)
		return true;
	printf("seed %llu: FAILED: the same seed gave another trace (%016llx, %016llx)\n",
	       (unsigned long long)seed, (unsigned long long)a.hash, (unsigned long long)b.hash);
	return false;
}

static bool kinds_report(const struct runner *r, uint64_t seeds)
{
	bool ok = true;

	for (uint32_t i = 0; i < r->kind_count; i++) {
		const struct runner_kind *k = &r->kinds[i];
		bool bad = k->must && k->count == 0 && seeds >= r->kinds_from;

		printf("  %-28s %12llu%s\n", k->name, (unsigned long long)k->count,
		       bad ? "  NEVER HAPPENED" : "");
		ok = ok && !bad;
	}
	return ok;
}

int runner_main(struct runner *r, int argc, char **argv)
{
	uint64_t start = real_ms(), sim_ns = 0, failed = 0, seeds = 0, first_found = 0;
	bool kinds_ok;
	int rc;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* arenas come and go with every boot of a node: keep their pages */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	signal(SIGABRT, on_abort);
	if (r->opts.seed_last == 0) {
		r->opts.seed_first = 1;
		r->opts.seed_last = 20;
	}
	rc = parse(r, argc, argv);
	if (rc >= 0)
		return rc;
	for (uint64_t s = r->opts.seed_first; s <= r->opts.seed_last; s++) {
		if (r->opts.limit_ms > 0 && real_ms() - start > r->opts.limit_ms)
			break;
		seeds++;
		if (!run_one(r, s, s - r->opts.seed_first, &sim_ns)) {
			if (failed++ == 0)
				first_found = seeds;
			if (r->opts.mutant != 0)
				break;
		}
	}
	printf("%s: %llu seeds, %llu failed, %.1f s simulated in %.1f s\n", r->name,
	       (unsigned long long)seeds, (unsigned long long)failed, (double)sim_ns / 1e9,
	       (double)(real_ms() - start) / 1e3);
	if (r->opts.mutant != 0) {
		printf("mutant %s: %s after %llu seeds\n", r->mutants[r->opts.mutant],
		       failed > 0 ? "found" : "NOT FOUND",
		       (unsigned long long)(failed > 0 ? first_found : seeds));
		return failed > 0 ? 0 : 1;
	}
	kinds_ok = kinds_report(r, seeds);
	printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)(seeds - failed),
	       (unsigned long long)(failed + !kinds_ok));
	return failed > 0 || !kinds_ok || seeds == 0;
}
