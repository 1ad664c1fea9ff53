/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/space_tables.h"

#define MIB (1ull << 20)

static struct space *opened(uint64_t bytes)
{
	struct space *sp = NULL;

	ck_assert_int_eq(space_open(bytes, 2 * MIB, &sp), 0);
	return sp;
}

static void checkpoint(struct space *sp)
{
	space_captured(sp);
	space_durable(sp);
}

START_TEST(superblock_segments_are_never_taken)
{
	struct space *sp = opened(128 * MIB);
	uint32_t s, taken = 0;

	while (space_segment_take(sp, SEGMENT_JOURNAL, true, &s) == 0) {
		ck_assert_uint_ne(s, 0);
		for (uint32_t copy = 0; copy < SUPER_COPIES; copy++)
			ck_assert_uint_ne(s, super_region_off(128 * MIB, copy) / (2 * MIB));
		taken++;
	}
	ck_assert_uint_eq(taken, 64 - 4 - 1);
	space_close(&sp);
}
END_TEST

/* S5: until a checkpoint counts them, recovery would not know them. */
START_TEST(segments_of_a_grown_disk_are_taken_only_after_a_checkpoint)
{
	struct space *sp = opened(128 * MIB);
	uint32_t s, taken = 0;

	ck_assert_int_eq(space_grow(sp, 128 * MIB), -ERR_INVALID);
	ck_assert_int_eq(space_grow(sp, 256 * MIB), 0);
	ck_assert_uint_eq(space_segment_count(sp), 127);
	while (space_segment_take(sp, SEGMENT_JOURNAL, true, &s) == 0) {
		ck_assert_uint_lt(s, 64);
		taken++;
	}
	ck_assert_uint_eq(taken, 64 - 4 - 1);
	checkpoint(sp);
	while (space_segment_take(sp, SEGMENT_JOURNAL, true, &s) == 0)
		taken++;
	ck_assert_uint_eq(taken, 127 - 4 - 1);
	space_close(&sp);
}
END_TEST

/* Region 3 of a disk of 129 MiB lies behind its last whole segment. */
START_TEST(superblock_behind_the_last_segment_stays_untouched_when_the_disk_grows)
{
	struct space *sp = opened(129 * MIB);
	uint32_t s, at = (uint32_t)(super_region_off(129 * MIB, 3) / (2 * MIB));

	ck_assert_uint_eq(at, space_segment_count(sp));
	ck_assert_int_eq(space_grow(sp, 256 * MIB), 0);
	checkpoint(sp);
	ck_assert_int_eq(space_segment_kind(sp, at), SEGMENT_SUPER);
	while (space_segment_take(sp, SEGMENT_JOURNAL, true, &s) == 0)
		ck_assert_uint_ne(s, at);
	space_close(&sp);
}
END_TEST

START_TEST(journal_stops_at_its_share_unless_guaranteed)
{
	struct space *sp = opened(128 * MIB);
	uint32_t s;

	space_set_share(sp, 25);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, false, &s), 0);
	ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, false, &s), -ERR_JOURNAL_FULL);
	ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, true, &s), 0);
	ck_assert_uint_eq(space_journal_used_bytes(sp), 17 * 2 * MIB);
	space_close(&sp);
}
END_TEST

START_TEST(chunks_come_lowest_first_and_side_by_side)
{
	struct space *sp = opened(128 * MIB);
	uint64_t a, b, c;

	ck_assert_int_eq(space_chunk_take(sp, &a), 0);
	ck_assert_int_eq(space_chunk_take(sp, &b), 0);
	ck_assert_int_eq(space_chunk_take(sp, &c), 0);
	ck_assert_uint_eq(b, a + CHUNK_BYTES);
	ck_assert_uint_eq(c, b + CHUNK_BYTES);
	space_close(&sp);
}
END_TEST

