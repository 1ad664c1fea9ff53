/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/fold.c
 * Purpose.     Move committed content from the journal to its home, oldest first, one replica after the
 *              other, so that the journal can be trimmed; everything else that moves space runs in
 *              turns with it.
 * Invariants.  F1  Only index entries (committed records) are folded; a window ends at a record boundary.
 *              F2  Home blocks are written, then leaves are changed in memory, then, at the end of the
 *                  window, the index forgets: a reader finds the same content at every moment.
 *              F3  In place is safe: until a checkpoint, which flushes first, says otherwise, recovery
 *                  has the block in the journal.
 *              F4  A leaf is locked from the first look to the last change.
 *              F5  Where entries overlap the highest LSN wins.
 *              F6  In a staging tree a discard leaves a zero, so that no base block comes after it
 *                  (QUORUM J8).
 *              F7  Only what is below a commit LSN that a crash does not take back (commit_durable) is
 *                  folded: else recovery would show, for a while, the block before an uncommitted record
 *                  whose place the record had already taken.  Only a checkpoint makes one so: a commit
 *                  that recovery read in records is taken back by a cut of these records.
 *              F8  References of a tree nobody uses are dropped only when a durable checkpoint says that it
 *                  is such a tree (ghost.after).  Before, a crash would bring its reader back, while what
 *                  was shared with it looked like another tree's own and was written in place.
 *              F9  A window ends where a snapshot begins: the next checkpoint pins it and goes on behind it.
 *              F10 Nothing from a replica's fold cap on is folded (import.c I5): no checkpoint helps then.
 * States.      IDLE -> WINDOW -> GATHER -> MOVE (loads, locks and journal reads) -> WRITE -> GATHER ...
 *              -> WINDOW;  IDLE -> DISCARD -> IDLE;  IDLE -> REWRITE -> IDLE (repair.c);  IDLE -> PAST -> IDLE (past.c);  IDLE -> STEAL, CHECKPOINT ->
 *              back.
 * Ownership.   The replica of a window is held; leaves of a batch are pinned.
 * Failure.     A bad journal record or a full store ends the window; the replica is retried later and
 *              who waits for it is told.  A failed home write fails the store.
 * Limits.      A window: WINDOW_ITEMS_MAX entries; a batch: BATCH_BLOCKS of payload, BATCH_LEAVES.
 */
#include "engine/store/fold.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/store/checkpoint.h"
#include "engine/store/fold_batch.h"
#include "engine/store/index.h"
#include "engine/store/map_edit.h"
#include "engine/store/past.h"
#include "engine/store/rewrite.h"
#include "engine/store/snapshot_state.h"

#define WINDOW_ITEMS_MAX 131072u
#define WINDOW_ITEMS_MIN 4096u
#define WINDOWS_PER_CHECKPOINT 8u
#define RETRY_NS (1000 * MS_NS)
#define RETRY_BAD_NS (30 * SEC_NS) /* a damaged record does not mend itself */
#define POLL_MS 100u
#define DISCARD_LEAVES 32u
#define PAST_TURNS 8u /* between two windows */

#define BIT_LOAD (1u << 0)
#define BIT_CHECKPOINT (1u << 1)
#define BIT_BATCH (1u << 2)
#define BIT_TIMER (1u << 3)
#define BIT_REWRITE (1u << 4)
#define BIT_PAST (1u << 5)

enum fold_phase {
	FOLD_IDLE,
	FOLD_WINDOW,
	FOLD_BATCH,
	FOLD_DISCARD,
	FOLD_REWRITE,
	FOLD_PAST,
	FOLD_STEAL,	 /* then back to `after` */
	FOLD_CHECKPOINT, /* the same */
};

struct fold {
	struct store *s;
	struct op op;
	enum fold_phase phase, after;
	struct fold_batch *batch;
	struct completion batch_done, checkpoint_done, rewrite_done, past_done;
	uint32_t past_turns; /* since the last window */
	struct leaf_load load;
	bool loading;	     /* load was started and not looked at */
	struct ghost *ghost; /* FOLD_DISCARD: being given back */
	struct timer timer;

