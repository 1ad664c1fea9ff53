/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ctl/show.h: answers of the daemon as JSON documents and as tables. */
#ifndef TS_CTL_SHOW_H
#define TS_CTL_SHOW_H

#include <stdio.h>

#include "proto/admin.pb-c.h"

/* A whole snapshot, put together from its parts. */
struct snapshot {
	const Adm__StatusReply *head;
	const Adm__Group *const *groups;
	size_t group_count;
};

void show_status_json(FILE *out, const struct snapshot *s);
void show_status(FILE *out, const struct snapshot *s);
void show_groups_json(FILE *out, const struct snapshot *s);
void show_volumes_json(FILE *out, const struct snapshot *s);
void show_volumes(FILE *out, const struct snapshot *s);
void show_quorum_json(FILE *out, const Adm__Quorum *q);
void show_quorum(FILE *out, const Adm__Quorum *q);
void show_explain_json(FILE *out, const Adm__ExplainReply *e);
void show_explain(FILE *out, const Adm__ExplainReply *e);

/* Snapshots of a group, oldest first. */
void show_snapshots_json(FILE *out, const char *group, Adm__Snapshot *const *list, size_t count);
void show_snapshots(FILE *out, Adm__Snapshot *const *list, size_t count);
const char *show_run_kind(uint32_t kind); /* of a DiffRun */

struct json;
void show_loss(FILE *out, const Adm__Loss *l);
void loss_json(struct json *j,
	       const Adm__Loss *l); /* members "loss" and "fence" of an open object */
void show_event_json(struct json *j, const Adm__Event *e);
void show_event(FILE *out, const Adm__Event *e);

#endif
