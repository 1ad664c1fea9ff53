/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/store.h: one store: one disk that holds replicas of groups.  Knows no peers.
 *
 * Life: store_format (offline) / store_open -> store; replicas live inside it (replica.h).  Every
 * asynchronous call takes a struct completion that the caller has armed; it fires once, later.
 */
#ifndef TS_STORE_STORE_H
#define TS_STORE_STORE_H

#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"
#include "engine/port/disk.h"
#include "engine/port/env.h"

struct store;

struct store_format_opts {
	uint64_t
		segment_bytes; /* 0: chosen (16 MiB, smaller for a small disk); power of two 2 MiB..256 MiB: a record never spans two */
	struct uuid uuid;      /* the store's identity, from random */
	uint32_t journal_percent; /* default share, 1..90; 25 */
};

/* Write an empty store over the whole disk (superblocks last).  Does not look at what was there:
 * the caller did (store_probe).  `done` fires 0, -ERR_INVALID (too small: under 64 MiB), -ERR_IO. */
void store_format(struct env *env, struct disk *disk, const struct store_format_opts *opts,
		  struct completion *done);

enum store_probe_result { STORE_PROBE_EMPTY, STORE_PROBE_STORE, STORE_PROBE_OTHER };
/* Look whether the disk is blank, a store (even damaged) or something else; done.rc is the enum. */
void store_probe(struct env *env, struct disk *disk, struct completion *done);

struct store_opts {
	uint64_t memory_bytes;	  /* bound for index, leaf cache and tables together */
	uint32_t journal_percent; /* of the store; 0: as formatted */
	uint32_t fold_idle_ms; /* fold when this long idle even if there is room; 0: default 200 */
	uint32_t
		disk_stall_ms; /* a journal write or flush that takes longer fails the store; 0: never */
	bool read_only;	       /* inspect and check: writes nothing, recovers in memory */
	const struct leaks *leaks; /* references that nobody holds, to be dropped; NULL (leaks.h) */
	uint32_t mutant;	   /* seeded bug for tests (enum store_mutant), 0 in products */
};

/* Seeded bugs: only tests set one; each must be found by the simulator (tests/sim/README.md). */
enum store_mutant {
	STORE_MUTANT_NONE,
	STORE_MUTANT_ACK_BEFORE_DURABLE, /* journal completion fires when the write is submitted */
	STORE_MUTANT_FOLD_BEYOND_COMMIT, /* index takes records before they are committed */
	STORE_MUTANT_SKIP_CHAIN_CHECK,	 /* recovery accepts a record whose chain does not fit */
	STORE_MUTANT_TRIM_EARLY,	 /* trim before the checkpoint is durable */
	STORE_MUTANT_NO_FLOOR,		 /* floors are not made durable */
	STORE_MUTANT_BASE_OVERWRITES,	 /* J8: a base block replaces a streamed one */
	STORE_MUTANT_NO_HOME_FLUSH,	 /* checkpoint without the flush after home writes */
	STORE_MUTANT_REPAIR_UNCHECKED,	 /* what was fetched is not checked */
	STORE_MUTANT_HEADER_BEFORE_DATA, /* a record is written before the chunks it names */
	STORE_MUTANT_FORGET_NAMES,	 /* recovery does not name the chunks of records again */
	STORE_MUTANT_NAMED_IN_PLACE,	 /* fold overwrites a chunk that a record names */
	STORE_MUTANT_SHARED_IN_PLACE,	 /* fold overwrites chunks that a snapshot has, too */
	STORE_MUTANT_NO_FOLD_CAP, /* fold does not wait for imports: what they bring replaces what is newer */
	STORE_MUTANT_GHOST_AT_ONCE, /* a tree is given back before it is durable that nobody uses it */
	STORE_MUTANT_PAST_SHORT,    /* a snapshot of the past lacks its last record */
	STORE_MUTANT_PAST_VOLUMES, /* changes of volumes are not replayed for one */
	STORE_MUTANT_ANCHOR_DIRTY, /* fold may skip what an anchor needs: no barrier in the index */
};

