/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/checkpoint.c
 * Purpose.     Make what is in memory durable in one step: dirty map pages, tables, root, flush,
 *              superblock; then tell replicas what they may forget.
 * Invariants.  K1  Nothing that the durable checkpoint refers to is overwritten: every page goes to a
 *                  place that is free in it.
 *              K2  The superblock is written only after a flush that came after every home write and
 *                  every page of the new checkpoint.
 *              K3  The capture is of one moment as far as chunks and pages go: fold stands still, and
 *                  imports start no change (store.capturing) until tables are encoded.  Journal segments
 *                  may come and go meanwhile: recovery follows the journals, not the table.
 *              K4  Only after the superblock is durable: space is reusable, journals are trimmed.
 *              K5  Every tree is in each capture exactly once: under its replica, until the replica gives
 *                  everything back and its trees become ghosts.
 *              K6  A snapshot is pinned only when the pages written for it have reached the disk: from then on
 *                  they are read by address, through other maps than the one that has them in memory.
 *              K7  Stealing leaves a quarter of the cache dirty at most. Leaves alone are not enough: in a large
 *                  volume each may leave an inner page dirty; so level after level, from the leaves up.
 * States.      IDLE -> GATE -> PAGES -> TABLES -> INDEX -> ROOT -> DRAIN -> FLUSH -> SUPER -> IDLE;
 *              stealing: IDLE -> STEAL -> IDLE.
 * Ownership.   Roots are malloced for one run (background work, not the data path).
 * Failure.     Any error fails the store: pages were moved already, so there is no way back.
 */
#include "engine/store/checkpoint.h"

#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/root_codec.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/stall.h"
#include "engine/store/store_state.h"
#include "engine/store/table.h"

#define BIT_FLUSH (1u << 16)
#define BIT_SUPER (1u << 17)

enum checkpoint_phase {
	CHECKPOINT_IDLE,
	CHECKPOINT_STEAL,
	CHECKPOINT_GATE,
	CHECKPOINT_PAGES,
	CHECKPOINT_TABLES,
	CHECKPOINT_INDEX,
	CHECKPOINT_ROOT,
	CHECKPOINT_DRAIN,
	CHECKPOINT_FLUSH,
	CHECKPOINT_SUPER,
};

struct captured {
	struct replica *r; /* NULL: went away since */
	struct replica_root root;
};

/* One entry of the volume table: a replica's volume, or a ghost. */
struct captured_volume {
	uint32_t group;
	struct volume_root root;
};

struct checkpoint {
	struct store *s;
	struct op op;
	enum checkpoint_phase phase;
	struct completion *done;
	struct page_writer writer;
	struct table tables[TABLE_COUNT];
	uint64_t seq; /* durable */
	uint64_t root_address, root_crc;
	struct disk_req flush;
	struct stall flush_stall;
	struct completion super;

	uint32_t level; /* of pages or index pages being written */
	uint32_t table, at;
	struct captured *roots;
	uint32_t root_count;
	struct captured_volume *volumes;
	uint32_t volume_count;
	struct snapshot_capture snaps; /* only when they changed */
	uint32_t snap_entries, snap_volume_entries;
	bool any_past; /* of those entries */
	_Alignas(8) uint8_t page[PAGE_BYTES];
};

static void checkpoint_step(struct op *op);
static int capture_roots(struct checkpoint *cp);
static int assign_tables(struct checkpoint *cp);
static int step_steal(struct checkpoint *cp);
static int step_pages(struct checkpoint *cp);
static int step_tables(struct checkpoint *cp);
static int step_index(struct checkpoint *cp);
static int step_root(struct checkpoint *cp);
static int step_drain(struct checkpoint *cp);
static void write_super(struct checkpoint *cp);
static void tell_replicas(struct checkpoint *cp);
static void finish(struct checkpoint *cp, int rc);
static void volumes_encode(const struct checkpoint *cp, uint32_t page, struct disk_volumes *ret);

