/* SPDX-License-Identifier: Apache-2.0 */
/* A staging replica that begins with the trees that are here: shared, imported over, kept, switched in. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"

#define FOREIGN 0x5a

static uint8_t data[256 * BLOCK_BYTES] __attribute__((aligned(4096)));

static int stage(struct rb *b, struct lsn since, struct replica **ret_staging)
{
	static struct replica_volume volumes[VOLUMES_MAX];
	static struct epoch_entry epochs[EPOCHS_MAX];
	struct replica_stage_spec spec = {
		.volumes = volumes, .epochs = epochs, .from_own = true, .since = since};
	struct replica_status st;
	struct fake_wait wait;

	replica_status(b->r, &st);
	spec.begin = st.commit;
	spec.chain = st.tail_chain;
	spec.epoch_count = replica_epochs(b->r, epochs, EPOCHS_MAX);
	spec.volume_count = replica_volumes(b->r, volumes, VOLUMES_MAX);
	spec.content_generation = st.content_generation;
	replica_stage_begin(b->store, &b->group, "group", &spec, ret_staging,
			    fake_arm(b->f, &wait));
	return fake_wait(b->f, &wait);
}

static uint64_t digest_of(struct rb *b, struct replica *r)
{
	struct replica_digest q;
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_digest(r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	return q.digest;
}

static int import_over(struct rb *b, struct replica *staging, uint64_t block, uint32_t count,
		       const uint8_t *from)
{
	static uint32_t crcs[256];
	struct replica_import im = {
		.block = block, .count = count, .over = true, .data = from, .crcs = crcs};
	struct fake_wait wait;

	for (uint32_t i = 0; from != NULL && i < count; i++)
		crcs[i] = crc32c(from + (size_t)i * BLOCK_BYTES, BLOCK_BYTES);
	fake_arm_on(b->f->env, &wait, &im.done);
	replica_stage_import(staging, &im);
	return fake_wait(b->f, &wait);
}

static void read_into(struct rb *b, struct replica *r, uint64_t block, uint32_t count, uint8_t *to)
{
	struct replica_read rd = {.block = block, .count = count, .data = to};
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &rd.done);
	replica_read(r, &rd);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
}

static void check_filled(struct rb *b, struct replica *r, uint64_t block, uint32_t count, int with)
{
	read_into(b, r, block, count, data);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_int_eq(data[i * BLOCK_BYTES], with);
		ck_assert_int_eq(
			memcmp(data + i * BLOCK_BYTES, data + i * BLOCK_BYTES + 1, BLOCK_BYTES - 1),
			0);
	}
}

static void write_at(struct rb *b, uint64_t block, uint32_t count)
{
	struct record_extent e = {.kind = EXTENT_DATA, .block = block, .count = count};

	ck_assert_int_eq(rb_append_extents(b, &e, 1), 0);
	rb_settle(b);
}

START_TEST(it_begins_with_the_own_content_and_leaves_it_alone)
{
	struct rb *b = rb_open(3, 0);
	struct replica *staging, *own;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	rb_settle(b);
	ck_assert_int_eq(stage(b, (struct lsn){4096}, &staging), 0);
	ck_assert_uint_eq(digest_of(b, staging), digest_of(b, b->r));
	ck_assert_uint_eq(replica_stage_since(staging).v, 4096);
	memset(data, FOREIGN, 64 * BLOCK_BYTES);
	ck_assert_int_eq(import_over(b, staging, 100, 64, data), 0);
	ck_assert_int_eq(import_over(b, staging, 520, 100, NULL), 0);
	check_filled(b, staging, 100, 64, FOREIGN);
	check_filled(b, staging, 520, 100, 0);
	rb_check_content(b); /* the visible one */
	own = b->r;
	b->r = staging;
	write_at(b, 700, 20); /* streamed */
	b->r = own;
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = replica_find(b->store, &b->group);
	ck_assert_ptr_eq(b->r, staging);
	check_filled(b, b->r, 100, 64, FOREIGN);
	check_filled(b, b->r, 520, 100, 0);
	rb_check_blocks(b, 0, 700, 20);
	rb_check_blocks(b, 0, 0, 100);
	fake_run_for(b->f, 5 * SEC_NS);
	rb_crash(b);
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	check_filled(b, b->r, 100, 64, FOREIGN);
	check_filled(b, b->r, 520, 100, 0);
	rb_check_blocks(b, 0, 700, 20);
	rb_close(&b);
}
END_TEST

