/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/err.h: error codes.  Functions return 0 (or a count) or a negative code: -ERR_IO. */
#ifndef TS_BASE_ERR_H
#define TS_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

enum err {
	ERR_NONE = 0,
#define ERR(name, nbd, admin, retryable, text) ERR_##name,
#include "engine/base/err.tbl"
#undef ERR
	ERR_COUNT
};

/* All take the negative code (0 gives "done"); an unknown one gives "unknown error". */
const char *err_text(int rc);
const char *err_name(int rc);	    /* "IO" */
const char *err_admin_code(int rc); /* "io" */
uint32_t err_nbd(int rc);	    /* NBD errno, 0 for 0 */
bool err_is_retryable(int rc);
int err_from_errno(int sys_errno); /* positive errno to a negative code */

#endif