	struct replica_entry *entry; /* of the window; NULL: it left meanwhile */
	struct replica *r;	     /* held while a window is under way */
	struct index_item *items;
	uint32_t items_max, item_count;
	struct lsn upto;
	uint32_t windows; /* since the last checkpoint */
	struct uuid last; /* whose turn it was */

	struct waits checkpoint_waits, checkpoint_now;
	struct list turns;
	struct completion *stop;
	bool stopped;	      /* it fired: nothing begins any more */
	enum store_room room; /* as told last */
	bool freed;	      /* the next checkpoint frees space */
};

static void fold_step(struct op *op);
static int idle_step(struct fold *f);
static int window_step(struct fold *f);
static int batch_step(struct fold *f);
static int discard_step(struct fold *f);
static void window_end(struct fold *f, int rc);
static void waits_check(struct fold *f);
static void timer_set(struct fold *f);
static void timer_arm(struct fold *f);
static void past_ended(struct fold *f);

int fold_open(struct store *s, struct fold **ret_fold)
{
	struct fold *f = calloc(1, sizeof(*f));
	int rc = -ERR_NOMEM;

	if (f == NULL)
		return -ERR_NOMEM;
	f->s = s;
	op_init(&f->op, s->env->ready, fold_step);
	list_init(&f->turns);
	f->items_max = s->index_max < WINDOW_ITEMS_MAX ? s->index_max : WINDOW_ITEMS_MAX;
	f->items_max = f->items_max < WINDOW_ITEMS_MIN ? WINDOW_ITEMS_MIN : f->items_max;
	f->items = malloc(f->items_max * sizeof(*f->items));
	if (f->items != NULL)
		rc = fold_batch_open(s, &f->batch);
	if (rc < 0) {
		fold_close(&f);
		return rc;
	}
	*ret_fold = f;
	return 0;
}

void fold_close(struct fold **fp)
{
	struct fold *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	if (timer_armed(&f->timer) && !f->s->abandoned)
		clock_timer_disarm(f->s->env->clock, &f->timer);
	if (!f->s->abandoned)
		op_unqueue(&f->op);
	fold_batch_close(&f->batch);
	free(f->items);
	free(f->checkpoint_waits.done);
	free(f->checkpoint_now.done);
	free(f);
}

void fold_kick(struct fold *f)
{
	if (f->phase == FOLD_IDLE)
		op_wake(&f->op);
}

void fold_want_checkpoint(struct fold *f, struct completion *done)
{
	waits_add(&f->checkpoint_waits, done);
	op_wake(&f->op);
}

void fold_want_fold(struct fold *f, struct replica_entry *e, struct completion *done)
{
	if (e->wait_count == e->wait_max) {
		uint32_t max = e->wait_max + 8;
		struct fold_wait *more = realloc(e->waits, max * sizeof(*more));

		if (more == NULL) {
			completion_fire(done, -ERR_NOMEM);
			return;
		}
		e->waits = more;
		e->wait_max = max;
	}
	e->waits[e->wait_count++] =
		(struct fold_wait){.done = done, .upto = replica_commit_lsn(e->r)};
	e->retry.v = 0;
	op_wake(&f->op);
}

void fold_want_turn(struct fold *f, struct fold_turn *t)
{
	list_link_init(&t->link);
	list_push_back(&f->turns, &t->link);
	op_wake(&f->op);
}

static void entry_waits_fire(struct replica_entry *e, int rc)
{
	uint32_t n = e->wait_count;

	e->wait_count = 0;
	for (uint32_t i = 0; i < n; i++)
		completion_fire(e->waits[i].done, rc);
}

void fold_replica_gone(struct fold *f, struct replica_entry *e)
{
	entry_waits_fire(e, -ERR_NOT_FOUND);
	if (f->entry == e)
		f->entry = NULL;
	op_wake(&f->op);
}

