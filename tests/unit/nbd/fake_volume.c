/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/nbd/fake_volume.c
 * Purpose.     Volumes over memory.  A request takes effect and completes in a later step, in order
 *              of submission unless the test holds and reverses them.
 * Invariants.  Those of engine/volume/volume.h, asserted: ranges, windows, bufs, attachment.
 */
#include "tests/unit/nbd/fake_volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

static void io_step(struct op *op);
static void io_finish(struct conductor *c, struct volume_io *io, int rc);
static void io_apply(struct conductor *c, struct volume_io *io);
static void io_check(const struct volume *v, const struct volume_io *io);

struct conductor *fake_conductor_open(const struct env *env)
{
	struct conductor *c = calloc(1, sizeof(*c));

	assert(c != NULL);
	c->env = env;
	c->volumes = calloc(FAKE_VOLUMES_MAX, sizeof(*c->volumes));
	assert(c->volumes != NULL);
	c->fail_off = UINT64_MAX;
	list_init(&c->held);
	return c;
}

void fake_conductor_close(struct conductor **conductor)
{
	struct conductor *c = *conductor;

	*conductor = NULL;
	assert(list_empty(&c->held));
	for (uint32_t i = 0; i < c->count; i++) {
		assert(list_empty(&c->volumes[i].clients));
		free(c->volumes[i].data);
	}
	free(c->volumes);
	free(c);
}

struct volume *fake_volume_add(struct conductor *c, const char *name, uint64_t bytes,
			       uint32_t block_bytes)
{
	struct volume *v = &c->volumes[c->count];

	assert(c->count < FAKE_VOLUMES_MAX);
	v->conductor = c;
	(void)snprintf(v->info.name, sizeof(v->info.name), "%s", name);
	v->info.bytes = bytes;
	v->info.block_bytes = block_bytes;
	v->info.uuid.b[15] = (uint8_t)++c->count;
	v->data = calloc(1, bytes > 0 ? bytes : 1);
	assert(v->data != NULL);
	list_init(&v->clients);
	return v;
}

int volume_find(struct conductor *c, const char *name, uint32_t name_bytes,
		struct volume **ret_volume, char *message, uint32_t message_bytes)
{
	for (uint32_t i = 0; i < c->count; i++) {
		struct volume *v = &c->volumes[i];
		bool same = strlen(v->info.name) == name_bytes &&
			    memcmp(v->info.name, name, name_bytes) == 0;

		if (!same && !(name_bytes == 0 && c->count == 1))
			continue;
		if (c->refuse_rc != 0) {
			(void)snprintf(message, message_bytes, "the primary is site west");
			return c->refuse_rc;
		}
		*ret_volume = v;
		return 0;
	}
	return -ERR_NOT_FOUND;
}

void volume_info(const struct volume *v, struct volume_info *ret)
{
	*ret = v->info;
}

bool volume_list(struct conductor *c, uint32_t index, struct volume_info *ret)
{
	if (index >= c->count)
		return false;
	*ret = c->volumes[index].info;
	return true;
}

int volume_attach(struct volume *v, struct volume_client *client)
{
	if (v->conductor->attach_rc != 0)
		return v->conductor->attach_rc;
	assert(completion_armed(&client->revoked));
	client->volume = v;
	client->in_flight = 0;
	list_link_init(&client->link);
	list_push_back(&v->clients, &client->link);
	return 0;
}

void volume_detach(struct volume_client *client)
{
	assert(client->in_flight == 0);
	list_remove(&client->link);
	if (completion_armed(&client->revoked))
		completion_fire(&client->revoked, -ERR_CANCELED);
	client->volume = NULL;
}

void volume_submit(struct volume_client *client, struct volume_io *io)
{
	struct conductor *c = client->volume->conductor;

	assert(completion_armed(&io->done));
	io->client = client;
	io_check(client->volume, io);
	if (io->buf != NULL)
		(void)buf_ref(io->buf);
	client->in_flight++;
	op_init(&io->op, c->env->ready, io_step);
	list_link_init(&io->link);
	if (c->hold) {
		list_push_back(&c->held, &io->link);
		c->held_count++;
		c->most_held = c->held_count > c->most_held ? c->held_count : c->most_held;
	} else {
		op_wake(&io->op);
	}
}

static void io_check(const struct volume *v, const struct volume_io *io)
{
	uint64_t head = io->off % BLOCK_BYTES;

	if (io->kind == VOLUME_FLUSH)
		return;
	assert(io->bytes > 0 && io->off <= v->info.bytes && io->bytes <= v->info.bytes - io->off);
	if (io->kind != VOLUME_READ && io->kind != VOLUME_WRITE)
		return;
	assert(io->bytes <= IO_BYTES_MAX);
	assert(io->off / IO_BYTES_MAX == (io->off + io->bytes - 1) / IO_BYTES_MAX);
	assert(io->buf != NULL && io->buf->bytes >= head + io->bytes);
}

static void io_step(struct op *op)
{
	struct volume_io *io = container_of(op, struct volume_io, op);

	io_finish(io->client->volume->conductor, io, 0);
}

static void io_finish(struct conductor *c, struct volume_io *io, int rc)
{
	struct buf *buf = io->buf;

	if (rc == 0 && c->fail_rc != 0 && io->off <= c->fail_off &&
	    c->fail_off - io->off < io->bytes)
		rc = c->fail_rc;
	if (rc == 0 && !completion_armed(&io->client->revoked))
		rc = -ERR_CLOSED;
	if (rc == 0)
		io_apply(c, io);
	io->client->in_flight--;
	completion_fire(&io->done, rc);
	buf_unref(&buf);
}

static void io_apply(struct conductor *c, struct volume_io *io)
{
	uint8_t *at = io->client->volume->data + io->off;

	c->fua += (io->flags & VOLUME_IO_FUA) != 0;
	c->no_hole += (io->flags & VOLUME_IO_NO_HOLE) != 0;
	switch (io->kind) {
	case VOLUME_READ:
		c->reads++;
		memcpy(io->buf->data + io->off % BLOCK_BYTES, at, io->bytes);
		break;
	case VOLUME_WRITE:
		c->writes++;
		memcpy(at, io->buf->data + io->off % BLOCK_BYTES, io->bytes);
		break;
	case VOLUME_FLUSH:
		c->flushes++;
		break;
	case VOLUME_TRIM:
		c->trims++;
		memset(at, 0, io->bytes);
		break;
	case VOLUME_ZERO:
		c->zeroes++;
		memset(at, 0, io->bytes);
		break;
	}
}

void fake_release(struct conductor *c, uint32_t n, int rc)
{
	while (n-- > 0 && !list_empty(&c->held)) {
		struct list_link *l = c->reverse ? list_last(&c->held) : list_first(&c->held);

		list_remove(l);
		c->held_count--;
		io_finish(c, container_of(l, struct volume_io, link), rc);
	}
}

void fake_revoke(struct volume *v)
{
	LIST_FOR_EACH(n, &v->clients) {
		struct volume_client *client = container_of(n, struct volume_client, link);

		if (completion_armed(&client->revoked))
			completion_fire(&client->revoked, -ERR_CLOSED);
	}
	fake_release(v->conductor, UINT32_MAX, -ERR_CLOSED);
}
