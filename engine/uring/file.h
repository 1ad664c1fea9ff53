/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/file.h: small state files, replaced whole or not at all.  All of it blocks: for
 * start-up and rare changes of state, not for a loop that serves. */
#ifndef TS_URING_FILE_H
#define TS_URING_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

/* Replace path by `bytes` of data: when it returns 0 they are durable under that name; on failure
 * the old content is still there.  -ERR_IO, -ERR_FULL, -ERR_NOT_FOUND (folder), -ERR_PERMISSION. */
MUST_CHECK int file_replace(const char *path, const void *data, uint32_t bytes);

/* Read all of path, at most bytes_max.  The length, or -ERR_NOT_FOUND, -ERR_TOO_BIG, -ERR_IO,
 * -ERR_PERMISSION. */
MUST_CHECK int file_read(const char *path, void *data, uint32_t bytes_max);

/* Make the folder if it is absent (its parent exists), mode 0700, durably. */
MUST_CHECK int file_make_folder(const char *path);

/* Make the names in path's folder durable. */
MUST_CHECK int file_sync_folder_of(const char *path);

/* Absent, empty, or nothing but zeroes: what a crash leaves between making a file and formatting it. */
bool file_is_blank(const char *path);

#endif
