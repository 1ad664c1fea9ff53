/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/superblock.c
 * Purpose.     The one place that is overwritten in place: it names the checkpoint root.
 * Invariants.  U1  At every moment two copies are durable and equal: copies 0 and 1 are written and
 *                  verified before 2 and 3 are touched; a repair only touches copies that lost.
 *              U2  The content with the highest sequence that two copies agree on wins.
 *              U3  A sequence is never used twice for different contents by the same quorum: it
 *                  starts above every valid copy that was seen.
 *              U5  Where the copies are is not guessed from the disk's present size while copy 0 or a
 *                  signpost says how large it was at formatting: else what clients wrote at the guessed
 *                  places could be taken for superblocks.
 *              U4  Floors never go down; a set completes when all four copies of a slot are durable;
 *                  the other slot still holds the values before it.
 * States.      one operation for superblocks: IDLE -> FLUSH -> PLACE -> READ -> [REREAD ->] FLOORS0
 *              -> FLOORS1 -> REPAIR -> IDLE (load);  IDLE -> WIPE -> IDLE (format);  IDLE -> FIRST -> VERIFY1
 *              -> SECOND -> VERIFY2 -> IDLE (write).  One for floors: it writes while there is news.
 *              One for signposts.
 * Failure.     A failed write poisons (opts.failed); reading tolerates two lost copies.
 * Limits.      FLOORS_MAX groups; waiting floor sets are an array that grows (control plane).
 */
#include "engine/store/superblock.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"

#define FLOOR_WAIT_STEP 64u
#define WIPE_BYTES SUPER_BYTES

enum supers_phase {
	SUPERS_IDLE,
	SUPERS_FLUSH,
	SUPERS_PLACE,
	SUPERS_READ,
	SUPERS_REREAD,
	SUPERS_FLOORS0,
	SUPERS_FLOORS1,
	SUPERS_REPAIR,
	SUPERS_WIPE,
	SUPERS_FIRST,
	SUPERS_VERIFY1,
	SUPERS_SECOND,
	SUPERS_VERIFY2,
};

struct floor_entry {
	struct uuid group;
	struct store_floor floor;   /* as asked */
	struct store_floor writing; /* in the write in flight */
	struct store_floor durable; /* what a crash keeps: this is what is told */
};

struct floor_waits {
	struct completion **done;
	uint32_t count, max;
};

struct supers {
	struct supers_opts opts;
	struct disk_super content;
	uint64_t sequence_seen; /* U3 */
	uint64_t region_bytes;	/* disk size that region places are computed from */
	uint32_t good;
	const char *faults[SUPER_COPIES]; /* as loaded */

	struct op op;
	enum supers_phase phase;
	struct completion *done;
	struct disk_req reqs[SUPER_COPIES], post_reqs[SIGNPOSTS];
	struct disk_super *images; /* SUPER_COPIES, aligned */
	struct disk_super *back;   /* as many, for reading back */
	struct disk_super next;

	struct op post_op;
	struct disk_signpost *posts; /* SIGNPOSTS, aligned */
	struct completion *post_done;

	struct op floor_op;
	struct disk_req floor_reqs[SUPER_COPIES];
	uint8_t *slots;		    /* SUPER_COPIES times FLOOR_SLOT_BYTES, aligned */
	struct floor_entry *floors; /* sorted by group */
	uint32_t floor_count;
	uint64_t floor_sequence;
	uint32_t floor_good; /* copies that hold floor_sequence, while loading */
	bool floor_dirty, floor_writing, failed;
	struct floor_waits waits, waits_writing;
};

static void supers_step(struct op *op);
static void floor_step(struct op *op);
static void post_step(struct op *op);
static void place_read(struct supers *su);
static void place_take(struct supers *su);
static void posts_io(struct supers *su, struct op *op, enum disk_kind kind, uint64_t disk_bytes);
static int posts_rc(const struct supers *su);
static int load_pick(struct supers *su);
static int load_check_features(struct supers *su);
static void load_repair(struct supers *su);
static void floors_read(struct supers *su, uint32_t slot);
static int floors_take(struct supers *su, uint32_t slot);
static void copies_io(struct supers *su, enum disk_kind kind, uint32_t first, uint32_t count,
		      struct disk_super *data);
static int copies_rc(const struct supers *su, uint32_t first, uint32_t count);
static void finish(struct supers *su, int rc);
static void poison(struct supers *su, int rc, const char *what);
static struct floor_entry *floor_find(const struct supers *su, const struct uuid *group);

