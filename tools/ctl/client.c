/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/client.c
 * Purpose.     One connection to the daemon: every wait has the deadline of --timeout.
 * Failure.     Told on the spot; the exit code is returned.
 */
#include "tools/ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/admin/frame.h"
#include "engine/base/err.h"
#include "tools/ctl/json.h"
#include "tools/ctl/show.h"

#define GRACE_MS 1500u /* the daemon says itself that time is up; then so do we */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static int fail_closed(const struct client *c)
{
	return ctl_fail(c->ctl, CTL_FAILED, "closed", "see its log",
			"the daemon at %s closed the connection", c->ctl->admin);
}

static int fail_timeout(const struct client *c)
{
	return ctl_fail(c->ctl, CTL_TIMEOUT, "timeout",
			"the outcome may still happen: look with 'twinshore status'",
			"no answer from %s in time", c->ctl->admin);
}

/* Wait until the socket is ready: 0 or an exit code. */
static int client_poll(const struct client *c, short events)
{
	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = events};
		uint64_t now = now_ms();
		int wait = -1, n;

		if (c->deadline_ms != 0 && now >= c->deadline_ms)
			return fail_timeout(c);
		if (c->deadline_ms != 0)
			wait = (int)(c->deadline_ms - now);
		n = poll(&p, 1, wait);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return fail_closed(c);
	}
}

