/* SPDX-License-Identifier: Apache-2.0 */
/* The stub of space and store under a journal, and the model it is checked against. */
#include "tests/unit/store/journal_bench.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/store_parts.h"

struct space {
	bool used[BENCH_SEGMENTS];
	bool named[BENCH_CHUNKS];
	uint32_t cursor; /* chunks are taken round, so that a reused one shows */
	bool no_room;
};

struct store {
	struct bench *b;
};

int space_segment_take(struct space *sp, enum segment_kind kind, bool guaranteed,
		       uint32_t *ret_segment)
{
	for (uint32_t i = 1; i < BENCH_SEGMENTS; i++) {
		if (!sp->used[i]) {
			sp->used[i] = true;
			*ret_segment = i;
			return 0;
		}
	}
	return -ERR_JOURNAL_FULL;
}

bool space_journal_room(const struct space *sp)
{
	(void)sp;
	return true;
}

void space_segment_give(struct space *sp, uint32_t segment)
{
	sp->used[segment] = false;
}

void space_segment_untake(struct space *sp, uint32_t segment)
{
	ck_assert(sp->used[segment]);
	sp->used[segment] = false;
}

int space_segment_mark_journal(struct space *sp, uint32_t segment)
{
	if (sp->used[segment])
		return -ERR_CORRUPT;
	sp->used[segment] = true;
	return 0;
}

/* Chunks lie behind the segments. */
static uint64_t chunk_at(uint32_t i)
{
	return (BENCH_SEGMENTS * BENCH_SEGMENT_BYTES) + (uint64_t)i * CHUNK_BYTES;
}

int space_chunk_name(struct space *sp, uint64_t *ret_chunk)
{
	for (uint32_t n = 0; n < BENCH_CHUNKS && !sp->no_room; n++) {
		uint32_t i = sp->cursor++ % BENCH_CHUNKS;

		if (sp->named[i])
			continue;
		sp->named[i] = true;
		*ret_chunk = chunk_at(i);
		return 0;
	}
	return -ERR_FULL;
}

static uint32_t chunk_index(uint64_t chunk)
{
	ck_assert_uint_ge(chunk, chunk_at(0));
	ck_assert_uint_lt(chunk, chunk_at(BENCH_CHUNKS));
	return (uint32_t)((chunk - chunk_at(0)) / CHUNK_BYTES);
}

int space_chunk_name_again(struct space *sp, uint64_t chunk)
{
	uint32_t i = chunk_index(chunk);

	if (sp->named[i])
		return -ERR_CORRUPT;
	sp->named[i] = true;
	return 0;
}

void space_chunk_unname(struct space *sp, uint64_t chunk)
{
	ck_assert(sp->named[chunk_index(chunk)]);
	sp->named[chunk_index(chunk)] = false;
}

uint64_t space_free_bytes(const struct space *sp)
{
	return sp->no_room ? 0 : UINT64_MAX / 2;
}

uint32_t bench_named(const struct bench *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < BENCH_CHUNKS; i++)
		n += b->space->named[i];
	return n;
}

void bench_no_room(struct bench *b, bool no_room)
{
	b->space->no_room = no_room;
}

uint64_t space_segment_bytes(const struct space *sp)
{
	return BENCH_SEGMENT_BYTES;
}

uint64_t space_segment_off(const struct space *sp, uint32_t segment)
{
	return segment * BENCH_SEGMENT_BYTES;
}

void store_fail(struct store *s, int rc, const char *what)
{
	s->b->failed = true;
	journal_store_failed(s->b->j);
}

uint64_t bench_random(struct bench *b)
{
	b->random = b->random * 6364136223846793005ull + 1442695040888963407ull;
	return b->random >> 33;
}

static void watch_step(struct op *op)
{
	struct bench *b = container_of(op, struct bench, watch);

	if (b->j != NULL && journal_durable(b->j).v > b->acked)
		b->acked = journal_durable(b->j).v;
}

