/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/disk.h: a file or block device behind the disk port. */
#ifndef TS_URING_DISK_H
#define TS_URING_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

struct disk;
struct uring_loop;

struct uring_disk_options {
	bool read_only;	       /* shares the lock with other readers */
	bool create;	       /* make the file if it is absent or empty, `bytes` long */
	bool allocate;	       /* with create: reserve its blocks now */
	uint64_t bytes;	       /* with create: a multiple of 4096 */
	uint32_t lock_wait_ms; /* how long another process may hold it; this blocks (start only) */
};

#define URING_LOCK_WAIT_MS 10000u

/*
 * Open path for loop's thread and lock it.  Gives *ret_disk (disk->bytes: its size).
 * -ERR_NOT_FOUND, -ERR_PERMISSION, -ERR_LOCKED (another process has it, or the kernel uses the
 * device), -ERR_INVALID (neither a file nor a block device, or smaller than a block),
 * -ERR_NOMEM, -ERR_FULL, -ERR_IO; the reason is logged.
 */
MUST_CHECK int uring_disk_open(struct uring_loop *loop, const char *path,
			       const struct uring_disk_options *options, struct disk **ret_disk);

/* No request is in flight. */
void uring_disk_close(struct disk **disk);

#endif
