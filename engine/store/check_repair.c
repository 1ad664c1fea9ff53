/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check_repair.c
 * Purpose.     Repair a store at rest, but only what loses nothing.
 * Invariants.  CR1 A copy of the superblock, or of the floors, is only overwritten when it lost against what
 *                  opening the store for writing believes (superblock U1, U2).
 *              CR2 A count is only lowered, and only to what was reached, and only when all that can be
 *                  reached was read and was right, and no journal has a hole.  What is in use and marked
 *                  free, or counted too low, may have been overwritten: it is told, not hidden.
 *              CR3 Counts are lowered like by everybody else: in memory first, durable with one checkpoint,
 *                  free to be taken only then.  A crash before leaves the leak.
 * States.      LOAD -> SETTLE -> WALK -> OPEN -> CHECKPOINT -> CLOSE -> done.
 * Ownership.   The repairing owns superblocks, then the store; the caller owns struct store_repair.
 * Failure.     What cannot be opened is left as it is: the check says what is wrong.
 * Limits.      leaks.h.
 */
#include "engine/store/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/store/leaks.h"
#include "engine/store/store_parts.h"
#include "engine/store/superblock.h"

#define LINE_BYTES 240
#define LEAKS_STEP 1024u

enum repair_phase {
	REPAIR_LOAD,
	REPAIR_SETTLE,
	REPAIR_WALK,
	REPAIR_OPEN,
	REPAIR_CHECKPOINT,
	REPAIR_CLOSE
};

struct repairing {
	struct op op;
	struct store_repair *q;
	struct env *env;
	struct disk *disk;
	enum repair_phase phase;
	struct completion part;
	struct supers *supers;
	struct store_check walk;
	struct leaks leaks;
	struct store *s;
	int rc; /* of the checkpoint */
};

int leaks_add(struct leaks *l, const struct leak *leak)
{
	if (l->count == l->max) {
		size_t max = l->max + l->max / 2 + LEAKS_STEP;
		struct leak *more = realloc(l->at, max * sizeof(*more));

		if (more == NULL)
			return -ERR_NOMEM;
		l->at = more;
		l->max = max;
	}
	l->at[l->count++] = *leak;
	return 0;
}

void leaks_fini(struct leaks *l)
{
	free(l->at);
	memset(l, 0, sizeof(*l));
}

int leaks_drop(const struct leaks *l, struct space *sp)
{
	for (size_t i = 0; i < l->count; i++)
		if (space_refs(sp, l->at[i].at) != l->at[i].counted)
			return -ERR_CORRUPT;
	for (size_t i = 0; i < l->count; i++) {
		const struct leak *k = &l->at[i];

		for (uint32_t n = k->reached; n < k->counted; n++) {
			if (k->page)
				space_page_drop(sp, k->at);
			else
				space_chunk_drop(sp, k->at);
		}
	}
	return 0;
}

PRINTF_LIKE(2, 3)
static void say(struct repairing *p, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;

	if (p->q->report == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	p->q->report(p->q->ctx, CHECK_REPAIR, line);
}

static void repair_end(struct repairing *p, int rc)
{
	struct store_repair *q = p->q;

	supers_close(&p->supers, false);
	leaks_fini(&p->leaks);
	op_unqueue(&p->op);
	free(p);
	completion_fire(&q->done, rc);
}

/* Superblocks are loaded for writing: those that lost are durable by now. */
static int loaded(struct repairing *p)
{
	int rc = p->part.rc;

	if (rc == -ERR_CORRUPT) {
		say(p,
		    "left alone: the superblock, too few of its copies or of the floors' are good");
		return 1;
	}
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		if (supers_copy_fault(p->supers, i) == NULL)
			continue;
		say(p, "superblock copy %u was %s: written again", i,
		    supers_copy_fault(p->supers, i));
		p->q->repaired++;
	}
	p->phase = REPAIR_SETTLE;
	completion_arm(&p->part, &p->op, 1);
	supers_settle(p->supers, &p->part);
	return 0;
}

