/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/group_io.c
 * Purpose.     Records of a primary: gather operations, seal, append here and send, commit, answer.
 * Invariants.  J1 Only the open epoch writes records; LSN and chain continue the replica's tail.
 *              J2 commit = the minimum durable LSN over the ack set; it never goes back.
 *              J13 An operation that has an LSN is answered with success or not at all.
 *              P1 An operation is answered only when commit has passed its record's end.
 * Ownership.   A flight holds a reference on its record until it is committed or aborted.
 * Failure.     A full journal keeps the sealed record as `stuck` and appends it again when there is
 *              space.  Anything else ends in the store's failure, which ends the role.
 * Limits.      FLIGHTS_MAX records in flight; what waits for a record is bounded by the front door.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/volume/io.h"

#define W_SPACE 8u
#define W_PACE 64u

static void group_commit_progress(struct group *g, const struct replica_status *st);
static void group_answer(struct group *g, struct lsn commit);
static void group_seal_all(struct group *g);
static bool group_may_seal(struct group *g);
static struct flight *flight_take(struct group *g);
static void flight_give(struct group *g, struct flight *f);
static int group_append(struct group *g, struct flight *f);
static void group_seal_one(struct group *g);
static void group_io_end_waiting(struct group *g);
static void group_time(struct group *g, enum io_stage stage, struct lsn lsn);

void group_io_progress(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct replica_status st;

	if (g->open_epoch == 0 || r == NULL)
		return;
	replica_watch(r, &g->op);
	replica_status(r, &st);
	group_commit_progress(g, &st);
	if (g->open_epoch != 0)
		group_seal_all(g);
}

/* J2.  A member of the ack set without a session is durable at nothing new. */
static struct lsn group_commit_target(struct group *g, const struct replica_status *st)
{
	struct lsn target = st->durable;
	uint32_t others = g->eff.ack_mask & ~(1u << g->c->o.site);

	if (g->c->o.mutant == RULES_MUTANT_COMMIT_ALONE)
		return target;
	for (uint32_t site = 0; others >> site != 0; site++) {
		struct repl_source *source = group_source(g, site);
		struct repl_source_status ss;

		if ((others >> site & 1u) == 0)
			continue;
		if (source == NULL)
			return st->commit;
		repl_source_status(source, &ss);
		if (ss.state != REPL_STREAMING && ss.state != REPL_CATCHING_UP)
			return st->commit;
		target = lsn_min(target, ss.durable);
	}
	return target;
}

static void group_commit_progress(struct group *g, const struct replica_status *st)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct lsn target = group_commit_target(g, st);
	struct repl_source *peer = group_source(g, group_pair_peer(g));
	struct replica_status now;
	int rc;

	if (g->open_phase != OPEN_DONE)
		return;
	if (target.v > st->commit.v) {
		rc = replica_commit(r, target);
		if (rc == -ERR_AGAIN)
			counter_add(g->c->env->counters, CTR_QUEUE_FULL_INDEX,
				    1); /* fold wakes us */
	}
	replica_status(r, &now);
	assert(now.commit.v >= st->commit.v); /* J2 */
	if (now.commit.v > g->told_commit.v)
		group_sources_commit(g, now.commit);
	g->told_commit = now.commit;
	group_sources_mark(g, now.commit);
	group_time(g, IO_STAGE_JOURNAL, now.durable);
	if (peer != NULL) {
		struct repl_source_status ss;

		repl_source_status(peer, &ss);
		group_time(g, IO_STAGE_REMOTE, ss.durable);
	}
	group_answer(g, now.commit);
	if (now.commit.v >= g->volumes_at.v) {
		g->volumes_at.v = g->volumes_last.v > now.commit.v ? g->volumes_last.v : UINT64_MAX;
		group_refresh_volumes(g);
		conductor_wake_requests(g->c);
	}
}

/* For /metrics: what is durable below `lsn` reached this stage now. */
static void group_time(struct group *g, enum io_stage stage, struct lsn lsn)
{
	LIST_FOR_EACH(n, &g->flights) {
		struct flight *f = container_of(n, struct flight, link);

		if (f->end.v > lsn.v || f->record == g->stuck)
			return;
		if (f->timed[stage])
			continue;
		f->timed[stage] = true;
		LIST_FOR_EACH(m, &f->ios)
			volume_io_time(container_of(m, struct volume_io, link), stage);
	}
}

