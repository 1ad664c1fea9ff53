/* SPDX-License-Identifier: Apache-2.0 */
/* The adapter alone: a follower (id 1 of 3), fed by hand.  One test for each mended defect. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/consensus.h"

#define TERM 5u

struct rig {
	struct consensus *c;
	uint8_t first[512];
	int first_bytes;
	struct quorum_raft out; /* the last message of the last step */
	uint8_t *payload;
	uint64_t now;
};

static void rig_open(struct rig *r)
{
	struct consensus_server servers[3] = {{1, "a 1"}, {2, "b 2"}, {3, "c 3"}};
	struct consensus_opts opts = {.id = 1, .heartbeat_ms = 100, .election_ms = 500, .seed = 7};
	struct quorum_entry entry = {.term = 1, .type = QUORUM_CHANGE};
	struct consensus_start start = {
		.now_ms = 1, .term = 1, .first_index = 1, .entries = &entry, .entry_count = 1};

	memset(r, 0, sizeof(*r));
	r->now = 2;
	r->first_bytes = consensus_first_entry(servers, 3, r->first, sizeof(r->first));
	ck_assert_int_gt(r->first_bytes, 0);
	entry.data = r->first;
	entry.bytes = (uint32_t)r->first_bytes;
	ck_assert_int_eq(consensus_open(&opts, &r->c), 0);
	ck_assert_int_eq(consensus_begin(r->c, &start), 0);
}

static void rig_close(struct rig *r)
{
	free(r->payload);
	consensus_close(&r->c);
}

/* Keep the last message that the step sent. */
static bool sent(struct rig *r)
{
	const struct consensus_effects *fx = consensus_effects(r->c);

	if (fx->message_count == 0)
		return false;
	free(r->payload);
	r->payload = fx->messages[fx->message_count - 1].payload;
	fx->messages[fx->message_count - 1].payload = NULL;
	ck_assert_int_eq(
		quorum_raft_decode(r->payload, fx->messages[fx->message_count - 1].bytes, &r->out),
		0);
	return true;
}

static int feed(struct rig *r, const struct quorum_raft *m)
{
	uint8_t bytes[8192];
	int n = quorum_raft_encode(m, bytes, sizeof(bytes));

	ck_assert_int_gt(n, 0);
	return consensus_receive(r->c, r->now++, 2, bytes, (uint32_t)n);
}

/* AppendEntries of leader 2: entries prev+1..last, each of `term` (entry 1 is the configuration). */
static int append(struct rig *r, uint64_t leader_term, uint64_t prev, uint64_t last, uint64_t term,
		  uint64_t commit)
{
	static struct quorum_raft m;

	memset(&m, 0, sizeof(m));
	m.type = QUORUM_APPEND;
	m.term = leader_term;
	m.index = prev;
	m.index_term = prev == 0 ? 0 : prev == 1 ? 1 : term;
	m.commit = commit;
	for (uint64_t i = prev + 1; i <= last; i++)
		m.entries[m.entry_count++] =
			i == 1 ? (struct quorum_entry){.term = 1,
						       .type = QUORUM_CHANGE,
						       .bytes = (uint32_t)r->first_bytes,
						       .data = r->first}
			       : (struct quorum_entry){.term = term,
						       .type = QUORUM_COMMAND,
						       .bytes = 4,
						       .data = (const uint8_t *)"abcd"};
	return feed(r, &m);
}

/* A log of 1..last, all committed, applied and durable, and a snapshot at its end. */
static void fill(struct rig *r, uint64_t last)
{
	const struct consensus_snapshot *s;
	uint8_t *data = malloc(8);
	uint64_t index;

	for (uint64_t i = 2; i <= last; i += 10) {
		ck_assert_int_eq(append(r, TERM, i - 1, i + 9 < last ? i + 9 : last, TERM, last),
				 0);
		ck_assert(consensus_effects(r->c)->append);
		ck_assert_int_eq(consensus_persisted(r->c, r->now), 0);
	}
	while (consensus_next(r->c, &index) != NULL)
		ck_assert_int_eq(consensus_advance(r->c, r->now), 0);
	ck_assert_uint_eq(consensus_applied(r->c), last);
	memset(data, 1, 8);
	s = consensus_take(r->c, &data, 8);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(consensus_taken(r->c, r->now), 0);
	ck_assert_uint_eq(consensus_first_index(r->c), last - CONSENSUS_TRAILING + 1);
}

