/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/record.c
 *
 * Purpose.     Encode and decode the header of a journal record (proto/record.md).
 * Invariants.  R1  A header that record_encode made is decoded by record_decode to the same values.
 *              R2  A decoder reads only the bytes it was given and believes none of them before the
 *                  checksum over all of them agrees.
 *              R3  The chain covers every byte of the logical part but itself, thus also the chain
 *                  of the record before: equal chain means equal history.
 * Failure.     -ERR_CORRUPT and -ERR_UNSUPPORTED; nothing that comes from outside is asserted.
 */
#include "proto/record.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/cursor.h"
#include "proto/record_snap.h"

#define OFF_CHAIN 8u /* the chain field; the checksum leaves it out */
#define OFF_CHAIN_END 16u
#define RESERVED_BYTES 26u
#define LOCAL_CRC_OFF 56u
#define LOCAL_RESERVED_BYTES 20u
#define VOLUME_BODY_BYTES (4u + 4u + 16u + 8u + 4u + 64u)
#define EPOCH_BODY_BYTES 16u

_Static_assert(4 + 2 + 2 + 8 + 16 + 8 * 5 + 4 + 4 + 8 + 8 + 2 * 3 + RESERVED_BYTES ==
		       RECORD_FIXED_BYTES,
	       "the fixed part has no gaps");
_Static_assert(4 + 4 + 8 + 8 + 8 + 4 + LOCAL_RESERVED_BYTES + 8 == RECORD_LOCAL_BYTES,
	       "the local part has no gaps");
_Static_assert(RECORD_FIXED_BYTES + RECORD_BODY_BYTES_MAX <= RECORD_LOGICAL_BYTES_MAX,
	       "a body fits");

static uint64_t chain_of(const uint8_t *header, uint32_t logical_bytes)
{
	uint64_t crc = crc64(0, header, OFF_CHAIN);

	return crc64(crc, header + OFF_CHAIN_END, logical_bytes - OFF_CHAIN_END);
}

static void put_extents(struct cursor *c, const struct record_spec *spec)
{
	for (uint32_t i = 0; i < spec->extent_count; i++) {
		const struct record_extent *e = &spec->extents[i];

		put_u32(c, e->volume);
		put_u32(c, e->kind);
		put_u64(c, e->block);
		put_u32(c, e->count);
		put_u32(c, e->payload_block);
	}
	for (uint32_t i = 0; i < spec->payload_blocks; i++)
		put_u32(c, spec->crcs[i]);
}

void record_encode(uint8_t *header, const struct record_spec *spec, uint64_t *ret_chain)
{
	struct cursor c;
	uint32_t logical = RECORD_FIXED_BYTES + spec->extent_count * RECORD_EXTENT_BYTES +
			   spec->payload_blocks * 4 + spec->body_bytes;
	uint64_t chain;

	assert(spec->extent_count <= RECORD_EXTENTS_MAX);
	assert(spec->payload_blocks <= RECORD_PAYLOAD_BLOCKS_MAX);
	assert(spec->body_bytes <= RECORD_BODY_BYTES_MAX);
	assert(spec->body_bytes == 0 || spec->extent_count == 0);
	assert(spec->begin.v % BLOCK_BYTES == 0 && spec->commit.v <= spec->begin.v);
	memset(header + logical, 0, RECORD_HEADER_BYTES - logical);
	cursor_init(&c, header, RECORD_LOGICAL_BYTES_MAX);
	put_u32(&c, RECORD_MAGIC);
	put_u16(&c, (uint16_t)spec->type);
	put_u16(&c, 0);
	put_u64(&c, 0);
	put_bytes(&c, spec->group.b, sizeof(spec->group.b));
	put_u64(&c, spec->begin.v);
	put_u64(&c, spec->begin.v + (uint64_t)BLOCK_BYTES * (1 + spec->payload_blocks));
	put_u64(&c, spec->prev_chain);
	put_u64(&c, spec->epoch.number);
	put_u64(&c, spec->epoch.incarnation);
	put_u32(&c, spec->epoch.site);
	put_u32(&c, logical);
	put_u64(&c, spec->commit.v);
	put_u64(&c, spec->wall.v);
	put_u16(&c, (uint16_t)spec->extent_count);
	put_u16(&c, (uint16_t)spec->payload_blocks);
	put_u16(&c, (uint16_t)spec->body_bytes);
	put_zeroes(&c, RESERVED_BYTES);
	put_extents(&c, spec);
	if (spec->body_bytes > 0)
		put_bytes(&c, spec->body, spec->body_bytes);
	assert(cursor_ok(&c) && c.at == header + logical);
	chain = chain_of(header, logical);
	memcpy(header + OFF_CHAIN, &chain, sizeof(chain));
	*ret_chain = chain;
}

