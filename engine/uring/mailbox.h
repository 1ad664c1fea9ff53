/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/mailbox.h: mail from any thread to a loop's thread. */
#ifndef TS_URING_MAILBOX_H
#define TS_URING_MAILBOX_H

#include "engine/base/attr.h"

struct mailbox;
struct uring_loop;

/* Give a mailbox whose receiver runs in loop's thread (set ret->receiver before the first post).
 * -ERR_NOMEM, -ERR_IO. */
MUST_CHECK int uring_mailbox_open(struct uring_loop *loop, struct mailbox **ret_mailbox);

/* By the receiver's thread, when no other thread can post any more.  Mail left in it is the
 * caller's to take first. */
void uring_mailbox_close(struct mailbox **mailbox);

#endif
