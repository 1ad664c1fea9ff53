/* SPDX-License-Identifier: Apache-2.0 */
/* What a fake conductor says, as the JSON document and the table that users see. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/frame.h"
#include "engine/admin/status.h"
#include "tests/unit/admin/fake_rooms.h"
#include "tools/ctl/json.h"
#include "tools/ctl/show.h"

static struct fake_rooms rooms;
static struct admin_server server;

static void setup(void)
{
	fake_rooms_init(&rooms);
	memset(&server, 0, sizeof(server));
	server.o = (struct admin_server_opts){.site = "east",
					      .version = "1.2.3",
					      .store_path = "/s",
					      .program = "t",
					      .conductor = &rooms.conductor,
					      .store = &rooms.store,
					      .authority = &rooms.authority};
}

/* The text that `show` makes of the whole status; free it. */
static char *shown(void (*show)(FILE *out, const struct snapshot *s))
{
	char last[NAME_BYTES_MAX + 1] = "";
	const Adm__Group *groups[FAKE_GROUPS_MAX];
	struct snapshot snapshot = {.groups = groups};
	Adm__StatusReply *part;
	struct arena arena;
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	arena_init(&arena, 64u << 20);
	do {
		char from[NAME_BYTES_MAX + 1];

		memcpy(from, last, sizeof(from));
		part = status_part(&arena, &server, "", from, last);
		ck_assert_ptr_nonnull(part);
		if (part->first)
			snapshot.head = part;
		for (size_t i = 0; i < part->n_groups; i++)
			groups[snapshot.group_count++] = part->groups[i];
	} while (!part->last);
	show(out, &snapshot);
	fclose(out);
	arena_fini(&arena);
	return text;
}

static void has(const char *text, const char *piece)
{
	ck_assert_msg(strstr(text, piece) != NULL, "no %s in %s", piece, text);
}

START_TEST(status_json_has_the_fields_of_the_contract)
{
	static const char *const fields[] = {
		"{\"site\": \"east\", \"version\": \"1.2.3\", \"store\": {\"path\": \"/s\", \"size\": 1073741824, \"used\": 4096, \"state\": \"ok\"",
		"\"quorum\": {\"state\": \"ok\", \"leader\": \"west\", \"members\": [{\"name\": \"east\", \"reachable\": true",
		"\"groups\": [{\"name\": \"pg\", \"role\": \"primary\", \"state\": \"in-sync\", \"guarantee\": \"an ack",
		"\"primary\": \"east\", \"epoch\": 3, \"cfg\": 0, \"in_sync\": [\"east\", \"west\"], \"ack_set\": [\"east\", \"west\"]",
		"\"head_lsn\": 0, \"commit_lsn\": 0, \"fold_lsn\": 0, \"stable_lsn\": 0, \"content_generation\": 0, \"reason\": \"\"",
		"\"volumes\": [{\"name\": \"db\", \"size\": 1073741824, \"used\": 8192, \"clients\": 1",
		"\"peers\": [{\"site\": \"west\", \"mode\": \"sync\", \"state\": \"streaming\", \"durable_lsn\": 12288, \"lag_bytes\": 0, \"lag_seconds\": 0.000, \"resync\": {\"bytes_left\": 0, \"eta_seconds\": 0.000}",
		"\"last_verified\": null",
		"\"snapshots\": 0",
		"\"newest_recoverable\": {\"site\": \"east\", \"lsn\": 0, \"time\": null}"};
	struct group_status *g = fake_group_add(&rooms, "pg");
	char *text;

	g->peers[0].durable.v = 12288;
	rooms.conductor.volumes[0] = (struct volume_status){
		.name = "db", .bytes = 1 << 30, .used_bytes = 8192, .clients = 1};
	rooms.conductor.volume_count = 1;
	text = shown(show_status_json);
	for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
		has(text, fields[i]);
	free(text);
}
END_TEST

START_TEST(durable_lsn_is_null_while_a_base_is_incomplete)
{
	struct group_status *g = fake_group_add(&rooms, "pg");
	char *text;

	g->peers[0].durable_known = false;
	text = shown(show_status_json);
	has(text, "\"durable_lsn\": null");
	free(text);
}
END_TEST

START_TEST(status_comes_in_parts_that_hold_every_group_once)
{
	char name[8], *text, *at;
	uint32_t n = 0;

	for (uint32_t i = 0; i < 11; i++) {
		snprintf(name, sizeof(name), "g%02u", i);
		fake_group_add(&rooms, name);
	}
	text = shown(show_status_json);
	for (at = text; (at = strstr(at, "{\"name\": \"g")) != NULL; at++)
		n++;
	ck_assert_uint_eq(n, 11);
	free(text);
}
END_TEST

