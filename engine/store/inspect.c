/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/inspect.c
 * Purpose.     Show what the tables of a store at rest say.
 * Invariants.  IN2 Names of parts and fields stay as they are: scripts read them.  New ones may come.
 *              IN3 Memory does not grow with the store: tables are shown from where they are, records and
 *                  pages (inspect_walk.c) one after the other.
 * States.      OPENING -> tables -> RECORD -> PAGE -> CLOSING -> done.
 * Failure.     What cannot be opened is not shown: `check` says why.  A bad record or page is shown as bad.
 * Limits.      Runs of segments of one kind, and of units with one count, are one line.
 */
#include "engine/store/inspect.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/digest.h"
#include "engine/store/index.h"
#include "engine/store/inspect_state.h"
#include "engine/store/snapshot_state.h"

static void superblock_show(struct inspecting *i);
static void floors_show(struct inspecting *i);
static void segments_show(struct inspecting *i);
static void bitmaps_show(struct inspecting *i);
static void refs_show(struct inspecting *i);
static void journal_show(struct inspecting *i);
static void map_show(struct inspecting *i);
static void volumes_show(struct inspecting *i);
static void groups_show(struct inspecting *i);
static void snapshots_show(struct inspecting *i);
static void snapshot_volumes_show(struct inspecting *i);

static const struct {
	const char *word;
	uint32_t part;
	void (*show)(struct inspecting *i); /* NULL: has to be read */
} inspect_parts[] = {
	{"superblock", INSPECT_SUPERBLOCK, superblock_show},
	{"floors", INSPECT_FLOORS, floors_show},
	{"segments", INSPECT_SEGMENTS, segments_show},
	{"bitmaps", INSPECT_BITMAPS, bitmaps_show},
	{"refs", INSPECT_REFS, refs_show},
	{"journal", INSPECT_JOURNAL, journal_show},
	{"map", INSPECT_MAP, map_show},
	{"groups", INSPECT_GROUPS, groups_show},
	{"volumes", INSPECT_VOLUMES, volumes_show},
	{"snapshots", INSPECT_SNAPSHOTS, snapshots_show},
	{"snapshot_volumes", INSPECT_SNAPSHOTS, snapshot_volumes_show},
	{"records", INSPECT_RECORDS, NULL},
};

uint32_t inspect_part(const char *word)
{
	for (uint32_t i = 0; i < ARRAY_COUNT(inspect_parts); i++)
		if (strcmp(word, inspect_parts[i].word) == 0)
			return inspect_parts[i].part;
	return 0;
}

/* 0: on to the records; or an error: nothing was shown. */
static int opened(struct inspecting *i)
{
	struct store_inspect *q = i->q;
	int rc = q->group != NULL ? inspect_volume_find(i) : 0;

	if (rc < 0)
		return rc;
	if (q->json)
		q->line(q->ctx, "{");
	for (uint32_t k = 0; k < ARRAY_COUNT(inspect_parts); k++)
		if ((q->parts & inspect_parts[k].part) != 0 && inspect_parts[k].show != NULL)
			inspect_parts[k].show(i);
	i->phase = INSPECT_RECORD;
	inspect_records_begin(i);
	return 0;
}

static void inspect_close(struct inspecting *i, int rc)
{
	if (rc == 0 && i->q->json)
		i->q->line(i->q->ctx, "}");
	i->phase = INSPECT_CLOSING;
	i->q->rc = rc;
	completion_arm(&i->part, &i->op, 1);
	store_close(&i->s, &i->part);
}

static void inspect_step(struct op *op)
{
	struct inspecting *i = container_of(op, struct inspecting, op);
	struct store_inspect *q = i->q;
	int rc;

	if (op->waits != 0)
		return; /* wait: open, close, or what is read */
	if (i->phase == INSPECT_OPENING && i->part.rc == 0) {
		rc = opened(i);
		if (rc < 0) {
			inspect_close(i, rc);
			return; /* wait: it is closed */
		}
	}
	if (i->phase == INSPECT_RECORD) {
		if (inspect_records_step(i) != 0)
			return; /* wait: a record */
		i->phase = INSPECT_PAGE;
		inspect_pages_begin(i);
	}
	if (i->phase == INSPECT_PAGE) {
		if (inspect_pages_step(i) != 0)
			return; /* wait: a page */
		inspect_close(i, 0);
		return; /* wait: it is closed */
	}
	rc = q->rc < 0 ? q->rc : i->part.rc;
	free(i->pages);
	free(i);
	completion_fire(&q->done, rc);
}

