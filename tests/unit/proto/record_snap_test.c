/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/proto/record_snap_test.c: bodies of SNAP, RESTORE and CLONE. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "proto/record_snap.h"

static const struct record_snap create = {.op = RECORD_SNAP_CREATE,
					  .flags = RECORD_SNAP_KEPT,
					  .uuid = {{1, 2}},
					  .at = {8192},
					  .name = "before-upgrade"};
static const struct record_restore restore = {
	.target = {{1}}, .kept = {{2}}, .content_generation = 7, .kept_name = "replaced-1"};
static const struct record_clone clone_body = {.source = {{3}}, .snapshot = {{4}}};

START_TEST(bodies_come_back_as_they_went)
{
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct record_snap s;
	struct record_restore r;
	struct record_clone c;

	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&create, body), &s), 0);
	ck_assert_mem_eq(&s, &create, sizeof(s));
	ck_assert_int_eq(record_restore_decode(body, record_restore_encode(&restore, body), &r), 0);
	ck_assert_int_eq(memcmp(&r.target, &restore.target, 16), 0);
	ck_assert_int_eq(memcmp(&r.kept, &restore.kept, 16), 0);
	ck_assert_uint_eq(r.content_generation, 7);
	ck_assert_str_eq(r.kept_name, "replaced-1");
	ck_assert_int_eq(record_clone_decode(body, record_clone_encode(&clone_body, body), &c), 0);
	ck_assert_mem_eq(&c, &clone_body, sizeof(c));
}
END_TEST

/* A length that is not the body's own is refused before anything is read. */
START_TEST(bodies_of_another_length_are_refused)
{
	uint8_t body[RECORD_BODY_BYTES_MAX] = {0};
	struct record_snap s;
	struct record_restore r;
	struct record_clone c;
	uint32_t snap = record_snap_encode(&create, body);

	for (uint32_t n = 0; n < 256; n++)
		if (n != snap)
			ck_assert_int_eq(record_snap_decode(body, n, &s), -ERR_CORRUPT);
	for (uint32_t n = 0; n < 256; n++) {
		if (n != record_restore_encode(&restore, body))
			ck_assert_int_eq(record_restore_decode(body, n, &r), -ERR_CORRUPT);
		if (n != record_clone_encode(&clone_body, body))
			ck_assert_int_eq(record_clone_decode(body, n, &c), -ERR_CORRUPT);
	}
}
END_TEST

START_TEST(impossible_snap_bodies_are_corrupt)
{
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct record_snap s = create, got;

	memset(&s.uuid, 0, sizeof(s.uuid));
	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&s, body), &got),
			 -ERR_CORRUPT);
	s = create;
	s.at.v = 4097;
	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&s, body), &got),
			 -ERR_CORRUPT);
	s = create;
	s.name[0] = '-';
	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&s, body), &got),
			 -ERR_CORRUPT);
	s = create;
	s.op = RECORD_SNAP_DELETE; /* with a name and flags */
	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&s, body), &got),
			 -ERR_CORRUPT);
	s = create;
	s.op = 3;
	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&s, body), &got),
			 -ERR_UNSUPPORTED);
	s = create;
	s.flags = 8;
	ck_assert_int_eq(record_snap_decode(body, record_snap_encode(&s, body), &got),
			 -ERR_UNSUPPORTED);
}
END_TEST

START_TEST(a_restore_onto_itself_is_corrupt)
{
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct record_restore r = restore, got;

	r.kept = r.target;
	ck_assert_int_eq(record_restore_decode(body, record_restore_encode(&r, body), &got),
			 -ERR_CORRUPT);
	r = restore;
	memset(r.kept_name, 0, sizeof(r.kept_name));
	ck_assert_int_eq(record_restore_decode(body, record_restore_encode(&r, body), &got),
			 -ERR_CORRUPT);
}
END_TEST

/* The body is judged by the decoder of the record, too: nothing undecodable is ever journaled. */
START_TEST(a_record_with_a_bad_snap_body_is_corrupt)
{
	uint8_t header[RECORD_HEADER_BYTES], body[RECORD_BODY_BYTES_MAX];
	struct record_spec s = {.type = RECORD_SNAP, .body = body};
	struct record_snap bad = create;
	struct record_view v;
	uint64_t chain;

	s.body_bytes = record_snap_encode(&create, body);
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), 0);
	bad.name[0] = 0;
	s.body_bytes = record_snap_encode(&bad, body);
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_CORRUPT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record_snap");
	TCase *tc = tcase_create("bodies");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, bodies_come_back_as_they_went);
	tcase_add_test(tc, bodies_of_another_length_are_refused);
	tcase_add_test(tc, impossible_snap_bodies_are_corrupt);
	tcase_add_test(tc, a_restore_onto_itself_is_corrupt);
	tcase_add_test(tc, a_record_with_a_bad_snap_body_is_corrupt);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
