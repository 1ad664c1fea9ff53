/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/site.c
 * Purpose.     Open the rooms of a site in order, and close them in reverse.
 * Invariants.  N1 Nothing listens to clients before the store is open and the conductor started.
 *              N3 A site whose quorum member has failed for good gives up: it could not be deposed
 *                 or confirmed by anybody, and its peer can take over at once.
 *              N4 A store that is older than the quorum knows it ends the site: the next start knows it
 *                 as a new disk.
 *              N2 Stopping goes: conductor (roles end, peers told) -> nbd -> repl -> authority -> store.
 * States.      OPENING -> SERVING -> STOPPING -> STOPPED; OPENING -> FAILED -> STOPPING -> STOPPED.
 * Ownership.   The site owns every room object; the disk, the environment and mailboxes are borrowed.
 * Failure.     What cannot be opened makes the site FAILED; what was opened is closed by site_stop.
 */
#include "engine/node/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/quorum/authority.h"

#define W_OPEN 1u
#define W_STOP 2u

enum site_phase {
	PHASE_STORE,
	PHASE_ROOMS,
	PHASE_SERVING,
	PHASE_FAILED,
	PHASE_STOP_CONDUCTOR,
	PHASE_STOP_NBD,
	PHASE_STOP_REPL,
	PHASE_STOP_AUTHORITY,
	PHASE_STOP_STORE,
	PHASE_STOPPED,
};

struct site {
	struct op op;
	struct env *env;
	struct disk *disk;
	struct site_opts o;
	struct op *wake;
	enum site_phase phase;
	int rc;
	char error[256];
	struct store *store;
	struct authority *authority;
	struct repl *repl;
	struct repl *repl_closing; /* its last words are on the way; for site_abandon */
	struct conductor *conductor;
	struct nbd_server *nbd;
	struct completion done;
	struct completion *stop_done;
	struct authority_watch watch;
};

static void site_step(struct op *op);
static int site_open_rooms(struct site *s);
static void site_fail(struct site *s, int rc, const char *what);
static void site_stop_next(struct site *s);

int site_open(struct env *env, struct disk *disk, const struct site_opts *opts, struct op *wake,
	      struct site **ret)
{
	struct site *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ERR_NOMEM;
	op_init(&s->op, env->ready, site_step);
	s->env = env;
	s->disk = disk;
	s->o = *opts;
	s->wake = wake;
	s->phase = PHASE_STORE;
	completion_arm(&s->done, &s->op, W_OPEN);
	store_open(env, disk, &s->o.store, &s->store, &s->done);
	*ret = s;
	return 0;
}

static void site_move(struct site *s, enum site_phase phase)
{
	s->phase = phase;
	if (s->wake != NULL)
		op_wake(s->wake);
}

static void site_step(struct op *op)
{
	struct site *s = container_of(op, struct site, op);
	int rc;

	if (op->waits != 0)
		return; /* wait: opening or one step of stopping */
	switch (s->phase) {
	case PHASE_STORE:
		if (s->done.rc < 0) {
			s->store = NULL;
			site_fail(s, s->done.rc, "opening the store");
			break;
		}
		s->phase = PHASE_ROOMS;
		if (s->stop_done != NULL)
			break;
		rc = site_open_rooms(s);
		if (rc == 0)
			site_move(s, PHASE_SERVING);
		break;
	case PHASE_SERVING: /* N3, N4 */
		if (conductor_store_is_older(s->conductor))
			site_fail(s, -ERR_STALE, "believing an older copy of the store");
		else if (authority_status(s->authority)->rc < 0)
			site_fail(s, authority_status(s->authority)->rc,
				  "this site's quorum member");
		break;
	case PHASE_ROOMS:
	case PHASE_FAILED:
		break;
	case PHASE_STOP_CONDUCTOR:
	case PHASE_STOP_NBD:
	case PHASE_STOP_REPL:
	case PHASE_STOP_AUTHORITY:
	case PHASE_STOP_STORE:
	case PHASE_STOPPED:
		site_stop_next(s);
		return;
	}
	if (s->stop_done != NULL && s->phase < PHASE_STOP_CONDUCTOR) {
		s->phase = PHASE_STOP_CONDUCTOR;
		site_stop_next(s);
	}
}

