/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/disk.c
 * Purpose.     The disk port on a file or block device: direct I/O where the filesystem allows it,
 *              and durability bought as cheaply as it allows.
 * Invariants.  D1  A write with DISK_FUA completes 0 only after the kernel said that its data are
 *                  stable: by RWF_DSYNC on the write itself, or by an fdatasync submitted after
 *                  the whole write was there.
 *              D2  Nothing is read or written before we hold the lock on this very descriptor.
 *              D3  moved counts bytes transferred; a request completes 0 only when it equals bytes.
 *              D4  A failed flush is reported once and never retried here (STYLE 16).
 * Ownership.   The descriptor and its lock are ours until close; requests are borrowed until done.
 * Failure.     Short transfers go on where they stopped; a read at the end of a truncated file and
 *              a write of nothing are -ERR_IO.  A discard that the device refuses is done: it
 *              promises nothing.
 * Limits.      RETRIES_MAX times EINTR or EAGAIN for one request.
 */
#include "engine/uring/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/types.h"
#include "engine/port/disk.h"
#include "engine/uring/file.h"
#include "engine/uring/loop.h"
#include "engine/uring/req.h"

#define RETRIES_MAX 1000u
#define LOCK_POLL_MS 100u
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

struct uring_disk {
	struct disk disk;
	struct uring_loop *loop;
	char *path;
	int fd;
	uint32_t in_flight;
	bool is_block;
	bool direct;
	bool dsync;   /* RWF_DSYNC makes one write durable (D1) */
	bool discard; /* still worth asking for */
};

/* Lives in disk_req.private. */
struct transfer {
	struct uring_req req;
	struct uring_disk *disk;
	uint32_t moved; /* D3 */
	uint16_t retries;
	uint16_t syncing; /* the write is there; its fdatasync is under way */
};

_Static_assert(sizeof(struct transfer) <= sizeof(((struct disk_req *)NULL)->private),
	       "a transfer fits the private part of a request");

static int disk_open_fd(struct uring_disk *d, const struct uring_disk_options *o);
static int disk_lock(struct uring_disk *d, const struct uring_disk_options *o);
static int disk_size(struct uring_disk *d, const struct uring_disk_options *o);
static int disk_create(struct uring_disk *d, const struct uring_disk_options *o);
static void disk_features(struct uring_disk *d);
static void disk_submit_req(struct disk *disk, struct disk_req *req);
static void disk_extend(struct uring_disk *d, struct disk_req *req);
static void extend_done(struct disk_req *req, struct transfer *t, int res);
static void transfer_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void transfer_prep_data(struct transfer *t, struct disk_req *req, struct io_uring_sqe *sqe);
static void transfer_done(struct uring_req *r, int res);
static void transfer_finish(struct disk_req *req, struct transfer *t, int rc);

static const struct disk_ops uring_disk_ops = {.submit = disk_submit_req};

int uring_disk_open(struct uring_loop *loop, const char *path,
		    const struct uring_disk_options *options, struct disk **ret_disk)
{
	struct uring_disk *d = calloc(1, sizeof(*d));
	int rc = -ERR_NOMEM;

	if (d == NULL)
		return -ERR_NOMEM;
	d->loop = loop;
	d->disk.ops = &uring_disk_ops;
	d->path = strdup(path);
	if (d->path == NULL)
		goto err_after_alloc;
	d->disk.name = d->path;
	rc = disk_open_fd(d, options);
	if (rc < 0)
		goto err_after_path;
	rc = disk_lock(d, options);
	if (rc < 0)
		goto err_after_fd;
	rc = disk_size(d, options);
	if (rc < 0)
		goto err_after_fd;
	disk_features(d);
	*ret_disk = &d->disk;
	return 0;

err_after_fd:
	close(d->fd);
err_after_path:
	free(d->path);
err_after_alloc:
	free(d);
	assert(rc < 0);
	return rc;
}

void uring_disk_close(struct disk **disk)
{
	struct uring_disk *d;

	if (*disk == NULL)
		return;
	d = container_of(*disk, struct uring_disk, disk);
	assert(d->in_flight == 0);
	close(d->fd);
	free(d->path);
	free(d);
	*disk = NULL;
}

/* --- opening --- */

static void sleep_ms(uint32_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * (long)MS_NS};

	nanosleep(&ts, NULL);
}

static int disk_open_error(struct uring_disk *d, const char *what, int sys_errno)
{
	log_error(uring_log(d->loop), "disk", "cannot %s %s: %s", what, d->path,
		  strerror(sys_errno));
	if (sys_errno == ENOENT)
		return -ERR_NOT_FOUND;
	if (sys_errno == EBUSY)
		return -ERR_LOCKED;
	return err_from_errno(sys_errno);
}

