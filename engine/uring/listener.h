/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/listener.h: a listening socket; the functions have the contracts of port/net.h. */
#ifndef TS_URING_LISTENER_H
#define TS_URING_LISTENER_H

#include <stdint.h>

#include "engine/base/attr.h"

struct net_accept_req;
struct net_listener;
struct uring_loop;

/* -ERR_INVALID, -ERR_UNREACHABLE (no such name), -ERR_IN_USE, -ERR_PERMISSION, -ERR_NOT_FOUND (the
 * folder of a unix socket), -ERR_NOMEM, -ERR_IO.  A name of a host is resolved here, blocking. */
MUST_CHECK int listener_open(struct uring_loop *loop, const char *address, uint32_t unix_mode,
			     struct net_listener **ret_listener);
void listener_accept(struct net_listener *listener, struct net_accept_req *req);
void listener_close(struct net_listener **listener);
void listener_address(struct net_listener *listener, char *text, uint32_t bytes);

#endif
