/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/scrub.c
 * Purpose.     Read everything before somebody needs it: bad sectors are found while a peer has the data.
 * Invariants.  SC1 It reads only through replica_read, so every rule of reads holds: a block is called bad
 *                  when it was wrong twice at one place (D3), what a peer gives is checked (D4, R1) and
 *                  written where the block still is (R2).
 *              SC2 A run of blocks is read without asking anybody; only when it is not right is it read
 *                  again block by block, with repair, and never faster than blocks are written again: none
 *                  is dropped by the bounded queue of rewrites, and each is counted once.
 *              SC3 The replica is held only while something of it is in flight; between two runs it may
 *                  be deleted or switched, and is looked up again.
 *              SC4 Holes cost what the map's pages cost, not what the volume's size is.  What is in the
 *                  journal alone under such a hole is left to fold, which reads it soon.
 *              SC5 At the end the superblocks (a checkpoint writes all copies and reads them back) and
 *                  both slots of the floors are written anew, so that lost copies are there again.
 * States.      LOOK -> LEAF -> (RUN -> READ -> RUN)* -> LOOK ... -> DRAIN -> SUPERS -> FLOORS -> FLOORS
 *              -> done.  PAUSE between runs.
 * Ownership.   The request is the caller's; one buffer of RUN_BYTES from start to done.
 * Failure.     A map page that cannot be read is counted and passed over; after PAGES_BAD_MAX of a volume
 *              the rest of that volume is.
 * Limits.      One pass at a time, one read in flight.
 */
#include "engine/store/scrub.h"

#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/store/fold.h"
#include "engine/store/map_edit.h"
#include "engine/store/replica.h"
#include "engine/store/rewrite.h"

#define RUN_BLOCKS 256u
#define RUN_BYTES (RUN_BLOCKS * BLOCK_BYTES)
#define PAGES_BAD_MAX 64u
#define TRIES_MAX 1000u /* pauses of WAIT_NS for memory, for rewrites */
#define WAIT_NS (10 * MS_NS)
#define WAIT_PART 1u
#define WAIT_TIMER 2u

enum scrub_phase {
	SCRUB_LOOK,
	SCRUB_LEAF,
	SCRUB_RUN,
	SCRUB_READ,
	SCRUB_DRAIN,
	SCRUB_SUPERS,
	SCRUB_FLOORS,
};

struct scrub {
	struct op op;
	struct store *s;
	struct store_scrub *q; /* NULL: none under way */
	struct op *closer;
	enum scrub_phase phase;
	bool stopping;
	uint64_t bytes_s;
	struct mono_ns due; /* no run before */
	struct timer timer;
	uint32_t tries;

	struct replica *r; /* held: SC3 */
	uint32_t volume;
	uint64_t leaf_no;
	uint32_t at;	 /* next block of the leaf */
	uint32_t single; /* blocks that are read one by one: SC2 */
	uint32_t pages_bad;
	uint32_t floors; /* slots written */
	struct replica_allocated allocated;
	struct replica_read read;
	struct completion part;
	uint8_t *data;
};

static void scrub_step(struct op *op);
static void let_go(struct scrub *x);
static int phase_step(struct scrub *x);
static int look(struct scrub *x);
static int leaf_known(struct scrub *x);
static int run_start(struct scrub *x);
static int run_ended(struct scrub *x);
static int supers_step(struct scrub *x);
static int pause_until(struct scrub *x, uint64_t ns);
static void scrub_end(struct scrub *x, int rc);

int scrub_open(struct store *s, struct scrub **ret)
{
	struct scrub *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return -ERR_NOMEM;
	x->s = s;
	op_init(&x->op, s->env->ready, scrub_step);
	*ret = x;
	return 0;
}

void scrub_close(struct scrub **xp, bool abandoned)
{
	struct scrub *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	assert(abandoned || x->q == NULL);
	if (!abandoned)
		op_unqueue(&x->op);
	free(x->data);
	free(x);
}

int store_scrub_start(struct store *s, struct store_scrub *q, uint64_t bytes_s)
{
	struct scrub *x = s->scrub;

	assert(completion_armed(&q->done));
	if (x->q != NULL)
		return -ERR_BUSY;
	x->data = aligned_alloc(BLOCK_BYTES, RUN_BYTES);
	if (x->data == NULL)
		return -ERR_NOMEM;
	q->result = (struct scrub_result){0};
	x->q = q;
	x->phase = SCRUB_LOOK;
	x->stopping = false;
	x->due.v = 0;
	x->tries = x->volume = x->at = x->single = x->pages_bad = x->floors = 0;
	x->leaf_no = 0;
	store_scrub_pace(s, bytes_s);
	op_wake(&x->op);
	return 0;
}

