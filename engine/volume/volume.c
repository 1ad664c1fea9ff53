/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/volume.c
 * Purpose.     Exports, clients, and the life of one client operation.
 * Invariants.  V1 An operation is in the gate from submission to its end.
 *              V2 -ERR_CLOSED is the only answer once an epoch is over; everything else is decided
 *                 before an LSN is given (QUORUM J13).
 *              V3 A read is answered only if a lease is held after the content was read (R9).
 *              V4 An operation given up with an LSN may still happen: nobody is let in before it is
 *                 decided, so it is never merged with, nor read around, by a later one.
 * States.      IO_GATE -> IO_EDGE -> IO_MERGE -> IO_EDGE -> IO_QUEUED -> IO_END   (writes)
 *              IO_GATE -> IO_READING -> IO_LEASE -> IO_END                        (reads)
 *              IO_SNAPSHOT -> IO_READING -> IO_END           (reads of a snapshot: export.c)
 * Ownership.   volume_io is the client's; a reference on its buf is held until the end.
 * Limits.      As many operations as the front door lets in.
 */
#include "engine/volume/volume.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/err.h"
#include "engine/volume/export.h"
#include "engine/volume/io.h"

#define W_EDGE 1u
#define W_READ 2u
#define EDGE_BUF_RESERVE 8u /* for headers of records: what waits in the queue needs one to end */
#define EXTENT_BLOCKS_MAX (1u << 24) /* proto/record.h */

static void io_step(struct op *op);
static bool io_run(struct volume_io *io);
static bool io_edge(struct volume_io *io);
static void io_merge(struct volume_io *io);
static bool io_start_read(struct volume_io *io, uint64_t block, uint32_t count, uint8_t *data);
static void io_finish(struct volume_io *io);

static struct volume *volume_named(struct group *g, const char *name, uint32_t bytes)
{
	LIST_FOR_EACH(n, &g->volumes) {
		struct volume *v = container_of(n, struct volume, link);

		if (!v->gone && strlen(v->name) == bytes && memcmp(v->name, name, bytes) == 0)
			return v;
	}
	return NULL;
}

/* Why a group is not served here, in words for a client. */
static int volume_refusal(const struct group *g, char *message, uint32_t bytes)
{
	struct conductor *c = g->c;

	if (g->view.cfg != 0 && g->view.primary != c->o.site) {
		snprintf(message, bytes,
			 "group %s is primary at site %s, not here (%s): connect there", g->name,
			 conductor_site_name(c, g->view.primary),
			 conductor_site_name(c, c->o.site));
		return -ERR_NOT_PRIMARY;
	}
	if (group_is_rolling_back(g))
		snprintf(message, bytes, "group %s is being rolled back: try again", g->name);
	else if (g->open_epoch != 0)
		snprintf(message, bytes, "group %s is suspended: see 'twinshore explain %s'",
			 g->name, g->name);
	else
		snprintf(message, bytes, "group %s is not being served at site %s yet: try again",
			 g->name, conductor_site_name(c, c->o.site));
	return -ERR_SUSPENDED;
}

/* Suspended for longer than suspend_max: clients are closed and refused, until what was left
 * undecided then is decided (V4).  A rollback lets nobody in, too. */
static bool group_is_shut(const struct group *g)
{
	return g->orphans != 0 || group_is_rolling_back(g) ||
	       (g->suspended_since.v != 0 && clock_now(g->c->env->clock).v - g->suspended_since.v >
						     g->c->o.timers.suspend_max_ms * MS_NS);
}

static int volume_find_only(struct conductor *c, struct volume **ret, char *message, uint32_t bytes)
{
	struct volume *only = NULL;

	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		LIST_FOR_EACH(m, &g->volumes) {
			struct volume *v = container_of(m, struct volume, link);

			if (v->gone)
				continue;
			if (only != NULL) {
				snprintf(
					message, bytes,
					"this site has several volumes: name one, as GROUP/VOLUME");
				return -ERR_NOT_FOUND;
			}
			only = v;
		}
	}
	if (only == NULL) {
		snprintf(message, bytes, "this site has no volume yet");
		return -ERR_NOT_FOUND;
	}
	if (only->g->open_epoch == 0 || group_is_shut(only->g))
		return volume_refusal(only->g, message, bytes);
	*ret = only;
	return 0;
}