START_TEST(entries_below_our_snapshot_are_not_appended_again)
{
	struct rig r;

	rig_open(&r);
	fill(&r, 80);
	ck_assert_int_eq(append(&r, TERM, 0, 8, TERM, 80), 0); /* K3 */
	ck_assert(!consensus_effects(r.c)->append);
	ck_assert_uint_eq(consensus_last_index(r.c), 80);
	ck_assert(sent(&r));
	ck_assert_int_eq(r.out.type, QUORUM_APPEND_RESULT);
	ck_assert_uint_eq(r.out.rejected, 0);
	ck_assert_uint_eq(r.out.index, 80);
	/* One that starts below and ends above adds only what is new. */
	ck_assert_int_eq(append(&r, TERM, 30, 85, TERM, 80), 0);
	ck_assert_uint_eq(consensus_effects(r.c)->append_first, 81);
	ck_assert_uint_eq(consensus_last_index(r.c), 85);
	rig_close(&r);
}
END_TEST

START_TEST(a_rejected_pre_vote_tells_our_higher_term)
{
	struct quorum_raft m = {.type = QUORUM_VOTE,
				.version = 2,
				.term = 3,
				.candidate = 2,
				.index = 900,
				.index_term = 2,
				.pre_vote = true};
	struct rig r;

	rig_open(&r);
	ck_assert_int_eq(append(&r, TERM + 20, 1, 4, 2, 1), 0);
	ck_assert_int_eq(consensus_persisted(r.c, r.now), 0);
	ck_assert_int_eq(feed(&r, &m), 0);
	ck_assert(sent(&r));
	ck_assert_int_eq(r.out.type, QUORUM_VOTE_RESULT);
	ck_assert(!r.out.granted && r.out.pre_vote);
	ck_assert_uint_eq(r.out.term, TERM + 20); /* K4 */
	rig_close(&r);
}
END_TEST

START_TEST(a_late_answer_to_a_vote_changes_nothing)
{
	struct quorum_raft m = {.type = QUORUM_VOTE_RESULT, .version = 2, .term = TERM + 1};
	struct rig r;

	rig_open(&r);
	fill(&r, 80);
	for (uint32_t pre_vote = 0; pre_vote < 2; pre_vote++) { /* K8 */
		m.pre_vote = pre_vote != 0;
		ck_assert_int_eq(feed(&r, &m), 0);
		ck_assert(!consensus_effects(r.c)->meta);
		ck_assert(!sent(&r));
		ck_assert_uint_eq(consensus_term(r.c), TERM);
	}
	rig_close(&r);
}
END_TEST

START_TEST(a_stale_append_is_rejected_without_stray_bytes)
{
	struct rig r;

	rig_open(&r);
	fill(&r, 80);
	ck_assert_int_eq(append(&r, TERM - 1, 80, 80, TERM - 1, 80), 0); /* K9 */
	ck_assert(sent(&r));
	ck_assert_int_eq(r.out.type, QUORUM_APPEND_RESULT);
	ck_assert_uint_eq(r.out.rejected, 80);
	ck_assert_uint_eq(r.out.index, 0);
	ck_assert_uint_eq(r.out.features, 0);
	ck_assert_uint_eq(r.out.capacity, 0);
	rig_close(&r);
}
END_TEST

START_TEST(commit_never_goes_back)
{
	struct rig r;

	rig_open(&r);
	fill(&r, 80);
	ck_assert_int_eq(append(&r, TERM, 60, 60, TERM, 95), 0); /* delayed; K2 */
	ck_assert_uint_eq(consensus_commit(r.c), 80);
	ck_assert_int_eq(append(&r, TERM, 80, 90, TERM, 85), 0);
	ck_assert_uint_eq(consensus_commit(r.c), 85);
	rig_close(&r);
}
END_TEST

