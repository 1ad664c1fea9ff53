/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/config_print.c
 * Purpose.     The configuration as a file again, and its manual, both from config.tbl.
 */
#include <string.h>

#include "engine/base/size.h"
#include "engine/node/config.h"
#include "engine/node/config_table.h"

static void print_share(const struct config_share *share, char *text, size_t bytes)
{
	if (share->percent > 0)
		snprintf(text, bytes, "%u%%", share->percent);
	else
		size_format(share->bytes, text);
}

/* The value of a row's member at `at` as it would be written; "" when it has none. */
static void value_format(const struct config_row *row, const uint8_t *at, char *text, size_t bytes)
{
	uint32_t number = 0;

	text[0] = '\0';
	if (row->bytes == sizeof(number))
		memcpy(&number, at, sizeof(number));
	switch (row->type) {
	case CONFIG_TYPE_NAME:
	case CONFIG_TYPE_PATH:
	case CONFIG_TYPE_ADDRESS:
		snprintf(text, bytes, "%s", (const char *)at);
		return;
	case CONFIG_TYPE_WORD:
		(void)config_word(row, number, text, bytes);
		return;
	case CONFIG_TYPE_BOOL:
		snprintf(text, bytes, "%s", *(const bool *)(const void *)at ? "true" : "false");
		return;
	case CONFIG_TYPE_SIZE:
		size_format(*(const uint64_t *)(const void *)at, text);
		return;
	case CONFIG_TYPE_SHARE:
		print_share((const struct config_share *)(const void *)at, text, bytes);
		return;
	case CONFIG_TYPE_TIME:
		duration_format(number * MS_NS, text);
		return;
	case CONFIG_TYPE_THREADS:
		if (number == 0)
			snprintf(text, bytes, "auto");
		else
			snprintf(text, bytes, "%u", number);
		return;
	case CONFIG_TYPE_LATER:
		return;
	}
}

/* Texts in single quotes, so that nothing in them means anything to YAML. */
static void print_value(const struct config_row *row, const uint8_t *at, FILE *out)
{
	bool quoted = row->type == CONFIG_TYPE_NAME || row->type == CONFIG_TYPE_PATH ||
		      row->type == CONFIG_TYPE_ADDRESS;
	char text[CONFIG_PATH_BYTES];

	value_format(row, at, text, sizeof(text));
	if (quoted)
		fputc('\'', out);
	for (const char *c = text; *c != '\0'; c++) {
		if (quoted && *c == '\'')
			fputc('\'', out);
		fputc(*c, out);
	}
	if (quoted)
		fputc('\'', out);
}

static void print_list(const struct config *c, const struct config_list *list, FILE *out)
{
	bool maps = config_row_find(list->path, c->kind) == NULL; /* of mappings, not of values */
	const uint8_t *base = (const uint8_t *)c;
	size_t n = strlen(list->path);
	uint32_t count;

	memcpy(&count, base + list->count_offset, sizeof(count));
	for (uint32_t i = 0; i < count; i++) {
		const char *separator = maps ? "{" : "";

		fprintf(out, "    - ");
		for (uint32_t r = 0; config_row_at(r) != NULL; r++) {
			const struct config_row *row = config_row_at(r);

			if ((row->who & c->kind) == 0 || strncmp(row->path, list->path, n) != 0)
				continue;
			fprintf(out, "%s", separator);
			if (maps)
				fprintf(out, "%s: ", row->path + n + 1);
			print_value(row, base + row->offset + i * list->stride, out);
			separator = ", ";
		}
		fprintf(out, "%s\n", maps ? "}" : "");
	}
}

/* The list that a row belongs to, or NULL. */
static const struct config_list *list_of(const struct config_row *row, enum config_kind kind)
{
	for (uint32_t i = 0; config_list_at(i) != NULL; i++) {
		const struct config_list *list = config_list_at(i);

		if ((list->who & kind) != 0 &&
		    strncmp(row->path, list->path, strlen(list->path)) == 0)
			return list;
	}
	return NULL;
}

static bool list_is_empty(const struct config *config, const struct config_list *list)
{
	uint32_t count;

	memcpy(&count, (const uint8_t *)config + list->count_offset, sizeof(count));
	return count == 0;
}

