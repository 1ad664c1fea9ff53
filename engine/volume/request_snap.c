/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/request_snap.c
 * Purpose.     What the desk asks of snapshots: make, delete, go back to one, clone one.
 * Invariants.  J9 Answered when the record is committed.
 *              J14 A rollback raises the content generation: the upper half counts rollbacks, the
 *                  lower half is the authority's, so that neither takes the other back.
 *              Q2 A snapshot contains every write that was answered before it was asked for: its record
 *                 follows theirs.  Nothing waits for it.
 *              Q3 From the moment a rollback is asked for until it is in the volumes nobody is let in,
 *                 and its record is written only when nobody is in.
 *              Q5 A rollback goes to a snapshot that is here: one of the past is made, or missing, before.
 *              Q4 The snapshot of a clone is held open until the CLONE record is committed, so the
 *                 record finds it pinned.
 * States.      create, delete, rollback: NEW -> WRITTEN -> done.
 *              clone: NEW [the snapshot is opened] -> ASKED [the group exists] -> WRITTEN -> done.
 * Failure.     A role that ends leaves what was written undecided: -ERR_TIMEOUT.  A clone that got its
 *              group but not its record is an empty group, which the same command fills.
 * Limits.      SNAPSHOTS_MAX; SNAPSHOTS_UNPINNED_MAX at a time wait for fold.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/port/random.h"
#include "engine/store/snapshot.h"
#include "engine/volume/request.h"
#include "proto/record_snap.h"

#define W_OPENED 1u
#define GENERATION_ROLLBACK (1ull << 32) /* J14 */
#define SEE "twinshore snapshot list"

static int snapshot_create(struct conductor_request *r, struct group *g, struct record_snap *rec);
static int snapshot_delete(struct conductor_request *r, struct group *g, struct record_snap *rec);
static int snapshot_admit(struct conductor_request *r, const struct replica *replica,
			  const char *name);
static bool group_is_restoring(const struct group *g);
static void snapshot_name_make(struct group *g, const struct snapshot_name_spec *spec,
			       char ret[NAME_BYTES_MAX + 1]);
static int rollback_clients(struct conductor_request *r, struct group *g);
static int clone_open(struct conductor_request *r, struct group *g);
static int clone_group(struct conductor_request *r, struct group *g);
static int clone_write(struct conductor_request *r, struct group *source);

static struct group *request_snap_group(struct conductor_request *r)
{
	return conductor_group_named(r->c, r->snapshot.group, (uint32_t)strlen(r->snapshot.group));
}

static void uuid_draw(struct conductor *c, struct uuid *ret)
{
	uint8_t random[16];

	c->env->random->fill(c->env->random, random, sizeof(random));
	uuid_from_random(ret, random);
}

/* Append the record; -ERR_AGAIN: written, wait for its commit, or no room for it yet. */
static int request_write(struct conductor_request *r, struct group *g, enum record_type type,
			 const uint8_t *body, uint32_t body_bytes)
{
	struct request_state *s = request_state(r);
	int rc = group_append_control(g, type, body, body_bytes, &s->end);

	op_wake(&g->op);
	if (rc < 0)
		return rc;
	s->phase = REQ_WRITTEN;
	s->epoch = g->open_epoch;
	return -ERR_AGAIN;
}

static int snapshot_find(struct conductor_request *r, const struct replica *replica,
			 struct snapshot_info *ret)
{
	int rc = replica_snapshot_by_name(replica, r->snapshot.name, ret);

	if (rc == -ERR_NOT_FOUND)
		return request_fail(r, rc, "group %s has no snapshot %s", r->snapshot.group,
				    r->snapshot.name);
	return rc;
}

/* --- create, delete --- */

