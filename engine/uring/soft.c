/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/soft.c
 * Purpose.     Where io_uring_setup is forbidden, the submission entries of this room are read here
 *              and carried out with older system calls: sockets, eventfds and signalfds without
 *              blocking and by poll(2), files and devices by WORKERS threads.
 * Invariants.  F1  A request is in exactly one list: free, fresh, polling, queued (under lock), at a
 *                  worker (in none), finished (under lock), done.
 *              F2  The loop's thread never blocks except in poll.
 *              F3  Each request completes once, with what io_uring would have said.
 * Ownership.   Copies of entries in a fixed pool; what they point to is borrowed until done.
 * Failure.     Errors of system calls become results.
 * Limits.      in_flight_max requests.  Only the operations that this room uses.
 * Locks.       One mutex guards the two lists that workers share; it is held over no system call
 *              but the wake of an eventfd.
 */
#include "engine/uring/soft.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/list.h"
#include "engine/base/types.h"

#define WORKERS 4u
#define RETRY_NS (20 * MS_NS) /* of a connect to a unix socket whose queue is full */

struct soft_req {
	struct list_link link;
	struct io_uring_sqe sqe;
	int res;
	short events;	   /* polled for; 0: only time helps */
	bool connecting;   /* connect began, its end is awaited */
	uint64_t until_ns; /* of a timeout or a retry */
};

struct soft_ring {
	struct soft_req *reqs;
	struct pollfd *polls;
	uint32_t req_count;
	struct list free, fresh, polling, done;
	int wake_fd; /* workers say that finished is not empty */
	pthread_t workers[WORKERS];
	uint32_t worker_count;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list queued, finished; /* under lock */
	bool stopping;		      /* under lock */
};

static void *worker_main(void *arg);
static int work_run(const struct io_uring_sqe *sqe);
static void fresh_start(struct soft_ring *s, struct soft_req *q);
static bool is_file_work(const struct io_uring_sqe *sqe);
static bool poll_try(struct soft_req *q);
static void poll_all(struct soft_ring *s, uint64_t wait_ns);
static void cancel_run(struct soft_ring *s, struct soft_req *q);
static void finished_take(struct soft_ring *s);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

int soft_open(uint32_t in_flight_max, struct soft_ring **ret_ring)
{
	struct soft_ring *s = calloc(1, sizeof(*s));
	sigset_t all, before;

	if (s == NULL)
		return -ERR_NOMEM;
	list_init(&s->free);
	list_init(&s->fresh);
	list_init(&s->polling);
	list_init(&s->done);
	list_init(&s->queued);
	list_init(&s->finished);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	s->req_count = in_flight_max;
	s->reqs = calloc(in_flight_max, sizeof(struct soft_req));
	s->polls = calloc(in_flight_max + 1, sizeof(struct pollfd));
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->reqs == NULL || s->polls == NULL || s->wake_fd < 0)
		goto err_after_alloc;
	for (uint32_t i = 0; i < in_flight_max; i++)
		list_push_back(&s->free, &s->reqs[i].link);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (s->worker_count < WORKERS &&
	       pthread_create(&s->workers[s->worker_count], NULL, worker_main, s) == 0)
		s->worker_count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (s->worker_count == 0)
		goto err_after_alloc;
	*ret_ring = s;
	return 0;

err_after_alloc:
	soft_close(&s);
	return -ERR_NOMEM;
}

void soft_close(struct soft_ring **ring)
{
	struct soft_ring *s = *ring;

	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->lock);
	for (uint32_t i = 0; i < s->worker_count; i++)
		pthread_join(s->workers[i], NULL);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	free(s->polls);
	free(s->reqs);
	free(s);
	*ring = NULL;
}

void soft_submit(struct soft_ring *ring, const struct io_uring_sqe *sqe)
{
	struct list_link *n = list_pop_front(&ring->free);
	struct soft_req *q;

	assert(n != NULL); /* the loop counts */
	q = container_of(n, struct soft_req, link);
	q->sqe = *sqe;
	q->res = 0;
	q->events = 0;
	q->connecting = false;
	q->until_ns = 0;
	list_push_back(&ring->fresh, &q->link);
}

