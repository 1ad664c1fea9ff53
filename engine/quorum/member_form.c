/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/member_form.c
 * Purpose.     From an opened file to a running member: begin with what is there, or, empty, form a
 *              new cluster together with all others (QUORUM section 3, "first start").
 * Invariants.  M3 of member.c, and
 *              O1  Every member computes the same entry 1 and cluster uuid from the same names,
 *                  ids and disks: nobody has to be asked, a crash in between is repeated.
 *              O2  The cluster uuid and term 1 are durable before entry 1 is.
 *              O3  The configured members are those of the log; a difference is an operator's
 *                  error (a name, an order) and fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/random.h"
#include "engine/quorum/authority_mail.h"
#include "engine/quorum/member_state.h"

static int begin(struct member *m, const struct qlog_found *f);
static int adopt_servers(struct member *m, const void *conf, uint32_t bytes);
static int first_entry(struct member *m, uint8_t *data, uint32_t bytes, struct uuid *ret_cluster);
static bool everybody_is_ready(struct member *m, const struct uuid *cluster);
static void write_first(struct member *m, const uint8_t *data, uint32_t bytes,
			const struct uuid *cluster);

#define FIRST_BYTES_MAX 2048u

void member_loaded(struct member *m)
{
	const struct qlog_found *f;
	int rc = m->load_done.rc;

	if (rc < 0) {
		member_fail(m, rc, "opening the quorum's file");
		return;
	}
	f = qlog_found(m->qlog);
	m->meta = f->meta;
	memcpy(m->saved, m->meta.peers, sizeof(m->saved));
	if (!f->has_snapshot && f->entry_count == 0)
		m->state = MEMBER_FORMING;
	else
		rc = begin(m, f);
	qlog_forget(m->qlog);
	if (rc < 0)
		member_fail(m, rc, "starting from the quorum's file");
	else
		member_identify(m);
}

/* The file has state: start raft from it. */
static int begin(struct member *m, const struct qlog_found *f)
{
	struct consensus_opts opts = {.id = m->self,
				      .heartbeat_ms = m->heartbeat_ms,
				      .election_ms = m->election_ms,
				      .seed = (uint32_t)random_u64(m->env->random)};
	struct consensus_start start = {.now_ms = member_now_ms(m),
					.term = f->meta.term,
					.vote = f->meta.vote,
					.first_index = f->first_index,
					.entries = f->entries,
					.entry_count = f->entry_count};
	struct consensus_snapshot snapshot;
	int rc;

	if (f->has_snapshot) {
		snapshot = (struct consensus_snapshot){.index = f->snapshot.index,
						       .term = f->snapshot.term,
						       .conf_index = f->snapshot.conf_index,
						       .conf_bytes = f->snapshot.conf_bytes,
						       .data_bytes = f->snapshot.data_bytes,
						       .conf = (uint8_t *)(uintptr_t)f->conf,
						       .data = (uint8_t *)(uintptr_t)f->data};
		start.snapshot = &snapshot;
		rc = adopt_servers(m, f->conf, f->snapshot.conf_bytes);
		if (rc == 0)
			rc = fsm_load(m->fsm, f->data, f->snapshot.data_bytes);
	} else {
		if (f->entries[0].type != QUORUM_CHANGE)
			return -ERR_CORRUPT;
		rc = adopt_servers(m, f->entries[0].data, f->entries[0].bytes);
	}
	if (rc == 0)
		rc = consensus_open(&opts, &m->consensus);
	if (rc == 0)
		rc = consensus_begin(m->consensus, &start);
	if (rc < 0)
		return rc;
	m->state = MEMBER_RUNNING;
	m->timed_out = false;
	member_carry_out(m, 0);
	return member_tell_all(m);
}

/* O3; from now on the others must have the disks that are named there. */
static int adopt_servers(struct member *m, const void *conf, uint32_t bytes)
{
	struct consensus_server servers[QUORUM_PEERS_MAX];
	int n = consensus_servers(conf, bytes, servers);

	if (n < 0)
		return n;
	if ((uint32_t)n != m->count)
		return -ERR_CONFIG;
	for (int i = 0; i < n; i++) {
		uint32_t id = servers[i].id;
		char *space = strchr(servers[i].text, ' ');

		if (id == 0 || id > m->count || space == NULL)
			return -ERR_CONFIG;
		*space = 0;
		if (strcmp(servers[i].text, m->name[id]) != 0)
			return -ERR_CONFIG;
		if (uuid_parse(space + 1, &m->identity.peer[id].disk) < 0)
			return -ERR_CORRUPT;
		m->identity.peer[id].known = true;
		if (id == m->self && !uuid_equal(&m->identity.peer[id].disk, &m->meta.disk))
			return -ERR_CORRUPT; /* another member's file */
	}
	return 0;
}

