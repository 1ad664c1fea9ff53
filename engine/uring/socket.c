/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/socket.c
 * Purpose.     Bytes to and from a stream socket, in order, or a broken stream.
 * Invariants.  N1  At most one send and one receive are in flight.
 *              N2  A send completes 0 only when every byte was handed to the socket.
 *              N3  The descriptor is closed only when nothing is in flight, so its number cannot
 *                  come to mean another socket under a request.
 * Ownership.   The socket is ours from socket_open to socket_close; requests are borrowed until done.
 * Failure.     Reset, broken pipe and shutdown by us are -ERR_CLOSED; a receive of 0 is the end.
 */
#include "engine/uring/socket.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/port/net.h"
#include "engine/uring/address.h"
#include "engine/uring/loop.h"
#include "engine/uring/net.h"
#include "engine/uring/req.h"

#define IOV_COUNT_MAX 1024u

struct conn {
	struct net_conn conn;
	struct uring_loop *loop;
	int fd;
	bool sending, receiving; /* N1 */
};

/* Lives in net_io_req.private. */
struct stream_io {
	struct uring_req req;
	struct conn *conn;
	struct msghdr msg;
};

_Static_assert(sizeof(struct stream_io) <= sizeof(((struct net_io_req *)NULL)->private),
	       "a stream request fits the private part");

static void send_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void send_done(struct uring_req *r, int res);
static void recv_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void recv_done(struct uring_req *r, int res);

int socket_open(struct uring_loop *loop, int fd, struct net_conn **ret_conn)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1, domain = 0;
	socklen_t bytes = sizeof(domain);

	if (c == NULL)
		return -ERR_NOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain != AF_UNIX) {
		/* Refused options cost time, not correctness. */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	c->conn.ops = &uring_net_ops;
	c->loop = loop;
	c->fd = fd;
	*ret_conn = &c->conn;
	return 0;
}

void socket_close(struct net_conn **conn)
{
	struct conn *c = container_of(*conn, struct conn, conn);

	assert(!c->sending);   /* N3 */
	assert(!c->receiving); /* N3 */
	close(c->fd);
	free(c);
	*conn = NULL;
}

void socket_shutdown(struct net_conn *conn)
{
	struct conn *c = container_of(conn, struct conn, conn);

	(void)shutdown(c->fd, SHUT_RDWR); /* ENOTCONN: it broke before */
}

bool socket_peer_closed(struct net_conn *conn)
{
	struct conn *c = container_of(conn, struct conn, conn);
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void socket_peer_name(struct net_conn *conn, char *text, uint32_t bytes)
{
	struct conn *c = container_of(conn, struct conn, conn);
	struct address_socket peer;
	socklen_t n = sizeof(peer.storage);
	struct ucred cred;

	memset(&peer, 0, sizeof(peer));
	if (getpeername(c->fd, (struct sockaddr *)(void *)peer.storage, &n) < 0) {
		snprintf(text, bytes, "unknown");
		return;
	}
	peer.bytes = n;
	if (((struct sockaddr *)(void *)peer.storage)->sa_family != AF_UNIX) {
		address_format(&peer, text, bytes);
		return;
	}
	n = sizeof(cred);
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		snprintf(text, bytes, "unix");
	else
		snprintf(text, bytes, "unix:pid=%d,uid=%u", (int)cred.pid, (unsigned)cred.uid);
}

/* --- requests --- */

static struct stream_io *stream_io_init(struct conn *c, struct net_io_req *req)
{
	struct stream_io *io = (struct stream_io *)(void *)req->private;

	assert(req->iov_count >= 1);
	assert(req->iov_count <= IOV_COUNT_MAX);
	assert(completion_armed(&req->done));
	memset(io, 0, sizeof(*io));
	io->conn = c;
	return io;
}

void socket_send(struct net_conn *conn, struct net_io_req *req)
{
	struct conn *c = container_of(conn, struct conn, conn);
	struct stream_io *io = stream_io_init(c, req);

	assert(!c->sending); /* N1 */
	c->sending = true;
	io->req.prep = send_prep;
	io->req.done = send_done;
	uring_submit(c->loop, &io->req);
}

void socket_recv(struct net_conn *conn, struct net_io_req *req)
{
	struct conn *c = container_of(conn, struct conn, conn);
	struct stream_io *io = stream_io_init(c, req);

	assert(!c->receiving); /* N1 */
	c->receiving = true;
	io->req.prep = recv_prep;
	io->req.done = recv_done;
	uring_submit(c->loop, &io->req);
}

static int stream_error(int res)
{
	if (res == -EPIPE || res == -ECONNRESET || res == -ENOTCONN || res == -ESHUTDOWN)
		return -ERR_CLOSED;
	if (res == -ETIMEDOUT)
		return -ERR_TIMEOUT;
	return err_from_errno(-res);
}

static void message_set(struct stream_io *io, struct net_io_req *req)
{
	io->msg.msg_iov = req->iov;
	io->msg.msg_iovlen = req->iov_count;
}

static void send_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct net_io_req *req = container_of(r, struct net_io_req, private);
	struct stream_io *io = container_of(r, struct stream_io, req);
	int flags = MSG_NOSIGNAL | MSG_WAITALL;

	if (req->iov_count == 1 && uring_has(io->conn->loop, URING_SEND_ONE)) {
		io_uring_prep_send(sqe, io->conn->fd, req->iov->iov_base, req->iov->iov_len, flags);
		return;
	}
	message_set(io, req);
	io_uring_prep_sendmsg(sqe, io->conn->fd, &io->msg, (unsigned)flags);
}

/* Drop `sent` bytes from the front of the request's buffers. */
static void iov_advance(struct net_io_req *req, size_t sent)
{
	while (req->iov_count > 0 && sent >= req->iov->iov_len) {
		sent -= req->iov->iov_len;
		req->iov++;
		req->iov_count--;
	}
	if (sent > 0) {
		assert(req->iov_count > 0);
		req->iov->iov_base = (uint8_t *)req->iov->iov_base + sent;
		req->iov->iov_len -= sent;
	}
}

static void send_done(struct uring_req *r, int res)
{
	struct net_io_req *req = container_of(r, struct net_io_req, private);
	struct stream_io *io = container_of(r, struct stream_io, req);

	if (res >= 0)
		iov_advance(req, (size_t)res);
	if (res == -EAGAIN || res == -EINTR || (res >= 0 && req->iov_count > 0)) {
		uring_submit(io->conn->loop, r);
		return;
	}
	io->conn->sending = false;
	completion_fire(&req->done, res < 0 ? stream_error(res) : 0); /* N2 */
}

static void recv_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct net_io_req *req = container_of(r, struct net_io_req, private);
	struct stream_io *io = container_of(r, struct stream_io, req);

	if (req->iov_count == 1 && uring_has(io->conn->loop, URING_SEND_ONE)) {
		io_uring_prep_recv(sqe, io->conn->fd, req->iov->iov_base, req->iov->iov_len, 0);
		return;
	}
	message_set(io, req);
	io_uring_prep_recvmsg(sqe, io->conn->fd, &io->msg, 0);
}

static void recv_done(struct uring_req *r, int res)
{
	struct net_io_req *req = container_of(r, struct net_io_req, private);
	struct stream_io *io = container_of(r, struct stream_io, req);

	if (res == -EAGAIN || res == -EINTR) {
		uring_submit(io->conn->loop, r);
		return;
	}
	io->conn->receiving = false;
	completion_fire(&req->done, res < 0 ? stream_error(res) : res);
}
