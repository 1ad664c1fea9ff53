/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/stall.c
 * Purpose.     A journal write, or the flush of a checkpoint, that does not end within disk_stall is a
 *              failure like any other: the store is FAILED, its roles are given up, the peer is told.
 * Invariants.  SW1  Time is counted in looks, LOOKS of them within disk_stall, each at most once a turn of
 *                   the loop: a process that was stopped for an hour finds what was written meanwhile
 *                   before it can have looked LOOKS times.
 *              SW2  What fails has been in flight for disk_stall at least; what has been for a look more
 *                   (9/8 of it) has failed.
 * Failure.     One way: store_fail.  What the disk answers later changes nothing (ST1).
 * Limits.      Writes of home and map, and superblocks, are not watched: they hold up no
 *              acknowledgement by themselves, and a disk that keeps them keeps the journal's soon.
 */
#include "engine/store/stall.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/store/checkpoint.h"
#include "engine/store/store_state.h"

#define LOOKS 8u
#define BIT_TIMER 1u

struct stall_watch {
	struct op op;
	struct timer timer;
	struct store *s;
};

static void look_again(struct stall_watch *w)
{
	w->timer.deadline.v =
		clock_now(w->s->env->clock).v + w->s->opts.disk_stall_ms * MS_NS / LOOKS;
	completion_arm(&w->timer.done, &w->op, BIT_TIMER);
	clock_timer_arm(w->s->env->clock, &w->timer);
}

static void watch_step(struct op *op)
{
	struct stall_watch *w = container_of(op, struct stall_watch, op);
	struct store *s = w->s;

	if (op->waits != 0 || s->failed)
		return; /* wait: the timer, if it is armed */
	if (checkpoint_stalled(s->checkpoint) >= LOOKS) {
		store_fail(s, -ERR_TIMEOUT, "flush that does not end");
		return;
	}
	LIST_FOR_EACH(link, &s->entries) {
		struct replica *r = container_of(link, struct replica_entry, link)->r;

		if (replica_stalled(r) >= LOOKS) {
			store_fail(s, -ERR_TIMEOUT, "write to the journal that does not end");
			return;
		}
	}
	look_again(w);
}

int stall_watch_open(struct store *s, struct stall_watch **ret)
{
	struct stall_watch *w;

	*ret = NULL;
	if (s->opts.disk_stall_ms == 0 || s->opts.read_only)
		return 0;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ERR_NOMEM;
	w->s = s;
	op_init(&w->op, s->env->ready, watch_step);
	look_again(w);
	*ret = w;
	return 0;
}

void stall_watch_close(struct stall_watch **pw)
{
	struct stall_watch *w = *pw;

	*pw = NULL;
	if (w == NULL)
		return;
	if (!w->s->abandoned) {
		if (timer_armed(&w->timer))
			clock_timer_disarm(w->s->env->clock, &w->timer);
		op_unqueue(&w->op);
	}
	free(w);
}
