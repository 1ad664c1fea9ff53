/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One repl against a peer that is written here, frame by frame: handshakes that must be refused and
 * frames that must not be applied.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/repl/conn.h"
#include "engine/repl/repl.h"
#include "tests/lib/fakes.h"
#include "tests/unit/repl/fake_store.h"

struct raw {
	struct fake *f;
	struct env *env; /* of the peer, site 1 */
	struct op op;	 /* owner of conns; looks at nothing by itself */
	struct conn *conns[FRAME_CONN_COUNT];
	struct env *env_b;
	struct op op_b;
	struct repl *repl;	    /* site 2 */
	struct store *store, *made; /* made: where records are made up */
	struct repl_follower *follower;
	struct uuid group;
	struct epoch epoch;
	uint64_t session, group_session;
};

static void raw_step(struct op *op)
{
	(void)op;
}

static void raw_open(struct raw *r, uint32_t mutant)
{
	struct repl_peer_opts peer = {.site = 1, .name = "a", .address = "a:1"};
	struct repl_opts o = {.site = 2,
			      .name = "b",
			      .listen = "b:7000",
			      .incarnation = 1,
			      .drop_ms = 600,
			      .groups_max = 4,
			      .peers = &peer,
			      .peer_count = 1};

	memset(r, 0, sizeof(*r));
	r->f = fake_open(1, 0);
	r->env = r->f->env;
	r->env_b = fake_node_new(r->f, "b");
	op_init(&r->op, r->env->ready, raw_step);
	op_init(&r->op_b, r->env_b->ready, raw_step);
	r->group.b[0] = 5;
	r->epoch = (struct epoch){.number = 4, .incarnation = 8, .site = 1};
	r->session = 100;
	o.wake = &r->op_b;
	o.mutant = mutant;
	r->store = fake_store_open(r->env_b);
	r->made = fake_store_open(r->env);
	ck_assert_int_eq(repl_open(r->env_b, &o, &r->repl), 0);
}

static struct conn *raw_connect(struct raw *r, struct frame_hello hello)
{
	struct frame_header h = {.kind = FRAME_HELLO, .session = hello.session};
	struct conn *c = conn_connect(r->env, &r->op, "b:7000");
	uint8_t head[FRAME_HELLO_BYTES];

	fake_run_for(r->f, 50 * MS_NS);
	ck_assert_int_eq(conn_state(c), CONN_OPEN);
	ck_assert_int_eq(conn_send(c, &h, head, frame_hello_encode(head, &hello)), 0);
	fake_run_for(r->f, 50 * MS_NS);
	return c;
}

static struct frame_hello raw_hello(const struct raw *r, enum frame_conn conn)
{
	struct frame_hello m = {.version_min = 1,
				.version_max = 1,
				.site = 1,
				.conn = conn,
				.incarnation = 1,
				.session = r->session,
				.name = "a"};
	return m;
}

/* The next frame of that kind, other kinds are consumed; NULL: none came in 300 ms. */
static struct conn_frame *raw_expect(struct raw *r, struct conn *c, enum frame_kind kind)
{
	for (uint32_t i = 0; i < 300; i++) {
		struct conn_frame *f;

		while ((f = conn_frame(c)) != NULL) {
			if (f->h.kind == kind)
				return f;
			conn_consume(c);
		}
		fake_run_for(r->f, MS_NS);
	}
	return NULL;
}

static void raw_free_conn(struct raw *r, struct conn **c)
{
	if (*c == NULL)
		return;
	conn_break(*c, -ERR_CLOSED, "the test ends");
	fake_run_for(r->f, 50 * MS_NS);
	ck_assert_int_eq(conn_state(*c), CONN_CLOSED);
	conn_free(c);
}

