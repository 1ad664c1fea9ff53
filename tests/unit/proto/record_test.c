/* SPDX-License-Identifier: Apache-2.0 */
/* Journal record and segment layouts: what is encoded is decoded; nothing else is. */
#include <check.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/record.h"
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
	uint32_t used = 0, at = 0, n;
	struct record_view v;
	uint64_t chain;

	put.group = get.group = s.group;
	for (int i = 0; i < 3; i++) {
		record_encode(headers[i], &s, &chain);
		ck_assert_int_eq(record_decode(headers[i], RECORD_HEADER_BYTES, &v), 0);
		ck_assert_uint_ge(footer_entry_bytes(&v),
				  n = footer_entry_put(entries + used, &put, headers[i], &v));
		used += n;
		s.begin = v.end;
		s.prev_chain = v.chain;
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(
			footer_entry_get(entries + at, entries + used, &get, rebuilt, &v, &n), 0);
		ck_assert_mem_eq(rebuilt, headers[i], RECORD_LOGICAL_BYTES_MAX);
		at += n;
	}
	ck_assert_uint_eq(at, used);
	ck_assert_uint_eq(get.chain, put.chain);
	ck_assert_int_eq(footer_entry_get(entries + at, entries + used, &get, rebuilt, &v, &n),
			 -ERR_CORRUPT);
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
				    .entries_bytes = 9},
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
	tcase_add_test(c, segment_blocks_decode_to_what_was_encoded);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
