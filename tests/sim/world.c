/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/world.c: events, time, environments, crashes and pauses (see world.h). */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/sim_disk.h"

#define STEPS_MAX_DEFAULT 50000000ull
#define WALL_START 1767225600000000000ull /* 2026-01-01 */

/* --- trace and event heap --- */

void world_trace(struct world *w, uint64_t a, uint64_t b)
{
	uint64_t h = w->hash ^ a;

	h *= 0x9fb21c651e98df25ull;
	h ^= h >> 32;
	h ^= b;
	h *= 0x9fb21c651e98df25ull;
	w->hash = h ^ (h >> 29);
}

static bool wevent_before(const struct wevent *a, const struct wevent *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_place(struct world *w, struct wevent *ev, uint32_t i)
{
	w->heap[i] = ev;
	ev->heap_index = i;
}

static void heap_up(struct world *w, uint32_t i)
{
	struct wevent *ev = w->heap[i];

	while (i > 1 && wevent_before(ev, w->heap[i / 2])) {
		heap_place(w, w->heap[i / 2], i);
		i /= 2;
	}
	heap_place(w, ev, i);
}

static void heap_down(struct world *w, uint32_t i)
{
	struct wevent *ev = w->heap[i];

	for (;;) {
		uint32_t c = 2 * i;

		if (c > w->heap_count)
			break;
		if (c < w->heap_count && wevent_before(w->heap[c + 1], w->heap[c]))
			c++;
		if (!wevent_before(w->heap[c], ev))
			break;
		heap_place(w, w->heap[c], i);
		i = c;
	}
	heap_place(w, ev, i);
}

void world_plan(struct world *w, struct wevent *ev, uint64_t delay_ns)
{
	assert(ev->heap_index == 0);
	assert(ev->fire != NULL);
	ev->at = w->now + delay_ns;
	ev->order = ++w->order;
	if (w->heap_count + 1 >= w->heap_room) {
		w->heap_room = w->heap_room == 0 ? 256 : w->heap_room * 2;
		w->heap = realloc(w->heap, w->heap_room * sizeof(struct wevent *));
		assert(w->heap != NULL);
	}
	w->heap_count++;
	heap_place(w, ev, w->heap_count);
	heap_up(w, w->heap_count);
}

void world_unplan(struct world *w, struct wevent *ev)
{
	uint32_t i = ev->heap_index;
	struct wevent *last;

	if (i == 0)
		return;
	ev->heap_index = 0;
	last = w->heap[w->heap_count--];
	if (last == ev)
		return;
	heap_place(w, last, i);
	heap_up(w, i);
	heap_down(w, last->heap_index);
}

/* --- clock --- */

uint64_t world_node_now(const struct world_node *n)
{
	uint64_t d = n->world->now - n->world_base;

	if (n->clock_frozen)
		return n->local_base;
	return n->local_base + (uint64_t)((__int128)d * (1000000 + n->drift_ppm) / 1000000);
}

static struct mono_ns sim_clock_now(struct clock *clock)
{
	struct world_clock *c = container_of(clock, struct world_clock, clock);

	return (struct mono_ns){world_node_now(c->env->node)};
}

static struct wall_ns sim_clock_wall(struct clock *clock)
{
	struct world_clock *c = container_of(clock, struct world_clock, clock);
	const struct world_node *n = c->env->node;

	return (struct wall_ns){WALL_START + n->world->now + (uint64_t)n->wall_offset};
}

static bool timer_before(const struct timer *a, const struct timer *b)
{
	return a->deadline.v != b->deadline.v ? a->deadline.v < b->deadline.v : a->order < b->order;
}

static void timer_place(struct world_clock *c, struct timer *t, uint32_t i)
{
	c->heap[i] = t;
	t->heap_index = i;
}

static void timer_up(struct world_clock *c, uint32_t i)
{
	struct timer *t = c->heap[i];

	while (i > 1 && timer_before(t, c->heap[i / 2])) {
		timer_place(c, c->heap[i / 2], i);
		i /= 2;
	}
	timer_place(c, t, i);
}

static void timer_down(struct world_clock *c, uint32_t i)
{
	struct timer *t = c->heap[i];

	for (;;) {
		uint32_t k = 2 * i;

		if (k > c->count)
			break;
		if (k < c->count && timer_before(c->heap[k + 1], c->heap[k]))
			k++;
		if (!timer_before(c->heap[k], t))
			break;
		timer_place(c, c->heap[k], i);
		i = k;
	}
	timer_place(c, t, i);
}

static void timer_take_out(struct world_clock *c, struct timer *t)
{
	uint32_t i = t->heap_index;
	struct timer *last = c->heap[c->count--];

	t->heap_index = 0;
	if (last == t)
		return;
	timer_place(c, last, i);
	timer_up(c, i);
	timer_down(c, last->heap_index);
}

/* Plan the world event of the earliest timer (local time turned into world time, rounded up). */
static void clock_replan(struct world_clock *c)
{
	struct world_node *n = c->env->node;
	uint64_t local, delay = 0;

	world_unplan(n->world, &c->event);
	if (c->count == 0 || n->clock_frozen)
		return;
	local = world_node_now(n);
	if (c->heap[1]->deadline.v > local) {
		__int128 d = c->heap[1]->deadline.v - local;

		d = (d * 1000000 + (1000000 + n->drift_ppm) - 1) / (1000000 + n->drift_ppm) + 1;
		delay = d > (__int128)(UINT64_MAX >> 2) ? UINT64_MAX >> 2 : (uint64_t)d;
	}
	world_plan(n->world, &c->event, delay);
}

static void clock_fire(struct wevent *ev)
{
	struct world_clock *c = container_of(ev, struct world_clock, event);
	uint64_t local = world_node_now(c->env->node);

	while (c->count > 0 && c->heap[1]->deadline.v <= local) {
		struct timer *t = c->heap[1];

		timer_take_out(c, t);
		completion_fire(&t->done, 0);
	}
	clock_replan(c);
}

static void sim_clock_arm(struct clock *clock, struct timer *t)
{
	struct world_clock *c = container_of(clock, struct world_clock, clock);

	assert(completion_armed(&t->done));
	if (c->count + 2 >= c->room) {
		c->room = c->room == 0 ? 64 : c->room * 2;
		c->heap = realloc(c->heap, c->room * sizeof(struct timer *));
		assert(c->heap != NULL);
	}
	t->order = ++c->order;
	c->count++;
	timer_place(c, t, c->count);
	timer_up(c, c->count);
	if (c->heap[1] == t)
		clock_replan(c);
}

static void sim_clock_disarm(struct clock *clock, struct timer *t)
{
	struct world_clock *c = container_of(clock, struct world_clock, clock);
	bool first;

	if (!timer_armed(t))
		return;
	first = c->heap[1] == t;
	timer_take_out(c, t);
	completion_fire(&t->done, -ERR_CANCELED);
	if (first)
		clock_replan(c);
}

static const struct clock_ops sim_clock_ops = {.now = sim_clock_now,
					       .wall = sim_clock_wall,
					       .arm = sim_clock_arm,
					       .disarm = sim_clock_disarm};

/* --- random, log, offload, mailbox --- */

static void sim_random_fill(struct random_port *r, void *data, uint32_t bytes)
{
	struct world_env *e = container_of(r, struct world_env, random);
	uint8_t *p = data;

	while (bytes > 0) {
		uint64_t x = prng_u64(&e->prng);
		uint32_t n = bytes < sizeof(x) ? bytes : (uint32_t)sizeof(x);

		memcpy(p, &x, n);
		p += n;
		bytes -= n;
	}
}

static void sim_log_write(struct log *log, enum log_level level, const char *room, const char *line)
{
	struct world_env *e = container_of(log, struct world_env, log);
	const struct world *w = e->node->world;

	if (w->log_level >= (int)level)
		fprintf(stderr, "[%4llu.%09llu %s/%s %s %d] %s\n",
			(unsigned long long)(w->now / SEC_NS),
			(unsigned long long)(w->now % SEC_NS), e->node->name, e->name, room,
			(int)level, line);
}

static void sim_offload_submit(struct offload *o, struct offload_req *req)
{
	struct world_env *e = container_of(o, struct world_env, offload);

	assert(completion_armed(&req->done));
	req->next = NULL;
	*e->offload_last = req;
	e->offload_last = &req->next;
	if (!wevent_planned(&e->offload_event))
		world_plan(e->node->world, &e->offload_event, 20000);
}

static void sim_offload_fire(struct wevent *ev)
{
	struct world_env *e = container_of(ev, struct world_env, offload_event);
	struct offload_req *req = e->offload_first;

	e->offload_first = req->next;
	if (e->offload_first == NULL)
		e->offload_last = &e->offload_first;
	else
		world_plan(e->node->world, ev, 20000);
	completion_fire(&req->done, req->work(req));
}

static void sim_mailbox_post(struct mailbox *m, struct mail *mail)
{
	struct world_mailbox *b = container_of(m, struct world_mailbox, mailbox);

	list_push_back(&b->queue, &mail->link);
	if (!wevent_planned(&b->event))
		world_plan(b->env->node->world, &b->event, 3000);
}

static struct mail *sim_mailbox_take(struct mailbox *m)
{
	struct world_mailbox *b = container_of(m, struct world_mailbox, mailbox);
	struct list_link *l = list_pop_front(&b->queue);

	return l == NULL ? NULL : container_of(l, struct mail, link);
}

static void sim_mailbox_fire(struct wevent *ev)
{
	struct world_mailbox *b = container_of(ev, struct world_mailbox, event);

	if (b->mailbox.receiver != NULL)
		op_wake(b->mailbox.receiver);
}

struct mailbox *world_mailbox_new(struct world_env *env)
{
	struct world_mailbox *b = calloc(1, sizeof(*b));

	assert(b != NULL);
	b->env = env;
	b->mailbox.post = sim_mailbox_post;
	b->mailbox.take = sim_mailbox_take;
	list_init(&b->queue);
	b->event.fire = sim_mailbox_fire;
	b->event.kind = WEV_MAIL;
	b->event.node = env->node->id;
	b->next = env->mailboxes;
	env->mailboxes = b;
	return &b->mailbox;
}

/* --- nodes --- */

/* Everything volatile of an env begins anew. */
static void env_start(struct world_env *e)
{
	struct world_node *n = e->node;

	ready_init(&e->ready);
	prng_init(&e->prng, n->world->seed,
		  1000 + n->id * 256ull + e->index + ((uint64_t)n->lives << 32));
	memset(&e->counters, 0, sizeof(e->counters));
	e->offload_first = NULL;
	e->offload_last = &e->offload_first;
	if (e->buf_sizes.count[0] + e->buf_sizes.count[1] + e->buf_sizes.count[2] > 0) {
		int rc = buf_pool_open(&e->buf_sizes, &e->env.bufs);

		assert(rc == 0);
	}
}

/* Drop everything volatile of an env (W3). */
static void env_drop(struct world_env *e)
{
	struct world *w = e->node->world;

	ready_init(&e->ready);
	e->clock.count = 0; /* the timers' memory may be gone: they are not touched */
	world_unplan(w, &e->clock.event);
	world_unplan(w, &e->offload_event);
	while (e->mailboxes != NULL) {
		struct world_mailbox *b = e->mailboxes;

		e->mailboxes = b->next;
		world_unplan(w, &b->event);
		free(b);
	}
	if (e->env.bufs != NULL)
		buf_pool_abandon(&e->env.bufs);
}

struct world_env *world_env_new(struct world_node *n, const char *name,
				const struct buf_pool_sizes *bufs)
{
	struct world_env *e = calloc(1, sizeof(*e));

	assert(e != NULL && n->env_count < WORLD_ENVS_MAX);
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->node = n;
	e->index = n->env_count;
	n->envs[n->env_count++] = e;
	e->buf_sizes = *bufs;
	e->clock.clock.ops = &sim_clock_ops;
	e->clock.env = e;
	e->clock.event.fire = clock_fire;
	e->clock.event.kind = WEV_TIMER;
	e->clock.event.node = n->id;
	e->offload_event.fire = sim_offload_fire;
	e->offload_event.kind = WEV_OFFLOAD;
	e->offload_event.node = n->id;
	e->net.ops = &sim_net_ops;
	e->random.fill = sim_random_fill;
	e->offload.submit = sim_offload_submit;
	e->log.level = n->world->log_level < 0 ? LOG_ERROR : (enum log_level)n->world->log_level;
	e->log.write = sim_log_write;
	e->env = (struct env){.ready = &e->ready,
			      .clock = &e->clock.clock,
			      .net = &e->net,
			      .random = &e->random,
			      .offload = &e->offload,
			      .log = &e->log,
			      .counters = &e->counters};
	env_start(e);
	return e;
}

struct world_node *world_node_new(struct world *w, const char *name)
{
	struct world_node *n = calloc(1, sizeof(*n));

	assert(n != NULL && w->node_count < WORLD_NODES_MAX);
	n->world = w;
	n->id = w->node_count;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->up = true;
	n->lives = 1;
	n->local_base = SEC_NS * (100 + n->id * 17);
	n->world_base = w->now;
	w->nodes[w->node_count++] = n;
	return n;
}

void world_set_drift(struct world_node *n, int32_t ppm)
{
	n->local_base = world_node_now(n);
	n->world_base = n->world->now;
	n->drift_ppm = ppm;
	for (uint32_t i = 0; i < n->env_count; i++)
		clock_replan(&n->envs[i]->clock);
}

void world_pause(struct world_node *n, bool freeze_clock)
{
	if (!n->up || n->paused)
		return;
	n->world->stats.pauses++;
	n->paused = true;
	if (freeze_clock) {
		n->local_base = world_node_now(n);
		n->clock_frozen = true;
		for (uint32_t i = 0; i < n->env_count; i++)
			clock_replan(&n->envs[i]->clock);
	}
	world_trace(n->world, 0x70617573, n->id);
}

void world_resume(struct world_node *n)
{
	if (!n->paused)
		return;
	n->paused = false;
	if (n->clock_frozen) {
		n->clock_frozen = false;
		n->world_base = n->world->now;
		for (uint32_t i = 0; i < n->env_count; i++)
			clock_replan(&n->envs[i]->clock);
	}
	world_trace(n->world, 0x72657375, n->id);
}

void world_crash(struct world_node *n, enum world_crash_how how)
{
	struct world *w = n->world;

	if (!n->up)
		return;
	world_resume(n);
	for (uint32_t i = 0; i < n->disk_count;
	     i++) /* first: it reads the buffers of requests in flight */
		sim_disk_crash(n->disks[i], how);
	sim_net_crash(n, how);
	for (uint32_t i = 0; i < n->env_count; i++) { /* before their memory goes, in any order */
		while (list_pop_front(&n->envs[i]->ready.ops) != NULL)
			;
	}
	if (n->on_crash != NULL)
		n->on_crash(n);
	n->up = false;
	n->died_how = how;
	if (how == WORLD_CRASH_POWER)
		w->stats.crashes_power++;
	else
		w->stats.crashes_kill++;
	for (uint32_t i = 0; i < n->env_count; i++)
		env_drop(n->envs[i]);
	world_trace(w, 0x63726173, n->id * 2 + (uint64_t)how);
}

void world_boot(struct world_node *n)
{
	assert(!n->up);
	n->up = true;
	n->lives++;
	n->world->stats.boots++;
	if (n->died_how == WORLD_CRASH_POWER) { /* the clock of a machine starts with it */
		n->local_base = prng_range(&n->world->prng_misc, 1, 200) * SEC_NS / 10;
		n->world_base = n->world->now;
	}
	for (uint32_t i = 0; i < n->env_count; i++)
		env_start(n->envs[i]);
	world_trace(n->world, 0x626f6f74, n->id);
}

/* --- the loop --- */

static bool node_settle(struct world_node *n)
{
	struct world *w = n->world;
	bool ran = false;

	for (uint32_t i = 0; i < n->env_count; i++) {
		struct world_env *e = n->envs[i];
		uint64_t before = e->ready.steps;

		if (list_empty(&e->ready.ops))
			continue;
		if (w->enter != NULL)
			w->enter(n);
		if (ready_run(&e->ready, w->steps_max)) {
			fprintf(stderr, "world: %s/%s never gets dry\n", n->name, e->name);
			abort();
		}
		if (w->enter != NULL)
			w->enter(NULL);
		world_trace(w, e->ready.steps - before, n->id * 64ull + i);
		ran = true;
	}
	return ran;
}

void world_settle(struct world *w)
{
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t i = 0; i < w->node_count; i++) {
			struct world_node *n = w->nodes[i];

			if (n->up && !n->paused && node_settle(n))
				again = true;
		}
		if (again)
			w->stamp++;
	}
	if (w->check != NULL)
		w->check(w, w->check_ctx);
}

