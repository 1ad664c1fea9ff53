/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/net.h: the net port on sockets; one per loop. */
#ifndef TS_URING_NET_H
#define TS_URING_NET_H

#include <stdint.h>

#include "engine/base/attr.h"

struct env;
struct net;
struct net_listener;
struct net_ops;
struct uring_loop;
struct uring_net;

MUST_CHECK int uring_net_open(struct uring_loop *loop, uint32_t unix_mode,
			      struct uring_net **ret_net);

/* Give up what is still under way (connects that nobody waits for); before the ring's last turns. */
void uring_net_stop(struct uring_net *net);
void uring_net_close(struct uring_net **net); /* after the ring is gone */
struct net *uring_net_port(struct uring_net *net);

/* Where a listener really listens ("127.0.0.1:34567" after port 0). */
void uring_listener_address(struct net_listener *listener, char *text, uint32_t bytes);

/* The table behind every connection and listener of this room. */
extern const struct net_ops uring_net_ops;

#endif
