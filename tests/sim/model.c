/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/model.c: see model.h. */
#include "tests/sim/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

#define MAGIC 0x54536d6f64656c21ull

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	assert(m != NULL);
	m->next_id = 1;
	return m;
}

static void volumes_free(struct model_volume *v)
{
	for (uint32_t i = 0; i < MODEL_VOLUMES_MAX; i++)
		free(v[i].ids);
	memset(v, 0, MODEL_VOLUMES_MAX * sizeof(*v));
}

static void volumes_copy(struct model_volume *to, const struct model_volume *from)
{
	for (uint32_t i = 0; i < MODEL_VOLUMES_MAX; i++) {
		to[i] = from[i];
		if (!from[i].exists)
			continue;
		to[i].ids = malloc(from[i].blocks * sizeof(*to[i].ids));
		assert(to[i].ids != NULL);
		memcpy(to[i].ids, from[i].ids, from[i].blocks * sizeof(*to[i].ids));
	}
}

void model_free(struct model **model)
{
	struct model *m = *model;

	*model = NULL;
	if (m == NULL)
		return;
	for (uint32_t i = 0; i < m->count; i++)
		free(m->records[i].extents);
	volumes_free(m->volumes);
	for (uint32_t i = 0; i < m->snap_count; i++) {
		volumes_free(m->snaps[i]->volumes);
		free(m->snaps[i]);
	}
	free(m->snaps);
	free(m->records);
	free(m);
}

uint32_t model_ids(struct model *m, uint32_t count)
{
	uint32_t id = m->next_id;

	m->next_id += count;
	return id;
}

uint32_t model_append(struct model *m, const struct record_view *view,
		      const struct record_extent *extents, uint32_t id,
		      const struct model_body *body)
{
	struct model_record *r;

	assert(view->begin.v == model_end(m).v);
	if (m->count == m->room) {
		m->room = m->room == 0 ? 1024 : m->room * 2;
		m->records = realloc(m->records, m->room * sizeof(*m->records));
		assert(m->records != NULL);
	}
	r = &m->records[m->count];
	memset(r, 0, sizeof(*r));
	r->begin = view->begin;
	r->end = view->end;
	r->chain = view->chain;
	r->type = view->type;
	r->id = id;
	r->extent_count = view->extent_count;
	if (body != NULL)
		r->body = *body;
	if (r->extent_count > 0) {
		r->extents = malloc(r->extent_count * sizeof(*r->extents));
		assert(r->extents != NULL);
		memcpy(r->extents, extents, r->extent_count * sizeof(*r->extents));
	}
	return m->count++;
}

struct lsn model_end(const struct model *m)
{
	return m->count == 0 ? (struct lsn){0} : m->records[m->count - 1].end;
}

struct lsn model_commit(const struct model *m)
{
	return m->applied == 0 ? (struct lsn){0} : m->records[m->applied - 1].end;
}

struct lsn model_durable(const struct model *m)
{
	for (uint32_t i = m->count; i > 0; i--) {
		if (m->records[i - 1].durable) /* and so is everything before it */
			return m->records[i - 1].end;
	}
	return (struct lsn){0};
}

uint32_t model_find(const struct model *m, struct lsn lsn)
{
	uint32_t lo = 0, hi = m->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (m->records[mid].begin.v < lsn.v)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < m->count)
		return m->records[lo].begin.v == lsn.v ? lo : UINT32_MAX;
	return model_end(m).v == lsn.v ? m->count : UINT32_MAX;
}

uint64_t model_chain_at(const struct model *m, struct lsn lsn)
{
	uint32_t i = model_find(m, lsn);

	assert(i != UINT32_MAX);
	return i == 0 ? 0 : m->records[i - 1].chain;
}

void model_cut(struct model *m, struct lsn lsn)
{
	uint32_t i = model_find(m, lsn);

	assert(i != UINT32_MAX && i >= m->applied);
	while (m->count > i)
		free(m->records[--m->count].extents);
}

static void apply_volume(struct model *m, const struct record_volume *v)
{
	struct model_volume *mv = &m->volumes[v->slot];

	assert(v->slot < MODEL_VOLUMES_MAX);
	switch ((enum record_volume_op)v->op) {
	case RECORD_VOLUME_CREATE:
		mv->exists = true;
		mv->blocks = v->bytes / BLOCK_BYTES;
		mv->ids = calloc(mv->blocks, sizeof(*mv->ids));
		break;
	case RECORD_VOLUME_RESIZE: {
		uint64_t blocks = v->bytes / BLOCK_BYTES;

		mv->ids = realloc(mv->ids, blocks * sizeof(*mv->ids));
		assert(mv->ids != NULL && mv->exists && blocks >= mv->blocks);
		memset(mv->ids + mv->blocks, 0, (blocks - mv->blocks) * sizeof(*mv->ids));
		mv->blocks = blocks;
		break;
	}
	case RECORD_VOLUME_DELETE:
		mv->exists = false;
		free(mv->ids);
		mv->ids = NULL;
		mv->blocks = 0;
		break;
	}
}

struct model_snap *model_snap_find(const struct model *m, const struct uuid *uuid)
{
	for (uint32_t i = 0; i < m->snap_count; i++)
		if (uuid_compare(&m->snaps[i]->uuid, uuid) == 0)
			return m->snaps[i];
	return NULL;
}