static int snapshot_written(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);
	struct snapshot_info info;
	int rc = request_committed(r, g, SEE);

	if (rc < 0)
		return rc;
	rc = replica_snapshot_by_uuid(replica_find(r->c->store, &g->uuid), &s->uuid, &info);
	if (r->kind == REQUEST_SNAPSHOT_DELETE) {
		conductor_event(r->c, EVENT_SNAPSHOT, g, r->snapshot.name, "deleted", 0, 0,
				"snapshot %s@%s is deleted", g->name, r->snapshot.name);
		return 0;
	}
	if (rc < 0)
		return request_fail(r, -ERR_EXISTS, "snapshot %s@%s was not made: see '%s'",
				    g->name, r->snapshot.name, SEE);
	rc = request_past_made(r, g, &info);
	if (rc < 0)
		return rc;
	r->snapshot.uuid = info.uuid;
	r->snapshot.lsn = info.lsn;
	conductor_event(r->c, EVENT_SNAPSHOT, g, "", info.name, 0, 0,
			"snapshot %s@%s is made, at LSN %llu", g->name, info.name,
			(unsigned long long)info.lsn.v);
	return 0;
}

int request_snapshot(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct group *g = request_snap_group(r);
	struct record_snap rec = {0};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	int rc;

	if (s->phase == REQ_WRITTEN)
		return snapshot_written(r, g);
	if (r->kind == REQUEST_SNAPSHOT_DELETE) {
		rc = branch_delete(r, g);
		if (rc != -ERR_NOT_FOUND)
			return rc;
	}
	rc = request_group_refusal(r, g, r->snapshot.group);
	if (rc < 0)
		return rc;
	if (g->volumes_at.v != UINT64_MAX)
		return -ERR_AGAIN; /* Q1 */
	rc = r->kind == REQUEST_SNAPSHOT_CREATE ? snapshot_create(r, g, &rec)
						: snapshot_delete(r, g, &rec);
	if (rc < 0)
		return rc;
	s->uuid = rec.uuid;
	return request_write(r, g, RECORD_SNAP, body, record_snap_encode(&rec, body));
}

static int snapshot_create(struct conductor_request *r, struct group *g, struct record_snap *rec)
{
	struct replica *replica = replica_find(r->c->store, &g->uuid);
	struct snapshot_name_spec spec;
	char name[NAME_BYTES_MAX + 1];
	int rc = request_past(r, g, replica, &rec->at);

	if (rc < 0)
		return rc;
	memcpy(name, r->snapshot.name, sizeof(name));
	request_past_name(r, &spec);
	if (name[0] == '\0')
		snapshot_name_make(g, &spec, name);
	if (branch_name_is_reserved(name))
		return request_fail(r, -ERR_INVALID,
				    "names that begin with 'branch-' are those of branches");
	rc = snapshot_admit(r, replica, name);
	if (rc < 0)
		return rc;
	memcpy(r->snapshot.name, name, sizeof(name));
	rec->op = RECORD_SNAP_CREATE;
	rec->flags = r->snapshot.flags & RECORD_SNAP_FLAGS;
	uuid_draw(r->c, &rec->uuid);
	memcpy(rec->name, r->snapshot.name, sizeof(rec->name));
	return 0;
}

/* May a snapshot of that name be made now? */
static int snapshot_admit(struct conductor_request *r, const struct replica *replica,
			  const char *name)
{
	int rc = replica_snapshot_check(replica, name, 0);

	r->text[0] = '\0';
	if (rc == -ERR_EXISTS)
		return request_fail(r, rc, "snapshot %s@%s exists already", r->snapshot.group,
				    name);
	if (rc == -ERR_FULL)
		return request_fail(r, rc,
				    "group %s has %u snapshots, of at most %u, and the store's are "
				    "bounded together: delete some",
				    r->snapshot.group, replica_snapshots(replica, NULL, 0),
				    SNAPSHOTS_MAX);
	if (rc == -ERR_AGAIN)
		return request_fail(r, rc, "the last snapshots of group %s still wait to be folded",
				    r->snapshot.group);
	return rc;
}

