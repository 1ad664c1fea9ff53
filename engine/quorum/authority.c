/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/authority.c
 * Purpose.     The engine's side of the authority: a mirror of the member's applied state, fed by
 *              mail, and proposals by mail.
 * Invariants.  A1  The mirror is only ever what some applied state of the member was: mails are
 *                  taken in order, each wholly, within one step.
 *              A2  A group's (epoch, cfg) never goes back here within one life of the process,
 *                  except by a RESET that says so (I10 is checked by the rules, against floors).
 *              A3  Nothing is answered to a proposal: only views move (R8).
 * Ownership.   Mails are freed by whoever takes them.
 * Limits.      AUTHORITY_BATCHES_MAX proposals between two mails of the member.
 */
#include "engine/quorum/authority.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/quorum/authority_mail.h"
#include "engine/quorum/authority_state.h"

static void mail_step(struct op *op);
static bool take_mail(struct authority *a, const struct authority_mail *mail);
static void drain(struct mailbox *box, bool proposals);

struct authority *authority_new(struct env *env, void (*step)(struct op *op))
{
	struct authority *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	if (fsm_open(&a->fsm) < 0) {
		free(a);
		return NULL;
	}
	a->env = env;
	list_init(&a->watches);
	op_init(&a->op, env->ready, step);
	return a;
}

int authority_open(struct env *env, uint32_t self, struct mailbox *inbox, struct mailbox *outbox,
		   struct authority **ret_a)
{
	struct authority *a = authority_new(env, mail_step);

	if (a == NULL)
		return -ERR_NOMEM;
	a->status.self = self;
	a->inbox = inbox;
	a->outbox = outbox;
	inbox->receiver = &a->op;
	op_wake(&a->op);
	*ret_a = a;
	return 0;
}

void authority_stop(struct authority *a, struct completion *done)
{
	assert(!a->stopping);
	a->stopping = true;
	if (a->alone != NULL)
		alone_stop(a, done);
	else
		completion_fire(done, 0);
}

void authority_close(struct authority **pa)
{
	struct authority *a = *pa;

	if (a == NULL)
		return;
	assert(a->stopping && list_empty(&a->watches));
	if (a->inbox != NULL) {
		drain(a->inbox, false);
		drain(a->outbox, true);
	}
	authority_discard(pa);
}

void authority_discard(struct authority **pa)
{
	struct authority *a = *pa;

	if (a == NULL)
		return;
	op_unqueue(&a->op);
	alone_free(a);
	fsm_close(&a->fsm);
	free(a);
	*pa = NULL;
}

const struct vg_view *authority_view(const struct authority *a, const struct uuid *vg)
{
	return a->status.ready ? fsm_find(a->fsm, vg) : NULL;
}

const struct vg_view *authority_view_by_name(const struct authority *a, const char *name)
{
	return a->status.ready ? fsm_find_name(a->fsm, name) : NULL;
}

const struct vg_view *authority_view_at(const struct authority *a, uint32_t index)
{
	return a->status.ready ? fsm_at(a->fsm, index) : NULL;
}

uint32_t authority_view_count(const struct authority *a)
{
	return a->status.ready ? fsm_count(a->fsm) : 0;
}

bool authority_was_deleted(const struct authority *a, const struct uuid *vg)
{
	return a->status.ready && fsm_was_deleted(a->fsm, vg);
}

uint64_t authority_boot(const struct authority *a, uint32_t site)
{
	return fsm_node_boot(a->fsm, site);
}

uint64_t authority_version(const struct authority *a)
{
	return a->version;
}

void authority_watch_attach(struct authority *a, struct authority_watch *w)
{
	list_push_back(&a->watches, &w->link);
}

void authority_watch_detach(struct authority *a, struct authority_watch *w)
{
	(void)a;
	list_remove(&w->link);
}

int authority_propose(struct authority *a, const struct vg_cmd *cmds, uint32_t n)
{
	struct authority_proposal *p;
	struct vg_cmd *back;
	int bytes, rc;

	if (a->stopping || a->status.rc < 0)
		return -ERR_FAILED;
	if (a->status.told)
		return -ERR_REFUSED;
	if (!a->status.ready)
		return -ERR_AGAIN;
	if (n == 0 || n > VG_BATCH_MAX)
		return -ERR_INVALID;
	p = malloc(sizeof(*p) + FSM_BATCH_BYTES_MAX);
	back = malloc(VG_BATCH_MAX * sizeof(*back));
	bytes = p == NULL || back == NULL ? -ERR_NOMEM
					  : fsm_batch_encode(cmds, n, p->data, FSM_BATCH_BYTES_MAX);
	rc = bytes < 0 ? bytes : 0;
	/* What we could not read back must never be in a log. */
	if (rc == 0 && fsm_batch_decode(p->data, (uint32_t)bytes, back) != (int)n)
		rc = -ERR_INVALID;
	if (rc == 0 && a->alone != NULL)
		rc = alone_propose(a, p->data, (uint32_t)bytes);
	else if (rc == 0 && a->posted >= AUTHORITY_BATCHES_MAX)
		rc = -ERR_BUSY;
	free(back);
	if (rc < 0 || a->alone != NULL) {
		free(p);
		return rc;
	}
	p->bytes = (uint32_t)bytes;
	list_link_init(&p->mail.link);
	a->posted++;
	a->outbox->post(a->outbox, &p->mail);
	return 0;
}

int authority_check(const struct authority *a, const struct vg_cmd *cmd)
{
	return a->status.ready ? fsm_check(a->fsm, cmd) : -ERR_AGAIN;
}

const struct authority_status *authority_status(const struct authority *a)
{
	return &a->status;
}

bool authority_has_quorum(const struct authority *a)
{
	return a->status.ready && a->status.rc == 0 && a->status.has_quorum;
}

/* ---- mail ---- */

static void mail_step(struct op *op)
{
	struct authority *a = container_of(op, struct authority, op);
	bool changed = false;
	struct mail *mail;

	while ((mail = a->inbox->take(a->inbox)) != NULL) {
		struct authority_mail *m = container_of(mail, struct authority_mail, mail);

		if (take_mail(a, m)) /* A1 */
			changed = true;
		free(m);
	}
	if (changed)
		authority_changed(a);
	/* wait: mail */
}

/* true: something that watchers care for. */
static bool take_mail(struct authority *a, const struct authority_mail *mail)
{
	struct authority_status was = a->status;
	bool views = mail->kind != AUTHORITY_STATUS;
	int rc = 0;

	a->posted = 0;
	if (mail->kind == AUTHORITY_RESET)
		fsm_reset(a->fsm);
	for (uint32_t i = 0; i < mail->boot_count; i++)
		fsm_mirror_boot(a->fsm, mail->boot[i].site, mail->boot[i].boot);
	for (uint32_t i = 0; i < mail->view_count && rc == 0; i++)
		rc = fsm_mirror_view(a->fsm, &mail->views[i]);
	a->status = mail->status;
	if (rc < 0)
		a->status.rc = rc;
	if (views)
		a->version++;
	was.leader_seen = a->status.leader_seen;
	was.applied = a->status.applied;
	return views || memcmp(&was, &a->status, sizeof(was)) != 0;
}

void authority_changed(struct authority *a)
{
	LIST_FOR_EACH(n, &a->watches)
		op_wake(container_of(n, struct authority_watch, link)->op);
}

static void drain(struct mailbox *box, bool proposals)
{
	struct mail *mail;

	while ((mail = box->take(box)) != NULL) {
		if (proposals)
			free(container_of(mail, struct authority_proposal, mail));
		else
			free(container_of(mail, struct authority_mail, mail));
	}
}
