/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/model.h: one replica's history as its only writer knows it.
 *
 * The history is a list of records; the content at a commit LSN is exactly what the records below it
 * make (4 KiB blocks).  After a crash the replica must hold a prefix of the list.
 */
#ifndef TS_SIM_MODEL_H
#define TS_SIM_MODEL_H

#include "engine/base/attr.h"
#include "proto/record.h"
#include "proto/record_snap.h"

#define MODEL_VOLUMES_MAX 16u

/* What a control record says. */
struct model_body {
	struct record_volume volume;
	struct record_snap snap;
	struct record_restore restore;
	const struct model_snap *base; /* of RECORD_CLONE: in the source's model */
};

struct model_record {
	struct lsn begin, end;
	uint64_t chain;
	enum record_type type;
	struct model_body body; /* by type */
	struct record_extent *extents;
	uint32_t extent_count;
	uint32_t id;  /* content of extent i is of id + i */
	bool durable; /* its completion told so */
};

struct model_volume {
	bool exists;
	uint64_t blocks;
	uint32_t *ids; /* 0: zeroes */
};

/* A snapshot: listed or not, its content stays here. */
struct model_snap {
	struct uuid uuid;
	bool listed;
	uint64_t digest; /* as told when it was read first; 0: never */
	struct lsn lsn;	 /* what is below is in it */
	bool past;	 /* made of the journal */
	bool missing;	 /* the replica could not make it */
	bool sure;	 /* it could, when its record was committed */
	uint64_t full;	 /* how often the journal had been full then */
	struct model_volume volumes[MODEL_VOLUMES_MAX];
};

struct model {
	struct model_record *records;
	uint32_t count, room;
	uint32_t applied; /* records below the commit LSN */
	uint32_t next_id;
	struct model_volume volumes[MODEL_VOLUMES_MAX];
	struct model_snap **snaps; /* in the order of their records */
	uint32_t snap_count;
	const struct model *origin; /* of a copy that goes back: whose snapshots to take */
	char error[400];
};

struct model *model_new(void);
void model_free(struct model **m);

/* Note a record about to be appended; returns its index. id: from model_ids. body: may be NULL. */
uint32_t model_append(struct model *m, const struct record_view *view,
		      const struct record_extent *extents, uint32_t id,
		      const struct model_body *body);
struct model_snap *model_snap_find(const struct model *m, const struct uuid *uuid);
/* One block as a snapshot has it: is it `data`? */
MUST_CHECK bool model_snap_check(struct model *m, const struct model_snap *snap, uint32_t volume,
				 uint64_t block, const void *data);
uint32_t model_ids(struct model *m, uint32_t count);
/* Forget records from `lsn` on (a boundary, not below what is applied). */
void model_cut(struct model *m, struct lsn lsn);
/* Index of the record that begins at lsn; m->count: the end; UINT32_MAX: no boundary. */
uint32_t model_find(const struct model *m, struct lsn lsn);
struct lsn model_end(const struct model *m);
struct lsn model_commit(const struct model *m);
/* LSN up to which everything was told durable. */
struct lsn model_durable(const struct model *m);
uint64_t model_chain_at(const struct model *m, struct lsn lsn);
/* Apply records below lsn. */
void model_commit_to(struct model *m, struct lsn lsn);

void model_fill(uint32_t id, uint32_t volume, uint64_t block, void *data);
/* One block read while the applied count went from `from` to m->applied: false is a violation. */
MUST_CHECK bool model_check(struct model *m, uint32_t volume, uint64_t block, uint32_t id_before,
			    uint32_t from, const void *data);
uint32_t model_id_at(const struct model *m, uint32_t volume, uint64_t block);

#endif