void fold_stop(struct fold *f, struct completion *done)
{
	assert(f->stop == NULL);
	f->stop = done;
	op_wake(&f->op);
}

static void fail_all(struct fold *f)
{
	LIST_FOR_EACH(link, &f->s->entries)
		entry_waits_fire(container_of(link, struct replica_entry, link), -ERR_FAILED);
	waits_fire_all(&f->checkpoint_now, -ERR_FAILED);
	waits_fire_all(&f->checkpoint_waits, -ERR_FAILED);
}

static void turns_run(struct fold *f)
{
	struct list_link *link;

	while ((link = list_pop_front(&f->turns)) != NULL) {
		struct fold_turn *t = container_of(link, struct fold_turn, link);

		t->turn(t);
	}
}

static void fold_step(struct op *op)
{
	struct fold *f = container_of(op, struct fold, op);
	int rc = 0;

	while (rc == 0) {
		if (f->s->failed && (op->waits & ~BIT_TIMER) == 0) {
			if (f->r != NULL)
				window_end(f, -ERR_FAILED);
			f->phase = FOLD_IDLE;
			fail_all(f);
		}
		switch (f->phase) {
		case FOLD_IDLE:
			rc = idle_step(f);
			break;
		case FOLD_WINDOW:
			rc = window_step(f);
			break;
		case FOLD_BATCH:
			rc = batch_step(f);
			break;
		case FOLD_DISCARD:
			rc = discard_step(f);
			break;
		case FOLD_REWRITE:
			if ((op->waits & BIT_REWRITE) != 0)
				return; /* wait: repair.c */
			f->phase = FOLD_IDLE;
			break;
		case FOLD_PAST:
			if ((op->waits & BIT_PAST) != 0)
				return; /* wait: past.c */
			past_ended(f);
			break;
		case FOLD_STEAL:
		case FOLD_CHECKPOINT:
			if ((op->waits & BIT_CHECKPOINT) != 0)
				return; /* wait: checkpoint.c */
			if (f->phase == FOLD_CHECKPOINT) {
				waits_fire_all(&f->checkpoint_now, f->checkpoint_done.rc);
				waits_check(f);
			}
			f->phase = f->after;
			break;
		}
	}
	if (f->phase == FOLD_IDLE && f->stop != NULL && op->waits == 0) {
		struct completion *stop = f->stop;

		f->stop = NULL;
		f->stopped = true;
		completion_fire(stop, 0);
	}
}

static bool too_dirty(const struct fold *f)
{
	return f->s->cache->dirty_count > f->s->cache->page_count / 2;
}

static void start_checkpoint(struct fold *f)
{
	struct waits now = f->checkpoint_now;

	assert(now.count == 0);
	f->checkpoint_now = f->checkpoint_waits;
	f->checkpoint_waits = now;
	f->after = f->phase;
	f->phase = FOLD_CHECKPOINT;
	f->windows = 0;
	f->freed = false;
	completion_arm(&f->checkpoint_done, &f->op, BIT_CHECKPOINT);
	checkpoint_run(f->s->checkpoint, &f->checkpoint_done);
}

static void start_steal(struct fold *f)
{
	f->after = f->phase;
	f->phase = FOLD_STEAL;
	completion_arm(&f->checkpoint_done, &f->op, BIT_CHECKPOINT);
	checkpoint_steal(f->s->checkpoint, &f->checkpoint_done);
}

static void past_ended(struct fold *f)
{
	f->phase = FOLD_IDLE;
	if (too_dirty(f))
		start_steal(f);
}

static void start_past(struct fold *f)
{
	f->past_turns++;
	f->phase = FOLD_PAST;
	completion_arm(&f->past_done, &f->op, BIT_PAST);
	past_turn(f->s->past, f->batch, &f->past_done);
}

