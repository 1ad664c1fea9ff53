/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/node/twinshored.c: main of a site's daemon.
 * Purpose.     Options, configuration, pools; the engine's loop in this thread, the quorum's beside.
 * States.      opening -> serving -> stopping (SIGTERM, SIGINT) -> exit.
 * Failure.     Exit codes: 0 stopped, 1 failed, 2 bad configuration (INTERFACE).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/node/config.h"
#include "engine/node/desk.h"
#include "engine/node/log_stderr.h"
#include "engine/node/quorum_thread.h"
#include "engine/node/site.h"
#include "engine/quorum/member.h"
#include "engine/uring/disk.h"
#include "engine/uring/file.h"
#include "engine/uring/loop.h"
#include "engine/uring/mailbox.h"
#include "engine/uring/notify.h"
#include "engine/uring/signals.h"

#define W_STOP 1u
#define W_DESK 2u

struct daemon {
	struct op op;
	struct config config;
	const char *config_path;
	struct log_stderr log;
	struct uring_loop *loop;
	struct disk *disk, *alone_disk;
	bool alone_format;
	struct mailbox *inbox, *outbox;
	struct quorum_thread *quorum;
	struct uring_signals *signals;
	struct site *site;
	struct desk *desk;
	struct completion stopped, desk_stopped;
	bool announced, stopping, stop;
	int exit_code;
};

static int daemon_open(struct daemon *d);
static void daemon_step(struct op *op);
static void daemon_close(struct daemon *d);

static void usage(FILE *out)
{
	fprintf(out, "usage: twinshored --config FILE [--check]\n"
		     "  --config FILE  the configuration (default /etc/twinshore/twinshored.yaml)\n"
		     "  --check        validate it, print it with every default, and exit\n"
		     "  --version      print the version\n"
		     "Exit codes: 0 stopped, 1 failed, 2 bad configuration. See twinshored(8).\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"check", no_argument, NULL, 'k'},
						{"version", no_argument, NULL, 'v'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct daemon *d = calloc(1, sizeof(*d));
	struct config_error error;
	bool check = false;
	int opt, rc;

	if (d == NULL)
		return 1;
	d->config_path = "/etc/twinshore/twinshored.yaml";
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'c')
			d->config_path = optarg;
		else if (opt == 'k')
			check = true;
		else if (opt == 'v' || opt == 'h') {
			opt == 'v' ? (void)printf("twinshored %s\n", TWINSHORE_VERSION)
				   : usage(stdout);
			free(d);
			return 0;
		} else {
			usage(stderr);
			free(d);
			return 2;
		}
	}
	if (config_load(d->config_path, CONFIG_SITE, &d->config, &error) < 0) {
		fprintf(stderr, "twinshored: %s\n", error.text);
		free(d);
		return 2;
	}
	if (check) {
		config_print(&d->config, stdout);
		free(d);
		return 0;
	}
	log_stderr_init(&d->log, STDERR_FILENO, (enum log_level)d->config.log_level,
			d->config.log_format == CONFIG_LOG_JSON);
	rc = daemon_open(d);
	if (rc == 0)
		rc = uring_loop_run(d->loop, &d->stop);
	daemon_close(d);
	rc = rc < 0 ? 1 : d->exit_code;
	free(d);
	return rc;
}

/* Three eighths of the memory are buffers: half of them large, a quarter each middle and small. */
static void daemon_pools(const struct config *config, struct uring_options *o)
{
	uint64_t bytes = config->memory_bytes / 8 * 3;
	uint64_t large = bytes / 2 >> 20, middle = bytes / 4 >> 16, small = bytes / 4 >> 12;

	o->bufs.count[BUF_1M] = large < 16 ? 16 : (uint32_t)large;
	o->bufs.count[BUF_64K] = middle < 64 ? 64 : (uint32_t)middle;
	o->bufs.count[BUF_4K] = small < 1024 ? 1024 : (uint32_t)small;
}

