/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/request_past.c
 * Purpose.     `snapshot create --at`: which record boundary is meant, can a snapshot be made of it, is it made.
 * Invariants.  QP1 A time means: everything acknowledged by then is in it (replica_moment_find).
 *              QP2 What cannot be made here is refused before a record is written; the refusal names the earliest
 *                  moment that can, and how to keep more.
 *              QP3 The request is answered when the snapshot can be read at this site.
 * States.      NEW [the moment is looked for] -> NEW [found] -> WRITTEN (request_snap.c) -> made.
 * Failure.     The history that was there when the record was written may be gone when it is committed, or go
 *              while the snapshot is made: it is listed as missing, and the answer says so.
 */
#include <inttypes.h>
#include <stdio.h>

#include "engine/base/err.h"
#include "engine/volume/request.h"

#define W_FOUND 2u

static void find(struct conductor_request *r, struct replica *replica)
{
	const struct snapshot_spec *want = &r->snapshot;
	struct request_state *s = request_state(r);
	uint64_t now = clock_wall(r->c->env->clock).v;

	s->moment = (struct replica_moment){.by_time = want->at != SNAPSHOT_AT_LSN,
					    .lsn = want->at_lsn};
	s->moment.time = want->at_time;
	if (want->at == SNAPSHOT_AT_AGE)
		s->moment.time.v = now > want->at_age_ns ? now - want->at_age_ns : 0;
	s->finding = true;
	completion_arm(&s->moment.done, &r->op, W_FOUND);
	replica_moment_find(replica, &s->moment);
}

/* QP2 */
static int refuse(struct conductor_request *r, const struct group *g, const struct replica *replica)
{
	struct replica_history_status st;
	char time[WALL_TEXT_BYTES];

	replica_history_status(replica, &st);
	if (st.want.ns == 0 && st.want.bytes == 0)
		return request_fail(
			r, -ERR_TRIMMED,
			"group %s keeps no history to go back in: 'twinshore group set %s "
			"--history 1h' keeps it from then on",
			g->name, g->name);
	if (!st.reachable)
		return request_fail(r, -ERR_TRIMMED,
				    "the history of group %s has only begun: try again in a moment",
				    g->name);
	wall_format_up(st.earliest_time, time);
	return request_fail(
		r, -ERR_TRIMMED,
		"group %s cannot go back so far: the earliest moment is %s, LSN %" PRIu64
		"; 'twinshore group set %s --history' says how much is kept from now "
		"on%s",
		g->name, time, st.earliest.v, g->name,
		st.is_short ? ", but there is no room for all that is wanted now" : "");
}

static int found(struct conductor_request *r, const struct group *g, const struct replica *replica)
{
	struct request_state *s = request_state(r);
	struct replica_status st;
	int rc = s->moment.done.rc;

	replica_status(replica, &st);
	if (rc == -ERR_RANGE)
		return request_fail(r, rc,
				    "group %s has not come to LSN %" PRIu64
				    " yet: its newest is %" PRIu64,
				    g->name, r->snapshot.at_lsn.v, st.tail.v);
	if (rc < 0 && rc != -ERR_TRIMMED)
		return request_fail(r, rc, "looking for that moment in the journal of group %s: %s",
				    g->name, err_text(rc));
	if (rc < 0 ||
	    (s->moment.lsn.v < st.tail.v && replica_moment_check(replica, s->moment.lsn) < 0))
		return refuse(r, g, replica);
	return 0;
}

int request_past(struct conductor_request *r, const struct group *g, struct replica *replica,
		 struct lsn *ret_at)
{
	struct request_state *s = request_state(r);
	char time[WALL_TEXT_BYTES];
	int rc;

	ret_at->v = 0;
	if (r->snapshot.at == SNAPSHOT_AT_NOW)
		return 0;
	if (r->snapshot.at == SNAPSHOT_AT_TIME &&
	    r->snapshot.at_time.v > clock_wall(r->c->env->clock).v) {
		wall_format_up(r->snapshot.at_time, time);
		return request_fail(r, -ERR_INVALID, "%s is not past yet", time);
	}
	if (!s->finding) {
		find(r, replica);
		return -ERR_AGAIN; /* wait: the journal's headers */
	}
	rc = found(r, g, replica);
	if (rc == 0)
		*ret_at = s->moment.lsn;
	return rc;
}

int request_past_made(struct conductor_request *r, const struct group *g,
		      const struct snapshot_info *info)
{
	if (info->missing)
		return request_fail(
			r, -ERR_TRIMMED,
			"snapshot %s@%s cannot be made here: what it needs of the history is "
			"gone; delete it",
			g->name, info->name);
	if (!info->past)
		return 0;
	(void)request_fail(
		r, -ERR_AGAIN,
		"snapshot %s@%s is still being made: 'twinshore snapshot list %s' shows when it is "
		"done",
		g->name, info->name, g->name);
	return -ERR_AGAIN; /* QP3 */
}

void request_past_name(struct conductor_request *r, struct snapshot_name_spec *ret)
{
	ret->prefix = r->snapshot.at == SNAPSHOT_AT_NOW ? "snap" : "at";
	ret->wall = r->snapshot.at == SNAPSHOT_AT_NOW ? clock_wall(r->c->env->clock)
						      : request_state(r)->moment.time;
	ret->lsn = r->snapshot.at == SNAPSHOT_AT_LSN ? r->snapshot.at_lsn : (struct lsn){0};
}
