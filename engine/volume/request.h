/* SPDX-License-Identifier: Apache-2.0 */
/* engine/volume/request.h: the private state of a request of the desk.  Only request*.c include it. */
#ifndef TS_VOLUME_REQUEST_H
#define TS_VOLUME_REQUEST_H

#include "engine/store/snapshot.h"
#include "engine/volume/group.h"

#define REQUEST_AGAIN_MS 80u /* R8 */

enum request_phase { REQ_NEW, REQ_ASKED, REQ_WRITTEN };

struct request_state {
	enum request_phase phase;
	struct mono_ns deadline, again;
	struct uuid uuid; /* of the group or snapshot it makes */
	struct lsn end;
	uint64_t epoch; /* in which `end` is a position; the one that shall end (request_role.c) */
	bool forced;	/* request_force.c has begun */
	uint64_t pass;	/* of the scrub that answers it */
	/* request_snap.c */
	struct uuid snapshot;
	struct snapshot *held;
	struct completion opened;
	/* request_past.c */
	struct replica_moment moment;
	bool finding; /* or found, when nothing is waited for */
};
_Static_assert(sizeof(struct request_state) <= sizeof(((struct conductor_request *)0)->private),
	       "fits");

static inline struct request_state *request_state(struct conductor_request *r)
{
	return (struct request_state *)(void *)r->private;
}

/* request.c */
PRINTF_LIKE(3, 4)
int request_fail(struct conductor_request *r, int rc, const char *fmt, ...);
/* 0: the group is served here; -ERR_AGAIN: not yet; else why not, told. */
MUST_CHECK int request_group_refusal(struct conductor_request *r, const struct group *g,
				     const char *name);
/* The record that was asked for: 0 committed, -ERR_AGAIN, or nobody knows. */
MUST_CHECK int request_committed(struct conductor_request *r, struct group *g, const char *see);

uint32_t request_site_named(const struct conductor *c, const char *name); /* site id, 0: none */

/* request_role.c: who is primary */
MUST_CHECK int request_switchover(struct conductor_request *r);
MUST_CHECK int request_failover(struct conductor_request *r);

/* request_site.c: the sites of a group.  The cmd's sites as the request wants them; 0 or the refusal. */
MUST_CHECK int request_create_sites(struct conductor_request *r, struct vg_cmd *cmd);
MUST_CHECK int request_set_sites(struct conductor_request *r, const struct group *g,
				 struct vg_cmd *cmd);
bool request_same_sites(const struct vg_view *v, const struct vg_cmd *cmd);
MUST_CHECK int request_pause(struct conductor_request *r);

/* request_force.c: to a site that may lack acknowledged writes */
MUST_CHECK int request_force(struct conductor_request *r, struct group *g);

/* branch.c: -ERR_NOT_FOUND: there is no branch of that name here */
MUST_CHECK int branch_delete(struct conductor_request *r, struct group *g);

/* scrub.c */
MUST_CHECK int request_scrub(struct conductor_request *r);

/* request_past.c: snapshots of earlier moments */
/* 0: *ret_at is the moment's boundary, 0: of now; -ERR_AGAIN: not known yet; else the refusal, told. */
MUST_CHECK int request_past(struct conductor_request *r, const struct group *g,
			    struct replica *replica, struct lsn *ret_at);
/* Its record is committed: 0: it can be read; -ERR_AGAIN; -ERR_TRIMMED: it never will be, told. */
MUST_CHECK int request_past_made(struct conductor_request *r, const struct group *g,
				 const struct snapshot_info *info);
/* What the name of a snapshot is made of when none is given. */
struct snapshot_name_spec {
	const char *prefix;
	struct wall_ns wall;
	struct lsn lsn; /* not 0: in the place of the time */
};
void request_past_name(struct conductor_request *r, struct snapshot_name_spec *ret);
#define WALL_TEXT_BYTES 40
/* RFC 3339 in UTC with milliseconds, rounded up: going back to what was printed is not too early. */
void wall_format_up(struct wall_ns wall, char ret[WALL_TEXT_BYTES]);

/* request_snap.c: snapshots, rollbacks, clones */
MUST_CHECK int request_snapshot(struct conductor_request *r);
MUST_CHECK int request_rollback(struct conductor_request *r);
MUST_CHECK int request_clone(struct conductor_request *r);
void request_snap_end(struct conductor_request *r); /* it is about to be answered */

#endif
