/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose.  See fake_store.h. */
#include "tests/unit/repl/fake_store.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"
#include "engine/store/snapshot.h"

#define RECORDS_MAX 8192u
#define VOLS 4u
#define JOBS_MAX 512u

enum job_kind { JOB_DURABLE, JOB_RC, JOB_IMPORT, JOB_READ, JOB_SWITCH };

struct job {
	enum job_kind kind;
	struct mono_ns at;
	struct completion *done; /* may be NULL */
	int rc;
	struct replica *r;
	struct lsn lsn;
	struct replica_import *im;
	struct replica_read *rd;
};

struct fake_record {
	uint8_t *header, *payload;
	struct record_view view;
};

struct fake_volume {
	struct replica_volume v;
	uint8_t *data;
	bool allocated[FAKE_VOLUME_BLOCKS], written[FAKE_VOLUME_BLOCKS];
};

struct replica {
	struct store *s;
	struct uuid group;
	char name[NAME_BYTES_MAX + 1];
	struct lsn begin, trim, commit, durable, tail;
	uint64_t begin_chain, tail_chain;
	uint64_t generation, forced;
	struct fake_record records[RECORDS_MAX];
	uint32_t count;
	struct epoch_entry epochs[EPOCHS_MAX];
	uint32_t epoch_count;
	struct fake_volume vols[VOLS];
	bool staging;
	struct completion *space;
	struct lsn pin, branch;
};

struct store {
	struct env *env;
	struct op op;
	struct timer timer;
	bool timer_running, failed;
	struct job jobs[JOBS_MAX];
	uint32_t job_begin, job_count;
	struct replica *visible, *staging;
	struct record_pool *pool;
	uint64_t limit, slow_ns;
	bool base_missing, no_room;
};

static void store_step(struct op *op);
static void job_run(struct store *s, struct job *j);
static struct job *job_add(struct store *s, enum job_kind kind, struct replica *r,
			   struct completion *done, int rc);

static struct replica *replica_new(struct store *s, const struct uuid *group, const char *name)
{
	struct replica *r = calloc(1, sizeof(*r));

	r->s = s;
	r->group = *group;
	r->pin.v = UINT64_MAX;
	strncpy(r->name, name, NAME_BYTES_MAX);
	return r;
}

static void record_forget(struct fake_record *f)
{
	free(f->header);
	free(f->payload);
	memset(f, 0, sizeof(*f));
}

static void replica_free(struct replica *r)
{
	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->count; i++)
		record_forget(&r->records[i]);
	for (uint32_t i = 0; i < VOLS; i++)
		free(r->vols[i].data);
	free(r);
}

struct store *fake_store_open(struct env *env)
{
	struct store *s = calloc(1, sizeof(*s));

	s->env = env;
	s->limit = UINT64_MAX;
	op_init(&s->op, env->ready, store_step);
	if (record_pool_open(128, &s->pool) < 0)
		abort();
	return s;
}

void fake_store_close(struct store *s)
{
	if (timer_armed(&s->timer))
		clock_timer_disarm(s->env->clock, &s->timer);
	op_unqueue(&s->op);
	replica_free(s->visible);
	replica_free(s->staging);
	record_pool_close(&s->pool);
	free(s);
}

void fake_store_no_room(struct store *s, bool none)
{
	s->no_room = none;
}

void fake_store_fail(struct store *s)
{
	s->failed = true;
}

void fake_store_base_missing(struct store *s)
{
	s->base_missing = true;
}

int replica_clone_check(struct store *s, const struct uuid *group, const struct uuid *snapshot)
{
	return s->base_missing ? -ERR_NOT_FOUND : 0;
}

void fake_store_limit(struct store *s, uint64_t journal_bytes)
{
	s->limit = journal_bytes;
}

void fake_store_slow(struct store *s, uint64_t ns)
{
	s->slow_ns = ns;
}

static void store_arm(struct store *s)
{
	if (s->timer_running || s->job_count == 0)
		return;
	s->timer.deadline = s->jobs[s->job_begin].at;
	s->timer_running = true;
	completion_arm(&s->timer.done, &s->op, 1);
	clock_timer_arm(s->env->clock, &s->timer);
}

