/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold_batch_state.h: the inside of a batch of fold, shared by fold_batch*.c only.
 */
#ifndef TS_STORE_FOLD_BATCH_STATE_H
#define TS_STORE_FOLD_BATCH_STATE_H

#include "engine/port/clock.h"
#include "engine/port/disk.h"
#include "engine/store/fold_batch.h"
#include "engine/store/index.h"
#include "engine/store/map_edit.h"
#include "engine/store/rewrite.h"
#include "engine/store/store_state.h"

#define BATCH_BLOCKS 1024u
#define BATCH_LEAVES 128u
#define COPY_BLOCKS 512u
#define LOADS 12u
#define REQS 16u

#define BIT_LOAD(i) (1u << (i))
#define BIT_REQ(i) (1u << (LOADS + (i)))
#define BIT_TIMER (1u << 30)
#define BIT_MEND (1u << 29)
#define BITS_REQ (((1u << REQS) - 1) << LOADS)

_Static_assert(LOADS + REQS <= 29, "bits of one op");
_Static_assert(BATCH_BLOCKS >= LEAF_BLOCKS, "one leaf fits a batch");
_Static_assert(BATCH_BLOCKS + COPY_BLOCKS <= UINT16_MAX, "order[]");
_Static_assert(COPY_BLOCKS >= LEAF_CHUNKS * (CHUNK_BLOCKS / 2), "what one leaf may have to copy");

enum batch_phase { BATCH_IDLE, BATCH_GATHER, BATCH_MOVE, BATCH_COPY, BATCH_WRITE };

struct batch_leaf {
	struct map *map;
	uint64_t leaf_no;
	struct leaf *leaf; /* pinned; NULL: a hole that stays one */
	bool has_data, ready, loading;
	uint32_t adopted;	    /* FB7, one bit per chunk */
	uint32_t begin;		    /* its first item */
	uint32_t wins[LEAF_BLOCKS]; /* index of the winning item plus 1; 0: untouched */
};

struct batch_block {
	uint64_t from; /* byte offset in the journal; of a copied one, in home */
	uint64_t to;   /* in home */
	uint32_t crc;
	uint32_t volume;
	uint16_t leaf;	/* index in leaves */
	uint16_t block; /* in the leaf */
	bool zero;	/* FB6 */
};

/* An entry of a leaf that gets data. */
struct batch_entry {
	struct leaf_plan plan;
	uint16_t leaf;
	uint16_t chunk; /* in the leaf */
};

struct fold_batch {
	struct store *s;
	struct op op;
	enum batch_phase phase;
	struct completion *done;
	int rc;

	struct replica *r;
	bool staging;
	struct map *const *maps; /* by slot; NULL: the replica's */
	const struct index_item *items;
	uint32_t item_count, at; /* next item to gather */

	struct batch_leaf leaves[BATCH_LEAVES];
	uint32_t leaf_count, leaf_max, leaves_ready;
	/* Copied blocks are those from BATCH_BLOCKS on. */
	struct batch_block blocks[BATCH_BLOCKS + COPY_BLOCKS];
	uint32_t block_count, copy_count;
	struct batch_entry entries[BATCH_LEAVES * LEAF_CHUNKS];
	uint32_t entry_count;
	uint16_t order[BATCH_BLOCKS + COPY_BLOCKS]; /* of blocks, by the place read or written */
	uint32_t order_count, next;		    /* next in order: not yet submitted */

	struct leaf_load loads[LOADS];
	uint16_t load_leaf[LOADS];
	bool load_used[LOADS];
	struct disk_req reqs[REQS];
	struct iovec iov[REQS][DISK_IOV_MAX];
	struct timer timer;
	struct mend mend;
	uint32_t verified; /* blocks */
	uint8_t *data;	   /* of blocks[] */
	uint8_t *scratch;  /* what lies between payloads */
};

/* --- fold_batch_io.c --- */

void batch_order_clear(struct fold_batch *b);
/* These blocks are to be read or written. */
void batch_order_add(struct fold_batch *b, uint32_t first, uint32_t count);
/* Sorted by where they go, or come from. */
void batch_order_by(struct fold_batch *b, bool home);
/* As many requests as there is room for, of what is next in order. */
void batch_submit(struct fold_batch *b, enum disk_kind kind);
/* First failure among the requests that have ended. */
int batch_reqs_rc(struct fold_batch *b);

#endif
