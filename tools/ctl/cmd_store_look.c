/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_store_look.c
 * Purpose.     `store check` and `store inspect`: read a store without a daemon, and write nothing but
 *              what --repair asks for.
 * Limits.      LINES_MAX lines of each kind are kept for the document; all of them are counted.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/err.h"
#include "engine/store/check.h"
#include "engine/store/inspect.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/offline.h"

#define LINES_MAX 10000u
#define KINDS 4u /* enum check_line */

struct look {
	const struct ctl *ctl;
	char **lines[KINDS];
	uint32_t count[KINDS];
	bool repair;
	uint64_t repaired;
};

/* In tables lines are told as they come; for a document they are kept. */
static void look_report(void *ctx, enum check_line kind, const char *line)
{
	struct look *l = ctx;

	if (!l->ctl->json) {
		printf("%s%s\n",
		       kind == CHECK_BAD      ? "BAD "
		       : kind == CHECK_REPAIR ? "REPAIR "
					      : "",
		       line);
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
		int n = sscanf(l->lines[CHECK_DIGEST][i], "%15s %131s %63s %63s", kind, name,
			       last[0], last[1]);

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
	if (l->repair) {
		json_number(&j, "repaired", l->repaired);
		lines_json(&j, "repairs", l, CHECK_REPAIR);
	}
	json_close_object(&j);
	json_end(&j);
}

static int check_told(const struct ctl *ctl, const char *path, const struct look *l,
		      const struct store_check *c)
{
	if (ctl->json) {
		check_json(path, l, c);
	} else {
		if (c->digest)
			printf("digest %016llx\n", (unsigned long long)c->digest_all);
		printf("%s: %s, %llu bad\n", path, c->bad_count == 0 ? "ok" : "BAD",
		       (unsigned long long)c->bad_count);
	}
	return c->bad_count == 0 ? CTL_DONE : CTL_FAILED;
}

static int look_unopened(const struct ctl *ctl, const char *path, int rc)
{
	return ctl_fail(ctl, rc == -ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, err_admin_code(rc),
			rc == -ERR_LOCKED ? "stop the daemon that uses it" : "", "opening %s: %s",
			path, err_text(rc));
}

static int check_repair(struct offline *o, struct look *l)
{
	struct store_repair q = {.report = look_report, .ctx = l};
	int rc;

	offline_arm(o, &q.done);
	store_check_repair(o->env, o->disk, &q);
	rc = offline_wait(o, &q.done);
	l->repaired = q.repaired;
	return rc;
}

int cmd_store_check(struct ctl *ctl, int argc, char **argv)
{
	const char *path, *what = "checking";
	struct store_check c = {.report = look_report};
	struct look look = {.ctl = ctl};
	const struct opt opts[] = {{"--digest", NULL, &c.digest, false},
				   {"--repair", NULL, &look.repair, false},
				   {NULL, NULL, NULL, false}};
	struct uring_disk_options disk = {0};
	struct offline o;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &path);

	if (rc != 0)
		return rc;
	disk.read_only = !look.repair;
	rc = offline_open(&o, path, &disk);
	if (rc < 0)
		return look_unopened(ctl, path, rc);
	c.ctx = &look;
	rc = look.repair ? check_repair(&o, &look) : 0;
	if (rc < 0) {
		what = "repairing";
	} else {
		offline_arm(&o, &c.done);
		store_check(o.env, o.disk, &c);
		rc = offline_wait(&o, &c.done);
	}
	if (rc < 0)
		rc = ctl_fail(ctl, CTL_FAILED, err_admin_code(rc), "", "%s %s: %s", what, path,
			      err_text(rc));
	else
		rc = check_told(ctl, path, &look, &c);
	offline_close(&o);
	look_free(&look);
	return rc;
}

static void inspect_line(void *ctx, const char *line)
{
	(void)ctx;
	printf("%s\n", line);
}

struct inspect_target {
	char group[NAME_BYTES_MAX + 1], volume[NAME_BYTES_MAX + 1];
};

/* The parts asked for; behind map a volume, and behind it a block.  0 or CTL_USAGE (told). */
static int inspect_args(const struct ctl *ctl, const char **args, struct store_inspect *q,
			struct inspect_target *t)
{
	for (uint32_t i = 0; args[i] != NULL; i++) {
		uint32_t part = inspect_part(args[i]);
		char *end;
		int rc;

		if (part == 0)
			return ctl_usage(ctl, "'%.40s' is no part of a store", args[i]);
		if (part != INSPECT_MAP || args[i + 1] == NULL ||
		    strchr(args[i + 1], '/') == NULL) {
			q->parts |= part;
			continue;
		}
		rc = ctl_split(ctl, args[++i], t->group, t->volume);
		if (rc != 0)
			return rc;
		q->group = t->group;
		q->volume = t->volume;
		if (args[i + 1] == NULL || inspect_part(args[i + 1]) != 0)
			continue;
		q->has_block = true;
		q->block = strtoull(args[++i], &end, 10);
		if (*end != 0 || args[i][0] < '0' || args[i][0] > '9')
			return ctl_usage(ctl, "'%.40s' is not the number of a block", args[i]);
	}
	if (q->parts == 0 && q->group == NULL)
		q->parts = INSPECT_ALL;
	return 0;
}

int cmd_store_inspect(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	struct uring_disk_options disk = {.read_only = true};
	struct store_inspect q = {.json = ctl->json, .line = inspect_line};
	const char *args[17] = {NULL};
	struct inspect_target target;
	struct offline o;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, ARRAY_COUNT(args) - 1, args);

	if (rc == 0)
		rc = inspect_args(ctl, args + 1, &q, &target);
	if (rc != 0)
		return rc;
	rc = offline_open(&o, args[0], &disk);
	if (rc < 0)
		return look_unopened(ctl, args[0], rc);
	offline_arm(&o, &q.done);
	store_inspect(o.env, o.disk, &q);
	rc = offline_wait(&o, &q.done);
	if (rc == -ERR_NOT_FOUND)
		rc = ctl_fail(ctl, CTL_NOT_FOUND, err_admin_code(rc), "", "%s has no volume %s/%s",
			      args[0], target.group, target.volume);
	else if (rc < 0)
		rc = ctl_fail(ctl, CTL_FAILED, err_admin_code(rc), "", "opening the store %s: %s",
			      args[0], err_text(rc));
	offline_close(&o);
	return rc;
}
