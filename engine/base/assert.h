/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/assert.h: assertions, in production too.  Include this, never <assert.h>.
 *
 * assert       our own bug; always on; prints the place and aborts.
 * assert_slow  the same, only where TS_SLOW_ASSERTS is defined (simulator, fuzz, debug).
 * UNREACHABLE  a place that no state leads to.
 * Never assert what came from outside: a disk, a peer, a client, a config (STYLE 13).
 */
#ifndef TS_BASE_ASSERT_H
#define TS_BASE_ASSERT_H

#include "engine/base/attr.h"

NORETURN void assert_fail(const char *what, const char *file, int line);

#undef assert
#define assert(cond) ((cond) ? (void)0 : assert_fail(#cond, __FILE__, __LINE__))
#define UNREACHABLE(why) assert_fail("unreachable: " why, __FILE__, __LINE__)

#ifdef TS_SLOW_ASSERTS
#define assert_slow(cond) assert(cond)
#else
#define assert_slow(cond) ((void)sizeof(cond))
#endif

#endif
