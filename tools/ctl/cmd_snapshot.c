/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_snapshot.c
 * Purpose.     Snapshots, clones, rollback, and what differs between two snapshots.
 * Limits.      A list of snapshots takes LIST_BYTES_MAX of memory at most; a difference is shown as it
 *              comes and held nowhere.
 */
#include <string.h>

#include "engine/admin/frame.h"
#include "engine/base/size.h"
#include "tools/ctl/client.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/moment.h"
#include "tools/ctl/show.h"

#define LIST_BYTES_MAX (64u << 20)

static int not_understood(const struct ctl *ctl)
{
	return ctl_fail(ctl, CTL_FAILED, "protocol", "", "the answer of %s is not understood",
			ctl->admin);
}

/* A request that makes a snapshot: its name is what scripts want. */
static int make(struct ctl *ctl, Adm__Request *request, const char *group)
{
	Adm__Response *r;
	struct client c;
	struct arena arena;
	struct json j;
	int rc = client_open(&c, ctl);

	if (rc != 0)
		return rc;
	arena_init(&arena, FRAME_ARENA_BYTES);
	rc = client_send(&c, request);
	if (rc == 0)
		rc = client_take(&c, &arena, &r);
	if (rc == 0 && r->body_case != ADM__RESPONSE__BODY_SNAPSHOT_MADE) {
		rc = not_understood(ctl);
	} else if (rc == 0 && ctl->json) {
		json_begin(&j, stdout);
		json_object(&j, NULL);
		json_text(&j, "result", "done");
		json_text(&j, "group", group);
		json_text(&j, "name", r->snapshot_made->name);
		json_text(&j, "uuid", r->snapshot_made->uuid);
		json_number(&j, "lsn", r->snapshot_made->lsn);
		json_close_object(&j);
		json_end(&j);
	} else if (rc == 0) {
		printf("%s@%s\n", group, r->snapshot_made->name);
	}
	arena_fini(&arena);
	client_close(&c);
	return rc;
}

static int moment_set(const struct ctl *ctl, const char *at, Adm__SnapshotCreate *m)
{
	struct moment moment;

	if (moment_parse(at, &moment) < 0)
		return ctl_usage(ctl,
				 "option --at is a time like 2026-11-27T15:04:05Z or '2026-11-27 "
				 "15:04:05' (UTC), -10m or '10m ago', or an LSN, not '%.60s'",
				 at);
	m->at = (uint32_t)moment.kind;
	m->at_lsn = moment.lsn;
	m->at_time_ns = moment.time_ns;
	m->at_age_ns = moment.age_ns;
	return 0;
}

int cmd_snapshot_create(struct ctl *ctl, int argc, char **argv)
{
	const char *group, *name = "", *at = NULL;
	const struct opt opts[] = {{"--name", &name, NULL, false},
				   {"--at", &at, NULL, false},
				   {NULL, NULL, NULL, false}};
	char texts[2][NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__SnapshotCreate m = ADM__SNAPSHOT_CREATE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &group);

	if (rc != 0 || (rc = ctl_name(ctl, "group", group)) != 0 ||
	    (name[0] != '\0' && (rc = ctl_name(ctl, "snapshot", name)) != 0))
		return rc;
	if (at != NULL && (rc = moment_set(ctl, at, &m)) != 0)
		return rc;
	snprintf(texts[0], sizeof(texts[0]), "%s", group);
	snprintf(texts[1], sizeof(texts[1]), "%s", name);
	m.group = texts[0];
	m.name = texts[1];
	request.command_case = ADM__REQUEST__COMMAND_SNAPSHOT_CREATE;
	request.snapshot_create = &m;
	return make(ctl, &request, group);
}

int cmd_snapshot_delete(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *text;
	char group[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__SnapshotDelete m = ADM__SNAPSHOT_DELETE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &text);

	if (rc != 0 || (rc = ctl_split_snapshot(ctl, text, group, name)) != 0)
		return rc;
	m.group = group;
	m.name = name;
	request.command_case = ADM__REQUEST__COMMAND_SNAPSHOT_DELETE;
	request.snapshot_delete = &m;
	return client_change(ctl, &request, "snapshot", text);
}

