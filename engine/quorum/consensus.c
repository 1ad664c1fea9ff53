/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/consensus.c
 * Purpose.     Drive raft_step() of cowsql/raft 0.22: events in, effects out (QUORUM 1, 2).  Keeps
 *              the log in memory, fills AppendEntries and InstallSnapshot, hides its defects.
 * Invariants.  K1  The log in memory is what the library's trail says: same first, same last.
 *              K2  The commit index we act on never goes back; a delayed AppendEntries that would
 *                  lower the library's is handed over with its commit capped at ours.
 *              K3  An AppendEntries never reaches the library with entries at or below our own
 *                  snapshot (it would append compacted entries again, at the wrong index).
 *              K4  A pre-vote that we reject carries our own term if that is higher (else a member
 *                  of a low term with the best log never learns of it: no leader for ever).
 *              K5  Appends are reported durable only up to what is still in the logical log, and
 *                  not at all once an install has begun.
 *              K6  A snapshot being taken when an install arrives is dropped, never reported.
 *              K7  Nothing above `installing` is applied before it is durable.
 *              K8  An answer to a vote reaches the library only while it is a candidate: 0.22.1 looks
 *                  at in_pre_vote first, which any other state keeps something else in, and would
 *                  take the answer's term or not by what happens to lie there.
 *              K9  No byte that the library leaves unset goes out: features and capacity of answers,
 *                  the last index of a stale AppendEntries' rejection.
 * Ownership.   0.22.1: a batch handed in by RECEIVE is freed by the library unless the update has
 *              ENTRIES, then by us; one handed in by SUBMIT, and the library's own barrier, by us once
 *              ENTRIES is copied; configurations in START, PERSISTED_SNAPSHOT, SNAPSHOT and
 *              CONFIGURATION are taken by the library; INSTALL_SNAPSHOT's data and conf are freed
 *              by it unless the update has SNAPSHOT.  An InstallSnapshot during an install would be
 *              leaked by it: dropped here.
 * Failure.     Any unexpected error of the library is -ERR_FAILED and final.
 * Limits.      QUORUM_ENTRIES_MAX entries in a message, INFLIGHT_MAX unacknowledged per follower.
 */
#include "engine/quorum/consensus.h"

#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/quorum/memlog.h"
#include "engine/quorum/raft_conf.h"

#if RAFT_VERSION_NUMBER < 2201 || RAFT_VERSION_NUMBER >= 2300
#error "cowsql/raft >= 0.22.1 and < 0.23 is required: memory ownership differs in others"
#endif

#define INFLIGHT_MAX 16u  /* entries; 16 * 32 KiB fit one frame */
#define APPENDS_MAX 4096u /* appends on their way to disk */
#define INSTALL_TIMEOUT_MS 5000u
_Static_assert(INFLIGHT_MAX <= QUORUM_ENTRIES_MAX, "a message holds them");
_Static_assert(INFLIGHT_MAX *(QUORUM_ENTRY_BYTES_MAX + QUORUM_ENTRY_HEAD_BYTES) + 128 <=
		       QUORUM_PAYLOAD_BYTES_MAX,
	       "a frame holds them");

struct range {
	uint64_t first, last; /* last < first: nothing to report */
};

struct consensus {
	struct raft raft;
	uint32_t id;
	struct memlog log;
	uint64_t commit, applied;
	struct consensus_snapshot snapshot; /* newest durable; index 0: none */
	struct consensus_snapshot taking;   /* index 0: none under way */
	bool taking_void;		    /* K6 */
	struct consensus_snapshot incoming;
	struct raft_configuration incoming_conf;
	bool installing;
	uint8_t *conf; /* of the last applied CHANGE */
	uint32_t conf_bytes;
	uint64_t conf_index;
	struct range *appends; /* ring */
	uint32_t append_first, append_count;
	struct consensus_effects effects;
	uint32_t message_capacity;
	bool stale; /* the AppendEntries being stepped is of an older term: K9 */
	char address[QUORUM_PEERS_MAX + 1][8];
};