int supers_open(const struct supers_opts *opts, struct supers **ret_supers)
{
	struct supers *su = calloc(1, sizeof(*su));

	if (su == NULL)
		return -ERR_NOMEM;
	su->opts = *opts;
	su->images = aligned_alloc(BLOCK_BYTES, SUPER_COPIES * SUPER_BYTES);
	su->back = aligned_alloc(BLOCK_BYTES, SUPER_COPIES * SUPER_BYTES);
	su->posts = aligned_alloc(BLOCK_BYTES, SIGNPOSTS * SUPER_BYTES);
	su->slots = aligned_alloc(BLOCK_BYTES, SUPER_COPIES * FLOOR_SLOT_BYTES);
	su->floors = calloc(FLOORS_MAX, sizeof(*su->floors));
	su->waits.done = calloc(FLOOR_WAIT_STEP, sizeof(struct completion *));
	su->waits.max = FLOOR_WAIT_STEP;
	if (su->images == NULL || su->back == NULL || su->posts == NULL || su->slots == NULL ||
	    su->floors == NULL || su->waits.done == NULL) {
		supers_close(&su, true);
		return -ERR_NOMEM;
	}
	su->region_bytes = opts->disk->bytes;
	op_init(&su->op, opts->env->ready, supers_step);
	op_init(&su->post_op, opts->env->ready, post_step);
	op_init(&su->floor_op, opts->env->ready, floor_step);
	*ret_supers = su;
	return 0;
}

void supers_close(struct supers **sup, bool abandoned)
{
	struct supers *su = *sup;

	*sup = NULL;
	if (su == NULL)
		return;
	if (!abandoned) {
		op_unqueue(&su->op);
		op_unqueue(&su->post_op);
		op_unqueue(&su->floor_op);
	}
	free(su->images);
	free(su->back);
	free(su->posts);
	free(su->slots);
	free(su->floors);
	free(su->waits.done);
	free(su->waits_writing.done);
	free(su);
}

bool supers_is_idle(const struct supers *su)
{
	return su->phase == SUPERS_IDLE && su->post_done == NULL && !su->floor_writing &&
	       !su->floor_dirty && su->waits.count == 0;
}

void supers_load(struct supers *su, struct completion *done)
{
	assert(su->phase == SUPERS_IDLE && su->done == NULL);
	su->done = done;
	if (su->opts.disk->bytes < STORE_BYTES_MIN) {
		finish(su, -ERR_NOT_STORE);
		return;
	}
	if (su->opts.read_only) {
		place_read(su);
		return;
	}
	/* A process that died may have left written, unflushed bytes: read only what will stay. */
	su->phase = SUPERS_FLUSH;
	completion_arm(&su->reqs[0].done, &su->op, 1);
	disk_io(su->opts.disk, &su->reqs[0], DISK_FLUSH, 0, 0, NULL, 0);
}

void supers_format(struct supers *su, const struct disk_super *content, struct completion *done)
{
	assert(su->phase == SUPERS_IDLE && su->done == NULL);
	su->done = done;
	su->content = *content;
	su->phase = SUPERS_WIPE;
	memset(su->images, 0, SUPER_COPIES * SUPER_BYTES);
	memset(su->posts, 0, SIGNPOSTS * SUPER_BYTES);
	copies_io(su, DISK_WRITE, 0, SUPER_COPIES, su->images);
	posts_io(su, &su->op, DISK_WRITE, su->opts.disk->bytes);
}

void supers_signpost(struct supers *su, uint64_t disk_bytes, struct completion *done)
{
	assert(su->post_done == NULL && su->phase != SUPERS_PLACE && su->phase != SUPERS_WIPE);
	assert(!su->opts.read_only && disk_bytes <= su->opts.disk->bytes);
	su->post_done = done;
	for (uint32_t i = 0; i < SIGNPOSTS; i++) {
		struct uuid store;

		memcpy(store.b, su->content.store, sizeof(store.b));
		signpost_seal(&su->posts[i], &store, su->content.bytes,
			      signpost_off(disk_bytes, i));
	}
	posts_io(su, &su->post_op, DISK_WRITE, disk_bytes);
}

