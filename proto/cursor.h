/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/cursor.h: the only way bytes are put and got.  Every access is bounded: an overrun sets
 * `bad` and gives zeroes, so a decoder checks once at its end (cursor_ok).  put_/get_ without a
 * suffix are little-endian; _be is for NBD.
 */
#ifndef TS_PROTO_CURSOR_H
#define TS_PROTO_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
	uint8_t *at, *end;
	bool bad;
};

static inline void cursor_init(struct cursor *c, void *data, size_t bytes)
{
	c->at = data;
	c->end = c->at + bytes;
	c->bad = false;
}

/* For reading from const data; never put through such a cursor. */
static inline void cursor_init_read(struct cursor *c, const void *data, size_t bytes)
{
	cursor_init(c, (void *)(uintptr_t)data, bytes);
}

static inline bool cursor_ok(const struct cursor *c)
{
	return !c->bad;
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->at);
}

/* Are `bytes` more there?  If not, the cursor is bad from now on. */
static inline bool cursor_has(struct cursor *c, size_t bytes)
{
	if (c->bad || (size_t)(c->end - c->at) < bytes)
		c->bad = true;
	return !c->bad;
}

/* `bytes` bytes at the cursor, which moves on; NULL (and bad) if there are fewer. */
static inline uint8_t *cursor_skip(struct cursor *c, size_t bytes)
{
	uint8_t *p = c->at;

	if (!cursor_has(c, bytes))
		return NULL;
	c->at += bytes;
	return p;
}

/* These do not go through cursor_skip: gcc 12 would follow a NULL onwards and warn of its writes. */
static inline void get_bytes(struct cursor *c, void *ret, size_t bytes)
{
	if (cursor_has(c, bytes)) {
		memcpy(ret, c->at, bytes);
		c->at += bytes;
	} else {
		memset(ret, 0, bytes);
	}
}

static inline void put_bytes(struct cursor *c, const void *data, size_t bytes)
{
	if (cursor_has(c, bytes)) {
		memcpy(c->at, data, bytes);
		c->at += bytes;
	}
}

static inline void put_zeroes(struct cursor *c, size_t bytes)
{
	if (cursor_has(c, bytes)) {
		memset(c->at, 0, bytes);
		c->at += bytes;
	}
}

#define CURSOR_NUMBER_(bits, name, convert_get, convert_put)                     \
	static inline uint##bits##_t get_u##bits##name(struct cursor *c)         \
	{                                                                        \
		uint##bits##_t x;                                                \
		get_bytes(c, &x, sizeof(x));                                     \
		return (uint##bits##_t)convert_get(x);                           \
	}                                                                        \
	static inline void put_u##bits##name(struct cursor *c, uint##bits##_t v) \
	{                                                                        \
		uint##bits##_t x = (uint##bits##_t)convert_put(v);               \
		put_bytes(c, &x, sizeof(x));                                     \
	}
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "big-endian machines are not supported"
#endif
#define CURSOR_SAME_(x) (x)
CURSOR_NUMBER_(8, , CURSOR_SAME_, CURSOR_SAME_)
CURSOR_NUMBER_(16, , CURSOR_SAME_, CURSOR_SAME_)
CURSOR_NUMBER_(32, , CURSOR_SAME_, CURSOR_SAME_)
CURSOR_NUMBER_(64, , CURSOR_SAME_, CURSOR_SAME_)
CURSOR_NUMBER_(16, _be, __builtin_bswap16, __builtin_bswap16)
CURSOR_NUMBER_(32, _be, __builtin_bswap32, __builtin_bswap32)
CURSOR_NUMBER_(64, _be, __builtin_bswap64, __builtin_bswap64)
#undef CURSOR_NUMBER_
#undef CURSOR_SAME_

#endif
