/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim_disk.c: see sim_disk.h. */
#include "tests/sim/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

/* One request on its way. */
struct sim_io {
	struct list_link link;
	struct wevent event;
	struct sim_disk *disk;
	struct disk_req *req;
	uint64_t submit_order; /* done_order when it was submitted: what a flush covers */
	uint64_t shift;	       /* misdirected by this much */
	int rc;
};

/* What a completed, not yet durable write replaced; or (data NULL) a durable one over it. */
struct sim_undo {
	struct list_link link;
	uint64_t off, bytes, order;
	uint8_t *old;
};

/* --- content --- */

static uint8_t *chunk_get(struct sim_disk *d, uint64_t off)
{
	uint8_t **c = &d->chunks[off / SIM_DISK_CHUNK];

	if (*c == NULL) {
		*c = calloc(1, SIM_DISK_CHUNK);
		assert(*c != NULL);
	}
	return *c + off % SIM_DISK_CHUNK;
}

void sim_disk_peek(struct sim_disk *d, uint64_t off, void *data, uint64_t bytes)
{
	uint8_t *p = data;

	assert(off + bytes <= d->disk.bytes);
	while (bytes > 0) {
		uint64_t in = off % SIM_DISK_CHUNK, n = SIM_DISK_CHUNK - in;
		const uint8_t *c = d->chunks[off / SIM_DISK_CHUNK];

		n = n < bytes ? n : bytes;
		if (c == NULL)
			memset(p, 0, n);
		else
			memcpy(p, c + in, n);
		p += n;
		off += n;
		bytes -= n;
	}
}

void sim_disk_poke(struct sim_disk *d, uint64_t off, const void *data, uint64_t bytes)
{
	const uint8_t *p = data;

	assert(off + bytes <= d->disk.bytes);
	while (bytes > 0) {
		uint64_t n = SIM_DISK_CHUNK - off % SIM_DISK_CHUNK;

		n = n < bytes ? n : bytes;
		memcpy(chunk_get(d, off), p, n);
		p += n;
		off += n;
		bytes -= n;
	}
}

void sim_disk_flip(struct sim_disk *d, uint64_t off, uint32_t bit)
{
	assert(off < d->disk.bytes);
	*chunk_get(d, off) ^= (uint8_t)(1u << (bit & 7));
	d->world->stats.bit_flips++;
}

void sim_disk_copy(struct sim_disk *to, struct sim_disk *from)
{
	assert(to->chunk_count == from->chunk_count && list_empty(&to->in_flight) &&
	       list_empty(&to->undo));
	for (uint32_t i = 0; i < from->chunk_count; i++) {
		if (from->chunks[i] == NULL) {
			free(to->chunks[i]);
			to->chunks[i] = NULL;
			continue;
		}
		if (to->chunks[i] == NULL)
			to->chunks[i] = malloc(SIM_DISK_CHUNK);
		assert(to->chunks[i] != NULL);
		memcpy(to->chunks[i], from->chunks[i], SIM_DISK_CHUNK);
	}
}

/* What is cut off is lost; what comes new is zero. */
void sim_disk_resize(struct sim_disk *d, uint64_t bytes)
{
	uint32_t count = (uint32_t)(bytes / SIM_DISK_CHUNK);

	assert(bytes % SIM_DISK_CHUNK == 0);
	for (uint32_t i = count; i < d->chunk_count; i++)
		free(d->chunks[i]);
	d->chunks = realloc(d->chunks, count * sizeof(*d->chunks));
	assert(d->chunks != NULL);
	for (uint32_t i = d->chunk_count; i < count; i++)
		d->chunks[i] = NULL;
	d->chunk_count = count;
	d->disk.bytes = bytes;
}

/* --- durability --- */