/* FORMING: is everybody there? Then write, then begin. */
void member_form(struct member *m)
{
	uint8_t data[FIRST_BYTES_MAX];
	struct uuid cluster;
	int bytes;

	while (!list_empty(&m->done_jobs) && m->state == MEMBER_FORMING) {
		struct disk_job *job =
			container_of(list_pop_front(&m->done_jobs), struct disk_job, link);

		member_form_job(m, job);
		member_job_end(m, job);
	}
	if (m->state != MEMBER_FORMING || m->forming_jobs > 0)
		return; /* wait: disk */
	for (uint32_t i = 1; i <= m->count; i++)
		if (i != m->self && !qlinks_peer(m->links, i)->open)
			return; /* wait: members (M3) */
	bytes = first_entry(m, data, sizeof(data), &cluster);
	if (bytes < 0) {
		member_fail(m, bytes, "forming the cluster");
		return;
	}
	if (!everybody_is_ready(m, &cluster))
		return; /* wait: an operator */
	write_first(m, data, (uint32_t)bytes, &cluster);
}

/* O1 */
static int first_entry(struct member *m, uint8_t *data, uint32_t bytes, struct uuid *ret_cluster)
{
	struct consensus_server servers[QUORUM_PEERS_MAX];
	uint64_t hash[2];
	int n;

	for (uint32_t i = 1; i <= m->count; i++) {
		const struct uuid *disk =
			i == m->self ? &m->meta.disk : &qlinks_peer(m->links, i)->hello.disk;
		char text[UUID_TEXT_BYTES];

		uuid_format(disk, text);
		servers[i - 1].id = i;
		snprintf(servers[i - 1].text, sizeof(servers[i - 1].text), "%s %s", m->name[i],
			 text);
	}
	n = consensus_first_entry(servers, m->count, data, bytes);
	if (n < 0)
		return n;
	hash[0] = crc64(0, data, (size_t)n);
	hash[1] = crc64(0x9e3779b97f4a7c15ull, data, (size_t)n);
	uuid_from_random(ret_cluster, (const uint8_t *)hash);
	return n;
}

static bool everybody_is_ready(struct member *m, const struct uuid *cluster)
{
	if (!uuid_is_nil(&m->meta.cluster) && !uuid_equal(&m->meta.cluster, cluster)) {
		snprintf(m->detail, sizeof(m->detail),
			 "the members' disks are not those this member was formed with");
		return false;
	}
	for (uint32_t i = 1; i <= m->count; i++) {
		const struct qlink_peer *p = qlinks_peer(m->links, i);

		if (i == m->self || uuid_equal(&p->cluster, cluster) ||
		    (p->hello.empty && uuid_is_nil(&p->cluster)))
			continue;
		snprintf(m->detail, sizeof(m->detail),
			 "this member is empty but %s has state: twinshore quorum replace",
			 m->name[i]);
		return false;
	}
	m->detail[0] = 0;
	return true;
}

static void write_first(struct member *m, const uint8_t *data, uint32_t bytes,
			const struct uuid *cluster)
{
	struct quorum_entry entry = {
		.term = 1, .type = QUORUM_CHANGE, .bytes = bytes, .data = data};
	struct disk_job *meta = member_job(m, JOB_FORM), *append = member_job(m, JOB_FORM);
	int rc = meta == NULL || append == NULL ? -ERR_NOMEM : 0;

	if (rc == 0) { /* O2 */
		m->forming_jobs = 2;
		m->meta.cluster = *cluster;
		m->meta.term = 1;
		qlog_write_meta(m->qlog, &meta->req, &m->meta);
		rc = qlog_append(m->qlog, &append->req, 1, &entry, 1);
	}
	if (rc < 0)
		member_fail(m, rc, "writing the first entry");
}

void member_form_job(struct member *m, struct disk_job *job)
{
	uint8_t data[FIRST_BYTES_MAX];
	struct quorum_entry entry = {.term = 1, .type = QUORUM_CHANGE, .data = data};
	struct qlog_found f = {.first_index = 1, .entry_count = 1, .entries = &entry};
	struct uuid cluster;
	int rc = job->req.done.rc;

	if (rc == 0 && --m->forming_jobs > 0)
		return;
	if (rc == 0) {
		rc = first_entry(m, data, sizeof(data), &cluster);
		if (rc >= 0 && !uuid_equal(&cluster, &m->meta.cluster))
			rc = -ERR_FAILED; /* a disk changed while we wrote: restart reads what is there */
	}
	if (rc >= 0) {
		entry.bytes = (uint32_t)rc;
		f.meta = m->meta;
		rc = begin(m, &f);
	}
	if (rc < 0) {
		member_fail(m, rc, "forming the cluster");
		return;
	}
	member_identify(m);
}
