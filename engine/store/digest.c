/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/digest.c
 * Purpose.     One number for a replica's content, equal at sites with equal content.
 * Invariants.  DG1 It covers uuid, size and content digest of every volume that is not deleted, in slot
 *                  order; nothing about places, LSNs or unwritten space.
 *              DG2 It is taken from roots, and a root is right when the pages below it are written out.  A copy's
 *                  imports change pages without a record, so that nothing is folded (tests: a digest of the
 *                  visible replica just after a switch): then a checkpoint is asked for.
 * Failure.     -ERR_FAILED, -ERR_CORRUPT and what fold answers.
 */
#include "engine/store/digest.h"

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/port/env.h"
#include "engine/store/map_edit.h"
#include "engine/store/store_state.h"

struct digest_private {
	struct completion folded; /* or written out */
	bool written;
};

_Static_assert(sizeof(struct digest_private) <= sizeof(((struct replica_digest *)0)->private),
	       "private");

uint64_t digest_volume(uint64_t digest, const struct volume_root *v)
{
	uint64_t fields[2] = {v->volume.bytes, v->root == CHUNK_NONE
						       ? 0
						       : map_digest_wrap(v->root_digest, v->depth)};

	if (v->volume.deleted)
		return digest;
	digest = crc64(digest, v->volume.uuid.b, sizeof(v->volume.uuid.b));
	return crc64(digest, fields, sizeof(fields)); /* DG1 */
}

static bool is_dirty(struct replica *r, const struct replica_volume *volumes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct map *m = replica_map(r, volumes[i].slot);

		if (m != NULL && map_is_dirty(m))
			return true;
	}
	return false;
}

static void digest_step(struct op *op)
{
	struct replica_digest *q = container_of(op, struct replica_digest, op);
	struct digest_private *p = (struct digest_private *)(void *)q->private;
	struct replica_volume volumes[VOLUMES_MAX];
	struct replica *r = q->r;
	uint32_t count;
	int rc = p->folded.rc;

	if (op->waits != 0)
		return; /* wait: fold and its checkpoint */
	q->digest = 0;
	count = rc < 0 ? 0 : replica_volumes(r, volumes, VOLUMES_MAX);
	if (!p->written && is_dirty(r, volumes, count)) { /* DG2 */
		p->written = true;
		completion_arm(&p->folded, op, 1);
		store_checkpoint(replica_store(r), &p->folded);
		return; /* wait: the checkpoint */
	}
	for (uint32_t i = 0; i < count; i++) {
		struct volume_root v = {.volume = volumes[i], .root = CHUNK_NONE};
		struct map *m = replica_map(r, volumes[i].slot);

		if (m != NULL)
			map_root_get(m, &v);
		q->digest = digest_volume(q->digest, &v);
	}
	completion_fire(&q->done, rc);
	replica_release(r);
}

void replica_digest(struct replica *r, struct replica_digest *q)
{
	struct digest_private *p = (struct digest_private *)(void *)q->private;

	q->r = r;
	p->written = false;
	op_init(&q->op, replica_store(r)->env->ready, digest_step);
	replica_hold(r);
	completion_arm(&p->folded, &q->op, 1);
	replica_fold(r, &p->folded);
}
