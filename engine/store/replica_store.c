/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_store.c
 * Purpose.     What the store's half of the room asks of a replica beyond replica_fold.h's life cycle.
 */
#include "engine/store/replica_state.h"

struct store *replica_store(const struct replica *r)
{
	return r->s;
}

const char *replica_name(const struct replica *r)
{
	return r->name;
}
