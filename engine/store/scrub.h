/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/scrub.h: read all that a group keeps in this store, slowly, so that what went bad is found
 * while a peer still has it.
 */
#ifndef TS_STORE_SCRUB_H
#define TS_STORE_SCRUB_H

#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"
#include "engine/store/store.h"

#define SCRUB_BYTES_S_MIN (256u << 10) /* less is taken for this */

struct scrub_result {
	uint64_t bytes;	       /* of blocks that were read and are right, or are bad */
	uint64_t bad;	       /* blocks, and pages of maps, that were not right */
	uint64_t repaired;     /* of them: came from a peer, and are written again in place */
	uint64_t unrepairable; /* of them: nobody had them */
};

/* One pass over the live volumes of one group; borrowed until done.  Blocks of a snapshot that the live
 * volumes do not share are not read.  The pass ends by writing the superblocks and floors anew.
 * done.rc: 0, whatever was found; -ERR_NOT_FOUND (no such replica, or it went meanwhile), -ERR_CLOSED
 * (stopped), -ERR_FAILED, -ERR_NOMEM, -ERR_READONLY.  `result` counts as it goes. */
struct store_scrub {
	struct completion done;
	struct uuid group;
	struct scrub_result result;
};
/* 0: started; -ERR_BUSY: one is under way; -ERR_NOMEM.  At most bytes_s are read per second. */
MUST_CHECK int store_scrub_start(struct store *s, struct store_scrub *q, uint64_t bytes_s);
void store_scrub_pace(struct store *s, uint64_t bytes_s); /* from the next run of blocks on */
void store_scrub_stop(struct store *s); /* done soon, -ERR_CLOSED; none: nothing */

/* --- for store.c only --- */
struct scrub;
MUST_CHECK int scrub_open(struct store *s, struct scrub **ret);
/* Is none under way?  Else it is stopped, and op is woken when it has ended. */
bool scrub_is_idle(struct store *s, struct op *op);
void scrub_close(struct scrub **x, bool abandoned);

#endif
