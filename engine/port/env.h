/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/port/env.h: the environment: everything a module gets from outside, passed at _init or
 * _open only and borrowed for life.  One per thread (real) or per simulated thread of a node.
 */
#ifndef TS_PORT_ENV_H
#define TS_PORT_ENV_H

struct ready;
struct clock;
struct net;
struct random_port;
struct offload;
struct log;
struct counters;
struct buf_pool;

struct env {
	struct ready *ready;
	struct clock *clock;
	struct net *net;
	struct random_port *random;
	struct offload *offload; /* may be NULL */
	struct log *log;
	struct counters *counters;
	struct buf_pool *bufs; /* pool of this thread; NULL in the quorum member */
};

#endif
