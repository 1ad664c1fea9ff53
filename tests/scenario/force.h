/* SPDX-License-Identifier: Apache-2.0 */
/* tests/scenario/force.h: scenarios of a primary changed by hand; run by scenarios.c. */
#ifndef TS_TESTS_SCENARIO_FORCE_H
#define TS_TESTS_SCENARIO_FORCE_H

#include <stdint.h>

#define SCENARIO_VOLUME_BYTES (8ull << 20)

struct sim;

void forced_while_blocked(struct sim *s);
void forced_while_the_other_lives(struct sim *s);
void forced_with_a_known_loss(struct sim *s);
void promoted_demoted_promoted(struct sim *s);

#endif
