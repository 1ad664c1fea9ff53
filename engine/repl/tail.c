/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/tail.c
 * Purpose.     Records of a source in LSN order: from memory when the follower is near the head,
 *              read back from the journal when it is not, and from one to the other without a gap.
 * Invariants.  T1  The ring holds consecutive records, the newest ones; what falls out of it is
 *                  durable here (or will be) and is then read from the journal.
 *              T2  A record is sent when it begins at `next`, wherever it comes from; one in the
 *                  ring that begins below `next` was read from the journal and is dropped.  Thus
 *                  S2.
 *              T3  A record is read only below `durable`; the records that are not durable yet are
 *                  all in the ring, unless they were appended before the source was opened: for
 *                  those `durable` is looked at every POLL_NS.
 *              T4  The ring does not starve the pool it shares with the writers: durable records
 *                  are kept only within small bounds.
 *              T5  A commit that only records carried is told again on link when no ACK comes: those
 *                  records may wait behind a full journal or an empty pool of bufs at the follower,
 *                  which needs that very commit to make room.
 *              T6  An async follower (QUORUM J11) is sent what is committed here, nothing beyond: whoever is
 *                  primary next has it, too.
 *              T7  An async follower keeps the journal only up to its quota: then it gives way, before a
 *                  sync one's pin is broken; what it lacks is copied when the journal is gone.
 * Failure.     -ERR_TRIMMED (the pin was broken) and bad records fail the source.
 * Limits.      SOURCE_RING records; one read in flight (where the next begins is known only then).
 */
#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/repl/source.h"

#define RING_DURABLE_COUNT 64u
#define RING_DURABLE_BYTES (4u << 20)
#define POOL_FREE_MIN 32u
#define POLL_NS (5 * MS_NS)
#define TELL_NS (20 * MS_NS)
#define STUCK_NS (50 * MS_NS)
#define PIN_STEP_BYTES (1u << 20)

static void tail_read_done(struct repl_source *s);
static bool tail_send_next(struct repl_source *s);
static struct lsn tail_limit(const struct repl_source *s);
static int tail_send(struct repl_source *s, struct record *rec);
static void tail_ring_drop(struct repl_source *s);
static void tail_ring_trim(struct repl_source *s, struct lsn durable);
static void tail_read(struct repl_source *s, struct lsn durable);
static bool tail_window_open(const struct repl_source *s);
static bool tail_end_fetch(struct repl_source *s, struct lsn durable);
static void tail_tell(struct repl_source *s, struct lsn head, bool now);
static bool tail_may_be_stuck(const struct repl_source *s);
static void tail_pin(struct repl_source *s, struct lsn head);
static void tail_arm(struct repl_source *s, struct lsn head);

uint64_t record_bytes_all(const struct record *rec)
{
	return RECORD_HEADER_BYTES + (uint64_t)rec->view.payload_blocks * BLOCK_BYTES;
}

void tail_pump(struct repl_source *s)
{
	struct replica_status st;
	struct lsn head;

	if (s->read_flying && (s->op.waits & SOURCE_BIT_READ) == 0)
		tail_read_done(s);
	if ((s->op.waits & SOURCE_BIT_TIMER) == 0)
		s->timer_running = false;
	if (s->phase != SOURCE_SENDING || s->state == REPL_DONE)
		return; /* the read failed; or a fetch that is over */
	replica_status(s->replica, &st);
	if (s->purpose == REPL_FETCH)
		s->commit = lsn_max(s->commit, st.commit);
	while (s->next.v < s->fetch_end.v && tail_send_next(s))
		;
	if (s->member.peer == NULL)
		return;
	tail_ring_trim(s, st.durable);
	if (s->purpose == REPL_FETCH && tail_end_fetch(s, st.durable))
		return;
	tail_read(s, lsn_min(st.durable, tail_limit(s)));
	head = tail_head(s, &st);
	if (s->state == REPL_CATCHING_UP && s->next.v >= head.v) {
		s->state = REPL_STREAMING;
		op_wake(s->wake);
		tail_tell(s, head, true);
	}
	tail_tell(s, head, !s->told_once);
	tail_pin(s, st.tail);
	tail_arm(s, head);
}

