/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/walk.c
 * Purpose.     The follower's side of a resync by comparison: both sites' trees of each volume are walked
 *              down together, and only blocks that differ are fetched into the staging replica, which
 *              began with what this site had.  It does not matter why they differ: writes or
 *              discards at the source, or a fork of this side.
 * Invariants.  K1  Streamed records from the base's LSN s on go to the staging replica as in a full copy.  So
 *                  a block that any of them writes will be right whatever the walk does to it, provided
 *                  that no import replaces what such a record brought (K4).  All others are at the
 *                  source, at every moment of the walk, what they were at s: for these the walk must
 *                  make the two sides equal, and may compare at any moment, a page now, its blocks later.
 *              K2  A subtree is passed over only if neither side has it, or both have it with equal
 *                  digests that are up to date and neither side has changed it since `since`.  A block is
 *                  left alone only if its CRC32C is equal on both sides and, unless neither has changed its
 *                  chunk since `since`, a CRC64 over all such blocks of its leaf, read from both
 *                  disks, is equal too.  Below `since` the histories are the same, so what is unchanged
 *                  is equal for certain.  A CRC32C alone, and any digest made of them, takes one changed
 *                  block in 2^32 for unchanged; both sums together, one leaf in 2^64 more.
 *              K3  What the source has not is made a hole, what it has is fetched: found at the leaf.
 *              K4  The staging replica's fold is held at what it had committed when the oldest leaf at work
 *                  was begun.  The source reads a block after that question came, so its content is of
 *                  that commit LSN or a later one: fold brings whatever is newer on top (import.c I5).
 *              K5  The walk has no state but the staging tree: whoever begins again starts at the roots, and
 *                  passes over what is equal by now.  A block that was fetched stays, so the work that is
 *                  left only shrinks, whatever is rewritten meanwhile: that is streamed (K1).
 *                  So that nothing is read twice for K2, a walk that is cut off leaves a mark behind: before it all
 *                  is what the source had at that walk's s, but for what records since have written (K1),
 *                  and these have written it at the source, too.  The next walk therefore takes there
 *                  that s for `since`, and asks only the source what has changed.  Only in the reign of the
 *                  same primary, whose history has no other branch, and without a rollback meanwhile.
 *              K6  The end is asked for when every leaf is done and every import has ended.
 * States.      pages: one at a time, ASK -> WAIT -> children; leaves: walk_leaf.c.
 * Ownership.   Slots are the walk's; imports are those of stage.c.
 * Failure.     A volume that is gone on either side is passed over: the record that deleted it is streamed.
 *              A page of the own map that cannot be read makes the next resync a full copy.
 * Limits.      WALK_LEAVES leaves; WALK_WINDOW_BYTES asked for and not imported; an answer comes within
 *              WALK_ANSWER_NS.
 */
#include "engine/repl/walk.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/repl/walk_state.h"

#define WALK_ANSWER_NS (60 * SEC_NS) /* the source may have to fold its journal first */

static void walk_wake(struct op *op);
static void leaf_wake(struct op *op);
static bool pages_step(struct walk *w);
static bool page_run(struct walk *w);
static void page_compare(struct walk *w, bool marked);
static bool walk_down(struct walk *w);
static void volume_skip(struct walk *w);
static void walk_cap(struct walk *w);
static void walk_end(struct walk *w);

int walk_open(struct repl_follower *f, struct walk **ret_walk)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ERR_NOMEM;
	w->f = f;
	w->env = f->env;
	w->since = replica_stage_since(f->replica);
	replica_stage_mark(f->replica, &w->mark);
	if (w->mark.epoch.number != f->epoch.number || w->mark.epoch.site != f->epoch.site ||
	    w->mark.epoch.incarnation != f->epoch.incarnation ||
	    w->mark.content_generation != f->full->content_generation)
		w->mark = (struct replica_stage_mark){0};
	w->heard = clock_now(f->env->clock);
	op_init(&w->page_op, f->env->ready, walk_wake);
	for (uint32_t i = 0; i < WALK_LEAVES; i++) {
		w->leaves[i].walk = w;
		op_init(&w->leaves[i].op, f->env->ready, leaf_wake);
	}
	*ret_walk = w;
	return 0;
}

static void walk_wake(struct op *op)
{
	op_wake(&container_of(op, struct walk, page_op)->f->op);
}

static void leaf_wake(struct op *op)
{
	op_wake(&container_of(op, struct walk_leaf, op)->walk->f->op);
}

