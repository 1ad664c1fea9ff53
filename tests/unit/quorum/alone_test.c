/* SPDX-License-Identifier: Apache-2.0 */
/* The authority of a site alone, over crashes. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/authority.h"
#include "engine/quorum/member.h"
#include "tests/lib/fakes.h"

struct watcher {
	struct op op;
	uint32_t wakes;
};

static void watcher_step(struct op *op)
{
	container_of(op, struct watcher, op)->wakes++;
}

static struct authority *open_alone(struct fake *f)
{
	struct authority_alone_opts opts = {.site_name = "east", .format = true};
	struct authority *a;

	ck_assert_int_eq(authority_alone_open(f->env, f->disk, &opts, &a), 0);
	fake_run_for(f, SEC_NS);
	return a;
}

static struct vg_cmd create(uint8_t x)
{
	struct vg_cmd c = {.kind = VG_CREATE,
			   .site = 1,
			   .incarnation = 3,
			   .config = {.min_isr = 1},
			   .site_count = 1,
			   .sites = {{.id = 1}}};

	memset(c.vg.b, x, sizeof(c.vg.b));
	snprintf(c.name, sizeof(c.name), "g%u", x);
	return c;
}

START_TEST(what_was_seen_applied_survives_power_losses)
{
	struct fake *f = fake_open(9, MEMBER_FILE_BYTES);
	struct authority *a = open_alone(f);
	uint64_t cfg = 0;

	ck_assert(authority_status(a)->ready);
	ck_assert(authority_has_quorum(a));
	ck_assert_uint_eq(authority_status(a)->self, 1);
	for (uint32_t life = 0; life < 40; life++) {
		struct vg_cmd c = create(7);
		const struct vg_view *v;

		if (life == 0)
			ck_assert_int_eq(authority_propose(a, &c, 1), 0);
		for (uint32_t i = 0; i < 60; i++) {
			fake_run_for(f, 3 * MS_NS);
			v = authority_view(a, &c.vg);
			if (v == NULL)
				continue;
			ck_assert_uint_ge(v->cfg, cfg);
			cfg = v->cfg;
			ck_assert_int_eq(
				authority_propose(
					a,
					&(struct vg_cmd){.kind = VG_TOUCH, .vg = c.vg, .cfg = cfg},
					1),
				0);
		}
		v = authority_view(a, &c.vg);
		if (v != NULL)
			cfg = v->cfg;
		authority_discard(&a);
		fake_crash(f);
		fake_boot(f);
		a = open_alone(f);
		ck_assert_int_eq(authority_status(a)->rc, 0);
		v = authority_view_by_name(a, "g7");
		ck_assert(cfg == 0 || v->cfg == cfg || v->cfg == cfg + 1);
		ck_assert_uint_gt(v->cfg, 0);
		cfg = v->cfg;
	}
	ck_assert_uint_gt(cfg, 600); /* over several snapshots */
	authority_discard(&a);
	fake_close(&f);
}
END_TEST

START_TEST(watches_wake_and_bad_proposals_are_refused)
{
	struct fake *f = fake_open(10, MEMBER_FILE_BYTES);
	struct authority *a = open_alone(f);
	struct authority_watch w = {0};
	struct watcher op = {.wakes = 0};
	struct vg_cmd c = create(3), nameless = create(4);
	struct fake_wait wait;

	op_init(&op.op, f->env->ready, watcher_step);
	w.op = &op.op;
	list_link_init(&w.link);
	authority_watch_attach(a, &w);
	ck_assert_int_eq(authority_check(a, &c), 0);
	ck_assert_int_eq(authority_propose(a, &c, 1), 0);
	ck_assert_ptr_null(authority_view(a, &c.vg)); /* not before it is durable */
	fake_run_for(f, SEC_NS);
	ck_assert_uint_gt(op.wakes, 0);
	ck_assert_ptr_nonnull(authority_view(a, &c.vg));
	ck_assert_int_eq(authority_check(a, &c), -ERR_EXISTS);
	nameless.name[0] = 0;
	ck_assert_int_eq(authority_propose(a, &nameless, 1), -ERR_INVALID);
	ck_assert_int_eq(authority_propose(a, &c, 0), -ERR_INVALID);
	authority_watch_detach(a, &w);
	authority_stop(a, fake_arm(f, &wait));
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	authority_close(&a);
	fake_close(&f);
}
END_TEST

START_TEST(a_failed_write_ends_it)
{
	struct fake *f = fake_open(11, MEMBER_FILE_BYTES);
	struct authority *a = open_alone(f);
	struct vg_cmd c = create(3);

	f->sim_disk->faults.fail_nth = 1;
	f->sim_disk->faults.fail_rc = -ERR_IO;
	ck_assert_int_eq(authority_propose(a, &c, 1), 0);
	fake_run_for(f, SEC_NS);
	ck_assert_int_eq(authority_status(a)->rc, -ERR_IO);
	ck_assert(!authority_has_quorum(a));
	ck_assert_int_eq(authority_propose(a, &c, 1), -ERR_FAILED);
	authority_discard(&a);
	fake_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quorum-alone");
	TCase *t = tcase_create("alone");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_was_seen_applied_survives_power_losses);
	tcase_add_test(t, watches_wake_and_bad_proposals_are_refused);
	tcase_add_test(t, a_failed_write_ends_it);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
