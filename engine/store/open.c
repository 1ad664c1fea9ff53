/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/open.c
 * Purpose.     From a disk to a ready store.
 * Invariants.  O1  Nothing is taken from space before every journal has been followed: a segment that
 *                  the tables call free may belong to one.
 *              O2  A staging replica does not survive: its trees become ghosts, its journal is not
 *                  followed, its segments turn out free.
 *              O3  The incarnation is raised, by a random step, and durable before the store is ready.
 * States.      SUPER -> ROOT -> TABLE (each) -> RECOVER (each replica) -> INCARNATION -> done.
 * Ownership.   The opening owns the store until done.
 * Failure.     Whatever does not check out is logged with its place and ends the opening.
 */
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/random.h"
#include "engine/store/checkpoint.h"
#include "engine/store/fold.h"
#include "engine/store/leaks.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/root_codec.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/stall.h"
#include "engine/store/store_state.h"
#include "engine/store/table.h"

#define INCARNATION_STEP_MAX (1u << 24)

enum open_phase { OPEN_SUPER, OPEN_ROOT, OPEN_TABLE, OPEN_RECOVER, OPEN_INCARNATION };

struct store_opening {
	struct op op;
	struct store *s;
	struct store **ret;
	struct completion *done;
	enum open_phase phase;
	struct completion part;
	struct disk_req req;
	struct disk_root *root; /* aligned */
	struct table_load load;
	uint32_t table;
	struct root_list roots;
	struct snapshot_capture snaps;
	struct replica_entry *recovering;
};

static void opening_step(struct op *op);
static int root_read(struct store_opening *o);
static int root_check(struct store_opening *o);
static void table_start(struct store_opening *o);
static int table_leaf(void *ctx, uint32_t i, const void *page);
static int replicas_make(struct store_opening *o);
static int recover_next(struct store_opening *o);
static int replicas_recovered(struct store_opening *o);
static int raise_incarnation(struct store_opening *o);
static void opening_end(struct store_opening *o, int rc);

void store_open(struct env *env, struct disk *disk, const struct store_opts *opts,
		struct store **ret_store, struct completion *done)
{
	struct store_opening *o = calloc(1, sizeof(*o));
	int rc = -ERR_NOMEM;

	if (o != NULL)
		o->root = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
	if (o != NULL && o->root != NULL)
		rc = store_create(env, disk, opts, &o->s);
	if (rc < 0) {
		if (o != NULL)
			free(o->root);
		free(o);
		completion_fire(done, rc);
		return;
	}
	o->ret = ret_store;
	o->done = done;
	op_init(&o->op, env->ready, opening_step);
	o->s->opening = o;
	*ret_store = o->s;
	completion_arm(&o->part, &o->op, 1);
	supers_load(o->s->supers, &o->part);
}

void store_opening_abandon(struct store *s)
{
	struct store_opening *o = s->opening;

	s->opening = NULL;
	if (o == NULL)
		return;
	root_list_free(&o->roots);
	snapshot_capture_free(&o->snaps);
	table_load_abandon(&o->load, s->abandoned);
	free(o->root);
	free(o);
}

/* 0: go on; 1: wait; 2: done; or an error. */
static int phase_step(struct store_opening *o)
{
	int rc = o->part.rc;

	switch (o->phase) {
	case OPEN_SUPER:
		return rc < 0 ? rc : root_read(o);
	case OPEN_ROOT:
		rc = root_check(o);
		if (rc < 0)
			return rc;
		o->phase = OPEN_TABLE;
		o->table = TABLE_SEGMENTS;
		table_start(o);
		return 1;
	case OPEN_TABLE:
		if (o->load.done.rc < 0)
			return o->load.done.rc;
		o->s->recovery_read_bytes += o->load.bytes;
		if (++o->table < TABLE_COUNT) {
			table_start(o);
			return 1;
		}
		rc = replicas_make(o);
		o->phase = OPEN_RECOVER;
		return rc;
	case OPEN_RECOVER:
		if (o->recovering != NULL && rc < 0)
			return rc;
		rc = recover_next(o);
		if (rc != 0)
			return rc;
		rc = replicas_recovered(o);
		if (rc < 0)
			return rc;
		space_recovery_end(o->s->space); /* O1 */
		if (o->s->opts.leaks != NULL &&
		    (rc = leaks_drop(o->s->opts.leaks, o->s->space)) < 0)
			return rc;
		o->phase = OPEN_INCARNATION;
		return raise_incarnation(o);
	case OPEN_INCARNATION:
		return rc < 0 ? rc : 2;
	}
	UNREACHABLE("open phase");
}