int checkpoint_open(struct store *s, struct checkpoint **ret_checkpoint)
{
	static const uint16_t kinds[TABLE_COUNT] = {
		PAGE_SEGMENTS, PAGE_BITMAPS,   PAGE_GROUP,	     PAGE_VOLUMES,
		PAGE_REFS,     PAGE_SNAPSHOTS, PAGE_SNAPSHOT_VOLUMES};
	struct checkpoint *cp = calloc(1, sizeof(*cp));
	int rc;

	if (cp == NULL)
		return -ERR_NOMEM;
	cp->s = s;
	op_init(&cp->op, s->env->ready, checkpoint_step);
	rc = page_writer_init(&cp->writer, s->disk, &cp->op);
	if (rc < 0) {
		free(cp);
		return rc;
	}
	for (uint32_t i = 0; i < TABLE_COUNT; i++)
		table_init(&cp->tables[i], kinds[i]);
	cp->root_address = DISK_NONE;
	if (s->opts.mutant == STORE_MUTANT_NO_HOME_FLUSH)
		cp->writer.flags = DISK_FUA;
	*ret_checkpoint = cp;
	return 0;
}

static void roots_free(struct checkpoint *cp)
{
	for (uint32_t i = 0; i < cp->root_count; i++)
		free(cp->roots[i].root.volumes);
	free(cp->roots);
	free(cp->volumes);
	snapshot_capture_free(&cp->snaps);
	cp->roots = NULL;
	cp->volumes = NULL;
	cp->root_count = 0;
	cp->volume_count = 0;
}

void checkpoint_close(struct checkpoint **cpp)
{
	struct checkpoint *cp = *cpp;

	*cpp = NULL;
	if (cp == NULL)
		return;
	if (!cp->s->abandoned)
		op_unqueue(&cp->op);
	roots_free(cp);
	for (uint32_t i = 0; i < TABLE_COUNT; i++)
		table_fini(&cp->tables[i]);
	page_writer_fini(&cp->writer);
	free(cp);
}

bool checkpoint_is_idle(const struct checkpoint *cp)
{
	return cp->phase == CHECKPOINT_IDLE;
}

uint64_t checkpoint_seq(const struct checkpoint *cp)
{
	return cp->seq;
}

uint64_t checkpoint_capture_seq(const struct checkpoint *cp)
{
	return cp->seq + (cp->phase >= CHECKPOINT_TABLES ? 2 : 1);
}

struct table *checkpoint_table(struct checkpoint *cp, uint32_t index)
{
	return &cp->tables[index];
}

void checkpoint_set_durable(struct checkpoint *cp, uint64_t seq, uint64_t root_address)
{
	cp->seq = seq;
	cp->root_address = root_address;
	cp->s->cache->seq = seq + 1;
}

void checkpoint_steal(struct checkpoint *cp, struct completion *done)
{
	assert(cp->phase == CHECKPOINT_IDLE);
	cp->done = done;
	cp->level = 0;
	cp->phase = CHECKPOINT_STEAL;
	op_wake(&cp->op);
}

void checkpoint_run(struct checkpoint *cp, struct completion *done)
{
	assert(cp->phase == CHECKPOINT_IDLE && !cp->s->opts.read_only);
	cp->done = done;
	cp->phase = CHECKPOINT_GATE;
	cp->s->capturing = true; /* K3 */
	op_wake(&cp->op);
}

void checkpoint_replica_gone(struct checkpoint *cp, const struct replica *r)
{
	for (uint32_t i = 0; i < cp->root_count; i++)
		if (cp->roots[i].r == r)
			cp->roots[i].r = NULL;
}

void checkpoint_wake(struct checkpoint *cp)
{
	op_wake(&cp->op);
}

static void move(struct checkpoint *cp, enum checkpoint_phase to)
{
	assert(to == cp->phase + 1 || to == CHECKPOINT_IDLE);
	cp->phase = to;
}

/* Dirty pages of all levels: 0 when they are on their way, or on the disk where K6 asks for it. */
static int step_levels(struct checkpoint *cp)
{
	for (; cp->level <= MAP_DEPTH_MAX; cp->level++) {
		int rc = step_pages(cp);

		if (rc != 0)
			return rc;
	}
	if (!snapshots_marks_reached(cp->s) && !replica_stages_wait(cp->s))
		return 0;
	if (page_writer_idle(&cp->writer))
		return 0;
	page_writer_push(&cp->writer);
	cp->level = 0;
	return 1; /* wait: pages; a resize may make more */
}

