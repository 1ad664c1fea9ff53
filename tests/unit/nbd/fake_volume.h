/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/nbd/fake_volume.h: the volume room as a test wants it: exports in memory, results on
 * demand.  It implements engine/volume/volume.h and checks its contract with assertions.
 */
#ifndef TS_TESTS_FAKE_VOLUME_H
#define TS_TESTS_FAKE_VOLUME_H

#include "engine/port/env.h"
#include "engine/volume/volume.h"

#define FAKE_VOLUMES_MAX 600u

struct volume {
	struct conductor *conductor;
	struct volume_info info;
	uint8_t *data;
	struct list clients;
};

struct conductor {
	const struct env *env;
	struct volume *volumes;
	uint32_t count;
	int refuse_rc; /* what volume_find says about a name it knows, if not 0 */
	int attach_rc;
	int fail_rc; /* result of a request that touches fail_off */
	uint64_t fail_off;
	bool hold;    /* keep requests until fake_release */
	bool reverse; /* release the newest first */
	struct list held;
	uint32_t held_count, most_held;
	uint64_t writes, reads, flushes, trims, zeroes, fua, no_hole;
};

struct conductor *fake_conductor_open(const struct env *env);
void fake_conductor_close(struct conductor **c);
struct volume *fake_volume_add(struct conductor *c, const char *name, uint64_t bytes,
			       uint32_t block_bytes);

/* Finish up to n held requests; with rc if it is not 0. */
void fake_release(struct conductor *c, uint32_t n, int rc);

/* The site loses its role: revoke every client and end what is held with -ERR_CLOSED. */
void fake_revoke(struct volume *v);

#endif
