/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/fsm.h"
#include "tests/sim/prng.h"

static struct uuid uuid_of(uint8_t x)
{
	struct uuid u;

	memset(u.b, x, sizeof(u.b));
	return u;
}

static struct vg_cmd create(uint8_t x, const char *name)
{
	struct vg_cmd c = {.kind = VG_CREATE,
			   .vg = uuid_of(x),
			   .from = 1,
			   .site = 1,
			   .incarnation = 10,
			   .config = {.min_isr = 1},
			   .site_count = 3,
			   .sites = {{.id = 1, .replica = uuid_of(101)},
				     {.id = 2, .replica = uuid_of(102)},
				     {.id = 3, .mode = VG_SITE_ASYNC, .replica = uuid_of(103)}}};

	snprintf(c.name, sizeof(c.name), "%s", name);
	return c;
}

static struct vg_cmd on(const struct fsm *f, uint8_t x, enum vg_cmd_kind kind, uint32_t site)
{
	const struct uuid vg = uuid_of(x);
	const struct vg_view *v = fsm_find(f, &vg);
	struct vg_cmd c = {.kind = kind,
			   .vg = vg,
			   .site = site,
			   .from = v->primary,
			   .cfg = v->cfg,
			   .incarnation = 20};

	return c;
}

static const struct vg_view *view(const struct fsm *f, uint8_t x)
{
	const struct uuid vg = uuid_of(x);

	return fsm_find(f, &vg);
}

static struct fsm *with_group(void)
{
	struct vg_cmd c = create(1, "db");
	struct fsm *f;

	ck_assert_int_eq(fsm_open(&f), 0);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	return f;
}

static void add_second(struct fsm *f)
{
	struct vg_cmd c = on(f, 1, VG_ADD, 2);

	c.replica = uuid_of(102);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
}

START_TEST(create_makes_the_first_site_primary_of_epoch_1)
{
	struct fsm *f = with_group();
	const struct vg_view *v = view(f, 1);

	ck_assert_uint_eq(v->epoch, 1);
	ck_assert_uint_eq(v->cfg, 1);
	ck_assert(vg_is_primary(v, 1, 10));
	ck_assert_uint_eq(v->isr, 1);
	ck_assert_uint_eq(v->content_generation, 1);
	fsm_close(&f);
}
END_TEST

START_TEST(names_and_uuids_are_unique_and_not_reused_by_late_retries)
{
	struct fsm *f = with_group();
	struct vg_cmd same_name = create(2, "db"), same_uuid = create(1, "other"),
		      first = create(1, "db");
	struct vg_cmd gone = on(f, 1, VG_DELETE, 0);

	ck_assert_int_eq(fsm_apply(f, &same_name, NULL), -ERR_EXISTS);
	ck_assert_int_eq(fsm_apply(f, &same_uuid, NULL), -ERR_EXISTS);
	ck_assert_int_eq(fsm_apply(f, &gone, NULL), 0);
	ck_assert_int_eq(fsm_apply(f, &first, NULL), -ERR_STALE); /* F5 */
	ck_assert_int_eq(fsm_apply(f, &same_name, NULL), 0);
	fsm_close(&f);
}
END_TEST

START_TEST(a_command_of_another_cfg_does_nothing)
{
	struct fsm *f = with_group();
	struct vg_cmd touch = on(f, 1, VG_TOUCH, 0);

	ck_assert_int_eq(fsm_apply(f, &touch, NULL), 0);
	ck_assert_int_eq(fsm_apply(f, &touch, NULL), -ERR_STALE);
	ck_assert_uint_eq(view(f, 1)->cfg, 2);
	ck_assert_uint_eq(view(f, 1)->epoch, 1);
	fsm_close(&f);
}
END_TEST

START_TEST(add_demands_the_registered_disk_and_a_sync_site)
{
	struct fsm *f = with_group();
	struct vg_cmd c = on(f, 1, VG_ADD, 2);

	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED); /* nil disk */
	c.replica = uuid_of(9);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED);
	c.replica = uuid_of(102);
	c.from = 2;
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED); /* not by the primary */
	c.from = 1;
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->isr, 3);
	c = on(f, 1, VG_ADD, 3);
	c.replica = uuid_of(103);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED); /* async */
	fsm_close(&f);
}
END_TEST

