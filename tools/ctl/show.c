/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/show.c
 * Purpose.     What programs read: the JSON documents, whose fields are a contract.
 */
#include "tools/ctl/show.h"

#include "tools/ctl/json.h"

static void names_json(struct json *j, const char *key, size_t n, char *const *names)
{
	json_array(j, key);
	for (size_t i = 0; i < n; i++)
		json_text(j, NULL, names[i]);
	json_close_array(j);
}

static void text_or_null(struct json *j, const char *key, const char *text)
{
	if (text[0] == '\0')
		json_null(j, key);
	else
		json_text(j, key, text);
}

static void quorum_json(struct json *j, const Adm__Quorum *q)
{
	json_text(j, "state", q->state);
	text_or_null(j, "leader", q->leader);
	json_array(j, "members");
	for (size_t i = 0; i < q->n_members; i++) {
		json_object(j, NULL);
		json_text(j, "name", q->members[i]->name);
		json_bool(j, "reachable", q->members[i]->reachable);
		json_number(j, "id", q->members[i]->id);
		json_close_object(j);
	}
	json_close_array(j);
	json_text(j, "self", q->self);
	json_number(j, "term", q->term);
	json_number(j, "applied", q->applied);
	json_number(j, "generation", q->generation);
	json_text(j, "cluster", q->cluster);
	json_text(j, "error", q->error);
}

static void store_json(struct json *j, const Adm__Store *s)
{
	json_object(j, "store");
	json_text(j, "path", s->path);
	json_number(j, "size", s->size);
	json_number(j, "used", s->used);
	json_text(j, "state", s->state);
	json_number(j, "free", s->free);
	json_text(j, "room", s->room);
	json_number(j, "journal_size", s->journal_size);
	json_number(j, "journal_used", s->journal_used);
	json_number(j, "incarnation", s->incarnation);
	json_text(j, "uuid", s->uuid);
	json_close_object(j);
}

static void volume_json(struct json *j, const char *group, const Adm__Volume *v)
{
	json_object(j, NULL);
	if (group != NULL)
		json_text(j, "group", group);
	json_text(j, "name", v->name);
	json_number(j, "size", v->size);
	json_number(j, "used", v->used);
	json_number(j, "clients", v->clients);
	json_number(j, "block_size", v->block_size);
	json_text(j, "uuid", v->uuid);
	json_close_object(j);
}

static void peer_json(struct json *j, const Adm__Peer *p)
{
	json_object(j, NULL);
	json_text(j, "site", p->site);
	json_text(j, "mode", p->mode);
	json_text(j, "state", p->state);
	if (p->durable_known)
		json_number(j, "durable_lsn", p->durable_lsn);
	else
		json_null(j, "durable_lsn");
	json_number(j, "lag_bytes", p->lag_bytes);
	json_real(j, "lag_seconds", p->lag_seconds);
	json_object(j, "resync");
	json_number(j, "bytes_left", p->resync_bytes_left);
	json_real(j, "eta_seconds", p->resync_eta_seconds);
	if (p->resync_rung[0] != '\0')
		json_text(j, "rung", p->resync_rung);
	json_close_object(j);
	json_time(j, "newest_time", p->newest_time_ns);
	json_number(j, "hold_down_ms", p->hold_down_ms);
	json_null(j, "last_verified");
	json_close_object(j);
}

static void group_head_json(struct json *j, const Adm__Group *g)
{
	json_text(j, "name", g->name);
	json_text(j, "role", g->role);
	json_text(j, "state", g->state);
	json_text(j, "guarantee", g->guarantee);
	text_or_null(j, "primary", g->primary);
	json_number(j, "epoch", g->epoch);
	json_number(j, "cfg", g->cfg);
	names_json(j, "in_sync", g->n_in_sync, g->in_sync);
	names_json(j, "ack_set", g->n_ack_set, g->ack_set);
	json_number(j, "head_lsn", g->head_lsn);
	json_number(j, "commit_lsn", g->commit_lsn);
	json_number(j, "fold_lsn", g->fold_lsn);
	json_number(j, "stable_lsn", g->stable_lsn);
	json_number(j, "content_generation", g->content_generation);
	json_text(j, "reason", g->reason);
	json_text(j, "uuid", g->uuid);
	json_text(j, "on_peer_loss", g->on_peer_loss_stop ? "stop" : "continue");
	json_text(j, "on_full", g->on_full_stop ? "stop" : "enospc");
	json_number(j, "history_seconds", g->history_seconds);
	json_number(j, "history_bytes", g->history_bytes);
	json_number(j, "history_kept", g->history_kept);
	json_bool(j, "history_short", g->history_short);
	if (g->history_reachable) {
		json_object(j, "history_earliest");
		json_number(j, "lsn", g->history_lsn);
		json_time(j, "time", (g->history_time_ns + 999999) / 1000000 * 1000000);
		json_close_object(j);
	} else {
		json_null(j, "history_earliest");
	}
	json_text(j, "ack", "journaled");
	json_number(j, "min_isr", g->min_isr);
	json_bool(j, "orphan", g->orphan);
	if (g->is_stale)
		json_real(j, "age_seconds", g->age_seconds);
	else
		json_null(j, "age_seconds");
}

