/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/authority.h: what the engine sees of the authority: get, compare-and-set, watch.
 *
 * Three back ends behind one header.  authority_open: the quorum member lives in another environment
 * (thread, or another one of the same simulated node) and is reached by two mailboxes.
 * authority_alone_open: a site without a quorum section is its own authority; entries are applied
 * when they are durable in its own small file.  authority_told_open: a site that is no member of the
 * quorum knows what sites that are tell it, and proposes nothing.
 *
 * Views are what is applied here so far: possibly old, never wrong; a compare-and-set on an old
 * one does nothing (R8).  A view stays valid until the owner's step returns.
 */
#ifndef TS_QUORUM_AUTHORITY_H
#define TS_QUORUM_AUTHORITY_H

#include "engine/base/attr.h"
#include "engine/base/list.h"
#include "engine/base/op.h"
#include "engine/port/disk.h"
#include "engine/port/mailbox.h"
#include "engine/quorum/view.h"

struct env;
struct authority;

#define QUORUM_MEMBERS_MAX 7u

struct authority_member {
	uint32_t id; /* raft id = site id */
	char name[SITE_NAME_BYTES_MAX + 1];
	bool reachable; /* an open session now (self: true) */
	uint64_t lsn;	/* of its log, as last told */
};

struct authority_status {
	bool ready;	 /* views are loaded: what authority_view says is the local state */
	bool alone;	 /* no quorum section */
	bool told;	 /* no member of the quorum: other sites tell what it decides */
	int rc;		 /* 0, or why it has stopped for good (-ERR_CORRUPT, -ERR_IO, ...) */
	bool forming;	 /* waiting for every member, all empty */
	bool has_quorum; /* a leader is known and was heard within its election timeout */
	uint32_t self;	 /* our site id */
	uint32_t leader; /* 0: none known */
	uint64_t term;
	uint64_t applied;	    /* index of the last applied entry */
	uint64_t generation;	    /* of the authority (WITHOUT-QUORUM raises it) */
	struct mono_ns leader_seen; /* on our clock; has_quorum's age */
	struct uuid cluster;
	uint32_t member_count;
	struct authority_member member[QUORUM_MEMBERS_MAX];
};

/*
 * Receive from `inbox` (of env; its receiver is set here), propose through `outbox` (the member's
 * inbox).  self is our site id.  -ERR_NOMEM.
 */
MUST_CHECK int authority_open(struct env *env, uint32_t self, struct mailbox *inbox,
			      struct mailbox *outbox, struct authority **ret_a);

struct authority_alone_opts {
	const char *site_name;
	bool format; /* the file was just made: a wholly zero disk becomes an empty authority */
};

/* Opens in the background: status.ready or status.rc tells. disk is borrowed until close. */
MUST_CHECK int authority_alone_open(struct env *env, struct disk *disk,
				    const struct authority_alone_opts *opts,
				    struct authority **ret_a);

MUST_CHECK int authority_told_open(struct env *env, uint32_t self, struct authority **ret_a);
/* A view as fsm_view_encode made it, told by another site.  0: taken; -ERR_STALE: not newer than what is known,
 * -ERR_REFUSED: this back end believes nobody, -ERR_CORRUPT, -ERR_VERSION, -ERR_FULL. */
MUST_CHECK int authority_tell(struct authority *a, const void *data, uint32_t bytes);

/* Fires done (rc 0) when nothing is in flight any more; proposals are dropped. Then close. */
void authority_stop(struct authority *a, struct completion *done);

/* After authority_stop; close the member (and end its thread) first: what is left in both mailboxes
 * is freed here.  No watch may be attached. */
void authority_close(struct authority **a);

/* For simulators: the world is dead, nothing in flight will ever complete. Watches may remain. */
void authority_discard(struct authority **a);

/* The latest locally applied view, NULL: no such group (or not ready). */
const struct vg_view *authority_view(const struct authority *a, const struct uuid *vg);
const struct vg_view *authority_view_by_name(const struct authority *a, const char *name);

/* All groups in order of uuid: index 0.., NULL at the end. */
const struct vg_view *authority_view_at(const struct authority *a, uint32_t index);
uint32_t authority_view_count(const struct authority *a);

/* Known to have been deleted, not long ago; false says nothing. */
bool authority_was_deleted(const struct authority *a, const struct uuid *vg);

/* Newest announced boot of a site (J12), 0: none. */
uint64_t authority_boot(const struct authority *a, uint32_t site);

/* Counts applied changes; a watcher compares it to what it saw. */
uint64_t authority_version(const struct authority *a);

/* While attached, op is woken (op_wake) after every applied change and every change of status. */
struct authority_watch {
	struct op *op;
	struct list_link link; /* private; list_link_init before attach */
};
void authority_watch_attach(struct authority *a, struct authority_watch *w);
void authority_watch_detach(struct authority *a, struct authority_watch *w);

/*
 * Ask for 1..VG_BATCH_MAX commands, in one log entry.  Fire and forget: the outcome is seen only by cfg moving
 * (R8); propose again after 60-100 ms while it has not.  0: sent.  -ERR_BUSY: AUTHORITY_BATCHES_MAX
 * are on their way, -ERR_AGAIN: not ready, -ERR_FAILED: stopped, -ERR_INVALID, -ERR_TOO_BIG.
 */
#define AUTHORITY_BATCHES_MAX 64u
int authority_propose(struct authority *a, const struct vg_cmd *cmds, uint32_t n);

/* Would it be applied on what is known here? 0 or the error of fsm_apply; for operators' messages. */
int authority_check(const struct authority *a, const struct vg_cmd *cmd);

const struct authority_status *authority_status(const struct authority *a);
bool authority_has_quorum(const struct authority *a);

#endif
