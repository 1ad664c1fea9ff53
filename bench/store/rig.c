/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/store/rig.c
 * Purpose.     See rig.h.
 * Limits.      Payload is a pattern that is never zero; a write is at most 1 MiB.
 */
#include "bench/store/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/uring/disk.h"
#include "engine/uring/loop.h"
#include "proto/record_snap.h"

#define BIT_WAIT 1u
#define BIT_SPACE 2u
#define BIT_PACE 4u
#define SEAL_EAGER_FLIGHTS 2u /* as in engine/volume */
#define SEAL_EAGER_BLOCKS 64u

static void rig_step(struct op *op);

uint64_t rig_random(struct rig *g)
{
	uint64_t x = (g->random += 0x9e3779b97f4a7c15ull);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint64_t rig_now(const struct rig *g)
{
	return clock_now(g->env->clock).v;
}

void rig_die(const char *what, int rc)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, err_text(rc));
	exit(1);
}

void rig_check(int rc, const char *what)
{
	if (rc < 0)
		rig_die(what, rc);
}

/* --- the disk that counts --- */

static void counted_submit(struct disk *disk, struct disk_req *req)
{
	struct rig_disk *d = container_of(disk, struct rig_disk, disk);

	d->read_bytes += req->kind == DISK_READ ? req->bytes : 0;
	d->written_bytes += req->kind == DISK_WRITE ? req->bytes : 0;
	d->flushes += req->kind == DISK_FLUSH;
	disk_submit(d->inner, req);
}

static const struct disk_ops counted_ops = {counted_submit};

static void rig_log(struct log *log, enum log_level level, const char *room, const char *line)
{
	fprintf(stderr, "%s: %s\n", room, line);
}

static void world_open(struct rig *g, const struct rig_opts *o)
{
	uint64_t memory = o->memory_bytes;
	struct uring_options uo = {.log = &g->log};
	struct uring_disk_options disk = {.create = true, .bytes = o->store_bytes};

	memset(g, 0, sizeof(*g));
	g->o = *o;
	g->log = (struct log){.level = LOG_WARN, .write = rig_log};
	g->random = 1;
	memset(g->group.b, 9, sizeof(g->group.b));
	uo.bufs.count[BUF_1M] = (uint32_t)(memory / 4 >> 20); /* together 3/8 of memory */
	uo.bufs.count[BUF_64K] = (uint32_t)(memory / 16 >> 16);
	uo.bufs.count[BUF_4K] = (uint32_t)(memory / 16 >> 12);
	rig_check(uring_loop_open(&uo, &g->loop), "loop");
	g->env = uring_loop_env(g->loop);
	op_init(&g->op, g->env->ready, rig_step);
	rig_check(uring_disk_open(g->loop, o->path, &disk, &g->disk.inner), o->path);
	g->disk.disk = *g->disk.inner;
	g->disk.disk.ops = &counted_ops;
}

void rig_turn(struct rig *g)
{
	rig_check(uring_loop_turn(g->loop, SEC_NS), "loop");
}

struct completion *rig_arm(struct rig *g, struct completion *c)
{
	completion_arm(c, &g->op, BIT_WAIT);
	return c;
}

int rig_wait(struct rig *g, struct completion *c)
{
	while ((g->op.waits & BIT_WAIT) != 0)
		rig_turn(g);
	return c->rc;
}

static uint64_t store_begin(struct rig *g)
{
	struct store_opts so = {.memory_bytes = g->o.memory_bytes / 2,
				.fold_idle_ms = g->o.fold_idle_ms};
	struct completion done;
	uint64_t began = rig_now(g);

	store_open(g->env, &g->disk.disk, &so, &g->store, rig_arm(g, &done));
	rig_check(rig_wait(g, &done), "open");
	return rig_now(g) - began;
}

static void replica_begin(struct rig *g)
{
	struct replica_status st;

	g->r = replica_find(g->store, &g->group);
	if (g->r == NULL)
		rig_die("group", -ERR_NOT_FOUND);
	replica_watch(g->r, &g->op);
	replica_history_set(g->r, &(struct replica_history){.ns = g->o.history_ns});
	replica_status(g->r, &st);
	rig_settle(g);
}

void rig_make(struct rig *g, const struct rig_opts *o)
{
	struct store_format_opts format = {.journal_percent = o->journal_percent};
	struct record_volume v = {.op = RECORD_VOLUME_CREATE,
				  .bytes = o->volume_bytes,
				  .block_bytes = 512,
				  .name = "v"};
	struct record_epoch e = {0, 1};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct completion done;

	world_open(g, o);
	memset(format.uuid.b, 3, sizeof(format.uuid.b));
	memset(v.uuid.b, 1, sizeof(v.uuid.b));
	store_format(g->env, &g->disk.disk, &format, rig_arm(g, &done));
	rig_check(rig_wait(g, &done), "format");
	(void)store_begin(g);
	replica_create(g->store, &g->group, "group", rig_arm(g, &done));
	rig_check(rig_wait(g, &done), "create");
	replica_begin(g);
	rig_append_body(g, RECORD_EPOCH, body, record_epoch_encode(&e, body));
	rig_append_body(g, RECORD_VOLUME, body, record_volume_encode(&v, body));
	rig_settle(g);
	rig_fold(g);
}