static struct job *job_add(struct store *s, enum job_kind kind, struct replica *r,
			   struct completion *done, int rc)
{
	struct job *j = &s->jobs[(s->job_begin + s->job_count) % JOBS_MAX];
	bool slow = kind == JOB_IMPORT || kind == JOB_READ;

	assert(s->job_count < JOBS_MAX);
	s->job_count++;
	*j = (struct job){.kind = kind, .r = r, .done = done, .rc = s->failed ? -ERR_FAILED : rc};
	j->at.v = clock_now(s->env->clock).v + FAKE_STORE_NS + (slow ? s->slow_ns : 0);
	store_arm(s);
	return j;
}

static void store_step(struct op *op)
{
	struct store *s = container_of(op, struct store, op);

	if ((op->waits & 1) == 0)
		s->timer_running = false;
	while (s->job_count > 0 && s->jobs[s->job_begin].at.v <= clock_now(s->env->clock).v) {
		struct job j = s->jobs[s->job_begin];

		s->job_begin = (s->job_begin + 1) % JOBS_MAX;
		s->job_count--;
		job_run(s, &j);
	}
	store_arm(s);
}

static struct fake_volume *volume_at(struct replica *r, uint32_t slot)
{
	if (slot >= VOLS || r->vols[slot].data == NULL)
		return NULL;
	return &r->vols[slot];
}

static void volume_make(struct replica *r, const struct replica_volume *v)
{
	struct fake_volume *f = &r->vols[v->slot];

	assert(v->slot < VOLS);
	f->v = *v;
	f->data = calloc(FAKE_VOLUME_BLOCKS, BLOCK_BYTES);
}

static void job_import(struct replica_import *im, struct job *j)
{
	struct fake_volume *v = volume_at(j->r, im->volume);

	if (v == NULL || v->v.deleted) {
		j->rc = -ERR_NOT_FOUND;
		return;
	}
	for (uint32_t i = 0; i < im->count; i++)
		if (crc32c(im->data + i * BLOCK_BYTES, BLOCK_BYTES) != im->crcs[i])
			j->rc = -ERR_CORRUPT;
	for (uint32_t i = 0; i < im->count && j->rc == 0; i++) {
		uint64_t b = im->block + i;

		if (v->written[b])
			continue;
		memcpy(v->data + b * BLOCK_BYTES, im->data + i * BLOCK_BYTES, BLOCK_BYTES);
		v->allocated[b] = true;
	}
}

static void job_read(struct replica_read *rd, struct job *j)
{
	struct fake_volume *v = volume_at(j->r, rd->volume);

	if (v == NULL || v->v.deleted) {
		j->rc = -ERR_NOT_FOUND;
		return;
	}
	memcpy(rd->data, v->data + rd->block * BLOCK_BYTES, rd->count * BLOCK_BYTES);
	for (uint32_t i = 0; i < rd->count && rd->crcs != NULL; i++)
		rd->crcs[i] = crc32c(rd->data + i * BLOCK_BYTES, BLOCK_BYTES);
}

static void job_run(struct store *s, struct job *j)
{
	if (j->kind == JOB_DURABLE && j->rc == 0)
		j->r->durable = lsn_max(j->r->durable, lsn_min(j->lsn, j->r->tail));
	if (j->kind == JOB_IMPORT && j->rc == 0)
		job_import(j->im, j);
	if (j->kind == JOB_READ && j->rc == 0)
		job_read(j->rd, j);
	if (j->kind == JOB_SWITCH && j->rc == 0) {
		replica_free(s->visible);
		s->visible = s->staging;
		s->visible->staging = false;
		s->staging = NULL;
	}
	if (j->done != NULL)
		completion_fire(j->done, j->rc);
}

/* --- store.h --- */

bool store_is_failed(const struct store *s)
{
	return s->failed;
}

void store_status(const struct store *s, struct store_status *ret)
{
	*ret = (struct store_status){.journal_bytes = s->limit < 64u << 20 ? s->limit : 64u << 20};
}

/* --- replica.h --- */

void replica_create(struct store *s, const struct uuid *group, const char *name,
		    struct completion *done)
{
	assert(s->visible == NULL);
	s->visible = replica_new(s, group, name);
	job_add(s, JOB_RC, s->visible, done, 0);
}

