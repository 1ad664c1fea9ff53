/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fold under pressure: a volume of many more leaves than the cache holds, large discards, the rule
 * of staged base blocks (QUORUM J8), a full store.  The model is one word per block.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/map_edit.h"
#include "engine/store/replica.h"
#include "engine/store/replica_fold.h"
#include "engine/store/store.h"
#include "engine/store/store_parts.h"
#include "tests/unit/store/check_bench.h"

#define VOLUME_BLOCKS (1ull << 20) /* 4 GiB: 2048 leaves */

struct wide {
	struct fake *f;
	struct store *s;
	struct replica *r;
	struct uuid group;
	uint32_t *model; /* word of each block; 0: zeroes */
	uint32_t writes;
	uint64_t random;
	uint32_t mutant;
};

static uint64_t next_random(struct wide *w)
{
	w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
	return w->random >> 33;
}

static void block_fill(uint8_t *data, uint32_t word)
{
	memset(data, 0, BLOCK_BYTES);
	memcpy(data, &word, sizeof(word));
	if (word != 0)
		memcpy(data + 2000, &word, sizeof(word));
}

static void append_to(struct wide *w, struct replica *r, enum record_type type,
		      const struct record_extent *e, uint32_t count, const uint32_t *words,
		      const uint8_t *body, uint32_t body_bytes)
{
	struct record_spec spec = {.type = type,
				   .group = w->group,
				   .epoch = {1, 1, 1},
				   .extents = e,
				   .extent_count = count,
				   .body = body,
				   .body_bytes = body_bytes};
	struct record *rec = record_take(replica_records(r), w->f->env->bufs);
	struct replica_status st;
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX];
	struct buf *buf = NULL;
	struct fake_wait wait;
	int rc;

	ck_assert_ptr_nonnull(rec);
	for (uint32_t i = 0; i < count; i++)
		spec.payload_blocks += e[i].kind == EXTENT_DATA ? e[i].count : 0;
	if (spec.payload_blocks > 0) {
		buf = buf_take(w->f->env->bufs, spec.payload_blocks * BLOCK_BYTES);
		ck_assert_ptr_nonnull(buf);
		for (uint32_t i = 0; i < spec.payload_blocks; i++) {
			block_fill(buf->data + i * BLOCK_BYTES, words[i]);
			crcs[i] = crc32c(buf->data + i * BLOCK_BYTES, BLOCK_BYTES);
		}
		record_add_payload(rec, buf, buf->data, spec.payload_blocks);
		spec.crcs = crcs;
	}
	replica_status(r, &st);
	spec.begin = st.tail;
	spec.prev_chain = st.tail_chain;
	spec.commit = st.commit;
	record_seal(rec, &spec);
	for (;;) {
		rc = replica_append(r, rec, fake_arm(w->f, &wait));
		if (rc != -ERR_JOURNAL_FULL)
			break;
		fake_run_for(w->f, 20 * MS_NS);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	while ((rc = replica_commit(r, rec->view.end)) == -ERR_AGAIN)
		fake_run_for(w->f, 20 * MS_NS);
	ck_assert_int_eq(rc, 0);
	record_unref(&rec);
	buf_unref(&buf);
}

