/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose.  See duo.h. */
#include "tests/unit/repl/duo.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"

struct replica *visible(struct duo *d, struct site *s)
{
	return replica_find(s->store, &d->group);
}

void site_step(struct op *op)
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

void site_open_repl(struct duo *d, struct site *s)
{
	struct repl_peer_opts peer = {.site = 3 - s->id};
	struct repl_opts o = {.site = s->id,
			      .incarnation = 7,
			      .drop_ms = 600,
			      .groups_max = 4,
			      .peers = &peer,
			      .peer_count = 1,
			      .wake = &s->op,
			      .mutant = d->setup.repl_mutant,
			      .features_off = s->id == 1 ? d->setup.a_features_off : 0};

	snprintf(o.name, sizeof(o.name), "%s", s->id == 1 ? "a" : "b");
	snprintf(o.listen, sizeof(o.listen), "%s:7000", s->id == 1 ? "a" : "b");
	snprintf(peer.name, sizeof(peer.name), "%s", s->id == 1 ? "b" : "a");
	snprintf(peer.address, sizeof(peer.address), "%s:7000", s->id == 1 ? "b" : "a");
	ck_assert_int_eq(repl_open(s->env, &o, &s->repl), 0);
}

void site_open_store(struct duo *d, struct site *s)
{
	struct store_opts opts = {
		.memory_bytes = 64u << 20, .journal_percent = 40, .mutant = d->setup.store_mutant};
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
	site_open_repl(d, s);
}

bool is_up(void *ctx)
{
	struct duo *d = ctx;
	struct repl_peer_status a, b;

	return repl_peer_status(d->a.repl, 2, &a) == 0 && repl_peer_status(d->b.repl, 1, &b) == 0 &&
	       a.up && b.up && a.session == b.session;
}

void run(struct duo *d, uint64_t ms)
{
	fake_run_for(d->f, ms * MS_NS);
}

struct lsn tail_of(struct duo *d, struct site *s)
{
	struct replica_status st;

	replica_status(visible(d, s), &st);
	return st.tail;
}

static void took(struct duo *d, struct record_spec *spec, struct record *rec)
{
	struct replica_status st;
	int rc;

	replica_status(visible(d, d->writer), &st);
	spec->group = d->group;
	spec->epoch = d->epoch;
	spec->begin = st.tail;
	spec->prev_chain = st.tail_chain;
	spec->commit = st.commit;
	record_seal(rec, spec);
	rc = replica_append(visible(d, d->writer), rec, NULL);
	for (uint32_t i = 0; rc == -ERR_JOURNAL_FULL && i < 1000; i++) {
		run(d, 5);
		commit(d);
		rc = replica_append(visible(d, d->writer), rec, NULL);
	}
	ck_assert_int_eq(rc, 0);
	if (d->writer->source != NULL)
		repl_source_record(d->writer->source, rec);
	record_unref(&rec);
}

static struct record *fresh(struct duo *d)
{
	struct record *rec =
		record_take(replica_records(visible(d, d->writer)), d->writer->env->bufs);

	ck_assert_ptr_nonnull(rec);
	return rec;
}

