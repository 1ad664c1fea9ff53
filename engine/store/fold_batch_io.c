/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold_batch_io.c
 * Purpose.     The requests of a batch of fold: payload and copied blocks in the order of the disk, side by side
 *              in as few requests as they fit.
 * Invariants.  FI1 A request has blocks that lie side by side; a read may read along what lies in small gaps
 *                  between them, into a scratch.
 * Limits.      REQS requests in flight, IO_BYTES_MAX and DISK_IOV_MAX pieces each.
 */
#include "engine/base/err.h"
#include "engine/store/fold_batch_state.h"

#define GAP_BLOCKS 2u /* headers between payloads: read along */

static uint64_t place_of(const struct fold_batch *b, uint32_t i, bool home)
{
	return home ? b->blocks[i].to : b->blocks[i].from;
}

void batch_order_clear(struct fold_batch *b)
{
	b->order_count = b->next = 0;
}

void batch_order_add(struct fold_batch *b, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		if (!b->blocks[i].zero)
			b->order[b->order_count++] = (uint16_t)i;
}

/* Heap sort: no memory, no luck. */
void batch_order_by(struct fold_batch *b, bool home)
{
	uint32_t n = b->order_count;

	for (uint32_t start = n / 2, end = n; end > 1;) {
		uint32_t root;

		if (start > 0) {
			start--;
		} else {
			uint16_t top = b->order[--end];

			b->order[end] = b->order[0];
			b->order[0] = top;
		}
		root = start;
		while (2 * root + 1 < end) {
			uint32_t child = 2 * root + 1;
			uint16_t swap;

			if (child + 1 < end && place_of(b, b->order[child], home) <
						       place_of(b, b->order[child + 1], home))
				child++;
			if (place_of(b, b->order[root], home) >= place_of(b, b->order[child], home))
				break;
			swap = b->order[root];
			b->order[root] = b->order[child];
			b->order[child] = swap;
			root = child;
		}
	}
}

static void iov_add(struct disk_req *q, struct iovec *iov, uint8_t *data)
{
	struct iovec *last = q->iov_count == 0 ? NULL : &iov[q->iov_count - 1];

	q->bytes += BLOCK_BYTES;
	if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += BLOCK_BYTES;
		return;
	}
	iov[q->iov_count++] = (struct iovec){.iov_base = data, .iov_len = BLOCK_BYTES};
}

/* One request of blocks that lie side by side, from order[next] on. */
static void request_fill(struct fold_batch *b, struct disk_req *q, struct iovec *iov,
			 enum disk_kind kind)
{
	bool home = kind == DISK_WRITE;

	q->kind = kind;
	q->flags = 0;
	q->off = place_of(b, b->order[b->next], home);
	q->bytes = 0;
	q->iov = iov;
	q->iov_count = 0;
	for (; b->next < b->order_count; b->next++) {
		uint32_t i = b->order[b->next];
		uint64_t at = place_of(b, i, home), end = q->off + q->bytes;

		if (q->iov_count + GAP_BLOCKS + 1 > DISK_IOV_MAX || q->bytes >= IO_BYTES_MAX)
			break;
		if (at != end && (home || at - end > GAP_BLOCKS * BLOCK_BYTES || at < end))
			break;
		for (; end < at;
		     end += BLOCK_BYTES) /* the same scratch again and again: never merged */
			iov_add(q, iov, b->scratch);
		iov_add(q, iov, b->data + (uint64_t)i * BLOCK_BYTES);
	}
}

void batch_submit(struct fold_batch *b, enum disk_kind kind)
{
	for (uint32_t i = 0; i < REQS && b->next < b->order_count; i++) {
		struct disk_req *q = &b->reqs[i];

		if ((b->op.waits & BIT_REQ(i)) != 0)
			continue;
		request_fill(b, q, b->iov[i], kind);
		completion_arm(&q->done, &b->op, BIT_REQ(i));
		disk_submit(b->s->disk, q);
	}
}

int batch_reqs_rc(struct fold_batch *b)
{
	int rc = 0;

	for (uint32_t i = 0; i < REQS; i++) {
		if ((b->op.waits & BIT_REQ(i)) != 0)
			continue;
		if (b->reqs[i].done.rc < 0 && rc == 0)
			rc = -ERR_IO;
		b->reqs[i].done.rc = 0;
	}
	return rc;
}
