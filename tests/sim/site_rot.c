/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/site_rot.c: blocks in home rot while both sites are in sync and nothing is written (DESIGN P4).
 *
 * Bad at one site: reads there give the right content, and soon the disk has it again.  Bad at both:
 * reads end with an error, never with data.  What was flipped for that is flipped back.
 */
#include <string.h>

#include "engine/base/counters.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/replica_fold.h"
#include "tests/sim/site_sim.h"

#define ROTS 12u

struct rot {
	uint64_t block, off; /* in the volume; on the disk */
	uint32_t crc;
};

static void nothing_step(struct op *op)
{
	(void)op;
}

/* A place in home of a block at x; false: this one has none, or its leaf is not in memory. */
static bool home_of(struct sim_site *x, uint64_t block, struct rot *ret)
{
	struct map *m = replica_map(sim_site_replica(x), 0);
	struct block_place at = {.kind = PLACE_HOLE};
	struct leaf *l = NULL;

	if (index_get(replica_index(sim_site_replica(x)), 0, block).kind != INDEX_NONE)
		return false;
	if (m == NULL || map_leaf_get(m, block / LEAF_BLOCKS, &l) < 0 || l == NULL)
		return false;
	at = leaf_place(l, (uint32_t)(block % LEAF_BLOCKS));
	leaf_unpin(l);
	*ret = (struct rot){.block = block, .off = at.off, .crc = at.crc};
	return at.kind == PLACE_HOME;
}

static int read_at(struct sim *s, struct sim_site *x, struct replica_read *rd)
{
	uint64_t end = s->w->now + 20 * SEC_NS;
	struct op op;

	op_init(&op, x->engine->env.ready, nothing_step);
	completion_arm(&rd->done, &op, 1);
	replica_read(sim_site_replica(x), rd);
	while (op.waits != 0 && s->w->now < end && !s->failed && world_step(s->w))
		;
	world_settle(s->w);
	if (op.waits != 0)
		sim_fail(s, "a read of a rotten block does not end");
	return op.waits != 0 ? -ERR_TIMEOUT : rd->done.rc;
}

static int read_block(struct sim *s, struct sim_site *x, const struct rot *rot)
{
	static uint8_t data[BLOCK_BYTES] __attribute__((aligned(4096)));
	struct replica_read rd = {.block = rot->block, .count = 1, .data = data};
	int rc = read_at(s, x, &rd);

	if (rc == 0 && crc32c(data, BLOCK_BYTES) != rot->crc)
		sim_fail(s, "P4: %s gave wrong data for the rotten block %llu", x->name,
			 (unsigned long long)rot->block);
	return rc;
}

static bool is_on_disk(struct sim_site *x, const struct rot *rot)
{
	uint8_t data[BLOCK_BYTES];

	sim_disk_peek(x->disk, rot->off, data, BLOCK_BYTES);
	return crc32c(data, BLOCK_BYTES) == rot->crc;
}

static void rot_here(struct sim *s, struct sim_site *x, const struct rot *rots, uint32_t count)
{
	uint64_t before = x->engine->env.counters->v[CTR_REPAIRS];

	for (uint32_t i = 0; i < count; i++)
		sim_disk_flip(x->disk, rots[i].off + prng_below(&s->prng, BLOCK_BYTES), 3);
	for (uint32_t i = 0; i < count && !s->failed; i++) {
		int rc = read_block(s, x, &rots[i]);

		if (rc < 0)
			sim_fail(s, "P4: %s reads a block that only it has bad: %s", x->name,
				 err_name(rc));
	}
	if (!s->failed)
		sim_run(s, SEC_NS, NULL);
	for (uint32_t i = 0; i < count && !s->failed; i++)
		if (!is_on_disk(x, &rots[i]))
			sim_fail(s, "block %llu of %s was repaired for its reader only",
				 (unsigned long long)rots[i].block, x->name);
	if (!s->failed)
		s->kinds[SIM_REPAIRED] += x->engine->env.counters->v[CTR_REPAIRS] - before;
}

static void rot_everywhere(struct sim *s, struct sim_site *x, const struct rot *rot)
{
	struct sim_site *y = &s->sites[x == &s->sites[0] ? 1 : 0];
	struct sim_site *c = &s->sites[SIM_THIRD];
	struct rot other, distant = {.off = 0};

	if (!home_of(y, rot->block, &other) || (s->has_third && !home_of(c, rot->block, &distant)))
		return;
	sim_disk_flip(x->disk, rot->off + 9, 1);
	sim_disk_flip(y->disk, other.off + 9, 1);
	if (s->has_third)
		sim_disk_flip(c->disk, distant.off + 9, 1);
	if (read_block(s, x, rot) == 0 && !s->failed)
		sim_fail(s, "P4: %s read a block that is bad everywhere", x->name);
	if (s->failed)
		return;
	sim_disk_flip(x->disk, rot->off + 9, 1);
	sim_disk_flip(y->disk, other.off + 9, 1);
	if (s->has_third)
		sim_disk_flip(c->disk, distant.off + 9, 1);
	s->kinds[SIM_REFUSED]++;
}

void sim_rot(struct sim *s, uint64_t blocks)
{
	struct sim_site *x = &s->sites[prng_below(&s->prng, SIM_SITES)];
	struct rot rots[ROTS];
	uint32_t count = 0;

	if (!sim_is_in_sync(s) || sim_site_replica(x) == NULL)
		return;
	for (uint32_t i = 0; i < 4000 && count < ROTS; i++) {
		uint64_t block = prng_below(&s->prng, blocks);
		bool known = false;

		for (uint32_t k = 0; k < count; k++)
			known = known || rots[k].block == block;
		if (!known && home_of(x, block, &rots[count]))
			count++;
	}
	if (count == 0)
		return;
	rot_everywhere(s, x, &rots[0]);
	if (!s->failed)
		rot_here(s, x, rots, count);
}