/* Those who waited for a fold that is durable now. */
static void waits_check(struct fold *f)
{
	LIST_FOR_EACH(link, &f->s->entries) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);
		uint32_t kept = 0, n = e->wait_count;

		if (e->leaving)
			continue;
		for (uint32_t i = 0; i < n; i++) {
			if (e->waits[i].upto.v <= replica_fold_lsn(e->r).v)
				completion_fire(e->waits[i].done, 0);
			else
				e->waits[kept++] = e->waits[i];
		}
		e->wait_count = kept;
	}
}

/* Records that may go home now.  F7, F10 */
static struct lsn entry_upto(const struct replica_entry *e)
{
	return lsn_min(lsn_min(lsn_min(replica_commit_lsn(e->r), e->commit_durable),
			       replica_mark_lsn(e->r)), /* F9 */
		       replica_fold_cap_lsn(e->r));
}

static bool entry_has_work(const struct replica_entry *e)
{
	return !e->leaving && e->folded.v < replica_commit_lsn(e->r).v;
}

static bool entry_may_run(const struct fold *f, const struct replica_entry *e)
{
	if (!entry_has_work(e))
		return false;
	if (e->retry.v != 0 && clock_now(f->s->env->clock).v < e->retry.v)
		return false;
	return e->wait_count > 0 || replica_fold_wanted(e->r) || store_room(f->s) != STORE_ROOM_OK;
}

/* The next replica after `last` in uuid order that wants a window; NULL: none. */
static struct replica_entry *entry_next(const struct fold *f)
{
	struct replica_entry *first = NULL;

	LIST_FOR_EACH(link, &f->s->entries) {
		struct replica_entry *e = container_of(link, struct replica_entry, link);

		if (!entry_may_run(f, e) || e->folded.v >= entry_upto(e).v)
			continue;
		if (uuid_compare(replica_uuid(e->r), &f->last) > 0)
			return e;
		if (first == NULL)
			first = e;
	}
	return first;
}

/* Is it time, although nobody asked?  Something was folded and its journal is wanted, or all is quiet. */
static bool checkpoint_due(const struct fold *f, bool more)
{
	if (f->windows >= WINDOWS_PER_CHECKPOINT || f->freed)
		return true;
	LIST_FOR_EACH(link, &f->s->entries) {
		const struct replica_entry *e = container_of(link, struct replica_entry, link);

		if (entry_may_run(f, e) && e->folded.v >= entry_upto(e).v &&
		    e->folded.v < replica_fold_cap_lsn(e->r).v)
			return true; /* F7: first the commit */
		if (!e->leaving && replica_anchor_reached(e->r, e->folded))
			return true;
		if (e->leaving || e->folded.v <= replica_fold_lsn(e->r).v)
			continue;
		if (!more || replica_fold_wanted(e->r))
			return true;
	}
	return false;
}

/* Nobody reads it any more, and after a crash nobody will.  F8 */
static bool ghost_begin(struct fold *f, struct ghost *g)
{
	int rc = -ERR_AGAIN;

	if (g->begun)
		return true;
	if (checkpoint_seq(f->s->checkpoint) >= g->after)
		rc = map_forget(g->map);
	if (rc == -ERR_AGAIN)
		f->freed = true; /* a checkpoint first */
	else if (rc == -ERR_BUSY)
		timer_arm(f);
	g->begun = rc == 0;
	return g->begun;
}

static struct ghost *ghost_next(struct fold *f)
{
	LIST_FOR_EACH(link, &f->s->ghosts) {
		struct ghost *g = container_of(link, struct ghost, link);

		if (!g->stuck && ghost_begin(f, g))
			return g;
	}
	return NULL;
}