struct replica *replica_find(struct store *s, const struct uuid *group)
{
	return s->visible != NULL && uuid_equal(&s->visible->group, group) ? s->visible : NULL;
}

struct replica *fake_replica(struct store *s, const struct uuid *group)
{
	return replica_find(s, group);
}

struct replica *replica_staging(struct store *s, const struct uuid *group)
{
	return s->staging != NULL && uuid_equal(&s->staging->group, group) ? s->staging : NULL;
}

void replica_status(const struct replica *r, struct replica_status *ret)
{
	*ret = (struct replica_status){.group = r->group,
				       .trim = r->trim,
				       .fold = r->trim,
				       .commit = r->commit,
				       .durable = r->durable,
				       .tail = r->tail,
				       .tail_chain = r->tail_chain,
				       .content_generation = r->generation,
				       .last_forced_epoch = r->forced,
				       .is_staging = r->staging};
}

uint32_t replica_epochs(const struct replica *r, struct epoch_entry *ret, uint32_t max)
{
	assert(max >= r->epoch_count);
	memcpy(ret, r->epochs, sizeof(*ret) * r->epoch_count);
	return r->epoch_count;
}

struct record_pool *replica_records(struct replica *r)
{
	return r->s->pool;
}

int replica_append(struct replica *r, struct record *rec, struct completion *done)
{
	struct fake_record *f = &r->records[r->count];
	struct record_epoch e;
	uint64_t at = 0;

	if (r->s->failed)
		return -ERR_FAILED;
	if (rec->view.begin.v != r->tail.v || rec->view.prev_chain != r->tail_chain)
		return -ERR_FORK;
	if (rec->view.end.v - r->trim.v > r->s->limit)
		return -ERR_JOURNAL_FULL;
	assert(r->count < RECORDS_MAX);
	f->header = malloc(RECORD_HEADER_BYTES);
	memcpy(f->header, rec->head->data, RECORD_HEADER_BYTES);
	f->payload = malloc(rec->view.payload_blocks * BLOCK_BYTES + 1);
	for (uint32_t i = 1; i < rec->iov_count; i++) {
		memcpy(f->payload + at, rec->iov[i].iov_base, rec->iov[i].iov_len);
		at += rec->iov[i].iov_len;
	}
	f->view = rec->view;
	r->count++;
	r->tail = rec->view.end;
	r->tail_chain = rec->view.chain;
	if (rec->view.type == RECORD_EPOCH &&
	    record_epoch_decode(record_body(f->header, &f->view), f->view.body_bytes, &e) == 0) {
		r->epochs[r->epoch_count++] =
			(struct epoch_entry){.epoch = rec->view.epoch, .first = rec->view.begin};
		if (e.last_forced_epoch > r->forced)
			r->forced = e.last_forced_epoch;
	}
	job_add(r->s, JOB_DURABLE, r, done, 0)->lsn = r->tail;
	return 0;
}

void replica_space_wait(struct replica *r, struct completion *done)
{
	assert(r->space == NULL);
	r->space = done;
}

void replica_space_wait_cancel(struct replica *r, struct completion *done)
{
	if (r->space == NULL)
		return;
	r->space = NULL;
	completion_fire(done, -ERR_CANCELED);
}

void fake_trim(struct replica *r, struct lsn lsn)
{
	struct completion *c = r->space;

	assert(lsn.v <= r->commit.v);
	r->trim = lsn;
	r->space = NULL;
	if (c != NULL)
		completion_fire(c, 0);
}

static void apply_extent(struct replica *r, const struct fake_record *f, struct record_extent e)
{
	struct fake_volume *v = volume_at(r, e.volume);

	assert(v != NULL);
	for (uint32_t i = 0; i < e.count; i++) {
		uint64_t b = e.block + i;

		v->written[b] = true;
		v->allocated[b] = e.kind == EXTENT_DATA;
		if (e.kind == EXTENT_DATA)
			memcpy(v->data + b * BLOCK_BYTES,
			       f->payload + (uint64_t)(e.payload_block + i) * BLOCK_BYTES,
			       BLOCK_BYTES);
		else
			memset(v->data + b * BLOCK_BYTES, 0, BLOCK_BYTES);
	}
}

