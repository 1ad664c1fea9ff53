/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/uuid.c
 * Purpose.  UUIDs as 16 bytes in the order of their text (RFC 4122, section 3).
 */
#include "engine/base/uuid.h"

#include "engine/base/err.h"

static int hex_digit(char c);
static bool uuid_dash_before(size_t index);

bool uuid_is_nil(const struct uuid *u)
{
	for (size_t i = 0; i < sizeof(u->b); i++)
		if (u->b[i] != 0)
			return false;
	return true;
}

void uuid_from_random(struct uuid *ret_u, const uint8_t random[16])
{
	memcpy(ret_u->b, random, sizeof(ret_u->b));
	ret_u->b[6] = (uint8_t)((ret_u->b[6] & 0x0f) | 0x40); /* version 4 */
	ret_u->b[8] = (uint8_t)((ret_u->b[8] & 0x3f) | 0x80); /* variant 10 */
}

void uuid_format(const struct uuid *u, char ret_text[UUID_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *at = ret_text;

	for (size_t i = 0; i < sizeof(u->b); i++) {
		if (uuid_dash_before(i))
			*at++ = '-';
		*at++ = digits[u->b[i] >> 4];
		*at++ = digits[u->b[i] & 15];
	}
	*at = '\0';
}

int uuid_parse(const char *text, struct uuid *ret_u)
{
	struct uuid u;

	for (size_t i = 0; i < sizeof(u.b); i++) {
		int high, low;

		if (uuid_dash_before(i) && *text++ != '-')
			return -ERR_INVALID;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -ERR_INVALID;
		u.b[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return -ERR_INVALID;
	*ret_u = u;
	return 0;
}

static bool uuid_dash_before(size_t index)
{
	return index == 4 || index == 6 || index == 8 || index == 10;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}