/* P1: in LSN order. */
static void group_answer(struct group *g, struct lsn commit)
{
	struct list_link *n;

	while ((n = list_first(&g->flights)) != NULL) {
		struct flight *f = container_of(n, struct flight, link);

		if (f->end.v > commit.v || f->record == g->stuck)
			return;
		list_remove(&f->link);
		while ((n = list_pop_front(&f->ios)) != NULL)
			volume_io_ended(container_of(n, struct volume_io, link), 0);
		flight_give(g, f);
	}
}

static struct flight *flight_take(struct group *g)
{
	struct list_link *n = list_pop_front(&g->flights_free);
	struct flight *f;

	if (n == NULL)
		return NULL;
	f = container_of(n, struct flight, link);
	list_init(&f->ios);
	f->record = NULL;
	f->orphan = false;
	f->blocks = 0;
	memset(f->timed, 0, sizeof(f->timed));
	g->flight_count++;
	return f;
}

static void flight_give(struct group *g, struct flight *f)
{
	assert(list_empty(&f->ios));
	if (f->record != NULL)
		record_unref(&f->record);
	assert(g->flight_blocks >= f->blocks);
	g->flight_blocks -= f->blocks;
	if (f->orphan) {
		assert(g->orphans > 0);
		g->orphans--;
	}
	g->flight_count--;
	list_push_back(&g->flights_free, &f->link);
}

static bool group_may_seal(struct group *g)
{
	if (g->open_phase != OPEN_DONE || !g->eff.admit || g->stuck != NULL ||
	    list_empty(&g->queued))
		return false;
	if (g->flight_count == 0)
		return true;
	if (g->flight_count >= FLIGHTS_MAX - 2) /* the rest is for control records */
		return false;
	return g->flight_count < SEAL_EAGER_FLIGHTS || g->queued_blocks >= SEAL_EAGER_BLOCKS;
}

/* Slow writers down smoothly while the journal fills. */
static bool group_paced(struct group *g, struct replica *r)
{
	uint64_t now = clock_now(g->c->env->clock).v;
	uint32_t delay_us;

	if (now < g->pace_until.v) {
		if (!timer_armed(&g->pace) && !completion_armed(&g->pace.done)) {
			completion_arm(&g->pace.done, &g->op, W_PACE);
			g->pace.deadline = g->pace_until;
			clock_timer_arm(g->c->env->clock, &g->pace);
		}
		return true;
	}
	delay_us = replica_delay_us(r);
	if (delay_us != 0)
		g->pace_until.v = now + delay_us * 1000ull;
	return false;
}

/* Writes that were held are the oldest ones: they come first. */
static void group_unhold(struct group *g)
{
	struct list_link *n;

	while ((n = list_last(&g->held)) != NULL) {
		list_remove(n);
		list_push_front(&g->queued, n);
		g->queued_blocks += io_payload_blocks(container_of(n, struct volume_io, link));
	}
}

/* Writes that find no room end, or are held, before they have an LSN (J13); trims and zeroes go on. */
static bool group_has_room(struct group *g)
{
	bool stop = g->view.config.on_full == VG_FULL_STOP, writes = !list_empty(&g->held);
	enum room_state room = ROOM_OK;

	if (g->open_phase != OPEN_DONE || (list_empty(&g->queued) && !writes))
		return true;
	LIST_FOR_EACH(n, &g->queued)
		if (container_of(n, struct volume_io, link)->kind == VOLUME_WRITE) {
			writes = true;
			break;
		}
	if (writes)
		room = room_state(g->c);
	if (room == ROOM_OK || !stop)
		group_unhold(g);
	if (room != ROOM_FULL)
		return room == ROOM_OK; /* wait: a fold */
	LIST_FOR_EACH_SAFE(n, &g->queued) {
		struct volume_io *io = container_of(n, struct volume_io, link);

		if (io->kind != VOLUME_WRITE)
			continue;
		list_remove(n);
		g->queued_blocks -= io_payload_blocks(io);
		if (stop)
			list_push_back(&g->held, n); /* suspended: group_track_suspension */
		else
			volume_io_ended(io, -ERR_FULL);
	}
	return true;
}

static void group_seal_all(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);

	if (g->stuck != NULL && !g->space_busy) {
		struct flight *f = container_of(list_last(&g->flights), struct flight, link);

		assert(f->record == g->stuck);
		g->stuck = NULL;
		if (group_append(g, f) < 0)
			return;
	}
	while (group_has_room(g) && group_may_seal(g) && !group_paced(g, r)) {
		uint32_t before = g->flight_count;

		group_seal_one(g);
		if (g->flight_count == before)
			return; /* no record free: a commit wakes us */
	}
}

