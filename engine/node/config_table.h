/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/config_table.h: config.tbl as data, for the files named config*.c. */
#ifndef TS_NODE_CONFIG_TABLE_H
#define TS_NODE_CONFIG_TABLE_H

#include "engine/node/config.h"

enum config_type {
	CONFIG_TYPE_NAME,
	CONFIG_TYPE_PATH,
	CONFIG_TYPE_ADDRESS,
	CONFIG_TYPE_WORD, /* a uint32_t: index of the word */
	CONFIG_TYPE_BOOL,
	CONFIG_TYPE_SIZE, /* a uint64_t */
	CONFIG_TYPE_SHARE,
	CONFIG_TYPE_TIME, /* a uint32_t: ms, never 0 when given */
	CONFIG_TYPE_THREADS,
	CONFIG_TYPE_LATER,
};

struct config_row {
	const char *path;
	uint32_t who; /* set of enum config_kind */
	enum config_type type;
	size_t offset, bytes; /* of the member in struct config */
	const char *preset;   /* NULL: none; CONFIG_REQUIRED: the key must be there */
	uint64_t min, max;
	const char *words;
	const char *help;
};

struct config_list {
	const char *path; /* ends in [] */
	uint32_t who;
	size_t count_offset;
	size_t stride;
	uint32_t count_max;
};

#define CONFIG_ROWS_MAX 64u
#define CONFIG_REQUIRED "!"

/* NULL after the last. */
const struct config_row *config_row_at(uint32_t i);
const struct config_list *config_list_at(uint32_t i);

/* The row of a path for a kind of process, or NULL. */
const struct config_row *config_row_find(const char *path, enum config_kind kind);
const struct config_list *config_list_find(const char *path, enum config_kind kind);
uint32_t config_row_index(const struct config_row *row);

/* The n-th word of a row ("!" included) into text; false: there is none. */
bool config_word(const struct config_row *row, uint32_t n, char *text, size_t bytes);

#endif
