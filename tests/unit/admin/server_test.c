/* SPDX-License-Identifier: Apache-2.0 */
/* The whole server over a simulated network, with rooms that are plain data. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/admin_server.h"
#include "engine/admin/frame.h"
#include "engine/base/err.h"
#include "tests/lib/fakes.h"
#include "tests/unit/admin/fake_rooms.h"
#include "tests/unit/nbd/raw_client.h"

#define ADMIN "tcp:fake:1000"
#define WEB "tcp:fake:1001"

static struct fake_rooms rooms;
static struct fake *fake;
static struct env *client_env;
static struct admin_server *server;
static struct arena arena;

static void setup(void)
{
	struct admin_server_opts o = {.admin_address = ADMIN,
				      .metrics_address = WEB,
				      .program = "twinshored",
				      .version = "0.1.0",
				      .site = "east",
				      .store_path = "/s",
				      .conductor = &rooms.conductor,
				      .store = &rooms.store,
				      .authority = &rooms.authority};
	const char *which;

	fake_rooms_init(&rooms);
	fake_group_add(&rooms, "pg");
	fake = fake_open(1, 0);
	client_env = fake_node_new(fake, "client");
	arena_init(&arena, 64u << 20);
	ck_assert_int_eq(admin_server_open(fake->env, &o, &server, &which), 0);
}

static void teardown(void)
{
	struct fake_wait wait;

	admin_server_stop(server, fake_arm(fake, &wait));
	ck_assert_int_eq(fake_wait(fake, &wait), 0);
	admin_server_close(&server);
	arena_fini(&arena);
	fake_close(&fake);
}

static void put(struct raw_client *c, const ProtobufCMessage *m)
{
	uint8_t *data;
	size_t bytes;

	ck_assert_int_eq(frame_encode(m, &data, &bytes), 0);
	ck_assert_int_eq(raw_send(c, data, (uint32_t)bytes), 0);
	free(data);
}

/* The next message, NULL: the connection has ended. */
static ProtobufCMessage *take(struct raw_client *c, const ProtobufCMessageDescriptor *type)
{
	uint8_t head[FRAME_HEAD_BYTES], *data;
	ProtobufCMessage *m;
	uint32_t bytes;

	if (raw_recv(c, head, sizeof(head)) != sizeof(head))
		return NULL;
	bytes = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16;
	data = malloc(bytes);
	ck_assert_uint_eq(raw_recv(c, data, bytes), bytes);
	ck_assert_int_eq(frame_decode(&arena, type, data, bytes, &m), 0);
	free(data);
	return m;
}

static Adm__Response *response(struct raw_client *c)
{
	return (Adm__Response *)(void *)take(c, &adm__response__descriptor);
}

static Adm__Hello *hello(struct raw_client *c, uint32_t min, uint32_t max)
{
	Adm__Hello m = ADM__HELLO__INIT;

	raw_connect(c, fake, client_env, ADMIN);
	m.version_min = min;
	m.version_max = max;
	put(c, &m.base);
	return (Adm__Hello *)(void *)take(c, &adm__hello__descriptor);
}

static void ask_ping(struct raw_client *c, uint32_t id)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__Ping ping = ADM__PING__INIT;

	r.id = id;
	r.command_case = ADM__REQUEST__COMMAND_PING;
	r.ping = &ping;
	put(c, &r.base);
}

static void ask_delete(struct raw_client *c, const char *name)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__GroupDelete m = ADM__GROUP_DELETE__INIT;
	char text[100];

	snprintf(text, sizeof(text), "%s", name);
	m.name = text;
	r.id = 9;
	r.timeout_ms = 5000;
	r.command_case = ADM__REQUEST__COMMAND_GROUP_DELETE;
	r.group_delete = &m;
	put(c, &r.base);
}

static void ask_events(struct raw_client *c, uint64_t since, bool follow)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__EventsRequest m = ADM__EVENTS_REQUEST__INIT;

	m.since = since;
	m.follow = follow;
	r.id = 4;
	r.command_case = ADM__REQUEST__COMMAND_EVENTS;
	r.events = &m;
	put(c, &r.base);
}

