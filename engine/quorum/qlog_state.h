/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/qlog_state.h: the inside of struct qlog, shared by qlog.c and qlog_load.c only. */
#ifndef TS_QUORUM_QLOG_STATE_H
#define TS_QUORUM_QLOG_STATE_H

#include "engine/quorum/qlog.h"

#define BATCHES_MAX QUORUM_LOG_BLOCKS

enum { REQ_META, REQ_APPEND, REQ_SNAPSHOT };

struct qlog_batch {
	uint64_t lsn, first_index;
	uint32_t block, blocks;
};

struct qlog {
	struct op op;
	struct disk *disk;
	struct qlog_opts opts;
	bool loaded, failed;
	uint32_t phase; /* of the load, or of `busy` */
	struct qlog_req *busy;
	struct list queue;
	struct disk_req io[2];
	struct completion *load_done;

	struct quorum_meta meta; /* as durable */
	uint32_t snapshot_slot;	 /* of the newest */
	uint64_t snapshot_seq;
	uint32_t head, used;	 /* blocks of the log */
	uint64_t lsn, lsn_given; /* last durable, last queued */
	uint32_t blocks_promised, batches_promised;
	struct qlog_batch *batches; /* ring of those between head and tail */
	uint32_t batch_first, batch_count;

	uint8_t *image; /* of the whole file, while loading and until qlog_forget */
	bool blank;
	struct qlog_found found;
	uint8_t block[BLOCK_BYTES] __attribute__((aligned(4096)));
};

void qlog_load_step(struct qlog *q); /* qlog_load.c: next step of the load, no I/O in flight */
void qlog_io(struct qlog *q, uint32_t which, enum disk_kind kind, uint64_t off, void *data,
	     uint64_t bytes);

#endif