static void wide_reopen(struct wide *w)
{
	struct store_opts opts = {.memory_bytes = 8 << 20, .mutant = w->mutant, .fold_idle_ms = 30};
	struct fake_wait wait;

	store_open(w->f->env, w->f->disk, &opts, &w->s, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	w->r = replica_find(w->s, &w->group);
}

static struct wide *wide_open(uint64_t seed, uint64_t disk_bytes, uint32_t mutant)
{
	struct store_format_opts format = {.uuid = {{5}}};
	struct record_volume v = {.op = RECORD_VOLUME_CREATE,
				  .bytes = VOLUME_BLOCKS * BLOCK_BYTES,
				  .block_bytes = 4096,
				  .uuid = {{8}},
				  .name = "wide"};
	struct record_epoch epoch = {0, 1};
	struct wide *w = calloc(1, sizeof(*w));
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct fake_wait wait;

	w->f = fake_open(seed, disk_bytes);
	w->random = seed;
	w->mutant = mutant;
	w->group.b[3] = 4;
	w->model = calloc(VOLUME_BLOCKS, sizeof(*w->model));
	store_format(w->f->env, w->f->disk, &format, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	wide_reopen(w);
	replica_create(w->s, &w->group, "wide", fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	w->r = replica_find(w->s, &w->group);
	append_to(w, w->r, RECORD_EPOCH, NULL, 0, NULL, body, record_epoch_encode(&epoch, body));
	append_to(w, w->r, RECORD_VOLUME, NULL, 0, NULL, body, record_volume_encode(&v, body));
	return w;
}

static void wide_close(struct wide **wp)
{
	struct wide *w = *wp;
	struct fake_wait wait;

	if (w->s != NULL) {
		store_close(&w->s, fake_arm(w->f, &wait));
		ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	}
	fake_close(&w->f);
	free(w->model);
	free(w);
	*wp = NULL;
}

static void wide_crash(struct wide *w)
{
	fake_crash(w->f);
	store_abandon(&w->s);
	fake_boot(w->f);
}

static void write_blocks(struct wide *w, uint64_t block, uint32_t count)
{
	struct record_extent e = {.kind = EXTENT_DATA, .block = block, .count = count};
	uint32_t words[RECORD_PAYLOAD_BLOCKS_MAX];

	for (uint32_t i = 0; i < count; i++)
		words[i] = w->model[block + i] = ++w->writes;
	append_to(w, w->r, RECORD_WRITE, &e, 1, words, NULL, 0);
}

static void clear_blocks(struct wide *w, enum extent_kind kind, uint64_t block, uint32_t count)
{
	struct record_extent e = {.kind = kind, .block = block, .count = count};

	memset(&w->model[block], 0, count * sizeof(*w->model));
	append_to(w, w->r, RECORD_WRITE, &e, 1, NULL, NULL, 0);
}

static void check_range(struct wide *w, uint64_t block, uint32_t count)
{
	static uint8_t data[IO_BYTES_MAX] __attribute__((aligned(4096)));
	struct replica_read rd = {.block = block, .count = count, .data = data};
	uint8_t want[BLOCK_BYTES];
	struct fake_wait wait;

	fake_arm_on(w->f->env, &wait, &rd.done);
	replica_read(w->r, &rd);
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	for (uint32_t i = 0; i < count; i++) {
		block_fill(want, w->model[block + i]);
		ck_assert_msg(memcmp(want, data + i * BLOCK_BYTES, BLOCK_BYTES) == 0,
			      "block %llu: want %u, got %u", (unsigned long long)(block + i),
			      w->model[block + i], *(uint32_t *)(void *)(data + i * BLOCK_BYTES));
	}
}

static void check_all(struct wide *w)
{
	for (uint64_t at = 0; at < VOLUME_BLOCKS; at += 16)
		for (uint32_t i = 0; i < 16; i++)
			if (w->model[at + i] != 0) {
				check_range(w, at, 16);
				break;
			}
	for (uint32_t i = 0; i < 200; i++)
		check_range(w, next_random(w) % (VOLUME_BLOCKS - 256), 256);
}

static void fold_now(struct wide *w)
{
	struct fake_wait wait;

	replica_fold(w->r, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
}

static void random_work(struct wide *w, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t block = next_random(w) % (VOLUME_BLOCKS - 256);

		switch (next_random(w) % 20) {
		case 0:
			clear_blocks(w, EXTENT_DISCARD, block, 1 + (uint32_t)next_random(w) % 200);
			break;
		case 1:
			clear_blocks(w, EXTENT_ZERO, block, 1 + (uint32_t)next_random(w) % 200);
			break;
		case 2:
			write_blocks(w, block, 1 + (uint32_t)next_random(w) % 200);
			break;
		default:
			write_blocks(w, block, 1);
		}
	}
}

START_TEST(many_more_leaves_than_the_cache_holds)
{
	struct wide *w = wide_open(1, 512 << 20, 0);

	for (int round = 0; round < 3; round++) {
		random_work(w, 1200);
		check_all(w);
		wide_crash(w);
		check_bench_clean(w->f);
		wide_reopen(w);
		check_all(w);
	}
	fold_now(w);
	check_all(w);
	wide_close(&w);
}
END_TEST

START_TEST(discard_of_everything_gives_all_space_back)
{
	struct wide *w = wide_open(2, 512 << 20, 0);
	struct store_status before, st;

	store_status(w->s, &before);
	random_work(w, 800);
	fold_now(w);
	for (uint64_t at = 0; at < VOLUME_BLOCKS; at += 1 << 18)
		clear_blocks(w, EXTENT_DISCARD, at, 1 << 18);
	fold_now(w);
	clear_blocks(w, EXTENT_DISCARD, 0, 1);
	fold_now(w);
	store_status(w->s, &st);
	ck_assert_uint_le(st.used_bytes,
			  before.used_bytes + (8 << 20)); /* journal segments, a few pages */
	check_all(w);
	wide_close(&w);
}
END_TEST

/* A chunk is given when its last block goes, in whatever pieces and whichever way. */
START_TEST(chunk_discarded_or_zeroed_in_pieces_is_given_back_and_zeroes_take_nothing)
{
	struct wide *w = wide_open(7, 512 << 20, 0);
	struct store_status before, st;

	write_blocks(w, 0, 1); /* its leaf stays */
	fold_now(w);
	fold_now(w);
	store_status(w->s, &before);
	write_blocks(w, 64, 256);
	fold_now(w);
	store_status(w->s, &st);
	ck_assert_uint_ge(st.used_bytes, before.used_bytes + (1 << 20));
	for (uint32_t i = 0; i < 256; i++)
		clear_blocks(w, i % 3 == 0 ? EXTENT_ZERO : EXTENT_DISCARD, 64 + (i * 7 + 3) % 256,
			     1);
	fold_now(w);
	clear_blocks(w, EXTENT_ZERO, 1024, 256);
	fold_now(w);
	fold_now(w);
	store_status(w->s, &st);
	ck_assert_uint_le(st.used_bytes, before.used_bytes + (64 << 10)); /* a few pages */
	check_all(w);
	wide_crash(w);
	check_bench_clean(w->f);
	wide_reopen(w);
	check_all(w);
	wide_close(&w);
}
END_TEST

/* Every byte that goes to the device for 64 MiB of writes of 1 MiB, fold and checkpoint included. */
static uint64_t written(const uint64_t *v)
{
	return v[CTR_JOURNAL_BYTES] + v[CTR_CHUNK_BYTES] + v[CTR_HOME_BYTES] + v[CTR_MAP_BYTES];
}

START_TEST(large_writes_reach_the_disk_once_and_the_map_is_cheap)
{
	struct wide *w = wide_open(3, 512 << 20, 0);
	const uint64_t *v = w->f->env->counters->v;
	uint64_t map, home, all;

	fold_now(w);
	map = v[CTR_MAP_BYTES];
	home = v[CTR_HOME_BYTES];
	all = written(v);
	for (uint64_t at = 0; at < 16384; at += 256) /* 64 MiB */
		write_blocks(w, at, 256);
	fold_now(w);
	ck_assert_uint_eq(v[CTR_HOME_BYTES] - home, 0);
	ck_assert_uint_le(v[CTR_MAP_BYTES] - map, 2 << 20);
	ck_assert_uint_le((written(v) - all) * 100, (64ull << 20) * 105);
	check_all(w);
	write_blocks(w, 100, 1); /* while its record names the chunk: redirected */
	write_blocks(w, 256, 20);
	fold_now(w);
	check_all(w);
	wide_crash(w);
	check_bench_clean(w->f);
	wide_reopen(w);
	check_all(w);
	wide_close(&w);
}
END_TEST

/* The copy of block b arrives after the stream wrote, zeroed or discarded b, folded or not. */
static void staged(uint32_t mutant, bool fold, uint32_t *ret_wrong)
{
	struct wide *w = wide_open(4, 128 << 20, mutant);
	static struct replica_volume volumes[VOLUMES_MAX];
	static uint8_t data[32 * BLOCK_BYTES] __attribute__((aligned(4096)));
	uint32_t crcs[32], words[32];
	struct replica_stage_spec spec = {.volumes = volumes};
	struct record_extent e[3] = {{.kind = EXTENT_DATA, .block = 4, .count = 2},
				     {.kind = EXTENT_ZERO, .block = 8, .count = 2},
				     {.kind = EXTENT_DISCARD, .block = 16, .count = 16}};
	struct replica_import im = {.count = 32, .data = data, .crcs = crcs};
	struct replica_read rd = {.count = 32, .data = data};
	struct replica *staging = NULL;
	struct replica_status st;
	struct fake_wait wait;

	replica_status(w->r, &st);
	spec.begin = st.commit;
	spec.chain = st.tail_chain;
	spec.volume_count = replica_volumes(w->r, volumes, VOLUMES_MAX);
	replica_stage_begin(w->s, &w->group, "wide", &spec, &staging, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	words[0] = 1001;
	words[1] = 1002;
	append_to(w, staging, RECORD_WRITE, e, 3, words, NULL, 0);
	if (fold) {
		replica_fold(staging, fake_arm(w->f, &wait));
		ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	}
	for (uint32_t i = 0; i < 32; i++) {
		block_fill(data + i * BLOCK_BYTES, 500 + i);
		crcs[i] = crc32c(data + i * BLOCK_BYTES, BLOCK_BYTES);
		w->model[i] = 500 + i;
	}
	w->model[4] = 1001;
	w->model[5] = 1002;
	for (uint32_t i = 0; i < 32; i++)
		if (i == 8 || i == 9 || i >= 16)
			w->model[i] = 0;
	fake_arm_on(w->f->env, &wait, &im.done);
	replica_stage_import(staging, &im);
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	replica_stage_switch(w->s, &w->group, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	w->r = replica_find(w->s, &w->group);
	ck_assert_ptr_eq(w->r, staging);
	fold_now(w);
	fake_arm_on(w->f->env, &wait, &rd.done);
	replica_read(w->r, &rd);
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	*ret_wrong = 0;
	for (uint32_t i = 0; i < 32; i++)
		*ret_wrong += *(uint32_t *)(void *)(data + i * BLOCK_BYTES) != w->model[i];
	wide_close(&w);
}

START_TEST(base_block_never_replaces_a_streamed_one)
{
	uint32_t wrong;

	staged(0, false, &wrong);
	ck_assert_uint_eq(wrong, 0);
	staged(0, true, &wrong);
	ck_assert_uint_eq(wrong, 0);
}
END_TEST

/* The seeded bug must be seen. */
START_TEST(base_block_that_replaces_a_streamed_one_is_found)
{
	uint32_t wrong;

	staged(STORE_MUTANT_BASE_OVERWRITES, true, &wrong);
	ck_assert_uint_gt(wrong, 0);
}
END_TEST

static void import_blocks(struct wide *w, struct replica *staging, uint32_t first, uint32_t count)
{
	static uint8_t data[16 * BLOCK_BYTES] __attribute__((aligned(4096)));
	uint32_t crcs[16];
	struct replica_import im = {.block = first, .count = count, .data = data, .crcs = crcs};
	struct fake_wait wait;

	for (uint32_t i = 0; i < count; i++) {
		w->model[first + i] = 500 + first + i;
		block_fill(data + i * BLOCK_BYTES, w->model[first + i]);
		crcs[i] = crc32c(data + i * BLOCK_BYTES, BLOCK_BYTES);
	}
	fake_arm_on(w->f->env, &wait, &im.done);
	replica_stage_import(staging, &im);
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
}

/* Another tree on the root of the staging one, as a snapshot would have it. */
static struct map *share_tree(struct wide *w, struct replica *staging)
{
	struct volume_root root = {.volume = {.bytes = VOLUME_BLOCKS * BLOCK_BYTES}};
	struct fake_wait wait;
	struct map *m;

	store_checkpoint(w->s, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	ck_assert_int_eq(map_root_share(replica_map(staging, 0), &root), 0);
	ck_assert_int_eq(map_open(w->s, &root, &m), 0);
	return m;
}

/* Redirected, then copied up; what the other trees have stays theirs. */
START_TEST(base_blocks_go_beside_what_other_trees_share)
{
	struct wide *w = wide_open(6, 128 << 20, 0);
	static struct replica_volume volumes[VOLUMES_MAX];
	struct replica_stage_spec spec = {.volumes = volumes};
	struct replica *staging = NULL;
	struct replica_status st;
	struct fake_wait wait;
	struct map *trees[3];

	replica_status(w->r, &st);
	spec.begin = st.commit;
	spec.chain = st.tail_chain;
	spec.volume_count = replica_volumes(w->r, volumes, VOLUMES_MAX);
	replica_stage_begin(w->s, &w->group, "wide", &spec, &staging, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	import_blocks(w, staging, 0, 4);
	trees[0] = share_tree(w, staging);
	import_blocks(w, staging, 4, 2);
	trees[1] = share_tree(w, staging);
	import_blocks(w, staging, 6, 1);
	trees[2] = share_tree(w, staging);
	import_blocks(w, staging, 7, 9);
	ck_assert_uint_eq(map_used_bytes(replica_map(staging, 0)), 16 * BLOCK_BYTES);
	for (int i = 0; i < 3; i++) {
		static const uint64_t blocks[3] = {4, 6, 7};

		ck_assert_uint_eq(map_used_bytes(trees[i]), blocks[i] * BLOCK_BYTES);
		map_discard(&trees[i]);
	}
	replica_stage_switch(w->s, &w->group, fake_arm(w->f, &wait));
	ck_assert_int_eq(fake_wait(w->f, &wait), 0);
	w->r = replica_find(w->s, &w->group);
	check_range(w, 0, 32);
	fake_run_for(w->f, 2 * SEC_NS); /* the trees are given back */
	fold_now(w);
	wide_crash(w);
	check_bench_clean(w->f);
	wide_reopen(w);
	check_range(w, 0, 32);
	wide_close(&w);
}
END_TEST

START_TEST(full_store_stops_folding_and_a_discard_frees_it)
{
	struct wide *w = wide_open(5, 64 << 20, 0);
	struct store_status st;
	uint64_t at = 0;

	store_status(w->s, &st);
	ck_assert_int_eq(store_room(w->s), STORE_ROOM_OK);
	while (st.free_bytes > (2 << 20)) {
		write_blocks(w, at, 128);
		at += 128;
		fold_now(w);
		store_status(w->s, &st);
		ck_assert_uint_lt(at, VOLUME_BLOCKS);
	}
	ck_assert_int_eq(store_room(w->s), STORE_ROOM_LITTLE);
	check_all(w);
	clear_blocks(w, EXTENT_DISCARD, 0, (uint32_t)at / 2);
	fold_now(w);
	ck_assert_int_ne(store_room(w->s), STORE_ROOM_LITTLE);
	for (uint64_t again = 0; again < at / 4; again += 128)
		write_blocks(w, again, 128);
	fold_now(w);
	check_all(w);
	wide_crash(w);
	check_bench_clean(w->f);
	wide_reopen(w);
	check_all(w);
	wide_close(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store/fold");
	TCase *c = tcase_create("fold");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, many_more_leaves_than_the_cache_holds);
	tcase_add_test(c, discard_of_everything_gives_all_space_back);
	tcase_add_test(c,
		       chunk_discarded_or_zeroed_in_pieces_is_given_back_and_zeroes_take_nothing);
	tcase_add_test(c, large_writes_reach_the_disk_once_and_the_map_is_cheap);
	tcase_add_test(c, base_block_never_replaces_a_streamed_one);
	tcase_add_test(c, base_block_that_replaces_a_streamed_one_is_found);
	tcase_add_test(c, base_blocks_go_beside_what_other_trees_share);
	tcase_add_test(c, full_store_stops_folding_and_a_discard_frees_it);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