static int step(struct consensus *c, struct raft_event *event);
static void clear(struct consensus *c);
static int absorb_entries(struct consensus *c, const struct raft_update *u);
static int absorb_messages(struct consensus *c, const struct raft_update *u);
static int message_out(struct consensus *c, const struct raft_message *m);
static void fill_install(struct consensus *c, const struct raft_install_snapshot *s,
			 struct quorum_raft *q);
static void fill_append(struct consensus *c, const struct raft_append_entries *a,
			struct quorum_raft *q);
static void log_trim(struct consensus *c, uint64_t snapshot_index);
static uint64_t term_of(const struct consensus *c, uint64_t index);
static void snapshot_free(struct consensus_snapshot *s);
static int snapshot_copy(const struct consensus_snapshot *from, struct consensus_snapshot *to);
static int set_conf(struct consensus *c, const void *conf, uint32_t bytes, uint64_t index);
static int receive_append(struct consensus *c, struct raft_event *e, struct quorum_raft *q);
static bool append_is_sane(const struct consensus *c, const struct quorum_raft *q);
static void trim_append(const struct consensus *c, struct quorum_raft *q);
static int receive_install(struct consensus *c, struct raft_event *e, const struct quorum_raft *q);

int consensus_open(const struct consensus_opts *opts, struct consensus **ret_c)
{
	struct consensus *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ERR_NOMEM;
	c->appends = calloc(APPENDS_MAX, sizeof(c->appends[0]));
	for (uint32_t i = 0; i <= QUORUM_PEERS_MAX; i++)
		snprintf(c->address[i], sizeof(c->address[i]), "m%u", i);
	assert(opts->id >= 1 && opts->id <= QUORUM_PEERS_MAX);
	if (c->appends == NULL ||
	    raft_init(&c->raft, NULL, NULL, opts->id, c->address[opts->id]) != 0) {
		free(c->appends);
		free(c);
		return -ERR_NOMEM;
	}
	c->id = opts->id;
	c->log.first = 1;
	raft_seed(&c->raft, opts->seed);
	raft_set_heartbeat_timeout(&c->raft, opts->heartbeat_ms);
	raft_set_election_timeout(&c->raft, opts->election_ms);
	raft_set_install_snapshot_timeout(&c->raft, INSTALL_TIMEOUT_MS);
	raft_set_pre_vote(&c->raft, true);
	raft_set_max_inflight_entries(&c->raft, INFLIGHT_MAX);
	*ret_c = c;
	return 0;
}

void consensus_close(struct consensus **pc)
{
	struct consensus *c = *pc;

	if (c == NULL)
		return;
	raft_close(&c->raft, NULL);
	for (uint32_t i = 0; i < c->effects.message_count; i++)
		free(c->effects.messages[i].payload);
	free(c->effects.messages);
	memlog_fini(&c->log);
	if (c->installing)
		raft_configuration_close(&c->incoming_conf);
	snapshot_free(&c->snapshot);
	snapshot_free(&c->taking);
	snapshot_free(&c->incoming);
	free(c->conf);
	free(c->appends);
	free(c);
	*pc = NULL;
}

int consensus_begin(struct consensus *c, const struct consensus_start *s)
{
	struct raft_snapshot_metadata meta;
	struct raft_entry *entries = NULL;
	struct raft_event e = {.type = RAFT_START, .time = s->now_ms};
	int rc = 0;

	c->log.first = s->first_index;
	for (uint32_t i = 0; i < s->entry_count && rc == 0; i++)
		rc = memlog_append(&c->log, &s->entries[i]);
	if (rc == 0 && s->snapshot != NULL) {
		rc = snapshot_copy(s->snapshot, &c->snapshot);
		if (rc == 0)
			rc = set_conf(c, s->snapshot->conf, s->snapshot->conf_bytes,
				      s->snapshot->conf_index);
		if (rc == 0)
			rc = raft_conf_decode(c->conf, c->conf_bytes, &meta.configuration);
		meta.index = s->snapshot->index;
		meta.term = s->snapshot->term;
		meta.configuration_index = s->snapshot->conf_index;
		c->applied = c->commit = s->snapshot->index;
	}
	if (rc < 0)
		return rc;
	entries = calloc(s->entry_count + 1u, sizeof(*entries));
	if (entries == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < s->entry_count; i++) {
		entries[i].term = c->log.entries[i].term;
		entries[i].type = (enum raft_entry_type)c->log.entries[i].type;
		entries[i].buf.base = (void *)(uintptr_t)c->log.entries[i].data;
		entries[i].buf.len = c->log.entries[i].bytes;
	}
	e.start.term = s->term;
	e.start.voted_for = s->vote;
	e.start.metadata = s->snapshot != NULL ? &meta : NULL;
	e.start.start_index = s->first_index;
	e.start.entries = entries;
	e.start.n_entries = s->entry_count;
	rc = step(c, &e);
	free(entries);
	return rc;
}

