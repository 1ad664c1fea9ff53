/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/admin_server.h: answers the `twinshore` command on a unix socket, and HTTP (/metrics,
 * /healthz).  One per environment, over its ports only.
 */
#ifndef TS_ADMIN_SERVER_H
#define TS_ADMIN_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/op.h"
#include "engine/port/env.h"

#define ADMIN_SESSIONS_MAX 64u
#define ADMIN_WEB_MAX 16u

struct admin_server;
struct authority;
struct conductor;
struct member;
struct nbd_server;
struct store;

/* Everything is borrowed until the server is quiet.  At a witness only `member` is there. */
struct admin_server_opts {
	const char *admin_address;     /* "unix:/path"; NULL: none */
	const char *metrics_address;   /* "HOST:PORT"; NULL: none */
	const char *program, *version; /* "twinshored", "0.1.0" */
	const char *site;	       /* own name */
	const char *store_path;
	struct conductor *conductor;
	struct store *store;
	struct authority *authority;
	struct nbd_server *nbd; /* may be NULL */
	struct member *member;	/* a witness, else NULL */
};

/* Errors of net_listen, -ERR_NOMEM; *ret_which is the address that could not be listened on. */
MUST_CHECK int admin_server_open(struct env *env, const struct admin_server_opts *opts,
				 struct admin_server **ret_server, const char **ret_which);

/* Accept nothing more and break every connection; fires done when nothing is in flight.  Requests
 * that the conductor has are waited for: it answers them when it is stopped. */
void admin_server_stop(struct admin_server *s, struct completion *done);
void admin_server_close(struct admin_server **s);   /* after done has fired */
void admin_server_abandon(struct admin_server **s); /* a simulated crash: frees memory only */

#endif
