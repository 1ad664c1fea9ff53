/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/net.c
 * Purpose.     Ties the parts of the net port together: listener.c accepts, connect.c connects,
 *              socket.c moves bytes.
 */
#include "engine/uring/net.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/port/net.h"
#include "engine/uring/connect.h"
#include "engine/uring/listener.h"
#include "engine/uring/socket.h"

struct uring_net {
	struct net net;
	struct uring_loop *loop;
	uint32_t unix_mode;
	struct connector *connector;
};

static int net_port_listen(struct net *net, const char *address,
			   struct net_listener **ret_listener);
static void net_port_connect(struct net *net, struct net_connect_req *req);

const struct net_ops uring_net_ops = {
	.listen = net_port_listen,
	.accept = listener_accept,
	.unlisten = listener_close,
	.connect = net_port_connect,
	.send = socket_send,
	.recv = socket_recv,
	.shutdown = socket_shutdown,
	.close = socket_close,
	.peer_closed = socket_peer_closed,
	.peer_name = socket_peer_name,
};

int uring_net_open(struct uring_loop *loop, uint32_t unix_mode, struct uring_net **ret_net)
{
	struct uring_net *n = calloc(1, sizeof(*n));
	int rc;

	if (n == NULL)
		return -ERR_NOMEM;
	n->net.ops = &uring_net_ops;
	n->loop = loop;
	n->unix_mode = unix_mode;
	rc = connector_open(loop, &n->connector);
	if (rc < 0) {
		free(n);
		return rc;
	}
	*ret_net = n;
	return 0;
}

void uring_net_stop(struct uring_net *net)
{
	connector_stop(net->connector);
}

void uring_net_close(struct uring_net **net)
{
	if (*net == NULL)
		return;
	connector_close(&(*net)->connector);
	free(*net);
	*net = NULL;
}

struct net *uring_net_port(struct uring_net *net)
{
	return &net->net;
}

void uring_listener_address(struct net_listener *listener, char *text, uint32_t bytes)
{
	listener_address(listener, text, bytes);
}

static int net_port_listen(struct net *net, const char *address, struct net_listener **ret_listener)
{
	struct uring_net *n = container_of(net, struct uring_net, net);

	return listener_open(n->loop, address, n->unix_mode, ret_listener);
}

static void net_port_connect(struct net *net, struct net_connect_req *req)
{
	struct uring_net *n = container_of(net, struct uring_net, net);

	connector_connect(n->connector, req);
}
