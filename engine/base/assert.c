/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/base/assert.c
 * Purpose.  The end of a process that found its own bug: say where, then abort.
 * Failure.  None returns from here; the core dump holds the rest.
 */
#include "engine/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "assertion failed: %s (%s:%d)\n", what, file, line);
	fflush(stderr);
	abort();
}
