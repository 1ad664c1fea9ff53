/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/store_sim.c: one store under a random workload, crashes and disk faults.
 *
 * The only writer of one replica knows its history (model.h).  After every crash: the tail is a
 * record boundary of that history with its chain, at or beyond everything told durable or
 * committed; every block reads as the history says; floors are not below what was told durable; every
 * snapshot is there, or not, and reads as it was taken; and the offline check finds the disk in order.
 * --exhaustive: a short workload, with the power failing at each of its I/Os.
 */
#include "tests/sim/store_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/store/check.h"

#define DISK_BYTES (512ull << 20)
#define SMALL_DISK_BYTES (192ull << 20)
#define OPEN_TRIES 40

static const char *const mutant_names[] = {"none",
					   "ack-before-durable",
					   "fold-beyond-commit",
					   "skip-chain-check",
					   "trim-early",
					   "no-floor",
					   "base-overwrites",
					   "no-home-flush",
					   "repair-unchecked",
					   "header-before-data",
					   "forget-names",
					   "named-in-place",
					   "shared-in-place",
					   "no-fold-cap",
					   "ghost-at-once",
					   "past-short",
					   "past-volumes",
					   "anchor-dirty",
					   NULL};

static struct runner_kind kinds[SS_KINDS] = {
	[SS_RECORDS] = {"records appended", 0, true},
	[SS_BLOCKS] = {"blocks appended", 0, true},
	[SS_READS_DONE] = {"reads", 0, true},
	[SS_JOURNAL_READS] = {"records read back", 0, true},
	[SS_BY_REFERENCE] = {"MiB written by reference", 0, true},
	[SS_COMMITS] = {"commits", 0, true},
	[SS_CRASH_POWER] = {"power failures", 0, true},
	[SS_CRASH_KILL] = {"kills", 0, true},
	[SS_CRASH_IN_OPEN] = {"crashes while opening", 0, true},
	[SS_CLEAN_CLOSE] = {"clean closes", 0, true},
	[SS_OPENS] = {"opens", 0, true},
	[SS_CUTS] = {"cuts", 0, true},
	[SS_IO_FAILED] = {"failed I/Os", 0, true},
	[SS_JOURNAL_FULL] = {"journal full", 0, false},
	[SS_INDEX_FULL] = {"index full", 0, false},
	[SS_FOLDS] = {"folds", 0, true},
	[SS_CHECKPOINTS] = {"checkpoints", 0, true},
	[SS_WRAPS] = {"journal went round", 0, true},
	[SS_LOST_RECORDS] = {"records lost in crashes", 0, true},
	[SS_TORN_SECTORS] = {"torn sectors", 0, true},
	[SS_LOST_SECTORS] = {"lost sectors", 0, true},
	[SS_FLOORS] = {"floors set", 0, true},
	[SS_VOLUMES_DELETED] = {"volumes deleted", 0, false},
	[SS_DIGESTS] = {"digests compared", 0, true},
	[SS_BIT_FLIPS] = {"bit flips", 0, true},
	[SS_MISPLACED] = {"writes to the wrong place", 0, true},
	[SS_EXCUSED] = {"runs ended by them", 0, false},
	[SS_SNAPS] = {"snapshots made", 0, true},
	[SS_SNAP_DELETES] = {"snapshots deleted", 0, true},
	[SS_SNAP_READS] = {"reads of snapshots", 0, true},
	[SS_SNAP_DIGESTS] = {"digests of snapshots", 0, true},
	[SS_RESTORES] = {"rollbacks", 0, true},
	[SS_PASTS] = {"snapshots of the past asked for", 0, true},
	[SS_PASTS_MADE] = {"made, and read", 0, true},
	[SS_PASTS_MISSING] = {"missing", 0, false},
	[SS_PASTS_AGAIN] = {"their digests compared with another's of that LSN", 0, true},
	[SS_DELTAS] = {"deltas of volumes compared", 0, true},
	[SS_DELTA_BLOCKS] = {"blocks in deltas", 0, true},
	[SS_VOLUMES_GROWN] = {"volumes grown", 0, true},
	[SS_CLONES] = {"clones made", 0, true},
	[SS_CLONES_DELETED] = {"clones deleted", 0, false},
	[SS_CLONE_DIGESTS] = {"digests of clones", 0, true},
	[SS_OPERATIONS] = {"operations", 0, true},
	[SS_CHECKS] = {"offline checks", 0, true},
	[SS_REFUSED] = {"writes refused: no room", 0, false},
};

