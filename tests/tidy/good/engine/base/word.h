/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TS_BASE_WORD_H
#define TS_BASE_WORD_H

struct word {
	int letters[4];
};

extern const int word_count;
int word_length(const struct word *w);

#endif
