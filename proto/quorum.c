/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/quorum.c
 * Purpose.     Codec of the quorum's frames, raft messages and durable file (proto/quorum.md).
 * Invariants.  P1  A decoder accepts only what its encoder can have written: reserved bytes are
 *                  zero, counts and lengths are within their limits, nothing is left over.
 *              P2  Every structure on disk or wire carries a crc32c over all of it.
 * Limits.      QUORUM_ENTRIES_MAX entries of QUORUM_ENTRY_BYTES_MAX bytes; one frame holds at most
 *              QUORUM_PAYLOAD_BYTES_MAX bytes.
 */
#include "proto/quorum.h"

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/cursor.h"

#define FRAME_MAGIC 0x31515354u		     /* "TSQ1" */
#define META_MAGIC 0x4154454d51535454ull     /* "TTSQMETA" */
#define SNAPSHOT_MAGIC 0x50414e5351535454ull /* "TTSQSNAP" */
#define BATCH_MAGIC 0x4843544251535454ull    /* "TTSQBTCH" */

_Static_assert(QUORUM_ENTRY_HEAD_BYTES == 8 + 1 + 3 + 4, "entry head");

static bool zeroes(struct cursor *c, uint32_t bytes);
static bool name_is_terminated(const char *name, uint32_t bytes);
static uint32_t crc_with_hole(const uint8_t *data, uint32_t bytes, uint32_t hole);
static void seal(uint8_t *data, uint32_t bytes, uint32_t hole);
static bool sealed(const uint8_t *data, uint32_t bytes, uint32_t hole);
static bool entry_get(struct cursor *c, struct quorum_entry *e);
static void entry_put(struct cursor *c, const struct quorum_entry *e);

void quorum_frame_encode(const struct quorum_frame *f, uint8_t ret[QUORUM_FRAME_BYTES])
{
	struct cursor c;

	assert(f->payload_bytes <= QUORUM_PAYLOAD_BYTES_MAX);
	cursor_init(&c, ret, QUORUM_FRAME_BYTES);
	put_u32(&c, FRAME_MAGIC);
	put_u32(&c, f->payload_bytes);
	put_u16(&c, f->type);
	put_u16(&c, 0);
	put_u32(&c, f->from);
	put_bytes(&c, f->cluster.b, sizeof(f->cluster.b));
	put_u64(&c, f->session);
	put_u32(&c, f->payload_crc);
	put_u32(&c, crc32c(ret, QUORUM_FRAME_BYTES - 4));
	assert(cursor_ok(&c) && cursor_left(&c) == 0);
}

int quorum_frame_decode(const uint8_t data[QUORUM_FRAME_BYTES], struct quorum_frame *ret)
{
	struct cursor c;
	struct quorum_frame f;
	uint32_t magic;
	uint16_t zero;

	cursor_init_read(&c, data, QUORUM_FRAME_BYTES);
	magic = get_u32(&c);
	f.payload_bytes = get_u32(&c);
	f.type = get_u16(&c);
	zero = get_u16(&c);
	f.from = get_u32(&c);
	get_bytes(&c, f.cluster.b, sizeof(f.cluster.b));
	f.session = get_u64(&c);
	f.payload_crc = get_u32(&c);
	if (magic != FRAME_MAGIC || zero != 0 || f.payload_bytes > QUORUM_PAYLOAD_BYTES_MAX ||
	    get_u32(&c) != crc32c(data, QUORUM_FRAME_BYTES - 4))
		return -ERR_CORRUPT;
	if (f.type < QUORUM_HELLO || f.type > QUORUM_RAFT)
		return -ERR_VERSION;
	*ret = f;
	return 0;
}

void quorum_hello_encode(const struct quorum_hello *h, uint8_t ret[QUORUM_HELLO_BYTES])
{
	struct cursor c;

	cursor_init(&c, ret, QUORUM_HELLO_BYTES);
	put_u16(&c, h->version_min);
	put_u16(&c, h->version_max);
	put_u32(&c, h->features);
	put_u32(&c, h->id);
	put_u32(&c, h->fsm_version);
	put_bytes(&c, h->disk.b, sizeof(h->disk.b));
	put_u64(&c, h->lsn);
	put_u64(&c, h->seq);
	put_u64(&c, h->nonce);
	put_u64(&c, h->members_hash);
	put_u8(&c, h->empty ? 1 : 0);
	put_bytes(&c, h->name, QUORUM_NAME_BYTES);
	put_zeroes(&c, cursor_left(&c));
	assert(cursor_ok(&c));
}

