/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fault/store_sequences_test.c: every sequence of up to LENGTH operations of a small alphabet, on a
 * small store; the power fails at every I/O of it; of the writes that were not durable then, every subset
 * is kept (up to SUBSET_UNITS of them; of more, some subsets, and some torn ones by the seed).  After
 * each the check is clean, nothing acknowledged is lost, all content is what the records made, of the group,
 * of its snapshots and of its clones.
 *
 * Lengths 1 and 2 here, or only TS_FAULT_LENGTH=N (3 by hand; a part of it with --part I/N, or
 * TS_FAULT_FROM and TS_FAULT_TO, sequence numbers); TS_FAULT_MUTANT=N (enum store_mutant) to see it fail.
 * Prints how many cases were covered.
 */
#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/snapshot_bench.h"

#define LENGTH_MAX 3u
#define STEPS_MAX 2000u
#define SUBSET_UNITS 3u
#define SUBSETS_OF_MANY 5u
#define TORN_OF_MANY 2u

/* Power that fails in the middle of these leaves their small control objects behind. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:store_close\nleak:store_check\nleak:store_create\nleak:replica_create\n"
	       "leak:replica_make\nleak:journal_create\nleak:replica_life.c\n";
}

/* One life of a store, with what sequences make beside the group: snapshot 1 is there from the beginning. */
struct life {
	struct rb *b, *clones[LENGTH_MAX];
	uint32_t clone_count, next_id;
};

typedef void op_fn(struct life *l);

static bool is_down(const struct rb *b)
{
	return b->f->sim_disk->faults.stopped || b->store == NULL;
}

static void append(struct rb *b, enum extent_kind kind, uint32_t block, uint32_t count)
{
	struct record_extent e = {.kind = kind, .block = block, .count = count};

	(void)rb_append_extents(b, &e, 1); /* -ERR_FAILED when the power is gone */
	fake_run_for(b->f, 20000);	   /* on its way */
}

static void op_write_one(struct life *l)
{
	append(l->b, EXTENT_DATA, 3, 1);
}

/* Across a chunk's end, over what was written one by one. */
static void op_write_many(struct life *l)
{
	append(l->b, EXTENT_DATA, 2, 20);
}

static void op_zero(struct life *l)
{
	append(l->b, EXTENT_ZERO, 1, 4);
}

static void op_discard_chunk(struct life *l)
{
	append(l->b, EXTENT_DISCARD, 0, 16);
}

static void fold(struct rb *b)
{
	struct fake_wait wait;

	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	(void)fake_wait(b->f, &wait);
}

static void op_fold(struct life *l)
{
	fold(l->b);
	for (uint32_t i = 0; i < l->clone_count && !is_down(l->b); i++)
		fold(l->clones[i]);
}

static void settle(struct life *l)
{
	rb_settle(l->b);
	for (uint32_t i = 0; i < l->clone_count && !is_down(l->b); i++)
		rb_settle(l->clones[i]);
}

static void clones_reopen(struct life *l)
{
	for (uint32_t i = 0; i < l->clone_count; i++)
		ck_assert_int_eq(sb_clone_reopen(l->clones[i], l->b), 0);
}

static void op_restart(struct life *l)
{
	struct rb *b = l->b;
	struct store *s = b->store;
	struct fake_wait wait;

	settle(l);
	if (is_down(b))
		return;
	store_close(&b->store, fake_arm(b->f, &wait));
	if (fake_wait(b->f, &wait) == -ERR_TIMEOUT)
		b->store = s; /* the power failed before it was freed: rb_crash does it */
	else if (rb_reopen(b) == 0)
		clones_reopen(l);
}

/* The newest snapshot that the operator may delete: no clone's base.  0: none. */
static uint32_t newest(struct life *l)
{
	uint32_t ids[2 * LENGTH_MAX + 2], n;

	rb_settle(l->b);
	if (is_down(l->b))
		return 0;
	n = sb_listed(l->b, ids, ARRAY_COUNT(ids));
	while (n > 0) {
		struct uuid uuid = sb_uuid(ids[--n]);
		struct snapshot_info info;

		ck_assert_int_eq(replica_snapshot_by_uuid(l->b->r, &uuid, &info), 0);
		if (info.clones == 0)
			return ids[n];
	}
	return 0;
}

static void op_snapshot(struct life *l)
{
	(void)sb_create(l->b, l->next_id++);
	fake_run_for(l->b->f, 20000);
}

