/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/fsm_codec.c
 * Purpose.     Bytes of a batch of commands (a log entry) and of the whole state (a snapshot).
 *              Layout: proto/quorum.md.  Both are version-stamped: a member that meets a newer
 *              version must stop, it cannot apply what it does not know.
 * Invariants.  C1  decode(encode(x)) = x; equal states have equal bytes.
 *              C2  A state is loaded wholly checked (F1, F2, F4), or not at all.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/quorum/fsm.h"
#include "engine/quorum/fsm_state.h"
#include "proto/cursor.h"

#define BATCH_MAGIC 0x42435354u /* "TSCB" */
#define STATE_MAGIC 0x53465354u /* "TSFS" */
#define VIEW_MAGIC 0x57565354u	/* "TSVW" */
#define STATE_VERSION 2u	/* of a snapshot; 1: sites without `joined` */

static void put_config(struct cursor *c, const struct vg_config *k);
static void get_config(struct cursor *c, struct vg_config *k);
static void put_name(struct cursor *c, const char *name);
static bool get_name(struct cursor *c, char name[NAME_BYTES_MAX + 1]);
static void put_uuid(struct cursor *c, const struct uuid *u);
static void get_uuid(struct cursor *c, struct uuid *u);
static void put_cmd(struct cursor *c, const struct vg_cmd *cmd);
static bool get_cmd(struct cursor *c, struct vg_cmd *cmd);
static void put_view(struct cursor *c, const struct vg_view *v);
static bool get_view(struct cursor *c, struct vg_view *v, uint16_t version);
static bool view_valid(const struct vg_view *v, const struct vg_view *before);

int fsm_batch_encode(const struct vg_cmd *cmds, uint32_t n, void *data, uint32_t bytes)
{
	struct cursor c;

	assert(n >= 1 && n <= VG_BATCH_MAX);
	cursor_init(&c, data, bytes < FSM_BATCH_BYTES_MAX ? bytes : FSM_BATCH_BYTES_MAX);
	put_u32(&c, BATCH_MAGIC);
	put_u16(&c, VG_FSM_VERSION);
	put_u16(&c, (uint16_t)n);
	for (uint32_t i = 0; i < n; i++)
		put_cmd(&c, &cmds[i]);
	return cursor_ok(&c) ? (int)(c.at - (uint8_t *)data) : -ERR_TOO_BIG;
}

int fsm_batch_decode(const void *data, uint32_t bytes, struct vg_cmd cmds[VG_BATCH_MAX])
{
	uint16_t version, n;
	struct cursor c;

	cursor_init_read(&c, data, bytes);
	if (get_u32(&c) != BATCH_MAGIC)
		return -ERR_CORRUPT;
	version = get_u16(&c);
	n = get_u16(&c);
	if (cursor_ok(&c) && version > VG_FSM_VERSION)
		return -ERR_VERSION;
	if (version == 0 || n == 0 || n > VG_BATCH_MAX)
		return -ERR_CORRUPT;
	for (uint32_t i = 0; i < n; i++)
		if (!get_cmd(&c, &cmds[i]))
			return -ERR_CORRUPT;
	return cursor_ok(&c) && cursor_left(&c) == 0 ? (int)n : -ERR_CORRUPT;
}

int fsm_encode(const struct fsm *f, void *data, uint32_t bytes)
{
	struct cursor c;

	cursor_init(&c, data, bytes);
	put_u32(&c, STATE_MAGIC);
	put_u16(&c, STATE_VERSION);
	put_u16(&c, (uint16_t)f->node_count);
	put_u32(&c, f->count);
	put_u32(&c, f->deleted_next);
	for (uint32_t i = 0; i < f->node_count; i++) {
		put_u32(&c, f->node[i].site);
		put_u64(&c, f->node[i].boot);
	}
	for (uint32_t i = 0; i < DELETED_MAX; i++)
		put_uuid(&c, &f->deleted[i]);
	for (uint32_t i = 0; i < f->count; i++)
		put_view(&c, &f->vg[i]);
	return cursor_ok(&c) ? (int)(c.at - (uint8_t *)data) : -ERR_TOO_BIG;
}

