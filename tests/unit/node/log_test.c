/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/node/log_stderr.h"

static void write_and_read(bool json, char *text, size_t bytes)
{
	struct log_stderr l;
	int fds[2];
	ssize_t n;

	ck_assert_int_eq(pipe(fds), 0);
	log_stderr_init(&l, fds[1], LOG_WARN, json);
	log_info(&l.log, "room", "dropped");
	log_warn(&l.log, "room", "a \"name\" \\ of %d\n", 7);
	n = read(fds[0], text, bytes - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	close(fds[0]);
	close(fds[1]);
}

START_TEST(log_text_line_has_time_level_and_room)
{
	char text[256];

	write_and_read(false, text, sizeof(text));
	ck_assert_uint_gt(strlen(text), 25);
	ck_assert_int_eq(text[10], 'T');
	ck_assert_int_eq(text[23], 'Z');
	ck_assert_str_eq(text + 24, " warn  room: a \"name\" \\ of 7?\n");
}
END_TEST

START_TEST(log_json_line_is_escaped)
{
	char text[256];

	write_and_read(true, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "\"level\":\"warn\",\"room\":\"room\",\"text\":\"a \\\"name\\\" "
					   "\\\\ of 7?\"}\n"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("node-log");
	TCase *tc = tcase_create("log");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, log_text_line_has_time_level_and_room);
	tcase_add_test(tc, log_json_line_is_escaped);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
