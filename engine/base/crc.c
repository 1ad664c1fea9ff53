/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/crc.c
 * Purpose.  The two checksums of the project under their public definitions, on top of isa-l.
 *           crc32_iscsi neither preloads nor inverts; crc64_ecma_refl does both and chains.
 * Limits.   crc32_iscsi takes an int length, so longer data goes in pieces.
 */
#include "engine/base/crc.h"

#include <isa-l/crc.h>
#include <isa-l/crc64.h>

#define CRC_PIECE_BYTES ((size_t)1 << 30)
#define CRC32C_ZERO_BLOCK 0x98f94189u /* tests/unit/base/crc_test.c computes it */

uint32_t crc32c(const void *data, size_t bytes)
{
	/* isa-l forgot the const; it does not write. */
	unsigned char *at = (unsigned char *)(uintptr_t)data;
	uint32_t crc = 0xffffffffu;

	while (bytes > 0) {
		size_t piece = bytes < CRC_PIECE_BYTES ? bytes : CRC_PIECE_BYTES;

		crc = crc32_iscsi(at, (int)piece, crc);
		at += piece;
		bytes -= piece;
	}
	return ~crc;
}

uint32_t crc32c_block_of_zeroes(void)
{
	return CRC32C_ZERO_BLOCK;
}

uint64_t crc64(uint64_t seed, const void *data, size_t bytes)
{
	return crc64_ecma_refl(seed, data, bytes);
}
