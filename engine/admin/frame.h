/* SPDX-License-Identifier: Apache-2.0 */
/* engine/admin/frame.h: frames of the admin protocol: u32 length, then a message (proto/admin.proto). */
#ifndef TS_ADMIN_FRAME_H
#define TS_ADMIN_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "engine/admin/arena.h"
#include "proto/admin.pb-c.h"

#define ADMIN_VERSION_MIN 1u
#define ADMIN_VERSION_MAX 1u
#define FRAME_HEAD_BYTES 4u
#define FRAME_BYTES_MAX (1u << 20)   /* of the message */
#define FRAME_ARENA_BYTES (8u << 20) /* what a decoded or built message may take */

/* The message at the start of data: 0 and *ret_bytes of message after the head; -ERR_AGAIN: it has
 * not all come; -ERR_PROTOCOL: empty or longer than FRAME_BYTES_MAX. */
MUST_CHECK int frame_find(const uint8_t *data, size_t bytes, uint32_t *ret_bytes);

/* Decode a whole message into `arena`: -ERR_PROTOCOL. */
MUST_CHECK int frame_decode(struct arena *arena, const ProtobufCMessageDescriptor *type,
			    const uint8_t *message, uint32_t bytes, ProtobufCMessage **ret_message);

/* Gives head and message in one malloc: -ERR_TOO_BIG, -ERR_NOMEM. */
MUST_CHECK int frame_encode(const ProtobufCMessage *message, uint8_t **ret_data, size_t *ret_bytes);

/* The version to speak with someone who offers [min, max], or 0: there is none. */
uint32_t frame_version(uint32_t min, uint32_t max);

#endif