/* O_EXCL on a block device: the kernel refuses it when it is mounted or part of something. */
static int disk_open_fd(struct uring_disk *d, const struct uring_disk_options *o)
{
	int flags = O_CLOEXEC | (o->read_only ? O_RDONLY : O_RDWR);
	uint32_t waited_ms = 0;
	struct stat st;

	if (stat(d->path, &st) == 0 && S_ISBLK(st.st_mode)) {
		d->is_block = true;
		flags |= o->read_only ? 0 : O_EXCL;
	} else if (o->create) {
		flags |= O_CREAT;
	}
	if (uring_has(d->loop, URING_DIRECT_IO))
		flags |= O_DIRECT;
	for (;;) {
		d->fd = open(d->path, flags, 0600);
		if (d->fd >= 0)
			break;
		if (errno == EINVAL && (flags & O_DIRECT) != 0) {
			flags &= ~O_DIRECT;
			continue;
		}
		if (errno != EBUSY || waited_ms >= o->lock_wait_ms)
			return disk_open_error(d, "open", errno);
		sleep_ms(LOCK_POLL_MS);
		waited_ms += LOCK_POLL_MS;
	}
	d->direct = (flags & O_DIRECT) != 0;
	if (fstat(d->fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
		d->is_block = S_ISBLK(st.st_mode);
		if (!d->direct && uring_has(d->loop, URING_DIRECT_IO))
			log_warn(uring_log(d->loop), "disk",
				 "%s: its filesystem refuses direct I/O; using the page cache",
				 d->path);
		return 0;
	}
	log_error(uring_log(d->loop), "disk", "%s is neither a file nor a block device", d->path);
	close(d->fd);
	return -ERR_INVALID;
}

static int disk_lock(struct uring_disk *d, const struct uring_disk_options *o)
{
	int how = (o->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;
	uint32_t waited_ms = 0;

	while (flock(d->fd, how) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return disk_open_error(d, "lock", errno);
		if (waited_ms >= o->lock_wait_ms) {
			log_error(uring_log(d->loop), "disk", "%s is in use by another process",
				  d->path);
			return -ERR_LOCKED;
		}
		if (waited_ms == 0)
			log_warn(uring_log(d->loop), "disk",
				 "%s is in use by another process; waiting up to %u ms for it",
				 d->path, o->lock_wait_ms);
		sleep_ms(LOCK_POLL_MS);
		waited_ms += LOCK_POLL_MS;
	}
	return 0; /* D2 */
}

static int disk_size(struct uring_disk *d, const struct uring_disk_options *o)
{
	struct stat st;
	uint64_t bytes;
	int rc;

	if (d->is_block) {
		int sector = 0;

		if (ioctl(d->fd, BLKGETSIZE64, &bytes) < 0 || ioctl(d->fd, BLKSSZGET, &sector) < 0)
			return disk_open_error(d, "measure", errno);
		if (sector > (int)BLOCK_BYTES) {
			log_error(uring_log(d->loop), "disk",
				  "%s has sectors of %d bytes; at most 4096 will do", d->path,
				  sector);
			return -ERR_UNSUPPORTED;
		}
	} else {
		if (fstat(d->fd, &st) < 0)
			return disk_open_error(d, "measure", errno);
		bytes = (uint64_t)st.st_size;
		if (bytes == 0 && o->create) { /* new, or a crash came before it had a size */
			rc = disk_create(d, o);
			if (rc < 0)
				return rc;
			bytes = o->bytes;
		}
	}
	d->disk.bytes = bytes - bytes % BLOCK_BYTES;
	d->disk.thin = !d->is_block;
	if (d->disk.bytes > 0)
		return 0;
	log_error(uring_log(d->loop), "disk", "%s is empty", d->path);
	return -ERR_INVALID;
}

static int disk_create(struct uring_disk *d, const struct uring_disk_options *o)
{
	int sys_errno;

	assert(o->bytes > 0 && o->bytes % BLOCK_BYTES == 0);
	if (o->allocate && fallocate(d->fd, 0, 0, (off_t)o->bytes) < 0 && errno != EOPNOTSUPP)
		goto failed;
	if (ftruncate(d->fd, (off_t)o->bytes) < 0 || fsync(d->fd) < 0)
		goto failed;
	return file_sync_folder_of(d->path);

failed:
	sys_errno = errno;
	(void)!ftruncate(d->fd, 0); /* give back what was reserved */
	return disk_open_error(d, "create", sys_errno);
}

/* Does the queue of that device have an attribute that begins with `value`?  A partition's queue is
 * its disk's, one folder up. */
static bool queue_says(dev_t dev, const char *attribute, const char *value)
{
	static const char *const ups[] = {"", "../"};
	char path[96], text[32];

	for (uint32_t i = 0; i < ARRAY_COUNT(ups); i++) {
		int n;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(dev),
			 minor(dev), ups[i], attribute);
		n = file_read(path, text, sizeof(text) - 1);
		if (n > 0)
			return strncmp(text, value, strlen(value)) == 0;
	}
	return false;
}

/*
 * RWF_DSYNC is worth it where the kernel makes one FUA write of it: on a device that has FUA, or no
 * volatile cache at all.  Elsewhere it is a write and a flush that the kernel chains in a work
 * queue bound to one processor; an fdatasync of our own says the same and does not wait for that
 * processor (measured with bench/micro/uring_path on a busy machine: 0.2 ms instead of 1 to 4).
 */
static void disk_features(struct uring_disk *d)
{
	bool known = d->is_block;
	struct statfs fs;
	struct stat st;
	dev_t dev;

	d->discard = uring_has(d->loop, URING_DISCARD);
	if (!d->is_block && fstatfs(d->fd, &fs) == 0)
		known = fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC;
	if (!known || !uring_has(d->loop, URING_DSYNC_WRITE) || fstat(d->fd, &st) < 0)
		return;
	dev = d->is_block ? st.st_rdev : st.st_dev;
	d->dsync = !uring_has(d->loop, URING_QUEUE_ASKED) || queue_says(dev, "fua", "1") ||
		   queue_says(dev, "write_cache", "write through");
}

/* --- growing --- */

static struct transfer *transfer_of(struct disk_req *req)
{
	return (struct transfer *)(void *)req->private;
}

/* Bytes of the file or device now, whole blocks; or an error. */
static int disk_measure(const struct uring_disk *d, uint64_t *ret_bytes)
{
	struct stat st;
	uint64_t bytes;

	if (d->is_block) {
		if (ioctl(d->fd, BLKGETSIZE64, &bytes) < 0)
			return err_from_errno(errno);
	} else {
		if (fstat(d->fd, &st) < 0)
			return err_from_errno(errno);
		bytes = (uint64_t)st.st_size;
	}
	*ret_bytes = bytes - bytes % BLOCK_BYTES;
	return 0;
}

/* off becomes the size before: what extend_done goes back to. */
static void disk_extend(struct uring_disk *d, struct disk_req *req)
{
	struct transfer *t = transfer_of(req);
	int rc = disk_measure(d, &req->off);

	if (rc == 0 && d->is_block && req->bytes > req->off)
		rc = -ERR_UNSUPPORTED;
	if (rc < 0 || req->bytes <= req->off) {
		if (rc == 0 && req->off > d->disk.bytes)
			d->disk.bytes = req->off;
		transfer_finish(req, t, rc);
		return;
	}
	uring_submit(d->loop, &t->req);
}

static void extend_done(struct disk_req *req, struct transfer *t, int res)
{
	struct uring_disk *d = t->disk;

	if (res == -EOPNOTSUPP) /* no blocks reserved: writing to all of it will show */
		res = ftruncate(d->fd, (off_t)req->bytes) < 0 ? -errno : 0;
	if (res < 0) {
		log_error(uring_log(d->loop), "disk", "cannot enlarge %s to %llu bytes: %s",
			  d->path, (unsigned long long)req->bytes, strerror(-res));
		(void)!ftruncate(d->fd, (off_t)req->off); /* give back what was reserved */
		transfer_finish(req, t, res == -ENOSPC || res == -EFBIG ? -ERR_FULL : -ERR_IO);
		return;
	}
	d->disk.bytes = req->bytes;
	transfer_finish(req, t, 0);
}

/* --- requests --- */

static void disk_submit_req(struct disk *disk, struct disk_req *req)
{
	struct uring_disk *d = container_of(disk, struct uring_disk, disk);
	struct transfer *t = transfer_of(req);

	assert(req->iov_count <= DISK_IOV_MAX);
	assert(req->off % BLOCK_BYTES == 0);
	assert(req->bytes % BLOCK_BYTES == 0);
	t->disk = d;
	t->moved = 0;
	t->retries = 0;
	t->syncing = 0;
	t->req.prep = transfer_prep;
	t->req.done = transfer_done;
	d->in_flight++;
	if (req->kind == DISK_EXTEND)
		disk_extend(d, req);
	else if (req->kind != DISK_FLUSH &&
		 (req->off > disk->bytes || req->bytes > disk->bytes - req->off))
		transfer_finish(req, t, -ERR_IO);
	else if (req->kind == DISK_DISCARD && (!d->discard || req->bytes == 0))
		transfer_finish(req, t, 0);
	else if (req->kind != DISK_FLUSH && req->bytes == 0)
		transfer_finish(req, t, 0);
	else
		uring_submit(d->loop, &t->req);
}

static void transfer_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct transfer *t = container_of(r, struct transfer, req);
	struct disk_req *req = container_of(r, struct disk_req, private);
	int fd = t->disk->fd;

	switch (req->kind) {
	case DISK_READ:
	case DISK_WRITE:
		if (t->syncing != 0)
			io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		else
			transfer_prep_data(t, req, sqe);
		return;
	case DISK_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		return;
	case DISK_DISCARD:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)req->off, (off_t)req->bytes);
		return;
	case DISK_EXTEND:
		io_uring_prep_fallocate(sqe, fd, 0, (off_t)req->off,
					(off_t)(req->bytes - req->off));
		return;
	}
	UNREACHABLE("kind of request");
}

