/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/store_sim_ops.c: what the only user of the store does to it. */
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "tests/sim/store_sim.h"

#define GROWTH_BLOCKS_MAX 3000u
#define GROWN_BYTES_MAX (256ull << 20) /* of the small ones: 64 leaves and more, another level */

static void nothing_step(struct op *op)
{
	(void)op;
}

/* --- appending --- */

static struct ss_append *append_slot(struct ss *s)
{
	for (uint32_t i = 0; i < SS_APPENDS; i++) {
		if (!s->appends[i].busy)
			return &s->appends[i];
	}
	return NULL;
}

/* Seal rec and append it. True: the model has it too. */
static bool append_record(struct ss *s, struct ss_append *a, struct record *rec,
			  struct record_spec *spec, uint32_t id, const struct model_body *body)
{
	struct model_record *mr;
	int rc;

	spec->group = s->group;
	spec->begin = model_end(s->m);
	spec->prev_chain = s->m->count == 0 ? 0 : s->m->records[s->m->count - 1].chain;
	spec->commit = model_commit(s->m);
	spec->epoch = (struct epoch){.number = s->epoch, .incarnation = s->node->lives, .site = 1};
	spec->wall.v = ++s->wall;
	record_seal(rec, spec);
	op_init(&a->op, s->env->ready, nothing_step);
	completion_arm(&a->done, &a->op, 1);
	rc = replica_append(s->r, rec, &a->done);
	if (rc == 0) {
		a->busy = true;
		a->index = model_append(s->m, &rec->view, spec->extents, id, body);
		mr = &s->m->records[a->index];
		assert(mr->end.v > mr->begin.v);
		s->kinds[SS_RECORDS]++;
		s->kinds[SS_BLOCKS] += rec->view.payload_blocks;
	} else {
		a->op.waits = 0;
		if (rc == -ERR_JOURNAL_FULL)
			s->kinds[SS_JOURNAL_FULL]++;
		else if (rc != -ERR_FAILED)
			ss_fail(s, "append at %llu answered %s", (unsigned long long)spec->begin.v,
				err_name(rc));
	}
	record_unref(&rec);
	world_settle(s->w);
	return rc == 0;
}

static uint64_t ss_place(struct ss *s, uint32_t volume, uint64_t count)
{
	uint64_t blocks = s->m->volumes[volume].blocks;

	if (volume == 1) { /* sparse: a chunk here and there */
		uint64_t at = s->spots[prng_below(&s->prng, SS_SPOTS)] +
			      prng_below(&s->prng, CHUNK_BLOCKS);

		return at + count <= blocks ? at : blocks - count;
	}
	return prng_below(&s->prng, blocks - count + 1);
}

static bool extent_overlaps(const struct record_extent *e, uint32_t n,
			    const struct record_extent *x)
{
	for (uint32_t i = 0; i < n; i++) {
		if (e[i].volume == x->volume && x->block < e[i].block + e[i].count &&
		    e[i].block < x->block + x->count)
			return true;
	}
	return false;
}

static uint32_t choose_count(struct ss *s, uint32_t left, uint32_t volume)
{
	uint64_t p = prng_below(&s->prng, 20);
	uint32_t n = p < 10   ? 1
		     : p < 15 ? (uint32_t)prng_range(&s->prng, 1, 8)
		     : p < 19 ? (uint32_t)prng_range(&s->prng, 1, 40)
			      : (uint32_t)prng_range(&s->prng, 1, 256);

	n = n > left ? left : n;
	if (volume == 1 && n > CHUNK_BLOCKS)
		n = CHUNK_BLOCKS;
	return n > s->m->volumes[volume].blocks ? (uint32_t)s->m->volumes[volume].blocks : n;
}

static uint32_t choose_volume(struct ss *s)
{
	for (int i = 0; i < 50; i++) {
		uint64_t p = prng_below(&s->prng, 10);
		uint32_t v = p < 5   ? 0
			     : p < 8 ? 1
				     : (uint32_t)prng_range(&s->prng, 2, MODEL_VOLUMES_MAX - 1);

		if (s->m->volumes[v].exists)
			return v;
	}
	return 0;
}

