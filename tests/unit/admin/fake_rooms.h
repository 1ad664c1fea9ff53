/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/admin/fake_rooms.h: conductor, store, authority and member as a test wants them: plain
 * data behind the functions that the admin room calls.
 */
#ifndef TS_TESTS_FAKE_ROOMS_H
#define TS_TESTS_FAKE_ROOMS_H

#include "engine/base/hist.h"
#include "engine/quorum/authority.h"
#include "engine/quorum/member.h"
#include "engine/store/snapshot.h"
#include "engine/store/store.h"
#include "engine/volume/conductor.h"

#define FAKE_GROUPS_MAX 24u

struct conductor {
	struct group_status groups[FAKE_GROUPS_MAX];
	uint32_t group_count;
	struct volume_status volumes[VOLUMES_MAX]; /* of every group */
	uint32_t volume_count;
	struct event events[64];
	uint32_t event_count;
	struct op *watcher;
	struct conductor_request *request; /* submitted and not answered */
	uint32_t submitted;
	struct hist hist;
	uint32_t attached;
	struct replica *replica; /* of every group */
};

/* The replica of every group: snapshots as data.  Owned is 100 times the index; a delta is one run of
 * 2 blocks at block 1 in the first call and one of zeroes at 8 in the second, beyond the end. */
struct replica {
	struct snapshot_info snapshots[8];
	uint32_t count;
	int owned_rc;
};

struct store {
	struct store_status status;
};

struct authority {
	struct authority_status status;
};

struct member {
	struct member_status status;
};

struct fake_rooms {
	struct replica replica;
	struct conductor conductor;
	struct store store;
	struct authority authority;
	struct member member;
};

/* Two sites, east (1, this one) and west (2). */
void fake_rooms_init(struct fake_rooms *f);
struct group_status *fake_group_add(struct fake_rooms *f, const char *name);
struct snapshot_info *fake_snapshot_add(struct fake_rooms *f, const char *name);
void fake_event_add(struct fake_rooms *f, const char *group);
/* Answer the request in flight. */
void fake_request_answer(struct fake_rooms *f, int rc, const char *text);

#endif