/* From byte t->moved on: the rest of the buffer it stopped in alone, or the buffers that follow. */
static void transfer_prep_data(struct transfer *t, struct disk_req *req, struct io_uring_sqe *sqe)
{
	bool write = req->kind == DISK_WRITE;
	uint64_t off = req->off + t->moved;
	uint64_t skip = t->moved;
	uint32_t i = 0;
	int fd = t->disk->fd;

	while (skip > 0 && skip >= req->iov[i].iov_len)
		skip -= req->iov[i++].iov_len;
	assert(i < req->iov_count);
	if (skip > 0 || req->iov_count - i == 1) {
		uint8_t *data = (uint8_t *)req->iov[i].iov_base + skip;
		uint32_t bytes = (uint32_t)(req->iov[i].iov_len - skip);
		int index = uring_fixed_index(t->disk->loop, data, bytes);

		if (index >= 0 && write)
			io_uring_prep_write_fixed(sqe, fd, data, bytes, off, index);
		else if (index >= 0)
			io_uring_prep_read_fixed(sqe, fd, data, bytes, off, index);
		else if (write)
			io_uring_prep_write(sqe, fd, data, bytes, off);
		else
			io_uring_prep_read(sqe, fd, data, bytes, off);
	} else if (write) {
		io_uring_prep_writev(sqe, fd, req->iov + i, req->iov_count - i, off);
	} else {
		io_uring_prep_readv(sqe, fd, req->iov + i, req->iov_count - i, off);
	}
	if (write && (req->flags & DISK_FUA) != 0 && t->disk->dsync)
		sqe->rw_flags = RWF_DSYNC; /* D1 */
}

