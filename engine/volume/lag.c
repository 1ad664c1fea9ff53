/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/lag.c
 * Purpose.     Samples of a primary's commit LSN, so that lag can be told in seconds.
 * Invariants.  L1 Samples are in order of LSN and of time.
 *              L2 A write is never told younger than it is: a sample has the time of its first part.
 * Limits.      LAG_SAMPLES; when they are used up two become one, and the resolution is halved.  It is
 *              fine again when the peers have caught up (lag_forget).
 */
#include "engine/volume/lag.h"

#include <string.h>

#include "engine/base/assert.h"

static void lag_thin(struct lag *l);

void lag_note(struct lag *l, struct lsn commit, struct mono_ns now, struct wall_ns wall)
{
	struct lag_sample *last = l->count > 0 ? &l->samples[l->count - 1] : NULL;

	if (l->every_ns == 0)
		l->every_ns = LAG_EVERY_NS;
	if (last != NULL && commit.v <= last->end.v)
		return;
	if (last != NULL && now.v < last->at.v + l->every_ns) {
		last->end = commit;
		last->wall = wall;
		return;
	}
	if (l->count == LAG_SAMPLES)
		lag_thin(l);
	l->samples[l->count++] = (struct lag_sample){.end = commit, .at = now, .wall = wall};
	assert(l->count < 2 || l->samples[l->count - 2].end.v < commit.v); /* L1 */
}

static void lag_thin(struct lag *l)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i + 1 < l->count; i += 2) {
		struct lag_sample two = l->samples[i + 1];

		two.at = l->samples[i].at; /* L2 */
		l->samples[n++] = two;
	}
	l->count = n;
	l->every_ns *= 2;
}

/* The newest sample that is wholly below stays: lag_time asks for it. */
void lag_forget(struct lag *l, struct lsn lsn)
{
	uint32_t n = 0;

	while (n + 1 < l->count && l->samples[n + 1].end.v <= lsn.v)
		n++;
	if (n > 0)
		memmove(l->samples, l->samples + n, (l->count - n) * sizeof(l->samples[0]));
	l->count -= n;
	if (l->count <= LAG_SAMPLES / 4)
		l->every_ns = LAG_EVERY_NS;
}

uint64_t lag_age_ns(const struct lag *l, struct lsn durable, struct mono_ns now)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->samples[i].end.v > durable.v)
			return now.v - l->samples[i].at.v;
	return 0;
}

struct wall_ns lag_time(const struct lag *l, struct lsn durable)
{
	struct wall_ns t = {0};

	for (uint32_t i = 0; i < l->count && l->samples[i].end.v <= durable.v; i++)
		t = l->samples[i].wall;
	return t;
}