/* It is given back as far as that goes. */
static void op_delete(struct life *l)
{
	uint32_t id = newest(l);

	if (id == 0)
		return;
	(void)sb_delete(l->b, id);
	rb_settle(l->b);
	if (!is_down(l->b))
		fake_run_for(l->b->f, 5 * MS_NS);
}

static void op_rollback(struct life *l)
{
	uint32_t id = newest(l);

	if (id != 0 && sb_restore(l->b, id, l->next_id++) == 0)
		rb_settle(l->b);
}

/* With a write of its own. */
static void op_clone(struct life *l)
{
	uint32_t id = newest(l);
	struct rb *clone = id == 0 ? NULL : sb_clone(l->b, id, l->clone_count + 1);

	if (clone == NULL)
		return;
	l->clones[l->clone_count++] = clone;
	if (!is_down(l->b))
		rb_settle(clone);
	if (!is_down(l->b))
		append(clone, EXTENT_DATA, 5, 2);
}

static op_fn *const alphabet[] = {
	op_write_one, op_write_many, op_zero,	op_discard_chunk, op_fold,
	op_restart,   op_snapshot,   op_delete, op_rollback,	  op_clone,
};
#define LETTERS ((uint32_t)ARRAY_COUNT(alphabet))

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

struct tally {
	uint64_t sequences, places, cases, subsets_whole;
	uint32_t units_max;
};

/* The store that every case begins with, and what it holds. */
static struct rb *base_make(void)
{
	struct rb *b = rb_open(91, 0);
	struct fake_wait wait;

	ck_assert_int_eq(rb_start(b), 0);
	append(b, EXTENT_DATA, 0, 10);
	fold(b);
	ck_assert_int_eq(sb_create(b, 1), 0);
	fold(b);
	append(b, EXTENT_DATA, 14, 3);
	rb_settle(b);
	store_close(&b->store, fake_arm(b->f, &wait));
	ck_assert_int_eq(fake_wait(b->f, &wait), 0);
	rb_crash(b);
	return b;
}

static struct rb *base_copy(const struct rb *base, uint64_t seed)
{
	struct rb *b = rb_open(seed, (uint32_t)number("TS_FAULT_MUTANT", 0));

	sim_disk_copy(b->f->sim_disk, base->f->sim_disk);
	memcpy(b->records, base->records, sizeof(base->records[0]) * base->count);
	b->count = base->count;
	b->acked = base->acked;
	ck_assert_int_eq(rb_reopen(b), 0);
	return b;
}

/* One life, until the power fails at the nth I/O; false: it was over before. */
static bool run(struct life *l, const uint32_t *letters, uint32_t length, uint64_t n)
{
	l->b->f->sim_disk->faults.stop_nth = n;
	for (uint32_t i = 0; i < length && !is_down(l->b); i++)
		alphabet[letters[i]](l);
	if (!is_down(l->b))
		settle(l);
	return is_down(l->b);
}

/* A clone whose group or first record did not become durable is none. */
static void check_clone(struct rb *clone, struct rb *b)
{
	struct replica_status st;

	if (sb_clone_reopen(clone, b) < 0) {
		ck_assert_uint_eq(clone->acked, 0);
		return;
	}
	replica_status(clone->r, &st);
	ck_assert_uint_ge(st.tail.v, clone->acked);
	if (st.tail.v > 0)
		rb_check(clone);
}

static void check_after(struct life *l)
{
	l->b->f->sim_disk->faults.crash_by_mask = false;
	check_bench_clean(l->b->f);
	ck_assert_int_eq(rb_reopen(l->b), 0);
	rb_check(l->b);
	for (uint32_t i = 0; i < l->clone_count; i++)
		check_clone(l->clones[i], l->b);
	sb_check(l->b);
}

struct choice {
	bool by_mask;
	uint64_t mask, seed;
};

/* The power fails at I/O n with this choice; returns how many writes it chose from, or -1: never. */
static int one_case(const struct rb *base, const uint32_t *letters, uint32_t length, uint64_t n,
		    const struct choice *choice)
{
	struct life l = {.b = base_copy(base, choice->seed), .next_id = 2};
	struct sim_disk_faults *f = &l.b->f->sim_disk->faults;
	int units = -1;

	if (run(&l, letters, length, n)) {
		f->crash_by_mask = choice->by_mask;
		f->crash_mask = choice->mask;
		rb_crash(l.b);
		units = (int)l.b->f->sim_disk->faults.crash_units;
		check_after(&l);
	}
	for (uint32_t i = 0; i < l.clone_count; i++)
		sb_clone_close(&l.clones[i]);
	rb_close(&l.b);
	return units;
}

