/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica.c
 *
 * Purpose.     One group's replica: appends, positions, watchers, back pressure.  Commit is in
 *              replica_commit.c, checkpoints and recovery in replica_root.c, creation and staging in
 *              replica_life.c, reads in replica_read.c and replica_journal_read.c.
 * Invariants.  L1  trim <= fold <= commit <= tail, and commit <= durable unless the group
 *                  acknowledges `received`.
 *              L2  The index holds exactly the committed records at or above fold, newest content
 *                  first; home and maps hold everything below.
 *              L3  epochs are those of EPOCH records in [0, tail), in order.
 * Ownership.   The store lists replicas; a deleted one lives until fold's last hold ends.
 * Failure.     The store fails as a whole; a hole in the journal makes only its replica refuse
 *              appends.
 */
#include "engine/store/replica.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

#define PIN_QUOTA_SHARE 4u /* a quarter of the journal's share */
#define DELAY_US_MAX 50000u
#define PIN_QUOTA_SHARE 4u /* a quarter of the journal: replica_pin_quota_bytes */

static bool is_idle(const struct replica *r);
static void replica_step(struct op *op);
static void release_step(struct op *op);

int replica_make(struct store *s, const struct replica_spec *spec, struct replica **ret)
{
	struct replica *r = calloc(1, sizeof(*r));
	int rc = -ERR_NOMEM;

	if (r == NULL)
		return rc;
	r->s = s;
	r->env = store_env(s);
	op_init(&r->op, r->env->ready, replica_step);
	op_init(&r->release_op, r->env->ready, release_step);
	r->group = spec->group;
	memcpy(r->name, spec->name, strnlen(spec->name, NAME_BYTES_MAX));
	r->staging = spec->staging;
	list_link_init(&r->link);
	replica_snaps_init(r);
	r->pin.v = r->fold_cap.v = UINT64_MAX;
	if (index_open(store_index_max(s), &r->index) < 0)
		goto err_after_calloc;
	rc = replica_jobs_open(r);
	if (rc < 0)
		goto err_after_index;
	*ret = r;
	return 0;

err_after_index:
	index_close(&r->index);
err_after_calloc:
	free(r);
	assert(rc < 0);
	return rc;
}

void replica_journal_opts(struct replica *r, struct journal_opts *ret)
{
	*ret = (struct journal_opts){
		.s = r->s,
		.env = r->env,
		.disk = store_disk(r->s),
		.space = store_space(r->s),
		.store = *store_uuid(r->s),
		.group = r->group,
		.records_max = store_records_max(r->s),
		.mutant = store_opts(r->s)->mutant,
		.notify = &r->op,
	};
}

void replica_free(struct replica **replica)
{
	struct replica *r = *replica;

	if (r == NULL)
		return;
	op_unqueue(&r->op);
	op_unqueue(&r->recover_op);
	op_unqueue(&r->release_op);
	replica_destroy_unqueue(r);
	replica_jobs_release(r);
	journal_free(&r->journal);
	replica_abandon(replica);
}

void replica_abandon(struct replica **replica)
{
	struct replica *r = *replica;

	*replica = NULL;
	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->volume_count; i++) {
		if (r->volumes[i].map != NULL)
			map_free(&r->volumes[i].map);
	}
	replica_snaps_free(r);
	journal_abandon(&r->journal);
	index_close(&r->index);
	replica_jobs_close(r);
	free(r->destroy);
	free(r);
}

/* --- small facts --- */

struct index *replica_index(struct replica *r)
{
	return r->index;
}

struct map *replica_map(struct replica *r, uint32_t volume)
{
	return volume < r->volume_count ? r->volumes[volume].map : NULL;
}

struct lsn replica_commit_lsn(const struct replica *r)
{
	return lsn_min(r->commit,
		       journal_durable(r->journal)); /* `received`: fold follows what is stable */
}

struct lsn replica_fold_lsn(const struct replica *r)
{
	return r->fold;
}

struct lsn replica_fold_cap_lsn(const struct replica *r)
{
	return r->fold_cap;
}