bool world_step(struct world *w)
{
	struct wevent *ev;

	if (w->heap_count == 0)
		return false;
	ev = w->heap[1];
	world_unplan(w, ev);
	assert(ev->at >= w->now);
	w->now = ev->at;
	w->stats.events++;
	world_trace(w, ev->at, (uint64_t)ev->kind * 64 + ev->node);
	ev->fire(ev);
	world_settle(w);
	return true;
}

bool world_run_until(struct world *w, uint64_t at, bool (*stop)(void *ctx), void *ctx)
{
	world_settle(w);
	for (;;) {
		if (stop != NULL && stop(ctx))
			return true;
		if (w->heap_count == 0 || w->heap[1]->at > at)
			break;
		world_step(w);
	}
	if (w->now < at && at != UINT64_MAX)
		w->now = at;
	return false;
}

void world_cut(struct world_node *from, struct world_node *to, bool cut)
{
	struct world_link *l = &from->world->links[from->id][to->id];

	if (l->cut == cut)
		return;
	l->cut = cut;
	if (cut)
		from->world->stats.cuts++;
	world_trace(from->world, cut ? 0x637574 : 0x6865616c, from->id * 64ull + to->id);
}

void world_link_set(struct world_node *a, struct world_node *b, uint64_t latency_ns,
		    uint64_t jitter_ns)
{
	struct world *w = a->world;

	w->links[a->id][b->id].latency_ns = w->links[b->id][a->id].latency_ns = latency_ns;
	w->links[a->id][b->id].jitter_ns = w->links[b->id][a->id].jitter_ns = jitter_ns;
}