static void post_step(struct op *op)
{
	struct supers *su = container_of(op, struct supers, post_op);
	struct completion *done = su->post_done;

	if (op->waits != 0 || done == NULL)
		return; /* wait: both */
	su->post_done = NULL;
	completion_fire(done, posts_rc(su));
}

void supers_write(struct supers *su, const struct disk_super *content, struct completion *done)
{
	assert(su->phase == SUPERS_IDLE && su->done == NULL);
	assert(!su->opts.read_only);
	su->done = done;
	su->next = *content;
	su->next.sequence = su->sequence_seen + 1; /* U3 */
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		su->images[i] = su->next;
		super_seal(&su->images[i], i);
	}
	su->phase = SUPERS_FIRST;
	copies_io(su, DISK_WRITE, 0, 2, su->images);
}

const struct disk_super *supers_content(const struct supers *su)
{
	return &su->content;
}

uint32_t supers_good_copies(const struct supers *su)
{
	return su->good;
}

uint32_t supers_good_floors(const struct supers *su)
{
	return su->floor_good;
}

const char *supers_copy_fault(const struct supers *su, uint32_t copy)
{
	assert(copy < SUPER_COPIES);
	return su->faults[copy];
}

static int load_step(struct supers *su, int rc)
{
	switch (su->phase) {
	case SUPERS_FLUSH:
		if (rc < 0)
			return rc;
		place_read(su);
		return 1;
	case SUPERS_PLACE:
		place_take(su);
		su->phase = SUPERS_READ;
		copies_io(su, DISK_READ, 0, SUPER_COPIES, su->images);
		return 1;
	case SUPERS_READ:
	case SUPERS_REREAD:
		rc = load_pick(su);
		if (rc != 0)
			return rc; /* an error, or reading at other places */
		rc = load_check_features(su);
		if (rc < 0)
			return rc;
		su->phase = SUPERS_FLOORS0;
		floors_read(su, 0);
		return 1;
	case SUPERS_FLOORS0:
		rc = floors_take(su, 0);
		if (rc < 0)
			return rc;
		su->phase = SUPERS_FLOORS1;
		floors_read(su, 1);
		return 1;
	case SUPERS_FLOORS1:
		rc = floors_take(su, 1);
		if (rc < 0)
			return rc;
		if (su->opts.read_only)
			return 0;
		if (su->floor_good < SUPER_COPIES) {
			su->floor_dirty = true;
			op_wake(&su->floor_op);
		}
		su->phase = SUPERS_REPAIR;
		load_repair(su);
		return su->op.waits != 0 ? 1 : 0;
	case SUPERS_REPAIR:
		return copies_rc(su, 0, SUPER_COPIES);
	case SUPERS_IDLE:
	case SUPERS_WIPE:
	case SUPERS_FIRST:
	case SUPERS_VERIFY1:
	case SUPERS_SECOND:
	case SUPERS_VERIFY2:
		break;
	}
	UNREACHABLE("load phase");
}

static int verify(const struct supers *su, uint32_t first)
{
	int rc = copies_rc(su, first, 2);

	if (rc == 0 && memcmp(&su->back[first], &su->images[first], 2 * SUPER_BYTES) != 0)
		rc = -ERR_IO; /* the disk took it and did not keep it */
	return rc;
}

static int write_step(struct supers *su)
{
	uint32_t first = su->phase == SUPERS_FIRST || su->phase == SUPERS_VERIFY1 ? 0 : 2;
	int rc;

	switch (su->phase) {
	case SUPERS_FIRST:
	case SUPERS_SECOND:
		rc = copies_rc(su, first, 2);
		if (rc < 0)
			return rc;
		su->phase = first == 0 ? SUPERS_VERIFY1 : SUPERS_VERIFY2;
		copies_io(su, DISK_READ, first, 2, su->back);
		return 1;
	case SUPERS_VERIFY1:
		rc = verify(su, first);
		if (rc < 0)
			return rc;
		su->phase = SUPERS_SECOND; /* U1 */
		copies_io(su, DISK_WRITE, 2, 2, su->images);
		return 1;
	case SUPERS_VERIFY2:
		rc = verify(su, first);
		if (rc < 0)
			return rc;
		su->content = su->next;
		su->sequence_seen = su->next.sequence;
		su->good = SUPER_COPIES;
		return 0;
	case SUPERS_WIPE:
		rc = copies_rc(su, 0, SUPER_COPIES);
		if (rc == 0)
			rc = posts_rc(su);
		if (rc < 0)
			return rc;
		su->phase = SUPERS_IDLE; /* the caller waits for the floors, too */
		su->floor_dirty = true;
		su->waits.done[su->waits.count++] = su->done;
		su->done = NULL;
		op_wake(&su->floor_op);
		return 1;
	case SUPERS_IDLE:
	case SUPERS_FLUSH:
	case SUPERS_PLACE:
	case SUPERS_READ:
	case SUPERS_REREAD:
	case SUPERS_FLOORS0:
	case SUPERS_FLOORS1:
	case SUPERS_REPAIR:
		break;
	}
	UNREACHABLE("write phase");
}