uint64_t rig_open(struct rig *g, const struct rig_opts *o)
{
	uint64_t ns;

	world_open(g, o);
	ns = store_begin(g);
	replica_begin(g);
	return ns;
}

void rig_close(struct rig *g)
{
	struct completion done;

	replica_watch(g->r, NULL);
	store_close(&g->store, rig_arm(g, &done));
	rig_check(rig_wait(g, &done), "close");
	op_unqueue(&g->op);
	uring_disk_close(&g->disk.inner);
	uring_loop_close(&g->loop);
}

/* --- records --- */

static void seal(struct rig *g, struct record *r, struct record_spec *spec)
{
	struct replica_status st;

	replica_status(g->r, &st);
	spec->group = g->group;
	spec->begin = st.tail;
	spec->prev_chain = st.tail_chain;
	spec->commit = st.commit;
	spec->epoch = (struct epoch){1, 1, 1};
	spec->wall = clock_wall(g->env->clock);
	record_seal(r, spec);
}

void rig_append_body(struct rig *g, enum record_type type, const uint8_t *body, uint32_t bytes)
{
	struct record_spec spec = {.type = type, .body = body, .body_bytes = bytes};
	struct record *r = record_take(replica_records(g->r), g->env->bufs);

	if (r == NULL)
		rig_die("record", -ERR_POOL_EMPTY);
	seal(g, r, &spec);
	rig_check(replica_append(g->r, r, NULL), "append");
	record_unref(&r);
}

void rig_snapshot(struct rig *g, struct uuid *ret)
{
	struct record_snap s = {.op = RECORD_SNAP_CREATE};
	uint8_t body[RECORD_BODY_BYTES_MAX];

	g->snaps++;
	memcpy(s.uuid.b, &g->snaps, sizeof(g->snaps));
	s.uuid.b[15] = 7;
	(void)snprintf(s.name, sizeof(s.name), "s%" PRIu32, g->snaps);
	*ret = s.uuid;
	rig_append_body(g, RECORD_SNAP, body, record_snap_encode(&s, body));
}

void rig_settle(struct rig *g)
{
	struct replica_status st;

	for (;;) {
		int rc;

		replica_status(g->r, &st);
		rc = replica_commit(g->r, st.durable);
		if (rc < 0 && rc != -ERR_AGAIN)
			rig_die("commit", rc);
		replica_status(g->r, &st);
		if (st.commit.v == st.tail.v)
			return;
		rig_turn(g);
	}
}

void rig_fold(struct rig *g)
{
	struct completion done;

	rig_settle(g);
	replica_fold(g->r, rig_arm(g, &done));
	rig_check(rig_wait(g, &done), "fold");
}

/* --- clients --- */

static void write_begin(struct rig *g, uint32_t i)
{
	struct rig_load *l = g->load;

	if ((l->bytes != 0 && g->begun >= l->bytes) || (l->until != 0 && rig_now(g) >= l->until))
		return;
	g->begun += (uint64_t)l->blocks * BLOCK_BYTES;
	g->writes[i].begun = rig_now(g);
	g->writes[i].waits = true;
}

static uint32_t writes_waiting(const struct rig *g)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->load->depth; i++)
		n += g->writes[i].waits;
	return n;
}

static void flight_answer(struct rig *g, struct rig_flight *f)
{
	struct rig_load *l = g->load;

	record_unref(&f->record);
	for (uint32_t i = 0; i < f->count; i++) {
		uint64_t ns = rig_now(g) - g->writes[f->writes[i]].begun;

		hist_record(&l->latency, ns);
		l->worst_ns = ns > l->worst_ns ? ns : l->worst_ns;
		l->written += (uint64_t)l->blocks * BLOCK_BYTES;
		write_begin(g, f->writes[i]);
	}
}

static void append(struct rig *g, struct record *r)
{
	int rc = replica_append(g->r, r, NULL);

	g->stuck = NULL;
	if (rc != -ERR_JOURNAL_FULL) {
		rig_check(rc, "append");
		return;
	}
	g->stuck = r;
	if ((g->op.waits & BIT_SPACE) == 0) {
		completion_arm(&g->space, &g->op, BIT_SPACE);
		replica_space_wait(g->r, &g->space);
	}
}

