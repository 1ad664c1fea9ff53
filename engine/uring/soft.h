/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/soft.h: the requests of a ring carried out without io_uring, where it is forbidden (as
 * container runtimes do).  Slower, with the same results.  For loop.c only.
 */
#ifndef TS_URING_SOFT_H
#define TS_URING_SOFT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

struct io_uring_sqe;
struct soft_ring;

/* Room for in_flight_max requests.  -ERR_NOMEM, -ERR_IO. */
MUST_CHECK int soft_open(uint32_t in_flight_max, struct soft_ring **ret_ring);

/* Requests that wait are forgotten; those at work are waited for. */
void soft_close(struct soft_ring **ring);

/* Copy one entry, prepared as for the kernel; at most in_flight_max are in flight. */
void soft_submit(struct soft_ring *ring, const struct io_uring_sqe *sqe);

/* Start what was submitted, then wait until something completes, at most wait_ns. */
void soft_wait(struct soft_ring *ring, uint64_t wait_ns);

/* The next completion, false if there is none. */
bool soft_next(struct soft_ring *ring, uint64_t *ret_user_data, int *ret_res);

#endif