START_TEST(claim_is_for_isr_members_and_leaves_only_the_claimer)
{
	struct fsm *f = with_group();
	struct vg_cmd c = on(f, 1, VG_CLAIM, 2);

	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED);
	add_second(f);
	c = on(f, 1, VG_CLAIM, 2);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert(vg_is_primary(view(f, 1), 2, 20));
	ck_assert_uint_eq(view(f, 1)->isr, 2);
	ck_assert_uint_eq(view(f, 1)->epoch, 2);
	ck_assert_uint_eq(view(f, 1)->content_generation, 1);
	c = on(f, 1, VG_CLAIM, 2); /* again: another incarnation of the same site */
	c.incarnation = 21;
	c.raise_generation = true;
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->epoch, 3);
	ck_assert_uint_eq(view(f, 1)->content_generation, 2);
	fsm_close(&f);
}
END_TEST

START_TEST(the_primary_is_never_dropped)
{
	struct fsm *f = with_group();
	struct vg_cmd c;

	add_second(f);
	c = on(f, 1, VG_DROP, 1);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED);
	c = on(f, 1, VG_DROP, 2);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->isr, 1);
	ck_assert_uint_eq(view(f, 1)->epoch, 1); /* isr shrinks without a new epoch */
	fsm_close(&f);
}
END_TEST

START_TEST(switch_keeps_the_isr)
{
	struct fsm *f = with_group();
	struct vg_cmd c;

	add_second(f);
	c = on(f, 1, VG_SWITCH, 2);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->isr, 3);
	ck_assert(vg_is_primary(view(f, 1), 2, 20));
	fsm_close(&f);
}
END_TEST

START_TEST(force_is_for_non_members_and_declares_loss)
{
	struct fsm *f = with_group();
	struct vg_cmd c = on(f, 1, VG_FORCE, 1);

	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED);
	c = on(f, 1, VG_FORCE, 2);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->last_forced_epoch, 2);
	ck_assert_uint_eq(view(f, 1)->content_generation, 2);
	ck_assert_uint_eq(view(f, 1)->flags, VG_FLAG_DATA_LOSS);
	ck_assert_uint_eq(view(f, 1)->isr, 2);
	fsm_close(&f);
}
END_TEST

START_TEST(force_to_an_async_site_makes_it_sync)
{
	struct fsm *f = with_group();
	struct vg_cmd c = on(f, 1, VG_FORCE, 3);

	add_second(f);
	c = on(f, 1, VG_ADD, 3);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED); /* F1 */
	c = on(f, 1, VG_FORCE, 3);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->isr, 4);
	ck_assert_uint_eq(view(f, 1)->primary, 3);
	ck_assert(vg_is_sync(view(f, 1), 3));
	ck_assert_uint_eq(vg_pair_peer(view(f, 1), 3), 1); /* it may join, and the other follows */
	fsm_close(&f);
}
END_TEST

START_TEST(config_keeps_isr_members_and_replicas)
{
	struct fsm *f = with_group();
	struct vg_cmd c;

	add_second(f);
	c = on(f, 1, VG_CONFIG, 0);
	c.config.min_isr = 2;
	c.site_count = 1;
	c.sites[0].id = 1;
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_IN_USE);
	c.site_count = 3;
	c.sites[0] = (struct vg_site){.id = 4};
	c.sites[1] = (struct vg_site){.id = 2};
	c.sites[2] = (struct vg_site){.id = 1};
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->isr, 6);
	ck_assert_uint_eq(view(f, 1)->site[1].replica.b[0], 102);
	ck_assert_uint_eq(view(f, 1)->config.min_isr, 2);
	fsm_close(&f);
}
END_TEST

