/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_chunks.h: large writes by reference: the chunks that records of a journal name
 * (proto/record.md, "Placement").  For journal*.c only.
 */
#ifndef TS_STORE_JOURNAL_CHUNKS_H
#define TS_STORE_JOURNAL_CHUNKS_H

#include "engine/port/disk.h"
#include "engine/store/record.h"

struct journal;
struct jpending;

#define JOURNAL_CHUNK_WRITES 8u /* in flight */

/* The names, oldest first: chunks of the records in [trim, tail), and of a cut that is not durable. */
struct jnames {
	uint64_t *ring; /* ring[n & mask] for n in [head, tail); CHUNK_NONE: let go already */
	uint64_t mask, head, tail;
	uint64_t cut_from, cut_end; /* of the cut; equal: none */
};

struct jchunk_write {
	struct disk_req req;
	struct iovec iov[DISK_IOV_MAX];
	struct record *rec;
	uint64_t at;	 /* its queue position */
	uint32_t chunks; /* 0: not in use */
};

MUST_CHECK int journal_names_open(struct journal *j);
void journal_names_close(struct journal *j);

/* How many chunks rec should name: all its whole ones, or 0: it goes in place. */
uint32_t journal_chunks_want(const struct journal *j, const struct record *rec);
/* Take them for p; p->chunks.count stays 0 when there is no room after all. */
void journal_chunks_take(struct journal *j, struct jpending *p, uint32_t want);
/* Recovery found a record that names these: nobody else may have them. -ERR_CORRUPT, -ERR_NOMEM. */
MUST_CHECK int journal_names_recover(struct journal *j, const struct record_chunks *chunks);

/* Write chunks of queued records as far as requests go; count the finished.  True: something moved. */
bool journal_chunks_step(struct journal *j);
bool journal_chunks_busy(const struct journal *j);
/* Is everything that the queued record n names durable? */
bool journal_chunks_ready(const struct journal *j, uint64_t n);

/* The newest `count` names belong to records that are cut; let go when the cut is durable. */
void journal_names_cut(struct journal *j, uint64_t count);
void journal_names_cut_durable(struct journal *j);
void journal_names_trim(struct journal *j, uint64_t upto); /* names below `upto` of the ring */

#endif
