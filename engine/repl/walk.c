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
 * States.      pages: one at a time, ASK -> WAIT -> children.  A leaf: FREE -> SUMS -> (HASH) -> FETCH (holes, room
 *              in the window) -> (BLOCKS) -> FREE.
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
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/repl/follower.h"

#define WALK_LEAVES 32u
#define WALK_WINDOW_BYTES (8u << 20)
#define WALK_ANSWER_NS (60 * SEC_NS) /* the source may have to fold its journal first */
#define WALK_HASHES 4u		     /* leaves whose own blocks are being read */
#define BUF_RESERVE 2u
#define BIT_OWN 1u
#define MAP_SHIFT 6u /* FRAME_COMPARE_CHILDREN is 2^6 */
#define LEVELS (FRAME_COMPARE_LEVELS_MAX + 1)
#define MASK_WORDS (LEAF_BLOCKS / 64u)

_Static_assert(WALK_LEAVES + 2 <= FRAME_COMPARE_ASKS_MAX, "leaves, a page and the end");

enum leaf_phase { LEAF_FREE, LEAF_SUMS, LEAF_HASH, LEAF_FETCH, LEAF_COMING };
enum page_phase { PAGE_NONE, PAGE_ASK, PAGE_WAIT };

/* A question: sent once, then answered once. */
struct walk_question {
	uint64_t number;
	bool sent, told;
	int rc;
};

struct walk_leaf {
	struct op op;
	struct walk *walk;
	enum leaf_phase phase;
	uint32_t volume;
	uint64_t leaf;
	struct lsn cap; /* K4 */
	struct walk_question question;
	struct replica_sums own;
	uint64_t data[MASK_WORDS]; /* the source's */
	uint32_t changed, crcs[LEAF_BLOCKS];
	uint64_t want[MASK_WORDS], doubt[MASK_WORDS], holes[MASK_WORDS];
	uint32_t want_count, got;
	uint32_t imports; /* in flight */
	/* own hash */
	struct replica_read read;
	struct buf *buf;
	uint32_t next;
	uint64_t hash, hash_told;
	bool marked, hashing, hashed, hash_bad;
};

struct walk_level {
	uint64_t index; /* of the page */
	uint64_t todo;	/* its children to go down to */
};

struct walk {
	struct repl_follower *f;
	struct env *env;
	struct lsn since;
	struct replica_stage_mark mark; /* of an earlier walk; epoch.number 0: none that counts */
	uint64_t questions;
	uint32_t volume_index; /* in f->full */
	bool volume_begun;
	uint32_t level; /* of the page under the cursor */
	struct walk_level path[LEVELS];
	enum page_phase page_phase;
	struct op page_op;
	struct walk_question page_question;
	struct replica_page own_page;
	struct frame_compare_told told; /* of the page; scratch for others */
	struct frame_compare_told page_told;
	uint64_t window_bytes;
	uint32_t hashing;
	struct walk_question end;
	bool end_wanted;
	struct mono_ns heard; /* the last answer, or the first question since */
	struct walk_status status;
	struct walk_leaf leaves[WALK_LEAVES];
};

static void walk_wake(struct op *op);
static void leaf_wake(struct op *op);
static bool pages_step(struct walk *w);
static bool page_run(struct walk *w);
static void page_compare(struct walk *w, bool marked);
static bool walk_down(struct walk *w);
static void volume_skip(struct walk *w);
static bool leaf_run(struct walk *w, struct walk_leaf *l);
static bool sums_run(struct walk *w, struct walk_leaf *l);
static void sums_compare(struct walk *w, struct walk_leaf *l);
static bool hash_run(struct walk *w, struct walk_leaf *l);
static bool fetch_run(struct walk *w, struct walk_leaf *l);
static bool blocks_run(struct walk *w, struct walk_leaf *l);
static bool ask(struct walk *w, struct walk_question *q, const struct frame_compare_ask *m);
static void walk_cap(struct walk *w);
static void walk_end(struct walk *w);
static void own_bad(struct walk *w, int rc);

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
static bool is_marked(const struct walk *w, uint32_t volume, uint64_t end)
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
	if (!is_marked(w, m.volume, m.leaf) ||
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
			more = leaf_run(w, &w->leaves[i]) || more;
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
static bool ask(struct walk *w, struct walk_question *q, const struct frame_compare_ask *m)
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
	(void)ask(w, &w->end, &(struct frame_compare_ask){.kind = COMPARE_END});
}

/* The own trees cannot be read: what is to be compared must be there.  The next copy is a full one. */
static void own_bad(struct walk *w, int rc)
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
	bool marked = is_marked(w, volume, (m.index + 1) << MAP_SHIFT * w->level);
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
	if (!ask(w, &w->page_question, &m) || !w->page_question.told || w->page_op.waits != 0)
		return false; /* wait: both pages */
	w->page_phase = PAGE_NONE;
	if (rc == -ERR_NOT_FOUND || w->page_question.rc == -ERR_NOT_FOUND)
		volume_skip(w);
	else if (rc == -ERR_NOMEM)
		w->page_phase = PAGE_ASK;
	else if (rc < 0)
		own_bad(w, rc);
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

