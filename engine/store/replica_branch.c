/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_branch.c
 *
 * Purpose.     Keep all that a replica holds as a snapshot which only this site has (QUORUM J6): the writes of
 *              a deposed primary that no other site has, before it follows another history.
 * Invariants.  BR1 Nothing is cut: the whole journal is committed and folded first, the snapshot is of its end.
 *              BR2 It is in no table and no list until it is pinned: a crash before that leaves nothing of
 *                  it, and it is made again.  done fires when the checkpoint that has it is durable.
 *              BR3 No record of the shared history speaks of it: names of records do not collide with it
 *                  (replica_snap.c name_is_taken), and only replica_branch_delete ends it.
 *              BR4 Snapshots that records at or beyond the common LSN made are of this site only from then on,
 *                  too: the other history does not know them and could not delete them.
 * States.      COMMIT -> FOLD -> (COMMIT while the index was full) -> PIN -> done.
 * Ownership.   The request is the caller's until done; it holds the replica.  Its mark owns the snapshot until
 *              a capture has pinned it.
 * Failure.     What fold says (-ERR_FULL, -ERR_CORRUPT), -ERR_NOT_FOUND (a record refers to what is not here),
 *              -ERR_NOMEM: nothing is there of it, and nothing was cut.
 * Limits.      PIN_TRIES checkpoints; the bounds of snapshots.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/env.h"
#include "engine/port/random.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

#define PIN_TRIES 8u
#define WAIT_PART 1u

enum branch_phase { BRANCH_COMMIT, BRANCH_FOLD, BRANCH_PIN };

static void branch_step(struct op *op);

static bool is_branch(const struct snapshot *snap, struct lsn lsn)
{
	return snap->listed && snap->pinned && (snap->flags & RECORD_SNAP_BRANCH) != 0 &&
	       snap->lsn.v == lsn.v;
}

/* A record's snapshot lies before the end of its record, so at the tail there are only branches. */
bool replica_branch_at_tail(const struct replica *r, struct snapshot_info *ret)
{
	struct lsn tail = journal_tail(r->journal);

	LIST_FOR_EACH(link, &r->snaps.list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!is_branch(snap, tail))
			continue;
		snapshot_info_get(snap, ret);
		return true;
	}
	return false;
}

/* branch-EPOCH of the newest epoch here, or with some of its UUID where a person took that name. */
static void branch_name(const struct replica *r, const struct uuid *uuid,
			char ret[NAME_BYTES_MAX + 1])
{
	uint64_t epoch = r->epoch_count > 0 ? r->epochs[r->epoch_count - 1].epoch.number : 0;
	char id[UUID_TEXT_BYTES];
	struct snapshot_info info;

	snprintf(ret, NAME_BYTES_MAX + 1, "branch-%" PRIu64, epoch);
	if (replica_snapshot_by_name(r, ret, &info) < 0)
		return;
	uuid_format(uuid, id);
	snprintf(ret, NAME_BYTES_MAX + 1, "branch-%" PRIu64 "-%.8s", epoch, id);
}

static struct mark *branch_mark(struct replica *r, struct replica_branch *b)
{
	struct mark *m = calloc(1, sizeof(*m));
	struct snapshot *snap = m == NULL ? NULL : snapshot_of_now(r);
	uint8_t random[16];

	if (snap == NULL) {
		free(m);
		return NULL;
	}
	r->env->random->fill(r->env->random, random, sizeof(random));
	uuid_from_random(&snap->uuid, random);
	branch_name(r, &snap->uuid, snap->name);
	snap->lsn = r->commit;
	snap->time = b->time;
	snap->flags = RECORD_SNAP_BRANCH;
	snap->listed = true;
	m->kind = MARK_BRANCH;
	m->begin = m->end = r->commit;
	m->snap = snap;
	b->uuid = snap->uuid;
	memcpy(b->name, snap->name, sizeof(b->name));
	index_barrier(r->index, m->begin); /* replica_snap.c N1 */
	list_push_back(&r->snaps.marks, &m->link);
	return m;
}

