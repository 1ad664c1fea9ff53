/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/store.c
 * Purpose.     The store as one object: its parts, its replicas, its one way into failure, its end.
 * Invariants.  ST1 After a failed write or flush nothing more is promised; there is no way back but
 *                  reopening.
 *              ST2 Replicas are listed by uuid, a staging one after its visible one.
 *              ST3 A tree of a replica that leaves is a ghost in the same step.
 * States.      created -> ready (open.c) -> failed | closing -> gone.
 * Ownership.   Owns superblocks, space, cache, worker and replicas.
 * Limits.      memory_bytes: 3/8 for indexes, 1/2 for map pages, the rest for tables and buffers.
 */
#include "engine/store/store.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/checkpoint.h"
#include "engine/store/fold.h"
#include "engine/store/grow.h"
#include "engine/store/import.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/record.h"
#include "engine/store/rewrite.h"
#include "engine/store/scrub.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/stall.h"
#include "engine/store/store_state.h"

#define MEMORY_DEFAULT (256ull << 20)
#define MEMORY_MIN (8ull << 20)
#define INDEX_ENTRY_BYTES 56u /* entry and its share of the buckets */
#define INDEX_ENTRIES_MIN 4096u
#define RECORDS_MAX 512u
#define WAITS_STEP 16u

static void failed_from_supers(void *ctx, int rc, const char *what);

void waits_add(struct waits *w, struct completion *done)
{
	if (w->count == w->max) {
		struct completion **more =
			realloc(w->done, (w->max + WAITS_STEP) * sizeof(struct completion *));

		if (more == NULL) {
			completion_fire(done, -ERR_NOMEM);
			return;
		}
		w->done = more;
		w->max += WAITS_STEP;
	}
	w->done[w->count++] = done;
}

void waits_fire_all(struct waits *w, int rc)
{
	uint32_t n = w->count;

	w->count = 0;
	for (uint32_t i = 0; i < n; i++)
		completion_fire(w->done[i], rc);
}

/* --- life --- */

int store_create(struct env *env, struct disk *disk, const struct store_opts *opts,
		 struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	struct supers_opts so = {.env = env,
				 .disk = disk,
				 .mutant = opts->mutant,
				 .read_only = opts->read_only,
				 .failed = failed_from_supers};
	int rc;

	if (s == NULL)
		return -ERR_NOMEM;
	s->env = env;
	s->disk = disk;
	s->opts = *opts;
	if (s->opts.memory_bytes == 0)
		s->opts.memory_bytes = MEMORY_DEFAULT;
	list_init(&s->entries);
	list_init(&s->ghosts);
	list_init(&s->stage_makers);
	list_init(&s->switches);
	list_init(&s->import_queue);
	so.ctx = s;
	rc = supers_open(&so, &s->supers);
	if (rc < 0) {
		free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int store_create_parts(struct store *s)
{
	const struct disk_super *super = supers_content(s->supers);
	struct map_cache_opts co = {.env = s->env, .disk = s->disk, .mutant = s->opts.mutant};
	uint64_t memory;
	int rc;

	memcpy(s->uuid.b, super->store, sizeof(s->uuid.b));
	rc = space_open(super->bytes, super->segment_bytes, &s->space);
	if (rc == 0 && super->grown_bytes != 0) {
		rc = space_grow(s->space, super->grown_bytes);
		if (rc == 0)
			space_grown(s->space);
	}
	if (rc < 0)
		return rc == -ERR_INVALID ? -ERR_CORRUPT : rc;
	space_set_share(s->space, s->opts.journal_percent != 0 ? s->opts.journal_percent
							       : super->journal_percent);
	memory = space_memory_bytes(s->space);
	memory = s->opts.memory_bytes > memory + MEMORY_MIN ? s->opts.memory_bytes - memory
							    : MEMORY_MIN;
	s->index_max = (uint32_t)(memory / 8 * 3 / INDEX_ENTRY_BYTES);
	co.space = s->space;
	co.store = s->uuid;
	co.disk_bytes = super_disk_bytes(super);
	co.memory_bytes = memory / 2;
	rc = map_cache_open(&co, &s->cache);
	if (rc == 0)
		rc = record_pool_open(RECORDS_MAX, &s->records);
	if (rc == 0)
		rc = checkpoint_open(s, &s->checkpoint);
	if (rc == 0)
		rc = fold_open(s, &s->fold);
	if (rc == 0)
		rc = import_pool_open(s, &s->import_pool);
	if (rc == 0)
		rc = rewrites_open(s, &s->rewrites);
	if (rc == 0)
		rc = scrub_open(s, &s->scrub);
	if (rc == 0)
		rc = past_open(s, &s->past);
	return rc;
}

void store_free(struct store **sp)
{
	struct store *s = *sp;
	struct list_link *link;

	*sp = NULL;
	if (s == NULL)
		return;
	store_opening_abandon(s);
	stage_switches_abandon(s);
	growing_free(s);
	stall_watch_close(&s->stall);
	if (s->cache != NULL)
		s->cache->closing = true;
	import_pool_close(&s->import_pool);
	scrub_close(&s->scrub, s->abandoned);
	rewrites_close(&s->rewrites);
	past_close(&s->past);
	fold_close(&s->fold);
	checkpoint_close(&s->checkpoint);
	while ((link = list_pop_front(&s->entries)) != NULL) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);

		if (s->abandoned)
			replica_abandon(&e->r);
		else
			replica_free(&e->r);
		free(e->waits);
		free(e);
	}
	while ((link = list_pop_front(&s->ghosts)) != NULL) {
		struct map *m = container_of(link, struct ghost, link)->map;

		map_destroy(&m);
	}
	record_pool_close(&s->records);
	map_cache_close(&s->cache, s->abandoned);
	space_close(&s->space);
	supers_close(&s->supers, s->abandoned);
	free(s);
}

