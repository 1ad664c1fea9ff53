/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/command.c
 * Purpose.     What each request of the admin protocol does.
 * Failure.     Bad arguments are refused here with a sentence; the conductor says the rest.
 * Limits.      A change waits TIMEOUT_MS_MAX at most.
 */
#include <stdio.h>
#include <string.h>

#include "engine/admin/frame.h"
#include "engine/admin/session.h"
#include "engine/admin/status.h"
#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/size.h"

#define TIMEOUT_MS_DEFAULT 30000u
#define TIMEOUT_MS_MAX 600000u
#define EVENTS_PER_PART 64u

static bool name_ok(struct session *s, const char *what, const char *name)
{
	if (name_is_valid(name))
		return true;
	session_refuse(
		s, -ERR_INVALID,
		"names are 1 to 63 of letters, digits, '.', '_' and '-', and start with a letter or digit",
		"'%.80s' is not a name of a %s", name, what);
	return false;
}

static bool site_ok(struct session *s, const char *name)
{
	const struct conductor *c = s->server->o.conductor;

	for (uint32_t id = 0; name[0] != '\0' && id < 32; id++)
		if (strcmp(conductor_site_name(c, id), name) == 0)
			return true;
	if (name[0] == '\0')
		return true;
	session_refuse(s, -ERR_NOT_FOUND,
		       "sites are named in the configuration of every daemon, under 'sites'",
		       "no site named %.40s", name);
	return false;
}

static void fill(char *to, size_t bytes, const char *from)
{
	snprintf(to, bytes, "%s", from);
}

static struct conductor_request *change_new(struct session *s, enum request_kind kind,
					    uint32_t timeout_ms)
{
	struct conductor_request *r = &s->change;

	memset(r, 0, sizeof(*r));
	r->kind = kind;
	r->deadline_ms = timeout_ms == 0	       ? TIMEOUT_MS_DEFAULT
			 : timeout_ms > TIMEOUT_MS_MAX ? TIMEOUT_MS_MAX
						       : timeout_ms;
	return r;
}

static void change_submit(struct session *s)
{
	s->state = SESSION_CHANGE;
	completion_arm(&s->change.done, &s->channel.op, SESSION_WAIT_REQUEST);
	conductor_submit(s->server->o.conductor, &s->change);
}

static void group_create(struct session *s, const Adm__GroupCreate *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_GROUP_CREATE, timeout_ms);

	if (m->ack_received || m->mode_snapshot) {
		session_refuse(s, -ERR_UNSUPPORTED, "",
			       "group create %s is not available in this version",
			       m->ack_received ? "--ack received" : "--mode snapshot");
		return;
	}
	if (!name_ok(s, "group", m->name) || !site_ok(s, m->sync_site) ||
	    !site_ok(s, m->async_site) || !site_ok(s, m->primary_site))
		return;
	if (m->min_isr > 2) {
		session_refuse(s, -ERR_INVALID, "", "the minimum of in-sync sites is 1 or 2");
		return;
	}
	fill(r->group.name, sizeof(r->group.name), m->name);
	fill(r->group.sync_site, sizeof(r->group.sync_site), m->sync_site);
	fill(r->group.async_site, sizeof(r->group.async_site), m->async_site);
	fill(r->group.primary_site, sizeof(r->group.primary_site), m->primary_site);
	r->group.on_peer_loss_stop = m->on_peer_loss_stop;
	r->group.on_full_stop = m->on_full_stop;
	r->group.min_isr = m->min_isr == 0 ? 1 : m->min_isr;
	change_submit(s);
}

