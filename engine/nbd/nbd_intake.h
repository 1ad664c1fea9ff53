/* SPDX-License-Identifier: Apache-2.0 */
/* engine/nbd/nbd_intake.h: from the socket to requests in the volume. */
#ifndef TS_NBD_INTAKE_H
#define TS_NBD_INTAKE_H

#include "engine/nbd/nbd_conn.h"

/* Take in what a finished receive brought. */
void nbd_intake_reap(struct nbd_conn *c);

/* Have more bytes received, if that is not under way. */
void nbd_intake_recv(struct nbd_conn *c);

/* Parse and start requests as far as bytes, buffers and limits allow.  Legal in TRANSMIT. */
void nbd_intake_run(struct nbd_conn *c);

#endif