/* One phase: 0: go on with the next step; 1: wait; or an error. */
static int phase_step(struct checkpoint *cp)
{
	int rc;

	switch (cp->phase) {
	case CHECKPOINT_IDLE:
		return 1;
	case CHECKPOINT_STEAL:
		return step_steal(cp);
	case CHECKPOINT_GATE:
		if (cp->s->imports > 0)
			return 1; /* wait: imports end (store_imports_idle wakes us) */
		cp->level = 0;
		move(cp, CHECKPOINT_PAGES);
		return 0;
	case CHECKPOINT_PAGES:
		rc = step_levels(cp);
		if (rc != 0)
			return rc;
		rc = capture_roots(cp);
		if (rc == 0)
			rc = assign_tables(cp);
		cp->table = cp->at = 0;
		move(cp, CHECKPOINT_TABLES);
		return rc;
	case CHECKPOINT_TABLES:
		rc = step_tables(cp);
		if (rc != 0)
			return rc;
		cp->table = cp->at = 0;
		cp->level = 1;
		move(cp, CHECKPOINT_INDEX);
		return 0;
	case CHECKPOINT_INDEX:
		rc = step_index(cp);
		if (rc == 0)
			move(cp, CHECKPOINT_ROOT);
		return rc;
	case CHECKPOINT_ROOT:
		rc = step_root(cp);
		if (rc == 0)
			move(cp, CHECKPOINT_DRAIN);
		return rc;
	case CHECKPOINT_DRAIN:
		rc = step_drain(cp);
		if (rc == 0)
			move(cp, CHECKPOINT_FLUSH);
		return rc;
	case CHECKPOINT_FLUSH:
		if ((cp->op.waits & BIT_FLUSH) != 0)
			return 1; /* wait: the flush */
		if (cp->flush.done.rc < 0)
			return cp->flush.done.rc;
		move(cp, CHECKPOINT_SUPER);
		write_super(cp);
		return 1;
	case CHECKPOINT_SUPER:
		if ((cp->op.waits & BIT_SUPER) != 0)
			return 1; /* wait: superblocks */
		if (cp->super.rc < 0)
			return cp->super.rc;
		finish(cp, 0);
		return 1;
	}
	UNREACHABLE("checkpoint phase");
}

static void checkpoint_step(struct op *op)
{
	struct checkpoint *cp = container_of(op, struct checkpoint, op);
	int rc;

	if (cp->phase == CHECKPOINT_IDLE)
		return;
	if (cp->s->failed) {
		if (op->waits == 0)
			finish(cp, -ERR_FAILED);
		return; /* wait: what is in flight */
	}
	do {
		rc = phase_step(cp);
	} while (rc == 0);
	if (rc > 0)
		return; /* wait: see phase_step */
	store_fail(cp->s, rc, "checkpoint");
	op_wake(op);
}

static void finish(struct checkpoint *cp, int rc)
{
	struct store *s = cp->s;
	bool whole = cp->phase != CHECKPOINT_STEAL;
	struct completion *done = cp->done;

	if (rc == 0 && whole) {
		cp->seq++;
		space_durable(s->space); /* K4 */
		s->cache->seq = cp->seq + 1;
		counter_add(s->env->counters, CTR_CHECKPOINTS, 1);
		tell_replicas(cp);
	}
	counter_add(s->env->counters, CTR_MAP_BYTES, cp->writer.bytes);
	cp->writer.bytes = 0;
	roots_free(cp);
	move(cp, CHECKPOINT_IDLE);
	s->capturing = false;
	store_imports_go(s);
	cp->done = NULL;
	completion_fire(done, rc);
}

static void tell_replicas(struct checkpoint *cp)
{
	for (uint32_t i = 0; i < cp->root_count; i++) {
		struct replica *r = cp->roots[i].r;
		struct replica_entry *e = r == NULL ? NULL : store_entry(cp->s, r);

		if (e == NULL)
			continue; /* it went away since */
		e->commit_durable = lsn_max(e->commit_durable, cp->roots[i].root.commit);
		replica_checkpointed(r, &cp->roots[i].root);
	}
}

/* One level, then perhaps the next.  K7 */
static int step_steal(struct checkpoint *cp)
{
	const struct map_cache *c = cp->s->cache;
	int rc = step_pages(cp);

	if (rc != 0)
		return rc;
	if (cp->level < MAP_DEPTH_MAX && c->dirty_count > c->page_count / 4) {
		cp->level++;
		return 0;
	}
	finish(cp, 0);
	return 1;
}