START_TEST(given_chunk_is_taken_again_only_after_a_durable_checkpoint)
{
	struct space *sp = opened(128 * MIB);
	uint64_t a, b, c;

	ck_assert_int_eq(space_chunk_take(sp, &a), 0);
	ck_assert_int_eq(space_chunk_take(sp, &b), 0);
	checkpoint(sp);
	space_chunk_give(sp, a);
	ck_assert(!space_chunk_is_used(sp, a));
	ck_assert_int_eq(space_chunk_take(sp, &c), 0);
	ck_assert_uint_ne(c, a);
	space_captured(sp);
	ck_assert_int_eq(space_chunk_take(sp, &c), 0);
	ck_assert_uint_ne(c, a);
	space_durable(sp);
	ck_assert_int_eq(space_chunk_take(sp, &c), 0);
	ck_assert_uint_eq(c, a);
	space_close(&sp);
}
END_TEST

START_TEST(journal_segment_given_during_a_capture_waits_for_the_next_checkpoint)
{
	struct space *sp = opened(128 * MIB);
	uint32_t a, b;

	ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, true, &a), 0);
	space_captured(sp);
	space_segment_give(sp, a);
	space_durable(sp);
	ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, true, &b), 0);
	ck_assert_uint_ne(b, a);
	checkpoint(sp);
	ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, true, &b), 0);
	ck_assert_uint_eq(b, a);
	space_close(&sp);
}
END_TEST

START_TEST(full_home_leaves_pages_and_journals_their_room)
{
	struct space *sp = opened(128 * MIB);
	uint64_t chunk, page;
	uint32_t s, n = 0;

	space_set_replicas(sp, 1);
	while (space_chunk_take(sp, &chunk) == 0)
		n++;
	ck_assert_uint_gt(n, 20 * 32);
	ck_assert_uint_eq(space_free_bytes(sp), 0);
	for (uint32_t i = 0; i < n; i++)
		ck_assert_int_eq(space_page_take(sp, &page), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, true, &s), 0);
	space_close(&sp);
}
END_TEST

START_TEST(tables_written_and_read_back_say_the_same)
{
	struct space *sp = opened(256 * MIB), *back = opened(256 * MIB);
	uint64_t chunks[100], pages[100];
	uint32_t journal;

	ck_assert_int_eq(space_segment_take(sp, SEGMENT_JOURNAL, true, &journal), 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(space_chunk_take(sp, &chunks[i]), 0);
		ck_assert_int_eq(space_page_take(sp, &pages[i]), 0);
	}
	for (int i = 0; i < 100; i += 3) {
		space_chunk_give(sp, chunks[i]);
		space_page_give(sp, pages[i]);
	}
	space_recovery_begin(back);
	for (uint32_t p = 0; p < space_segments_pages(sp); p++) {
		static struct disk_segments d;

		ck_assert(space_segments_dirty(sp, p));
		space_segments_encode(sp, p, &d);
		ck_assert(!space_segments_dirty(sp, p));
		ck_assert_int_eq(space_segments_decode(back, p, &d), 0);
	}
	for (uint32_t p = 0; p < space_bitmaps_pages(sp); p++) {
		static struct disk_bitmaps d;

		space_bitmaps_encode(sp, p, &d);
		ck_assert_int_eq(space_bitmaps_decode(back, p, &d), 0);
	}
	ck_assert_int_eq(space_decoded(back), 0);
	ck_assert_int_eq(space_segment_take(back, SEGMENT_JOURNAL, true, &journal), -ERR_AGAIN);
	space_recovery_end(back);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(space_chunk_is_used(back, chunks[i]), i % 3 != 0);
		ck_assert_int_eq(space_page_is_used(back, pages[i]), i % 3 != 0);
	}
	ck_assert_uint_eq(space_journal_used_bytes(back), 0); /* nobody marked it */
	space_close(&sp);
	space_close(&back);
}
END_TEST

