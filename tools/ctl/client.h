/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ctl/client.h: a blocking client of the admin protocol (proto/admin.proto). */
#ifndef TS_CTL_CLIENT_H
#define TS_CTL_CLIENT_H

#include "engine/admin/arena.h"
#include "proto/admin.pb-c.h"
#include "tools/ctl/ctl.h"

struct client {
	const struct ctl *ctl;
	int fd;
	uint64_t deadline_ms; /* on CLOCK_MONOTONIC; 0: none */
	uint32_t id;
};

/* Connect and say hello: 0, or an exit code (told already). */
int client_open(struct client *c, const struct ctl *ctl);
void client_close(struct client *c);

/* Send a request (id and timeout are filled in). */
int client_send(struct client *c, Adm__Request *request);
/* Wait for a response, in `arena`; one with an error is told and its exit code returned. */
int client_take(struct client *c, struct arena *arena, Adm__Response **ret_response);
/* No deadline any more: a stream. */
void client_patient(struct client *c);

/* Open, send, wait for Done, close. */
int client_change(struct ctl *ctl, Adm__Request *request, const char *key, const char *value);

#endif
