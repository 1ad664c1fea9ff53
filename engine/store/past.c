/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/past.c
 * Purpose.     Make the snapshot of a moment in the past: take the roots of an anchor below it, fold the
 *              journal's records between the two onto them, pin what comes out.
 * Invariants.  PA1 What is made at `at` holds the anchor's content and every record that ends at or below at,
 *                  in order, by the rules of commit: extents by the volumes of their moment (extents.c).
 *              PA2 Trees in the making are in each capture as trees nobody owns: a crash gives them back, and
 *                  the snapshot, listed and not pinned, is begun anew at open.
 *              PA3 The anchor, and the journal from there on, are kept until the snapshot is pinned
 *                  (replica_past_keep): what the index names stays in place, and a crash loses only time.
 *              PA4 References are added, and trees changed, in turns of the worker only; pinned in a capture,
 *                  when their pages have reached the disk (checkpoint K6).
 *              PA5 It gives way: a turn is one batch, live windows come in between; a store that runs out of space
 *                  or journal ends it, and the snapshot is missing at this site.
 *              PA6 Between a base and `at` there is no RESTORE or CLONE (replica_anchor.c AN3).
 * States.      IDLE -> BEGIN [a turn: roots are shared] -> READ <-> FOLD [turns: batches of a window] -> PIN
 *              [a capture pinned it] -> PINNED [durable] -> IDLE;  any -> LOST [durable] -> IDLE.
 * Ownership.   The replica and the snapshot are held; trees are ours until pinned, or ghosts.
 * Failure.     What may pass (memory, space) is tried TRIES_MAX times; then, and for what does not pass (no
 *              anchor, damage), the snapshot is missing.
 * Limits.      One at a time; INDEX_ITEMS entries a window.
 */
#include "engine/store/past.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/extents.h"
#include "engine/store/fold.h"
#include "engine/store/fold_batch.h"
#include "engine/store/map_edit.h"
#include "engine/store/replica_state.h"

#define INDEX_ITEMS 16384u
#define READ_BYTES (64u << 10)
#define TRIES_MAX 10u
#define POLL_NS (50 * MS_NS)
#define RETRY_NS (500 * MS_NS)

#define BIT_DISK 1u
#define BIT_BATCH 2u
#define BIT_CHECKPOINT 4u
#define BIT_TIMER 8u

enum past_phase {
	PAST_IDLE,
	PAST_BEGIN,
	PAST_READ,
	PAST_FOLD,
	PAST_PIN,
	PAST_PINNED,
	PAST_LOST,
};

struct past {
	struct store *s;
	struct op op, *closer;
	enum past_phase phase;
	int rc;	     /* why the last capture did not pin it */
	bool let_go; /* the replica is wanted for something else */
	uint32_t tries;
	struct timer timer;

	struct replica *r;     /* held */
	struct snapshot *snap; /* held */
	struct replica_volume volumes[VOLUMES_MAX];
	bool used[VOLUMES_MAX];
	struct map *maps[VOLUMES_MAX];

	struct index *index;
	struct lsn read, folded; /* the index has [folded, read) */
	struct index_item *items;
	uint32_t items_max, item_count,
		item_at; /* of the window; those before item_at are folded */
	struct lsn upto;

	struct disk_req req;
	uint8_t *data;
	uint64_t data_off, data_bytes;

	struct fold_batch *batch;
	struct completion *turn;
	struct completion batch_done, checkpoint_done;
};

static void past_step(struct op *op);
static bool choose(struct past *p);
static int why_not(const struct past *p);
static int read_step(struct past *p);
static int window_next(struct past *p);
static int fold_step(struct past *p);
static int pin_step(struct past *p);
static int again(struct past *p, int rc);
static void lose(struct past *p, int rc);
static void end(struct past *p);
static void trees_discard(struct past *p);

int past_open(struct store *s, struct past **ret)
{
	struct past *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ERR_NOMEM;
	p->s = s;
	op_init(&p->op, s->env->ready, past_step);
	*ret = p;
	return 0;
}

static void work_free(struct past *p)
{
	if (p->index != NULL)
		index_close(&p->index);
	free(p->items);
	free(p->data);
	p->items = NULL;
	p->data = NULL;
	p->items_max = p->item_count = p->item_at = 0;
	p->data_bytes = 0;
}

void past_close(struct past **pp)
{
	struct past *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	if (timer_armed(&p->timer) && !p->s->abandoned)
		clock_timer_disarm(p->s->env->clock, &p->timer);
	if (!p->s->abandoned)
		op_unqueue(&p->op);
	for (uint32_t i = 0; i < VOLUMES_MAX; i++)
		if (p->maps[i] != NULL)
			map_free(&p->maps[i]);
	work_free(p);
	free(p);
}