void ss_fail(struct ss *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (s->failed)
		return;
	s->failed = true;
	s->excused = s->rotten;
	n = snprintf(s->what, sizeof(s->what), "[%.6f s, life %u] ", (double)s->w->now / 1e9,
		     s->node->lives);
	va_start(ap, fmt);
	vsnprintf(s->what + n, sizeof(s->what) - (size_t)n, fmt, ap);
	va_end(ap);
}

void ss_fail_data(struct ss *s, const char *what)
{
	ss_fail(s, "%s", what);
	s->excused = false;
}

static void nothing_step(struct op *op)
{
	(void)op;
}

struct completion *ss_arm(struct ss *s)
{
	op_init(&s->wait.op, s->env->ready, nothing_step);
	completion_arm(&s->wait.done, &s->wait.op, 1);
	return &s->wait.done;
}

int ss_wait(struct ss *s, const char *what)
{
	uint64_t end = s->w->now + 300 * SEC_NS;

	world_settle(s->w);
	while (s->wait.op.waits != 0) {
		if (s->disk->faults.stopped) {
			s->down = true;
			return -ERR_TIMEOUT;
		}
		if (s->w->now > end || !world_step(s->w)) {
			ss_fail(s, "%s does not end", what);
			return -ERR_TIMEOUT;
		}
	}
	world_settle(s->w);
	return s->wait.done.rc;
}

void ss_run(struct ss *s, uint64_t ns)
{
	uint64_t end = s->w->now + ns;

	world_settle(s->w);
	while (s->w->heap_count > 0 && s->w->heap[1]->at <= end && !s->disk->faults.stopped)
		world_step(s->w);
	if (!s->disk->faults.stopped && s->w->now < end)
		s->w->now = end;
	ss_collect(s);
}

/* --- crash and open --- */

static void take_counters(struct ss *s)
{
	const struct counters *c = s->env->counters;

	s->kinds[SS_FOLDS] += c->v[CTR_FOLDS];
	s->kinds[SS_CHECKPOINTS] += c->v[CTR_CHECKPOINTS];
	s->kinds[SS_BY_REFERENCE] += c->v[CTR_CHUNK_BYTES] >> 20;
}

static void on_crash(struct world_node *n)
{
	struct ss *s = n->user;

	take_counters(s);
	s->held = s->delta_from = NULL;
	ss_clone_crashed(s);
	store_abandon(&s->store);
	s->r = NULL;
}

static void forget_requests(struct ss *s)
{
	memset(s->appends, 0, sizeof(s->appends));
	memset(s->reads, 0, sizeof(s->reads));
	memset(&s->journal_read, 0, sizeof(s->journal_read));
	memset(s->lone, 0, sizeof(s->lone));
	memset(&s->wait, 0, sizeof(s->wait));
	if (s->kin != NULL && s->clones_made > 0)
		forget_requests(s->kin);
}

/* Bits change anywhere in what was ever written. */
static void rot(struct ss *s)
{
	uint64_t n = prng_range(&s->prng, 1, 12);

	s->rotten = true;
	for (uint64_t i = 0; i < 200 && n > 0; i++) {
		uint64_t off = prng_below(&s->prng, s->disk_bytes);

		if (s->disk->chunks[off / SIM_DISK_CHUNK] == NULL)
			continue;
		sim_disk_flip(s->disk, off, (uint32_t)prng_below(&s->prng, 8));
		s->kinds[SS_BIT_FLIPS]++;
		n--;
	}
}

/* Some write soon lands elsewhere: old data where it should be, damage where it should not. */
static void misplace(struct ss *s)
{
	struct sim_disk_faults *f = &s->disk->faults;

	if (!s->misplaces)
		return;
	s->kinds[SS_MISPLACED] += s->rotten && f->misdirect_nth == 0;
	f->misdirect_nth = 1 + prng_below(&s->prng, 1000);
	s->rotten = true;
}

