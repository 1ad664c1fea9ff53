/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/peer.c
 * Purpose.     One pair session after the other with one site: connect or be connected to, shake
 *              hands on all three connections, notice that the other side is gone, dispatch frames.
 * Invariants.  P1  In PEER_UP all three connections are shaken and carry one session number.
 *              P2  Session numbers of a peer only grow: made by the connector from its incarnation
 *                  and a counter; the acceptor refuses one it has seen and says which, so that a
 *                  site with a new disk finds a larger one.
 *              P3  The loss of any connection ends the session: members are told, all three go.
 *              P4  A frame of another session, or of a group session that is not known (it was
 *                  closed), has no effect.
 *              P5  A connection that we do not read ourselves (back-pressure) is never called
 *                  silent.
 * States.      IDLE -> CONNECTING [peer_connect, peer_take_hello]   CONNECTING -> UP
 *              [peer_check_up]
 *              CONNECTING | UP -> IDLE [peer_down]
 * Failure.     Everything ends in peer_down; the connector comes back after 100 ms, doubling to 1
 *              s.
 * Limits.      Attaches that wait: groups_max; frames per step: FRAMES_PER_STEP (then others run).
 */
#include "engine/repl/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"

enum { BIT_TIMER = 1 };

#define FRAMES_PER_STEP 64u
#define RETRY_MS_MIN 100u
#define RETRY_MS_MAX 1000u
#define CLOSE_LINGER_MS 100u
#define HANDSHAKE_NS (6 * SEC_NS)
/* An attempt that met a cut path is given up early: a fresh one gets through sooner. */
#define CONNECT_NS (1500 * MS_NS)
#define INCARNATION_SHIFT 20u /* steps of incarnations are 2^23 on average: 2^20 boots fit */

static void peer_step(struct op *op);
static void peer_tick(struct repl_peer *p);
static void peer_arm(struct repl_peer *p);
static void peer_connect(struct repl_peer *p);
static void peer_shake(struct repl_peer *p);
static bool peer_shake_one(struct repl_peer *p, uint32_t k);
static void peer_refused(struct repl_peer *p, const struct conn_frame *f);
static void peer_check_up(struct repl_peer *p);
static void peer_frames(struct repl_peer *p);
static int peer_dispatch(struct repl_peer *p, const struct conn_frame *f);
static int peer_attach(struct repl_peer *p, const struct conn_frame *f);
static void peer_detach(struct repl_peer *p, const struct conn_frame *f);
static void peer_room(struct repl_peer *p);
static struct repl_member *find_member(struct list *buckets, const struct frame_header *h);

void peer_init(struct repl_peer *p, struct repl *r, const struct repl_peer_opts *opts)
{
	p->repl = r;
	p->env = r->env;
	p->opts = *opts;
	p->connector = r->opts.site < opts->site;
	p->retry_ms = RETRY_MS_MIN;
	snprintf(p->error, sizeof(p->error), "not connected yet");
	op_init(&p->op, r->env->ready, peer_step);
	list_init(&p->followers);
	list_init(&p->sources);
	list_init(&p->attaches);
	repair_init(p);
	for (uint32_t i = 0; i < PEER_BUCKETS; i++) {
		list_init(&p->follower_buckets[i]);
		list_init(&p->source_buckets[i]);
	}
}

void peer_start(struct repl_peer *p)
{
	p->retry_at = clock_now(p->env->clock);
	op_wake(&p->op);
}

static void peer_step(struct op *op)
{
	struct repl_peer *p = container_of(op, struct repl_peer, op);

	if (p->timer_running && (op->waits & BIT_TIMER) == 0) {
		p->timer_running = false;
		peer_tick(p);
	}
	if (p->repl->closing) {
		op_wake(&p->repl->op);
		return; /* wait: for ever */
	}
	if (p->state == PEER_IDLE && p->connector && clock_now(p->env->clock).v >= p->retry_at.v)
		peer_connect(p);
	if (p->state == PEER_CONNECTING)
		peer_shake(p);
	if (p->state == PEER_UP)
		peer_frames(p);
	if (p->state == PEER_UP)
		peer_room(p);
	peer_arm(p);
	/* wait: frames, room, the tick */
}

