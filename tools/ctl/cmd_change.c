/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_change.c
 * Purpose.     The commands that change groups and volumes.
 */
#include <string.h>

#include "engine/base/size.h"
#include "tools/ctl/client.h"
#include "tools/ctl/ctl.h"

/* A copy that protobuf-c may point to. */
static char *keep(char *to, size_t bytes, const char *text)
{
	snprintf(to, bytes, "%s", text == NULL ? "" : text);
	return to;
}

/* `text` is one of two words: 0 and which, or CTL_USAGE. */
static int one_of(const struct ctl *ctl, const char *option, const char *text, const char *first,
		  const char *second, bool *ret_second)
{
	*ret_second = strcmp(text, second) == 0;
	if (*ret_second || strcmp(text, first) == 0)
		return 0;
	return ctl_usage(ctl, "option %s is %s or %s, not '%.40s'", option, first, second, text);
}

/* What group create and group set have in common. */
struct policy {
	const char *ack, *on_peer_loss, *on_full, *min_isr;
	bool received, stop, full_stop;
	uint64_t min;
};

static int policy_check(const struct ctl *ctl, struct policy *p)
{
	int rc = 0;

	if (p->ack != NULL)
		rc = one_of(ctl, "--ack", p->ack, "journaled", "received", &p->received);
	if (rc == 0 && p->on_peer_loss != NULL)
		rc = one_of(ctl, "--on-peer-loss", p->on_peer_loss, "continue", "stop", &p->stop);
	if (rc == 0 && p->on_full != NULL)
		rc = one_of(ctl, "--on-full", p->on_full, "enospc", "stop", &p->full_stop);
	if (rc == 0 && p->min_isr != NULL &&
	    (number_parse(p->min_isr, &p->min) < 0 || p->min < 1 || p->min > 2))
		rc = ctl_usage(ctl, "option --min-isr is 1 or 2, not '%.40s'", p->min_isr);
	return rc;
}

static int site_check(const struct ctl *ctl, const char *site)
{
	if (site == NULL || site_name_is_valid(site))
		return 0;
	return ctl_usage(ctl, "'%.80s' is not a name of a site: 1 to 32 of a-z, 0-9 and '-'", site);
}

int cmd_group_create(struct ctl *ctl, int argc, char **argv)
{
	struct policy p = {0};
	const char *sync = NULL, *primary = NULL, *async = NULL, *mode = NULL, *name;
	bool snapshot = false;
	const struct opt opts[] = {{"--sync", &sync, NULL, false},
				   {"--primary", &primary, NULL, false},
				   {"--ack", &p.ack, NULL, false},
				   {"--on-peer-loss", &p.on_peer_loss, NULL, false},
				   {"--on-full", &p.on_full, NULL, false},
				   {"--min-isr", &p.min_isr, NULL, false},
				   {"--async", &async, NULL, false},
				   {"--mode", &mode, NULL, false},
				   {"--every", NULL, NULL, true},
				   {NULL, NULL, NULL, false}};
	char texts[4][NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__GroupCreate m = ADM__GROUP_CREATE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_name(ctl, "group", name)) != 0 ||
	    (rc = policy_check(ctl, &p)) != 0 || (rc = site_check(ctl, sync)) != 0 ||
	    (rc = site_check(ctl, primary)) != 0 || (rc = site_check(ctl, async)) != 0)
		return rc;
	if (mode != NULL && async == NULL)
		return ctl_usage(ctl, "option --mode is how --async SITE follows: name the site");
	if (mode != NULL &&
	    (rc = one_of(ctl, "--mode", mode, "stream", "snapshot", &snapshot)) != 0)
		return rc;
	m.name = keep(texts[0], sizeof(texts[0]), name);
	m.sync_site = keep(texts[1], sizeof(texts[1]), sync);
	m.primary_site = keep(texts[2], sizeof(texts[2]), primary);
	m.async_site = keep(texts[3], sizeof(texts[3]), async);
	m.mode_snapshot = snapshot;
	m.ack_received = p.received;
	m.on_peer_loss_stop = p.stop;
	m.on_full_stop = p.full_stop;
	m.min_isr = (uint32_t)p.min;
	request.command_case = ADM__REQUEST__COMMAND_GROUP_CREATE;
	request.group_create = &m;
	return client_change(ctl, &request, "group", name);
}

