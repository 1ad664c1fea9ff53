/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/lib/fakes.h: the simulator's world with one node, for unit and fault tests.
 *
 *	struct fake *f = fake_open(1, 64 << 20);	// seed, disk size (0: no disk)
 *	struct fake_wait wait;
 *
 *	store_format(f->env, f->disk, &opts, fake_arm(f, &wait));
 *	ck_assert_int_eq(fake_wait(f, &wait), 0);
 *	...
 *	fake_crash(f);		// power fails; then forget your objects (store_abandon), then
 *	fake_boot(f);		// the same env pointer, fresh; the disk keeps what was durable
 *	fake_close(&f);
 *
 * A second peer on the same wire: fake_node_new.  Virtual time: fake_run_for.  Fault injection:
 * f->sim_disk->faults (tests/sim/sim_disk.h).  Set TS_TEST_LOG=4 to see log lines.
 */
#ifndef TS_TESTS_FAKES_H
#define TS_TESTS_FAKES_H

#include "tests/sim/sim_disk.h"
#include "tests/sim/world.h"

struct fake {
	struct world *world;
	struct world_node *node;
	struct world_env *world_env;
	struct env *env;
	struct sim_disk *sim_disk;
	struct disk *disk;
};

/* Bufs: 256 of 4 KiB, 64 of 64 KiB, 16 of 1 MiB. */
struct fake *fake_open(uint64_t seed, uint64_t disk_bytes);
struct fake *fake_open_bufs(uint64_t seed, uint64_t disk_bytes, const struct buf_pool_sizes *bufs);
void fake_close(struct fake **f);

/* Another node with one env (name becomes its host name) in the same world. */
struct env *fake_node_new(struct fake *f, const char *name);

/* One completion to wait for from a test. */
struct fake_wait {
	struct op op;
	struct completion done;
	struct completion *which; /* &done, or the one given to fake_arm_on */
	uint32_t runs;		  /* steps run so far */
};
struct completion *fake_arm(struct fake *f, struct fake_wait *w);
/* For requests with a completion of their own: arm `c` so that w waits for it. */
void fake_arm_on(struct env *env, struct fake_wait *w, struct completion *c);
/* The same on another env's ready queue. */
struct completion *fake_arm_env(struct env *env, struct fake_wait *w);
/* Run the world until it fired: its rc.  -ERR_TIMEOUT when nothing more happens, after 600 s of
 * virtual time, or when the disk was stopped (faults.stop_nth). */
int fake_wait(struct fake *f, struct fake_wait *w);
bool fake_fired(const struct fake_wait *w);

void fake_run_for(struct fake *f, uint64_t ns);
/* Run until `stop` says so: true; false after `ns`. */
bool fake_run_until(struct fake *f, uint64_t ns, bool (*stop)(void *ctx), void *ctx);
/* Power fails: undurable writes are lost or torn by the seed; env queues and bufs are gone. */
void fake_crash(struct fake *f);
void fake_boot(struct fake *f);

#endif
