/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ctl/ctl.h: what the commands of `twinshore` share. */
#ifndef TS_CTL_CTL_H
#define TS_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/attr.h"
#include "engine/base/types.h"

#define CTL_VERSION "0.1.0"
#define CTL_ARGS_MAX 16u

enum exit_code {
	CTL_DONE = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_REFUSED = 3, /* data could be lost */
	CTL_NOT_FOUND = 4,
	CTL_TIMEOUT = 5,
};

struct ctl {
	const char *admin; /* path of the socket */
	bool json;
	uint32_t timeout_ms;
	const struct command *command;
};

/* One command of the table in main.c. */
struct command {
	const char *name; /* "group create" */
	const char *synopsis;
	const char *help;
	int (*run)(struct ctl *ctl, int argc,
		   char **argv); /* NULL: not in this version; argv after the name */
};

/* An option of a command: "--size" with a value, or a flag. */
struct opt {
	const char *name;
	const char **value; /* NULL: a flag */
	bool *flag;
	bool later; /* not available in this version */
};

/* The document {"error": ...} on stdout with --json, a sentence on stderr without.  Returns exit_code. */
PRINTF_LIKE(5, 6)
int ctl_fail(const struct ctl *ctl, int exit_code, const char *code, const char *hint,
	     const char *fmt, ...);
PRINTF_LIKE(2, 3)
int ctl_usage(const struct ctl *ctl, const char *fmt, ...); /* exit code 2, with the synopsis */
int ctl_later(const struct ctl *ctl, const char *what); /* "... is not available in this version" */
/* Done: {"result": "done", key: value} or a word on stdout. */
int ctl_done(const struct ctl *ctl, const char *key, const char *value);

/* Sort argv into options and at most args_max others, which must be at least args_min; 0 or an exit
 * code (told already). */
int ctl_parse(const struct ctl *ctl, int argc, char **argv, const struct opt *opts,
	      uint32_t args_min, uint32_t args_max, const char **args);

/* GROUP/NAME into its halves; 0 or CTL_USAGE (told already). */
int ctl_split(const struct ctl *ctl, const char *text, char group[NAME_BYTES_MAX + 1],
	      char name[NAME_BYTES_MAX + 1]);
/* GROUP@SNAPSHOT, the same way. */
int ctl_split_snapshot(const struct ctl *ctl, const char *text, char group[NAME_BYTES_MAX + 1],
		       char name[NAME_BYTES_MAX + 1]);
int ctl_name(const struct ctl *ctl, const char *what, const char *text);
int ctl_size(const struct ctl *ctl, const char *text, uint64_t *ret_bytes);

int cmd_status(struct ctl *ctl, int argc, char **argv);
int cmd_events(struct ctl *ctl, int argc, char **argv);
int cmd_explain(struct ctl *ctl, int argc, char **argv);
int cmd_ping(struct ctl *ctl, int argc, char **argv);
int cmd_quorum_status(struct ctl *ctl, int argc, char **argv);
int cmd_group_create(struct ctl *ctl, int argc, char **argv);
int cmd_group_set(struct ctl *ctl, int argc, char **argv);
int cmd_group_delete(struct ctl *ctl, int argc, char **argv);
int cmd_group_list(struct ctl *ctl, int argc, char **argv);
int cmd_volume_create(struct ctl *ctl, int argc, char **argv);
int cmd_volume_resize(struct ctl *ctl, int argc, char **argv);
int cmd_volume_delete(struct ctl *ctl, int argc, char **argv);
int cmd_store_grow(struct ctl *ctl, int argc, char **argv);
int cmd_scrub(struct ctl *ctl, int argc, char **argv);
int cmd_volume_list(struct ctl *ctl, int argc, char **argv);
int cmd_snapshot_create(struct ctl *ctl, int argc, char **argv);
int cmd_snapshot_list(struct ctl *ctl, int argc, char **argv);
int cmd_snapshot_delete(struct ctl *ctl, int argc, char **argv);
int cmd_clone(struct ctl *ctl, int argc, char **argv);
int cmd_rollback(struct ctl *ctl, int argc, char **argv);
int cmd_diff(struct ctl *ctl, int argc, char **argv);
int cmd_switchover(struct ctl *ctl, int argc, char **argv);
int cmd_pause(struct ctl *ctl, int argc, char **argv);
int cmd_resume(struct ctl *ctl, int argc, char **argv);
int cmd_failover(struct ctl *ctl, int argc, char **argv);
int cmd_store_format(struct ctl *ctl, int argc, char **argv);
int cmd_store_inspect(struct ctl *ctl, int argc, char **argv);
int cmd_store_check(struct ctl *ctl, int argc, char **argv);

#endif
