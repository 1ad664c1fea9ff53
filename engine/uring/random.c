/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/random.c
 * Purpose.     getrandom(2).  It waits only until the kernel was seeded once after boot.
 * Failure.     None that a caller could answer: a machine without random numbers would make two
 *              replicas with one identity, so we stop.
 */
#include "engine/uring/random.h"

#include <errno.h>
#include <sys/random.h>

#include "engine/base/assert.h"
#include "engine/port/random.h"

static void random_fill(struct random_port *r, void *data, uint32_t bytes)
{
	uint8_t *at = data;

	while (bytes > 0) {
		ssize_t got = getrandom(at, bytes, 0);

		if (got < 0 && errno == EINTR)
			continue;
		assert(got > 0);
		at += got;
		bytes -= (uint32_t)got;
	}
}

void uring_random_init(struct random_port *ret_random)
{
	ret_random->fill = random_fill;
}
