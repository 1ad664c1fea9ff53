/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/quorum/fsm.c
 * Purpose.     The replicated state machine: who is primary of which group, in which epoch
 *              (QUORUM 4.1, 4.2).  Compare-and-set only; pure; the same on every member.
 * Invariants.  F1  isr is never empty and holds sync sites of the group only.
 *              F2  Whoever is granted an epoch is in isr (I3); a site leaves isr only by DROP or by
 *                  another's CLAIM or FORCE; the primary itself never by DROP.
 *              F3  cfg grows by 1 with each applied command of a group; epoch by 1 with each change
 *                  of primary or incarnation; neither ever goes back.
 *              F4  Groups are sorted by uuid; names are unique.
 *              F5  A uuid that was deleted recently is not created again (late retries).
 *              F6  A command that is refused changes nothing.
 * Limits.      VG_COUNT_MAX groups, VG_NODE_MAX nodes, DELETED_MAX remembered deletions.
 */
#include "engine/quorum/fsm.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/quorum/fsm_state.h"

static void make_room(struct fsm *f);
static int check_create(const struct fsm *f, const struct vg_cmd *cmd);
static int check_sites(const struct vg_cmd *cmd);
static int check_config(const struct vg_view *v, const struct vg_cmd *cmd);
static int check_node(const struct fsm *f, const struct vg_cmd *cmd);
static int check_change(const struct vg_view *v, const struct vg_cmd *cmd);
static bool config_valid(const struct vg_config *c);
static bool name_valid(const char *name);
static void apply_create(struct fsm *f, const struct vg_cmd *cmd);
static void apply_delete(struct fsm *f, uint32_t index);
static void apply_node(struct fsm *f, const struct vg_cmd *cmd);
static void apply_change(struct fsm *f, struct vg_view *v, const struct vg_cmd *cmd);
static void new_epoch(struct vg_view *v, uint32_t site, uint64_t incarnation);
static void set_sites(struct fsm *f, struct vg_view *v, const struct vg_cmd *cmd);
static uint32_t lower_bound(const struct fsm *f, const struct uuid *vg);

int fsm_open(struct fsm **ret_f)
{
	struct fsm *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -ERR_NOMEM;
	*ret_f = f;
	return 0;
}

void fsm_close(struct fsm **f)
{
	if (*f == NULL)
		return;
	free((*f)->vg);
	free(*f);
	*f = NULL;
}

void fsm_reset(struct fsm *f)
{
	free(f->vg);
	memset(f, 0, sizeof(*f));
}

uint32_t fsm_count(const struct fsm *f)
{
	return f->count;
}

const struct vg_view *fsm_at(const struct fsm *f, uint32_t index)
{
	return index < f->count ? &f->vg[index] : NULL;
}

const struct vg_view *fsm_find(const struct fsm *f, const struct uuid *vg)
{
	uint32_t i = lower_bound(f, vg);

	return i < f->count && uuid_equal(&f->vg[i].vg, vg) ? &f->vg[i] : NULL;
}

const struct vg_view *fsm_find_name(const struct fsm *f, const char *name)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (strcmp(f->vg[i].name, name) == 0)
			return &f->vg[i];
	return NULL;
}

uint32_t fsm_node_count(const struct fsm *f)
{
	return f->node_count;
}

uint32_t fsm_node_at(const struct fsm *f, uint32_t index, uint64_t *ret_boot)
{
	assert(index < f->node_count);
	*ret_boot = f->node[index].boot;
	return f->node[index].site;
}

uint64_t fsm_node_boot(const struct fsm *f, uint32_t site)
{
	for (uint32_t i = 0; i < f->node_count; i++)
		if (f->node[i].site == site)
			return f->node[i].boot;
	return 0;
}

int fsm_check(const struct fsm *f, const struct vg_cmd *cmd)
{
	const struct vg_view *v;

	if (cmd->kind == VG_NODE)
		return check_node(f, cmd);
	if (cmd->kind == VG_CREATE)
		return check_create(f, cmd);
	v = fsm_find(f, &cmd->vg);
	if (v == NULL)
		return -ERR_NOT_FOUND;
	if (cmd->cfg != v->cfg)
		return -ERR_STALE;
	return check_change(v, cmd);
}