static void crash(struct ss *s)
{
	bool kill = prng_below(&s->prng, 4) == 0 && !s->disk->faults.stopped;

	if (s->lone[0].op.ready != NULL && s->lone[0].op.waits == 0 && s->lone[0].done.rc == 0)
		s->floor_durable = s->floor;
	s->kinds[kill ? SS_CRASH_KILL : SS_CRASH_POWER]++;
	world_crash(s->node, kill ? WORLD_CRASH_KILL : WORLD_CRASH_POWER);
	forget_requests(s);
	s->down = false;
	if (s->rots && prng_below(&s->prng, 3) == 0)
		rot(s);
	misplace(s);
	world_run_for(s->w, prng_below(&s->prng, SEC_NS));
	world_boot(s->node);
}

static void plan_stop(struct ss *s)
{
	if (s->stop_at != 0) {
		s->disk->faults.stop_nth = s->stop_at;
		s->stop_at = 0;
		return;
	}
	if (prng_below(&s->prng, 3) == 0)
		s->disk->faults.stop_nth =
			1 + prng_below(&s->prng, prng_below(&s->prng, 2) ? 60 : 3000);
}

static void check_line(void *ctx, enum check_line kind, const char *line)
{
	struct ss *s = ctx;

	if (kind == CHECK_BAD)
		ss_fail(s, "check: %s", line);
}

/* The disk at rest is what its tables say (engine/store/check.h). */
static void offline_check(struct ss *s)
{
	struct store_check c = {
		.memory_bytes = 4u << 20, .digest = true, .report = check_line, .ctx = s};

	op_init(&s->wait.op, s->env->ready, nothing_step);
	completion_arm(&c.done, &s->wait.op, 1);
	store_check(s->env, &s->disk->disk, &c);
	(void)ss_wait(s, "store_check");
	if (c.done.rc != 0)
		ss_fail(s, "store_check answered %s", err_name(c.done.rc));
	s->kinds[SS_CHECKS]++;
}

/* Open until it succeeds; power may fail again while opening. */
static bool open_store(struct ss *s, bool faults)
{
	for (int i = 0; i < OPEN_TRIES && !s->failed; i++) {
		uint64_t failing;
		int rc;

		s->disk->faults.stop_nth = 0;
		if (prng_below(&s->prng, 3) == 0 && s->m->count > 0 && !s->rotten)
			offline_check(s);
		if (faults && i < 3)
			plan_stop(s);
		failing = s->disk->faults.fail_nth;
		store_open(s->env, &s->disk->disk, &s->opts, &s->store, ss_arm(s));
		rc = ss_wait(s, "store_open");
		if (s->down) {
			s->kinds[SS_CRASH_IN_OPEN]++;
			crash(s);
			continue;
		}
		if (rc == -ERR_IO && failing != 0 && s->disk->faults.fail_nth == 0)
			continue; /* the failure planned for this life came late: again */
		if (rc != 0) {
			ss_fail(s, "store_open answered %s", err_name(rc));
			return false;
		}
		s->kinds[SS_OPENS]++;
		s->r = replica_find(s->store, &s->group);
		if (s->r == NULL && s->m->count > 0)
			ss_fail(s, "the group is gone");
		if (s->r != NULL)
			replica_history_set(s->r, &s->history);
		return true;
	}
	if (!s->failed)
		ss_fail(s, "store_open never succeeds");
	return false;
}

/* What a reopened replica must look like. */
static void check_reopened(struct ss *s, struct replica_status *st)
{
	struct store_floor f;
	uint32_t at;

	replica_status(s->r, st);
	at = model_find(s->m, st->tail);
	if (st->has_hole)
		ss_fail(s, "a hole in the journal (tail %llu)", (unsigned long long)st->tail.v);
	else if (at == UINT32_MAX)
		ss_fail(s, "tail %llu is no record boundary", (unsigned long long)st->tail.v);
	else if (st->tail.v < model_durable(s->m).v)
		ss_fail(s, "tail %llu, but %llu was told durable", (unsigned long long)st->tail.v,
			(unsigned long long)model_durable(s->m).v);
	else if (st->tail.v < model_commit(s->m).v || st->commit.v > model_commit(s->m).v)
		ss_fail(s, "tail %llu commit %llu, but commit was %llu",
			(unsigned long long)st->tail.v, (unsigned long long)st->commit.v,
			(unsigned long long)model_commit(s->m).v);
	else if (at > 0 && st->tail_chain != model_chain_at(s->m, st->tail))
		ss_fail(s, "the chain at %llu differs", (unsigned long long)st->tail.v);
	else if (st->fold.v > st->commit.v || st->trim.v > st->fold.v || st->durable.v > st->tail.v)
		ss_fail(s, "positions out of order");
	else
		s->kinds[SS_LOST_RECORDS] += s->m->count - at;
	store_floor_get(s->store, &s->group, &f);
	if (f.epoch < s->floor_durable.epoch || f.cfg < s->floor_durable.cfg)
		ss_fail(s, "floor {%llu, %llu} is below {%llu, %llu}", (unsigned long long)f.epoch,
			(unsigned long long)f.cfg, (unsigned long long)s->floor_durable.epoch,
			(unsigned long long)s->floor_durable.cfg);
	if (f.epoch > s->floor.epoch)
		s->floor.epoch = f.epoch;
}

