/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/walk.h: the follower's side of a resync by comparison, private to follower.c, stage.c and
 * walk.c of this room.
 */
#ifndef TS_REPL_WALK_H
#define TS_REPL_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"

struct conn_frame;
struct import_slot;
struct repl_follower;
struct walk;

/* Begin at the root of every volume of f->full; f->replica is the staging replica. */
MUST_CHECK int walk_open(struct repl_follower *f, struct walk **ret_walk);
/* Get on as far as possible; may fail the follower. */
void walk_step(struct walk *w);
MUST_CHECK int walk_told(struct walk *w, const struct conn_frame *frame); /* COMPARE_TOLD */
/* BASE: may these blocks be imported?  0, or -ERR_PROTOCOL: nobody asked for them.  Marks the slot. */
MUST_CHECK int walk_base(struct walk *w, struct import_slot *slot);
void walk_imported(struct walk *w, struct import_slot *slot);
bool walk_is_quiet(const struct walk *w); /* nothing in flight but imports */
/* It ends here: for the next walk with the same staging replica.  Quiet, and no import in flight. */
void walk_leave_mark(const struct walk *w);
void walk_free(struct walk **w);
void walk_abandon(struct walk **w);

struct walk_status {
	uint64_t pages_skipped, leaves, fetched_bytes,
		holes; /* subtrees passed over; compared; blocks */
};
void walk_status(const struct walk *w, struct walk_status *ret);

#endif
