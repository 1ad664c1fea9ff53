/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/repl.h: frames between two sites, byte by byte in proto/repl.md.
 *
 * Every connection of a pair (link, data, bulk) is a sequence of frames: a fixed header, a small
 * head (a message in a fixed little-endian layout, or the logical part of a record), a payload
 * (4 KiB blocks).  The header's checksum covers the header, head_crc the head; blocks carry their
 * own checksums in the head.  Decoders check everything and assert nothing.
 */
#ifndef TS_PROTO_REPL_H
#define TS_PROTO_REPL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"

#define FRAME_MAGIC 0x31465354u /* "TSF1" */
#define FRAME_HEADER_BYTES 72u
#define FRAME_HEAD_BYTES_MAX 32768u
#define FRAME_PAYLOAD_BYTES_MAX (1u << 20)
#define FRAME_TEXT_BYTES_MAX 255u
#define FRAME_EPOCHS_MAX 120u
#define FRAME_BASE_BLOCKS_MAX 256u

enum frame_conn { FRAME_CONN_LINK, FRAME_CONN_DATA, FRAME_CONN_BULK, FRAME_CONN_COUNT };

enum frame_kind {
	FRAME_HELLO = 1,     /* first frame of the connecting side */
	FRAME_HELLO_OK = 2,  /* its answer: same layout */
	FRAME_REFUSE = 3,    /* or this one, in words */
	FRAME_KEEPALIVE = 4, /* nothing else to say */
	FRAME_LINK = 5,	     /* link message (engine/repl/link.h) */

	FRAME_ATTACH = 16,	  /* follower: send me this group */
	FRAME_ATTACH_REFUSE = 17, /* source: not now, in words */
	FRAME_START = 18,	  /* source: the tail from the last common LSN */
	FRAME_FULL = 19,	  /* source: a base as of lsn, and the records from there */
	FRAME_WANT_FULL = 20,	  /* follower: START does not fit */
	FRAME_RECORD = 21,	  /* source: head = logical part, payload = blocks; lsn = commit */
	FRAME_ACK = 22,		  /* follower: what is durable and received */
	FRAME_COMMIT = 23,	  /* source, on link: lsn = commit, head LSN */
	FRAME_FETCH_END = 24,	  /* source: lsn = the end of what it has durable */
	FRAME_STOP = 25,	  /* source: this group session ends, in words */
	FRAME_DETACH = 26,	  /* follower: the same */
	FRAME_COMPARE = 27, /* follower, before its first ACK: send no base, I will ask for it */

	FRAME_BASE = 32,     /* source: blocks of a base */
	FRAME_BASE_ACK = 33, /* follower: bytes taken in */
	FRAME_BASE_END = 34, /* source: all sent; lsn = what covers every block read */

	FRAME_REPAIR_ASK = 35,	/* either side, if the other has the feature: give me this block */
	FRAME_REPAIR_TOLD = 36, /* its answer: one block, or why not */

	FRAME_COMPARE_ASK =
		37, /* follower: what is there?  BASE frames answer a question for blocks, too */
	FRAME_COMPARE_TOLD = 38, /* source: its answer, or (blocks) the end of it */
};

struct frame_header {
	enum frame_kind kind;
	uint16_t flags; /* none are defined: zero */
	uint32_t head_bytes;
	uint32_t payload_bytes;
	uint64_t session; /* of the pair; 0 in REFUSE before there is one */
	struct uuid group;
	uint64_t group_session; /* of the group, made by the follower; 0: no group */
	uint64_t epoch;		/* session epoch of the group */
	struct lsn lsn;		/* by kind */
	uint32_t head_crc;
};

/* Fill out with the header for `head` (head_bytes of it; computes both checksums). */
void frame_header_encode(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h,
			 const void *head);
/* 0; -ERR_PROTOCOL: magic, flags, unknown kind or sizes this kind cannot have; -ERR_CORRUPT. */
MUST_CHECK int frame_header_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *ret);
/* 0; -ERR_CORRUPT when head is not what the header's checksum says. */
MUST_CHECK int frame_head_check(const struct frame_header *h, const void *head);
/* May a frame of this kind come on that connection? */
bool frame_kind_allowed(enum frame_kind kind, enum frame_conn conn);
const char *frame_kind_name(enum frame_kind kind);

/*
 * Messages: X_encode fills `out` (X_BYTES_MAX long) and returns the bytes used; X_decode returns 0
 * or -ERR_PROTOCOL.  Text comes out terminated and printable.
 */

/* Bits of frame_hello.features: what is not set by the other side is not sent to it. */
#define REPL_FEATURE_REPAIR 1ull
#define REPL_FEATURE_COMPARE 2ull /* knows COMPARE and COMPARE_ASK */
#define REPL_FEATURE_VIEWS 256ull /* link messages VIEW and VIEW_ASK */

