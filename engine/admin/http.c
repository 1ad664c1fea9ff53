/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/http.c
 * Purpose.     The head of an HTTP/1.0 or 1.1 request.
 * Failure.     A malformed head is a status for the client, never more.
 * Limits.      HTTP_HEAD_BYTES_MAX, HTTP_PATH_BYTES_MAX.
 */
#include "engine/admin/http.h"

#include <string.h>

#include "engine/base/err.h"

/* Bytes of the head with its empty line (lines end with CRLF, or LF as RFC 9112 2.2 allows); 0: not yet. */
static size_t head_bytes(const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i + 1 < bytes; i++) {
		if (data[i] != '\n')
			continue;
		if (data[i + 1] == '\n')
			return i + 2;
		if (i + 2 < bytes && data[i + 1] == '\r' && data[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static bool is_token(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* "Name: value" with no control characters but tabs. */
static bool field_is_valid(const uint8_t *line, size_t bytes)
{
	size_t i = 0;

	while (i < bytes && is_token(line[i]))
		i++;
	if (i == 0 || i == bytes || line[i] != ':')
		return false;
	for (; i < bytes; i++)
		if ((line[i] < ' ' && line[i] != '\t') || line[i] == 127)
			return false;
	return true;
}

static bool fields_are_valid(const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		const uint8_t *end = memchr(data, '\n', bytes);
		size_t line = end == NULL ? bytes : (size_t)(end - data);
		size_t text = line > 0 && data[line - 1] == '\r' ? line - 1 : line;

		if (text != 0 && !field_is_valid(data, text))
			return false;
		bytes -= end == NULL ? line : line + 1;
		data += end == NULL ? line : line + 1;
	}
	return true;
}

static int parse_target(const uint8_t *target, size_t bytes, struct http_request *r)
{
	const uint8_t *query = memchr(target, '?', bytes);

	if (query != NULL)
		bytes = (size_t)(query - target);
	if (bytes == 0 || target[0] != '/')
		return 400;
	if (bytes > HTTP_PATH_BYTES_MAX)
		return 414;
	for (size_t i = 0; i < bytes; i++)
		if (target[i] <= ' ' || target[i] >= 127)
			return 400;
	memcpy(r->path, target, bytes);
	r->path[bytes] = '\0';
	return 0;
}

static int parse_line(const uint8_t *line, size_t bytes, struct http_request *r)
{
	const uint8_t *target = memchr(line, ' ', bytes);
	const uint8_t *version;
	size_t method = target == NULL ? 0 : (size_t)(target - line), rest;

	if (method == 0)
		return 400;
	for (size_t i = 0; i < method; i++)
		if (!is_token(line[i]))
			return 400;
	target++;
	rest = bytes - method - 1;
	version = memchr(target, ' ', rest);
	if (version == NULL)
		return 400;
	rest -= (size_t)(version - target) + 1;
	if (rest != 8 || memcmp(version + 1, "HTTP/", 5) != 0)
		return 400;
	if (memcmp(version + 6, "1.0", 3) != 0 && memcmp(version + 6, "1.1", 3) != 0)
		return 505;
	r->is_head = method == 4 && memcmp(line, "HEAD", 4) == 0;
	if (!r->is_head && (method != 3 || memcmp(line, "GET", 3) != 0))
		return 405;
	return parse_target(target, (size_t)(version - target), r);
}

int http_parse(const uint8_t *data, size_t bytes, struct http_request *ret_request)
{
	struct http_request r = {.bytes = head_bytes(data, bytes)};
	const uint8_t *end;
	size_t line, text;
	int status;

	if (r.bytes == 0)
		return bytes >= HTTP_HEAD_BYTES_MAX ? 431 : -ERR_AGAIN;
	if (r.bytes > HTTP_HEAD_BYTES_MAX)
		return 431;
	end = memchr(data, '\n', r.bytes);
	line = (size_t)(end - data);
	text = line > 0 && data[line - 1] == '\r' ? line - 1 : line;
	status = parse_line(data, text, &r);
	if (status != 0)
		return status;
	if (!fields_are_valid(end + 1, r.bytes - line - 1))
		return 400;
	*ret_request = r;
	return 0;
}

const char *http_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Unknown";
	}
}
