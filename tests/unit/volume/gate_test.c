/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about engine/volume/gate.c: order among overlapping operations, against a model that looks at all pairs. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/gate.h"
#include "tests/sim/prng.h"

#define ENTRIES 64u
#define BLOCKS \
	(3u * GATE_WINDOW_BLOCKS + GATE_WINDOW_BLOCKS * GATE_WINDOWS) /* windows share buckets */

struct entry {
	struct op op;
	struct gate_entry e;
	uint64_t begin, end, order;
	bool writes, in;
};

static struct entry entries[ENTRIES];
static struct gate gate;
static struct ready ready;
static uint64_t order;

static void nothing(struct op *op)
{
	(void)op;
}

static void setup(void)
{
	ready_init(&ready);
	gate_init(&gate);
	memset(entries, 0, sizeof(entries));
	order = 0;
}

static bool enter(struct entry *x, uint64_t begin, uint64_t end, bool writes)
{
	op_init(&x->op, &ready, nothing);
	x->begin = begin;
	x->end = end;
	x->writes = writes;
	x->order = ++order;
	x->in = true;
	return gate_enter(&gate, &x->e, begin, end, writes, &x->op);
}

static void leave(struct entry *x)
{
	gate_leave(&gate, &x->e);
	op_unqueue(&x->op);
	x->in = false;
}

/* Is an earlier conflicting overlapping entry still there? */
static bool model_blocked(const struct entry *x)
{
	for (uint32_t i = 0; i < ENTRIES; i++) {
		const struct entry *o = &entries[i];

		if (o->in && o->order < x->order && (o->writes || x->writes) && o->begin < x->end &&
		    x->begin < o->end)
			return true;
	}
	return false;
}

START_TEST(reads_run_together_and_a_write_waits_for_them)
{
	setup();
	ck_assert(enter(&entries[0], 0, 4, false));
	ck_assert(enter(&entries[1], 2, 6, false));
	ck_assert(!enter(&entries[2], 3, 4, true));
	ck_assert(enter(&entries[3], 6, 7, true));
	leave(&entries[0]);
	ck_assert(!gate_may_run(&entries[2].e));
	leave(&entries[1]);
	ck_assert(gate_may_run(&entries[2].e));
	ck_assert(list_linked(&entries[2].op.link)); /* it was woken */
}
END_TEST

START_TEST(a_read_behind_a_waiting_write_waits_too)
{
	setup();
	ck_assert(enter(&entries[0], 0, 1, false));
	ck_assert(!enter(&entries[1], 0, 1, true));
	ck_assert(!enter(&entries[2], 0, 1, false));
	leave(&entries[1]); /* given up while it waited */
	ck_assert(gate_may_run(&entries[2].e));
}
END_TEST

START_TEST(an_operation_over_windows_meets_those_inside_them)
{
	setup();
	ck_assert(enter(&entries[0], GATE_WINDOW_BLOCKS * 5, GATE_WINDOW_BLOCKS * 5 + 1, true));
	ck_assert(!enter(&entries[1], 0, GATE_WINDOW_BLOCKS * 9, true));
	ck_assert(!enter(&entries[2], GATE_WINDOW_BLOCKS * 8, GATE_WINDOW_BLOCKS * 8 + 1, false));
	leave(&entries[0]);
	ck_assert(gate_may_run(&entries[1].e));
	leave(&entries[1]);
	ck_assert(gate_may_run(&entries[2].e));
}
END_TEST

START_TEST(it_runs_what_the_model_runs_and_wakes_what_may_run)
{
	struct prng rng;

	prng_init(&rng, (uint64_t)_i + 1, 1);
	setup();
	for (uint32_t step = 0; step < 20000; step++) {
		struct entry *x = &entries[prng_below(&rng, ENTRIES)];

		if (x->in) {
			leave(x);
		} else {
			uint64_t span = prng_below(&rng, 10) == 0 ? GATE_WINDOW_BLOCKS * 4 : 12;
			uint64_t base = prng_below(&rng, 2) * GATE_WINDOW_BLOCKS * GATE_WINDOWS;
			uint64_t begin = base + prng_below(&rng, GATE_WINDOW_BLOCKS * 3 - 1);
			uint64_t end = begin + 1 + prng_below(&rng, span);
			bool runs = enter(x, begin, end < BLOCKS ? end : BLOCKS,
					  prng_below(&rng, 2) == 0);

			ck_assert_int_eq(runs, !model_blocked(x));
		}
		for (uint32_t i = 0; i < ENTRIES; i++)
			if (entries[i].in)
				ck_assert_int_eq(gate_may_run(&entries[i].e),
						 !model_blocked(&entries[i]));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("volume-gate");
	TCase *t = tcase_create("gate");
	SRunner *r;
	int failed;

	tcase_add_test(t, reads_run_together_and_a_write_waits_for_them);
	tcase_add_test(t, a_read_behind_a_waiting_write_waits_too);
	tcase_add_test(t, an_operation_over_windows_meets_those_inside_them);
	tcase_add_loop_test(t, it_runs_what_the_model_runs_and_wakes_what_may_run, 0, 4);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
