/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/listener.c
 * Purpose.     Accept connections on a unix or TCP address.
 * Invariants.  A1  At most one accept is in flight.
 *              A2  Only a unix socket that nobody answers on is removed to take its place, and at
 *                  the end only the one that we made.
 * States.      OPEN -> CLOSING [close]: a pending accept is canceled, fires -ERR_CANCELED, and the
 *              listener goes with the last of its requests.
 * Ownership.   The socket is ours; a request is borrowed until done.
 * Failure.     Out of descriptors or memory: wait PAUSE_MS and accept again, or the caller would
 *              spin on an error that only time heals.
 */
#include "engine/uring/listener.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/types.h"
#include "engine/port/net.h"
#include "engine/uring/address.h"
#include "engine/uring/net.h"
#include "engine/uring/req.h"
#include "engine/uring/socket.h"

#define BACKLOG 128
#define PAUSE_MS 100u

struct listener {
	struct net_listener listener;
	struct uring_loop *loop;
	int fd;
	char *unix_path; /* NULL: TCP */
	dev_t unix_dev;
	ino_t unix_ino;
	struct net_accept_req *user; /* A1 */
	struct uring_req req;
	struct uring_cancel cancel;
	struct __kernel_timespec pause;
	bool pausing, accepting, canceling, closing;
};

static int listener_bind(struct listener *l, const struct address *a, uint32_t unix_mode);
static int unix_clear_stale(const char *path, const struct address_socket *s);
static void accept_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void accept_done(struct uring_req *r, int res);
static void accept_finish(struct listener *l, int fd);
static void cancel_done(struct uring_req *r, int res);
static void listener_free_if_idle(struct listener *l);

int listener_open(struct uring_loop *loop, const char *address, uint32_t unix_mode,
		  struct net_listener **ret_listener)
{
	struct listener *l;
	struct address a;
	int rc;

	rc = address_parse(address, &a);
	if (rc < 0)
		return rc;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return -ERR_NOMEM;
	l->listener.ops = &uring_net_ops;
	l->loop = loop;
	l->fd = -1;
	l->pause.tv_nsec = (long long)(PAUSE_MS * MS_NS);
	l->req.prep = accept_prep;
	l->req.done = accept_done;
	rc = listener_bind(l, &a, unix_mode);
	if (rc < 0) {
		log_debug(uring_log(loop), "net", "cannot listen on %s: %s", address, err_text(rc));
		if (l->fd >= 0)
			close(l->fd);
		free(l->unix_path);
		free(l);
		return rc;
	}
	*ret_listener = &l->listener;
	return 0;
}

static int listener_error(void)
{
	if (errno == EADDRINUSE)
		return -ERR_IN_USE;
	if (errno == EACCES || errno == EPERM)
		return -ERR_PERMISSION;
	if (errno == EADDRNOTAVAIL)
		return -ERR_UNREACHABLE;
	return errno == ENOENT ? -ERR_NOT_FOUND : err_from_errno(errno);
}

static int listener_bind(struct listener *l, const struct address *a, uint32_t unix_mode)
{
	struct address_socket sockets[ADDRESS_RESOLVED_MAX];
	const struct sockaddr *sa = (const struct sockaddr *)(const void *)sockets[0].storage;
	struct stat st;
	int rc, one = 1;

	rc = address_resolve(a, true, sockets);
	if (rc < 0)
		return rc;
	if (a->is_unix) {
		rc = unix_clear_stale(a->host, &sockets[0]);
		if (rc < 0)
			return rc;
	}
	l->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return err_from_errno(errno);
	if (a->is_unix)
		(void)fchmod(l->fd,
			     unix_mode); /* never wider than asked for, not even for a moment */
	else
		(void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l->fd, sa, (socklen_t)sockets[0].bytes) < 0)
		return listener_error();
	if (a->is_unix) {
		l->unix_path = strdup(a->host);
		if (l->unix_path == NULL || chmod(a->host, unix_mode) < 0 ||
		    stat(a->host, &st) < 0) {
			rc = l->unix_path == NULL ? -ERR_NOMEM : listener_error();
			unlink(a->host);
			return rc;
		}
		l->unix_dev = st.st_dev;
		l->unix_ino = st.st_ino;
	}
	return listen(l->fd, BACKLOG) < 0 ? listener_error() : 0;
}