static int daemon_open_alone(struct daemon *d)
{
	char path[CONFIG_PATH_BYTES + 16];
	struct uring_disk_options o = {.create = true,
				       .allocate = true,
				       .bytes = MEMBER_FILE_BYTES,
				       .lock_wait_ms = URING_LOCK_WAIT_MS};
	struct stat sb;

	int rc;

	if (stat(d->config.store, &sb) == 0 && S_ISBLK(sb.st_mode)) {
		/* Not beside a device node: /dev is made anew at each boot. */
		rc = file_make_folder("/var/lib/twinshore");
		if (rc < 0)
			return rc;
		snprintf(path, sizeof(path), "/var/lib/twinshore/%s.authority", d->config.name);
	} else {
		snprintf(path, sizeof(path), "%s.authority", d->config.store);
	}
	d->alone_format = file_is_blank(path);
	return uring_disk_open(d->loop, path, &o, &d->alone_disk);
}

static void daemon_site_opts(struct daemon *d, struct site_opts *o)
{
	const struct config *c = &d->config;

	memset(o, 0, sizeof(*o));
	o->id = c->site_count != 0 ? config_site_id(c, c->site_self) : 1;
	snprintf(o->name, sizeof(o->name), "%s", c->name);
	for (uint32_t i = 0; i < c->site_count; i++) {
		uint32_t id = config_site_id(c, i);

		o->sites[o->site_count].id = id;
		o->sites[o->site_count].is_distant = config_site_is_distant(c, i);
		snprintf(o->sites[o->site_count++].name, sizeof(o->name), "%s", c->sites[i].name);
		if (i == c->site_self)
			continue;
		o->peers[o->peer_count].site = id;
		snprintf(o->peers[o->peer_count].name, sizeof(o->name), "%s", c->sites[i].name);
		snprintf(o->peers[o->peer_count++].address, sizeof(o->peers[0].address), "%s",
			 c->sites[i].address);
	}
	if (c->site_count == 0) {
		o->sites[0].id = 1;
		snprintf(o->sites[0].name, sizeof(o->name), "%s", c->name);
		o->site_count = 1;
	} else {
		o->replication_listen = c->replication_listen;
	}
	o->timers = (struct conductor_timers){c->timers.ping_ms,      c->timers.peer_drop_ms,
					      c->timers.lease_ms,     c->timers.grace_ms,
					      c->timers.hold_down_ms, c->timers.suspend_max_ms};
	o->store.memory_bytes = c->memory_bytes / 2;
	o->scrub_bytes_s = c->scrub_bytes_s;
	o->store.disk_stall_ms = c->timers.disk_stall_ms;
	o->store.journal_percent = c->journal.percent;
	if (c->journal.bytes !=
	    0) { /* given as a size: the share of this store that it is, rounded up */
		uint64_t share = (c->journal.bytes * 100 + d->disk->bytes - 1) / d->disk->bytes;

		o->store.journal_percent = share < 1 ? 1 : share > 90 ? 90 : (uint32_t)share;
	}
	for (uint32_t i = 0; i < c->nbd_listen_count; i++)
		o->nbd_listen[o->nbd_listen_count++] = c->nbd_listen[i];
	o->nbd_connections_max = 256;
	o->inbox = d->inbox;
	o->outbox = d->outbox;
	o->alone_disk = d->alone_disk;
	o->alone_format = d->alone_format;
}

static int daemon_open_quorum(struct daemon *d)
{
	int rc;

	if (d->config.site_count != 0 && config_site_is_distant(&d->config, d->config.site_self))
		return 0; /* it is told */
	if (d->config.member_count == 0) {
		rc = daemon_open_alone(d);
		if (rc < 0)
			log_error(&d->log.log, "node",
				  "opening the authority's file beside the store %s: %s",
				  d->config.store, err_text(rc));
		return rc;
	}
	rc = uring_mailbox_open(d->loop, &d->inbox);
	if (rc < 0)
		return rc;
	d->inbox->receiver =
		&d->op; /* until the site's authority takes it over: views wait in it */
	return quorum_thread_start(&d->config, &d->log.log, d->inbox, &d->quorum, &d->outbox);
}

