/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/delta.c
 * Purpose.     What differs between two maps: both trees are walked down together, in block order.
 * Invariants.  DL1 A subtree is passed over only if both maps name the same page, if nothing below
 *                  holds data in either, or (by_checksum) if the digests are equal.
 *              DL2 Two pages of one address are one page: a page that a snapshot names is copied before
 *                  it is changed, and so is a chunk.  Trees of different depth are compared as if the
 *                  lower one had inner pages above its root that hold only it.
 *              DL3 A page that was found stays pinned until the next look has found it again: with two
 *                  leaves needed at once, neither is forgotten while the other is read.
 * States.      LOOK <-> (wait: pages) -> END (wait: what was read ahead) -> done.
 * Failure.     A page that cannot be read ends the walk; with all of memory pinned it tries later.
 * Limits.      DELTA_LOADS reads in flight, one page per level and tree pinned, LEAVES_PER_STEP compared
 *              before others get their turn.
 */
#include "engine/store/delta.h"

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/store/map_cache.h"

#define DELTA_LOADS 16u
#define AHEAD_LEAVES 6u /* of the next differing ones, in each tree */
#define AHEAD_INNER 2u	/* on each level above */
#define HELD_MAX (2u * (MAP_DEPTH_MAX + 1))
#define LEAVES_PER_STEP 64u
#define RETRY_NS (5 * MS_NS)

#define BIT_LOAD(i) (1u << (i))
#define BIT_TIMER (1u << DELTA_LOADS)
_Static_assert(DELTA_LOADS < 32, "a bit for each load and one for the timer");
_Static_assert(DELTA_LOADS <= CACHE_LOADS_MAX, "reads ahead do not starve the cache");

enum delta_side { SIDE_FROM, SIDE_TO, SIDES };
enum delta_look { LOOK_ON, LOOK_WAIT, LOOK_FULL };

/* One subtree of one side; `level` is that of its page, below the level compared when its tree is the
 * lower one. */
struct delta_node {
	bool there;
	uint32_t level;
	uint64_t address, digest, used;
};

struct delta_load {
	struct leaf_load load;
	struct map *map; /* NULL: not in use */
	uint64_t index;
};

struct delta_state {
	struct env *env;
	struct map *maps[SIDES];
	uint64_t blocks; /* where it ends */
	int rc;
	bool over; /* nothing is looked at any more: only what is in flight has to end */
	struct timer timer;
	struct cpage *held[HELD_MAX], *before[HELD_MAX]; /* DL3 */
	uint32_t held_count, before_count;
	struct delta_load loads[DELTA_LOADS];
};
_Static_assert(sizeof(struct delta_state) <= sizeof(((struct snapshot_delta *)0)->private),
	       "private");

/* The pages on the way down to one block: pages[level][side]; NULL: nothing or not in memory. */
struct delta_path {
	struct cpage *pages[MAP_DEPTH_MAX + 1][SIDES];
	struct delta_node nodes[SIDES]; /* where it has come to */
};

static void delta_step(struct op *op);
static enum delta_look look(struct snapshot_delta *d);
static bool descend(struct snapshot_delta *d, struct delta_path *p, uint32_t *level);
static bool node_same(const struct snapshot_delta *d, const struct delta_node *a,
		      const struct delta_node *b);
static enum delta_look leaves_compare(struct snapshot_delta *d, const struct delta_path *p);
static void read_ahead(struct snapshot_delta *d, const struct delta_path *p, uint64_t block,
		       uint32_t stopped);
static struct cpage *page_get(struct snapshot_delta *d, enum delta_side side, uint32_t level);
static void page_want(struct snapshot_delta *d, enum delta_side side, uint32_t level,
		      uint64_t index);
static int loads_collect(struct snapshot_delta *d);
static void held_release(struct cpage **held, uint32_t *count);

static struct delta_state *state_of(struct snapshot_delta *d)
{
	return (struct delta_state *)(void *)d->private;
}

static uint64_t map_blocks(const struct map *m)
{
	return m->bytes / BLOCK_BYTES + (m->bytes % BLOCK_BYTES != 0);
}