int consensus_receive(struct consensus *c, uint64_t now_ms, uint32_t from, const void *payload,
		      uint32_t bytes)
{
	struct raft_message m = {.server_id = from};
	struct raft_event e = {.type = RAFT_RECEIVE, .time = now_ms, .receive = {&m}};
	struct quorum_raft q;
	int rc = quorum_raft_decode(payload, bytes, &q);

	if (rc < 0 || from == 0 || from > QUORUM_PEERS_MAX)
		return -ERR_CORRUPT;
	m.server_address = c->address[from];
	switch ((enum quorum_raft_type)q.type) {
	case QUORUM_APPEND:
		return receive_append(c, &e, &q);
	case QUORUM_INSTALL:
		return receive_install(c, &e, &q);
	case QUORUM_APPEND_RESULT:
		m.type = RAFT_APPEND_ENTRIES_RESULT;
		m.append_entries_result =
			(struct raft_append_entries_result){.version = q.version,
							    .term = q.term,
							    .rejected = q.rejected,
							    .last_log_index = q.index,
							    .features = q.features,
							    .capacity = q.capacity};
		break;
	case QUORUM_VOTE:
		if (q.candidate != from)
			return -ERR_CORRUPT;
		m.type = RAFT_REQUEST_VOTE;
		m.request_vote = (struct raft_request_vote){.version = q.version,
							    .term = q.term,
							    .candidate_id = q.candidate,
							    .last_log_index = q.index,
							    .last_log_term = q.index_term,
							    .disrupt_leader = q.disrupt,
							    .pre_vote = q.pre_vote};
		break;
	case QUORUM_VOTE_RESULT:
		if (raft_state(&c->raft) != RAFT_CANDIDATE) {
			clear(c); /* K8 */
			return 0;
		}
		m.type = RAFT_REQUEST_VOTE_RESULT;
		m.request_vote_result = (struct raft_request_vote_result){.version = q.version,
									  .term = q.term,
									  .vote_granted = q.granted,
									  .pre_vote = q.pre_vote,
									  .features = q.features,
									  .capacity = q.capacity};
		break;
	case QUORUM_TIMEOUT_NOW:
		m.type = RAFT_TIMEOUT_NOW;
		m.timeout_now = (struct raft_timeout_now){.version = q.version,
							  .term = q.term,
							  .last_log_index = q.index,
							  .last_log_term = q.index_term};
		break;
	}
	return step(c, &e);
}

int consensus_timeout(struct consensus *c, uint64_t now_ms)
{
	struct raft_event e = {.type = RAFT_TIMEOUT, .time = now_ms};

	return step(c, &e);
}

int consensus_submit(struct consensus *c, uint64_t now_ms, const void *data, uint32_t bytes)
{
	struct raft_entry entry = {.type = RAFT_COMMAND, .term = raft_current_term(&c->raft)};
	struct raft_event e = {.type = RAFT_SUBMIT, .time = now_ms, .submit = {&entry, 1}};

	assert(bytes > 0 && bytes <= QUORUM_ENTRY_BYTES_MAX);
	if (raft_state(&c->raft) != RAFT_LEADER || raft_transferee(&c->raft) != 0)
		return -ERR_NOT_PRIMARY;
	entry.buf.base = raft_malloc(bytes);
	if (entry.buf.base == NULL)
		return -ERR_NOMEM;
	memcpy(entry.buf.base, data, bytes);
	entry.buf.len = bytes;
	entry.batch = entry.buf.base;
	return step(c, &e);
}