void store_inspect(struct env *env, struct disk *disk, struct store_inspect *q)
{
	struct store_opts opts = {.memory_bytes = q->memory_bytes, .read_only = true};
	struct inspecting *i = calloc(1, sizeof(*i));

	q->rc = 0;
	if (i == NULL) {
		completion_fire(&q->done, -ERR_NOMEM);
		return;
	}
	i->q = q;
	op_init(&i->op, env->ready, inspect_step);
	completion_arm(&i->part, &i->op, 1);
	store_open(env, disk, &opts, &i->s, &i->part);
}

static void superblock_show(struct inspecting *i)
{
	const struct disk_super *s = supers_content(i->s->supers);

	part_begin(i, "superblock");
	object_begin(i);
	field_uuid(i, "uuid", &i->s->uuid);
	field_u64(i, "format_version", s->version);
	field_hex(i, "compat", s->compat);
	field_hex(i, "ro_compat", s->ro_compat);
	field_hex(i, "incompat", s->incompat);
	field_u64(i, "incarnation", s->incarnation);
	field_u64(i, "sequence", s->sequence);
	field_u64(i, "good_copies", supers_good_copies(i->s->supers));
	field_u64(i, "good_floors", supers_good_floors(i->s->supers));
	field_u64(i, "bytes", s->bytes);
	field_u64(i, "grown_bytes", s->grown_bytes);
	field_u64(i, "segment_bytes", s->segment_bytes);
	field_u64(i, "journal_percent", s->journal_percent);
	field_u64(i, "root_address", s->root_address);
	field_u64(i, "checkpoint", s->root_seq);
	object_end(i);
	part_end(i);
}

static void floors_show(struct inspecting *i)
{
	part_begin(i, "floors");
	for (uint32_t k = 0; k < supers_floor_count(i->s->supers); k++) {
		struct store_floor floor;
		struct uuid group;

		supers_floor_at(i->s->supers, k, &group, &floor);
		object_begin(i);
		field_uuid(i, "group", &group);
		field_u64(i, "epoch", floor.epoch);
		field_u64(i, "cfg", floor.cfg);
		field_u64(i, "promise_ms", floor.promise_ms);
		object_end(i);
	}
	part_end(i);
}

static void segments_show(struct inspecting *i)
{
	static const char *const kinds[] = {"free", "journal", "home", "meta", "superblock"};
	struct space *sp = i->s->space;
	uint32_t count = space_segment_count(sp);

	part_begin(i, "segments");
	for (uint32_t k = 0, end; k < count; k = end) {
		enum segment_kind kind = space_segment_kind(sp, k);
		uint64_t used = 0, shared = 0;

		for (end = k; end < count && space_segment_kind(sp, end) == kind; end++) {
			used += space_segment_used(sp, end);
			shared += space_segment_shared(sp, end);
		}
		object_begin(i);
		field_u64(i, "first", k);
		field_u64(i, "count", end - k);
		field_text(i, "kind", kinds[kind]);
		if (kind == SEGMENT_HOME)
			field_u64(i, "chunks_used", used);
		if (kind == SEGMENT_META)
			field_u64(i, "pages_used", used);
		if (kind == SEGMENT_HOME || kind == SEGMENT_META)
			field_u64(i, "shared", shared);
		object_end(i);
	}
	part_end(i);
}

static uint64_t unit_bytes(const struct space *sp, uint32_t segment)
{
	enum segment_kind kind = space_segment_kind(sp, segment);

	return kind == SEGMENT_HOME ? CHUNK_BYTES : kind == SEGMENT_META ? PAGE_BYTES : 0;
}

