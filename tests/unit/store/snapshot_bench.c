/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/snapshot_bench.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

#define LISTED_MAX 64u
#define PIECE 200u

struct uuid sb_uuid(uint32_t id)
{
	struct uuid u = {{0xaa}};

	memcpy(u.b + 8, &id, sizeof(id));
	return u;
}

static struct rb_record *last(struct rb *b, enum rb_snap snap, uint32_t id)
{
	struct rb_record *m = &b->records[b->count - 1];

	m->snap = snap;
	m->id = id;
	return m;
}

int sb_create_at(struct rb *b, uint32_t id, uint64_t at)
{
	struct record_snap s = {.op = RECORD_SNAP_CREATE, .uuid = sb_uuid(id), .at = {at}};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	int rc;

	snprintf(s.name, sizeof(s.name), "s%u", id);
	rc = rb_append_body(b, RECORD_SNAP, body, record_snap_encode(&s, body));
	if (rc == 0)
		last(b, RB_SNAP, id)->at = at;
	return rc;
}

int sb_create(struct rb *b, uint32_t id)
{
	return sb_create_at(b, id, 0);
}

int sb_delete(struct rb *b, uint32_t id)
{
	struct record_snap s = {.op = RECORD_SNAP_DELETE, .uuid = sb_uuid(id)};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	int rc = rb_append_body(b, RECORD_SNAP, body, record_snap_encode(&s, body));

	if (rc == 0)
		last(b, RB_DELETE, id);
	return rc;
}

static uint64_t lsn_of(const struct rb *b, uint32_t id)
{
	for (uint32_t i = 0; i < b->count; i++) {
		const struct rb_record *m = &b->records[i];

		if ((m->snap == RB_SNAP || m->snap == RB_RESTORE) && m->id == id)
			return m->at != 0 ? m->at : m->begin;
	}
	return UINT64_MAX;
}

int sb_restore(struct rb *b, uint32_t target, uint32_t kept)
{
	struct record_restore r = {
		.target = sb_uuid(target), .kept = sb_uuid(kept), .content_generation = kept};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	uint64_t from = lsn_of(b, target);
	int rc;

	snprintf(r.kept_name, sizeof(r.kept_name), "s%u", kept);
	rc = rb_append_body(b, RECORD_RESTORE, body, record_restore_encode(&r, body));
	if (rc == 0)
		last(b, RB_RESTORE, kept)->from = from;
	return rc;
}

/* As lists are: by LSN, of equal ones the older record first. */
static void by_lsn(const struct rb *b, uint32_t *ids, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		for (uint32_t k = i; k > 0 && lsn_of(b, ids[k - 1]) > lsn_of(b, ids[k]); k--) {
			uint32_t id = ids[k];

			ids[k] = ids[k - 1];
			ids[k - 1] = id;
		}
	}
}

uint32_t sb_listed(const struct rb *b, uint32_t *ret, uint32_t max)
{
	struct replica_status st;
	uint32_t n = 0;

	replica_status(b->r, &st);
	for (uint32_t i = 0; i < b->count && b->records[i].end <= st.commit.v; i++) {
		const struct rb_record *m = &b->records[i];

		if (m->snap == RB_SNAP || m->snap == RB_RESTORE) {
			ck_assert_uint_lt(n, max);
			ret[n++] = m->id;
		}
		for (uint32_t k = 0; m->snap == RB_DELETE && k < n; k++) {
			if (ret[k] != m->id)
				continue;
			memmove(ret + k, ret + k + 1, (n - k - 1) * sizeof(*ret));
			n--;
		}
	}
	by_lsn(b, ret, n);
	return n;
}

int sb_open(struct rb *b, uint32_t id, struct snapshot **ret)
{
	struct uuid uuid = sb_uuid(id);
	struct fake_wait wait;

	replica_snapshot_open(b->r, &uuid, ret, fake_arm(b->f, &wait));
	return fake_wait(b->f, &wait);
}

void sb_check_content(struct rb *b, struct snapshot *snap, uint64_t lsn)
{
	static uint8_t data[PIECE * BLOCK_BYTES] __attribute__((aligned(4096)));

	for (uint32_t v = 0; v < RB_VOLUMES; v++) {
		for (uint32_t at = 0; at < RB_BLOCKS; at += PIECE) {
			struct replica_read rd = {.volume = v, .block = at, .data = data};
			struct fake_wait wait;

			rd.count = PIECE < RB_BLOCKS - at ? PIECE : RB_BLOCKS - at;
			fake_arm_on(b->f->env, &wait, &rd.done);
			snapshot_read(snap, &rd);
			ck_assert_int_eq(fake_wait(b->f, &wait), 0);
			for (uint32_t i = 0; i < rd.count; i++)
				rb_check_block(b, data + i * BLOCK_BYTES, v, at + i, lsn);
		}
	}
}

void sb_check(struct rb *b)
{
	static struct snapshot_info infos[LISTED_MAX];
	uint32_t ids[LISTED_MAX], n = sb_listed(b, ids, LISTED_MAX);

	ck_assert_uint_eq(replica_snapshots(b->r, infos, LISTED_MAX), n);
	for (uint32_t i = 0; i < n; i++) {
		struct uuid uuid = sb_uuid(ids[i]);
		struct snapshot *snap;
		struct snapshot_info info;

		ck_assert(uuid_equal(&infos[i].uuid, &uuid));
		ck_assert_uint_eq(infos[i].lsn.v, lsn_of(b, ids[i]));
		ck_assert_int_eq(replica_snapshot_by_name(b->r, infos[i].name, &info), 0);
		ck_assert(uuid_equal(&info.uuid, &uuid));
		ck_assert_int_eq(sb_open(b, ids[i], &snap), 0);
		sb_check_content(b, snap, infos[i].lsn.v);
		replica_snapshot_close(&snap);
	}
}

struct rb *sb_clone(struct rb *b, uint32_t id, uint32_t number)
{
	struct rb *c = calloc(1, sizeof(*c));
	struct record_clone rc = {b->group, sb_uuid(id)};
	uint8_t body[RECORD_BODY_BYTES_MAX];
	struct fake_wait wait;

	c->random = b->random + number;
	c->first = number << 20;
	c->base = b;
	c->base_lsn = lsn_of(b, id);
	memset(c->group.b, (int)(number & 0x7f) + 16, sizeof(c->group.b));
	c->f = b->f;
	c->store = b->store;
	replica_create(b->store, &c->group, "clone", fake_arm(b->f, &wait));
	if (fake_wait(b->f, &wait) == 0) {
		c->r = replica_find(b->store, &c->group);
		if (rb_append_body(c, RECORD_CLONE, body, record_clone_encode(&rc, body)) == 0)
			return c;
	}
	free(c);
	return NULL;
}

int sb_clone_reopen(struct rb *c, struct rb *b)
{
	c->store = b->store;
	c->r = replica_find(b->store, &c->group);
	return c->r != NULL ? 0 : -ERR_NOT_FOUND;
}

void sb_clone_close(struct rb **c)
{
	free(*c);
	*c = NULL;
}