static int client_write(const struct client *c, const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = send(c->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		int rc = 0;

		if (n > 0) {
			data += n;
			bytes -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			rc = client_poll(c, POLLOUT);
		} else {
			rc = fail_closed(c);
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int client_read(const struct client *c, uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = recv(c->fd, data, bytes, MSG_DONTWAIT);
		int rc = 0;

		if (n > 0) {
			data += n;
			bytes -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			rc = client_poll(c, POLLIN);
		} else {
			rc = fail_closed(c);
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int client_put(const struct client *c, const ProtobufCMessage *message)
{
	uint8_t *data;
	size_t bytes;
	int rc;

	if (frame_encode(message, &data, &bytes) < 0)
		return ctl_fail(c->ctl, CTL_FAILED, "too_big", "", "the request is too large");
	rc = client_write(c, data, bytes);
	free(data);
	return rc;
}

static int client_get(const struct client *c, struct arena *arena,
		      const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret_message)
{
	uint8_t head[FRAME_HEAD_BYTES], *data;
	uint32_t bytes = 0;
	int rc = client_read(c, head, sizeof(head));

	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < FRAME_HEAD_BYTES; i++)
		bytes |= (uint32_t)head[i] << (8 * i);
	data = bytes == 0 || bytes > FRAME_BYTES_MAX ? NULL : malloc(bytes);
	if (data == NULL)
		return ctl_fail(c->ctl, CTL_FAILED, "protocol", "is it a Twinshore daemon?",
				"what answers at %s does not speak the admin protocol",
				c->ctl->admin);
	rc = client_read(c, data, bytes);
	if (rc == 0 && frame_decode(arena, type, data, bytes, ret_message) < 0)
		rc = ctl_fail(c->ctl, CTL_FAILED, "protocol", "",
			      "the answer of %s is not understood", c->ctl->admin);
	free(data);
	return rc;
}

static int client_hello(struct client *c)
{
	Adm__Hello hello = ADM__HELLO__INIT;
	char program[] = "twinshore " CTL_VERSION;
	ProtobufCMessage *message;
	const Adm__Hello *answer;
	struct arena arena;
	int rc;

	hello.version_min = ADMIN_VERSION_MIN;
	hello.version_max = ADMIN_VERSION_MAX;
	hello.program = program;
	rc = client_put(c, &hello.base);
	if (rc != 0)
		return rc;
	arena_init(&arena, FRAME_ARENA_BYTES);
	rc = client_get(c, &arena, &adm__hello__descriptor, &message);
	if (rc == 0) {
		answer = (const Adm__Hello *)(const void *)message;
		if (answer->refusal != NULL)
			rc = ctl_fail(c->ctl, CTL_FAILED, answer->refusal->code,
				      answer->refusal->hint, "%s", answer->refusal->message);
		else if (frame_version(answer->version_min, answer->version_max) == 0)
			rc = ctl_fail(
				c->ctl, CTL_FAILED, "version",
				"install the same version as the daemon's",
				"%s speaks versions %u to %u of the admin protocol, this command %u to %u",
				answer->program, answer->version_min, answer->version_max,
				ADMIN_VERSION_MIN, ADMIN_VERSION_MAX);
	}
	arena_fini(&arena);
	return rc;
}

int client_open(struct client *c, const struct ctl *ctl)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int rc;

	memset(c, 0, sizeof(*c));
	c->ctl = ctl;
	c->deadline_ms = now_ms() + ctl->timeout_ms + GRACE_MS;
	if (strlen(ctl->admin) >= sizeof(sa.sun_path))
		return ctl_usage(ctl, "the path of the socket is too long: %s", ctl->admin);
	memcpy(sa.sun_path, ctl->admin, strlen(ctl->admin));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return ctl_fail(ctl, CTL_FAILED, "io", "", "making a socket: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		rc = ctl_fail(
			ctl, CTL_FAILED, errno == EACCES ? "permission" : "unreachable",
			errno == EACCES
				? "run it as root, or as a user who may open the socket"
				: "is twinshored running? name its socket with --admin or TWINSHORE_ADMIN",
			"no daemon answers at %s: %s", ctl->admin, strerror(errno));
		close(c->fd);
		return rc;
	}
	rc = client_hello(c);
	if (rc != 0)
		close(c->fd);
	return rc;
}

void client_close(struct client *c)
{
	close(c->fd);
	c->fd = -1;
}

int client_send(struct client *c, Adm__Request *request)
{
	request->id = ++c->id;
	request->timeout_ms = c->ctl->timeout_ms;
	return client_put(c, &request->base);
}

/* {"error": ..., "loss": ..., "fence": [...]}, or a sentence and a table. */
static int client_loss(const struct client *c, const Adm__Error *e)
{
	int code = e->exit_code != 0 ? (int)e->exit_code : CTL_FAILED;
	struct json j;

	if (!c->ctl->json) {
		(void)!ctl_fail(c->ctl, code, e->code, e->hint, "%s", e->message);
		show_loss(stderr, e->loss);
		return code;
	}
	json_begin(&j, stdout);
	json_object(&j, NULL);
	json_object(&j, "error");
	json_text(&j, "code", e->code);
	json_text(&j, "message", e->message);
	json_text(&j, "hint", e->hint);
	json_close_object(&j);
	loss_json(&j, e->loss);
	json_close_object(&j);
	json_end(&j);
	return code;
}

int client_take(struct client *c, struct arena *arena, Adm__Response **ret_response)
{
	ProtobufCMessage *message;
	Adm__Response *r;
	int rc = client_get(c, arena, &adm__response__descriptor, &message);

	if (rc != 0)
		return rc;
	r = (Adm__Response *)(void *)message;
	if (r->body_case == ADM__RESPONSE__BODY_ERROR && r->error->loss != NULL)
		return client_loss(c, r->error);
	if (r->body_case == ADM__RESPONSE__BODY_ERROR)
		return ctl_fail(c->ctl,
				r->error->exit_code != 0 ? (int)r->error->exit_code : CTL_FAILED,
				r->error->code, r->error->hint, "%s", r->error->message);
	*ret_response = r;
	return 0;
}

void client_patient(struct client *c)
{
	c->deadline_ms = 0;
}

int client_change(struct ctl *ctl, Adm__Request *request, const char *key, const char *value)
{
	Adm__Response *response;
	struct client c;
	struct arena arena;
	int rc = client_open(&c, ctl);

	if (rc != 0)
		return rc;
	arena_init(&arena, FRAME_ARENA_BYTES);
	rc = client_send(&c, request);
	if (rc == 0)
		rc = client_take(&c, &arena, &response);
	if (rc == 0 && response->body_case != ADM__RESPONSE__BODY_DONE)
		rc = ctl_fail(ctl, CTL_FAILED, "protocol", "", "the answer of %s is not understood",
			      ctl->admin);
	arena_fini(&arena);
	client_close(&c);
	return rc == 0 ? ctl_done(ctl, key, value) : rc;
}
