/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/page_writer.c
 * Purpose.     Turn single pages into few, large writes.
 * Invariants.  W1  A slot's bit is set in op->waits exactly while its request is in flight.
 *              W2  Pages are copied when put: the caller may change them at once.
 * Ownership.   The arena is ours for life; the owner keeps `op` alive while a bit is set.
 * Failure.     The first bad result stays; the owner asks when idle.
 */
#include "engine/store/page_writer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/types.h"

#define SLOT_BYTES (PAGE_WRITER_PAGES * BLOCK_BYTES)

static struct page_writer_slot *slot_find_free(struct page_writer *w);

int page_writer_init(struct page_writer *w, struct disk *disk, struct op *op)
{
	memset(w, 0, sizeof(*w));
	w->disk = disk;
	w->op = op;
	w->arena = aligned_alloc(BLOCK_BYTES, PAGE_WRITER_SLOTS * SLOT_BYTES);
	if (w->arena == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < PAGE_WRITER_SLOTS; i++)
		w->slots[i].data = w->arena + i * SLOT_BYTES;
	return 0;
}

void page_writer_fini(struct page_writer *w)
{
	free(w->arena);
	w->arena = NULL;
}

bool page_writer_room(struct page_writer *w)
{
	return slot_find_free(w) != NULL;
}

void page_writer_put(struct page_writer *w, uint64_t off, const void *page)
{
	struct page_writer_slot *s = w->open;

	if (s != NULL &&
	    (s->pages == PAGE_WRITER_PAGES || off != s->off + (uint64_t)s->pages * BLOCK_BYTES))
		page_writer_push(w);
	s = w->open;
	if (s == NULL) {
		s = slot_find_free(w);
		assert(s != NULL);
		s->off = off;
		s->pages = 0;
		w->open = s;
	}
	memcpy(s->data + s->pages * BLOCK_BYTES, page, BLOCK_BYTES); /* W2 */
	s->pages++;
}

void page_writer_push(struct page_writer *w)
{
	struct page_writer_slot *s = w->open;

	if (s == NULL)
		return;
	w->open = NULL;
	w->bytes += (uint64_t)s->pages * BLOCK_BYTES;
	completion_arm(&s->req.done, w->op, 1u << (s - w->slots)); /* W1 */
	disk_io(w->disk, &s->req, DISK_WRITE, w->flags, s->off, s->data,
		(uint64_t)s->pages * BLOCK_BYTES);
}

bool page_writer_idle(const struct page_writer *w)
{
	return w->open == NULL && (w->op->waits & ((1u << PAGE_WRITER_SLOTS) - 1)) == 0;
}

int page_writer_rc(struct page_writer *w)
{
	for (uint32_t i = 0; i < PAGE_WRITER_SLOTS; i++)
		if ((w->op->waits & 1u << i) == 0 && w->slots[i].req.done.rc < 0 && w->rc == 0)
			w->rc = w->slots[i].req.done.rc;
	return w->rc;
}

/* A slot that is neither in flight nor open; its last result is kept first. */
static struct page_writer_slot *slot_find_free(struct page_writer *w)
{
	for (uint32_t i = 0; i < PAGE_WRITER_SLOTS; i++) {
		struct page_writer_slot *s = &w->slots[i];

		if ((w->op->waits & 1u << i) != 0 || s == w->open)
			continue;
		if (s->req.done.rc < 0 && w->rc == 0)
			w->rc = s->req.done.rc;
		return s;
	}
	return NULL;
}
