/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/leaks.h: references that the tables of a store count and nobody holds: found by a check,
 * dropped when the store is opened with them (store_opts.leaks), free with the next checkpoint.
 */
#ifndef TS_STORE_LEAKS_H
#define TS_STORE_LEAKS_H

#include "engine/base/attr.h"
#include "engine/store/space.h"

struct leak {
	uint64_t at;	  /* page or chunk */
	uint32_t counted; /* references by the table */
	uint32_t reached; /* fewer; 0: nothing refers to it */
	bool page;
};

/* A growing array: 24 bytes for each unit that is leaked. */
struct leaks {
	struct leak *at;
	size_t count, max;
};

MUST_CHECK int leaks_add(struct leaks *l, const struct leak *leak); /* -ERR_NOMEM */
void leaks_fini(struct leaks *l);
/* When recovery of all replicas is over.  -ERR_CORRUPT: a count is not what the check saw; nothing changed. */
MUST_CHECK int leaks_drop(const struct leaks *l, struct space *sp);

#endif
