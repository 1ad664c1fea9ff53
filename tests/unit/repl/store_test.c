/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sites with real stores on simulated disks: what the fake store cannot show, that catch-up,
 * cuts and full copies work with the journal, fold, staging and recovery of engine/store.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/repl/repl.h"
#include "tests/lib/fakes.h"

#define DISK_BYTES (256ull << 20)
#define BLOCKS 4096u

struct site {
	struct env *env;
	struct sim_disk *disk;
	struct op op;
	struct repl *repl;
	struct store *store;
	struct repl_source *source;
	struct repl_follower *follower;
	uint32_t id;
};

struct duo {
	struct fake *f;
	struct site a, b;
	struct uuid group;
	struct epoch epoch;
	uint64_t values[BLOCKS]; /* what a's records wrote last, appended ones included */
	uint64_t next_value;
	struct repl_source *source; /* a's */
};

static struct replica *visible(struct duo *d, struct site *s)
{
	return replica_find(s->store, &d->group);
}

static void site_step(struct op *op)
{
	struct site *s = container_of(op, struct site, op);
	struct repl_attach at;
	struct link_msg m;

	while (s->repl != NULL && repl_link_take(s->repl, &m))
		;
	while (s->repl != NULL && repl_attach_take(s->repl, &at)) {
		struct repl_source_spec spec = {.attach = at, .wake = &s->op, .store = s->store};

		spec.epoch = (struct epoch){.number = at.epoch_number, .incarnation = 7, .site = 1};
		spec.replica = replica_find(s->store, &at.group);
		repl_source_close(&s->source);
		(void)!repl_source_open(s->repl, &spec, &s->source);
	}
}

static void site_open_repl(struct site *s)
{
	struct repl_peer_opts peer = {.site = 3 - s->id};
	struct repl_opts o = {.site = s->id,
			      .incarnation = 7,
			      .drop_ms = 600,
			      .groups_max = 4,
			      .peers = &peer,
			      .peer_count = 1,
			      .wake = &s->op};

	snprintf(o.name, sizeof(o.name), "%s", s->id == 1 ? "a" : "b");
	snprintf(o.listen, sizeof(o.listen), "%s:7000", s->id == 1 ? "a" : "b");
	snprintf(peer.name, sizeof(peer.name), "%s", s->id == 1 ? "b" : "a");
	snprintf(peer.address, sizeof(peer.address), "%s:7000", s->id == 1 ? "b" : "a");
	ck_assert_int_eq(repl_open(s->env, &o, &s->repl), 0);
}

