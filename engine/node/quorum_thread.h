/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/quorum_thread.h: the quorum member in its own thread with its own ring, so that a slow
 * flush there stalls no volume.  Used by twinshored (with an engine) and twinshore-witness (without).
 */
#ifndef TS_NODE_QUORUM_THREAD_H
#define TS_NODE_QUORUM_THREAD_H

#include "engine/base/attr.h"
#include "engine/node/config.h"
#include "engine/port/mailbox.h"

struct quorum_thread;
struct log;

/* engine_inbox: where views are posted (of the engine's loop), NULL at a witness.  Gives the mailbox
 * that takes proposals in *ret_inbox (NULL at a witness). */
MUST_CHECK int quorum_thread_start(const struct config *config, struct log *log,
				   struct mailbox *engine_inbox, struct quorum_thread **ret_thread,
				   struct mailbox **ret_inbox);
/* Stop and close the member; blocks until that is done.  The mailboxes stay, so that the engine can
 * close its authority (which frees what is left in them); then end the thread. */
void quorum_thread_stop_member(struct quorum_thread *thread);
int quorum_thread_end(struct quorum_thread **thread); /* the loop's result */

#endif
