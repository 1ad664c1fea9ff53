/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/clients/nbd_mem.c: the NBD server over volumes in memory, for trying real clients.
 *
 *	nbd_mem ADDRESS [MiB [BLOCK]]	ADDRESS: unix:/path or tcp:host:port
 *
 * Exports g/v of MiB (64) mebibytes and BLOCK (4096) bytes per block, and g/odd of 1000001 sectors
 * of 512 bytes, until SIGTERM.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/nbd/nbd_server.h"
#include "engine/uring/loop.h"
#include "engine/uring/signals.h"
#include "tests/unit/nbd/fake_volume.h"

#define WAIT_SIGNAL 1u
#define WAIT_CLOSED 2u

struct program {
	struct op op;
	struct nbd_server *server;
	struct uring_signals *signals;
	struct completion closed;
	bool closing;
	bool stop;
};

static void line_write(struct log *log, enum log_level level, const char *room, const char *line)
{
	(void)fprintf(stderr, "%s: %s\n", room, line);
}

static void program_step(struct op *op)
{
	struct program *p = container_of(op, struct program, op);

	if (!p->closing) {
		if (uring_signals_take(p->signals) == 0)
			return; /* wait: a signal */
		p->closing = true;
		completion_arm(&p->closed, &p->op, WAIT_CLOSED);
		nbd_server_close(&p->server, &p->closed);
		return; /* wait: the server */
	}
	if ((op->waits & WAIT_CLOSED) == 0)
		p->stop = true;
}

int main(int argc, char **argv)
{
	struct log log = {.level = LOG_DEBUG, .write = line_write};
	struct uring_options options = {.bufs = {.count = {1024, 256, 96}}, .log = &log};
	uint64_t bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 64) << 20;
	uint32_t block = argc > 3 && strcmp(argv[3], "512") == 0 ? 512 : 4096;
	struct nbd_server_opts opts;
	static const int signals[] = {SIGTERM, SIGINT, 0};
	struct uring_loop *loop;
	struct program p = {0};
	struct conductor *c;
	int rc;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: nbd_mem ADDRESS [MiB [BLOCK]]\n");
		return 2;
	}
	rc = uring_loop_open(&options, &loop);
	if (rc < 0) {
		(void)fprintf(stderr, "nbd_mem: no loop: %s\n", err_text(rc));
		return 1;
	}
	c = fake_conductor_open(uring_loop_env(loop));
	(void)fake_volume_add(c, "g/v", bytes, block);
	(void)fake_volume_add(c, "g/odd", 1000001ull * 512, 512);
	op_init(&p.op, uring_loop_env(loop)->ready, program_step);
	nbd_server_opts_init(&opts);
	opts.addresses[0] = argv[1];
	opts.address_count = 1;
	rc = nbd_server_open(uring_loop_env(loop), c, &opts, &p.server);
	if (rc < 0) {
		(void)fprintf(stderr, "nbd_mem: cannot listen on %s: %s\n", argv[1], err_text(rc));
		return 1;
	}
	rc = uring_signals_open(loop, signals, &p.op, &p.signals);
	assert(rc == 0);
	rc = uring_loop_run(loop, &p.stop);
	uring_signals_close(&p.signals);
	fake_conductor_close(&c);
	uring_loop_close(&loop);
	return rc < 0;
}
