/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/delta.h: what differs between two maps; the walk behind snapshot_delta.
 *
 * Both maps stay as they are, written out whole, until done: roots of snapshots do.  Only snapshot
 * code and tests of the walk alone include it.
 */
#ifndef TS_STORE_DELTA_H
#define TS_STORE_DELTA_H

#include "engine/store/snapshot.h"

struct env;
struct map;

/* The runs from d->block on; d->from, d->to and d->volume are not looked at.  NULL: a map of nothing.
 * Ends with the end of `to`, or of `from` when there is no `to`.  done: 0, -ERR_CORRUPT, -ERR_IO. */
void delta_walk(struct snapshot_delta *d, struct env *env, struct map *from, struct map *to);

#endif