/* The local part with the `chunks` addresses before it. */
static uint64_t local_crc(const uint8_t *header, uint32_t chunks)
{
	uint64_t crc = crc64(0, header + OFF_CHAIN, 8);

	return crc64(crc, header + RECORD_LOGICAL_BYTES_MAX - chunks * 8,
		     chunks * 8 + LOCAL_CRC_OFF);
}

/* The nth chunk lies n + 1 numbers before the local part. */
static uint32_t chunk_off(uint32_t n)
{
	return RECORD_LOGICAL_BYTES_MAX - (n + 1) * 8;
}

void record_encode_local(uint8_t *header, const struct record_local *local)
{
	struct cursor c;
	uint32_t n = local->chunks.count;

	assert(n <= RECORD_CHUNKS_MAX);
	for (uint32_t i = 0; i < n; i++)
		memcpy(header + chunk_off(i), &local->chunks.at[i], 8);
	cursor_init(&c, header + RECORD_LOGICAL_BYTES_MAX, RECORD_LOCAL_BYTES);
	put_u32(&c, RECORD_LOCAL_MAGIC);
	put_u32(&c, local->segment_block);
	put_u64(&c, local->segment_seq);
	put_u64(&c, local->segment_salt);
	put_u64(&c, local->durable.v);
	put_u32(&c, n);
	put_zeroes(&c, LOCAL_RESERVED_BYTES);
	put_u64(&c, local_crc(header, n));
	assert(cursor_ok(&c) && cursor_left(&c) == 0);
}

int record_decode_local(const uint8_t *header, struct record_local *ret_local)
{
	struct cursor c;
	struct record_local l = {0};
	uint64_t crc;

	cursor_init_read(&c, header + RECORD_LOGICAL_BYTES_MAX, RECORD_LOCAL_BYTES);
	if (get_u32(&c) != RECORD_LOCAL_MAGIC)
		return -ERR_CORRUPT;
	l.segment_block = get_u32(&c);
	l.segment_seq = get_u64(&c);
	l.segment_salt = get_u64(&c);
	l.durable.v = get_u64(&c);
	l.chunks.count = get_u32(&c);
	(void)cursor_skip(&c, LOCAL_RESERVED_BYTES);
	crc = get_u64(&c);
	if (!cursor_ok(&c) || l.chunks.count > RECORD_CHUNKS_MAX ||
	    crc != local_crc(header, l.chunks.count) || l.durable.v % BLOCK_BYTES != 0)
		return -ERR_CORRUPT;
	for (uint32_t i = 0; i < l.chunks.count; i++) {
		memcpy(&l.chunks.at[i], header + chunk_off(i), 8);
		if (l.chunks.at[i] % CHUNK_BYTES != 0)
			return -ERR_CORRUPT;
	}
	*ret_local = l;
	return 0;
}

struct record_extent record_extent_at(const uint8_t *header, const struct record_view *view,
				      uint32_t i)
{
	struct cursor c;
	struct record_extent e;

	assert(i < view->extent_count);
	cursor_init_read(&c, header + RECORD_FIXED_BYTES + i * RECORD_EXTENT_BYTES,
			 RECORD_EXTENT_BYTES);
	e.volume = get_u32(&c);
	e.kind = get_u32(&c);
	e.block = get_u64(&c);
	e.count = get_u32(&c);
	e.payload_block = get_u32(&c);
	return e;
}

uint32_t record_crc_at(const uint8_t *header, const struct record_view *view, uint32_t i)
{
	uint32_t crc;

	assert(i < view->payload_blocks);
	memcpy(&crc, header + RECORD_FIXED_BYTES + view->extent_count * RECORD_EXTENT_BYTES + i * 4,
	       4);
	return crc;
}

const uint8_t *record_body(const uint8_t *header, const struct record_view *view)
{
	assert(view->type != RECORD_WRITE);
	return header + RECORD_FIXED_BYTES;
}

