/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_look.c
 * Purpose.     The commands that only look: status, events, explain, quorum status, lists, ping.
 * Limits.      A snapshot takes SNAPSHOT_BYTES_MAX of memory at most.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/admin/frame.h"
#include "engine/base/size.h"
#include "tools/ctl/client.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/show.h"

#define SNAPSHOT_BYTES_MAX (512u << 20)

/* Put the parts of one snapshot together; 0 or an exit code. */
static int snapshot_take(struct client *c, struct arena *a, struct snapshot *ret)
{
	const Adm__Group **groups = NULL;
	size_t count = 0, room = 0;
	Adm__Response *r;
	int rc;

	memset(ret, 0, sizeof(*ret));
	do {
		rc = client_take(c, a, &r);
		if (rc != 0)
			return rc;
		if (r->body_case != ADM__RESPONSE__BODY_STATUS ||
		    (ret->head == NULL) != (r->status->first != 0) ||
		    (r->status->first && (r->status->store == NULL || r->status->quorum == NULL)))
			return ctl_fail(c->ctl, CTL_FAILED, "protocol", "",
					"the answer of %s is not understood", c->ctl->admin);
		if (r->status->first)
			ret->head = r->status;
		for (size_t i = 0; i < r->status->n_groups; i++) {
			if (count == room) {
				const Adm__Group **more =
					arena_take(a, (room * 2 + 16) * sizeof(*more));

				if (more == NULL)
					return ctl_fail(c->ctl, CTL_FAILED, "no_memory", "",
							"the answer is too large");
				if (count != 0)
					memcpy(more, groups, count * sizeof(*more));
				groups = more;
				room = room * 2 + 16;
			}
			groups[count++] = r->status->groups[i];
		}
	} while (!r->status->last);
	ret->groups = groups;
	ret->group_count = count;
	return 0;
}

typedef void show_fn(FILE *out, const struct snapshot *s);

/* One snapshot of all groups, or of one, told by show. */
static int look(struct ctl *ctl, const char *group, bool watch, show_fn *show)
{
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__StatusRequest status = ADM__STATUS_REQUEST__INIT;
	char name[NAME_BYTES_MAX + 1];
	struct snapshot snapshot;
	struct client c;
	struct arena arena;
	int rc = client_open(&c, ctl);

	if (rc != 0)
		return rc;
	snprintf(name, sizeof(name), "%s", group);
	status.group = name;
	status.watch = watch;
	request.command_case = ADM__REQUEST__COMMAND_STATUS;
	request.status = &status;
	rc = client_send(&c, &request);
	while (rc == 0) {
		arena_init(&arena, SNAPSHOT_BYTES_MAX);
		rc = snapshot_take(&c, &arena, &snapshot);
		if (rc == 0 && watch && !ctl->json && isatty(STDOUT_FILENO))
			printf("\033[H\033[2J"); /* a fresh screen */
		if (rc == 0)
			show(stdout, &snapshot);
		arena_fini(&arena);
		if (fflush(stdout) != 0 || !watch)
			break;
		client_patient(&c);
	}
	client_close(&c);
	return rc;
}

int cmd_status(struct ctl *ctl, int argc, char **argv)
{
	bool watch = false;
	const struct opt opts[] = {{"--watch", NULL, &watch, false}, {NULL, NULL, NULL, false}};
	const char *group = "";
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 1, &group);

	if (rc == 0 && group[0] != '\0')
		rc = ctl_name(ctl, "group", group);
	return rc != 0 ? rc : look(ctl, group, watch, ctl->json ? show_status_json : show_status);
}

static int list(struct ctl *ctl, int argc, char **argv, show_fn *show)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *none;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 0, &none);

	return rc != 0 ? rc : look(ctl, "", false, show);
}

int cmd_group_list(struct ctl *ctl, int argc, char **argv)
{
	return list(ctl, argc, argv, ctl->json ? show_groups_json : show_status);
}

int cmd_volume_list(struct ctl *ctl, int argc, char **argv)
{
	return list(ctl, argc, argv, ctl->json ? show_volumes_json : show_volumes);
}

/* Ask once, and show what comes. */
static int ask(struct ctl *ctl, Adm__Request *request, Adm__Response__BodyCase want,
	       void (*show)(struct ctl *ctl, const Adm__Response *r))
{
	Adm__Response *r;
	struct client c;
	struct arena arena;
	int rc = client_open(&c, ctl);

	if (rc != 0)
		return rc;
	arena_init(&arena, FRAME_ARENA_BYTES);
	rc = client_send(&c, request);
	if (rc == 0)
		rc = client_take(&c, &arena, &r);
	if (rc == 0 && r->body_case != want)
		rc = ctl_fail(ctl, CTL_FAILED, "protocol", "", "the answer of %s is not understood",
			      ctl->admin);
	else if (rc == 0)
		show(ctl, r);
	arena_fini(&arena);
	client_close(&c);
	return rc;
}

