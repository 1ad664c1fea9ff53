/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/view.h: plain data of the authority: what it knows of a group, and what may be
 * asked of it.  No behaviour but small lookups; no time anywhere (QUORUM 4.1).
 *
 * A site is named by its site id: the raft id of its quorum member (1 in a site alone).  Inside a
 * group a site also has an index 0..site_count-1, its place in site[]; masks (isr) are of indexes.
 */
#ifndef TS_QUORUM_VIEW_H
#define TS_QUORUM_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/types.h"
#include "engine/base/uuid.h"

#define VG_FSM_VERSION 1u  /* version of the commands below; stamped on every batch */
#define VG_COUNT_MAX 1024u /* groups of one authority */
#define VG_BATCH_MAX 64u   /* commands in one log entry */
#define VG_NODE_MAX 16u	   /* sites known to one authority */

enum vg_ack { VG_ACK_JOURNALED = 0, VG_ACK_RECEIVED = 1 };
enum vg_peer_loss { VG_PEER_LOSS_CONTINUE = 0, VG_PEER_LOSS_STOP = 1 };
enum vg_site_mode { VG_SITE_SYNC = 0, VG_SITE_ASYNC = 1, VG_SITE_SNAPSHOT = 2 };
enum vg_solo { VG_SOLO_QUORUM_FREE = 0, VG_SOLO_LEASE = 1 };

enum vg_full {
	VG_FULL_ENOSPC = 0,
	VG_FULL_STOP = 1
}; /* writes that find no room: refused, or wait */

#define VG_FLAG_DATA_LOSS 1u	    /* a FORCE happened; kept for ever */
#define VG_FLAG_DELETED 0x80000000u /* only in a view handed out once, at its deletion */

#define VG_BRANCH_KEEP_DEFAULT_H 720u /* 30 d */
#define VG_BRANCH_KEEP_EVER 65535u

/* What an operator chooses for a group; changed by CONFIG only. */
struct vg_config {
	uint8_t ack;		/* enum vg_ack */
	uint8_t on_peer_loss;	/* enum vg_peer_loss */
	uint8_t min_isr;	/* 1 or 2: below it nothing is acknowledged */
	uint8_t solo;		/* enum vg_solo */
	uint8_t strict_reads;	/* bool */
	uint8_t on_full;	/* enum vg_full */
	uint16_t branch_keep_h; /* hours a branch is kept; 0: VG_BRANCH_KEEP_DEFAULT_H; or _EVER */
	uint32_t suspend_max_ms;
	uint32_t history_s;	/* 0: by bytes only */
	uint64_t history_bytes; /* 0: by time only */
};

struct vg_site {
	uint32_t id;	     /* site id; 0: no such site */
	uint8_t mode;	     /* enum vg_site_mode; only SYNC sites are ever in isr */
	uint64_t boot;	     /* newest boot incarnation announced by NODE, 0: none yet (J12) */
	struct uuid replica; /* generation of its disk (DISK command), nil: none yet */
	uint64_t joined; /* cfg that it saw, or soon saw, and made its floor, when it last came into
			      * isr: a store with a lower floor at boot is older than that */
};

struct vg_view {
	struct uuid vg;
	char name[NAME_BYTES_MAX + 1];
	uint64_t cfg;		      /* +1 on every change: the CAS token */
	uint64_t epoch;		      /* +1 on every change of primary */
	uint64_t primary_incarnation; /* the boot that was granted `epoch`; only it adopts it */
	uint64_t last_forced_epoch;   /* 0: never forced */
	uint64_t content_generation;  /* J14; starts at 1 */
	uint32_t primary;	      /* site id */
	uint32_t isr;		      /* mask of site indexes; never empty */
	uint32_t flags;		      /* VG_FLAG_ */
	uint32_t site_count;
	struct vg_site site[SITES_MAX]; /* in order of creation */
	struct vg_config config;
};

/*
 * Commands (QUORUM 4.2).  A command is applied iff cmd.cfg equals the group's cfg (CREATE: 0 and
 * no such group; NODE: its incarnation is newer), so duplicates and late retries do nothing.
 */