/* Extents lie in the volume space, and DATA uses the payload in order, each block once. */
static int check_extents(const uint8_t *header, const struct record_view *v)
{
	uint32_t payload = 0;

	for (uint32_t i = 0; i < v->extent_count; i++) {
		struct record_extent e = record_extent_at(header, v, i);

		if (e.kind > EXTENT_DISCARD)
			return -ERR_UNSUPPORTED;
		if (e.volume >= VOLUMES_MAX || e.count == 0 || e.block >= 1ull << 48 ||
		    e.block + e.count > 1ull << 48)
			return -ERR_CORRUPT;
		if (e.kind == EXTENT_DATA) {
			if (e.count > RECORD_PAYLOAD_BLOCKS_MAX || e.payload_block != payload)
				return -ERR_CORRUPT;
			payload += e.count;
		} else if (e.count > 1u << 24 || e.payload_block != 0) {
			return -ERR_CORRUPT;
		}
	}
	return payload == v->payload_blocks ? 0 : -ERR_CORRUPT;
}

static int check_bounds(const struct record_view *v, uint32_t bytes)
{
	uint32_t logical = RECORD_FIXED_BYTES + v->extent_count * RECORD_EXTENT_BYTES +
			   v->payload_blocks * 4 + v->body_bytes;

	if (v->extent_count > RECORD_EXTENTS_MAX || v->payload_blocks > RECORD_PAYLOAD_BLOCKS_MAX ||
	    v->body_bytes > RECORD_BODY_BYTES_MAX)
		return -ERR_CORRUPT;
	if (v->logical_bytes != logical || logical > RECORD_LOGICAL_BYTES_MAX || logical > bytes)
		return -ERR_CORRUPT;
	return 0;
}

static int check_values(const uint8_t *header, const struct record_view *v)
{
	if (v->begin.v % BLOCK_BYTES != 0 || v->begin.v > 1ull << 62 ||
	    v->end.v != v->begin.v + (uint64_t)BLOCK_BYTES * (1 + v->payload_blocks))
		return -ERR_CORRUPT;
	if (v->commit.v > v->begin.v || v->commit.v % BLOCK_BYTES != 0)
		return -ERR_CORRUPT;
	switch (v->type) {
	case RECORD_WRITE:
		if (v->extent_count == 0 || v->body_bytes != 0)
			return -ERR_CORRUPT;
		return check_extents(header, v);
	case RECORD_EPOCH:
	case RECORD_VOLUME:
	case RECORD_NOTE:
	case RECORD_SNAP:
	case RECORD_RESTORE:
	case RECORD_CLONE:
		return v->extent_count == 0 && v->payload_blocks == 0 ? 0 : -ERR_CORRUPT;
	case RECORD_DELTA_BEGIN:
	case RECORD_DELTA_COMMIT:
	case RECORD_PAD:
	default:
		return -ERR_UNSUPPORTED;
	}
}

static int check_body(const uint8_t *header, const struct record_view *v)
{
	union {
		struct record_volume volume;
		struct record_epoch epoch;
		struct record_snap snap;
		struct record_restore restore;
		struct record_clone clone;
	} out;

	switch (v->type) {
	case RECORD_VOLUME:
		return record_volume_decode(record_body(header, v), v->body_bytes, &out.volume);
	case RECORD_EPOCH:
		return record_epoch_decode(record_body(header, v), v->body_bytes, &out.epoch);
	case RECORD_SNAP:
		return record_snap_decode(record_body(header, v), v->body_bytes, &out.snap);
	case RECORD_RESTORE:
		return record_restore_decode(record_body(header, v), v->body_bytes, &out.restore);
	case RECORD_CLONE:
		return record_clone_decode(record_body(header, v), v->body_bytes, &out.clone);
	case RECORD_WRITE:
	case RECORD_NOTE:
	case RECORD_DELTA_BEGIN:
	case RECORD_DELTA_COMMIT:
	case RECORD_PAD:
		return 0;
	}
	UNREACHABLE("check_values refuses other types");
}

