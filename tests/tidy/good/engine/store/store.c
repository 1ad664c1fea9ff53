/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/word.h"
#include "proto/layout.h"

int store_open(const struct word *w)
{
	assert(word_length(w) > 0); /* W1: of a room we may include */
	return LAYOUT_BYTES;	    /* its format is fixed (L1) */
}