/* What the bitmap of each HOME and META segment says, in sum. */
static void bitmaps_show(struct inspecting *i)
{
	struct space *sp = i->s->space;

	part_begin(i, "bitmaps");
	for (uint32_t k = 0; k < space_segment_count(sp); k++) {
		uint64_t unit = unit_bytes(sp, k), off = space_segment_off(sp, k), runs = 0;
		bool used = false;

		for (uint64_t at = 0; unit != 0 && at < space_segment_bytes(sp); at += unit) {
			bool was = used;

			used = space_refs(sp, off + at) != 0;
			runs += used && !was;
		}
		if (unit == 0)
			continue;
		object_begin(i);
		field_u64(i, "segment", k);
		field_u64(i, "address", off);
		field_text(i, "unit", unit == CHUNK_BYTES ? "chunk" : "page");
		field_u64(i, "units", space_segment_bytes(sp) / unit);
		field_u64(i, "used", space_segment_used(sp, k));
		field_u64(i, "used_runs", runs);
		field_u64(i, "shared", space_segment_shared(sp, k));
		object_end(i);
	}
	part_end(i);
}

static void refs_run(struct inspecting *i, uint64_t at, uint64_t unit, uint64_t count)
{
	object_begin(i);
	field_u64(i, "address", at);
	field_text(i, "unit", unit == CHUNK_BYTES ? "chunk" : "page");
	field_u64(i, "count", count);
	field_u64(i, "references", space_refs(i->s->space, at));
	object_end(i);
}

/* What is referred to more than once. */
static void refs_show(struct inspecting *i)
{
	struct space *sp = i->s->space;

	part_begin(i, "refs");
	for (uint32_t k = 0; k < space_segment_count(sp); k++) {
		uint64_t unit = unit_bytes(sp, k), at = space_segment_off(sp, k);
		uint64_t end = at + space_segment_bytes(sp), begin;

		if (unit == 0 || space_segment_shared(sp, k) == 0)
			continue;
		while (at < end) {
			uint32_t refs = space_refs(sp, at);

			for (begin = at; at < end && space_refs(sp, at) == refs;)
				at += unit;
			if (refs > 1)
				refs_run(i, begin, unit, (at - begin) / unit);
		}
	}
	part_end(i);
}

static void journal_show(struct inspecting *i)
{
	part_begin(i, "journal");
	for (struct replica *r = store_first_replica(i->s); r != NULL;
	     r = store_next_replica(i->s, r)) {
		struct replica_status st;

		replica_status(r, &st);
		object_begin(i);
		field_text(i, "group", st.name);
		field_u64(i, "trim", st.trim.v);
		field_u64(i, "fold", st.fold.v);
		field_u64(i, "commit", st.commit.v);
		field_u64(i, "durable", st.durable.v);
		field_u64(i, "tail", st.tail.v);
		field_hex(i, "tail_chain", st.tail_chain);
		field_u64(i, "bytes", st.journal_bytes);
		field_u64(i, "index_entries", index_count(replica_index(r)));
		field_u64(i, "has_hole", st.has_hole);
		object_end(i);
	}
	part_end(i);
}

void field_root(struct inspecting *i, const struct volume_root *root)
{
	field_u64(i, "depth", root->depth);
	if (root->root != CHUNK_NONE)
		field_u64(i, "root_address", root->root);
	field_hex(i, "root_crc", root->root_crc);
	field_hex(i, "root_digest", root->root_digest);
}

static void volume_show(struct inspecting *i, struct replica *r, const struct replica_volume *v,
			bool map)
{
	struct map *m = replica_map(r, v->slot);
	struct volume_root root = {.root = CHUNK_NONE};

	if (m != NULL)
		map_root_get(m, &root);
	object_begin(i);
	field_text(i, "group", replica_name(r));
	field_text(i, "volume", v->name);
	field_uuid(i, "uuid", &v->uuid);
	field_u64(i, "slot", v->slot);
	field_u64(i, "bytes", v->bytes);
	if (!map)
		field_u64(i, "block_bytes", v->block_bytes);
	field_u64(i, "used_bytes", root.volume.used_bytes);
	field_u64(i, "deleted", v->deleted);
	if (map)
		field_root(i, &root);
	object_end(i);
}

