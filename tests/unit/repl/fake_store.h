/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/repl/fake_store.h: a store of one group in memory, for tests of repl alone: it takes
 * the place of engine/store/{store,replica}.c at link time.  Everything asynchronous ends
 * FAKE_STORE_NS later, in order.  Bases are merged as the real store does: a block that a committed
 * record wrote is never replaced.
 */
#ifndef TS_TESTS_FAKE_STORE_H
#define TS_TESTS_FAKE_STORE_H

#include "engine/port/env.h"
#include "engine/store/replica.h"

#define FAKE_STORE_NS (200000ull)
#define FAKE_VOLUME_BLOCKS 1024u

struct store *fake_store_open(struct env *env);
void fake_store_close(struct store *s);
void fake_store_fail(struct store *s);
/* No snapshot that a CLONE record begins with is here. */
void fake_store_base_missing(struct store *s);
/* No branch can be made. */
void fake_store_no_room(struct store *s, bool none);
/* Journal space: appends beyond trim + bytes answer -ERR_JOURNAL_FULL until fake_trim. */
void fake_store_limit(struct store *s, uint64_t journal_bytes);
/* Slow down imports and base reads: so many ns each. */
void fake_store_slow(struct store *s, uint64_t ns);

struct replica *fake_replica(struct store *s, const struct uuid *group);
struct lsn fake_pin(const struct replica *r);
void fake_trim(struct replica *r, struct lsn lsn); /* a record boundary <= commit */
/* First 8 bytes of a block as of commit. */
uint64_t fake_content(const struct replica *r, uint32_t volume, uint64_t block);
void fake_corrupt_chain(struct replica *r); /* the last record's chain is another */

/* Make and append records as a primary does; returns it with one reference. */
struct record *fake_epoch_record(struct replica *r, struct env *env, struct epoch e,
				 uint64_t last_forced);
struct record *fake_volume_record(struct replica *r, struct env *env, uint32_t slot,
				  uint64_t blocks);
struct record *fake_clone_record(struct replica *r, struct env *env);
struct record *fake_write_record(struct replica *r, struct env *env, uint32_t volume,
				 uint64_t block, uint32_t count, uint64_t value);

#endif
