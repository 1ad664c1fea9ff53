/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/room.c
 * Purpose.     Volumes are thin: is there room in the store for what a write may need?
 * Invariants.  S1 A write gets an LSN only while the store can fold everything before it and it, in the
 *                 worst case: a whole chunk for each block that is not folded yet, but, where nothing
 *                 is shared, never more than the volumes lack (J13: -ERR_FULL comes before the LSN, and what is journaled can
 *                 always go home).  A group with on-full 'stop' holds such writes instead.
 *              S2 "Full" is said only after a fold has shown that the worst case is the case.
 *              S3 What is kept to go back in goes before a write is refused.
 * States.      OK -> WAIT [the worst case does not fit: everything is folded] -> OK or FULL [it really
 *              does not];  FULL -> OK [space was freed: room_poll].
 * Failure.     A fold that fails counts as full.
 * Limits.      RESERVE_SEGMENTS are never given to writes: trims, zeroes and the store's own pages go on.
 */
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/volume/group.h"

#define RESERVE_SEGMENTS 2u
#define LOOK_AGAIN_MS 100u
#define FOLD_TRIES_MAX 4u
#define W_FOLD 128u
#define ROOM_WORD_FULL 3u /* after enum store_room */
#define ROOM_WORDS 4u

static const char *const room_words[ROOM_WORDS] = {"ok", "low", "little", "full"};

static bool room_look(struct conductor *c);
static uint64_t room_lacking(struct conductor *c);
static void room_fold(struct conductor *c);
static void room_set_full(struct conductor *c, bool full);
static uint32_t room_word(const struct conductor *c);
static void room_tell(struct conductor *c);

enum room_state room_state(struct conductor *c)
{
	struct room *m = &c->room;

	if (!m->full && m->chunks > 0 &&
	    clock_now(c->env->clock).v - m->looked.v < LOOK_AGAIN_MS * MS_NS)
		return ROOM_OK;
	if (room_look(c))
		return ROOM_OK;
	if (m->full)
		return ROOM_FULL;
	if (m->folds > 0)
		return ROOM_WAIT;
	if (m->tries >= FOLD_TRIES_MAX || m->fold_failed || (m->tries > 0 && m->tight)) {
		if (!store_history_give(c->store)) {
			room_set_full(c, true); /* S2 */
			return ROOM_FULL;
		}
		m->tries = 0; /* S3 */
		m->fold_failed = false;
	}
	room_fold(c);
	return ROOM_WAIT;
}

void room_take(struct conductor *c, uint64_t begin, uint64_t end)
{
	uint64_t chunks = (end + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS - begin / CHUNK_BLOCKS;

	c->room.chunks -= chunks < c->room.chunks ? chunks : c->room.chunks;
}

/* What the volumes here may still take: a full one that shares nothing takes nothing more, however it is
 * written. */
static uint64_t room_lacking(struct conductor *c)
{
	struct replica_volume *list = calloc(VOLUMES_MAX, sizeof(*list));
	uint64_t lacking = 0;

	if (list == NULL)
		return UINT64_MAX;
	for (struct replica *r = replica_next(c->store, NULL); r != NULL;
	     r = replica_next(c->store, r)) {
		uint32_t n = replica_volumes(r, list, VOLUMES_MAX);

		for (uint32_t i = 0; i < n; i++) {
			uint64_t bytes =
				(list[i].bytes + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES;

			if (list[i].deleted || bytes <= list[i].used_bytes)
				continue;
			bytes -= list[i].used_bytes;
			lacking = bytes < UINT64_MAX - lacking ? lacking + bytes : UINT64_MAX;
		}
	}
	free(list);
	return lacking;
}

/* S1.  True: there is room for m->chunks more. */
static bool room_look(struct conductor *c)
{
	struct room *m = &c->room;
	struct store_status st;
	uint64_t unfolded, reserve, need;

	store_status(c->store, &st);
	unfolded = st.index_entries;
	LIST_FOR_EACH(n, &c->groups)
		unfolded += container_of(n, struct group, link)->flight_blocks;
	reserve = st.segment_bytes * (m->full ? RESERVE_SEGMENTS + 1 : RESERVE_SEGMENTS);
	need = unfolded * CHUNK_BYTES + reserve;
	m->looked = clock_now(c->env->clock);
	m->tight = st.free_bytes < reserve + CHUNK_BYTES;
	m->chunks = st.free_bytes > need ? (st.free_bytes - need) / CHUNK_BYTES : 0;
	if (m->chunks < UINT16_MAX && !st.shares && room_lacking(c) <= st.free_bytes)
		m->chunks = UINT16_MAX; /* all volumes fit whole */
	if (m->chunks == 0)
		return false;
	m->tries = 0;
	m->fold_failed = false;
	if (m->full)
		room_set_full(c, false);
	return true;
}

static void room_fold(struct conductor *c)
{
	c->room.tries++;
	LIST_FOR_EACH(n, &c->groups) {
		struct group *g = container_of(n, struct group, link);
		struct replica *r = replica_find(c->store, &g->uuid);

		if (r == NULL || g->fold_busy)
			continue;
		g->fold_busy = true;
		c->room.folds++;
		completion_arm(&g->fold_done, &g->op, W_FOLD);
		replica_fold(r, &g->fold_done);
	}
}

void room_harvest(struct group *g)
{
	struct conductor *c = g->c;

	if (!g->fold_busy || completion_armed(&g->fold_done))
		return;
	g->fold_busy = false;
	c->room.folds--;
	if (g->fold_done.rc < 0)
		c->room.fold_failed = true;
	if (c->room.folds == 0)
		LIST_FOR_EACH(n, &c->groups)
			op_wake(&container_of(n, struct group, link)->op);
}

/* Told once when it is over. */
static void growth_poll(struct conductor *c)
{
	struct store_growth g;

	store_growth(c->store, &g);
	if (g.ended != c->room.growths)
		conductor_event(c, EVENT_STORE, NULL, "growing", g.rc == 0 ? "grown" : "as before",
				g.to, 0, "%s", g.rc == 0 ? "the store is larger" : err_text(g.rc));
	c->room.growths = g.ended;
}

/* Once per change, well before writes find no room. */
static void room_tell(struct conductor *c)
{
	static const char *const says[ROOM_WORDS] = {
		[STORE_ROOM_OK] = "there is room again",
		[STORE_ROOM_LOW] = "space runs low: less than an eighth of the store is free",
		[STORE_ROOM_LITTLE] = "space is nearly used up: less than a sixteenth is free",
		[ROOM_WORD_FULL] =
			"no room for new data: writes are answered 'no space' or wait, as their group says; reads, trims and deletes go on"};
	struct store_status st;
	uint32_t now = room_word(c);

	if (now == c->room.told)
		return;
	store_status(c->store, &st);
	conductor_event(c, EVENT_STORE, NULL, room_words[c->room.told], room_words[now],
			st.free_bytes, 0, "%s", says[now]);
	c->room.told = now;
}

void room_poll(struct conductor *c)
{
	growth_poll(c);
	room_tell(c);
	if (c->room.full)
		(void)room_look(c);
}

static void room_set_full(struct conductor *c, bool full)
{
	c->room.full = full;
	room_tell(c);
}

static uint32_t room_word(const struct conductor *c)
{
	return c->room.full ? ROOM_WORD_FULL : (uint32_t)store_room(c->store);
}

const char *conductor_room_word(const struct conductor *c)
{
	return room_words[room_word(c)];
}
