/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/sim_net.c: byte streams between nodes.
 *
 * A stream is a pair of ends; each end has a pipe of chunks on their way to the other.  A lost
 * chunk delays everything behind it; a cut stalls it until the sender gives up (seconds) or the
 * cut heals; a node without power is silent; a node that came back answers old streams with a reset.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/world.h"

#define WINDOW_BYTES (1u << 20) /* in the pipe and unread by the peer together */
#define CHUNK_MAX 65536u
#define BACKLOG_MAX 64u
#define DIAL_DEADLINE (5 * SEC_NS)

enum chunk_kind { CHUNK_DATA, CHUNK_FIN, CHUNK_RST };

struct sim_chunk {
	struct list_link link;
	uint64_t arrive;
	enum chunk_kind kind;
	uint32_t bytes, used;
	uint8_t data[];
};

struct sim_pair;

struct sim_conn {
	struct net_conn base;
	struct sim_pair *pair;
	struct world_env *env;
	struct world_node *node;
	struct list pipe; /* from here to the peer */
	uint64_t pipe_bytes;
	struct list rx; /* arrived here, not read */
	uint64_t rx_bytes;
	struct net_io_req *send, *recv;
	uint32_t send_iov;
	size_t send_off;
	bool gone;   /* closed here, or its node died */
	bool shut;   /* shutdown here */
	bool broken; /* reset or timed out */
	bool rx_fin;
	uint64_t stalled_since, patience;
	struct wevent arrive_ev, io_ev, rst_ev;
	char peer_text[160];
};

struct sim_pair {
	struct list_link link;
	struct world *world;
	struct sim_conn end[2];
};

struct sim_listener {
	struct net_listener base;
	struct list_link link;
	struct world_env *env; /* NULL: it was closed; the address is remembered */
	struct world_node *node;
	char address[128];
	struct net_accept_req *accept;
	struct sim_conn *backlog[BACKLOG_MAX];
	uint32_t backlog_count;
	struct wevent event;
};

struct sim_dial {
	struct list_link link;
	struct wevent event;
	struct world_env *env;
	struct net_connect_req *req;
	uint64_t give_up;
};

static void resets_overtake(struct world *w, const struct world_node *a,
			    const struct world_node *b);

static struct sim_conn *conn_peer(struct sim_conn *c)
{
	return c == &c->pair->end[0] ? &c->pair->end[1] : &c->pair->end[0];
}

static struct world_link *link_of(struct sim_conn *from)
{
	struct world *w = from->pair->world;

	return &w->links[from->node->id][conn_peer(from)->node->id];
}

/* Without power nothing answers; where only the process died, the machine sends resets. */
static bool is_dark(const struct world_node *n)
{
	return !n->up && n->died_how == WORLD_CRASH_POWER;
}

static void chunks_drop(struct list *l)
{
	while (!list_empty(l))
		free(container_of(list_pop_front(l), struct sim_chunk, link));
}

static void conn_drop_pipe(struct sim_conn *c)
{
	chunks_drop(&c->pipe);
	c->pipe_bytes = 0;
	world_unplan(c->pair->world, &c->arrive_ev);
}

static void pair_free_if_gone(struct sim_pair *p)
{
	if (!p->end[0].gone || !p->end[1].gone)
		return;
	for (int i = 0; i < 2; i++) {
		struct sim_conn *c = &p->end[i];

		conn_drop_pipe(c);
		chunks_drop(&c->rx);
		world_unplan(p->world, &c->io_ev);
		world_unplan(p->world, &c->rst_ev);
	}
	list_remove(&p->link);
	free(p);
}

static void conn_kick(struct sim_conn *c, uint64_t delay)
{
	if (!c->gone && !wevent_planned(&c->io_ev))
		world_plan(c->pair->world, &c->io_ev, delay);
}

/* --- sending --- */

