/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/admin/frame.c
 * Purpose.     Messages of the admin protocol as bytes on a stream, and back.
 * Failure.     What is not a message of the protocol is -ERR_PROTOCOL, never an assertion.
 * Limits.      FRAME_BYTES_MAX on the wire, FRAME_ARENA_BYTES in memory.
 */
#include "engine/admin/frame.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"

int frame_find(const uint8_t *data, size_t bytes, uint32_t *ret_bytes)
{
	uint32_t n;

	if (bytes < FRAME_HEAD_BYTES)
		return -ERR_AGAIN;
	n = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
	    (uint32_t)data[3] << 24;
	if (n == 0 || n > FRAME_BYTES_MAX)
		return -ERR_PROTOCOL;
	if (bytes - FRAME_HEAD_BYTES < n)
		return -ERR_AGAIN;
	*ret_bytes = n;
	return 0;
}

int frame_decode(struct arena *arena, const ProtobufCMessageDescriptor *type,
		 const uint8_t *message, uint32_t bytes, ProtobufCMessage **ret_message)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &arena->allocator, bytes, message);

	if (m == NULL)
		return -ERR_PROTOCOL;
	*ret_message = m;
	return 0;
}

int frame_encode(const ProtobufCMessage *message, uint8_t **ret_data, size_t *ret_bytes)
{
	size_t n = protobuf_c_message_get_packed_size(message);
	uint8_t *data;

	if (n > FRAME_BYTES_MAX)
		return -ERR_TOO_BIG;
	data = malloc(FRAME_HEAD_BYTES + n);
	if (data == NULL)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < FRAME_HEAD_BYTES; i++)
		data[i] = (uint8_t)(n >> (8 * i));
	if (protobuf_c_message_pack(message, data + FRAME_HEAD_BYTES) != n)
		UNREACHABLE("the size was asked for before");
	*ret_data = data;
	*ret_bytes = FRAME_HEAD_BYTES + n;
	return 0;
}

uint32_t frame_version(uint32_t min, uint32_t max)
{
	uint32_t version = max < ADMIN_VERSION_MAX ? max : ADMIN_VERSION_MAX;

	return version >= min && version >= ADMIN_VERSION_MIN ? version : 0;
}