int fsm_load(struct fsm *f, const void *data, uint32_t bytes)
{
	struct fsm fresh = {0};
	struct cursor c;
	uint16_t version;

	cursor_init_read(&c, data, bytes);
	if (get_u32(&c) != STATE_MAGIC)
		return -ERR_CORRUPT;
	version = get_u16(&c);
	fresh.node_count = get_u16(&c);
	fresh.count = get_u32(&c);
	fresh.deleted_next = get_u32(&c);
	if (cursor_ok(&c) && version > STATE_VERSION)
		return -ERR_VERSION;
	if (!cursor_ok(&c) || version == 0 || fresh.node_count > VG_NODE_MAX ||
	    fresh.count > VG_COUNT_MAX || fresh.deleted_next >= DELETED_MAX)
		return -ERR_CORRUPT;
	for (uint32_t i = 0; i < fresh.node_count; i++) {
		fresh.node[i].site = get_u32(&c);
		fresh.node[i].boot = get_u64(&c);
	}
	for (uint32_t i = 0; i < DELETED_MAX; i++)
		get_uuid(&c, &fresh.deleted[i]);
	fresh.capacity = fresh.count < 16 ? 16 : fresh.count;
	fresh.vg = calloc(fresh.capacity, sizeof(fresh.vg[0]));
	if (fresh.vg == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < fresh.count; i++)
		if (!get_view(&c, &fresh.vg[i], version) ||
		    !view_valid(&fresh.vg[i], i == 0 ? NULL : &fresh.vg[i - 1])) {
			free(fresh.vg);
			return -ERR_CORRUPT; /* C2 */
		}
	if (!cursor_ok(&c) || cursor_left(&c) != 0) {
		free(fresh.vg);
		return -ERR_CORRUPT;
	}
	free(f->vg);
	*f = fresh;
	return 0;
}

/* ---- one command ---- */

static void put_cmd(struct cursor *c, const struct vg_cmd *cmd)
{
	bool with_sites = cmd->kind == VG_CREATE || cmd->kind == VG_CONFIG;

	put_u8(c, (uint8_t)cmd->kind);
	put_u8(c, cmd->raise_generation ? 1 : 0);
	put_u16(c, with_sites ? (uint16_t)cmd->site_count : 0);
	put_u32(c, cmd->from);
	put_u32(c, cmd->site);
	put_uuid(c, &cmd->vg);
	put_u64(c, cmd->cfg);
	put_u64(c, cmd->incarnation);
	put_uuid(c, &cmd->replica);
	if (cmd->kind == VG_CREATE)
		put_name(c, cmd->name);
	if (!with_sites)
		return;
	put_config(c, &cmd->config);
	for (uint32_t i = 0; i < cmd->site_count && i < SITES_MAX; i++) {
		put_u32(c, cmd->sites[i].id);
		put_u8(c, cmd->sites[i].mode);
		put_uuid(c, &cmd->sites[i].replica);
	}
}

static bool get_cmd(struct cursor *c, struct vg_cmd *cmd)
{
	uint8_t kind, raise;

	memset(cmd, 0, sizeof(*cmd));
	kind = get_u8(c);
	raise = get_u8(c);
	cmd->site_count = get_u16(c);
	cmd->from = get_u32(c);
	cmd->site = get_u32(c);
	get_uuid(c, &cmd->vg);
	cmd->cfg = get_u64(c);
	cmd->incarnation = get_u64(c);
	get_uuid(c, &cmd->replica);
	if (!cursor_ok(c) || kind < VG_CLAIM || kind > VG_NODE || raise > 1 ||
	    cmd->site_count > SITES_MAX)
		return false;
	cmd->kind = (enum vg_cmd_kind)kind;
	cmd->raise_generation = raise != 0;
	if (cmd->kind == VG_CREATE && !get_name(c, cmd->name))
		return false;
	if (cmd->kind != VG_CREATE && cmd->kind != VG_CONFIG)
		return cmd->site_count == 0;
	get_config(c, &cmd->config);
	for (uint32_t i = 0; i < cmd->site_count; i++) {
		cmd->sites[i].id = get_u32(c);
		cmd->sites[i].mode = get_u8(c);
		get_uuid(c, &cmd->sites[i].replica);
	}
	return cursor_ok(c);
}

/* ---- one group ---- */

static void put_view(struct cursor *c, const struct vg_view *v)
{
	put_uuid(c, &v->vg);
	put_name(c, v->name);
	put_u64(c, v->cfg);
	put_u64(c, v->epoch);
	put_u64(c, v->primary_incarnation);
	put_u64(c, v->last_forced_epoch);
	put_u64(c, v->content_generation);
	put_u32(c, v->primary);
	put_u32(c, v->isr);
	put_u32(c, v->flags);
	put_u32(c, v->site_count);
	put_config(c, &v->config);
	for (uint32_t i = 0; i < v->site_count; i++) {
		put_u32(c, v->site[i].id);
		put_u8(c, v->site[i].mode);
		put_u64(c, v->site[i].boot);
		put_uuid(c, &v->site[i].replica);
		put_u64(c, v->site[i].joined);
	}
}

static bool get_view(struct cursor *c, struct vg_view *v, uint16_t version)
{
	memset(v, 0, sizeof(*v));
	get_uuid(c, &v->vg);
	if (!get_name(c, v->name))
		return false;
	v->cfg = get_u64(c);
	v->epoch = get_u64(c);
	v->primary_incarnation = get_u64(c);
	v->last_forced_epoch = get_u64(c);
	v->content_generation = get_u64(c);
	v->primary = get_u32(c);
	v->isr = get_u32(c);
	v->flags = get_u32(c);
	v->site_count = get_u32(c);
	get_config(c, &v->config);
	if (!cursor_ok(c) || v->site_count == 0 || v->site_count > SITES_MAX)
		return false;
	for (uint32_t i = 0; i < v->site_count; i++) {
		v->site[i].id = get_u32(c);
		v->site[i].mode = get_u8(c);
		v->site[i].boot = get_u64(c);
		get_uuid(c, &v->site[i].replica);
		v->site[i].joined = version >= 2 ? get_u64(c) : 0;
	}
	return cursor_ok(c);
}

