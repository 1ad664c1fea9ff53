/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about engine/volume/lag.c: never too young, bounded, fine again after a long lag. */
#include <check.h>
#include <stdlib.h>

#include "engine/volume/lag.h"

#define AT(ms) ((struct mono_ns){(ms)*MS_NS})
#define WALL(ms) ((struct wall_ns){1000 * SEC_NS + (ms)*MS_NS})
#define LSN(n) ((struct lsn){n})

START_TEST(what_a_peer_lacks_has_the_age_of_its_oldest_write)
{
	struct lag l = {0};

	ck_assert_uint_eq(lag_age_ns(&l, LSN(0), AT(5)), 0);
	lag_note(&l, LSN(100), AT(1000), WALL(1000));
	lag_note(&l, LSN(200), AT(2000), WALL(2000));
	lag_note(&l, LSN(300), AT(3000), WALL(3000));
	ck_assert_uint_eq(lag_age_ns(&l, LSN(300), AT(9000)), 0);
	ck_assert_uint_eq(lag_age_ns(&l, LSN(299), AT(3500)), 500 * MS_NS);
	ck_assert_uint_eq(lag_age_ns(&l, LSN(150), AT(3500)), 1500 * MS_NS);
	ck_assert_uint_eq(lag_age_ns(&l, LSN(0), AT(3500)), 2500 * MS_NS);
	ck_assert_uint_eq(lag_time(&l, LSN(250)).v, WALL(2000).v);
	ck_assert_uint_eq(lag_time(&l, LSN(99)).v, 0);
}
END_TEST

START_TEST(writes_within_one_sample_have_the_time_of_the_first)
{
	struct lag l = {0};

	for (uint64_t i = 0; i < 10; i++)
		lag_note(&l, LSN(100 + i), AT(1000 + i), WALL(1000 + i));
	ck_assert_uint_eq(l.count, 1);
	ck_assert_uint_eq(lag_age_ns(&l, LSN(105), AT(1100)), 100 * MS_NS);
	ck_assert_uint_eq(lag_age_ns(&l, LSN(109), AT(1100)), 0);
}
END_TEST

/* An hour of writes that a peer does not get: bounded, and its age is exact in the first sample. */
START_TEST(a_long_lag_is_bounded_and_never_told_too_small)
{
	struct lag l = {0};

	for (uint64_t ms = 0; ms < 3600000; ms += 20)
		lag_note(&l, LSN(1 + ms), AT(1000 + ms), WALL(ms));
	ck_assert_uint_le(l.count, LAG_SAMPLES);
	ck_assert_uint_eq(lag_age_ns(&l, LSN(0), AT(3601000)), 3600000 * MS_NS);
	for (uint64_t ms = 0; ms < 3600000; ms += 60000) {
		uint64_t age = lag_age_ns(&l, LSN(1 + ms), AT(3601000)), exact;

		exact = (3600000 - ms - 20) * MS_NS; /* of the next write */
		ck_assert_uint_ge(age, exact);
		ck_assert_uint_le(age, exact + 2 * l.every_ns);
	}
	lag_forget(&l, LSN(3600000));
	ck_assert_uint_le(l.count, 1);
	ck_assert_uint_eq(l.every_ns, LAG_EVERY_NS);
	ck_assert_uint_ne(lag_time(&l, LSN(3600000)).v, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lag");
	TCase *t = tcase_create("lag");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, what_a_peer_lacks_has_the_age_of_its_oldest_write);
	tcase_add_test(t, writes_within_one_sample_have_the_time_of_the_first);
	tcase_add_test(t, a_long_lag_is_bounded_and_never_told_too_small);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
