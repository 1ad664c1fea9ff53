/* SPDX-License-Identifier: Apache-2.0 */
/* list.h and the assertion macros: headers that everything stands on. */
#include "engine/base/list.h"

#include <signal.h>

#include "tests/unit/base/base_test.h"

struct member {
	int value;
	struct list_link link;
};

static int list_digits(const struct list *l)
{
	int digits = 0;

	LIST_FOR_EACH(n, l)
		digits = digits * 10 + container_of(n, struct member, link)->value;
	return digits;
}

START_TEST(list_keeps_the_order_of_pushes)
{
	struct member m[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
	struct list l;

	list_init(&l);
	ck_assert(list_empty(&l));
	ck_assert_ptr_null(list_first(&l));
	ck_assert_ptr_null(list_last(&l));
	ck_assert_ptr_null(list_pop_front(&l));
	list_push_back(&l, &m[1].link);
	list_push_back(&l, &m[2].link);
	list_push_front(&l, &m[0].link);
	ck_assert_int_eq(list_digits(&l), 123);
	ck_assert_ptr_eq(list_first(&l), &m[0].link);
	ck_assert_ptr_eq(list_last(&l), &m[2].link);
	ck_assert_ptr_null(list_next(&l, &m[2].link));
	ck_assert_ptr_eq(list_pop_front(&l), &m[0].link);
	ck_assert(!list_linked(&m[0].link) && list_linked(&m[1].link));
	ck_assert_int_eq(list_digits(&l), 23);
}
END_TEST

START_TEST(list_members_may_leave_while_walking)
{
	struct member m[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
	struct list l;

	list_init(&l);
	for (int i = 0; i < 4; i++)
		list_push_back(&l, &m[i].link);
	LIST_FOR_EACH_SAFE(n, &l)
		if (container_of(n, struct member, link)->value % 2 == 0)
			list_remove(n);
	ck_assert_int_eq(list_digits(&l), 13);
	list_push_back(&l, &m[1].link); /* what left may come back */
	ck_assert_int_eq(list_digits(&l), 132);
}
END_TEST

START_TEST(assert_of_truth_evaluates_once_and_goes_on)
{
	int evaluated = 0;

	assert(evaluated++ == 0);
	ck_assert_int_eq(evaluated, 1);
}
END_TEST

/* These abort. */
START_TEST(assert_of_a_lie_aborts)
{
	assert(1 == 2);
}
END_TEST

START_TEST(unreachable_aborts)
{
	UNREACHABLE("a test");
}
END_TEST

START_TEST(list_refuses_a_member_twice)
{
	struct member m = {0};
	struct list l;

	list_init(&l);
	list_push_back(&l, &m.link);
	list_push_back(&l, &m.link);
}
END_TEST

START_TEST(list_refuses_to_remove_a_stranger)
{
	struct member m = {0};

	list_remove(&m.link);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base-list");
	TCase *tcase = tcase_create("base-list");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, list_keeps_the_order_of_pushes);
	tcase_add_test(tcase, list_members_may_leave_while_walking);
	tcase_add_test(tcase, assert_of_truth_evaluates_once_and_goes_on);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	if (srunner_fork_status(runner) == CK_FORK) {
		tcase_add_test_raise_signal(tcase, assert_of_a_lie_aborts, SIGABRT);
		tcase_add_test_raise_signal(tcase, unreachable_aborts, SIGABRT);
		tcase_add_test_raise_signal(tcase, list_refuses_a_member_twice, SIGABRT);
		tcase_add_test_raise_signal(tcase, list_refuses_to_remove_a_stranger, SIGABRT);
	}
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
