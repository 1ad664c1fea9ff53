/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/quorum.h: bytes between quorum members, and of a member's durable file.  Layouts with their
 * validity rules: proto/quorum.md.  Everything decoded comes from outside and is only ever refused
 * with -ERR_CORRUPT or -ERR_VERSION, never asserted.
 */
#ifndef TS_PROTO_QUORUM_H
#define TS_PROTO_QUORUM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"

#define QUORUM_VERSION_MIN 1u
#define QUORUM_VERSION_MAX 1u
#define QUORUM_PEERS_MAX 7u
#define QUORUM_ENTRIES_MAX 64u /* in one message and in one batch of the log */
#define QUORUM_ENTRY_BYTES_MAX 32768u
#define QUORUM_PAYLOAD_BYTES_MAX (1u << 20)
#define QUORUM_NAME_BYTES (SITE_NAME_BYTES_MAX + 1u)

/* ---- frames ---- */
#define QUORUM_FRAME_BYTES 48u

enum quorum_frame_type {
	QUORUM_HELLO = 1,
	QUORUM_REFUSE = 2, /* payload: a sentence; the sender closes */
	QUORUM_PING = 3,
	QUORUM_PROPOSE = 4, /* payload: a batch of commands (fsm_batch_encode) */
	QUORUM_RAFT = 5,
};

struct quorum_frame {
	uint32_t payload_bytes;
	uint32_t payload_crc;
	uint16_t type;
	uint32_t from; /* raft id */
	struct uuid cluster;
	uint64_t session; /* 0 in HELLO and REFUSE */
};

void quorum_frame_encode(const struct quorum_frame *f, uint8_t ret[QUORUM_FRAME_BYTES]);
MUST_CHECK int quorum_frame_decode(const uint8_t data[QUORUM_FRAME_BYTES],
				   struct quorum_frame *ret);

/* ---- hello, ping ---- */
#define QUORUM_HELLO_BYTES 128u
#define QUORUM_PING_BYTES 16u

struct quorum_hello {
	uint16_t version_min, version_max;
	uint32_t features; /* none defined yet */
	uint32_t id;
	uint32_t fsm_version; /* newest commands it can apply */
	struct uuid disk;     /* of its durable file */
	uint64_t lsn, seq;    /* durable batches and metadata writes so far: never go back */
	uint64_t nonce;
	uint64_t members_hash; /* of the configured names in order */
	bool empty;	       /* has no entry yet: is forming */
	char name[QUORUM_NAME_BYTES];
};

struct quorum_ping {
	uint64_t lsn, seq;
};

void quorum_hello_encode(const struct quorum_hello *h, uint8_t ret[QUORUM_HELLO_BYTES]);
MUST_CHECK int quorum_hello_decode(const void *data, uint32_t bytes, struct quorum_hello *ret);
void quorum_ping_encode(const struct quorum_ping *p, uint8_t ret[QUORUM_PING_BYTES]);
MUST_CHECK int quorum_ping_decode(const void *data, uint32_t bytes, struct quorum_ping *ret);

/* ---- the six raft messages ---- */
enum quorum_raft_type {
	QUORUM_APPEND = 1,
	QUORUM_APPEND_RESULT = 2,
	QUORUM_VOTE = 3,
	QUORUM_VOTE_RESULT = 4,
	QUORUM_INSTALL = 5,
	QUORUM_TIMEOUT_NOW = 6,
};

enum quorum_entry_type { QUORUM_COMMAND = 1, QUORUM_BARRIER = 2, QUORUM_CHANGE = 3 };

struct quorum_entry {
	uint64_t term;
	uint8_t type; /* enum quorum_entry_type */
	uint32_t bytes;
	const uint8_t *data; /* borrowed */
};

