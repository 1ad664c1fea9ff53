/* SPDX-License-Identifier: Apache-2.0 */
/* engine/repl/walk_state.h: the inside of a walk, for walk.c and walk_leaf.c only. */
#ifndef TS_REPL_WALK_STATE_H
#define TS_REPL_WALK_STATE_H

#include "engine/repl/follower.h"

#define WALK_LEAVES 32u
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

/* walk.c: send a question once; true when it has gone. */
bool walk_ask(struct walk *w, struct walk_question *q, const struct frame_compare_ask *m);
/* Is everything of the volume before leaf `end` before the mark?  K5 */
bool walk_is_marked(const struct walk *w, uint32_t volume, uint64_t end);
void walk_own_bad(struct walk *w, int rc);
/* walk_leaf.c: get on with a leaf; true: something was done. */
bool walk_leaf_run(struct walk *w, struct walk_leaf *l);

#endif