/* Dirty pages of cp->level: 0 when they are on their way or written (stealing: on the disk). */
static int step_pages(struct checkpoint *cp)
{
	struct map_cache *c = cp->s->cache;
	struct cpage *p;
	int rc;

	while ((p = cache_dirty_first(c, cp->level)) != NULL) {
		if (!page_writer_room(&cp->writer))
			return 1; /* wait: a slot of the writer */
		rc = cache_write_page(c, p, &cp->writer);
		if (rc < 0)
			return rc;
	}
	if (cp->phase != CHECKPOINT_STEAL)
		return 0;
	page_writer_push(&cp->writer);
	if (!page_writer_idle(&cp->writer))
		return 1; /* wait: pages */
	rc = page_writer_rc(&cp->writer);
	if (rc == 0)
		cache_written(c);
	return rc;
}

/* --- capture --- */

/* Trees without an owner: being given back, or in the making (past.c PA2). */
static uint32_t ghosts_count(const struct store *s)
{
	uint32_t n = 0;

	LIST_FOR_EACH(link, &s->ghosts)
		n += container_of(link, struct ghost, link)->map->root.address != DISK_NONE;
	for (uint32_t i = 0; i < PAST_MAPS; i++)
		n += past_map(s->past, i) != NULL &&
		     past_map(s->past, i)->root.address != DISK_NONE;
	return n;
}

static bool capture_ghost(struct captured_volume *to, const struct map *m)
{
	if (m == NULL || m->root.address == DISK_NONE)
		return false;
	to->group = VOLUME_GROUP_NONE;
	map_root_get(m, &to->root);
	return true;
}

static int capture_roots(struct checkpoint *cp)
{
	struct store *s = cp->s;
	uint32_t volumes, n = 0;
	int rc;

	snapshots_run_marks(s);
	replica_stages_share(s);
	volumes = ghosts_count(s);
	cp->roots = calloc(s->entry_count + 1, sizeof(*cp->roots));
	if (cp->roots == NULL)
		return -ERR_NOMEM;
	LIST_FOR_EACH(link, &s->entries) {
		/* One that is leaving is in it until its maps are ghosts: K5. */
		struct replica_entry *e = container_of(link, struct replica_entry, link);
		struct captured *c = &cp->roots[cp->root_count];

		rc = replica_to_root(e->r, e->folded, &c->root);
		if (rc < 0)
			return rc;
		assert(c->root.volume_count <= VOLUMES_MAX && c->root.epoch_count <= EPOCHS_MAX);
		c->r = e->r;
		cp->root_count++;
		volumes += c->root.volume_count;
	}
	cp->volumes = calloc(volumes + 1, sizeof(*cp->volumes));
	if (cp->volumes == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < cp->root_count; i++) {
		for (uint32_t k = 0; k < cp->roots[i].root.volume_count; k++) {
			cp->volumes[n].group = i;
			cp->volumes[n++].root = cp->roots[i].root.volumes[k];
		}
	}
	LIST_FOR_EACH(link, &s->ghosts)
		n += capture_ghost(&cp->volumes[n], container_of(link, struct ghost, link)->map);
	for (uint32_t i = 0; i < PAST_MAPS; i++)
		n += capture_ghost(&cp->volumes[n], past_map(s->past, i));
	assert(n == volumes);
	cp->volume_count = n;
	return 0;
}

/* What a leaf page of groups or volumes says now. */
static void content_encode(struct checkpoint *cp, uint32_t table, uint32_t i)
{
	if (table == TABLE_GROUPS)
		root_group_encode(&cp->roots[i].root, (struct disk_group *)(void *)cp->page);
	else if (table == TABLE_SNAPSHOTS)
		snapshots_encode(&cp->snaps, i, (struct disk_snapshots *)(void *)cp->page);
	else if (table == TABLE_SNAPSHOT_VOLUMES)
		snapshot_volumes_encode(&cp->snaps, i, (struct disk_volumes *)(void *)cp->page);
	else
		volumes_encode(cp, i, (struct disk_volumes *)(void *)cp->page);
}

static uint64_t content_crc(const struct checkpoint *cp)
{
	return crc64(0, cp->page + PAGE_HEADER_BYTES, PAGE_BYTES - PAGE_HEADER_BYTES);
}

static int assign_changed(struct checkpoint *cp, uint32_t table, uint32_t pages)
{
	struct table *t = &cp->tables[table];
	int rc = table_resize(t, cp->s->space, pages);

	for (uint32_t i = 0; i < pages && rc == 0; i++) {
		content_encode(cp, table, i);
		if (t->pages[0][i].ref.address == DISK_NONE ||
		    t->pages[0][i].content != content_crc(cp))
			rc = table_freshen(t, cp->s->space, i);
		t->pages[0][i].content = content_crc(cp);
	}
	return rc;
}

