/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/crc.h"

#include <string.h>

#include "tests/unit/base/base_test.h"

/* RFC 3720 B.4 and the catalogue of parametrised CRC algorithms. */
START_TEST(crc32c_gives_the_published_values)
{
	uint8_t data[32];

	ck_assert_uint_eq(crc32c("123456789", 9), 0xe3069283u);
	ck_assert_uint_eq(crc32c("", 0), 0);
	memset(data, 0, sizeof(data));
	ck_assert_uint_eq(crc32c(data, sizeof(data)), 0x8a9136aau);
	memset(data, 0xff, sizeof(data));
	ck_assert_uint_eq(crc32c(data, sizeof(data)), 0x62a8ab43u);
	for (uint8_t i = 0; i < sizeof(data); i++)
		data[i] = i;
	ck_assert_uint_eq(crc32c(data, sizeof(data)), 0x46dd794eu);
}
END_TEST

START_TEST(crc32c_of_a_zero_block_is_the_constant)
{
	static const uint8_t zeroes[4096];

	ck_assert_uint_eq(crc32c(zeroes, sizeof(zeroes)), crc32c_block_of_zeroes());
}
END_TEST

/* Bit by bit, for every short length at every alignment: isa-l switches code by both. */
START_TEST(crc32c_agrees_with_the_definition)
{
	uint8_t data[300];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (size_t begin = 0; begin < 17; begin++) {
		uint32_t crc = 0xffffffffu;

		for (size_t end = begin; end < sizeof(data); end++) {
			ck_assert_uint_eq(crc32c(data + begin, end - begin), ~crc);
			crc ^= data[end];
			for (int bit = 0; bit < 8; bit++)
				crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
		}
	}
}
END_TEST

START_TEST(crc64_gives_the_published_value)
{
	ck_assert(crc64(0, "123456789", 9) == 0x995dc9bbdf1939faull);
	ck_assert(crc64(0, "", 0) == 0);
}
END_TEST

START_TEST(crc64_chains)
{
	static const char text[] = "123456789";

	for (size_t cut = 0; cut <= 9; cut++) {
		uint64_t crc = crc64(0, text, cut);

		ck_assert(crc64(crc, &text[cut], 9 - cut) == 0x995dc9bbdf1939faull);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		crc32c_gives_the_published_values, crc32c_of_a_zero_block_is_the_constant,
		crc32c_agrees_with_the_definition, crc64_gives_the_published_value, crc64_chains};

	return base_test_run("base-crc", tests, sizeof(tests) / sizeof(tests[0]));
}