/* What next?  0: go on; 1: nothing to do now. */
static int idle_step(struct fold *f)
{
	struct replica_entry *e;

	if (f->stopped || f->s->failed || !f->s->ready || f->s->opts.read_only)
		return 1;
	turns_run(f);
	if (f->checkpoint_waits.count > 0) {
		start_checkpoint(f);
		return 0;
	}
	if (f->stop != NULL) {
		if (timer_armed(&f->timer))
			clock_timer_disarm(f->s->env->clock, &f->timer);
		return 1;
	}
	if (rewrites_wait(f->s->rewrites)) {
		f->phase = FOLD_REWRITE;
		completion_arm(&f->rewrite_done, &f->op, BIT_REWRITE);
		rewrites_run(f->s->rewrites, &f->rewrite_done);
		return 0;
	}
	e = entry_next(f);
	if (checkpoint_due(f, e != NULL)) {
		start_checkpoint(f);
		return 0;
	}
	if (past_wants_turn(f->s->past) && (e == NULL || f->past_turns < PAST_TURNS)) {
		start_past(f);
		return 0;
	}
	f->past_turns = 0;
	if (e != NULL) {
		f->entry = e;
		f->r = e->r;
		f->last = *replica_uuid(e->r);
		replica_hold(f->r);
		f->phase = FOLD_WINDOW;
		return 0;
	}
	f->ghost = ghost_next(f);
	if (f->ghost != NULL) {
		f->phase = FOLD_DISCARD;
		return 0;
	}
	if (f->freed)
		return 0; /* the checkpoint that a ghost waits for */
	timer_set(f);
	return 1; /* wait: a kick, or the timer */
}

/* Look again soon while something could be folded: idleness is seen by looking. */
static void timer_set(struct fold *f)
{
	bool any = false;

	LIST_FOR_EACH(link, &f->s->entries)
		any = any || entry_has_work(container_of(link, struct replica_entry, link));
	if (any)
		timer_arm(f);
}

static void timer_arm(struct fold *f)
{
	if ((f->op.waits & BIT_TIMER) != 0)
		return;
	f->timer.deadline.v = clock_now(f->s->env->clock).v + POLL_MS * MS_NS;
	completion_arm(&f->timer.done, &f->op, BIT_TIMER);
	clock_timer_arm(f->s->env->clock, &f->timer);
}

/* --- a window --- */

static int window_step(struct fold *f)
{
	struct index *x = replica_index(f->r);
	uint32_t need = index_window_need(x);

	if (f->entry == NULL || replica_is_deleted(f->r)) {
		window_end(f, -ERR_NOT_FOUND);
		return 0;
	}
	assert(f->entry->folded.v < entry_upto(f->entry).v);
	if (need > f->items_max) { /* one record of very many discards */
		struct index_item *more = realloc(f->items, need * sizeof(*more));

		if (more == NULL) {
			window_end(f, -ERR_NOMEM);
			return 0;
		}
		f->items = more;
		f->items_max = need;
	}
	f->item_count =
		index_window(x, entry_upto(f->entry), f->items, f->items_max, &f->upto); /* F1 */
	if (f->item_count == 0) {
		window_end(f, 0); /* records without content only */
		return 0;
	}
	fold_batch_begin(f->batch, f->r, f->items, f->item_count);
	f->phase = FOLD_BATCH;
	completion_arm(&f->batch_done, &f->op, BIT_BATCH);
	fold_batch_run(f->batch, &f->batch_done);
	return 1; /* wait: the first batch */
}

static int batch_step(struct fold *f)
{
	if ((f->op.waits & BIT_BATCH) != 0)
		return 1; /* wait: the batch */
	if (f->batch_done.rc < 0) {
		if (f->batch_done.rc == -ERR_IO)
			store_fail(f->s, -ERR_IO, "fold: write to home");
		window_end(f, f->batch_done.rc);
		return 0;
	}
	if (f->entry == NULL || replica_is_deleted(f->r)) {
		window_end(f, -ERR_NOT_FOUND);
		return 0;
	}
	if (!fold_batch_more(f->batch)) {
		window_end(f, 0);
		return 0;
	}
	if (f->checkpoint_waits.count > 0) {
		f->batch_done.rc = 0;
		start_checkpoint(f); /* in the middle: what was folded is in the journal, too */
		return 0;
	}
	if (too_dirty(f)) {
		start_steal(f);
		return 0;
	}
	completion_arm(&f->batch_done, &f->op, BIT_BATCH);
	fold_batch_run(f->batch, &f->batch_done);
	return 1; /* wait: the next batch */
}