static void apply(struct replica *r, const struct fake_record *f)
{
	struct record_volume rv;

	if (f->view.type == RECORD_VOLUME) {
		if (record_volume_decode(record_body(f->header, &f->view), f->view.body_bytes,
					 &rv) < 0)
			abort();
		if (rv.op == RECORD_VOLUME_CREATE) {
			struct replica_volume v = {.slot = rv.slot,
						   .uuid = rv.uuid,
						   .bytes = rv.bytes,
						   .block_bytes = rv.block_bytes};

			memcpy(v.name, rv.name, sizeof(v.name));
			volume_make(r, &v);
		} else if (rv.op == RECORD_VOLUME_DELETE) {
			r->vols[rv.slot].v.deleted = true;
		}
	}
	for (uint32_t i = 0; i < f->view.extent_count; i++)
		apply_extent(r, f, record_extent_at(f->header, &f->view, i));
}

int replica_commit(struct replica *r, struct lsn lsn)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct fake_record *f = &r->records[i];

		if (f->view.begin.v < r->commit.v)
			continue;
		if (f->view.end.v > lsn.v)
			break;
		apply(r, f);
		r->commit = f->view.end;
	}
	return 0;
}

void replica_cut(struct replica *r, struct lsn lsn, struct completion *done)
{
	int rc = lsn.v < r->commit.v ? -ERR_INVALID : 0;

	while (rc == 0 && r->count > 0 && r->records[r->count - 1].view.begin.v >= lsn.v)
		record_forget(&r->records[--r->count]);
	if (rc == 0) {
		r->tail = r->durable = lsn;
		r->tail_chain = r->count > 0 ? r->records[r->count - 1].view.chain : r->begin_chain;
		while (r->epoch_count > 0 && r->epochs[r->epoch_count - 1].first.v >= lsn.v)
			r->epoch_count--;
	}
	job_add(r->s, JOB_RC, r, done, rc);
}

uint32_t replica_volumes(const struct replica *r, struct replica_volume *ret, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < VOLS; i++) {
		if (r->vols[i].data == NULL)
			continue;
		ret[n] = r->vols[i].v;
		for (uint32_t b = 0; b < FAKE_VOLUME_BLOCKS; b++)
			ret[n].used_bytes += r->vols[i].allocated[b] ? BLOCK_BYTES : 0;
		n++;
	}
	assert(n <= max);
	return n;
}

void replica_read(struct replica *r, struct replica_read *rd)
{
	job_add(r->s, JOB_READ, r, &rd->done, 0)->rd = rd;
}

void replica_allocated(struct replica *r, struct replica_allocated *q)
{
	struct fake_volume *v = volume_at(r, q->volume);
	int rc = v == NULL || v->v.deleted ? -ERR_NOT_FOUND : 0;

	memset(q->map, 0, sizeof(q->map));
	for (uint32_t i = 0; rc == 0 && i < q->count; i++)
		if (v->allocated[q->block + i])
			q->map[i / 8] = (uint8_t)(q->map[i / 8] | 1u << i % 8);
	job_add(r->s, JOB_RC, r, &q->done, rc);
}

void replica_journal_read(struct replica *r, struct replica_journal_read *q)
{
	int rc = -ERR_INVALID;

	if (q->lsn.v < r->trim.v)
		rc = -ERR_TRIMMED;
	else if (q->lsn.v >= r->durable.v)
		rc = -ERR_RANGE;
	for (uint32_t i = 0; rc == -ERR_INVALID && i < r->count; i++) {
		const struct fake_record *f = &r->records[i];
		uint32_t blocks = f->view.payload_blocks;
		struct record *rec;
		struct buf *b = NULL;

		if (f->view.begin.v != q->lsn.v)
			continue;
		rec = record_take(r->s->pool, r->s->env->bufs);
		if (rec != NULL && blocks > 0)
			b = buf_take(r->s->env->bufs, blocks * BLOCK_BYTES);
		if (rec == NULL || (blocks > 0 && b == NULL)) {
			record_unref(&rec);
			rc = -ERR_POOL_EMPTY;
			break;
		}
		memcpy(rec->head->data, f->header, RECORD_HEADER_BYTES);
		if (record_open_received(rec) < 0)
			abort();
		if (blocks > 0) {
			memcpy(b->data, f->payload, blocks * BLOCK_BYTES);
			record_add_payload(rec, b, b->data, blocks);
			buf_unref(&b);
		}
		q->record = rec;
		rc = 0;
	}
	job_add(r->s, JOB_RC, r, &q->done, rc);
}

