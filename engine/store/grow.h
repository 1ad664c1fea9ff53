/* SPDX-License-Identifier: Apache-2.0 */
/* engine/store/grow.h: the growth under way, for store.c; asked for in store.h. */
#ifndef TS_STORE_GROW_H
#define TS_STORE_GROW_H

#include "engine/store/store_state.h"

/* The store fails or closes: end it soon. */
void growing_stop(struct store *s);
/* Is it over?  Else op is woken when it is. */
bool growing_is_idle(struct store *s, struct op *op);
void growing_free(struct store *s);

#endif
