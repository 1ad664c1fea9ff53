/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_rules.h: what recovery does at a position of the journal: a pure function, so
 * that a test can go through every case.
 */
#ifndef TS_STORE_JOURNAL_RULES_H
#define TS_STORE_JOURNAL_RULES_H

#include <stdbool.h>

enum journal_known {
	KNOWN_BEFORE, /* nothing at or beyond the position is known to have been durable */
	KNOWN_INSIDE, /* something beyond its begin, not beyond the record's end */
	KNOWN_BEYOND, /* all of the record was durable once */
};

struct journal_facts {
	bool at_limit;	 /* the segment's records end here: its successor begins at this LSN */
	bool below_fold; /* what lies here is in home already */
	bool header_ok;	 /* a valid header of this very place that continues the chain */
	bool payload_ok; /* every payload block agrees (only looked at when header_ok) */
	bool looked; /* the blocks behind were searched for claims; known is as good as it gets */
	enum journal_known known;
};

enum journal_verdict {
	VERDICT_NEXT, /* go on in the next segment */
	VERDICT_TAKE, /* it is a record of the journal (a rotten payload shows when it is read) */
	VERDICT_SKIP, /* damaged but not needed: go on at fold */
	VERDICT_LOOK, /* search the blocks behind for later records and what they know */
	VERDICT_HOLE, /* was durable and is damaged: never cut (DESIGN section 6) */
	VERDICT_CUT,  /* torn or never written: the journal ends here */
};

enum journal_verdict journal_decide(const struct journal_facts *f);

#endif
