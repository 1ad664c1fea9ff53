/* SPDX-License-Identifier: Apache-2.0 */
/* engine/policy/pace.h: how fast background reading may go while clients are served. */
#ifndef TS_POLICY_PACE_H
#define TS_POLICY_PACE_H

#include <stdint.h>

struct pace_facts {
	uint64_t max, floor; /* bytes per second, floor <= max */
	uint64_t now;	     /* the rate so far */
	uint64_t recent_ns; /* latency of clients since the last decision; 0: there was no client */
	uint64_t baseline_ns; /* the same while nothing was read in the background; 0: not known */
};

/* Bytes per second until the next decision, floor..max.  No client: max.  Clients as fast as at rest: an
 * eighth of max more.  At least twice as slow: half as much.  Between: as it is. */
uint64_t pace_next(const struct pace_facts *f);

#endif