void replica_fold_cap(struct replica *r, struct lsn cap)
{
	bool more = cap.v > r->fold_cap.v;

	if (store_opts(r->s)->mutant == STORE_MUTANT_NO_FOLD_CAP)
		cap.v = UINT64_MAX;
	r->fold_cap = cap;
	if (more)
		store_kick(r->s);
}

struct lsn replica_stage_since(const struct replica *staging)
{
	return staging->stage_since;
}

void replica_stage_mark_set(struct replica *staging, const struct replica_stage_mark *m)
{
	staging->stage_mark = *m;
}

void replica_stage_mark(const struct replica *staging, struct replica_stage_mark *ret)
{
	*ret = staging->stage_mark;
}

void replica_trees_bad(struct replica *r)
{
	r->trees_bad = true;
}

bool replica_trees_are_bad(const struct replica *r)
{
	return r->trees_bad;
}

bool replica_is_staging(const struct replica *r)
{
	return r->staging;
}

void replica_set_staging(struct replica *r, bool staging)
{
	r->staging = staging;
}

struct list_link *replica_link(struct replica *r)
{
	return &r->link;
}

struct replica *replica_of_link(struct list_link *link)
{
	return container_of(link, struct replica, link);
}

const struct uuid *replica_uuid(const struct replica *r)
{
	return &r->group;
}

bool replica_is_deleted(const struct replica *r)
{
	return r->deleted;
}

struct record_pool *replica_records(struct replica *r)
{
	return store_record_pool(r->s);
}

struct replica *replica_find(struct store *s, const struct uuid *group)
{
	for (struct replica *r = store_first_replica(s); r != NULL; r = store_next_replica(s, r)) {
		if (!r->staging && uuid_equal(&r->group, group))
			return r;
	}
	return NULL;
}

struct replica *replica_staging(struct store *s, const struct uuid *group)
{
	for (struct replica *r = store_first_replica(s); r != NULL; r = store_next_replica(s, r)) {
		if (r->staging && uuid_equal(&r->group, group))
			return r;
	}
	return NULL;
}

struct replica *replica_next(struct store *s, struct replica *prev)
{
	struct replica *r = prev == NULL ? store_first_replica(s) : store_next_replica(s, prev);

	while (r != NULL && r->staging)
		r = store_next_replica(s, r);
	return r;
}

void replica_status(const struct replica *r, struct replica_status *ret)
{
	*ret = (struct replica_status){
		.group = r->group,
		.trim = journal_trim(r->journal),
		.fold = r->fold,
		.commit = r->commit,
		.durable = journal_durable(r->journal),
		.tail = journal_tail(r->journal),
		.tail_chain = journal_tail_chain(r->journal),
		.newest = r->commit_wall,
		.content_generation = r->content_generation,
		.last_forced_epoch = r->last_forced_epoch,
		.is_staging = r->staging,
		.has_hole = journal_has_hole(r->journal),
		.journal_bytes = journal_used_bytes(r->journal),
	};
	memcpy(ret->name, r->name, sizeof(ret->name));
}

uint32_t replica_epochs(const struct replica *r, struct epoch_entry *ret, uint32_t max)
{
	uint32_t n = r->epoch_count < max ? r->epoch_count : max;

	memcpy(ret, r->epochs + (r->epoch_count - n),
	       n * sizeof(*ret)); /* the newest, oldest first */
	return n;
}

uint32_t replica_volumes(const struct replica *r, struct replica_volume *ret, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->volume_count && n < max; i++) {
		const struct rvolume *v = &r->volumes[i];

		if (!v->used)
			continue;
		ret[n] = v->v;
		ret[n].used_bytes = v->map != NULL ? map_used_bytes(v->map) : 0;
		n++;
	}
	return n;
}

/* --- append --- */

void replica_epoch_add(struct replica *r, const struct record_view *v)
{
	if (r->epoch_count > 0 && r->epochs[r->epoch_count - 1].first.v >= v->begin.v)
		return; /* recovery reads again what the checkpoint knew (L3) */
	if (r->epoch_count == EPOCHS_MAX) {
		memmove(r->epochs, r->epochs + 1, (EPOCHS_MAX - 1) * sizeof(r->epochs[0]));
		r->epoch_count--;
	}
	r->epochs[r->epoch_count++] = (struct epoch_entry){.epoch = v->epoch, .first = v->begin};
}

