/* SPDX-License-Identifier: Apache-2.0 */
/* Journal record and segment layouts: what is encoded is decoded; nothing else is. */
#include <check.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/record.h"
#include "proto/record_place.h"
#include "proto/segment.h"

static uint8_t header[RECORD_HEADER_BYTES];
static struct record_extent extents[RECORD_EXTENTS_MAX];
static uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX];

static struct record_spec full_spec(void)
{
	struct record_spec s = {.type = RECORD_WRITE,
				.begin = {8192},
				.prev_chain = 77,
				.commit = {4096},
				.epoch = {3, 9, 2},
				.wall = {123456789}};
	uint32_t payload = 0;

	for (uint32_t i = 0; i < RECORD_EXTENTS_MAX; i++) {
		extents[i] = (struct record_extent){
			.volume = i, .kind = i % 3, .block = i * 1000ull, .count = 1 + i % 5};
		if (extents[i].kind == EXTENT_DATA) {
			extents[i].payload_block = payload;
			payload += extents[i].count;
		}
	}
	for (uint32_t i = 0; i < payload; i++)
		crcs[i] = i * 2654435761u;
	s.extents = extents;
	s.extent_count = RECORD_EXTENTS_MAX;
	s.crcs = crcs;
	s.payload_blocks = payload;
	memset(s.group.b, 0xab, 16);
	return s;
}

START_TEST(full_record_decodes_to_what_was_encoded)
{
	struct record_spec s = full_spec();
	struct record_view v;
	uint64_t chain;

	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), 0);
	ck_assert_uint_eq(v.chain, chain);
	ck_assert_uint_eq(v.prev_chain, 77);
	ck_assert_uint_eq(v.end.v, 8192 + 4096ull * (1 + s.payload_blocks));
	ck_assert_uint_eq(v.epoch.incarnation, 9);
	for (uint32_t i = 0; i < v.extent_count; i++) {
		struct record_extent e = record_extent_at(header, &v, i);

		ck_assert_mem_eq(&e, &extents[i], sizeof(e));
	}
	for (uint32_t i = 0; i < v.payload_blocks; i++)
		ck_assert_uint_eq(record_crc_at(header, &v, i), crcs[i]);
	ck_assert_int_eq(record_decode(header, v.logical_bytes, &v), 0);
	ck_assert_int_eq(record_decode(header, v.logical_bytes - 1, &v), -ERR_CORRUPT);
}
END_TEST

START_TEST(every_flipped_bit_of_the_logical_part_is_found)
{
	struct record_spec s = full_spec();
	struct record_view v;
	uint64_t chain;
	uint32_t logical;

	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), 0);
	logical = v.logical_bytes;
	for (uint32_t bit = 0; bit < logical * 8; bit++) {
		header[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_ne(record_decode(header, sizeof(header), &v), 0);
		header[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

/* The checksum is right, the meaning is not. */
START_TEST(records_with_impossible_values_are_refused)
{
	struct record_spec s = full_spec();
	struct record_view v;
	uint64_t chain;

	extents[0].payload_block = 1;
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_CORRUPT);
	s = full_spec();
	extents[1].count = 0;
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_CORRUPT);
	s = full_spec();
	extents[1].block = 1ull << 48;
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_CORRUPT);
	s = full_spec();
	extents[1].kind = 3;
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_UNSUPPORTED);
	s = full_spec();
	extents[1].volume = VOLUMES_MAX;
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_CORRUPT);
	s = (struct record_spec){.type = RECORD_DELTA_BEGIN};
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_UNSUPPORTED);
	s = (struct record_spec){.type = RECORD_WRITE};
	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), -ERR_CORRUPT);
}
END_TEST

START_TEST(local_part_belongs_to_its_record_only)
{
	struct record_spec s = full_spec();
	struct record_local l = {.segment_seq = 5,
				 .segment_salt = 99,
				 .segment_block = 7,
				 .durable = {4096}},
			    got;
	uint8_t other[RECORD_HEADER_BYTES];
	uint64_t chain;

	record_encode(header, &s, &chain);
	ck_assert_int_eq(record_decode_local(header, &got), -ERR_CORRUPT);
	record_encode_local(header, &l);
	ck_assert_int_eq(record_decode_local(header, &got), 0);
	ck_assert_uint_eq(got.segment_seq, 5);
	ck_assert_uint_eq(got.segment_salt, 99);
	ck_assert_uint_eq(got.segment_block, 7);
	ck_assert_uint_eq(got.durable.v, 4096);
	s.wall.v++;
	record_encode(other, &s, &chain);
	memcpy(other + RECORD_LOGICAL_BYTES_MAX, header + RECORD_LOGICAL_BYTES_MAX,
	       RECORD_LOCAL_BYTES);
	ck_assert_int_eq(record_decode_local(other, &got), -ERR_CORRUPT);
}
END_TEST

