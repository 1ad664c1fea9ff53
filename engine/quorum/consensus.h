/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/consensus.h: the adapter of the raft library; the only module that knows it.
 *
 * A pure step function around raft_step(): no I/O, no clock, no randomness but the seed.  Each call
 * that can change something leaves its effects in consensus_effects; the caller carries them out in
 * this order: meta (durable before anything else leaves), append and install (durable in order of
 * appearance, reported back), messages.  The caller must not step again before meta is durable.
 *
 * Returns: 0; -ERR_CORRUPT (receive: the bytes are not a sane message, nothing happened, drop the
 * connection); -ERR_FAILED (the library gave up: stop the member).
 */
#ifndef TS_QUORUM_CONSENSUS_H
#define TS_QUORUM_CONSENSUS_H

#include "engine/base/attr.h"
#include "proto/quorum.h"

struct consensus;

#define CONSENSUS_TRAILING 32u /* entries kept in the log below a snapshot */

struct consensus_opts {
	uint32_t id;
	uint32_t heartbeat_ms, election_ms;
	uint32_t seed;
};

struct consensus_server {
	uint32_t id;
	char text[96]; /* "name disk-uuid" */
};

enum consensus_role { CONSENSUS_FOLLOWER, CONSENSUS_CANDIDATE, CONSENSUS_LEADER };

struct consensus_snapshot {
	uint64_t index, term, conf_index;
	uint32_t conf_bytes, data_bytes;
	uint8_t *conf, *data; /* malloc */
};

struct consensus_message {
	uint32_t to;
	uint32_t bytes;
	uint8_t *payload; /* malloc; taken by the caller, who nulls it, or freed at the next step */
};

struct consensus_effects {
	bool meta;
	uint64_t term, vote;
	bool append;
	uint64_t append_first;
	uint32_t append_count; /* entries append_first.. of the log; truncates above */
	bool install;	       /* consensus_installing() is to be made durable, replacing the log */
	struct consensus_message *messages;
	uint32_t message_count;
};

/* What is on disk, for start. */
struct consensus_start {
	uint64_t now_ms;
	uint64_t term, vote;
	const struct consensus_snapshot *snapshot; /* NULL: none; bytes are copied */
	uint64_t first_index;
	const struct quorum_entry *entries; /* copied */
	uint32_t entry_count;
};

MUST_CHECK int consensus_open(const struct consensus_opts *opts, struct consensus **ret_c);
void consensus_close(struct consensus **c);

/* The bytes of entry 1 (type CHANGE, term 1) for these members. Size or -ERR_TOO_BIG, -ERR_NOMEM. */
MUST_CHECK int consensus_first_entry(const struct consensus_server *servers, uint32_t count,
				     void *data, uint32_t bytes);
/* The members named by such an entry; the count or -ERR_CORRUPT. */
MUST_CHECK int consensus_servers(const void *data, uint32_t bytes,
				 struct consensus_server ret[QUORUM_PEERS_MAX]);

MUST_CHECK int consensus_begin(struct consensus *c, const struct consensus_start *start);
MUST_CHECK int consensus_receive(struct consensus *c, uint64_t now_ms, uint32_t from,
				 const void *payload, uint32_t bytes);
MUST_CHECK int consensus_timeout(struct consensus *c, uint64_t now_ms);
/* -ERR_NOT_PRIMARY: we do not lead, or leadership is being handed over. */
MUST_CHECK int consensus_submit(struct consensus *c, uint64_t now_ms, const void *data,
				uint32_t bytes);
/* The oldest append that was not yet reported is durable. */
MUST_CHECK int consensus_persisted(struct consensus *c, uint64_t now_ms);
/* The snapshot of the install effect is durable. */
MUST_CHECK int consensus_installed(struct consensus *c, uint64_t now_ms);
MUST_CHECK int consensus_transfer(struct consensus *c, uint64_t now_ms, uint32_t to);

/*
 * Take a snapshot of what is applied now: take gives its metadata (data is taken by us), NULL when
 * one is under way or an install is; when it is durable, taken.  An install in between discards it
 * and taken does nothing.
 */
const struct consensus_snapshot *consensus_take(struct consensus *c, uint8_t **data_take,
						uint32_t data_bytes);
MUST_CHECK int consensus_taken(struct consensus *c, uint64_t now_ms);

const struct consensus_effects *consensus_effects(const struct consensus *c);

/* The next committed entry, not yet applied, and its index; NULL: none now. */
const struct quorum_entry *consensus_next(const struct consensus *c, uint64_t *ret_index);
/* It is applied. Feeds a CHANGE entry to the library. */
MUST_CHECK int consensus_advance(struct consensus *c, uint64_t now_ms);

const struct quorum_entry *consensus_entry(const struct consensus *c,
					   uint64_t index); /* NULL: not held */
const struct consensus_snapshot *consensus_installing(const struct consensus *c);
const struct consensus_snapshot *consensus_snapshot(
	const struct consensus *c); /* newest durable, or NULL */

uint64_t consensus_deadline_ms(const struct consensus *c);
enum consensus_role consensus_role(const struct consensus *c);
uint32_t consensus_leader(const struct consensus *c); /* 0: unknown */
uint64_t consensus_term(const struct consensus *c);
uint64_t consensus_commit(const struct consensus *c);
uint64_t consensus_applied(const struct consensus *c);
uint64_t consensus_first_index(const struct consensus *c); /* of the log in memory */
uint64_t consensus_last_index(const struct consensus *c);

#endif