void config_print(const struct config *config, FILE *out)
{
	const struct config_list *list, *last = NULL;
	const uint8_t *base = (const uint8_t *)config;
	char section[64] = "", path[64], text[CONFIG_PATH_BYTES];

	for (uint32_t r = 0; config_row_at(r) != NULL; r++) {
		const struct config_row *row = config_row_at(r);
		const char *key;

		list = list_of(row, config->kind);
		value_format(row, base + row->offset, text, sizeof(text));
		if ((row->who & config->kind) == 0 || text[0] == '\0' ||
		    (list != NULL && (list == last || list_is_empty(config, list))))
			continue;
		last = list;
		snprintf(path, sizeof(path), "%s", row->path);
		path[strcspn(path, "[")] = '\0';
		key = strchr(path, '.');
		if (key != NULL) {
			path[key - path] = '\0';
			if (strcmp(section, path) != 0)
				fprintf(out, "%s:\n", path);
			snprintf(section, sizeof(section), "%s", path);
		}
		fprintf(out, "%s%s:", key != NULL ? "  " : "", key != NULL ? key + 1 : path);
		if (list != NULL) {
			fprintf(out, "\n");
			print_list(config, list, out);
		} else {
			fprintf(out, " ");
			print_value(row, base + row->offset, out);
			fprintf(out, "\n");
		}
	}
}

/* --- the manual --- */

/* Backslashes, and dots and quotes at the start of a line, mean something to troff; no text of the
 * table begins with one. */
static void man_text(const char *text, FILE *out)
{
	for (; *text != '\0'; text++)
		fprintf(out, *text == '\\' ? "\\e" : *text == '-' ? "\\-" : "%c", *text);
}

static void man_range(const struct config_row *row, FILE *out)
{
	char min[SIZE_TEXT_BYTES], max[SIZE_TEXT_BYTES], word[32];
	const char *separator = "One of ";

	if (row->type == CONFIG_TYPE_WORD) {
		for (uint32_t i = 0; config_word(row, i, word, sizeof(word)); i++) {
			fprintf(out, "%s\\fB%s\\fR%s", separator, word + (word[0] == '!'),
				word[0] == '!' ? " (not available in this version)" : "");
			separator = ", ";
		}
		fprintf(out, ".\n");
	} else if (row->type == CONFIG_TYPE_SIZE || row->type == CONFIG_TYPE_TIME) {
		if (row->type == CONFIG_TYPE_SIZE) {
			size_format(row->min, min);
			size_format(row->max, max);
		} else {
			duration_format(row->min * MS_NS, min);
			duration_format(row->max * MS_NS, max);
		}
		fprintf(out, "From %s to %s.\n", min, max);
	} else if (row->type == CONFIG_TYPE_SHARE) {
		fprintf(out, "From %u%% to %u%%.\n", (unsigned)row->min, (unsigned)row->max);
	} else if (row->type == CONFIG_TYPE_THREADS) {
		fprintf(out,
			"\\fBauto\\fR or \\fB1\\fR; more are not available in this version.\n");
	} else if (row->type == CONFIG_TYPE_BOOL) {
		fprintf(out, "\\fBtrue\\fR or \\fBfalse\\fR.\n");
	}
}

void config_print_man(enum config_kind kind, FILE *out)
{
	fprintf(out, ".SH KEYS\n");
	for (uint32_t r = 0; config_row_at(r) != NULL; r++) {
		const struct config_row *row = config_row_at(r);

		if ((row->who & kind) == 0)
			continue;
		fprintf(out, ".TP\n.B ");
		for (const char *c = row->path; *c != '\0'; c++)
			if (*c != '[' && *c != ']')
				fputc(*c, out);
		fprintf(out, "\n");
		man_text(row->help, out);
		fprintf(out, ".\n");
		man_range(row, out);
		if (row->type == CONFIG_TYPE_LATER)
			fprintf(out, "Not available in this version.\n");
		else if (row->preset != NULL && strcmp(row->preset, CONFIG_REQUIRED) == 0)
			fprintf(out, "Required.\n");
		else if (row->preset != NULL)
			fprintf(out, "Default: \\fB%s\\fR.\n", row->preset);
		else if (row->type == CONFIG_TYPE_TIME)
			fprintf(out, "Default: by \\fBtimers.preset\\fR.\n");
	}
}
