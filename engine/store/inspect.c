/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/inspect.c
 * Purpose.     Show superblock, segments, journals, maps and groups of a store at rest.
 * Invariants.  IN1 The JSON and the text say the same things under the same names.
 * States.      OPEN -> print -> CLOSE -> done.
 * Failure.     What cannot be opened is not shown: `check` says why.
 * Limits.      Runs of segments of one kind are one line.
 */
#include "engine/store/inspect.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/checkpoint.h"
#include "engine/store/digest.h"
#include "engine/store/index.h"
#include "engine/store/store_state.h"

#define LINE_BYTES 1024

struct inspecting {
	struct op op;
	struct store_inspect *q;
	struct store *s;
	struct completion part;
	bool closing;
	char line[LINE_BYTES];
	uint32_t used;	 /* of line */
	bool comma_part; /* a part was printed before */
	bool comma;	 /* an object of the array was printed before */
	bool comma_field;
};

static void superblock_show(struct inspecting *i);
static void segments_show(struct inspecting *i);
static void journal_show(struct inspecting *i);
static void map_show(struct inspecting *i);
static void groups_show(struct inspecting *i);

uint32_t inspect_part(const char *word)
{
	static const char *const words[] = {"superblock", "segments", "journal", "map", "groups"};

	for (uint32_t i = 0; i < ARRAY_COUNT(words); i++)
		if (strcmp(word, words[i]) == 0)
			return 1u << i;
	return 0;
}

static void inspect_step(struct op *op)
{
	struct inspecting *i = container_of(op, struct inspecting, op);
	struct store_inspect *q = i->q;
	int rc = i->part.rc;

	if (op->waits != 0)
		return; /* wait: open, or close */
	if (rc == 0 && !i->closing) {
		if (q->json)
			q->line(q->ctx, "{");
		if ((q->parts & INSPECT_SUPERBLOCK) != 0)
			superblock_show(i);
		if ((q->parts & INSPECT_SEGMENTS) != 0)
			segments_show(i);
		if ((q->parts & INSPECT_JOURNAL) != 0)
			journal_show(i);
		if ((q->parts & INSPECT_MAP) != 0)
			map_show(i);
		if ((q->parts & INSPECT_GROUPS) != 0)
			groups_show(i);
		if (q->json)
			q->line(q->ctx, "}");
		i->closing = true;
		completion_arm(&i->part, op, 1);
		store_close(&i->s, &i->part);
		return; /* wait: it is closed */
	}
	free(i);
	completion_fire(&q->done, rc);
}

void store_inspect(struct env *env, struct disk *disk, struct store_inspect *q)
{
	struct store_opts opts = {.memory_bytes = q->memory_bytes, .read_only = true};
	struct inspecting *i = calloc(1, sizeof(*i));

	if (i == NULL) {
		completion_fire(&q->done, -ERR_NOMEM);
		return;
	}
	i->q = q;
	op_init(&i->op, env->ready, inspect_step);
	completion_arm(&i->part, &i->op, 1);
	store_open(env, disk, &opts, &i->s, &i->part);
}

/* --- printing: a part is an array of objects in JSON, a heading and lines of name=value in text --- */

PRINTF_LIKE(2, 3)
static void add(struct inspecting *i, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(i->line + i->used, LINE_BYTES - i->used, fmt, ap);
	va_end(ap);
	i->used += n < 0 ? 0 : (uint32_t)n;
	i->used = i->used < LINE_BYTES - 1 ? i->used : LINE_BYTES - 1;
}

static void flush_line(struct inspecting *i)
{
	i->line[i->used] = 0;
	i->q->line(i->q->ctx, i->line);
	i->used = 0;
}

static void part_begin(struct inspecting *i, const char *name)
{
	if (i->q->json)
		add(i, "%s\"%s\": [", i->comma_part ? "," : "", name);
	else
		add(i, "%s:", name);
	flush_line(i);
	i->comma_part = true;
	i->comma = false;
}