static void undo_push(struct sim_disk *d, uint64_t off, uint64_t bytes, bool durable)
{
	struct sim_undo *u;

	if (durable && list_empty(&d->undo))
		return;
	u = calloc(1, sizeof(*u));
	assert(u != NULL);
	u->off = off;
	u->bytes = bytes;
	u->order = ++d->done_order;
	if (!durable) {
		u->old = malloc(bytes);
		assert(u->old != NULL);
		sim_disk_peek(d, off, u->old, bytes);
		d->undo_bytes += bytes;
	}
	list_push_back(&d->undo, &u->link);
}

static void undo_free(struct sim_disk *d, struct sim_undo *u)
{
	list_remove(&u->link);
	if (u->old != NULL)
		d->undo_bytes -= u->bytes;
	free(u->old);
	free(u);
}

/* Everything that had completed up to `order` is durable now. */
static void undo_settle(struct sim_disk *d, uint64_t order)
{
	while (!list_empty(&d->undo)) {
		struct sim_undo *u = container_of(list_first(&d->undo), struct sim_undo, link);

		if (u->order > order)
			break;
		undo_free(d, u);
	}
}

static void write_iov(struct sim_disk *d, uint64_t off, const struct disk_req *req, bool torn)
{
	for (uint32_t i = 0; i < req->iov_count; i++) {
		const uint8_t *p = req->iov[i].iov_base;
		uint64_t left = req->iov[i].iov_len;

		if (!torn) {
			sim_disk_poke(d, off, p, left);
			off += left;
			continue;
		}
		for (; left > 0; left -= SIM_SECTOR, p += SIM_SECTOR, off += SIM_SECTOR) {
			if (prng_ppm(&d->world->prng_disk, d->faults.torn_ppm))
				sim_disk_poke(d, off, p, SIM_SECTOR);
		}
	}
}

/* --- requests --- */

static bool req_is_sane(const struct sim_disk *d, const struct disk_req *req)
{
	uint64_t sum = 0;

	if (req->kind == DISK_FLUSH || req->kind == DISK_EXTEND)
		return true;
	if (req->off % BLOCK_BYTES != 0 || req->bytes % BLOCK_BYTES != 0 || req->bytes == 0 ||
	    req->off > d->disk.bytes || req->bytes > d->disk.bytes - req->off)
		return false;
	if (req->kind == DISK_DISCARD)
		return true;
	for (uint32_t i = 0; i < req->iov_count; i++) {
		if (req->iov[i].iov_len % BLOCK_BYTES != 0 || req->iov[i].iov_len == 0 ||
		    (uintptr_t)req->iov[i].iov_base % BLOCK_BYTES != 0)
			return false;
		sum += req->iov[i].iov_len;
	}
	return sum == req->bytes && req->iov_count <= DISK_IOV_MAX;
}

static void io_write_done(struct sim_disk *d, struct sim_io *io)
{
	const struct disk_req *req = io->req;
	bool fua = (req->flags & DISK_FUA) != 0 && !d->faults.lie_flush && io->rc == 0;
	uint64_t off = req->off + io->shift;

	undo_push(d, off, req->bytes, fua);
	write_iov(d, off, req, io->rc != 0);
	if (fua) {
		d->fua[d->fua_next % SIM_FUA_KEPT].off = off;
		d->fua[d->fua_next++ % SIM_FUA_KEPT].bytes = req->bytes;
	}
}

static int disk_extend(struct sim_disk *d, uint64_t bytes)
{
	uint64_t to = bytes != 0 ? bytes : d->grow_max;

	if (to > d->grow_max && to > d->disk.bytes)
		return d->disk.thin ? -ERR_FULL : -ERR_UNSUPPORTED;
	if (to > d->disk.bytes)
		sim_disk_resize(d, to);
	return 0;
}