/* After an opening: keep the tail or cut it, begin an epoch, commit, look at everything. */
void ss_take_over(struct ss *s, bool clean)
{
	struct replica_status st;
	struct lsn end;
	uint32_t at;

	check_reopened(s, &st);
	if (s->failed)
		return;
	at = model_find(s->m, st.tail);
	if (clean && at != s->m->count)
		ss_fail(s, "a clean close lost records");
	model_cut(s->m, st.tail);
	for (uint32_t i = 0; i < s->m->count; i++)
		s->m->records[i].durable = true;
	if (at > s->m->applied && prng_below(&s->prng, 4) == 0) {
		at = (uint32_t)prng_range(&s->prng, s->m->applied, at);
		end = at == 0 ? (struct lsn){0} : s->m->records[at - 1].end;
		for (uint32_t i = at; i < s->m->count; i++)
			s->m->records[i].durable = false; /* from now on they may be gone */
		replica_cut(s->r, end, ss_arm(s));
		if (ss_wait(s, "replica_cut") != 0) {
			if (!s->down && !store_is_failed(s->store))
				ss_fail(s, "replica_cut answered %s", err_name(s->wait.done.rc));
			return; /* either end is right; the next opening tells */
		}
		s->kinds[SS_CUTS]++;
		model_cut(s->m, end);
	}
	ss_commit(s, model_end(s->m));
	if (s->down || s->failed)
		return;
	ss_verify(s, prng_below(&s->prng, 2) == 0);
	if (!s->down && !s->failed && !store_is_failed(s->store))
		ss_snap_verify(s, prng_below(&s->prng, 3) == 0);
	if (!s->down && !s->failed)
		ss_append_epoch(s);
	if (!s->down && !s->failed && s->clones_made > 0 && !store_is_failed(s->store))
		ss_clone_reopened(s, clean);
}

static void digest_check(struct ss *s, uint64_t *last)
{
	struct replica_digest q;

	memset(&q, 0, sizeof(q));
	op_init(&s->wait.op, s->env->ready, nothing_step);
	completion_arm(&q.done, &s->wait.op, 1);
	replica_digest(s->r, &q);
	(void)ss_wait(s, "replica_digest");
	if (s->down || s->failed || q.done.rc != 0)
		return;
	if (*last != 0 && *last != q.digest)
		ss_fail(s, "the digest changed over a clean close");
	*last = q.digest;
	s->kinds[SS_DIGESTS]++;
}

static bool close_store(struct ss *s, uint64_t *digest)
{
	uint64_t failed = s->w->stats.disk_failed;
	int rc;

	ss_drain(s);
	if (s->down || s->failed || store_is_failed(s->store))
		return false;
	ss_snap_release(s);
	ss_commit(s, model_end(s->m));
	if (!ss_clone_settle(s))
		return false;
	for (uint32_t i = 0; i < ARRAY_COUNT(s->lone) && !s->down && !s->failed; i++) {
		while (s->lone[i].op.waits != 0 && !s->down && !s->failed)
			ss_run(s, MS_NS);
	}
	if (s->down || s->failed)
		return false;
	*digest = 0;
	digest_check(s, digest);
	if (s->down || s->failed || store_is_failed(s->store))
		return false;
	if (s->lone[0].op.ready != NULL && s->lone[0].done.rc == 0)
		s->floor_durable = s->floor;
	take_counters(s);
	memset(s->env->counters, 0, sizeof(*s->env->counters));
	store_close(&s->store, ss_arm(s));
	rc = ss_wait(s, "store_close");
	if (s->down)
		return false;
	if (rc == -ERR_FAILED && s->store == NULL && s->w->stats.disk_failed > failed) {
		forget_requests(s); /* an I/O of the close itself failed: as after a crash */
		s->r = NULL;
		return false;
	}
	if (rc != 0 || s->store != NULL)
		ss_fail(s, "store_close answered %s", err_name(rc));
	for (int i = 0; i < BUF_CLASS_COUNT && !s->failed; i++) {
		if (buf_pool_free_count(s->env->bufs, (enum buf_class)i) !=
		    s->node->envs[0]->buf_sizes.count[i])
			ss_fail(s, "bufs of class %d leak", i);
	}
	forget_requests(s);
	s->r = NULL;
	s->kinds[SS_CLEAN_CLOSE]++;
	return !s->failed;
}

