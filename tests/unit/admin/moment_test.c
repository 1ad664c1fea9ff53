/* SPDX-License-Identifier: Apache-2.0 */
/* Moments as people write them. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/types.h"
#include "tools/ctl/moment.h"

static void check_time(const char *text, uint64_t ns)
{
	struct moment m;

	ck_assert_int_eq(moment_parse(text, &m), 0);
	ck_assert_int_eq(m.kind, MOMENT_TIME);
	ck_assert_uint_eq(m.time_ns, ns);
}

static void check_age(const char *text, uint64_t ns)
{
	struct moment m;

	ck_assert_int_eq(moment_parse(text, &m), 0);
	ck_assert_int_eq(m.kind, MOMENT_AGE);
	ck_assert_uint_eq(m.age_ns, ns);
}

/* Seconds by `date -u -d TEXT +%s`. */
START_TEST(times_are_read)
{
	check_time("1970-01-01T00:00:00Z", 0);
	check_time("2026-11-27T15:04:05Z", 1795791845ull * SEC_NS);
	check_time("2026-11-27t15:04:05z", 1795791845ull * SEC_NS);
	check_time("2026-11-27 15:04:05", 1795791845ull * SEC_NS);
	check_time("2026-11-27 15:04:05Z", 1795791845ull * SEC_NS);
	check_time("2026-11-27T16:34:05+01:30", 1795791845ull * SEC_NS);
	check_time("2026-11-27T10:04:05-05:00", 1795791845ull * SEC_NS);
	check_time("2026-11-27T15:04:05.25Z", 1795791845ull * SEC_NS + 250 * MS_NS);
	check_time("2026-11-27 15:04:05.000000001", 1795791845ull * SEC_NS + 1);
	check_time("2026-11-27 15:04:05.0000000019", 1795791845ull * SEC_NS + 1);
	check_time("2024-02-29T12:00:00Z", 1709208000ull * SEC_NS);
	check_time("2000-03-01T00:00:00Z", 951868800ull * SEC_NS);
}
END_TEST

START_TEST(ages_and_positions_are_read)
{
	struct moment m;

	check_age("-10m", 600 * SEC_NS);
	check_age("10m ago", 600 * SEC_NS);
	check_age("-250ms", 250 * MS_NS);
	check_age("2d ago", 2 * 86400 * SEC_NS);
	ck_assert_int_eq(moment_parse("40960", &m), 0);
	ck_assert_int_eq(m.kind, MOMENT_LSN);
	ck_assert_uint_eq(m.lsn, 40960);
}
END_TEST

START_TEST(what_is_not_wholly_a_moment_is_refused)
{
	static const char *const bad[] = {"",
					  "-",
					  "ago",
					  " ago",
					  "10m",
					  "10 ago",
					  "-10",
					  "--10m",
					  "-10m ago",
					  "now",
					  "yesterday",
					  "2026-11-27",
					  "2026-11-27T15:04Z",
					  "2026-11-27T15:04:05",
					  "2026-13-01T00:00:00Z",
					  "2026-02-29T00:00:00Z",
					  "2026-04-31T00:00:00Z",
					  "2026-11-27T24:00:00Z",
					  "2026-11-27T15:60:00Z",
					  "2026-11-27T15:04:61Z",
					  "2026-11-27T15:04:05.Z",
					  "2026-11-27T15:04:05+1:00",
					  "2026-11-27T15:04:05+24:00",
					  "2026-11-27T15:04:05ZZ",
					  "2026-11-27T15:04:05Z ",
					  " 2026-11-27T15:04:05Z",
					  "1970-01-01T00:00:00+00:01",
					  "1969-12-31T23:59:59Z",
					  "99999999999999999999",
					  "0x1000",
					  "4096B",
					  "-1",
					  "99999999999999999999999999999999999999m ago"};
	struct moment m = {.lsn = 7};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(moment_parse(bad[i], &m) == -ERR_INVALID && m.lsn == 7, "'%s'",
			      bad[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admin/moment");
	TCase *c = tcase_create("moment");
	SRunner *runner;
	int failed;

	tcase_add_test(c, times_are_read);
	tcase_add_test(c, ages_and_positions_are_read);
	tcase_add_test(c, what_is_not_wholly_a_moment_is_refused);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
