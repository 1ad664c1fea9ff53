/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/qlog_load.c
 * Purpose.     Read a member's file, decide whether it can be trusted, rebuild the logical log;
 *              make a wholly zero file an empty one.
 * Invariants.  Q5, Q7 of qlog.c, and
 *              L1  Which snapshot is newest is decided by headers alone; its data is checked after
 *                  that: the older slot may be half overwritten, rightly.
 *              L2  Metadata: the slot with the greater seq counts; the other is repaired from it.
 *                  No valid slot: refuse, whatever else there is.
 *              L3  Entries are consecutive and reach at least the snapshot's index, or start after
 *                  it; anything else is damage.
 * States.      READ -> (FORMAT ->) MEND -> done.  MEND writes the other metadata slot and the zero
 *              block at the tail, and flushes.
 * Failure.     -ERR_CORRUPT is final: nothing is written then.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/quorum/qlog_state.h"

enum { LOAD_READ, LOAD_JUDGE, LOAD_META, LOAD_META_FLUSH, LOAD_TAIL, LOAD_TAIL_FLUSH, LOAD_END };

static void load_end(struct qlog *q, int rc);
static int judge(struct qlog *q);
static int judge_meta(struct qlog *q);
static int judge_snapshot(struct qlog *q);
static int judge_log(struct qlog *q);
static int batch_at(struct qlog *q, uint32_t block, struct quorum_batch *b,
		    struct quorum_entry *entries, uint8_t **scratch);
static int take_batch(struct qlog *q, const struct quorum_batch *b,
		      const struct quorum_entry *entries);
static int judge_rest(struct qlog *q);
static int judge_entries(struct qlog *q);
static bool all_zero(const uint8_t *data, size_t bytes);

const struct qlog_found *qlog_found(const struct qlog *q)
{
	assert(q->loaded && q->image != NULL);
	return &q->found;
}

void qlog_forget(struct qlog *q)
{
	for (uint32_t i = 0; i < q->found.entry_count; i++)
		free((void *)(uintptr_t)q->found.entries[i].data);
	free(q->found.entries);
	free(q->image);
	q->image = NULL;
	memset(&q->found, 0, sizeof(q->found));
}

void qlog_load_step(struct qlog *q)
{
	int rc;

	if (q->phase > LOAD_READ && q->io[0].done.rc < 0) {
		load_end(q, -ERR_IO);
		return;
	}
	switch (q->phase++) {
	case LOAD_READ:
		q->image = aligned_alloc(BLOCK_BYTES, QUORUM_FILE_BYTES);
		if (q->image == NULL) {
			load_end(q, -ERR_NOMEM);
			return;
		}
		qlog_io(q, 0, DISK_READ, 0, q->image, QUORUM_FILE_BYTES);
		return; /* wait: disk */
	case LOAD_JUDGE:
		rc = judge(q);
		if (rc < 0) {
			load_end(q, rc);
			return;
		}
		/* L2; a new file gets its second slot first: half a format is still all zero or whole */
		quorum_meta_encode(&q->meta, q->block);
		qlog_io(q, 0, DISK_WRITE, QUORUM_META_OFF(1), q->block, BLOCK_BYTES);
		return; /* wait: disk */
	case LOAD_META:
	case LOAD_TAIL_FLUSH:
		qlog_io(q, 0, DISK_FLUSH, 0, NULL, 0);
		return; /* wait: disk */
	case LOAD_META_FLUSH:
		qlog_io(q, 0, DISK_WRITE, QUORUM_META_OFF(0), q->block, BLOCK_BYTES);
		return; /* wait: disk */
	case LOAD_TAIL:
		memset(q->image, 0, BLOCK_BYTES);
		qlog_io(q, 0, DISK_WRITE,
			QUORUM_LOG_OFF +
				(uint64_t)((q->head + q->used) % QUORUM_LOG_BLOCKS) * BLOCK_BYTES,
			q->image,
			BLOCK_BYTES); /* Q7; the first block of the image is not needed any more */
		return;		      /* wait: disk */
	default:
		load_end(q, 0);
		return;
	}
}