static void ask_status(struct raw_client *c, const char *group, bool watch)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__StatusRequest m = ADM__STATUS_REQUEST__INIT;
	char text[100];

	snprintf(text, sizeof(text), "%s", group);
	m.group = text;
	m.watch = watch;
	r.id = 5;
	r.command_case = ADM__REQUEST__COMMAND_STATUS;
	r.status = &m;
	put(c, &r.base);
}

START_TEST(hello_settles_a_version_and_requests_are_answered_in_order)
{
	struct raw_client c;
	Adm__Hello *h = hello(&c, 1, 7);

	ck_assert_ptr_null(h->refusal);
	ck_assert_str_eq(h->program, "twinshored 0.1.0");
	for (uint32_t i = 1; i <= 3; i++)
		ask_ping(&c, i); /* sent at once: answered one by one */
	for (uint32_t i = 1; i <= 3; i++) {
		Adm__Response *r = response(&c);

		ck_assert_uint_eq(r->id, i);
		ck_assert_int_eq(r->body_case, ADM__RESPONSE__BODY_DONE);
	}
	raw_close(&c);
}
END_TEST

START_TEST(hello_without_a_common_version_is_refused_in_words_and_closed)
{
	struct raw_client c;
	Adm__Hello *h = hello(&c, 2, 3);

	ck_assert_ptr_nonnull(h->refusal);
	ck_assert_str_eq(h->refusal->code, "version");
	ck_assert(raw_at_end(&c));
	raw_close(&c);
}
END_TEST

START_TEST(bytes_that_are_no_frame_end_the_connection)
{
	static const uint8_t bad[][8] = {
		{0xff, 0xff, 0xff, 0xff}, {0}, {2, 0, 0, 0, 0xff, 0xff}, {'G', 'E', 'T', ' '}};
	struct raw_client c;

	for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
		raw_connect(&c, fake, client_env, ADMIN);
		ck_assert_int_eq(raw_send(&c, bad[i], 8), 0);
		ck_assert(raw_at_end(&c));
		raw_close(&c);
		hello(&c, 1, 1);
		ck_assert_int_eq(raw_send(&c, bad[i], 8), 0);
		ck_assert(raw_at_end(&c));
		raw_close(&c);
	}
}
END_TEST

START_TEST(client_that_says_nothing_is_closed_after_its_deadline)
{
	struct raw_client c;
	uint64_t before = fake->world->now;

	raw_connect(&c, fake, client_env, ADMIN);
	ck_assert(raw_at_end(&c));
	ck_assert_uint_ge(fake->world->now - before, 10 * SEC_NS);
	ck_assert_uint_le(fake->world->now - before, 12 * SEC_NS);
	raw_close(&c);
}
END_TEST

START_TEST(command_of_a_newer_client_is_unsupported)
{
	static const uint8_t unknown[] = {6, 0,	   0,	 0, 8,
					  3, 0xc2, 0x3e, 1, 0}; /* id 3, field 1000 */
	struct raw_client c;
	Adm__Response *r;

	hello(&c, 1, 1);
	ck_assert_int_eq(raw_send(&c, unknown, sizeof(unknown)), 0);
	r = response(&c);
	ck_assert_ptr_nonnull(r);
	ck_assert_int_eq(r->body_case, ADM__RESPONSE__BODY_ERROR);
	ck_assert_str_eq(r->error->code, "unsupported");
	ck_assert_uint_eq(r->error->exit_code, 1);
	raw_close(&c);
}
END_TEST

START_TEST(change_is_answered_with_the_exit_code_of_its_error)
{
	static const struct {
		int rc;
		uint32_t exit_code;
		const char *code;
	} cases[] = {{-ERR_NOT_FOUND, 4, "not_found"},	   {-ERR_TIMEOUT, 5, "timeout"},
		     {-ERR_REFUSED, 3, "refused"},	   {-ERR_EXISTS, 1, "exists"},
		     {-ERR_NOT_PRIMARY, 1, "not_primary"}, {-ERR_NO_QUORUM, 1, "no_quorum"}};
	struct raw_client c;
	Adm__Response *r;

	hello(&c, 1, 1);
	for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
		ask_delete(&c, "pg");
		fake_run_for(fake, SEC_NS);
		ck_assert_ptr_nonnull(rooms.conductor.request);
		ck_assert_int_eq(rooms.conductor.request->kind, REQUEST_GROUP_DELETE);
		ck_assert_uint_eq(rooms.conductor.request->deadline_ms, 5000);
		fake_request_answer(&rooms, cases[i].rc, "a sentence");
		r = response(&c);
		ck_assert_str_eq(r->error->code, cases[i].code);
		ck_assert_str_eq(r->error->message, "a sentence");
		ck_assert_uint_eq(r->error->exit_code, cases[i].exit_code);
	}
	ask_delete(&c, "no name!");
	r = response(&c);
	ck_assert_str_eq(r->error->code, "invalid");
	ck_assert_uint_eq(rooms.conductor.submitted, ARRAY_COUNT(cases));
	raw_close(&c);
}
END_TEST

