/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/nbd_handshake_fuzz.c
 * Purpose.     Any bytes, cut anywhere, through the handshake's step function.
 * Invariants.  The answers do not depend on how the stream was cut; every call keeps its bound of
 *              output; consumed bytes never exceed what was given.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"
#include "engine/nbd/nbd_handshake.h"

#define OUT_BYTES (512u << 10) /* NBD_OPTIONS_MAX answers and the list end */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct run {
	uint8_t *out;
	uint32_t out_bytes;
	uint32_t used;
	enum nbd_handshake_effect last;
};

static enum nbd_handshake_effect answer(struct nbd_handshake *h, enum nbd_handshake_effect effect,
					struct cursor *out)
{
	struct volume_info info = {.name = "group/volume", .bytes = 1u << 30, .block_bytes = 512};
	bool known = h->name_bytes != 1;

	if (effect == NBD_HANDSHAKE_FIND)
		return known ? nbd_handshake_found(h, &info, out)
			     : nbd_handshake_not_found(h, -ERR_NOT_FOUND, "", out);
	if (effect == NBD_HANDSHAKE_LIST) {
		nbd_handshake_entry(h, &info, out);
		nbd_handshake_list_end(h, out);
		return NBD_HANDSHAKE_AGAIN;
	}
	return effect;
}

static void run(struct run *r, const uint8_t *data, uint32_t bytes, uint32_t cut)
{
	struct nbd_handshake *h = malloc(sizeof(*h));
	uint32_t given = 0;
	struct cursor out;

	cursor_init(&out, r->out, OUT_BYTES);
	nbd_handshake_init(h, &out);
	r->used = 0;
	r->last = NBD_HANDSHAKE_MORE;
	while (r->last == NBD_HANDSHAKE_AGAIN || (r->last == NBD_HANDSHAKE_MORE && given < bytes)) {
		size_t before = cursor_left(&out);
		uint32_t used = 0;

		if (r->last == NBD_HANDSHAKE_MORE)
			given = bytes - given < cut ? bytes : given + cut;
		r->last = nbd_handshake_step(h, data + r->used, given - r->used, &used, &out);
		assert(used <= given - r->used);
		assert(before - cursor_left(&out) <= NBD_HANDSHAKE_OUT_BYTES);
		r->used += used;
		r->last = answer(h, r->last, &out);
		assert(before - cursor_left(&out) <= NBD_HANDSHAKE_OUT_BYTES);
	}
	r->out_bytes = (uint32_t)(OUT_BYTES - cursor_left(&out));
	free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint32_t cuts[] = {1, 7, 16, 4096};
	struct run whole = {.out = malloc(OUT_BYTES)}, cut = {.out = malloc(OUT_BYTES)};

	if (bytes > 256u << 10)
		bytes = 256u << 10;
	run(&whole, data, (uint32_t)bytes, UINT32_MAX);
	for (uint32_t i = bytes > 4096 ? 2 : 0; i < 4; i++) {
		run(&cut, data, (uint32_t)bytes, cuts[i]);
		assert(cut.out_bytes == whole.out_bytes);
		assert(memcmp(cut.out, whole.out, whole.out_bytes) == 0);
		assert(cut.last == whole.last && cut.used == whole.used);
	}
	free(whole.out);
	free(cut.out);
	return 0;
}
