/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/store.h: what a store keeps on disk besides journals: superblocks, floors, the checkpoint
 * root, table pages and map pages, byte by byte in proto/store.md.
 *
 * Pages are structs of fixed size without padding, little-endian (cursor.h refuses other machines);
 * the map works on the page image itself, so there is one form of a leaf, in memory and on disk.
 */
#ifndef TS_PROTO_STORE_H
#define TS_PROTO_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"

#define DISK_NONE UINT64_MAX /* no page, no chunk */
#define PAGE_BYTES 4096u
#define PAGE_HEADER_BYTES 64u

/* --- superblock and floors: four copies, each in a region of its own --- */

#define SUPER_MAGIC 0x3150555353575421ull /* "!TWSSUP1" */
#define SUPER_COPIES 4u
#define SUPER_QUORUM 2u
#define SUPER_REGION_BYTES (256u << 10)
#define SUPER_BYTES 4096u
#define STORE_FORMAT_VERSION 1u
#define STORE_BYTES_MIN (64ull << 20)
#define SEGMENT_BYTES_MIN (2ull << 20)	/* a journal record never spans two */
#define SEGMENT_BYTES_MAX (16ull << 20) /* larger ones need another bitmap: not in this version */

#define FLOOR_MAGIC 0x31524f4c46535754ull /* "TWSFLOR1" */
#define FLOOR_SLOTS 2u
#define FLOOR_SLOT_OFF (64u << 10) /* of slot 0 in the region; slot 1 follows */
#define FLOOR_SLOT_BYTES (64u << 10)

/* Feature bits known to this version.  An unknown compat bit is ignored, an unknown ro_compat bit
 * allows reading only, an unknown incompat bit refuses.  A store without a bit is of an older version:
 * it is opened, and the first checkpoint sets the bit. */
#define STORE_COMPAT_KNOWN 0ull
#define STORE_RO_COMPAT_KNOWN 0ull
#define STORE_INCOMPAT_SHARING \
	1ull /* references are counted: who does not know it would free them */
#define STORE_INCOMPAT_BY_REFERENCE \
	2ull /* records may name chunks (record.md): set by the first opening for writing */
#define STORE_INCOMPAT_SNAPSHOTS \
	4ull /* there are snapshots or clones: who does not know them would lose them */
#define STORE_INCOMPAT_GROWN (1ull << 4) /* larger than it was formatted: grown_bytes counts */
#define STORE_INCOMPAT_PAST \
	(1ull << 5) /* anchors, or snapshots of the past: who does not know them gives them away */
#define STORE_INCOMPAT_KNOWN                                                               \
	(STORE_INCOMPAT_SHARING | STORE_INCOMPAT_BY_REFERENCE | STORE_INCOMPAT_SNAPSHOTS | \
	 STORE_INCOMPAT_GROWN | STORE_INCOMPAT_PAST)

struct disk_super {
	uint64_t magic;
	uint64_t crc; /* of the 4096 bytes with this field zero */
	uint32_t version;
	uint32_t copy; /* 0..3: which copy this is */
	uint64_t compat, ro_compat, incompat;
	uint8_t store[16];
	uint64_t incarnation;
	uint64_t sequence; /* of superblock writes */
	uint64_t bytes;	   /* of the disk when formatted: the places of regions follow from it */
	uint64_t segment_bytes;
	uint32_t journal_percent;
	uint32_t zero0;
	uint64_t root_address; /* checkpoint root page */
	uint64_t root_crc;
	uint64_t root_seq;
	uint64_t grown_bytes; /* STORE_INCOMPAT_GROWN: of the disk now; else 0 */
	uint8_t zero[SUPER_BYTES - 136];
};
_Static_assert(sizeof(struct disk_super) == SUPER_BYTES, "superblock");
_Static_assert(offsetof(struct disk_super, store) == 48, "superblock");
_Static_assert(offsetof(struct disk_super, grown_bytes) == 128, "superblock");

