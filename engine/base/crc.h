/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/crc.h: checksums, computed by isa-l.  CRC32C is RFC 3720 B.4 (Castagnoli, reflected,
 * init and xorout all ones); crc64 is ECMA-182 reflected ("CRC-64/XZ"). */
#ifndef TS_BASE_CRC_H
#define TS_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t bytes);
uint32_t crc32c_block_of_zeroes(void);			       /* of 4096 zero bytes */
uint64_t crc64(uint64_t seed, const void *data, size_t bytes); /* seed 0 to start; chains */

#endif
