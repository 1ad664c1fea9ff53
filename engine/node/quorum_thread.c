/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/quorum_thread.c
 * Purpose.     Run one quorum member in a thread of its own.
 * Invariants.  T1 The state file is locked before it is read and stays locked.
 *              T2 The mailboxes outlive the member and the engine's authority.
 * States.      opening -> running -> stopping (a mail told so) -> ended.
 * Ownership.   The thread owns its loop, file and member; the mailboxes outlive the member.
 * Failure.     What fails at start is returned by quorum_thread_start.
 */
#include "engine/node/quorum_thread.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/admin_server.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/node/desk.h"
#include "engine/port/env.h"
#include "engine/quorum/member.h"
#include "engine/uring/disk.h"
#include "engine/uring/file.h"
#include "engine/uring/loop.h"
#include "engine/uring/mailbox.h"
#include "engine/uring/thread.h"

#define W_STOP 1u
#define W_METRICS 2u

struct quorum_thread {
	const struct config *config;
	struct log *log;
	struct mailbox *engine_inbox;
	struct mailbox *inbox;	 /* proposals, of the thread's loop */
	struct mailbox *control; /* one mail: stop */
	struct mail stop_mail, end_mail;
	struct uring_thread *thread;
	struct op op;
	struct member *member;
	struct admin_server *metrics; /* of a witness; a site has its own in the engine */
	struct completion stopped, metrics_stopped;
	bool stopping, stop, end;
	int rc;
	sem_t opened;
};

static int quorum_run(struct uring_loop *loop, void *arg);
static void quorum_step(struct op *op);

int quorum_thread_start(const struct config *config, struct log *log, struct mailbox *engine_inbox,
			struct quorum_thread **ret_thread, struct mailbox **ret_inbox)
{
	struct quorum_thread *q = calloc(1, sizeof(*q));
	struct uring_thread_options to = {
		.name = "quorum", .run = quorum_run, .arg = q, .loop = {.entries = 64, .log = log}};
	int rc;

	if (q == NULL)
		return -ERR_NOMEM;
	q->config = config;
	q->log = log;
	q->engine_inbox = engine_inbox;
	list_link_init(&q->stop_mail.link);
	list_link_init(&q->end_mail.link);
	if (sem_init(&q->opened, 0, 0) != 0) {
		free(q);
		return -ERR_IO;
	}
	rc = uring_thread_start(&to, &q->thread);
	if (rc < 0)
		goto err_after_sem;
	while (sem_wait(&q->opened) != 0)
		;
	if (q->rc < 0) {
		rc = q->rc;
		uring_thread_join(&q->thread);
		goto err_after_sem;
	}
	*ret_thread = q;
	*ret_inbox = engine_inbox != NULL ? q->inbox : NULL;
	return 0;

err_after_sem:
	assert(rc < 0);
	sem_destroy(&q->opened);
	free(q);
	return rc;
}

static int quorum_open_file(struct quorum_thread *q, struct uring_loop *loop,
			    struct disk **ret_disk, bool *ret_new)
{
	char path[CONFIG_PATH_BYTES + 16];
	struct uring_disk_options o = {.create = true,
				       .allocate = true,
				       .bytes = MEMBER_FILE_BYTES,
				       .lock_wait_ms = URING_LOCK_WAIT_MS};
	int rc = file_make_folder(q->config->state);

	if (rc < 0) {
		log_error(q->log, "node", "making the quorum's folder %s: %s", q->config->state,
			  err_text(rc));
		return rc;
	}
	snprintf(path, sizeof(path), "%s/quorum.log", q->config->state);
	*ret_new = file_is_blank(path);
	rc = uring_disk_open(loop, path, &o, ret_disk);
	if (rc < 0)
		log_error(q->log, "node", "opening the quorum's file %s: %s", path, err_text(rc));
	return rc;
}