/* The conductor holds the request: the session waits for it, whatever its client does. */
START_TEST(client_that_leaves_during_a_change_costs_nothing)
{
	struct raw_client c;

	hello(&c, 1, 1);
	ask_delete(&c, "pg");
	fake_run_for(fake, SEC_NS);
	net_shutdown(c.conn);
	raw_close(&c);
	fake_run_for(fake, 1000 * SEC_NS);
	ck_assert_ptr_nonnull(rooms.conductor.request);
	fake_request_answer(&rooms, 0, "");
	fake_run_for(fake, SEC_NS);
	hello(&c, 1, 1);
	raw_close(&c);
}
END_TEST

static void ask_snapshots(struct raw_client *c, const char *group)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__SnapshotList m = ADM__SNAPSHOT_LIST__INIT;
	char text[100];

	snprintf(text, sizeof(text), "%s", group);
	m.group = text;
	r.id = 6;
	r.command_case = ADM__REQUEST__COMMAND_SNAPSHOT_LIST;
	r.snapshot_list = &m;
	put(c, &r.base);
}

START_TEST(snapshots_are_listed_with_what_they_own)
{
	struct raw_client c;
	Adm__Response *r;

	fake_snapshot_add(&rooms, "one");
	fake_snapshot_add(&rooms, "two")->pinned = false;
	fake_snapshot_add(&rooms, "three")->flags = RECORD_SNAP_KEPT;
	hello(&c, 1, 1);
	ask_snapshots(&c, "pg");
	for (uint32_t i = 0; i < 3; i++) {
		r = response(&c);
		ck_assert_int_eq(r->body_case, ADM__RESPONSE__BODY_SNAPSHOTS);
		ck_assert(r->more);
		ck_assert_uint_eq(r->snapshots->n_snapshots, 1);
		ck_assert_str_eq(r->snapshots->snapshots[0]->name, rooms.replica.snapshots[i].name);
		ck_assert_int_eq(r->snapshots->snapshots[0]->owned_known, i != 1);
		ck_assert_uint_eq(r->snapshots->snapshots[0]->owned, i == 1 ? 0 : 100 * (i + 1));
		ck_assert_int_eq(r->snapshots->snapshots[0]->kept, i == 2);
	}
	r = response(&c);
	ck_assert(!r->more);
	ck_assert_uint_eq(r->snapshots->n_snapshots, 0);
	ask_snapshots(&c, "other");
	r = response(&c);
	ck_assert_int_eq(r->body_case, ADM__RESPONSE__BODY_ERROR);
	ck_assert_uint_eq(r->error->exit_code, 4);
	ck_assert_uint_eq(rooms.conductor.attached, 0);
	raw_close(&c);
}
END_TEST

static void ask_diff(struct raw_client *c, const char *from, const char *to)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__Diff m = ADM__DIFF__INIT;
	char a[100], b[100], group[] = "pg";

	snprintf(a, sizeof(a), "%s", from);
	snprintf(b, sizeof(b), "%s", to);
	m.group = group;
	m.from = a;
	m.to = b;
	r.id = 7;
	r.command_case = ADM__REQUEST__COMMAND_DIFF;
	r.diff = &m;
	put(c, &r.base);
}

