/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/stage.c
 * Purpose.     Put a finished staging replica in the place of the visible one (QUORUM J8), fold and
 *              digest on request.
 * Invariants.  SG1 One checkpoint does it: before it is durable a crash finds the old replica and drops
 *                  the staging one; after it, the new one is all there is.
 *              SG2 It happens in a turn of the worker, when the old replica is idle: nobody holds it.
 *              SG3 The old replica's snapshots become the new one's, with their readers.
 * States.      switch: TURN -> DURABLE -> done.
 * Failure.     A failed checkpoint has failed the store: -ERR_FAILED.
 */
#include <stdlib.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/fold.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/replica_fold.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/store_state.h"

#define RETRY_NS (5 * MS_NS)
#define WAIT_PART 1u
#define WAIT_TIMER 2u

struct stage_switch {
	struct op op;
	struct list_link all; /* store.switches */
	struct store *s;
	struct uuid group;
	struct fold_turn turn;
	struct replica *old;
	bool switched;
	struct timer timer;
	struct completion part, *done;
};

static void switch_step(struct op *op);

static void switch_end(struct stage_switch *w, int rc)
{
	struct completion *done = w->done;

	if (w->old != NULL)
		replica_free(&w->old);
	list_remove(&w->all);
	free(w);
	completion_fire(done, rc);
}

/* Nobody is at work on it, and its snapshots are pinned or never will be. */
static bool old_is_ready(struct store *s, struct replica *old)
{
	const struct replica_entry *e = store_entry(s, old);

	if (!past_let_go(s->past, old))
		return false;
	if (replica_is_held_by_others(old) || !replica_is_idle(old, NULL))
		return false;
	if (replica_snapshots_unpinned(old) == 0)
		return true;
	if (replica_snaps_needed(old) || e == NULL || e->retry_rc == 0)
		return false;
	log_warn(
		s->env->log, "store",
		"group %s: the copy replaces a replica that cannot be folded: its newest snapshots go",
		replica_name(old));
	return true;
}

/* In the worker's turn: nothing is folded or captured now. */
static void switch_turn(struct fold_turn *t)
{
	struct stage_switch *w = container_of(t, struct stage_switch, turn);
	struct replica *staging = replica_staging(w->s, &w->group);
	struct replica *old = replica_find(w->s, &w->group);

	if (w->s->failed || staging == NULL) {
		completion_fire(&w->part, w->s->failed ? -ERR_FAILED : -ERR_NOT_FOUND);
		return;
	}
	if (old != NULL && !old_is_ready(w->s, old)) {
		completion_fire(&w->part, -ERR_AGAIN); /* SG2: looked at again in a moment */
		return;
	}
	if (old != NULL) {
		replica_snaps_move(old, staging); /* SG3 */
		store_forget_replica(w->s, old);
		replica_give_all(old);
	}
	replica_set_staging(staging, false);
	store_resort_replica(w->s, staging);
	w->old = old;
	w->switched = true;
	store_checkpoint(w->s, &w->part); /* SG1 */
}

static void switch_step(struct op *op)
{
	struct stage_switch *w = container_of(op, struct stage_switch, op);

	if (op->waits != 0)
		return; /* wait: the turn, or the checkpoint */
	if (w->switched || (w->part.rc < 0 && w->part.rc != -ERR_AGAIN)) {
		switch_end(w, w->part.rc);
		return;
	}
	if (w->part.rc == -ERR_AGAIN) {
		w->part.rc = 0;
		w->timer.deadline.v = clock_now(w->s->env->clock).v + RETRY_NS;
		completion_arm(&w->timer.done, op, WAIT_TIMER);
		clock_timer_arm(w->s->env->clock, &w->timer);
		return; /* wait: the old replica's last reader */
	}
	completion_arm(&w->part, op, WAIT_PART);
	fold_want_turn(w->s->fold, &w->turn);
}

void replica_stage_switch(struct store *s, const struct uuid *group, struct completion *done)
{
	struct stage_switch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	op_init(&w->op, s->env->ready, switch_step);
	w->s = s;
	w->group = *group;
	w->turn.turn = switch_turn;
	w->done = done;
	list_link_init(&w->all);
	list_push_back(&s->switches, &w->all);
	op_wake(&w->op);
}

void stage_switches_abandon(struct store *s)
{
	struct list_link *link;

	while ((link = list_pop_front(&s->switches)) != NULL) {
		struct stage_switch *w = container_of(link, struct stage_switch, all);

		op_unqueue(&w->op);
		if (w->old != NULL)
			replica_abandon(&w->old);
		free(w);
	}
}

void replica_fold(struct replica *r, struct completion *done)
{
	store_fold_now(replica_store(r), r, done);
}
