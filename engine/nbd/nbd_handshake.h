/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/nbd/nbd_handshake.h: the haggling before transmission, as a step function over bytes: it
 * looks nothing up and sends nothing, it says what to do.
 *
 *	greet, then repeat: step(bytes) -> MORE, AGAIN, CLOSE, or a question to be answered:
 *	FIND -> found / not_found;  LIST -> entry..., list_end.
 */
#ifndef TS_NBD_HANDSHAKE_H
#define TS_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"
#include "engine/volume/volume.h"
#include "proto/cursor.h"
#include "proto/nbd.h"

#define NBD_OPTION_BYTES_MAX (64u << 10)      /* payload that is looked at */
#define NBD_OPTION_DRAIN_BYTES_MAX (1u << 20) /* payload that is read and refused; above: close */
#define NBD_OPTIONS_MAX 256u		      /* options of one client; one more closes */
#define NBD_HANDSHAKE_OUT_BYTES 1024u	      /* room `out` must have for each call */

enum nbd_handshake_effect {
	NBD_HANDSHAKE_MORE, /* nothing more can be done with these bytes: append some, call again */
	NBD_HANDSHAKE_AGAIN,	/* something was consumed: call again with the rest */
	NBD_HANDSHAKE_FIND,	/* find export `name`; answer with found or not_found */
	NBD_HANDSHAKE_LIST,	/* answer with entry for each export, then list_end */
	NBD_HANDSHAKE_CLOSE,	/* send what is in `out`, then close */
	NBD_HANDSHAKE_TRANSMIT, /* send what is in `out`; requests start at the next byte */
};

enum nbd_handshake_state {
	NBD_HANDSHAKE_FLAGS,   /* the client's flags come next */
	NBD_HANDSHAKE_OPTION,  /* an option comes next */
	NBD_HANDSHAKE_DRAIN,   /* dropping the payload of an option that is too large */
	NBD_HANDSHAKE_FINDING, /* waiting for found or not_found */
	NBD_HANDSHAKE_LISTING, /* waiting for entries */
	NBD_HANDSHAKE_OVER,    /* CLOSE or TRANSMIT was given */
};

struct nbd_handshake {
	/* fields may be read; only nbd_handshake.c writes them */
	enum nbd_handshake_state state;
	uint32_t option;      /* being answered */
	uint32_t drain_bytes; /* still to be dropped */
	uint32_t options;     /* seen so far */
	uint32_t infos;	      /* bit per enum nbd_info the client asked for */
	bool no_zeroes;
	uint32_t name_bytes;
	char name[NBD_STRING_BYTES_MAX];
};

void nbd_handshake_init(struct nbd_handshake *h, struct cursor *out); /* puts the greeting */

/* Take at most one option from `in`; *ret_used bytes were consumed.
 * Legal in FLAGS, OPTION, DRAIN. */
MUST_CHECK enum nbd_handshake_effect nbd_handshake_step(struct nbd_handshake *h, const uint8_t *in,
							uint32_t in_bytes, uint32_t *ret_used,
							struct cursor *out);

/* True if the client wants to use the export (EXPORT_NAME, GO), so it must be attached before
 * found; false if it only asks (INFO).  Legal after FIND. */
bool nbd_handshake_enters(const struct nbd_handshake *h);

/* Answers to FIND: TRANSMIT or AGAIN, and AGAIN or CLOSE.  rc is volume_find's or volume_attach's. */
MUST_CHECK enum nbd_handshake_effect nbd_handshake_found(struct nbd_handshake *h,
							 const struct volume_info *info,
							 struct cursor *out);
MUST_CHECK enum nbd_handshake_effect nbd_handshake_not_found(struct nbd_handshake *h, int rc,
							     const char *message,
							     struct cursor *out);

/* Answers to LIST. */
void nbd_handshake_entry(struct nbd_handshake *h, const struct volume_info *info,
			 struct cursor *out);
void nbd_handshake_list_end(struct nbd_handshake *h, struct cursor *out);

/* Transmission flags of an export. */
uint16_t nbd_export_flags(const struct volume_info *info);

#endif
