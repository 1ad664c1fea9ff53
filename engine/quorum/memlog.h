/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/memlog.h: the log entries held in memory: consecutive, copied, trimmed at the front
 * and truncated at the back. */
#ifndef TS_QUORUM_MEMLOG_H
#define TS_QUORUM_MEMLOG_H

#include "engine/base/attr.h"
#include "proto/quorum.h"

struct memlog {
	struct quorum_entry *entries; /* data is malloc */
	uint64_t first;		      /* index of entries[0]; set before the first append */
	uint32_t count, capacity;
};

MUST_CHECK int memlog_append(struct memlog *l,
			     const struct quorum_entry *entry); /* -ERR_NOMEM; copies */
void memlog_truncate(struct memlog *l, uint64_t index);		/* index and above go */
void memlog_trim(struct memlog *l, uint64_t index); /* index, which is held, and below go */
const struct quorum_entry *memlog_at(const struct memlog *l, uint64_t index); /* NULL: not held */
void memlog_fini(struct memlog *l);

#endif
