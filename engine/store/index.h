/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/index.h: where the committed, not yet folded content of a replica lies in its
 * journal.  In memory only; bounded; rebuilt from footers at open.
 *
 * Entries at three grains: single blocks (DATA, ZERO, DISCARD), whole chunks and whole leaves (ZERO
 * and DISCARD only); the entry with the newest LSN wins (a block lookup probes the grains in use).
 *
 * The low 12 bits of an entry's lsn hold the index of its extent in the record, so that of two
 * overlapping extents of one record the later wins; lsn & ~4095 is the begin of the record.
 * An entry of a coarse grain does not remove finer, older ones inside it: whoever takes a window
 * lets the higher lsn win where entries overlap.
 */
#ifndef TS_STORE_INDEX_H
#define TS_STORE_INDEX_H

#include "engine/base/attr.h"
#include "engine/base/types.h"

struct index;

enum index_kind { INDEX_NONE, INDEX_DATA, INDEX_ZERO, INDEX_DISCARD };
enum index_grain { GRAIN_BLOCK, GRAIN_CHUNK, GRAIN_LEAF };

struct index_hit {
	enum index_kind kind;
	uint32_t crc;	/* DATA: CRC32C of the block */
	uint64_t off;	/* DATA: byte offset on disk of the block's payload in the journal */
	struct lsn lsn; /* begin of the record */
};

MUST_CHECK int index_open(uint32_t entries_max, struct index **ret_index);
/* Allow more entries (a single record that needs more than the bound, recovery). -ERR_NOMEM. */
MUST_CHECK int index_grow(struct index *x, uint32_t entries_max);
void index_close(struct index **index);

/* Insert; replaces an older entry of the same key.  -ERR_FULL: at the bound. */
MUST_CHECK int index_put_data(struct index *x, uint32_t volume, uint64_t block, uint64_t off,
			      uint32_t crc, struct lsn lsn);
/* ZERO or DISCARD over any range; needs at most 1024 + blocks/512 entries: -ERR_FULL has no effect. */
MUST_CHECK int index_put_range(struct index *x, uint32_t volume, uint64_t block, uint64_t count,
			       enum index_kind kind, struct lsn lsn);
/* Entries that index_put_range of this range may need. */
uint64_t index_range_need(uint64_t block, uint64_t count);
/* A snapshot is to see everything below lsn (a record boundary above every entry there is): those entries
 * stay beside newer ones of the same key until they are dropped; lookups give the newest. */
void index_barrier(struct index *x, struct lsn lsn);
struct index_hit index_get(const struct index *x, uint32_t volume, uint64_t block);
/* Has any record below lsn the block?  Where a newer one replaced it on the same side of a barrier: no. */
bool index_has_below(const struct index *x, uint32_t volume, uint64_t block, struct lsn lsn);

uint32_t index_count(const struct index *x);
uint32_t index_max(const struct index *x);

/*
 * One fold window: every entry with lsn < upto, at most `max`, oldest LSN first choice (whole
 * records: the window ends at a record boundary, returned in *ret_upto), sorted by (volume, block,
 * grain).  upto is not beyond a barrier that entries lie below.  Entries stay in the index until index_drop_below.
 */
struct index_item {
	uint32_t volume;
	uint8_t kind;  /* enum index_kind */
	uint8_t grain; /* enum index_grain */
	uint64_t block;
	uint64_t off;
	uint32_t crc;
	struct lsn lsn;
};
uint32_t index_window(struct index *x, struct lsn upto, struct index_item *ret, uint32_t max,
		      struct lsn *ret_upto);
/* Entries of the oldest record: `max` of a window must not be below it (a record of many large
 * discards may need tens of thousands), else index_window gives 0. */
uint32_t index_window_need(const struct index *x);
/* The window is in home and its checkpoint durable: forget every entry with lsn < upto. */
void index_drop_below(struct index *x, struct lsn upto);
/* Entries of a volume from the newest barrier on: those below it belong to a snapshot, too. */
void index_drop_volume(struct index *x, uint32_t volume);

#endif