int fsm_apply(struct fsm *f, const struct vg_cmd *cmd, struct vg_view *ret_changed)
{
	int rc = fsm_check(f, cmd);
	uint32_t i;

	if (rc < 0)
		return rc; /* F6 */
	if (cmd->kind == VG_NODE) {
		apply_node(f, cmd);
		return 0;
	}
	if (cmd->kind == VG_CREATE) {
		make_room(f);
		apply_create(f, cmd);
	}
	i = lower_bound(f, &cmd->vg);
	assert(i < f->count && uuid_equal(&f->vg[i].vg, &cmd->vg));
	if (cmd->kind == VG_DELETE) {
		if (ret_changed != NULL) {
			*ret_changed = f->vg[i];
			ret_changed->cfg++;
			ret_changed->flags |= VG_FLAG_DELETED;
		}
		apply_delete(f, i);
		return 0;
	}
	if (cmd->kind != VG_CREATE)
		apply_change(f, &f->vg[i], cmd);
	assert(f->vg[i].isr != 0);			/* F1 */
	assert(vg_in_isr(&f->vg[i], f->vg[i].primary)); /* F2 */
	if (ret_changed != NULL)
		*ret_changed = f->vg[i];
	return 0;
}

int fsm_mirror_view(struct fsm *f, const struct vg_view *v)
{
	uint32_t i = lower_bound(f, &v->vg);
	bool known = i < f->count && uuid_equal(&f->vg[i].vg, &v->vg);

	if ((v->flags & VG_FLAG_DELETED) != 0) {
		if (known)
			apply_delete(f, i);
		return 0;
	}
	if (!known) {
		if (f->count == VG_COUNT_MAX)
			return -ERR_FULL;
		make_room(f);
		memmove(&f->vg[i + 1], &f->vg[i], (f->count - i) * sizeof(f->vg[0]));
		f->count++;
	}
	f->vg[i] = *v;
	return 0;
}

void fsm_mirror_boot(struct fsm *f, uint32_t site, uint64_t boot)
{
	struct vg_cmd cmd = {.kind = VG_NODE, .site = site, .incarnation = boot};

	if (check_node(f, &cmd) == 0)
		apply_node(f, &cmd);
}

static void make_room(struct fsm *f)
{
	uint32_t want = f->capacity == 0 ? 16 : f->capacity * 2;
	struct vg_view *grown;

	if (f->count < f->capacity)
		return;
	grown = realloc(f->vg, want * sizeof(*grown));
	assert(grown != NULL); /* members must not diverge by memory: stop here */
	f->vg = grown;
	f->capacity = want;
}

/* ---- conditions ---- */

static int check_change(const struct vg_view *v, const struct vg_cmd *cmd)
{
	int x = vg_site_index(v, cmd->site);
	bool in_isr = x >= 0 && (v->isr >> x & 1u) != 0;

	switch (cmd->kind) {
	case VG_CLAIM:
		return cmd->incarnation == 0 ? -ERR_INVALID : in_isr ? 0 : -ERR_REFUSED;
	case VG_DROP:
		if (cmd->from != v->primary || cmd->site == v->primary)
			return -ERR_REFUSED; /* F2 */
		return in_isr ? 0 : -ERR_REFUSED;
	case VG_ADD:
		if (cmd->from != v->primary || x < 0 || in_isr || v->site[x].mode != VG_SITE_SYNC)
			return -ERR_REFUSED;
		return uuid_is_nil(&cmd->replica) || !uuid_equal(&cmd->replica, &v->site[x].replica)
			       ? -ERR_REFUSED
			       : 0;
	case VG_SWITCH:
		if (cmd->incarnation == 0)
			return -ERR_INVALID;
		return cmd->from == v->primary && in_isr && cmd->site != v->primary ? 0
										    : -ERR_REFUSED;
	case VG_TOUCH:
		return 0;
	case VG_FORCE:
		if (cmd->incarnation == 0 || x < 0)
			return -ERR_INVALID;
		return in_isr ? -ERR_REFUSED : 0;
	case VG_DISK:
		if (cmd->from != v->primary || x < 0 || in_isr || uuid_is_nil(&cmd->replica))
			return -ERR_REFUSED;
		return 0;
	case VG_CONFIG:
		return check_config(v, cmd);
	case VG_DELETE:
		return cmd->from == v->primary ? 0 : -ERR_REFUSED;
	case VG_CREATE:
	case VG_NODE:
		break;
	}
	return -ERR_INVALID;
}

