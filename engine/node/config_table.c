/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/config_table.c
 * Purpose.     Makes data of config.tbl, so that the parser, the printer and the man page cannot
 *              disagree.
 */
#include "engine/node/config_table.h"

#include <string.h>

#define SITE CONFIG_SITE
#define WITNESS CONFIG_WITNESS
#define BOTH (CONFIG_SITE | CONFIG_WITNESS)
#define REQUIRED CONFIG_REQUIRED
#define MEMBER_BYTES(m) sizeof(((struct config *)NULL)->m)

static const struct config_row rows[] = {
#define CONFIG(path, who, type, member, preset, min, max, words, help) \
	{path,                                                         \
	 who,                                                          \
	 CONFIG_TYPE_##type,                                           \
	 offsetof(struct config, member),                              \
	 MEMBER_BYTES(member),                                         \
	 preset,                                                       \
	 min,                                                          \
	 max,                                                          \
	 words,                                                        \
	 help},
#define CONFIG_LIST(path, who, member, count_member)
#define CONFIG_LATER(path, who, help) {path, who, CONFIG_TYPE_LATER, 0, 0, NULL, 0, 0, NULL, help},
#include "engine/node/config.tbl"
#undef CONFIG
#undef CONFIG_LIST
#undef CONFIG_LATER
};

static const struct config_list lists[] = {
#define CONFIG(path, who, type, member, preset, min, max, words, help)
#define CONFIG_LIST(path, who, member, count_member)                                \
	{path, who, offsetof(struct config, count_member), MEMBER_BYTES(member[0]), \
	 MEMBER_BYTES(member) / MEMBER_BYTES(member[0])},
#define CONFIG_LATER(path, who, help)
#include "engine/node/config.tbl"
#undef CONFIG
#undef CONFIG_LIST
#undef CONFIG_LATER
};

_Static_assert(ARRAY_COUNT(rows) <= CONFIG_ROWS_MAX, "the parser's notes hold every row");

const struct config_row *config_row_at(uint32_t i)
{
	return i < ARRAY_COUNT(rows) ? &rows[i] : NULL;
}

const struct config_list *config_list_at(uint32_t i)
{
	return i < ARRAY_COUNT(lists) ? &lists[i] : NULL;
}

const struct config_row *config_row_find(const char *path, enum config_kind kind)
{
	for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++)
		if ((rows[i].who & kind) != 0 && strcmp(rows[i].path, path) == 0)
			return &rows[i];
	return NULL;
}

const struct config_list *config_list_find(const char *path, enum config_kind kind)
{
	for (uint32_t i = 0; i < ARRAY_COUNT(lists); i++)
		if ((lists[i].who & kind) != 0 && strcmp(lists[i].path, path) == 0)
			return &lists[i];
	return NULL;
}

uint32_t config_row_index(const struct config_row *row)
{
	return (uint32_t)(row - rows);
}

bool config_word(const struct config_row *row, uint32_t n, char *text, size_t bytes)
{
	const char *at = row->words;
	size_t length;

	for (; n > 0 && at != NULL; n--) {
		at = strchr(at, '|');
		at = at == NULL ? NULL : at + 1;
	}
	if (at == NULL)
		return false;
	length = strcspn(at, "|");
	if (length >= bytes)
		return false;
	memcpy(text, at, length);
	text[length] = '\0';
	return true;
}
