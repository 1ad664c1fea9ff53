/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/source.c
 * Purpose.     Send one group to one peer: find the last common LSN, choose between the journal's
 *              tail and a full copy, then stream (tail.c) and copy (base.c).
 * Invariants.  S1  The last common epoch is the last entry that both tables have with equal number,
 *                  site, incarnation and first LSN.  Only that incarnation wrote it, so what the
 *                  two sides hold of it are prefixes of each other: the last common LSN is the
 *                  smaller of the two ends.  The follower checks it against its own chain before it
 *                  cuts.
 *              S2  A record is sent once in a group session, in LSN order without a gap: `next` is
 *                  the end of the last one sent, whichever way it came (memory or journal).
 *              S3  Nothing is sent after START or FULL before the follower's first ACK: it has cut,
 *                  or made its staging replica, so no frame has to wait in the shared connection.
 *              S4  Base.  While there are no snapshots the copy is fuzzy: blocks are read at any
 *                  moment after the base's LSN s = commit at its begin, so a block may hold what a
 *                  later committed record wrote.  All records from s on are streamed, too; writing
 *                  a block again with what such a record said is harmless, and the base never
 *                  replaces a block that a streamed record has written (the store decides that by
 *                  its masks). Hence the staging replica equals the source at every LSN >= E, where
 *                  E is the source's commit after the last block was read.  BASE_END carries E, and
 *                  the follower switches only when its staging journal is durable and committed up
 *                  to E. At LSNs below E it is no consistent point, which is why nobody may see it
 *                  then. This takes the place of "one pinned LSN" (QUORUM J8).
 *                  The same holds when the follower asks for what differs (COMPARE): it gets blocks read
 *                  after s, asks for the end, and E is the commit then (compare.c, walk.c).
 *              S5  durable is what the follower said in this group session, 0 while it is staging
 *                  (J3).
 * States.      COMMON -> STARTED [source_decide]        COMMON -> BASE_CHAIN [source_begin_base]
 *              STARTED -> SENDING [first ACK]           STARTED -> BASE_CHAIN [WANT_FULL]
 *              BASE_CHAIN -> BASED [source_send_full]   BASED -> SENDING [first ACK]
 *              any -> ENDED [source_fail, source_session_ended, FETCH_END]
 * Ownership.   Holds references on up to SOURCE_RING records; the replica must outlive the source,
 *              and a closed source lives until its reads have ended (repl_close waits for it).
 * Failure.     Store errors and a trimmed journal end in FAILED and a STOP; the follower attaches
 *              anew.
 * Limits.      SOURCE_WINDOW_BYTES in flight, less if the follower asks for less.
 */
#include "engine/repl/source.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"

_Static_assert(FRAME_EPOCHS_MAX == EPOCHS_MAX, "the table of epochs fits its frame");

static void source_step(struct op *op);
static void source_find_common(struct repl_source *s);
static void source_decide(struct repl_source *s);
static void source_read_chain(struct repl_source *s, struct lsn lsn);
static void source_chain_read(struct repl_source *s);
static void source_send_start(struct repl_source *s, uint64_t chain);
static void source_begin_base(struct repl_source *s);
static void source_fill_full(struct repl_source *s, const struct replica_status *st);
static void source_send_full(struct repl_source *s, uint64_t chain);
static void source_begin_sending(struct repl_source *s);
static int source_ack(struct repl_source *s, const struct conn_frame *f);
static void source_free(struct repl_source *s);
static void source_end(struct repl_source *s, enum repl_state state, int rc);

