/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/table.c
 * Purpose.     What people read, in five seconds: one line per group, a second only where something
 *              is wrong.
 */
#include <string.h>

#include "engine/base/size.h"
#include "tools/ctl/json.h"
#include "tools/ctl/show.h"

#define COLUMNS_MAX 10u
#define CELL_BYTES 132u

struct table {
	char cell[COLUMNS_MAX][CELL_BYTES];
	int width[COLUMNS_MAX];
	uint32_t columns;
};

/* Two passes over the same rows: the first measures, the second prints. */
static void row_put(struct table *t, FILE *out)
{
	for (uint32_t i = 0; i < t->columns; i++) {
		int n = (int)strlen(t->cell[i]);

		if (out == NULL)
			t->width[i] = n > t->width[i] ? n : t->width[i];
		else if (i + 1 < t->columns)
			fprintf(out, "%-*s  ", t->width[i], t->cell[i]);
		else
			fprintf(out, "%s\n", t->cell[i]);
	}
}

static void cell(struct table *t, const char *text)
{
	snprintf(t->cell[t->columns++], CELL_BYTES, "%.130s", text);
}

static void cell_number(struct table *t, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	cell(t, text);
}

static void cell_size(struct table *t, uint64_t bytes)
{
	char text[SIZE_TEXT_BYTES];

	size_format_short(bytes, text);
	cell(t, text);
}

static void cells(struct table *t, const char *const *texts)
{
	t->columns = 0;
	for (; *texts != NULL; texts++)
		cell(t, *texts);
}

static void join(char *text, size_t bytes, size_t n, char *const *names)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n && at < bytes; i++)
		at += (size_t)snprintf(text + at, bytes - at, "%s%s", i == 0 ? "" : ",", names[i]);
	if (n == 0)
		snprintf(text, bytes, "-");
}

static void group_cells(struct table *t, const Adm__Group *g)
{
	char sites[CELL_BYTES];
	uint64_t clients = 0, lag = 0;
	bool known = true;

	for (size_t i = 0; i < g->n_volumes; i++)
		clients += g->volumes[i]->clients;
	for (size_t i = 0; i < g->n_peers; i++)
		lag = g->peers[i]->lag_bytes > lag ? g->peers[i]->lag_bytes : lag;
	for (size_t i = 0; i < g->n_peers; i++)
		known = known && (g->peers[i]->durable_known || g->is_stale);
	join(sites, sizeof(sites), g->n_in_sync, g->in_sync);
	t->columns = 0;
	cell(t, g->name);
	cell(t, g->role);
	cell(t, g->state);
	cell(t, g->primary[0] != '\0' ? g->primary : "?");
	cell(t, sites);
	cell_number(t, g->epoch);
	cell_number(t, g->n_volumes);
	cell_number(t, clients);
	if (known || lag != 0)
		cell_size(t, lag);
	else
		cell(t, "?");
}

static void site_line(FILE *out, const Adm__StatusReply *h)
{
	char used[SIZE_TEXT_BYTES], size[SIZE_TEXT_BYTES];

	size_format_short(h->store->used, used);
	size_format_short(h->store->size, size);
	fprintf(out, "site %s  store %s, %s of %s used  quorum %s", h->site, h->store->state, used,
		size, h->quorum->state);
	if (h->quorum->leader[0] != '\0')
		fprintf(out, ", leader %s", h->quorum->leader);
	for (size_t i = 0; i < h->quorum->n_members; i++)
		if (!h->quorum->members[i]->reachable)
			fprintf(out, ", %s unreachable", h->quorum->members[i]->name);
	fputc('\n', out);
}

static void trouble_line(FILE *out, const Adm__Group *g)
{
	if (g->reason[0] == '\0')
		return;
	fprintf(out, "  ! %s", g->reason);
	for (size_t i = 0; i < g->n_peers; i++) {
		char left[SIZE_TEXT_BYTES];

		if (g->peers[i]->resync_bytes_left == 0)
			continue;
		size_format_short(g->peers[i]->resync_bytes_left, left);
		fprintf(out, "; %s to copy to %s", left, g->peers[i]->site);
	}
	if (g->is_stale && g->age_seconds > 2)
		fprintf(out, "; the primary was last heard %.0f s ago", g->age_seconds);
	fputc('\n', out);
}

void show_status(FILE *out, const struct snapshot *s)
{
	static const char *const head[] = {"GROUP", "ROLE",    "STATE",	  "PRIMARY", "IN SYNC",
					   "EPOCH", "VOLUMES", "CLIENTS", "LAG",     NULL};
	struct table t = {0};

	site_line(out, s->head);
	if (s->group_count == 0) {
		fprintf(out, "no groups; make one with 'twinshore group create NAME'\n");
		return;
	}
	cells(&t, head);
	row_put(&t, NULL);
	for (size_t i = 0; i < s->group_count; i++) {
		group_cells(&t, s->groups[i]);
		row_put(&t, NULL);
	}
	cells(&t, head);
	row_put(&t, out);
	for (size_t i = 0; i < s->group_count; i++) {
		group_cells(&t, s->groups[i]);
		row_put(&t, out);
		trouble_line(out, s->groups[i]);
	}
}

