/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/extents.c
 * Purpose.     What a WRITE record puts into an index.
 * Invariants.  EX1 Later extents of a record win (index.h).
 *              EX2 The caller asked for room first.
 */
#include "engine/store/extents.h"

#include "engine/base/assert.h"
#include "proto/record_place.h"

uint32_t extent_clip(const struct record_extent *e, const struct replica_volume *v)
{
	uint64_t blocks;

	if (v == NULL || v->deleted)
		return 0;
	blocks = (v->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	if (e->block >= blocks)
		return 0;
	return blocks - e->block < e->count ? (uint32_t)(blocks - e->block) : e->count;
}

uint64_t extents_need(const struct journal_uncommitted *u, const struct extents_clip *clip)
{
	uint64_t need = 0;

	for (uint32_t i = 0; i < u->view.extent_count; i++) {
		struct record_extent e = record_extent_at(u->header, &u->view, i);

		if (clip->count[i] > 0)
			need += e.kind == EXTENT_DATA ? clip->count[i]
						      : index_range_need(e.block, clip->count[i]);
	}
	return need;
}

/* `count` blocks of DATA extent e, each at its place in journal or chunk. */
static int data_index(struct index *x, const struct journal_uncommitted *u,
		      const struct record_runs *runs, const struct record_extent *e, uint32_t count,
		      struct lsn lsn)
{
	int rc = 0;

	for (uint32_t b = 0; b < count && rc == 0; b++) {
		uint32_t nth = e->payload_block + b;
		uint64_t off = record_block_off(runs, &u->place.chunks, u->place.off, nth,
						u->view.payload_blocks, NULL);

		rc = index_put_data(x, e->volume, e->block + b, off,
				    record_crc_at(u->header, &u->view, nth), lsn);
	}
	return rc;
}

void extents_index(struct index *x, const struct journal_uncommitted *u,
		   const struct extents_clip *clip)
{
	struct record_runs runs;
	int rc = 0;

	record_runs(u->header, &u->view, &runs);
	for (uint32_t i = 0; i < u->view.extent_count && rc == 0; i++) {
		struct record_extent e = record_extent_at(u->header, &u->view, i);
		struct lsn lsn = {u->view.begin.v + i}; /* EX1 */

		if (clip->count[i] == 0)
			continue;
		if (e.kind != EXTENT_DATA)
			rc = index_put_range(x, e.volume, e.block, clip->count[i],
					     e.kind == EXTENT_ZERO ? INDEX_ZERO : INDEX_DISCARD,
					     lsn);
		else
			rc = data_index(x, u, &runs, &e, clip->count[i], lsn);
	}
	assert(rc == 0); /* EX2 */
}
