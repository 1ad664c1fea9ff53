/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/loop.h: one thread's world: a ring, a ready queue and the environment made of them.
 *
 * Open, use and close a loop in one thread: the kernel is told that nobody else submits.  What
 * crosses threads goes through a mailbox (uring/mailbox.h).
 */
#ifndef TS_URING_LOOP_H
#define TS_URING_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/buf.h"
#include "engine/port/env.h"

/* What a kernel or a filesystem may lack.  A test masks them to take the other path. */
enum uring_feature {
	URING_DEFER_TASKRUN = 1u << 0, /* SINGLE_ISSUER with DEFER_TASKRUN (6.1) */
	URING_COOP_TASKRUN = 1u << 1,  /* 5.19 */
	URING_FIXED_BUFFERS = 1u << 2, /* the arena could be registered */
	URING_DIRECT_IO = 1u << 3,     /* O_DIRECT is tried */
	URING_DSYNC_WRITE =
		1u << 4,	  /* RWF_DSYNC is trusted where a filesystem honours it cheaply */
	URING_DISCARD = 1u << 5,  /* IORING_OP_FALLOCATE */
	URING_SEND_ONE = 1u << 6, /* IORING_OP_SEND and RECV for one buffer, not SENDMSG */
	URING_KERNEL_RING = 1u << 7, /* io_uring itself; without it soft.c does the same, slower */
	URING_QUEUE_ASKED = 1u << 8, /* RWF_DSYNC only where the device has FUA; masked: anyway */
	URING_FEATURES_ALL = (1u << 9) - 1,
};

struct uring_options {
	uint32_t entries;	    /* submission slots; 0: 256 */
	uint32_t mask;		    /* features to do without */
	uint32_t unix_mode;	    /* of the unix sockets it listens on; 0: 0660 */
	struct buf_pool_sizes bufs; /* all 0: env->bufs is NULL */
	bool register_arena;	    /* try to register the buffers with the kernel */
	bool kernel_ring_required;  /* fail rather than do without io_uring (`io: io_uring`) */
	struct log *log;	    /* borrowed for life */
};

struct uring_loop;

/*
 * -ERR_NOMEM, -ERR_IO; with kernel_ring_required also -ERR_UNSUPPORTED (the kernel has no io_uring
 * or lacks an operation) and -ERR_PERMISSION (forbidden here, as in many containers); the reason
 * is logged.
 */
MUST_CHECK int uring_loop_open(const struct uring_options *options, struct uring_loop **ret_loop);

/* All disks, connections, listeners, mailboxes and signals of the loop were closed before. */
void uring_loop_close(struct uring_loop **loop);

struct env *uring_loop_env(struct uring_loop *loop);
uint32_t uring_loop_features(const struct uring_loop *loop);

/* Run until *stop, which an op of this loop sets.  0, or -ERR_IO when the ring itself broke. */
MUST_CHECK int uring_loop_run(struct uring_loop *loop, const bool *stop);

/* One turn: run what is ready, submit, wait at most wait_ns, take what completed.  When anything ran it does
 * not wait: a step may have been what the caller waits for, and nothing else may be on its way. */
MUST_CHECK int uring_loop_turn(struct uring_loop *loop, uint64_t wait_ns);

#endif