/* The content of now, or, at not 0, of then. */
static void snap_make(struct model *m, const struct uuid *uuid, struct lsn lsn, bool past)
{
	struct model then = {
		.records = m->records, .count = m->count, .room = m->room, .origin = m};
	struct model_snap *snap = calloc(1, sizeof(*snap));

	m->snaps = realloc(m->snaps, (m->snap_count + 1) * sizeof(struct model_snap *));
	assert(snap != NULL && m->snaps != NULL && model_snap_find(m, uuid) == NULL);
	m->snaps[m->snap_count++] = snap;
	snap->uuid = *uuid;
	snap->listed = true;
	snap->lsn = lsn;
	snap->past = past;
	if (!past) {
		volumes_copy(snap->volumes, m->volumes);
		return;
	}
	model_commit_to(&then, lsn);
	memcpy(snap->volumes, then.volumes, sizeof(snap->volumes));
}

static void apply_body(struct model *m, const struct model_record *r)
{
	const struct model_body *b = &r->body;
	struct model_snap *snap;

	if (r->type == RECORD_VOLUME)
		apply_volume(m, &b->volume);
	if (r->type == RECORD_SNAP && b->snap.op == RECORD_SNAP_CREATE && m->origin == NULL)
		snap_make(m, &b->snap.uuid, b->snap.at.v != 0 ? b->snap.at : r->begin,
			  b->snap.at.v != 0);
	if (r->type == RECORD_SNAP && b->snap.op == RECORD_SNAP_DELETE && m->origin == NULL)
		model_snap_find(m, &b->snap.uuid)->listed = false;
	if (r->type == RECORD_RESTORE) {
		if (m->origin == NULL)
			snap_make(m, &b->restore.kept, r->begin, false);
		snap = model_snap_find(m->origin != NULL ? m->origin : m, &b->restore.target);
		volumes_free(m->volumes);
		volumes_copy(m->volumes, snap->volumes);
	}
	if (r->type == RECORD_CLONE)
		volumes_copy(m->volumes, b->base->volumes);
}

void model_commit_to(struct model *m, struct lsn lsn)
{
	while (m->applied < m->count && m->records[m->applied].end.v <= lsn.v) {
		const struct model_record *r = &m->records[m->applied++];

		apply_body(m, r);
		for (uint32_t i = 0; i < r->extent_count; i++) {
			const struct record_extent *e = &r->extents[i];
			struct model_volume *v = &m->volumes[e->volume];

			if (!v->exists)
				continue;
			for (uint64_t b = e->block; b < e->block + e->count && b < v->blocks; b++)
				v->ids[b] = e->kind == EXTENT_DATA ? r->id + i : 0;
		}
	}
}

uint32_t model_id_at(const struct model *m, uint32_t volume, uint64_t block)
{
	const struct model_volume *v = &m->volumes[volume];

	return v->exists && block < v->blocks ? v->ids[block] : 0;
}

void model_fill(uint32_t id, uint32_t volume, uint64_t block, void *data)
{
	uint64_t *w = data, x = ((uint64_t)id << 32 | volume) * 0x9fb21c651e98df25ull + block;

	w[0] = MAGIC;
	w[1] = id;
	w[2] = volume;
	w[3] = block;
	for (uint32_t i = 4; i < BLOCK_BYTES / 8; i++)
		w[i] = x ^ (i * 0x9e3779b97f4a7c15ull);
}

static bool content_is(uint32_t id, uint32_t volume, uint64_t block, const void *data)
{
	uint64_t want[BLOCK_BYTES / 8];

	if (id == 0)
		memset(want, 0, sizeof(want));
	else
		model_fill(id, volume, block, want);
	return memcmp(want, data, BLOCK_BYTES) == 0;
}

bool model_snap_check(struct model *m, const struct model_snap *snap, uint32_t volume,
		      uint64_t block, const void *data)
{
	const struct model_volume *v = &snap->volumes[volume];
	uint32_t id = v->exists && block < v->blocks ? v->ids[block] : 0;
	uint64_t words[4];

	if (content_is(id, volume, block, data))
		return true;
	memcpy(words, data, sizeof(words));
	snprintf(
		m->error, sizeof(m->error),
		"snapshot %u%s, volume %u block %llu: found %s id %llu (block %llu), expected id %u",
		snap->uuid.b[0] | (uint32_t)snap->uuid.b[1] << 8, snap->listed ? "" : " (deleted)",
		volume, (unsigned long long)block, words[0] == MAGIC ? "" : "rubbish",
		(unsigned long long)words[1], (unsigned long long)words[3], id);
	return false;
}

bool model_check(struct model *m, uint32_t volume, uint64_t block, uint32_t id_before,
		 uint32_t from, const void *data)
{
	uint64_t words[4];

	if (content_is(id_before, volume, block, data) ||
	    content_is(model_id_at(m, volume, block), volume, block, data))
		return true;
	for (uint32_t k = from; k < m->applied; k++) { /* committed while it was read */
		const struct model_record *r = &m->records[k];
		const struct model_snap *t = r->type == RECORD_RESTORE
						     ? model_snap_find(m, &r->body.restore.target)
						     : NULL;

		if (t != NULL && model_snap_check(m, t, volume, block, data))
			return true;
		for (uint32_t i = 0; i < r->extent_count; i++) {
			const struct record_extent *e = &r->extents[i];

			if (e->volume == volume && block >= e->block &&
			    block < e->block + e->count &&
			    content_is(e->kind == EXTENT_DATA ? r->id + i : 0, volume, block, data))
				return true;
		}
	}
	memcpy(words, data, sizeof(words));
	snprintf(
		m->error, sizeof(m->error),
		"volume %u block %llu: found %s id %llu (of volume %llu block %llu), expected id %u or %u",
		volume, (unsigned long long)block, words[0] == MAGIC ? "" : "rubbish",
		(unsigned long long)words[1], (unsigned long long)words[2],
		(unsigned long long)words[3], id_before, model_id_at(m, volume, block));
	return false;
}