void store_scrub_pace(struct store *s, uint64_t bytes_s)
{
	s->scrub->bytes_s = bytes_s > SCRUB_BYTES_S_MIN ? bytes_s : SCRUB_BYTES_S_MIN;
}

void store_scrub_stop(struct store *s)
{
	struct scrub *x = s->scrub;

	if (x->q == NULL || x->stopping)
		return;
	x->stopping = true;
	if (timer_armed(&x->timer))
		clock_timer_disarm(s->env->clock, &x->timer);
	op_wake(&x->op);
}

bool scrub_is_idle(struct store *s, struct op *op)
{
	if (s->scrub->q == NULL)
		return true;
	s->scrub->closer = op;
	store_scrub_stop(s);
	return false;
}

static void scrub_step(struct op *op)
{
	struct scrub *x = container_of(op, struct scrub, op);
	int rc = 0;

	if (op->waits != 0 || x->q == NULL)
		return; /* wait: a page, a read, the pause, a checkpoint, floors */
	let_go(x);
	if (x->s->failed)
		rc = -ERR_FAILED;
	else if (x->stopping || x->s->closing)
		rc = -ERR_CLOSED;
	while (rc == 0)
		rc = phase_step(x);
	if (rc != 1)
		scrub_end(x, rc == 2 ? 0 : rc);
}

/* 0: go on; 1: wait; 2: done; or an error. */
static int phase_step(struct scrub *x)
{
	struct store_repair_status st;

	switch (x->phase) {
	case SCRUB_LOOK:
		return look(x);
	case SCRUB_LEAF:
		return leaf_known(x);
	case SCRUB_RUN:
		return run_start(x);
	case SCRUB_READ:
		return run_ended(x);
	case SCRUB_DRAIN:
		store_repair_status(x->s, &st);
		if (st.rewrites > 0 && x->tries++ < TRIES_MAX)
			return pause_until(x, clock_now(x->s->env->clock).v + WAIT_NS);
		if (x->s->opts.read_only)
			return 2;
		x->phase = SCRUB_SUPERS;
		completion_arm(&x->part, &x->op, WAIT_PART);
		store_checkpoint(x->s, &x->part);
		return 1; /* wait: SC5 */
	case SCRUB_SUPERS:
	case SCRUB_FLOORS:
		return supers_step(x);
	}
	UNREACHABLE("scrub phase");
}

static void volume_next(struct scrub *x)
{
	x->volume++;
	x->leaf_no = 0;
	x->at = x->single = x->pages_bad = 0;
	x->phase = SCRUB_LOOK;
}

static void leaf_next(struct scrub *x)
{
	x->leaf_no++;
	x->at = x->single = 0;
	x->phase = SCRUB_LOOK;
}

/* The replica, held until what is started next has ended. */
static bool hold(struct scrub *x)
{
	x->r = replica_find(x->s, &x->q->group);
	if (x->r != NULL)
		replica_hold(x->r);
	return x->r != NULL;
}

static void let_go(struct scrub *x) /* SC3 */
{
	if (x->r != NULL)
		replica_release(x->r);
	x->r = NULL;
}

