/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/nbd/raw_client.c: see raw_client.h. */
#include "tests/unit/nbd/raw_client.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

void raw_connect(struct raw_client *c, struct fake *f, struct env *env, const char *address)
{
	struct net_connect_req req = {0};
	struct fake_wait wait;

	c->fake = f;
	c->env = env;
	(void)snprintf(req.address, sizeof(req.address), "%s", address);
	fake_arm_on(env, &wait, &req.done);
	net_connect(env->net, &req);
	ck_assert_int_eq(fake_wait(f, &wait), 0);
	c->conn = req.conn;
}

void raw_close(struct raw_client *c)
{
	net_close(&c->conn);
}

int raw_send(struct raw_client *c, const void *data, uint32_t bytes)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
	struct net_io_req req = {.iov = &iov, .iov_count = 1};
	struct fake_wait wait;

	fake_arm_on(c->env, &wait, &req.done);
	net_send(c->conn, &req);
	return fake_wait(c->fake, &wait);
}

uint32_t raw_recv(struct raw_client *c, void *data, uint32_t bytes)
{
	uint32_t got = 0;

	while (got < bytes) {
		struct iovec iov = {.iov_base = (uint8_t *)data + got, .iov_len = bytes - got};
		struct net_io_req req = {.iov = &iov, .iov_count = 1};
		struct fake_wait wait;
		int rc;

		fake_arm_on(c->env, &wait, &req.done);
		net_recv(c->conn, &req);
		rc = fake_wait(c->fake, &wait);
		if (rc <= 0)
			break;
		got += (uint32_t)rc;
	}
	return got;
}

static void reader_recv(struct raw_reader *r)
{
	r->iov.iov_base = r->data + r->got;
	r->iov.iov_len = r->bytes - r->got;
	r->req.iov = &r->iov;
	r->req.iov_count = 1;
	completion_arm(&r->req.done, &r->op, 1);
	net_recv(r->client->conn, &r->req);
}

static void reader_step(struct op *op)
{
	struct raw_reader *r = container_of(op, struct raw_reader, op);

	if (op->waits != 0 || r->over)
		return;
	r->got += r->req.done.rc > 0 ? (uint32_t)r->req.done.rc : 0;
	r->over = r->req.done.rc <= 0 || r->got == r->bytes;
	if (!r->over)
		reader_recv(r);
}

void raw_reader_start(struct raw_reader *r, struct raw_client *c, void *data, uint32_t bytes)
{
	memset(r, 0, sizeof(*r));
	op_init(&r->op, c->env->ready, reader_step);
	r->client = c;
	r->data = data;
	r->bytes = bytes;
	reader_recv(r);
}

bool raw_at_end(struct raw_client *c)
{
	uint8_t byte;

	return raw_recv(c, &byte, 1) == 0;
}

void raw_greet(struct raw_client *c, uint32_t flags)
{
	uint8_t greeting[NBD_GREETING_BYTES];

	ck_assert_uint_eq(raw_recv(c, greeting, sizeof(greeting)), sizeof(greeting));
	ck_assert_mem_eq(greeting, "NBDMAGICIHAVEOPT\0\3", 18);
	flags = __builtin_bswap32(flags);
	ck_assert_int_eq(raw_send(c, &flags, 4), 0);
}

void raw_option(struct raw_client *c, uint32_t option, const void *data, uint32_t bytes)
{
	uint8_t header[NBD_OPTION_BYTES];
	struct cursor put;

	cursor_init(&put, header, sizeof(header));
	nbd_put_option(&put, option, bytes);
	ck_assert_int_eq(raw_send(c, header, sizeof(header)), 0);
	if (bytes > 0)
		ck_assert_int_eq(raw_send(c, data, bytes), 0);
}

uint32_t raw_rep(struct raw_client *c)
{
	uint8_t header[NBD_REP_BYTES], payload[8192];
	struct cursor get;
	uint32_t type, bytes;

	if (raw_recv(c, header, sizeof(header)) != sizeof(header))
		return RAW_EOF;
	cursor_init(&get, header, sizeof(header));
	ck_assert_uint_eq(get_u64_be(&get), NBD_REP_MAGIC);
	(void)get_u32_be(&get);
	type = get_u32_be(&get);
	bytes = get_u32_be(&get);
	ck_assert_uint_le(bytes, sizeof(payload));
	ck_assert_uint_eq(raw_recv(c, payload, bytes), bytes);
	return type;
}

uint32_t raw_go(struct raw_client *c, const char *name)
{
	uint8_t payload[256];
	struct cursor put;
	uint32_t type;

	raw_greet(c, 3);
	cursor_init(&put, payload, sizeof(payload));
	put_u32_be(&put, (uint32_t)strlen(name));
	put_bytes(&put, name, strlen(name));
	put_u16_be(&put, 0);
	raw_option(c, NBD_OPT_GO, payload, (uint32_t)(sizeof(payload) - cursor_left(&put)));
	do {
		type = raw_rep(c);
	} while (type == NBD_REP_INFO);
	return type;
}

int raw_request_flags(struct raw_client *c, uint16_t type, uint16_t flags, uint64_t cookie,
		      uint64_t offset, uint32_t length)
{
	struct nbd_request q = {flags, type, cookie, offset, length};
	uint8_t bytes[NBD_REQUEST_BYTES];

	nbd_put_request(bytes, &q);
	return raw_send(c, bytes, sizeof(bytes));
}

int raw_request(struct raw_client *c, uint16_t type, uint64_t cookie, uint64_t offset,
		uint32_t length)
{
	return raw_request_flags(c, type, 0, cookie, offset, length);
}

uint32_t raw_reply(struct raw_client *c, uint64_t *ret_cookie)
{
	uint8_t header[NBD_SIMPLE_REPLY_BYTES];
	struct cursor get;
	uint32_t error;

	if (raw_recv(c, header, sizeof(header)) != sizeof(header))
		return RAW_EOF;
	cursor_init(&get, header, sizeof(header));
	ck_assert_uint_eq(get_u32_be(&get), NBD_SIMPLE_REPLY_MAGIC);
	error = get_u32_be(&get);
	*ret_cookie = get_u64_be(&get);
	return error;
}
