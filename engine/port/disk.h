/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/port/disk.h: one block device or file, in units of 4096 bytes.
 *
 * Contract, as a fault model.
 * - A request completes once, with 0 or a negative code; short transfers are finished or failed by
 *   the implementation.  Requests complete in any order; there is no order between requests in
 *   flight.
 * - A write is durable when it was submitted with DISK_FUA and completed 0, or when a flush that
 *   was submitted after the write's completion completed 0.
 * - At a crash a write that is not durable may be there, be absent, or be there in part, in any
 *   set of 512-byte sectors, whatever the order of submission or completion.
 * - A failed write leaves its range undefined.  A failed flush leaves every write since the last
 *   good flush undefined; it is never retried (STYLE 16).
 * - A read may fail, return old data or another place's data (bad hardware): every structure
 *   carries its own checksum and its own address.
 * - An EXTEND makes the disk at least `bytes` long (0: as long as it is by now) and sets disk->bytes;
 *   -ERR_FULL: there is no room for it, -ERR_UNSUPPORTED: a device is as long as it is.  The longer disk is
 *   durable after the next flush; what came new reads as anything.  Where `thin`, it may have no blocks
 *   yet: only writing to all of it shows that there is room.
 * - Buffers are borrowed until completion; offset, each iov's base and length are multiples of
 *   4096.  Data under a write must not change until it completes.
 */
#ifndef TS_PORT_DISK_H
#define TS_PORT_DISK_H

#include <sys/uio.h>

#include "engine/base/attr.h"
#include "engine/base/op.h"

enum disk_kind { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_EXTEND };

#define DISK_FUA 1u /* write: durable when complete */
#define DISK_IOV_MAX 256u

struct disk;

struct disk_req {
	struct completion done; /* arm before submitting; rc is 0 or negative */
	enum disk_kind kind;
	uint32_t flags;
	uint64_t off;	   /* bytes from the start of the disk */
	uint64_t bytes;	   /* sum of iov; for DISCARD the length, for EXTEND that of the disk */
	struct iovec *iov; /* borrowed until done */
	uint32_t iov_count;
	/* fields below are private to the disk; need no initialising */
	struct disk_req *next;
	struct iovec iov_one;
	uint64_t private[6];
};

struct disk_ops {
	void (*submit)(struct disk *disk, struct disk_req *req);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t bytes;	  /* usable size, a multiple of 4096 */
	bool thin;	  /* a file: see EXTEND */
	const char *name; /* for messages */
};

static inline void disk_submit(struct disk *d, struct disk_req *req)
{
	assert(req->done.op != NULL);
	d->ops->submit(d, req);
}

/* Fill and submit a transfer of one contiguous buffer (data may be NULL for FLUSH). */
static inline void disk_io(struct disk *d, struct disk_req *req, enum disk_kind kind,
			   uint32_t flags, uint64_t off, void *data, uint64_t bytes)
{
	req->kind = kind;
	req->flags = flags;
	req->off = off;
	req->bytes = bytes;
	req->iov_one.iov_base = data;
	req->iov_one.iov_len = bytes;
	req->iov = &req->iov_one;
	req->iov_count = kind == DISK_READ || kind == DISK_WRITE ? 1 : 0;
	disk_submit(d, req);
}

#endif
