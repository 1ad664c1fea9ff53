/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/quorum_fuzz.c: every decoder of the quorum on arbitrary bytes; what decodes must
 * encode to the same bytes again.  The first byte chooses the decoder.  A raft message also goes
 * to a live adapter, which must refuse it or survive it.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/quorum/consensus.h"
#include "engine/quorum/fsm.h"
#include "proto/quorum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_frame(const uint8_t *data, size_t bytes)
{
	uint8_t again[QUORUM_FRAME_BYTES];
	struct quorum_frame f;

	if (bytes < sizeof(again) || quorum_frame_decode(data, &f) < 0)
		return;
	quorum_frame_encode(&f, again);
	assert(memcmp(again, data, sizeof(again)) == 0);
}

static void try_raft(const uint8_t *data, size_t bytes)
{
	static struct quorum_raft m;
	uint8_t *again;

	if (quorum_raft_decode(data, (uint32_t)bytes, &m) < 0)
		return;
	again = malloc(bytes);
	assert(quorum_raft_encode(&m, again, (uint32_t)bytes) == (int)bytes);
	assert(memcmp(again, data, bytes) == 0); /* P1 */
	free(again);
}

static void try_batch(const uint8_t *data, size_t bytes)
{
	static struct quorum_entry entries[QUORUM_ENTRIES_MAX];
	struct quorum_batch b;

	if (bytes >= BLOCK_BYTES && quorum_batch_decode(data, (uint32_t)bytes, &b, entries) == 0)
		assert(b.bytes == quorum_batch_bytes(entries, b.count));
}

static void try_blocks(const uint8_t *data, size_t bytes)
{
	uint8_t again[BLOCK_BYTES];
	struct quorum_snapshot s;
	struct quorum_meta m;

	if (bytes < BLOCK_BYTES)
		return;
	if (quorum_meta_decode(data, &m) == 0) {
		quorum_meta_encode(&m, again);
		assert(memcmp(again, data, 8) == 0);
	}
	if (quorum_snapshot_decode(data, &s) == 0)
		quorum_snapshot_encode(&s, again);
}

static void try_small(const uint8_t *data, size_t bytes)
{
	uint8_t again[FSM_VIEW_BYTES_MAX];
	struct vg_view v;
	struct consensus_server servers[QUORUM_PEERS_MAX];
	struct quorum_hello h;
	struct quorum_ping p;

	if (quorum_hello_decode(data, (uint32_t)bytes, &h) == 0)
		assert(memchr(h.name, 0, sizeof(h.name)) != NULL);
	if (fsm_view_decode(data, (uint32_t)bytes, &v) == 0)
		assert(fsm_view_encode(&v, again) > 0);
	(void)!quorum_ping_decode(data, (uint32_t)bytes, &p);
	(void)!consensus_servers(data, (uint32_t)bytes, servers);
}

static void try_fsm(const uint8_t *data, size_t bytes)
{
	static struct vg_cmd cmds[VG_BATCH_MAX];
	static uint8_t again[FSM_BATCH_BYTES_MAX];
	struct fsm *f;
	int n;

	if (fsm_open(&f) < 0)
		return;
	n = fsm_batch_decode(data, (uint32_t)bytes, cmds);
	for (int i = 0; i < n; i++)
		(void)fsm_apply(f, &cmds[i], NULL);
	if (n > 0 && bytes <= sizeof(again))
		assert(fsm_batch_encode(cmds, (uint32_t)n, again, sizeof(again)) > 0);
	(void)!fsm_load(f, data, (uint32_t)bytes);
	fsm_close(&f);
}

/* A follower of three that has entry 1, then messages: u8 from, u16 bytes, bytes. */
static void try_adapter(const uint8_t *data, size_t bytes)
{
	struct consensus_server servers[3] = {{1, "a 1"}, {2, "b 2"}, {3, "c 3"}};
	struct consensus_opts opts = {.id = 1, .heartbeat_ms = 100, .election_ms = 500, .seed = 1};
	uint8_t first[256];
	struct quorum_entry entry = {.term = 1, .type = QUORUM_CHANGE, .data = first};
	struct consensus_start start = {
		.now_ms = 1, .term = 1, .first_index = 1, .entries = &entry, .entry_count = 1};
	struct consensus *c;
	uint64_t now = 2;
	int rc = consensus_first_entry(servers, 3, first, sizeof(first));

	assert(rc > 0);
	entry.bytes = (uint32_t)rc;
	if (consensus_open(&opts, &c) < 0)
		return;
	rc = consensus_begin(c, &start);
	while (rc != -ERR_FAILED && rc != -ERR_NOMEM && bytes > 3) { /* refused bytes are no end */
		uint32_t n = (uint32_t)data[1] | (uint32_t)data[2] << 8;
		const struct consensus_effects *fx;

		if (n > bytes - 3)
			n = (uint32_t)(bytes - 3);
		rc = consensus_receive(c, now, 2 + data[0] % 2u, data + 3, n);
		fx = consensus_effects(c);
		if (rc == 0 && fx->append)
			rc = consensus_persisted(c, now);
		else if (rc == 0 && fx->install)
			rc = consensus_installed(c, now);
		now += data[0];
		data += 3 + n;
		bytes -= 3 + n;
	}
	consensus_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	void (*const tries[])(const uint8_t *, size_t) = {
		try_frame, try_raft, try_batch, try_blocks, try_small, try_fsm, try_adapter};

	if (bytes > 1)
		tries[data[0] % ARRAY_COUNT(tries)](data + 1, bytes - 1);
	return 0;
}
