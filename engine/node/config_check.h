/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/config_check.h: the rules between keys, and how an error of the configuration is told. */
#ifndef TS_NODE_CONFIG_CHECK_H
#define TS_NODE_CONFIG_CHECK_H

#include "engine/node/config.h"
#include "engine/node/config_table.h"

/* What the parser knows beside the values: where each was written. */
struct config_notes {
	const char *file;
	enum config_kind kind;
	uint32_t lines[CONFIG_ROWS_MAX][CONFIG_LISTEN_MAX]; /* by row and element; 0: not written */
	struct config_error *error;
};

/* Fill the error and return -ERR_CONFIG.  line 0: none to name. */
PRINTF_LIKE(4, 5)
int config_fail(const struct config_notes *notes, uint32_t line, const char *path, const char *fmt,
		...);

/* Fill in what depends on other keys, then check every rule. */
MUST_CHECK int config_check(struct config *config, const struct config_notes *notes);

#endif