int cmd_clone(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *args[2];
	char group[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], made[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Clone m = ADM__CLONE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 2, 2, args);

	if (rc != 0 || (rc = ctl_split_snapshot(ctl, args[0], group, name)) != 0 ||
	    (rc = ctl_name(ctl, "group", args[1])) != 0)
		return rc;
	snprintf(made, sizeof(made), "%s", args[1]);
	m.group = group;
	m.name = name;
	m.new_group = made;
	request.command_case = ADM__REQUEST__COMMAND_CLONE;
	request.clone = &m;
	return client_change(ctl, &request, "group", made);
}

int cmd_rollback(struct ctl *ctl, int argc, char **argv)
{
	bool force = false;
	const struct opt opts[] = {{"--force", NULL, &force, false}, {NULL, NULL, NULL, false}};
	const char *text;
	char group[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Rollback m = ADM__ROLLBACK__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &text);

	if (rc != 0 || (rc = ctl_split_snapshot(ctl, text, group, name)) != 0)
		return rc;
	m.group = group;
	m.name = name;
	m.force = force;
	request.command_case = ADM__REQUEST__COMMAND_ROLLBACK;
	request.rollback = &m;
	return make(ctl, &request, group);
}

/* --- list --- */

struct listed {
	Adm__Snapshot **list;
	size_t count, room;
};

static int listed_add(const struct ctl *ctl, struct arena *a, struct listed *l,
		      const Adm__SnapshotsReply *m)
{
	for (size_t i = 0; i < m->n_snapshots; i++) {
		if (l->count == l->room) {
			Adm__Snapshot **more =
				arena_take(a, (l->room * 2 + 64) * sizeof(Adm__Snapshot *));

			if (more == NULL)
				return ctl_fail(ctl, CTL_FAILED, "no_memory", "",
						"the answer is too large");
			if (l->count != 0)
				memcpy(more, l->list, l->count * sizeof(Adm__Snapshot *));
			l->list = more;
			l->room = l->room * 2 + 64;
		}
		l->list[l->count++] = m->snapshots[i];
	}
	return 0;
}

int cmd_snapshot_list(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__SnapshotList m = ADM__SNAPSHOT_LIST__INIT;
	Adm__Response *r = NULL;
	char name[NAME_BYTES_MAX + 1];
	struct listed listed = {0};
	struct client c;
	struct arena arena;
	const char *group;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &group);

	if (rc != 0 || (rc = ctl_name(ctl, "group", group)) != 0 ||
	    (rc = client_open(&c, ctl)) != 0)
		return rc;
	snprintf(name, sizeof(name), "%s", group);
	m.group = name;
	request.command_case = ADM__REQUEST__COMMAND_SNAPSHOT_LIST;
	request.snapshot_list = &m;
	arena_init(&arena, LIST_BYTES_MAX);
	rc = client_send(&c, &request);
	do {
		if (rc == 0)
			rc = client_take(&c, &arena, &r);
		if (rc == 0 && r->body_case != ADM__RESPONSE__BODY_SNAPSHOTS)
			rc = not_understood(ctl);
		client_patient(&c); /* it has answered: the rest takes what it takes */
		if (rc == 0)
			rc = listed_add(ctl, &arena, &listed, r->snapshots);
	} while (rc == 0 && r->more);
	if (rc == 0 && ctl->json)
		show_snapshots_json(stdout, group, listed.list, listed.count);
	else if (rc == 0)
		show_snapshots(stdout, listed.list, listed.count);
	arena_fini(&arena);
	client_close(&c);
	return rc;
}

/* --- diff --- */

struct differ {
	const char *group, *from, *to;
	struct json j;
	bool started;
	uint64_t bytes[3], ranges;
};