#define FRAME_HELLO_BYTES 96u
struct frame_hello {
	uint32_t version_min, version_max; /* HELLO_OK: both the version chosen */
	uint64_t features;
	uint32_t site;
	enum frame_conn conn;
	struct uuid store;
	uint64_t incarnation;
	uint64_t session;
	char name[SITE_NAME_BYTES_MAX + 1];
};
uint32_t frame_hello_encode(uint8_t out[FRAME_HELLO_BYTES], const struct frame_hello *m);
MUST_CHECK int frame_hello_decode(const uint8_t *in, uint32_t bytes, struct frame_hello *ret);

/* Used by REFUSE, ATTACH_REFUSE, STOP and DETACH. */
#define FRAME_REFUSE_BYTES_MAX (24u + FRAME_TEXT_BYTES_MAX)
struct frame_refuse {
	uint32_t version_min, version_max; /* REFUSE: what the refusing side speaks; else 0 */
	uint64_t session_seen;		   /* REFUSE: a session must be larger than this; else 0 */
	int32_t rc; /* why, as an error code; a text for people says the same */
	char text[FRAME_TEXT_BYTES_MAX + 1];
};
uint32_t frame_refuse_encode(uint8_t out[FRAME_REFUSE_BYTES_MAX], const struct frame_refuse *m);
MUST_CHECK int frame_refuse_decode(const uint8_t *in, uint32_t bytes, struct frame_refuse *ret);

struct frame_epoch {
	struct epoch epoch;
	struct lsn first;
};
#define FRAME_EPOCH_BYTES 28u

#define FRAME_ATTACH_BYTES_MAX (72u + FRAME_EPOCHS_MAX * FRAME_EPOCH_BYTES)
struct frame_attach {
	uint32_t purpose; /* enum repl_purpose */
	bool known;	  /* there is a replica of the group here */
	uint64_t incarnation;
	struct lsn tail, commit, fold;
	uint64_t tail_chain;
	uint64_t window_bytes; /* most it wants in flight unreceived */
	uint32_t epoch_count;
	struct frame_epoch epochs[FRAME_EPOCHS_MAX]; /* oldest first */
};
uint32_t frame_attach_encode(uint8_t out[FRAME_ATTACH_BYTES_MAX], const struct frame_attach *m);
MUST_CHECK int frame_attach_decode(const uint8_t *in, uint32_t bytes, struct frame_attach *ret);

/* frame_header.lsn of START is the last common LSN. */
#define FRAME_START_BYTES 60u
struct frame_start {
	struct epoch epoch;	 /* of the session */
	uint64_t chain;		 /* at the last common LSN */
	uint64_t common_epoch;	 /* number of the last common epoch, 0: none */
	struct lsn common_first; /* its first LSN: histories are surely equal up to here */
	uint64_t last_forced_epoch;
	struct lsn head; /* the source's tail now */
};
uint32_t frame_start_encode(uint8_t out[FRAME_START_BYTES], const struct frame_start *m);
MUST_CHECK int frame_start_decode(const uint8_t *in, uint32_t bytes, struct frame_start *ret);

struct frame_volume {
	uint32_t slot;
	bool deleted;
	struct uuid uuid;
	uint64_t bytes, used_bytes;
	uint32_t block_bytes;
	char name[NAME_BYTES_MAX + 1];
};
#define FRAME_VOLUME_BYTES 108u

/* frame_header.lsn of FULL is the LSN of the base. */
#define FRAME_FULL_BYTES_MAX \
	(96u + FRAME_EPOCHS_MAX * FRAME_EPOCH_BYTES + VOLUMES_MAX * FRAME_VOLUME_BYTES)
struct frame_full {
	struct epoch epoch;
	uint64_t chain;	   /* at the LSN of the base */
	bool common_known; /* false: the epoch tables do not reach back far enough to tell */
	struct lsn common; /* the last common LSN, J7 */
	uint64_t common_epoch;
	uint64_t last_forced_epoch, content_generation;
	uint64_t base_bytes; /* estimate */
	struct lsn head;
	uint32_t epoch_count, volume_count;
	struct frame_epoch epochs[FRAME_EPOCHS_MAX]; /* those that begin below the base's LSN */
	struct frame_volume volumes[VOLUMES_MAX];
};
_Static_assert(FRAME_FULL_BYTES_MAX <= FRAME_HEAD_BYTES_MAX, "a FULL fits a head");
uint32_t frame_full_encode(uint8_t out[FRAME_FULL_BYTES_MAX], const struct frame_full *m);
MUST_CHECK int frame_full_decode(const uint8_t *in, uint32_t bytes, struct frame_full *ret);

#define FRAME_ACK_BYTES 20u
struct frame_ack {
	struct lsn durable;  /* 0 while staging (QUORUM J8) */
	struct lsn received; /* end of what it has in memory, journal or staging */
	bool staging;
};
uint32_t frame_ack_encode(uint8_t out[FRAME_ACK_BYTES], const struct frame_ack *m);
MUST_CHECK int frame_ack_decode(const uint8_t *in, uint32_t bytes, struct frame_ack *ret);

