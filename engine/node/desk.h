/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/desk.h: wires the admin API and the metrics of engine/admin to a site. */
#ifndef TS_NODE_DESK_H
#define TS_NODE_DESK_H

#include "engine/base/attr.h"
#include "engine/node/config.h"
#include "engine/node/site.h"

struct desk;
struct log;

struct desk_opts {
	const struct config *config; /* borrowed for life */
	struct log *log;
};

/* Listen on config->admin and config->metrics_listen.  Errors of net_listen. */
MUST_CHECK int desk_open(struct env *env, struct site *site, const struct desk_opts *opts, struct desk **ret_desk);
void desk_stop(struct desk *d); /* answer nothing more; idempotent; before the site is closed */
void desk_close(struct desk **d); /* after the loop has ended or everything of it is gone */

#endif
