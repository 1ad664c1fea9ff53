/* SPDX-License-Identifier: Apache-2.0 */
/* engine/port/offload.h: work for another thread (compression, hashing, object storage); results
 * return as completions in the order of submission. */
#ifndef TS_PORT_OFFLOAD_H
#define TS_PORT_OFFLOAD_H

#include "engine/base/op.h"

struct offload;

struct offload_req {
	struct completion done; /* rc is what `work` returned */
	int (*work)(struct offload_req
			    *req); /* runs on another thread: touches only *req's owner data */
	struct offload_req *next;
};

struct offload {
	void (*submit)(struct offload *o, struct offload_req *req);
};

#endif
