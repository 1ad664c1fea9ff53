/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/desk.c
 * Purpose.     The admin socket and the metrics of a site, as its configuration says.
 * Ownership.   Owns the admin server; borrows site and configuration.
 * Failure.     What cannot be listened on is logged with what to do, and nothing is opened.
 */
#include "engine/node/desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/admin/admin_server.h"
#include "engine/base/err.h"
#include "engine/base/log.h"

struct desk {
	struct admin_server *server;
	char admin[CONFIG_PATH_BYTES + 8];
};

/* Which folder is missing?  Empty: it is there. */
static void folder_missing(const char *path, char *ret, size_t bytes)
{
	char folder[CONFIG_PATH_BYTES];
	struct stat st;
	char *slash;

	ret[0] = '\0';
	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash == NULL || slash == folder)
		return;
	*slash = '\0';
	if (stat(folder, &st) != 0)
		snprintf(ret, bytes, ": the folder %s does not exist: make it, or change 'admin'",
			 folder);
}

static void desk_explain(const struct desk_opts *o, const char *which, int rc)
{
	char why[CONFIG_PATH_BYTES + 80] = "";

	if (strncmp(which, "unix:", 5) == 0)
		folder_missing(which + 5, why, sizeof(why));
	log_error(o->log, "node", "listening on %s: %s%s", which, err_text(rc), why);
}

int desk_open(struct env *env, struct site *site, const struct desk_opts *opts,
	      struct desk **ret_desk)
{
	const struct config *config = opts->config;
	struct admin_server_opts o = {.program = "twinshored",
				      .version = TWINSHORE_VERSION,
				      .site = config->name,
				      .store_path = config->store,
				      .conductor = site_conductor(site),
				      .store = site_store(site),
				      .authority = site_authority(site),
				      .nbd = site_nbd(site)};
	struct desk *d = calloc(1, sizeof(*d));
	const char *which;
	int rc;

	if (d == NULL)
		return -ERR_NOMEM;
	assert(o.conductor != NULL);
	snprintf(d->admin, sizeof(d->admin), "unix:%s", config->admin);
	o.admin_address = config->admin[0] != '\0' ? d->admin : NULL;
	o.metrics_address = config->metrics_listen[0] != '\0' ? config->metrics_listen : NULL;
	rc = admin_server_open(env, &o, &d->server, &which);
	if (rc < 0) {
		desk_explain(opts, which, rc);
		free(d);
		return rc;
	}
	*ret_desk = d;
	return 0;
}

void desk_stop(struct desk *d, struct completion *done)
{
	admin_server_stop(d->server, done);
}

void desk_close(struct desk **dp)
{
	struct desk *d = *dp;

	*dp = NULL;
	admin_server_close(&d->server);
	free(d);
}

void desk_abandon(struct desk **dp)
{
	struct desk *d = *dp;

	*dp = NULL;
	admin_server_abandon(&d->server);
	free(d);
}
