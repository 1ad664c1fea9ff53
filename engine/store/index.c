/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/index.c
 *
 * Purpose.     Find the newest committed content of a block while it lies in the journal only, and
 *              give fold its windows oldest first.
 * Invariants.  X1  At most one entry per (volume, grain, block) on each side of a barrier; the newest put
 *                  wins.  Of several with one key the newest stands first in its bucket.
 *              X2  The age list is ordered by lsn: puts come in LSN order, and a put that replaces an
 *                  entry moves it to the young end.  So a window is a walk from the old end.
 *              X3  count entries are in the age list and in the buckets; the others are free.
 * Limits.      entries_max, fixed at open but for index_grow.  One array of 40-byte entries, one of
 *              4-byte buckets; nothing else is allocated.
 */
#include "engine/store/index.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"

#define NIL UINT32_MAX
#define KEY_GRAIN_SHIFT 48
#define KEY_VOLUME_SHIFT 56
#define OFF_KIND_SHIFT 60
#define RECORD_OF(lsn) ((lsn) & ~(uint64_t)(BLOCK_BYTES - 1))

_Static_assert(VOLUMES_MAX <= 256, "a volume slot fits the key");

static const uint32_t grain_blocks[3] = {1, CHUNK_BLOCKS, LEAF_BLOCKS};

struct entry {
	uint64_t key; /* volume, grain, block */
	uint64_t lsn;
	uint64_t off_kind;
	uint32_t crc;
	uint32_t older, newer; /* age list */
	uint32_t next;	       /* in its bucket (entry + 1); in the free list (entry) */
};

_Static_assert(sizeof(struct entry) == 40, "forty bytes for each dirty block");

struct index {
	struct entry *entries;
	uint32_t *buckets; /* entry + 1; 0: none, so that untouched memory stays untouched */
	uint32_t entries_max, bucket_mask;
	uint32_t count, used; /* used: entries ever taken from the array's end */
	uint32_t free, oldest, newest;
	uint32_t grain_count[3];
	uint64_t barrier; /* the newest */
};

static uint64_t key_of(uint32_t volume, enum index_grain grain, uint64_t block)
{
	return (uint64_t)volume << KEY_VOLUME_SHIFT | (uint64_t)grain << KEY_GRAIN_SHIFT << 6 |
	       block;
}

static enum index_grain key_grain(uint64_t key)
{
	return (enum index_grain)(key >> (KEY_GRAIN_SHIFT + 6) & 3);
}

static uint32_t bucket_of(const struct index *x, uint64_t key)
{
	uint64_t h = key * 0x9e3779b97f4a7c15ull;

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return (uint32_t)(h >> 32) & x->bucket_mask;
}

static int buckets_make(uint32_t entries_max, uint32_t **ret, uint32_t *ret_mask)
{
	uint64_t n = 64;

	while (n < entries_max)
		n *= 2;
	*ret = calloc(n, sizeof(**ret));
	if (*ret == NULL)
		return -ERR_NOMEM;
	*ret_mask = (uint32_t)(n - 1);
	return 0;
}

int index_open(uint32_t entries_max, struct index **ret_index)
{
	struct index *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return -ERR_NOMEM;
	x->entries = calloc(entries_max, sizeof(*x->entries));
	if (x->entries == NULL || buckets_make(entries_max, &x->buckets, &x->bucket_mask) < 0) {
		free(x->entries);
		free(x);
		return -ERR_NOMEM;
	}
	x->entries_max = entries_max;
	x->free = x->oldest = x->newest = NIL;
	*ret_index = x;
	return 0;
}

void index_close(struct index **index)
{
	struct index *x = *index;

	*index = NULL;
	if (x == NULL)
		return;
	free(x->entries);
	free(x->buckets);
	free(x);
}

int index_grow(struct index *x, uint32_t entries_max)
{
	struct entry *entries;
	uint32_t *buckets, mask;

	assert(entries_max >= x->entries_max);
	if (buckets_make(entries_max, &buckets, &mask) < 0)
		return -ERR_NOMEM;
	entries = realloc(x->entries, (size_t)entries_max * sizeof(*entries));
	if (entries == NULL) {
		free(buckets);
		return -ERR_NOMEM;
	}
	free(x->buckets);
	x->entries = entries;
	x->buckets = buckets;
	x->bucket_mask = mask;
	x->entries_max = entries_max;
	for (uint32_t i = x->oldest; i != NIL; i = entries[i].newer) { /* X1: older ones first */
		uint32_t b = bucket_of(x, entries[i].key);

		entries[i].next = buckets[b];
		buckets[b] = i + 1;
	}
	return 0;
}

void index_barrier(struct index *x, struct lsn lsn)
{
	assert(lsn.v >= x->barrier && lsn.v % BLOCK_BYTES == 0);
	assert(x->newest == NIL || x->entries[x->newest].lsn < lsn.v); /* X2 */
	x->barrier = lsn.v;
}

