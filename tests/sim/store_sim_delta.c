/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/store_sim_delta.c: the delta of two snapshots, of every volume of either, is the model's
 * difference: `from` with it applied is `to`, block by block, and no run says what is not so.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/store_sim.h"

static void nothing_step(struct op *op)
{
	(void)op;
}

static bool well(const struct ss *s)
{
	return !s->down && !s->failed && !store_is_failed(s->store);
}

static uint32_t id_at(const struct model_volume *v, uint64_t block)
{
	return v->exists && block < v->blocks ? v->ids[block] : 0;
}

/* Both ends of a delta of one volume. */
struct ends {
	uint32_t slot;
	const struct model_volume *from, *to;
	uint64_t next; /* blocks below were compared */
	bool exact;    /* by checksum: equal content is in no run */
};

static void wrong(struct ss *s, const struct ends *e, uint64_t block, const char *what)
{
	char text[160];

	snprintf(text, sizeof(text), "delta of volume %u, block %llu (id %u, then %u): %s", e->slot,
		 (unsigned long long)block, id_at(e->from, block), id_at(e->to, block), what);
	ss_fail_data(s, text);
}

/* Blocks in no run, up to `end`: as they were. */
static void compare_left_out(struct ss *s, struct ends *e, uint64_t end)
{
	for (; e->next < end && !s->failed; e->next++)
		if (id_at(e->from, e->next) != id_at(e->to, e->next))
			wrong(s, e, e->next, "differs and is left out");
}

static void compare_run(struct ss *s, struct ends *e, const struct delta_run *run)
{
	if (run->block < e->next || run->count == 0)
		wrong(s, e, run->block, "runs are out of order");
	compare_left_out(s, e, run->block);
	s->kinds[SS_DELTA_BLOCKS] += run->count;
	for (; e->next < run->block + run->count && !s->failed; e->next++) {
		uint32_t from = id_at(e->from, e->next), to = id_at(e->to, e->next);

		if (run->kind == DELTA_DATA && (to == 0 || (e->exact && from == to)))
			wrong(s, e, e->next, to == 0 ? "has no data" : "is equal");
		if (run->kind != DELTA_DATA && to != 0)
			wrong(s, e, e->next, "is told to be empty");
		if (run->kind != DELTA_DATA && from == 0 && e->to->exists)
			wrong(s, e, e->next, "was empty before");
	}
}

static void delta_of_volume(struct ss *s, struct ends *e, const struct uuid *uuid)
{
	struct snapshot_delta *d = &s->delta;

	memset(d, 0, sizeof(*d));
	d->from = s->delta_from;
	d->to = s->held;
	d->volume = *uuid;
	d->by_checksum = e->exact;
	while (!d->end && well(s)) {
		op_init(&s->wait.op, s->env->ready, nothing_step);
		completion_arm(&d->done, &s->wait.op, 1);
		snapshot_delta(d);
		(void)ss_wait(s, "snapshot_delta");
		if (s->down)
			return;
		if (d->done.rc != 0) {
			if (!store_is_failed(s->store))
				ss_fail(s, "the delta of volume %u answered %s", e->slot,
					err_name(d->done.rc));
			return;
		}
		for (uint32_t i = 0; i < d->run_count && !s->failed; i++)
			compare_run(s, e, &d->runs[i]);
	}
	if (!well(s))
		return;
	compare_left_out(s, e, e->to->exists ? e->to->blocks : e->from->blocks);
	s->kinds[SS_DELTAS]++;
}

/* The UUID of a slot: in either, the same. */
static bool volume_uuid(struct ss *s, uint32_t slot, struct uuid *ret)
{
	static struct replica_volume volumes[VOLUMES_MAX];
	const struct snapshot *const snaps[2] = {s->held, s->delta_from};

	for (uint32_t k = 0; k < 2; k++) {
		uint32_t n =
			snaps[k] == NULL ? 0 : snapshot_volumes(snaps[k], volumes, VOLUMES_MAX);

		for (uint32_t i = 0; i < n; i++)
			if (volumes[i].slot == slot) {
				*ret = volumes[i].uuid;
				return true;
			}
	}
	return false;
}

void ss_delta(struct ss *s)
{
	static struct model_snap nothing;
	struct model_snap *from = ss_snap_choose(s), *to = ss_snap_choose(s);
	bool exact = prng_below(&s->prng, 2) == 0;

	if (to == NULL || s->held != NULL || s->delta_from != NULL)
		return; /* what is read over several actions goes on */
	if (prng_below(&s->prng, 8) == 0)
		from = &nothing;
	else
		s->delta_from = ss_snap_open(s, from);
	if (!well(s) || (from != &nothing && s->delta_from == NULL))
		return; /* one of the past that is missing */
	s->held = ss_snap_open(s, to);
	s->held_model = to;
	for (uint32_t slot = 0; slot < MODEL_VOLUMES_MAX && well(s) && s->held != NULL; slot++) {
		struct ends e = {.slot = slot,
				 .from = &from->volumes[slot],
				 .to = &to->volumes[slot],
				 .exact = exact};
		struct uuid uuid;

		if (!e.from->exists && !e.to->exists)
			continue;
		if (!volume_uuid(s, slot, &uuid))
			ss_fail(s, "snapshots have no volume in slot %u", slot);
		else
			delta_of_volume(s, &e, &uuid);
	}
	if (well(s))
		ss_snap_release(s);
}