START_TEST(marked_journal_segments_stay_and_others_are_refused)
{
	struct space *sp = opened(128 * MIB);
	uint64_t chunk;
	uint32_t s;

	ck_assert_int_eq(space_chunk_take(sp, &chunk), 0);
	space_recovery_begin(sp);
	ck_assert_int_eq(space_segment_mark_journal(sp, 9), 0);
	ck_assert_int_eq(space_segment_mark_journal(sp, 9), -ERR_CORRUPT);
	ck_assert_int_eq(space_segment_mark_journal(sp, (uint32_t)(chunk / (2 * MIB))),
			 -ERR_CORRUPT);
	ck_assert_int_eq(space_segment_mark_journal(sp, 0), -ERR_CORRUPT);
	ck_assert_int_eq(space_segment_mark_journal(sp, 1000000), -ERR_CORRUPT);
	space_recovery_end(sp);
	ck_assert_int_eq(space_segment_kind(sp, 9), SEGMENT_JOURNAL);
	while (space_segment_take(sp, SEGMENT_JOURNAL, true, &s) == 0)
		ck_assert_uint_ne(s, 9);
	space_close(&sp);
}
END_TEST

START_TEST(damaged_table_entries_are_refused)
{
	struct space *sp = opened(128 * MIB);
	static struct disk_segments d;

	space_segments_encode(sp, 0, &d);
	d.segments[5].kind = 9;
	ck_assert_int_eq(space_segments_decode(sp, 0, &d), -ERR_CORRUPT);
	d.segments[5].kind = SEGMENT_HOME;
	d.segments[5].used = 3; /* the bits say 0 */
	ck_assert_int_eq(space_segments_decode(sp, 0, &d), -ERR_CORRUPT);
	space_close(&sp);
}
END_TEST

START_TEST(last_reference_gives_the_chunk_and_earlier_ones_do_not)
{
	struct space *sp = opened(128 * MIB);
	uint64_t a, p, c;

	ck_assert_int_eq(space_chunk_take(sp, &a), 0);
	ck_assert_int_eq(space_page_take(sp, &p), 0);
	ck_assert_uint_eq(space_refs(sp, a), 1);
	ck_assert_int_eq(space_ref_add(sp, a), 0);
	ck_assert_int_eq(space_ref_add(sp, a), 0);
	ck_assert_int_eq(space_ref_add(sp, p), 0);
	ck_assert_uint_eq(space_refs(sp, a), 3);
	ck_assert_uint_eq(space_refs(sp, p), 2);
	space_chunk_drop(sp, a);
	space_chunk_drop(sp, a);
	space_page_drop(sp, p);
	ck_assert_uint_eq(space_refs(sp, a), 1);
	ck_assert(space_chunk_is_used(sp, a) && space_page_is_used(sp, p));
	space_chunk_drop(sp, a);
	space_page_drop(sp, p);
	ck_assert_uint_eq(space_refs(sp, a), 0);
	ck_assert(!space_chunk_is_used(sp, a) && !space_page_is_used(sp, p));
	checkpoint(sp);
	ck_assert_int_eq(space_chunk_take(sp, &c), 0);
	ck_assert_uint_eq(c, a);
	space_close(&sp);
}
END_TEST

/* A crash brings the reference back, and with it a reader of the bytes. */
START_TEST(dropped_reference_keeps_a_chunk_from_being_exclusive_until_it_is_durable)
{
	struct space *sp = opened(128 * MIB);
	uint64_t a, b;

	ck_assert_int_eq(space_chunk_take(sp, &a), 0);
	ck_assert_int_eq(space_chunk_take(sp, &b), 0);
	ck_assert(space_chunk_is_exclusive(sp, a));
	ck_assert_int_eq(space_ref_add(sp, a), 0);
	ck_assert(!space_chunk_is_exclusive(sp, a));
	checkpoint(sp);
	space_chunk_drop(sp, a);
	ck_assert_uint_eq(space_refs(sp, a), 1);
	ck_assert(!space_chunk_is_exclusive(sp, a));
	ck_assert(space_chunk_is_exclusive(sp, b));
	space_captured(sp);
	ck_assert(!space_chunk_is_exclusive(sp, a));
	space_durable(sp);
	ck_assert(space_chunk_is_exclusive(sp, a));
	space_close(&sp);
}
END_TEST