static void pipe_push(struct sim_conn *c, struct sim_chunk *k)
{
	struct world *w = c->pair->world;
	struct world_link *l = link_of(c);
	uint64_t depart = w->now;

	if (l->bytes_per_sec > 0) {
		depart = l->busy_until > w->now ? l->busy_until : w->now;
		depart += k->bytes * SEC_NS / l->bytes_per_sec;
		l->busy_until = depart;
	}
	k->arrive = depart + l->latency_ns + prng_below(&w->prng_net, l->jitter_ns + 1);
	if (l->loss_ppm > 0 && prng_ppm(&w->prng_net, l->loss_ppm)) {
		k->arrive += prng_range(&w->prng_net, 2 * l->latency_ns, 220 * MS_NS);
		w->stats.retransmits++;
	}
	if (!list_empty(&c->pipe)) {
		const struct sim_chunk *last =
			container_of(list_last(&c->pipe), struct sim_chunk, link);

		k->arrive = k->arrive < last->arrive ? last->arrive : k->arrive;
	}
	list_push_back(&c->pipe, &k->link);
	c->pipe_bytes += k->bytes;
	if (!wevent_planned(&c->arrive_ev))
		world_plan(w, &c->arrive_ev, k->arrive - w->now);
}

static void pipe_push_mark(struct sim_conn *c, enum chunk_kind kind)
{
	struct sim_chunk *k = calloc(1, sizeof(*k));

	assert(k != NULL);
	k->kind = kind;
	pipe_push(c, k);
}

/* Copy at most `max` bytes of the request in progress into a new chunk. */
static void send_chunk(struct sim_conn *c, uint64_t max)
{
	struct net_io_req *r = c->send;
	uint64_t want = 0;
	struct sim_chunk *k;

	for (uint32_t i = c->send_iov; i < r->iov_count && want < max; i++)
		want += r->iov[i].iov_len - (i == c->send_iov ? c->send_off : 0);
	want = want < max ? want : max;
	if (want > 1 &&
	    prng_below(&c->pair->world->prng_net, 16) == 0) /* streams have no messages */
		want = prng_range(&c->pair->world->prng_net, 1, want - 1);
	k = malloc(sizeof(*k) + want);
	assert(k != NULL);
	memset(k, 0, sizeof(*k));
	k->kind = CHUNK_DATA;
	while (k->bytes < want) {
		uint64_t n = r->iov[c->send_iov].iov_len - c->send_off;

		n = n < want - k->bytes ? n : want - k->bytes;
		if (n > 0)
			memcpy(k->data + k->bytes,
			       (uint8_t *)r->iov[c->send_iov].iov_base + c->send_off, n);
		k->bytes += (uint32_t)n;
		c->send_off += n;
		if (c->send_off == r->iov[c->send_iov].iov_len) {
			c->send_iov++;
			c->send_off = 0;
		}
	}
	pipe_push(c, k);
}

static void conn_progress_send(struct sim_conn *c)
{
	struct net_io_req *r = c->send;

	if (r == NULL)
		return;
	if (c->broken || c->shut) {
		c->send = NULL;
		completion_fire(&r->done, -ERR_CLOSED);
		return;
	}
	while (c->send_iov < r->iov_count && r->iov[c->send_iov].iov_len == 0)
		c->send_iov++;
	while (c->send_iov < r->iov_count) {
		uint64_t used = c->pipe_bytes + conn_peer(c)->rx_bytes;

		if (used >= WINDOW_BYTES)
			return; /* wait: the peer reads */
		send_chunk(c, WINDOW_BYTES - used < CHUNK_MAX ? WINDOW_BYTES - used : CHUNK_MAX);
		while (c->send_iov < r->iov_count && r->iov[c->send_iov].iov_len == 0)
			c->send_iov++;
	}
	c->send = NULL;
	completion_fire(&r->done, 0);
}

/* --- receiving --- */

static int recv_copy(struct sim_conn *c, struct net_io_req *r)
{
	int total = 0;
	uint32_t i = 0;
	size_t off = 0;

	while (i < r->iov_count && !list_empty(&c->rx)) {
		struct sim_chunk *k = container_of(list_first(&c->rx), struct sim_chunk, link);
		size_t room = r->iov[i].iov_len - off, n = k->bytes - k->used;

		n = n < room ? n : room;
		if (n > 0)
			memcpy((uint8_t *)r->iov[i].iov_base + off, k->data + k->used, n);
		k->used += (uint32_t)n;
		off += n;
		total += (int)n;
		if (k->used == k->bytes) {
			list_remove(&k->link);
			free(k);
		}
		if (off == r->iov[i].iov_len) {
			i++;
			off = 0;
		}
	}
	c->rx_bytes -= (uint64_t)total;
	return total;
}