/* BASE: payload is `count` blocks; crcs are CRC32C of each. */
#define FRAME_BASE_BYTES_MAX (16u + FRAME_BASE_BLOCKS_MAX * 4u)
struct frame_base {
	uint32_t volume, count;
	uint64_t block;
	uint32_t crcs[FRAME_BASE_BLOCKS_MAX];
};
uint32_t frame_base_encode(uint8_t out[FRAME_BASE_BYTES_MAX], const struct frame_base *m);
MUST_CHECK int frame_base_decode(const uint8_t *in, uint32_t bytes, uint32_t payload_bytes,
				 struct frame_base *ret);

/* REPAIR_ASK: a block of the group in the header, as it must be. */
#define FRAME_REPAIR_BYTES 40u
struct frame_repair {
	uint64_t question;
	uint64_t block;
	uint32_t volume;      /* slot */
	uint32_t crc;	      /* CRC32C of the block wanted */
	struct uuid snapshot; /* zero: the live volumes */
};
uint32_t frame_repair_encode(uint8_t out[FRAME_REPAIR_BYTES], const struct frame_repair *m);
MUST_CHECK int frame_repair_decode(const uint8_t *in, uint32_t bytes, struct frame_repair *ret);

/* REPAIR_TOLD: payload is the block when rc is 0, else nothing. */
#define FRAME_REPAIRED_BYTES 12u
struct frame_repaired {
	uint64_t question;
	int32_t rc;
};
uint32_t frame_repaired_encode(uint8_t out[FRAME_REPAIRED_BYTES], const struct frame_repaired *m);
MUST_CHECK int frame_repaired_decode(const uint8_t *in, uint32_t bytes, uint32_t payload_bytes,
				     struct frame_repaired *ret);

/* COMPARE_ASK: a question about the group's content.  frame_header.lsn is 0. */
#define FRAME_COMPARE_ASKS_MAX 40u /* not yet answered, of one group */
#define FRAME_COMPARE_LEVELS_MAX 6u
#define FRAME_COMPARE_CHILDREN 64u
#define FRAME_COMPARE_ASK_BYTES 96u
enum frame_compare_kind {
	COMPARE_PAGE = 1,   /* children of map page `index` of `level` */
	COMPARE_SUMS = 2,   /* checksums of leaf `index` */
	COMPARE_BLOCKS = 3, /* send these blocks of leaf `index` */
	COMPARE_HASH = 4,   /* a strong sum over these blocks of leaf `index` */
	COMPARE_END = 5,    /* nothing more is asked: BASE_END answers */
};
struct frame_compare_ask {
	uint64_t question;
	enum frame_compare_kind kind;
	uint32_t volume, level; /* level 1..6 for PAGE, else 0 */
	uint64_t index;
	struct lsn since; /* PAGE, SUMS: what was written from here on counts as changed */
	uint64_t blocks[LEAF_BLOCKS / 64]; /* BLOCKS, HASH: not empty; else 0 */
};
uint32_t frame_compare_ask_encode(uint8_t out[FRAME_COMPARE_ASK_BYTES],
				  const struct frame_compare_ask *m);
MUST_CHECK int frame_compare_ask_decode(const uint8_t *in, uint32_t bytes,
					struct frame_compare_ask *ret);

#define FRAME_COMPARE_TOLD_BYTES_MAX (16u + 68u + LEAF_BLOCKS * 4u)
struct frame_compare_told {
	uint64_t question;
	enum frame_compare_kind kind; /* never END */
	int32_t rc;		      /* negative: nothing else is told */
	/* PAGE; see replica_page */
	uint64_t present, known, changed;
	uint64_t digests[FRAME_COMPARE_CHILDREN]; /* of those known */
	/* SUMS; see replica_sums */
	uint64_t data[LEAF_BLOCKS / 64];
	uint32_t changed_chunks;
	uint32_t crcs[LEAF_BLOCKS]; /* of those with data */
	/* HASH: CRC64 over the blocks in order.  BLOCKS: how many were sent */
	uint64_t number;
};
uint32_t frame_compare_told_encode(uint8_t out[FRAME_COMPARE_TOLD_BYTES_MAX],
				   const struct frame_compare_told *m);
MUST_CHECK int frame_compare_told_decode(const uint8_t *in, uint32_t bytes,
					 struct frame_compare_told *ret);

/* One number: COMPARE (LSN below which histories are the same; 0: not known), WANT_FULL (nothing: 0), COMMIT (head LSN), BASE_ACK and BASE_END (bytes in all),
 * FETCH_END (commit). */
#define FRAME_NUMBER_BYTES 8u
uint32_t frame_number_encode(uint8_t out[FRAME_NUMBER_BYTES], uint64_t v);
MUST_CHECK int frame_number_decode(const uint8_t *in, uint32_t bytes, uint64_t *ret);

#endif
