/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/size.h"

#include <string.h>

#include "engine/base/err.h"
#include "tests/unit/base/base_test.h"

START_TEST(size_parse_reads_every_suffix)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {{"0", 0},
		    {"4096", 4096},
		    {"7B", 7},
		    {"4KiB", 4096},
		    {"4K", 4096},
		    {"1MiB", 1ull << 20},
		    {"3M", 3ull << 20},
		    {"10GiB", 10ull << 30},
		    {"10 GiB", 10ull << 30},
		    {"1T", 1ull << 40},
		    {"16TiB", 16ull << 40},
		    {"2kB", 2000},
		    {"2MB", 2000000},
		    {"2GB", 2000000000},
		    {"1TB", 1000000000000},
		    {"18446744073709551615", UINT64_MAX},
		    {"16383PiB", 16383ull << 50}};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint64_t bytes = 1;

		ck_assert_msg(size_parse(rows[i].text, &bytes) == 0, "%s", rows[i].text);
		ck_assert(bytes == rows[i].bytes);
	}
}
END_TEST

START_TEST(size_parse_refuses_other_text_and_leaves_the_result)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {{"", -ERR_INVALID},
		    {"K", -ERR_INVALID},
		    {"-1", -ERR_INVALID},
		    {"+1", -ERR_INVALID},
		    {" 1", -ERR_INVALID},
		    {"1 ", -ERR_INVALID},
		    {"1  K", -ERR_INVALID},
		    {"1k", -ERR_INVALID},
		    {"1KB", -ERR_INVALID},
		    {"1.5G", -ERR_INVALID},
		    {"1GiBs", -ERR_INVALID},
		    {"0x10", -ERR_INVALID},
		    {"18446744073709551616", -ERR_TOO_BIG},
		    {"16384PiB", -ERR_TOO_BIG},
		    {"99999999999999999999999", -ERR_TOO_BIG}};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint64_t bytes = 77;

		ck_assert_msg(size_parse(rows[i].text, &bytes) == rows[i].rc, "%s", rows[i].text);
		ck_assert(bytes == 77);
	}
}
END_TEST

START_TEST(duration_parse_reads_every_unit)
{
	uint64_t ns = 1;

	ck_assert(duration_parse("0", &ns) == 0 && ns == 0);
	ck_assert(duration_parse("15ms", &ns) == 0 && ns == 15000000);
	ck_assert(duration_parse("30s", &ns) == 0 && ns == 30000000000ull);
	ck_assert(duration_parse("5m", &ns) == 0 && ns == 300000000000ull);
	ck_assert(duration_parse("1h", &ns) == 0 && ns == 3600000000000ull);
	ck_assert(duration_parse("30d", &ns) == 0 && ns == 30 * 86400000000000ull);
	ck_assert_int_eq(duration_parse("30", &ns), -ERR_INVALID);
	ck_assert_int_eq(duration_parse("1w", &ns), -ERR_INVALID);
	ck_assert_int_eq(duration_parse("999999999d", &ns), -ERR_TOO_BIG);
}
END_TEST

/* Whatever is formatted exactly is parsed to the same value. */
START_TEST(exact_texts_come_back)
{
	const uint64_t values[] = {0,
				   1,
				   999,
				   1000,
				   1024,
				   1536,
				   4097,
				   1ull << 20,
				   86400000000000ull,
				   90000000000ull,
				   10ull << 30,
				   UINT64_MAX,
				   1ull << 63};

	for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
		char text[SIZE_TEXT_BYTES];
		uint64_t back = 1;

		size_format(values[i], text);
		ck_assert(size_parse(text, &back) == 0 && back == values[i]);
		duration_format(values[i], text);
		ck_assert(duration_parse(text, &back) == 0 && back == values[i]);
	}
}
END_TEST

START_TEST(short_sizes_are_for_people)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {{0, "0 B"},
		    {1023, "1023 B"},
		    {1024, "1 KiB"},
		    {1536, "1.5 KiB"},
		    {3ull << 29, "1.5 GiB"},
		    {(1ull << 30) - 1, "1023.9 MiB"},
		    {UINT64_MAX, "16383.9 PiB"}};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char text[SIZE_TEXT_BYTES];

		size_format_short(rows[i].bytes, text);
		ck_assert_str_eq(text, rows[i].text);
	}
}
END_TEST

START_TEST(number_parse_reads_digits_only)
{
	uint64_t value = 5;

	ck_assert(number_parse("007", &value) == 0 && value == 7);
	ck_assert_int_eq(number_parse("7 ", &value), -ERR_INVALID);
	ck_assert_int_eq(number_parse("", &value), -ERR_INVALID);
	ck_assert(value == 7);
}
END_TEST

START_TEST(names_follow_their_grammar)
{
	char longest[65];

	ck_assert(name_is_valid("a") && name_is_valid("0.v_-Z"));
	ck_assert(!name_is_valid("") && !name_is_valid(".a") && !name_is_valid("-a"));
	ck_assert(!name_is_valid("a/b") && !name_is_valid("a b") && !name_is_valid("\xc3\xa4"));
	memset(longest, 'a', sizeof(longest));
	longest[63] = '\0';
	ck_assert(name_is_valid(longest) && !site_name_is_valid(longest));
	longest[63] = 'a';
	longest[64] = '\0';
	ck_assert(!name_is_valid(longest));
	ck_assert(site_name_is_valid("east-1") && site_name_is_valid("-"));
	ck_assert(!site_name_is_valid("") && !site_name_is_valid("East") &&
		  !site_name_is_valid("a.b"));
}
END_TEST

START_TEST(checked_arithmetic_tells_overflow)
{
	uint64_t v = 3;

	ck_assert(!u64_add(UINT64_MAX, 1, &v) && v == 3);
	ck_assert(!u64_mul(1ull << 32, 1ull << 32, &v) && v == 3);
	ck_assert(u64_add(UINT64_MAX, 0, &v) && v == UINT64_MAX);
	ck_assert(range_inside(0, 10, 10) && range_inside(10, 0, 10));
	ck_assert(!range_inside(11, 0, 10) && !range_inside(1, UINT64_MAX, 10));
	ck_assert(u64_round_up(4097, 4096) == 8192 && u64_div_up(4097, 4096) == 2);
	ck_assert(u64_div_up(UINT64_MAX, 1) == UINT64_MAX);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		size_parse_reads_every_suffix,
		size_parse_refuses_other_text_and_leaves_the_result,
		duration_parse_reads_every_unit,
		exact_texts_come_back,
		short_sizes_are_for_people,
		number_parse_reads_digits_only,
		names_follow_their_grammar,
		checked_arithmetic_tells_overflow,
	};

	return base_test_run("base-size", tests, ARRAY_COUNT(tests));
}