bool walk_is_quiet(const struct walk *w)
{
	if (w->page_op.waits != 0)
		return false;
	for (uint32_t i = 0; i < WALK_LEAVES; i++)
		if (w->leaves[i].op.waits != 0)
			return false;
	return true;
}

void walk_free(struct walk **walk)
{
	struct walk *w = *walk;

	*walk = NULL;
	if (w == NULL)
		return;
	assert(walk_is_quiet(w));
	op_unqueue(&w->page_op);
	for (uint32_t i = 0; i < WALK_LEAVES; i++) {
		buf_unref(&w->leaves[i].buf);
		op_unqueue(&w->leaves[i].op);
	}
	free(w);
}

void walk_abandon(struct walk **w)
{
	free(*w);
	*w = NULL;
}

/* Is everything of the volume before leaf `end` before the mark?  K5 */
bool walk_is_marked(const struct walk *w, uint32_t volume, uint64_t end)
{
	if (w->mark.epoch.number == 0)
		return false;
	return volume < w->mark.volume || (volume == w->mark.volume && end <= w->mark.leaf);
}

/* The first leaf of the volume under the cursor that was not looked at. */
static uint64_t walk_cursor(const struct walk *w)
{
	const struct walk_level *at = &w->path[w->level];

	if (!w->volume_begun)
		return 0;
	if (w->page_phase != PAGE_NONE)
		return at->index << MAP_SHIFT * w->level;
	if (at->todo == 0)
		return (at->index + 1) << MAP_SHIFT * w->level;
	return (at->index * FRAME_COMPARE_CHILDREN + (uint64_t)__builtin_ctzll(at->todo))
	       << MAP_SHIFT * (w->level - 1);
}

void walk_leave_mark(const struct walk *w)
{
	const struct frame_full *full = w->f->full;
	struct replica_stage_mark m = {.epoch = w->f->epoch,
				       .content_generation = full->content_generation,
				       .since = w->f->spec.begin,
				       .volume = VOLUMES_MAX};

	if (w->volume_index < full->volume_count) {
		m.volume = full->volumes[w->volume_index].slot;
		m.leaf = walk_cursor(w);
	}
	for (uint32_t i = 0; i < WALK_LEAVES; i++) {
		const struct walk_leaf *l = &w->leaves[i];

		if (l->phase == LEAF_FREE ||
		    (l->volume > m.volume || (l->volume == m.volume && l->leaf >= m.leaf)))
			continue;
		m.volume = l->volume;
		m.leaf = l->leaf;
	}
	if (!walk_is_marked(w, m.volume, m.leaf) ||
	    (m.volume == w->mark.volume && m.leaf == w->mark.leaf))
		replica_stage_mark_set(w->f->replica, &m);
}

void walk_status(const struct walk *w, struct walk_status *ret)
{
	*ret = w->status;
}

void walk_step(struct walk *w)
{
	bool more = true;

	while (more && w->f->phase == FOLLOWER_STAGING) {
		more = pages_step(w);
		for (uint32_t i = 0; i < WALK_LEAVES && w->f->phase == FOLLOWER_STAGING; i++)
			more = walk_leaf_run(w, &w->leaves[i]) || more;
	}
	if (w->f->phase != FOLLOWER_STAGING)
		return;
	walk_cap(w);
	walk_end(w);
	if (!w->f->base_ended && clock_now(w->env->clock).v - w->heard.v > WALK_ANSWER_NS &&
	    !w->f->closing)
		follower_fail(w->f, -ERR_TIMEOUT, "waiting for the source's answer");
	else if (!w->f->base_ended)
		follower_arm(w->f, SEC_NS);
}

/* Send a question once.  True when it has gone. */
bool walk_ask(struct walk *w, struct walk_question *q, const struct frame_compare_ask *m)
{
	struct frame_compare_ask out = *m;
	uint8_t head[FRAME_COMPARE_ASK_BYTES];
	struct frame_header h;

	if (q->sent)
		return true;
	out.question = w->questions + 1;
	member_header(&w->f->member, FRAME_COMPARE_ASK, w->f->epoch.number, (struct lsn){0}, &h);
	if (member_send(&w->f->member, FRAME_CONN_BULK, &h, head,
			frame_compare_ask_encode(head, &out)) < 0)
		return false; /* wait: room */
	q->number = ++w->questions;
	q->sent = true;
	return true;
}

static bool question_told(struct walk *w, struct walk_question *q)
{
	if (!q->sent || q->told || q->number != w->told.question)
		return false;
	q->told = true;
	q->rc = w->told.rc;
	return true;
}