static void conn_progress_recv(struct sim_conn *c)
{
	struct net_io_req *r = c->recv;
	int rc;

	if (r == NULL)
		return;
	if (c->broken)
		rc = -ERR_CLOSED;
	else if (c->shut)
		rc = 0;
	else if (c->rx_bytes > 0) {
		rc = recv_copy(c, r);
		if (conn_peer(c)->send != NULL)
			conn_kick(conn_peer(c), link_of(c)->latency_ns);
	} else if (c->rx_fin)
		rc = 0;
	else
		return; /* wait: something arrives */
	c->recv = NULL;
	completion_fire(&r->done, rc);
}

static void conn_io_fire(struct wevent *ev)
{
	struct sim_conn *c = container_of(ev, struct sim_conn, io_ev);

	if (c->gone)
		return;
	conn_progress_send(c);
	conn_progress_recv(c);
}

static void conn_break(struct sim_conn *c)
{
	if (c->gone || c->broken)
		return;
	c->broken = true;
	c->pair->world->stats.conns_broken++;
	conn_drop_pipe(c);
	chunks_drop(&c->rx);
	c->rx_bytes = 0;
	conn_progress_send(c);
	conn_progress_recv(c);
}

static void conn_rst_fire(struct wevent *ev)
{
	struct sim_conn *c = container_of(ev, struct sim_conn, rst_ev);

	if (link_of(conn_peer(c))->cut)
		return; /* lost; the next chunk draws another */
	conn_break(c);
}

/* The head of c's pipe cannot get through now: come back later, or give the stream up. */
static void pipe_stall(struct sim_conn *c)
{
	struct world *w = c->pair->world;

	if (c->stalled_since == 0)
		c->stalled_since = w->now;
	if (c->gone && w->now - c->stalled_since > c->patience) {
		conn_drop_pipe(c);
		return;
	}
	if (w->now - c->stalled_since > c->patience) {
		conn_break(c);
		return;
	}
	w->stats.retransmits++;
	world_plan(w, &c->arrive_ev, prng_range(&w->prng_net, 30 * MS_NS, 250 * MS_NS));
}

static void conn_arrive_one(struct sim_conn *c, struct sim_chunk *k)
{
	struct sim_conn *p = conn_peer(c);

	switch (k->kind) {
	case CHUNK_DATA:
		list_push_back(&p->rx, &k->link);
		p->rx_bytes += k->bytes;
		break;
	case CHUNK_FIN:
		p->rx_fin = true;
		free(k);
		break;
	case CHUNK_RST:
		free(k);
		conn_break(p);
		return;
	}
	conn_progress_recv(p);
}

static void conn_arrive_fire(struct wevent *ev)
{
	struct sim_conn *c = container_of(ev, struct sim_conn, arrive_ev), *p = conn_peer(c);
	struct world *w = c->pair->world;
	struct sim_chunk *k;

	assert(!list_empty(&c->pipe));
	if (link_of(c)->cut || is_dark(p->node)) {
		pipe_stall(c);
		return;
	}
	c->stalled_since = 0;
	if (p->gone || p->shut || p->broken) { /* nobody there any more: a reset comes back */
		conn_drop_pipe(c);
		if (!c->gone && !wevent_planned(&c->rst_ev))
			world_plan(w, &c->rst_ev, link_of(p)->latency_ns);
		return;
	}
	k = container_of(list_pop_front(&c->pipe), struct sim_chunk, link);
	c->pipe_bytes -= k->bytes;
	world_trace(w, k->bytes, c->node->id * 64ull + p->node->id);
	if (!list_empty(&c->pipe)) {
		const struct sim_chunk *next =
			container_of(list_first(&c->pipe), struct sim_chunk, link);

		world_plan(w, &c->arrive_ev, next->arrive > w->now ? next->arrive - w->now : 0);
	}
	conn_arrive_one(c, k);
}

/* --- making streams --- */

static void conn_init(struct sim_conn *c, struct sim_pair *p, struct world_env *env,
		      struct world_node *node)
{
	c->base.ops = &sim_net_ops;
	c->pair = p;
	c->env = env;
	c->node = node;
	list_init(&c->pipe);
	list_init(&c->rx);
	c->patience = prng_range(&p->world->prng_net, 3 * SEC_NS, 20 * SEC_NS);
	c->arrive_ev.fire = conn_arrive_fire;
	c->io_ev.fire = conn_io_fire;
	c->rst_ev.fire = conn_rst_fire;
	c->arrive_ev.kind = c->io_ev.kind = c->rst_ev.kind = WEV_NET;
	c->arrive_ev.node = c->io_ev.node = c->rst_ev.node = node->id;
}