static void io_fire(struct wevent *ev)
{
	struct sim_io *io = container_of(ev, struct sim_io, event);
	struct sim_disk *d = io->disk;
	struct disk_req *req = io->req;
	uint64_t off = req->off;

	switch (req->kind) {
	case DISK_READ:
		for (uint32_t i = 0; i < req->iov_count && io->rc == 0; i++) {
			sim_disk_peek(d, off, req->iov[i].iov_base, req->iov[i].iov_len);
			off += req->iov[i].iov_len;
		}
		break;
	case DISK_WRITE:
		io_write_done(d, io);
		break;
	case DISK_FLUSH:
		if (io->rc == 0 && !d->faults.lie_flush) {
			undo_settle(d, io->submit_order);
			d->durable_bytes = d->disk.bytes;
		}
		break;
	case DISK_EXTEND:
		if (io->rc == 0)
			io->rc = disk_extend(d, req->bytes);
		break;
	case DISK_DISCARD:
		if (d->faults.discard_zeroes) {
			undo_push(d, off, req->bytes, false);
			for (uint64_t i = 0; i < req->bytes; i += SIM_SECTOR)
				memset(chunk_get(d, off + i), 0, SIM_SECTOR);
		}
		break;
	}
	world_trace(d->world, ((uint64_t)req->kind << 60) ^ req->off,
		    req->bytes ^ ((uint64_t)(uint32_t)io->rc << 32));
	list_remove(&io->link);
	list_push_back(&d->spare, &io->link);
	completion_fire(&req->done, io->rc);
}

static uint64_t io_latency(struct sim_disk *d, const struct disk_req *req)
{
	uint64_t ns = 0;

	switch (req->kind) {
	case DISK_READ:
		ns = d->read_ns;
		break;
	case DISK_WRITE:
		ns = d->write_ns + (req->flags & DISK_FUA ? d->flush_ns / 2 : 0);
		break;
	case DISK_EXTEND:
	case DISK_FLUSH:
		return (d->flush_ns + prng_below(&d->world->prng_disk, d->jitter_ns + 1)) * d->slow;
	case DISK_DISCARD:
		return (d->write_ns + prng_below(&d->world->prng_disk, d->jitter_ns + 1)) * d->slow;
	}
	ns += req->bytes * SEC_NS / d->bytes_per_sec;
	return (ns + prng_below(&d->world->prng_disk, d->jitter_ns + 1)) * d->slow;
}

static void io_choose_place(struct sim_disk *d, struct sim_io *io)
{
	struct sim_disk_faults *f = &d->faults;
	bool shift = f->misdirect_nth > 0 && io->req->kind == DISK_WRITE && --f->misdirect_nth == 0;

	if (io->req->kind == DISK_WRITE && f->misdirect_ppm > 0 &&
	    prng_ppm(&d->world->prng_disk, f->misdirect_ppm))
		shift = true;
	if (shift && io->req->off + io->req->bytes + SIM_DISK_CHUNK <= d->disk.bytes)
		io->shift = SIM_DISK_CHUNK;
}

/* Which fault hits this request; false: it never completes. */
static bool io_choose_faults(struct sim_disk *d, struct sim_io *io)
{
	struct sim_disk_faults *f = &d->faults;
	const struct disk_req *req = io->req;

	if (f->stopped || (f->stop_nth > 0 && --f->stop_nth == 0)) {
		f->stopped = true;
		return false;
	}
	if (f->fail_nth > 0 && (f->fail_kinds == 0 || (f->fail_kinds & (1u << req->kind)) != 0)) {
		if (f->fail_nth > 1) {
			f->fail_nth--;
		} else {
			io->rc = f->fail_rc != 0 ? f->fail_rc : -ERR_IO;
			d->world->stats.disk_failed++;
			if (f->fail_count > 1)
				f->fail_count--;
			else
				f->fail_nth = 0;
		}
	}
	io_choose_place(d, io);
	return !f->stuck;
}