static void all_volumes_show(struct inspecting *i, bool map)
{
	struct replica_volume *volumes = calloc(VOLUMES_MAX, sizeof(*volumes));

	for (struct replica *r = store_first_replica(i->s); r != NULL && volumes != NULL;
	     r = store_next_replica(i->s, r)) {
		uint32_t n = replica_volumes(r, volumes, VOLUMES_MAX);

		for (uint32_t k = 0; k < n; k++)
			volume_show(i, r, &volumes[k], map);
	}
	free(volumes);
}

static void map_show(struct inspecting *i)
{
	part_begin(i, "map");
	all_volumes_show(i, true);
	part_end(i);
}

static void volumes_show(struct inspecting *i)
{
	part_begin(i, "volumes");
	all_volumes_show(i, false);
	part_end(i);
}

static void groups_show(struct inspecting *i)
{
	struct epoch_entry *epochs = calloc(EPOCHS_MAX, sizeof(*epochs));

	part_begin(i, "groups");
	for (struct replica *r = store_first_replica(i->s); r != NULL && epochs != NULL;
	     r = store_next_replica(i->s, r)) {
		uint32_t n = replica_epochs(r, epochs, EPOCHS_MAX);
		struct replica_status st;
		struct record_clone base;

		replica_status(r, &st);
		object_begin(i);
		field_text(i, "group", st.name);
		field_uuid(i, "uuid", &st.group);
		field_u64(i, "content_generation", st.content_generation);
		field_u64(i, "last_forced_epoch", st.last_forced_epoch);
		field_u64(i, "epochs", n);
		if (n > 0) {
			field_u64(i, "epoch", epochs[n - 1].epoch.number);
			field_u64(i, "epoch_site", epochs[n - 1].epoch.site);
			field_u64(i, "epoch_incarnation", epochs[n - 1].epoch.incarnation);
			field_u64(i, "epoch_first_lsn", epochs[n - 1].first.v);
		}
		if (replica_clone_base(r, &base)) {
			field_uuid(i, "base_group", &base.source);
			field_uuid(i, "base_snapshot", &base.snapshot);
		}
		object_end(i);
	}
	part_end(i);
	free(epochs);
}

/* --- snapshots: all of them, also those that are deleted and held --- */

static void snapshots_show(struct inspecting *i)
{
	part_begin(i, "snapshots");
	for (struct replica *r = store_first_replica(i->s); r != NULL;
	     r = store_next_replica(i->s, r)) {
		LIST_FOR_EACH(link, &replica_snaps(r)->list) {
			const struct snapshot *snap = container_of(link, struct snapshot, link);

			object_begin(i);
			field_text(i, "group", replica_name(r));
			field_text(i, "snapshot", snap->name);
			field_uuid(i, "uuid", &snap->uuid);
			field_u64(i, "lsn", snap->lsn.v);
			field_u64(i, "time_ns", snap->time.v);
			field_u64(i, "flags", snap->flags);
			field_u64(i, "listed", snap->listed);
			field_u64(i, "pinned", snap->pinned);
			field_u64(i, "anchor", snap->anchor);
			field_u64(i, "past", snap->past);
			field_u64(i, "missing", snap->missing);
			field_u64(i, "volumes", snap->volume_count);
			object_end(i);
		}
	}
	part_end(i);
}

static void snapshot_volumes_show(struct inspecting *i)
{
	part_begin(i, "snapshot_volumes");
	for (struct replica *r = store_first_replica(i->s); r != NULL;
	     r = store_next_replica(i->s, r)) {
		LIST_FOR_EACH(link, &replica_snaps(r)->list) {
			const struct snapshot *snap = container_of(link, struct snapshot, link);

			for (uint32_t k = 0; k < snap->volume_count; k++) {
				const struct volume_root *root = &snap->volumes[k];

				object_begin(i);
				field_text(i, "group", replica_name(r));
				field_text(i, "snapshot", snap->name);
				field_text(i, "volume", root->volume.name);
				field_u64(i, "slot", root->volume.slot);
				field_u64(i, "bytes", root->volume.bytes);
				field_u64(i, "used_bytes", root->volume.used_bytes);
				field_root(i, root);
				object_end(i);
			}
		}
	}
	part_end(i);
}
