/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_handshake.c
 * Purpose.     Fixed newstyle negotiation, server's side, over bytes only.
 * Invariants.  H1  Every option consumes exactly its length, known or not, so the next one parses.
 *              H2  Every option gets exactly one final reply (ACK or an error), except
 *                  EXPORT_NAME, which cannot be refused and closes instead.
 *              H3  An inner length is compared with what is left of the outer one before use.
 *              H4  One call puts at most NBD_HANDSHAKE_OUT_BYTES.
 *              H5  INFO and GO of one export give the same answers.
 * States.      FLAGS -> OPTION            [client flags]
 *              OPTION -> DRAIN -> OPTION  [too large]
 *              OPTION -> FINDING -> OPTION, OVER   [EXPORT_NAME, INFO, GO]
 *              OPTION -> LISTING -> OPTION         [LIST]
 *              any -> OVER                [ABORT, bad magic, bad flags, limits]
 * Ownership.   All memory is the caller's.
 * Failure.     A violation that leaves the stream out of step closes; others get an error reply.
 * Limits.      NBD_OPTION_BYTES_MAX, NBD_OPTION_DRAIN_BYTES_MAX, NBD_OPTIONS_MAX,
 *              NBD_STRING_BYTES_MAX.
 */
#include "engine/nbd/nbd_handshake.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/types.h"
#include "engine/nbd/nbd_request.h"

#define NOT_AVAILABLE "not available in this version"
#define MESSAGE_BYTES_MAX 256u
#define DESCRIPTION_BYTES 64u

/* H4: four infos and the ACK, each with its header. */
_Static_assert(5 * (NBD_REP_BYTES + 2) + NBD_EXPORT_INFO_BYTES + NBD_BLOCK_INFO_BYTES +
			       sizeof(((struct volume_info *)0)->name) + DESCRIPTION_BYTES <=
		       NBD_HANDSHAKE_OUT_BYTES,
	       "the longest answer fits");

static enum nbd_handshake_effect step_flags(struct nbd_handshake *h, const uint8_t *in,
					    uint32_t in_bytes, uint32_t *ret_used);
static enum nbd_handshake_effect step_option(struct nbd_handshake *h, const uint8_t *in,
					     uint32_t in_bytes, uint32_t *ret_used,
					     struct cursor *out);
static enum nbd_handshake_effect step_drain(struct nbd_handshake *h, uint32_t in_bytes,
					    uint32_t *ret_used, struct cursor *out);
static enum nbd_handshake_effect option_answer(struct nbd_handshake *h, const uint8_t *payload,
					       uint32_t bytes, struct cursor *out);
static enum nbd_handshake_effect option_export_name(struct nbd_handshake *h, const uint8_t *payload,
						    uint32_t bytes);
static enum nbd_handshake_effect option_info(struct nbd_handshake *h, const uint8_t *payload,
					     uint32_t bytes, struct cursor *out);
static enum nbd_handshake_effect name_take(struct nbd_handshake *h, const uint8_t *name,
					   uint32_t bytes, struct cursor *out);
static bool name_is_text(const uint8_t *s, uint32_t bytes);
static bool name_has_session(const struct nbd_handshake *h);
static void put_infos(struct nbd_handshake *h, const struct volume_info *info, struct cursor *out);
static enum nbd_handshake_effect refuse(struct nbd_handshake *h, uint32_t type, const char *message,
					struct cursor *out);
static enum nbd_handshake_effect over(struct nbd_handshake *h, enum nbd_handshake_effect effect);