/* Names of the groups here that are clones of it. */
static void clones_text(struct conductor *c, const struct uuid *snapshot, char *ret, uint32_t bytes)
{
	ret[0] = '\0';
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);
		struct replica *replica = replica_find(c->store, &g->uuid);
		struct record_clone base;
		size_t at = strlen(ret);

		if (replica == NULL || !replica_clone_base(replica, &base) ||
		    !uuid_equal(&base.snapshot, snapshot))
			continue;
		if (at + NAME_BYTES_MAX + 8 > bytes) {
			snprintf(ret + at, bytes - at, ", ...");
			return;
		}
		snprintf(ret + at, bytes - at, "%s%s", at != 0 ? ", " : "", g->name);
	}
}

static int snapshot_delete(struct conductor_request *r, struct group *g, struct record_snap *rec)
{
	struct snapshot_info info;
	char clones[256];
	int rc = snapshot_find(r, replica_find(r->c->store, &g->uuid), &info);

	if (rc < 0)
		return rc;
	if (info.clones != 0) {
		clones_text(r->c, &info.uuid, clones, sizeof(clones));
		return request_fail(r, -ERR_IN_USE,
				    "snapshot %s@%s is the base of %s: delete %s first", g->name,
				    info.name, clones[0] != '\0' ? clones : "a clone",
				    info.clones == 1 ? "it" : "them");
	}
	if (info.readers != 0)
		return request_fail(r, -ERR_IN_USE, "snapshot %s@%s is being read by %u here",
				    g->name, info.name, info.readers);
	rec->op = RECORD_SNAP_DELETE;
	rec->uuid = info.uuid;
	return 0;
}

/* --- names --- */

/* Days since 1970-01-01 as a date (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static void civil_from_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	uint64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
	uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*year = (unsigned)(yoe + era * 400 + (*month <= 2));
}

void wall_format_up(struct wall_ns wall, char ret[WALL_TEXT_BYTES])
{
	uint64_t ms = wall.v / MS_NS + (wall.v % MS_NS != 0), seconds = ms / 1000;
	uint64_t today = seconds % 86400;
	unsigned year, month, day;

	civil_from_days(seconds / 86400, &year, &month, &day);
	snprintf(ret, WALL_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000, month,
		 day, (unsigned)(today / 3600), (unsigned)(today / 60 % 60), (unsigned)(today % 60),
		 (unsigned)(ms % 1000));
}

/* PREFIX-20261127T053900Z or PREFIX-LSN, and -2, -3... while that is taken. */
static void snapshot_name_make(struct group *g, const struct snapshot_name_spec *spec,
			       char ret[NAME_BYTES_MAX + 1])
{
	struct replica *replica = replica_find(g->c->store, &g->uuid);
	uint64_t seconds = spec->wall.v / SEC_NS, today = seconds % 86400;
	struct snapshot_info info;
	unsigned year, month, day;
	int n;

	civil_from_days(seconds / 86400, &year, &month, &day);
	if (spec->lsn.v != 0)
		n = snprintf(ret, NAME_BYTES_MAX + 1, "%s-%llu", spec->prefix,
			     (unsigned long long)spec->lsn.v);
	else
		n = snprintf(ret, NAME_BYTES_MAX + 1, "%s-%04u%02u%02uT%02u%02u%02uZ", spec->prefix,
			     year % 10000, month, day, (unsigned)(today / 3600),
			     (unsigned)(today / 60 % 60), (unsigned)(today % 60));
	assert(n > 0 && (uint32_t)n + 8 <= NAME_BYTES_MAX);
	for (uint32_t i = 2; replica_snapshot_by_name(replica, ret, &info) == 0; i++)
		snprintf(ret + n, NAME_BYTES_MAX + 1 - (uint32_t)n, "-%u", i);
}

/* --- rollback --- */

bool group_is_rolling_back(const struct group *g)
{
	return g->rollback != NULL || g->restore_end.v != 0 || g->restoring; /* Q3 */
}

