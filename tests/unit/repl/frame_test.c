/* SPDX-License-Identifier: Apache-2.0 */
/* The frame codec and the link messages: what is written is read, what is damaged is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/repl/link.h"
#include "proto/repl.h"

START_TEST(a_header_is_read_as_written)
{
	struct frame_header h = {.kind = FRAME_ACK,
				 .head_bytes = FRAME_ACK_BYTES,
				 .session = 3,
				 .group_session = 4,
				 .epoch = 5,
				 .lsn = {6}};
	uint8_t bytes[FRAME_HEADER_BYTES], head[FRAME_ACK_BYTES] = {1, 2, 3};
	struct frame_header g;

	h.group.b[15] = 0xaa;
	frame_header_encode(bytes, &h, head);
	ck_assert_int_eq(frame_header_decode(bytes, &g), 0);
	ck_assert_int_eq(g.kind, FRAME_ACK);
	ck_assert_uint_eq(g.session, 3);
	ck_assert_uint_eq(g.group_session, 4);
	ck_assert_uint_eq(g.epoch, 5);
	ck_assert_uint_eq(g.lsn.v, 6);
	ck_assert_uint_eq(g.group.b[15], 0xaa);
	ck_assert_int_eq(frame_head_check(&g, head), 0);
	head[19] ^= 1;
	ck_assert_int_eq(frame_head_check(&g, head), -ERR_CORRUPT);
}
END_TEST

START_TEST(every_flipped_bit_of_a_header_is_noticed)
{
	struct frame_header h = {.kind = FRAME_KEEPALIVE, .session = 3}, g;
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_encode(bytes, &h, NULL);
	for (uint32_t i = 0; i < FRAME_HEADER_BYTES * 8; i++) {
		bytes[i / 8] = (uint8_t)(bytes[i / 8] ^ 1u << i % 8);
		ck_assert_int_lt(frame_header_decode(bytes, &g), 0);
		bytes[i / 8] = (uint8_t)(bytes[i / 8] ^ 1u << i % 8);
	}
	ck_assert_int_eq(frame_header_decode(bytes, &g), 0);
}
END_TEST

START_TEST(sizes_a_kind_cannot_have_are_refused)
{
	struct frame_header h = {.kind = FRAME_KEEPALIVE, .payload_bytes = 4096}, g;
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_encode(bytes, &h, NULL);
	ck_assert_int_eq(frame_header_decode(bytes, &g), -ERR_PROTOCOL);
	ck_assert(frame_kind_allowed(FRAME_COMMIT, FRAME_CONN_LINK));
	ck_assert(!frame_kind_allowed(FRAME_RECORD, FRAME_CONN_BULK));
}
END_TEST

START_TEST(the_largest_full_copy_fits_and_is_read_as_written)
{
	struct frame_full *m = calloc(1, sizeof(*m)), *n = calloc(1, sizeof(*n));
	uint8_t *bytes = malloc(FRAME_FULL_BYTES_MAX), *again = malloc(FRAME_FULL_BYTES_MAX);
	uint32_t used;

	m->epoch_count = FRAME_EPOCHS_MAX;
	m->volume_count = VOLUMES_MAX;
	m->common_known = true;
	m->common.v = 8192;
	for (uint32_t i = 0; i < FRAME_EPOCHS_MAX; i++) {
		m->epochs[i].epoch.number = i + 1;
		m->epochs[i].first.v = i * 4096ull;
	}
	for (uint32_t i = 0; i < VOLUMES_MAX; i++) {
		m->volumes[i] = (struct frame_volume){.slot = i, .bytes = 4096, .block_bytes = 512};
		memset(m->volumes[i].name, 'x', NAME_BYTES_MAX);
	}
	used = frame_full_encode(bytes, m);
	ck_assert_int_eq(frame_full_decode(bytes, used, n), 0);
	ck_assert_uint_eq(frame_full_encode(again, n), used);
	ck_assert_int_eq(memcmp(bytes, again, used), 0);
	ck_assert_str_eq(n->volumes[255].name, m->volumes[255].name);
	for (uint32_t cut = 0; cut < used; cut += 37)
		ck_assert_int_eq(frame_full_decode(bytes, cut, n), -ERR_PROTOCOL);
	free(m);
	free(n);
	free(again);
	free(bytes);
}
END_TEST

START_TEST(an_attach_with_impossible_positions_is_refused)
{
	struct frame_attach m = {.purpose = 1, .known = true, .tail = {4096}, .commit = {8192}}, n;
	uint8_t bytes[FRAME_ATTACH_BYTES_MAX];

	ck_assert_int_eq(frame_attach_decode(bytes, frame_attach_encode(bytes, &m), &n),
			 -ERR_PROTOCOL);
	m.commit.v = 4096;
	ck_assert_int_eq(frame_attach_decode(bytes, frame_attach_encode(bytes, &m), &n), 0);
}
END_TEST

START_TEST(a_base_run_stays_within_its_leaf)
{
	struct frame_base m = {.volume = 1, .count = 2, .block = 511}, n;
	uint8_t bytes[FRAME_BASE_BYTES_MAX];
	uint32_t used = frame_base_encode(bytes, &m);

	ck_assert_int_eq(frame_base_decode(bytes, used, 8192, &n), -ERR_PROTOCOL);
	m.block = 510;
	used = frame_base_encode(bytes, &m);
	ck_assert_int_eq(frame_base_decode(bytes, used, 8192, &n), 0);
	ck_assert_int_eq(frame_base_decode(bytes, used, 4096, &n), -ERR_PROTOCOL);
}
END_TEST

START_TEST(questions_and_answers_of_a_comparison_are_read_as_written)
{
	static uint8_t bytes[FRAME_COMPARE_TOLD_BYTES_MAX + 1];
	static struct frame_compare_told t = {.question = 7, .kind = COMPARE_SUMS}, u;
	struct frame_compare_ask a = {
		.question = 9, .kind = COMPARE_PAGE, .volume = 3, .level = 2, .index = 5};
	struct frame_compare_ask b;
	uint32_t used = frame_compare_ask_encode(bytes, &a);

	ck_assert_uint_eq(used, FRAME_COMPARE_ASK_BYTES);
	ck_assert_int_eq(frame_compare_ask_decode(bytes, used, &b), 0);
	ck_assert_uint_eq(frame_compare_ask_encode(bytes + used, &b), used);
	ck_assert_mem_eq(bytes, bytes + used, used);
	ck_assert_int_eq(frame_compare_ask_decode(bytes, used - 1, &b), -ERR_PROTOCOL);
	a.kind = COMPARE_BLOCKS; /* with a level, and of no block */
	used = frame_compare_ask_encode(bytes, &a);
	ck_assert_int_eq(frame_compare_ask_decode(bytes, used, &b), -ERR_PROTOCOL);
	for (uint32_t i = 0; i < LEAF_BLOCKS; i++) {
		t.data[i / 64] |= 1ull << i % 64;
		t.crcs[i] = i * 77;
	}
	used = frame_compare_told_encode(bytes, &t);
	ck_assert_uint_eq(used, FRAME_COMPARE_TOLD_BYTES_MAX);
	ck_assert_int_eq(frame_compare_told_decode(bytes, used, &u), 0);
	ck_assert_mem_eq(t.crcs, u.crcs, sizeof(t.crcs));
	ck_assert_mem_eq(t.data, u.data, sizeof(t.data));
	ck_assert_int_eq(frame_compare_told_decode(bytes, used + 1, &u), -ERR_PROTOCOL);
	t = (struct frame_compare_told){
		.kind = COMPARE_PAGE, .present = 6, .known = 4, .digests = {0, 0, 11}};
	used = frame_compare_told_encode(bytes, &t);
	ck_assert_int_eq(frame_compare_told_decode(bytes, used, &u), 0);
	ck_assert_uint_eq(u.present, 6);
	ck_assert_uint_eq(u.known, 4);
	ck_assert_uint_eq(u.digests[2], 11);
	t.known = 5; /* known, and not there */
	used = frame_compare_told_encode(bytes, &t);
	ck_assert_int_eq(frame_compare_told_decode(bytes, used, &u), -ERR_PROTOCOL);
}
END_TEST