/* Thousands of them may be there and seldom change: then their pages stay as they are. */
static int assign_snapshots(struct checkpoint *cp)
{
	int rc;

	if (!cp->s->snapshots_changed)
		return 0;
	rc = snapshots_capture(cp->s, &cp->snaps);
	if (rc == 0)
		rc = assign_changed(cp, TABLE_SNAPSHOTS, snapshot_capture_pages(&cp->snaps));
	if (rc == 0)
		rc = assign_changed(cp, TABLE_SNAPSHOT_VOLUMES,
				    snapshot_capture_volume_pages(&cp->snaps));
	cp->snap_entries = cp->snaps.count;
	cp->any_past = cp->snaps.any_past;
	cp->snap_volume_entries = cp->snaps.volume_count;
	cp->s->snapshots_changed = false;
	return rc;
}

/* Reference counts do not change by what tables take and give: their pages are never shared. */
static int assign_refs(struct checkpoint *cp)
{
	struct table *t = &cp->tables[TABLE_REFS];
	int rc = table_resize(t, cp->s->space, space_refs_pages(cp->s->space));

	for (uint32_t i = 0; i < t->count[0] && rc == 0; i++)
		if (space_refs_dirty(cp->s->space, i))
			rc = table_freshen(t, cp->s->space, i);
	return rc;
}

/* Fresh addresses for every page that changed.  Taking pages changes the segment and bitmap tables
 * themselves, so go round until nothing new turns up. */
static int assign_tables(struct checkpoint *cp)
{
	struct space *sp = cp->s->space;
	struct table *segments = &cp->tables[TABLE_SEGMENTS], *bitmaps = &cp->tables[TABLE_BITMAPS];
	uint64_t old_root = cp->root_address;
	bool more = true;
	int rc = assign_changed(cp, TABLE_GROUPS, cp->root_count);

	if (rc == 0)
		rc = assign_changed(cp, TABLE_VOLUMES,
				    (cp->volume_count + VOLUMES_PER_PAGE - 1) / VOLUMES_PER_PAGE);
	if (rc == 0)
		rc = assign_snapshots(cp);
	if (rc == 0)
		rc = assign_refs(cp);
	if (rc == 0)
		rc = space_page_take(sp, &cp->root_address);
	if (rc == 0 && old_root != DISK_NONE)
		space_page_give(sp, old_root);
	if (rc == 0)
		rc = table_resize(segments, sp, space_segments_pages(sp));
	while (rc == 0 && more) {
		more = false;
		rc = table_resize(bitmaps, sp, space_bitmaps_pages(sp));
		for (uint32_t i = 0; i < bitmaps->count[0] && rc == 0; i++) {
			if (!space_bitmaps_dirty(sp, i) || bitmaps->pages[0][i].fresh)
				continue;
			rc = table_freshen(bitmaps, sp, i);
			more = true;
		}
		for (uint32_t i = 0; i < segments->count[0] && rc == 0; i++) {
			if (!space_segments_dirty(sp, i) || segments->pages[0][i].fresh)
				continue;
			rc = table_freshen(segments, sp, i);
			more = true;
		}
		more = more || bitmaps->count[0] != space_bitmaps_pages(sp);
	}
	return rc;
}

static int step_tables(struct checkpoint *cp)
{
	struct space *sp = cp->s->space;

	for (; cp->table < TABLE_COUNT; cp->table++, cp->at = 0) {
		struct table *t = &cp->tables[cp->table];

		for (; table_next_fresh(t, 0, &cp->at); cp->at++) {
			if (!page_writer_room(&cp->writer))
				return 1; /* wait: a slot of the writer */
			if (cp->table == TABLE_SEGMENTS)
				space_segments_encode(sp, cp->at,
						      (struct disk_segments *)(void *)cp->page);
			else if (cp->table == TABLE_BITMAPS)
				space_bitmaps_encode(sp, cp->at,
						     (struct disk_bitmaps *)(void *)cp->page);
			else if (cp->table == TABLE_REFS)
				space_refs_encode(sp, cp->at, (struct disk_refs *)(void *)cp->page);
			else
				content_encode(cp, cp->table, cp->at);
			table_put(t, 0, cp->at, cp->page, cp->seq + 1, &cp->s->uuid, &cp->writer);
		}
	}
	space_captured(sp);
	cp->s->capturing = false; /* K3 */
	store_imports_go(cp->s);
	return 0;
}