START_TEST(only_entries_still_in_the_log_are_reported_durable)
{
	struct rig r;

	rig_open(&r);
	ck_assert_int_eq(append(&r, 2, 1, 4, 2, 1), 0); /* 2..4 on their way to disk */
	ck_assert_int_eq(append(&r, 3, 1, 1, 2, 1), 0);
	{
		struct quorum_raft m = {
			.type = QUORUM_APPEND,
			.term = 3,
			.index = 2,
			.index_term = 2,
			.entry_count = 1,
			.entries = {
				{.term = 3, .type = QUORUM_BARRIER, .bytes = 1, .data = r.first}}};

		ck_assert_int_eq(feed(&r, &m), 0); /* 3 and 4 are replaced */
	}
	ck_assert_uint_eq(consensus_effects(r.c)->append_first, 3);
	ck_assert_int_eq(consensus_persisted(r.c, r.now), 0); /* K5 */
	ck_assert(sent(&r));
	ck_assert_uint_eq(r.out.index, 2);
	ck_assert_int_eq(consensus_persisted(r.c, r.now), 0);
	ck_assert(sent(&r));
	ck_assert_uint_eq(r.out.index, 3);
	rig_close(&r);
}
END_TEST

START_TEST(an_install_drops_the_snapshot_being_taken)
{
	struct rig r;
	struct quorum_raft m = {.type = QUORUM_INSTALL,
				.term = TERM + 1,
				.index = 500,
				.index_term = TERM,
				.conf_index = 1,
				.data_bytes = 3,
				.data = (const uint8_t *)"xyz"};
	uint8_t *data = malloc(8);
	uint64_t index;

	rig_open(&r);
	fill(&r, 80);
	ck_assert_int_eq(append(&r, TERM, 80, 90, TERM, 90), 0);
	ck_assert_int_eq(consensus_persisted(r.c, r.now), 0);
	while (consensus_next(r.c, &index) != NULL)
		ck_assert_int_eq(consensus_advance(r.c, r.now), 0);
	memset(data, 2, 8);
	ck_assert_ptr_nonnull(consensus_take(r.c, &data, 8));
	ck_assert_int_eq(append(&r, TERM, 90, 92, TERM, 90), 0); /* in flight */
	m.conf = r.first;
	m.conf_bytes = (uint32_t)r.first_bytes;
	ck_assert_int_eq(feed(&r, &m), 0);
	ck_assert(consensus_effects(r.c)->install);
	ck_assert_int_eq(feed(&r, &m), 0); /* again: dropped, not leaked */
	ck_assert(!consensus_effects(r.c)->install);
	ck_assert_int_eq(consensus_taken(r.c, r.now), 0); /* K6 */
	ck_assert_uint_eq(consensus_snapshot(r.c)->index, 80);
	ck_assert_int_eq(consensus_persisted(r.c, r.now), 0); /* K5 */
	ck_assert_ptr_null(consensus_next(r.c, &index));      /* K7 */
	ck_assert_int_eq(consensus_installed(r.c, r.now), 0);
	ck_assert_uint_eq(consensus_applied(r.c), 500);
	ck_assert_uint_eq(consensus_last_index(r.c), 500);
	ck_assert(sent(&r));
	ck_assert_uint_eq(r.out.index, 500);
	rig_close(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quorum-consensus");
	TCase *t = tcase_create("consensus");
	SRunner *r;
	int failed;

	tcase_add_test(t, entries_below_our_snapshot_are_not_appended_again);
	tcase_add_test(t, a_rejected_pre_vote_tells_our_higher_term);
	tcase_add_test(t, a_late_answer_to_a_vote_changes_nothing);
	tcase_add_test(t, a_stale_append_is_rejected_without_stray_bytes);
	tcase_add_test(t, commit_never_goes_back);
	tcase_add_test(t, only_entries_still_in_the_log_are_reported_durable);
	tcase_add_test(t, an_install_drops_the_snapshot_being_taken);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
