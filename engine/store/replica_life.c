/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_life.c
 *
 * Purpose.     Create and delete replicas, visible and staging ones (QUORUM J8).
 * Invariants.  B1  A replica exists after a crash exactly if a checkpoint that lists it was durable;
 *                  its first journal segment is in that checkpoint.
 *              B3  A staging replica from_own is made in a capture, when all trees are written out: it shares
 *                  every page of the replica it comes from, and the checkpoint that lists it counts both
 *                  references.  It may be made of any tree, however old or mixed: whoever fills it compares
 *                  content.  Only `since` says something about the tree, and is never above what is true.
 *              B2  A deleted replica leaves the store's list at once; its space is given only when
 *                  nobody holds it, and is free with the next checkpoint.
 * States.      make: CLEAR (an older staging one) -> MAKE -> DURABLE -> done;
 *              from_own: CLEAR -> FOLD (the visible one, when no staging one is there) -> SHARE -> done.
 *              destroy: HELD -> DURABLE -> done.
 * Failure.     A checkpoint that fails has failed the store; the caller is told -ERR_FAILED.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

#define WAIT_CHECKPOINT 1u
#define WAIT_CLEARED 2u

enum make_phase { MAKE_CLEAR, MAKE_BUILD, MAKE_DURABLE, MAKE_FOLD, MAKE_SHARE };

struct replica_maker {
	struct op op;
	struct store *s;
	enum make_phase phase;
	struct uuid group;
	char name[NAME_BYTES_MAX + 1];
	const struct replica_stage_spec *spec; /* NULL: not staging; borrowed until done */
	struct list_link sharing;	       /* store.stage_makers: waits for a capture */
	int share_rc;
	struct replica *made;
	struct replica **ret_staging;
	struct completion waited;
	struct completion *done;
};

struct replica_destroy {
	struct op op;
	struct replica *r;
	bool given;
	struct completion waited;
	struct completion *done;
};

/* --- destroy --- */

void replica_give_all(struct replica *r)
{
	replica_snaps_give_all(r);
	for (uint32_t i = 0; i < r->volume_count; i++) {
		if (r->volumes[i].map != NULL)
			map_discard(&r->volumes[i].map);
		r->volumes[i].map = NULL;
	}
	journal_give_all(r->journal);
}

static void destroy_step(struct op *op)
{
	struct replica_destroy *d = container_of(op, struct replica_destroy, op);
	struct replica *r = d->r;
	struct completion *done = d->done;
	int rc;

	if (op->waits != 0 || r->holds > 0 || !replica_is_idle(r, op))
		return; /* wait: holds, I/O in flight, the checkpoint */
	if (!d->given) {
		d->given = true;
		store_forget_replica(r->s, r);
		replica_give_all(r);
		completion_arm(&d->waited, op, WAIT_CHECKPOINT);
		store_checkpoint(r->s, &d->waited);
		return; /* wait: the checkpoint */
	}
	rc = d->waited.rc;
	replica_free(&r); /* frees d, too */
	if (done != NULL)
		completion_fire(done, rc);
}

/* done: NULL: nobody waits for it. */
static void destroy(struct replica *r, struct completion *done)
{
	struct replica_destroy *d = calloc(1, sizeof(*d));

	if (d == NULL && done != NULL)
		completion_fire(done, -ERR_NOMEM);
	if (d == NULL)
		return;
	op_init(&d->op, r->env->ready, destroy_step);
	d->r = r;
	d->done = done;
	r->destroy = d;
	r->deleted = true;
	r->watcher = NULL;
	replica_reads_go(r);
	store_remove_replica(r->s, r);
	past_kick(r->s->past);
	op_wake(&d->op);
}

void replica_destroy_unqueue(struct replica *r)
{
	if (r->destroy != NULL)
		op_unqueue(&r->destroy->op);
}

void replica_hold(struct replica *r)
{
	r->holds++;
}

void replica_release(struct replica *r)
{
	assert(r->holds > 0);
	r->holds--;
	if (r->holds == 0 && r->destroy != NULL)
		op_wake(&r->destroy->op);
}

void replica_delete(struct store *s, const struct uuid *group, struct completion *done)
{
	struct replica *r = replica_find(s, group);

	if (store_is_failed(s))
		completion_fire(done, -ERR_FAILED);
	else if (r == NULL)
		completion_fire(done, -ERR_NOT_FOUND);
	else if (replica_snaps_needed(r))
		completion_fire(done, -ERR_BUSY);
	else {
		(void)replica_stage_drop(s, group);
		destroy(r, done);
	}
}

bool replica_stage_drop(struct store *s, const struct uuid *group)
{
	struct replica *r = store_is_failed(s) ? NULL : replica_staging(s, group);

	if (r != NULL)
		destroy(r, NULL);
	return r != NULL;
}

