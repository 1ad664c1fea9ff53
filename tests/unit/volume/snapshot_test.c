/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about snapshots, rollbacks and clones at one site, with the real store. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/snapshot.h"
#include "tests/unit/volume/volume_bench.h"

#define STORE_BYTES (128ull << 20)
#define VOLUME_BYTES (4ull << 20)
#define PART 65536u

static uint8_t bytes_now[PART], bytes_read[PART];

static int ask(struct vb *b, enum request_kind kind, const char *name, struct conductor_request *r)
{
	const char *at = strchr(name, '@');

	memset(&r->snapshot, 0, sizeof(r->snapshot));
	r->kind = kind;
	snprintf(r->snapshot.group, sizeof(r->snapshot.group), "%.*s",
		 at != NULL ? (int)(at - name) : (int)strlen(name), name);
	snprintf(r->snapshot.name, sizeof(r->snapshot.name), "%s", at != NULL ? at + 1 : "");
	return vb_request(b, r);
}

static int request(struct vb *b, enum request_kind kind, const char *name)
{
	struct conductor_request r = {0};

	return ask(b, kind, name, &r);
}

static int clone_to(struct vb *b, const char *name, const char *group, struct conductor_request *r)
{
	snprintf(r->group.name, sizeof(r->group.name), "%s", group);
	return ask(b, REQUEST_CLONE, name, r);
}

static void write_all(struct vb *b, const char *volume, uint8_t value)
{
	struct vb_client c;

	memset(bytes_now, value, sizeof(bytes_now));
	ck_assert_int_eq(vb_attach(b, volume, &c), 0);
	for (uint64_t off = 0; off < VOLUME_BYTES; off += PART)
		ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, off, PART, bytes_now), 0);
	vb_detach(&c);
	fake_run_for(b->f, MS_NS);
}

static void check_all(struct vb *b, const char *volume, uint8_t value)
{
	struct vb_client c;

	memset(bytes_now, value, sizeof(bytes_now));
	ck_assert_int_eq(vb_attach(b, volume, &c), 0);
	for (uint64_t off = 0; off < VOLUME_BYTES; off += PART) {
		ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, off, PART, bytes_read), 0);
		ck_assert_mem_eq(bytes_read, bytes_now, PART);
	}
	vb_detach(&c);
	fake_run_for(b->f, MS_NS);
}

static uint32_t listed(struct vb *b)
{
	return replica_snapshots(conductor_replica(b->c, "g"), NULL, 0);
}

START_TEST(a_snapshot_holds_what_was_answered_before_and_nothing_after)
{
	struct vb *b = vb_open(30, STORE_BYTES);
	struct volume_info info;
	struct vb_client c;

	vb_make(b, VOLUME_BYTES);
	write_all(b, "g/v", 1);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	write_all(b, "g/v", 2);
	check_all(b, "g/v@one", 1);
	check_all(b, "g/v", 2);
	ck_assert_int_eq(vb_attach(b, "g/v@one", &c), 0);
	volume_info(c.client.volume, &info);
	ck_assert(info.read_only);
	ck_assert_str_eq(info.name, "g/v@one");
	ck_assert_int_eq(vb_io(b, &c, VOLUME_WRITE, 0, 512, bytes_now), -ERR_READONLY);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_TRIM, 0, 4096, NULL), -ERR_READONLY);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_ZERO, 0, 4096, NULL), -ERR_READONLY);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_FLUSH, 0, 0, NULL), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, VOLUME_BYTES, 512, bytes_read), -ERR_RANGE);
	vb_detach(&c);
	ck_assert_int_eq(vb_attach(b, "g/v@two", &c), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_attach(b, "g/w@one", &c), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_attach(b, "h/v@one", &c), -ERR_NOT_FOUND);
	ck_assert_int_eq(vb_attach(b, "g/v@", &c), -ERR_NOT_FOUND);
	vb_crash(b);
	vb_boot(b);
	check_all(b, "g/v@one", 1);
	check_all(b, "g/v", 2);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(names_of_snapshots_are_unique_and_made_of_the_time)
{
	struct vb *b = vb_open(31, STORE_BYTES);
	struct conductor_request r = {0};
	char first[NAME_BYTES_MAX + 1];

	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), -ERR_NOT_FOUND);
	vb_make(b, VOLUME_BYTES);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), -ERR_EXISTS);
	ck_assert_int_eq(ask(b, REQUEST_SNAPSHOT_CREATE, "g", &r), 0);
	memcpy(first, r.snapshot.name, sizeof(first));
	ck_assert_int_eq(strncmp(first, "snap-", 5), 0);
	ck_assert_uint_eq(strlen(first), strlen("snap-20261127T053900Z"));
	ck_assert_int_eq(ask(b, REQUEST_SNAPSHOT_CREATE, "g", &r), 0);
	ck_assert_str_ne(first, r.snapshot.name);
	ck_assert_uint_eq(listed(b), 3);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_DELETE, "g@two"), -ERR_NOT_FOUND);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_DELETE, "g@one"), 0);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* All at once: each waits for fold, none is lost. */