static void tail_read_done(struct repl_source *s)
{
	int rc = s->read.done.rc;

	s->read_flying = false;
	if (rc == 0) {
		s->read_record = s->read.record;
		s->read.record = NULL;
		assert(s->read_record->view.begin.v == s->next.v); /* T2 */
	} else if (rc != -ERR_RANGE && rc != -ERR_POOL_EMPTY && rc != -ERR_AGAIN) {
		source_fail(s, rc, "reading the journal");
	}
}

/* Send the record that begins at next, if it is in memory: true if it went. */
static bool tail_send_next(struct repl_source *s)
{
	struct record *rec = NULL;

	while (s->ring_count > 0 && s->ring[s->ring_begin]->view.begin.v < s->next.v)
		tail_ring_drop(s); /* T2 */
	if (s->read_record != NULL)
		rec = s->read_record;
	else if (s->ring_count > 0 && s->ring[s->ring_begin]->view.begin.v == s->next.v)
		rec = s->ring[s->ring_begin];
	if (rec == NULL || s->read_flying || !tail_window_open(s) ||
	    rec->view.end.v > tail_limit(s).v)
		return false;
	if (tail_send(s, rec) < 0)
		return false;
	if (rec == s->read_record)
		record_unref(&s->read_record);
	else
		tail_ring_drop(s);
	return true;
}

/* T6: the end of what may be sent. */
static struct lsn tail_limit(const struct repl_source *s)
{
	bool held = s->at_commit && s->repl->opts.mutant != REPL_MUTANT_BEYOND_COMMIT;

	return held ? s->commit : (struct lsn){UINT64_MAX};
}

struct lsn tail_head(const struct repl_source *s, const struct replica_status *st)
{
	return lsn_min(st->tail, tail_limit(s));
}

static int tail_send(struct repl_source *s, struct record *rec)
{
	uint64_t bytes = rec->view.logical_bytes + (uint64_t)rec->view.payload_blocks * BLOCK_BYTES;
	struct frame_header h;
	int rc;

	if (s->member.peer == NULL)
		return -ERR_CLOSED;
	assert(rec->view.end.v <= tail_limit(s).v); /* T6 */
	member_header(&s->member, FRAME_RECORD, s->epoch.number, s->commit, &h);
	rc = conn_send_record(s->member.peer->conns[FRAME_CONN_DATA], &h, rec);
	if (rc < 0) {
		s->member.wants_room = true;
		return rc;
	}
	s->next = rec->view.end; /* S2 */
	s->commit_told = s->commit;
	s->tell_at.v = 0;
	s->sent_bytes += bytes;
	counter_add(s->env->counters, CTR_REPL_RECORD_BYTES, bytes);
	return 0;
}

static bool tail_window_open(const struct repl_source *s)
{
	return s->next.v <= s->received.v || s->next.v - s->received.v < s->window_bytes;
}

static void tail_ring_drop(struct repl_source *s)
{
	s->ring_bytes -= record_bytes_all(s->ring[s->ring_begin]);
	record_unref(&s->ring[s->ring_begin]);
	s->ring_begin = (s->ring_begin + 1) % SOURCE_RING;
	s->ring_count--;
}

/* T4 */
static void tail_ring_trim(struct repl_source *s, struct lsn durable)
{
	while (s->ring_count > 0) {
		const struct record *oldest = s->ring[s->ring_begin];

		if (oldest->view.end.v > durable.v)
			return;
		if (s->ring_count <= RING_DURABLE_COUNT && s->ring_bytes <= RING_DURABLE_BYTES &&
		    record_pool_free_count(oldest->pool) >= POOL_FREE_MIN)
			return;
		tail_ring_drop(s);
	}
}