static int check_create(const struct fsm *f, const struct vg_cmd *cmd)
{
	const struct vg_site *first = NULL;
	int rc = check_sites(cmd);

	if (rc < 0)
		return rc;
	if (uuid_is_nil(&cmd->vg) || !name_valid(cmd->name))
		return -ERR_INVALID;
	for (uint32_t i = 0; i < cmd->site_count; i++)
		if (cmd->sites[i].id == cmd->site)
			first = &cmd->sites[i];
	if (first == NULL)
		return -ERR_INVALID;
	if (fsm_find(f, &cmd->vg) != NULL || fsm_find_name(f, cmd->name) != NULL)
		return -ERR_EXISTS; /* F4 */
	if (fsm_was_deleted(f, &cmd->vg))
		return -ERR_STALE; /* F5 */
	return f->count == VG_COUNT_MAX ? -ERR_FULL : 0;
}

/* The sites and options of CREATE and CONFIG, by themselves. */
static int check_sites(const struct vg_cmd *cmd)
{
	if (cmd->site_count == 0 || cmd->site_count > SITES_MAX || !config_valid(&cmd->config))
		return -ERR_INVALID;
	for (uint32_t i = 0; i < cmd->site_count; i++) {
		if (cmd->sites[i].id == 0 || cmd->sites[i].mode > VG_SITE_SNAPSHOT)
			return -ERR_INVALID;
		for (uint32_t j = 0; j < i; j++)
			if (cmd->sites[j].id == cmd->sites[i].id)
				return -ERR_INVALID;
		/* The first site of a group is its primary: it is sync by nature. */
		if (cmd->kind == VG_CREATE && cmd->sites[i].id == cmd->site &&
		    cmd->sites[i].mode != VG_SITE_SYNC)
			return -ERR_INVALID;
	}
	return 0;
}

static int check_config(const struct vg_view *v, const struct vg_cmd *cmd)
{
	int rc = check_sites(cmd);

	if (rc < 0)
		return rc;
	if (cmd->from != v->primary)
		return -ERR_REFUSED;
	for (uint32_t i = 0; i < v->site_count; i++) { /* F1, F2: isr members stay, and stay sync */
		bool kept = false;

		for (uint32_t j = 0; j < cmd->site_count; j++)
			if (cmd->sites[j].id == v->site[i].id && cmd->sites[j].mode == VG_SITE_SYNC)
				kept = true;
		if ((v->isr >> i & 1u) != 0 && !kept)
			return -ERR_IN_USE;
	}
	return 0;
}

static int check_node(const struct fsm *f, const struct vg_cmd *cmd)
{
	uint64_t boot = fsm_node_boot(f, cmd->site);

	if (cmd->site == 0 || cmd->incarnation == 0)
		return -ERR_INVALID;
	if (cmd->incarnation <= boot)
		return -ERR_STALE;
	return boot == 0 && f->node_count == VG_NODE_MAX ? -ERR_FULL : 0;
}

static bool config_valid(const struct vg_config *c)
{
	return c->ack <= VG_ACK_RECEIVED && c->on_peer_loss <= VG_PEER_LOSS_STOP &&
	       c->min_isr >= 1 && c->min_isr <= SITES_MAX && c->solo <= VG_SOLO_LEASE &&
	       c->strict_reads <= 1 && c->on_full <= VG_FULL_STOP;
}

static bool name_valid(const char *name)
{
	const char *end = memchr(name, 0, NAME_BYTES_MAX + 1);

	if (end == NULL || end == name)
		return false;
	for (const char *p = name; p < end; p++) {
		bool alnum = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9');

		if (!alnum && (p == name || (*p != '.' && *p != '_' && *p != '-')))
			return false;
	}
	return true;
}

/* ---- effects ---- */

static void apply_create(struct fsm *f, const struct vg_cmd *cmd)
{
	uint32_t at = lower_bound(f, &cmd->vg);
	struct vg_view *v = &f->vg[at];
	int first;

	memmove(v + 1, v, (f->count - at) * sizeof(*v));
	f->count++;
	memset(v, 0, sizeof(*v));
	v->vg = cmd->vg;
	memcpy(v->name, cmd->name, strlen(cmd->name));
	v->cfg = 1;
	v->content_generation = 1;
	v->config = cmd->config;
	set_sites(f, v, cmd);
	first = vg_site_index(v, cmd->site);
	assert(first >= 0);
	v->isr = 1u << first;
	v->primary = cmd->site;
	v->primary_incarnation = cmd->incarnation;
	v->epoch = 1;
}