void replica_chain_at(struct replica *r, struct replica_chain_at *q)
{
	int rc = -ERR_INVALID;

	if (q->lsn.v < r->trim.v)
		rc = -ERR_TRIMMED;
	else if (q->lsn.v > r->tail.v)
		rc = -ERR_RANGE;
	else if (q->lsn.v == r->begin.v) {
		q->chain = r->begin_chain;
		rc = 0;
	}
	for (uint32_t i = 0; rc == -ERR_INVALID && i < r->count; i++)
		if (r->records[i].view.end.v == q->lsn.v) {
			q->chain = r->records[i].view.chain;
			rc = 0;
		}
	job_add(r->s, JOB_RC, r, &q->done, rc);
}

void fake_corrupt_chain(struct replica *r)
{
	r->tail_chain ^= 1;
	r->records[r->count - 1].view.chain ^= 1;
}

uint64_t replica_pin_quota_bytes(const struct replica *r)
{
	return 1u << 20;
}

struct lsn fake_pin(const struct replica *r)
{
	return r->pin;
}

void replica_pin(struct replica *r, struct lsn lsn)
{
	r->pin = lsn;
}

void replica_stage_begin(struct store *s, const struct uuid *group, const char *name,
			 const struct replica_stage_spec *spec, struct replica **ret_staging,
			 struct completion *done)
{
	struct replica *r = replica_new(s, group, name);

	replica_free(s->staging);
	s->staging = r;
	r->staging = true;
	r->begin = r->trim = r->commit = r->durable = r->tail = spec->begin;
	r->begin_chain = r->tail_chain = spec->chain;
	memcpy(r->epochs, spec->epochs, sizeof(r->epochs[0]) * spec->epoch_count);
	r->epoch_count = spec->epoch_count;
	r->forced = spec->last_forced_epoch;
	r->generation = spec->content_generation;
	for (uint32_t i = 0; i < spec->volume_count; i++)
		volume_make(r, &spec->volumes[i]);
	*ret_staging = r;
	job_add(s, JOB_RC, r, done, 0);
}

void replica_stage_import(struct replica *staging, struct replica_import *im)
{
	assert(staging->staging);
	job_add(staging->s, JOB_IMPORT, staging, &im->done, 0)->im = im;
}

void replica_stage_switch(struct store *s, const struct uuid *group, struct completion *done)
{
	assert(replica_staging(s, group) != NULL);
	job_add(s, JOB_SWITCH, s->staging, done, 0);
}

void replica_stage_discard(struct store *s, const struct uuid *group, struct completion *done)
{
	(void)group;
	replica_free(s->staging);
	s->staging = NULL;
	job_add(s, JOB_RC, NULL, done, 0);
}

/* --- records of a primary --- */

uint64_t fake_content(const struct replica *r, uint32_t volume, uint64_t block)
{
	uint64_t x = 0;

	if (volume < VOLS && r->vols[volume].data != NULL)
		memcpy(&x, r->vols[volume].data + block * BLOCK_BYTES, sizeof(x));
	return x;
}

static struct record *append(struct replica *r, struct record *rec, struct record_spec *spec)
{
	spec->group = r->group;
	spec->begin = r->tail;
	spec->prev_chain = r->tail_chain;
	spec->commit = r->commit;
	if (spec->epoch.number == 0 && r->epoch_count > 0)
		spec->epoch = r->epochs[r->epoch_count - 1].epoch;
	record_seal(rec, spec);
	if (replica_append(r, rec, NULL) < 0)
		abort();
	return rec;
}

struct record *fake_epoch_record(struct replica *r, struct env *env, struct epoch e,
				 uint64_t last_forced)
{
	struct record *rec = record_take(r->s->pool, env->bufs);
	struct record_epoch body = {.last_forced_epoch = last_forced};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec spec = {.type = RECORD_EPOCH, .epoch = e, .body = bytes};

	spec.body_bytes = record_epoch_encode(&body, bytes);
	return append(r, rec, &spec);
}

