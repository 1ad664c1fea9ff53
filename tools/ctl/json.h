/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ctl/json.h: writes one JSON document to a stream. */
#ifndef TS_CTL_JSON_H
#define TS_CTL_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16u

struct json {
	FILE *out;
	bool filled[JSON_DEPTH_MAX]; /* this level has a member already */
	uint32_t depth;
};

void json_begin(struct json *j, FILE *out);
void json_end(struct json *j); /* of the document: a newline */

/* key is NULL in an array and for the document itself. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_close_object(struct json *j);
void json_close_array(struct json *j);
void json_text(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, uint64_t value);
void json_real(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* Nanoseconds since 1970 as "2026-11-20T13:00:00.123Z"; 0: null. */
void json_time(struct json *j, const char *key, uint64_t ns);

/* The same text without quotes; ret holds 32. */
void time_text(uint64_t ns, char *ret);

#endif
