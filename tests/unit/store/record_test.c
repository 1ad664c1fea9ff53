/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory: counting, payload pieces, verification. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/record.h"

static struct buf_pool *bufs;
static struct record_pool *pool;

static void setup(void)
{
	struct buf_pool_sizes sizes = {{8, 4, 1}};

	ck_assert_int_eq(buf_pool_open(&sizes, &bufs), 0);
	ck_assert_int_eq(record_pool_open(3, &pool), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(record_pool_free_count(pool), 3);
	record_pool_close(&pool);
	buf_pool_close(&bufs);
}

START_TEST(last_reference_gives_bufs_and_record_back)
{
	struct record *r = record_take(pool, bufs), *second;
	struct buf *b = buf_take(bufs, 65536);

	record_add_payload(r, b, b->data, 4);
	buf_unref(&b);
	ck_assert_uint_eq(buf_pool_free_count(bufs, BUF_64K), 3);
	second = record_ref(r);
	record_unref(&r);
	ck_assert_ptr_null(r);
	ck_assert_uint_eq(buf_pool_free_count(bufs, BUF_64K), 3);
	record_unref(&second);
	ck_assert_uint_eq(buf_pool_free_count(bufs, BUF_64K), 4);
	ck_assert_uint_eq(buf_pool_free_count(bufs, BUF_4K), 8);
}
END_TEST

START_TEST(empty_pool_answers_null)
{
	struct record *r[3];

	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(r[i] = record_take(pool, bufs));
	ck_assert_ptr_null(record_take(pool, bufs));
	for (int i = 0; i < 3; i++)
		record_unref(&r[i]);
}
END_TEST

START_TEST(neighbouring_pieces_share_one_iov)
{
	struct record *r = record_take(pool, bufs);
	struct buf *b = buf_take(bufs, 65536);

	record_add_payload(r, b, b->data, 1);
	record_add_payload(r, b, b->data + 4096, 2);
	ck_assert_uint_eq(r->iov_count, 2);
	record_add_payload(r, b, b->data + 5 * 4096, 1);
	ck_assert_uint_eq(r->iov_count, 3);
	ck_assert_uint_eq(r->buf_count, 1);
	buf_unref(&b);
	record_unref(&r);
}
END_TEST

START_TEST(received_record_is_verified)
{
	struct record *r = record_take(pool, bufs), *got = record_take(pool, bufs);
	struct buf *b = buf_take(bufs, 8192);
	struct record_extent e = {.count = 2};
	struct record_spec spec = {
		.type = RECORD_WRITE, .extents = &e, .extent_count = 1, .payload_blocks = 2};
	uint32_t crcs[2];

	memset(b->data, 1, 4096);
	memset(b->data + 4096, 2, 4096);
	crcs[0] = crc32c(b->data, 4096);
	crcs[1] = crc32c(b->data + 4096, 4096);
	spec.crcs = crcs;
	record_add_payload(r, b, b->data, 2);
	record_seal(r, &spec);
	memcpy(got->head->data, r->head->data, RECORD_HEADER_BYTES);
	ck_assert_int_eq(record_open_received(got), 0);
	ck_assert_int_eq(record_verify_payload(got), -ERR_CORRUPT); /* none yet */
	record_add_payload(got, b, b->data, 2);
	ck_assert_int_eq(record_verify_payload(got), 0);
	b->data[5000]++;
	ck_assert_int_eq(record_verify_payload(got), -ERR_CORRUPT);
	got->head->data[130]++;
	ck_assert_int_eq(record_open_received(got), -ERR_CORRUPT);
	buf_unref(&b);
	record_unref(&r);
	record_unref(&got);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/record");
	TCase *c = tcase_create("record");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, last_reference_gives_bufs_and_record_back);
	tcase_add_test(c, empty_pool_answers_null);
	tcase_add_test(c, neighbouring_pieces_share_one_iov);
	tcase_add_test(c, received_record_is_verified);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
