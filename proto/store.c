/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/store.c
 * Purpose.     Seal and check what a store keeps on disk besides journals.
 * Invariants.  D1  Every structure carries its own checksum and its own place: damaged, misdirected
 *                  and another store's bytes are told from ours.
 *              D2  A digest depends on content only: zeroes, holes and data equal to zeroes are one.
 * Failure.     Nothing here asserts what was read.
 */
#include "proto/store.h"

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"

static uint64_t crc64_without(const void *data, size_t bytes, size_t crc_off);
static bool is_power_of_two(uint64_t x);
static bool place_ok(uint64_t off, uint64_t unit, uint64_t disk_bytes);

uint64_t super_region_off(uint64_t bytes, uint32_t copy)
{
	uint64_t mask = ~((uint64_t)SUPER_REGION_BYTES - 1);

	assert(bytes >= STORE_BYTES_MIN && copy < SUPER_COPIES);
	if (copy == 0)
		return 0;
	if (copy == SUPER_COPIES - 1)
		return (bytes - SUPER_REGION_BYTES) & mask;
	return bytes / 3 * copy & mask;
}

uint64_t super_disk_bytes(const struct disk_super *s)
{
	return s->grown_bytes != 0 ? s->grown_bytes : s->bytes;
}

uint64_t super_segment_count(const struct disk_super *s)
{
	return s->grown_bytes != 0 ? grown_segment_count(s->grown_bytes, s->segment_bytes)
				   : s->bytes / s->segment_bytes;
}

uint64_t grown_segment_count(uint64_t bytes, uint64_t segment_bytes)
{
	return super_region_off(bytes, SUPER_COPIES - 1) / segment_bytes;
}

uint64_t signpost_off(uint64_t disk_bytes, uint32_t which)
{
	return (which == 0 ? 0 : super_region_off(disk_bytes, SUPER_COPIES - 1)) + SIGNPOST_OFF;
}

void signpost_seal(struct disk_signpost *p, const struct uuid *store, uint64_t bytes,
		   uint64_t address)
{
	memset(p, 0, sizeof(*p));
	p->magic = SIGNPOST_MAGIC;
	memcpy(p->store, store->b, sizeof(p->store));
	p->bytes = bytes;
	p->address = address;
	p->crc = crc64_without(p, sizeof(*p), offsetof(struct disk_signpost, crc));
}

bool signpost_is_good(const struct disk_signpost *p, uint64_t address)
{
	return p->magic == SIGNPOST_MAGIC && p->address == address &&
	       p->crc == crc64_without(p, sizeof(*p), offsetof(struct disk_signpost, crc)) &&
	       p->bytes >= STORE_BYTES_MIN && p->bytes % BLOCK_BYTES == 0;
}

void super_seal(struct disk_super *s, uint32_t copy)
{
	s->magic = SUPER_MAGIC;
	s->copy = copy;
	s->crc = crc64_without(s, sizeof(*s), offsetof(struct disk_super, crc));
}

int super_check(const struct disk_super *s, uint32_t copy)
{
	if (s->magic != SUPER_MAGIC)
		return -ERR_NOT_STORE;
	if (s->crc != crc64_without(s, sizeof(*s), offsetof(struct disk_super, crc)) ||
	    s->copy != copy)
		return -ERR_CORRUPT; /* D1 */
	if (s->version != STORE_FORMAT_VERSION)
		return -ERR_VERSION;
	if (s->bytes < STORE_BYTES_MIN || s->bytes % BLOCK_BYTES != 0 ||
	    s->bytes > (uint64_t)1 << 56)
		return -ERR_CORRUPT;
	if (!is_power_of_two(s->segment_bytes) || s->segment_bytes < SEGMENT_BYTES_MIN ||
	    s->segment_bytes > SEGMENT_BYTES_MAX)
		return -ERR_CORRUPT;
	if ((s->incompat & STORE_INCOMPAT_GROWN) == 0
		    ? s->grown_bytes != 0
		    : s->grown_bytes <= s->bytes || s->grown_bytes % BLOCK_BYTES != 0 ||
			      s->grown_bytes > (uint64_t)1 << 56)
		return -ERR_CORRUPT;
	if (super_segment_count(s) >= UINT32_MAX)
		return -ERR_CORRUPT;
	if (s->journal_percent < 1 || s->journal_percent > 90)
		return -ERR_CORRUPT;
	if (!place_ok(s->root_address, PAGE_BYTES, super_disk_bytes(s)))
		return -ERR_CORRUPT;
	return 0;
}

