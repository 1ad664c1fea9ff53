/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/config.h: the configuration of a site or a witness as plain data.
 *
 * Every text is NUL-terminated and was checked; an empty one was not given.  After config_load
 * returned 0 all rules hold (config_check.c) and every default is filled in.
 */
#ifndef TS_NODE_CONFIG_H
#define TS_NODE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"

#define CONFIG_PATH_BYTES 256
#define CONFIG_ADDRESS_BYTES 128
#define CONFIG_NAME_BYTES (SITE_NAME_BYTES_MAX + 1)
#define CONFIG_LISTEN_MAX 8
#define CONFIG_MEMBERS_MAX 7
#define CONFIG_FILE_BYTES_MAX 65536u

enum config_kind { CONFIG_SITE = 1, CONFIG_WITNESS = 2 };

/* Values of the WORD keys, in the order of config.tbl; log_level is enum log_level. */
enum config_tls { CONFIG_TLS_OFF, CONFIG_TLS_OPTIONAL, CONFIG_TLS_REQUIRED };
enum config_io { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_LIBAIO };
enum config_preset { CONFIG_PRESET_DEFAULT, CONFIG_PRESET_TUNED, CONFIG_PRESET_FAR };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };

struct config_place {
	char name[CONFIG_NAME_BYTES];
	char address[CONFIG_ADDRESS_BYTES];
	bool async; /* of a site */
};

#define CONFIG_DISTANT_ID 16u /* numbers of sites that are no members are above */

/* One of the two is 0. */
struct config_share {
	uint64_t bytes;
	uint32_t percent;
	uint32_t zero; /* no padding: configurations are compared as bytes */
};

struct config_timers {
	uint32_t preset;
	uint32_t heartbeat_ms;
	uint32_t election_ms;
	uint32_t ping_ms;
	uint32_t peer_drop_ms;
	uint32_t lease_ms;
	uint32_t grace_ms; /* not a key: 1.1 times the lease */
	uint32_t hold_down_ms;
	uint32_t suspend_max_ms;
	uint32_t disk_stall_ms;
};

struct config {
	enum config_kind kind;
	char name[CONFIG_NAME_BYTES]; /* of the site or the witness */
	char store[CONFIG_PATH_BYTES];
	char state[CONFIG_PATH_BYTES]; /* the quorum's folder; empty in a site alone */
	char admin[CONFIG_PATH_BYTES];
	char nbd_listen[CONFIG_LISTEN_MAX][CONFIG_ADDRESS_BYTES];
	uint32_t nbd_listen_count;
	uint32_t nbd_tls;
	char replication_listen[CONFIG_ADDRESS_BYTES];
	struct config_place sites[SITES_MAX]; /* count 0: a site alone */
	uint32_t site_count;
	uint32_t site_self; /* index of this site in sites */
	char quorum_listen[CONFIG_ADDRESS_BYTES];
	struct config_place members[CONFIG_MEMBERS_MAX];
	uint32_t member_count;
	uint32_t member_self; /* index of this process in members; its raft id is one more */
	bool insecure;
	char metrics_listen[CONFIG_ADDRESS_BYTES];
	uint32_t io;
	struct config_share journal;
	uint64_t memory_bytes;
	uint32_t threads; /* 0: auto */
	uint64_t scrub_bytes_s;
	struct config_timers timers;
	uint32_t log_level;
	uint32_t log_format;
};

/* "FILE:LINE: KEY: what is wrong; what to do" */
struct config_error {
	char text[512];
};

/* Read and check a file.  -ERR_CONFIG, -ERR_NOT_FOUND, -ERR_PERMISSION, -ERR_IO, -ERR_NOMEM;
 * ret_error says why, ret_config is untouched then. */
MUST_CHECK int config_load(const char *path, enum config_kind kind, struct config *ret_config,
			   struct config_error *ret_error);

/* The same for text in memory; `file` is for messages.  -ERR_CONFIG, -ERR_NOMEM. */
MUST_CHECK int config_parse(const char *file, const void *text, size_t bytes, enum config_kind kind,
			    struct config *ret_config, struct config_error *ret_error);

/* The number of sites[index], the same in the configuration of every site: a member's is its place in
 * quorum.members, 1.. (its raft id); a distant site's is CONFIG_DISTANT_ID and its place in sites, 1..  A distant
 * site's own file has no members: there the places of the sites that are not async count, which is why members must
 * begin with those, in the order of sites. */
uint32_t config_site_id(const struct config *config, uint32_t index);
/* sites[index] is async and no member of the quorum. */
bool config_site_is_distant(const struct config *config, uint32_t index);

/* Print it as a file that says the same, every default written out (`--check`). */
void config_print(const struct config *config, FILE *out);

/* Print the section KEYS of the man page (troff -man). */
void config_print_man(enum config_kind kind, FILE *out);

#endif
