/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/volume/volume_bench.h: one site alone in the simulated world: the real store, the
 * authority of a site alone, a conductor, and a client that submits operations.
 */
#ifndef TS_TESTS_VOLUME_BENCH_H
#define TS_TESTS_VOLUME_BENCH_H

#include "engine/quorum/authority.h"
#include "engine/store/store.h"
#include "engine/volume/conductor.h"
#include "engine/volume/volume.h"
#include "tests/lib/fakes.h"

struct vb {
	struct fake *f;
	struct sim_disk *authority_disk;
	struct store *store;
	struct authority *authority;
	struct conductor *c;
	struct fake_wait stop;
};

struct vb *vb_open(uint64_t seed, uint64_t store_bytes); /* formatted, started */
void vb_boot(struct vb *b);   /* open everything on what is on the disks */
void vb_stop(struct vb *b);   /* conductor_stop; the rest stays */
void vb_shut(struct vb *b);   /* everything closed in order */
void vb_crash(struct vb *b);  /* power fails; then vb_boot */
void vb_close(struct vb **b); /* after vb_shut */

/* Answer of a request. */
int vb_request(struct vb *b, struct conductor_request *r);
int vb_group(struct vb *b, enum request_kind kind, const char *group, bool force);
int vb_volume(struct vb *b, enum request_kind kind, const char *name, uint64_t bytes,
	      uint32_t block_bytes);
/* Group g with volume g/v; asserts success. */
void vb_make(struct vb *b, uint64_t bytes);

struct vb_client {
	struct op op;
	struct volume_client client;
};
int vb_attach(struct vb *b, const char *name, struct vb_client *c);
void vb_detach(struct vb_client *c);
bool vb_revoked(const struct vb_client *c);

struct vb_io {
	struct fake_wait wait;
	struct volume_io io;
};
/* A WRITE takes its bytes from data; takes a buf that vb_io_end gives back. */
void vb_submit(struct vb *b, struct vb_client *c, struct vb_io *x, enum volume_io_kind kind,
	       uint64_t off, uint64_t bytes, uint32_t flags, const uint8_t *data);
bool vb_io_done(const struct vb_io *x);
/* Wait for it: its answer; a READ's bytes go to data. */
int vb_io_end(struct vb *b, struct vb_io *x, uint8_t *data);
/* Submit and wait. */
int vb_io(struct vb *b, struct vb_client *c, enum volume_io_kind kind, uint64_t off, uint64_t bytes,
	  uint8_t *data);

#endif