struct record *fake_volume_record(struct replica *r, struct env *env, uint32_t slot,
				  uint64_t blocks)
{
	struct record *rec = record_take(r->s->pool, env->bufs);
	struct record_volume body = {.op = blocks > 0 ? RECORD_VOLUME_CREATE : RECORD_VOLUME_DELETE,
				     .slot = slot,
				     .bytes = (blocks > 0 ? blocks : 1) * BLOCK_BYTES,
				     .block_bytes = 4096,
				     .name = "v"};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec spec = {.type = RECORD_VOLUME, .body = bytes};

	body.uuid.b[0] = (uint8_t)(slot + 1);
	spec.body_bytes = record_volume_encode(&body, bytes);
	return append(r, rec, &spec);
}

struct record *fake_clone_record(struct replica *r, struct env *env)
{
	struct record *rec = record_take(r->s->pool, env->bufs);
	struct record_clone body = {.source.b = {7}, .snapshot.b = {8}};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec spec = {.type = RECORD_CLONE, .body = bytes};

	spec.body_bytes = record_clone_encode(&body, bytes);
	return append(r, rec, &spec);
}

struct record *fake_write_record(struct replica *r, struct env *env, uint32_t volume,
				 uint64_t block, uint32_t count, uint64_t value)
{
	struct record *rec = record_take(r->s->pool, env->bufs);
	struct record_extent e = {
		.volume = volume, .kind = EXTENT_DATA, .block = block, .count = count};
	struct record_spec spec = {.type = RECORD_WRITE, .extents = &e, .extent_count = 1};
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX];
	struct buf *b = buf_take(env->bufs, count * BLOCK_BYTES);

	assert(rec != NULL && b != NULL);
	for (uint32_t i = 0; i < count; i++) {
		memset(b->data + i * BLOCK_BYTES, (int)(value & 0xff), BLOCK_BYTES);
		memcpy(b->data + i * BLOCK_BYTES, &value, sizeof(value));
		crcs[i] = crc32c(b->data + i * BLOCK_BYTES, BLOCK_BYTES);
	}
	record_add_payload(rec, b, b->data, count);
	buf_unref(&b);
	spec.crcs = crcs;
	spec.payload_blocks = count;
	return append(r, rec, &spec);
}

/* --- trees: the fake has none; its sites do not compare --- */

void replica_page(struct replica *r, struct replica_page *q)
{
	completion_fire(&q->done, -ERR_NOT_FOUND);
}

void replica_sums(struct replica *r, struct replica_sums *q)
{
	completion_fire(&q->done, -ERR_NOT_FOUND);
}

struct lsn replica_stage_since(const struct replica *staging)
{
	return (struct lsn){0};
}

void replica_fold_cap(struct replica *r, struct lsn cap)
{
}

bool replica_stage_drop(struct store *s, const struct uuid *group)
{
	return false;
}

void replica_trees_bad(struct replica *r)
{
}

bool replica_trees_are_bad(const struct replica *r)
{
	return true;
}

/* --- branches: everything is committed, and a flag remembers where --- */

bool replica_branch_at_tail(const struct replica *r, struct snapshot_info *ret)
{
	return r->branch.v != 0 && r->branch.v == r->tail.v;
}

void replica_branch(struct replica *r, struct replica_branch *b)
{
	int rc = r->s->no_room ? -ERR_FULL : replica_commit(r, r->tail);

	if (rc == 0)
		r->branch = r->tail;
	memcpy(b->name, "branch-2", 9);
	job_add(r->s, JOB_RC, r, &b->done, rc);
}

void replica_fold(struct replica *r, struct completion *done)
{
	completion_fire(done, 0);
}

enum store_room store_room(const struct store *s)
{
	return STORE_ROOM_OK;
}

void replica_stage_mark_set(struct replica *staging, const struct replica_stage_mark *m)
{
}

void replica_stage_mark(const struct replica *staging, struct replica_stage_mark *ret)
{
	*ret = (struct replica_stage_mark){0};
}
