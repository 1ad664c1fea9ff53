/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/uuid.h: 128-bit identities (RFC 4122 version 4 when made here). */
#ifndef TS_BASE_UUID_H
#define TS_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/attr.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_BYTES 37 /* 36 characters and a NUL */

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static inline int uuid_compare(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool uuid_is_nil(const struct uuid *u);
void uuid_from_random(struct uuid *ret_u, const uint8_t random[16]); /* sets version and variant */
void uuid_format(const struct uuid *u, char ret_text[UUID_TEXT_BYTES]);
MUST_CHECK int uuid_parse(const char *text, struct uuid *ret_u); /* -ERR_INVALID */

#endif