START_TEST(text_from_outside_comes_out_printable)
{
	struct frame_refuse m = {.rc = -ERR_VERSION, .text = "no\x1b[2J\n"}, n;
	uint8_t bytes[FRAME_REFUSE_BYTES_MAX];

	ck_assert_int_eq(frame_refuse_decode(bytes, frame_refuse_encode(bytes, &m), &n), 0);
	ck_assert_str_eq(n.text, "no?[2J?");
	ck_assert_int_eq(n.rc, -ERR_VERSION);
}
END_TEST

START_TEST(a_hello_of_a_later_version_may_be_longer)
{
	struct frame_hello m = {.version_min = 1, .version_max = 9, .site = 2, .name = "a"}, n;
	uint8_t bytes[FRAME_HELLO_BYTES + 8] = {0};

	frame_hello_encode(bytes, &m);
	ck_assert_int_eq(frame_hello_decode(bytes, sizeof(bytes), &n), 0);
	ck_assert_uint_eq(n.version_max, 9);
	ck_assert_str_eq(n.name, "a");
}
END_TEST

START_TEST(the_largest_link_messages_fit)
{
	struct link_tail tail = {.epoch_count = EPOCHS_MAX}, got;
	struct link_msg m = {.kind = LINK_TAIL_TOLD, .tail = &tail, .group_count = LINK_GROUPS_MAX},
			n;
	uint8_t bytes[LINK_BYTES_MAX];
	uint32_t used = link_encode(bytes, &m);

	ck_assert_int_eq(link_decode(bytes, used, &n, &got), 0);
	ck_assert_uint_eq(n.group_count, LINK_GROUPS_MAX);
	ck_assert_uint_eq(got.epoch_count, EPOCHS_MAX);
	for (uint32_t cut = 0; cut < used; cut++)
		ck_assert_int_eq(link_decode(bytes, cut, &n, &got), -ERR_PROTOCOL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frames");
	TCase *t = tcase_create("codec");
	SRunner *r;
	int failed;

	tcase_add_test(t, a_header_is_read_as_written);
	tcase_add_test(t, every_flipped_bit_of_a_header_is_noticed);
	tcase_add_test(t, sizes_a_kind_cannot_have_are_refused);
	tcase_add_test(t, the_largest_full_copy_fits_and_is_read_as_written);
	tcase_add_test(t, an_attach_with_impossible_positions_is_refused);
	tcase_add_test(t, a_base_run_stays_within_its_leaf);
	tcase_add_test(t, questions_and_answers_of_a_comparison_are_read_as_written);
	tcase_add_test(t, text_from_outside_comes_out_printable);
	tcase_add_test(t, a_hello_of_a_later_version_may_be_longer);
	tcase_add_test(t, the_largest_link_messages_fit);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
