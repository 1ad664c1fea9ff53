/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/uring/uring_test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "engine/port/net.h"
#include "engine/uring/address.h"
#include "engine/uring/net.h"

enum { ACCEPT = 1, CONNECT = 2, SEND = 4, RECV = 8, SEND2 = 16, RECV2 = 32 };

struct pair {
	struct net_listener *l;
	struct net_conn *a, *b; /* connected, accepted */
};

static void listen_on(struct world *w, const char *address, struct net_listener **ret, char *text)
{
	ck_assert_int_eq(net_listen(w->env->net, address, ret), 0);
	uring_listener_address(*ret, text, 128);
}

static void pair_open(struct world *w, struct pair *p, bool is_unix)
{
	struct net_accept_req accept;
	struct net_connect_req connect;
	char address[128];

	snprintf(address, sizeof(address), is_unix ? "unix:%s/s" : "tcp:127.0.0.1:0", w->folder);
	listen_on(w, address, &p->l, connect.address);
	completion_arm(&accept.done, &w->op, ACCEPT);
	completion_arm(&connect.done, &w->op, CONNECT);
	net_accept(p->l, &accept);
	net_connect(w->env->net, &connect);
	world_wait(w, ACCEPT | CONNECT);
	ck_assert_int_eq(accept.done.rc, 0);
	ck_assert_int_eq(connect.done.rc, 0);
	p->a = connect.conn;
	p->b = accept.conn;
}

static void pair_close(struct pair *p)
{
	net_close(&p->a);
	net_close(&p->b);
	net_unlisten(&p->l);
}

/* _i: mask index times 2, plus 1 for unix */
#define PORT_CASES (2 * MASKS)

START_TEST(net_bytes_arrive_in_order_also_after_short_sends)
{
	enum { BYTES = 8 * 1024 * 1024 };
	uint8_t *out = malloc(BYTES), *in = malloc(BYTES);
	struct net_io_req send, recv;
	struct iovec vec[3], part;
	uint32_t got = 0;
	struct pair p;
	struct world w;

	world_open(&w, masks[_i / 2]);
	pair_open(&w, &p, _i % 2 == 1);
	for (uint32_t i = 0; i < BYTES; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 24);
	vec[0] = (struct iovec){out, 10};
	vec[1] = (struct iovec){out + 10, 0};
	vec[2] = (struct iovec){out + 10, BYTES - 10};
	send.iov = vec;
	send.iov_count = 3;
	completion_arm(&send.done, &w.op, SEND);
	net_send(p.a, &send);
	while (got < BYTES) {
		part = (struct iovec){in + got, BYTES - got};
		recv.iov = &part;
		recv.iov_count = 1;
		completion_arm(&recv.done, &w.op, RECV);
		net_recv(p.b, &recv);
		world_wait(&w, RECV);
		ck_assert_int_gt(recv.done.rc, 0);
		got += (uint32_t)recv.done.rc;
	}
	world_wait(&w, SEND);
	ck_assert_int_eq(send.done.rc, 0);
	ck_assert(memcmp(in, out, BYTES) == 0);
	pair_close(&p);
	world_close(&w);
	free(out);
	free(in);
}
END_TEST

START_TEST(net_one_buffer_is_sent_and_scattered_to_two)
{
	char in1[4] = "", in2[8] = "", out[] = "abcdefgh";
	struct iovec from = {out, 8}, to[2] = {{in1, 3}, {in2, 8}};
	struct net_io_req send = {.iov = &from, .iov_count = 1}, recv = {.iov = to, .iov_count = 2};
	struct pair p;
	struct world w;
	char name[64];

	world_open(&w, masks[_i / 2]);
	pair_open(&w, &p, _i % 2 == 1);
	completion_arm(&recv.done, &w.op, RECV);
	net_recv(p.a, &recv); /* before there is anything */
	world_idle(&w, 2 * MS_NS);
	completion_arm(&send.done, &w.op, SEND);
	net_send(p.b, &send);
	world_wait(&w, SEND | RECV);
	ck_assert_int_eq(send.done.rc, 0);
	ck_assert_int_eq(recv.done.rc, 8);
	ck_assert_str_eq(in1, "abc");
	ck_assert(memcmp(in2, "defgh", 5) == 0);
	net_peer_name(p.b, name, sizeof(name));
	ck_assert(strncmp(name, _i % 2 == 1 ? "unix:pid=" : "127.0.0.1:", 9) == 0);
	pair_close(&p);
	world_close(&w);
}
END_TEST

