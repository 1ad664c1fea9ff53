/* SPDX-License-Identifier: Apache-2.0 */
/* The authority of a site that is no member: what it takes, and what it refuses. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/authority.h"
#include "engine/quorum/fsm.h"
#include "tests/lib/fakes.h"

static struct vg_view view_of(uint8_t x, uint64_t epoch, uint64_t cfg)
{
	struct vg_view v = {
		.cfg = cfg,
		.epoch = epoch,
		.primary = 1,
		.primary_incarnation = 7,
		.content_generation = 1,
		.isr = 3,
		.site_count = 3,
		.site = {{.id = 1}, {.id = 2}, {.id = 19, .mode = VG_SITE_ASYNC}},
		.config = {.min_isr = 1},
	};

	memset(v.vg.b, x, sizeof(v.vg.b));
	snprintf(v.name, sizeof(v.name), "g%u", x);
	return v;
}

static int tell(struct authority *a, struct vg_view v)
{
	uint8_t data[FSM_VIEW_BYTES_MAX];

	return authority_tell(a, data, (uint32_t)fsm_view_encode(&v, data));
}

static void end(struct fake *f, struct authority *a)
{
	struct fake_wait w;

	authority_stop(a, fake_arm_env(f->env, &w));
	ck_assert_int_eq(fake_wait(f, &w), 0);
	authority_close(&a);
	fake_close(&f);
}

START_TEST(only_what_is_newer_is_taken)
{
	struct fake *f = fake_open(1, 0);
	struct authority *a;
	struct vg_view v = view_of(7, 3, 10);

	ck_assert_int_eq(authority_told_open(f->env, 19, &a), 0);
	ck_assert(authority_status(a)->told && authority_status(a)->ready);
	ck_assert(!authority_has_quorum(a));
	ck_assert_ptr_null(authority_view(a, &v.vg));
	ck_assert_int_eq(tell(a, v), 0);
	ck_assert_uint_eq(authority_view(a, &v.vg)->cfg, 10);
	ck_assert_uint_eq(authority_version(a), 1);
	ck_assert_int_eq(tell(a, v), -ERR_STALE);
	ck_assert_int_eq(tell(a, view_of(7, 2, 12)), -ERR_STALE);
	ck_assert_int_eq(tell(a, view_of(7, 4, 9)), -ERR_STALE);
	ck_assert_uint_eq(authority_version(a), 1);
	ck_assert_int_eq(tell(a, view_of(7, 4, 11)), 0);
	ck_assert_uint_eq(authority_view(a, &v.vg)->epoch, 4);
	ck_assert_str_eq(authority_view_by_name(a, "g7")->name, "g7");
	end(f, a);
}
END_TEST

START_TEST(a_group_goes_when_it_is_told_deleted)
{
	struct fake *f = fake_open(2, 0);
	struct authority *a;
	struct vg_view v = view_of(7, 3, 10);

	ck_assert_int_eq(authority_told_open(f->env, 19, &a), 0);
	ck_assert_int_eq(tell(a, v), 0);
	ck_assert(!authority_was_deleted(a, &v.vg));
	v.flags = VG_FLAG_DELETED;
	ck_assert_int_eq(tell(a, v), 0);
	ck_assert_ptr_null(authority_view(a, &v.vg));
	ck_assert_uint_eq(authority_view_count(a), 0);
	end(f, a);
}
END_TEST

START_TEST(nothing_is_proposed_from_a_site_that_is_no_member)
{
	struct fake *f = fake_open(3, 0);
	struct authority *a;
	struct vg_cmd c = {.kind = VG_TOUCH};

	ck_assert_int_eq(authority_told_open(f->env, 19, &a), 0);
	ck_assert_int_eq(authority_propose(a, &c, 1), -ERR_REFUSED);
	end(f, a);
}
END_TEST

START_TEST(a_told_view_is_wholly_checked)
{
	uint8_t data[FSM_VIEW_BYTES_MAX];
	struct vg_view v = view_of(7, 3, 10), back;
	int bytes = fsm_view_encode(&v, data);

	ck_assert_int_eq(fsm_view_decode(data, (uint32_t)bytes, &back), 0);
	ck_assert_uint_eq(back.site[2].id, 19);
	ck_assert_uint_eq(back.site[2].mode, VG_SITE_ASYNC);
	for (int n = 0; n < bytes; n++)
		ck_assert_int_eq(fsm_view_decode(data, (uint32_t)n, &back), -ERR_CORRUPT);
	data[4]++;
	ck_assert_int_eq(fsm_view_decode(data, (uint32_t)bytes, &back), -ERR_VERSION);
	v.site[2].id = 32;
	bytes = fsm_view_encode(&v, data);
	ck_assert_int_eq(fsm_view_decode(data, (uint32_t)bytes, &back), -ERR_CORRUPT);
	v.site[2].id = 1;
	bytes = fsm_view_encode(&v, data);
	ck_assert_int_eq(fsm_view_decode(data, (uint32_t)bytes, &back), -ERR_CORRUPT);
	v = view_of(7, 3, 10);
	v.isr = 7; /* an async site is never in it */
	bytes = fsm_view_encode(&v, data);
	ck_assert_int_eq(fsm_view_decode(data, (uint32_t)bytes, &back), -ERR_CORRUPT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quorum-told");
	TCase *t = tcase_create("told");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, only_what_is_newer_is_taken);
	tcase_add_test(t, a_group_goes_when_it_is_told_deleted);
	tcase_add_test(t, nothing_is_proposed_from_a_site_that_is_no_member);
	tcase_add_test(t, a_told_view_is_wholly_checked);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
