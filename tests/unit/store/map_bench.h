/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/store/map_bench.h: maps over real space and cache, without replicas.  Home is not written:
 * a block is known by its checksum, and bench.home says which one lies where.
 */
#ifndef TS_TESTS_MAP_BENCH_H
#define TS_TESTS_MAP_BENCH_H

#include "engine/store/map_cache.h"
#include "engine/store/map_edit.h"
#include "engine/store/space_tables.h"
#include "engine/store/store_parts.h"
#include "tests/lib/fakes.h"

#define DISK_BYTES (128ull << 20)

struct bench {
	struct fake *f;
	struct space *sp;
	struct map_cache *c;
	struct page_writer w;
	struct op op;
	uint32_t home[DISK_BYTES / BLOCK_BYTES];
};

void bench_open(struct bench *b);
void bench_close(struct bench *b);
/* What a checkpoint does to maps. */
void write_out(struct bench *b);
int load(struct bench *b, struct map *m, struct leaf_load *l);
struct leaf *edit(struct bench *b, struct map *m, uint64_t leaf_no);
/* Store `dirty` blocks of an entry with checksums crc, crc + 1, ... by block, as fold does; others of `gone`
 * become zeroes.  Returns the blocks that were written, copied ones included; or -ERR_FULL. */
int put_entry(struct bench *b, struct map *m, uint64_t entry, uint16_t dirty, uint16_t gone,
	      uint32_t crc);
void put(struct bench *b, struct map *m, uint64_t block, uint32_t crc);
struct block_place place(struct bench *b, struct map *m, uint64_t block);
struct map *empty_map(struct bench *b);

#endif
