/* SPDX-License-Identifier: Apache-2.0 */
/* Resync by comparison between two sites with real stores: only what differs moves, and nothing is missed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/repl.h"
#include "proto/store.h"
#include "tests/unit/repl/duo.h"

#define HOT 4000u /* blocks from here on are written again and again */

static struct repl_follower_status status(struct duo *d)
{
	struct repl_follower_status fs;

	repl_follower_status(d->b.follower, &fs);
	return fs;
}

static void settle(struct duo *d)
{
	struct fake_wait w;

	run(d, 50);
	commit(d);
	replica_fold(visible(d, &d->a), fake_arm_env(d->a.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
}

/* b has everything, and goes away. */
static void begin(struct duo *d, uint64_t seed, const struct duo_setup *setup)
{
	duo_open_with(d, seed, setup);
	for (uint64_t at = 0; at < HOT; at += 200)
		write_value(d, at, 200, ++d->next_value);
	follow(d);
	wait_streaming(d);
	check_equal(d);
	unfollow(d);
}

/* Until the journal does not reach back to where b is. */
static void outlast(struct duo *d)
{
	struct lsn b = tail_of(d, &d->b);
	struct replica_status st = {0};

	for (uint32_t i = 0; i < 60 && st.trim.v <= b.v; i++) {
		for (uint32_t k = 0; k < 20; k++)
			write_value(d, HOT, 90, ++d->next_value);
		settle(d);
		replica_status(visible(d, &d->a), &st);
	}
	ck_assert_uint_gt(st.trim.v, b.v);
}

/* Some 5 % of the blocks, here and there, and a range that is discarded. */
static uint32_t change(struct duo *d)
{
	uint32_t n = 0;

	for (uint64_t at = 3; at < HOT - 300; at += 40) {
		uint32_t count = 1 + (uint32_t)(at / 40 % 3);

		write_value(d, at, count, ++d->next_value);
		n += count;
	}
	write_value(d, HOT - 250, 200, 0);
	return n;
}

START_TEST(only_what_differs_is_sent)
{
	struct repl_source_status ss;
	uint64_t changed, wire;
	struct duo d;

	begin(&d, 1, &(struct duo_setup){0});
	changed = (change(&d) + 90ull) * BLOCK_BYTES;
	outlast(&d);
	memset(d.a.env->counters, 0, sizeof(*d.a.env->counters));
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_COMPARE);
	ck_assert_uint_eq(status(&d).base_bytes, changed);
	repl_source_status(d.a.source, &ss);
	ck_assert_int_eq(ss.rung, REPL_RUNG_COMPARE);
	wire = d.a.env->counters->v[CTR_REPL_BASE_BYTES] +
	       d.a.env->counters->v[CTR_REPL_COMPARE_BYTES];
	ck_assert_uint_le(wire, changed + changed / 10);
	ck_assert_uint_eq(ss.base_bytes_left, 0);
	duo_close(&d);
}
END_TEST

START_TEST(writes_go_on_meanwhile)
{
	struct duo d;

	begin(&d, 2, &(struct duo_setup){0});
	(void)change(&d);
	outlast(&d);
	follow(&d);
	writes(&d, 300, MS_NS);
	wait_streaming(&d);
	check_equal(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_COMPARE);
	duo_close(&d);
}
END_TEST

static void cut(struct duo *d, bool off)
{
	struct world *w = d->f->world;

	world_cut(w->nodes[0], w->nodes[1], off);
	world_cut(w->nodes[1], w->nodes[0], off);
}

/* K5: the unfinished walk has left behind how far it had come. */
static bool has_mark(struct duo *d)
{
	struct replica *staging = replica_staging(d->b.store, &d->group);
	struct replica_stage_mark m = {0};

	if (staging != NULL)
		replica_stage_mark(staging, &m);
	return m.epoch.number == d->epoch.number && (m.volume > 0 || m.leaf > 0);
}

/* The link flaps while the same blocks are written again and again: what has come stays, and in the end
 * little more than the difference has moved. */
START_TEST(it_goes_on_where_it_was_when_the_link_flaps)
{
	uint64_t changed, came = 0;
	uint32_t rounds = 0, marks = 0;
	struct duo d;

	begin(&d, 3, &(struct duo_setup){0});
	(void)change(&d);
	for (uint64_t at = 500; at < 3000; at += 100)
		write_value(&d, at, 100, ++d.next_value);
	changed = 3100ull * BLOCK_BYTES;
	outlast(&d);
	memset(d.b.env->counters, 0, sizeof(*d.b.env->counters));
	d.f->world->links[0][1].bytes_per_sec = 50000000;
	for (; rounds < 30; rounds++) {
		follow(&d);
		for (uint32_t k = 0; k < 30 + rounds; k++) {
			write_value(&d, HOT + 10, 20, ++d.next_value);
			run(&d, 1);
			commit(&d);
		}
		if (state(&d) == REPL_STREAMING)
			break;
		came += status(&d).base_bytes;
		cut(&d, true);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_closed, &d));
		unfollow(&d);
		marks += has_mark(&d);
		outlast(&d);
		cut(&d, false);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
	}
	d.f->world->links[0][1].bytes_per_sec = 0;
	wait_streaming(&d);
	came += status(&d).base_bytes;
	printf("flapping: %u sessions, %u left a mark, %u KiB changed, %u KiB came\n", rounds + 1,
	       marks, (uint32_t)(changed >> 10), (uint32_t)(came >> 10));
	check_equal(&d);
	ck_assert_uint_gt(d.b.env->counters->v[CTR_REPL_COMPARES_RESUMED], 2);
	ck_assert_uint_gt(marks, 0);
	ck_assert_uint_gt(d.b.env->counters->v[CTR_REPL_SUBTREES_SKIPPED], 0);
	/* Up to one window is lost with each session. */
	ck_assert_uint_le(came, changed + changed / 10 + rounds * (8ull << 20) / 4);
	ck_assert_ptr_null(replica_staging(d.b.store, &d.group));
	duo_close(&d);
}
END_TEST