uint32_t index_count(const struct index *x)
{
	return x->count;
}

uint32_t index_max(const struct index *x)
{
	return x->entries_max;
}

static uint32_t find(const struct index *x, uint64_t key)
{
	uint32_t n = x->buckets[bucket_of(x, key)];

	while (n != 0 && x->entries[n - 1].key != key)
		n = x->entries[n - 1].next;
	return n == 0 ? NIL : n - 1;
}

static void age_remove(struct index *x, uint32_t i)
{
	struct entry *e = &x->entries[i];

	if (e->older != NIL)
		x->entries[e->older].newer = e->newer;
	else
		x->oldest = e->newer;
	if (e->newer != NIL)
		x->entries[e->newer].older = e->older;
	else
		x->newest = e->older;
}

static void age_push(struct index *x, uint32_t i)
{
	struct entry *e = &x->entries[i];

	assert(x->newest == NIL || x->entries[x->newest].lsn <= e->lsn); /* X2 */
	e->older = x->newest;
	e->newer = NIL;
	if (x->newest != NIL)
		x->entries[x->newest].newer = i;
	else
		x->oldest = i;
	x->newest = i;
}

static uint32_t entry_take(struct index *x)
{
	uint32_t i = x->free;

	if (i != NIL)
		x->free = x->entries[i].next;
	else if (x->used < x->entries_max)
		i = x->used++;
	return i;
}

static void entry_drop(struct index *x, uint32_t i)
{
	struct entry *e = &x->entries[i];
	uint32_t *p = &x->buckets[bucket_of(x, e->key)];

	while (*p != i + 1)
		p = &x->entries[*p - 1].next;
	*p = e->next;
	age_remove(x, i);
	x->grain_count[key_grain(e->key)]--;
	x->count--;
	e->next = x->free;
	x->free = i;
}

static int put(struct index *x, uint64_t key, uint64_t off_kind, uint32_t crc, uint64_t lsn)
{
	uint32_t i = find(x, key);

	if (i != NIL && x->entries[i].lsn >= x->barrier) {
		age_remove(x, i); /* X1 */
	} else {
		uint32_t b = bucket_of(x, key);

		i = entry_take(x);
		if (i == NIL)
			return -ERR_FULL;
		x->entries[i].key = key;
		x->entries[i].next = x->buckets[b];
		x->buckets[b] = i + 1;
		x->count++;
		x->grain_count[key_grain(key)]++;
	}
	x->entries[i].off_kind = off_kind;
	x->entries[i].crc = crc;
	x->entries[i].lsn = lsn;
	age_push(x, i);
	return 0;
}

int index_put_data(struct index *x, uint32_t volume, uint64_t block, uint64_t off, uint32_t crc,
		   struct lsn lsn)
{
	assert(volume < VOLUMES_MAX && block < 1ull << 48 && off < 1ull << OFF_KIND_SHIFT);
	return put(x, key_of(volume, GRAIN_BLOCK, block),
		   off | (uint64_t)INDEX_DATA << OFF_KIND_SHIFT, crc, lsn.v);
}

/* The coarsest grain that begins at block and fits count. */
static enum index_grain grain_at(uint64_t block, uint64_t count, uint32_t *ret_blocks)
{
	if (block % LEAF_BLOCKS == 0 && count >= LEAF_BLOCKS) {
		*ret_blocks = LEAF_BLOCKS;
		return GRAIN_LEAF;
	}
	if (block % CHUNK_BLOCKS == 0 && count >= CHUNK_BLOCKS) {
		*ret_blocks = CHUNK_BLOCKS;
		return GRAIN_CHUNK;
	}
	*ret_blocks = 1;
	return GRAIN_BLOCK;
}

uint64_t index_range_need(uint64_t block, uint64_t count)
{
	uint64_t need = 0;
	uint32_t n;

	for (uint64_t b = block, left = count; left > 0; b += n, left -= n) {
		(void)grain_at(b, left, &n);
		need++;
		if (n == LEAF_BLOCKS) { /* all whole leaves at once */
			uint64_t more = left / LEAF_BLOCKS - 1;

			need += more;
			b += more * LEAF_BLOCKS;
			left -= more * LEAF_BLOCKS;
		}
	}
	return need;
}

int index_put_range(struct index *x, uint32_t volume, uint64_t block, uint64_t count,
		    enum index_kind kind, struct lsn lsn)
{
	uint32_t n;

	assert(kind == INDEX_ZERO || kind == INDEX_DISCARD);
	assert(volume < VOLUMES_MAX && count > 0 && block + count <= 1ull << 48);
	if (index_range_need(block, count) > x->entries_max - x->count)
		return -ERR_FULL;
	for (uint64_t b = block, left = count; left > 0; b += n, left -= n) {
		enum index_grain grain = grain_at(b, left, &n);
		int rc = put(x, key_of(volume, grain, b), (uint64_t)kind << OFF_KIND_SHIFT, 0,
			     lsn.v);

		assert(rc == 0);
	}
	return 0;
}

