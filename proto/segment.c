/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/segment.c
 *
 * Purpose.     Encode and decode what surrounds the records of a journal segment.
 * Invariants.  F1  A footer entry leaves out only what follows from the records before it: position,
 *                  chain, group, sizes.  Rebuilding a header computes its chain anew, so the chain of
 *                  the trailer checks every entry.
 *              F2  Each structure carries its own checksum and the salt of its segment.
 * Failure.     Decoders answer -ERR_CORRUPT or -ERR_UNSUPPORTED; nothing from outside is asserted.
 */
#include "proto/segment.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/cursor.h"
#include "proto/record_place.h"

#define SEGMENT_VERSION 1u
#define ENTRY_FIXED_BYTES 24u
#define ENTRY_EPOCH_BYTES 20u
#define ENTRY_FLAG_EPOCH 1u
#define ENTRY_FLAG_CHUNKS 2u

/* Both blocks: {magic u32, version u32, crc64 of the block from byte 16 on, fields, zeroes}. */
static void block_begin(struct cursor *c, uint8_t *block, uint32_t magic)
{
	memset(block, 0, BLOCK_BYTES);
	cursor_init(c, block, BLOCK_BYTES);
	put_u32(c, magic);
	put_u32(c, SEGMENT_VERSION);
	put_u64(c, 0);
}

static void block_end(struct cursor *c, uint8_t *block)
{
	uint64_t crc = crc64(0, block + 16, BLOCK_BYTES - 16);

	assert(cursor_ok(c));
	memcpy(block + 8, &crc, 8);
}

static int block_open(struct cursor *c, const uint8_t *block, uint32_t magic)
{
	uint32_t version;

	cursor_init_read(c, block, BLOCK_BYTES);
	if (get_u32(c) != magic)
		return -ERR_CORRUPT;
	version = get_u32(c);
	if (get_u64(c) != crc64(0, block + 16, BLOCK_BYTES - 16))
		return -ERR_CORRUPT;
	return version == SEGMENT_VERSION ? 0 : -ERR_UNSUPPORTED;
}

void segment_header_encode(uint8_t block[BLOCK_BYTES], const struct segment_header *h)
{
	struct cursor c;

	block_begin(&c, block, SEGMENT_HEADER_MAGIC);
	put_bytes(&c, h->store.b, 16);
	put_bytes(&c, h->group.b, 16);
	put_u64(&c, h->seq);
	put_u64(&c, h->link);
	put_u64(&c, h->salt);
	put_u64(&c, h->first.v);
	put_u64(&c, h->chain_before);
	put_u64(&c, h->durable.v);
	put_u64(&c, h->next_link);
	put_u32(&c, h->next);
	block_end(&c, block);
}

int segment_header_decode(const uint8_t block[BLOCK_BYTES], struct segment_header *ret)
{
	struct segment_header h;
	struct cursor c;
	int rc = block_open(&c, block, SEGMENT_HEADER_MAGIC);

	if (rc < 0)
		return rc;
	get_bytes(&c, h.store.b, 16);
	get_bytes(&c, h.group.b, 16);
	h.seq = get_u64(&c);
	h.link = get_u64(&c);
	h.salt = get_u64(&c);
	h.first.v = get_u64(&c);
	h.chain_before = get_u64(&c);
	h.durable.v = get_u64(&c);
	h.next_link = get_u64(&c);
	h.next = get_u32(&c);
	if (!cursor_ok(&c) || h.first.v % BLOCK_BYTES != 0 || h.durable.v > h.first.v ||
	    h.first.v > 1ull << 62)
		return -ERR_CORRUPT;
	*ret = h;
	return 0;
}

void segment_trailer_encode(uint8_t block[BLOCK_BYTES], const struct segment_trailer *t)
{
	struct cursor c;

	block_begin(&c, block, SEGMENT_TRAILER_MAGIC);
	put_u64(&c, t->seq);
	put_u64(&c, t->salt);
	put_u64(&c, t->first.v);
	put_u64(&c, t->end.v);
	put_u64(&c, t->end_chain);
	put_u64(&c, t->entries_crc);
	put_u32(&c, t->entries_bytes);
	put_u32(&c, t->record_count);
	put_u32(&c, t->chunk_count);
	block_end(&c, block);
}

int segment_trailer_decode(const uint8_t block[BLOCK_BYTES], struct segment_trailer *ret)
{
	struct segment_trailer t;
	struct cursor c;
	int rc = block_open(&c, block, SEGMENT_TRAILER_MAGIC);

	if (rc < 0)
		return rc;
	t.seq = get_u64(&c);
	t.salt = get_u64(&c);
	t.first.v = get_u64(&c);
	t.end.v = get_u64(&c);
	t.end_chain = get_u64(&c);
	t.entries_crc = get_u64(&c);
	t.entries_bytes = get_u32(&c);
	t.record_count = get_u32(&c);
	t.chunk_count = get_u32(&c);
	if (!cursor_ok(&c) || t.first.v % BLOCK_BYTES != 0 || t.end.v % BLOCK_BYTES != 0 ||
	    t.first.v > t.end.v || t.entries_bytes > SEGMENT_FOOTER_BYTES_MAX)
		return -ERR_CORRUPT;
	*ret = t;
	return 0;
}

uint32_t footer_entry_bytes(const struct record_view *view, uint32_t chunks)
{
	return ENTRY_FIXED_BYTES + ENTRY_EPOCH_BYTES + view->logical_bytes - RECORD_FIXED_BYTES +
	       chunks * 8;
}