int repl_source_open(struct repl *r, const struct repl_source_spec *spec,
		     struct repl_source **ret_source)
{
	struct attach_pending *a = NULL;
	struct replica_status st;
	struct repl_source *s;
	struct repl_peer *p = NULL;

	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].opts.site == spec->attach.site)
			p = &r->peers[i];
	if (p == NULL || p->state != PEER_UP || p->session != spec->attach.session)
		return -ERR_CLOSED;
	LIST_FOR_EACH(link, &p->attaches) {
		struct attach_pending *x = container_of(link, struct attach_pending, link);

		if (x->attach.ticket == spec->attach.ticket)
			a = x;
	}
	if (a == NULL)
		return -ERR_CLOSED;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ERR_NOMEM;
	list_remove(&a->link);
	p->attach_count--;
	s->repl = r;
	s->env = r->env;
	s->wake = spec->wake;
	s->epoch = spec->epoch;
	s->purpose = a->attach.purpose;
	if (s->purpose == REPL_FETCH)
		s->epoch.number = a->attach.epoch_number;
	s->at_commit = spec->at_commit && s->purpose == REPL_STREAM;
	s->replica = spec->replica;
	s->mutant = spec->mutant;
	s->attach = a;
	s->incarnation = a->attach.incarnation;
	s->pair_session = p->session;
	s->pin.v = UINT64_MAX;
	s->state = REPL_ATTACHING;
	s->phase = SOURCE_COMMON;
	s->last_ack = clock_now(r->env->clock);
	s->window_bytes = a->body.window_bytes;
	if (s->window_bytes < (2u << 20))
		s->window_bytes = 2u << 20;
	if (s->window_bytes > SOURCE_WINDOW_BYTES)
		s->window_bytes = SOURCE_WINDOW_BYTES;
	replica_status(s->replica, &st);
	s->commit = st.commit;
	op_init(&s->op, r->env->ready, source_step);
	s->member.group_session = a->group_session;
	s->member.group = a->attach.group;
	s->member.op = &s->op;
	list_link_init(&s->member.life);
	list_push_back(&r->all_sources, &s->member.life);
	peer_add_source(p, &s->member);
	source_find_common(s);
	op_wake(&s->op);
	*ret_source = s;
	return 0;
}

void repl_source_record(struct repl_source *s, struct record *rec)
{
	uint32_t at;

	if (s->phase == SOURCE_ENDED || s->closing)
		return;
	if (s->ring_count > 0) {
		const struct record *last =
			s->ring[(s->ring_begin + s->ring_count - 1) % SOURCE_RING];

		assert(last->view.end.v == rec->view.begin.v); /* in order */
	}
	if (s->ring_count == SOURCE_RING) { /* it will be read back from the journal */
		s->ring_bytes -= record_bytes_all(s->ring[s->ring_begin]);
		record_unref(&s->ring[s->ring_begin]);
		s->ring_begin = (s->ring_begin + 1) % SOURCE_RING;
		s->ring_count--;
	}
	at = (s->ring_begin + s->ring_count++) % SOURCE_RING;
	s->ring[at] = record_ref(rec);
	s->ring_bytes += record_bytes_all(rec);
	op_wake(&s->op);
}

void repl_source_commit(struct repl_source *s, struct lsn commit)
{
	if (commit.v <= s->commit.v)
		return;
	s->commit = commit;
	op_wake(&s->op);
}

/* At the rate at which the copy has got on so far. */
static uint64_t source_left_ns(const struct repl_source *s)
{
	uint64_t took = clock_now(s->env->clock).v - s->copy_begun.v;
	double part = s->compare != NULL ? compare_part(s->compare)
		      : s->base != NULL	 ? base_part(s->base)
					 : 0;

	return part > 0.01 && part < 1 ? (uint64_t)((double)took * (1 - part) / part) : 0;
}

void repl_source_status(const struct repl_source *s, struct repl_source_status *ret)
{
	*ret = (struct repl_source_status){
		.state = s->state,
		.rc = s->rc,
		.durable = s->durable,
		.received = s->received,
		.sent = s->next,
		.base_bytes_left = s->base != NULL	? base_bytes_left(s->base)
				   : s->compare != NULL ? compare_bytes_left(s->compare)
							: 0,
		.base_left_ns = source_left_ns(s),
		.rung = s->rung,
		.why = s->why != NULL ? s->why : "",
		.sent_bytes = s->sent_bytes,
		.last_ack = s->last_ack,
		.incarnation = s->incarnation,
		.pair_session = s->pair_session,
	};
}

void repl_source_close(struct repl_source **source)
{
	struct repl_source *s = *source;

	*source = NULL;
	if (s == NULL)
		return;
	if (s->phase != SOURCE_ENDED)
		member_send_stop(&s->member, FRAME_STOP, s->epoch.number, -ERR_CLOSED,
				 "the source was closed");
	source_end(s, REPL_CLOSED, -ERR_CLOSED);
	s->closing = true;
	op_wake(&s->op);
}

