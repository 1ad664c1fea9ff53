/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/authority_told.c
 * Purpose.     The authority of a site that is no member of the quorum: it is told views by the sites that
 *              are, and asks for nothing.
 * Invariants.  D1  A view is taken only when it is newer than the one here: epoch and cfg not lower, cfg
 *                  higher (I10 of what is durable is the rules' check, by the floor).
 *              D2  Nothing is proposed from here.
 * Failure.     What cannot be decoded, or was made by a newer version, is refused and changes nothing.
 * Limits.      VG_COUNT_MAX groups.  Nothing is durable: after a start the views are told again.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/quorum/authority_state.h"

static void told_step(struct op *op)
{
	(void)op; /* wait: for ever */
}

int authority_told_open(struct env *env, uint32_t self, struct authority **ret_a)
{
	struct authority *a = authority_new(env, told_step);

	if (a == NULL)
		return -ERR_NOMEM;
	a->status.self = self;
	a->status.told = true;
	a->status.ready = true;
	*ret_a = a;
	return 0;
}

int authority_tell(struct authority *a, const void *data, uint32_t bytes)
{
	const struct vg_view *was;
	struct vg_view v;
	int rc = fsm_view_decode(data, bytes, &v);

	if (rc < 0)
		return rc;
	if (!a->status.told)
		return -ERR_REFUSED; /* a member believes its own log only */
	was = fsm_find(a->fsm, &v.vg);
	if ((v.flags & VG_FLAG_DELETED) == 0 && was != NULL &&
	    (v.epoch < was->epoch || v.cfg <= was->cfg))
		return -ERR_STALE; /* D1 */
	rc = fsm_mirror_view(a->fsm, &v);
	if (rc < 0)
		return rc;
	a->version++;
	authority_changed(a);
	return 0;
}