static void supers_step(struct op *op)
{
	struct supers *su = container_of(op, struct supers, op);
	bool loading = su->phase >= SUPERS_FLUSH && su->phase <= SUPERS_REPAIR;
	int rc;

	if (op->waits != 0 || su->phase == SUPERS_IDLE)
		return; /* wait: copies */
	rc = loading ? load_step(su, su->reqs[0].done.rc) : write_step(su);
	if (rc > 0)
		return; /* wait: the next requests */
	if (rc < 0 && (!loading || su->phase == SUPERS_REPAIR))
		poison(su, rc, "superblock write");
	finish(su, rc);
}

/* --- where the copies are --- */

static void place_read(struct supers *su)
{
	su->phase = SUPERS_PLACE;
	su->region_bytes = su->opts.disk->bytes;
	copies_io(su, DISK_READ, 0, 1, su->images);
	posts_io(su, &su->op, DISK_READ, su->opts.disk->bytes);
}

/* U5.  What cannot be read says nothing. */
static void place_take(struct supers *su)
{
	uint64_t disk_bytes = su->opts.disk->bytes, said = 0;

	if (su->reqs[0].done.rc == 0 && super_check(&su->images[0], 0) == 0)
		said = su->images[0].bytes;
	for (uint32_t i = 0; i < SIGNPOSTS && said == 0; i++)
		if (su->post_reqs[i].done.rc == 0 &&
		    signpost_is_good(&su->posts[i], signpost_off(disk_bytes, i)))
			said = su->posts[i].bytes;
	if (said > disk_bytes)
		log_error(su->opts.env->log, "store", "%s has %llu bytes, its store needs %llu",
			  su->opts.disk->name, (unsigned long long)disk_bytes,
			  (unsigned long long)said);
	else if (said != 0)
		su->region_bytes = said;
}

static void posts_io(struct supers *su, struct op *op, enum disk_kind kind, uint64_t disk_bytes)
{
	for (uint32_t i = 0; i < SIGNPOSTS; i++) {
		completion_arm(&su->post_reqs[i].done, op, 1u << (SUPER_COPIES + i));
		disk_io(su->opts.disk, &su->post_reqs[i], kind, kind == DISK_WRITE ? DISK_FUA : 0,
			signpost_off(disk_bytes, i), &su->posts[i], SUPER_BYTES);
	}
}

static int posts_rc(const struct supers *su)
{
	for (uint32_t i = 0; i < SIGNPOSTS; i++)
		if (su->post_reqs[i].done.rc < 0)
			return su->post_reqs[i].done.rc;
	return 0;
}

