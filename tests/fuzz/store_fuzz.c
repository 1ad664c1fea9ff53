/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/store_fuzz.c: superblocks, floor slots, map pages and group pages.  The first byte chooses;
 * checksums are mended (by sealing) so that the fuzzer gets past them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/attr.h"
#include "engine/store/root_codec.h"
#include "proto/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(8) uint8_t block[FLOOR_SLOT_BYTES];

static void try_super(void)
{
	struct disk_super *s = (struct disk_super *)(void *)block;

	(void)!super_check(s, 0);
	super_seal(s, 0);
	(void)!super_check(s, 0);
}

static void try_floor(void)
{
	struct disk_floor_header *h = (struct disk_floor_header *)(void *)block;
	struct uuid store;
	uint64_t sequence;
	uint32_t count;

	memcpy(store.b, h->store, sizeof(store.b));
	if (h->count <= FLOORS_MAX)
		floor_seal(block, &store, h->sequence, h->address, h->count);
	if (floor_check(block, &store, h->address, &sequence, &count) < 0)
		return;
	assert(count <= FLOORS_MAX);
	for (uint32_t i = 0; i < count; i++)
		assert((uint8_t *)(floor_at(block, i) + 1) <= block + sizeof(block));
}

static void try_pages(uint8_t which)
{
	struct replica_root root;
	struct uuid store = {{0}};
	struct page_name name = {.address = 4096, .kind = PAGE_GROUP};

	(void)!page_check(block, &name, &store);
	switch (which) {
	case 0:
		(void)!leaf_check((const struct disk_leaf *)(const void *)block, 1ull << 40);
		(void)leaf_digest((const struct disk_leaf *)(const void *)block);
		break;
	case 1:
		(void)!inner_check((const struct disk_inner *)(const void *)block, 1ull << 40);
		break;
	default:
		memset(&root, 0, sizeof(root));
		if (root_group_decode((const struct disk_group *)(const void *)block, &root) == 0)
			assert(root.epoch_count <= EPOCHS_MAX &&
			       memchr(root.name, 0, sizeof(root.name)) != NULL);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	memset(block, 0, sizeof(block));
	memcpy(block, data + 1, size - 1 < sizeof(block) ? size - 1 : sizeof(block));
	switch (data[0] % 5) {
	case 0:
		try_super();
		break;
	case 1:
		try_floor();
		break;
	default:
		try_pages(data[0] % 5 - 2);
		break;
	}
	return 0;
}
