/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/repl/duo.h: two sites with a real store on a simulated disk and a repl each, in one world. */
#ifndef TS_TESTS_REPL_DUO_H
#define TS_TESTS_REPL_DUO_H

#include <check.h>

#include "engine/repl/repl.h"
#include "tests/lib/fakes.h"

#define DISK_BYTES (256ull << 20)
#define BLOCKS 4096u

struct duo_setup {
	uint32_t repl_mutant, store_mutant; /* of both sites */
	uint64_t a_features_off;
	uint64_t b_disk_bytes; /* 0: as a's */
};

struct site {
	struct env *env;
	struct sim_disk *disk;
	struct op op;
	struct repl *repl;
	struct store *store;
	struct repl_source *source;
	struct repl_follower *follower;
	uint32_t id;
};

/* a is the primary, b follows. */
struct duo {
	struct fake *f;
	struct site a, b;
	struct site *writer; /* a, until a test says otherwise */
	uint64_t forced;     /* last forced epoch, for the next begin_epoch */
	struct uuid group;
	struct epoch epoch;
	uint64_t values[BLOCKS]; /* what a's records wrote last, appended ones included */
	uint64_t next_value;
	struct duo_setup setup;
};

struct replica *visible(struct duo *d, struct site *s);
void site_step(struct op *op);
void site_open_repl(struct duo *d, struct site *s);
void site_open_store(struct duo *d, struct site *s);
bool is_up(void *ctx);
void run(struct duo *d, uint64_t ms);
struct lsn tail_of(struct duo *d, struct site *s);
void begin_epoch(struct duo *d, uint64_t number);
void write_blocks(struct duo *d, uint64_t block, uint32_t count);
void commit(struct duo *d);
void duo_open(struct duo *d, uint64_t seed);
void duo_open_with(struct duo *d, uint64_t seed, const struct duo_setup *setup);
void write_value(struct duo *d, uint64_t block, uint32_t count, uint64_t value); /* 0: discards */
bool blocks_equal(struct duo *d, struct site *s); /* to what was written */
void unfollow(struct duo *d);
void duo_close(struct duo *d);
void follow(struct duo *d);
enum repl_state state(struct duo *d);
bool is_closed(void *ctx);
void wait_streaming(struct duo *d);
void writes(struct duo *d, uint32_t count, uint64_t step_ns);
void check_equal(struct duo *d);
void trim(struct duo *d);

#endif
