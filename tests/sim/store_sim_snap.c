/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/store_sim_snap.c: snapshots in the random workload: made and deleted while writes are under
 * way, read while they are deleted, rolled back to; each one's content is in the model.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/store_sim.h"

#define LISTED_MAX 8u

static void nothing_step(struct op *op)
{
	(void)op;
}

/* Everything durable is committed, and nothing is under way. */
bool ss_settle(struct ss *s)
{
	ss_drain(s);
	if (s->down || s->failed || store_is_failed(s->store))
		return false;
	ss_commit(s, model_durable(s->m));
	return !s->down && !s->failed && !store_is_failed(s->store) && s->m->applied == s->m->count;
}

static bool well(const struct ss *s)
{
	return !s->down && !s->failed && !store_is_failed(s->store);
}

static void uuid_next(struct ss *s, struct uuid *ret)
{
	uint64_t n = ++s->snap_uuids;

	memset(ret, 0, sizeof(*ret));
	ret->b[0] = (uint8_t)n;
	ret->b[1] = (uint8_t)(n >> 8);
	ret->b[15] = 0x51;
}

/* Records on their way that are about snapshots; of this one only, if uuid is not NULL. */
static uint32_t on_the_way(const struct ss *s, const struct uuid *uuid)
{
	uint32_t n = 0;

	for (uint32_t i = s->m->applied; i < s->m->count; i++) {
		const struct model_record *r = &s->m->records[i];

		if (r->type == RECORD_SNAP)
			n += uuid == NULL || uuid_compare(&r->body.snap.uuid, uuid) == 0;
	}
	return n;
}

struct model_snap *ss_snap_choose(struct ss *s)
{
	uint32_t listed = 0, at;

	for (uint32_t i = 0; i < s->m->snap_count; i++)
		listed += s->m->snaps[i]->listed;
	if (listed == 0)
		return NULL;
	at = (uint32_t)prng_below(&s->prng, listed);
	for (uint32_t i = 0; i < s->m->snap_count; i++)
		if (s->m->snaps[i]->listed && at-- == 0)
			return s->m->snaps[i];
	UNREACHABLE("one of them");
}

static bool has_history(const struct ss *s)
{
	return s->history.ns != 0 || s->history.bytes != 0;
}

/* A moment that the replica says it can go back to; that of another snapshot, if possible; 0: none. */
static struct lsn choose_moment(struct ss *s)
{
	struct replica_history_status st;
	struct lsn moments[64];
	uint32_t n = 0, first;

	replica_history_status(s->r, &st);
	if (!st.reachable)
		return (struct lsn){0};
	for (uint32_t i = 0; i < s->m->snap_count && n < 64; i++)
		if (s->m->snaps[i]->lsn.v >= st.earliest.v && s->m->snaps[i]->lsn.v != 0)
			moments[n++] = s->m->snaps[i]->lsn;
	if (n > 0 && prng_below(&s->past_prng, 2) == 0)
		return moments[prng_below(&s->past_prng, n)];
	for (first = s->m->applied; first > 0; first--)
		if (s->m->records[first - 1].begin.v < st.earliest.v)
			break;
	if (first == s->m->applied)
		return (struct lsn){0};
	return s->m->records[prng_range(&s->past_prng, first, s->m->applied - 1)].begin;
}

/* It is certain to come when the replica says so once the record is committed. */
static void past_committed(struct ss *s, const struct uuid *uuid)
{
	struct model_snap *model = model_snap_find(s->m, uuid);
	struct replica_history_status st;
	struct snapshot_info info;

	if (model == NULL || replica_snapshot_by_uuid(s->r, uuid, &info) != 0)
		return;
	replica_history_status(s->r, &st);
	model->full = s->kinds[SS_JOURNAL_FULL];
	model->sure = !s->small && st.reachable && st.earliest.v <= model->lsn.v;
}

static void snap_create_past(struct ss *s)
{
	struct model_body what = {.snap = {.op = RECORD_SNAP_CREATE}};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	uint32_t bytes, listed = 0;

	if (!ss_settle(s))
		return;
	for (uint32_t i = 0; i < s->m->snap_count; i++)
		listed += s->m->snaps[i]->listed;
	if (listed >= LISTED_MAX || replica_snapshot_check(s->r, "p", 0) != 0)
		return;
	what.snap.at = choose_moment(s);
	if (what.snap.at.v == 0)
		return;
	uuid_next(s, &what.snap.uuid);
	snprintf(what.snap.name, sizeof(what.snap.name), "p%llu",
		 (unsigned long long)s->snap_uuids);
	bytes = record_snap_encode(&what.snap, body);
	if (!ss_append_body(s, RECORD_SNAP, body, bytes, &what))
		return;
	s->kinds[SS_PASTS]++;
	if (ss_settle(s))
		past_committed(s, &what.snap.uuid);
}

