/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/config.c
 * Purpose.     YAML events in, struct config out: each event is looked up in config.tbl by its path.
 * Invariants.  G1  A value reaches the configuration only through a row of the table that this kind
 *                  of process has, and only after its type and range were checked.
 *              G2  A key is written at most once.
 * Ownership.   The caller's structs; the YAML parser lives for one call.
 * Failure.     The first error ends it; the result is untouched.
 * Limits.      CONFIG_FILE_BYTES_MAX; nesting is what the table has, so at most three.
 */
#include "engine/node/config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/size.h"
#include "engine/node/config_check.h"
#include "engine/node/config_table.h"
#include "engine/uring/address.h"
#include "engine/uring/file.h"

#define PATH_BYTES 160
#define SUGGEST_DISTANCE_MAX 2u

_Static_assert(CONFIG_MEMBERS_MAX <= CONFIG_LISTEN_MAX, "notes hold every element of a list");

struct parse {
	struct config_notes notes;
	struct config *config;
	yaml_parser_t yaml;
	uint32_t line;	       /* of the event at hand */
	char path[PATH_BYTES]; /* of the value at hand; "" at the top */
	uint32_t index;	       /* of the list's element at hand */
};

static int parse_document(struct parse *p);
static int parse_event(struct parse *p, yaml_event_t *event);
static int parse_value(struct parse *p, yaml_event_t *event);
static int parse_mapping(struct parse *p);
static int parse_sequence(struct parse *p);
static int parse_key(struct parse *p, const yaml_event_t *event, size_t parent_bytes);
static int key_unknown(struct parse *p, const char *key);
static int parse_scalar(struct parse *p, const yaml_event_t *event);
static int set_value(struct parse *p, const struct config_row *row, uint32_t index,
		     const char *text);
static int set_preset(struct parse *p, const struct config_row *row);
static int set_word(struct parse *p, const struct config_row *row, uint32_t *ret, const char *text);
static int set_size(struct parse *p, const struct config_row *row, uint64_t *ret, const char *text);
static int set_share(struct parse *p, const struct config_row *row, struct config_share *ret,
		     const char *text);
static int set_time(struct parse *p, const struct config_row *row, uint32_t *ret, const char *text);
static int set_threads(struct parse *p, const struct config_row *row, uint32_t *ret,
		       const char *text);

int config_load(const char *path, enum config_kind kind, struct config *ret_config,
		struct config_error *ret_error)
{
	char *text = malloc(CONFIG_FILE_BYTES_MAX);
	int rc;

	if (text == NULL) {
		snprintf(ret_error->text, sizeof(ret_error->text), "%s: out of memory", path);
		return -ERR_NOMEM;
	}
	rc = file_read(path, text, CONFIG_FILE_BYTES_MAX);
	if (rc >= 0)
		rc = config_parse(path, text, (size_t)rc, kind, ret_config, ret_error);
	else if (rc == -ERR_NOT_FOUND)
		snprintf(ret_error->text, sizeof(ret_error->text),
			 "%s: no such file; write one, or name another with --config", path);
	else
		snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", path, err_text(rc));
	free(text);
	return rc == -ERR_TOO_BIG ? -ERR_CONFIG : rc;
}

int config_parse(const char *file, const void *text, size_t bytes, enum config_kind kind,
		 struct config *ret_config, struct config_error *ret_error)
{
	struct parse *p = calloc(1, sizeof(*p));
	struct config *c = calloc(1, sizeof(*c));
	int rc = -ERR_NOMEM;

	snprintf(ret_error->text, sizeof(ret_error->text), "%s: out of memory", file);
	if (p == NULL || c == NULL)
		goto err_after_alloc;
	if (yaml_parser_initialize(&p->yaml) == 0)
		goto err_after_alloc;
	p->notes.file = file;
	p->notes.kind = kind;
	p->notes.error = ret_error;
	p->config = c;
	c->kind = kind;
	yaml_parser_set_encoding(&p->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p->yaml, text, bytes);
	rc = parse_document(p);
	yaml_parser_delete(&p->yaml);
	for (uint32_t i = 0; rc == 0 && config_row_at(i) != NULL; i++)
		rc = set_preset(p, config_row_at(i));
	if (rc == 0)
		rc = config_check(c, &p->notes);
	if (rc == 0) {
		*ret_config = *c;
		ret_error->text[0] = '\0';
	}
err_after_alloc:
	free(c);
	free(p);
	return rc;
}

