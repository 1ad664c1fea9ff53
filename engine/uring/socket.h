/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/socket.h: a connected stream socket; the functions have the contracts of port/net.h. */
#ifndef TS_URING_SOCKET_H
#define TS_URING_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

struct net_conn;
struct net_io_req;
struct uring_loop;

/* Takes fd on success.  -ERR_NOMEM: fd is still the caller's. */
MUST_CHECK int socket_open(struct uring_loop *loop, int fd, struct net_conn **ret_conn);

void socket_send(struct net_conn *conn, struct net_io_req *req);
void socket_recv(struct net_conn *conn, struct net_io_req *req);
void socket_shutdown(struct net_conn *conn);
void socket_close(struct net_conn **conn);
bool socket_peer_closed(struct net_conn *conn);
void socket_peer_name(struct net_conn *conn, char *text, uint32_t bytes);

#endif