START_TEST(a_difference_comes_in_parts_and_ends_with_the_volume)
{
	struct raw_client c;
	Adm__Response *r;

	fake_snapshot_add(&rooms, "one");
	fake_snapshot_add(&rooms, "two");
	hello(&c, 1, 1);
	ask_diff(&c, "one", "two");
	r = response(&c);
	ck_assert_int_eq(r->body_case, ADM__RESPONSE__BODY_DIFF);
	ck_assert(r->more);
	ck_assert_str_eq(r->diff->volume, "db");
	ck_assert_uint_eq(r->diff->n_runs, 1);
	ck_assert_uint_eq(r->diff->runs[0]->offset, 4096);
	ck_assert_uint_eq(r->diff->runs[0]->bytes, 8192);
	r = response(&c);
	ck_assert_uint_eq(r->diff->runs[0]->offset, 8 * 4096);
	ck_assert_uint_eq(r->diff->runs[0]->bytes, 512); /* the volume ends there */
	ck_assert_uint_eq(r->diff->runs[0]->kind, DELTA_ZERO);
	r = response(&c);
	ck_assert(!r->more);
	ck_assert_uint_eq(r->diff->n_runs, 0);
	ask_diff(&c, "one", "four");
	ck_assert_uint_eq(response(&c)->error->exit_code, 4);
	for (uint32_t i = 0; i < 2; i++)
		ck_assert_uint_eq(rooms.replica.snapshots[i].readers, 0);
	ck_assert_uint_eq(rooms.conductor.attached, 0);
	raw_close(&c);
}
END_TEST

START_TEST(a_client_that_leaves_in_a_difference_leaves_no_snapshot_open)
{
	struct raw_client c;

	fake_snapshot_add(&rooms, "one");
	fake_snapshot_add(&rooms, "two");
	hello(&c, 1, 1);
	ask_diff(&c, "one", "two");
	response(&c);
	raw_close(&c);
	fake_run_for(fake, SEC_NS);
	ck_assert_uint_eq(rooms.replica.snapshots[0].readers, 0);
	ck_assert_uint_eq(rooms.conductor.attached, 0);
}
END_TEST

static void ask_snapshot(struct raw_client *c, const char *name)
{
	Adm__Request r = ADM__REQUEST__INIT;
	Adm__SnapshotCreate m = ADM__SNAPSHOT_CREATE__INIT;
	char a[100], group[] = "pg";

	snprintf(a, sizeof(a), "%s", name);
	m.group = group;
	m.name = a;
	r.id = 8;
	r.command_case = ADM__REQUEST__COMMAND_SNAPSHOT_CREATE;
	r.snapshot_create = &m;
	put(c, &r.base);
}

START_TEST(a_snapshot_that_was_made_is_told_by_name)
{
	struct raw_client c;
	Adm__Response *r;

	hello(&c, 1, 1);
	ask_snapshot(&c, "no/name");
	ck_assert_str_eq(response(&c)->error->code, "invalid");
	ask_snapshot(&c, "");
	fake_run_for(fake, SEC_NS);
	ck_assert_int_eq(rooms.conductor.request->kind, REQUEST_SNAPSHOT_CREATE);
	ck_assert_str_eq(rooms.conductor.request->snapshot.group, "pg");
	snprintf(rooms.conductor.request->snapshot.name, 16, "snap-1");
	rooms.conductor.request->snapshot.lsn.v = 8192;
	fake_request_answer(&rooms, 0, "");
	r = response(&c);
	ck_assert_int_eq(r->body_case, ADM__RESPONSE__BODY_SNAPSHOT_MADE);
	ck_assert_str_eq(r->snapshot_made->name, "snap-1");
	ck_assert_uint_eq(r->snapshot_made->lsn, 8192);
	raw_close(&c);
}
END_TEST

START_TEST(followed_events_arrive_as_they_happen)
{
	struct raw_client c;
	Adm__Response *r;

	fake_event_add(&rooms, "one");
	fake_event_add(&rooms, "two");
	hello(&c, 1, 1);
	ask_events(&c, 1, true);
	r = response(&c);
	ck_assert(r->more);
	ck_assert_uint_eq(r->events->n_events, 1);
	ck_assert_str_eq(r->events->events[0]->group, "two");
	fake_run_for(fake, 1000 * SEC_NS); /* following has no deadline */
	fake_event_add(&rooms, "three");
	r = response(&c);
	ck_assert_uint_eq(r->events->events[0]->seq, 3);
	raw_close(&c);
	hello(&c, 1, 1);
	ask_events(&c, 0, false);
	r = response(&c);
	ck_assert(!r->more);
	ck_assert_uint_eq(r->events->n_events, 3);
	raw_close(&c);
}
END_TEST