struct index_hit index_get(const struct index *x, uint32_t volume, uint64_t block)
{
	struct index_hit hit = {.kind = INDEX_NONE};

	for (uint32_t g = GRAIN_BLOCK; g <= GRAIN_LEAF; g++) {
		uint32_t i;
		const struct entry *e;

		if (x->grain_count[g] == 0)
			continue;
		i = find(x, key_of(volume, (enum index_grain)g, block - block % grain_blocks[g]));
		if (i == NIL)
			continue;
		e = &x->entries[i];
		if (hit.kind != INDEX_NONE && e->lsn < hit.lsn.v)
			continue;
		hit.kind = (enum index_kind)(e->off_kind >> OFF_KIND_SHIFT);
		hit.off = e->off_kind & ((1ull << OFF_KIND_SHIFT) - 1);
		hit.crc = e->crc;
		hit.lsn.v = e->lsn;
	}
	return hit;
}

bool index_has_below(const struct index *x, uint32_t volume, uint64_t block, struct lsn lsn)
{
	for (uint32_t g = GRAIN_BLOCK; g <= GRAIN_LEAF; g++) {
		uint64_t key = key_of(volume, (enum index_grain)g, block - block % grain_blocks[g]);
		uint32_t n = x->grain_count[g] == 0 ? 0 : x->buckets[bucket_of(x, key)];

		for (; n != 0; n = x->entries[n - 1].next)
			if (x->entries[n - 1].key == key && x->entries[n - 1].lsn < lsn.v)
				return true;
	}
	return false;
}

/* Entries of the record that entry i begins, and the first entry after it. */
static uint32_t record_entries(const struct index *x, uint32_t i, uint32_t *ret_next)
{
	uint64_t record = RECORD_OF(x->entries[i].lsn);
	uint32_t n = 0;

	for (; i != NIL && RECORD_OF(x->entries[i].lsn) == record; i = x->entries[i].newer)
		n++;
	*ret_next = i;
	return n;
}

uint32_t index_window_need(const struct index *x)
{
	uint32_t next;

	return x->oldest == NIL ? 0 : record_entries(x, x->oldest, &next);
}

static int item_compare(const void *a, const void *b)
{
	const struct index_item *p = a, *q = b;

	if (p->volume != q->volume)
		return p->volume < q->volume ? -1 : 1;
	if (p->block != q->block)
		return p->block < q->block ? -1 : 1;
	return (int)p->grain - (int)q->grain; /* X1: no two of a window are equal */
}

uint32_t index_window(struct index *x, struct lsn upto, struct index_item *ret, uint32_t max,
		      struct lsn *ret_upto)
{
	uint32_t n = 0, i = x->oldest, end = NIL;

	assert(i == NIL || x->entries[i].lsn >= x->barrier || upto.v <= x->barrier);
	*ret_upto = upto;
	while (i != NIL && x->entries[i].lsn < upto.v) {
		uint32_t next, entries = record_entries(x, i, &next);

		if (entries > max - n) {
			ret_upto->v = RECORD_OF(x->entries[i].lsn);
			end = i;
			break;
		}
		n += entries;
		i = end = next;
	}
	n = 0;
	for (i = x->oldest; i != end && i != NIL && x->entries[i].lsn < ret_upto->v;
	     i = x->entries[i].newer) {
		const struct entry *e = &x->entries[i];

		ret[n++] = (struct index_item){
			.volume = (uint32_t)(e->key >> KEY_VOLUME_SHIFT),
			.kind = (uint8_t)(e->off_kind >> OFF_KIND_SHIFT),
			.grain = (uint8_t)key_grain(e->key),
			.block = e->key & ((1ull << KEY_GRAIN_SHIFT) - 1),
			.off = e->off_kind & ((1ull << OFF_KIND_SHIFT) - 1),
			.crc = e->crc,
			.lsn = {e->lsn},
		};
	}
	assert(n <= max);
	if (n > 0)
		qsort(ret, n, sizeof(*ret), item_compare);
	return n;
}

void index_drop_below(struct index *x, struct lsn upto)
{
	while (x->oldest != NIL && x->entries[x->oldest].lsn < upto.v)
		entry_drop(x, x->oldest);
}

void index_drop_volume(struct index *x, uint32_t volume)
{
	uint32_t older;

	for (uint32_t i = x->newest; i != NIL && x->entries[i].lsn >= x->barrier; i = older) {
		older = x->entries[i].older;
		if (x->entries[i].key >> KEY_VOLUME_SHIFT == volume)
			entry_drop(x, i);
	}
}