static void group_set(struct session *s, const Adm__GroupSet *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_GROUP_SET, timeout_ms);

	if (!name_ok(s, "group", m->name) || !site_ok(s, m->sync_site) ||
	    !site_ok(s, m->async_site) || !site_ok(s, m->remove_site))
		return;
	if (m->ack_received || m->min_isr > 2) {
		session_refuse(s, m->ack_received ? -ERR_UNSUPPORTED : -ERR_INVALID, "",
			       m->ack_received
				       ? "group set --ack received is not available in this version"
				       : "the minimum of in-sync sites is 1 or 2");
		return;
	}
	fill(r->group.name, sizeof(r->group.name), m->name);
	r->set_on_peer_loss = m->set_on_peer_loss;
	r->group.on_peer_loss_stop = m->on_peer_loss_stop;
	r->set_history = m->set_history;
	r->group.history_s = m->history_seconds;
	r->group.history_bytes = m->history_bytes;
	r->set_branch_keep = m->set_branch_keep;
	r->group.branch_keep_h =
		m->branch_keep_hours < UINT16_MAX ? (uint16_t)m->branch_keep_hours : UINT16_MAX;
	r->set_on_full = m->set_on_full;
	r->group.on_full_stop = m->on_full_stop;
	fill(r->group.sync_site, sizeof(r->group.sync_site), m->sync_site);
	fill(r->group.async_site, sizeof(r->group.async_site), m->async_site);
	fill(r->remove_site, sizeof(r->remove_site), m->remove_site);
	r->set_min_isr = m->min_isr != 0;
	r->group.min_isr = m->min_isr;
	change_submit(s);
}

static void group_delete(struct session *s, const Adm__GroupDelete *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_GROUP_DELETE, timeout_ms);

	if (!name_ok(s, "group", m->name))
		return;
	fill(r->group.name, sizeof(r->group.name), m->name);
	r->force = m->force;
	change_submit(s);
}

static void volume_change(struct session *s, enum request_kind kind, const char *group,
			  const char *name, uint64_t bytes, uint32_t block_bytes,
			  uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, kind, timeout_ms);

	if (!name_ok(s, "group", group) || !name_ok(s, "volume", name))
		return;
	if (block_bytes == 0)
		block_bytes = BLOCK_BYTES;
	if (block_bytes != 512 && block_bytes != BLOCK_BYTES) {
		session_refuse(s, -ERR_INVALID, "", "the block size is 512 or 4096");
		return;
	}
	if (kind != REQUEST_VOLUME_DELETE && (bytes == 0 || bytes % BLOCK_BYTES != 0)) {
		session_refuse(s, -ERR_INVALID, "",
			       "the size of a volume is a multiple of 4 KiB, not %llu",
			       (unsigned long long)bytes);
		return;
	}
	fill(r->volume.group, sizeof(r->volume.group), group);
	fill(r->volume.name, sizeof(r->volume.name), name);
	r->volume.bytes = bytes;
	r->volume.block_bytes = block_bytes;
	change_submit(s);
}

/* What the commands about one snapshot have in common. */
static bool snapshot_named(struct session *s, struct conductor_request *r, const char *group,
			   const char *name)
{
	if (!name_ok(s, "group", group) || !name_ok(s, "snapshot", name))
		return false;
	fill(r->snapshot.group, sizeof(r->snapshot.group), group);
	fill(r->snapshot.name, sizeof(r->snapshot.name), name);
	return true;
}

static void snapshot_create(struct session *s, const Adm__SnapshotCreate *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_SNAPSHOT_CREATE, timeout_ms);

	if (!name_ok(s, "group", m->group) ||
	    (m->name[0] != '\0' && !name_ok(s, "snapshot", m->name)))
		return;
	fill(r->snapshot.group, sizeof(r->snapshot.group), m->group);
	fill(r->snapshot.name, sizeof(r->snapshot.name), m->name);
	if (m->at > SNAPSHOT_AT_AGE) {
		session_refuse(s, -ERR_INVALID, "",
			       "a snapshot of a moment of kind %u is not known here", m->at);
		return;
	}
	r->snapshot.at = (enum snapshot_at)m->at;
	r->snapshot.at_lsn.v = m->at_lsn;
	r->snapshot.at_time.v = m->at_time_ns;
	r->snapshot.at_age_ns = m->at_age_ns;
	change_submit(s);
}

static void snapshot_delete(struct session *s, const Adm__SnapshotDelete *m, uint32_t timeout_ms)
{
	if (snapshot_named(s, change_new(s, REQUEST_SNAPSHOT_DELETE, timeout_ms), m->group,
			   m->name))
		change_submit(s);
}

