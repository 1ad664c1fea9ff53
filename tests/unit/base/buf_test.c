/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/buf.h"

#include <signal.h>

#include "engine/base/err.h"
#include "tests/unit/base/base_test.h"

static const struct buf_pool_sizes sizes = {{[BUF_4K] = 2, [BUF_64K] = 1, [BUF_1M] = 1}};

struct waiting_op {
	struct op op;
	struct buf_waiter w;
	int steps;
};

static void waiting_op_step(struct op *op)
{
	container_of(op, struct waiting_op, op)->steps++;
}

static void waiting_op_start(struct waiting_op *o, struct ready *ready, struct buf_pool *p)
{
	op_init(&o->op, ready, waiting_op_step);
	list_link_init(&o->w.link);
	o->steps = 0;
	completion_arm(&o->w.done, &o->op, 1);
	buf_wait(p, &o->w);
}

START_TEST(buf_take_gives_the_smallest_class_that_is_free)
{
	struct buf_pool *p = NULL;
	struct buf *a, *b, *c, *d;
	void *base;
	uint64_t bytes;

	ck_assert_int_eq(buf_pool_open(&sizes, &p), 0);
	buf_pool_arena(p, &base, &bytes);
	ck_assert(bytes == 2 * 4096 + 65536 + 1048576);
	a = buf_take(p, 1);
	b = buf_take(p, 4096);
	ck_assert_uint_eq(a->bytes, 4096);
	ck_assert_uint_eq(b->bytes, 4096);
	c = buf_take(p, 100); /* no 4 KiB is left */
	ck_assert_uint_eq(c->bytes, 65536);
	d = buf_take(p, 65537);
	ck_assert_uint_eq(d->bytes, 1048576);
	ck_assert_ptr_null(buf_take(p, 1));
	ck_assert_uint_eq((uintptr_t)a->data % 4096, 0);
	ck_assert_uint_eq((uintptr_t)d->data % 4096, 0);
	ck_assert(d->data >= (uint8_t *)base && d->data + d->bytes <= (uint8_t *)base + bytes);
	buf_unref(&a);
	ck_assert_ptr_null(a);
	ck_assert_uint_eq(buf_pool_free_count(p, BUF_4K), 1);
	buf_unref(&b);
	buf_unref(&c);
	buf_unref(&d);
	buf_pool_close(&p);
	ck_assert_ptr_null(p);
}
END_TEST

START_TEST(buf_is_free_after_its_last_reference)
{
	struct buf_pool *p = NULL;
	struct buf *a, *b;

	ck_assert_int_eq(buf_pool_open(&sizes, &p), 0);
	a = buf_take(p, 4096);
	b = buf_ref(a);
	buf_unref(&a);
	ck_assert_uint_eq(buf_pool_free_count(p, BUF_4K), 1);
	buf_unref(&b);
	ck_assert_uint_eq(buf_pool_free_count(p, BUF_4K), 2);
	buf_pool_close(&p);
}
END_TEST

START_TEST(buf_take_reserve_leaves_the_last_ones)
{
	struct buf_pool *p = NULL;
	struct buf *a;

	ck_assert_int_eq(buf_pool_open(&sizes, &p), 0);
	a = buf_take_reserve(p, 4096, 1);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_null(buf_take_reserve(p, 4096, 1));
	ck_assert_uint_eq(buf_pool_free_count(p, BUF_4K), 1);
	buf_unref(&a);
	buf_pool_close(&p);
}
END_TEST

START_TEST(buf_give_wakes_every_waiter_in_order)
{
	struct buf_pool *p = NULL;
	struct waiting_op o[2];
	struct ready ready;
	struct buf *a;

	ready_init(&ready);
	ck_assert_int_eq(buf_pool_open(&sizes, &p), 0);
	a = buf_take(p, 4096);
	waiting_op_start(&o[0], &ready, p);
	waiting_op_start(&o[1], &ready, p);
	ck_assert(!ready_run(&ready, 10));
	ck_assert_int_eq(o[0].steps, 0);
	buf_unref(&a);
	ck_assert(ready_run(&ready, 1)); /* the first waiter, and one is left */
	ck_assert_int_eq(o[0].steps, 1);
	ck_assert_int_eq(o[1].steps, 0);
	ck_assert(!ready_run(&ready, 10));
	ck_assert_int_eq(o[1].steps, 1);
	ck_assert_int_eq(o[1].w.done.rc, 0);
	buf_pool_close(&p);
}
END_TEST

START_TEST(buf_wait_cancel_fires_canceled_once)
{
	struct buf_pool *p = NULL;
	struct waiting_op o;
	struct ready ready;

	ready_init(&ready);
	ck_assert_int_eq(buf_pool_open(&sizes, &p), 0);
	waiting_op_start(&o, &ready, p);
	buf_wait_cancel(p, &o.w);
	buf_wait_cancel(p, &o.w);
	ck_assert(!ready_run(&ready, 10));
	ck_assert_int_eq(o.steps, 1);
	ck_assert_int_eq(o.w.done.rc, -ERR_CANCELED);
	buf_pool_close(&p);
}
END_TEST

START_TEST(buf_pool_close_aborts_when_a_buf_is_out)
{
	struct buf_pool *p = NULL;

	ck_assert_int_eq(buf_pool_open(&sizes, &p), 0);
	ck_assert_ptr_nonnull(buf_take(p, 4096));
	buf_pool_close(&p);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base-buf");
	TCase *tcase = tcase_create("base-buf");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, buf_take_gives_the_smallest_class_that_is_free);
	tcase_add_test(tcase, buf_is_free_after_its_last_reference);
	tcase_add_test(tcase, buf_take_reserve_leaves_the_last_ones);
	tcase_add_test(tcase, buf_give_wakes_every_waiter_in_order);
	tcase_add_test(tcase, buf_wait_cancel_fires_canceled_once);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	if (srunner_fork_status(runner) == CK_FORK)
		tcase_add_test_raise_signal(tcase, buf_pool_close_aborts_when_a_buf_is_out,
					    SIGABRT);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