START_TEST(many_requests_for_snapshots_are_all_answered)
{
	struct vb *b = vb_open(32, STORE_BYTES);
	static struct conductor_request r[40];
	static struct fake_wait w[40];

	vb_make(b, VOLUME_BYTES);
	memset(r, 0, sizeof(r));
	for (uint32_t i = 0; i < ARRAY_COUNT(r); i++) {
		r[i].kind = REQUEST_SNAPSHOT_CREATE;
		r[i].deadline_ms = 60000;
		snprintf(r[i].snapshot.group, sizeof(r[i].snapshot.group), "g");
		fake_arm_on(b->f->env, &w[i], &r[i].done);
		conductor_submit(b->c, &r[i]);
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(r); i++)
		ck_assert_int_eq(fake_wait(b->f, &w[i]), 0);
	ck_assert_uint_eq(listed(b), ARRAY_COUNT(r));
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_snapshot_that_is_read_or_cloned_is_not_deleted)
{
	struct vb *b = vb_open(33, STORE_BYTES);
	struct conductor_request r = {0};
	struct vb_client c;

	vb_make(b, VOLUME_BYTES);
	write_all(b, "g/v", 1);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(vb_attach(b, "g/v@one", &c), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, 0, 512, bytes_read), 0);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_DELETE, "g@one"), -ERR_IN_USE);
	vb_detach(&c);
	fake_run_for(b->f, MS_NS);
	ck_assert_int_eq(clone_to(b, "g@one", "h", &r), 0);
	ck_assert_int_eq(ask(b, REQUEST_SNAPSHOT_DELETE, "g@one", &r), -ERR_IN_USE);
	ck_assert_ptr_nonnull(strstr(r.text, "the base of h:"));
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_DELETE, "h", true), 0);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_DELETE, "g@one"), 0);
	check_all(b, "g/v", 1);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_clone_begins_as_the_snapshot_and_goes_its_own_way)
{
	struct vb *b = vb_open(34, STORE_BYTES);
	struct conductor_request r = {0};

	vb_make(b, VOLUME_BYTES);
	write_all(b, "g/v", 1);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	write_all(b, "g/v", 2);
	ck_assert_int_eq(clone_to(b, "g@two", "h", &r), -ERR_NOT_FOUND);
	ck_assert_int_eq(clone_to(b, "g@one", "g", &r), -ERR_EXISTS);
	ck_assert_int_eq(clone_to(b, "g@one", "h", &r), 0);
	check_all(b, "h/v", 1);
	write_all(b, "h/v", 3);
	check_all(b, "g/v", 2);
	check_all(b, "g/v@one", 1);
	ck_assert_int_eq(clone_to(b, "g@one", "h", &r), 0); /* it is there */
	check_all(b, "h/v", 3);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@two"), 0);
	ck_assert_int_eq(clone_to(b, "g@two", "h", &r), -ERR_EXISTS);
	vb_crash(b);
	vb_boot(b);
	check_all(b, "h/v", 3);
	check_all(b, "g/v@one", 1);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

/* A clone that was interrupted between its group and its record leaves an empty group. */
START_TEST(a_clone_into_an_empty_group_fills_it)
{
	struct vb *b = vb_open(35, STORE_BYTES);
	struct conductor_request r = {0};

	vb_make(b, VOLUME_BYTES);
	write_all(b, "g/v", 1);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_CREATE, "h", false), 0);
	ck_assert_int_eq(clone_to(b, "g@one", "h", &r), 0);
	check_all(b, "h/v", 1);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(a_rollback_waits_for_no_client_and_keeps_what_it_replaces)
{
	struct vb *b = vb_open(36, STORE_BYTES);
	struct conductor_request r = {0};
	struct group_status before, after;
	char kept[2 * NAME_BYTES_MAX];
	struct vb_client c;
	struct fake_wait w;

	vb_make(b, VOLUME_BYTES);
	write_all(b, "g/v", 1);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/later", VOLUME_BYTES, 4096), 0);
	write_all(b, "g/v", 2);
	ck_assert(conductor_group_status(b->c, 0, &before));
	ck_assert_int_eq(vb_attach(b, "g/v", &c), 0);
	ck_assert_int_eq(ask(b, REQUEST_ROLLBACK, "g@one", &r), -ERR_IN_USE);
	ck_assert_ptr_nonnull(strstr(r.text, "v (1)"));
	ck_assert(!vb_revoked(&c));
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_ROLLBACK;
	r.force = true;
	snprintf(r.snapshot.group, sizeof(r.snapshot.group), "g");
	snprintf(r.snapshot.name, sizeof(r.snapshot.name), "one");
	fake_arm_on(b->f->env, &w, &r.done);
	conductor_submit(b->c, &r);
	fake_run_for(b->f, SEC_NS);
	ck_assert(vb_revoked(&c) && !fake_fired(&w));
	vb_detach(&c);
	ck_assert_int_eq(vb_attach(b, "g/v", &c), -ERR_SUSPENDED);
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	ck_assert_int_eq(strncmp(r.snapshot.name, "before-rollback-", 16), 0);
	check_all(b, "g/v", 1);
	ck_assert_int_eq(vb_attach(b, "g/later", &c), -ERR_NOT_FOUND);
	snprintf(kept, sizeof(kept), "g/v@%s", r.snapshot.name);
	check_all(b, kept, 2);
	ck_assert(conductor_group_status(b->c, 0, &after));
	ck_assert_uint_gt(after.content_generation, before.content_generation);
	ck_assert_uint_eq(after.snapshot_count, 2);
	vb_crash(b);
	vb_boot(b);
	check_all(b, "g/v", 1);
	check_all(b, kept, 2);
	ck_assert(conductor_group_status(b->c, 0, &before));
	ck_assert_uint_eq(before.content_generation, after.content_generation);
	snprintf(kept, sizeof(kept), "g@%s", r.snapshot.name);
	ck_assert_int_eq(request(b, REQUEST_ROLLBACK, kept), 0); /* and back */
	check_all(b, "g/v", 2);
	ck_assert_int_eq(vb_attach(b, "g/later", &c), 0);
	vb_detach(&c);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(exports_of_snapshots_are_listed_after_volumes_the_newest_first)
{
	struct vb *b = vb_open(37, STORE_BYTES);
	static const char *const names[] = {"g/v", "g/w", "g/v@two", "g/w@two", "g/v@one"};
	struct volume_info info;

	vb_make(b, VOLUME_BYTES);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/w", VOLUME_BYTES, 4096), 0);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@two"), 0);
	for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
		ck_assert(volume_list(b->c, i, &info));
		ck_assert_str_eq(info.name, names[i]);
		ck_assert_int_eq(info.read_only, i >= 2);
	}
	ck_assert(!volume_list(b->c, ARRAY_COUNT(names), &info));
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(stopping_closes_the_readers_of_snapshots_and_waits_for_them)
{
	struct vb *b = vb_open(38, STORE_BYTES);
	struct vb_client c;
	struct fake_wait w;

	vb_make(b, VOLUME_BYTES);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(vb_attach(b, "g/v@one", &c), 0);
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, 0, 512, bytes_read), 0);
	vb_stop(b);
	fake_run_for(b->f, SEC_NS);
	ck_assert(vb_revoked(&c) && !fake_fired(&b->stop));
	ck_assert_int_eq(vb_io(b, &c, VOLUME_READ, 0, 512, bytes_read), -ERR_CLOSED);
	vb_detach(&c);
	ck_assert_int_eq(fake_wait(b->f, &b->stop), 0);
	ck_assert_int_eq(vb_attach(b, "g/v@one", &c), -ERR_SUSPENDED);
	conductor_close(&b->c);
	authority_stop(b->authority, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	store_close(&b->store, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	authority_close(&b->authority);
	vb_close(&b);
}
END_TEST

START_TEST(a_group_with_snapshots_goes_only_by_force_and_closes_their_readers)
{
	struct vb *b = vb_open(39, STORE_BYTES);
	struct conductor_request r = {
		.kind = REQUEST_GROUP_DELETE, .force = true, .group = {.name = "g"}};
	struct vb_client c;
	struct fake_wait w;

	vb_make(b, VOLUME_BYTES);
	ck_assert_int_eq(request(b, REQUEST_SNAPSHOT_CREATE, "g@one"), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_DELETE, "g/v", 0, 0), 0);
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_DELETE, "g", false), -ERR_IN_USE);
	ck_assert_int_eq(vb_attach(b, "g/v@one", &c), 0);
	fake_arm_on(b->f->env, &w, &r.done);
	conductor_submit(b->c, &r);
	fake_run_for(b->f, SEC_NS);
	ck_assert(vb_revoked(&c) && !fake_fired(&w));
	vb_detach(&c);
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

