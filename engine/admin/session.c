/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/session.c
 * Purpose.     The life of one client of the admin protocol: hello, requests one by one, streams.
 * Invariants.  S1  At most one request is being answered; the next is not looked at before.
 *              S2  The session is freed only when nothing of it is in flight, the conductor's too.
 * States.      HELLO -> IDLE                       [versions overlap; else CLOSE after the refusal]
 *              IDLE -> CHANGE | STATUS | EVENTS | SNAPSHOTS   [a request that takes longer]
 *              these -> IDLE                       [answered]
 *              any -> CLOSE                        [end, failure, deadline, protocol broken, stop]
 * Ownership.   Owns its channel; the conductor borrows `change` until it fires.
 * Failure.     Whatever a client does costs only its own connection.
 * Limits.      One frame in, one frame out; HELLO_NS, IDLE_NS, SEND_NS.
 */
#include "engine/admin/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/frame.h"
#include "engine/base/assert.h"
#include "engine/base/err.h"

#define HELLO_NS (10 * SEC_NS)
#define IDLE_NS (300 * SEC_NS)
#define SEND_NS (30 * SEC_NS)
#define WATCH_NS SEC_NS

static void session_step(struct op *op);

int session_new(struct admin_server *server, struct net_conn *net)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		net_close(&net);
		return -ERR_NOMEM;
	}
	s->server = server;
	channel_start(&s->channel, server->env, net, FRAME_HEAD_BYTES + FRAME_BYTES_MAX,
		      session_step);
	channel_deadline(&s->channel, HELLO_NS);
	list_link_init(&s->link);
	list_push_back(&server->sessions, &s->link);
	server->session_count++;
	return 0;
}

void session_free(struct session *s)
{
	assert(s->channel.op.waits == 0); /* S2 */
	look_free(s);
	list_remove(&s->link);
	s->server->session_count--;
	op_wake(&s->server->op); /* there is room for another, or the last is gone */
	channel_fini(&s->channel);
	free(s);
}

void session_abandon(struct session *s)
{
	look_abandon(s);
	list_remove(&s->link);
	channel_abandon(&s->channel);
	free(s);
}

/* Start sending one frame; the deadline is for the client to take it. */
static void session_send(struct session *s, const ProtobufCMessage *message)
{
	uint8_t *data;
	size_t bytes;

	if (frame_encode(message, &data, &bytes) < 0) {
		s->state = SESSION_CLOSE;
		return;
	}
	channel_send_take(&s->channel, &data, bytes);
	channel_deadline(&s->channel, SEND_NS);
}

void session_answer(struct session *s, const Adm__Response *response)
{
	if (!response->more)
		s->server->admin_requests++;
	session_send(s, &response->base);
}

static uint32_t error_exit_code(int rc)
{
	if (rc == -ERR_NOT_FOUND)
		return 4;
	if (rc == -ERR_TIMEOUT)
		return 5;
	return rc == -ERR_REFUSED ? 3 : 1;
}