int consensus_persisted(struct consensus *c, uint64_t now_ms)
{
	struct raft_event e = {.type = RAFT_PERSISTED_ENTRIES, .time = now_ms};
	struct range r;

	assert(c->append_count > 0);
	r = c->appends[c->append_first];
	c->append_first = (c->append_first + 1) % APPENDS_MAX;
	c->append_count--;
	clear(c);
	if (r.last < r.first || c->installing)
		return 0; /* K5 */
	e.persisted_entries.index = r.last;
	return step(c, &e);
}

int consensus_installed(struct consensus *c, uint64_t now_ms)
{
	struct raft_event e = {.type = RAFT_PERSISTED_SNAPSHOT, .time = now_ms};
	int rc;

	assert(c->installing);
	c->installing = false;
	snapshot_free(&c->snapshot);
	c->snapshot = c->incoming;
	memset(&c->incoming, 0, sizeof(c->incoming));
	c->applied = c->snapshot.index; /* K7 */
	if (c->commit < c->applied)
		c->commit = c->applied;
	rc = set_conf(c, c->snapshot.conf, c->snapshot.conf_bytes, c->snapshot.conf_index);
	if (rc < 0)
		return rc;
	e.persisted_snapshot.metadata.index = c->snapshot.index;
	e.persisted_snapshot.metadata.term = c->snapshot.term;
	e.persisted_snapshot.metadata.configuration_index = c->snapshot.conf_index;
	e.persisted_snapshot.metadata.configuration = c->incoming_conf;
	e.persisted_snapshot.last = true;
	memset(&c->incoming_conf, 0, sizeof(c->incoming_conf));
	return step(c, &e);
}

int consensus_transfer(struct consensus *c, uint64_t now_ms, uint32_t to)
{
	struct raft_event e = {.type = RAFT_TRANSFER, .time = now_ms, .transfer = {to}};

	if (raft_state(&c->raft) != RAFT_LEADER || raft_transferee(&c->raft) != 0 || to == c->id)
		return -ERR_NOT_PRIMARY;
	return step(c, &e);
}

const struct consensus_snapshot *consensus_take(struct consensus *c, uint8_t **data_take,
						uint32_t data_bytes)
{
	struct consensus_snapshot *t = &c->taking;

	if (t->index != 0 || c->installing || c->conf_bytes == 0 || c->applied <= c->snapshot.index)
		return NULL;
	t->conf = malloc(c->conf_bytes);
	if (t->conf == NULL)
		return NULL;
	memcpy(t->conf, c->conf, c->conf_bytes);
	t->conf_bytes = c->conf_bytes;
	t->conf_index = c->conf_index;
	t->index = c->applied;
	t->term = term_of(c, c->applied);
	assert(t->term != 0);
	t->data = *data_take;
	t->data_bytes = data_bytes;
	*data_take = NULL;
	c->taking_void = false;
	return t;
}

int consensus_taken(struct consensus *c, uint64_t now_ms)
{
	struct raft_event e = {.type = RAFT_SNAPSHOT, .time = now_ms};
	int rc;

	assert(c->taking.index != 0);
	clear(c);
	if (c->taking_void) {
		snapshot_free(&c->taking); /* K6 */
		return 0;
	}
	snapshot_free(&c->snapshot);
	c->snapshot = c->taking;
	memset(&c->taking, 0, sizeof(c->taking));
	rc = raft_conf_decode(c->snapshot.conf, c->snapshot.conf_bytes,
			      &e.snapshot.metadata.configuration);
	if (rc < 0)
		return rc;
	e.snapshot.metadata.index = c->snapshot.index;
	e.snapshot.metadata.term = c->snapshot.term;
	e.snapshot.metadata.configuration_index = c->snapshot.conf_index;
	e.snapshot.trailing = CONSENSUS_TRAILING;
	rc = step(c, &e);
	log_trim(c, c->snapshot.index);
	return rc;
}

const struct consensus_effects *consensus_effects(const struct consensus *c)
{
	return &c->effects;
}

const struct quorum_entry *consensus_next(const struct consensus *c, uint64_t *ret_index)
{
	if (c->installing || c->applied >= c->commit)
		return NULL; /* K7 */
	*ret_index = c->applied + 1;
	return consensus_entry(c, c->applied + 1);
}

