/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/check.c
 * Purpose.     Prove a store at rest: open it for reading, walk everything it refers to, compare with
 *              what its tables say is used.
 * Invariants.  CK1 A page or chunk is reached exactly as often as its count says, and never if it is
 *                  marked free.  Each parent page counts once: what is below a shared page is walked
 *                  when the page is reached first (again, without counting, for a digest: CK4).
 *              CK2 A home block has the checksum of its leaf.  Fold may have been at work on it when the store
 *                  stopped, which is no damage, if and only if (1) its own journal has it in a record below
 *                  the commit and the first mark, where fold may be, and (2) no other tree that somebody
 *                  reads has its chunk, its leaf or a page above: what such trees share is never written in
 *                  place.  A tree that a durable checkpoint calls a ghost is read by nobody, and fold may
 *                  have dropped its references in memory (fold F8); one that this opening made a ghost, of a
 *                  record of deletion, is still the snapshot or volume that it was.  So those that are read
 *                  are walked first, and (2) goes by the references found until the first ghost.
 *                  A snapshot has no journal: nothing excuses its blocks.
 *              CK3 What an inner entry says of a child (digest, newest, used) is what the child says.
 *              CK4 A digest is of the content at the journal's end: leaves overlaid by the index, so that
 *                  two sites agree whatever each has folded.
 * States.      OPEN -> JOURNAL (record by record) -> TABLES -> MAP (page by page; home of each leaf) ->
 *              UNREACHED -> CLOSE.
 * Ownership.   The walk owns its buffers; the caller owns struct store_check.
 * Failure.     Bad bytes are reported, never asserted; what lies below a bad page is not reached.
 */
#include "engine/store/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "engine/store/check_digest.h"
#include "engine/store/check_suspect.h"
#include "engine/store/checkpoint.h"
#include "engine/store/digest.h"
#include "engine/store/index.h"
#include "engine/store/leaks.h"
#include "engine/store/map_edit.h"
#include "engine/store/refs.h"
#include "engine/store/snapshot_state.h"
#include "engine/store/store_state.h"
#include "engine/store/table.h"

#define CHUNK_READS 8u
#define HOME_PLACES (2 * LEAF_CHUNKS)
#define LINE_BYTES 240
#define BIT_PART 1u
#define BIT_CHUNK(i) (2u << (i))

enum check_phase {
	CHECK_OPEN,
	CHECK_JOURNAL,
	CHECK_TABLES,
	CHECK_TREE,
	CHECK_PAGE,
	CHECK_HOME,
	CHECK_CLOSE
};

/* One tree to walk. */
struct check_tree {
	char name[3 * NAME_BYTES_MAX + 8];
	struct replica *r; /* NULL: a ghost, or a snapshot's */
	struct lsn upto;   /* of r: fold was at work on no record from here on */
	bool strict;	   /* a snapshot's: no journal excuses what is in home */
	struct volume_root root;
	uint64_t *leaves; /* content digest of each leaf; NULL: not asked for */
	uint64_t leaf_count;
};

/* A page on the way from the root down. */
struct check_frame {
	uint8_t *page;
	struct disk_inner_entry entry; /* what its parent says */
	uint16_t level;
	uint64_t index;
	uint32_t next; /* entry to look at, of an inner page */
	bool again;    /* reached before: for the digest only */
};

struct checking {
	struct op op;
	struct store_check *c;
	struct env *env;
	struct disk *disk;
	struct store *s;
	struct completion part;
	enum check_phase phase;

	struct replica *r; /* whose journal is read */
	struct replica_journal_read jr;
	bool reading;

	uint8_t *pages_seen, *chunks_seen;   /* one bit per page, chunk of the disk */
	struct refs pages_more, chunks_more; /* how often again, in units of 256 pages, chunks */
	struct check_tree *trees;
	uint32_t tree_count, tree;
	uint32_t read_count; /* trees that somebody reads stand first */
	struct lsn *uptos;   /* of each replica in order: check_tree.upto */
	uint32_t upto_count;
	struct suspects suspects;
	struct check_frame frames[MAP_DEPTH_MAX + 1];
	uint32_t depth; /* frames in use */
	struct disk_req page_req;
	struct disk_req chunk_reqs[CHUNK_READS];
	uint32_t chunk_of[CHUNK_READS];
	uint8_t *chunk_data;
	uint32_t chunk_next;
	uint8_t *arena;
};