static void opts_fill(struct bench *b)
{
	static struct store store; /* tests only: one bench at a time */

	store.b = b;
	op_init(&b->watch, b->f->env->ready, watch_step);
	b->opts = (struct journal_opts){.s = &store,
					.env = b->f->env,
					.disk = b->f->disk,
					.space = b->space,
					.records_max = 256,
					.notify = &b->watch};
	memset(b->opts.store.b, 1, 16);
	memset(b->opts.group.b, 2, 16);
}

struct bench *bench_open(uint64_t seed)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct buf_pool_sizes bufs = {{4000, 100, 8}};

	b->f = fake_open_bufs(
		seed, BENCH_SEGMENTS * BENCH_SEGMENT_BYTES + (uint64_t)BENCH_CHUNKS * CHUNK_BYTES,
		&bufs);
	b->space = calloc(1, sizeof(*b->space));
	b->random = seed * 77 + 5;
	opts_fill(b);
	ck_assert_int_eq(record_pool_open(256, &b->pool), 0);
	ck_assert_int_eq(journal_create(&b->opts, (struct lsn){0}, 0, &b->j), 0);
	journal_root_at(b->j, (struct lsn){0}, &b->root);
	return b;
}

void bench_close(struct bench **bench)
{
	struct bench *b = *bench;

	*bench = NULL;
	fake_crash(b->f); /* writes may be in flight */
	journal_abandon(&b->j);
	record_pool_close(&b->pool);
	fake_close(&b->f);
	free(b->space);
	free(b);
}

int bench_append(struct bench *b, uint32_t blocks, struct completion *done)
{
	struct record_spec spec = {.type = blocks > 0 ? RECORD_WRITE : RECORD_NOTE,
				   .begin = journal_tail(b->j),
				   .prev_chain = journal_tail_chain(b->j),
				   .epoch = {1, 1, 1}};
	struct record_extent e = {.block = blocks % 100 == 99 ? bench_random(b) % 600 * CHUNK_BLOCKS
							      : bench_random(b) % 10000,
				  .count = blocks};
	struct record *r = record_take(b->pool, b->f->env->bufs);
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX];
	int rc;

	if (r == NULL)
		return -ERR_POOL_EMPTY;
	spec.group = b->opts.group;
	if (blocks > 0) {
		struct buf *buf = buf_take(b->f->env->bufs, blocks * BLOCK_BYTES);

		if (buf == NULL) {
			record_unref(&r);
			return -ERR_POOL_EMPTY;
		}
		for (uint32_t i = 0; i < blocks; i++) {
			memset(buf->data + i * BLOCK_BYTES, (int)bench_random(b), BLOCK_BYTES);
			crcs[i] = crc32c(buf->data + i * BLOCK_BYTES, BLOCK_BYTES);
		}
		record_add_payload(r, buf, buf->data, blocks);
		buf_unref(&buf);
		spec.extents = &e;
		spec.extent_count = 1;
		spec.crcs = crcs;
		spec.payload_blocks = blocks;
	}
	record_seal(r, &spec);
	rc = journal_append(b->j, r, done);
	if (rc == 0) {
		ck_assert_uint_lt(b->count, BENCH_RECORDS_MAX);
		b->records[b->count++] = (struct bench_record){r->view.begin.v, r->view.end.v,
							       r->view.chain, blocks};
	}
	record_unref(&r);
	return rc;
}

void bench_run(struct bench *b, uint64_t ns)
{
	fake_run_for(b->f, ns);
}

static bool settled(void *ctx)
{
	struct bench *b = ctx;

	return !journal_is_busy(b->j) || b->f->sim_disk->faults.stopped;
}

void bench_settle(struct bench *b)
{
	fake_run_until(b->f, 10 * SEC_NS, settled, b);
	if (!b->failed && journal_durable(b->j).v > b->acked)
		b->acked = journal_durable(b->j).v;
}

