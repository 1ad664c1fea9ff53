/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/hist.c
 * Purpose.     Latencies, kept in constant memory with a bounded relative error.
 * Invariants.  T1  Bucket edges rise, and every power of two is an edge (so the export is exact).
 *              T2  count is the sum of all buckets.
 * Limits.      Values of 2^40 and more are counted in the last bucket.
 */
#include "engine/base/hist.h"

#include <string.h>

#include "engine/base/assert.h"

#define HIST_NS_MAX ((1ull << HIST_BITS_MAX) - 1)

_Static_assert(HIST_EXPORT_BITS_FIRST > HIST_SUB_BITS, "export edges must be bucket edges");
_Static_assert(HIST_EXPORT_BITS_LAST < HIST_BITS_MAX, "export edges must be below the clamp");

static uint32_t hist_bucket_of(uint64_t ns);
static uint64_t hist_bucket_begin(uint32_t bucket);

void hist_init(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

void hist_record(struct hist *h, uint64_t ns)
{
	h->count++;
	h->sum_ns += ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->buckets[hist_bucket_of(ns)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	for (uint32_t i = 0; i < HIST_BUCKET_COUNT; i++)
		into->buckets[i] += from->buckets[i];
}

/* Below 2^HIST_SUB_BITS a value is its own bucket; above, its top HIST_SUB_BITS + 1 bits say. */
static uint32_t hist_bucket_of(uint64_t ns)
{
	uint32_t top, bucket;

	if (ns > HIST_NS_MAX)
		ns = HIST_NS_MAX;
	if (ns < HIST_SUB_COUNT)
		return (uint32_t)ns;
	top = 63u - (uint32_t)__builtin_clzll(ns);
	bucket = (top - HIST_SUB_BITS + 1) * HIST_SUB_COUNT +
		 (uint32_t)(ns >> (top - HIST_SUB_BITS) & (HIST_SUB_COUNT - 1));
	assert(bucket < HIST_BUCKET_COUNT);
	return bucket;
}

static uint64_t hist_bucket_begin(uint32_t bucket)
{
	uint32_t octave = bucket / HIST_SUB_COUNT;

	if (octave == 0)
		return bucket;
	return (uint64_t)(HIST_SUB_COUNT + bucket % HIST_SUB_COUNT) << (octave - 1);
}

uint64_t hist_quantile_ns(const struct hist *h, uint32_t ppm)
{
	uint64_t seen = 0, rank, edge;

	assert(ppm <= 1000000);
	if (h->count == 0)
		return 0;
	rank = h->count / 1000000 * ppm + (h->count % 1000000 * ppm + 999999) / 1000000;
	if (rank == 0)
		rank = 1;
	for (uint32_t i = 0; i < HIST_BUCKET_COUNT; i++) {
		seen += h->buckets[i];
		if (seen < rank)
			continue;
		edge = hist_bucket_begin(i + 1) - 1;
		return i + 1 < HIST_BUCKET_COUNT && edge < h->max_ns ? edge : h->max_ns;
	}
	UNREACHABLE("T2: the buckets hold count records");
}

uint64_t hist_export_bound_ns(uint32_t i)
{
	assert(i < HIST_EXPORT_COUNT);
	return 1ull << (HIST_EXPORT_BITS_FIRST + i);
}

void hist_export(const struct hist *h, uint64_t ret_cumulative[HIST_EXPORT_COUNT])
{
	uint64_t seen = 0;
	uint32_t bucket = 0;

	for (uint32_t i = 0; i < HIST_EXPORT_COUNT; i++) {
		for (; hist_bucket_begin(bucket) < hist_export_bound_ns(i); bucket++) /* T1 */
			seen += h->buckets[bucket];
		ret_cumulative[i] = seen;
	}
}
