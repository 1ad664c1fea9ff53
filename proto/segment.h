/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/segment.h: a journal segment around its records: header, footer entries, trailer; byte by
 * byte in proto/record.md, "Segment".  On disk only.
 *
 * Block 0 is the header; records follow from block 1, contiguous, in order; a sealed segment ends in
 * a footer: the entries of all its records, padded to 4096, and the trailer in the last block.
 */
#ifndef TS_PROTO_SEGMENT_H
#define TS_PROTO_SEGMENT_H

#include "engine/base/attr.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"
#include "proto/record.h"

#define SEGMENT_HEADER_MAGIC 0x31475354u  /* "TSG1" */
#define SEGMENT_TRAILER_MAGIC 0x31465354u /* "TSF1" */
#define SEGMENT_FOOTER_BYTES_MAX (4u << 20)
#define FOOTER_ENTRY_BYTES_MAX \
	(24u + 20u + RECORD_CHUNKS_MAX * 8u + RECORD_LOGICAL_BYTES_MAX - RECORD_FIXED_BYTES)

struct segment_header {
	struct uuid store, group;
	uint64_t seq;	       /* one more than the segment before it */
	uint64_t link;	       /* the number by which root or predecessor name it */
	uint64_t salt;	       /* in the local part of each of its records */
	struct lsn first;      /* LSN of its first record */
	uint64_t chain_before; /* chain of the record that ends at `first` */
	struct lsn durable;    /* durable here when it was written */
	uint32_t next;	       /* segment reserved to follow it */
	uint64_t next_link;
};

void segment_header_encode(uint8_t block[BLOCK_BYTES], const struct segment_header *h);
MUST_CHECK int segment_header_decode(const uint8_t block[BLOCK_BYTES], struct segment_header *ret);

struct segment_trailer {
	uint64_t seq, salt;
	struct lsn first, end; /* of its records: everything before `end` is durable */
	uint64_t end_chain;    /* chain of the last record */
	uint32_t
		entries_bytes; /* before padding; they begin at trailer - round_up(entries_bytes) */
	uint32_t record_count;
	uint64_t entries_crc; /* crc64 of the entries with their padding */
	uint32_t chunk_count; /* named by all of its records */
};

void segment_trailer_encode(uint8_t block[BLOCK_BYTES], const struct segment_trailer *t);
MUST_CHECK int segment_trailer_decode(const uint8_t block[BLOCK_BYTES],
				      struct segment_trailer *ret);

/* Running state of both the writer and the reader of entries. */
struct footer_state {
	struct uuid group;
	struct lsn lsn; /* begin of the next record */
	uint64_t chain;
	struct epoch epoch;
};

/* What an entry says. */
struct footer_entry {
	struct record_view view;
	struct record_chunks chunks;
	uint32_t bytes; /* of the entry */
};

/* Size of the entry of a record that has this view and names so many chunks (an upper bound: with its
 * epoch). */
uint32_t footer_entry_bytes(const struct record_view *view, uint32_t chunks);
/* Append the entry of the record in header; returns its size.  at has room for footer_entry_bytes. */
uint32_t footer_entry_put(uint8_t *at, struct footer_state *s, const uint8_t *header,
			  const struct record_view *view, const struct record_chunks *chunks);
/*
 * Rebuild the logical part of the next record in header (4096 bytes; local part zero) from the entry
 * at `at`; the entries end at `end`.  -ERR_CORRUPT, -ERR_UNSUPPORTED.
 */
MUST_CHECK int footer_entry_get(const uint8_t *at, const uint8_t *end, struct footer_state *s,
				uint8_t header[RECORD_HEADER_BYTES], struct footer_entry *ret);

#endif
