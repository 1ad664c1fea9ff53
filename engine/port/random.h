/* SPDX-License-Identifier: Apache-2.0 */
/* engine/port/random.h: random numbers come from here only (the kernel's, or the simulator's seed). */
#ifndef TS_PORT_RANDOM_H
#define TS_PORT_RANDOM_H

#include <stdint.h>

struct random_port {
	void (*fill)(struct random_port *r, void *data, uint32_t bytes);
};

static inline uint64_t random_u64(struct random_port *r)
{
	uint64_t x;

	r->fill(r, &x, sizeof(x));
	return x;
}

#endif