/* One write's payload: a pattern of its place and time. */
static void payload_add(struct rig *g, struct record *r, uint32_t blocks, uint32_t *crcs)
{
	struct buf *b = buf_take(g->env->bufs, blocks * BLOCK_BYTES);

	if (b == NULL)
		rig_die("buffers", -ERR_POOL_EMPTY);
	for (uint32_t i = 0; i < blocks; i++) {
		uint8_t *data = b->data + (size_t)i * BLOCK_BYTES;
		uint64_t x = rig_random(g) | 1;

		for (uint32_t k = 0; k < BLOCK_BYTES; k += 512)
			memcpy(data + k, &x, sizeof(x));
		crcs[i] = crc32c(data, BLOCK_BYTES);
	}
	record_add_payload(r, b, b->data, blocks);
	buf_unref(&b);
}

static bool seal_one(struct rig *g)
{
	struct rig_load *l = g->load;
	struct rig_flight *f = &g->flights[(g->first + g->count) % RIG_FLIGHTS_MAX];
	struct record_extent extents[RECORD_EXTENTS_MAX];
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX], blocks = 0;
	struct record_spec spec = {.type = RECORD_WRITE, .extents = extents, .crcs = crcs};
	struct record *r = record_take(replica_records(g->r), g->env->bufs);

	if (r == NULL)
		return false;
	f->count = 0;
	for (uint32_t i = 0; i < l->depth; i++) {
		if (!g->writes[i].waits || blocks + l->blocks > RECORD_PAYLOAD_BLOCKS_MAX)
			continue;
		if (l->per_record != 0 && f->count == l->per_record)
			break;
		g->writes[i].waits = false;
		extents[f->count] = (struct record_extent){
			.block = l->next(l->ctx), .count = l->blocks, .payload_block = blocks};
		payload_add(g, r, l->blocks, crcs + blocks);
		blocks += l->blocks;
		f->writes[f->count++] = i;
	}
	spec.extent_count = f->count;
	spec.payload_blocks = blocks;
	seal(g, r, &spec);
	f->record = r;
	f->end = r->view.end;
	g->count++;
	l->records++;
	append(g, r);
	return true;
}

static bool may_seal(const struct rig *g)
{
	uint32_t waiting = writes_waiting(g);

	if (g->stuck != NULL || waiting == 0 || g->count == RIG_FLIGHTS_MAX)
		return false;
	return g->count < SEAL_EAGER_FLIGHTS || waiting * g->load->blocks >= SEAL_EAGER_BLOCKS;
}

/* Writers are slowed down while the journal fills, as in engine/volume. */
static bool is_paced(struct rig *g)
{
	uint64_t now = rig_now(g);

	if (now < g->pace_until) {
		if ((g->op.waits & BIT_PACE) == 0) {
			completion_arm(&g->pace.done, &g->op, BIT_PACE);
			g->pace.deadline.v = g->pace_until;
			clock_timer_arm(g->env->clock, &g->pace);
		}
		return true;
	}
	g->pace_until = now + replica_delay_us(g->r) * 1000ull;
	return false;
}

static void rig_step(struct op *op)
{
	struct rig *g = container_of(op, struct rig, op);
	struct replica_status st;
	int rc;

	if (g->load == NULL)
		return; /* wait: whoever turns the loop looks */
	if (store_is_failed(g->store))
		rig_die("store", -ERR_FAILED);
	replica_status(g->r, &st);
	rc = replica_commit(g->r, st.durable);
	if (rc < 0 && rc != -ERR_AGAIN)
		rig_die("commit", rc);
	replica_status(g->r, &st);
	while (g->count > 0 && g->flights[g->first].end.v <= st.commit.v &&
	       g->flights[g->first].record != g->stuck) {
		flight_answer(g, &g->flights[g->first]);
		g->first = (g->first + 1) % RIG_FLIGHTS_MAX;
		g->count--;
	}
	if (g->load->look != NULL)
		g->load->look(g->load, g->load->ctx);
	if (g->stuck != NULL && (op->waits & BIT_SPACE) == 0)
		append(g, g->stuck);
	while (may_seal(g) && !is_paced(g) && seal_one(g))
		;
	/* wait: durable moves, space, the pace */
}

void rig_load(struct rig *g, struct rig_load *l)
{
	assert(l->depth <= RIG_DEPTH_MAX && l->blocks <= RECORD_PAYLOAD_BLOCKS_MAX);
	g->load = l;
	g->begun = l->written = l->records = l->worst_ns = 0;
	hist_init(&l->latency);
	for (uint32_t i = 0; i < l->depth; i++)
		write_begin(g, i);
	op_wake(&g->op);
	while (g->count > 0 || writes_waiting(g) > 0 || list_linked(&g->op.link))
		rig_turn(g);
	g->load = NULL;
	if ((g->op.waits & BIT_PACE) != 0)
		clock_timer_disarm(g->env->clock, &g->pace);
}
