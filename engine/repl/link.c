/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/link.c
 * Purpose.     One codec for the messages of the link connection.
 * Invariants.  K1  A message that link_encode wrote is accepted by link_decode and is equal.
 * Failure.     Bytes from outside: -ERR_PROTOCOL, never an assertion.
 */
#include "engine/repl/link.h"

#include "engine/base/err.h"
#include "proto/cursor.h"

#define LINK_GROUP_BYTES (16u + 4u * 8u + 2u * 4u)
#define LINK_EPOCH_BYTES 28u

_Static_assert(28u + LINK_GROUPS_MAX * LINK_GROUP_BYTES + 96u + EPOCHS_MAX * LINK_EPOCH_BYTES <=
		       LINK_BYTES_MAX,
	       "every message fits");

static void put_tail(struct cursor *c, const struct link_tail *t);
static int get_tail(struct cursor *c, struct link_tail *t);
static void get_group(struct cursor *c, struct link_group *g);

uint32_t link_encode(uint8_t out[LINK_BYTES_MAX], const struct link_msg *msg)
{
	bool has_tail = msg->kind == LINK_TAIL_ASK || msg->kind == LINK_TAIL_TOLD;
	struct cursor c;

	assert(msg->group_count <= LINK_GROUPS_MAX);
	assert(!has_tail || msg->tail != NULL);
	cursor_init(&c, out, LINK_BYTES_MAX);
	put_u32(&c, (uint32_t)msg->kind);
	put_u64(&c, msg->sent.v);
	put_u64(&c, msg->lease_ms);
	put_u32(&c, msg->group_count);
	put_u32(&c, has_tail ? 1 : 0);
	for (uint32_t i = 0; i < msg->group_count; i++) {
		const struct link_group *g = &msg->groups[i];

		put_bytes(&c, g->group.b, sizeof(g->group.b));
		put_u64(&c, g->epoch);
		put_u64(&c, g->cfg);
		put_u64(&c, g->head.v);
		put_u64(&c, g->commit.v);
		put_u32(&c, g->granted);
		put_u32(&c, g->role);
	}
	if (has_tail)
		put_tail(&c, msg->tail);
	if (msg->kind == LINK_VIEW) {
		assert(msg->view_bytes >= 1 && msg->view_bytes <= LINK_VIEW_BYTES_MAX);
		put_u32(&c, msg->view_bytes);
		put_bytes(&c, msg->view, msg->view_bytes);
	}
	assert(cursor_ok(&c)); /* K1 */
	return (uint32_t)(c.at - out);
}

int link_decode(const uint8_t *in, uint32_t bytes, struct link_msg *ret, struct link_tail *tail)
{
	struct cursor c;
	uint32_t kind, has_tail;

	cursor_init_read(&c, in, bytes);
	kind = get_u32(&c);
	ret->sent.v = get_u64(&c);
	ret->lease_ms = get_u64(&c);
	ret->group_count = get_u32(&c);
	has_tail = get_u32(&c);
	ret->tail = NULL;
	if (kind < LINK_PING || kind > LINK_VIEW_ASK || has_tail > 1 ||
	    ret->group_count > LINK_GROUPS_MAX)
		return -ERR_PROTOCOL;
	ret->kind = (enum link_kind)kind;
	if ((has_tail == 1) != (kind == LINK_TAIL_ASK || kind == LINK_TAIL_TOLD))
		return -ERR_PROTOCOL;
	for (uint32_t i = 0; i < ret->group_count; i++)
		get_group(&c, &ret->groups[i]);
	if (has_tail == 1) {
		if (get_tail(&c, tail) < 0)
			return -ERR_PROTOCOL;
		ret->tail = tail;
	}
	ret->view_bytes = kind == LINK_VIEW ? get_u32(&c) : 0;
	if ((kind == LINK_VIEW && ret->view_bytes == 0) || ret->view_bytes > LINK_VIEW_BYTES_MAX)
		return -ERR_PROTOCOL;
	get_bytes(&c, ret->view, ret->view_bytes);
	return cursor_ok(&c) && cursor_left(&c) == 0 ? 0 : -ERR_PROTOCOL;
}

static void get_group(struct cursor *c, struct link_group *g)
{
	get_bytes(c, g->group.b, sizeof(g->group.b));
	g->epoch = get_u64(c);
	g->cfg = get_u64(c);
	g->head.v = get_u64(c);
	g->commit.v = get_u64(c);
	g->granted = get_u32(c);
	g->role = get_u32(c);
}

static void put_tail(struct cursor *c, const struct link_tail *t)
{
	assert(t->epoch_count <= EPOCHS_MAX);
	put_bytes(c, t->group.b, sizeof(t->group.b));
	put_u64(c, t->question);
	put_u64(c, t->tail.v);
	put_u64(c, t->durable.v);
	put_u64(c, t->commit.v);
	put_u64(c, t->fold.v);
	put_u64(c, t->tail_chain);
	put_u64(c, t->incarnation);
	put_u32(c, t->recovering);
	put_u32(c, t->has_hole);
	put_u32(c, t->known);
	put_u32(c, t->epoch_count);
	for (uint32_t i = 0; i < t->epoch_count; i++) {
		put_u64(c, t->epochs[i].epoch.number);
		put_u64(c, t->epochs[i].epoch.incarnation);
		put_u32(c, t->epochs[i].epoch.site);
		put_u64(c, t->epochs[i].first.v);
	}
}

static int get_tail(struct cursor *c, struct link_tail *t)
{
	memset(t, 0, sizeof(*t));
	get_bytes(c, t->group.b, sizeof(t->group.b));
	t->question = get_u64(c);
	t->tail.v = get_u64(c);
	t->durable.v = get_u64(c);
	t->commit.v = get_u64(c);
	t->fold.v = get_u64(c);
	t->tail_chain = get_u64(c);
	t->incarnation = get_u64(c);
	t->recovering = get_u32(c);
	t->has_hole = get_u32(c);
	t->known = get_u32(c);
	t->epoch_count = get_u32(c);
	if (t->epoch_count > EPOCHS_MAX)
		return -ERR_PROTOCOL;
	for (uint32_t i = 0; i < t->epoch_count; i++) {
		t->epochs[i].epoch.number = get_u64(c);
		t->epochs[i].epoch.incarnation = get_u64(c);
		t->epochs[i].epoch.site = get_u32(c);
		t->epochs[i].first.v = get_u64(c);
	}
	return 0;
}
