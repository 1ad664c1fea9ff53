/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/rewrite.h: good data goes back to where bad data lies.  Only the store room includes it.
 *
 * Two ways in: a reader that has fetched a block queues it, and the worker (fold.c) writes it when
 * nothing else of it runs; the worker itself mends a block that it cannot fold.
 */
#ifndef TS_STORE_REWRITE_H
#define TS_STORE_REWRITE_H

#include "engine/port/disk.h"
#include "engine/store/repair.h"

struct rewrites;

#define REWRITES_MAX 64u /* blocks that wait; more are dropped: the next reader or scrub comes by */

MUST_CHECK int rewrites_open(struct store *s, struct rewrites **ret);
void rewrites_close(struct rewrites **w);

/* Ask for q (group .. data are set, done is armed). */
void repair_fetch(struct store *s, struct repair_request *q);
/* It has ended: is its data what was asked for? */
bool repair_is_good(const struct store *s, const struct repair_request *q);
/* Nobody had it. */
void repair_failed(struct store *s, const struct repair_request *q, int rc);

/* q->data is good and `off` is where the block lay: in the journal or in home.  Copies the data. */
void rewrite_queue(struct store *s, const struct repair_request *q, uint64_t off, bool journal);
bool rewrites_wait(const struct rewrites *w);
/* For the worker, in its turn: write all that waits, where it is still the place of its block. */
void rewrites_run(struct rewrites *w, struct completion *done);

/* For the worker: what was read from `off` (a place that cannot move now) has not the checksum
 * q->crc.  Reads it once more, asks, and writes it again in place.  done: 0, q->data is good;
 * -ERR_CORRUPT. */
struct mend {
	struct completion done;
	struct repair_request q; /* group .. data: set by the caller */
	uint64_t off;
	/* fields below are private */
	struct op op;
	struct store *s;
	struct disk_req req;
	uint32_t phase;
};
void mend_begin(struct store *s, struct mend *m);
void mend_unqueue(struct mend *m);

#endif
