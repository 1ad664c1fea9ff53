/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/inspect_walk.c
 * Purpose.     Show what has to be read: records of journals, one by one; pages of a volume's map, from
 *              the root down; the entries of one leaf.
 * Invariants.  IW1 A bad record ends its journal's list, a bad page what is below it: both are shown with why.
 * States.      Of records: each replica, each record from trim to tail.  Of pages: depth first.
 * Ownership.   The inspection owns a page per level and one record at a time.
 */
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/index.h"
#include "engine/store/inspect_state.h"
#include "engine/store/map_edit.h"
#include "engine/store/record.h"
#include "proto/record_place.h"

/* --- records --- */

static const char *type_text(enum record_type type)
{
	switch (type) {
	case RECORD_WRITE:
		return "write";
	case RECORD_EPOCH:
		return "epoch";
	case RECORD_VOLUME:
		return "volume";
	case RECORD_NOTE:
		return "note";
	case RECORD_SNAP:
		return "snap";
	case RECORD_RESTORE:
		return "restore";
	case RECORD_CLONE:
		return "clone";
	case RECORD_DELTA_BEGIN:
	case RECORD_DELTA_COMMIT:
	case RECORD_PAD:
		break;
	}
	return "other";
}

static void extents_show(struct inspecting *i, const struct record *record)
{
	static const char *const names[] = {"data_blocks", "zero_blocks", "discard_blocks"};
	uint64_t blocks[ARRAY_COUNT(names)] = {0};
	const struct record_view *v = &record->view;

	for (uint32_t k = 0; k < v->extent_count; k++) {
		struct record_extent e = record_extent_at(record->head->data, v, k);

		if (e.kind < ARRAY_COUNT(names))
			blocks[e.kind] += e.count;
		if (k == 0) {
			field_u64(i, "first_slot", e.volume);
			field_u64(i, "first_block", e.block);
		}
	}
	for (uint32_t k = 0; k < ARRAY_COUNT(names); k++)
		field_u64(i, names[k], blocks[k]);
}

static void record_show(struct inspecting *i, const struct record *record)
{
	const struct record_view *v = &record->view;
	struct record_local local;

	object_begin(i);
	field_text(i, "group", replica_name(i->r));
	field_u64(i, "begin", v->begin.v);
	field_u64(i, "end", v->end.v);
	field_text(i, "type", type_text(v->type));
	field_u64(i, "epoch", v->epoch.number);
	field_u64(i, "epoch_site", v->epoch.site);
	field_u64(i, "epoch_incarnation", v->epoch.incarnation);
	field_u64(i, "commit", v->commit.v);
	field_u64(i, "wall_ns", v->wall.v);
	field_hex(i, "chain", v->chain);
	field_u64(i, "extents", v->extent_count);
	field_u64(i, "payload_blocks", v->payload_blocks);
	if (v->extent_count > 0)
		extents_show(i, record);
	if (record_decode_local(record->head->data, &local) == 0) {
		field_u64(i, "segment_sequence", local.segment_seq);
		field_u64(i, "segment_block", local.segment_block);
		field_u64(i, "chunks_named", local.chunks.count);
	}
	object_end(i);
}

static void replica_records_begin(struct inspecting *i, struct replica *r)
{
	struct replica_status st;

	i->r = r;
	if (r == NULL)
		return;
	replica_status(r, &st);
	i->jr.lsn = st.trim;
}

void inspect_records_begin(struct inspecting *i)
{
	if ((i->q->parts & INSPECT_RECORDS) == 0)
		return;
	part_begin(i, "records");
	replica_records_begin(i, store_first_replica(i->s));
}

/* Goes on behind it; IW1 */
static void record_arrived(struct inspecting *i)
{
	i->reading = false;
	if (i->jr.done.rc == 0) {
		record_show(i, i->jr.record);
		i->jr.lsn = i->jr.record->view.end;
		record_unref(&i->jr.record);
		return;
	}
	if (i->jr.done.rc != -ERR_RANGE) {
		object_begin(i);
		field_text(i, "group", replica_name(i->r));
		field_u64(i, "begin", i->jr.lsn.v);
		field_text(i, "error", err_text(i->jr.done.rc));
		object_end(i);
	}
	replica_records_begin(i, store_next_replica(i->s, i->r));
}

int inspect_records_step(struct inspecting *i)
{
	if ((i->q->parts & INSPECT_RECORDS) == 0)
		return 0;
	if (i->reading)
		record_arrived(i);
	while (i->r != NULL) {
		struct replica_status st;

		replica_status(i->r, &st);
		if (i->jr.lsn.v < st.tail.v) {
			i->reading = true;
			completion_arm(&i->jr.done, &i->op, 1);
			replica_journal_read(i->r, &i->jr);
			return 1;
		}
		replica_records_begin(i, store_next_replica(i->s, i->r));
	}
	part_end(i);
	return 0;
}

/* --- pages --- */

int inspect_volume_find(struct inspecting *i)
{
	struct replica_volume *volumes = calloc(VOLUMES_MAX, sizeof(*volumes));
	int rc = volumes == NULL ? -ERR_NOMEM : -ERR_NOT_FOUND;

	i->pages = aligned_alloc(PAGE_BYTES, (MAP_DEPTH_MAX + 1) * PAGE_BYTES);
	if (i->pages == NULL)
		rc = -ERR_NOMEM;
	for (struct replica *r = store_first_replica(i->s); r != NULL && rc == -ERR_NOT_FOUND;
	     r = store_next_replica(i->s, r)) {
		uint32_t n = replica_volumes(r, volumes, VOLUMES_MAX);

		for (uint32_t k = 0; k < n && strcmp(replica_name(r), i->q->group) == 0; k++) {
			struct map *m = replica_map(r, volumes[k].slot);

			if (volumes[k].deleted || strcmp(volumes[k].name, i->q->volume) != 0)
				continue;
			i->root.root = CHUNK_NONE;
			if (m != NULL)
				map_root_get(m, &i->root);
			i->root.volume = volumes[k];
			rc = 0;
		}
	}
	free(volumes);
	return rc;
}

