/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/signals.h: signals as events of a loop. */
#ifndef TS_URING_SIGNALS_H
#define TS_URING_SIGNALS_H

#include <stdint.h>

#include "engine/base/attr.h"

struct op;
struct uring_loop;
struct uring_signals;

#define URING_SIGNALS_MAX 8u

/*
 * Block the signals (0 ends the list) in this thread, and thus in every thread it starts later,
 * and wake receiver (borrowed until close) when one came.  Open it before starting threads.
 * SIGPIPE is ignored from here on.  -ERR_NOMEM, -ERR_IO.
 */
MUST_CHECK int uring_signals_open(struct uring_loop *loop, const int *signals, struct op *receiver,
				  struct uring_signals **ret_signals);

/* The oldest signal that came and was not taken, or 0. */
int uring_signals_take(struct uring_signals *signals);

/* The signals stay blocked. */
void uring_signals_close(struct uring_signals **signals);

#endif