struct disk_floor {
	uint8_t group[16];
	uint64_t epoch, cfg, promise_ms;
};
_Static_assert(sizeof(struct disk_floor) == 40, "floor");

struct disk_floor_header {
	uint64_t magic;
	uint64_t crc; /* of the used 4 KiB blocks with this field zero */
	uint8_t store[16];
	uint64_t sequence;
	uint64_t address; /* of this slot on the disk */
	uint32_t count;
	uint32_t zero0;
	uint64_t zero1;
};
_Static_assert(sizeof(struct disk_floor_header) == 64, "floor header");
#define FLOORS_MAX ((FLOOR_SLOT_BYTES - 64u) / 40u)

/* Where region `copy` of a disk of `bytes` begins: at 0, 1/3, 2/3 and the end. */
uint64_t super_region_off(uint64_t bytes, uint32_t copy);
/* What the store uses of its disk now, and whole segments in it. */
uint64_t super_disk_bytes(const struct disk_super *s);
uint64_t super_segment_count(const struct disk_super *s);
/* Segments of a store that has grown to `bytes`: the end keeps room for a signpost. */
uint64_t grown_segment_count(uint64_t bytes, uint64_t segment_bytes);

/* A grown store has its regions where the size at formatting put them.  Copy 0 says that size; so that
 * the others are found without it, two signposts say it, too: in region 0 and at the end of the disk. */
#define SIGNPOST_MAGIC 0x3154534f50535754ull /* "TWSPOST1" */
#define SIGNPOSTS 2u
#define SIGNPOST_OFF (32u << 10) /* in region 0; in the last 256 KiB of the disk */
struct disk_signpost {
	uint64_t magic;
	uint64_t crc; /* of the 4096 bytes with this field zero */
	uint8_t store[16];
	uint64_t bytes;	  /* of the disk when formatted */
	uint64_t address; /* of this page */
	uint8_t zero[SUPER_BYTES - 48];
};
_Static_assert(sizeof(struct disk_signpost) == SUPER_BYTES, "signpost");
uint64_t signpost_off(uint64_t disk_bytes, uint32_t which);
void signpost_seal(struct disk_signpost *p, const struct uuid *store, uint64_t bytes,
		   uint64_t address);
bool signpost_is_good(const struct disk_signpost *p, uint64_t address);

/* Set magic, copy and crc of an otherwise filled superblock. */
void super_seal(struct disk_super *s, uint32_t copy);
/* 0; -ERR_NOT_STORE (no magic), -ERR_CORRUPT, -ERR_VERSION.  Checks geometry, not that it fits the disk. */
MUST_CHECK int super_check(const struct disk_super *s, uint32_t copy);
/* Same content, whichever copies they are (both valid). */
bool super_equal(const struct disk_super *a, const struct disk_super *b);

/* Bytes of a slot with `count` floors, whole blocks. */
uint32_t floor_bytes(uint32_t count);
/* Fill the header before floor_bytes(count) zero-filled bytes whose entries are in place. */
void floor_seal(uint8_t *slot, const struct uuid *store, uint64_t sequence, uint64_t address,
		uint32_t count);
/* 0, -ERR_CORRUPT (also: never written, another store's). */
MUST_CHECK int floor_check(const uint8_t *slot, const struct uuid *store, uint64_t address,
			   uint64_t *ret_sequence, uint32_t *ret_count);
struct disk_floor *floor_at(uint8_t *slot, uint32_t index);

/* --- pages: 64 bytes of header, then 4032 by kind --- */

#define PAGE_MAGIC 0x31475054u /* "TPG1" */

