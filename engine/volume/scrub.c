/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/scrub.c
 * Purpose.     Everything in this site's store is read now and then, so that what went bad is repaired while
 *              a peer has it: by request, and by itself.
 * Invariants.  SB1 One pass at a time, group after group in name order, in any role: the store of a
 *                  secondary rots like a primary's.
 *              SB2 Clients come first: once a second the rate is decided anew (policy/pace.h) from the
 *                  slowest hundredth of their operations, beside what it was before the pass.
 *              SB3 A request is answered by the pass that does what it asks for, whoever began it.
 * States.      idle -> running [asked, or SCRUB_EVERY_NS since the last of all groups] -> idle.
 * Ownership.   store_scrub is the store's until done; the conductor is not stopped before.
 * Failure.     A group that went meanwhile is passed over; a failed store ends the pass.
 * Limits.      When the last pass was is known in memory only: after a start the first one by itself comes
 *              after SCRUB_FIRST_NS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/policy/pace.h"
#include "engine/store/scrub.h"
#include "engine/volume/request.h"

#define W_SCRUB 8u /* of the conductor */
#define HOUR_NS (3600 * SEC_NS)
#define SCRUB_FIRST_NS (6 * HOUR_NS)
#define SCRUB_EVERY_NS (14 * 24 * HOUR_NS)
#define BYTES_S_DEFAULT (64ull << 20)
#define BYTES_S_FLOOR (1ull << 20)
#define SLOW_PPM 990000u

struct scrubs {
	struct store_scrub scrub; /* of the group under way */
	bool running, all;
	struct uuid only; /* unless all */
	char group[NAME_BYTES_MAX + 1];
	uint64_t pass; /* number of the one under way, or of the last */
	struct scrub_result sum;
	struct mono_ns last_full; /* or the boot */
	bool had_full;
	uint64_t success_s; /* wall clock at the end of the last full pass; 0: none yet */

	struct { /* what the last pass found: SB3 */
		uint64_t pass;
		int rc;
		struct scrub_result sum;
	} ended;

	/* SB2 */
	uint64_t bytes_s;
	uint64_t baseline_ns;
	struct mono_ns ticked;
	struct hist before, now;
};

static void pass_next(struct conductor *c);
static void pass_end(struct conductor *c, int rc);

int scrubs_open(struct conductor *c)
{
	c->scrubs = calloc(1, sizeof(*c->scrubs));
	if (c->scrubs == NULL)
		return -ERR_NOMEM;
	c->scrubs->last_full = c->boot;
	return 0;
}

bool scrubs_are_idle(const struct conductor *c)
{
	return !c->scrubs->running;
}

void conductor_scrub_status(const struct conductor *c, struct scrub_status *ret)
{
	*ret = (struct scrub_status){.running = c->scrubs->running,
				     .last_success_s = c->scrubs->success_s};
}

/* --- pacing --- */

static void times_of_clients(struct conductor *c, struct hist *ret)
{
	hist_init(ret);
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		LIST_FOR_EACH(m, &g->volumes) {
			const struct volume *v = container_of(m, struct volume, link);

			hist_merge(ret, &v->hist[IO_OP_READ][IO_STAGE_TOTAL]);
			hist_merge(ret, &v->hist[IO_OP_WRITE][IO_STAGE_TOTAL]);
		}
	}
}

/* now -= before; false: a volume went meanwhile. */
static bool times_since(struct hist *now, const struct hist *before)
{
	if (now->count < before->count)
		return false;
	for (uint32_t i = 0; i < HIST_BUCKET_COUNT; i++) {
		if (now->buckets[i] < before->buckets[i])
			return false;
		now->buckets[i] -= before->buckets[i];
	}
	now->count -= before->count;
	return true;
}

static uint64_t bytes_s_max(const struct conductor *c)
{
	return c->o.scrub_bytes_s != 0 ? c->o.scrub_bytes_s : BYTES_S_DEFAULT;
}

static void pace_tick(struct conductor *c)
{
	struct scrubs *x = c->scrubs;
	struct hist total;
	struct pace_facts f = {.max = bytes_s_max(c),
			       .floor = BYTES_S_FLOOR,
			       .now = x->bytes_s,
			       .baseline_ns = x->baseline_ns};

	if (f.max < f.floor)
		f.floor = f.max;
	x->ticked = clock_now(c->env->clock);
	times_of_clients(c, &x->now);
	total = x->now;
	if (times_since(&x->now, &x->before))
		f.recent_ns = hist_quantile_ns(&x->now, SLOW_PPM);
	x->before = total;
	x->bytes_s = pace_next(&f);
	if (f.recent_ns != 0 && (x->baseline_ns == 0 || f.recent_ns < x->baseline_ns))
		x->baseline_ns = f.recent_ns;
	store_scrub_pace(c->store, x->bytes_s);
}

/* --- a pass --- */

