/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_store_look.c
 * Purpose.     `store check` and `store inspect`: read a store without a daemon, and write nothing.
 * Limits.      LINES_MAX lines of each kind are kept for the document; all of them are counted.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/err.h"
#include "engine/store/check.h"
#include "engine/store/replica.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/offline.h"

#define LINES_MAX 10000u
#define KINDS 3u /* enum check_line */

struct look {
	const struct ctl *ctl;
	char **lines[KINDS];
	uint32_t count[KINDS];
};

/* In tables lines are told as they come; for a document they are kept. */
static void look_report(void *ctx, enum check_line kind, const char *line)
{
	struct look *l = ctx;

	if (!l->ctl->json) {
		printf("%s%s\n", kind == CHECK_BAD ? "BAD " : "", line);
		return;
	}
	if (l->count[kind] == LINES_MAX)
		return;
	if (l->lines[kind] == NULL)
		l->lines[kind] = calloc(LINES_MAX, sizeof(char *));
	if (l->lines[kind] == NULL)
		return;
	l->lines[kind][l->count[kind]] = strdup(line);
	if (l->lines[kind][l->count[kind]] != NULL)
		l->count[kind]++;
}

static void look_free(struct look *l)
{
	for (uint32_t k = 0; k < KINDS; k++) {
		for (uint32_t i = 0; i < l->count[k]; i++)
			free(l->lines[k][i]);
		free(l->lines[k]);
	}
}

static void lines_json(struct json *j, const char *key, const struct look *l, enum check_line kind)
{
	json_array(j, key);
	for (uint32_t i = 0; i < l->count[kind]; i++)
		json_text(j, NULL, l->lines[kind][i]);
	json_close_array(j);
}

/* "group NAME UUID DIGEST", "volume GROUP/NAME DIGEST" as objects. */
static void digests_json(struct json *j, const struct look *l)
{
	json_array(j, "digests");
	for (uint32_t i = 0; i < l->count[CHECK_DIGEST]; i++) {
		char kind[16], name[132], last[2][64];
		int n = sscanf(l->lines[CHECK_DIGEST][i], "%15s %131s %63s %63s", kind, name, last[0], last[1]);

		if (n < 3)
			continue;
		json_object(j, NULL);
		json_text(j, "kind", kind);
		json_text(j, "name", name);
		if (n == 4)
			json_text(j, "uuid", last[0]);
		json_text(j, "digest", last[n - 3]);
		json_close_object(j);
	}
	json_close_array(j);
}

static void check_json(const char *path, const struct look *l, const struct store_check *c)
{
	char digest[20];
	struct json j;

	json_begin(&j, stdout);
	json_object(&j, NULL);
	json_text(&j, "path", path);
	json_text(&j, "result", c->bad_count == 0 ? "ok" : "bad");
	json_number(&j, "bad", c->bad_count);
	json_number(&j, "pages", c->pages);
	json_number(&j, "chunks", c->chunks);
	json_number(&j, "blocks", c->blocks);
	json_number(&j, "records", c->records);
	if (c->digest) {
		snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)c->digest_all);
		json_text(&j, "digest", digest);
		digests_json(&j, l);
	}
	lines_json(&j, "problems", l, CHECK_BAD);
	lines_json(&j, "notes", l, CHECK_NOTE);
	json_close_object(&j);
	json_end(&j);
}

static int check_told(const struct ctl *ctl, const char *path, const struct look *l, const struct store_check *c)
{
	if (ctl->json) {
		check_json(path, l, c);
	} else {
		if (c->digest)
			printf("digest %016llx\n", (unsigned long long)c->digest_all);
		printf("%s: %s, %llu bad\n", path, c->bad_count == 0 ? "ok" : "BAD", (unsigned long long)c->bad_count);
	}
	return c->bad_count == 0 ? CTL_DONE : CTL_FAILED;
}

int cmd_store_check(struct ctl *ctl, int argc, char **argv)
{
	const char *path;
	struct store_check c = {.report = look_report};
	const struct opt opts[] = {{"--digest", NULL, &c.digest, false}, {"--repair", NULL, NULL, true},
				   {NULL, NULL, NULL, false}};
	struct uring_disk_options disk = {.read_only = true};
	struct look look = {.ctl = ctl};
	struct offline o;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &path);

	if (rc != 0)
		return rc;
	rc = offline_open(&o, path, &disk);
	if (rc < 0)
		return ctl_fail(ctl, rc == -ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, err_admin_code(rc),
				rc == -ERR_LOCKED ? "stop the daemon that uses it" : "", "opening %s: %s", path, err_text(rc));
	c.ctx = &look;
	offline_arm(&o, &c.done);
	store_check(o.env, o.disk, &c);
	rc = offline_wait(&o, &c.done);
	if (rc < 0)
		rc = ctl_fail(ctl, CTL_FAILED, err_admin_code(rc), "", "checking %s: %s", path, err_text(rc));
	else
		rc = check_told(ctl, path, &look, &c);
	offline_close(&o);
	look_free(&look);
	return rc;
}

/* --- inspect --- */

enum section { SECTION_SUPERBLOCK = 1, SECTION_JOURNAL = 2, SECTION_MAP = 4 };

static void inspect_superblock(struct json *j, const struct store *s)
{
	struct store_status st;
	char uuid[UUID_TEXT_BYTES];

	store_status(s, &st);
	uuid_format(&st.uuid, uuid);
	json_object(j, "superblock");
	json_text(j, "uuid", uuid);
	json_number(j, "size", st.bytes);
	json_number(j, "used", st.used_bytes);
	json_number(j, "segment", st.segment_bytes);
	json_number(j, "journal_size", st.journal_bytes);
	json_number(j, "journal_used", st.journal_used_bytes);
	json_number(j, "incarnation", st.incarnation);
	json_number(j, "checkpoint", st.checkpoint_seq);
	json_close_object(j);
}