void bench_checkpoint(struct bench *b, uint32_t keep_records)
{
	struct journal_uncommitted u;
	uint64_t fold = b->root_fold.v;

	for (uint32_t i = 0; i + keep_records < b->count; i++)
		fold = b->records[i].end <= journal_durable(b->j).v ? b->records[i].end : fold;
	while (journal_uncommitted_first(b->j, &u) && u.view.end.v <= fold)
		journal_committed_first(b->j);
	b->root_fold.v = fold > b->root_fold.v ? fold : b->root_fold.v;
	b->root_known = journal_durable(b->j);
	journal_root_at(b->j, b->root_fold, &b->root);
	journal_trim_to(b->j, &b->root);
}

static int found(void *ctx, const struct record_view *view, const uint8_t *header,
		 const struct journal_place *place)
{
	struct bench *b = ctx;
	static uint8_t block[BLOCK_BYTES];
	struct record_runs runs;

	ck_assert_uint_lt(b->found_count, BENCH_RECORDS_MAX);
	b->found[b->found_count++] = (struct bench_record){view->begin.v, view->end.v, view->chain,
							   view->payload_blocks};
	sim_disk_peek(b->f->sim_disk, place->off, block, BLOCK_BYTES);
	if (view->end.v > b->root_fold.v)
		ck_assert_mem_eq(block, header, view->logical_bytes);
	record_runs(header, view, &runs);
	ck_assert(record_chunks_fit(&runs, &place->chunks));
	b->found_chunks += place->chunks.count;
	for (uint32_t i = 0; i < view->payload_blocks; i++) { /* every block is where it is said */
		sim_disk_peek(b->f->sim_disk,
			      record_block_off(&runs, &place->chunks, place->off, i,
					       view->payload_blocks, NULL),
			      block, BLOCK_BYTES);
		if (!b->content_may_differ)
			ck_assert_uint_eq(crc32c(block, BLOCK_BYTES),
					  record_crc_at(header, view, i));
	}
	return 0;
}

int bench_recover(struct bench *b)
{
	struct fake_wait wait;

	memset(b->space->used, 0, sizeof(b->space->used));
	memset(b->space->named, 0, sizeof(b->space->named));
	b->found_count = b->found_chunks = 0;
	ck_assert_int_eq(journal_from_root(&b->opts, &b->root, &b->j), 0);
	journal_recover(b->j, b->root_fold, b->root_known, found, b, &b->result,
			fake_arm(b->f, &wait));
	b->recover_rc = fake_wait(b->f, &wait);
	return b->recover_rc;
}

void bench_crash(struct bench *b)
{
	fake_crash(b->f);
	journal_abandon(&b->j);
	record_pool_close(&b->pool);
	fake_boot(b->f);
	ck_assert_int_eq(record_pool_open(256, &b->pool), 0);
	b->failed = false;
	opts_fill(b);
}

void bench_check(struct bench *b)
{
	uint32_t at = 0;

	ck_assert_int_eq(b->recover_rc, 0);
	ck_assert(!b->result.has_hole);
	ck_assert_uint_ge(journal_tail(b->j).v, b->acked);
	for (uint32_t i = 0; i < b->found_count; i++) {
		while (at < b->count && b->records[at].begin < b->found[i].begin)
			at++;
		ck_assert_uint_lt(at, b->count);
		ck_assert_uint_eq(b->records[at].begin, b->found[i].begin);
		ck_assert_uint_eq(b->records[at].end, b->found[i].end);
		ck_assert_uint_eq(b->records[at].chain, b->found[i].chain);
		if (i > 0)
			ck_assert_uint_eq(b->found[i].begin, b->found[i - 1].end);
	}
	if (b->found_count > 0)
		ck_assert_uint_eq(b->found[b->found_count - 1].end, journal_tail(b->j).v);
	while (b->count > 0 && b->records[b->count - 1].begin >= journal_tail(b->j).v)
		b->count--;
	ck_assert_uint_eq(b->count > 0 ? b->records[b->count - 1].chain : 0,
			  journal_tail_chain(b->j));
	b->acked = journal_tail(b->j).v;
}
