/* SPDX-License-Identifier: Apache-2.0 */
/* A store under test and the model it is checked against. */
#include "tests/unit/store/replica_bench.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/clock.h"

#define DISK_BYTES (96ull << 20)

/* The content of a block: who wrote it.  0: zeroes. */
static void pattern(uint8_t *block, uint32_t record, uint32_t volume, uint64_t at)
{
	uint64_t words[4] = {record, volume, at, record * 2654435761ull + at};

	memset(block, (int)(record & 0xff), BLOCK_BYTES);
	memcpy(block + 8, words, sizeof(words));
}

uint64_t rb_random(struct rb *b)
{
	b->random = b->random * 6364136223846793005ull + 1442695040888963407ull;
	return b->random >> 33;
}

struct rb *rb_open(uint64_t seed, uint32_t mutant)
{
	struct rb *b = calloc(1, sizeof(*b));
	struct buf_pool_sizes bufs = {{3000, 200, 16}};

	b->f = fake_open_bufs(seed, DISK_BYTES, &bufs);
	b->random = seed * 31 + 7;
	b->mutant = mutant;
	memset(b->group.b, 9, 16);
	return b;
}

void rb_close(struct rb **bench)
{
	struct rb *b = *bench;

	*bench = NULL;
	fake_crash(b->f);
	store_abandon(&b->store);
	fake_close(&b->f);
	free(b);
}

int rb_reopen(struct rb *b)
{
	struct store_opts opts = {.memory_bytes = b->memory_bytes != 0 ? b->memory_bytes : 32 << 20,
				  .mutant = b->mutant,
				  .fold_idle_ms = 20,
				  .disk_stall_ms = b->stall_ms};
	struct fake_wait wait;
	int rc;

	store_open(b->f->env, b->f->disk, &opts, &b->store, fake_arm(b->f, &wait));
	rc = fake_wait(b->f, &wait);
	if (rc < 0)
		return rc;
	b->r = replica_find(b->store, &b->group);
	return b->r != NULL ? 0 : -ERR_NOT_FOUND;
}

static int append_spec(struct rb *b, struct record *r, struct record_spec *spec)
{
	struct replica_status st;
	int rc;

	replica_status(b->r, &st);
	spec->group = b->group;
	spec->begin = st.tail;
	spec->prev_chain = st.tail_chain;
	spec->commit = lsn_min(st.commit, st.tail);
	spec->epoch = (struct epoch){1, 1, 1};
	spec->wall = clock_wall(b->f->env->clock);
	record_seal(r, spec);
	rc = replica_append(b->r, r, NULL);
	if (rc == 0) {
		struct rb_record *m = &b->records[b->count];

		ck_assert_uint_lt(b->count, RB_RECORDS_MAX);
		b->count++;
		m->begin = r->view.begin.v;
		m->end = r->view.end.v;
		m->prev_chain = spec->prev_chain;
		m->extent_count = spec->extent_count;
		m->snap = RB_NONE;
		for (uint32_t i = 0; i < spec->extent_count; i++)
			m->extents[i] = spec->extents[i];
	}
	return rc;
}

int rb_append_body(struct rb *b, enum record_type type, const uint8_t *body, uint32_t bytes)
{
	struct record_spec spec = {.type = type, .body = body, .body_bytes = bytes};
	struct record *r = record_take(replica_records(b->r), b->f->env->bufs);
	int rc;

	if (r == NULL)
		return -ERR_POOL_EMPTY;
	rc = append_spec(b, r, &spec);
	record_unref(&r);
	return rc;
}

int rb_append_note(struct rb *b)
{
	return rb_append_body(b, RECORD_NOTE, NULL, 0);
}

int rb_volume(struct rb *b, enum record_volume_op op, uint32_t slot, uint64_t bytes)
{
	struct record_volume v = {
		.op = op, .slot = slot, .bytes = bytes, .block_bytes = 512, .name = "v"};
	uint8_t body[RECORD_BODY_BYTES_MAX];

	v.uuid.b[0] = (uint8_t)(slot + 1);
	return rb_append_body(b, RECORD_VOLUME, body, record_volume_encode(&v, body));
}