void delta_walk(struct snapshot_delta *d, struct env *env, struct map *from, struct map *to)
{
	struct delta_state *st = state_of(d);

	assert(completion_armed(&d->done));
	assert(from == NULL || from->root_page == NULL || !from->root_page->dirty);
	assert(to == NULL || to->root_page == NULL || !to->root_page->dirty);
	memset(st, 0, sizeof(*st));
	st->env = env;
	st->maps[SIDE_FROM] = from;
	st->maps[SIDE_TO] = to;
	st->blocks = to != NULL ? map_blocks(to) : from != NULL ? map_blocks(from) : 0;
	d->run_count = 0;
	d->end = false;
	op_init(&d->op, env->ready, delta_step);
	op_wake(&d->op);
}

static void delta_step(struct op *op)
{
	struct snapshot_delta *d = container_of(op, struct snapshot_delta, op);
	struct delta_state *st = state_of(d);
	int rc = loads_collect(d);

	if (rc < 0 && !st->over) {
		st->rc = rc;
		st->over = true;
	}
	for (uint32_t n = 0; !st->over; n++) {
		enum delta_look found;

		if (n == LEAVES_PER_STEP) {
			op_wake(op);
			return; /* wait: our next turn */
		}
		if (d->block >= st->blocks) {
			d->end = st->over = true;
			break;
		}
		found = look(d);
		if (found == LOOK_WAIT)
			return; /* wait: pages, or room for them */
		st->over = found == LOOK_FULL;
	}
	if (timer_armed(&st->timer))
		clock_timer_disarm(st->env->clock, &st->timer);
	if (op->waits != 0)
		return; /* wait: what was read ahead */
	held_release(st->held, &st->held_count);
	op_unqueue(op);
	completion_fire(&d->done, st->rc);
}

/* Blocks below one entry of an inner page of `level`; the whole tree: level is one more. */
static uint64_t span_blocks(uint32_t level)
{
	assert(level > 0);
	return (uint64_t)LEAF_BLOCKS << (level - 1) * MAP_FAN_SHIFT;
}

static uint64_t page_index(uint64_t block, uint32_t level)
{
	return block / LEAF_BLOCKS >> level * MAP_FAN_SHIFT;
}

static struct delta_node root_node(const struct map *m)
{
	struct delta_node n = {.there = m != NULL && m->root.address != DISK_NONE};

	if (n.there) {
		n.level = m->depth;
		n.address = m->root.address;
		n.digest = m->root.digest;
		n.used = m->used_blocks;
	}
	return n;
}

/* What lies below a node of `level` (whose page is `page`) at child i. */
static struct delta_node child_node(const struct delta_node *n, const struct cpage *page,
				    uint32_t level, uint32_t i)
{
	struct delta_node child = {0};
	const struct disk_inner_entry *e;

	if (!n->there)
		return child;
	if (n->level < level)
		return i == 0 ? *n : child; /* DL2 */
	e = &((const struct disk_inner *)(const void *)page->image)->entries[i];
	child.there = e->address != DISK_NONE;
	child.level = level - 1;
	child.address = e->address;
	child.digest = e->digest;
	child.used = e->used;
	return child;
}

/* DL1 */
static bool node_same(const struct snapshot_delta *d, const struct delta_node *a,
		      const struct delta_node *b)
{
	uint64_t used_a = a->there ? a->used : 0, used_b = b->there ? b->used : 0;

	if (a->there && b->there && a->address == b->address)
		return true;
	if (used_a == 0 && used_b == 0)
		return true; /* zeroes and holes */
	if (!d->by_checksum)
		return false;
	return map_digest_wrap(a->there ? a->digest : 0, a->level) ==
	       map_digest_wrap(b->there ? b->digest : 0, b->level);
}

/* Pass over what is the same at d->block, or compare two leaves there. */
static enum delta_look look(struct snapshot_delta *d)
{
	struct delta_state *st = state_of(d);
	struct delta_path p = {0};
	uint32_t top = 0, level;
	uint64_t block;
	enum delta_look found = LOOK_WAIT;