/* A person should hear of it well before writes are refused, once per change. */
static void room_tell(struct fold *f)
{
	enum store_room room = store_room(f->s);

	if (room > f->room)
		log_warn(f->s->env->log, "store", "%s: %s: %" PRIu64 " MiB are left for data",
			 f->s->disk->name,
			 room == STORE_ROOM_LITTLE ? "space is nearly used up" : "space runs low",
			 space_free_bytes(f->s->space) >> 20);
	f->room = room;
}

static void window_end(struct fold *f, int rc)
{
	struct replica_entry *e = f->entry;

	if (rc == 0 && e != NULL) {
		index_drop_below(replica_index(f->r), f->upto); /* F2 */
		assert(f->upto.v >= e->folded.v);
		e->folded = f->upto;
		e->retry.v = 0;
		e->retry_rc = 0;
		f->windows++;
		counter_add(f->s->env->counters, CTR_FOLDS, 1);
		room_tell(f);
	} else if (e != NULL) {
		if (rc != e->retry_rc && !f->s->failed)
			log_warn(f->s->env->log, "store",
				 "group %s: the journal cannot be folded: %s; trying again",
				 replica_name(e->r), err_text(rc));
		e->retry_rc = rc;
		e->retry.v = clock_now(f->s->env->clock).v +
			     (rc == -ERR_CORRUPT ? RETRY_BAD_NS : RETRY_NS);
		entry_waits_fire(e, rc);
		f->freed = f->freed || rc == -ERR_FULL; /* what discards gave comes back */
	}
	f->entry = NULL;
	replica_release(f->r);
	f->r = NULL;
	f->phase = FOLD_IDLE;
}

/* --- ghosts --- */

/* Everything in it was given.  False: look again later. */
static bool ghost_end(struct fold *f, struct ghost *g)
{
	struct map *m = g->map;

	if (m->root.address != DISK_NONE || (m->root_page != NULL && m->root_page->dirty)) {
		g->stuck = g->cleared; /* a damaged page keeps it from going; check names it */
		f->freed = f->freed ||
			   !g->cleared; /* the checkpoint drops the pages that became empty */
		g->cleared = true;
		return true;
	}
	if (!map_is_quiet(m) || map_is_pinned(m))
		return false;
	list_remove(&g->link);
	map_destroy(&m); /* g is in it */
	return true;
}

static int discard_step(struct fold *f)
{
	struct ghost *g = f->ghost;
	int rc = 0;

	if ((f->op.waits & BIT_LOAD) != 0)
		return 1; /* wait: a page of the tree */
	if (f->loading && f->load.done.rc < 0)
		g->stuck = f->load.done.rc != -ERR_NOMEM; /* check names it; its space stays used */
	f->loading = false;
	if (g->stuck) {
		f->phase = FOLD_IDLE;
		return 0;
	}
	f->load.leaf_no = g->next;
	for (uint32_t i = 0; i < DISCARD_LEAVES && rc == 0; i++)
		rc = map_discard_next(g->map, &f->load);
	g->next = f->load.leaf_no;
	if (rc == -ERR_AGAIN) {
		f->loading = true;
		completion_arm(&f->load.done, &f->op, BIT_LOAD);
		map_leaf_load(g->map, &f->load);
		return 1; /* wait: a page of the tree */
	}
	f->phase = FOLD_IDLE;
	if (rc == -ERR_NOT_FOUND && !ghost_end(f, g)) {
		timer_arm(f);
		return 1; /* wait: a reader of it */
	}
	if (rc == 0 && too_dirty(f))
		start_steal(f);
	return 0;
}