static void opening_step(struct op *op)
{
	struct store_opening *o = container_of(op, struct store_opening, op);
	int rc;

	if (op->waits != 0)
		return; /* wait: the part */
	do {
		rc = phase_step(o);
	} while (rc == 0);
	if (rc == 1)
		return; /* wait: see phase_step */
	opening_end(o, rc < 0 ? rc : 0);
}

static void opening_end(struct store_opening *o, int rc)
{
	struct store *s = o->s;
	struct store **ret = o->ret;
	struct completion *done = o->done;

	store_opening_abandon(s);
	if (rc == 0)
		rc = stall_watch_open(s, &s->stall);
	if (rc == 0) {
		s->ready = true;
		fold_kick(s->fold);
		past_kick(s->past);
	} else {
		*ret = NULL;
		store_free(&s);
	}
	completion_fire(done, rc);
}

static int root_read(struct store_opening *o)
{
	const struct disk_super *super = supers_content(o->s->supers);
	int rc = store_create_parts(o->s);

	if (rc < 0)
		return rc;
	space_recovery_begin(o->s->space); /* O1 */
	o->phase = OPEN_ROOT;
	completion_arm(&o->req.done, &o->op, 1);
	disk_io(o->s->disk, &o->req, DISK_READ, 0, super->root_address, o->root, PAGE_BYTES);
	return 1;
}

static int root_check(struct store_opening *o)
{
	const struct disk_super *super = supers_content(o->s->supers);
	struct page_name name = {
		.address = super->root_address, .crc = super->root_crc, .kind = PAGE_ROOT};
	int rc = o->req.done.rc;

	if (rc == 0)
		rc = page_check(o->root, &name, &o->s->uuid);
	if (rc == 0 && (o->root->seq != super->root_seq ||
			o->root->segment_count != space_segment_count(o->s->space)))
		rc = -ERR_CORRUPT;
	if (rc < 0) {
		log_error(o->s->env->log, "store", "checkpoint root at %llu of %s: %s",
			  (unsigned long long)super->root_address, o->s->disk->name, err_text(rc));
		return rc;
	}
	checkpoint_set_durable(o->s->checkpoint, super->root_seq, super->root_address);
	return 0;
}

static void table_start(struct store_opening *o)
{
	const struct disk_table tables[TABLE_COUNT] = {
		o->root->segments, o->root->bitmaps,   o->root->groups,		 o->root->volumes,
		o->root->refs,	   o->root->snapshots, o->root->snapshot_volumes};
	struct table_load *l = &o->load;

	memset(l, 0, sizeof(*l));
	l->env = o->s->env;
	l->disk = o->s->disk;
	l->table = checkpoint_table(o->s->checkpoint, o->table);
	l->store = o->s->uuid;
	l->root = tables[o->table];
	l->disk_bytes = super_disk_bytes(supers_content(o->s->supers));
	l->leaf = table_leaf;
	l->ctx = o;
	completion_arm(&l->done, &o->op, 1);
	table_load(l);
}

static int table_leaf(void *ctx, uint32_t i, const void *page)
{
	struct store_opening *o = ctx;
	struct space *sp = o->s->space;
	int rc = -ERR_CORRUPT;

	if (o->table == TABLE_SEGMENTS && i < space_segments_pages(sp))
		rc = space_segments_decode(sp, i, page);
	else if (o->table == TABLE_BITMAPS)
		rc = space_bitmaps_decode(sp, i, page);
	else if (o->table == TABLE_GROUPS)
		rc = root_list_group(&o->roots, i, page);
	else if (o->table == TABLE_VOLUMES)
		rc = root_list_volumes(&o->roots, i, page, o->root->volumes.entries,
				       super_disk_bytes(supers_content(o->s->supers)));
	else if (o->table == TABLE_REFS)
		rc = space_refs_decode(sp, i, page);
	else if (o->table == TABLE_SNAPSHOTS)
		rc = snapshots_decode(&o->snaps, page, o->root->snapshots.entries, o->roots.count);
	else if (o->table == TABLE_SNAPSHOT_VOLUMES)
		rc = snapshot_volumes_decode(&o->snaps, page, o->root->snapshot_volumes.entries,
					     supers_content(o->s->supers)->bytes);
	if (rc < 0)
		log_error(o->s->env->log, "store", "page %u of table %u of %s: %s", i, o->table,
			  o->s->disk->name, err_text(rc));
	return rc;
}