static int quorum_open_member(struct quorum_thread *q, struct uring_loop *loop, struct disk *disk,
			      bool is_new)
{
	struct member_peer peers[CONFIG_MEMBERS_MAX];
	struct member_opts o = {.name = q->config->name,
				.members = peers,
				.member_count = q->config->member_count,
				.listen = q->config->quorum_listen,
				.heartbeat_ms = q->config->timers.heartbeat_ms,
				.election_ms = q->config->timers.election_ms,
				.format = is_new,
				.inbox = q->engine_inbox != NULL ? q->inbox : NULL,
				.engine = q->engine_inbox};

	for (uint32_t i = 0; i < q->config->member_count; i++) {
		const struct config_place *m = &q->config->members[i];
		bool has_data = false;

		peers[i] = (struct member_peer){m->name, m->address};
		for (uint32_t k = 0; k < q->config->site_count; k++)
			has_data = has_data || strcmp(q->config->sites[k].name, m->name) == 0;
		if (q->config->kind == CONFIG_WITNESS ? strcmp(m->name, q->config->name) == 0
						      : !has_data)
			o.preferred = m->name;
	}
	return member_open(uring_loop_env(loop), disk, &o, &q->member);
}

/* A witness tells of itself here: its member lives in this loop. */
static void quorum_open_metrics(struct quorum_thread *q, struct uring_loop *loop)
{
	struct admin_server_opts o = {.metrics_address = q->config->metrics_listen,
				      .program = "twinshore-witness",
				      .version = TWINSHORE_VERSION,
				      .site = q->config->name,
				      .member = q->member};
	const char *which;
	int rc;

	if (q->config->kind != CONFIG_WITNESS || q->config->metrics_listen[0] == '\0')
		return;
	rc = admin_server_open(uring_loop_env(loop), &o, &q->metrics, &which);
	if (rc < 0)
		log_error(q->log, "node", "listening on %s: %s: going on without metrics", which,
			  err_text(rc));
}

static int quorum_run(struct uring_loop *loop, void *arg)
{
	struct quorum_thread *q = arg;
	struct disk *disk = NULL;
	bool is_new;
	int rc;

	op_init(&q->op, uring_loop_env(loop)->ready, quorum_step);
	rc = uring_mailbox_open(loop, &q->control);
	if (rc < 0)
		goto out;
	q->control->receiver = &q->op;
	rc = uring_mailbox_open(loop, &q->inbox);
	if (rc < 0)
		goto out_control;
	rc = quorum_open_file(q, loop, &disk, &is_new);
	if (rc < 0)
		goto out_inbox;
	rc = quorum_open_member(q, loop, disk, is_new);
	if (rc < 0) {
		log_error(q->log, "node", "starting the quorum member %s at %s: %s",
			  q->config->name, q->config->quorum_listen, err_text(rc));
		goto out_disk;
	}
	quorum_open_metrics(q, loop);
	sem_post(&q->opened);
	rc = uring_loop_run(loop, &q->stop);
	if (q->metrics != NULL && rc == 0)
		admin_server_close(&q->metrics);
	member_close(&q->member);
	uring_disk_close(&disk);
	sem_post(&q->opened); /* T2: the engine closes its authority now, then lets us end */
	if (rc == 0)
		rc = uring_loop_run(loop, &q->end);
	uring_mailbox_close(&q->inbox);
	uring_mailbox_close(&q->control);
	return rc;

out_disk:
	uring_disk_close(&disk);
out_inbox:
	uring_mailbox_close(&q->inbox);
out_control:
	uring_mailbox_close(&q->control);
out:
	q->rc = rc;
	sem_post(&q->opened);
	return rc;
}

static void quorum_step(struct op *op)
{
	struct quorum_thread *q = container_of(op, struct quorum_thread, op);

	bool mail = q->control->take(q->control) != NULL;

	if (mail && !q->stopping) {
		q->stopping = true;
		completion_arm(&q->stopped, op, W_STOP);
		member_stop(q->member, &q->stopped);
		if (q->metrics != NULL) {
			completion_arm(&q->metrics_stopped, op, W_METRICS);
			admin_server_stop(q->metrics, &q->metrics_stopped);
		}
		return; /* wait: nothing in flight */
	}
	if (q->stopping && op->waits == 0)
		q->stop = true;
	if (mail && q->stop)
		q->end = true;
}

void quorum_thread_stop_member(struct quorum_thread *q)
{
	q->control->post(q->control, &q->stop_mail);
	while (sem_wait(&q->opened) != 0)
		;
}

int quorum_thread_end(struct quorum_thread **qp)
{
	struct quorum_thread *q = *qp;
	int rc;

	*qp = NULL;
	q->control->post(q->control, &q->end_mail);
	rc = uring_thread_join(&q->thread);
	sem_destroy(&q->opened);
	free(q);
	return rc;
}
