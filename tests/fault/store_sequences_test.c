/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fault/store_sequences_test.c: every sequence of up to LENGTH operations of a small alphabet, on a
 * small store; the power fails at every I/O of it; of the writes that were not durable then, every subset
 * is kept (up to SUBSET_UNITS of them; of more, some subsets, and some torn ones by the seed).  After
 * each the check is clean, nothing acknowledged is lost, all content is what the records made.
 *
 * Length 1 here; TS_FAULT_LENGTH=2 or 3 by hand, TS_FAULT_FROM and TS_FAULT_TO (sequence numbers) for a
 * part, TS_FAULT_MUTANT=N (enum store_mutant) to see it fail.  Prints how many cases were covered.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/unit/store/check_bench.h"
#include "tests/unit/store/replica_bench.h"

#define LENGTH_MAX 3u
#define STEPS_MAX 2000u
#define SUBSET_UNITS 3u
#define SUBSETS_OF_MANY 5u
#define TORN_OF_MANY 2u

/* Power that fails in the middle of these leaves their small control objects behind. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:store_close\nleak:store_check\nleak:store_create\n";
}

typedef void op_fn(struct rb *b);

static void append(struct rb *b, enum extent_kind kind, uint32_t block, uint32_t count)
{
	struct record_extent e = {.kind = kind, .block = block, .count = count};

	(void)rb_append_extents(b, &e, 1); /* -ERR_FAILED when the power is gone */
	fake_run_for(b->f, 20000);	   /* on its way */
}

static void op_write_one(struct rb *b)
{
	append(b, EXTENT_DATA, 3, 1);
}

/* Across a chunk's end, over what was written one by one. */
static void op_write_many(struct rb *b)
{
	append(b, EXTENT_DATA, 2, 20);
}

static void op_zero(struct rb *b)
{
	append(b, EXTENT_ZERO, 1, 4);
}

static void op_discard_chunk(struct rb *b)
{
	append(b, EXTENT_DISCARD, 0, 16);
}

static void op_fold(struct rb *b)
{
	struct fake_wait wait;

	rb_settle(b);
	replica_fold(b->r, fake_arm(b->f, &wait));
	(void)fake_wait(b->f, &wait);
}

static void op_restart(struct rb *b)
{
	struct store *s = b->store;
	struct fake_wait wait;

	rb_settle(b);
	store_close(&b->store, fake_arm(b->f, &wait));
	if (fake_wait(b->f, &wait) != -ERR_TIMEOUT)
		(void)rb_reopen(b);
	else
		b->store = s; /* the power failed before it was freed: rb_crash does it */
}

static op_fn *const alphabet[] = {
	op_write_one, op_write_many, op_zero, op_discard_chunk, op_fold, op_restart,
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
	op_fold(b);
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

static bool is_down(const struct rb *b)
{
	return b->f->sim_disk->faults.stopped || b->store == NULL;
}

/* One life, until the power fails at the nth I/O; false: it was over before. */
static bool run(struct rb *b, const uint32_t *letters, uint32_t length, uint64_t n)
{
	b->f->sim_disk->faults.stop_nth = n;
	for (uint32_t i = 0; i < length && !is_down(b); i++)
		alphabet[letters[i]](b);
	if (!is_down(b))
		rb_settle(b);
	return is_down(b);
}

static void check_after(struct rb *b)
{
	b->f->sim_disk->faults.crash_by_mask = false;
	check_bench_clean(b->f);
	ck_assert_int_eq(rb_reopen(b), 0);
	rb_check(b);
}

struct choice {
	bool by_mask;
	uint64_t mask, seed;
};

/* The power fails at I/O n with this choice; returns how many writes it chose from, or -1: never. */
static int one_case(const struct rb *base, const uint32_t *letters, uint32_t length, uint64_t n,
		    const struct choice *choice)
{
	struct rb *b = base_copy(base, choice->seed);
	struct sim_disk_faults *f = &b->f->sim_disk->faults;
	int units = -1;

	if (run(b, letters, length, n)) {
		f->crash_by_mask = choice->by_mask;
		f->crash_mask = choice->mask;
		rb_crash(b);
		units = (int)b->f->sim_disk->faults.crash_units;
		check_after(b);
	}
	rb_close(&b);
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

START_TEST(power_fails_anywhere_in_every_short_sequence)
{
	uint32_t length = (uint32_t)number("TS_FAULT_LENGTH", 1), letters[LENGTH_MAX];
	uint64_t from = number("TS_FAULT_FROM", 0), to = number("TS_FAULT_TO", UINT64_MAX);
	uint64_t count = 1;
	struct rb *base = base_make();
	struct tally t = {0};

	ck_assert_uint_le(length, LENGTH_MAX);
	for (uint32_t i = 0; i < length; i++)
		count *= LETTERS;
	for (uint64_t s = from; s < count && s < to; s++) {
		uint64_t rest = s, n = 1;

		for (uint32_t i = 0; i < length; i++, rest /= LETTERS)
			letters[i] = (uint32_t)(rest % LETTERS);
		while (n < STEPS_MAX && one_place(base, letters, length, n, &t))
			n++;
		ck_assert_uint_lt(n, STEPS_MAX);
		t.sequences++;
	}
	printf("store_sequences: length %u: %llu sequences of %u operations, %llu places, %llu cases; every subset "
	       "at %llu places, up to %u writes undecided\n",
	       length, (unsigned long long)t.sequences, LETTERS, (unsigned long long)t.places,
	       (unsigned long long)t.cases, (unsigned long long)t.subsets_whole, t.units_max);
	ck_assert_uint_gt(t.cases, 0);
	rb_close(&base);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault/store_sequences");
	TCase *c = tcase_create("store_sequences");
	SRunner *runner;
	int failed;

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