	memcpy(st->before, st->held, sizeof(st->before));
	st->before_count = st->held_count;
	st->held_count = 0;
	for (uint32_t s = 0; s < SIDES; s++) {
		p.nodes[s] = root_node(st->maps[s]);
		top = p.nodes[s].there && p.nodes[s].level > top ? p.nodes[s].level : top;
	}
	level = top;
	if (page_index(d->block, top) > 0 || node_same(d, &p.nodes[0], &p.nodes[1])) {
		d->block = st->blocks;
		found = LOOK_ON;
	} else if (!descend(d, &p, &level)) {
		found = LOOK_ON;
	} else {
		bool missing = false;

		block = d->block;
		for (uint32_t s = 0; s < SIDES; s++)
			missing = missing || (p.nodes[s].there && p.nodes[s].level == level &&
					      p.pages[level][s] == NULL);
		if (!missing)
			found = leaves_compare(d, &p);
		if (found != LOOK_FULL)
			read_ahead(d, &p, block, level);
	}
	held_release(st->before, &st->before_count);
	return found;
}

/* Pages of this level on both sides; false: one is not in memory. */
static bool pages_get(struct snapshot_delta *d, struct delta_path *p, uint32_t level)
{
	bool all = true;

	for (uint32_t s = 0; s < SIDES; s++) {
		if (!p->nodes[s].there || p->nodes[s].level != level)
			continue;
		p->pages[level][s] = page_get(d, (enum delta_side)s, level);
		all = all && p->pages[level][s] != NULL;
	}
	return all;
}

/* Go down at d->block to the leaves, or to the level where a page is missing: true.  False: what is
 * there is the same, and d->block lies behind it. */
static bool descend(struct snapshot_delta *d, struct delta_path *p, uint32_t *level)
{
	while (pages_get(d, p, *level) && *level > 0) {
		uint64_t span = span_blocks(*level);
		uint32_t i = (uint32_t)(d->block / span % MAP_FAN);
		struct delta_node below[SIDES];

		for (;; i++) {
			if (i == MAP_FAN)
				return false;
			for (uint32_t s = 0; s < SIDES; s++)
				below[s] = child_node(&p->nodes[s], p->pages[*level][s], *level, i);
			if (!node_same(d, &below[0], &below[1]))
				break;
			d->block = (d->block / span + 1) * span;
		}
		if (d->block >= state_of(d)->blocks)
			return false;
		memcpy(p->nodes, below, sizeof(below));
		(*level)--;
	}
	return true;
}

static struct block_place place_at(const struct cpage *p, uint32_t block)
{
	struct block_place hole = {.kind = PLACE_HOLE};

	return p == NULL ? hole : leaf_place((const struct leaf *)(const void *)p, block);
}

/* Does a block differ, and what is it now? */
static bool block_differs(const struct snapshot_delta *d, const struct block_place *from,
			  const struct block_place *to, enum delta_kind *ret_kind)
{
	uint32_t zero = crc32c_block_of_zeroes();
	bool was = from->kind == PLACE_HOME, is = to->kind == PLACE_HOME;

	if (!was && !is)
		return false;
	if (was && is && from->off == to->off && from->crc == to->crc)
		return false; /* DL2 */
	if (d->by_checksum && (was ? from->crc : zero) == (is ? to->crc : zero))
		return false;
	*ret_kind = is ? DELTA_DATA : to->kind == PLACE_ZERO ? DELTA_ZERO : DELTA_DISCARDED;
	return true;
}

/* False: no room for another run. */
static bool run_add(struct snapshot_delta *d, uint64_t block, enum delta_kind kind)
{
	struct delta_run *last = d->run_count == 0 ? NULL : &d->runs[d->run_count - 1];

	if (last != NULL && last->kind == kind && last->block + last->count == block) {
		last->count++;
		return true;
	}
	if (d->run_count == DELTA_RUNS_MAX)
		return false;
	d->runs[d->run_count++] = (struct delta_run){.block = block, .count = 1, .kind = kind};
	return true;
}

static enum delta_look leaves_compare(struct snapshot_delta *d, const struct delta_path *p)
{
	uint64_t end = (d->block / LEAF_BLOCKS + 1) * LEAF_BLOCKS;

	end = end < state_of(d)->blocks ? end : state_of(d)->blocks;
	for (; d->block < end; d->block++) {
		uint32_t i = (uint32_t)(d->block % LEAF_BLOCKS);
		struct block_place from = place_at(p->pages[0][SIDE_FROM], i);
		struct block_place to = place_at(p->pages[0][SIDE_TO], i);
		enum delta_kind kind;

		if (block_differs(d, &from, &to, &kind) && !run_add(d, d->block, kind))
			return LOOK_FULL;
	}
	return LOOK_ON;
}

