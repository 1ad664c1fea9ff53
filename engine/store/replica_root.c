/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_root.c
 *
 * Purpose.     A replica and its checkpoints: made from a root, recovered, written to the next root,
 *              told that it is durable.
 * Invariants.  G1  A root keeps the journal from min(fold, pin, history, snapshots in the making) on; nothing before that is given back
 *                  until a checkpoint that does not name it is durable.
 *              G2  After recovery commit is the newest commit LSN told by the root or by the
 *                  replica's own records, never beyond its tail (QUORUM J2); records beyond wait.  It is lower
 *                  if a record refers to a snapshot that is not here.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"

static void recover_step(struct op *op);

static int volumes_from_root(struct replica *r, const struct replica_root *root)
{
	for (uint32_t i = 0; i < root->volume_count; i++) {
		const struct volume_root *vr = &root->volumes[i];
		struct rvolume *v;

		if (vr->volume.slot >= VOLUMES_MAX || r->volumes[vr->volume.slot].used)
			return -ERR_CORRUPT;
		v = &r->volumes[vr->volume.slot];
		if (!vr->volume.deleted || vr->root != CHUNK_NONE) {
			int rc = map_open(r->s, vr, &v->map);

			if (rc < 0)
				return rc;
		}
		v->v = vr->volume;
		v->used = true;
		if (r->volume_count <= vr->volume.slot)
			r->volume_count = vr->volume.slot + 1;
	}
	return 0;
}

int replica_from_root(struct store *s, const struct replica_root *root, struct replica **ret)
{
	struct replica_spec spec = {.group = root->group,
				    .name = root->name,
				    .staging = (root->flags & REPLICA_FLAG_STAGING) != 0};
	struct journal_opts opts;
	struct replica *r;
	int rc;

	if (root->epoch_count > EPOCHS_MAX || root->volume_count > VOLUMES_MAX ||
	    root->journal.trim.v > root->fold.v || root->journal.segment == SEGMENT_NONE)
		return -ERR_CORRUPT;
	rc = replica_make(s, &spec, &r);
	if (rc < 0)
		return rc;
	replica_journal_opts(r, &opts);
	rc = journal_from_root(&opts, &root->journal, &r->journal);
	if (rc == 0)
		rc = volumes_from_root(r, root);
	if (rc < 0) {
		replica_free(&r);
		return rc;
	}
	r->fold = r->commit = root->fold;
	r->recover_commit = lsn_max(root->fold, root->commit);
	r->snaps.applied = root->commit;
	r->durable_known = lsn_max(root->durable_known, root->commit);
	r->content_generation = root->content_generation;
	r->last_forced_epoch = root->last_forced_epoch;
	r->history.want = root->history;
	r->history.begin = root->journal.trim;
	for (uint32_t i = 0; i < root->epoch_count; i++) {
		if (root->epochs[i].first.v < root->fold.v) /* the others are found again (L3) */
			r->epochs[r->epoch_count++] = root->epochs[i];
	}
	*ret = r;
	return 0;
}

/* Apply what is known to be committed. */
static int recover_commit(struct replica *r)
{
	struct lsn end;
	int rc = 0;

	while (rc == 0 && replica_commit_next(r, r->recover_commit, &end))
		rc = replica_apply_first(r, true);
	/* A clone before its base: replica_recovered; what a snapshot of the past must be made for first. */
	return rc == -ERR_NOT_FOUND || rc == -ERR_AGAIN ? 0 : rc;
}

static int recover_record(void *ctx, const struct record_view *view, const uint8_t *header,
			  const struct journal_place *place)
{
	struct replica *r = ctx;
	int rc;

	if (view->end.v <= r->fold.v)
		return 0; /* in home; its effects are in the root */
	if (view->type == RECORD_EPOCH)
		replica_epoch_add(r, view);
	r->recover_commit = lsn_max(r->recover_commit, view->commit);
	rc = journal_keep_uncommitted(r->journal, view, header, place);
	return rc < 0 ? rc : recover_commit(r);
}