/* A large write, half of them at a chunk: it goes by reference. */
static void make_large(struct ss *s, struct record_extent *e)
{
	uint64_t blocks = s->m->volumes[e->volume].blocks;
	uint32_t n = prng_below(&s->prng, 2) == 0 ? RECORD_PAYLOAD_BLOCKS_MAX
						  : (uint32_t)prng_range(&s->prng, 4 * CHUNK_BLOCKS,
									 RECORD_PAYLOAD_BLOCKS_MAX);

	if (n > blocks)
		return;
	e->count = n;
	e->block = prng_below(&s->prng, blocks - n + 1);
	if (prng_below(&s->prng, 2) == 0)
		e->block -= e->block % CHUNK_BLOCKS;
}

/* Fill ext and the payload of rec. Returns the extents made. */
static uint32_t make_extents(struct ss *s, struct record *rec, struct record_extent *ext,
			     uint32_t *crcs, uint32_t *ret_blocks, uint32_t id)
{
	uint32_t want = prng_below(&s->prng, 8) == 0
				? (uint32_t)prng_range(&s->prng, 1, RECORD_EXTENTS_MAX)
				: (uint32_t)prng_range(&s->prng, 1, 3);
	bool large = prng_below(&s->prng, 40) == 0;
	uint32_t n = 0, blocks = 0;

	for (uint32_t tries = 0; n < want && tries < 2 * want; tries++) {
		uint64_t p = prng_below(&s->prng, 20);
		struct record_extent *e = &ext[n];
		struct buf *b;

		e->volume = choose_volume(s);
		e->kind = p == 0 ? EXTENT_ZERO : p == 1 ? EXTENT_DISCARD : EXTENT_DATA;
		e->count = choose_count(
			s, e->kind == EXTENT_DATA ? RECORD_PAYLOAD_BLOCKS_MAX - blocks : 4096,
			e->volume);
		if (e->kind != EXTENT_DATA && prng_below(&s->prng, 3) == 0 && e->volume != 1 &&
		    s->m->volumes[e->volume].blocks > 2000)
			e->count = (uint32_t)prng_range(&s->prng, 1, 2000);
		if (e->count == 0)
			break;
		e->block = ss_place(s, e->volume, e->count);
		if (large && n == 0 && e->kind == EXTENT_DATA && e->volume != 1)
			make_large(s, e);
		e->payload_block = e->kind == EXTENT_DATA ? blocks : 0;
		if (extent_overlaps(ext, n, e))
			continue;
		if (e->kind == EXTENT_DATA) {
			b = buf_take(s->env->bufs, e->count * BLOCK_BYTES);
			if (b == NULL)
				break;
			for (uint32_t i = 0; i < e->count; i++) {
				uint8_t *at = b->data + (size_t)i * BLOCK_BYTES;

				model_fill(id + n, e->volume, e->block + i, at);
				crcs[blocks + i] = crc32c(at, BLOCK_BYTES);
			}
			record_add_payload(rec, b, b->data, e->count);
			buf_unref(&b);
			blocks += e->count;
		}
		n++;
	}
	*ret_blocks = blocks;
	return n;
}

static uint64_t uncommitted(const struct model *m)
{
	uint64_t blocks = 0;

	for (uint32_t i = m->applied; i < m->count; i++)
		blocks += (m->records[i].end.v - m->records[i].begin.v) / BLOCK_BYTES;
	return blocks;
}

/* May this many blocks be journaled?  As engine/volume/room.c: a chunk for each that is not folded. */
static bool has_room(struct ss *s, uint32_t blocks)
{
	struct store_status st;
	uint64_t unfolded = blocks;

	store_status(s->store, &st);
	unfolded += st.index_entries + uncommitted(s->m);
	if (s->kin != NULL)
		unfolded += uncommitted(s->kin->m);
	return st.free_bytes > unfolded * CHUNK_BYTES + 2 * st.segment_bytes;
}