int consensus_advance(struct consensus *c, uint64_t now_ms)
{
	const struct quorum_entry *entry = consensus_entry(c, c->applied + 1);
	struct raft_event e = {.type = RAFT_CONFIGURATION, .time = now_ms};
	int rc;

	assert(entry != NULL && c->applied < c->commit);
	c->applied++;
	clear(c);
	if (entry->type != QUORUM_CHANGE)
		return 0;
	rc = set_conf(c, entry->data, entry->bytes, c->applied);
	if (rc == 0)
		rc = raft_conf_decode(c->conf, c->conf_bytes, &e.configuration.conf);
	if (rc < 0)
		return rc;
	e.configuration.index = c->applied;
	return step(c, &e);
}

const struct quorum_entry *consensus_entry(const struct consensus *c, uint64_t index)
{
	return memlog_at(&c->log, index);
}

const struct consensus_snapshot *consensus_installing(const struct consensus *c)
{
	return c->installing ? &c->incoming : NULL;
}

const struct consensus_snapshot *consensus_snapshot(const struct consensus *c)
{
	return c->snapshot.index != 0 ? &c->snapshot : NULL;
}

uint64_t consensus_deadline_ms(const struct consensus *c)
{
	return raft_timeout(&c->raft);
}

enum consensus_role consensus_role(const struct consensus *c)
{
	if (c->raft.state == RAFT_LEADER)
		return CONSENSUS_LEADER;
	return c->raft.state == RAFT_CANDIDATE ? CONSENSUS_CANDIDATE : CONSENSUS_FOLLOWER;
}

uint32_t consensus_leader(const struct consensus *c)
{
	if (c->raft.state == RAFT_LEADER)
		return c->id;
	return c->raft.state == RAFT_FOLLOWER ? (uint32_t)c->raft.follower_state.current_leader.id
					      : 0;
}

uint64_t consensus_term(const struct consensus *c)
{
	return raft_current_term(&c->raft);
}

uint64_t consensus_commit(const struct consensus *c)
{
	return c->commit;
}

uint64_t consensus_applied(const struct consensus *c)
{
	return c->applied;
}

uint64_t consensus_first_index(const struct consensus *c)
{
	return c->log.first;
}

uint64_t consensus_last_index(const struct consensus *c)
{
	return c->log.first + c->log.count - 1;
}

/* ---- one step of the library ---- */

static int step(struct consensus *c, struct raft_event *event)
{
	struct consensus_effects *fx = &c->effects;
	struct raft_update u;
	raft_index commit;
	int rc;

	clear(c);
	event->capacity = UINT16_MAX;
	rc = raft_step(&c->raft, event, &u);
	if (rc != 0)
		return -ERR_FAILED;
	if ((u.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) != 0) {
		fx->meta = true;
		fx->term = raft_current_term(&c->raft);
		fx->vote = raft_voted_for(&c->raft);
	}
	if ((u.flags & RAFT_UPDATE_SNAPSHOT) != 0) {
		assert(!c->installing);
		c->installing = fx->install = true;
		c->incoming_conf = u.snapshot.metadata.configuration;
		raft_free(u.snapshot.chunk.base); /* ours was kept in c->incoming */
		memlog_truncate(&c->log, 0);
		c->log.first = c->incoming.index + 1;	       /* K1 */
		for (uint32_t i = 0; i < c->append_count; i++) /* K5 */
			c->appends[(c->append_first + i) % APPENDS_MAX].last = 0;
		c->taking_void = true; /* K6 */
	}
	if ((u.flags & RAFT_UPDATE_ENTRIES) != 0)
		rc = absorb_entries(c, &u);
	commit = raft_commit_index(&c->raft);
	if (commit > c->commit)
		c->commit = commit; /* K2 */
	if (rc == 0 && (u.flags & RAFT_UPDATE_MESSAGES) != 0)
		rc = absorb_messages(c, &u);
	return rc;
}

/* No effects, until a step has some. */
static void clear(struct consensus *c)
{
	struct consensus_effects *fx = &c->effects;

	for (uint32_t i = 0; i < fx->message_count; i++)
		free(fx->messages[i].payload);
	fx->message_count = 0;
	fx->meta = fx->append = fx->install = false;
}

