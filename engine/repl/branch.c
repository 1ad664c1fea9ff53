/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/branch.c
 * Purpose.     What only this site has, because a takeover was forced while it was away, is kept as a branch
 *              before it follows the new history (QUORUM J6).
 * Invariants.  B1  While the last forced epoch is later than the last common one, what lies beyond the common LSN
 *                  may have been acknowledged: no cut and no copy begins before the branch that ends at the
 *                  own tail is durable.
 *              B2  Made again after any interruption, once: the branch at the tail is found by its place.
 *              B3  Nothing was folded or cut if it cannot be made; the session ends and says why.
 * States.      ATTACHED -> BRANCH_LOOK -> BRANCH -> ATTACHED (a copy is asked for)   [START]
 *              ATTACHED -> BRANCH_LOOK -> BRANCH -> STAGE_BEGIN                      [FULL]
 * Failure.     What the store says; branch_failed in the status, so that the owner stops and tells.
 * Limits.      LOOK_RECORDS records and LOOK_BYTES of journal are looked at for the report.
 */
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/repl/follower.h"

#define LOOK_RECORDS 4096u
#define LOOK_BYTES (256ull << 20)

static void branch_look(struct repl_follower *f);

bool branch_is_needed(const struct repl_follower *f, struct lsn common, uint64_t common_epoch,
		      uint64_t last_forced_epoch)
{
	struct replica_status st;

	if (f->replica == NULL || f->purpose != REPL_STREAM)
		return false;
	replica_status(f->replica, &st);
	return common.v < st.tail.v && last_forced_epoch > common_epoch &&
	       f->mutant != REPL_MUTANT_CUT_FORCED;
}

bool branch_is_kept(const struct repl_follower *f)
{
	struct snapshot_info info;

	return f->mutant == REPL_MUTANT_NO_BRANCH || replica_branch_at_tail(f->replica, &info);
}

void branch_begin(struct repl_follower *f, struct lsn common)
{
	struct repl_follower_branch *b = &f->branch;
	struct replica_status st;

	replica_status(f->replica, &st);
	assert(st.durable.v == st.tail.v && common.v < st.tail.v);
	b->report = (struct repl_branch_report){.bytes = st.tail.v - common.v, .whole = true};
	b->tail = st.tail;
	b->spec.common = common;
	b->look.lsn = common;
	log_info(
		f->env->log, "repl",
		"group %s: a takeover was forced while this site was away: what lies beyond LSN %llu "
		"(%llu bytes) is kept as a branch before it follows %s",
		f->name, (unsigned long long)common.v, (unsigned long long)b->report.bytes,
		f->peer_name);
	f->phase = FOLLOWER_BRANCH_LOOK;
	branch_look(f);
}

/* The journal of the fork, for the report: it goes with the copy. */
static void branch_look(struct repl_follower *f)
{
	struct repl_follower_branch *b = &f->branch;

	if (b->look.lsn.v < b->tail.v && b->records < LOOK_RECORDS &&
	    b->look.lsn.v - b->spec.common.v < LOOK_BYTES) {
		follower_store_arm(f, &b->look.done);
		replica_journal_read(f->replica, &b->look);
		return;
	}
	b->report.whole = b->report.whole && b->look.lsn.v >= b->tail.v;
	b->spec.time = clock_wall(f->env->clock);
	f->phase = FOLLOWER_BRANCH;
	follower_store_arm(f, &b->spec.done);
	replica_branch(f->replica, &b->spec);
}

void branch_looked(struct repl_follower *f, int rc)
{
	struct repl_follower_branch *b = &f->branch;
	struct record *rec = b->look.record;

	if (rc < 0) { /* trimmed, damaged, no memory: the report is of less, the branch is not */
		b->report.whole = false;
		b->records = LOOK_RECORDS;
		branch_look(f);
		return;
	}
	if (b->records++ == 0)
		b->report.first = rec->view.wall;
	b->report.last = rec->view.wall;
	b->report.ranges += rec->view.extent_count;
	b->look.lsn = rec->view.end;
	record_unref(&b->look.record);
	branch_look(f);
}

void branch_made(struct repl_follower *f, int rc)
{
	struct repl_follower_branch *b = &f->branch;

	if (rc < 0) {
		b->failed = true; /* B3 */
		follower_fail(f, rc, "keeping as a branch what only this site has");
		return;
	}
	b->report.made = true;
	memcpy(b->report.name, b->spec.name, sizeof(b->report.name));
	op_wake(f->wake);
	if (b->full) {
		stage_go_on(f, b->full_begin);
		return;
	}
	follower_want_full(f);
}