static void volume_cells(struct table *t, const char *group, const Adm__Volume *v)
{
	char name[CELL_BYTES], size[SIZE_TEXT_BYTES];

	snprintf(name, sizeof(name), "%s/%s", group, v->name);
	size_format(v->size, size);
	t->columns = 0;
	cell(t, name);
	cell(t, size);
	cell_size(t, v->used);
	cell_number(t, v->block_size);
	cell_number(t, v->clients);
}

void show_volumes(FILE *out, const struct snapshot *s)
{
	static const char *const head[] = {"VOLUME", "SIZE", "USED", "BLOCK", "CLIENTS", NULL};
	struct table t = {0};

	for (int pass = 0; pass < 2; pass++) {
		FILE *to = pass == 0 ? NULL : out;

		cells(&t, head);
		row_put(&t, to);
		for (size_t i = 0; i < s->group_count; i++)
			for (size_t k = 0; k < s->groups[i]->n_volumes; k++) {
				volume_cells(&t, s->groups[i]->name, s->groups[i]->volumes[k]);
				row_put(&t, to);
			}
	}
}

static void snapshot_cells(struct table *t, const Adm__Snapshot *s)
{
	char when[32], flags[64];

	time_text(s->time_ns, when);
	snprintf(flags, sizeof(flags), "%s%s%s%s%s%s", s->kept ? ",kept" : "",
		 s->branch ? ",branch" : "", s->scheduled ? ",scheduled" : "",
		 s->clones != 0 ? ",base" : "", s->readers != 0 ? ",read" : "",
		 s->pinned    ? ""
		 : s->past    ? ",making"
		 : s->missing ? ",missing"
			      : ",folding");
	t->columns = 0;
	cell(t, s->name);
	cell(t, when);
	cell_number(t, s->lsn);
	if (s->pinned)
		cell_size(t, s->used);
	else
		cell(t, "-");
	if (s->owned_known)
		cell_size(t, s->owned);
	else
		cell(t, "-");
	cell(t, flags[0] != '\0' ? flags + 1 : "-");
}

void show_snapshots(FILE *out, Adm__Snapshot *const *list, size_t count)
{
	static const char *const head[] = {"SNAPSHOT", "TIME", "LSN", "USED", "OWN", "FLAGS", NULL};
	struct table t = {0};

	for (int pass = 0; pass < 2; pass++) {
		FILE *to = pass == 0 ? NULL : out;

		cells(&t, head);
		row_put(&t, to);
		for (size_t i = 0; i < count; i++) {
			snapshot_cells(&t, list[i]);
			row_put(&t, to);
		}
	}
}

void show_quorum(FILE *out, const Adm__Quorum *q)
{
	static const char *const head[] = {"MEMBER", "ID", "REACHABLE", "LEADER", NULL};
	struct table t = {0};

	fprintf(out, "quorum %s, term %llu, applied %llu%s%s\n", q->state,
		(unsigned long long)q->term, (unsigned long long)q->applied,
		q->error[0] != '\0' ? ": " : "", q->error);
	if (q->n_members == 0)
		return;
	for (int pass = 0; pass < 2; pass++) {
		FILE *to = pass == 0 ? NULL : out;

		cells(&t, head);
		row_put(&t, to);
		for (size_t i = 0; i < q->n_members; i++) {
			t.columns = 0;
			cell(&t, q->members[i]->name);
			cell_number(&t, q->members[i]->id);
			cell(&t, q->members[i]->reachable ? "yes" : "no");
			cell(&t, strcmp(q->members[i]->name, q->leader) == 0 ? "leader" : "");
			row_put(&t, to);
		}
	}
}

void show_explain(FILE *out, const Adm__ExplainReply *e)
{
	fprintf(out, "%s is %s: %s\n", e->group, e->state, e->because);
	for (size_t i = 0; i < e->n_evidence; i++)
		fprintf(out, "  %s\n", e->evidence[i]);
	for (size_t i = 0; i < e->n_advice; i++)
		fprintf(out, "what to do: %s\n", e->advice[i]);
}

void show_event(FILE *out, const Adm__Event *e)
{
	char when[32];

	time_text(e->time_ns, when);
	fprintf(out, "%llu  %s  %-6s  %s%s%s  %s -> %s: %s\n", (unsigned long long)e->seq, when,
		e->kind, e->group, e->group[0] != '\0' ? " at " : "", e->site, e->from, e->to,
		e->reason);
}