void store_abandon(struct store **s)
{
	if (*s == NULL)
		return;
	(*s)->abandoned = true;
	store_free(s);
}

/* --- closing --- */

enum close_phase { CLOSE_QUIET, CLOSE_CHECKPOINT, CLOSE_STOP, CLOSE_SUPERS };

struct store_closing {
	struct op op;
	struct store *s;
	enum close_phase phase;
	struct completion part, *done;
	int rc;
};

static bool replicas_are_idle(struct store *s, struct op *op)
{
	LIST_FOR_EACH(link, &s->entries)
		if (!replica_is_idle(container_of(link, struct replica_entry, link)->r, op))
			return false;
	return true;
}

static void closing_step(struct op *op)
{
	struct store_closing *c = container_of(op, struct store_closing, op);
	struct store *s = c->s;
	struct completion *done = c->done;
	int rc;

	if (op->waits != 0)
		return; /* wait: the part */
	switch (c->phase) {
	case CLOSE_QUIET:
		if (!growing_is_idle(s, op) || !scrub_is_idle(s, op) ||
		    !past_is_idle(s->past, op) || !replicas_are_idle(s, op))
			return; /* wait: their I/O */
		c->phase = CLOSE_CHECKPOINT;
		completion_arm(&c->part, op, 1);
		if (s->failed || s->opts.read_only)
			completion_fire(&c->part, 0);
		else
			fold_want_checkpoint(s->fold, &c->part);
		return; /* wait: the checkpoint */
	case CLOSE_CHECKPOINT:
		c->rc = c->part.rc;
		c->phase = CLOSE_STOP;
		completion_arm(&c->part, op, 1);
		fold_stop(s->fold, &c->part);
		return; /* wait: the worker */
	case CLOSE_STOP:
		c->phase = CLOSE_SUPERS;
		op_wake(op);
		return; /* wait: our turn */
	case CLOSE_SUPERS:
		rc = c->rc;
		store_free(&s);
		free(c);
		completion_fire(done, rc);
		return;
	}
}

void store_close(struct store **sp, struct completion *done)
{
	struct store *s = *sp;
	struct store_closing *c = calloc(1, sizeof(*c));

	*sp = NULL;
	assert(s != NULL && c != NULL);
	s->closing = true;
	op_init(&c->op, s->env->ready, closing_step);
	c->s = s;
	c->done = done;
	op_wake(&c->op);
}

/* --- failure --- */

