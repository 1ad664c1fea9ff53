/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/raft_conf.c
 * Purpose.     The members of a raft group as the library encodes them: made, read, looked at before
 *              the library's decoder sees them.
 * Invariants.  C1  Nothing reaches the library's decoder that raft_conf_is_sane refuses: it trusts its
 *                  input.
 * Failure.     -ERR_CORRUPT for what came from others, -ERR_NOMEM.
 */
#include "engine/quorum/raft_conf.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/consensus.h"
#include "proto/cursor.h"

int consensus_first_entry(const struct consensus_server *servers, uint32_t count, void *data,
			  uint32_t bytes)
{
	struct raft_configuration conf;
	struct raft_buffer buf;
	int rc = 0;

	raft_configuration_init(&conf);
	for (uint32_t i = 0; i < count && rc == 0; i++)
		rc = raft_configuration_add(&conf, servers[i].id, servers[i].text, RAFT_VOTER);
	if (rc == 0)
		rc = raft_configuration_encode(&conf, &buf);
	raft_configuration_close(&conf);
	if (rc != 0)
		return -ERR_NOMEM;
	if (buf.len <= bytes) {
		memcpy(data, buf.base, buf.len);
		rc = (int)buf.len;
	} else {
		rc = -ERR_TOO_BIG;
	}
	raft_free(buf.base);
	return rc;
}

int consensus_servers(const void *data, uint32_t bytes,
		      struct consensus_server ret[QUORUM_PEERS_MAX])
{
	struct raft_configuration conf;
	int rc;

	if (raft_conf_decode(data, bytes, &conf) < 0)
		return -ERR_CORRUPT;
	rc = conf.n <= QUORUM_PEERS_MAX ? (int)conf.n : -ERR_CORRUPT;
	for (unsigned i = 0; rc >= 0 && i < conf.n; i++) {
		ret[i].id = (uint32_t)conf.servers[i].id;
		snprintf(ret[i].text, sizeof(ret[i].text), "%s", conf.servers[i].address);
	}
	raft_configuration_close(&conf);
	return rc;
}

int raft_conf_decode(const void *data, uint32_t bytes, struct raft_configuration *ret)
{
	struct raft_buffer buf = {.base = (void *)(uintptr_t)data, .len = bytes};

	if (!raft_conf_is_sane(data, bytes) || raft_configuration_decode(&buf, ret) != 0)
		return -ERR_CORRUPT; /* the library closes what it had decoded */
	return 0;
}

/* The library's decoder trusts its input; this looks before it does. */
bool raft_conf_is_sane(const void *data, uint32_t bytes)
{
	struct cursor c;
	uint64_t n;

	cursor_init_read(&c, data, bytes);
	if (get_u8(&c) != 1)
		return false;
	n = get_u64(&c);
	if (n == 0 || n > QUORUM_PEERS_MAX)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t id = get_u64(&c);
		const uint8_t *end = cursor_ok(&c) ? memchr(c.at, 0, cursor_left(&c)) : NULL;

		if (id == 0 || id > QUORUM_PEERS_MAX || end == NULL)
			return false;
		cursor_skip(&c, (size_t)(end - c.at) + 1);
		if (get_u8(&c) > RAFT_SPARE)
			return false;
	}
	return cursor_ok(&c) && cursor_left(&c) < 8;
}