static void apply_delete(struct fsm *f, uint32_t index)
{
	f->deleted[f->deleted_next] = f->vg[index].vg;
	f->deleted_next = (f->deleted_next + 1) % DELETED_MAX;
	f->count--;
	memmove(&f->vg[index], &f->vg[index + 1], (f->count - index) * sizeof(f->vg[0]));
}

static void apply_node(struct fsm *f, const struct vg_cmd *cmd)
{
	uint32_t i = 0;

	while (i < f->node_count && f->node[i].site != cmd->site)
		i++;
	if (i == f->node_count)
		f->node[f->node_count++].site = cmd->site;
	f->node[i].boot = cmd->incarnation;
	for (uint32_t g = 0; g < f->count; g++) {
		int x = vg_site_index(&f->vg[g], cmd->site);

		if (x >= 0)
			f->vg[g].site[x].boot = cmd->incarnation;
	}
}

static void apply_change(struct fsm *f, struct vg_view *v, const struct vg_cmd *cmd)
{
	int x = vg_site_index(v, cmd->site);

	v->cfg++; /* F3 */
	switch (cmd->kind) {
	case VG_CLAIM:
		v->isr = 1u << x;
		v->site[x].joined = cmd->cfg; /* its floor before it claimed (J10) */
		new_epoch(v, cmd->site, cmd->incarnation);
		if (cmd->raise_generation)
			v->content_generation++;
		break;
	case VG_DROP:
		v->isr &= ~(1u << x);
		break;
	case VG_ADD:
		v->isr |= 1u << x;
		v->site[x].joined = v->cfg;
		break;
	case VG_SWITCH:
		new_epoch(v, cmd->site, cmd->incarnation);
		break;
	case VG_FORCE:
		v->isr = 1u << x;
		v->site[x].joined = 0; /* an operator believes it */
		new_epoch(v, cmd->site, cmd->incarnation);
		/* A forced site is primary from now on: it can only be a sync one. */
		v->site[x].mode = VG_SITE_SYNC;
		v->last_forced_epoch = v->epoch;
		v->content_generation++;
		v->flags |= VG_FLAG_DATA_LOSS;
		break;
	case VG_DISK:
		v->site[x].replica = cmd->replica;
		break;
	case VG_CONFIG:
		v->config = cmd->config;
		set_sites(f, v, cmd);
		break;
	case VG_TOUCH:
		break;
	case VG_CREATE:
	case VG_DELETE:
	case VG_NODE:
		UNREACHABLE("applied elsewhere");
	}
}

static void new_epoch(struct vg_view *v, uint32_t site, uint64_t incarnation)
{
	v->epoch++; /* F3 */
	v->primary = site;
	v->primary_incarnation = incarnation;
}

/* Take the sites of cmd, in its order; isr and the replicas of sites that stay are kept. */
static void set_sites(struct fsm *f, struct vg_view *v, const struct vg_cmd *cmd)
{
	struct vg_view old = *v;

	memset(v->site, 0, sizeof(v->site));
	v->site_count = cmd->site_count;
	v->isr = 0;
	for (uint32_t i = 0; i < cmd->site_count; i++) {
		int was = vg_site_index(&old, cmd->sites[i].id);

		v->site[i].id = cmd->sites[i].id;
		v->site[i].mode = cmd->sites[i].mode;
		v->site[i].boot = fsm_node_boot(f, v->site[i].id);
		v->site[i].replica = was >= 0 ? old.site[was].replica : cmd->sites[i].replica;
		v->site[i].joined = was >= 0 ? old.site[was].joined : 0;
		if (was >= 0 && (old.isr >> was & 1u) != 0)
			v->isr |= 1u << i;
	}
}

bool fsm_was_deleted(const struct fsm *f, const struct uuid *vg)
{
	for (uint32_t i = 0; i < DELETED_MAX; i++)
		if (uuid_equal(&f->deleted[i], vg))
			return !uuid_is_nil(vg);
	return false;
}

static uint32_t lower_bound(const struct fsm *f, const struct uuid *vg)
{
	uint32_t low = 0, high = f->count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (uuid_compare(&f->vg[mid].vg, vg) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
