/* SPDX-License-Identifier: Apache-2.0 */
/* engine/store/stall.h: a disk that neither answers nor fails. */
#ifndef TS_STORE_STALL_H
#define TS_STORE_STALL_H

#include <stdbool.h>
#include <stdint.h>

struct store;
struct stall_watch;

/* What is looked at: whether something is in flight, and how many have ended so far. */
struct stall {
	uint64_t ended;
	uint32_t looks; /* in a row that found in flight what the look before them had found */
	bool busy;
};

static inline uint32_t stall_look(struct stall *st, bool busy, uint64_t ended)
{
	st->looks = busy && st->busy && ended == st->ended ? st->looks + 1 : 0;
	st->ended = ended;
	st->busy = busy;
	return st->looks;
}

/* From when the store is ready to its end; store_opts.disk_stall_ms of 0: none. -ERR_NOMEM. */
int stall_watch_open(struct store *s, struct stall_watch **ret);
void stall_watch_close(struct stall_watch **w);

#endif