START_TEST(bodies_decode_to_what_was_encoded)
{
	struct record_volume rv = {.op = RECORD_VOLUME_CREATE,
				   .slot = 3,
				   .bytes = 1 << 20,
				   .block_bytes = 512,
				   .name = "db.1"};
	struct record_epoch re = {.last_forced_epoch = 4, .content_generation = 2}, re2;
	struct record_volume rv2;
	uint8_t body[RECORD_BODY_BYTES_MAX];
	uint32_t n = record_volume_encode(&rv, body);

	ck_assert_int_eq(record_volume_decode(body, n, &rv2), 0);
	ck_assert_mem_eq(&rv, &rv2, offsetof(struct record_volume, name) + sizeof(rv.name));
	ck_assert_int_eq(record_volume_decode(body, n - 1, &rv2), -ERR_CORRUPT);
	memcpy(rv.name, "-x", 3);
	n = record_volume_encode(&rv, body);
	ck_assert_int_eq(record_volume_decode(body, n, &rv2), -ERR_CORRUPT);
	n = record_epoch_encode(&re, body);
	ck_assert_int_eq(record_epoch_decode(body, n, &re2), 0);
	ck_assert_uint_eq(re2.content_generation, 2);
}
END_TEST

START_TEST(footer_entries_rebuild_the_same_headers)
{
	struct footer_state put = {.chain = 77, .lsn = {8192}}, get = put;
	struct record_spec s = full_spec();
	static uint8_t entries[65536], rebuilt[RECORD_HEADER_BYTES];
	static uint8_t headers[3][RECORD_HEADER_BYTES];
	const struct record_chunks none = {0};
	uint32_t used = 0, at = 0, n;
	struct footer_entry e;
	struct record_view v;
	uint64_t chain;

	put.group = get.group = s.group;
	for (int i = 0; i < 3; i++) {
		record_encode(headers[i], &s, &chain);
		ck_assert_int_eq(record_decode(headers[i], RECORD_HEADER_BYTES, &v), 0);
		ck_assert_uint_ge(
			footer_entry_bytes(&v, 0),
			n = footer_entry_put(entries + used, &put, headers[i], &v, &none));
		used += n;
		s.begin = v.end;
		s.prev_chain = v.chain;
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(footer_entry_get(entries + at, entries + used, &get, rebuilt, &e),
				 0);
		ck_assert_mem_eq(rebuilt, headers[i], RECORD_LOGICAL_BYTES_MAX);
		ck_assert_uint_eq(e.chunks.count, 0);
		at += e.bytes;
	}
	ck_assert_uint_eq(at, used);
	ck_assert_uint_eq(get.chain, put.chain);
	ck_assert_int_eq(footer_entry_get(entries + at, entries + used, &get, rebuilt, &e),
			 -ERR_CORRUPT);
}
END_TEST

/* --- placement --- */

static uint32_t big_crcs[RECORD_PAYLOAD_BLOCKS_MAX];

/* A write from block 12: four blocks, then `chunks` whole chunks, then three blocks; and a second extent
 * of one whole chunk. */
static struct record_view unaligned(uint32_t chunks, uint8_t *at)
{
	struct record_extent e[2] = {
		{.block = 12, .count = 7 + chunks * CHUNK_BLOCKS},
		{.block = 16000, .count = CHUNK_BLOCKS, .payload_block = 7 + chunks * CHUNK_BLOCKS},
	};
	struct record_spec s = {.type = RECORD_WRITE,
				.extents = e,
				.extent_count = 2,
				.crcs = big_crcs,
				.payload_blocks = 7 + (chunks + 1) * CHUNK_BLOCKS};
	struct record_view v;
	uint64_t chain;