static void differ_begin(struct ctl *ctl, struct differ *d)
{
	if (d->started)
		return;
	d->started = true;
	if (!ctl->json) {
		printf("%-20s %16s %16s  %s\n", "VOLUME", "OFFSET", "BYTES", "KIND");
		return;
	}
	json_begin(&d->j, stdout);
	json_object(&d->j, NULL);
	json_text(&d->j, "group", d->group);
	json_text(&d->j, "from", d->from);
	json_text(&d->j, "to", d->to);
	json_array(&d->j, "ranges");
}

static void differ_part(struct ctl *ctl, struct differ *d, const Adm__DiffReply *m)
{
	differ_begin(ctl, d);
	for (size_t i = 0; i < m->n_runs; i++) {
		const Adm__DiffRun *run = m->runs[i];
		const char *kind = show_run_kind(run->kind);

		d->bytes[run->kind < 3 ? run->kind : 0] += run->bytes;
		d->ranges++;
		if (!ctl->json) {
			printf("%-20s %16llu %16llu  %s\n", m->volume,
			       (unsigned long long)run->offset, (unsigned long long)run->bytes,
			       kind);
			continue;
		}
		json_object(&d->j, NULL);
		json_text(&d->j, "volume", m->volume);
		json_number(&d->j, "offset", run->offset);
		json_number(&d->j, "bytes", run->bytes);
		json_text(&d->j, "kind", kind);
		json_close_object(&d->j);
	}
}

static void differ_end(struct ctl *ctl, struct differ *d)
{
	uint64_t all = d->bytes[0] + d->bytes[1] + d->bytes[2];
	char text[SIZE_TEXT_BYTES];

	if (!ctl->json) {
		size_format_short(all, text);
		printf("%llu ranges, %s\n", (unsigned long long)d->ranges, text);
		return;
	}
	json_close_array(&d->j);
	json_number(&d->j, "bytes", all);
	json_number(&d->j, "data_bytes", d->bytes[0]);
	json_number(&d->j, "zero_bytes", d->bytes[1]);
	json_number(&d->j, "discarded_bytes", d->bytes[2]);
	json_close_object(&d->j);
	json_end(&d->j);
}

static int differ_run(struct ctl *ctl, struct client *c, struct differ *d)
{
	struct arena arena;
	Adm__Response *r;
	bool more;
	int rc;

	do {
		arena_init(&arena, FRAME_ARENA_BYTES);
		rc = client_take(c, &arena, &r);
		more = rc == 0 && r->more;
		client_patient(c);
		if (rc == 0 && r->body_case != ADM__RESPONSE__BODY_DIFF)
			rc = not_understood(ctl);
		else if (rc == 0)
			differ_part(ctl, d, r->diff);
		arena_fini(&arena);
	} while (rc == 0 && more);
	if (rc == 0)
		differ_end(ctl, d);
	return rc;
}

int cmd_diff(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *args[2];
	char group[2][NAME_BYTES_MAX + 1], name[2][NAME_BYTES_MAX + 1];
	struct differ d = {.group = group[0], .from = name[0], .to = name[1]};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Diff m = ADM__DIFF__INIT;
	struct client c;
	int rc = ctl_parse(ctl, argc, argv, opts, 2, 2, args);

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = ctl_split_snapshot(ctl, args[i], group[i], name[i]);
	if (rc == 0 && strcmp(group[0], group[1]) != 0)
		rc = ctl_usage(ctl, "both snapshots are of one group, not of %s and %s", group[0],
			       group[1]);
	if (rc != 0 || (rc = client_open(&c, ctl)) != 0)
		return rc;
	m.group = group[0];
	m.from = name[0];
	m.to = name[1];
	request.command_case = ADM__REQUEST__COMMAND_DIFF;
	request.diff = &m;
	rc = client_send(&c, &request);
	if (rc == 0)
		rc = differ_run(ctl, &c, &d);
	client_close(&c);
	return rc;
}
