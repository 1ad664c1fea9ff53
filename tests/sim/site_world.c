/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/site_world.c: see site_sim.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/site_sim.h"

/*
 * A tree takes up to twice its volume of 24 MiB: each of its chunks may have a partial one before it.  The live tree
 * and that of a copy beside it: 96 MiB, 13 of journal, some of metadata.  With a history two snapshots of moments in
 * it come along (site_past.c), 96 more, and an eighth that is kept free from anchors.
 */
#define STORE_BYTES (128ull << 20)
#define STORE_BYTES_PASTS (256ull << 20)
#define JOURNAL_BYTES (STORE_BYTES * 10 / 100) /* of either */
#define TICK_NS (10 * MS_NS)

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (s->failed)
		return;
	s->failed = true;
	n = snprintf(s->what, sizeof(s->what), "[%.6f s] ", (double)s->w->now / 1e9);
	va_start(ap, fmt);
	vsnprintf(s->what + n, sizeof(s->what) - (size_t)n, fmt, ap);
	va_end(ap);
}

void sim_say(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->w->log_level < 0)
		return;
	fprintf(stderr, "[%4llu.%09llu sim] ", (unsigned long long)(s->w->now / SEC_NS),
		(unsigned long long)(s->w->now % SEC_NS));
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void nothing_step(struct op *op)
{
	(void)op;
}

/* --- life of a node --- */

static const struct member_peer members[SIM_MEMBERS] = {
	{"a", "tcp:a:7100"}, {"b", "tcp:b:7100"}, {"w", "tcp:w:7100"}};

static void boot_member(struct sim_site *x, struct mailbox *inbox, struct mailbox *engine)
{
	const struct member_opts mo = {.name = x->name,
				       .members = members,
				       .member_count = SIM_MEMBERS,
				       .listen = members[x->id - 1].address,
				       .preferred = "w",
				       .format = !x->formatted,
				       .inbox = inbox,
				       .engine = engine};
	int rc = member_open(&x->quorum->env, &x->qdisk->disk, &mo, &x->member);

	if (rc != 0)
		sim_fail(x->sim, "member_open at %s answered %s", x->name, err_name(rc));
}

static void boot_site(struct sim_site *x, struct mailbox *inbox, struct mailbox *outbox)
{
	struct site_opts so = {
		.id = x->id,
		.sites = {{1, "a", false}, {2, "b", false}, {sim_third_id(), "c", true}},
		.site_count = x->sim->has_third ? 3 : 2,
		.timers = {.ping_ms = 100,
			   .drop_ms = 600,
			   .lease_ms = 800,
			   .grace_ms = 880,
			   .hold_down_ms = 1000,
			   .suspend_max_ms = 8000},
		.store = x->sim->store_opts,
		.nbd_listen_count = 1,
		.groups_max = 4,
		.inbox = inbox,
		.outbox = outbox,
		.rules_mutant = x->sim->rules_mutant,
		.repl_mutant = x->sim->repl_mutant,
		.repl_features_off = x->id <= SIM_SITES ? x->sim->features_off[x->id - 1] : 0};
	int rc;

	so.store.mutant = x->sim->store_mutant;
	snprintf(so.name, sizeof(so.name), "%s", x->name);
	snprintf(x->replication, sizeof(x->replication), "tcp:%s:7000", x->name);
	snprintf(x->nbd, sizeof(x->nbd), "tcp:%s:10809", x->name);
	so.replication_listen = x->replication;
	so.nbd_listen[0] = x->nbd;
	for (uint32_t i = 0; i < so.site_count; i++) {
		struct repl_peer_opts *p = &so.peers[so.peer_count];

		if (so.sites[i].id == x->id)
			continue;
		p->site = so.sites[i].id;
		snprintf(p->name, sizeof(p->name), "%s", so.sites[i].name);
		snprintf(p->address, sizeof(p->address), "tcp:%s:7000", so.sites[i].name);
		so.peer_count++;
	}
	op_init(&x->op, x->engine->env.ready, nothing_step);
	rc = site_open(&x->engine->env, &x->disk->disk, &so, &x->op, &x->site);
	if (rc != 0)
		sim_fail(x->sim, "site_open at %s answered %s", x->name, err_name(rc));
}