/* Numbers become bits of masks; what a peer tells may be anything. */
static bool sites_valid(const struct vg_view *v)
{
	for (uint32_t i = 0; i < v->site_count; i++) {
		if (v->site[i].id == 0 || v->site[i].id >= 32 || v->site[i].mode > VG_SITE_SNAPSHOT)
			return false;
		for (uint32_t k = 0; k < i; k++)
			if (v->site[k].id == v->site[i].id)
				return false;
	}
	return true;
}

int fsm_view_encode(const struct vg_view *v, uint8_t out[FSM_VIEW_BYTES_MAX])
{
	bool deleted = (v->flags & VG_FLAG_DELETED) != 0;
	struct cursor c;

	cursor_init(&c, out, FSM_VIEW_BYTES_MAX);
	put_u32(&c, VIEW_MAGIC);
	put_u16(&c, STATE_VERSION);
	put_u16(&c, deleted ? 1 : 0);
	if (deleted)
		put_uuid(&c, &v->vg);
	else
		put_view(&c, v);
	assert(cursor_ok(&c));
	return (int)(c.at - out);
}

int fsm_view_decode(const void *data, uint32_t bytes, struct vg_view *ret)
{
	uint16_t version, deleted;
	struct cursor c;
	struct vg_view v = {.flags = VG_FLAG_DELETED};

	cursor_init_read(&c, data, bytes);
	if (get_u32(&c) != VIEW_MAGIC)
		return -ERR_CORRUPT;
	version = get_u16(&c);
	deleted = get_u16(&c);
	if (cursor_ok(&c) && version > STATE_VERSION)
		return -ERR_VERSION;
	if (version < 2 || deleted > 1)
		return -ERR_CORRUPT;
	if (deleted != 0)
		get_uuid(&c, &v.vg);
	else if (!get_view(&c, &v, version) || !view_valid(&v, NULL) || !sites_valid(&v))
		return -ERR_CORRUPT;
	if (!cursor_ok(&c) || cursor_left(&c) != 0)
		return -ERR_CORRUPT;
	*ret = v;
	return 0;
}

/* C2: what fsm.c asserts of every group it changes. */
static bool view_valid(const struct vg_view *v, const struct vg_view *before)
{
	if (v->isr == 0 || v->isr >> v->site_count != 0 || !vg_in_isr(v, v->primary))
		return false;
	if (v->cfg == 0 || v->epoch == 0 || (v->flags & VG_FLAG_DELETED) != 0)
		return false;
	for (uint32_t i = 0; i < v->site_count; i++)
		if ((v->isr >> i & 1u) != 0 && v->site[i].mode != VG_SITE_SYNC)
			return false;
	return before == NULL || uuid_compare(&before->vg, &v->vg) < 0;
}

/* ---- parts ---- */

static void put_uuid(struct cursor *c, const struct uuid *u)
{
	put_bytes(c, u->b, sizeof(u->b));
}

static void get_uuid(struct cursor *c, struct uuid *u)
{
	get_bytes(c, u->b, sizeof(u->b));
}

static void put_name(struct cursor *c, const char *name)
{
	size_t bytes = strnlen(name, NAME_BYTES_MAX);

	put_u8(c, (uint8_t)bytes);
	put_bytes(c, name, bytes);
}

static bool get_name(struct cursor *c, char name[NAME_BYTES_MAX + 1])
{
	uint8_t bytes = get_u8(c);

	memset(name, 0, NAME_BYTES_MAX + 1);
	if (bytes == 0 || bytes > NAME_BYTES_MAX)
		return false;
	get_bytes(c, name, bytes);
	return cursor_ok(c) && memchr(name, 0, bytes) == NULL;
}

static void put_config(struct cursor *c, const struct vg_config *k)
{
	put_u8(c, k->ack);
	put_u8(c, k->on_peer_loss);
	put_u8(c, k->min_isr);
	put_u8(c, k->solo);
	put_u8(c, k->strict_reads);
	put_u8(c, k->on_full);
	put_u16(c, k->branch_keep_h);
	put_u32(c, k->suspend_max_ms);
	put_u32(c, k->history_s);
	put_u64(c, k->history_bytes);
}

static void get_config(struct cursor *c, struct vg_config *k)
{
	k->ack = get_u8(c);
	k->on_peer_loss = get_u8(c);
	k->min_isr = get_u8(c);
	k->solo = get_u8(c);
	k->strict_reads = get_u8(c);
	k->on_full = get_u8(c);
	k->branch_keep_h = get_u16(c);
	k->suspend_max_ms = get_u32(c);
	k->history_s = get_u32(c);
	k->history_bytes = get_u64(c);
}
