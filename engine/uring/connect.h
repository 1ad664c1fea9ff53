/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/connect.h: outgoing connections of one loop. */
#ifndef TS_URING_CONNECT_H
#define TS_URING_CONNECT_H

#include "engine/base/attr.h"

struct connector;
struct net_connect_req;
struct uring_loop;

MUST_CHECK int connector_open(struct uring_loop *loop, struct connector **ret_connector);
void connector_connect(struct connector *connector, struct net_connect_req *req);

/* Cancel every connect; their requests are not touched again.  Waits for name look-ups. */
void connector_stop(struct connector *connector);
void connector_close(struct connector **connector); /* after the ring is gone */

#endif
