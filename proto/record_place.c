/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/record_place.c
 *
 * Purpose.     From the extents of a record to the whole chunks among its payload, and from a payload
 *              block to its place on the disk.
 * Invariants.  RP1 Runs follow from the logical part alone, so every reader of a record finds the same
 *                  ones; they are disjoint and in payload order.
 *              RP2 A payload block lies in the chunk named for it or at its linear place, never both.
 * Failure.     None: headers were decoded before, placements are checked with record_chunks_fit.
 */
#include "proto/record_place.h"

#include "engine/base/assert.h"

_Static_assert(RECORD_CHUNKS_MAX *CHUNK_BLOCKS == RECORD_PAYLOAD_BLOCKS_MAX,
	       "the payload of a record has no more whole chunks than this");

void record_runs(const uint8_t *header, const struct record_view *view, struct record_runs *ret)
{
	ret->count = ret->chunks = 0;
	for (uint32_t i = 0; i < view->extent_count; i++) {
		struct record_extent e = record_extent_at(header, view, i);
		uint64_t first = (e.block + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
		uint64_t end = (e.block + e.count) / CHUNK_BLOCKS;

		if (e.kind != EXTENT_DATA || first >= end)
			continue;
		assert(ret->count < RECORD_CHUNKS_MAX); /* RP1 */
		ret->runs[ret->count++] = (struct record_run){
			.payload_block =
				e.payload_block + (uint32_t)(first * CHUNK_BLOCKS - e.block),
			.chunk = ret->chunks,
			.chunks = (uint32_t)(end - first)};
		ret->chunks += (uint32_t)(end - first);
	}
	assert(ret->chunks <= RECORD_CHUNKS_MAX);
}

bool record_chunks_fit(const struct record_runs *runs, const struct record_chunks *chunks)
{
	return chunks->count == 0 || chunks->count == runs->chunks;
}

static uint32_t run_end(const struct record_run *r)
{
	return r->payload_block + r->chunks * CHUNK_BLOCKS;
}

uint32_t record_runs_gaps(const struct record_runs *runs, const struct record_view *view)
{
	uint32_t gaps = 0;

	for (uint32_t i = 0; i < runs->count; i++) {
		uint32_t next = i + 1 < runs->count ? runs->runs[i + 1].payload_block
						    : view->payload_blocks;

		gaps += run_end(&runs->runs[i]) < next;
	}
	return gaps;
}

/* Block `block` is in run r: its chunk, and how many blocks of the run lie behind each other. */
static uint64_t off_in_run(const struct record_run *r, const struct record_chunks *chunks,
			   uint32_t block, uint32_t *ret_blocks)
{
	uint32_t nth = block - r->payload_block, chunk = r->chunk + nth / CHUNK_BLOCKS;
	uint32_t last = chunk;

	while (last + 1 < r->chunk + r->chunks &&
	       chunks->at[last + 1] == chunks->at[last] + CHUNK_BYTES)
		last++;
	*ret_blocks = (last - chunk + 1) * CHUNK_BLOCKS - nth % CHUNK_BLOCKS;
	return chunks->at[chunk] + (uint64_t)(nth % CHUNK_BLOCKS) * BLOCK_BYTES;
}

uint64_t record_block_off(const struct record_runs *runs, const struct record_chunks *chunks,
			  uint64_t off, uint32_t block, uint32_t payload_blocks,
			  uint32_t *ret_blocks)
{
	uint32_t end = payload_blocks, n;
	uint64_t at = off + (uint64_t)(1 + block) * BLOCK_BYTES;

	assert(block < payload_blocks && record_chunks_fit(runs, chunks));
	for (uint32_t i = 0; i < runs->count && chunks->count > 0; i++) {
		const struct record_run *r = &runs->runs[i];

		if (block >= run_end(r))
			continue;
		end = r->payload_block;
		if (block >= end) {
			at = off_in_run(r, chunks, block, &n); /* RP2 */
			end = block + n;
		}
		break;
	}
	if (ret_blocks != NULL)
		*ret_blocks = end - block;
	return at;
}