	record_encode(at, &s, &chain);
	ck_assert_int_eq(record_decode(at, RECORD_HEADER_BYTES, &v), 0);
	return v;
}

START_TEST(whole_chunks_are_found_among_the_payload)
{
	struct record_view v = unaligned(5, header);
	struct record_runs runs;

	record_runs(header, &v, &runs);
	ck_assert_uint_eq(runs.count, 2);
	ck_assert_uint_eq(runs.chunks, 6);
	ck_assert_uint_eq(runs.runs[0].payload_block, 4);
	ck_assert_uint_eq(runs.runs[0].chunks, 5);
	ck_assert_uint_eq(runs.runs[1].payload_block, 87);
	ck_assert_uint_eq(runs.runs[1].chunk, 5);
	ck_assert_uint_eq(record_runs_gaps(&runs, &v), 1); /* the three blocks between */
}
END_TEST

START_TEST(a_payload_block_lies_in_its_chunk_or_at_its_linear_place)
{
	struct record_view v = unaligned(3, header);
	struct record_chunks none = {0}, chunks = {.count = 4,
						   .at = {10 * CHUNK_BYTES, 11 * CHUNK_BYTES,
							  5 * CHUNK_BYTES, 90 * CHUNK_BYTES}};
	struct record_runs runs;
	uint32_t n;

	record_runs(header, &v, &runs);
	ck_assert(record_chunks_fit(&runs, &none) && record_chunks_fit(&runs, &chunks));
	ck_assert_uint_eq(record_block_off(&runs, &none, 8192, 5, v.payload_blocks, &n),
			  8192 + 6 * BLOCK_BYTES);
	ck_assert_uint_eq(n, v.payload_blocks - 5);
	ck_assert_uint_eq(record_block_off(&runs, &chunks, 8192, 0, v.payload_blocks, &n),
			  8192 + BLOCK_BYTES);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(record_block_off(&runs, &chunks, 8192, 5, v.payload_blocks, &n),
			  10 * CHUNK_BYTES + BLOCK_BYTES);
	ck_assert_uint_eq(n, 31); /* two chunks side by side, but for their first block */
	ck_assert_uint_eq(record_block_off(&runs, &chunks, 8192, 36, v.payload_blocks, &n),
			  5 * CHUNK_BYTES);
	ck_assert_uint_eq(n, 16);
	ck_assert_uint_eq(record_block_off(&runs, &chunks, 8192, 53, v.payload_blocks, &n),
			  8192 + 54 * BLOCK_BYTES);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(record_block_off(&runs, &chunks, 8192, 70, v.payload_blocks, &n),
			  90 * CHUNK_BYTES + 15 * BLOCK_BYTES);
	ck_assert_uint_eq(n, 1);
	chunks.count = 3;
	ck_assert(!record_chunks_fit(&runs, &chunks));
}
END_TEST

/* A full record of 96 extents and 256 blocks leaves room for 16 chunks before the local part. */
START_TEST(chunks_are_in_the_local_part_and_covered_by_its_checksum)
{
	struct record_local l = {.segment_seq = 5, .chunks = {.count = RECORD_CHUNKS_MAX}}, got;
	struct record_extent e[RECORD_EXTENTS_MAX] = {{.count = 161}};
	struct record_spec s = {.type = RECORD_WRITE,
				.extents = e,
				.extent_count = RECORD_EXTENTS_MAX,
				.crcs = big_crcs,
				.payload_blocks = RECORD_PAYLOAD_BLOCKS_MAX};
	struct record_view v;
	uint64_t chain;

	for (uint32_t i = 1; i < RECORD_EXTENTS_MAX; i++)
		e[i] = (struct record_extent){.count = 1, .payload_block = 160 + i};
	for (uint32_t i = 0; i < RECORD_CHUNKS_MAX; i++)
		l.chunks.at[i] = (i + 1) * 7ull * CHUNK_BYTES;
	record_encode(header, &s, &chain);
	record_encode_local(header, &l);
	ck_assert_int_eq(record_decode(header, sizeof(header), &v), 0);
	ck_assert_uint_eq(v.chain, chain);
	ck_assert_int_eq(record_decode_local(header, &got), 0);
	ck_assert_mem_eq(&got.chunks, &l.chunks, sizeof(got.chunks));
	for (uint32_t i = RECORD_LOGICAL_BYTES_MAX - RECORD_CHUNKS_MAX * 8; i < RECORD_HEADER_BYTES;
	     i++) {
		header[i] ^= 1;
		ck_assert_int_eq(record_decode_local(header, &got), -ERR_CORRUPT);
		header[i] ^= 1;
	}
	l.chunks.at[3] += BLOCK_BYTES;
	record_encode_local(header, &l);
	ck_assert_int_eq(record_decode_local(header, &got), -ERR_CORRUPT);
}
END_TEST