static int history(struct vb *b, uint64_t bytes)
{
	struct conductor_request r = {.kind = REQUEST_GROUP_SET, .set_history = true};

	snprintf(r.group.name, sizeof(r.group.name), "g");
	r.group.history_bytes = bytes;
	return vb_request(b, &r);
}

static struct replica_status now(struct vb *b)
{
	struct replica_status st;

	replica_status(conductor_replica(b->c, "g"), &st);
	return st;
}

static int ask_at(struct vb *b, const char *name, struct conductor_request *r, enum snapshot_at at,
		  uint64_t value)
{
	r->kind = REQUEST_SNAPSHOT_CREATE;
	memset(&r->snapshot, 0, sizeof(r->snapshot));
	snprintf(r->snapshot.group, sizeof(r->snapshot.group), "g");
	snprintf(r->snapshot.name, sizeof(r->snapshot.name), "%s", name);
	r->snapshot.at = at;
	r->snapshot.at_lsn.v = r->snapshot.at_time.v = r->snapshot.at_age_ns = value;
	return vb_request(b, r);
}

START_TEST(an_earlier_moment_comes_back_by_lsn_time_and_age)
{
	struct vb *b = vb_open(45, STORE_BYTES);
	struct conductor_request r = {0};
	uint64_t lsn, wall, clock;

	vb_make(b, VOLUME_BYTES);
	ck_assert_int_eq(history(b, 100 << 20), 0);
	fake_run_for(b->f, 2 * SEC_NS);
	write_all(b, "g/v", 1);
	lsn = now(b).commit.v;
	wall = clock_wall(b->f->env->clock).v;
	clock = clock_now(b->f->env->clock).v;
	fake_run_for(b->f, SEC_NS);
	write_all(b, "g/v", 2);
	fake_run_for(b->f, SEC_NS);
	write_all(b, "g/v", 3);
	ck_assert_int_eq(ask_at(b, "lsn", &r, SNAPSHOT_AT_LSN, lsn), 0);
	ck_assert_uint_eq(r.snapshot.lsn.v, lsn);
	ck_assert_int_eq(ask_at(b, "odd", &r, SNAPSHOT_AT_LSN, lsn + 1), 0);
	ck_assert_uint_eq(r.snapshot.lsn.v, lsn);
	ck_assert_int_eq(ask_at(b, "time", &r, SNAPSHOT_AT_TIME, wall), 0);
	ck_assert_uint_eq(r.snapshot.lsn.v, lsn);
	ck_assert_int_eq(
		ask_at(b, "age", &r, SNAPSHOT_AT_AGE, clock_now(b->f->env->clock).v - clock), 0);
	ck_assert_int_eq(ask_at(b, "", &r, SNAPSHOT_AT_TIME, wall), 0);
	ck_assert_int_eq(strncmp(r.snapshot.name, "at-", 3), 0);
	check_all(b, "g/v@lsn", 1);
	check_all(b, "g/v@time", 1);
	check_all(b, "g/v@age", 1);
	check_all(b, "g/v", 3);
	ck_assert_int_eq(request(b, REQUEST_ROLLBACK, "g@time"), 0);
	check_all(b, "g/v", 1);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

START_TEST(what_cannot_be_gone_back_to_is_refused_and_says_what_can)
{
	struct vb *b = vb_open(46, STORE_BYTES);
	struct conductor_request r = {0};

	vb_make(b, VOLUME_BYTES);
	write_all(b, "g/v", 1);
	ck_assert_int_eq(ask_at(b, "x", &r, SNAPSHOT_AT_LSN, 4096), -ERR_TRIMMED);
	ck_assert_ptr_ne(strstr(r.text, "keeps no history"), NULL);
	ck_assert_int_eq(history(b, 100 << 20), 0);
	fake_run_for(b->f, 2 * SEC_NS);
	write_all(b, "g/v", 2);
	ck_assert_int_eq(ask_at(b, "x", &r, SNAPSHOT_AT_LSN, 4096), -ERR_TRIMMED);
	ck_assert_ptr_ne(strstr(r.text, "the earliest moment is "), NULL);
	ck_assert_ptr_ne(strstr(r.text, "--history"), NULL);
	ck_assert_int_eq(ask_at(b, "x", &r, SNAPSHOT_AT_AGE, UINT64_MAX), -ERR_TRIMMED);
	ck_assert_int_eq(ask_at(b, "x", &r, SNAPSHOT_AT_LSN, now(b).tail.v + 4096), -ERR_RANGE);
	ck_assert_int_eq(
		ask_at(b, "x", &r, SNAPSHOT_AT_TIME, clock_wall(b->f->env->clock).v + SEC_NS),
		-ERR_INVALID);
	ck_assert_uint_eq(listed(b), 0);
	ck_assert_int_eq(ask_at(b, "now", &r, SNAPSHOT_AT_AGE, 0), 0); /* is as good as of now */
	check_all(b, "g/v@now", 2);
	vb_shut(b);
	vb_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("volume-snapshot");
	TCase *t = tcase_create("site");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_snapshot_holds_what_was_answered_before_and_nothing_after);
	tcase_add_test(t, names_of_snapshots_are_unique_and_made_of_the_time);
	tcase_add_test(t, many_requests_for_snapshots_are_all_answered);
	tcase_add_test(t, a_snapshot_that_is_read_or_cloned_is_not_deleted);
	tcase_add_test(t, a_clone_begins_as_the_snapshot_and_goes_its_own_way);
	tcase_add_test(t, a_clone_into_an_empty_group_fills_it);
	tcase_add_test(t, a_rollback_waits_for_no_client_and_keeps_what_it_replaces);
	tcase_add_test(t, exports_of_snapshots_are_listed_after_volumes_the_newest_first);
	tcase_add_test(t, stopping_closes_the_readers_of_snapshots_and_waits_for_them);
	tcase_add_test(t, a_group_with_snapshots_goes_only_by_force_and_closes_their_readers);
	tcase_add_test(t, an_earlier_moment_comes_back_by_lsn_time_and_age);
	tcase_add_test(t, what_cannot_be_gone_back_to_is_refused_and_says_what_can);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
