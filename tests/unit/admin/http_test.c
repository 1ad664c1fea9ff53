/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/http.h"
#include "engine/base/err.h"

/* A copy of exactly these bytes, so that a sanitizer sees reads beyond them. */
static int parse(const char *text, size_t bytes, struct http_request *ret)
{
	uint8_t *data = malloc(bytes + 1);
	int rc;

	memcpy(data, text, bytes);
	data = realloc(data, bytes != 0 ? bytes : 1);
	rc = http_parse(data, bytes, ret);
	free(data);
	return rc;
}

static int parse_text(const char *text)
{
	struct http_request r;

	return parse(text, strlen(text), &r);
}

START_TEST(http_get_gives_its_path_without_the_query)
{
	static const char text[] = "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
	struct http_request r;

	for (size_t n = 0; n < sizeof(text) - 1; n++)
		ck_assert_int_eq(parse(text, n, &r), -ERR_AGAIN);
	ck_assert_int_eq(parse(text, sizeof(text) - 1, &r), 0);
	ck_assert_str_eq(r.path, "/metrics");
	ck_assert(!r.is_head);
	ck_assert_uint_eq(r.bytes, sizeof(text) - 1);
}
END_TEST

START_TEST(http_accepts_old_versions_bare_line_feeds_and_head)
{
	struct http_request r;

	ck_assert_int_eq(parse("GET / HTTP/1.0\n\nrest", 20, &r), 0);
	ck_assert_uint_eq(r.bytes, 16);
	ck_assert_int_eq(parse("HEAD /x HTTP/1.1\r\n\r\n", 20, &r), 0);
	ck_assert(r.is_head);
}
END_TEST

START_TEST(http_refuses_with_the_status_that_says_why)
{
	ck_assert_int_eq(parse_text("POST / HTTP/1.1\r\n\r\n"), 405);
	ck_assert_int_eq(parse_text("GETS / HTTP/1.1\r\n\r\n"), 405);
	ck_assert_int_eq(parse_text("GET / HTTP/2.0\r\n\r\n"), 505);
	ck_assert_int_eq(parse_text("\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET /\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET  HTTP/1.1\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET x HTTP/1.1\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET http://h/ HTTP/1.1\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("G\x01T / HTTP/1.1\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET /\x80 HTTP/1.1\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET / HTTP/1.1\r\nno colon\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET / HTTP/1.1\r\n: no name\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET / HTTP/1.1\r\nX: \x01\r\n\r\n"), 400);
	ck_assert_int_eq(parse_text("GET / HTTP/1.1 \r\n\r\n"), 400);
}
END_TEST

START_TEST(http_heads_and_paths_are_bounded)
{
	static char text[HTTP_HEAD_BYTES_MAX + 100];
	struct http_request r;

	memset(text, 'a', sizeof(text));
	ck_assert_int_eq(parse(text, HTTP_HEAD_BYTES_MAX - 1, &r), -ERR_AGAIN);
	ck_assert_int_eq(parse(text, HTTP_HEAD_BYTES_MAX, &r), 431);
	memcpy(text, "GET /", 5);
	memcpy(text + 5 + HTTP_PATH_BYTES_MAX, " HTTP/1.1\r\n\r\n", 13);
	ck_assert_int_eq(parse(text, 5 + HTTP_PATH_BYTES_MAX + 13, &r), 414);
	memcpy(text + 4 + HTTP_PATH_BYTES_MAX, " HTTP/1.1\r\n\r\n", 13);
	ck_assert_int_eq(parse(text, 4 + HTTP_PATH_BYTES_MAX + 13, &r), 0);
	ck_assert_uint_eq(strlen(r.path), HTTP_PATH_BYTES_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("admin-http");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, http_get_gives_its_path_without_the_query);
	tcase_add_test(t, http_accepts_old_versions_bare_line_feeds_and_head);
	tcase_add_test(t, http_refuses_with_the_status_that_says_why);
	tcase_add_test(t, http_heads_and_paths_are_bounded);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