static int step_index(struct checkpoint *cp)
{
	for (; cp->table < TABLE_COUNT; cp->table++, cp->level = 1) {
		struct table *t = &cp->tables[cp->table];

		for (; cp->level < t->levels; cp->level++, cp->at = 0) {
			for (; table_next_fresh(t, cp->level, &cp->at); cp->at++) {
				if (!page_writer_room(&cp->writer))
					return 1; /* wait: a slot of the writer */
				table_index_encode(t, cp->level, cp->at,
						   (struct disk_table_index *)(void *)cp->page);
				table_put(t, cp->level, cp->at, cp->page, cp->seq + 1, &cp->s->uuid,
					  &cp->writer);
			}
		}
	}
	return 0;
}

uint32_t checkpoint_stalled(struct checkpoint *cp)
{
	return stall_look(&cp->flush_stall, (cp->op.waits & BIT_FLUSH) != 0, cp->seq);
}

/* All pages have reached the disk: flush, with every home write before.  K2 */
static int step_drain(struct checkpoint *cp)
{
	int rc;

	if (!page_writer_idle(&cp->writer))
		return 1; /* wait: pages */
	rc = page_writer_rc(&cp->writer);
	if (rc < 0)
		return rc;
	cache_written(cp->s->cache);
	if (cp->s->opts.mutant == STORE_MUTANT_NO_HOME_FLUSH)
		return 0;
	completion_arm(&cp->flush.done, &cp->op, BIT_FLUSH);
	disk_io(cp->s->disk, &cp->flush, DISK_FLUSH, 0, 0, NULL, 0);
	return 0;
}

static int step_root(struct checkpoint *cp)
{
	struct disk_root *root = (void *)cp->page;
	struct page_name name = {.address = cp->root_address, .kind = PAGE_ROOT};

	if (!page_writer_room(&cp->writer))
		return 1; /* wait: a slot of the writer */
	memset(root, 0, sizeof(*root));
	root->seq = cp->seq + 1;
	root->segment_count = space_segment_count(cp->s->space);
	root->segments = table_root(&cp->tables[TABLE_SEGMENTS], (uint32_t)root->segment_count);
	root->bitmaps = table_root(&cp->tables[TABLE_BITMAPS], 0);
	root->groups = table_root(&cp->tables[TABLE_GROUPS], cp->root_count);
	root->volumes = table_root(&cp->tables[TABLE_VOLUMES], cp->volume_count);
	root->refs = table_root(&cp->tables[TABLE_REFS], 0);
	root->snapshots = table_root(&cp->tables[TABLE_SNAPSHOTS], cp->snap_entries);
	root->snapshot_volumes =
		table_root(&cp->tables[TABLE_SNAPSHOT_VOLUMES], cp->snap_volume_entries);
	cp->root_crc = page_seal(root, &name, cp->seq + 1, &cp->s->uuid);
	page_writer_put(&cp->writer, cp->root_address, root);
	page_writer_push(&cp->writer);
	return 0;
}

static void write_super(struct checkpoint *cp)
{
	struct disk_super next = *supers_content(cp->s->supers);

	next.root_address = cp->root_address;
	next.root_crc = cp->root_crc;
	next.root_seq = cp->seq + 1;
	next.incompat |= STORE_INCOMPAT_SHARING;
	next.incompat |= cp->snap_entries > 0 ? STORE_INCOMPAT_SNAPSHOTS : 0;
	next.incompat |= cp->any_past ? STORE_INCOMPAT_PAST : 0;
	if (space_grown_bytes(cp->s->space) != 0) { /* the root counts these segments, too */
		next.grown_bytes = space_grown_bytes(cp->s->space);
		next.incompat |= STORE_INCOMPAT_GROWN;
	}
	completion_arm(&cp->super, &cp->op, BIT_SUPER);
	supers_write(cp->s->supers, &next, &cp->super);
}

/* --- encoding --- */

static void volumes_encode(const struct checkpoint *cp, uint32_t page, struct disk_volumes *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < VOLUMES_PER_PAGE; k++) {
		uint32_t i = page * VOLUMES_PER_PAGE + k;

		if (i < cp->volume_count)
			root_volume_encode(&cp->volumes[i].root, cp->volumes[i].group,
					   &ret->volumes[k]);
	}
}