void replica_stage_discard(struct store *s, const struct uuid *group, struct completion *done)
{
	struct replica *r = replica_staging(s, group);

	if (store_is_failed(s))
		completion_fire(done, -ERR_FAILED);
	else if (r == NULL)
		completion_fire(done, 0);
	else
		destroy(r, done);
}

/* --- make --- */

/* The tree that `from` has of a volume, with one reference more to its root; else an empty one.  B3 */
static int stage_root(struct replica *r, const struct replica *from, struct volume_root *root)
{
	const struct uuid *uuid = &root->volume.uuid;

	for (uint32_t i = 0; from != NULL && i < from->volume_count; i++) {
		const struct rvolume *v = &from->volumes[i];
		struct volume_root own = {.root = CHUNK_NONE};
		int rc;

		if (!v->used || v->v.deleted || v->map == NULL || !uuid_equal(&v->v.uuid, uuid))
			continue;
		rc = map_root_share(v->map, &own);
		if (rc < 0)
			return rc;
		own.volume = root->volume;
		own.volume.used_bytes = map_used_bytes(v->map);
		*root = own;
		return 0;
	}
	return 0;
}

static int stage_volumes(struct replica *r, const struct replica_stage_spec *spec,
			 const struct replica *from)
{
	for (uint32_t i = 0; i < spec->volume_count; i++) {
		struct volume_root root = {.volume = spec->volumes[i], .root = CHUNK_NONE};
		struct rvolume *v;
		int rc;

		if (root.volume.slot >= VOLUMES_MAX || r->volumes[root.volume.slot].used)
			return -ERR_INVALID;
		v = &r->volumes[root.volume.slot];
		root.volume.used_bytes = 0;
		if (!root.volume.deleted) {
			rc = stage_root(r, from, &root);
			if (rc < 0)
				return rc;
			rc = map_open(r->s, &root, &v->map);
			if (rc < 0 && root.root != CHUNK_NONE)
				space_page_drop(store_space(r->s), root.root);
			if (rc < 0)
				return rc;
		}
		v->v = root.volume;
		v->used = true;
		if (r->volume_count <= root.volume.slot)
			r->volume_count = root.volume.slot + 1;
	}
	return 0;
}

/* What was shared before it failed. */
static void stage_unshare(struct replica *r)
{
	for (uint32_t i = 0; i < r->volume_count; i++) {
		struct volume_root root;

		if (r->volumes[i].map == NULL)
			continue;
		map_root_get(r->volumes[i].map, &root);
		if (root.root != CHUNK_NONE)
			space_page_drop(store_space(r->s), root.root);
	}
}

/* from: whose trees a staging replica begins with; NULL: it is empty. */
static int build(struct replica_maker *m, const struct replica *from)
{
	struct replica_spec spec = {.group = m->group, .name = m->name, .staging = m->spec != NULL};
	const struct replica_stage_spec *stage = m->spec;
	struct lsn begin = stage != NULL ? stage->begin : (struct lsn){0};
	struct journal_opts opts;
	struct replica *r;
	int rc;

	if (stage != NULL && (stage->epoch_count > EPOCHS_MAX ||
			      stage->volume_count > VOLUMES_MAX || begin.v % BLOCK_BYTES != 0))
		return -ERR_INVALID;
	rc = replica_make(m->s, &spec, &r);
	if (rc < 0)
		return rc;
	r->fold = r->commit = r->seen_durable = begin;
	if (stage != NULL) {
		if (stage->epoch_count > 0)
			memcpy(r->epochs, stage->epochs, stage->epoch_count * sizeof(r->epochs[0]));
		r->epoch_count = stage->epoch_count;
		r->content_generation = stage->content_generation;
		r->last_forced_epoch = stage->last_forced_epoch;
		rc = stage_volumes(r, stage, from);
		r->stage_since = from == NULL ? (struct lsn){0} : lsn_min(stage->since, begin);
	}
	if (from != NULL)
		r->stage_since =
			lsn_min(r->stage_since, from->staging ? from->stage_since : from->fold);
	if (from != NULL && from->staging)
		r->stage_mark = from->stage_mark;
	replica_journal_opts(r, &opts);
	if (rc == 0)
		rc = journal_create(&opts, begin, stage != NULL ? stage->chain : 0, &r->journal);
	if (rc < 0) {
		stage_unshare(r);
		replica_free(&r);
		return rc;
	}
	m->made = r;
	store_add_replica(m->s, r);
	return 0;
}

