/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/witness.c: main of twinshore-witness: a quorum member without volumes.
 * Failure.     Exit codes: 0 stopped, 1 failed, 2 bad configuration.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/node/config.h"
#include "engine/node/desk.h"
#include "engine/node/log_stderr.h"
#include "engine/node/quorum_thread.h"
#include "engine/uring/loop.h"
#include "engine/uring/notify.h"
#include "engine/uring/signals.h"

struct witness {
	struct op op;
	struct config config;
	struct log_stderr log;
	struct uring_signals *signals;
	bool stop;
};

static void witness_step(struct op *op)
{
	struct witness *w = container_of(op, struct witness, op);
	int signal;

	while ((signal = uring_signals_take(w->signals)) != 0)
		w->stop = w->stop || signal != SIGHUP;
}

static int witness_run(struct witness *w)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, 0};
	struct uring_options uo = {.entries = 16, .log = &w->log.log};
	struct uring_loop *loop;
	struct quorum_thread *quorum;
	struct mailbox *none;
	int rc = uring_loop_open(&uo, &loop);

	if (rc < 0) {
		log_error(&w->log.log, "node", "setting up io_uring: %s", err_text(rc));
		return rc;
	}
	op_init(&w->op, uring_loop_env(loop)->ready, witness_step);
	rc = uring_signals_open(loop, signals, &w->op, &w->signals);
	if (rc < 0)
		goto out_loop;
	rc = quorum_thread_start(&w->config, &w->log.log, NULL, &quorum, &none);
	if (rc < 0)
		goto out_signals;
	log_info(&w->log.log, "node", "witness %s is ready", w->config.name);
	uring_notify("READY=1");
	rc = uring_loop_run(loop, &w->stop);
	uring_notify("STOPPING=1");
	quorum_thread_stop_member(quorum);
	if (quorum_thread_end(&quorum) < 0)
		rc = -ERR_IO;
out_signals:
	uring_signals_close(&w->signals);
out_loop:
	uring_loop_close(&loop);
	return rc;
}

static void usage(FILE *out)
{
	fprintf(out,
		"usage: twinshore-witness --config FILE [--check]\n"
		"The third member of a quorum: no volumes. Exit codes: 0 stopped, 1 failed, 2 bad configuration.\n"
		"See twinshore-witness(8).\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"check", no_argument, NULL, 'k'},
						{"version", no_argument, NULL, 'v'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	static const char default_path[] = "/etc/twinshore/witness.yaml";
	struct witness *w = calloc(1, sizeof(*w));
	struct config_error error;
	const char *path = default_path;
	bool check = false;
	int opt, rc = 0;

	if (w == NULL)
		return 1;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'c')
			path = optarg;
		else if (opt == 'k')
			check = true;
		else if (opt == 'v' || opt == 'h') {
			opt == 'v' ? (void)printf("twinshore-witness %s\n", TWINSHORE_VERSION)
				   : usage(stdout);
			free(w);
			return 0;
		} else {
			usage(stderr);
			free(w);
			return 2;
		}
	}
	if (config_load(path, CONFIG_WITNESS, &w->config, &error) < 0) {
		fprintf(stderr, "twinshore-witness: %s\n", error.text);
		free(w);
		return 2;
	}
	log_stderr_init(&w->log, STDERR_FILENO, (enum log_level)w->config.log_level,
			w->config.log_format == CONFIG_LOG_JSON);
	if (check)
		config_print(&w->config, stdout);
	else
		rc = witness_run(w);
	free(w);
	return rc < 0 ? 1 : 0;
}
