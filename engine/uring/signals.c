/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/signals.c
 * Purpose.     SIGTERM and its like as ordinary events: a signalfd that the ring reads.
 * Invariants.  S1  At most URING_SIGNALS_MAX are kept; more of what came already add nothing.
 * States.      OPEN -> CLOSING [close]: the read is canceled; its completion frees it.
 */
#include "engine/uring/signals.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/op.h"
#include "engine/uring/req.h"

struct uring_signals {
	struct uring_loop *loop;
	struct op *receiver;
	int fd;
	struct signalfd_siginfo info;
	int kept[URING_SIGNALS_MAX];
	uint32_t kept_count;
	struct uring_req req;
	struct uring_cancel cancel;
	bool closing, reading, canceling;
};

static void read_prep(struct uring_req *r, struct io_uring_sqe *sqe);
static void read_done(struct uring_req *r, int res);
static void cancel_done(struct uring_req *r, int res);
static void signals_free_if_idle(struct uring_signals *s);

int uring_signals_open(struct uring_loop *loop, const int *signals, struct op *receiver,
		       struct uring_signals **ret_signals)
{
	struct uring_signals *s = calloc(1, sizeof(*s));
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	if (s == NULL)
		return -ERR_NOMEM;
	sigemptyset(&set);
	for (; *signals != 0; signals++)
		sigaddset(&set, *signals);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	s->fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (s->fd < 0) {
		int rc = err_from_errno(errno);

		free(s);
		return rc;
	}
	s->loop = loop;
	s->receiver = receiver;
	s->req.prep = read_prep;
	s->req.done = read_done;
	s->reading = true;
	uring_submit(loop, &s->req);
	*ret_signals = s;
	return 0;
}

int uring_signals_take(struct uring_signals *signals)
{
	int first;

	if (signals->kept_count == 0)
		return 0;
	first = signals->kept[0];
	signals->kept_count--;
	for (uint32_t i = 0; i < signals->kept_count; i++)
		signals->kept[i] = signals->kept[i + 1];
	return first;
}

void uring_signals_close(struct uring_signals **signals)
{
	struct uring_signals *s = *signals;

	if (s == NULL)
		return;
	*signals = NULL;
	assert(!s->closing);
	s->closing = true;
	s->canceling = true;
	s->cancel.target = &s->req;
	s->cancel.req.done = cancel_done;
	uring_submit_cancel(s->loop, &s->cancel);
}

static void read_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct uring_signals *s = container_of(r, struct uring_signals, req);

	io_uring_prep_read(sqe, s->fd, &s->info, sizeof(s->info), 0);
}

static void read_done(struct uring_req *r, int res)
{
	struct uring_signals *s = container_of(r, struct uring_signals, req);

	s->reading = false;
	if (s->closing) {
		signals_free_if_idle(s);
		return;
	}
	if (res == (int)sizeof(s->info) && s->kept_count < URING_SIGNALS_MAX) { /* S1 */
		s->kept[s->kept_count++] = (int)s->info.ssi_signo;
		op_wake(s->receiver);
	}
	s->reading = true;
	uring_submit(s->loop, &s->req);
}

static void cancel_done(struct uring_req *r, int res)
{
	struct uring_cancel *cancel = container_of(r, struct uring_cancel, req);
	struct uring_signals *s = container_of(cancel, struct uring_signals, cancel);

	s->canceling = false;
	signals_free_if_idle(s);
}

static void signals_free_if_idle(struct uring_signals *s)
{
	if (s->reading || s->canceling)
		return;
	close(s->fd);
	free(s);
}
