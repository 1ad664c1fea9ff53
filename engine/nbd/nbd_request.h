/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_request.h: is a request valid, which error does it get, and how is it cut into
 * pieces for the volume?  Pure functions of their arguments.
 */
#ifndef TS_NBD_REQUEST_H
#define TS_NBD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "proto/nbd.h"

#define NBD_PAYLOAD_BYTES_MAX (32u << 20) /* of READ and WRITE; told in NBD_INFO_BLOCK_SIZE */
#define NBD_DRAIN_BYTES_MAX (64u << 20)	  /* a refused payload up to this is read and dropped */

enum nbd_verdict {
	NBD_SERVE,  /* do it */
	NBD_REFUSE, /* read *ret_payload bytes, drop them, answer *ret_error */
	NBD_EMPTY,  /* valid and nothing to do: answer success */
	NBD_LEAVE,  /* DISC: finish what is outstanding and close */
	NBD_DROP,   /* close: its payload is too large to be read for nothing */
};

/* What becomes of r on an export of `bytes` bytes (proto/nbd.md, "valid if and only if"). */
MUST_CHECK enum nbd_verdict nbd_request_check(const struct nbd_request *r, uint64_t bytes,
					      bool read_only, uint32_t *ret_error,
					      uint32_t *ret_payload);

/* Length of the piece that starts at off, of `left` bytes in all: it ends at the next multiple of
 * IO_BYTES_MAX at the latest (contract of volume_io). */
uint32_t nbd_piece_bytes(uint64_t off, uint32_t left);

/* How large a buf the piece needs: its range rounded out to 4096. */
uint32_t nbd_piece_buf_bytes(uint64_t off, uint32_t bytes);

/* The NBD error for a result of the volume, or 0 when the client must get no answer at all: the
 * site lost its role, and the connection is to be closed. */
uint32_t nbd_error_of(int rc);

#endif
