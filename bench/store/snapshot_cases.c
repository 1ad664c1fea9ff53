/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/store/snapshot_cases.c
 * Purpose.     What snapshots cost: differences between two of them, reads under many, writes while one is
 *              made.
 * Limits.      Volumes have holes: 1 TiB with 2 GiB in it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/store/cases.h"
#include "engine/base/err.h"
#include "engine/uring/disk.h"
#include "proto/store.h"

#define READS_MAX 32u
#define RUN_BLOCKS 256u
#define RUNS 1024u
#define SNAPS 100u
#define TURN_NS (2 * SEC_NS)
#define WINDOW_NS (SEC_NS / 2)

static void reads_step(struct op *op)
{
	/* wait: whoever turns the loop looks */
}

/* Reads in flight, of a snapshot or, if that is NULL, of the live content. */
struct reads {
	struct rig *g;
	struct snapshot *snap;
	struct op op;
	uint32_t depth;
	uint32_t begun; /* a bit for each slot that was used */
	struct replica_read rd[READS_MAX];
	uint8_t *data;
};

static void reads_init(struct reads *x, struct rig *g, struct snapshot *snap, uint32_t depth)
{
	memset(x, 0, sizeof(*x));
	x->g = g;
	x->snap = snap;
	x->depth = depth;
	x->data = aligned_alloc(BLOCK_BYTES, (size_t)depth * IO_BYTES_MAX);
	if (x->data == NULL)
		rig_die("reads", -ERR_NOMEM);
	op_init(&x->op, g->env->ready, reads_step);
}

static void reads_end(struct reads *x)
{
	while (x->op.waits != 0)
		rig_turn(x->g);
	for (uint32_t i = 0; i < x->depth; i++)
		rig_check((x->begun & 1u << i) != 0 ? x->rd[i].done.rc : 0, "read");
	x->begun = 0;
}

static void reads_fini(struct reads *x)
{
	reads_end(x);
	op_unqueue(&x->op);
	free(x->data);
}

static void reads_put(struct reads *x, uint64_t block, uint32_t count)
{
	uint32_t all = (uint32_t)((1ull << x->depth) - 1), i;
	struct replica_read *rd;

	while ((x->op.waits & all) == all)
		rig_turn(x->g);
	i = (uint32_t)__builtin_ctz(~x->op.waits);
	rd = &x->rd[i];
	if ((x->begun & 1u << i) != 0)
		rig_check(rd->done.rc, "read");
	x->begun |= 1u << i;
	memset(rd, 0, sizeof(*rd));
	rd->block = block;
	rd->count = count;
	rd->data = x->data + (size_t)i * IO_BYTES_MAX;
	completion_arm(&rd->done, &x->op, 1u << i);
	if (x->snap != NULL)
		snapshot_read(x->snap, rd);
	else
		replica_read(x->g->r, rd);
}

static struct snapshot *snap_open(struct rig *g, const struct uuid *u)
{
	struct snapshot *snap = NULL;
	struct completion done;

	replica_snapshot_open(g->r, u, &snap, rig_arm(g, &done));
	rig_check(rig_wait(g, &done), "snapshot");
	return snap;
}

/* Two snapshots in a store that was opened just now: nothing of its maps is in memory. */
struct pair {
	struct rig g;
	struct rig_opts o;
	struct uuid from, to;
};

static void pair_snapshot(struct pair *p, struct uuid *ret)
{
	rig_snapshot(&p->g, ret);
	rig_fold(&p->g);
}

struct walk {
	uint64_t data_blocks, runs, pages, ns;
};