void sim_site_boot(struct sim_site *x)
{
	if (!x->node->up)
		world_boot(x->node);
	x->down_until = 0;
	x->sick_since = 0;
	x->stopping = false;
	x->flipped = false;
	x->seen_cfg = x->seen_epoch = x->seen_applied = 0;
	if (x->id == sim_third_id()) {
		boot_site(x, NULL, NULL);
	} else if (x->id <= SIM_SITES) {
		struct mailbox *engine = world_mailbox_new(x->engine),
			       *quorum = world_mailbox_new(x->quorum);

		x->inbox = engine;
		x->outbox = quorum;
		boot_member(x, quorum, engine);
		boot_site(x, engine, quorum);
	} else {
		boot_member(x, NULL, NULL);
	}
	x->formatted = true;
	world_settle(x->sim->w);
}

static void take_counters(struct sim_site *x)
{
	if (x->engine == NULL)
		return;
	x->journal_bytes += x->engine->env.counters->v[CTR_JOURNAL_BYTES];
	x->sim->kinds[SIM_FOLDS] += x->engine->env.counters->v[CTR_FOLDS];
	x->sim->kinds[SIM_FULL_COPIES] += x->engine->env.counters->v[CTR_REPL_BASE_BYTES] > 0;
	x->sim->kinds[SIM_COMPARES] += x->engine->env.counters->v[CTR_REPL_COMPARES];
	x->sim->kinds[SIM_COMPARES_RESUMED] +=
		x->engine->env.counters->v[CTR_REPL_COMPARES_RESUMED];
	x->sim->kinds[SIM_SUBTREES_SKIPPED] +=
		x->engine->env.counters->v[CTR_REPL_SUBTREES_SKIPPED];
	memset(x->engine->env.counters, 0, sizeof(*x->engine->env.counters));
}

static void on_crash(struct world_node *n)
{
	struct sim_site *x = n->user;

	struct authority *a = NULL;
	bool had_site = x->site != NULL && x->inbox != NULL;

	take_counters(x);
	x->role_op.waits = 0; /* nobody will answer */
	sim_past_crashed(x->sim, x);
	if (x->site != NULL)
		site_abandon(&x->site);
	if (x->member != NULL)
		member_discard(&x->member);
	/* mail on its way belongs to nobody: an authority of no use frees it */
	if (had_site && authority_open(&x->engine->env, x->id, x->inbox, x->outbox, &a) == 0) {
		op_init(&x->stop_op, x->engine->env.ready, nothing_step);
		completion_arm(&x->stop_done, &x->stop_op, 1);
		authority_stop(a, &x->stop_done);
		authority_close(&a);
		op_unqueue(&x->stop_op);
	}
}

void sim_site_crash(struct sim_site *x, enum world_crash_how how, uint64_t down_ns)
{
	if (!x->node->up)
		return;
	world_crash(x->node, how);
	x->stopping = false;
	x->down_until = x->sim->w->now + down_ns;
}

void sim_site_stop(struct sim_site *x, uint64_t down_ns)
{
	if (!x->node->up || x->node->paused || x->stopping || x->site == NULL ||
	    !sim_site_serving(x))
		return;
	x->stopping = true;
	x->down_until = x->sim->w->now + down_ns;
	op_init(&x->stop_op, x->engine->env.ready, nothing_step);
	completion_arm(&x->stop_done, &x->stop_op, 1);
	site_stop(x->site, &x->stop_done);
	world_settle(x->sim->w);
}

bool sim_site_serving(const struct sim_site *x)
{
	return x->node->up && x->site != NULL && site_state(x->site) == SITE_SERVING;
}

struct replica *sim_site_replica(const struct sim_site *x)
{
	if (!x->node->up || x->site == NULL || !x->sim->group_known || !sim_site_serving(x) ||
	    site_store(x->site) == NULL)
		return NULL;
	return replica_find(site_store(x->site), &x->sim->group);
}

/* What a supervisor does: start what is down, restart what has failed. */
void sim_tick_site(struct sim_site *x)
{
	uint64_t now = x->sim->w->now;
	bool sick;

	if (!x->node->up) {
		if (x->down_until != 0 && now >= x->down_until)
			sim_site_boot(x);
		return;
	}
	if (x->stopping && x->stop_op.waits == 0) { /* stopped cleanly: the process ends */
		sim_site_crash(x, WORLD_CRASH_KILL, x->down_until > now ? x->down_until - now : 0);
		return;
	}
	if (x->engine == NULL || x->node->paused)
		return;
	sick = site_state(x->site) == SITE_FAILED ||
	       (site_state(x->site) == SITE_SERVING && store_is_failed(site_store(x->site)));
	if (!sick) {
		x->sick_since = 0;
	} else if (x->sick_since == 0) {
		x->sick_since = now;
	} else if (now - x->sick_since > 500 * MS_NS) {
		x->sim->kinds[SIM_STORE_RESTARTS]++;
		x->sim->kinds[SIM_OLDER] += site_rc(x->site) == -ERR_STALE;
		sim_site_crash(x, WORLD_CRASH_KILL, 100 * MS_NS);
	}
}

