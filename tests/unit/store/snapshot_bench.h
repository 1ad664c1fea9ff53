/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/store/snapshot_bench.h: snapshots, rollbacks and clones of the bench's group, and what the model
 * says of them.  A snapshot is known by a number: its UUID and its name come from it.
 */
#ifndef TS_TESTS_SNAPSHOT_BENCH_H
#define TS_TESTS_SNAPSHOT_BENCH_H

#include "engine/store/snapshot.h"
#include "tests/unit/store/replica_bench.h"

struct uuid sb_uuid(uint32_t id);
/* Append the record: replica_append's answer; rb_settle commits it. */
int sb_create(struct rb *b, uint32_t id);
int sb_create_at(struct rb *b, uint32_t id, uint64_t at); /* a snapshot of the past */
int sb_delete(struct rb *b, uint32_t id);
int sb_restore(struct rb *b, uint32_t target, uint32_t kept);
/* Numbers of the snapshots that the model lists as of commit; returns how many. */
uint32_t sb_listed(const struct rb *b, uint32_t *ret, uint32_t max);
/* Open one: replica_snapshot_open's answer. */
int sb_open(struct rb *b, uint32_t id, struct snapshot **ret);
/* Every block of an open snapshot is the model's below lsn. */
void sb_check_content(struct rb *b, struct snapshot *snap, uint64_t lsn);
/* The list is the model's, and all of their content is. */
void sb_check(struct rb *b);
/* A new group, whose volumes begin as those of snapshot id: a bench of its own on the same store and disk; it
 * is freed with sb_clone_close. */
struct rb *sb_clone(struct rb *b, uint32_t id, uint32_t number);
int sb_clone_reopen(struct rb *clone, struct rb *b); /* after b was reopened */
void sb_clone_close(struct rb **clone);

#endif