/* The difference, and, if wanted, the content that a copy of it would need. */
static void pair_walk(struct pair *p, bool reading, struct walk *ret)
{
	struct snapshot_delta *d = calloc(1, sizeof(*d));
	struct reads x;
	uint64_t began;

	if (d == NULL)
		rig_die("delta", -ERR_NOMEM);
	(void)rig_open(&p->g, &p->o);
	d->from = snap_open(&p->g, &p->from);
	d->to = snap_open(&p->g, &p->to);
	reads_init(&x, &p->g, d->to, 8);
	memset(d->volume.b, 1, sizeof(d->volume.b));
	memset(ret, 0, sizeof(*ret));
	began = rig_now(&p->g);
	while (!d->end) {
		rig_arm(&p->g, &d->done);
		snapshot_delta(d);
		rig_check(rig_wait(&p->g, &d->done), "delta");
		ret->runs += d->run_count;
		for (uint32_t i = 0; i < d->run_count; i++) {
			const struct delta_run *r = &d->runs[i];

			ret->data_blocks += r->kind == DELTA_DATA ? r->count : 0;
			for (uint64_t k = 0; reading && k < r->count; k += RUN_BLOCKS)
				reads_put(&x, r->block + k,
					  (uint32_t)(r->count - k < RUN_BLOCKS ? r->count - k
									       : RUN_BLOCKS));
		}
	}
	reads_end(&x);
	ret->ns = rig_now(&p->g) - began;
	ret->pages = d->pages_read;
	reads_fini(&x);
	replica_snapshot_close(&d->from);
	replica_snapshot_close(&d->to);
	rig_close(&p->g);
	free(d);
}

/* What the disk gives: as much of the very same file, which is then as warm or as cold wherever it is kept, in
 * one run by 1 MiB at depth 8. */
static uint64_t raw_ns(struct pair *p, uint64_t bytes)
{
	uint64_t skip = (p->o.store_bytes / 4 + 64 * MIB) / MIB * MIB; /* behind the journal */
	struct disk_req reqs[8];
	struct reads x;
	uint64_t began;

	(void)rig_open(&p->g, &p->o);
	reads_init(&x, &p->g, NULL, 8);
	began = rig_now(&p->g);
	for (uint64_t at = 0; at < bytes; at += IO_BYTES_MAX) {
		uint32_t i;

		while ((x.op.waits & 255) == 255)
			rig_turn(&p->g);
		i = (uint32_t)__builtin_ctz(~x.op.waits);
		completion_arm(&reqs[i].done, &x.op, 1u << i);
		disk_io(&p->g.disk.disk, &reqs[i], DISK_READ, 0, skip + at,
			x.data + (size_t)i * IO_BYTES_MAX, IO_BYTES_MAX);
	}
	while (x.op.waits != 0)
		rig_turn(&p->g);
	began = rig_now(&p->g) - began;
	reads_fini(&x);
	rig_close(&p->g);
	return began;
}

static void pair_make(struct bench *b, struct pair *p, const char *name, uint64_t volume)
{
	struct place at = {.g = &p->g, .step = volume / BLOCK_BYTES / RUNS};
	struct rig_load l = {.depth = 8, .blocks = RUN_BLOCKS, .next = next_sequential, .ctx = &at};

	rig_opts_make(b, name, &p->o);
	p->o.volume_bytes = volume;
	p->o.store_bytes = 6 * GIB;
	at.blocks = volume / BLOCK_BYTES;
	l.bytes = (uint64_t)RUNS * RUN_BLOCKS * BLOCK_BYTES;
	rig_make(&p->g, &p->o);
	at.at = RUN_BLOCKS; /* neighbours, which do not change */
	rig_load(&p->g, &l);
	at.at = 0;
	rig_load(&p->g, &l);
	pair_snapshot(p, &p->from);
	at.at = 0;
	rig_load(&p->g, &l);
	pair_snapshot(p, &p->to);
	rig_close(&p->g);
}

void case_delta(struct bench *b)
{
	static struct pair p[2];
	double ratio[99], raw[99];
	struct walk w[2] = {0};
	uint64_t ns = 0, bytes = 0;

	pair_make(b, &p[0], "small", 8 * GIB);
	pair_make(b, &p[1], "large", 1024 * GIB);
	for (uint32_t t = 0; t < b->turns; t++) {
		for (uint32_t k = 0; k < 3; k++) {
			uint32_t i = (k + t) % 3;

			if (i == 2)
				ns = raw_ns(&p[1], GIB);
			else
				pair_walk(&p[i], true, &w[i]);
		}
		bytes = w[1].data_blocks * BLOCK_BYTES;
		ratio[t] = (double)w[1].ns / (double)w[0].ns;
		raw[t] = (double)w[1].ns / (double)bytes / ((double)ns / (double)GIB);
	}
	printf("delta: %" PRIu64 " and %" PRIu64 " runs, %" PRIu64 " and %" PRIu64 " MiB, %" PRIu64
	       " and %" PRIu64 " pages read, %.0f MB/s\n",
	       w[0].runs, w[1].runs, w[0].data_blocks / 256, w[1].data_blocks / 256, w[0].pages,
	       w[1].pages, (double)bytes * 1e3 / (double)w[1].ns);
	ratio_print("delta of 1 GiB, read: in 1 TiB beside in 8 GiB", ratio, b->turns, 1.2);
	ratio_print("delta of 1 GiB: sequential read speed of the disk beside it", raw, b->turns,
		    2);
	unlink(p[0].o.path);
	unlink(p[1].o.path);
}