void ss_append_write(struct ss *s)
{
	struct record_extent ext[RECORD_EXTENTS_MAX];
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX], blocks = 0, id;
	struct ss_append *a = append_slot(s);
	struct record_spec spec = {.type = RECORD_WRITE};
	struct record *rec;

	if (a == NULL)
		return;
	if (!has_room(s, RECORD_PAYLOAD_BLOCKS_MAX)) {
		s->kinds[SS_REFUSED]++;
		ss_make_room(s);
		return;
	}
	rec = record_take(replica_records(s->r), s->env->bufs);
	if (rec == NULL)
		return;
	id = model_ids(s->m, RECORD_EXTENTS_MAX);
	spec.extent_count = make_extents(s, rec, ext, crcs, &blocks, id);
	if (spec.extent_count == 0) {
		record_unref(&rec);
		return;
	}
	spec.extents = ext;
	spec.crcs = crcs;
	spec.payload_blocks = blocks;
	append_record(s, a, rec, &spec, id, NULL);
}

bool ss_append_body(struct ss *s, enum record_type type, const uint8_t *body, uint32_t bytes,
		    const struct model_body *what)
{
	struct record_spec spec = {.type = type, .body = body, .body_bytes = bytes};

	for (int i = 0; i < 2000 && !s->failed && !s->down; i++) {
		struct ss_append *a = append_slot(s);
		struct record *rec =
			a == NULL ? NULL : record_take(replica_records(s->r), s->env->bufs);

		if (rec != NULL && append_record(s, a, rec, &spec, 0, what))
			return true;
		if (store_is_failed(s->store))
			return false;
		ss_run(s, 20 * MS_NS);
	}
	if (!s->failed && !s->down)
		ss_fail(s, "a control record finds no room for 40 s");
	return false;
}

bool ss_append_volume(struct ss *s, const struct record_volume *v)
{
	uint8_t body[RECORD_BODY_BYTES_MAX];
	uint32_t bytes = record_volume_encode(v, body);
	struct model_body what = {.volume = *v};

	return ss_append_body(s, RECORD_VOLUME, body, bytes, &what);
}

bool ss_append_epoch(struct ss *s)
{
	const struct record_epoch e = {.last_forced_epoch = 0, .content_generation = 1};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	uint32_t bytes = record_epoch_encode(&e, body);

	s->epoch++;
	return ss_append_body(s, RECORD_EPOCH, body, bytes, NULL);
}

/* --- committing --- */

void ss_commit(struct ss *s, struct lsn lsn)
{
	for (int i = 0; i < 3000 && !s->failed && !s->down; i++) {
		struct replica_status st;
		int rc = replica_commit(s->r, lsn);

		replica_status(s->r, &st);
		if (st.commit.v > lsn.v && st.commit.v > model_commit(s->m).v)
			ss_fail(s, "commit moved to %llu beyond %llu",
				(unsigned long long)st.commit.v, (unsigned long long)lsn.v);
		if (model_find(s->m, st.commit) == UINT32_MAX)
			ss_fail(s, "commit %llu is no record boundary",
				(unsigned long long)st.commit.v);
		model_commit_to(s->m, st.commit);
		s->kinds[SS_COMMITS]++;
		world_settle(s->w);
		if (rc == 0) {
			if (st.commit.v < lsn.v)
				ss_fail(s, "commit answered 0 but is at %llu, not %llu",
					(unsigned long long)st.commit.v, (unsigned long long)lsn.v);
			return;
		}
		if (rc != -ERR_AGAIN) {
			if (!store_is_failed(s->store))
				ss_fail(s, "commit answered %s", err_name(rc));
			return;
		}
		if (store_is_failed(s->store))
			return;
		s->kinds[SS_INDEX_FULL]++;
		ss_run(s, 20 * MS_NS);
	}
	if (!s->failed && !s->down)
		ss_fail(s, "commit finds no room in the index for 60 s");
}

void ss_commit_some(struct ss *s)
{
	struct lsn durable = model_durable(s->m);
	uint32_t to = model_find(s->m, durable);

	if (to > s->m->applied && prng_below(&s->prng, 3) == 0)
		to = (uint32_t)prng_range(&s->prng, s->m->applied, to);
	if (to > s->m->applied)
		ss_commit(s, s->m->records[to - 1].end);
}

/* --- reading --- */

static struct ss_read *read_slot(struct ss *s)
{
	for (uint32_t i = 0; i < SS_READS; i++) {
		if (!s->reads[i].busy)
			return &s->reads[i];
	}
	return NULL;
}

