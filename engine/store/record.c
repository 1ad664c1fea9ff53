/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/record.c
 *
 * Purpose.     Records from a pool of fixed size.
 * Invariants.  P1  A free record holds no buf; a taken one holds its header and every buf whose
 *                  payload it lists.
 *              P2  iov[1..] lists exactly view.payload_blocks blocks once the record is sealed or
 *                  verified.
 * Ownership.   Counted: the last record_unref gives bufs and record back.
 */
#include "engine/store/record.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"

struct record_pool {
	struct list free;
	uint32_t count, free_count;
	struct record *records;
};

int record_pool_open(uint32_t count, struct record_pool **ret_pool)
{
	struct record_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ERR_NOMEM;
	p->records = calloc(count, sizeof(*p->records));
	if (p->records == NULL) {
		free(p);
		return -ERR_NOMEM;
	}
	list_init(&p->free);
	p->count = p->free_count = count;
	for (uint32_t i = 0; i < count; i++)
		list_push_back(&p->free, &p->records[i].link);
	*ret_pool = p;
	return 0;
}

void record_pool_close(struct record_pool **pool)
{
	struct record_pool *p = *pool;

	*pool = NULL;
	if (p == NULL)
		return;
	free(p->records);
	free(p);
}

uint32_t record_pool_free_count(const struct record_pool *pool)
{
	return pool->free_count;
}

struct record *record_take(struct record_pool *pool, struct buf_pool *bufs)
{
	struct list_link *n = list_first(&pool->free);
	struct record *r;
	struct buf *head;

	if (n == NULL)
		return NULL;
	head = buf_take(bufs, RECORD_HEADER_BYTES);
	if (head == NULL)
		return NULL;
	list_remove(n);
	pool->free_count--;
	r = container_of(n, struct record, link);
	r->view = (struct record_view){0};
	r->head = head;
	r->buf_count = 0;
	r->iov[0].iov_base = head->data;
	r->iov[0].iov_len = RECORD_HEADER_BYTES;
	r->iov_count = 1;
	r->refs = 1;
	r->pool = pool;
	list_link_init(&r->link_user);
	return r;
}

void record_unref(struct record **rec)
{
	struct record *r = *rec;

	*rec = NULL;
	if (r == NULL)
		return;
	assert(r->refs > 0);
	if (--r->refs > 0)
		return;
	for (uint32_t i = 0; i < r->buf_count; i++)
		buf_unref(&r->bufs[i]);
	r->buf_count = 0;
	buf_unref(&r->head);
	list_push_front(&r->pool->free, &r->link);
	r->pool->free_count++;
	assert(r->pool->free_count <= r->pool->count);
}

void record_add_payload(struct record *r, struct buf *b, uint8_t *data, uint32_t blocks)
{
	struct iovec *last = &r->iov[r->iov_count - 1];

	assert(blocks > 0 && data >= b->data &&
	       data + (size_t)blocks * BLOCK_BYTES <= b->data + b->bytes);
	if (r->iov_count > 1 && r->bufs[r->buf_count - 1] == b &&
	    (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += (size_t)blocks * BLOCK_BYTES;
		return;
	}
	assert(r->iov_count < RECORD_IOV_MAX);
	r->iov[r->iov_count].iov_base = data;
	r->iov[r->iov_count].iov_len = (size_t)blocks * BLOCK_BYTES;
	r->iov_count++;
	if (r->buf_count == 0 || r->bufs[r->buf_count - 1] != b) {
		assert(r->buf_count < RECORD_EXTENTS_MAX);
		r->bufs[r->buf_count++] = buf_ref(b);
	}
}

uint32_t record_payload_iov(const struct record *r, uint32_t block, uint32_t count,
			    struct iovec *ret)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < r->iov_count && count > 0; i++) {
		uint32_t blocks = (uint32_t)(r->iov[i].iov_len / BLOCK_BYTES), take;

		if (block >= blocks) {
			block -= blocks;
			continue;
		}
		take = blocks - block < count ? blocks - block : count;
		ret[n].iov_base = (uint8_t *)r->iov[i].iov_base + (size_t)block * BLOCK_BYTES;
		ret[n++].iov_len = (size_t)take * BLOCK_BYTES;
		count -= take;
		block = 0;
	}
	assert(count == 0 && n > 0); /* P2 */
	return n;
}

static uint32_t payload_listed(const struct record *r)
{
	uint64_t bytes = 0;

	for (uint32_t i = 1; i < r->iov_count; i++)
		bytes += r->iov[i].iov_len;
	return (uint32_t)(bytes / BLOCK_BYTES);
}

void record_seal(struct record *r, const struct record_spec *spec)
{
	uint64_t chain;
	int rc;

	assert(payload_listed(r) == spec->payload_blocks); /* P2 */
	record_encode(r->head->data, spec, &chain);
	rc = record_decode(r->head->data, RECORD_HEADER_BYTES, &r->view);
	assert(rc == 0); /* R1: a caller asked for a record that no site would accept */
	assert(r->view.chain == chain);
}

int record_open_received(struct record *r)
{
	return record_decode(r->head->data, RECORD_LOGICAL_BYTES_MAX, &r->view);
}

int record_verify_payload(const struct record *r)
{
	uint32_t block = 0;

	if (payload_listed(r) != r->view.payload_blocks)
		return -ERR_CORRUPT;
	for (uint32_t i = 1; i < r->iov_count; i++) {
		const uint8_t *at = r->iov[i].iov_base;

		for (size_t off = 0; off < r->iov[i].iov_len; off += BLOCK_BYTES, block++) {
			if (crc32c(at + off, BLOCK_BYTES) !=
			    record_crc_at(r->head->data, &r->view, block))
				return -ERR_CORRUPT;
		}
	}
	return 0;
}