static void rollback(struct session *s, const Adm__Rollback *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_ROLLBACK, timeout_ms);

	r->force = m->force;
	if (snapshot_named(s, r, m->group, m->name))
		change_submit(s);
}

static void clone_group(struct session *s, const Adm__Clone *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_CLONE, timeout_ms);

	if (!snapshot_named(s, r, m->group, m->name) || !name_ok(s, "group", m->new_group))
		return;
	fill(r->group.name, sizeof(r->group.name), m->new_group);
	change_submit(s);
}

static void role_change(struct session *s, struct conductor_request *r, const char *group,
			const char *site)
{
	bool all = r->all;

	if ((!all && !name_ok(s, "group", group)) || !site_ok(s, site))
		return;
	if (site[0] == '\0' || (all && group[0] != '\0')) {
		session_refuse(s, -ERR_INVALID, "",
			       site[0] == '\0' ? "the site that shall be primary is not named"
					       : "a group or all of them, not both");
		return;
	}
	fill(r->group.name, sizeof(r->group.name), group);
	fill(r->site, sizeof(r->site), site);
	change_submit(s);
}

static void switchover(struct session *s, const Adm__Switchover *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_SWITCHOVER, timeout_ms);

	r->all = m->all;
	role_change(s, r, m->group, m->site);
}

static void pause_site(struct session *s, const Adm__Pause *m, uint32_t timeout_ms)
{
	role_change(s, change_new(s, m->resume ? REQUEST_RESUME : REQUEST_PAUSE, timeout_ms),
		    m->group, m->site);
}

static void failover(struct session *s, const Adm__Failover *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_FAILOVER, timeout_ms);
	struct failover_spec *f = &r->failover;

	memset(f, 0, sizeof(*f));
	f->accept_unknown = m->accept_unknown;
	f->accept = m->accept;
	f->accept_bytes = m->accept_bytes;
	if (m->n_fenced > SITES_MAX) {
		session_refuse(s, -ERR_INVALID, "", "at most %u sites can be fenced", SITES_MAX);
		return;
	}
	for (size_t i = 0; i < m->n_fenced; i++) {
		if (!site_ok(s, m->fenced[i]))
			return;
		fill(f->fenced[f->fenced_count++], sizeof(f->fenced[0]), m->fenced[i]);
	}
	net_peer_name(s->channel.net, f->who, sizeof(f->who));
	for (size_t i = 0; m->reason[i] != '\0' && i + 1 < sizeof(f->reason); i++)
		f->reason[i] = m->reason[i] >= ' ' && m->reason[i] <= '~' ? m->reason[i] : '?';
	role_change(s, r, m->group, m->site);
}

static void scrub(struct session *s, const Adm__Scrub *m, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_SCRUB, timeout_ms);

	if (m->group[0] != '\0' && !name_ok(s, "group", m->group))
		return;
	fill(r->group.name, sizeof(r->group.name), m->group);
	r->all = m->group[0] == '\0';
	change_submit(s);
}

/* Ask the primary, or wait: what else a person can do. */
static const char *change_hint(int rc)
{
	if (rc == -ERR_NOT_PRIMARY)
		return "give the command at the primary's site (see 'twinshore status')";
	if (rc == -ERR_TIMEOUT)
		return "the outcome may still happen; saying it again is harmless";
	if (rc == -ERR_NO_QUORUM)
		return "nothing was changed; see 'twinshore quorum status'";
	if (rc == -ERR_FULL)
		return "delete what is not needed, or make the store larger: 'twinshore store grow'";
	return "";
}

static void answer_done(struct session *s)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__Done done = ADM__DONE__INIT;

	response.id = s->id;
	response.body_case = ADM__RESPONSE__BODY_DONE;
	response.done = &done;
	session_answer(s, &response);
}