/* Append a sealed record and offer it to the peers; a full journal keeps it. */
static int group_append(struct group *g, struct flight *f)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	int rc = replica_append(r, f->record, NULL);

	if (rc == -ERR_JOURNAL_FULL) {
		counter_add(g->c->env->counters, CTR_QUEUE_FULL_JOURNAL, 1);
		g->stuck = f->record;
		if (!g->space_busy) {
			g->space_busy = true;
			completion_arm(&g->space_done, &g->op, W_SPACE);
			replica_space_wait(r, &g->space_done);
		}
		return rc;
	}
	if (rc < 0) {
		g->stuck =
			f->record; /* the store has failed: the role ends in this step or the next */
		return rc;
	}
	f->at = clock_now(g->c->env->clock);
	group_sources_record(g, f->record);
	return 0;
}

struct batch {
	struct record_extent extents[RECORD_EXTENTS_MAX];
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX];
	uint32_t extent_count, blocks;
};

static void batch_add(struct batch *b, struct record *rec, const struct volume *v,
		      const struct io_piece *p)
{
	struct record_extent *x = &b->extents[b->extent_count++];

	*x = (struct record_extent){
		.volume = v->slot, .kind = p->kind, .block = p->block, .count = p->count};
	if (p->kind != EXTENT_DATA)
		return;
	x->payload_block = b->blocks;
	record_add_payload(rec, p->buf, p->data, p->count);
	for (uint32_t i = 0; i < p->count; i++)
		b->crcs[b->blocks++] = crc32c(p->data + (uint64_t)i * BLOCK_BYTES, BLOCK_BYTES);
}

/* Move queued operations into the batch until one does not fit. */
static void group_gather(struct group *g, struct batch *b, struct flight *f)
{
	struct list_link *n;

	b->extent_count = b->blocks = 0;
	while ((n = list_first(&g->queued)) != NULL) {
		struct volume_io *io = container_of(n, struct volume_io, link);
		struct io_piece pieces[IO_EXTENTS_MAX];
		uint32_t blocks = io_payload_blocks(io), count = io_pieces(io, pieces);

		if (b->extent_count + count > RECORD_EXTENTS_MAX ||
		    b->blocks + blocks > RECORD_PAYLOAD_BLOCKS_MAX ||
		    (io->kind == VOLUME_WRITE && b->extent_count != 0 && g->c->room.chunks == 0))
			return;
		if (io->kind == VOLUME_WRITE)
			room_take(g->c, io_state(io)->begin, io_state(io)->end);
		list_remove(n);
		assert(g->queued_blocks >= blocks);
		g->queued_blocks -= blocks;
		for (uint32_t i = 0; i < count; i++)
			batch_add(b, f->record, io_state(io)->v, &pieces[i]);
		list_push_back(&f->ios, &io->link);
	}
}

static void group_seal(struct group *g, struct flight *f, struct record_spec *spec)
{
	struct replica_status st;

	replica_status(replica_find(g->c->store, &g->uuid), &st);
	spec->group = g->uuid;
	spec->begin = st.tail; /* J1 */
	spec->prev_chain = st.tail_chain;
	spec->epoch = (struct epoch){g->open_epoch, g->c->incarnation, g->c->o.site};
	spec->commit = st.commit;
	spec->wall = clock_wall(g->c->env->clock);
	record_seal(f->record, spec);
	f->end = f->record->view.end;
	f->blocks = f->record->view.payload_blocks;
	g->flight_blocks += f->blocks;
	f->at = clock_now(g->c->env->clock);
	list_push_back(&g->flights, &f->link);
}

static void group_seal_one(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct flight *f = flight_take(g);
	struct batch b;
	struct record_spec spec = {.type = RECORD_WRITE};

	if (f == NULL)
		return;
	f->record = record_take(replica_records(r), g->c->env->bufs);
	if (f->record == NULL) {
		counter_add(g->c->env->counters, CTR_QUEUE_FULL_RECORD, 1);
		flight_give(g, f);
		if (g->flight_count == 0 && g->pace_until.v <= clock_now(g->c->env->clock).v)
			g->pace_until.v =
				clock_now(g->c->env->clock).v + MS_NS; /* look again soon */
		return;
	}
	group_gather(g, &b, f);
	spec.extents = b.extents;
	spec.extent_count = b.extent_count;
	spec.crcs = b.crcs;
	spec.payload_blocks = b.blocks;
	group_seal(g, f, &spec);
	(void)!group_append(g, f);
}

