/* SPDX-License-Identifier: Apache-2.0 */
/* engine/store/check_digest.h: content digests of a volume whose journal is not folded yet. */
#ifndef TS_STORE_CHECK_DIGEST_H
#define TS_STORE_CHECK_DIGEST_H

#include "engine/store/index.h"
#include "proto/store.h"

#define CHECK_LEAF_ABSENT \
	UINT64_MAX /* nothing on disk for that leaf (looked at in check_digest_tree) */

/* Digest of a leaf with the index laid over it. */
uint64_t check_digest_leaf(const struct disk_leaf *leaf, uint64_t leaf_no, const struct index *x,
			   uint32_t volume);
/* Digest of a tree of MAP_DEPTH_MAX levels over the leaves' digests; uses the array as scratch. */
uint64_t check_digest_tree(uint64_t *leaves, uint64_t count, const struct index *x,
			   uint32_t volume);

#endif