static void refs_copy(struct space *sp, struct space *back)
{
	for (uint32_t p = 0; p < space_segments_pages(sp); p++) {
		static struct disk_segments d;

		space_segments_encode(sp, p, &d);
		ck_assert_int_eq(space_segments_decode(back, p, &d), 0);
	}
	for (uint32_t p = 0; p < space_bitmaps_pages(sp); p++) {
		static struct disk_bitmaps d;

		space_bitmaps_encode(sp, p, &d);
		ck_assert_int_eq(space_bitmaps_decode(back, p, &d), 0);
	}
	for (uint32_t p = 0; p < space_refs_pages(sp); p++) {
		static struct disk_refs d;

		ck_assert(space_refs_dirty(sp, p));
		space_refs_encode(sp, p, &d);
		ck_assert(!space_refs_dirty(sp, p));
		ck_assert_int_eq(space_refs_decode(back, p, &d), 0);
	}
	ck_assert_int_eq(space_decoded(back), 0);
}

START_TEST(counts_written_and_read_back_say_the_same)
{
	struct space *sp = opened(512 * MIB), *back = opened(512 * MIB);
	static uint64_t chunks[3000], pages[3000];
	uint64_t sum = 0;

	ck_assert_uint_eq(space_refs_pages(sp), 0);
	for (uint32_t i = 0; i < 3000; i++) {
		ck_assert_int_eq(space_chunk_take(sp, &chunks[i]), 0);
		ck_assert_int_eq(space_page_take(sp, &pages[i]), 0);
		for (uint32_t k = 0; k < i % 7; k++)
			ck_assert_int_eq(space_ref_add(sp, chunks[i]), 0);
		for (uint32_t k = 0; k < i % 5; k++)
			ck_assert_int_eq(space_ref_add(sp, pages[i]), 0);
	}
	for (uint32_t i = 0; i < 3000; i += 2)
		space_chunk_drop(sp, chunks[i]);
	for (uint32_t i = 1024; i < 3000; i++) /* whole slots without a count */
		while (space_refs(sp, pages[i]) > 1)
			space_page_drop(sp, pages[i]);
	ck_assert_uint_gt(space_refs_pages(sp), 1);
	refs_copy(sp, back);
	for (uint32_t i = 0; i < 3000; i++) {
		ck_assert_uint_eq(space_refs(back, chunks[i]), space_refs(sp, chunks[i]));
		ck_assert_uint_eq(space_refs(back, pages[i]), space_refs(sp, pages[i]));
	}
	for (uint32_t s = 0; s < space_segment_count(sp); s++) {
		ck_assert_uint_eq(space_segment_shared(back, s), space_segment_shared(sp, s));
		sum += space_segment_shared(sp, s);
	}
	ck_assert_uint_gt(sum, 2000);
	checkpoint(sp); /* slots without a count go, and are used again */
	for (uint32_t i = 1024; i < 3000; i++)
		ck_assert_int_eq(space_ref_add(sp, pages[i]), 0);
	for (uint32_t i = 0; i < 3000; i++)
		ck_assert_uint_eq(space_refs(sp, pages[i]), i < 1024 ? 1 + i % 5 : 2);
	space_close(&sp);
	space_close(&back);
}
END_TEST

