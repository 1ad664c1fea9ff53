/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/clock.c
 * Purpose.     The clock port on the kernel's clocks (read without a system call) and a heap of
 *              timers.
 * Invariants.  C1  A timer is in the heap iff its heap_index is not 0; it fires once, or is
 *                  disarmed, never both.
 *              C2  Timers fire by deadline, equal ones in the order of arming.
 * Ownership.   Timers are borrowed while armed.
 * Failure.     TIMERS_FIRST have room from the start; without memory for more the process cannot
 *              keep its promises and stops.
 */
#include "engine/uring/clock.h"

#include <stdlib.h>
#include <time.h>

#include "engine/base/err.h"
#include "engine/base/heap.h"
#include "engine/port/clock.h"

#define TIMERS_FIRST 4096u

struct uring_clock {
	struct clock clock;
	struct heap timers; /* of struct timer, by deadline (C2) */
};

static struct mono_ns clock_boot_now(struct clock *clock);
static struct wall_ns clock_real_now(struct clock *clock);
static void clock_arm(struct clock *clock, struct timer *t);
static void clock_disarm(struct clock *clock, struct timer *t);

static const struct clock_ops uring_clock_ops = {
	.now = clock_boot_now,
	.wall = clock_real_now,
	.arm = clock_arm,
	.disarm = clock_disarm,
};

int uring_clock_open(struct uring_clock **ret_clock)
{
	struct uring_clock *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return -ERR_NOMEM;
	heap_init(&c->timers);
	rc = heap_reserve(&c->timers, TIMERS_FIRST);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->clock.ops = &uring_clock_ops;
	*ret_clock = c;
	return 0;
}

void uring_clock_close(struct uring_clock **clock)
{
	if (*clock == NULL)
		return;
	heap_fini(&(*clock)->timers);
	free(*clock);
	*clock = NULL;
}

struct clock *uring_clock_port(struct uring_clock *clock)
{
	return &clock->clock;
}

uint64_t uring_clock_wait_ns(struct uring_clock *clock)
{
	uint64_t now, deadline;

	if (heap_count(&clock->timers) == 0)
		return UINT64_MAX;
	now = clock_boot_now(&clock->clock).v;
	deadline = heap_first_key(&clock->timers);
	return deadline <= now ? 0 : deadline - now;
}

void uring_clock_expire(struct uring_clock *clock)
{
	uint64_t now;

	if (heap_count(&clock->timers) == 0)
		return;
	now = clock_boot_now(&clock->clock).v;
	while (heap_count(&clock->timers) > 0 && heap_first_key(&clock->timers) <= now) {
		struct timer *t = heap_pop(&clock->timers);

		completion_fire(&t->done, 0); /* C1 */
	}
}

static uint64_t clock_read(clockid_t id)
{
	struct timespec ts;
	int rc = clock_gettime(id, &ts);

	assert(rc == 0);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

static struct mono_ns clock_boot_now(struct clock *clock)
{
	return (struct mono_ns){clock_read(CLOCK_BOOTTIME)};
}

static struct wall_ns clock_real_now(struct clock *clock)
{
	return (struct wall_ns){clock_read(CLOCK_REALTIME)};
}

static void clock_arm(struct clock *clock, struct timer *t)
{
	struct uring_clock *c = container_of(clock, struct uring_clock, clock);
	int rc;

	assert(t->heap_index == 0); /* C1 */
	assert(completion_armed(&t->done));
	rc = heap_push(&c->timers, t->deadline.v, t, &t->heap_index);
	assert(rc == 0);
}

static void clock_disarm(struct clock *clock, struct timer *t)
{
	struct uring_clock *c = container_of(clock, struct uring_clock, clock);

	if (t->heap_index == 0)
		return;
	heap_remove(&c->timers, &t->heap_index);
	completion_fire(&t->done, -ERR_CANCELED);
}
