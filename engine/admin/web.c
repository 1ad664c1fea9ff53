/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/web.c
 * Purpose.     GET /metrics and GET /healthz.
 * Invariants.  W1  A connection serves one request and is closed; all of it takes at most READ_NS
 *                  and SEND_NS.
 * States.      READ -> SEND   [a whole head, or one that is refused]
 *              SEND -> LINGER [refused: reading on, or the close would destroy the answer]
 *              SEND, LINGER -> CLOSE; any -> CLOSE [failure, deadline, stop]
 * Ownership.   Owns its channel.
 * Failure.     Costs only this connection.
 */
#include "engine/admin/web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/admin/http.h"
#include "engine/admin/metrics.h"
#include "engine/admin/text.h"
#include "engine/base/assert.h"
#include "engine/base/err.h"

#define READ_NS (10 * SEC_NS)
#define SEND_NS (30 * SEC_NS)
#define LINGER_NS SEC_NS
#define LINGER_BYTES_MAX (64u << 10)
#define BODY_BYTES_MAX (16u << 20)

static void web_step(struct op *op);

int web_new(struct admin_server *server, struct net_conn *net)
{
	struct web *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		net_close(&net);
		return -ERR_NOMEM;
	}
	w->server = server;
	channel_start(&w->channel, server->env, net, HTTP_HEAD_BYTES_MAX, web_step);
	channel_deadline(&w->channel, READ_NS);
	list_link_init(&w->link);
	list_push_back(&server->webs, &w->link);
	server->web_count++;
	return 0;
}

static void web_free(struct web *w)
{
	assert(w->channel.op.waits == 0);
	list_remove(&w->link);
	w->server->web_count--;
	op_wake(&w->server->op);
	channel_fini(&w->channel);
	free(w);
}

void web_abandon(struct web *w)
{
	list_remove(&w->link);
	channel_abandon(&w->channel);
	free(w);
}

static void web_send(struct web *w, int status, const struct text *body, const char *type,
		     bool is_head)
{
	char head[512];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
			 "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
			 status, http_reason(status), type, body->bytes,
			 status == 405 ? "Allow: GET, HEAD\r\n" : "");
	size_t body_bytes = is_head ? 0 : body->bytes;
	uint8_t *data;

	assert(n > 0 && (size_t)n < sizeof(head));
	data = malloc((size_t)n + body_bytes);
	if (data == NULL) {
		w->state = WEB_CLOSE;
		return;
	}
	memcpy(data, head, (size_t)n);
	if (body_bytes != 0)
		memcpy(data + n, body->data, body_bytes);
	w->state = WEB_SEND;
	channel_deadline(&w->channel, SEND_NS);
	channel_send_take(&w->channel, &data, (size_t)n + body_bytes);
	w->server->web_requests++;
}

static void web_answer(struct web *w, int status, const struct http_request *r)
{
	static const char plain[] = "text/plain; charset=utf-8";
	const char *type = plain;
	struct text body;

	text_init(&body, BODY_BYTES_MAX);
	if (status == 200 && strcmp(r->path, "/metrics") == 0) {
		type = "text/plain; version=0.0.4; charset=utf-8";
		metrics_write(w->server, &body);
	} else if (status == 200 && strcmp(r->path, "/healthz") == 0) {
		status = health_write(w->server, &body) ? 200 : 503;
	} else if (status == 200) {
		status = 404;
		text_add(&body, "there is /metrics and /healthz\n");
	} else {
		text_add(&body, "%s\n", http_reason(status));
	}
	if (body.failed) {
		text_fini(&body);
		status = 500;
		type = plain;
	}
	web_send(w, status, &body, type, status != 400 && r->is_head);
	text_fini(&body);
}

static void web_read(struct web *w)
{
	struct http_request r = {0};
	int rc = http_parse(channel_data(&w->channel), channel_bytes(&w->channel), &r);

	if (rc == -ERR_AGAIN) {
		if (w->channel.ended)
			w->state = WEB_CLOSE;
		return;
	}
	w->linger = rc != 0 || channel_bytes(&w->channel) != r.bytes;
	web_answer(w, rc == 0 ? 200 : rc, &r);
}

static void web_step(struct op *op)
{
	struct web *w = container_of(container_of(op, struct channel, op), struct web, channel);
	struct channel *c = &w->channel;

	channel_events(c);
	if (c->broken || c->late || w->server->stopping)
		w->state = WEB_CLOSE; /* W1 */
	if (w->state == WEB_READ)
		web_read(w);
	if (w->state == WEB_SEND && !channel_sending(c)) {
		w->state = w->linger ? WEB_LINGER : WEB_CLOSE;
		channel_deadline(c, LINGER_NS);
	}
	if (w->state == WEB_SEND || w->state == WEB_LINGER) {
		w->lingered += channel_bytes(c);
		channel_consume(c, channel_bytes(c));
		if (w->state == WEB_LINGER && (c->ended || w->lingered > LINGER_BYTES_MAX))
			w->state = WEB_CLOSE;
	}
	if (w->state != WEB_CLOSE) {
		channel_wait(c);
		return; /* wait: bytes, room, deadline */
	}
	channel_shut(c);
	if (op->waits == 0)
		web_free(w); /* last: w is gone */
			     /* else wait: what is in flight */
}