START_TEST(footer_entries_keep_the_chunks)
{
	static uint8_t entry[FOOTER_ENTRY_BYTES_MAX], rebuilt[RECORD_HEADER_BYTES];
	struct record_view v = unaligned(3, header);
	struct record_chunks chunks = {
		.count = 4, .at = {CHUNK_BYTES, 9 * CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES}};
	struct footer_state put = {0}, get;
	struct footer_entry e;
	uint32_t n = footer_entry_put(entry, &put, header, &v, &chunks);

	ck_assert_uint_le(n, footer_entry_bytes(&v, 4));
	get = (struct footer_state){0};
	ck_assert_int_eq(footer_entry_get(entry, entry + n, &get, rebuilt, &e), 0);
	ck_assert_uint_eq(e.bytes, n);
	ck_assert_uint_eq(e.view.chain, v.chain);
	ck_assert_mem_eq(&e.chunks, &chunks, sizeof(chunks));
	get = (struct footer_state){0};
	ck_assert_int_eq(footer_entry_get(entry, entry + n - 8, &get, rebuilt, &e), -ERR_CORRUPT);
	entry[1] |= 4;
	get = (struct footer_state){0};
	ck_assert_int_eq(footer_entry_get(entry, entry + n, &get, rebuilt, &e), -ERR_UNSUPPORTED);
}
END_TEST

START_TEST(segment_blocks_decode_to_what_was_encoded)
{
	struct segment_header h = {.seq = 2,
				   .link = 3,
				   .salt = 4,
				   .first = {8192},
				   .durable = {4096},
				   .next = 6},
			      h2;
	struct segment_trailer t = {.seq = 2,
				    .salt = 4,
				    .first = {4096},
				    .end = {8192},
				    .entries_bytes = 9,
				    .chunk_count = 11},
			       t2;
	uint8_t block[BLOCK_BYTES];

	segment_header_encode(block, &h);
	ck_assert_int_eq(segment_header_decode(block, &h2), 0);
	ck_assert_uint_eq(h2.next, 6);
	ck_assert_int_eq(segment_trailer_decode(block, &t2), -ERR_CORRUPT);
	block[4000] ^= 1;
	ck_assert_int_eq(segment_header_decode(block, &h2), -ERR_CORRUPT);
	segment_trailer_encode(block, &t);
	ck_assert_int_eq(segment_trailer_decode(block, &t2), 0);
	ck_assert_uint_eq(t2.end.v, 8192);
	ck_assert_uint_eq(t2.chunk_count, 11);
	t.entries_bytes = SEGMENT_FOOTER_BYTES_MAX + 1;
	segment_trailer_encode(block, &t);
	ck_assert_int_eq(segment_trailer_decode(block, &t2), -ERR_CORRUPT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto/record");
	TCase *c = tcase_create("record");
	SRunner *runner;
	int failed;

	tcase_add_test(c, full_record_decodes_to_what_was_encoded);
	tcase_add_test(c, every_flipped_bit_of_the_logical_part_is_found);
	tcase_add_test(c, records_with_impossible_values_are_refused);
	tcase_add_test(c, local_part_belongs_to_its_record_only);
	tcase_add_test(c, bodies_decode_to_what_was_encoded);
	tcase_add_test(c, footer_entries_rebuild_the_same_headers);
	tcase_add_test(c, whole_chunks_are_found_among_the_payload);
	tcase_add_test(c, a_payload_block_lies_in_its_chunk_or_at_its_linear_place);
	tcase_add_test(c, chunks_are_in_the_local_part_and_covered_by_its_checksum);
	tcase_add_test(c, footer_entries_keep_the_chunks);
	tcase_add_test(c, segment_blocks_decode_to_what_was_encoded);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