/* A snapshot was made: this one. */
static void answer_made(struct session *s)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__SnapshotMade made = ADM__SNAPSHOT_MADE__INIT;
	char uuid[UUID_TEXT_BYTES];

	uuid_format(&s->change.snapshot.uuid, uuid);
	made.name = s->change.snapshot.name;
	made.uuid = uuid;
	made.lsn = s->change.snapshot.lsn.v;
	response.id = s->id;
	response.body_case = ADM__RESPONSE__BODY_SNAPSHOT_MADE;
	response.snapshot_made = &made;
	session_answer(s, &response);
}

static void answer_scrubbed(struct session *s)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__ScrubReply reply = ADM__SCRUB_REPLY__INIT;
	const struct scrub_result *n = &s->change.scrub;

	reply.bytes = n->bytes;
	reply.bad = n->bad;
	reply.repaired = n->repaired;
	reply.unrepairable = n->unrepairable;
	response.id = s->id;
	response.body_case = ADM__RESPONSE__BODY_SCRUB;
	response.scrub = &reply;
	session_answer(s, &response);
}

/* P6: what is known, beside the refusal. */
static void refuse_loss(struct session *s, int rc)
{
	struct failover_loss *l = &s->change.loss;
	char *fence[SITES_MAX];
	Adm__Loss m = ADM__LOSS__INIT;

	m.bytes_known = l->bytes_known;
	m.bytes = l->bytes;
	m.at_least = l->least;
	m.seconds_known = l->seconds_known;
	m.seconds = l->seconds;
	m.newest_lsn = l->newest.v;
	m.newest_time_ns = l->newest_time.v;
	m.newer_at = l->newer_at;
	m.heard_lsn = l->heard.v;
	m.heard_time_ns = l->heard_time.v;
	for (uint32_t i = 0; i < l->fence_count; i++)
		fence[m.n_fence++] = l->fence[i];
	m.fence = fence;
	session_refuse_loss(
		s, rc, "what is lost is kept as a branch at the site that has it, when it returns",
		s->change.text, &m);
}

void command_changed(struct session *s)
{
	int rc = s->change.done.rc;
	const char *text = s->change.text;

	s->state = SESSION_IDLE;
	if (rc == 0 &&
	    (s->change.kind == REQUEST_SNAPSHOT_CREATE || s->change.kind == REQUEST_ROLLBACK))
		answer_made(s);
	else if (rc == 0 && s->change.kind == REQUEST_SCRUB)
		answer_scrubbed(s);
	else if (rc == 0)
		answer_done(s);
	else if (rc == -ERR_REFUSED && s->change.kind == REQUEST_FAILOVER && s->change.loss.stated)
		refuse_loss(s, rc);
	else
		session_refuse(s, rc, change_hint(rc), "%s", text[0] != '\0' ? text : err_text(rc));
}

/* Send the reply that was built in the arena, or say that it could not be. */
static void answer_built(struct session *s, Adm__Response *response, const void *built)
{
	if (built == NULL) {
		s->state = SESSION_IDLE;
		session_refuse(s, -ERR_NOMEM, "", "no memory for the answer");
		return;
	}
	response->id = s->id;
	session_answer(s, response);
}

bool command_status_next(struct session *s)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	struct arena arena;
	struct event e;
	char last[NAME_BYTES_MAX + 1];

	while (s->last[0] == '\0' && conductor_event_after(s->server->o.conductor, s->since, &e))
		s->since = e.seq;
	arena_init(&arena, FRAME_ARENA_BYTES);
	memcpy(last, s->last, sizeof(last));
	response.body_case = ADM__RESPONSE__BODY_STATUS;
	response.status = status_part(&arena, s->server, s->only, last, s->last);
	if (response.status != NULL && response.status->last) {
		s->last[0] = '\0';
		s->between = true;
		response.more = s->repeat;
		if (!s->repeat)
			s->state = SESSION_IDLE;
	} else {
		response.more = true;
	}
	answer_built(s, &response, response.status);
	arena_fini(&arena);
	return true;
}

