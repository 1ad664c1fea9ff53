/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/uring/uring_test.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "engine/base/buf.h"
#include "engine/port/disk.h"
#include "engine/uring/disk.h"

#define MIB (1024u * 1024u)

static struct disk *disk_new(struct world *w, uint64_t bytes)
{
	struct uring_disk_options o = {.create = true, .bytes = bytes};
	struct disk *d = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/disk", w->folder);
	ck_assert_int_eq(uring_disk_open(w->loop, path, &o, &d), 0);
	ck_assert_uint_eq(d->bytes, bytes);
	return d;
}

static int io(struct world *w, struct disk *d, struct disk_req *req, enum disk_kind kind,
	      uint32_t flags, uint64_t off, void *data, uint64_t bytes)
{
	completion_arm(&req->done, &w->op, 1);
	disk_io(d, req, kind, flags, off, data, bytes);
	world_wait(w, 1);
	return req->done.rc;
}

static uint8_t *blocks(uint32_t count, uint8_t fill)
{
	uint8_t *data = aligned_alloc(4096, (size_t)count * 4096);

	ck_assert_ptr_nonnull(data);
	memset(data, fill, (size_t)count * 4096);
	return data;
}

START_TEST(disk_reads_what_was_written_with_and_without_fua)
{
	uint8_t *a = blocks(2, 0xa5), *b = blocks(2, 0);
	struct disk_req req;
	struct world w;
	struct disk *d;

	world_open(&w, masks[_i]);
	d = disk_new(&w, MIB);
	ck_assert_int_eq(io(&w, d, &req, DISK_WRITE, DISK_FUA, 4096, a, 8192), 0);
	ck_assert_int_eq(io(&w, d, &req, DISK_READ, 0, 4096, b, 8192), 0);
	ck_assert_mem_eq(a, b, 8192);
	memset(a, 0x11, 8192);
	ck_assert_int_eq(io(&w, d, &req, DISK_WRITE, 0, MIB - 8192, a, 8192), 0);
	ck_assert_int_eq(io(&w, d, &req, DISK_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(io(&w, d, &req, DISK_READ, 0, MIB - 8192, b, 8192), 0);
	ck_assert_mem_eq(a, b, 8192);
	uring_disk_close(&d);
	world_close(&w);
	free(a);
	free(b);
}
END_TEST

START_TEST(disk_gathers_and_scatters_many_buffers)
{
	uint8_t *a = blocks(DISK_IOV_MAX, 0), *b = blocks(DISK_IOV_MAX, 0);
	struct iovec iov[DISK_IOV_MAX];
	struct disk_req req = {.kind = DISK_WRITE,
			       .off = 8192,
			       .bytes = (uint64_t)DISK_IOV_MAX * 4096,
			       .iov = iov,
			       .iov_count = DISK_IOV_MAX};
	struct world w;
	struct disk *d;

	world_open(&w, masks[_i]);
	d = disk_new(&w, 2 * MIB);
	for (uint32_t i = 0; i < DISK_IOV_MAX; i++) {
		memset(a + i * 4096, (int)(i % 251), 4096);
		iov[DISK_IOV_MAX - 1 - i] = (struct iovec){a + i * 4096, 4096}; /* backwards */
	}
	completion_arm(&req.done, &w.op, 1);
	disk_submit(d, &req);
	world_wait(&w, 1);
	ck_assert_int_eq(req.done.rc, 0);
	req.kind = DISK_READ;
	for (uint32_t i = 0; i < DISK_IOV_MAX; i++)
		iov[DISK_IOV_MAX - 1 - i] = (struct iovec){b + i * 4096, 4096};
	completion_arm(&req.done, &w.op, 1);
	disk_submit(d, &req);
	world_wait(&w, 1);
	ck_assert_int_eq(req.done.rc, 0);
	ck_assert_mem_eq(a, b, DISK_IOV_MAX * 4096);
	uring_disk_close(&d);
	world_close(&w);
	free(a);
	free(b);
}
END_TEST

START_TEST(disk_uses_registered_buffers_of_the_pool)
{
	struct buf *x, *y;
	struct disk_req req;
	struct world w;
	struct disk *d;

	world_open(&w, masks[_i]);
	d = disk_new(&w, MIB);
	x = buf_take(w.env->bufs, 65536);
	y = buf_take(w.env->bufs, 65536);
	memset(x->data, 0x77, x->bytes);
	ck_assert_int_eq(io(&w, d, &req, DISK_WRITE, DISK_FUA, 65536, x->data, 65536), 0);
	ck_assert_int_eq(io(&w, d, &req, DISK_READ, 0, 65536, y->data, 65536), 0);
	ck_assert_mem_eq(x->data, y->data, 65536);
	buf_unref(&x);
	buf_unref(&y);
	uring_disk_close(&d);
	world_close(&w);
}
END_TEST

static void step_nothing(struct op *op)
{
}

/* 200 requests on a ring of 8 submissions and 32 completions. */
START_TEST(disk_takes_more_requests_than_the_ring_holds)
{
	enum { N = 200 };
	struct disk_req *reqs = calloc(N, sizeof(*reqs));
	struct op *ops = calloc(N, sizeof(*ops));
	uint8_t *data = blocks(1, 0x3c);
	struct world w;
	struct disk *d;

	world_open(&w, masks[_i]);
	d = disk_new(&w, MIB);
	for (uint32_t i = 0; i < N; i++) {
		op_init(&ops[i], w.env->ready, step_nothing);
		completion_arm(&reqs[i].done, &ops[i], 1);
		disk_io(d, &reqs[i], DISK_WRITE, 0, i * 4096, data, 4096);
	}
	for (uint32_t i = 0; i < N; i++) {
		while (ops[i].waits != 0)
			ck_assert_int_eq(uring_loop_turn(w.loop, SEC_NS), 0);
		ck_assert_int_eq(reqs[i].done.rc, 0);
		op_unqueue(&ops[i]);
	}
	uring_disk_close(&d);
	world_close(&w);
	free(reqs);
	free(ops);
	free(data);
}
END_TEST

START_TEST(disk_discard_is_done_and_leaves_the_rest)
{
	uint8_t *a = blocks(3, 0xee), *b = blocks(3, 0);
	struct disk_req req;
	struct world w;
	struct disk *d;

	world_open(&w, masks[_i]);
	d = disk_new(&w, MIB);
	ck_assert_int_eq(io(&w, d, &req, DISK_WRITE, 0, 0, a, 12288), 0);
	ck_assert_int_eq(io(&w, d, &req, DISK_DISCARD, 0, 4096, NULL, 4096), 0);
	ck_assert_int_eq(io(&w, d, &req, DISK_READ, 0, 0, b, 12288), 0);
	ck_assert_mem_eq(a, b, 4096);
	ck_assert_mem_eq(a + 8192, b + 8192, 4096);
	uring_disk_close(&d);
	world_close(&w);
	free(a);
	free(b);
}
END_TEST

START_TEST(disk_refuses_what_is_past_its_end)
{
	uint8_t *a = blocks(1, 0);
	struct disk_req req;
	struct world w;
	struct disk *d;

	world_open(&w, 0);
	d = disk_new(&w, MIB);
	ck_assert_int_eq(io(&w, d, &req, DISK_READ, 0, MIB, a, 4096), -ERR_IO);
	ck_assert_int_eq(io(&w, d, &req, DISK_WRITE, 0, UINT64_MAX - 4095, a, 4096), -ERR_IO);
	uring_disk_close(&d);
	world_close(&w);
	free(a);
}
END_TEST

START_TEST(disk_read_of_a_truncated_file_fails)
{
	uint8_t *a = blocks(2, 0);
	struct disk_req req;
	char path[128];
	struct world w;
	struct disk *d;

	world_open(&w, masks[_i]);
	d = disk_new(&w, MIB);
	snprintf(path, sizeof(path), "%s/disk", w.folder);
	ck_assert_int_eq(truncate(path, 4096), 0);
	/* The first half is there: a short transfer, continued to the end of the file. */
	ck_assert_int_eq(io(&w, d, &req, DISK_READ, 0, 0, a, 8192), -ERR_IO);
	ck_assert_ptr_nonnull(strstr(w.last_line, "unexpected end"));
	uring_disk_close(&d);
	world_close(&w);
	free(a);
}
END_TEST

START_TEST(disk_of_another_process_is_locked)
{
	struct uring_disk_options o = {.lock_wait_ms = 150};
	struct disk *d, *second = NULL;
	char path[128];
	struct world w;

	world_open(&w, 0);
	d = disk_new(&w, MIB);
	snprintf(path, sizeof(path), "%s/disk", w.folder);
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &second), -ERR_LOCKED);
	ck_assert_ptr_nonnull(strstr(w.last_line, "in use by another process"));
	o.read_only = true;
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &second), -ERR_LOCKED);
	uring_disk_close(&d);
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &d), 0);
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &second), 0); /* readers share */
	uring_disk_close(&d);
	uring_disk_close(&second);
	world_close(&w);
}
END_TEST