/* A time, a size or "off". */
static int history_check(const struct ctl *ctl, const char *text, Adm__GroupSet *m)
{
	uint64_t ns, bytes;

	m->set_history = true;
	if (strcmp(text, "off") == 0)
		return 0;
	if (duration_parse(text, &ns) == 0) {
		if (ns < SEC_NS || ns / SEC_NS > UINT32_MAX)
			return ctl_usage(ctl, "option --history is a second at least, not '%.40s'",
					 text);
		m->history_seconds = (uint32_t)(ns / SEC_NS);
		return 0;
	}
	if (size_parse(text, &bytes) < 0 || bytes == 0)
		return ctl_usage(ctl,
				 "option --history is a time like 1h, a size like 10GiB or 'off', "
				 "not '%.40s'",
				 text);
	m->history_bytes = bytes;
	return 0;
}

/* Whole hours, "off": for ever. */
static int branches_check(const struct ctl *ctl, const char *text, Adm__GroupSet *m)
{
	uint64_t ns, hour = 3600 * SEC_NS;

	if (text == NULL)
		return 0;
	m->set_branch_keep = true;
	m->branch_keep_hours = UINT16_MAX;
	if (strcmp(text, "off") == 0)
		return 0;
	if (duration_parse(text, &ns) < 0 || ns < hour || ns / hour >= UINT16_MAX)
		return ctl_usage(ctl,
				 "option --keep-branches is a time from 1h to 2730d, or 'off' "
				 "(for ever), not '%.40s'",
				 text);
	m->branch_keep_hours = (uint32_t)(ns / hour);
	return 0;
}

int cmd_group_set(struct ctl *ctl, int argc, char **argv)
{
	struct policy p = {0};
	const char *name, *history = NULL, *branches = NULL, *sync = NULL, *async = NULL,
			  *remove = NULL;
	const struct opt opts[] = {{"--ack", &p.ack, NULL, false},
				   {"--on-peer-loss", &p.on_peer_loss, NULL, false},
				   {"--on-full", &p.on_full, NULL, false},
				   {"--min-isr", &p.min_isr, NULL, false},
				   {"--history", &history, NULL, false},
				   {"--sync", &sync, NULL, false},
				   {"--async", &async, NULL, false},
				   {"--remove", &remove, NULL, false},
				   {"--solo", NULL, NULL, true},
				   {"--strict-reads", NULL, NULL, true},
				   {"--rpo", NULL, NULL, true},
				   {"--bandwidth", NULL, NULL, true},
				   {"--allow", NULL, NULL, true},
				   {"--keep-branches", &branches, NULL, false},
				   {"--suspend-max", NULL, NULL, true},
				   {"--space", &p.on_full, NULL, false},
				   {"--branch-keep", &branches, NULL, false},
				   {NULL, NULL, NULL, false}};
	char texts[4][NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__GroupSet m = ADM__GROUP_SET__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_name(ctl, "group", name)) != 0 ||
	    (rc = policy_check(ctl, &p)) != 0 || (rc = site_check(ctl, sync)) != 0 ||
	    (rc = site_check(ctl, async)) != 0 || (rc = site_check(ctl, remove)) != 0)
		return rc;
	if (history != NULL && (rc = history_check(ctl, history, &m)) != 0)
		return rc;
	if ((rc = branches_check(ctl, branches, &m)) != 0)
		return rc;
	if (p.ack == NULL && p.on_peer_loss == NULL && p.on_full == NULL && p.min_isr == NULL &&
	    history == NULL && branches == NULL && sync == NULL && async == NULL && remove == NULL)
		return ctl_usage(ctl, "nothing to set");
	m.name = keep(texts[0], sizeof(texts[0]), name);
	m.sync_site = keep(texts[1], sizeof(texts[1]), sync);
	m.async_site = keep(texts[2], sizeof(texts[2]), async);
	m.remove_site = keep(texts[3], sizeof(texts[3]), remove);
	m.ack_received = p.received;
	m.set_on_peer_loss = p.on_peer_loss != NULL;
	m.set_on_full = p.on_full != NULL;
	m.on_peer_loss_stop = p.stop;
	m.on_full_stop = p.full_stop;
	m.min_isr = (uint32_t)p.min;
	request.command_case = ADM__REQUEST__COMMAND_GROUP_SET;
	request.group_set = &m;
	return client_change(ctl, &request, "group", name);
}

