/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/base/base_test.h: a main for a libcheck suite of one case. */
#ifndef TS_TESTS_BASE_TEST_H
#define TS_TESTS_BASE_TEST_H

#include <check.h>
#include <stddef.h>

/* Runs `tests` as one suite; the result is for exit. */
static inline int base_test_run(const char *name, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

#endif