void store_fail(struct store *s, int rc, const char *what)
{
	if (s->failed)
		return; /* ST1 */
	s->failed = true;
	s->fail_rc = rc;
	log_error(s->env->log, "store",
		  "%s on %s failed: %s; the store stops, reopen it after repair", what,
		  s->disk->name, err_text(rc));
	if (s->failure_watch != NULL) {
		struct completion *c = s->failure_watch;

		s->failure_watch = NULL;
		completion_fire(c, -ERR_FAILED);
	}
	LIST_FOR_EACH(link, &s->entries)
		replica_store_failed(container_of(link, struct replica_entry, link)->r);
	if (s->fold != NULL)
		fold_kick(s->fold);
	if (s->past != NULL)
		past_kick(s->past);
	if (s->checkpoint != NULL)
		checkpoint_wake(s->checkpoint);
	growing_stop(s);
	store_imports_go(s);
}

static void failed_from_supers(void *ctx, int rc, const char *what)
{
	store_fail(ctx, rc, what);
}

bool store_is_failed(const struct store *s)
{
	return s->failed;
}

void store_watch_failure(struct store *s, struct completion *c)
{
	assert(c == NULL || s->failure_watch == NULL);
	if (c != NULL && s->failed)
		completion_fire(c, -ERR_FAILED);
	else
		s->failure_watch = c;
}

void store_status(const struct store *s, struct store_status *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->uuid = s->uuid;
	ret->incarnation = supers_content(s->supers)->incarnation;
	ret->bytes = super_disk_bytes(supers_content(s->supers));
	ret->used_bytes = space_used_bytes(s->space);
	ret->free_bytes = space_free_bytes(s->space);
	ret->journal_bytes = space_journal_share_bytes(s->space);
	ret->journal_used_bytes = space_journal_used_bytes(s->space);
	ret->segment_bytes = space_segment_bytes(s->space);
	LIST_FOR_EACH(link, &s->entries) {
		struct index *x = replica_index(container_of(link, struct replica_entry, link)->r);

		ret->index_entries += index_count(x);
		ret->index_entries_max += index_max(x);
	}
	ret->recovery_read_bytes = s->recovery_read_bytes;
	ret->checkpoint_seq = checkpoint_seq(s->checkpoint);
	ret->shares = !list_empty(&s->ghosts);
	LIST_FOR_EACH(link, &s->entries) {
		const struct replica_snaps *n =
			replica_snaps(container_of(link, struct replica_entry, link)->r);

		ret->shares = ret->shares || n->cloned || !list_empty(&n->list);
	}
	ret->failed = s->failed;
}

bool store_history_give(struct store *s)
{
	bool any = false;

	for (struct replica *r = store_first_replica(s); r != NULL; r = store_next_replica(s, r))
		any = replica_history_give(r) || any;
	if (any)
		fold_kick(s->fold);
	return any;
}

enum store_room store_room(const struct store *s)
{
	uint64_t bytes = super_disk_bytes(supers_content(s->supers));
	uint64_t free_bytes = space_free_bytes(s->space);

	return free_bytes < bytes / 16	? STORE_ROOM_LITTLE
	       : free_bytes < bytes / 8 ? STORE_ROOM_LOW
					: STORE_ROOM_OK;
}

void store_floor_get(const struct store *s, const struct uuid *group, struct store_floor *ret)
{
	supers_floor_get(s->supers, group, ret);
}

void store_floor_set(struct store *s, const struct uuid *group, const struct store_floor *floor,
		     struct completion *done)
{
	supers_floor_set(s->supers, group, floor, done);
}

/* --- parts, for replicas and journals --- */

struct env *store_env(struct store *s)
{
	return s->env;
}

struct disk *store_disk(struct store *s)
{
	return s->disk;
}

struct space *store_space(struct store *s)
{
	return s->space;
}

const struct store_opts *store_opts(const struct store *s)
{
	return &s->opts;
}

const struct uuid *store_uuid(const struct store *s)
{
	return &s->uuid;
}

uint32_t store_index_max(const struct store *s)
{
	uint32_t shares = s->entry_count + 1 < 2 ? 2 : s->entry_count + 1;
	uint32_t n = s->index_max / shares;

	return n < INDEX_ENTRIES_MIN ? INDEX_ENTRIES_MIN : n;
}

uint32_t store_records_max(const struct store *s)
{
	return RECORDS_MAX;
}

struct record_pool *store_record_pool(struct store *s)
{
	return s->records;
}

void store_kick(struct store *s)
{
	fold_kick(s->fold);
}

void store_checkpoint(struct store *s, struct completion *done)
{
	fold_want_checkpoint(s->fold, done);
}

