/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/memlog.c
 * Purpose.     The part of the log that is in memory (some hundred entries).
 * Invariants.  G1  entries[i] has index first + i; nothing between is missing.
 */
#include "engine/quorum/memlog.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"

int memlog_append(struct memlog *l, const struct quorum_entry *entry)
{
	uint8_t *copy = malloc(entry->bytes > 0 ? entry->bytes : 1);

	if (l->count == l->capacity) {
		uint32_t want = l->capacity == 0 ? 256 : l->capacity * 2;
		struct quorum_entry *grown = realloc(l->entries, want * sizeof(*grown));

		if (grown == NULL) {
			free(copy);
			return -ERR_NOMEM;
		}
		l->entries = grown;
		l->capacity = want;
	}
	if (copy == NULL)
		return -ERR_NOMEM;
	if (entry->bytes > 0)
		memcpy(copy, entry->data, entry->bytes);
	l->entries[l->count] = *entry;
	l->entries[l->count++].data = copy;
	return 0;
}

void memlog_truncate(struct memlog *l, uint64_t index)
{
	while (l->count > 0 && l->first + l->count > index)
		free((void *)(uintptr_t)l->entries[--l->count].data);
}

void memlog_trim(struct memlog *l, uint64_t index)
{
	uint32_t drop = (uint32_t)(index + 1 - l->first);

	assert(memlog_at(l, index) != NULL);
	for (uint32_t i = 0; i < drop; i++)
		free((void *)(uintptr_t)l->entries[i].data);
	l->count -= drop;
	memmove(l->entries, l->entries + drop, l->count * sizeof(l->entries[0]));
	l->first = index + 1; /* G1 */
}

const struct quorum_entry *memlog_at(const struct memlog *l, uint64_t index)
{
	return index >= l->first && index < l->first + l->count ? &l->entries[index - l->first]
								: NULL;
}

void memlog_fini(struct memlog *l)
{
	memlog_truncate(l, 0);
	free(l->entries);
	l->entries = NULL;
}
