/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/repl_fuzz.c: every decoder of frames and link messages.  The first byte chooses one;
 * what a decoder accepts must encode to the same bytes again (text excepted: it is made printable).
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/repl/link.h"
#include "proto/repl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_header(const uint8_t *in, uint32_t bytes)
{
	struct frame_header h;

	if (bytes >= FRAME_HEADER_BYTES && frame_header_decode(in, &h) == 0) {
		assert(h.head_bytes <= FRAME_HEAD_BYTES_MAX);
		assert(h.payload_bytes <= FRAME_PAYLOAD_BYTES_MAX);
		assert(frame_kind_name(h.kind) != NULL);
		if (bytes - FRAME_HEADER_BYTES >= h.head_bytes)
			(void)!frame_head_check(&h, in + FRAME_HEADER_BYTES);
	}
}

static void fuzz_attach(const uint8_t *in, uint32_t bytes)
{
	uint8_t out[FRAME_ATTACH_BYTES_MAX];
	struct frame_attach m;

	if (frame_attach_decode(in, bytes, &m) == 0) {
		assert(frame_attach_encode(out, &m) == bytes);
		assert(memcmp(in, out, bytes) == 0);
	}
}

static void fuzz_full(const uint8_t *in, uint32_t bytes)
{
	uint8_t *out = malloc(FRAME_FULL_BYTES_MAX);
	struct frame_full *m = malloc(sizeof(*m));

	if (out != NULL && m != NULL && frame_full_decode(in, bytes, m) == 0)
		assert(frame_full_encode(out, m) == bytes);
	free(out);
	free(m);
}

static void fuzz_link(const uint8_t *in, uint32_t bytes)
{
	uint8_t out[LINK_BYTES_MAX];
	struct link_tail tail;
	struct link_msg m;

	if (bytes <= LINK_BYTES_MAX && link_decode(in, bytes, &m, &tail) == 0) {
		assert(link_encode(out, &m) == bytes);
		assert(memcmp(in, out, bytes) == 0);
	}
}

static void fuzz_compare_ask(const uint8_t *in, uint32_t bytes)
{
	uint8_t out[FRAME_COMPARE_ASK_BYTES];
	struct frame_compare_ask m;

	if (frame_compare_ask_decode(in, bytes, &m) == 0) {
		assert(frame_compare_ask_encode(out, &m) == bytes);
		assert(memcmp(in, out, bytes) == 0);
	}
}

static void fuzz_compare_told(const uint8_t *in, uint32_t bytes)
{
	uint8_t out[FRAME_COMPARE_TOLD_BYTES_MAX];
	struct frame_compare_told m;

	if (frame_compare_told_decode(in, bytes, &m) == 0) {
		assert(frame_compare_told_encode(out, &m) == bytes);
		assert(memcmp(in, out, bytes) == 0);
	}
}

static void fuzz_small(const uint8_t *in, uint32_t bytes, uint8_t which)
{
	struct frame_hello hello;
	struct frame_refuse refuse;
	struct frame_start start;
	struct frame_ack ack;
	struct frame_base base;
	uint64_t number;

	switch (which) {
	case 0:
		(void)!frame_hello_decode(in, bytes, &hello);
		return;
	case 1:
		if (frame_refuse_decode(in, bytes, &refuse) == 0)
			assert(strlen(refuse.text) <= FRAME_TEXT_BYTES_MAX);
		return;
	case 2:
		(void)!frame_start_decode(in, bytes, &start);
		return;
	case 3:
		if (frame_ack_decode(in, bytes, &ack) == 0)
			assert(ack.durable.v <= ack.received.v);
		return;
	case 4:
		if (bytes >= 16 &&
		    frame_base_decode(in, bytes, (bytes - 16) / 4 * 4096, &base) == 0)
			assert(base.count <= FRAME_BASE_BLOCKS_MAX);
		return;
	case 5: {
		struct frame_repair repair;

		if (frame_repair_decode(in, bytes, &repair) == 0)
			assert(repair.volume < VOLUMES_MAX);
		return;
	}
	case 6: {
		struct frame_repaired repaired;

		if (frame_repaired_decode(in, bytes, BLOCK_BYTES, &repaired) == 0)
			assert(repaired.rc == 0);
		return;
	}
	case 7:
		fuzz_compare_ask(in, bytes);
		return;
	case 8:
		fuzz_compare_told(in, bytes);
		return;
	default:
		(void)!frame_number_decode(in, bytes, &number);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t bytes;

	if (size == 0 || size > 65536)
		return 0;
	bytes = (uint32_t)size - 1;
	switch (data[0] % 16) {
	case 0:
		fuzz_header(data + 1, bytes);
		break;
	case 1:
		fuzz_attach(data + 1, bytes);
		break;
	case 2:
		fuzz_full(data + 1, bytes);
		break;
	case 3:
		fuzz_link(data + 1, bytes);
		break;
	default:
		fuzz_small(data + 1, bytes, (uint8_t)(data[0] % 16 - 4));
	}
	return 0;
}
