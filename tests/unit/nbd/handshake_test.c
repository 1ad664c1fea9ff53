/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake as a pure function of bytes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/attr.h"
#include "engine/base/err.h"
#include "engine/nbd/nbd_handshake.h"

#define OUT_BYTES 65536u

struct talk {
	struct nbd_handshake h;
	uint8_t out[OUT_BYTES];
	struct cursor put; /* where the server writes */
	struct cursor get; /* where the test reads what was written */
	uint8_t in[2u << 20];
	uint32_t in_bytes, used;
	struct volume_info info;
};

static struct talk *t;

static void setup(void)
{
	t = calloc(1, sizeof(*t));
	ck_assert_ptr_nonnull(t);
	cursor_init(&t->put, t->out, sizeof(t->out));
	cursor_init(&t->get, t->out, sizeof(t->out));
	nbd_handshake_init(&t->h, &t->put);
	strcpy(t->info.name, "g/v");
	t->info.bytes = 1u << 20;
	t->info.block_bytes = 512;
}

static void teardown(void)
{
	free(t);
}

/* Everything appended so far, as one question to the server. */
static enum nbd_handshake_effect answer(void)
{
	enum nbd_handshake_effect e = NBD_HANDSHAKE_AGAIN;

	while (e == NBD_HANDSHAKE_AGAIN) {
		uint32_t used = 0;

		e = nbd_handshake_step(&t->h, t->in + t->used, t->in_bytes - t->used, &used,
				       &t->put);
		t->used += used;
		ck_assert_uint_le(t->used, t->in_bytes);
	}
	return e;
}

static void append(const void *data, uint32_t bytes)
{
	ck_assert_uint_le(t->in_bytes + bytes, sizeof(t->in));
	if (bytes > 0)
		memcpy(t->in + t->in_bytes, data, bytes);
	t->in_bytes += bytes;
}

static void append_u32(uint32_t v)
{
	v = __builtin_bswap32(v);
	append(&v, 4);
}

static void append_u16(uint16_t v)
{
	v = __builtin_bswap16(v);
	append(&v, 2);
}

static void append_option_header(uint32_t option, uint32_t bytes)
{
	struct cursor c;

	cursor_init(&c, t->in + t->in_bytes, sizeof(t->in) - t->in_bytes);
	nbd_put_option(&c, option, bytes);
	ck_assert(cursor_ok(&c));
	t->in_bytes += NBD_OPTION_BYTES;
}

static void append_option(uint32_t option, const void *data, uint32_t bytes)
{
	append_option_header(option, bytes);
	append(data, bytes);
}

static void append_info(uint32_t option, const char *name, uint32_t name_bytes, uint32_t infos)
{
	append_option_header(option, 4 + name_bytes + 2 + 2 * infos);
	append_u32(name_bytes);
	append(name, name_bytes);
	append_u16((uint16_t)infos);
	for (uint32_t i = 0; i < infos; i++)
		append_u16((uint16_t)i);
}

/* Greeting read, flags sent. */
static void begin(uint32_t flags)
{
	ck_assert_uint_eq(get_u64_be(&t->get), NBD_MAGIC);
	ck_assert_uint_eq(get_u64_be(&t->get), NBD_OPTION_MAGIC);
	ck_assert_uint_eq(get_u16_be(&t->get), 3);
	append_u32(flags);
}

/* The next reply must be this; gives its payload. */
static const uint8_t *expect_rep(uint32_t option, uint32_t type, uint32_t *ret_bytes)
{
	uint32_t bytes;

	ck_assert_uint_eq(get_u64_be(&t->get), NBD_REP_MAGIC);
	ck_assert_uint_eq(get_u32_be(&t->get), option);
	ck_assert_uint_eq(get_u32_be(&t->get), type);
	bytes = get_u32_be(&t->get);
	if (ret_bytes != NULL)
		*ret_bytes = bytes;
	return cursor_skip(&t->get, bytes);
}