static void raw_close(struct raw *r)
{
	struct fake_wait w;

	if (r->follower != NULL) {
		repl_follower_close(&r->follower, fake_arm_env(r->env_b, &w));
		ck_assert_int_eq(fake_wait(r->f, &w), 0);
	}
	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++)
		raw_free_conn(r, &r->conns[k]);
	repl_close(&r->repl, fake_arm_env(r->env_b, &w));
	ck_assert_int_eq(fake_wait(r->f, &w), 0);
	fake_run_for(r->f, 50 * MS_NS);
	fake_store_close(r->store);
	fake_store_close(r->made);
	op_unqueue(&r->op);
	op_unqueue(&r->op_b);
	fake_close(&r->f);
}

static void raw_refused(struct raw *r, struct frame_hello hello, const char *text)
{
	struct conn *c = raw_connect(r, hello);
	struct conn_frame *f = raw_expect(r, c, FRAME_REFUSE);
	struct frame_refuse m;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(frame_refuse_decode(f->head, f->h.head_bytes, &m), 0);
	ck_assert_msg(strstr(m.text, text) != NULL, "it said: %s", m.text);
	conn_consume(c);
	raw_free_conn(r, &c);
}

START_TEST(no_common_version_is_refused_with_both_ranges)
{
	struct frame_hello m;
	struct raw r;

	raw_open(&r, 0);
	m = raw_hello(&r, FRAME_CONN_LINK);
	m.version_min = 2;
	m.version_max = 3;
	raw_refused(&r, m, "site b speaks 1 to 1, site a speaks 2 to 3");
	raw_close(&r);
}
END_TEST

START_TEST(a_stranger_and_an_old_session_are_refused)
{
	struct frame_hello m;
	struct raw r;

	raw_open(&r, 0);
	m = raw_hello(&r, FRAME_CONN_LINK);
	m.site = 9;
	raw_refused(&r, m, "is not a peer");
	r.conns[0] = raw_connect(&r, raw_hello(&r, FRAME_CONN_LINK));
	ck_assert_ptr_nonnull(raw_expect(&r, r.conns[0], FRAME_HELLO_OK));
	m = raw_hello(&r, FRAME_CONN_DATA);
	m.session = 99;
	raw_refused(&r, m, "an older session");
	m = raw_hello(&r, FRAME_CONN_LINK); /* the same connection twice */
	raw_refused(&r, m, "an older session");
	raw_close(&r);
}
END_TEST

START_TEST(garbage_instead_of_a_hello_is_closed)
{
	struct frame_header h = {.kind = FRAME_KEEPALIVE};
	struct conn *c;
	struct raw r;

	raw_open(&r, 0);
	c = conn_connect(r.env, &r.op, "b:7000");
	fake_run_for(r.f, 50 * MS_NS);
	ck_assert_int_eq(conn_send(c, &h, NULL, 0), 0);
	ck_assert_ptr_nonnull(raw_expect(&r, c, FRAME_REFUSE));
	raw_free_conn(&r, &c);
	raw_close(&r);
}
END_TEST

/* All three connections, a follower, and its ATTACH read: the test is the source now. */
static void raw_attached(struct raw *r, uint32_t mutant)
{
	struct repl_follow_spec spec = {.site = 1, .name = "g", .purpose = REPL_STREAM};
	struct conn_frame *f;

	raw_open(r, mutant);
	for (uint32_t k = 0; k < FRAME_CONN_COUNT; k++) {
		r->conns[k] = raw_connect(r, raw_hello(r, (enum frame_conn)k));
		ck_assert_ptr_nonnull(raw_expect(r, r->conns[k], FRAME_HELLO_OK));
		conn_consume(r->conns[k]);
	}
	spec.group = r->group;
	spec.epoch = r->epoch;
	spec.wake = &r->op_b;
	ck_assert_int_eq(repl_follow(r->repl, &spec, r->store, &r->follower), 0);
	f = raw_expect(r, r->conns[FRAME_CONN_DATA], FRAME_ATTACH);
	ck_assert_ptr_nonnull(f);
	r->group_session = f->h.group_session;
	conn_consume(r->conns[FRAME_CONN_DATA]);
}