int volume_find(struct conductor *c, const char *name, uint32_t name_bytes,
		struct volume **ret_volume, char *message, uint32_t message_bytes)
{
	const char *slash = memchr(name, '/', name_bytes);
	struct volume *v;
	struct group *g;
	uint32_t left;

	message[0] = '\0';
	if (name_bytes == 0)
		return volume_find_only(c, ret_volume, message, message_bytes);
	if (slash == NULL) {
		snprintf(message, message_bytes, "an export name is GROUP/VOLUME");
		return -ERR_NOT_FOUND;
	}
	left = (uint32_t)(slash - name);
	g = conductor_group_named(c, name, left);
	if (g == NULL) {
		snprintf(message, message_bytes, "no such group: %.*s", left > 64 ? 64 : (int)left,
			 name);
		return -ERR_NOT_FOUND;
	}
	if (memchr(slash, '@', name_bytes - left) != NULL)
		return export_find(g, slash + 1, name_bytes - left - 1, ret_volume, message,
				   message_bytes);
	v = volume_named(g, slash + 1, name_bytes - left - 1);
	if (g->open_epoch == 0)
		return volume_refusal(g, message, message_bytes);
	if (v == NULL) {
		snprintf(message, message_bytes, "group %s has no such volume", g->name);
		return -ERR_NOT_FOUND;
	}
	if (group_is_shut(g))
		return volume_refusal(g, message, message_bytes);
	*ret_volume = v;
	return 0;
}

void volume_info(const struct volume *v, struct volume_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (v->export != NULL)
		snprintf(ret->name, sizeof(ret->name), "%s/%s@%s", v->g->name, v->name,
			 v->export->snapshot.name);
	else
		snprintf(ret->name, sizeof(ret->name), "%s/%s", v->g->name, v->name);
	ret->uuid = v->uuid;
	ret->bytes = v->bytes;
	ret->block_bytes = v->block_bytes;
	ret->read_only = v->export != NULL;
}

bool volume_list(struct conductor *c, uint32_t index, struct volume_info *ret)
{
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);

		if (g->open_epoch == 0)
			continue;
		LIST_FOR_EACH(m, &g->volumes) {
			struct volume *v = container_of(m, struct volume, link);

			if (!v->gone && index-- == 0) {
				volume_info(v, ret);
				return true;
			}
		}
	}
	return export_list(c, index, ret);
}

int volume_attach(struct volume *v, struct volume_client *client)
{
	assert(completion_armed(&client->revoked));
	if (v->export == NULL && (v->g->open_epoch == 0 || v->gone))
		return -ERR_NOT_PRIMARY;
	if (v->gone || (v->export == NULL && group_is_shut(v->g)))
		return -ERR_SUSPENDED; /* V4 */
	client->volume = v;
	client->epoch = v->g->open_epoch;
	client->in_flight = 0;
	list_link_init(&client->link);
	list_push_back(&v->clients, &client->link);
	if (v->export != NULL)
		export_open(v->export);
	return 0;
}

static void client_revoke(struct volume_client *client, int rc)
{
	if (completion_armed(&client->revoked))
		completion_fire(&client->revoked, rc);
}

void volume_detach(struct volume_client *client)
{
	struct volume *v = client->volume;

	assert(client->in_flight == 0);
	list_remove(&client->link);
	client_revoke(client, -ERR_CANCELED);
	client->volume = NULL;
	op_wake(&v->g->op); /* a deleted volume may be freed now */
}

void volume_revoke(struct volume *v)
{
	LIST_FOR_EACH(m, &v->clients)
		client_revoke(container_of(m, struct volume_client, link), -ERR_CLOSED);
}

void volume_revoke_all(struct group *g)
{
	LIST_FOR_EACH(n, &g->volumes)
		volume_revoke(container_of(n, struct volume, link));
}

/* --- one operation --- */

