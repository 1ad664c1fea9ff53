/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/cursor.h"

#include "tests/unit/base/base_test.h"

START_TEST(cursor_numbers_are_little_endian_unless_be)
{
	static const uint8_t want[] = {0x01, 0x02, 0x03, 0x07, 0x06, 0x05, 0x04,
				       0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09,
				       0x08, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15};
	uint8_t data[sizeof(want)];
	struct cursor c;

	cursor_init(&c, data, sizeof(data));
	put_u8(&c, 0x01);
	put_u16(&c, 0x0302);
	put_u32(&c, 0x04050607);
	put_u64(&c, 0x08090a0b0c0d0e0full);
	put_u16_be(&c, 0x1011);
	put_u32_be(&c, 0x12131415);
	ck_assert(cursor_ok(&c));
	ck_assert_uint_eq(cursor_left(&c), 0);
	ck_assert_mem_eq(data, want, sizeof(want));
	cursor_init_read(&c, want, sizeof(want));
	ck_assert_uint_eq(get_u8(&c), 0x01);
	ck_assert_uint_eq(get_u16(&c), 0x0302);
	ck_assert_uint_eq(get_u32(&c), 0x04050607);
	ck_assert(get_u64(&c) == 0x08090a0b0c0d0e0full);
	ck_assert_uint_eq(get_u16_be(&c), 0x1011);
	ck_assert_uint_eq(get_u32_be(&c), 0x12131415);
	ck_assert(cursor_ok(&c));
}
END_TEST

START_TEST(cursor_be_64_is_network_order)
{
	uint8_t data[8];
	struct cursor c;

	cursor_init(&c, data, sizeof(data));
	put_u64_be(&c, 0x0102030405060708ull);
	for (uint8_t i = 0; i < 8; i++)
		ck_assert_uint_eq(data[i], i + 1);
	cursor_init_read(&c, data, sizeof(data));
	ck_assert(get_u64_be(&c) == 0x0102030405060708ull);
}
END_TEST

/* The first overrun is remembered; nothing after it reads or writes, even if it would fit. */
START_TEST(cursor_overrun_gives_zeroes_and_stays_bad)
{
	uint8_t data[6] = {1, 2, 3, 4, 5, 6};
	struct cursor c;

	cursor_init(&c, data, sizeof(data));
	ck_assert_uint_eq(get_u32(&c), 0x04030201);
	ck_assert_uint_eq(get_u32(&c), 0);
	ck_assert(!cursor_ok(&c));
	ck_assert_uint_eq(cursor_left(&c), 0);
	ck_assert_uint_eq(get_u8(&c), 0);
	put_u8(&c, 99);
	put_zeroes(&c, 1);
	ck_assert_ptr_null(cursor_skip(&c, 1));
	ck_assert_uint_eq(data[4], 5);
	ck_assert_uint_eq(data[5], 6);
}
END_TEST

START_TEST(cursor_of_nothing_is_good_until_used)
{
	uint8_t byte = 7;
	struct cursor c;

	cursor_init(&c, &byte, 0);
	ck_assert(cursor_ok(&c));
	ck_assert_ptr_nonnull(cursor_skip(&c, 0));
	put_u8(&c, 1);
	ck_assert(!cursor_ok(&c));
	ck_assert_uint_eq(byte, 7);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		cursor_numbers_are_little_endian_unless_be,
		cursor_be_64_is_network_order,
		cursor_overrun_gives_zeroes_and_stays_bad,
		cursor_of_nothing_is_good_until_used,
	};

	return base_test_run("proto-cursor", tests, sizeof(tests) / sizeof(tests[0]));
}