static void load_end(struct qlog *q, int rc)
{
	struct completion *done = q->load_done;

	q->load_done = NULL;
	if (rc == 0) {
		q->loaded = true;
		q->found.meta = q->meta;
		q->found.lsn = q->lsn;
		q->lsn_given = q->lsn;
	} else {
		qlog_forget(q);
		q->failed = true;
	}
	completion_fire(done, rc);
}

static int judge(struct qlog *q)
{
	int rc = judge_meta(q);

	if (rc < 0)
		return rc;
	rc = judge_snapshot(q);
	if (rc < 0)
		return rc;
	rc = judge_log(q);
	if (rc < 0)
		return rc;
	rc = judge_rest(q);
	return rc < 0 ? rc : judge_entries(q);
}

static int judge_meta(struct qlog *q)
{
	struct quorum_meta slot[2];
	bool good[2];

	for (uint32_t i = 0; i < 2; i++)
		good[i] = quorum_meta_decode(q->image + QUORUM_META_OFF(i), &slot[i]) == 0;
	if (good[0] && good[1] && !uuid_equal(&slot[0].disk, &slot[1].disk))
		return -ERR_CORRUPT;
	if (good[0] || good[1]) {
		q->meta = good[0] && (!good[1] || slot[0].seq >= slot[1].seq) ? slot[0] : slot[1];
		return 0;
	}
	if (!all_zero(q->image, QUORUM_FILE_BYTES))
		return -ERR_CORRUPT; /* L2 */
	if (!q->opts.format)
		return -ERR_NOT_STORE;
	memset(&q->meta, 0, sizeof(q->meta));
	q->meta.seq = 1;
	q->meta.disk = q->opts.disk;
	return 0;
}

static int judge_snapshot(struct qlog *q)
{
	struct quorum_snapshot s, best = {0};
	const uint8_t *payload;

	for (uint32_t i = 0; i < 2; i++) { /* L1 */
		const uint8_t *head = q->image + QUORUM_SNAPSHOT_OFF(i);

		if (quorum_snapshot_decode(head, &s) < 0 || !uuid_equal(&s.disk, &q->meta.disk))
			continue;
		if (s.seq > best.seq) {
			best = s;
			q->snapshot_slot = i;
		}
	}
	q->snapshot_seq = best.seq;
	q->lsn = 0;
	q->head = 0;
	if (best.seq == 0) {
		q->snapshot_slot = 1; /* the first goes to slot 0 */
		return 0;
	}
	payload = q->image + QUORUM_SNAPSHOT_OFF(q->snapshot_slot) + BLOCK_BYTES;
	if (crc32c(payload, (size_t)best.conf_bytes + best.data_bytes) != best.payload_crc)
		return -ERR_CORRUPT;
	q->found.has_snapshot = true;
	q->found.snapshot = best;
	q->found.conf = payload;
	q->found.data = payload + best.conf_bytes;
	q->head = best.head_block;
	q->lsn = best.head_lsn - 1;
	return 0;
}