static int io_check(const struct volume *v, const struct volume_io *io)
{
	if (io->kind == VOLUME_FLUSH)
		return 0;
	if (v->export != NULL && io->kind != VOLUME_READ)
		return -ERR_READONLY;
	if (io->off > v->bytes || io->bytes > v->bytes - io->off)
		return -ERR_RANGE;
	if (io->bytes == 0)
		return 0;
	if (io->bytes > (EXTENT_BLOCKS_MAX - 1ull) * BLOCK_BYTES)
		return -ERR_RANGE;
	if (io->kind == VOLUME_READ || io->kind == VOLUME_WRITE) {
		assert(io->buf != NULL);
		assert(io->off / IO_BYTES_MAX == (io->off + io->bytes - 1) / IO_BYTES_MAX);
	}
	return 0;
}

/* Where operations of a volume are counted. */
static uint32_t *volume_ios(const struct volume *v)
{
	return v->export != NULL ? &v->g->export_ios : &v->g->ios;
}

void volume_submit(struct volume_client *client, struct volume_io *io)
{
	struct io_state *s = io_state(io);
	struct volume *v = client->volume;
	struct group *g = v->g;
	uint64_t last = io->off + io->bytes;

	memset(s, 0, sizeof(*s));
	io->client = client;
	op_init(&io->op, g->c->env->ready, io_step);
	list_link_init(&io->link);
	if (io->buf != NULL)
		buf_ref(io->buf);
	s->v = v;
	s->began = clock_now(g->c->env->clock);
	client->in_flight++;
	*volume_ios(v) += 1;
	s->phase = IO_END;
	s->rc = io_check(v, io);
	if (!volume_io_is_open(io) || v->gone)
		s->rc = -ERR_CLOSED;
	else if (s->rc == 0 && io->kind != VOLUME_FLUSH && io->bytes != 0)
		s->phase = v->export != NULL ? IO_SNAPSHOT : IO_GATE;
	s->begin = io->off / BLOCK_BYTES;
	s->end = (last + BLOCK_BYTES - 1) / BLOCK_BYTES;
	if (io->kind == VOLUME_TRIM) { /* a hint: rounded in */
		s->begin = (io->off + BLOCK_BYTES - 1) / BLOCK_BYTES;
		s->end = last == v->bytes ? s->end : last / BLOCK_BYTES;
		if (s->begin >= s->end)
			s->phase = IO_END;
	}
	op_wake(&io->op);
}

bool volume_io_is_open(const struct volume_io *io)
{
	const struct volume *v = io->client->volume;

	return (v->export != NULL || v->g->open_epoch == io->client->epoch) &&
	       completion_armed(&io->client->revoked);
}

void volume_io_ended(struct volume_io *io, int rc)
{
	struct io_state *s = io_state(io);

	s->rc = rc;
	s->phase = IO_END;
	op_wake(&io->op);
}

static void io_step(struct op *op)
{
	struct volume_io *io = container_of(op, struct volume_io, op);

	if (op->waits != 0)
		return; /* wait: a buf or a read */
	while (io_state(io)->phase != IO_END)
		if (!io_run(io))
			return; /* wait: see io_run */
	io_finish(io);
}

/* One phase; false: waiting. */
static bool io_run(struct volume_io *io)
{
	struct io_state *s = io_state(io);
	struct group *g = s->v->g;

	if (!volume_io_is_open(io) && !list_linked(&io->link)) {
		volume_io_ended(io, -ERR_CLOSED); /* V2 */
		return true;
	}
	switch (s->phase) {
	case IO_GATE:
		if (!s->gated) {
			s->gated = true; /* V1 */
			gate_enter(&s->v->gate, &s->gate, s->begin, s->end, io->kind != VOLUME_READ,
				   &io->op);
		}
		if (!gate_may_run(&s->gate))
			return false; /* wait: an overlapping operation */
		if (io->kind == VOLUME_READ) {
			s->phase = IO_READING;
			return io_start_read(io, s->begin, (uint32_t)(s->end - s->begin),
					     io->buf->data);
		}
		s->phase = IO_EDGE;
		return true;
	case IO_EDGE:
		return io_edge(io);
	case IO_MERGE:
		s->rc = s->read.done.rc;
		if (s->rc < 0)
			s->phase = IO_END;
		else
			io_merge(io);
		return true;
	case IO_SNAPSHOT:
		s->phase = IO_READING;
		return export_read(io);
	case IO_READING:
		s->rc = s->read.done.rc;
		s->phase = s->rc < 0 || s->v->export != NULL ? IO_END : IO_LEASE;
		return true;
	case IO_LEASE:
		if (g->eff.may_read &&
		    clock_now(g->c->env->clock).v < g->eff.lease_until.v) { /* V3 */
			volume_io_ended(io, 0);
			return true;
		}
		if (!list_linked(&io->link))
			list_push_back(&g->parked, &io->link);
		op_wake(&g->op);
		return false; /* wait: a lease, or the end of the epoch */
	case IO_QUEUED:
		return false; /* wait: commit (group_io.c) */
	case IO_END:
		return true;
	}
	UNREACHABLE("phase");
}