/* --- a leaf --- */

static bool leaf_run(struct walk *w, struct walk_leaf *l)
{
	switch (l->phase) {
	case LEAF_FREE:
		return false;
	case LEAF_SUMS:
		return sums_run(w, l);
	case LEAF_HASH:
		return hash_run(w, l);
	case LEAF_FETCH:
		return fetch_run(w, l);
	case LEAF_COMING:
		return blocks_run(w, l);
	}
	UNREACHABLE("phase of a leaf");
}

static bool bit_get(const uint64_t *mask, uint32_t i)
{
	return (mask[i / 64] >> i % 64 & 1) != 0;
}

static void bit_set(uint64_t *mask, uint32_t i)
{
	mask[i / 64] |= 1ull << i % 64;
}

static uint32_t bits_count(const uint64_t *mask)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < MASK_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(mask[i]);
	return n;
}

/* The first run of set bits from *first on, at most `max`; 0: none. */
static uint32_t run_next(const uint64_t *mask, uint32_t *first, uint32_t max)
{
	uint32_t n = 0;

	while (*first < LEAF_BLOCKS && !bit_get(mask, *first))
		(*first)++;
	while (n < max && *first + n < LEAF_BLOCKS && bit_get(mask, *first + n))
		n++;
	return n;
}

static bool sums_run(struct walk *w, struct walk_leaf *l)
{
	struct frame_compare_ask m = {
		.kind = COMPARE_SUMS, .volume = l->volume, .index = l->leaf, .since = w->since};
	int rc = l->own.done.rc;

	l->marked = is_marked(w, l->volume, l->leaf + 1);
	if (l->marked)
		m.since = w->mark.since;
	if (!ask(w, &l->question, &m) || !l->question.told || l->op.waits != 0)
		return false; /* wait: both sides' sums */
	if (rc == -ERR_NOMEM) {
		completion_arm(&l->own.done, &l->op, BIT_OWN);
		replica_sums(w->f->replica, &l->own);
		return false; /* wait: ours, again */
	}
	if (rc == -ERR_NOT_FOUND || l->question.rc == -ERR_NOT_FOUND)
		l->phase = LEAF_FREE;
	else if (rc < 0)
		own_bad(w, rc);
	else if (l->question.rc < 0)
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot answer about a leaf");
	else
		sums_compare(w, l);
	return true;
}

/* K2, K3 */
static void sums_compare(struct walk *w, struct walk_leaf *l)
{
	uint32_t changed = l->changed | (l->marked ? 0 : l->own.changed); /* K5 */

	for (uint32_t i = 0; i < LEAF_BLOCKS; i++) {
		bool theirs = bit_get(l->data, i), ours = bit_get(l->own.data, i);

		if (theirs && (!ours || l->crcs[i] != l->own.crcs[i]))
			bit_set(l->want, i);
		else if (ours && !theirs && w->f->mutant != REPL_MUTANT_FORGET_DISCARDS)
			bit_set(l->holes, i);
		else if (theirs && (changed >> i / CHUNK_BLOCKS & 1) != 0)
			bit_set(l->doubt, i);
	}
	w->status.leaves++;
	l->question = (struct walk_question){0};
	l->next = 0;
	l->hash = 0;
	l->hashing = l->hashed = l->hash_bad = false;
	l->phase = bits_count(l->doubt) > 0 ? LEAF_HASH : LEAF_FETCH;
}

/* Read the next of the own blocks in doubt; false: wait. */
static bool hash_next(struct walk *w, struct walk_leaf *l)
{
	uint32_t n = run_next(l->doubt, &l->next, FRAME_BASE_BLOCKS_MAX);
	static const uint32_t sizes[] = {FRAME_BASE_BLOCKS_MAX, CHUNK_BLOCKS, 1};

	if (n == 0) {
		l->hashed = true;
		l->hashing = false;
		w->hashing--;
		return true;
	}
	for (uint32_t k = 0; k < ARRAY_COUNT(sizes) && l->buf == NULL; k++) {
		n = n < sizes[k] ? n : sizes[k];
		l->buf = buf_take_reserve(w->env->bufs, n * BLOCK_BYTES, BUF_RESERVE);
	}
	if (l->buf == NULL) {
		follower_arm(w->f, 5 * MS_NS);
		return false;
	}
	l->read = (struct replica_read){.volume = l->volume,
					.block = l->leaf * LEAF_BLOCKS + l->next,
					.count = n,
					.data = l->buf->data,
					.no_repair = true}; /* it will be fetched */
	l->next += n;
	completion_arm(&l->read.done, &l->op, BIT_OWN);
	replica_read(w->f->replica, &l->read);
	return false;
}