static struct frame_header raw_header(const struct raw *r, enum frame_kind kind)
{
	struct frame_header h = {.kind = kind,
				 .session = r->session,
				 .group = r->group,
				 .group_session = r->group_session,
				 .epoch = r->epoch.number};
	return h;
}

/* START at 0, the replica is created, the first ACK comes; records are made in r->made. */
static struct replica *raw_started(struct raw *r, uint32_t mutant)
{
	struct frame_start m = {0};
	uint8_t head[FRAME_START_BYTES];
	struct frame_header h;
	struct fake_wait w;

	raw_attached(r, mutant);
	m.epoch = r->epoch;
	h = raw_header(r, FRAME_START);
	ck_assert_int_eq(
		conn_send(r->conns[FRAME_CONN_DATA], &h, head, frame_start_encode(head, &m)), 0);
	ck_assert_ptr_nonnull(raw_expect(r, r->conns[FRAME_CONN_DATA], FRAME_ACK));
	conn_consume(r->conns[FRAME_CONN_DATA]);
	replica_create(r->made, &r->group, "g", fake_arm_env(r->env, &w));
	ck_assert_int_eq(fake_wait(r->f, &w), 0);
	return fake_replica(r->made, &r->group);
}

static void raw_send(struct raw *r, struct record *rec, uint64_t epoch)
{
	struct frame_header h = raw_header(r, FRAME_RECORD);

	h.epoch = epoch;
	ck_assert_int_eq(conn_send_record(r->conns[FRAME_CONN_DATA], &h, rec), 0);
	record_unref(&rec);
	fake_run_for(r->f, 100 * MS_NS);
}

static uint64_t raw_tail(const struct raw *r)
{
	struct replica_status st;

	replica_status(fake_replica(r->store, &r->group), &st);
	return st.tail.v;
}

static void raw_state(const struct raw *r, enum repl_state state, int rc)
{
	struct repl_follower_status st;

	repl_follower_status(r->follower, &st);
	ck_assert_int_eq(st.state, state);
	ck_assert_int_eq(st.rc, rc);
}

START_TEST(a_record_that_fits_is_applied_and_acknowledged)
{
	struct replica *made;
	struct conn_frame *f;
	struct frame_ack ack;
	struct raw r;

	made = raw_started(&r, 0);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 4096);
	f = raw_expect(&r, r.conns[FRAME_CONN_DATA], FRAME_ACK);
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(frame_ack_decode(f->head, f->h.head_bytes, &ack), 0);
	ck_assert_uint_eq(ack.received.v, 4096);
	raw_close(&r);
}
END_TEST

START_TEST(a_frame_of_another_epoch_is_refused)
{
	struct replica *made;
	struct raw r;

	made = raw_started(&r, 0);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number - 1);
	ck_assert_uint_eq(raw_tail(&r), 0);
	raw_state(&r, REPL_FAILED, -ERR_STALE);
	raw_close(&r);
}
END_TEST

START_TEST(the_old_epoch_mutant_is_one)
{
	struct replica *made;
	struct raw r;

	made = raw_started(&r, REPL_MUTANT_OLD_EPOCH);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number - 1);
	ck_assert_uint_eq(raw_tail(&r), 4096);
	raw_close(&r);
}
END_TEST

START_TEST(a_record_with_a_gap_is_refused)
{
	struct replica *made;
	struct record *first;
	struct raw r;

	made = raw_started(&r, 0);
	first = fake_epoch_record(made, r.env, r.epoch, 0);
	record_unref(&first);
	raw_send(&r, fake_volume_record(made, r.env, 0, 16), r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 0);
	raw_state(&r, REPL_FAILED, -ERR_FORK);
	raw_close(&r);
}
END_TEST

START_TEST(a_record_of_another_chain_is_refused)
{
	struct replica *made;
	struct raw r;

	made = raw_started(&r, 0);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	fake_corrupt_chain(made);
	raw_send(&r, fake_volume_record(made, r.env, 0, 16), r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 4096);
	raw_state(&r, REPL_FAILED, -ERR_FORK);
	raw_close(&r);
}
END_TEST

