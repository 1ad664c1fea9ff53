/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/stage_bench.h"

#include <stdlib.h>

#include "engine/base/err.h"

#define PIECE 128u
#define DEPTH 4u

struct piece {
	struct replica_import im;
	struct fake_wait wait;
	uint8_t *data;
	uint32_t crcs[PIECE];
	bool busy;
};

static int piece_end(struct rb *b, struct piece *p)
{
	if (!p->busy)
		return 0;
	p->busy = false;
	return fake_wait(b->f, &p->wait);
}

static int piece_copy(struct rb *b, struct replica *staging, struct piece *p, uint32_t volume,
		      uint32_t at, bool over)
{
	uint32_t n = PIECE < RB_BLOCKS - at ? PIECE : RB_BLOCKS - at;
	struct replica_read rd = {
		.volume = volume, .block = at, .count = n, .data = p->data, .crcs = p->crcs};
	struct fake_wait wait;
	int rc = piece_end(b, p);

	if (rc < 0)
		return rc;
	fake_arm_on(b->f->env, &wait, &rd.done);
	replica_read(b->r, &rd);
	rc = fake_wait(b->f, &wait);
	if (rc < 0)
		return rc;
	p->im = (struct replica_import){.volume = volume,
					.block = at,
					.count = n,
					.over = over,
					.data = p->data,
					.crcs = p->crcs};
	fake_arm_on(b->f->env, &p->wait, &p->im.done);
	replica_stage_import(staging, &p->im);
	p->busy = true;
	return 0;
}

static int begin(struct rb *b, bool own, struct replica **ret_staging)
{
	static struct replica_volume volumes[VOLUMES_MAX];
	static struct epoch_entry epochs[EPOCHS_MAX];
	struct replica_stage_spec spec = {.volumes = volumes, .epochs = epochs, .from_own = own};
	struct replica_status st;
	struct fake_wait wait;

	replica_status(b->r, &st);
	spec.begin = st.commit;
	spec.chain = st.tail_chain;
	spec.epoch_count = replica_epochs(b->r, epochs, EPOCHS_MAX);
	spec.volume_count = replica_volumes(b->r, volumes, VOLUMES_MAX);
	spec.content_generation = st.content_generation;
	replica_stage_begin(b->store, &b->group, "group", &spec, ret_staging,
			    fake_arm(b->f, &wait));
	return fake_wait(b->f, &wait);
}

static int copy(struct rb *b, bool own, uint32_t step)
{
	static struct piece pieces[DEPTH];
	struct replica *staging = NULL;
	uint32_t next = 0;
	int rc = begin(b, own, &staging);

	for (uint32_t i = 0; i < DEPTH; i++) {
		pieces[i].busy = false;
		if (pieces[i].data == NULL)
			pieces[i].data = aligned_alloc(BLOCK_BYTES, PIECE * BLOCK_BYTES);
	}
	for (uint32_t v = 0; v < RB_VOLUMES; v++)
		for (uint32_t at = 0; at < RB_BLOCKS && rc == 0; at += PIECE * step)
			rc = piece_copy(b, staging, &pieces[next++ % DEPTH], v, at, own);
	for (uint32_t i = 0; i < DEPTH; i++) {
		int ended = piece_end(b, &pieces[i]);

		rc = rc < 0 ? rc : ended;
	}
	return rc;
}

int stage_bench_copy(struct rb *b)
{
	return copy(b, false, 1);
}

int stage_bench_own(struct rb *b)
{
	int rc = copy(b, true, 3);

	return rc < 0 ? rc : copy(b, true, 2);
}