/* A tree nobody owns any more. */
static int ghost_make(struct store_opening *o, const struct volume_root *v)
{
	struct map *m;
	int rc;

	if (v->root == CHUNK_NONE)
		return 0;
	rc = map_open(o->s, v, &m);
	if (rc < 0)
		return rc;
	map_discard(&m);
	container_of(list_last(&o->s->ghosts), struct ghost, link)->after = 0; /* it is durable */
	return 0;
}

static int replicas_make(struct store_opening *o)
{
	int rc = space_decoded(o->s->space);

	if (rc < 0)
		log_error(o->s->env->log, "store",
			  "segment table, page bitmaps and reference counts of %s do not fit",
			  o->s->disk->name);
	for (uint32_t i = 0; i < o->roots.ghost_count && rc == 0; i++)
		rc = ghost_make(o, &o->roots.ghosts[i]);
	for (uint32_t i = 0; i < o->roots.count && rc == 0; i++) {
		const struct replica_root *root = &o->roots.roots[i];
		struct replica *r;

		if ((root->flags & REPLICA_FLAG_STAGING) != 0) { /* O2 */
			for (uint32_t k = 0; k < root->volume_count && rc == 0; k++)
				rc = ghost_make(o, &root->volumes[k]);
			continue;
		}
		rc = replica_from_root(o->s, root, &r);
		if (rc < 0)
			break;
		store_add_replica(o->s, r);
		rc = snapshots_attach(&o->snaps, i, r);
	}
	if (rc == 0 && (o->snaps.count != o->root->snapshots.entries ||
			o->snaps.volume_count != o->root->snapshot_volumes.entries))
		rc = -ERR_CORRUPT;
	return rc;
}

/* 1: one more is under way; 0: all recovered. */
static int recover_next(struct store_opening *o)
{
	struct list_link *link;

	if (o->recovering != NULL)
		o->s->recovery_read_bytes += replica_recovery_read_bytes(o->recovering->r);
	link = o->recovering == NULL ? list_first(&o->s->entries)
				     : list_next(&o->s->entries, &o->recovering->link);
	if (link == NULL)
		return 0;
	o->recovering = container_of(link, struct replica_entry, link);
	completion_arm(&o->part, &o->op, 1);
	replica_recover(o->recovering->r, &o->part);
	return 1;
}

/* Never the same twice, although an earlier copy of the store was put back between two boots: else
 * this boot could take what was granted to that one for its own. */
static uint64_t incarnation_step(struct env *env)
{
	uint32_t more = 0;

	env->random->fill(env->random, &more, sizeof(more));
	return 1 + (uint64_t)(more & (INCARNATION_STEP_MAX - 1));
}

/* A clone may have come before its base. */
static int replicas_recovered(struct store_opening *o)
{
	int rc = 0;

	LIST_FOR_EACH(link, &o->s->entries) {
		if (rc == 0)
			rc = replica_recovered(container_of(link, struct replica_entry, link)->r);
	}
	return rc;
}

static int raise_incarnation(struct store_opening *o)
{
	struct disk_super next = *supers_content(o->s->supers);

	o->part.rc = 0;
	if (o->s->opts.read_only)
		return 2;
	next.incarnation += incarnation_step(o->s->env); /* O3 */
	next.incompat |= STORE_INCOMPAT_BY_REFERENCE;	 /* before the first record that needs it */
	completion_arm(&o->part, &o->op, 1);
	supers_write(o->s->supers, &next, &o->part);
	return 1;
}