static int block_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Distinct leaves of these sorted blocks and their distinct ancestors up to the root. */
static uint64_t pages_of(const uint64_t *blocks, uint32_t n, uint64_t volume_blocks)
{
	uint64_t pages = 0, unit = LEAF_BLOCKS;

	for (;; unit *= MAP_FAN) {
		for (uint32_t i = 0; i < n; i++)
			pages += i == 0 || blocks[i] / unit != blocks[i - 1] / unit;
		if (unit >= volume_blocks)
			return pages;
	}
}

struct listed {
	const uint64_t *blocks;
	uint32_t at;
};

static uint64_t next_listed(void *ctx)
{
	struct listed *x = ctx;

	return x->blocks[x->at++];
}

static void delta_random(struct bench *b, uint64_t volume)
{
	static uint64_t blocks[4096];
	static struct pair p;
	struct rig_load l = {.depth = 32, .blocks = 1, .next = next_listed};
	struct listed at = {.blocks = blocks};
	uint64_t want;
	struct walk w;

	rig_opts_make(b, "store", &p.o);
	p.o.volume_bytes = volume;
	p.o.store_bytes = 6 * GIB;
	rig_make(&p.g, &p.o);
	for (uint32_t i = 0; i < 4096; i++)
		blocks[i] = rig_random(&p.g) % (volume / BLOCK_BYTES);
	l.ctx = &at;
	l.bytes = 4096 * BLOCK_BYTES;
	rig_load(&p.g, &l);
	pair_snapshot(&p, &p.from);
	at.at = 0;
	l.bytes = 1024 * BLOCK_BYTES; /* a quarter of what is there changes */
	rig_load(&p.g, &l);
	pair_snapshot(&p, &p.to);
	rig_close(&p.g);
	qsort(blocks, 1024, sizeof(*blocks), block_compare);
	want = 2 * pages_of(blocks, 1024, volume / BLOCK_BYTES); /* of both trees */
	pair_walk(&p, false, &w);
	unlink(p.o.path);
	printf("delta of 1024 random blocks in %" PRIu64 " GiB: %" PRIu64 " pages read, %" PRIu64
	       " changed leaves and ancestors of both trees, %.3f; at most 1.10: %s\n",
	       volume / GIB, w.pages, want, (double)w.pages / (double)want,
	       (double)w.pages <= 1.1 * (double)want ? "met" : "NOT MET");
	fflush(stdout);
}

void case_delta_random(struct bench *b)
{
	delta_random(b, 8 * GIB);
	delta_random(b, 1024 * GIB);
}

static uint64_t reads_ns(struct rig *g, uint32_t count)
{
	uint64_t began, blocks = g->o.volume_bytes / BLOCK_BYTES;
	struct reads x;

	reads_init(&x, g, NULL, 31);
	began = rig_now(g);
	for (uint32_t i = 0; i < count; i++)
		reads_put(&x, rig_random(g) % blocks, 1);
	reads_end(&x);
	began = rig_now(g) - began;
	reads_fini(&x);
	return began;
}

