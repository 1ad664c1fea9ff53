/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/lib/alloc_fault.h: the nth allocation fails.
 *
 * Add alloc_fault_dep to a test's dependencies: malloc, calloc, realloc and aligned_alloc of
 * everything linked statically then come through here.
 *
 *	for (uint64_t n = 1; ; n++) {
 *		alloc_fault_arm(n);
 *		rc = thing_open(...);
 *		if (!alloc_fault_disarm())	// fewer than n allocations: all were tried
 *			break;
 *		ck_assert_int_eq(rc, -ERR_NOMEM);
 *	}
 */
#ifndef TS_TESTS_ALLOC_FAULT_H
#define TS_TESTS_ALLOC_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* The nth allocation from now on (1: the next) gives NULL, once. */
void alloc_fault_arm(uint64_t n);
/* True if one was failed since. */
bool alloc_fault_disarm(void);

#endif