START_TEST(a_boot_is_told_to_every_group_and_only_grows)
{
	struct fsm *f = with_group();
	struct vg_cmd c = {.kind = VG_NODE, .site = 2, .incarnation = 7}, second = create(5, "x");

	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->site[1].boot, 7);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_STALE);
	ck_assert_int_eq(fsm_apply(f, &second, NULL), 0);
	ck_assert_uint_eq(view(f, 5)->site[1].boot, 7);
	ck_assert_uint_eq(view(f, 1)->cfg, 1);
	fsm_close(&f);
}
END_TEST

START_TEST(joined_is_the_cfg_of_the_add_or_of_what_the_claimer_knew)
{
	struct fsm *f = with_group(), *g;
	struct vg_cmd c;
	static uint8_t data[1 << 16];
	uint64_t added;
	int n;

	ck_assert_uint_eq(view(f, 1)->site[0].joined, 0);
	add_second(f);
	added = view(f, 1)->cfg;
	ck_assert_uint_eq(view(f, 1)->site[1].joined, added);
	c = on(f, 1, VG_TOUCH, 1);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->site[1].joined, added);
	c = on(f, 1, VG_CLAIM, 2);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->site[1].joined, c.cfg);
	n = fsm_encode(f, data, sizeof(data));
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(fsm_open(&g), 0);
	ck_assert_int_eq(fsm_load(g, data, (uint32_t)n), 0);
	ck_assert_uint_eq(view(g, 1)->site[1].joined, c.cfg);
	fsm_close(&f);
	fsm_close(&g);
}
END_TEST

START_TEST(disk_is_registered_outside_the_isr_only)
{
	struct fsm *f = with_group();
	struct vg_cmd c = on(f, 1, VG_DISK, 2);

	c.replica = uuid_of(77);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), 0);
	ck_assert_uint_eq(view(f, 1)->site[1].replica.b[0], 77);
	c = on(f, 1, VG_DISK, 1);
	c.replica = uuid_of(78);
	ck_assert_int_eq(fsm_apply(f, &c, NULL), -ERR_REFUSED);
	fsm_close(&f);
}
END_TEST

/* Random commands keep F1-F3, and two machines fed the same have equal bytes; one is reloaded
 * from its own bytes on the way. */
