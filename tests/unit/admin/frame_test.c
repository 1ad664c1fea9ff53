/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/arena.h"
#include "engine/admin/frame.h"
#include "engine/admin/text.h"
#include "engine/base/err.h"

START_TEST(frame_is_not_there_before_its_last_byte)
{
	static const uint8_t data[] = {2, 0, 0, 0, 8, 1};
	uint32_t bytes = 0;

	for (size_t n = 0; n < sizeof(data); n++)
		ck_assert_int_eq(frame_find(data, n, &bytes), -ERR_AGAIN);
	ck_assert_int_eq(frame_find(data, sizeof(data), &bytes), 0);
	ck_assert_uint_eq(bytes, 2);
}
END_TEST

START_TEST(frame_of_no_bytes_or_too_many_is_refused_by_its_head)
{
	static const uint8_t empty[] = {0, 0, 0, 0}, most[] = {0, 0, 16, 0}, more[] = {1, 0, 16, 0},
			     huge[] = {0xff, 0xff, 0xff, 0xff};
	uint32_t bytes;

	ck_assert_int_eq(frame_find(empty, 4, &bytes), -ERR_PROTOCOL);
	ck_assert_int_eq(frame_find(most, 4, &bytes), -ERR_AGAIN);
	ck_assert_int_eq(frame_find(more, 4, &bytes), -ERR_PROTOCOL);
	ck_assert_int_eq(frame_find(huge, 4, &bytes), -ERR_PROTOCOL);
}
END_TEST

/* Every prefix of a message either decodes or is refused; nothing reads beyond it. */
START_TEST(frame_decode_takes_truncated_messages_without_harm)
{
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__GroupCreate create = ADM__GROUP_CREATE__INIT;
	char name[] = "pg", site[] = "west";
	ProtobufCMessage *message;
	struct arena arena;
	uint8_t *data, *copy;
	size_t bytes;

	create.name = name;
	create.sync_site = site;
	request.id = 7;
	request.command_case = ADM__REQUEST__COMMAND_GROUP_CREATE;
	request.group_create = &create;
	ck_assert_int_eq(frame_encode(&request.base, &data, &bytes), 0);
	for (size_t n = 0; n < bytes - FRAME_HEAD_BYTES; n++) {
		copy = malloc(n + 1);
		memcpy(copy, data + FRAME_HEAD_BYTES, n);
		arena_init(&arena, FRAME_ARENA_BYTES);
		(void)!frame_decode(&arena, &adm__request__descriptor, copy, (uint32_t)n, &message);
		arena_fini(&arena);
		free(copy);
	}
	arena_init(&arena, FRAME_ARENA_BYTES);
	ck_assert_int_eq(frame_decode(&arena, &adm__request__descriptor, data + FRAME_HEAD_BYTES,
				      (uint32_t)(bytes - FRAME_HEAD_BYTES), &message),
			 0);
	ck_assert_str_eq(((Adm__Request *)(void *)message)->group_create->sync_site, "west");
	arena_fini(&arena);
	free(data);
}
END_TEST

START_TEST(frame_encode_refuses_what_the_other_side_would_refuse)
{
	Adm__Error error = ADM__ERROR__INIT;
	char *text = malloc(FRAME_BYTES_MAX + 1);
	uint8_t *data;
	size_t bytes;

	memset(text, 'x', FRAME_BYTES_MAX);
	text[FRAME_BYTES_MAX] = '\0';
	error.message = text;
	ck_assert_int_eq(frame_encode(&error.base, &data, &bytes), -ERR_TOO_BIG);
	text[FRAME_BYTES_MAX - 8] = '\0';
	ck_assert_int_eq(frame_encode(&error.base, &data, &bytes), 0);
	free(data);
	free(text);
}
END_TEST

START_TEST(frame_decode_is_bounded_by_its_arena)
{
	Adm__Error error = ADM__ERROR__INIT;
	char text[1001];
	ProtobufCMessage *message;
	struct arena arena;
	uint8_t *data;
	size_t bytes;

	memset(text, 'x', 1000);
	text[1000] = '\0';
	error.message = text;
	ck_assert_int_eq(frame_encode(&error.base, &data, &bytes), 0);
	arena_init(&arena, 512);
	ck_assert_int_eq(frame_decode(&arena, &adm__error__descriptor, data + 4,
				      (uint32_t)(bytes - 4), &message),
			 -ERR_PROTOCOL);
	arena_fini(&arena);
	free(data);
}
END_TEST

START_TEST(frame_version_is_the_newest_both_speak)
{
	ck_assert_uint_eq(frame_version(1, 1), 1);
	ck_assert_uint_eq(frame_version(1, 9), 1);
	ck_assert_uint_eq(frame_version(0, 1), 1);
	ck_assert_uint_eq(frame_version(2, 9), 0);
	ck_assert_uint_eq(frame_version(0, 0), 0);
}
END_TEST

START_TEST(arena_gives_no_more_than_its_bound)
{
	struct arena a;

	arena_init(&a, 64);
	ck_assert_ptr_nonnull(arena_take(&a, 33));
	ck_assert_ptr_null(arena_take(&a, 33));
	ck_assert_ptr_nonnull(arena_take(&a, 16));
	ck_assert_ptr_null(arena_take(&a, 0));
	ck_assert_ptr_null(arena_take(&a, SIZE_MAX));
	arena_fini(&a);
	ck_assert_str_eq(arena_format(&a, "%d", 7), "7");
	arena_fini(&a);
}
END_TEST

START_TEST(text_that_did_not_fit_stays_failed)
{
	struct text t;
	size_t bytes;
	char *data;

	text_init(&t, 10);
	text_add(&t, "%s", "12345");
	text_add(&t, "%s", "123456");
	ck_assert(t.failed);
	text_add(&t, "1");
	ck_assert(t.failed);
	text_fini(&t);
	text_add(&t, "%s", "1234567890");
	ck_assert(!t.failed);
	data = text_give(&t, &bytes);
	ck_assert_uint_eq(bytes, 10);
	free(data);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("admin-frame");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, frame_is_not_there_before_its_last_byte);
	tcase_add_test(t, frame_of_no_bytes_or_too_many_is_refused_by_its_head);
	tcase_add_test(t, frame_decode_takes_truncated_messages_without_harm);
	tcase_add_test(t, frame_encode_refuses_what_the_other_side_would_refuse);
	tcase_add_test(t, frame_decode_is_bounded_by_its_arena);
	tcase_add_test(t, frame_version_is_the_newest_both_speak);
	tcase_add_test(t, arena_gives_no_more_than_its_bound);
	tcase_add_test(t, text_that_did_not_fit_stays_failed);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