static int absorb_entries(struct consensus *c, const struct raft_update *u)
{
	struct consensus_effects *fx = &c->effects;
	uint64_t index = u->entries.index;
	int rc = 0;

	assert(u->entries.n > 0 && u->entries.n <= QUORUM_ENTRIES_MAX);
	assert(index >= c->log.first && index <= c->log.first + c->log.count); /* K1 */
	if (index <= c->commit) { /* others have lost what was committed: take no further part */
		raft_free(u->entries.batch[0].batch);
		return -ERR_FAILED;
	}
	memlog_truncate(&c->log, index);
	for (uint32_t i = 0; i < c->append_count; i++) { /* K5 */
		struct range *r = &c->appends[(c->append_first + i) % APPENDS_MAX];

		if (r->last >= index)
			r->last = index - 1;
	}
	for (unsigned i = 0; i < u->entries.n && rc == 0; i++) {
		const struct raft_entry *e = &u->entries.batch[i];

		rc = memlog_append(&c->log, &(struct quorum_entry){.term = e->term,
								   .type = (uint8_t)e->type,
								   .bytes = (uint32_t)e->buf.len,
								   .data = e->buf.base});
	}
	raft_free(u->entries.batch[0].batch);
	if (rc < 0 || c->append_count == APPENDS_MAX)
		return -ERR_FAILED;
	c->appends[(c->append_first + c->append_count) % APPENDS_MAX] =
		(struct range){index, index + u->entries.n - 1};
	c->append_count++;
	fx->append = true;
	fx->append_first = index;
	fx->append_count = u->entries.n;
	return 0;
}