START_TEST(watched_status_comes_each_second_and_at_events)
{
	struct raw_client c;
	uint64_t before;
	Adm__Response *r;

	hello(&c, 1, 1);
	ask_status(&c, "pg", true);
	r = response(&c);
	ck_assert(r->more && r->status->first && r->status->last);
	before = fake->world->now;
	r = response(&c);
	ck_assert(r->status->first);
	ck_assert_uint_ge(fake->world->now - before, SEC_NS / 2);
	before = fake->world->now;
	fake_event_add(&rooms, "pg");
	r = response(&c);
	ck_assert(r->status->first);
	ck_assert_uint_le(fake->world->now - before, SEC_NS / 2);
	raw_close(&c);
	hello(&c, 1, 1);
	ask_status(&c, "none", false);
	r = response(&c);
	ck_assert_str_eq(r->error->code, "not_found");
	raw_close(&c);
}
END_TEST

/* D1 */
START_TEST(more_clients_than_the_bound_wait_until_one_leaves)
{
	static struct raw_client c[ADMIN_SESSIONS_MAX + 1];
	Adm__Hello m = ADM__HELLO__INIT;

	for (uint32_t i = 0; i < ADMIN_SESSIONS_MAX; i++)
		ck_assert_ptr_nonnull(hello(&c[i], 1, 1));
	raw_connect(&c[ADMIN_SESSIONS_MAX], fake, client_env, ADMIN);
	m.version_min = m.version_max = 1;
	put(&c[ADMIN_SESSIONS_MAX], &m.base);
	fake_run_for(fake, SEC_NS);
	raw_close(&c[0]);
	ck_assert_ptr_nonnull(take(&c[ADMIN_SESSIONS_MAX], &adm__hello__descriptor));
	for (uint32_t i = 1; i <= ADMIN_SESSIONS_MAX; i++)
		raw_close(&c[i]);
}
END_TEST

static char page[1 << 16];

static const char *get(const char *request)
{
	struct raw_client c;
	uint32_t n;

	raw_connect(&c, fake, client_env, WEB);
	ck_assert_int_eq(raw_send(&c, request, (uint32_t)strlen(request)), 0);
	n = raw_recv(&c, page, sizeof(page) - 1);
	page[n] = '\0';
	raw_close(&c);
	return page;
}

static void has(const char *text, const char *piece)
{
	ck_assert_msg(strstr(text, piece) != NULL, "no %s in %s", piece, text);
}

