/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/conn.h: a connected stream socket; the functions have the contracts of port/net.h. */
#ifndef TS_URING_CONN_H
#define TS_URING_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

struct net_conn;
struct net_io_req;
struct uring_loop;

/* Takes fd on success.  -ERR_NOMEM: fd is still the caller's. */
MUST_CHECK int conn_open(struct uring_loop *loop, int fd, struct net_conn **ret_conn);

void conn_send(struct net_conn *conn, struct net_io_req *req);
void conn_recv(struct net_conn *conn, struct net_io_req *req);
void conn_shutdown(struct net_conn *conn);
void conn_close(struct net_conn **conn);
bool conn_peer_closed(struct net_conn *conn);
void conn_peer_name(struct net_conn *conn, char *text, uint32_t bytes);

#endif
