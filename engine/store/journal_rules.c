/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/journal_rules.c
 *
 * Purpose.     The torn-tail rule of DESIGN section 6.
 * Invariants.  T1  A record that was durable once is never cut: it is taken, skipped when home has its
 *                  content, or it makes a hole.
 *              T2  A journal is cut only after looking behind the place.
 */
#include "engine/store/journal_rules.h"

#include "engine/base/assert.h"

enum journal_verdict journal_decide(const struct journal_facts *f)
{
	if (f->at_limit)
		return VERDICT_NEXT;
	if (f->header_ok && (f->payload_ok || f->known == KNOWN_BEYOND))
		return VERDICT_TAKE;
	if (f->below_fold)
		return VERDICT_SKIP;
	if (!f->looked && (f->known == KNOWN_BEFORE || f->header_ok))
		return VERDICT_LOOK; /* T2; a good header may turn out to be known in whole */
	return f->known == KNOWN_BEFORE ? VERDICT_CUT : VERDICT_HOLE; /* T1 */
}
