/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/page_writer.h: writes 4 KiB pages, copied when put, neighbours in one request,
 * several requests in flight.  Its owner's op waits: bits 0..PAGE_WRITER_SLOTS-1 are the writer's.
 */
#ifndef TS_STORE_PAGE_WRITER_H
#define TS_STORE_PAGE_WRITER_H

#include "engine/base/op.h"
#include "engine/port/disk.h"

#define PAGE_WRITER_SLOTS 8u
#define PAGE_WRITER_PAGES 32u /* of one request */

struct page_writer_slot {
	struct disk_req req;
	uint8_t *data;
	uint64_t off;
	uint32_t pages;
};

struct page_writer {
	/* fields are private */
	struct disk *disk;
	struct op *op;
	uint32_t flags; /* of the writes */
	uint8_t *arena;
	struct page_writer_slot slots[PAGE_WRITER_SLOTS];
	struct page_writer_slot *open; /* collecting */
	uint64_t bytes;		       /* written in all */
	int rc;			       /* first failure */
};

MUST_CHECK int page_writer_init(struct page_writer *w, struct disk *disk, struct op *op);
void page_writer_fini(struct page_writer *w);

/* One more page can be put now; else wait for a bit of the owner's op. */
bool page_writer_room(struct page_writer *w);
void page_writer_put(struct page_writer *w, uint64_t off, const void *page); /* only with room */
void page_writer_push(struct page_writer *w);	    /* send what is collected */
bool page_writer_idle(const struct page_writer *w); /* nothing collected, nothing in flight */
/* First failure of all writes so far, kept. */
int page_writer_rc(struct page_writer *w);

#endif