/* P3, G4 */
START_TEST(power_lost_at_b_at_any_moment_is_survived)
{
	struct world_node *n;
	struct duo d;

	begin(&d, 4, &(struct duo_setup){0});
	n = d.f->world->nodes[1];
	(void)change(&d);
	outlast(&d);
	for (uint32_t i = 0; i < 12; i++) {
		follow(&d);
		writes(&d, 1 + 5 * i, MS_NS);
		world_crash(n, i % 3 == 0 ? WORLD_CRASH_KILL : WORLD_CRASH_POWER);
		repl_abandon(&d.b.repl);
		store_abandon(&d.b.store);
		d.b.follower = NULL;
		d.b.source = NULL;
		write_value(&d, HOT, 90, ++d.next_value);
		world_boot(n);
		op_init(&d.b.op, d.b.env->ready, site_step);
		site_open_store(&d, &d.b);
		site_open_repl(&d, &d.b);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
		outlast(&d);
	}
	follow(&d);
	wait_streaming(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_COMPARE);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

START_TEST(a_kept_copy_goes_when_the_journal_is_enough)
{
	struct duo d;

	begin(&d, 5, &(struct duo_setup){0});
	write_value(&d, 5, 3, ++d.next_value);
	run(&d, 50);
	commit(&d);
	{
		struct replica_stage_spec spec = {.from_own = true};
		struct replica *staging;
		struct fake_wait w;

		replica_stage_begin(d.b.store, &d.group, "g", &spec, &staging,
				    fake_arm_env(d.b.env, &w));
		ck_assert_int_eq(fake_wait(d.f, &w), 0);
	}
	follow(&d);
	wait_streaming(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_JOURNAL);
	ck_assert_ptr_null(replica_staging(d.b.store, &d.group));
	check_equal(&d);
	duo_close(&d);
}
END_TEST

START_TEST(an_older_source_sends_everything)
{
	struct duo d;

	begin(&d, 6, &(struct duo_setup){.a_features_off = REPL_FEATURE_COMPARE});
	(void)change(&d);
	outlast(&d);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_FULL);
	ck_assert_uint_gt(status(&d).base_bytes, 3000ull * BLOCK_BYTES);
	duo_close(&d);
}
END_TEST

/* Another first word of a block of the tests with the same CRC32C: differences of single bits are vectors
 * of 32 bits, so among 33 of them some add up to nothing. */