/* Bytes after the known fields are room for later versions: they are not looked at. */
int quorum_hello_decode(const void *data, uint32_t bytes, struct quorum_hello *ret)
{
	struct quorum_hello h;
	struct cursor c;
	uint8_t empty;

	cursor_init_read(&c, data, bytes);
	h.version_min = get_u16(&c);
	h.version_max = get_u16(&c);
	h.features = get_u32(&c);
	h.id = get_u32(&c);
	h.fsm_version = get_u32(&c);
	get_bytes(&c, h.disk.b, sizeof(h.disk.b));
	h.lsn = get_u64(&c);
	h.seq = get_u64(&c);
	h.nonce = get_u64(&c);
	h.members_hash = get_u64(&c);
	empty = get_u8(&c);
	get_bytes(&c, h.name, QUORUM_NAME_BYTES);
	if (!cursor_ok(&c) || bytes < QUORUM_HELLO_BYTES || empty > 1 ||
	    h.version_min > h.version_max || !name_is_terminated(h.name, QUORUM_NAME_BYTES))
		return -ERR_CORRUPT;
	h.empty = empty != 0;
	if (h.version_min > QUORUM_VERSION_MAX || h.version_max < QUORUM_VERSION_MIN)
		return -ERR_VERSION;
	*ret = h;
	return 0;
}

void quorum_ping_encode(const struct quorum_ping *p, uint8_t ret[QUORUM_PING_BYTES])
{
	struct cursor c;

	cursor_init(&c, ret, QUORUM_PING_BYTES);
	put_u64(&c, p->lsn);
	put_u64(&c, p->seq);
}

int quorum_ping_decode(const void *data, uint32_t bytes, struct quorum_ping *ret)
{
	struct cursor c;

	if (bytes != QUORUM_PING_BYTES)
		return -ERR_CORRUPT;
	cursor_init_read(&c, data, bytes);
	ret->lsn = get_u64(&c);
	ret->seq = get_u64(&c);
	return 0;
}

#define RAFT_HEAD_BYTES 80u

