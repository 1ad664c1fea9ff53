/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/node/config.h"

#define ALONE "site: east\nstore: /s\n"
#define SITES                                           \
	"sites:\n"                                      \
	"  - {name: east, address: '127.0.0.1:7780'}\n" \
	"  - {name: west, address: '127.0.0.1:7790'}\n"
#define MEMBERS                                           \
	"quorum:\n"                                       \
	"  members:\n"                                    \
	"    - {name: east, address: '127.0.0.1:7781'}\n" \
	"    - {name: west, address: '127.0.0.1:7791'}\n" \
	"    - {name: witness, address: '127.0.0.1:7801'}\n"

#define SOUTH "  - {name: south, address: '127.0.0.1:7810', async: true}\n"
#define DISTANT_FIRST                                                 \
	SITES SOUTH "quorum:\n"                                       \
		    "  members:\n"                                    \
		    "    - {name: west, address: '127.0.0.1:7791'}\n" \
		    "    - {name: east, address: '127.0.0.1:7781'}\n" \
		    "    - {name: witness, address: '127.0.0.1:7801'}\n"

static int parse(const char *text, enum config_kind kind, struct config *c, struct config_error *e)
{
	memset(c, 0xee, sizeof(*c));
	return config_parse("f.yaml", text, strlen(text), kind, c, e);
}