START_TEST(net_end_of_stream_is_zero_and_peer_closed_tells_it_before)
{
	char in[4], out[] = "xy";
	struct iovec from = {out, 2}, to = {in, 4};
	struct net_io_req send = {.iov = &from, .iov_count = 1},
			  recv = {.iov = &to, .iov_count = 1};
	struct pair p;
	struct world w;

	world_open(&w, masks[_i / 2]);
	pair_open(&w, &p, _i % 2 == 1);
	ck_assert(!net_peer_closed(p.b));
	completion_arm(&send.done, &w.op, SEND);
	net_send(p.a, &send);
	world_wait(&w, SEND);
	ck_assert(!net_peer_closed(p.b));
	net_close(&p.a);
	world_idle(&w, 5 * MS_NS);
	ck_assert(net_peer_closed(p.b)); /* although two bytes are unread */
	completion_arm(&recv.done, &w.op, RECV);
	net_recv(p.b, &recv);
	world_wait(&w, RECV);
	ck_assert_int_eq(recv.done.rc, 2);
	to = (struct iovec){in, 4};
	completion_arm(&recv.done, &w.op, RECV);
	net_recv(p.b, &recv);
	world_wait(&w, RECV);
	ck_assert_int_eq(recv.done.rc, 0);
	pair_close(&p);
	world_close(&w);
}
END_TEST

START_TEST(net_shutdown_ends_requests_in_flight)
{
	enum { BYTES = 16 * 1024 * 1024 };
	uint8_t *out = calloc(1, BYTES);
	char in[4];
	struct iovec from = {out, BYTES}, to = {in, 4};
	struct net_io_req send = {.iov = &from, .iov_count = 1},
			  recv = {.iov = &to, .iov_count = 1};
	struct pair p;
	struct world w;

	world_open(&w, masks[_i / 2]);
	pair_open(&w, &p, _i % 2 == 1);
	completion_arm(&send.done, &w.op, SEND);
	completion_arm(&recv.done, &w.op, RECV);
	net_send(p.a, &send); /* nobody reads: it stays */
	net_recv(p.a, &recv);
	world_idle(&w, 5 * MS_NS);
	ck_assert_uint_eq(w.op.waits, SEND | RECV);
	net_shutdown(p.a);
	world_wait(&w, SEND | RECV);
	ck_assert_int_eq(send.done.rc, -ERR_CLOSED);
	ck_assert_int_eq(recv.done.rc, 0);
	pair_close(&p);
	world_close(&w);
	free(out);
}
END_TEST

START_TEST(net_send_to_a_broken_stream_is_closed)
{
	char out[4096] = "";
	struct iovec from;
	struct net_io_req send;
	struct pair p;
	struct world w;

	world_open(&w, masks[_i / 2]);
	pair_open(&w, &p, _i % 2 == 1);
	net_close(&p.b);
	for (int i = 0; i < 3; i++) {
		from = (struct iovec){out, sizeof(out)};
		send.iov = &from;
		send.iov_count = 1;
		completion_arm(&send.done, &w.op, SEND);
		net_send(p.a, &send);
		world_wait(&w, SEND);
		world_idle(&w, 2 * MS_NS);
	}
	ck_assert_int_eq(send.done.rc, -ERR_CLOSED);
	pair_close(&p);
	world_close(&w);
}
END_TEST

START_TEST(net_unlisten_cancels_the_pending_accept)
{
	struct net_accept_req accept;
	struct net_listener *l;
	char address[128], text[128];
	struct world w;

	world_open(&w, masks[_i / 2]);
	snprintf(address, sizeof(address), _i % 2 == 1 ? "unix:%s/s" : "127.0.0.1:0", w.folder);
	listen_on(&w, address, &l, text);
	completion_arm(&accept.done, &w.op, ACCEPT);
	net_accept(l, &accept);
	world_idle(&w, 2 * MS_NS);
	net_unlisten(&l);
	/* The address is free again at once. */
	ck_assert_int_eq(net_listen(w.env->net, text, &l), 0);
	world_wait(&w, ACCEPT);
	ck_assert_int_eq(accept.done.rc, -ERR_CANCELED);
	net_unlisten(&l);
	world_close(&w);
}
END_TEST