/* Volumes are not yet those of the snapshot that a RESTORE or CLONE names, or not yet known here. */
static bool group_is_restoring(const struct group *g)
{
	return g->restoring || replica_is_restoring(replica_find(g->c->store, &g->uuid));
}

uint64_t group_content_generation(const struct group *g, const struct replica *r)
{
	struct replica_status st;

	replica_status(r, &st);
	if (g->c->o.mutant == RULES_MUTANT_KEEP_GENERATION)
		return st.content_generation; /* the seeded bug */
	return (st.content_generation & ~(GENERATION_ROLLBACK - 1)) |
	       (g->view.content_generation & (GENERATION_ROLLBACK - 1)); /* J14 */
}

void group_restore_progress(struct group *g)
{
	struct replica *r = replica_find(g->c->store, &g->uuid);
	struct replica_status st;
	bool was = g->restoring;

	g->restoring = r != NULL && replica_is_restoring(r);
	if (r != NULL && g->restore_end.v != 0) {
		replica_status(r, &st);
		if (st.commit.v >= g->restore_end.v)
			g->restore_end.v = 0;
	}
	if (was && !g->restoring && g->open_epoch != 0)
		group_refresh_volumes(g);
	if (was && !g->restoring)
		conductor_wake_requests(g->c);
}

static int rollback_done(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);
	struct snapshot_info kept;

	conductor_event(r->c, EVENT_SNAPSHOT, g, r->snapshot.name, "current", 0, 0,
			"group %s is what it was at snapshot %s", g->name, r->snapshot.name);
	if (replica_snapshot_by_uuid(replica_find(r->c->store, &g->uuid), &s->uuid, &kept) < 0)
		return 0; /* deleted meanwhile */
	r->snapshot.uuid = kept.uuid;
	r->snapshot.lsn = kept.lsn;
	memcpy(r->snapshot.name, kept.name, sizeof(r->snapshot.name));
	return 0;
}

int request_rollback(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct group *g = request_snap_group(r);
	struct replica *replica;
	struct snapshot_info target;
	struct record_restore rec = {0};
	const struct snapshot_name_spec spec = {.prefix = "before-rollback",
						.wall = clock_wall(r->c->env->clock)};
	struct replica_status st;
	uint8_t body[RECORD_BODY_BYTES_MAX];
	int rc;

	if (s->phase == REQ_WRITTEN) {
		rc = request_committed(r, g, SEE);
		if (rc < 0)
			return rc;
		if (group_is_restoring(g))
			return -ERR_AGAIN; /* wait: fold */
		return rollback_done(r, g);
	}
	rc = request_group_refusal(r, g, r->snapshot.group);
	if (rc < 0)
		return rc;
	replica = replica_find(r->c->store, &g->uuid);
	rc = snapshot_find(r, replica, &target);
	if (rc < 0)
		return rc;
	if (g->rollback != r && group_is_rolling_back(g))
		return -ERR_AGAIN; /* another one */
	if (target.past || target.missing)
		return request_fail(r, target.past ? -ERR_BUSY : -ERR_NOT_FOUND,
				    target.past ? "snapshot %s@%s is still being made"
						: "the content of snapshot %s@%s is not here",
				    g->name, target.name);
	snapshot_name_make(g, &spec, rec.kept_name);
	rc = snapshot_admit(r, replica, rec.kept_name);
	if (rc == 0)
		rc = rollback_clients(r, g);
	if (rc < 0)
		return rc;
	if (g->volumes_at.v != UINT64_MAX)
		return -ERR_AGAIN; /* Q1 */
	replica_status(replica, &st);
	rec.target = target.uuid;
	uuid_draw(r->c, &rec.kept);
	rec.content_generation = st.content_generation + GENERATION_ROLLBACK;
	rc = request_write(r, g, RECORD_RESTORE, body, record_restore_encode(&rec, body));
	s->uuid = rec.kept;
	if (s->phase == REQ_WRITTEN)
		g->restore_end = s->end;
	return rc;
}