/* --- pages --- */

/* What differs below pages of `level` behind child i: asked for in both trees. */
static void ahead_of_level(struct snapshot_delta *d, struct cpage *const pages[SIDES],
			   uint32_t level, uint64_t index)
{
	const struct delta_node at = {.there = true, .level = level};
	uint32_t n = 0, most = level == 1 ? AHEAD_LEAVES : AHEAD_INNER;

	for (index++; index % MAP_FAN != 0 && n < most; index++) {
		struct delta_node below[SIDES] = {{0}, {0}};

		if (index * span_blocks(level) >= state_of(d)->blocks)
			return;
		for (uint32_t s = 0; s < SIDES; s++)
			if (pages[s] != NULL)
				below[s] = child_node(&at, pages[s], level,
						      (uint32_t)(index % MAP_FAN));
		if (node_same(d, &below[0], &below[1]))
			continue;
		n++;
		for (uint32_t s = 0; s < SIDES; s++)
			if (below[s].there)
				page_want(d, (enum delta_side)s, level - 1, index);
	}
}

/* `block` was looked at down to the level `stopped`: ask for what comes after it, leaves first. */
static void read_ahead(struct snapshot_delta *d, const struct delta_path *p, uint64_t block,
		       uint32_t stopped)
{
	for (uint32_t level = stopped + 1; level <= MAP_DEPTH_MAX; level++)
		ahead_of_level(d, p->pages[level], level, page_index(block, level - 1));
}

/* The page over d->block, pinned and held; NULL: it is being read. */
static struct cpage *page_get(struct snapshot_delta *d, enum delta_side side, uint32_t level)
{
	struct delta_state *st = state_of(d);
	struct map *m = st->maps[side];
	uint64_t index = page_index(d->block, level);
	struct cpage *p = cache_find(m->cache, m, level, index);

	if (p == NULL || p->loading) {
		page_want(d, side, level, index);
		return NULL;
	}
	assert(st->held_count < HELD_MAX);
	cpage_pin(p);
	st->held[st->held_count++] = p;
	return p;
}

static void page_want(struct snapshot_delta *d, enum delta_side side, uint32_t level,
		      uint64_t index)
{
	struct delta_state *st = state_of(d);
	struct map *m = st->maps[side];
	struct delta_load *slot = NULL;
	const struct cpage *p = cache_find(m->cache, m, level, index);
	uint32_t at = 0;

	if (p != NULL && !p->loading)
		return;
	for (uint32_t i = 0; i < DELTA_LOADS; i++) {
		struct delta_load *l = &st->loads[i];

		if (l->map == m && l->load.level == level && l->index == index)
			return;
		if (l->map == NULL && slot == NULL) {
			slot = l;
			at = i;
		}
	}
	if (slot == NULL || (d->op.waits & BIT_TIMER) != 0)
		return; /* those in flight wake us */
	slot->map = m;
	slot->index = index;
	slot->load.leaf_no = index << level * MAP_FAN_SHIFT;
	slot->load.level = level;
	d->pages_read++;
	completion_arm(&slot->load.done, &d->op, BIT_LOAD(at));
	map_leaf_load(m, &slot->load);
}

/* The first failure of those that ended; without memory: later again. */
static int loads_collect(struct snapshot_delta *d)
{
	struct delta_state *st = state_of(d);
	int rc = 0;

	for (uint32_t i = 0; i < DELTA_LOADS; i++) {
		struct delta_load *l = &st->loads[i];

		if (l->map == NULL || (d->op.waits & BIT_LOAD(i)) != 0)
			continue;
		l->map = NULL;
		if (l->load.done.rc != -ERR_NOMEM) {
			rc = rc == 0 ? l->load.done.rc : rc;
			continue;
		}
		if (st->over || (d->op.waits & BIT_TIMER) != 0)
			continue;
		st->timer.deadline.v = clock_now(st->env->clock).v + RETRY_NS;
		completion_arm(&st->timer.done, &d->op, BIT_TIMER);
		clock_timer_arm(st->env->clock, &st->timer);
	}
	return rc;
}

static void held_release(struct cpage **held, uint32_t *count)
{
	while (*count > 0)
		cpage_unpin(held[--*count]);
}
