/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/replica_history.c
 *
 * Purpose.     How much journal below fold is kept so that one can go back in it: for a time, or up to a
 *              size, never so much that writers feel it.
 * Invariants.  H1  What is kept for history fills at most SHARE_THOUSANDTHS of the journal's share, shared
 *                  out among the replicas of the store: below the half at which back pressure begins.
 *              H2  The oldest goes first.  When the journal is full nevertheless, half of the history goes,
 *                  each time anew.
 *              H3  A sample (lsn, time) says: all below lsn was committed by then.  What is older than the
 *                  wanted time is below the newest sample that is as old.
 *              H4  What is wanted is in the checkpoint: nothing goes between an opening and the moment at
 *                  which the group says it again.
 *              H5  What is kept begins at an anchor (replica_anchor.c), where room allows: without one there is no
 *                  going back to what follows.
 * Failure.     Samples are in memory: after an opening what is there counts as committed just now, so it
 *              is kept longer than asked for, never shorter.
 * Limits.      HISTORY_SAMPLES of them: the time is kept to 1/64.
 */
#include <inttypes.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/port/clock.h"
#include "engine/port/env.h"
#include "engine/store/replica_state.h"
#include "engine/store/store_state.h"

#define SHARE_THOUSANDTHS 375u
#define SAMPLES_PER_TIME 64u
#define ANCHORS_PER_SPAN 8u
#define ANCHOR_BYTES_MIN (256u << 10)
#define ANCHOR_NS_MIN SEC_NS
_Static_assert(HISTORY_SAMPLES > SAMPLES_PER_TIME + 2, "two samples frame the wanted time");

static uint64_t now_ns(const struct replica *r)
{
	return clock_now(r->env->clock).v;
}

static struct history_sample *sample_at(struct replica_history_state *h, uint32_t i)
{
	return &h->samples[(h->first + i) % HISTORY_SAMPLES];
}

static void sample_add(struct replica_history_state *h, struct lsn lsn, uint64_t now)
{
	if (h->count == HISTORY_SAMPLES) {
		h->first = (h->first + 1) % HISTORY_SAMPLES;
		h->count--;
	}
	h->count++;
	*sample_at(h, h->count - 1) = (struct history_sample){.lsn = lsn, .time = {now}};
}

void replica_history_set(struct replica *r, const struct replica_history *want)
{
	struct replica_history_state *h = &r->history;

	if (want->ns == h->want.ns && want->bytes == h->want.bytes)
		return;
	h->want = *want;
	h->count = 0;
	h->floor.v = 0;
	sample_add(h, r->commit, now_ns(r));
	replica_anchor_ask(r);
}

bool replica_history_wanted(const struct replica *r)
{
	return !r->staging && (r->history.want.ns != 0 || r->history.want.bytes != 0);
}

void replica_history_committed(struct replica *r)
{
	struct replica_history_state *h = &r->history;
	uint64_t now = now_ns(r);

	replica_anchor_ask(r);
	if (h->want.ns == 0)
		return;
	if (h->count == 0 ||
	    now - sample_at(h, h->count - 1)->time.v >= h->want.ns / SAMPLES_PER_TIME)
		sample_add(h, r->commit, now);
}

/* H3; 0: all that is there. */
static uint64_t keep_by_time(const struct replica *r)
{
	const struct replica_history_state *h = &r->history;
	uint64_t now = now_ns(r), keep = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		const struct history_sample *s = &h->samples[(h->first + i) % HISTORY_SAMPLES];

		if (now - s->time.v < h->want.ns)
			break;
		keep = s->lsn.v;
	}
	return keep;
}

static uint64_t below_commit(const struct replica *r, uint64_t bytes)
{
	return r->commit.v > bytes ? r->commit.v - bytes : 0;
}

/* H1 */
static uint64_t bytes_at_most(const struct replica *r)
{
	uint64_t share = space_journal_share_bytes(store_space(r->s));
	uint64_t replicas = r->s->entry_count > 0 ? r->s->entry_count : 1;
	uint64_t own = 2 * space_segment_bytes(store_space(r->s)) * replicas; /* held anyhow */

	return share <= own ? 0 : (share - own) / 1000 * SHARE_THOUSANDTHS / replicas;
}

/* What the group asks for, and what there is room for. */
static void keep_get(const struct replica *r, uint64_t *ret_wanted, uint64_t *ret_allowed)
{
	*ret_wanted = r->history.want.ns != 0 ? keep_by_time(r) : 0;
	if (r->history.want.bytes != 0 && below_commit(r, r->history.want.bytes) > *ret_wanted)
		*ret_wanted = below_commit(r, r->history.want.bytes);
	*ret_allowed = below_commit(r, bytes_at_most(r));
	if (r->history.floor.v > *ret_allowed)
		*ret_allowed = r->history.floor.v; /* H2 */
}

struct lsn replica_history_keep(const struct replica *r)
{
	uint64_t wanted, allowed;
	const struct snapshot *base;

	if (!replica_history_wanted(r))
		return (struct lsn){UINT64_MAX};
	keep_get(r, &wanted, &allowed);
	base = replica_anchor_base(r, (struct lsn){wanted});
	if (base != NULL)
		wanted = base->lsn.v; /* H5 */
	return (struct lsn){wanted > allowed ? wanted : allowed};
}

struct lsn replica_journal_keep(const struct replica *r, struct lsn fold)
{
	struct lsn keep = lsn_min(replica_history_keep(r), replica_past_keep(r));

	return lsn_min(lsn_min(fold, r->pin), keep);
}

void replica_history_interval(const struct replica *r, uint64_t *ret_ns, uint64_t *ret_bytes)
{
	const struct replica_history *want = &r->history.want;
	uint64_t bytes = bytes_at_most(r);

	if (want->bytes != 0 && want->bytes < bytes)
		bytes = want->bytes;
	*ret_bytes = bytes / ANCHORS_PER_SPAN;
	if (*ret_bytes < ANCHOR_BYTES_MIN)
		*ret_bytes = ANCHOR_BYTES_MIN;
	*ret_ns = want->ns / ANCHORS_PER_SPAN;
	if (*ret_ns < ANCHOR_NS_MIN)
		*ret_ns = want->ns == 0 ? UINT64_MAX : ANCHOR_NS_MIN;
}

bool replica_history_shrink(struct replica *r)
{
	uint64_t trim = journal_trim(r->journal).v, fold = r->fold.v;
	uint64_t segment = space_segment_bytes(store_space(r->s)), floor;

	if (!replica_history_wanted(r) || replica_history_keep(r).v >= fold || trim >= fold)
		return false;
	floor = trim + (fold - trim) / 2;
	if (floor < trim + 2 * segment)
		floor = trim + 2 * segment < fold ? trim + 2 * segment : fold;
	if (floor <= r->history.floor.v)
		return false; /* a checkpoint that lets go of it is on its way */
	log_warn(r->env->log, "store",
		 "group %s: the journal is full; its history begins at LSN %" PRIu64
		 " from now on, was %" PRIu64,
		 r->name, floor, trim);
	r->history.floor.v = floor;
	return true;
}

void replica_history_status(const struct replica *r, struct replica_history_status *ret)
{
	uint64_t wanted, allowed;

	memset(ret, 0, sizeof(*ret));
	ret->begin = journal_trim(r->journal);
	if (!replica_history_wanted(r))
		return;
	ret->want = r->history.want;
	ret->bytes = r->commit.v > ret->begin.v ? r->commit.v - ret->begin.v : 0;
	keep_get(r, &wanted, &allowed);
	ret->is_short = allowed > wanted;
	replica_anchor_earliest(r, ret);
}
