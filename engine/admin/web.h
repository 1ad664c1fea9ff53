/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/web.h: one HTTP client: one request, one answer, closed. */
#ifndef TS_ADMIN_WEB_H
#define TS_ADMIN_WEB_H

#include "engine/admin/channel.h"
#include "engine/admin/server_state.h"

enum web_state { WEB_READ, WEB_SEND, WEB_LINGER, WEB_CLOSE };

struct web {
	struct channel channel;
	struct admin_server *server;
	struct list_link link;
	enum web_state state;
	bool linger; /* the client may still be sending: read it away before closing */
	size_t lingered;
};

int web_new(struct admin_server *server,
	    struct net_conn *net); /* takes net; -ERR_NOMEM (net is closed) */
void web_abandon(struct web *w);

#endif
