/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/stage.c
 * Purpose.     A copy at the follower: base blocks and records go to a staging replica beside the last
 *              consistent point, which is replaced when the copy is complete.  Without anything of
 *              the group here it is a full copy, sent by the source; else the staging replica begins with
 *              what is here, and walk.c asks for what differs.
 * Invariants.  G1  J7 and J6 hold for a full copy as for a cut: it replaces what is here.  What is to be kept
 *                  of it is kept first (branch.c).
 *              G2  The switch happens only when every base block is imported, BASE_END has come,
 *                  and the staging replica is durable and committed up to BASE_END's LSN (S4 in
 *                  source.c): below it the copy is no consistent point.
 *              G3  While the switch is in flight nothing is appended, committed or imported.
 *              G4  A staging replica that compares outlives its follower, unless it was the reason why
 *                  that failed, or the store is nearly full: the next one begins with it (walk.c K5).  One per group; it goes when
 *                  the group opens here (volume), follows from its journal, or is deleted.  A crash
 *                  of this site drops it (store O2): what was imported since the last checkpoint may be in
 *                  place of what that knows.  Then the next one begins with the visible replica.
 * Failure.     A block with a wrong checksum fails the follower; the staging replica of a full copy is
 *              discarded at close.
 * Limits.      FOLLOWER_IMPORTS imports in flight.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/repl/follower.h"

static bool stage_allowed(struct repl_follower *f, const struct frame_full *m);
static int stage_alloc(struct repl_follower *f);
static void stage_begin(struct repl_follower *f, struct lsn begin);
static void import_step(struct op *op);
static bool stage_not_needed(const struct repl_follower *f, const struct replica_import *im);

int stage_full(struct repl_follower *f, const struct conn_frame *frame)
{
	struct frame_full *m;

	if (f->phase != FOLLOWER_ATTACHED || f->purpose != REPL_STREAM)
		return -ERR_PROTOCOL;
	if (f->full == NULL)
		f->full = malloc(sizeof(*f->full));
	m = f->full;
	if (m == NULL) {
		follower_fail(f, -ERR_NOMEM, "beginning a full copy");
		return 0;
	}
	if (frame_full_decode(frame->head, frame->h.head_bytes, m) < 0)
		return -ERR_PROTOCOL;
	if (f->mutant != REPL_MUTANT_OLD_EPOCH &&
	    (m->epoch.number != f->epoch.number || m->epoch.site != f->epoch.site ||
	     m->epoch.incarnation != f->epoch.incarnation)) {
		follower_fail(f, -ERR_STALE, "the source serves another epoch");
		return 0;
	}
	f->head = m->head;
	if (branch_is_needed(f, f->agreed ? f->common : m->common, m->common_epoch,
			     m->last_forced_epoch)) {
		if (!branch_is_kept(f)) { /* G1 */
			f->branch.full = true;
			f->branch.full_begin = frame->h.lsn;
			branch_begin(f, f->agreed ? f->common : m->common);
			return 0;
		}
	} else if (!stage_allowed(f, m)) {
		return 0;
	}
	stage_go_on(f, frame->h.lsn);
	return 0;
}

void stage_go_on(struct repl_follower *f, struct lsn begin)
{
	if (stage_alloc(f) < 0)
		follower_fail(f, -ERR_NOMEM, "beginning a full copy");
	else
		stage_begin(f, begin);
}

/* G1 */
static bool stage_allowed(struct repl_follower *f, const struct frame_full *m)
{
	struct lsn common = f->agreed ? f->common : m->common; /* W7 */
	struct replica_status st;

	if (f->replica == NULL || f->mutant == REPL_MUTANT_CUT_BELOW_COMMIT)
		return true;
	replica_status(f->replica, &st);
	if ((m->common_known || f->agreed) && common.v < st.commit.v) {
		follower_fork(f, common, "the source lacks what is committed here");
		return false;
	}
	return true;
}

static int stage_alloc(struct repl_follower *f)
{
	if (f->volumes == NULL)
		f->volumes = calloc(VOLUMES_MAX, sizeof(*f->volumes));
	if (f->epochs == NULL)
		f->epochs = calloc(EPOCHS_MAX, sizeof(*f->epochs));
	if (f->volumes == NULL || f->epochs == NULL)
		return -ERR_NOMEM;
	if (f->imports != NULL)
		return 0;
	f->imports = calloc(FOLLOWER_IMPORTS, sizeof(*f->imports));
	if (f->imports == NULL)
		return -ERR_NOMEM;
	list_init(&f->import_free);
	for (uint32_t i = 0; i < FOLLOWER_IMPORTS; i++) {
		f->imports[i].f = f;
		op_init(&f->imports[i].op, f->env->ready, import_step);
		list_push_back(&f->import_free, &f->imports[i].link);
	}
	return 0;
}

