/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/err.c
 * Purpose.  Questions about an error code, answered from err.tbl.
 * Limits.   A code that is in no row is "unknown error", told to NBD clients as EIO.
 */
#include "engine/base/err.h"

#include <errno.h>
#include <stddef.h>

#include "engine/base/attr.h"

#define NBD_EIO 5u

struct err_row {
	const char *name, *admin, *text;
	uint32_t nbd;
	bool retryable;
};

static const struct err_row err_rows[ERR_COUNT] = {
	[ERR_NONE] = {"NONE", "none", "done", 0, false},
#define ERR(name, nbd, admin, retryable, text) [ERR_##name] = {#name, admin, text, nbd, retryable},
#include "engine/base/err.tbl"
#undef ERR
};

static const struct err_row err_unknown = {"UNKNOWN", "unknown", "unknown error", NBD_EIO, false};

static const struct err_row *err_row_of(int rc)
{
	return rc <= 0 && rc > -(int)ERR_COUNT ? &err_rows[-rc] : &err_unknown;
}

const char *err_text(int rc)
{
	return err_row_of(rc)->text;
}

const char *err_name(int rc)
{
	return err_row_of(rc)->name;
}

const char *err_admin_code(int rc)
{
	return err_row_of(rc)->admin;
}

uint32_t err_nbd(int rc)
{
	return err_row_of(rc)->nbd;
}

bool err_is_retryable(int rc)
{
	return err_row_of(rc)->retryable;
}

/* Causes that a caller can tell apart; every other errno is an input/output error. */
static const struct {
	int sys_errno, rc;
} err_errno_map[] = {
	{ENOMEM, -ERR_NOMEM},
	{EINVAL, -ERR_INVALID},
	{EROFS, -ERR_READONLY},
	{EBUSY, -ERR_BUSY},
	{EAGAIN, -ERR_AGAIN},
	{EINTR, -ERR_AGAIN},
	{ENOSPC, -ERR_FULL},
	{EDQUOT, -ERR_FULL},
	{ENOENT, -ERR_NOT_FOUND},
	{ENODEV, -ERR_NOT_FOUND},
	{ENXIO, -ERR_NOT_FOUND},
	{ENOTDIR, -ERR_NOT_FOUND},
	{EEXIST, -ERR_EXISTS},
	{EADDRINUSE, -ERR_IN_USE},
	{EOPNOTSUPP, -ERR_UNSUPPORTED},
	{ENOSYS, -ERR_UNSUPPORTED},
	{EPIPE, -ERR_CLOSED},
	{ECONNRESET, -ERR_CLOSED},
	{ECONNABORTED, -ERR_CLOSED},
	{ENOTCONN, -ERR_CLOSED},
	{ESHUTDOWN, -ERR_CLOSED},
	{ECANCELED, -ERR_CANCELED},
	{ETIMEDOUT, -ERR_TIMEOUT},
	{ETIME, -ERR_TIMEOUT},
	{ECONNREFUSED, -ERR_UNREACHABLE},
	{EHOSTUNREACH, -ERR_UNREACHABLE},
	{ENETUNREACH, -ERR_UNREACHABLE},
	{EHOSTDOWN, -ERR_UNREACHABLE},
	{ENETDOWN, -ERR_UNREACHABLE},
	{EADDRNOTAVAIL, -ERR_UNREACHABLE},
	{EFBIG, -ERR_TOO_BIG},
	{E2BIG, -ERR_TOO_BIG},
	{EMSGSIZE, -ERR_TOO_BIG},
	{ENAMETOOLONG, -ERR_TOO_BIG},
	{EPERM, -ERR_PERMISSION},
	{EACCES, -ERR_PERMISSION},
	{EILSEQ, -ERR_CORRUPT},
	{EBADMSG, -ERR_CORRUPT},
};

int err_from_errno(int sys_errno)
{
	if (sys_errno == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_COUNT(err_errno_map); i++)
		if (err_errno_map[i].sys_errno == sys_errno)
			return err_errno_map[i].rc;
	return -ERR_IO;
}