static void transfer_done(struct uring_req *r, int res)
{
	struct transfer *t = container_of(r, struct transfer, req);
	struct disk_req *req = container_of(r, struct disk_req, private);
	bool data = (req->kind == DISK_READ || req->kind == DISK_WRITE) && t->syncing == 0;

	if ((res == -EAGAIN || res == -EINTR) && t->retries < RETRIES_MAX && data) {
		t->retries++;
		uring_submit(t->disk->loop, r);
		return;
	}
	if (req->kind == DISK_EXTEND) {
		extend_done(req, t, res);
		return;
	}
	if (req->kind == DISK_DISCARD) {
		if (res == -EOPNOTSUPP)
			t->disk->discard = false;
		res = 0;
	}
	if (res < 0 || (data && res == 0)) {
		log_error(uring_log(t->disk->loop), "disk", "%s: %s of %llu bytes at %llu: %s",
			  t->disk->path,
			  t->syncing != 0 || req->kind == DISK_FLUSH ? "flush"
			  : req->kind == DISK_READ		     ? "read"
								     : "write",
			  (unsigned long long)req->bytes, (unsigned long long)req->off,
			  res < 0 ? strerror(-res) : "unexpected end");
		transfer_finish(req, t, res == -ENOSPC ? -ERR_FULL : -ERR_IO); /* D4 */
		return;
	}
	if (data) {
		t->moved += (uint32_t)res;
		assert(t->moved <= req->bytes); /* D3 */
		if (t->moved < req->bytes) {
			uring_submit(t->disk->loop, r);
			return;
		}
		if (req->kind == DISK_WRITE && (req->flags & DISK_FUA) != 0 && !t->disk->dsync) {
			t->syncing = 1; /* D1 */
			uring_submit(t->disk->loop, r);
			return;
		}
	}
	transfer_finish(req, t, 0);
}

static void transfer_finish(struct disk_req *req, struct transfer *t, int rc)
{
	assert(t->disk->in_flight > 0);
	t->disk->in_flight--;
	completion_fire(&req->done, rc);
}
