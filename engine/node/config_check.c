/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/config_check.c
 * Purpose.     The rules that concern more than one key, and the defaults that follow from others.
 * Invariants.  H1  ping * 6 <= lease: five pings may be lost before a lease ends.
 *              H2  peer_drop < lease: the primary's decision to go on without a silent peer comes
 *                  before that peer may take over.
 *              H3  grace >= 1.1 * lease: clocks may differ by a tenth in speed.
 *              H4  3 * heartbeat <= election, 2 * ping < peer_drop: one lost message is no failure.
 *              H6  Sites have the same numbers everywhere (config_site_id), also where members are not listed.
 *              H5  Nothing leaves the machine in the clear unless `insecure: true` says so.
 * Failure.     The first broken rule is told with the line of the key to change.
 */
#include "engine/node/config_check.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/uring/address.h"

static int check_places(const struct config *c, const struct config_notes *n, const char *list,
			const struct config_place *places, uint32_t count);
static int check_site(struct config *c, const struct config_notes *n);
static int check_members(const struct config *c, const struct config_notes *n);
static int check_quorum(struct config *c, const struct config_notes *n);
static int check_secrecy(const struct config *c, const struct config_notes *n);
static int check_listeners(const struct config *c, const struct config_notes *n);
static void timers_fill(struct config_timers *t);
static int check_timers(const struct config_timers *t, const struct config_notes *n);

int config_check(struct config *config, const struct config_notes *notes)
{
	int rc = 0;

	if (config->kind == CONFIG_SITE)
		rc = check_site(config, notes);
	if (rc == 0)
		rc = check_quorum(config, notes);
	if (rc == 0)
		rc = check_secrecy(config, notes);
	if (rc == 0)
		rc = check_listeners(config, notes);
	timers_fill(&config->timers);
	return rc < 0 ? rc : check_timers(&config->timers, notes);
}

static uint32_t line_of(const struct config_notes *n, const char *path, uint32_t index)
{
	const struct config_row *row = config_row_find(path, n->kind);

	return row == NULL ? 0 : n->lines[config_row_index(row)][index];
}

static int find_place(const struct config_place *places, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(places[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* --- sites and members --- */

static int check_places(const struct config *c, const struct config_notes *n, const char *list,
			const struct config_place *places, uint32_t count)
{
	char name_path[64], address_path[64];

	snprintf(name_path, sizeof(name_path), "%s.name", list);
	snprintf(address_path, sizeof(address_path), "%s.address", list);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t name_line = line_of(n, name_path, i),
			 address_line = line_of(n, address_path, i);

		if (name_line == 0)
			return config_fail(n, address_line, name_path, "is missing in entry %u",
					   i + 1);
		if (address_line == 0)
			return config_fail(n, name_line, address_path,
					   "is missing in entry %u ('%s')", i + 1, places[i].name);
		for (uint32_t j = 0; j < i; j++) {
			if (strcmp(places[j].name, places[i].name) == 0)
				return config_fail(n, name_line, name_path, "'%s' is listed twice",
						   places[i].name);
			if (strcmp(places[j].address, places[i].address) == 0)
				return config_fail(n, address_line, address_path,
						   "%s is the address of two entries",
						   places[i].address);
		}
	}
	if (count > 0 && find_place(places, count, c->name) < 0)
		return config_fail(
			n, line_of(n, name_path, 0), list,
			"'%s' (this one's own name) is not listed; add it, or correct %s", c->name,
			c->kind == CONFIG_SITE ? "site" : "name");
	return 0;
}

static int check_site(struct config *c, const struct config_notes *n)
{
	int rc = check_places(c, n, "sites[]", c->sites, c->site_count);

	if (rc < 0)
		return rc;
	if (c->site_count == 1)
		return config_fail(
			n, line_of(n, "sites[].name", 0), "sites[]",
			"has one entry; list every site, or remove sites and quorum for a site alone");
	if (c->site_count == 0) {
		const char *extra = c->member_count > 0		       ? "quorum.members[].name"
				    : c->quorum_listen[0] != '\0'      ? "quorum.listen"
				    : c->state[0] != '\0'	       ? "quorum.state"
				    : c->replication_listen[0] != '\0' ? "replication.listen"
								       : NULL;

		if (extra != NULL)
			return config_fail(
				n, line_of(n, extra, 0), extra,
				"is of no use without sites; list them, or remove it for a site alone");
		return 0;
	}
	c->site_self = (uint32_t)find_place(c->sites, c->site_count, c->name);
	if (c->replication_listen[0] == '\0')
		memcpy(c->replication_listen, c->sites[c->site_self].address, CONFIG_ADDRESS_BYTES);
	return check_members(c, n);
}

static uint32_t sync_count(const struct config *c)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < c->site_count; i++)
		count += !c->sites[i].async;
	return count;
}