static const char *address_plain(const char *a)
{
	return strncmp(a, "tcp:", 4) == 0 ? a + 4 : a;
}

static bool address_matches(const struct sim_listener *l, const char *to)
{
	const char *la = address_plain(l->address), *colon = strrchr(la, ':'),
		   *tc = strrchr(to, ':');
	size_t name = strlen(l->node->name);

	if (strcmp(la, to) == 0)
		return true;
	if (colon == NULL || tc == NULL || strcmp(colon, tc) != 0)
		return false;
	if (strncmp(la, "0.0.0.0:", 8) != 0 && strncmp(la, "[::]:", 5) != 0)
		return false;
	return (size_t)(tc - to) == name && strncmp(to, l->node->name, name) == 0;
}

/* The open listener at the address, else a closed one, else NULL. */
static struct sim_listener *listener_find(struct world *w, const char *address)
{
	struct sim_listener *found = NULL;

	LIST_FOR_EACH(x, &w->listeners) {
		struct sim_listener *l = container_of(x, struct sim_listener, link);

		if (!address_matches(l, address_plain(address)))
			continue;
		if (l->env != NULL)
			return l;
		found = l;
	}
	return found;
}

static int sim_listen(struct net *net, const char *address, struct net_listener **ret_listener)
{
	struct world_env *e = container_of(net, struct world_env, net);
	struct world *w = e->node->world;
	struct sim_listener *l = listener_find(w, address);

	if (strlen(address) >= sizeof(l->address))
		return -ERR_INVALID;
	if (l != NULL && l->env != NULL)
		return -ERR_IN_USE;
	if (l == NULL || strcmp(l->address, address) != 0) {
		l = calloc(1, sizeof(*l));
		assert(l != NULL);
		snprintf(l->address, sizeof(l->address), "%s", address);
		list_push_back(&w->listeners, &l->link);
	}
	l->base.ops = &sim_net_ops;
	l->env = e;
	l->node = e->node;
	l->event.kind = WEV_NET;
	l->event.node = e->node->id;
	*ret_listener = &l->base;
	return 0;
}

static void listener_fire(struct wevent *ev)
{
	struct sim_listener *l = container_of(ev, struct sim_listener, event);
	struct net_accept_req *r = l->accept;
	struct sim_conn *c;

	while (r != NULL && l->backlog_count > 0) {
		c = l->backlog[0];
		l->backlog_count--;
		memmove(l->backlog, l->backlog + 1, l->backlog_count * sizeof(l->backlog[0]));
		c->env = l->env;
		l->accept = NULL;
		r->conn = &c->base;
		completion_fire(&r->done, 0);
		r = NULL;
	}
}

static void sim_accept(struct net_listener *base, struct net_accept_req *req)
{
	struct sim_listener *l = container_of(base, struct sim_listener, base);

	assert(l->accept == NULL && l->env != NULL);
	l->accept = req;
	l->event.fire = listener_fire;
	if (l->backlog_count > 0 && !wevent_planned(&l->event))
		world_plan(l->node->world, &l->event, 2000);
}

static void listener_stop(struct sim_listener *l)
{
	world_unplan(l->node->world, &l->event);
	while (l->backlog_count > 0) {
		struct sim_conn *c = l->backlog[--l->backlog_count];

		if (!conn_peer(c)->gone && l->node->up)
			pipe_push_mark(c, CHUNK_RST);
		c->gone = true;
		pair_free_if_gone(c->pair);
	}
	l->env = NULL;
	l->accept = NULL;
}

static void sim_unlisten(struct net_listener **base)
{
	struct sim_listener *l = container_of(*base, struct sim_listener, base);
	struct net_accept_req *r = l->accept;

	*base = NULL;
	listener_stop(l);
	if (r != NULL)
		completion_fire(&r->done, -ERR_CANCELED);
}

static void dial_end(struct sim_dial *d, int rc)
{
	struct net_connect_req *req = d->req;

	list_remove(&d->link);
	free(d);
	completion_fire(&req->done, rc);
}

