/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/oracle.h: what a volume may contain, known from outside (P4, I4, I5).
 *
 * Purpose.     Per 512-byte sector: which writes' values a read may return now.  Every write has an
 *              id and its content is made from (id, sector), so a sector tells which write it is of.
 * Rules.       O1  A write is possible from its begin on.
 *              O2  When a write is acknowledged (or its value was read), every other write that had
 *                  ended before it began is no longer possible.
 *              O3  A write ends when it is acknowledged, or when its connection was aborted
 *                  (oracle_write_dead): then it may still take effect, but not after a write that
 *                  began later was acknowledged (the stale write).
 *              O4  A read may return what was possible at some moment between its begin and end.
 *              O5  A trim clears whole 4 KiB blocks; sectors at its edges keep either value.
 */
#ifndef TS_SIM_ORACLE_H
#define TS_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

#define ORACLE_SECTOR 512u

enum oracle_kind { ORACLE_DATA, ORACLE_ZERO, ORACLE_TRIM };

struct oracle;

struct oracle *oracle_new(uint64_t bytes);
void oracle_free(struct oracle **o);

/* off and bytes are multiples of 512.  Time is any clock that never goes back. */
uint32_t oracle_write_begin(struct oracle *o, uint64_t now, enum oracle_kind kind, uint64_t off,
			    uint64_t bytes);
/* The content to send. */
void oracle_fill(const struct oracle *o, uint32_t id, void *data);
void oracle_write_acked(struct oracle *o, uint32_t id, uint64_t now);
void oracle_write_dead(struct oracle *o, uint32_t id, uint64_t now);

/* A read is known by a slot that must stay until checked or dropped. */
uint32_t oracle_read_begin(struct oracle *o, uint64_t now);
void oracle_read_drop(struct oracle *o, uint32_t read);
/* Ends the read. False: a violation, described in oracle_error. */
MUST_CHECK bool oracle_read_check(struct oracle *o, uint32_t read, uint64_t now, uint64_t off,
				  uint64_t bytes, const void *data);
/* The same for content got without a read of its own: what is possible at this moment. */
MUST_CHECK bool oracle_content_check(struct oracle *o, uint64_t now, uint64_t off, uint64_t bytes,
				     const void *data);
/* Is this content of the whole volume what it was at some moment of its history?  In it, whatever was
 * acknowledged before the newest write in it began has taken effect.  Changes nothing. */
MUST_CHECK bool oracle_prefix_check(struct oracle *o, uint64_t bytes, const void *data);
/* A declared loss: from now on the volume has this content and no other.  No write is in flight. */
void oracle_adopt(struct oracle *o, uint64_t bytes, const void *data);
const char *oracle_error(const struct oracle *o);

struct oracle_stats {
	uint64_t writes, acked, dead, reads, sectors_checked, ambiguous;
};
const struct oracle_stats *oracle_stats(const struct oracle *o);

#endif