static int daemon_open(struct daemon *d)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, 0};
	struct uring_options uo = {.entries = 1024,
				   .register_arena = true,
				   .log = &d->log.log,
				   .kernel_ring_required = d->config.io == CONFIG_IO_URING};
	struct uring_disk_options dopts = {.lock_wait_ms = URING_LOCK_WAIT_MS};
	struct rlimit files = {65536, 65536};
	struct site_opts so;
	int rc;

	(void)setrlimit(RLIMIT_NOFILE, &files);
	daemon_pools(&d->config, &uo);
	rc = uring_loop_open(&uo, &d->loop);
	if (rc < 0) {
		log_error(&d->log.log, "node", "setting up io_uring: %s", err_text(rc));
		return rc;
	}
	op_init(&d->op, uring_loop_env(d->loop)->ready, daemon_step);
	rc = uring_signals_open(d->loop, signals, &d->op, &d->signals);
	if (rc < 0)
		return rc;
	rc = uring_disk_open(d->loop, d->config.store, &dopts, &d->disk);
	if (rc < 0) {
		log_error(&d->log.log, "node", "opening the store %s: %s%s", d->config.store,
			  err_text(rc),
			  rc == -ERR_NOT_FOUND ? ": make it with 'twinshore store format'" : "");
		return rc;
	}
	rc = daemon_open_quorum(d);
	if (rc < 0)
		return rc;
	daemon_site_opts(d, &so);
	return site_open(uring_loop_env(d->loop), d->disk, &so, &d->op, &d->site);
}

static void daemon_serving(struct daemon *d)
{
	struct desk_opts o = {.config = &d->config, .log = &d->log.log};
	int rc;

	d->announced = true;
	rc = desk_open(uring_loop_env(d->loop), d->site, &o, &d->desk);
	if (rc < 0) {
		d->exit_code = 1;
		raise(SIGTERM);
		return;
	}
	log_info(&d->log.log, "node", "site %s is serving", d->config.name);
	uring_notify("READY=1");
}

static void daemon_signal(struct daemon *d, int signal)
{
	struct config fresh;
	struct config_error error;

	if (signal == SIGHUP) {
		if (config_load(d->config_path, CONFIG_SITE, &fresh, &error) < 0) {
			log_error(&d->log.log, "node",
				  "re-reading the configuration: %s: keeping the old one",
				  error.text);
			return;
		}
		d->log.log.level = (enum log_level)fresh.log_level;
		log_info(&d->log.log, "node", "log level re-read");
		return;
	}
	if (d->stopping || d->site == NULL)
		return;
	d->stopping = true;
	log_info(&d->log.log, "node", "stopping");
	uring_notify("STOPPING=1");
	if (d->desk != NULL) {
		completion_arm(&d->desk_stopped, &d->op, W_DESK);
		desk_stop(d->desk, &d->desk_stopped);
	}
	completion_arm(&d->stopped, &d->op, W_STOP);
	site_stop(d->site, &d->stopped);
}

static void daemon_step(struct op *op)
{
	struct daemon *d = container_of(op, struct daemon, op);
	int signal;

	while ((signal = uring_signals_take(d->signals)) != 0)
		daemon_signal(d, signal);
	if (d->site == NULL)
		return;
	if (site_state(d->site) == SITE_SERVING && !d->announced)
		daemon_serving(d);
	if (site_state(d->site) == SITE_FAILED && !d->stopping) {
		d->exit_code = 1;
		daemon_signal(d, SIGTERM);
	}
	if (d->stopping && op->waits == 0)
		d->stop = true;
	/* else wait: signals, the site, the desk */
}

static void daemon_close(struct daemon *d)
{
	if (d->desk != NULL && (d->op.waits & W_DESK) == 0)
		desk_close(&d->desk);
	if (d->quorum != NULL)
		quorum_thread_stop_member(d->quorum);
	if (d->site != NULL && site_state(d->site) == SITE_STOPPED)
		site_close(&d->site);
	if (d->quorum != NULL)
		(void)quorum_thread_end(&d->quorum);
	if (d->inbox != NULL)
		uring_mailbox_close(&d->inbox);
	if (d->alone_disk != NULL)
		uring_disk_close(&d->alone_disk);
	if (d->disk != NULL)
		uring_disk_close(&d->disk);
	if (d->signals != NULL)
		uring_signals_close(&d->signals);
	if (d->loop != NULL)
		uring_loop_close(&d->loop);
}