/* --- a run --- */

static void life(struct ss *s, uint32_t actions)
{
	uint64_t digest = 0;

	plan_stop(s);
	if (prng_below(&s->prng, 6) == 0) {
		s->disk->faults.fail_nth = 1 + prng_below(&s->prng, 3000);
		s->disk->faults.fail_kinds = (1u << DISK_WRITE) | (1u << DISK_FLUSH);
	}
	for (uint32_t i = 0; i < actions && !s->failed && !s->down && !store_is_failed(s->store);
	     i++)
		ss_action(s);
	if (s->failed)
		return;
	if (!s->down && !store_is_failed(s->store) && prng_below(&s->prng, 4) == 0) {
		if (close_store(s, &digest)) {
			if (!open_store(s, false) || s->failed)
				return;
			ss_take_over(s, true);
			if (!s->down && !s->failed && prng_below(&s->prng, 3) == 0)
				digest_check(s, &(uint64_t){0});
			if (!s->down)
				return;
		}
		if (s->failed)
			return;
	}
	crash(s);
	if (open_store(s, true) && !s->failed)
		ss_take_over(s, false);
	while (s->down && !s->failed) { /* the power failed while taking over */
		crash(s);
		if (open_store(s, false) && !s->failed)
			ss_take_over(s, false);
	}
}

static void make_volumes(struct ss *s)
{
	const uint64_t bytes[3] = {40ull << 20, 1ull << 30, 5ull << 20};

	for (uint32_t i = 0; i < 3; i++) {
		struct record_volume v = {.op = RECORD_VOLUME_CREATE,
					  .slot = i,
					  .bytes = bytes[i],
					  .block_bytes = 512};

		v.uuid.b[0] = (uint8_t)(i + 1);
		v.name[0] = (char)('a' + i);
		ss_append_volume(s, &v);
	}
	ss_drain(s);
	if (!s->down && !s->failed)
		ss_commit(s, model_end(s->m));
	for (uint32_t i = 0; i < SS_SPOTS; i++)
		s->spots[i] = prng_below(&s->prng, bytes[1] / CHUNK_BYTES) * CHUNK_BLOCKS;
}

static bool begin(struct ss *s)
{
	const struct store_format_opts fo = {.uuid = {{7}}, .journal_percent = 4};
	int rc;

	store_format(s->env, &s->disk->disk, &fo, ss_arm(s));
	rc = ss_wait(s, "store_format");
	if (rc != 0) {
		ss_fail(s, "store_format answered %s", err_name(rc));
		return false;
	}
	if (!open_store(s, false))
		return false;
	replica_create(s->store, &s->group, "g", ss_arm(s));
	rc = ss_wait(s, "replica_create");
	s->r = replica_find(s->store, &s->group);
	if (rc != 0 || s->r == NULL) {
		ss_fail(s, "replica_create answered %s", err_name(rc));
		return false;
	}
	replica_history_set(s->r, &s->history);
	if (ss_append_epoch(s))
		make_volumes(s);
	return !s->failed;
}

/* Half of the runs keep some. */
static void choose_history(struct ss *s)
{
	uint64_t p = prng_below(&s->past_prng, 4);

	if (p == 0)
		s->history.bytes = prng_range(&s->past_prng, 512u << 10, 8u << 20);
	else if (p == 1)
		s->history.ns = prng_range(&s->past_prng, SEC_NS, 600 * SEC_NS);
}

