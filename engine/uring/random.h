/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/random.h: random numbers of the kernel. */
#ifndef TS_URING_RANDOM_H
#define TS_URING_RANDOM_H

struct random_port;

void uring_random_init(struct random_port *ret_random);

#endif
