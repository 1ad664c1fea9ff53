/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/store_sim_clone.c: a second group on the same store, made as a clone of a snapshot of the first.
 * It has a struct ss of its own, whose world, disk and counts are those of the first, so everything
 * there is to do and to check about a group is done and checked about it, too.
 */
#include <stdlib.h>
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

/* What happened to one happened to both. */
static void tell(struct ss *to, const struct ss *from)
{
	to->down = to->down || from->down;
	to->rotten = to->rotten || from->rotten;
	if (!from->failed || to->failed)
		return;
	to->failed = true;
	to->excused = from->excused;
	memcpy(to->what, from->what, sizeof(to->what));
}

static struct ss *clone_new(struct ss *s)
{
	struct ss *c = calloc(1, sizeof(*c));

	assert(c != NULL);
	c->w = s->w;
	c->node = s->node;
	c->env = s->env;
	c->disk = s->disk;
	c->disk_bytes = s->disk_bytes;
	c->small = s->small;
	c->store = s->store;
	c->kinds = s->kinds;
	c->rotten = s->rotten;
	c->m = model_new();
	c->group.b[0] = 0x63;
	c->group.b[1] = (uint8_t)++s->clones_made;
	c->group.b[2] = (uint8_t)(s->clones_made >> 8);
	c->snap_uuids = s->clones_made * 256;
	memcpy(c->spots, s->spots, sizeof(c->spots));
	prng_init(&c->prng, prng_below(&s->prng, UINT64_MAX), 51);
	c->past_prng = c->prng;
	c->kin = s;
	s->kin = c;
	return c;
}

void ss_clone_forget(struct ss *s)
{
	struct ss *c = s->kin;

	s->kin = NULL;
	if (c == NULL)
		return;
	model_free(&c->m);
	free(c);
}

static void clone_delete(struct ss *s)
{
	struct ss *c = s->kin;
	int rc;

	ss_drain(c);
	if (well(c)) {
		ss_snap_release(c);
		c->leaving = true;
		replica_delete(c->store, &c->group, ss_arm(c));
		rc = ss_wait(c, "replica_delete");
		if (well(c) && (rc != 0 || replica_find(c->store, &c->group) != NULL))
			ss_fail(c, "the clone cannot be deleted: %s", err_name(rc));
	}
	tell(s, c);
	if (!well(s))
		return;
	ss_clone_forget(s);
	s->kinds[SS_CLONES_DELETED]++;
}

/* Nothing was written since: it has the digest of its base, which is s->held. */
static void digest_compare(struct ss *s, struct ss *c)
{
	struct replica_digest q;

	memset(&q, 0, sizeof(q));
	op_init(&c->wait.op, c->env->ready, nothing_step);
	completion_arm(&q.done, &c->wait.op, 1);
	replica_digest(c->r, &q);
	(void)ss_wait(c, "replica_digest");
	if (!well(c))
		return;
	if (q.done.rc == -ERR_FULL)
		return; /* the disk is: fold cannot get there yet */
	if (q.done.rc != 0)
		ss_fail(c, "the digest of a clone answered %s", err_name(q.done.rc));
	else if (q.digest != snapshot_digest(s->held))
		ss_fail_data(c, "the digest of a clone is not that of its base");
	c->kinds[SS_CLONE_DIGESTS]++;
}

static void clone_fill(struct ss *s, struct ss *c, const struct model_snap *base)
{
	struct record_clone rec = {.source = s->group, .snapshot = base->uuid};
	struct model_body what = {.base = base};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	int rc;

	replica_create(c->store, &c->group, "c", ss_arm(c));
	rc = ss_wait(c, "replica_create");
	if (!well(c))
		return;
	c->r = replica_find(c->store, &c->group);
	if (rc != 0 || c->r == NULL) {
		ss_fail(c, "replica_create of a clone answered %s", err_name(rc));
		return;
	}
	c->created = true;
	if (!ss_append_body(c, RECORD_CLONE, body, record_clone_encode(&rec, body), &what))
		return;
	ss_drain(c);
	if (well(c))
		ss_commit(c, model_durable(c->m));
	if (!well(c))
		return;
	c->kinds[SS_CLONES]++;
	digest_compare(s, c);
	if (well(c))
		ss_append_epoch(c);
}

static void clone_create(struct ss *s)
{
	struct model_snap *base = ss_snap_choose(s);
	struct ss *c;

	if (base == NULL || s->held != NULL || s->delta_from != NULL || !ss_settle(s) ||
	    !base->listed)
		return; /* settled: its deletion is not on the way */
	s->held = ss_snap_open(s, base);
	s->held_model = base;
	if (s->held == NULL)
		return;
	c = clone_new(s);
	clone_fill(s, c, base);
	tell(s, c);
	if (well(s))
		ss_snap_release(s);
}

void ss_clone_action(struct ss *s)
{
	uint64_t p = prng_below(&s->prng, 1000);
	struct ss *c = s->kin;

	if (c == NULL) {
		if (p < 30)
			clone_create(s);
		return;
	}
	if (p < 6) {
		clone_delete(s);
		return;
	}
	ss_collect(c);
	if (c->failed || c->down)
		p = 1000;
	else if (p < 500)
		ss_append_write(c);
	else if (p < 700)
		ss_commit_some(c);
	else if (p < 900)
		ss_read_some(c);
	else if (p < 930)
		ss_snap_action(c);
	else
		ss_run(c, prng_below(&s->prng, 400000));
	tell(s, c);
}

void ss_clone_room(struct ss *s)
{
	if (s->kin != NULL && s->clones_made > 0)
		clone_delete(s);
}

bool ss_clone_settle(struct ss *s)
{
	struct ss *c = s->kin;

	if (c == NULL)
		return true;
	ss_drain(c);
	if (well(c)) {
		ss_snap_release(c);
		ss_commit(c, model_end(c->m));
	}
	tell(s, c);
	return well(s);
}

void ss_clone_crashed(struct ss *s)
{
	if (s->kin == NULL)
		return;
	s->kin->held = s->kin->delta_from = NULL;
	s->kin->store = NULL;
	s->kin->r = NULL;
	s->kin->down = false;
}

void ss_clone_reopened(struct ss *s, bool clean)
{
	struct ss *c = s->kin;
	struct replica_status st;

	if (c == NULL)
		return;
	c->store = s->store;
	c->rotten = s->rotten;
	c->r = replica_find(c->store, &c->group);
	if (c->r == NULL) {
		if (c->created && !c->leaving)
			ss_fail(s, "the clone is gone");
		ss_clone_forget(s);
		return;
	}
	c->leaving = false;
	c->created = true;
	replica_status(c->r, &st);
	if (st.tail.v == 0 && model_durable(c->m).v == 0) {
		model_cut(c->m, st.tail);
		clone_delete(s); /* its first record was lost */
		return;
	}
	ss_take_over(c, clean);
	tell(s, c);
}
