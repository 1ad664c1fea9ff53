/* SPDX-License-Identifier: Apache-2.0 */
/* tests/lib/fakes.c: see fakes.h. */
#include "tests/lib/fakes.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

#define FAKE_WAIT_MAX (600 * SEC_NS)

struct fake *fake_open(uint64_t seed, uint64_t disk_bytes)
{
	const struct buf_pool_sizes sizes = {.count = {256, 64, 16}};

	return fake_open_bufs(seed, disk_bytes, &sizes);
}

struct fake *fake_open_bufs(uint64_t seed, uint64_t disk_bytes, const struct buf_pool_sizes *bufs)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert(f != NULL);
	f->world = world_new(seed);
	f->node = world_node_new(f->world, "fake");
	f->world_env = world_env_new(f->node, "main", bufs);
	f->env = &f->world_env->env;
	if (disk_bytes > 0) {
		f->sim_disk = sim_disk_new(f->node, "disk", disk_bytes);
		f->disk = &f->sim_disk->disk;
	}
	return f;
}

void fake_close(struct fake **fake)
{
	struct fake *f = *fake;

	*fake = NULL;
	if (f == NULL)
		return;
	world_free(&f->world);
	free(f);
}

struct env *fake_node_new(struct fake *f, const char *name)
{
	struct world_node *n = world_node_new(f->world, name);

	return &world_env_new(n, "main", &f->world_env->buf_sizes)->env;
}

static void fake_wait_step(struct op *op)
{
	container_of(op, struct fake_wait, op)->runs++;
}

void fake_arm_on(struct env *env, struct fake_wait *w, struct completion *c)
{
	memset(w, 0, sizeof(*w));
	op_init(&w->op, env->ready, fake_wait_step);
	w->which = c;
	completion_arm(c, &w->op, 1);
}

struct completion *fake_arm_env(struct env *env, struct fake_wait *w)
{
	fake_arm_on(env, w, &w->done);
	return &w->done;
}

struct completion *fake_arm(struct fake *f, struct fake_wait *w)
{
	return fake_arm_env(f->env, w);
}

bool fake_fired(const struct fake_wait *w)
{
	return w->op.waits == 0;
}

int fake_wait(struct fake *f, struct fake_wait *w)
{
	uint64_t end = f->world->now + FAKE_WAIT_MAX;

	world_settle(f->world);
	while (w->op.waits != 0) {
		if (f->sim_disk != NULL && f->sim_disk->faults.stopped)
			return -ERR_TIMEOUT;
		if (f->world->now >= end || !world_step(f->world))
			return -ERR_TIMEOUT;
	}
	world_settle(f->world); /* its op is off the ready queue then */
	return w->which->rc;
}

void fake_run_for(struct fake *f, uint64_t ns)
{
	world_run_for(f->world, ns);
}

bool fake_run_until(struct fake *f, uint64_t ns, bool (*stop)(void *ctx), void *ctx)
{
	return world_run_until(f->world, f->world->now + ns, stop, ctx);
}

void fake_crash(struct fake *f)
{
	world_crash(f->node, WORLD_CRASH_POWER);
}

void fake_boot(struct fake *f)
{
	world_boot(f->node);
}