static void make_end(struct replica_maker *m, int rc)
{
	struct completion *done = m->done;

	if (rc == 0 && m->ret_staging != NULL)
		*m->ret_staging = m->made;
	free(m);
	completion_fire(done, rc);
}

/* Where a staging replica from_own comes from: NULL: nothing is here. */
static struct replica *make_from(const struct replica_maker *m)
{
	struct replica *staging = replica_staging(m->s, &m->group);

	return staging != NULL ? staging : replica_find(m->s, &m->group);
}

bool replica_stages_wait(const struct store *s)
{
	return !list_empty(&s->stage_makers);
}

void replica_stages_share(struct store *s)
{
	struct list_link *link;

	while ((link = list_pop_front(&s->stage_makers)) != NULL) {
		struct replica_maker *m = container_of(link, struct replica_maker, sharing);
		struct replica *from = make_from(m);

		m->share_rc = build(m, from);
		if (m->share_rc == 0 && from != NULL && from->staging)
			destroy(from, NULL);
	}
}

/* CLEAR of a staging replica from_own: true when it waits. */
static bool make_own(struct replica_maker *m)
{
	struct replica *from = make_from(m);

	if (from == NULL || store_is_failed(m->s))
		return false;
	if (from->staging) {
		m->phase = MAKE_FOLD;
		op_wake(&m->op);
		return true;
	}
	m->phase = MAKE_FOLD;
	completion_arm(&m->waited, &m->op, WAIT_CLEARED);
	replica_fold(from, &m->waited); /* if it cannot be folded more will be found to differ */
	return true;
}

static void make_step(struct op *op)
{
	struct replica_maker *m = container_of(op, struct replica_maker, op);
	int rc;

	if (op->waits != 0)
		return; /* wait: as below */
	switch (m->phase) {
	case MAKE_CLEAR:
		if (m->spec != NULL && m->spec->from_own && make_own(m))
			return; /* wait: fold */
		m->phase = MAKE_BUILD;
		if (m->spec != NULL) {
			completion_arm(&m->waited, op, WAIT_CLEARED);
			replica_stage_discard(m->s, &m->group, &m->waited);
			return; /* wait: the older staging replica is gone */
		}
		op_wake(op);
		return; /* wait: our next turn */
	case MAKE_BUILD:
		rc = m->waited.rc;
		if (rc == 0)
			rc = store_is_failed(m->s) ? -ERR_FAILED : build(m, NULL);
		if (rc < 0) {
			make_end(m, rc);
			return;
		}
		m->phase = MAKE_DURABLE;
		completion_arm(&m->waited, op, WAIT_CHECKPOINT);
		store_checkpoint(m->s, &m->waited);
		return; /* wait: the checkpoint (B1) */
	case MAKE_DURABLE:
		make_end(m, m->waited.rc);
		return;
	case MAKE_FOLD:
		m->phase = MAKE_SHARE;
		m->share_rc = -ERR_FAILED;
		list_push_back(&m->s->stage_makers, &m->sharing);
		completion_arm(&m->waited, op, WAIT_CHECKPOINT);
		store_checkpoint(m->s, &m->waited);
		return; /* wait: a capture, and its checkpoint (B1, B3) */
	case MAKE_SHARE:
		if (list_linked(&m->sharing))
			list_remove(&m->sharing);
		make_end(m, m->waited.rc < 0 ? m->waited.rc : m->share_rc);
		return;
	}
}

static void make(struct store *s, const struct uuid *group, const char *name,
		 const struct replica_stage_spec *spec, struct replica **ret_staging,
		 struct completion *done)
{
	struct replica_maker *m = calloc(1, sizeof(*m));

	if (m == NULL) {
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	op_init(&m->op, store_env(s)->ready, make_step);
	list_link_init(&m->sharing);
	m->s = s;
	m->group = *group;
	memcpy(m->name, name, strnlen(name, NAME_BYTES_MAX));
	m->spec = spec;
	m->ret_staging = ret_staging;
	m->done = done;
	op_wake(&m->op);
}

void replica_create(struct store *s, const struct uuid *group, const char *name,
		    struct completion *done)
{
	if (store_is_failed(s))
		completion_fire(done, -ERR_FAILED);
	else if (store_opts(s)->read_only)
		completion_fire(done, -ERR_READONLY);
	else if (replica_find(s, group) != NULL)
		completion_fire(done, -ERR_EXISTS);
	else
		make(s, group, name, NULL, NULL, done);
}

void replica_stage_begin(struct store *s, const struct uuid *group, const char *name,
			 const struct replica_stage_spec *spec, struct replica **ret_staging,
			 struct completion *done)
{
	if (store_is_failed(s))
		completion_fire(done, -ERR_FAILED);
	else
		make(s, group, name, spec, ret_staging, done);
}