static void source_step(struct op *op)
{
	struct repl_source *s = container_of(op, struct repl_source, op);

	if (s->phase == SOURCE_COMMON && !s->decided) {
		s->decided = true;
		source_decide(s);
	}
	if (s->chain_flying && (op->waits & SOURCE_BIT_CHAIN) == 0) {
		s->chain_flying = false;
		source_chain_read(s);
	}
	if (s->phase == SOURCE_SENDING)
		tail_pump(s);
	if (s->phase == SOURCE_SENDING && s->base != NULL)
		base_room(s->base);
	if (s->phase == SOURCE_SENDING && s->compare != NULL)
		compare_room(s->compare);
	if (s->phase != SOURCE_ENDED)
		return; /* wait: the follower, records, reads, the timer */
	if (s->read_flying && (op->waits & SOURCE_BIT_READ) == 0) {
		s->read_flying = false;
		if (s->read.done.rc == 0)
			record_unref(&s->read.record);
	}
	if (!s->closing || op->waits != 0 || (s->base != NULL && !base_is_idle(s->base)) ||
	    (s->compare != NULL && !compare_is_idle(s->compare)))
		return; /* wait: what is in flight, close */
	source_free(s);
}

static void source_free(struct repl_source *s)
{
	struct repl *r = s->repl;

	base_free(&s->base);
	compare_free(&s->compare);
	tail_release(s);
	list_remove(&s->member.life);
	op_unqueue(&s->op);
	free(s->attach);
	free(s->full);
	free(s);
	if (r->closing)
		op_wake(&r->op);
}

/* --- the common point --- */

static struct lsn epoch_end(const struct frame_epoch *e, uint32_t i, uint32_t count,
			    struct lsn tail)
{
	return i + 1 < count ? e[i + 1].first : tail;
}

static bool epoch_same(const struct frame_epoch *a, const struct frame_epoch *b)
{
	return a->epoch.number == b->epoch.number && a->epoch.site == b->epoch.site &&
	       a->epoch.incarnation == b->epoch.incarnation && a->first.v == b->first.v;
}

static uint32_t source_epochs(const struct repl_source *s, struct frame_epoch *ret)
{
	struct epoch_entry own[EPOCHS_MAX];
	uint32_t count = replica_epochs(s->replica, own, EPOCHS_MAX);

	for (uint32_t i = 0; i < count; i++)
		ret[i] = (struct frame_epoch){.epoch = own[i].epoch, .first = own[i].first};
	return count;
}

/* S1.  Without a common entry the histories part at 0, if both tables reach back to it. */
static void source_find_common(struct repl_source *s)
{
	const struct frame_attach *a = &s->attach->body;
	struct frame_epoch own[EPOCHS_MAX];
	uint32_t count = source_epochs(s, own);
	struct replica_status st;

	replica_status(s->replica, &st);
	for (uint32_t i = count; i-- > 0;)
		for (uint32_t j = a->epoch_count; j-- > 0;) {
			if (!epoch_same(&own[i], &a->epochs[j]))
				continue;
			s->common = lsn_min(epoch_end(own, i, count, st.tail),
					    epoch_end(a->epochs, j, a->epoch_count, a->tail));
			s->common_epoch = own[i].epoch.number;
			s->common_first = own[i].first;
			s->common_known = true;
			return;
		}
	s->common.v = 0;
	s->common_known = (count == 0 || own[0].first.v == 0) &&
			  (a->epoch_count == 0 || a->epochs[0].first.v == 0);
	if (!a->known || a->tail.v == 0)
		s->common_known = true; /* it has nothing: nothing can be forked */
}

/* First step: is the tail enough? */
static void source_decide(struct repl_source *s)
{
	struct replica_status st;

	replica_status(s->replica, &st);
	if (s->common.v < st.trim.v || !s->common_known) {
		s->why = s->common_known
				 ? "the journal does not reach back to the last common write"
				 : "no common history is known";
		source_begin_base(s);
		return;
	}
	s->next = s->common;
	s->pin = s->common;
	repl_pin(s->repl, s->replica);
	if (s->common.v == 0)
		source_send_start(s, 0);
	else if (s->common.v == st.tail.v)
		source_send_start(s, st.tail_chain);
	else
		source_read_chain(s, s->common);
}

