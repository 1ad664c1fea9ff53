/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/table.c
 * Purpose.     Copy-on-write tables under the checkpoint root.
 * Invariants.  T1  count[k + 1] = ceil(count[k] / TABLE_FAN); the top level has one page.
 *              T2  A page whose content changes gets a new address, and so do all pages above it: what
 *                  the durable checkpoint refers to is never overwritten.
 * Ownership.   The addresses are taken from and given back to space.
 * Failure.     A page that does not check out ends the load with -ERR_CORRUPT, naming the place.
 */
#include "engine/store/table.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/log.h"

static void load_step(struct op *op);

void table_init(struct table *t, uint16_t kind)
{
	memset(t, 0, sizeof(*t));
	t->kind = kind;
}

void table_fini(struct table *t)
{
	for (uint32_t k = 0; k < TABLE_LEVELS_MAX; k++)
		free(t->pages[k]);
	memset(t, 0, sizeof(*t));
}

static int level_resize(struct table *t, struct space *sp, uint32_t level, uint32_t count)
{
	struct table_page *pages = t->pages[level];

	for (uint32_t i = count; i < t->count[level]; i++)
		if (pages[i].ref.address != DISK_NONE)
			space_page_give(sp, pages[i].ref.address);
	if (count > t->max[level]) {
		uint32_t max = count + count / 2 + 8;

		pages = realloc(pages, max * sizeof(*pages));
		if (pages == NULL)
			return -ERR_NOMEM;
		t->pages[level] = pages;
		t->max[level] = max;
	}
	for (uint32_t i = t->count[level]; i < count; i++)
		pages[i] = (struct table_page){.ref = {DISK_NONE, 0}};
	t->count[level] = count;
	return 0;
}

int table_resize(struct table *t, struct space *sp, uint32_t pages)
{
	uint32_t count = pages, level = 0;

	if (t->levels > 0 && t->count[0] == pages)
		return 0;
	for (;;) { /* T1 */
		int rc = level_resize(t, sp, level, count);

		if (rc < 0)
			return rc;
		level++;
		if (count <= 1)
			break;
		if (level == TABLE_LEVELS_MAX)
			return -ERR_FULL;
		count = (count + TABLE_FAN - 1) / TABLE_FAN;
	}
	for (uint32_t k = level; k < TABLE_LEVELS_MAX; k++)
		if (level_resize(t, sp, k, 0) < 0)
			UNREACHABLE("shrinking takes no memory");
	t->levels = pages == 0 ? 0 : level;
	return 0;
}

int table_freshen(struct table *t, struct space *sp, uint32_t i)
{
	for (uint32_t level = 0; level < t->levels; level++, i /= TABLE_FAN) {
		struct table_page *p = &t->pages[level][i];
		uint64_t address;
		int rc;

		if (p->fresh)
			continue;
		rc = space_page_take(sp, &address); /* T2 */
		if (rc < 0)
			return rc;
		if (p->ref.address != DISK_NONE)
			space_page_give(sp, p->ref.address);
		p->ref.address = address;
		p->fresh = true;
	}
	return 0;
}

void table_index_encode(const struct table *t, uint32_t level, uint32_t i,
			struct disk_table_index *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t k = 0; k < TABLE_FAN; k++) {
		uint32_t below = i * TABLE_FAN + k;

		ret->refs[k].address = DISK_NONE;
		if (below < t->count[level - 1])
			ret->refs[k] = t->pages[level - 1][below].ref;
	}
}

bool table_next_fresh(const struct table *t, uint32_t level, uint32_t *i)
{
	while (level < t->levels && *i < t->count[level] && !t->pages[level][*i].fresh)
		(*i)++;
	return level < t->levels && *i < t->count[level];
}

void table_put(struct table *t, uint32_t level, uint32_t i, void *page, uint64_t seq,
	       const struct uuid *store, struct page_writer *w)
{
	struct table_page *p = &t->pages[level][i];
	struct page_name name = {.address = p->ref.address,
				 .kind = level == 0 ? t->kind : (uint16_t)PAGE_TABLE_INDEX,
				 .level = (uint16_t)level,
				 .index = i};

	assert(p->fresh);
	p->ref.crc = page_seal(page, &name, seq, store);
	p->fresh = false;
	page_writer_put(w, p->ref.address, page);
}

struct disk_table table_root(const struct table *t, uint32_t entries)
{
	struct disk_table d = {.root = {DISK_NONE, 0}, .entries = entries};

