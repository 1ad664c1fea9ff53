/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/superblock.h: the four superblock copies and the floors beside them.
 *
 * A struct supers holds the content that is durable now.  One load or write at a time; floors have
 * writes of their own and may go on beside it.
 */
#ifndef TS_STORE_SUPERBLOCK_H
#define TS_STORE_SUPERBLOCK_H

#include "engine/base/op.h"
#include "engine/port/disk.h"
#include "engine/store/store.h"
#include "proto/store.h"

struct supers;

struct supers_opts {
	struct env *env;
	struct disk *disk;
	uint32_t mutant;
	bool read_only;
	/* Told once, when a write failed: nothing more is promised.  May be NULL. */
	void (*failed)(void *ctx, int rc, const char *what);
	void *ctx;
};

MUST_CHECK int supers_open(const struct supers_opts *opts, struct supers **ret_supers);
/* Nothing may be in flight, or the disk has forgotten it (a crash in the simulator). */
void supers_close(struct supers **su, bool abandoned);
bool supers_is_idle(const struct supers *su);

/* Flush, read, take the newest content that two copies agree on, repair the others; the same for
 * floors.  done: 0; -ERR_NOT_STORE, -ERR_VERSION, -ERR_CORRUPT (says what in the log), -ERR_IO. */
void supers_load(struct supers *su, struct completion *done);
/* First content of a new store: wipes what looks like superblocks, then writes floors; the
 * superblocks themselves come with the first supers_write. */
void supers_format(struct supers *su, const struct disk_super *content, struct completion *done);

/* Content as of the last load or write that succeeded. */
const struct disk_super *supers_content(const struct supers *su);
/* How many copies were good when loaded, for reports. */
uint32_t supers_good_copies(const struct supers *su);
/* The same of the floors' newest slot, as loaded. */
uint32_t supers_good_floors(const struct supers *su);
/* What a copy was when loaded: NULL: good and of the content; else a word or two for a report. */
const char *supers_copy_fault(const struct supers *su, uint32_t copy);
/* done when the floors that a load found in too few copies, and all that were set, are durable:
 * 0, -ERR_NOMEM, -ERR_FAILED. */
void supers_settle(struct supers *su, struct completion *done);

/* Write `content` (sequence is set here) to two copies, then to the other two, each verified by
 * reading it back.  A crash leaves two equal copies of the old or of the new.  done: 0, -ERR_IO. */
void supers_write(struct supers *su, const struct disk_super *content, struct completion *done);

/* Before a checkpoint that says the disk has grown to disk_bytes: signposts (proto/store.h), durable. */
void supers_signpost(struct supers *su, uint64_t disk_bytes, struct completion *done);

void supers_floor_get(const struct supers *su, const struct uuid *group, struct store_floor *ret);
void supers_floor_set(struct supers *su, const struct uuid *group, const struct store_floor *floor,
		      struct completion *done);
/* Write the floors as they are into the slot whose turn it is: after two of these every copy is new. */
void supers_floors_again(struct supers *su, struct completion *done);
uint32_t supers_floor_count(const struct supers *su);
void supers_floor_at(const struct supers *su, uint32_t index, struct uuid *ret_group,
		     struct store_floor *ret);

#endif