/* The next leaf that may have content. */
static int look(struct scrub *x)
{
	struct map *m;
	uint64_t blocks, first, next;

	if (x->volume >= VOLUMES_MAX) {
		let_go(x);
		x->tries = 0;
		x->phase = SCRUB_DRAIN;
		return 0;
	}
	if (x->r == NULL && !hold(x))
		return -ERR_NOT_FOUND;
	m = replica_map(x->r, x->volume);
	if (m == NULL || m->bytes == 0) {
		volume_next(x);
		return 0;
	}
	blocks = (m->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	next = map_hole_end(m, x->leaf_no); /* SC4 */
	if (next != x->leaf_no && next <= (blocks - 1) / LEAF_BLOCKS) {
		x->leaf_no = next;
		return 0;
	}
	first = x->leaf_no * LEAF_BLOCKS;
	if (next != x->leaf_no || first >= blocks) {
		volume_next(x);
		return 0;
	}
	x->allocated = (struct replica_allocated){
		.volume = x->volume,
		.block = first,
		.count = blocks - first < LEAF_BLOCKS ? (uint32_t)(blocks - first) : LEAF_BLOCKS};
	x->phase = SCRUB_LEAF;
	completion_arm(&x->allocated.done, &x->op, WAIT_PART);
	replica_allocated(x->r, &x->allocated);
	return 1; /* wait: a page */
}

static void count_bad(struct scrub *x, bool repaired)
{
	struct scrub_result *n = &x->q->result;

	n->bad++;
	n->repaired += repaired;
	n->unrepairable += !repaired;
	if (!repaired)
		counter_add(x->s->env->counters, CTR_SCRUB_UNREPAIRABLE, 1);
}

static bool is_bad(int rc)
{
	return rc == -ERR_CORRUPT || rc == -ERR_IO;
}

static bool is_gone(int rc)
{
	return rc == -ERR_NOT_FOUND || rc == -ERR_RANGE; /* the volume was deleted, or is smaller */
}

static int leaf_known(struct scrub *x)
{
	int rc = x->allocated.done.rc;

	if (rc == -ERR_NOMEM && x->tries++ < TRIES_MAX) {
		x->phase = SCRUB_LOOK;
		return pause_until(x, clock_now(x->s->env->clock).v + WAIT_NS);
	}
	x->tries = 0;
	if (is_gone(rc)) {
		volume_next(x);
		return 0;
	}
	if (is_bad(rc)) {
		count_bad(x, false);
		leaf_next(x);
		if (++x->pages_bad == PAGES_BAD_MAX)
			volume_next(x);
		return 0;
	}
	x->phase = SCRUB_RUN;
	return rc;
}

static bool is_set(const struct scrub *x, uint32_t i)
{
	return (x->allocated.map[i / 8] >> (i % 8) & 1) != 0;
}

static int run_start(struct scrub *x)
{
	uint64_t now = clock_now(x->s->env->clock).v;
	struct store_repair_status st;
	uint32_t n = 0;

	while (x->at < x->allocated.count && !is_set(x, x->at))
		x->at++;
	if (x->at >= x->allocated.count) {
		leaf_next(x);
		return 0;
	}
	if (now < x->due.v)
		return pause_until(x, x->due.v);
	store_repair_status(x->s, &st);
	if (x->single > 0 && st.rewrites >= REWRITES_MAX / 2 && x->tries++ < TRIES_MAX)
		return pause_until(x, now + WAIT_NS); /* SC2 */
	x->tries = 0;
	if (x->r == NULL && !hold(x))
		return -ERR_NOT_FOUND;
	while (n < (x->single > 0 ? 1 : RUN_BLOCKS) && x->at + n < x->allocated.count &&
	       is_set(x, x->at + n))
		n++;
	x->due.v = now + (uint64_t)n * BLOCK_BYTES * SEC_NS / x->bytes_s;
	x->read = (struct replica_read){.volume = x->volume,
					.block = x->leaf_no * LEAF_BLOCKS + x->at,
					.count = n,
					.data = x->data,
					.no_repair = x->single == 0};
	x->phase = SCRUB_READ;
	completion_arm(&x->read.done, &x->op, WAIT_PART);
	replica_read(x->r, &x->read);
	return 1; /* wait: the blocks */
}

static int run_ended(struct scrub *x)
{
	int rc = x->read.done.rc;
	uint64_t bytes = (uint64_t)x->read.count * BLOCK_BYTES;

	x->phase = SCRUB_RUN;
	if (is_gone(rc)) {
		volume_next(x);
		return 0;
	}
	if (is_bad(rc) && x->single == 0) {
		x->single = x->read.count; /* SC2 */
		return 0;
	}
	if (rc < 0 && !is_bad(rc))
		return rc;
	if (rc < 0)
		count_bad(x, false);
	else if (x->read.repaired > 0)
		count_bad(x, true);
	if (x->single > 0)
		x->single--;
	x->at += x->read.count;
	x->q->result.bytes += bytes;
	counter_add(x->s->env->counters, CTR_SCRUB_BYTES, bytes);
	return 0;
}

/* SC5 */
static int supers_step(struct scrub *x)
{
	if (x->part.rc < 0)
		return x->part.rc;
	if (x->floors == FLOOR_SLOTS)
		return 2;
	x->floors++;
	x->phase = SCRUB_FLOORS;
	completion_arm(&x->part, &x->op, WAIT_PART);
	supers_floors_again(x->s->supers, &x->part);
	return 1; /* wait: four copies of a slot */
}

static int pause_until(struct scrub *x, uint64_t ns)
{
	x->timer.deadline.v = ns;
	completion_arm(&x->timer.done, &x->op, WAIT_TIMER);
	clock_timer_arm(x->s->env->clock, &x->timer);
	let_go(x);
	return 1; /* wait: the pause */
}

static void scrub_end(struct scrub *x, int rc)
{
	struct store_scrub *q = x->q;

	let_go(x);
	x->q = NULL;
	free(x->data);
	x->data = NULL;
	if (x->closer != NULL)
		op_wake(x->closer);
	x->closer = NULL;
	completion_fire(&q->done, rc); /* last: q is the caller's again */
}
