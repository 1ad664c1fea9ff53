/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/grow.c
 * Purpose.     Make a store larger while it works: its file is enlarged, or its device is larger already.
 * Invariants.  GR1 A file is written once from end to end before the store counts on it: later no write
 *                  fails because the file system is full.
 *              GR2 One superblock write makes it so: until then the checkpoint knows only the old size, and
 *                  nothing is taken from what is new (space.c S5).
 *              GR3 The signposts are durable before a superblock says that the disk has grown.
 * States.      EXTEND -> FILL (a thin disk) -> FLUSH -> POSTS -> TURN -> CHECKPOINT -> END.
 * Ownership.   The store owns the one growth; it is freed with the store, its outcome stays to be asked.
 * Failure.     Before TURN nothing of the store has changed: told, and may be tried again.  A failed
 *              checkpoint has failed the store.
 * Limits.      One at a time; FILL_BYTES in flight, and as long a pause after each write as it took.
 */
#include "engine/store/grow.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/fold.h"

#define FILL_BYTES (1u << 20)
#define PAUSE_NS_MAX (100 * MS_NS)
#define WAIT_PART 1u
#define WAIT_TIMER 2u

enum growing_phase {
	GROWING_EXTEND,
	GROWING_FILL,
	GROWING_FLUSH,
	GROWING_POSTS,
	GROWING_TURN,
	GROWING_CHECKPOINT,
	GROWING_END
};

struct growing {
	struct op op;
	struct store *s;
	enum growing_phase phase;
	struct store_growth growth;
	struct disk_req req;
	struct completion part;
	struct timer timer;
	struct fold_turn turn;
	struct op *closer;
	struct mono_ns started;
	uint8_t *zeroes; /* FILL_BYTES, aligned; NULL: nothing to fill */
};

static void growing_step(struct op *op);
static int phase_step(struct growing *g);
static int extended(struct growing *g);
static int fill_step(struct growing *g);
static void growing_turn(struct fold_turn *t);
static void growing_end(struct growing *g, int rc);

int store_grow(struct store *s, uint64_t bytes)
{
	struct growing *g = s->growing;
	uint64_t now = super_disk_bytes(supers_content(s->supers));

	if (s->failed || s->closing)
		return s->failed ? -ERR_FAILED : -ERR_CLOSED;
	if (s->opts.read_only)
		return -ERR_READONLY;
	if (g != NULL && g->growth.busy)
		return bytes == g->growth.asked ? 0 : -ERR_BUSY;
	if (bytes % BLOCK_BYTES != 0 || (bytes != 0 && bytes < now) || bytes > (uint64_t)1 << 56)
		return -ERR_INVALID;
	growing_free(s);
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return -ERR_NOMEM;
	s->growing = g;
	g->s = s;
	g->growth = (struct store_growth){.busy = true, .asked = bytes, .from = now, .to = bytes};
	op_init(&g->op, s->env->ready, growing_step);
	if (bytes == now) { /* it is so already */
		g->phase = GROWING_END;
		g->growth.busy = false;
		return 0;
	}
	g->req.off = 0;
	completion_arm(&g->req.done, &g->op, WAIT_PART);
	disk_io(s->disk, &g->req, DISK_EXTEND, 0, 0, NULL, bytes);
	return 0;
}

void store_growth(const struct store *s, struct store_growth *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->growing != NULL)
		*ret = s->growing->growth;
	ret->ended = s->growths;
}

void growing_free(struct store *s)
{
	struct growing *g = s->growing;

	s->growing = NULL;
	if (g == NULL)
		return;
	assert(s->abandoned || !g->growth.busy);
	if (!s->abandoned)
		op_unqueue(&g->op);
	free(g->zeroes);
	free(g);
}

void growing_stop(struct store *s)
{
	struct growing *g = s->growing;

	if (g == NULL || !g->growth.busy)
		return;
	if (timer_armed(&g->timer))
		clock_timer_disarm(s->env->clock, &g->timer);
	op_wake(&g->op);
}

bool growing_is_idle(struct store *s, struct op *op)
{
	struct growing *g = s->growing;

	if (g == NULL || !g->growth.busy)
		return true;
	g->closer = op;
	growing_stop(s);
	return false;
}

static void growing_step(struct op *op)
{
	struct growing *g = container_of(op, struct growing, op);
	struct store *s = g->s;
	int rc = 0;

	if (g->phase == GROWING_TURN && s->failed && list_linked(&g->turn.link)) {
		list_remove(&g->turn.link); /* the worker takes no turn any more */
		completion_fire(&g->part, -ERR_FAILED);
	}
	if (op->waits != 0 || g->phase == GROWING_END)
		return; /* wait: the part, or the pause */
	if (s->failed)
		rc = -ERR_FAILED;
	else if (s->closing && g->phase < GROWING_TURN)
		rc = -ERR_CLOSED;
	while (rc == 0)
		rc = phase_step(g);
	if (rc != 1)
		growing_end(g, rc < 0 ? rc : 0);
}

