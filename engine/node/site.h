/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/site.h: one site assembled from its rooms, over any ports: the daemon gives it real
 * ones (site_main.c), the simulator its own.  Everything here runs in one environment (the engine's
 * thread); the quorum member lives in another and is reached by two mailboxes.
 */
#ifndef TS_NODE_SITE_H
#define TS_NODE_SITE_H

#include "engine/base/op.h"
#include "engine/nbd/nbd_server.h"
#include "engine/port/disk.h"
#include "engine/port/env.h"
#include "engine/port/mailbox.h"
#include "engine/repl/repl.h"
#include "engine/store/store.h"
#include "engine/volume/conductor.h"

struct site;
struct authority;

struct site_opts {
	uint32_t id; /* raft id of this site's quorum member; 1 in a site alone; config_site_id */
	char name[SITE_NAME_BYTES_MAX + 1];
	struct conductor_site sites[SITES_MAX]; /* this one too */
	uint32_t site_count;
	struct conductor_timers timers;
	struct store_opts store;
	const char *replication_listen; /* NULL: a site alone */
	struct repl_peer_opts peers[REPL_PEERS_MAX];
	uint32_t peer_count;
	const char *nbd_listen[NBD_ADDRESSES_MAX];
	uint32_t nbd_listen_count;
	uint32_t nbd_connections_max;	/* 0: default */
	uint32_t groups_max;		/* 0: 256 */
	uint64_t scrub_bytes_s;		/* 0: default */
	struct mailbox *inbox, *outbox; /* to and from the quorum member; NULL: a site alone */
	struct disk *
		alone_disk; /* site alone: the authority's file; NULL with inbox NULL: a distant site */
	bool alone_format;		    /* it was just made */
	uint32_t rules_mutant, repl_mutant; /* tests only */
	uint64_t repl_features_off;	    /* tests only: an older version */
};

enum site_state { SITE_OPENING, SITE_SERVING, SITE_FAILED, SITE_STOPPING, SITE_STOPPED };

/* Starts opening; opts' strings are copied or used during the call and the opening only: keep them
 * until the state leaves SITE_OPENING.  wake (may be NULL) is woken on every change of state. */
MUST_CHECK int site_open(struct env *env, struct disk *disk, const struct site_opts *opts,
			 struct op *wake, struct site **ret_site);
enum site_state site_state(const struct site *s);
int site_rc(const struct site *s);	      /* why it failed */
const char *site_error(const struct site *s); /* the same, as a sentence */

/* Hand over, close clients, stop everything; done fires when it may be closed.  Legal at any time. */
void site_stop(struct site *s, struct completion *done);
void site_close(struct site **s);
void site_abandon(struct site **s); /* simulator: the process was killed */

/* NULL until the state is SITE_SERVING. */
struct conductor *site_conductor(struct site *s);
struct store *site_store(struct site *s);
struct authority *site_authority(struct site *s);
struct repl *site_repl(struct site *s);
struct nbd_server *site_nbd(struct site *s);
const struct site_opts *site_opts(const struct site *s);

#endif
