/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/record.h: a journal record in memory, shared by counting between the journal, the
 * sessions that send it and whoever waits for it.
 *
 * head is the 4 KiB header (proto/record.h), bufs hold the payload in order; iov[0] is the header,
 * iov[1..] the payload blocks in payload order (pieces of bufs).  Immutable once sealed, except the
 * local part of the header, which only the journal writes (a session sends logical_bytes only).
 */
#ifndef TS_STORE_RECORD_H
#define TS_STORE_RECORD_H

#include <sys/uio.h>

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "proto/record.h"

#define RECORD_IOV_MAX (1 + RECORD_EXTENTS_MAX)

struct record_pool;

struct record {
	struct record_view
		view; /* decoded logical part; extents by record_extent_at(head->data,..) */
	struct buf *head;
	struct buf *bufs[RECORD_EXTENTS_MAX];
	uint32_t buf_count;
	struct iovec iov[RECORD_IOV_MAX];
	uint32_t iov_count;
	uint32_t refs;
	struct record_pool *pool;
	struct list_link
		link; /* of the pool while free; of the journal's pending list after append */
	struct list_link link_user; /* for the one who made it (volume) */
};

MUST_CHECK int record_pool_open(uint32_t count, struct record_pool **ret_pool);
void record_pool_close(struct record_pool **pool);

/* An empty record with refs 1 and a header buf.  NULL: none free (backpressure). */
struct record *record_take(struct record_pool *pool, struct buf_pool *bufs);
uint32_t record_pool_free_count(const struct record_pool *pool);

static inline struct record *record_ref(struct record *r)
{
	assert(r->refs > 0);
	r->refs++;
	return r;
}

void record_unref(struct record **r); /* the last gives bufs and record back */

/* Add `blocks` whole blocks of payload at data inside b (takes a reference on b). */
void record_add_payload(struct record *r, struct buf *b, uint8_t *data, uint32_t blocks);

/* The memory of payload blocks [block, block + count), count > 0: at most count pieces into ret; how
 * many. */
uint32_t record_payload_iov(const struct record *r, uint32_t block, uint32_t count,
			    struct iovec *ret);

/* Encode the header from spec and fill view. */
void record_seal(struct record *r, const struct record_spec *spec);

/* For a received record: head->data holds the logical part; decode it into view (record_decode's
 * errors).  The caller then adds the payload and calls record_verify_payload. */
MUST_CHECK int record_open_received(struct record *r);
MUST_CHECK int record_verify_payload(const struct record *r); /* -ERR_CORRUPT */

#endif