static void peer_arm(struct repl_peer *p)
{
	uint64_t ns = p->repl->opts.drop_ms * MS_NS / 8;

	if (p->timer_running)
		return;
	if (ns < 5 * MS_NS)
		ns = 5 * MS_NS;
	if (ns > 100 * MS_NS)
		ns = 100 * MS_NS;
	p->timer.deadline.v = clock_now(p->env->clock).v + ns;
	p->timer_running = true;
	completion_arm(&p->timer.done, &p->op, BIT_TIMER);
	clock_timer_arm(p->env->clock, &p->timer);
}

/* Keepalives and silence.  A tick that comes late means that we slept, not the peer: then the
 * silence is judged at the next tick, when what has waited in the sockets was read. */
static void peer_tick(struct repl_peer *p)
{
	struct mono_ns now = clock_now(p->env->clock);
	uint64_t drop_ns = p->repl->opts.drop_ms * MS_NS;
	bool late = now.v > p->timer.deadline.v + drop_ns / 4;

	if (p->state == PEER_CONNECTING && now.v >= p->connect_deadline.v)
		peer_down(p, "the handshake did not end in time");
	if (p->state != PEER_UP)
		return;
	repair_tick(p, now);
	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++) {
		struct conn *c = p->conns[k];
		struct frame_header h = {.kind = FRAME_KEEPALIVE, .session = p->session};
		char text[96];

		if (now.v - conn_last_sent(c).v >= drop_ns / 4 &&
		    conn_send(c, &h, NULL, 0) == -ERR_NOMEM)
			return; /* a full queue or a broken connection needs none */
		if (late || conn_is_deferred(c)) /* P5 */
			continue;
		if (now.v - conn_last_heard(c).v > drop_ns) {
			snprintf(text, sizeof(text), "nothing was heard for %u ms",
				 (unsigned)((now.v - conn_last_heard(c).v) / MS_NS));
			peer_down(p, text);
			return;
		}
	}
}

/* --- the session begins --- */

static void peer_connect(struct repl_peer *p)
{
	struct repl *r = p->repl;
	uint64_t session = (r->opts.incarnation << INCARNATION_SHIFT) + ++r->sessions;

	if (session <= p->session_seen)
		session = p->session_seen + 1; /* P2 */
	p->session = p->session_seen = session;
	p->state = PEER_CONNECTING;
	p->connect_deadline.v = clock_now(p->env->clock).v + CONNECT_NS;
	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++) {
		p->hello_sent[k] = p->shaken[k] = false;
		p->conns[k] = conn_connect(p->env, &p->op, p->opts.address);
		if (p->conns[k] == NULL) {
			peer_down(p, "no memory for connections");
			return;
		}
	}
}

static void peer_shake(struct repl_peer *p)
{
	for (uint32_t k = 0; k < FRAME_CONN_COUNT && p->state == PEER_CONNECTING; k++) {
		struct conn *c = p->conns[k];

		if (c == NULL)
			continue; /* the other side has not connected it yet */
		if (conn_state(c) == CONN_BROKEN || conn_state(c) == CONN_CLOSED)
			peer_down(p, conn_text(c));
		else if (p->connector && conn_state(c) == CONN_OPEN && !peer_shake_one(p, k))
			return;
	}
	if (p->state == PEER_CONNECTING)
		peer_check_up(p);
}

/* The connector's side of one handshake: false when the session ended. */
static bool peer_shake_one(struct repl_peer *p, uint32_t k)
{
	struct frame_header h = {.kind = FRAME_HELLO, .session = p->session};
	uint8_t head[FRAME_HELLO_BYTES];
	struct frame_hello hello;
	struct conn_frame *f;

	if (!p->hello_sent[k]) {
		repl_hello(p->repl, (enum frame_conn)k, p->session, &hello);
		p->hello_sent[k] = true;
		if (conn_send(p->conns[k], &h, head, frame_hello_encode(head, &hello)) < 0)
			return true; /* it is broken: seen in the next step */
	}
	if (p->shaken[k])
		return true; /* what follows is for later: the others are not shaken yet */
	f = conn_frame(p->conns[k]);
	if (f == NULL)
		return true; /* wait: the answer */
	if (f->h.kind == FRAME_REFUSE) {
		peer_refused(p, f);
		return false;
	}
	if (f->h.kind != FRAME_HELLO_OK ||
	    frame_hello_decode(f->head, f->h.head_bytes, &hello) < 0 ||
	    hello.site != p->opts.site || hello.session != p->session ||
	    (uint32_t)hello.conn != k || hello.version_min < REPL_VERSION_MIN ||
	    hello.version_max > REPL_VERSION_MAX) {
		peer_down(p, "the answer to HELLO is not that of the configured peer");
		return false;
	}
	conn_consume(p->conns[k]);
	if (strcmp(hello.name, p->opts.name) != 0) {
		char text[FRAME_TEXT_BYTES_MAX + 1];

		repl_misnamed(text, sizeof(text), p->repl, p, hello.name);
		peer_down(p, text);
		return false;
	}
	conn_set_kind(p->conns[k], (enum frame_conn)k);
	p->store = hello.store;
	p->incarnation = hello.incarnation;
	p->features = hello.features;
	p->shaken[k] = true;
	return true;
}

