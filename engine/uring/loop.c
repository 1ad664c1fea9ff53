/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/loop.c
 * Purpose.     One ring, one ready queue, one thread.  A turn runs every ready operation dry, hands
 *              all that they submitted to the kernel in one system call, sleeps there until
 *              something completes or the next timer is due, and makes operations ready again.
 * Invariants.  L1  in_flight counts entries given to the ring whose result was not yet taken; it
 *                  never exceeds the size of the completion ring, which thus never overflows.
 *              L2  What does not fit waits in the backlog in order; nothing overtakes it.
 *              L3  Between turns no entry is left unsubmitted for longer than the next enter.
 *              L4  A wait is never longer than the time to the earliest timer.
 * Ownership.   Owns the ring, the buffer pool, the counters and the ports; borrows requests until
 *              done and the log for life.
 * Failure.     Kernel without io_uring or a needed operation: said in the log, and soft.c does the
 *              work instead, unless io_uring was required.  EINTR, ETIME, EAGAIN
 *              and EBUSY of an enter are ordinary; anything else ends run with -ERR_IO.
 * Limits.      RING_ENTRIES_MAX submissions, 4 completions for each.
 */
#include "engine/uring/loop.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/port/clock.h"
#include "engine/port/random.h"
#include "engine/uring/clock.h"
#include "engine/uring/net.h"
#include "engine/uring/random.h"
#include "engine/uring/req.h"
#include "engine/uring/soft.h"

#define RING_ENTRIES_DEFAULT 256u
#define RING_ENTRIES_MAX 4096u
#define RING_CQ_FACTOR 4u
#define TURN_STEPS_MAX 4096u /* then the kernel gets its share */
#define WAIT_NS_MAX (60 * SEC_NS)
#define CLOSE_WAIT_NS (SEC_NS)
#define FIXED_SHIFT 30u /* the kernel registers at most 1 GiB per buffer */
#define FIXED_COUNT_MAX 64u

struct uring_loop {
	struct io_uring ring;
	struct soft_ring *soft; /* instead of ring, or NULL */
	uint32_t features;
	uint32_t in_flight, in_flight_max;
	struct list backlog;
	struct ready ready;
	struct env env;
	struct counters counters;
	struct log *log;
	struct uring_clock *clock;
	struct uring_net *net;
	struct random_port random;
	uint8_t *arena; /* registered range, or NULL */
	uint64_t arena_bytes;
};

static int kernel_ring_open(struct uring_loop *l, uint32_t entries);
static int soft_ring_open(struct uring_loop *l, uint32_t entries);
static void rings_close(struct uring_loop *l);
static int ring_open(struct uring_loop *l, uint32_t entries);
static int ring_try(struct uring_loop *l, uint32_t entries, uint32_t flags);
static int ring_probe(struct uring_loop *l);
static void ring_register_arena(struct uring_loop *l);
static int ports_open(struct uring_loop *l, const struct uring_options *options);
static bool emit(struct uring_loop *l, struct uring_req *r);
static void backlog_flush(struct uring_loop *l);
static int turn(struct uring_loop *l, bool more, uint64_t wait_ns);
static int enter(struct uring_loop *l, uint64_t wait_ns);
static void reap(struct uring_loop *l);
static void cancel_prep(struct uring_req *r, struct io_uring_sqe *sqe);

int uring_loop_open(const struct uring_options *options, struct uring_loop **ret_loop)
{
	uint32_t entries = options->entries == 0 ? RING_ENTRIES_DEFAULT : options->entries;
	struct uring_loop *l;
	int rc;

	assert(options->log != NULL);
	assert(entries <= RING_ENTRIES_MAX);
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return -ERR_NOMEM;
	l->log = options->log;
	l->features = URING_FEATURES_ALL & ~options->mask;
	list_init(&l->backlog);
	ready_init(&l->ready);
	rc = uring_has(l, URING_KERNEL_RING) ? kernel_ring_open(l, entries) : -ERR_UNSUPPORTED;
	if (rc < 0 && !options->kernel_ring_required)
		rc = soft_ring_open(l, entries);
	if (rc < 0)
		goto err_after_alloc;
	rc = ports_open(l, options);
	if (rc < 0)
		goto err_after_ring;
	if (options->register_arena && l->env.bufs != NULL)
		ring_register_arena(l);
	if (l->arena == NULL)
		l->features &= ~(uint32_t)URING_FIXED_BUFFERS;
	*ret_loop = l;
	return 0;

err_after_ring:
	rings_close(l);
err_after_alloc:
	free(l);
	assert(rc < 0);
	return rc;
}

