/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: shared, cheap when nothing changed, and the seeded bugs around them are found (the
 * early trim by tests/fault/store_fail_test.c). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/inspect.h"
#include "engine/store/store_parts.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"

#define SEEDS 12u

START_TEST(checkpoint_requests_that_wait_share_one)
{
	struct rb *b = rb_open(1, 0);
	struct store_status before, after;
	struct fake_wait waits[20];

	ck_assert_int_eq(rb_start(b), 0);
	fake_run_for(b->f, SEC_NS);
	store_status(b->store, &before);
	for (int i = 0; i < 20; i++)
		store_checkpoint(b->store, fake_arm(b->f, &waits[i]));
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(fake_wait(b->f, &waits[i]), 0);
	store_status(b->store, &after);
	ck_assert_uint_le(after.checkpoint_seq - before.checkpoint_seq, 2);
	rb_close(&b);
}
END_TEST

START_TEST(checkpoint_of_nothing_is_a_few_pages)
{
	struct rb *b = rb_open(2, 0);
	struct fake_wait wait;
	uint64_t written;

	ck_assert_int_eq(rb_start(b), 0);
	fake_run_for(b->f, SEC_NS);
	store_checkpoint(b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	written = b->f->sim_disk->counts.write_bytes;
	store_checkpoint(b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	ck_assert_uint_le(b->f->sim_disk->counts.write_bytes - written, 12 * 4096);
	rb_close(&b);
}
END_TEST

/* In 4 TiB every leaf has an inner page of its own: more of them than the cache may hold dirty. */
START_TEST(inner_pages_of_a_large_volume_do_not_fill_the_cache)
{
	struct rb *b = rb_open(3, 0);
	struct rb_record *last;
	struct fake_wait wait;

	b->memory_bytes = 8 << 20;
	ck_assert_int_eq(rb_start(b), 0);
	ck_assert_int_eq(rb_volume(b, RECORD_VOLUME_CREATE, RB_VOLUMES, 4ull << 40), 0);
	rb_settle(b);
	for (uint32_t i = 0; i < 200; i++) {
		struct record_extent e[RB_EXTENTS_MAX];

		for (uint32_t k = 0; k < RB_EXTENTS_MAX; k++)
			e[k] = (struct record_extent){.volume = RB_VOLUMES,
						      .kind = i % 10 == 9 ? EXTENT_DATA
									  : EXTENT_ZERO,
						      .block = rb_random(b) % (1u << 30),
						      .count = 1};
		ck_assert_int_eq(rb_append_extents(b, e, RB_EXTENTS_MAX), 0);
	}
	rb_settle(b); /* committed at once, so folded in one window */
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	last = &b->records[b->count - 1];
	ck_assert_uint_eq(last->extent_count, RB_EXTENTS_MAX);
	for (uint32_t k = 0; k < RB_EXTENTS_MAX; k++)
		rb_check_blocks(b, RB_VOLUMES, (uint32_t)last->extents[k].block, 1);
	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	(void)check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

/* Does any of some crashes show that the store lost something? */
static bool crashes_find(uint32_t mutant, bool busy)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct rb *b = rb_open(1000 + seed, mutant);
		struct store_check c = {.bad_count = 0};
		struct fake_wait wait;
		bool bad;
		int rc;

		ck_assert_int_eq(rb_start(b), 0);
		for (int i = 0; i < 4; i++) {
			rb_work(b, 120);
			rb_settle(b);
			b->f->sim_disk->faults.stop_nth =
				i == 3 ? 1 + rb_random(b) % (busy ? 400 : 120) : 0;
			replica_fold(b->r, fake_arm(b->f, &wait));
			if (busy)
				rb_work(b, 250);
			fake_wait(b->f, &wait);
		}
		rb_crash(b);
		memset(&b->f->sim_disk->faults, 0, sizeof(b->f->sim_disk->faults));
		fake_arm_on(b->f->env, &wait, &c.done);
		store_check(b->f->env, b->f->disk, &c);
		rc = fake_wait(b->f, &wait);
		bad = rc != 0 || c.bad_count > 0;
		if (!bad && rb_reopen(b) == 0) {
			struct replica_status st;

			replica_status(b->r, &st);
			bad = st.has_hole || st.tail.v < b->acked;
		}
		rb_close(&b);
		if (bad)
			return true;
	}
	return false;
}

START_TEST(crashes_find_nothing_without_a_seeded_bug)
{
	ck_assert(!crashes_find(STORE_MUTANT_NONE, false));
	ck_assert(!crashes_find(STORE_MUTANT_NONE, true));
}
END_TEST

START_TEST(missing_flush_before_the_superblock_is_found)
{
	ck_assert(crashes_find(STORE_MUTANT_NO_HOME_FLUSH, false));
}
END_TEST

START_TEST(floor_that_is_not_durable_is_found)
{
	struct rb *b = rb_open(4, STORE_MUTANT_NO_FLOOR);
	struct store_floor floor = {.epoch = 9}, got;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	store_floor_set(b->store, &b->group, &floor, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0);
	store_floor_get(b->store, &b->group, &got);
	ck_assert_uint_ne(got.epoch, 9);
	rb_close(&b);
}
END_TEST

struct text {
	char data[1 << 20];
	uint32_t used;
	int depth;
};

static void line_keep(void *ctx, const char *line)
{
	struct text *t = ctx;

	for (const char *p = line; *p != 0; p++)
		t->depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
	ck_assert_int_ge(t->depth, 0);
	t->used += (uint32_t)snprintf(t->data + t->used, sizeof(t->data) - t->used, "%s\n", line);
	ck_assert_uint_lt(t->used, sizeof(t->data));
}

START_TEST(inspect_tells_every_part_as_text_and_json)
{
	static const char *const words[] = {
		"superblock", "floors",		"segments",	"bitmaps",    "refs",	 "journal",
		"map",	      "groups",		"volumes",	"snapshots",  "records", "pages",
		"leaf",	      "payload_blocks", "root_address", "used_blocks"};
	struct rb *b = rb_open(5, 0);
	static struct text t;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 100);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	for (int json = 0; json < 2; json++) {
		struct store_inspect q = {.parts = INSPECT_ALL | INSPECT_RECORDS,
					  .group = "group",
					  .volume = "v",
					  .has_block = true,
					  .json = json != 0,
					  .line = line_keep,
					  .ctx = &t};

		memset(&t, 0, sizeof(t));
		fake_arm_on(b->f->env, &wait, &q.done);
		store_inspect(b->f->env, b->f->disk, &q);
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
		ck_assert_int_eq(t.depth, 0);
		for (size_t i = 0; i < ARRAY_COUNT(words); i++)
			ck_assert_ptr_nonnull(strstr(t.data, words[i]));
		ck_assert_uint_eq(inspect_part("nothing"), 0);
		ck_assert_uint_eq(inspect_part("map"), INSPECT_MAP);
		if (getenv("TS_TEST_INSPECT") != NULL)
			fputs(t.data, stdout);
	}
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/checkpoint");
	TCase *c = tcase_create("checkpoint");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, checkpoint_requests_that_wait_share_one);
	tcase_add_test(c, checkpoint_of_nothing_is_a_few_pages);
	tcase_add_test(c, inner_pages_of_a_large_volume_do_not_fill_the_cache);
	tcase_add_test(c, crashes_find_nothing_without_a_seeded_bug);
	tcase_add_test(c, missing_flush_before_the_superblock_is_found);
	tcase_add_test(c, floor_that_is_not_durable_is_found);
	tcase_add_test(c, inspect_tells_every_part_as_text_and_json);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