static void site_open_store(struct duo *d, struct site *s)
{
	struct store_opts opts = {.memory_bytes = 64u << 20, .journal_percent = 40};
	struct fake_wait w;

	store_open(s->env, &s->disk->disk, &opts, &s->store, fake_arm_env(s->env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
}

static void site_open(struct duo *d, struct site *s, struct env *env, struct sim_disk *disk,
		      uint32_t id)
{
	struct store_format_opts format = {.segment_bytes = 4u << 20};
	struct fake_wait w;

	s->env = env;
	s->disk = disk;
	s->id = id;
	op_init(&s->op, env->ready, site_step);
	format.uuid.b[0] = (uint8_t)id;
	store_format(env, &disk->disk, &format, fake_arm_env(env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	site_open_store(d, s);
	site_open_repl(s);
}

static bool is_up(void *ctx)
{
	struct duo *d = ctx;
	struct repl_peer_status a, b;

	return repl_peer_status(d->a.repl, 2, &a) == 0 && repl_peer_status(d->b.repl, 1, &b) == 0 &&
	       a.up && b.up && a.session == b.session;
}

static void run(struct duo *d, uint64_t ms)
{
	fake_run_for(d->f, ms * MS_NS);
}

static struct lsn tail_of(struct duo *d, struct site *s)
{
	struct replica_status st;

	replica_status(visible(d, s), &st);
	return st.tail;
}

static void commit(struct duo *d);

static void took(struct duo *d, struct record_spec *spec, struct record *rec)
{
	struct replica_status st;
	int rc;

	replica_status(visible(d, &d->a), &st);
	spec->group = d->group;
	spec->epoch = d->epoch;
	spec->begin = st.tail;
	spec->prev_chain = st.tail_chain;
	spec->commit = st.commit;
	record_seal(rec, spec);
	rc = replica_append(visible(d, &d->a), rec, NULL);
	for (uint32_t i = 0; rc == -ERR_JOURNAL_FULL && i < 1000; i++) {
		run(d, 5);
		commit(d);
		rc = replica_append(visible(d, &d->a), rec, NULL);
	}
	ck_assert_int_eq(rc, 0);
	if (d->a.source != NULL)
		repl_source_record(d->a.source, rec);
	record_unref(&rec);
}

static struct record *fresh(struct duo *d)
{
	struct record *rec = record_take(replica_records(visible(d, &d->a)), d->a.env->bufs);

	ck_assert_ptr_nonnull(rec);
	return rec;
}

static void begin_epoch(struct duo *d, uint64_t number)
{
	struct record_epoch body = {0};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec spec = {.type = RECORD_EPOCH, .body = bytes};

	d->epoch = (struct epoch){.number = number, .incarnation = 7, .site = 1};
	spec.body_bytes = record_epoch_encode(&body, bytes);
	took(d, &spec, fresh(d));
}

static void make_volume(struct duo *d)
{
	struct record_volume body = {.op = RECORD_VOLUME_CREATE,
				     .bytes = BLOCKS * 4096ull,
				     .block_bytes = 4096,
				     .name = "v"};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec spec = {.type = RECORD_VOLUME, .body = bytes};

	body.uuid.b[0] = 1;
	spec.body_bytes = record_volume_encode(&body, bytes);
	took(d, &spec, fresh(d));
}

static void write_blocks(struct duo *d, uint64_t block, uint32_t count)
{
	struct record_extent e = {.block = block, .count = count};
	struct record_spec spec = {.type = RECORD_WRITE, .extents = &e, .extent_count = 1};
	struct buf *b = buf_take(d->a.env->bufs, count * 4096);
	struct record *rec;
	uint32_t crcs[256];

	for (uint32_t i = 0; b == NULL && i < 5000; i++) {
		run(d, 1); /* memory is short: as a writer would, wait */
		commit(d);
		b = buf_take(d->a.env->bufs, count * 4096);
	}
	ck_assert_ptr_nonnull(b);
	rec = fresh(d);
	d->next_value++;
	e.kind = d->next_value % 7 == 0 ? EXTENT_DISCARD : EXTENT_DATA;
	for (uint32_t i = 0; i < count; i++) {
		d->values[block + i] = e.kind == EXTENT_DATA ? d->next_value : 0;
		memset(b->data + i * 4096, 0x11, 4096);
		memcpy(b->data + i * 4096, &d->next_value, 8);
		crcs[i] = crc32c(b->data + i * 4096, 4096);
	}
	if (e.kind == EXTENT_DATA) {
		record_add_payload(rec, b, b->data, count);
		spec.crcs = crcs;
		spec.payload_blocks = count;
	}
	buf_unref(&b);
	took(d, &spec, rec);
}

static void commit(struct duo *d)
{
	struct replica_status st;

	replica_status(visible(d, &d->a), &st);
	ck_assert_int_eq(replica_commit(visible(d, &d->a), st.durable), 0);
	if (d->a.source != NULL)
		repl_source_commit(d->a.source, st.durable);
}

static void duo_open(struct duo *d, uint64_t seed)
{
	struct fake_wait w;
	struct env *env_b;

	memset(d, 0, sizeof(*d));
	d->group.b[0] = 3;
	d->f = fake_open(seed, DISK_BYTES);
	env_b = fake_node_new(d->f, "b");
	snprintf(d->f->node->name, sizeof(d->f->node->name), "a");
	site_open(d, &d->a, d->f->env, d->f->sim_disk, 1);
	site_open(d, &d->b, env_b, sim_disk_new(d->f->world->nodes[1], "disk", DISK_BYTES), 2);
	ck_assert(fake_run_until(d->f, 20 * SEC_NS, is_up, d));
	replica_create(d->a.store, &d->group, "g", fake_arm_env(d->a.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	begin_epoch(d, 1);
	make_volume(d);
	run(d, 20);
	commit(d);
}

static void unfollow(struct duo *d)
{
	struct fake_wait w;

	repl_follower_close(&d->b.follower, fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
}

static void duo_close(struct duo *d)
{
	struct fake_wait w;

	if (d->b.follower != NULL)
		unfollow(d);
	repl_source_close(&d->a.source);
	repl_close(&d->b.repl, fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	repl_close(&d->a.repl, fake_arm_env(d->a.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	run(d, 2000); /* folds and what was discarded */
	store_close(&d->b.store, fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	store_close(&d->a.store, fake_arm_env(d->a.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	op_unqueue(&d->a.op);
	op_unqueue(&d->b.op);
	fake_close(&d->f);
}

static void follow(struct duo *d)
{
	struct repl_follow_spec spec = {.site = 1,
					.group = d->group,
					.name = "g",
					.epoch = d->epoch,
					.purpose = REPL_STREAM,
					.wake = &d->b.op};

	ck_assert_int_eq(repl_follow(d->b.repl, &spec, d->b.store, &d->b.follower), 0);
}

static enum repl_state state(struct duo *d)
{
	struct repl_follower_status st;

	repl_follower_status(d->b.follower, &st);
	return st.state;
}

static bool is_streaming(void *ctx)
{
	return state(ctx) == REPL_STREAMING;
}

static bool is_closed(void *ctx)
{
	return state(ctx) == REPL_CLOSED;
}

static void wait_streaming(struct duo *d)
{
	if (!fake_run_until(d->f, 60 * SEC_NS, is_streaming, d))
		ck_abort_msg("state is %d", (int)state(d));
}

static void writes(struct duo *d, uint32_t count, uint64_t step_ns)
{
	for (uint32_t i = 0; i < count; i++) {
		write_blocks(d, d->next_value * 37 % (BLOCKS - 64),
			     1 + (uint32_t)(d->next_value % 40));
		fake_run_for(d->f, step_ns);
		if (i % 4 == 0)
			commit(d);
	}
}

static void check_blocks(struct duo *d, struct site *s)
{
	for (uint64_t at = 0; at < BLOCKS; at += 16) {
		struct replica_read rd = {.block = at, .count = 16};
		struct buf *b = buf_take(s->env->bufs, 65536);
		struct fake_wait w;

		rd.data = b->data;
		fake_arm_on(s->env, &w, &rd.done);
		replica_read(visible(d, s), &rd);
		ck_assert_int_eq(fake_wait(d->f, &w), 0);
		for (uint32_t i = 0; i < 16; i++) {
			uint64_t x;

			memcpy(&x, b->data + i * 4096, 8);
			ck_assert_msg(x == d->values[at + i], "site %u block %llu: %llu, not %llu",
				      s->id, (unsigned long long)(at + i), (unsigned long long)x,
				      (unsigned long long)d->values[at + i]);
		}
		buf_unref(&b);
	}
}

static void check_equal(struct duo *d)
{
	struct replica_status a, b;

	run(d, 100);
	commit(d);
	run(d, 200);
	replica_status(visible(d, &d->a), &a);
	replica_status(visible(d, &d->b), &b);
	ck_assert_uint_eq(a.tail.v, b.tail.v);
	ck_assert_uint_eq(a.tail_chain, b.tail_chain);
	ck_assert_uint_eq(a.commit.v, a.tail.v);
	ck_assert_uint_eq(b.commit.v, b.tail.v);
	check_blocks(d, &d->a);
	check_blocks(d, &d->b);
}

/* Fold and fill until the journal's begin is gone. */
static void trim(struct duo *d)
{
	struct replica_status st = {0};

	for (uint32_t i = 0; i < 40 && st.trim.v == 0; i++) {
		struct fake_wait w;

		writes(d, 60, 2 * MS_NS);
		run(d, 20);
		commit(d);
		replica_fold(visible(d, &d->a), fake_arm_env(d->a.env, &w));
		ck_assert_int_eq(fake_wait(d->f, &w), 0);
		replica_status(visible(d, &d->a), &st);
	}
	ck_assert_uint_gt(st.trim.v, 0);
}

START_TEST(a_new_site_catches_up_from_the_journal)
{
	struct duo d;

	duo_open(&d, 1);
	writes(&d, 150, MS_NS);
	follow(&d);
	writes(&d, 150, MS_NS);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

START_TEST(a_full_copy_under_writes_ends_equal)
{
	struct repl_follower_status fs;
	struct duo d;

	duo_open(&d, 2);
	trim(&d);
	follow(&d);
	writes(&d, 200, MS_NS);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert_uint_gt(fs.base_bytes, 0);
	duo_close(&d);
}
END_TEST

/* After a full copy the site goes on from its journal, also after it was closed and opened. */
START_TEST(a_copied_site_goes_on_from_its_journal)
{
	struct repl_follower_status fs;
	struct fake_wait w;
	struct duo d;

	duo_open(&d, 3);
	trim(&d);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	unfollow(&d);
	run(&d, 2000);
	store_close(&d.b.store, fake_arm_env(d.b.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	site_open_store(&d, &d.b);
	writes(&d, 50, MS_NS);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert_uint_eq(fs.base_bytes, 0);
	duo_close(&d);
}
END_TEST

/* Links are cut at many moments of catch-up and full copy; each time it attaches anew. */
START_TEST(a_session_lost_at_many_moments_is_survived)
{
	struct world *w;
	struct duo d;

	duo_open(&d, 4);
	trim(&d);
	w = d.f->world;
	for (uint32_t i = 0; i < 12; i++) {
		follow(&d);
		writes(&d, 2 + 5 * i, MS_NS);
		world_cut(w->nodes[0], w->nodes[1], true);
		world_cut(w->nodes[1], w->nodes[0], true);
		writes(&d, 3, MS_NS);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_closed, &d));
		unfollow(&d);
		world_cut(w->nodes[0], w->nodes[1], false);
		world_cut(w->nodes[1], w->nodes[0], false);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
	}
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

/* b holds records that a lost before they were durable there: never committed, so they are cut. */
START_TEST(a_fork_is_cut_with_the_real_journal)
{
	struct repl_follower_status fs;
	struct lsn kept;
	struct fake_wait w;
	struct duo d;

	duo_open(&d, 5);
	writes(&d, 20, MS_NS);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	kept = tail_of(&d, &d.a);
	write_blocks(&d, 5, 3);
	run(&d, 50); /* at b, not committed */
	unfollow(&d);
	repl_source_close(&d.a.source);
	replica_cut(visible(&d, &d.a), kept, fake_arm_env(d.a.env, &w));
	ck_assert_int_eq(fake_wait(d.f, &w), 0);
	begin_epoch(&d, 2);
	write_blocks(&d, 5, 3);
	run(&d, 20);
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	repl_follower_status(d.b.follower, &fs);
	ck_assert_uint_gt(fs.cut_bytes, 0);
	duo_close(&d);
}
END_TEST

/* Power fails at b in the middle of catch-up and of full copies: it comes back and starts over. */
START_TEST(a_site_that_loses_power_at_any_moment_comes_back)
{
	struct world_node *n;
	struct duo d;

	duo_open(&d, 6);
	trim(&d);
	n = d.f->world->nodes[1];
	for (uint32_t i = 0; i < 12; i++) {
		follow(&d);
		writes(&d, 1 + 7 * i, MS_NS);
		world_crash(n, i % 3 == 0 ? WORLD_CRASH_KILL : WORLD_CRASH_POWER);
		repl_abandon(&d.b.repl);
		store_abandon(&d.b.store);
		d.b.follower = NULL;
		d.b.source = NULL;
		writes(&d, 3, MS_NS);
		world_boot(n);
		op_init(&d.b.op, d.b.env->ready, site_step);
		site_open_store(&d, &d.b);
		site_open_repl(&d.b);
		ck_assert(fake_run_until(d.f, 20 * SEC_NS, is_up, &d));
	}
	follow(&d);
	wait_streaming(&d);
	check_equal(&d);
	duo_close(&d);
}
END_TEST

/* Far more is written than the journals hold: both sides must fold to go on, and commit must reach b
 * although records wait for room there. */
START_TEST(journals_that_fill_up_slow_down_and_lose_nothing)
{
	struct repl_source_status ss;
	struct duo d;

	duo_open(&d, 7);
	follow(&d);
	wait_streaming(&d);
	for (uint32_t i = 0; i < 900; i++) {
		write_blocks(&d, d.next_value * 251 % (BLOCKS - 256), 200);
		fake_run_for(d.f, 200000);
		if (i % 8 == 0)
			commit(&d);
	}
	check_equal(&d);
	repl_source_status(d.a.source, &ss);
	ck_assert_int_eq(ss.state, REPL_STREAMING);
	ck_assert_int_eq(state(&d), REPL_STREAMING);
	duo_close(&d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repl with stores");
	TCase *t = tcase_create("two sites");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_new_site_catches_up_from_the_journal);
	tcase_add_test(t, a_full_copy_under_writes_ends_equal);
	tcase_add_test(t, a_copied_site_goes_on_from_its_journal);
	tcase_add_test(t, a_session_lost_at_many_moments_is_survived);
	tcase_add_test(t, a_fork_is_cut_with_the_real_journal);
	tcase_add_test(t, a_site_that_loses_power_at_any_moment_comes_back);
	tcase_add_test(t, journals_that_fill_up_slow_down_and_lose_nothing);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