static void group_json(struct json *j, const Adm__Group *g)
{
	json_object(j, NULL);
	group_head_json(j, g);
	json_array(j, "volumes");
	for (size_t i = 0; i < g->n_volumes; i++)
		volume_json(j, NULL, g->volumes[i]);
	json_close_array(j);
	json_array(j, "peers");
	for (size_t i = 0; i < g->n_peers; i++)
		peer_json(j, g->peers[i]);
	json_close_array(j);
	json_number(j, "snapshots", g->snapshots);
	if (g->newest_recoverable != NULL) {
		json_object(j, "newest_recoverable");
		json_text(j, "site", g->newest_recoverable->site);
		json_number(j, "lsn", g->newest_recoverable->lsn);
		json_time(j, "time", g->newest_recoverable->time_ns);
		json_close_object(j);
	} else {
		json_null(j, "newest_recoverable");
	}
	json_close_object(j);
}

void show_status_json(FILE *out, const struct snapshot *s)
{
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_text(&j, "site", s->head->site);
	json_text(&j, "version", s->head->version);
	store_json(&j, s->head->store);
	json_object(&j, "quorum");
	quorum_json(&j, s->head->quorum);
	json_close_object(&j);
	json_array(&j, "groups");
	for (size_t i = 0; i < s->group_count; i++)
		group_json(&j, s->groups[i]);
	json_close_array(&j);
	json_close_object(&j);
	json_end(&j);
}

void show_groups_json(FILE *out, const struct snapshot *s)
{
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_array(&j, "groups");
	for (size_t i = 0; i < s->group_count; i++)
		group_json(&j, s->groups[i]);
	json_close_array(&j);
	json_close_object(&j);
	json_end(&j);
}

void show_volumes_json(FILE *out, const struct snapshot *s)
{
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_array(&j, "volumes");
	for (size_t i = 0; i < s->group_count; i++)
		for (size_t k = 0; k < s->groups[i]->n_volumes; k++)
			volume_json(&j, s->groups[i]->name, s->groups[i]->volumes[k]);
	json_close_array(&j);
	json_close_object(&j);
	json_end(&j);
}

void show_quorum_json(FILE *out, const Adm__Quorum *q)
{
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_object(&j, "quorum");
	quorum_json(&j, q);
	json_close_object(&j);
	json_close_object(&j);
	json_end(&j);
}

void show_explain_json(FILE *out, const Adm__ExplainReply *e)
{
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_text(&j, "group", e->group);
	json_text(&j, "state", e->state);
	json_text(&j, "because", e->because);
	names_json(&j, "evidence", e->n_evidence, e->evidence);
	names_json(&j, "advice", e->n_advice, e->advice);
	json_close_object(&j);
	json_end(&j);
}

void show_event_json(struct json *j, const Adm__Event *e)
{
	json_object(j, NULL);
	json_number(j, "seq", e->seq);
	json_time(j, "time", e->time_ns);
	json_text(j, "kind", e->kind);
	json_text(j, "group", e->group);
	json_text(j, "site", e->site);
	json_text(j, "from", e->from);
	json_text(j, "to", e->to);
	json_text(j, "reason", e->reason);
	json_number(j, "bytes", e->bytes);
	json_real(j, "seconds", e->seconds);
	json_close_object(j);
}

static void snapshot_json(struct json *j, const Adm__Snapshot *s)
{
	json_object(j, NULL);
	json_text(j, "uuid", s->uuid);
	json_text(j, "name", s->name);
	json_number(j, "lsn", s->lsn);
	json_time(j, "time", s->time_ns);
	json_bool(j, "pinned", s->pinned);
	if (s->pinned)
		json_number(j, "used", s->used);
	else
		json_null(j, "used");
	if (s->owned_known)
		json_number(j, "owned", s->owned);
	else
		json_null(j, "owned");
	json_number(j, "volumes", s->volumes);
	json_number(j, "clones", s->clones);
	json_number(j, "readers", s->readers);
	json_array(j, "flags");
	if (s->kept)
		json_text(j, NULL, "kept");
	if (s->branch)
		json_text(j, NULL, "branch");
	if (s->scheduled)
		json_text(j, NULL, "scheduled");
	if (s->past)
		json_text(j, NULL, "making");
	if (s->missing)
		json_text(j, NULL, "missing");
	json_close_array(j);
	json_close_object(j);
}

void show_snapshots_json(FILE *out, const char *group, Adm__Snapshot *const *list, size_t count)
{
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_text(&j, "group", group);
	json_array(&j, "snapshots");
	for (size_t i = 0; i < count; i++)
		snapshot_json(&j, list[i]);
	json_close_array(&j);
	json_close_object(&j);
	json_end(&j);
}

const char *show_run_kind(uint32_t kind)
{
	static const char *const words[] = {"data", "zero", "discarded"};

	return kind < 3 ? words[kind] : "other";
}
