/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/record.h: the journal record, byte by byte in proto/record.md.  The same header is on disk
 * and on the wire: a logical part (chained, sent, equal at every site) and, on disk only, a local
 * part in the last 64 bytes of the 4 KiB header.
 *
 * One record carries up to 96 extents and 256 payload blocks: writes that arrive while the journal
 * is busy share the next record.  LSN advances by 4096 and the payload, whatever the placement.
 */
#ifndef TS_PROTO_RECORD_H
#define TS_PROTO_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"

#define RECORD_MAGIC 0x31525354u       /* "TSR1" */
#define RECORD_LOCAL_MAGIC 0x314c5354u /* "TSL1" */
#define RECORD_HEADER_BYTES 4096u
#define RECORD_LOCAL_BYTES 64u
#define RECORD_LOGICAL_BYTES_MAX (RECORD_HEADER_BYTES - RECORD_LOCAL_BYTES)
#define RECORD_FIXED_BYTES 128u
#define RECORD_EXTENT_BYTES 24u
#define RECORD_EXTENTS_MAX 96u
#define RECORD_PAYLOAD_BLOCKS_MAX 256u /* 1 MiB */
#define RECORD_BODY_BYTES_MAX 2048u
#define RECORD_CHUNKS_MAX 16u /* named by one record: whole chunks of its payload */

_Static_assert(RECORD_FIXED_BYTES + RECORD_EXTENTS_MAX * RECORD_EXTENT_BYTES +
			       RECORD_PAYLOAD_BLOCKS_MAX * 4 <=
		       RECORD_LOGICAL_BYTES_MAX,
	       "a full record fits its header");
_Static_assert(RECORD_FIXED_BYTES + RECORD_EXTENTS_MAX * RECORD_EXTENT_BYTES +
			       RECORD_PAYLOAD_BLOCKS_MAX * 4 + RECORD_CHUNKS_MAX * 8 <=
		       RECORD_LOGICAL_BYTES_MAX,
	       "and the chunks it names fit between its two parts");

/* Data records carry extents; the others carry `body` (see proto/record.md). */
enum record_type {
	RECORD_WRITE = 1,  /* extents of kind DATA, ZERO and DISCARD, mixed */
	RECORD_EPOCH = 2,  /* body: struct record_epoch */
	RECORD_VOLUME = 3, /* body: struct record_volume */
	RECORD_NOTE = 4,   /* no effect: carries commit_lsn when idle */
	RECORD_SNAP = 5,   /* bodies of these three: proto/record_snap.h */
	RECORD_RESTORE = 6,
	RECORD_CLONE = 7,
	/* refused until their feature bit is known: */
	RECORD_DELTA_BEGIN = 8,
	RECORD_DELTA_COMMIT = 9,
	RECORD_PAD = 10, /* local only, takes no LSN */
};

enum extent_kind { EXTENT_DATA = 0, EXTENT_ZERO = 1, EXTENT_DISCARD = 2 };
/* Kinds 3 and up are refused until their feature bit is known. */

struct record_extent {
	uint32_t volume;	/* slot */
	uint32_t kind;		/* enum extent_kind */
	uint64_t block;		/* first 4 KiB block in the volume */
	uint32_t count;		/* blocks, 1.. ; DATA at most 256, others at most 2^24 (64 GiB) */
	uint32_t payload_block; /* DATA: index of its first block in the payload; else 0 */
};

enum record_volume_op {
	RECORD_VOLUME_CREATE = 1,
	RECORD_VOLUME_RESIZE = 2,
	RECORD_VOLUME_DELETE = 3
};

struct record_volume {
	uint32_t op;
	uint32_t slot;
	struct uuid uuid;
	uint64_t bytes;	      /* size, a multiple of 512 */
	uint32_t block_bytes; /* logical block size shown to clients: 512 or 4096 */
	char name[NAME_BYTES_MAX + 1];
};

