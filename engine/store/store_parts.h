/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/store_parts.h: what replica.c and journal.c need of the store they live in.
 * Implemented by store.c, map.c, checkpoint.c and fold.c; only the store room includes it.
 */
#ifndef TS_STORE_STORE_PARTS_H
#define TS_STORE_STORE_PARTS_H

#include "engine/store/checkpoint.h"
#include "engine/store/map.h"
#include "engine/store/space.h"

struct index;

struct env *store_env(struct store *s);
struct disk *store_disk(struct store *s);
struct space *store_space(struct store *s);
const struct store_opts *store_opts(const struct store *s);
const struct uuid *store_uuid(const struct store *s);
/* The one way into FAILED: logs what was attempted, fires the failure watcher, wakes replicas'
 * watchers. Idempotent. */
void store_fail(struct store *s, int rc, const char *what);

/* Bound of index entries for one replica (memory_bytes shared out) and of records in flight. */
uint32_t store_index_max(const struct store *s);
uint32_t store_records_max(const struct store *s);
/* Shared by all replicas of the store. */
struct record_pool *store_record_pool(struct store *s);

/* Look for work soon: fold (journal filling, commit moved), checkpoint. Cheap. */
void store_kick(struct store *s);
/* A checkpoint of everything as it is; done when durable. Requests that wait share one. */
void store_checkpoint(struct store *s, struct completion *done);
/* Fold r up to its commit of now, then checkpoint; done when durable. */
void store_fold_now(struct store *s, struct replica *r, struct completion *done);

/* Lists of replicas: replica.c creates, the store keeps. Staging replicas are in the list, too. */
void store_add_replica(struct store *s, struct replica *r);
void store_remove_replica(struct store *s, struct replica *r);
/* In the same step in which its maps are discarded: until then checkpoints still list it, so that no
 * chunk of it is ever unreachable.  Implies remove. */
void store_forget_replica(struct store *s, struct replica *r);
struct replica *store_first_replica(
	struct store *s); /* uuid order, staging after its visible one */
struct replica *store_next_replica(struct store *s, struct replica *r);

/* Maps. root may be empty. map_discard gives all its pages and chunks back (volume deleted,
 * staging thrown away): it walks the tree in the background; the map is freed when done. */
MUST_CHECK int map_open(struct store *s, const struct volume_root *root, struct map **ret_map);
/* root, root_crc, root_digest and depth as of the last map_write_out (replica_to_root fills its
 * volume_root with it). */
void map_root_get(const struct map *m, struct volume_root *ret);
void map_resize(struct map *m,
		uint64_t bytes); /* grows the tree when needed; shrink is refused earlier */
void map_free(struct map **m);	 /* memory only */
void map_discard(struct map **m);

#endif