static void source_read_chain(struct repl_source *s, struct lsn lsn)
{
	assert(!s->chain_flying);
	s->chain.lsn = lsn;
	s->chain_flying = true;
	completion_arm(&s->chain.done, &s->op, SOURCE_BIT_CHAIN);
	replica_chain_at(s->replica, &s->chain);
}

static void source_chain_read(struct repl_source *s)
{
	int rc = s->chain.done.rc;

	if (s->phase == SOURCE_ENDED)
		return;
	if (s->phase == SOURCE_BASE_CHAIN) {
		if (rc < 0)
			source_fail(s, rc, "reading the chain at the base's LSN");
		else
			source_send_full(s, s->chain.chain);
		return;
	}
	assert(s->phase == SOURCE_COMMON);
	if (rc == -ERR_TRIMMED || rc == -ERR_INVALID) {
		s->why = "the histories part where the journal has no record's end";
		source_begin_base(s); /* no boundary there: the follower's J7 check decides */
	} else if (rc < 0)
		source_fail(s, rc, "reading the chain at the last common LSN");
	else
		source_send_start(s, s->chain.chain);
}

static void source_send_start(struct repl_source *s, uint64_t chain)
{
	struct replica_status st;
	struct frame_start m;
	struct frame_header h;
	uint8_t head[FRAME_START_BYTES];

	replica_status(s->replica, &st);
	m = (struct frame_start){
		.epoch = s->epoch,
		.chain = chain,
		.common_epoch = s->common_epoch,
		.common_first = s->common_first,
		.last_forced_epoch = st.last_forced_epoch,
		.head = s->purpose == REPL_FETCH ? st.durable : tail_head(s, &st),
	};
	s->phase = SOURCE_STARTED;
	member_header(&s->member, FRAME_START, s->epoch.number, s->common, &h);
	if (member_send(&s->member, FRAME_CONN_DATA, &h, head, frame_start_encode(head, &m)) < 0)
		source_fail(s, -ERR_BUSY, "sending START");
}

/* --- the full copy --- */

static void source_begin_base(struct repl_source *s)
{
	struct replica_status st;

	if (s->purpose == REPL_FETCH) {
		source_fail(s, -ERR_TRIMMED, "a fetch from below the journal");
		return;
	}
	replica_status(s->replica, &st);
	s->full = calloc(1, sizeof(*s->full));
	if (s->full == NULL) {
		source_fail(s, -ERR_NOMEM, "beginning a full copy");
		return;
	}
	s->phase = SOURCE_BASE_CHAIN;
	s->base_lsn = s->next = st.commit; /* S4: s */
	s->pin = s->base_lsn;
	repl_pin(s->repl, s->replica);
	source_fill_full(s, &st);
	if (s->base_lsn.v == 0)
		source_send_full(s, 0);
	else if (s->base_lsn.v == st.tail.v)
		source_send_full(s, st.tail_chain);
	else
		source_read_chain(s, s->base_lsn);
}

/* Epochs and volumes as of s, at the same moment as s was taken. */
static void source_fill_full(struct repl_source *s, const struct replica_status *st)
{
	struct frame_full *m = s->full;
	struct frame_epoch own[EPOCHS_MAX];
	uint32_t count = source_epochs(s, own);
	struct replica_volume *v = calloc(VOLUMES_MAX, sizeof(*v));

	m->epoch = s->epoch;
	m->common_known = s->common_known;
	m->common = s->common;
	m->common_epoch = s->common_epoch;
	m->last_forced_epoch = st->last_forced_epoch;
	m->content_generation = st->content_generation;
	m->head = tail_head(s, st);
	for (uint32_t i = 0; i < count && own[i].first.v < s->base_lsn.v; i++)
		m->epochs[m->epoch_count++] = own[i];
	if (v == NULL) {
		source_fail(s, -ERR_NOMEM, "beginning a full copy");
		return;
	}
	m->volume_count = replica_volumes(s->replica, v, VOLUMES_MAX);
	assert(m->volume_count <= VOLUMES_MAX);
	for (uint32_t i = 0; i < m->volume_count; i++) {
		struct frame_volume *f = &m->volumes[i];

		f->slot = v[i].slot;
		f->deleted = v[i].deleted;
		f->uuid = v[i].uuid;
		f->bytes = v[i].bytes;
		f->used_bytes = v[i].used_bytes;
		f->block_bytes = v[i].block_bytes;
		memcpy(f->name, v[i].name, sizeof(f->name));
		if (!f->deleted)
			m->base_bytes += f->used_bytes;
	}
	free(v);
}