int config_fail(const struct config_notes *notes, uint32_t line, const char *path, const char *fmt,
		...)
{
	struct config_error *e = notes->error;
	char what[256], shown[64], at[16] = "";
	size_t n = 0;
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	for (const char *s = path; *s != '\0' && n + 1 < sizeof(shown); s++)
		if (*s != '[' && *s != ']')
			shown[n++] = *s;
	shown[n] = '\0';
	if (line > 0)
		snprintf(at, sizeof(at), ":%u", line);
	snprintf(e->text, sizeof(e->text), "%.80s%s: %s%s%s", notes->file, at, shown,
		 shown[0] == '\0' ? "" : ": ", what);
	for (char *s = e->text; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?'; /* it may quote the file */
	return -ERR_CONFIG;
}

/* --- the shape of the file --- */

static int parse_document(struct parse *p)
{
	yaml_event_t event;
	int rc;

	for (;;) {
		rc = parse_event(p, &event);
		if (rc < 0)
			return rc;
		switch (event.type) {
		case YAML_MAPPING_START_EVENT:
			rc = parse_mapping(p);
			break;
		case YAML_STREAM_END_EVENT:
			yaml_event_delete(&event);
			return 0;
		case YAML_SCALAR_EVENT: /* also an empty document */
			if (event.data.scalar.length > 0)
				rc = config_fail(&p->notes, p->line, "",
						 "this is not a list of 'key: value' lines");
			break;
		case YAML_SEQUENCE_START_EVENT:
			rc = config_fail(&p->notes, p->line, "",
					 "this is not a list of 'key: value' lines");
			break;
		case YAML_NO_EVENT:
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
		case YAML_ALIAS_EVENT:
		case YAML_SEQUENCE_END_EVENT:
		case YAML_MAPPING_END_EVENT:
			break;
		}
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
	}
}

static int parse_event(struct parse *p, yaml_event_t *event)
{
	if (yaml_parser_parse(&p->yaml, event) == 0) {
		uint32_t line = (uint32_t)p->yaml.problem_mark.line + 1;

		if (p->yaml.error == YAML_MEMORY_ERROR)
			return -ERR_NOMEM;
		return config_fail(&p->notes, line, "", "not YAML: %s%s%s",
				   p->yaml.problem != NULL ? p->yaml.problem : "unreadable",
				   p->yaml.context != NULL ? " " : "",
				   p->yaml.context != NULL ? p->yaml.context : "");
	}
	p->line = (uint32_t)event->start_mark.line + 1;
	return 0;
}

/* p->path is the value's.  Uses the event up, but does not delete it. */
static int parse_value(struct parse *p, yaml_event_t *event)
{
	bool element = p->path[strlen(p->path) - 1] == ']';
	char as_list[PATH_BYTES + 2];
	bool is_list, is_scalar, is_mapping = false;
	size_t n = strlen(p->path);

	snprintf(as_list, sizeof(as_list), "%s[]", p->path);
	is_list = !element && config_list_find(as_list, p->notes.kind) != NULL;
	is_scalar = config_row_find(p->path, p->notes.kind) != NULL ||
		    config_row_find(as_list, p->notes.kind) != NULL;
	for (uint32_t i = 0; config_row_at(i) != NULL; i++)
		is_mapping |= strncmp(config_row_at(i)->path, p->path, n) == 0 &&
			      config_row_at(i)->path[n] == '.';
	if (event->type == YAML_SCALAR_EVENT && is_scalar)
		return parse_scalar(p, event);
	if (event->type == YAML_MAPPING_START_EVENT && is_mapping)
		return parse_mapping(p);
	if (event->type == YAML_SEQUENCE_START_EVENT && is_list)
		return parse_sequence(p);
	if (event->type == YAML_ALIAS_EVENT)
		return config_fail(&p->notes, p->line, p->path,
				   "YAML aliases are not used here; write it out");
	if (event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0)
		return config_fail(&p->notes, p->line, p->path,
				   "has no value; write one or remove the key");
	return config_fail(&p->notes, p->line, p->path, "must be %s",
			   is_list ? "a list: [a, b] or lines that begin with '- '"
			   : is_mapping
				   ? "a group of keys: {key: value} or indented 'key: value' lines"
				   : "a single value");
}

static int parse_mapping(struct parse *p)
{
	size_t parent_bytes = strlen(p->path);
	yaml_event_t event;
	int rc;

	for (;;) {
		rc = parse_event(p, &event);
		if (rc < 0)
			return rc;
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			return 0;
		}
		rc = parse_key(p, &event, parent_bytes);
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
		rc = parse_event(p, &event);
		if (rc < 0)
			return rc;
		rc = parse_value(p, &event);
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
		p->path[parent_bytes] = '\0';
	}
}