static void read_start(struct ss *s, uint32_t volume, uint64_t block, uint32_t count)
{
	struct ss_read *rd = read_slot(s);

	if (rd == NULL)
		return;
	rd->buf = buf_take(s->env->bufs, count * BLOCK_BYTES);
	if (rd->buf == NULL)
		return;
	rd->busy = true;
	rd->from = s->m->applied;
	for (uint32_t i = 0; i < count; i++)
		rd->before[i] = model_id_at(s->m, volume, block + i);
	memset(&rd->read, 0, sizeof(rd->read));
	memset(rd->buf->data, 0xa5, (size_t)count * BLOCK_BYTES);
	rd->read.volume = volume;
	rd->read.block = block;
	rd->read.count = count;
	rd->read.data = rd->buf->data;
	op_init(&rd->op, s->env->ready, nothing_step);
	completion_arm(&rd->read.done, &rd->op, 1);
	replica_read(s->r, &rd->read);
	world_settle(s->w);
}

static void read_finish(struct ss *s, struct ss_read *rd)
{
	const struct replica_read *q = &rd->read;

	rd->busy = false;
	s->kinds[SS_READS_DONE]++;
	if (q->done.rc == -ERR_NOT_FOUND && !s->m->volumes[q->volume].exists) {
		/* the volume was deleted meanwhile */
	} else if (q->done.rc != 0) {
		if (!store_is_failed(s->store) && !(s->rotten && q->done.rc == -ERR_CORRUPT))
			ss_fail(s,
				"read of volume %u block %llu count %u answered %s (bad block %llu)",
				q->volume, (unsigned long long)q->block, q->count,
				err_name(q->done.rc), (unsigned long long)q->bad_block);
	} else {
		for (uint32_t i = 0; i < q->count && !s->failed; i++) {
			if (!model_check(s->m, q->volume, q->block + i, rd->before[i], rd->from,
					 q->data + (size_t)i * BLOCK_BYTES) &&
			    s->m->volumes[q->volume].exists)
				ss_fail_data(s, s->m->error);
		}
	}
	buf_unref(&rd->buf);
}

static void journal_read_finish(struct ss *s)
{
	struct ss_journal_read *j = &s->journal_read;
	struct replica_status st;

	j->busy = false;
	s->kinds[SS_JOURNAL_READS]++;
	replica_status(s->r, &st);
	if (j->q.done.rc == 0) {
		uint32_t at = model_find(s->m, j->q.lsn);

		if (at < s->m->count && s->m->records[at].chain != j->q.record->view.chain)
			ss_fail(s, "the record at %llu is another", (unsigned long long)j->q.lsn.v);
		record_unref(&j->q.record);
	} else if (j->q.done.rc != -ERR_POOL_EMPTY && j->q.lsn.v >= st.trim.v &&
		   j->q.lsn.v < st.durable.v && !store_is_failed(s->store) && !s->rotten) {
		ss_fail(s, "the journal read at %llu (trim %llu) answered %s",
			(unsigned long long)j->q.lsn.v, (unsigned long long)st.trim.v,
			err_name(j->q.done.rc));
	}
}

void ss_collect(struct ss *s)
{
	for (uint32_t i = 0; i < SS_APPENDS; i++) {
		struct ss_append *a = &s->appends[i];

		if (!a->busy || a->op.waits != 0)
			continue;
		a->busy = false;
		if (a->done.rc == 0)
			s->m->records[a->index].durable = true;
		else if (!store_is_failed(s->store))
			ss_fail(s, "append failed with %s but the store is well",
				err_name(a->done.rc));
	}
	for (uint32_t i = 0; i < SS_READS; i++) {
		if (s->reads[i].busy && s->reads[i].op.waits == 0)
			read_finish(s, &s->reads[i]);
	}
	if (s->journal_read.busy && s->journal_read.op.waits == 0)
		journal_read_finish(s);
	if (s->disk->faults.stopped)
		s->down = true;
}

void ss_read_some(struct ss *s)
{
	uint32_t v = choose_volume(s);
	uint32_t count = choose_count(s, SS_READ_BLOCKS, v);

	if (s->m->volumes[v].exists)
		read_start(s, v, ss_place(s, v, count), count);
}

