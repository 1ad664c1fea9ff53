/* SPDX-License-Identifier: Apache-2.0 */
/* engine/nbd/nbd_reply.h: from results to the socket. */
#ifndef TS_NBD_REPLY_H
#define TS_NBD_REPLY_H

#include "engine/nbd/nbd_conn.h"

/* Give back what a finished send carried. */
void nbd_reply_reap(struct nbd_conn *c);

/* Send all replies that are ready, in one send, if none is under way. */
void nbd_reply_run(struct nbd_conn *c);

/* Send the bytes of the handshake's `out`.  No send is under way. */
void nbd_reply_send_out(struct nbd_conn *c);

#endif
