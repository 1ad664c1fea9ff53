/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/repair.h: where a store asks for a block that it holds with a wrong checksum, and what
 * it tells of such blocks.  The store knows no peers: whoever does (volume) gives it a `fetch`.
 *
 * A block is known by its group, volume slot and number, and by the checksum that the store keeps
 * away from it.  What comes is used only if it has that checksum.
 */
#ifndef TS_STORE_REPAIR_H
#define TS_STORE_REPAIR_H

#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"
#include "engine/store/store.h"

/* One block to be fetched; borrowed until done.  done.rc: 0 (data is filled), or why not:
 * -ERR_NOT_FOUND (nobody has it), -ERR_TIMEOUT, -ERR_CLOSED.  It fires within a bounded time. */
struct repair_request {
	struct completion done;
	struct uuid group;
	struct uuid snapshot; /* zero: the live volumes */
	uint32_t volume;      /* slot */
	uint32_t crc;	      /* CRC32C the block must have */
	uint64_t block;
	uint8_t *data;	       /* BLOCK_BYTES, 4096 aligned */
	struct list_link link; /* for who carries it out */
};

struct store_repair {
	void (*fetch)(void *ctx,
		      struct repair_request *q); /* starts; never fires before it returns */
	void *ctx;
	struct op *wake; /* woken when there is a note; may be NULL */
};
/* From now on ask there; NULL: nobody can be asked (a bad block is then an error at once).  What was
 * asked before is not taken back: who carries it out ends it. */
void store_repair_set(struct store *s, const struct store_repair *repair);

enum repair_result {
	REPAIR_DONE, /* written again in place, proven by reading it back */
	REPAIR_FAILED, /* nobody had it: reads of it fail; told once per block while it is remembered */
};
struct repair_note {
	enum repair_result result;
	struct uuid group;
	uint32_t volume;
	uint64_t block;
	int rc; /* REPAIR_FAILED: -ERR_CORRUPT or -ERR_IO */
};
#define REPAIR_NOTES_MAX 64u /* kept until taken; more are counted only */
/* The oldest note that was not taken; false: none. */
bool store_repair_note(struct store *s, struct repair_note *ret);

struct store_repair_status {
	uint64_t repaired, failed; /* notes of each kind since the store was opened */
	uint32_t rewrites;	   /* blocks that wait to be written again */
};
void store_repair_status(const struct store *s, struct store_repair_status *ret);

#endif