START_TEST(disk_open_says_what_is_wrong)
{
	struct uring_disk_options o = {.lock_wait_ms = 0};
	struct disk *d = NULL;
	char path[128];
	struct world w;
	int fd;

	world_open(&w, masks[_i]);
	snprintf(path, sizeof(path), "%s/absent", w.folder);
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &d), -ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(w.last_line, "absent"));
	o.read_only = true;
	ck_assert_int_lt(uring_disk_open(w.loop, w.folder, &o, &d), 0);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	o.read_only = false;
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &d), -ERR_INVALID); /* empty */
	o.create = true;
	o.bytes = 8192;
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &d), 0); /* it gets its size */
	ck_assert_uint_eq(d->bytes, 8192);
	uring_disk_close(&d);
	ck_assert_int_eq(ftruncate(fd, 100), 0);
	close(fd);
	ck_assert_int_eq(uring_disk_open(w.loop, path, &o, &d), -ERR_INVALID);
	ck_assert_ptr_null(d);
	world_close(&w);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, disk_reads_what_was_written_with_and_without_fua, 0, MASKS);
	tcase_add_loop_test(tc, disk_gathers_and_scatters_many_buffers, 0, MASKS);
	tcase_add_loop_test(tc, disk_uses_registered_buffers_of_the_pool, 0, MASKS);
	tcase_add_loop_test(tc, disk_takes_more_requests_than_the_ring_holds, 0, MASKS);
	tcase_add_loop_test(tc, disk_discard_is_done_and_leaves_the_rest, 0, MASKS);
	tcase_add_test(tc, disk_refuses_what_is_past_its_end);
	tcase_add_loop_test(tc, disk_read_of_a_truncated_file_fails, 0, MASKS);
	tcase_add_test(tc, disk_of_another_process_is_locked);
	tcase_add_loop_test(tc, disk_open_says_what_is_wrong, 0, MASKS);
}

int main(void)
{
	return run_case("uring-disk", add);
}