/* First record of a reign (QUORUM J1). */
struct record_epoch {
	uint64_t last_forced_epoch; /* 0: none */
	uint64_t content_generation;
};

/* A decoded logical part.  extents and crcs point into the header given to the decoder. */
struct record_view {
	enum record_type type;
	struct uuid group;
	struct lsn begin, end;
	struct epoch epoch;
	uint64_t prev_chain; /* chain of the record before */
	uint64_t chain;	     /* this record's: crc64 of its logical part */
	struct lsn commit;   /* commit LSN known when it was written */
	struct wall_ns wall;
	uint32_t logical_bytes;
	uint32_t extent_count;
	uint32_t payload_blocks;
	uint32_t body_bytes;
};

/* Everything an encoder needs; chain comes out. */
struct record_spec {
	enum record_type type;
	struct uuid group;
	struct lsn begin;
	struct epoch epoch;
	uint64_t prev_chain;
	struct lsn commit;
	struct wall_ns wall;
	const struct record_extent *extents;
	uint32_t extent_count;
	const uint32_t *crcs; /* CRC32C per payload block */
	uint32_t payload_blocks;
	const void *body;
	uint32_t body_bytes;
};

/* Where the whole chunks of a record's payload lie when they are not in the journal, in payload order
 * (record_place.h). */
struct record_chunks {
	uint32_t count; /* 0: all of the payload follows the header */
	uint64_t at[RECORD_CHUNKS_MAX];
};

/* Local part: where and under which guarantees this site wrote it. */
struct record_local {
	uint64_t segment_seq;	/* sequence of the journal segment it lies in */
	uint64_t segment_salt;	/* random number of that segment's header: no older record has it */
	uint32_t segment_block; /* block index in the segment */
	struct lsn durable;	/* newest LSN this site knew durable here when it wrote this */
	struct record_chunks chunks;
};

/* Encode into a 4096-byte header: logical part, zero fill; the local part is left zero. */
void record_encode(uint8_t *header, const struct record_spec *spec, uint64_t *ret_chain);
void record_encode_local(uint8_t *header, const struct record_local *local);

/*
 * Validate and decode the logical part in `bytes` bytes of header (128..4096).
 * Checks everything that can be checked without history: magic, crc, bounds, kinds, extents within
 * 2^48 blocks, payload indices disjoint and complete.  Nothing is asserted.
 * -ERR_CORRUPT: not a valid record; -ERR_UNSUPPORTED: valid, of a type or kind not known here.
 */
MUST_CHECK int record_decode(const uint8_t *header, uint32_t bytes, struct record_view *ret_view);
/* 0, or -ERR_CORRUPT when there is no valid local part that matches the logical part.  Whether its
 * chunks are those of the record is asked with record_chunks_fit. */
MUST_CHECK int record_decode_local(const uint8_t *header, struct record_local *ret_local);

/* i < extent_count / payload_blocks of a decoded header. */
struct record_extent record_extent_at(const uint8_t *header, const struct record_view *view,
				      uint32_t i);
uint32_t record_crc_at(const uint8_t *header, const struct record_view *view, uint32_t i);
/* [A-Za-z0-9][A-Za-z0-9._-]{0,62}, the rest of the field zero. */
bool record_name_is_valid(const char name[NAME_BYTES_MAX + 1]);
const uint8_t *record_body(const uint8_t *header, const struct record_view *view);

MUST_CHECK int record_volume_decode(const uint8_t *body, uint32_t bytes, struct record_volume *ret);
uint32_t record_volume_encode(const struct record_volume *v, uint8_t body[RECORD_BODY_BYTES_MAX]);
MUST_CHECK int record_epoch_decode(const uint8_t *body, uint32_t bytes, struct record_epoch *ret);
uint32_t record_epoch_encode(const struct record_epoch *e, uint8_t body[RECORD_BODY_BYTES_MAX]);

#endif