void replica_recover(struct replica *r, struct completion *done)
{
	r->recover_done = done;
	op_init(&r->recover_op, r->env->ready, recover_step);
	completion_arm(&r->recovered, &r->recover_op, 1);
	journal_recover(r->journal, r->fold, r->durable_known, recover_record, r, &r->recovery,
			&r->recovered);
}

static void recover_step(struct op *op)
{
	struct replica *r = container_of(op, struct replica, recover_op);
	struct completion *done = r->recover_done;
	int rc = r->recovered.rc;

	if (op->waits != 0 || done == NULL)
		return; /* wait: the journal */
	r->recover_done = NULL;
	if (rc == 0) {
		rc = recover_commit(r);
		r->seen_durable = journal_durable(r->journal);
		r->commit_time = clock_now(r->env->clock);
		assert(r->commit.v <= journal_tail(r->journal).v); /* G2 */
		log_info(r->env->log, "store",
			 "group %s: journal recovered, fold %" PRIu64 " commit %" PRIu64
			 " tail %" PRIu64 ", read %" PRIu64 " bytes",
			 r->name, r->fold.v, r->commit.v, journal_tail(r->journal).v,
			 r->recovery.read_bytes);
	}
	completion_fire(done, rc);
}

int replica_recovered(struct replica *r)
{
	int rc = recover_commit(r);

	if (rc == 0)
		replica_snaps_recovered(r);
	return rc;
}

uint64_t replica_recovery_read_bytes(const struct replica *r)
{
	return r->recovery.read_bytes;
}

int replica_to_root(struct replica *r, struct lsn fold, struct replica_root *ret_root)
{
	uint32_t n = 0;

	assert(fold.v >= r->fold.v && fold.v <= r->commit.v); /* L1 */
	memset(ret_root, 0, sizeof(*ret_root));
	ret_root->volumes = calloc(r->volume_count + 1, sizeof(*ret_root->volumes));
	if (ret_root->volumes == NULL)
		return -ERR_NOMEM;
	ret_root->group = r->group;
	memcpy(ret_root->name, r->name, sizeof(ret_root->name));
	ret_root->flags = r->staging ? REPLICA_FLAG_STAGING : 0;
	ret_root->fold = fold;
	ret_root->commit = replica_commit_lsn(r);
	ret_root->durable_known = journal_durable(r->journal);
	ret_root->content_generation = r->content_generation;
	ret_root->last_forced_epoch = r->last_forced_epoch;
	ret_root->history = r->history.want;
	journal_root_at(r->journal, replica_journal_keep(r, fold), &ret_root->journal); /* G1 */
	r->history.begin = ret_root->journal.trim;
	memcpy(ret_root->epochs, r->epochs, r->epoch_count * sizeof(r->epochs[0]));
	ret_root->epoch_count = r->epoch_count;
	for (uint32_t i = 0; i < r->volume_count; i++) {
		const struct rvolume *v = &r->volumes[i];

		if (!v->used)
			continue;
		ret_root->volumes[n].root = UINT64_MAX;
		if (v->map != NULL)
			map_root_get(v->map, &ret_root->volumes[n]);
		ret_root->volumes[n].volume = v->v;
		ret_root->volumes[n].volume.used_bytes =
			v->map != NULL ? map_used_bytes(v->map) : 0;
		n++;
	}
	ret_root->volume_count = n;
	if (store_opts(r->s)->mutant == STORE_MUTANT_TRIM_EARLY)
		(void)journal_trim_to(r->journal, &ret_root->journal);
	return 0;
}

void replica_checkpointed(struct replica *r, const struct replica_root *root)
{
	struct store *s = r->s;
	bool freed;

	assert(root->fold.v >= r->fold.v && root->fold.v <= r->commit.v); /* L1 */
	r->fold = root->fold;
	index_drop_below(r->index, root->fold); /* L2 */
	freed = journal_trim_to(r->journal, &root->journal);
	if (freed) {
		for (struct replica *x = store_first_replica(s); x != NULL;
		     x = store_next_replica(s, x))
			replica_space_freed(x);
	} else if (r->was_full) {
		replica_space_freed(r); /* the index has room again; or the journal of another */
	}
	replica_wake(r);
}
