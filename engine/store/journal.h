/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal.h: one replica's journal: append, recovery, reading back, trimming.
 *
 * Segments are chained: the header of each names the next one (reserved beforehand), so recovery
 * follows them from the oldest one named in the checkpoint without any table being written per
 * segment.  A sealed segment ends in a footer with every record's {lsn, chain, position, extents,
 * crcs}; unsealed ones are scanned record by record.
 */
#ifndef TS_STORE_JOURNAL_H
#define TS_STORE_JOURNAL_H

#include "engine/base/op.h"
#include "engine/store/record.h"
#include "engine/store/space.h"

struct journal;

/* What the checkpoint keeps of a journal (encoded by layout.h into the group table). */
struct journal_root {
	uint32_t segment;      /* oldest needed segment; SEGMENT_NONE: empty, nothing was ever written */
	uint64_t segment_seq;  /* its sequence */
	struct lsn trim;       /* begin of the first record in it */
	uint64_t trim_chain;   /* chain before that record */
	uint64_t segment_link; /* the number its header must carry to be the one meant here */
	uint64_t tail_seq;     /* sequence of the newest segment opened when this root was made */
};

/* Where a record lies. */
struct journal_place {
	uint64_t off; /* byte offset on disk of its header; payload follows, contiguous */
};

/* Called during recovery for every surviving record in order (control plane; not async): lets the
 * replica rebuild epochs, commit, pending records, and the index.  header is valid during the call;
 * it holds the whole logical part (from the footer or the record itself). */
typedef void journal_recover_fn(void *ctx, const struct record_view *view, const uint8_t *header,
				const struct journal_place *place, struct lsn durable_told);

struct journal_opts {
	struct env *env;
	struct disk *disk;
	struct space *space;
	struct uuid store, group;
	uint32_t mutant;
};

#endif