static void tick_fire(struct wevent *ev)
{
	struct sim *s = container_of(ev, struct sim, tick);

	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		sim_tick_site(&s->sites[i]);
	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		sim_check_leader(&s->sites[i]);
	sim_faults_tick(s);
	sim_third_tick(s);
	sim_past_tick(s);
	world_plan(s->w, ev, TICK_NS);
}

/* --- the world --- */

static uint64_t store_bytes(const struct sim *s)
{
	return s->pasts ? STORE_BYTES_PASTS : STORE_BYTES;
}

static void site_new(struct sim *s, uint32_t i)
{
	static const char *const names[SIM_NODES] = {"a", "b", "w", "c"};
	const struct buf_pool_sizes bufs = {.count = {1024, 256, 64}}, none = {.count = {0, 0, 0}};
	struct sim_site *x = &s->sites[i];

	x->sim = s;
	x->id = i == SIM_THIRD ? sim_third_id() : i + 1;
	snprintf(x->name, sizeof(x->name), "%s", names[i]);
	x->node = world_node_new(s->w, names[i]);
	x->node->user = x;
	x->node->on_crash = on_crash;
	if (i < SIM_SITES || i == SIM_THIRD) {
		x->engine = world_env_new(x->node, "engine", &bufs);
		x->disk = sim_disk_new(x->node, "store", store_bytes(s));
	}
	if (i == SIM_THIRD)
		return;
	x->quorum = world_env_new(x->node, "quorum", &none);
	x->qdisk = sim_disk_new(x->node, "quorum", MEMBER_FILE_BYTES);
}

void sim_open(struct sim *s, uint64_t seed)
{
	s->w = world_new(seed);
	prng_init(&s->prng, seed, 60);
	s->store_opts = (struct store_opts){.memory_bytes = 8u << 20, .disk_stall_ms = 10000};
	for (uint32_t i = 0; i < SIM_MEMBERS || (s->has_third && i < SIM_NODES); i++)
		site_new(s, i);
	s->w->check = sim_check;
	s->w->check_ctx = s;
	s->tick.fire = tick_fire;
	s->tick.kind = WEV_SCRIPT;
}

void sim_close(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_MEMBERS || (s->has_third && i < SIM_NODES); i++) {
		if (s->sites[i].node->up)
			on_crash(s->sites[i].node);
		s->kinds[SIM_WRAPS] += s->sites[i].journal_bytes / JOURNAL_BYTES;
	}
	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		free(s->sites[i].role);
		s->sites[i].role = NULL;
	}
	free(s->past);
	s->past = NULL;
	for (uint32_t i = 0; i < s->client_count; i++)
		client_free(&s->clients[i]);
	s->w->check = NULL;
	world_free(&s->w);
	free(s->cfgs);
	s->cfgs = NULL;
}

bool sim_run(struct sim *s, uint64_t ns, bool (*pred)(struct sim *s))
{
	uint64_t end = s->w->now + ns;

	world_settle(s->w);
	while (!s->failed) {
		if (pred != NULL && pred(s))
			return true;
		if (s->w->heap_count == 0 || s->w->heap[1]->at > end)
			break;
		world_step(s->w);
	}
	return pred == NULL && !s->failed;
}

/* --- group and volume --- */

static bool format_stores(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_NODES; i++) {
		struct sim_site *x = &s->sites[i];
		struct store_format_opts fo = {
			.journal_percent = (uint32_t)(JOURNAL_BYTES * 100 / store_bytes(s))};
		struct op op;
		struct completion done;

		if (x->engine == NULL)
			continue;
		x->engine->env.random->fill(x->engine->env.random, fo.uuid.b, sizeof(fo.uuid.b));
		op_init(&op, x->engine->env.ready, nothing_step);
		completion_arm(&done, &op, 1);
		store_format(&x->engine->env, &x->disk->disk, &fo, &done);
		while (op.waits != 0 && world_step(s->w))
			;
		world_settle(s->w);
		if (op.waits != 0 || done.rc != 0) {
			sim_fail(s, "store_format at %s failed", x->name);
			return false;
		}
	}
	return true;
}

static bool authority_ready(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_SITES; i++) {
		struct sim_site *x = &s->sites[i];

		if (!sim_site_serving(x) || !authority_has_quorum(site_authority(x->site)))
			return false;
	}
	return true;
}

static void role_step(struct op *op)
{
	struct sim_site *x = container_of(op, struct sim_site, role_op);

	if (op->waits == 0 && x->role != NULL && x->role->done.rc == 0)
		x->sim->kinds[SIM_SWITCHED]++;
}