static uint64_t same_crc(uint64_t value)
{
	static uint8_t block[BLOCK_BYTES];
	uint64_t made[64];
	uint32_t diff[64], zero;

	memset(block, 0, sizeof(block));
	zero = crc32c(block, BLOCK_BYTES);
	for (uint32_t i = 0; i < 64; i++) {
		made[i] = 1ull << i;
		memcpy(block, &made[i], 8);
		diff[i] = crc32c(block, BLOCK_BYTES) ^ zero;
		for (uint32_t k = 0; k < i; k++)
			if (diff[k] != 0 && (diff[i] >> __builtin_ctz(diff[k]) & 1) != 0) {
				diff[i] ^= diff[k];
				made[i] ^= made[k];
			}
		if (diff[i] == 0)
			return value ^ made[i];
	}
	ck_abort_msg("no two blocks with one checksum");
	return 0;
}

/* K2: equal checksums are not taken for equal content where something was written. */
START_TEST(a_block_with_the_same_checksum_is_not_taken_for_the_same)
{
	struct duo d;
	uint64_t first = 12345678, second;

	duo_open(&d, 7);
	second = same_crc(first);
	write_value(&d, 700, 1, first);
	write_value(&d, 1500, 4, 77);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	unfollow(&d);
	write_value(&d, 700, 1, second);
	outlast(&d);
	follow(&d);
	wait_streaming(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_COMPARE);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

static bool is_failed(void *ctx)
{
	struct duo *d = ctx;

	return state(d) == REPL_FAILED;
}

/* Every leaf of b's maps rots while it is away: they cannot be compared, so everything is copied. */
START_TEST(an_own_map_that_cannot_be_read_is_copied_whole)
{
	static uint8_t page[PAGE_BYTES];
	const struct disk_page *h = (const void *)page;
	uint32_t leaves = 0;
	struct fake_wait w;
	struct duo d;

	begin(&d, 10, &(struct duo_setup){0});
	run(&d, 2000);
	store_close(&d.b.store, fake_arm_env(d.b.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	for (uint64_t at = 0; at < DISK_BYTES; at += PAGE_BYTES) {
		sim_disk_peek(d.b.disk, at, page, PAGE_BYTES);
		if (h->magic != PAGE_MAGIC || h->kind != PAGE_LEAF)
			continue;
		sim_disk_flip(d.b.disk, at + 100, 3);
		leaves++;
	}
	ck_assert_uint_gt(leaves, 7);
	site_open_store(&d, &d.b);
	(void)change(&d);
	outlast(&d);
	follow(&d);
	ck_assert(fake_run_until(d.f, 60 * SEC_NS, is_failed, &d));
	unfollow(&d);
	ck_assert_ptr_null(replica_staging(d.b.store, &d.group));
	follow(&d);
	wait_streaming(&d);
	ck_assert_int_eq(status(&d).rung, REPL_RUNG_FULL);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

static void append_other(struct duo *d, struct replica *r, struct record_spec *spec,
			 struct record *rec)
{
	struct replica_status st;
	struct fake_wait w;

	replica_status(r, &st);
	spec->group.b[0] = 77;
	spec->epoch = (struct epoch){1, 1, 1};
	spec->begin = st.tail;
	spec->prev_chain = st.tail_chain;
	record_seal(rec, spec);
	ck_assert_int_eq(replica_append(r, rec, fake_arm_env(d->b.env, &w)), 0);
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	record_unref(&rec);
	replica_status(r, &st);
	ck_assert_int_eq(replica_commit(r, st.durable), 0);
}

/* Another group at b that takes up so many MiB. */
static void fill(struct duo *d, uint32_t mib)
{
	struct uuid other = {{77}};
	struct record_volume body = {
		.op = RECORD_VOLUME_CREATE, .bytes = 64u << 20, .block_bytes = 4096, .name = "f"};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec volume = {.type = RECORD_VOLUME, .body = bytes};
	struct fake_wait w;
	struct replica *r;

	replica_create(d->b.store, &other, "other", fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	r = replica_find(d->b.store, &other);
	body.uuid.b[0] = 78;
	volume.body_bytes = record_volume_encode(&body, bytes);
	append_other(d, r, &volume, record_take(replica_records(r), d->b.env->bufs));
	for (uint32_t i = 0; i < mib * 4; i++) {
		struct record_extent e = {.block = i * 64, .count = 64};
		struct record *rec = record_take(replica_records(r), d->b.env->bufs);
		struct buf *b = buf_take(d->b.env->bufs, 64 * BLOCK_BYTES);
		uint32_t crcs[64];
		struct record_spec spec = {.type = RECORD_WRITE,
					   .extents = &e,
					   .extent_count = 1,
					   .crcs = crcs,
					   .payload_blocks = 64};

		memset(b->data, (int)i + 1, 64 * BLOCK_BYTES);
		for (uint32_t k = 0; k < 64; k++)
			crcs[k] = crc32c(b->data, BLOCK_BYTES);
		record_add_payload(rec, b, b->data, 64);
		buf_unref(&b);
		append_other(d, r, &spec, rec);
	}
	replica_fold(r, fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
}

/* b's store is smaller and cannot hold its own content and all that differs: it says so, keeps its consistent
 * point, gives the room back, and a is not concerned.  With less to copy it gets there. */
START_TEST(no_room_at_the_target_costs_nothing_else)
{
	uint64_t before[BLOCKS];
	struct store_status st, st2;
	struct duo d;

	begin(&d, 9, &(struct duo_setup){.b_disk_bytes = 96ull << 20});
	fill(&d, 8);
	memcpy(before, d.values, sizeof(before));
	run(&d, 2000);
	store_status(d.b.store, &st);
	for (uint64_t at = 0; at < HOT; at += 100)
		write_value(&d, at, 100, ++d.next_value);
	outlast(&d);
	follow(&d);
	ck_assert(fake_run_until(d.f, 60 * SEC_NS, is_failed, &d));
	ck_assert_int_eq(status(&d).rc, -ERR_FULL);
	unfollow(&d);
	run(&d, 5000);
	ck_assert_ptr_null(replica_staging(d.b.store, &d.group));
	store_status(d.b.store, &st2);
	ck_assert_uint_ge(st2.free_bytes + (2u << 20), st.free_bytes);
	ck_assert(!store_is_failed(d.b.store));
	for (uint64_t at = 0; at < BLOCKS; at++) { /* P3 */
		uint64_t now = d.values[at];

		d.values[at] = before[at];
		before[at] = now;
	}
	ck_assert(blocks_equal(&d, &d.b));
	memcpy(d.values, before, sizeof(before));
	for (uint64_t at = 400; at < HOT; at += 100)
		write_value(&d, at, 100, 0);
	outlast(&d);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

static bool right_with(uint32_t seed, uint32_t repl_mutant, uint32_t store_mutant)
{
	struct duo_setup setup = {.repl_mutant = repl_mutant, .store_mutant = store_mutant};
	bool right;
	struct duo d;

	begin(&d, seed, &setup);
	(void)change(&d);
	outlast(&d);
	follow(&d);
	for (uint32_t i = 0; i < 200; i++) {
		write_value(&d, 3 + i * 37 % 3600, 8, ++d.next_value);
		run(&d, i % 8 == 0);
		commit(&d);
	}
	wait_streaming(&d);
	run(&d, 100);
	commit(&d);
	run(&d, 200);
	right = blocks_equal(&d, &d.b);
	duo_close(&d);
	return right;
}

START_TEST(seeded_bugs_are_noticed)
{
	ck_assert(right_with(8, 0, 0));
	ck_assert(!right_with(8, REPL_MUTANT_SKIP_UNKNOWN, 0));
	ck_assert(!right_with(8, REPL_MUTANT_FORGET_DISCARDS, 0));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repl by comparison");
	TCase *t = tcase_create("two sites");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, only_what_differs_is_sent);
	tcase_add_test(t, writes_go_on_meanwhile);
	tcase_add_test(t, it_goes_on_where_it_was_when_the_link_flaps);
	tcase_add_test(t, power_lost_at_b_at_any_moment_is_survived);
	tcase_add_test(t, a_kept_copy_goes_when_the_journal_is_enough);
	tcase_add_test(t, an_older_source_sends_everything);
	tcase_add_test(t, a_block_with_the_same_checksum_is_not_taken_for_the_same);
	tcase_add_test(t, an_own_map_that_cannot_be_read_is_copied_whole);
	tcase_add_test(t, no_room_at_the_target_costs_nothing_else);
	tcase_add_test(t, seeded_bugs_are_noticed);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