static void tail_read(struct repl_source *s, struct lsn durable)
{
	if (s->read_flying || s->read_record != NULL || !tail_window_open(s))
		return;
	if (s->next.v >= durable.v || s->next.v >= s->fetch_end.v)
		return; /* T3 */
	if (s->ring_count > 0 && s->ring[s->ring_begin]->view.begin.v <= s->next.v)
		return; /* it is in memory, and waits for room */
	s->read.lsn = s->next;
	s->read.record = NULL;
	s->read_flying = true;
	completion_arm(&s->read.done, &s->op, SOURCE_BIT_READ);
	replica_journal_read(s->replica, &s->read);
}

/* All that is durable here was sent: true if FETCH_END went, too. */
static bool tail_end_fetch(struct repl_source *s, struct lsn durable)
{
	struct lsn end = lsn_min(durable, s->fetch_end);
	uint8_t head[FRAME_NUMBER_BYTES];
	struct frame_header h;

	if (s->next.v < end.v || s->read_flying || s->read_record != NULL)
		return false;
	member_header(&s->member, FRAME_FETCH_END, s->epoch.number, s->next, &h);
	if (member_send(&s->member, FRAME_CONN_DATA, &h, head,
			frame_number_encode(head, s->commit.v)) < 0)
		return false; /* wait: room */
	s->fetch_end = s->next;
	s->state = REPL_DONE;
	op_wake(s->wake);
	return true;
}

static bool tail_may_be_stuck(const struct repl_source *s)
{
	return s->commit.v > s->commit_linked.v && s->next.v > s->received.v;
}

/* Tell commit and head, now or (unless a record carries it) within TELL_NS. */
static void tail_tell(struct repl_source *s, struct lsn head, bool now)
{
	uint8_t head_bytes[FRAME_NUMBER_BYTES];
	struct mono_ns t = clock_now(s->env->clock);
	struct frame_header h;

	if (tail_may_be_stuck(s) && t.v - s->last_ack.v >= STUCK_NS)
		now = true; /* T5 */
	if (!now && s->commit.v <= s->commit_told.v)
		return;
	if (!now && s->tell_at.v == 0)
		s->tell_at.v = t.v + TELL_NS;
	if (!now && t.v < s->tell_at.v)
		return; /* wait: the timer */
	member_header(&s->member, FRAME_COMMIT, s->epoch.number, s->commit, &h);
	if (member_send(&s->member, FRAME_CONN_LINK, &h, head_bytes,
			frame_number_encode(head_bytes, head.v)) < 0)
		return;
	s->told_once = true;
	s->commit_told = s->commit_linked = s->commit;
	s->tell_at.v = 0;
}

/* While there is something to read back, keep it. */
static void tail_pin(struct repl_source *s, struct lsn head)
{
	struct lsn pin = {.v = UINT64_MAX};

	if (s->next.v < head.v)
		pin = s->next;
	if (s->at_commit && head.v - s->next.v > replica_pin_quota_bytes(s->replica))
		pin.v = UINT64_MAX; /* T7 */
	if (pin.v == s->pin.v ||
	    (pin.v != UINT64_MAX && s->pin.v != UINT64_MAX && pin.v - s->pin.v < PIN_STEP_BYTES))
		return;
	s->pin = pin;
	repl_pin(s->repl, s->replica);
}

static void tail_arm(struct repl_source *s, struct lsn head)
{
	struct mono_ns now = clock_now(s->env->clock);
	bool polls = s->next.v < head.v && !s->read_flying && s->ring_count == 0;
	bool stuck = tail_may_be_stuck(s);

	if (s->timer_running || (!polls && !stuck && s->tell_at.v == 0))
		return;
	s->timer.deadline.v = s->tell_at.v != 0 ? s->tell_at.v : now.v + TELL_NS; /* T5 */
	if (polls)
		s->timer.deadline.v = now.v + POLL_NS; /* T3 */
	s->timer_running = true;
	completion_arm(&s->timer.done, &s->op, SOURCE_BIT_TIMER);
	clock_timer_arm(s->env->clock, &s->timer);
}

void tail_release(struct repl_source *s)
{
	while (s->ring_count > 0)
		tail_ring_drop(s);
	record_unref(&s->read_record);
}