static void sim_disk_submit(struct disk *disk, struct disk_req *req)
{
	struct sim_disk *d = container_of(disk, struct sim_disk, disk);
	struct list_link *l = list_pop_front(&d->spare);
	struct sim_io *io =
		l == NULL ? calloc(1, sizeof(*io)) : container_of(l, struct sim_io, link);

	assert(io != NULL);
	assert(d->node->up);
	if (!req_is_sane(d, req)) {
		fprintf(stderr, "sim_disk %s: bad request kind %d off %llu bytes %llu iovs %u\n",
			d->name, (int)req->kind, (unsigned long long)req->off,
			(unsigned long long)req->bytes, req->iov_count);
		abort();
	}
	memset(io, 0, sizeof(*io));
	io->disk = d;
	io->req = req;
	io->submit_order = d->done_order;
	io->event.fire = io_fire;
	io->event.kind = WEV_DISK;
	io->event.node = d->node->id;
	d->counts.ios++;
	d->counts.reads += req->kind == DISK_READ;
	d->counts.writes += req->kind == DISK_WRITE;
	d->counts.flushes += req->kind == DISK_FLUSH;
	d->counts.discards += req->kind == DISK_DISCARD;
	d->counts.fuas += req->kind == DISK_WRITE && (req->flags & DISK_FUA) != 0;
	d->counts.read_bytes += req->kind == DISK_READ ? req->bytes : 0;
	d->counts.write_bytes += req->kind == DISK_WRITE ? req->bytes : 0;
	list_push_back(&d->in_flight, &io->link);
	if (io_choose_faults(d, io))
		world_plan(d->world, &io->event, io_latency(d, req));
}

void sim_disk_unstick(struct sim_disk *d)
{
	d->faults.stuck = false;
	LIST_FOR_EACH(l, &d->in_flight) {
		struct sim_io *io = container_of(l, struct sim_io, link);

		if (!wevent_planned(&io->event) && !d->faults.stopped)
			world_plan(d->world, &io->event, io_latency(d, io->req));
	}
}

/* --- crash --- */

static bool bit_test_set(uint8_t *bits, uint64_t i)
{
	bool was = (bits[i / 8] >> (i % 8)) & 1;

	bits[i / 8] |= (uint8_t)(1u << (i % 8));
	return was;
}

/* By the mask: all of it or nothing; by the seed: what a sector's chance is. */
static uint32_t crash_ppm(struct sim_disk *d, uint32_t by_seed)
{
	uint32_t unit = d->faults.crash_units++;

	if (!d->faults.crash_by_mask)
		return by_seed;
	return (d->faults.crash_mask >> unit % 64) & 1 ? 1000000 : 0;
}

/* Newest first: a sector's fate is decided by the first version kept. */
static void crash_undo_one(struct sim_disk *d, const struct sim_undo *u, uint8_t *decided)
{
	uint32_t ppm = u->old != NULL ? crash_ppm(d, d->faults.torn_ppm) : 0;

	for (uint64_t i = 0; i < u->bytes; i += SIM_SECTOR) {
		uint64_t s = (u->off + i) / SIM_SECTOR;

		if ((decided[s / 8] >> (s % 8)) & 1)
			continue;
		if (u->old == NULL || prng_ppm(&d->world->prng_disk, ppm)) {
			bit_test_set(decided, s);
			continue;
		}
		sim_disk_poke(d, u->off + i, u->old + i, SIM_SECTOR);
		d->world->stats.disk_lost_sectors++;
	}
}

static void crash_in_flight_one(struct sim_disk *d, const struct sim_io *io, uint8_t *decided)
{
	uint64_t off = io->req->off + io->shift;
	/* most often a write is wholly there or wholly not */
	uint64_t fate = prng_below(&d->world->prng_disk, 4);
	uint32_t ppm = crash_ppm(d, fate == 0 ? 0 : fate == 1 ? 1000000 : d->faults.torn_ppm);

	for (uint32_t k = 0; k < io->req->iov_count; k++) {
		const uint8_t *p = io->req->iov[k].iov_base;

		for (uint64_t i = 0; i < io->req->iov[k].iov_len;
		     i += SIM_SECTOR, off += SIM_SECTOR) {
			if (!prng_ppm(&d->world->prng_disk, ppm) ||
			    bit_test_set(decided, off / SIM_SECTOR))
				continue;
			sim_disk_poke(d, off, p + i, SIM_SECTOR);
			d->world->stats.disk_torn_sectors++;
		}
	}
}