static bool anything_busy(const struct ss *s)
{
	for (uint32_t i = 0; i < SS_APPENDS; i++) {
		if (s->appends[i].busy)
			return true;
	}
	for (uint32_t i = 0; i < SS_READS; i++) {
		if (s->reads[i].busy)
			return true;
	}
	return s->journal_read.busy;
}

void ss_drain(struct ss *s)
{
	uint64_t end = s->w->now + 120 * SEC_NS;

	while (anything_busy(s) && !s->down && !s->failed) {
		ss_run(s, MS_NS);
		if (s->w->now > end)
			ss_fail(s, "appends or reads did not end in 120 s");
	}
}

static void read_wait(struct ss *s, uint32_t v, uint64_t block, uint32_t count)
{
	uint64_t end = s->w->now + 120 * SEC_NS;

	while (!s->down && !s->failed && !store_is_failed(s->store)) {
		if (read_slot(s) != NULL) {
			read_start(s, v, block, count);
			return;
		}
		ss_run(s, MS_NS / 4);
		if (s->w->now > end)
			ss_fail(s, "reads did not end in 120 s");
	}
}

void ss_verify(struct ss *s, bool all)
{
	for (uint32_t v = 0; v < MODEL_VOLUMES_MAX; v++) {
		const struct model_volume *mv = &s->m->volumes[v];

		for (uint64_t b = 0; mv->exists && b < mv->blocks; b += SS_READ_BLOCKS) {
			uint32_t n = mv->blocks - b < SS_READ_BLOCKS ? (uint32_t)(mv->blocks - b)
								     : SS_READ_BLOCKS;
			bool any = false;

			for (uint32_t i = 0; i < n && !any; i++)
				any = mv->ids[b + i] != 0;
			if ((any && (all || prng_below(&s->prng, 8) == 0)) ||
			    prng_below(&s->prng, 200) == 0)
				read_wait(s, v, b, n);
			if (s->down || s->failed)
				return;
		}
	}
	ss_drain(s);
}

/* --- the journal, as a peer reads it --- */

/* A record between trim and durable, payload too: old ones more often. */
static void ss_journal_read(struct ss *s)
{
	struct ss_journal_read *j = &s->journal_read;
	struct replica_status st;
	uint32_t from, to;

	if (j->busy || s->m->count == 0)
		return;
	replica_status(s->r, &st);
	from = model_find(s->m, st.trim);
	to = model_find(s->m, st.durable);
	if (from == UINT32_MAX || to == UINT32_MAX || from >= to)
		return;
	memset(&j->q, 0, sizeof(j->q));
	j->q.lsn =
		s->m->records[prng_range(&s->prng, from, prng_range(&s->prng, from, to - 1))].begin;
	j->busy = true;
	op_init(&j->op, s->env->ready, nothing_step);
	completion_arm(&j->q.done, &j->op, 1);
	replica_journal_read(s->r, &j->q);
	world_settle(s->w);
}

/* --- rarer actions --- */

static void lone_arm(struct ss *s, struct ss_wait *x)
{
	op_init(&x->op, s->env->ready, nothing_step);
	completion_arm(&x->done, &x->op, 1);
}

static void ss_floor(struct ss *s)
{
	struct ss_wait *x = &s->lone[0];

	if (x->op.waits != 0)
		return;
	if (x->op.ready != NULL && x->done.rc == 0)
		s->floor_durable = s->floor;
	s->floor.epoch += prng_below(&s->prng, 3);
	s->floor.cfg += prng_below(&s->prng, 3);
	s->floor.promise_ms = 880;
	lone_arm(s, x);
	store_floor_set(s->store, &s->group, &s->floor, &x->done);
	s->kinds[SS_FLOORS]++;
	world_settle(s->w);
}

static void ss_fold(struct ss *s)
{
	struct ss_wait *x = &s->lone[1];

	if (x->op.waits != 0)
		return;
	lone_arm(s, x);
	replica_fold(s->r, &x->done);
	world_settle(s->w);
}