void soft_wait(struct soft_ring *ring, uint64_t wait_ns)
{
	struct list_link *n;

	while ((n = list_pop_front(&ring->fresh)) != NULL)
		fresh_start(ring, container_of(n, struct soft_req, link));
	poll_all(ring, list_empty(&ring->done) ? wait_ns : 0);
	finished_take(ring);
}

bool soft_next(struct soft_ring *ring, uint64_t *ret_user_data, int *ret_res)
{
	struct list_link *n = list_pop_front(&ring->done);
	struct soft_req *q;

	if (n == NULL)
		return false;
	q = container_of(n, struct soft_req, link);
	*ret_user_data = q->sqe.user_data;
	*ret_res = q->res;
	list_push_back(&ring->free, &q->link);
	return true;
}

static void req_done(struct soft_ring *s, struct soft_req *q, int res)
{
	q->res = res;
	list_push_back(&s->done, &q->link); /* F3 */
}

static void fresh_start(struct soft_ring *s, struct soft_req *q)
{
	const struct __kernel_timespec *ts;

	if (is_file_work(&q->sqe)) {
		pthread_mutex_lock(&s->lock);
		list_push_back(&s->queued, &q->link);
		pthread_cond_signal(&s->work);
		pthread_mutex_unlock(&s->lock);
	} else if (q->sqe.opcode == IORING_OP_ASYNC_CANCEL) {
		cancel_run(s, q);
	} else if (q->sqe.opcode == IORING_OP_TIMEOUT) {
		ts = (const struct __kernel_timespec *)(uintptr_t)q->sqe.addr;
		q->until_ns = now_ns() + (uint64_t)ts->tv_sec * SEC_NS + (uint64_t)ts->tv_nsec;
		list_push_back(&s->polling, &q->link);
	} else if (poll_try(q)) {
		list_push_back(&s->done, &q->link);
	} else {
		list_push_back(&s->polling, &q->link);
	}
}

static void cancel_run(struct soft_ring *s, struct soft_req *q)
{
	LIST_FOR_EACH_SAFE(n, &s->polling) {
		struct soft_req *target = container_of(n, struct soft_req, link);

		if (target->sqe.user_data != q->sqe.addr)
			continue;
		list_remove(&target->link);
		req_done(s, target, -ECANCELED);
		req_done(s, q, 0);
		return;
	}
	req_done(s, q, -ENOENT);
}

/* --- what is polled --- */

