/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/past.h: makes snapshots of moments in the past, one at a time, in the background: an anchor's
 * roots, and the records between it and the moment folded onto them.  Only the store room includes it.
 */
#ifndef TS_STORE_PAST_H
#define TS_STORE_PAST_H

#include "engine/store/snapshot_state.h"

struct fold_batch;
struct past;

MUST_CHECK int past_open(struct store *s, struct past **ret);
void past_close(struct past **p);
void past_kick(struct past *p); /* there may be one to make, or one that is not wanted any more */
/* The store closes: stops; op is woken when it has. */
bool past_is_idle(struct past *p, struct op *op);

/* Nothing of it holds r: true.  Else it gives up what it makes of r, soon, for good. */
bool past_let_go(struct past *p, const struct replica *r);
/* Its anchor and the journal from there on; all but pinned, it can do without them, but for a crash. */
bool past_needs(const struct past *p, const struct snapshot *snap);
bool past_makes(const struct past *p, const struct snapshot *snap); /* it is at work on it */

/* For the worker (fold.c): one bounded piece of work, when nothing else of it runs. */
bool past_wants_turn(const struct past *p);
void past_turn(struct past *p, struct fold_batch *batch, struct completion *done);

/* For a capture: a snapshot is to be pinned by it, all maps being written out; pin it. */
bool past_pin_wanted(const struct past *p);
void past_pin(struct past *p);
/* Trees in the making, by number, NULL beyond the last: no replica has them, and after a crash nobody. */
#define PAST_MAPS VOLUMES_MAX
struct map *past_map(const struct past *p, uint32_t i); /* NULL: none with that number */

#endif
