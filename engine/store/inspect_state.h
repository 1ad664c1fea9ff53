/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/inspect_state.h: one inspection under way, for inspect.c (the tables), inspect_print.c (lines) and
 * inspect_walk.c (what has to be read: records and pages).
 */
#ifndef TS_STORE_INSPECT_STATE_H
#define TS_STORE_INSPECT_STATE_H

#include "engine/store/checkpoint.h"
#include "engine/store/inspect.h"
#include "engine/store/store_state.h"

#define INSPECT_LINE_BYTES 1024

enum inspect_phase { INSPECT_OPENING, INSPECT_RECORD, INSPECT_PAGE, INSPECT_CLOSING };

/* A map page on the way from the root down. */
struct inspect_frame {
	struct disk_inner_entry entry; /* what its parent says */
	uint16_t level;
	uint64_t index;
	uint32_t next; /* entry to look at, of an inner page */
};

struct inspecting {
	struct op op;
	struct store_inspect *q;
	struct store *s;
	struct completion part;
	enum inspect_phase phase;

	char line[INSPECT_LINE_BYTES];
	uint32_t used;	 /* of line */
	bool comma_part; /* a part was printed before */
	bool comma;	 /* an object of the array was printed before */
	bool comma_field;

	struct replica *r; /* whose records are read; of the volume whose pages are */
	struct replica_journal_read jr;
	bool reading;

	struct volume_root root; /* of the volume */
	struct inspect_frame frames[MAP_DEPTH_MAX + 1];
	uint32_t depth; /* frames in use */
	struct disk_req req;
	uint8_t *pages; /* MAP_DEPTH_MAX + 1 of them, by level */
};

void part_begin(struct inspecting *i, const char *name);
void part_end(struct inspecting *i);
void object_begin(struct inspecting *i);
void object_end(struct inspecting *i);
void field_u64(struct inspecting *i, const char *name, uint64_t v);
void field_text(struct inspecting *i, const char *name, const char *v);
void field_hex(struct inspecting *i, const char *name, uint64_t v);
void field_uuid(struct inspecting *i, const char *name, const struct uuid *u);
/* root_address is left out of an empty tree. */
void field_root(struct inspecting *i, const struct volume_root *root);

/* The volume of q, 0 or -ERR_NOT_FOUND, -ERR_NOMEM; then its pages.  And the records.  Steps: 1: wait for op; 0: done. */
MUST_CHECK int inspect_volume_find(struct inspecting *i);
void inspect_records_begin(struct inspecting *i);
int inspect_records_step(struct inspecting *i);
void inspect_pages_begin(struct inspecting *i);
int inspect_pages_step(struct inspecting *i);

#endif