START_TEST(counts_that_cannot_be_are_refused)
{
	struct space *sp = opened(128 * MIB), *back = opened(128 * MIB);
	static struct disk_refs d;
	uint64_t chunk;

	ck_assert_int_eq(space_chunk_take(sp, &chunk), 0);
	ck_assert_int_eq(space_ref_add(sp, chunk), 0);
	refs_copy(sp, back);
	space_refs_encode(sp, 0, &d);
	ck_assert_int_eq(space_refs_decode(back, 0, &d), -ERR_CORRUPT); /* twice */
	ck_assert_int_eq(space_refs_decode(back, 4000000, &d), -ERR_CORRUPT);
	for (int i = 0; i < 4; i++) {
		struct space *fresh = opened(128 * MIB);
		struct disk_refs bad = d;

		if (i == 0)
			bad.slots[0].segment = 4711;
		else if (i == 1)
			bad.slots[0].first = 7;
		else if (i == 2)
			bad.slots[1] = bad.slots[0];
		else
			memset(bad.slots[0].counts, 0, sizeof(bad.slots[0].counts));
		ck_assert_int_eq(space_refs_decode(fresh, 0, &bad), -ERR_CORRUPT);
		space_close(&fresh);
	}
	space_close(&back);
	back = opened(128 * MIB);
	ck_assert_int_eq(space_refs_decode(back, 0, &d), 0);
	ck_assert_int_eq(space_decoded(back), -ERR_CORRUPT); /* of a chunk that is free */
	space_close(&sp);
	space_close(&back);
}
END_TEST

/* --- chunks that records name --- */

static void encode_all(struct space *sp)
{
	struct disk_segments d;
	struct disk_bitmaps b;

	for (uint32_t i = 0; i < space_segments_pages(sp); i++)
		space_segments_encode(sp, i, &d);
	for (uint32_t i = 0; i < space_bitmaps_pages(sp); i++)
		space_bitmaps_encode(sp, i, &b);
}

static void next_checkpoint(struct space *sp)
{
	encode_all(sp);
	space_captured(sp);
	space_durable(sp);
}

START_TEST(a_named_chunk_is_nobody_elses_and_in_no_checkpoint)
{
	struct space *sp;
	uint64_t named, other;

	ck_assert_int_eq(space_open(1ull << 30, 16u << 20, &sp), 0);
	ck_assert_int_eq(space_chunk_name(sp, &named), 0);
	ck_assert(space_chunk_is_named(sp, named) && !space_chunk_is_used(sp, named));
	ck_assert_int_eq(space_chunk_take(sp, &other), 0);
	ck_assert_uint_ne(named, other);
	next_checkpoint(sp);
	next_checkpoint(sp);
	ck_assert(space_chunk_is_named(sp, named));
	space_chunk_adopt(sp, named);
	ck_assert(space_chunk_is_used(sp, named));
	ck_assert_uint_eq(space_refs(sp, named), 1);
	ck_assert(!space_chunk_is_exclusive(sp, named)); /* its record may still be read */
	space_chunk_unname(sp, named);
	ck_assert(space_chunk_is_exclusive(sp, named));
	space_chunk_drop(sp, named);
	ck_assert(!space_chunk_is_used(sp, named));
	space_close(&sp);
}
END_TEST

/* A crash before the next checkpoint may bring the record back, so its chunk is not reused before. */
START_TEST(a_name_let_go_is_reused_after_a_checkpoint_that_begins_later)
{
	struct space *sp;
	uint64_t a, b, again;

	ck_assert_int_eq(space_open(1ull << 30, 16u << 20, &sp), 0);
	ck_assert_int_eq(space_chunk_name(sp, &a), 0);
	ck_assert_int_eq(space_chunk_name(sp, &b), 0);
	space_chunk_unname(sp, a);
	ck_assert_int_eq(space_chunk_name(sp, &again), 0);
	ck_assert_uint_ne(again, a);
	encode_all(sp);
	space_captured(sp);
	space_chunk_unname(sp, b); /* too late for this one */
	space_durable(sp);
	ck_assert_int_eq(space_chunk_take(sp, &again), 0);
	ck_assert_uint_ne(again, b);
	ck_assert_int_eq(space_chunk_take(sp, &again), 0);
	ck_assert_uint_ne(again, b);
	next_checkpoint(sp);
	next_checkpoint(sp);
	ck_assert_int_eq(space_chunk_take(sp, &again), 0);
	ck_assert(again == a || again == b);
	space_close(&sp);
}
END_TEST