enum page_kind {
	PAGE_ROOT = 1,
	PAGE_TABLE_INDEX = 2,
	PAGE_SEGMENTS = 3,
	PAGE_BITMAPS = 4,
	PAGE_GROUP = 5,
	PAGE_VOLUMES = 6,
	PAGE_LEAF = 7,
	PAGE_INNER = 8,
	PAGE_REFS = 9,
	PAGE_SNAPSHOTS = 10,
	PAGE_SNAPSHOT_VOLUMES = 11,
};

struct disk_page {
	uint32_t magic;
	uint16_t kind;
	uint16_t level; /* leaf of a tree: 0 */
	uint64_t crc;	/* of the page with this field zero; its parent holds it, too */
	uint64_t address;
	uint64_t birth; /* checkpoint that wrote it first */
	uint8_t store[16];
	uint64_t index; /* place in its level of the tree: 0.. */
	uint64_t zero;
};
_Static_assert(sizeof(struct disk_page) == PAGE_HEADER_BYTES, "page header");

/* What names a page: its parent's entry, or the superblock's. */
struct page_name {
	uint64_t address;
	uint64_t crc;
	uint16_t kind, level;
	uint64_t index;
};

/* Fill the header of a page and return its crc. */
uint64_t page_seal(void *page, const struct page_name *name, uint64_t birth,
		   const struct uuid *store);
/* 0, or -ERR_CORRUPT: not this page, or damaged. */
MUST_CHECK int page_check(const void *page, const struct page_name *name, const struct uuid *store);

struct disk_ref {
	uint64_t address, crc;
};

/* A table: leaf pages numbered from 0, index pages of TABLE_FAN refs above until one remains. */
struct disk_table {
	struct disk_ref root; /* address DISK_NONE: no pages */
	uint32_t pages;	      /* leaf pages */
	uint32_t entries;
};
_Static_assert(sizeof(struct disk_table) == 24, "table");

struct disk_root {
	struct disk_page page;
	uint64_t seq;
	uint64_t segment_count;
	struct disk_table segments, bitmaps, groups, volumes;
	struct disk_table refs; /* zero before STORE_INCOMPAT_SHARING: no pages */
	struct disk_table snapshots, snapshot_volumes; /* zero before STORE_INCOMPAT_SNAPSHOTS */
	uint8_t zero[PAGE_BYTES - 64 - 16 - 7 * 24];
};
_Static_assert(sizeof(struct disk_root) == PAGE_BYTES, "root");
_Static_assert(offsetof(struct disk_root, snapshots) == 200, "root");

#define TABLE_FAN 252u
#define TABLE_LEVELS_MAX 4u
struct disk_table_index {
	struct disk_page page;
	struct disk_ref refs[TABLE_FAN];
};
_Static_assert(sizeof(struct disk_table_index) == PAGE_BYTES, "table index");

#define SEGMENTS_PER_PAGE 63u
struct disk_segment {
	uint8_t kind; /* enum segment_kind */
	uint8_t zero0[3];
	uint32_t used;	      /* HOME: chunks, META: pages */
	uint32_t bitmap_slot; /* META: its entry in the bitmap table; else UINT32_MAX */
	uint32_t zero1;
	uint64_t chunks[4]; /* HOME: one bit per used chunk */
	uint8_t zero2[16];
};
_Static_assert(sizeof(struct disk_segment) == 64, "segment entry");
struct disk_segments {
	struct disk_page page;
	struct disk_segment segments[SEGMENTS_PER_PAGE];
};
_Static_assert(sizeof(struct disk_segments) == PAGE_BYTES, "segment page");

#define BITMAPS_PER_PAGE 7u
struct disk_bitmap {
	uint32_t segment; /* UINT32_MAX: entry not in use */
	uint32_t zero;
	uint64_t pages[64]; /* one bit per used page of the segment */
};
_Static_assert(sizeof(struct disk_bitmap) == 520, "bitmap entry");
struct disk_bitmaps {
	struct disk_page page;
	struct disk_bitmap bitmaps[BITMAPS_PER_PAGE];
	uint8_t zero[PAGE_BYTES - 64 - 7 * 520];
};
_Static_assert(sizeof(struct disk_bitmaps) == PAGE_BYTES, "bitmap page");

