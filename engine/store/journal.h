/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal.h: one replica's journal: append, recovery, reading back, trimming.
 *
 * Segments are chained: the header of each names the next one (reserved beforehand), so recovery
 * follows them from the oldest one named in the checkpoint without any table being written per
 * segment.  A sealed segment ends in a footer with every record's {lsn, chain, position, extents,
 * crcs, chunks}; unsealed ones are scanned record by record.
 *
 * Large writes go by reference (journal_chunks.c): the record names fresh chunks of home that hold its
 * whole chunks, and its payload area is left as it is.
 */
#ifndef TS_STORE_JOURNAL_H
#define TS_STORE_JOURNAL_H

#include "engine/base/op.h"
#include "engine/store/record.h"
#include "engine/store/space.h"
#include "proto/record_place.h"

struct journal;
struct store;
struct disk;
struct env;

/* What the checkpoint keeps of a journal (encoded by layout.h into the group table). */
struct journal_root {
	uint32_t segment; /* oldest needed segment; SEGMENT_NONE: empty, nothing was ever written */
	uint64_t segment_seq;  /* its sequence */
	struct lsn trim;       /* begin of the first record in it */
	uint64_t trim_chain;   /* chain before that record */
	uint64_t segment_link; /* the number its header must carry to be the one meant here */
	uint64_t tail_seq;     /* sequence of the newest segment opened when this root was made */
};

/* Where a record lies. */
struct journal_place {
	uint64_t off; /* byte offset on disk of its header; payload follows, contiguous */
	struct record_chunks chunks; /* but for what lies in these (record_block_off) */
};

/* Called during recovery for every surviving record in order (control plane; not async): lets the
 * replica rebuild epochs, commit, pending records, and the index.  header is valid during the call;
 * it holds the whole logical part (from the footer or the record itself).  Negative ends recovery. */
typedef int journal_recover_fn(void *ctx, const struct record_view *view, const uint8_t *header,
			       const struct journal_place *place);

struct journal_opts {
	struct store *s; /* for store_fail */
	struct env *env;
	struct disk *disk;
	struct space *space;
	struct uuid store, group;
	uint32_t records_max; /* appended and not yet both durable and committed */
	uint32_t mutant;
	struct op *notify; /* woken when durable moved or nothing is in flight any more */
};

/* A new journal whose history begins at `begin` after a record with `chain`; reserves its first
 * segment.  -ERR_NOMEM, -ERR_FULL. */
MUST_CHECK int journal_create(const struct journal_opts *opts, struct lsn begin, uint64_t chain,
			      struct journal **ret);
/* The journal of a checkpointed root; journal_recover next. */
MUST_CHECK int journal_from_root(const struct journal_opts *opts, const struct journal_root *root,
				 struct journal **ret);
void journal_free(struct journal **j); /* nothing in flight; gives records back */
void journal_abandon(
	struct journal **j); /* after a crash: bufs, ready queue and requests are gone */
/* Gives every segment back to space (a deleted replica): reusable after the next checkpoint. */
void journal_give_all(struct journal *j);

struct journal_recovery_result {
	bool has_hole;	  /* tail is the hole's begin; nothing may be appended */
	struct lsn known; /* newest LSN known durable */
	uint64_t read_bytes;
};
/* Find the surviving records: fn is told each in order.  durable_known: of the root; records below
 * `fold` are not needed.  done: 0, -ERR_IO, -ERR_CORRUPT, -ERR_NOMEM or what fn answered. */
void journal_recover(struct journal *j, struct lsn fold, struct lsn durable_known,
		     journal_recover_fn *fn, void *ctx, struct journal_recovery_result *ret_result,
		     struct completion *done);

/* replica_append's contract.  With a hole -ERR_CORRUPT. */
MUST_CHECK int journal_append(struct journal *j, struct record *rec, struct completion *done);
/* replica_cut's contract: lsn is a boundary in [oldest uncommitted, tail]; nothing in flight. */
void journal_cut(struct journal *j, struct lsn lsn, uint64_t chain, struct completion *done);

struct lsn journal_tail(const struct journal *j);
uint64_t journal_tail_chain(const struct journal *j);
struct lsn journal_durable(const struct journal *j);
struct lsn journal_trim(const struct journal *j);
uint64_t journal_used_bytes(const struct journal *j);
bool journal_is_busy(const struct journal *j); /* a write is in flight or waits */
bool journal_has_hole(const struct journal *j);
void journal_store_failed(struct journal *j);
/* How many looks in a row nothing in flight has ended (stall.h). */
uint32_t journal_stalled(struct journal *j);

/* Uncommitted records: a queue beside the durable one.  The oldest (NULL: none) with its place. */
struct journal_uncommitted {
	struct record_view view;
	const uint8_t *header;
	struct journal_place place;
};
bool journal_uncommitted_first(struct journal *j, struct journal_uncommitted *ret);
void journal_committed_first(struct journal *j); /* it is committed: forget it when durable, too */
/* Recovery found this record beyond commit: keep its header until it is committed. */
MUST_CHECK int journal_keep_uncommitted(struct journal *j, const struct record_view *view,
					const uint8_t *header, const struct journal_place *place);
/* Chain before the uncommitted (or in memory) record that begins at lsn. */
bool journal_chain_in_memory(struct journal *j, struct lsn lsn, uint64_t *ret_chain);
/* The record that begins at lsn if it is still in memory with its payload; NULL. Borrowed. */
struct record *journal_record_in_memory(struct journal *j, struct lsn lsn);

/* Segments by number, [*ret_begin, *ret_end); the LSN of the first record of one of them, or where it will be. */
void journal_segments(const struct journal *j, uint64_t *ret_begin, uint64_t *ret_end);
struct lsn journal_segment_low(const struct journal *j, uint64_t n);

/* Where a record that begins at lsn would lie, and what marks it.  -ERR_TRIMMED, -ERR_RANGE. */
struct journal_position {
	uint64_t off;
	uint64_t seq, salt;
	uint32_t block;
	uint64_t segment_end; /* offset on disk where its segment ends */
	bool is_segment_first;
	uint64_t chain_before; /* of the segment */
};
MUST_CHECK int journal_locate(const struct journal *j, struct lsn lsn,
			      struct journal_position *ret);

/* The root for a checkpoint that keeps everything from `keep` on. */
void journal_root_at(const struct journal *j, struct lsn keep, struct journal_root *ret);
/* A checkpoint with this root is durable: segments before it are free.  True if any was. */
bool journal_trim_to(struct journal *j, const struct journal_root *root);

#endif