static bool io_start_read(struct volume_io *io, uint64_t block, uint32_t count, uint8_t *data)
{
	struct io_state *s = io_state(io);
	struct replica *r = replica_find(s->v->g->c->store, &s->v->g->uuid);

	if (r == NULL) {
		volume_io_ended(io, -ERR_CLOSED);
		return true;
	}
	s->read.volume = s->v->slot;
	s->read.block = block;
	s->read.count = count;
	s->read.data = data;
	s->read.crcs = NULL;
	completion_arm(&s->read.done, &io->op, W_READ);
	replica_read(r, &s->read);
	return false; /* wait: content */
}

/* Is block `edge` (0 first, 1 last) only partly covered? */
static bool io_edge_is_partial(const struct volume_io *io, uint32_t edge)
{
	uint64_t last = io->off + io->bytes;

	if (io->kind == VOLUME_TRIM)
		return false;
	if (edge == 0)
		return io->off % BLOCK_BYTES != 0 ||
		       (last / BLOCK_BYTES == io->off / BLOCK_BYTES && last % BLOCK_BYTES != 0);
	return last % BLOCK_BYTES != 0 && last / BLOCK_BYTES != io->off / BLOCK_BYTES;
}

static bool io_edge(struct volume_io *io)
{
	struct io_state *s = io_state(io);
	struct group *g = s->v->g;
	uint32_t i = s->edge_now;

	if (i == 2) {
		s->phase = IO_QUEUED;
		list_push_back(&g->queued, &io->link);
		g->queued_blocks += io_payload_blocks(io);
		op_wake(&g->op);
		return false; /* wait: commit */
	}
	if (!io_edge_is_partial(io, i)) {
		s->edge_now++;
		return true;
	}
	s->edge[i] = buf_take_reserve(g->c->env->bufs, BLOCK_BYTES, EDGE_BUF_RESERVE);
	if (s->edge[i] == NULL) {
		buf_unref(&s->edge[0]); /* who waits holds nothing that others wait for */
		s->edge_now = 0;
		counter_add(g->c->env->counters, CTR_QUEUE_FULL_BUF, 1);
		list_link_init(&s->wait.link);
		completion_arm(&s->wait.done, &io->op, W_EDGE);
		buf_wait(g->c->env->bufs, &s->wait);
		return false; /* wait: a buf */
	}
	s->phase = IO_MERGE;
	return io_start_read(io, i == 0 ? s->begin : s->end - 1, 1, s->edge[i]->data);
}

/* WRITE: old bytes around the new ones go into io->buf.  ZERO: zeroes go into the old block. */
static void io_merge(struct volume_io *io)
{
	struct io_state *s = io_state(io);
	uint32_t i = s->edge_now;
	uint64_t block = i == 0 ? s->begin : s->end - 1, base = block * BLOCK_BYTES;
	uint32_t from = io->off > base ? (uint32_t)(io->off - base) : 0;
	uint64_t last = io->off + io->bytes;
	uint32_t to = last < base + BLOCK_BYTES ? (uint32_t)(last - base) : BLOCK_BYTES;
	uint8_t *old = s->edge[i]->data;

	if (io->kind == VOLUME_WRITE) {
		uint8_t *now = io->buf->data + (block - s->begin) * BLOCK_BYTES;

		memcpy(now, old, from);
		memcpy(now + to, old + to, BLOCK_BYTES - to);
		buf_unref(&s->edge[i]);
	} else {
		memset(old + from, 0, to - from);
		if (old[0] == 0 && memcmp(old, old + 1, BLOCK_BYTES - 1) == 0)
			buf_unref(&s->edge[i]); /* nothing of it is left: it goes with the rest */
	}
	s->edge_now++;
	s->phase = IO_EDGE;
}