/* `only` NULL: all groups. */
static void pass_begin(struct conductor *c, const struct uuid *only)
{
	struct scrubs *x = c->scrubs;

	assert(!x->running);
	x->running = true;
	x->pass++;
	x->all = only == NULL;
	x->only = only != NULL ? *only : (struct uuid){{0}};
	x->group[0] = '\0';
	x->sum = (struct scrub_result){0};
	times_of_clients(c, &x->before);
	x->baseline_ns = hist_quantile_ns(&x->before, SLOW_PPM);
	x->bytes_s = x->baseline_ns == 0 ? bytes_s_max(c) : bytes_s_max(c) / 2;
	x->ticked = clock_now(c->env->clock);
	pass_next(c);
}

static struct group *pass_group(struct conductor *c)
{
	struct scrubs *x = c->scrubs;

	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (strcmp(g->name, x->group) > 0 && (x->all || uuid_equal(&g->uuid, &x->only)) &&
		    replica_find(c->store, &g->uuid) != NULL)
			return g;
	}
	return NULL;
}

static void pass_next(struct conductor *c)
{
	struct scrubs *x = c->scrubs;
	struct group *g = pass_group(c);
	int rc;

	if (g == NULL) {
		pass_end(c, 0);
		return;
	}
	memcpy(x->group, g->name, sizeof(x->group));
	x->scrub.group = g->uuid;
	completion_arm(&x->scrub.done, &c->op, W_SCRUB);
	rc = store_scrub_start(c->store, &x->scrub, x->bytes_s);
	if (rc < 0)
		completion_fire(&x->scrub.done, rc);
}

static void group_ended(struct conductor *c)
{
	struct scrubs *x = c->scrubs;
	const struct scrub_result *n = &x->scrub.result;

	x->sum.bytes += n->bytes;
	x->sum.bad += n->bad;
	x->sum.repaired += n->repaired;
	x->sum.unrepairable += n->unrepairable;
	if (n->bad > 0)
		conductor_event(c, EVENT_REPAIR, conductor_group(c, &x->scrub.group), "bad",
				n->unrepairable > 0 ? "bad" : "repaired", n->bad * BLOCK_BYTES, 0,
				"a scrub found %llu bad blocks: %llu are repaired, nobody has %llu",
				(unsigned long long)n->bad, (unsigned long long)n->repaired,
				(unsigned long long)n->unrepairable);
}

static void pass_end(struct conductor *c, int rc)
{
	struct scrubs *x = c->scrubs;

	x->running = false;
	x->ended.pass = x->pass;
	x->ended.rc = rc;
	x->ended.sum = x->sum;
	if (rc == 0 && x->all) {
		x->had_full = true;
		x->last_full = clock_now(c->env->clock);
		x->success_s = clock_wall(c->env->clock).v / SEC_NS;
	}
	op_wake(&c->op);
}

void scrubs_progress(struct conductor *c)
{
	struct scrubs *x = c->scrubs;
	uint64_t now = clock_now(c->env->clock).v;
	int rc = x->scrub.done.rc;

	if (!x->running) {
		if (!c->stopping && !c->store_failed &&
		    now - x->last_full.v >= (x->had_full ? SCRUB_EVERY_NS : SCRUB_FIRST_NS))
			pass_begin(c, NULL);
		return;
	}
	if (completion_armed(&x->scrub.done)) {
		if (c->stopping)
			store_scrub_stop(c->store);
		else if (now - x->ticked.v >= SEC_NS)
			pace_tick(c);
		return;
	}
	group_ended(c);
	if (rc == 0 || rc == -ERR_NOT_FOUND)
		rc = c->stopping ? -ERR_CLOSED : 0;
	if (rc == 0)
		pass_next(c);
	else
		pass_end(c, rc);
}

/* --- asked for --- */

static int pass_answer(struct conductor_request *r)
{
	struct scrubs *x = r->c->scrubs;
	int rc = x->ended.rc;

	r->scrub = x->ended.sum;
	return rc < 0 ? request_fail(r, rc, "the scrub ended early: %s", err_text(rc)) : 0;
}

int request_scrub(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct conductor *c = r->c;
	struct scrubs *x = c->scrubs;
	const struct group *g = NULL;

	if (s->phase == REQ_ASKED && x->ended.pass >= s->pass)
		return pass_answer(r);
	if (s->phase == REQ_ASKED) {
		snprintf(r->text, sizeof(r->text), "the scrub goes on: it has read %llu MiB",
			 (unsigned long long)(x->sum.bytes + x->scrub.result.bytes) >> 20);
		return -ERR_AGAIN;
	}
	if (c->store_failed)
		return request_fail(r, -ERR_FAILED, "the store has failed");
	if (!r->all) {
		g = conductor_group_named(c, r->group.name, (uint32_t)strlen(r->group.name));
		if (g == NULL || replica_find(c->store, &g->uuid) == NULL)
			return request_fail(r, -ERR_NOT_FOUND, "no group named %s has data here",
					    r->group.name);
	}
	if (x->running && !x->all && (r->all || !uuid_equal(&x->only, &g->uuid))) {
		snprintf(r->text, sizeof(r->text), "a scrub of another group is under way");
		return -ERR_AGAIN; /* wait: one at a time */
	}
	if (!x->running)
		pass_begin(c, r->all ? NULL : &g->uuid);
	s->pass = x->pass; /* SB3 */
	s->phase = REQ_ASKED;
	return x->running ? -ERR_AGAIN : pass_answer(r);
}
