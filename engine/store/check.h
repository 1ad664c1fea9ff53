/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check.h: the offline check: proves that every segment, chunk and page is reachable
 * exactly once or free, and that every checksum is right.  Writes nothing.
 */
#ifndef TS_STORE_CHECK_H
#define TS_STORE_CHECK_H

#include "engine/base/op.h"
#include "engine/base/uuid.h"
#include "engine/port/disk.h"
#include "engine/port/env.h"

enum check_line {
	CHECK_BAD,    /* what is wrong, where */
	CHECK_NOTE,   /* what was looked at */
	CHECK_DIGEST, /* "group NAME UUID DIGEST" and "volume GROUP/NAME DIGEST" */
};

struct store_check {
	struct completion done; /* 0: ran, see bad_count; or why it could not run */
	bool digest;		/* also compute digests, of each journal's end */
	bool skip_home;		/* do not read home blocks (a quick check) */
	bool skip_journal;	/* do not read journal payload */
	uint64_t memory_bytes;	/* for the store while it is looked at; 0: default */
	void (*report)(void *ctx, enum check_line kind, const char *line);
	void *ctx;
	uint64_t bad_count;			 /* out */
	uint64_t pages, chunks, blocks, records; /* out: looked at */
	uint64_t digest_all; /* out: one number over all groups' digests, when asked for */
};

/* env needs bufs (records are read into them).  c is borrowed until done. */
void store_check(struct env *env, struct disk *disk, struct store_check *c);

#endif