int rb_start(struct rb *b)
{
	struct store_format_opts format = {.segment_bytes = 2 << 20, .journal_percent = 25};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct record_epoch e = {0, 1};
	struct fake_wait wait;
	int rc;

	memset(format.uuid.b, 3, 16);
	store_format(b->f->env, b->f->disk, &format, fake_arm(b->f, &wait));
	rc = fake_wait(b->f, &wait);
	if (rc == 0)
		rc = rb_reopen(b) == -ERR_NOT_FOUND ? 0 : -ERR_CORRUPT;
	if (rc < 0)
		return rc;
	replica_create(b->store, &b->group, "group", fake_arm(b->f, &wait));
	rc = fake_wait(b->f, &wait);
	if (rc < 0)
		return rc;
	b->r = replica_find(b->store, &b->group);
	rc = rb_append_body(b, RECORD_EPOCH, body, record_epoch_encode(&e, body));
	for (uint32_t i = 0; i < RB_VOLUMES && rc == 0; i++)
		rc = rb_volume(b, RECORD_VOLUME_CREATE, i, RB_BLOCKS * 4096ull - 512);
	rb_settle(b);
	return rc;
}

static void extents_make(struct rb *b, struct record_extent *e, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t kind = rb_random(b) % 8, n = 1 + (uint32_t)rb_random(b) % 12;

		e[i].kind = kind == 0 ? EXTENT_ZERO : kind == 1 ? EXTENT_DISCARD : EXTENT_DATA;
		if (e[i].kind != EXTENT_DATA && rb_random(b) % 3 == 0)
			n = 1 + (uint32_t)rb_random(b) % 900;
		e[i].volume = (uint32_t)rb_random(b) % RB_VOLUMES;
		e[i].block = rb_random(b) % RB_BLOCKS;
		if (rb_random(b) % 2 == 0)
			e[i].block %= 100; /* a hot range */
		e[i].count = n < RB_BLOCKS - e[i].block ? n : (uint32_t)(RB_BLOCKS - e[i].block);
	}
}

/* A large write, at a chunk or not: most of it goes by reference.  Sometimes a small one beside it. */
static uint32_t extents_large(struct rb *b, struct record_extent *e)
{
	uint32_t n = 64 + (uint32_t)rb_random(b) % 140;

	e[0] = (struct record_extent){.volume = (uint32_t)rb_random(b) % RB_VOLUMES,
				      .block = rb_random(b) % (RB_BLOCKS - n)};
	if (rb_random(b) % 2 == 0) {
		e[0].block -= e[0].block % CHUNK_BLOCKS;
		n -= n % CHUNK_BLOCKS;
	}
	e[0].count = n;
	if (rb_random(b) % 2 == 0)
		return 1;
	e[1] = (struct record_extent){
		.volume = e[0].volume, .block = e[0].block + rb_random(b) % n, .count = 1};
	return 2;
}

int rb_append_extents(struct rb *b, struct record_extent *e, uint32_t count)
{
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX], payload = 0, at = 0;
	struct record_spec spec = {
		.type = RECORD_WRITE, .extents = e, .extent_count = count, .crcs = crcs};
	struct record *r = record_take(replica_records(b->r), b->f->env->bufs);
	struct buf *buf;
	int rc;

	if (r == NULL)
		return -ERR_POOL_EMPTY;
	for (uint32_t i = 0; i < count; i++) {
		e[i].payload_block = e[i].kind == EXTENT_DATA ? payload : 0;
		payload += e[i].kind == EXTENT_DATA ? e[i].count : 0;
	}
	spec.payload_blocks = payload;
	buf = payload > 0 ? buf_take(b->f->env->bufs, payload * BLOCK_BYTES) : NULL;
	if (payload > 0 && buf == NULL) {
		record_unref(&r);
		return -ERR_POOL_EMPTY;
	}
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; e[i].kind == EXTENT_DATA && k < e[i].count; k++, at++) {
			pattern(buf->data + at * BLOCK_BYTES, b->first + b->count + 1, e[i].volume,
				e[i].block + k);
			crcs[at] = crc32c(buf->data + at * BLOCK_BYTES, BLOCK_BYTES);
		}
	}
	if (payload > 0)
		record_add_payload(r, buf, buf->data, payload);
	buf_unref(&buf);
	rc = append_spec(b, r, &spec);
	record_unref(&r);
	return rc;
}

int rb_append(struct rb *b)
{
	struct record_extent e[RB_EXTENTS_MAX];
	uint32_t count;

	if (rb_random(b) % 6 == 0) {
		count = extents_large(b, e);
	} else {
		count = 1 + (uint32_t)rb_random(b) % RB_EXTENTS_MAX;
		extents_make(b, e, count);
	}
	return rb_append_extents(b, e, count);
}

static bool stopped(const struct rb *b)
{
	return b->f->sim_disk->faults.stopped || store_is_failed(b->store);
}

static void commit_durable(struct rb *b)
{
	struct replica_status st;
	int rc;

	if (store_is_failed(b->store))
		return;
	replica_status(b->r, &st);
	b->acked = st.durable.v;
	rc = replica_commit(b->r, st.durable);
	ck_assert(rc == 0 || rc == -ERR_AGAIN || rc == -ERR_FAILED);
}

