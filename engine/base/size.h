/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/size.h: sizes, durations and names as people write them; checked arithmetic.
 *
 * All parsers read the whole text, answer 0, -ERR_INVALID (not of that form) or -ERR_TOO_BIG (it
 * does not fit), and leave *ret untouched on failure.
 */
#ifndef TS_BASE_SIZE_H
#define TS_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/attr.h"

#define SIZE_TEXT_BYTES 48

/* Bytes: digits with an optional suffix, a blank between allowed, case matters: B, KiB MiB GiB TiB
 * PiB and K M G T P (binary), kB MB GB TB PB (decimal). */
MUST_CHECK int size_parse(const char *text, uint64_t *ret_bytes);

/* Exact, by the largest binary unit that divides: "10GiB", "4097B"; size_parse reads it back. */
void size_format(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES]);

/* For people, at most one decimal, rounded down: "1.5 GiB", "999 B". */
void size_format_short(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES]);

/* Nanoseconds: digits with one of ns us ms s m h d; a bare "0" is allowed. */
MUST_CHECK int duration_parse(const char *text, uint64_t *ret_ns);

/* Exact, by the largest unit that divides: "90s", "1d"; duration_parse reads it back. */
void duration_format(uint64_t ns, char ret_text[SIZE_TEXT_BYTES]);

/* Decimal digits only. */
MUST_CHECK int number_parse(const char *text, uint64_t *ret_value);

/* Names of groups, volumes, snapshots, policies: [A-Za-z0-9][A-Za-z0-9._-]{0,62}. */
bool name_is_valid(const char *text);
bool name_bytes_valid(const char *text, size_t bytes); /* the same without a NUL at the end */
bool site_name_is_valid(const char *text);	       /* [a-z0-9-]{1,32} */

/* false: the result does not fit, *ret is untouched. */
MUST_CHECK static inline bool u64_add(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t x;

	if (__builtin_add_overflow(a, b, &x))
		return false;
	*ret = x;
	return true;
}

MUST_CHECK static inline bool u64_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t x;

	if (__builtin_mul_overflow(a, b, &x))
		return false;
	*ret = x;
	return true;
}

/* Is [offset, offset + bytes) inside [0, limit)?  An empty range at the limit is. */
static inline bool range_inside(uint64_t offset, uint64_t bytes, uint64_t limit)
{
	return offset <= limit && bytes <= limit - offset;
}

/* unit > 0; the caller knows that it does not overflow. */
static inline uint64_t u64_round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

static inline uint64_t u64_div_up(uint64_t v, uint64_t unit)
{
	return v / unit + (v % unit != 0);
}

#endif