void uring_loop_close(struct uring_loop **loop)
{
	struct uring_loop *l = *loop;
	uint64_t until;

	if (l == NULL)
		return;
	uring_net_stop(l->net);
	/* What was canceled by the close of its owner comes back now. */
	until = clock_now(l->env.clock).v + CLOSE_WAIT_NS;
	while ((l->in_flight > 0 || !list_empty(&l->backlog)) &&
	       clock_now(l->env.clock).v < until) {
		backlog_flush(l);
		if (enter(l, 10 * MS_NS) < 0)
			break;
		reap(l);
	}
	rings_close(l);
	uring_net_close(&l->net);
	uring_clock_close(&l->clock);
	if (l->env.bufs != NULL)
		buf_pool_close(&l->env.bufs);
	free(l);
	*loop = NULL;
}

struct env *uring_loop_env(struct uring_loop *loop)
{
	return &loop->env;
}

uint32_t uring_loop_features(const struct uring_loop *loop)
{
	return loop->features;
}

int uring_loop_run(struct uring_loop *loop, const bool *stop)
{
	for (;;) {
		bool more = ready_run(&loop->ready, TURN_STEPS_MAX);
		int rc;

		if (*stop)
			return 0;
		rc = turn(loop, more, WAIT_NS_MAX);
		if (rc < 0)
			return rc;
	}
}

int uring_loop_turn(struct uring_loop *loop, uint64_t wait_ns)
{
	uint64_t steps = loop->ready.steps;
	bool more = ready_run(&loop->ready, TURN_STEPS_MAX);

	return turn(loop, more, loop->ready.steps != steps ? 0 : wait_ns);
}

void uring_submit(struct uring_loop *loop, struct uring_req *r)
{
	assert(r->prep != NULL);
	assert(r->done != NULL);
	list_link_init(&r->link);
	if (!list_empty(&loop->backlog) || !emit(loop, r))
		list_push_back(&loop->backlog, &r->link); /* L2 */
}

void uring_submit_cancel(struct uring_loop *loop, struct uring_cancel *cancel)
{
	assert(cancel->target != NULL);
	cancel->req.prep = cancel_prep;
	uring_submit(loop, &cancel->req);
}

static void cancel_prep(struct uring_req *r, struct io_uring_sqe *sqe)
{
	struct uring_cancel *cancel = container_of(r, struct uring_cancel, req);

	io_uring_prep_cancel(sqe, cancel->target, 0);
}

int uring_fixed_index(const struct uring_loop *loop, const void *data, uint64_t bytes)
{
	uintptr_t base = (uintptr_t)loop->arena, at = (uintptr_t)data;
	uint64_t begin, last;

	if (loop->arena == NULL || bytes == 0 || at < base || at - base >= loop->arena_bytes)
		return -1;
	begin = at - base;
	last = begin + bytes - 1;
	if (last >= loop->arena_bytes || begin >> FIXED_SHIFT != last >> FIXED_SHIFT)
		return -1;
	return (int)(begin >> FIXED_SHIFT);
}

bool uring_has(const struct uring_loop *loop, uint32_t feature)
{
	return (loop->features & feature) == feature;
}

struct log *uring_log(struct uring_loop *loop)
{
	return loop->log;
}

/* --- the ring --- */

static int kernel_ring_open(struct uring_loop *l, uint32_t entries)
{
	int rc = ring_open(l, entries);

	if (rc < 0)
		return rc;
	rc = ring_probe(l);
	if (rc < 0)
		io_uring_queue_exit(&l->ring);
	return rc;
}

static int soft_ring_open(struct uring_loop *l, uint32_t entries)
{
	int rc;

	if (uring_has(l, URING_KERNEL_RING))
		log_warn(l->log, "uring", "doing without io_uring, with threads and poll: slower");
	l->features &= ~(uint32_t)(URING_KERNEL_RING | URING_FIXED_BUFFERS | URING_DEFER_TASKRUN |
				   URING_COOP_TASKRUN);
	l->in_flight_max = entries * RING_CQ_FACTOR;
	rc = soft_open(l->in_flight_max, &l->soft);
	if (rc < 0)
		log_error(l->log, "uring", "cannot start threads for I/O: %s", err_text(rc));
	return rc;
}

static void rings_close(struct uring_loop *l)
{
	if (l->soft != NULL)
		soft_close(&l->soft);
	else
		io_uring_queue_exit(&l->ring);
}