/*
 * Open: superblock quorum, tables, journals; nothing is served before it is done.  *ret_store is set
 * at once, only for store_abandon, and NULL again after a failure.
 * The incarnation (boot number) is raised and made durable unless read_only.
 * done.rc: 0; -ERR_NOT_STORE, -ERR_VERSION (format or feature bits unknown),
 * -ERR_CORRUPT (says what in the log), -ERR_IO.
 */
void store_open(struct env *env, struct disk *disk, const struct store_opts *opts,
		struct store **ret_store, struct completion *done);

/* Stop background work, checkpoint if healthy, release everything.  Nothing of it may be in use. */
void store_close(struct store **store, struct completion *done);

/* A crash in the simulator: free all memory at once; every disk request is already gone. */
void store_abandon(struct store **store);

/* True after any failed write or flush: nothing more is promised (STYLE 16). */
bool store_is_failed(const struct store *s);

/* Room for data: below an eighth and below a sixteenth of the store fold becomes eager and people are
 * warned.  Who refuses writes decides by store_status (free_bytes, index_entries). */
enum store_room { STORE_ROOM_OK, STORE_ROOM_LOW, STORE_ROOM_LITTLE };
enum store_room store_room(const struct store *s);
/* Writes find no room: what is kept to go back in goes first.  True: something of it is on its way out. */
bool store_history_give(struct store *s);

/* Fires (-ERR_FAILED) when the store fails; one watcher; NULL ends it without firing. */
void store_watch_failure(struct store *s, struct completion *c);

struct store_status {
	struct uuid uuid;
	uint64_t incarnation; /* of this opening: grows by at least 1 at each */
	uint64_t bytes, used_bytes, journal_bytes, journal_used_bytes;
	uint64_t free_bytes; /* what home may still take: beyond it fold stops with -ERR_FULL */
	uint64_t segment_bytes;
	uint64_t index_entries, index_entries_max;
	uint64_t recovery_read_bytes;
	uint64_t checkpoint_seq;
	bool shares; /* snapshots, clones or trees being given back: overwriting may take room */
	bool failed;
};
void store_status(const struct store *s, struct store_status *ret);

/*
 * Make the store larger, online, in the background: to `bytes` (a multiple of 4096; a file is enlarged and
 * written once, slowly; a device must have them), or, 0, to what its file or device has now.  0: under way,
 * or done already; look at store_growth.  -ERR_INVALID (smaller than it is: a store never shrinks),
 * -ERR_BUSY (another growth is under way), -ERR_READONLY, -ERR_NOMEM, -ERR_FAILED, -ERR_CLOSED.
 */
MUST_CHECK int store_grow(struct store *s, uint64_t bytes);
struct store_growth {
	bool busy;
	int rc; /* of the last one: 0; -ERR_RANGE (no whole segment more), -ERR_FULL (the file system),
		 * -ERR_UNSUPPORTED (the device is smaller), -ERR_IO, -ERR_FAILED, -ERR_CLOSED */
	uint64_t asked, from,
		to;	  /* to: 0 until it is known; all 0: none since the store was opened */
	uint64_t written; /* of a file: how much of the new part */
	uint32_t ended;	  /* growths that came to an end since the store was opened */
};
void store_growth(const struct store *s, struct store_growth *ret);

/* Floors (QUORUM J10): {epoch, cfg, promise} per group, durable before `done`; never go down
 * (lower values are raised to what is there).  Many sets in flight share one write. */
struct store_floor {
	uint64_t epoch;
	uint64_t cfg;
	uint64_t promise_ms; /* the longest grace promised to a peer's lease (QUORUM 4.4) */
};
void store_floor_get(const struct store *s, const struct uuid *group,
		     struct store_floor *ret); /* as durable; zeroes if none */
void store_floor_set(struct store *s, const struct uuid *group, const struct store_floor *floor,
		     struct completion *done);

#endif