/* Ask for it without blocking (F2).  true: q->res is its result; false: q->events says what for. */
static bool poll_try(struct soft_req *q)
{
	const struct io_uring_sqe *sqe = &q->sqe;
	void *addr = (void *)(uintptr_t)sqe->addr;
	int fd = sqe->fd, flags = (int)sqe->msg_flags | MSG_DONTWAIT, rc, error = 0;
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	socklen_t bytes = sizeof(error);
	ssize_t n = -1;

	q->events = POLLIN;
	q->until_ns = 0;
	switch (sqe->opcode) {
	case IORING_OP_READ: /* of an eventfd or a signalfd, which have one reader */
		n = poll(&ready, 1, 0) > 0 ? read(fd, addr, sqe->len) : (errno = EAGAIN, -1);
		break;
	case IORING_OP_RECV:
		n = recv(fd, addr, sqe->len, flags);
		break;
	case IORING_OP_RECVMSG:
		n = recvmsg(fd, addr, flags);
		break;
	case IORING_OP_SEND:
		q->events = POLLOUT;
		n = send(fd, addr, sqe->len, flags & ~MSG_WAITALL);
		break;
	case IORING_OP_SENDMSG:
		q->events = POLLOUT;
		n = sendmsg(fd, addr, flags & ~MSG_WAITALL);
		break;
	case IORING_OP_ACCEPT:
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		n = accept4(fd, NULL, NULL, (int)sqe->accept_flags);
		break;
	case IORING_OP_CONNECT:
		q->events = POLLOUT;
		if (q->connecting) {
			rc = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
			q->res = rc < 0 ? -errno : -error;
			return true;
		}
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		n = connect(fd, addr, (socklen_t)sqe->off);
		if (n < 0 && errno == EINPROGRESS) {
			q->connecting = true;
			return false;
		}
		if (n < 0 && errno == EAGAIN) {
			q->events = 0;
			q->until_ns = now_ns() + RETRY_NS;
			return false;
		}
		break;
	default:
		UNREACHABLE("an operation that this room does not use");
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	q->res = n < 0 ? -errno : (int)n;
	return true;
}

/* Sleep until a polled request, a worker or wait_ns; then try what is ready. */
static void poll_all(struct soft_ring *s, uint64_t wait_ns)
{
	uint64_t now = now_ns();
	struct timespec ts;
	uint32_t i = 1;

	s->polls[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	LIST_FOR_EACH(n, &s->polling) {
		struct soft_req *q = container_of(n, struct soft_req, link);

		s->polls[i++] =
			(struct pollfd){.fd = q->events != 0 ? q->sqe.fd : -1, .events = q->events};
		if (q->until_ns != 0 && (q->until_ns <= now || q->until_ns - now < wait_ns))
			wait_ns = q->until_ns <= now ? 0 : q->until_ns - now;
	}
	ts.tv_sec = (time_t)(wait_ns / SEC_NS);
	ts.tv_nsec = (long)(wait_ns % SEC_NS);
	if (ppoll(s->polls, i, &ts, NULL) < 0)
		return; /* EINTR: the next turn asks again */
	now = now_ns();
	i = 1;
	LIST_FOR_EACH_SAFE(n, &s->polling) {
		struct soft_req *q = container_of(n, struct soft_req, link);
		short got = s->polls[i++].revents;
		bool due = q->until_ns != 0 && q->until_ns <= now;

		if (q->sqe.opcode == IORING_OP_TIMEOUT) {
			if (!due)
				continue;
			q->res = -ETIME;
		} else if ((got == 0 && !due) || !poll_try(q)) {
			continue;
		}
		list_remove(&q->link);
		list_push_back(&s->done, &q->link);
	}
}

/* --- what workers do --- */

static bool is_file_work(const struct io_uring_sqe *sqe)
{
	struct stat st;

	switch (sqe->opcode) {
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
	case IORING_OP_WRITE:
	case IORING_OP_FSYNC:
	case IORING_OP_FALLOCATE:
		return true;
	case IORING_OP_READ:
		return fstat(sqe->fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
	default:
		return false;
	}
}

static int work_run(const struct io_uring_sqe *sqe)
{
	struct iovec one = {(void *)(uintptr_t)sqe->addr, sqe->len}, *iov = &one;
	int count = 1, rc;
	ssize_t n = -1;

	if (sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV) {
		iov = one.iov_base;
		count = (int)sqe->len;
	}
	switch (sqe->opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
		n = preadv2(sqe->fd, iov, count, (off_t)sqe->off, sqe->rw_flags);
		return n < 0 ? -errno : (int)n;
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
		n = pwritev2(sqe->fd, iov, count, (off_t)sqe->off, sqe->rw_flags);
		return n < 0 ? -errno : (int)n;
	case IORING_OP_FSYNC:
		rc = fdatasync(sqe->fd);
		return rc < 0 ? -errno : 0;
	case IORING_OP_FALLOCATE: /* the ring has the length in addr and the mode in len */
		rc = fallocate(sqe->fd, (int)sqe->len, (off_t)sqe->off, (off_t)sqe->addr);
		return rc < 0 ? -errno : 0;
	default:
		UNREACHABLE("work of another kind");
	}
}

static void *worker_main(void *arg)
{
	struct soft_ring *s = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct list_link *n = list_pop_front(&s->queued);
		struct soft_req *q;

		if (n == NULL && s->stopping)
			break;
		if (n == NULL) {
			pthread_cond_wait(&s->work, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		q = container_of(n, struct soft_req, link);
		q->res = work_run(&q->sqe);
		pthread_mutex_lock(&s->lock);
		if (list_empty(&s->finished))
			(void)!write(s->wake_fd, &one, sizeof(one));
		list_push_back(&s->finished, &q->link);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void finished_take(struct soft_ring *s)
{
	struct list_link *n;
	uint64_t count;

	if (read(s->wake_fd, &count, sizeof(count)) < 0)
		return; /* EAGAIN: no worker finished */
	pthread_mutex_lock(&s->lock);
	while ((n = list_pop_front(&s->finished)) != NULL)
		list_push_back(&s->done, n);
	pthread_mutex_unlock(&s->lock);
}