void past_kick(struct past *p)
{
	op_wake(&p->op);
}

bool past_is_idle(struct past *p, struct op *op)
{
	if (p->phase == PAST_IDLE && timer_armed(&p->timer))
		clock_timer_disarm(p->s->env->clock, &p->timer);
	if (p->phase == PAST_IDLE && p->op.waits == 0)
		return true;
	p->closer = op;
	op_wake(&p->op);
	return false;
}

bool past_let_go(struct past *p, const struct replica *r)
{
	if (p->phase == PAST_IDLE || p->r != r)
		return true;
	p->let_go = true;
	op_wake(&p->op);
	return false;
}

bool past_needs(const struct past *p, const struct snapshot *snap)
{
	return p->snap != snap || p->phase < PAST_PIN || !p->let_go;
}

bool past_makes(const struct past *p, const struct snapshot *snap)
{
	return p->phase != PAST_IDLE && p->snap == snap;
}

static void wait_for(struct past *p, uint64_t ns)
{
	if ((p->op.waits & BIT_TIMER) != 0)
		return;
	p->timer.deadline.v = clock_now(p->s->env->clock).v + ns;
	completion_arm(&p->timer.done, &p->op, BIT_TIMER);
	clock_timer_arm(p->s->env->clock, &p->timer);
}

static void past_step(struct op *op)
{
	struct past *p = container_of(op, struct past, op);
	int rc = 0;

	while (rc == 0) {
		if ((op->waits & ~BIT_TIMER) != 0)
			return; /* wait: the journal, a batch, a checkpoint */
		if (p->phase > PAST_IDLE && p->phase < PAST_PINNED && p->turn == NULL) {
			rc = why_not(p);
			if (rc < 0)
				lose(p, rc);
			rc = 0;
		}
		if (p->phase != PAST_IDLE && (op->waits & BIT_TIMER) != 0 && p->turn == NULL)
			return; /* wait: what failed is tried again */
		switch (p->phase) {
		case PAST_IDLE:
			rc = choose(p) ? 0 : 1;
			break;
		case PAST_BEGIN:
			fold_kick(p->s->fold);
			return; /* wait: a turn */
		case PAST_READ:
			rc = read_step(p);
			break;
		case PAST_FOLD:
			rc = fold_step(p);
			break;
		case PAST_PIN:
			rc = pin_step(p);
			break;
		case PAST_PINNED:
		case PAST_LOST:
			end(p);
			break;
		}
		if (rc < 0)
			rc = again(p, rc);
	}
	/* wait: as said where rc came from */
}

/* It cannot, or need not, be gone on with. */
static int why_not(const struct past *p)
{
	if (p->s->failed)
		return -ERR_FAILED;
	if (p->s->closing)
		return -ERR_CLOSED;
	if (!p->snap->past)
		return -ERR_CANCELED;
	if (p->r->deleted)
		return -ERR_CLOSED;
	if (p->let_go && p->phase < PAST_PIN)
		return -ERR_TRIMMED;
	return store_room(p->s) == STORE_ROOM_LITTLE ? -ERR_FULL : 0;
}

/* A failure: try once more in a while, or not.  1: wait; 0: LOST. */
static int again(struct past *p, int rc)
{
	if ((rc == -ERR_NOMEM || rc == -ERR_FULL || rc == -ERR_AGAIN) && p->tries++ < TRIES_MAX) {
		wait_for(p, RETRY_NS);
		return 1;
	}
	lose(p, rc);
	return 0;
}

/* Given up; the snapshot is missing, unless the store stops, or it was deleted.  PA5 */
static void lose(struct past *p, int rc)
{
	struct snapshot *snap = p->snap;

	p->phase = PAST_LOST;
	if (timer_armed(&p->timer))
		clock_timer_disarm(p->s->env->clock, &p->timer);
	trees_discard(p);
	if (rc == -ERR_FAILED || rc == -ERR_CLOSED || !snap->past)
		return;
	log_warn(p->s->env->log, "store",
		 "group %s: snapshot %s of LSN %" PRIu64 " cannot be made here: %s; it is missing",
		 p->r->name, snap->name, snap->lsn.v,
		 rc == -ERR_NOT_FOUND ? "the history kept here does not go back so far"
		 : rc == -ERR_TRIMMED ? "its journal was needed for something else"
				      : err_text(rc));
	snapshot_past_missing(snap);
	completion_arm(&p->checkpoint_done, &p->op, BIT_CHECKPOINT);
	fold_want_checkpoint(p->s->fold, &p->checkpoint_done);
}

