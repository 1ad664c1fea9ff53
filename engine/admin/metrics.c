/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/metrics.c
 * Purpose.     Prometheus text (exposition format 0.0.4) of everything that has a number.
 * Invariants.  M1  All samples of a metric stand together behind its one HELP and TYPE.
 * Limits.      The text's bound; what does not fit fails as a whole.
 */
#include "engine/admin/metrics.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/counters.h"
#include "engine/base/hist.h"
#include "engine/nbd/nbd_server.h"
#include "engine/quorum/authority.h"
#include "engine/quorum/member.h"
#include "engine/store/store.h"
#include "engine/volume/conductor.h"

enum metric_id {
#define METRIC(id, name, type, labels, help) METRIC_##id,
#include "engine/admin/metrics.tbl"
#undef METRIC
	METRIC_COUNT
};

struct metric {
	const char *name, *type, *labels, *help;
};

static const struct metric metrics[METRIC_COUNT] = {
#define METRIC(id, name, type, labels, help) [METRIC_##id] = {name, type, labels, help},
#include "engine/admin/metrics.tbl"
#undef METRIC
};

static const char *const op_words[IO_OP_COUNT] = {"read", "write", "flush", "trim"};
static const char *const stage_words[IO_STAGE_COUNT] = {"total", "journal", "remote"};

static void metric_head(struct text *t, enum metric_id id)
{
	text_add(t, "# HELP %s %s\n# TYPE %s %s\n", metrics[id].name, metrics[id].help,
		 metrics[id].name, metrics[id].type);
}

static void metric_number(struct text *t, enum metric_id id, uint64_t value)
{
	metric_head(t, id);
	text_add(t, "%s %llu\n", metrics[id].name, (unsigned long long)value);
}

static void io_hist_write(struct text *t, const char *labels, const struct hist *h)
{
	const char *name = metrics[METRIC_IO_SECONDS].name;
	uint64_t cumulative[HIST_EXPORT_COUNT];

	hist_export(h, cumulative);
	for (uint32_t i = 0; i < HIST_EXPORT_COUNT; i++)
		text_add(t, "%s_bucket{%s,le=\"%.9g\"} %llu\n", name, labels,
			 (double)hist_export_bound_ns(i) / 1e9, (unsigned long long)cumulative[i]);
	text_add(t, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels, (unsigned long long)h->count);
	text_add(t, "%s_sum{%s} %.9g\n", name, labels, (double)h->sum_ns / 1e9);
	text_add(t, "%s_count{%s} %llu\n", name, labels, (unsigned long long)h->count);
}

/* What has no sample yet is left out: there may be many volumes. */
static void io_write(struct text *t, const struct conductor *c)
{
	struct volume_times v;
	char labels[256];

	metric_head(t, METRIC_IO_SECONDS);
	for (uint32_t i = 0; conductor_volume_times(c, i, &v); i++) {
		for (uint32_t op = 0; op < IO_OP_COUNT; op++) {
			for (uint32_t s = 0; s < IO_STAGE_COUNT; s++) {
				if (v.hist[op][s] == NULL || v.hist[op][s]->count == 0)
					continue;
				snprintf(labels, sizeof(labels),
					 "group=\"%s\",volume=\"%s\",op=\"%s\",stage=\"%s\"",
					 v.group, v.volume, op_words[op], stage_words[s]);
				io_hist_write(t, labels, v.hist[op][s]);
			}
		}
	}
}

/* The samples of one metric for one group. */
static void group_samples(struct text *t, struct conductor *c, const struct group_status *g,
			  enum metric_id id)
{
	const char *name = metrics[id].name;

	if (id == METRIC_GROUP_ROLE) {
		for (uint32_t r = GROUP_ROLE_NONE; r <= GROUP_ROLE_SECONDARY; r++)
			text_add(t, "%s{group=\"%s\",role=\"%s\"} %d\n", name, g->name,
				 group_role_word((enum group_role)r),
				 g->role == (enum group_role)r);
	} else if (id == METRIC_GROUP_STATE) {
		for (uint32_t s = GROUP_STARTING; s <= GROUP_ASYNC; s++)
			text_add(t, "%s{group=\"%s\",state=\"%s\"} %d\n", name, g->name,
				 group_state_word((enum group_state)s),
				 g->state == (enum group_state)s);
	} else if (id >= METRIC_PEER_LAG_BYTES && id <= METRIC_RESYNC_LEFT) {
		for (uint32_t i = 0; i < g->peer_count; i++) {
			const struct group_peer_status *p = &g->peers[i];
			double value = id == METRIC_PEER_LAG_BYTES ? (double)p->lag_bytes
				       : id == METRIC_PEER_LAG_SECONDS
					       ? p->lag_seconds
					       : (double)p->resync_bytes_left;

			if (id != METRIC_RESYNC_LEFT && !p->durable_known && p->lag_bytes == 0)
				continue; /* not known, which is not 0 */
			text_add(t, "%s{group=\"%s\",site=\"%s\"} %.15g\n", name, g->name,
				 conductor_site_name(c, p->site), value);
		}
	} else {
		uint64_t value = id == METRIC_GROUP_EPOCH ? g->epoch
				 : id == METRIC_GROUP_IN_SYNC
					 ? (uint64_t)__builtin_popcount(g->isr_mask)
				 : id == METRIC_GROUP_HEAD   ? g->head.v
				 : id == METRIC_GROUP_COMMIT ? g->commit.v
				 : id == METRIC_SNAPSHOTS    ? g->snapshot_count
							     : g->fold.v;

		text_add(t, "%s{group=\"%s\"} %llu\n", name, g->name, (unsigned long long)value);
	}
}

