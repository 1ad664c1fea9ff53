/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/gate.h: orders overlapping operations of one volume by 4 KiB blocks.
 *
 * Every operation is in the gate from arrival to its end.  It may run when no earlier one that
 * overlaps it and conflicts (one of the two writes) is still there: so overlapping writes take
 * effect in order of arrival, and a read never overlaps a write in flight (QUORUM R9).
 */
#ifndef TS_VOLUME_GATE_H
#define TS_VOLUME_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/list.h"
#include "engine/base/op.h"

#define GATE_WINDOWS 256u /* buckets of 1 MiB windows */
#define GATE_WINDOW_BLOCKS 256u

struct gate {
	/* fields are private */
	struct list window[GATE_WINDOWS];
	struct list wide; /* operations that span windows */
	uint64_t arrivals;
	uint32_t count;
};

struct gate_entry {
	/* fields are private */
	struct list_link link;
	uint64_t begin, end; /* blocks */
	uint64_t order;
	struct op *op; /* woken when it may run */
	bool writes, waiting, wide;
};

void gate_init(struct gate *g);
/* Enter [begin, end) blocks; true: may run now, false: op is woken (op_wake) when it may. */
bool gate_enter(struct gate *g, struct gate_entry *e, uint64_t begin, uint64_t end, bool writes,
		struct op *op);
/* Woken: is it our turn? (spurious wakes are allowed) */
bool gate_may_run(const struct gate_entry *e);
void gate_leave(struct gate *g, struct gate_entry *e);

#endif