START_TEST(config_of_a_site_alone_needs_a_name_and_a_store)
{
	struct config_error e;
	struct config c;

	ck_assert_msg(parse(ALONE, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	ck_assert_str_eq(c.name, "east");
	ck_assert_str_eq(c.store, "/s");
	ck_assert_str_eq(c.admin, "/run/twinshore/admin.sock");
	ck_assert_uint_eq(c.nbd_listen_count, 1);
	ck_assert_str_eq(c.nbd_listen[0], "unix:/run/twinshore/nbd.sock");
	ck_assert_uint_eq(c.site_count, 0);
	ck_assert_uint_eq(c.member_count, 0);
	ck_assert_str_eq(c.state, "");
	ck_assert_uint_eq(c.memory_bytes, 512u << 20);
	ck_assert_uint_eq(c.journal.percent, 25);
	ck_assert_uint_eq(c.log_level, LOG_INFO);
	ck_assert_uint_eq(c.threads, 0);
	ck_assert(!c.insecure);
}
END_TEST

static const char full[] = "# a comment\n"
			   "site: east\n"
			   "store: /var/lib/twinshore/store\n"
			   "admin: /run/twinshore/east.sock\n"
			   "nbd:\n"
			   "  listen: [unix:/run/twinshore/nbd.sock, tcp:0.0.0.0:10809]\n"
			   "  tls: off\n"
			   "replication:\n"
			   "  listen: 0.0.0.0:7780\n"
			   "sites:\n"
			   "  - {name: east,  address: 10.0.0.1:7780}\n"
			   "  - {name: west,  address: 10.0.1.1:7780}\n"
			   "quorum:\n"
			   "  state: /var/lib/twinshore/q\n"
			   "  members:\n"
			   "    - {name: west,    address: 10.0.1.1:7781}\n"
			   "    - {name: east,    address: 10.0.0.1:7781}\n"
			   "    - {name: witness, address: 10.0.2.1:7781}\n"
			   "insecure: true\n"
			   "metrics: {listen: 127.0.0.1:9780}\n"
			   "io: io_uring\n"
			   "journal: 10GiB\n"
			   "memory: 1G\n"
			   "threads: 1\n"
			   "timers: {preset: far, lease: 2500ms, suspend_max: 10s}\n"
			   "log: {level: debug, format: json}\n";

static void full_check(const struct config *c)
{
	ck_assert_str_eq(c->admin, "/run/twinshore/east.sock");
	ck_assert_uint_eq(c->nbd_listen_count, 2);
	ck_assert_str_eq(c->nbd_listen[1], "tcp:0.0.0.0:10809");
	ck_assert_uint_eq(c->nbd_tls, CONFIG_TLS_OFF);
	ck_assert_str_eq(c->replication_listen, "0.0.0.0:7780");
	ck_assert_uint_eq(c->site_count, 2);
	ck_assert_uint_eq(c->site_self, 0);
	ck_assert_str_eq(c->sites[1].name, "west");
	ck_assert_str_eq(c->sites[1].address, "10.0.1.1:7780");
	ck_assert_str_eq(c->state, "/var/lib/twinshore/q");
	ck_assert_str_eq(c->quorum_listen, "10.0.0.1:7781");
	ck_assert_uint_eq(c->member_count, 3);
	ck_assert_uint_eq(c->member_self, 1);
	ck_assert(c->insecure);
	ck_assert_str_eq(c->metrics_listen, "127.0.0.1:9780");
	ck_assert_uint_eq(c->io, CONFIG_IO_URING);
	ck_assert_uint_eq(c->journal.percent, 0);
	ck_assert_uint_eq(c->journal.bytes, 10ull << 30);
	ck_assert_uint_eq(c->memory_bytes, 1u << 30);
	ck_assert_uint_eq(c->threads, 1);
	ck_assert_uint_eq(c->timers.lease_ms, 2500);
	ck_assert_uint_eq(c->timers.grace_ms, 2750);
	ck_assert_uint_eq(c->timers.ping_ms, 200);
	ck_assert_uint_eq(c->timers.suspend_max_ms, 10000);
	ck_assert_uint_eq(c->log_level, LOG_DEBUG);
	ck_assert_uint_eq(c->log_format, CONFIG_LOG_JSON);
}

START_TEST(config_reads_every_key)
{
	struct config_error e;
	struct config c;

	ck_assert_msg(parse(full, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	full_check(&c);
}
END_TEST

START_TEST(config_printed_reads_back_the_same)
{
	static const char witness[] = "name: witness\nstate: /w\n" MEMBERS;
	const char *texts[] = {ALONE, full, ALONE SITES MEMBERS, witness};

	for (int i = 0; i < 4; i++) {
		enum config_kind kind = i == 3 ? CONFIG_WITNESS : CONFIG_SITE;
		struct config_error e;
		struct config c, again;
		char *text = NULL;
		size_t bytes = 0;
		FILE *out = open_memstream(&text, &bytes);

		ck_assert_msg(parse(texts[i], kind, &c, &e) == 0, "%s", e.text);
		config_print(&c, out);
		fclose(out);
		ck_assert_msg(parse(text, kind, &again, &e) == 0, "%s in:\n%s", e.text, text);
		ck_assert_msg(memcmp(&c, &again, sizeof(c)) == 0, "differs:\n%s", text);
		free(text);
	}
}
END_TEST

START_TEST(config_presets_have_their_numbers)
{
	static const struct {
		const char *text;
		uint32_t heartbeat, election, ping, drop, lease, grace;
	} cases[] = {
		{ALONE, 100, 500, 100, 600, 800, 880},
		{ALONE "timers: {preset: default}\n", 100, 500, 100, 600, 800, 880},
		{ALONE "timers: {preset: tuned}\n", 30, 150, 40, 200, 300, 330},
		{ALONE "timers: {preset: far}\n", 250, 1500, 200, 1500, 2000, 2200},
	};

	for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct config_error e;
		struct config c;

		ck_assert_msg(parse(cases[i].text, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
		ck_assert_uint_eq(c.timers.heartbeat_ms, cases[i].heartbeat);
		ck_assert_uint_eq(c.timers.election_ms, cases[i].election);
		ck_assert_uint_eq(c.timers.ping_ms, cases[i].ping);
		ck_assert_uint_eq(c.timers.peer_drop_ms, cases[i].drop);
		ck_assert_uint_eq(c.timers.lease_ms, cases[i].lease);
		ck_assert_uint_eq(c.timers.grace_ms, cases[i].grace);
		ck_assert_uint_eq(c.timers.hold_down_ms, 1000);
		ck_assert_uint_eq(c.timers.suspend_max_ms, 8000);
		ck_assert_uint_eq(c.timers.disk_stall_ms, 10000);
	}
}
END_TEST

START_TEST(config_fills_in_listeners_and_the_state_folder)
{
	struct config_error e;
	struct config c;

	ck_assert_msg(parse("site: west\nstore: /data/ts/store\n" SITES MEMBERS, CONFIG_SITE, &c,
			    &e) == 0,
		      "%s", e.text);
	ck_assert_str_eq(c.replication_listen, "127.0.0.1:7790");
	ck_assert_str_eq(c.quorum_listen, "127.0.0.1:7791");
	ck_assert_str_eq(c.state, "/data/ts/quorum");
	ck_assert_uint_eq(c.site_self, 1);
	ck_assert_uint_eq(c.member_self, 1);
}
END_TEST

START_TEST(config_list_of_one_may_be_a_plain_value)
{
	struct config_error e;
	struct config c;

	ck_assert_msg(parse(ALONE "nbd: {listen: 'tcp:127.0.0.1:1'}\n", CONFIG_SITE, &c, &e) == 0,
		      "%s", e.text);
	ck_assert_uint_eq(c.nbd_listen_count, 1);
	ck_assert_str_eq(c.nbd_listen[0], "tcp:127.0.0.1:1");
}
END_TEST

/* Each site computes the numbers from its own file: they must be the same. */
START_TEST(config_numbers_sites_alike_everywhere)
{
	struct config_error e;
	struct config c;
	static const uint32_t ids[] = {1, 2, CONFIG_DISTANT_ID + 3};

	ck_assert_msg(parse(ALONE SITES SOUTH MEMBERS, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(config_site_id(&c, i), ids[i]);
	ck_assert(!config_site_is_distant(&c, 0) && config_site_is_distant(&c, 2));
	ck_assert_msg(parse("site: south\nstore: /s\n" SITES SOUTH, CONFIG_SITE, &c, &e) == 0, "%s",
		      e.text);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(config_site_id(&c, i), ids[i]);
	ck_assert(config_site_is_distant(&c, c.site_self));
	ck_assert_uint_eq(c.member_count, 0);
	ck_assert_str_eq(c.state, "");
	ck_assert_str_eq(c.replication_listen, "127.0.0.1:7810");
}
END_TEST

/* Two sites without a quorum: one of them can only follow. */
START_TEST(config_of_two_sites_needs_no_quorum_when_one_is_async)
{
	struct config_error e;
	struct config c;
	static const char two[] = "sites:\n  - {name: east, address: '127.0.0.1:7780'}\n" SOUTH;
	char text[512];

	snprintf(text, sizeof(text), ALONE "%s", two);
	ck_assert_msg(parse(text, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(config_site_id(&c, 0), 1);
	ck_assert_uint_eq(config_site_id(&c, 1), CONFIG_DISTANT_ID + 2);
	snprintf(text, sizeof(text), "site: south\nstore: /s\n%s", two);
	ck_assert_msg(parse(text, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(config_site_id(&c, 0), 1);
	ck_assert_uint_eq(config_site_id(&c, 1), CONFIG_DISTANT_ID + 2);
}
END_TEST

/* A third site that is a member has its member's number, async or not. */
START_TEST(config_of_an_async_member_counts_it_as_a_member)
{
	struct config_error e;
	struct config c;

	ck_assert_msg(parse(ALONE SITES SOUTH "quorum:\n  members:\n"
					      "    - {name: south, address: '127.0.0.1:7811'}\n"
					      "    - {name: west, address: '127.0.0.1:7791'}\n"
					      "    - {name: east, address: '127.0.0.1:7781'}\n",
			    CONFIG_SITE, &c, &e) == 0,
		      "%s", e.text);
	ck_assert_uint_eq(config_site_id(&c, 0), 3);
	ck_assert_uint_eq(config_site_id(&c, 1), 2);
	ck_assert_uint_eq(config_site_id(&c, 2), 1);
	ck_assert(!config_site_is_distant(&c, 2));
}
END_TEST

static const struct {
	enum config_kind kind;
	const char *text, *error;
} errors[] = {
	/* the shape */
	{CONFIG_SITE, "", "f.yaml: site: is missing; write it: this site's name: [a-z0-9-]{1,32}"},
	{CONFIG_SITE, "site: east\n",
	 "f.yaml: store: is missing; write it: file or block device made by 'twinshore store format'"},
	{CONFIG_SITE, "hello\n", "f.yaml:1: this is not a list of 'key: value' lines"},
	{CONFIG_SITE, "- a\n", "f.yaml:1: this is not a list of 'key: value' lines"},
	{CONFIG_SITE, "log: {level: info\n",
	 "f.yaml:2: not YAML: did not find expected ',' or '}' while "
	 "parsing a flow mapping"},
	{CONFIG_SITE, ALONE "sties: 1\n", "f.yaml:3: sties: unknown key; did you mean 'sites'?"},
	{CONFIG_SITE, ALONE "log: {leval: info}\n",
	 "f.yaml:3: log.leval: unknown key; did you mean 'level'?"},
	{CONFIG_SITE, ALONE "banana: 1\n", "f.yaml:3: banana: unknown key"},
	{CONFIG_SITE, ALONE "a.b: 1\n", "f.yaml:3: unknown key 'a.b'"},
	{CONFIG_SITE, ALONE "[a]: 1\n", "f.yaml:3: a key must be a plain word"},
	{CONFIG_SITE, "site: east\nsite: west\n",
	 "f.yaml:2: site: is written twice, first in line 1; keep one"},
	{CONFIG_SITE, ALONE SITES SITES, "f.yaml:7: sites: is written twice; keep one"},
	{CONFIG_SITE, "site:\n", "f.yaml:1: site: has no value; write one or remove the key"},
	{CONFIG_SITE, ALONE "sites:\n",
	 "f.yaml:3: sites: has no value; write one or remove the key"},
	{CONFIG_SITE, ALONE "sites: []\n",
	 "f.yaml:3: sites: is empty; write an entry or remove the key"},
	{CONFIG_SITE, "site: [east]\n", "f.yaml:1: site: must be a single value"},
	{CONFIG_SITE, ALONE "log: info\n",
	 "f.yaml:3: log: must be a group of keys: {key: value} or indented 'key: value' lines"},
	{CONFIG_SITE, ALONE "sites: {name: a}\n",
	 "f.yaml:3: sites: must be a list: [a, b] or lines that begin with '- '"},
	{CONFIG_SITE, ALONE "sites: [a]\n",
	 "f.yaml:3: sites: must be a group of keys: {key: value} or indented 'key: value' lines"},
	{CONFIG_SITE, "site: &x east\nstore: *x\n",
	 "f.yaml:2: store: YAML aliases are not used here; write it out"},
	{CONFIG_SITE, "site: \"ea\\0st\"\n", "f.yaml:1: site: holds a NUL character"},
	{CONFIG_SITE,
	 ALONE "nbd: {listen: ['[::1]:1','[::1]:2','[::1]:3','[::1]:4','[::1]:5','[::1]:6',"
	       "'[::1]:7','[::1]:8','[::1]:9']}\n",
	 "f.yaml:3: nbd.listen: has more than 8 entries"},
	/* values */
	{CONFIG_SITE, "site: East\n",
	 "f.yaml:1: site: 'East' is not a name; use 1 to 32 of a-z, 0-9 and '-'"},
	{CONFIG_SITE, "store: store\n",
	 "f.yaml:1: store: 'store' is not a full path; begin it with '/'"},
	{CONFIG_SITE, ALONE "nbd: {listen: ['here']}\n",
	 "f.yaml:3: nbd.listen: 'here' is not an address; write HOST:PORT, tcp:HOST:PORT or unix:/path"},
	{CONFIG_SITE, ALONE "io: aio\n", "f.yaml:3: io: 'aio' is none of: auto, io_uring"},
	{CONFIG_SITE, ALONE "io: libaio\n",
	 "f.yaml:3: io: 'libaio' is not available in this version"},
	{CONFIG_SITE, ALONE "nbd: {tls: required}\n",
	 "f.yaml:3: nbd.tls: 'required' is not available in this version"},
	{CONFIG_SITE, ALONE "insecure: yes\n",
	 "f.yaml:3: insecure: 'yes' is neither true nor false"},
	{CONFIG_SITE, ALONE "memory: lots\n",
	 "f.yaml:3: memory: 'lots' is not a size; write one like 512MiB"},
	{CONFIG_SITE, ALONE "memory: 1MiB\n",
	 "f.yaml:3: memory: 1MiB is out of range; use 64MiB to 1TiB"},
	{CONFIG_SITE, ALONE "journal: 90%\n",
	 "f.yaml:3: journal: 90% is out of range; use 1% to 75%"},
	{CONFIG_SITE, ALONE "journal: much\n",
	 "f.yaml:3: journal: 'much' is neither a percentage nor a size; write one like 25% or 10GiB"},
	{CONFIG_SITE, ALONE "threads: 4\n",
	 "f.yaml:3: threads: 4 threads are not available in this version; write auto or 1"},
	{CONFIG_SITE, ALONE "threads: some\n",
	 "f.yaml:3: threads: 'some' is neither auto nor a number from 1 to 256"},
	{CONFIG_SITE, ALONE "timers: {lease: 800}\n",
	 "f.yaml:3: timers.lease: '800' is not a time; write one like 800ms"},
	{CONFIG_SITE, ALONE "timers: {lease: 2h}\n",
	 "f.yaml:3: timers.lease: 2h is out of range; use 100ms to 1m in whole ms"},
	{CONFIG_SITE, ALONE "timers: {lease: 1500us}\n",
	 "f.yaml:3: timers.lease: 1500us is out of range; use 100ms to 1m in whole ms"},
	{CONFIG_SITE, ALONE "timers: {preset: fast}\n",
	 "f.yaml:3: timers.preset: 'fast' is none of: default, tuned, far"},
	/* keys of another time or another process */
	{CONFIG_SITE, ALONE "tls: {ca: /a, cert: /b, key: /c}\n",
	 "f.yaml:3: tls: not available in this version (certificates for all links between sites: ca, cert, "
	 "key); remove it"},
	{CONFIG_SITE, ALONE "quorum: {etcd: x}\n",
	 "f.yaml:3: quorum.etcd: not available in this version (an existing etcd cluster as the authority); "
	 "remove it"},
	{CONFIG_WITNESS, "name: w\nstore: /s\n",
	 "f.yaml:2: store: unknown key; did you mean 'state'?"},
	{CONFIG_WITNESS, "name: w\nstate: /s\nnbd: {listen: 'x:1'}\n",
	 "f.yaml:3: nbd: unknown key"},
	/* sites and members */
	{CONFIG_SITE, ALONE SITES,
	 "f.yaml:4: quorum.members: is missing; with several sites a quorum decides who "
	 "may write: list every site and a witness, or say 'async: true' of all sites but one"},
	{CONFIG_SITE, ALONE DISTANT_FIRST,
	 "f.yaml:9: quorum.members: entry 1 is 'west'; while a distant site is listed the members begin "
	 "with the sites that are not async, in the order of sites: 'east' is next"},
	{CONFIG_SITE,
	 ALONE "sites:\n  - {name: east, address: '127.0.0.1:1', async: true}\n"
	       "  - {name: west, address: '127.0.0.1:2', async: true}\n",
	 "f.yaml:4: sites.async: is true for every site; an async site follows one that is not"},
	{CONFIG_SITE,
	 ALONE SITES "  - {name: south, address: '127.0.0.1:1', async: perhaps}\n" MEMBERS,
	 "f.yaml:6: sites.async: 'perhaps' is neither true nor false"},
	{CONFIG_SITE, ALONE MEMBERS,
	 "f.yaml:5: quorum.members.name: is of no use without sites; list them, or "
	 "remove it for a site alone"},
	{CONFIG_SITE, ALONE "replication: {listen: '127.0.0.1:1'}\n",
	 "f.yaml:3: replication.listen: is of no use without sites; list them, or remove it for a site alone"},
	{CONFIG_SITE, ALONE "sites: [{name: east, address: '127.0.0.1:1'}]\n",
	 "f.yaml:3: sites: has one entry; list every site, or remove sites and quorum for a site alone"},
	{CONFIG_SITE, ALONE "sites: [{name: east}]\n",
	 "f.yaml:3: sites.address: is missing in entry 1 ('east')"},
	{CONFIG_SITE, ALONE "sites: [{address: '127.0.0.1:1'}]\n",
	 "f.yaml:3: sites.name: is missing in entry 1"},
	{CONFIG_SITE, "site: north\nstore: /s\n" SITES,
	 "f.yaml:4: sites: 'north' (this one's own name) is not listed; add it, or correct site"},
	{CONFIG_SITE, ALONE SITES "  - {name: east, address: '127.0.0.1:1'}\n",
	 "f.yaml:6: sites.name: 'east' is listed twice"},
	{CONFIG_SITE, ALONE SITES "  - {name: north, address: '127.0.0.1:7780'}\n",
	 "f.yaml:6: sites.address: 127.0.0.1:7780 is the address of two entries"},
	{CONFIG_SITE,
	 ALONE SITES "  - {name: a, address: 'x:1'}\n  - {name: b, address: 'x:2'}\n"
		     "  - {name: c, address: 'x:3'}\n",
	 "f.yaml:8: sites: has more than 4 entries"},
	{CONFIG_SITE,
	 ALONE SITES "quorum: {members: [{name: east, address: '127.0.0.1:1'}, "
		     "{name: west, address: '127.0.0.1:2'}]}\n",
	 "f.yaml:6: quorum.members: has 2 entries; list 3, 5 or 7, so that the loss of one leaves a majority: add "
	 "a witness"},
	{CONFIG_SITE, ALONE SITES "  - {name: north, address: '127.0.0.1:1'}\n" MEMBERS,
	 "f.yaml:9: quorum.members: site 'north' is not listed; every site that is not async is a member"},
	{CONFIG_WITNESS, "name: w\nstate: /w\n",
	 "f.yaml: quorum.members: is missing; list every site and this "
	 "witness"},
	{CONFIG_WITNESS, "name: w\nstate: /w\n" MEMBERS,
	 "f.yaml:5: quorum.members: 'w' (this one's own name) is not listed; add it, or correct name"},
	{CONFIG_SITE, "site: east\nstore: /dev/sdb\n" SITES MEMBERS,
	 "f.yaml:8: quorum.state: is missing; the store is a device, so name a folder on another disk"},
	/* the rule of secrecy */
	{CONFIG_SITE,
	 ALONE "sites:\n  - {name: east, address: '10.0.0.1:1'}\n"
	       "  - {name: west, address: '127.0.0.1:2'}\n" MEMBERS,
	 "f.yaml:4: sites.address: 10.0.0.1:1 is not on this machine and TLS between sites is not available in this "
	 "version; write 'insecure: true' only if nobody else can read or write on that network"},
	{CONFIG_SITE, ALONE SITES MEMBERS "  listen: '0.0.0.0:7781'\n",
	 "f.yaml:11: quorum.listen: 0.0.0.0:7781 is not on this machine and TLS between sites is not available in "
	 "this version; write 'insecure: true' only if nobody else can read or write on that network"},
	{CONFIG_WITNESS,
	 "name: witness\nstate: /w\nquorum:\n  members:\n"
	 "    - {name: east, address: '127.0.0.1:1'}\n"
	 "    - {name: west, address: 'west.example:1'}\n"
	 "    - {name: witness, address: '127.0.0.1:3'}\n",
	 "f.yaml:6: quorum.members.address: west.example:1 is not on this machine and TLS between sites is not "
	 "available in this version; write 'insecure: true' only if nobody else can read or write on that "
	 "network"},
	{CONFIG_SITE, ALONE "nbd: {listen: ['127.0.0.1:1', 'tcp:127.0.0.1:1']}\n",
	 "f.yaml:3: nbd.listen: 127.0.0.1:1 is listened on twice; nbd.listen[] has it too"},
	/* timers */
	{CONFIG_SITE, ALONE "timers: {ping: 140ms}\n",
	 "f.yaml:3: timers.ping: 140 ms breaks a rule: a lease lasts at least 6 pings; change timers.ping or "
	 "timers.lease"},
	{CONFIG_SITE, ALONE "timers: {peer_drop: 800ms}\n",
	 "f.yaml:3: timers.peer_drop: 800 ms breaks a rule: a peer is dropped before a lease ends; change "
	 "timers.peer_drop or timers.lease"},
	{CONFIG_SITE, ALONE "timers: {lease: 600ms}\n",
	 "f.yaml:3: timers.peer_drop: 600 ms breaks a rule: a peer is dropped before a lease ends; change "
	 "timers.peer_drop or timers.lease"},
	{CONFIG_SITE, ALONE "timers: {peer_drop: 200ms}\n",
	 "f.yaml:3: timers.peer_drop: 200 ms breaks a rule: more than 2 pings are missed before a peer is dropped; "
	 "change timers.peer_drop or timers.ping"},
	{CONFIG_SITE, ALONE "timers: {election: 200ms}\n",
	 "f.yaml:3: timers.election: 200 ms breaks a rule: an election waits for at least 3 heartbeats; change "
	 "timers.election or timers.heartbeat"},
	{CONFIG_SITE, ALONE "timers: {lease: 20s, disk_stall: 10s}\n",
	 "f.yaml:3: timers.disk_stall: 10000 ms breaks a rule: a disk is given longer than a lease; change "
	 "timers.disk_stall or timers.lease"},
};

START_TEST(config_error_names_file_line_key_and_what_to_do)
{
	struct config_error e;
	struct config c, before;

	memset(&before, 0xee, sizeof(before));
	ck_assert_int_eq(parse(errors[_i].text, errors[_i].kind, &c, &e), -ERR_CONFIG);
	ck_assert_str_eq(e.text, errors[_i].error);
	ck_assert(memcmp(&c, &before, sizeof(c)) == 0);
}
END_TEST

START_TEST(config_secrecy_asks_nothing_of_loopback_or_of_the_insecure)
{
	struct config_error e;
	struct config c;

	ck_assert_msg(parse(ALONE SITES MEMBERS, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	ck_assert_msg(parse(ALONE "nbd: {listen: ['0.0.0.0:10809']}\n", CONFIG_SITE, &c, &e) == 0,
		      "%s", e.text);
	ck_assert_msg(parse("name: witness\nstate: /w\ninsecure: true\n" MEMBERS
			    "  listen: '0.0.0.0:7801'\n",
			    CONFIG_WITNESS, &c, &e) == 0,
		      "%s", e.text);
	ck_assert_str_eq(c.quorum_listen, "0.0.0.0:7801");
	ck_assert_uint_eq(c.member_self, 2);
}
END_TEST

START_TEST(config_file_that_is_absent_or_unreadable_is_told)
{
	char path[] = "/tmp/ts-config-XXXXXX", big[CONFIG_FILE_BYTES_MAX + 1];
	struct config_error e;
	struct config c;
	int fd = mkstemp(path);

	ck_assert_int_eq(config_load("/nowhere/f.yaml", CONFIG_SITE, &c, &e), -ERR_NOT_FOUND);
	ck_assert_str_eq(e.text,
			 "/nowhere/f.yaml: no such file; write one, or name another with --config");
	ck_assert_int_eq(write(fd, full, sizeof(full) - 1), sizeof(full) - 1);
	ck_assert_msg(config_load(path, CONFIG_SITE, &c, &e) == 0, "%s", e.text);
	full_check(&c);
	memset(big, '#', sizeof(big));
	ck_assert_int_eq(write(fd, big, sizeof(big)), sizeof(big));
	ck_assert_int_eq(config_load(path, CONFIG_SITE, &c, &e), -ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(e.text, "too large"));
	close(fd);
	unlink(path);
}
END_TEST

/* Cut anywhere, it is read or refused, never worse. */
START_TEST(config_cut_short_is_no_crash)
{
	struct config_error e;
	struct config c;

	for (size_t n = 0; n < sizeof(full); n++) {
		int rc = config_parse("f.yaml", full, n, CONFIG_SITE, &c, &e);

		ck_assert(rc == 0 || rc == -ERR_CONFIG);
		ck_assert(rc == 0 || e.text[0] != '\0');
	}
}
END_TEST

START_TEST(config_manual_names_every_key)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	config_print_man(CONFIG_SITE, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, ".B nbd.listen\n"));
	ck_assert_ptr_nonnull(strstr(text, ".B timers.lease\n"));
	ck_assert_ptr_nonnull(strstr(text, "\\fBlibaio\\fR (not available in this version)"));
	ck_assert_ptr_nonnull(strstr(text, ".B tls\n"));
	ck_assert_ptr_null(strstr(text, ".B name\n"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("node-config");
	TCase *tc = tcase_create("config");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, config_of_a_site_alone_needs_a_name_and_a_store);
	tcase_add_test(tc, config_reads_every_key);
	tcase_add_test(tc, config_printed_reads_back_the_same);
	tcase_add_test(tc, config_presets_have_their_numbers);
	tcase_add_test(tc, config_fills_in_listeners_and_the_state_folder);
	tcase_add_test(tc, config_list_of_one_may_be_a_plain_value);
	tcase_add_test(tc, config_numbers_sites_alike_everywhere);
	tcase_add_test(tc, config_of_two_sites_needs_no_quorum_when_one_is_async);
	tcase_add_test(tc, config_of_an_async_member_counts_it_as_a_member);
	tcase_add_loop_test(tc, config_error_names_file_line_key_and_what_to_do, 0,
			    ARRAY_COUNT(errors));
	tcase_add_test(tc, config_secrecy_asks_nothing_of_loopback_or_of_the_insecure);
	tcase_add_test(tc, config_file_that_is_absent_or_unreadable_is_told);
	tcase_add_test(tc, config_cut_short_is_no_crash);
	tcase_add_test(tc, config_manual_names_every_key);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