/* H6 */
static int check_members(const struct config *c, const struct config_notes *n)
{
	bool distant = false;
	uint32_t place = 0;

	if (sync_count(c) == 0)
		return config_fail(n, line_of(n, "sites[].async", 0), "sites[].async",
				   "is true for every site; an async site follows one that is not");
	if (c->member_count == 0 && !c->sites[c->site_self].async && sync_count(c) > 1)
		return config_fail(
			n, line_of(n, "sites[].name", 0), "quorum.members[]",
			"is missing; with several sites a quorum decides who may write: list every site "
			"and a witness, or say 'async: true' of all sites but one");
	if (c->member_count == 0)
		return 0;
	for (uint32_t i = 0; i < c->site_count; i++) {
		distant = distant || config_site_is_distant(c, i);
		if (!c->sites[i].async &&
		    find_place(c->members, c->member_count, c->sites[i].name) < 0)
			return config_fail(
				n, line_of(n, "quorum.members[].name", 0), "quorum.members[]",
				"site '%s' is not listed; every site that is not async is "
				"a member",
				c->sites[i].name);
	}
	for (uint32_t i = 0; distant && i < c->site_count; i++)
		if (!c->sites[i].async && strcmp(c->members[place++].name, c->sites[i].name) != 0)
			return config_fail(
				n, line_of(n, "quorum.members[].name", place - 1),
				"quorum.members[]",
				"entry %u is '%s'; while a distant site is listed the "
				"members begin with the sites that are not async, in the order "
				"of sites: '%s' is next",
				place, c->members[place - 1].name, c->sites[i].name);
	return 0;
}

bool config_site_is_distant(const struct config *c, uint32_t index)
{
	return c->sites[index].async &&
	       find_place(c->members, c->member_count, c->sites[index].name) < 0;
}

uint32_t config_site_id(const struct config *c, uint32_t index)
{
	int member = find_place(c->members, c->member_count, c->sites[index].name);
	uint32_t place = 1;

	assert(index < c->site_count);
	if (member >= 0)
		return (uint32_t)member + 1;
	if (c->sites[index].async)
		return CONFIG_DISTANT_ID + index + 1;
	for (uint32_t i = 0; i < index; i++)
		place += !c->sites[i].async;
	return place;
}

/* The folder "quorum" beside a store that is a file. */
static int state_default(struct config *c, const struct config_notes *n)
{
	size_t bytes = (size_t)(strrchr(c->store, '/') - c->store) + 1;

	if (c->state[0] != '\0')
		return 0;
	if (strncmp(c->store, "/dev/", 5) == 0)
		return config_fail(
			n, line_of(n, "quorum.members[].name", 0), "quorum.state",
			"is missing; the store is a device, so name a folder on another disk");
	if (bytes + strlen("quorum") >= sizeof(c->state))
		return config_fail(n, line_of(n, "store", 0), "quorum.state",
				   "is missing; write a folder");
	memcpy(c->state, c->store, bytes);
	memcpy(c->state + bytes, "quorum", sizeof("quorum"));
	return 0;
}

static int check_quorum(struct config *c, const struct config_notes *n)
{
	int rc = check_places(c, n, "quorum.members[]", c->members, c->member_count);
	uint32_t line = line_of(n, "quorum.members[].name", 0);

	if (rc < 0)
		return rc;
	if (c->member_count == 0 && c->kind == CONFIG_WITNESS)
		return config_fail(n, 0, "quorum.members[]",
				   "is missing; list every site and this witness");
	if (c->member_count == 0)
		return 0;
	if (c->member_count < 3 || c->member_count % 2 == 0)
		return config_fail(
			n, line, "quorum.members[]",
			"has %u entries; list 3, 5 or 7, so that the loss of one leaves a majority: add a "
			"witness",
			c->member_count);
	c->member_self = (uint32_t)find_place(c->members, c->member_count, c->name);
	if (c->quorum_listen[0] == '\0')
		memcpy(c->quorum_listen, c->members[c->member_self].address, CONFIG_ADDRESS_BYTES);
	return c->kind == CONFIG_SITE ? state_default(c, n) : 0;
}

/* --- addresses --- */

static bool stays_here(const char *text)
{
	struct address a;

	return text[0] == '\0' || (address_parse(text, &a) == 0 && address_is_loopback(&a));
}

static int secrecy_fail(const struct config_notes *n, const char *path, uint32_t index,
			const char *address)
{
	return config_fail(
		n, line_of(n, path, index), path,
		"%s is not on this machine and TLS between sites is not available in this version; "
		"write 'insecure: true' only if nobody else can read or write on that network",
		address);
}