void begin_epoch(struct duo *d, uint64_t number)
{
	struct record_epoch body = {.last_forced_epoch = d->forced};
	uint8_t bytes[RECORD_BODY_BYTES_MAX];
	struct record_spec spec = {.type = RECORD_EPOCH, .body = bytes};

	d->epoch = (struct epoch){.number = number, .incarnation = 7, .site = d->writer->id};
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

void write_blocks(struct duo *d, uint64_t block, uint32_t count)
{
	uint64_t value = ++d->next_value;

	write_value(d, block, count, value % 7 == 0 ? 0 : value);
}

void write_value(struct duo *d, uint64_t block, uint32_t count, uint64_t value)
{
	struct record_extent e = {.block = block, .count = count};
	struct record_spec spec = {.type = RECORD_WRITE, .extents = &e, .extent_count = 1};
	struct buf *b = buf_take(d->writer->env->bufs, count * 4096);
	struct record *rec;
	uint32_t crcs[256];

	for (uint32_t i = 0; b == NULL && i < 5000; i++) {
		run(d, 1); /* memory is short: as a writer would, wait */
		commit(d);
		b = buf_take(d->writer->env->bufs, count * 4096);
	}
	ck_assert_ptr_nonnull(b);
	rec = fresh(d);
	e.kind = value == 0 ? EXTENT_DISCARD : EXTENT_DATA;
	for (uint32_t i = 0; i < count; i++) {
		d->values[block + i] = value;
		memset(b->data + i * 4096, 0x11, 4096);
		memcpy(b->data + i * 4096, &value, 8);
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

void commit(struct duo *d)
{
	struct replica_status st;

	replica_status(visible(d, d->writer), &st);
	ck_assert_int_eq(replica_commit(visible(d, d->writer), st.durable), 0);
	if (d->writer->source != NULL)
		repl_source_commit(d->writer->source, st.durable);
}

void duo_open(struct duo *d, uint64_t seed)
{
	duo_open_with(d, seed, &(struct duo_setup){0});
}

void duo_open_with(struct duo *d, uint64_t seed, const struct duo_setup *setup)
{
	struct fake_wait w;
	struct env *env_b;

	memset(d, 0, sizeof(*d));
	d->setup = *setup;
	d->writer = &d->a;
	d->group.b[0] = 3;
	d->f = fake_open(seed, DISK_BYTES);
	env_b = fake_node_new(d->f, "b");
	snprintf(d->f->node->name, sizeof(d->f->node->name), "a");
	site_open(d, &d->a, d->f->env, d->f->sim_disk, 1);
	site_open(d, &d->b, env_b,
		  sim_disk_new(d->f->world->nodes[1], "disk",
			       setup->b_disk_bytes != 0 ? setup->b_disk_bytes : DISK_BYTES),
		  2);
	ck_assert(fake_run_until(d->f, 20 * SEC_NS, is_up, d));
	replica_create(d->a.store, &d->group, "g", fake_arm_env(d->a.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
	begin_epoch(d, 1);
	make_volume(d);
	run(d, 20);
	commit(d);
}

void unfollow(struct duo *d)
{
	struct fake_wait w;

	repl_follower_close(&d->b.follower, fake_arm_env(d->b.env, &w));
	ck_assert_int_eq(fake_wait(d->f, &w), 0);
}

void duo_close(struct duo *d)
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

void follow(struct duo *d)
{
	struct repl_follow_spec spec = {.site = 1,
					.group = d->group,
					.name = "g",
					.epoch = d->epoch,
					.purpose = REPL_STREAM,
					.wake = &d->b.op};

	ck_assert_int_eq(repl_follow(d->b.repl, &spec, d->b.store, &d->b.follower), 0);
}

enum repl_state state(struct duo *d)
{
	struct repl_follower_status st;

	repl_follower_status(d->b.follower, &st);
	return st.state;
}

static bool is_streaming(void *ctx)
{
	return state(ctx) == REPL_STREAMING;
}

bool is_closed(void *ctx)
{
	return state(ctx) == REPL_CLOSED;
}

void wait_streaming(struct duo *d)
{
	if (!fake_run_until(d->f, 60 * SEC_NS, is_streaming, d))
		ck_abort_msg("state is %d", (int)state(d));
}

void writes(struct duo *d, uint32_t count, uint64_t step_ns)
{
	for (uint32_t i = 0; i < count; i++) {
		write_blocks(d, d->next_value * 37 % (BLOCKS - 64),
			     1 + (uint32_t)(d->next_value % 40));
		fake_run_for(d->f, step_ns);
		if (i % 4 == 0)
			commit(d);
	}
}

/* How many blocks are not what was written last; tells the first. */
static uint32_t blocks_wrong(struct duo *d, struct site *s)
{
	uint32_t wrong = 0;

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
			if (x != d->values[at + i] && wrong++ == 0)
				printf("site %u block %llu: %llu, not %llu\n", s->id,
				       (unsigned long long)(at + i), (unsigned long long)x,
				       (unsigned long long)d->values[at + i]);
		}
		buf_unref(&b);
	}
	return wrong;
}

bool blocks_equal(struct duo *d, struct site *s)
{
	return blocks_wrong(d, s) == 0;
}

static void check_blocks(struct duo *d, struct site *s)
{
	ck_assert_uint_eq(blocks_wrong(d, s), 0);
}

void check_equal(struct duo *d)
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
void trim(struct duo *d)
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