/* Choose among the copies read into images: 0; 1: reading again elsewhere; or an error. U2. */
static int load_pick(struct supers *su)
{
	int state[SUPER_COPIES];
	uint32_t best = SUPER_COPIES, votes = 0, versions = 0, damaged = 0;

	su->good = 0;
	su->sequence_seen = 0;
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		state[i] = su->reqs[i].done.rc < 0 ? -ERR_IO : super_check(&su->images[i], i);
		versions += state[i] == -ERR_VERSION;
		damaged += state[i] == -ERR_CORRUPT;
		if (state[i] == 0 && su->images[i].sequence > su->sequence_seen)
			su->sequence_seen = su->images[i].sequence;
	}
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		uint32_t equal = 0;

		for (uint32_t k = 0; k < SUPER_COPIES && state[i] == 0; k++)
			equal += state[k] == 0 && super_equal(&su->images[i], &su->images[k]);
		if (equal < SUPER_QUORUM || su->images[i].bytes != su->region_bytes)
			continue; /* U5: copies are where their size puts them */
		if (best == SUPER_COPIES || su->images[i].sequence > su->images[best].sequence) {
			best = i;
			votes = equal;
		}
	}
	if (best == SUPER_COPIES && su->phase == SUPERS_READ &&
	    su->region_bytes != su->opts.disk->bytes) {
		/* What said another size was a leftover: the copies lie where the disk's own puts them. */
		su->region_bytes = su->opts.disk->bytes;
		su->phase = SUPERS_REREAD;
		copies_io(su, DISK_READ, 0, SUPER_COPIES, su->images);
		return 1;
	}
	if (best == SUPER_COPIES) {
		log_error(
			su->opts.env->log, "store",
			"superblock of %s: no two good equal copies (%u damaged, %u of another version)",
			su->opts.disk->name, damaged, versions);
		for (uint32_t i = 0; i < SUPER_COPIES; i++)
			if (state[i] == 0 || state[i] == -ERR_CORRUPT)
				return -ERR_CORRUPT;
		for (uint32_t i = 0; i < SUPER_COPIES && versions == 0; i++)
			if (state[i] == -ERR_IO)
				return -ERR_IO;
		return versions > 0 ? -ERR_VERSION : -ERR_NOT_STORE;
	}
	su->content = su->images[best];
	su->good = votes;
	for (uint32_t i = 0; i < SUPER_COPIES; i++)
		su->faults[i] = state[i] == -ERR_IO			    ? "cannot be read"
				: state[i] < 0				    ? "damaged"
				: super_equal(&su->images[i], &su->content) ? NULL
									    : "of another time";
	if (super_disk_bytes(&su->content) > su->opts.disk->bytes) {
		log_error(su->opts.env->log, "store", "%s has %llu bytes, its store needs %llu",
			  su->opts.disk->name, (unsigned long long)su->opts.disk->bytes,
			  (unsigned long long)super_disk_bytes(&su->content));
		return -ERR_CORRUPT;
	}
	return 0;
}

static int load_check_features(struct supers *su)
{
	uint64_t incompat = su->content.incompat & ~STORE_INCOMPAT_KNOWN;
	uint64_t ro = su->content.ro_compat & ~STORE_RO_COMPAT_KNOWN;

	if (incompat != 0 || (ro != 0 && !su->opts.read_only)) {
		log_error(
			su->opts.env->log, "store",
			"%s uses features this version does not know (incompatible %#llx, read-only %#llx): "
			"open it with a newer version",
			su->opts.disk->name, (unsigned long long)incompat, (unsigned long long)ro);
		return -ERR_VERSION;
	}
	return 0;
}

/* Copies that lost get the winner's content.  U1: winners are not touched. */
static void load_repair(struct supers *su)
{
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		su->reqs[i].done.rc = 0;
		if (super_check(&su->images[i], i) == 0 &&
		    super_equal(&su->images[i], &su->content))
			continue;
		log_warn(su->opts.env->log, "store",
			 "superblock copy %u of %s is stale or damaged: repaired", i,
			 su->opts.disk->name);
		su->images[i] = su->content;
		super_seal(&su->images[i], i);
		copies_io(su, DISK_WRITE, i, 1, su->images);
	}
	su->good = SUPER_COPIES;
}

static void copies_io(struct supers *su, enum disk_kind kind, uint32_t first, uint32_t count,
		      struct disk_super *data)
{
	for (uint32_t i = first; i < first + count; i++) {
		completion_arm(&su->reqs[i].done, &su->op, 1u << i);
		disk_io(su->opts.disk, &su->reqs[i], kind, kind == DISK_WRITE ? DISK_FUA : 0,
			super_region_off(su->region_bytes, i), &data[i], SUPER_BYTES);
	}
}

static int copies_rc(const struct supers *su, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		if (su->reqs[i].done.rc < 0)
			return su->reqs[i].done.rc;
	return 0;
}

static void finish(struct supers *su, int rc)
{
	struct completion *done = su->done;

	su->phase = SUPERS_IDLE;
	su->done = NULL;
	completion_fire(done, rc);
}

static void poison(struct supers *su, int rc, const char *what)
{
	su->failed = true;
	if (su->opts.failed != NULL)
		su->opts.failed(su->opts.ctx, rc, what);
}

/* --- floors --- */

static uint64_t slot_off(const struct supers *su, uint32_t copy, uint32_t slot)
{
	return super_region_off(su->region_bytes, copy) + FLOOR_SLOT_OFF + slot * FLOOR_SLOT_BYTES;
}