int walk_told(struct walk *w, const struct conn_frame *frame)
{
	const struct frame_compare_told *t = &w->told;

	if (frame_compare_told_decode(frame->head, frame->h.head_bytes, &w->told) < 0)
		return -ERR_PROTOCOL;
	w->heard = clock_now(w->env->clock);
	if (question_told(w, &w->page_question)) {
		if (t->kind != COMPARE_PAGE)
			return -ERR_PROTOCOL;
		w->page_told = *t;
		return 0;
	}
	for (uint32_t i = 0; i < WALK_LEAVES; i++) {
		struct walk_leaf *l = &w->leaves[i];

		if (l->phase == LEAF_FREE || !question_told(w, &l->question))
			continue;
		if ((t->kind == COMPARE_SUMS) != (l->phase == LEAF_SUMS) ||
		    (t->kind == COMPARE_HASH) != (l->phase == LEAF_HASH) ||
		    (t->kind == COMPARE_BLOCKS) != (l->phase == LEAF_COMING))
			return -ERR_PROTOCOL;
		if (t->kind == COMPARE_SUMS) {
			memcpy(l->data, t->data, sizeof(l->data));
			memcpy(l->crcs, t->crcs, sizeof(l->crcs));
			l->changed = t->changed_chunks;
		} else if (t->kind == COMPARE_HASH) {
			l->hash_told = t->number;
		} else if (t->rc == 0 && t->number != l->got) {
			return -ERR_PROTOCOL;
		}
		return 0;
	}
	return -ERR_PROTOCOL; /* an answer to nothing */
}

/* K4 */
static void walk_cap(struct walk *w)
{
	struct lsn cap = {.v = UINT64_MAX};

	for (uint32_t i = 0; i < WALK_LEAVES; i++)
		if (w->leaves[i].phase != LEAF_FREE)
			cap = lsn_min(cap, w->leaves[i].cap);
	replica_fold_cap(w->f->replica, cap);
}

/* K6 */
static void walk_end(struct walk *w)
{
	if (w->volume_index < w->f->full->volume_count || w->page_phase != PAGE_NONE ||
	    w->f->imports_flying > 0)
		return;
	for (uint32_t i = 0; i < WALK_LEAVES; i++)
		if (w->leaves[i].phase != LEAF_FREE)
			return;
	if (!w->end.sent)
		w->heard = clock_now(w->env->clock);
	(void)walk_ask(w, &w->end, &(struct frame_compare_ask){.kind = COMPARE_END});
}

/* The own trees cannot be read: what is to be compared must be there.  The next copy is a full one. */
void walk_own_bad(struct walk *w, int rc)
{
	struct replica *own = replica_find(w->f->store, &w->f->member.group);

	if (own != NULL)
		replica_trees_bad(own);
	w->f->spoiled = true;
	follower_fail(w->f, rc, "reading what is here, to compare it");
}

/* --- pages --- */

/* The lowest level with one page over all of a volume: above it there is only its child 0. */
static uint32_t volume_top(const struct frame_volume *v)
{
	uint64_t leaves = (v->bytes / BLOCK_BYTES + LEAF_BLOCKS) / LEAF_BLOCKS;
	uint32_t top = 1;

	while (top < FRAME_COMPARE_LEVELS_MAX && leaves > 1ull << (6 * top))
		top++;
	return top;
}

static void volume_skip(struct walk *w)
{
	w->volume_index++;
	w->volume_begun = false;
	w->page_phase = PAGE_NONE;
}

/* True: something was done. */
static bool pages_step(struct walk *w)
{
	const struct frame_full *full = w->f->full;

	if (w->page_phase != PAGE_NONE)
		return page_run(w);
	if (w->volume_index == full->volume_count)
		return false;
	if (w->volume_begun)
		return walk_down(w);
	if (full->volumes[w->volume_index].deleted) {
		volume_skip(w);
		return true;
	}
	w->volume_begun = true;
	w->level =
		FRAME_COMPARE_LEVELS_MAX; /* what is here may be larger than the source's volume */
	w->path[w->level] = (struct walk_level){0};
	w->page_phase = PAGE_ASK;
	return true;
}