static void peer_refused(struct repl_peer *p, const struct conn_frame *f)
{
	struct frame_refuse m;
	char text[128];

	if (frame_refuse_decode(f->head, f->h.head_bytes, &m) < 0)
		snprintf(text, sizeof(text), "refused, in a form that is not understood");
	else
		snprintf(text, sizeof(text), "%.120s", m.text);
	if (f->h.head_bytes >= 24 && m.session_seen > p->session_seen &&
	    m.session_seen < UINT64_MAX / 2)
		p->session_seen = m.session_seen; /* P2 */
	peer_down(p, text);
}

void peer_take_hello(struct repl_peer *p, struct conn **c, const struct frame_hello *hello)
{
	struct frame_header h = {.kind = FRAME_HELLO_OK, .session = hello->session};
	uint32_t k = (uint32_t)hello->conn;
	uint8_t head[FRAME_HELLO_BYTES];
	struct frame_hello answer;
	bool joins = p->state == PEER_CONNECTING && hello->session == p->session &&
		     p->conns[k] == NULL && uuid_equal(&hello->store, &p->store) &&
		     hello->incarnation == p->incarnation;

	if (!joins && hello->session <= p->session_seen) { /* P2 */
		repl_refuse(p->repl, c, p->session_seen, -ERR_STALE, "an older session");
		return;
	}
	if (!joins) {
		if (p->state != PEER_IDLE)
			peer_down(p, "the other side connected anew");
		p->session = p->session_seen = hello->session;
		p->state = PEER_CONNECTING;
		p->connect_deadline.v = clock_now(p->env->clock).v + HANDSHAKE_NS;
		p->store = hello->store;
		p->incarnation = hello->incarnation;
		memset(p->shaken, 0, sizeof(p->shaken));
	}
	p->features = hello->features;
	repl_hello(p->repl, hello->conn, hello->session, &answer);
	answer.version_min = answer.version_max =
		hello->version_max < REPL_VERSION_MAX ? hello->version_max : REPL_VERSION_MAX;
	if (conn_send(*c, &h, head, frame_hello_encode(head, &answer)) < 0) {
		repl_bury(p->repl, c, 0);
		return;
	}
	conn_set_kind(*c, hello->conn);
	conn_set_owner(*c, &p->op);
	p->conns[k] = *c;
	*c = NULL;
	p->shaken[k] = true;
	op_wake(&p->op);
}

static void peer_check_up(struct repl_peer *p)
{
	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++)
		if (!p->shaken[k])
			return;
	p->state = PEER_UP; /* P1 */
	p->error[0] = '\0';
	p->retry_ms = RETRY_MS_MIN;
	p->last_heard = clock_now(p->env->clock);
	memset(p->heard_frames, 0, sizeof(p->heard_frames));
	log_info(p->env->log, "repl", "site %s is connected, session %llu", p->opts.name,
		 (unsigned long long)p->session);
	repl_wake(p->repl);
}

/* --- and ends --- */

static void peer_end_members(struct list *members, void (*ended)(struct repl_member *m))
{
	struct list_link *link;

	while ((link = list_first(members)) != NULL) {
		struct repl_member *m = container_of(link, struct repl_member, all);

		peer_remove(m);
		ended(m);
	}
}

