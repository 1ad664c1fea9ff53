/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/volume/volume_bench.c: see volume_bench.h. */
#include "tests/unit/volume/volume_bench.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/quorum/member.h"

static void nothing_step(struct op *op)
{
	(void)op;
}

struct vb *vb_open(uint64_t seed, uint64_t store_bytes)
{
	const struct store_format_opts fo = {.uuid = {.b = {1}}, .journal_percent = 25};
	struct vb *b = calloc(1, sizeof(*b));
	struct fake_wait w;

	ck_assert_ptr_nonnull(b);
	b->f = fake_open(seed, store_bytes);
	b->authority_disk = sim_disk_new(b->f->node, "authority", MEMBER_FILE_BYTES);
	store_format(b->f->env, b->f->disk, &fo, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	vb_boot(b);
	return b;
}

void vb_boot(struct vb *b)
{
	static const struct conductor_site sites[] = {{1, "east"}};
	const struct authority_alone_opts ao = {.site_name = "east", .format = true};
	const struct store_opts so = {.memory_bytes = 16u << 20};
	struct conductor_opts co = {.site = 1,
				    .sites = sites,
				    .site_count = 1,
				    .groups_max = 4,
				    .timers = {.ping_ms = 100,
					       .drop_ms = 600,
					       .lease_ms = 800,
					       .grace_ms = 880,
					       .hold_down_ms = 1000,
					       .suspend_max_ms = 8000}};
	struct fake_wait w;

	store_open(b->f->env, b->f->disk, &so, &b->store, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	ck_assert_int_eq(
		authority_alone_open(b->f->env, &b->authority_disk->disk, &ao, &b->authority), 0);
	co.store = b->store;
	co.authority = b->authority;
	ck_assert_int_eq(conductor_open(b->f->env, &co, &b->c), 0);
	conductor_start(b->c, NULL);
	fake_run_for(b->f, 2 * SEC_NS);
}

void vb_stop(struct vb *b)
{
	conductor_stop(b->c, fake_arm(b->f, &b->stop));
}

void vb_shut(struct vb *b)
{
	struct fake_wait w;

	vb_stop(b);
	ck_assert_int_eq(fake_wait(b->f, &b->stop), 0);
	conductor_close(&b->c);
	authority_stop(b->authority, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	store_close(&b->store, fake_arm(b->f, &w));
	ck_assert_int_eq(fake_wait(b->f, &w), 0);
	authority_close(&b->authority);
}

void vb_crash(struct vb *b)
{
	fake_crash(b->f); /* first: what is in flight may lie in what the rooms free */
	conductor_abandon(&b->c);
	authority_discard(&b->authority);
	store_abandon(&b->store);
	fake_boot(b->f);
}

void vb_close(struct vb **bp)
{
	struct vb *b = *bp;

	*bp = NULL;
	fake_close(&b->f);
	free(b);
}

int vb_request(struct vb *b, struct conductor_request *r)
{
	struct fake_wait w;

	fake_arm_on(b->f->env, &w, &r->done);
	conductor_submit(b->c, r);
	return fake_wait(b->f, &w);
}

int vb_group(struct vb *b, enum request_kind kind, const char *group, bool force)
{
	struct conductor_request r = {.kind = kind, .force = force};

	snprintf(r.group.name, sizeof(r.group.name), "%s", group);
	return vb_request(b, &r);
}

int vb_volume(struct vb *b, enum request_kind kind, const char *name, uint64_t bytes,
	      uint32_t block_bytes)
{
	struct conductor_request r = {.kind = kind,
				      .volume = {.bytes = bytes, .block_bytes = block_bytes}};
	const char *slash = strchr(name, '/');

	snprintf(r.volume.group, sizeof(r.volume.group), "%.*s", (int)(slash - name), name);
	snprintf(r.volume.name, sizeof(r.volume.name), "%s", slash + 1);
	return vb_request(b, &r);
}

void vb_make(struct vb *b, uint64_t bytes)
{
	ck_assert_int_eq(vb_group(b, REQUEST_GROUP_CREATE, "g", false), 0);
	ck_assert_int_eq(vb_volume(b, REQUEST_VOLUME_CREATE, "g/v", bytes, 512), 0);
}

int vb_attach(struct vb *b, const char *name, struct vb_client *c)
{
	struct volume *v;
	char message[256];
	int rc = volume_find(b->c, name, (uint32_t)strlen(name), &v, message, sizeof(message));

	if (rc < 0)
		return rc;
	memset(c, 0, sizeof(*c));
	op_init(&c->op, b->f->env->ready, nothing_step);
	completion_arm(&c->client.revoked, &c->op, 1);
	rc = volume_attach(v, &c->client);
	if (rc < 0)
		completion_fire(&c->client.revoked, rc);
	return rc;
}

void vb_detach(struct vb_client *c)
{
	volume_detach(&c->client);
	op_unqueue(&c->op);
}

bool vb_revoked(const struct vb_client *c)
{
	return !completion_armed(&c->client.revoked);
}

void vb_submit(struct vb *b, struct vb_client *c, struct vb_io *x, enum volume_io_kind kind,
	       uint64_t off, uint64_t bytes, uint32_t flags, const uint8_t *data)
{
	uint64_t room = off % BLOCK_BYTES + bytes;

	memset(x, 0, sizeof(*x));
	x->io.kind = kind;
	x->io.off = off;
	x->io.bytes = bytes;
	x->io.flags = flags;
	if (kind == VOLUME_READ || kind == VOLUME_WRITE) {
		x->io.buf = buf_take(b->f->env->bufs, (uint32_t)((room + BLOCK_BYTES - 1) /
								 BLOCK_BYTES * BLOCK_BYTES));
		ck_assert_ptr_nonnull(x->io.buf);
		memset(x->io.buf->data, 0xee, x->io.buf->bytes);
		if (kind == VOLUME_WRITE)
			memcpy(x->io.buf->data + off % BLOCK_BYTES, data, bytes);
	}
	fake_arm_on(b->f->env, &x->wait, &x->io.done);
	volume_submit(&c->client, &x->io);
}

bool vb_io_done(const struct vb_io *x)
{
	return fake_fired(&x->wait);
}

int vb_io_end(struct vb *b, struct vb_io *x, uint8_t *data)
{
	int rc = fake_wait(b->f, &x->wait);

	if (x->io.kind == VOLUME_READ && rc == 0 && data != NULL)
		memcpy(data, x->io.buf->data + x->io.off % BLOCK_BYTES, x->io.bytes);
	buf_unref(&x->io.buf);
	return rc;
}

int vb_io(struct vb *b, struct vb_client *c, enum volume_io_kind kind, uint64_t off, uint64_t bytes,
	  uint8_t *data)
{
	struct vb_io x;

	vb_submit(b, c, &x, kind, off, bytes, 0, data);
	return vb_io_end(b, &x, data);
}