#define REFS_PER_SLOT 256u
#define REFS_SLOTS_PER_PAGE 7u
#define REFS_SLOTS_PER_SEGMENT 16u /* at most: 4096 pages */
struct disk_refs_slot {
	uint32_t segment;		/* UINT32_MAX: entry not in use */
	uint32_t first;			/* chunk or page of the segment, a multiple of 256 */
	uint16_t counts[REFS_PER_SLOT]; /* references beyond the first */
};
_Static_assert(sizeof(struct disk_refs_slot) == 520, "refs entry");
struct disk_refs {
	struct disk_page page;
	struct disk_refs_slot slots[REFS_SLOTS_PER_PAGE];
	uint8_t zero[PAGE_BYTES - 64 - 7 * 520];
};
_Static_assert(sizeof(struct disk_refs) == PAGE_BYTES, "refs page");

#define DISK_EPOCHS_MAX 120u
struct disk_epoch {
	uint64_t number, incarnation, first;
	uint32_t site;
	uint32_t zero;
};
_Static_assert(sizeof(struct disk_epoch) == 32, "epoch entry");
struct disk_group {
	struct disk_page page;
	uint8_t group[16];
	uint32_t flags;
	uint32_t epoch_count;
	uint32_t volume_count;
	uint32_t journal_segment;
	uint64_t fold, commit, durable_known;
	uint64_t content_generation, last_forced_epoch;
	uint64_t journal_segment_seq, journal_trim, journal_trim_chain;
	uint64_t journal_segment_link, journal_tail_seq;
	char name[64];
	uint64_t history_ns, history_bytes; /* journal kept to go back in; both 0: none */
	struct disk_epoch epochs[DISK_EPOCHS_MAX];
};
_Static_assert(sizeof(struct disk_group) == PAGE_BYTES, "group page");
_Static_assert(offsetof(struct disk_group, epochs) == 256, "group page");

#define VOLUMES_PER_PAGE 21u
#define VOLUME_GROUP_NONE UINT32_MAX
struct disk_volume {
	uint32_t group; /* index in the group table; VOLUME_GROUP_NONE: a tree being discarded */
	uint32_t slot;
	uint8_t volume[16];
	uint64_t bytes;
	uint64_t used_bytes;
	uint32_t block_bytes;
	uint32_t flags; /* 1: deleted */
	struct disk_ref root;
	uint64_t root_digest;
	uint32_t depth;
	uint32_t zero0;
	char name[64];
	uint8_t zero[48];
};
_Static_assert(sizeof(struct disk_volume) == 192, "volume entry");
struct disk_volumes {
	struct disk_page page;
	struct disk_volume volumes[VOLUMES_PER_PAGE];
};
_Static_assert(sizeof(struct disk_volumes) == PAGE_BYTES, "volume page");

#define SNAPSHOTS_PER_PAGE 31u
#define DISK_SNAPSHOT_PINNED 1u	 /* its volumes have roots of their own */
#define DISK_SNAPSHOT_DELETED 2u /* unlisted; a record above fold still needs it */
#define DISK_SNAPSHOT_ANCHOR 4u	 /* unlisted and kept: the journal from its LSN on leads from it */
#define DISK_SNAPSHOT_PAST 8u	 /* not pinned: to be made of an anchor and the journal behind it */
#define DISK_SNAPSHOT_MISSING 16u /* listed and not pinned: its content is not here, nor will be */
#define DISK_SNAPSHOT_STATES 31u
enum disk_snapshot_kind { DISK_SNAPSHOT = 1, DISK_CLONE_BASE = 2 };
struct disk_snapshot {
	uint32_t group; /* index in the group table */
	uint32_t kind;
	uint8_t snapshot[16];
	uint8_t source[16]; /* CLONE_BASE: the group whose snapshot `group` began as; else zero */
	uint64_t lsn, time;
	uint32_t flags; /* enum record_snap_flag */
	uint32_t state; /* DISK_SNAPSHOT_* bits */
	char name[64];
};
_Static_assert(sizeof(struct disk_snapshot) == 128, "snapshot entry");
_Static_assert(offsetof(struct disk_snapshot, name) == 64, "snapshot entry");
struct disk_snapshots {
	struct disk_page page;
	struct disk_snapshot snapshots[SNAPSHOTS_PER_PAGE];
	uint8_t zero[PAGE_BYTES - 64 - 31 * 128];
};
_Static_assert(sizeof(struct disk_snapshots) == PAGE_BYTES, "snapshot page");
/* Volumes of snapshots: struct disk_volumes, `group` an index in the snapshot table. */