static void part_end(struct inspecting *i)
{
	if (!i->q->json)
		return;
	add(i, "]");
	flush_line(i);
}

static void object_begin(struct inspecting *i)
{
	add(i, "%s", i->q->json ? i->comma ? ",{" : "{" : " ");
	i->comma = true;
	i->comma_field = false;
}

static void object_end(struct inspecting *i)
{
	if (i->q->json)
		add(i, "}");
	flush_line(i);
}

static void field_name(struct inspecting *i, const char *name)
{
	if (i->q->json)
		add(i, "%s\"%s\": ", i->comma_field ? ", " : "", name);
	else
		add(i, " %s=", name);
	i->comma_field = true;
}

static void field_u64(struct inspecting *i, const char *name, uint64_t v)
{
	field_name(i, name);
	add(i, "%" PRIu64, v);
}

/* Names are of [A-Za-z0-9._-] (types.h), but a damaged store may say anything. */
static void field_text(struct inspecting *i, const char *name, const char *v)
{
	field_name(i, name);
	if (i->q->json)
		add(i, "\"");
	for (; *v != 0; v++)
		add(i, "%c", *v >= ' ' && *v < 127 && *v != '"' && *v != '\\' ? *v : '?');
	if (i->q->json)
		add(i, "\"");
}

static void field_hex(struct inspecting *i, const char *name, uint64_t v)
{
	char text[20];

	snprintf(text, sizeof(text), "%016" PRIx64, v);
	field_text(i, name, text);
}

static void field_uuid(struct inspecting *i, const char *name, const struct uuid *u)
{
	char text[UUID_TEXT_BYTES];

	uuid_format(u, text);
	field_text(i, name, text);
}

static void superblock_show(struct inspecting *i)
{
	const struct disk_super *s = supers_content(i->s->supers);

	part_begin(i, "superblock");
	object_begin(i);
	field_uuid(i, "uuid", &i->s->uuid);
	field_u64(i, "format_version", s->version);
	field_hex(i, "compat", s->compat);
	field_hex(i, "ro_compat", s->ro_compat);
	field_hex(i, "incompat", s->incompat);
	field_u64(i, "incarnation", s->incarnation);
	field_u64(i, "sequence", s->sequence);
	field_u64(i, "good_copies", supers_good_copies(i->s->supers));
	field_u64(i, "bytes", s->bytes);
	field_u64(i, "grown_bytes", s->grown_bytes);
	field_u64(i, "segment_bytes", s->segment_bytes);
	field_u64(i, "journal_percent", s->journal_percent);
	field_u64(i, "root_address", s->root_address);
	field_u64(i, "checkpoint", s->root_seq);
	object_end(i);
	part_end(i);
	part_begin(i, "floors");
	for (uint32_t k = 0; k < supers_floor_count(i->s->supers); k++) {
		struct store_floor floor;
		struct uuid group;

		supers_floor_at(i->s->supers, k, &group, &floor);
		object_begin(i);
		field_uuid(i, "group", &group);
		field_u64(i, "epoch", floor.epoch);
		field_u64(i, "cfg", floor.cfg);
		field_u64(i, "promise_ms", floor.promise_ms);
		object_end(i);
	}
	part_end(i);
}

static void segments_show(struct inspecting *i)
{
	static const char *const kinds[] = {"free", "journal", "home", "meta", "superblock"};
	struct space *sp = i->s->space;
	uint32_t count = space_segment_count(sp);

	part_begin(i, "segments");
	for (uint32_t k = 0, end; k < count; k = end) {
		enum segment_kind kind = space_segment_kind(sp, k);
		uint64_t used = 0, shared = 0;

		for (end = k; end < count && space_segment_kind(sp, end) == kind; end++) {
			used += space_segment_used(sp, end);
			shared += space_segment_shared(sp, end);
		}
		object_begin(i);
		field_u64(i, "first", k);
		field_u64(i, "count", end - k);
		field_text(i, "kind", kinds[kind]);
		if (kind == SEGMENT_HOME)
			field_u64(i, "chunks_used", used);
		if (kind == SEGMENT_META)
			field_u64(i, "pages_used", used);
		if (kind == SEGMENT_HOME || kind == SEGMENT_META)
			field_u64(i, "shared", shared);
		object_end(i);
	}
	part_end(i);
}