static Adm__Event *event_message(struct arena *a, const struct event *e)
{
	Adm__Event *m = arena_take(a, sizeof(*m));

	if (m == NULL)
		return NULL;
	adm__event__init(m);
	m->seq = e->seq;
	m->time_ns = e->time.v;
	m->kind = arena_text(a, event_kind_word(e->kind));
	m->group = arena_text(a, e->group);
	m->site = arena_text(a, e->site);
	m->from = arena_text(a, e->from);
	m->to = arena_text(a, e->to);
	m->reason = arena_text(a, e->reason);
	m->bytes = e->bytes;
	m->seconds = e->seconds;
	return m->kind != NULL && m->group != NULL && m->site != NULL && m->from != NULL &&
			       m->to != NULL && m->reason != NULL
		       ? m
		       : NULL;
}

/* How many events were put into m, or -ERR_NOMEM. */
static int events_collect(struct session *s, struct arena *a, Adm__EventsReply *m)
{
	struct event e;

	m->events = arena_take(a, EVENTS_PER_PART * sizeof(Adm__Event *));
	if (m->events == NULL)
		return -ERR_NOMEM;
	while (m->n_events < EVENTS_PER_PART &&
	       conductor_event_after(s->server->o.conductor, s->since, &e)) {
		m->events[m->n_events] = event_message(a, &e);
		if (m->events[m->n_events] == NULL)
			return -ERR_NOMEM;
		m->n_events++;
		s->since = e.seq;
	}
	return (int)m->n_events;
}

bool command_events_next(struct session *s)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__EventsReply reply = ADM__EVENTS_REPLY__INIT;
	struct arena arena;
	struct event e;
	int n;

	arena_init(&arena, FRAME_ARENA_BYTES);
	n = events_collect(s, &arena, &reply);
	if (n == 0 && s->repeat) {
		arena_fini(&arena);
		return false;
	}
	response.body_case = ADM__RESPONSE__BODY_EVENTS;
	response.events = &reply;
	response.more = s->repeat || conductor_event_after(s->server->o.conductor, s->since, &e);
	if (!response.more)
		s->state = SESSION_IDLE;
	answer_built(s, &response, n < 0 ? NULL : &reply);
	arena_fini(&arena);
	return true;
}

static void status_start(struct session *s, const Adm__StatusRequest *m)
{
	struct group_status g;

	if (m->group[0] != '\0' && !status_find(s->server, m->group, &g)) {
		session_refuse(s, -ERR_NOT_FOUND, "'twinshore group list' shows all",
			       "no group named %.80s", m->group);
		return;
	}
	fill(s->only, sizeof(s->only), m->group);
	s->last[0] = '\0';
	s->repeat = m->watch;
	s->between = false;
	s->since = 0;
	s->state = SESSION_STATUS;
}

static void explain(struct session *s, const Adm__ExplainRequest *m)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	struct group_status g;
	struct arena arena;

	if (!status_find(s->server, m->group, &g)) {
		session_refuse(s, -ERR_NOT_FOUND, "'twinshore group list' shows all",
			       "no group named %.80s", m->group);
		return;
	}
	arena_init(&arena, FRAME_ARENA_BYTES);
	response.body_case = ADM__RESPONSE__BODY_EXPLAIN;
	response.explain = explain_group(&arena, s->server, &g);
	answer_built(s, &response, response.explain);
	arena_fini(&arena);
}

static void quorum(struct session *s)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__QuorumReply reply = ADM__QUORUM_REPLY__INIT;
	struct arena arena;

	arena_init(&arena, FRAME_ARENA_BYTES);
	response.body_case = ADM__RESPONSE__BODY_QUORUM;
	response.quorum = &reply;
	reply.quorum = status_quorum(&arena, s->server);
	answer_built(s, &response, reply.quorum);
	arena_fini(&arena);
}

static void grow(struct session *s, uint64_t bytes, uint32_t timeout_ms)
{
	struct conductor_request *r = change_new(s, REQUEST_STORE_GROW, timeout_ms);

	r->bytes = bytes;
	change_submit(s);
}