/* Q3.  0: nobody is in, nobody comes in. */
static int rollback_clients(struct conductor_request *r, struct group *g)
{
	char who[256] = "";
	uint32_t clients = 0;

	LIST_FOR_EACH(n, &g->volumes) {
		struct volume *v = container_of(n, struct volume, link);
		uint32_t here = 0;
		size_t at = strlen(who);

		LIST_FOR_EACH(m, &v->clients)
			here++;
		clients += here;
		if (here != 0 && at + NAME_BYTES_MAX + 32 < sizeof(who))
			snprintf(who + at, sizeof(who) - at, "%s%s (%u)", at != 0 ? ", " : "",
				 v->name, here);
	}
	if (clients != 0 && !r->force)
		return request_fail(r, -ERR_IN_USE,
				    "group %s has clients: %s; detach them, or use --force, which "
				    "closes their connections",
				    g->name, who);
	g->rollback = r;
	if (clients == 0 && g->ios == 0)
		return 0;
	volume_revoke_all(g);
	return -ERR_AGAIN; /* wait: they leave */
}

/* --- clone --- */

int request_clone(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct group *g = request_snap_group(r), *made;
	int rc;

	if (s->phase == REQ_WRITTEN) {
		made = conductor_group(r->c, &s->uuid);
		rc = request_committed(r, made, "twinshore status");
		if (rc == 0 && group_is_restoring(made))
			return -ERR_AGAIN; /* wait: its first volumes */
		if (rc == 0)
			conductor_event(r->c, EVENT_SNAPSHOT, made, r->snapshot.name, "cloned", 0,
					0, "group %s is a clone of %s@%s", r->group.name,
					r->snapshot.group, r->snapshot.name);
		return rc;
	}
	rc = request_group_refusal(r, g, r->snapshot.group);
	if (rc == 0 && s->held == NULL)
		rc = clone_open(r, g);
	if (rc == 0 && s->phase == REQ_NEW)
		rc = clone_group(r, g);
	if (rc == 0)
		rc = clone_write(r, g);
	return rc > 0 ? 0 : rc;
}

/* Is it there already?  1: yes, a clone of this very snapshot; 0: no, or empty; else the refusal. */
static int clone_exists(struct conductor_request *r, const struct group *source)
{
	const struct vg_view *v = authority_view_by_name(r->c->authority, r->group.name);
	struct request_state *s = request_state(r);
	struct replica_volume any;
	struct replica *replica;
	struct record_clone base;

	if (v == NULL)
		return 0;
	replica = replica_find(r->c->store, &v->vg);
	if (replica != NULL && replica_clone_base(replica, &base) &&
	    uuid_equal(&base.snapshot, &s->snapshot) && uuid_equal(&base.source, &source->uuid))
		return 1;
	if (!uuid_equal(&v->vg, &s->uuid) &&
	    (replica == NULL || replica_volumes(replica, &any, 1) != 0))
		return request_fail(r, -ERR_EXISTS, "group %s exists already", r->group.name);
	s->uuid = v->vg; /* left empty by a clone that was interrupted, or ours */
	s->phase = REQ_ASKED;
	return 0;
}

/* Q4 */
static int clone_open(struct conductor_request *r, struct group *g)
{
	struct request_state *s = request_state(r);
	struct replica *replica = replica_find(r->c->store, &g->uuid);
	struct snapshot_info info;
	int rc;

	if (!uuid_is_nil(&s->snapshot) && s->opened.rc == -ERR_AGAIN)
		memset(&s->snapshot, 0, sizeof(s->snapshot)); /* not yet */
	if (!uuid_is_nil(&s->snapshot)) {
		rc = s->opened.rc;
		return request_fail(r, rc < 0 ? rc : -ERR_FAILED, "opening snapshot %s@%s: %s",
				    g->name, r->snapshot.name, err_text(rc));
	}
	rc = snapshot_find(r, replica, &info);
	if (rc < 0)
		return rc;
	s->snapshot = info.uuid;
	rc = clone_exists(r, g);
	if (rc != 0)
		return rc;
	completion_arm(&s->opened, &r->op, W_OPENED);
	replica_snapshot_open(replica, &info.uuid, &s->held, &s->opened);
	return -ERR_AGAIN; /* wait: open */
}