void rb_work(struct rb *b, uint32_t n)
{
	for (uint32_t i = 0; i < n && !stopped(b); i++) {
		int rc = rb_append(b);

		if (rc < 0) {
			ck_assert(rc == -ERR_POOL_EMPTY || rc == -ERR_JOURNAL_FULL ||
				  rc == -ERR_FAILED);
			fake_run_for(b->f, 5 * MS_NS);
		}
		if (rb_random(b) % 3 == 0)
			fake_run_for(b->f, rb_random(b) % 1000000);
		if (rb_random(b) % 100 == 0)
			fake_run_for(b->f, 100 * MS_NS);
		commit_durable(b);
	}
}

static bool settled(void *ctx)
{
	struct rb *b = ctx;
	struct replica_status st;

	replica_status(b->r, &st);
	return stopped(b) || st.durable.v == st.tail.v;
}

void rb_settle(struct rb *b)
{
	fake_run_until(b->f, 30 * SEC_NS, settled, b);
	commit_durable(b);
}

void rb_crash(struct rb *b)
{
	fake_crash(b->f);
	store_abandon(&b->store);
	b->r = NULL;
	fake_boot(b->f);
}

/* Who wrote a block last, of the records below `commit`; 0: zeroes. */
static uint32_t model_writer(const struct rb *b, uint32_t volume, uint64_t block, uint64_t commit)
{
	for (uint32_t i = b->count; i-- > 0;) {
		const struct rb_record *m = &b->records[i];

		if (m->snap == RB_RESTORE && m->end <= commit)
			return model_writer(b, volume, block, m->from);
		for (uint32_t k = m->end <= commit ? m->extent_count : 0; k-- > 0;) {
			const struct record_extent *e = &m->extents[k];

			if (e->volume == volume && block >= e->block && block < e->block + e->count)
				return e->kind == EXTENT_DATA ? b->first + i + 1 : 0;
		}
	}
	return b->base == NULL ? 0 : model_writer(b->base, volume, block, b->base_lsn);
}

void rb_check_block(const struct rb *b, const uint8_t *data, uint32_t volume, uint64_t block,
		    uint64_t commit)
{
	uint32_t writer = model_writer(b, volume, block, commit);
	uint8_t want[BLOCK_BYTES];

	memset(want, 0, sizeof(want));
	if (writer != 0)
		pattern(want, writer, volume, block);
	ck_assert_msg(memcmp(want, data, BLOCK_BYTES) == 0,
		      "volume %u block %llu below %llu: want record %u, got %u", volume,
		      (unsigned long long)block, (unsigned long long)commit, writer,
		      *(const uint32_t *)(const void *)(data + 8));
}

int rb_compare_blocks(struct rb *b, uint32_t volume, uint32_t block, uint32_t count)
{
	static uint8_t data[IO_BYTES_MAX] __attribute__((aligned(4096)));
	struct replica_read rd = {.volume = volume, .block = block, .count = count, .data = data};
	struct replica_status st;
	struct fake_wait wait;
	int rc;

	replica_status(b->r, &st);
	fake_arm_on(b->f->env, &wait, &rd.done);
	replica_read(b->r, &rd);
	rc = fake_wait(b->f, &wait);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < count; i++)
		rb_check_block(b, data + i * BLOCK_BYTES, volume, block + i, st.commit.v);
	return 0;
}

void rb_check_blocks(struct rb *b, uint32_t volume, uint32_t block, uint32_t count)
{
	ck_assert_int_eq(rb_compare_blocks(b, volume, block, count), 0);
}

void rb_check_content(struct rb *b)
{
	for (uint32_t v = 0; v < RB_VOLUMES; v++)
		for (uint32_t at = 0; at < RB_BLOCKS; at += 200)
			rb_check_blocks(b, v, at, RB_BLOCKS - at < 200 ? RB_BLOCKS - at : 200);
}

void rb_check(struct rb *b)
{
	struct replica_status st;

	replica_status(b->r, &st);
	ck_assert(!st.has_hole);
	ck_assert_uint_ge(st.tail.v, b->acked);
	ck_assert_uint_le(st.commit.v, st.tail.v);
	while (b->count > 0 && b->records[b->count - 1].end > st.tail.v)
		b->count--;
	ck_assert_uint_eq(b->count > 0 ? b->records[b->count - 1].end : 0, st.tail.v);
	b->acked = st.tail.v;
	ck_assert_int_eq(replica_commit(b->r, st.tail), 0);
	rb_check_content(b);
}
