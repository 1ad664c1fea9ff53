/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/qlog.h: the durable part of a member (and of an authority alone): metadata, two
 * snapshot slots, circular log, in one fixed file of 8 MiB (proto/quorum.md, "file").
 *
 * Requests are carried out one after the other in order of submission; each is durable when it
 * completes.  A failed request poisons the log: it and all later ones complete with -ERR_IO or
 * -ERR_FAILED; nothing is retried.
 */
#ifndef TS_QUORUM_QLOG_H
#define TS_QUORUM_QLOG_H

#include "engine/base/attr.h"
#include "engine/base/list.h"
#include "engine/base/op.h"
#include "engine/port/disk.h"
#include "proto/quorum.h"

struct qlog;
struct ready;

struct qlog_opts {
	bool format;	  /* a wholly zero file becomes an empty log */
	struct uuid disk; /* identity given by such a format */
};

/* What open found.  Valid from the completion of qlog_load until qlog_forget. */
struct qlog_found {
	struct quorum_meta meta;
	uint64_t lsn; /* of the last batch, 0: none yet */
	bool has_snapshot;
	struct quorum_snapshot snapshot;
	const uint8_t *conf, *data; /* of the snapshot */
	uint64_t first_index;	    /* of entries[0] */
	uint32_t entry_count;
	struct quorum_entry *entries; /* the logical log: truncations are applied */
};

MUST_CHECK int qlog_open(struct ready *ready, struct disk *disk, const struct qlog_opts *opts,
			 struct qlog **ret_q); /* -ERR_NOMEM, -ERR_CONFIG: disk too small */

/*
 * Read and check everything.  done.rc: 0; -ERR_CORRUPT: the file is damaged or a hole is in
 * acknowledged data: never start, never repair by cutting; -ERR_NOT_STORE: wholly zero and no
 * format asked for; -ERR_IO; -ERR_NOMEM.
 */
void qlog_load(struct qlog *q, struct completion *done);
const struct qlog_found *qlog_found(const struct qlog *q);
void qlog_forget(struct qlog *q); /* give back what load read */

/* No request may be in flight. */
void qlog_close(struct qlog **q);
/* For simulators: the disk is dead and will complete nothing; requests in flight are forgotten. */
void qlog_discard(struct qlog **q);

struct qlog_req {
	struct completion done; /* armed by the caller before submitting */
	/* fields below are private to qlog */
	struct list_link link;
	uint8_t kind;
	void *buf; /* aligned, ours */
	uint32_t bytes;
	struct quorum_meta meta;
	struct quorum_batch batch;
	uint64_t keep_after; /* SNAPSHOT: entries up to it may go */
	bool install;	     /* SNAPSHOT: the whole log goes */
	struct quorum_snapshot snapshot;
};

/* Write both metadata slots, one after the other, each flushed. seq is set here. */
void qlog_write_meta(struct qlog *q, struct qlog_req *req, const struct quorum_meta *meta);

/*
 * Append entries as one batch from first_index, which is at most one past the last index; what was
 * at first_index and above is thereby truncated.  Bytes are copied now.  -ERR_FULL (no effect):
 * no room until a snapshot; -ERR_NOMEM.
 */
MUST_CHECK int qlog_append(struct qlog *q, struct qlog_req *req, uint64_t first_index,
			   const struct quorum_entry *entries, uint32_t count);

/*
 * Store a snapshot (index, term, conf_index, conf and data are given; the rest is set here) and
 * free the log up to keep_after, or all of it (install).  Bytes are copied now. -ERR_NOMEM,
 * -ERR_TOO_BIG.
 */
MUST_CHECK int qlog_write_snapshot(struct qlog *q, struct qlog_req *req,
				   const struct quorum_snapshot *s, const void *conf,
				   const void *data, uint64_t keep_after, bool install);

uint64_t qlog_lsn(const struct qlog *q); /* last durable batch */
uint64_t qlog_seq(const struct qlog *q); /* last durable metadata write */
uint32_t qlog_blocks_used(const struct qlog *q);
bool qlog_failed(const struct qlog *q);
/* Room for a batch of this many bytes, queued requests counted? */
bool qlog_has_room(const struct qlog *q, uint32_t bytes);

#endif