/* Q5: replay while lsn is consecutive. */
static int judge_log(struct qlog *q)
{
	struct quorum_entry entries[QUORUM_ENTRIES_MAX];
	struct quorum_batch b;
	uint8_t *scratch = NULL;
	int rc = 0;

	while (q->used < QUORUM_LOG_BLOCKS - 1) {
		uint32_t block = (q->head + q->used) % QUORUM_LOG_BLOCKS, blocks;
		struct qlog_batch *kept;

		if (batch_at(q, block, &b, entries, &scratch) < 0 || b.lsn != q->lsn + 1)
			break;
		blocks = (b.bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
		if (q->used + blocks > QUORUM_LOG_BLOCKS - 1)
			break;
		rc = take_batch(q, &b, entries);
		if (rc < 0)
			break;
		kept = &q->batches[q->batch_count++];
		kept->lsn = b.lsn;
		kept->first_index = b.first_index;
		kept->block = block;
		kept->blocks = blocks;
		q->used += blocks;
		q->lsn = b.lsn;
	}
	free(scratch);
	if (rc == 0 && q->found.has_snapshot && q->lsn < q->found.snapshot.lsn)
		rc = -ERR_CORRUPT;
	return rc;
}

/* Decode the batch at a block of the log; a wrapped one is made straight in *scratch. */
static int batch_at(struct qlog *q, uint32_t block, struct quorum_batch *b,
		    struct quorum_entry *entries, uint8_t **scratch)
{
	const uint8_t *log = q->image + QUORUM_LOG_OFF, *at = log + (size_t)block * BLOCK_BYTES;
	size_t straight = (size_t)(QUORUM_LOG_BLOCKS - block) * BLOCK_BYTES;
	uint8_t *copy;

	if (quorum_batch_peek(at, b) < 0 || !uuid_equal(&b->disk, &q->meta.disk))
		return -ERR_CORRUPT;
	if (b->bytes <= straight)
		return quorum_batch_decode(at, (uint32_t)straight, b, entries);
	copy = realloc(*scratch, b->bytes);
	if (copy == NULL)
		return -ERR_NOMEM;
	*scratch = copy;
	memcpy(copy, at, straight);
	memcpy(copy + straight, log, b->bytes - straight);
	return quorum_batch_decode(copy, b->bytes, b, entries);
}

/* Append to the logical log, truncating it at first_index. Data is copied out. */
static int take_batch(struct qlog *q, const struct quorum_batch *b,
		      const struct quorum_entry *entries)
{
	struct qlog_found *f = &q->found;
	struct quorum_entry *grown;

	if (f->entry_count == 0)
		f->first_index = b->first_index;
	if (b->first_index < f->first_index || b->first_index > f->first_index + f->entry_count)
		return -ERR_CORRUPT; /* L3 */
	while (f->first_index + f->entry_count > b->first_index)
		free((void *)(uintptr_t)f->entries[--f->entry_count].data);
	grown = realloc(f->entries, (f->entry_count + b->count) * sizeof(*grown));
	if (grown == NULL)
		return -ERR_NOMEM;
	f->entries = grown;
	for (uint32_t i = 0; i < b->count; i++) {
		uint8_t *copy = malloc(entries[i].bytes > 0 ? entries[i].bytes : 1);

		if (copy == NULL)
			return -ERR_NOMEM;
		memcpy(copy, entries[i].data, entries[i].bytes);
		grown[f->entry_count] = entries[i];
		grown[f->entry_count++].data = copy;
	}
	return 0;
}

/* Q5: no whole batch of a later lsn may be anywhere: the one that is missing was acknowledged. */
static int judge_rest(struct qlog *q)
{
	struct quorum_entry entries[QUORUM_ENTRIES_MAX];
	uint8_t *scratch = NULL;
	int rc = 0;

	for (uint32_t i = 0; i < QUORUM_LOG_BLOCKS && rc == 0; i++) {
		struct quorum_batch b;

		if (batch_at(q, i, &b, entries, &scratch) == 0 && b.lsn > q->lsn)
			rc = -ERR_CORRUPT;
	}
	free(scratch);
	return rc;
}

static int judge_entries(struct qlog *q)
{
	struct qlog_found *f = &q->found;
	uint64_t end = f->first_index + f->entry_count; /* one past the last */

	if (f->entry_count > 0 && !f->has_snapshot && f->first_index != 1)
		return -ERR_CORRUPT; /* L3 */
	if (f->entry_count > 0 && f->has_snapshot &&
	    (f->first_index > f->snapshot.index + 1 || end <= f->snapshot.index))
		return -ERR_CORRUPT; /* L3 */
	if (f->has_snapshot && f->entry_count == 0)
		f->first_index = f->snapshot.index + 1;
	if (!f->has_snapshot && f->entry_count == 0)
		f->first_index = 1;
	if ((f->has_snapshot || f->entry_count > 0) && q->meta.term == 0)
		return -ERR_CORRUPT;
	return 0;
}

static bool all_zero(const uint8_t *data, size_t bytes)
{
	return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}