/* The journal itself takes nothing that does not continue its chain (store J1). */
START_TEST(the_skip_chain_mutant_is_caught_by_the_journal)
{
	struct replica *made;
	struct raw r;

	made = raw_started(&r, REPL_MUTANT_SKIP_CHAIN);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	fake_corrupt_chain(made);
	raw_send(&r, fake_volume_record(made, r.env, 0, 16), r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 4096);
	raw_state(&r, REPL_FAILED, -ERR_FORK);
	raw_close(&r);
}
END_TEST

START_TEST(a_block_with_a_wrong_checksum_is_refused)
{
	struct replica *made;
	struct record *rec;
	struct raw r;

	made = raw_started(&r, 0);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	rec = fake_write_record(made, r.env, 0, 0, 2, 77);
	((uint8_t *)rec->iov[1].iov_base)[5000] ^= 1;
	raw_send(&r, rec, r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 4096);
	raw_state(&r, REPL_FAILED, -ERR_CORRUPT);
	ck_assert_uint_gt(r.env_b->counters->v[CTR_CHECKSUM_WIRE], 0);
	raw_close(&r);
}
END_TEST

START_TEST(frames_of_another_group_session_have_no_effect)
{
	struct replica *made;
	struct raw r;

	made = raw_started(&r, 0);
	r.group_session++;
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 0);
	raw_state(&r, REPL_CATCHING_UP, 0);
	raw_close(&r);
}
END_TEST

START_TEST(frames_of_another_pair_session_end_it)
{
	struct replica *made;
	struct raw r;

	made = raw_started(&r, 0);
	r.session++;
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	ck_assert_uint_eq(raw_tail(&r), 0);
	raw_state(&r, REPL_CLOSED, -ERR_CLOSED);
	raw_close(&r);
}
END_TEST

START_TEST(commit_is_the_smaller_of_told_and_durable)
{
	struct frame_header h;
	uint8_t head[FRAME_NUMBER_BYTES];
	struct replica_status st;
	struct replica *made;
	struct raw r;

	made = raw_started(&r, 0);
	raw_send(&r, fake_epoch_record(made, r.env, r.epoch, 0), r.epoch.number);
	replica_status(fake_replica(r.store, &r.group), &st);
	ck_assert_uint_eq(st.commit.v, 0);
	h = raw_header(&r, FRAME_COMMIT);
	h.lsn.v = 1u << 20;
	ck_assert_int_eq(
		conn_send(r.conns[FRAME_CONN_LINK], &h, head, frame_number_encode(head, 4096)), 0);
	fake_run_for(r.f, 50 * MS_NS);
	replica_status(fake_replica(r.store, &r.group), &st);
	ck_assert_uint_eq(st.commit.v, 4096);
	raw_state(&r, REPL_STREAMING, 0);
	raw_close(&r);
}
END_TEST