static void dial_succeed(struct sim_dial *d, struct sim_listener *l)
{
	struct world *w = l->node->world;
	struct sim_pair *p = calloc(1, sizeof(*p));

	assert(p != NULL);
	resets_overtake(w, d->env->node, l->node);
	p->world = w;
	conn_init(&p->end[0], p, d->env, d->env->node);
	conn_init(&p->end[1], p, l->env, l->node);
	snprintf(p->end[0].peer_text, sizeof(p->end[0].peer_text), "%s", address_plain(l->address));
	snprintf(p->end[1].peer_text, sizeof(p->end[1].peer_text), "%s:%u", d->env->node->name,
		 w->port_next++);
	list_push_back(&w->conns, &p->link);
	w->stats.conns++;
	l->backlog[l->backlog_count++] = &p->end[1];
	l->event.fire = listener_fire;
	if (l->accept != NULL && !wevent_planned(&l->event))
		world_plan(w, &l->event, 2000);
	d->req->conn = &p->end[0].base;
	dial_end(d, 0);
}

static void dial_fire(struct wevent *ev)
{
	struct sim_dial *d = container_of(ev, struct sim_dial, event);
	struct world_node *n = d->env->node;
	struct world *w = n->world;
	struct sim_listener *l = listener_find(w, d->req->address);

	if (l == NULL) {
		dial_end(d, -ERR_UNREACHABLE);
		return;
	}
	if (is_dark(l->node) || w->links[n->id][l->node->id].cut ||
	    w->links[l->node->id][n->id].cut || l->backlog_count == BACKLOG_MAX) {
		if (w->now + SEC_NS > d->give_up)
			dial_end(d, -ERR_TIMEOUT);
		else
			world_plan(w, ev, SEC_NS); /* the next SYN */
		return;
	}
	if (l->env == NULL)
		dial_end(d, -ERR_UNREACHABLE); /* refused */
	else
		dial_succeed(d, l);
}

static void sim_connect(struct net *net, struct net_connect_req *req)
{
	struct world_env *e = container_of(net, struct world_env, net);
	struct world *w = e->node->world;
	struct sim_dial *d = calloc(1, sizeof(*d));
	const struct sim_listener *l = listener_find(w, req->address);
	uint64_t rtt = 20000;

	assert(d != NULL && completion_armed(&req->done));
	if (l != NULL)
		rtt = w->links[e->node->id][l->node->id].latency_ns +
		      w->links[l->node->id][e->node->id].latency_ns;
	d->env = e;
	d->req = req;
	d->give_up = w->now + DIAL_DEADLINE;
	d->event.fire = dial_fire;
	d->event.kind = WEV_NET;
	d->event.node = e->node->id;
	list_push_back(&w->dials, &d->link);
	world_plan(w, &d->event, rtt + prng_below(&w->prng_net, 20000));
}

/* --- using and ending streams --- */

static void sim_send(struct net_conn *base, struct net_io_req *req)
{
	struct sim_conn *c = container_of(base, struct sim_conn, base);

	assert(c->send == NULL && !c->gone && completion_armed(&req->done) && req->iov_count > 0);
	c->send = req;
	c->send_iov = 0;
	c->send_off = 0;
	conn_kick(c, 2000);
}

static void sim_recv(struct net_conn *base, struct net_io_req *req)
{
	struct sim_conn *c = container_of(base, struct sim_conn, base);

	assert(c->recv == NULL && !c->gone && completion_armed(&req->done) && req->iov_count > 0);
	c->recv = req;
	if (c->rx_bytes > 0 || c->rx_fin || c->broken || c->shut)
		conn_kick(c, 1000);
}

static void sim_shutdown(struct net_conn *base)
{
	struct sim_conn *c = container_of(base, struct sim_conn, base);

	if (c->shut || c->broken)
		return;
	c->shut = true;
	pipe_push_mark(c, c->rx_bytes > 0 ? CHUNK_RST : CHUNK_FIN);
	conn_kick(c, 1000);
}

static void sim_close(struct net_conn **base)
{
	struct sim_conn *c = container_of(*base, struct sim_conn, base);

	*base = NULL;
	assert(c->send == NULL && c->recv == NULL && !c->gone);
	if (!c->shut && !c->broken)
		pipe_push_mark(c, c->rx_bytes > 0 ? CHUNK_RST : CHUNK_FIN);
	c->gone = true;
	world_unplan(c->pair->world, &c->io_ev);
	world_unplan(c->pair->world, &c->rst_ev);
	chunks_drop(&c->rx);
	c->rx_bytes = 0;
	pair_free_if_gone(c->pair);
}