static uint8_t *slot_at(const struct supers *su, uint32_t copy)
{
	return su->slots + copy * FLOOR_SLOT_BYTES;
}

static void store_uuid_of(const struct supers *su, struct uuid *ret)
{
	memcpy(ret->b, su->content.store, sizeof(ret->b));
}

static void floors_read(struct supers *su, uint32_t slot)
{
	su->region_bytes = su->content.bytes;
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		completion_arm(&su->floor_reqs[i].done, &su->op, 1u << i);
		disk_io(su->opts.disk, &su->floor_reqs[i], DISK_READ, 0, slot_off(su, i, slot),
			slot_at(su, i), FLOOR_SLOT_BYTES);
	}
}

/* The newest valid copy wins; it may be one that was never told durable: higher floors are safe. */
static int floors_take(struct supers *su, uint32_t slot)
{
	struct uuid store;

	store_uuid_of(su, &store);
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		uint64_t sequence;
		uint32_t count;

		if (su->floor_reqs[i].done.rc < 0 ||
		    floor_check(slot_at(su, i), &store, slot_off(su, i, slot), &sequence, &count) <
			    0)
			continue;
		if (sequence == su->floor_sequence)
			su->floor_good++;
		if (sequence <= su->floor_sequence)
			continue;
		su->floor_sequence = sequence;
		su->floor_good = 1;
		su->floor_count = count;
		for (uint32_t k = 0; k < count; k++) {
			const struct disk_floor *f = floor_at(slot_at(su, i), k);

			memcpy(su->floors[k].group.b, f->group, sizeof(f->group));
			su->floors[k].floor.epoch = f->epoch;
			su->floors[k].floor.cfg = f->cfg;
			su->floors[k].floor.promise_ms = f->promise_ms;
			su->floors[k].durable = su->floors[k].floor;
		}
	}
	if (slot == 1 && su->floor_sequence == 0) {
		log_error(su->opts.env->log, "store", "no good copy of the floors of %s",
			  su->opts.disk->name);
		return -ERR_CORRUPT;
	}
	return 0;
}

static void floor_write(struct supers *su)
{
	uint32_t bytes = floor_bytes(su->floor_count);
	uint32_t slot = (uint32_t)(++su->floor_sequence % FLOOR_SLOTS);
	struct uuid store;

	store_uuid_of(su, &store);
	su->floor_dirty = false;
	su->floor_writing = true;
	for (uint32_t k = 0; k < su->floor_count; k++)
		su->floors[k].writing = su->floors[k].floor;
	for (uint32_t i = 0; i < SUPER_COPIES; i++) {
		uint8_t *at = slot_at(su, i);

		memset(at, 0, bytes);
		for (uint32_t k = 0; k < su->floor_count; k++) {
			struct disk_floor *f = floor_at(at, k);

			memcpy(f->group, su->floors[k].group.b, sizeof(f->group));
			f->epoch = su->floors[k].floor.epoch;
			f->cfg = su->floors[k].floor.cfg;
			f->promise_ms = su->floors[k].floor.promise_ms;
		}
		floor_seal(at, &store, su->floor_sequence, slot_off(su, i, slot), su->floor_count);
		completion_arm(&su->floor_reqs[i].done, &su->floor_op, 1u << i);
		disk_io(su->opts.disk, &su->floor_reqs[i], DISK_WRITE, DISK_FUA,
			slot_off(su, i, slot), at, bytes);
	}
}

static void waits_fire(struct floor_waits *w, int rc)
{
	uint32_t n = w->count;

	w->count = 0;
	for (uint32_t i = 0; i < n; i++)
		completion_fire(w->done[i], rc);
}

