/* SPDX-License-Identifier: Apache-2.0 */
/* Judging requests and cutting them, as pure functions. */
#include <check.h>

#include "engine/base/err.h"
#include "engine/base/types.h"
#include "engine/nbd/nbd_request.h"

#define SIZE (64u << 20)
#define MIB (1u << 20)

struct verdict_case {
	uint16_t type, flags;
	uint64_t offset;
	uint32_t length;
	bool read_only;
	enum nbd_verdict verdict;
	uint32_t error, payload;
};

static const struct verdict_case cases[] = {
	/* reads */
	{NBD_CMD_READ, 0, 0, 4096, false, NBD_SERVE, 0, 0},
	{NBD_CMD_READ, 0, SIZE - 1, 1, false, NBD_SERVE, 0, 0},
	{NBD_CMD_READ, 0, 1, 513, true, NBD_SERVE, 0, 0},
	{NBD_CMD_READ, NBD_CMD_FLAG_FUA, 0, 1, false, NBD_SERVE, 0, 0},
	{NBD_CMD_READ, 0, 0, 32 * MIB, false, NBD_SERVE, 0, 0},
	{NBD_CMD_READ, 0, 0, 32 * MIB + 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, 0, 0, UINT32_MAX, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, 0, SIZE, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, 0, SIZE - 1, 2, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, 0, UINT64_MAX, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, 0, UINT64_MAX - 4095, 4096, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, 0, SIZE, 0, false, NBD_EMPTY, 0, 0},
	{NBD_CMD_READ, 0, SIZE + 1ull, 0, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	/* writes */
	{NBD_CMD_WRITE, 0, 0, 4096, false, NBD_SERVE, 0, 4096},
	{NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 7, 1, false, NBD_SERVE, 0, 1},
	{NBD_CMD_WRITE, 0, SIZE - 1, 1, false, NBD_SERVE, 0, 1},
	{NBD_CMD_WRITE, 0, SIZE - 1, 2, false, NBD_REFUSE, NBD_ENOSPC, 2},
	{NBD_CMD_WRITE, 0, UINT64_MAX, 1, false, NBD_REFUSE, NBD_ENOSPC, 1},
	{NBD_CMD_WRITE, 0, 0, 4096, true, NBD_REFUSE, NBD_EPERM, 4096},
	{NBD_CMD_WRITE, 0, SIZE, 4096, true, NBD_REFUSE, NBD_EPERM, 4096},
	{NBD_CMD_WRITE, NBD_CMD_FLAG_NO_HOLE, 0, 512, false, NBD_REFUSE, NBD_EINVAL, 512},
	{NBD_CMD_WRITE, 0x8000, 0, 512, true, NBD_REFUSE, NBD_EINVAL, 512},
	{NBD_CMD_WRITE, 0, 0, 32 * MIB, false, NBD_SERVE, 0, 32 * MIB},
	{NBD_CMD_WRITE, 0, 0, 32 * MIB + 1, false, NBD_REFUSE, NBD_EINVAL, 32 * MIB + 1},
	{NBD_CMD_WRITE, 0, 0, 64 * MIB, false, NBD_REFUSE, NBD_EINVAL, 64 * MIB},
	{NBD_CMD_WRITE, 0, 0, 64 * MIB + 1, false, NBD_DROP, 0, 64 * MIB + 1},
	{NBD_CMD_WRITE, 0, 0, UINT32_MAX, false, NBD_DROP, 0, UINT32_MAX},
	{NBD_CMD_WRITE, 0, 0, 0, false, NBD_EMPTY, 0, 0},
	{NBD_CMD_WRITE, 0, 0, 0, true, NBD_REFUSE, NBD_EPERM, 0},
	/* flush */
	{NBD_CMD_FLUSH, 0, 0, 0, false, NBD_SERVE, 0, 0},
	{NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA, 0, 0, true, NBD_SERVE, 0, 0},
	{NBD_CMD_FLUSH, 0, 1, 0, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_FLUSH, 0, 0, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	/* trim and zeroes: any length */
	{NBD_CMD_TRIM, 0, 0, SIZE, false, NBD_SERVE, 0, 0},
	{NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 1, 1, false, NBD_SERVE, 0, 0},
	{NBD_CMD_TRIM, 0, 0, SIZE + 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_TRIM, 0, 0, 1, true, NBD_REFUSE, NBD_EPERM, 0},
	{NBD_CMD_TRIM, NBD_CMD_FLAG_NO_HOLE, 0, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_TRIM, 0, 5, 0, false, NBD_EMPTY, 0, 0},
	{NBD_CMD_WRITE_ZEROES, 0, 0, SIZE, false, NBD_SERVE, 0, 0},
	{NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FUA, 3, 5, false, NBD_SERVE, 0,
	 0},
	{NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 1, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_WRITE_ZEROES, 0, SIZE, 1, false, NBD_REFUSE, NBD_ENOSPC, 0},
	{NBD_CMD_WRITE_ZEROES, 0, 0, UINT32_MAX, false, NBD_REFUSE, NBD_ENOSPC, 0},
	{NBD_CMD_WRITE_ZEROES, 0, 0, 1, true, NBD_REFUSE, NBD_EPERM, 0},
	/* leaving, whatever else it says */
	{NBD_CMD_DISC, 0, 0, 0, false, NBD_LEAVE, 0, 0},
	{NBD_CMD_DISC, 0xffff, UINT64_MAX, UINT32_MAX, true, NBD_LEAVE, 0, 0},
	/* not offered, unknown: no payload */
	{NBD_CMD_CACHE, 0, 0, 4096, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 0, 4096, false, NBD_REFUSE, NBD_EINVAL, 0},
	{NBD_CMD_RESIZE, 0, 0, 0, false, NBD_REFUSE, NBD_EINVAL, 0},
	{9, 0, 0, 4096, false, NBD_REFUSE, NBD_EINVAL, 0},
	{0xffff, 0, 0, UINT32_MAX, false, NBD_REFUSE, NBD_EINVAL, 0},
};

START_TEST(request_gets_its_verdict)
{
	const struct verdict_case *k = &cases[_i];
	struct nbd_request q = {k->flags, k->type, 1, k->offset, k->length};
	uint32_t error = 77, payload = 77;

	ck_assert_int_eq(nbd_request_check(&q, SIZE, k->read_only, &error, &payload), k->verdict);
	ck_assert_uint_eq(error, k->error);
	if (k->verdict != NBD_LEAVE)
		ck_assert_uint_eq(payload, k->payload);
}
END_TEST

START_TEST(request_survives_encoding)
{
	struct nbd_request q = {1, 6, 0x1122334455667788ull, 0x99aabbccddeeff00ull, 0xdeadbeefu}, r;
	uint8_t bytes[NBD_REQUEST_BYTES];

	nbd_put_request(bytes, &q);
	ck_assert(nbd_get_request(bytes, &r));
	ck_assert_uint_eq(r.flags, q.flags);
	ck_assert_uint_eq(r.type, q.type);
	ck_assert_uint_eq(r.cookie, q.cookie);
	ck_assert_uint_eq(r.offset, q.offset);
	ck_assert_uint_eq(r.length, q.length);
	ck_assert_uint_eq(bytes[0], 0x25);
	bytes[3] ^= 0x80;
	ck_assert(!nbd_get_request(bytes, &r));
}
END_TEST

/* Every piece keeps the contract of volume_io, and they cover the range exactly. */
START_TEST(pieces_cover_the_range_inside_windows)
{
	static const struct {
		uint64_t off;
		uint32_t bytes, pieces;
	} ranges[] = {
		{0, 1, 1},	 {0, MIB, 1},		{1, MIB, 2},
		{MIB - 1, 2, 2}, {0, 32 * MIB, 32},	{1, 32 * MIB, 33},
		{4095, 2, 1},	 {MIB - 1, MIB + 2, 3}, {(1ull << 40) + 5, 3 * MIB, 4},
	};
	uint64_t off = ranges[_i].off;
	uint32_t left = ranges[_i].bytes, pieces = 0;

	while (left > 0) {
		uint32_t n = nbd_piece_bytes(off, left), room = nbd_piece_buf_bytes(off, n);

		ck_assert_uint_gt(n, 0);
		ck_assert_uint_le(n, left);
		ck_assert_uint_eq(off / MIB, (off + n - 1) / MIB);
		ck_assert_uint_le(room, IO_BYTES_MAX);
		ck_assert_uint_eq(room % 4096, 0);
		ck_assert_uint_ge(room, off % 4096 + n);
		off += n;
		left -= n;
		pieces++;
	}
	ck_assert_uint_eq(pieces, ranges[_i].pieces);
}
END_TEST

/* Only four errors exist for a client; a lost role is never told. */
START_TEST(results_become_errors_a_client_may_see)
{
	ck_assert_uint_eq(nbd_error_of(-ERR_IO), NBD_EIO);
	ck_assert_uint_eq(nbd_error_of(-ERR_CORRUPT), NBD_EIO);
	ck_assert_uint_eq(nbd_error_of(-ERR_FULL), NBD_ENOSPC);
	ck_assert_uint_eq(nbd_error_of(-ERR_READONLY), NBD_EPERM);
	ck_assert_uint_eq(nbd_error_of(-ERR_RANGE), NBD_EINVAL);
	ck_assert_uint_eq(nbd_error_of(-ERR_NOMEM), NBD_EIO);
	ck_assert_uint_eq(nbd_error_of(-ERR_UNSUPPORTED), NBD_EIO);
	ck_assert_uint_eq(nbd_error_of(-ERR_CLOSED), 0);
	ck_assert_uint_eq(nbd_error_of(-ERR_NOT_PRIMARY), 0);
	for (int rc = -1; rc > -(int)ERR_COUNT; rc--) {
		uint32_t e = nbd_error_of(rc);

		ck_assert(e == 0 || e == NBD_EPERM || e == NBD_EIO || e == NBD_EINVAL ||
			  e == NBD_ENOSPC);
		ck_assert(e != 0 || err_nbd(rc) == 108 || rc == -ERR_STALE);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nbd-request");
	TCase *tc = tcase_create("request");
	SRunner *r;
	int failed;

	tcase_add_loop_test(tc, request_gets_its_verdict, 0,
			    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_test(tc, request_survives_encoding);
	tcase_add_loop_test(tc, pieces_cover_the_range_inside_windows, 0, 9);
	tcase_add_test(tc, results_become_errors_a_client_may_see);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
