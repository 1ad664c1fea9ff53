/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check_suspect.c
 * Purpose.     Keep what the check cannot judge before it has walked every tree that somebody reads.
 * Ownership.   The list is ours; what stands in it are numbers only.
 * Failure.     -ERR_NOMEM: the caller must say what is in doubt as if it were bad.
 * Limits.      None but memory: what fold writes between two checkpoints, 64 bytes and more per chunk.
 */
#include "engine/store/check_suspect.h"

#include <stdlib.h>

#include "engine/base/err.h"

#define SUSPECTS_STEP 64u

int suspects_add(struct suspects *s, const struct suspect *one)
{
	if (s->count == s->max) {
		uint32_t max = s->max * 2 + SUSPECTS_STEP;
		struct suspect *more = realloc(s->list, max * sizeof(*more));

		if (more == NULL)
			return -ERR_NOMEM;
		s->list = more;
		s->max = max;
	}
	s->list[s->count++] = *one;
	return 0;
}

void suspects_fini(struct suspects *s)
{
	free(s->list);
	*s = (struct suspects){0};
}