void nbd_handshake_init(struct nbd_handshake *h, struct cursor *out)
{
	memset(h, 0, sizeof(*h));
	h->state = NBD_HANDSHAKE_FLAGS;
	put_u64_be(out, NBD_MAGIC);
	put_u64_be(out, NBD_OPTION_MAGIC);
	put_u16_be(out, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	assert(cursor_ok(out));
}

enum nbd_handshake_effect nbd_handshake_step(struct nbd_handshake *h, const uint8_t *in,
					     uint32_t in_bytes, uint32_t *ret_used,
					     struct cursor *out)
{
	assert(cursor_left(out) >= NBD_HANDSHAKE_OUT_BYTES); /* H4 */
	*ret_used = 0;
	switch (h->state) {
	case NBD_HANDSHAKE_FLAGS:
		return step_flags(h, in, in_bytes, ret_used);
	case NBD_HANDSHAKE_OPTION:
		return step_option(h, in, in_bytes, ret_used, out);
	case NBD_HANDSHAKE_DRAIN:
		return step_drain(h, in_bytes, ret_used, out);
	case NBD_HANDSHAKE_FINDING:
	case NBD_HANDSHAKE_LISTING:
	case NBD_HANDSHAKE_OVER:
		break;
	}
	UNREACHABLE("a step while a question is open");
}

static enum nbd_handshake_effect step_flags(struct nbd_handshake *h, const uint8_t *in,
					    uint32_t in_bytes, uint32_t *ret_used)
{
	struct cursor c;
	uint32_t flags;

	if (in_bytes < NBD_CLIENT_FLAGS_BYTES)
		return NBD_HANDSHAKE_MORE;
	cursor_init_read(&c, in, NBD_CLIENT_FLAGS_BYTES);
	flags = get_u32_be(&c);
	*ret_used = NBD_CLIENT_FLAGS_BYTES;
	/* A bit we do not know or did not offer: the protocol demands to close.  Without
	 * FIXED_NEWSTYLE we honour options all the same, as it permits. */
	if ((flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0)
		return over(h, NBD_HANDSHAKE_CLOSE);
	h->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
	h->state = NBD_HANDSHAKE_OPTION;
	return NBD_HANDSHAKE_AGAIN;
}

static enum nbd_handshake_effect step_option(struct nbd_handshake *h, const uint8_t *in,
					     uint32_t in_bytes, uint32_t *ret_used,
					     struct cursor *out)
{
	struct cursor c;
	uint64_t magic;
	uint32_t bytes;

	if (in_bytes < NBD_OPTION_BYTES)
		return NBD_HANDSHAKE_MORE;
	cursor_init_read(&c, in, NBD_OPTION_BYTES);
	magic = get_u64_be(&c);
	h->option = get_u32_be(&c);
	bytes = get_u32_be(&c);
	if (magic != NBD_OPTION_MAGIC || bytes > NBD_OPTION_DRAIN_BYTES_MAX)
		return over(h, NBD_HANDSHAKE_CLOSE);
	if (bytes > NBD_OPTION_BYTES_MAX) {
		h->drain_bytes = bytes;
		h->state = NBD_HANDSHAKE_DRAIN;
		*ret_used = NBD_OPTION_BYTES;
		return NBD_HANDSHAKE_AGAIN;
	}
	if (in_bytes - NBD_OPTION_BYTES < bytes)
		return NBD_HANDSHAKE_MORE;
	*ret_used = NBD_OPTION_BYTES + bytes; /* H1 */
	if (++h->options > NBD_OPTIONS_MAX)
		return over(h, NBD_HANDSHAKE_CLOSE);
	return option_answer(h, in + NBD_OPTION_BYTES, bytes, out);
}

static enum nbd_handshake_effect step_drain(struct nbd_handshake *h, uint32_t in_bytes,
					    uint32_t *ret_used, struct cursor *out)
{
	uint32_t n = in_bytes < h->drain_bytes ? in_bytes : h->drain_bytes;

	*ret_used = n;
	h->drain_bytes -= n;
	if (h->drain_bytes > 0)
		return NBD_HANDSHAKE_MORE;
	h->state = NBD_HANDSHAKE_OPTION;
	if (++h->options > NBD_OPTIONS_MAX || h->option == NBD_OPT_EXPORT_NAME)
		return over(h, NBD_HANDSHAKE_CLOSE); /* H2 */
	if (h->option == NBD_OPT_ABORT)
		return option_answer(h, NULL, 0, out);
	return refuse(h, NBD_REP_ERR_TOO_BIG, "the option is too large", out);
}

static enum nbd_handshake_effect option_answer(struct nbd_handshake *h, const uint8_t *payload,
					       uint32_t bytes, struct cursor *out)
{
	switch (h->option) {
	case NBD_OPT_EXPORT_NAME:
		return option_export_name(h, payload, bytes);
	case NBD_OPT_ABORT: /* data is ignored */
		nbd_put_rep(out, h->option, NBD_REP_ACK, 0);
		return over(h, NBD_HANDSHAKE_CLOSE);
	case NBD_OPT_LIST:
		if (bytes != 0)
			return refuse(h, NBD_REP_ERR_INVALID, "LIST takes no data", out);
		h->state = NBD_HANDSHAKE_LISTING;
		return NBD_HANDSHAKE_LIST;
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return option_info(h, payload, bytes, out);
	case NBD_OPT_PEEK_EXPORT:
		return refuse(h, NBD_REP_ERR_UNSUP, "withdrawn from the protocol", out);
	case NBD_OPT_STARTTLS:
	case NBD_OPT_STRUCTURED_REPLY:
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
	case NBD_OPT_EXTENDED_HEADERS:
		return refuse(h, NBD_REP_ERR_UNSUP, NOT_AVAILABLE, out);
	default:
		return refuse(h, NBD_REP_ERR_UNSUP, "unknown option", out);
	}
}

static enum nbd_handshake_effect option_export_name(struct nbd_handshake *h, const uint8_t *payload,
						    uint32_t bytes)
{
	struct cursor nowhere;
	uint8_t dropped[NBD_HANDSHAKE_OUT_BYTES];
	enum nbd_handshake_effect effect;

	h->infos = 0;
	cursor_init(&nowhere, dropped, sizeof(dropped));
	effect = name_take(h, payload, bytes, &nowhere);
	return effect == NBD_HANDSHAKE_FIND ? effect : over(h, NBD_HANDSHAKE_CLOSE); /* H2 */
}

/* u32 name length, name, u16 count, count times u16 */
static enum nbd_handshake_effect option_info(struct nbd_handshake *h, const uint8_t *payload,
					     uint32_t bytes, struct cursor *out)
{
	struct cursor c;
	const uint8_t *name;
	uint32_t name_bytes;
	uint16_t count;

	cursor_init_read(&c, payload, bytes);
	name_bytes = get_u32_be(&c);
	name = cursor_skip(&c, name_bytes); /* H3 */
	count = get_u16_be(&c);
	if (!cursor_ok(&c) || cursor_left(&c) != (size_t)count * 2)
		return refuse(h, NBD_REP_ERR_INVALID, "lengths inside the option do not agree",
			      out);
	h->infos = 1u << NBD_INFO_EXPORT;
	for (uint32_t i = 0; i < count; i++) {
		uint16_t info = get_u16_be(&c);

		if (info <= NBD_INFO_BLOCK_SIZE)
			h->infos |= 1u << info; /* unknown ones are ignored */
	}
	assert(cursor_ok(&c) && cursor_left(&c) == 0);
	return name_take(h, name, name_bytes, out);
}

static enum nbd_handshake_effect name_take(struct nbd_handshake *h, const uint8_t *name,
					   uint32_t bytes, struct cursor *out)
{
	if (bytes > NBD_STRING_BYTES_MAX)
		return refuse(h, NBD_REP_ERR_TOO_BIG, "the export name is too long", out);
	if (!name_is_text(name, bytes))
		return refuse(h, NBD_REP_ERR_INVALID, "the export name is not UTF-8 text", out);
	if (bytes > 0)
		memcpy(h->name, name, bytes);
	h->name_bytes = bytes;
	if (name_has_session(h))
		return refuse(h, NBD_REP_ERR_UNSUP, NOT_AVAILABLE, out);
	h->state = NBD_HANDSHAKE_FINDING;
	return NBD_HANDSHAKE_FIND;
}

/* UTF-8 without NUL, without overlong forms and surrogates. */
static bool name_is_text(const uint8_t *s, uint32_t bytes)
{
	uint32_t i = 0;

	while (i < bytes) {
		uint32_t extra = s[i] < 0x80 ? 0 : s[i] < 0xe0 ? 1 : s[i] < 0xf0 ? 2 : 3;
		uint32_t code = extra == 0 ? s[i] : s[i] & (0x3fu >> extra);

		if (s[i] == 0 || (s[i] >= 0x80 && s[i] < 0xc2) || s[i] > 0xf4 || extra >= bytes - i)
			return false;
		for (uint32_t k = 1; k <= extra; k++) {
			if ((s[i + k] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (s[i + k] & 0x3fu);
		}
		if ((extra == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
		    (extra == 3 && (code < 0x10000 || code > 0x10ffff)))
			return false;
		i += extra + 1;
	}
	return true;
}

/* GROUP/VOLUME?session=UUID&slot=N&gen=N: a reconnecting client that tells who it is. */
static bool name_has_session(const struct nbd_handshake *h)
{
	static const char mark[] = "?session=";

	return h->name_bytes >= sizeof(mark) - 1 &&
	       memmem(h->name, h->name_bytes, mark, sizeof(mark) - 1) != NULL;
}

bool nbd_handshake_enters(const struct nbd_handshake *h)
{
	assert(h->state == NBD_HANDSHAKE_FINDING);
	return h->option != NBD_OPT_INFO;
}

uint16_t nbd_export_flags(const struct volume_info *info)
{
	uint32_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
			 NBD_FLAG_CAN_MULTI_CONN;

	if (info->read_only)
		flags |= NBD_FLAG_READ_ONLY;
	else
		flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
	return (uint16_t)flags;
}

enum nbd_handshake_effect nbd_handshake_found(struct nbd_handshake *h,
					      const struct volume_info *info, struct cursor *out)
{
	assert(h->state == NBD_HANDSHAKE_FINDING);
	assert(cursor_left(out) >= NBD_HANDSHAKE_OUT_BYTES); /* H4 */
	if (h->option == NBD_OPT_EXPORT_NAME) {
		put_u64_be(out, info->bytes);
		put_u16_be(out, nbd_export_flags(info));
		if (!h->no_zeroes)
			put_zeroes(out, NBD_EXPORT_NAME_PAD);
		return over(h, NBD_HANDSHAKE_TRANSMIT);
	}
	put_infos(h, info, out);
	nbd_put_rep(out, h->option, NBD_REP_ACK, 0);
	assert(cursor_ok(out));
	if (h->option == NBD_OPT_GO)
		return over(h, NBD_HANDSHAKE_TRANSMIT);
	h->state = NBD_HANDSHAKE_OPTION;
	return NBD_HANDSHAKE_AGAIN;
}

static void put_infos(struct nbd_handshake *h, const struct volume_info *info, struct cursor *out)
{
	if ((h->infos & 1u << NBD_INFO_NAME) != 0) {
		uint32_t n = (uint32_t)strlen(info->name);

		nbd_put_rep(out, h->option, NBD_REP_INFO, 2 + n);
		put_u16_be(out, NBD_INFO_NAME);
		put_bytes(out, info->name, n);
	}
	if ((h->infos & 1u << NBD_INFO_DESCRIPTION) != 0) {
		char text[DESCRIPTION_BYTES] = "twinshore volume ";
		uint32_t n = (uint32_t)strlen(text);

		uuid_format(&info->uuid, text + n);
		n = (uint32_t)strlen(text);
		nbd_put_rep(out, h->option, NBD_REP_INFO, 2 + n);
		put_u16_be(out, NBD_INFO_DESCRIPTION);
		put_bytes(out, text, n);
	}
	if ((h->infos & 1u << NBD_INFO_BLOCK_SIZE) != 0) {
		nbd_put_rep(out, h->option, NBD_REP_INFO, NBD_BLOCK_INFO_BYTES);
		put_u16_be(out, NBD_INFO_BLOCK_SIZE);
		put_u32_be(out, info->block_bytes);
		put_u32_be(out, BLOCK_BYTES);
		put_u32_be(out, NBD_PAYLOAD_BYTES_MAX);
	}
	nbd_put_rep(out, h->option, NBD_REP_INFO, NBD_EXPORT_INFO_BYTES);
	put_u16_be(out, NBD_INFO_EXPORT);
	put_u64_be(out, info->bytes);
	put_u16_be(out, nbd_export_flags(info));
}

enum nbd_handshake_effect nbd_handshake_not_found(struct nbd_handshake *h, int rc,
						  const char *message, struct cursor *out)
{
	uint32_t type = NBD_REP_ERR_PLATFORM;

	assert(h->state == NBD_HANDSHAKE_FINDING);
	assert(rc < 0);
	if (h->option == NBD_OPT_EXPORT_NAME)
		return over(h, NBD_HANDSHAKE_CLOSE); /* H2 */
	if (rc == -ERR_NOT_FOUND || rc == -ERR_INVALID)
		type = NBD_REP_ERR_UNKNOWN;
	else if (rc == -ERR_UNSUPPORTED)
		type = NBD_REP_ERR_UNSUP;
	else if (rc == -ERR_NOT_PRIMARY || rc == -ERR_SUSPENDED || rc == -ERR_NO_QUORUM ||
		 rc == -ERR_CLOSED || rc == -ERR_PERMISSION || rc == -ERR_STALE)
		type = NBD_REP_ERR_POLICY;
	if (message == NULL || message[0] == '\0')
		message = rc == -ERR_NOT_FOUND ? "no such export" : err_text(rc);
	h->state = NBD_HANDSHAKE_OPTION;
	return refuse(h, type, message, out);
}

void nbd_handshake_entry(struct nbd_handshake *h, const struct volume_info *info,
			 struct cursor *out)
{
	uint32_t n = (uint32_t)strlen(info->name);

	assert(h->state == NBD_HANDSHAKE_LISTING);
	nbd_put_rep(out, h->option, NBD_REP_SERVER, 4 + n);
	put_u32_be(out, n);
	put_bytes(out, info->name, n);
	assert(cursor_ok(out));
}

void nbd_handshake_list_end(struct nbd_handshake *h, struct cursor *out)
{
	assert(h->state == NBD_HANDSHAKE_LISTING);
	nbd_put_rep(out, h->option, NBD_REP_ACK, 0);
	assert(cursor_ok(out));
	h->state = NBD_HANDSHAKE_OPTION;
}

static enum nbd_handshake_effect refuse(struct nbd_handshake *h, uint32_t type, const char *message,
					struct cursor *out)
{
	uint32_t n = (uint32_t)strnlen(message, MESSAGE_BYTES_MAX);

	assert(h->state == NBD_HANDSHAKE_OPTION);
	nbd_put_rep(out, h->option, type, n);
	put_bytes(out, message, n);
	assert(cursor_ok(out));
	return NBD_HANDSHAKE_AGAIN;
}

static enum nbd_handshake_effect over(struct nbd_handshake *h, enum nbd_handshake_effect effect)
{
	h->state = NBD_HANDSHAKE_OVER;
	return effect;
}
