/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/moment.c
 * Purpose.     Read a moment of the past.
 * Failure.     -ERR_INVALID for what is not wholly of one of the forms: a time is never guessed.
 */
#include "tools/ctl/moment.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/size.h"
#include "engine/base/types.h"

#define AGE_TEXT_BYTES 32u

/* Exactly n digits of value low..high at *text, which moves behind them. */
static bool digits(const char **text, uint32_t n, uint32_t low, uint32_t high, uint32_t *ret)
{
	uint32_t v = 0;

	for (uint32_t i = 0; i < n; i++, (*text)++) {
		if (**text < '0' || **text > '9')
			return false;
		v = v * 10 + (uint32_t)(**text - '0');
	}
	*ret = v;
	return v >= low && v <= high;
}

static bool mark(const char **text, const char *any)
{
	if (**text == '\0' || strchr(any, **text) == NULL)
		return false;
	(*text)++;
	return true;
}

/* Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static uint64_t days_from_civil(uint32_t year, uint32_t month, uint32_t day)
{
	uint64_t y = year - (month <= 2), era = y / 400, yoe = y - era * 400;
	uint64_t doy = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static uint32_t month_days(uint32_t year, uint32_t month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* .frac, up to nine digits; more are cut off. */
static bool fraction(const char **text, uint64_t *ns)
{
	uint64_t unit = SEC_NS / 10;
	const char *from;

	if (!mark(text, "."))
		return true;
	for (from = *text; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
		*ns += unit * (uint64_t)(**text - '0');
	return *text != from;
}

/* Z, +HH:MM, -HH:MM; nothing where a blank stood in the place of T. */
static bool zone(const char **text, bool may_lack, uint64_t *ns)
{
	uint32_t h, m;
	uint64_t offset;
	bool plus;

	if (may_lack && **text == '\0')
		return true;
	if (mark(text, "Zz"))
		return true;
	plus = **text == '+';
	if (!mark(text, "+-") || !digits(text, 2, 0, 23, &h) || !mark(text, ":") ||
	    !digits(text, 2, 0, 59, &m))
		return false;
	offset = (h * 3600ull + m * 60ull) * SEC_NS;
	if (plus && *ns < offset)
		return false;
	*ns = plus ? *ns - offset : *ns + offset;
	return true;
}

static int time_parse(const char *text, uint64_t *ret)
{
	uint32_t year, month, day, h, m, s;
	uint64_t ns;
	bool blank;

	if (!digits(&text, 4, 1970, 2500, &year) || !mark(&text, "-") ||
	    !digits(&text, 2, 1, 12, &month) || !mark(&text, "-") ||
	    !digits(&text, 2, 1, month_days(year, month), &day))
		return -ERR_INVALID;
	blank = *text == ' ';
	if (!mark(&text, "Tt ") || !digits(&text, 2, 0, 23, &h) || !mark(&text, ":") ||
	    !digits(&text, 2, 0, 59, &m) || !mark(&text, ":") || !digits(&text, 2, 0, 60, &s))
		return -ERR_INVALID;
	ns = (days_from_civil(year, month, day) * 86400 + h * 3600ull + m * 60ull + s) * SEC_NS;
	if (!fraction(&text, &ns) || !zone(&text, blank, &ns) || *text != '\0')
		return -ERR_INVALID;
	*ret = ns;
	return 0;
}

/* -10m, or 10m ago. */
static int age_parse(const char *text, uint64_t *ret)
{
	static const char ago[] = " ago";
	char age[AGE_TEXT_BYTES];
	size_t n = strlen(text);

	if (text[0] == '-') {
		return duration_parse(text + 1, ret) < 0 ? -ERR_INVALID : 0;
	}
	if (n < sizeof(ago) || n >= sizeof(age) + sizeof(ago) - 1 ||
	    strcmp(text + n - (sizeof(ago) - 1), ago) != 0)
		return -ERR_INVALID;
	n -= sizeof(ago) - 1;
	memcpy(age, text, n);
	age[n] = '\0';
	return duration_parse(age, ret) < 0 ? -ERR_INVALID : 0;
}

int moment_parse(const char *text, struct moment *ret)
{
	struct moment m = {0};

	if (number_parse(text, &m.lsn) == 0)
		m.kind = MOMENT_LSN;
	else if (time_parse(text, &m.time_ns) == 0)
		m.kind = MOMENT_TIME;
	else if (age_parse(text, &m.age_ns) == 0)
		m.kind = MOMENT_AGE;
	else
		return -ERR_INVALID;
	*ret = m;
	return 0;
}
