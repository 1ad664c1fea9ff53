/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check_digest.c
 * Purpose.     The digest a volume will have when its journal is folded, without folding it.
 * Invariants.  CD1 The same numbers as proto/store.h's leaf_digest and inner_digest give.
 */
#include "engine/store/check_digest.h"

#include "engine/base/assert.h"
#include "engine/base/crc.h"

uint64_t check_digest_leaf(const struct disk_leaf *leaf, uint64_t leaf_no, const struct index *x,
			   uint32_t volume)
{
	struct disk_leaf now = *leaf;

	for (uint32_t i = 0; i < LEAF_BLOCKS && index_count(x) > 0; i++) {
		struct index_hit hit = index_get(x, volume, leaf_no * LEAF_BLOCKS + i);
		struct disk_chunk *c = &now.chunks[i / CHUNK_BLOCKS];
		uint16_t bit = (uint16_t)(1u << i % CHUNK_BLOCKS);

		if (hit.kind == INDEX_NONE)
			continue;
		c->valid = (uint16_t)(c->valid & ~bit);
		c->based = (uint16_t)(c->based & ~bit);
		if (hit.kind != INDEX_DATA)
			continue;
		c->valid = (uint16_t)(c->valid | bit);
		c->crcs[i % CHUNK_BLOCKS] = hit.crc;
	}
	return leaf_digest(&now);
}

/* 64 digests make one; 0 for nothing but zeroes. */
static uint64_t combine(const uint64_t *below, uint64_t count)
{
	uint64_t all[MAP_FAN] = {0};
	bool any = false;
	uint64_t d;

	for (uint64_t i = 0; i < count; i++) {
		all[i] = below[i];
		any = any || below[i] != 0;
	}
	if (!any)
		return 0;
	d = crc64(0, all, sizeof(all));
	return d == 0 ? 1 : d;
}

uint64_t check_digest_tree(uint64_t *leaves, uint64_t count, const struct index *x, uint32_t volume)
{
	struct disk_leaf empty;

	leaf_init(&empty);
	for (uint64_t i = 0; i < count; i++)
		if (leaves[i] == CHECK_LEAF_ABSENT)
			leaves[i] = check_digest_leaf(&empty, i, x, volume);
	for (uint32_t level = 0; level < MAP_DEPTH_MAX; level++) {
		uint64_t above = (count + MAP_FAN - 1) / MAP_FAN;

		for (uint64_t i = 0; i < above; i++) {
			uint64_t left = count - i * MAP_FAN;

			leaves[i] = combine(&leaves[i * MAP_FAN], left < MAP_FAN ? left : MAP_FAN);
		}
		count = above;
	}
	return count == 0 ? 0 : leaves[0];
}