static void change_run(struct session *s, const Adm__Request *m)
{
	if (m->command_case == ADM__REQUEST__COMMAND_STORE_GROW)
		grow(s, m->store_grow->bytes, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_GROUP_CREATE)
		group_create(s, m->group_create, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_GROUP_SET)
		group_set(s, m->group_set, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_GROUP_DELETE)
		group_delete(s, m->group_delete, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_VOLUME_CREATE)
		volume_change(s, REQUEST_VOLUME_CREATE, m->volume_create->group,
			      m->volume_create->name, m->volume_create->bytes,
			      m->volume_create->block_bytes, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_VOLUME_RESIZE)
		volume_change(s, REQUEST_VOLUME_RESIZE, m->volume_resize->group,
			      m->volume_resize->name, m->volume_resize->bytes, 0, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_SWITCHOVER)
		switchover(s, m->switchover, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_PAUSE)
		pause_site(s, m->pause, m->timeout_ms);
	else if (m->command_case == ADM__REQUEST__COMMAND_FAILOVER)
		failover(s, m->failover, m->timeout_ms);
	else
		volume_change(s, REQUEST_VOLUME_DELETE, m->volume_delete->group,
			      m->volume_delete->name, 0, 0, m->timeout_ms);
}

void command_run(struct session *s, const Adm__Request *m)
{
	switch (m->command_case) {
	case ADM__REQUEST__COMMAND_PING:
		answer_done(s);
		return;
	case ADM__REQUEST__COMMAND_STATUS:
		status_start(s, m->status);
		return;
	case ADM__REQUEST__COMMAND_EVENTS:
		s->since = m->events->since;
		s->repeat = m->events->follow;
		s->state = SESSION_EVENTS;
		return;
	case ADM__REQUEST__COMMAND_EXPLAIN:
		explain(s, m->explain);
		return;
	case ADM__REQUEST__COMMAND_QUORUM:
		quorum(s);
		return;
	case ADM__REQUEST__COMMAND_GROUP_CREATE:
	case ADM__REQUEST__COMMAND_GROUP_SET:
	case ADM__REQUEST__COMMAND_GROUP_DELETE:
	case ADM__REQUEST__COMMAND_VOLUME_CREATE:
	case ADM__REQUEST__COMMAND_VOLUME_RESIZE:
	case ADM__REQUEST__COMMAND_VOLUME_DELETE:
	case ADM__REQUEST__COMMAND_STORE_GROW:
	case ADM__REQUEST__COMMAND_SWITCHOVER:
	case ADM__REQUEST__COMMAND_FAILOVER:
	case ADM__REQUEST__COMMAND_PAUSE:
		change_run(s, m);
		return;
	case ADM__REQUEST__COMMAND_SNAPSHOT_CREATE:
		snapshot_create(s, m->snapshot_create, m->timeout_ms);
		return;
	case ADM__REQUEST__COMMAND_SNAPSHOT_DELETE:
		snapshot_delete(s, m->snapshot_delete, m->timeout_ms);
		return;
	case ADM__REQUEST__COMMAND_ROLLBACK:
		rollback(s, m->rollback, m->timeout_ms);
		return;
	case ADM__REQUEST__COMMAND_CLONE:
		clone_group(s, m->clone, m->timeout_ms);
		return;
	case ADM__REQUEST__COMMAND_SNAPSHOT_LIST:
		look_snapshots(s, m->snapshot_list);
		return;
	case ADM__REQUEST__COMMAND_DIFF:
		look_diff(s, m->diff);
		return;
	case ADM__REQUEST__COMMAND_SCRUB:
		scrub(s, m->scrub, m->timeout_ms);
		return;
	case ADM__REQUEST__COMMAND_OTHER:
		session_refuse(s, -ERR_UNSUPPORTED, "", "%.80s is not available in this version",
			       m->other->name);
		return;
	case ADM__REQUEST__COMMAND__NOT_SET:
	case _ADM__REQUEST__COMMAND__CASE_IS_INT_SIZE:
	default:
		session_refuse(s, -ERR_UNSUPPORTED, "the daemon is older than the command",
			       "this is not available in this version");
		return;
	}
}