static void check_step(struct op *op);
static int opened(struct checking *k);
static int journal_step(struct checking *k);
static int tables_step(struct checking *k);
static int tree_step(struct checking *k);
static int page_step(struct checking *k);
static int home_step(struct checking *k);
static void suspects_judge(struct checking *k);
static void unreached(struct checking *k);
static void digests(struct checking *k);
static void check_end(struct checking *k, int rc);

PRINTF_LIKE(3, 4)
static void say(struct checking *k, enum check_line kind, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;

	if (kind == CHECK_BAD) {
		k->c->bad_count++;
		k->c->unsure = true;
	}
	if (k->c->report == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	k->c->report(k->c->ctx, kind, line);
}

void store_check(struct env *env, struct disk *disk, struct store_check *c)
{
	struct store_opts opts = {.memory_bytes = c->memory_bytes, .read_only = true};
	struct checking *k = calloc(1, sizeof(*k));

	c->bad_count = c->pages = c->chunks = c->blocks = c->records = c->digest_all = 0;
	c->unsure = false;
	if (k == NULL) {
		completion_fire(&c->done, -ERR_NOMEM);
		return;
	}
	k->c = c;
	k->env = env;
	k->disk = disk;
	op_init(&k->op, env->ready, check_step);
	completion_arm(&k->part, &k->op, BIT_PART);
	store_open(env, disk, &opts, &k->s, &k->part);
}

static void check_step(struct op *op)
{
	struct checking *k = container_of(op, struct checking, op);
	int rc = 0;

	while (rc == 0) {
		if ((op->waits & BIT_PART) != 0)
			return; /* wait: the part */
		switch (k->phase) {
		case CHECK_OPEN:
			rc = opened(k);
			break;
		case CHECK_JOURNAL:
			rc = journal_step(k);
			break;
		case CHECK_TABLES:
			rc = tables_step(k);
			break;
		case CHECK_TREE:
			rc = tree_step(k);
			break;
		case CHECK_PAGE:
			rc = page_step(k);
			break;
		case CHECK_HOME:
			rc = home_step(k);
			break;
		case CHECK_CLOSE:
			check_end(k, k->part.rc);
			return;
		}
	}
	if (rc > 0)
		return; /* wait: reads */
	check_end(k, rc);
}

static void check_end(struct checking *k, int rc)
{
	struct store_check *c = k->c;

	free(k->pages_seen);
	free(k->chunks_seen);
	refs_fini(&k->pages_more);
	refs_fini(&k->chunks_more);
	for (uint32_t i = 0; i < k->tree_count; i++)
		free(k->trees[i].leaves);
	free(k->trees);
	free(k->uptos);
	suspects_fini(&k->suspects);
	free(k->arena);
	store_free(&k->s); /* after a failure only; read-only, nothing is in flight */
	op_unqueue(&k->op);
	free(k);
	completion_fire(&c->done, rc);
}

static int opened(struct checking *k)
{
	uint64_t pages = k->disk->bytes / PAGE_BYTES + 1;

	if (k->part.rc < 0) {
		k->s = NULL;
		if (k->part.rc != -ERR_CORRUPT)
			return k->part.rc;
		say(k, CHECK_BAD, "%s cannot be opened: %s", k->disk->name, err_text(k->part.rc));
		k->part.rc = 0;
		k->phase = CHECK_CLOSE;
		return 0;
	}
	if (supers_good_copies(k->s->supers) < SUPER_COPIES)
		say(k, CHECK_NOTE,
		    "superblock: %u of %u copies are good and equal; opening for writing repairs them",
		    supers_good_copies(k->s->supers), SUPER_COPIES);
	if (supers_good_floors(k->s->supers) < SUPER_COPIES)
		say(k, CHECK_NOTE,
		    "floors: %u of %u copies are good; opening for writing repairs them",
		    supers_good_floors(k->s->supers), SUPER_COPIES);
	k->pages_seen = calloc(pages / 8 + 1, 1);
	k->chunks_seen = calloc(pages / CHUNK_BLOCKS / 8 + 1, 1);
	k->arena = aligned_alloc(PAGE_BYTES,
				 (MAP_DEPTH_MAX + 1) * PAGE_BYTES + CHUNK_READS * CHUNK_BYTES);
	if (k->pages_seen == NULL || k->chunks_seen == NULL || k->arena == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i <= MAP_DEPTH_MAX; i++)
		k->frames[i].page = k->arena + i * PAGE_BYTES;
	k->chunk_data = k->arena + (MAP_DEPTH_MAX + 1) * PAGE_BYTES;
	k->r = store_first_replica(k->s);
	k->phase = CHECK_JOURNAL;
	return 0;
}

/* --- journals: every record that is kept, payload too --- */

static void journal_begin(struct checking *k)
{
	struct replica_status st;

	replica_status(k->r, &st);
	say(k, CHECK_NOTE,
	    "group %s: journal from %" PRIu64 ", folded to %" PRIu64 ", committed to %" PRIu64
	    ", ends at %" PRIu64,
	    st.name, st.trim.v, st.fold.v, st.commit.v, st.tail.v);
	if (st.has_hole)
		say(k, CHECK_BAD,
		    "group %s: the journal has a damaged record below a durable position", st.name);
	k->jr.lsn = st.trim;
}

/* CK4: what is in the journal counts, committed or not yet.  Leaks are of what an opening finds. */
static int journal_end(struct checking *k)
{
	struct lsn *more = realloc(k->uptos, (k->upto_count + 1) * sizeof(*more));
	struct replica_status st;
	int rc;

	if (more == NULL)
		return -ERR_NOMEM;
	replica_status(k->r, &st);
	k->uptos = more;
	more[k->upto_count++] = lsn_min(st.commit, replica_mark_lsn(k->r));
	index_barrier(replica_index(k->r),
		      st.commit); /* CK2 (1): what is below stays to be found */
	rc = st.has_hole || k->c->leaks != NULL ? 0 : replica_commit(k->r, st.tail);
	if (rc < 0)
		say(k, CHECK_NOTE,
		    "group %s: the journal does not fit memory: its digest is not of its end",
		    st.name);
	k->r = store_next_replica(k->s, k->r);
	return 0;
}

static int journal_step(struct checking *k)
{
	struct replica_status st;
	int rc = 0;

	if (k->r == NULL) {
		k->phase = CHECK_TABLES;
		return 0;
	}
	replica_status(k->r, &st);
	if (!k->reading) {
		journal_begin(k);
	} else {
		k->reading = false;
		rc = k->jr.done.rc;
		if (rc == 0) {
			k->c->records++;
			k->jr.lsn = k->jr.record->view.end;
			record_unref(&k->jr.record);
		} else if (rc != -ERR_RANGE) {
			say(k, CHECK_BAD, "group %s: journal record at %" PRIu64 ": %s", st.name,
			    k->jr.lsn.v, err_text(rc));
		}
	}
	if (rc < 0 || k->c->skip_journal || k->jr.lsn.v >= st.tail.v)
		return journal_end(k);
	k->reading = true;
	completion_arm(&k->jr.done, &k->op, BIT_PART);
	replica_journal_read(k->r, &k->jr);
	return 1;
}

/* --- tables --- */

static bool mark(uint8_t *bits, uint64_t i)
{
	bool was = (bits[i / 8] >> i % 8 & 1) != 0;

	bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
	return was;
}

/* One reference more to a unit; false: it is the first.  CK1 */
static bool see(struct checking *k, uint8_t *seen, struct refs *more, uint64_t unit)
{
	if (!mark(seen, unit))
		return false;
	if (refs_add(more, (uint32_t)(unit / REFS_PER_SLOT), (uint32_t)(unit % REFS_PER_SLOT)) < 0)
		say(k, CHECK_BAD, "no memory to count references");
	return true;
}

/* Was it reached before? */
static bool see_page(struct checking *k, uint64_t address, const char *what)
{
	if (!space_page_is_used(k->s->space, address))
		say(k, CHECK_BAD, "page at %" PRIu64 " (%s) is in use and marked free", address,
		    what);
	if (see(k, k->pages_seen, &k->pages_more, address / PAGE_BYTES))
		return true;
	k->c->pages++;
	return false;
}

static int tree_add(struct checking *k, struct replica *r, const struct volume_root *root,
		    const char *group)
{
	struct check_tree *more = realloc(k->trees, (k->tree_count + 1) * sizeof(*more));

	if (more == NULL)
		return -ERR_NOMEM;
	k->trees = more;
	more += k->tree_count++;
	memset(more, 0, sizeof(*more));
	snprintf(more->name, sizeof(more->name), "%s/%s", group,
		 r == NULL ? "discarded tree" : root->volume.name);
	more->r = r;
	more->root = *root;
	if (!k->c->digest || r == NULL || root->volume.deleted)
		return 0;
	more->leaf_count = (root->volume.bytes + LEAF_BYTES - 1) / LEAF_BYTES;
	more->leaves = malloc((more->leaf_count + 1) * sizeof(*more->leaves));
	if (more->leaves == NULL)
		return -ERR_NOMEM;
	for (uint64_t i = 0; i < more->leaf_count; i++)
		more->leaves[i] = CHECK_LEAF_ABSENT;
	return 0;
}

static void tree_is_snapshots(struct checking *k, const char *volume)
{
	struct check_tree *t = &k->trees[k->tree_count - 1];
	char *end = strrchr(t->name, '/');

	t->strict = true;
	if (end != NULL)
		snprintf(end, sizeof(t->name) - (size_t)(end - t->name), "/%s", volume);
}

/* The trees of r's snapshots; digests of the pinned ones. */
static int snapshots_step(struct checking *k, struct replica *r)
{
	int rc = 0;

	LIST_FOR_EACH(link, &replica_snaps(r)->list) {
		const struct snapshot *snap = container_of(link, struct snapshot, link);
		char group[2 * NAME_BYTES_MAX + 2];

		if (k->c->digest && snap->listed && snap->pinned)
			say(k, CHECK_DIGEST, "snapshot %s@%s %016" PRIx64, replica_name(r),
			    snap->name, snapshot_digest(snap));
		snprintf(group, sizeof(group), "%s@%s", replica_name(r), snap->name);
		for (uint32_t i = 0; i < snap->volume_count && rc == 0; i++) {
			rc = tree_add(k, NULL, &snap->volumes[i], group);
			if (rc == 0)
				tree_is_snapshots(k, snap->volumes[i].volume.name);
		}
	}
	return rc;
}

/* Trees being given back: those that a durable checkpoint calls so, or the others.  CK2 */
static int ghosts_step(struct checking *k, bool durable)
{
	int rc = 0;

	LIST_FOR_EACH(link, &k->s->ghosts) {
		const struct ghost *g = container_of(link, struct ghost, link);
		struct volume_root root = {.root = CHUNK_NONE};

		if (rc < 0 || (g->after == 0) != durable)
			continue;
		map_root_get(g->map, &root);
		rc = tree_add(k, NULL, &root, "-");
	}
	return rc;
}

static int tables_step(struct checking *k)
{
	static const char *const names[TABLE_COUNT] = {
		"segment table",    "page bitmaps",   "group table",	 "volume table",
		"reference counts", "snapshot table", "snapshot volumes"};
	struct replica_volume *volumes = calloc(VOLUMES_MAX, sizeof(*volumes));
	int rc = volumes == NULL ? -ERR_NOMEM : 0;
	uint32_t nth = 0;

	see_page(k, supers_content(k->s->supers)->root_address, "checkpoint root");
	for (uint32_t t = 0; t < TABLE_COUNT; t++) {
		const struct table *table = checkpoint_table(k->s->checkpoint, t);

		for (uint32_t level = 0; level < table->levels; level++)
			for (uint32_t i = 0; i < table->count[level]; i++)
				see_page(k, table->pages[level][i].ref.address, names[t]);
	}
	for (struct replica *r = store_first_replica(k->s); r != NULL && rc == 0;
	     r = store_next_replica(k->s, r), nth++) {
		struct replica_status st;
		uint32_t n = replica_volumes(r, volumes, VOLUMES_MAX);

		assert(nth < k->upto_count);
		replica_status(r, &st);
		for (uint32_t i = 0; i < n && rc == 0; i++) {
			struct volume_root root = {.volume = volumes[i], .root = CHUNK_NONE};
			struct map *m = replica_map(r, volumes[i].slot);

			if (m != NULL)
				map_root_get(m, &root);
			root.volume = volumes[i];
			root.volume.used_bytes = m == NULL ? 0 : map_used_bytes(m);
			rc = tree_add(k, r, &root, st.name);
			if (rc == 0)
				k->trees[k->tree_count - 1].upto = k->uptos[nth];
		}
	}
	for (struct replica *r = store_first_replica(k->s); r != NULL && rc == 0;
	     r = store_next_replica(k->s, r))
		rc = snapshots_step(k, r);
	if (rc == 0)
		rc = ghosts_step(k, false);
	k->read_count = k->tree_count;
	if (rc == 0)
		rc = ghosts_step(k, true);
	free(volumes);
	k->phase = CHECK_TREE;
	return rc;
}

/* --- maps --- */

static void page_read(struct checking *k, const struct disk_inner_entry *entry, uint16_t level,
		      uint64_t index)
{
	struct check_frame *f = &k->frames[k->depth++];

	f->entry = *entry;
	f->level = level;
	f->index = index;
	f->next = 0;
	f->again = k->depth > 1 && f[-1].again;
	k->phase = CHECK_PAGE;
	completion_arm(&k->page_req.done, &k->op, BIT_PART);
	disk_io(k->disk, &k->page_req, DISK_READ, 0, entry->address, f->page, PAGE_BYTES);
}

/* The next tree, or the end of all. */
static int tree_step(struct checking *k)
{
	while (k->tree < k->tree_count) {
		struct check_tree *t = &k->trees[k->tree];
		struct disk_inner_entry entry = {.address = t->root.root,
						 .crc = t->root.root_crc,
						 .digest = t->root.root_digest};

		if (k->tree == k->read_count)
			suspects_judge(k);
		if (t->root.root != CHUNK_NONE) {
			page_read(k, &entry, (uint16_t)t->root.depth, 0);
			return 1;
		}
		k->tree++;
	}
	suspects_judge(k); /* no ghost came */
	unreached(k);
	if (k->c->digest)
		digests(k);
	k->phase = CHECK_CLOSE;
	completion_arm(&k->part, &k->op, BIT_PART);
	store_close(&k->s, &k->part);
	return 1;
}

static void compare(struct checking *k, const struct check_frame *f,
		    const struct disk_inner_entry *is)
{
	const struct check_tree *t = &k->trees[k->tree];

	if (f->entry.digest != is->digest)
		say(k, CHECK_BAD, "%s: map page at %" PRIu64 ": its parent has another digest",
		    t->name, f->entry.address);
	if (k->depth > 1 && f->entry.used != is->used)
		say(k, CHECK_BAD,
		    "%s: map page at %" PRIu64 ": its parent counts %" PRIu64
		    " blocks, it has %" PRIu64,
		    t->name, f->entry.address, f->entry.used, is->used);
	if (k->depth > 1 && f->entry.newest < is->newest)
		say(k, CHECK_BAD, "%s: map page at %" PRIu64 " is newer than its parent says",
		    t->name, f->entry.address);
}

/* 0: look below; 1: what is below was seen before; or an error. */
static int page_arrived(struct checking *k, struct check_frame *f)
{
	const struct check_tree *t = &k->trees[k->tree];
	struct page_name name = {.address = f->entry.address,
				 .crc = f->entry.crc,
				 .kind = f->level == 0 ? PAGE_LEAF : PAGE_INNER,
				 .level = f->level,
				 .index = f->index};
	const void *page = f->page;
	struct disk_inner_entry is = {0};
	int rc = k->page_req.done.rc;

	if (!f->again)
		f->again = see_page(k, f->entry.address, t->name);
	if (f->again && t->leaves == NULL)
		return 1;
	if (rc == 0)
		rc = page_check(page, &name, &k->s->uuid);
	if (rc == 0)
		rc = f->level == 0 ? leaf_check(page, k->s->cache->opts.disk_bytes)
				   : inner_check(page, k->s->cache->opts.disk_bytes);
	if (rc < 0) {
		say(k, CHECK_BAD, "%s: map page at %" PRIu64 " (level %u, number %" PRIu64 "): %s",
		    t->name, f->entry.address, f->level, f->index, err_text(rc));
		return rc;
	}
	if (f->level == 0)
		leaf_summary(page, &is);
	else
		inner_summary(page, &is);
	compare(k, f, &is);
	return 0;
}

static int page_step(struct checking *k)
{
	struct check_frame *f = &k->frames[k->depth - 1];

	if (f->next == 0) {
		if (page_arrived(k, f) != 0) {
			f->level = 1; /* nothing below it */
			f->next = MAP_FAN + 1;
		} else if (f->level == 0) {
			struct check_tree *t = &k->trees[k->tree];

			if (t->leaves != NULL && f->index < t->leaf_count)
				t->leaves[f->index] = check_digest_leaf(
					(const struct disk_leaf *)(const void *)f->page, f->index,
					replica_index(t->r), t->root.volume.slot);
			k->chunk_next = f->again ? HOME_PLACES : 0;
			k->phase = CHECK_HOME;
			return 0;
		} else {
			f->next = 1;
		}
	}
	for (; f->next <= MAP_FAN; f->next++) {
		const struct disk_inner_entry *e =
			&((const struct disk_inner *)(const void *)f->page)->entries[f->next - 1];

		if (e->address == DISK_NONE)
			continue;
		f->next++;
		page_read(k, e, (uint16_t)(f->level - 1), f->index * MAP_FAN + f->next - 2);
		return 1;
	}
	if (--k->depth > 0)
		return 0; /* up again */
	k->tree++;
	k->phase = CHECK_TREE;
	return 0;
}

/* --- home --- */

static void block_is_bad(struct checking *k, const struct check_tree *t, uint64_t block,
			 uint64_t at)
{
	say(k, CHECK_BAD, "%s: block %" PRIu64 " in home at %" PRIu64 " has a wrong checksum",
	    t->name, block, at);
}

/* CK2 (1) */
static bool fold_may_write(const struct check_tree *t, uint64_t block)
{
	return t->r != NULL &&
	       index_has_below(replica_index(t->r), t->root.volume.slot, block, t->upto);
}

static void suspect(struct checking *k, uint64_t first, uint64_t chunk, uint16_t blocks)
{
	struct suspect one = {.tree = k->tree, .block = first, .chunk = chunk, .blocks = blocks};

	for (uint32_t i = 0; i < k->depth; i++)
		one.pages[one.page_count++] = k->frames[i].entry.address;
	if (suspects_add(&k->suspects, &one) < 0)
		say(k, CHECK_BAD, "no memory to note what is in doubt");
}

static void chunk_check(struct checking *k, uint32_t r)
{
	struct check_frame *f = &k->frames[k->depth - 1];
	const struct check_tree *t = &k->trees[k->tree];
	uint32_t i = k->chunk_of[r] / 2;
	bool base = k->chunk_of[r] % 2 != 0;
	const struct disk_chunk *c = &((const struct disk_leaf *)(const void *)f->page)->chunks[i];
	uint64_t at = base ? c->base : c->chunk;
	uint64_t first = f->index * LEAF_BLOCKS + i * CHUNK_BLOCKS;
	uint16_t blocks = base ? c->based : c->valid, doubtful = 0;

	if (k->chunk_reqs[r].done.rc < 0) {
		say(k, CHECK_BAD, "%s: chunk at %" PRIu64 " cannot be read", t->name, at);
		return;
	}
	for (uint32_t b = 0; b < CHUNK_BLOCKS; b++) {
		const uint8_t *data = k->chunk_data + r * CHUNK_BYTES + b * BLOCK_BYTES;

		if ((blocks >> b & 1) == 0)
			continue;
		k->c->blocks++;
		if (crc32c(data, BLOCK_BYTES) == c->crcs[b])
			continue;
		if (t->r == NULL && !t->strict)
			continue; /* of no use to anybody */
		if (fold_may_write(t, first + b))
			doubtful = (uint16_t)(doubtful | 1u << b);
		else
			block_is_bad(k, t, first + b, at + b * BLOCK_BYTES);
	}
	if (doubtful != 0)
		suspect(k, first, at, doubtful);
}

/* References found so far to a page, or to a chunk. */
static uint32_t found(const struct checking *k, bool page, uint64_t at)
{
	uint64_t i = at / (page ? PAGE_BYTES : CHUNK_BYTES);
	const uint8_t *bits = page ? k->pages_seen : k->chunks_seen;

	if ((bits[i / 8] >> i % 8 & 1) == 0)
		return 0;
	return 1 + refs_extra(page ? &k->pages_more : &k->chunks_more,
			      (uint32_t)(i / REFS_PER_SLOT), (uint32_t)(i % REFS_PER_SLOT));
}

/* Every tree that is read has been walked.  CK2 (2) */
static void suspects_judge(struct checking *k)
{
	for (uint32_t n = 0; n < k->suspects.count; n++) {
		const struct suspect *u = &k->suspects.list[n];
		bool shared = found(k, false, u->chunk) > 1;

		for (uint32_t i = 0; i < u->page_count; i++)
			shared = shared || found(k, true, u->pages[i]) > 1;
		for (uint32_t b = 0; b < CHUNK_BLOCKS && shared; b++)
			if ((u->blocks >> b & 1) != 0)
				block_is_bad(k, &k->trees[u->tree], u->block + b,
					     u->chunk + b * BLOCK_BYTES);
	}
	k->suspects.count = 0;
}

static void see_chunk(struct checking *k, uint64_t chunk)
{
	const struct check_tree *t = &k->trees[k->tree];

	if (!space_chunk_is_used(k->s->space, chunk))
		say(k, CHECK_BAD, "%s: chunk at %" PRIu64 " is in use and marked free", t->name,
		    chunk);
	if (!see(k, k->chunks_seen, &k->chunks_more, chunk / CHUNK_BYTES))
		k->c->chunks++;
}

/* Place n of a leaf's chunks and bases. */
static uint64_t home_place(const struct disk_leaf *leaf, uint32_t n)
{
	return n % 2 != 0 ? leaf->chunks[n / 2].base : leaf->chunks[n / 2].chunk;
}

/* All chunks of the leaf in the topmost frame. */
static int home_step(struct checking *k)
{
	struct check_frame *f = &k->frames[k->depth - 1];
	const struct disk_leaf *leaf = (const void *)f->page;

	for (uint32_t r = 0; r < CHUNK_READS; r++) {
		if ((k->op.waits & BIT_CHUNK(r)) != 0)
			continue;
		if (k->chunk_of[r] > 0) {
			k->chunk_of[r]--;
			chunk_check(k, r);
			k->chunk_of[r] = 0;
		}
		while (k->chunk_next < HOME_PLACES && home_place(leaf, k->chunk_next) == DISK_NONE)
			k->chunk_next++;
		if (k->chunk_next == HOME_PLACES)
			continue;
		see_chunk(k, home_place(leaf, k->chunk_next));
		if (k->c->skip_home) {
			k->chunk_next++;
			r--;
			continue;
		}
		k->chunk_of[r] = k->chunk_next + 1;
		completion_arm(&k->chunk_reqs[r].done, &k->op, BIT_CHUNK(r));
		disk_io(k->disk, &k->chunk_reqs[r], DISK_READ, 0, home_place(leaf, k->chunk_next),
			k->chunk_data + r * CHUNK_BYTES, CHUNK_BYTES);
		k->chunk_next++;
	}
	if (k->op.waits != 0)
		return 1;
	f->level = 1; /* done: as an inner page whose entries were all looked at */
	f->next = MAP_FAN + 1;
	k->phase = CHECK_PAGE;
	return 0;
}

/* --- what nobody reached --- */

static void unit_compare(struct checking *k, uint64_t at, uint64_t unit_bytes)
{
	bool page = unit_bytes == PAGE_BYTES;
	uint32_t count = space_refs(k->s->space, at), is = found(k, page, at);
	bool unsure;

	if (count == is || count == 0)
		return; /* in use and marked free: said where it was found */
	if (is < count && k->c->leaks != NULL &&
	    leaks_add(k->c->leaks, &(struct leak){at, count, is, page}) < 0)
		say(k, CHECK_BAD, "no memory to note what is leaked");
	unsure = k->c->unsure || is > count;
	if (is == 0)
		say(k, CHECK_BAD, "%s at %" PRIu64 " is marked used and nothing refers to it",
		    page ? "page" : "chunk", at);
	else
		say(k, CHECK_BAD, "%s at %" PRIu64 " is referred to %u times, its count says %u",
		    page ? "page" : "chunk", at, is, count);
	k->c->unsure = unsure; /* what is counted too often says nothing of what is reached */
}

static void unreached(struct checking *k)
{
	struct space *sp = k->s->space;
	uint64_t bytes = space_segment_bytes(sp);

	for (uint32_t i = 0; i < space_segment_count(sp); i++) {
		uint64_t off = space_segment_off(sp, i);

		if (space_segment_kind(sp, i) == SEGMENT_META) {
			for (uint64_t at = off; at < off + bytes; at += PAGE_BYTES)
				unit_compare(k, at, PAGE_BYTES);
		} else if (space_segment_kind(sp, i) == SEGMENT_HOME) {
			for (uint64_t at = off; at < off + bytes; at += CHUNK_BYTES)
				unit_compare(k, at, CHUNK_BYTES);
		}
	}
	say(k, CHECK_NOTE,
	    "%" PRIu64 " pages, %" PRIu64 " chunks, %" PRIu64 " home blocks, %" PRIu64
	    " journal records",
	    k->c->pages, k->c->chunks, k->c->blocks, k->c->records);
}

/* --- digests --- */

static void digests(struct checking *k)
{
	char group[NAME_BYTES_MAX + 1] = "", id[UUID_TEXT_BYTES];
	struct replica *r = NULL;
	uint64_t digest = 0;

	for (uint32_t i = 0; i <= k->tree_count; i++) {
		struct check_tree *t = i < k->tree_count ? &k->trees[i] : NULL;
		struct volume_root v;

		if (r != NULL && (t == NULL || t->r != r)) {
			uuid_format(replica_uuid(r), id);
			say(k, CHECK_DIGEST, "group %s %s %016" PRIx64, group, id, digest);
			k->c->digest_all = crc64(k->c->digest_all, &digest, sizeof(digest));
			digest = 0;
		}
		r = t == NULL ? NULL : t->r;
		if (r == NULL || t->root.volume.deleted)
			continue;
		snprintf(group, sizeof(group), "%s", replica_name(r));
		if (t->leaves == NULL) {
			say(k, CHECK_BAD, "volume %s: no digest", t->name);
			continue;
		}
		v = t->root;
		v.root = 0;
		v.root_digest = check_digest_tree(t->leaves, t->leaf_count, replica_index(r),
						  t->root.volume.slot);
		v.depth = MAP_DEPTH_MAX;
		say(k, CHECK_DIGEST, "volume %s %016" PRIx64, t->name, v.root_digest);
		digest = digest_volume(digest, &v);
	}
}
