/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/repl/link.h: link messages (struct link_msg) as bytes: the head of a FRAME_LINK.
 * Layout: proto/repl.md, "link messages".
 */
#ifndef TS_REPL_LINK_H
#define TS_REPL_LINK_H

#include "engine/repl/repl.h"

#define LINK_BYTES_MAX 8192u

/* Returns the bytes used in out.  msg comes from our own side: group_count is in range. */
uint32_t link_encode(uint8_t out[LINK_BYTES_MAX], const struct link_msg *msg);

/* Fills *ret and, when the message carries one, *tail (then ret->tail == tail, else NULL).
 * -ERR_PROTOCOL. */
MUST_CHECK int link_decode(const uint8_t *in, uint32_t bytes, struct link_msg *ret,
			   struct link_tail *tail);

#endif