static void release_step(struct op *op)
{
	struct replica *r = container_of(op, struct replica, release_op);

	op_wake(&r->op); /* someone may wait for us to be idle */
}

/* Journal before fold that only an old checkpoint names: make another. */
static void release(struct replica *r)
{
	struct journal_root root;

	journal_root_at(r->journal, replica_journal_keep(r, r->fold), &root);
	if (root.trim.v <= journal_trim(r->journal).v || r->release_op.waits != 0)
		return;
	completion_arm(&r->released, &r->release_op, 1);
	store_checkpoint(r->s, &r->released);
}

/* No room: if a pin holds the journal back, it goes; if history does, half of it; if snapshots in the making
 * do, they.  Space is shared: so
 * is the loss. */
static void make_room_wanted(struct replica *r)
{
	r->was_full = true;
	if (r->pin.v < r->fold.v) {
		log_warn(r->env->log, "store",
			 "group %s: the journal is full; a peer that catches up from LSN %" PRIu64
			 " must copy instead",
			 r->name, r->pin.v);
		r->pin.v = UINT64_MAX;
		r->pin_broken = true;
	}
	for (struct replica *x = store_first_replica(r->s); x != NULL;
	     x = store_next_replica(r->s, x))
		if (replica_history_shrink(x) ||
		    (replica_past_keep(x).v < x->fold.v && replica_pasts_give(x)))
			release(x);
	release(r);
	store_kick(r->s);
}

int replica_append(struct replica *r, struct record *rec, struct completion *done)
{
	int rc;

	if (r->failed)
		return -ERR_FAILED;
	if (store_opts(r->s)->read_only)
		return -ERR_READONLY;
	rc = journal_append(r->journal, rec, done);
	if (rc == -ERR_JOURNAL_FULL)
		make_room_wanted(r);
	if (rc < 0)
		return rc;
	if (rec->view.type == RECORD_EPOCH)
		replica_epoch_add(r, &rec->view);
	return 0;
}

void replica_cut(struct replica *r, struct lsn lsn, struct completion *done)
{
	uint64_t chain;

	if (r->failed) {
		completion_fire(done, -ERR_FAILED);
		return;
	}
	if (lsn.v < r->commit.v || !journal_chain_in_memory(r->journal, lsn, &chain)) {
		completion_fire(done, -ERR_INVALID);
		return;
	}
	while (r->epoch_count > 0 && r->epochs[r->epoch_count - 1].first.v >= lsn.v)
		r->epoch_count--;
	journal_cut(r->journal, lsn, chain, done);
	r->seen_durable = journal_durable(r->journal);
	assert(r->commit.v <= journal_tail(r->journal).v); /* L1 */
}

/* --- watching --- */

void replica_wake(struct replica *r)
{
	if (r->watcher != NULL)
		op_wake(r->watcher);
}

void replica_watch(struct replica *r, struct op *op)
{
	assert(op == NULL || r->watcher == NULL || r->watcher == op);
	r->watcher = op;
}

static bool is_idle(const struct replica *r)
{
	return !journal_is_busy(r->journal) && r->reads == 0 && r->release_op.waits == 0;
}

static void replica_step(struct op *op)
{
	struct replica *r = container_of(op, struct replica, op);
	struct lsn durable = journal_durable(r->journal);

	if (durable.v != r->seen_durable.v) {
		r->seen_durable = durable;
		if (store_opts(r->s)->mutant == STORE_MUTANT_FOLD_BEYOND_COMMIT && !r->failed)
			(void)!replica_commit(r, durable);
		replica_wake(r);
	}
	if (r->space_waiter_count > 0)
		release(r); /* a footer that held its segment back may have been written */
	if (r->idle_wake != NULL && is_idle(r)) {
		struct op *wake = r->idle_wake;

		r->idle_wake = NULL;
		op_wake(wake);
	}
	/* wait: the journal's news */
}