void store_fold_now(struct store *s, struct replica *r, struct completion *done)
{
	struct replica_entry *e = store_entry(s, r);

	if (s->failed || e == NULL)
		completion_fire(done, s->failed ? -ERR_FAILED : -ERR_NOT_FOUND);
	else if (s->opts.read_only)
		completion_fire(done, -ERR_READONLY);
	else if (replica_fold_lsn(r).v >= replica_commit_lsn(r).v)
		completion_fire(done, 0);
	else
		fold_want_fold(s->fold, e, done);
}

/* --- replicas --- */

static struct replica_entry *entry_find(struct store *s, const struct replica *r)
{
	LIST_FOR_EACH(link, &s->entries) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);

		if (e->r == r)
			return e;
	}
	return NULL;
}

struct replica_entry *store_entry(struct store *s, const struct replica *r)
{
	struct replica_entry *e = entry_find(s, r);

	return e == NULL || e->leaving ? NULL : e;
}

static int entry_compare(const struct replica_entry *a, const struct replica_entry *b)
{
	int c = uuid_compare(replica_uuid(a->r), replica_uuid(b->r));

	return c != 0 ? c : (int)replica_is_staging(a->r) - (int)replica_is_staging(b->r);
}

/* Before the first that is greater.  ST2 */
static void entry_insert(struct store *s, struct replica_entry *e)
{
	struct list later;
	struct list_link *link;

	list_init(&later);
	while ((link = list_last(&s->entries)) != NULL &&
	       entry_compare(container_of(link, struct replica_entry, link), e) > 0) {
		list_remove(link);
		list_push_front(&later, link);
	}
	list_push_back(&s->entries, &e->link);
	while ((link = list_pop_front(&later)) != NULL)
		list_push_back(&s->entries, link);
}

void store_add_replica(struct store *s, struct replica *r)
{
	struct replica_entry *e = calloc(1, sizeof(*e));

	assert(e != NULL); /* a few words, control plane */
	e->r = r;
	e->folded = e->commit_durable = replica_fold_lsn(r);
	entry_insert(s, e);
	s->entry_count++;
	s->snapshots_changed = true; /* indices of groups moved */
	space_set_replicas(s->space, s->entry_count);
}

void store_resort_replica(struct store *s, struct replica *r)
{
	struct replica_entry *e = entry_find(s, r);

	list_remove(&e->link);
	entry_insert(s, e);
	s->snapshots_changed = true;
}

void store_remove_replica(struct store *s, struct replica *r)
{
	struct replica_entry *e = entry_find(s, r);

	if (e == NULL || e->leaving)
		return;
	e->leaving = true;
	fold_replica_gone(s->fold, e);
}

void store_forget_replica(struct store *s, struct replica *r)
{
	struct replica_entry *e = entry_find(s, r);

	if (e == NULL)
		return;
	store_remove_replica(s, r);
	checkpoint_replica_gone(s->checkpoint, r);
	list_remove(&e->link);
	s->entry_count--;
	s->snapshots_changed = true;
	space_set_replicas(s->space, s->entry_count);
	free(e->waits);
	free(e);
}

static struct replica *first_from(const struct store *s, struct list_link *link)
{
	for (; link != NULL; link = list_next(&s->entries, link)) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);

		if (!e->leaving)
			return e->r;
	}
	return NULL;
}

struct replica *store_first_replica(struct store *s)
{
	return first_from(s, list_first(&s->entries));
}

struct replica *store_next_replica(struct store *s, struct replica *r)
{
	struct replica_entry *e = entry_find(s, r);

	return e == NULL ? NULL : first_from(s, list_next(&s->entries, &e->link));
}

/* --- maps --- */

int map_open(struct store *s, const struct volume_root *root, struct map **ret_map)
{
	int rc = map_create(s->cache, root, ret_map);

	if (rc == 0)
		(*ret_map)->store = s;
	return rc;
}

void map_free(struct map **m)
{
	map_destroy(m);
}

void map_discard(struct map **mp)
{
	struct map *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	m->ghost.map = m;
	m->ghost.next = 0;
	if (m->store->opts.mutant != STORE_MUTANT_GHOST_AT_ONCE)
		m->ghost.after = checkpoint_capture_seq(m->store->checkpoint); /* fold F8 */
	list_push_back(&m->store->ghosts, &m->ghost.link);		       /* ST3 */
	fold_kick(m->store->fold);
}
