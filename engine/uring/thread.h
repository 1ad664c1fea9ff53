/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/thread.h: a thread with a loop of its own. */
#ifndef TS_URING_THREAD_H
#define TS_URING_THREAD_H

#include "engine/base/attr.h"
#include "engine/uring/loop.h"

struct uring_thread;

struct uring_thread_options {
	const char *name; /* at most 15 characters, for ps and gdb */
	struct uring_options loop;
	/* Runs in the thread: sets up its ops, calls uring_loop_run, closes what it opened.  How it
	 * is told to stop is its own matter: a mailbox. */
	int (*run)(struct uring_loop *loop, void *arg);
	void *arg; /* borrowed until joined */
};

/* Start a thread with all signals blocked; when it returns 0 the loop is open and run was called.
 * -ERR_NOMEM, or what uring_loop_open said. */
MUST_CHECK int uring_thread_start(const struct uring_thread_options *options,
				  struct uring_thread **ret_thread);

/* Wait for run to return; gives its result. */
int uring_thread_join(struct uring_thread **thread);

#endif