/* Delete a small volume or make a new one: slots are never used again. */
static void ss_volume_change(struct ss *s)
{
	struct record_volume v = {.op = RECORD_VOLUME_DELETE};
	bool pending[MODEL_VOLUMES_MAX] = {false};

	for (uint32_t i = 0; i < s->m->count; i++) {
		if (s->m->records[i].type == RECORD_VOLUME)
			pending[s->m->records[i].body.volume.slot] =
				true; /* used, or about to be */
	}
	v.slot = (uint32_t)prng_range(&s->prng, 2, MODEL_VOLUMES_MAX - 1);
	if (!pending[v.slot]) {
		v.op = RECORD_VOLUME_CREATE;
		v.bytes = prng_range(&s->prng, 1, 4096) * BLOCK_BYTES;
		v.block_bytes = 4096;
		v.uuid.b[0] = (uint8_t)v.slot;
		v.uuid.b[1] = 1;
		v.name[0] = (char)('a' + v.slot);
		ss_append_volume(s, &v);
		return;
	}
	if (!s->m->volumes[v.slot].exists || prng_below(&s->prng, 3) != 0)
		return;
	/* records in flight must not name a deleted volume: settle first, as the engine does */
	ss_drain(s);
	if (s->down || s->failed || store_is_failed(s->store))
		return;
	ss_commit(s, model_durable(s->m));
	if (!s->m->volumes[v.slot].exists || s->down || s->failed)
		return;
	v.uuid.b[0] = (uint8_t)(v.slot == 2 ? 3 : v.slot); /* the third of make_volumes */
	v.uuid.b[1] = v.slot != 2;
	v.name[0] = (char)('a' + v.slot);
	v.bytes = s->m->volumes[v.slot].blocks * BLOCK_BYTES;
	v.block_bytes = 4096;
	if (!ss_append_volume(s, &v))
		return;
	ss_drain(s);
	if (!s->down && !s->failed && !store_is_failed(s->store)) {
		ss_commit(s, model_durable(s->m));
		s->kinds[SS_VOLUMES_DELETED]++;
	}
}

/* Records in flight name no volume that is being grown, so it never shrinks: settled first, as snapshots are. */
static void ss_volume_grow(struct ss *s)
{
	static struct replica_volume volumes[MODEL_VOLUMES_MAX];
	struct record_volume v = {.op = RECORD_VOLUME_RESIZE};
	const struct replica_volume *is;
	uint32_t n;

	ss_drain(s);
	if (s->down || s->failed || store_is_failed(s->store))
		return;
	ss_commit(s, model_durable(s->m));
	if (s->down || s->failed || store_is_failed(s->store) || s->m->applied != s->m->count)
		return;
	n = replica_volumes(s->r, volumes, MODEL_VOLUMES_MAX);
	is = n == 0 ? NULL : &volumes[prng_below(&s->prng, n)];
	if (is == NULL || is->deleted || is->bytes >= GROWN_BYTES_MAX)
		return;
	v.slot = is->slot;
	v.uuid = is->uuid;
	v.block_bytes = is->block_bytes;
	memcpy(v.name, is->name, sizeof(is->name));
	v.bytes = is->bytes + prng_range(&s->prng, 1, GROWTH_BLOCKS_MAX) * BLOCK_BYTES;
	if (ss_append_volume(s, &v))
		s->kinds[SS_VOLUMES_GROWN]++;
}

void ss_action(struct ss *s)
{
	uint64_t p = prng_below(&s->prng, 1000);

	ss_collect(s);
	if (s->failed || s->down)
		return;
	if (prng_below(&s->prng, 10) == 0) {
		ss_clone_action(s);
		return;
	}
	if (p < 450)
		ss_append_write(s);
	else if (p < 600)
		ss_commit_some(s);
	else if (p < 800)
		ss_read_some(s);
	else if (p < 805)
		ss_fold(s);
	else if (p < 820)
		ss_floor(s);
	else if (p < 822)
		ss_volume_change(s);
	else if (p < 823)
		ss_volume_grow(s);
	else if (p < 829)
		ss_snap_action(s);
	else if (p < 836)
		ss_run(s, prng_below(&s->prng, 500 * MS_NS)); /* idle: the background works */
	else if (p < 860)
		ss_journal_read(s);
	else
		ss_run(s, prng_below(&s->prng, 400000));
	if (p < 450 && append_slot(s) == NULL)
		ss_run(s, 200000);
}