static int clone_group(struct conductor_request *r, struct group *g)
{
	struct conductor *c = r->c;
	struct request_state *s = request_state(r);
	struct vg_cmd cmd = {.kind = VG_CREATE,
			     .from = c->o.site,
			     .site = c->o.site,
			     .incarnation = c->incarnation,
			     .config = g->view.config};
	uint64_t now = clock_now(c->env->clock).v;
	int rc = clone_exists(r, g);

	if (rc != 0 || s->phase == REQ_ASKED)
		return rc;
	if (c->group_count >= c->o.groups_max)
		return request_fail(r, -ERR_FULL, "this site has %u groups, which is the limit",
				    c->group_count);
	if (uuid_is_nil(&s->uuid))
		uuid_draw(c, &s->uuid);
	if (!authority_status(c->authority)->ready || now < s->again.v)
		return -ERR_AGAIN;
	cmd.vg = s->uuid;
	memcpy(cmd.name, r->group.name, sizeof(cmd.name));
	cmd.site_count = g->view.site_count;
	memcpy(cmd.sites, g->view.site, sizeof(cmd.sites));
	rc = authority_check(c->authority, &cmd);
	if (rc == -ERR_INVALID || rc == -ERR_FULL)
		return request_fail(r, rc, "the authority refuses group %s: %s", r->group.name,
				    err_text(rc));
	s->again.v = now + REQUEST_AGAIN_MS * MS_NS;
	(void)!authority_propose(c->authority, &cmd, 1); /* R8 */
	return -ERR_AGAIN;
}

/* Followers come when the record is there: whoever lacks its base is then copied, and counts in no ack
 * set before. */
bool request_makes_clone(const struct group *g)
{
	LIST_FOR_EACH(n, &g->c->requests) {
		struct conductor_request *r = container_of(n, struct conductor_request, link);

		if (r->kind == REQUEST_CLONE && request_state(r)->phase != REQ_WRITTEN &&
		    uuid_equal(&request_state(r)->uuid, &g->uuid))
			return true;
	}
	return false;
}

static int clone_write(struct conductor_request *r, struct group *source)
{
	struct request_state *s = request_state(r);
	struct group *made = conductor_group(r->c, &s->uuid);
	struct record_clone rec = {.source = source->uuid, .snapshot = s->snapshot};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct replica_volume any;
	struct replica *replica;
	int rc;

	if (made == NULL || made->open_phase != OPEN_DONE || made->volumes_at.v != UINT64_MAX)
		return -ERR_AGAIN; /* wait: it is served; Q1 */
	replica = replica_find(r->c->store, &made->uuid);
	if (replica_volumes(replica, &any, 1) != 0)
		return request_fail(r, -ERR_EXISTS, "group %s exists already", r->group.name);
	rc = replica_clone_check(r->c->store, &rec.source, &rec.snapshot);
	if (rc < 0)
		return request_fail(r, rc, "snapshot %s@%s is gone", r->snapshot.group,
				    r->snapshot.name);
	return request_write(r, made, RECORD_CLONE, body, record_clone_encode(&rec, body));
}

void request_snap_end(struct conductor_request *r)
{
	struct request_state *s = request_state(r);
	struct group *g = r->kind == REQUEST_ROLLBACK ? request_snap_group(r) : NULL;

	if (s->held != NULL)
		replica_snapshot_close(&s->held);
	if (g != NULL && g->rollback == r)
		g->rollback = NULL;
}
