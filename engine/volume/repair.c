/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/repair.c
 * Purpose.     Bad blocks of this site's store: who is asked for them, and what people are told.
 * Invariants.  RP1 Each request ends: every question has repl's deadline, each peer is asked at most
 *                  ROUNDS times, and what waits when the conductor closes is told so.
 *              RP2 Who is asked decides nothing: the store takes only what has its checksum, so any
 *                  site that answers will do.
 * States.      waiting -> ASK (peer after peer) -> PAUSE (a peer may be a commit behind) -> ASK -> done.
 * Ownership.   Requests are the store's until done; asks are a pool.
 * Limits.      ASKS at a time, the others wait in order.
 */
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/repair.h"
#include "engine/volume/group.h"

#define ASKS 4u
#define ROUNDS 2u
#define PAUSE_NS (60 * MS_NS) /* a commit is told within 20 ms */

enum { BIT_ANSWER = 1, BIT_PAUSE = 2 };

struct ask {
	struct op op;
	struct conductor *c;
	struct repair_request *q; /* NULL: free */
	struct repl_repair out;
	struct timer timer;
	uint32_t next, rounds; /* peer to ask next */
	bool asked;
	int rc;
};

struct repairs {
	struct list waiting; /* repair_request.link */
	struct ask asks[ASKS];
};

static void ask_step(struct op *op);

static void repairs_start(struct conductor *c)
{
	struct repairs *x = c->repairs;

	for (uint32_t i = 0; i < ASKS; i++) {
		struct ask *a = &x->asks[i];
		struct list_link *link = a->q == NULL ? list_pop_front(&x->waiting) : NULL;

		if (link == NULL)
			continue;
		a->q = container_of(link, struct repair_request, link);
		a->next = a->rounds = 0;
		a->asked = false;
		a->rc = -ERR_NOT_FOUND;
		op_wake(&a->op);
	}
}

static void repairs_fetch(void *ctx, struct repair_request *q)
{
	struct conductor *c = ctx;

	list_link_init(&q->link);
	list_push_back(&c->repairs->waiting, &q->link);
	repairs_start(c);
}

int repairs_open(struct conductor *c)
{
	struct store_repair port = {.fetch = repairs_fetch, .ctx = c, .wake = &c->op};
	struct repairs *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return -ERR_NOMEM;
	list_init(&x->waiting);
	for (uint32_t i = 0; i < ASKS; i++) {
		x->asks[i].c = c;
		op_init(&x->asks[i].op, c->env->ready, ask_step);
	}
	c->repairs = x;
	store_repair_set(c->store, &port);
	return 0;
}

/* RP1 */
void repairs_close(struct conductor *c)
{
	struct repairs *x = c->repairs;
	struct list_link *link;

	store_repair_set(c->store, NULL);
	for (uint32_t i = 0; i < ASKS; i++) {
		struct ask *a = &x->asks[i];

		if (timer_armed(&a->timer))
			clock_timer_disarm(c->env->clock, &a->timer);
		repl_repair_cancel(&a->out);
		op_unqueue(&a->op);
		if (a->q != NULL)
			completion_fire(&a->q->done, -ERR_CLOSED);
	}
	while ((link = list_pop_front(&x->waiting)) != NULL)
		completion_fire(&container_of(link, struct repair_request, link)->done,
				-ERR_CLOSED);
}

/* The next peer that can be asked; false: none is left in this round. */
static bool ask_next(struct ask *a)
{
	struct conductor *c = a->c;
	int rc;

	if (c->repl == NULL || a->next == c->peer_count)
		return false;
	a->out = (struct repl_repair){.group = a->q->group,
				      .snapshot = a->q->snapshot,
				      .volume = a->q->volume,
				      .crc = a->q->crc,
				      .block = a->q->block,
				      .data = a->q->data};
	completion_arm(&a->out.done, &a->op, BIT_ANSWER);
	a->asked = true;
	rc = repl_repair_ask(c->repl, c->peers[a->next++].site, &a->out);
	if (rc < 0)
		completion_fire(&a->out.done, rc);
	return true;
}

static void ask_end(struct ask *a, int rc)
{
	struct repair_request *q = a->q;

	a->q = NULL;
	completion_fire(&q->done, rc);
	repairs_start(a->c);
}

static void ask_step(struct op *op)
{
	struct ask *a = container_of(op, struct ask, op);

	if (op->waits != 0 || a->q == NULL)
		return; /* wait: an answer, the pause */
	if (a->asked) {
		a->asked = false;
		a->rc = a->out.done.rc;
		if (a->rc == 0) {
			ask_end(a, 0);
			return;
		}
	}
	if (ask_next(a))
		return; /* wait: an answer */
	if (++a->rounds == ROUNDS || (a->rc != -ERR_NOT_FOUND && a->rc != -ERR_BUSY)) {
		ask_end(a, a->rc);
		return;
	}
	a->next = 0;
	a->timer.deadline.v = clock_now(a->c->env->clock).v + PAUSE_NS;
	completion_arm(&a->timer.done, op, BIT_PAUSE);
	clock_timer_arm(a->c->env->clock, &a->timer);
	/* wait: the pause */
}

void repairs_tell(struct conductor *c)
{
	struct repair_note n;

	while (store_repair_note(c->store, &n)) {
		struct group *g = conductor_group(c, &n.group);
		unsigned long long block = n.block;

		if (n.result == REPAIR_DONE)
			conductor_event(c, EVENT_REPAIR, g, "bad", "repaired", BLOCK_BYTES, 0,
					"block %llu of volume %u was bad and was repaired", block,
					n.volume);
		else
			conductor_event(c, EVENT_REPAIR, g, "bad", "bad", BLOCK_BYTES, 0,
					"block %llu of volume %u is bad here and no peer has it: "
					"reads of it fail until it is written again",
					block, n.volume);
	}
}
