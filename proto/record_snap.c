/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/record_snap.c
 * Purpose.     Bodies of SNAP, RESTORE and CLONE records.
 * Invariants.  RS1 What decodes has one meaning: names are valid and zero-filled, UUIDs are not zero,
 *                  fields that an operation does not use are zero.
 * Failure.     -ERR_CORRUPT; -ERR_UNSUPPORTED for operations and flags not known here.
 */
#include "proto/record_snap.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "proto/cursor.h"

#define NAME_FIELD (NAME_BYTES_MAX + 1u)
#define SNAP_BODY_BYTES (4u + 4u + 16u + 8u + NAME_FIELD)
#define RESTORE_BODY_BYTES (16u + 16u + 8u + NAME_FIELD)
#define CLONE_BODY_BYTES (16u + 16u)

static void put_name(struct cursor *c, const char *from)
{
	char name[NAME_FIELD] = {0};

	memcpy(name, from, strnlen(from, NAME_BYTES_MAX));
	put_bytes(c, name, sizeof(name));
}

static bool name_is_empty(const char name[NAME_FIELD])
{
	static const char zero[NAME_FIELD];

	return memcmp(name, zero, sizeof(zero)) == 0;
}

static bool uuid_is_set(const struct uuid *u)
{
	static const struct uuid zero;

	return !uuid_equal(u, &zero);
}

uint32_t record_snap_encode(const struct record_snap *s, uint8_t body[RECORD_BODY_BYTES_MAX])
{
	struct cursor c;

	cursor_init(&c, body, RECORD_BODY_BYTES_MAX);
	put_u32(&c, s->op);
	put_u32(&c, s->flags);
	put_bytes(&c, s->uuid.b, sizeof(s->uuid.b));
	put_u64(&c, s->at.v);
	put_name(&c, s->name);
	assert(cursor_ok(&c) && c.at == body + SNAP_BODY_BYTES);
	return SNAP_BODY_BYTES;
}

int record_snap_decode(const uint8_t *body, uint32_t bytes, struct record_snap *ret)
{
	struct cursor c;
	struct record_snap s;

	if (bytes != SNAP_BODY_BYTES)
		return -ERR_CORRUPT;
	cursor_init_read(&c, body, bytes);
	s.op = get_u32(&c);
	s.flags = get_u32(&c);
	get_bytes(&c, s.uuid.b, sizeof(s.uuid.b));
	s.at.v = get_u64(&c);
	get_bytes(&c, s.name, sizeof(s.name));
	if (s.op < RECORD_SNAP_CREATE || s.op > RECORD_SNAP_DELETE ||
	    (s.flags & ~RECORD_SNAP_FLAGS) != 0)
		return -ERR_UNSUPPORTED;
	if (!uuid_is_set(&s.uuid) || s.at.v % BLOCK_BYTES != 0) /* RS1 */
		return -ERR_CORRUPT;
	if (s.op == RECORD_SNAP_CREATE ? !record_name_is_valid(s.name)
				       : !name_is_empty(s.name) || s.flags != 0 || s.at.v != 0)
		return -ERR_CORRUPT;
	*ret = s;
	return 0;
}

uint32_t record_restore_encode(const struct record_restore *r, uint8_t body[RECORD_BODY_BYTES_MAX])
{
	struct cursor c;

	cursor_init(&c, body, RECORD_BODY_BYTES_MAX);
	put_bytes(&c, r->target.b, sizeof(r->target.b));
	put_bytes(&c, r->kept.b, sizeof(r->kept.b));
	put_u64(&c, r->content_generation);
	put_name(&c, r->kept_name);
	assert(cursor_ok(&c) && c.at == body + RESTORE_BODY_BYTES);
	return RESTORE_BODY_BYTES;
}

int record_restore_decode(const uint8_t *body, uint32_t bytes, struct record_restore *ret)
{
	struct cursor c;
	struct record_restore r;

	if (bytes != RESTORE_BODY_BYTES)
		return -ERR_CORRUPT;
	cursor_init_read(&c, body, bytes);
	get_bytes(&c, r.target.b, sizeof(r.target.b));
	get_bytes(&c, r.kept.b, sizeof(r.kept.b));
	r.content_generation = get_u64(&c);
	get_bytes(&c, r.kept_name, sizeof(r.kept_name));
	if (!uuid_is_set(&r.target) || !uuid_is_set(&r.kept) || uuid_equal(&r.target, &r.kept) ||
	    !record_name_is_valid(r.kept_name)) /* RS1 */
		return -ERR_CORRUPT;
	*ret = r;
	return 0;
}

uint32_t record_clone_encode(const struct record_clone *r, uint8_t body[RECORD_BODY_BYTES_MAX])
{
	struct cursor c;

	cursor_init(&c, body, RECORD_BODY_BYTES_MAX);
	put_bytes(&c, r->source.b, sizeof(r->source.b));
	put_bytes(&c, r->snapshot.b, sizeof(r->snapshot.b));
	assert(cursor_ok(&c) && c.at == body + CLONE_BODY_BYTES);
	return CLONE_BODY_BYTES;
}

int record_clone_decode(const uint8_t *body, uint32_t bytes, struct record_clone *ret)
{
	struct cursor c;
	struct record_clone r;

	if (bytes != CLONE_BODY_BYTES)
		return -ERR_CORRUPT;
	cursor_init_read(&c, body, bytes);
	get_bytes(&c, r.source.b, sizeof(r.source.b));
	get_bytes(&c, r.snapshot.b, sizeof(r.snapshot.b));
	if (!uuid_is_set(&r.source) || !uuid_is_set(&r.snapshot)) /* RS1 */
		return -ERR_CORRUPT;
	*ret = r;
	return 0;
}
