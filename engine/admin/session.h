/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/session.h: one client of the admin protocol. */
#ifndef TS_ADMIN_SESSION_H
#define TS_ADMIN_SESSION_H

#include "engine/admin/arena.h"
#include "engine/admin/channel.h"
#include "engine/admin/server_state.h"
#include "engine/volume/conductor.h"
#include "proto/admin.pb-c.h"

#define SESSION_WAIT_REQUEST CHANNEL_WAIT_OWNER

enum session_state {
	SESSION_HELLO,	   /* waits for the client's Hello */
	SESSION_IDLE,	   /* waits for a Request, or for its answer to be taken */
	SESSION_CHANGE,	   /* the conductor has `change` */
	SESSION_STATUS,	   /* answers status part by part */
	SESSION_EVENTS,	   /* answers events, perhaps for ever */
	SESSION_SNAPSHOTS, /* answers snapshots, or what differs between two: `look` */
	SESSION_CLOSE,
};

struct session {
	struct channel channel;
	struct admin_server *server;
	struct list_link link;
	enum session_state state;
	bool closing; /* after what is being sent */
	uint32_t id;  /* of the request being answered */
	struct conductor_request change;
	/* streams */
	bool repeat;		       /* --watch, --follow */
	bool between;		       /* STATUS: a snapshot is complete, wait for the next */
	uint64_t since;		       /* number of the last event told */
	char only[NAME_BYTES_MAX + 1]; /* STATUS: this group; "" all */
	char last[NAME_BYTES_MAX + 1]; /* STATUS: groups up to here were told; "" none */
	struct look *look;	       /* SNAPSHOTS, else NULL (look.c) */
};

int session_new(struct admin_server *server,
		struct net_conn *net); /* takes net; -ERR_NOMEM (net is closed) */
void session_free(struct session *s);  /* closed */
void session_abandon(struct session *s);

/* --- command.c: what a request does --- */

/* Answers, or moves to another state. */
void command_run(struct session *s, const Adm__Request *request);
/* The conductor has answered s->change. */
void command_changed(struct session *s);
/* The next part of a stream; false: nothing to tell now. */
bool command_status_next(struct session *s);
bool command_events_next(struct session *s);

/* --- look.c: snapshots --- */

void look_snapshots(struct session *s, const Adm__SnapshotList *m);
void look_diff(struct session *s, const Adm__Diff *m);
/* The next part; false: wait. */
bool look_next(struct session *s);
void look_free(struct session *s);    /* nothing of it is in flight */
void look_abandon(struct session *s); /* the world is dead: memory only */

/* Encode and send; the session closes when it cannot. */
void session_answer(struct session *s, const Adm__Response *response);
PRINTF_LIKE(4, 5)
void session_refuse(struct session *s, int rc, const char *hint, const char *fmt, ...);
/* The same, with a statement of loss beside it; both borrowed until return. */
void session_refuse_loss(struct session *s, int rc, const char *hint, char *text, Adm__Loss *loss);

#endif