static void crash_power(struct sim_disk *d)
{
	uint8_t *decided = calloc(1, d->disk.bytes / SIM_SECTOR / 8 + 1);

	assert(decided != NULL);
	d->faults.crash_units = 0;
	LIST_FOR_EACH(l, &d->in_flight) {
		const struct sim_io *io = container_of(l, struct sim_io, link);

		if (io->req->kind == DISK_WRITE)
			crash_in_flight_one(d, io, decided);
	}
	while (!list_empty(&d->undo)) {
		struct sim_undo *u = container_of(list_last(&d->undo), struct sim_undo, link);

		crash_undo_one(d, u, decided);
		undo_free(d, u);
	}
	free(decided);
}

/* The buffers of requests in flight must still be there. */
void sim_disk_crash(struct sim_disk *d, enum world_crash_how how)
{
	if (how == WORLD_CRASH_POWER)
		crash_power(d);
	if (how == WORLD_CRASH_POWER && d->disk.bytes > d->durable_bytes &&
	    prng_ppm(&d->world->prng_disk, d->faults.torn_ppm))
		sim_disk_resize(d, d->durable_bytes); /* nobody flushed: it is short again */
	d->durable_bytes = d->disk.bytes;
	while (!list_empty(&d->in_flight)) {
		struct sim_io *io = container_of(list_first(&d->in_flight), struct sim_io, link);

		world_unplan(d->world, &io->event);
		if (how == WORLD_CRASH_KILL && io->req->kind == DISK_WRITE && !d->faults.stopped) {
			io->rc = 0;
			undo_push(d, io->req->off + io->shift, io->req->bytes, false);
			write_iov(d, io->req->off + io->shift, io->req, false);
		}
		list_remove(&io->link);
		free(io);
	}
	d->faults.stopped = false;
	d->faults.stop_nth = 0;
	d->faults.fail_nth = 0;
	d->faults.stuck = false;
}

/* --- life --- */

static const struct disk_ops sim_disk_ops = {.submit = sim_disk_submit};

struct sim_disk *sim_disk_new(struct world_node *n, const char *name, uint64_t bytes)
{
	struct sim_disk *d = calloc(1, sizeof(*d));

	assert(d != NULL && n->disk_count < WORLD_DISKS_MAX && bytes % SIM_DISK_CHUNK == 0);
	d->chunk_count = (uint32_t)(bytes / SIM_DISK_CHUNK);
	d->chunks = calloc(d->chunk_count, sizeof(*d->chunks));
	assert(d->chunks != NULL);
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->disk.ops = &sim_disk_ops;
	d->disk.bytes = d->durable_bytes = bytes;
	d->disk.name = d->name;
	d->world = n->world;
	d->node = n;
	d->read_ns = 60000;
	d->write_ns = 30000;
	d->flush_ns = 150000;
	d->jitter_ns = 40000;
	d->bytes_per_sec = 2000000000ull;
	d->slow = 1;
	d->faults.torn_ppm = 500000;
	list_init(&d->in_flight);
	list_init(&d->undo);
	list_init(&d->spare);
	n->disks[n->disk_count++] = d;
	return d;
}

void sim_disk_free(struct sim_disk *d)
{
	while (!list_empty(&d->in_flight)) {
		struct sim_io *io =
			container_of(list_pop_front(&d->in_flight), struct sim_io, link);

		world_unplan(d->world, &io->event);
		free(io);
	}
	while (!list_empty(&d->undo))
		undo_free(d, container_of(list_first(&d->undo), struct sim_undo, link));
	while (!list_empty(&d->spare))
		free(container_of(list_pop_front(&d->spare), struct sim_io, link));
	for (uint32_t i = 0; i < d->chunk_count; i++)
		free(d->chunks[i]);
	free(d->chunks);
	free(d);
}
