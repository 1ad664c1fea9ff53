/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/check_bench.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static void report(void *ctx, enum check_line kind, const char *line)
{
	if (kind == CHECK_BAD || getenv("TS_TEST_CHECK") != NULL)
		fprintf(stderr, "check: %s\n", line);
}

uint64_t check_bench_run(struct fake *f, struct store_check *c)
{
	struct fake_wait wait;

	c->memory_bytes = 32 << 20;
	c->report = report;
	fake_arm_on(f->env, &wait, &c->done);
	store_check(f->env, f->disk, c);
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	return c->bad_count;
}

uint64_t check_bench_clean(struct fake *f)
{
	struct store_check c = {.digest = true};

	ck_assert_uint_eq(check_bench_run(f, &c), 0);
	return c.digest_all;
}
