/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold.h: the background worker of a store: folds windows, gives ghosts back, starts
 * checkpoints and switches, one after the other.
 */
#ifndef TS_STORE_FOLD_H
#define TS_STORE_FOLD_H

#include "engine/base/op.h"
#include "engine/store/store_state.h"

struct fold;

MUST_CHECK int fold_open(struct store *s, struct fold **ret_fold);
void fold_close(struct fold **f);

void fold_kick(struct fold *f);
void fold_want_checkpoint(struct fold *f, struct completion *done);
void fold_want_fold(struct fold *f, struct replica_entry *e, struct completion *done);
/* Run `turn` once, when neither a window nor a checkpoint is under way (nothing is held). */
struct fold_turn {
	struct list_link link;
	void (*turn)(struct fold_turn *t);
};
void fold_want_turn(struct fold *f, struct fold_turn *t);
/* r leaves the list: its waiters are told. */
void fold_replica_gone(struct fold *f, struct replica_entry *e);
/* No more windows; `done` fires when nothing is under way. */
void fold_stop(struct fold *f, struct completion *done);

#endif
