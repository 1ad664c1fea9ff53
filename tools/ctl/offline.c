/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/offline.c
 * Purpose.     The real ports for commands that work on a store without a daemon.
 */
#include "tools/ctl/offline.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"

static void offline_step(struct op *op)
{
	(void)op; /* offline_wait looks at waits itself */
}

static void offline_log(struct log *log, enum log_level level, const char *room, const char *line)
{
	(void)log;
	(void)level;
	fprintf(stderr, "twinshore: %s: %s\n", room, line);
}

int offline_open(struct offline *o, const char *path, const struct uring_disk_options *options)
{
	struct uring_options uo = {
		.entries = 64,
		.bufs = {.count = {[BUF_4K] = 256, [BUF_64K] = 64, [BUF_1M] = 32}},
		.log = &o->log};
	int rc;

	memset(o, 0, sizeof(*o));
	o->log.level = LOG_WARN;
	o->log.write = offline_log;
	rc = uring_loop_open(&uo, &o->loop);
	if (rc < 0)
		return rc;
	o->env = uring_loop_env(o->loop);
	op_init(&o->op, o->env->ready, offline_step);
	rc = uring_disk_open(o->loop, path, options, &o->disk);
	if (rc < 0)
		uring_loop_close(&o->loop);
	return rc;
}

void offline_close(struct offline *o)
{
	op_unqueue(&o->op);
	uring_disk_close(&o->disk);
	uring_loop_close(&o->loop);
}

void offline_arm(struct offline *o, struct completion *done)
{
	completion_arm(done, &o->op, 1u);
}

int offline_wait(struct offline *o, struct completion *done)
{
	while (o->op.waits != 0) {
		int rc = uring_loop_turn(o->loop, 100 * MS_NS);

		if (rc < 0)
			return rc;
	}
	return done->rc;
}
