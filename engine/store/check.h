/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check.h: the offline check: proves that every segment, chunk and page is reachable
 * exactly once or free, and that every checksum is right.  Writes nothing.  And the repair of what is
 * superfluous or there more than once.
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
	CHECK_REPAIR, /* what was repaired, and what was left alone (store_check_repair) */
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
	struct leaks
		*leaks; /* NULL, or out: counts that are too high, as of the opening of the store */
	bool unsure;	/* out: something else was bad: what is reached is not known for certain */
};

/* env needs bufs (records are read into them).  c is borrowed until done. */
void store_check(struct env *env, struct disk *disk, struct store_check *c);

/*
 * Repair what can be repaired without losing anything: copies of the superblock and of the floors that
 * lost, from those that won; references that the tables count and nobody holds, if everything that can be
 * reached was read and was right.  Content is never touched.  Whether it is good now is what a check
 * afterwards says.
 */
struct store_repair {
	struct completion done; /* 0: ran; or why it could not */
	uint64_t memory_bytes;
	void (*report)(void *ctx, enum check_line kind,
		       const char *line); /* CHECK_REPAIR; or NULL */
	void *ctx;
	uint64_t repaired; /* out */
};
void store_check_repair(struct env *env, struct disk *disk, struct store_repair *q);

#endif
