/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/store/stage_bench.h: a full copy of the bench's group into a staging replica, as repl does. */
#ifndef TS_TESTS_STAGE_BENCH_H
#define TS_TESTS_STAGE_BENCH_H

#include "tests/unit/store/replica_bench.h"

/* Begin at commit and import every block; several imports in flight.  0, or the first failure
 * (-ERR_TIMEOUT when the disk stopped). */
int stage_bench_copy(struct rb *b);
/* Begin with the own trees, import parts over them; begin with what that has got, import other parts. */
int stage_bench_own(struct rb *b);

#endif
