/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/journal_fuzz.c: decoders of records, segment headers, trailers and footer entries.  The
 * checksums of the input are mended first, so that the fuzzer gets past them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "proto/record.h"
#include "proto/record_place.h"
#include "proto/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *block, uint32_t magic)
{
	uint64_t crc;

	memcpy(block, &magic, 4);
	crc = crc64(0, block + 16, BLOCK_BYTES - 16);
	memcpy(block + 8, &crc, 8);
}

/* Every payload block has one place, and none beyond it. */
static void try_places(const struct record_view *v, const struct record_runs *runs,
		       const struct record_chunks *chunks)
{
	for (uint32_t i = 0; i < v->payload_blocks;) {
		uint32_t n;
		uint64_t off = record_block_off(runs, chunks, 0, i, v->payload_blocks, &n);

		assert(n > 0 && n <= v->payload_blocks - i);
		assert(off % BLOCK_BYTES == 0);
		i += n;
	}
}

/* A footer entry made of it rebuilds it, with its chunks. */
static void try_footer(const uint8_t *header, const struct record_view *v)
{
	static uint8_t entry[FOOTER_ENTRY_BYTES_MAX + 64], rebuilt[RECORD_HEADER_BYTES];
	struct footer_state s = {.group = v->group, .lsn = v->begin, .chain = v->prev_chain}, g = s;
	struct record_chunks chunks = {0};
	struct footer_entry e;
	struct record_runs runs;
	uint32_t n;
	int rc;

	record_runs(header, v, &runs);
	assert(record_runs_gaps(&runs, v) <= runs.count);
	try_places(v, &runs, &chunks);
	chunks.count = runs.chunks;
	for (uint32_t i = 0; i < runs.chunks; i++)
		chunks.at[i] = (uint64_t)header[i] * CHUNK_BYTES;
	try_places(v, &runs, &chunks);
	n = footer_entry_put(entry, &s, header, v, &chunks);
	assert(n <= footer_entry_bytes(v, chunks.count) && n <= FOOTER_ENTRY_BYTES_MAX);
	rc = footer_entry_get(entry, entry + n, &g, rebuilt, &e);
	assert(rc == 0 && e.bytes == n && e.view.chain == v->chain);
	assert(e.chunks.count == chunks.count);
}

static void try_record(uint8_t *header)
{
	uint32_t magic = RECORD_MAGIC, logical;
	struct record_view v;
	uint64_t chain;

	memcpy(header, &magic, 4);
	memcpy(&logical, header + 76, 4);
	if (logical >= RECORD_FIXED_BYTES && logical <= RECORD_LOGICAL_BYTES_MAX) {
		chain = crc64(crc64(0, header, 8), header + 16, logical - 16);
		memcpy(header + 8, &chain, 8);
	}
	if (record_decode(header, RECORD_HEADER_BYTES, &v) < 0)
		return;
	assert(v.logical_bytes <= RECORD_LOGICAL_BYTES_MAX && v.end.v > v.begin.v);
	for (uint32_t i = 0; i < v.extent_count; i++) {
		struct record_extent e = record_extent_at(header, &v, i);

		assert(e.kind != EXTENT_DATA || e.payload_block + e.count <= v.payload_blocks);
	}
	for (uint32_t i = 0; i < v.payload_blocks; i++)
		(void)record_crc_at(header, &v, i);
	try_footer(header, &v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t block[BLOCK_BYTES], rebuilt[RECORD_HEADER_BYTES];
	struct segment_header h;
	struct segment_trailer t;
	struct record_local local;
	struct footer_state state = {.lsn = {4096}};
	struct footer_entry e;
	struct record_view v;
	size_t n = size < sizeof(block) ? size : sizeof(block), at = 0;

	memset(block, 0, sizeof(block));
	memcpy(block, data, n);
	(void)record_decode(block, (uint32_t)n, &v);
	(void)record_decode_local(block, &local);
	try_record(block);
	memset(block, 0, sizeof(block));
	memcpy(block, data, n);
	mend(block, SEGMENT_HEADER_MAGIC);
	(void)segment_header_decode(block, &h);
	mend(block, SEGMENT_TRAILER_MAGIC);
	(void)segment_trailer_decode(block, &t);
	while (at < size && footer_entry_get(data + at, data + size, &state, rebuilt, &e) == 0) {
		assert(e.bytes > 0 && e.bytes <= size - at);
		at += e.bytes;
	}
	return 0;
}