bool super_equal(const struct disk_super *a, const struct disk_super *b)
{
	size_t tail = offsetof(struct disk_super, compat);

	return a->version == b->version &&
	       memcmp((const uint8_t *)a + tail, (const uint8_t *)b + tail, sizeof(*a) - tail) == 0;
}

uint32_t floor_bytes(uint32_t count)
{
	uint32_t bytes = (uint32_t)sizeof(struct disk_floor_header) +
			 count * (uint32_t)sizeof(struct disk_floor);

	assert(count <= FLOORS_MAX);
	return (bytes + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);
}

void floor_seal(uint8_t *slot, const struct uuid *store, uint64_t sequence, uint64_t address,
		uint32_t count)
{
	struct disk_floor_header *h = (void *)slot;

	memset(h, 0, sizeof(*h));
	h->magic = FLOOR_MAGIC;
	memcpy(h->store, store->b, sizeof(h->store));
	h->sequence = sequence;
	h->address = address;
	h->count = count;
	h->crc = crc64_without(slot, floor_bytes(count), offsetof(struct disk_floor_header, crc));
}

int floor_check(const uint8_t *slot, const struct uuid *store, uint64_t address,
		uint64_t *ret_sequence, uint32_t *ret_count)
{
	struct disk_floor_header h;

	memcpy(&h, slot, sizeof(h));
	if (h.magic != FLOOR_MAGIC || h.count > FLOORS_MAX || h.address != address ||
	    memcmp(h.store, store->b, sizeof(h.store)) != 0)
		return -ERR_CORRUPT; /* D1 */
	if (h.crc !=
	    crc64_without(slot, floor_bytes(h.count), offsetof(struct disk_floor_header, crc)))
		return -ERR_CORRUPT;
	*ret_sequence = h.sequence;
	*ret_count = h.count;
	return 0;
}

struct disk_floor *floor_at(uint8_t *slot, uint32_t index)
{
	assert(index < FLOORS_MAX);
	return (struct disk_floor *)(void *)(slot + sizeof(struct disk_floor_header)) + index;
}

uint64_t page_seal(void *page, const struct page_name *name, uint64_t birth,
		   const struct uuid *store)
{
	struct disk_page *p = page;

	assert(name->address != DISK_NONE);
	memset(p, 0, sizeof(*p));
	p->magic = PAGE_MAGIC;
	p->kind = name->kind;
	p->level = name->level;
	p->address = name->address;
	p->birth = birth;
	memcpy(p->store, store->b, sizeof(p->store));
	p->index = name->index;
	p->crc = crc64_without(page, PAGE_BYTES, offsetof(struct disk_page, crc));
	return p->crc;
}

int page_check(const void *page, const struct page_name *name, const struct uuid *store)
{
	const struct disk_page *p = page;

	if (p->magic != PAGE_MAGIC || p->kind != name->kind || p->level != name->level ||
	    p->address != name->address || p->index != name->index || p->crc != name->crc ||
	    memcmp(p->store, store->b, sizeof(p->store)) != 0)
		return -ERR_CORRUPT; /* D1 */
	if (p->crc != crc64_without(page, PAGE_BYTES, offsetof(struct disk_page, crc)))
		return -ERR_CORRUPT;
	return 0;
}

void leaf_init(struct disk_leaf *leaf)
{
	memset(leaf, 0, sizeof(*leaf));
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		leaf->chunks[i].chunk = DISK_NONE;
		leaf->chunks[i].base = DISK_NONE;
	}
}

void inner_init(struct disk_inner *inner)
{
	memset(inner, 0, sizeof(*inner));
	for (uint32_t i = 0; i < MAP_FAN; i++)
		inner->entries[i].address = DISK_NONE;
}

