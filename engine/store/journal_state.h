/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_state.h: the inside of a journal, shared by journal.c (append),
 * journal_write.c (disk writes), journal_recover.c and journal_queue.c only.
 */
#ifndef TS_STORE_JOURNAL_STATE_H
#define TS_STORE_JOURNAL_STATE_H

#include "engine/port/disk.h"
#include "engine/store/journal.h"
#include "engine/store/journal_chunks.h"
#include "engine/store/stall.h"
#include "proto/record_place.h"
#include "proto/segment.h"

#define JOURNAL_WRITES 2u /* in flight */
#define JOURNAL_PIECES 4u /* of one write: it leaves out payload that lies in chunks */
#define JOURNAL_WRITE_BYTES_MAX (2u << 20)
#define JOURNAL_WRITE_SPAN_MAX (7u << 19)	  /* of the segment, with what is left out */
#define JOURNAL_CONTROL_RESERVE_BYTES (64u << 10) /* at a segment's end, for control records */
#define JOURNAL_GUARANTEED_SEGMENTS 3u

/* What the journal's op waits for. */
#define JOURNAL_WAIT_PIECE(w, i) (1u << ((w)*JOURNAL_PIECES + (i)))
#define JOURNAL_WAIT_WRITE(w) (((1u << JOURNAL_PIECES) - 1) << ((w)*JOURNAL_PIECES))
#define JOURNAL_WAIT_FOOTER(i) (1u << (JOURNAL_WRITES * JOURNAL_PIECES + (i)))
#define JOURNAL_WAIT_CHUNK(i) (1u << (JOURNAL_WRITES * JOURNAL_PIECES + 2 + (i)))

_Static_assert(JOURNAL_WRITES *JOURNAL_PIECES + 2 + JOURNAL_CHUNK_WRITES <= 32, "bits of one op");
_Static_assert(RECORD_IOV_MAX + 1 + JOURNAL_PIECES <= DISK_IOV_MAX,
	       "a header and a record fit one write");
_Static_assert(RECORD_HEADER_BYTES + (RECORD_PAYLOAD_BLOCKS_MAX + 1) * BLOCK_BYTES <=
		       JOURNAL_WRITE_BYTES_MAX,
	       "by their bytes, too");

/* One segment of the chain. */
struct jsegment {
	uint32_t id;
	uint32_t next; /* its header names it */
	uint64_t seq, salt, link, next_link;
	uint64_t first;	   /* LSN at its block 1 */
	uint64_t low, end; /* [low, end) of its records survive; end grows while it is the tail */
	uint64_t chain_before; /* chain before `first` */
	bool alone;	       /* its header is written by itself before any record (after a cut) */
	uint64_t named_end;    /* of the ring of names: what its records name ends here */
};

/* A record that is not yet both durable and committed. */
struct jpending {
	struct record *rec;	 /* NULL: found by recovery */
	uint8_t *header;	 /* then a copy of its logical part */
	struct completion *done; /* NULL: nobody waits */
	struct record_view view;
	uint64_t off;
	uint64_t segment; /* number of its segment, counted as in journal.segment_tail */
	struct record_chunks chunks;
	uint32_t chunks_left; /* not yet durable */
};

enum jfooter_state { FOOTER_FREE, FOOTER_FILLING, FOOTER_SEALED, FOOTER_WRITING };

struct jfooter {
	enum jfooter_state state;
	uint8_t *data;
	uint32_t bytes, count, chunks;
	struct footer_state running;
	struct jsegment segment; /* as of sealing */
	struct disk_req req;
};

struct jwrite {
	struct disk_req reqs[JOURNAL_PIECES];
	uint32_t piece_count;
	struct iovec iov[DISK_IOV_MAX]; /* of all pieces */
	uint32_t iov_count;
	uint64_t begin;	 /* on the disk, of the first piece */
	uint64_t bytes;	 /* of all pieces */
	uint8_t *header; /* 4 KiB for a segment header */
	bool busy;
	bool is_header_alone;
	uint64_t upto; /* queue position after its last record */
};

struct recovery;

struct journal {
	struct op op;
	struct journal_opts o;
	uint64_t segment_bytes;
	uint32_t footer_max;
	bool failed, hole;

	/* segments[n & mask] for n in [segment_head, segment_tail) */
	struct jsegment *segments;
	uint64_t segment_mask, segment_head, segment_tail;
	bool tail_open; /* the last one takes records; else the next append opens the reserved one */
	bool control_only; /* J8: the last one was opened with a segment beyond the share */
	bool fresh;	   /* never written: the first segment's header goes with its records */
	uint32_t next_id;
	uint64_t next_seq, next_link;
	uint64_t recover_tail_seq; /* tail_seq of the root it was made from */
	uint64_t used,
		footer_used; /* of the open segment: bytes with header, bytes of footer entries */

	uint64_t tail, tail_chain, durable;

	/* queue[n & mask]: head <= commit_at, durable_at <= submit_at <= queue_tail */
	struct jpending *queue;
	uint64_t queue_mask, head, commit_at, durable_at, submit_at, queue_tail;

	/* disk writes */
	struct jwrite writes[JOURNAL_WRITES];
	uint32_t write_first, write_count; /* in order of submission */
	uint64_t submit_segment;	   /* the segment being written */
	bool header_written;		   /* its header was submitted */
	bool header_waiting;		   /* its header is in flight alone: nothing passes it */

	/* large writes by reference */
	struct jnames names;
	struct jchunk_write chunk_writes[JOURNAL_CHUNK_WRITES];
	uint64_t
		chunk_at; /* queue position: everything before it has its chunks written or in flight */
	uint32_t chunk_next; /* of the record there */

	struct jfooter footers[2];
	uint32_t footer_now;
	struct stall stall;
	uint64_t writes_ended; /* footers and chunks, too */
	struct completion *cut_done;
	struct recovery *recovery; /* while it runs */
};

static inline struct jsegment *journal_segment(const struct journal *j, uint64_t n)
{
	return &j->segments[n & j->segment_mask];
}

static inline struct jpending *journal_pending(const struct journal *j, uint64_t n)
{
	return &j->queue[n & j->queue_mask];
}

/* journal.c */
void journal_segment_append(struct journal *j, const struct jsegment *s);
/* journal_queue.c */
void journal_durable_move(struct journal *j, uint64_t upto);
/* journal_recover.c */
void journal_recovery_unqueue(struct journal *j);
void journal_recovery_free(struct journal *j);
/* journal_write.c */
void journal_step(struct op *op);

#endif
