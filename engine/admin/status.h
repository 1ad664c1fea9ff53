/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/status.h: what is known as messages; all memory is the arena's, NULL: it is full. */
#ifndef TS_ADMIN_STATUS_H
#define TS_ADMIN_STATUS_H

#include "engine/admin/arena.h"
#include "engine/admin/server_state.h"
#include "engine/volume/conductor.h"
#include "proto/admin.pb-c.h"

#define STATUS_GROUPS_PER_PART 4u /* 256 volumes each fit a frame */

/* The next part of a snapshot: groups after `last` ("": from the first; then the head comes with
 * it); `only`: that group, "" for all.  The part's name of the last group is put into ret_last. */
Adm__StatusReply *status_part(struct arena *a, const struct admin_server *s, const char *only,
			      const char *last, char ret_last[NAME_BYTES_MAX + 1]);

Adm__Quorum *status_quorum(struct arena *a, const struct admin_server *s);
bool status_find(const struct admin_server *s, const char *group, struct group_status *ret);

/* Why the group is as it is. */
Adm__ExplainReply *explain_group(struct arena *a, const struct admin_server *s,
				 const struct group_status *g);

#endif