/* A crash in the middle of it costs nothing of the visible replica, wherever it comes. */
START_TEST(a_crash_beside_it_leaves_the_visible_replica)
{
	for (uint32_t n = 0; n < 30; n++) {
		struct rb *b = rb_open(20 + n, 0);
		struct replica *staging;

		ck_assert_int_eq(rb_start(b), 0);
		rb_work(b, 100);
		rb_settle(b);
		ck_assert_int_eq(stage(b, (struct lsn){0}, &staging), 0);
		memset(data, FOREIGN, sizeof(data));
		for (uint32_t i = 0; i < n; i++)
			ck_assert_int_eq(import_over(b, staging, (uint64_t)(i % 11) * 128 + i % 3,
						     i % 4 == 3 ? 100 : 1 + i,
						     i % 4 == 3 ? NULL : data),
					 0);
		fake_run_for(b->f, n * 37 * MS_NS);
		rb_crash(b);
		check_bench_clean(b->f);
		ck_assert_int_eq(rb_reopen(b), 0);
		ck_assert_ptr_null(replica_staging(b->store, &b->group));
		rb_check(b);
		fake_run_for(b->f, 3 * SEC_NS);
		rb_crash(b);
		check_bench_clean(b->f);
		rb_close(&b);
	}
}
END_TEST

/* B3: what was imported is still there in the next one, and `since` never rises. */
START_TEST(the_next_one_begins_with_what_the_last_one_had)
{
	struct rb *b = rb_open(4, 0);
	struct replica *first, *second;
	struct replica_status st;
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 200);
	rb_settle(b);
	ck_assert_int_eq(stage(b, (struct lsn){8192}, &first), 0);
	memset(data, FOREIGN, 200 * BLOCK_BYTES);
	ck_assert_int_eq(import_over(b, first, 1100, 200, data), 0);
	write_at(b, 3, 4);
	ck_assert_int_eq(stage(b, (struct lsn){UINT64_MAX}, &second), 0);
	ck_assert_ptr_eq(replica_staging(b->store, &b->group), second);
	ck_assert_uint_eq(replica_stage_since(second).v, 8192);
	check_filled(b, second, 1100, 200, FOREIGN);
	rb_check_content(b);
	replica_status(second, &st);
	ck_assert_uint_eq(st.fold.v, st.tail.v);
	fake_run_for(b->f, 3 * SEC_NS);
	replica_stage_discard(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	fake_run_for(b->f, 3 * SEC_NS);
	rb_check_content(b);
	rb_crash(b);
	check_bench_clean(b->f);
	rb_close(&b);
}
END_TEST

/* The block was read at the source before the record, and comes after it. */
static void late_import(uint32_t mutant, uint8_t *ret)
{
	struct rb *b = rb_open(5, mutant);
	struct replica *staging, *own;
	struct replica_status st;

	ck_assert_int_eq(rb_start(b), 0);
	write_at(b, 5, 1);
	ck_assert_int_eq(stage(b, (struct lsn){0}, &staging), 0);
	replica_status(staging, &st);
	replica_fold_cap(staging, st.commit);
	read_into(b, b->r, 5, 1, data);
	own = b->r;
	b->r = staging;
	write_at(b, 5, 1);
	fake_run_for(b->f, 2 * SEC_NS);
	ck_assert_int_eq(import_over(b, staging, 5, 1, data), 0);
	replica_fold_cap(staging, (struct lsn){UINT64_MAX});
	fake_run_for(b->f, 2 * SEC_NS);
	replica_status(staging, &st);
	ck_assert_uint_eq(st.fold.v, st.commit.v);
	read_into(b, staging, 5, 1, ret);
	if (mutant == 0)
		rb_check_blocks(b, 0, 5, 1);
	b->r = own;
	rb_close(&b);
}

/* I5, F10 */
START_TEST(a_late_import_does_not_replace_what_is_newer)
{
	static uint8_t right[BLOCK_BYTES] __attribute__((aligned(4096)));
	static uint8_t wrong[BLOCK_BYTES] __attribute__((aligned(4096)));

	late_import(0, right);
	late_import(STORE_MUTANT_NO_FOLD_CAP, wrong);
	ck_assert_int_ne(memcmp(right, wrong, BLOCK_BYTES), 0);
}
END_TEST

static struct replica_page page_of(struct rb *b, struct replica *r, uint32_t level, uint64_t index,
				   struct lsn since)
{
	struct replica_page q = {.level = level, .index = index, .since = since};
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_page(r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	return q;
}

static struct replica_sums sums_of(struct rb *b, struct replica *r, uint64_t leaf, struct lsn since)
{
	struct replica_sums q = {.leaf = leaf, .since = since};
	struct fake_wait wait;