static void run_seed(const struct runner_opts *o, uint64_t seed, uint64_t stop_at, uint32_t lives,
		     uint32_t actions, struct runner_result *ret)
{
	const struct buf_pool_sizes bufs = {.count = {512, 128, 40}};
	uint64_t counts[SS_KINDS] = {0};
	struct ss *s = calloc(1, sizeof(*s));

	assert(s != NULL);
	s->kinds = counts;
	s->w = world_new(seed);
	s->node = world_node_new(s->w, "s");
	s->node->user = s;
	s->node->on_crash = on_crash;
	s->env = &world_env_new(s->node, "main", &bufs)->env;
	s->small = seed % 8 == 2;
	s->disk_bytes = s->small ? SMALL_DISK_BYTES : DISK_BYTES;
	s->disk = sim_disk_new(s->node, "disk", s->disk_bytes);
	s->m = model_new();
	s->group.b[0] = 0x67;
	s->opts = (struct store_opts){.memory_bytes = 4u << 20, .mutant = o->mutant};
	prng_init(&s->prng, seed, 50);
	s->disk->faults.discard_zeroes = prng_below(&s->prng, 2) == 0;
	s->rots = stop_at == 0 && o->mutant == 0 && prng_below(&s->prng, 5) == 0;
	s->misplaces = stop_at == 0 && o->mutant == 0 && !s->rots && seed % 8 == 3;
	prng_init(&s->past_prng, seed, 51);
	choose_history(s);
	s->disk->slow = prng_below(&s->prng, 5) == 0 ? 20 : 1;
	if (begin(s)) {
		s->stop_at = stop_at;
		for (uint32_t i = 0; i < lives && !s->failed; i++)
			life(s, (uint32_t)prng_range(&s->prng, actions / 4 + 1, actions));
		if (!s->failed && !s->down && !s->disk->faults.stopped &&
		    !store_is_failed(s->store)) {
			s->disk->faults = (struct sim_disk_faults){.torn_ppm = 500000};
			ss_verify(s, true);
			if (s->kin != NULL && !s->failed && s->kin->r != NULL)
				ss_verify(s->kin, true);
		}
	}
	ret->failed = s->failed && !s->excused;
	counts[SS_EXCUSED] += s->failed && s->excused;
	memcpy(ret->what, s->what, sizeof(ret->what));
	ret->hash = s->w->hash;
	ret->sim_ns = s->w->now;
	counts[SS_WRAPS] += s->m->count == 0 ? 0 : model_end(s->m).v / (s->disk_bytes * 4 / 100);
	counts[SS_TORN_SECTORS] += s->w->stats.disk_torn_sectors;
	counts[SS_LOST_SECTORS] += s->w->stats.disk_lost_sectors;
	counts[SS_IO_FAILED] += s->w->stats.disk_failed;
	/* Changes only: what is in the journal, and what ended a life. */
	counts[SS_OPERATIONS] = counts[SS_RECORDS] + counts[SS_CUTS] + counts[SS_CRASH_POWER] +
				counts[SS_CRASH_KILL] + counts[SS_CLEAN_CLOSE];
	for (uint32_t i = 0; i < SS_KINDS; i++)
		kinds[i].count += counts[i];
	if (s->node->up)
		on_crash(s->node);
	ss_clone_forget(s);
	world_free(&s->w);
	model_free(&s->m);
	free(s);
}

static void run(const struct runner_opts *o, uint64_t seed, struct runner_result *ret)
{
	if (!o->exhaustive) {
		run_seed(o, seed, 0, 6, 1600, ret);
		return;
	}
	for (uint64_t n = 1; n <= 600;
	     n++) { /* the same workload, the power fails at its nth I/O */
		run_seed(o, seed, n, 1, 240, ret);
		if (ret->failed) {
			char what[900];

			memcpy(what, ret->what, sizeof(what) - 1);
			what[sizeof(what) - 1] = '\0';
			snprintf(ret->what, sizeof(ret->what), "power failed at I/O %llu: %s",
				 (unsigned long long)n, what);
			return;
		}
	}
}

int main(int argc, char **argv)
{
	struct runner r = {.name = "sim_store",
			   .mutants = mutant_names,
			   .kinds = kinds,
			   .kind_count = SS_KINDS,
			   .kinds_from = 40,
			   .run = run};

	return runner_main(&r, argc, argv);
}