void session_refuse(struct session *s, int rc, const char *hint, const char *fmt, ...)
{
	char text[REQUEST_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	session_refuse_loss(s, rc, hint, text, NULL);
}

void session_refuse_loss(struct session *s, int rc, const char *hint, char *text, Adm__Loss *loss)
{
	Adm__Response response = ADM__RESPONSE__INIT;
	Adm__Error error = ADM__ERROR__INIT;
	char code[64], advice[256];

	assert(rc < 0);
	error.loss = loss;
	snprintf(code, sizeof(code), "%s", err_admin_code(rc));
	snprintf(advice, sizeof(advice), "%s", hint);
	error.code = code;
	error.message = text;
	error.hint = advice;
	error.exit_code = error_exit_code(rc);
	response.id = s->id;
	response.body_case = ADM__RESPONSE__BODY_ERROR;
	response.error = &error;
	session_answer(s, &response);
}

/* The next frame as a message in `arena`; 0, -ERR_AGAIN (not all there), -ERR_PROTOCOL. */
static int session_take(struct session *s, struct arena *arena,
			const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret_message)
{
	uint32_t bytes;
	int rc = frame_find(channel_data(&s->channel), channel_bytes(&s->channel), &bytes);

	if (rc < 0)
		return rc;
	rc = frame_decode(arena, type, channel_data(&s->channel) + FRAME_HEAD_BYTES, bytes,
			  ret_message);
	channel_consume(&s->channel, FRAME_HEAD_BYTES + bytes);
	return rc;
}

static void session_hello(struct session *s, const Adm__Hello *hello)
{
	Adm__Hello answer = ADM__HELLO__INIT;
	Adm__Error refusal = ADM__ERROR__INIT;
	char program[64], text[256], code[] = "version",
				     hint[] = "install the command of the daemon's version";

	snprintf(program, sizeof(program), "%s %s", s->server->o.program, s->server->o.version);
	answer.version_min = ADMIN_VERSION_MIN;
	answer.version_max = ADMIN_VERSION_MAX;
	answer.program = program;
	s->state = SESSION_IDLE;
	if (frame_version(hello->version_min, hello->version_max) == 0) {
		snprintf(text, sizeof(text),
			 "%s speaks versions %u to %u of the admin protocol, you speak %u to %u",
			 program, ADMIN_VERSION_MIN, ADMIN_VERSION_MAX, hello->version_min,
			 hello->version_max);
		refusal.code = code;
		refusal.message = text;
		refusal.hint = hint;
		refusal.exit_code = 1;
		answer.refusal = &refusal;
		s->closing = true;
	}
	session_send(s, &answer.base);
}

/* Look for a Hello or a Request; false: wait. */
static bool session_read(struct session *s)
{
	bool is_hello = s->state == SESSION_HELLO;
	ProtobufCMessage *message;
	struct arena arena;
	int rc;

	arena_init(&arena, FRAME_ARENA_BYTES);
	rc = session_take(s, &arena, is_hello ? &adm__hello__descriptor : &adm__request__descriptor,
			  &message);
	if (rc == 0 && is_hello) {
		session_hello(s, (const Adm__Hello *)(const void *)message);
	} else if (rc == 0) {
		s->id = ((const Adm__Request *)(const void *)message)->id;
		command_run(s, (const Adm__Request *)(const void *)message);
	} else if (rc != -ERR_AGAIN || s->channel.ended) {
		s->state = SESSION_CLOSE;
		rc = 0;
	}
	arena_fini(&arena);
	return rc == 0;
}

/* A client that is gone, too slow or told to go. */
static bool session_is_over(const struct session *s)
{
	const struct channel *c = &s->channel;

	if (c->broken || s->server->stopping)
		return true;
	if (c->late)
		return channel_sending(c) || s->state == SESSION_HELLO || s->state == SESSION_IDLE;
	if (c->ended && (s->state == SESSION_STATUS || s->state == SESSION_EVENTS ||
			 s->state == SESSION_SNAPSHOTS))
		return true;
	return s->closing && !channel_sending(c);
}

/* Is there news for a stream?  Ticks of --watch come from the deadline. */
static bool session_stream(struct session *s)
{
	struct event e;

	if (s->state == SESSION_EVENTS) {
		if (command_events_next(s))
			return true;
		channel_deadline(&s->channel, 0);
		return false;
	}
	if (!s->between)
		return command_status_next(s);
	if (s->channel.deadline.v == 0)
		channel_deadline(&s->channel, WATCH_NS);
	if (s->channel.late || conductor_event_after(s->server->o.conductor, s->since, &e)) {
		s->between = false;
		return command_status_next(s);
	}
	return false;
}

static void session_step(struct op *op)
{
	struct session *s =
		container_of(container_of(op, struct channel, op), struct session, channel);
	bool was_sending = channel_sending(&s->channel);

	channel_events(&s->channel);
	if (was_sending && !channel_sending(&s->channel))
		channel_deadline(&s->channel, 0); /* each state sets its own */
	if (s->state != SESSION_CLOSE && session_is_over(s) && s->state != SESSION_CHANGE)
		s->state = SESSION_CLOSE;
	while (s->state != SESSION_CLOSE && !channel_sending(&s->channel)) {
		if (s->state == SESSION_CHANGE) {
			if ((op->waits & SESSION_WAIT_REQUEST) != 0)
				break; /* wait: the conductor */
			command_changed(s);
		} else if (s->state == SESSION_STATUS || s->state == SESSION_EVENTS) {
			if (!session_stream(s))
				break; /* wait: an event or a tick */
		} else if (s->state == SESSION_SNAPSHOTS) {
			if (!look_next(s))
				break; /* wait: the store */
		} else {
			if (s->state == SESSION_IDLE && s->channel.deadline.v == 0)
				channel_deadline(&s->channel, IDLE_NS);
			if (!session_read(s))
				break; /* wait: a whole frame */
		}
	}
	if (s->state != SESSION_CLOSE) {
		channel_wait(&s->channel);
		return; /* wait: bytes, room, deadline, conductor, events */
	}
	channel_shut(&s->channel);
	if (op->waits == 0)
		session_free(s); /* last: s is gone */
				 /* else wait: what is in flight */
}
