/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_request.c
 * Purpose.     Judge one request header, without any state.
 * Invariants.  R1  Sizes from the client are compared in 64 bits and never added before they are
 *                  known to fit.
 *              R2  A refused request leaves the stream in step: its payload is accounted for.
 *              R3  Only EPERM, EIO, EINVAL and ENOSPC leave this room.
 * Failure.     None: every input has a verdict.
 */
#include "engine/nbd/nbd_request.h"

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/types.h"

_Static_assert(NBD_PAYLOAD_BYTES_MAX <= NBD_DRAIN_BYTES_MAX,
	       "the largest valid payload may be refused too");
_Static_assert(NBD_PAYLOAD_BYTES_MAX >= IO_BYTES_MAX, "the protocol wants at least 1 MiB");

static bool flags_are_known(const struct nbd_request *r);
static bool range_is_inside(const struct nbd_request *r, uint64_t bytes);
static uint32_t request_error(const struct nbd_request *r, uint64_t bytes, bool read_only);

enum nbd_verdict nbd_request_check(const struct nbd_request *r, uint64_t bytes, bool read_only,
				   uint32_t *ret_error, uint32_t *ret_payload)
{
	uint32_t payload = r->type == NBD_CMD_WRITE ? r->length : 0;
	uint32_t error;

	*ret_error = 0;
	*ret_payload = payload;
	if (r->type == NBD_CMD_DISC)
		return NBD_LEAVE;
	if (payload > NBD_DRAIN_BYTES_MAX)
		return NBD_DROP;
	error = request_error(r, bytes, read_only);
	if (error != 0) {
		*ret_error = error;
		return NBD_REFUSE;
	}
	if (r->length == 0 && r->type != NBD_CMD_FLUSH)
		return NBD_EMPTY;
	assert(range_is_inside(r, bytes));
	return NBD_SERVE;
}

static uint32_t request_error(const struct nbd_request *r, uint64_t bytes, bool read_only)
{
	bool inside = range_is_inside(r, bytes);

	if (!flags_are_known(r))
		return NBD_EINVAL;
	switch (r->type) {
	case NBD_CMD_READ:
		return inside && r->length <= NBD_PAYLOAD_BYTES_MAX ? 0 : NBD_EINVAL;
	case NBD_CMD_WRITE:
		if (r->length > NBD_PAYLOAD_BYTES_MAX)
			return NBD_EINVAL;
		return read_only ? NBD_EPERM : inside ? 0 : NBD_ENOSPC;
	case NBD_CMD_WRITE_ZEROES:
		return read_only ? NBD_EPERM : inside ? 0 : NBD_ENOSPC;
	case NBD_CMD_TRIM:
		return read_only ? NBD_EPERM : inside ? 0 : NBD_EINVAL;
	case NBD_CMD_FLUSH:
		return r->offset == 0 && r->length == 0 ? 0 : NBD_EINVAL;
	default:
		return NBD_EINVAL; /* not offered, or unknown: it has no payload */
	}
}

static bool flags_are_known(const struct nbd_request *r)
{
	uint32_t known = NBD_CMD_FLAG_FUA; /* must be accepted on every command */

	if (r->type == NBD_CMD_WRITE_ZEROES)
		known |= NBD_CMD_FLAG_NO_HOLE;
	return (r->flags & ~known) == 0;
}

/* R1 */
static bool range_is_inside(const struct nbd_request *r, uint64_t bytes)
{
	return r->offset <= bytes && r->length <= bytes - r->offset;
}

uint32_t nbd_piece_bytes(uint64_t off, uint32_t left)
{
	uint32_t room = IO_BYTES_MAX - (uint32_t)(off % IO_BYTES_MAX);

	assert(left > 0);
	return left < room ? left : room;
}

uint32_t nbd_piece_buf_bytes(uint64_t off, uint32_t bytes)
{
	uint32_t head = (uint32_t)(off % BLOCK_BYTES);
	uint32_t sum = (head + bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;

	assert(bytes > 0 && bytes <= IO_BYTES_MAX);
	assert(sum <= IO_BYTES_MAX);
	return sum;
}

uint32_t nbd_error_of(int rc)
{
	uint32_t error = err_nbd(rc);

	assert(rc < 0);
	switch (rc) {
	case -ERR_CLOSED:
	case -ERR_NOT_PRIMARY:
	case -ERR_SUSPENDED:
	case -ERR_NO_QUORUM:
	case -ERR_CANCELED:
	case -ERR_STALE:
		return 0;
	default:
		break;
	}
	if (error == NBD_EPERM || error == NBD_EINVAL || error == NBD_ENOSPC)
		return error;
	return NBD_EIO; /* R3 */
}