static void page_read(struct inspecting *i, const struct disk_inner_entry *entry, uint16_t level,
		      uint64_t index)
{
	struct inspect_frame *f = &i->frames[i->depth++];

	f->entry = *entry;
	f->level = level;
	f->index = index;
	f->next = 0;
	i->reading = true;
	completion_arm(&i->req.done, &i->op, 1);
	disk_io(i->s->disk, &i->req, DISK_READ, 0, entry->address,
		i->pages + (size_t)level * PAGE_BYTES, PAGE_BYTES);
}

void inspect_pages_begin(struct inspecting *i)
{
	struct disk_inner_entry entry = {
		.address = i->root.root, .crc = i->root.root_crc, .digest = i->root.root_digest};

	if (i->q->group == NULL)
		return;
	part_begin(i, "pages");
	if (i->root.root != CHUNK_NONE)
		page_read(i, &entry, (uint16_t)i->root.depth, 0);
}

/* Chunks of the leaf that has the block. */
static void leaf_show(struct inspecting *i, const struct disk_leaf *leaf, uint64_t index)
{
	part_end(i);
	part_begin(i, "leaf");
	for (uint32_t k = 0; k < LEAF_CHUNKS; k++) {
		const struct disk_chunk *c = &leaf->chunks[k];

		if (c->chunk == DISK_NONE && c->base == DISK_NONE && c->zero == 0)
			continue;
		object_begin(i);
		field_u64(i, "block", index * LEAF_BLOCKS + k * CHUNK_BLOCKS);
		if (c->chunk != DISK_NONE)
			field_u64(i, "chunk", c->chunk);
		if (c->base != DISK_NONE)
			field_u64(i, "base", c->base);
		field_hex(i, "valid", c->valid);
		field_hex(i, "zero", c->zero);
		field_hex(i, "based", c->based);
		field_u64(i, "birth", c->birth);
		field_u64(i, "newest", c->last);
		if (c->chunk != DISK_NONE)
			field_u64(i, "references", space_refs(i->s->space, c->chunk));
		object_end(i);
	}
}

/* 0, or what is wrong with it.  What its parent says of it is told as it is: `check` compares. */
static int page_arrived(struct inspecting *i, const struct inspect_frame *f, const void *page)
{
	struct page_name name = {.address = f->entry.address,
				 .crc = f->entry.crc,
				 .kind = f->level == 0 ? PAGE_LEAF : PAGE_INNER,
				 .level = f->level,
				 .index = f->index};
	struct disk_inner_entry is = {0};
	int rc = i->req.done.rc;

	if (rc == 0)
		rc = page_check(page, &name, &i->s->uuid);
	if (rc == 0)
		rc = f->level == 0 ? leaf_check(page, i->s->cache->opts.disk_bytes)
				   : inner_check(page, i->s->cache->opts.disk_bytes);
	if (rc == 0 && f->level == 0)
		leaf_summary(page, &is);
	else if (rc == 0)
		inner_summary(page, &is);
	object_begin(i);
	field_u64(i, "address", f->entry.address);
	field_u64(i, "level", f->level);
	field_u64(i, "index", f->index);
	field_u64(i, "first_block", f->index * (LEAF_BLOCKS << f->level * MAP_FAN_SHIFT));
	field_u64(i, "references", space_refs(i->s->space, f->entry.address));
	field_hex(i, "crc", f->entry.crc);
	if (rc < 0) {
		field_text(i, "error", err_text(rc));
	} else {
		field_hex(i, "digest", is.digest);
		field_u64(i, "newest", is.newest);
		field_u64(i, "used_blocks", is.used);
	}
	object_end(i);
	return rc;
}

/* Is entry k of the frame's page on the way to what is asked for? */
static bool is_wanted(const struct inspecting *i, const struct inspect_frame *f, uint32_t k)
{
	uint64_t below = i->q->block / LEAF_BLOCKS >> (f->level - 1) * MAP_FAN_SHIFT;

	return !i->q->has_block || f->index * MAP_FAN + k == below;
}

/* Down from the topmost frame's page: true: a page is read. */
static bool page_below(struct inspecting *i, struct inspect_frame *f, const struct disk_inner *page)
{
	while (f->next < MAP_FAN) {
		uint32_t k = f->next++;

		if (page->entries[k].address == DISK_NONE || !is_wanted(i, f, k))
			continue;
		page_read(i, &page->entries[k], (uint16_t)(f->level - 1), f->index * MAP_FAN + k);
		return true;
	}
	return false;
}

int inspect_pages_step(struct inspecting *i)
{
	if (i->q->group == NULL)
		return 0;
	while (i->depth > 0) {
		struct inspect_frame *f = &i->frames[i->depth - 1];
		const void *page = i->pages + (size_t)f->level * PAGE_BYTES;

		if (i->op.waits != 0)
			return 1;
		if (i->reading) {
			i->reading = false;
			if (page_arrived(i, f, page) < 0)
				f->next = MAP_FAN; /* IW1 */
			else if (f->level == 0 && i->q->has_block)
				leaf_show(i, page, f->index);
		}
		if (f->level > 0 && page_below(i, f, page))
			return 1;
		i->depth--;
	}
	part_end(i);
	return 0;
}