void case_read_snaps(struct bench *b)
{
	static struct rig g[2];
	struct rig_opts o[2];
	double ratio[99];
	uint64_t ns[2] = {0};
	uint32_t count = (uint32_t)(20000 / b->scale);

	for (uint32_t k = 0; k < 2; k++) {
		struct place p = {.g = &g[k]};
		struct rig_load l = {.depth = 32, .blocks = 1, .next = next_uniform, .ctx = &p};
		struct uuid u;

		rig_opts_make(b, k == 0 ? "none" : "many", &o[k]);
		o[k].volume_bytes = 2 * GIB / b->scale;
		o[k].store_bytes = 8 * o[k].volume_bytes + GIB; /* each write takes a chunk */
		rig_make(&g[k], &o[k]);
		p.blocks = o[k].volume_bytes / BLOCK_BYTES;
		fill(&g[k], o[k].volume_bytes);
		l.bytes = o[k].volume_bytes / 4 / SNAPS;
		for (uint32_t i = 0; i < SNAPS; i++) {
			rig_load(&g[k], &l);
			if (k == 1)
				rig_snapshot(&g[k], &u);
			rig_settle(&g[k]);
			if (replica_snapshots_unpinned(g[k].r) >= SNAPSHOTS_UNPINNED_MAX - 1)
				rig_fold(&g[k]);
		}
		rig_fold(&g[k]);
	}
	for (uint32_t t = 0; t < b->turns; t++) {
		for (uint32_t k = 0; k < 2; k++)
			ns[(k + t) % 2] = reads_ns(&g[(k + t) % 2], count);
		ratio[t] = (double)ns[1] / (double)ns[0];
	}
	printf("4 KiB random reads, depth 31, without snapshots: %.0f a second\n",
	       count * 1e9 / (double)ns[0]);
	ratio_print("the same under 100 snapshots, time beside none", ratio, b->turns, 1.1);
	for (uint32_t k = 0; k < 2; k++) {
		rig_close(&g[k]);
		unlink(o[k].path);
	}
}

/* The worst write from the middle of a turn, where a snapshot is made or not, for WINDOW_NS. */
struct moment {
	struct place p; /* first: it is next_uniform's ctx, too */
	uint64_t begin, worst_ns;
	bool snapshot, open, closed;
};

static void moment_look(struct rig_load *l, void *ctx)
{
	struct moment *m = ctx;
	uint64_t now = rig_now(m->p.g);
	struct uuid u;

	if (!m->open && now >= m->begin && m->p.g->stuck == NULL) {
		if (m->snapshot)
			rig_snapshot(m->p.g, &u);
		m->open = true;
		m->begin = now;
		l->worst_ns = 0;
	}
	if (m->open && !m->closed && now >= m->begin + WINDOW_NS) {
		m->worst_ns = l->worst_ns;
		m->closed = true;
	}
}

static void moment_turn(struct rig *g, bool snapshot, double *ret_worst, double *ret_p999)
{
	struct moment m = {.p = {.g = g, .blocks = g->o.volume_bytes / BLOCK_BYTES},
			   .begin = rig_now(g) + TURN_NS / 2,
			   .snapshot = snapshot};
	struct rig_load l = {
		.depth = 8, .blocks = 1, .next = next_uniform, .ctx = &m, .look = moment_look};

	l.until = rig_now(g) + TURN_NS;
	rig_load(g, &l);
	*ret_worst = (double)(m.closed ? m.worst_ns : l.worst_ns) / 1e6;
	*ret_p999 = (double)hist_quantile_ns(&l.latency, 999000) / 1e6;
	rig_fold(g);
}

void case_write_latency(struct bench *b)
{
	double worst[2][99], p999[2][99], beside[99], ratio[99];
	struct rig_opts o;
	struct rig g;

	rig_opts_make(b, "store", &o);
	o.volume_bytes = 2 * GIB / b->scale;
	o.store_bytes = (b->turns + 4) * o.volume_bytes + GIB;
	rig_make(&g, &o);
	fill(&g, o.volume_bytes);
	for (uint32_t t = 0; t < b->turns; t++) {
		for (uint32_t k = 0; k < 2; k++) {
			uint32_t i = (k + t) % 2;

			moment_turn(&g, i == 1, &worst[i][t], &p999[i][t]);
		}
		ratio[t] = worst[1][t] / p999[0][t];
		beside[t] = worst[0][t] / p999[0][t];
	}
	printf("4 KiB random writes, depth 8: p99.9 %.2f ms, worst of half a second %.2f ms, with a "
	       "snapshot %.2f ms (medians)\n",
	       median(p999[0], b->turns), median(worst[0], b->turns), median(worst[1], b->turns));
	ratio_print("worst of half a second without a snapshot beside p99.9", beside, b->turns, 2);
	ratio_print("worst of half a second with a snapshot beside p99.9 without", ratio, b->turns,
		    2);
	rig_close(&g);
	unlink(o.path);
}