/* H5 */
static int check_secrecy(const struct config *c, const struct config_notes *n)
{
	if (c->insecure)
		return 0;
	for (uint32_t i = 0; i < c->site_count; i++)
		if (!stays_here(c->sites[i].address))
			return secrecy_fail(n, "sites[].address", i, c->sites[i].address);
	for (uint32_t i = 0; i < c->member_count; i++)
		if (!stays_here(c->members[i].address))
			return secrecy_fail(n, "quorum.members[].address", i,
					    c->members[i].address);
	if (!stays_here(c->replication_listen))
		return secrecy_fail(n, "replication.listen", 0, c->replication_listen);
	if (!stays_here(c->quorum_listen))
		return secrecy_fail(n, "quorum.listen", 0, c->quorum_listen);
	return 0;
}

/* Two listeners of one process on one address cannot be. */
static int check_listeners(const struct config *c, const struct config_notes *n)
{
	const char *addresses[CONFIG_LISTEN_MAX + 3], *paths[CONFIG_LISTEN_MAX + 3];
	uint32_t indexes[CONFIG_LISTEN_MAX + 3] = {0}, count = 0;

	addresses[count] = c->replication_listen;
	paths[count++] = "replication.listen";
	addresses[count] = c->quorum_listen;
	paths[count++] = "quorum.listen";
	addresses[count] = c->metrics_listen;
	paths[count++] = "metrics.listen";
	for (uint32_t i = 0; i < c->nbd_listen_count; i++) {
		indexes[count] = i;
		addresses[count] = c->nbd_listen[i];
		paths[count++] = "nbd.listen[]";
	}
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < i; j++) {
			const char *a = addresses[i], *b = addresses[j];

			a += strncmp(a, "tcp:", 4) == 0 ? 4 : 0;
			b += strncmp(b, "tcp:", 4) == 0 ? 4 : 0;
			if (a[0] != '\0' && strcmp(a, b) == 0)
				return config_fail(n, line_of(n, paths[i], indexes[i]), paths[i],
						   "%s is listened on twice; %s has it too", a,
						   paths[j]);
		}
	return 0;
}

/* --- timers --- */

static void fill(uint32_t *value, uint32_t preset)
{
	if (*value == 0)
		*value = preset;
}

static void timers_fill(struct config_timers *t)
{
	static const struct config_timers presets[] = {
		[CONFIG_PRESET_DEFAULT] = {.heartbeat_ms = 100,
					   .election_ms = 500,
					   .ping_ms = 100,
					   .peer_drop_ms = 600,
					   .lease_ms = 800},
		[CONFIG_PRESET_TUNED] = {.heartbeat_ms = 30,
					 .election_ms = 150,
					 .ping_ms = 40,
					 .peer_drop_ms = 200,
					 .lease_ms = 300},
		[CONFIG_PRESET_FAR] = {.heartbeat_ms = 250,
				       .election_ms = 1500,
				       .ping_ms = 200,
				       .peer_drop_ms = 1500,
				       .lease_ms = 2000},
	};
	const struct config_timers *preset;

	assert(t->preset < ARRAY_COUNT(presets));
	preset = &presets[t->preset];
	fill(&t->heartbeat_ms, preset->heartbeat_ms);
	fill(&t->election_ms, preset->election_ms);
	fill(&t->ping_ms, preset->ping_ms);
	fill(&t->peer_drop_ms, preset->peer_drop_ms);
	fill(&t->lease_ms, preset->lease_ms);
	t->grace_ms = (t->lease_ms * 11 + 9) / 10; /* H3 */
}

static int timer_fail(const struct config_notes *n, const char *path, const char *other,
		      uint32_t value_ms, const char *rule)
{
	uint32_t line = line_of(n, path, 0);

	if (line == 0)
		line = line_of(n, other, 0);
	return config_fail(n, line, path, "%u ms breaks a rule: %s; change %s or %s", value_ms,
			   rule, path, other);
}

static int check_timers(const struct config_timers *t, const struct config_notes *n)
{
	if (t->election_ms < 3 * t->heartbeat_ms)
		return timer_fail(n, "timers.election", "timers.heartbeat", t->election_ms,
				  "an election waits for at least 3 heartbeats"); /* H4 */
	if (t->ping_ms * 6 > t->lease_ms)
		return timer_fail(n, "timers.ping", "timers.lease", t->ping_ms,
				  "a lease lasts at least 6 pings"); /* H1 */
	if (t->peer_drop_ms >= t->lease_ms)
		return timer_fail(n, "timers.peer_drop", "timers.lease", t->peer_drop_ms,
				  "a peer is dropped before a lease ends"); /* H2 */
	if (t->peer_drop_ms <= 2 * t->ping_ms)
		return timer_fail(n, "timers.peer_drop", "timers.ping", t->peer_drop_ms,
				  "more than 2 pings are missed before a peer is dropped"); /* H4 */
	if (t->disk_stall_ms <= t->lease_ms)
		return timer_fail(n, "timers.disk_stall", "timers.lease", t->disk_stall_ms,
				  "a disk is given longer than a lease");
	return 0;
}