static void snap_create(struct ss *s)
{
	struct model_body what = {.snap = {.op = RECORD_SNAP_CREATE}};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	uint32_t bytes, listed = 0;

	for (uint32_t i = 0; i < s->m->snap_count; i++)
		listed += s->m->snaps[i]->listed;
	if (has_history(s) && prng_below(&s->past_prng, 2) == 0) {
		snap_create_past(s);
		return;
	}
	if (listed + on_the_way(s, NULL) >= LISTED_MAX ||
	    replica_snapshots_unpinned(s->r) + on_the_way(s, NULL) >= SNAPSHOTS_UNPINNED_MAX)
		return;
	uuid_next(s, &what.snap.uuid);
	snprintf(what.snap.name, sizeof(what.snap.name), "s%llu",
		 (unsigned long long)s->snap_uuids);
	bytes = record_snap_encode(&what.snap, body);
	if (ss_append_body(s, RECORD_SNAP, body, bytes, &what))
		s->kinds[SS_SNAPS]++;
}

static void snap_delete(struct ss *s)
{
	const struct model_snap *snap = ss_snap_choose(s);
	struct model_body what = {.snap = {.op = RECORD_SNAP_DELETE}};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct snapshot_info info;
	uint32_t bytes;

	if (snap == NULL || on_the_way(s, &snap->uuid) > 0)
		return;
	if (replica_snapshot_by_uuid(s->r, &snap->uuid, &info) == 0 && info.clones > 0)
		return; /* refused with their names: engine/volume/request_snap.c */
	what.snap.uuid = snap->uuid;
	bytes = record_snap_encode(&what.snap, body);
	if (ss_append_body(s, RECORD_SNAP, body, bytes, &what))
		s->kinds[SS_SNAP_DELETES]++;
}

static void snap_restore(struct ss *s)
{
	struct model_body what = {.restore = {.content_generation = 1}};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	const struct model_snap *snap;
	struct snapshot_info info;
	uint32_t bytes;

	if (!ss_settle(s))
		return; /* as an engine does: no record in flight names what goes */
	snap = ss_snap_choose(s);
	if (snap == NULL || replica_snapshots_unpinned(s->r) >= SNAPSHOTS_UNPINNED_MAX ||
	    replica_snapshot_by_uuid(s->r, &snap->uuid, &info) != 0 || info.past || info.missing)
		return;
	what.restore.target = snap->uuid;
	uuid_next(s, &what.restore.kept);
	snprintf(what.restore.kept_name, sizeof(what.restore.kept_name), "k%llu",
		 (unsigned long long)s->snap_uuids);
	bytes = record_restore_encode(&what.restore, body);
	if (ss_append_body(s, RECORD_RESTORE, body, bytes, &what) && ss_settle(s))
		s->kinds[SS_RESTORES]++;
}

/* --- reading --- */

/* Until one of the past is made.  False: it is missing, or we are not well. */
static bool snap_ready(struct ss *s, struct model_snap *model)
{
	struct snapshot_info info = {0};
	uint64_t end = s->w->now + 300 * SEC_NS;
	int rc;

	while ((rc = replica_snapshot_by_uuid(s->r, &model->uuid, &info)) == 0 && info.past) {
		if (s->w->now > end)
			ss_fail(s, "snapshot %u of LSN %llu is never made", model->uuid.b[0],
				(unsigned long long)model->lsn.v);
		ss_run(s, 20 * MS_NS);
		if (!well(s))
			return false;
	}
	if (rc != 0 || !info.missing)
		return rc == 0;
	if (model->sure && !s->rotten && s->kinds[SS_JOURNAL_FULL] == model->full)
		ss_fail(s, "snapshot %u of LSN %llu is missing", model->uuid.b[0],
			(unsigned long long)model->lsn.v);
	s->kinds[SS_PASTS_MISSING] += !model->missing;
	model->missing = true;
	return false;
}

struct snapshot *ss_snap_open(struct ss *s, struct model_snap *model)
{
	struct snapshot *snap = NULL;
	int rc;

	if (model->past && !snap_ready(s, model))
		return NULL;
	replica_snapshot_open(s->r, &model->uuid, &snap, ss_arm(s));
	rc = ss_wait(s, "replica_snapshot_open");
	if (!well(s))
		return NULL;
	if (rc != 0)
		ss_fail(s, "snapshot %u cannot be opened: %s", model->uuid.b[0], err_name(rc));
	return rc == 0 ? snap : NULL;
}

static void snap_read(struct ss *s, struct snapshot *snap, const struct model_snap *model,
		      uint32_t volume, uint64_t block, uint32_t count)
{
	struct buf *buf = buf_take(s->env->bufs, count * BLOCK_BYTES);
	struct replica_read q = {.volume = volume, .block = block, .count = count};

	if (buf == NULL)
		return;
	q.data = buf->data;
	memset(buf->data, 0xa5, (size_t)count * BLOCK_BYTES);
	op_init(&s->wait.op, s->env->ready, nothing_step);
	completion_arm(&q.done, &s->wait.op, 1);
	snapshot_read(snap, &q);
	(void)ss_wait(s, "snapshot_read");
	if (s->down)
		return; /* the crash forgets q and buf */
	if (q.done.rc != 0 && well(s))
		ss_fail(s, "read of snapshot %u, volume %u block %llu answered %s",
			model->uuid.b[0], volume, (unsigned long long)block, err_name(q.done.rc));
	for (uint32_t i = 0; i < count && q.done.rc == 0 && !s->failed; i++)
		if (!model_snap_check(s->m, model, volume, block + i,
				      q.data + (size_t)i * BLOCK_BYTES))
			ss_fail_data(s, s->m->error);
	buf_unref(&buf);
	s->kinds[SS_SNAP_READS]++;
}