/* Below it the visible replica and the source had the same writes; 0: it cannot be told.  A rollback, and a
 * takeover that lost something, raise the content generation; records that only this side has committed may
 * be rollbacks, too. */
static struct lsn stage_since(const struct repl_follower *f)
{
	const struct frame_full *m = f->full;
	struct lsn common = f->agreed ? f->common : m->common;
	struct replica_status st;

	replica_status(f->replica, &st);
	if ((!m->common_known && !f->agreed) || st.content_generation != m->content_generation ||
	    st.commit.v > common.v)
		return (struct lsn){0};
	return common;
}

/* Can what is here be compared with what the source has? */
static bool stage_compares(const struct repl_follower *f)
{
	return f->replica != NULL && f->member.peer != NULL &&
	       (f->member.peer->features & REPL_FEATURE_COMPARE) != 0 &&
	       (f->repl->opts.features_off & REPL_FEATURE_COMPARE) == 0 &&
	       !replica_trees_are_bad(f->replica);
}

static void stage_begin(struct repl_follower *f, struct lsn begin)
{
	const struct frame_full *m = f->full;

	f->compares = stage_compares(f);
	f->rung = f->compares ? REPL_RUNG_COMPARE : REPL_RUNG_FULL;
	f->spec = (struct replica_stage_spec){
		.from_own = f->compares,
		.since = f->compares ? stage_since(f) : (struct lsn){0},
		.begin = begin,
		.chain = m->chain,
		.epochs = f->epochs,
		.epoch_count = m->epoch_count,
		.volumes = f->volumes,
		.volume_count = m->volume_count,
		.content_generation = m->content_generation,
		.last_forced_epoch = m->last_forced_epoch,
	};
	for (uint32_t i = 0; i < m->epoch_count; i++)
		f->epochs[i] = (struct epoch_entry){.epoch = m->epochs[i].epoch,
						    .first = m->epochs[i].first};
	for (uint32_t i = 0; i < m->volume_count; i++) {
		const struct frame_volume *v = &m->volumes[i];

		f->volumes[i] = (struct replica_volume){.slot = v->slot,
							.uuid = v->uuid,
							.bytes = v->bytes,
							.block_bytes = v->block_bytes,
							.deleted = v->deleted};
		memcpy(f->volumes[i].name, v->name, sizeof(v->name));
	}
	f->resumes = f->compares && replica_staging(f->store, &f->member.group) != NULL;
	log_info(f->env->log, "repl", "group %s: %s %s%s begins at LSN %llu", f->name,
		 f->compares ? "comparing with" : "full copy from", f->peer_name,
		 f->resumes ? ", again," : "", (unsigned long long)begin.v);
	f->phase = FOLLOWER_STAGE_BEGIN;
	replica_stage_begin(f->store, &f->member.group, f->name, &f->spec, &f->staging,
			    follower_store_call(f));
}

void stage_begun(struct repl_follower *f, int rc)
{
	if (rc < 0) {
		follower_fail(f, rc, "beginning a staging replica");
		return;
	}
	f->replica = f->staging;
	f->staged = true;
	if (f->compares && walk_open(f, &f->walk) < 0) {
		follower_fail(f, -ERR_NOMEM, "beginning a comparison");
		return;
	}
	counter_add(f->env->counters, CTR_REPL_COMPARES, f->compares);
	counter_add(f->env->counters, CTR_REPL_COMPARES_RESUMED, f->resumes);
	f->phase = FOLLOWER_STAGING;
	f->state = REPL_STAGING;
	f->told.v = 0;
	f->acked_once = false; /* the first ACK lets the source begin */
	op_wake(&f->op);
	op_wake(f->wake);
}

int stage_base(struct repl_follower *f, const struct conn_frame *frame)
{
	struct import_slot *slot;

	if (f->phase != FOLLOWER_STAGING || f->base_ended) {
		follower_fail(f, -ERR_PROTOCOL, "a base block before its time");
		return 0;
	}
	if (list_empty(&f->import_free))
		return follower_wait(f);
	slot = container_of(list_first(&f->import_free), struct import_slot, link);
	{
		struct frame_base m;

		if (frame_base_decode(frame->head, frame->h.head_bytes, frame->h.payload_bytes,
				      &m) < 0)
			return -ERR_PROTOCOL;
		memcpy(slot->crcs, m.crcs, sizeof(m.crcs[0]) * m.count);
		slot->import.over = false;
		slot->import.volume = m.volume;
		slot->import.count = m.count;
		slot->import.block = m.block;
	}
	if (f->walk != NULL && walk_base(f->walk, slot) < 0)
		return -ERR_PROTOCOL;
	list_remove(&slot->link);
	slot->buf = buf_ref(frame->payload);
	slot->import.data = slot->buf->data;
	slot->import.crcs = slot->crcs;
	f->imports_flying++;
	f->base_bytes += frame->h.payload_bytes;
	completion_arm(&slot->import.done, &slot->op, 1);
	replica_stage_import(f->replica, &slot->import);
	return 0;
}

