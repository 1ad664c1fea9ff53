/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/clock.h: CLOCK_BOOTTIME, CLOCK_REALTIME and a heap of timers. */
#ifndef TS_URING_CLOCK_H
#define TS_URING_CLOCK_H

#include <stdint.h>

#include "engine/base/attr.h"

struct clock;
struct uring_clock;

MUST_CHECK int uring_clock_open(struct uring_clock **ret_clock); /* -ERR_NOMEM */
void uring_clock_close(struct uring_clock **clock);
struct clock *uring_clock_port(struct uring_clock *clock);

/* Nanoseconds until the earliest timer; UINT64_MAX: none is armed. */
uint64_t uring_clock_wait_ns(struct uring_clock *clock);

/* Fire every timer whose deadline has come, earliest first. */
void uring_clock_expire(struct uring_clock *clock);

#endif