static void end(struct past *p)
{
	struct replica *r = p->r;
	struct op *closer = p->closer;

	/* PINNED: the snapshot has the trees.  In a failed store the checkpoint that did not end still holds
	 * pages of them: they stay until it is closed (past_close), and nothing is begun in it any more. */
	for (uint32_t i = 0; i < VOLUMES_MAX && !p->s->failed; i++)
		if (p->maps[i] != NULL)
			map_free(&p->maps[i]);
	work_free(p);
	p->phase = PAST_IDLE;
	p->let_go = false;
	p->closer = NULL;
	snapshot_unhold(p->snap);
	p->snap = NULL;
	p->r = NULL;
	replica_wake(r);
	replica_release(r);
	if (closer != NULL)
		op_wake(closer);
}

/* --- which one --- */

/* Is everything below it folded far enough, and durable?  PA6: marks pin their anchors first. */
static bool is_ready(const struct replica *r, const struct snapshot *snap)
{
	const struct snapshot *base = replica_anchor_base(r, snap->lsn);

	return snap->lsn.v <= journal_durable(r->journal).v &&
	       replica_mark_lsn(r).v >= snap->lsn.v &&
	       (base == NULL || replica_anchor_durable(base));
}

static struct snapshot *past_of(const struct replica *r, bool *waits)
{
	LIST_FOR_EACH(link, &r->snaps.list) {
		struct snapshot *snap = container_of(link, struct snapshot, link);

		if (!snap->past)
			continue;
		if (is_ready(r, snap))
			return snap;
		*waits = true;
	}
	return NULL;
}

/* The next one; false: none now. */
static bool choose(struct past *p)
{
	struct store *s = p->s;
	bool waits = false;

	if (s->failed || s->closing || !s->ready || s->opts.read_only)
		return false;
	LIST_FOR_EACH(link, &s->entries) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);
		struct snapshot *snap =
			e->leaving || e->r->snaps.pasts == 0 ? NULL : past_of(e->r, &waits);

		if (snap == NULL)
			continue;
		p->r = e->r;
		p->snap = snap;
		p->tries = 0;
		p->rc = 0;
		replica_hold(p->r);
		snapshot_hold(snap);
		p->phase = PAST_BEGIN;
		return true;
	}
	if (waits)
		wait_for(p, POLL_NS);
	return false;
}

/* --- turns --- */

bool past_wants_turn(const struct past *p)
{
	return p->turn == NULL && p->op.waits == 0 &&
	       (p->phase == PAST_BEGIN || (p->phase == PAST_FOLD && p->item_at < p->item_count)) &&
	       why_not(p) == 0;
}

static int tree_share(struct past *p, const struct volume_root *root)
{
	uint32_t slot = root->volume.slot;
	int rc = map_open(p->s, root, &p->maps[slot]);

	if (rc < 0)
		return rc;
	if (root->root != CHUNK_NONE)
		rc = space_ref_add(p->s->space, root->root);
	if (rc < 0) {
		map_free(&p->maps[slot]);
		return rc;
	}
	p->volumes[slot] = root->volume;
	p->used[slot] = true;
	return 0;
}

/* The trees are the anchor's.  PA4 */
static int past_begin(struct past *p)
{
	const struct snapshot *base = replica_anchor_base(p->r, p->snap->lsn);
	int rc = 0;

	if (base == NULL)
		return -ERR_NOT_FOUND;
	memset(p->used, 0, sizeof(p->used));
	p->items_max = INDEX_ITEMS;
	p->items = malloc(p->items_max * sizeof(*p->items));
	p->data = aligned_alloc(BLOCK_BYTES, READ_BYTES);
	rc = p->items == NULL || p->data == NULL ? -ERR_NOMEM
						 : index_open(2 * INDEX_ITEMS, &p->index);
	for (uint32_t i = 0; i < base->volume_count && rc == 0; i++)
		rc = tree_share(p, &base->volumes[i]);
	if (rc < 0) {
		trees_discard(p);
		work_free(p);
		return rc;
	}
	p->read = p->folded = base->lsn;
	p->phase = PAST_READ;
	return 0;
}

void past_turn(struct past *p, struct fold_batch *batch, struct completion *done)
{
	int rc;

	assert(past_wants_turn(p));
	if (p->phase == PAST_BEGIN) {
		rc = past_begin(p);
		if (rc < 0)
			(void)again(p, rc);
		op_wake(&p->op);
		completion_fire(done, 0);
		return;
	}
	p->turn = done;
	p->batch = batch;
	completion_arm(&p->batch_done, &p->op, BIT_BATCH);
	fold_batch_begin_past(batch, p->r, p->maps, p->items + p->item_at,
			      p->item_count - p->item_at);
	fold_batch_run(batch, &p->batch_done);
}