/* Fields that a type does not use are 0. */
struct quorum_raft {
	uint8_t type;
	uint8_t version; /* of the message, as the raft library counts */
	bool disrupt, pre_vote, granted;
	uint16_t features, capacity;
	uint64_t term;
	uint64_t candidate;
	uint64_t index;	     /* APPEND: prev; VOTE, TIMEOUT_NOW, APPEND_RESULT, INSTALL: last */
	uint64_t index_term; /* of `index` */
	uint64_t commit;     /* APPEND */
	uint64_t rejected;   /* APPEND_RESULT */
	uint64_t conf_index; /* INSTALL */
	uint32_t entry_count;
	struct quorum_entry entries[QUORUM_ENTRIES_MAX];
	uint32_t conf_bytes, data_bytes; /* INSTALL */
	const uint8_t *conf, *data;	 /* borrowed */
};

uint32_t quorum_raft_bytes(const struct quorum_raft *m); /* size of its encoding */
MUST_CHECK int quorum_raft_encode(const struct quorum_raft *m, void *data,
				  uint32_t bytes); /* size or -ERR_TOO_BIG */
/* ret points into data. */
MUST_CHECK int quorum_raft_decode(const void *data, uint32_t bytes, struct quorum_raft *ret);

/* ---- the durable file (8 MiB) ---- */
#define QUORUM_FILE_BYTES (8u << 20)
#define QUORUM_META_OFF(slot) ((slot) == 0 ? 0ull : (uint64_t)QUORUM_FILE_BYTES - BLOCK_BYTES)
#define QUORUM_SNAPSHOT_OFF(slot) ((slot) == 0 ? 1ull << 20 : 2ull << 20)
#define QUORUM_SNAPSHOT_SLOT_BYTES (1u << 20) /* one header block, then data */
#define QUORUM_LOG_OFF (3ull << 20)
#define QUORUM_LOG_BLOCKS ((QUORUM_FILE_BYTES - (3u << 20)) / BLOCK_BYTES - 1u)

struct quorum_position {
	uint64_t lsn, seq;
};

struct quorum_meta {
	uint64_t seq; /* +1 at each write */
	struct uuid disk;
	struct uuid cluster; /* nil: not formed */
	uint64_t term, vote;
	uint64_t generation;
	struct quorum_position peers[QUORUM_PEERS_MAX]; /* last told by raft id 1.. */
};

struct quorum_snapshot {
	uint64_t seq;
	struct uuid disk;
	uint64_t index, term, conf_index;
	uint32_t conf_bytes,
		data_bytes;  /* conf first, then data, from the block after the header */
	uint32_t head_block; /* of the log: where replay starts */
	uint64_t head_lsn;   /* of the batch there */
	uint64_t lsn;	     /* last batch durable when the header was written */
	uint32_t payload_crc;
};

struct quorum_batch {
	uint64_t lsn, first_index;
	uint32_t count;
	uint32_t bytes; /* of all, header included */
	struct uuid disk;
	/* a crc32c covers all `bytes` but its own four */
};
#define QUORUM_BATCH_HEAD_BYTES 64u
#define QUORUM_ENTRY_HEAD_BYTES 16u

void quorum_meta_encode(const struct quorum_meta *m, uint8_t ret[BLOCK_BYTES]);
MUST_CHECK int quorum_meta_decode(const uint8_t data[BLOCK_BYTES], struct quorum_meta *ret);
void quorum_snapshot_encode(const struct quorum_snapshot *s, uint8_t ret[BLOCK_BYTES]);
MUST_CHECK int quorum_snapshot_decode(const uint8_t data[BLOCK_BYTES], struct quorum_snapshot *ret);

uint32_t quorum_batch_bytes(const struct quorum_entry *entries, uint32_t count);
/* data has at least quorum_batch_bytes rounded up to 4096; the rest of the last block is zeroed. */
void quorum_batch_encode(const struct quorum_batch *b, const struct quorum_entry *entries,
			 void *data);
/* The header alone (no crc): how long the batch claims to be. */
MUST_CHECK int quorum_batch_peek(const uint8_t data[BLOCK_BYTES], struct quorum_batch *ret);
/* The whole batch of ret->bytes; entries point into data. */
MUST_CHECK int quorum_batch_decode(const void *data, uint32_t bytes, struct quorum_batch *ret,
				   struct quorum_entry entries[QUORUM_ENTRIES_MAX]);

#endif