static void expect_message(uint32_t option, uint32_t type, const char *text)
{
	uint32_t bytes;
	const uint8_t *p = expect_rep(option, type, &bytes);

	ck_assert_uint_eq(bytes, strlen(text));
	ck_assert_mem_eq(p, text, bytes);
}

static void expect_nothing(void)
{
	ck_assert_ptr_eq(t->get.at, t->put.at);
}

START_TEST(greeting_is_fixed_newstyle_with_no_zeroes)
{
	begin(3);
	expect_nothing();
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	ck_assert_int_eq(t->h.state, NBD_HANDSHAKE_OPTION);
}
END_TEST

START_TEST(client_flags_not_offered_close)
{
	begin(4);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
	expect_nothing();
}
END_TEST

START_TEST(client_flags_without_fixed_newstyle_are_honoured)
{
	begin(0);
	append_option(NBD_OPT_EXPORT_NAME, "g/v", 3);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
}
END_TEST

START_TEST(bytes_may_come_one_at_a_time)
{
	uint32_t all;

	begin(3);
	append_info(NBD_OPT_GO, "g/v", 3, 4);
	all = t->in_bytes;
	for (t->in_bytes = 0; t->in_bytes < all - 1; t->in_bytes++)
		ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	t->in_bytes = all;
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_uint_eq(t->h.name_bytes, 3);
}
END_TEST

START_TEST(bad_option_magic_closes)
{
	begin(3);
	append_option(NBD_OPT_LIST, NULL, 0);
	t->in[4] ^= 1;
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
}
END_TEST

START_TEST(export_name_answers_size_flags_and_padding)
{
	begin(1);
	append_option(NBD_OPT_EXPORT_NAME, "g/v", 3);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_mem_eq(t->h.name, "g/v", 3);
	ck_assert(nbd_handshake_enters(&t->h));
	ck_assert_int_eq(nbd_handshake_found(&t->h, &t->info, &t->put), NBD_HANDSHAKE_TRANSMIT);
	ck_assert_uint_eq(get_u64_be(&t->get), 1u << 20);
	ck_assert_uint_eq(get_u16_be(&t->get), nbd_export_flags(&t->info));
	for (uint32_t i = 0; i < 124; i++)
		ck_assert_uint_eq(get_u8(&t->get), 0);
	expect_nothing();
}
END_TEST