int leaf_check(const struct disk_leaf *leaf, uint64_t disk_bytes)
{
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		const struct disk_chunk *c = &leaf->chunks[i];

		if ((c->valid & c->zero) != 0 || ((c->valid | c->zero) & c->based) != 0)
			return -ERR_CORRUPT;
		if (c->chunk == DISK_NONE ? c->valid != 0
					  : !place_ok(c->chunk, CHUNK_BYTES, disk_bytes))
			return -ERR_CORRUPT;
		if ((c->base == DISK_NONE) != (c->based == 0))
			return -ERR_CORRUPT;
		if (c->base != DISK_NONE && (c->base == c->chunk || c->valid == 0 ||
					     !place_ok(c->base, CHUNK_BYTES, disk_bytes)))
			return -ERR_CORRUPT;
	}
	return 0;
}

int inner_check(const struct disk_inner *inner, uint64_t disk_bytes)
{
	for (uint32_t i = 0; i < MAP_FAN; i++) {
		uint64_t a = inner->entries[i].address;

		if (a != DISK_NONE && !place_ok(a, PAGE_BYTES, disk_bytes))
			return -ERR_CORRUPT;
	}
	return 0;
}

uint64_t leaf_digest(const struct disk_leaf *leaf)
{
	uint32_t crcs[LEAF_BLOCKS];
	uint32_t zero = crc32c_block_of_zeroes();
	bool any = false;
	uint64_t d;

	for (uint32_t i = 0; i < LEAF_BLOCKS; i++) {
		const struct disk_chunk *c = &leaf->chunks[i / CHUNK_BLOCKS];
		uint32_t b = i % CHUNK_BLOCKS;

		crcs[i] = ((c->valid | c->based) >> b & 1) != 0 ? c->crcs[b] : zero; /* D2 */
		any = any || crcs[i] != zero;
	}
	if (!any)
		return 0;
	d = crc64(0, crcs, sizeof(crcs));
	return d == 0 ? 1 : d;
}

uint64_t inner_digest(const struct disk_inner *inner)
{
	uint64_t below[MAP_FAN];
	bool any = false;
	uint64_t d;

	for (uint32_t i = 0; i < MAP_FAN; i++) {
		const struct disk_inner_entry *e = &inner->entries[i];

		below[i] = e->address == DISK_NONE ? 0 : e->digest;
		any = any || below[i] != 0;
	}
	if (!any)
		return 0;
	d = crc64(0, below, sizeof(below));
	return d == 0 ? 1 : d;
}

uint64_t map_digest_wrap(uint64_t digest, uint32_t depth)
{
	assert(depth <= MAP_DEPTH_MAX);
	for (; digest != 0 && depth < MAP_DEPTH_MAX; depth++) {
		uint64_t below[MAP_FAN] = {digest};

		digest = crc64(0, below, sizeof(below));
		digest = digest == 0 ? 1 : digest;
	}
	return digest;
}

void leaf_summary(const struct disk_leaf *leaf, struct disk_inner_entry *ret)
{
	ret->digest = leaf_digest(leaf);
	ret->newest = 0;
	ret->used = 0;
	for (uint32_t i = 0; i < LEAF_CHUNKS; i++) {
		const struct disk_chunk *c = &leaf->chunks[i];

		ret->used += (uint64_t)__builtin_popcount(c->valid | c->based);
		if (c->last > ret->newest)
			ret->newest = c->last;
	}
}

void inner_summary(const struct disk_inner *inner, struct disk_inner_entry *ret)
{
	ret->digest = inner_digest(inner);
	ret->newest = 0;
	ret->used = 0;
	for (uint32_t i = 0; i < MAP_FAN; i++) {
		const struct disk_inner_entry *e = &inner->entries[i];

		if (e->newest > ret->newest)
			ret->newest = e->newest; /* of a removed child, too: it did change */
		if (e->address != DISK_NONE)
			ret->used += e->used;
	}
}

static uint64_t crc64_without(const void *data, size_t bytes, size_t crc_off)
{
	static const uint8_t zero[8] = {0};
	const uint8_t *p = data;
	uint64_t crc = crc64(0, p, crc_off);

	crc = crc64(crc, zero, sizeof(zero));
	return crc64(crc, p + crc_off + 8, bytes - crc_off - 8);
}

static bool is_power_of_two(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

static bool place_ok(uint64_t off, uint64_t unit, uint64_t disk_bytes)
{
	return off % unit == 0 && off < disk_bytes && unit <= disk_bytes - off;
}