static int parse_sequence(struct parse *p)
{
	size_t bytes = strlen(p->path);
	const struct config_list *list;
	yaml_event_t event;
	uint32_t *count;
	int rc;

	snprintf(p->path + bytes, sizeof(p->path) - bytes, "[]");
	list = config_list_find(p->path, p->notes.kind);
	assert(list != NULL);
	count = (uint32_t *)(void *)((uint8_t *)p->config + list->count_offset);
	if (*count > 0)
		return config_fail(&p->notes, p->line, p->path,
				   "is written twice; keep one"); /* G2 */
	for (;;) {
		rc = parse_event(p, &event);
		if (rc < 0)
			return rc;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			break;
		}
		if (*count == list->count_max) {
			yaml_event_delete(&event);
			return config_fail(&p->notes, p->line, p->path, "has more than %u entries",
					   list->count_max);
		}
		p->index = (*count)++;
		rc = parse_value(p, &event);
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
	}
	p->index = 0;
	p->path[bytes] = '\0';
	if (*count == 0)
		return config_fail(&p->notes, p->line, p->path,
				   "is empty; write an entry or remove the key");
	return 0;
}

/* Make p->path that of the key in event. */
static int parse_key(struct parse *p, const yaml_event_t *event, size_t parent_bytes)
{
	char as_list[PATH_BYTES + 2];
	const struct config_row *row;
	const char *key;
	size_t n;

	if (event->type != YAML_SCALAR_EVENT)
		return config_fail(&p->notes, p->line, p->path, "a key must be a plain word");
	key = (const char *)event->data.scalar.value;
	n = event->data.scalar.length;
	if (n == 0 || n > 40 || strlen(key) != n || strpbrk(key, ".[]") != NULL)
		return config_fail(&p->notes, p->line, p->path, "unknown key '%.40s'", key);
	snprintf(p->path + parent_bytes, sizeof(p->path) - parent_bytes, "%s%s",
		 parent_bytes > 0 ? "." : "", key);
	row = config_row_find(p->path, p->notes.kind);
	if (row != NULL && row->type == CONFIG_TYPE_LATER)
		return config_fail(&p->notes, p->line, p->path,
				   "not available in this version (%s); remove it", row->help);
	snprintf(as_list, sizeof(as_list), "%s[]", p->path);
	if (row != NULL || config_list_find(as_list, p->notes.kind) != NULL)
		return 0;
	n = strlen(p->path);
	for (uint32_t i = 0; config_row_at(i) != NULL; i++)
		if ((config_row_at(i)->who & p->notes.kind) != 0 &&
		    strncmp(config_row_at(i)->path, p->path, n) == 0 &&
		    config_row_at(i)->path[n] == '.')
			return 0;
	return key_unknown(p, key);
}

/* --- a key that nobody knows --- */

/* Edit distance of two short words, at most `bytes` of b. */
static uint32_t word_distance(const char *a, const char *b, size_t bytes)
{
	uint32_t row[64], diagonal, up;

	if (bytes >= ARRAY_COUNT(row))
		return UINT32_MAX;
	for (uint32_t j = 0; j <= bytes; j++)
		row[j] = j;
	for (uint32_t i = 1; *a != '\0'; a++, i++) {
		diagonal = row[0];
		row[0] = i;
		for (uint32_t j = 1; j <= bytes; j++) {
			uint32_t best = diagonal + (*a != b[j - 1]);

			up = row[j];
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = up;
			row[j] = best;
		}
	}
	return row[bytes];
}

static int key_unknown(struct parse *p, const char *key)
{
	size_t parent = strlen(p->path) - strlen(key);
	uint32_t best = SUGGEST_DISTANCE_MAX + 1;
	char hint[64] = "";

	for (uint32_t i = 0; config_row_at(i) != NULL; i++) {
		const struct config_row *row = config_row_at(i);
		size_t n;
		uint32_t d;

		if ((row->who & p->notes.kind) == 0 || strncmp(row->path, p->path, parent) != 0)
			continue;
		n = strcspn(row->path + parent, ".[");
		d = word_distance(key, row->path + parent, n);
		if (d < best) {
			best = d;
			snprintf(hint, sizeof(hint), "; did you mean '%.*s'?", (int)n,
				 row->path + parent);
		}
	}
	return config_fail(&p->notes, p->line, p->path, "unknown key%s", hint);
}