START_TEST(export_name_without_zeroes_is_ten_bytes)
{
	begin(3);
	append_option(NBD_OPT_EXPORT_NAME, "", 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_uint_eq(t->h.name_bytes, 0);
	ck_assert_int_eq(nbd_handshake_found(&t->h, &t->info, &t->put), NBD_HANDSHAKE_TRANSMIT);
	ck_assert_uint_eq((size_t)(t->put.at - t->get.at), 10);
}
END_TEST

START_TEST(export_name_that_fails_closes_without_a_word)
{
	begin(3);
	append_option(NBD_OPT_EXPORT_NAME, "nope", 4);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_int_eq(nbd_handshake_not_found(&t->h, -ERR_NOT_FOUND, "", &t->put),
			 NBD_HANDSHAKE_CLOSE);
	expect_nothing();
}
END_TEST

START_TEST(export_name_hostile_payloads_close)
{
	static const char *const names[] = {"a\xff", "g/v?session=1&slot=0&gen=1"};

	begin(3);
	append_option(NBD_OPT_EXPORT_NAME, names[_i], (uint32_t)strlen(names[_i]));
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
	expect_nothing();
}
END_TEST

START_TEST(export_name_longer_than_a_string_closes)
{
	char name[5000];

	memset(name, 'a', sizeof(name));
	begin(3);
	append_option(NBD_OPT_EXPORT_NAME, name, sizeof(name));
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
	expect_nothing();
}
END_TEST

START_TEST(abort_is_acknowledged_whatever_its_data)
{
	begin(3);
	append_option(NBD_OPT_ABORT, "bye", 3);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
	(void)expect_rep(NBD_OPT_ABORT, NBD_REP_ACK, NULL);
	expect_nothing();
}
END_TEST

START_TEST(list_gives_every_entry_and_ack)
{
	uint32_t bytes;
	const uint8_t *p;

	begin(3);
	append_option(NBD_OPT_LIST, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_LIST);
	nbd_handshake_entry(&t->h, &t->info, &t->put);
	nbd_handshake_entry(&t->h, &t->info, &t->put);
	nbd_handshake_list_end(&t->h, &t->put);
	for (int i = 0; i < 2; i++) {
		p = expect_rep(NBD_OPT_LIST, NBD_REP_SERVER, &bytes);
		ck_assert_uint_eq(bytes, 7);
		ck_assert_mem_eq(p, "\0\0\0\3g/v", 7);
	}
	(void)expect_rep(NBD_OPT_LIST, NBD_REP_ACK, &bytes);
	ck_assert_uint_eq(bytes, 0);
	expect_nothing();
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
}
END_TEST

START_TEST(list_with_data_is_invalid_and_haggling_goes_on)
{
	begin(3);
	append_option(NBD_OPT_LIST, "x", 1);
	append_option(NBD_OPT_LIST, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_LIST);
	(void)expect_rep(NBD_OPT_LIST, NBD_REP_ERR_INVALID, NULL);
	expect_nothing();
}
END_TEST

START_TEST(options_of_later_versions_are_refused_politely)
{
	static const uint32_t options[] = {NBD_OPT_STARTTLS, NBD_OPT_STRUCTURED_REPLY,
					   NBD_OPT_LIST_META_CONTEXT, NBD_OPT_SET_META_CONTEXT,
					   NBD_OPT_EXTENDED_HEADERS};

	begin(3);
	append_option(options[_i], "some data", 9);
	append_option(options[_i], NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	for (int i = 0; i < 2; i++)
		expect_message(options[_i], NBD_REP_ERR_UNSUP, "not available in this version");
	expect_nothing();
}
END_TEST

START_TEST(unknown_options_are_consumed_and_unsupported)
{
	static const uint32_t options[] = {NBD_OPT_PEEK_EXPORT, 0, 12, 0x80000001u, UINT32_MAX};

	begin(3);
	append_option(options[_i], "0123456789", 10);
	append_option(NBD_OPT_LIST, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_LIST);
	(void)expect_rep(options[_i], NBD_REP_ERR_UNSUP, NULL);
	expect_nothing();
}
END_TEST

/* Reads the infos that put_infos wrote; gives the mask of those seen. */
static uint32_t read_infos(uint32_t option, uint32_t count)
{
	uint32_t seen = 0;

	while (count-- > 0) {
		uint32_t bytes;
		struct cursor c;
		uint16_t info;

		cursor_init(&c, (uint8_t *)(uintptr_t)expect_rep(option, NBD_REP_INFO, &bytes), 0);
		c.end = c.at + bytes;
		info = get_u16_be(&c);
		seen |= 1u << info;
		if (info == NBD_INFO_EXPORT) {
			ck_assert_uint_eq(bytes, 12);
			ck_assert_uint_eq(get_u64_be(&c), 1u << 20);
			ck_assert_uint_eq(get_u16_be(&c), nbd_export_flags(&t->info));
		} else if (info == NBD_INFO_BLOCK_SIZE) {
			ck_assert_uint_eq(bytes, 14);
			ck_assert_uint_eq(get_u32_be(&c), 512);
			ck_assert_uint_eq(get_u32_be(&c), 4096);
			ck_assert_uint_eq(get_u32_be(&c), 32u << 20);
		} else if (info == NBD_INFO_NAME) {
			ck_assert_mem_eq(c.at, "g/v", 3);
		} else {
			ck_assert_uint_eq(info, NBD_INFO_DESCRIPTION);
			ck_assert_mem_eq(c.at, "twinshore volume 00000000-", 26);
		}
	}
	return seen;
}

START_TEST(info_then_go_give_the_same_answers)
{
	static const uint32_t options[] = {NBD_OPT_INFO, NBD_OPT_GO};

	begin(3);
	for (int i = 0; i < 2; i++) {
		append_info(options[i], "g/v", 3, 9); /* 4 known, 5 unknown */
		ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
		ck_assert_int_eq(nbd_handshake_enters(&t->h), i == 1);
		ck_assert_int_eq(nbd_handshake_found(&t->h, &t->info, &t->put),
				 i == 0 ? NBD_HANDSHAKE_AGAIN : NBD_HANDSHAKE_TRANSMIT);
		ck_assert_uint_eq(read_infos(options[i], 4), 0xf);
		(void)expect_rep(options[i], NBD_REP_ACK, NULL);
		expect_nothing();
	}
}
END_TEST

START_TEST(info_without_requests_still_gives_the_export)
{
	begin(3);
	append_info(NBD_OPT_INFO, "g/v", 3, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_int_eq(nbd_handshake_found(&t->h, &t->info, &t->put), NBD_HANDSHAKE_AGAIN);
	ck_assert_uint_eq(read_infos(NBD_OPT_INFO, 1), 1);
	(void)expect_rep(NBD_OPT_INFO, NBD_REP_ACK, NULL);
	expect_nothing();
}
END_TEST

START_TEST(info_that_is_repeated_is_answered_once)
{
	begin(3);
	append_option_header(NBD_OPT_GO, 4 + 3 + 2 + 2 * 1000);
	append_u32(3);
	append("g/v", 3);
	append_u16(1000);
	for (int i = 0; i < 1000; i++)
		append_u16(NBD_INFO_NAME);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_int_eq(nbd_handshake_found(&t->h, &t->info, &t->put), NBD_HANDSHAKE_TRANSMIT);
	ck_assert_uint_eq(read_infos(NBD_OPT_GO, 2), 3);
}
END_TEST

START_TEST(info_with_the_longest_name_fits_its_room)
{
	uint32_t before;

	memset(t->info.name, 'n', sizeof(t->info.name) - 1);
	begin(3);
	append_info(NBD_OPT_INFO, "g/v", 3, 4);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	before = (uint32_t)cursor_left(&t->put);
	ck_assert_int_eq(nbd_handshake_found(&t->h, &t->info, &t->put), NBD_HANDSHAKE_AGAIN);
	ck_assert_uint_le(before - cursor_left(&t->put), NBD_HANDSHAKE_OUT_BYTES);
}
END_TEST

/* {payload bytes sent, name length inside, infos inside} */
START_TEST(info_with_lengths_that_disagree_is_invalid)
{
	static const struct {
		uint32_t bytes, name_bytes;
		uint16_t infos;
	} cases[] = {
		{0, 0, 0},	     {3, 0, 0},		 {4, 0, 0},  {5, 0, 0},
		{9, 4, 0},	     {9, UINT32_MAX, 0}, {9, 3, 1},  {9, 3, 0xffff},
		{10, 3, 0},	     {11, 3, 0},	 {12, 3, 1}, {9, 0x80000003u, 0},
		{9, 0xfffffffdu, 0},
	};
	uint8_t payload[64] = {0};
	struct cursor c;

	begin(3);
	cursor_init(&c, payload, sizeof(payload));
	put_u32_be(&c, cases[_i].name_bytes);
	put_bytes(&c, "g/v", 3);
	put_u16_be(&c, cases[_i].infos);
	append_option(NBD_OPT_GO, payload, cases[_i].bytes);
	append_option(NBD_OPT_LIST, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_LIST);
	(void)expect_rep(NBD_OPT_GO, NBD_REP_ERR_INVALID, NULL);
	expect_nothing();
}
END_TEST

START_TEST(names_that_are_no_text_are_invalid)
{
	static const struct {
		const char *name;
		uint32_t bytes;
	} cases[] = {
		{"a\0b", 3},
		{"\xff", 1},
		{"\xc3", 1},
		{"\xc0\x80", 2},
		{"\x80", 1},
		{"\xed\xa0\x80", 3},
		{"\xe0\x80\x80", 3},
		{"\xf4\x90\x80\x80", 4},
		{"\xe2\x82", 2},
		{"\xf5\x80\x80\x80", 4},
		{"\xf0\x80\x80\x80", 4},
		{"\xc3(", 2},
	};

	begin(3);
	append_info(NBD_OPT_INFO, cases[_i].name, cases[_i].bytes, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	(void)expect_rep(NBD_OPT_INFO, NBD_REP_ERR_INVALID, NULL);
	expect_nothing();
}
END_TEST

START_TEST(names_in_utf8_are_looked_for)
{
	static const char *const names[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x9f",
					    "g/v?x=1"};

	begin(3);
	append_info(NBD_OPT_INFO, names[_i], (uint32_t)strlen(names[_i]), 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
}
END_TEST

START_TEST(name_longer_than_4096_is_too_big)
{
	char name[4097];

	memset(name, 'a', sizeof(name));
	begin(3);
	append_info(NBD_OPT_GO, name, sizeof(name), 0);
	append_info(NBD_OPT_GO, name, sizeof(name) - 1, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	(void)expect_rep(NBD_OPT_GO, NBD_REP_ERR_TOO_BIG, NULL);
	expect_nothing();
}
END_TEST

START_TEST(session_suffix_is_not_available)
{
	static const char name[] = "g/v?session=7f&slot=0&gen=2";

	begin(3);
	append_info(NBD_OPT_GO, name, sizeof(name) - 1, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	expect_message(NBD_OPT_GO, NBD_REP_ERR_UNSUP, "not available in this version");
}
END_TEST

START_TEST(refusals_say_why)
{
	static const struct {
		int rc;
		uint32_t type;
		const char *message, *text;
	} cases[] = {
		{-ERR_NOT_FOUND, NBD_REP_ERR_UNKNOWN, "", "no such export"},
		{-ERR_NOT_PRIMARY, NBD_REP_ERR_POLICY, "the primary is site west",
		 "the primary is site west"},
		{-ERR_SUSPENDED, NBD_REP_ERR_POLICY, "suspended", "suspended"},
		{-ERR_UNSUPPORTED, NBD_REP_ERR_UNSUP, "", "not available in this version"},
		{-ERR_NO_QUORUM, NBD_REP_ERR_POLICY, "", "no quorum"},
		{-ERR_NOMEM, NBD_REP_ERR_PLATFORM, NULL, "out of memory"},
	};

	begin(3);
	append_info(NBD_OPT_GO, "g/v", 3, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_FIND);
	ck_assert_int_eq(nbd_handshake_not_found(&t->h, cases[_i].rc, cases[_i].message, &t->put),
			 NBD_HANDSHAKE_AGAIN);
	expect_message(NBD_OPT_GO, cases[_i].type, cases[_i].text);
	append_option(NBD_OPT_LIST, NULL, 0); /* and haggling goes on */
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_LIST);
}
END_TEST

START_TEST(option_above_64k_is_drained_and_too_big)
{
	begin(3);
	append_option_header(99, NBD_OPTION_BYTES_MAX + 1);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	t->in_bytes += NBD_OPTION_BYTES_MAX;
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	expect_nothing();
	t->in_bytes += 1;
	append_option(NBD_OPT_LIST, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_LIST);
	(void)expect_rep(99, NBD_REP_ERR_TOO_BIG, NULL);
	expect_nothing();
}
END_TEST

START_TEST(option_of_exactly_64k_is_answered)
{
	begin(3);
	append_option_header(99, NBD_OPTION_BYTES_MAX);
	t->in_bytes += NBD_OPTION_BYTES_MAX;
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	(void)expect_rep(99, NBD_REP_ERR_UNSUP, NULL);
}
END_TEST

START_TEST(large_export_name_closes_and_large_abort_is_acknowledged)
{
	static const uint32_t options[] = {NBD_OPT_EXPORT_NAME, NBD_OPT_ABORT};

	begin(3);
	append_option_header(options[_i], 100000);
	t->in_bytes += 100000;
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
	if (options[_i] == NBD_OPT_ABORT)
		(void)expect_rep(NBD_OPT_ABORT, NBD_REP_ACK, NULL);
	expect_nothing();
}
END_TEST

START_TEST(option_above_1m_closes)
{
	static const uint32_t lengths[] = {NBD_OPTION_DRAIN_BYTES_MAX + 1, 0x80000000u, UINT32_MAX};

	begin(3);
	append_option_header(NBD_OPT_GO, lengths[_i]);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
	expect_nothing();
}
END_TEST

START_TEST(too_many_options_close)
{
	begin(3);
	for (uint32_t i = 0; i < NBD_OPTIONS_MAX; i++)
		append_option(NBD_OPT_STARTTLS, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_MORE);
	append_option(NBD_OPT_STARTTLS, NULL, 0);
	ck_assert_int_eq(answer(), NBD_HANDSHAKE_CLOSE);
}
END_TEST

START_TEST(flags_of_a_read_only_export_offer_no_changes)
{
	ck_assert_uint_eq(nbd_export_flags(&t->info),
			  NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
				  NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
				  NBD_FLAG_CAN_MULTI_CONN);
	t->info.read_only = true;
	ck_assert_uint_eq(nbd_export_flags(&t->info),
			  NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FLUSH |
				  NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nbd-handshake");
	TCase *tc = tcase_create("handshake");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, greeting_is_fixed_newstyle_with_no_zeroes);
	tcase_add_test(tc, client_flags_not_offered_close);
	tcase_add_test(tc, client_flags_without_fixed_newstyle_are_honoured);
	tcase_add_test(tc, bytes_may_come_one_at_a_time);
	tcase_add_test(tc, bad_option_magic_closes);
	tcase_add_test(tc, export_name_answers_size_flags_and_padding);
	tcase_add_test(tc, export_name_without_zeroes_is_ten_bytes);
	tcase_add_test(tc, export_name_that_fails_closes_without_a_word);
	tcase_add_loop_test(tc, export_name_hostile_payloads_close, 0, 2);
	tcase_add_test(tc, export_name_longer_than_a_string_closes);
	tcase_add_test(tc, abort_is_acknowledged_whatever_its_data);
	tcase_add_test(tc, list_gives_every_entry_and_ack);
	tcase_add_test(tc, list_with_data_is_invalid_and_haggling_goes_on);
	tcase_add_loop_test(tc, options_of_later_versions_are_refused_politely, 0, 5);
	tcase_add_loop_test(tc, unknown_options_are_consumed_and_unsupported, 0, 5);
	tcase_add_test(tc, info_then_go_give_the_same_answers);
	tcase_add_test(tc, info_without_requests_still_gives_the_export);
	tcase_add_test(tc, info_that_is_repeated_is_answered_once);
	tcase_add_test(tc, info_with_the_longest_name_fits_its_room);
	tcase_add_loop_test(tc, info_with_lengths_that_disagree_is_invalid, 0, 13);
	tcase_add_loop_test(tc, names_that_are_no_text_are_invalid, 0, 12);
	tcase_add_loop_test(tc, names_in_utf8_are_looked_for, 0, 4);
	tcase_add_test(tc, name_longer_than_4096_is_too_big);
	tcase_add_test(tc, session_suffix_is_not_available);
	tcase_add_loop_test(tc, refusals_say_why, 0, 6);
	tcase_add_test(tc, option_above_64k_is_drained_and_too_big);
	tcase_add_test(tc, option_of_exactly_64k_is_answered);
	tcase_add_loop_test(tc, large_export_name_closes_and_large_abort_is_acknowledged, 0, 2);
	tcase_add_loop_test(tc, option_above_1m_closes, 0, 3);
	tcase_add_test(tc, too_many_options_close);
	tcase_add_test(tc, flags_of_a_read_only_export_offer_no_changes);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
