/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/text.h: a text that grows up to a bound. */
#ifndef TS_ADMIN_TEXT_H
#define TS_ADMIN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/attr.h"

struct text {
	char *data;
	size_t bytes, room, bytes_max;
	bool failed; /* something did not fit: the text is not to be used */
};

void text_init(struct text *t, size_t bytes_max);
void text_fini(struct text *t);
PRINTF_LIKE(2, 3)
void text_add(struct text *t, const char *fmt, ...); /* one piece is at most 4095 characters */

/* Gives the bytes (malloc) to the caller; t is empty then. */
char *text_give(struct text *t, size_t *ret_bytes);

#endif