/* --- values --- */

static int parse_scalar(struct parse *p, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	const struct config_row *row = config_row_find(p->path, p->notes.kind);
	uint32_t *line;
	int rc;

	if (strlen(text) != event->data.scalar.length)
		return config_fail(&p->notes, p->line, p->path, "holds a NUL character");
	if (event->data.scalar.length == 0)
		return config_fail(&p->notes, p->line, p->path,
				   "has no value; write one or remove the key");
	if (row == NULL) { /* one entry of a list of values, written without brackets */
		char as_list[PATH_BYTES + 2];
		const struct config_list *list;
		uint32_t *count;

		snprintf(as_list, sizeof(as_list), "%s[]", p->path);
		row = config_row_find(as_list, p->notes.kind);
		list = config_list_find(as_list, p->notes.kind);
		assert(row != NULL);
		assert(list != NULL);
		count = (uint32_t *)(void *)((uint8_t *)p->config + list->count_offset);
		if (*count == 0)
			*count = 1;
	}
	line = &p->notes.lines[config_row_index(row)][p->index];
	if (*line != 0)
		return config_fail(&p->notes, p->line, p->path,
				   "is written twice, first in line %u; keep one", *line); /* G2 */
	*line = p->line;
	rc = set_value(p, row, p->index, text);
	return rc;
}

/* The default of a key that was not written; REQUIRED is refused here. */
static int set_preset(struct parse *p, const struct config_row *row)
{
	const struct config_list *list = config_list_find(row->path, p->notes.kind);

	if ((row->who & p->notes.kind) == 0 || row->preset == NULL ||
	    p->notes.lines[config_row_index(row)][0] != 0)
		return 0;
	if (strcmp(row->preset, CONFIG_REQUIRED) == 0)
		return config_fail(&p->notes, 0, row->path, "is missing; write it: %s", row->help);
	if (list != NULL)
		*(uint32_t *)(void *)((uint8_t *)p->config + list->count_offset) = 1;
	return set_value(p, row, 0, row->preset);
}

static int set_text(struct parse *p, const struct config_row *row, char *ret, const char *text)
{
	struct address a;

	if (strlen(text) >= row->bytes)
		return config_fail(&p->notes, p->line, row->path, "is longer than %u characters",
				   (unsigned)row->bytes - 1);
	if (row->type == CONFIG_TYPE_NAME && !site_name_is_valid(text))
		return config_fail(&p->notes, p->line, row->path,
				   "'%s' is not a name; use 1 to 32 of a-z, 0-9 and '-'", text);
	if (row->type == CONFIG_TYPE_PATH && text[0] != '/')
		return config_fail(&p->notes, p->line, row->path,
				   "'%.100s' is not a full path; begin it with '/'", text);
	if (row->type == CONFIG_TYPE_ADDRESS && address_parse(text, &a) < 0)
		return config_fail(
			&p->notes, p->line, row->path,
			"'%s' is not an address; write HOST:PORT, tcp:HOST:PORT or unix:/path",
			text);
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}

/* G1: the only writer of values. */
static int set_value(struct parse *p, const struct config_row *row, uint32_t index,
		     const char *text)
{
	const struct config_list *list = NULL;
	char list_path[PATH_BYTES];
	uint8_t *at;

	snprintf(list_path, sizeof(list_path), "%s", row->path);
	if (strstr(list_path, "[]") != NULL) {
		strstr(list_path, "[]")[2] = '\0';
		list = config_list_find(list_path, p->notes.kind);
		assert(list != NULL);
		assert(index < list->count_max);
	}
	at = (uint8_t *)p->config + row->offset + (list == NULL ? 0 : index * list->stride);
	switch (row->type) {
	case CONFIG_TYPE_NAME:
	case CONFIG_TYPE_PATH:
	case CONFIG_TYPE_ADDRESS:
		return set_text(p, row, (char *)at, text);
	case CONFIG_TYPE_WORD:
		return set_word(p, row, (uint32_t *)(void *)at, text);
	case CONFIG_TYPE_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return config_fail(&p->notes, p->line, row->path,
					   "'%.40s' is neither true nor false", text);
		*(bool *)(void *)at = text[0] == 't';
		return 0;
	case CONFIG_TYPE_SIZE:
		return set_size(p, row, (uint64_t *)(void *)at, text);
	case CONFIG_TYPE_SHARE:
		return set_share(p, row, (struct config_share *)(void *)at, text);
	case CONFIG_TYPE_TIME:
		return set_time(p, row, (uint32_t *)(void *)at, text);
	case CONFIG_TYPE_THREADS:
		return set_threads(p, row, (uint32_t *)(void *)at, text);
	case CONFIG_TYPE_LATER:
		break;
	}
	UNREACHABLE("a key of a later version has no value");
}