static void site_fail(struct site *s, int rc, const char *what)
{
	s->rc = rc;
	snprintf(s->error, sizeof(s->error), "%s failed: %s", what, err_text(rc));
	log_error(s->env->log, "node", "site %s: %s", s->o.name, s->error);
	site_move(s, PHASE_FAILED);
}

static int site_open_authority(struct site *s)
{
	struct authority_alone_opts ao = {.site_name = s->o.name, .format = s->o.alone_format};

	if (s->o.inbox == NULL && s->o.alone_disk == NULL)
		return authority_told_open(s->env, s->o.id, &s->authority);
	if (s->o.inbox != NULL)
		return authority_open(s->env, s->o.id, s->o.inbox, s->o.outbox, &s->authority);
	return authority_alone_open(s->env, s->o.alone_disk, &ao, &s->authority);
}

static int site_open_conductor(struct site *s)
{
	struct conductor_opts co = {.site = s->o.id,
				    .sites = s->o.sites,
				    .site_count = s->o.site_count,
				    .timers = s->o.timers,
				    .store = s->store,
				    .authority = s->authority,
				    .groups_max = s->o.groups_max != 0 ? s->o.groups_max : 256,
				    .scrub_bytes_s = s->o.scrub_bytes_s,
				    .site_op = &s->op,
				    .mutant = s->o.rules_mutant};

	return conductor_open(s->env, &co, &s->conductor);
}

static int site_open_repl(struct site *s)
{
	struct store_status st;
	struct repl_opts ro = {.site = s->o.id,
			       .drop_ms = s->o.timers.drop_ms,
			       .peers = s->o.peers,
			       .peer_count = s->o.peer_count,
			       .groups_max = s->o.groups_max != 0 ? s->o.groups_max : 256,
			       .mutant = s->o.repl_mutant,
			       .features_off = s->o.repl_features_off,
			       .local = s->store,
			       .wake = conductor_op(s->conductor)};

	if (s->o.replication_listen == NULL)
		return 0;
	store_status(s->store, &st);
	conductor_store_identity(s->store, &ro.store);
	ro.incarnation = st.incarnation;
	memcpy(ro.name, s->o.name, sizeof(ro.name));
	snprintf(ro.listen, sizeof(ro.listen), "%s", s->o.replication_listen);
	return repl_open(s->env, &ro, &s->repl);
}

static int site_open_nbd(struct site *s)
{
	struct nbd_server_opts no;

	if (s->o.nbd_listen_count == 0)
		return 0;
	nbd_server_opts_init(&no);
	for (uint32_t i = 0; i < s->o.nbd_listen_count; i++)
		no.addresses[i] = s->o.nbd_listen[i];
	no.address_count = s->o.nbd_listen_count;
	if (s->o.nbd_connections_max != 0)
		no.connections_max = s->o.nbd_connections_max;
	return nbd_server_open(s->env, s->conductor, &no, &s->nbd);
}

static int site_open_rooms(struct site *s)
{
	const char *what = "opening the authority";
	int rc = site_open_authority(s);

	if (rc == 0) {
		what = "opening the groups";
		rc = site_open_conductor(s);
	}
	if (rc == 0) {
		what = "listening for peers";
		rc = site_open_repl(s);
	}
	if (rc == 0) {
		conductor_start(s->conductor, s->repl); /* N1 */
		s->watch.op = &s->op;
		list_link_init(&s->watch.link);
		authority_watch_attach(s->authority, &s->watch);
		what = "listening for NBD clients";
		rc = site_open_nbd(s);
	}
	if (rc < 0)
		site_fail(s, rc, what);
	return rc;
}

enum site_state site_state(const struct site *s)
{
	switch (s->phase) {
	case PHASE_STORE:
	case PHASE_ROOMS:
		return SITE_OPENING;
	case PHASE_SERVING:
		return SITE_SERVING;
	case PHASE_FAILED:
		return SITE_FAILED;
	case PHASE_STOP_CONDUCTOR:
	case PHASE_STOP_NBD:
	case PHASE_STOP_REPL:
	case PHASE_STOP_AUTHORITY:
	case PHASE_STOP_STORE:
		return SITE_STOPPING;
	case PHASE_STOPPED:
		return SITE_STOPPED;
	}
	UNREACHABLE("site phase");
}

