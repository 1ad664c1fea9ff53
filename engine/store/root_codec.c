/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/root_codec.c
 * Purpose.     Replica roots as table entries and back.
 * Invariants.  RC1 What decodes is within every limit the engine relies on: counts, names, addresses.
 * Ownership.   The lists are malloced (opening and checking only).
 * Failure.     -ERR_CORRUPT for bytes that no writer of this format made.
 */
#include "engine/store/root_codec.h"

#include <stdlib.h>

#include "engine/base/err.h"

_Static_assert(EPOCHS_MAX == DISK_EPOCHS_MAX, "a group's epochs fit its page");
_Static_assert(sizeof(((struct disk_group *)0)->name) == NAME_BYTES_MAX + 1, "names");
_Static_assert(sizeof(((struct disk_volume *)0)->name) == NAME_BYTES_MAX + 1, "names");

void root_group_encode(const struct replica_root *root, struct disk_group *d)
{
	memset(d, 0, sizeof(*d));
	memcpy(d->group, root->group.b, sizeof(d->group));
	memcpy(d->name, root->name, sizeof(d->name));
	d->flags = root->flags;
	d->epoch_count = root->epoch_count;
	d->volume_count = root->volume_count;
	d->journal_segment = root->journal.segment;
	d->journal_segment_seq = root->journal.segment_seq;
	d->journal_trim = root->journal.trim.v;
	d->journal_trim_chain = root->journal.trim_chain;
	d->journal_segment_link = root->journal.segment_link;
	d->journal_tail_seq = root->journal.tail_seq;
	d->fold = root->fold.v;
	d->commit = root->commit.v;
	d->durable_known = root->durable_known.v;
	d->content_generation = root->content_generation;
	d->last_forced_epoch = root->last_forced_epoch;
	d->history_ns = root->history.ns;
	d->history_bytes = root->history.bytes;
	for (uint32_t i = 0; i < root->epoch_count; i++) {
		d->epochs[i].number = root->epochs[i].epoch.number;
		d->epochs[i].incarnation = root->epochs[i].epoch.incarnation;
		d->epochs[i].site = root->epochs[i].epoch.site;
		d->epochs[i].first = root->epochs[i].first.v;
	}
}

static bool lsn_ok(uint64_t v)
{
	return v % BLOCK_BYTES == 0;
}

int root_group_decode(const struct disk_group *d, struct replica_root *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (d->epoch_count > EPOCHS_MAX || d->volume_count > VOLUMES_MAX ||
	    memchr(d->name, 0, sizeof(d->name)) == NULL || (d->flags & ~REPLICA_FLAG_STAGING) != 0)
		return -ERR_CORRUPT; /* RC1 */
	if (!lsn_ok(d->fold) || !lsn_ok(d->commit) || !lsn_ok(d->durable_known) ||
	    !lsn_ok(d->journal_trim) || d->fold > d->commit)
		return -ERR_CORRUPT;
	memcpy(ret->group.b, d->group, sizeof(d->group));
	memcpy(ret->name, d->name, sizeof(d->name));
	ret->flags = d->flags;
	ret->epoch_count = d->epoch_count;
	ret->volume_count = d->volume_count;
	ret->journal.segment = d->journal_segment;
	ret->journal.segment_seq = d->journal_segment_seq;
	ret->journal.trim.v = d->journal_trim;
	ret->journal.trim_chain = d->journal_trim_chain;
	ret->journal.segment_link = d->journal_segment_link;
	ret->journal.tail_seq = d->journal_tail_seq;
	ret->fold.v = d->fold;
	ret->commit.v = d->commit;
	ret->durable_known.v = d->durable_known;
	ret->content_generation = d->content_generation;
	ret->last_forced_epoch = d->last_forced_epoch;
	ret->history.ns = d->history_ns;
	ret->history.bytes = d->history_bytes;
	for (uint32_t i = 0; i < ret->epoch_count; i++) {
		ret->epochs[i].epoch.number = d->epochs[i].number;
		ret->epochs[i].epoch.incarnation = d->epochs[i].incarnation;
		ret->epochs[i].epoch.site = d->epochs[i].site;
		ret->epochs[i].first.v = d->epochs[i].first;
	}
	return 0;
}