static void quorum_shown(struct ctl *ctl, const Adm__Response *r)
{
	if (ctl->json)
		show_quorum_json(stdout, r->quorum->quorum);
	else
		show_quorum(stdout, r->quorum->quorum);
}

int cmd_quorum_status(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__QuorumRequest quorum = ADM__QUORUM_REQUEST__INIT;
	const char *none;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 0, &none);

	if (rc != 0)
		return rc;
	request.command_case = ADM__REQUEST__COMMAND_QUORUM;
	request.quorum = &quorum;
	return ask(ctl, &request, ADM__RESPONSE__BODY_QUORUM, quorum_shown);
}

static void explain_shown(struct ctl *ctl, const Adm__Response *r)
{
	if (ctl->json)
		show_explain_json(stdout, r->explain);
	else
		show_explain(stdout, r->explain);
}

int cmd_explain(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__ExplainRequest explain = ADM__EXPLAIN_REQUEST__INIT;
	char name[NAME_BYTES_MAX + 1];
	const char *group;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &group);

	if (rc != 0 || (rc = ctl_name(ctl, "group", group)) != 0)
		return rc;
	snprintf(name, sizeof(name), "%s", group);
	explain.group = name;
	request.command_case = ADM__REQUEST__COMMAND_EXPLAIN;
	request.explain = &explain;
	return ask(ctl, &request, ADM__RESPONSE__BODY_EXPLAIN, explain_shown);
}

int cmd_ping(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Ping ping = ADM__PING__INIT;
	const char *none;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 0, &none);

	if (rc != 0)
		return rc;
	request.command_case = ADM__REQUEST__COMMAND_PING;
	request.ping = &ping;
	return client_change(ctl, &request, NULL, NULL);
}

/* Followed events are one document per line, the others one document in all. */
static void events_shown(const struct ctl *ctl, struct json *whole, const Adm__EventsReply *m,
			 bool follow)
{
	for (size_t i = 0; i < m->n_events; i++) {
		struct json line;

		if (!ctl->json) {
			show_event(stdout, m->events[i]);
		} else if (follow) {
			json_begin(&line, stdout);
			show_event_json(&line, m->events[i]);
			json_end(&line);
		} else {
			show_event_json(whole, m->events[i]);
		}
	}
}

static int events_run(struct ctl *ctl, struct client *c, bool follow)
{
	struct json whole;
	struct arena arena;
	Adm__Response *r;
	bool more, started = false;
	int rc;

	json_begin(&whole, stdout);
	do {
		arena_init(&arena, FRAME_ARENA_BYTES);
		rc = client_take(c, &arena, &r);
		more = rc == 0 && r->more;
		if (rc == 0 && r->body_case == ADM__RESPONSE__BODY_EVENTS) {
			if (ctl->json && !follow && !started) {
				json_object(&whole, NULL);
				json_array(&whole, "events");
			}
			started = true;
			events_shown(ctl, &whole, r->events, follow);
		}
		arena_fini(&arena);
		if (follow && fflush(stdout) != 0)
			break;
	} while (more);
	if (rc == 0 && started && ctl->json && !follow) {
		json_close_array(&whole);
		json_close_object(&whole);
		json_end(&whole);
	}
	return rc;
}

int cmd_events(struct ctl *ctl, int argc, char **argv)
{
	bool follow = false;
	const char *since = "0", *none;
	const struct opt opts[] = {{"--follow", NULL, &follow, false},
				   {"--since", &since, NULL, false},
				   {NULL, NULL, NULL, false}};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__EventsRequest events = ADM__EVENTS_REQUEST__INIT;
	struct client c;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 0, &none);

	if (rc != 0)
		return rc;
	if (number_parse(since, &events.since) < 0)
		return ctl_usage(ctl, "'%.40s' is not the number of an event", since);
	rc = client_open(&c, ctl);
	if (rc != 0)
		return rc;
	events.follow = follow;
	request.command_case = ADM__REQUEST__COMMAND_EVENTS;
	request.events = &events;
	rc = client_send(&c, &request);
	if (follow)
		client_patient(&c);
	if (rc == 0)
		rc = events_run(ctl, &c, follow);
	client_close(&c);
	return rc;
}
