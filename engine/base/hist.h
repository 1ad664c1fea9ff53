/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/hist.h: a histogram of latencies in nanoseconds.
 *
 * Log-linear: 8 equal buckets per power of two, so a quantile is at most 12.5 % too high.  Fixed
 * size, no allocation; record is a few instructions.  To init, fill with zeroes.
 */
#ifndef TS_BASE_HIST_H
#define TS_BASE_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 3u
#define HIST_SUB_COUNT (1u << HIST_SUB_BITS)
#define HIST_BITS_MAX 40u /* 2^40 ns is 18 minutes; what is longer counts as that */
#define HIST_BUCKET_COUNT ((HIST_BITS_MAX - HIST_SUB_BITS + 1) * HIST_SUB_COUNT)

struct hist {
	uint64_t count, sum_ns, max_ns;
	uint64_t buckets[HIST_BUCKET_COUNT];
};

void hist_init(struct hist *h);
void hist_record(struct hist *h, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);

/* The upper edge of the bucket that holds the record of rank ceil(ppm / 1e6 * count), but never
 * more than max_ns; 0 when nothing was recorded.  ppm: 500000 is the median, 999000 is p99.9. */
uint64_t hist_quantile_ns(const struct hist *h, uint32_t ppm);

/* Prometheus: buckets at powers of two from about 8 us to 34 s, cumulative; then "+Inf" = count. */
#define HIST_EXPORT_BITS_FIRST 13u
#define HIST_EXPORT_BITS_LAST 35u
#define HIST_EXPORT_COUNT (HIST_EXPORT_BITS_LAST - HIST_EXPORT_BITS_FIRST + 1)

/* The bound of export bucket i in nanoseconds (le = this / 1e9). */
uint64_t hist_export_bound_ns(uint32_t i);

/* ret_cumulative[i] = how many records were below hist_export_bound_ns(i). */
void hist_export(const struct hist *h, uint64_t ret_cumulative[HIST_EXPORT_COUNT]);

#endif
