/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/authority_state.h: the inside of struct authority, shared by authority.c and
 * authority_alone.c only. */
#ifndef TS_QUORUM_AUTHORITY_STATE_H
#define TS_QUORUM_AUTHORITY_STATE_H

#include "engine/quorum/authority.h"
#include "engine/quorum/fsm.h"
#include "engine/quorum/qlog.h"

struct alone;

struct authority {
	struct env *env;
	struct op op;
	struct fsm *fsm; /* the table itself (alone), or a mirror of the member's */
	struct authority_status status;
	uint64_t version;
	struct list watches;
	bool stopping;
	/* reached by mail */
	struct mailbox *inbox, *outbox;
	uint32_t posted; /* proposals since the member's last mail */
	/* alone; NULL otherwise */
	struct alone *alone;
};

typedef void authority_step(struct op *op);
struct authority *authority_new(struct env *env, authority_step *step);
void authority_changed(struct authority *a); /* wakes the watches */

/* authority_alone.c */
int alone_propose(struct authority *a, const void *batch, uint32_t bytes);
void alone_stop(struct authority *a, struct completion *done);
void alone_free(struct authority *a);

#endif