START_TEST(net_unix_socket_that_is_stale_is_replaced_and_a_live_one_is_not)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct net_listener *l = NULL, *second = NULL;
	char address[128];
	struct stat st;
	struct world w;
	int fd;

	world_open(&w, 0);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", w.folder);
	snprintf(address, sizeof(address), "unix:%s/s", w.folder);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd); /* its file stays */
	ck_assert_int_eq(net_listen(w.env->net, address, &l), 0);
	ck_assert_int_eq(stat(un.sun_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	ck_assert_int_eq(net_listen(w.env->net, address, &second), -ERR_IN_USE);
	net_unlisten(&l);
	ck_assert_int_lt(stat(un.sun_path, &st), 0);
	fd = open(un.sun_path, O_CREAT | O_WRONLY, 0600); /* a file of somebody */
	close(fd);
	ck_assert_int_eq(net_listen(w.env->net, address, &l), -ERR_IN_USE);
	ck_assert_int_eq(stat(un.sun_path, &st), 0);
	snprintf(address, sizeof(address), "unix:%s/absent/s", w.folder);
	ck_assert_int_eq(net_listen(w.env->net, address, &l), -ERR_NOT_FOUND);
	ck_assert_int_eq(net_listen(w.env->net, "nonsense", &l), -ERR_INVALID);
	world_close(&w);
}
END_TEST

static int connect_rc(struct world *w, const char *address)
{
	struct net_connect_req connect;

	snprintf(connect.address, sizeof(connect.address), "%s", address);
	completion_arm(&connect.done, &w->op, CONNECT);
	net_connect(w->env->net, &connect);
	world_wait(w, CONNECT);
	ck_assert_int_lt(connect.done.rc, 0);
	ck_assert_ptr_null(connect.conn);
	return connect.done.rc;
}

START_TEST(net_connect_says_unreachable_when_nobody_listens)
{
	struct net_listener *l;
	char text[128], path[128];
	struct world w;

	world_open(&w, masks[_i]);
	listen_on(&w, "127.0.0.1:0", &l, text);
	net_unlisten(&l);
	ck_assert_int_eq(connect_rc(&w, text), -ERR_UNREACHABLE);
	snprintf(path, sizeof(path), "unix:%s/absent", w.folder);
	ck_assert_int_eq(connect_rc(&w, path), -ERR_UNREACHABLE);
	ck_assert_int_eq(connect_rc(&w, "nonsense"), -ERR_INVALID);
	ck_assert_int_eq(connect_rc(&w, "no.such.host.invalid:1"), -ERR_UNREACHABLE);
	world_close(&w);
}
END_TEST

START_TEST(net_connect_resolves_a_name)
{
	struct net_accept_req accept;
	struct net_connect_req connect;
	struct net_listener *l;
	char text[128];
	struct world w;

	world_open(&w, masks[_i]);
	listen_on(&w, "127.0.0.1:0", &l, text);
	snprintf(connect.address, sizeof(connect.address), "localhost:%s", strrchr(text, ':') + 1);
	completion_arm(&accept.done, &w.op, ACCEPT);
	completion_arm(&connect.done, &w.op, CONNECT);
	net_accept(l, &accept);
	net_connect(w.env->net, &connect);
	world_wait(&w, ACCEPT | CONNECT);
	ck_assert_int_eq(connect.done.rc, 0);
	net_close(&connect.conn);
	net_close(&accept.conn);
	net_unlisten(&l);
	world_close(&w);
}
END_TEST

/* A full backlog of a listener that never accepts: the kernel lets the connect wait. */
START_TEST(net_connect_gives_up_after_its_deadline)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct net_connect_req req;
	uint64_t began;
	struct world w;
	int fd, filler[4];

	world_open(&w, _i == 0 ? 0 : URING_KERNEL_RING);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", w.folder);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	for (int i = 0; i < 4; i++) {
		filler[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(filler[i], (struct sockaddr *)&un, sizeof(un));
	}
	snprintf(req.address, sizeof(req.address), "unix:%s", un.sun_path);
	completion_arm(&req.done, &w.op, CONNECT);
	began = clock_now(w.env->clock).v;
	net_connect(w.env->net, &req);
	world_wait(&w, CONNECT);
	ck_assert_int_eq(req.done.rc, -ERR_TIMEOUT);
	ck_assert_uint_ge(clock_now(w.env->clock).v - began, 5 * SEC_NS);
	ck_assert_uint_lt(clock_now(w.env->clock).v - began, 6 * SEC_NS);
	for (int i = 0; i < 4; i++)
		close(filler[i]);
	close(fd);
	world_close(&w);
}
END_TEST