uint32_t quorum_raft_bytes(const struct quorum_raft *m)
{
	uint64_t bytes = RAFT_HEAD_BYTES;

	for (uint32_t i = 0; i < m->entry_count; i++)
		bytes += QUORUM_ENTRY_HEAD_BYTES + (uint64_t)m->entries[i].bytes;
	bytes += (uint64_t)m->conf_bytes + m->data_bytes;
	return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

int quorum_raft_encode(const struct quorum_raft *m, void *data, uint32_t bytes)
{
	uint32_t need = quorum_raft_bytes(m);
	struct cursor c;

	if (need > bytes || need > QUORUM_PAYLOAD_BYTES_MAX || m->entry_count > QUORUM_ENTRIES_MAX)
		return -ERR_TOO_BIG;
	cursor_init(&c, data, need);
	put_u8(&c, m->type);
	put_u8(&c, m->version);
	put_u8(&c, (uint8_t)((m->disrupt ? 1 : 0) | (m->pre_vote ? 2 : 0) | (m->granted ? 4 : 0)));
	put_u8(&c, 0);
	put_u16(&c, m->features);
	put_u16(&c, m->capacity);
	put_u64(&c, m->term);
	put_u64(&c, m->candidate);
	put_u64(&c, m->index);
	put_u64(&c, m->index_term);
	put_u64(&c, m->commit);
	put_u64(&c, m->rejected);
	put_u64(&c, m->conf_index);
	put_u32(&c, m->entry_count);
	put_u32(&c, m->conf_bytes);
	put_u32(&c, m->data_bytes);
	put_u32(&c, 0);
	for (uint32_t i = 0; i < m->entry_count; i++)
		entry_put(&c, &m->entries[i]);
	if (m->conf_bytes > 0)
		put_bytes(&c, m->conf, m->conf_bytes);
	if (m->data_bytes > 0)
		put_bytes(&c, m->data, m->data_bytes);
	assert(cursor_ok(&c) && cursor_left(&c) == 0); /* P1 */
	return (int)need;
}

int quorum_raft_decode(const void *data, uint32_t bytes, struct quorum_raft *ret)
{
	struct cursor c;
	uint8_t flags, zero;
	bool install;

	memset(ret, 0, offsetof(struct quorum_raft, entries));
	cursor_init_read(&c, data, bytes);
	ret->type = get_u8(&c);
	ret->version = get_u8(&c);
	flags = get_u8(&c);
	zero = get_u8(&c);
	ret->features = get_u16(&c);
	ret->capacity = get_u16(&c);
	ret->term = get_u64(&c);
	ret->candidate = get_u64(&c);
	ret->index = get_u64(&c);
	ret->index_term = get_u64(&c);
	ret->commit = get_u64(&c);
	ret->rejected = get_u64(&c);
	ret->conf_index = get_u64(&c);
	ret->entry_count = get_u32(&c);
	ret->conf_bytes = get_u32(&c);
	ret->data_bytes = get_u32(&c);
	if (get_u32(&c) != 0 || !cursor_ok(&c) || zero != 0 || flags > 7)
		return -ERR_CORRUPT;
	ret->disrupt = (flags & 1) != 0;
	ret->pre_vote = (flags & 2) != 0;
	ret->granted = (flags & 4) != 0;
	if (ret->type < QUORUM_APPEND || ret->type > QUORUM_TIMEOUT_NOW)
		return -ERR_VERSION;
	install = ret->type == QUORUM_INSTALL;
	if (ret->entry_count > (ret->type == QUORUM_APPEND ? QUORUM_ENTRIES_MAX : 0) ||
	    (!install && (ret->conf_bytes != 0 || ret->data_bytes != 0)))
		return -ERR_CORRUPT;
	for (uint32_t i = 0; i < ret->entry_count; i++)
		if (!entry_get(&c, &ret->entries[i]))
			return -ERR_CORRUPT;
	ret->conf = cursor_skip(&c, ret->conf_bytes);
	ret->data = cursor_skip(&c, ret->data_bytes);
	if (!cursor_ok(&c) || cursor_left(&c) != 0 || ret->term == 0)
		return -ERR_CORRUPT;
	/* What the raft library would otherwise assert. */
	if (ret->type == QUORUM_APPEND && (ret->index == 0) != (ret->index_term == 0))
		return -ERR_CORRUPT;
	if (install && (ret->index == 0 || ret->index_term == 0 || ret->conf_bytes == 0))
		return -ERR_CORRUPT;
	return 0;
}

void quorum_meta_encode(const struct quorum_meta *m, uint8_t ret[BLOCK_BYTES])
{
	struct cursor c;

	cursor_init(&c, ret, BLOCK_BYTES);
	put_u64(&c, META_MAGIC);
	put_u32(&c, 0); /* crc */
	put_u32(&c, 0);
	put_u64(&c, m->seq);
	put_bytes(&c, m->disk.b, sizeof(m->disk.b));
	put_bytes(&c, m->cluster.b, sizeof(m->cluster.b));
	put_u64(&c, m->term);
	put_u64(&c, m->vote);
	put_u64(&c, m->generation);
	for (uint32_t i = 0; i < QUORUM_PEERS_MAX; i++) {
		put_u64(&c, m->peers[i].lsn);
		put_u64(&c, m->peers[i].seq);
	}
	put_zeroes(&c, cursor_left(&c));
	seal(ret, BLOCK_BYTES, 8);
}

int quorum_meta_decode(const uint8_t data[BLOCK_BYTES], struct quorum_meta *ret)
{
	struct quorum_meta m;
	struct cursor c;

	cursor_init_read(&c, data, BLOCK_BYTES);
	if (get_u64(&c) != META_MAGIC || !sealed(data, BLOCK_BYTES, 8))
		return -ERR_CORRUPT;
	(void)get_u64(&c);
	m.seq = get_u64(&c);
	get_bytes(&c, m.disk.b, sizeof(m.disk.b));
	get_bytes(&c, m.cluster.b, sizeof(m.cluster.b));
	m.term = get_u64(&c);
	m.vote = get_u64(&c);
	m.generation = get_u64(&c);
	for (uint32_t i = 0; i < QUORUM_PEERS_MAX; i++) {
		m.peers[i].lsn = get_u64(&c);
		m.peers[i].seq = get_u64(&c);
	}
	if (!zeroes(&c, (uint32_t)cursor_left(&c)))
		return -ERR_CORRUPT;
	*ret = m;
	return 0;
}

void quorum_snapshot_encode(const struct quorum_snapshot *s, uint8_t ret[BLOCK_BYTES])
{
	struct cursor c;

	cursor_init(&c, ret, BLOCK_BYTES);
	put_u64(&c, SNAPSHOT_MAGIC);
	put_u32(&c, 0); /* crc */
	put_u32(&c, s->payload_crc);
	put_u64(&c, s->seq);
	put_bytes(&c, s->disk.b, sizeof(s->disk.b));
	put_u64(&c, s->index);
	put_u64(&c, s->term);
	put_u64(&c, s->conf_index);
	put_u32(&c, s->conf_bytes);
	put_u32(&c, s->data_bytes);
	put_u64(&c, s->head_lsn);
	put_u64(&c, s->lsn);
	put_u32(&c, s->head_block);
	put_zeroes(&c, cursor_left(&c));
	seal(ret, BLOCK_BYTES, 8);
}

int quorum_snapshot_decode(const uint8_t data[BLOCK_BYTES], struct quorum_snapshot *ret)
{
	struct quorum_snapshot s;
	struct cursor c;

	cursor_init_read(&c, data, BLOCK_BYTES);
	if (get_u64(&c) != SNAPSHOT_MAGIC || !sealed(data, BLOCK_BYTES, 8))
		return -ERR_CORRUPT;
	(void)get_u32(&c);
	s.payload_crc = get_u32(&c);
	s.seq = get_u64(&c);
	get_bytes(&c, s.disk.b, sizeof(s.disk.b));
	s.index = get_u64(&c);
	s.term = get_u64(&c);
	s.conf_index = get_u64(&c);
	s.conf_bytes = get_u32(&c);
	s.data_bytes = get_u32(&c);
	s.head_lsn = get_u64(&c);
	s.lsn = get_u64(&c);
	s.head_block = get_u32(&c);
	if (!zeroes(&c, (uint32_t)cursor_left(&c)) || s.head_block >= QUORUM_LOG_BLOCKS ||
	    (uint64_t)s.conf_bytes + s.data_bytes > QUORUM_SNAPSHOT_SLOT_BYTES - BLOCK_BYTES ||
	    s.index == 0 || s.term == 0 || s.head_lsn == 0)
		return -ERR_CORRUPT;
	*ret = s;
	return 0;
}

uint32_t quorum_batch_bytes(const struct quorum_entry *entries, uint32_t count)
{
	uint32_t bytes = QUORUM_BATCH_HEAD_BYTES;

	for (uint32_t i = 0; i < count; i++)
		bytes += QUORUM_ENTRY_HEAD_BYTES + entries[i].bytes;
	return bytes;
}

void quorum_batch_encode(const struct quorum_batch *b, const struct quorum_entry *entries,
			 void *data)
{
	uint32_t padded = (b->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
	struct cursor c;

	assert(b->count >= 1 && b->count <= QUORUM_ENTRIES_MAX);
	assert(b->bytes == quorum_batch_bytes(entries, b->count));
	cursor_init(&c, data, padded);
	put_u64(&c, BATCH_MAGIC);
	put_u32(&c, 0); /* crc */
	put_u32(&c, b->count);
	put_u64(&c, b->lsn);
	put_u64(&c, b->first_index);
	put_u32(&c, b->bytes);
	put_u32(&c, 0);
	put_bytes(&c, b->disk.b, sizeof(b->disk.b));
	put_zeroes(&c, 8);
	for (uint32_t i = 0; i < b->count; i++)
		entry_put(&c, &entries[i]);
	put_zeroes(&c, cursor_left(&c));
	assert(cursor_ok(&c));
	seal(data, b->bytes, 8);
}

int quorum_batch_peek(const uint8_t data[BLOCK_BYTES], struct quorum_batch *ret)
{
	struct quorum_batch b;
	struct cursor c;
	uint64_t magic;

	cursor_init_read(&c, data, BLOCK_BYTES);
	magic = get_u64(&c);
	(void)get_u32(&c);
	b.count = get_u32(&c);
	b.lsn = get_u64(&c);
	b.first_index = get_u64(&c);
	b.bytes = get_u32(&c);
	if (magic != BATCH_MAGIC || get_u32(&c) != 0 || b.count == 0 ||
	    b.count > QUORUM_ENTRIES_MAX || b.lsn == 0 || b.first_index == 0 ||
	    b.bytes < QUORUM_BATCH_HEAD_BYTES || b.bytes > QUORUM_LOG_BLOCKS * BLOCK_BYTES)
		return -ERR_CORRUPT;
	get_bytes(&c, b.disk.b, sizeof(b.disk.b));
	if (get_u64(&c) != 0)
		return -ERR_CORRUPT;
	*ret = b;
	return 0;
}

int quorum_batch_decode(const void *data, uint32_t bytes, struct quorum_batch *ret,
			struct quorum_entry entries[QUORUM_ENTRIES_MAX])
{
	struct quorum_batch b;
	struct cursor c;

	if (bytes < BLOCK_BYTES || quorum_batch_peek(data, &b) < 0 || b.bytes > bytes ||
	    !sealed(data, b.bytes, 8))
		return -ERR_CORRUPT;
	cursor_init_read(&c, data, b.bytes);
	cursor_skip(&c, QUORUM_BATCH_HEAD_BYTES);
	for (uint32_t i = 0; i < b.count; i++)
		if (!entry_get(&c, &entries[i]))
			return -ERR_CORRUPT;
	if (cursor_left(&c) != 0)
		return -ERR_CORRUPT;
	*ret = b;
	return 0;
}

/* ---- helpers ---- */

static void entry_put(struct cursor *c, const struct quorum_entry *e)
{
	assert(e->bytes <= QUORUM_ENTRY_BYTES_MAX);
	put_u64(c, e->term);
	put_u8(c, e->type);
	put_zeroes(c, 3);
	put_u32(c, e->bytes);
	if (e->bytes > 0)
		put_bytes(c, e->data, e->bytes);
}

static bool entry_get(struct cursor *c, struct quorum_entry *e)
{
	uint8_t zero[3];

	e->term = get_u64(c);
	e->type = get_u8(c);
	get_bytes(c, zero, 3);
	e->bytes = get_u32(c);
	if (!cursor_ok(c) || e->term == 0 || e->type < QUORUM_COMMAND || e->type > QUORUM_CHANGE ||
	    (zero[0] | zero[1] | zero[2]) != 0 || e->bytes > QUORUM_ENTRY_BYTES_MAX)
		return false;
	e->data = cursor_skip(c, e->bytes);
	return cursor_ok(c);
}

static bool zeroes(struct cursor *c, uint32_t bytes)
{
	const uint8_t *p = cursor_skip(c, bytes);
	uint8_t any = 0;

	if (p == NULL)
		return false;
	for (uint32_t i = 0; i < bytes; i++)
		any |= p[i];
	return any == 0;
}

static bool name_is_terminated(const char *name, uint32_t bytes)
{
	const char *end = memchr(name, 0, bytes);

	if (end == NULL || end == name)
		return false;
	for (const char *p = end; p < name + bytes; p++)
		if (*p != 0)
			return false;
	return true;
}

/* The crc field is 4 bytes at `hole`: crc of the crcs of what is before and after it. */
static uint32_t crc_with_hole(const uint8_t *data, uint32_t bytes, uint32_t hole)
{
	uint8_t parts[8];
	uint32_t before = crc32c(data, hole), after = crc32c(data + hole + 4, bytes - hole - 4);

	memcpy(parts, &before, 4);
	memcpy(parts + 4, &after, 4);
	return crc32c(parts, sizeof(parts));
}

static void seal(uint8_t *data, uint32_t bytes, uint32_t hole)
{
	uint32_t crc = crc_with_hole(data, bytes, hole);

	memcpy(data + hole, &crc, 4);
}

static bool sealed(const uint8_t *data, uint32_t bytes, uint32_t hole)
{
	uint32_t crc;

	memcpy(&crc, data + hole, 4);
	return crc == crc_with_hole(data, bytes, hole);
}
