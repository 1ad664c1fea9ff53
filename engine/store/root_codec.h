/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/root_codec.h: replicas and their volumes, between memory and the group and volume
 * tables.
 */
#ifndef TS_STORE_ROOT_CODEC_H
#define TS_STORE_ROOT_CODEC_H

#include "engine/store/checkpoint.h"
#include "proto/store.h"

void root_group_encode(const struct replica_root *root, struct disk_group *ret);
/* ret->volumes is left NULL. -ERR_CORRUPT. */
MUST_CHECK int root_group_decode(const struct disk_group *d, struct replica_root *ret);
void root_volume_encode(const struct volume_root *v, uint32_t group, struct disk_volume *ret);
MUST_CHECK int root_volume_decode(const struct disk_volume *d, uint64_t disk_bytes,
				  struct volume_root *ret);

/* All roots of a checkpoint, collected page by page. */
struct root_list {
	struct replica_root *roots;
	uint32_t count;
	struct volume_root *ghosts;
	uint32_t ghost_count;
};
MUST_CHECK int root_list_group(struct root_list *l, uint32_t page, const struct disk_group *d);
MUST_CHECK int root_list_volumes(struct root_list *l, uint32_t page, const struct disk_volumes *d,
				 uint32_t entries, uint64_t disk_bytes);
void root_list_free(struct root_list *l);

#endif
