/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/qlog.c
 * Purpose.     Make a member's term, vote, entries and snapshots durable (QUORUM section 3).
 * Invariants.  Q1  Both metadata slots are written at each update, the first flushed before the
 *                  second: one of them is always whole and at most one update old while it runs.
 *              Q2  Batches carry consecutive lsn; one append is in flight at a time, so only the
 *                  very last batch can be torn.
 *              Q3  No block between the head (of the newest durable snapshot) and the tail is
 *                  written: nothing acknowledged is overwritten in place.
 *              Q4  A snapshot's data is durable before its header; the header names head and lsn.
 *              Q5  open replays while lsn is consecutive.  A batch with a later lsn elsewhere, or
 *                  an end before the snapshot's lsn, proves lost data: refuse to start.
 *              Q6  After any failed write or flush nothing more is promised.
 *              Q7  Before the first append after open the block at the tail is zero and durable:
 *                  a torn batch must not come back after a later torn write.
 * States.      LOADING -> IDLE <-> BUSY -> FAILED (for ever).  qlog_load.c does LOADING.
 * Ownership.   A request is borrowed until done; its buffer is ours.
 * Failure.     One way out of FAILED: close, and exit of the process (fsync is never retried).
 * Limits.      BATCHES_MAX batches between head and tail.
 */
#include "engine/quorum/qlog.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/quorum/qlog_state.h"

static void qlog_step(struct op *op);
static void qlog_next(struct qlog *q);
static void qlog_go(struct qlog *q);
static bool meta_go(struct qlog *q, struct qlog_req *r);
static bool append_go(struct qlog *q, struct qlog_req *r);
static bool snapshot_go(struct qlog *q, struct qlog_req *r);
static void snapshot_head(struct qlog *q, struct qlog_req *r);
static void request_end(struct qlog *q, int rc);
static void submit(struct qlog *q, struct qlog_req *req, uint8_t kind);
static uint32_t blocks_of(uint32_t bytes);

int qlog_open(struct ready *ready, struct disk *disk, const struct qlog_opts *opts,
	      struct qlog **ret_q)
{
	struct qlog *q;

	if (disk->bytes < QUORUM_FILE_BYTES)
		return -ERR_CONFIG;
	q = aligned_alloc(BLOCK_BYTES, sizeof(*q)); /* for block[], which is given to the disk */
	if (q == NULL)
		return -ERR_NOMEM;
	memset(q, 0, sizeof(*q));
	q->batches = calloc(BATCHES_MAX, sizeof(q->batches[0]));
	if (q->batches == NULL) {
		free(q);
		return -ERR_NOMEM;
	}
	q->disk = disk;
	q->opts = *opts;
	list_init(&q->queue);
	op_init(&q->op, ready, qlog_step);
	*ret_q = q;
	return 0;
}

void qlog_load(struct qlog *q, struct completion *done)
{
	assert(!q->loaded && q->load_done == NULL);
	q->load_done = done;
	q->phase = 0;
	op_wake(&q->op);
}

void qlog_close(struct qlog **q)
{
	if (*q == NULL)
		return;
	assert((*q)->op.waits == 0 && list_empty(&(*q)->queue) && (*q)->busy == NULL);
	qlog_discard(q);
}

void qlog_discard(struct qlog **q)
{
	if (*q == NULL)
		return;
	op_unqueue(&(*q)->op);
	if ((*q)->busy != NULL)
		free((*q)->busy->buf);
	LIST_FOR_EACH_SAFE(n, &(*q)->queue)
		free(container_of(n, struct qlog_req, link)->buf);
	qlog_forget(*q);
	free((*q)->batches);
	free(*q);
	*q = NULL;
}

/* ---- requests ---- */

void qlog_write_meta(struct qlog *q, struct qlog_req *req, const struct quorum_meta *meta)
{
	req->meta = *meta;
	req->buf = NULL;
	submit(q, req, REQ_META);
}

int qlog_append(struct qlog *q, struct qlog_req *req, uint64_t first_index,
		const struct quorum_entry *entries, uint32_t count)
{
	uint32_t bytes = quorum_batch_bytes(entries, count), blocks = blocks_of(bytes);

	if (!qlog_has_room(q, bytes))
		return -ERR_FULL;
	req->buf = aligned_alloc(BLOCK_BYTES, (size_t)blocks * BLOCK_BYTES);
	if (req->buf == NULL)
		return -ERR_NOMEM;
	req->bytes = blocks * BLOCK_BYTES;
	req->batch.lsn = ++q->lsn_given; /* Q2: order of submission is order of writing */
	req->batch.first_index = first_index;
	req->batch.count = count;
	req->batch.bytes = bytes;
	req->batch.disk = q->meta.disk;
	quorum_batch_encode(&req->batch, entries, req->buf);
	q->blocks_promised += blocks;
	q->batches_promised++;
	submit(q, req, REQ_APPEND);
	return 0;
}