/* The largest part fits a frame: the bound of STATUS_GROUPS_PER_PART. */
START_TEST(part_with_all_volumes_fits_a_frame)
{
	char last[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
	Adm__StatusReply *part;
	struct arena arena;
	uint8_t *data;
	size_t bytes;

	memset(name, 'n', NAME_BYTES_MAX);
	name[NAME_BYTES_MAX] = '\0';
	for (uint32_t i = 0; i < STATUS_GROUPS_PER_PART; i++) {
		name[0] = (char)('a' + i);
		fake_group_add(&rooms, name);
	}
	for (uint32_t i = 0; i < VOLUMES_MAX; i++) {
		rooms.conductor.volumes[i] =
			(struct volume_status){.bytes = UINT64_MAX, .used_bytes = UINT64_MAX};
		memcpy(rooms.conductor.volumes[i].name, name, sizeof(name));
	}
	rooms.conductor.volume_count = VOLUMES_MAX;
	arena_init(&arena, FRAME_ARENA_BYTES);
	part = status_part(&arena, &server, "", "", last);
	ck_assert_ptr_nonnull(part);
	ck_assert_uint_eq(part->n_groups, STATUS_GROUPS_PER_PART);
	ck_assert_int_eq(frame_encode(&part->base, &data, &bytes), 0);
	free(data);
	arena_fini(&arena);
}
END_TEST

START_TEST(status_table_tells_trouble_in_a_second_line)
{
	struct group_status *g = fake_group_add(&rooms, "bad");
	char *text;

	fake_group_add(&rooms, "good");
	g->state = GROUP_DEGRADED;
	snprintf(g->reason, sizeof(g->reason), "west is not in the in-sync set");
	text = shown(show_status);
	has(text, "\n  ! west is not in the in-sync set\n");
	has(text, "\ngood   primary  in-sync ");
	has(text, "quorum ok, leader west\n");
	free(text);
}
END_TEST

START_TEST(explain_names_evidence_and_advice)
{
	struct group_status *g = fake_group_add(&rooms, "pg");
	Adm__ExplainReply *e;
	struct arena arena;

	for (uint32_t s = GROUP_STARTING; s <= GROUP_ASYNC; s++) {
		g->state = (enum group_state)s;
		arena_init(&arena, 1 << 20);
		e = explain_group(&arena, &server, g);
		ck_assert_ptr_nonnull(e);
		ck_assert_uint_ge(e->n_evidence, 5);
		ck_assert_uint_eq(e->n_advice, 1);
		arena_fini(&arena);
	}
}
END_TEST

START_TEST(json_strings_are_escaped_and_ascii)
{
	struct json j;
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	json_begin(&j, out);
	json_object(&j, NULL);
	json_text(
		&j, "a\"b",
		"q\" b\\ n\n t\t \x01 \x7f \xc3\xa9 \xf0\x9f\x98\x80 \xff \xc0\x80 \xed\xa0\x80 \xe2\x82");
	json_array(&j, "l");
	json_null(&j, NULL);
	json_bool(&j, NULL, true);
	json_number(&j, NULL, UINT64_MAX);
	json_real(&j, NULL, 1.0 / 0.0);
	json_close_array(&j);
	json_time(&j, "t", 1700000000123456789ull);
	json_close_object(&j);
	json_end(&j);
	fclose(out);
	ck_assert_str_eq(
		text,
		"{\"a\\\"b\": \"q\\\" b\\\\ n\\n t\\t \\u0001 \\u007f \\u00e9 \\ud83d\\ude00 ? ?? ??? ??\", "
		"\"l\": [null, true, 18446744073709551615, null], \"t\": \"2023-11-14T22:13:20.123Z\"}\n");
	free(text);
}
END_TEST

static char *loss_shown(const Adm__Loss *loss, bool as_json)
{
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);
	struct json j;

	ck_assert_ptr_nonnull(out);
	if (as_json) {
		json_begin(&j, out);
		json_object(&j, NULL);
		loss_json(&j, loss);
		json_close_object(&j);
		json_end(&j);
	} else {
		show_loss(out, loss);
	}
	fclose(out);
	return text;
}

START_TEST(a_loss_is_a_number_only_when_it_is_known)
{
	Adm__Loss loss = ADM__LOSS__INIT;
	char east[] = "east", *fence[] = {east}, *text;

	loss.at_least = 4096;
	loss.newest_lsn = 8192;
	loss.newer_at = east;
	loss.fence = fence;
	loss.n_fence = 1;
	text = loss_shown(&loss, true);
	ck_assert_ptr_nonnull(strstr(text, "\"bytes\": \"unknown\""));
	ck_assert_ptr_nonnull(strstr(text, "\"seconds\": \"unknown\""));
	ck_assert_ptr_nonnull(strstr(text, "\"newer_at\": \"east\""));
	free(text);
	text = loss_shown(&loss, false);
	ck_assert_ptr_nonnull(strstr(text, "unknown, at least 4096 bytes"));
	ck_assert_ptr_nonnull(strstr(text, "to be fenced   east"));
	free(text);
	loss.bytes_known = loss.seconds_known = true;
	loss.bytes = 4096;
	loss.seconds = 1.5;
	text = loss_shown(&loss, true);
	ck_assert_ptr_nonnull(strstr(text, "\"bytes\": 4096"));
	free(text);
	text = loss_shown(&loss, false);
	ck_assert_ptr_nonnull(strstr(text, "4096 bytes"));
	ck_assert_ptr_nonnull(strstr(text, "1.5 s of writes"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("admin-show");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, status_json_has_the_fields_of_the_contract);
	tcase_add_test(t, durable_lsn_is_null_while_a_base_is_incomplete);
	tcase_add_test(t, status_comes_in_parts_that_hold_every_group_once);
	tcase_add_test(t, part_with_all_volumes_fits_a_frame);
	tcase_add_test(t, status_table_tells_trouble_in_a_second_line);
	tcase_add_test(t, explain_names_evidence_and_advice);
	tcase_add_test(t, json_strings_are_escaped_and_ascii);
	tcase_add_test(t, a_loss_is_a_number_only_when_it_is_known);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