static void floor_step(struct op *op)
{
	struct supers *su = container_of(op, struct supers, floor_op);
	struct floor_waits writing;
	int rc = 0;

	if (op->waits != 0)
		return; /* wait: four copies of a slot */
	if (su->floor_writing) {
		su->floor_writing = false;
		for (uint32_t i = 0; i < SUPER_COPIES; i++)
			rc = su->floor_reqs[i].done.rc < 0 ? su->floor_reqs[i].done.rc : rc;
		if (rc < 0)
			poison(su, rc, "floor write");
		for (uint32_t k = 0; rc == 0 && k < su->floor_count; k++)
			su->floors[k].durable = su->floors[k].writing;
		waits_fire(&su->waits_writing, rc < 0 ? -ERR_FAILED : 0); /* U4 */
	}
	if (su->failed) {
		waits_fire(&su->waits, -ERR_FAILED);
		return;
	}
	if (!su->floor_dirty) {
		waits_fire(&su->waits, 0); /* nothing rose */
		return;
	}
	if (su->opts.mutant == STORE_MUTANT_NO_FLOOR && su->floor_sequence > 0) {
		su->floor_dirty = false;
		for (uint32_t k = 0; k < su->floor_count; k++)
			su->floors[k].durable = su->floors[k].floor;
		waits_fire(&su->waits, 0);
		return;
	}
	assert(su->phase < SUPERS_FLUSH ||
	       su->phase > SUPERS_FLOORS1); /* loading uses the buffers */
	writing = su->waits_writing;
	su->waits_writing = su->waits;
	su->waits = writing;
	floor_write(su);
}

/* Where group is, or where it belongs. */
static struct floor_entry *floor_find(const struct supers *su, const struct uuid *group)
{
	uint32_t lo = 0, hi = su->floor_count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (uuid_compare(&su->floors[mid].group, group) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return &su->floors[lo];
}

void supers_floor_get(const struct supers *su, const struct uuid *group, struct store_floor *ret)
{
	const struct floor_entry *e = floor_find(su, group);

	memset(ret, 0, sizeof(*ret));
	if (e < su->floors + su->floor_count && uuid_equal(&e->group, group))
		*ret = e->durable;
}

static bool floor_raise(uint64_t *at, uint64_t to)
{
	if (to <= *at)
		return false; /* U4 */
	*at = to;
	return true;
}

/* Room for one more who waits? */
static bool waits_room(struct supers *su)
{
	uint32_t max = su->waits.max + FLOOR_WAIT_STEP;
	struct completion **more;

	if (su->waits.count < su->waits.max)
		return true;
	more = realloc(su->waits.done, max * sizeof(struct completion *));
	if (more == NULL)
		return false;
	su->waits.done = more;
	su->waits.max = max;
	return true;
}

void supers_settle(struct supers *su, struct completion *done)
{
	assert(su->phase == SUPERS_IDLE && !su->opts.read_only);
	if (!waits_room(su)) {
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	su->waits.done[su->waits.count++] = done;
	op_wake(&su->floor_op);
}

void supers_floors_again(struct supers *su, struct completion *done)
{
	int rc = su->failed	      ? -ERR_FAILED
		 : su->opts.read_only ? -ERR_READONLY
		 : !waits_room(su)    ? -ERR_NOMEM
				      : 0;

	if (rc < 0) {
		completion_fire(done, rc);
		return;
	}
	su->floor_dirty = true;
	su->waits.done[su->waits.count++] = done;
	op_wake(&su->floor_op);
}

void supers_floor_set(struct supers *su, const struct uuid *group, const struct store_floor *floor,
		      struct completion *done)
{
	struct floor_entry *e = floor_find(su, group);
	bool rose = false;

	if (su->failed || su->opts.read_only) {
		completion_fire(done, su->failed ? -ERR_FAILED : -ERR_READONLY);
		return;
	}
	if (!waits_room(su)) {
		completion_fire(done, -ERR_NOMEM);
		return;
	}
	if (e == su->floors + su->floor_count || !uuid_equal(&e->group, group)) {
		if (su->floor_count == FLOORS_MAX) {
			completion_fire(done, -ERR_FULL);
			return;
		}
		memmove(e + 1, e, (size_t)(su->floors + su->floor_count - e) * sizeof(*e));
		memset(e, 0, sizeof(*e));
		e->group = *group;
		su->floor_count++;
		rose = true;
	}
	rose |= floor_raise(&e->floor.epoch, floor->epoch);
	rose |= floor_raise(&e->floor.cfg, floor->cfg);
	rose |= floor_raise(&e->floor.promise_ms, floor->promise_ms);
	su->floor_dirty = su->floor_dirty || rose;
	su->waits.done[su->waits.count++] = done;
	op_wake(&su->floor_op);
}

uint32_t supers_floor_count(const struct supers *su)
{
	return su->floor_count;
}

void supers_floor_at(const struct supers *su, uint32_t index, struct uuid *ret_group,
		     struct store_floor *ret)
{
	assert(index < su->floor_count);
	*ret_group = su->floors[index].group;
	*ret = su->floors[index].floor;
}