static bool hash_run(struct walk *w, struct walk_leaf *l)
{
	struct frame_compare_ask m = {.kind = COMPARE_HASH, .volume = l->volume, .index = l->leaf};

	memcpy(m.blocks, l->doubt, sizeof(m.blocks));
	(void)ask(w, &l->question, &m);
	if (l->op.waits != 0)
		return false; /* wait: a read */
	if (!l->hashed && !l->hashing) {
		if (w->hashing == WALK_HASHES)
			return false; /* wait: another leaf */
		l->hashing = true;
		w->hashing++;
	}
	if (l->buf != NULL) {
		l->hash_bad = l->hash_bad || l->read.done.rc < 0;
		l->hash = crc64(l->hash, l->buf->data, l->read.count * BLOCK_BYTES);
		buf_unref(&l->buf);
	}
	if (!l->hashed && !hash_next(w, l))
		return false; /* wait: a read, a buf */
	if (!l->question.told)
		return false; /* wait: theirs */
	if (l->question.rc == -ERR_NOT_FOUND) {
		l->phase = LEAF_FREE;
		return true;
	}
	if (l->question.rc < 0) {
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot answer about blocks");
		return true;
	}
	if (l->hash_bad || l->hash != l->hash_told)
		for (uint32_t i = 0; i < MASK_WORDS; i++)
			l->want[i] |= l->doubt[i];
	l->question = (struct walk_question){0};
	l->phase = LEAF_FETCH;
	return true;
}

/* Make holes; true when all are on their way. */
static bool holes_run(struct walk *w, struct walk_leaf *l)
{
	struct repl_follower *f = w->f;
	struct import_slot *slot;
	uint32_t first = 0, n;

	while ((n = run_next(l->holes, &first, FRAME_BASE_BLOCKS_MAX)) > 0) {
		if (list_empty(&f->import_free))
			return false; /* wait: an import ends */
		slot = container_of(list_pop_front(&f->import_free), struct import_slot, link);
		slot->import = (struct replica_import){.volume = l->volume,
						       .block = l->leaf * LEAF_BLOCKS + first,
						       .count = n,
						       .over = true};
		slot->leaf = l;
		l->imports++;
		f->imports_flying++;
		w->status.holes += n;
		for (uint32_t i = first; i < first + n; i++)
			l->holes[i / 64] &= ~(1ull << i % 64);
		completion_arm(&slot->import.done, &slot->op, 1);
		replica_stage_import(f->replica, &slot->import);
	}
	return true;
}

static bool fetch_run(struct walk *w, struct walk_leaf *l)
{
	struct frame_compare_ask m = {
		.kind = COMPARE_BLOCKS, .volume = l->volume, .index = l->leaf};
	uint64_t bytes;

	if (!holes_run(w, l))
		return false;
	l->want_count = bits_count(l->want);
	bytes = (uint64_t)l->want_count * BLOCK_BYTES;
	if (bytes == 0) {
		if (l->imports > 0)
			return false; /* wait: holes */
		l->phase = LEAF_FREE;
		return true;
	}
	if (w->window_bytes > 0 && w->window_bytes + bytes > WALK_WINDOW_BYTES)
		return false; /* wait: the window */
	memcpy(m.blocks, l->want, sizeof(m.blocks));
	if (!ask(w, &l->question, &m))
		return false; /* wait: room */
	w->window_bytes += bytes;
	l->phase = LEAF_COMING;
	return true;
}

static bool blocks_run(struct walk *w, struct walk_leaf *l)
{
	uint64_t bytes = (uint64_t)l->want_count * BLOCK_BYTES;

	if (!l->question.told || l->imports > 0)
		return false; /* wait: blocks, their imports */
	assert(w->window_bytes >= bytes);
	if (l->question.rc == 0 && l->got != l->want_count) {
		follower_fail(w->f, -ERR_PROTOCOL, "blocks that were asked for did not come");
	} else if (l->question.rc < 0 && l->question.rc != -ERR_NOT_FOUND) {
		follower_fail(w->f, -ERR_PROTOCOL, "the source cannot send blocks");
	} else {
		w->window_bytes -= bytes;
		l->phase = LEAF_FREE;
	}
	return true;
}

int walk_base(struct walk *w, struct import_slot *slot)
{
	const struct replica_import *im = &slot->import;
	uint32_t first = (uint32_t)(im->block % LEAF_BLOCKS);

	for (uint32_t i = 0; i < WALK_LEAVES; i++) {
		struct walk_leaf *l = &w->leaves[i];

		if (l->phase != LEAF_COMING || l->question.told || l->volume != im->volume ||
		    l->leaf != im->block / LEAF_BLOCKS)
			continue;
		for (uint32_t k = first; k < first + im->count; k++) {
			if (!bit_get(l->want, k))
				return -ERR_PROTOCOL;
			l->want[k / 64] &= ~(1ull << k % 64); /* each once */
		}
		slot->leaf = l;
		slot->import.over = true;
		l->got += im->count;
		l->imports++;
		w->heard = clock_now(w->env->clock);
		w->status.fetched_bytes += (uint64_t)im->count * BLOCK_BYTES;
		return 0;
	}
	return -ERR_PROTOCOL;
}

void walk_imported(struct walk *w, struct import_slot *slot)
{
	assert(slot->leaf != NULL && slot->leaf->imports > 0);
	slot->leaf->imports--;
	slot->leaf = NULL;
	op_wake(&w->f->op);
}
