/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ctl/offline.h: a disk without a daemon, used step by step. */
#ifndef TS_CTL_OFFLINE_H
#define TS_CTL_OFFLINE_H

#include "engine/base/log.h"
#include "engine/port/disk.h"
#include "engine/port/env.h"
#include "engine/store/store.h"
#include "engine/uring/disk.h"
#include "engine/uring/loop.h"

struct offline {
	struct log log;
	struct uring_loop *loop;
	struct env *env;
	struct disk *disk;
	struct op op; /* waits for one completion at a time */
};

int offline_open(struct offline *o, const char *path, const struct uring_disk_options *options);
void offline_close(struct offline *o);
void offline_arm(struct offline *o, struct completion *done);
int offline_wait(struct offline *o, struct completion *done); /* its rc */

#endif
