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
	struct conductor conductor;
	struct store store;
	struct authority authority;
	struct member member;
};

/* Two sites, east (1, this one) and west (2). */
void fake_rooms_init(struct fake_rooms *f);
struct group_status *fake_group_add(struct fake_rooms *f, const char *name);
void fake_event_add(struct fake_rooms *f, const char *group);
/* Answer the request in flight. */
void fake_request_answer(struct fake_rooms *f, int rc, const char *text);

#endif