int group_append_control(struct group *g, enum record_type type, const void *body,
			 uint32_t body_bytes, struct lsn *ret_end)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct record_spec spec = {.type = type, .body = body, .body_bytes = body_bytes};
	struct flight *f;
	int rc;

	if (g->stuck != NULL)
		return -ERR_AGAIN;
	f = flight_take(g);
	if (f == NULL)
		return -ERR_AGAIN;
	f->record = record_take(replica_records(r), g->c->env->bufs);
	if (f->record == NULL) {
		flight_give(g, f);
		return -ERR_AGAIN;
	}
	group_seal(g, f, &spec);
	rc = group_append(g, f);
	if (rc < 0 && rc != -ERR_JOURNAL_FULL)
		return rc;
	*ret_end = f->end;
	if (type != RECORD_EPOCH) { /* Q1 */
		g->volumes_last = f->end;
		if (g->volumes_at.v == UINT64_MAX)
			g->volumes_at = f->end;
	}
	return 0;
}

/* What has no LSN: writes that wait for a record, reads that wait for a lease. */
static void group_io_end_waiting(struct group *g)
{
	struct list_link *n;

	while ((n = list_pop_front(&g->queued)) != NULL)
		volume_io_ended(container_of(n, struct volume_io, link), -ERR_CLOSED);
	g->queued_blocks = 0;
	while ((n = list_pop_front(&g->held)) != NULL)
		volume_io_ended(container_of(n, struct volume_io, link), -ERR_CLOSED);
	while ((n = list_pop_front(&g->parked)) != NULL)
		volume_io_ended(container_of(n, struct volume_io, link), -ERR_CLOSED);
}

/* The epoch is over: nothing in flight is answered (J13). */
void group_io_abort(struct group *g)
{
	struct list_link *n;

	g->stuck = NULL;
	if (g->space_busy) {
		struct replica *r = replica_find(g->c->store, &g->uuid);

		if (r != NULL && completion_armed(&g->space_done))
			replica_space_wait_cancel(r, &g->space_done);
	}
	while ((n = list_pop_front(&g->flights)) != NULL) {
		struct flight *f = container_of(n, struct flight, link);

		while ((n = list_pop_front(&f->ios)) != NULL)
			volume_io_ended(container_of(n, struct volume_io, link), -ERR_CLOSED);
		flight_give(g, f);
	}
	group_io_end_waiting(g);
}

/* What has an LSN stays undecided (J13); what has none never happens. */
void group_io_give_up(struct group *g)
{
	struct list_link *n;

	LIST_FOR_EACH(l, &g->flights) {
		struct flight *f = container_of(l, struct flight, link);

		if (!f->orphan && !list_empty(&f->ios)) {
			f->orphan = true;
			g->orphans++;
		}
		while ((n = list_pop_front(&f->ios)) != NULL)
			volume_io_ended(container_of(n, struct volume_io, link), -ERR_CLOSED);
	}
	group_io_end_waiting(g);
}

static struct volume *group_volume(struct group *g, uint32_t slot)
{
	LIST_FOR_EACH(n, &g->volumes) {
		struct volume *v = container_of(n, struct volume, link);

		if (v->slot == slot)
			return v;
	}
	return NULL;
}

/* Volumes follow what is committed (J9).  Control plane: allocates. */
void group_refresh_volumes(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct replica_volume *list = calloc(VOLUMES_MAX, sizeof(*list));
	uint32_t n = list != NULL && r != NULL ? replica_volumes(r, list, VOLUMES_MAX) : 0;

	if (list == NULL) {
		g->volumes_at.v = 0; /* looked at again in the next step */
		return;
	}
	LIST_FOR_EACH(l, &g->volumes)
		container_of(l, struct volume, link)->gone = true;
	for (uint32_t i = 0; i < n; i++) {
		struct volume *v = group_volume(g, list[i].slot);

		if (list[i].deleted)
			continue;
		if (v == NULL) {
			v = calloc(1, sizeof(*v));
			if (v == NULL)
				break;
			v->g = g;
			v->slot = list[i].slot;
			list_init(&v->clients);
			gate_init(&v->gate);
			list_push_back(&g->volumes, &v->link);
		}
		v->gone = false;
		v->uuid = list[i].uuid;
		v->bytes = list[i].bytes;
		v->block_bytes = list[i].block_bytes;
		memcpy(v->name, list[i].name, sizeof(v->name));
	}
	free(list);
	group_reap_volumes(g);
}

/* Deleted volumes go when their last client has. */
void group_reap_volumes(struct group *g)
{
	g->volume_count = 0;
	LIST_FOR_EACH_SAFE(l, &g->volumes) {
		struct volume *v = container_of(l, struct volume, link);

		if (!v->gone) {
			g->volume_count++;
		} else if (list_empty(&v->clients)) {
			list_remove(&v->link);
			free(v);
		} else {
			volume_revoke(v);
		}
	}
}