/* FULL, one block, BASE_END beyond what is committed: no switch before the records are there. */
static void switch_at_its_time(uint32_t mutant)
{
	struct frame_full *full = calloc(1, sizeof(*full));
	uint8_t *bytes = malloc(FRAME_FULL_BYTES_MAX), head[FRAME_BASE_BYTES_MAX];
	struct frame_base base = {.count = 1, .block = 3};
	struct replica *made;
	struct record *e, *v, *late;
	struct replica_status st;
	struct frame_header h;
	struct fake_wait w;
	struct buf *b;
	struct raw r;

	raw_attached(&r, mutant);
	replica_create(r.made, &r.group, "g", fake_arm_env(r.env, &w));
	ck_assert_int_eq(fake_wait(r.f, &w), 0);
	made = fake_replica(r.made, &r.group);
	e = fake_epoch_record(made, r.env, r.epoch, 0);
	v = fake_volume_record(made, r.env, 0, 16);
	replica_status(made, &st);
	full->epoch = r.epoch;
	full->common_known = true;
	full->chain = st.tail_chain;
	full->epoch_count = full->volume_count = 1;
	full->epochs[0].epoch = r.epoch;
	full->volumes[0] = (struct frame_volume){.bytes = 65536, .block_bytes = 4096};
	h = raw_header(&r, FRAME_FULL);
	h.lsn = st.tail;
	ck_assert_int_eq(
		conn_send(r.conns[FRAME_CONN_DATA], &h, bytes, frame_full_encode(bytes, full)), 0);
	ck_assert_ptr_nonnull(raw_expect(&r, r.conns[FRAME_CONN_DATA], FRAME_ACK));
	conn_consume(r.conns[FRAME_CONN_DATA]);
	raw_state(&r, REPL_STAGING, 0);

	b = buf_take(r.env->bufs, 4096);
	memset(b->data, 0x5a, 4096);
	base.crcs[0] = crc32c(b->data, 4096);
	h = raw_header(&r, FRAME_BASE);
	ck_assert_int_eq(conn_send_payload(r.conns[FRAME_CONN_BULK], &h, head,
					   frame_base_encode(head, &base), b, 4096),
			 0);
	buf_unref(&b);
	late = fake_write_record(made, r.env, 0, 5, 1, 99);
	h = raw_header(&r, FRAME_BASE_END);
	h.lsn = late->view.end;
	ck_assert_int_eq(
		conn_send(r.conns[FRAME_CONN_BULK], &h, head, frame_number_encode(head, 4096)), 0);
	fake_run_for(r.f, 200 * MS_NS);
	ck_assert_int_eq(fake_replica(r.store, &r.group) != NULL, mutant != 0); /* not yet */

	h = raw_header(&r, FRAME_RECORD);
	h.lsn = late->view.end;
	ck_assert_int_eq(conn_send_record(r.conns[FRAME_CONN_DATA], &h, late), 0);
	fake_run_for(r.f, 200 * MS_NS);
	ck_assert_ptr_nonnull(fake_replica(r.store, &r.group));
	ck_assert_uint_eq(fake_content(fake_replica(r.store, &r.group), 0, 5), 99);
	ck_assert_uint_eq(fake_content(fake_replica(r.store, &r.group), 0, 3),
			  0x5a5a5a5a5a5a5a5aull);
	record_unref(&e);
	record_unref(&v);
	record_unref(&late);
	free(full);
	free(bytes);
	raw_close(&r);
}

START_TEST(the_switch_waits_for_the_records_that_cover_the_base)
{
	switch_at_its_time(REPL_MUTANT_NONE);
}
END_TEST

START_TEST(the_mutant_that_switches_early_does)
{
	switch_at_its_time(REPL_MUTANT_SWITCH_EARLY);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("raw");
	TCase *t = tcase_create("one site");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, no_common_version_is_refused_with_both_ranges);
	tcase_add_test(t, a_stranger_and_an_old_session_are_refused);
	tcase_add_test(t, garbage_instead_of_a_hello_is_closed);
	tcase_add_test(t, a_record_that_fits_is_applied_and_acknowledged);
	tcase_add_test(t, a_frame_of_another_epoch_is_refused);
	tcase_add_test(t, the_old_epoch_mutant_is_one);
	tcase_add_test(t, a_record_with_a_gap_is_refused);
	tcase_add_test(t, a_record_of_another_chain_is_refused);
	tcase_add_test(t, the_skip_chain_mutant_is_caught_by_the_journal);
	tcase_add_test(t, a_block_with_a_wrong_checksum_is_refused);
	tcase_add_test(t, frames_of_another_group_session_have_no_effect);
	tcase_add_test(t, frames_of_another_pair_session_end_it);
	tcase_add_test(t, commit_is_the_smaller_of_told_and_durable);
	tcase_add_test(t, the_switch_waits_for_the_records_that_cover_the_base);
	tcase_add_test(t, the_mutant_that_switches_early_does);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