void peer_down(struct repl_peer *p, const char *why)
{
	bool was_up = p->state == PEER_UP;
	struct list_link *link;
	char text[sizeof(p->error)];

	if (p->state == PEER_IDLE)
		return;
	snprintf(text, sizeof(text), "%s", why); /* why may lie in a connection */
	p->state = PEER_IDLE;
	if (was_up || strcmp(text, p->error) != 0)
		log_warn(p->env->log, "repl", "site %s: %s: %s", p->opts.name,
			 was_up ? "the session ended" : "no session", text);
	memcpy(p->error, text, sizeof(text));
	/* At close the last words (GOODBYE) are given time to arrive before the streams break. */
	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++)
		if (p->conns[k] != NULL)
			repl_bury(p->repl, &p->conns[k],
				  was_up && p->repl->closing ? CLOSE_LINGER_MS : 0);
	peer_end_members(&p->followers, follower_session_ended);
	peer_end_members(&p->sources, source_session_ended);
	repair_session_ended(p);
	while ((link = list_pop_front(&p->attaches)) != NULL)
		free(container_of(link, struct attach_pending, link));
	p->attach_count = 0;
	p->retry_at.v = clock_now(p->env->clock).v + p->retry_ms * MS_NS;
	p->retry_ms = 2 * p->retry_ms < RETRY_MS_MAX ? 2 * p->retry_ms : RETRY_MS_MAX;
	repl_wake(p->repl);
	op_wake(&p->op);
	op_wake(&p->repl->op);
}

/* --- frames --- */

static void peer_frames(struct repl_peer *p)
{
	uint32_t budget = FRAMES_PER_STEP;

	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++) {
		struct conn *c = p->conns[k];
		struct conn_frame *f;

		while (budget > 0 && (f = conn_frame(c)) != NULL) {
			int rc = f->h.session == p->session ? peer_dispatch(p, f) : -ERR_PROTOCOL;

			if (rc == -ERR_AGAIN)
				break; /* it stays, and nothing more is read there */
			if (rc < 0) {
				char text[96];

				snprintf(text, sizeof(text), "a bad %s frame came",
					 frame_kind_name(f->h.kind));
				peer_down(p, text);
			}
			if (p->state != PEER_UP)
				return; /* also when a member's frame ended the session */
			conn_consume(c);
			budget--;
		}
		if (conn_state(c) == CONN_BROKEN || conn_state(c) == CONN_CLOSED) {
			peer_down(p, conn_text(c)); /* P3 */
			return;
		}
		if (p->heard_frames[k] != conn_heard_frames(c)) {
			p->heard_frames[k] = conn_heard_frames(c);
			p->last_heard = conn_last_heard(c);
		}
	}
	if (budget == 0)
		op_wake(&p->op);
}

static int peer_dispatch(struct repl_peer *p, const struct conn_frame *f)
{
	struct repl_member *m;

	switch (f->h.kind) {
	case FRAME_KEEPALIVE:
		return 0;
	case FRAME_LINK:
		repl_wake(p->repl);
		return -ERR_AGAIN; /* until repl_link_take */
	case FRAME_ATTACH:
		return peer_attach(p, f);
	case FRAME_DETACH:
		peer_detach(p, f);
		return 0;
	case FRAME_ACK:
	case FRAME_WANT_FULL:
	case FRAME_BASE_ACK:
	case FRAME_COMPARE:
	case FRAME_COMPARE_ASK:
		m = find_member(p->source_buckets, &f->h);
		return m != NULL ? source_frame(m, f) : 0; /* P4 */
	case FRAME_ATTACH_REFUSE:
	case FRAME_START:
	case FRAME_FULL:
	case FRAME_RECORD:
	case FRAME_COMMIT:
	case FRAME_FETCH_END:
	case FRAME_STOP:
	case FRAME_BASE:
	case FRAME_BASE_END:
	case FRAME_COMPARE_TOLD:
		m = find_member(p->follower_buckets, &f->h);
		return m != NULL ? follower_frame(m, f) : 0; /* P4 */
	case FRAME_REPAIR_ASK:
		return repair_asked(p, f);
	case FRAME_REPAIR_TOLD:
		return repair_told(p, f);
	case FRAME_HELLO:
	case FRAME_HELLO_OK:
	case FRAME_REFUSE:
		return -ERR_PROTOCOL;
	}
	return -ERR_PROTOCOL;
}

static int peer_attach(struct repl_peer *p, const struct conn_frame *f)
{
	struct attach_pending *a;
	struct repl *r = p->repl;

	if (p->attach_count >= r->opts.groups_max + 1 || f->h.group_session == 0)
		return -ERR_PROTOCOL;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ERR_NOMEM;
	if (frame_attach_decode(f->head, f->h.head_bytes, &a->body) < 0) {
		free(a);
		return -ERR_PROTOCOL;
	}
	a->group_session = f->h.group_session;
	a->attach = (struct repl_attach){
		.site = p->opts.site,
		.session = p->session,
		.group = f->h.group,
		.epoch_number = f->h.epoch,
		.purpose = (enum repl_purpose)a->body.purpose,
		.incarnation = a->body.incarnation,
		.ticket = ++r->tickets,
	};
	list_push_back(&p->attaches, &a->link);
	p->attach_count++;
	repl_wake(r);
	return 0;
}