static void inspect_journal(struct json *j, const struct replica *r)
{
	struct epoch_entry epochs[EPOCHS_MAX];
	uint32_t n = replica_epochs(r, epochs, EPOCHS_MAX);
	struct replica_status st;
	char uuid[UUID_TEXT_BYTES];

	replica_status(r, &st);
	uuid_format(&st.group, uuid);
	json_text(j, "uuid", uuid);
	json_number(j, "trim", st.trim.v);
	json_number(j, "fold", st.fold.v);
	json_number(j, "commit", st.commit.v);
	json_number(j, "durable", st.durable.v);
	json_number(j, "tail", st.tail.v);
	json_number(j, "content_generation", st.content_generation);
	json_bool(j, "hole", st.has_hole);
	json_array(j, "epochs");
	for (uint32_t i = 0; i < n; i++) {
		json_object(j, NULL);
		json_number(j, "number", epochs[i].epoch.number);
		json_number(j, "site", epochs[i].epoch.site);
		json_number(j, "incarnation", epochs[i].epoch.incarnation);
		json_number(j, "first", epochs[i].first.v);
		json_close_object(j);
	}
	json_close_array(j);
}

static void inspect_map(struct json *j, const struct replica *r)
{
	struct replica_volume *list = calloc(VOLUMES_MAX, sizeof(*list));
	uint32_t n = list == NULL ? 0 : replica_volumes(r, list, VOLUMES_MAX);
	char uuid[UUID_TEXT_BYTES];

	json_array(j, "volumes");
	for (uint32_t i = 0; i < n; i++) {
		uuid_format(&list[i].uuid, uuid);
		json_object(j, NULL);
		json_text(j, "name", list[i].name);
		json_text(j, "uuid", uuid);
		json_number(j, "slot", list[i].slot);
		json_number(j, "size", list[i].bytes);
		json_number(j, "block_size", list[i].block_bytes);
		json_number(j, "used", list[i].used_bytes);
		json_bool(j, "deleted", list[i].deleted);
		json_close_object(j);
	}
	json_close_array(j);
	free(list);
}

/* One form for people and programs: it is a look inside, not a report. */
static void inspect_show(const struct ctl *ctl, struct store *s, uint32_t sections)
{
	struct replica_status st;
	struct json j;

	json_begin(&j, stdout);
	j.pretty = !ctl->json;
	json_object(&j, NULL);
	if ((sections & SECTION_SUPERBLOCK) != 0)
		inspect_superblock(&j, s);
	if ((sections & (SECTION_JOURNAL | SECTION_MAP)) != 0) {
		json_array(&j, "groups");
		for (struct replica *r = replica_next(s, NULL); r != NULL; r = replica_next(s, r)) {
			replica_status(r, &st);
			json_object(&j, NULL);
			json_text(&j, "name", st.name);
			if ((sections & SECTION_JOURNAL) != 0)
				inspect_journal(&j, r);
			if ((sections & SECTION_MAP) != 0)
				inspect_map(&j, r);
			json_close_object(&j);
		}
		json_close_array(&j);
	}
	json_close_object(&j);
	json_end(&j);
}

static int inspect_run(const struct ctl *ctl, const char *path, struct offline *o, uint32_t sections)
{
	struct store_opts so = {.memory_bytes = 256u << 20, .read_only = true};
	struct completion done;
	struct store *store;
	int rc;

	offline_arm(o, &done);
	store_open(o->env, o->disk, &so, &store, &done);
	rc = offline_wait(o, &done);
	if (rc < 0)
		return ctl_fail(ctl, CTL_FAILED, err_admin_code(rc), "", "opening the store %s: %s", path, err_text(rc));
	inspect_show(ctl, store, sections);
	offline_arm(o, &done);
	store_close(&store, &done);
	(void)offline_wait(o, &done);
	return CTL_DONE;
}

int cmd_store_inspect(struct ctl *ctl, int argc, char **argv)
{
	static const char *const words[] = {"superblock", "journal", "map"};
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	struct uring_disk_options disk = {.read_only = true};
	const char *args[6] = {NULL};
	uint32_t sections = 0;
	struct offline o;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 6, args);

	if (rc != 0)
		return rc;
	for (uint32_t i = 1; i < ARRAY_COUNT(args) && args[i] != NULL; i++) {
		uint32_t before = sections;

		for (uint32_t k = 0; k < ARRAY_COUNT(words); k++)
			sections |= strcmp(args[i], words[k]) == 0 ? 1u << k : 0u;
		if (strcmp(args[i], "segments") == 0)
			return ctl_later(ctl, "store inspect segments");
		if (sections == before)
			return ctl_usage(ctl, "'%.40s' is none of superblock, segments, journal, map", args[i]);
	}
	rc = offline_open(&o, args[0], &disk);
	if (rc < 0)
		return ctl_fail(ctl, rc == -ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, err_admin_code(rc),
				rc == -ERR_LOCKED ? "stop the daemon that uses it" : "", "opening %s: %s", args[0],
				err_text(rc));
	rc = inspect_run(ctl, args[0], &o, sections != 0 ? sections : SECTION_SUPERBLOCK | SECTION_JOURNAL | SECTION_MAP);
	offline_close(&o);
	return rc;
}
