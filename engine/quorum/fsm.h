/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/fsm.h: the replicated state machine: a table of groups, compare-and-set only, free
 * of time and of I/O.  Equal batches in equal order give equal bytes of fsm_encode on every member.
 */
#ifndef TS_QUORUM_FSM_H
#define TS_QUORUM_FSM_H

#include "engine/base/attr.h"
#include "engine/quorum/view.h"

struct fsm;

MUST_CHECK int fsm_open(struct fsm **ret_f); /* -ERR_NOMEM */
void fsm_close(struct fsm **f);
void fsm_reset(struct fsm *f); /* back to no group, no node */

/* Groups in order of uuid. Pointers are valid until the next apply, reset or load. */
uint32_t fsm_count(const struct fsm *f);
const struct vg_view *fsm_at(const struct fsm *f, uint32_t index);
const struct vg_view *fsm_find(const struct fsm *f, const struct uuid *vg);
const struct vg_view *fsm_find_name(const struct fsm *f, const char *name);
uint32_t fsm_node_count(const struct fsm *f);
uint32_t fsm_node_at(const struct fsm *f, uint32_t index, uint64_t *ret_boot); /* site */
uint64_t fsm_node_boot(const struct fsm *f, uint32_t site); /* 0: never announced */

/* What one command would do now: 0 or its error; changes nothing. */
int fsm_check(const struct fsm *f, const struct vg_cmd *cmd);

/*
 * Apply one command.  0, or the reason it did nothing: -ERR_STALE (cfg moved), -ERR_NOT_FOUND,
 * -ERR_EXISTS, -ERR_REFUSED (extra condition), -ERR_INVALID, -ERR_FULL.
 * ret_changed (may be NULL) gets the view after the change; that of a deleted group has
 * VG_FLAG_DELETED.  NODE changes every group of the site: it gives no view, look at all.
 */
int fsm_apply(struct fsm *f, const struct vg_cmd *cmd, struct vg_view *ret_changed);

/* A mirror: what the authority of the engine's thread keeps of views it was told. */
MUST_CHECK int fsm_mirror_view(struct fsm *f,
			       const struct vg_view *v); /* VG_FLAG_DELETED removes; -ERR_FULL */
void fsm_mirror_boot(struct fsm *f, uint32_t site, uint64_t boot);

/*
 * Batches: what one log entry carries (layout: proto/quorum.md).  encode gives the bytes used or
 * -ERR_TOO_BIG; decode gives the number of commands, -ERR_CORRUPT, or -ERR_VERSION (made by a newer FSM: a
 * member that cannot apply an entry must stop).
 */
int fsm_batch_encode(const struct vg_cmd *cmds, uint32_t n, void *data, uint32_t bytes);
MUST_CHECK int fsm_batch_decode(const void *data, uint32_t bytes, struct vg_cmd cmds[VG_BATCH_MAX]);
#define FSM_BATCH_BYTES_MAX 32768u

/* One view alone, for a site that is no member (layout: proto/quorum.md, "a view that is told").  One with
 * VG_FLAG_DELETED carries the uuid only.  encode gives the bytes used; decode 0, -ERR_CORRUPT or -ERR_VERSION. */
#define FSM_VIEW_BYTES_MAX 512u
int fsm_view_encode(const struct vg_view *v, uint8_t out[FSM_VIEW_BYTES_MAX]);
MUST_CHECK int fsm_view_decode(const void *data, uint32_t bytes, struct vg_view *ret);
/* Among the last deleted ones (F5). */
bool fsm_was_deleted(const struct fsm *f, const struct uuid *vg);

/* The whole state.  encode gives the bytes used, or -ERR_TOO_BIG; load checks all, then replaces. */
#define FSM_STATE_BYTES_MAX (640u << 10)
int fsm_encode(const struct fsm *f, void *data, uint32_t bytes);
MUST_CHECK int fsm_load(struct fsm *f, const void *data, uint32_t bytes);

#endif
