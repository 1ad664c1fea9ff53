/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/size.c
 * Purpose.  Sizes, durations and names from and to text.  What is written exactly is read back.
 * Limits.   Whole numbers only: "1.5GiB" is refused, so that nothing is ever rounded on input.
 */
#include "engine/base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/types.h"

struct unit {
	const char *name;
	uint64_t factor;
};

#define UNIT_KIB (1ull << 10)
#define UNIT_MIB (1ull << 20)
#define UNIT_GIB (1ull << 30)
#define UNIT_TIB (1ull << 40)
#define UNIT_PIB (1ull << 50)

static const struct unit size_units[] = {
	{"", 1},
	{"B", 1},
	{"KiB", UNIT_KIB},
	{"MiB", UNIT_MIB},
	{"GiB", UNIT_GIB},
	{"TiB", UNIT_TIB},
	{"PiB", UNIT_PIB},
	{"K", UNIT_KIB},
	{"M", UNIT_MIB},
	{"G", UNIT_GIB},
	{"T", UNIT_TIB},
	{"P", UNIT_PIB},
	{"kB", 1000},
	{"MB", 1000000},
	{"GB", 1000000000},
	{"TB", 1000000000000},
	{"PB", 1000000000000000},
};
static const struct unit size_binary_units[] = {
	{"PiB", UNIT_PIB}, {"TiB", UNIT_TIB}, {"GiB", UNIT_GIB},
	{"MiB", UNIT_MIB}, {"KiB", UNIT_KIB}, {"B", 1},
};
static const struct unit duration_units[] = {
	{"d", 86400 * SEC_NS}, {"h", 3600 * SEC_NS}, {"m", 60 * SEC_NS}, {"s", SEC_NS},
	{"ms", MS_NS},	       {"us", 1000},	     {"ns", 1},
};

static int digits_parse(const char **text, uint64_t *ret_value);
static int unit_parse(const char *text, const struct unit *units, size_t count,
		      uint64_t *ret_value);
static void unit_format(uint64_t value, const struct unit *units, size_t count, char *ret_text);

int size_parse(const char *text, uint64_t *ret_bytes)
{
	return unit_parse(text, size_units, ARRAY_COUNT(size_units), ret_bytes);
}

int duration_parse(const char *text, uint64_t *ret_ns)
{
	if (strcmp(text, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	return unit_parse(text, duration_units, ARRAY_COUNT(duration_units), ret_ns);
}

int number_parse(const char *text, uint64_t *ret_value)
{
	uint64_t value;
	int rc = digits_parse(&text, &value);

	if (rc < 0)
		return rc;
	if (*text != '\0')
		return -ERR_INVALID;
	*ret_value = value;
	return 0;
}

static int unit_parse(const char *text, const struct unit *units, size_t count, uint64_t *ret_value)
{
	uint64_t value;
	int rc = digits_parse(&text, &value);

	if (rc < 0)
		return rc;
	if (text[0] == ' ' && text[1] != '\0')
		text++;
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, units[i].name) == 0)
			return u64_mul(value, units[i].factor, ret_value) ? 0 : -ERR_TOO_BIG;
	return -ERR_INVALID;
}

static int digits_parse(const char **text, uint64_t *ret_value)
{
	const char *at = *text;
	uint64_t value = 0;

	if (*at < '0' || *at > '9')
		return -ERR_INVALID;
	for (; *at >= '0' && *at <= '9'; at++)
		if (!u64_mul(value, 10, &value) || !u64_add(value, (uint64_t)(*at - '0'), &value))
			return -ERR_TOO_BIG;
	*text = at;
	*ret_value = value;
	return 0;
}

void size_format(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES])
{
	unit_format(bytes, size_binary_units, ARRAY_COUNT(size_binary_units), ret_text);
}

void duration_format(uint64_t ns, char ret_text[SIZE_TEXT_BYTES])
{
	unit_format(ns, duration_units, ARRAY_COUNT(duration_units), ret_text);
}

/* The largest unit first; 0 is in the base unit of people: "0B", "0s". */
static void unit_format(uint64_t value, const struct unit *units, size_t count, char *ret_text)
{
	if (value == 0) {
		snprintf(ret_text, SIZE_TEXT_BYTES, units == duration_units ? "0s" : "0B");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (value % units[i].factor == 0) {
			snprintf(ret_text, SIZE_TEXT_BYTES, "%" PRIu64 "%s",
				 value / units[i].factor, units[i].name);
			return;
		}
	UNREACHABLE("the last unit divides every value");
}

void size_format_short(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES])
{
	const struct unit *u = size_binary_units;
	uint64_t tenths;

	while (u->factor > bytes && u->factor > 1)
		u++;
	tenths = bytes % u->factor * 10 / u->factor;
	if (tenths == 0 || u->factor == 1)
		snprintf(ret_text, SIZE_TEXT_BYTES, "%" PRIu64 " %s", bytes / u->factor, u->name);
	else
		snprintf(ret_text, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " %s", bytes / u->factor,
			 tenths, u->name);
}

static bool char_is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_bytes_valid(const char *text, size_t bytes)
{
	if (bytes < 1 || bytes > NAME_BYTES_MAX || !char_is_alnum(text[0]))
		return false;
	for (size_t i = 1; i < bytes; i++)
		if (!char_is_alnum(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-')
			return false;
	return true;
}

bool name_is_valid(const char *text)
{
	return name_bytes_valid(text, strnlen(text, NAME_BYTES_MAX + 1));
}

bool site_name_is_valid(const char *text)
{
	size_t bytes = strnlen(text, SITE_NAME_BYTES_MAX + 1);

	if (bytes < 1 || bytes > SITE_NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i < bytes; i++)
		if (!char_is_alnum(text[i]) && text[i] != '-')
			return false;
		else if (text[i] >= 'A' && text[i] <= 'Z')
			return false;
	return true;
}
