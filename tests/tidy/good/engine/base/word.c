/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/word.c
 * Purpose.     A tree without faults; the cases beside it add one each.
 * Invariants.  W1  A word has a length.
 *              W2  And a count.
 */
#include "engine/base/word.h"

#define EACH(f) f(1) f(2)
#define WORD_FUNCTION(n)                 \
	static inline int word_##n(void) \
	{                                \
		return n;                \
	}

EACH(WORD_FUNCTION)

const int word_count = 2;
static const char *const word_names[] = {"; {", "} time("};
static const struct {
	const char *name;
	int (*length)(const struct word *w);
} word_rows[] = {
	{"one", word_length},
};

/* Not a call of the C library: it is a member. */
struct word_ops {
	long (*time)(void);
};

int word_length(const struct word *w)
{
	static const int base = 1;
	struct word_ops ops = {0};

	assert(w != 0); /* W1, W2 */
	if (ops.time != 0)
		return (int)ops.time();
	return base + word_1() + word_2() + word_names[0][0] + word_rows[0].name[0];
}