int record_decode(const uint8_t *header, uint32_t bytes, struct record_view *ret_view)
{
	struct cursor c;
	struct record_view v;
	uint8_t reserved[RESERVED_BYTES], zero[RESERVED_BYTES] = {0};
	uint16_t flags;
	int rc;

	cursor_init_read(&c, header, bytes);
	if (bytes < RECORD_FIXED_BYTES || get_u32(&c) != RECORD_MAGIC)
		return -ERR_CORRUPT;
	v.type = (enum record_type)get_u16(&c);
	flags = get_u16(&c);
	v.chain = get_u64(&c);
	get_bytes(&c, v.group.b, sizeof(v.group.b));
	v.begin.v = get_u64(&c);
	v.end.v = get_u64(&c);
	v.prev_chain = get_u64(&c);
	v.epoch.number = get_u64(&c);
	v.epoch.incarnation = get_u64(&c);
	v.epoch.site = get_u32(&c);
	v.logical_bytes = get_u32(&c);
	v.commit.v = get_u64(&c);
	v.wall.v = get_u64(&c);
	v.extent_count = get_u16(&c);
	v.payload_blocks = get_u16(&c);
	v.body_bytes = get_u16(&c);
	get_bytes(&c, reserved, sizeof(reserved));
	rc = check_bounds(&v, bytes);
	if (rc < 0 || v.chain != chain_of(header, v.logical_bytes)) /* R2 */
		return -ERR_CORRUPT;
	if (flags != 0 || memcmp(reserved, zero, sizeof(zero)) != 0)
		return -ERR_UNSUPPORTED;
	rc = check_values(header, &v);
	if (rc == 0)
		rc = check_body(header, &v);
	if (rc < 0)
		return rc;
	*ret_view = v;
	return 0;
}

uint32_t record_volume_encode(const struct record_volume *v, uint8_t body[RECORD_BODY_BYTES_MAX])
{
	struct cursor c;
	char name[NAME_BYTES_MAX + 1] = {0};

	memcpy(name, v->name, strnlen(v->name, NAME_BYTES_MAX));
	cursor_init(&c, body, RECORD_BODY_BYTES_MAX);
	put_u32(&c, v->op);
	put_u32(&c, v->slot);
	put_bytes(&c, v->uuid.b, sizeof(v->uuid.b));
	put_u64(&c, v->bytes);
	put_u32(&c, v->block_bytes);
	put_bytes(&c, name, sizeof(name));
	assert(c.at == body + VOLUME_BODY_BYTES);
	return VOLUME_BODY_BYTES;
}

bool record_name_is_valid(const char name[NAME_BYTES_MAX + 1])
{
	uint32_t n = (uint32_t)strnlen(name, NAME_BYTES_MAX + 1);

	if (n == 0 || n > NAME_BYTES_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		char x = name[i];
		bool alnum =
			(x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9');

		if (!alnum && (i == 0 || (x != '.' && x != '_' && x != '-')))
			return false;
	}
	for (uint32_t i = n; i <= NAME_BYTES_MAX; i++) {
		if (name[i] != 0)
			return false;
	}
	return true;
}

int record_volume_decode(const uint8_t *body, uint32_t bytes, struct record_volume *ret)
{
	struct cursor c;
	struct record_volume v;

	if (bytes != VOLUME_BODY_BYTES)
		return -ERR_CORRUPT;
	cursor_init_read(&c, body, bytes);
	v.op = get_u32(&c);
	v.slot = get_u32(&c);
	get_bytes(&c, v.uuid.b, sizeof(v.uuid.b));
	v.bytes = get_u64(&c);
	v.block_bytes = get_u32(&c);
	get_bytes(&c, v.name, sizeof(v.name));
	if (v.op < RECORD_VOLUME_CREATE || v.op > RECORD_VOLUME_DELETE)
		return -ERR_UNSUPPORTED;
	if (v.slot >= VOLUMES_MAX || v.bytes % 512 != 0 || v.bytes > 1ull << 60 ||
	    (v.block_bytes != 512 && v.block_bytes != 4096))
		return -ERR_CORRUPT;
	if (v.op == RECORD_VOLUME_CREATE && !record_name_is_valid(v.name))
		return -ERR_CORRUPT;
	v.name[NAME_BYTES_MAX] = 0;
	*ret = v;
	return 0;
}

uint32_t record_epoch_encode(const struct record_epoch *e, uint8_t body[RECORD_BODY_BYTES_MAX])
{
	struct cursor c;

	cursor_init(&c, body, RECORD_BODY_BYTES_MAX);
	put_u64(&c, e->last_forced_epoch);
	put_u64(&c, e->content_generation);
	return EPOCH_BODY_BYTES;
}

int record_epoch_decode(const uint8_t *body, uint32_t bytes, struct record_epoch *ret)
{
	struct cursor c;

	if (bytes != EPOCH_BODY_BYTES)
		return -ERR_CORRUPT;
	cursor_init_read(&c, body, bytes);
	ret->last_forced_epoch = get_u64(&c);
	ret->content_generation = get_u64(&c);
	return 0;
}