/* A map that lets go of a chunk which a record still names leaves it to the record. */
START_TEST(a_chunk_dropped_by_its_map_stays_while_it_is_named)
{
	struct space *sp;
	uint64_t c, other;

	ck_assert_int_eq(space_open(1ull << 30, 16u << 20, &sp), 0);
	ck_assert_int_eq(space_chunk_name(sp, &c), 0);
	space_chunk_adopt(sp, c);
	space_chunk_drop(sp, c);
	next_checkpoint(sp);
	next_checkpoint(sp);
	ck_assert_int_eq(space_chunk_take(sp, &other), 0);
	ck_assert_uint_ne(other, c);
	space_chunk_unname(sp, c);
	next_checkpoint(sp);
	ck_assert_int_eq(space_chunk_take(sp, &other), 0);
	ck_assert_uint_eq(other, c);
	space_close(&sp);
}
END_TEST

START_TEST(recovery_names_what_is_free_to_be_named)
{
	struct space *sp;
	uint64_t c;

	ck_assert_int_eq(space_open(1ull << 30, 16u << 20, &sp), 0);
	space_recovery_begin(sp);
	ck_assert_int_eq(space_segment_mark_journal(sp, 3), 0);
	ck_assert_int_eq(space_chunk_name_again(sp, 3ull << 24), -ERR_CORRUPT); /* a journal's */
	ck_assert_int_eq(space_chunk_name_again(sp, 0), -ERR_CORRUPT);		/* superblock */
	ck_assert_int_eq(space_chunk_name_again(sp, 1ull << 30), -ERR_CORRUPT);
	ck_assert_int_eq(space_chunk_name_again(sp, (5ull << 24) + 4096), -ERR_CORRUPT);
	ck_assert_int_eq(space_chunk_name_again(sp, 5ull << 24), 0);
	ck_assert_int_eq(space_chunk_name_again(sp, 5ull << 24), -ERR_CORRUPT); /* twice */
	ck_assert_int_eq(space_segment_mark_journal(sp, 5), -ERR_CORRUPT);
	space_recovery_end(sp);
	ck_assert_int_eq(space_chunk_take(sp, &c), 0);
	ck_assert_uint_eq(c, (5ull << 24) + CHUNK_BYTES);
	space_close(&sp);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/space");
	TCase *c = tcase_create("space");
	SRunner *runner;
	int failed;

	tcase_add_test(c, superblock_segments_are_never_taken);
	tcase_add_test(c, segments_of_a_grown_disk_are_taken_only_after_a_checkpoint);
	tcase_add_test(c, superblock_behind_the_last_segment_stays_untouched_when_the_disk_grows);
	tcase_add_test(c, journal_stops_at_its_share_unless_guaranteed);
	tcase_add_test(c, chunks_come_lowest_first_and_side_by_side);
	tcase_add_test(c, given_chunk_is_taken_again_only_after_a_durable_checkpoint);
	tcase_add_test(c, journal_segment_given_during_a_capture_waits_for_the_next_checkpoint);
	tcase_add_test(c, full_home_leaves_pages_and_journals_their_room);
	tcase_add_test(c, tables_written_and_read_back_say_the_same);
	tcase_add_test(c, marked_journal_segments_stay_and_others_are_refused);
	tcase_add_test(c, damaged_table_entries_are_refused);
	tcase_add_test(c, last_reference_gives_the_chunk_and_earlier_ones_do_not);
	tcase_add_test(c, dropped_reference_keeps_a_chunk_from_being_exclusive_until_it_is_durable);
	tcase_add_test(c, counts_written_and_read_back_say_the_same);
	tcase_add_test(c, counts_that_cannot_be_are_refused);
	tcase_add_test(c, a_named_chunk_is_nobody_elses_and_in_no_checkpoint);
	tcase_add_test(c, a_name_let_go_is_reused_after_a_checkpoint_that_begins_later);
	tcase_add_test(c, a_chunk_dropped_by_its_map_stays_while_it_is_named);
	tcase_add_test(c, recovery_names_what_is_free_to_be_named);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
