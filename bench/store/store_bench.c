/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/store/store_bench.c
 * Purpose.     What the store costs on a real disk, against its bars: bytes written for each byte of a client,
 *              recovery of a large volume, memory.  See bench/README.md.
 * Limits.      A case makes its stores in the folder it is given and removes them.
 */
#include "bench/store/cases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"

#define TURNS_MAX 99u

struct child_answer {
	uint64_t a, b, c;
};

static const struct bench_case cases[] = {
	{"write-seq", case_write_seq},
	{"write-zipf", case_write_zipf},
	{"write-snap", case_write_snap},
	{"recovery", case_recovery},
	{"memory", case_memory},
	{"delta", case_delta},
	{"delta-random", case_delta_random},
	{"read-snaps", case_read_snaps},
	{"write-latency", case_write_latency},
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(const double *v, uint32_t n)
{
	double s[TURNS_MAX];

	memcpy(s, v, n * sizeof(*s));
	qsort(s, n, sizeof(*s), compare);
	return n % 2 != 0 ? s[n / 2] : (s[n / 2 - 1] + s[n / 2]) / 2;
}

void ratio_print(const char *what, const double *v, uint32_t n, double bar)
{
	double low = v[0], high = v[0];

	for (uint32_t i = 1; i < n; i++) {
		low = v[i] < low ? v[i] : low;
		high = v[i] > high ? v[i] : high;
	}
	printf("%s: %.3f (%.3f to %.3f in %" PRIu32 " turns); at most %.2f: %s\n", what,
	       median(v, n), low, high, n, bar, median(v, n) <= bar ? "met" : "NOT MET");
	fflush(stdout);
}

/* --- bytes written --- */

struct counts {
	uint64_t written, journal, chunks, home, map;
};

static void counts_take(const struct rig *g, struct counts *ret)
{
	const uint64_t *v = g->env->counters->v;

	*ret = (struct counts){g->disk.written_bytes, v[CTR_JOURNAL_BYTES], v[CTR_CHUNK_BYTES],
			       v[CTR_HOME_BYTES], v[CTR_MAP_BYTES]};
}

static void amplification(struct rig *g, struct rig_load *l, const char *what, double bar)
{
	struct counts a, b;
	uint64_t began = rig_now(g);
	double client, total;

	counts_take(g, &a);
	rig_load(g, l);
	rig_fold(g);
	counts_take(g, &b);
	client = (double)l->written;
	total = (double)(b.written - a.written) / client;
	printf("%s: %.3f bytes written for each (journal %.3f, chunks %.3f, home %.3f, map %.3f; "
	       "%.1f writes in a record; %.0f MiB in %.0f s); at most %.2f: %s\n",
	       what, total, (double)(b.journal - a.journal) / client,
	       (double)(b.chunks - a.chunks) / client, (double)(b.home - a.home) / client,
	       (double)(b.map - a.map) / client, (double)l->latency.count / (double)l->records,
	       client / MIB, (double)(rig_now(g) - began) / 1e9, bar,
	       total <= bar ? "met" : "NOT MET");
	fflush(stdout);
}

void rig_opts_make(const struct bench *b, const char *name, struct rig_opts *ret)
{
	static char path[2][4096];
	static uint32_t turn;
	char *p = path[turn++ % 2];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", b->dir, name);
	*ret = (struct rig_opts){.path = p,
				 .store_bytes =
					 (b->history_s != 0 ? 37 : 13) * GIB / b->scale +
					 GIB / 4, /* anchors: a chunk for each block redirected */
				 .volume_bytes = 8 * GIB / b->scale,
				 .memory_bytes = 512 * MIB,
				 .journal_percent = 25,
				 .history_ns = b->history_s * SEC_NS};
}

uint64_t next_sequential(void *ctx)
{
	struct place *p = ctx;
	uint64_t at = p->at;

	p->at = (p->at + p->step) % p->blocks;
	return at;
}

uint64_t next_uniform(void *ctx)
{
	struct place *p = ctx;

	return rig_random(p->g) % p->blocks;
}

void case_write_seq(struct bench *b)
{
	struct rig_opts o;
	struct rig g;
	struct place p = {.step = 256};
	struct rig_load l = {.depth = 8, .blocks = 256, .next = next_sequential, .ctx = &p};

	rig_opts_make(b, "store", &o);
	rig_make(&g, &o);
	p.blocks = o.volume_bytes / BLOCK_BYTES;
	l.bytes = o.volume_bytes / 2;
	amplification(&g, &l, "1 MiB sequential", 1.05);
	p.at = 0;
	amplification(&g, &l, "1 MiB sequential, written over", 1.05);
	rig_close(&g);
	unlink(o.path);
}

void case_write_zipf(struct bench *b)
{
	struct rig_opts o;
	struct rig g;
	struct zipf z;
	struct rig_load l = {.depth = 32,
			     .blocks = 1,
			     .next = next_zipf,
			     .ctx = &z,
			     .per_record = b->per_record};

	rig_opts_make(b, "store", &o);
	rig_make(&g, &o);
	zipf_init(&z, &g, o.volume_bytes / BLOCK_BYTES, 1.2);
	l.bytes = o.volume_bytes / 2;
	amplification(&g, &l, "4 KiB random, zipf 1.2, depth 32", 1.9);
	rig_close(&g);
	unlink(o.path);
}

void fill(struct rig *g, uint64_t bytes)
{
	struct place p = {.step = 256, .blocks = g->o.volume_bytes / BLOCK_BYTES};
	struct rig_load l = {
		.depth = 8, .blocks = 256, .next = next_sequential, .ctx = &p, .bytes = bytes};

	rig_load(g, &l);
	rig_fold(g);
}

void case_write_snap(struct bench *b)
{
	struct rig_opts o;
	struct rig g;
	struct uuid u;
	struct place p = {.g = &g};
	struct rig_load l = {.depth = 32,
			     .blocks = 1,
			     .next = next_uniform,
			     .ctx = &p,
			     .per_record = b->per_record};

	rig_opts_make(b, "store", &o);
	o.store_bytes +=
		2 * o.volume_bytes; /* a chunk for each block that is redirected; most stay holes */
	rig_make(&g, &o);
	p.blocks = o.volume_bytes / BLOCK_BYTES;
	fill(&g, o.volume_bytes);
	rig_snapshot(&g, &u);
	rig_fold(&g);
	l.bytes = o.volume_bytes / 2;
	amplification(&g, &l, "4 KiB uniform after a snapshot, depth 32", 3.2);
	rig_close(&g);
	unlink(o.path);
}

/* --- in a process of its own: its memory, and its end without a close --- */

static void in_child(struct bench *b,
		     void (*run)(struct bench *, struct rig_opts *, struct child_answer *),
		     struct rig_opts *o, struct child_answer *ret)
{
	int pipes[2], status;
	pid_t pid;

	memset(ret, 0, sizeof(*ret));
	fflush(stdout);
	if (pipe(pipes) < 0 || (pid = fork()) < 0)
		rig_die("process", -ERR_NOMEM);
	if (pid == 0) {
		run(b, o, ret);
		_exit(write(pipes[1], ret, sizeof(*ret)) == sizeof(*ret) ? 0 : 1);
	}
	close(pipes[1]);
	if (read(pipes[0], ret, sizeof(*ret)) != sizeof(*ret) || waitpid(pid, &status, 0) != pid ||
	    status != 0)
		rig_die("process", -ERR_IO);
	close(pipes[0]);
}

/* Content that is folded, then so much journal that is not; then the power goes. */
static void recovery_fill(struct bench *b, struct rig_opts *o, struct child_answer *ret)
{
	struct rig g;
	struct place p = {.g = &g, .blocks = o->volume_bytes / BLOCK_BYTES};
	struct rig_load l = {.depth = 32, .blocks = 1, .next = next_uniform, .ctx = &p};
	struct replica_status st;

	rig_make(&g, o);
	l.bytes = 64 * MIB / b->scale;
	rig_load(&g, &l);
	rig_fold(&g);
	l.bytes = GIB / b->scale;
	rig_load(&g, &l);
	replica_status(g.r, &st);
	ret->a = st.tail.v - st.fold.v;
}

static void recovery_open(struct bench *b, struct rig_opts *o, struct child_answer *ret)
{
	struct store_status st;
	struct rig g;

	ret->a = rig_open(&g, o);
	store_status(g.store, &st);
	ret->b = st.recovery_read_bytes;
}

void case_recovery(struct bench *b)
{
	struct rig_opts o[2];
	struct child_answer c;
	double seconds[2][TURNS_MAX], ratio[TURNS_MAX];

	for (uint32_t i = 0; i < 2; i++) {
		rig_opts_make(b, i == 0 ? "small" : "large", &o[i]);
		o[i].volume_bytes = i == 0 ? GIB : 4096 * GIB;
		o[i].memory_bytes = 2 * GIB / b->scale + 256 * MIB;
		o[i].fold_idle_ms = 3600 * 1000;
		in_child(b, recovery_fill, &o[i], &c);
		printf("recovery, volume of %" PRIu64 " GiB: %" PRIu64
		       " MiB of journal above the fold\n",
		       o[i].volume_bytes / GIB, c.a / MIB);
	}
	for (uint32_t t = 0; t < b->turns; t++) {
		for (uint32_t k = 0; k < 2; k++) {
			uint32_t i = (k + t) % 2;

			in_child(b, recovery_open, &o[i], &c);
			seconds[i][t] = (double)c.a / 1e9;
		}
		ratio[t] = seconds[1][t] / seconds[0][t];
	}
	ratio_print("recovery, 1 GiB volume, seconds", seconds[0], b->turns, 3);
	ratio_print("recovery, 4 TiB volume, seconds", seconds[1], b->turns, 3);
	ratio_print("recovery, 4 TiB beside 1 GiB", ratio, b->turns, 1.3);
	unlink(o[0].path);
	unlink(o[1].path);
}

static uint64_t memory_peak(void)
{
	char line[256];
	uint64_t kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = strtoull(line + 6, NULL, 10);
	if (f != NULL)
		fclose(f);
	return kib * 1024;
}

static void memory_run(struct bench *b, struct rig_opts *o, struct child_answer *ret)
{
	struct rig g;
	struct place p = {.g = &g, .blocks = o->volume_bytes / BLOCK_BYTES};
	struct rig_load l = {.depth = 32, .blocks = 1, .next = next_uniform, .ctx = &p};

	rig_make(&g, o);
	l.bytes = GIB / b->scale;
	rig_load(&g, &l);
	rig_fold(&g);
	rig_close(&g);
	ret->a = memory_peak();
	ret->b = l.written;
}

void case_memory(struct bench *b)
{
	struct child_answer c;
	struct rig_opts o;

	rig_opts_make(b, "store", &o);
	o.store_bytes = 64 * GIB; /* each block takes a chunk; the file has holes */
	o.volume_bytes = 4096 * GIB;
	o.memory_bytes = 128 * MIB;
	o.journal_percent = 5;
	in_child(b, memory_run, &o, &c);
	printf("4 TiB volume, %" PRIu64 " MiB of random 4 KiB writes, memory of %" PRIu64
	       " MiB: peak of the whole process %" PRIu64 " MiB: %s\n",
	       c.b / MIB, o.memory_bytes / MIB, c.a / MIB,
	       c.a <= o.memory_bytes ? "met" : "NOT MET");
	unlink(o.path);
}

/* --- --- */

static int usage(void)
{
	fprintf(stderr, "usage: store_bench DIR [--turns N] [--scale N] [--per-record N] "
			"[--history SECONDS] [CASE...]\ncases:");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		fprintf(stderr, " %s", cases[i].name);
	fprintf(stderr, "\n");
	return 2;
}

static bool is_wanted(int argc, char **argv, const char *name)
{
	bool any = false;

	for (int i = 2; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) == 0) {
			i++;
			continue;
		}
		any = true;
		if (strcmp(argv[i], name) == 0)
			return true;
	}
	return !any;
}

int main(int argc, char **argv)
{
	struct bench b = {.turns = 5, .scale = 1};

	if (argc < 2 || argv[1][0] == '-')
		return usage();
	b.dir = argv[1];
	for (int i = 2; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--turns") == 0)
			b.turns = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--scale") == 0)
			b.scale = strtoull(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--per-record") == 0)
			b.per_record = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--history") == 0)
			b.history_s = strtoull(argv[i + 1], NULL, 10);
	}
	if (b.turns == 0 || b.turns > TURNS_MAX || b.scale == 0 || b.scale > 64)
		return usage();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (is_wanted(argc, argv, cases[i].name))
			cases[i].run(&b);
	return 0;
}