static bool page_run(struct walk *w)
{
	uint32_t volume = w->f->full->volumes[w->volume_index].slot;
	struct frame_compare_ask m = {.kind = COMPARE_PAGE,
				      .volume = volume,
				      .level = w->level,
				      .index = w->path[w->level].index,
				      .since = w->since};
	bool marked = walk_is_marked(w, volume, (m.index + 1) << MAP_SHIFT * w->level);
	int rc = w->own_page.done.rc;

	if (marked)
		m.since = w->mark.since;

	if (w->page_phase == PAGE_ASK) {
		w->page_question = (struct walk_question){0};
		if (w->level > volume_top(&w->f->full->volumes[w->volume_index])) {
			w->page_question.sent = w->page_question.told = true; /* without asking */
			w->page_told = (struct frame_compare_told){.present = m.index == 0,
								   .changed = m.index == 0};
		}
		w->own_page = (struct replica_page){
			.volume = volume, .level = m.level, .index = m.index, .since = m.since};
		completion_arm(&w->own_page.done, &w->page_op, BIT_OWN);
		replica_page(w->f->replica, &w->own_page);
		w->page_phase = PAGE_WAIT;
	}
	if (!walk_ask(w, &w->page_question, &m) || !w->page_question.told || w->page_op.waits != 0)
		return false; /* wait: both pages */
	w->page_phase = PAGE_NONE;
	if (rc == -ERR_NOT_FOUND || w->page_question.rc == -ERR_NOT_FOUND)
		volume_skip(w);
	else if (rc == -ERR_NOMEM)
		w->page_phase = PAGE_ASK;
	else if (rc < 0)
		walk_own_bad(w, rc);
	else if (w->page_question.rc < 0)
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot answer about a page");
	else
		page_compare(w, marked);
	return true;
}

/* K2: which children may differ. */
static void page_compare(struct walk *w, bool marked)
{
	const struct replica_page *a = &w->own_page;
	uint64_t changed = marked ? 0 : a->changed; /* K5 */
	const struct frame_compare_told *b = &w->page_told;
	uint64_t either = a->present | b->present, same = 0;
	uint32_t mutant = w->f->mutant;

	for (uint32_t i = 0; i < FRAME_COMPARE_CHILDREN; i++) {
		uint64_t bit = 1ull << i;

		if ((a->known & b->known & ~changed & ~b->changed & bit) != 0 &&
		    a->digests[i] == b->digests[i])
			same |= bit;
		if (mutant == REPL_MUTANT_SKIP_UNKNOWN && (a->present & b->present & bit) != 0)
			same |= bit;
	}
	if (mutant == REPL_MUTANT_FORGET_DISCARDS)
		either = b->present;
	w->path[w->level].todo = either & ~same;
	w->status.pages_skipped += (uint64_t)__builtin_popcountll(either & same);
	counter_add(w->env->counters, CTR_REPL_SUBTREES_SKIPPED,
		    (uint64_t)__builtin_popcountll(either & same));
}

static struct walk_leaf *leaf_free(struct walk *w)
{
	for (uint32_t i = 0; i < WALK_LEAVES; i++)
		if (w->leaves[i].phase == LEAF_FREE)
			return &w->leaves[i];
	return NULL;
}

/* To the next child of the page under the cursor, or up. */
static bool walk_down(struct walk *w)
{
	struct walk_level *at = &w->path[w->level];
	struct walk_leaf *l;
	struct replica_status st;
	uint64_t child;

	if (at->todo == 0) {
		if (w->level == FRAME_COMPARE_LEVELS_MAX)
			volume_skip(w);
		else
			w->level++;
		return true;
	}
	child = at->index * FRAME_COMPARE_CHILDREN + (uint64_t)__builtin_ctzll(at->todo);
	if (w->level > 1) {
		at->todo &= at->todo - 1;
		w->level--;
		w->path[w->level] = (struct walk_level){.index = child};
		w->page_phase = PAGE_ASK;
		return true;
	}
	l = leaf_free(w);
	if (l == NULL)
		return false; /* wait: a slot */
	at->todo &= at->todo - 1;
	replica_status(w->f->replica, &st);
	l->phase = LEAF_SUMS;
	l->volume = w->f->full->volumes[w->volume_index].slot;
	l->leaf = child;
	l->cap = st.commit; /* K4: before the question is sent */
	l->question = (struct walk_question){0};
	l->own = (struct replica_sums){.volume = l->volume, .leaf = child, .since = w->since};
	l->want_count = l->got = 0;
	memset(l->want, 0, sizeof(l->want));
	memset(l->doubt, 0, sizeof(l->doubt));
	memset(l->holes, 0, sizeof(l->holes));
	completion_arm(&l->own.done, &l->op, BIT_OWN);
	replica_sums(w->f->replica, &l->own);
	walk_cap(w);
	return true;
}