/* The loop goes away with connects under way, one of them looking up a name. */
START_TEST(net_loop_closes_over_unfinished_connects)
{
	struct net_connect_req *c = calloc(2, sizeof(*c));
	struct world w;

	world_open(&w, masks[_i]);
	snprintf(c[0].address, sizeof(c[0].address), "192.0.2.1:9"); /* TEST-NET: nobody */
	snprintf(c[1].address, sizeof(c[1].address), "no.such.host.invalid:1");
	completion_arm(&c[0].done, &w.op, CONNECT);
	completion_arm(&c[1].done, &w.op, SEND);
	net_connect(w.env->net, &c[0]);
	net_connect(w.env->net, &c[1]);
	ck_assert_int_eq(uring_loop_turn(w.loop, 0), 0);
	free(c);
	world_close(&w);
}
END_TEST

START_TEST(address_texts_are_read_or_refused)
{
	static const struct {
		const char *text;
		int rc;
		bool loopback;
		const char *host;
		uint16_t port;
	} cases[] = {
		{"unix:/run/x", 0, true, "/run/x", 0},
		{"tcp:10.0.0.1:80", 0, false, "10.0.0.1", 80},
		{"127.3.4.5:80", 0, true, "127.3.4.5", 80},
		{"localhost:1", 0, true, "localhost", 1},
		{"[::1]:65535", 0, true, "::1", 65535},
		{"[2001:db8::1]:1", 0, false, "2001:db8::1", 1},
		{"host.example:7780", 0, false, "host.example", 7780},
		{"0.0.0.0:1", 0, false, "0.0.0.0", 1},
		{"unix:relative", -ERR_INVALID, false, NULL, 0},
		{"unix:", -ERR_INVALID, false, NULL, 0},
		{"host", -ERR_INVALID, false, NULL, 0},
		{"host:", -ERR_INVALID, false, NULL, 0},
		{":80", -ERR_INVALID, false, NULL, 0},
		{"host:65536", -ERR_INVALID, false, NULL, 0},
		{"host:8x", -ERR_INVALID, false, NULL, 0},
		{"::1:80", -ERR_INVALID, false, NULL, 0},
		{"ho st:80", -ERR_INVALID, false, NULL, 0},
		{"", -ERR_INVALID, false, NULL, 0},
	};

	for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct address a;

		ck_assert_msg(address_parse(cases[i].text, &a) == cases[i].rc, "%s", cases[i].text);
		if (cases[i].rc < 0)
			continue;
		ck_assert_str_eq(a.host, cases[i].host);
		ck_assert_uint_eq(a.port, cases[i].port);
		ck_assert_msg(address_is_loopback(&a) == cases[i].loopback, "%s", cases[i].text);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, net_bytes_arrive_in_order_also_after_short_sends, 0, PORT_CASES);
	tcase_add_loop_test(tc, net_one_buffer_is_sent_and_scattered_to_two, 0, PORT_CASES);
	tcase_add_loop_test(tc, net_end_of_stream_is_zero_and_peer_closed_tells_it_before, 0,
			    PORT_CASES);
	tcase_add_loop_test(tc, net_shutdown_ends_requests_in_flight, 0, PORT_CASES);
	tcase_add_loop_test(tc, net_send_to_a_broken_stream_is_closed, 0, PORT_CASES);
	tcase_add_loop_test(tc, net_unlisten_cancels_the_pending_accept, 0, PORT_CASES);
	tcase_add_test(tc, net_unix_socket_that_is_stale_is_replaced_and_a_live_one_is_not);
	tcase_add_loop_test(tc, net_connect_says_unreachable_when_nobody_listens, 0, MASKS);
	tcase_add_loop_test(tc, net_connect_resolves_a_name, 0, MASKS);
	tcase_add_loop_test(tc, net_connect_gives_up_after_its_deadline, 0, 2);
	tcase_add_loop_test(tc, net_loop_closes_over_unfinished_connects, 0, MASKS);
	tcase_add_test(tc, address_texts_are_read_or_refused);
}

int main(void)
{
	return run_case("uring-net", add);
}