static int absorb_messages(struct consensus *c, const struct raft_update *u)
{
	if (c->message_capacity < u->messages.n) {
		struct consensus_message *grown =
			realloc(c->effects.messages, u->messages.n * sizeof(*grown));

		if (grown == NULL)
			return -ERR_NOMEM;
		c->effects.messages = grown;
		c->message_capacity = u->messages.n;
	}
	for (unsigned i = 0; i < u->messages.n; i++) {
		int rc = message_out(c, &u->messages.batch[i]);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int message_out(struct consensus *c, const struct raft_message *m)
{
	struct consensus_message *out = &c->effects.messages[c->effects.message_count];
	struct quorum_raft q;
	int rc;

	memset(&q, 0, offsetof(struct quorum_raft, entries));
	q.conf_bytes = q.data_bytes = 0;
	switch (m->type) {
	case RAFT_APPEND_ENTRIES:
		fill_append(c, &m->append_entries, &q);
		break;
	case RAFT_APPEND_ENTRIES_RESULT:
		q.type = QUORUM_APPEND_RESULT;
		q.version = m->append_entries_result.version;
		q.term = m->append_entries_result.term;
		q.rejected = m->append_entries_result.rejected;
		q.index = c->stale ? 0 : m->append_entries_result.last_log_index; /* K9 */
		break;
	case RAFT_REQUEST_VOTE:
		q.type = QUORUM_VOTE;
		q.version = m->request_vote.version;
		q.term = m->request_vote.term;
		q.candidate = m->request_vote.candidate_id;
		q.index = m->request_vote.last_log_index;
		q.index_term = m->request_vote.last_log_term;
		q.disrupt = m->request_vote.disrupt_leader;
		q.pre_vote = m->request_vote.pre_vote;
		break;
	case RAFT_REQUEST_VOTE_RESULT:
		q.type = QUORUM_VOTE_RESULT;
		q.version = m->request_vote_result.version;
		q.term = m->request_vote_result.term;
		q.granted = m->request_vote_result.vote_granted;
		q.pre_vote = m->request_vote_result.pre_vote;
		if (q.pre_vote && !q.granted && q.term < raft_current_term(&c->raft))
			q.term = raft_current_term(&c->raft); /* K4 */
		break;
	case RAFT_INSTALL_SNAPSHOT:
		if (c->snapshot.index != m->install_snapshot.last_index)
			return -ERR_FAILED;
		fill_install(c, &m->install_snapshot, &q);
		break;
	case RAFT_TIMEOUT_NOW:
		q.type = QUORUM_TIMEOUT_NOW;
		q.version = m->timeout_now.version;
		q.term = m->timeout_now.term;
		q.index = m->timeout_now.last_log_index;
		q.index_term = m->timeout_now.last_log_term;
		break;
	}
	out->bytes = quorum_raft_bytes(&q);
	out->to = (uint32_t)m->server_id;
	out->payload = malloc(out->bytes);
	if (out->payload == NULL)
		return -ERR_NOMEM;
	c->effects.message_count++;
	rc = quorum_raft_encode(&q, out->payload, out->bytes);
	return rc < 0 ? rc : 0;
}

static void fill_install(struct consensus *c, const struct raft_install_snapshot *s,
			 struct quorum_raft *q)
{
	q->type = QUORUM_INSTALL;
	q->version = s->version;
	q->term = s->term;
	q->index = s->last_index;
	q->index_term = s->last_term;
	q->conf_index = c->snapshot.conf_index;
	q->conf = c->snapshot.conf;
	q->conf_bytes = c->snapshot.conf_bytes;
	q->data = c->snapshot.data;
	q->data_bytes = c->snapshot.data_bytes;
}

static void fill_append(struct consensus *c, const struct raft_append_entries *a,
			struct quorum_raft *q)
{
	q->type = QUORUM_APPEND;
	q->version = a->version;
	q->term = a->term;
	q->index = a->prev_log_index;
	q->index_term = a->prev_log_term;
	q->commit = a->leader_commit;
	q->entry_count = a->n_entries;
	assert(a->n_entries <= QUORUM_ENTRIES_MAX);
	for (unsigned i = 0; i < a->n_entries; i++) {
		const struct quorum_entry *e = consensus_entry(c, a->prev_log_index + 1 + i);

		assert(e != NULL); /* K1 */
		q->entries[i] = *e;
	}
}

/* ---- what comes from others ---- */

static int receive_append(struct consensus *c, struct raft_event *e, struct quorum_raft *q)
{
	struct raft_entry entries[QUORUM_ENTRIES_MAX];
	struct raft_message *m = e->receive.message;
	uint8_t *batch = NULL;
	size_t bytes = 0;
	int rc;

	if (!append_is_sane(c, q))
		return -ERR_CORRUPT;
	trim_append(c, q);
	for (uint32_t i = 0; i < q->entry_count; i++)
		bytes += q->entries[i].bytes;
	if (q->entry_count > 0) {
		batch = raft_malloc(bytes > 0 ? bytes : 1);
		if (batch == NULL)
			return -ERR_NOMEM;
	}
	bytes = 0;
	for (uint32_t i = 0; i < q->entry_count; i++) {
		entries[i].term = q->entries[i].term;
		entries[i].type = (enum raft_entry_type)q->entries[i].type;
		entries[i].buf.base = batch + bytes;
		entries[i].buf.len = q->entries[i].bytes;
		entries[i].batch = batch;
		memcpy(batch + bytes, q->entries[i].data, q->entries[i].bytes);
		bytes += q->entries[i].bytes;
	}
	m->type = RAFT_APPEND_ENTRIES;
	m->append_entries = (struct raft_append_entries){.version = q->version,
							 .term = q->term,
							 .prev_log_index = q->index,
							 .prev_log_term = q->index_term,
							 .leader_commit = q->commit,
							 .entries = entries,
							 .n_entries = q->entry_count};
	c->stale = q->term < raft_current_term(&c->raft);
	rc = step(c, e);
	c->stale = false;
	return rc;
}

/* The library asserts these of a leader it trusts. */
static bool append_is_sane(const struct consensus *c, const struct quorum_raft *q)
{
	uint64_t term = q->index_term;

	if (raft_state((struct raft *)(uintptr_t)&c->raft) == RAFT_LEADER &&
	    q->term == raft_current_term(&c->raft))
		return false; /* two leaders of one term */
	for (uint32_t i = 0; i < q->entry_count; i++) {
		if (q->entries[i].term < term || q->entries[i].term > q->term)
			return false;
		if (q->entries[i].type == QUORUM_CHANGE &&
		    !raft_conf_is_sane(q->entries[i].data, q->entries[i].bytes))
			return false;
		term = q->entries[i].term;
	}
	return term <= q->term;
}

/* K3: all up to our snapshot is committed, so any leader of our term has the same; K2. */
static void trim_append(const struct consensus *c, struct quorum_raft *q)
{
	uint64_t snapshot = c->installing ? c->incoming.index : c->snapshot.index;
	uint64_t snapshot_term = c->installing ? c->incoming.term : c->snapshot.term;

	if (q->index < snapshot) {
		uint64_t drop = snapshot - q->index;

		if (drop > q->entry_count)
			drop = q->entry_count;
		q->entry_count -= (uint32_t)drop;
		memmove(q->entries, q->entries + drop, q->entry_count * sizeof(q->entries[0]));
		q->index = snapshot;
		q->index_term = snapshot_term;
	}
	if (q->index + q->entry_count < c->commit && q->commit > c->commit)
		q->commit = c->commit;
}

static int receive_install(struct consensus *c, struct raft_event *e, const struct quorum_raft *q)
{
	struct consensus_snapshot from = {.index = q->index,
					  .term = q->index_term,
					  .conf_index = q->conf_index,
					  .conf_bytes = q->conf_bytes,
					  .data_bytes = q->data_bytes,
					  .conf = (uint8_t *)(uintptr_t)q->conf,
					  .data = (uint8_t *)(uintptr_t)q->data};
	struct raft_message *m = e->receive.message;
	int rc;

	if (raft_state(&c->raft) == RAFT_LEADER && q->term == raft_current_term(&c->raft))
		return -ERR_CORRUPT;
	clear(c);
	if (c->installing)
		return 0; /* the leader tries again */
	m->type = RAFT_INSTALL_SNAPSHOT;
	m->install_snapshot = (struct raft_install_snapshot){.version = q->version,
							     .term = q->term,
							     .last_index = q->index,
							     .last_term = q->index_term,
							     .conf_index = q->conf_index};
	if (raft_conf_decode(q->conf, q->conf_bytes, &m->install_snapshot.conf) < 0)
		return -ERR_CORRUPT;
	snapshot_free(&c->incoming);
	rc = snapshot_copy(&from, &c->incoming);
	m->install_snapshot.data.base =
		raft_malloc(1); /* bytes are ours; the library only frees it */
	m->install_snapshot.data.len = 1;
	if (rc < 0 || m->install_snapshot.data.base == NULL)
		return -ERR_NOMEM;
	return step(c, e);
}

/* ---- the log in memory, snapshots, configurations ---- */

/* As the library does it: only if the entry at snapshot - trailing is still there. K1. */
static void log_trim(struct consensus *c, uint64_t snapshot_index)
{
	if (snapshot_index > CONSENSUS_TRAILING &&
	    memlog_at(&c->log, snapshot_index - CONSENSUS_TRAILING) != NULL)
		memlog_trim(&c->log, snapshot_index - CONSENSUS_TRAILING);
}

static uint64_t term_of(const struct consensus *c, uint64_t index)
{
	const struct quorum_entry *e = consensus_entry(c, index);

	if (e != NULL)
		return e->term;
	return index == c->snapshot.index ? c->snapshot.term : 0;
}

static void snapshot_free(struct consensus_snapshot *s)
{
	free(s->conf);
	free(s->data);
	memset(s, 0, sizeof(*s));
}

static int snapshot_copy(const struct consensus_snapshot *from, struct consensus_snapshot *to)
{
	*to = *from;
	to->conf = malloc(from->conf_bytes > 0 ? from->conf_bytes : 1);
	to->data = malloc(from->data_bytes > 0 ? from->data_bytes : 1);
	if (to->conf == NULL || to->data == NULL) {
		snapshot_free(to);
		return -ERR_NOMEM;
	}
	memcpy(to->conf, from->conf, from->conf_bytes);
	if (from->data_bytes > 0)
		memcpy(to->data, from->data, from->data_bytes);
	return 0;
}

static int set_conf(struct consensus *c, const void *conf, uint32_t bytes, uint64_t index)
{
	uint8_t *copy = malloc(bytes > 0 ? bytes : 1);

	if (copy == NULL)
		return -ERR_NOMEM;
	memcpy(copy, conf, bytes);
	free(c->conf);
	c->conf = copy;
	c->conf_bytes = bytes;
	c->conf_index = index;
	return 0;
}