static void trees_discard(struct past *p)
{
	for (uint32_t i = 0; i < VOLUMES_MAX; i++) {
		if (p->maps[i] == NULL)
			continue;
		if (!p->s->failed) /* else reopening gives them back */
			map_discard(&p->maps[i]);
	}
}

/* --- reading --- */

static const struct replica_volume *volume_of(const struct past *p, uint32_t slot)
{
	return slot < VOLUMES_MAX && p->used[slot] ? &p->volumes[slot] : NULL;
}

static int apply_write(struct past *p, const struct journal_uncommitted *u)
{
	struct extents_clip clip;
	uint64_t want = index_count(p->index);

	for (uint32_t i = 0; i < u->view.extent_count; i++) {
		struct record_extent e = record_extent_at(u->header, &u->view, i);

		clip.count[i] = extent_clip(&e, volume_of(p, e.volume));
	}
	want += extents_need(u, &clip);
	if (want > index_max(p->index)) {
		int rc = want > UINT32_MAX - 1 ? -ERR_NOMEM : index_grow(p->index, (uint32_t)want);

		if (rc < 0)
			return rc;
	}
	extents_index(p->index, u, &clip);
	return 0;
}

static int apply_volume(struct past *p, const struct journal_uncommitted *u)
{
	struct volume_root root = {.root = CHUNK_NONE};
	struct record_volume rv;
	struct replica_volume *v;
	int rc = record_volume_decode(record_body(u->header, &u->view), u->view.body_bytes, &rv);

	if (rc < 0)
		return -ERR_CORRUPT;
	if (p->s->opts.mutant == STORE_MUTANT_PAST_VOLUMES)
		return 0;
	v = &p->volumes[rv.slot];
	if (rv.op == RECORD_VOLUME_CREATE && !p->used[rv.slot]) {
		root.volume = (struct replica_volume){.slot = rv.slot,
						      .uuid = rv.uuid,
						      .bytes = rv.bytes,
						      .block_bytes = rv.block_bytes};
		memcpy(root.volume.name, rv.name, sizeof(root.volume.name));
		rc = map_open(p->s, &root, &p->maps[rv.slot]);
		if (rc < 0)
			return rc;
		*v = root.volume;
		p->used[rv.slot] = true;
	}
	if (!p->used[rv.slot] || v->deleted || !uuid_equal(&v->uuid, &rv.uuid))
		return 0;
	if (rv.op == RECORD_VOLUME_RESIZE && rv.bytes > v->bytes) {
		v->bytes = rv.bytes;
		map_resize(p->maps[rv.slot], rv.bytes);
	}
	if (rv.op == RECORD_VOLUME_DELETE) {
		v->deleted = true;
		index_drop_volume(p->index, rv.slot);
		map_discard(&p->maps[rv.slot]);
	}
	return 0;
}

/* PA1 */
static int apply(struct past *p, const struct journal_uncommitted *u)
{
	switch (u->view.type) {
	case RECORD_WRITE:
		return apply_write(p, u);
	case RECORD_VOLUME:
		return apply_volume(p, u);
	case RECORD_RESTORE:
	case RECORD_CLONE:
		return -ERR_NOT_FOUND; /* PA6 */
	case RECORD_EPOCH:
	case RECORD_SNAP:
	case RECORD_NOTE:
	case RECORD_DELTA_BEGIN:
	case RECORD_DELTA_COMMIT:
	case RECORD_PAD:
		return 0;
	}
	return -ERR_CORRUPT;
}

/* The header of the record at p->read: 0: *ret; 1: it is being read; or an error. */
static int header_get(struct past *p, struct journal_uncommitted *ret)
{
	struct journal_position at;
	int rc = journal_locate(p->r->journal, p->read, &at);

	if (rc < 0)
		return rc;
	if (p->data_bytes < BLOCK_BYTES || at.off < p->data_off ||
	    at.off > p->data_off + p->data_bytes - BLOCK_BYTES) {
		uint64_t left = at.segment_end - at.off;

		p->data_off = at.off;
		p->data_bytes = left < READ_BYTES ? left : READ_BYTES;
		completion_arm(&p->req.done, &p->op, BIT_DISK);
		disk_io(p->s->disk, &p->req, DISK_READ, 0, p->data_off, p->data, p->data_bytes);
		return 1;
	}
	if (p->req.done.rc < 0) {
		p->data_bytes = 0;
		return -ERR_IO;
	}
	ret->header = p->data + (at.off - p->data_off);
	ret->place.off = at.off;
	rc = replica_header_check(p->r, p->read, ret->header, &ret->view, &ret->place.chunks);
	return rc == -ERR_INVALID ? -ERR_CORRUPT : rc;
}

