/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/mailbox.c
 * Purpose.     The one way between threads: a list under a mutex and an eventfd that the receiver's
 *              ring reads.
 * Invariants.  M1  The eventfd is written whenever the list goes from empty to not empty, so a
 *                  receiver that found it empty is woken by what comes later.
 *              M2  The receiver's op is woken only in its own thread.
 *              M3  Once mail was taken its poster touches the mailbox no more, so that mail may say
 *                  "close it": the eventfd is written and the list changed under one lock.
 * States.      OPEN -> CLOSING [close]: the read is canceled; its completion frees the mailbox.
 * Ownership.   Mail belongs to the mailbox from post to take.
 * Failure.     A write to an eventfd blocks or fails only when its counter is full; the reader
 *              empties it with each read, so it is not.
 * Locks.       The mutex guards the list; it is held over the write to the eventfd (M3), which does
 *              not block, and over nothing else.
 */
#include "engine/uring/mailbox.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/port/mailbox.h"
#include "engine/uring/loop.h"
#include "engine/uring/req.h"

struct uring_mailbox {
	struct mailbox mailbox;
	struct uring_loop *loop;
	pthread_mutex_t lock;
	struct list mails; /* under lock */
	int fd;
	uint64_t count; /* the ring reads the eventfd into it */
	struct uring_req req;
	struct uring_cancel cancel;
	bool closing, reading, canceling;
};

static void mailbox_post(struct mailbox *m, struct mail *mail);
static struct mail *mailbox_take(struct mailbox *m);
static void read_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void read_done(struct uring_req *r, int res);
static void cancel_done(struct uring_req *r, int res);
static void mailbox_free_if_idle(struct uring_mailbox *m);

int uring_mailbox_open(struct uring_loop *loop, struct mailbox **ret_mailbox)
{
	struct uring_mailbox *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ERR_NOMEM;
	m->fd = eventfd(0, EFD_CLOEXEC);
	if (m->fd < 0) {
		int rc = err_from_errno(errno);

		free(m);
		return rc;
	}
	pthread_mutex_init(&m->lock, NULL);
	list_init(&m->mails);
	m->loop = loop;
	m->mailbox.post = mailbox_post;
	m->mailbox.take = mailbox_take;
	m->req.prep = read_prep;
	m->req.done = read_done;
	m->reading = true;
	uring_submit(loop, &m->req);
	*ret_mailbox = &m->mailbox;
	return 0;
}

void uring_mailbox_close(struct mailbox **mailbox)
{
	struct uring_mailbox *m;

	if (*mailbox == NULL)
		return;
	m = container_of(*mailbox, struct uring_mailbox, mailbox);
	*mailbox = NULL;
	assert(!m->closing);
	assert(list_empty(&m->mails));
	m->closing = true;
	m->canceling = true;
	m->cancel.target = &m->req;
	m->cancel.req.done = cancel_done;
	uring_submit_cancel(m->loop, &m->cancel);
}

static void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
	struct uring_mailbox *m = container_of(mailbox, struct uring_mailbox, mailbox);
	uint64_t one = 1;

	assert(mailbox->receiver != NULL);
	pthread_mutex_lock(&m->lock);
	if (list_empty(&m->mails)) { /* M1, M3 */
		ssize_t n = write(m->fd, &one, sizeof(one));

		assert(n == (ssize_t)sizeof(one));
	}
	list_push_back(&m->mails, &mail->link);
	pthread_mutex_unlock(&m->lock);
}

static struct mail *mailbox_take(struct mailbox *mailbox)
{
	struct uring_mailbox *m = container_of(mailbox, struct uring_mailbox, mailbox);
	struct list_link *n;

	pthread_mutex_lock(&m->lock);
	n = list_pop_front(&m->mails);
	pthread_mutex_unlock(&m->lock);
	return n == NULL ? NULL : container_of(n, struct mail, link);
}

static void read_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct uring_mailbox *m = container_of(r, struct uring_mailbox, req);

	io_uring_prep_read(sqe, m->fd, &m->count, sizeof(m->count), 0);
}

static void read_done(struct uring_req *r, int res)
{
	struct uring_mailbox *m = container_of(r, struct uring_mailbox, req);

	m->reading = false;
	if (m->closing) {
		mailbox_free_if_idle(m);
		return;
	}
	if (m->mailbox.receiver != NULL)
		op_wake(m->mailbox.receiver); /* M2 */
	m->reading = true;
	uring_submit(m->loop, &m->req);
}

static void cancel_done(struct uring_req *r, int res)
{
	struct uring_cancel *cancel = container_of(r, struct uring_cancel, req);
	struct uring_mailbox *m = container_of(cancel, struct uring_mailbox, cancel);

	m->canceling = false;
	mailbox_free_if_idle(m);
}

static void mailbox_free_if_idle(struct uring_mailbox *m)
{
	if (m->reading || m->canceling)
		return;
	close(m->fd);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