/* --- the map of a volume --- */

#define MAP_FAN 64u
#define MAP_FAN_SHIFT 6u
#define MAP_DEPTH_MAX 6u

struct disk_chunk {
	uint64_t chunk; /* byte offset on disk; DISK_NONE */
	uint64_t
		base; /* byte offset on disk of the chunk that has the based blocks; DISK_NONE: none */
	uint16_t valid; /* bit i: block i is in the chunk, with crcs[i] */
	uint16_t zero;	/* bit i: written as zeroes */
	uint16_t based; /* bit i: block i is in the base, with crcs[i]; of the three one at most */
	uint16_t zero0;
	uint64_t birth; /* checkpoint in which the chunk was taken; 0: not known */
	uint64_t last;	/* newest LSN that changed it */
	uint32_t crcs[CHUNK_BLOCKS];
};
_Static_assert(sizeof(struct disk_chunk) == 104, "chunk entry");

struct disk_leaf {
	struct disk_page page;
	struct disk_chunk chunks[LEAF_CHUNKS];
	uint8_t zero[PAGE_BYTES - 64 - 32 * 104];
};
_Static_assert(sizeof(struct disk_leaf) == PAGE_BYTES, "leaf page");

struct disk_inner_entry {
	uint64_t address; /* DISK_NONE: nothing below */
	uint64_t crc;
	uint64_t digest;
	uint64_t newest; /* LSN */
	uint64_t used;	 /* blocks in home below */
	uint64_t birth;
};
_Static_assert(sizeof(struct disk_inner_entry) == 48, "inner entry");

struct disk_inner {
	struct disk_page page;
	struct disk_inner_entry entries[MAP_FAN];
	uint8_t zero[PAGE_BYTES - 64 - 64 * 48];
};
_Static_assert(sizeof(struct disk_inner) == PAGE_BYTES, "inner page");

/* Empty pages: no chunk, nothing below. The header is left zero. */
void leaf_init(struct disk_leaf *leaf);
void inner_init(struct disk_inner *inner);

/* Structural checks of a page whose checksum is right: addresses aligned and within disk_bytes, masks
 * possible.  0 or -ERR_CORRUPT. */
MUST_CHECK int leaf_check(const struct disk_leaf *leaf, uint64_t disk_bytes);
MUST_CHECK int inner_check(const struct disk_inner *inner, uint64_t disk_bytes);

/* Logical digests: equal for equal content, whatever the addresses; 0 for nothing but zeroes. */
uint64_t leaf_digest(const struct disk_leaf *leaf);
uint64_t inner_digest(const struct disk_inner *inner);
/* Digest of a tree of any depth with root digest `digest`, as one of MAP_DEPTH_MAX: comparable. */
uint64_t map_digest_wrap(uint64_t digest, uint32_t depth);
void leaf_summary(const struct disk_leaf *leaf,
		  struct disk_inner_entry *ret); /* digest, newest, used */
void inner_summary(const struct disk_inner *inner, struct disk_inner_entry *ret); /* the same */

#endif
