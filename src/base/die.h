/* SPDX-License-Identifier: MIT */
/*
 * The end of the process when it must not go on: a bug (CHECK) or no memory.
 * Both are safe at any time: what was acknowledged is committed.
 */
#ifndef BASE_DIE_H
#define BASE_DIE_H

#include "base/attr.h"

/* Always on, in every build. The text goes to standard error. */
#define CHECK(cond)                                                       \
	((cond) ? (void)0 : die_bug(#cond, __FILE__, __LINE__, __func__))

NORETURN void die_bug(const char *what, const char *file, int line,
    const char *func);
NORETURN void die_nomem(size_t size);

#endif
