/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/port/clock.h: time comes from here only.
 *
 * now is CLOCK_BOOTTIME: it never goes back, may jump forward after a suspend.  wall is UTC and
 * may jump both ways; it decides nothing.  A timer fires its completion (rc 0) once, at or after
 * its deadline, never before, never synchronously from arm.
 */
#ifndef TS_PORT_CLOCK_H
#define TS_PORT_CLOCK_H

#include "engine/base/op.h"
#include "engine/base/types.h"

struct clock;

struct timer {
	struct completion done; /* arm it (completion_arm) before clock_timer_arm */
	struct mono_ns deadline;
	/* fields below are private to the clock */
	uint32_t heap_index; /* 0: not armed */
	uint64_t order;
};

struct clock_ops {
	struct mono_ns (*now)(struct clock *clock);
	struct wall_ns (*wall)(struct clock *clock);
	void (*arm)(struct clock *clock, struct timer *t);
	void (*disarm)(struct clock *clock, struct timer *t);
};

struct clock {
	const struct clock_ops *ops;
};

static inline struct mono_ns clock_now(struct clock *c)
{
	return c->ops->now(c);
}

static inline struct wall_ns clock_wall(struct clock *c)
{
	return c->ops->wall(c);
}

/* Arm t for t->deadline.  t is borrowed until it fires or is disarmed; it must not be armed. */
static inline void clock_timer_arm(struct clock *c, struct timer *t)
{
	c->ops->arm(c, t);
}

/* Disarm t: if it was armed, its completion fires with -ERR_CANCELED (so its bit is cleared). */
static inline void clock_timer_disarm(struct clock *c, struct timer *t)
{
	c->ops->disarm(c, t);
}

static inline bool timer_armed(const struct timer *t)
{
	return t->heap_index != 0;
}

#endif