bool replica_is_idle(struct replica *r, struct op *wake)
{
	if (is_idle(r))
		return true;
	r->idle_wake = wake;
	replica_reads_go(r);
	return false;
}

uint32_t replica_stalled(struct replica *r)
{
	return journal_stalled(r->journal);
}

void replica_store_failed(struct replica *r)
{
	r->failed = true;
	journal_store_failed(r->journal);
	for (uint32_t i = 0; i < r->space_waiter_count; i++)
		completion_fire(r->space_waiters[i], -ERR_FAILED);
	r->space_waiter_count = 0;
	replica_reads_go(r);
	replica_wake(r);
	op_wake(&r->op);
}

/* --- back pressure --- */

void replica_space_freed(struct replica *r)
{
	uint32_t n = r->space_waiter_count;

	r->was_full = false;
	r->space_waiter_count = 0;
	for (uint32_t i = 0; i < n; i++)
		completion_fire(r->space_waiters[i], 0);
}

void replica_space_wait(struct replica *r, struct completion *done)
{
	if (r->failed) {
		completion_fire(done, -ERR_FAILED);
	} else if (!r->was_full) {
		completion_fire(done, 0); /* freed since the refusal */
	} else {
		assert(r->space_waiter_count < REPLICA_SPACE_WAITERS_MAX);
		r->space_waiters[r->space_waiter_count++] = done;
		store_kick(r->s);
	}
}

void replica_space_wait_cancel(struct replica *r, struct completion *done)
{
	for (uint32_t i = 0; i < r->space_waiter_count; i++) {
		if (r->space_waiters[i] != done)
			continue;
		r->space_waiter_count--;
		for (; i < r->space_waiter_count; i++)
			r->space_waiters[i] = r->space_waiters[i + 1];
		completion_fire(done, -ERR_CANCELED);
		return;
	}
}

/* Thousandths of the journal's share in use, not counting what every replica holds anyhow. */
static uint64_t journal_fill(const struct replica *r)
{
	struct space *sp = store_space(r->s);
	uint64_t used = space_journal_used_bytes(sp), share = space_journal_share_bytes(sp);
	uint64_t own = 2 * space_segment_bytes(sp) * r->s->entry_count;

	used = used > own ? used - own : 0;
	share = share > own + space_segment_bytes(sp) ? share - own : space_segment_bytes(sp);
	return used >= share ? 1000 : used * 1000 / share;
}

uint32_t replica_delay_us(const struct replica *r)
{
	uint64_t fill = journal_fill(r), index;

	index = (uint64_t)index_count(r->index) * 1000 / index_max(r->index);
	fill = index > fill ? index : fill;
	if (fill <= 500)
		return 0;
	fill -= 500; /* 0..500; the cube keeps the middle gentle */
	return (uint32_t)(fill * fill * fill * DELAY_US_MAX / (500ull * 500 * 500));
}

bool replica_fold_wanted(const struct replica *r)
{
	uint64_t idle_ms =
		store_opts(r->s)->fold_idle_ms != 0 ? store_opts(r->s)->fold_idle_ms : 200;

	if (r->fold.v >= replica_commit_lsn(r).v || r->failed || r->deleted)
		return false;
	if (!list_empty(&r->snaps.marks))
		return true; /* a snapshot holds index entries back, a restore holds readers back */
	if (r->was_full || index_count(r->index) > index_max(r->index) / 2 || journal_fill(r) > 500)
		return true;
	return clock_now(r->env->clock).v >= r->commit_time.v + idle_ms * MS_NS;
}

void replica_pin(struct replica *r, struct lsn lsn)
{
	r->pin = lsn;
	r->pin_broken = false;
}

bool replica_pin_broken(const struct replica *r)
{
	return r->pin_broken;
}

uint64_t replica_pin_quota_bytes(const struct replica *r)
{
	uint64_t quota = space_journal_share_bytes(store_space(r->s)) / PIN_QUOTA_SHARE;

	return quota > BLOCK_BYTES ? quota : BLOCK_BYTES;
}