static bool epoch_equal(const struct epoch *a, const struct epoch *b)
{
	return a->number == b->number && a->incarnation == b->incarnation && a->site == b->site;
}

uint32_t footer_entry_put(uint8_t *at, struct footer_state *s, const uint8_t *header,
			  const struct record_view *view, const struct record_chunks *chunks)
{
	bool with_epoch = !epoch_equal(&s->epoch, &view->epoch);
	struct cursor c;

	assert(view->begin.v == s->lsn.v && view->prev_chain == s->chain); /* F1 */
	cursor_init(&c, at, footer_entry_bytes(view, chunks->count));
	put_u8(&c, (uint8_t)view->type);
	put_u8(&c, (uint8_t)((with_epoch ? ENTRY_FLAG_EPOCH : 0) |
			     (chunks->count > 0 ? ENTRY_FLAG_CHUNKS : 0)));
	put_u16(&c, (uint16_t)view->extent_count);
	put_u16(&c, (uint16_t)view->payload_blocks);
	put_u16(&c, (uint16_t)view->body_bytes);
	put_u64(&c, view->commit.v);
	put_u64(&c, view->wall.v);
	if (with_epoch) {
		put_u64(&c, view->epoch.number);
		put_u64(&c, view->epoch.incarnation);
		put_u32(&c, view->epoch.site);
	}
	put_bytes(&c, header + RECORD_FIXED_BYTES, view->logical_bytes - RECORD_FIXED_BYTES);
	for (uint32_t i = 0; i < chunks->count; i++)
		put_u64(&c, chunks->at[i]);
	assert(cursor_ok(&c));
	s->lsn = view->end;
	s->chain = view->chain;
	s->epoch = view->epoch;
	return (uint32_t)(c.at - at);
}

/* The variable part is copied as it is; record_decode then checks the whole as if read from disk. */
static int entry_rebuild(struct cursor *c, const struct record_spec *fixed, uint8_t *header)
{
	struct record_spec spec = *fixed;
	struct record_extent extents[RECORD_EXTENTS_MAX];
	uint32_t crcs[RECORD_PAYLOAD_BLOCKS_MAX];
	uint64_t chain;

	for (uint32_t i = 0; i < spec.extent_count; i++) {
		extents[i].volume = get_u32(c);
		extents[i].kind = get_u32(c);
		extents[i].block = get_u64(c);
		extents[i].count = get_u32(c);
		extents[i].payload_block = get_u32(c);
	}
	get_bytes(c, crcs, spec.payload_blocks * 4);
	spec.extents = extents;
	spec.crcs = crcs;
	spec.body = cursor_skip(c, spec.body_bytes);
	if (!cursor_ok(c))
		return -ERR_CORRUPT;
	record_encode(header, &spec, &chain);
	return 0;
}

/* As many as the record has whole chunks. */
static int entry_chunks(struct cursor *c, const uint8_t *header, struct footer_entry *e)
{
	struct record_runs runs;

	record_runs(header, &e->view, &runs);
	if (runs.chunks == 0)
		return -ERR_CORRUPT;
	e->chunks.count = runs.chunks;
	for (uint32_t i = 0; i < runs.chunks; i++) {
		e->chunks.at[i] = get_u64(c);
		if (e->chunks.at[i] % CHUNK_BYTES != 0)
			return -ERR_CORRUPT;
	}
	return cursor_ok(c) ? 0 : -ERR_CORRUPT;
}

int footer_entry_get(const uint8_t *at, const uint8_t *end, struct footer_state *s,
		     uint8_t header[RECORD_HEADER_BYTES], struct footer_entry *ret)
{
	struct footer_entry e = {0};
	struct record_spec spec = {
		.group = s->group, .begin = s->lsn, .prev_chain = s->chain, .epoch = s->epoch};
	struct cursor c;
	uint8_t flags;
	int rc;

	cursor_init_read(&c, at, (size_t)(end - at));
	spec.type = (enum record_type)get_u8(&c);
	flags = get_u8(&c);
	spec.extent_count = get_u16(&c);
	spec.payload_blocks = get_u16(&c);
	spec.body_bytes = get_u16(&c);
	spec.commit.v = get_u64(&c);
	spec.wall.v = get_u64(&c);
	if ((flags & ENTRY_FLAG_EPOCH) != 0) {
		spec.epoch.number = get_u64(&c);
		spec.epoch.incarnation = get_u64(&c);
		spec.epoch.site = get_u32(&c);
	}
	if (!cursor_ok(&c) || spec.extent_count > RECORD_EXTENTS_MAX ||
	    spec.payload_blocks > RECORD_PAYLOAD_BLOCKS_MAX ||
	    spec.body_bytes > RECORD_BODY_BYTES_MAX ||
	    (spec.body_bytes != 0 && spec.extent_count != 0) || spec.commit.v > spec.begin.v)
		return -ERR_CORRUPT;
	if ((flags & ~(ENTRY_FLAG_EPOCH | ENTRY_FLAG_CHUNKS)) != 0)
		return -ERR_UNSUPPORTED;
	rc = entry_rebuild(&c, &spec, header);
	if (rc == 0)
		rc = record_decode(header, RECORD_HEADER_BYTES, &e.view);
	if (rc == 0 && (flags & ENTRY_FLAG_CHUNKS) != 0)
		rc = entry_chunks(&c, header, &e);
	if (rc < 0)
		return rc;
	s->lsn = e.view.end;
	s->chain = e.view.chain;
	s->epoch = e.view.epoch;
	e.bytes = (uint32_t)(c.at - at);
	*ret = e;
	return 0;
}