static int set_word(struct parse *p, const struct config_row *row, uint32_t *ret, const char *text)
{
	char word[32], all[128] = "";

	for (uint32_t i = 0; config_word(row, i, word, sizeof(word)); i++) {
		bool later = word[0] == '!';

		if (strcmp(word + later, text) == 0) {
			if (later)
				return config_fail(&p->notes, p->line, row->path,
						   "'%s' is not available in this version", text);
			*ret = i;
			return 0;
		}
		if (!later)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
				 i > 0 ? ", " : "", word);
	}
	return config_fail(&p->notes, p->line, row->path, "'%.40s' is none of: %s", text, all);
}

static int set_size(struct parse *p, const struct config_row *row, uint64_t *ret, const char *text)
{
	char min[SIZE_TEXT_BYTES], max[SIZE_TEXT_BYTES];
	uint64_t bytes;

	if (size_parse(text, &bytes) < 0)
		return config_fail(&p->notes, p->line, row->path,
				   "'%.40s' is not a size; write one like 512MiB", text);
	if (bytes < row->min || bytes > row->max) {
		size_format(row->min, min);
		size_format(row->max, max);
		return config_fail(&p->notes, p->line, row->path,
				   "%.40s is out of range; use %s to %s", text, min, max);
	}
	*ret = bytes;
	return 0;
}

static int set_share(struct parse *p, const struct config_row *row, struct config_share *ret,
		     const char *text)
{
	size_t n = strlen(text);
	struct config_share share = {0, 0, 0};
	char digits[16];
	uint64_t value;

	if (n > 1 && n < sizeof(digits) && text[n - 1] == '%') {
		memcpy(digits, text, n - 1);
		digits[n - 1] = '\0';
		if (number_parse(digits, &value) < 0 || value < row->min || value > row->max)
			return config_fail(&p->notes, p->line, row->path,
					   "%s is out of range; use %u%% to %u%%", text,
					   (unsigned)row->min, (unsigned)row->max);
		share.percent = (uint32_t)value;
	} else if (size_parse(text, &share.bytes) < 0 || share.bytes == 0) {
		return config_fail(
			&p->notes, p->line, row->path,
			"'%.40s' is neither a percentage nor a size; write one like 25%% or 10GiB",
			text);
	}
	*ret = share;
	return 0;
}

static int set_time(struct parse *p, const struct config_row *row, uint32_t *ret, const char *text)
{
	char min[SIZE_TEXT_BYTES], max[SIZE_TEXT_BYTES];
	uint64_t ns;

	if (duration_parse(text, &ns) < 0)
		return config_fail(&p->notes, p->line, row->path,
				   "'%.40s' is not a time; write one like 800ms", text);
	if (ns % MS_NS != 0 || ns / MS_NS < row->min || ns / MS_NS > row->max) {
		duration_format(row->min * MS_NS, min);
		duration_format(row->max * MS_NS, max);
		return config_fail(&p->notes, p->line, row->path,
				   "%.40s is out of range; use %s to %s in whole ms", text, min,
				   max);
	}
	*ret = (uint32_t)(ns / MS_NS);
	return 0;
}

static int set_threads(struct parse *p, const struct config_row *row, uint32_t *ret,
		       const char *text)
{
	uint64_t value = 0;

	if (strcmp(text, "auto") != 0 &&
	    (number_parse(text, &value) < 0 || value < row->min || value > row->max))
		return config_fail(&p->notes, p->line, row->path,
				   "'%.40s' is neither auto nor a number from 1 to %u", text,
				   (unsigned)row->max);
	if (value > 1)
		return config_fail(&p->notes, p->line, row->path,
				   "%s threads are not available in this version; write auto or 1",
				   text);
	*ret = (uint32_t)value;
	return 0;
}