static int settled(struct repairing *p)
{
	uint32_t good = supers_good_floors(p->supers);

	if (p->part.rc < 0)
		return p->part.rc;
	if (good < SUPER_COPIES) {
		say(p, "floors: %u of %u copies were bad: all written again", SUPER_COPIES - good,
		    SUPER_COPIES);
		p->q->repaired++;
	}
	supers_close(&p->supers, false);
	p->phase = REPAIR_WALK;
	p->walk.skip_home = p->walk.skip_journal = true;
	p->walk.memory_bytes = p->q->memory_bytes;
	p->walk.leaks = &p->leaks;
	completion_arm(&p->walk.done, &p->op, 1);
	store_check(p->env, p->disk, &p->walk);
	return 0;
}

/* CR2 */
static int walked(struct repairing *p)
{
	struct store_opts opts = {.memory_bytes = p->q->memory_bytes, .leaks = &p->leaks};

	if (p->walk.done.rc < 0)
		return p->walk.done.rc;
	if (p->walk.unsure) {
		say(p,
		    "left alone: %zu counts that are too high: not all that refers to them is known for"
		    " certain",
		    p->leaks.count);
		return 1;
	}
	if (p->leaks.count == 0)
		return 1;
	p->phase = REPAIR_OPEN;
	completion_arm(&p->part, &p->op, 1);
	store_open(p->env, p->disk, &opts, &p->s, &p->part);
	return 0;
}

static void leaks_tell(struct repairing *p)
{
	for (size_t i = 0; i < p->leaks.count; i++) {
		const struct leak *k = &p->leaks.at[i];
		const char *what = k->page ? "page" : "chunk";

		if (k->reached == 0)
			say(p, "%s at %" PRIu64 " was marked used and nothing referred to it: free",
			    what, k->at);
		else
			say(p,
			    "%s at %" PRIu64
			    " was counted %u times, and is referred to %u times: set",
			    what, k->at, k->counted, k->reached);
	}
	p->q->repaired += p->leaks.count;
}

/* 0: wait; 1: done; or an error. */
static int phase_step(struct repairing *p)
{
	switch (p->phase) {
	case REPAIR_LOAD:
		return loaded(p);
	case REPAIR_SETTLE:
		return settled(p);
	case REPAIR_WALK:
		return walked(p);
	case REPAIR_OPEN:
		if (p->part.rc < 0)
			return p->part.rc;
		p->phase = REPAIR_CHECKPOINT; /* CR3 */
		completion_arm(&p->part, &p->op, 1);
		store_checkpoint(p->s, &p->part);
		return 0;
	case REPAIR_CHECKPOINT:
		p->rc = p->part.rc;
		if (p->rc == 0)
			leaks_tell(p);
		p->phase = REPAIR_CLOSE;
		completion_arm(&p->part, &p->op, 1);
		store_close(&p->s, &p->part);
		return 0;
	case REPAIR_CLOSE:
		p->rc = p->rc < 0 ? p->rc : p->part.rc;
		return p->rc < 0 ? p->rc : 1;
	}
	UNREACHABLE("repair phase");
}

static void repair_step(struct op *op)
{
	struct repairing *p = container_of(op, struct repairing, op);
	int rc;

	if (op->waits != 0)
		return; /* wait: the part */
	rc = phase_step(p);
	if (rc != 0)
		repair_end(p, rc < 0 ? rc : 0);
}

void store_check_repair(struct env *env, struct disk *disk, struct store_repair *q)
{
	struct supers_opts opts = {.env = env, .disk = disk};
	struct repairing *p = calloc(1, sizeof(*p));
	int rc = p == NULL ? -ERR_NOMEM : supers_open(&opts, &p->supers);

	q->repaired = 0;
	if (rc < 0) {
		free(p);
		completion_fire(&q->done, rc);
		return;
	}
	p->q = q;
	p->env = env;
	p->disk = disk;
	op_init(&p->op, env->ready, repair_step);
	completion_arm(&p->part, &p->op, 1);
	supers_load(p->supers, &p->part);
}
