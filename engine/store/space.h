/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/space.h: who owns each segment, chunk and page of the disk.
 *
 * The disk is cut into segments of one size.  A segment is FREE, JOURNAL, HOME (64 KiB chunks) or
 * META (4 KiB pages).  The tables live in memory whole, and on disk as copy-on-write pages under
 * the checkpoint root.  Changes become durable with the next checkpoint.
 *
 * While replicas recover nothing may be taken (-ERR_AGAIN): a segment that looks free may belong to
 * a journal that was not followed yet.  So a journal takes its fresh segment at its first append.
 */
#ifndef TS_STORE_SPACE_H
#define TS_STORE_SPACE_H

#include "engine/base/op.h"
#include "engine/base/types.h"

struct space;

enum segment_kind { SEGMENT_FREE, SEGMENT_JOURNAL, SEGMENT_HOME, SEGMENT_META, SEGMENT_SUPER };

#define SEGMENT_NONE UINT32_MAX
#define CHUNK_NONE UINT64_MAX /* chunk and page addresses are byte offsets on the disk */

/* A free segment now becomes `kind`; -ERR_FULL.  JOURNAL: also -ERR_JOURNAL_FULL past the journal's
 * share (three segments per replica are guaranteed: `guaranteed` true skips the share).  HOME leaves a
 * reserve for META and guaranteed journal segments. */
MUST_CHECK int space_segment_take(struct space *sp, enum segment_kind kind, bool guaranteed,
				  uint32_t *ret_segment);
/* Within the share, and with room for META beside: records of data may go where there is place.  Else what a
 * journal was guaranteed is for records that give space back. */
bool space_journal_room(const struct space *sp);
/* Becomes FREE for taking only after the next checkpoint is durable. */
void space_segment_give(struct space *sp, uint32_t segment);
/* FREE at once: taken but never part of anything durable, or (journals) named by no durable root any
 * more: the checkpoint without it is durable.  A later JOURNAL mark at recovery still finds it. */
void space_segment_untake(struct space *sp, uint32_t segment);
/* Recovery: this segment is in use by a journal although the checkpoint may call it FREE.  Segments
 * that the checkpoint calls JOURNAL and that no journal marked by the end of recovery are FREE. */
MUST_CHECK int space_segment_mark_journal(struct space *sp,
					  uint32_t segment); /* -ERR_CORRUPT: in use by others */

MUST_CHECK int space_chunk_take(struct space *sp, uint64_t *ret_chunk); /* -ERR_FULL */
/* --- chunks that records of journals name (space_names.c) --- */

/* A fresh chunk for a record: nobody else gets or overwrites it, no checkpoint calls it used. -ERR_FULL */
MUST_CHECK int space_chunk_name(struct space *sp, uint64_t *ret_chunk);
/* Recovery: a surviving record names it, whatever the checkpoint says of it.  -ERR_CORRUPT */
MUST_CHECK int space_chunk_name_again(struct space *sp, uint64_t chunk);
/* The record is gone for good.  What no map has is taken again after a checkpoint that begins later. */
void space_chunk_unname(struct space *sp, uint64_t chunk);
/* A map refers to a named chunk that no map had: it is used, with one reference, and still named. */
void space_chunk_adopt(struct space *sp, uint64_t chunk);
bool space_chunk_is_named(const struct space *sp, uint64_t chunk);

MUST_CHECK int space_page_take(struct space *sp, uint64_t *ret_page);
/* What has one reference only becomes reusable after the next checkpoint.  Map pages and chunks are
 * dropped (below); given are pages that are never shared: those of tables. */
void space_chunk_give(struct space *sp, uint64_t chunk);
/* Takeable again at once: taken since the last capture, and never part of anything. */
void space_chunk_untake(struct space *sp, uint64_t chunk);
void space_page_give(struct space *sp, uint64_t page);

/*
 * References (space_refs.c).  What is taken has one; each further parent page, or root in a table, that
 * names a chunk or page adds one.  Counts are durable with the next checkpoint; nothing may be
 * added or dropped while one is captured and not yet durable.
 */
uint32_t space_refs(const struct space *sp, uint64_t addr); /* 0: not in use */
/* -ERR_NOMEM, -ERR_FULL (65536 of them): nothing changed. */
MUST_CHECK int space_ref_add(struct space *sp, uint64_t addr);
void space_chunk_drop(struct space *sp, uint64_t chunk); /* the last one gives it */
void space_page_drop(struct space *sp, uint64_t page);
/* One reference, also in what is durable: only then a chunk may be written in place. */
bool space_chunk_is_exclusive(const struct space *sp, uint64_t chunk);
bool space_is_captured(const struct space *sp);
/* Would `pages` more be found, besides those that the tables of the next checkpoint need?  Asked before a
 * tree is changed that must then be written out. */
bool space_page_room(const struct space *sp, uint64_t pages);

uint64_t space_segment_bytes(const struct space *sp);
uint64_t space_segment_off(const struct space *sp, uint32_t segment); /* byte offset on disk */
uint64_t space_free_bytes(const struct space *sp);		      /* what HOME may still take */
uint64_t space_journal_share_bytes(const struct space *sp);
uint64_t space_journal_used_bytes(const struct space *sp);
/* op is woken (op_wake) once, when journal segments became takeable; then it is forgotten.  Asking
 * again while waiting is harmless; space_unwatch_journal before op is freed. */
void space_watch_journal(struct space *sp, struct op *op);
void space_unwatch_journal(struct space *sp, struct op *op);

#endif
