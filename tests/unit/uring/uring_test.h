/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/uring/uring_test.h: a loop to test with, and an op that waits. */
#ifndef TS_TESTS_URING_TEST_H
#define TS_TESTS_URING_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/op.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/uring/loop.h"

struct world {
	struct log log;
	char last_line[512];
	struct uring_loop *loop;
	struct env *env;
	struct op op; /* waits for whatever a test arms */
	uint32_t steps;
	char folder[64];
};

/* Masks under which every test of a port runs (loop tests of check index it). */
static const uint32_t masks[] = {0,
				 URING_FEATURES_ALL & ~URING_KERNEL_RING,
				 URING_DEFER_TASKRUN,
				 URING_DSYNC_WRITE | URING_DIRECT_IO,
				 URING_SEND_ONE | URING_FIXED_BUFFERS,
				 URING_KERNEL_RING,
				 URING_QUEUE_ASKED,
				 URING_QUEUE_ASKED | URING_KERNEL_RING};
#define MASKS 8

static inline void world_log(struct log *log, enum log_level level, const char *room,
			     const char *line)
{
	struct world *w = container_of(log, struct world, log);

	snprintf(w->last_line, sizeof(w->last_line), "%s", line);
}

static inline void world_step(struct op *op)
{
	container_of(op, struct world, op)->steps++;
}

static inline void world_open(struct world *w, uint32_t mask)
{
	struct uring_options o = {.mask = mask, .entries = 8, .register_arena = true};

	memset(w, 0, sizeof(*w));
	w->log.level = LOG_DEBUG;
	w->log.write = world_log;
	o.log = &w->log;
	o.bufs.count[BUF_4K] = 4;
	o.bufs.count[BUF_64K] = 4;
	ck_assert_int_eq(uring_loop_open(&o, &w->loop), 0);
	w->env = uring_loop_env(w->loop);
	op_init(&w->op, w->env->ready, world_step);
	snprintf(w->folder, sizeof(w->folder), "/tmp/ts-uring-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(w->folder));
}

static inline void world_close(struct world *w)
{
	char command[128];

	op_unqueue(&w->op);
	uring_loop_close(&w->loop);
	snprintf(command, sizeof(command), "rm -rf %s", w->folder);
	ck_assert_int_eq(system(command), 0);
}

/* Turn the loop until none of the bits is waited for. */
static inline void world_wait(struct world *w, uint32_t bits)
{
	uint64_t until = clock_now(w->env->clock).v + 20 * SEC_NS;

	while ((w->op.waits & bits) != 0) {
		ck_assert_uint_lt(clock_now(w->env->clock).v, until);
		ck_assert_int_eq(uring_loop_turn(w->loop, 100 * MS_NS), 0);
	}
}

/* Turn the loop for a while. */
static inline void world_idle(struct world *w, uint64_t ns)
{
	uint64_t until = clock_now(w->env->clock).v + ns;

	while (clock_now(w->env->clock).v < until)
		ck_assert_int_eq(uring_loop_turn(w->loop, MS_NS), 0);
}

static inline int run_case(const char *name, void (*add)(TCase *tc))
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 60);
	add(tc);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

#endif