uint32_t io_pieces(struct volume_io *io, struct io_piece ret[IO_EXTENTS_MAX])
{
	struct io_state *s = io_state(io);
	uint64_t begin = s->begin, end = s->end;
	uint32_t n = 0;

	if (io->kind == VOLUME_WRITE) {
		ret[0] = (struct io_piece){EXTENT_DATA, begin, (uint32_t)(end - begin), io->buf,
					   io->buf->data};
		return 1;
	}
	if (s->edge[0] != NULL)
		ret[n++] = (struct io_piece){EXTENT_DATA, begin++, 1, s->edge[0], s->edge[0]->data};
	if (s->edge[1] != NULL)
		ret[n++] = (struct io_piece){EXTENT_DATA, --end, 1, s->edge[1], s->edge[1]->data};
	if (begin < end)
		ret[n++] = (struct io_piece){io->kind == VOLUME_TRIM ||
							     (io->flags & VOLUME_IO_NO_HOLE) == 0
						     ? EXTENT_DISCARD
						     : EXTENT_ZERO,
					     begin, (uint32_t)(end - begin), NULL, NULL};
	return n;
}

uint32_t io_payload_blocks(struct volume_io *io)
{
	struct io_state *s = io_state(io);

	if (io->kind == VOLUME_WRITE)
		return (uint32_t)(s->end - s->begin);
	return (s->edge[0] != NULL ? 1u : 0u) + (s->edge[1] != NULL ? 1u : 0u);
}

void volume_io_time(struct volume_io *io, enum io_stage stage)
{
	static const enum io_op ops[] = {[VOLUME_READ] = IO_OP_READ,
					 [VOLUME_WRITE] = IO_OP_WRITE,
					 [VOLUME_FLUSH] = IO_OP_FLUSH,
					 [VOLUME_TRIM] = IO_OP_TRIM,
					 [VOLUME_ZERO] = IO_OP_TRIM};
	struct io_state *s = io_state(io);

	hist_record(&s->v->hist[ops[io->kind]][stage],
		    clock_now(s->v->g->c->env->clock).v - s->began.v);
}

static void io_count(struct volume_io *io, struct group *g)
{
	static const enum counter_id bytes[] = {CTR_IO_READ_BYTES, CTR_IO_WRITE_BYTES, CTR_COUNT,
						CTR_IO_ZERO_BYTES, CTR_IO_ZERO_BYTES};

	if (bytes[io->kind] != CTR_COUNT)
		counter_add(g->c->env->counters, bytes[io->kind], io->bytes);
	volume_io_time(io, IO_STAGE_TOTAL);
}

static void io_finish(struct volume_io *io)
{
	struct io_state *s = io_state(io);
	struct group *g = s->v->g;

	if (list_linked(&io->link))
		list_remove(&io->link);
	if (s->gated)
		gate_leave(&s->v->gate, &s->gate);
	buf_unref(&s->edge[0]);
	buf_unref(&s->edge[1]);
	if (io->buf != NULL) {
		struct buf *b = io->buf;

		buf_unref(&b); /* the client keeps its own reference and pointer */
	}
	if (s->rc == 0)
		io_count(io, g);
	assert(io->client->in_flight > 0 && *volume_ios(s->v) > 0);
	io->client->in_flight--;
	*volume_ios(s->v) -= 1;
	if (g->open_epoch == 0 || s->v->gone)
		op_wake(&g->op);
	op_unqueue(&io->op);		   /* its last phase may have woken it */
	op_unqueue(&io->op);		   /* ended within its own step: it was woken, too */
	completion_fire(&io->done, s->rc); /* last: io is the client's again */
}