static void groups_write(struct text *t, struct conductor *c)
{
	struct group_status g;

	for (uint32_t id = METRIC_GROUP_ROLE; id <= METRIC_RESYNC_LEFT; id++) {
		metric_head(t, (enum metric_id)id); /* M1 */
		for (uint32_t i = 0; conductor_group_status(c, i, &g); i++)
			group_samples(t, c, &g, (enum metric_id)id);
	}
}

static void store_write(struct text *t, const struct conductor *c, const struct store *store)
{
	struct scrub_status scrub;
	struct store_status st;

	store_status(store, &st);
	metric_number(t, METRIC_JOURNAL_USED, st.journal_used_bytes);
	metric_number(t, METRIC_JOURNAL_SIZE, st.journal_bytes);
	metric_number(t, METRIC_STORE_USED, st.used_bytes);
	metric_number(t, METRIC_STORE_FREE, st.free_bytes);
	metric_number(t, METRIC_STORE_FULL, conductor_store_is_full(c));
	metric_number(t, METRIC_STORE_ROOM, store_room(store));
	metric_number(t, METRIC_STORE_SIZE, st.bytes);
	metric_number(t, METRIC_STORE_FAILED, st.failed);
	conductor_scrub_status(c, &scrub);
	metric_number(t, METRIC_SCRUB_LAST, scrub.last_success_s);
	metric_number(t, METRIC_INDEX_ENTRIES, st.index_entries);
}

static void members_write(struct text *t, const struct authority_member *members, uint32_t count,
			  uint32_t self)
{
	metric_head(t, METRIC_QUORUM_MEMBER);
	for (uint32_t i = 0; i < count; i++)
		text_add(t, "%s{member=\"%s\"} %d\n", metrics[METRIC_QUORUM_MEMBER].name,
			 members[i].name, members[i].reachable || members[i].id == self);
}

static void quorum_write(const struct admin_server *s, struct text *t)
{
	if (s->o.authority != NULL) {
		const struct authority_status *a = authority_status(s->o.authority);

		metric_number(t, METRIC_QUORUM_OK,
			      a->has_quorum || a->told || (a->alone && a->ready));
		metric_number(t, METRIC_QUORUM_TERM, a->term);
		metric_number(t, METRIC_QUORUM_APPLIED, a->applied);
		members_write(t, a->member, a->member_count, a->self);
	} else if (s->o.member != NULL) {
		struct member_status m;

		member_status(s->o.member, &m);
		metric_number(t, METRIC_QUORUM_OK, m.state == MEMBER_RUNNING && m.leader != 0);
		metric_number(t, METRIC_QUORUM_TERM, m.term);
		metric_number(t, METRIC_QUORUM_APPLIED, m.applied);
		members_write(t, m.member, m.member_count, m.self);
	}
}

/* Rows of one metric stand together in counters.tbl.  M1 */
static void counters_write(struct text *t, const struct counters *c)
{
	for (uint32_t i = 0; i < CTR_COUNT; i++) {
		enum counter_id id = (enum counter_id)i;
		const char *name = counter_metric(id), *labels = counter_labels(id);

		if (i == 0 || strcmp(name, counter_metric((enum counter_id)(i - 1))) != 0)
			text_add(t, "# HELP %s %s\n# TYPE %s counter\n", name, counter_help(id),
				 name);
		text_add(t, "%s%s%s%s %llu\n", name, labels[0] != '\0' ? "{" : "", labels,
			 labels[0] != '\0' ? "}" : "", (unsigned long long)c->v[i]);
	}
}

void metrics_write(const struct admin_server *s, struct text *t)
{
	metric_head(t, METRIC_BUILD);
	text_add(t, "%s{site=\"%s\",version=\"%s\"} 1\n", metrics[METRIC_BUILD].name, s->o.site,
		 s->o.version);
	if (s->o.conductor != NULL) {
		io_write(t, s->o.conductor);
		groups_write(t, s->o.conductor);
	}
	if (s->o.store != NULL)
		store_write(t, s->o.conductor, s->o.store);
	if (s->o.nbd != NULL) {
		struct nbd_server_status n;

		nbd_server_status(s->o.nbd, &n);
		metric_number(t, METRIC_NBD_CLIENTS, n.connections);
	}
	quorum_write(s, t);
	if (s->o.conductor != NULL)
		counters_write(t, s->env->counters);
}

bool health_write(const struct admin_server *s, struct text *t)
{
	struct member_status m;

	if (s->o.store != NULL && store_is_failed(s->o.store)) {
		text_add(t, "the store has failed: see the log\n");
		return false;
	}
	if (s->o.authority != NULL && authority_status(s->o.authority)->rc < 0) {
		text_add(t, "the quorum member has stopped: see the log\n");
		return false;
	}
	if (s->o.member != NULL) {
		member_status(s->o.member, &m);
		if (m.state == MEMBER_FAILED || m.state == MEMBER_STOPPED) {
			text_add(t, "the quorum member has failed: %s\n", m.detail);
			return false;
		}
	}
	text_add(t, "ok\n");
	return true;
}