static void source_send_full(struct repl_source *s, uint64_t chain)
{
	uint8_t *head;
	struct frame_header h;
	int rc;

	if (s->phase != SOURCE_BASE_CHAIN)
		return; /* it failed meanwhile */
	s->full->chain = chain;
	head = malloc(FRAME_FULL_BYTES_MAX);
	if (head == NULL) {
		source_fail(s, -ERR_NOMEM, "sending FULL");
		return;
	}
	s->phase = SOURCE_BASED;
	s->state = REPL_STAGING;
	member_header(&s->member, FRAME_FULL, s->epoch.number, s->base_lsn, &h);
	rc = member_send(&s->member, FRAME_CONN_DATA, &h, head, frame_full_encode(head, s->full));
	free(head);
	if (rc < 0)
		source_fail(s, -ERR_BUSY, "sending FULL");
	else
		log_info(s->env->log, "repl", "copy to %s begins at LSN %llu, of %llu MiB: %s",
			 s->member.peer->opts.name, (unsigned long long)s->base_lsn.v,
			 (unsigned long long)(s->full->base_bytes >> 20),
			 s->why != NULL ? s->why : "");
	op_wake(s->wake);
}

/* --- frames of the follower --- */

int source_frame(struct repl_member *m, const struct conn_frame *f)
{
	struct repl_source *s = container_of(m, struct repl_source, member);
	struct frame_refuse why = {.rc = -ERR_CLOSED};
	uint64_t bytes;

	if (s->phase == SOURCE_ENDED)
		return 0;
	switch ((uint32_t)f->h.kind) {
	case FRAME_ACK:
		return source_ack(s, f);
	case FRAME_WANT_FULL:
		if (s->phase != SOURCE_STARTED)
			return -ERR_PROTOCOL;
		s->why = "the follower asked for a copy";
		s->common = s->common_first; /* surely common only up to there */
		source_begin_base(s);
		return 0;
	case FRAME_COMPARE:
		if (s->phase != SOURCE_BASED ||
		    frame_number_decode(f->head, f->h.head_bytes, &bytes) < 0)
			return -ERR_PROTOCOL;
		s->compares = true;
		return 0;
	case FRAME_COMPARE_ASK:
		if (s->phase == SOURCE_BASED || s->phase == SOURCE_BASE_CHAIN)
			return -ERR_AGAIN; /* it has overtaken the first ACK on another connection */
		return s->compare != NULL ? compare_asked(s->compare, f) : -ERR_PROTOCOL;
	case FRAME_BASE_ACK:
		if (frame_number_decode(f->head, f->h.head_bytes, &bytes) < 0)
			return -ERR_PROTOCOL;
		if (s->base != NULL)
			base_acked(s->base, bytes);
		return 0;
	case FRAME_DETACH:
		if (frame_refuse_decode(f->head, f->h.head_bytes, &why) < 0)
			why.rc = -ERR_PROTOCOL;
		if (why.rc == 0 || why.rc == -ERR_CLOSED)
			source_end(s, REPL_CLOSED, -ERR_CLOSED);
		else
			source_end(s, REPL_FAILED, why.rc);
		return 0;
	default:
		return -ERR_PROTOCOL;
	}
}

