/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/store/check_bench.h: the offline check as a judge in tests. */
#ifndef TS_TESTS_CHECK_BENCH_H
#define TS_TESTS_CHECK_BENCH_H

#include "engine/store/check.h"
#include "tests/lib/fakes.h"

/* Runs the check on a disk nobody has open; prints what is bad; returns the number of bad things. */
uint64_t check_bench_run(struct fake *f, struct store_check *c);
/* The same, asserting that it is 0; returns the digest over all groups. */
uint64_t check_bench_clean(struct fake *f);

#endif