void sim_net_abort(struct net_conn *base)
{
	struct sim_conn *c = container_of(base, struct sim_conn, base);

	if (c->shut || c->broken)
		return;
	c->shut = true;
	conn_drop_pipe(c);
	c->patience = UINT64_MAX;
	pipe_push_mark(c, CHUNK_RST);
	conn_kick(c, 1000);
}

/* Resets on their way from a to b arrive now: before a later stream does. */
static void resets_overtake(struct world *w, const struct world_node *a, const struct world_node *b)
{
	LIST_FOR_EACH_SAFE(x, &w->conns) {
		struct sim_pair *p = container_of(x, struct sim_pair, link);

		for (int i = 0; i < 2; i++) {
			struct sim_conn *c = &p->end[i];
			struct sim_chunk *k;

			if (c->node != a || conn_peer(c)->node != b || list_empty(&c->pipe))
				continue;
			k = container_of(list_first(&c->pipe), struct sim_chunk, link);
			if (k->kind != CHUNK_RST)
				continue;
			conn_drop_pipe(c);
			conn_break(conn_peer(c));
		}
	}
}

static bool sim_peer_closed(struct net_conn *base)
{
	const struct sim_conn *c = container_of(base, struct sim_conn, base);

	return c->rx_fin || c->broken;
}

static void sim_peer_name(struct net_conn *base, char *text, uint32_t bytes)
{
	const struct sim_conn *c = container_of(base, struct sim_conn, base);

	snprintf(text, bytes, "%s", c->peer_text);
}

const struct net_ops sim_net_ops = {.listen = sim_listen,
				    .accept = sim_accept,
				    .unlisten = sim_unlisten,
				    .connect = sim_connect,
				    .send = sim_send,
				    .recv = sim_recv,
				    .shutdown = sim_shutdown,
				    .close = sim_close,
				    .peer_closed = sim_peer_closed,
				    .peer_name = sim_peer_name};

/* --- crash --- */

static void conn_crash(struct sim_conn *c, enum world_crash_how how)
{
	if (c->gone)
		return;
	c->send = c->recv = NULL;
	if (how == WORLD_CRASH_POWER)
		conn_drop_pipe(c);
	else if (!c->shut && !c->broken)
		pipe_push_mark(c, c->rx_bytes > 0 ? CHUNK_RST : CHUNK_FIN);
	c->gone = true;
	world_unplan(c->pair->world, &c->io_ev);
	world_unplan(c->pair->world, &c->rst_ev);
	chunks_drop(&c->rx);
	c->rx_bytes = 0;
}

void sim_net_crash(struct world_node *n, enum world_crash_how how)
{
	struct world *w = n->world;

	LIST_FOR_EACH_SAFE(x, &w->dials) {
		struct sim_dial *d = container_of(x, struct sim_dial, link);

		if (d->env->node != n)
			continue;
		world_unplan(w, &d->event);
		list_remove(&d->link);
		free(d);
	}
	LIST_FOR_EACH_SAFE(x, &w->conns) {
		struct sim_pair *p = container_of(x, struct sim_pair, link);

		for (int i = 0; i < 2; i++) {
			if (p->end[i].node == n)
				conn_crash(&p->end[i], how);
		}
	}
	LIST_FOR_EACH(x, &w->listeners) {
		struct sim_listener *l = container_of(x, struct sim_listener, link);

		if (l->node != n || l->env == NULL)
			continue;
		world_unplan(w, &l->event);
		l->backlog_count = 0;
		l->env = NULL;
		l->accept = NULL;
	}
	LIST_FOR_EACH_SAFE(x, &w->conns)
		pair_free_if_gone(container_of(x, struct sim_pair, link));
}

void sim_net_free(struct world *w)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		sim_net_crash(w->nodes[i], WORLD_CRASH_POWER);
	while (!list_empty(&w->listeners)) {
		struct sim_listener *l =
			container_of(list_pop_front(&w->listeners), struct sim_listener, link);

		world_unplan(w, &l->event);
		free(l);
	}
	assert(list_empty(&w->conns));
}
