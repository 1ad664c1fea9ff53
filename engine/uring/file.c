/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/file.c
 * Purpose.     Write a small file so that a crash leaves the old or the new one: a temporary file
 *              in the same folder, fsync, rename, fsync of the folder.
 * Failure.     The temporary file is removed; the old file is untouched.  After a failed fsync of
 *              the folder the new name may or may not survive a crash: the caller hears of it.
 */
#include "engine/uring/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/err.h"

static int file_error(int sys_errno)
{
	return sys_errno == ENOENT ? -ERR_NOT_FOUND : err_from_errno(sys_errno);
}

static int write_all(int fd, const uint8_t *data, uint32_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? file_error(errno) : -ERR_IO;
		data += n;
		bytes -= (uint32_t)n;
	}
	return 0;
}

int file_replace(const char *path, const void *data, uint32_t bytes)
{
	char temporary[PATH_MAX];
	int fd, rc, n;

	n = snprintf(temporary, sizeof(temporary), "%s.new", path);
	if (n < 0 || n >= (int)sizeof(temporary))
		return -ERR_INVALID;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return file_error(errno);
	rc = write_all(fd, data, bytes);
	if (rc == 0 && fsync(fd) < 0)
		rc = -ERR_IO;
	close(fd);
	if (rc == 0 && rename(temporary, path) < 0)
		rc = file_error(errno);
	if (rc < 0) {
		unlink(temporary);
		return rc;
	}
	return file_sync_folder_of(path);
}

int file_read(const char *path, void *data, uint32_t bytes_max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	uint8_t *at = data;
	uint32_t got = 0;

	if (fd < 0)
		return file_error(errno);
	for (;;) {
		uint8_t extra;
		bool full = got == bytes_max;
		ssize_t n = read(fd, full ? &extra : at + got, full ? 1 : bytes_max - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = file_error(errno);
		else if (n > 0 && full)
			rc = -ERR_TOO_BIG;
		if (n <= 0 || rc < 0)
			break;
		got += (uint32_t)n;
	}
	close(fd);
	return rc < 0 ? rc : (int)got;
}

int file_make_folder(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return file_sync_folder_of(path);
	if (errno != EEXIST)
		return file_error(errno);
	if (stat(path, &st) < 0)
		return file_error(errno);
	return S_ISDIR(st.st_mode) ? 0 : -ERR_INVALID;
}

int file_sync_folder_of(const char *path)
{
	char folder[PATH_MAX];
	size_t bytes = strlen(path);
	const char *slash;
	int fd, rc = 0;

	while (bytes > 1 && path[bytes - 1] == '/')
		bytes--;
	slash = memrchr(path, '/', bytes);
	if (slash == NULL) {
		folder[0] = '.';
		bytes = 1;
	} else {
		bytes = slash == path ? 1 : (size_t)(slash - path);
		if (bytes >= sizeof(folder))
			return -ERR_INVALID;
		memcpy(folder, path, bytes);
	}
	folder[bytes] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return file_error(errno);
	if (fsync(fd) < 0)
		rc = -ERR_IO;
	close(fd);
	return rc;
}

bool file_is_blank(const char *path)
{
	uint8_t block[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	bool blank = true;

	if (fd < 0)
		return errno == ENOENT;
	while (blank && (n = read(fd, block, sizeof(block))) > 0)
		for (ssize_t i = 0; i < n; i++)
			blank = blank && block[i] == 0;
	close(fd);
	return blank && n == 0;
}
