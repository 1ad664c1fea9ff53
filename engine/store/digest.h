/* SPDX-License-Identifier: Apache-2.0 */
/* engine/store/digest.h: how a volume enters the digest of its replica (replica_digest, check). */
#ifndef TS_STORE_DIGEST_H
#define TS_STORE_DIGEST_H

#include "engine/store/checkpoint.h"

/* The digest of the volumes before it, and this one; 0 begins. */
uint64_t digest_volume(uint64_t digest, const struct volume_root *v);

#endif