static int ring_open(struct uring_loop *l, uint32_t entries)
{
	uint32_t common = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
	int rc = -EINVAL;

	if (uring_has(l, URING_DEFER_TASKRUN))
		rc = ring_try(l, entries,
			      common | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
				      IORING_SETUP_DEFER_TASKRUN);
	if (rc == -EINVAL) {
		l->features &= ~(uint32_t)URING_DEFER_TASKRUN;
		if (uring_has(l, URING_COOP_TASKRUN))
			rc = ring_try(l, entries, common | IORING_SETUP_COOP_TASKRUN);
	}
	if (rc == -EINVAL) {
		l->features &= ~(uint32_t)URING_COOP_TASKRUN;
		rc = ring_try(l, entries, common);
	}
	if (rc == 0)
		return 0;
	log_warn(l->log, "uring", "cannot set up io_uring: %s%s", strerror(-rc),
		 rc == -EPERM	 ? "; it is forbidden here (a container's seccomp profile, or "
				   "kernel.io_uring_disabled)"
		 : rc == -ENOSYS ? "; a kernel of 6.1 or newer is needed"
		 : rc == -ENOMEM ? "; raise the limit of locked memory (LimitMEMLOCK)"
				 : "");
	return rc == -ENOSYS ? -ERR_UNSUPPORTED : err_from_errno(-rc);
}

static int ring_try(struct uring_loop *l, uint32_t entries, uint32_t flags)
{
	struct io_uring_params p;
	int rc;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	p.cq_entries = entries * RING_CQ_FACTOR;
	rc = io_uring_queue_init_params(entries, &l->ring, &p);
	if (rc == 0)
		l->in_flight_max = p.cq_entries; /* L1 */
	return rc;
}