static void journal_show(struct inspecting *i)
{
	part_begin(i, "journal");
	for (struct replica *r = store_first_replica(i->s); r != NULL;
	     r = store_next_replica(i->s, r)) {
		struct replica_status st;

		replica_status(r, &st);
		object_begin(i);
		field_text(i, "group", st.name);
		field_u64(i, "trim", st.trim.v);
		field_u64(i, "fold", st.fold.v);
		field_u64(i, "commit", st.commit.v);
		field_u64(i, "durable", st.durable.v);
		field_u64(i, "tail", st.tail.v);
		field_hex(i, "tail_chain", st.tail_chain);
		field_u64(i, "bytes", st.journal_bytes);
		field_u64(i, "index_entries", index_count(replica_index(r)));
		field_u64(i, "has_hole", st.has_hole);
		object_end(i);
	}
	part_end(i);
}

static void map_show(struct inspecting *i)
{
	struct replica_volume *volumes = calloc(VOLUMES_MAX, sizeof(*volumes));

	part_begin(i, "map");
	for (struct replica *r = store_first_replica(i->s); r != NULL && volumes != NULL;
	     r = store_next_replica(i->s, r)) {
		uint32_t n = replica_volumes(r, volumes, VOLUMES_MAX);

		for (uint32_t k = 0; k < n; k++) {
			struct map *m = replica_map(r, volumes[k].slot);
			struct volume_root root = {.root = CHUNK_NONE};

			if (m != NULL)
				map_root_get(m, &root);
			object_begin(i);
			field_text(i, "group", replica_name(r));
			field_text(i, "volume", volumes[k].name);
			field_uuid(i, "uuid", &volumes[k].uuid);
			field_u64(i, "slot", volumes[k].slot);
			field_u64(i, "bytes", volumes[k].bytes);
			field_u64(i, "used_bytes", root.volume.used_bytes);
			field_u64(i, "deleted", volumes[k].deleted);
			field_u64(i, "depth", root.depth);
			if (root.root != CHUNK_NONE)
				field_u64(i, "root_address", root.root);
			field_hex(i, "root_crc", root.root_crc);
			field_hex(i, "root_digest", root.root_digest);
			object_end(i);
		}
	}
	part_end(i);
	free(volumes);
}

static void groups_show(struct inspecting *i)
{
	struct epoch_entry *epochs = calloc(EPOCHS_MAX, sizeof(*epochs));

	part_begin(i, "groups");
	for (struct replica *r = store_first_replica(i->s); r != NULL && epochs != NULL;
	     r = store_next_replica(i->s, r)) {
		uint32_t n = replica_epochs(r, epochs, EPOCHS_MAX);
		struct replica_status st;

		replica_status(r, &st);
		object_begin(i);
		field_text(i, "group", st.name);
		field_uuid(i, "uuid", &st.group);
		field_u64(i, "content_generation", st.content_generation);
		field_u64(i, "last_forced_epoch", st.last_forced_epoch);
		field_u64(i, "epochs", n);
		if (n > 0) {
			field_u64(i, "epoch", epochs[n - 1].epoch.number);
			field_u64(i, "epoch_site", epochs[n - 1].epoch.site);
			field_u64(i, "epoch_incarnation", epochs[n - 1].epoch.incarnation);
			field_u64(i, "epoch_first_lsn", epochs[n - 1].first.v);
		}
		object_end(i);
	}
	part_end(i);
	free(epochs);
}