/* A2: somebody answers or it is no socket: in use; nobody answers: remove it. */
static int unix_clear_stale(const char *path, const struct address_socket *s)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) < 0)
		return 0; /* bind will say what is wrong, if anything is */
	if (!S_ISSOCK(st.st_mode))
		return -ERR_IN_USE;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_from_errno(errno);
	rc = connect(fd, (const struct sockaddr *)(const void *)s->storage, (socklen_t)s->bytes);
	if (rc < 0 && errno == ECONNREFUSED)
		rc = unlink(path) < 0 && errno != ENOENT ? listener_error() : 0;
	else
		rc = rc < 0 && errno == EACCES ? -ERR_PERMISSION : -ERR_IN_USE;
	close(fd);
	return rc;
}

void listener_address(struct net_listener *listener, char *text, uint32_t bytes)
{
	struct listener *l = container_of(listener, struct listener, listener);
	struct address_socket s;
	socklen_t n = sizeof(s.storage);

	memset(&s, 0, sizeof(s));
	(void)getsockname(l->fd, (struct sockaddr *)(void *)s.storage, &n);
	s.bytes = n;
	address_format(&s, text, bytes);
}

void listener_accept(struct net_listener *listener, struct net_accept_req *req)
{
	struct listener *l = container_of(listener, struct listener, listener);

	assert(!l->closing);
	assert(l->user == NULL); /* A1 */
	assert(completion_armed(&req->done));
	req->conn = NULL;
	l->user = req;
	l->accepting = true;
	uring_submit(l->loop, &l->req);
}

void listener_close(struct net_listener **listener)
{
	struct listener *l = container_of(*listener, struct listener, listener);
	struct stat st;

	*listener = NULL;
	assert(!l->closing);
	l->closing = true;
	if (l->unix_path != NULL && lstat(l->unix_path, &st) == 0 && st.st_dev == l->unix_dev &&
	    st.st_ino == l->unix_ino)
		unlink(l->unix_path); /* A2 */
	(void)shutdown(l->fd,
		       SHUT_RDWR); /* the address is free for others now, not when accept returns */
	if (l->accepting) {
		l->canceling = true;
		l->cancel.target = &l->req;
		l->cancel.req.done = cancel_done;
		uring_submit_cancel(l->loop, &l->cancel);
	}
	listener_free_if_idle(l);
}

static void accept_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct listener *l = container_of(r, struct listener, req);

	if (l->pausing)
		io_uring_prep_timeout(sqe, &l->pause, 0, 0);
	else
		io_uring_prep_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
}

static void accept_done(struct uring_req *r, int res)
{
	struct listener *l = container_of(r, struct listener, req);
	bool pausing = l->pausing;

	l->pausing = false;
	if (l->closing) {
		if (!pausing && res >= 0)
			close(res);
		accept_finish(l, -ERR_CANCELED);
		listener_free_if_idle(l);
		return;
	}
	if (!pausing && res >= 0) {
		accept_finish(l, res);
		return;
	}
	if (!pausing && (res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM)) {
		log_warn(uring_log(l->loop), "net", "cannot accept a connection: %s; waiting",
			 strerror(-res));
		l->pausing = true;
	} else if (!pausing && res != -EINTR && res != -EAGAIN && res != -ECONNABORTED &&
		   res != -EPROTO && res != -EPERM) {
		accept_finish(l, err_from_errno(-res));
		return;
	}
	uring_submit(l->loop, &l->req);
}

/* fd is a socket or a negative code. */
static void accept_finish(struct listener *l, int fd)
{
	struct net_accept_req *user = l->user;
	int rc = fd;

	assert(user != NULL);
	if (fd >= 0) {
		rc = socket_open(l->loop, fd, &user->conn);
		if (rc < 0)
			close(fd);
	}
	l->user = NULL;
	l->accepting = false;
	completion_fire(&user->done, rc);
}

static void cancel_done(struct uring_req *r, int res)
{
	struct uring_cancel *cancel = container_of(r, struct uring_cancel, req);
	struct listener *l = container_of(cancel, struct listener, cancel);

	l->canceling = false;
	listener_free_if_idle(l);
}

static void listener_free_if_idle(struct listener *l)
{
	if (l->accepting || l->canceling)
		return;
	close(l->fd);
	free(l->unix_path);
	free(l);
}