int site_rc(const struct site *s)
{
	return s->rc;
}

const char *site_error(const struct site *s)
{
	return s->error;
}

void site_stop(struct site *s, struct completion *done)
{
	assert(s->stop_done == NULL);
	s->stop_done = done;
	op_wake(&s->op);
}

/* N2: each phase starts its stop and goes to the next when that is done. */
static void site_stop_next(struct site *s)
{
	for (;;) {
		completion_arm(&s->done, &s->op, W_STOP);
		switch (s->phase) {
		case PHASE_STOP_CONDUCTOR:
			site_move(s, PHASE_STOP_NBD);
			if (s->conductor != NULL && s->authority != NULL) {
				conductor_stop(s->conductor, &s->done);
				return; /* wait: roles ended */
			}
			break;
		case PHASE_STOP_NBD:
			s->phase = PHASE_STOP_REPL;
			if (s->nbd != NULL) {
				nbd_server_close(&s->nbd, &s->done);
				return; /* wait: clients gone */
			}
			break;
		case PHASE_STOP_REPL:
			s->phase = PHASE_STOP_AUTHORITY;
			if (s->conductor != NULL)
				conductor_close(&s->conductor);
			if (s->repl != NULL) {
				s->repl_closing = s->repl;
				repl_close(&s->repl, &s->done);
				return; /* wait: connections gone */
			}
			break;
		case PHASE_STOP_AUTHORITY:
			s->phase = PHASE_STOP_STORE;
			s->repl_closing = NULL;
			if (s->watch.op != NULL)
				authority_watch_detach(s->authority, &s->watch);
			if (s->authority != NULL) {
				authority_stop(s->authority, &s->done);
				return; /* wait: nothing in flight */
			}
			break;
		case PHASE_STOP_STORE:
			site_move(s, PHASE_STOPPED);
			if (s->store != NULL) {
				store_close(&s->store, &s->done);
				return; /* wait: checkpoint */
			}
			break;
		case PHASE_STOPPED:
			s->op.waits = 0;
			s->done.op = NULL;
			if (s->stop_done != NULL) {
				struct completion *done = s->stop_done;

				s->stop_done = NULL;
				completion_fire(done, 0);
			}
			return;
		case PHASE_STORE:
		case PHASE_ROOMS:
		case PHASE_SERVING:
		case PHASE_FAILED:
			UNREACHABLE("not stopping");
		}
		s->op.waits = 0; /* nothing to wait for */
		s->done.op = NULL;
	}
}

void site_close(struct site **sp)
{
	struct site *s = *sp;

	*sp = NULL;
	assert(s->phase == PHASE_STOPPED && s->store == NULL);
	if (s->authority != NULL)
		authority_close(&s->authority);
	op_unqueue(&s->op);
	free(s);
}

void site_abandon(struct site **sp)
{
	struct site *s = *sp;

	*sp = NULL;
	if (s->nbd != NULL)
		nbd_server_abandon(&s->nbd);
	if (s->conductor != NULL)
		conductor_abandon(&s->conductor);
	if (s->repl != NULL)
		repl_abandon(&s->repl);
	if (s->repl_closing != NULL)
		repl_abandon(&s->repl_closing);
	if (s->authority != NULL)
		authority_discard(&s->authority);
	if (s->store != NULL)
		store_abandon(&s->store);
	op_unqueue(&s->op);
	free(s);
}

struct conductor *site_conductor(struct site *s)
{
	return s->phase == PHASE_SERVING ? s->conductor : NULL;
}

struct store *site_store(struct site *s)
{
	return s->store;
}

struct authority *site_authority(struct site *s)
{
	return s->authority;
}

struct repl *site_repl(struct site *s)
{
	return s->repl;
}

struct nbd_server *site_nbd(struct site *s)
{
	return s->nbd;
}

const struct site_opts *site_opts(const struct site *s)
{
	return &s->o;
}