void sim_ask_role(struct sim_site *x, enum request_kind kind)
{
	struct sim *s = x->sim;

	if (!sim_site_serving(x) || x->stopping || (x->role != NULL && x->role_op.waits != 0))
		return;
	if (x->role == NULL)
		x->role = malloc(sizeof(*x->role));
	assert(x->role != NULL);
	memset(x->role, 0, sizeof(*x->role));
	x->role->kind = kind;
	x->role->deadline_ms = 5000;
	snprintf(x->role->group.name, sizeof(x->role->group.name), "g");
	snprintf(x->role->site, sizeof(x->role->site), "%s",
		 kind == REQUEST_FAILOVER ? x->name : s->sites[x->id == 1 ? 1 : 0].name);
	if (s->force_accept) {
		x->role->failover.accept_unknown = s->force_bytes == 0;
		x->role->failover.accept = s->force_bytes != 0;
		x->role->failover.accept_bytes = s->force_bytes;
		x->role->failover.fenced_count = 1;
		snprintf(x->role->failover.fenced[0], sizeof(x->role->failover.fenced[0]), "%s",
			 s->sites[x->id == 1 ? 1 : 0].name);
	}
	op_init(&x->role_op, x->engine->env.ready, role_step);
	completion_arm(&x->role->done, &x->role_op, 1);
	conductor_submit(site_conductor(x->site), x->role);
}

bool sim_role_answered(const struct sim_site *x, int *ret_rc)
{
	if (x->role == NULL || x->role_op.waits != 0)
		return false;
	*ret_rc = x->role->done.rc;
	return true;
}

/* Ask the desk of site a until it agrees. */
static bool request(struct sim *s, struct conductor_request *q, const char *what)
{
	for (int i = 0; i < 20 && !s->failed; i++) {
		struct op op;

		op_init(&op, s->sites[0].engine->env.ready, nothing_step);
		completion_arm(&q->done, &op, 1);
		q->deadline_ms = 2000;
		conductor_submit(site_conductor(s->sites[0].site), q);
		while (op.waits != 0 && !s->failed && world_step(s->w))
			;
		world_settle(s->w);
		if (op.waits != 0)
			break;
		if (q->done.rc == 0)
			return true;
		sim_run(s, 200 * MS_NS, NULL);
	}
	sim_fail(s, "%s: %s: %s", what, err_name(q->done.rc), q->text);
	return false;
}

static bool group_seen(struct sim *s)
{
	const struct vg_view *v = authority_view_by_name(site_authority(s->sites[0].site), "g");

	if (v == NULL)
		return false;
	s->group = v->vg;
	s->group_known = true;
	return true;
}

bool sim_setup(struct sim *s, uint64_t volume_bytes)
{
	struct conductor_request *q = calloc(1, sizeof(*q));
	bool ok;

	assert(q != NULL);
	ok = format_stores(s);
	for (uint32_t i = 0; i < SIM_MEMBERS && ok; i++)
		sim_site_boot(&s->sites[i]);
	if (ok && s->has_third)
		sim_site_boot(&s->sites[SIM_THIRD]);
	world_plan(s->w, &s->tick, TICK_NS);
	if (ok && !sim_run(s, 20 * SEC_NS, authority_ready)) {
		sim_fail(s, "no quorum 20 s after the first start");
		ok = false;
	}
	q->kind = REQUEST_GROUP_CREATE;
	snprintf(q->group.name, sizeof(q->group.name), "g");
	snprintf(q->group.sync_site, sizeof(q->group.sync_site), "b");
	if (s->has_third)
		snprintf(q->group.async_site, sizeof(q->group.async_site), "c");
	q->group.min_isr = 1;
	ok = ok && request(s, q, "creating the group");
	if (ok && !sim_run(s, 5 * SEC_NS, group_seen)) {
		sim_fail(s, "the group is made and nobody sees it");
		ok = false;
	}
	memset(q, 0, sizeof(*q));
	q->kind = REQUEST_VOLUME_CREATE;
	snprintf(q->volume.group, sizeof(q->volume.group), "g");
	snprintf(q->volume.name, sizeof(q->volume.name), "v");
	q->volume.bytes = volume_bytes;
	q->volume.block_bytes = 512;
	ok = ok && request(s, q, "creating the volume");
	if (ok && !sim_run(s, 30 * SEC_NS, sim_is_in_sync)) {
		sim_fail(s, "not in sync 30 s after the group was made");
		ok = false;
	}
	free(q);
	return ok && !s->failed;
}
