/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/nbd.h: the NBD protocol's numbers, and the few layouts we use (proto/nbd.md).  Everything
 * on the wire is big-endian.  Source: the NBD protocol document, sections named in the comments.
 */
#ifndef TS_PROTO_NBD_H
#define TS_PROTO_NBD_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/cursor.h"

/* "Fixed newstyle negotiation" */
#define NBD_MAGIC 0x4e42444d41474943ull	       /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC 0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_REP_MAGIC 0x0003e889045565a9ull
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u

#define NBD_GREETING_BYTES 18u
#define NBD_CLIENT_FLAGS_BYTES 4u
#define NBD_OPTION_BYTES 16u	  /* header of an option */
#define NBD_REP_BYTES 20u	  /* header of a reply to an option */
#define NBD_EXPORT_INFO_BYTES 12u /* payload of NBD_INFO_EXPORT */
#define NBD_BLOCK_INFO_BYTES 14u  /* payload of NBD_INFO_BLOCK_SIZE */
#define NBD_EXPORT_NAME_PAD 124u  /* zeroes after the answer to EXPORT_NAME, unless NO_ZEROES */
#define NBD_REQUEST_BYTES 28u
#define NBD_SIMPLE_REPLY_BYTES 16u
#define NBD_STRING_BYTES_MAX 4096u

/* Handshake flags: the server's are 16 bits, the client's 32. */
#define NBD_FLAG_FIXED_NEWSTYLE 1u
#define NBD_FLAG_NO_ZEROES 2u

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_PEEK_EXPORT = 4,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
	NBD_OPT_EXTENDED_HEADERS = 11,
};

#define NBD_REP_ACK 1u
#define NBD_REP_SERVER 2u
#define NBD_REP_INFO 3u
#define NBD_REP_ERR_UNSUP 0x80000001u
#define NBD_REP_ERR_POLICY 0x80000002u
#define NBD_REP_ERR_INVALID 0x80000003u
#define NBD_REP_ERR_PLATFORM 0x80000004u
#define NBD_REP_ERR_TLS_REQD 0x80000005u
#define NBD_REP_ERR_UNKNOWN 0x80000006u
#define NBD_REP_ERR_SHUTDOWN 0x80000007u
#define NBD_REP_ERR_BLOCK_SIZE_REQD 0x80000008u
#define NBD_REP_ERR_TOO_BIG 0x80000009u

enum nbd_info {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3
};

/* Transmission flags of an export. */
#define NBD_FLAG_HAS_FLAGS 0x001u
#define NBD_FLAG_READ_ONLY 0x002u
#define NBD_FLAG_SEND_FLUSH 0x004u
#define NBD_FLAG_SEND_FUA 0x008u
#define NBD_FLAG_ROTATIONAL 0x010u
#define NBD_FLAG_SEND_TRIM 0x020u
#define NBD_FLAG_SEND_WRITE_ZEROES 0x040u
#define NBD_FLAG_SEND_DF 0x080u
#define NBD_FLAG_CAN_MULTI_CONN 0x100u
#define NBD_FLAG_SEND_CACHE 0x400u
#define NBD_FLAG_SEND_FAST_ZERO 0x800u

enum nbd_cmd {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
	NBD_CMD_RESIZE = 8,
};

#define NBD_CMD_FLAG_FUA 0x01u
#define NBD_CMD_FLAG_NO_HOLE 0x02u
#define NBD_CMD_FLAG_DF 0x04u
#define NBD_CMD_FLAG_REQ_ONE 0x08u
#define NBD_CMD_FLAG_FAST_ZERO 0x10u

/* Errors of the protocol; nothing else may be sent. */
#define NBD_EPERM 1u
#define NBD_EIO 5u
#define NBD_EINVAL 22u
#define NBD_ENOSPC 28u

struct nbd_request {
	uint16_t flags;
	uint16_t type; /* enum nbd_cmd, or anything */
	uint64_t cookie;
	uint64_t offset;
	uint32_t length;
};

/* False: the magic is wrong (the stream is out of step). */
static inline bool nbd_get_request(const uint8_t bytes[NBD_REQUEST_BYTES], struct nbd_request *ret)
{
	struct cursor c;
	uint32_t magic;

	cursor_init_read(&c, bytes, NBD_REQUEST_BYTES);
	magic = get_u32_be(&c);
	ret->flags = get_u16_be(&c);
	ret->type = get_u16_be(&c);
	ret->cookie = get_u64_be(&c);
	ret->offset = get_u64_be(&c);
	ret->length = get_u32_be(&c);
	return magic == NBD_REQUEST_MAGIC;
}

static inline void nbd_put_request(uint8_t bytes[NBD_REQUEST_BYTES], const struct nbd_request *r)
{
	struct cursor c;

	cursor_init(&c, bytes, NBD_REQUEST_BYTES);
	put_u32_be(&c, NBD_REQUEST_MAGIC);
	put_u16_be(&c, r->flags);
	put_u16_be(&c, r->type);
	put_u64_be(&c, r->cookie);
	put_u64_be(&c, r->offset);
	put_u32_be(&c, r->length);
}

static inline void nbd_put_simple_reply(uint8_t bytes[NBD_SIMPLE_REPLY_BYTES], uint32_t error,
					uint64_t cookie)
{
	struct cursor c;

	cursor_init(&c, bytes, NBD_SIMPLE_REPLY_BYTES);
	put_u32_be(&c, NBD_SIMPLE_REPLY_MAGIC);
	put_u32_be(&c, error);
	put_u64_be(&c, cookie);
}

static inline void nbd_put_option(struct cursor *c, uint32_t option, uint32_t bytes)
{
	put_u64_be(c, NBD_OPTION_MAGIC);
	put_u32_be(c, option);
	put_u32_be(c, bytes);
}

/* Header of a reply to `option`; `bytes` of payload follow. */
static inline void nbd_put_rep(struct cursor *c, uint32_t option, uint32_t type, uint32_t bytes)
{
	put_u64_be(c, NBD_REP_MAGIC);
	put_u32_be(c, option);
	put_u32_be(c, type);
	put_u32_be(c, bytes);
}

#endif