static void import_step(struct op *op)
{
	struct import_slot *slot = container_of(op, struct import_slot, op);
	struct repl_follower *f = slot->f;
	int rc;

	if (op->waits != 0)
		return; /* wait: imported */
	rc = slot->import.done.rc;
	assert(f->imports_flying > 0);
	f->imports_flying--;
	buf_unref(&slot->buf);
	list_push_back(&f->import_free, &slot->link);
	if (slot->leaf != NULL)
		walk_imported(f->walk, slot);
	f->base_done += (uint64_t)slot->import.count * BLOCK_BYTES;
	if (rc < 0 && f->phase == FOLLOWER_STAGING && !stage_not_needed(f, &slot->import)) {
		counter_add(f->env->counters, CTR_CHECKSUM_WIRE, rc == -ERR_CORRUPT);
		f->spoiled = rc == -ERR_FULL; /* G4: the room is wanted back */
		follower_fail(f, rc, "importing a block of the base");
	}
	follower_frames_again(f);
	op_wake(&f->op);
}

/* Streamed records have deleted or shrunk the volume since: the block is not wanted. */
static bool stage_not_needed(const struct repl_follower *f, const struct replica_import *im)
{
	uint32_t count = replica_volumes(f->replica, f->volumes, VOLUMES_MAX);

	for (uint32_t i = 0; i < count; i++)
		if (f->volumes[i].slot == im->volume)
			return f->volumes[i].deleted ||
			       f->volumes[i].bytes < (im->block + im->count) * BLOCK_BYTES;
	return false;
}

/* COMPARE goes before the first ACK, which lets the source begin. */
static void stage_tell_compare(struct repl_follower *f)
{
	uint8_t head[FRAME_NUMBER_BYTES];
	struct frame_header h;

	member_header(&f->member, FRAME_COMPARE, f->epoch.number, (struct lsn){0}, &h);
	f->compare_sent = member_send(&f->member, FRAME_CONN_DATA, &h, head,
				      frame_number_encode(head, f->spec.since.v)) == 0;
}

void stage_step(struct repl_follower *f)
{
	uint8_t head[FRAME_NUMBER_BYTES];
	struct replica_status st;
	struct frame_header h;

	if (f->walk != NULL && !f->compare_sent)
		stage_tell_compare(f);
	if (f->walk != NULL && f->acked_once && !f->base_ended)
		walk_step(f->walk);
	if (f->phase != FOLLOWER_STAGING)
		return;
	if (f->walk == NULL && f->base_done > f->base_acked) {
		member_header(&f->member, FRAME_BASE_ACK, f->epoch.number, (struct lsn){0}, &h);
		if (member_send(&f->member, FRAME_CONN_BULK, &h, head,
				frame_number_encode(head, f->base_done)) == 0) {
			f->base_acked = f->base_done;
			op_wake(f->wake);
		}
	}
	if (!f->base_ended || f->imports_flying > 0 || f->member.peer == NULL)
		return;
	replica_status(f->replica, &st);
	if ((st.durable.v < f->base_end.v || st.commit.v < f->base_end.v) &&
	    f->mutant != REPL_MUTANT_SWITCH_EARLY)
		return;		 /* G2; wait: records and the told commit */
	f->switch_wanted = true; /* G3: records wait, those in flight end */
	if (f->appends_flying > 0 || f->commit_again)
		return;
	f->phase = FOLLOWER_SWITCH;
	f->state = REPL_SWITCHING;
	op_wake(f->wake);
	replica_stage_switch(f->store, &f->member.group, follower_store_call(f));
}

void stage_switched(struct repl_follower *f, int rc)
{
	if (rc < 0) {
		follower_fail(f, rc, "switching to the full copy");
		return;
	}
	log_info(f->env->log, "repl", "group %s: the %s %s is complete, %llu KiB came", f->name,
		 f->compares ? "comparison with" : "full copy from", f->peer_name,
		 (unsigned long long)(f->base_bytes >> 10));
	f->staged = false;
	f->switch_wanted = false;
	f->replica = replica_find(f->store, &f->member.group);
	if (f->replica == NULL) {
		follower_fail(f, -ERR_NOT_FOUND, "switching to the full copy");
		return;
	}
	f->phase = FOLLOWER_READY;
	f->state = REPL_CATCHING_UP;
	follower_frames_again(f);
	op_wake(&f->op);
	op_wake(f->wake);
}

void stage_free(struct repl_follower *f)
{
	for (uint32_t i = 0; f->imports != NULL && i < FOLLOWER_IMPORTS; i++)
		op_unqueue(&f->imports[i].op);
	walk_free(&f->walk);
	free(f->imports);
	free(f->full);
	free(f->volumes);
	free(f->epochs);
}