static void peer_detach(struct repl_peer *p, const struct conn_frame *f)
{
	struct repl_member *m = find_member(p->source_buckets, &f->h);

	if (m != NULL)
		(void)source_frame(m, f);
	LIST_FOR_EACH_SAFE(link, &p->attaches) {
		struct attach_pending *a = container_of(link, struct attach_pending, link);

		if (a->group_session != f->h.group_session ||
		    !uuid_equal(&a->attach.group, &f->h.group))
			continue;
		list_remove(link);
		p->attach_count--;
		free(a);
	}
}

/* --- members --- */

static struct repl_member *find_member(struct list *buckets, const struct frame_header *h)
{
	LIST_FOR_EACH(link, &buckets[h->group_session % PEER_BUCKETS]) {
		struct repl_member *m = container_of(link, struct repl_member, bucket);

		if (m->group_session == h->group_session && uuid_equal(&m->group, &h->group))
			return m;
	}
	return NULL;
}

static void peer_add(struct repl_peer *p, struct repl_member *m, struct list *all,
		     struct list *buckets)
{
	m->peer = p;
	list_link_init(&m->all);
	list_link_init(&m->bucket);
	list_push_back(all, &m->all);
	list_push_back(&buckets[m->group_session % PEER_BUCKETS], &m->bucket);
}

void peer_add_follower(struct repl_peer *p, struct repl_member *m)
{
	peer_add(p, m, &p->followers, p->follower_buckets);
}

void peer_add_source(struct repl_peer *p, struct repl_member *m)
{
	peer_add(p, m, &p->sources, p->source_buckets);
}

void peer_remove(struct repl_member *m)
{
	if (m->peer == NULL)
		return;
	op_wake(&m->peer->op); /* a frame of it may wait: it is dropped now */
	list_remove(&m->all);
	list_remove(&m->bucket);
	m->peer = NULL;
}

/* Those who met a full queue look again. */
static void peer_room(struct repl_peer *p)
{
	struct list *lists[2] = {&p->followers, &p->sources};

	for (uint32_t i = 0; i < ARRAY_COUNT(lists); i++)
		LIST_FOR_EACH(link, lists[i]) {
			struct repl_member *m = container_of(link, struct repl_member, all);

			if (m->wants_room) {
				m->wants_room = false;
				op_wake(m->op);
			}
		}
}

void member_header(const struct repl_member *m, enum frame_kind kind, uint64_t epoch,
		   struct lsn lsn, struct frame_header *ret)
{
	*ret = (struct frame_header){
		.kind = kind,
		.session = m->peer != NULL ? m->peer->session : 0,
		.group = m->group,
		.group_session = m->group_session,
		.epoch = epoch,
		.lsn = lsn,
	};
}

int member_send(struct repl_member *m, enum frame_conn conn, struct frame_header *h,
		const void *head, uint32_t head_bytes)
{
	int rc;

	if (m->peer == NULL || m->peer->state != PEER_UP)
		return -ERR_CLOSED;
	rc = conn_send(m->peer->conns[conn], h, head, head_bytes);
	if (rc == -ERR_BUSY || rc == -ERR_NOMEM) {
		m->wants_room = true;
		return -ERR_BUSY;
	}
	return rc;
}

void member_send_stop(struct repl_member *m, enum frame_kind kind, uint64_t epoch, int rc,
		      const char *text)
{
	struct frame_refuse body = {.rc = rc};
	uint8_t head[FRAME_REFUSE_BYTES_MAX];
	struct frame_header h;

	if (m->peer == NULL)
		return;
	snprintf(body.text, sizeof(body.text), "%s", text);
	member_header(m, kind, epoch, (struct lsn){0}, &h);
	if (member_send(m, FRAME_CONN_DATA, &h, head, frame_refuse_encode(head, &body)) ==
	    -ERR_BUSY)
		conn_break(m->peer->conns[FRAME_CONN_DATA], -ERR_BUSY,
			   "no room to tell that a group session ends");
}