int cmd_group_delete(struct ctl *ctl, int argc, char **argv)
{
	bool force = false;
	const char *name;
	const struct opt opts[] = {{"--force", NULL, &force, false}, {NULL, NULL, NULL, false}};
	char text[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__GroupDelete m = ADM__GROUP_DELETE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_name(ctl, "group", name)) != 0)
		return rc;
	m.name = keep(text, sizeof(text), name);
	m.force = force;
	request.command_case = ADM__REQUEST__COMMAND_GROUP_DELETE;
	request.group_delete = &m;
	return client_change(ctl, &request, "group", name);
}

int cmd_volume_create(struct ctl *ctl, int argc, char **argv)
{
	const char *name, *size = NULL, *block = NULL;
	const struct opt opts[] = {{"--size", &size, NULL, false},
				   {"--block-size", &block, NULL, false},
				   {NULL, NULL, NULL, false}};
	char group[NAME_BYTES_MAX + 1], volume[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__VolumeCreate m = ADM__VOLUME_CREATE__INIT;
	uint64_t block_bytes = 4096;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_split(ctl, name, group, volume)) != 0)
		return rc;
	if (size == NULL)
		return ctl_usage(ctl, "option --size is missing");
	if ((rc = ctl_size(ctl, size, &m.bytes)) != 0)
		return rc;
	if (m.bytes == 0 || m.bytes % 4096 != 0)
		return ctl_usage(ctl, "the size of a volume is a multiple of 4 KiB, not %s", size);
	if (block != NULL &&
	    (size_parse(block, &block_bytes) < 0 || (block_bytes != 512 && block_bytes != 4096)))
		return ctl_usage(ctl, "option --block-size is 512 or 4096, not '%.40s'", block);
	m.group = group;
	m.name = volume;
	m.block_bytes = (uint32_t)block_bytes;
	request.command_case = ADM__REQUEST__COMMAND_VOLUME_CREATE;
	request.volume_create = &m;
	return client_change(ctl, &request, "volume", name);
}

int cmd_volume_resize(struct ctl *ctl, int argc, char **argv)
{
	const char *name, *size = NULL;
	const struct opt opts[] = {{"--size", &size, NULL, false}, {NULL, NULL, NULL, false}};
	char group[NAME_BYTES_MAX + 1], volume[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__VolumeResize m = ADM__VOLUME_RESIZE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_split(ctl, name, group, volume)) != 0)
		return rc;
	if (size == NULL)
		return ctl_usage(ctl, "option --size is missing");
	if ((rc = ctl_size(ctl, size, &m.bytes)) != 0)
		return rc;
	if (m.bytes == 0 || m.bytes % 4096 != 0)
		return ctl_usage(ctl, "the size of a volume is a multiple of 4 KiB, not %s", size);
	m.group = group;
	m.name = volume;
	request.command_case = ADM__REQUEST__COMMAND_VOLUME_RESIZE;
	request.volume_resize = &m;
	return client_change(ctl, &request, "volume", name);
}

int cmd_volume_delete(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *name;
	char group[NAME_BYTES_MAX + 1], volume[NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__VolumeDelete m = ADM__VOLUME_DELETE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_split(ctl, name, group, volume)) != 0)
		return rc;
	m.group = group;
	m.name = volume;
	request.command_case = ADM__REQUEST__COMMAND_VOLUME_DELETE;
	request.volume_delete = &m;
	return client_change(ctl, &request, "volume", name);
}

int cmd_store_grow(struct ctl *ctl, int argc, char **argv)
{
	const char *size = NULL;
	const struct opt opts[] = {{"--size", &size, NULL, false}, {NULL, NULL, NULL, false}};
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__StoreGrow m = ADM__STORE_GROW__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 0, NULL);

	if (rc != 0 || (size != NULL && (rc = ctl_size(ctl, size, &m.bytes)) != 0))
		return rc;
	if (size != NULL && (m.bytes == 0 || m.bytes % 4096 != 0))
		return ctl_usage(ctl, "the size of a store is a multiple of 4 KiB, not %s", size);
	request.command_case = ADM__REQUEST__COMMAND_STORE_GROW;
	request.store_grow = &m;
	return client_change(ctl, &request, "store", "grow");
}