int qlog_write_snapshot(struct qlog *q, struct qlog_req *req, const struct quorum_snapshot *s,
			const void *conf, const void *data, uint64_t keep_after, bool install)
{
	uint64_t payload = (uint64_t)s->conf_bytes + s->data_bytes;
	uint8_t *buf;

	if (payload > QUORUM_SNAPSHOT_SLOT_BYTES - BLOCK_BYTES)
		return -ERR_TOO_BIG;
	req->bytes = BLOCK_BYTES + blocks_of((uint32_t)payload) * BLOCK_BYTES;
	buf = aligned_alloc(BLOCK_BYTES, req->bytes);
	if (buf == NULL)
		return -ERR_NOMEM;
	memset(buf, 0, req->bytes);
	memcpy(buf + BLOCK_BYTES, conf, s->conf_bytes);
	memcpy(buf + BLOCK_BYTES + s->conf_bytes, data, s->data_bytes);
	req->buf = buf;
	req->snapshot = *s;
	req->snapshot.disk = q->meta.disk;
	req->snapshot.payload_crc = crc32c(buf + BLOCK_BYTES, (size_t)payload);
	req->keep_after = keep_after;
	req->install = install;
	submit(q, req, REQ_SNAPSHOT);
	return 0;
}

uint64_t qlog_lsn(const struct qlog *q)
{
	return q->lsn;
}

uint64_t qlog_seq(const struct qlog *q)
{
	return q->meta.seq;
}

uint32_t qlog_blocks_used(const struct qlog *q)
{
	return q->used + q->blocks_promised;
}

bool qlog_failed(const struct qlog *q)
{
	return q->failed;
}

bool qlog_has_room(const struct qlog *q, uint32_t bytes)
{
	/* One block stays free: the zeroed one at the tail (Q7) is never the head. */
	return q->used + q->blocks_promised + blocks_of(bytes) < QUORUM_LOG_BLOCKS &&
	       q->batch_count + q->batches_promised < BATCHES_MAX;
}

/* ---- the one worker ---- */

static void submit(struct qlog *q, struct qlog_req *req, uint8_t kind)
{
	assert(q->loaded);
	req->kind = kind;
	list_link_init(&req->link);
	list_push_back(&q->queue, &req->link);
	op_wake(&q->op);
}

static void qlog_step(struct op *op)
{
	struct qlog *q = container_of(op, struct qlog, op);

	if (op->waits != 0)
		return; /* wait: disk */
	if (!q->loaded) {
		if (q->load_done != NULL)
			qlog_load_step(q);
		return; /* wait: disk, or qlog_load */
	}
	qlog_go(q);
}

static void qlog_go(struct qlog *q)
{
	for (;;) {
		bool done;

		if (q->busy == NULL) {
			qlog_next(q);
			if (q->busy == NULL)
				return; /* wait: a request */
		}
		if (q->failed || q->io[0].done.rc < 0 || q->io[1].done.rc < 0) {
			int rc = q->failed ? -ERR_FAILED : -ERR_IO;

			q->failed = true; /* Q6 */
			request_end(q, rc);
			continue;
		}
		if (q->busy->kind == REQ_META)
			done = meta_go(q, q->busy);
		else if (q->busy->kind == REQ_APPEND)
			done = append_go(q, q->busy);
		else
			done = snapshot_go(q, q->busy);
		if (!done)
			return; /* wait: disk */
		request_end(q, 0);
	}
}

static void qlog_next(struct qlog *q)
{
	struct list_link *n = list_pop_front(&q->queue);

	if (n == NULL)
		return;
	q->busy = container_of(n, struct qlog_req, link);
	q->phase = 0;
	q->io[0].done.rc = q->io[1].done.rc = 0;
}

static void request_end(struct qlog *q, int rc)
{
	struct qlog_req *r = q->busy;

	q->busy = NULL;
	free(r->buf);
	r->buf = NULL;
	completion_fire(&r->done, rc);
}

/* Q1: slot 0, flush, slot 1, flush. True: done. */
static bool meta_go(struct qlog *q, struct qlog_req *r)
{
	switch (q->phase++) {
	case 0:
		r->meta.seq = q->meta.seq + 1;
		r->meta.disk = q->meta.disk;
		quorum_meta_encode(&r->meta, q->block);
		qlog_io(q, 0, DISK_WRITE, QUORUM_META_OFF(0), q->block, BLOCK_BYTES);
		return false;
	case 1:
	case 3:
		qlog_io(q, 0, DISK_FLUSH, 0, NULL, 0);
		return false;
	case 2:
		qlog_io(q, 0, DISK_WRITE, QUORUM_META_OFF(1), q->block, BLOCK_BYTES);
		return false;
	default:
		q->meta = r->meta;
		return true;
	}
}