/* 0: the next phase; 1: wait; 2: done; or an error. */
static int phase_step(struct growing *g)
{
	struct store *s = g->s;

	switch (g->phase) {
	case GROWING_EXTEND:
		return extended(g);
	case GROWING_FILL:
		return fill_step(g);
	case GROWING_FLUSH:
		if (g->req.done.rc < 0)
			return g->req.done.rc;
		g->phase = GROWING_POSTS;
		completion_arm(&g->part, &g->op, WAIT_PART);
		supers_signpost(s->supers, g->growth.to, &g->part);
		return 1; /* wait: GR3 */
	case GROWING_POSTS:
		if (g->part.rc < 0)
			return g->part.rc;
		g->phase = GROWING_TURN;
		g->turn.turn = growing_turn;
		completion_arm(&g->part, &g->op, WAIT_PART);
		fold_want_turn(s->fold, &g->turn);
		return 1; /* wait: no checkpoint is under way */
	case GROWING_TURN:
		if (g->part.rc < 0)
			return g->part.rc;
		g->phase = GROWING_CHECKPOINT;
		completion_arm(&g->part, &g->op, WAIT_PART);
		fold_want_checkpoint(s->fold, &g->part);
		return 1; /* wait: GR2 */
	case GROWING_CHECKPOINT:
		return g->part.rc < 0 ? g->part.rc : 2;
	case GROWING_END:
		break;
	}
	UNREACHABLE("growing phase");
}

static void flush_start(struct growing *g)
{
	g->phase = GROWING_FLUSH;
	completion_arm(&g->req.done, &g->op, WAIT_PART);
	disk_io(g->s->disk, &g->req, DISK_FLUSH, 0, 0, NULL, 0);
}

static int extended(struct growing *g)
{
	struct store *s = g->s;
	uint64_t segment = space_segment_bytes(s->space);

	if (g->req.done.rc < 0)
		return g->req.done.rc;
	if (g->growth.to == 0)
		g->growth.to = s->disk->bytes;
	assert(g->growth.to <= s->disk->bytes);
	if (grown_segment_count(g->growth.to, segment) <= space_segment_count(s->space))
		return -ERR_RANGE;
	if (!s->disk->thin) {
		flush_start(g);
		return 1;
	}
	g->zeroes = aligned_alloc(BLOCK_BYTES, FILL_BYTES);
	if (g->zeroes == NULL)
		return -ERR_NOMEM;
	memset(g->zeroes, 0, FILL_BYTES);
	g->phase = GROWING_FILL;
	g->req.done.rc = 0;
	g->req.bytes = 0; /* nothing was written yet */
	return 0;
}

/* A write, a pause, a write ...  GR1 */
static int fill_step(struct growing *g)
{
	struct clock *clock = g->s->env->clock;
	uint64_t at = g->growth.from + g->growth.written, left = g->growth.to - at;
	uint64_t pause = clock_now(clock).v - g->started.v;

	if (g->req.done.rc < 0)
		return g->req.done.rc;
	if (g->req.bytes != 0) {
		g->growth.written += g->req.bytes;
		g->req.bytes = 0;
		g->timer.deadline.v =
			clock_now(clock).v + (pause < PAUSE_NS_MAX ? pause : PAUSE_NS_MAX);
		completion_arm(&g->timer.done, &g->op, WAIT_TIMER);
		clock_timer_arm(clock, &g->timer);
		return 1; /* wait: who writes data goes first */
	}
	if (left == 0) {
		flush_start(g);
		return 1; /* wait: the size of the file, too */
	}
	g->started = clock_now(clock);
	completion_arm(&g->req.done, &g->op, WAIT_PART);
	disk_io(g->s->disk, &g->req, DISK_WRITE, 0, at, g->zeroes,
		left < FILL_BYTES ? left : FILL_BYTES);
	return 1; /* wait: the write */
}

/* In the worker's turn: nothing is folded or captured now. */
static void growing_turn(struct fold_turn *t)
{
	struct growing *g = container_of(t, struct growing, turn);
	struct store *s = g->s;
	int rc = s->failed ? -ERR_FAILED : space_grow(s->space, g->growth.to);

	if (rc == 0)
		s->cache->opts.disk_bytes = g->growth.to;
	completion_fire(&g->part, rc);
}

static void growing_end(struct growing *g, int rc)
{
	struct store *s = g->s;

	g->phase = GROWING_END;
	g->growth.busy = false;
	g->growth.rc = rc;
	s->growths++;
	free(g->zeroes);
	g->zeroes = NULL;
	if (rc == 0)
		log_info(s->env->log, "store", "%s has grown from %" PRIu64 " to %" PRIu64 " MiB",
			 s->disk->name, g->growth.from >> 20, g->growth.to >> 20);
	else
		log_warn(s->env->log, "store", "%s does not grow: %s", s->disk->name,
			 rc == -ERR_RANGE ? "not one segment more is there" : err_text(rc));
	if (g->closer != NULL)
		op_wake(g->closer);
	fold_kick(s->fold);
}