	fake_arm_on(b->f->env, &wait, &q.done);
	replica_sums(r, &q);
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	return q;
}

/* Imports move no LSN: there is nothing to fold, but pages to write before their digests are right. */
START_TEST(a_digest_covers_what_was_imported)
{
	struct rb *b = rb_open(8, 0);
	struct replica *staging;
	struct fake_wait wait;
	uint64_t before, after;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 100);
	rb_settle(b);
	before = digest_of(b, b->r);
	ck_assert_int_eq(stage(b, (struct lsn){0}, &staging), 0);
	memset(data, FOREIGN, 2 * BLOCK_BYTES);
	ck_assert_int_eq(import_over(b, staging, 100, 2, data), 0);
	after = digest_of(b, staging);
	ck_assert_uint_ne(after, before);
	replica_stage_switch(b->store, &b->group, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	b->r = replica_find(b->store, &b->group);
	ck_assert_uint_eq(digest_of(b, b->r), after);
	rb_close(&b);
}
END_TEST

/* Both wait for pages with the same job: what the one went down to is nothing to the other. */
START_TEST(a_read_after_a_question_about_a_page_goes_down_to_the_leaf)
{
	struct rb *b = rb_open(7, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_crash(b);
	ck_assert_int_eq(rb_reopen(b), 0); /* no page is in memory */
	(void)page_of(b, b->r, 1, 0, (struct lsn){0});
	rb_check_content(b);
	rb_close(&b);
}
END_TEST

/* CM1 to CM3 */
START_TEST(pages_and_checksums_tell_what_differs)
{
	struct rb *b = rb_open(6, 0);
	struct replica *staging;
	struct replica_status st;
	struct replica_page mine, own;
	struct replica_sums sums;

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 300);
	write_at(b, 10, 2);
	write_at(b, 600, 2);
	rb_settle(b);
	ck_assert_int_eq(stage(b, (struct lsn){0}, &staging), 0);
	replica_status(b->r, &st);
	mine = page_of(b, staging, 1, 0, st.tail);
	own = page_of(b, b->r, 1, 0, st.tail);
	ck_assert_uint_eq(mine.known & own.known & 3, 3);
	ck_assert_uint_eq(mine.changed, 0);
	ck_assert_mem_eq(mine.digests, own.digests, sizeof(mine.digests));
	ck_assert_uint_eq(page_of(b, staging, 1, 0, (struct lsn){0}).changed & 3, 3);
	ck_assert_uint_eq(page_of(b, staging, 2, 0, st.tail).present, 1);
	ck_assert_uint_eq(page_of(b, staging, 2, 0, st.tail).known, 0);
	ck_assert_uint_eq(page_of(b, staging, 2, 1, st.tail).present, 0);
	memset(data, FOREIGN, 2 * BLOCK_BYTES);
	ck_assert_int_eq(import_over(b, staging, 600, 2, data), 0);
	mine = page_of(b, staging, 1, 0, st.tail);
	ck_assert_uint_eq(mine.known & 3, 1);	/* CM1: not written out yet */
	ck_assert_uint_eq(mine.changed & 3, 2); /* CM2 */
	write_at(b, 11, 1);
	sums = sums_of(b, b->r, 0, st.tail);
	ck_assert_uint_eq(sums.changed, 1); /* CM3: of the index */
	ck_assert_uint_eq(sums.data[0] >> 10 & 3, 3);
	ck_assert_uint_ne(sums.crcs[11], sums_of(b, staging, 0, st.tail).crcs[11]);
	ck_assert_uint_eq(sums.crcs[10], sums_of(b, staging, 0, st.tail).crcs[10]);
	ck_assert_uint_eq(sums_of(b, staging, 1, st.tail).crcs[88], crc32c(data, BLOCK_BYTES));
	ck_assert_uint_eq(sums_of(b, staging, 40, st.tail).data[0], 0);
	rb_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/stage_own");
	TCase *c = tcase_create("stage_own");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_test(c, it_begins_with_the_own_content_and_leaves_it_alone);
	tcase_add_test(c, a_crash_beside_it_leaves_the_visible_replica);
	tcase_add_test(c, the_next_one_begins_with_what_the_last_one_had);
	tcase_add_test(c, a_late_import_does_not_replace_what_is_newer);
	tcase_add_test(c, a_digest_covers_what_was_imported);
	tcase_add_test(c, a_read_after_a_question_about_a_page_goes_down_to_the_leaf);
	tcase_add_test(c, pages_and_checksums_tell_what_differs);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