static bool one_place(const struct rb *base, const uint32_t *letters, uint32_t length, uint64_t n,
		      struct tally *t)
{
	struct choice choice = {.by_mask = true, .seed = 92};
	int units = one_case(base, letters, length, n, &choice);
	uint64_t more;

	if (units < 0)
		return false;
	t->places++;
	t->units_max = (uint32_t)units > t->units_max ? (uint32_t)units : t->units_max;
	more = (uint32_t)units <= SUBSET_UNITS ? (1ull << units) - 1 : SUBSETS_OF_MANY;
	t->subsets_whole += (uint32_t)units <= SUBSET_UNITS;
	for (uint64_t i = 1; i <= more; i++) {
		choice.mask = (uint32_t)units <= SUBSET_UNITS ? i
			      : i == 1			      ? UINT64_MAX
				       : (n * 31 + i) * 0x9e3779b97f4a7c15ull;
		(void)one_case(base, letters, length, n, &choice);
	}
	t->cases += 1 + more;
	choice.by_mask = false;
	for (uint32_t i = 0; i < TORN_OF_MANY && (uint32_t)units > 0; i++, t->cases++) {
		choice.seed = 93 + i;
		(void)one_case(base, letters, length, n, &choice);
	}
	return true;
}

/* Sequences [from, to) of one length. */
static void sequences(uint32_t length, uint64_t from, uint64_t to)
{
	struct rb *base = base_make();
	uint32_t letters[LENGTH_MAX];
	struct tally t = {0};

	for (uint64_t s = from; s < to; s++) {
		uint64_t rest = s, n = 1;

		for (uint32_t i = 0; i < length; i++, rest /= LETTERS)
			letters[i] = (uint32_t)(rest % LETTERS);
		while (n < STEPS_MAX && one_place(base, letters, length, n, &t))
			n++;
		ck_assert_uint_lt(n, STEPS_MAX);
		t.sequences++;
	}
	printf("store_sequences: length %u: sequences %llu to %llu of %u operations, %llu places, %llu cases; every "
	       "subset at %llu places, up to %u writes undecided\n",
	       length, (unsigned long long)from, (unsigned long long)to, LETTERS,
	       (unsigned long long)t.places, (unsigned long long)t.cases,
	       (unsigned long long)t.subsets_whole, t.units_max);
	ck_assert_uint_gt(t.cases, 0);
	rb_close(&base);
}

static uint64_t part = 0, parts = 1; /* --part I/N, I from 1: part is I - 1 */

START_TEST(power_fails_anywhere_in_every_short_sequence)
{
	uint32_t only = (uint32_t)number("TS_FAULT_LENGTH", 0);

	ck_assert_uint_le(only, LENGTH_MAX);
	for (uint32_t length = only == 0 ? 1 : only; length <= (only == 0 ? 2 : only); length++) {
		uint64_t count = 1, from, to;

		for (uint32_t i = 0; i < length; i++)
			count *= LETTERS;
		from = number("TS_FAULT_FROM", count * part / parts);
		to = number("TS_FAULT_TO", count * (part + 1) / parts);
		sequences(length, from, to < count ? to : count);
	}
}
END_TEST

static void part_parse(const char *text)
{
	char *end;

	part = strtoull(text, &end, 10) - 1;
	parts = *end == '/' ? strtoull(end + 1, &end, 10) : 0;
	if (*end == '\0' && part < parts)
		return;
	fprintf(stderr, "store_sequences_test: --part I/N: I is 1 to N\n");
	exit(2);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("fault/store_sequences");
	TCase *c = tcase_create("store_sequences");
	SRunner *runner;
	int failed;

	if (argc == 3 && strcmp(argv[1], "--part") == 0) {
		part_parse(argv[2]);
	} else if (argc > 1) {
		fprintf(stderr, "usage: store_sequences_test [--part I/N]\n");
		return 2;
	}
	mallopt(M_MMAP_THRESHOLD, 1 << 30); /* thousands of stores: keep their pages */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	tcase_set_timeout(c, 0);
	tcase_add_test(c, power_fails_anywhere_in_every_short_sequence);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
