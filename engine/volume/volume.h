/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/volume/volume.h: what the front door sees: exports, and reads and writes on them.
 */
#ifndef TS_VOLUME_VOLUME_H
#define TS_VOLUME_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/op.h"
#include "engine/base/types.h"
#include "engine/base/uuid.h"

struct conductor; /* all groups of this site */
struct volume;

struct volume_info {
	char name[3 * NAME_BYTES_MAX + 3]; /* "GROUP/VOLUME" or "GROUP/VOLUME@SNAPSHOT" */
	struct uuid uuid;
	uint64_t bytes;
	uint32_t block_bytes; /* 512 or 4096 */
	bool read_only;
};

/*
 * Find the export `name` (not terminated, name_bytes long): "GROUP/VOLUME", or "" for the only
 * volume of the site, or "GROUP/VOLUME@SNAPSHOT", read-only and at any site that has it.  0 and
 * *ret_volume; -ERR_NOT_FOUND; -ERR_NOT_PRIMARY or -ERR_SUSPENDED with a sentence for the client in
 * message (names the primary).
 */
MUST_CHECK int volume_find(struct conductor *c, const char *name, uint32_t name_bytes,
			   struct volume **ret_volume, char *message, uint32_t message_bytes);

void volume_info(const struct volume *v, struct volume_info *ret);

/* Exports that a client may open here now: volumes in name order, then snapshots of groups, the
 * newest first, EXPORTS_LISTED_MAX at most. index 0..; false at the end. */
#define EXPORTS_LISTED_MAX 256u
bool volume_list(struct conductor *c, uint32_t index, struct volume_info *ret);

/*
 * A connected client.  While attached, `v` stays valid.  When the volume can no longer be served
 * under the epoch of the attachment (role change, deletion, suspend_max over), `revoked` fires
 * -ERR_CLOSED once: the client must submit nothing more, wait for what is in flight (it ends soon:
 * success, or -ERR_CLOSED which must not be answered), close its socket and detach.
 */
struct volume_client {
	struct completion revoked; /* armed by the client before attach */
	/* fields below are private to volume */
	struct volume *volume;
	struct list_link link;
	uint64_t epoch;
	uint32_t in_flight;
};
MUST_CHECK int volume_attach(struct volume *v,
			     struct volume_client *client); /* -ERR_NOT_PRIMARY... */
/* Nothing may be in flight.  If `revoked` has not fired, it fires -ERR_CANCELED. */
void volume_detach(struct volume_client *client);

enum volume_io_kind { VOLUME_READ, VOLUME_WRITE, VOLUME_FLUSH, VOLUME_TRIM, VOLUME_ZERO };

#define VOLUME_IO_FUA 1u
#define VOLUME_IO_NO_HOLE 2u

/*
 * One request, or one piece of it: byte range [off, off+bytes) inside the volume, any alignment.
 * READ and WRITE: at most 1 MiB and within one 1 MiB-aligned window of the volume, so that with
 * the rounding to 4 KiB it fits one buf; the first byte is at buf->data + off % 4096, and the buf
 * holds the range rounded out to 4096.  For WRITE the rest of the first and last block is filled in
 * by volume.  TRIM and ZERO: at most one block less than 64 GiB, no buf.  FLUSH: no range.
 *
 * Takes a reference on buf until done (READ fills it).  The struct is borrowed until done.
 * done.rc: 0; -ERR_RANGE, -ERR_IO, -ERR_CORRUPT, -ERR_FULL, -ERR_READONLY: answer the client so;
 * -ERR_CLOSED: never answer, close the connection (role change; QUORUM J13).
 * Writes on overlapping blocks take effect in order of submission; an ack means durable in the
 * journal of every member of the ack set, so FLUSH waits only for writes answered before it.
 */
struct volume_io {
	struct completion done;
	enum volume_io_kind kind;
	uint32_t flags;
	uint64_t off;
	uint64_t bytes;
	struct buf *buf;
	/* fields below are private to volume; zero them or not, volume_submit initialises */
	struct volume_client *client;
	struct op op;
	struct list_link link;
	struct list_link gate_link;
	uint64_t private[64];
};

/* Never completes synchronously.  client must be attached; after `revoked` it completes -ERR_CLOSED. */
void volume_submit(struct volume_client *client, struct volume_io *io);

#endif
