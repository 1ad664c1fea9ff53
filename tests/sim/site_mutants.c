/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/site_mutants.c: rules_mutant 1.., then repl_mutant 1.., then store_mutant 1.. */
#include "engine/quorum/rules.h"
#include "tests/sim/site_sim.h"

const char *const sim_mutant_names[] = {"none",
					"no-lease",
					"grant-during-claim",
					"no-grace",
					"unconfirmed-drop",
					"add-not-counted",
					"no-gate",
					"no-tail",
					"no-quiesce",
					"open-before-commit",
					"any-incarnation",
					"commit-alone",
					"no-drain",
					"keep-generation",
					"cut-below-commit",
					"ack-before-durable",
					"skip-chain",
					"ack-while-staging",
					"old-epoch",
					"repair-unverified",
					"beyond-commit",
					"skip-unknown",
					"forget-discards",
					"switch-early",
					"no-branch",
					"cut-forced",
					"store-ack-before-durable",
					"fold-beyond-commit",
					"skip-chain-check",
					"trim-early",
					"no-floor",
					"base-overwrites",
					"no-home-flush",
					"repair-unchecked",
					"header-before-data",
					"forget-names",
					"named-in-place",
					"shared-in-place",
					"no-fold-cap",
					NULL};
#define RULES_MUTANTS 13u
#define REPL_MUTANTS 12u

_Static_assert(RULES_MUTANTS == RULES_MUTANT_COUNT - 1, "every rule's mutant has a name");

void sim_set_mutant(struct sim *s, uint32_t mutant)
{
	s->rules_mutant = s->repl_mutant = s->store_mutant = 0;
	if (mutant > RULES_MUTANTS + REPL_MUTANTS)
		s->store_mutant = mutant - RULES_MUTANTS - REPL_MUTANTS;
	else if (mutant > RULES_MUTANTS)
		s->repl_mutant = mutant - RULES_MUTANTS;
	else
		s->rules_mutant = mutant;
	if (s->repl_mutant == REPL_MUTANT_REPAIR_UNVERIFIED)
		s->store_mutant = STORE_MUTANT_REPAIR_UNCHECKED; /* each check alone is enough */
}
