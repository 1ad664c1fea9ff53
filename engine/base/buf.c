/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/buf.c
 * Purpose.     All payload memory of one thread: one arena, three classes, counted references.
 * Invariants.  B1  A buf is on its class's free list iff its refs are 0.
 *              B2  free_count of a class is the length of its free list.
 *              B3  Every data pointer is a multiple of 4096 inside the arena, and no two overlap.
 *              B4  A waiter is on the list iff its completion is armed by buf_wait.
 * Ownership.   The pool owns the arena and the buf structs; takers hold references.  Waiters are
 *              borrowed until they fire.
 * Failure.     Only open fails.  No free buf is an answer (NULL), not an error.
 * Limits.      Nothing is allocated after open.  A give wakes every waiter in FIFO order: waking
 *              only one could wake one whom this buf does not serve, and lose the wake.
 */
#include "engine/base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

#define BUF_ALIGN 4096u
#define BUF_WIPE_BYTES 64u
#define BUF_WIPE_PATTERN 0xdd

static const uint32_t buf_class_bytes[BUF_CLASS_COUNT] = {
	[BUF_4K] = 4096, [BUF_64K] = 65536, [BUF_1M] = 1048576};

struct buf_pool {
	uint8_t *arena;
	uint64_t arena_bytes;
	struct buf *bufs;
	struct list free[BUF_CLASS_COUNT];
	uint32_t free_count[BUF_CLASS_COUNT];
	uint32_t count[BUF_CLASS_COUNT];
	struct list waiters;
};

static void buf_pool_cut(struct buf_pool *p);

int buf_pool_open(const struct buf_pool_sizes *sizes, struct buf_pool **ret_pool)
{
	uint64_t bytes = 0, bufs = 0;
	struct buf_pool *p;

	for (int i = 0; i < BUF_CLASS_COUNT; i++) {
		bytes += (uint64_t)sizes->count[i] * buf_class_bytes[i];
		bufs += sizes->count[i];
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ERR_NOMEM;
	p->bufs = calloc(bufs + 1, sizeof(*p->bufs));
	if (p->bufs == NULL)
		goto err_after_pool;
	p->arena_bytes = bytes;
	p->arena = aligned_alloc(BUF_ALIGN, bytes == 0 ? BUF_ALIGN : bytes);
	if (p->arena == NULL)
		goto err_after_bufs;
	memcpy(p->count, sizes->count, sizeof(p->count));
	buf_pool_cut(p);
	*ret_pool = p;
	return 0;

err_after_bufs:
	free(p->bufs);
err_after_pool:
	free(p);
	return -ERR_NOMEM;
}

/* The largest class first, so that 1 MiB bufs start where the arena does. */
static void buf_pool_cut(struct buf_pool *p)
{
	uint8_t *at = p->arena;
	struct buf *b = p->bufs;

	list_init(&p->waiters);
	for (int i = BUF_CLASS_COUNT - 1; i >= 0; i--) {
		list_init(&p->free[i]);
		for (uint32_t n = 0; n < p->count[i]; n++, b++) {
			b->data = at;
			b->bytes = buf_class_bytes[i];
			b->class = (enum buf_class)i;
			b->pool = p;
			at += b->bytes;
			list_push_back(&p->free[i], &b->link);
		}
		p->free_count[i] = p->count[i];
	}
	assert(at == p->arena + p->arena_bytes); /* B3 */
}

void buf_pool_close(struct buf_pool **pool)
{
	const struct buf_pool *p = *pool;

	if (p == NULL)
		return;
	for (int i = 0; i < BUF_CLASS_COUNT; i++)
		assert(p->free_count[i] == p->count[i]); /* B1: no reference is left anywhere */
	assert(list_empty(&p->waiters));		 /* B4 */
	buf_pool_abandon(pool);
}

void buf_pool_abandon(struct buf_pool **pool)
{
	struct buf_pool *p = *pool;

	*pool = NULL;
	if (p == NULL)
		return;
	free(p->arena);
	free(p->bufs);
	free(p);
}

void buf_pool_arena(const struct buf_pool *pool, void **ret_base, uint64_t *ret_bytes)
{
	*ret_base = pool->arena;
	*ret_bytes = pool->arena_bytes;
}

struct buf *buf_take(struct buf_pool *pool, uint32_t bytes)
{
	return buf_take_reserve(pool, bytes, 0);
}

struct buf *buf_take_reserve(struct buf_pool *pool, uint32_t bytes, uint32_t reserve)
{
	assert(bytes > 0 && bytes <= buf_class_bytes[BUF_1M]);
	for (int i = 0; i < BUF_CLASS_COUNT; i++) {
		struct buf *b;

		if (buf_class_bytes[i] < bytes || pool->free_count[i] <= reserve)
			continue;
		b = container_of(list_pop_front(&pool->free[i]), struct buf, link);
		pool->free_count[i]--;
		assert(b->refs == 0); /* B1 */
		b->refs = 1;
		return b;
	}
	return NULL;
}

void buf_give_(struct buf *b)
{
	struct buf_pool *p = b->pool;
	struct list_link *link;

	assert(b->refs == 0); /* B1 */
	assert(p->free_count[b->class] < p->count[b->class]);
#ifdef TS_SLOW_ASSERTS
	memset(b->data, BUF_WIPE_PATTERN, BUF_WIPE_BYTES); /* who still reads it will notice */
#endif
	list_push_front(&p->free[b->class], &b->link); /* the warm one is taken next */
	p->free_count[b->class]++;		       /* B2 */
	while ((link = list_pop_front(&p->waiters)) != NULL) {
		struct buf_waiter *w = container_of(link, struct buf_waiter, link);

		completion_fire(&w->done, 0);
	}
}

void buf_wait(struct buf_pool *pool, struct buf_waiter *w)
{
	assert(completion_armed(&w->done)); /* B4 */
	list_push_back(&pool->waiters, &w->link);
}

void buf_wait_cancel(struct buf_pool *pool, struct buf_waiter *w)
{
	(void)pool;
	if (!list_linked(&w->link))
		return;
	list_remove(&w->link);
	completion_fire(&w->done, -ERR_CANCELED); /* B4 */
}

uint32_t buf_pool_free_count(const struct buf_pool *pool, enum buf_class class)
{
	return pool->free_count[class];
}
