/* SPDX-License-Identifier: Apache-2.0 */
/* engine/volume/io.h: the private state of one client operation.  Only the volume room includes it. */
#ifndef TS_VOLUME_IO_H
#define TS_VOLUME_IO_H

#include "engine/volume/group.h"

enum io_phase {
	IO_GATE,     /* wait: earlier overlapping operations */
	IO_EDGE,     /* a partial first or last block: needs a buf */
	IO_MERGE,    /* wait: old content of that block */
	IO_QUEUED,   /* wait: record committed */
	IO_SNAPSHOT, /* of a snapshot: may have to be opened first */
	IO_READING,  /* wait: content */
	IO_LEASE,    /* read done: wait for a lease (R9) */
	IO_END,
};

struct io_state {
	enum io_phase phase;
	int rc;
	struct gate_entry gate;
	uint64_t begin, end; /* blocks, rounded out (TRIM: in) */
	struct buf *edge[2]; /* old content of partial first and last block */
	uint32_t edge_now;   /* 0 first, 1 last, 2 done */
	bool gated, counted;
	struct buf_waiter wait;
	struct replica_read read;
	struct mono_ns began;
	struct volume *v;
};

_Static_assert(sizeof(struct io_state) <= sizeof(((struct volume_io *)0)->private),
	       "the state fits struct volume_io");

static inline struct io_state *io_state(struct volume_io *io)
{
	return (struct io_state *)(void *)io->private;
}

/* Extents of a WRITE, ZERO or TRIM as they go into a record; payload pieces in order. */
#define IO_EXTENTS_MAX 3u
struct io_piece {
	uint32_t kind; /* enum extent_kind */
	uint64_t block;
	uint32_t count;
	struct buf *buf; /* DATA */
	uint8_t *data;
};
uint32_t io_pieces(struct volume_io *io, struct io_piece ret[IO_EXTENTS_MAX]);
uint32_t io_payload_blocks(struct volume_io *io);

#endif