/* One write (two where the log wraps), one flush. */
static bool append_go(struct qlog *q, struct qlog_req *r)
{
	uint32_t blocks = r->bytes / BLOCK_BYTES;
	uint32_t tail = (q->head + q->used) % QUORUM_LOG_BLOCKS;
	uint32_t straight = QUORUM_LOG_BLOCKS - tail < blocks ? QUORUM_LOG_BLOCKS - tail : blocks;
	struct qlog_batch *b;

	switch (q->phase++) {
	case 0:
		assert(r->batch.lsn == q->lsn + 1);	      /* Q2 */
		assert(q->used + blocks < QUORUM_LOG_BLOCKS); /* Q3 */
		qlog_io(q, 0, DISK_WRITE, QUORUM_LOG_OFF + (uint64_t)tail * BLOCK_BYTES, r->buf,
			straight * BLOCK_BYTES);
		if (straight < blocks)
			qlog_io(q, 1, DISK_WRITE, QUORUM_LOG_OFF,
				(uint8_t *)r->buf + (size_t)straight * BLOCK_BYTES,
				(blocks - straight) * BLOCK_BYTES);
		return false;
	case 1:
		qlog_io(q, 0, DISK_FLUSH, 0, NULL, 0);
		return false;
	default:
		b = &q->batches[(q->batch_first + q->batch_count) % BATCHES_MAX];
		b->lsn = r->batch.lsn;
		b->first_index = r->batch.first_index;
		b->block = tail;
		b->blocks = blocks;
		q->batch_count++;
		q->batches_promised--;
		q->used += blocks;
		q->blocks_promised -= blocks;
		q->lsn = r->batch.lsn;
		return true;
	}
}

/* Q4: data, flush, header, flush; only then does the head move. */
static bool snapshot_go(struct qlog *q, struct qlog_req *r)
{
	uint64_t off = QUORUM_SNAPSHOT_OFF(1 - q->snapshot_slot);

	switch (q->phase++) {
	case 0:
		if (r->bytes == BLOCK_BYTES)
			return snapshot_go(q, r); /* no data at all */
		qlog_io(q, 0, DISK_WRITE, off + BLOCK_BYTES, (uint8_t *)r->buf + BLOCK_BYTES,
			r->bytes - BLOCK_BYTES);
		return false;
	case 1:
	case 3:
		qlog_io(q, 0, DISK_FLUSH, 0, NULL, 0);
		return false;
	case 2:
		snapshot_head(q, r);
		quorum_snapshot_encode(&r->snapshot, r->buf);
		qlog_io(q, 0, DISK_WRITE, off, r->buf, BLOCK_BYTES);
		return false;
	default:
		q->snapshot_slot = 1 - q->snapshot_slot;
		q->snapshot_seq = r->snapshot.seq;
		while (q->batch_count > 0 &&
		       q->batches[q->batch_first].lsn < r->snapshot.head_lsn) {
			q->used -= q->batches[q->batch_first].blocks;
			q->batch_first = (q->batch_first + 1) % BATCHES_MAX;
			q->batch_count--;
		}
		q->head = r->snapshot.head_block;
		return true;
	}
}

/*
 * The head is the last batch that starts at or below keep_after + 1: every later one starts above,
 * so replay from it is whole.  (The first that holds an entry above keep_after would not do: a later
 * batch may have truncated it and start below it.)  On install all of the log goes.
 */
static void snapshot_head(struct qlog *q, struct qlog_req *r)
{
	uint32_t i = 0;

	if (r->install)
		i = q->batch_count;
	for (uint32_t k = i; k < q->batch_count; k++)
		if (q->batches[(q->batch_first + k) % BATCHES_MAX].first_index <= r->keep_after + 1)
			i = k;
	r->snapshot.seq = q->snapshot_seq + 1;
	r->snapshot.lsn = q->lsn;
	if (i == q->batch_count) {
		r->snapshot.head_lsn = q->lsn + 1;
		r->snapshot.head_block = (q->head + q->used) % QUORUM_LOG_BLOCKS;
	} else {
		const struct qlog_batch *b = &q->batches[(q->batch_first + i) % BATCHES_MAX];

		r->snapshot.head_lsn = b->lsn;
		r->snapshot.head_block = b->block;
	}
}

void qlog_io(struct qlog *q, uint32_t which, enum disk_kind kind, uint64_t off, void *data,
	     uint64_t bytes)
{
	completion_arm(&q->io[which].done, &q->op, 1u << which);
	disk_io(q->disk, &q->io[which], kind, 0, off, data, bytes);
}

static uint32_t blocks_of(uint32_t bytes)
{
	return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
}
