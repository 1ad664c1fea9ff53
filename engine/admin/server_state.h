/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/server_state.h: the server as its sessions see it; private to the room. */
#ifndef TS_ADMIN_SERVER_STATE_H
#define TS_ADMIN_SERVER_STATE_H

#include "engine/admin/admin_server.h"
#include "engine/base/list.h"
#include "engine/port/clock.h"
#include "engine/port/net.h"

struct admin_door {
	struct net_listener *listener; /* NULL: none */
	struct net_accept_req req;
	bool accepting;
	bool failed; /* the last accept; tried again when the timer fires */
};

enum { ADMIN_DOOR, WEB_DOOR, DOOR_COUNT };

struct admin_server {
	struct op op;
	struct env *env;
	struct admin_server_opts o;
	struct admin_door doors[DOOR_COUNT];
	struct timer retry;
	bool retrying;
	struct list sessions, webs;
	uint32_t session_count, web_count;
	bool stopping;
	struct completion *done;
	uint64_t web_requests, admin_requests; /* answered */
};

#endif