static int source_ack(struct repl_source *s, const struct conn_frame *f)
{
	struct frame_ack m;

	if (frame_ack_decode(f->head, f->h.head_bytes, &m) < 0 || f->h.epoch != s->epoch.number)
		return -ERR_PROTOCOL;
	if (s->phase == SOURCE_COMMON || s->phase == SOURCE_BASE_CHAIN)
		return -ERR_PROTOCOL;
	if (s->phase == SOURCE_STARTED || s->phase == SOURCE_BASED) {
		if (m.staging != (s->phase == SOURCE_BASED) ||
		    m.received.v != (s->purpose == REPL_FETCH ? m.received.v : s->next.v))
			return -ERR_PROTOCOL;
		source_begin_sending(s);
		if (s->phase == SOURCE_ENDED)
			return 0;
	}
	if (s->purpose == REPL_STREAM && m.received.v > s->next.v)
		return -ERR_PROTOCOL;
	s->last_ack = clock_now(s->env->clock);
	s->received = m.received;
	if (!m.staging || s->mutant == REPL_MUTANT_ACK_WHILE_STAGING)
		s->durable = m.durable; /* S5 */
	if (!m.staging && s->state == REPL_STAGING)
		s->state = REPL_CATCHING_UP; /* it has switched */
	op_wake(&s->op);
	op_wake(s->wake);
	return 0;
}

/* S3: the follower is ready. */
static void source_begin_sending(struct repl_source *s)
{
	bool full = s->phase == SOURCE_BASED;
	int rc;

	s->phase = SOURCE_SENDING;
	s->fetch_end.v = UINT64_MAX;
	/* A fetch is for more of the same history (J4): from a fork nothing is taken. */
	if (s->purpose == REPL_FETCH && s->common.v < s->attach->body.tail.v)
		s->fetch_end = s->common;
	if (full) {
		rc = s->compares ? compare_open(s, &s->compare) : base_open(s, &s->base);
		if (rc < 0) {
			source_fail(s, rc, "beginning a copy");
			return;
		}
		s->copy_begun = clock_now(s->env->clock);
		s->rung = s->compares ? REPL_RUNG_COMPARE : REPL_RUNG_FULL;
	} else {
		s->rung = REPL_RUNG_JOURNAL;
		s->state = REPL_CATCHING_UP;
	}
	free(s->attach);
	s->attach = NULL;
}

/* --- the end --- */

static void source_end(struct repl_source *s, enum repl_state state, int rc)
{
	if (s->phase == SOURCE_ENDED)
		return;
	s->phase = SOURCE_ENDED;
	s->state = state;
	s->rc = rc;
	s->pin.v = UINT64_MAX;
	repl_pin(s->repl, s->replica);
	if (s->base != NULL)
		base_stop(s->base);
	if (s->compare != NULL)
		compare_stop(s->compare);
	tail_release(s);
	if (timer_armed(&s->timer))
		clock_timer_disarm(s->env->clock, &s->timer);
	peer_remove(&s->member);
	op_wake(&s->op);
	op_wake(s->wake);
}

void source_fail(struct repl_source *s, int rc, const char *what)
{
	char group[UUID_TEXT_BYTES];

	if (s->phase == SOURCE_ENDED)
		return;
	uuid_format(&s->member.group, group);
	log_warn(s->env->log, "repl", "sending group %s to %s: %s: %s; it must attach anew", group,
		 s->member.peer != NULL ? s->member.peer->opts.name : "a peer", what, err_text(rc));
	member_send_stop(&s->member, FRAME_STOP, s->epoch.number, rc, what);
	source_end(s, REPL_FAILED, rc);
}

void source_session_ended(struct repl_member *m)
{
	struct repl_source *s = container_of(m, struct repl_source, member);

	source_end(s, REPL_CLOSED, -ERR_CLOSED);
}

void source_abandon_all(struct repl *r)
{
	LIST_FOR_EACH_SAFE(link, &r->all_sources) {
		struct repl_member *m = container_of(link, struct repl_member, life);
		struct repl_source *s = container_of(m, struct repl_source, member);

		base_abandon(&s->base);
		compare_abandon(&s->compare);
		free(s->attach);
		free(s->full);
		free(s);
	}
}

/* One pin per replica: the lowest of its sources. */
void repl_pin(struct repl *r, struct replica *replica)
{
	struct lsn pin = {.v = UINT64_MAX};

	LIST_FOR_EACH(link, &r->all_sources) {
		struct repl_member *m = container_of(link, struct repl_member, life);
		struct repl_source *s = container_of(m, struct repl_source, member);

		if (s->replica == replica && s->phase != SOURCE_ENDED)
			pin = lsn_min(pin, s->pin);
	}
	replica_pin(replica, pin);
}
