/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/format.c
 * Purpose.     Make an empty store of a disk; look what a disk holds.
 * Invariants.  FM1 Old superblocks are wiped before anything else is written, the new ones come last: a
 *                  disk is a whole store or none.
 * States.      format: WIPE -> CHECKPOINT -> done.  probe: READ pieces -> done.
 * Failure.     -ERR_INVALID before anything is touched; -ERR_IO leaves no store.
 */
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/store/checkpoint.h"
#include "engine/store/store_state.h"

#define SEGMENTS_WANTED 64u
#define JOURNAL_PERCENT_DEFAULT 25u
#define PROBE_BYTES (64u << 10)
#define PROBE_PIECES 8u

enum format_phase { FORMAT_WIPE, FORMAT_CHECKPOINT };

struct formatting {
	struct op op;
	struct store *s;
	enum format_phase phase;
	struct completion part, *done;
};

static void format_end(struct formatting *f, int rc)
{
	struct completion *done = f->done;

	store_free(&f->s);
	free(f);
	completion_fire(done, rc == -ERR_FAILED ? -ERR_IO : rc);
}

static void format_step(struct op *op)
{
	struct formatting *f = container_of(op, struct formatting, op);
	int rc = f->part.rc;

	if (op->waits != 0)
		return; /* wait: the part */
	switch (f->phase) {
	case FORMAT_WIPE:
		if (rc == 0)
			rc = store_create_parts(f->s);
		if (rc < 0) {
			format_end(f, rc);
			return;
		}
		f->phase = FORMAT_CHECKPOINT;
		completion_arm(&f->part, op, 1);
		checkpoint_run(f->s->checkpoint,
			       &f->part); /* FM1: its last writes are the superblocks */
		return;			  /* wait: an empty checkpoint */
	case FORMAT_CHECKPOINT:
		format_end(f, rc);
		return;
	}
}

static uint64_t segment_bytes_for(uint64_t bytes)
{
	uint64_t segment = SEGMENT_BYTES_MAX;

	while (segment > SEGMENT_BYTES_MIN && bytes / segment < SEGMENTS_WANTED)
		segment /= 2;
	return segment;
}

static int format_check(struct env *env, struct disk *disk, const struct store_format_opts *opts,
			struct disk_super *super)
{
	uint64_t segment =
		opts->segment_bytes != 0 ? opts->segment_bytes : segment_bytes_for(disk->bytes);

	if (disk->bytes < STORE_BYTES_MIN) {
		log_error(env->log, "store",
			  "%s is too small for a store: %llu bytes, at least %llu are needed",
			  disk->name, (unsigned long long)disk->bytes,
			  (unsigned long long)STORE_BYTES_MIN);
		return -ERR_INVALID;
	}
	if (segment < SEGMENT_BYTES_MIN || (segment & (segment - 1)) != 0 ||
	    disk->bytes / segment < 2 * SUPER_COPIES || opts->journal_percent > 90 ||
	    disk->bytes % BLOCK_BYTES != 0 || disk->bytes / segment >= UINT32_MAX)
		return -ERR_INVALID;
	if (segment > SEGMENT_BYTES_MAX)
		return -ERR_UNSUPPORTED; /* segments beyond 16 MiB: not available in this version */
	memset(super, 0, sizeof(*super));
	super->version = STORE_FORMAT_VERSION;
	memcpy(super->store, opts->uuid.b, sizeof(super->store));
	super->bytes = disk->bytes;
	super->segment_bytes = segment;
	super->journal_percent =
		opts->journal_percent != 0 ? opts->journal_percent : JOURNAL_PERCENT_DEFAULT;
	return 0;
}

void store_format(struct env *env, struct disk *disk, const struct store_format_opts *opts,
		  struct completion *done)
{
	struct store_opts so = {.memory_bytes = 1};
	struct formatting *f = NULL;
	struct disk_super super;
	int rc = format_check(env, disk, opts, &super);

	if (rc == 0) {
		f = calloc(1, sizeof(*f));
		rc = f == NULL ? -ERR_NOMEM : store_create(env, disk, &so, &f->s);
	}
	if (rc < 0) {
		free(f);
		completion_fire(done, rc);
		return;
	}
	f->done = done;
	op_init(&f->op, env->ready, format_step);
	completion_arm(&f->part, &f->op, 1);
	supers_format(f->s->supers, &super, &f->part);
}

/* --- probe --- */

struct probing {
	struct op op;
	struct env *env;
	struct disk *disk;
	struct disk_req reqs[PROBE_PIECES];
	uint64_t offs[PROBE_PIECES];
	uint8_t *data;
	uint32_t count;
	struct completion *done;
};

static bool is_zero(const uint8_t *p, size_t bytes)
{
	return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

static void probe_step(struct op *op)
{
	struct probing *p = container_of(op, struct probing, op);
	struct completion *done = p->done;
	int rc = STORE_PROBE_EMPTY;

	if (op->waits != 0)
		return; /* wait: the pieces */
	for (uint32_t i = 0; i < p->count && rc >= 0; i++) {
		const uint8_t *at = p->data + (size_t)i * PROBE_BYTES;
		const struct disk_super *super = (const void *)at;

		if (p->reqs[i].done.rc < 0) {
			rc = rc == STORE_PROBE_STORE ? rc : p->reqs[i].done.rc;
			continue;
		}
		if (super->magic == SUPER_MAGIC)
			rc = STORE_PROBE_STORE; /* even a damaged one */
		else if (rc == STORE_PROBE_EMPTY && !is_zero(at, PROBE_BYTES))
			rc = STORE_PROBE_OTHER;
	}
	free(p->data);
	free(p);
	completion_fire(done, rc);
}

/* The begin, which holds most labels and partition tables, the places of our copies, and the end. */
void store_probe(struct env *env, struct disk *disk, struct completion *done)
{
	struct probing *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	op_init(&p->op, env->ready, probe_step);
	p->env = env;
	p->disk = disk;
	p->done = done;
	for (uint32_t i = 0; i < SUPER_COPIES && disk->bytes >= STORE_BYTES_MIN; i++)
		p->offs[p->count++] = super_region_off(disk->bytes, i);
	if (p->count == 0 && disk->bytes >= PROBE_BYTES)
		p->offs[p->count++] = 0;
	if (disk->bytes >= 2 * PROBE_BYTES) {
		p->offs[p->count++] = PROBE_BYTES; /* some file systems begin here */
		p->offs[p->count++] = (disk->bytes - PROBE_BYTES) & ~(uint64_t)(BLOCK_BYTES - 1);
	}
	p->data = aligned_alloc(BLOCK_BYTES, (size_t)PROBE_PIECES * PROBE_BYTES);
	if (p->data == NULL) {
		free(p);
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		completion_arm(&p->reqs[i].done, &p->op, 1u << i);
		disk_io(disk, &p->reqs[i], DISK_READ, 0, p->offs[i],
			p->data + (size_t)i * PROBE_BYTES, PROBE_BYTES);
	}
	if (p->count == 0)
		op_wake(&p->op);
}
