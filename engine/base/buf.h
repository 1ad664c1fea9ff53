/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/buf.h: reference-counted aligned buffers from fixed pools.
 *
 * One arena is allocated at start and cut into three classes; nothing is allocated later.  A buf
 * is shared by counting, never copied: from an NBD socket to journal and peers.  data is 4096
 * aligned.  Not thread safe: one pool belongs to one thread.
 */
#ifndef TS_BASE_BUF_H
#define TS_BASE_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/list.h"
#include "engine/base/op.h"

enum buf_class { BUF_4K, BUF_64K, BUF_1M, BUF_CLASS_COUNT };

struct buf_pool;

struct buf {
	uint8_t *data;	/* aligned to 4096, `bytes` long */
	uint32_t bytes; /* capacity: 4096, 65536 or 1048576 */
	uint32_t refs;
	/* fields below are private */
	struct buf_pool *pool;
	struct list_link link;
	enum buf_class class;
};

struct buf_pool_sizes {
	uint32_t count[BUF_CLASS_COUNT];
};

/* -ERR_NOMEM. Gives *ret_pool; close asserts that every buf is back. */
MUST_CHECK int buf_pool_open(const struct buf_pool_sizes *sizes, struct buf_pool **ret_pool);
void buf_pool_close(struct buf_pool **pool);
/* A crash in the simulator: the memory goes, whoever still holds bufs. */
void buf_pool_abandon(struct buf_pool **pool);

/* Where io_uring can register the arena: one contiguous range. */
void buf_pool_arena(const struct buf_pool *pool, void **ret_base, uint64_t *ret_bytes);

/* A buf of the smallest class that holds `bytes` (1..1 MiB) and has one free, with refs 1.
 * A larger class may serve a smaller request.  NULL: none is free; wait with buf_wait. */
struct buf *buf_take(struct buf_pool *pool, uint32_t bytes);

/* Like buf_take but leaves `reserve` bufs of the class untouched (for those who must not starve). */
struct buf *buf_take_reserve(struct buf_pool *pool, uint32_t bytes, uint32_t reserve);

/* Fires c (rc 0) when some buf was given back since; whoever wakes must try again. FIFO. */
struct buf_waiter {
	struct completion done;
	struct list_link link; /* private; list_link_init before first use */
};
void buf_wait(struct buf_pool *pool, struct buf_waiter *w);
void buf_wait_cancel(struct buf_pool *pool,
		     struct buf_waiter *w); /* fires -ERR_CANCELED if waiting */

static inline struct buf *buf_ref(struct buf *b)
{
	assert(b->refs > 0);
	b->refs++;
	return b;
}

void buf_give_(struct buf *b);

/* Drop one reference; the last gives the buf back to its pool.  Nulls the caller's pointer. */
static inline void buf_unref(struct buf **b)
{
	struct buf *x = *b;

	*b = NULL;
	if (x == NULL)
		return;
	assert(x->refs > 0);
	if (--x->refs == 0)
		buf_give_(x);
}

uint32_t buf_pool_free_count(const struct buf_pool *pool, enum buf_class class);

#endif