enum vg_cmd_kind {
	VG_CLAIM = 1,  /* site (in isr) + incarnation; raise_generation (J12, J14) */
	VG_DROP = 2,   /* by primary: isr -= site */
	VG_ADD = 3,    /* by primary: isr += site, whose replica must match */
	VG_SWITCH = 4, /* by primary: primary = site (in isr) + incarnation */
	VG_TOUCH = 5,  /* anyone: cfg moves, kills an outstanding proposal */
	VG_FORCE = 6,  /* operator: site not in isr + incarnation */
	VG_CREATE = 7, /* name, config, sites with replica; site is the first + incarnation */
	VG_DELETE = 8, /* by primary */
	VG_CONFIG = 9, /* by primary: config and sites (replicas of known sites stay) */
	VG_DISK = 10,  /* by primary: site (not in isr) has disk `replica` now */
	VG_NODE = 11,  /* site booted with incarnation; cfg is ignored, incarnation only grows */
};

struct vg_cmd {
	enum vg_cmd_kind kind;
	struct uuid vg;	       /* nil for NODE */
	uint64_t cfg;	       /* what the proposer saw */
	uint32_t from;	       /* proposing site; checked against primary where "by primary" */
	uint32_t site;	       /* the command's subject, a site id */
	uint64_t incarnation;  /* CLAIM, SWITCH, FORCE, CREATE, NODE */
	struct uuid replica;   /* ADD, DISK */
	bool raise_generation; /* CLAIM */
	char name[NAME_BYTES_MAX + 1]; /* CREATE */
	struct vg_config config;       /* CREATE, CONFIG */
	uint32_t site_count;	       /* CREATE, CONFIG: id, mode and (CREATE) replica of each */
	struct vg_site sites[SITES_MAX];
};

/* Index of a site in the group, or -1. */
static inline int vg_site_index(const struct vg_view *v, uint32_t site)
{
	for (uint32_t i = 0; i < v->site_count; i++)
		if (v->site[i].id == site)
			return (int)i;
	return -1;
}

static inline bool vg_in_isr(const struct vg_view *v, uint32_t site)
{
	int i = vg_site_index(v, site);

	return i >= 0 && (v->isr >> i & 1u) != 0;
}

/* The group counts on another disk at that site: what is on this one was never acknowledged from it. */
static inline bool vg_is_replaced(const struct vg_view *v, uint32_t site, const struct uuid *disk)
{
	int i = vg_site_index(v, site);

	return i >= 0 && !uuid_is_nil(disk) && !uuid_is_nil(&v->site[i].replica) &&
	       !uuid_equal(disk, &v->site[i].replica);
}

/* How many sites may be in isr; the others are async. */
static inline uint32_t vg_sync_count(const struct vg_view *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->site_count; i++)
		n += v->site[i].mode == VG_SITE_SYNC;
	return n;
}

static inline bool vg_is_sync(const struct vg_view *v, uint32_t site)
{
	int i = vg_site_index(v, site);

	return i >= 0 && v->site[i].mode == VG_SITE_SYNC;
}

/* The other site of the pair that `self` belongs to: to anybody else the primary; to the primary the
 * other member of isr, or the sync site that may become one.  0: none. */
static inline uint32_t vg_pair_peer(const struct vg_view *v, uint32_t self)
{
	uint32_t found = 0;

	if (v->primary != self)
		return v->primary;
	for (uint32_t i = 0; i < v->site_count; i++) {
		if (v->site[i].id == self || v->site[i].mode != VG_SITE_SYNC)
			continue;
		if ((v->isr >> i & 1u) != 0)
			return v->site[i].id;
		if (found == 0)
			found = v->site[i].id;
	}
	return found;
}

static inline uint32_t vg_isr_count(const struct vg_view *v)
{
	return (uint32_t)__builtin_popcount(v->isr);
}

/* Does this boot of this site hold the view's epoch? */
static inline bool vg_is_primary(const struct vg_view *v, uint32_t site, uint64_t incarnation)
{
	return v->primary == site && v->primary_incarnation == incarnation;
}

#endif
