/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/record_place.h: which parts of a record's payload are whole chunks, and where each payload
 * block lies when the local part names chunks for them (proto/record.md, "Placement").
 *
 * A whole chunk is CHUNK_BLOCKS blocks of one DATA extent whose first block is a multiple of
 * CHUNK_BLOCKS of the volume.  A record either names a chunk for each of them, in payload order, or
 * names none.
 */
#ifndef TS_PROTO_RECORD_PLACE_H
#define TS_PROTO_RECORD_PLACE_H

#include "proto/record.h"

/* Neighbouring whole chunks of one extent: payload blocks [payload_block, + chunks * 16). */
struct record_run {
	uint32_t payload_block;
	uint32_t chunk; /* number of its first one among all of the record */
	uint32_t chunks;
};

struct record_runs {
	uint32_t count;
	uint32_t chunks; /* of all runs together */
	struct record_run runs[RECORD_CHUNKS_MAX];
};

/* The whole chunks of a decoded header, in payload order. */
void record_runs(const uint8_t *header, const struct record_view *view, struct record_runs *ret);
/* Is this a placement that the record can have: none, or all its whole chunks? */
bool record_chunks_fit(const struct record_runs *runs, const struct record_chunks *chunks);
/* Stretches of payload in place that do not follow the header immediately. */
uint32_t record_runs_gaps(const struct record_runs *runs, const struct record_view *view);

/*
 * Byte offset on disk of payload block `block` of the record whose header lies at `off`; *ret_blocks
 * (may be NULL) is how many blocks, at most up to `payload_blocks`, lie behind each other from there.
 */
uint64_t record_block_off(const struct record_runs *runs, const struct record_chunks *chunks,
			  uint64_t off, uint32_t block, uint32_t payload_blocks,
			  uint32_t *ret_blocks);

#endif