START_TEST(equal_commands_give_equal_bytes)
{
	uint8_t *a_bytes = malloc(FSM_STATE_BYTES_MAX), *b_bytes = malloc(FSM_STATE_BYTES_MAX);
	struct vg_cmd *back = malloc(VG_BATCH_MAX * sizeof(*back));
	struct fsm *a, *b;
	struct prng p;
	uint32_t applied = 0, wrong = 0;

	prng_init(&p, 11, 1);
	ck_assert_int_eq(fsm_open(&a), 0);
	ck_assert_int_eq(fsm_open(&b), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t x = (uint8_t)(1 + prng_u64(&p) % 20);
		const struct vg_view *v = view(a, x), was = v != NULL ? *v : (struct vg_view){0};
		struct vg_cmd c = create(x, "n");
		uint8_t batch[4096];
		int bytes;

		snprintf(c.name, sizeof(c.name), "n%u", x);
		if (v != NULL) {
			c = on(a, x, (enum vg_cmd_kind)(1 + prng_u64(&p) % 6),
			       1 + (uint32_t)(prng_u64(&p) % 4));
			c.replica = uuid_of((uint8_t)(100 + c.site));
			c.cfg -= prng_u64(&p) % 5 == 0;
			if (prng_u64(&p) % 300 == 0)
				c.kind = VG_DELETE;
		}
		bytes = fsm_batch_encode(&c, 1, batch, sizeof(batch));
		ck_assert_int_gt(bytes, 0);
		ck_assert_int_eq(fsm_batch_decode(batch, (uint32_t)bytes, back), 1);
		if (fsm_apply(a, &c, NULL) == 0)
			applied++;
		(void)fsm_apply(b, &back[0], NULL);
		v = view(a, x);
		if (v != NULL && was.cfg != 0)
			wrong += v->epoch < was.epoch || v->cfg < was.cfg || v->isr == 0 ||
				 !vg_in_isr(v, v->primary);
		if (i % 997 == 0) {
			int n = fsm_encode(a, a_bytes, FSM_STATE_BYTES_MAX);

			ck_assert_int_eq(n, fsm_encode(b, b_bytes, FSM_STATE_BYTES_MAX));
			ck_assert_int_eq(memcmp(a_bytes, b_bytes, (size_t)n), 0);
			ck_assert_int_eq(fsm_load(b, a_bytes, (uint32_t)n), 0);
			for (int k = 0; k < 40; k++) /* C2: damage is refused or loads whole */
				b_bytes[prng_u64(&p) % (uint64_t)n] ^= 1;
			{
				struct fsm *t;

				ck_assert_int_eq(fsm_open(&t), 0);
				(void)!fsm_load(t, b_bytes, (uint32_t)n);
				ck_assert_int_lt(fsm_load(t, a_bytes, (uint32_t)n - 1), 0);
				fsm_close(&t);
			}
		}
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_gt(applied, 1000);
	fsm_close(&a);
	fsm_close(&b);
	free(a_bytes);
	free(b_bytes);
	free(back);
}
END_TEST

START_TEST(a_batch_of_a_newer_version_is_told_apart)
{
	struct vg_cmd c = create(1, "db"), *back = malloc(VG_BATCH_MAX * sizeof(*back));
	uint8_t batch[4096];
	int bytes = fsm_batch_encode(&c, 1, batch, sizeof(batch));

	ck_assert_int_gt(bytes, 0);
	batch[4] = 2;
	ck_assert_int_eq(fsm_batch_decode(batch, (uint32_t)bytes, back), -ERR_VERSION);
	batch[4] = 1;
	ck_assert_int_eq(fsm_batch_decode(batch, (uint32_t)bytes - 1, back), -ERR_CORRUPT);
	free(back);
}
END_TEST

START_TEST(a_full_table_fits_a_snapshot)
{
	uint8_t *bytes = malloc(FSM_STATE_BYTES_MAX);
	struct fsm *f;

	ck_assert_int_eq(fsm_open(&f), 0);
	for (uint32_t i = 0; i < VG_COUNT_MAX; i++) {
		struct vg_cmd c = create(1, "x");
		int rc;

		memcpy(c.vg.b, &i, 4);
		snprintf(c.name, sizeof(c.name), "%063u", i);
		c.site_count = 4;
		c.sites[3].id = 9;
		rc = fsm_apply(f, &c, NULL);
		if (rc != 0)
			ck_assert_int_eq(rc, 0);
	}
	ck_assert_int_gt(fsm_encode(f, bytes, FSM_STATE_BYTES_MAX), 0);
	free(bytes);
	fsm_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quorum-fsm");
	TCase *t = tcase_create("fsm");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, create_makes_the_first_site_primary_of_epoch_1);
	tcase_add_test(t, names_and_uuids_are_unique_and_not_reused_by_late_retries);
	tcase_add_test(t, a_command_of_another_cfg_does_nothing);
	tcase_add_test(t, add_demands_the_registered_disk_and_a_sync_site);
	tcase_add_test(t, claim_is_for_isr_members_and_leaves_only_the_claimer);
	tcase_add_test(t, the_primary_is_never_dropped);
	tcase_add_test(t, switch_keeps_the_isr);
	tcase_add_test(t, force_is_for_non_members_and_declares_loss);
	tcase_add_test(t, force_to_an_async_site_makes_it_sync);
	tcase_add_test(t, config_keeps_isr_members_and_replicas);
	tcase_add_test(t, a_boot_is_told_to_every_group_and_only_grows);
	tcase_add_test(t, joined_is_the_cfg_of_the_add_or_of_what_the_claimer_knew);
	tcase_add_test(t, disk_is_registered_outside_the_isr_only);
	tcase_add_test(t, equal_commands_give_equal_bytes);
	tcase_add_test(t, a_batch_of_a_newer_version_is_told_apart);
	tcase_add_test(t, a_full_table_fits_a_snapshot);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