static int ring_probe(struct uring_loop *l)
{
	static const struct {
		int op;
		const char *name;
		uint32_t feature; /* 0: we cannot do without it */
	} wanted[] = {
		{IORING_OP_READV, "READV", 0},
		{IORING_OP_WRITEV, "WRITEV", 0},
		{IORING_OP_READ, "READ", 0},
		{IORING_OP_WRITE, "WRITE", 0},
		{IORING_OP_FSYNC, "FSYNC", 0},
		{IORING_OP_SENDMSG, "SENDMSG", 0},
		{IORING_OP_RECVMSG, "RECVMSG", 0},
		{IORING_OP_ACCEPT, "ACCEPT", 0},
		{IORING_OP_CONNECT, "CONNECT", 0},
		{IORING_OP_TIMEOUT, "TIMEOUT", 0},
		{IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL", 0},
		{IORING_OP_SEND, "SEND", URING_SEND_ONE},
		{IORING_OP_RECV, "RECV", URING_SEND_ONE},
		{IORING_OP_FALLOCATE, "FALLOCATE", URING_DISCARD},
		{IORING_OP_READ_FIXED, "READ_FIXED", URING_FIXED_BUFFERS},
		{IORING_OP_WRITE_FIXED, "WRITE_FIXED", URING_FIXED_BUFFERS},
	};
	struct io_uring_probe *probe = io_uring_get_probe_ring(&l->ring);
	int rc = 0;

	if (probe == NULL) {
		log_error(l->log, "uring",
			  "the kernel's io_uring cannot be probed: 6.1 or newer is needed");
		return -ERR_UNSUPPORTED;
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(wanted); i++) {
		if (io_uring_opcode_supported(probe, wanted[i].op))
			continue;
		l->features &= ~wanted[i].feature;
		if (wanted[i].feature == 0) {
			log_error(l->log, "uring",
				  "the kernel's io_uring lacks %s: 6.1 or newer is needed",
				  wanted[i].name);
			rc = -ERR_UNSUPPORTED;
		}
	}
	io_uring_free_probe(probe);
	return rc;
}

/* Failure costs a copy of page references per transfer, no more: say so and go on. */
static void ring_register_arena(struct uring_loop *l)
{
	struct iovec iov[FIXED_COUNT_MAX];
	uint64_t bytes, at = 0;
	uint32_t count = 0;
	void *base;
	int rc;

	if (!uring_has(l, URING_FIXED_BUFFERS))
		return;
	buf_pool_arena(l->env.bufs, &base, &bytes);
	if (bytes > (uint64_t)FIXED_COUNT_MAX << FIXED_SHIFT)
		return;
	while (at < bytes) {
		uint64_t part = bytes - at;

		if (part > 1ull << FIXED_SHIFT)
			part = 1ull << FIXED_SHIFT;
		iov[count].iov_base = (uint8_t *)base + at;
		iov[count].iov_len = part;
		count++;
		at += part;
	}
	rc = io_uring_register_buffers(&l->ring, iov, count);
	if (rc < 0) {
		log_info(l->log, "uring",
			 "buffers are not registered with the kernel (%s): a little slower",
			 strerror(-rc));
		return;
	}
	l->arena = base;
	l->arena_bytes = bytes;
}

static int ports_open(struct uring_loop *l, const struct uring_options *options)
{
	const struct buf_pool_sizes *sizes = &options->bufs;
	int rc;

	rc = uring_clock_open(&l->clock);
	if (rc < 0)
		return rc;
	rc = uring_net_open(l, options->unix_mode == 0 ? 0660 : options->unix_mode, &l->net);
	if (rc < 0)
		goto err_after_clock;
	if (sizes->count[BUF_4K] + sizes->count[BUF_64K] + sizes->count[BUF_1M] > 0) {
		rc = buf_pool_open(sizes, &l->env.bufs);
		if (rc < 0)
			goto err_after_net;
	}
	uring_random_init(&l->random);
	l->env.ready = &l->ready;
	l->env.clock = uring_clock_port(l->clock);
	l->env.net = uring_net_port(l->net);
	l->env.random = &l->random;
	l->env.log = l->log;
	l->env.counters = &l->counters;
	return 0;

err_after_net:
	uring_net_close(&l->net);
err_after_clock:
	uring_clock_close(&l->clock);
	assert(rc < 0);
	return rc;
}

/* --- submission --- */

/* False: no room now. */
static bool emit(struct uring_loop *l, struct uring_req *r)
{
	struct io_uring_sqe *sqe, entry;

	if (l->in_flight == l->in_flight_max)
		return false;
	if (l->soft != NULL) {
		memset(&entry, 0, sizeof(entry));
		r->prep(r, &entry);
		io_uring_sqe_set_data(&entry, r);
		soft_submit(l->soft, &entry);
		l->in_flight++;
		return true;
	}
	sqe = io_uring_get_sqe(&l->ring);
	if (sqe == NULL)
		return false;
	r->prep(r, sqe);
	io_uring_sqe_set_data(sqe, r);
	l->in_flight++;
	assert(l->in_flight <= l->in_flight_max); /* L1 */
	return true;
}

static void backlog_flush(struct uring_loop *l)
{
	while (!list_empty(&l->backlog)) {
		struct uring_req *r = container_of(list_first(&l->backlog), struct uring_req, link);

		/* r->link must be free before emit: done may come and submit it again. */
		list_remove(&r->link);
		if (!emit(l, r)) {
			list_push_front(&l->backlog, &r->link);
			return;
		}
	}
}

/* --- a turn --- */

static int turn(struct uring_loop *l, bool more, uint64_t wait_ns)
{
	uint64_t timer_ns = uring_clock_wait_ns(l->clock);
	int rc;

	backlog_flush(l);
	if (more || !list_empty(&l->backlog))
		wait_ns = 0;
	if (wait_ns > timer_ns)
		wait_ns = timer_ns; /* L4 */
	rc = enter(l, wait_ns);
	reap(l);
	uring_clock_expire(l->clock);
	return rc;
}

/* Submit everything and wait for one completion, at most wait_ns. */
static int enter(struct uring_loop *l, uint64_t wait_ns)
{
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	int rc;

	if (wait_ns == 0 && l->in_flight == 0)
		return 0;
	if (l->soft != NULL) {
		soft_wait(l->soft, wait_ns);
		return 0;
	}
	ts.tv_sec = (int64_t)(wait_ns / SEC_NS);
	ts.tv_nsec = (long long)(wait_ns % SEC_NS);
	/* Wait for one even when wait_ns is 0: only an enter that asks for events runs the work that
	 * DEFER_TASKRUN deferred. */
	rc = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
	if (rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
		return 0;
	log_error(l->log, "uring", "io_uring_enter: %s; the thread stops", strerror(-rc));
	return -ERR_IO;
}

static void reap_one(struct uring_loop *l, uint64_t user_data, int res)
{
	struct uring_req *r = (struct uring_req *)(uintptr_t)user_data;

	assert(l->in_flight > 0); /* L1 */
	l->in_flight--;
	r->done(r, res);
}

static void reap(struct uring_loop *l)
{
	struct io_uring_cqe *cqe;
	uint32_t head, count = 0;
	uint64_t user_data;
	int res;

	while (l->soft != NULL && soft_next(l->soft, &user_data, &res))
		reap_one(l, user_data, res);
	if (l->soft != NULL)
		return;
	io_uring_for_each_cqe(&l->ring, head, cqe)
	{
		count++;
		reap_one(l, cqe->user_data, cqe->res);
	}
	io_uring_cq_advance(&l->ring, count);
}