/* 1: wait; 0: a window is there, or all is folded; or an error. */
static int read_step(struct past *p)
{
	struct lsn last = p->snap->lsn;

	while (p->read.v < last.v && index_count(p->index) < INDEX_ITEMS) {
		struct journal_uncommitted u;
		int rc = header_get(p, &u);

		if (rc != 0)
			return rc;
		if (u.view.end.v > last.v)
			return -ERR_CORRUPT; /* `at` is no boundary */
		if (p->s->opts.mutant != STORE_MUTANT_PAST_SHORT || u.view.end.v < last.v)
			rc = apply(p, &u);
		if (rc < 0)
			return rc;
		p->read = u.view.end;
	}
	return window_next(p);
}

/* --- folding --- */

/* 0: there is a window, or more to read, or all is folded. */
static int window_next(struct past *p)
{
	uint32_t need = index_window_need(p->index);

	if (need > p->items_max) { /* one record of very many discards */
		struct index_item *more = realloc(p->items, need * sizeof(*more));

		if (more == NULL)
			return -ERR_NOMEM;
		p->items = more;
		p->items_max = need;
	}
	p->item_at = 0;
	p->item_count = index_window(p->index, p->read, p->items, p->items_max, &p->upto);
	if (p->item_count == 0) {
		p->folded = p->read;
		p->phase = p->read.v < p->snap->lsn.v ? PAST_READ : PAST_PIN;
		return 0;
	}
	p->phase = PAST_FOLD;
	return 0;
}

/* 1: wait: a turn; 0: the window is folded; or an error. */
static int fold_step(struct past *p)
{
	struct completion *turn = p->turn;
	int rc = turn == NULL ? 0 : p->batch_done.rc;

	p->turn = NULL;
	p->batch_done.rc = 0;
	if (turn != NULL) {
		if (rc == -ERR_IO)
			store_fail(p->s, rc, "snapshot of the past: write to home");
		if (rc == 0)
			p->item_at += fold_batch_done(p->batch);
		completion_fire(turn, 0);
	}
	if (rc < 0)
		return rc;
	if (p->item_at < p->item_count) {
		fold_kick(p->s->fold);
		return 1; /* wait: a turn */
	}
	index_drop_below(p->index, p->upto);
	p->folded = p->upto;
	p->item_at = p->item_count = 0;
	p->tries = 0;
	return window_next(p);
}

/* --- pinning --- */

bool past_pin_wanted(const struct past *p)
{
	return p->phase == PAST_PIN && why_not(p) == 0;
}

void past_pin(struct past *p)
{
	struct volume_root *volumes;
	uint32_t n = 0;

	if (!past_pin_wanted(p))
		return;
	assert(p->folded.v == p->snap->lsn.v); /* PA1 */
	volumes = calloc(VOLUMES_MAX + 1, sizeof(*volumes));
	for (uint32_t i = 0; i < VOLUMES_MAX; i++)
		n += p->used[i] && !p->volumes[i].deleted;
	p->rc = volumes == NULL				  ? -ERR_NOMEM
		: store_roots(p->s) + n > STORE_ROOTS_MAX ? -ERR_RANGE
							  : 0;
	if (p->rc < 0) {
		free(volumes);
		return;
	}
	n = 0;
	for (uint32_t i = 0; i < VOLUMES_MAX; i++) {
		if (!p->used[i] || p->volumes[i].deleted)
			continue;
		volumes[n].volume = p->volumes[i];
		map_root_get(p->maps[i], &volumes[n++]);
	}
	snapshot_past_pinned(p->snap, volumes, n);
	p->phase = PAST_PINNED;
}

/* 1: wait: a checkpoint; or what kept it from being pinned. */
static int pin_step(struct past *p)
{
	int rc = p->rc;

	p->rc = 0;
	if (rc < 0)
		return rc;
	completion_arm(&p->checkpoint_done, &p->op, BIT_CHECKPOINT);
	fold_want_checkpoint(p->s->fold, &p->checkpoint_done);
	return 1;
}

struct map *past_map(const struct past *p, uint32_t i)
{
	return p->phase >= PAST_READ && p->phase <= PAST_PIN ? p->maps[i] : NULL;
}