/* A stretch of a volume here and there, or all that has content. */
static void snap_look(struct ss *s, struct snapshot *snap, const struct model_snap *model, bool all)
{
	for (uint32_t v = 0; v < MODEL_VOLUMES_MAX; v++) {
		const struct model_volume *mv = &model->volumes[v];

		for (uint64_t b = 0; mv->exists && b < mv->blocks && well(s); b += SS_READ_BLOCKS) {
			uint32_t n = mv->blocks - b < SS_READ_BLOCKS ? (uint32_t)(mv->blocks - b)
								     : SS_READ_BLOCKS;
			bool any = false;

			for (uint32_t i = 0; i < n && !any; i++)
				any = mv->ids[b + i] != 0;
			if ((any && (all || prng_below(&s->prng, 10) == 0)) ||
			    prng_below(&s->prng, 300) == 0)
				snap_read(s, snap, model, v, b, n);
		}
	}
}

static void snap_digest(struct ss *s, const struct snapshot *snap, struct model_snap *model)
{
	uint64_t digest = snapshot_digest(snap);

	if (model->digest != 0 && digest != model->digest)
		ss_fail(s, "the digest of snapshot %u changed", model->uuid.b[0]);
	s->kinds[SS_PASTS_MADE] += model->past && model->digest == 0;
	model->digest = digest;
	s->kinds[SS_SNAP_DIGESTS]++;
	for (uint32_t i = 0; i < s->m->snap_count; i++) {
		const struct model_snap *other = s->m->snaps[i];

		if (other == model || other->digest == 0 || other->lsn.v != model->lsn.v)
			continue;
		s->kinds[SS_PASTS_AGAIN]++;
		if (other->digest != digest)
			ss_fail(s, "snapshots %u and %u of LSN %llu have other digests",
				model->uuid.b[0], other->uuid.b[0],
				(unsigned long long)model->lsn.v);
	}
}

void ss_snap_release(struct ss *s)
{
	if (s->held != NULL)
		replica_snapshot_close(&s->held);
	if (s->delta_from != NULL)
		replica_snapshot_close(&s->delta_from);
	world_settle(s->w);
}

static void snap_use(struct ss *s)
{
	struct model_snap *model;

	if (s->held != NULL) { /* it may have been deleted since */
		snap_look(s, s->held, s->held_model, false);
		if (well(s) && prng_below(&s->prng, 3) == 0)
			ss_snap_release(s);
		return;
	}
	model = ss_snap_choose(s);
	if (model == NULL)
		return;
	s->held = ss_snap_open(s, model);
	s->held_model = model;
	if (s->held == NULL)
		return;
	snap_digest(s, s->held, model);
	snap_look(s, s->held, model, false);
	if (well(s) && prng_below(&s->prng, 2) == 0)
		ss_snap_release(s);
}

void ss_snap_verify(struct ss *s, bool all)
{
	for (uint32_t i = 0; i < s->m->snap_count && well(s); i++) {
		struct model_snap *model = s->m->snaps[i];
		struct snapshot_info info;
		int rc = replica_snapshot_by_uuid(s->r, &model->uuid, &info);

		if (rc != (model->listed ? 0 : -ERR_NOT_FOUND))
			ss_fail(s, "snapshot %u (%s): %s", model->uuid.b[0],
				model->listed ? "listed" : "deleted", err_name(rc));
		if (!well(s) || !model->listed || (!all && prng_below(&s->prng, 4) != 0))
			continue;
		s->held = ss_snap_open(s, model);
		s->held_model = model;
		if (s->held == NULL)
			continue;
		snap_digest(s, s->held, model);
		snap_look(s, s->held, model, true);
		if (well(s))
			ss_snap_release(s);
	}
}

void ss_make_room(struct ss *s)
{
	if (prng_below(&s->prng, 20) == 0)
		snap_delete(s);
	else if (s->clones_made > 0 && prng_below(&s->prng, 20) == 0)
		ss_clone_room(s); /* of a clone's own: it has made none */
	else
		ss_run(s, prng_below(&s->prng, 50 * MS_NS));
}

void ss_snap_action(struct ss *s)
{
	uint64_t p = prng_below(&s->prng, 100);

	if (p < 38)
		snap_create(s);
	else if (p < 58)
		snap_delete(s);
	else if (p < 80)
		snap_use(s);
	else if (p < 92)
		ss_delta(s);
	else
		snap_restore(s);
}
