/* SPDX-License-Identifier: Apache-2.0 */
/* engine/store/import.h: what imports of base blocks need while they run. */
#ifndef TS_STORE_IMPORT_H
#define TS_STORE_IMPORT_H

#include "engine/base/attr.h"

struct import_pool;
struct store;

MUST_CHECK int import_pool_open(struct store *s, struct import_pool **ret_pool);
void import_pool_close(struct import_pool **pool);

#endif
