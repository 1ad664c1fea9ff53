/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/req.h: how the files of this room put work on a loop's ring.
 *
 * For this room only.  A request is embedded in what it serves and borrowed until done.  prep
 * fills one submission entry when there is room in the ring (at once, or later from the backlog).
 * done hears the kernel's result, once per submit; it may submit the request again.  Neither runs a step: completions only make ops ready.
 */
#ifndef TS_URING_REQ_H
#define TS_URING_REQ_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/list.h"

struct io_uring_sqe;
struct uring_loop;

struct uring_req {
	void (*prep)(struct uring_req *r, struct io_uring_sqe *sqe);
	void (*done)(struct uring_req *r, int res);
	struct list_link link;
};

/* Submit r with the next batch; r->prep and r->done are set by the caller. */
void uring_submit(struct uring_loop *loop, struct uring_req *r);

/* A request that ends target's in-flight request soon (-ECANCELED to target's done); cancel's own
 * done hears 0 or -ENOENT.  Sets cancel->prep; the caller sets cancel->done.  Both stay borrowed. */
struct uring_cancel {
	struct uring_req req;
	struct uring_req *target;
};
void uring_submit_cancel(struct uring_loop *loop, struct uring_cancel *cancel);

/* The registered buffer that holds [data, data + bytes), or -1. */
int uring_fixed_index(const struct uring_loop *loop, const void *data, uint64_t bytes);

/* True when the feature is there and not masked. */
bool uring_has(const struct uring_loop *loop, uint32_t feature);

struct log *uring_log(struct uring_loop *loop);

#endif