START_TEST(web_answers_once_and_closes)
{
	has(get("GET /healthz HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
	has(page, "Connection: close\r\n\r\nok\n");
	has(get("GET /nothing HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 ");
	has(get("PUT /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), "HTTP/1.1 405 ");
	has(page, "\r\nAllow: GET, HEAD\r\n");
	has(get("bad\r\n\r\n"), "HTTP/1.1 400 ");
	has(get("HEAD /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
	ck_assert_ptr_null(strstr(page, "twinshore_"));
	rooms.store.status.failed = true;
	has(get("GET /healthz HTTP/1.1\r\n\r\n"), "HTTP/1.1 503 Service Unavailable\r\n");
	has(page, "the store has failed");
}
END_TEST

START_TEST(metrics_have_the_names_of_the_contract)
{
	static const char *const lines[] = {
		"\ntwinshore_io_seconds_bucket{group=\"pg\",volume=\"db\",op=\"write\",stage=\"total\",le=\"+Inf\"} 1\n",
		"\ntwinshore_io_seconds_bucket{group=\"pg\",volume=\"db\",op=\"write\",stage=\"total\",le=\"8.192e-06\"} 0\n",
		"\ntwinshore_io_seconds_count{group=\"pg\",volume=\"db\",op=\"write\",stage=\"total\"} 1\n",
		"\ntwinshore_io_seconds_sum{group=\"pg\",volume=\"db\",op=\"write\",stage=\"total\"} 0.001\n",
		"\ntwinshore_group_role{group=\"pg\",role=\"primary\"} 1\n",
		"\ntwinshore_group_state{group=\"pg\",state=\"in-sync\"} 1\n",
		"\ntwinshore_group_epoch{group=\"pg\"} 3\n",
		"\ntwinshore_peer_lag_bytes{group=\"pg\",site=\"west\"} 4096\n",
		"\ntwinshore_peer_lag_seconds{group=\"pg\",site=\"west\"} 1.5\n",
		"\ntwinshore_resync_bytes_left{group=\"pg\",site=\"west\"} 0\n",
		"\ntwinshore_journal_used_bytes 0\n",
		"\ntwinshore_store_used_bytes 4096\n",
		"\ntwinshore_checksum_errors_total{where=\"home\"} 0\n",
		"\ntwinshore_repairs_total 0\n",
		"\ntwinshore_failovers_total 2\n",
		"\ntwinshore_queue_full_total{queue=\"journal\"} 0\n",
		"\n# TYPE twinshore_io_seconds histogram\n",
		"\n# TYPE twinshore_io_bytes_total counter\n"};

	hist_record(&rooms.conductor.hist, MS_NS);
	rooms.conductor.groups[0].peers[0].lag_bytes = 4096;
	rooms.conductor.groups[0].peers[0].lag_seconds = 1.5;
	counter_add(fake->env->counters, CTR_FAILOVERS, 2);
	get("GET /metrics HTTP/1.1\r\n\r\n");
	for (uint32_t i = 0; i < ARRAY_COUNT(lines); i++)
		has(page, lines[i]);
}
END_TEST

START_TEST(crashed_server_leaves_no_memory)
{
	struct admin_server_opts o = {.metrics_address = "tcp:fake:1002",
				      .program = "twinshore-witness",
				      .version = "0.1.0",
				      .site = "w",
				      .member = &rooms.member};
	struct admin_server *witness;
	struct raw_client c;
	const char *which;

	ck_assert_int_eq(admin_server_open(fake->env, &o, &witness, &which), 0);
	raw_connect(&c, fake, client_env, "tcp:fake:1002");
	ck_assert_int_eq(raw_send(&c, "GET /heal", 9), 0);
	hello(&c, 1, 1);
	ask_delete(&c, "pg");
	fake_run_for(fake, SEC_NS);
	fake_crash(fake);
	admin_server_abandon(&witness);
	admin_server_abandon(&server);
	fake_boot(fake);
	fake_rooms_init(&rooms);
	o = (struct admin_server_opts){.metrics_address = WEB,
				       .program = "twinshore-witness",
				       .version = "0.1.0",
				       .site = "w",
				       .member = &rooms.member};
	ck_assert_int_eq(admin_server_open(fake->env, &o, &server, &which), 0);
	has(get("GET /healthz HTTP/1.1\r\n\r\n"), "\r\n\r\nok\n");
	has(get("GET /metrics HTTP/1.1\r\n\r\n"),
	    "twinshore_quorum_member_reachable{member=\"west\"} 1\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("admin-server");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, hello_settles_a_version_and_requests_are_answered_in_order);
	tcase_add_test(t, hello_without_a_common_version_is_refused_in_words_and_closed);
	tcase_add_test(t, bytes_that_are_no_frame_end_the_connection);
	tcase_add_test(t, client_that_says_nothing_is_closed_after_its_deadline);
	tcase_add_test(t, command_of_a_newer_client_is_unsupported);
	tcase_add_test(t, change_is_answered_with_the_exit_code_of_its_error);
	tcase_add_test(t, client_that_leaves_during_a_change_costs_nothing);
	tcase_add_test(t, snapshots_are_listed_with_what_they_own);
	tcase_add_test(t, a_difference_comes_in_parts_and_ends_with_the_volume);
	tcase_add_test(t, a_client_that_leaves_in_a_difference_leaves_no_snapshot_open);
	tcase_add_test(t, a_snapshot_that_was_made_is_told_by_name);
	tcase_add_test(t, followed_events_arrive_as_they_happen);
	tcase_add_test(t, watched_status_comes_each_second_and_at_events);
	tcase_add_test(t, more_clients_than_the_bound_wait_until_one_leaves);
	tcase_add_test(t, web_answers_once_and_closes);
	tcase_add_test(t, metrics_have_the_names_of_the_contract);
	tcase_add_test(t, crashed_server_leaves_no_memory);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
