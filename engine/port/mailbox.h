/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/port/mailbox.h: the one way from one thread's environment to another's.
 *
 * A mailbox belongs to one receiving environment.  post may be called from any thread: the mail is
 * owned by the mailbox until the receiver takes it.  The receiver's op is woken (op_wake semantics,
 * in its own thread) after a post.  Order of one sender is kept.
 */
#ifndef TS_PORT_MAILBOX_H
#define TS_PORT_MAILBOX_H

#include "engine/base/list.h"
#include "engine/base/op.h"

struct mail {
	struct list_link link; /* list_link_init before the first post */
};

struct mailbox {
	void (*post)(struct mailbox *m, struct mail *mail);
	struct mail *(*take)(struct mailbox *m); /* NULL: empty; by the receiver's thread only */
	struct op *receiver;			 /* set by the receiver before the first post */
};

#endif
