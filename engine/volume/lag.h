/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/lag.h: when was what committed: turns the LSN that a peer has into the age of what it
 * lacks and the time of the newest write that it has.
 */
#ifndef TS_VOLUME_LAG_H
#define TS_VOLUME_LAG_H

#include "engine/base/types.h"

#define LAG_SAMPLES 128u
#define LAG_EVERY_NS (10 * MS_NS) /* resolution while everything fits */

struct lag_sample {
	struct lsn end;	   /* of what was committed from `at` on, until the next sample */
	struct mono_ns at; /* when its first part was */
	struct wall_ns wall;
};

/* fields are private; zeroed: nothing is known */
struct lag {
	struct lag_sample samples[LAG_SAMPLES];
	uint32_t count;
	uint64_t every_ns;
};

/* Committed up to `commit` now.  A commit that has not moved changes nothing. */
void lag_note(struct lag *l, struct lsn commit, struct mono_ns now, struct wall_ns wall);
/* Nobody will be asked about below `lsn` any more. */
void lag_forget(struct lag *l, struct lsn lsn);
/* Age in ns of the oldest write beyond `durable` that is committed; 0: none.  At most twice the present
 * resolution too much, never too little. */
uint64_t lag_age_ns(const struct lag *l, struct lsn durable, struct mono_ns now);
/* Wall clock of the newest write at or below `durable`, 0: not known. */
struct wall_ns lag_time(const struct lag *l, struct lsn durable);

#endif