void root_volume_encode(const struct volume_root *v, uint32_t group, struct disk_volume *d)
{
	memset(d, 0, sizeof(*d));
	d->group = group;
	d->slot = v->volume.slot;
	memcpy(d->volume, v->volume.uuid.b, sizeof(d->volume));
	memcpy(d->name, v->volume.name, sizeof(d->name));
	d->bytes = v->volume.bytes;
	d->used_bytes = v->volume.used_bytes;
	d->block_bytes = v->volume.block_bytes;
	d->flags = v->volume.deleted ? 1 : 0;
	d->root.address = v->root;
	d->root.crc = v->root_crc;
	d->root_digest = v->root_digest;
	d->depth = v->depth;
}

int root_volume_decode(const struct disk_volume *d, uint64_t disk_bytes, struct volume_root *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (d->slot >= VOLUMES_MAX || d->depth > MAP_DEPTH_MAX ||
	    memchr(d->name, 0, sizeof(d->name)) == NULL || d->bytes > 1ull << 60)
		return -ERR_CORRUPT;
	if (d->root.address != DISK_NONE &&
	    (d->root.address % PAGE_BYTES != 0 || d->root.address > disk_bytes - PAGE_BYTES))
		return -ERR_CORRUPT;
	ret->volume.slot = d->slot;
	memcpy(ret->volume.uuid.b, d->volume, sizeof(d->volume));
	memcpy(ret->volume.name, d->name, sizeof(d->name));
	ret->volume.bytes = d->bytes;
	ret->volume.used_bytes = d->used_bytes;
	ret->volume.block_bytes = d->block_bytes;
	ret->volume.deleted = (d->flags & 1) != 0;
	ret->root = d->root.address;
	ret->root_crc = d->root.crc;
	ret->root_digest = d->root_digest;
	ret->depth = d->depth;
	return 0;
}

int root_list_group(struct root_list *l, uint32_t page, const struct disk_group *d)
{
	struct replica_root *more = realloc(l->roots, (l->count + 1) * sizeof(*more));
	int rc;

	if (more == NULL)
		return -ERR_NOMEM;
	l->roots = more;
	if (page != l->count)
		return -ERR_CORRUPT;
	rc = root_group_decode(d, &l->roots[l->count]);
	if (rc < 0)
		return rc;
	l->roots[l->count].volume_count = 0; /* they come with the volume table */
	l->count++;
	return 0;
}

static int ghost_add(struct root_list *l, const struct volume_root *v)
{
	struct volume_root *more = realloc(l->ghosts, (l->ghost_count + 1) * sizeof(*more));

	if (more == NULL)
		return -ERR_NOMEM;
	l->ghosts = more;
	l->ghosts[l->ghost_count++] = *v;
	return 0;
}

int root_list_volumes(struct root_list *l, uint32_t page, const struct disk_volumes *d,
		      uint32_t entries, uint64_t disk_bytes)
{
	for (uint32_t k = 0;
	     k < VOLUMES_PER_PAGE && (uint64_t)page * VOLUMES_PER_PAGE + k < entries; k++) {
		const struct disk_volume *from = &d->volumes[k];
		struct replica_root *root;
		struct volume_root v, *more;
		int rc = root_volume_decode(from, disk_bytes, &v);

		if (rc == 0 && from->group == VOLUME_GROUP_NONE) {
			rc = ghost_add(l, &v);
			if (rc == 0)
				continue;
		}
		if (rc < 0)
			return rc;
		if (from->group >= l->count)
			return -ERR_CORRUPT;
		root = &l->roots[from->group];
		if (root->volume_count == VOLUMES_MAX)
			return -ERR_CORRUPT;
		more = realloc(root->volumes, (root->volume_count + 1u) * sizeof(*more));
		if (more == NULL)
			return -ERR_NOMEM;
		root->volumes = more;
		root->volumes[root->volume_count++] = v;
	}
	return 0;
}

void root_list_free(struct root_list *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		free(l->roots[i].volumes);
	free(l->roots);
	free(l->ghosts);
	memset(l, 0, sizeof(*l));
}
