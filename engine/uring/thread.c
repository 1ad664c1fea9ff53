/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/thread.c
 * Purpose.     One loop, one thread: the loop is opened, run and closed inside the thread, since
 *              the kernel accepts submissions from its opener only.
 * Locks.       A mutex and a condition for one hand-over: "the loop is open", or why not.
 */
#include "engine/uring/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/base/err.h"

struct uring_thread {
	struct uring_thread_options options;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool open_done; /* under lock */
	int open_rc;	/* under lock */
	int rc;		/* of run; read after the join */
};

static void *thread_main(void *arg)
{
	struct uring_thread *t = arg;
	struct uring_loop *loop = NULL;
	int rc = uring_loop_open(&t->options.loop, &loop);

	pthread_mutex_lock(&t->lock);
	t->open_done = true;
	t->open_rc = rc;
	pthread_cond_signal(&t->opened);
	pthread_mutex_unlock(&t->lock);
	if (rc < 0)
		return NULL;
	t->rc = t->options.run(loop, t->options.arg);
	uring_loop_close(&loop);
	return NULL;
}

int uring_thread_start(const struct uring_thread_options *options, struct uring_thread **ret_thread)
{
	struct uring_thread *t = calloc(1, sizeof(*t));
	sigset_t all, before;
	int rc;

	if (t == NULL)
		return -ERR_NOMEM;
	t->options = *options;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->opened, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&t->thread, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		rc = -ERR_NOMEM;
		goto err_after_alloc;
	}
	if (options->name != NULL)
		pthread_setname_np(t->thread, options->name);
	pthread_mutex_lock(&t->lock);
	while (!t->open_done)
		pthread_cond_wait(&t->opened, &t->lock);
	rc = t->open_rc;
	pthread_mutex_unlock(&t->lock);
	if (rc < 0)
		goto err_after_thread;
	*ret_thread = t;
	return 0;

err_after_thread:
	pthread_join(t->thread, NULL);
err_after_alloc:
	pthread_cond_destroy(&t->opened);
	pthread_mutex_destroy(&t->lock);
	free(t);
	assert(rc < 0);
	return rc;
}

int uring_thread_join(struct uring_thread **thread)
{
	struct uring_thread *t = *thread;
	int rc;

	if (t == NULL)
		return 0;
	*thread = NULL;
	pthread_join(t->thread, NULL);
	rc = t->rc;
	pthread_cond_destroy(&t->opened);
	pthread_mutex_destroy(&t->lock);
	free(t);
	return rc;
}
