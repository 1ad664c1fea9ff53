/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/images/make_staging.c: writes the image of a store whose power failed while a full copy was
 * being staged beside the visible replica: a large unfolded journal, a staging replica with half of
 * its content, both in a durable checkpoint.
 *
 * usage: IMAGE=FILE make_staging
 * By hand, by the build whose format an image is to keep (README.md).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/store/stage_bench.h"

static int dump(struct rb *b, const char *path)
{
	static uint8_t block[SIM_DISK_CHUNK];
	FILE *f = fopen(path, "wb");
	uint64_t at = 0;

	for (; f != NULL && at < b->f->disk->bytes; at += sizeof(block)) {
		sim_disk_peek(b->f->sim_disk, at, block, sizeof(block));
		if (fwrite(block, sizeof(block), 1, f) != 1)
			break;
	}
	return f != NULL && fclose(f) == 0 && at == b->f->disk->bytes ? 0 : 1;
}

static void fold(struct rb *b, struct replica *r)
{
	struct fake_wait wait;

	replica_fold(r, fake_arm(b->f, &wait));
	(void)fake_wait(b->f, &wait);
}

START_TEST(the_image_is_made)
{
	struct rb *b = rb_open(11, 0);

	ck_assert_int_eq(rb_start(b), 0);
	rb_work(b, 50);
	rb_settle(b);
	fold(b, b->r);
	ck_assert_int_eq(stage_bench_copy(b), 0);
	fold(b, b->r); /* its checkpoint has the staging replica too */
	rb_work(b, 12);
	rb_settle(b);
	rb_crash(b);
	ck_assert_int_eq(dump(b, getenv("IMAGE")), 0);
	rb_close(&b);
}
END_TEST

/* The benches assert through check: hence a suite of one. */
int main(void)
{
	Suite *suite = suite_create("make_staging");
	TCase *c = tcase_create("make_staging");
	SRunner *runner;
	int failed;

	tcase_add_test(c, the_image_is_made);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
