/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/desk.h: wires the admin API and the metrics of engine/admin to a site. */
#ifndef TS_NODE_DESK_H
#define TS_NODE_DESK_H

#include "engine/base/attr.h"
#include "engine/node/config.h"
#include "engine/node/site.h"

#define TWINSHORE_VERSION "0.1.0"

struct desk;
struct log;

struct desk_opts {
	const struct config *config; /* borrowed for life */
	struct log *log;
};

/* Listen on config->admin and config->metrics_listen for a site that is serving.  Errors of
 * net_listen; what is wrong was logged. */
MUST_CHECK int desk_open(struct env *env, struct site *site, const struct desk_opts *opts,
			 struct desk **ret_desk);

/* Call it before site_stop; done fires when nothing is in flight, which may need the site to stop:
 * changes in flight are answered by it. */
void desk_stop(struct desk *d, struct completion *done);
void desk_close(struct desk **d);   /* after done has fired */
void desk_abandon(struct desk **d); /* simulator: the process was killed */

#endif
