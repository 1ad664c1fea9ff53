/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/store/check_test.c: which wrong block in home the offline check excuses (check.c CK2).  Each
 * case writes block AT, folds it home, writes it again so that the journal has it, lets the power fail before
 * that is folded, and spoils the block in home, as a write that was under way may have.
 */
#include <check.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/store/checkpoint.h"
#include "engine/store/map_edit.h"
#include "engine/store/replica_fold.h"
#include "engine/store/store_state.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/snapshot_bench.h"

#define AT 3u

static void fold(struct rb *b)
{
	struct fake_wait wait;

	replica_fold(b->r, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
}

static void write_blocks(struct rb *b, uint32_t block, uint32_t count)
{
	struct record_extent e = {.kind = EXTENT_DATA, .block = block, .count = count};

	ck_assert_int_eq(rb_append_extents(b, &e, 1), 0);
}

static void write_again(struct rb *b)
{
	write_blocks(b, AT, 1);
	rb_settle(b);
}

static struct rb *prepared(void)
{
	struct rb *b = rb_open(60, 0);

	ck_assert_int_eq(rb_start(b), 0);
	write_blocks(b, 0, 10);
	rb_settle(b);
	fold(b);
	return b;
}

static void snapshot(struct rb *b, uint32_t id)
{
	ck_assert_int_eq(sb_create(b, id), 0);
	rb_settle(b);
	fold(b);
	ck_assert_uint_eq(replica_snapshots_unpinned(b->r), 0);
}

static uint64_t checkpoint_now(const struct rb *b)
{
	return checkpoint_seq(b->store->checkpoint);
}

struct moment {
	struct rb *b;
	uint64_t seq;
};

static bool has_come(void *ctx)
{
	const struct moment *m = ctx;

	return checkpoint_now(m->b) >= m->seq;
}

/* Its tree is a ghost in the durable checkpoint, and no newer one says how far it was given back. */
static void delete_durably(struct rb *b, uint32_t id)
{
	struct moment m = {b, 0};

	ck_assert_int_eq(sb_delete(b, id), 0);
	m.seq = checkpoint_capture_seq(b->store->checkpoint);
	rb_settle(b);
	ck_assert(!has_come(&m));
	ck_assert(fake_run_until(b->f, 10 * SEC_NS, has_come, &m));
	ck_assert_uint_eq(checkpoint_now(b), m.seq);
}

static uint64_t place(struct rb *b)
{
	struct block_place p;
	struct leaf *l;

	ck_assert_int_eq(map_leaf_get(replica_map(b->r, 0), 0, &l), 0);
	ck_assert_ptr_nonnull(l);
	p = leaf_place(l, AT);
	leaf_unpin(l);
	ck_assert_int_eq(p.kind, PLACE_HOME);
	return p.off;
}

/* What the check says of the block spoiled; nothing was wrong before. */
static void spoil(struct rb *b, uint64_t expected)
{
	uint64_t at = place(b);
	struct store_check c = {.digest = true};

	rb_crash(b);
	check_bench_clean(b->f);
	sim_disk_flip(b->f->sim_disk, at + 100, 3);
	ck_assert_uint_eq(check_bench_run(b->f, &c), expected);
	rb_close(&b);
}

START_TEST(block_that_the_journal_has_may_be_half_written)
{
	struct rb *b = prepared();

	write_again(b);
	ck_assert_int_eq(rb_append_note(b), 0); /* tells the commit */
	rb_settle(b);
	spoil(b, 0);
}
END_TEST

START_TEST(block_that_the_journal_does_not_have_is_bad)
{
	spoil(prepared(), 1);
}
END_TEST

/* Fold touches nothing before its commit is durable. */
START_TEST(block_in_an_uncommitted_record_only_is_bad)
{
	struct rb *b = prepared();

	write_again(b);
	spoil(b, 1);
}
END_TEST

/*
 * A commit that only records beyond it tell is taken back when these are cut, and the power fails then: fold must
 * not have touched what lies between, or a block that no tree excuses is half written (fold F7).
 */
START_TEST(fold_trusts_no_commit_that_a_cut_takes_back)
{
	bool was_hit = true;

	for (uint64_t nth = 1; was_hit; nth++) {
		struct rb *b = prepared();
		struct fake_wait wait;
		struct replica_status st;
		struct lsn commit;

		ck_assert_uint_lt(nth, 200);
		write_again(b);
		replica_status(b->r, &st);
		commit = st.tail;
		ck_assert_int_eq(rb_append_note(b), 0); /* tells the commit */
		rb_settle(b);
		rb_crash(b);
		ck_assert_int_eq(rb_reopen(b), 0);
		replica_status(b->r, &st);
		ck_assert_uint_eq(st.commit.v, commit.v);
		replica_cut(b->r, commit, fake_arm(b->f, &wait));
		ck_assert_int_eq(fake_wait(b->f, &wait), 0);
		b->f->sim_disk->faults.stop_nth = nth;
		replica_fold(b->r, fake_arm(b->f, &wait));
		fake_run_for(b->f, 10 * SEC_NS);
		was_hit = b->f->sim_disk->faults.stop_nth == 0;
		b->f->sim_disk->faults.stop_nth = 0;
		rb_crash(b);
		check_bench_clean(b->f);
		rb_close(&b);
	}
}
END_TEST

/* Nor anything beyond a snapshot that is not pinned: it needs the block as it was. */
START_TEST(block_in_a_record_behind_an_unpinned_snapshot_only_is_bad)
{
	struct rb *b = prepared();

	write_blocks(b, 50, 8); /* to be folded before it is pinned */
	ck_assert_int_eq(sb_create(b, 1), 0);
	write_again(b);
	ck_assert_int_eq(rb_append_note(b), 0);
	rb_settle(b);
	ck_assert_uint_eq(replica_snapshots_unpinned(b->r), 1);
	spoil(b, 1);
}
END_TEST

START_TEST(block_shared_with_a_tree_that_nobody_reads_may_be_half_written)
{
	struct rb *b = prepared();

	snapshot(b, 1);
	write_again(b);
	delete_durably(b, 1);
	spoil(b, 0);
}
END_TEST

START_TEST(block_that_a_snapshot_has_is_bad_although_another_one_is_being_given_back)
{
	struct rb *b = prepared();

	snapshot(b, 1);
	snapshot(b, 2);
	write_again(b);
	delete_durably(b, 2);
	spoil(b, 1);
}
END_TEST

START_TEST(block_that_a_clone_has_is_bad_although_its_base_is_being_given_back)
{
	struct rb *b = prepared(), *clone;

	snapshot(b, 1);
	clone = sb_clone(b, 1, 5);
	ck_assert_ptr_nonnull(clone);
	rb_settle(clone);
	fold(clone);
	write_again(b);
	delete_durably(b, 1);
	spoil(b, 1);
	sb_clone_close(&clone);
}
END_TEST

/* The deletion is committed, but in no checkpoint: until then nothing of the snapshot is given back. */
START_TEST(block_of_a_snapshot_is_bad_until_its_deletion_is_in_a_checkpoint)
{
	struct rb *b = prepared();
	uint64_t seq;

	snapshot(b, 1);
	seq = checkpoint_now(b);
	write_again(b);
	ck_assert_int_eq(sb_delete(b, 1), 0);
	rb_settle(b);
	ck_assert_int_eq(rb_append_note(b), 0);
	rb_settle(b);
	ck_assert_uint_eq(checkpoint_now(b), seq);
	spoil(b, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/check");
	TCase *c = tcase_create("check");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_test(c, block_that_the_journal_has_may_be_half_written);
	tcase_add_test(c, block_that_the_journal_does_not_have_is_bad);
	tcase_add_test(c, block_in_an_uncommitted_record_only_is_bad);
	tcase_add_test(c, fold_trusts_no_commit_that_a_cut_takes_back);
	tcase_add_test(c, block_in_a_record_behind_an_unpinned_snapshot_only_is_bad);
	tcase_add_test(c, block_shared_with_a_tree_that_nobody_reads_may_be_half_written);
	tcase_add_test(c,
		       block_that_a_snapshot_has_is_bad_although_another_one_is_being_given_back);
	tcase_add_test(c, block_that_a_clone_has_is_bad_although_its_base_is_being_given_back);
	tcase_add_test(c, block_of_a_snapshot_is_bad_until_its_deletion_is_in_a_checkpoint);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