	if (t->levels > 0) {
		d.pages = t->count[0];
		d.root = t->pages[t->levels - 1][0].ref;
	}
	return d;
}

/* --- loading --- */

static void load_finish(struct table_load *l, int rc)
{
	free(l->pages);
	l->pages = NULL;
	completion_fire(&l->done, rc);
}

/* Read the next pages of the level; false: none is left in it. */
static bool load_batch(struct table_load *l)
{
	struct table *t = l->table;
	uint32_t n = t->count[l->level] - l->next;

	l->batch = n < TABLE_LOADS ? n : TABLE_LOADS;
	for (uint32_t i = 0; i < l->batch; i++) {
		completion_arm(&l->reqs[i].done, &l->op, 1u << i);
		disk_io(l->disk, &l->reqs[i], DISK_READ, 0,
			t->pages[l->level][l->next + i].ref.address, l->pages + i * PAGE_BYTES,
			PAGE_BYTES);
		l->bytes += PAGE_BYTES;
	}
	return l->batch > 0;
}

static bool ref_ok(const struct table_load *l, const struct disk_ref *ref)
{
	return ref->address % PAGE_BYTES == 0 && ref->address < l->disk_bytes &&
	       PAGE_BYTES <= l->disk_bytes - ref->address;
}

static int load_page(struct table_load *l, uint32_t i)
{
	struct table *t = l->table;
	uint32_t at = l->next + i;
	const uint8_t *page = l->pages + i * PAGE_BYTES;
	struct page_name name = {.address = t->pages[l->level][at].ref.address,
				 .crc = t->pages[l->level][at].ref.crc,
				 .kind = l->level == 0 ? t->kind : (uint16_t)PAGE_TABLE_INDEX,
				 .level = (uint16_t)l->level,
				 .index = at};
	const struct disk_table_index *d = (const void *)page;
	int rc = l->reqs[i].done.rc;

	if (rc == 0)
		rc = page_check(page, &name, &l->store);
	if (rc < 0) {
		log_error(l->env->log, "store",
			  "table page %u (kind %u, level %u) at %llu of %s: %s", at, t->kind,
			  l->level, (unsigned long long)name.address, l->disk->name, err_text(rc));
		return rc;
	}
	if (l->level == 0)
		return l->leaf(l->ctx, at, page);
	for (uint32_t k = 0; k < TABLE_FAN; k++) {
		uint32_t below = at * TABLE_FAN + k;

		if (below >= t->count[l->level - 1])
			break;
		if (!ref_ok(l, &d->refs[k]))
			return -ERR_CORRUPT;
		t->pages[l->level - 1][below].ref = d->refs[k];
	}
	return 0;
}

static void load_step(struct op *op)
{
	struct table_load *l = container_of(op, struct table_load, op);
	int rc = 0;

	if (op->waits != 0 || l->pages == NULL)
		return; /* wait: the batch */
	for (uint32_t i = 0; i < l->batch && rc == 0; i++)
		rc = load_page(l, i);
	l->next += l->batch;
	if (rc < 0) {
		load_finish(l, rc);
		return;
	}
	if (load_batch(l))
		return; /* wait: the next batch */
	if (l->level == 0) {
		load_finish(l, 0);
		return;
	}
	l->level--;
	l->next = 0;
	load_batch(l);
}

void table_load(struct table_load *l)
{
	int rc = 0;

	op_init(&l->op, l->env->ready, load_step);
	l->pages = NULL;
	l->bytes = 0;
	l->batch = 0;
	l->next = 0;
	if (l->root.pages == 0) {
		completion_fire(&l->done, 0);
		return;
	}
	if (l->root.pages > l->disk_bytes / PAGE_BYTES || !ref_ok(l, &l->root.root))
		rc = -ERR_CORRUPT;
	if (rc == 0)
		rc = table_resize(l->table, NULL, l->root.pages);
	if (rc == 0) {
		l->pages = aligned_alloc(PAGE_BYTES, TABLE_LOADS * PAGE_BYTES);
		rc = l->pages == NULL ? -ERR_NOMEM : 0;
	}
	if (rc < 0) {
		completion_fire(&l->done, rc);
		return;
	}
	l->level = l->table->levels - 1;
	l->table->pages[l->level][0].ref = l->root.root;
	load_batch(l);
}

void table_load_abandon(struct table_load *l, bool abandoned)
{
	if (!abandoned && l->op.ready != NULL)
		op_unqueue(&l->op);
	free(l->pages);
	l->pages = NULL;
}
