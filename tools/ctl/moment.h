/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/moment.h: a moment of the past as people write it.
 *
 *   LSN         digits only: a position in the group's journal
 *   TIME        RFC 3339 (2026-11-27T15:04:05Z, ...05.250+01:00) or YYYY-MM-DD HH:MM:SS[.frac], in UTC
 *   AGE         -10m or '10m ago': so long before now (ns us ms s m h d)
 */
#ifndef TS_CTL_MOMENT_H
#define TS_CTL_MOMENT_H

#include <stdint.h>

#include "engine/base/attr.h"

enum moment_kind { MOMENT_LSN = 1, MOMENT_TIME = 2, MOMENT_AGE = 3 }; /* as SnapshotCreate.at */

struct moment {
	enum moment_kind kind;
	uint64_t lsn;
	uint64_t time_ns; /* since 1970, UTC */
	uint64_t age_ns;
};

/* 0; -ERR_INVALID: none of these forms, or no such time. */
MUST_CHECK int moment_parse(const char *text, struct moment *ret);

#endif
