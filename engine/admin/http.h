/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/http.h: as much of HTTP/1 (RFC 9112) as GET without a body needs. */
#ifndef TS_ADMIN_HTTP_H
#define TS_ADMIN_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/attr.h"

#define HTTP_HEAD_BYTES_MAX 8192u
#define HTTP_PATH_BYTES_MAX 255u

struct http_request {
	char path[HTTP_PATH_BYTES_MAX + 1]; /* without the query */
	bool is_head;			    /* HEAD: the answer has no body */
	size_t bytes;			    /* of the head, empty line included */
};

/*
 * Parse the head of a request: 0 when all of it has come, else
 * -ERR_AGAIN: more is needed; or the HTTP status to answer with: 400, 405, 414, 431, 505.
 */
MUST_CHECK int http_parse(const uint8_t *data, size_t bytes, struct http_request *ret_request);

const char *http_reason(int status);

#endif
