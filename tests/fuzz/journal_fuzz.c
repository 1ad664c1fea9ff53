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
#include "proto/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *block, uint32_t magic)
{
	uint64_t crc;

	memcpy(block, &magic, 4);
	crc = crc64(0, block + 16, BLOCK_BYTES - 16);
	memcpy(block + 8, &crc, 8);
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
	/* A footer entry made of it rebuilds it. */
	{
		static uint8_t entry[FOOTER_ENTRY_BYTES_MAX + 64], rebuilt[RECORD_HEADER_BYTES];
		struct footer_state s = {.group = v.group, .lsn = v.begin, .chain = v.prev_chain},
				    g = s;
		struct record_view w;
		uint32_t n = footer_entry_put(entry, &s, header, &v), m;
		int rc = footer_entry_get(entry, entry + n, &g, rebuilt, &w, &m);

		assert(rc == 0 && m == n && w.chain == v.chain);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t block[BLOCK_BYTES], rebuilt[RECORD_HEADER_BYTES];
	struct segment_header h;
	struct segment_trailer t;
	struct record_local local;
	struct footer_state state = {.lsn = {4096}};
	struct record_view v;
	size_t n = size < sizeof(block) ? size : sizeof(block), at = 0;
	uint32_t used;

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
	while (at < size &&
	       footer_entry_get(data + at, data + size, &state, rebuilt, &v, &used) == 0) {
		assert(used > 0 && used <= size - at);
		at += used;
	}
	return 0;
}
