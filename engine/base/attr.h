/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/attr.h: the only home of compiler attributes, and container_of. */
#ifndef TS_BASE_ATTR_H
#define TS_BASE_ATTR_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NONNULL __attribute__((nonnull))
#define NORETURN __attribute__((noreturn))
#define PACKED __attribute__((packed))
#define MAYBE_UNUSED __attribute__((unused))

/* The struct of `type` whose field `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