/* BR4 */
static void branch_adopt(struct replica *r, struct lsn common)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->listed || snap->lsn.v < common.v)
			continue;
		snap->flags |= RECORD_SNAP_BRANCH;
		r->s->snapshots_changed = true;
	}
}

static void branch_end(struct replica_branch *b, int rc)
{
	struct replica *r = b->r;

	LIST_FOR_EACH_SAFE(link, &r->snaps.marks) {
		struct mark *m = container_of(link, struct mark, link);

		if (m->kind == MARK_BRANCH && rc < 0)
			replica_mark_end(r, m); /* BR2 */
	}
	op_unqueue(&b->op);
	replica_release(r);
	completion_fire(&b->done, rc);
}

void replica_branch(struct replica *r, struct replica_branch *b)
{
	op_init(&b->op, r->env->ready, branch_step);
	b->r = r;
	b->phase = BRANCH_COMMIT;
	b->tries = 0;
	b->marked = false;
	replica_hold(r);
	op_wake(&b->op);
}

/* BR1.  0: all is committed; 1: fold first. */
static int branch_commit(struct replica *r)
{
	struct lsn tail = journal_tail(r->journal);
	int rc;

	if (journal_durable(r->journal).v < tail.v)
		return -ERR_BUSY; /* the caller appends nothing and waited */
	rc = replica_commit(r, tail);
	if (rc == -ERR_AGAIN)
		return 1;
	return rc < 0 ? rc : r->commit.v < tail.v ? 1 : 0;
}

static void branch_fold(struct replica_branch *b)
{
	completion_arm(&b->part, &b->op, WAIT_PART);
	store_fold_now(b->r->s, b->r, &b->part);
}

static void branch_step(struct op *op)
{
	struct replica_branch *b = container_of(op, struct replica_branch, op);
	struct replica *r = b->r;
	struct snapshot_info info;
	int rc;

	if (op->waits != 0)
		return; /* wait: fold, the checkpoint */
	if (r->failed || r->deleted) {
		branch_end(b, r->failed ? -ERR_FAILED : -ERR_NOT_FOUND);
		return;
	}
	switch ((enum branch_phase)b->phase) {
	case BRANCH_COMMIT:
		rc = branch_commit(r);
		if (rc == 0 && store_roots(r->s) + r->volume_count > STORE_ROOTS_MAX)
			rc = -ERR_FULL;
		if (rc == 0 && branch_mark(r, b) == NULL)
			rc = -ERR_NOMEM;
		if (rc < 0) {
			branch_end(b, rc);
			return;
		}
		b->marked = rc == 0;
		b->phase = BRANCH_FOLD;
		branch_fold(b);
		return; /* wait: everything that is committed is folded */
	case BRANCH_FOLD:
		if (b->part.rc < 0) {
			branch_end(b, b->part.rc);
			return;
		}
		b->phase = b->marked ? BRANCH_PIN : BRANCH_COMMIT;
		if (!b->marked) {
			op_wake(op);
			return; /* wait: our next turn */
		}
		branch_adopt(r, b->common);
		completion_arm(&b->part, op, WAIT_PART);
		store_checkpoint(r->s, &b->part);
		return; /* wait: the checkpoint */
	case BRANCH_PIN:
		if (b->part.rc < 0 || replica_branch_at_tail(r, &info)) {
			branch_end(b, b->part.rc);
			return;
		}
		if (++b->tries == PIN_TRIES) {
			branch_end(b, -ERR_NOMEM);
			return;
		}
		b->phase = BRANCH_FOLD; /* pages were not written out yet, or there was no memory */
		branch_fold(b);
		return; /* wait: the same again */
	}
}

int replica_branch_delete(struct replica *r, const struct uuid *uuid, struct completion *done)
{
	struct snapshot *snap = replica_snap_find(r, uuid);

	if (snap == NULL || !snap->listed || (snap->flags & RECORD_SNAP_BRANCH) == 0)
		return -ERR_NOT_FOUND;
	if (r->failed || r->s->opts.read_only)
		return r->failed ? -ERR_FAILED : -ERR_READONLY;
	snapshot_unlist(snap);
	store_checkpoint(r->s, done);
	return 0;
}