struct world *world_new(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *log = getenv("TS_TEST_LOG");

	assert(w != NULL);
	w->seed = seed;
	w->hash = seed;
	w->steps_max = STEPS_MAX_DEFAULT;
	w->log_level = log == NULL ? -1 : atoi(log) > 0 ? atoi(log) : LOG_DEBUG;
	w->port_next = 40000;
	list_init(&w->listeners);
	list_init(&w->conns);
	list_init(&w->dials);
	prng_init(&w->prng_disk, seed, 1);
	prng_init(&w->prng_net, seed, 2);
	prng_init(&w->prng_fault, seed, 3);
	prng_init(&w->prng_misc, seed, 4);
	for (uint32_t i = 0; i < WORLD_NODES_MAX; i++) {
		for (uint32_t k = 0; k < WORLD_NODES_MAX; k++) {
			w->links[i][k].latency_ns = i == k ? 15000 : 100000;
			w->links[i][k].jitter_ns = i == k ? 10000 : 50000;
		}
	}
	return w;
}

void world_free(struct world **world)
{
	struct world *w = *world;

	*world = NULL;
	if (w == NULL)
		return;
	sim_net_free(w);
	for (uint32_t i = 0; i < w->node_count; i++) {
		struct world_node *n = w->nodes[i];

		for (uint32_t k = 0; k < n->env_count; k++) {
			env_drop(n->envs[k]);
			free(n->envs[k]->clock.heap);
			free(n->envs[k]);
		}
		for (uint32_t k = 0; k < n->disk_count; k++)
			sim_disk_free(n->disks[k]);
		free(n);
	}
	free(w->heap);
	free(w);
}
